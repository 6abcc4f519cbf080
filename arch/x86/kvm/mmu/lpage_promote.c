// SPDX-License-Identifier: GPL-2.0
/*
 * Promotion in place: one huge SPTE back over a page table that is not needed.
 *
 * Why mmu_lock is taken for write.  A promoted page table is thrown away, and
 * whoever may still store into it must be kept out, or a child that it installs
 * is lost together with its statistics, and a child table is leaked.  Those who
 * hold mmu_lock for read (vCPU faults, above all) can only be kept out one SPTE
 * at a time, by an atomic exchange of each of the 512.  A write lock does it for
 * all of them at once, and then the table needs only to be read.  The price is
 * that vCPU faults wait, so that the lock is held for a fixed batch and no more.
 *
 * What still runs meanwhile:
 *
 * - fast_page_fault() may set W in an old 4K SPTE, and CPUs may set A and D
 *   there until the TLB flush.  See kvm_lpage_make_spte() for why W and D need
 *   not be looked for again; a lost A bit is a hint lost.
 *
 * - Lockless walkers may be in the old table.  It is freed after the TLB flush
 *   and an RCU grace period.
 *
 * - The host may be about to take the memory away.  It says so first, through
 *   the mmu_notifier, for the whole of any huge host mapping that it breaks up,
 *   and the children are then zapped under mmu_lock before the host page table
 *   changes.  Thus a child that is present vouches, as long as mmu_lock is held,
 *   for the level that kvm_mmu_max_mapping_level() finds; a table without a
 *   present child must never be promoted.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/moduleparam.h>
#include <linux/sched/signal.h>

#include "lpage.h"
#include "mmu.h"
#include "mmu_internal.h"
#include "mmutrace.h"
#include "spte.h"
#include "tdp_iter.h"
#include "tdp_mmu.h"

#define CREATE_TRACE_POINTS
#include "lpage_trace.h"

static bool __read_mostly lpage_promote = true;
module_param(lpage_promote, bool, 0644);

/*
 * The bounds on one hold of mmu_lock: page tables replaced (which is also how many
 * share a TLB flush), page tables looked at, and SPTEs stepped over.
 */
#define LPAGE_BATCH_REPLACED	64
#define LPAGE_BATCH_TABLES	(2 * LPAGE_BATCH_REPLACED)
#define LPAGE_BATCH_STEPS	(32 * LPAGE_BATCH_REPLACED)

/* One hold of mmu_lock. */
struct lpage_batch {
	struct kvm *kvm;
	const struct kvm_memory_slot *slot;
	struct kvm_mmu_page *freed;	/* the rest hang off its link */
	gfn_t flush_start;		/* [start, end) of what was replaced */
	gfn_t flush_end;
	int nr_replaced;
	int nr_tables;
	int nr_steps;
};

static bool lpage_batch_is_full(const struct lpage_batch *batch)
{
	return batch->nr_replaced >= LPAGE_BATCH_REPLACED ||
	       batch->nr_tables >= LPAGE_BATCH_TABLES ||
	       batch->nr_steps >= LPAGE_BATCH_STEPS;
}

static void lpage_free_table(struct kvm_mmu_page *sp)
{
	free_page((unsigned long)sp->spt);
	kmem_cache_free(mmu_page_header_cache, sp);
}

static void lpage_free_tables_rcu(struct rcu_head *head)
{
	struct kvm_mmu_page *first = container_of(head, struct kvm_mmu_page,
						  rcu_head);
	struct kvm_mmu_page *sp, *next;

	list_for_each_entry_safe(sp, next, &first->link, link)
		lpage_free_table(sp);

	lpage_free_table(first);
}

/* Take over a page table that nothing links to any more. */
static void lpage_batch_add_freed(struct lpage_batch *batch,
				  struct kvm_mmu_page *sp)
{
	trace_kvm_mmu_prepare_zap_page(sp);
	tdp_mmu_unlink_sp(batch->kvm, sp);

