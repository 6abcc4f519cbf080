// SPDX-License-Identifier: GPL-2.0
/*
 * Which page sizes memory attributes allow, as far as KVM's MMU decides it: a page
 * that is private in part is mapped by smaller ones (mmu.c,
 * kvm_arch_post_set_memory_attributes(), kvm_mmu_init_memslot_memory_attributes() and
 * kvm_mmu_max_mapping_level()), so that what an RMP entry is for is one kind of memory.
 */
#include <linux/kvm_host.h>

#include <kunit/test.h>

#include "mmu.h"
#include "mmu/mmu_internal.h"

#define PAGES_2M	512ull
#define PAGES_1G	(512 * PAGES_2M)

#define PRIVATE		KVM_MEMORY_ATTRIBUTE_PRIVATE

/* The memslot: half a 2M page, a 1G page, a 2M page, and half of one. */
#define FIRST_1G	(4 * PAGES_1G)
#define BASE_GFN	(FIRST_1G - PAGES_2M / 2)
#define END_GFN		(FIRST_1G + PAGES_1G + PAGES_2M + PAGES_2M / 2)

struct attrs_test {
	/* As the vendor module's, which may have more after KVM's. */
	struct kvm kvm;
	u8 vendor[PAGE_SIZE];
	struct kvm_memory_slot slot;
};

static int attrs_init(struct kunit *test)
{
	struct kvm_lpage_info *linfo;
	struct kvm_memory_slot *slot;
	struct attrs_test *t;
	int level, nr;

	if (!mmu_page_header_cache)
		kunit_skip(test, "KVM has found no CPU that it can use");

	t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t);
	xa_init(&t->kvm.mem_attr_array);
	rwlock_init(&t->kvm.mmu_lock);
	mutex_init(&t->kvm.slots_lock);
	t->kvm.arch.has_private_mem = true;
	test->priv = t;

	slot = &t->slot;
	slot->base_gfn = BASE_GFN;
	slot->npages = END_GFN - BASE_GFN;
	slot->flags = KVM_MEM_GUEST_MEMFD;
	for (level = PG_LEVEL_2M; level <= PG_LEVEL_1G; level++) {
		nr = gfn_to_index(END_GFN - 1, BASE_GFN, level) + 1;
		linfo = kunit_kcalloc(test, nr, sizeof(*linfo), GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, linfo);
		/* As kvm_alloc_memslot_metadata() does for what is not all in the slot */
		linfo[0].disallow_lpage = 1;
		linfo[nr - 1].disallow_lpage = 1;
		slot->arch.lpage_info[level - PG_LEVEL_2M] = linfo;
	}
	return 0;
}

static void attrs_exit(struct kunit *test)
{
	struct attrs_test *t = test->priv;

	if (t)
		xa_destroy(&t->kvm.mem_attr_array);
}

static void store(struct kunit *test, u64 start, u64 end, unsigned long attrs)
{
	struct attrs_test *t = test->priv;
	u64 gfn;

	for (gfn = start; gfn < end; gfn++)
		KUNIT_ASSERT_EQ(test, 0,
				xa_err(xa_store(&t->kvm.mem_attr_array, gfn,
						attrs ? xa_mk_value(attrs) : NULL, GFP_KERNEL)));
}

/* What the ioctl does for a memslot, after it has stored the attributes. */
static void set_attrs(struct kunit *test, u64 start, u64 end, unsigned long attrs)
{
	struct attrs_test *t = test->priv;
	struct kvm_gfn_range range = {
		.slot = &t->slot,
		.start = start,
		.end = end,
		.arg.attributes = attrs,
	};

	store(test, start, end, attrs);
	mutex_lock(&t->kvm.slots_lock);
	write_lock(&t->kvm.mmu_lock);
	KUNIT_EXPECT_FALSE(test, kvm_arch_post_set_memory_attributes(&t->kvm, &range));
	write_unlock(&t->kvm.mmu_lock);
	mutex_unlock(&t->kvm.slots_lock);
}

