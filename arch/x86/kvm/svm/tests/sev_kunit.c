// SPDX-License-Identifier: GPL-2.0
/*
 * What KVM asks of the RMP when guest_memfd gives an SNP guest memory and takes it
 * back, and when a guest wants smaller entries: of what size, which pages, and what
 * it does with errors.  Included by sev.c, for the functions that only it knows; the
 * RMP is an array here.
 *
 * The rules are AMD's APM, volume 2, 15.36.5 (changing entries), 15.36.10 (no 2M
 * mapping of a guest's but by a 2M entry) and 15.36.11 (large entries), and volume 3,
 * RMPUPDATE and PSMASH; the choices that these leave are those of the function that
 * each test names.
 */
#include <linux/anon_inodes.h>
#include <linux/fdtable.h>

#include <kunit/test.h>
#include <kunit/test-bug.h>

#define PAGES_2M	512

/*
 * The RMP of the tests: whole 2M pages.  They lie in the lowest 128M, which have a
 * struct page on each machine; it is not looked at, nor is the memory.
 */
#define NR_PFNS		(5 * PAGES_2M)
#define FIRST_PFN	0x2400ull
#define HEAD		(FIRST_PFN + PAGES_2M)
#define HEAD_GFN	0x77600ull
#define HEAD_LARGE	((HEAD - FIRST_PFN) / PAGES_2M)

/* Return codes of PSMASH, beside PSMASH_FAIL_INUSE */
#define FAIL_INPUT	1
#define FAIL_PERMISSION	2
#define FAIL_OVERLAP	4

#define ASID		17

#ifndef SEV_KUNIT_COMPAT
/* How many pages guest_memfd has at a time, of a block or not. */
static const int small_sizes[] = { 1 };
static const int large_sizes[] = { PAGES_2M };
#endif

/* Pages of a 2M page: both ends, and in between. */
static const int offsets[] = { 0, 1, 255, 510, 511 };

enum sev_call {
	NO_CALL,
	PRIVATE,	/* arg: level */
	PRIVATE_RUN,	/* of 4K pages; which they are, lpage_rmp.c decides */
	POPULATE_RUN,	/* arg: pages that are asked for */
	LAUNCH,		/* by the firmware */
	RECLAIM,	/* from the firmware */
	SHARED,		/* arg: level */
	PSMASH,		/* arg: result */
	FLUSH,		/* arg: bytes */
	ZAP,		/* of GFNs, arg: how many */
	SPLIT,		/* of a GFN, arg: result */
	PUT,
};

struct sev_event {
	enum sev_call call;
	u64 pfn;
	int arg;
	u64 gpa;
	u32 asid;
	bool immutable;
};

struct sev_test {
	struct kvm_svm svm;
	struct kvm_vcpu vcpu;
	struct kvm_memory_slot slot;
	struct kvm_memory_slot *slot_found;
	int gmem_error;
	int split_error;
	bool merging;
	bool snp_host;

	bool assigned[NR_PFNS];
	bool large[NR_PFNS / PAGES_2M];
	int lookup_error[NR_PFNS];
	int nr_lookups;
	u64 lookup_min;
	u64 lookup_max;

	int private_error;
	u64 shared_error_pfn;
	int run;		/* pages that a run has, or why there is none */
	u64 launch_error_pfn;
	struct file *sev;
	int psmash_results[8];	/* of the first ones; the others succeed */
	int nr_psmash;
	/* What another CPU does while PSMASH fails */
	void (*meanwhile)(struct sev_test *t);

	int warnings;
	int nr_events;
	struct sev_event events[3 * PAGES_2M];
};

static struct sev_test *sev_test(void)
{
	return kunit_get_current_test()->priv;
}

static struct sev_event *new_event(enum sev_call call, u64 pfn, int arg)
{
	struct sev_test *t = sev_test();
	struct sev_event *event = &t->events[min_t(int, t->nr_events, ARRAY_SIZE(t->events) - 1)];

	t->nr_events++;
	event->call = call;
	event->pfn = pfn;
	event->arg = arg;
	return event;
}

/* Pages of the RMP that a backend call with these operands is about, or none. */
static int rmp_index(u64 pfn, int nr)
{
	struct kunit *test = kunit_get_current_test();

	if (pfn >= FIRST_PFN && pfn + nr <= FIRST_PFN + NR_PFNS && IS_ALIGNED(pfn, nr))
		return pfn - FIRST_PFN;

	KUNIT_FAIL(test, "%d pages from PFN 0x%llx on are not one entry", nr, pfn);
	return -1;
}

static int level_pages(int level)
{
	return level == PG_LEVEL_2M ? PAGES_2M : 1;
}

static bool fake_platform_has(enum cc_attr attr)
{
	return attr == CC_ATTR_HOST_SEV_SNP && sev_test()->snp_host;
}

static int fake_lookup(u64 pfn, bool *assigned, int *level)
{
	struct sev_test *t = sev_test();
	int i = rmp_index(pfn, 1);

	t->nr_lookups++;
	t->lookup_min = min(t->lookup_min, pfn);
	t->lookup_max = max(t->lookup_max, pfn);
	if (i < 0)
		return -EFAULT;
	if (t->lookup_error[i])
		return t->lookup_error[i];
	*assigned = t->assigned[i];
	*level = t->large[i / PAGES_2M] ? PG_LEVEL_2M : PG_LEVEL_4K;
	return 0;
}

static void set_entry(u64 pfn, int level, bool assigned)
{
	struct sev_test *t = sev_test();
	int i = rmp_index(pfn, level_pages(level));

	if (i < 0)
		return;
	memset(t->assigned + i, assigned, level_pages(level));
	t->large[i / PAGES_2M] = assigned && level == PG_LEVEL_2M;
}

static int fake_make_private(u64 pfn, u64 gpa, enum pg_level level, u32 asid, bool immutable)
{
	struct sev_event *event = new_event(PRIVATE, pfn, level);

	event->gpa = gpa;
	event->asid = asid;
	event->immutable = immutable;
	if (sev_test()->private_error)
		return sev_test()->private_error;
	set_entry(pfn, level, true);
	return 0;
}

static int fake_private_run(kvm_pfn_t pfn, gfn_t gfn, u32 asid)
{
	struct sev_event *event = new_event(PRIVATE_RUN, pfn, 0);

	event->gpa = gfn << PAGE_SHIFT;
	event->asid = asid;
	if (sev_test()->private_error)
		return sev_test()->private_error;
	set_entry(pfn, PG_LEVEL_4K, true);
	return 0;
}

