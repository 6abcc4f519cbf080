// SPDX-License-Identifier: GPL-2.0-only
/*
 * Promotion of large pages in place when dirty logging is turned off.
 *
 * Each subtest looks at the page size statistics right after the ioctl, before
 * any vCPU runs again, and then lets the guest read and write what it must
 * find unchanged.  Subtests run in children, one by one, so that a failing one
 * does not take the others along.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <asm/barrier.h>
#include <linux/sizes.h>

#include "kselftest.h"
#include "kvm_util.h"
#include "lpage_test.h"
#include "processor.h"
#include "svm_util.h"
#include "test_util.h"
#include "ucall_common.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif

#define PARAM			"/sys/module/kvm/parameters/lpage_promote"
#define NX_PARAM		"/sys/module/kvm/parameters/nx_huge_pages"

#define SUBTEST_SECONDS		120

#define NR_VCPUS		2

/*
 * Guest memory under test: 2 GiB of guest physical space, mapped at the same
 * virtual address.  1 GiB aligned for the 1G page, below 4 GiB for SMM code.
 */
#define TEST_GPA		0x40000000ull
#define TEST_SPACE		(2ull * SZ_1G)
#define TEST_SLOT		10
#define SMM_AS			BIT(16)

#define INSN_RET		0xc3

#define PAGES_PER_2M		(SZ_2M / SZ_4K)

/* Guest side */

enum guest_op_type {
	OP_WRITE,	/* write the pattern of @gen to each page */
	OP_VERIFY,	/* find the pattern of @gen in each page */
	OP_VERIFY_ZERO,	/* find zero in each page */
	OP_HAMMER,	/* count up each page in turn until @stop */
	OP_CALL,	/* execute what is at each page */
	OP_POKE,	/* store @gen */
};

struct guest_op {
	u64 type;
	u64 gva;
	u64 nr_pages;
	u64 stride;
	u64 gen;
	u64 stop;
	u64 progress;	/* pages that OP_HAMMER has written */
};

static struct guest_op guest_ops[NR_VCPUS];

/* Differs between any two pages and any two generations; never zero. */
static u64 pattern(u64 gpa, u64 gen)
{
	return (gpa + gen) * 0x9e3779b97f4a7c15ull | 1;
}

static void guest_hammer(struct guest_op *op)
{
	u64 pass, i, *word;

	/* Each pass finds in every page what the pass before it has left. */
	for (pass = 0; !READ_ONCE(op->stop); pass++) {
		for (i = 0; i < op->nr_pages; i++) {
			word = (u64 *)(op->gva + i * op->stride);
			GUEST_ASSERT_EQ(READ_ONCE(*word), pass);
			WRITE_ONCE(*word, pass + 1);
			WRITE_ONCE(op->progress, op->progress + 1);
		}
	}
}

static void guest_run_op(struct guest_op *op)
{
	u64 i, gva;

	if (op->type == OP_HAMMER) {
		guest_hammer(op);
		return;
	}

	for (i = 0; i < op->nr_pages; i++) {
		gva = op->gva + i * op->stride;

		switch (op->type) {
		case OP_WRITE:
			WRITE_ONCE(*(u64 *)gva, pattern(gva, op->gen));
			break;
		case OP_VERIFY:
			GUEST_ASSERT_EQ(READ_ONCE(*(u64 *)gva), pattern(gva, op->gen));
			break;
		case OP_VERIFY_ZERO:
			GUEST_ASSERT_EQ(READ_ONCE(*(u64 *)gva), 0);
			break;
		case OP_CALL:
			((void (*)(void))gva)();
			break;
		case OP_POKE:
			WRITE_ONCE(*(u64 *)gva, op->gen);
			break;
		}
	}
}

static void guest_main(u64 idx)
{
	for (;;) {
		guest_run_op(&guest_ops[idx]);
		GUEST_SYNC(0);
	}
}

/* Host side: subtests, VMs, slots */

/* Why a child skips, read by the parent. */
static char *skip_reason;
#define SKIP_REASON_SIZE	256

static void __printf(1, 2) __noreturn skip(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(skip_reason, SKIP_REASON_SIZE, fmt, args);
	va_end(args);
	exit(KSFT_SKIP);
}

struct test_vm {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu[NR_VCPUS];
	int nr_vcpus;
	struct guest_op *ops;	/* guest_ops[] of the guest */
};

struct slot {
	struct test_vm *t;
	u32 id;
	u64 gpa;
	u64 size;
	u64 stride;	/* distance of the pages in use */
	char *hva;
};

static u64 slot_pages(const struct slot *s)
{
	return s->size / s->stride;
}

/*
 * Map all of the guest's code, data and page tables, so that no fault there is
 * mistaken for one in the memory under test.
 */
static void vm_prefault(struct test_vm *t)
{
	struct userspace_mem_region *region = memslot2region(t->vm, 0);
	struct kvm_pre_fault_memory range = { .size = region->region.memory_size };
	char *mem = region->host_mem;
	u64 i;

	/* Likewise for what khugepaged would do there. */
	TEST_ASSERT(!madvise(mem, range.size, MADV_NOHUGEPAGE), "madvise() failed");
	/* Nor must there be zero pages, which a write would replace. */
	for (i = 0; i < range.size; i += SZ_4K)
		WRITE_ONCE(mem[i], READ_ONCE(mem[i]));
	while (range.size)
		vcpu_ioctl(t->vcpu[0], KVM_PRE_FAULT_MEMORY, &range);
}

/* vCPUs exist by now, and are to run guest_main() or something like it. */
static void vm_setup(struct test_vm *t)
{
	int i;

	virt_map_level(t->vm, TEST_GPA, TEST_GPA, TEST_SPACE, PG_LEVEL_2M);
	t->ops = addr_gva2hva(t->vm, (vm_vaddr_t)guest_ops);
	for (i = 0; i < t->nr_vcpus; i++)
		vcpu_args_set(t->vcpu[i], 1, (u64)i);
	vm_prefault(t);
}

static void vm_new(struct test_vm *t, int nr_vcpus)
{
	t->nr_vcpus = nr_vcpus;
	t->vm = vm_create_with_vcpus(nr_vcpus, guest_main, t->vcpu);
	vm_setup(t);
}

static void slot_set(struct slot *s, u32 flags)
{
	vm_set_user_memory_region(s->t->vm, s->id, flags, s->gpa, s->size, s->hva);
}

static void slot_delete(struct slot *s)
{
	vm_set_user_memory_region(s->t->vm, s->id, 0, s->gpa, 0, NULL);
}

static void slot_init(struct test_vm *t, struct slot *s, u32 id, u64 gpa,
		      u64 size, char *hva)
{
	*s = (struct slot) {
		.t = t, .id = id, .gpa = gpa, .size = size, .stride = SZ_4K, .hva = hva,
	};
}

static void slot_add(struct test_vm *t, struct slot *s, u32 id, u64 gpa,
		     u64 size, char *hva)
{
	slot_init(t, s, id, gpa, size, hva);
	slot_set(s, 0);
}

static void slot_log(struct slot *s, bool on)
{
	slot_set(s, on ? KVM_MEM_LOG_DIRTY_PAGES : 0);
}

static void op_set(struct test_vm *t, int vcpu, enum guest_op_type type, u64 gva,
		   u64 nr_pages, u64 stride, u64 gen)
{
	t->ops[vcpu] = (struct guest_op) {
		.type = type, .gva = gva, .nr_pages = nr_pages, .stride = stride, .gen = gen,
	};
}

/* Whether the vCPU came back from the end of its operation. */
static bool op_done(struct kvm_vcpu *vcpu)
{
	struct ucall uc;

	switch (get_ucall(vcpu, &uc)) {
	case UCALL_SYNC:
		return true;
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
	default:
		return false;
	}
}

static void vcpu_run_op(struct test_vm *t, int vcpu)
{
	vcpu_run(t->vcpu[vcpu]);
	TEST_ASSERT(op_done(t->vcpu[vcpu]), "Unexpected exit: %s",
		    exit_reason_str(t->vcpu[vcpu]->run->exit_reason));
}

static void guest_do(struct slot *s, enum guest_op_type type, u64 first,
		     u64 nr_pages, u64 gen)
{
	op_set(s->t, 0, type, s->gpa + first * s->stride, nr_pages, s->stride, gen);
	vcpu_run_op(s->t, 0);
}

static void guest_write(struct slot *s, u64 first, u64 nr_pages, u64 gen)
{
	guest_do(s, OP_WRITE, first, nr_pages, gen);
}

static void guest_verify(struct slot *s, u64 first, u64 nr_pages, u64 gen)
{
	guest_do(s, OP_VERIFY, first, nr_pages, gen);
}

static u64 *host_word(struct slot *s, u64 page)
{
	return (u64 *)(s->hva + page * s->stride);
}

static void host_write(struct slot *s, u64 first, u64 nr_pages, u64 gen)
{
	u64 i;

	for (i = first; i < first + nr_pages; i++)
		*host_word(s, i) = pattern(s->gpa + i * s->stride, gen);
}

static void host_verify(struct slot *s, u64 first, u64 nr_pages, u64 gen)
{
	u64 i;

	for (i = first; i < first + nr_pages; i++)
		TEST_ASSERT(*host_word(s, i) == pattern(s->gpa + i * s->stride, gen),
			    "Host finds 0x%lx in page %lu, want 0x%lx", *host_word(s, i), i,
			    pattern(s->gpa + i * s->stride, gen));
}

/* Host side: statistics */

enum stat_id {
	PAGES_4K,
	PAGES_2M,
	PAGES_1G,
	PROMOTED_2M,
	PROMOTED_1G,
	SKIP_LEVEL,
	SKIP_EMPTY,
	SKIP_NX,
	SKIP_MIXED,
	PROMOTE_FLUSHES,
	FLUSH_REQUESTS,
	NR_STATS,
};

static const char * const stat_names[NR_STATS] = {
	[PAGES_4K] = "pages_4k",
	[PAGES_2M] = "pages_2m",
	[PAGES_1G] = "pages_1g",
	[PROMOTED_2M] = "lpage_promoted_2m",
	[PROMOTED_1G] = "lpage_promoted_1g",
	[SKIP_LEVEL] = "lpage_promote_skip_level",
	[SKIP_EMPTY] = "lpage_promote_skip_empty",
	[SKIP_NX] = "lpage_promote_skip_nx",
	[SKIP_MIXED] = "lpage_promote_skip_mixed",
	[PROMOTE_FLUSHES] = "lpage_promote_flushes",
	[FLUSH_REQUESTS] = "remote_tlb_flush_requests",
};

