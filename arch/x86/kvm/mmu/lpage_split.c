// SPDX-License-Identifier: GPL-2.0
/*
 * Eager splitting: huge SPTEs become page tables before a vCPU has to fault for
 * it, and the pages are protected in the same step.
 *
 * When dirty logging starts, children are born protected: their table is not
 * linked yet when they are filled in, and it costs nothing to leave a bit out.  The
 * translation is the same before and after, so that the split needs no TLB flush.
 * The protection does, and whoever asked for it flushes when all of it is done.
 *
 * The start of dirty logging holds mmu_lock for read, so that vCPUs go on
 * faulting and several threads can split.  Each SPTE that is linked is changed by
 * a compare-and-exchange then, for CPUs may set A and D meanwhile,
 * fast_page_fault() may set W, and vCPUs may split the same page.  Whoever loses
 * looks again.
 *
 * Clearing a part of the log is called with mmu_lock held for write, one word of
 * the bitmap after the other, and lets go of it between two words if others wait
 * for it.
 *
 * No RCU critical section is longer than a batch or a word.
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
#include "x86.h"

static bool __read_mostly lpage_split = true;
module_param(lpage_split, bool, 0644);

/* The bounds on one hold of mmu_lock: 4K tables gone through, SPTEs stepped over. */
#define LPAGE_SPLIT_BATCH_TABLES	64
#define LPAGE_SPLIT_BATCH_STEPS	(32 * LPAGE_SPLIT_BATCH_TABLES)

/* What is done to the SPTEs of one root. */
struct lpage_log {
	struct kvm *kvm;
	struct kvm_lpage_pool *pool;
	u64 clear_4k;		/* bits to clear in 4K SPTEs */
	u64 clear_huge;		/* bits to clear in huge SPTEs that stay */
	bool shared;		/* mmu_lock is held for read */
	bool split;
	bool no_memory;		/* why @split is off, if it is */

	/* One hold of mmu_lock. */
	int nid;		/* the node of which page tables are wanted */
	int nr_wanted;		/* how many the rest of the range can need */
	int nr_tables;
	int nr_steps;
};

/*
 * Writes are logged by the fault that they cause or, with page-modification
 * logging, by the CPU when it sets D.  The CPU logs 4K pages only, so that the
 * first write to a huge page must fault either way.
 */
static void lpage_log_init(struct lpage_log *log, struct kvm *kvm,
			   struct kvm_mmu_page *root, bool shared)
{
	bool wrprot = !kvm_cpu_dirty_log_size(kvm) || !kvm_ad_enabled ||
		      kvm_mmu_page_ad_need_write_protect(kvm, root);
	u64 clear = wrprot ? PT_WRITABLE_MASK : shadow_dirty_mask;

	*log = (struct lpage_log) {
		.kvm = kvm,
		.clear_4k = clear,
		.clear_huge = clear | PT_WRITABLE_MASK,
		.shared = shared,
	};
}

/* Whoever waits for mmu_lock, whatever the model of preemption, need not wait long. */
static bool lpage_batch_is_full(const struct lpage_log *log)
{
	return log->nr_tables >= LPAGE_SPLIT_BATCH_TABLES ||
	       log->nr_steps >= LPAGE_SPLIT_BATCH_STEPS ||
	       need_resched() || rwlock_is_contended(&log->kvm->mmu_lock);
}

/* Page tables are kept near the memory that they map. */
static int lpage_nid(u64 spte)
{
	kvm_pfn_t pfn = spte_to_pfn(spte);

	return pfn_valid(pfn) ? pfn_to_nid(pfn) : numa_mem_id();
}

static __always_inline void lpage_bits_cleared(struct lpage_log *log,
					       struct tdp_iter *iter, gfn_t gfn,
					       int level, u64 old_spte, u64 new_spte)
{
	trace_kvm_tdp_mmu_spte_changed(iter->as_id, gfn, level, old_spte, new_spte);
#ifdef KVM_LPAGE_WRITEBACK
	if (kvm_lpage_undirties(log->clear_4k))
		kvm_lpage_writeback_dirty(old_spte, new_spte);
#endif
}

/*
 * Clear bits in a leaf SPTE that others may change meanwhile, or even zap or
 * split.  Returns what the SPTE is then.
 */
