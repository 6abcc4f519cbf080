// SPDX-License-Identifier: GPL-2.0-only
/*
 * What private memory and conversions cost: the first touch of memory, the conversion
 * of one 4K page out of each 2M and back, with all that the guest then does to have its
 * memory mapped again; and a guest that boots, which converts pages here and there.
 *
 * Everything, the vCPU included, runs on the main thread.  On an emulated host that
 * counts instructions, a TSC tick is one executed instruction and the figures repeat.
 *
 * Works on any KVM that has KVM_X86_SW_PROTECTED_VM.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/sizes.h>

#include "lpage_rows.h"
#include "lpage_vm.h"

/* Beyond what else the guest has. */
#define MEM_GPA		SZ_4G

/* Shared memory: so much hugetlb, as many times the same as fill all slots, if not -d. */
#define HUGETLB_SIZE	SZ_64M

/*
 * The background looks at what was converted after 250 ms, and then every 100 ms; it is
 * watched from WAIT_MS on, for so many times LPAGE_SETTLE_MS.  Memory that is mixed
 * again within 2 s would wait for longer.
 */
#define WAIT_MS		200
#define NR_SPINS	2
#define CALM_MS		2500

/* Of the pages that the booting guest converts, one in so many comes back. */
#define BACK_SHARE	6

static struct params {
	u64 size;
	u64 conversions;
	int rounds;
	bool distinct;
	bool private;
} p = {
	.size = SZ_64M,
	.rounds = 1,
};

static struct test_vm t;
static struct lpage_rows rows;

/* Ticks of LPAGE_SETTLE_MS that an idle host takes. */
static s64 idle;

static u64 nr_ranges(void)
{
	return p.size / SZ_2M;
}

static void touch(u64 offset, u64 nr_pages, u64 stride)
{
	op_set(&t, 0, OP_POKE, MEM_GPA + offset, nr_pages, stride, 1);
	vcpu_run_op(&t, 0);
}

/* Convert one page to what it was not at first, or back. */
static void convert(u64 offset, bool back)
{
	vm_set_memory_attributes(t.vm, MEM_GPA + offset, SZ_4K,
				 p.private == back ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0);
}

/* Address space of @size that has the same @part of hugetlb memory everywhere. */
static char *alias_hugetlb(u64 size, u64 part)
{
	int fd = kvm_memfd_alloc(part, true);
	char *mem = reserve(size, SZ_2M);
	u64 offset;

	for (offset = 0; offset < size; offset += part)
		TEST_ASSERT(mmap(mem + offset, part, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, 0) != MAP_FAILED,
			    "No %lu MiB of 2M hugetlb pages", part / SZ_1M);
	close(fd);
	return mem;
}

static void setup(void)
{
	u64 slot_size = min_t(u64, p.size, SZ_1G), offset;
	u64 mem_size = p.distinct ? p.size : slot_size;
	char *mem = alias_hugetlb(mem_size, p.distinct ? p.size : HUGETLB_SIZE);
	struct slot s;
	int fd, i;

	vm_new_protected(&t, 1);
	virt_map_level(t.vm, MEM_GPA, MEM_GPA, p.size, PG_LEVEL_2M);
	fd = vm_create_guest_memfd(t.vm, p.size, 0);
	for (offset = 0, i = 0; offset < p.size; offset += slot_size, i++)
		slot_add_gmem(&t, &s, TEST_SLOT + i, MEM_GPA + offset, slot_size,
			      mem + offset % mem_size, fd, offset);
	if (p.private)
		vm_set_memory_attributes(t.vm, MEM_GPA, p.size, KVM_MEMORY_ATTRIBUTE_PRIVATE);

	for (i = 0; i < NR_SPINS; i++)
		idle += lpage_ticks_stolen();
	idle /= NR_SPINS;

	rows = (struct lpage_rows){ .vm = t.vm, .vcpus = t.vcpu, .nr_vcpus = 1 };
	lpage_rows_begin(&rows);
}

/* All pages of private memory are new; of shared memory one page in 2M is enough. */
static void first_touch(void)
{
	struct lpage_phase phase = lpage_phase_begin();

	if (p.private)
		touch(0, p.size / SZ_4K, SZ_4K);
	else
		touch(0, nr_ranges(), SZ_2M);
	lpage_row_phase(&rows, "populate", &phase);
}

