// SPDX-License-Identifier: GPL-2.0
/*
 * How RMP entries are merged, and what is left of that when the CPU or the firmware
 * refuses, at each step; and which pages are changed by runs.  Included by lpage_rmp.c, for
 * what only it knows; the RMP is an array here, and the firmware what the SEV-SNP firmware
 * ABI says of SNP_PAGE_UNSMASH and SNP_PAGE_RECLAIM.
 */
#include <kunit/test.h>
#include <kunit/test-bug.h>

#define NR_PAGES	512

/* In the lowest 128M, which have a struct page on each machine. */
#define HEAD		0x2600ull
#define HEAD_GFN	0x77600ull
#define ASID		17
#ifdef KVM_LPAGE_POPULATE
/* Where user space has what to launch. */
#define SOURCE		0x7f0000003000ul
#endif

#define NOBODY		-1
/* For what may fail: not a page, but the 2M */
#define ALL_OF_IT	NR_PAGES

struct rmp_test {
	struct kvm_svm svm;
	struct vcpu_svm vcpu;
	struct vmcb *vmcb;
	bool was_no_unsmash;

	/* The RMP */
	bool large;
	bool assigned[NR_PAGES];
	bool immutable[NR_PAGES];
	int lookup_error;	/* of this page */
	int level_2m;		/* says this page */

	/* What fails */
	int update_error;
	int unsmash_error;
	int reclaim_error;

	int nr_lookups;
	int nr_updates;
	int nr_unsmashes;
	int nr_reclaims;
	int nr_maps;
	int nr_warnings;

	/* The run that was given away last */
	u64 private_pfn;
	u64 private_gpa;
	unsigned long nr_private;
	bool private_immutable;
	int private_error;

#ifdef KVM_LPAGE_POPULATE
	/* What was copied to pages, and the one that cannot be */
	int first_copied;
	int nr_copied;
	int copy_error;
#endif

	/* The run that was taken back last, and what left the caches */
	u64 shared_pfn;
	unsigned long nr_shared;
	int share_error;
	void *flushed;
	unsigned int flushed_size;

	int pinned[NR_PAGES];
};

static struct rmp_test *rmp_test(void)
{
	return kunit_get_current_test()->priv;
}

static int page_index(u64 pfn)
{
	if (pfn >= HEAD && pfn < HEAD + NR_PAGES)
		return pfn - HEAD;

	KUNIT_FAIL(kunit_get_current_test(), "PFN 0x%llx is not of the 2M", pfn);
	return 0;
}

static int fake_lookup(u64 pfn, bool *assigned, int *level)
{
	struct rmp_test *t = rmp_test();
	int i = page_index(pfn);

	t->nr_lookups++;
	*assigned = t->assigned[i];
	*level = t->large || t->level_2m == i ? PG_LEVEL_2M : PG_LEVEL_4K;
	return t->lookup_error == i ? -EFAULT : 0;
}

static int fake_private_range(u64 pfn, u64 gpa, unsigned long nr, u32 asid, bool immutable)
{
	struct kunit *test = kunit_get_current_test();
	struct rmp_test *t = rmp_test();

	KUNIT_EXPECT_EQ(test, asid, ASID);
	t->private_immutable = immutable;
	t->private_pfn = pfn;
	t->private_gpa = gpa;
	t->nr_private = nr;
	return t->private_error;
}

static int fake_share_range(u64 pfn, unsigned long nr)
{
	struct rmp_test *t = rmp_test();

	t->shared_pfn = pfn;
	t->nr_shared = nr;
	return t->share_error;
}

#ifdef KVM_LPAGE_POPULATE
/* A page after the other, each from its own place of the source. */
static unsigned long fake_copy(void *to, const void __user *from, unsigned long n)
{
	struct kunit *test = kunit_get_current_test();
	struct rmp_test *t = rmp_test();

	KUNIT_EXPECT_EQ(test, n, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, (unsigned long)from, SOURCE + t->nr_copied * PAGE_SIZE);
	KUNIT_EXPECT_PTR_EQ(test, to, __va(pfn_to_hpa(HEAD + t->first_copied + t->nr_copied)));
	/* What is private cannot be written to any more. */
	KUNIT_EXPECT_EQ(test, t->nr_private, 0);
	if (t->copy_error == t->nr_copied)
		return 1;
	t->nr_copied++;
	return 0;
}
#endif

