// SPDX-License-Identifier: GPL-2.0
/*
 * An SNP guest whose memory is mapped by large pages: by our modules, on a stock kernel.
 * What KVM and the kernel count is printed after each step.
 *
 * With the argument "take", which is for any KVM, a guest takes memory and that is all.
 * What it has taken is printed, in MiB, with the faults and the large pages of the direct
 * map that were split for it.  With "poison", for ours, memory goes bad under a guest: the
 * page is lost until the next boot, so that nothing that counts memory may come after it.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
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

#define STAT_PATH(name)	"/sys/kernel/debug/kvm/" name
#define KVM_STAT(name)	read_value(STAT_PATH(name), NULL)
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

#define BACK_MS		30000

/* A statistic of all VMs is at least @want, in time. */
static void wait_stat(const char *path, uint64_t want)
{
	uint64_t have;
	int ms;

	for (ms = 0; (have = read_value(path, NULL)) < want; ms++) {
		if (ms == BACK_MS)
			check_failed(__LINE__, "%s is %llu after %d ms, want %llu", path,
				     (unsigned long long)have, ms, (unsigned long long)want);
		usleep(1000);
	}
}

/*
 * No more pages are assigned than before the VM.  If the background was at its memory when
 * it was closed, the last reference to that is put by a kworker, a little later.
 */
static void wait_assigned(uint64_t want)
{
	uint64_t have;
	int ms;

	for (ms = 0; (have = test_assigned()) != want; ms++) {
		if (ms == BACK_MS)
			check_failed(__LINE__, "%llu pages are assigned after %d ms, want %llu",
				     (unsigned long long)have, ms, (unsigned long long)want);
		usleep(1000);
	}
}

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
	wait_stat(STAT_PATH("lpage_merged"), 1);
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
	wait_stat(STAT_PATH("pages_2m"), before.pages_2m);
	after = counts_now("back");
	CHECK_EQ(after.splits - before.splits, 0);
	vm_destroy(&vm);
}

/*
 * A page that the guest has not validated differs from the others, so that the firmware
 * does not merge them: they are the guest's as before, and the host's in the end.
 */
static void not_validated(void)
{
	uint64_t assigned = test_assigned(), refused, skips, merged;
	struct counts shared, after;
	struct snp_vm vm;

	vm_launch(&vm, LARGE_SIZE, guest_large_late);
	vm.keep = 1;
	step(&vm, LARGE_TAKEN, "taken");
	shared = step(&vm, LARGE_SHARED, "shared");
	step(&vm, LARGE_READ, "read");
	refused = test_counter(SNP_COUNTER_PSP_REFUSED);
	skips = KVM_STAT("lpage_promote_skip_level");
	merged = KVM_STAT("lpage_promoted_2m");
	step(&vm, LARGE_PRIVATE, "private");
	wait_stat(STAT_PATH("lpage_promote_skip_level"), skips + 1);
	CHECK_EQ(test_counter(SNP_COUNTER_PSP_REFUSED) - refused, 1);
	CHECK_EQ(KVM_STAT("lpage_promoted_2m"), merged);

	after = step(&vm, LARGE_READ_ALL, "read all");
	CHECK_EQ(after.pages_2m, shared.pages_2m);
	vm_destroy(&vm);
	wait_assigned(assigned);
}

struct runner {
	struct snp_vm *vm;
	int nr;
	pthread_t thread;
};

static void *run_thread(void *data)
{
	struct runner *r = data;

	vcpu_run(r->vm, r->nr);
	return NULL;
}

static void start_all(struct snp_vm *vm, struct runner *runners)
{
	int i;

	for (i = 0; i < vm->nr_vcpus; i++) {
		runners[i] = (struct runner){ .vm = vm, .nr = i };
		CHECK(!pthread_create(&runners[i].thread, NULL, run_thread, &runners[i]));
	}
}

/* Each vCPU has come to the point where it tells @want. */
static struct counts join_all(struct snp_vm *vm, struct runner *runners, uint64_t want,
			      const char *what)
{
	int i;

	for (i = 0; i < vm->nr_vcpus; i++) {
		CHECK(!pthread_join(runners[i].thread, NULL));
		CHECK_EQ(vcpu_report(vm, i), want);
	}
	return counts_now(what);
}

/* A guest's word of shared memory is at least @want, in time. */
static void wait_word(const uint64_t *word, uint64_t want)
{
	int ms;

	for (ms = 0; READ_ONCE(*word) < want; ms++) {
		if (ms == BACK_MS)
			check_failed(__LINE__, "%llu is not %llu",
				     (unsigned long long)READ_ONCE(*word),
				     (unsigned long long)want);
		usleep(1000);
	}
}

#define MANY_2M		(MANY_SIZE / HUGE_SIZE - 1)

/*
 * vCPUs convert pages of their own, and read those of the others, whose 2M are smashed
 * and merged meanwhile.  There are a few faults for each of that, but none without end.
 */
