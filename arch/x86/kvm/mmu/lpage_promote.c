// SPDX-License-Identifier: GPL-2.0
/*
 * Promotion in place: one huge SPTE back over a page table that is not needed.
 *
 * A promoted page table is thrown away.  Whoever may still store into it must do
 * no harm by that, or be kept out: a child that is installed too late is lost
 * together with its statistics, and a child table is leaked.
 *
 * The usual table has 512 4K SPTEs, all MMU-writable.  It is promoted with mmu_lock
 * held for read, which takes no more than reading it:
 *
 * - Whoever replaces its parent, as a vCPU does that faults on the huge page, does
 *   so by an atomic exchange, as is done here.  One of them is first; the others
 *   find another SPTE than that which they looked at.  RCU keeps the table from
 *   being freed and used anew meanwhile.
 *
 * - Whoever changes an SPTE of a full 4K table, and holds mmu_lock for read, maps the
 *   same page again, with more or less access.  See kvm_lpage_scan_is_settled()
 *   for why the huge SPTE is right nevertheless.
 *
 * - What zaps SPTEs with mmu_lock held for read, but for the above, does so in
 *   roots that are invalid, or holds slots_lock, or (mainline's NX recovery)
 *   replaces parents as well.
 *
 * Other tables are promoted with mmu_lock held for write.  To exchange each SPTE
 * for one that nobody overwrites would do as well, at 512 locked instructions.
 * vCPU faults wait for a writer, so that a hold is a fixed batch and no more.
 *
 * What runs in either case:
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
#include "lpage_spte.h"
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
#define LPAGE_PROMOTE_BATCH_REPLACED	64
#define LPAGE_PROMOTE_BATCH_TABLES	(2 * LPAGE_PROMOTE_BATCH_REPLACED)
#define LPAGE_PROMOTE_BATCH_STEPS	(32 * LPAGE_PROMOTE_BATCH_REPLACED)

/* One hold of mmu_lock. */
struct lpage_batch {
	struct kvm *kvm;
	const struct kvm_memory_slot *slot;
	const struct kvm_lpage_private *private;
	bool shared;			/* mmu_lock is held for read */
	bool unsettled;			/* mmu_lock must be held for write to go on */
	bool stale;			/* what @private says does not hold any more */
	struct kvm_mmu_page *freed;	/* the rest hang off its link */
	gfn_t flush_start;		/* [start, end) of what was replaced */
	gfn_t flush_end;
	int nr_replaced;
	int nr_tables;
	int nr_steps;
};

/* Who waits for a writer waits for its TLB flush, which comes sooner that way. */
static bool lpage_batch_is_full(const struct lpage_batch *batch)
{
	if (!batch->shared && rwlock_is_contended(&batch->kvm->mmu_lock))
		return true;

	return batch->nr_replaced >= LPAGE_PROMOTE_BATCH_REPLACED ||
	       batch->nr_tables >= LPAGE_PROMOTE_BATCH_TABLES ||
	       batch->nr_steps >= LPAGE_PROMOTE_BATCH_STEPS;
}

static void lpage_free_tables_rcu(struct rcu_head *head)
{
	struct kvm_mmu_page *first = container_of(head, struct kvm_mmu_page,
						  rcu_head);
	LIST_HEAD(tables);

	/* The others hang off the first; now all of them do off the head. */
	list_add(&tables, &first->link);
	kvm_lpage_free_tables(&tables);
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
	atomic64_inc(&batch->kvm->stat.lpage_promote_flushes);

	call_rcu_hurry(&batch->freed->rcu_head, lpage_free_tables_rcu);
}

static_assert(ARRAY_SIZE(((struct kvm_vm_stat *)0)->lpage_promote_skip) ==
	      KVM_LPAGE_NR_SKIPS);

static void lpage_count_skip(struct kvm *kvm, struct tdp_iter *iter,
			     enum kvm_lpage_skip reason)
{
	atomic64_inc(&kvm->stat.lpage_promote_skip[reason]);
	trace_kvm_mmu_lpage_promote_skip(iter->as_id, iter->gfn, iter->level,
					 reason);
}

/*
 * Replace the non-leaf SPTE at @iter and take over its table @sp.  Returns false
 * if someone else, a vCPU that faults on the huge page, was faster.  It cannot be
 * that the CPU has set A, which every non-leaf SPTE has from the start.
 */
static bool lpage_replace_table(struct lpage_batch *batch, struct tdp_iter *iter,
				struct kvm_mmu_page *sp, u64 new_spte)
{
	u64 old_spte = iter->old_spte;

	/* A non-leaf SPTE has no volatile bits that KVM cares about. */
	if (!batch->shared)
		__kvm_tdp_mmu_write_spte(iter->sptep, new_spte);
	else if (!try_cmpxchg64(rcu_dereference(iter->sptep), &old_spte, new_spte))
		return false;

	trace_kvm_tdp_mmu_spte_changed(iter->as_id, iter->gfn, iter->level,
				       iter->old_spte, new_spte);

	lpage_batch_add_freed(batch, sp);