struct stats {
	u64 val[NR_STATS];
	u64 sec_page_tables_kb;
};

static struct stats stats_read(struct test_vm *t)
{
	struct stats stats;
	int i;

	for (i = 0; i < NR_STATS; i++)
		stats.val[i] = lpage_vm_stat(t->vm, stat_names[i]);
	stats.sec_page_tables_kb = lpage_sec_page_tables_kb();
	return stats;
}

static u64 faults_taken(struct test_vm *t)
{
	u64 sum = 0;
	int i;

	for (i = 0; i < t->nr_vcpus; i++)
		sum += lpage_vcpu_stat(t->vcpu[i], "pf_taken");
	return sum;
}

/* @line is that of the subtest, which says more than one in here. */
static void expect_delta(unsigned int line, const struct stats *before,
			 const struct stats *after, enum stat_id id, s64 want)
{
	s64 delta = after->val[id] - before->val[id];

	test_assert(delta == want, "delta == want", __FILE__, line,
		    "%s changed by %ld, want %ld", stat_names[id], delta, want);
}

/*
 * The old tables may be in the paging-structure caches of any CPU, so they may
 * be freed only after a flush; and one flush is to serve 64 promotions.
 */
static void expect_promoted(unsigned int line, const struct stats *before,
			    const struct stats *after, u64 nr_2m, u64 nr_1g)
{
	u64 flushes = after->val[PROMOTE_FLUSHES] - before->val[PROMOTE_FLUSHES];
	u64 max_flushes = (nr_2m + 63) / 64 + (nr_1g + 63) / 64;

	expect_delta(line, before, after, PROMOTED_2M, nr_2m);
	expect_delta(line, before, after, PROMOTED_1G, nr_1g);
	expect_delta(line, before, after, FLUSH_REQUESTS, flushes);
	test_assert(!flushes == !(nr_2m + nr_1g) && flushes <= max_flushes,
		    "0 < flushes <= max_flushes", __FILE__, line,
		    "%lu TLB flushes for %lu promotions, want 1 to %lu",
		    flushes, nr_2m + nr_1g, max_flushes);
}

static void expect_skips(unsigned int line, const struct stats *before,
			 const struct stats *after, u64 level, u64 empty, u64 nx, u64 mixed)
{
	expect_delta(line, before, after, SKIP_LEVEL, level);
	expect_delta(line, before, after, SKIP_EMPTY, empty);
	expect_delta(line, before, after, SKIP_NX, nx);
	expect_delta(line, before, after, SKIP_MIXED, mixed);
}

static void expect_faults(unsigned int line, struct test_vm *t, u64 before, u64 want)
{
	u64 taken = faults_taken(t) - before;

	test_assert(taken == want, "taken == want", __FILE__, line,
		    "%lu NPT faults, want %lu", taken, want);
}

#define EXPECT_DELTA(before, after, id, want) \
	expect_delta(__LINE__, &(before), &(after), id, want)
#define EXPECT_PROMOTED(before, after, nr_2m, nr_1g) \
	expect_promoted(__LINE__, &(before), &(after), nr_2m, nr_1g)
#define EXPECT_SKIPS(before, after, level, empty, nx, mixed) \
	expect_skips(__LINE__, &(before), &(after), level, empty, nx, mixed)
#define EXPECT_FAULTS(t, before, want) \
	expect_faults(__LINE__, t, before, want)

/* Host side: parameters and the like */

static int file_write(const char *path, const char *value)
{
	int fd, err = 0;

	fd = open(path, O_WRONLY);
	TEST_ASSERT(fd >= 0, "Cannot open %s", path);
	if (write(fd, value, strlen(value)) < 0)
		err = errno;
	close(fd);
	return err;
}

static void file_read(const char *path, char *value, size_t size)
{
	ssize_t len;
	int fd;

	fd = open(path, O_RDONLY);
	TEST_ASSERT(fd >= 0, "Cannot open %s", path);
	len = read(fd, value, size - 1);
	TEST_ASSERT(len > 0, "Cannot read %s", path);
	value[len] = '\0';
	close(fd);
}

/* Host side: memory */

/* Anonymous memory of 4K pages, placed so that it could hold huge ones. */
static char *alloc_4k(u64 size)
{
	char *mem;

	mem = mmap(NULL, size + SZ_2M, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	TEST_ASSERT(mem != MAP_FAILED, "mmap() of %lu bytes failed", size);
	mem = align_ptr_up(mem, SZ_2M);
	TEST_ASSERT(!madvise(mem, size, MADV_NOHUGEPAGE), "madvise() failed");
	return mem;
}

static char *alloc_hugetlb(u64 size, u64 page_size)
{
	int order_flag = __builtin_ctzll(page_size) << MAP_HUGE_SHIFT;
	char *mem;

	mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | order_flag, -1, 0);
	if (mem == MAP_FAILED)
		skip("needs %lu free hugetlb pages of %lu kB", size / page_size,
		     page_size / SZ_1K);
	return mem;
}

/* AnonHugePages of the mapping that @mem starts. */
static u64 anon_huge_kb(void *mem)
{
	unsigned long long start, end, kb = 0;
	bool found = false;
	char line[512];
	FILE *smaps;

	smaps = fopen("/proc/self/smaps", "r");
	TEST_ASSERT(smaps, "Cannot open /proc/self/smaps");
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%llx-%llx ", &start, &end) == 2)
			found = start == (uintptr_t)mem;
		else if (found && sscanf(line, "AnonHugePages: %llu kB", &kb) == 1)
			break;
	}
	fclose(smaps);
	return kb;
}

/* Let [@mem, @mem + @size) of alloc_4k() be transparent huge pages. */
static void make_thp(char *mem, u64 size)
{
	if (madvise(mem, size, MADV_HUGEPAGE))
		skip("needs transparent huge pages");
	memset(mem, 0, size);
	if (anon_huge_kb(mem) != size / SZ_1K)
		skip("only %lu of %lu kB became transparent huge pages",
		     anon_huge_kb(mem), size / SZ_1K);
}

static char *alloc_thp(u64 size)
{
	char *mem = alloc_4k(size);

	make_thp(mem, size);
	return mem;
}

/* Host side: the dirty log */

static unsigned long *log_alloc(struct slot *s)
{
	return calloc(s->size / SZ_4K / 64 + 1, sizeof(unsigned long));
}

static bool log_has(struct slot *s, const unsigned long *log, u64 page)
{
	u64 bit = page * (s->stride / SZ_4K);

	return log[bit / 64] & (1ul << (bit % 64));
}

static void log_expect(struct slot *s, const unsigned long *log, u64 first,
		       u64 nr_pages, bool dirty)
{
	u64 i;

	for (i = first; i < first + nr_pages; i++)
		TEST_ASSERT(log_has(s, log, i) == dirty, "Page %lu is %s in the dirty log",
			    i, dirty ? "clean" : "dirty");
}

/*
 * One life of a slot that can be huge all over: populate, log, write, collect,
 * write, stop logging.  @nr_2m and @nr_1g are the leaves to get back.
 */
static void cycle(struct slot *s, u64 nr_2m, u64 nr_1g)
{
	u64 nr_pages = slot_pages(s), half = nr_pages / 2, quarter = nr_pages / 4;
	unsigned long *log = log_alloc(s);
	struct stats populated, logged, off;
	struct test_vm *t = s->t;
	u64 faults;

	host_write(s, 0, nr_pages, 1);
	guest_verify(s, 0, nr_pages, 1);
	guest_write(s, 0, nr_pages, 2);
	populated = stats_read(t);

	slot_log(s, true);
	logged = stats_read(t);
	EXPECT_DELTA(populated, logged, PAGES_1G, -(s64)nr_1g);
	EXPECT_DELTA(populated, logged, PAGES_2M, nr_1g ? 0 : -(s64)nr_2m);
	EXPECT_DELTA(populated, logged, PAGES_4K, s->size / SZ_4K);

	guest_write(s, 0, half, 3);
	kvm_vm_get_dirty_log(t->vm, s->id, log);
	log_expect(s, log, 0, half, true);
	log_expect(s, log, half, nr_pages - half, false);
	guest_write(s, 0, quarter, 4);

	/* Enabling and collecting flushed too. */
	logged = stats_read(t);
	slot_log(s, false);
	off = stats_read(t);
	EXPECT_DELTA(populated, off, PAGES_4K, 0);
	EXPECT_DELTA(populated, off, PAGES_2M, 0);
	EXPECT_DELTA(populated, off, PAGES_1G, 0);
	EXPECT_PROMOTED(logged, off, nr_2m, nr_1g);
	EXPECT_SKIPS(logged, off, 0, 0, 0, 0);
	lpage_wait_sec_page_tables(populated.sec_page_tables_kb, 1000);

	host_verify(s, 0, quarter, 4);
	host_verify(s, quarter, half - quarter, 3);
	host_verify(s, half, nr_pages - half, 2);

	faults = faults_taken(t);
	guest_verify(s, 0, quarter, 4);
	guest_verify(s, quarter, half - quarter, 3);
	guest_verify(s, half, nr_pages - half, 2);
	guest_write(s, 0, nr_pages, 5);
	guest_verify(s, 0, nr_pages, 5);
	EXPECT_FAULTS(t, faults, 0);
	host_verify(s, 0, nr_pages, 5);

	free(log);
}

/* Kinds of host memory */

static void test_hugetlb_2m(void)
{
	struct test_vm t;
	struct slot s;

	vm_new(&t, 1);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_32M, alloc_hugetlb(SZ_32M, SZ_2M));
	cycle(&s, SZ_32M / SZ_2M, 0);
	cycle(&s, SZ_32M / SZ_2M, 0);
}

static void test_hugetlb_1g(void)
{
	struct test_vm t;
	struct slot s;

	vm_new(&t, 1);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_1G, alloc_hugetlb(SZ_1G, SZ_1G));
	/* One page in each 2M, at another place each time. */
	s.stride = SZ_2M + SZ_4K;
	cycle(&s, SZ_1G / SZ_2M, 1);
}

/*
 * A 1G page put back from three pages that the guest touched, over hundreds of
 * tables with nothing in them.
 */
