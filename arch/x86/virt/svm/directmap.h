/* SPDX-License-Identifier: GPL-2.0 */
/* Changes of the RMP, and what the direct map has to be like for them; see directmap.c. */
#ifndef _X86_VIRT_SVM_DIRECTMAP_H
#define _X86_VIRT_SVM_DIRECTMAP_H

#include <linux/percpu.h>

#include <asm/sev.h>

/*
 * RMPUPDATE of one entry, in sev.c.  To be called by directmap.c alone.  0, or -EFAULT
 * with what is in the RMP in the kernel's log.
 */
int rmpupdate(u64 pfn, struct rmp_state *state);

/**
 * snp_directmap_update() - change entries of the RMP
 * @pfn: of the first page; of its 2M if the state is that of a 2M entry
 * @nr: how many consecutive entries
 * @state: what they become; the GPA of private pages is that of the first one
 *
 * Context: may sleep.
 *
 * Return: 0; -ENODEV without SNP; -EINVAL for what no entry can be; -ENOMEM when there
 * is no memory to split the direct map; -EFAULT when the processor refuses.  On any error
 * no page has become private.
 */
int snp_directmap_update(u64 pfn, unsigned long nr, struct rmp_state *state);

/**
 * snp_directmap_forget() - memory goes, or comes and is mapped anew
 * @pfn: of its first page
 * @nr: how many pages
 *
 * Context: may sleep; nobody has any of the memory yet.
 */
void snp_directmap_forget(u64 pfn, unsigned long nr);

/* What is counted; directmap_init.c has the names. */
enum snp_directmap_stat {
	SNP_DIRECTMAP_SKIPPED_4K,	/* regions that were mapped by 4K already */
	SNP_DIRECTMAP_SKIPPED_2M,	/* 2M entries, which need no split */
	SNP_DIRECTMAP_SPLIT_2M,
	SNP_DIRECTMAP_SPLIT_1G,
	SNP_DIRECTMAP_SPLIT_FAILED,
	SNP_DIRECTMAP_FLUSHES,
	SNP_DIRECTMAP_RESTORED_2M,
	SNP_DIRECTMAP_RESTORED_1G,
	SNP_DIRECTMAP_KEPT_PRIVATE,	/* a page of it is private */
	SNP_DIRECTMAP_KEPT_MIXED,	/* the attributes differ */
	SNP_DIRECTMAP_NR_STATS,
};

struct snp_directmap_stats {
	unsigned long nr[SNP_DIRECTMAP_NR_STATS];
};

DECLARE_PER_CPU(struct snp_directmap_stats, snp_directmap_stats);

#endif /* _X86_VIRT_SVM_DIRECTMAP_H */
