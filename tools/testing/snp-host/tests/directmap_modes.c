// SPDX-License-Identifier: GPL-2.0
/*
 * The direct map when memory runs out while it is split, when all of it has been split
 * before, and when nothing is put back until somebody else says so.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/sched.h>

#include "directmap.h"

#ifdef SNP_TEST_DIRECTMAP

/*
 * Fault injection, which has to be told to fail allocations that may wait, and of single
 * pages (/sys/kernel/debug/fail_page_alloc).
 */

#ifdef CONFIG_FAIL_PAGE_ALLOC
static int fault_setup(void)
{
	return 0;
}

static void fail_nth(unsigned int nr)
{
	WRITE_ONCE(current->fail_nth, nr);
}

static bool has_failed(void)
{
	return !READ_ONCE(current->fail_nth);
}
#else
static int fault_setup(void)
{
	return -EOPNOTSUPP;
}

static void fail_nth(unsigned int nr)
{
}

static bool has_failed(void)
{
	return false;
}
#endif

/* More allocations than any of it takes. */
#define MAX_NTH		100
#define NR_PAGES	64

static bool nothing_is_private(const struct block *b)
{
	int i;

	for (i = 0; i < BLOCK_PAGES; i++) {
		if (rmp_word(b->pfn + i) != RMP_WORD_SHARED)
			return false;
	}
	return true;
}

/* A refused range has changed nothing, but what will be put back by itself. */
static void refused(struct test *t, struct block *b, int ret, const struct dm_counts *before)
{
	struct dm_counts after;

	EXPECT_EQ(t, ret, (u64)-ENOMEM);
	EXPECT(t, nothing_is_private(b));
	EXPECT_EQ(t, fault_of_write(b->va), 0);
	dm_counts_now(t, &after);
	EXPECT(t, after.split_failed > before->split_failed);
}

/* Each allocation fails once. */
static void split_without_memory(struct test *t, enum pg_level level)
{
	struct block *b = block_alloc(t, level);
	struct dm_counts before, after;
	int nth, ret, nr_refused = 0;
	bool failed = true;
	u64 attributes;

	if (!EXPECT(t, b))
		return;
	attributes = dm_attributes(b->va);
	for (nth = 1; failed && !t->failed && nth < MAX_NTH; nth++) {
		if (!dm_counts_now(t, &before))
			return;
		fail_nth(nth);
		ret = rmp_make_private_range(b->pfn, GPA, NR_PAGES, TEST_ASID, false);
		failed = has_failed();
		fail_nth(0);
		if (ret) {
			refused(t, b, ret, &before);
			nr_refused++;
		} else {
			EXPECT_EQ(t, rmp_make_shared_range(b->pfn, NR_PAGES), 0);
		}
		EXPECT(t, dm_is_sound(b->va, attributes));
		EXPECT(t, dm_wait_level(b->va, level, RESTORE_MS));
		dm_counts_now(t, &after);
		EXPECT_EQ(t, after.kb_4k, before.kb_4k);
		EXPECT_EQ(t, after.kb_2m, before.kb_2m);
		EXPECT_EQ(t, after.kb_1g, before.kb_1g);
	}
	EXPECT(t, !failed);
	EXPECT(t, nr_refused);
	pr_info("%s: %d allocations failed, %d updates were refused\n", t->name, nth - 2,
		nr_refused);
}

static void split_2m_without_memory(struct test *t)
{
	split_without_memory(t, PG_LEVEL_2M);
}

static void split_1g_without_memory(struct test *t)
{
	split_without_memory(t, PG_LEVEL_1G);
}

/* What is 4K already needs no memory. */
static void no_split_needs_no_memory(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, rmp_make_private(b->pfn + 511, GPA, PG_LEVEL_4K, TEST_ASID, false), 0);
	fail_nth(1);
	EXPECT_EQ(t, rmp_make_private_range(b->pfn, GPA, NR_PAGES, TEST_ASID, false), 0);
	EXPECT(t, !has_failed());
	fail_nth(0);
	EXPECT_EQ(t, rmp_make_shared_range(b->pfn, BLOCK_PAGES), 0);
	EXPECT(t, dm_wait_level(b->va, PG_LEVEL_2M, RESTORE_MS));
}

