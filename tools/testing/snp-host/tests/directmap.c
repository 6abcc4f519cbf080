// SPDX-License-Identifier: GPL-2.0
/*
 * The direct map on a kernel that splits it for a guest's pages in batches and puts it
 * back: what splits it and what does not, what puts it back, and what must not.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <asm/set_memory.h>
#include <asm/tlbflush.h>

#include "directmap.h"

#ifdef SNP_TEST_DIRECTMAP

static int make_private(struct block *b, int i)
{
	return rmp_make_private(b->pfn + i, GPA + PFN_PHYS(i), PG_LEVEL_4K, TEST_ASID, false);
}

static int make_shared(struct block *b, int i)
{
	return rmp_make_shared(b->pfn + i, PG_LEVEL_4K);
}

/*
 * A region that is split again soon after it was put back has to wait for longer the next
 * time.  So each test has regions of its own, and those of others are held until it is over.
 */
#define MAX_USED	256

static u64 used[MAX_USED];
static int nr_used;

static bool was_used(const struct block *b)
{
	int i;

	for (i = 0; i < nr_used; i++) {
		if (used[i] == b->pfn)
			return true;
	}
	return false;
}

static struct block *fresh_block(struct test *t, enum pg_level level)
{
	struct block *b;

	do {
		b = block_alloc(t, level);
	} while (b && was_used(b));
	if (b && EXPECT(t, nr_used < MAX_USED))
		used[nr_used++] = b->pfn;
	return b;
}

/* Whatever is not private can be written. */
static bool others_can_be_written(struct block *b, int from, int to)
{
	int i;

	for (i = 0; i < BLOCK_PAGES; i++) {
		if ((i < from || i >= to) && fault_of_write(block_page(b, i)))
			return false;
	}
	return true;
}

/* One page splits its own 2M, another one beside it nothing more. */
static void page_splits_2m(struct test *t)
{
	struct block *b = fresh_block(t, PG_LEVEL_2M);
	struct dm_counts before, between;
	u64 attributes;

	if (!EXPECT(t, b) || !dm_counts_now(t, &before))
		return;
	attributes = dm_attributes(b->va);
	EXPECT_EQ(t, fault_of_write(block_page(b, 6)), 0);
	EXPECT_EQ(t, make_private(b, 5), 0);
	EXPECT_EQ(t, map_level(b->va), PG_LEVEL_4K);
	EXPECT(t, dm_is_sound(b->va, attributes));
	EXPECT(t, others_can_be_written(b, 5, 6));
	EXPECT_EQ(t, fault_of_write(block_page(b, 5)), RMP_WRITE_FAULT);
	EXPECT_CHANGE(t, &before, .split_2m = 1);
	dm_counts_now(t, &between);
	EXPECT(t, between.flushes == before.flushes + 1);

	EXPECT_EQ(t, make_private(b, 6), 0);
	EXPECT(t, others_can_be_written(b, 5, 7));
	EXPECT_CHANGE(t, &between);
	dm_counts_now(t, &before);
	EXPECT(t, before.skipped_4k > between.skipped_4k);
	EXPECT_EQ(t, before.flushes, between.flushes);

	EXPECT_EQ(t, make_shared(b, 5), 0);
	EXPECT_EQ(t, make_shared(b, 6), 0);
	EXPECT(t, dm_wait_level(b->va, PG_LEVEL_2M, RESTORE_MS));
	EXPECT(t, dm_is_sound(b->va, attributes));
	EXPECT(t, others_can_be_written(b, 0, 0));
	EXPECT_CHANGE(t, &between, .restored_2m = 1);
}