	if (!batch->nr_replaced++)
		batch->flush_start = iter->gfn;
	batch->flush_end = iter->gfn + KVM_PAGES_PER_HPAGE(iter->level);

	return true;
}

static void lpage_promote_spte(struct lpage_batch *batch, struct tdp_iter *iter,
			       struct kvm_mmu_page *sp,
			       const struct kvm_lpage_scan *scan)
{
	struct kvm *kvm = batch->kvm;
	u64 spte = kvm_lpage_make_spte(kvm, scan, iter->level);

	if (!lpage_replace_table(batch, iter, sp, spte))
		return;

	kvm_update_page_stats(kvm, iter->level, 1);
	kvm_update_page_stats(kvm, iter->level - 1, -scan->nr_leaves);

	atomic64_inc(iter->level == PG_LEVEL_2M ? &kvm->stat.lpage_promoted_2m :
						  &kvm->stat.lpage_promoted_1g);
	trace_kvm_mmu_lpage_promote(iter->as_id, iter->gfn, iter->level, spte,
				    scan->nr_leaves);
}

/* Private memory that was not invalidated meanwhile is the block, but this is cheap. */
static bool lpage_is_block(struct lpage_batch *batch, struct tdp_iter *iter,
			   const struct kvm_lpage_scan *scan)
{
	kvm_pfn_t mask = KVM_PAGES_PER_HPAGE(iter->level) - 1;

	return !batch->private ||
	       (spte_to_pfn(scan->any) & ~mask) == batch->private->pfn;
}

/*
 * Private memory is not the host's to take away, and guest_memfd's to say what it is:
 * it may go on in one piece where no child vouches for a part.  Who asks for it has
 * looked that up before, as a vCPU does that faults, and mmu_invalidate_seq tells
 * whether it still holds.
 */
static int lpage_private_level(struct lpage_batch *batch, gfn_t gfn)
{
	struct kvm_page_fault fault = {
		.is_private = true,
		.max_level = PG_LEVEL_2M,
		.pfn = batch->private->pfn,
	};

	return kvm_mmu_max_mapping_level(batch->kvm, &fault, batch->slot, gfn);
}

static int lpage_max_level(struct lpage_batch *batch, gfn_t gfn)
{
	if (batch->private)
		return lpage_private_level(batch, gfn);

	return kvm_mmu_max_mapping_level(batch->kvm, NULL, batch->slot, gfn);
}

static void lpage_try_promote_spte(struct lpage_batch *batch,
				   struct tdp_iter *iter)
{
	struct kvm_mmu_page *sp = spte_to_child_sp(iter->old_spte);
	struct kvm *kvm = batch->kvm;
	struct kvm_lpage_scan scan;

	batch->nr_tables++;

	/* If the NX recovery lets go of it meanwhile, it may be huge or not. */
	if (READ_ONCE(sp->nx_huge_page_disallowed)) {
		lpage_count_skip(kvm, iter, KVM_LPAGE_SKIP_NX);
		return;
	}

	if (lpage_max_level(batch, iter->gfn) < iter->level) {
		lpage_count_skip(kvm, iter, KVM_LPAGE_SKIP_LEVEL);
		return;
	}

	kvm_lpage_scan_table(sp->spt, sp->role.level, &scan);

	if (batch->shared && !kvm_lpage_scan_is_settled(&scan, sp->role.level)) {
		batch->unsettled = true;
		return;
	}

	/*
	 * An empty table is of no use to anyone, and in the way of a larger page
	 * above it.  The next fault finds the level by itself.
	 */
	if (!scan.nr_leaves && !scan.nr_tables) {
		lpage_replace_table(batch, iter, sp, SHADOW_NONPRESENT_VALUE);
		lpage_count_skip(kvm, iter, KVM_LPAGE_SKIP_EMPTY);
		return;
	}

	if (scan.nr_tables || !kvm_lpage_scan_is_uniform(kvm, &scan, iter->level)) {
		lpage_count_skip(kvm, iter, KVM_LPAGE_SKIP_MIXED);
		return;
	}

	if (!lpage_is_block(batch, iter, &scan)) {
		lpage_count_skip(kvm, iter, KVM_LPAGE_SKIP_MIXED);
		return;
	}

	lpage_promote_spte(batch, iter, sp, &scan);
}

/*
 * Promote to @level within [start, end), GFNs aligned to @level, until the batch
 * is full or mmu_lock must be held for write.  Returns the GFN to go on from.
 */
static gfn_t lpage_promote_batch(struct lpage_batch *batch, struct kvm_mmu_page *root,
				 int level, gfn_t start, gfn_t end)
{
	struct tdp_iter iter;

	/* As for a vCPU that is about to map what it has looked up. */
	if (batch->private &&
	    mmu_invalidate_retry_gfn(batch->kvm, batch->private->mmu_seq, start)) {
		batch->stale = true;
		return end;
	}

	rcu_read_lock();

	for_each_tdp_pte_min_level(iter, batch->kvm, root, level, start, end) {
		batch->nr_steps++;

		if (iter.level == level && is_shadow_present_pte(iter.old_spte) &&
		    !is_last_spte(iter.old_spte, level))
			lpage_try_promote_spte(batch, &iter);

		if (batch->unsettled) {
			end = iter.gfn;
			break;
		}

		if (iter.level == level && lpage_batch_is_full(batch)) {
			end = iter.gfn + KVM_PAGES_PER_HPAGE(level);
			break;
		}
	}

	lpage_batch_finish(batch);

	rcu_read_unlock();

	return end;
}

