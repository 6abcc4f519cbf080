// SPDX-License-Identifier: GPL-2.0
/*
 * Page tables in store: how many are taken, of which node, and that each is there
 * once.
 */
#include <linux/kvm_host.h>
#include <linux/mm.h>

#include "lpage_kunit.h"
#include "mmu/lpage_pool.h"
#include "mmu/mmu_internal.h"

/* What a pool takes at least, if that much is wanted. */
#define BLOCK	8

static int pool_init(struct kunit *test)
{
	if (!mmu_page_header_cache)
		kunit_skip(test, "KVM has found no CPU that it can use");

	return 0;
}

/* Take all page tables of a node out of the pool; returns how many. */
static int drain(struct kunit *test, struct kvm_lpage_pool *pool, int nid,
		 struct list_head *tables)
{
	struct kvm_mmu_page *sp;
	int nr = 0;

	while ((sp = kvm_lpage_pool_get(pool, nid))) {
		KUNIT_EXPECT_EQ(test, page_to_nid(virt_to_page(sp->spt)), nid);
		KUNIT_EXPECT_TRUE(test, PAGE_ALIGNED(sp->spt));
		KUNIT_EXPECT_EQ(test, page_count(virt_to_page(sp->spt)), 1);
		list_add(&sp->link, tables);
		nr++;
	}

	return nr;
}

/* As many as asked for, but not more than twice what was taken before. */
static void test_fill(struct kunit *test)
{
	static const struct {
		int wanted;
		int filled;
	} steps[] = {
		{ 1000, BLOCK },
		{ 1000, BLOCK },
		{ 1000, 2 * BLOCK },
		{ 3, 3 },
		{ BLOCK, BLOCK },
		{ 1000, 5 * BLOCK + 3 },
		{ 10 * BLOCK + 6, 10 * BLOCK + 6 },
	};
	struct kvm_lpage_pool *pool = NULL;
	int nid = numa_mem_id(), i, total = 0;
	LIST_HEAD(tables);

	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		KUNIT_EXPECT_EQ_MSG(test, kvm_lpage_pool_fill(&pool, nid, steps[i].wanted),
				    steps[i].filled, "step %d", i);
		total += steps[i].filled;
	}

	KUNIT_EXPECT_EQ(test, drain(test, pool, nid, &tables), total);
	kvm_lpage_free_tables(&tables);
	kvm_lpage_pool_free(&pool);
	KUNIT_EXPECT_NULL(test, pool);
}

static void test_few_at_first(struct kunit *test)
{
	struct kvm_lpage_pool *pool = NULL;

	KUNIT_EXPECT_EQ(test, kvm_lpage_pool_fill(&pool, numa_mem_id(), 1), 1);
	KUNIT_EXPECT_EQ(test, kvm_lpage_pool_fill(&pool, numa_mem_id(), 1000), BLOCK);
	kvm_lpage_pool_free(&pool);
}

static void test_nodes(struct kunit *test)
{
	struct kvm_lpage_pool *pool = NULL;
	int nid, other, nr = 1;
	LIST_HEAD(tables);

	for_each_node_state(nid, N_MEMORY) {
		KUNIT_EXPECT_EQ(test, kvm_lpage_pool_fill(&pool, nid, nr), nr);
		nr++;
	}

	nr = 1;
	for_each_node_state(nid, N_MEMORY) {
		KUNIT_EXPECT_EQ(test, drain(test, pool, nid, &tables), nr);
		nr++;
		/* Those of the nodes to come are still there. */
		for_each_node_state(other, N_MEMORY)
			KUNIT_EXPECT_EQ(test, list_empty(&pool->free[other]), other <= nid);
	}

	kvm_lpage_free_tables(&tables);
	kvm_lpage_pool_free(&pool);
}

