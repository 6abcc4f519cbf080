/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's direct map, made of smaller pages and of larger ones again.
 *
 * Both change the size of what maps some memory, and nothing else: who looks at the
 * memory meanwhile finds it, and what it is mapped by has the same attributes.  That
 * is why no alias has to be looked for, unlike in set_memory_*(), and no cache be flushed.
 *
 * Implemented beside set_memory_*(), in arch/x86/mm/pat/directmap.c.
 */
#ifndef _ASM_X86_DIRECTMAP_H
#define _ASM_X86_DIRECTMAP_H

#include <linux/list.h>
#include <linux/types.h>

/* How many 2M regions one call may split: the bits of its results. */
#define DIRECT_MAP_MAX_REGIONS	64

/**
 * direct_map_split() - have memory mapped by 4K pages
 * @pfn: where it begins
 * @nr: how many pages; all of a 2M region of which it has some is split
 * @split_2m: bit by bit, those of its regions that were mapped by 2M (or by 1G) until now
 * @split_1g: and those whose 1G was mapped as a whole until now, first regions of it only
 *
 * When it returns, no CPU has a larger translation of any of the regions any more, even if
 * it was another task that split them.  Holes are left alone.
 *
 * Context: may sleep; the caller keeps away whoever would collapse any of it meanwhile.  One
 * round of the CPA's lock and one flush of all TLBs if something was split, the lock alone
 * if not.
 *
 * Return: 0; -ENOMEM, with nothing split, if there is no memory for page tables; -EINVAL
 * for more than DIRECT_MAP_MAX_REGIONS; -EFAULT at a large page that is not present, which
 * must have come about by set_memory_np(), with those split that are before it.
 */
int direct_map_split(unsigned long pfn, unsigned long nr, u64 *split_2m, u64 *split_1g);

/**
 * direct_map_collapse() - put a large page back, in place of its 512 parts
 * @pfn: of its first page
 * @level: PG_LEVEL_2M or PG_LEVEL_1G
 * @tables: gets the page table, for direct_map_free_tables()
 *
 * It is put back only if all parts are present and writable, are what follows the first
 * one, and have the same bits otherwise: NX, encryption, cache mode, and those that are
 * software's.  Accessed and dirty do not count, as they mean nothing there, nor does
 * global.
 *
 * The page table must have been allocated by itself, not at boot: what was split by
 * direct_map_split() is known to be.
 *
 * Context: process; the caller holds mem_hotplug_lock, by get_online_mems(), and init_mm's
 * mmap_lock against ptdump, and knows that nobody relies on the region to be mapped by 4K.
 *
 * Return: was it put back?
 */
bool direct_map_collapse(unsigned long pfn, int level, struct list_head *tables);

/**
 * direct_map_free_tables() - free what large pages were put back in place of
 * @tables: the page tables, from direct_map_collapse()
 *
 * All TLBs are flushed first: they hold translations through these tables, which are
 * right, and paging-structure caches point to the tables themselves.  Then those are waited
 * for that look up addresses with no lock.
 *
 * Context: may sleep.
 */
void direct_map_free_tables(struct list_head *tables);

#endif /* _ASM_X86_DIRECTMAP_H */
