// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a round of dirty logging costs, phase by phase: populate, enable, dirty,
 * get and clear the log, disable, touch again.
 *
 * Everything, the vCPUs included, runs on the main thread, so nothing else
 * competes for the CPU.  On an emulated host that counts instructions, a TSC
 * tick is one executed instruction and the figures repeat.
 *
 * Works on any KVM: only statistics that every kvm.ko has are read.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <linux/bitmap.h>
#include <linux/sizes.h>

#include "kvm_util.h"
#include "lpage_rows.h"
#include "lpage_ticks.h"
#include "processor.h"
#include "test_util.h"
#include "ucall_common.h"

#define TEST_SLOT	1
#define TEST_ADDR	SZ_4G

struct params {
	enum vm_mem_backing_src_type src;
	uint64_t size;
	uint32_t nr_vcpus;
	int iterations;
	int rounds;
	bool initially_set;
};

static struct params p = {
	.src = VM_MEM_SRC_ANONYMOUS_HUGETLB_2MB,
	.size = SZ_256M,
	.nr_vcpus = 1,
	.iterations = 1,
	.rounds = 1,
};

static struct kvm_vm *vm;
static struct kvm_vcpu *vcpus[KVM_MAX_VCPUS];
static struct lpage_rows rows;

static uint64_t pattern(uint64_t page, uint64_t pass)
{
	return (page + 1) * 0x9e3779b97f4a7c15ul + pass;
}

/*
 * Each pass writes every page, and must find there what the pass before wrote.
 * Pass 0 does not look: reading fresh memory maps the zero page.
 */
static void guest_code(uint64_t first_page, uint64_t nr_pages)
{
	uint64_t pass, page;

	for (pass = 0; ; pass++) {
		GUEST_SYNC(pass);

		for (page = first_page; page < first_page + nr_pages; page++) {
			uint64_t *mem = (uint64_t *)(TEST_ADDR + page * PAGE_SIZE);

			if (pass)
				GUEST_ASSERT_EQ(*mem, pattern(page, pass - 1));
			WRITE_ONCE(*mem, pattern(page, pass));
		}
	}
}

/* Run each vCPU up to its next GUEST_SYNC(). */
static void run_vcpus(void)
{
	struct ucall uc;
	uint32_t i;

	for (i = 0; i < p.nr_vcpus; i++) {
		vcpu_run(vcpus[i]);

		switch (get_ucall(vcpus[i], &uc)) {
		case UCALL_SYNC:
			break;
		case UCALL_ABORT:
			REPORT_GUEST_ASSERT(uc);
			break;
		default:
			TEST_FAIL("Unexpected exit of vCPU %u", i);
		}
	}
}

static void vm_setup(void)
{
	uint64_t nr_pages = p.size / PAGE_SIZE, per_vcpu = nr_pages / p.nr_vcpus;
	struct kvm_pre_fault_memory own = {};
	uint32_t i;

	vm = __vm_create_with_vcpus(VM_SHAPE_DEFAULT, p.nr_vcpus, nr_pages,
				    guest_code, vcpus);

	vm_enable_cap(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
		      KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE |
		      (p.initially_set ? KVM_DIRTY_LOG_INITIALLY_SET : 0));

	vm_userspace_mem_region_add(vm, p.src, TEST_ADDR, TEST_SLOT, nr_pages, 0);

	/* Large pages in the guest, so that few of its page tables are walked. */
	virt_map_level(vm, TEST_ADDR, TEST_ADDR, p.size, PG_LEVEL_2M);

	for (i = 0; i < p.nr_vcpus; i++)
		vcpu_args_set(vcpus[i], 2, i * per_vcpu, per_vcpu);

	/* Map code, stack and page tables, which are not to be counted. */
	run_vcpus();
	own.size = memslot2region(vm, 0)->region.memory_size;
	vcpu_ioctl(vcpus[0], KVM_PRE_FAULT_MEMORY, &own);

	rows = (struct lpage_rows){ .vm = vm, .vcpus = vcpus, .nr_vcpus = p.nr_vcpus };
	lpage_rows_begin(&rows);
}

