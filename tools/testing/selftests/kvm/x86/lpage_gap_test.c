// SPDX-License-Identifier: GPL-2.0-only
/*
 * The longest time that a vCPU is kept from its work while dirty logging is
 * turned on and off.
 *
 * The vCPU goes round its memory and writes a word to each page, and notes the
 * longest time, by its own TSC, between two writes.  It has a CPU to itself, and
 * so has the thread that turns dirty logging on and off.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <linux/sizes.h>

#include "kvm_util.h"
#include "lpage_test.h"
#include "processor.h"
#include "test_util.h"
#include "ucall_common.h"

#define TEST_SLOT	1
#define TEST_ADDR	SZ_4G

#define WAIT_SECONDS	120

static enum vm_mem_backing_src_type src = VM_MEM_SRC_ANONYMOUS_HUGETLB_2MB;
static uint64_t size = SZ_4G;
static int rounds = 1;

/* Shared with the guest. */
static struct {
	uint64_t asked;		/* host: start anew, under this number */
	uint64_t stop;		/* host: come to an end */
	uint64_t started;	/* guest: the number last started under */
	uint64_t max_gap;	/* guest: in TSC ticks, since then */
	uint64_t writes;
} gap;

static struct kvm_vm *vm;
static struct kvm_vcpu *vcpu;
static uint64_t tsc_khz;

static void guest_code(uint64_t nr_pages)
{
	uint64_t prev, now, page = 0;

	GUEST_SYNC(0);

	for (prev = rdtsc(); !READ_ONCE(gap.stop); prev = now) {
		WRITE_ONCE(*(uint64_t *)(TEST_ADDR + page * PAGE_SIZE), prev);
		if (++page == nr_pages)
			page = 0;

		now = rdtsc();
		if (gap.started != READ_ONCE(gap.asked)) {
			WRITE_ONCE(gap.max_gap, 0);
			WRITE_ONCE(gap.started, gap.asked);
		} else if (now - prev > gap.max_gap) {
			WRITE_ONCE(gap.max_gap, now - prev);
		}
		WRITE_ONCE(gap.writes, gap.writes + 1);
	}
	GUEST_DONE();
}

static void run_vcpu(uint64_t cmd)
{
	struct ucall uc;

	vcpu_run(vcpu);
	TEST_ASSERT(get_ucall(vcpu, &uc) == cmd, "Unexpected exit of the vCPU");
}

static void *vcpu_thread(void *arg)
{
	pin_self_to_cpu(*(int *)arg);
	run_vcpu(UCALL_DONE);
	return NULL;
}

/* Wait until the guest has brought a counter of its own to @value. */
static void wait_for_guest(const uint64_t *counter, uint64_t value)
{
	struct timespec start;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (READ_ONCE(*counter) < value)
		TEST_ASSERT(timespec_elapsed(start).tv_sec < WAIT_SECONDS,
			    "The vCPU hangs");
}

static void measure(typeof(gap) *g, int round, const char *phase, uint32_t flags)
{
	struct timespec start;
	int64_t ns;

	WRITE_ONCE(g->asked, g->asked + 1);
	wait_for_guest(&g->started, g->asked);

	clock_gettime(CLOCK_MONOTONIC, &start);
	vm_mem_region_set_flags(vm, TEST_SLOT, flags);
	ns = timespec_to_ns(timespec_elapsed(start));

	/* A gap that lasts still is known when it is over. */
	wait_for_guest(&g->writes, READ_ONCE(g->writes) + 2);
	printf("%d\t%s\t%ld\t%.1f\n", round, phase, ns,
	       READ_ONCE(g->max_gap) * 1000.0 / tsc_khz);
	fflush(stdout);
}

/* The first two CPUs that this process may use. */
static void pick_cpus(int cpus[2])
{
	cpu_set_t set;
	int cpu, nr = 0;

	TEST_ASSERT(!sched_getaffinity(0, sizeof(set), &set), "sched_getaffinity() failed");
	for (cpu = 0; cpu < CPU_SETSIZE && nr < 2; cpu++)
		if (CPU_ISSET(cpu, &set))
			cpus[nr++] = cpu;
	__TEST_REQUIRE(nr == 2, "Needs two CPUs");
}

static void help(const char *name)
{
	printf("usage: %s [-b bytes] [-r rounds] [-s mem type]\n\n"
	       " -b: guest memory, a multiple of 2M (default: 4G)\n"
	       " -r: rounds of enabling and disabling (default: 1)\n",
	       name);
	backing_src_help("-s");
}

int main(int argc, char *argv[])
{
	struct kvm_pre_fault_memory all = { .gpa = TEST_ADDR };
	int cpus[2], opt, i;
	pthread_t thread;
	typeof(gap) *g;
	uint64_t off;
	char *hva;

	while ((opt = getopt(argc, argv, "b:hr:s:")) != -1) {
		switch (opt) {
		case 'b':
			size = parse_size(optarg);
			break;
		case 'r':
			rounds = atoi_positive("Number of rounds", optarg);
			break;
		case 's':
			src = parse_backing_src_type(optarg);
			break;
		default:
			help(argv[0]);
			exit(opt == 'h' ? 0 : 1);
		}
	}

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY));
	TEST_ASSERT(size && !(size % SZ_2M), "-b must be a multiple of 2M");
	pick_cpus(cpus);
	pin_self_to_cpu(cpus[0]);

	vm = __vm_create_with_one_vcpu(&vcpu, size / PAGE_SIZE, guest_code);
	vm_userspace_mem_region_add(vm, src, TEST_ADDR, TEST_SLOT, size / PAGE_SIZE, 0);
	virt_map_level(vm, TEST_ADDR, TEST_ADDR, size, PG_LEVEL_2M);
	vcpu_args_set(vcpu, 1, size / PAGE_SIZE);
	tsc_khz = __vcpu_ioctl(vcpu, KVM_GET_TSC_KHZ, NULL);

	/* What was never written to would be mapped as the zero page. */
	hva = addr_gpa2hva(vm, TEST_ADDR);
	for (off = 0; off < size; off += SZ_2M)
		hva[off] = 1;
	run_vcpu(UCALL_SYNC);
	all.size = size;
	vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &all);

	g = addr_gva2hva(vm, (gva_t)&gap);
	TEST_ASSERT(!pthread_create(&thread, NULL, vcpu_thread, &cpus[1]),
		    "pthread_create() failed");

	printf("round\tphase\tns\tgap_us\n");
	for (i = 1; i <= rounds; i++) {
		/* Once round all memory, which large pages map again then. */
		wait_for_guest(&g->writes, READ_ONCE(g->writes) + size / PAGE_SIZE);
		TEST_ASSERT(lpage_vm_stat(vm, "pages_2m") >= size / SZ_2M,
			    "The guest's memory is not mapped by large pages");
		measure(g, i, "enable", KVM_MEM_LOG_DIRTY_PAGES);
		measure(g, i, "disable", 0);
	}

	WRITE_ONCE(g->stop, 1);
	pthread_join(thread, NULL);
	kvm_vm_free(vm);
	return 0;
}