static void test_hugetlb_1g_partial(void)
{
	struct stats populated, logged, off;
	struct test_vm t;
	struct slot s;
	u64 faults;

	vm_new(&t, 1);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_1G, alloc_hugetlb(SZ_1G, SZ_1G));
	s.stride = SZ_2M + SZ_4K;
	guest_write(&s, 0, slot_pages(&s), 1);
	populated = stats_read(&t);

	slot_log(&s, true);
	/* Zaps all SPTEs, and leaves the tables. */
	TEST_ASSERT(!mprotect(s.hva, s.size, PROT_READ), "mprotect() failed");
	TEST_ASSERT(!mprotect(s.hva, s.size, PROT_READ | PROT_WRITE), "mprotect() failed");
	guest_write(&s, 100, 3, 2);
	logged = stats_read(&t);
	slot_log(&s, false);
	off = stats_read(&t);
	EXPECT_DELTA(populated, off, PAGES_1G, 0);
	EXPECT_DELTA(populated, off, PAGES_2M, 0);
	EXPECT_DELTA(populated, off, PAGES_4K, 0);
	EXPECT_DELTA(logged, off, PROMOTED_2M, 3);
	EXPECT_DELTA(logged, off, PROMOTED_1G, 1);
	EXPECT_SKIPS(logged, off, 0, SZ_1G / SZ_2M - 3, 0, 0);
	lpage_wait_sec_page_tables(populated.sec_page_tables_kb, 1000);

	faults = faults_taken(&t);
	guest_verify(&s, 0, 100, 1);
	guest_verify(&s, 100, 3, 2);
	guest_verify(&s, 103, slot_pages(&s) - 103, 1);
	guest_write(&s, 0, slot_pages(&s), 3);
	EXPECT_FAULTS(&t, faults, 0);
	host_verify(&s, 0, slot_pages(&s), 3);
}

static void test_thp(void)
{
	struct test_vm t;
	struct slot s;

	vm_new(&t, 1);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_16M, alloc_thp(SZ_16M));
	cycle(&s, SZ_16M / SZ_2M, 0);
}

/* Both kinds of 2M ranges side by side: only the huge ones may be promoted. */
static void test_thp_mixed_4k(void)
{
	struct stats populated, logged, off;
	u64 faults, i;
	struct test_vm t;
	struct slot s;
	char *mem;

	mem = alloc_4k(SZ_16M);
	for (i = 0; i < SZ_16M; i += SZ_4M)
		make_thp(mem + i, SZ_2M);

	vm_new(&t, 1);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_16M, mem);
	guest_write(&s, 0, slot_pages(&s), 1);
	guest_verify(&s, 0, slot_pages(&s), 1);
	populated = stats_read(&t);

	slot_log(&s, true);
	guest_write(&s, 0, slot_pages(&s) / 2, 2);
	logged = stats_read(&t);
	slot_log(&s, false);
	off = stats_read(&t);
	EXPECT_DELTA(populated, off, PAGES_2M, 0);
	EXPECT_DELTA(populated, off, PAGES_4K, 0);
	EXPECT_PROMOTED(logged, off, 4, 0);
	EXPECT_SKIPS(logged, off, 4, 0, 0, 0);
	lpage_wait_sec_page_tables(populated.sec_page_tables_kb, 1000);

	faults = faults_taken(&t);
	guest_verify(&s, 0, slot_pages(&s) / 2, 2);
	guest_verify(&s, slot_pages(&s) / 2, slot_pages(&s) / 2, 1);
	for (i = 0; i < SZ_16M / SZ_4M; i++)
		guest_write(&s, i * 2 * PAGES_PER_2M, PAGES_PER_2M, 3);
	EXPECT_FAULTS(&t, faults, 0);

	/* The 4K pages that were clean in the log are still write-protected. */
	guest_write(&s, 0, slot_pages(&s), 4);
	host_verify(&s, 0, slot_pages(&s), 4);
}

/*
 * Memory that was only read is backed by the huge zero page, which the whole
 * system shares: it may be promoted, but never for writing.
 */
static void test_thp_zero_page(void)
{
	struct stats logged, off;
	char *mem, *other;
	struct test_vm t;
	struct slot s;
	u64 i;

	mem = alloc_4k(SZ_4M);
	other = alloc_4k(SZ_4M);
	if (madvise(mem, SZ_4M, MADV_HUGEPAGE) || madvise(other, SZ_4M, MADV_HUGEPAGE))
		skip("needs transparent huge pages");

	vm_new(&t, 1);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_4M, mem);
	slot_log(&s, true);
	guest_do(&s, OP_VERIFY_ZERO, 0, slot_pages(&s), 0);
	logged = stats_read(&t);
	slot_log(&s, false);
	off = stats_read(&t);
	EXPECT_DELTA(logged, off, PROMOTED_2M, 2);

	guest_do(&s, OP_VERIFY_ZERO, 0, slot_pages(&s), 0);
	guest_write(&s, 0, slot_pages(&s), 1);
	guest_verify(&s, 0, slot_pages(&s), 1);
	host_verify(&s, 0, slot_pages(&s), 1);
	for (i = 0; i < SZ_4M; i += sizeof(u64))
		TEST_ASSERT(!*(u64 *)(other + i), "The guest wrote to the huge zero page");
}

/*
 * Tables that the guest filled in part while logging was on.  Any child makes
 * its table a huge page, and the rest of that page must be right as well.
 */
static void test_partial(void)
{
	static const int touched[8] = { 1, 0, 2, 511, 512, 0, 1, 256 };
	struct stats logged, off;
	u64 faults, i;
	struct test_vm t;
	struct slot s;

	vm_new(&t, 1);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_16M, alloc_hugetlb(SZ_16M, SZ_2M));
	host_write(&s, 0, slot_pages(&s), 1);

	slot_log(&s, true);
	/* From the end backwards, so that the first child is often missing. */
	for (i = 0; i < ARRAY_SIZE(touched); i++)
		guest_write(&s, (i + 1) * PAGES_PER_2M - touched[i], touched[i], 2);
	logged = stats_read(&t);
	slot_log(&s, false);
	off = stats_read(&t);
	EXPECT_PROMOTED(logged, off, 6, 0);
	EXPECT_DELTA(logged, off, PAGES_2M, 6);
	EXPECT_DELTA(logged, off, PAGES_4K, -(1 + 2 + 511 + 512 + 1 + 256));
	EXPECT_SKIPS(logged, off, 0, 0, 0, 0);

	faults = faults_taken(&t);
	for (i = 0; i < ARRAY_SIZE(touched); i++) {
		guest_verify(&s, i * PAGES_PER_2M, PAGES_PER_2M - touched[i], 1);
		guest_verify(&s, (i + 1) * PAGES_PER_2M - touched[i], touched[i], 2);
	}
	guest_write(&s, 0, slot_pages(&s), 3);
	/* Two 2M ranges had never been touched. */
	EXPECT_FAULTS(&t, faults, 2);
	host_verify(&s, 0, slot_pages(&s), 3);
}

/*
 * Reading while logging is on makes children that nobody may write without a
 * fault.  One child that is writable in the end is enough for the huge page;
 * a table that was only read must not cost a fault per page either.
 */
static void test_read_then_write(void)
{
	struct stats logged, off;
	struct test_vm t;
	u64 faults;
	struct slot s;

	vm_new(&t, 1);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_4M, alloc_hugetlb(SZ_4M, SZ_2M));
	host_write(&s, 0, slot_pages(&s), 1);

	slot_log(&s, true);
	guest_verify(&s, 0, slot_pages(&s), 1);
	guest_write(&s, slot_pages(&s) - 1, 1, 2);
	logged = stats_read(&t);
	slot_log(&s, false);
	off = stats_read(&t);
	EXPECT_PROMOTED(logged, off, 2, 0);

	faults = faults_taken(&t);
	guest_verify(&s, 0, slot_pages(&s) - 1, 1);
	guest_verify(&s, slot_pages(&s) - 1, 1, 2);
	guest_write(&s, 0, slot_pages(&s), 3);
	EXPECT_FAULTS(&t, faults, 0);
	host_verify(&s, 0, slot_pages(&s), 3);
}

/* Code must be executable from the huge page too. */
static void test_executable(void)
{
	struct stats logged, off;
	struct test_vm t;
	struct slot s;
	u64 faults, i;

	vm_new(&t, 1);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_4M, alloc_hugetlb(SZ_4M, SZ_2M));
	for (i = 0; i < slot_pages(&s); i++)
		*(u8 *)host_word(&s, i) = INSN_RET;

	slot_log(&s, true);
	guest_do(&s, OP_CALL, 0, slot_pages(&s), 0);
	logged = stats_read(&t);
	slot_log(&s, false);
	off = stats_read(&t);
	EXPECT_PROMOTED(logged, off, 2, 0);

	faults = faults_taken(&t);
	guest_do(&s, OP_CALL, 0, slot_pages(&s), 0);
	EXPECT_FAULTS(&t, faults, 0);
}

/* Slots */

/*
 * Two slots meet in the middle of a 2M range and have different memory there.
 * What is not wholly inside one slot must stay 4K.
 */
static void test_unaligned_slots(void)
{
	const u64 a_off = SZ_1M, a_size = 6 * SZ_1M + SZ_512K;
	const u64 b_off = a_off + a_size, b_size = 3 * SZ_1M;
	struct stats populated, logged, off;
	struct slot a, b;
	struct test_vm t;
	u64 faults;

	vm_new(&t, 1);
	slot_add(&t, &a, TEST_SLOT, TEST_GPA + a_off, a_size, alloc_thp(SZ_16M) + a_off);
	slot_add(&t, &b, TEST_SLOT + 1, TEST_GPA + b_off, b_size, alloc_thp(SZ_16M) + b_off);
	guest_write(&a, 0, slot_pages(&a), 1);
	guest_write(&b, 0, slot_pages(&b), 2);
	guest_verify(&a, 0, slot_pages(&a), 1);
	guest_verify(&b, 0, slot_pages(&b), 2);
	populated = stats_read(&t);

	slot_log(&a, true);
	slot_log(&b, true);
	guest_write(&a, 0, slot_pages(&a), 3);
	guest_write(&b, 0, slot_pages(&b), 4);

	/* a holds 2M ranges 1 and 2; b holds 2M range 4. */
	logged = stats_read(&t);
	slot_log(&a, false);
	off = stats_read(&t);
	EXPECT_PROMOTED(logged, off, 2, 0);
	EXPECT_SKIPS(logged, off, 0, 0, 0, 0);
	EXPECT_DELTA(logged, off, PAGES_2M, 2);

	logged = off;
	slot_log(&b, false);
	off = stats_read(&t);
	EXPECT_PROMOTED(logged, off, 1, 0);
	EXPECT_SKIPS(logged, off, 0, 0, 0, 0);
	EXPECT_DELTA(populated, off, PAGES_2M, 0);
	EXPECT_DELTA(populated, off, PAGES_4K, 0);
	lpage_wait_sec_page_tables(populated.sec_page_tables_kb, 1000);

	faults = faults_taken(&t);
	guest_verify(&a, 0, slot_pages(&a), 3);
	guest_verify(&b, 0, slot_pages(&b), 4);
	guest_write(&a, 0, slot_pages(&a), 5);
	guest_write(&b, 0, slot_pages(&b), 6);
	EXPECT_FAULTS(&t, faults, 0);
	host_verify(&a, 0, slot_pages(&a), 5);
	host_verify(&b, 0, slot_pages(&b), 6);
}

