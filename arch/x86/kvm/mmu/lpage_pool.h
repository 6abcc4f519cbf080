/* SPDX-License-Identifier: GPL-2.0 */
/* Page tables in store, for huge pages to be split into. */
#ifndef __KVM_X86_MMU_LPAGE_POOL_H
#define __KVM_X86_MMU_LPAGE_POOL_H

#include <linux/kvm_host.h>

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

#endif /* __KVM_X86_MMU_LPAGE_POOL_H */
