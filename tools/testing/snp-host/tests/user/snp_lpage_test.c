// SPDX-License-Identifier: GPL-2.0
/*
 * An SNP guest whose memory is mapped by large pages: by our modules, on a stock kernel.
 * What KVM and the kernel count is printed after each step.
 *
 * With the argument "take", which is for any KVM, a guest takes memory and that is all.
 * What it has taken is printed, in MiB, with the faults and the large pages of the direct
 * map that were split for it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kselftest.h"
#include "snp_guest.h"
#include "snp_user.h"
#include "snp_vm.h"

#define NR_LARGE	(LARGE_SIZE / HUGE_SIZE)
#define PAGES_PER_2M	512

struct counts {
	uint64_t pages_2m, pages_4k, faults, rmp_faults, splits;
};

static uint64_t read_value(const char *path, const char *name)
{
	char line[128], found[64];
	unsigned long long value = 0;
	FILE *file = fopen(path, "r");
	int hit = 0;

	if (!file)
		check_failed(__LINE__, "cannot open %s: %s", path, strerror(errno));
	while (!hit && fgets(line, sizeof(line), file)) {
		if (name) {
			hit = sscanf(line, "%63s %llu", found, &value) == 2 &&
			      !strcmp(found, name);
		} else {
			value = strtoull(line, NULL, 10);
			hit = 1;
		}
	}
	fclose(file);
	if (!hit)
		check_failed(__LINE__, "%s has no %s", path, name ? name : "value");
	return value;
}

#define STAT_DIR	"/sys/kernel/debug/kvm/"
#define KVM_STAT(name)	read_value(STAT_DIR name, NULL)
#define SPLITS()	read_value("/proc/vmstat", "direct_map_level2_splits")

static struct counts counts_now(const char *what)
{
	struct counts c = {
		.pages_2m = KVM_STAT("pages_2m"),
		.pages_4k = KVM_STAT("pages_4k"),
		.faults = KVM_STAT("pf_taken"),
		.rmp_faults = test_counter(SNP_COUNTER_NESTED_FAULT),
		.splits = SPLITS(),
	};

	printf("# %-8s pages_2m %llu pages_4k %llu faults %llu rmp_faults %llu splits %llu\n",
	       what, (unsigned long long)c.pages_2m, (unsigned long long)c.pages_4k,
	       (unsigned long long)c.faults, (unsigned long long)c.rmp_faults,
	       (unsigned long long)c.splits);
	return c;
}

#define BACK_MS		5000

static void wait_stat(const char *path, uint64_t want)
{
	uint64_t have;
	int ms;

	for (ms = 0; (have = read_value(path, NULL)) != want; ms++) {
		if (ms == BACK_MS)
			check_failed(__LINE__, "%s is %llu after %d ms, want %llu", path,
				     (unsigned long long)have, ms, (unsigned long long)want);
		usleep(1000);
	}
}

#define WAIT_STAT(name, want)	wait_stat(STAT_DIR name, want)

static struct counts step(struct snp_vm *vm, uint64_t want, const char *what)
{
	vm_run(vm);
	CHECK_EQ(vm_report(vm), want);
	return counts_now(what);
}

static void large(void)
{
	struct counts before, taken, shared, read, private, back, read_all;
	struct snp_vm vm;

	vm_launch(&vm, LARGE_SIZE, guest_large);
	vm.keep = 1;
	before = counts_now("launch");

	/* 2M by 2M: one fault for each, and nothing to split. */
	taken = step(&vm, LARGE_TAKEN, "taken");
	CHECK_EQ(taken.pages_2m - before.pages_2m, NR_LARGE - 1);
	CHECK_EQ(taken.splits - before.splits, 0);
	CHECK(taken.faults - before.faults < NR_LARGE + 16);
	CHECK_EQ(taken.rmp_faults - before.rmp_faults, 0);

	/* One page is shared: its 2M is smashed and split, and nothing else happens. */
	shared = step(&vm, LARGE_SHARED, "shared");
	CHECK_EQ(taken.pages_2m - shared.pages_2m, 1);
	CHECK_EQ(shared.pages_4k - taken.pages_4k, PAGES_PER_2M);
	CHECK_EQ(shared.splits - taken.splits, 0);

	read = step(&vm, LARGE_READ, "read");
	CHECK_EQ(read.faults - shared.faults, 0);
	CHECK_EQ(read.rmp_faults - shared.rmp_faults, 0);

	/* Private again, and of one piece a little later, without the guest. */
	private = step(&vm, LARGE_PRIVATE, "private");
	CHECK_EQ(private.pages_2m, shared.pages_2m);
	/* Until all of it is over, whoever touches the pages has to wait. */
	WAIT_STAT("lpage_merged", 1);
	back = counts_now("back");
	CHECK_EQ(back.pages_2m, taken.pages_2m);
	read_all = step(&vm, LARGE_READ_ALL, "read all");
	CHECK_EQ(read_all.faults - back.faults, 0);
	CHECK_EQ(read_all.rmp_faults - back.rmp_faults, 0);
	CHECK_EQ(read_all.splits - before.splits, 0);
	vm_destroy(&vm);
}

