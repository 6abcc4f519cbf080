// SPDX-License-Identifier: GPL-2.0
/*
 * The direct map of an SEV-SNP host: split on demand, and put back.
 *
 * The rules, from the APM, volume 2, 15.36.10 (what accesses are checked for) and
 * 15.36.11 (sizes of RMP entries):
 *
 * - A write of the host's through a mapping of 2M or 1G is checked against all of the 2M
 *   region that it falls into, and faults if a guest or the firmware owns a part of it.
 *   So the direct map of a region is made of 4K pages before a 4K page of it becomes
 *   private.  So it is before one becomes shared, for its neighbours may be private.
 * - A 2M entry owns its region as a whole.  No part of it is the host's to write to, and
 *   mappings of 1G are checked by 2M as well: whatever maps it may stay as it is.
 * - A region that is mapped by 4K needs nothing.
 *
 * What the TLBs must not have, and when: the check goes by the size of the translation
 * that a CPU uses, and RMPUPDATE drops none.  A CPU that has kept a large one faults on
 * the next write to a neighbour, whatever the page table says.  So all CPUs drop theirs
 * after the entry was replaced and before RMPUPDATE.  That a page table is found to be
 * in place does not mean that they have: another task may have put it there, and wait for
 * the flush yet.  Only REGION_4K in a region's record says so, which is set when the flush
 * is over.  No flush is needed for a region that has the flag, as nobody gets a large
 * translation from a table of 4K entries; nor for 2M entries, by the second rule; nor when
 * a page becomes shared, for what is cached of the direct map translates to the same page;
 * nor when a large page is put back but to free the table, for the reason last said: the
 * 4K translations that remain are those that the rule asks for.
 *
 * Put back: when a page of a region that was split here becomes shared, the region is
 * remembered, and looked at a little later.  It is put back if the RMP has no private page
 * in it.  The RMP itself is asked, not a count: 4K entries come from psmash() and from the
 * firmware as well, and pages that were leaked stay private.  Changes of the RMP hold
 * snp_directmap_rwsem for reading, from before they look how the region is mapped until
 * RMPUPDATE is done, and putting back holds it for writing, from the look at the RMP until
 * the large page is in place: a large page over a private one cannot come about.
 *
 * A region that was put back in vain, as it soon had to be split again, waits for twice as
 * long the next time.
 */
#define pr_fmt(fmt) "SEV-SNP: " fmt

#include <linux/cc_platform.h>
#include <linux/ioport.h>
#include <linux/jiffies.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/percpu-rwsem.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <asm/directmap.h>
#include <asm/sections.h>

#include "directmap.h"
#include "directmap_trace.h"

/* How long a region has to be left alone, and how often that may double. */
#define RESTORE_DELAY		(HZ / 4)
#define RESTORE_MAX_SHIFT	5

/* Split again within so many times that, it was put back in vain. */
#define RESTORE_MEMORY		8

/* So many are put back at once: what changes of the RMP have to wait for. */
#define RESTORE_BATCH		64

enum {
	REGION_4K = BIT(0),	/* mapped by 4K, and no CPU has anything else */
	REGION_OURS = BIT(1),	/* by us: to be put back */
	REGION_BACK = BIT(2),	/* was put back at the time of the stamp */
};

/* A 2M region's record, as a value of the xarray. */
union snp_region {
	struct {
		u32 stamp;	/* in jiffies */
		u8 shift;	/* how often the delay was doubled */
		u8 flags;
	};
	u64 val;
};

/*
 * Records by region, PFN / 512, and the 1G pages that were split here, by 1G.  Those of
 * REGION_SHARED are to be looked at.  Whoever changes one holds the xarray's lock.
 */
static DEFINE_XARRAY(snp_regions);
static DEFINE_XARRAY(snp_gigas);
#define REGION_SHARED		XA_MARK_0

DEFINE_STATIC_PERCPU_RWSEM(snp_directmap_rwsem);

