// SPDX-License-Identifier: GPL-2.0
/*
 * RMP checks on the kernel's own accesses (APM 2, 15.36.10, table "RMP Memory
 * Access Checks"): a write must not touch an assigned page; and a mapping larger
 * than 4K is checked as 2M, whatever page of it is written.
 */
#include "snp_test.h"

#define GPA	0x200000ull

/* A block whose mapping is in the TLB. */
static struct block *warm_block(struct test *t, enum pg_level level)
{
	struct block *b = block_alloc(t, level);

	if (b && fault_of_write(block_page(b, 6))) {
		test_fail(t, __LINE__, "shared memory cannot be written");
		return NULL;
	}
	return b;
}

static void own_page_4k(struct test *t)
{
	struct block *b = warm_block(t, PG_LEVEL_2M);
	u64 faults = counter(CNT_HOST_FAULT);

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, rmp_make_private(b->pfn + 5, GPA, PG_LEVEL_4K, TEST_ASID, false), 0);
	EXPECT_EQ(t, fault_of_write(block_page(b, 5)), RMP_WRITE_FAULT);
	EXPECT_EQ(t, fault_of_read(block_page(b, 5)), 0);
	EXPECT_EQ(t, counter(CNT_HOST_FAULT) - faults, 1);
	EXPECT_EQ(t, rmp_make_shared(b->pfn + 5, PG_LEVEL_4K), 0);
	EXPECT_EQ(t, fault_of_write(block_page(b, 5)), 0);
	EXPECT_EQ(t, counter(CNT_HOST_FAULT) - faults, 1);
}

/* adjust_direct_map() splits first; so neighbours can be written. */
static void kernel_splits_2m(struct test *t)
{
	struct block *b = warm_block(t, PG_LEVEL_2M);
	int i;

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, rmp_make_private(b->pfn + 5, GPA, PG_LEVEL_4K, TEST_ASID, false), 0);
	EXPECT_EQ(t, map_level(b->va), PG_LEVEL_4K);
	for (i = 0; i < BLOCK_PAGES; i++) {
		if (i != 5) {
			if (!EXPECT(t, !fault_of_write(block_page(b, i))))
				return;
		}
	}
}

/* The control: without the split, each page of the 2M faults, but not to read. */
static void raw_faults_neighbours_2m(struct test *t)
{
	struct block *b = warm_block(t, PG_LEVEL_2M);
	u64 faults = counter(CNT_HOST_FAULT);
	int i;

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, raw_private(b->pfn + 5, GPA, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, map_level(b->va), PG_LEVEL_2M);
	for (i = 0; i < BLOCK_PAGES; i++) {
		if (!EXPECT(t, fault_of_write(block_page(b, i)) == RMP_WRITE_FAULT))
			return;
		if (!EXPECT(t, !fault_of_read(block_page(b, i))))
			return;
	}
	EXPECT_EQ(t, counter(CNT_HOST_FAULT) - faults, BLOCK_PAGES);
	EXPECT_EQ(t, raw_shared(b->pfn + 5, RMP_PG_SIZE_4K), RMP_OK);
	for (i = 0; i < BLOCK_PAGES; i++) {
		if (!EXPECT(t, !fault_of_write(block_page(b, i))))
			return;
	}
}

