/* SPDX-License-Identifier: GPL-2.0 */
/* What lpage_rmp.c asks of the CPU, and what it does for kvm_gmem_populate(). */
#ifndef __KVM_X86_SVM_LPAGE_RMP_H
#define __KVM_X86_SVM_LPAGE_RMP_H

#include <linux/kvm_host.h>
#include <linux/mm.h>

#include <asm/sev.h>

/*
 * RMPUPDATE as it is, without the kernel's rmpupdate(): that would split the direct map
 * for a 4K page.  These pages are private already, and stay it, so that what the
 * direct map may be written through does not change.
 */
static inline int lpage_rmpupdate(u64 pfn, struct rmp_state *state)
{
	unsigned long paddr = pfn << PAGE_SHIFT;
	int ret;

	do {
		asm volatile(".byte 0xf2, 0x0f, 0x01, 0xfe"
			     : "=a" (ret)
			     : "a" (paddr), "c" (state)
			     : "memory", "cc");
	} while (ret == RMPUPDATE_FAIL_OVERLAP);

	return ret;
}

/**
 * sev_gmem_populate_run() - give the firmware pages that follow each other, to launch
 * @kvm: an SNP guest that is not launched yet
 * @gfn: of the first page
 * @pfn: of the first page
 * @src: what to copy to the pages, or NULL
 * @nr: how many there are at most
 *
 * As many as are shared and have a source that can be read: where one after the first is
 * not, the run ends before it, as if each were taken by itself.  All of a run are copied
 * before the first of them is private, and the direct map is looked at once for them.
 *
 * Who calls this has the firmware launch page after page, and takes back by
 * SNP_PAGE_RECLAIM (SEV-SNP firmware ABI) what it does not launch.
 *
 * Context: process, with the pages kept in their file and nobody else preparing them.
 *
 * Return: how many; -EEXIST if the first is assigned, -EINVAL if it has no RMP entry, -EFAULT
 * if its source cannot be read, or as rmp_make_private(): then nothing has become private.
 */
int sev_gmem_populate_run(struct kvm *kvm, gfn_t gfn, kvm_pfn_t pfn,
			  const void __user *src, int nr);

#endif /* __KVM_X86_SVM_LPAGE_RMP_H */
