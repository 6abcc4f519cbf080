/* SPDX-License-Identifier: GPL-2.0 */
/* Work on the large pages of a memslot, shared out among threads. */
#ifndef __KVM_X86_MMU_LPAGE_WORK_H
#define __KVM_X86_MMU_LPAGE_WORK_H

#include <linux/kvm_host.h>
#include <linux/kvm_lpage.h>

#include "lpage_pool.h"

struct vhost_task;

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

#endif /* __KVM_X86_MMU_LPAGE_WORK_H */