static __always_inline u64 lpage_clear_bits_shared(struct lpage_log *log,
						   struct tdp_iter *iter,
						   u64 *sptep, gfn_t gfn,
						   int level, u64 clear)
{
	u64 old_spte = READ_ONCE(*sptep), new_spte;

	do {
		if (!is_shadow_present_pte(old_spte) ||
		    !is_last_spte(old_spte, level) || !(old_spte & clear))
			return old_spte;

		new_spte = old_spte & ~clear;
	} while (!try_cmpxchg64(sptep, &old_spte, new_spte));

	lpage_bits_cleared(log, iter, gfn, level, old_spte, new_spte);
	return new_spte;
}

/*
 * The same with mmu_lock held for write, when CPUs and fast_page_fault() may set
 * bits, and mainline's aging may clear A, but nobody zaps or splits.
 */
static u64 lpage_clear_bits_exclusive(struct lpage_log *log, struct tdp_iter *iter,
				      u64 *sptep, gfn_t gfn, int level, u64 clear)
{
	u64 old_spte = READ_ONCE(*sptep);

	if (!is_shadow_present_pte(old_spte) || !is_last_spte(old_spte, level) ||
	    !(old_spte & clear))
		return old_spte;

	old_spte = atomic64_fetch_andnot(clear, (atomic64_t *)sptep);
	lpage_bits_cleared(log, iter, gfn, level, old_spte, old_spte & ~clear);
	return old_spte & ~clear;
}

/* Protect the huge SPTE at @iter; updates iter->old_spte. */
static void lpage_protect_huge_spte(struct lpage_log *log, struct tdp_iter *iter)
{
	u64 *sptep = rcu_dereference(iter->sptep);

	if (log->no_memory && (iter->old_spte & log->clear_huge))
		atomic64_inc(&log->kvm->stat.lpage_split_nomem);

	if (log->shared)
		iter->old_spte = lpage_clear_bits_shared(log, iter, sptep, iter->gfn,
							 iter->level, log->clear_huge);
	else
		iter->old_spte = lpage_clear_bits_exclusive(log, iter, sptep, iter->gfn,
							    iter->level, log->clear_huge);
}

/* Protect the 4K SPTEs of [start, end) in the table of the 2M SPTE at @iter. */
static void lpage_protect_table(struct lpage_log *log, struct tdp_iter *iter,
				gfn_t start, gfn_t end)
{
	u64 *spt = spte_to_child_sp(iter->old_spte)->spt;
	gfn_t gfn;

	start = max(start, iter->gfn);
	end = min(end, iter->gfn + KVM_PAGES_PER_HPAGE(PG_LEVEL_2M));

	for (gfn = start; gfn < end; gfn++)
		lpage_clear_bits_shared(log, iter, &spt[gfn - iter->gfn], gfn,
					PG_LEVEL_4K, log->clear_4k);

	log->nr_tables++;
}

/*
 * Protect the 4K SPTEs of those of the 64 GFNs from @base that have a bit in
 * @mask and are in the table of the 2M SPTE at @iter.
 *
 * Most of them have W, A and D.  Neither CPUs nor fast_page_fault() have anything
 * left to set in such an SPTE, and a plain store does.  What may get lost by it is
 * that somebody cleared A, which is a hint.
 */
static void lpage_protect_masked(struct lpage_log *log, struct tdp_iter *iter,
				 gfn_t base, unsigned long mask)
{
	u64 *spt = spte_to_child_sp(iter->old_spte)->spt;
	gfn_t end = iter->gfn + KVM_PAGES_PER_HPAGE(PG_LEVEL_2M);
	u64 clear = log->clear_4k, spte, full, *sptep;
	/* Less than zero if the table begins within the 64. */
	long first = base - iter->gfn;

	/* Unless A and D are software's, or someone wants to know of each. */
	full = !kvm_ad_enabled || trace_kvm_tdp_mmu_spte_changed_enabled() ? ~0ull :
	       SPTE_MMU_PRESENT_MASK | PT_WRITABLE_MASK | shadow_accessed_mask |
	       shadow_dirty_mask;
#ifdef KVM_LPAGE_WRITEBACK
	if (kvm_lpage_undirties(clear))
		full = ~0ull;
#endif

	if (first < 0)
		mask &= ~0ul << -first;
	if (end < base + BITS_PER_LONG)
		mask &= ~(~0ul << (end - base));

	for (; mask; mask &= mask - 1) {
		sptep = &spt[first + __ffs(mask)];
		spte = READ_ONCE(*sptep);
		if ((spte & full) == full)
			WRITE_ONCE(*sptep, spte & ~clear);
		else
			lpage_clear_bits_exclusive(log, iter, sptep,
						   base + __ffs(mask),
						   PG_LEVEL_4K, clear);
	}
}