/* One split at a time, so that who finds a region split knows that it was flushed. */
static DEFINE_MUTEX(snp_split_mutex);

DEFINE_PER_CPU(struct snp_directmap_stats, snp_directmap_stats);

static bool snp_presplit __ro_after_init;
static bool snp_presplit_done;
static bool snp_directmap_restore __read_mostly = true;

static void snp_restore_work(struct work_struct *work);
static DECLARE_DELAYED_WORK(snp_restore, snp_restore_work);

static void snp_count(enum snp_directmap_stat stat, unsigned long nr)
{
	this_cpu_add(snp_directmap_stats.nr[stat], nr);
}

static u64 snp_region_of(u64 pfn)
{
	return pfn / PTRS_PER_PMD;
}

static u64 snp_giga_of(u64 region)
{
	return region / PTRS_PER_PUD;
}

static union snp_region snp_region_load(u64 nr)
{
	void *entry = xa_load(&snp_regions, nr);

	return (union snp_region) { .val = entry ? xa_to_value(entry) : 0 };
}

/* The record is there, by snp_reserve(), so that no memory is taken. */
static void snp_region_store(u64 nr, union snp_region region)
{
	xa_store(&snp_regions, nr, xa_mk_value(region.val), GFP_ATOMIC);
}

static u32 snp_region_age(union snp_region region)
{
	return (u32)jiffies - region.stamp;
}

static u32 snp_region_delay(union snp_region region)
{
	return RESTORE_DELAY << region.shift;
}

/* Of a region that is split now. */
static union snp_region snp_region_next(union snp_region region)
{
	if (!(region.flags & REGION_BACK) ||
	    snp_region_age(region) > RESTORE_MEMORY * snp_region_delay(region))
		region.shift = 0;
	else
		region.shift = min(region.shift + 1, RESTORE_MAX_SHIFT);

	region.stamp = jiffies;
	region.flags = snp_presplit ? REGION_4K : REGION_4K | REGION_OURS;
	return region;
}

/* Memory for the records of @nr regions, so that no split goes unrecorded. */
static int snp_reserve(u64 first, unsigned long nr)
{
	u64 region;
	int ret = 0;

	for (region = first; !ret && region < first + nr; region++) {
		if (!xa_load(&snp_regions, region))
			ret = xa_err(xa_store(&snp_regions, region, xa_mk_value(0), GFP_KERNEL));
		if (!ret && !xa_load(&snp_gigas, snp_giga_of(region)))
			ret = xa_reserve(&snp_gigas, snp_giga_of(region), GFP_KERNEL);
	}

	return ret;
}

static void snp_record(u64 first, unsigned long nr, u64 split_2m, u64 split_1g)
{
	union snp_region region;
	unsigned long i;

	for (i = 0; i < nr; i++) {
		region = snp_region_load(first + i);
		if (split_2m & BIT_ULL(i))
			region = snp_region_next(region);
		else
			region.flags |= REGION_4K;
		snp_region_store(first + i, region);
		if (split_1g & BIT_ULL(i))
			xa_store(&snp_gigas, snp_giga_of(first + i), xa_mk_value(1), GFP_ATOMIC);
	}
}

/* Count and trace what a split of @nr regions has come to. */
static int snp_split_result(u64 first, unsigned long nr, u64 split_2m, u64 split_1g, int ret)
{
	snp_count(SNP_DIRECTMAP_SPLIT_2M, hweight64(split_2m));
	snp_count(SNP_DIRECTMAP_SPLIT_1G, hweight64(split_1g));
	if (split_2m | split_1g)
		snp_count(SNP_DIRECTMAP_FLUSHES, 1);
	if (ret)
		snp_count(SNP_DIRECTMAP_SPLIT_FAILED, 1);
	trace_snp_directmap_split(first * PTRS_PER_PMD, nr, hweight64(split_2m),
				  hweight64(split_1g), ret);
	return ret;
}

