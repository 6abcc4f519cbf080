// SPDX-License-Identifier: GPL-2.0
/*
 * One CPU changes RMP entries of a block while another writes to the rest of it:
 * no fault where the kernel splits the direct map first, and many where nobody does.
 */
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/kthread.h>

#include "snp_test.h"

#define GPA		0x200000ull
#define ROUNDS		30
#define NR_PRIVATE	20
#define NR_WRITES	200	/* at least, in each phase */

struct writer {
	struct task_struct *task;
	char *va;		/* the first of the pages to write, or NULL */
	u64 writes;
	u64 faults;
};

static int writer_thread(void *data)
{
	struct writer *w = data;
	char *va;
	int i;

	while (!kthread_should_stop()) {
		va = READ_ONCE(w->va);
		for (i = NR_PRIVATE; va && i < BLOCK_PAGES; i++) {
			if (write_traps(va + (i << PAGE_SHIFT)))
				WRITE_ONCE(w->faults, w->faults + 1);
			WRITE_ONCE(w->writes, w->writes + 1);
		}
		cond_resched();
	}
	return 0;
}

static bool writer_start(struct test *t, struct writer *w)
{
	unsigned int cpu;

	cpu = cpumask_any_but(cpu_online_mask, raw_smp_processor_id());
	if (cpu >= nr_cpu_ids) {
		test_fail(t, __LINE__, "needs two CPUs");
		return false;
	}
	w->task = kthread_create_on_cpu(writer_thread, w, cpu, "snp_writer/%u");
	if (IS_ERR(w->task)) {
		test_fail(t, __LINE__, "no thread");
		return false;
	}
	wake_up_process(w->task);
	return true;
}

static void wait_for_writes(struct writer *w)
{
	u64 until = READ_ONCE(w->writes) + NR_WRITES;

	while (READ_ONCE(w->writes) < until)
		cond_resched();
}

static void change_pages(struct test *t, struct block *b, bool raw)
{
	int i, ret;

	for (i = 0; i < NR_PRIVATE; i++) {
		if (raw)
			ret = raw_private(b->pfn + i, GPA + PFN_PHYS(i), RMP_PG_SIZE_4K);
		else
			ret = rmp_make_private(b->pfn + i, GPA + PFN_PHYS(i), PG_LEVEL_4K,
					       TEST_ASID, false);
		if (!EXPECT(t, !ret))
			return;
	}
}

static void change_back(struct test *t, struct block *b, bool raw)
{
	int i, ret;

	for (i = 0; i < NR_PRIVATE; i++) {
		if (raw)
			ret = raw_shared(b->pfn + i, RMP_PG_SIZE_4K);
		else
			ret = rmp_make_shared(b->pfn + i, PG_LEVEL_4K);
		if (!EXPECT(t, !ret))
			return;
	}
}

/* A block that is new in each round, so that each has something to split. */
static void stress(struct test *t, struct writer *w, bool raw)
{
	struct block *b;
	int round;

	if (!writer_start(t, w))
		return;
	for (round = 0; round < ROUNDS && !t->failed; round++) {
		b = block_alloc(t, PG_LEVEL_2M);
		if (!b)
			break;
		WRITE_ONCE(w->va, b->va);
		wait_for_writes(w);
		change_pages(t, b, raw);
		wait_for_writes(w);
		change_back(t, b, raw);
		wait_for_writes(w);
		WRITE_ONCE(w->va, NULL);
	}
	kthread_stop(w->task);
}

static void kernel_updates_fault_nobody(struct test *t)
{
	struct writer w = {};

	stress(t, &w, false);
	EXPECT_EQ(t, w.faults, 0);
	EXPECT(t, w.writes >= ROUNDS * NR_WRITES);
}

/* The control. */
static void raw_updates_fault_neighbours(struct test *t)
{
	struct writer w = {};

	stress(t, &w, true);
	EXPECT(t, w.faults >= ROUNDS);
	EXPECT(t, w.faults < w.writes);
}

/* Updates from all CPUs at once, each to a block of its own. */
struct updater {
	struct completion done;
	struct block *block;
	int failed;
};

static int updater_thread(void *data)
{
	struct updater *u = data;
	int round, i;

	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < NR_PRIVATE; i++) {
			if (raw_private(u->block->pfn + i, GPA, RMP_PG_SIZE_4K) ||
			    raw_shared(u->block->pfn + i, RMP_PG_SIZE_4K))
				u->failed++;
		}
		cond_resched();
	}
	complete(&u->done);
	return 0;
}

static void updates_on_all_cpus(struct test *t)
{
	u64 ok = counter(CNT_RMPUPDATE);
	struct updater u[2] = {};
	struct task_struct *task;
	int i, started = 0;

	for (i = 0; i < ARRAY_SIZE(u) && i < num_online_cpus(); i++) {
		init_completion(&u[i].done);
		u[i].block = block_alloc(t, PG_LEVEL_2M);
		if (!u[i].block)
			break;
		task = kthread_create_on_cpu(updater_thread, &u[i], i, "snp_updater/%u");
		if (IS_ERR(task))
			break;
		wake_up_process(task);
		started++;
	}
	for (i = 0; i < started; i++) {
		wait_for_completion(&u[i].done);
		EXPECT_EQ(t, u[i].failed, 0);
	}
	EXPECT_EQ(t, started, 2);
	EXPECT_EQ(t, counter(CNT_RMPUPDATE) - ok, 2 * ROUNDS * NR_PRIVATE * started);
}

static const struct test_case cases[] = {
	TEST_CASE(kernel_updates_fault_nobody),
	TEST_CASE(raw_updates_fault_neighbours),
	TEST_CASE(updates_on_all_cpus),
};

TEST_GROUP(stress, cases, .needs_snp = true);