/*
 * Split the huge SPTE at @iter by one level, its children without the bits in
 * @clear; updates iter->old_spte.  Returns -ENOMEM when the pool has no page
 * table of the right node, which is noted then, and -EAGAIN when the SPTE is not
 * huge any more.
 */
static int lpage_split_huge_spte(struct lpage_log *log, struct tdp_iter *iter,
				 u64 clear)
{
	int r, nid = lpage_nid(iter->old_spte);
	struct kvm *kvm = log->kvm;
	struct kvm_mmu_page *sp;
	u64 huge_spte;

	sp = kvm_lpage_pool_get(log->pool, nid);
	if (!sp) {
		log->nid = nid;
		return -ENOMEM;
	}

	tdp_mmu_init_child_sp(sp, iter);

	do {
		huge_spte = iter->old_spte;
		if (!is_shadow_present_pte(huge_spte) || !is_large_pte(huge_spte)) {
			kvm_lpage_pool_put(log->pool, nid, sp);
			return -EAGAIN;
		}

		kvm_lpage_fill_table(kvm, sp->spt, huge_spte, sp->role, clear);
		r = tdp_mmu_link_sp(kvm, iter, sp, log->shared);
		trace_kvm_mmu_split_huge_page(iter->gfn, huge_spte, iter->level, r);
	} while (r);

	kvm_update_page_stats(kvm, iter->level - 1, SPTE_ENT_PER_PAGE);
	atomic64_inc(iter->level == PG_LEVEL_2M ? &kvm->stat.lpage_split_2m :
						  &kvm->stat.lpage_split_1g);
	iter->old_spte = kvm_tdp_mmu_read_spte(iter->sptep);

	return 0;
}

/* @next: the GFN from which on, up to @end, page tables are wanted. */
static gfn_t lpage_want_tables(struct lpage_log *log, struct tdp_iter *iter,
			       gfn_t start, gfn_t end)
{
	gfn_t next = max(start, iter->gfn);

	log->nr_wanted = ((end - 1) >> (PMD_SHIFT - PAGE_SHIFT)) -
			 (next >> (PMD_SHIFT - PAGE_SHIFT)) + 1;
	/* One more, for the 2M SPTEs themselves. */
	if (iter->level > PG_LEVEL_2M)
		log->nr_wanted++;

	return next;
}

/*
 * Split and protect what the SPTE at @iter maps of [start, end).  Returns 1 when
 * that is done, 0 when it goes on with the children, -ENOMEM when a page table
 * is wanted.
 */
static int lpage_log_spte(struct lpage_log *log, struct tdp_iter *iter,
			  gfn_t start, gfn_t end)
{
	/* A 1G page is not done yet: each of its children is looked at next. */
	u64 clear = iter->level == PG_LEVEL_2M ? log->clear_4k : 0;
	int r;

	while (is_shadow_present_pte(iter->old_spte) && is_large_pte(iter->old_spte)) {
		if (!log->split) {
			lpage_protect_huge_spte(log, iter);
			if (is_shadow_present_pte(iter->old_spte) &&
			    is_large_pte(iter->old_spte))
				return 1;
			/* A vCPU has split it meanwhile, and its children have W. */
			continue;
		}

		r = lpage_split_huge_spte(log, iter, clear);
		if (!r) {
			log->nr_tables++;
			return iter->level == PG_LEVEL_2M;
		}
		if (r == -ENOMEM)
			return r;
	}

	if (!is_shadow_present_pte(iter->old_spte))
		return 1;

	if (iter->level > PG_LEVEL_2M)
		return 0;

	lpage_protect_table(log, iter, start, end);
	return 1;
}

