// SPDX-License-Identifier: GPL-2.0
/* Without snp-host=on there is nothing of SNP, and no instruction of it. */
#include <linux/cc_platform.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/trapnr.h>

#include "snp_test.h"

static void kernel_finds_no_snp(struct test *t)
{
	EXPECT(t, !cc_platform_has(CC_ATTR_HOST_SEV_SNP));
	EXPECT(t, !boot_cpu_has(X86_FEATURE_SEV));
	EXPECT(t, !boot_cpu_has(X86_FEATURE_SEV_SNP));
	EXPECT_EQ(t, rmp_table_base(), 0);
}

/* All of the leaf is zero, if there is one. */
static void cpuid_has_no_sev(struct test *t)
{
	u32 eax = 0, ebx = 0, ecx = 0, edx = 0;

	if (cpuid_eax(0x80000000) >= 0x8000001f)
		cpuid(0x8000001f, &eax, &ebx, &ecx, &edx);
	EXPECT_EQ(t, eax | ebx | ecx | edx, 0);
}

/* QEMU knows none of these; it reads what it does not know as zero. */
static void msrs_are_zero(struct test *t)
{
	static const u32 msrs[] = {
		MSR_AMD64_SYSCFG, MSR_AMD64_RMP_BASE, MSR_AMD64_RMP_END,
		MSR_AMD64_SEV, MSR_AMD64_SEV_ES_GHCB,
	};
	u64 val;
	int i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		EXPECT_EQ(t, rdmsrq_safe(msrs[i], &val), 0);
		EXPECT_EQ(t, val, 0);
	}
	/* And what is written to them is gone. */
	wrmsrq_safe(MSR_AMD64_SYSCFG, MSR_AMD64_SYSCFG_SNP_EN | MSR_AMD64_SYSCFG_MEM_ENCRYPT);
	EXPECT_EQ(t, rdmsrq_safe(MSR_AMD64_SYSCFG, &val), 0);
	EXPECT_EQ(t, val, 0);
}

static void instructions_are_undefined(struct test *t)
{
	struct rmp_state state = {};
	struct rmp_read entry;

	EXPECT_EQ(t, rmpupdate_raw(SZ_2M, &state), RMP_FAULTED + X86_TRAP_UD);
	EXPECT_EQ(t, psmash_raw(SZ_2M), RMP_FAULTED + X86_TRAP_UD);
	EXPECT_EQ(t, rmpread_raw(SZ_2M, &entry), RMP_FAULTED + X86_TRAP_UD);
	EXPECT_EQ(t, pvalidate_raw(PAGE_OFFSET, 0, 0), RMP_FAULTED + X86_TRAP_UD);
}

static void no_psp(struct test *t)
{
	EXPECT(t, !psp_device());
}

static const struct test_case cases[] = {
	TEST_CASE(kernel_finds_no_snp),
	TEST_CASE(cpuid_has_no_sev),
	TEST_CASE(msrs_are_zero),
	TEST_CASE(instructions_are_undefined),
	TEST_CASE(no_psp),
};

TEST_GROUP(stock, cases);
