// SPDX-License-Identifier: GPL-2.0-only
/*
 * What KVM does with large pages when there is no memory for it: each operation is
 * done again and again, with its first allocation failing, its second, and so on,
 * until it has none left to fail.
 *
 * Whatever fails, the call succeeds or says ENOMEM and has done nothing, and to
 * split a large page is never what it fails for; the dirty log has what the guest
 * wrote and nothing else; the guest finds its memory as it left it; the same
 * operation works when there is memory again, with all large pages back at the
 * end; and nothing is leaked.
 *
 * The calling task's allocations fail by number (/proc/PID/task/TID/fail-nth).  The
 * threads that KVM starts are other tasks, which inherit make-it-fail: theirs, and
 * the caller's along with them, fail by a budget of pages, or of bytes of the slab
 * caches that the threads use.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/kvm_lpage.h>

#include "kselftest.h"
#include "lpage_leak.h"
#include "lpage_vm.h"

/* More page tables than are taken at first, and pages at some distance. */
#define MEM_SIZE		SZ_16M
#define MEM_STRIDE		(5 * SZ_4K)

/* The choice of pages in each round: one in eight. */
#define SOME			32

/* Chunks and threads where KVM is to use several. */
#define CHUNK			SZ_2M
#define THREADS			3

/* Making allocations fail */

#define FAIL_PAGES		"/sys/kernel/debug/fail_page_alloc/"
#define FAIL_SLAB		"/sys/kernel/debug/failslab/"
#define MAKE_IT_FAIL		"/proc/self/make-it-fail"

enum inject_kind {
	INJECT_NTH,	/* the task's @n-th allocation, of whatever kind */
	INJECT_PAGES,	/* once, when pages have been taken by any of its threads */
	INJECT_SLAB,	/* the same with slab memory that threads of ours take */
	INJECT_XARRAY,	/* all that xarrays want from then on */
	NR_INJECT_KINDS,
};

/* Budgets, and the caches whose allocations count. */
static const struct {
	const char *unit;
	const char *dir;
	int step;
	int times;
	const char *caches[4];
} budgets[NR_INJECT_KINDS] = {
	[INJECT_NTH] = { "allocations" },
	[INJECT_PAGES] = { "pages of a budget", FAIL_PAGES, 1, 1 },
	/* Page table headers, and pools, whose size depends on the number of nodes. */
	[INJECT_SLAB] = {
		"steps of a slab budget", FAIL_SLAB, 64, 1,
		{ "kvm_mmu_page_header", "kmalloc-32", "kmalloc-64" },
	},
	[INJECT_XARRAY] = {
		"steps of an xarray budget", FAIL_SLAB, 512, 1000000, { "radix_tree_node" },
	},
};

struct inject {
	enum inject_kind kind;
	int sparse;		/* a step is 1/@sparse of @n, for what takes too long */
	int n;			/* from 1 */
	int nr_hits;
	bool hit;		/* there was something left to fail */
	int nr_refused;		/* calls that failed for it */
	int fd;
};

/* What is going on, should the test fail meanwhile. */
static const struct inject *under_way;

static void say_what_failed(void)
{
	if (under_way)
		ksft_print_msg("at %s number %d, which %s\n", budgets[under_way->kind].unit,
			       under_way->n, under_way->hit ? "failed" : "did not fail");
}

static void param_set_number(const char *path, long value)
{
	char number[24];

	snprintf(number, sizeof(number), "%ld", value);
	param_set(path, number);
}

/*
 * The function that does the profiler's part of each allocation.  Kernels differ in
 * whether it is the inner half of an inline one, and compilers may add a suffix.
 */
static bool is_profiler(const char *name)
{
	static const char hook[] = "alloc_tagging_slab_alloc_hook";
	const char *suffix;

	name += strspn(name, "_");
	if (strncmp(name, hook, strlen(hook)))
		return false;
	suffix = name + strlen(hook);
	return !*suffix || (*suffix == '.' && strcmp(suffix, ".cold"));
}

/*
 * What tells us of leaks allocates memory of its own for it, and warns if there is
 * none: leave those out.
 */
static void spare_profiler(const char *dir)
{
	unsigned long long address, start = 0, end = 0;
	char line[256], name[128], path[80];
	FILE *file;

	file = fopen("/proc/kallsyms", "r");
	TEST_ASSERT(file, "Cannot open /proc/kallsyms");
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%llx %*c %127s", &address, name) != 2)
			continue;
		if (is_profiler(name))
			start = address;
		else if (start && address > start && (!end || address < end))
			end = address;
	}
	fclose(file);
	TEST_ASSERT(start && end, "Cannot tell apart what the profiler allocates");
	snprintf(path, sizeof(path), "%sreject-start", dir);
	snprintf(line, sizeof(line), "%#llx", start);
	param_set(path, line);
	snprintf(path, sizeof(path), "%sreject-end", dir);
	snprintf(line, sizeof(line), "%#llx", end);
	param_set(path, line);
}

static void mark_caches(const char * const *caches, bool on)
{
	char path[80];

	for (; *caches; caches++) {
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/failslab", *caches);
		param_set(path, on ? "1" : "0");
	}
}

