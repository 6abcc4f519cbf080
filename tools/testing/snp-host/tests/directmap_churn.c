// SPDX-License-Identifier: GPL-2.0
/*
 * Pages of many regions of the direct map become private and shared at random, on all
 * CPUs at once, one by one, in ranges, and all 2M at a time, while others write to their
 * neighbours and while the kernel puts back what it may.  What the RMP and the page tables
 * should be is known from a model, and they are compared with it after each batch.
 *
 * In every second region or so nothing becomes private, for as many batches as it happens:
 * these are the ones that get whole again while the others go on, and split after that.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/moduleparam.h>
#include <linux/prandom.h>
#include <linux/rwsem.h>
#include <linux/slab.h>

#include "directmap.h"

#ifdef SNP_TEST_DIRECTMAP

static unsigned int churn_ops = 1000000;
module_param(churn_ops, uint, 0);
MODULE_PARM_DESC(churn_ops, "random operations on the direct map (1000000)");

static unsigned int churn_seed = 1;
module_param(churn_seed, uint, 0);
MODULE_PARM_DESC(churn_seed, "what they are chosen by (1)");

#define NR_REGIONS	128
#define BATCHES		100
#define BATCHES_ALIKE	8	/* in one region, on average */
#define CONTROL_OPS	2000

/* Of each group of pages, which belongs to one CPU, the last one is always shared. */
#define GROUP_PAGES	32
#define NR_GROUPS	(BLOCK_PAGES / GROUP_PAGES)

struct region {
	/* Held for writing to change all 2M at once, for reading to change or write pages. */
	struct rw_semaphore lock;
	struct block *block;
	enum pg_level level;		/* before anything was done */
	u64 attributes;
	bool drain;			/* nothing becomes private */
	bool huge;			/* one private 2M */
	atomic_t nr_private;		/* small pages */
	bool private[BLOCK_PAGES];	/* small pages, by the CPU that has the group */
};

struct churn {
	struct region *region;
	bool raw;			/* RMPUPDATE alone, for the control */
	bool stop;			/* of the writers */
};

struct worker {
	struct churn *churn;
	struct rnd_state rnd;
	struct completion done;
	struct task_struct *task;
	int nr, of;
	unsigned int ops;		/* to do */
	unsigned int failed;
	u64 writes, faults;
};

static u32 below(struct worker *w, u32 limit)
{
	return prandom_u32_state(&w->rnd) % limit;
}

/* QEMU goes on to the next CPU here, so that all points are reached by the others. */
static void let_others_run(struct worker *w)
{
	if (!below(w, 4))
		cpu_relax();
	cond_resched();
}

/* Changes */

static int change_raw(struct region *r, int first, int nr, bool private)
{
	int i, ret = 0;

	for (i = first; i < first + nr && !ret; i++) {
		if (private)
			ret = raw_private(r->block->pfn + i, GPA + PFN_PHYS(i), RMP_PG_SIZE_4K);
		else
			ret = raw_shared(r->block->pfn + i, RMP_PG_SIZE_4K);
	}
	return ret;
}

static int change_range(struct region *r, int first, int nr, bool private)
{
	u64 pfn = r->block->pfn + first;

	if (private)
		return rmp_make_private_range(pfn, GPA + PFN_PHYS(first), nr, TEST_ASID, false);
	return rmp_make_shared_range(pfn, nr);
}

static int change_page(struct region *r, int i, bool private)
{
	u64 pfn = r->block->pfn + i;

	if (private)
		return rmp_make_private(pfn, GPA + PFN_PHYS(i), PG_LEVEL_4K, TEST_ASID, false);
	return rmp_make_shared(pfn, PG_LEVEL_4K);
}