#ifdef KVM_LPAGE_POPULATE
static int fake_populate_run(struct kvm *kvm, gfn_t gfn, kvm_pfn_t pfn,
			     const void __user *src, int nr)
{
	struct sev_event *event = new_event(POPULATE_RUN, pfn, nr);

	event->gpa = gfn << PAGE_SHIFT;
	return sev_test()->run;
}
#endif

static int fake_issue_cmd(struct file *file, unsigned int id, void *data, int *error)
{
	struct kunit *test = kunit_get_current_test();
	struct sev_data_snp_launch_update *update = data;
	u64 pfn = update->address >> PAGE_SHIFT;

	KUNIT_EXPECT_PTR_EQ(test, file, sev_test()->sev);
	KUNIT_EXPECT_EQ(test, id, SEV_CMD_SNP_LAUNCH_UPDATE);
	KUNIT_EXPECT_TRUE(test, update->page_size == RMP_PG_SIZE_4K);
	KUNIT_EXPECT_TRUE(test, update->page_type == KVM_SEV_SNP_PAGE_TYPE_ZERO);
	new_event(LAUNCH, pfn, 0);
	*error = pfn == sev_test()->launch_error_pfn ? SEV_RET_INVALID_PARAM : 0;
	return *error ? -EIO : 0;
}

static int fake_do_cmd(int cmd, void *data, int *error)
{
	struct sev_data_snp_page_reclaim *reclaim = data;

	KUNIT_EXPECT_EQ(kunit_get_current_test(), cmd, SEV_CMD_SNP_PAGE_RECLAIM);
	new_event(RECLAIM, reclaim->paddr >> PAGE_SHIFT, 0);
	return 0;
}

static int fake_make_shared(u64 pfn, enum pg_level level)
{
	new_event(SHARED, pfn, level);
	if (pfn == sev_test()->shared_error_pfn)
		return -EFAULT;
	set_entry(pfn, level, false);
	return 0;
}

static int fake_psmash(u64 pfn)
{
	struct sev_test *t = sev_test();
	int i = rmp_index(pfn, PAGES_2M), result = 0;

	if (t->nr_psmash < ARRAY_SIZE(t->psmash_results))
		result = t->psmash_results[t->nr_psmash];
	t->nr_psmash++;
	new_event(PSMASH, pfn, result);
	if (i >= 0 && !result)
		t->large[i / PAGES_2M] = false;
	if (result && t->meanwhile)
		t->meanwhile(t);
	return result;
}

static void fake_clflush(void *addr, unsigned int size)
{
	new_event(FLUSH, PHYS_PFN(__pa(addr)), size);
}

static struct kvm_memory_slot *fake_memslot(struct kvm *kvm, gfn_t gfn)
{
	return sev_test()->slot_found;
}

static int fake_gmem_get_pfn(struct kvm *kvm, struct kvm_memory_slot *slot, gfn_t gfn,
			     kvm_pfn_t *pfn, struct page **page, int *max_order)
{
	if (sev_test()->gmem_error)
		return sev_test()->gmem_error;
	*pfn = HEAD + gfn - HEAD_GFN;
	*page = pfn_to_page(*pfn);
	if (max_order)
		*max_order = 0;
	return 0;
}

static void fake_zap(struct kvm *kvm, gfn_t start, gfn_t end)
{
	new_event(ZAP, start, end - start);
}

static int fake_split_gfn(struct kvm *kvm, gfn_t gfn)
{
	new_event(SPLIT, gfn, sev_test()->split_error);
	return sev_test()->split_error;
}

static bool fake_wait_merge(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	return sev_test()->merging;
}

static void fake_release_page(struct page *page)
{
	new_event(PUT, page_to_pfn(page), 0);
}

static bool fake_warn(bool condition)
{
	sev_test()->warnings += condition;
	return false;
}

/* What KVM_SET_MEMORY_ATTRIBUTES has stored for the 2M page. */
static int set_private(struct sev_test *t, bool private)
{
	void *attributes = private ? xa_mk_value(KVM_MEMORY_ATTRIBUTE_PRIVATE) : NULL;
	int i, ret = 0;

	for (i = 0; i < PAGES_2M && !ret; i++)
		ret = xa_err(xa_store(&t->svm.kvm.mem_attr_array, HEAD_GFN + i, attributes,
				      GFP_KERNEL));
	return ret;
}

/*
 * An SNP guest, on a host that has SNP, with nothing in the RMP, and one 2M page of
 * private memory.
 */
static int sev_kunit_init(struct kunit *test)
{
	struct sev_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	t->snp_host = true;
	t->lookup_min = ~0ull;
	t->svm.sev_info.active = true;
	t->svm.sev_info.es_active = true;
	t->svm.sev_info.vmsa_features = SVM_SEV_FEAT_SNP_ACTIVE;
	t->svm.sev_info.asid = ASID;
	t->vcpu.kvm = &t->svm.kvm;
	t->slot.flags = KVM_MEM_GUEST_MEMFD;
	t->slot_found = &t->slot;
	xa_init(&t->svm.kvm.mem_attr_array);
	KUNIT_ASSERT_EQ(test, set_private(t, true), 0);

	kunit_activate_static_stub(test, sev_mock_platform_has, fake_platform_has);
	kunit_activate_static_stub(test, sev_mock_lookup, fake_lookup);
	kunit_activate_static_stub(test, sev_mock_make_private, fake_make_private);
	kunit_activate_static_stub(test, sev_mock_private_run, fake_private_run);
#ifdef KVM_LPAGE_POPULATE
	kunit_activate_static_stub(test, sev_mock_populate_run, fake_populate_run);
#endif
	kunit_activate_static_stub(test, sev_mock_issue_cmd, fake_issue_cmd);
	kunit_activate_static_stub(test, sev_mock_do_cmd, fake_do_cmd);
	kunit_activate_static_stub(test, sev_mock_make_shared, fake_make_shared);
	kunit_activate_static_stub(test, sev_mock_psmash, fake_psmash);
	kunit_activate_static_stub(test, sev_mock_clflush, fake_clflush);
	kunit_activate_static_stub(test, sev_mock_memslot, fake_memslot);
	kunit_activate_static_stub(test, sev_mock_gmem_get_pfn, fake_gmem_get_pfn);
	kunit_activate_static_stub(test, sev_mock_zap, fake_zap);
	kunit_activate_static_stub(test, sev_mock_split_gfn, fake_split_gfn);
	kunit_activate_static_stub(test, sev_mock_wait_merge, fake_wait_merge);
	kunit_activate_static_stub(test, sev_mock_release_page, fake_release_page);
	kunit_activate_static_stub(test, sev_mock_warn, fake_warn);
	return 0;
}

