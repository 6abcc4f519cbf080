/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The life cycle of large pages in the TDP MMU.
 *
 * Splitting replaces a huge SPTE by a page table when dirty logging needs 4K
 * granularity, and protects the pages in the same step.  Promotion puts the huge
 * SPTE back over a page table that is no longer needed, by replacing one entry
 * and without provoking a single vCPU fault.
 *
 * What is here walks, locks, flushes and frees; its callers decide when.
 */
#ifndef __KVM_X86_MMU_LPAGE_H
#define __KVM_X86_MMU_LPAGE_H

#include <linux/kvm_host.h>

#include "lpage_work.h"

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
 * Start dirty logging of @slot in all valid roots of its address space: split
 * its huge pages, if the parameter eager_page_split says so, and take write
 * access (or, for page-modification logging, D bits) away from everything.  What
 * cannot be split stays huge and is write-protected.
 *
 * The caller holds slots_lock and owes a TLB flush of the slot afterwards.
 * Takes mmu_lock for read, for a batch at a time.  Returns false, with nothing
 * done, when the module parameter kvm.lpage_split is off.
 */
bool kvm_tdp_mmu_log_slot(struct kvm *kvm, const struct kvm_memory_slot *slot);

/*
 * Take write access (or D bits) away from those of the 64 GFNs from
 * @slot->base_gfn + @gfn_offset that have a bit in @mask.  Huge pages that they
 * lie in are split first if the slot was assumed to be all dirty and the parameter
 * eager_page_split says so, and write-protected if they are not or cannot be.
 *
 * The caller holds slots_lock, and mmu_lock for write, which is given up while
 * page tables are allocated and when others want it.  It owes a TLB flush, and a
 * call of kvm_arch_dirty_log_done() before slots_lock is dropped.  Returns false,
 * with nothing done, when the module parameter kvm.lpage_split is off.
 */
bool kvm_tdp_mmu_log_masked(struct kvm *kvm, const struct kvm_memory_slot *slot,
			    gfn_t gfn_offset, unsigned long mask);

/*
 * Split the huge SPTEs that map GFNs on both sides of @gfn, in all valid roots of an
 * address space, so that zapping one side leaves the other mapped.  Takes mmu_lock for
 * read, and may sleep.  The caller keeps vCPUs from mapping what lies across @gfn by a
 * huge SPTE again, and roots from being made, if that matters.
 *
 * Returns how many were split, -ENOMEM or -EINTR if something stays huge for want of memory
 * or because the task is being killed, -EOPNOTSUPP if the module parameter kvm.lpage_split
 * is off or the TDP MMU not in use.
 */
int kvm_tdp_mmu_split_at(struct kvm *kvm, int as_id, gfn_t gfn);

/*
 * Put huge SPTEs back in all valid roots of the slot's address space, 4K to 2M
 * first and 2M to 1G after that, wherever the whole huge page lies in @slot.
 *
 * The caller holds slots_lock, and has turned dirty logging off for @slot before
 * (a GFN that is logged must stay 4K).  Takes mmu_lock, for read wherever that
 * does, for at most one batch at a time and may sleep between batches; stops
 * early if the task is being killed.  Returns false, with nothing done, when
 * the module parameter kvm.lpage_promote is off.
 */
bool kvm_tdp_mmu_promote_slot(struct kvm *kvm, const struct kvm_memory_slot *slot);

/*
 * The same for one huge page of @level at @gfn, aligned to it, which lies in @slot.
 * @private is NULL if the memory is shared, and the caller holds slots_lock, so that it
 * stays what it is.
 *
 * Returns -EAGAIN if @private may not hold any more, or 0: the huge page is back, or
 * there is a reason why it is not, which is counted.
 */
int kvm_tdp_mmu_promote_gfn(struct kvm *kvm, const struct kvm_memory_slot *slot,
			    int level, gfn_t gfn,
			    const struct kvm_lpage_private *private);

#ifdef CONFIG_KVM_GENERIC_MEMORY_ATTRIBUTES
/* Nothing is to be put back any more.  The VM has no other users. */
void kvm_lpage_stop_converting(struct kvm *kvm);
#else
static inline void kvm_lpage_stop_converting(struct kvm *kvm)
{
}
#endif

#endif /* __KVM_X86_MMU_LPAGE_H */