	if (batch->freed) {
		list_add(&sp->link, &batch->freed->link);
	} else {
		INIT_LIST_HEAD(&sp->link);
		batch->freed = sp;
	}
}

/*
 * One flush covers the batch, while mmu_lock is still held: once it is dropped,
 * others rely on what they see in the page tables.  Only after the flush can no
 * CPU walk the old tables, so that RCU may start to count.  The memory is wanted
 * back soon, whatever call_rcu() may be configured to delay.
 */
static void lpage_batch_finish(struct lpage_batch *batch)
{
	if (!batch->nr_replaced)
		return;

	kvm_flush_remote_tlbs_range(batch->kvm, batch->flush_start,
				    batch->flush_end - batch->flush_start);
	++batch->kvm->stat.lpage_promote_flushes;

	call_rcu_hurry(&batch->freed->rcu_head, lpage_free_tables_rcu);
}

static_assert(ARRAY_SIZE(((struct kvm_vm_stat *)0)->lpage_promote_skip) ==
	      KVM_LPAGE_NR_SKIPS);

static void lpage_count_skip(struct kvm *kvm, struct tdp_iter *iter,
			     enum kvm_lpage_skip reason)
{
	++kvm->stat.lpage_promote_skip[reason];
	trace_kvm_mmu_lpage_promote_skip(iter->as_id, iter->gfn, iter->level,
					 reason);
}

/* Replace the non-leaf SPTE at @iter and take over its table @sp. */
static void lpage_replace_table(struct lpage_batch *batch, struct tdp_iter *iter,
				struct kvm_mmu_page *sp, u64 new_spte)
{
	/* A non-leaf SPTE has no volatile bits that KVM cares about. */
	__kvm_tdp_mmu_write_spte(iter->sptep, new_spte);
	trace_kvm_tdp_mmu_spte_changed(iter->as_id, iter->gfn, iter->level,
				       iter->old_spte, new_spte);

	lpage_batch_add_freed(batch, sp);

	if (!batch->nr_replaced++)
		batch->flush_start = iter->gfn;
	batch->flush_end = iter->gfn + KVM_PAGES_PER_HPAGE(iter->level);
}

static void lpage_promote_spte(struct lpage_batch *batch, struct tdp_iter *iter,
			       struct kvm_mmu_page *sp,
			       const struct kvm_lpage_scan *scan)
{
	struct kvm *kvm = batch->kvm;
	u64 spte = kvm_lpage_make_spte(kvm, scan, iter->level);

	lpage_replace_table(batch, iter, sp, spte);

	kvm_update_page_stats(kvm, iter->level, 1);
	kvm_update_page_stats(kvm, iter->level - 1, -scan->nr_leaves);

	if (iter->level == PG_LEVEL_2M)
		++kvm->stat.lpage_promoted_2m;
	else
		++kvm->stat.lpage_promoted_1g;
	trace_kvm_mmu_lpage_promote(iter->as_id, iter->gfn, iter->level, spte,
				    scan->nr_leaves);
}

static void lpage_try_promote_spte(struct lpage_batch *batch,
				   struct tdp_iter *iter)
{
	struct kvm_mmu_page *sp = spte_to_child_sp(iter->old_spte);
	struct kvm *kvm = batch->kvm;
	struct kvm_lpage_scan scan;

	batch->nr_tables++;

	if (sp->nx_huge_page_disallowed)
		return lpage_count_skip(kvm, iter, KVM_LPAGE_SKIP_NX);

	if (kvm_mmu_max_mapping_level(kvm, NULL, batch->slot, iter->gfn) < iter->level)
		return lpage_count_skip(kvm, iter, KVM_LPAGE_SKIP_LEVEL);

	kvm_lpage_scan_table(sp->spt, sp->role.level, &scan);

	/*
	 * An empty table is of no use to anyone, and in the way of a larger page
	 * above it.  The next fault finds the level by itself.
	 */
	if (!scan.nr_leaves && !scan.nr_tables) {
		lpage_replace_table(batch, iter, sp, SHADOW_NONPRESENT_VALUE);
		return lpage_count_skip(kvm, iter, KVM_LPAGE_SKIP_EMPTY);
	}

