// SPDX-License-Identifier: GPL-2.0
/*
 * Work on the large pages of a memslot: cut into chunks, by several threads, at
 * the pace that the operator allows.
 *
 * The threads are vhost tasks, which are threads of the calling process: they
 * inherit its cgroups and its CPUs, they are killed with it, and what they
 * allocate is charged as if the caller had done it itself.
 *
 * They are also stopped and frozen with it, though never in the middle of a chunk.
 * Waiting for such a thread to end, slots_lock held, would keep the caller from
 * stopping or freezing as well.  The caller waits for chunks to be done, without
 * conditions, but for the threads only until it has a signal itself; a work item
 * then sees them off whenever they run again.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/ktime.h>
#include <linux/moduleparam.h>
#include <linux/sched/signal.h>
#include <linux/sched/vhost_task.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "lpage.h"
#include "lpage_work.h"
#include "mmu.h"
#include "mmu_internal.h"
#include "tdp_mmu.h"

#define LPAGE_MAX_THREADS	64

/* With no number given: no thread for less memory than this, and no more threads. */
#define LPAGE_THREAD_PAGES	(SZ_4G >> PAGE_SHIFT)
#define LPAGE_AUTO_THREADS	8

#define LPAGE_DEFAULT_CHUNK	(SZ_128M >> PAGE_SHIFT)

#define LPAGE_MAX_RATE_MBPS	BIT(20)

/* With a limit of the rate, so much of a second's work is done at a time, or 2M. */
#define LPAGE_PACE_HZ		64

/* For how long a thread that is ahead of the limit does not look about itself. */
#define LPAGE_PACE_SLICE	(HZ / 10)

/* The threads that help with one job. */
struct kvm_lpage_crew {
	spinlock_t lock;		/* protects @job and @nr_active */
	struct kvm_lpage_job *job;	/* NULL when there is nothing to begin any more */
	int nr_active;			/* threads with a chunk at hand */
	wait_queue_head_t idle;

	struct work_struct reap;
	struct completion gone;
	int nr;
	struct kvm_lpage_worker workers[];
};

static unsigned int __read_mostly lpage_split_threads;
static unsigned int __read_mostly lpage_rate_mbps;

/* Whatever is wrong with the value, the error is -EINVAL. */
static int lpage_set_uint(const char *val, const struct kernel_param *kp,
			  unsigned int max)
{
	return param_set_uint_minmax(val, kp, 0, max) ? -EINVAL : 0;
}

static int lpage_set_threads(const char *val, const struct kernel_param *kp)
{
	return lpage_set_uint(val, kp, LPAGE_MAX_THREADS);
}

static int lpage_set_rate(const char *val, const struct kernel_param *kp)
{
	return lpage_set_uint(val, kp, LPAGE_MAX_RATE_MBPS);
}

static const struct kernel_param_ops lpage_threads_ops = {
	.set = lpage_set_threads,
	.get = param_get_uint,
};

static const struct kernel_param_ops lpage_rate_ops = {
	.set = lpage_set_rate,
	.get = param_get_uint,
};

module_param_cb(lpage_split_threads, &lpage_threads_ops, &lpage_split_threads, 0644);
module_param_cb(lpage_rate_mbps, &lpage_rate_ops, &lpage_rate_mbps, 0644);

int kvm_lpage_check_cap(void)
{
	return tdp_mmu_enabled ? LPAGE_MAX_THREADS : 0;
}

int kvm_lpage_enable_cap(struct kvm *kvm, const struct kvm_enable_cap *cap)
{
	u64 chunk = cap->args[0], threads = cap->args[1];

	if (!tdp_mmu_enabled || cap->flags || cap->args[2] || cap->args[3])
		return -EINVAL;

	if (chunk > SZ_1G || !IS_ALIGNED(chunk, SZ_2M) || threads > LPAGE_MAX_THREADS)
		return -EINVAL;

	mutex_lock(&kvm->slots_lock);
	kvm->arch.lpage.chunk = chunk >> PAGE_SHIFT;
	kvm->arch.lpage.threads = threads;
	mutex_unlock(&kvm->slots_lock);

	return 0;
}

