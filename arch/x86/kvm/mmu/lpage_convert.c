// SPDX-License-Identifier: GPL-2.0
/*
 * Large pages of VMs whose memory becomes private or shared.
 *
 * Before a part of a large page is converted, the page is split in place.  Then only
 * the SPTEs of that part are zapped, and the rest stays mapped.
 *
 * When the last odd page of 2M has become what the others are, the huge SPTE is put
 * back over the page table, in the background and a little later: guests convert
 * buffers page by page, and the same ones again and again.  2M that was put back
 * in vain, because a part of it was soon converted again, has to keep still for twice
 * as long the next time.
 *
 * Meanwhile a vCPU that faults there maps 4K.  Otherwise it would put the large page
 * back at once, and have its page table zapped SPTE by SPTE.
 *
 * What waits, or has a history, is in an xarray by its number, GFN / 512, and protected
 * by slots_lock, which every conversion holds, and whoever changes memslots.  The
 * work item takes it as well, for a few page tables at a time.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/jiffies.h>
#include <linux/moduleparam.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <asm/sev.h>

#include "lpage.h"
#include "lpage_trace.h"
#include "mmu.h"
#include "mmu_internal.h"
#include "tdp_mmu.h"

static bool __read_mostly lpage_background = true;
module_param(lpage_background, bool, 0644);

/* How long 2M has to keep still, and how often that may double. */
#define LPAGE_UNMIX_DELAY	(HZ / 4)
#define LPAGE_UNMIX_MAX_SHIFT	6

/* Converted again within so many times that, it was put back in vain. */
#define LPAGE_UNMIX_MEMORY	8

/* The pace: so many page tables at most, so often. */
#define LPAGE_UNMIX_BATCH	64
#define LPAGE_UNMIX_PERIOD	(HZ / 10)

/* In disallow_lpage of 2M that waits; the low bits are a count, and the top one KVM's. */
#define LPAGE_WAITS_FLAG	BIT(30)

#define PAGES_PER_2M		KVM_PAGES_PER_HPAGE(PG_LEVEL_2M)

struct kvm_lpage_unmix {
	struct kvm *kvm;
	struct delayed_work work;
	struct xarray ranges;
};

enum lpage_range_state {
	LPAGE_RANGE_NEW,
	LPAGE_RANGE_MIXED,
	LPAGE_RANGE_WAITS,	/* to be put back */
	LPAGE_RANGE_BACK,
};

/* An entry of the xarray, as a value. */
union lpage_range {
	struct {
		u32 stamp;	/* of the last conversion, in jiffies */
		u8 shift;	/* how often the delay was doubled */
		u8 state;
	};
	u64 val;
};

static union lpage_range lpage_range_load(struct kvm_lpage_unmix *unmix, gfn_t gfn)
{
	void *entry = xa_load(&unmix->ranges, gfn / PAGES_PER_2M);

	return (union lpage_range) { .val = entry ? xa_to_value(entry) : 0 };
}

static int lpage_range_store(struct kvm_lpage_unmix *unmix, gfn_t gfn,
			     union lpage_range range)
{
	return xa_err(xa_store(&unmix->ranges, gfn / PAGES_PER_2M,
			       xa_mk_value(range.val), GFP_KERNEL_ACCOUNT));
}

static u32 lpage_range_age(union lpage_range range)
{
	return (u32)jiffies - range.stamp;
}

static u32 lpage_range_delay(union lpage_range range)
{
	return LPAGE_UNMIX_DELAY << range.shift;
}

/* Long enough ago for what has been not to matter any more. */
static bool lpage_range_is_old(union lpage_range range)
{
	return lpage_range_age(range) > LPAGE_UNMIX_MEMORY * lpage_range_delay(range);
}

/* What becomes of a range of which a part is converted now. */
static union lpage_range lpage_range_next(union lpage_range range, bool mixed)
{
	if (range.state == LPAGE_RANGE_NEW || lpage_range_is_old(range))
		range.shift = 0;
	else if (range.state == LPAGE_RANGE_BACK && mixed)
		range.shift = min(range.shift + 1, LPAGE_UNMIX_MAX_SHIFT);

