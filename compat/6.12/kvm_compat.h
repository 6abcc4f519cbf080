/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What Linux 6.12 lacks of the KVM API that our files are written against.
 * Included ahead of each of them by the compiler's command line, never by name.
 * Each shim says what mainline, as of 7.3, has in its place; a change is named by
 * its title where that is known for sure.
 */
#ifndef __KVM_LPAGE_COMPAT_H
#define __KVM_LPAGE_COMPAT_H

#ifndef pr_fmt
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt
#endif

#include <linux/kvm_host.h>

#include "kvm_cache_regs.h"
#include "mmu.h"
#include "mmu/mmu_internal.h"
#include "mmu/spte.h"
#include "mmu/tdp_iter.h"

#include <asm/sev.h>

/* A kernel that changes the RMP by ranges says so; one of the distribution's does not. */
#ifndef rmp_make_private_range
static inline int rmp_make_private_range(u64 pfn, u64 gpa, unsigned long nr, u32 asid,
					 bool immutable)
{
	unsigned long i;
	int ret = 0;

	for (i = 0; i < nr; i++) {
		ret = rmp_make_private(pfn + i, gpa + i * PAGE_SIZE, PG_LEVEL_4K, asid, immutable);
		if (ret)
			break;
	}

	/* All or none */
	while (ret && i--) {
		if (rmp_make_shared(pfn + i, PG_LEVEL_4K))
			snp_leak_pages(pfn + i, 1);
	}
	return ret;
}

static inline int rmp_make_shared_range(u64 pfn, unsigned long nr)
{
	int ret = 0;

	for (; !ret && nr; nr--, pfn++)
		ret = rmp_make_shared(pfn, PG_LEVEL_4K);
	return ret;
}
#endif

/*
 * Mainline, with TDX: roots that mirror page tables which the TDX module owns, and
 * an enum of the types of roots to select.  6.12 selects by a bool, valid or all.
 */
#define KVM_LPAGE_NO_MIRROR
#define KVM_DIRECT_ROOTS true

static inline bool is_mirror_sp(const struct kvm_mmu_page *sp)
{
	return false;
}

static inline bool kvm_has_mirrored_tdp(const struct kvm *kvm)
{
	return false;
}

/* Not reached, as no VM has them: the cache of the pages that are mirrored. */
#define mmu_external_spt_cache mmu_shadow_page_cache

/* Mainline, with TDX: the walk takes the VM, for the width of the root's GFNs. */
#undef for_each_tdp_pte_min_level
#define for_each_tdp_pte_min_level(iter, kvm, root, min_level, start, end)	\
	for ((void)(kvm), tdp_iter_start(&(iter), root, min_level, start);	\
	     (iter).valid && (iter).gfn < (end);				\
	     tdp_iter_next(&(iter)))

/* Mainline takes the fault, if any, in place of the largest level to consider. */
#define kvm_mmu_max_mapping_level(kvm, fault, slot, gfn) \
	((void)(fault), kvm_mmu_max_mapping_level(kvm, slot, gfn, PG_LEVEL_NUM))

/* Mainline knows a VM without page-modification logging on hosts that have it (TDX). */
#define kvm_cpu_dirty_log_size(kvm) ((void)(kvm), kvm_cpu_dirty_log_size())
#define lpage_dirty_log_size(kvm) (*((void)(kvm), &kvm_x86_ops.cpu_dirty_log_size))
#define kvm_mmu_page_ad_need_write_protect(kvm, sp) \
	((void)(kvm), kvm_mmu_page_ad_need_write_protect(sp))

/* Mainline has a variable in place of the function. */
#define kvm_ad_enabled kvm_ad_enabled()

/* Mainline's name, next to make_huge_spte(). */
#define make_small_spte make_huge_page_split_spte

/*
 * Mainline marks a folio dirty when it maps it for writing.  6.12 does when the SPTE
 * stops to tell that the page is dirty.
 */
#define KVM_LPAGE_WRITEBACK
static inline void kvm_lpage_writeback_dirty(u64 old_spte, u64 new_spte)
{
	if (is_dirty_spte(old_spte) && !is_dirty_spte(new_spte))
		kvm_set_pfn_dirty(spte_to_pfn(old_spte));
}

/* May an SPTE without the bits in @clear not tell any more that its page is dirty? */
static inline bool kvm_lpage_undirties(u64 clear)
{
	return !kvm_ad_enabled || (clear & shadow_dirty_mask);
}