static void fake_clflush(void *addr, unsigned int size)
{
	struct rmp_test *t = rmp_test();

	t->flushed = addr;
	t->flushed_size = size;
}

/* Only what leaves all else as it is keeps a page validated. */
static int fake_update(u64 pfn, struct rmp_state *state)
{
	struct kunit *test = kunit_get_current_test();
	struct rmp_test *t = rmp_test();
	int i = page_index(pfn);

	t->nr_updates++;
	KUNIT_EXPECT_EQ(test, state->assigned, 1);
	KUNIT_EXPECT_EQ(test, state->immutable, 1);
	KUNIT_EXPECT_EQ(test, state->pagesize, RMP_PG_SIZE_4K);
	KUNIT_EXPECT_EQ(test, state->asid, ASID);
	KUNIT_EXPECT_EQ(test, state->gpa, (HEAD_GFN + i) << PAGE_SHIFT);
	if (t->update_error == i)
		return 2;
	t->immutable[i] = state->immutable;
	return 0;
}

static int fake_unsmash(struct rmp_test *t, struct sev_data_snp_page_unsmash *data, int *error)
{
	struct kunit *test = kunit_get_current_test();
	int i;

	t->nr_unsmashes++;
	KUNIT_EXPECT_EQ(test, data->paddr, HEAD << PAGE_SHIFT);
	for (i = 0; i < NR_PAGES; i++)
		KUNIT_EXPECT_TRUE(test, t->immutable[i]);
	*error = t->unsmash_error;
	if (*error)
		return -EIO;
	t->large = true;
	return 0;
}

static int fake_reclaim(struct rmp_test *t, struct sev_data_snp_page_reclaim *data, int *error)
{
	struct kunit *test = kunit_get_current_test();
	bool huge = data->paddr & RMP_PG_SIZE_2M;
	int i = page_index(data->paddr >> PAGE_SHIFT), nr = huge ? NR_PAGES : 1;

	t->nr_reclaims++;
	KUNIT_EXPECT_EQ(test, huge, t->large);
	KUNIT_EXPECT_TRUE(test, t->immutable[i]);
	/* vCPUs that go on find the huge SPTE. */
	KUNIT_EXPECT_EQ(test, t->nr_maps, huge);
	if (huge)
		KUNIT_ASSERT_EQ(test, i, 0);
	if (t->reclaim_error == (huge ? ALL_OF_IT : i)) {
		*error = SEV_RET_INVALID_PAGE_STATE;
		return -EIO;
	}
	memset(t->immutable + i, 0, nr);
	return 0;
}

static int fake_do_cmd(int cmd, void *data, int *error)
{
	switch (cmd) {
	case SEV_CMD_SNP_PAGE_UNSMASH:
		return fake_unsmash(rmp_test(), data, error);
	case SEV_CMD_SNP_PAGE_RECLAIM:
		return fake_reclaim(rmp_test(), data, error);
	}

	KUNIT_FAIL(kunit_get_current_test(), "command 0x%x", cmd);
	return -EINVAL;
}

static void fake_get_page(struct page *page)
{
	rmp_test()->pinned[page_index(page_to_pfn(page))]++;
}

static bool fake_warn(bool condition)
{
	rmp_test()->nr_warnings += condition;
	return false;
}

static void map(void *data)
{
	struct rmp_test *t = data;

	t->nr_maps++;
	KUNIT_EXPECT_TRUE(kunit_get_current_test(), t->large);
}