/* A budget is all there is until there is a task to fail for. */
static void inject_init(struct inject *inj, enum inject_kind kind)
{
	static const char * const dirs[] = { FAIL_PAGES, FAIL_SLAB };
	char path[80];
	int i;

	*inj = (struct inject) { .kind = kind, .n = 1 };
	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof(path), "%stask-filter", dirs[i]);
		param_set(path, "Y");
		/* Those of KVM may sleep, and a stack trace for each is no news. */
		snprintf(path, sizeof(path), "%signore-gfp-wait", dirs[i]);
		param_set(path, "N");
		snprintf(path, sizeof(path), "%sverbose", dirs[i]);
		param_set(path, "0");
		spare_profiler(dirs[i]);
	}
	param_set(FAIL_PAGES "min-order", "0");
	param_set(FAIL_SLAB "cache-filter", budgets[kind].caches[0] ? "Y" : "N");
	for (i = 0; i < NR_INJECT_KINDS; i++)
		mark_caches(budgets[i].caches, i == kind);

	snprintf(path, sizeof(path), "/proc/self/task/%ld/fail-nth", syscall(SYS_gettid));
	inj->fd = open(path, O_RDWR);
	TEST_ASSERT(inj->fd >= 0, "Cannot open %s", path);
	under_way = inj;
}

static void budget_set(const char *dir, const char *name, int value)
{
	char path[80];

	snprintf(path, sizeof(path), "%s%s", dir, name);
	param_set_number(path, value);
}

static void budget_begin(const struct inject *inj)
{
	const char *dir = budgets[inj->kind].dir;

	budget_set(dir, "space", inj->n * budgets[inj->kind].step);
	budget_set(dir, "times", budgets[inj->kind].times);
	budget_set(dir, "probability", 100);
	param_set(MAKE_IT_FAIL, "1");
}

/* Whether the budget was used up. */
static bool budget_end(const struct inject *inj)
{
	const char *dir = budgets[inj->kind].dir;
	char path[80], times[16];

	param_set(MAKE_IT_FAIL, "0");
	budget_set(dir, "probability", 0);
	snprintf(path, sizeof(path), "%stimes", dir);
	file_read(path, times, sizeof(times));
	return atoi(times) < budgets[inj->kind].times;
}

/* Nothing may be allocated between these two but what is to fail. */
static void inject_begin(struct inject *inj)
{
	char number[16];
	int len;

	if (budgets[inj->kind].dir) {
		budget_begin(inj);
		return;
	}
	len = snprintf(number, sizeof(number), "%d", inj->n);
	TEST_ASSERT(pwrite(inj->fd, number, len, 0) == len, "Cannot set fail-nth");
}

static void inject_end(struct inject *inj)
{
	char left[16] = "";

	if (budgets[inj->kind].dir) {
		inj->hit = budget_end(inj);
		return;
	}
	TEST_ASSERT(pread(inj->fd, left, sizeof(left) - 1, 0) > 0 &&
		    pwrite(inj->fd, "0", 1, 0) == 1, "Cannot reset fail-nth");
	inj->hit = !atoi(left);
}

/* The result of the call, an error number or zero, which must not be a surprise. */
static void inject_result(struct inject *inj, int err)
{
	TEST_ASSERT(!err || (inj->hit && err == ENOMEM), "The call failed: %s", strerror(err));
	inj->nr_refused += !!err;
}

/* On to the next allocation; false if there was none any more. */
static bool inject_next(struct inject *inj)
{
	inj->nr_hits += inj->hit;
	inj->n += inj->sparse ? DIV_ROUND_UP(inj->n, inj->sparse) : 1;
	return inj->hit;
}

/*
 * Say how far it went.  Something must have failed, unless the operation is one
 * that may do without any memory.
 */
static void inject_done(struct inject *inj, const char *what, bool allocates)
{
	under_way = NULL;
	close(inj->fd);
	TEST_ASSERT(inj->nr_hits || !allocates, "No allocation failed");
	ksft_print_msg("%s: %d %s failed %s, %d of them failed the call\n", what,
		       inj->nr_hits, budgets[inj->kind].unit,
		       inj->sparse ? "one by one, then fewer and fewer" : "one by one",
		       inj->nr_refused);
}

/* A VM with a slot of large pages, before, between and after failures */

struct fixture {
	struct lpage_leaks *leaks;
	struct test_vm t;
	struct slot s;
	struct stats populated;
	bool splits;		/* turning logging on does, if there is memory */
};

static void fixture_vm(struct fixture *f, enum log_mode mode, int nr_vcpus)
{
	f->leaks = lpage_leaks_begin();
	vm_new_mode(&f->t, nr_vcpus, mode);
	f->splits = mode == LOG_LEGACY;
}

static void fixture_slot(struct fixture *f, u64 size, u64 stride, char *mem)
{
	slot_add(&f->t, &f->s, TEST_SLOT, TEST_GPA, size, mem);
	f->s.stride = stride;
	populate(&f->s);
	f->populated = stats_read(&f->t);
	TEST_ASSERT(f->populated.val[PAGES_2M] + f->populated.val[PAGES_1G],
		    "There are no large pages to begin with");
}

static void fixture_end(struct fixture *f)
{
	kvm_vm_free(f->t.vm);
	TEST_ASSERT(lpage_leaks_gone(f->leaks), "Memory was leaked");
	free(f->leaks);
}

static char *alloc_2m(u64 size)
{
	return alloc_hugetlb(size, SZ_2M);
}

static char *alloc_1g(u64 size)
{
	return alloc_hugetlb(size, SZ_1G);
}

/* All is mapped as it was in the beginning, with nobody having touched it. */
static void expect_large(struct fixture *f)
{
	struct stats now = stats_read(&f->t);

	EXPECT_DELTA(f->populated, now, PAGES_4K, 0);
	EXPECT_DELTA(f->populated, now, PAGES_2M, 0);
	EXPECT_DELTA(f->populated, now, PAGES_1G, 0);
}