/* The guest goes on meanwhile: what it faults on is there when it tries again. */
static void merge_while_running(void)
{
	struct counts before, after;
	struct snp_vm vm;
	int i;

	vm_launch(&vm, LARGE_SIZE, guest_large_busy);
	vm.keep = 1;
	before = step(&vm, LARGE_TAKEN, "taken");
	for (i = LARGE_SHARED; i <= LARGE_PRIVATE; i++)
		step(&vm, i, "");
	step(&vm, LARGE_READ_ALL, "busy");
	WAIT_STAT("pages_2m", before.pages_2m);
	after = counts_now("back");
	CHECK_EQ(after.splits - before.splits, 0);
	vm_destroy(&vm);
}

/* A VMM that frees the private page has no block any more, and nothing is lost. */
static void freed_page(void)
{
	struct counts taken, last;
	struct snp_vm vm;
	int i;

	vm_launch(&vm, LARGE_SIZE, guest_large);
	taken = step(&vm, LARGE_TAKEN, "taken");
	for (i = LARGE_SHARED; i <= LARGE_PRIVATE; i++)
		step(&vm, i, "");
	usleep(1000 * 1000);
	last = step(&vm, LARGE_READ_ALL, "read all");
	CHECK_EQ(taken.pages_2m - last.pages_2m, 1);
	vm_destroy(&vm);
}

/* Whatever a guest had is the hypervisor's again. */
static void nothing_stays_assigned(void)
{
	uint64_t before = test_assigned(), running;
	struct snp_vm vm;

	vm_launch(&vm, LARGE_SIZE, guest_large);
	vm_run(&vm);
	CHECK_EQ(vm_report(&vm), LARGE_TAKEN);
	running = test_assigned();
	CHECK(running >= before + (NR_LARGE - 1) * PAGES_PER_2M);
	vm_destroy(&vm);
	CHECK_EQ(test_assigned(), before);
}

static int take(void)
{
	uint64_t faults, splits;
	struct snp_vm vm;

	vm_launch(&vm, TAKE_SIZE, guest_take);
	faults = KVM_STAT("pf_taken");
	splits = SPLITS();
	vm_run(&vm);
	CHECK_EQ(vm_report(&vm), LARGE_TAKEN);
	printf("mib\tfaults\tsplits\n%llu\t%llu\t%llu\n", (TAKE_SIZE - DATA) >> 20,
	       (unsigned long long)(KVM_STAT("pf_taken") - faults),
	       (unsigned long long)(SPLITS() - splits));
	vm_destroy(&vm);
	return 0;
}

static const struct user_test tests[] = {
	USER_TEST(large),
	USER_TEST(merge_while_running),
	USER_TEST(freed_page),
	USER_TEST(nothing_stays_assigned),
};

int main(int argc, char *argv[])
{
	if (argc == 2 && !strcmp(argv[1], "take"))
		return take();
	return run_user_tests(tests, ARRAY_SIZE(tests));
}