static void sev_kunit_exit(struct kunit *test)
{
	struct sev_test *t = test->priv;

	if (t)
		xa_destroy(&t->svm.kvm.mem_attr_array);
}

/* Forget what happened, and empty the RMP. */
static void reset(struct sev_test *t)
{
	memset(t->assigned, 0, sizeof(t->assigned));
	memset(t->large, 0, sizeof(t->large));
	memset(t->lookup_error, 0, sizeof(t->lookup_error));
	t->nr_lookups = 0;
	t->lookup_min = ~0ull;
	t->lookup_max = 0;
	t->nr_psmash = 0;
	t->nr_events = 0;
	memset(t->events, 0, sizeof(t->events));
}

static void expect_event(struct kunit *test, int n, enum sev_call call, u64 pfn, int arg)
{
	struct sev_test *t = test->priv;
	struct sev_event *event = &t->events[n];

	if (event->call != call || event->pfn != pfn || event->arg != arg)
		KUNIT_FAIL(test, "event %d is %d of 0x%llx, %d, want %d of 0x%llx, %d", n,
			   event->call, event->pfn, event->arg, call, pfn, arg);
}

/* One page is taken back, at n in the list: made shared and flushed. */
static void expect_taken(struct kunit *test, int n, u64 pfn, int level)
{
	expect_event(test, n, SHARED, pfn, level);
	expect_event(test, n + 1, FLUSH, pfn, level == PG_LEVEL_2M ? SZ_2M : SZ_4K);
}

/* That what was asked for so far is n things, and no warnings. */
static void expect_events(struct kunit *test, int n)
{
	struct sev_test *t = test->priv;

	KUNIT_EXPECT_EQ(test, t->nr_events, n);
	KUNIT_EXPECT_EQ(test, t->warnings, 0);
}

/* The page is given away by the one call, of this level, and no other. */
static void expect_private(struct kunit *test, u64 pfn, u64 gfn, int level)
{
	struct sev_test *t = test->priv;

	expect_events(test, 1);
	expect_event(test, 0, PRIVATE, pfn, level);
	KUNIT_EXPECT_EQ(test, t->events[0].gpa, gfn << 12);
	KUNIT_EXPECT_EQ(test, t->events[0].asid, ASID);
	KUNIT_EXPECT_FALSE(test, t->events[0].immutable);
}

/* So is what follows it, by 4K, of a block that can have no 2M entry. */
static void expect_private_run(struct kunit *test, u64 pfn, u64 gfn)
{
	struct sev_test *t = test->priv;

	expect_events(test, 1);
	expect_event(test, 0, PRIVATE_RUN, pfn, 0);
	KUNIT_EXPECT_EQ(test, t->events[0].gpa, gfn << 12);
	KUNIT_EXPECT_EQ(test, t->events[0].asid, ASID);
}

/* A page of the 2M page is touched, and there are so many pages with it. */
static int make_private(struct sev_test *t, int offset, int nr)
{
	return sev_gmem_make_private(&t->svm.kvm, HEAD_GFN + offset, HEAD + offset, nr);
}

/* Memory goes back to the host. */
static void make_shared(u64 start, u64 end)
{
	sev_gmem_make_shared(start, end - start);
}

static int max_level(struct sev_test *t, u64 pfn)
{
	return sev_gmem_max_mapping_level(&t->svm.kvm, pfn, true);
}

/* Other VMs' memory is not in the RMP, and hosts without SNP have none. */
static void test_not_snp(struct kunit *test)
{
	struct sev_test *t = test->priv;
	struct kvm_sev_info *sev = &t->svm.sev_info;
	int i;

	t->assigned[HEAD - FIRST_PFN] = true;
	t->snp_host = false;
	make_shared(HEAD, HEAD + 1);
	KUNIT_EXPECT_EQ(test, t->nr_lookups, 0);
	expect_events(test, 0);
	t->snp_host = true;
	make_shared(HEAD, HEAD + 1);
	expect_events(test, 2);
	reset(t);

	/* Without SEV, with SEV, with SEV-ES */
	for (i = 0; i < 3; i++) {
		sev->active = i >= 1;
		sev->es_active = i >= 2;
		sev->vmsa_features = 0;
		KUNIT_EXPECT_EQ(test, make_private(t, 0, PAGES_2M), 0);
		KUNIT_EXPECT_EQ(test, max_level(t, HEAD), 0);
		KUNIT_EXPECT_EQ(test, t->nr_lookups, 0);
		expect_events(test, 0);
	}
	sev->vmsa_features = SVM_SEV_FEAT_SNP_ACTIVE;
	KUNIT_EXPECT_EQ(test, make_private(t, 0, PAGES_2M), 0);
	expect_events(test, 1);
}

/* Below 2M there are 4K entries only, for the very page. */
static void test_private_small(struct kunit *test)
{
	struct sev_test *t = test->priv;
	int i, n;

	for (n = 0; n < ARRAY_SIZE(small_sizes); n++) {
		for (i = 0; i < ARRAY_SIZE(offsets); i++) {
			reset(t);
			KUNIT_EXPECT_EQ(test, make_private(t, offsets[i], small_sizes[n]), 0);
			expect_private(test, HEAD + offsets[i], HEAD_GFN + offsets[i], PG_LEVEL_4K);
			/* Nothing is asked of the neighbours. */
			KUNIT_EXPECT_EQ(test, t->nr_lookups, 1);
		}
	}
}