static void dirty_log_round(unsigned long *bitmap)
{
	uint64_t idle, ticks, word, nr_pages = p.size / PAGE_SIZE;
	struct lpage_phase phase;
	char name[32];
	int i;

	/*
	 * What the timer and the housekeeping of an idle host take anyway.
	 * This and the settling below have the reading of the counters in
	 * common, so that this cancels out.
	 */
	idle = rdtsc();
	lpage_counters_read(&rows);
	idle = rdtsc() - idle + lpage_ticks_stolen();

	phase = lpage_phase_begin();
	vm_mem_region_set_flags(vm, TEST_SLOT, KVM_MEM_LOG_DIRTY_PAGES);
	lpage_row_phase(&rows, "enable", &phase);

	for (i = 1; i <= p.iterations; i++) {
		phase = lpage_phase_begin();
		run_vcpus();
		snprintf(name, sizeof(name), "dirty_%d", i);
		lpage_row_phase(&rows, name, &phase);

		phase = lpage_phase_begin();
		kvm_vm_get_dirty_log(vm, TEST_SLOT, bitmap);
		snprintf(name, sizeof(name), "get_%d", i);
		lpage_row_phase(&rows, name, &phase);
		for (word = 0; word < nr_pages / BITS_PER_LONG; word++)
			TEST_ASSERT_EQ(bitmap[word], ~0ul);

		phase = lpage_phase_begin();
		kvm_vm_clear_dirty_log(vm, TEST_SLOT, bitmap, 0, nr_pages);
		snprintf(name, sizeof(name), "clear_%d", i);
		lpage_row_phase(&rows, name, &phase);
	}

	phase = lpage_phase_begin();
	vm_mem_region_set_flags(vm, TEST_SLOT, 0);
	ticks = rdtsc();
	lpage_row_phase(&rows, "disable", &phase);
	ticks = rdtsc() - ticks + lpage_ticks_stolen();

	/* The frees have no wall time of their own, they ran beside the loop. */
	lpage_row(&rows, "settle", 0, ticks - idle);

	phase = lpage_phase_begin();
	run_vcpus();
	lpage_row_phase(&rows, "touch_again", &phase);
}

static void check_memory(uint64_t pass)
{
	uint64_t *mem = addr_gpa2hva(vm, TEST_ADDR);
	uint64_t page;

	for (page = 0; page < p.size / PAGE_SIZE; page++)
		TEST_ASSERT_EQ(mem[page * PAGE_SIZE / sizeof(*mem)],
			       pattern(page, pass));
}

static void help(const char *name)
{
	printf("usage: %s [-b bytes] [-i iterations] [-I] [-r rounds] [-s mem type] [-v vcpus]\n\n"
	       " -b: guest memory, a multiple of 2M for each vCPU (default: 256M)\n"
	       " -i: dirty, get and clear passes in a round (default: 1)\n"
	       " -I: start with all pages dirty (KVM_DIRTY_LOG_INITIALLY_SET)\n"
	       " -r: rounds of enabling and disabling (default: 1)\n"
	       " -v: number of vCPUs; they run one after the other (default: 1)\n",
	       name);
	backing_src_help("-s");
}

int main(int argc, char *argv[])
{
	unsigned long *bitmap;
	struct lpage_phase phase;
	int opt;

	while ((opt = getopt(argc, argv, "b:hi:Ir:s:v:")) != -1) {
		switch (opt) {
		case 'b':
			p.size = parse_size(optarg);
			break;
		case 'i':
			p.iterations = atoi_non_negative("Number of iterations", optarg);
			break;
		case 'I':
			p.initially_set = true;
			break;
		case 'r':
			p.rounds = atoi_positive("Number of rounds", optarg);
			break;
		case 's':
			p.src = parse_backing_src_type(optarg);
			break;
		case 'v':
			p.nr_vcpus = atoi_positive("Number of vCPUs", optarg);
			break;
		default:
			help(argv[0]);
			exit(opt == 'h' ? 0 : 1);
		}
	}

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2));
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY));
	TEST_ASSERT(p.nr_vcpus <= KVM_MAX_VCPUS, "At most %d vCPUs", KVM_MAX_VCPUS);
	TEST_ASSERT(p.size && !(p.size % (p.nr_vcpus * SZ_2M)),
		    "-b must be a multiple of 2M for each vCPU");

	vm_setup();
	bitmap = bitmap_zalloc(p.size / PAGE_SIZE);

	lpage_rows_header();

	phase = lpage_phase_begin();
	run_vcpus();
	lpage_row_phase(&rows, "populate", &phase);

	for (rows.round = 1; rows.round <= p.rounds; rows.round++)
		dirty_log_round(bitmap);

	check_memory(p.rounds * (p.iterations + 1));

	free(bitmap);
	kvm_vm_free(vm);
	return 0;
}