static int slot_try(struct slot *s, u32 flags)
{
	return __vm_set_user_memory_region(s->t->vm, s->id, flags, s->gpa, s->size, s->hva) ?
	       errno : 0;
}

static bool is_logged(struct slot *s)
{
	unsigned long *log = log_alloc(s);
	struct kvm_dirty_log args = { .slot = s->id, .dirty_bitmap = log };
	int err = __vm_ioctl(s->t->vm, KVM_GET_DIRTY_LOG, &args) ? errno : 0;

	TEST_ASSERT(!err || err == ENOENT, "KVM_GET_DIRTY_LOG: %s", strerror(err));
	free(log);
	return !err;
}

/*
 * The guest writes generation @gen to some pages of memory that holds 1, and has
 * had all generations in between; the log has those pages.
 */
static void log_round(struct slot *s, u64 gen)
{
	unsigned long *log = log_alloc(s);

	guest_write_some(s, gen, SOME);
	log_collect(s, log);
	expect_log(s, log, gen, SOME);
	verify_rounds(s, 1, gen - 1, SOME);
	free(log);
}

/* After a failure all works as ever, if memory is there, and leaves all as ever. */
static void clean_cycle(struct fixture *f, u64 gen)
{
	struct stats logged;

	slot_log(&f->s, true);
	collect_first(&f->s);
	logged = stats_read(&f->t);
	EXPECT_DELTA(f->populated, logged, PAGES_1G, -(s64)f->populated.val[PAGES_1G]);
	TEST_ASSERT(!logged.val[PAGES_2M], "%lu large pages were not split",
		    logged.val[PAGES_2M]);
	log_round(&f->s, gen);
	slot_log(&f->s, false);
	expect_large(f);
	lpage_wait_sec_page_tables(f->populated.sec_page_tables_kb);
	populate(&f->s);
}

/* Turning dirty logging on */

static void enable_once(struct fixture *f, struct inject *inj)
{
	struct stats after;
	int err;

	inject_begin(inj);
	err = slot_try(&f->s, KVM_MEM_LOG_DIRTY_PAGES);
	inject_end(inj);
	inject_result(inj, err);
	after = stats_read(&f->t);

	TEST_ASSERT(is_logged(&f->s) == !err, "Logging is %s", err ? "on" : "off");
	if (err) {
		/* It was not for a page table. */
		EXPECT_DELTA(f->populated, after, SPLIT_NOMEM, 0);
		EXPECT_DELTA(f->populated, after, SPLIT_2M, 0);
		EXPECT_DELTA(f->populated, after, SPLIT_1G, 0);
		guest_write_some(&f->s, 2, SOME);
		verify_rounds(&f->s, 1, 1, SOME);
		return;
	}

	if (f->splits && !inj->hit)
		TEST_ASSERT(!after.val[PAGES_2M] && !after.val[PAGES_1G],
			    "Large pages were not split, with nothing failing");
	log_round(&f->s, 2);
	slot_log(&f->s, false);
	expect_large(f);
}

static void fail_enable(const char *what, u64 size, u64 stride, char *(*alloc)(u64 size),
			u64 threads, enum inject_kind kind)
{
	struct fixture f = {};
	struct inject inj;

	fixture_vm(&f, LOG_LEGACY, NR_VCPUS);
	use_threads(&f.t, threads > 1 ? CHUNK : 0, threads);
	fixture_slot(&f, size, stride, alloc(size));
	inject_init(&inj, kind);
	inj.sparse = size >= SZ_1G ? 6 : 0;
	do {
		enable_once(&f, &inj);
		clean_cycle(&f, 3);
		f.populated = stats_read(&f.t);
	} while (inject_next(&inj));
	inject_done(&inj, what, true);
	fixture_end(&f);
}

static void test_enable_2m(void)
{
	fail_enable("enable, 2M hugetlb", MEM_SIZE, MEM_STRIDE, alloc_2m, 1, INJECT_NTH);
}

static void test_enable_1g(void)
{
	fail_enable("enable, 1G hugetlb", SZ_1G, SZ_2M + SZ_4K, alloc_1g, 1, INJECT_NTH);
}

static void test_enable_thp(void)
{
	fail_enable("enable, THP", MEM_SIZE, MEM_STRIDE, alloc_thp, 1, INJECT_NTH);
}

static void test_enable_threads(void)
{
	fail_enable("enable by threads, the caller", MEM_SIZE, MEM_STRIDE, alloc_2m, THREADS,
		    INJECT_NTH);
	fail_enable("enable by threads", MEM_SIZE, MEM_STRIDE, alloc_2m, THREADS, INJECT_PAGES);
	fail_enable("enable by threads", MEM_SIZE, MEM_STRIDE, alloc_2m, THREADS, INJECT_SLAB);
}

/* The slot is taken for all dirty: nothing is split before the log is cleared. */
static void test_enable_initially_set(void)
{
	struct fixture f = {};
	struct inject inj;
	int err;

	fixture_vm(&f, LOG_INITIALLY_SET, NR_VCPUS);
	fixture_slot(&f, MEM_SIZE, MEM_STRIDE, alloc_2m(MEM_SIZE));
	inject_init(&inj, INJECT_NTH);
	do {
		inject_begin(&inj);
		err = slot_try(&f.s, KVM_MEM_LOG_DIRTY_PAGES);
		inject_end(&inj);
		inject_result(&inj, err);
		TEST_ASSERT(is_logged(&f.s) == !err, "Logging is %s", err ? "on" : "off");
		if (!err) {
			collect_first(&f.s);
			log_round(&f.s, 2);
			slot_log(&f.s, false);
			expect_large(&f);
			populate(&f.s);
		}
		clean_cycle(&f, 2);
	} while (inject_next(&inj));
	inject_done(&inj, "enable, initially set", true);
	fixture_end(&f);
}