/* Have some regions mapped by 4K, and know it. */
static int snp_split(u64 first, unsigned long nr)
{
	u64 split_2m = 0, split_1g = 0;
	int ret;

	mutex_lock(&snp_split_mutex);
	ret = snp_reserve(first, nr);
	if (!ret)
		ret = direct_map_split(first * PTRS_PER_PMD, nr * PTRS_PER_PMD,
				       &split_2m, &split_1g);
	if (!ret) {
		snp_record(first, nr, split_2m, split_1g);
		snp_count(SNP_DIRECTMAP_SKIPPED_4K, nr - hweight64(split_2m));
	}
	mutex_unlock(&snp_split_mutex);

	return snp_split_result(first, nr, split_2m, split_1g, ret);
}

/* For 4K entries. */
static int snp_have_4k(u64 pfn, unsigned long nr)
{
	u64 region = snp_region_of(pfn), end = snp_region_of(pfn + nr - 1) + 1;
	unsigned long skipped = 0;
	int ret = 0;

	for (; !ret && region < end; region++) {
		if (snp_region_load(region).flags & REGION_4K) {
			skipped++;
			continue;
		}
		nr = min_t(u64, end - region, DIRECT_MAP_MAX_REGIONS);
		ret = snp_split(region, nr);
		region += nr - 1;
	}

	if (skipped) {
		snp_count(SNP_DIRECTMAP_SKIPPED_4K, skipped);
		trace_snp_directmap_skip(pfn, PG_LEVEL_4K);
	}
	return ret;
}

/* Allocatable memory; the kernel's image is not, and stays mapped as it is. */
static int snp_presplit_range(unsigned long pfn, unsigned long nr, void *data)
{
	u64 image = snp_region_of(PFN_DOWN(__pa_symbol(_text)));
	u64 image_end = snp_region_of(PFN_DOWN(__pa_symbol(_end) - 1)) + 1;
	u64 region = snp_region_of(pfn), end = snp_region_of(pfn + nr - 1) + 1;
	u64 split_2m, split_1g, chunk;
	int ret;

	for (; region < end; region += chunk) {
		if (region >= image && region < image_end) {
			chunk = image_end - region;
			continue;
		}
		chunk = min_t(u64, end - region, DIRECT_MAP_MAX_REGIONS);
		if (region < image)
			chunk = min(chunk, image - region);
		ret = direct_map_split(region * PTRS_PER_PMD, chunk * PTRS_PER_PMD,
				       &split_2m, &split_1g);
		if (snp_split_result(region, chunk, split_2m, split_1g, ret))
			return ret;
		cond_resched();
	}

	return 0;
}

/*
 * Once, for the first page of the first guest.  What is split here has no record, and so
 * is not put back.  What fails is split on demand.
 */
static void snp_presplit_all(void)
{
	mutex_lock(&snp_split_mutex);
	if (!snp_presplit_done) {
		if (walk_system_ram_range(0, max_pfn, NULL, snp_presplit_range) == -ENOMEM)
			pr_warn("no memory to split all of the direct map; the rest is split on demand\n");
		WRITE_ONCE(snp_presplit_done, true);
	}
	mutex_unlock(&snp_split_mutex);
}

static bool snp_valid_range(u64 pfn, unsigned long nr, int level)
{
	if (WARN_ON_ONCE(level > PG_LEVEL_2M) || !nr)
		return false;

	if (level == PG_LEVEL_2M)
		return nr == 1 && IS_ALIGNED(pfn, PTRS_PER_PMD) && pfn_valid(pfn) &&
		       pfn_valid(pfn + PTRS_PER_PMD - 1);

	return pfn_valid(pfn) && pfn_valid(pfn + nr - 1);
}