/* A block that is all shared gets a 2M entry, whichever page is touched first. */
static void test_private_large(struct kunit *test)
{
	struct sev_test *t = test->priv;
	int i, n;

	for (n = 0; n < ARRAY_SIZE(large_sizes); n++) {
		for (i = 0; i < ARRAY_SIZE(offsets); i++) {
			reset(t);
			KUNIT_EXPECT_EQ(test, make_private(t, offsets[i], large_sizes[n]), 0);
			expect_private(test, HEAD, HEAD_GFN, PG_LEVEL_2M);
			/* All of it was looked at, and no other page. */
			KUNIT_EXPECT_EQ(test, t->nr_lookups, 1 + PAGES_2M);
			KUNIT_EXPECT_EQ(test, t->lookup_min, HEAD);
			KUNIT_EXPECT_EQ(test, t->lookup_max, HEAD + PAGES_2M - 1);
		}
	}
}

/*
 * GFN and PFN are aligned each by itself: that they lie alike in their 2M pages is
 * for guest_memfd to see to, and not checked (sev_gmem_make_private()).
 */
static void test_private_gfn(struct kunit *test)
{
	struct sev_test *t = test->priv;
	int i, k;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		for (k = 0; k < ARRAY_SIZE(offsets); k++) {
			reset(t);
			KUNIT_EXPECT_EQ(test, 0,
					sev_gmem_make_private(&t->svm.kvm, HEAD_GFN + offsets[k],
							      HEAD + offsets[i], PAGES_2M));
			expect_private(test, HEAD, HEAD_GFN, PG_LEVEL_2M);
			reset(t);
			KUNIT_EXPECT_EQ(test, 0,
					sev_gmem_make_private(&t->svm.kvm, HEAD_GFN + offsets[k],
							      HEAD + offsets[i], 1));
			expect_private(test, HEAD + offsets[i], HEAD_GFN + offsets[k], PG_LEVEL_4K);
		}
	}
}

/* One page that is somebody's already, and there is no 2M entry for the rest. */
static void test_private_mixed(struct kunit *test)
{
	struct sev_test *t = test->priv;
	int i, k;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		for (k = 0; k < ARRAY_SIZE(offsets); k++) {
			if (i == k)
				continue;
			reset(t);
			t->assigned[HEAD - FIRST_PFN + offsets[k]] = true;
			KUNIT_EXPECT_EQ(test, make_private(t, offsets[i], PAGES_2M), 0);
			expect_private_run(test, HEAD + offsets[i], HEAD_GFN + offsets[i]);
		}
	}

	/* Of other 2M pages it does not matter. */
	reset(t);
	t->assigned[HEAD - FIRST_PFN - 1] = true;
	t->assigned[HEAD - FIRST_PFN + PAGES_2M] = true;
	KUNIT_EXPECT_EQ(test, make_private(t, 3, PAGES_2M), 0);
	expect_private(test, HEAD, HEAD_GFN, PG_LEVEL_2M);
}

/* Assigned is assigned, to whomever, in whatever size, whatever would fit now. */
static void test_private_assigned(struct kunit *test)
{
	struct sev_test *t = test->priv;
	int i, nr;

	for (nr = 1; nr <= PAGES_2M; nr += PAGES_2M - 1) {
		for (i = 0; i < ARRAY_SIZE(offsets); i++) {
			reset(t);
			set_entry(HEAD + offsets[i], PG_LEVEL_4K, true);
			KUNIT_EXPECT_EQ(test, make_private(t, offsets[i], nr), 0);
			set_entry(HEAD, PG_LEVEL_2M, true);
			KUNIT_EXPECT_EQ(test, make_private(t, offsets[i], nr), 0);
			KUNIT_EXPECT_EQ(test, t->nr_lookups, 2);
			expect_events(test, 0);
		}
	}
}

/* Twice, and the second time it is there. */
static void test_private_again(struct kunit *test)
{
	struct sev_test *t = test->priv;

	KUNIT_EXPECT_EQ(test, make_private(t, 4, PAGES_2M), 0);
	KUNIT_EXPECT_EQ(test, make_private(t, 5, PAGES_2M), 0);
	KUNIT_EXPECT_EQ(test, make_private(t, 0, 1), 0);
	expect_private(test, HEAD, HEAD_GFN, PG_LEVEL_2M);
	KUNIT_EXPECT_EQ(test, max_level(t, HEAD + 511), PG_LEVEL_2M);

	/* Behind it, page by page: 4K entries do not become a 2M one. */
	KUNIT_EXPECT_EQ(test, make_private(t, 512, 1), 0);
	KUNIT_EXPECT_EQ(test, make_private(t, 513, PAGES_2M), 0);
	expect_event(test, 1, PRIVATE, HEAD + 512, PG_LEVEL_4K);
	expect_event(test, 2, PRIVATE_RUN, HEAD + 513, 0);
	expect_events(test, 3);
	KUNIT_EXPECT_EQ(test, max_level(t, HEAD + 513), PG_LEVEL_4K);
}

/* A page that has no entry cannot be given; whatever the error, it is ENOENT. */
static void test_private_lookup_error(struct kunit *test)
{
	static const int errors[] = { -ENODEV, -EFAULT, 1 };
	struct sev_test *t = test->priv;
	int i;

	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		reset(t);
		t->lookup_error[HEAD - FIRST_PFN + 6] = errors[i];
		KUNIT_EXPECT_EQ(test, make_private(t, 6, PAGES_2M), -ENOENT);
		expect_events(test, 0);

		/* A neighbour that has none is a reason for 4K. */
		KUNIT_EXPECT_EQ(test, make_private(t, 7, PAGES_2M), 0);
		expect_private_run(test, HEAD + 7, HEAD_GFN + 7);
	}
}

/* What RMPUPDATE refuses is not tried in another size. */
static void test_private_update_error(struct kunit *test)
{
	struct sev_test *t = test->priv;

	t->private_error = -EFAULT;
	KUNIT_EXPECT_EQ(test, make_private(t, 2, 1), -EINVAL);
	expect_private(test, HEAD + 2, HEAD_GFN + 2, PG_LEVEL_4K);
	reset(t);
	KUNIT_EXPECT_EQ(test, make_private(t, 2, PAGES_2M), -EINVAL);
	expect_private(test, HEAD, HEAD_GFN, PG_LEVEL_2M);
	reset(t);
	t->assigned[HEAD - FIRST_PFN] = true;
	KUNIT_EXPECT_EQ(test, make_private(t, 2, PAGES_2M), -EINVAL);
	expect_private_run(test, HEAD + 2, HEAD_GFN + 2);

	reset(t);
	t->private_error = 0;
	KUNIT_EXPECT_EQ(test, make_private(t, 2, PAGES_2M), 0);
	expect_private(test, HEAD, HEAD_GFN, PG_LEVEL_2M);
}

