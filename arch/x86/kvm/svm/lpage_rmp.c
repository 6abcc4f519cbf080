// SPDX-License-Identifier: GPL-2.0
/*
 * The RMP entries of a guest's large page, merged again after they have been smashed.
 *
 * Only the firmware can do that, by SNP_PAGE_UNSMASH (SEV-SNP firmware ABI): 512 pages of
 * one guest that differ by nothing but their consecutive addresses, and that are
 * immutable so that nobody changes them meanwhile.  RMPUPDATE makes them immutable,
 * and keeps what the guest has validated as long as nothing else changes; SNP_PAGE_RECLAIM
 * makes them the guest's to use again.
 *
 * vCPUs that touch an immutable page fault, and wait until this is over; see
 * kvm_lpage_wait_merge().  Before it is, the huge SPTE is put back if that is possible,
 * so that they find both of one size.  If not, the first of them has the entry smashed.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>
#include <linux/psp-sev.h>

#include <asm/sev.h>

#include "lpage_rmp.h"
#include "svm.h"

/* The firmware does not know SNP_PAGE_UNSMASH. */
static bool __read_mostly no_unsmash;

static bool lpage_is_smashed(kvm_pfn_t pfn)
{
	bool assigned;
	int i, level;

	for (i = 0; i < PTRS_PER_PMD; i++) {
		if (snp_lookup_rmpentry(pfn + i, &assigned, &level) || !assigned ||
		    level != PG_LEVEL_4K)
			return false;
	}

	return true;
}

/* How many of the pages from @pfn on are immutable then. */
static int lpage_freeze(u32 asid, kvm_pfn_t pfn, gfn_t gfn)
{
	struct rmp_state state = {
		.assigned = 1,
		.immutable = 1,
		.asid = asid,
		.pagesize = RMP_PG_SIZE_4K,
	};
	int i;

	for (i = 0; i < PTRS_PER_PMD; i++) {
		state.gpa = gfn_to_gpa(gfn + i);
		if (lpage_rmpupdate(pfn + i, &state))
			break;
	}

	return i;
}

static int lpage_reclaim(kvm_pfn_t pfn, int size)
{
	struct sev_data_snp_page_reclaim data = {
		.paddr = __sme_set(pfn << PAGE_SHIFT) | size,
	};
	int error;

	return sev_do_cmd(SEV_CMD_SNP_PAGE_RECLAIM, &data, &error);
}

/* The guest cannot go on with pages that stay immutable, nor can the host have them. */
static void lpage_leak(struct kvm *kvm, kvm_pfn_t pfn, int nr)
{
	int i;

	KVM_BUG(1, kvm, "cannot reclaim PFN 0x%llx", pfn);
	for (i = 0; i < nr; i++)
		get_page(pfn_to_page(pfn + i));
}

static void lpage_unfreeze(struct kvm *kvm, kvm_pfn_t pfn, int nr)
{
	int i;

	for (i = 0; i < nr; i++) {
		if (lpage_reclaim(pfn + i, RMP_PG_SIZE_4K))
			lpage_leak(kvm, pfn + i, 1);
		cond_resched();
	}
}

static int lpage_unsmash(kvm_pfn_t pfn)
{
	struct sev_data_snp_page_unsmash data = {
		.paddr = __sme_set(pfn << PAGE_SHIFT),
	};
	int error = 0, r;

	r = sev_do_cmd(SEV_CMD_SNP_PAGE_UNSMASH, &data, &error);
	if (r && (error == SEV_RET_INVALID_COMMAND || error == SEV_RET_UNSUPPORTED)) {
		pr_info_once("the SEV firmware has no SNP_PAGE_UNSMASH: large pages do not come back\n");
		WRITE_ONCE(no_unsmash, true);
	}

	return r;
}

/*
 * A vCPU whose VMSA is immutable does not start (APM 2, 15.36.12), nor would the firmware
 * merge it with other pages.  Who gets a VMSA looks for a merge after that, and whoever
 * merges has said so before.
 */
static bool lpage_has_vmsa(struct kvm *kvm, kvm_pfn_t pfn)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;
	hpa_t hpa;

	kvm_for_each_vcpu(i, vcpu, kvm) {
		hpa = READ_ONCE(to_svm(vcpu)->vmcb->control.vmsa_pa);
		if (VALID_PAGE(hpa) && ALIGN_DOWN(hpa, PMD_SIZE) == pfn_to_hpa(pfn))
			return true;
	}

	return false;
}

