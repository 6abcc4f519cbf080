// SPDX-License-Identifier: GPL-2.0
/*
 * The direct map made of smaller pages and of larger ones again: on tables of the test's,
 * and on the kernel's own direct map of a 2M page that the test has allocated.
 *
 * Part of set_memory.c, as what it tests.
 */
#include <kunit/test.h>

#define ORDER_2M	(PMD_SHIFT - PAGE_SHIFT)

/* What the direct map maps by, with NX and, where the machine has it, encryption. */
#define LARGE_PROT	(__PAGE_KERNEL_LARGE | _PAGE_NX)
#define TEST_PFN	0x12345600ul

struct table_test {
	pte_t *table;
	/* The kernel's own memory */
	struct page *page;
	unsigned long addr;
	unsigned long pfn;
};

static pteval_t entry_of(unsigned long pfn, pteval_t prot)
{
	return ((pteval_t)pfn << PAGE_SHIFT) | prot;
}

/* The parts have the attributes of the whole, in the places that they have there. */
static void test_parts_2m(struct kunit *test)
{
	struct table_test *t = test->priv;
	int i;

	direct_map_fill(t->table, direct_map_part(entry_of(TEST_PFN, LARGE_PROT), PG_LEVEL_2M),
			direct_map_step(PG_LEVEL_2M));
	for (i = 0; i < PTRS_PER_PTE; i++)
		KUNIT_EXPECT_EQ(test, pte_val(t->table[i]),
				entry_of(TEST_PFN + i, __PAGE_KERNEL | _PAGE_NX));

	direct_map_fill(t->table, direct_map_part(entry_of(TEST_PFN, LARGE_PROT | _PAGE_PAT_LARGE),
						  PG_LEVEL_2M), PAGE_SIZE);
	for (i = 0; i < PTRS_PER_PTE; i++)
		KUNIT_EXPECT_EQ(test, pte_val(t->table[i]),
				entry_of(TEST_PFN + i, __PAGE_KERNEL | _PAGE_NX | _PAGE_PAT));
}

static void test_parts_1g(struct kunit *test)
{
	unsigned long pfn = ALIGN_DOWN(TEST_PFN, PTRS_PER_PMD * PTRS_PER_PUD);
	struct table_test *t = test->priv;
	pteval_t prot = LARGE_PROT | _PAGE_PAT_LARGE;
	int i;

	direct_map_fill(t->table, direct_map_part(entry_of(pfn, prot), PG_LEVEL_1G),
			direct_map_step(PG_LEVEL_1G));
	for (i = 0; i < PTRS_PER_PMD; i++)
		KUNIT_EXPECT_EQ(test, pte_val(t->table[i]),
				entry_of(pfn + i * PTRS_PER_PTE, prot));
}

/* What the table makes as a whole, or 0. */
static pteval_t whole_of(struct table_test *t, int level, unsigned long pfn)
{
	pteval_t first = direct_map_gather(t->table, direct_map_step(level));

	return first ? direct_map_whole(first, level, pfn) : 0;
}

static void test_whole(struct kunit *test)
{
	static const pteval_t other[] = { 0, _PAGE_PAT_LARGE, _PAGE_GLOBAL, _PAGE_PCD | _PAGE_PWT };
	unsigned long pfn = ALIGN_DOWN(TEST_PFN, PTRS_PER_PMD * PTRS_PER_PUD);
	struct table_test *t = test->priv;
	int i, level;

	for (level = PG_LEVEL_2M; level <= PG_LEVEL_1G; level++) {
		for (i = 0; i < ARRAY_SIZE(other); i++) {
			pteval_t val = entry_of(pfn, LARGE_PROT ^ other[i]);

			direct_map_fill(t->table, direct_map_part(val, level),
					direct_map_step(level));
			KUNIT_EXPECT_EQ(test, whole_of(t, level, pfn), val);
			/* Of other memory, if in order */
			KUNIT_EXPECT_EQ(test, whole_of(t, level, pfn + PTRS_PER_PTE), 0);
		}
	}
}

