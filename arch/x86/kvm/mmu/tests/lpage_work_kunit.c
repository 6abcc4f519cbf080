// SPDX-License-Identifier: GPL-2.0
/*
 * How work is cut, shared out and paced, and which roots it goes through.  Included by
 * lpage_work.c, for the functions and the parameters that only it knows.
 */
#include "lpage_kunit.h"

static struct kvm *work_kvm(struct kunit *test)
{
	struct kvm *kvm = kunit_kzalloc(test, sizeof(*kvm), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, kvm);
	mutex_init(&kvm->slots_lock);
	lpage_kunit_set(test, tdp_mmu_enabled, true);
	lpage_kunit_set(test, lpage_rate_mbps, 0);
	lpage_kunit_set(test, lpage_split_threads, 0);

	return kvm;
}

/* A 64th of a second's work, in whole 2M, if that is less than what is asked for. */
static u64 chunk_bytes(u64 asked, u64 rate_mbps)
{
	u64 bytes = asked ?: SZ_128M;

	if (rate_mbps && rate_mbps * SZ_1M / 64 < bytes)
		bytes = rate_mbps * SZ_1M / 64;
	if (bytes < SZ_2M)
		return SZ_2M;

	return bytes - bytes % SZ_2M;
}

static void test_chunk(struct kunit *test)
{
	static const u64 asked[] = { 0, SZ_2M, 6 * SZ_1M, SZ_128M, SZ_1G };
	struct kvm *kvm = work_kvm(test);
	u64 rate;
	int i;

	for (i = 0; i < ARRAY_SIZE(asked); i++) {
		kvm->arch.lpage.chunk = asked[i] >> PAGE_SHIFT;
		/* Around each power of two. */
		for (rate = 0; rate <= BIT(20); rate = rate < 8 ? rate + 1 : rate * 2 - 7) {
			lpage_rate_mbps = rate;
			KUNIT_EXPECT_EQ_MSG(test, kvm_lpage_chunk(kvm) * SZ_4K,
					    chunk_bytes(asked[i], rate),
					    "asked 0x%llx, rate %llu", asked[i], rate);
		}
		lpage_rate_mbps = BIT(20);
		KUNIT_EXPECT_EQ(test, kvm_lpage_chunk(kvm) * SZ_4K,
				chunk_bytes(asked[i], BIT(20)));
	}
}

static void test_cap(struct kunit *test)
{
	static const struct {
		u64 chunk, threads, arg2, arg3;
		u32 flags;
		bool valid;
	} cases[] = {
		{ .valid = true },
		{ .chunk = SZ_2M, .threads = 1, .valid = true },
		{ .chunk = SZ_1G, .threads = 64, .valid = true },
		{ .chunk = 3ull * SZ_2M, .valid = true },
		{ .chunk = SZ_1G + SZ_2M },
		{ .chunk = SZ_1G + 1ull },
		{ .chunk = SZ_4K },
		{ .chunk = SZ_2M + SZ_4K },
		{ .chunk = SZ_2M - 1 },
		{ .chunk = BIT_ULL(63) },
		{ .threads = 65 },
		{ .threads = BIT_ULL(32) },
		{ .flags = 1 },
		{ .arg2 = 1 },
		{ .arg3 = 1 },
	};
	struct kvm *kvm = work_kvm(test);
	struct kvm_enable_cap cap;
	int i, r;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		kvm->arch.lpage.chunk = 123;
		kvm->arch.lpage.threads = 45;
		cap = (struct kvm_enable_cap) {
			.cap = KVM_CAP_X86_LPAGE_SPLIT,
			.flags = cases[i].flags,
			.args = { cases[i].chunk, cases[i].threads, cases[i].arg2,
				  cases[i].arg3 },
		};

		r = kvm_lpage_enable_cap(kvm, &cap);
		if (cases[i].valid) {
			KUNIT_EXPECT_EQ_MSG(test, r, 0, "entry %d", i);
			KUNIT_EXPECT_EQ(test, kvm->arch.lpage.chunk, cases[i].chunk / SZ_4K);
			KUNIT_EXPECT_EQ(test, kvm->arch.lpage.threads, cases[i].threads);
		} else {
			KUNIT_EXPECT_EQ_MSG(test, r, -EINVAL, "entry %d", i);
			KUNIT_EXPECT_EQ(test, kvm->arch.lpage.chunk, 123);
			KUNIT_EXPECT_EQ(test, kvm->arch.lpage.threads, 45);
		}
	}

	KUNIT_EXPECT_EQ(test, kvm_lpage_check_cap(), 64);
	tdp_mmu_enabled = false;
	KUNIT_EXPECT_EQ(test, kvm_lpage_check_cap(), 0);
	cap = (struct kvm_enable_cap) { .cap = KVM_CAP_X86_LPAGE_SPLIT };
	KUNIT_EXPECT_EQ(test, kvm_lpage_enable_cap(kvm, &cap), -EINVAL);
}

