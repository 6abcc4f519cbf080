// SPDX-License-Identifier: GPL-2.0
/*
 * When 2M that is not mixed any more is put back: how long it waits, how many go at once,
 * and what it is told that has to hold until then.  Included by lpage_convert.c, for
 * what only it knows.
 */
#include <kunit/test.h>
#include <kunit/test-bug.h>

#define NR_2M		4
#define PFN		0x12345600ull
#define SEQ		1000

struct convert_test {
	/* As the vendor module's, which may have more after KVM's. */
	struct kvm kvm;
	u8 vendor[PAGE_SIZE];
	struct kvm_vcpu vcpus[2];
	struct kvm_memory_slot slot;
	struct kvm_lpage_info info[NR_2M];
	struct mm_struct mm;
	struct kvm_lpage_unmix unmix;

	int level;		/* of the RMP entry */
	int merge_error;
	int promote_error;
	int nr_promotes;
	gfn_t gfn;		/* of the last one */
	struct kvm_lpage_private private;
};

static struct convert_test *convert_test(void)
{
	return kunit_get_current_test()->priv;
}

/* Memory fails after it was looked up, and before it is mapped. */
static void fake_with_block(struct kvm_memory_slot *slot, gfn_t gfn,
			    void (*fn)(kvm_pfn_t pfn, void *data), void *data)
{
	convert_test()->kvm.mmu_invalidate_seq++;
	fn(PFN, data);
}

static int fake_private_level(struct kvm *kvm, kvm_pfn_t pfn, bool is_private)
{
	KUNIT_EXPECT_EQ(kunit_get_current_test(), pfn, PFN);
	return convert_test()->level;
}

static int fake_promote(struct kvm *kvm, const struct kvm_memory_slot *slot, int level,
			gfn_t gfn, const struct kvm_lpage_private *private)
{
	struct convert_test *t = convert_test();

	t->nr_promotes++;
	t->gfn = gfn;
	if (private)
		t->private = *private;
	return t->promote_error;
}

/* The firmware, by which the large page is put back, or not. */
static int fake_merge(struct kvm *kvm, kvm_pfn_t pfn, gfn_t gfn, void (*map)(void *),
		      void *data)
{
	struct convert_test *t = convert_test();

	KUNIT_EXPECT_EQ(kunit_get_current_test(), kvm->arch.lpage.merging, lpage_merging(gfn));
	if (!t->merge_error)
		map(data);
	return t->merge_error;
}

static struct kvm_memory_slot *fake_memslot(struct kvm *kvm, gfn_t gfn)
{
	return &convert_test()->slot;
}

static int convert_init(struct kunit *test)
{
	struct convert_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	void *private = xa_mk_value(KVM_MEMORY_ATTRIBUTE_PRIVATE);
	int i, r;

	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	for (i = 0; i < ARRAY_SIZE(t->vcpus); i++)
		t->vcpus[i].kvm = &t->kvm;
	t->slot.npages = NR_2M * PAGES_PER_2M;
	t->slot.flags = KVM_MEM_GUEST_MEMFD;
	t->slot.arch.lpage_info[0] = t->info;
	rwlock_init(&t->kvm.mmu_lock);
	mutex_init(&t->kvm.slots_lock);
	t->kvm.mm = &t->mm;
	t->kvm.mmu_invalidate_seq = SEQ;
	xa_init(&t->kvm.mem_attr_array);
	t->unmix.kvm = &t->kvm;
	xa_init(&t->unmix.ranges);
	INIT_DELAYED_WORK(&t->unmix.work, lpage_unmix_work);
	for (i = 0; i < NR_2M; i++) {
		r = xa_err(xa_store(&t->kvm.mem_attr_array, i * PAGES_PER_2M, private,
				    GFP_KERNEL));
		KUNIT_ASSERT_EQ(test, r, 0);
	}

	kunit_activate_static_stub(test, convert_mock_with_block, fake_with_block);
	kunit_activate_static_stub(test, convert_mock_gmem_max_mapping_level,
				   fake_private_level);
	kunit_activate_static_stub(test, convert_mock_promote, fake_promote);
	kunit_activate_static_stub(test, convert_mock_memslot, fake_memslot);
	kunit_activate_static_stub(test, convert_mock_gmem_merge, fake_merge);
	return 0;
}