unsigned int kvm_lpage_chunk(struct kvm *kvm)
{
	unsigned int chunk = kvm->arch.lpage.chunk ?: LPAGE_DEFAULT_CHUNK;
	unsigned int rate = READ_ONCE(lpage_rate_mbps);

	if (rate)
		chunk = min(chunk, rate * (SZ_1M >> PAGE_SHIFT) / LPAGE_PACE_HZ);

	return max_t(unsigned int, gfn_round_for_level(chunk, PG_LEVEL_2M),
		     KVM_PAGES_PER_HPAGE(PG_LEVEL_2M));
}

bool kvm_lpage_pace_sleep(struct kvm_lpage_pace *pace)
{
	s64 left;

	if (!READ_ONCE(lpage_rate_mbps) || signal_pending(current))
		return false;

	left = atomic64_read(&pace->next) - ktime_get_ns();
	if (left <= 0)
		return false;

	schedule_timeout_killable(min_t(u64, nsecs_to_jiffies(left) + 1, LPAGE_PACE_SLICE));
	return true;
}

void kvm_lpage_pace_add(struct kvm_lpage_pace *pace, u64 start, u64 pages)
{
	unsigned int rate = READ_ONCE(lpage_rate_mbps);
	s64 next = atomic64_read(&pace->next), cost;

	if (!rate)
		return;

	cost = div_u64(pages * (NSEC_PER_SEC / (SZ_1M >> PAGE_SHIFT)), rate);
	while (!atomic64_try_cmpxchg(&pace->next, &next, max_t(s64, next, start) + cost))
		;
}

struct kvm_mmu_page *kvm_lpage_next_root(struct kvm *kvm, struct kvm_mmu_page *root,
					 int as_id)
{
	do {
		root = tdp_mmu_next_root(kvm, root, KVM_DIRECT_ROOTS);
	} while (root && kvm_mmu_page_as_id(root) != as_id);

	if (root && KVM_BUG_ON(is_mirror_sp(root), kvm)) {
		kvm_tdp_mmu_put_root(kvm, root);
		return NULL;
	}

	return root;
}

/* Take on one chunk after another until none is left. */
static void lpage_worker_run(struct kvm_lpage_worker *worker)
{
	struct kvm_lpage_job *job = worker->job;
	gfn_t start, end;
	u64 now;

	while (atomic64_read(&job->next) < job->end) {
		/* Others need not wait, and leave nothing to wait for. */
		if (kvm_lpage_pace_sleep(&job->pace))
			continue;

		start = atomic64_fetch_add(job->chunk, &job->next);
		if (start >= job->end)
			break;

		end = min(start + job->chunk, job->end);
		start = max(start, job->start);

		/*
		 * A chunk taken on is not dropped: what is owed even by a task
		 * that is being killed, only the function knows.
		 */
		if (fatal_signal_pending(current))
			WRITE_ONCE(job->killed, true);

		worker->nr_pages = 0;
		now = ktime_get_ns();
		job->fn(worker, start, end);
		kvm_lpage_pace_add(&job->pace, now, worker->nr_pages);

		cond_resched();
	}

	kvm_lpage_pool_free(&worker->pool);
}

/* Called time and again, in TASK_INTERRUPTIBLE; sleeps when it returns false. */
static bool lpage_crew_thread(void *data)
{
	struct kvm_lpage_worker *worker = data;
	struct kvm_lpage_crew *crew = worker->crew;

	spin_lock(&crew->lock);
	worker->job = crew->job;
	if (worker->job)
		crew->nr_active++;
	spin_unlock(&crew->lock);

	if (!worker->job)
		return false;

	__set_current_state(TASK_RUNNING);
	lpage_worker_run(worker);

	spin_lock(&crew->lock);
	crew->job = NULL;
	if (!--crew->nr_active)
		wake_up(&crew->idle);
	spin_unlock(&crew->lock);

	return true;
}

/* A thread that is killed leaves nothing behind that it has taken on. */
static void lpage_crew_thread_killed(void *data)
{
}