/* And the 1G around it, all of which comes back. */
static void page_splits_1g(struct test *t)
{
	struct block *b = fresh_block(t, PG_LEVEL_1G);
	struct dm_counts before;
	u64 attributes;
	char *other;

	if (!EXPECT(t, b) || !dm_counts_now(t, &before))
		return;
	other = (char *)((unsigned long)b->va ^ SZ_2M);
	attributes = dm_attributes(b->va);
	EXPECT_EQ(t, make_private(b, 5), 0);
	EXPECT_EQ(t, map_level(b->va), PG_LEVEL_4K);
	EXPECT_EQ(t, map_level(other), PG_LEVEL_2M);
	EXPECT(t, dm_is_sound(b->va, attributes));
	EXPECT(t, dm_is_sound(other, attributes));
	EXPECT(t, others_can_be_written(b, 5, 6));
	EXPECT_CHANGE(t, &before, .split_2m = 1, .split_1g = 1);

	EXPECT_EQ(t, make_shared(b, 5), 0);
	EXPECT(t, dm_wait_level(b->va, PG_LEVEL_1G, RESTORE_MS));
	EXPECT(t, dm_is_sound(b->va, attributes));
	EXPECT(t, others_can_be_written(b, 0, 0));
	EXPECT_CHANGE(t, &before, .split_2m = 1, .split_1g = 1, .restored_2m = 1,
		      .restored_1g = 1);
}

/* A 2M entry of the RMP is checked as 2M, however large the mapping is. */
static void large_entry_splits_nothing(struct test *t)
{
	static const enum pg_level levels[] = { PG_LEVEL_1G, PG_LEVEL_2M };
	struct dm_counts before, after;
	struct block *b;
	int i;

	for (i = 0; i < ARRAY_SIZE(levels); i++) {
		b = fresh_block(t, levels[i]);
		if (!EXPECT(t, b) || !dm_counts_now(t, &before))
			return;
		EXPECT_EQ(t, rmp_make_private(b->pfn, GPA, PG_LEVEL_2M, TEST_ASID, false), 0);
		EXPECT_EQ(t, map_level(b->va), levels[i]);
		EXPECT_EQ(t, fault_of_write(b->va), RMP_WRITE_FAULT);
		EXPECT_EQ(t, fault_of_write(b->va + SZ_2M / 2), RMP_WRITE_FAULT);
		EXPECT_EQ(t, rmp_make_shared(b->pfn, PG_LEVEL_2M), 0);
		EXPECT(t, others_can_be_written(b, 0, 0));
		EXPECT_CHANGE(t, &before);
		dm_counts_now(t, &after);
		EXPECT(t, after.skipped_2m > before.skipped_2m);
		EXPECT_EQ(t, after.flushes, before.flushes);
	}
}

/* Smashed, it is 512 small entries, and needs the split as soon as one page is shared. */
static void smashed_entry_splits_2m(struct test *t)
{
	struct block *b = fresh_block(t, PG_LEVEL_2M);
	struct dm_counts before;

	if (!EXPECT(t, b) || !dm_counts_now(t, &before))
		return;
	EXPECT_EQ(t, rmp_make_private(b->pfn, GPA, PG_LEVEL_2M, TEST_ASID, false), 0);
	EXPECT_EQ(t, psmash(b->pfn), 0);
	EXPECT_EQ(t, make_shared(b, 9), 0);
	EXPECT_EQ(t, map_level(b->va), PG_LEVEL_4K);
	EXPECT_EQ(t, fault_of_write(block_page(b, 9)), 0);
	EXPECT_EQ(t, fault_of_write(block_page(b, 8)), RMP_WRITE_FAULT);
	EXPECT_CHANGE(t, &before, .split_2m = 1);

	EXPECT_EQ(t, rmp_make_shared_range(b->pfn, BLOCK_PAGES), 0);
	EXPECT(t, dm_wait_level(b->va, PG_LEVEL_2M, RESTORE_MS));
	EXPECT_CHANGE(t, &before, .split_2m = 1, .restored_2m = 1);
}

/* Two blocks of which @low is right below @high. */
static bool neighbours(struct test *t, enum pg_level level, struct block **low,
		       struct block **high)
{
	struct block *a, *b;
	int tries;

	for (tries = 0; tries < 16; tries++) {
		a = fresh_block(t, level);
		if (!a)
			return false;
		list_for_each_entry(b, &t->blocks, list) {
			*low = a->pfn < b->pfn ? a : b;
			*high = a->pfn < b->pfn ? b : a;
			if ((*low)->pfn + BLOCK_PAGES == (*high)->pfn &&
			    map_level(b->va) == level &&
			    (level != PG_LEVEL_1G || !(((*low)->pfn ^ (*high)->pfn) >> 18)))
				return true;
		}
	}
	test_fail(t, __LINE__, "no two blocks beside each other");
	return false;
}

