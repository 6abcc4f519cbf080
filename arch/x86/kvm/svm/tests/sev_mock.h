/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included ahead of sev.c, by KVM's Makefile, if its KUnit suite is built: a test can
 * then take the place of what its functions ask of the RMP and of the rest of KVM, by
 * kunit_activate_static_stub() on the functions below.  While no test runs, each is
 * the real thing behind a static key.
 */
#ifndef __KVM_X86_SVM_TESTS_SEV_MOCK_H
#define __KVM_X86_SVM_TESTS_SEV_MOCK_H

/* That of sev.c, for the headers that it includes are included here. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cacheflush.h>
#include <linux/cc_platform.h>
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/once_lite.h>
#include <linux/psp-sev.h>

#include <asm/sev.h>

#include <kunit/static_stub.h>

#include "../../mmu.h"
#include "../lpage_rmp.h"

static bool sev_mock_platform_has(enum cc_attr attr)
{
	KUNIT_STATIC_STUB_REDIRECT(sev_mock_platform_has, attr);
	return cc_platform_has(attr);
}

static int sev_mock_lookup(u64 pfn, bool *assigned, int *level)
{
	KUNIT_STATIC_STUB_REDIRECT(sev_mock_lookup, pfn, assigned, level);
	return snp_lookup_rmpentry(pfn, assigned, level);
}

static int sev_mock_make_private(u64 pfn, u64 gpa, enum pg_level level, u32 asid,
				 bool immutable)
{
	KUNIT_STATIC_STUB_REDIRECT(sev_mock_make_private, pfn, gpa, level, asid, immutable);
	return rmp_make_private(pfn, gpa, level, asid, immutable);
}

/* svm.h comes later. */
int sev_gmem_private_run(kvm_pfn_t pfn, gfn_t gfn, u32 asid);

static int sev_mock_private_run(kvm_pfn_t pfn, gfn_t gfn, u32 asid)
{
	KUNIT_STATIC_STUB_REDIRECT(sev_mock_private_run, pfn, gfn, asid);
	return sev_gmem_private_run(pfn, gfn, asid);
}

#ifdef KVM_LPAGE_POPULATE
static int sev_mock_populate_run(struct kvm *kvm, gfn_t gfn, kvm_pfn_t pfn,
				 const void __user *src, int nr)
{
	KUNIT_STATIC_STUB_REDIRECT(sev_mock_populate_run, kvm, gfn, pfn, src, nr);
	return sev_gmem_populate_run(kvm, gfn, pfn, src, nr);
}

#define sev_gmem_populate_run	sev_mock_populate_run
#endif

/* Commands of a guest's, by /dev/sev, and others. */
static int sev_mock_issue_cmd(struct file *file, unsigned int id, void *data, int *error)
{
	KUNIT_STATIC_STUB_REDIRECT(sev_mock_issue_cmd, file, id, data, error);
	return sev_issue_cmd_external_user(file, id, data, error);
}

static int sev_mock_do_cmd(int cmd, void *data, int *error)
{
	KUNIT_STATIC_STUB_REDIRECT(sev_mock_do_cmd, cmd, data, error);
	return sev_do_cmd(cmd, data, error);
}

static int sev_mock_make_shared(u64 pfn, enum pg_level level)
{
	KUNIT_STATIC_STUB_REDIRECT(sev_mock_make_shared, pfn, level);
	return rmp_make_shared(pfn, level);
}

static int sev_mock_psmash(u64 pfn)
{
	KUNIT_STATIC_STUB_REDIRECT(sev_mock_psmash, pfn);
	return psmash(pfn);
}

static void sev_mock_clflush(void *addr, unsigned int size)
{
	KUNIT_STATIC_STUB_REDIRECT(sev_mock_clflush, addr, size);
	clflush_cache_range(addr, size);
}

static struct kvm_memory_slot *sev_mock_memslot(struct kvm *kvm, gfn_t gfn)
{
	KUNIT_STATIC_STUB_REDIRECT(sev_mock_memslot, kvm, gfn);
	return gfn_to_memslot(kvm, gfn);
}

#ifndef SEV_KUNIT_COMPAT
static int sev_mock_gmem_get_pfn(struct kvm *kvm, struct kvm_memory_slot *slot, gfn_t gfn,
				 kvm_pfn_t *pfn, struct page **page, int *max_order)
{
	KUNIT_STATIC_STUB_REDIRECT(sev_mock_gmem_get_pfn, kvm, slot, gfn, pfn, page, max_order);
	return kvm_gmem_get_pfn(kvm, slot, gfn, pfn, page, max_order);
}

#define kvm_gmem_get_pfn	sev_mock_gmem_get_pfn
#endif

static void sev_mock_zap(struct kvm *kvm, gfn_t start, gfn_t end)
{
	KUNIT_STATIC_STUB_REDIRECT(sev_mock_zap, kvm, start, end);
	kvm_zap_gfn_range(kvm, start, end);
}

static int sev_mock_split_gfn(struct kvm *kvm, gfn_t gfn)
{
	KUNIT_STATIC_STUB_REDIRECT(sev_mock_split_gfn, kvm, gfn);
	return kvm_lpage_split_gfn(kvm, gfn);
}

static bool sev_mock_wait_merge(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	KUNIT_STATIC_STUB_REDIRECT(sev_mock_wait_merge, vcpu, gfn);
	return kvm_lpage_wait_merge(vcpu, gfn);
}

static void sev_mock_release_page(struct page *page)
{
	KUNIT_STATIC_STUB_REDIRECT(sev_mock_release_page, page);
	kvm_release_page_unused(page);
}

/* Whether to really warn: where a test wants a warning, the kernel need not panic. */
static bool sev_mock_warn(bool condition)
{
	KUNIT_STATIC_STUB_REDIRECT(sev_mock_warn, condition);
	return condition;
}

#define cc_platform_has		sev_mock_platform_has
#define snp_lookup_rmpentry	sev_mock_lookup
#define rmp_make_private	sev_mock_make_private
#define rmp_make_shared		sev_mock_make_shared
#define sev_gmem_private_run	sev_mock_private_run
#define sev_issue_cmd_external_user sev_mock_issue_cmd
#define sev_do_cmd		sev_mock_do_cmd
#define psmash			sev_mock_psmash
#define clflush_cache_range	sev_mock_clflush
#define gfn_to_memslot		sev_mock_memslot
#define kvm_zap_gfn_range	sev_mock_zap
#define kvm_lpage_split_gfn	sev_mock_split_gfn
#define kvm_lpage_wait_merge	sev_mock_wait_merge
#define kvm_release_page_unused	sev_mock_release_page

#undef WARN_ONCE
#define WARN_ONCE(condition, format...)						\
({										\
	bool __condition = !!(condition);					\
										\
	DO_ONCE_LITE_IF(sev_mock_warn(__condition), WARN, 1, format);		\
	__condition;								\
})

#endif /* __KVM_X86_SVM_TESTS_SEV_MOCK_H */