static const struct file_operations no_fops;

static void populate_begin(struct kunit *test, struct sev_gmem_populate_args *args)
{
	struct sev_test *t = test->priv;

	args->type = KVM_SEV_SNP_PAGE_TYPE_ZERO;
	args->sev_fd = anon_inode_getfd("[sev]", &no_fops, NULL, O_CLOEXEC);
	KUNIT_ASSERT_GE(test, args->sev_fd, 0);
	t->sev = fget(args->sev_fd);
}

static void populate_end(struct kunit *test, struct sev_gmem_populate_args *args)
{
	struct sev_test *t = test->priv;

	fput(t->sev);
	close_fd(args->sev_fd);
}

#ifdef KVM_LPAGE_POPULATE
/* What KVM_SEV_SNP_LAUNCH_UPDATE does with 1 << @order pages of a block. */
static int populate(struct kunit *test, int order)
{
	struct sev_gmem_populate_args args = {};
	struct sev_test *t = test->priv;
	int ret;

	populate_begin(test, &args);
	ret = (sev_gmem_post_populate)(&t->svm.kvm, HEAD_GFN, HEAD, NULL, order, &args);
	populate_end(test, &args);
	return ret;
}

/* @nr pages of a run of four are launched, and then so many come back. */
static void expect_launched(struct kunit *test, int nr, int back)
{
	struct sev_test *t = test->priv;
	int i, n = 0;

	expect_event(test, n++, POPULATE_RUN, HEAD, 4);
	KUNIT_EXPECT_EQ(test, t->events[0].gpa, HEAD_GFN << PAGE_SHIFT);
	for (i = 0; i < nr; i++)
		expect_event(test, n++, LAUNCH, HEAD + i, 0);
	for (i = nr - !!back; back--; i++) {
		expect_event(test, n++, RECLAIM, HEAD + i, 0);
		expect_event(test, n++, SHARED, HEAD + i, PG_LEVEL_4K);
	}
	expect_events(test, n);
	/* That they are shared, the run has seen to. */
	KUNIT_EXPECT_EQ(test, t->nr_lookups, 0);
}

/* A run is given to the firmware at once, and launched page by page. */
static void test_populate_run(struct kunit *test)
{
	struct sev_test *t = test->priv;

	t->run = 4;
	KUNIT_EXPECT_EQ(test, populate(test, 2), 0);
	expect_launched(test, 4, 0);

	/* It is shorter than asked for, and KVM is told so. */
	reset(t);
	t->run = 3;
	KUNIT_EXPECT_EQ(test, populate(test, 2), 3);
	expect_launched(test, 3, 0);

	reset(t);
	t->run = -EEXIST;
	KUNIT_EXPECT_EQ(test, populate(test, 2), -EEXIST);
	expect_launched(test, 0, 0);
}

/* What has been launched stays so; the page that is refused comes back, and what follows. */
static void test_populate_run_error(struct kunit *test)
{
	struct sev_test *t = test->priv;
	int i;

	for (i = 0; i < 4; i++) {
		reset(t);
		t->run = 4;
		t->launch_error_pfn = HEAD + i;
		KUNIT_EXPECT_EQ(test, populate(test, 2), i ?: -EIO);
		expect_launched(test, i + 1, 4 - i);
	}

	reset(t);
	t->run = 2;
	t->launch_error_pfn = HEAD + 1;
	KUNIT_EXPECT_EQ(test, populate(test, 2), 1);
	expect_launched(test, 2, 1);
}
#endif

static int populate_one(struct kunit *test)
{
	struct sev_gmem_populate_args args = {};
	struct sev_test *t = test->priv;
	int ret;

	populate_begin(test, &args);
	ret = sev_gmem_post_populate(&t->svm.kvm, HEAD_GFN, HEAD, NULL, &args);
	populate_end(test, &args);
	return ret;
}

/* A page that the firmware has launched stays, and one that it refuses comes back. */
static void test_populate_one(struct kunit *test)
{
	struct sev_test *t = test->priv;

	KUNIT_EXPECT_EQ(test, populate_one(test), 0);
	expect_event(test, 0, PRIVATE, HEAD, PG_LEVEL_4K);
	KUNIT_EXPECT_TRUE(test, t->events[0].immutable);
	expect_event(test, 1, LAUNCH, HEAD, 0);
	expect_events(test, 2);

	KUNIT_EXPECT_EQ(test, populate_one(test), -EEXIST);
	expect_events(test, 2);

	reset(t);
	t->launch_error_pfn = HEAD;
	KUNIT_EXPECT_EQ(test, populate_one(test), -EIO);
	expect_event(test, 2, RECLAIM, HEAD, 0);
	expect_event(test, 3, SHARED, HEAD, PG_LEVEL_4K);
	expect_events(test, 4);
}

static void test_large_possible(struct kunit *test)
{
	struct sev_test *t = test->priv;
	u64 pfn;
	int i;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		reset(t);
		pfn = HEAD + offsets[i];
		KUNIT_EXPECT_FALSE(test, is_large_rmp_possible(pfn, 1));
		KUNIT_EXPECT_FALSE(test, is_large_rmp_possible(pfn, PAGES_2M / 2));
		KUNIT_EXPECT_EQ(test, t->nr_lookups, 0);
		KUNIT_EXPECT_TRUE(test, is_large_rmp_possible(pfn, PAGES_2M));
		KUNIT_EXPECT_EQ(test, t->nr_lookups, PAGES_2M);
		KUNIT_EXPECT_EQ(test, t->lookup_min, HEAD);
		KUNIT_EXPECT_EQ(test, t->lookup_max, HEAD + PAGES_2M - 1);

		/* The page itself counts as well. */
		t->assigned[pfn - FIRST_PFN] = true;
		KUNIT_EXPECT_FALSE(test, is_large_rmp_possible(pfn, PAGES_2M));
	}
}