/*
 * The largest page for a GFN if it is private, and backed by as large a page, as for
 * shared memory the host's mapping matters as well.
 */
static int level_at(struct kunit *test, u64 gfn)
{
	struct kvm_page_fault fault = {
		.is_private = true,
		.max_level = PG_LEVEL_1G,
	};
	struct attrs_test *t = test->priv;
	unsigned long attrs = kvm_get_memory_attributes(&t->kvm, gfn);
	int level;

	store(test, gfn, gfn + 1, PRIVATE);
	read_lock(&t->kvm.mmu_lock);
	level = kvm_mmu_max_mapping_level(&t->kvm, &fault, &t->slot, gfn);
	read_unlock(&t->kvm.mmu_lock);
	store(test, gfn, gfn + 1, attrs);
	return level;
}

#define expect_level(test, gfn, level)	KUNIT_EXPECT_EQ(test, level_at(test, gfn), level)

/* What is of one kind all over may be large, as far as it lies in the memslot. */
static void test_not_mixed(struct kunit *test)
{
	static const unsigned long kinds[] = { 0, PRIVATE };
	int i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		set_attrs(test, BASE_GFN, END_GFN, kinds[i]);
		expect_level(test, BASE_GFN, PG_LEVEL_4K);
		expect_level(test, FIRST_1G - 1, PG_LEVEL_4K);
		expect_level(test, FIRST_1G, PG_LEVEL_1G);
		expect_level(test, FIRST_1G + PAGES_1G - 1, PG_LEVEL_1G);
		expect_level(test, FIRST_1G + PAGES_1G, PG_LEVEL_2M);
		expect_level(test, END_GFN - PAGES_2M / 2, PG_LEVEL_4K);
		expect_level(test, END_GFN - 1, PG_LEVEL_4K);
	}
}

/* One page of another kind: its 2M page is mapped by 4K, its 1G page by 2M. */
static void test_mixed(struct kunit *test)
{
	static const u64 offsets[] = { 0, 1, 255, 511 };
	u64 head = FIRST_1G + 7 * PAGES_2M, gfn;
	int i;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		gfn = head + offsets[i];
		set_attrs(test, gfn, gfn + 1, PRIVATE);
		expect_level(test, gfn, PG_LEVEL_4K);
		expect_level(test, head + 2, PG_LEVEL_4K);
		expect_level(test, head - 1, PG_LEVEL_2M);
		expect_level(test, head + PAGES_2M, PG_LEVEL_2M);
		expect_level(test, FIRST_1G, PG_LEVEL_2M);
		expect_level(test, FIRST_1G + PAGES_1G - 1, PG_LEVEL_2M);
		expect_level(test, FIRST_1G + PAGES_1G, PG_LEVEL_2M);

		/* And when it is like the others again, all are as large as before. */
		set_attrs(test, gfn, gfn + 1, 0);
		expect_level(test, gfn, PG_LEVEL_1G);
		expect_level(test, head + 2, PG_LEVEL_1G);
		expect_level(test, FIRST_1G, PG_LEVEL_1G);
	}
}

/* A whole 2M page of another kind is not mixed; its 1G page is. */
static void test_mixed_1g(struct kunit *test)
{
	u64 head = FIRST_1G + PAGES_1G - PAGES_2M;

	set_attrs(test, head, head + PAGES_2M, PRIVATE);
	expect_level(test, head, PG_LEVEL_2M);
	expect_level(test, head - 1, PG_LEVEL_2M);
	expect_level(test, FIRST_1G, PG_LEVEL_2M);

	/* One page of it less, and one more */
	set_attrs(test, head + PAGES_2M - 1, head + PAGES_2M, 0);
	expect_level(test, head, PG_LEVEL_4K);
	set_attrs(test, head + PAGES_2M - 1, head + PAGES_2M, PRIVATE);
	expect_level(test, head, PG_LEVEL_2M);
	set_attrs(test, head - 1, head, PRIVATE);
	expect_level(test, head, PG_LEVEL_2M);
	expect_level(test, head - 1, PG_LEVEL_4K);

	set_attrs(test, head - 1, head + PAGES_2M, 0);
	expect_level(test, head, PG_LEVEL_1G);
}