static void test_put(struct kunit *test)
{
	struct kvm_lpage_pool *pool = NULL;
	int nid = numa_mem_id();
	struct kvm_mmu_page *sp;

	KUNIT_ASSERT_EQ(test, kvm_lpage_pool_fill(&pool, nid, 1), 1);
	sp = kvm_lpage_pool_get(pool, nid);
	KUNIT_ASSERT_NOT_NULL(test, sp);
	KUNIT_EXPECT_NULL(test, kvm_lpage_pool_get(pool, nid));

	kvm_lpage_pool_put(pool, nid, sp);
	KUNIT_EXPECT_PTR_EQ(test, kvm_lpage_pool_get(pool, nid), sp);

	kvm_lpage_pool_put(pool, nid, sp);
	kvm_lpage_pool_free(&pool);
}

static void test_no_pool(struct kunit *test)
{
	struct kvm_lpage_pool *pool = NULL;

	KUNIT_EXPECT_NULL(test, kvm_lpage_pool_get(NULL, numa_mem_id()));
	kvm_lpage_pool_free(&pool);
	KUNIT_EXPECT_NULL(test, pool);
}

/* A task that is being killed allocates no more, but keeps what it has. */
static void test_killed(struct kunit *test)
{
	struct kvm_lpage_pool *pool = NULL;
	int nid = numa_mem_id(), nr;
	LIST_HEAD(tables);

	lpage_kunit_kill(true);
	nr = kvm_lpage_pool_fill(&pool, nid, BLOCK);
	lpage_kunit_kill(false);
	KUNIT_EXPECT_EQ(test, nr, -EINTR);
	KUNIT_EXPECT_NULL(test, kvm_lpage_pool_get(pool, nid));

	KUNIT_EXPECT_EQ(test, kvm_lpage_pool_fill(&pool, nid, BLOCK), BLOCK);
	lpage_kunit_kill(true);
	nr = kvm_lpage_pool_fill(&pool, nid, BLOCK);
	lpage_kunit_kill(false);
	KUNIT_EXPECT_EQ(test, nr, -EINTR);
	KUNIT_EXPECT_EQ(test, drain(test, pool, nid, &tables), BLOCK);

	kvm_lpage_free_tables(&tables);
	kvm_lpage_pool_free(&pool);
}

/* Any number, below and above what is freed in one go. */
static void test_free_tables(struct kunit *test)
{
	struct kvm_lpage_pool *pool = NULL;
	int nid = numa_mem_id(), nr, left;
	struct kvm_mmu_page *sp;
	struct page *pages[2 * BLOCK + 1];
	LIST_HEAD(tables);

	for (nr = 0; nr <= 2 * BLOCK + 1; nr++) {
		for (left = 0; left < nr; left++) {
			KUNIT_ASSERT_EQ(test, kvm_lpage_pool_fill(&pool, nid, 1), 1);
			sp = kvm_lpage_pool_get(pool, nid);
			list_add(&sp->link, &tables);
			pages[left] = virt_to_page(sp->spt);
			/* So that one can tell when it is given back. */
			get_page(pages[left]);
		}

		kvm_lpage_free_tables(&tables);
		INIT_LIST_HEAD(&tables);

		for (left = 0; left < nr; left++) {
			KUNIT_EXPECT_EQ(test, page_count(pages[left]), 1);
			put_page(pages[left]);
		}
	}

	kvm_lpage_pool_free(&pool);
}

static struct kunit_case lpage_pool_cases[] = {
	KUNIT_CASE(test_fill),
	KUNIT_CASE(test_few_at_first),
	KUNIT_CASE(test_nodes),
	KUNIT_CASE(test_put),
	KUNIT_CASE(test_no_pool),
	KUNIT_CASE(test_killed),
	KUNIT_CASE(test_free_tables),
	{}
};

static struct kunit_suite lpage_pool_suite = {
	.name = "kvm_lpage_pool",
	.init = pool_init,
	.test_cases = lpage_pool_cases,
};

kunit_test_suite(lpage_pool_suite);
