// SPDX-License-Identifier: GPL-2.0
/*
 * What vCPUs keep in store for page faults, which must not allocate under mmu_lock: as
 * much as one fault can take, and a few more, so that not every fault has to refill.
 *
 * What only shadow paging takes is there for those vCPUs only whose own MMU is a shadow
 * one, as that of a nested guest is.  Whether a fault takes it depends on nothing that
 * other vCPUs or tasks could change between the refill and the use.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kvm_host.h>
#include <linux/slab.h>

#include "lpage_cache.h"
#include "mmu.h"
#include "mmu_internal.h"

/*
 * A fault takes one page table for each level below the root's at most, be they linked
 * to what was not mapped or in place of a huge SPTE.  Loading a root takes one, or, where
 * the root is a PAE one, four.
 */
#define TABLES_MIN	(PT64_ROOT_MAX_LEVEL - 1)
static_assert(TABLES_MIN >= 4);

/*
 * In the reverse maps, one for each page table that is linked and one for each page that
 * is mapped: that of the fault, and those around it that are prefetched.
 */
#define RMAPS_MIN	(TABLES_MIN + PTE_PREFETCH_NUM)

/*
 * What is taken beyond that, and how many at least are refilled at a time.  More would
 * hardly make faults cheaper: nearly all that a refill costs is for each object.
 */
#define SPARE		3

static int refill(struct kvm_mmu_memory_cache *mc, int min)
{
	return __kvm_mmu_topup_memory_cache(mc, min + SPARE, min);
}

static u64 cache_bytes(const struct kvm_mmu_memory_cache *mc)
{
	u64 size = mc->kmem_cache ? kmem_cache_size(mc->kmem_cache) : PAGE_SIZE;

	return mc->nobjs * size + mc->capacity * sizeof(*mc->objects);
}

/*
 * Let the VM's statistic follow what one owner of caches has, which counted @counted
 * before.  It has as many after each refill, so that this costs nothing then.
 */
static void count_bytes(struct kvm *kvm, u64 *counted, u64 bytes)
{
	if (bytes == *counted)
		return;

	atomic64_add(bytes - *counted, &kvm->stat.mmu_cache_bytes);
	*counted = bytes;
}

void kvm_lpage_count_caches(struct kvm_vcpu *vcpu)
{
	const struct kvm_vcpu_arch *arch = &vcpu->arch;
	u64 mirrors = kvm_has_mirrored_tdp(vcpu->kvm) ?
		      cache_bytes(&arch->mmu_external_spt_cache) : 0;

	count_bytes(vcpu->kvm, &vcpu->stat.vcpu_cache_bytes, mirrors +
		    cache_bytes(&arch->mmu_shadow_page_cache) +
		    cache_bytes(&arch->mmu_page_header_cache) +
		    cache_bytes(&arch->mmu_pte_list_desc_cache) +
		    cache_bytes(&arch->mmu_shadowed_info_cache));
}

void kvm_lpage_count_split_caches(struct kvm *kvm)
{
	const struct kvm_arch *arch = &kvm->arch;

	count_bytes(kvm, &kvm->arch.lpage.split_cache_bytes,
		    cache_bytes(&arch->split_shadow_page_cache) +
		    cache_bytes(&arch->split_page_header_cache) +
		    cache_bytes(&arch->split_desc_cache));
}

/* With @mirrored, each table has one beside it that the owner of what is mirrored gets. */
static int refill_tables(struct kvm_vcpu_arch *arch, bool mirrored)
{
	int r = mirrored ? refill(&arch->mmu_external_spt_cache, TABLES_MIN) : 0;

	return r ?:
	       refill(&arch->mmu_shadow_page_cache, TABLES_MIN) ?:
	       refill(&arch->mmu_page_header_cache, TABLES_MIN);
}

/* Without @indirect the guest has no tables that the shadow ones follow. */
static int refill_shadow(struct kvm_vcpu_arch *arch, bool indirect)
{
	int r = refill(&arch->mmu_pte_list_desc_cache, RMAPS_MIN);

	if (r || !indirect)
		return r;
	return refill(&arch->mmu_shadowed_info_cache, TABLES_MIN);
}

static bool tables_suffice(const struct kvm_vcpu_arch *arch, bool mirrored)
{
	return arch->mmu_shadow_page_cache.nobjs >= TABLES_MIN &&
	       arch->mmu_page_header_cache.nobjs >= TABLES_MIN &&
	       (!mirrored || arch->mmu_external_spt_cache.nobjs >= TABLES_MIN);
}

static bool shadow_suffices(const struct kvm_vcpu_arch *arch, bool indirect)
{
	return arch->mmu_pte_list_desc_cache.nobjs >= RMAPS_MIN &&
	       (!indirect || arch->mmu_shadowed_info_cache.nobjs >= TABLES_MIN);
}

int mmu_topup_memory_caches(struct kvm_vcpu *vcpu, bool maybe_indirect)
{
	struct kvm_vcpu_arch *arch = &vcpu->arch;
	/* Without the TDP MMU all page tables are shadow pages. */
	bool shadow = maybe_indirect || !tdp_mmu_enabled;
	bool mirrored = kvm_has_mirrored_tdp(vcpu->kvm);
	int r;

	if (tables_suffice(arch, mirrored) && (!shadow || shadow_suffices(arch, maybe_indirect)))
		return 0;

	r = refill_tables(arch, mirrored);
	if (!r && shadow)
		r = refill_shadow(arch, maybe_indirect);
	kvm_lpage_count_caches(vcpu);
	return r;
}

void kvm_lpage_leave_nested(struct kvm_vcpu *vcpu)
{
	if (!tdp_mmu_enabled)
		return;

	kvm_mmu_free_memory_cache(&vcpu->arch.mmu_pte_list_desc_cache);
	kvm_mmu_free_memory_cache(&vcpu->arch.mmu_shadowed_info_cache);
	kvm_lpage_count_caches(vcpu);
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(kvm_lpage_leave_nested);
