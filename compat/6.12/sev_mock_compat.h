/* SPDX-License-Identifier: GPL-2.0 */
/*
 * In place of tests/sev_mock.h, ahead of Linux 6.12's sev.c: the same functions that a test
 * can stand in for, and what sev.c calls that mainline's has other arguments or names for.
 */
#ifndef __SEV_MOCK_COMPAT_H
#define __SEV_MOCK_COMPAT_H

#define SEV_KUNIT_COMPAT

/* Mainline populates guest_memfd page by page. */
#define KVM_LPAGE_POPULATE

/* That of sev.c, for the headers that it includes are included here. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>
#include <linux/mm.h>

#include <kunit/static_stub.h>

static inline void kvm_release_page_unused(struct page *page)
{
	put_page(page);
}

static int sev_mock_gmem_get_pfn(struct kvm *kvm, struct kvm_memory_slot *slot, gfn_t gfn,
				 kvm_pfn_t *pfn, struct page **page, int *max_order)
{
	KUNIT_STATIC_STUB_REDIRECT(sev_mock_gmem_get_pfn, kvm, slot, gfn, pfn, page, max_order);
	return kvm_gmem_get_pfn(kvm, slot, gfn, pfn, max_order);
}

#include "../../arch/x86/kvm/svm/tests/sev_mock.h"

/* Mainline gets the page together with its PFN. */
#define kvm_gmem_get_pfn(kvm, slot, gfn, pfn, max_order)			\
({										\
	struct page *__page;							\
										\
	sev_mock_gmem_get_pfn(kvm, slot, gfn, pfn, &__page, max_order);		\
})
#define put_page sev_mock_release_page

#endif /* __SEV_MOCK_COMPAT_H */