	range.stamp = jiffies;
	range.state = mixed ? LPAGE_RANGE_MIXED : LPAGE_RANGE_WAITS;
	return range;
}

/* NULL if there is none because the slot does not have all of it. */
static struct kvm_lpage_info *lpage_info(const struct kvm_memory_slot *slot, gfn_t gfn,
					 int level)
{
	gfn_t end = gfn + KVM_PAGES_PER_HPAGE(level);

	if (!slot || gfn < slot->base_gfn || end > slot->base_gfn + slot->npages)
		return NULL;

	return &slot->arch.lpage_info[level - PG_LEVEL_2M]
				     [gfn_to_index(gfn, slot->base_gfn, level)];
}

static bool lpage_may_be_huge(const struct kvm_lpage_info *info)
{
	return info && !(info->disallow_lpage & ~LPAGE_WAITS_FLAG);
}

/* Let vCPUs map 2M by a huge SPTE or not.  The count in the same word is KVM's. */
static void lpage_set_waits(struct kvm *kvm, struct kvm_lpage_info *info, bool waits)
{
	if (!info || !(info->disallow_lpage & LPAGE_WAITS_FLAG) == !waits)
		return;

	write_lock(&kvm->mmu_lock);
	if (waits)
		info->disallow_lpage |= LPAGE_WAITS_FLAG;
	else
		info->disallow_lpage &= ~LPAGE_WAITS_FLAG;
	write_unlock(&kvm->mmu_lock);
}

/* What is put back, on the way through guest_memfd and the RMP. */
struct lpage_back {
	struct kvm *kvm;
	struct kvm_memory_slot *slot;
	gfn_t gfn;
	struct kvm_lpage_private private;
	bool merged;
	int r;
};

static void lpage_map_private(void *data)
{
	struct lpage_back *back = data;

	back->r = kvm_tdp_mmu_promote_gfn(back->kvm, back->slot, PG_LEVEL_2M, back->gfn,
					  &back->private);
}

/* What to call 2M that is being merged; never 0. */
static u64 lpage_merging(gfn_t gfn)
{
	return gfn_round_for_level(gfn, PG_LEVEL_2M) | 1;
}

/* What to call it when it has been: not what it was called the last time. */
static u64 lpage_merged(struct kvm *kvm, gfn_t gfn)
{
	return gfn_round_for_level(gfn, PG_LEVEL_2M) |
	       ((kvm->arch.lpage.merged + 1) & (PAGES_PER_2M - 1));
}

/* With RMP entries of 4K, a vCPU would fault on a huge SPTE without end. */
static void lpage_merge_block(struct lpage_back *back)
{
	struct kvm *kvm = back->kvm;
	int r;

	WRITE_ONCE(kvm->arch.lpage.merging, lpage_merging(back->gfn));
	/* Before it is looked at who must not be disturbed by this. */
	smp_mb();
	back->merged = true;
	back->r = 0;
	r = kvm_x86_call(gmem_merge)(kvm, back->private.pfn, back->gfn, lpage_map_private, back);
	if (r)
		back->r = -ENOENT;
	else
		WRITE_ONCE(kvm->arch.lpage.merged, lpage_merged(kvm, back->gfn));
	/* Pairs with the one in kvm_lpage_wait_merge(). */
	smp_store_release(&kvm->arch.lpage.merging, 0);
	/* Pairs with the barrier in wait_var_event(). */
	smp_mb();
	wake_up_var(&kvm->arch.lpage.merging);

	atomic64_inc(r ? &kvm->stat.lpage_merge_failed : &kvm->stat.lpage_merged);
	trace_kvm_mmu_lpage_merge(back->gfn, back->private.pfn, r);
}