static void convert_exit(struct kunit *test)
{
	struct convert_test *t = test->priv;

	if (!t)
		return;
	cancel_delayed_work_sync(&t->unmix.work);
	xa_destroy(&t->unmix.ranges);
	xa_destroy(&t->kvm.mem_attr_array);
}

/* The 2M @nr waits, and the last conversion was so long ago. */
static void waits(struct kunit *test, int nr, int shift, u32 age)
{
	union lpage_range range = { .stamp = (u32)jiffies - age, .shift = shift,
				    .state = LPAGE_RANGE_WAITS };
	struct convert_test *t = test->priv;

	KUNIT_ASSERT_EQ(test, 0, lpage_range_store(&t->unmix, nr * PAGES_PER_2M, range));
	t->info[nr].disallow_lpage |= LPAGE_WAITS_FLAG;
}

static int state(struct convert_test *t, int nr)
{
	return lpage_range_load(&t->unmix, nr * PAGES_PER_2M).state;
}

/* One batch; returns how many were put back. */
static int unmix(struct convert_test *t)
{
	t->nr_promotes = 0;
	mutex_lock(&t->kvm.slots_lock);
	lpage_unmix(&t->unmix);
	mutex_unlock(&t->kvm.slots_lock);
	return t->nr_promotes;
}

/*
 * The delay doubles with each time that 2M was put back in vain, up to 64 times, and what
 * was long ago does not count.
 */
static void test_delay(struct kunit *test)
{
	union lpage_range range = {};
	int i;

	range = lpage_range_next(range, false);
	KUNIT_EXPECT_EQ(test, range.state, LPAGE_RANGE_WAITS);
	KUNIT_EXPECT_EQ(test, lpage_range_delay(range), HZ / 4);

	for (i = 1; i < 10; i++) {
		range.state = LPAGE_RANGE_BACK;
		range = lpage_range_next(range, true);
		KUNIT_EXPECT_EQ(test, range.state, LPAGE_RANGE_MIXED);
		KUNIT_EXPECT_EQ(test, lpage_range_delay(range), HZ / 4 << min(i, 6));

		/* Another page, and back; none of this was put back in vain. */
		range = lpage_range_next(range, true);
		range = lpage_range_next(range, false);
		range = lpage_range_next(range, true);
		range = lpage_range_next(range, false);
		KUNIT_EXPECT_EQ(test, range.state, LPAGE_RANGE_WAITS);
		KUNIT_EXPECT_EQ(test, lpage_range_delay(range), HZ / 4 << min(i, 6));
	}

	/* Half of the time that matters, and twice that. */
	range.shift = 2;
	range.state = LPAGE_RANGE_BACK;
	range.stamp = (u32)jiffies - 4 * HZ;
	KUNIT_EXPECT_FALSE(test, lpage_range_is_old(range));
	KUNIT_EXPECT_EQ(test, lpage_range_next(range, true).shift, 3);
	range.stamp = (u32)jiffies - 16 * HZ;
	KUNIT_EXPECT_TRUE(test, lpage_range_is_old(range));
	KUNIT_EXPECT_EQ(test, lpage_range_next(range, true).shift, 0);
}