static void many_vcpus(void)
{
	uint64_t assigned = test_assigned();
	struct runner runners[SNP_MAX_VCPUS];
	struct counts taken, after;
	struct snp_vm vm;
	int i;

	vm_launch_vcpus(&vm, MANY_SIZE, MANY_VCPUS, guest_many);
	vm.keep = 1;
	CHECK(!set_private(&vm, MANY_STOP, PAGE_SIZE, 0));
	start_all(&vm, runners);
	taken = join_all(&vm, runners, LARGE_TAKEN, "taken");
	CHECK_EQ(taken.pages_2m, MANY_2M);

	/* Pages of all are converted, and all but those that go on to be come back. */
	start_all(&vm, runners);
	for (i = 0; i < MANY_VCPUS; i++)
		wait_word(table(&vm, MANY_DONE(i)), 1);
	wait_stat(STAT_PATH("pages_2m"), MANY_2M - MANY_VCPUS);
	*table(&vm, MANY_STOP) = 1;
	after = join_all(&vm, runners, LARGE_READ_ALL, "busy");
	CHECK(after.rmp_faults - taken.rmp_faults < 16 * MANY_2M);
	wait_stat(STAT_PATH("pages_2m"), taken.pages_2m);
	after = counts_now("back");
	CHECK_EQ(after.splits, taken.splits);
	vm_destroy(&vm);
	wait_assigned(assigned);
}

/* A guest that has asked for a second vCPU, which does not run yet. */
static struct counts launch_with_ap(struct snp_vm *vm)
{
	struct counts taken;

	vm_launch_vcpus(vm, AP_SIZE, 2, (void (*)(uint64_t))guest_start_ap);
	vm->keep = 1;
	CHECK(!set_private(vm, AP_GHCB, PAGE_SIZE, 0));
	taken = step(vm, LARGE_TAKEN, "taken");
	step(vm, AP_STARTED, "started");
	return taken;
}

static void start_ap(struct snp_vm *vm, struct runner *ap)
{
	*ap = (struct runner){ .vm = vm, .nr = 1 };
	CHECK(!pthread_create(&ap->thread, NULL, run_thread, ap));
}

/* Both vCPUs go on, and to their end. */
static struct counts finish_with_ap(struct snp_vm *vm, struct runner *ap)
{
	uint64_t *counter = table(vm, AP_COUNT);

	wait_word(counter, READ_ONCE(*counter) + 100);
	*table(vm, AP_STOP) = 1;
	CHECK(!pthread_join(ap->thread, NULL));
	CHECK_EQ(vcpu_report(vm, 1), LARGE_READ_ALL);
	return step(vm, LARGE_READ_ALL, "read all");
}

/*
 * A vCPU that the guest has started by itself has its VMSA in a page of the guest's memory.
 * The 2M around that is not merged, the firmware is not even asked to, and the vCPU
 * goes on.
 */
static void vmsa_in_block(void)
{
	uint64_t assigned = test_assigned(), refused, skips;
	struct counts taken, last;
	struct runner ap;
	struct snp_vm vm;

	taken = launch_with_ap(&vm);
	start_ap(&vm, &ap);
	wait_word(table(&vm, AP_COUNT), 1);
	refused = test_counter(SNP_COUNTER_PSP_REFUSED);
	skips = KVM_STAT("lpage_promote_skip_level");
	step(&vm, LARGE_PRIVATE, "private");
	wait_stat(STAT_PATH("lpage_promote_skip_level"), skips + 1);
	CHECK_EQ(test_counter(SNP_COUNTER_PSP_REFUSED), refused);

	last = finish_with_ap(&vm, &ap);
	CHECK_EQ(last.pages_2m, taken.pages_2m - 1);
	vm_destroy(&vm);
	wait_assigned(assigned);
}

/*
 * Nobody knows of the VMSA before the vCPU runs for the first time, and that happens while
 * the page is immutable, after the firmware has refused to merge it: the vCPU waits.
 */