/* is_pfn_range_shared(): start is in the range, end is not, and the first to object ends it. */
static void test_range_shared(struct kunit *test)
{
	static const struct {
		int start, end;
	} ranges[] = {
		{ 0, 1 }, { 7, 8 }, { 0, PAGES_2M }, { 3, 515 }, { PAGES_2M - 1, PAGES_2M + 1 },
	};
	struct sev_test *t = test->priv;
	u64 start, end;
	int i;

	KUNIT_EXPECT_TRUE(test, is_pfn_range_shared(HEAD, HEAD));
	KUNIT_EXPECT_EQ(test, t->nr_lookups, 0);

	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		start = HEAD + ranges[i].start;
		end = HEAD + ranges[i].end;

		reset(t);
		t->assigned[start - 1 - FIRST_PFN] = true;
		t->assigned[end - FIRST_PFN] = true;
		KUNIT_EXPECT_TRUE(test, is_pfn_range_shared(start, end));
		KUNIT_EXPECT_EQ(test, t->nr_lookups, end - start);
		KUNIT_EXPECT_EQ(test, t->lookup_min, start);
		KUNIT_EXPECT_EQ(test, t->lookup_max, end - 1);

		t->assigned[end - 1 - FIRST_PFN] = true;
		KUNIT_EXPECT_FALSE_MSG(test, is_pfn_range_shared(start, end), "range %d", i);
		t->lookup_error[start - FIRST_PFN] = -EFAULT;
		t->nr_lookups = 0;
		KUNIT_EXPECT_FALSE_MSG(test, is_pfn_range_shared(start, end), "range %d", i);
		KUNIT_EXPECT_EQ(test, t->nr_lookups, 1);
		t->lookup_error[start - FIRST_PFN] = 0;
		t->assigned[start - FIRST_PFN] = true;
		KUNIT_EXPECT_FALSE_MSG(test, is_pfn_range_shared(start, end), "range %d", i);
		KUNIT_EXPECT_EQ(test, t->nr_lookups, 2);
	}
}

/* A mapping of an SNP guest is not larger than the entry (APM 2, 15.36.10). */
static void test_max_mapping_level(struct kunit *test)
{
	struct sev_test *t = test->priv;
	u64 pfn;
	int i;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		reset(t);
		pfn = HEAD + offsets[i];
		KUNIT_EXPECT_EQ(test, max_level(t, pfn), PG_LEVEL_4K);
		set_entry(pfn, PG_LEVEL_4K, true);
		KUNIT_EXPECT_EQ(test, max_level(t, pfn), PG_LEVEL_4K);
		set_entry(HEAD, PG_LEVEL_2M, true);
		KUNIT_EXPECT_EQ(test, max_level(t, pfn), PG_LEVEL_2M);

		/* Nobody's, whatever its size is said to be, or not to be known */
		t->assigned[pfn - FIRST_PFN] = false;
		KUNIT_EXPECT_EQ(test, max_level(t, pfn), PG_LEVEL_4K);
		t->assigned[pfn - FIRST_PFN] = true;
		t->lookup_error[pfn - FIRST_PFN] = -EFAULT;
		KUNIT_EXPECT_EQ(test, max_level(t, pfn), PG_LEVEL_4K);
	}
	expect_events(test, 0);
}

/* PSMASH is of the 2M page, and tried again while another CPU is at it. */
static void test_psmash(struct kunit *test)
{
	struct sev_test *t = test->priv;
	int i, k;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		reset(t);
		set_entry(HEAD, PG_LEVEL_2M, true);
		for (k = 0; k < 4; k++)
			t->psmash_results[k] = k < i ? PSMASH_FAIL_INUSE : 0;
		KUNIT_EXPECT_EQ(test, snp_rmptable_psmash(HEAD + offsets[i]), 0);
		expect_events(test, i + 1);
		for (k = 0; k <= i; k++)
			expect_event(test, k, PSMASH, HEAD, k < i ? PSMASH_FAIL_INUSE : 0);
	}
}

/* All other errors are final. */
static void test_psmash_error(struct kunit *test)
{
	static const int errors[] = { -EINVAL, FAIL_INPUT, FAIL_PERMISSION, FAIL_OVERLAP };
	struct sev_test *t = test->priv;
	int i;

	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		reset(t);
		t->psmash_results[0] = PSMASH_FAIL_INUSE;
		t->psmash_results[1] = errors[i];
		KUNIT_EXPECT_EQ(test, snp_rmptable_psmash(HEAD + 1), errors[i]);
		expect_events(test, 2);
	}
}

/* What nobody has, or has no entry, is left alone; each of the others is taken. */
static void test_shared_4k(struct kunit *test)
{
	struct sev_test *t = test->priv;
	int i, n = 0;

	make_shared(HEAD, HEAD);
	KUNIT_EXPECT_EQ(test, t->nr_lookups, 0);
	make_shared(HEAD - 3, HEAD + PAGES_2M + 3);
	KUNIT_EXPECT_EQ(test, t->nr_lookups, PAGES_2M + 6);
	expect_events(test, 0);

	for (i = 0; i < ARRAY_SIZE(offsets); i++)
		set_entry(HEAD + offsets[i], PG_LEVEL_4K, true);
	set_entry(HEAD + 100, PG_LEVEL_4K, true);
	t->lookup_error[HEAD + 100 - FIRST_PFN] = -EFAULT;
	/* Outside of the range */
	set_entry(HEAD - 1, PG_LEVEL_4K, true);
	set_entry(HEAD + PAGES_2M, PG_LEVEL_4K, true);
	make_shared(HEAD, HEAD + PAGES_2M);
	for (i = 0; i < ARRAY_SIZE(offsets); i++, n += 2)
		expect_taken(test, n, HEAD + offsets[i], PG_LEVEL_4K);
	expect_events(test, n);
}

/* 4K entries are taken one by one, though they may be all of a 2M page. */
static void test_shared_4k_all(struct kunit *test)
{
	struct sev_test *t = test->priv;
	int i;

	memset(t->assigned + PAGES_2M, true, PAGES_2M);
	make_shared(HEAD, HEAD + PAGES_2M);
	for (i = 0; i < PAGES_2M; i++)
		expect_taken(test, 2 * i, HEAD + i, PG_LEVEL_4K);
	expect_events(test, 2 * PAGES_2M);
}