/* Not before its time, then once. */
static void test_put_back(struct kunit *test)
{
	struct convert_test *t = test->priv;

	waits(test, 1, 0, 0);
	waits(test, 2, 2, HZ / 2);
	KUNIT_EXPECT_EQ(test, unmix(t), 0);
	KUNIT_EXPECT_EQ(test, state(t, 1), LPAGE_RANGE_WAITS);
	KUNIT_EXPECT_EQ(test, t->info[1].disallow_lpage, LPAGE_WAITS_FLAG);

	waits(test, 1, 0, HZ / 2);
	KUNIT_EXPECT_EQ(test, unmix(t), 1);
	KUNIT_EXPECT_EQ(test, t->gfn, 1 * PAGES_PER_2M);
	KUNIT_EXPECT_EQ(test, state(t, 1), LPAGE_RANGE_BACK);
	KUNIT_EXPECT_EQ(test, state(t, 2), LPAGE_RANGE_WAITS);
	KUNIT_EXPECT_EQ(test, t->info[1].disallow_lpage, 0);
	KUNIT_EXPECT_EQ(test, t->info[2].disallow_lpage, LPAGE_WAITS_FLAG);
	KUNIT_EXPECT_EQ(test, unmix(t), 0);
}

/* What has changed meanwhile is tried again. */
static void test_again(struct kunit *test)
{
	struct convert_test *t = test->priv;

	waits(test, 1, 0, HZ);
	t->promote_error = -EAGAIN;
	KUNIT_EXPECT_EQ(test, unmix(t), 1);
	KUNIT_EXPECT_EQ(test, state(t, 1), LPAGE_RANGE_WAITS);
	t->promote_error = 0;
	KUNIT_EXPECT_EQ(test, unmix(t), 1);
	KUNIT_EXPECT_EQ(test, state(t, 1), LPAGE_RANGE_BACK);
}

/* What is invalidated after the block was looked up is not mapped by it. */
static void test_sequence(struct kunit *test)
{
	struct convert_test *t = test->priv;

	waits(test, 1, 0, HZ);
	KUNIT_EXPECT_EQ(test, unmix(t), 1);
	KUNIT_EXPECT_EQ(test, t->private.pfn, PFN);
	KUNIT_EXPECT_EQ(test, t->private.mmu_seq, SEQ);
	KUNIT_EXPECT_EQ(test, t->kvm.mmu_invalidate_seq, SEQ + 1);
}

/* So many of one batch. */
static void test_budget(struct kunit *test)
{
	struct convert_test *t = test->priv;
	int i, budget = 0;

	for (i = 0; i < NR_2M; i++)
		waits(test, i, 0, HZ);
	mutex_lock(&t->kvm.slots_lock);
	KUNIT_EXPECT_TRUE(test, lpage_unmix_range(&t->unmix, 0, lpage_range_load(&t->unmix, 0),
						  &budget));
	KUNIT_EXPECT_EQ(test, t->nr_promotes, 0);
	budget = 2;
	KUNIT_EXPECT_TRUE(test, lpage_unmix_range(&t->unmix, 0, lpage_range_load(&t->unmix, 0),
						  &budget));
	KUNIT_EXPECT_EQ(test, t->nr_promotes, 1);
	KUNIT_EXPECT_EQ(test, budget, 1);
	mutex_unlock(&t->kvm.slots_lock);
}

/* One if the firmware has to merge it. */
static void test_budget_merge(struct kunit *test)
{
	struct convert_test *t = test->priv;
	int i;

	t->level = PG_LEVEL_4K;
	for (i = 0; i < NR_2M; i++)
		waits(test, i, 0, HZ);
	for (i = 0; i < NR_2M; i++) {
		unmix(t);
		KUNIT_EXPECT_EQ(test, state(t, i), LPAGE_RANGE_BACK);
		if (i + 1 < NR_2M)
			KUNIT_EXPECT_EQ(test, state(t, i + 1), LPAGE_RANGE_WAITS);
	}
}

/* 2M is merged, or is not if the firmware does not want to. */
static void merge(struct kunit *test, int nr)
{
	struct convert_test *t = test->priv;

	t->level = PG_LEVEL_4K;
	waits(test, nr, 0, HZ);
	KUNIT_EXPECT_EQ(test, unmix(t), !t->merge_error);
	KUNIT_EXPECT_EQ(test, state(t, nr), LPAGE_RANGE_BACK);
	KUNIT_EXPECT_EQ(test, t->kvm.arch.lpage.merging, 0);
}