static int rmp_kunit_init(struct kunit *test)
{
	struct rmp_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->vmcb = kunit_kzalloc(test, sizeof(*t->vmcb), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t->vmcb);
	test->priv = t;
	t->was_no_unsmash = no_unsmash;
	no_unsmash = false;
	memset(t->assigned, true, sizeof(t->assigned));
	t->lookup_error = NOBODY;
	t->level_2m = NOBODY;
	t->update_error = NOBODY;
	t->reclaim_error = NOBODY;
#ifdef KVM_LPAGE_POPULATE
	t->copy_error = NOBODY;
#endif

	t->svm.sev_info.active = true;
	t->svm.sev_info.es_active = true;
	t->svm.sev_info.vmsa_features = SVM_SEV_FEAT_SNP_ACTIVE;
	t->svm.sev_info.asid = ASID;
	mutex_init(&t->svm.kvm.slots_lock);
	xa_init(&t->svm.kvm.vcpu_array);
	t->vcpu.vmcb = t->vmcb;
	t->vmcb->control.vmsa_pa = INVALID_PAGE;
	KUNIT_ASSERT_EQ(test, 0, xa_err(xa_store(&t->svm.kvm.vcpu_array, 0, &t->vcpu.vcpu,
						 GFP_KERNEL)));
	atomic_set(&t->svm.kvm.online_vcpus, 1);

	kunit_activate_static_stub(test, rmp_mock_lookup, fake_lookup);
	kunit_activate_static_stub(test, rmp_mock_update, fake_update);
	kunit_activate_static_stub(test, rmp_mock_do_cmd, fake_do_cmd);
	kunit_activate_static_stub(test, rmp_mock_get_page, fake_get_page);
	kunit_activate_static_stub(test, rmp_mock_private_range, fake_private_range);
	kunit_activate_static_stub(test, rmp_mock_share_range, fake_share_range);
#ifdef KVM_LPAGE_POPULATE
	kunit_activate_static_stub(test, rmp_mock_copy, fake_copy);
#endif
	kunit_activate_static_stub(test, rmp_mock_clflush, fake_clflush);
	kunit_activate_static_stub(test, rmp_mock_warn, fake_warn);
	return 0;
}

static void rmp_kunit_exit(struct kunit *test)
{
	struct rmp_test *t = test->priv;

	if (!t)
		return;
	no_unsmash = t->was_no_unsmash;
	xa_destroy(&t->svm.kvm.vcpu_array);
}

static int merge(struct rmp_test *t)
{
	int r;

	/* As they were, and not as the last merge has left them. */
	t->large = false;
	memset(t->immutable, 0, sizeof(t->immutable));
	t->nr_lookups = 0;
	t->nr_updates = 0;
	t->nr_unsmashes = 0;
	t->nr_reclaims = 0;
	t->nr_maps = 0;

	mutex_lock(&t->svm.kvm.slots_lock);
	r = sev_gmem_merge(&t->svm.kvm, HEAD, HEAD_GFN, map, t);
	mutex_unlock(&t->svm.kvm.slots_lock);
	return r;
}

/* Pages are the guest's to use, and the host's in the end, but for @lost. */
static void expect_lost(struct kunit *test, struct rmp_test *t, int first, int nr)
{
	int i;

	for (i = 0; i < NR_PAGES; i++) {
		bool lost = i >= first && i < first + nr;

		KUNIT_EXPECT_EQ(test, t->immutable[i], lost);
		KUNIT_EXPECT_EQ(test, t->pinned[i], lost);
	}
	KUNIT_EXPECT_EQ(test, t->svm.kvm.vm_bugged, !!nr);
	KUNIT_EXPECT_EQ(test, t->nr_warnings, !!nr);
}

static void expect_merged(struct kunit *test, struct rmp_test *t)
{
	KUNIT_EXPECT_EQ(test, merge(t), 0);
	KUNIT_EXPECT_TRUE(test, t->large);
	KUNIT_EXPECT_EQ(test, t->nr_maps, 1);
	KUNIT_EXPECT_EQ(test, t->nr_updates, NR_PAGES);
	KUNIT_EXPECT_EQ(test, t->nr_reclaims, 1);
	expect_lost(test, t, 0, 0);
}

/* Nothing has been asked of the CPU or the firmware. */
static void expect_untouched(struct kunit *test, struct rmp_test *t, int error)
{
	KUNIT_EXPECT_EQ(test, merge(t), error);
	KUNIT_EXPECT_EQ(test, t->nr_updates + t->nr_unsmashes + t->nr_reclaims + t->nr_maps, 0);
}