/* The block cannot go away, but be invalidated if memory of it fails. */
static void lpage_put_back_block(kvm_pfn_t pfn, void *data)
{
	struct lpage_back *back = data;
	int level = kvm_x86_call(gmem_max_mapping_level)(back->kvm, pfn, true);

	back->private.pfn = pfn;
	if (!level || level >= PG_LEVEL_2M)
		lpage_map_private(back);
	else
		lpage_merge_block(back);
}

static int lpage_put_back_private(struct kvm *kvm, struct kvm_memory_slot *slot,
				  gfn_t gfn, int *budget)
{
	struct lpage_back back = { .kvm = kvm, .slot = slot, .gfn = gfn, .r = -ENOENT };

	back.private.mmu_seq = kvm->mmu_invalidate_seq;
	/* Before the block is looked up.  Pairs with the one in kvm_mmu_invalidate_end(). */
	smp_rmb();

	kvm_gmem_with_block(slot, gfn, lpage_put_back_block, &back);
	/* Commands of the firmware take long, and everybody waits for those of others. */
	if (back.merged)
		*budget = 0;
	if (back.r != -ENOENT)
		return back.r;

	atomic64_inc(&kvm->stat.lpage_promote_skip_level);
	trace_kvm_mmu_lpage_promote_skip(slot->as_id, gfn, PG_LEVEL_2M,
					 KVM_LPAGE_SKIP_LEVEL);
	return 0;
}

/* Put 2M back.  Returns -EAGAIN if it has to be tried again. */
static int lpage_put_back(struct kvm *kvm, gfn_t gfn, int *budget)
{
	gfn_t gfn_1g = gfn_round_for_level(gfn, PG_LEVEL_1G);
	struct kvm_memory_slot *slot = gfn_to_memslot(kvm, gfn);
	struct kvm_lpage_info *info = lpage_info(slot, gfn, PG_LEVEL_2M);

	lpage_set_waits(kvm, info, false);

	/* The slot may be another one, and what is logged stays 4K. */
	if (!lpage_may_be_huge(info) || kvm_slot_dirty_track_enabled(slot))
		return 0;

	if (kvm_slot_has_gmem(slot) && kvm_mem_is_private(kvm, gfn))
		return lpage_put_back_private(kvm, slot, gfn, budget);

	kvm_tdp_mmu_promote_gfn(kvm, slot, PG_LEVEL_2M, gfn, NULL);
	if (lpage_may_be_huge(lpage_info(slot, gfn_1g, PG_LEVEL_1G)))
		kvm_tdp_mmu_promote_gfn(kvm, slot, PG_LEVEL_1G, gfn_1g, NULL);

	return 0;
}

/* Returns whether there is still something to remember of the range. */
static bool lpage_unmix_range(struct kvm_lpage_unmix *unmix, gfn_t gfn,
			      union lpage_range range, int *budget)
{
	if (range.state != LPAGE_RANGE_WAITS)
		return !lpage_range_is_old(range);

	if (!READ_ONCE(lpage_background)) {
		lpage_set_waits(unmix->kvm, lpage_info(gfn_to_memslot(unmix->kvm, gfn),
						       gfn, PG_LEVEL_2M), false);
		return false;
	}

	if (lpage_range_age(range) < lpage_range_delay(range) || !*budget)
		return true;

	--*budget;
	if (!lpage_put_back(unmix->kvm, gfn, budget)) {
		range.state = LPAGE_RANGE_BACK;
		/* No memory is needed to replace an entry. */
		lpage_range_store(unmix, gfn, range);
	}

	return true;
}

/* One batch.  Returns whether there is anything left to remember. */
static bool lpage_unmix(struct kvm_lpage_unmix *unmix)
{
	int budget = LPAGE_UNMIX_BATCH;
	union lpage_range range;
	bool left = false;
	unsigned long nr;
	void *entry;

	lockdep_assert_held(&unmix->kvm->slots_lock);

	xa_for_each(&unmix->ranges, nr, entry) {
		range.val = xa_to_value(entry);
		if (lpage_unmix_range(unmix, nr * PAGES_PER_2M, range, &budget))
			left = true;
		else
			xa_erase(&unmix->ranges, nr);
		cond_resched();
	}

	return left;
}