/* Collecting the log */

static void clear_once(struct fixture *f, struct inject *inj, const unsigned long *log,
		       u64 nr_pages)
{
	struct kvm_clear_dirty_log args = {
		.slot = f->s.id, .num_pages = nr_pages, .dirty_bitmap = (void *)log,
	};
	int err;

	inject_begin(inj);
	err = __vm_ioctl(f->t.vm, KVM_CLEAR_DIRTY_LOG, &args) ? errno : 0;
	inject_end(inj);
	inject_result(inj, err);
	/* All that there is to allocate is page tables. */
	TEST_ASSERT(!err, "Clearing the log failed for want of a page table");
}

static void test_clear_2m(void)
{
	struct fixture f = {};
	struct inject inj;
	unsigned long *log;

	fixture_vm(&f, LOG_INITIALLY_SET, NR_VCPUS);
	fixture_slot(&f, MEM_SIZE, MEM_STRIDE, alloc_2m(MEM_SIZE));
	log = log_alloc(&f.s);
	inject_init(&inj, INJECT_NTH);
	do {
		slot_log(&f.s, true);
		kvm_vm_get_dirty_log(f.t.vm, f.s.id, log);
		clear_once(&f, &inj, log, MEM_SIZE / SZ_4K);
		log_round(&f.s, 2);
		slot_log(&f.s, false);
		expect_large(&f);
		clean_cycle(&f, 3);
	} while (inject_next(&inj));
	inject_done(&inj, "clear, 2M hugetlb", true);
	free(log);
	fixture_end(&f);
}

/* One word of the log of a 1G page, which takes two page tables. */
static void test_clear_1g(void)
{
	struct fixture f = {};
	unsigned long *log, first[2] = {};
	struct inject inj;
	struct slot head;

	fixture_vm(&f, LOG_INITIALLY_SET, NR_VCPUS);
	slot_init(&f.t, &head, TEST_SLOT, TEST_GPA, 64 * SZ_4K, alloc_1g(SZ_1G));
	fixture_slot(&f, SZ_1G, SZ_2M, head.hva);
	log = log_alloc(&f.s);
	inject_init(&inj, INJECT_NTH);
	do {
		populate(&head);
		slot_log(&f.s, true);
		log[0] = ~0ul;
		clear_once(&f, &inj, log, 64);
		guest_write_some(&head, 2, SOME);
		kvm_vm_get_dirty_log(f.t.vm, f.s.id, log);
		first[0] = log[0];
		expect_log(&head, first, 2, SOME);
		verify_rounds(&head, 1, 1, SOME);
		log_expect(&f.s, log, 1, slot_pages(&f.s) - 1, true);
		slot_log(&f.s, false);
		expect_large(&f);
	} while (inject_next(&inj));
	inject_done(&inj, "clear, 1G hugetlb", true);
	free(log);
	fixture_end(&f);
}

/*
 * Entries of a ring that outlive the logging which made them are orders to split
 * and protect, as the slot is all dirty when logging starts.
 */
static void test_ring_reset(void)
{
	const u64 pages[] = { 500, 501, 513, 1024, 2600 };
	struct fixture f = {};
	unsigned long *log;
	struct inject inj;
	int i, round;

	fixture_vm(&f, LOG_RING_INITIALLY_SET, 1);
	fixture_slot(&f, MEM_SIZE, SZ_4K, alloc_2m(MEM_SIZE));
	log = log_alloc(&f.s);
	/* Map the ring, and see it empty. */
	ring_collect(&f.s, log);
	inject_init(&inj, INJECT_NTH);
	do {
		/* Touched for the first time while logging is on. */
		TEST_ASSERT(!mprotect(f.s.hva, MEM_SIZE, PROT_READ) &&
			    !mprotect(f.s.hva, MEM_SIZE, PROT_READ | PROT_WRITE),
			    "mprotect() failed");
		slot_log(&f.s, true);
		for (i = 0; i < ARRAY_SIZE(pages); i++)
			guest_write(&f.s, pages[i], 1, 1);
		slot_log(&f.s, false);
		populate(&f.s);
		slot_log(&f.s, true);

		inject_begin(&inj);
		ring_collect(&f.s, log);
		inject_end(&inj);
		for (round = 0; round < 2; round++) {
			for (i = 0; i < slot_pages(&f.s); i++)
				TEST_ASSERT(!log_has(&f.s, log, i) ||
					    i == pages[0] || i == pages[1] || i == pages[2] ||
					    i == pages[3] || i == pages[4],
					    "Page %d is dirty", i);
			for (i = 0; i < ARRAY_SIZE(pages); i++) {
				log_expect(&f.s, log, pages[i], 1, true);
				guest_write(&f.s, pages[i], 1, 2 + round);
				host_verify(&f.s, pages[i], 1, 2 + round);
			}
			log_collect(&f.s, log);
		}
		memset(log, 0, MEM_SIZE / SZ_4K / 8);
		slot_log(&f.s, false);
		expect_large(&f);
	} while (inject_next(&inj));
	inject_done(&inj, "dirty ring reset", true);
	free(log);
	fixture_end(&f);
}

/* Turning dirty logging off */