/* A page of one of our groups, and as many after it as are alike. */
static bool change_small(struct worker *w, struct region *r)
{
	int group = below(w, NR_GROUPS / w->of) * w->of + w->nr;
	int first = group * GROUP_PAGES + below(w, GROUP_PAGES - 1);
	int end = (group + 1) * GROUP_PAGES - 1;
	int nr = 1, max, i, ret;
	bool private;

	while (r->drain && first < end && !r->private[first])
		first++;
	if (first == end)
		return false;
	private = !r->private[first];
	max = below(w, 2) ? 1 : 1 + below(w, GROUP_PAGES);
	while (nr < max && first + nr < end && r->private[first + nr] != private)
		nr++;

	if (private)
		atomic_add(nr, &r->nr_private);
	if (w->churn->raw)
		ret = change_raw(r, first, nr, private);
	else if (nr == 1 && below(w, 2))
		ret = change_page(r, first, private);
	else
		ret = change_range(r, first, nr, private);
	if (!private)
		atomic_sub(nr, &r->nr_private);
	for (i = first; i < first + nr; i++)
		r->private[i] = private;
	if (ret)
		w->failed++;
	return true;
}

/* The whole region, if nothing of it is private, or all of it. */
static bool change_huge(struct worker *w, struct region *r)
{
	int ret;

	if (r->huge)
		ret = rmp_make_shared(r->block->pfn, PG_LEVEL_2M);
	else if (!r->drain && !atomic_read(&r->nr_private))
		ret = rmp_make_private(r->block->pfn, GPA, PG_LEVEL_2M, TEST_ASID, false);
	else
		return false;
	r->huge = !r->huge;
	if (ret)
		w->failed++;
	return true;
}

static bool change_one(struct worker *w)
{
	struct region *r = &w->churn->region[below(w, NR_REGIONS)];
	bool changed = false;

	if (!w->churn->raw && (READ_ONCE(r->huge) || !below(w, 16))) {
		if (down_write_trylock(&r->lock)) {
			changed = change_huge(w, r);
			up_write(&r->lock);
		}
	} else if (down_read_trylock(&r->lock)) {
		changed = !r->huge && change_small(w, r);
		up_read(&r->lock);
	}
	return changed;
}

static int changer_thread(void *data)
{
	struct worker *w = data;
	unsigned int tries;

	/* All may be drained; nothing is left to do then. */
	for (tries = 0; w->ops && tries < 10000; tries++) {
		if (change_one(w)) {
			w->ops--;
			tries = 0;
		}
		let_others_run(w);
	}
	complete(&w->done);
	return 0;
}

/* Writes */

static int writer_thread(void *data)
{
	struct worker *w = data;
	struct region *r;
	int page;

	while (!READ_ONCE(w->churn->stop)) {
		r = &w->churn->region[below(w, NR_REGIONS)];
		page = below(w, NR_GROUPS) * GROUP_PAGES + GROUP_PAGES - 1;
		if (down_read_trylock(&r->lock)) {
			if (!r->huge) {
				w->faults += write_traps(block_page(r->block, page));
				w->writes++;
			}
			up_read(&r->lock);
		}
		let_others_run(w);
		/* Operations are what there are to be many of. */
		if (!below(w, 32))
			fsleep(50);
	}
	complete(&w->done);
	return 0;
}

/* Threads, one of a kind for each CPU */

static bool worker_start(struct test *t, struct worker *w, int (*fn)(void *), unsigned int cpu,
			 const char *name)
{
	init_completion(&w->done);
	w->task = kthread_create_on_cpu(fn, w, cpu, name);
	if (IS_ERR(w->task)) {
		test_fail(t, __LINE__, "no thread");
		return false;
	}
	wake_up_process(w->task);
	return true;
}

struct workers {
	int nr;
	struct worker changer[NR_CPUS], writer[NR_CPUS];
};

/* So many operations by all CPUs; whether that worked. */
static bool run_batch(struct test *t, struct churn *c, struct workers *all, unsigned int ops)
{
	int i, writers = 0, changers = 0;
	struct worker *w;

	c->stop = false;
	for (i = 0; i < all->nr; i++, writers++) {
		if (!worker_start(t, &all->writer[i], writer_thread, i, "snp_writer/%u"))
			break;
	}
	for (i = 0; i < all->nr; i++, changers++) {
		w = &all->changer[i];
		w->ops = ops / all->nr;
		if (!worker_start(t, w, changer_thread, i, "snp_changer/%u"))
			break;
	}
	for (i = 0; i < changers; i++)
		wait_for_completion(&all->changer[i].done);
	WRITE_ONCE(c->stop, true);
	for (i = 0; i < writers; i++)
		wait_for_completion(&all->writer[i].done);
	return !t->failed;
}

