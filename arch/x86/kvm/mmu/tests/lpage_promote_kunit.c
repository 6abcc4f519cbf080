// SPDX-License-Identifier: GPL-2.0
/*
 * Which page tables promotion looks at, and what the host's mapping and lpage_info
 * say to the level.  Included by lpage_promote.c, for the functions that only it
 * knows.
 *
 * Nothing is replaced here.  A table that could be promoted as far as its level is
 * concerned has a child that differs, and is left alone for that.
 */
#include <linux/mm_types.h>
#include <linux/pgtable.h>

#include "lpage_kunit.h"

LPAGE_ENCODING_PARAM;

#define PAGES_2M	512
#define PAGES_1G	(512 * 512)

/* Guest memory that there are page tables for, and where the host has it. */
#define MEM_PAGES	(2 * PAGES_1G)
#define MEM_HVA		(4ul * SZ_1G)

/* 512 times 1G by the same table of 2M SPTEs, each with the same table of 4K ones. */
struct promote_test {
	const struct lpage_encoding *enc;
	struct kvm *kvm;
	struct kvm_mmu_page root;
	struct kvm_mmu_page table_2m;
	struct kvm_mmu_page table_4k;
	struct kvm_memory_slot slot;
	struct kvm_lpage_info info_2m[MEM_PAGES / PAGES_2M];
	struct kvm_lpage_info info_1g[MEM_PAGES / PAGES_1G];
	struct mm_struct mm;
	pud_t *puds;
	pmd_t *pmds;
};

static void fill_tables(struct promote_test *t)
{
	u64 leaf = t->enc->present | t->enc->read;

	if (!t->enc->has_ad)
		leaf |= SPTE_TDP_AD_DISABLED;
	memset64(t->root.spt, t->enc->present | __pa(t->table_2m.spt), NR_SPTES);
	memset64(t->table_2m.spt, t->enc->present | __pa(t->table_4k.spt), NR_SPTES);
	memset64(t->table_4k.spt, leaf, NR_SPTES);
	/* Of another huge page. */
	t->table_4k.spt[NR_SPTES - 1] |= BIT_ULL(40);
}

static struct promote_test *promote_test_begin(struct kunit *test)
{
	struct promote_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->enc = test->param_value;
	t->kvm = lpage_kunit_kvm(test, t->enc);
	rwlock_init(&t->kvm->mmu_lock);
	t->kvm->mm = &t->mm;

	lpage_kunit_table(test, &t->root, PG_LEVEL_1G);
	lpage_kunit_table(test, &t->table_2m, PG_LEVEL_2M);
	lpage_kunit_table(test, &t->table_4k, PG_LEVEL_4K);
	fill_tables(t);

	t->slot.npages = MEM_PAGES;
	t->slot.userspace_addr = MEM_HVA;
	t->slot.arch.lpage_info[PG_LEVEL_2M - PG_LEVEL_2M] = t->info_2m;
	t->slot.arch.lpage_info[PG_LEVEL_1G - PG_LEVEL_2M] = t->info_1g;
	return t;
}

/* What was skipped for @reason, of all that was looked at. */
static u64 promote(struct kunit *test, struct promote_test *t, int level,
		   gfn_t start, gfn_t end, enum kvm_lpage_skip reason)
{
	struct kvm_lpage_job job = { .kvm = t->kvm, .slot = &t->slot };

	memset(&t->kvm->stat, 0, sizeof(t->kvm->stat));
	KUNIT_EXPECT_EQ(test, lpage_promote_root(&job, &t->root, level, start, end), 0);
	return atomic64_read(&t->kvm->stat.lpage_promote_skip[reason]);
}

static u64 nr_whole_pages(gfn_t size, gfn_t start, gfn_t end)
{
	u64 nr = 0;
	gfn_t gfn;

	for (gfn = 0; gfn < MEM_PAGES; gfn += size)
		nr += gfn >= start && gfn + size <= end;
	return nr;
}

/* Only huge pages that lie within the range with all that they map, each once. */
static void test_whole_pages(struct kunit *test)
{
	static const gfn_t ends[] = {
		0, 1, 511, 512, 513, 1023, 1024, 130 * PAGES_2M, PAGES_1G - 512,
		PAGES_1G - 1, PAGES_1G, PAGES_1G + 1, PAGES_1G + 511,
		PAGES_1G + 512, MEM_PAGES - 512, MEM_PAGES - 1, MEM_PAGES,
	};
	struct promote_test *t = promote_test_begin(test);
	gfn_t size = PAGES_2M;
	int level, i, j;

	/* There is no quicker reason to leave a table alone. */
	t->table_2m.nx_huge_page_disallowed = true;
	t->table_4k.nx_huge_page_disallowed = true;

	for (level = PG_LEVEL_2M; level <= PG_LEVEL_1G; level++, size = PAGES_1G)
		for (i = 0; i < ARRAY_SIZE(ends); i++)
			for (j = i + 1; j < ARRAY_SIZE(ends); j++)
				KUNIT_EXPECT_EQ_MSG(test, nr_whole_pages(size, ends[i], ends[j]),
						    promote(test, t, level, ends[i], ends[j],
							    KVM_LPAGE_SKIP_NX),
						    "level %d, [%llu, %llu)", level,
						    ends[i], ends[j]);
}