	if (scan.nr_tables ||
	    !kvm_lpage_scan_is_uniform(kvm, &scan, iter->level))
		return lpage_count_skip(kvm, iter, KVM_LPAGE_SKIP_MIXED);

	lpage_promote_spte(batch, iter, sp, &scan);
}

/*
 * Promote to @level within [start, end), GFNs aligned to @level, until a batch
 * is full.  Returns the GFN to go on from.
 */
static gfn_t lpage_promote_batch(struct kvm *kvm, struct kvm_mmu_page *root,
				 const struct kvm_memory_slot *slot, int level,
				 gfn_t start, gfn_t end)
{
	struct lpage_batch batch = { .kvm = kvm, .slot = slot };
	struct tdp_iter iter;

	lockdep_assert_held_write(&kvm->mmu_lock);

	rcu_read_lock();

	for_each_tdp_pte_min_level(iter, kvm, root, level, start, end) {
		batch.nr_steps++;

		if (iter.level == level && is_shadow_present_pte(iter.old_spte) &&
		    !is_last_spte(iter.old_spte, level))
			lpage_try_promote_spte(&batch, &iter);

		if (iter.level == level && lpage_batch_is_full(&batch)) {
			end = iter.gfn + KVM_PAGES_PER_HPAGE(level);
			break;
		}
	}

	lpage_batch_finish(&batch);

	rcu_read_unlock();

	return end;
}

/*
 * Promote to @level in one root.  Called and returns with mmu_lock held for
 * write, but gives it up after each batch.  Returns -EINTR when the task is
 * being killed, in which case there is no point in going on.
 */
static int lpage_promote_root(struct kvm *kvm, struct kvm_mmu_page *root,
			      const struct kvm_memory_slot *slot, int level)
{
	gfn_t end = gfn_round_for_level(slot->base_gfn + slot->npages, level);
	gfn_t gfn = gfn_round_for_level(slot->base_gfn +
					KVM_PAGES_PER_HPAGE(level) - 1, level);

	/* An invalid root is on its way out, its SPTEs are of no more use. */
	while (gfn < end && !root->role.invalid) {
		gfn = lpage_promote_batch(kvm, root, slot, level, gfn, end);

		write_unlock(&kvm->mmu_lock);
		cond_resched();
		write_lock(&kvm->mmu_lock);

		if (fatal_signal_pending(current))
			return -EINTR;
	}

	return 0;
}

bool kvm_tdp_mmu_promote_slot(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
	struct kvm_mmu_page *root;
	int level, r = 0;

	lockdep_assert_held(&kvm->slots_lock);

	if (!READ_ONCE(lpage_promote))
		return false;

	/*
	 * A logged GFN must stay 4K.  What backs a private GFN is not the host
	 * mapping that the children vouch for, but slots with guest_memfd cannot
	 * be logged and do not get here.
	 */
	if (WARN_ON_ONCE(kvm_slot_dirty_track_enabled(slot) ||
			 kvm_slot_has_gmem(slot)))
		return false;

	write_lock(&kvm->mmu_lock);

	for (root = tdp_mmu_next_root(kvm, NULL, KVM_VALID_ROOTS); root;
	     root = tdp_mmu_next_root(kvm, root, KVM_VALID_ROOTS)) {
		/* What is done to a mirror root must be forwarded to its owner. */
		if (kvm_mmu_page_as_id(root) != slot->as_id || is_mirror_sp(root))
			continue;

		/*
		 * Bottom-up, so that the work for one SPTE is bounded by its 512
		 * children even where 1G of 4K pages is to be put back.
		 */
		for (level = PG_LEVEL_2M; !r && level <= KVM_MAX_HUGEPAGE_LEVEL; level++)
			r = lpage_promote_root(kvm, root, slot, level);

		if (r) {
			kvm_tdp_mmu_put_root(kvm, root);
			break;
		}
	}

	write_unlock(&kvm->mmu_lock);

	return true;
}
