// SPDX-License-Identifier: GPL-2.0
/*
 * What SNP guests do to the host's direct map, and what that costs.
 *
 *	snp_directmap_perf pages	one, four and eight guests at once take memory,
 *					give it back to the host and take it again
 *	snp_directmap_perf timeline	guests come and go
 *
 * For any KVM.  Each line is one of these, with tabs in between:
 *
 *	pages GUESTS PHASE PAGES INSTRUCTIONS SPLITS
 *	timeline GUESTS KB_4K KB_2M KB_1G	after a guest has taken its memory or has ended,
 *						and at last after what comes back was waited for
 *	taken MIB SPLITS CALLS FLUSHES		by the guests that come first, once launched
 *	restored PERCENT MS			of what the guests had split, and how long after
 *						the last one has ended
 *
 * Instructions are those of a machine of one CPU that counts them (QEMU's -icount), where a
 * nanosecond is one.  Splits are those of 2M pages; calls the interrupts that have another CPU
 * call a function, as to flush the kernel's mappings; flushes those that KVM asks for, of its
 * guests' mappings.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kselftest.h"
#include "snp_guest.h"
#include "snp_user.h"
#include "snp_vm.h"

#define MAX_GUESTS	(1 + 4 + 8)

/* Private, but for what is there at launch. */
#define PAGES_SIZE	(8 * HUGE_SIZE)
#define TIMELINE_SIZE	(128 * HUGE_SIZE)

/* How soon large pages are to be back. */
#define RESTORE_MS	10000

/* What the kernel counts */

struct directmap {
	uint64_t kb_4k, kb_2m, kb_1g;
};

static struct directmap directmap_now(void)
{
	return (struct directmap){
		.kb_4k = read_value("/proc/meminfo", "DirectMap4k:"),
		.kb_2m = read_value("/proc/meminfo", "DirectMap2M:"),
		.kb_1g = read_value("/proc/meminfo", "DirectMap1G:"),
	};
}

static uint64_t splits_now(void)
{
	return read_value("/proc/vmstat", "direct_map_level2_splits");
}

/* Interrupts of one kind, on all CPUs. */
static uint64_t irq_count(const char *name)
{
	FILE *file = fopen("/proc/interrupts", "r");
	uint64_t n, sum = 0;
	char line[1024], *at, *end;

	if (!file)
		check_failed(__LINE__, "cannot open /proc/interrupts: %s", strerror(errno));
	while (fgets(line, sizeof(line), file)) {
		at = line + strspn(line, " ");
		if (strncmp(at, name, strlen(name)))
			continue;
		for (at += strlen(name);; at = end) {
			n = strtoull(at, &end, 10);
			if (end == at)
				break;
			sum += n;
		}
	}
	fclose(file);
	return sum;
}

/* A flush of the kernel's mappings is a call of a function on other CPUs. */
static uint64_t calls_now(void)
{
	return irq_count("CAL:") + irq_count("TLB:");
}

static uint64_t flushes_now(void)
{
	return read_value("/sys/kernel/debug/kvm/remote_tlb_flush_requests", NULL);
}