static void test_threads(struct kunit *test)
{
	const u64 cpus = cpumask_weight(current->cpus_ptr);
	const struct {
		u64 bytes;
		u64 chunk;
		u32 vm;
		u32 param;
		u64 want;
	} cases[] = {
		/* The VM's own setting, the parameter, the size of the job. */
		{ SZ_1G, SZ_2M, 5, 3, 5 },
		{ SZ_1G, SZ_2M, 0, 3, 3 },
		{ SZ_2M, SZ_2M, 0, 0, 1 },
		{ SZ_4G - SZ_4K, SZ_128M, 0, 0, 1 },
		{ 2 * SZ_4G - SZ_4K, SZ_128M, 0, 0, 1 },
		{ 2 * SZ_4G, SZ_128M, 0, 0, min(2, cpus) },
		{ 3 * SZ_4G, SZ_128M, 0, 0, min(3, cpus) },
		{ 8 * SZ_4G, SZ_128M, 0, 0, min(8, cpus) },
		{ 64 * SZ_4G, SZ_128M, 0, 0, min(8, cpus) },
		/* Who asks for more threads than CPUs gets them. */
		{ SZ_1G, SZ_2M, 64, 0, 64 },
		/* But not more than there are chunks, the last one in part. */
		{ SZ_1G, SZ_128M, 64, 0, 8 },
		{ SZ_1G + SZ_4K, SZ_128M, 64, 0, 9 },
		{ SZ_4K, SZ_128M, 64, 64, 1 },
		{ 2 * SZ_4G, SZ_1G, 0, 0, min(2, cpus) },
	};
	struct kvm *kvm = work_kvm(test);
	struct kvm_lpage_job job;
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		kvm->arch.lpage.threads = cases[i].vm;
		lpage_split_threads = cases[i].param;
		job = (struct kvm_lpage_job) {
			.kvm = kvm,
			.start = 511,
			.end = 511 + cases[i].bytes / SZ_4K,
			.chunk = cases[i].chunk / SZ_4K,
		};
		KUNIT_EXPECT_EQ_MSG(test, lpage_nr_threads(&job), cases[i].want,
				    "entry %d", i);
	}
}

static void test_params(struct kunit *test)
{
	static const struct {
		const char *value;
		int threads, rate;
	} cases[] = {
		{ "0", 0, 0 }, { "64", 0, 0 }, { "65", -EINVAL, 0 },
		{ "1048576", -EINVAL, 0 }, { "1048577", -EINVAL, -EINVAL },
		{ "-1", -EINVAL, -EINVAL }, { "x", -EINVAL, -EINVAL },
		{ "4294967296", -EINVAL, -EINVAL }, { "", -EINVAL, -EINVAL },
	};
	struct kernel_param threads = { .arg = &lpage_split_threads };
	struct kernel_param rate = { .arg = &lpage_rate_mbps };
	int i;

	work_kvm(test);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		KUNIT_EXPECT_EQ_MSG(test, lpage_set_threads(cases[i].value, &threads),
				    cases[i].threads, "threads %s", cases[i].value);
		KUNIT_EXPECT_EQ_MSG(test, lpage_set_rate(cases[i].value, &rate),
				    cases[i].rate, "rate %s", cases[i].value);
	}
}

