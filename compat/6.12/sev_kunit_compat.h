/* SPDX-License-Identifier: GPL-2.0 */
/* Mainline's names for what tests/sev_kunit.c tests, behind Linux 6.12's sev.c. */
#ifndef __SEV_KUNIT_COMPAT_H
#define __SEV_KUNIT_COMPAT_H

/* 6.12 takes the order of a folio, whatever it is. */
#define sev_gmem_make_private(kvm, gfn, pfn, nr) sev_gmem_prepare(kvm, pfn, gfn, ilog2(nr))
#define is_large_rmp_possible(pfn, nr) is_large_rmp_possible(NULL, pfn, ilog2(nr))

static const int small_sizes[] = { 1, 2, 4, 8, 16, 32, 64, 128, 256 };
static const int large_sizes[] = { 512, 1024, 1 << 18, 1 << 30 };

#define sev_gmem_make_shared(pfn, nr) sev_gmem_invalidate(pfn, (pfn) + (nr))
#define sev_gmem_max_mapping_level(kvm, pfn, is_private) \
	((void)(is_private), sev_private_max_mapping_level(kvm, pfn))

/* A single page, where 6.12 takes 1 << order of them. */
#define sev_gmem_post_populate(kvm, gfn, pfn, src, opaque) \
	sev_gmem_post_populate(kvm, gfn, pfn, src, 0, opaque)

#endif /* __SEV_KUNIT_COMPAT_H */