static void fail_disable(const char *what, u64 threads, enum inject_kind kind)
{
	struct fixture f = {};
	struct inject inj;
	int err;

	fixture_vm(&f, LOG_LEGACY, NR_VCPUS);
	use_threads(&f.t, threads > 1 ? CHUNK : 0, threads);
	fixture_slot(&f, MEM_SIZE, MEM_STRIDE, alloc_thp(MEM_SIZE));
	inject_init(&inj, kind);
	do {
		slot_log(&f.s, true);
		log_round(&f.s, 2);
		inject_begin(&inj);
		err = slot_try(&f.s, 0);
		inject_end(&inj);
		inject_result(&inj, err);
		TEST_ASSERT(is_logged(&f.s) == !!err, "Logging is %s", err ? "off" : "on");
		if (err) {
			log_round(&f.s, 3);
			slot_log(&f.s, false);
		}
		/* What there was no memory for were threads, and others did their work. */
		expect_large(&f);
		populate(&f.s);
		clean_cycle(&f, 2);
	} while (inject_next(&inj));
	inject_done(&inj, what, true);
	fixture_end(&f);
}

static void test_disable(void)
{
	fail_disable("disable", 1, INJECT_NTH);
}

static void test_disable_threads(void)
{
	fail_disable("disable by threads, the caller", THREADS, INJECT_NTH);
	fail_disable("disable by threads", THREADS, INJECT_PAGES);
}

/* Memslots that come and go beside one that is logged */

#define OTHER_GPA		(TEST_GPA + SZ_1G)
#define OTHER_SIZE		SZ_4M

enum slot_op {
	SLOT_CREATE,
	SLOT_DELETE,
	SLOT_MOVE,
};

static int other_try(struct slot *other, enum slot_op op)
{
	struct slot to = *other;

	if (op == SLOT_DELETE)
		to.size = 0;
	if (op == SLOT_MOVE)
		to.gpa += SZ_64M;
	return slot_try(&to, KVM_MEM_LOG_DIRTY_PAGES);
}

static void fail_slot(const char *what, enum slot_op op)
{
	struct fixture f = {};
	struct stats now;
	struct slot other;
	struct inject inj;
	int err;

	fixture_vm(&f, LOG_LEGACY, NR_VCPUS);
	fixture_slot(&f, MEM_SIZE, MEM_STRIDE, alloc_2m(MEM_SIZE));
	slot_init(&f.t, &other, TEST_SLOT + 1, OTHER_GPA, OTHER_SIZE, alloc_thp(OTHER_SIZE));
	other.stride = MEM_STRIDE;
	inject_init(&inj, INJECT_NTH);
	do {
		slot_log(&f.s, true);
		log_round(&f.s, 2);
		if (op != SLOT_CREATE) {
			host_write(&other, 0, slot_pages(&other), 1);
			slot_set(&other, KVM_MEM_LOG_DIRTY_PAGES);
			log_round(&other, 2);
		}

		inject_begin(&inj);
		err = other_try(&other, op);
		inject_end(&inj);
		inject_result(&inj, err);

		if (op == SLOT_MOVE && !err)
			other.gpa += SZ_64M;
		/* What is there works, wherever it is. */
		if (op == SLOT_MOVE || (err ? op == SLOT_DELETE : op == SLOT_CREATE)) {
			host_write(&other, 0, slot_pages(&other), 1);
			log_round(&other, 2);
			slot_delete(&other);
		}
		other.gpa = OTHER_GPA;
		log_round(&f.s, 3);
		slot_log(&f.s, false);
		populate(&f.s);
		/* What the VM had elsewhere may be gone along with the slot. */
		now = stats_read(&f.t);
		EXPECT_DELTA(f.populated, now, PAGES_2M, 0);
	} while (inject_next(&inj));
	inject_done(&inj, what, true);
	fixture_end(&f);
}

static void test_slot_create(void)
{
	fail_slot("memslot create", SLOT_CREATE);
}

static void test_slot_delete(void)
{
	fail_slot("memslot delete", SLOT_DELETE);
}

static void test_slot_move(void)
{
	fail_slot("memslot move", SLOT_MOVE);
}

/* Settings, VMs */

static void test_cap(void)
{
	struct fixture f = {};
	struct inject inj;

	fixture_vm(&f, LOG_LEGACY, NR_VCPUS);
	fixture_slot(&f, MEM_SIZE, MEM_STRIDE, alloc_2m(MEM_SIZE));
	inject_init(&inj, INJECT_NTH);
	do {
		inject_begin(&inj);
		use_threads(&f.t, CHUNK, THREADS);
		inject_end(&inj);
		clean_cycle(&f, 2);
	} while (inject_next(&inj));
	inject_done(&inj, "KVM_CAP_X86_LPAGE_SPLIT", false);
	fixture_end(&f);
}

/* A file descriptor or zero, as the ioctl gives; closes the former at once. */
static int try_and_close(int fd, unsigned long request, void *arg)
{
	int ret = ioctl(fd, request, arg);

	if (ret > 0)
		close(ret);
	return ret < 0 ? errno : 0;
}

static int create_vm(int kvm, bool irqchip)
{
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);

	TEST_ASSERT(vm >= 0 && (!irqchip || !ioctl(vm, KVM_CREATE_IRQCHIP, 0)),
		    "Cannot create a VM");
	return vm;
}

/* What fails leaves nothing behind, and can be tried again. */
static void fail_create_vm(int kvm)
{
	struct inject inj;
	int err;

	inject_init(&inj, INJECT_NTH);
	/* Most are for files in debugfs, which the call can do without. */
	inj.sparse = 32;
	do {
		inject_begin(&inj);
		err = try_and_close(kvm, KVM_CREATE_VM, NULL);
		inject_end(&inj);
		inject_result(&inj, err);
	} while (inject_next(&inj));
	inject_done(&inj, "VM create", true);
}