/* One entry that is not like the others, wherever it is and whatever bit differs. */
static void test_not_whole(struct kunit *test)
{
	struct table_test *t = test->priv;
	static const int where[] = { 0, 1, 255, 511 };
	pteval_t val = entry_of(TEST_PFN, LARGE_PROT), old;
	int i, bit;

	direct_map_fill(t->table, direct_map_part(val, PG_LEVEL_2M), PAGE_SIZE);
	for (i = 0; i < ARRAY_SIZE(where); i++) {
		old = pte_val(t->table[where[i]]);
		for (bit = 0; bit < 64; bit++) {
			bool ignored = BIT_ULL(bit) &
				       (_PAGE_ACCESSED | _PAGE_DIRTY | _PAGE_GLOBAL);

			t->table[where[i]] = __pte(old ^ BIT_ULL(bit));
			KUNIT_EXPECT_EQ_MSG(test, whole_of(t, PG_LEVEL_2M, TEST_PFN),
					    ignored ? val : 0, "entry %d, bit %d", where[i], bit);
		}
		t->table[where[i]] = __pte(old);
	}
	KUNIT_EXPECT_EQ(test, whole_of(t, PG_LEVEL_2M, TEST_PFN), val);
}

/* Memory that nobody may write to, or that is not there, is somebody's intention. */
static void test_not_whole_at_all(struct kunit *test)
{
	struct table_test *t = test->priv;
	pteval_t part = direct_map_part(entry_of(TEST_PFN, LARGE_PROT), PG_LEVEL_2M);

	direct_map_fill(t->table, part & ~_PAGE_RW, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, whole_of(t, PG_LEVEL_2M, TEST_PFN), 0);
	direct_map_fill(t->table, part & ~_PAGE_PRESENT, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, whole_of(t, PG_LEVEL_2M, TEST_PFN), 0);
	/* Page tables, and not large pages, make no 1G. */
	direct_map_fill(t->table, part, PMD_SIZE);
	KUNIT_EXPECT_EQ(test, whole_of(t, PG_LEVEL_1G, TEST_PFN), 0);
}

static unsigned int level_of(unsigned long addr)
{
	unsigned int level = PG_LEVEL_NONE;

	return lookup_address(addr, &level) ? level : PG_LEVEL_NONE;
}

static bool collapse(unsigned long pfn, int level)
{
	LIST_HEAD(tables);
	bool done;

	get_online_mems();
	mmap_read_lock(&init_mm);
	done = direct_map_collapse(pfn, level, &tables);
	mmap_read_unlock(&init_mm);
	put_online_mems();
	direct_map_free_tables(&tables);
	return done;
}

/* 2M of memory that the direct map maps by a large page. */
static void get_2m(struct kunit *test)
{
	struct table_test *t = test->priv;

	t->page = alloc_pages(GFP_KERNEL | __GFP_NOWARN, ORDER_2M);
	KUNIT_ASSERT_NOT_NULL(test, t->page);
	t->addr = (unsigned long)page_address(t->page);
	t->pfn = page_to_pfn(t->page);
	if (level_of(t->addr) < PG_LEVEL_2M)
		kunit_skip(test, "the direct map is made of 4K pages here");
	memset64(page_address(t->page), 0x5a5a5a5a5a5a5a5aull, PMD_SIZE / sizeof(u64));
}

/* There and back: the same entry, the same contents, the same counts. */
static void test_split_collapse(struct kunit *test)
{
	struct table_test *t = test->priv;
	unsigned long pages_4k, pages_2m;
	u64 split_2m, split_1g;
	pteval_t before;
	unsigned int level;
	int i;

	get_2m(test);
	KUNIT_ASSERT_EQ(test, set_memory_4k(t->addr ^ PMD_SIZE, 1), 0);
	before = pte_val(*lookup_address(t->addr, &level));
	KUNIT_ASSERT_EQ(test, level, PG_LEVEL_2M);
	pages_4k = direct_pages_count[PG_LEVEL_4K];
	pages_2m = direct_pages_count[PG_LEVEL_2M];

	KUNIT_EXPECT_EQ(test, direct_map_split(t->pfn + 3, 1, &split_2m, &split_1g), 0);
	KUNIT_EXPECT_EQ(test, split_2m, 1);
	KUNIT_EXPECT_EQ(test, split_1g, 0);
	KUNIT_EXPECT_EQ(test, direct_pages_count[PG_LEVEL_4K], pages_4k + PTRS_PER_PTE);
	KUNIT_EXPECT_EQ(test, direct_pages_count[PG_LEVEL_2M], pages_2m - 1);
	for (i = 0; i < PTRS_PER_PTE; i++) {
		pte_t *pte = lookup_address(t->addr + i * PAGE_SIZE, &level);

		KUNIT_ASSERT_EQ(test, level, PG_LEVEL_4K);
		KUNIT_EXPECT_EQ(test, pte_val(*pte),
				direct_map_part(before, PG_LEVEL_2M) + i * PAGE_SIZE);
	}

	KUNIT_EXPECT_EQ(test, direct_map_split(t->pfn, PTRS_PER_PTE, &split_2m, &split_1g), 0);
	KUNIT_EXPECT_EQ(test, split_2m | split_1g, 0);

	KUNIT_EXPECT_TRUE(test, collapse(t->pfn, PG_LEVEL_2M));
	KUNIT_EXPECT_EQ(test, pte_val(*lookup_address(t->addr, &level)), before);
	KUNIT_EXPECT_EQ(test, level, PG_LEVEL_2M);
	KUNIT_EXPECT_EQ(test, direct_pages_count[PG_LEVEL_4K], pages_4k);
	KUNIT_EXPECT_EQ(test, direct_pages_count[PG_LEVEL_2M], pages_2m);
	KUNIT_EXPECT_NULL(test, memchr_inv(page_address(t->page), 0x5a, PMD_SIZE));
	KUNIT_EXPECT_FALSE(test, collapse(t->pfn, PG_LEVEL_2M));
}