/*
 * Split and protect [start, end) of a root until a batch is full or page tables
 * are wanted.  Returns the GFN to go on from.
 */
static gfn_t lpage_log_batch(struct lpage_log *log, struct kvm_mmu_page *root,
			     gfn_t start, gfn_t end)
{
	struct tdp_iter iter;
	gfn_t next = end;
	int r;

	lockdep_assert_held_read(&log->kvm->mmu_lock);

	log->nr_wanted = 0;
	log->nr_tables = 0;
	log->nr_steps = 0;

	rcu_read_lock();

	for_each_tdp_pte_min_level(iter, log->kvm, root, PG_LEVEL_2M, start, end) {
		log->nr_steps++;

		r = lpage_log_spte(log, &iter, start, end);
		if (r < 0) {
			next = lpage_want_tables(log, &iter, start, end);
			break;
		}
		/* Only what is done is progress. */
		if (r && lpage_batch_is_full(log)) {
			next = iter.gfn + KVM_PAGES_PER_HPAGE(iter.level);
			break;
		}
	}

	rcu_read_unlock();

	return next;
}

/* Called and returns with mmu_lock held for read, but gives it up in between. */
static void lpage_log_root(struct kvm_lpage_worker *worker,
			   struct kvm_mmu_page *root, gfn_t start, gfn_t end)
	__releases(&worker->job->kvm->mmu_lock)
	__acquires(&worker->job->kvm->mmu_lock)
{
	struct kvm_lpage_job *job = worker->job;
	struct kvm *kvm = job->kvm;
	struct lpage_log log;

	lpage_log_init(&log, kvm, root, true);

	for (;;) {
		log.pool = worker->pool;
		log.no_memory = READ_ONCE(job->no_memory);
		log.split = job->split && !log.no_memory && !READ_ONCE(job->killed);

		start = lpage_log_batch(&log, root, start, end);
		worker->nr_pages += log.nr_tables * KVM_PAGES_PER_HPAGE(PG_LEVEL_2M);
		if (start >= end)
			break;

		read_unlock(&kvm->mmu_lock);

		if (log.nr_wanted &&
		    kvm_lpage_pool_fill(&worker->pool, log.nid, log.nr_wanted) == -ENOMEM)
			WRITE_ONCE(job->no_memory, true);
		if (fatal_signal_pending(current))
			WRITE_ONCE(job->killed, true);
		cond_resched();

		read_lock(&kvm->mmu_lock);
	}
}

/*
 * What a task that is being killed owes: another process may share the VM, and
 * its log must be right.  Thus everything is still protected, but not split.
 */
static void lpage_log_chunk(struct kvm_lpage_worker *worker, gfn_t start, gfn_t end)
{
	struct kvm_lpage_job *job = worker->job;
	struct kvm *kvm = job->kvm;
	struct kvm_mmu_page *root;

	read_lock(&kvm->mmu_lock);

	kvm_lpage_for_each_root(kvm, root, job->slot->as_id)
		lpage_log_root(worker, root, start, end);

	read_unlock(&kvm->mmu_lock);
}

bool kvm_tdp_mmu_log_slot(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
	struct kvm_lpage_job job = {
		.kvm = kvm,
		.slot = slot,
		.start = slot->base_gfn,
		.end = slot->base_gfn + slot->npages,
		.split = READ_ONCE(eager_page_split),
		.fn = lpage_log_chunk,
	};

	if (!READ_ONCE(lpage_split))
		return false;

	kvm_lpage_run(&job);
	return true;
}

/*
 * Protect the masked GFNs of [start, end) in a root, and split the huge pages that
 * they lie in, until that is done or page tables are wanted.  Returns the GFN to
 * go on from.
 */
