/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the KUnit suite of Linux 6.12's sev.c has other than mainline's: an RMP without
 * segments, and a warning at a PFN that has no entry.  Ahead of it; it includes nothing, as
 * that gives names of its own to what <asm/sev.h> declares.
 */
#ifndef __SNP_KUNIT_COMPAT_H
#define __SNP_KUNIT_COMPAT_H

#define RMP_KUNIT_COMPAT

#define RMP_LOOKUP_WARNS	1

#define rmp_set_table(entries, nr)					\
	(rmptable = (struct rmpentry *)(entries), rmptable_max_pfn = (nr) - 1)

/* Mainline's is inline. */
#define snp_leak_pages		rmp_kunit_leak_pages

#endif /* __SNP_KUNIT_COMPAT_H */
