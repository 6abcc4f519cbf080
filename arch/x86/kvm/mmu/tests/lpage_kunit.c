// SPDX-License-Identifier: GPL-2.0
/*
 * What the KUnit suites of this folder share.
 */
#include <linux/kvm_host.h>
#include <linux/sched/signal.h>

#include "lpage_kunit.h"
#include "mmu/mmu_internal.h"

#define NPT_ENCODING						\
	.present = SPTE_MMU_PRESENT_MASK | PT_PRESENT_MASK,	\
	.read = PT_USER_MASK,					\
	.no_exec = PT64_NX_MASK,				\
	.accessed = PT_ACCESSED_MASK,				\
	.dirty = PT_DIRTY_MASK,					\
	.host_writable = BIT_ULL(9),				\
	.mmu_writable = BIT_ULL(10),				\
	.has_ad = true

#define EPT_ENCODING						\
	.read = LPAGE_EPT_R,					\
	.exec = LPAGE_EPT_X,					\
	.user_exec = LPAGE_EPT_XU,				\
	.host_writable = LPAGE_EPT_HOST_WRITABLE,		\
	.mmu_writable = LPAGE_EPT_MMU_WRITABLE,			\
	.memtype = GENMASK_ULL(6, 3),				\
	.ept = true

#define EPT_AD_ENCODING						\
	EPT_ENCODING,						\
	.accessed = BIT_ULL(8),					\
	.dirty = BIT_ULL(9),					\
	.has_ad = true

#define EPT_PRESENT	(SPTE_MMU_PRESENT_MASK | BIT_ULL(63))

const struct lpage_encoding lpage_encodings[NR_LPAGE_ENCODINGS] = {
	{ .name = "npt", NPT_ENCODING },
	{ .name = "npt_sme47", NPT_ENCODING, .c_bit = BIT_ULL(47) },
	{ .name = "npt_sme51", NPT_ENCODING, .c_bit = BIT_ULL(51) },
	{ .name = "ept_ad", EPT_AD_ENCODING, .present = EPT_PRESENT | LPAGE_EPT_R },
	{ .name = "ept_ad_xo", EPT_AD_ENCODING, .present = EPT_PRESENT, .exec_only = true },
	{ .name = "ept_noad", EPT_ENCODING, .present = EPT_PRESENT | LPAGE_EPT_R },
	{ .name = "ept_noad_xo", EPT_ENCODING, .present = EPT_PRESENT, .exec_only = true },
};

void lpage_encoding_desc(const struct lpage_encoding *enc, char *desc)
{
	strscpy(desc, enc->name, KUNIT_PARAM_DESC_SIZE);
}

struct saved {
	void *where;
	size_t size;
	u8 data[];
};

static void restore(void *data)
{
	struct saved *saved = data;

	memcpy(saved->where, saved->data, saved->size);
}

void lpage_kunit_save(struct kunit *test, void *data, size_t size)
{
	struct saved *saved;

	saved = kunit_kmalloc(test, struct_size(saved, data, size), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, saved);
	saved->where = data;
	saved->size = size;
	memcpy(saved->data, data, size);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, restore, saved), 0);
}

/* All that kvm_mmu_reset_all_pte_masks() and kvm_mmu_set_ept_masks() set. */
static void save_masks(struct kunit *test)
{
	u64 *masks[] = {
		&shadow_host_writable_mask, &shadow_mmu_writable_mask,
		&shadow_nx_mask, &shadow_user_mask,
		&shadow_accessed_mask, &shadow_dirty_mask, &shadow_mmio_value,
		&shadow_mmio_mask, &shadow_mmio_access_mask, &shadow_present_mask,
		&shadow_me_value, &shadow_me_mask,
		&shadow_acc_track_mask, &shadow_nonpresent_or_rsvd_mask,
		&shadow_nonpresent_or_rsvd_lower_gfn_mask,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(masks); i++)
		lpage_kunit_save(test, masks[i], sizeof(*masks[i]));
	lpage_save_exec_masks(test);
	lpage_kunit_save_var(test, enable_mmio_caching);
	lpage_kunit_save_var(test, nx_huge_pages);
}

static bool have_vms(void)
{
	bool have;

	mutex_lock(&kvm_lock);
	have = !list_empty(&vm_list);
	mutex_unlock(&kvm_lock);

	return have;
}

/* That there is one tells that SPTEs have memory types. */
static u8 get_mt_mask(struct kvm_vcpu *vcpu, gfn_t gfn, bool is_mmio)
{
	return 0;
}

struct kvm *lpage_kunit_kvm(struct kunit *test, const struct lpage_encoding *enc)
{
	struct kvm *kvm;

	if (have_vms())
		kunit_skip(test, "VMs are running");

	save_masks(test);
	kvm_mmu_reset_all_pte_masks();
	lpage_kunit_set(test, kvm_x86_ops.get_mt_mask, enc->ept ? get_mt_mask : NULL);
	if (enc->ept)
		lpage_set_ept_masks(enc);
	kvm_mmu_set_me_spte_mask(enc->c_bit, enc->c_bit);

	kvm = kunit_kzalloc(test, sizeof(*kvm), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, kvm);
	return kvm;
}

static void free_table(void *data)
{
	struct kvm_mmu_page *sp = data;

	set_page_private(virt_to_page(sp->spt), 0);
	free_page((unsigned long)sp->spt);
}

void lpage_kunit_table(struct kunit *test, struct kvm_mmu_page *sp, int level)
{
	struct page *page = alloc_page(GFP_KERNEL | __GFP_ZERO);

	KUNIT_ASSERT_NOT_NULL(test, page);
	sp->spt = page_address(page);
	sp->role.level = level;
	set_page_private(page, (unsigned long)sp);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, free_table, sp), 0);
}

/* No signal is sent: a kernel thread has no use for one. */
void lpage_kunit_kill(bool killed)
{
	/* A task's own stays what it is. */
	struct sighand_struct *sighand = rcu_dereference_raw(current->sighand);

	spin_lock_irq(&sighand->siglock);
	if (killed) {
		sigaddset(&current->pending.signal, SIGKILL);
		set_thread_flag(TIF_SIGPENDING);
	} else {
		sigdelset(&current->pending.signal, SIGKILL);
		recalc_sigpending();
	}
	spin_unlock_irq(&sighand->siglock);
}