static void test_pace_add(struct kunit *test)
{
	const s64 ms = NSEC_PER_MSEC;
	struct kvm_lpage_pace pace = {};

	work_kvm(test);

	/* Without a limit nothing is owed. */
	kvm_lpage_pace_add(&pace, 5 * ms, 256);
	KUNIT_EXPECT_EQ(test, atomic64_read(&pace.next), 0);

	/* 1 MiB at 100 MiB/s takes 10 ms from when it was begun. */
	lpage_rate_mbps = 100;
	kvm_lpage_pace_add(&pace, 5 * ms, 256);
	KUNIT_EXPECT_EQ(test, atomic64_read(&pace.next), 15 * ms);
	/* Who is ahead owes what was owed before as well; */
	kvm_lpage_pace_add(&pace, 6 * ms, 256);
	KUNIT_EXPECT_EQ(test, atomic64_read(&pace.next), 25 * ms);
	/* who was idle is not given that time. */
	kvm_lpage_pace_add(&pace, 100 * ms, 512);
	KUNIT_EXPECT_EQ(test, atomic64_read(&pace.next), 120 * ms);
	/* What took no work costs nothing. */
	kvm_lpage_pace_add(&pace, 0, 0);
	KUNIT_EXPECT_EQ(test, atomic64_read(&pace.next), 120 * ms);

	/* A limit that is lifted, and the extremes. */
	lpage_rate_mbps = 0;
	kvm_lpage_pace_add(&pace, 200 * ms, 256);
	KUNIT_EXPECT_EQ(test, atomic64_read(&pace.next), 120 * ms);
	atomic64_set(&pace.next, 0);
	lpage_rate_mbps = 1;
	kvm_lpage_pace_add(&pace, 0, SZ_1T / SZ_4K);
	KUNIT_EXPECT_EQ(test, atomic64_read(&pace.next), BIT(20) * NSEC_PER_SEC);
	atomic64_set(&pace.next, 0);
	lpage_rate_mbps = BIT(20);
	kvm_lpage_pace_add(&pace, 0, SZ_1T / SZ_4K);
	KUNIT_EXPECT_EQ(test, atomic64_read(&pace.next), NSEC_PER_SEC);
}

static void test_pace_sleep(struct kunit *test)
{
	const u64 hour = 3600ull * NSEC_PER_SEC;
	struct kvm_lpage_pace pace = {};
	u64 start;
	bool slept;

	work_kvm(test);

	/* No limit. */
	start = ktime_get_ns();
	atomic64_set(&pace.next, start + hour);
	KUNIT_EXPECT_FALSE(test, kvm_lpage_pace_sleep(&pace));

	/* Ahead of it: for a slice only. */
	lpage_rate_mbps = 1;
	KUNIT_EXPECT_TRUE(test, kvm_lpage_pace_sleep(&pace));
	KUNIT_EXPECT_GE(test, ktime_get_ns() - start, 100 * NSEC_PER_MSEC - TICK_NSEC);
	KUNIT_EXPECT_LT(test, ktime_get_ns() - start, hour);

	/* With a signal to see to. */
	lpage_kunit_kill(true);
	slept = kvm_lpage_pace_sleep(&pace);
	lpage_kunit_kill(false);
	KUNIT_EXPECT_FALSE(test, slept);

	/* Until it is time, and then no more. */
	atomic64_set(&pace.next, ktime_get_ns() + 20 * NSEC_PER_MSEC);
	while (kvm_lpage_pace_sleep(&pace))
		;
	KUNIT_EXPECT_GE(test, ktime_get_ns(), (u64)atomic64_read(&pace.next));
	KUNIT_EXPECT_FALSE(test, kvm_lpage_pace_sleep(&pace));
}

/* What a job was cut into. */
struct cuts {
	struct kvm_lpage_job job;
	struct kunit *test;
	gfn_t next;
	int nr;
	int kill_at;
};