static void test_merge(struct kunit *test)
{
	expect_merged(test, test->priv);
}

/* Pages that are immutable already become usable again, and no others. */
static void test_update_error(struct kunit *test)
{
	static const int pages[] = { 0, 1, 255, 510, 511 };
	struct rmp_test *t = test->priv;
	int i;

	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		t->update_error = pages[i];
		KUNIT_EXPECT_EQ(test, merge(t), -EBUSY);
		KUNIT_EXPECT_EQ(test, t->nr_updates, pages[i] + 1);
		KUNIT_EXPECT_EQ(test, t->nr_unsmashes, 0);
		KUNIT_EXPECT_EQ(test, t->nr_reclaims, pages[i]);
		KUNIT_EXPECT_EQ(test, t->nr_maps, 0);
		expect_lost(test, t, 0, 0);
	}
	t->update_error = NOBODY;
	expect_merged(test, t);
}

/* As for a page that the guest has not validated: it may have, the next time. */
static void test_unsmash_error(struct kunit *test)
{
	struct rmp_test *t = test->priv;
	int i;

	t->unsmash_error = SEV_RET_INVALID_PAGE_STATE;
	for (i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, merge(t), -EBUSY);
		KUNIT_EXPECT_EQ(test, t->nr_unsmashes, 1);
		KUNIT_EXPECT_EQ(test, t->nr_reclaims, NR_PAGES);
		KUNIT_EXPECT_EQ(test, t->nr_maps, 0);
		expect_lost(test, t, 0, 0);
	}
	t->unsmash_error = 0;
	expect_merged(test, t);
}

/* A firmware that does not know the command is not asked again. */
static void test_unsmash_unknown(struct kunit *test)
{
	static const int errors[] = { SEV_RET_INVALID_COMMAND, SEV_RET_UNSUPPORTED };
	struct rmp_test *t = test->priv;
	int i;

	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		no_unsmash = false;
		t->unsmash_error = errors[i];
		KUNIT_EXPECT_EQ(test, merge(t), -EBUSY);
		KUNIT_EXPECT_EQ(test, t->nr_reclaims, NR_PAGES);
		expect_lost(test, t, 0, 0);
		expect_untouched(test, t, -EOPNOTSUPP);
	}
}

/* An immutable page is nobody's to use: it is kept, and the VM ends. */
static void test_reclaim_error(struct kunit *test)
{
	struct rmp_test *t = test->priv;

	t->unsmash_error = SEV_RET_INVALID_PAGE_STATE;
	t->reclaim_error = 300;
	KUNIT_EXPECT_EQ(test, merge(t), -EBUSY);
	KUNIT_EXPECT_EQ(test, t->nr_reclaims, NR_PAGES);
	expect_lost(test, t, 300, 1);
}

static void test_reclaim_error_2m(struct kunit *test)
{
	struct rmp_test *t = test->priv;

	t->reclaim_error = ALL_OF_IT;
	KUNIT_EXPECT_EQ(test, merge(t), 0);
	KUNIT_EXPECT_EQ(test, t->nr_reclaims, 1);
	KUNIT_EXPECT_EQ(test, t->nr_maps, 1);
	expect_lost(test, t, 0, NR_PAGES);
}

/* No page of 2M becomes immutable of which a vCPU has its VMSA. */
static void test_vmsa(struct kunit *test)
{
	static const struct {
		u64 pfn;
		bool inside;
	} cases[] = {
		{ HEAD - 1, false }, { HEAD, true }, { HEAD + 1, true },
		{ HEAD + NR_PAGES - 1, true }, { HEAD + NR_PAGES, false },
	};
	struct rmp_test *t = test->priv;
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		t->vmcb->control.vmsa_pa = cases[i].pfn << PAGE_SHIFT;
		if (cases[i].inside)
			expect_untouched(test, t, -EBUSY);
		else
			expect_merged(test, t);
	}
}

static void test_not_snp_guest(struct kunit *test)
{
	struct rmp_test *t = test->priv;

	t->svm.sev_info.vmsa_features = 0;
	expect_untouched(test, t, -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, t->nr_lookups, 0);
}

