// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to give pages to a guest and to take them back, with the direct map
 * that has to be split for it.  A line for each is printed: "figure:" and then, separated
 * by tabs, one by one or in a range, how large the direct map's page was, how many pages,
 * and the instructions to make them private, shared, and private again.
 *
 * Instructions are those of an emulated machine that counts them (QEMU's -icount), where
 * the time stamp counter is their number.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <asm/msr.h>

#include "snp_test.h"

#define GPA		0x200000ull
#define NR_PAGES	64

/* One update for each page, as there is for KVM on stock kernels. */
static int private_one_by_one(u64 pfn, int nr)
{
	int i, ret = 0;

	for (i = 0; i < nr && !ret; i++)
		ret = rmp_make_private(pfn + i, GPA + PFN_PHYS(i), PG_LEVEL_4K, TEST_ASID, false);
	return ret;
}

static int shared_one_by_one(u64 pfn, int nr)
{
	int i, ret = 0;

	for (i = 0; i < nr && !ret; i++)
		ret = rmp_make_shared(pfn + i, PG_LEVEL_4K);
	return ret;
}

struct way {
	const char *name;
	int (*private)(u64 pfn, int nr);
	int (*shared)(u64 pfn, int nr);
};

static const struct way one_by_one = { "single", private_one_by_one, shared_one_by_one };

#ifdef SNP_TEST_DIRECTMAP
static int private_at_once(u64 pfn, int nr)
{
	return rmp_make_private_range(pfn, GPA, nr, TEST_ASID, false);
}

static int shared_at_once(u64 pfn, int nr)
{
	return rmp_make_shared_range(pfn, nr);
}

static const struct way at_once = { "range", private_at_once, shared_at_once };
#else
static const struct way at_once = { "single", private_one_by_one, shared_one_by_one };
#endif

/* The next page tables are at hand: how often the CPU has to fetch a batch is chance. */
static bool pages_at_hand(void)
{
	struct page *pages[8];
	int i, nr;

	for (nr = 0; nr < ARRAY_SIZE(pages); nr++) {
		pages[nr] = alloc_page(GFP_KERNEL);
		if (!pages[nr])
			break;
	}
	for (i = 0; i < nr; i++)
		__free_page(pages[i]);
	return nr == ARRAY_SIZE(pages);
}

static u64 instructions_of(int (*fn)(u64 pfn, int nr), u64 pfn, int *ret)
{
	u64 start = rdtsc_ordered();

	*ret = fn(pfn, NR_PAGES);
	return rdtsc_ordered() - start;
}

static void perf(struct test *t, const struct way *way, enum pg_level level)
{
	struct block *b = block_alloc(t, level);
	u64 insn[3];
	int ret[3];

	if (!b)
		return;
	/* Whatever else this needs is in the TLB and allocated. */
	EXPECT_EQ(t, fault_of_write(b->va), 0);
	EXPECT(t, pages_at_hand());
	insn[0] = instructions_of(way->private, b->pfn, &ret[0]);
	insn[1] = instructions_of(way->shared, b->pfn, &ret[1]);
	insn[2] = instructions_of(way->private, b->pfn, &ret[2]);
	EXPECT(t, !ret[0] && !ret[1] && !ret[2]);
	pr_info("figure:\t%s\t%s\t%d\t%llu\t%llu\t%llu\n", way->name,
		level == PG_LEVEL_1G ? "1G" : "2M", NR_PAGES, insn[0], insn[1], insn[2]);
	EXPECT(t, !way->shared(b->pfn, NR_PAGES));
}

/* Those of 1G first, as there are few; and again, when all code has been executed once. */
static void pages_one_by_one(struct test *t)
{
	perf(t, &one_by_one, PG_LEVEL_1G);
	perf(t, &one_by_one, PG_LEVEL_2M);
	perf(t, &one_by_one, PG_LEVEL_2M);
}

static void pages_at_once(struct test *t)
{
	perf(t, &at_once, PG_LEVEL_1G);
	perf(t, &at_once, PG_LEVEL_2M);
	perf(t, &at_once, PG_LEVEL_2M);
}

static const struct test_case cases[] = {
	TEST_CASE(pages_one_by_one),
	TEST_CASE(pages_at_once),
};

TEST_GROUP(directmap_perf, cases, .needs_snp = true);