/* The model */

/* Pages that are not as they should be are named, the first of a region. */
static bool rmp_is_right(struct test *t, const struct region *r)
{
	int i, level, want_level = r->huge ? PG_LEVEL_2M : PG_LEVEL_4K;
	bool assigned, want;

	for (i = 0; i < BLOCK_PAGES; i++) {
		want = r->huge || r->private[i];
		if (!EXPECT(t, !snp_lookup_rmpentry(r->block->pfn + i, &assigned, &level)))
			return false;
		if (assigned != want || (want && level != want_level)) {
			test_fail(t, __LINE__, "page %d is %s, of level %d; want %s, of level %d",
				  i, assigned ? "private" : "shared", level,
				  want ? "private" : "shared", want_level);
			return false;
		}
	}
	return true;
}

static bool region_is_right(struct test *t, const struct region *r)
{
	int nr = 0, i;

	for (i = 0; i < BLOCK_PAGES; i++)
		nr += r->private[i];
	EXPECT_EQ(t, atomic_read(&r->nr_private), nr);
	/* The worker of the kernel may be at it right now if nothing is private. */
	if (nr)
		EXPECT_EQ(t, map_level(r->block->va), PG_LEVEL_4K);
	EXPECT(t, dm_is_sound(r->block->va, r->attributes));
	return rmp_is_right(t, r) && !t->failed;
}

static bool regions_alloc(struct test *t, struct churn *c, enum pg_level level)
{
	struct region *r;
	int i;

	c->region = kcalloc(NR_REGIONS, sizeof(*c->region), GFP_KERNEL);
	if (!EXPECT(t, c->region))
		return false;
	for (i = 0; i < NR_REGIONS; i++) {
		r = &c->region[i];
		init_rwsem(&r->lock);
		r->block = block_alloc(t, level);
		if (!r->block)
			return false;
		r->level = level;
		r->attributes = dm_attributes(r->block->va);
	}
	return true;
}

static void workers_init(struct workers *all, struct churn *c)
{
	int i;

	/* Each has the same number of groups. */
	all->nr = rounddown_pow_of_two(min_t(int, num_online_cpus(), NR_GROUPS));
	for (i = 0; i < all->nr; i++) {
		all->changer[i] = (struct worker){ .churn = c, .nr = i, .of = all->nr };
		prandom_seed_state(&all->changer[i].rnd, churn_seed + 2 * i);
		all->writer[i] = (struct worker){ .churn = c };
		prandom_seed_state(&all->writer[i].rnd, churn_seed + 2 * i + 1);
	}
}

static void share_all(struct test *t, struct churn *c)
{
	struct region *r;
	int i, k, ret = 0;

	for (i = 0; i < NR_REGIONS; i++) {
		r = &c->region[i];
		if (r->huge)
			ret = rmp_make_shared(r->block->pfn, PG_LEVEL_2M);
		for (k = 0; k < BLOCK_PAGES && !ret; k++) {
			if (!r->private[k])
				continue;
			if (c->raw)
				ret = change_raw(r, k, 1, false);
			else
				ret = change_page(r, k, false);
		}
		EXPECT_EQ(t, ret, 0);
	}
}

static void choose_drained(struct churn *c, struct worker *w)
{
	int i;

	for (i = 0; i < NR_REGIONS; i++) {
		if (!below(w, BATCHES_ALIKE / 2))
			c->region[i].drain = below(w, 2);
	}
}

static void count(const struct workers *all, u64 *writes, u64 *faults, u64 *failed)
{
	int i;

	*writes = 0;
	*faults = 0;
	*failed = 0;
	for (i = 0; i < all->nr; i++) {
		*writes += all->writer[i].writes;
		*faults += all->writer[i].faults;
		*failed += all->changer[i].failed;
	}
}

static u64 ops_left(const struct workers *all)
{
	u64 left = 0;
	int i;

	for (i = 0; i < all->nr; i++)
		left += all->changer[i].ops;
	return left;
}

