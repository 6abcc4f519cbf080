/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included ahead of lpage_convert.c, by KVM's Makefile, if its KUnit suite is built; see
 * svm/tests/sev_mock.h, which does the same for sev.c.
 */
#ifndef __KVM_X86_MMU_TESTS_LPAGE_CONVERT_MOCK_H
#define __KVM_X86_MMU_TESTS_LPAGE_CONVERT_MOCK_H

/* That of lpage_convert.c, for the headers that it includes are included here. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>

#include <kunit/static_stub.h>

#include "../lpage.h"
#include "../mmu_internal.h"

static void convert_mock_with_block(struct kvm_memory_slot *slot, gfn_t gfn,
				    void (*fn)(kvm_pfn_t pfn, void *data), void *data)
{
	KUNIT_STATIC_STUB_REDIRECT(convert_mock_with_block, slot, gfn, fn, data);
	kvm_gmem_with_block(slot, gfn, fn, data);
}

static int convert_mock_gmem_max_mapping_level(struct kvm *kvm, kvm_pfn_t pfn, bool is_private)
{
	KUNIT_STATIC_STUB_REDIRECT(convert_mock_gmem_max_mapping_level, kvm, pfn, is_private);
	return kvm_x86_call(gmem_max_mapping_level)(kvm, pfn, is_private);
}

static int convert_mock_promote(struct kvm *kvm, const struct kvm_memory_slot *slot, int level,
				gfn_t gfn, const struct kvm_lpage_private *private)
{
	KUNIT_STATIC_STUB_REDIRECT(convert_mock_promote, kvm, slot, level, gfn, private);
	return kvm_tdp_mmu_promote_gfn(kvm, slot, level, gfn, private);
}

static struct kvm_memory_slot *convert_mock_memslot(struct kvm *kvm, gfn_t gfn)
{
	KUNIT_STATIC_STUB_REDIRECT(convert_mock_memslot, kvm, gfn);
	return gfn_to_memslot(kvm, gfn);
}

static int convert_mock_gmem_merge(struct kvm *kvm, kvm_pfn_t pfn, gfn_t gfn,
				   void (*map)(void *), void *data)
{
	KUNIT_STATIC_STUB_REDIRECT(convert_mock_gmem_merge, kvm, pfn, gfn, map, data);
	return kvm_x86_call(gmem_merge)(kvm, pfn, gfn, map, data);
}

#define kvm_gmem_with_block	convert_mock_with_block
#define kvm_tdp_mmu_promote_gfn	convert_mock_promote
#define gfn_to_memslot		convert_mock_memslot

#undef kvm_x86_call
#define kvm_x86_call(func)	convert_mock_##func

#endif /* __KVM_X86_MMU_TESTS_LPAGE_CONVERT_MOCK_H */