/* What is there cannot be made once more, but in another VM. */
static void fail_create(const char *what, int kvm, unsigned long request, void *arg)
{
	const bool irqchip = request == KVM_CREATE_VCPU;
	int err, vm = create_vm(kvm, irqchip);
	struct inject inj;

	inject_init(&inj, INJECT_NTH);
	do {
		inject_begin(&inj);
		err = try_and_close(vm, request, arg);
		inject_end(&inj);
		inject_result(&inj, err);
		if (!err) {
			close(vm);
			vm = create_vm(kvm, irqchip);
		}
	} while (inject_next(&inj));
	close(vm);
	inject_done(&inj, what, true);
}

static void test_vm_create(void)
{
	struct kvm_userspace_memory_region region = {
		.guest_phys_addr = TEST_GPA, .memory_size = SZ_2M,
		.userspace_addr = (uintptr_t)alloc_4k(SZ_2M), .flags = KVM_MEM_LOG_DIRTY_PAGES,
	};
	int kvm = open_kvm_dev_path_or_exit();
	struct lpage_leaks *leaks;

	leaks = lpage_leaks_begin();
	fail_create_vm(kvm);
	fail_create("first memslot", kvm, KVM_SET_USER_MEMORY_REGION, &region);
	fail_create("interrupt controllers create", kvm, KVM_CREATE_IRQCHIP, NULL);
	fail_create("vCPU create", kvm, KVM_CREATE_VCPU, NULL);
	TEST_ASSERT(lpage_leaks_gone(leaks), "Memory was leaked");
	free(leaks);
	close(kvm);
}

/* Converting memory between shared and private */

/* Both ends in the middle of a large page. */
#define CONVERT_FIRST		(PAGES_PER_2M - 70)
#define CONVERT_PAGES		140
#define CONVERT_SIZE		SZ_4M

static int convert_try(struct slot *s, bool private)
{
	struct kvm_memory_attributes attr = {
		.address = s->gpa + CONVERT_FIRST * SZ_4K,
		.size = CONVERT_PAGES * SZ_4K,
		.attributes = private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
	};

	return __vm_ioctl(s->t->vm, KVM_SET_MEMORY_ATTRIBUTES, &attr) ? errno : 0;
}

/* The guest has the same in all its memory, and the host in what is shared. */
static void verify_converted(struct slot *s, bool private)
{
	const u64 rest = CONVERT_FIRST + CONVERT_PAGES;

	guest_verify(s, 0, CONVERT_FIRST, 1);
	guest_verify(s, rest, slot_pages(s) - rest, 1);
	guest_verify(s, CONVERT_FIRST, CONVERT_PAGES, private ? 2 : 1);
	host_verify(s, 0, slot_pages(s), 1);
}

/* Memory is converted, and back, and one of the two may fail. */
static void fail_convert(const char *what, bool private, enum inject_kind kind)
{
	struct fixture f = {};
	struct inject inj;
	int gmem, err;

	f.leaks = lpage_leaks_begin();
	vm_new_protected(&f.t, 1);
	slot_init(&f.t, &f.s, TEST_SLOT, TEST_GPA, CONVERT_SIZE, alloc_thp(CONVERT_SIZE));
	gmem = vm_create_guest_memfd(f.t.vm, CONVERT_SIZE, 0);
	vm_set_user_memory_region2(f.t.vm, f.s.id, KVM_MEM_GUEST_MEMFD, f.s.gpa,
				   CONVERT_SIZE, f.s.hva, gmem, 0);
	inject_init(&inj, kind);
	do {
		populate(&f.s);
		if (!private) {
			TEST_ASSERT(!convert_try(&f.s, true), "Cannot convert");
			guest_write(&f.s, CONVERT_FIRST, CONVERT_PAGES, 2);
		}
		inject_begin(&inj);
		err = convert_try(&f.s, private);
		inject_end(&inj);
		inject_result(&inj, err);
		if (private && !err) {
			guest_do(&f.s, OP_VERIFY_ZERO, CONVERT_FIRST, CONVERT_PAGES, 0);
			guest_write(&f.s, CONVERT_FIRST, CONVERT_PAGES, 2);
		}
		verify_converted(&f.s, private != !!err);
		TEST_ASSERT(!convert_try(&f.s, false), "Cannot convert back");
		verify_converted(&f.s, false);
		TEST_ASSERT(!fallocate(gmem, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				       CONVERT_SIZE), "Cannot punch a hole");
	} while (inject_next(&inj));
	/* What was converted before has its place in the xarray. */
	inject_done(&inj, what, private);
	close(gmem);
	fixture_end(&f);
}

static void test_convert(void)
{
	fail_convert("convert to private", true, INJECT_NTH);
	fail_convert("convert to private", true, INJECT_XARRAY);
	fail_convert("convert to shared", false, INJECT_NTH);
}

/* Private memory of guest_memfd */

#define GMEM_SIZE		SZ_4M

static int gmem_create_try(struct kvm_vm *vm, int *fd)
{
	*fd = __vm_create_guest_memfd(vm, GMEM_SIZE, GUEST_MEMFD_FLAG_LPAGE);
	return *fd < 0 ? errno : 0;
}

/* All or nothing of each block. */
static int gmem_alloc_try(int fd)
{
	return fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, GMEM_SIZE) ? errno : 0;
}

/* The guest finds zero in all of it, or goes on to where it does not get any. */
static int gmem_touch_try(struct slot *s)
{
	return __vcpu_run(s->t->vcpu[0]) ? errno : 0;
}