/* A page of it has become shared, maybe the last one. */
static void snp_region_shared(u64 nr)
{
	union snp_region region;

	if (xa_get_mark(&snp_regions, nr, REGION_SHARED))
		return;

	region = snp_region_load(nr);
	if (!(region.flags & REGION_OURS))
		return;

	region.stamp = jiffies;
	snp_region_store(nr, region);
	xa_set_mark(&snp_regions, nr, REGION_SHARED);
	/* Which are due by then, the work item finds out. */
	if (READ_ONCE(snp_directmap_restore))
		queue_delayed_work(system_unbound_wq, &snp_restore, RESTORE_DELAY);
}

static void snp_range_shared(u64 pfn, unsigned long nr)
{
	u64 region;

	/* RMPUPDATE before the look at the marks; pairs with snp_batch_fill(). */
	smp_mb();
	for (region = snp_region_of(pfn); region <= snp_region_of(pfn + nr - 1); region++)
		snp_region_shared(region);
}

/* Pages that cannot be taken back must not be freed by whoever has allocated them. */
static void snp_undo(u64 pfn, unsigned long nr)
{
	struct rmp_state shared = {};
	unsigned long i;

	for (i = 0; i < nr; i++) {
		if (WARN_ON_ONCE(rmpupdate(pfn + i, &shared)))
			get_page(pfn_to_page(pfn + i));
	}
}

/* RMPUPDATE of all of them, or of none if they are to become private. */
static int snp_update_entries(u64 pfn, unsigned long nr, struct rmp_state *state)
{
	unsigned long i;
	int ret = 0;

	for (i = 0; i < nr; i++) {
		ret = rmpupdate(pfn + i, state);
		if (ret)
			break;
		if (state->assigned)
			state->gpa += PAGE_SIZE;
	}

	if (ret && state->assigned)
		snp_undo(pfn, i);
	if (ret || !state->assigned)
		snp_range_shared(pfn, nr);
	return ret;
}

int snp_directmap_update(u64 pfn, unsigned long nr, struct rmp_state *state)
{
	int level = RMP_TO_PG_LEVEL(state->pagesize), ret = 0;

	if (!cc_platform_has(CC_ATTR_HOST_SEV_SNP))
		return -ENODEV;

	if (!snp_valid_range(pfn, nr, level))
		return -EINVAL;

	percpu_down_read(&snp_directmap_rwsem);
	if (snp_presplit && state->asid && !READ_ONCE(snp_presplit_done))
		snp_presplit_all();

	if (level == PG_LEVEL_2M) {
		snp_count(SNP_DIRECTMAP_SKIPPED_2M, 1);
		trace_snp_directmap_skip(pfn, PG_LEVEL_2M);
	} else {
		ret = snp_have_4k(pfn, nr);
	}
	if (!ret)
		ret = snp_update_entries(pfn, nr, state);
	percpu_up_read(&snp_directmap_rwsem);

	return ret;
}

/**
 * rmp_make_private_range() - give 4K pages to a guest, or to the firmware
 * @pfn: of the first page
 * @gpa: of the first page, in bytes
 * @nr: how many, consecutive in both
 * @asid: of the guest, 0 for the firmware
 * @immutable: for the firmware to change them
 *
 * As many calls of rmp_make_private() do, but the direct map is split and flushed once
 * for all of them.
 *
 * Return: as snp_directmap_update().
 */
int rmp_make_private_range(u64 pfn, u64 gpa, unsigned long nr, u32 asid, bool immutable)
{
	struct rmp_state state = {
		.assigned = 1,
		.immutable = immutable,
		.asid = asid,
		.gpa = gpa,
		.pagesize = RMP_PG_SIZE_4K,
	};

	return snp_directmap_update(pfn, nr, &state);
}
EXPORT_SYMBOL_GPL(rmp_make_private_range);

/**
 * rmp_make_shared_range() - take 4K pages back
 * @pfn: of the first page
 * @nr: how many
 *
 * Return: as snp_directmap_update(); on -EFAULT those up to the one refused are shared.
 */