/*
 * User space's page tables are looked at, and must not go away meanwhile.  If that is
 * about to happen, so is the end of the VM.
 */
static void lpage_unmix_work(struct work_struct *work)
{
	struct kvm_lpage_unmix *unmix = container_of(to_delayed_work(work),
						     struct kvm_lpage_unmix, work);
	struct mm_struct *mm = unmix->kvm->mm;
	bool left;

	if (!mmget_not_zero(mm))
		return;

	mutex_lock(&unmix->kvm->slots_lock);
	left = lpage_unmix(unmix);
	mutex_unlock(&unmix->kvm->slots_lock);

	mmput(mm);

	if (left)
		queue_delayed_work(system_unbound_wq, &unmix->work, LPAGE_UNMIX_PERIOD);
}

static struct kvm_lpage_unmix *lpage_unmix_get(struct kvm *kvm)
{
	struct kvm_lpage_unmix *unmix = kvm->arch.lpage.unmix;

	if (unmix)
		return unmix;

	unmix = kzalloc_obj(*unmix, GFP_KERNEL_ACCOUNT);
	if (!unmix)
		return NULL;

	unmix->kvm = kvm;
	xa_init_flags(&unmix->ranges, XA_FLAGS_ACCOUNT);
	INIT_DELAYED_WORK(&unmix->work, lpage_unmix_work);
	kvm->arch.lpage.unmix = unmix;

	return unmix;
}

/* A part of the 2M at @gfn has been converted. */
static void lpage_range_converted(struct kvm *kvm, gfn_t gfn)
{
	struct kvm_lpage_info *info = lpage_info(gfn_to_memslot(kvm, gfn), gfn, PG_LEVEL_2M);
	struct kvm_lpage_unmix *unmix = kvm->arch.lpage.unmix;
	bool mixed = !lpage_may_be_huge(info);
	union lpage_range range;

	if (!mixed)
		unmix = lpage_unmix_get(kvm);
	if (!unmix)
		return;

	range = lpage_range_load(unmix, gfn);
	if (mixed && range.state == LPAGE_RANGE_NEW)
		return;

	/* Without memory for it, the next fault there finds the level by itself. */
	if (lpage_range_store(unmix, gfn, lpage_range_next(range, mixed))) {
		lpage_set_waits(kvm, info, false);
		return;
	}

	lpage_set_waits(kvm, info, !mixed);
	queue_delayed_work(system_unbound_wq, &unmix->work, LPAGE_UNMIX_DELAY);
}

static void lpage_smash_block(kvm_pfn_t pfn, void *data)
{
	bool assigned;
	int level;

	if (snp_lookup_rmpentry(pfn, &assigned, &level) || !assigned ||
	    level == PG_LEVEL_4K)
		return;

	/* It may be busy, by the guest.  That it has been done meanwhile is an error. */
	while (psmash(pfn) == PSMASH_FAIL_INUSE)
		cpu_relax();
}

/*
 * A 4K SPTE must not have a 2M RMP entry: every vCPU that comes by would fault.  The
 * other way round they do as well, but only until the large page is split, too.
 */
static void lpage_smash_at(struct kvm *kvm, gfn_t gfn)
{
	struct kvm_memory_slot *slot = gfn_to_memslot(kvm, gfn);
	gfn_t gfn_2m = gfn_round_for_level(gfn, PG_LEVEL_2M);

	if (kvm->arch.vm_type != KVM_X86_SNP_VM || gfn == gfn_2m ||
	    !lpage_info(slot, gfn_2m, PG_LEVEL_2M) || !kvm_slot_has_gmem(slot))
		return;

	kvm_gmem_with_block(slot, gfn_2m, lpage_smash_block, NULL);
}