static void gmem_free(int fd)
{
	TEST_ASSERT(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, GMEM_SIZE),
		    "Cannot punch a hole");
}

static void fail_gmem_create(void)
{
	struct fixture f = {};
	struct inject inj;
	int err, fd;

	f.leaks = lpage_leaks_begin();
	vm_new_protected(&f.t, 1);
	slot_init(&f.t, &f.s, TEST_SLOT, TEST_GPA, GMEM_SIZE, alloc_4k(GMEM_SIZE));
	slot_set(&f.s, 0);
	inject_init(&inj, INJECT_NTH);
	do {
		inject_begin(&inj);
		err = gmem_create_try(f.t.vm, &fd);
		inject_end(&inj);
		inject_result(&inj, err);
		if (!err)
			close(fd);
	} while (inject_next(&inj));
	inject_done(&inj, "guest_memfd create", true);
	fixture_end(&f);
}

/* Preallocate the memory, or touch it for the first time, until that works. */
static void fail_gmem(const char *what, bool touch)
{
	struct fixture f = {};
	struct inject inj;
	int err, fd;

	f.leaks = lpage_leaks_begin();
	vm_new_protected(&f.t, 1);
	fd = vm_create_guest_memfd(f.t.vm, GMEM_SIZE, GUEST_MEMFD_FLAG_LPAGE);
	slot_add_gmem(&f.t, &f.s, TEST_SLOT, TEST_GPA, GMEM_SIZE, alloc_4k(GMEM_SIZE), fd, 0);
	slot_set_private(&f.s, 0, slot_pages(&f.s), true);
	inject_init(&inj, INJECT_NTH);
	do {
		op_set(&f.t, 0, OP_VERIFY_ZERO, f.s.gpa, slot_pages(&f.s), SZ_4K, 0);
		inject_begin(&inj);
		err = touch ? gmem_touch_try(&f.s) : gmem_alloc_try(fd);
		inject_end(&inj);
		inject_result(&inj, err);
		/* Whatever it got, it goes on from there, and finds no other's data. */
		if (err || !touch)
			TEST_ASSERT(!gmem_touch_try(&f.s), "The guest does not go on");
		TEST_ASSERT(op_done(f.t.vcpu[0]), "Unexpected exit: %s",
			    exit_reason_str(f.t.vcpu[0]->run->exit_reason));
		guest_write(&f.s, 0, slot_pages(&f.s), 1);
		guest_verify(&f.s, 0, slot_pages(&f.s), 1);
		gmem_free(fd);
	} while (inject_next(&inj));
	inject_done(&inj, what, true);
	close(fd);
	fixture_end(&f);
}

/*
 * No memory for the file's own tree while the first block is added: what the file has
 * beyond it stays, also when it is looked up again.
 */
static void fail_gmem_tree(void)
{
	struct fixture f = {};
	struct inject inj;
	int err, fd;

	f.leaks = lpage_leaks_begin();
	vm_new_protected(&f.t, 1);
	fd = vm_create_guest_memfd(f.t.vm, GMEM_SIZE, 0);
	slot_add_gmem(&f.t, &f.s, TEST_SLOT, TEST_GPA, GMEM_SIZE, alloc_4k(GMEM_SIZE), fd, 0);
	slot_set_private(&f.s, 0, slot_pages(&f.s), true);
	guest_write(&f.s, PAGES_PER_2M, PAGES_PER_2M, 1);
	inject_init(&inj, INJECT_XARRAY);
	do {
		op_set(&f.t, 0, OP_VERIFY_ZERO, f.s.gpa, PAGES_PER_2M, SZ_4K, 0);
		inject_begin(&inj);
		err = gmem_touch_try(&f.s);
		inject_end(&inj);
		inject_result(&inj, err);
		if (err)
			TEST_ASSERT(!gmem_touch_try(&f.s), "The guest does not go on");
		guest_verify(&f.s, PAGES_PER_2M, PAGES_PER_2M, 1);
		slot_set_private(&f.s, PAGES_PER_2M, PAGES_PER_2M, false);
		slot_set_private(&f.s, PAGES_PER_2M, PAGES_PER_2M, true);
		guest_verify(&f.s, PAGES_PER_2M, PAGES_PER_2M, 1);
		TEST_ASSERT(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				       SZ_2M), "Cannot punch a hole");
	} while (inject_next(&inj));
	inject_done(&inj, "guest_memfd beside other blocks", true);
	close(fd);
	fixture_end(&f);
}

static void test_gmem(void)
{
	/* guest_memfd would take highmem, if there was any. */
	param_set(FAIL_PAGES "ignore-gfp-highmem", "N");
	fail_gmem_create();
	fail_gmem("guest_memfd preallocation", false);
	fail_gmem("guest_memfd first touch", true);
	fail_gmem_tree();
}

/* What vCPUs keep in store for page faults */

#define STORE_STAT		"mmu_cache_bytes"

/* A vCPU that never ran has nothing in store, nor has one that never had a nested guest. */
static void run_vm(struct fixture *f, bool nested)
{
	if (nested)
		vm_new_nested(&f->t, TEST_GPA);
	else
		vm_new(&f->t, NR_VCPUS);
	slot_add(&f->t, &f->s, TEST_SLOT, TEST_GPA, MEM_SIZE, alloc_4k(MEM_SIZE));
	/* L1 has its nested page tables where nothing else is. */
	if (nested)
		l1_build_npt(&f->s);
	f->s.stride = SZ_1M;
	host_write(&f->s, 1, slot_pages(&f->s) - 1, 1);
	/* Not even a root is there any more. */
	slot_delete(&f->s);
	slot_set(&f->s, 0);
}