int rmp_make_shared_range(u64 pfn, unsigned long nr)
{
	struct rmp_state state = { .pagesize = RMP_PG_SIZE_4K };

	return snp_directmap_update(pfn, nr, &state);
}
EXPORT_SYMBOL_GPL(rmp_make_shared_range);

/* As the RMP says. */
static bool snp_region_is_shared(u64 nr)
{
	u64 pfn = nr * PTRS_PER_PMD;
	bool assigned;
	int i, level;

	for (i = 0; i < PTRS_PER_PMD; i++) {
		if (snp_lookup_rmpentry(pfn + i, &assigned, &level) || assigned)
			return false;
	}

	return true;
}

/* Whether or not it has lost its mapping; what maps it is to be no larger than it is. */
static bool snp_region_is_poisoned(u64 nr)
{
	u64 pfn = nr * PTRS_PER_PMD;
	int i;

	for (i = 0; i < PTRS_PER_PMD; i++) {
		if (PageHWPoison(pfn_to_page(pfn + i)))
			return true;
	}

	return false;
}

struct snp_batch {
	u64 regions[RESTORE_BATCH];
	int nr;
	bool more;
	unsigned long next;	/* when others are due, as a delay */
	struct list_head tables;
};

static void snp_keep(u64 nr, enum snp_directmap_stat reason)
{
	snp_count(reason, 1);
	trace_snp_directmap_restore(nr * PTRS_PER_PMD, PG_LEVEL_2M, reason);
}

/*
 * The regions that are due and look shared.  Each is forgotten before the look at the RMP:
 * whoever makes a page shared after that has it looked at again.
 */
static void snp_batch_fill(struct snp_batch *batch)
{
	union snp_region region;
	unsigned long nr = 0;
	void *entry;

	xa_for_each_marked(&snp_regions, nr, entry, REGION_SHARED) {
		region.val = xa_to_value(entry);
		if (snp_region_age(region) < snp_region_delay(region)) {
			batch->next = min_t(unsigned long, batch->next,
					    snp_region_delay(region) - snp_region_age(region));
			continue;
		}
		if (batch->nr == RESTORE_BATCH) {
			batch->more = true;
			break;
		}
		xa_clear_mark(&snp_regions, nr, REGION_SHARED);
		/* The mark before the look at the RMP; pairs with snp_range_shared(). */
		smp_mb();
		if (snp_region_is_shared(nr))
			batch->regions[batch->nr++] = nr;
		else
			snp_keep(nr, SNP_DIRECTMAP_KEPT_PRIVATE);
		cond_resched();
	}
}

/* Attributes that differ now need not always; look again, but ever more seldom. */
static void snp_region_retry(u64 nr)
{
	union snp_region region = snp_region_load(nr);

	region.shift = min(region.shift + 1, RESTORE_MAX_SHIFT);
	region.stamp = jiffies;
	snp_region_store(nr, region);
	xa_set_mark(&snp_regions, nr, REGION_SHARED);
}

static void snp_restore_region(u64 nr, struct list_head *tables)
{
	union snp_region region = snp_region_load(nr);

	/* The memory may have gone since the batch was filled. */
	if (!(region.flags & REGION_OURS))
		return;
	if (!snp_region_is_shared(nr)) {
		snp_keep(nr, SNP_DIRECTMAP_KEPT_PRIVATE);
		return;
	}
	if (snp_region_is_poisoned(nr) ||
	    !direct_map_collapse(nr * PTRS_PER_PMD, PG_LEVEL_2M, tables)) {
		snp_keep(nr, SNP_DIRECTMAP_KEPT_MIXED);
		snp_region_retry(nr);
		return;
	}

	region.flags = REGION_BACK;
	region.stamp = jiffies;
	snp_region_store(nr, region);
	snp_count(SNP_DIRECTMAP_RESTORED_2M, 1);
	trace_snp_directmap_restore(nr * PTRS_PER_PMD, PG_LEVEL_2M, SNP_DIRECTMAP_RESTORED_2M);
}