/* What KVM does by itself after conversions. */
static void settle(void)
{
	s64 ticks = 0;
	int i;

	usleep(WAIT_MS * 1000);
	for (i = 0; i < NR_SPINS; i++)
		ticks += (s64)lpage_ticks_stolen() - idle;
	lpage_row(&rows, "settle", 0, ticks);
}

/* The first page of each 2M is converted, and back. */
static void round_trip(void)
{
	struct lpage_phase phase;
	u64 i;

	usleep(CALM_MS * 1000);

	phase = lpage_phase_begin();
	for (i = 0; i < nr_ranges(); i++)
		convert(i * SZ_2M, false);
	lpage_row_phase(&rows, "out", &phase);

	phase = lpage_phase_begin();
	for (i = 0; i < nr_ranges(); i++)
		touch(i * SZ_2M + SZ_4K, PAGES_PER_2M - 1, SZ_4K);
	lpage_row_phase(&rows, "neighbours", &phase);

	phase = lpage_phase_begin();
	touch(0, nr_ranges(), SZ_2M);
	lpage_row_phase(&rows, "page", &phase);

	phase = lpage_phase_begin();
	for (i = 0; i < nr_ranges(); i++)
		convert(i * SZ_2M, true);
	lpage_row_phase(&rows, "back", &phase);

	settle();

	phase = lpage_phase_begin();
	touch(0, p.size / SZ_4K, SZ_4K);
	lpage_row_phase(&rows, "again", &phase);
}

/* The same pages each time. */
static u64 random_page(u64 i)
{
	return (scatter(i + 1) >> 20) % (p.size / SZ_4K) * SZ_4K;
}

static void touch_converted(const char *name)
{
	struct lpage_phase phase = lpage_phase_begin();
	u64 i;

	for (i = 0; i < p.conversions; i++)
		touch(round_down(random_page(i), SZ_2M), PAGES_PER_2M, SZ_4K);
	lpage_row_phase(&rows, name, &phase);
}

/* Pages anywhere are converted and used, some come back, and the guest goes on. */
static void churn(void)
{
	struct lpage_phase phase = lpage_phase_begin();
	u64 i;

	for (i = 0; i < p.conversions; i++) {
		convert(random_page(i), false);
		touch(random_page(i), 1, SZ_4K);
		if (!(i % BACK_SHARE))
			convert(random_page(i), true);
	}
	lpage_row_phase(&rows, "convert", &phase);

	touch_converted("touch");
	settle();
	touch_converted("again");
}

static void help(const char *name)
{
	printf("usage: %s [-b bytes] [-c conversions] [-d] [-p] [-r rounds]\n\n"
	       " -b: guest memory, a multiple of 64M, and of 1G above that (default: 64M)\n"
	       " -c: convert so many pages anywhere, instead of one in each 2M and back\n"
	       " -d: shared memory that is not the same 64M again and again\n"
	       " -p: memory that is private at first, instead of shared memory of 2M pages\n"
	       " -r: rounds of converting one page in each 2M and back (default: 1)\n",
	       name);
}

int main(int argc, char *argv[])
{
	int opt;

	while ((opt = getopt(argc, argv, "b:c:dhpr:")) != -1) {
		switch (opt) {
		case 'b':
			p.size = parse_size(optarg);
			break;
		case 'c':
			p.conversions = atoi_positive("Number of conversions", optarg);
			break;
		case 'd':
			p.distinct = true;
			break;
		case 'p':
			p.private = true;
			break;
		case 'r':
			p.rounds = atoi_positive("Number of rounds", optarg);
			break;
		default:
			help(argv[0]);
			exit(opt == 'h' ? 0 : 1);
		}
	}

	TEST_ASSERT(p.size && !(p.size % (p.size > SZ_1G ? SZ_1G : HUGETLB_SIZE)),
		    "-b must be a multiple of 64M, and of 1G above that");

	setup();
	lpage_rows_header();
	first_touch();
	for (rows.round = 1; !p.conversions && rows.round <= p.rounds; rows.round++)
		round_trip();
	if (p.conversions)
		churn();

	kvm_vm_free(t.vm);
	return 0;
}