void kvm_arch_begin_set_memory_attributes(struct kvm *kvm, gfn_t start, gfn_t end)
{
	int as_id, nr = 0;

	lockdep_assert_held(&kvm->slots_lock);

	lpage_smash_at(kvm, start);
	lpage_smash_at(kvm, end);

	/* What stays huge is zapped as a whole. */
	for (as_id = 0; as_id < kvm_arch_nr_memslot_as_ids(kvm); as_id++) {
		nr += max(kvm_tdp_mmu_split_at(kvm, as_id, start), 0);
		nr += max(kvm_tdp_mmu_split_at(kvm, as_id, end), 0);
	}

	if (nr)
		atomic64_inc(&kvm->stat.lpage_convert_splits);
}

/*
 * All of [start, end), aligned to 2M, has been converted, and zapped: the next fault may
 * map a large page again, whatever was to become of it before.
 */
static void lpage_forget_ranges(struct kvm *kvm, gfn_t start, gfn_t end)
{
	struct kvm_lpage_unmix *unmix = kvm->arch.lpage.unmix;
	unsigned long nr;
	void *entry;

	if (!unmix || start >= end)
		return;

	xa_for_each_range(&unmix->ranges, nr, entry, start / PAGES_PER_2M,
			  end / PAGES_PER_2M - 1) {
		lpage_set_waits(kvm, lpage_info(gfn_to_memslot(kvm, nr * PAGES_PER_2M),
						nr * PAGES_PER_2M, PG_LEVEL_2M), false);
		xa_erase(&unmix->ranges, nr);
	}
}

void kvm_arch_end_set_memory_attributes(struct kvm *kvm, gfn_t start, gfn_t end)
{
	gfn_t first = gfn_round_for_level(start, PG_LEVEL_2M);
	gfn_t last = gfn_round_for_level(end, PG_LEVEL_2M);

	lockdep_assert_held(&kvm->slots_lock);

	lpage_forget_ranges(kvm, first == start ? first : first + PAGES_PER_2M, last);

	if (!READ_ONCE(lpage_background) || !tdp_mmu_enabled)
		return;

	if (first != start)
		lpage_range_converted(kvm, first);
	if (last != end && (last != first || first == start))
		lpage_range_converted(kvm, last);
}

/*
 * Whether the vCPU has to try again, for its fault may be from before the end of the last
 * merge.  If it was not, or the huge SPTE could not be put back, it faults once more:
 * then the entry has to be smashed.
 */
static bool lpage_missed_merge(struct kvm_vcpu *vcpu, gfn_t gfn)
{
	u64 merged = READ_ONCE(vcpu->kvm->arch.lpage.merged);

	if (vcpu->arch.lpage_merged == merged ||
	    gfn_round_for_level(merged ^ gfn, PG_LEVEL_2M))
		return false;

	vcpu->arch.lpage_merged = merged;
	return true;
}

bool kvm_lpage_wait_merge(struct kvm_vcpu *vcpu, u64 gfn)
{
	u64 *merging = &vcpu->kvm->arch.lpage.merging;

	/* What the caller has done is seen by a merge that this does not see. */
	smp_mb();
	/* What is over has said before what was merged. */
	if (smp_load_acquire(merging) != lpage_merging(gfn))
		return lpage_missed_merge(vcpu, gfn);

	wait_var_event_killable(merging, READ_ONCE(*merging) != lpage_merging(gfn));
	return true;
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(kvm_lpage_wait_merge);

void kvm_lpage_wait_merges(struct kvm *kvm)
{
	u64 *merging = &kvm->arch.lpage.merging;

	/* As above. */
	smp_mb();
	wait_var_event_killable(merging, !READ_ONCE(*merging));
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(kvm_lpage_wait_merges);

void kvm_lpage_stop_converting(struct kvm *kvm)
{
	struct kvm_lpage_unmix *unmix = kvm->arch.lpage.unmix;

	if (!unmix)
		return;

	cancel_delayed_work_sync(&unmix->work);
	xa_destroy(&unmix->ranges);
	kfree(unmix);
}

#ifdef CONFIG_KVM_LPAGE_KUNIT_TEST
#include "tests/lpage_convert_kunit.c"
#endif