/* Let the host map all memory at that level, or not at all. */
static void set_host_level(struct promote_test *t, int level)
{
	int i;

	for (i = 0; i < PTRS_PER_PMD; i++)
		t->pmds[i] = __pmd(level == PG_LEVEL_2M ? _PAGE_TABLE | _PAGE_PSE :
						  __pa(t->pmds) | _PAGE_TABLE);
	for (i = 0; i < PTRS_PER_PUD; i++)
		t->puds[i] = __pud(level == PG_LEVEL_1G ? _PAGE_TABLE | _PAGE_PSE :
				   level ? __pa(t->pmds) | _PAGE_TABLE : 0);
}

/* Let lpage_info have no pages as large as @level, or larger. */
static void disallow(struct promote_test *t, int level)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(t->info_2m); i++)
		t->info_2m[i].disallow_lpage = level <= PG_LEVEL_2M;
	for (i = 0; i < ARRAY_SIZE(t->info_1g); i++)
		t->info_1g[i].disallow_lpage = level <= PG_LEVEL_1G;
}

static void check_level(struct kunit *test, struct promote_test *t, int level,
			int host, int disallowed)
{
	int nr = level == PG_LEVEL_2M ? MEM_PAGES / PAGES_2M : MEM_PAGES / PAGES_1G;
	bool fits = level <= host && level < disallowed;

	set_host_level(t, host);
	disallow(t, disallowed);
	KUNIT_EXPECT_EQ_MSG(test, fits ? 0 : nr,
			    promote(test, t, level, 0, MEM_PAGES, KVM_LPAGE_SKIP_LEVEL),
			    "level %d, the host's %d, disallowed from %d", level, host,
			    disallowed);
	KUNIT_EXPECT_EQ_MSG(test, fits ? nr : 0,
			    promote(test, t, level, 0, MEM_PAGES, KVM_LPAGE_SKIP_MIXED),
			    "level %d, the host's %d, disallowed from %d", level, host,
			    disallowed);
}

/* A huge page needs one of the host that is as large, and none of KVM's vetos. */
static void test_level(struct kunit *test)
{
	struct promote_test *t = promote_test_begin(test);
	int level, host, disallowed;

	if (pgtable_l5_enabled())
		kunit_skip(test, "knows four levels of the host's page tables");

	t->mm.pgd = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	t->puds = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	t->pmds = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, t->mm.pgd && t->puds && t->pmds);
	t->mm.pgd[pgd_index(MEM_HVA)] = __pgd(__pa(t->puds) | _PAGE_TABLE);

	for (level = PG_LEVEL_2M; level <= PG_LEVEL_1G; level++)
		for (host = PG_LEVEL_NONE; host <= PG_LEVEL_1G; host++)
			for (disallowed = PG_LEVEL_2M; disallowed <= PG_LEVEL_512G; disallowed++)
				check_level(test, t, level, host, disallowed);

	/* One page is not another; the host's 2M of a number are the same in each 1G. */
	set_host_level(t, PG_LEVEL_2M);
	disallow(t, PG_LEVEL_512G);
	t->info_2m[7].disallow_lpage = 1;
	t->info_1g[0].disallow_lpage = 1;
	t->pmds[8] = __pmd(0);
	KUNIT_EXPECT_EQ(test, 3, promote(test, t, PG_LEVEL_2M, 0, MEM_PAGES,
					 KVM_LPAGE_SKIP_LEVEL));
	KUNIT_EXPECT_EQ(test, 0, promote(test, t, PG_LEVEL_2M, 0, 7 * PAGES_2M,
					 KVM_LPAGE_SKIP_LEVEL));
}

/* How much is done with mmu_lock held, and where it goes on. */
static void test_batch(struct kunit *test)
{
	struct promote_test *t = promote_test_begin(test);
	struct lpage_batch tables = { .kvm = t->kvm, .slot = &t->slot, .shared = true };
	struct lpage_batch steps = tables;
	gfn_t next;

	t->table_4k.nx_huge_page_disallowed = true;
	next = lpage_promote_hold(&tables, &t->root, PG_LEVEL_2M, 0, MEM_PAGES);
	KUNIT_EXPECT_EQ(test, tables.nr_tables, 128);
	KUNIT_EXPECT_EQ(test, next, 128 * PAGES_2M);

	memset64(t->table_2m.spt, SHADOW_NONPRESENT_VALUE, NR_SPTES);
	next = lpage_promote_hold(&steps, &t->root, PG_LEVEL_2M, 0, 512ull * PAGES_1G);
	KUNIT_EXPECT_EQ(test, steps.nr_steps, 2048);
	/* Four of them were for SPTEs of 1G. */
	KUNIT_EXPECT_EQ(test, next, 2044 * PAGES_2M);
}

static struct kunit_case lpage_promote_cases[] = {
	KUNIT_CASE_PARAM(test_whole_pages, lpage_encoding_gen_params),
	KUNIT_CASE_PARAM(test_level, lpage_encoding_gen_params),
	KUNIT_CASE_PARAM(test_batch, lpage_encoding_gen_params),
	{}
};

static struct kunit_suite lpage_promote_suite = {
	.name = "kvm_lpage_promote",
	.test_cases = lpage_promote_cases,
};

kunit_test_suite(lpage_promote_suite);
