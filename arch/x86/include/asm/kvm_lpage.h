/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a VM knows about the life cycle of its large pages.  For the rest see
 * arch/x86/kvm/mmu/lpage.h.
 */
#ifndef _ASM_X86_KVM_LPAGE_H
#define _ASM_X86_KVM_LPAGE_H

#include <linux/atomic.h>
#include <linux/types.h>

struct kvm_lpage_crew;
struct kvm_lpage_pool;
struct kvm_lpage_unmix;

/* For a limit on the rate of some work. */
struct kvm_lpage_pace {
	atomic64_t next;	/* when more may be done, in ns of ktime_get_ns() */
};

/* Part of struct kvm_arch; protected by slots_lock. */
struct kvm_lpage {
	/* KVM_CAP_X86_LPAGE_SPLIT, 0 where the default holds. */
	unsigned int chunk;	/* 4K pages */
	unsigned int threads;

	/* From one word of the dirty bitmap to the next, within one ioctl. */
	struct kvm_lpage_pool *pool;
	struct kvm_lpage_pace pace;
	bool no_memory;		/* a page table could not be allocated */

	/* What is to be put back after it was private and shared in part. */
	struct kvm_lpage_unmix *unmix;

	/* 2M of which the RMP entries are being merged, or 0; vCPUs look at it. */
	u64 merging;

	/*
	 * GFN of the last 2M that were, and in the low bits a count; vCPUs look at it, and
	 * each keeps the last value that it has tried again for.
	 */
	u64 merged;

	/* The threads of the last operation, if they could not end yet. */
	struct kvm_lpage_crew *crew;

	/* What kvm_vm_stat.mmu_cache_bytes has of the caches for eager splitting. */
	u64 split_cache_bytes;
};

struct kvm;
struct kvm_vcpu;

/*
 * Map the 2M around @gfn by 4K, in place, in what vCPUs use outside of SMM, and flush the
 * TLBs: its RMP entry has been smashed.  May sleep.  Returns 0 or an error, with which
 * it may still be mapped by a large page.
 */
int kvm_lpage_split_gfn(struct kvm *kvm, u64 gfn);

/*
 * If the RMP entries of the 2M around @gfn are being merged, wait for the end of that,
 * unless the task is being killed, and return true: whatever was found out about them
 * before does not count.  True as well, once for each vCPU, if they were the last to be
 * merged: the vCPU's fault may be from before the end of that.
 */
bool kvm_lpage_wait_merge(struct kvm_vcpu *vcpu, u64 gfn);

/* Wait for the end of any that is under way, for a vCPU that has a VMSA in the VM's memory. */
void kvm_lpage_wait_merges(struct kvm *kvm);

/*
 * The vCPU has stopped to run nested guests: free what only their shadow page tables
 * take.  Called by the vCPU's own thread, or when nobody else uses it.
 */
void kvm_lpage_leave_nested(struct kvm_vcpu *vcpu);

#endif /* _ASM_X86_KVM_LPAGE_H */