/* @nr pages from page @first of @b on, and back, with one flush for all that they split. */
static void range_and_back(struct test *t, struct block *b, int first, int nr,
			   struct dm_change change)
{
	enum pg_level level = map_level(b->va);
	struct dm_counts before, after;
	bool assigned;
	int i, size;

	if (!dm_counts_now(t, &before))
		return;
	EXPECT_EQ(t, rmp_make_private_range(b->pfn + first, GPA, nr, TEST_ASID, false), 0);
	EXPECT_CHANGE(t, &before, change.split_2m, change.split_1g);
	dm_counts_now(t, &after);
	EXPECT_EQ(t, after.flushes - before.flushes, 1);
	for (i = first; i < first + nr; i++) {
		EXPECT_EQ(t, snp_lookup_rmpentry(b->pfn + i, &assigned, &size), 0);
		if (!EXPECT(t, assigned && size == PG_LEVEL_4K) ||
		    !EXPECT(t, fault_of_write(block_page(b, i)) == RMP_WRITE_FAULT))
			break;
		EXPECT_EQ(t, rmp_entry(b->pfn + i).gpa, (GPA >> PAGE_SHIFT) + i - first);
	}
	if (first)
		EXPECT_EQ(t, fault_of_write(block_page(b, first - 1)), 0);
	EXPECT_EQ(t, rmp_make_shared_range(b->pfn + first, nr), 0);
	EXPECT(t, dm_wait_level(block_page(b, first), level, RESTORE_MS));
	EXPECT(t, dm_wait_level(block_page(b, first + nr - 1), level, RESTORE_MS));
	EXPECT_CHANGE(t, &before, change.split_2m, change.split_1g, change.split_2m,
		      change.split_1g);
}