/* Guest and host addresses disagree modulo 2M: no page may be huge. */
static void test_misaligned_hva(void)
{
	struct stats before, off;
	struct test_vm t;
	struct slot s;

	vm_new(&t, 1);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_4M, alloc_thp(SZ_8M) + SZ_4K);
	guest_write(&s, 0, slot_pages(&s), 1);
	before = stats_read(&t);

	slot_log(&s, true);
	guest_write(&s, 0, slot_pages(&s) / 2, 2);
	slot_log(&s, false);
	off = stats_read(&t);
	EXPECT_DELTA(before, off, PAGES_4K, 0);
	EXPECT_DELTA(before, off, PAGES_2M, 0);
	EXPECT_DELTA(before, off, PROMOTED_2M, 0);
	EXPECT_DELTA(before, off, SKIP_LEVEL, 2);
	EXPECT_DELTA(before, off, PROMOTE_FLUSHES, 0);

	guest_verify(&s, 0, slot_pages(&s) / 2, 2);
	guest_verify(&s, slot_pages(&s) / 2, slot_pages(&s) / 2, 1);
	guest_write(&s, 0, slot_pages(&s), 3);
	host_verify(&s, 0, slot_pages(&s), 3);
}

/* Only the slot whose logging ends is touched, whatever the others do. */
static void test_several_slots(void)
{
	struct stats populated, logged, off;
	struct test_vm t;
	struct slot s[3];
	u64 faults;
	int i;

	vm_new(&t, 1);
	for (i = 0; i < 3; i++) {
		slot_add(&t, &s[i], TEST_SLOT + i, TEST_GPA + i * SZ_8M, SZ_8M,
			 alloc_hugetlb(SZ_8M, SZ_2M));
		guest_write(&s[i], 0, slot_pages(&s[i]), 1);
		guest_verify(&s[i], 0, slot_pages(&s[i]), 1);
	}
	populated = stats_read(&t);

	for (i = 0; i < 3; i++) {
		slot_log(&s[i], true);
		guest_write(&s[i], 0, slot_pages(&s[i]), 2 + i);
	}

	for (i = 2; i >= 0; i--) {
		logged = stats_read(&t);
		slot_log(&s[i], false);
		off = stats_read(&t);
		EXPECT_PROMOTED(logged, off, 4, 0);
		EXPECT_DELTA(logged, off, PAGES_2M, 4);
		EXPECT_DELTA(logged, off, PAGES_4K, -4 * PAGES_PER_2M);
	}
	EXPECT_DELTA(populated, off, PAGES_2M, 0);
	EXPECT_DELTA(populated, off, PAGES_4K, 0);
	lpage_wait_sec_page_tables(populated.sec_page_tables_kb, 1000);

	faults = faults_taken(&t);
	for (i = 0; i < 3; i++) {
		guest_verify(&s[i], 0, slot_pages(&s[i]), 2 + i);
		guest_write(&s[i], 0, slot_pages(&s[i]), 5);
		host_verify(&s[i], 0, slot_pages(&s[i]), 5);
	}
	EXPECT_FAULTS(&t, faults, 0);
}

/*
 * SMM has its own address space.  This handler counts up the first word of
 * each page from TEST_GPA on; it runs in real mode with flat segments.
 */
#define SMM_PAGES	1024
#define SMRAM_GPA	0x1000000
#define SMRAM_SIZE	SZ_64K

static const u8 smm_handler[] = {
	0x66, 0xbb, 0x00, 0x00, 0x00, 0x40,		/*    mov $TEST_GPA, %ebx */
	0x66, 0xb9, 0x00, 0x04, 0x00, 0x00,		/*    mov $SMM_PAGES, %ecx */
	0x67, 0x66, 0xff, 0x03,				/* 1: incl (%ebx) */
	0x66, 0x81, 0xc3, 0x00, 0x10, 0x00, 0x00,	/*    add $0x1000, %ebx */
	0x66, 0x49,					/*    dec %ecx */
	0x75, 0xf1,					/*    jnz 1b */
	0x0f, 0xaa,					/*    rsm */
};

static void run_smm_handler(struct slot *s)
{
	struct kvm_vcpu *vcpu = s->t->vcpu[0];
	struct kvm_vcpu_events events;

	vcpu_events_get(vcpu, &events);
	events.smi.pending = 1;
	events.flags |= KVM_VCPUEVENT_VALID_SMM;
	vcpu_events_set(vcpu, &events);
	/* Whatever the guest does next, it takes the SMI first. */
	guest_verify(s, 0, 1, 1);
}

static void expect_smm_count(struct slot *smm, u64 count)
{
	u64 i;

	for (i = 0; i < SMM_PAGES; i++)
		TEST_ASSERT(*host_word(smm, i) == count, "Page %lu of SMM has %lu, want %lu",
			    i, *host_word(smm, i), count);
}

static void test_smm(void)
{
	struct slot s, smm, smram;
	struct stats populated, logged, off;
	struct test_vm t;
	u64 faults;
	char *code;

	if (!kvm_has_cap(KVM_CAP_X86_SMM))
		skip("needs KVM_CAP_X86_SMM");

	vm_new(&t, 1);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_4M, alloc_hugetlb(SZ_4M, SZ_2M));
	slot_add(&t, &smm, SMM_AS | TEST_SLOT, TEST_GPA, SZ_4M, alloc_hugetlb(SZ_4M, SZ_2M));
	code = alloc_4k(SMRAM_SIZE);
	memcpy(code + 0x8000, smm_handler, sizeof(smm_handler));
	slot_add(&t, &smram, SMM_AS | (TEST_SLOT + 1), SMRAM_GPA, SMRAM_SIZE, code);
	vcpu_set_msr(t.vcpu[0], MSR_IA32_SMBASE, SMRAM_GPA);

	guest_write(&s, 0, slot_pages(&s), 1);
	guest_verify(&s, 0, slot_pages(&s), 1);
	run_smm_handler(&s);
	expect_smm_count(&smm, 1);
	populated = stats_read(&t);

	slot_log(&smm, true);
	slot_log(&s, true);
	run_smm_handler(&s);
	guest_write(&s, 0, slot_pages(&s), 1);

	logged = stats_read(&t);
	slot_log(&smm, false);
	off = stats_read(&t);
	EXPECT_PROMOTED(logged, off, 2, 0);
	EXPECT_DELTA(logged, off, PAGES_2M, 2);

	logged = off;
	slot_log(&s, false);
	off = stats_read(&t);
	EXPECT_PROMOTED(logged, off, 2, 0);
	EXPECT_DELTA(populated, off, PAGES_2M, 0);
	EXPECT_DELTA(populated, off, PAGES_4K, 0);
	lpage_wait_sec_page_tables(populated.sec_page_tables_kb, 1000);

	faults = faults_taken(&t);
	run_smm_handler(&s);
	guest_verify(&s, 0, slot_pages(&s), 1);
	guest_write(&s, 0, slot_pages(&s), 2);
	EXPECT_FAULTS(&t, faults, 0);
	expect_smm_count(&smm, 3);
	host_verify(&s, 0, slot_pages(&s), 2);
}

/* KVM does nothing about the flag on a read-only slot, and neither may we. */
static void test_read_only_slot(void)
{
	struct stats populated, on, off;
	struct test_vm t;
	struct slot s;

	vm_new(&t, 1);
	slot_init(&t, &s, TEST_SLOT, TEST_GPA, SZ_4M, alloc_hugetlb(SZ_4M, SZ_2M));
	slot_set(&s, KVM_MEM_READONLY);
	host_write(&s, 0, slot_pages(&s), 1);
	guest_verify(&s, 0, slot_pages(&s), 1);
	populated = stats_read(&t);

	slot_set(&s, KVM_MEM_READONLY | KVM_MEM_LOG_DIRTY_PAGES);
	on = stats_read(&t);
	guest_verify(&s, 0, slot_pages(&s), 1);
	slot_set(&s, KVM_MEM_READONLY);
	off = stats_read(&t);
	EXPECT_DELTA(populated, on, PAGES_2M, 0);
	EXPECT_DELTA(populated, off, PAGES_2M, 0);
	EXPECT_DELTA(populated, off, PROMOTED_2M, 0);
	EXPECT_DELTA(populated, off, PROMOTE_FLUSHES, 0);
	guest_verify(&s, 0, slot_pages(&s), 1);

	op_set(&t, 0, OP_WRITE, s.gpa, 1, s.stride, 2);
	vcpu_run(t.vcpu[0]);
	TEST_ASSERT_KVM_EXIT_REASON(t.vcpu[0], KVM_EXIT_MMIO);
	host_verify(&s, 0, slot_pages(&s), 1);
}

/* Host mappings that change under the log */

/*
 * Four huge pages under dirty logging, all written.  The caller then makes the
 * host's mapping of the second one unfit for a huge page.
 */
#define CHANGED_OFF	SZ_2M
#define CHANGED_FIRST	PAGES_PER_2M
#define CHANGED_PAGE	(CHANGED_FIRST + 100)

static void host_change_begin(struct test_vm *t, struct slot *s, char *mem)
{
	vm_new(t, 1);
	slot_add(t, s, TEST_SLOT, TEST_GPA, SZ_8M, mem);
	guest_write(s, 0, slot_pages(s), 1);
	slot_log(s, true);
	guest_write(s, 0, slot_pages(s), 2);
}

/*
 * The guest reads what changed, so that its table has present children when
 * logging stops, and must find the pattern of generation 2 all over.
 */
static void host_change_end(struct test_vm *t, struct slot *s)
{
	const u64 last = CHANGED_FIRST + PAGES_PER_2M, nr_last = slot_pages(s) - last;
	struct stats logged, off;
	u64 faults;

	guest_verify(s, CHANGED_FIRST, PAGES_PER_2M, 2);
	logged = stats_read(t);
	slot_log(s, false);
	off = stats_read(t);
	EXPECT_PROMOTED(logged, off, 3, 0);
	EXPECT_SKIPS(logged, off, 1, 0, 0, 0);
	EXPECT_DELTA(logged, off, PAGES_2M, 3);
	EXPECT_DELTA(logged, off, PAGES_4K, -3 * PAGES_PER_2M);

	faults = faults_taken(t);
	guest_verify(s, 0, slot_pages(s), 2);
	guest_write(s, 0, CHANGED_FIRST, 3);
	guest_write(s, last, nr_last, 3);
	EXPECT_FAULTS(t, faults, 0);
	host_verify(s, 0, CHANGED_FIRST, 3);
	host_verify(s, CHANGED_FIRST, PAGES_PER_2M, 2);
	host_verify(s, last, nr_last, 3);
}