/* It takes the last assigned page to go, not any. */
static void raw_faults_until_the_last(struct test *t)
{
	struct block *b = warm_block(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, raw_private(b->pfn, GPA, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, raw_private(b->pfn + 511, GPA + SZ_4K, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, fault_of_write(block_page(b, 100)), RMP_WRITE_FAULT);
	EXPECT_EQ(t, raw_shared(b->pfn, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, fault_of_write(block_page(b, 100)), RMP_WRITE_FAULT);
	EXPECT_EQ(t, raw_shared(b->pfn + 511, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, fault_of_write(block_page(b, 100)), 0);
}

/* Two blocks that one 1G page maps.  The first may be the last one of its page. */
static bool two_blocks_1g(struct test *t, struct block **a, struct block **b)
{
	int tries = 2;

	do {
		*a = warm_block(t, PG_LEVEL_1G);
		*b = *a ? warm_block(t, PG_LEVEL_1G) : NULL;
		if (!*b)
			return false;
		if (!(((*a)->pfn ^ (*b)->pfn) >> (PUD_SHIFT - PAGE_SHIFT)))
			return true;
	} while (tries--);
	test_fail(t, __LINE__, "the blocks are in two 1G pages");
	return false;
}

/* A 1G mapping is checked as 2M: another 2M of it is not affected. */
static void raw_1g_faults_same_2m_only(struct test *t)
{
	struct block *a, *b;

	if (!EXPECT(t, two_blocks_1g(t, &a, &b)))
		return;
	EXPECT_EQ(t, raw_private(a->pfn + 5, GPA, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, map_level(a->va), PG_LEVEL_1G);
	EXPECT_EQ(t, fault_of_write(a->va), RMP_WRITE_FAULT);
	EXPECT_EQ(t, fault_of_write(block_page(a, 511)), RMP_WRITE_FAULT);
	EXPECT_EQ(t, fault_of_write(b->va), 0);
	EXPECT_EQ(t, raw_shared(a->pfn + 5, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, fault_of_write(a->va), 0);
}

/* A private 2M page needs no split, for the same reason; rmpupdate() relies on it. */
static void private_2m_through_1g(struct test *t)
{
	struct block *a, *b;

	if (!EXPECT(t, two_blocks_1g(t, &a, &b)))
		return;
	EXPECT_EQ(t, rmp_make_private(a->pfn, GPA, PG_LEVEL_2M, TEST_ASID, false), 0);
	EXPECT_EQ(t, map_level(a->va), PG_LEVEL_1G);
	EXPECT_EQ(t, fault_of_write(block_page(a, 77)), RMP_WRITE_FAULT);
	EXPECT_EQ(t, fault_of_write(b->va), 0);
	EXPECT_EQ(t, rmp_make_shared(a->pfn, PG_LEVEL_2M), 0);
	EXPECT_EQ(t, fault_of_write(block_page(a, 77)), 0);
}

static void kernel_splits_1g(struct test *t)
{
	struct block *a, *b;

	if (!EXPECT(t, two_blocks_1g(t, &a, &b)))
		return;
	EXPECT_EQ(t, rmp_make_private(a->pfn + 5, GPA, PG_LEVEL_4K, TEST_ASID, false), 0);
	EXPECT_EQ(t, map_level(a->va), PG_LEVEL_4K);
	EXPECT_EQ(t, map_level(b->va), PG_LEVEL_2M);
	EXPECT_EQ(t, fault_of_write(block_page(a, 6)), 0);
	EXPECT_EQ(t, fault_of_write(block_page(a, 5)), RMP_WRITE_FAULT);
	EXPECT_EQ(t, fault_of_write(b->va), 0);
}

/* A private 2M page: no split, each page of it faults, next door does not. */
static void private_2m(struct test *t)
{
	struct block *b = warm_block(t, PG_LEVEL_2M);
	int i;

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, rmp_make_private(b->pfn, GPA, PG_LEVEL_2M, TEST_ASID, false), 0);
	EXPECT_EQ(t, map_level(b->va), PG_LEVEL_2M);
	for (i = 0; i < BLOCK_PAGES; i++) {
		if (!EXPECT(t, fault_of_write(block_page(b, i)) == RMP_WRITE_FAULT))
			return;
	}
	EXPECT_EQ(t, rmp_make_shared(b->pfn, PG_LEVEL_2M), 0);
	for (i = 0; i < BLOCK_PAGES; i++) {
		if (!EXPECT(t, !fault_of_write(block_page(b, i))))
			return;
	}
}

/* After PSMASH the same pages are assigned; one that is shared is writable by 4K. */
static void psmash_and_share_one(struct test *t)
{
	struct block *b = warm_block(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, rmp_make_private(b->pfn, GPA, PG_LEVEL_2M, TEST_ASID, false), 0);
	EXPECT_EQ(t, psmash(b->pfn), 0);
	EXPECT_EQ(t, fault_of_write(block_page(b, 9)), RMP_WRITE_FAULT);
	EXPECT_EQ(t, rmp_make_shared(b->pfn + 9, PG_LEVEL_4K), 0);
	EXPECT_EQ(t, map_level(b->va), PG_LEVEL_4K);
	EXPECT_EQ(t, fault_of_write(block_page(b, 9)), 0);
	EXPECT_EQ(t, fault_of_write(block_page(b, 10)), RMP_WRITE_FAULT);
	EXPECT_EQ(t, fault_of_read(block_page(b, 10)), 0);
}

/* Immutable or not, assigned is assigned. */
static void firmware_page(struct test *t)
{
	struct block *b = warm_block(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, rmp_make_private(b->pfn + 5, 0, PG_LEVEL_4K, 0, true), 0);
	EXPECT_EQ(t, fault_of_write(block_page(b, 5)), RMP_WRITE_FAULT);
	EXPECT_EQ(t, fault_of_read(block_page(b, 5)), 0);
	EXPECT_EQ(t, fault_of_write(block_page(b, 4)), 0);
}

/* What a refused RMPUPDATE leaves alone is still writable. */
static void refused_update_changes_nothing(struct test *t)
{
	struct block *b = warm_block(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	EXPECT(t, raw_private(b->pfn, GPA + SZ_4K, RMP_PG_SIZE_2M) != RMP_OK);
	EXPECT_EQ(t, fault_of_write(b->va), 0);
}

/* An access that crosses into an assigned page faults like one to it. */
static void write_across_pages(struct test *t)
{
	struct block *b = warm_block(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, rmp_make_private(b->pfn + 5, GPA, PG_LEVEL_4K, TEST_ASID, false), 0);
	EXPECT_EQ(t, fault_of_write32(block_page(b, 4) - 2), 0);
	EXPECT_EQ(t, fault_of_write32(block_page(b, 5) - 2), RMP_WRITE_FAULT);
	EXPECT_EQ(t, fault_of_write32(block_page(b, 6) - 2), RMP_WRITE_FAULT);
}

/*
 * The processor's own write of an accessed or dirty bit is a write as well: it faults
 * if the page table is in an assigned page, and only if there is a bit to set.
 */
static void page_table_is_assigned(struct test *t)
{
	struct split s;
	u64 table;

	if (!split_prepare(t, &s))
		return;
	table = s.tables->pfn;
	set_pte(&s.table[6], pte_mkold(pte_mkclean(s.table[6])));
	split_do(&s);
	on_each_cpu(flush_everywhere, NULL, 1);
	EXPECT_EQ(t, raw_private(table, GPA, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, fault_of_write(block_page(s.b, 7)), 0);
	EXPECT_EQ(t, fault_of_read(block_page(s.b, 6)), RMP_READ_FAULT);
	/* A locked instruction is a read first, in QEMU with one thread. */
	EXPECT_EQ(t, fault_of_write32(block_page(s.b, 6)), RMP_WRITE_FAULT);
	EXPECT_EQ(t, raw_shared(table, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, fault_of_write(block_page(s.b, 6)), 0);
	split_undo(&s);
}

static const struct test_case cases[] = {
	/* The 1G tests first: other tests may split what 1G pages there are. */
	TEST_CASE(raw_1g_faults_same_2m_only),
	TEST_CASE(private_2m_through_1g),
	TEST_CASE(kernel_splits_1g),
	TEST_CASE(own_page_4k),
	TEST_CASE(kernel_splits_2m),
	TEST_CASE(raw_faults_neighbours_2m),
	TEST_CASE(raw_faults_until_the_last),
	TEST_CASE(private_2m),
	TEST_CASE(psmash_and_share_one),
	TEST_CASE(firmware_page),
	TEST_CASE(refused_update_changes_nothing),
	TEST_CASE(write_across_pages),
	TEST_CASE(page_table_is_assigned),
};

TEST_GROUP(write, cases, .needs_snp = true);
