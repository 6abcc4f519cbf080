/* SPDX-License-Identifier: GPL-2.0 */
/* What lpage_rmp.c asks of the CPU. */
#ifndef __KVM_X86_SVM_LPAGE_RMP_H
#define __KVM_X86_SVM_LPAGE_RMP_H

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

#endif /* __KVM_X86_SVM_LPAGE_RMP_H */