static void test_host_remapped_4k(void)
{
	struct test_vm t;
	struct slot s;
	char *range;

	host_change_begin(&t, &s, alloc_hugetlb(SZ_8M, SZ_2M));
	range = mmap(s.hva + CHANGED_OFF, SZ_2M, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	TEST_ASSERT(range != MAP_FAILED, "mmap() failed");
	TEST_ASSERT(!madvise(range, SZ_2M, MADV_NOHUGEPAGE), "madvise() failed");
	host_write(&s, CHANGED_FIRST, PAGES_PER_2M, 2);
	host_change_end(&t, &s);
	/* To the new pages, not to those that had the same content. */
	guest_write(&s, CHANGED_FIRST, PAGES_PER_2M, 4);
	host_verify(&s, CHANGED_FIRST, PAGES_PER_2M, 4);
}

/* vCPU 0 is about to write to memory that is read-only in the host. */
static void expect_efault(struct test_vm *t)
{
	TEST_ASSERT(__vcpu_run(t->vcpu[0]) && errno == EFAULT,
		    "The guest wrote to memory that is read-only in the host");
}

static void test_host_mprotect_page(void)
{
	struct test_vm t;
	struct slot s;

	host_change_begin(&t, &s, alloc_thp(SZ_8M));
	TEST_ASSERT(!mprotect(host_word(&s, CHANGED_PAGE), SZ_4K, PROT_READ), "mprotect() failed");
	host_change_end(&t, &s);

	/* That page, and only that, is read-only to the guest as well. */
	guest_write(&s, CHANGED_PAGE - 1, 1, 4);
	op_set(&t, 0, OP_WRITE, s.gpa + CHANGED_PAGE * SZ_4K, 1, SZ_4K, 4);
	expect_efault(&t);
	host_verify(&s, CHANGED_PAGE, 1, 2);
}

static void test_host_dontneed_page(void)
{
	struct test_vm t;
	struct slot s;

	host_change_begin(&t, &s, alloc_thp(SZ_8M));
	TEST_ASSERT(!madvise(host_word(&s, CHANGED_PAGE), SZ_4K, MADV_DONTNEED),
		    "madvise() failed");
	TEST_ASSERT(!*host_word(&s, CHANGED_PAGE), "The page was not discarded");
	host_write(&s, CHANGED_PAGE, 1, 2);
	host_change_end(&t, &s);
	/* To the new page, not to that which had the same content. */
	guest_write(&s, CHANGED_FIRST, PAGES_PER_2M, 4);
	host_verify(&s, CHANGED_FIRST, PAGES_PER_2M, 4);
}

/* All of the range is exchanged, and the guest does not touch it before logging stops. */
static void test_host_dontneed_range(void)
{
	struct stats logged, off;
	struct test_vm t;
	struct slot s;
	u64 i;

	host_change_begin(&t, &s, alloc_hugetlb(SZ_8M, SZ_2M));
	TEST_ASSERT(!madvise(s.hva + CHANGED_OFF, SZ_2M, MADV_DONTNEED), "madvise() failed");

	/*
	 * A new huge page is there, but no child vouches for it: until one does,
	 * the host may take it away without telling KVM.
	 */
	for (i = 0; i < PAGES_PER_2M; i++)
		TEST_ASSERT(!*host_word(&s, CHANGED_FIRST + i), "The range was not discarded");
	host_write(&s, CHANGED_FIRST, PAGES_PER_2M, 3);

	logged = stats_read(&t);
	slot_log(&s, false);
	off = stats_read(&t);
	EXPECT_PROMOTED(logged, off, 3, 0);
	EXPECT_SKIPS(logged, off, 0, 1, 0, 0);

	guest_verify(&s, 0, CHANGED_FIRST, 2);
	guest_verify(&s, CHANGED_FIRST, PAGES_PER_2M, 3);
	guest_verify(&s, CHANGED_FIRST + PAGES_PER_2M, 2 * PAGES_PER_2M, 2);
}

/* Still huge, but read-only in the host: the huge page must be so as well. */
static void test_host_read_only(void)
{
	struct stats logged, off;
	struct test_vm t;
	struct slot s;

	host_change_begin(&t, &s, alloc_hugetlb(SZ_8M, SZ_2M));
	TEST_ASSERT(!mprotect(s.hva + CHANGED_OFF, SZ_2M, PROT_READ), "mprotect() failed");
	guest_verify(&s, CHANGED_FIRST, PAGES_PER_2M, 2);

	logged = stats_read(&t);
	slot_log(&s, false);
	off = stats_read(&t);
	EXPECT_PROMOTED(logged, off, 4, 0);
	guest_verify(&s, 0, slot_pages(&s), 2);

	op_set(&t, 0, OP_WRITE, s.gpa + CHANGED_OFF, PAGES_PER_2M, SZ_4K, 3);
	expect_efault(&t);
	host_verify(&s, 0, slot_pages(&s), 2);

	TEST_ASSERT(!mprotect(s.hva + CHANGED_OFF, SZ_2M, PROT_READ | PROT_WRITE),
		    "mprotect() failed");
	vcpu_run_op(&t, 0);
	host_verify(&s, CHANGED_FIRST, PAGES_PER_2M, 3);
}

/*
 * While another process shares the memory after a fork(), the guest's reads
 * make read-only children.  Once that process is gone, the guest's next write
 * makes the host's mapping writable without telling KVM: then one child alone
 * knows that the huge page may be written.  One table is full, one has holes.
 */
static void test_host_forked(void)
{
	struct stats logged, off;
	struct test_vm t;
	struct slot s;
	u64 faults;
	pid_t pid;

	vm_new(&t, 1);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_4M, alloc_hugetlb(SZ_4M, SZ_2M));
	guest_write(&s, 0, slot_pages(&s), 1);

	slot_log(&s, true);
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork() failed");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
	}
	guest_verify(&s, 0, PAGES_PER_2M + 10, 1);
	kill(pid, SIGKILL);
	TEST_ASSERT(waitpid(pid, NULL, 0) == pid, "waitpid() failed");
	guest_write(&s, 100, 1, 2);
	guest_write(&s, PAGES_PER_2M + 100, 1, 2);

	logged = stats_read(&t);
	slot_log(&s, false);
	off = stats_read(&t);
	EXPECT_DELTA(logged, off, PAGES_4K, -(PAGES_PER_2M + 11));
	EXPECT_PROMOTED(logged, off, 2, 0);

	faults = faults_taken(&t);
	guest_verify(&s, 100, 1, 2);
	guest_verify(&s, PAGES_PER_2M + 100, 1, 2);
	guest_write(&s, 0, slot_pages(&s), 3);
	EXPECT_FAULTS(&t, faults, 0);
	host_verify(&s, 0, slot_pages(&s), 3);
}

/* Ways of logging */

/* With KVM_DIRTY_LOG_INITIALLY_SET only what is cleared gets split. */
static void test_initially_set(void)
{
	const u64 flags = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET;
	struct stats populated, logged, off;
	u64 faults, half;
	unsigned long *log;
	struct test_vm t;
	struct slot s;

	if ((kvm_check_cap(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) & flags) != flags)
		skip("needs KVM_DIRTY_LOG_INITIALLY_SET");

	vm_new(&t, 1);
	vm_enable_cap(t.vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, flags);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_16M, alloc_hugetlb(SZ_16M, SZ_2M));
	half = slot_pages(&s) / 2;
	log = log_alloc(&s);
	guest_write(&s, 0, 2 * half, 1);
	guest_verify(&s, 0, 2 * half, 1);
	populated = stats_read(&t);

	slot_log(&s, true);
	kvm_vm_get_dirty_log(t.vm, s.id, log);
	log_expect(&s, log, 0, 2 * half, true);
	kvm_vm_clear_dirty_log(t.vm, s.id, log, 0, half);
	logged = stats_read(&t);
	EXPECT_DELTA(populated, logged, PAGES_2M, -4);

	guest_write(&s, 0, half / 2, 2);
	guest_write(&s, half, half, 2);
	kvm_vm_get_dirty_log(t.vm, s.id, log);
	log_expect(&s, log, 0, half / 2, true);
	log_expect(&s, log, half / 2, half - half / 2, false);
	log_expect(&s, log, half, half, true);

	slot_log(&s, false);
	off = stats_read(&t);
	EXPECT_PROMOTED(logged, off, 4, 0);
	EXPECT_DELTA(populated, off, PAGES_2M, 0);
	EXPECT_DELTA(populated, off, PAGES_4K, 0);
	lpage_wait_sec_page_tables(populated.sec_page_tables_kb, 1000);

	faults = faults_taken(&t);
	guest_verify(&s, 0, half / 2, 2);
	guest_verify(&s, half / 2, half - half / 2, 1);
	guest_verify(&s, half, half, 2);
	guest_write(&s, 0, 2 * half, 3);
	EXPECT_FAULTS(&t, faults, 0);
	host_verify(&s, 0, 2 * half, 3);
	free(log);
}

#define RING_ENTRIES	4096

/* Collect the ring of vCPU 0 into @log, and let KVM protect those pages again. */
static void ring_collect(struct slot *s, unsigned long *log)
{
	struct kvm_vcpu *vcpu = s->t->vcpu[0];
	struct kvm_dirty_gfn *ring = vcpu_map_dirty_ring(vcpu), *entry;
	u32 nr = 0, reset;

	for (;; vcpu->fetch_index++, nr++) {
		entry = &ring[vcpu->fetch_index % RING_ENTRIES];
		/* Pairs with KVM's release after it has filled the entry. */
		if (smp_load_acquire(&entry->flags) != KVM_DIRTY_GFN_F_DIRTY)
			break;
		if (entry->slot == s->id)
			log[entry->offset / 64] |= 1ul << (entry->offset % 64);
		/* The entry has been read: KVM may have it back. */
		smp_store_release(&entry->flags, KVM_DIRTY_GFN_F_RESET);
	}

	reset = kvm_vm_reset_dirty_ring(s->t->vm);
	TEST_ASSERT(reset == nr, "%u ring entries reset, want %u", reset, nr);
}