static void range_of_2m(struct test *t)
{
	struct block *b = fresh_block(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	range_and_back(t, b, 0, 64, (struct dm_change){ .split_2m = 1 });
	range_and_back(t, b, 511, 1, (struct dm_change){ .split_2m = 1 });
	range_and_back(t, b, 0, 512, (struct dm_change){ .split_2m = 1 });
}

static void range_over_two_2m(struct test *t)
{
	struct block *low, *high;

	if (neighbours(t, PG_LEVEL_2M, &low, &high)) {
		range_and_back(t, low, 500, 24, (struct dm_change){ .split_2m = 2 });
		EXPECT_EQ(t, fault_of_write(block_page(high, 12)), 0);
	}
}

static void range_over_two_2m_of_1g(struct test *t)
{
	struct block *low, *high;

	if (neighbours(t, PG_LEVEL_1G, &low, &high))
		range_and_back(t, low, 511, 513,
			       (struct dm_change){ .split_2m = 2, .split_1g = 1 });
}

/* Half of what a range needs is there already. */
static void range_beside_split_2m(struct test *t)
{
	struct block *low, *high;
	struct dm_counts before;

	if (!neighbours(t, PG_LEVEL_2M, &low, &high))
		return;
	EXPECT_EQ(t, make_private(low, 3), 0);
	if (!dm_counts_now(t, &before))
		return;
	EXPECT_EQ(t, rmp_make_private_range(low->pfn + 504, GPA, 16, TEST_ASID, false), 0);
	EXPECT_CHANGE(t, &before, .split_2m = 1);
	EXPECT_EQ(t, fault_of_write(block_page(low, 503)), 0);
	EXPECT_EQ(t, fault_of_write(block_page(high, 8)), 0);
	EXPECT_EQ(t, rmp_make_shared_range(low->pfn + 504, 16), 0);

	/* What has a private page is not put back with the other. */
	EXPECT(t, dm_wait_level(high->va, PG_LEVEL_2M, RESTORE_MS));
	EXPECT_EQ(t, map_level(low->va), PG_LEVEL_4K);
	EXPECT_EQ(t, make_shared(low, 3), 0);
	EXPECT(t, dm_wait_level(low->va, PG_LEVEL_2M, RESTORE_MS));
}

/* Wait until the region could have been restored, and see that it was not. */
static void expect_stays_split(struct test *t, const struct block *b)
{
	EXPECT(t, !dm_wait_level(b->va, PG_LEVEL_2M, SETTLE_MS));
	EXPECT_EQ(t, map_level(b->va), PG_LEVEL_4K);
}

/* A page goes there and back, and the region is put back with that. */
static void expect_restored(struct test *t, struct block *b, int page)
{
	EXPECT_EQ(t, make_private(b, page), 0);
	EXPECT_EQ(t, make_shared(b, page), 0);
	EXPECT(t, dm_wait_level(b->va, PG_LEVEL_2M, RESTORE_MS));
}

static void last_private_page_keeps(struct test *t)
{
	struct block *b = fresh_block(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, rmp_make_private_range(b->pfn, GPA, 3, TEST_ASID, false), 0);
	EXPECT_EQ(t, make_shared(b, 0), 0);
	EXPECT_EQ(t, make_shared(b, 2), 0);
	expect_stays_split(t, b);
	EXPECT(t, others_can_be_written(b, 1, 2));
	EXPECT_EQ(t, make_shared(b, 1), 0);
	EXPECT(t, dm_wait_level(b->va, PG_LEVEL_2M, RESTORE_MS));
}

/* The RMP has the last word: this page was made private behind the kernel's back. */
static void page_of_the_rmp_keeps(struct test *t)
{
	struct block *b = fresh_block(t, PG_LEVEL_2M);
	struct dm_counts before, after;

	if (!EXPECT(t, b) || !dm_counts_now(t, &before))
		return;
	EXPECT_EQ(t, make_private(b, 0), 0);
	EXPECT_EQ(t, raw_private(b->pfn + 500, GPA, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, make_shared(b, 0), 0);
	expect_stays_split(t, b);
	EXPECT(t, others_can_be_written(b, 500, 501));
	dm_counts_now(t, &after);
	EXPECT(t, after.kept_private > before.kept_private);
	EXPECT_EQ(t, after.restored_2m, before.restored_2m);
	EXPECT_EQ(t, raw_shared(b->pfn + 500, RMP_PG_SIZE_4K), RMP_OK);
	expect_restored(t, b, 0);
}

static void restore_is_off(struct test *t)
{
	struct block *b = fresh_block(t, PG_LEVEL_2M);
	struct dm_counts before;

	if (!EXPECT(t, b) || !dm_counts_now(t, &before) || !dm_set_restore(t, false))
		return;
	EXPECT_EQ(t, make_private(b, 0), 0);
	EXPECT_EQ(t, make_shared(b, 0), 0);
	expect_stays_split(t, b);
	EXPECT_CHANGE(t, &before, .split_2m = 1);
	dm_set_restore(t, true);
	expect_restored(t, b, 0);
}

/* One page has other attributes while the others could become one. */
static void page_of_other_attributes_keeps(struct test *t)
{
	struct block *b = fresh_block(t, PG_LEVEL_2M);
	struct dm_counts before, after;
	unsigned long page;

	if (!EXPECT(t, b))
		return;
	page = (unsigned long)block_page(b, 77);
	EXPECT_EQ(t, make_private(b, 0), 0);
	EXPECT_EQ(t, set_memory_uc(page, 1), 0);
	if (!dm_counts_now(t, &before))
		return;
	EXPECT_EQ(t, make_shared(b, 0), 0);
	expect_stays_split(t, b);
	EXPECT(t, dm_attributes((void *)page) != dm_attributes(b->va));
	dm_counts_now(t, &after);
	EXPECT(t, after.kept_mixed > before.kept_mixed);
	EXPECT_EQ(t, after.restored_2m, before.restored_2m);
	EXPECT_EQ(t, set_memory_wb(page, 1), 0);
	expect_restored(t, b, 0);
}

/* What somebody else has split is not ours to put back. */
static void split_by_others_stays(struct test *t)
{
	struct block *b = fresh_block(t, PG_LEVEL_2M);
	unsigned long page;

	if (!EXPECT(t, b))
		return;
	page = (unsigned long)block_page(b, 77);
	EXPECT_EQ(t, set_memory_uc(page, 1), 0);
	EXPECT_EQ(t, set_memory_wb(page, 1), 0);
	EXPECT_EQ(t, map_level(b->va), PG_LEVEL_4K);
	EXPECT_EQ(t, make_private(b, 0), 0);
	EXPECT_EQ(t, make_shared(b, 0), 0);
	expect_stays_split(t, b);
}

/* What is not mapped cannot be read by speculation, as set_mce_nospec() has it. */
static void set_present(struct test *t, void *va, bool present)
{
	unsigned int level;
	pte_t *ptep = lookup_address((unsigned long)va, &level);
	pteval_t val;

	if (!EXPECT(t, ptep && level == PG_LEVEL_4K))
		return;
	val = pte_val(*ptep) & ~(pteval_t)_PAGE_PRESENT;
	set_pte(ptep, __pte(present ? val | _PAGE_PRESENT : val));
	on_each_cpu(flush_everywhere, NULL, 1);
}

/* memory_failure() of a private page, and what the machine check's handler does then. */
static void poisoned_page_keeps(struct test *t)
{
	struct block *b = fresh_block(t, PG_LEVEL_2M);
	struct dm_counts before, after;

	if (!EXPECT(t, b) || !dm_counts_now(t, &before))
		return;
	EXPECT_EQ(t, rmp_make_private_range(b->pfn, GPA, 8, TEST_ASID, false), 0);
	/* Nobody knows whose page it is: it is marked, and left alone otherwise. */
	EXPECT(t, memory_failure(b->pfn + 3, 0));
	EXPECT(t, PageHWPoison(b->page + 3));
	set_present(t, block_page(b, 3), false);
	EXPECT_EQ(t, rmp_make_shared_range(b->pfn, 8), 0);
	expect_stays_split(t, b);
	EXPECT(t, others_can_be_written(b, 3, 4));
	dm_counts_now(t, &after);
	EXPECT(t, after.kept_mixed > before.kept_mixed);
	set_present(t, block_page(b, 3), true);
	ClearPageHWPoison(b->page + 3);
	expect_restored(t, b, 0);
}

/* The same page there and back all the time does not split its 2M each time. */
static void flapping_page_is_left_alone(struct test *t)
{
	struct block *b = fresh_block(t, PG_LEVEL_2M);
	struct dm_counts before, after;
	unsigned long end;
	int rounds = 0;

	if (!EXPECT(t, b) || !dm_counts_now(t, &before))
		return;
	for (end = jiffies + msecs_to_jiffies(SETTLE_MS); time_before(jiffies, end); rounds++) {
		EXPECT_EQ(t, make_private(b, 0), 0);
		EXPECT_EQ(t, make_shared(b, 0), 0);
		msleep(20);
	}
	dm_counts_now(t, &after);
	pr_info("flapping: %d rounds, %lld splits\n", rounds, after.split_2m - before.split_2m);
	EXPECT(t, rounds >= 20);
	EXPECT(t, after.split_2m - before.split_2m <= 4);
	EXPECT(t, dm_wait_level(b->va, PG_LEVEL_2M, RESTORE_MS));
}

static const struct test_case cases[] = {
	TEST_CASE(page_splits_2m),
	TEST_CASE(page_splits_1g),
	TEST_CASE(large_entry_splits_nothing),
	TEST_CASE(smashed_entry_splits_2m),
	TEST_CASE(range_of_2m),
	TEST_CASE(range_over_two_2m),
	TEST_CASE(range_over_two_2m_of_1g),
	TEST_CASE(range_beside_split_2m),
	TEST_CASE(last_private_page_keeps),
	TEST_CASE(page_of_the_rmp_keeps),
	TEST_CASE(restore_is_off),
	TEST_CASE(page_of_other_attributes_keeps),
	TEST_CASE(split_by_others_stays),
	TEST_CASE(poisoned_page_keeps),
	TEST_CASE(flapping_page_is_left_alone),
};

TEST_GROUP(directmap, cases, .needs_snp = true);

#endif /* SNP_TEST_DIRECTMAP */
