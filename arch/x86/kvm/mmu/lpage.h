/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The life cycle of large pages in the TDP MMU.
 *
 * Splitting replaces a huge SPTE by a page table when dirty logging needs 4K
 * granularity, and protects the pages in the same step.  Promotion puts the huge
 * SPTE back over a page table that is no longer needed, by replacing one entry
 * and without provoking a single vCPU fault.
 *
 * lpage_spte.c computes SPTE values from SPTE values and nothing else.
 * lpage_split.c and lpage_promote.c walk, lock, flush and free, and their callers
 * in mmu.c and x86.c decide when.  lpage_pool.c has page tables in store, and
 * lpage_work.c shares the work out among threads.  lpage_convert.c does both for
 * memory that becomes private or shared.  lpage_cache.c is about what vCPUs have in store.
 */
#ifndef __KVM_X86_MMU_LPAGE_H
#define __KVM_X86_MMU_LPAGE_H

#include <linux/kvm_host.h>
#include <linux/kvm_lpage.h>

struct vhost_task;

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

/*
 * Page tables that are allocated and charged, but linked to nothing yet.  A pool
 * belongs to one thread, or is protected by slots_lock.
 */
struct kvm_lpage_pool {
	int nr_filled;					/* so far, used ones included */
	DECLARE_FLEX_ARRAY(struct list_head, free);	/* by NUMA node */
};

/*
 * Add page tables of the NUMA node @nid to *@pool, which is created if it is NULL:
 * up to @nr, but no more than were taken before, or a few, as nobody knows how
 * many will be needed.  May sleep.  Returns how many, -ENOMEM if not even one was
 * to be had, -EINTR if the task is being killed.
 */
int kvm_lpage_pool_fill(struct kvm_lpage_pool **pool, int nid, int nr);

/* A page table of the node, or NULL if there is none left or no pool at all. */
struct kvm_mmu_page *kvm_lpage_pool_get(struct kvm_lpage_pool *pool, int nid);

/* Give back what was got and not linked. */
void kvm_lpage_pool_put(struct kvm_lpage_pool *pool, int nid,
			struct kvm_mmu_page *sp);

/* Free the pool, if there is one, and what is left in it. */
void kvm_lpage_pool_free(struct kvm_lpage_pool **pool);

/* Free the page tables of a list, which nothing links to and nobody walks. */
void kvm_lpage_free_tables(struct list_head *tables);

/*
 * If no more may be done yet, by the module parameter lpage_rate_mbps, sleep a while
 * and return true, to be called again.  A thread that has a signal, perhaps to
 * stop, need not wait.
 */
bool kvm_lpage_pace_sleep(struct kvm_lpage_pace *pace);

/* Count 4K @pages as done, begun at @start, in ns of ktime_get_ns(). */
void kvm_lpage_pace_add(struct kvm_lpage_pace *pace, u64 start, u64 pages);

/* One thread's share of a job. */
struct kvm_lpage_worker {
	struct kvm_lpage_job *job;
	struct kvm_lpage_pool *pool;	/* freed when the share is done */
	u64 nr_pages;			/* 4K pages of this chunk that took work */

	/* For all but the caller. */
	struct kvm_lpage_crew *crew;
	struct vhost_task *task;
};

/*
 * Private memory that is in one piece: 2M from @pfn on, which is aligned to that, as
 * of when mmu_invalidate_seq of the VM was @mmu_seq.
 */
struct kvm_lpage_private {
	kvm_pfn_t pfn;
	unsigned long mmu_seq;
};

/*
 * Work on the GFNs [start, end) of a memslot.  The caller sets the fields above
 * the line, and all others to zero.
 */
struct kvm_lpage_job {
	struct kvm *kvm;
	const struct kvm_memory_slot *slot;
	gfn_t start;
	gfn_t end;
	bool split;			/* for those who may or may not */
	const struct kvm_lpage_private *private;	/* to promote, if it is */
	/*
	 * Do the GFNs [start, end) of one chunk, whose ends other than those of
	 * the job are aligned to 2M.  Called by several threads at a time.
	 */
	void (*fn)(struct kvm_lpage_worker *worker, gfn_t start, gfn_t end);

	/* ---- */
	atomic64_t next;		/* first GFN that no thread has taken on */
	unsigned int chunk;		/* 4K pages */
	struct kvm_lpage_pace pace;
	bool killed;			/* the task is dying: do what is owed, no more */
	bool no_memory;			/* a page table could not be allocated */
	bool stale;			/* @private does not hold any more */
};

/*
 * Do a job, by as many threads as the size of the job and the settings of the VM
 * ask for; all of it is done when this returns.  @job->fn is called for every
 * chunk, whatever happens.  The caller holds slots_lock and no spinning lock.
 */
void kvm_lpage_run(struct kvm_lpage_job *job);

/*
 * The valid root of an address space after @root, or the first one for NULL, with
 * a reference; that of @root is put.  The caller holds mmu_lock, but may give it up
 * between calls, and slots_lock, so that no root becomes invalid.  What is done
 * to a mirror root would have to be forwarded to its owner; they are left out.
 */
struct kvm_mmu_page *kvm_lpage_next_root(struct kvm *kvm, struct kvm_mmu_page *root,
					 int as_id);

#define kvm_lpage_for_each_root(kvm, root, as_id)		\
	for (root = kvm_lpage_next_root(kvm, NULL, as_id);	\
	     root; root = kvm_lpage_next_root(kvm, root, as_id))

/*
 * Let the statistics follow what is in the caches of a vCPU, for its own thread or when
 * nobody else uses it; or in those for eager splitting of what nested guests map, for
 * who holds slots_lock, or when the VM has no other users.
 */
void kvm_lpage_count_caches(struct kvm_vcpu *vcpu);
void kvm_lpage_count_split_caches(struct kvm *kvm);

/* 4K pages, a multiple of 512, that a thread takes on at a time. */
unsigned int kvm_lpage_chunk(struct kvm *kvm);

#ifdef CONFIG_X86_64
/* Wait for threads that could not end with the operation they were part of. */
void kvm_lpage_pre_destroy_vm(struct kvm *kvm);

/* KVM_CAP_X86_LPAGE_SPLIT; see there. */
int kvm_lpage_check_cap(void);
int kvm_lpage_enable_cap(struct kvm *kvm, const struct kvm_enable_cap *cap);
#else
static inline void kvm_lpage_pre_destroy_vm(struct kvm *kvm)
{
}

static inline int kvm_lpage_check_cap(void)
{
	return 0;
}

static inline int kvm_lpage_enable_cap(struct kvm *kvm,
				       const struct kvm_enable_cap *cap)
{
	return -EINVAL;
}
#endif

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