static void test_dirty_ring(void)
{
	struct stats populated, logged, off;
	unsigned long *log;
	struct test_vm t;
	u64 faults;
	struct slot s;

	if (kvm_check_cap(KVM_CAP_DIRTY_LOG_RING_ACQ_REL) < RING_ENTRIES)
		skip("needs KVM_CAP_DIRTY_LOG_RING_ACQ_REL");

	/* The ring must be there before the first vCPU. */
	t.nr_vcpus = 1;
	t.vm = vm_create(1);
	vm_enable_dirty_ring(t.vm, RING_ENTRIES * sizeof(struct kvm_dirty_gfn));
	t.vcpu[0] = vm_vcpu_add(t.vm, 0, guest_main);
	vm_setup(&t);

	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_hugetlb(SZ_8M, SZ_2M));
	log = log_alloc(&s);
	guest_write(&s, 0, slot_pages(&s), 1);
	guest_verify(&s, 0, slot_pages(&s), 1);
	populated = stats_read(&t);

	slot_log(&s, true);
	guest_write(&s, 0, slot_pages(&s) / 2, 2);
	ring_collect(&s, log);
	log_expect(&s, log, 0, slot_pages(&s) / 2, true);
	log_expect(&s, log, slot_pages(&s) / 2, slot_pages(&s) / 2, false);
	guest_write(&s, 0, 10, 3);

	logged = stats_read(&t);
	slot_log(&s, false);
	off = stats_read(&t);
	EXPECT_PROMOTED(logged, off, 4, 0);
	EXPECT_DELTA(populated, off, PAGES_2M, 0);
	EXPECT_DELTA(populated, off, PAGES_4K, 0);
	lpage_wait_sec_page_tables(populated.sec_page_tables_kb, 1000);

	faults = faults_taken(&t);
	guest_verify(&s, 0, 10, 3);
	guest_verify(&s, 10, slot_pages(&s) / 2 - 10, 2);
	guest_verify(&s, slot_pages(&s) / 2, slot_pages(&s) / 2, 1);
	guest_write(&s, 0, slot_pages(&s), 4);
	EXPECT_FAULTS(&t, faults, 0);
	host_verify(&s, 0, slot_pages(&s), 4);

	/* What was written while logging was on is still in the ring. */
	memset(log, 0, slot_pages(&s) / 8);
	ring_collect(&s, log);
	log_expect(&s, log, 0, 10, true);
	log_expect(&s, log, 10, slot_pages(&s) - 10, false);
	free(log);
}

/* vCPUs that run all the while */

static void thread_start(pthread_t *thread, void *(*fn)(void *), void *arg)
{
	TEST_ASSERT(!pthread_create(thread, NULL, fn, arg), "pthread_create() failed");
}

struct hammer {
	pthread_t thread;
	struct slot *s;
	int vcpu;
};

static void *hammer_thread(void *arg)
{
	struct hammer *h = arg;
	struct kvm_vcpu *vcpu = h->s->t->vcpu[h->vcpu];
	struct kvm_run *run = vcpu->run;
	char *hva;

	for (;;) {
		if (__vcpu_run(vcpu)) {
			/* Host memory is read-only for now: try again. */
			TEST_ASSERT(errno == EFAULT, "KVM_RUN failed");
			sched_yield();
		} else if (run->exit_reason == KVM_EXIT_MMIO) {
			/* The slot is gone for now: be its memory. */
			hva = h->s->hva + (run->mmio.phys_addr - h->s->gpa);
			if (run->mmio.is_write)
				memcpy(hva, run->mmio.data, run->mmio.len);
			else
				memcpy(run->mmio.data, hva, run->mmio.len);
		} else {
			TEST_ASSERT(op_done(vcpu), "Unexpected exit: %s",
				    exit_reason_str(run->exit_reason));
			return NULL;
		}
	}
}

/* The vCPUs take turns page by page: any huge page is in use by all of them. */
static void hammer_start(struct hammer *hammers, struct slot *s)
{
	u64 nr = s->t->nr_vcpus;
	int i;

	for (i = 0; i < nr; i++) {
		op_set(s->t, i, OP_HAMMER, s->gpa + i * SZ_4K, slot_pages(s) / nr, nr * SZ_4K, 0);
		hammers[i] = (struct hammer) { .s = s, .vcpu = i };
		thread_start(&hammers[i].thread, hammer_thread, &hammers[i]);
	}
}

/* Wait until each vCPU has written @nr_pages more. */
static void hammer_wait(struct test_vm *t, u64 nr_pages)
{
	u64 until[NR_VCPUS];
	int i;

	for (i = 0; i < t->nr_vcpus; i++)
		until[i] = READ_ONCE(t->ops[i].progress) + nr_pages;
	for (i = 0; i < t->nr_vcpus; i++)
		while (READ_ONCE(t->ops[i].progress) < until[i])
			sched_yield();
}

/* Passes are whole, so each page of a vCPU holds the number of its passes. */
static void hammer_stop(struct hammer *hammers, struct slot *s)
{
	u64 nr = s->t->nr_vcpus, page, passes;
	int i;

	for (i = 0; i < nr; i++)
		WRITE_ONCE(s->t->ops[i].stop, 1);
	for (i = 0; i < nr; i++)
		pthread_join(hammers[i].thread, NULL);

	for (page = 0; page < slot_pages(s); page++) {
		passes = s->t->ops[page % nr].progress / (slot_pages(s) / nr);
		TEST_ASSERT(*host_word(s, page) == passes, "Page %lu holds %lu, want %lu",
			    page, *host_word(s, page), passes);
	}
}

static void host_read(struct slot *s, u64 *words)
{
	u64 i;

	for (i = 0; i < slot_pages(s); i++)
		words[i] = READ_ONCE(*host_word(s, i));
}

/*
 * A page that differs between two looks, the first after the log was started
 * or last collected, the second before it is collected now, was written while
 * logging was on: it must be in the log.
 */
static void test_toggle_while_writing(void)
{
	u64 *first, *second, i, nr_dirty = 0;
	struct hammer hammers[NR_VCPUS];
	struct stats populated, off;
	int round, collect;
	unsigned long *log;
	struct test_vm t;
	struct slot s;

	vm_new(&t, NR_VCPUS);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_hugetlb(SZ_8M, SZ_2M));
	log = log_alloc(&s);
	first = calloc(slot_pages(&s), sizeof(*first));
	second = calloc(slot_pages(&s), sizeof(*second));
	hammer_start(hammers, &s);
	hammer_wait(&t, slot_pages(&s));
	populated = stats_read(&t);

	for (round = 0; round < 8; round++) {
		slot_log(&s, true);
		for (collect = 0; collect < 3; collect++) {
			host_read(&s, first);
			hammer_wait(&t, slot_pages(&s) / 8);
			host_read(&s, second);
			kvm_vm_get_dirty_log(t.vm, s.id, log);
			for (i = 0; i < slot_pages(&s); i++) {
				TEST_ASSERT(first[i] == second[i] || log_has(&s, log, i),
					    "Round %d: page %lu was written, but is not in the log",
					    round, i);
				nr_dirty += first[i] != second[i];
			}
		}
		slot_log(&s, false);
		off = stats_read(&t);
		EXPECT_DELTA(populated, off, PAGES_2M, 0);
		EXPECT_DELTA(populated, off, PAGES_4K, 0);
		hammer_wait(&t, slot_pages(&s) / 8);
	}
	hammer_stop(hammers, &s);
	TEST_ASSERT(nr_dirty, "Nothing was written while logging was on");
	TEST_ASSERT(off.val[PROMOTED_2M] > populated.val[PROMOTED_2M], "Nothing was promoted");
}

/*
 * vCPUs fault pages in, one by one, while their tables are promoted.  A child
 * that got into a table too late is lost together with its statistics; so are
 * tables.  Nothing of either may be left when the slot is gone.
 */
static void test_toggle_while_faulting(void)
{
	struct hammer hammers[NR_VCPUS];
	struct stats before, after;
	struct test_vm t;
	struct slot s;
	int i;

	vm_new(&t, NR_VCPUS);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_hugetlb(SZ_8M, SZ_2M));
	slot_delete(&s);
	before = stats_read(&t);

	slot_set(&s, 0);
	hammer_start(hammers, &s);
	for (i = 0; i < 60; i++) {
		slot_log(&s, true);
		/* Zaps all SPTEs, and leaves the tables. */
		TEST_ASSERT(!mprotect(s.hva, s.size, PROT_READ), "mprotect() failed");
		TEST_ASSERT(!mprotect(s.hva, s.size, PROT_READ | PROT_WRITE), "mprotect() failed");
		hammer_wait(&t, 1 + i * 8);
		slot_log(&s, false);
	}
	hammer_stop(hammers, &s);
	slot_delete(&s);
	after = stats_read(&t);
	TEST_ASSERT(after.val[PROMOTED_2M] > before.val[PROMOTED_2M], "Nothing was promoted");
	EXPECT_DELTA(before, after, PAGES_4K, 0);
	EXPECT_DELTA(before, after, PAGES_2M, 0);
	lpage_wait_sec_page_tables(before.sec_page_tables_kb, 1000);
}

/* Slots and VMs that go away */

#define RACE_ROUNDS	40

static void *toggle_thread(void *arg)
{
	struct slot *s = arg;
	int i;

	for (i = 0; i < RACE_ROUNDS; i++) {
		slot_log(s, true);
		hammer_wait(s->t, 16);
		slot_log(s, false);
	}
	return NULL;
}

static void test_memslot_delete_race(void)
{
	struct hammer hammers[NR_VCPUS];
	pthread_t toggler;
	struct test_vm t;
	struct slot s;
	int i;

	vm_new(&t, NR_VCPUS);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_hugetlb(SZ_8M, SZ_2M));
	hammer_start(hammers, &s);
	thread_start(&toggler, toggle_thread, &s);
	for (i = 0; i < RACE_ROUNDS; i++) {
		hammer_wait(&t, 256);
		slot_delete(&s);
		hammer_wait(&t, 16);
		slot_set(&s, i % 2 ? KVM_MEM_LOG_DIRTY_PAGES : 0);
	}
	pthread_join(toggler, NULL);
	slot_log(&s, false);
	hammer_stop(hammers, &s);
}

/*
 * The VM is killed at any point of turning logging on and off, on a slot that
 * is large enough for promotion to take more than one hold of mmu_lock.
 */