static gfn_t lpage_log_masked_batch(struct lpage_log *log, struct kvm_mmu_page *root,
				    gfn_t base, unsigned long mask,
				    gfn_t start, gfn_t end)
{
	struct tdp_iter iter;
	gfn_t next = end;

	log->nr_wanted = 0;

	rcu_read_lock();

	for_each_tdp_pte_min_level(iter, log->kvm, root, PG_LEVEL_2M, start, end) {
		if (!is_shadow_present_pte(iter.old_spte))
			continue;

		if (is_large_pte(iter.old_spte)) {
			if (!log->split) {
				lpage_protect_huge_spte(log, &iter);
				continue;
			}

			/* With mmu_lock held for write nobody is faster. */
			if (lpage_split_huge_spte(log, &iter, 0) == -ENOMEM) {
				next = lpage_want_tables(log, &iter, start, end);
				break;
			}
		}

		if (iter.level == PG_LEVEL_2M)
			lpage_protect_masked(log, &iter, base, mask);
	}

	rcu_read_unlock();

	return next;
}

/*
 * Page tables for what is left of one call from user space, which may be a single
 * page or the rest of the slot.  Called and returns with mmu_lock held for write,
 * but gives it up in between.
 */
static int lpage_fill_masked(struct lpage_log *log, const struct kvm_memory_slot *slot,
			     gfn_t next)
	__releases(&log->kvm->mmu_lock)
	__acquires(&log->kvm->mmu_lock)
{
	u64 left = slot->base_gfn + slot->npages - next, now;
	struct kvm_lpage *lpage = &log->kvm->arch.lpage;
	int nr;

	left = min_t(u64, left, kvm_lpage_chunk(log->kvm));
	nr = DIV_ROUND_UP(left, KVM_PAGES_PER_HPAGE(PG_LEVEL_2M));

	write_unlock(&log->kvm->mmu_lock);

	while (kvm_lpage_pace_sleep(&lpage->pace))
		;
	now = ktime_get_ns();
	nr = kvm_lpage_pool_fill(&lpage->pool, log->nid, max(nr, log->nr_wanted));
	if (nr > 0)
		kvm_lpage_pace_add(&lpage->pace, now,
				   nr * KVM_PAGES_PER_HPAGE(PG_LEVEL_2M));
	cond_resched();

	write_lock(&log->kvm->mmu_lock);

	return nr;
}

static void lpage_log_masked_root(struct kvm *kvm, struct kvm_mmu_page *root,
				  const struct kvm_memory_slot *slot,
				  gfn_t base, unsigned long mask)
{
	bool split = READ_ONCE(eager_page_split) &&
		     kvm_dirty_log_manual_protect_and_init_set(kvm);
	gfn_t gfn = base + __ffs(mask), end = base + __fls(mask) + 1;
	struct lpage_log log;

	lpage_log_init(&log, kvm, root, false);

	for (;;) {
		log.pool = kvm->arch.lpage.pool;
		log.no_memory = split && kvm->arch.lpage.no_memory;
		log.split = split && !log.no_memory && !fatal_signal_pending(current);

		gfn = lpage_log_masked_batch(&log, root, base, mask, gfn, end);
		if (gfn >= end)
			break;

		if (lpage_fill_masked(&log, slot, gfn) == -ENOMEM)
			kvm->arch.lpage.no_memory = true;
	}
}

bool kvm_tdp_mmu_log_masked(struct kvm *kvm, const struct kvm_memory_slot *slot,
			    gfn_t gfn_offset, unsigned long mask)
{
	struct kvm_mmu_page *root;

	lockdep_assert_held(&kvm->slots_lock);
	lockdep_assert_held_write(&kvm->mmu_lock);

	if (!READ_ONCE(lpage_split))
		return false;

	/* The caller goes from word to word for as long as there are any. */
	if (need_resched() || rwlock_is_contended(&kvm->mmu_lock)) {
		write_unlock(&kvm->mmu_lock);
		cond_resched();
		write_lock(&kvm->mmu_lock);
	}

	kvm_lpage_for_each_root(kvm, root, slot->as_id)
		lpage_log_masked_root(kvm, root, slot, slot->base_gfn + gfn_offset,
				      mask);

	return true;
}

/*
 * Split what maps GFNs on both sides of @gfn in one root.  Returns -ENOMEM if a page
 * table is wanted.  Nothing is protected: the SPTEs next to @gfn are somebody
 * else's, who is about to zap those of one side and then flushes.
 */