/* The guest goes on where a run failed. */
static void run_once(struct fixture *f, struct inject *inj, int vcpu)
{
	const u64 nr = slot_pages(&f->s) - 1;
	int err;

	op_set(&f->t, vcpu, OP_VERIFY, f->s.gpa + f->s.stride, nr, f->s.stride, 1);
	inject_begin(inj);
	err = __vcpu_run(f->t.vcpu[vcpu]) ? errno : 0;
	inject_end(inj);
	inject_result(inj, err);
	if (err)
		vcpu_run(f->t.vcpu[vcpu]);
	TEST_ASSERT(op_done(f->t.vcpu[vcpu]), "Unexpected exit: %s",
		    exit_reason_str(f->t.vcpu[vcpu]->run->exit_reason));
}

static void fail_run(const char *what, bool nested)
{
	struct fixture f = {};
	struct inject inj;

	f.leaks = lpage_leaks_begin();
	inject_init(&inj, INJECT_NTH);
	inj.sparse = 16;
	do {
		run_vm(&f, nested);
		run_once(&f, &inj, nested ? 0 : 1);
		TEST_ASSERT(lpage_vm_stat(f.t.vm, STORE_STAT), "Nothing is in store");
		munmap(f.s.hva, f.s.size);
		kvm_vm_free(f.t.vm);
	} while (inject_next(&inj));
	inject_done(&inj, what, true);
	TEST_ASSERT(lpage_leaks_gone(f.leaks), "Memory was leaked");
	free(f.leaks);
}

static void test_run(void)
{
	fail_run("first run of a vCPU", false);
}

static void test_run_nested(void)
{
	fail_run("first run of a nested guest", true);
}

/* Large pages that a nested guest maps, which the base splits. */
static void test_enable_nested(void)
{
	const u64 first = PAGES_PER_2M;
	struct fixture f = {};
	struct inject inj;
	unsigned long *log;
	u64 bytes, nr;
	int err;

	f.leaks = lpage_leaks_begin();
	vm_new_nested(&f.t, TEST_GPA);
	slot_add(&f.t, &f.s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_2m(SZ_8M));
	l1_build_npt(&f.s);
	nr = slot_pages(&f.s) - first;
	log = log_alloc(&f.s);
	inject_init(&inj, INJECT_NTH);
	inj.sparse = 8;
	do {
		nested_do(&f.s, OP_WRITE, first, nr, 1, OP_POKE, 0, 0, 0);
		bytes = lpage_vm_stat(f.t.vm, STORE_STAT);
		inject_begin(&inj);
		err = slot_try(&f.s, KVM_MEM_LOG_DIRTY_PAGES);
		inject_end(&inj);
		inject_result(&inj, err);
		TEST_ASSERT(lpage_vm_stat(f.t.vm, STORE_STAT) == bytes,
			    "Splitting leaves something in store");
		TEST_ASSERT(is_logged(&f.s) == !err, "Logging is %s", err ? "on" : "off");
		nested_do(&f.s, OP_WRITE, first, nr / 2, 2, OP_POKE, 0, 0, 0);
		if (!err) {
			log_collect(&f.s, log);
			log_expect(&f.s, log, first, nr / 2, true);
			log_expect(&f.s, log, first + nr / 2, nr - nr / 2, false);
			slot_log(&f.s, false);
		}
		host_verify(&f.s, first, nr / 2, 2);
		host_verify(&f.s, first + nr / 2, nr - nr / 2, 1);
	} while (inject_next(&inj));
	inject_done(&inj, "enable, nested guest", true);
	free(log);
	fixture_end(&f);
}

/* Running subtests */

static const struct subtest subtests[] = {
	SUBTEST(enable_2m),
	SUBTEST(enable_1g),
	SUBTEST(enable_thp),
	SUBTEST(enable_threads),
	SUBTEST(enable_initially_set),
	SUBTEST(enable_nested),
	SUBTEST(clear_2m),
	SUBTEST(clear_1g),
	SUBTEST(ring_reset),
	SUBTEST(disable),
	SUBTEST(disable_threads),
	SUBTEST(slot_create),
	SUBTEST(slot_delete),
	SUBTEST(slot_move),
	SUBTEST(cap),
	SUBTEST(vm_create),
	SUBTEST(convert),
	SUBTEST(gmem),
	SUBTEST(run),
	SUBTEST(run_nested),
};

static struct param params[] = {
	{ SPLIT_PARAM, "Y" },
	{ PROMOTE_PARAM, "Y" },
	{ THREADS_PARAM, "1" },
	{ RATE_PARAM, "0" },
	{ EAGER_PARAM, "Y" },
	{ PROTECTED_PARAM, "Y" },
	{ GMEM_PARAM, "always" },
	{ BACKGROUND_PARAM, "Y" },
	{ },
};

static void check(void)
{
	if (!get_kvm_param_bool("tdp_mmu"))
		ksft_exit_skip("needs kvm.tdp_mmu\n");
	if (access("/proc/self/fail-nth", W_OK) || access(FAIL_SLAB "reject-start", W_OK) ||
	    access(FAIL_PAGES "reject-start", W_OK))
		ksft_exit_skip("needs failslab, fail_page_alloc and a filter by stack trace\n");
	if (!lpage_leaks_known())
		ksft_exit_skip("needs /proc/allocinfo\n");
	atexit(say_what_failed);
}

int main(int argc, char **argv)
{
	return run_subtests(argc, argv, subtests, ARRAY_SIZE(subtests), params, check);
}