static void test_vm_exit_race(void)
{
	struct hammer hammers[NR_VCPUS];
	u64 *toggles, before_kb;
	int status, round;
	struct test_vm t;
	struct slot s;
	pid_t pid;

	toggles = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(toggles != MAP_FAILED, "mmap() failed");
	before_kb = lpage_sec_page_tables_kb();

	for (round = 0; round < 6; round++) {
		WRITE_ONCE(*toggles, 0);
		pid = fork();
		TEST_ASSERT(pid >= 0, "fork() failed");
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			vm_new(&t, NR_VCPUS);
			slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_256M,
				 alloc_hugetlb(SZ_256M, SZ_2M));
			hammer_start(hammers, &s);
			hammer_wait(&t, slot_pages(&s));
			for (;;) {
				slot_log(&s, true);
				WRITE_ONCE(*toggles, *toggles + 1);
				slot_log(&s, false);
				WRITE_ONCE(*toggles, *toggles + 1);
			}
		}

		/* Odd: about to be turned off.  Even: about to be turned on. */
		while (READ_ONCE(*toggles) < 5 + round) {
			if (waitpid(pid, &status, WNOHANG) == pid) {
				if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP)
					exit(KSFT_SKIP);
				TEST_FAIL("The VM's process ended by itself");
			}
			sched_yield();
		}
		kill(pid, SIGKILL);
		TEST_ASSERT(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status),
			    "The VM's process was not killed");
	}
	lpage_wait_sec_page_tables(before_kb, 10000);
}

/* Host memory that changes while logging is turned on and off */

#define NOTIFIER_ROUNDS	150

/*
 * Split and collapse huge pages of the host under KVM's feet, in ways that
 * keep their content.  Nothing but mmu_notifiers and mmu_lock orders this with
 * promotion.
 */
static void *notifier_thread(void *arg)
{
	struct slot *s = arg;
	char *range, *page;
	int i;

	for (i = 0; i < NOTIFIER_ROUNDS; i++) {
		range = s->hva + i % (s->size / SZ_2M) * SZ_2M;
		page = range + i * 7 % PAGES_PER_2M * SZ_4K;
		TEST_ASSERT(!mprotect(page, SZ_4K, PROT_READ), "mprotect() failed");
		TEST_ASSERT(!mprotect(page, SZ_4K, PROT_READ | PROT_WRITE), "mprotect() failed");
		/* To a new huge page; best effort, as the kernel promises no more. */
		madvise(range, SZ_2M, MADV_COLLAPSE);
	}
	return NULL;
}

static void test_mmu_notifier_race(void)
{
	struct hammer hammers[NR_VCPUS];
	pthread_t notifier, toggler;
	struct stats before, off;
	struct test_vm t;
	struct slot s;

	vm_new(&t, NR_VCPUS);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_thp(SZ_8M));
	before = stats_read(&t);
	hammer_start(hammers, &s);
	thread_start(&notifier, notifier_thread, &s);
	thread_start(&toggler, toggle_thread, &s);
	pthread_join(notifier, NULL);
	pthread_join(toggler, NULL);
	hammer_wait(&t, slot_pages(&s));
	hammer_stop(hammers, &s);
	off = stats_read(&t);
	TEST_ASSERT(off.val[PROMOTED_2M] > before.val[PROMOTED_2M], "Nothing was promoted");
}

/* A nested guest */

/* Layout of the first 2M of the slot: L1's nested page tables. */
#define NPT_PML4	0
#define NPT_PDPT	1
#define NPT_PD		2
#define NPT_PAGES	6	/* PDs for 4 GiB */
#define NPT_TABLE	(PTE_PRESENT_MASK | PTE_WRITABLE_MASK | PTE_USER_MASK)
#define NPT_LARGE	(NPT_TABLE | PTE_LARGE_MASK)

/* L2 does the operations of vCPU 0, then L1 does those of "vCPU" 1. */
static void guest_l2(void)
{
	for (;;) {
		guest_run_op(&guest_ops[0]);
		vmmcall();
	}
}

static void guest_l1(struct svm_test_data *svm, u64 npt)
{
	static unsigned long stack[512];
	struct vmcb *vmcb = svm->vmcb;

	generic_svm_setup(svm, guest_l2, &stack[ARRAY_SIZE(stack) - 1]);
	vmcb->control.nested_ctl |= SVM_NESTED_CTL_NP_ENABLE;
	vmcb->control.nested_cr3 = npt;

	for (;;) {
		/* L1 may have changed L2's tables. */
		vmcb->control.tlb_ctl = TLB_CONTROL_FLUSH_ASID;
		run_guest(vmcb, svm->vmcb_gpa);
		GUEST_ASSERT_EQ(vmcb->control.exit_code, SVM_EXIT_VMMCALL);
		vmcb->save.rip += 3;

		guest_run_op(&guest_ops[1]);
		GUEST_SYNC(0);
	}
}

static void l1_build_npt(struct slot *s)
{
	u64 i;

	*host_word(s, NPT_PML4) = (s->gpa + NPT_PDPT * SZ_4K) | NPT_TABLE;
	for (i = 0; i < 4; i++)
		host_word(s, NPT_PDPT)[i] = (s->gpa + (NPT_PD + i) * SZ_4K) | NPT_TABLE;
	for (i = 0; i < 4 * 512; i++)
		host_word(s, NPT_PD)[i] = i * SZ_2M | NPT_LARGE;
}

static void nested_do(struct slot *s, enum guest_op_type l2_type, u64 l2_first,
		      u64 l2_nr, u64 l2_gen, enum guest_op_type l1_type,
		      u64 l1_first, u64 l1_nr, u64 l1_gen)
{
	op_set(s->t, 0, l2_type, s->gpa + l2_first * SZ_4K, l2_nr, SZ_4K, l2_gen);
	op_set(s->t, 1, l1_type, s->gpa + l1_first * SZ_4K, l1_nr, SZ_4K, l1_gen);
	vcpu_run_op(s->t, 0);
}

static void test_nested_guest(void)
{
	const u64 first = PAGES_PER_2M, nr = 3 * PAGES_PER_2M;
	struct stats logged, off;
	unsigned long *log;
	vm_vaddr_t svm_gva;
	struct test_vm t;
	u64 faults;
	struct slot s;

	if (!kvm_cpu_has(X86_FEATURE_SVM) || !kvm_cpu_has(X86_FEATURE_NPT))
		skip("needs nested SVM with NPT");

	t.nr_vcpus = 1;
	t.vm = vm_create_with_one_vcpu(&t.vcpu[0], guest_l1);
	vm_setup(&t);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_hugetlb(SZ_8M, SZ_2M));
	log = log_alloc(&s);
	l1_build_npt(&s);
	vcpu_alloc_svm(t.vm, &svm_gva);
	vcpu_args_set(t.vcpu[0], 2, svm_gva, s.gpa);

	/* Both have all but L2's page tables mapped, and those are shadowed. */
	nested_do(&s, OP_WRITE, first, nr, 1, OP_VERIFY, first, nr, 1);
	nested_do(&s, OP_VERIFY, first, nr, 1, OP_WRITE, NPT_PAGES, first - NPT_PAGES, 1);

	slot_log(&s, true);
	nested_do(&s, OP_WRITE, first, PAGES_PER_2M, 2,
		  OP_WRITE, first + PAGES_PER_2M, PAGES_PER_2M, 2);
	kvm_vm_get_dirty_log(t.vm, s.id, log);
	log_expect(&s, log, first, 2 * PAGES_PER_2M, true);
	log_expect(&s, log, first + 2 * PAGES_PER_2M, PAGES_PER_2M, false);
	logged = stats_read(&t);
	slot_log(&s, false);
	off = stats_read(&t);

	/* KVM must go on seeing L1's writes to the tables in the first 2M. */
	EXPECT_DELTA(logged, off, PROMOTED_2M, 3);
	EXPECT_SKIPS(logged, off, 1, 0, 0, 0);

	faults = faults_taken(&t);
	nested_do(&s, OP_VERIFY, 0, 0, 0, OP_VERIFY, first, 2 * PAGES_PER_2M, 2);
	nested_do(&s, OP_VERIFY, 0, 0, 0, OP_WRITE, first + 2 * PAGES_PER_2M, PAGES_PER_2M, 2);
	EXPECT_FAULTS(&t, faults, 0);

	nested_do(&s, OP_VERIFY, first, nr, 2, OP_VERIFY, first, nr, 2);
	nested_do(&s, OP_WRITE, first, nr, 3, OP_VERIFY, first, nr, 3);
	host_verify(&s, first, nr, 3);

	/* L1 moves what L2 has at 4M to 6M; L2's next writes must end up there. */
	op_set(&t, 0, OP_VERIFY, 0, 0, 0, 0);
	op_set(&t, 1, OP_POKE, s.gpa + (NPT_PD + 1) * SZ_4K + 2 * sizeof(u64), 1, 0,
	       (s.gpa + 3 * SZ_2M) | NPT_LARGE);
	vcpu_run_op(&t, 0);
	nested_do(&s, OP_WRITE, 2 * PAGES_PER_2M, 1, 4, OP_VERIFY, 2 * PAGES_PER_2M, 1, 3);
	TEST_ASSERT(*host_word(&s, 3 * PAGES_PER_2M) == pattern(s.gpa + 2 * SZ_2M, 4),
		    "L2 did not see the change of its page tables");
	free(log);
}

/* What the administrator sees and sets */

#define TRACE_DIR	"/sys/kernel/tracing/instances/lpage_promote_test"
#define TRACE_EVENT(e)	TRACE_DIR "/events/kvmmmu/" e "/enable"

/* The bits of a leaf SPTE in NPT, where they are those of any page table. */
#define NPT_LEAF_RW	(PTE_PRESENT_MASK | PTE_WRITABLE_MASK | PTE_ACCESSED_MASK | \
			 PTE_DIRTY_MASK | PTE_LARGE_MASK)

/*
 * Each decision is traced.  It is also where the bits show that nothing else
 * can tell, as the CPU would set them by itself at the next access.
 */