/* Only 512 entries of 4K that are the guest's can be merged. */
static void test_not_smashed(struct kunit *test)
{
	static const int pages[] = { 0, 1, 511 };
	struct rmp_test *t = test->priv;
	int i;

	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		t->assigned[pages[i]] = false;
		expect_untouched(test, t, -EOPNOTSUPP);
		t->assigned[pages[i]] = true;

		t->lookup_error = pages[i];
		expect_untouched(test, t, -EOPNOTSUPP);
		t->lookup_error = NOBODY;

		t->level_2m = pages[i];
		expect_untouched(test, t, -EOPNOTSUPP);
		t->level_2m = NOBODY;
	}
	expect_merged(test, t);
}

static void expect_run(struct kunit *test, int first, int end, int nr)
{
	struct rmp_test *t = test->priv;
	kvm_pfn_t pfn = HEAD + first;

	t->nr_shared = 0;
	t->flushed_size = 0;
	KUNIT_EXPECT_EQ(test, sev_gmem_share_run(&pfn, HEAD + end), nr > 0);
	KUNIT_EXPECT_EQ(test, pfn, HEAD + first + nr);
	KUNIT_EXPECT_EQ(test, t->nr_shared, nr);
	KUNIT_EXPECT_EQ(test, t->flushed_size, nr * PAGE_SIZE);
	if (nr) {
		KUNIT_EXPECT_EQ(test, t->shared_pfn, HEAD + first);
		KUNIT_EXPECT_PTR_EQ(test, t->flushed, __va(pfn_to_hpa(HEAD + first)));
	}
}

/* A run ends where the memory does, or the 2M, or the private pages, or those of 4K. */
static void test_share_run(struct kunit *test)
{
	struct rmp_test *t = test->priv;

	expect_run(test, 0, NR_PAGES, NR_PAGES);
	expect_run(test, 0, 3 * NR_PAGES, NR_PAGES);
	expect_run(test, 511, NR_PAGES + 1, 1);
	expect_run(test, 3, 10, 7);

	t->assigned[7] = false;
	expect_run(test, 3, 10, 4);
	expect_run(test, 7, 10, 0);
	expect_run(test, 8, 10, 2);
	t->assigned[7] = true;

	t->level_2m = 5;
	expect_run(test, 3, 10, 2);
	expect_run(test, 5, 10, 0);
	t->level_2m = NOBODY;

	t->lookup_error = 4;
	expect_run(test, 3, 10, 1);
	expect_run(test, 4, 10, 0);
}

/* It is not refused what is private, and if it is, the caller tries page by page. */
static void test_share_run_refused(struct kunit *test)
{
	struct rmp_test *t = test->priv;
	kvm_pfn_t pfn = HEAD + 1;

	t->share_error = -EFAULT;
	KUNIT_EXPECT_FALSE(test, sev_gmem_share_run(&pfn, HEAD + NR_PAGES));
	KUNIT_EXPECT_EQ(test, pfn, HEAD + 1);
	KUNIT_EXPECT_EQ(test, t->nr_shared, NR_PAGES - 1);
	KUNIT_EXPECT_EQ(test, t->flushed_size, 0);
}

/* @nr pages from @first on are given away, by one call. */
static void expect_private_run(struct kunit *test, int first, int nr)
{
	struct rmp_test *t = test->priv;

	KUNIT_EXPECT_EQ(test, sev_gmem_private_run(HEAD + first, HEAD_GFN + first, ASID), 0);
	KUNIT_EXPECT_EQ(test, t->private_pfn, HEAD + first);
	KUNIT_EXPECT_EQ(test, t->private_gpa, (HEAD_GFN + first) << PAGE_SHIFT);
	KUNIT_EXPECT_EQ(test, t->nr_private, nr);
	KUNIT_EXPECT_FALSE(test, t->private_immutable);
}