/* A range that begins and ends within 2M pages: both are mixed, those between not. */
static void test_range_ends(struct kunit *test)
{
	u64 start = FIRST_1G + PAGES_2M + 100, end = FIRST_1G + 4 * PAGES_2M + 1;

	set_attrs(test, start, end, PRIVATE);
	expect_level(test, FIRST_1G + PAGES_2M - 1, PG_LEVEL_2M);
	expect_level(test, start, PG_LEVEL_4K);
	expect_level(test, FIRST_1G + 2 * PAGES_2M, PG_LEVEL_2M);
	expect_level(test, FIRST_1G + 4 * PAGES_2M - 1, PG_LEVEL_2M);
	expect_level(test, end - 1, PG_LEVEL_4K);
	expect_level(test, FIRST_1G + 5 * PAGES_2M, PG_LEVEL_2M);

	/* Completed at both ends */
	set_attrs(test, FIRST_1G + PAGES_2M, start, PRIVATE);
	expect_level(test, start, PG_LEVEL_2M);
	set_attrs(test, end, FIRST_1G + 5 * PAGES_2M, PRIVATE);
	expect_level(test, end - 1, PG_LEVEL_2M);
}

/* Other reasons for small pages stay when it is not mixed any more. */
static void test_other_reason(struct kunit *test)
{
	struct attrs_test *t = test->priv;
	u64 head = FIRST_1G + PAGES_2M;

	kvm_mmu_gfn_disallow_lpage(&t->slot, head + 3);
	set_attrs(test, head, head + 1, PRIVATE);
	set_attrs(test, head, head + 1, 0);
	expect_level(test, head, PG_LEVEL_4K);
	kvm_mmu_gfn_allow_lpage(&t->slot, head + 3);
	expect_level(test, head, PG_LEVEL_1G);
}

/* A memslot that is new finds the attributes set. */
static void test_new_memslot(struct kunit *test)
{
	struct attrs_test *t = test->priv;
	u64 mixed = FIRST_1G + 3 * PAGES_2M;

	store(test, mixed + 511, mixed + 512, PRIVATE);
	expect_level(test, mixed, PG_LEVEL_1G);
	kvm_mmu_init_memslot_memory_attributes(&t->kvm, &t->slot);
	expect_level(test, mixed, PG_LEVEL_4K);
	expect_level(test, mixed - 1, PG_LEVEL_2M);
	expect_level(test, mixed + PAGES_2M, PG_LEVEL_2M);
	expect_level(test, BASE_GFN, PG_LEVEL_4K);

	/* VMs without private memory have nothing to look for. */
	store(test, mixed + 511, mixed + 512, 0);
	t->kvm.arch.has_private_mem = false;
	kvm_mmu_init_memslot_memory_attributes(&t->kvm, &t->slot);
	t->kvm.arch.has_private_mem = true;
	expect_level(test, mixed, PG_LEVEL_4K);
	kvm_mmu_init_memslot_memory_attributes(&t->kvm, &t->slot);
	expect_level(test, mixed, PG_LEVEL_1G);
}

static struct kunit_case attrs_cases[] = {
	KUNIT_CASE(test_not_mixed),
	KUNIT_CASE(test_mixed),
	KUNIT_CASE(test_mixed_1g),
	KUNIT_CASE(test_range_ends),
	KUNIT_CASE(test_other_reason),
	KUNIT_CASE(test_new_memslot),
	{}
};

static struct kunit_suite attrs_suite = {
	.name = "kvm_lpage_attrs",
	.init = attrs_init,
	.exit = attrs_exit,
	.test_cases = attrs_cases,
};

kunit_test_suite(attrs_suite);