static void lpage_crew_reap(struct work_struct *work)
{
	struct kvm_lpage_crew *crew = container_of(work, struct kvm_lpage_crew, reap);
	int i;

	for (i = 0; i < crew->nr; i++)
		vhost_task_stop(crew->workers[i].task);

	complete_all(&crew->gone);
}

static void lpage_crew_free(struct kvm *kvm)
{
	flush_work(&kvm->arch.lpage.crew->reap);
	kfree(kvm->arch.lpage.crew);
	kvm->arch.lpage.crew = NULL;
}

/* As many of the @nr threads as can be had; NULL if none can. */
static struct kvm_lpage_crew *lpage_crew_start(struct kvm_lpage_job *job, int nr)
{
	struct kvm *kvm = job->kvm;
	struct kvm_lpage_crew *crew;
	struct vhost_task *task;

	/* Those of the last job may still be stopped; this one has to do without. */
	if (kvm->arch.lpage.crew) {
		if (!completion_done(&kvm->arch.lpage.crew->gone))
			return NULL;
		lpage_crew_free(kvm);
	}

	crew = kzalloc(struct_size(crew, workers, nr), GFP_KERNEL);
	if (!crew)
		return NULL;

	spin_lock_init(&crew->lock);
	init_waitqueue_head(&crew->idle);
	init_completion(&crew->gone);
	INIT_WORK(&crew->reap, lpage_crew_reap);
	crew->job = job;
	kvm->arch.lpage.crew = crew;

	while (crew->nr < nr) {
		crew->workers[crew->nr].crew = crew;
		task = vhost_task_create(lpage_crew_thread, lpage_crew_thread_killed,
					 &crew->workers[crew->nr], "kvm-lpage");
		if (IS_ERR_OR_NULL(task))
			break;

		crew->workers[crew->nr++].task = task;
		vhost_task_start(task);
	}

	return crew;
}

/* Wait until no chunk is at hand any more, and part with the threads. */
static void lpage_crew_dismiss(struct kvm *kvm, struct kvm_lpage_crew *crew)
{
	spin_lock(&crew->lock);
	crew->job = NULL;
	spin_unlock(&crew->lock);

	wait_event(crew->idle, !READ_ONCE(crew->nr_active));

	queue_work(system_unbound_wq, &crew->reap);
	if (!wait_for_completion_interruptible(&crew->gone))
		lpage_crew_free(kvm);
}

void kvm_lpage_pre_destroy_vm(struct kvm *kvm)
{
	kvm_lpage_stop_converting(kvm);
	if (kvm->arch.lpage.crew)
		lpage_crew_free(kvm);
}

static unsigned int lpage_nr_threads(struct kvm_lpage_job *job)
{
	u64 nr_chunks = DIV_ROUND_UP_ULL(job->end - job->start, job->chunk);
	unsigned int nr;

	nr = job->kvm->arch.lpage.threads ?: READ_ONCE(lpage_split_threads);
	if (!nr) {
		nr = min_t(u64, (job->end - job->start) / LPAGE_THREAD_PAGES,
			   LPAGE_AUTO_THREADS);
		nr = min(nr, cpumask_weight(current->cpus_ptr));
	}

	return clamp_t(u64, nr, 1, nr_chunks);
}

void kvm_lpage_run(struct kvm_lpage_job *job)
{
	struct kvm_lpage_worker self = { .job = job };
	struct kvm_lpage_crew *crew = NULL;
	unsigned int nr;

	lockdep_assert_held(&job->kvm->slots_lock);

	job->chunk = kvm_lpage_chunk(job->kvm);
	/* No two threads share a page table. */
	atomic64_set(&job->next, gfn_round_for_level(job->start, PG_LEVEL_2M));

	nr = lpage_nr_threads(job);
	if (nr > 1)
		crew = lpage_crew_start(job, nr - 1);

	lpage_worker_run(&self);

	if (crew)
		lpage_crew_dismiss(job->kvm, crew);
}

#ifdef CONFIG_KVM_LPAGE_KUNIT_TEST
#include "tests/lpage_work_kunit.c"
#endif
