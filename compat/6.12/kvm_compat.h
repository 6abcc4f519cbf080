/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What Linux 6.12 lacks of the KVM API that our files are written against.
 * Included ahead of each of them by the compiler's command line, never by name.
 * Each shim says which upstream commit or release made it unnecessary.
 */
#ifndef __KVM_LPAGE_COMPAT_H
#define __KVM_LPAGE_COMPAT_H

#ifndef pr_fmt
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt
#endif

#include <linux/kvm_host.h>

#include "mmu.h"
#include "mmu/mmu_internal.h"
#include "mmu/spte.h"
#include "mmu/tdp_iter.h"

/*
 * 6.14, "KVM: x86/tdp_mmu: Propagate building mirror page tables" and its
 * neighbours: roots that stand for page tables which a TDX module owns.  6.12
 * has neither them nor the types by which roots are selected.
 */
#define KVM_VALID_ROOTS true

static inline bool is_mirror_sp(const struct kvm_mmu_page *sp)
{
	return false;
}

/* 6.14, as above: the walk learnt the VM, for the width of the root's GFNs. */
#undef for_each_tdp_pte_min_level
#define for_each_tdp_pte_min_level(iter, kvm, root, min_level, start, end)	\
	for ((void)(kvm), tdp_iter_start(&(iter), root, min_level, start);	\
	     (iter).valid && (iter).gfn < (end);				\
	     tdp_iter_next(&(iter)))

/* 6.18: takes the fault, if any, in place of the largest level to consider. */
#define kvm_mmu_max_mapping_level(kvm, fault, slot, gfn) \
	((void)(fault), kvm_mmu_max_mapping_level(kvm, slot, gfn, PG_LEVEL_NUM))

/* 6.18: guest_memfd came to serve VMs without private memory too. */
#define kvm_slot_has_gmem(slot) kvm_slot_can_be_private(slot)

/* 7.x: execute permission apart for supervisor and user mode. */
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

#endif /* __KVM_LPAGE_COMPAT_H */
