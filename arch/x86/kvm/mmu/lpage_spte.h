/* SPDX-License-Identifier: GPL-2.0 */
/* SPTE values computed from SPTE values, and nothing else. */
#ifndef __KVM_X86_MMU_LPAGE_SPTE_H
#define __KVM_X86_MMU_LPAGE_SPTE_H

#include <linux/kvm_host.h>

/*
 * What the leaf SPTEs of one page table have in common.  @all has the bits that
 * every one of them has; @any has A, MMU-writable and host-writable if at least
 * one of them has, and at least one's value of the other bits.  Both are
 * undefined while @nr_leaves is zero.  SPTEs that are tracking accesses in
 * software count with the permissions that they will get back.
 */
struct kvm_lpage_scan {
	u64 any;
	u64 all;
	int nr_leaves;	/* present leaf SPTEs */
	int nr_tables;	/* present non-leaf SPTEs */
	int nr_tracked;	/* leaf SPTEs whose access is being tracked */
};

/*
 * Summarise the page table @spt, whose SPTEs are at @level.  The caller holds
 * mmu_lock.  If it holds it for write, or if the summary is settled, it stands
 * for as long as the caller does, but for what CPUs, fast_page_fault() and aging
 * do to A, D and W.
 */
void kvm_lpage_scan_table(const u64 *spt, int level, struct kvm_lpage_scan *scan);

/*
 * Can one SPTE of @level stand for all the leaf SPTEs of a scanned table?  Only
 * if they agree on everything but what promotion aggregates: the PFN below the
 * alignment of @level, A, D, the writable bits and, with the NX mitigation on,
 * executability.
 */
bool kvm_lpage_scan_is_uniform(struct kvm *kvm, const struct kvm_lpage_scan *scan,
			       int level);

/*
 * Is all that others may do to the scanned table of SPTEs at @level, while
 * mmu_lock is held for read, of no consequence to the huge SPTE?  So it is if all
 * 512 are 4K leaves that KVM may make writable: there is no hole to fill, nothing
 * to split, and no permission to add that the huge SPTE would lack.  That the host
 * lets the page be written is proven by an SPTE that says so, for as long as
 * mmu_lock is held, whatever later faults make of that SPTE.
 */
bool kvm_lpage_scan_is_settled(const struct kvm_lpage_scan *scan, int level);

/*
 * The huge SPTE of @level for a uniform, non-empty scan.  It is accessed when
 * any child was, writable when any child could be made writable, and then dirty
 * as well: a CPU that still walks the old table may set a D bit there after the
 * scan, and that bit must not matter.
 */
u64 kvm_lpage_make_spte(struct kvm *kvm, const struct kvm_lpage_scan *scan,
			int level);

/*
 * Fill @spt, the SPTEs of a page table whose role is @role, with what the huge SPTE
 * @huge_spte of the level above maps, each without the bits in @clear.  A, D and
 * all permissions are inherited, and a 4K SPTE gets back the execute permission
 * that the NX mitigation denies to large pages.
 */
void kvm_lpage_fill_table(struct kvm *kvm, u64 *spt, u64 huge_spte,
			  union kvm_mmu_page_role role, u64 clear);

#endif /* __KVM_X86_MMU_LPAGE_SPTE_H */