static void test_tracepoints(void)
{
	static const char * const want[] = {
		"kvm_mmu_lpage_promote: as_id 0 gfn 0x40000 level 2 spte 0x%llx from 512 leaves",
		"kvm_mmu_lpage_promote: as_id 0 gfn 0x40200 level 2 spte 0x%llx from 3 leaves",
		"kvm_mmu_lpage_promote_skip: as_id 0 gfn 0x40400 level 2 reason level",
	};
	unsigned long long spte = 0;
	int nr_lines = 0;
	struct test_vm t;
	char line[256];
	struct slot s;
	char *event;
	FILE *trace;

	if (access("/sys/kernel/tracing/instances", W_OK))
		skip("needs tracefs at /sys/kernel/tracing");

	vm_new(&t, 1);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, 3 * SZ_2M, alloc_thp(SZ_8M));
	TEST_ASSERT(!mprotect(s.hva + 2 * SZ_2M, SZ_4K, PROT_READ), "mprotect() failed");
	slot_log(&s, true);
	guest_write(&s, 0, PAGES_PER_2M + 3, 1);
	guest_write(&s, 3 * PAGES_PER_2M - 1, 1, 1);

	rmdir(TRACE_DIR);
	TEST_ASSERT(!mkdir(TRACE_DIR, 0700), "Cannot make " TRACE_DIR);
	TEST_ASSERT(!file_write(TRACE_EVENT("kvm_mmu_lpage_promote"), "1") &&
		    !file_write(TRACE_EVENT("kvm_mmu_lpage_promote_skip"), "1"),
		    "Cannot enable the events");
	slot_log(&s, false);

	trace = fopen(TRACE_DIR "/trace", "r");
	TEST_ASSERT(trace, "Cannot open the trace");
	while (fgets(line, sizeof(line), trace)) {
		event = strstr(line, "kvm_mmu_lpage_");
		if (!event)
			continue;
		event[strcspn(event, "\n")] = '\0';
		TEST_ASSERT(nr_lines < ARRAY_SIZE(want), "Unexpected event: %s", event);
		if (sscanf(event, want[nr_lines], &spte) == 1) {
			TEST_ASSERT(!host_cpu_is_amd || (spte & NPT_LEAF_RW) == NPT_LEAF_RW,
				    "SPTE 0x%llx is not writable, accessed and dirty", spte);
			TEST_ASSERT(!strcmp(strstr(event, " from "),
					    strstr(want[nr_lines], " from ")),
				    "Event is: %s", event);
		} else {
			TEST_ASSERT(!strcmp(event, want[nr_lines]), "Event is: %s", event);
		}
		nr_lines++;
	}
	fclose(trace);
	TEST_ASSERT(nr_lines == ARRAY_SIZE(want), "%d events, want %zu", nr_lines,
		    ARRAY_SIZE(want));
	rmdir(TRACE_DIR);
}

/* Code that the NX mitigation holds at 4K stays there; its neighbours do not. */
static void test_nx_huge_pages(void)
{
	const u64 code = PAGES_PER_2M + 5, rest = 2 * PAGES_PER_2M;
	struct stats populated, logged, off;
	struct test_vm t;
	u64 faults;
	struct slot s;

	if (file_write(NX_PARAM, "force"))
		skip("needs nx_huge_pages, which is off for good");

	vm_new(&t, 1);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_hugetlb(SZ_8M, SZ_2M));
	guest_write(&s, 0, slot_pages(&s), 1);
	*(u8 *)host_word(&s, code) = INSN_RET;
	guest_do(&s, OP_CALL, code, 1, 0);
	guest_verify(&s, 0, code, 1);
	guest_verify(&s, code + 1, slot_pages(&s) - code - 1, 1);
	populated = stats_read(&t);

	slot_log(&s, true);
	guest_write(&s, 0, code, 2);
	logged = stats_read(&t);
	slot_log(&s, false);
	off = stats_read(&t);
	EXPECT_PROMOTED(logged, off, 3, 0);
	EXPECT_SKIPS(logged, off, 0, 0, 1, 0);
	EXPECT_DELTA(populated, off, PAGES_2M, 0);
	EXPECT_DELTA(populated, off, PAGES_4K, 0);

	faults = faults_taken(&t);
	guest_do(&s, OP_CALL, code, 1, 0);
	guest_verify(&s, 0, code, 2);
	guest_write(&s, 0, PAGES_PER_2M, 3);
	guest_write(&s, rest, slot_pages(&s) - rest, 3);
	EXPECT_FAULTS(&t, faults, 0);
	host_verify(&s, 0, PAGES_PER_2M, 3);
	host_verify(&s, rest, slot_pages(&s) - rest, 3);
}

/* Off: stock's way.  Large pages come back one fault at a time. */
static void test_param_off(void)
{
	struct stats populated, logged, off;
	struct test_vm t;
	u64 faults;
	struct slot s;

	TEST_ASSERT(!file_write(PARAM, "N"), "Cannot write " PARAM);

	vm_new(&t, 1);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_hugetlb(SZ_8M, SZ_2M));
	guest_write(&s, 0, slot_pages(&s), 1);
	guest_verify(&s, 0, slot_pages(&s), 1);
	populated = stats_read(&t);

	slot_log(&s, true);
	guest_write(&s, 0, slot_pages(&s), 2);
	logged = stats_read(&t);
	slot_log(&s, false);
	off = stats_read(&t);
	EXPECT_DELTA(populated, off, PAGES_2M, -4);
	EXPECT_DELTA(populated, off, PAGES_4K, 0);
	EXPECT_DELTA(logged, off, PROMOTED_2M, 0);
	EXPECT_DELTA(logged, off, PROMOTE_FLUSHES, 0);
	EXPECT_SKIPS(logged, off, 0, 0, 0, 0);

	faults = faults_taken(&t);
	guest_verify(&s, 0, slot_pages(&s), 2);
	guest_write(&s, 0, slot_pages(&s), 3);
	EXPECT_FAULTS(&t, faults, 4);
	off = stats_read(&t);
	EXPECT_DELTA(populated, off, PAGES_2M, 0);
	host_verify(&s, 0, slot_pages(&s), 3);
}

static void test_param_values(void)
{
	static const char * const bad[] = { "2", "-1", "x", "maybe", " ", "\n" };
	static const char * const good[][2] = {
		{ "0", "N\n" }, { "1", "Y\n" }, { "n", "N\n" }, { "Y\n", "Y\n" },
	};
	char value[16];
	int i, err;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		err = file_write(PARAM, bad[i]);
		TEST_ASSERT(err == EINVAL, "Writing '%s' gave '%s', want EINVAL", bad[i],
			    strerror(err));
		file_read(PARAM, value, sizeof(value));
		TEST_ASSERT(!strcmp(value, "Y\n"), "Writing '%s' left '%s'", bad[i], value);
	}

	for (i = 0; i < ARRAY_SIZE(good); i++) {
		err = file_write(PARAM, good[i][0]);
		TEST_ASSERT(!err, "Writing '%s' gave '%s'", good[i][0], strerror(err));
		file_read(PARAM, value, sizeof(value));
		TEST_ASSERT(!strcmp(value, good[i][1]), "Writing '%s' left '%s'", good[i][0],
			    value);
	}
}

/* Running subtests */

#define SUBTEST(name) { #name, test_ ## name }

static const struct subtest {
	const char *name;
	void (*run)(void);
} subtests[] = {
	SUBTEST(hugetlb_2m),
	SUBTEST(hugetlb_1g),
	SUBTEST(hugetlb_1g_partial),
	SUBTEST(thp),
	SUBTEST(thp_mixed_4k),
	SUBTEST(thp_zero_page),
	SUBTEST(partial),
	SUBTEST(read_then_write),
	SUBTEST(executable),
	SUBTEST(unaligned_slots),
	SUBTEST(misaligned_hva),
	SUBTEST(several_slots),
	SUBTEST(smm),
	SUBTEST(read_only_slot),
	SUBTEST(host_remapped_4k),
	SUBTEST(host_mprotect_page),
	SUBTEST(host_dontneed_page),
	SUBTEST(host_dontneed_range),
	SUBTEST(host_read_only),
	SUBTEST(host_forked),
	SUBTEST(initially_set),
	SUBTEST(dirty_ring),
	SUBTEST(toggle_while_writing),
	SUBTEST(toggle_while_faulting),
	SUBTEST(memslot_delete_race),
	SUBTEST(vm_exit_race),
	SUBTEST(mmu_notifier_race),
	SUBTEST(nested_guest),
	SUBTEST(tracepoints),
	SUBTEST(nx_huge_pages),
	SUBTEST(param_off),
	SUBTEST(param_values),
};

/*
 * A child that exits for want of something has said what in skip_reason.  The
 * library exits with the same status when an assertion fails on EACCES.
 */
static void run_subtest(const struct subtest *subtest)
{
	int status;
	pid_t pid;

	skip_reason[0] = '\0';
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork() failed");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(SUBTEST_SECONDS);
		subtest->run();
		exit(KSFT_PASS);
	}
	TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid() failed");

	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		ksft_print_msg("%s: not done after %d s\n", subtest->name, SUBTEST_SECONDS);
	else if (WIFSIGNALED(status))
		ksft_print_msg("%s: %s\n", subtest->name, strsignal(WTERMSIG(status)));

	if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP && skip_reason[0])
		ksft_test_result_code(KSFT_SKIP, subtest->name, "%s", skip_reason);
	else
		ksft_test_result(WIFEXITED(status) && !WEXITSTATUS(status), "%s\n", subtest->name);
}

static void help(const char *name)
{
	printf("usage: %s [-h] [-l] [-t SUBTEST]\n"
	       "  -l          list the subtests\n"
	       "  -t SUBTEST  run only this one\n", name);
}

int main(int argc, char **argv)
{
	const struct subtest *only = NULL;
	char promote[16], nx[16];
	int i, opt;

	while ((opt = getopt(argc, argv, "hlt:")) != -1) {
		switch (opt) {
		case 'l':
			for (i = 0; i < ARRAY_SIZE(subtests); i++)
				puts(subtests[i].name);
			return 0;
		case 't':
			for (i = 0; i < ARRAY_SIZE(subtests); i++)
				if (!strcmp(optarg, subtests[i].name))
					only = &subtests[i];
			if (only)
				break;
			fprintf(stderr, "no subtest %s; see -l\n", optarg);
			return 1;
		default:
			help(argv[0]);
			return opt == 'h' ? 0 : 1;
		}
	}

	ksft_print_header();
	if (access(PARAM, F_OK))
		ksft_exit_skip("kvm.ko has no lpage_promote\n");
	if (!kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY))
		ksft_exit_skip("needs KVM_CAP_PRE_FAULT_MEMORY\n");
	if (!get_kvm_param_bool("tdp_mmu") || !get_kvm_param_bool("eager_page_split"))
		ksft_exit_skip("needs kvm.tdp_mmu and kvm.eager_page_split\n");

	skip_reason = mmap(NULL, SKIP_REASON_SIZE, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(skip_reason != MAP_FAILED, "mmap() failed");
	file_read(PARAM, promote, sizeof(promote));
	file_read(NX_PARAM, nx, sizeof(nx));

	ksft_set_plan(only ? 1 : ARRAY_SIZE(subtests));
	for (i = 0; i < ARRAY_SIZE(subtests); i++) {
		if (only && only != &subtests[i])
			continue;
		file_write(PARAM, "Y");
		run_subtest(&subtests[i]);
		file_write(NX_PARAM, nx);
	}
	file_write(PARAM, promote);
	ksft_finished();
}