static const struct test_case fault_cases[] = {
	TEST_CASE(split_1g_without_memory),
	TEST_CASE(split_2m_without_memory),
	TEST_CASE(no_split_needs_no_memory),
};

TEST_GROUP(directmap_fault, fault_cases, .needs_snp = true, .setup = fault_setup);

/* snp_directmap=presplit */

/* What there may be in large pages then: the kernel's image, but no more than that. */
#define IMAGE_2M	64

/* Memory of which not each page is mapped by itself, in 2M. */
static u64 regions_mapped_large(void)
{
	u64 pfn, nr = 0;

	for (pfn = 0; pfn < rmp_table_pfns(); pfn += BLOCK_PAGES) {
		if (pfn_valid(pfn))
			nr += map_level(pfn_to_kaddr(pfn)) > PG_LEVEL_4K;
	}
	return nr;
}

/* Nothing is split until there is a guest; all that can be allocated is after that. */
static void presplit_with_first_guest_page(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_1G);
	struct dm_counts before, after;
	u64 attributes, large = regions_mapped_large();

	if (!EXPECT(t, b) || !dm_counts_now(t, &before))
		return;
	EXPECT_EQ(t, before.split_1g, 0);
	attributes = dm_attributes(b->va);
	EXPECT_EQ(t, fault_of_write(block_page(b, 6)), 0);
	EXPECT_EQ(t, rmp_make_private(b->pfn + 5, GPA, PG_LEVEL_4K, TEST_ASID, false), 0);
	EXPECT_EQ(t, fault_of_write(block_page(b, 6)), 0);
	EXPECT(t, dm_is_sound(b->va, attributes));
	EXPECT(t, regions_mapped_large() < IMAGE_2M);
	EXPECT_EQ(t, rmp_make_shared(b->pfn + 5, PG_LEVEL_4K), 0);

	dm_counts_now(t, &after);
	EXPECT_EQ(t, after.split_2m - before.split_2m, large - regions_mapped_large());
	EXPECT_CHANGE(t, &before, .split_2m = after.split_2m - before.split_2m,
		      .split_1g = after.split_1g);
	/* Many at a time. */
	EXPECT(t, after.flushes - before.flushes <= (after.split_2m - before.split_2m) / 32);
}

/* And it stays so. */
static void presplit_is_not_restored(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_4K);
	struct dm_counts before;

	if (!EXPECT(t, b) || !dm_counts_now(t, &before))
		return;
	EXPECT_EQ(t, rmp_make_private_range(b->pfn, GPA, NR_PAGES, TEST_ASID, false), 0);
	EXPECT_EQ(t, rmp_make_shared_range(b->pfn, NR_PAGES), 0);
	EXPECT(t, !dm_wait_level(b->va, PG_LEVEL_2M, SETTLE_MS));
	EXPECT_CHANGE(t, &before);
}

static const struct test_case presplit_cases[] = {
	TEST_CASE(presplit_with_first_guest_page),
	TEST_CASE(presplit_is_not_restored),
};

TEST_GROUP(directmap_presplit, presplit_cases, .needs_snp = true);

/* For a test of the host: what it is to do with regions that could be put back. */
#define NR_LEFT		256

static void regions_are_left(struct test *t)
{
	struct dm_counts before;
	struct block *b;
	int i;

	if (!dm_set_restore(t, false) || !dm_counts_now(t, &before))
		return;
	for (i = 0; i < NR_LEFT; i++) {
		b = block_alloc(t, PG_LEVEL_2M);
		if (!EXPECT(t, b))
			return;
		EXPECT_EQ(t, rmp_make_private(b->pfn, GPA, PG_LEVEL_4K, TEST_ASID, false), 0);
		EXPECT_EQ(t, rmp_make_shared(b->pfn, PG_LEVEL_4K), 0);
	}
	EXPECT_CHANGE(t, &before, .split_2m = NR_LEFT);
}

static const struct test_case left_cases[] = {
	TEST_CASE(regions_are_left),
};

TEST_GROUP(directmap_left, left_cases, .needs_snp = true);

#endif /* SNP_TEST_DIRECTMAP */