/* Mainline, where guest_memfd serves VMs without private memory too. */
#define kvm_slot_has_gmem(slot) kvm_slot_can_be_private(slot)

/*
 * Mainline asks the same of shared memory too: the level of the RMP entry of private
 * memory, or 0 if there is no RMP.
 */
static inline int kvm_lpage_call_gmem_max_mapping_level(struct kvm *kvm, kvm_pfn_t pfn,
							bool is_private)
{
	return kvm_x86_call(private_max_mapping_level)(kvm, pfn);
}

static inline int kvm_lpage_call_gmem_merge(struct kvm *kvm, kvm_pfn_t pfn, gfn_t gfn,
					    void (*map)(void *data), void *data)
{
	return kvm_x86_call(gmem_merge)(kvm, pfn, gfn, map, data);
}

/* Mainline populates guest_memfd page by page. */
#define KVM_LPAGE_POPULATE

/* Mainline counts pages, and has a name of its own for what is done at the end. */
#ifdef CONFIG_HAVE_KVM_ARCH_GMEM_PREPARE
#define CONFIG_HAVE_KVM_ARCH_GMEM_CONVERT 1
static inline int kvm_arch_gmem_make_private(struct kvm *kvm, gfn_t gfn, kvm_pfn_t pfn,
					     kvm_pfn_t nr_pages)
{
	return kvm_arch_gmem_prepare(kvm, gfn, pfn, ilog2(nr_pages));
}
#endif

#ifdef CONFIG_HAVE_KVM_ARCH_GMEM_INVALIDATE
#define CONFIG_HAVE_KVM_ARCH_GMEM_RECLAIM 1
static inline void kvm_arch_gmem_reclaim(kvm_pfn_t pfn, kvm_pfn_t nr_pages)
{
	kvm_arch_gmem_invalidate(pfn, pfn + nr_pages);
}
#endif

/* Our files call these two alone. */
#undef kvm_x86_call
#define kvm_x86_call(func) kvm_lpage_call_##func

/* Mainline allocates by type. */
#ifndef kzalloc_obj
#define kzalloc_obj(P, gfp) kzalloc(sizeof(P), gfp)
#endif

/* Mainline's names. */
#define ____sev_snp_guest sev_snp_guest
#define kvm_mmu_invalidate_start kvm_mmu_invalidate_begin

/* Mainline exports what only the parts of KVM need to those alone. */
#define EXPORT_SYMBOL_FOR_KVM_INTERNAL(symbol) EXPORT_SYMBOL_GPL(symbol)

/* Mainline keeps execute permission apart for supervisor and user mode. */
#define shadow_xs_mask shadow_x_mask
#define shadow_xu_mask 0ull

/*
 * 6.13, "KVM: x86/mmu: Recover TDP MMU huge page mappings in-place instead of
 * zapping": the huge SPTE of @level that maps what @small_spte is a part of.
 * Large pages do not execute while the NX mitigation is on.
 */
static inline u64 make_huge_spte(struct kvm *kvm, u64 small_spte, int level)
{
	u64 offset_mask = KVM_HPAGE_SIZE(level) - PAGE_SIZE;
	u64 huge_spte = (small_spte & ~offset_mask) | PT_PAGE_SIZE_MASK;

	if (is_nx_huge_page_enabled(kvm))
		huge_spte = (huge_spte & ~shadow_x_mask) | shadow_nx_mask;

	return huge_spte;
}

/*
 * What the KUnit suites know of SPTEs.  Mainline keeps execute permission apart for user mode,
 * has moved bits for that, and takes it that there are pages to execute only, where 6.12
 * adds R to every EPT SPTE on CPUs without them.
 */
#define LPAGE_KUNIT_COMPAT
#define LPAGE_EPT_XU			0ull
#define LPAGE_EPT_HOST_WRITABLE		BIT_ULL(57)
#define LPAGE_EPT_MMU_WRITABLE		BIT_ULL(58)
#define LPAGE_EPT_SAVED_SHIFT		54
#define lpage_set_ept_masks(enc)	kvm_mmu_set_ept_masks((enc)->has_ad, (enc)->exec_only)
#define lpage_save_exec_masks(test)				\
do {								\
	lpage_kunit_save_var(test, shadow_x_mask);		\
	lpage_kunit_save_var(test, shadow_memtype_mask);	\
} while (0)

#endif /* __KVM_LPAGE_COMPAT_H */
