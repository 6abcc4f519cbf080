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

	/* The threads of the last operation, if they could not end yet. */
	struct kvm_lpage_crew *crew;
};

#endif /* _ASM_X86_KVM_LPAGE_H */
