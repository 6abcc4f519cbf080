// SPDX-License-Identifier: GPL-2.0-only
/*
 * What vCPUs keep in store for page faults, and what a fault costs, with the refills.
 *
 * Memory is counted in pages that the page allocator has given out, slabs among them,
 * from before the first run of some vCPUs until after it.  Faults are counted where the
 * page table is there already, and where each takes a new one, so that the store runs
 * dry all the time.
 *
 * Everything, the vCPUs included, runs on the main thread, so nothing else competes for
 * the CPU.  Works on any KVM: only statistics that every kvm.ko has are read.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lpage_rows.h"
#include "lpage_ticks.h"
#include "lpage_vm.h"
#include "ucall_common.h"

/* Memory of vCPUs */

/*
 * Pages that nobody has, those that CPUs keep for themselves included.  Nothing is
 * allocated here but by the kernel for the reading.
 */
static s64 free_pages(void)
{
	static char text[SZ_128K];
	char *line, *state;
	s64 nr, sum = 0;
	ssize_t len, got;
	int fd;

	/* CPUs keep small differences of the counters to themselves, too. */
	param_set("/proc/sys/vm/stat_refresh", "1");
	fd = open("/proc/zoneinfo", O_RDONLY);
	TEST_ASSERT(fd >= 0, "Cannot open /proc/zoneinfo");
	for (len = 0; (got = read(fd, text + len, sizeof(text) - 1 - len)) > 0; len += got)
		;
	close(fd);
	TEST_ASSERT(len > 0 && len < sizeof(text) - 1, "Cannot read /proc/zoneinfo");
	text[len] = '\0';
	for (line = strtok_r(text, "\n", &state); line; line = strtok_r(NULL, "\n", &state))
		if (sscanf(line, " nr_free_pages %ld", &nr) == 1 ||
		    sscanf(line, " count: %ld", &nr) == 1)
			sum += nr;
	return sum;
}

static void guest_sync(u64 idx)
{
	for (;;)
		GUEST_SYNC(idx);
}

static void run_once(struct kvm_vcpu *vcpu)
{
	vcpu_run(vcpu);
	TEST_ASSERT(op_done(vcpu), "Unexpected exit: %s",
		    exit_reason_str(vcpu->run->exit_reason));
}

/* All that the guest uses, so that running it takes no more of it. */
static void fill_guest(struct kvm_vm *vm, struct kvm_vcpu *vcpu)
{
	struct userspace_mem_region *region = memslot2region(vm, 0);
	struct kvm_pre_fault_memory range = { .size = region->region.memory_size };
	char *mem = region->host_mem;
	u64 i;

	for (i = 0; i < range.size; i += SZ_4K)
		WRITE_ONCE(mem[i], READ_ONCE(mem[i]));
	while (range.size)
		vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range);
}

/* What the first run of each vCPU allocates. */
static void count_bytes(int nr_vcpus)
{
	struct kvm_vcpu *vcpus[KVM_MAX_VCPUS];
	struct kvm_vm *vm;
	s64 before;
	int i;

	/* One more, which allocates what there is but once. */
	vm = __vm_create_with_vcpus(VM_SHAPE_DEFAULT, nr_vcpus + 1, 0, guest_sync, vcpus);
	for (i = 0; i <= nr_vcpus; i++)
		vcpu_args_set(vcpus[i], 1, (u64)i);
	run_once(vcpus[nr_vcpus]);
	fill_guest(vm, vcpus[nr_vcpus]);
	free_pages();
	lpage_ticks_stolen();

	before = free_pages();
	for (i = 0; i < nr_vcpus; i++)
		run_once(vcpus[i]);
	printf("vcpus\t%d\t%ld\n", nr_vcpus, (before - free_pages()) * SZ_4K);
	kvm_vm_free(vm);
}

/* Faults */

/*
 * One 4K page of each 2M at a time.  Of eight pages that a fault may map together, the
 * host has one only.
 */
#define REGIONS		(TEST_SPACE / SZ_2M)
#define PREFETCH	8
#define PASSES		4

static char *alloc_sparse(void)
{
	char *mem = alloc_4k(TEST_SPACE);
	u64 i, pass;

	for (i = 0; i < REGIONS; i++)
		for (pass = 1; pass <= PASSES; pass++)
			WRITE_ONCE(mem[i * SZ_2M + pass * PREFETCH * SZ_4K], 1);
	return mem;
}

static void touch(struct test_vm *t, u64 pass)
{
	/* L2, if there is one, and L1 has nothing to do then. */
	op_set(t, 0, OP_WRITE, TEST_GPA + pass * PREFETCH * SZ_4K, REGIONS, SZ_2M, pass);
	vcpu_run_op(t, 0);
}

static void count_faults(bool nested, char *mem, int round)
{
	struct lpage_phase phase;
	struct lpage_rows rows;
	struct test_vm t;
	struct slot s;
	u64 faults, pass;

	if (nested)
		vm_new_nested(&t, TEST_GPA);
	else
		vm_new(&t, 1);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, TEST_SPACE, mem);
	if (nested)
		l1_build_npt(&s);
	/* What else the guest needs. */
	op_set(&t, 0, OP_POKE, TEST_GPA + PREFETCH * SZ_4K, 1, SZ_4K, 1);
	vcpu_run_op(&t, 0);
	rows = (struct lpage_rows){ .vm = t.vm, .vcpus = t.vcpu, .nr_vcpus = 1, .round = round };
	lpage_rows_begin(&rows);
	/* The page tables of the VM before may still be being freed. */
	lpage_ticks_stolen();

	faults = faults_taken(&t);
	phase = lpage_phase_begin();
	touch(&t, 1);
	lpage_row_phase(&rows, "tables", &phase);
	EXPECT_FAULTS(&t, faults, REGIONS - 1);

	faults = faults_taken(&t);
	phase = lpage_phase_begin();
	for (pass = 2; pass <= PASSES; pass++)
		touch(&t, pass);
	lpage_row_phase(&rows, "pages", &phase);
	EXPECT_FAULTS(&t, faults, (PASSES - 1) * REGIONS);
	kvm_vm_free(t.vm);
}

static void help(const char *name)
{
	printf("usage: %s [-n] [-r rounds] [-v vcpus]\n\n"
	       " -n: faults of a nested guest\n"
	       " -r: rounds of faults, each of another VM (default: 1)\n"
	       " -v: count the memory of so many vCPUs instead\n", name);
}

int main(int argc, char *argv[])
{
	int opt, round, rounds = 1, nr_vcpus = 0;
	bool nested = false;
	char *mem;

	while ((opt = getopt(argc, argv, "hnr:v:")) != -1) {
		switch (opt) {
		case 'n':
			nested = true;
			break;
		case 'r':
			rounds = atoi_positive("Number of rounds", optarg);
			break;
		case 'v':
			nr_vcpus = atoi_positive("Number of vCPUs", optarg);
			break;
		default:
			help(argv[0]);
			exit(opt == 'h' ? 0 : 1);
		}
	}

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY));
	TEST_REQUIRE(!nested || (kvm_cpu_has(X86_FEATURE_SVM) && kvm_cpu_has(X86_FEATURE_NPT)));
	TEST_ASSERT(nr_vcpus < KVM_MAX_VCPUS, "At most %d vCPUs", KVM_MAX_VCPUS - 1);
	if (nr_vcpus) {
		count_bytes(nr_vcpus);
		return 0;
	}

	lpage_rows_header();
	mem = alloc_sparse();
	for (round = 1; round <= rounds; round++)
		count_faults(nested, mem, round);
	return 0;
}