/* All that set_memory_*() does to one page of it, and undoes. */
static void test_collapse_attributes(struct kunit *test)
{
	static int (* const change[])(unsigned long, int) = {
		set_memory_ro, set_memory_uc, set_memory_wc, set_memory_np,
	};
	static int (* const undo[])(unsigned long, int) = {
		set_memory_rw, set_memory_wb, set_memory_wb, set_memory_p,
	};
	struct table_test *t = test->priv;
	unsigned long page;
	u64 split_2m, split_1g;
	int i;

	get_2m(test);
	for (i = 0; i < ARRAY_SIZE(change); i++) {
		page = t->addr + (i ? 511 : 0) * PAGE_SIZE;
		KUNIT_ASSERT_EQ(test, direct_map_split(t->pfn, 1, &split_2m, &split_1g), 0);
		KUNIT_ASSERT_EQ(test, change[i](page, 1), 0);
		KUNIT_EXPECT_FALSE_MSG(test, collapse(t->pfn, PG_LEVEL_2M), "change %d", i);
		KUNIT_EXPECT_EQ(test, level_of(page), PG_LEVEL_4K);
		KUNIT_ASSERT_EQ(test, undo[i](page, 1), 0);
		KUNIT_EXPECT_TRUE_MSG(test, collapse(t->pfn, PG_LEVEL_2M), "change %d", i);
		KUNIT_EXPECT_EQ(test, level_of(page), PG_LEVEL_2M);
	}
}

/* More than the results have bits for, and where nothing is mapped. */
static void test_split_ends(struct kunit *test)
{
	u64 split_2m, split_1g;

	KUNIT_EXPECT_EQ(test, direct_map_split(1, DIRECT_MAP_MAX_REGIONS * PTRS_PER_PMD,
					       &split_2m, &split_1g), -EINVAL);
	KUNIT_EXPECT_EQ(test, direct_map_split(PFN_DOWN(1ul << 44), 1, &split_2m, &split_1g), 0);
	KUNIT_EXPECT_EQ(test, split_2m | split_1g, 0);
	KUNIT_EXPECT_FALSE(test, collapse(PFN_DOWN(1ul << 44), PG_LEVEL_2M));
}

static int table_init(struct kunit *test)
{
	struct table_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->table = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t->table);
	test->priv = t;
	return 0;
}

static void table_exit(struct kunit *test)
{
	struct table_test *t = test->priv;

	if (t && t->page)
		__free_pages(t->page, ORDER_2M);
}

static struct kunit_case table_cases[] = {
	KUNIT_CASE(test_parts_2m),
	KUNIT_CASE(test_parts_1g),
	KUNIT_CASE(test_whole),
	KUNIT_CASE(test_not_whole),
	KUNIT_CASE(test_not_whole_at_all),
	KUNIT_CASE(test_split_collapse),
	KUNIT_CASE(test_collapse_attributes),
	KUNIT_CASE(test_split_ends),
	{}
};

static struct kunit_suite table_suite = {
	.name = "snp_lpage_directmap",
	.init = table_init,
	.exit = table_exit,
	.test_cases = table_cases,
};

kunit_test_suite(table_suite);