/* Batch by batch, as many operations as there are to be. */
static u64 run_batches(struct test *t, struct churn *c, struct workers *all)
{
	u64 done = 0;
	int i;

	while (done < churn_ops) {
		choose_drained(c, &all->writer[0]);
		if (!run_batch(t, c, all, churn_ops / BATCHES))
			break;
		done += churn_ops / BATCHES - ops_left(all);
		for (i = 0; i < NR_REGIONS; i++) {
			if (!region_is_right(t, &c->region[i]))
				return done;
		}
	}
	return done;
}

static void all_is_restored(struct test *t, struct churn *c)
{
	unsigned long end = jiffies + msecs_to_jiffies(RESTORE_MS);
	int i;

	for (i = 0; i < NR_REGIONS; i++) {
		while (map_level(c->region[i].block->va) != c->region[i].level) {
			if (time_after(jiffies, end)) {
				test_fail(t, __LINE__, "region %d is not restored", i);
				return;
			}
			msleep(20);
		}
		EXPECT(t, dm_is_sound(c->region[i].block->va, c->region[i].attributes));
	}
}

static void churn(struct test *t, enum pg_level level)
{
	struct dm_counts before, between, after;
	u64 host_faults = counter(CNT_HOST_FAULT), writes, faults, failed, done;
	struct workers *all = kvzalloc(sizeof(*all), GFP_KERNEL);
	struct churn c = {};

	if (!EXPECT(t, all) || !dm_counts_now(t, &before) || !regions_alloc(t, &c, level))
		goto out;
	workers_init(all, &c);
	done = run_batches(t, &c, all);
	count(all, &writes, &faults, &failed);
	dm_counts_now(t, &between);
	pr_info("%llu operations, %llu writes, %llu splits, %llu restored meanwhile\n",
		done, writes, between.split_2m - before.split_2m,
		between.restored_2m - before.restored_2m);
	EXPECT_EQ(t, failed, 0);
	EXPECT_EQ(t, faults, 0);
	EXPECT_EQ(t, counter(CNT_HOST_FAULT), host_faults);
	EXPECT(t, writes > done / 100);
	/* Or else nothing has raced with anything. */
	EXPECT(t, between.restored_2m - before.restored_2m >= churn_ops / 50000);

	share_all(t, &c);
	all_is_restored(t, &c);
	dm_counts_now(t, &after);
	EXPECT_EQ(t, after.kb_4k, before.kb_4k);
	EXPECT_EQ(t, after.kb_2m, before.kb_2m);
	EXPECT_EQ(t, after.kb_1g, before.kb_1g);
	EXPECT_EQ(t, after.split_2m - before.split_2m, after.restored_2m - before.restored_2m);
	EXPECT_EQ(t, after.split_failed, before.split_failed);
out:
	kfree(c.region);
	kvfree(all);
}

static void churn_2m(struct test *t)
{
	churn(t, PG_LEVEL_2M);
}

/* The control: without the kernel's split the neighbours fault, and are seen to. */
static void raw_churn_faults(struct test *t)
{
	u64 host_faults = counter(CNT_HOST_FAULT), writes, faults, failed;
	struct workers *all = kvzalloc(sizeof(*all), GFP_KERNEL);
	struct churn c = { .raw = true };

	if (!EXPECT(t, all) || !regions_alloc(t, &c, PG_LEVEL_2M))
		goto out;
	workers_init(all, &c);
	run_batch(t, &c, all, CONTROL_OPS);
	count(all, &writes, &faults, &failed);
	EXPECT_EQ(t, failed, 0);
	EXPECT(t, faults);
	EXPECT_EQ(t, counter(CNT_HOST_FAULT) - host_faults, faults);
	share_all(t, &c);
out:
	kfree(c.region);
	kvfree(all);
}

static const struct test_case cases[] = {
	TEST_CASE(raw_churn_faults),
	TEST_CASE(churn_2m),
};

TEST_GROUP(directmap_churn, cases, .needs_snp = true);

#endif /* SNP_TEST_DIRECTMAP */
