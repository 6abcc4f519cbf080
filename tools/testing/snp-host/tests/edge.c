// SPDX-License-Identifier: GPL-2.0
/*
 * An RMP that begins and ends within 2 MiB of other memory, as a machine's firmware may
 * place it (RMP_BASE and RMP_END count in 8 KiB: APM 2, 15.36.4; whole MiB are what ABI,
 * SNP_INIT_EX wants).  A large mapping of that memory cannot be written to, so the
 * kernel does without what is left of the 2 MiB: __snp_fixup_e820_tables().  These tests
 * come in the order of the platform's states; ccp must not be loaded.
 */
#include <linux/io.h>
#include <linux/ioport.h>
#include <asm/msr.h>

#include "psp_cmd.h"

/* Around an edge of the table */
struct edge {
	u64 region;	/* the 2 MiB */
	u64 table_pfn;	/* of the table in it, and beside the other one */
	u64 other_pfn;
	u64 beyond;	/* the last or first page that is the kernel's */
};

static struct edge first_edge(void)
{
	u64 base = rmp_table_base();
	u64 region = ALIGN_DOWN(base, SZ_2M);

	return (struct edge){ region, PHYS_PFN(base), PHYS_PFN(base) - 1, region - SZ_4K };
}

static struct edge last_edge(void)
{
	u64 end = rmp_table_base() + rmp_table_size();
	u64 region = ALIGN_DOWN(end, SZ_2M);

	return (struct edge){ region, PHYS_PFN(end) - 1, PHYS_PFN(end), region + SZ_2M };
}

static int ram_in(u64 start, u64 size)
{
	return region_intersects(start, size, IORESOURCE_SYSTEM_RAM, IORES_DESC_NONE);
}

/* What the others stand on. */
static void edges_are_within_2m(struct test *t)
{
	EXPECT(t, !IS_ALIGNED(rmp_table_base(), SZ_2M));
	EXPECT(t, !IS_ALIGNED(rmp_table_base() + rmp_table_size(), SZ_2M));
	EXPECT(t, IS_ALIGNED(rmp_table_base(), SZ_1M));
	EXPECT(t, IS_ALIGNED(rmp_table_size(), SZ_1M));
}

static void expect_reserved(struct test *t, struct edge e)
{
	EXPECT(t, ram_in(e.region, SZ_2M) == REGION_DISJOINT);
	EXPECT(t, PageReserved(pfn_to_page(e.other_pfn)));
	EXPECT(t, ram_in(e.beyond, SZ_4K) == REGION_INTERSECTS);
}

/* All of the 2 MiB, and no more. */
static void kernel_reserves_the_rest(struct test *t)
{
	expect_reserved(t, first_edge());
	expect_reserved(t, last_edge());
}

static void expect_updates(struct test *t, struct edge e)
{
	struct rmp_state state = { .assigned = 1, .asid = TEST_ASID };

	EXPECT_EQ(t, raw_private(e.table_pfn, 0, RMP_PG_SIZE_4K), RMP_FAIL_PERMISSION);
	EXPECT_EQ(t, raw_private(PHYS_PFN(e.region), 0, RMP_PG_SIZE_2M), RMP_FAIL_PERMISSION);
	EXPECT_EQ(t, rmpupdate_raw(PFN_PHYS(e.other_pfn), &state), RMP_OK);
	EXPECT_EQ(t, rmp_word(e.other_pfn), RMP_WORD_PRIVATE(0, TEST_ASID));
	EXPECT_EQ(t, raw_shared(e.other_pfn, RMP_PG_SIZE_4K), RMP_OK);
}

/* The table is not to be given away, nor large pages with some of it. */
static void table_cannot_be_given_away(struct test *t)
{
	expect_updates(t, first_edge());
	expect_updates(t, last_edge());
}

static void firmware_starts(struct test *t)
{
	EXPECT_EQ(t, psp_start(), 0);
}

static void expect_entries(struct test *t, struct edge e)
{
	EXPECT_EQ(t, rmp_word(e.table_pfn), RMP_WORD_FIRMWARE);
	EXPECT_EQ(t, rmp_word(e.other_pfn), RMP_WORD_SHARED);
	expect_updates(t, e);
}

/* The firmware protects the table to the page. */
static void table_is_the_firmwares(struct test *t)
{
	expect_entries(t, first_edge());
	expect_entries(t, last_edge());
}

/* @pfn by a mapping of @size bytes from @start. */
static u64 fault_by_mapping(struct test *t, u64 start, size_t size, u64 pfn)
{
	char *map = memremap(start, size, MEMREMAP_WB);
	char *va = map + PFN_PHYS(pfn) - start;
	u64 fault;

	if (!EXPECT(t, map))
		return 0;
	EXPECT_EQ(t, map_level(va), size == SZ_2M ? PG_LEVEL_2M : PG_LEVEL_4K);
	EXPECT_EQ(t, fault_of_read(va), 0);
	fault = fault_of_write(va);
	memunmap(map);
	return fault;
}

static void expect_faults(struct test *t, struct edge e)
{
	u64 table = PFN_PHYS(e.table_pfn), other = PFN_PHYS(e.other_pfn);

	EXPECT_EQ(t, fault_by_mapping(t, table, SZ_4K, e.table_pfn), RMP_WRITE_FAULT);
	EXPECT_EQ(t, fault_by_mapping(t, other, SZ_4K, e.other_pfn), 0);
	EXPECT_EQ(t, fault_by_mapping(t, e.region, SZ_2M, e.other_pfn), RMP_WRITE_FAULT);
}

/* Why the kernel must not use the rest (APM 2, 15.36.10). */
static void large_mapping_cannot_be_written(struct test *t)
{
	expect_faults(t, first_edge());
	expect_faults(t, last_edge());
}

/* Of a machine that has no RMP.  Control: a bit that may be set there. */
static void snp_cannot_be_enabled(struct test *t)
{
	u64 syscfg, val;

	rdmsrq(MSR_AMD64_SYSCFG, syscfg);
	EXPECT(t, syscfg & MSR_AMD64_SYSCFG_MEM_ENCRYPT);
	EXPECT(t, wrmsrq_safe(MSR_AMD64_SYSCFG, syscfg | MSR_AMD64_SYSCFG_SNP_EN));
	EXPECT_EQ(t, wrmsrq_safe(MSR_AMD64_SYSCFG, syscfg | MSR_AMD64_SYSCFG_MFDM), 0);
	rdmsrq(MSR_AMD64_SYSCFG, val);
	EXPECT_EQ(t, val, syscfg | MSR_AMD64_SYSCFG_MFDM);
}

static const struct test_case cases[] = {
	TEST_CASE(edges_are_within_2m),
	TEST_CASE(kernel_reserves_the_rest),
	TEST_CASE(table_cannot_be_given_away),
	TEST_CASE(firmware_starts),
	TEST_CASE(table_is_the_firmwares),
	TEST_CASE(large_mapping_cannot_be_written),
};

TEST_GROUP(edge, cases, .needs_snp = true, .teardown = psp_stop);

static const struct test_case no_rmp_cases[] = {
	TEST_CASE(snp_cannot_be_enabled),
};

TEST_GROUP(no_rmp, no_rmp_cases);