static int lpage_split_root_at(struct lpage_log *log, struct kvm_mmu_page *root,
			       gfn_t gfn)
{
	struct tdp_iter iter;
	int r = 0;

	lockdep_assert_held_read(&log->kvm->mmu_lock);

	rcu_read_lock();

	for_each_tdp_pte_min_level(iter, log->kvm, root, PG_LEVEL_2M, gfn, gfn + 1) {
		if (!(gfn & (KVM_PAGES_PER_HPAGE(iter.level) - 1)))
			break;

		if (!is_shadow_present_pte(iter.old_spte) || !is_large_pte(iter.old_spte))
			continue;

		r = lpage_split_huge_spte(log, &iter, 0);
		if (r == -ENOMEM)
			break;
		/* If it was not huge any more, a vCPU has split it. */
		if (!r)
			log->nr_tables++;
		r = 0;
	}

	rcu_read_unlock();

	return r;
}

/*
 * Called and returns with mmu_lock held for read, but gives it up in between.  Returns
 * how many large pages were split, or an error.
 */
static int lpage_split_at(struct kvm *kvm, struct kvm_lpage_pool **pool,
			  struct kvm_mmu_page *root, gfn_t gfn)
	__releases(&kvm->mmu_lock)
	__acquires(&kvm->mmu_lock)
{
	struct lpage_log log;
	int r;

	lpage_log_init(&log, kvm, root, true);

	for (;;) {
		log.pool = *pool;
		if (!lpage_split_root_at(&log, root, gfn))
			return log.nr_tables;

		read_unlock(&kvm->mmu_lock);
		r = kvm_lpage_pool_fill(pool, log.nid, 1);
		read_lock(&kvm->mmu_lock);

		if (r < 0) {
			atomic64_inc(&kvm->stat.lpage_split_nomem);
			return r;
		}
	}
}

int kvm_tdp_mmu_split_at(struct kvm *kvm, int as_id, gfn_t gfn)
{
	struct kvm_lpage_pool *pool = NULL;
	struct kvm_mmu_page *root;
	int r, err = 0, nr = 0;

	if (!READ_ONCE(lpage_split) || !tdp_mmu_enabled)
		return -EOPNOTSUPP;

	read_lock(&kvm->mmu_lock);

	kvm_lpage_for_each_root(kvm, root, as_id) {
		r = lpage_split_at(kvm, &pool, root, gfn);
		if (r < 0)
			err = r;
		else
			nr += r;
	}

	read_unlock(&kvm->mmu_lock);

	kvm_lpage_pool_free(&pool);

	return err ?: nr;
}

/*
 * An odd GFN is at the border of no large page.
 *
 * A vCPU may be about to map the 2M by a huge SPTE, for it has seen a 2M RMP entry
 * before.  It either does so before the split, or finds that it was invalidated.
 */
int kvm_lpage_split_gfn(struct kvm *kvm, gfn_t gfn)
{
	gfn_t start = gfn_round_for_level(gfn, PG_LEVEL_2M);
	int r;

	write_lock(&kvm->mmu_lock);
	kvm_mmu_invalidate_start(kvm);
	kvm_mmu_invalidate_range_add(kvm, start, start + KVM_PAGES_PER_HPAGE(PG_LEVEL_2M));
	write_unlock(&kvm->mmu_lock);

	r = kvm_tdp_mmu_split_at(kvm, 0, gfn | 1);
	kvm_flush_remote_tlbs_range(kvm, start, KVM_PAGES_PER_HPAGE(PG_LEVEL_2M));

	write_lock(&kvm->mmu_lock);
	kvm_mmu_invalidate_end(kvm);
	write_unlock(&kvm->mmu_lock);

	return min(r, 0);
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(kvm_lpage_split_gfn);

void kvm_arch_dirty_log_done(struct kvm *kvm)
{
	lockdep_assert_held(&kvm->slots_lock);

	kvm_lpage_pool_free(&kvm->arch.lpage.pool);
	mmu_free_vm_memory_caches(kvm);
	atomic64_set(&kvm->arch.lpage.pace.next, 0);
	kvm->arch.lpage.no_memory = false;
}

#ifdef CONFIG_KVM_LPAGE_KUNIT_TEST
#include "tests/lpage_split_kunit.c"
#endif
