// SPDX-License-Identifier: GPL-2.0
/* What the kernel has made of the machine when it booted. */
#include <linux/cc_platform.h>
#include <linux/ioport.h>
#include <asm/cpufeature.h>
#include <asm/iommu.h>
#include <asm/msr.h>

#include "snp_test.h"

/* bsp_determine_snp() has accepted the CPU, and nothing has cleared it since. */
static void kernel_enables_snp(struct test *t)
{
	EXPECT(t, cc_platform_has(CC_ATTR_HOST_SEV_SNP));
	EXPECT(t, boot_cpu_has(X86_FEATURE_SEV));
	EXPECT(t, boot_cpu_has(X86_FEATURE_SEV_ES));
	EXPECT(t, boot_cpu_has(X86_FEATURE_SEV_SNP));
	EXPECT(t, !boot_cpu_has(X86_FEATURE_HYPERVISOR));
	/* iommu_snp_enable() */
	EXPECT(t, amd_iommu_snp_en);
}

/* APM 2, 15.36.1 and 15.34.1: what CPUID says of SEV. */
static void cpuid_describes_sev(struct test *t)
{
	u32 eax, ebx, ecx, edx;

	if (!EXPECT(t, cpuid_eax(0x80000000) >= 0x8000001f))
		return;
	cpuid(0x8000001f, &eax, &ebx, &ecx, &edx);
	EXPECT_EQ(t, eax & (BIT(1) | BIT(3) | BIT(4)), BIT(1) | BIT(3) | BIT(4));
	/* The C-bit lies above what is left of the physical address. */
	EXPECT(t, (ebx & 0x3f) >= boot_cpu_data.x86_phys_bits);
	EXPECT(t, ecx >= 2);
	EXPECT(t, edx >= 1 && edx <= ecx);
}

#define SYSCFG_SNP	(MSR_AMD64_SYSCFG_SNP_EN | MSR_AMD64_SYSCFG_SNP_VMPL_EN | \
			 MSR_AMD64_SYSCFG_MFDM | MSR_AMD64_SYSCFG_MEM_ENCRYPT)

static void read_syscfg(void *result)
{
	u64 val;

	rdmsrq(MSR_AMD64_SYSCFG, val);
	if ((val & SYSCFG_SNP) == SYSCFG_SNP)
		atomic_inc(result);
}

/* APM 2, 15.36.2: on each CPU. */
static void syscfg_is_set_on_all_cpus(struct test *t)
{
	atomic_t nr = ATOMIC_INIT(0);

	on_each_cpu(read_syscfg, &nr, 1);
	EXPECT_EQ(t, atomic_read(&nr), num_online_cpus());
}

/* APM 2, 15.36.2: SNP_EN stays until the next reset, and RMP_BASE with it. */
static void snp_enable_is_sticky(struct test *t)
{
	u64 syscfg, val, base;

	rdmsrq(MSR_AMD64_SYSCFG, syscfg);
	wrmsrq_safe(MSR_AMD64_SYSCFG, syscfg & ~(u64)MSR_AMD64_SYSCFG_SNP_EN);
	rdmsrq(MSR_AMD64_SYSCFG, val);
	EXPECT(t, val & MSR_AMD64_SYSCFG_SNP_EN);

	rdmsrq(MSR_AMD64_RMP_BASE, base);
	wrmsrq_safe(MSR_AMD64_RMP_BASE, base + SZ_2M);
	rdmsrq(MSR_AMD64_RMP_BASE, val);
	EXPECT_EQ(t, val, base);
}

/* APM 2, 15.36.4: there are no bits for less than 8 KiB. */
static void rmp_msrs_count_in_8k(struct test *t)
{
	u64 base, end;

	rdmsrq(MSR_AMD64_RMP_BASE, base);
	rdmsrq(MSR_AMD64_RMP_END, end);
	EXPECT_EQ(t, base & (SZ_8K - 1), 0);
	EXPECT_EQ(t, end & (SZ_8K - 1), SZ_8K - 1);
	EXPECT(t, end > base);
}

static int note_end(struct resource *res, void *last)
{
	*(u64 *)last = PHYS_PFN(res->end + 1);
	return 0;
}

/* Where it is: ABI, SNP_INIT_EX.  That it covers all memory: snp_rmptable_init() */
static void rmp_covers_memory(struct test *t)
{
	u64 base = rmp_table_base();
	u64 size = rmp_table_size();
	u64 end_pfn = 0;

	walk_iomem_res_desc(IORES_DESC_NONE, IORESOURCE_SYSTEM_RAM | IORESOURCE_BUSY, 0,
			    U64_MAX, &end_pfn, note_end);
	EXPECT(t, end_pfn);
	EXPECT(t, base && IS_ALIGNED(base, SZ_1M));
	EXPECT(t, size && IS_ALIGNED(size, SZ_1M));
	EXPECT(t, rmp_table_pfns() >= end_pfn);
	EXPECT(t, rmp_table_pfns() >= PHYS_PFN(base + size));
}

/* The firmware reserves the table: the kernel must not use it as memory. */
static void rmp_is_no_ordinary_memory(struct test *t)
{
	u64 pfn = PHYS_PFN(rmp_table_base());

	EXPECT(t, !pfn_valid(pfn) || PageReserved(pfn_to_page(pfn)));
	EXPECT(t, region_intersects(rmp_table_base(), rmp_table_size(),
				    IORESOURCE_SYSTEM_RAM, IORES_DESC_NONE) ==
		  REGION_DISJOINT);
}

static void counters_are_there(struct test *t)
{
	EXPECT_EQ(t, counter(CNT_MAGIC), CNT_MAGIC_VALUE);
}

static const struct test_case cases[] = {
	TEST_CASE(kernel_enables_snp),
	TEST_CASE(cpuid_describes_sev),
	TEST_CASE(syscfg_is_set_on_all_cpus),
	TEST_CASE(snp_enable_is_sticky),
	TEST_CASE(rmp_msrs_count_in_8k),
	TEST_CASE(rmp_covers_memory),
	TEST_CASE(rmp_is_no_ordinary_memory),
	TEST_CASE(counters_are_there),
};

TEST_GROUP(boot, cases);
