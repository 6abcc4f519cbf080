// SPDX-License-Identifier: GPL-2.0
/*
 * SPTE values: from a huge SPTE to the children that replace it, and from the
 * children of a page table to the one huge SPTE that replaces them.  Nothing here
 * takes a lock, or writes an SPTE that is in use.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "lpage_spte.h"
#include "mmu.h"
#include "mmu_internal.h"
#include "spte.h"

/*
 * One instruction for each SPTE is what makes promotion cheap.  The result says
 * of each bit whether all of the SPTEs have it, presence included.  Others may
 * change SPTEs meanwhile in ways that do not matter, see kvm_lpage_scan_table().
 */
static u64 and_table(const u64 *spt)
{
	u64 all = ~0ull;
	int i;

#pragma GCC unroll 16
	for (i = 0; i < SPTE_ENT_PER_PAGE; i++) /* racy as said above */
		all &= data_race(spt[i]);

	return all;
}

static u64 or_table(const u64 *spt)
{
	u64 any = 0;
	int i;

#pragma GCC unroll 16
	for (i = 0; i < SPTE_ENT_PER_PAGE; i++) /* racy as said above */
		any |= data_race(spt[i]);

	return any;
}

/* One SPTE at a time: holes, child tables, SPTEs without hardware A/D bits. */
static void scan_sparse_table(const u64 *spt, int level,
			      struct kvm_lpage_scan *scan)
{
	int i;

	*scan = (struct kvm_lpage_scan) { .all = ~0ull };

	for (i = 0; i < SPTE_ENT_PER_PAGE; i++) {
		u64 spte = READ_ONCE(spt[i]);

		if (!is_shadow_present_pte(spte))
			continue;

		if (!is_last_spte(spte, level)) {
			scan->nr_tables++;
			continue;
		}

		if (is_access_track_spte(spte)) {
			spte = restore_acc_track_spte(spte);
			scan->nr_tracked++;
		}
		scan->any |= spte;
		scan->all &= spte;
		scan->nr_leaves++;
	}
}

/*
 * The usual table is full, of SPTEs that KVM may make writable and that were
 * accessed.  What one has of these two bits all have then, and the first SPTE
 * does for @any.  Where SPTEs carry a memory type, any of them may have a bit
 * that the first has not, and a second pass asks all of them.
 */
void kvm_lpage_scan_table(const u64 *spt, int level, struct kvm_lpage_scan *scan)
{
	u64 usual = shadow_accessed_mask | shadow_mmu_writable_mask;
	u64 all = and_table(spt);
	u64 any;

	/* SPTEs that track accesses in software hide their permissions. */
	if (!is_shadow_present_pte(all) || !is_last_spte(all, level) ||
	    (all & SPTE_TDP_AD_DISABLED)) {
		scan_sparse_table(spt, level, scan);
		return;
	}

	if ((all & usual) == usual && !kvm_x86_ops.get_mt_mask)
		any = all | spt[0];
	else
		any = or_table(spt);

	*scan = (struct kvm_lpage_scan) {
		.any = any,
		.all = all,
		.nr_leaves = SPTE_ENT_PER_PAGE,
	};
}

bool kvm_lpage_scan_is_uniform(struct kvm *kvm, const struct kvm_lpage_scan *scan,
			       int level)
{
	u64 aggregated = shadow_accessed_mask | shadow_dirty_mask |
			 PT_WRITABLE_MASK | shadow_mmu_writable_mask |
			 shadow_host_writable_mask;

	/* The PFN bits that tell one child from another. */
	aggregated |= KVM_HPAGE_SIZE(level) - PAGE_SIZE;

	/* The huge SPTE will be NX whatever the children are. */
	if (is_nx_huge_page_enabled(kvm))
		aggregated |= shadow_nx_mask | shadow_xs_mask | shadow_xu_mask;

	return !((scan->any ^ scan->all) & ~aggregated);
}

bool kvm_lpage_scan_is_settled(const struct kvm_lpage_scan *scan, int level)
{
	return level == PG_LEVEL_4K && scan->nr_leaves == SPTE_ENT_PER_PAGE &&
	       !scan->nr_tracked && is_mmu_writable_spte(scan->all);
}

u64 kvm_lpage_make_spte(struct kvm *kvm, const struct kvm_lpage_scan *scan,
			int level)
{
	u64 spte = make_huge_spte(kvm, scan->any, level);

	if (is_mmu_writable_spte(spte))
		spte |= PT_WRITABLE_MASK | (spte_ad_enabled(spte) ? shadow_dirty_mask : 0);

	if (scan->nr_tracked == scan->nr_leaves)
		spte = mark_spte_for_access_track(spte);

	return spte;
}

/*
 * The children of one huge SPTE differ by their PFN only, so that the first one
 * is the template of all.  It has no bits where the PFNs differ, as the huge
 * page is aligned to its size, so that counting up does what setting bits would.
 */
void kvm_lpage_fill_table(struct kvm *kvm, u64 *spt, u64 huge_spte,
			  union kvm_mmu_page_role role, u64 clear)
{
	u64 spte = make_small_spte(kvm, huge_spte, role, 0) & ~clear;
	u64 size = KVM_HPAGE_SIZE(role.level);
	int i;

#pragma GCC unroll 16
	for (i = 0; i < SPTE_ENT_PER_PAGE; i++, spte += size)
		spt[i] = spte;
}