/* A run ends where the 2M does, or the shared pages; what has no entry is not given. */
static void test_private_run(struct kunit *test)
{
	struct rmp_test *t = test->priv;

	memset(t->assigned, 0, sizeof(t->assigned));
	expect_private_run(test, 0, NR_PAGES);
	expect_private_run(test, 3, NR_PAGES - 3);
	expect_private_run(test, 511, 1);

	t->assigned[7] = true;
	expect_private_run(test, 3, 4);
	expect_private_run(test, 6, 1);
	expect_private_run(test, 8, NR_PAGES - 8);

	t->lookup_error = 5;
	expect_private_run(test, 3, 2);

	t->private_error = -ENOMEM;
	KUNIT_EXPECT_EQ(test, sev_gmem_private_run(HEAD + 8, HEAD_GFN + 8, ASID), -ENOMEM);
}

#ifdef KVM_LPAGE_POPULATE
/* Of @nr pages from @first on, @ret are the firmware's then, or none and that is why. */
static void expect_populated(struct kunit *test, int first, int nr, bool copy, int ret)
{
	struct rmp_test *t = test->priv;
	const void __user *src = copy ? (const void __user *)SOURCE : NULL;

	t->first_copied = first;
	t->nr_copied = 0;
	t->nr_private = 0;
	KUNIT_EXPECT_EQ(test, sev_gmem_populate_run(&t->svm.kvm, HEAD_GFN + first, HEAD + first,
						    src, nr), ret);
	if (ret <= 0)
		return;

	KUNIT_EXPECT_EQ(test, t->private_pfn, HEAD + first);
	KUNIT_EXPECT_EQ(test, t->private_gpa, (HEAD_GFN + first) << PAGE_SHIFT);
	KUNIT_EXPECT_EQ(test, t->nr_private, ret);
	KUNIT_EXPECT_TRUE(test, t->private_immutable);
	KUNIT_EXPECT_EQ(test, t->nr_copied, copy ? ret : 0);
}

/* What is to be launched is copied first, as far as that goes and the pages are shared. */
static void test_populate_run(struct kunit *test)
{
	struct rmp_test *t = test->priv;

	memset(t->assigned, 0, sizeof(t->assigned));
	expect_populated(test, 0, NR_PAGES, true, NR_PAGES);
	expect_populated(test, 0, NR_PAGES, false, NR_PAGES);
	expect_populated(test, 8, 4, true, 4);

	t->assigned[7] = true;
	expect_populated(test, 0, 8, true, 7);
	expect_populated(test, 7, 1, true, -EEXIST);
	t->assigned[7] = false;

	t->lookup_error = 6;
	expect_populated(test, 4, 4, true, 2);
	expect_populated(test, 6, 2, true, -EINVAL);
	t->lookup_error = NOBODY;

	t->copy_error = 3;
	expect_populated(test, 4, 4, true, 3);
	expect_populated(test, 4, 4, false, 4);
	t->copy_error = 0;
	expect_populated(test, 4, 4, true, -EFAULT);
	KUNIT_EXPECT_EQ(test, t->nr_private, 0);
	t->copy_error = NOBODY;

	t->private_error = -ENOMEM;
	expect_populated(test, 4, 4, true, -ENOMEM);
}
#endif

static struct kunit_case rmp_cases[] = {
	KUNIT_CASE(test_merge),
	KUNIT_CASE(test_update_error),
	KUNIT_CASE(test_unsmash_error),
	KUNIT_CASE(test_unsmash_unknown),
	KUNIT_CASE(test_reclaim_error),
	KUNIT_CASE(test_reclaim_error_2m),
	KUNIT_CASE(test_vmsa),
	KUNIT_CASE(test_not_snp_guest),
	KUNIT_CASE(test_not_smashed),
	KUNIT_CASE(test_private_run),
#ifdef KVM_LPAGE_POPULATE
	KUNIT_CASE(test_populate_run),
#endif
	KUNIT_CASE(test_share_run),
	KUNIT_CASE(test_share_run_refused),
	{}
};

static struct kunit_suite rmp_suite = {
	.name = "kvm_lpage_rmp",
	.init = rmp_kunit_init,
	.exit = rmp_kunit_exit,
	.test_cases = rmp_cases,
};

kunit_test_suite(rmp_suite);