/* No vCPU waits for a merge of other memory. */
static void test_merging(struct kunit *test)
{
	struct convert_test *t = test->priv;

	t->kvm.arch.lpage.merging = lpage_merging(PAGES_PER_2M);
	KUNIT_EXPECT_FALSE(test, kvm_lpage_wait_merge(t->vcpus, PAGES_PER_2M - 1));
	KUNIT_EXPECT_FALSE(test, kvm_lpage_wait_merge(t->vcpus, 2 * PAGES_PER_2M));
}

/*
 * Each vCPU's first fault on what was merged last may be from before; those that follow are
 * not, nor are those on other memory.
 */
static void test_merged(struct kunit *test)
{
	struct convert_test *t = test->priv;
	int i, j;

	KUNIT_EXPECT_FALSE(test, kvm_lpage_wait_merge(t->vcpus, 0));
	for (i = 0; i < 3; i++) {
		merge(test, 1);
		for (j = 0; j < ARRAY_SIZE(t->vcpus); j++) {
			struct kvm_vcpu *vcpu = &t->vcpus[j];

			KUNIT_EXPECT_FALSE(test, kvm_lpage_wait_merge(vcpu, PAGES_PER_2M - 1));
			KUNIT_EXPECT_FALSE(test, kvm_lpage_wait_merge(vcpu, 2 * PAGES_PER_2M));
			KUNIT_EXPECT_TRUE(test, kvm_lpage_wait_merge(vcpu, PAGES_PER_2M + 9));
			KUNIT_EXPECT_FALSE(test, kvm_lpage_wait_merge(vcpu, PAGES_PER_2M + 9));
			KUNIT_EXPECT_FALSE(test, kvm_lpage_wait_merge(vcpu, PAGES_PER_2M));
		}
	}

	/* Only the last one counts. */
	merge(test, 2);
	merge(test, 0);
	KUNIT_EXPECT_FALSE(test, kvm_lpage_wait_merge(t->vcpus, 2 * PAGES_PER_2M));
	KUNIT_EXPECT_TRUE(test, kvm_lpage_wait_merge(t->vcpus, 1));

	t->merge_error = -EBUSY;
	merge(test, 1);
	KUNIT_EXPECT_FALSE(test, kvm_lpage_wait_merge(t->vcpus, PAGES_PER_2M));
}

/* A process that has ended has no page tables that could be looked at. */
static void test_no_mm(struct kunit *test)
{
	struct convert_test *t = test->priv;

	waits(test, 1, 0, HZ);
	lpage_unmix_work(&t->unmix.work.work);
	KUNIT_EXPECT_EQ(test, t->nr_promotes, 0);
	KUNIT_EXPECT_EQ(test, state(t, 1), LPAGE_RANGE_WAITS);
	KUNIT_EXPECT_FALSE(test, delayed_work_pending(&t->unmix.work));

	atomic_set(&t->mm.mm_users, 2);
	lpage_unmix_work(&t->unmix.work.work);
	KUNIT_EXPECT_EQ(test, t->nr_promotes, 1);
	KUNIT_EXPECT_TRUE(test, delayed_work_pending(&t->unmix.work));
	cancel_delayed_work_sync(&t->unmix.work);
	KUNIT_EXPECT_EQ(test, atomic_read(&t->mm.mm_users), 2);
}

static struct kunit_case convert_cases[] = {
	KUNIT_CASE(test_delay),
	KUNIT_CASE(test_put_back),
	KUNIT_CASE(test_again),
	KUNIT_CASE(test_sequence),
	KUNIT_CASE(test_budget),
	KUNIT_CASE(test_budget_merge),
	KUNIT_CASE(test_merging),
	KUNIT_CASE(test_merged),
	KUNIT_CASE(test_no_mm),
	{}
};

static struct kunit_suite convert_suite = {
	.name = "kvm_lpage_convert",
	.init = convert_init,
	.exit = convert_exit,
	.test_cases = convert_cases,
};

kunit_test_suite(convert_suite);
