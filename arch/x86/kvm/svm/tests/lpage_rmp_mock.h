/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included ahead of lpage_rmp.c, by KVM's Makefile, if its KUnit suite is built; see
 * sev_mock.h, which does the same for sev.c.
 */
#ifndef __KVM_X86_SVM_TESTS_LPAGE_RMP_MOCK_H
#define __KVM_X86_SVM_TESTS_LPAGE_RMP_MOCK_H

/* That of lpage_rmp.c, for the headers that it includes are included here. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cacheflush.h>
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/psp-sev.h>
#include <linux/uaccess.h>

#include <asm/sev.h>

#include <kunit/static_stub.h>

#include "../lpage_rmp.h"

static int rmp_mock_lookup(u64 pfn, bool *assigned, int *level)
{
	KUNIT_STATIC_STUB_REDIRECT(rmp_mock_lookup, pfn, assigned, level);
	return snp_lookup_rmpentry(pfn, assigned, level);
}

static int rmp_mock_update(u64 pfn, struct rmp_state *state)
{
	KUNIT_STATIC_STUB_REDIRECT(rmp_mock_update, pfn, state);
	return lpage_rmpupdate(pfn, state);
}

static int rmp_mock_do_cmd(int cmd, void *data, int *error)
{
	KUNIT_STATIC_STUB_REDIRECT(rmp_mock_do_cmd, cmd, data, error);
	return sev_do_cmd(cmd, data, error);
}

static int rmp_mock_private_range(u64 pfn, u64 gpa, unsigned long nr, u32 asid, bool immutable)
{
	KUNIT_STATIC_STUB_REDIRECT(rmp_mock_private_range, pfn, gpa, nr, asid, immutable);
	return rmp_make_private_range(pfn, gpa, nr, asid, immutable);
}

static int rmp_mock_share_range(u64 pfn, unsigned long nr)
{
	KUNIT_STATIC_STUB_REDIRECT(rmp_mock_share_range, pfn, nr);
	return rmp_make_shared_range(pfn, nr);
}

#ifdef KVM_LPAGE_POPULATE
static unsigned long rmp_mock_copy(void *to, const void __user *from, unsigned long n)
{
	KUNIT_STATIC_STUB_REDIRECT(rmp_mock_copy, to, from, n);
	return copy_from_user(to, from, n);
}

#define copy_from_user		rmp_mock_copy
#endif

static void rmp_mock_clflush(void *addr, unsigned int size)
{
	KUNIT_STATIC_STUB_REDIRECT(rmp_mock_clflush, addr, size);
	clflush_cache_range(addr, size);
}

static void rmp_mock_get_page(struct page *page)
{
	KUNIT_STATIC_STUB_REDIRECT(rmp_mock_get_page, page);
	get_page(page);
}

/* Whether to really warn: where a test wants a warning, the kernel need not panic. */
static bool rmp_mock_warn(bool condition)
{
	KUNIT_STATIC_STUB_REDIRECT(rmp_mock_warn, condition);
	return condition;
}

#define snp_lookup_rmpentry	rmp_mock_lookup
#define lpage_rmpupdate		rmp_mock_update
#define sev_do_cmd		rmp_mock_do_cmd
#define get_page		rmp_mock_get_page
#undef rmp_make_private_range
#define rmp_make_private_range	rmp_mock_private_range
#define rmp_make_shared_range	rmp_mock_share_range
#define clflush_cache_range	rmp_mock_clflush

#undef WARN_ONCE
#define WARN_ONCE(condition, format...)						\
({										\
	bool __condition = !!(condition);					\
										\
	DO_ONCE_LITE_IF(rmp_mock_warn(__condition), WARN, 1, format);		\
	__condition;								\
})

#endif /* __KVM_X86_SVM_TESTS_LPAGE_RMP_MOCK_H */
