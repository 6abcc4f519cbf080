// SPDX-License-Identifier: GPL-2.0-only
/*
 * What enabling and disabling dirty logging costs guests of very different
 * sizes, up to far more memory than there is: all of it aliases a few 2M pages.
 * KVM_PRE_FAULT_MEMORY maps them; no vCPU ever runs, so nothing but KVM's own
 * work is measured.
 *
 * Guest memory starts at 0 and nothing else is in the guest's address space: no
 * in-kernel local APIC, and so none of its page.  With that, 1 TiB fits into the
 * 40 bits of physical address that emulated CPUs have.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <linux/sizes.h>

#include "kvm_util.h"
#include "lpage_test.h"
#include "lpage_ticks.h"
#include "processor.h"
#include "test_util.h"

#define THREADS_PARAM	"/sys/module/kvm/parameters/lpage_split_threads"
#define MAX_LIST	16

struct list {
	uint64_t val[MAX_LIST];
	int nr;
};

static uint64_t mem_size = SZ_1G, slot_size = SZ_1G;
static int rounds = 1;

/* What all memslots have as memory: as many times the same as fill a slot. */
static void *mem;

static struct kvm_vm *vm;
static struct kvm_vcpu *vcpu;
static uint64_t size, threads, base_kb;
static int round_nr;

static void print_row(const char *name, int64_t ns, int64_t ticks)
{
	printf("%lu\t%lu\t%d\t%s\t%ld\t%ld\t%lu\t%lu\n", size / SZ_1G, threads,
	       round_nr, name, ns, ticks, lpage_vm_stat(vm, "pages_4k"),
	       lpage_sec_page_tables_kb() - base_kb);
	fflush(stdout);
}

static void phase_end(const char *name, struct lpage_phase *phase)
{
	lpage_phase_end(phase);
	print_row(name, phase->ns, phase->ticks);
}

static void set_slots(uint32_t flags)
{
	uint32_t slot;

	for (slot = 0; slot < size / slot_size; slot++)
		vm_set_user_memory_region(vm, slot, flags, slot * slot_size,
					  slot_size, mem);
}

static void pre_fault(void)
{
	struct kvm_pre_fault_memory range = { .size = size };

	vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range);
	TEST_ASSERT_EQ(range.size, 0);
	TEST_ASSERT_EQ(lpage_vm_stat(vm, "pages_2m"), size / SZ_2M);
}

/*
 * How much of the work was left to RCU, less what an idle host does anyway.
 * Reading the memory in use is part of neither.
 */
static int64_t settle(uint64_t idle, uint64_t kb)
{
	int64_t ticks = 0;

	do {
		ticks += lpage_ticks_stolen() - idle;
	} while (lpage_sec_page_tables_kb() > kb);

	return ticks;
}

static void set_threads(uint64_t nr)
{
	char text[32];
	int fd, len;

	threads = nr;
	fd = open(THREADS_PARAM, O_WRONLY);
	TEST_ASSERT(fd >= 0, "Cannot open " THREADS_PARAM);
	len = snprintf(text, sizeof(text), "%lu", nr);
	TEST_ASSERT(write(fd, text, len) == len, "Cannot write %s to " THREADS_PARAM, text);
	close(fd);
}

static void dirty_log_round(void)
{
	uint64_t idle, kb;
	struct lpage_phase phase;

	idle = lpage_ticks_stolen();

	phase = lpage_phase_begin();
	pre_fault();
	phase_end("populate", &phase);
	kb = lpage_sec_page_tables_kb();

	phase = lpage_phase_begin();
	set_slots(KVM_MEM_LOG_DIRTY_PAGES);
	phase_end("enable", &phase);
	TEST_ASSERT_EQ(lpage_vm_stat(vm, "pages_4k"), size / PAGE_SIZE);

	phase = lpage_phase_begin();
	set_slots(0);
	phase_end("disable", &phase);
	print_row("settle", 0, settle(idle, kb));
	TEST_ASSERT_EQ(lpage_vm_stat(vm, "pages_4k"), 0);
}

static void measure_size(const struct list *threads_list)
{
	int i;

	base_kb = lpage_sec_page_tables_kb();
	vm = vm_create_barebones();
	vcpu = __vm_vcpu_add(vm, 0);
	set_slots(0);

	for (round_nr = 1; round_nr <= rounds; round_nr++) {
		if (!threads_list->nr)
			dirty_log_round();
		for (i = 0; i < threads_list->nr; i++) {
			set_threads(threads_list->val[i]);
			dirty_log_round();
		}
	}

	kvm_vm_free(vm);
}

static void map_memory(void)
{
	uint64_t off;
	void *part;
	int fd;

	fd = kvm_memfd_alloc(mem_size, true);

	/* A 2M page is mapped as such only where it may be. */
	mem = mmap(NULL, slot_size + SZ_2M, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(mem != MAP_FAILED, "No room for %lu GiB", slot_size / SZ_1G);
	mem = align_ptr_up(mem, SZ_2M);

	for (off = 0; off < slot_size; off += mem_size) {
		part = mmap(mem + off, mem_size, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, 0);
		TEST_ASSERT(part != MAP_FAILED, "No %lu MiB of 2M hugetlb pages",
			    mem_size / SZ_1M);
	}
	close(fd);
}

static void help(const char *name)
{
	printf("usage: %s [-b bytes,...] [-m bytes] [-r rounds] [-s bytes] [-t threads,...]\n\n"
	       " -b: guest memory, in multiples of -s (default: 1G)\n"
	       " -m: host memory for all that, a multiple of 2M (default: 1G)\n"
	       " -r: rounds of enabling and disabling (default: 1)\n"
	       " -s: size of a memslot, a multiple of -m (default: 1G)\n"
	       " -t: in each round, do it with each of these numbers of threads\n",
	       name);
}

static void parse_list(char *arg, struct list *list, size_t (*parse)(const char *))
{
	char *word;

	for (list->nr = 0; (word = strsep(&arg, ",")); list->nr++) {
		TEST_ASSERT(list->nr < MAX_LIST, "At most %d values", MAX_LIST);
		list->val[list->nr] = parse(word);
	}
}

static size_t parse_threads(const char *word)
{
	return atoi_non_negative("Number of threads", word);
}

int main(int argc, char *argv[])
{
	struct list sizes = { .val = { SZ_1G }, .nr = 1 }, threads_list = {};
	int opt, i;

	while ((opt = getopt(argc, argv, "b:hm:r:s:t:")) != -1) {
		switch (opt) {
		case 'b':
			parse_list(optarg, &sizes, parse_size);
			break;
		case 'm':
			mem_size = parse_size(optarg);
			break;
		case 'r':
			rounds = atoi_positive("Number of rounds", optarg);
			break;
		case 's':
			slot_size = parse_size(optarg);
			break;
		case 't':
			parse_list(optarg, &threads_list, parse_threads);
			break;
		default:
			help(argv[0]);
			exit(opt == 'h' ? 0 : 1);
		}
	}

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY));
	TEST_ASSERT(mem_size && !(mem_size % SZ_2M), "-m must be a multiple of 2M");
	TEST_ASSERT(slot_size && !(slot_size % mem_size), "-s must be a multiple of -m");
	map_memory();

	printf("gib\tthreads\tround\tphase\tns\ttsc\tpages_4k\ttable_kb\n");
	for (i = 0; i < sizes.nr; i++) {
		size = sizes.val[i];
		TEST_ASSERT(size && !(size % slot_size), "-b must be a multiple of -s");
		measure_size(&threads_list);
	}

	return 0;
}
