/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What Linux 6.12 lacks of set_memory.c that directmap.c is written against.  Included
 * there, ahead of it.
 */
#ifndef __SNP_DIRECTMAP_COMPAT_H
#define __SNP_DIRECTMAP_COMPAT_H

#include <asm/pgalloc.h>

/* Mainline keeps account of the kernel's page tables, and knows them by a flag. */
static inline bool directmap_compat_ctor(struct mm_struct *mm, struct ptdesc *table)
{
	return true;
}

#define pagetable_pte_ctor directmap_compat_ctor

static inline void ptdesc_set_kernel(struct ptdesc *table) { }

/* Mainline marks what set_memory_4k() splits. */
#define _PAGE_KERNEL_4K 0

/* Mainline, with the collapse of what set_memory_rox() makes of one kind. */
#ifdef CONFIG_PROC_FS
static void collapse_page_count(int level)
{
	direct_pages_count[level]++;
	direct_pages_count[level - 1] -= PTRS_PER_PTE;
	count_vm_event(level == PG_LEVEL_2M ? DIRECT_MAP_LEVEL2_COLLAPSE :
					      DIRECT_MAP_LEVEL3_COLLAPSE);
}
#else
static inline void collapse_page_count(int level) { }
#endif

#endif /* __SNP_DIRECTMAP_COMPAT_H */