static void vmsa_while_merging(void)
{
	uint64_t assigned = test_assigned(), refused = test_counter(SNP_COUNTER_PSP_REFUSED);
	struct runner ap;
	struct snp_vm vm;
	time_t end;

	launch_with_ap(&vm);
	step(&vm, LARGE_PRIVATE, "private");
	/* It lasts for less than a sleep. */
	for (end = time(NULL) + BACK_MS / 1000; time(NULL) <= end;)
		if (test_counter(SNP_COUNTER_PSP_REFUSED) != refused)
			break;
	start_ap(&vm, &ap);
	CHECK_EQ(test_counter(SNP_COUNTER_PSP_REFUSED), refused + 1);
	finish_with_ap(&vm, &ap);
	vm_destroy(&vm);
	wait_assigned(assigned);
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

/* Half a page that KVM has copied before it gave up is nothing that a guest sees. */
static void launched_in_vain(void)
{
	struct snp_vm vm;

	vm_launch(&vm, LARGE_SIZE, guest_read_large);
	vm_launch_in_vain(&vm, LARGE_PAGE);
	vm_run(&vm);
	CHECK_EQ(vm_report(&vm), 0);
	CHECK_EQ(KVM_STAT("pages_2m"), 1);
	vm_destroy(&vm);
}

#define DIRECTMAP	"/sys/kernel/debug/x86/snp_directmap"

/* How often a change of the RMP has looked at 2M of the direct map. */
static uint64_t directmap_looks(void)
{
	return read_value(DIRECTMAP, "skipped_4k") + read_value(DIRECTMAP, "split_2m");
}

/* Mainline, which our files are also a part of, populates page by page. */
static int populates_by_runs(void)
{
	struct utsname name;

	CHECK(!uname(&name));
	return !strncmp(name.release, "6.12.", strlen("6.12."));
}

static void launch_block(struct snp_vm *vm)
{
	int counted = !access(DIRECTMAP, R_OK);
	uint64_t looks = counted ? directmap_looks() : 0, splits = SPLITS();

	CHECK_EQ(vm_launch_update(vm, LAUNCHED, HUGE_SIZE), 0);
	CHECK(SPLITS() - splits <= 1);
	/* A kernel that counts them knows ranges. */
	if (counted)
		CHECK_EQ(directmap_looks() - looks, populates_by_runs() ? 1 : PAGES_PER_2M);
}

/* A block is launched by one change of its pages, and one of the direct map. */
static void launched_at_once(void)
{
	struct snp_vm vm;

	vm_launch_with(&vm, LARGE_SIZE, guest_check_launched, launch_block);
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
	wait_assigned(before);
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

#define TRACE_DIR	"/sys/kernel/tracing/instances/snp_lpage"

/* What write() says to all of @text. */
static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), ret;

	if (fd < 0)
		check_failed(__LINE__, "cannot open %s: %s", path, strerror(errno));
	ret = write(fd, text, strlen(text)) < 0 ? errno : 0;
	close(fd);
	return ret;
}

/* The PFN of the block at @want in a file, in pages, by what was traced. */
static uint64_t block_pfn(uint64_t want)
{
	unsigned long long ino, index, pfn, found = 0;
	char line[256], *event;
	FILE *trace = fopen(TRACE_DIR "/trace", "r");

	CHECK(trace);
	while (fgets(line, sizeof(line), trace)) {
		event = strstr(line, "kvm_gmem_block: ");
		if (event && sscanf(event, "kvm_gmem_block: ino %llu index %llx pfn %llx",
				    &ino, &index, &pfn) == 3 && index == want)
			found = pfn;
	}
	fclose(trace);
	return found;
}

/*
 * The guest goes on with all but the page that is lost, and that is the host's again in the
 * end as the others are.
 */
static int poison(void)
{
	uint64_t assigned = test_assigned(), gpa = LARGE_PAGE + 4 * PAGE_SIZE, pfn;
	struct counts taken, after;
	struct snp_vm vm;
	char address[32];

	mkdir(TRACE_DIR, 0700);
	CHECK_EQ(write_file(TRACE_DIR "/events/kvm/kvm_gmem_block/enable", "1"), 0);
	vm_launch(&vm, LARGE_SIZE, guest_large);
	taken = step(&vm, LARGE_TAKEN, "taken");
	pfn = block_pfn(DATA / PAGE_SIZE);
	CHECK(pfn && !(pfn % PAGES_PER_2M));

	pfn += (gpa - DATA) / PAGE_SIZE;
	snprintf(address, sizeof(address), "0x%llx", (unsigned long long)pfn * PAGE_SIZE);
	/* It stays in the file, which the kernel calls busy. */
	CHECK_EQ(write_file("/sys/devices/system/memory/hard_offline_page", address), EBUSY);
	after = counts_now("poisoned");
	CHECK_EQ(taken.pages_2m - after.pages_2m, 1);

	/* Conversion of a page in front of it, and all up to it, which the guest checks. */
	step(&vm, LARGE_SHARED, "shared");
	CHECK(ioctl(vm.vcpu[0].fd, KVM_RUN, 0) && errno == EHWPOISON);
	after = counts_now("lost");
	CHECK(after.pages_4k > taken.pages_4k + (gpa - LARGE_PAGE) / PAGE_SIZE);
	vm_destroy(&vm);
	wait_assigned(assigned);
	rmdir(TRACE_DIR);
	return 0;
}

static const struct user_test tests[] = {
	USER_TEST(large),
	USER_TEST(merge_while_running),
	USER_TEST(not_validated),
	USER_TEST(many_vcpus),
	USER_TEST(vmsa_in_block),
	USER_TEST(vmsa_while_merging),
	USER_TEST(freed_page),
	USER_TEST(launched_in_vain),
	USER_TEST(launched_at_once),
	USER_TEST(nothing_stays_assigned),
};

int main(int argc, char *argv[])
{
	if (argc == 2 && !strcmp(argv[1], "take"))
		return take();
	if (argc == 2 && !strcmp(argv[1], "poison"))
		return poison();
	return run_user_tests(tests, ARRAY_SIZE(tests));
}