/* A 2M entry that lies in the range is taken at once, and not looked at again. */
static void test_shared_2m(struct kunit *test)
{
	struct sev_test *t = test->priv;

	set_entry(HEAD, PG_LEVEL_2M, true);
	make_shared(HEAD, HEAD + PAGES_2M);
	expect_taken(test, 0, HEAD, PG_LEVEL_2M);
	KUNIT_EXPECT_EQ(test, t->nr_lookups, 1);
	expect_events(test, 2);

	/* Two, and 4K pages before, between and behind them */
	reset(t);
	set_entry(HEAD - 1, PG_LEVEL_4K, true);
	set_entry(HEAD, PG_LEVEL_2M, true);
	set_entry(HEAD + PAGES_2M + 1, PG_LEVEL_4K, true);
	set_entry(HEAD + 2 * PAGES_2M, PG_LEVEL_2M, true);
	set_entry(HEAD + 3 * PAGES_2M, PG_LEVEL_4K, true);
	make_shared(HEAD - 2, HEAD + 3 * PAGES_2M + 1);
	expect_taken(test, 0, HEAD - 1, PG_LEVEL_4K);
	expect_taken(test, 2, HEAD, PG_LEVEL_2M);
	expect_taken(test, 4, HEAD + PAGES_2M + 1, PG_LEVEL_4K);
	expect_taken(test, 6, HEAD + 2 * PAGES_2M, PG_LEVEL_2M);
	expect_taken(test, 8, HEAD + 3 * PAGES_2M, PG_LEVEL_4K);
	expect_events(test, 10);
	KUNIT_EXPECT_EQ(test, t->nr_lookups, 2 + 1 + PAGES_2M + 1 + 1);
}

/* Of a 2M entry that sticks out of the range PSMASH makes 4K ones, once. */
static void test_shared_psmash(struct kunit *test)
{
	static const struct {
		int start, end;
	} ranges[] = {
		{ 0, 511 }, { 1, 512 }, { 0, 1 }, { 511, 512 }, { 255, 256 }, { 100, 300 },
		{ 1, 700 }, { -40, 511 },
	};
	struct sev_test *t = test->priv;
	int i, k, n, start, end;

	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		reset(t);
		set_entry(HEAD, PG_LEVEL_2M, true);
		make_shared(HEAD + ranges[i].start, HEAD + ranges[i].end);

		start = max(ranges[i].start, 0);
		end = min(ranges[i].end, PAGES_2M);
		expect_event(test, 0, PSMASH, HEAD, 0);
		for (n = 1, k = start; k < end; k++, n += 2)
			expect_taken(test, n, HEAD + k, PG_LEVEL_4K);
		expect_events(test, n);
		/* The others stay the guest's. */
		for (k = 0; k < PAGES_2M; k++)
			KUNIT_EXPECT_EQ(test, t->assigned[PAGES_2M + k], k < start || k >= end);
	}
}

/* A PSMASH that fails is told of, and the page is taken all the same, or tried to. */
static void test_shared_psmash_error(struct kunit *test)
{
	struct sev_test *t = test->priv;

	set_entry(HEAD, PG_LEVEL_2M, true);
	t->psmash_results[0] = PSMASH_FAIL_INUSE;
	t->psmash_results[1] = FAIL_PERMISSION;
	make_shared(HEAD + 8, HEAD + 10);
	KUNIT_EXPECT_EQ(test, t->warnings, 1);
	t->warnings = 0;
	expect_event(test, 0, PSMASH, HEAD, PSMASH_FAIL_INUSE);
	expect_event(test, 1, PSMASH, HEAD, FAIL_PERMISSION);
	expect_taken(test, 2, HEAD + 8, PG_LEVEL_4K);
	expect_taken(test, 4, HEAD + 9, PG_LEVEL_4K);
	expect_events(test, 6);
}

/* What cannot be made shared is told of, not flushed, and does not stop the rest. */
static void test_shared_update_error(struct kunit *test)
{
	struct sev_test *t = test->priv;

	set_entry(HEAD + 5, PG_LEVEL_4K, true);
	set_entry(HEAD + 6, PG_LEVEL_4K, true);
	t->shared_error_pfn = HEAD + 5;
	make_shared(HEAD + 4, HEAD + 8);
	KUNIT_EXPECT_EQ(test, t->warnings, 1);
	t->warnings = 0;
	expect_event(test, 0, SHARED, HEAD + 5, PG_LEVEL_4K);
	expect_taken(test, 1, HEAD + 6, PG_LEVEL_4K);
	expect_events(test, 3);

	/* Of 2M the next 2M page, not the next page */
	reset(t);
	set_entry(HEAD, PG_LEVEL_2M, true);
	set_entry(HEAD + PAGES_2M, PG_LEVEL_2M, true);
	t->shared_error_pfn = HEAD;
	make_shared(HEAD, HEAD + 2 * PAGES_2M);
	KUNIT_EXPECT_EQ(test, t->warnings, 1);
	t->warnings = 0;
	expect_event(test, 0, SHARED, HEAD, PG_LEVEL_2M);
	expect_taken(test, 1, HEAD + PAGES_2M, PG_LEVEL_2M);
	expect_events(test, 3);
	KUNIT_EXPECT_EQ(test, t->nr_lookups, 2);
}

/* A guest's fault on the RMP, in the given page of the 2M page. */
static void rmp_fault(struct sev_test *t, int offset)
{
	sev_handle_rmp_fault(&t->vcpu, gfn_to_gpa(HEAD_GFN + offset) + 0x123,
			     PFERR_GUEST_RMP_MASK);
}

/* sev_handle_rmp_fault(): it is about guest_memfd's private memory, and no other. */
static void test_fault_elsewhere(struct kunit *test)
{
	struct sev_test *t = test->priv;

	set_entry(HEAD, PG_LEVEL_2M, true);
	KUNIT_ASSERT_EQ(test, set_private(t, false), 0);
	rmp_fault(t, 3);
	KUNIT_ASSERT_EQ(test, set_private(t, true), 0);
	t->slot_found = NULL;
	rmp_fault(t, 3);
	t->slot_found = &t->slot;
	t->slot.flags = 0;
	rmp_fault(t, 3);
	t->slot.flags = KVM_MEM_GUEST_MEMFD;
	t->gmem_error = -EFAULT;
	rmp_fault(t, 3);
	KUNIT_EXPECT_EQ(test, t->nr_lookups, 0);
	expect_events(test, 0);

	t->gmem_error = 0;
	rmp_fault(t, 3);
	expect_event(test, 0, PSMASH, HEAD, 0);
}