/* 1G pages need no look at the RMP: none of their 2M pages has a private 4K page. */
static void snp_restore_giga(u64 giga, struct list_head *tables)
{
	u64 pfn = giga * PTRS_PER_PUD * PTRS_PER_PMD;

	if (!xa_load(&snp_gigas, giga) || !direct_map_collapse(pfn, PG_LEVEL_1G, tables))
		return;

	xa_erase(&snp_gigas, giga);
	snp_count(SNP_DIRECTMAP_RESTORED_1G, 1);
	trace_snp_directmap_restore(pfn, PG_LEVEL_1G, SNP_DIRECTMAP_RESTORED_1G);
}

static void snp_batch_restore(struct snp_batch *batch)
{
	u64 giga;
	int i;

	/* Against removal of the memory, and against ptdump. */
	get_online_mems();
	mmap_read_lock(&init_mm);
	percpu_down_write(&snp_directmap_rwsem);

	for (i = 0; i < batch->nr; i++)
		snp_restore_region(batch->regions[i], &batch->tables);

	for (i = 0; i < batch->nr; i++) {
		giga = snp_giga_of(batch->regions[i]);
		if (i + 1 == batch->nr || giga != snp_giga_of(batch->regions[i + 1]))
			snp_restore_giga(giga, &batch->tables);
	}

	percpu_up_write(&snp_directmap_rwsem);
	mmap_read_unlock(&init_mm);
	put_online_mems();

	direct_map_free_tables(&batch->tables);
}

static void snp_restore_work(struct work_struct *work)
{
	struct snp_batch batch = { .next = ULONG_MAX };

	if (!READ_ONCE(snp_directmap_restore))
		return;

	INIT_LIST_HEAD(&batch.tables);
	snp_batch_fill(&batch);
	if (batch.nr)
		snp_batch_restore(&batch);

	if (batch.more)
		batch.next = 1;
	if (xa_marked(&snp_regions, REGION_SHARED))
		queue_delayed_work(system_unbound_wq, &snp_restore,
				   min(batch.next, (unsigned long)RESTORE_DELAY));
}

/* No page of it is looked at any more, nor is what was known held against what comes. */
void snp_directmap_forget(u64 pfn, unsigned long nr)
{
	u64 region;

	percpu_down_write(&snp_directmap_rwsem);
	for (region = snp_region_of(pfn); region <= snp_region_of(pfn + nr - 1); region++) {
		xa_erase(&snp_regions, region);
		xa_erase(&snp_gigas, snp_giga_of(region));
	}
	percpu_up_write(&snp_directmap_rwsem);
}

/* The parameters are the kernel's, not those of a module. */
#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX ""

static int snp_restore_set(const char *val, const struct kernel_param *kp)
{
	int ret = param_set_bool(val, kp);

	/* Before there are workqueues there is nothing to put back either. */
	if (!ret && snp_directmap_restore && xa_marked(&snp_regions, REGION_SHARED))
		queue_delayed_work(system_unbound_wq, &snp_restore, 0);
	return ret;
}

static const struct kernel_param_ops snp_restore_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = snp_restore_set,
	.get = param_get_bool,
};

core_param_cb(snp_directmap_restore, &snp_restore_ops, &snp_directmap_restore, 0644);

static int snp_policy_set(const char *val, const struct kernel_param *kp)
{
	if (val && !strcmp(val, "presplit"))
		snp_presplit = true;
	else if (val && !strcmp(val, "ondemand"))
		snp_presplit = false;
	else
		pr_warn("snp_directmap=%s: unknown, the direct map is split on demand\n",
			val ?: "");
	return 0;
}

static int snp_policy_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%s\n", snp_presplit ? "presplit" : "ondemand");
}

static const struct kernel_param_ops snp_policy_ops = {
	.set = snp_policy_set,
	.get = snp_policy_get,
};

core_param_cb(snp_directmap, &snp_policy_ops, NULL, 0444);