static void cut(struct kvm_lpage_worker *worker, gfn_t start, gfn_t end)
{
	struct cuts *cuts = container_of(worker->job, struct cuts, job);
	struct kunit *test = cuts->test;

	KUNIT_EXPECT_EQ(test, start, cuts->next);
	KUNIT_EXPECT_LT(test, start, end);
	KUNIT_EXPECT_LE(test, end, cuts->job.end);
	if (start != cuts->job.start)
		KUNIT_EXPECT_TRUE(test, IS_ALIGNED(start, 512));
	if (end != cuts->job.end)
		KUNIT_EXPECT_TRUE(test, IS_ALIGNED(end, 512));
	KUNIT_EXPECT_EQ(test, worker->nr_pages, 0);
	KUNIT_EXPECT_EQ(test, cuts->job.killed, cuts->kill_at && cuts->nr >= cuts->kill_at);

	worker->nr_pages = end - start;
	cuts->next = end;
	if (++cuts->nr == cuts->kill_at)
		lpage_kunit_kill(true);
}

static void run_cuts(struct kunit *test, struct kvm *kvm, struct cuts *cuts)
{
	cuts->test = test;
	cuts->job.kvm = kvm;
	cuts->job.fn = cut;
	cuts->next = cuts->job.start;
	mutex_lock(&kvm->slots_lock);
	kvm_lpage_run(&cuts->job);
	mutex_unlock(&kvm->slots_lock);
	lpage_kunit_kill(false);
	KUNIT_EXPECT_EQ(test, cuts->next, cuts->job.end);
}

/* Each GFN once, in chunks that are aligned but at the ends of the job. */
static void test_run(struct kunit *test)
{
	static const struct {
		gfn_t start, end;
		int nr;
	} cases[] = {
		{ 0, 512, 1 }, { 0, 1024, 1 }, { 0, 1025, 2 }, { 0, 4096, 4 },
		{ 1, 4096, 4 }, { 511, 513, 1 }, { 511, 1025, 2 }, { 600, 5001, 5 },
		{ 1023, 1024, 1 }, { BIT_ULL(40) - 1, BIT_ULL(40) + 1, 1 },
	};
	struct kvm *kvm = work_kvm(test);
	int i;

	kvm->arch.lpage.threads = 1;
	kvm->arch.lpage.chunk = 1024;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cuts cuts = {
			.job.start = cases[i].start,
			.job.end = cases[i].end,
		};

		run_cuts(test, kvm, &cuts);
		KUNIT_EXPECT_EQ_MSG(test, cuts.nr, cases[i].nr, "entry %d", i);
		KUNIT_EXPECT_EQ(test, atomic64_read(&cuts.job.pace.next), 0);
	}
}

/* What is owed is owed: a task that is being killed still sees every GFN. */
static void test_run_killed(struct kunit *test)
{
	struct cuts cuts = { .job.end = 8 * 512, .kill_at = 3 };
	struct kvm *kvm = work_kvm(test);

	kvm->arch.lpage.threads = 1;
	kvm->arch.lpage.chunk = 512;
	run_cuts(test, kvm, &cuts);
	KUNIT_EXPECT_EQ(test, cuts.nr, 8);
	KUNIT_EXPECT_TRUE(test, cuts.job.killed);
}

/* No chunk is begun before those before it are paid for. */
static void test_run_paced(struct kunit *test)
{
	struct cuts cuts = { .job.end = 8 * 512 };
	struct kvm *kvm = work_kvm(test);
	u64 start = ktime_get_ns();

	kvm->arch.lpage.threads = 1;
	lpage_rate_mbps = 64;
	run_cuts(test, kvm, &cuts);
	KUNIT_EXPECT_EQ(test, cuts.nr, 8);
	/* 2M at 64 MiB/s, for all but the last. */
	KUNIT_EXPECT_GE(test, ktime_get_ns() - start, 7 * NSEC_PER_SEC / 32);
	KUNIT_EXPECT_GE(test, atomic64_read(&cuts.job.pace.next) - start,
			8 * NSEC_PER_SEC / 32);
}