static uint64_t ns_of(clockid_t clock)
{
	struct timespec now;

	CHECK(!clock_gettime(clock, &now));
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static uint64_t ms_now(void)
{
	return ns_of(CLOCK_MONOTONIC) / 1000000;
}

/* Guests */

static struct snp_vm guests[MAX_GUESTS];

static void launch(struct snp_vm *vm, uint64_t size)
{
	vm_launch_vcpus(vm, DATA + size, 1, (void (*)(uint64_t))guest_take_again);
}

static void page_in(struct snp_vm *vm)
{
	vm_run(vm);
	CHECK_EQ(vm_report(vm), LARGE_TAKEN);
}

static void share_back(struct snp_vm *vm)
{
	uint64_t size = vm->size - DATA;

	CHECK(!set_private(vm, DATA, size, 0));
	CHECK(!fallocate(vm->gmem, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, DATA, size));
}

static void re_private(struct snp_vm *vm)
{
	CHECK(!set_private(vm, DATA, vm->size - DATA, 1));
	vm_run(vm);
	CHECK_EQ(vm_report(vm), LARGE_READ_ALL);
}

/* What is not of 4K pages but was, in kB, and what is not of 1G pages but was. */
static uint64_t lost_kb(const struct directmap *before, const struct directmap *now)
{
	uint64_t kb = 0;

	if (now->kb_4k > before->kb_4k)
		kb += now->kb_4k - before->kb_4k;
	if (now->kb_1g < before->kb_1g)
		kb += before->kb_1g - now->kb_1g;
	return kb;
}

/*
 * After the last guest has ended: wait until all pages are as large as before the first one,
 * or the time is up.  Returns what there is then.
 */
static struct directmap wait_restored(const struct directmap *before,
				      const struct directmap *split)
{
	uint64_t start = ms_now(), kb;
	struct directmap now;

	if (!lost_kb(before, split))
		check_failed(__LINE__, "the guests have split nothing");
	for (;;) {
		now = directmap_now();
		kb = lost_kb(before, &now);
		if (!kb || ms_now() - start >= RESTORE_MS)
			break;
		usleep(50 * 1000);
	}
	printf("restored\t%.4g\t%llu\n", 100 - 100.0 * kb / lost_kb(before, split),
	       (unsigned long long)(ms_now() - start));
	return now;
}

/* Several guests at once, each by a thread of its own */

static const struct phase {
	const char *name;
	void (*run)(struct snp_vm *vm);
} phases[] = {
	{ "page_in", page_in },
	{ "share_back", share_back },
	{ "re_private", re_private },
};

struct runner {
	struct snp_vm *vm;
	const struct phase *phase;
	pthread_t thread;
};

static void *run_thread(void *data)
{
	struct runner *r = data;

	r->phase->run(r->vm);
	return NULL;
}

/*
 * What the CPU has left over, as for a wait for a grace period of RCU, goes to a thread that
 * does nothing.
 */
struct idler {
	pthread_t thread;
	clockid_t clock;
	int done;
};

static void *idle_thread(void *data)
{
	struct idler *idler = data;

	while (!__atomic_load_n(&idler->done, __ATOMIC_RELAXED))
		;
	return NULL;
}

static void idler_start(struct idler *idler)
{
	struct sched_param param = {};

	idler->done = 0;
	CHECK(!pthread_create(&idler->thread, NULL, idle_thread, idler));
	CHECK(!pthread_setschedparam(idler->thread, SCHED_IDLE, &param));
	CHECK(!pthread_getcpuclockid(idler->thread, &idler->clock));
}

static void idler_end(struct idler *idler)
{
	__atomic_store_n(&idler->done, 1, __ATOMIC_RELAXED);
	CHECK(!pthread_join(idler->thread, NULL));
}

static uint64_t instructions_now(const struct idler *idler)
{
	return ns_of(CLOCK_MONOTONIC_RAW) - ns_of(idler->clock);
}

static void run_phase(struct snp_vm *vms, int nr, const struct phase *phase,
		      const struct idler *idler)
{
	struct runner runners[MAX_GUESTS];
	uint64_t splits, insn;
	int i;

	splits = splits_now();
	insn = instructions_now(idler);
	for (i = 0; i < nr; i++) {
		runners[i] = (struct runner){ .vm = &vms[i], .phase = phase };
		CHECK(!pthread_create(&runners[i].thread, NULL, run_thread, &runners[i]));
	}
	for (i = 0; i < nr; i++)
		CHECK(!pthread_join(runners[i].thread, NULL));
	insn = instructions_now(idler) - insn;
	printf("pages\t%d\t%s\t%llu\t%llu\t%llu\n", nr, phase->name, nr * PAGES_SIZE / PAGE_SIZE,
	       (unsigned long long)insn, (unsigned long long)(splits_now() - splits));
	fflush(stdout);
}

/* Guests stay to the end, so that the next ones get memory that no guest has had before. */
static void pages(void)
{
	static const int at_once[] = { 1, 4, 8 };
	struct directmap before = directmap_now(), split;
	struct idler idler;
	unsigned int i, j;
	int nr = 0, k;

	idler_start(&idler);
	for (i = 0; i < ARRAY_SIZE(at_once); i++) {
		for (k = 0; k < at_once[i]; k++)
			launch(&guests[nr + k], PAGES_SIZE);
		for (j = 0; j < ARRAY_SIZE(phases); j++)
			run_phase(&guests[nr], at_once[i], &phases[j], &idler);
		nr += at_once[i];
	}
	idler_end(&idler);
	split = directmap_now();
	for (k = 0; k < nr; k++)
		vm_destroy(&guests[k]);
	wait_restored(&before, &split);
}

/* Guests come and go; what the direct map is made of meanwhile. */

static void sample(int nr, const struct directmap *d)
{
	printf("timeline\t%d\t%llu\t%llu\t%llu\n", nr, (unsigned long long)d->kb_4k,
	       (unsigned long long)d->kb_2m, (unsigned long long)d->kb_1g);
	fflush(stdout);
}

/* What guests have done that take their memory, but for the launch. */
struct taken {
	uint64_t size, splits, calls, flushes;
};

static struct directmap come(int nr, struct taken *taken)
{
	uint64_t splits, calls, flushes;
	struct directmap d;

	launch(&guests[nr], TIMELINE_SIZE);
	splits = splits_now();
	calls = calls_now();
	flushes = flushes_now();
	page_in(&guests[nr]);
	taken->size += TIMELINE_SIZE;
	taken->splits += splits_now() - splits;
	taken->calls += calls_now() - calls;
	taken->flushes += flushes_now() - flushes;
	d = directmap_now();
	sample(nr + 1, &d);
	return d;
}

static void go(int nr)
{
	struct directmap d;

	vm_destroy(&guests[nr]);
	d = directmap_now();
	sample(nr, &d);
}

#define FIRST_GUESTS	4
#define GUESTS_LEFT	2

static void timeline(void)
{
	struct directmap before = directmap_now(), split, after;
	struct taken first = {}, last = {};
	int nr;

	sample(0, &before);
	for (nr = 0; nr < FIRST_GUESTS; nr++)
		come(nr, &first);
	printf("taken\t%llu\t%llu\t%llu\t%llu\n", (unsigned long long)first.size >> 20,
	       (unsigned long long)first.splits, (unsigned long long)first.calls,
	       (unsigned long long)first.flushes);
	while (nr > GUESTS_LEFT)
		go(--nr);
	split = come(nr++, &last);
	while (nr)
		go(--nr);
	after = wait_restored(&before, &split);
	sample(0, &after);
}

int main(int argc, char *argv[])
{
	if (argc == 2 && !strcmp(argv[1], "pages"))
		pages();
	else if (argc == 2 && !strcmp(argv[1], "timeline"))
		timeline();
	else
		ksft_exit_fail_msg("the argument is pages or timeline\n");
	return 0;
}