/* No entry, nobody's, or 4K already: there is nothing to split, nor to map anew. */
static void test_fault_no_split(struct kunit *test)
{
	struct sev_test *t = test->priv;
	int i;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		reset(t);
		rmp_fault(t, offsets[i]);
		t->large[HEAD_LARGE] = true;
		rmp_fault(t, offsets[i]);
		set_entry(HEAD, PG_LEVEL_2M, true);
		t->lookup_error[HEAD - FIRST_PFN + offsets[i]] = -EFAULT;
		rmp_fault(t, offsets[i]);
		t->lookup_error[HEAD - FIRST_PFN + offsets[i]] = 0;
		set_entry(HEAD + offsets[i], PG_LEVEL_4K, true);
		rmp_fault(t, offsets[i]);

		KUNIT_EXPECT_EQ(test, t->nr_lookups, 4);
		expect_event(test, 0, PUT, HEAD + offsets[i], 0);
		expect_event(test, 1, PUT, HEAD + offsets[i], 0);
		expect_event(test, 2, PUT, HEAD + offsets[i], 0);
		expect_event(test, 3, PUT, HEAD + offsets[i], 0);
		expect_events(test, 4);
	}
}

/* A 2M entry is split (APM 2, 15.36.11), and so is what maps it. */
static void test_fault_split(struct kunit *test)
{
	struct sev_test *t = test->priv;
	int i;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		reset(t);
		set_entry(HEAD, PG_LEVEL_2M, true);
		t->psmash_results[0] = PSMASH_FAIL_INUSE;
		rmp_fault(t, offsets[i]);
		expect_event(test, 0, PSMASH, HEAD, PSMASH_FAIL_INUSE);
		expect_event(test, 1, PSMASH, HEAD, 0);
		expect_event(test, 2, SPLIT, HEAD_GFN + offsets[i], 0);
		expect_event(test, 3, PUT, HEAD + offsets[i], 0);
		expect_events(test, 4);

		/* The next one finds 4K entries. */
		rmp_fault(t, offsets[i]);
		expect_event(test, 4, PUT, HEAD + offsets[i], 0);
		expect_events(test, 5);
		KUNIT_EXPECT_EQ(test, max_level(t, HEAD + 8),
				PG_LEVEL_4K);
	}
}

/* What cannot be split in place is zapped: 512 GFNs from the one on. */
static void test_fault_zap(struct kunit *test)
{
	struct sev_test *t = test->priv;

	set_entry(HEAD, PG_LEVEL_2M, true);
	t->split_error = -ENOMEM;
	rmp_fault(t, 9);
	expect_event(test, 0, PSMASH, HEAD, 0);
	expect_event(test, 1, SPLIT, HEAD_GFN + 9, -ENOMEM);
	expect_event(test, 2, ZAP, HEAD_GFN + 9, PAGES_2M);
	expect_event(test, 3, PUT, HEAD + 9, 0);
	expect_events(test, 4);
}

/* An entry that is being merged is of 2M for now, and immutable. */
static void test_fault_merging(struct kunit *test)
{
	struct sev_test *t = test->priv;

	set_entry(HEAD, PG_LEVEL_2M, true);
	t->merging = true;
	rmp_fault(t, 9);
	expect_event(test, 0, PUT, HEAD + 9, 0);
	expect_events(test, 1);
}

static void other_splits(struct sev_test *t)
{
	t->large[HEAD_LARGE] = false;
}

static void other_takes(struct sev_test *t)
{
	t->large[HEAD_LARGE] = false;
	memset(t->assigned, 0, sizeof(t->assigned));
}

static void other_breaks(struct sev_test *t)
{
	t->large[HEAD_LARGE] = false;
	t->lookup_error[HEAD - FIRST_PFN + 9] = -EFAULT;
}

/* A PSMASH that failed since another CPU was first is as good as one's own. */
static void test_fault_split_error(struct kunit *test)
{
	static const struct {
		void (*meanwhile)(struct sev_test *t);
		bool zaps;
	} cases[] = {
		{ NULL, true }, { other_splits, false }, { other_takes, true },
		{ other_breaks, true },
	};
	struct sev_test *t = test->priv;
	int i, n;

	t->psmash_results[0] = FAIL_PERMISSION;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		reset(t);
		set_entry(HEAD, PG_LEVEL_2M, true);
		t->meanwhile = cases[i].meanwhile;
		rmp_fault(t, 9);

		n = 0;
		expect_event(test, n++, PSMASH, HEAD, FAIL_PERMISSION);
		if (cases[i].zaps)
			expect_event(test, n++, ZAP, HEAD_GFN + 9, PAGES_2M);
		expect_event(test, n++, PUT, HEAD + 9, 0);
		expect_events(test, n);
		KUNIT_EXPECT_EQ(test, t->nr_lookups, 2);
	}
}

static struct kunit_case sev_cases[] = {
	KUNIT_CASE(test_not_snp),
	KUNIT_CASE(test_private_small),
	KUNIT_CASE(test_private_large),
	KUNIT_CASE(test_private_gfn),
	KUNIT_CASE(test_private_mixed),
	KUNIT_CASE(test_private_assigned),
	KUNIT_CASE(test_private_again),
	KUNIT_CASE(test_private_lookup_error),
	KUNIT_CASE(test_private_update_error),
#ifdef KVM_LPAGE_POPULATE
	KUNIT_CASE(test_populate_run),
	KUNIT_CASE(test_populate_run_error),
#endif
	KUNIT_CASE(test_populate_one),
	KUNIT_CASE(test_large_possible),
	KUNIT_CASE(test_range_shared),
	KUNIT_CASE(test_max_mapping_level),
	KUNIT_CASE(test_psmash),
	KUNIT_CASE(test_psmash_error),
	KUNIT_CASE(test_shared_4k),
	KUNIT_CASE(test_shared_4k_all),
	KUNIT_CASE(test_shared_2m),
	KUNIT_CASE(test_shared_psmash),
	KUNIT_CASE(test_shared_psmash_error),
	KUNIT_CASE(test_shared_update_error),
	KUNIT_CASE(test_fault_elsewhere),
	KUNIT_CASE(test_fault_no_split),
	KUNIT_CASE(test_fault_split),
	KUNIT_CASE(test_fault_zap),
	KUNIT_CASE(test_fault_merging),
	KUNIT_CASE(test_fault_split_error),
	{}
};

static struct kunit_suite sev_suite = {
	.name = "kvm_lpage_snp",
	.init = sev_kunit_init,
	.exit = sev_kunit_exit,
	.test_cases = sev_cases,
};

kunit_test_suite(sev_suite);