/* One batch, with mmu_lock held for read or for write. */
static gfn_t lpage_promote_hold(struct lpage_batch *batch, struct kvm_mmu_page *root,
				int level, gfn_t start, gfn_t end)
{
	struct kvm *kvm = batch->kvm;
	gfn_t next;

	if (batch->shared) {
		read_lock(&kvm->mmu_lock);
		next = lpage_promote_batch(batch, root, level, start, end);
		read_unlock(&kvm->mmu_lock);
	} else {
		write_lock(&kvm->mmu_lock);
		next = lpage_promote_batch(batch, root, level, start, end);
		write_unlock(&kvm->mmu_lock);
	}

	return next;
}

/*
 * Promote to @level within [start, end) of one root.  There is no point in going
 * on for a task that is being killed: what is not promoted maps the same memory
 * and is merely small.  Returns the number of page tables replaced.
 */
static u64 lpage_promote_root(struct kvm_lpage_job *job, struct kvm_mmu_page *root,
			      int level, gfn_t start, gfn_t end)
{
	gfn_t gfn = gfn_round_for_level(start + KVM_PAGES_PER_HPAGE(level) - 1, level);
	bool shared = level == PG_LEVEL_2M;
	u64 nr_replaced = 0;

	end = gfn_round_for_level(end, level);

	while (gfn < end && !READ_ONCE(job->killed)) {
		struct lpage_batch batch = {
			.kvm = job->kvm,
			.slot = job->slot,
			.private = job->private,
			.shared = shared,
		};

		gfn = lpage_promote_hold(&batch, root, level, gfn, end);
		nr_replaced += batch.nr_replaced;
		job->stale |= batch.stale;
		shared = level == PG_LEVEL_2M && !batch.unsettled;

		if (fatal_signal_pending(current))
			WRITE_ONCE(job->killed, true);
		cond_resched();
	}

	return nr_replaced;
}

/* Returns the number of page tables replaced. */
static u64 lpage_promote_range(struct kvm_lpage_job *job, int level,
			       gfn_t start, gfn_t end)
{
	struct kvm *kvm = job->kvm;
	struct kvm_mmu_page *root;
	u64 nr_replaced = 0;

	read_lock(&kvm->mmu_lock);

	kvm_lpage_for_each_root(kvm, root, job->slot->as_id) {
		read_unlock(&kvm->mmu_lock);
		nr_replaced += lpage_promote_root(job, root, level, start, end);
		read_lock(&kvm->mmu_lock);
	}

	read_unlock(&kvm->mmu_lock);

	return nr_replaced;
}

static void lpage_promote_chunk(struct kvm_lpage_worker *worker, gfn_t start, gfn_t end)
{
	worker->nr_pages = lpage_promote_range(worker->job, PG_LEVEL_2M, start, end) *
			   KVM_PAGES_PER_HPAGE(PG_LEVEL_2M);
}

bool kvm_tdp_mmu_promote_slot(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
	struct kvm_lpage_job job = {
		.kvm = kvm,
		.slot = slot,
		.start = slot->base_gfn,
		.end = slot->base_gfn + slot->npages,
		.fn = lpage_promote_chunk,
	};

	if (!READ_ONCE(lpage_promote))
		return false;

	/*
	 * A logged GFN must stay 4K.  What backs a GFN of guest_memfd is not the
	 * host mapping that the children vouch for, but slots that have one cannot
	 * be logged and do not get here.
	 */
	if (WARN_ON_ONCE(kvm_slot_dirty_track_enabled(slot) ||
			 kvm_slot_has_gmem(slot)))
		return false;

	/*
	 * Bottom-up, so that the work for one SPTE is bounded by its 512 children
	 * even where 1G of 4K pages is to be put back.  There is one SPTE in 512
	 * to do at 1G, which is not worth a thread.
	 */
	kvm_lpage_run(&job);
	lpage_promote_range(&job, PG_LEVEL_1G, job.start, job.end);

	return true;
}

int kvm_tdp_mmu_promote_gfn(struct kvm *kvm, const struct kvm_memory_slot *slot,
			    int level, gfn_t gfn,
			    const struct kvm_lpage_private *private)
{
	struct kvm_lpage_job job = {
		.kvm = kvm,
		.slot = slot,
		.private = private,
	};

	lockdep_assert_held(&kvm->slots_lock);

	lpage_promote_range(&job, level, gfn, gfn + KVM_PAGES_PER_HPAGE(level));

	return job.stale ? -EAGAIN : 0;
}

#ifdef CONFIG_KVM_LPAGE_KUNIT_TEST
#include "tests/lpage_promote_kunit.c"
#endif