int sev_gmem_merge(struct kvm *kvm, kvm_pfn_t pfn, gfn_t gfn, void (*map)(void *),
		   void *data)
{
	int nr;

	lockdep_assert_held(&kvm->slots_lock);

	if (!____sev_snp_guest(kvm) || READ_ONCE(no_unsmash) || !lpage_is_smashed(pfn))
		return -EOPNOTSUPP;

	if (lpage_has_vmsa(kvm, pfn))
		return -EBUSY;

	nr = lpage_freeze(to_kvm_svm(kvm)->sev_info.asid, pfn, gfn);
	if (nr < PTRS_PER_PMD || lpage_unsmash(pfn)) {
		lpage_unfreeze(kvm, pfn, nr);
		return -EBUSY;
	}

	map(data);

	if (lpage_reclaim(pfn, RMP_PG_SIZE_2M))
		lpage_leak(kvm, pfn, PTRS_PER_PMD);

	return 0;
}

/**
 * sev_gmem_private_run() - give a guest 4K pages that follow each other
 * @pfn: of the first page, which is shared
 * @gfn: where the guest has it
 * @asid: of the guest
 *
 * As far as the 2M that the first page is in, and as its pages are shared.  For a block of
 * guest_memfd that cannot have a 2M entry, as some of its pages are the guest's already.
 *
 * Context: process, all of the 2M is backed for @gfn and zero, and nobody else prepares
 * any of it.
 *
 * Return: as rmp_make_private().  On errors none of the pages is the guest's.
 */
int sev_gmem_private_run(kvm_pfn_t pfn, gfn_t gfn, u32 asid)
{
	kvm_pfn_t next, end = ALIGN(pfn + 1, PTRS_PER_PMD);
	bool assigned;
	int level;

	for (next = pfn + 1; next < end; next++) {
		if (snp_lookup_rmpentry(next, &assigned, &level) || assigned)
			break;
	}

	return rmp_make_private_range(pfn, gfn_to_gpa(gfn), next - pfn, asid, false);
}

/**
 * sev_gmem_share_run() - take back private 4K pages that follow each other
 * @pfn: of the first page; becomes that of the page after the run
 * @end: where the memory to take back ends
 *
 * As far as the 2M that the first page is in.  Their contents leave the caches, as the
 * host may use them by another mapping from now on.
 *
 * Context: process, nobody maps the memory any more.
 *
 * Return: was there a run?  If not, or if the processor refuses, nothing has changed but
 * that some of its first pages may be shared, and @pfn is as it was.
 */
bool sev_gmem_share_run(kvm_pfn_t *pfn, kvm_pfn_t end)
{
	kvm_pfn_t start = *pfn, next;
	bool assigned;
	int level;

	end = min(end, ALIGN(start + 1, PTRS_PER_PMD));
	for (next = start; next < end; next++) {
		if (snp_lookup_rmpentry(next, &assigned, &level) || !assigned ||
		    level != PG_LEVEL_4K)
			break;
	}

	if (next == start || rmp_make_shared_range(start, next - start))
		return false;

	clflush_cache_range(__va(pfn_to_hpa(start)), (next - start) << PAGE_SHIFT);
	cond_resched();
	*pfn = next;
	return true;
}

static int lpage_check_shared(kvm_pfn_t pfn)
{
	bool assigned;
	int level;

	if (snp_lookup_rmpentry(pfn, &assigned, &level))
		return -EINVAL;

	return assigned ? -EEXIST : 0;
}

static int lpage_copy_page(kvm_pfn_t pfn, const void __user *src)
{
	void *dest = kmap_local_pfn(pfn);
	int r = copy_from_user(dest, src, PAGE_SIZE) ? -EFAULT : 0;

	kunmap_local(dest);
	return r;
}

int sev_gmem_populate_run(struct kvm *kvm, gfn_t gfn, kvm_pfn_t pfn,
			  const void __user *src, int nr)
{
	int n, r = 0;

	for (n = 0; n < nr; n++) {
		r = lpage_check_shared(pfn + n);
		if (!r && src)
			r = lpage_copy_page(pfn + n, src + n * PAGE_SIZE);
		if (r)
			break;
		cond_resched();
	}
	if (!n)
		return r;

	/* The firmware takes none that may still change. */
	r = rmp_make_private_range(pfn, gfn_to_gpa(gfn), n, to_kvm_svm(kvm)->sev_info.asid, true);
	return r ?: n;
}

#ifdef CONFIG_KVM_LPAGE_KUNIT_TEST
#include "tests/lpage_rmp_kunit.c"
#endif
