/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The life cycle of large pages in the TDP MMU.
 *
 * Promotion puts a huge SPTE back over a page table that is no longer needed,
 * by replacing one entry and without provoking a single vCPU fault.  It is
 * kept in three parts: lpage_spte.c computes SPTE values from the values of
 * children and nothing else, lpage_promote.c walks, locks, flushes and frees,
 * and the callers in mmu.c decide when.
 */
#ifndef __KVM_X86_MMU_LPAGE_H
#define __KVM_X86_MMU_LPAGE_H

#include <linux/kvm_host.h>

/* Why a page table was left alone; the order is that of the statistics. */
enum kvm_lpage_skip {
	/* The host mapping or lpage_info does not allow a page of this size. */
	KVM_LPAGE_SKIP_LEVEL,
	/* No child is present to vouch for the host mapping; the table is dropped. */
	KVM_LPAGE_SKIP_EMPTY,
	/* Held small by the NX huge page mitigation, because it executes. */
	KVM_LPAGE_SKIP_NX,
	/* The children differ in more than their PFN, or some are tables. */
	KVM_LPAGE_SKIP_MIXED,

	KVM_LPAGE_NR_SKIPS,
};

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
 * mmu_lock for write, so that only A, D and W can change, and those only upward.
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
 * The huge SPTE of @level for a uniform, non-empty scan.  It is accessed when
 * any child was, writable when any child could be made writable, and then dirty
 * as well: a CPU that still walks the old table may set a D bit there after the
 * scan, and that bit must not matter.
 */
u64 kvm_lpage_make_spte(struct kvm *kvm, const struct kvm_lpage_scan *scan,
			int level);

/*
 * Put huge SPTEs back in all valid roots of the slot's address space, 4K to 2M
 * first and 2M to 1G after that, wherever the whole huge page lies in @slot.
 *
 * The caller holds slots_lock, and has turned dirty logging off for @slot before
 * (a GFN that is logged must stay 4K).  Takes mmu_lock for write for at most one
 * batch at a time and may sleep between batches; stops early if the task is
 * being killed.  Returns false, with nothing done, when promotion is disabled by
 * the module parameter kvm.lpage_promote.
 */
bool kvm_tdp_mmu_promote_slot(struct kvm *kvm, const struct kvm_memory_slot *slot);

#endif /* __KVM_X86_MMU_LPAGE_H */
