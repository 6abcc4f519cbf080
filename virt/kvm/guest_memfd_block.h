/* SPDX-License-Identifier: GPL-2.0 */
/*
 * guest_memfd memory in blocks of 2M.
 *
 * A block is 512 pages that are next to one another in the file and in physical
 * memory, aligned to 2M in both, and otherwise pages like all others: each has
 * a reference count of its own, and can be punched out of the file and freed alone.
 * That is why a change between private and shared neither splits nor merges
 * anything here.  What makes them a block is that the file has a record of it,
 * which is forgotten with the first page that leaves.
 *
 * A block is prepared once all of its pages are, i.e. zeroed and, where the
 * architecture says so, given to the guest.  Only then may a guest map it by one
 * large page.
 *
 * Lock order: slots_lock, the mapping's invalidate_lock, a block's mutex, folio
 * locks.  What makes blocks holds invalidate_lock, shared or not; what takes pages
 * away holds it exclusively.
 */
#ifndef __KVM_GUEST_MEMFD_BLOCK_H
#define __KVM_GUEST_MEMFD_BLOCK_H

#include <linux/kvm_host.h>
#include <linux/kvm_lpage.h>

#define KVM_GMEM_BLOCK_ORDER	(PMD_SHIFT - PAGE_SHIFT)
#define KVM_GMEM_BLOCK_PAGES	BIT(KVM_GMEM_BLOCK_ORDER)

/*
 * What @flags, those of KVM_CREATE_GUEST_MEMFD, make of a new file of @size bytes:
 * 0 or, when blocks were asked for, -EINVAL if the size is not a multiple of 2M and
 * -EOPNOTSUPP if there are none to be had.
 */
int kvm_gmem_check_blocks(loff_t size, u64 flags);

/*
 * Have blocks in the file @inode of @kvm from now on, unless the administrator
 * does not want them.  Nobody uses the file yet.  Returns -ENOMEM or 0.
 */
int kvm_gmem_init_blocks(struct kvm *kvm, struct inode *inode, u64 flags);

/* The file is closed, and mapped nowhere any more.  The caller holds invalidate_lock. */
void kvm_gmem_exit_blocks(struct inode *inode);

/*
 * If no page of the block around page @index of the file is there yet, have them
 * all.  The caller holds invalidate_lock; if it is @writing, exclusively, to a page that
 * may not be prepared after all.  Returns -ENOMEM if there is no such
 * block to be had and blocks were asked for; otherwise it is single pages then,
 * and 0.
 */
int kvm_gmem_fill_block(struct inode *inode, pgoff_t index, bool writing);

/*
 * Before a page is mapped: if the file has blocks, have the one around @gfn, in @file and
 * in @slot, prepared if all of it may be, or else that page alone.  May sleep.  The
 * caller keeps the slot from going away.
 *
 * Returns 0, -ENOMEM, -EHWPOISON if the page is lost, -EINTR for a task that is being
 * killed, or what the architecture returns if it refuses the page.
 */
int kvm_gmem_prepare_block(struct kvm *kvm, struct kvm_memory_slot *slot,
			   struct file *file, gfn_t gfn);

/*
 * Pages of a file with blocks are prepared by kvm_gmem_prepare_block() and nothing else:
 * one that is found not to be prepared after that has come later, or is just being
 * given to the guest together with its block, and must not be touched.
 */
bool kvm_gmem_has_blocks(struct file *file);

/*
 * The order of the pages by which @slot may map the page @index of the file, whose
 * PFN is @pfn.  The answer holds until an invalidation of the range begins.
 */
int kvm_gmem_block_order(struct kvm_memory_slot *slot, struct inode *inode,
			 pgoff_t index, kvm_pfn_t pfn);

/*
 * How many pages kvm_gmem_populate() may populate at once from @gfn on, the page @index of
 * the file, whose PFN is @pfn and which is not prepared: as an order that fits @gfn and
 * @npages, and no page of the block that is prepared or lost.  The caller holds
 * invalidate_lock exclusively.
 */
int kvm_gmem_populate_order(struct inode *inode, pgoff_t index, gfn_t gfn, kvm_pfn_t pfn,
			    long npages);

/*
 * The callback has populated pages from @pfn on: all of @order if it has returned 0 as @ret,
 * and if that is positive, so many before it failed.  None of them is zeroed later.
 * Returns how many there are before the one that has failed.
 */
int kvm_gmem_mark_populated(kvm_pfn_t pfn, int order, int ret);

/*
 * For as long as [start, end) is being invalidated, nobody may map a block that it is a
 * part of: a vCPU that faults on another part has perhaps looked it up before.
 * The caller holds mmu_lock, with the invalidation begun.
 */
static inline void kvm_gmem_invalidate_blocks(struct kvm *kvm, gfn_t start, gfn_t end)
{
	kvm_mmu_invalidate_range_add(kvm, ALIGN_DOWN(start, KVM_GMEM_BLOCK_PAGES),
				     ALIGN(end, KVM_GMEM_BLOCK_PAGES));
}

/*
 * Pages [start, end) are about to leave the file, or not to be trusted any more.
 * They are mapped nowhere, and faults on them wait for the invalidation to end.
 * With @freed, whole blocks are taken back from the guest at once.  The caller
 * holds invalidate_lock, exclusively if @freed.
 */
void kvm_gmem_forget_blocks(struct address_space *mapping, pgoff_t start,
			    pgoff_t end, bool freed);

#endif /* __KVM_GUEST_MEMFD_BLOCK_H */