/* Roots that a walk may come by, in the order of the list. */
struct root_test {
	struct kvm *kvm;
	struct kvm_mmu_page roots[6];
};

static struct root_test *root_test_begin(struct kunit *test)
{
	struct root_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	struct kvm_mmu_page *root;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->kvm = work_kvm(test);
	rwlock_init(&t->kvm->mmu_lock);
	INIT_LIST_HEAD(&t->kvm->arch.tdp_mmu_roots);
	for (i = 0; i < ARRAY_SIZE(t->roots); i++) {
		root = &t->roots[i];
		root->tdp_mmu_page = true;
		refcount_set(&root->tdp_mmu_root_count, 1);
		list_add_tail(&root->link, &t->kvm->arch.tdp_mmu_roots);
	}

	return t;
}

/* The walk sees the roots of which @want has a bit, and no others. */
static void expect_roots(struct kunit *test, struct root_test *t, int as_id, u32 want)
{
	struct kvm_mmu_page *root;
	u32 got = 0;
	int i;

	read_lock(&t->kvm->mmu_lock);
	kvm_lpage_for_each_root(t->kvm, root, as_id) {
		KUNIT_EXPECT_EQ(test, refcount_read(&root->tdp_mmu_root_count), 2);
		KUNIT_EXPECT_FALSE(test, got >> (root - t->roots));
		got |= BIT(root - t->roots);
	}
	read_unlock(&t->kvm->mmu_lock);

	KUNIT_EXPECT_EQ(test, got, want);
	KUNIT_EXPECT_FALSE(test, t->kvm->vm_bugged);
	for (i = 0; i < ARRAY_SIZE(t->roots); i++)
		KUNIT_EXPECT_EQ(test, refcount_read(&t->roots[i].tdp_mmu_root_count), 1);
}

/* Valid ones, of one address space. */
static void test_roots(struct kunit *test)
{
	struct root_test *t = root_test_begin(test);

	expect_roots(test, t, 0, 0x3f);
	expect_roots(test, t, 1, 0);

	t->roots[1].role.smm = true;
	t->roots[5].role.smm = true;
	expect_roots(test, t, 0, 0x1d);
	expect_roots(test, t, 1, 0x22);

	t->roots[0].role.invalid = true;
	t->roots[3].role.invalid = true;
	t->roots[5].role.invalid = true;
	expect_roots(test, t, 0, 0x14);
	expect_roots(test, t, 1, 0x02);
}

#ifndef KVM_LPAGE_NO_MIRROR
/* Roots that mirror page tables of the TDX module's are not for us to change. */
static void test_mirror_roots(struct kunit *test)
{
	struct root_test *t = root_test_begin(test);
	int i;

	for (i = 0; i < ARRAY_SIZE(t->roots); i++) {
		t->roots[i].role.is_mirror = true;
		expect_roots(test, t, 0, 0x3f & ~BIT(i));
		t->roots[i].role.is_mirror = false;
	}

	for (i = 0; i < ARRAY_SIZE(t->roots); i++)
		t->roots[i].role.is_mirror = true;
	expect_roots(test, t, 0, 0);
	t->roots[4].role.is_mirror = false;
	expect_roots(test, t, 0, 0x10);
}
#endif

static struct kunit_case lpage_work_cases[] = {
	KUNIT_CASE(test_chunk),
	KUNIT_CASE(test_cap),
	KUNIT_CASE(test_threads),
	KUNIT_CASE(test_params),
	KUNIT_CASE(test_pace_add),
	KUNIT_CASE(test_pace_sleep),
	KUNIT_CASE(test_run),
	KUNIT_CASE(test_run_killed),
	KUNIT_CASE(test_run_paced),
	KUNIT_CASE(test_roots),
#ifndef KVM_LPAGE_NO_MIRROR
	KUNIT_CASE(test_mirror_roots),
#endif
	{}
};

static struct kunit_suite lpage_work_suite = {
	.name = "kvm_lpage_work",
	.test_cases = lpage_work_cases,
};

kunit_test_suite(lpage_work_suite);
