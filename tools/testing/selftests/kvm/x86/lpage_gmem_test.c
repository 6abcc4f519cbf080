// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest_memfd memory in blocks of 2M, and large pages of which a part becomes private
 * or shared: how they are mapped, what a conversion leaves of that, and that they
 * come back by themselves; and that no guest ever sees memory that it should not.
 *
 * The VMs are KVM_X86_SW_PROTECTED_VM.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/falloc.h>
#include <linux/kvm_lpage.h>

#include "kselftest.h"
#include "lpage_cgroup.h"
#include "lpage_vm.h"

/* Far longer than the background takes, and far shorter than its longest delay. */
#define BACK_MS		10000

#define HARD_OFFLINE	"/sys/devices/system/memory/hard_offline_page"

/* What is private in the tests. */
#define GMEM_SIZE	SZ_4M
#define STALE_SIZE	(16 * SZ_2M)

static void gmem_punch(int fd, u64 offset, u64 size)
{
	TEST_ASSERT(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size),
		    "Punching a hole failed: %s", strerror(errno));
}

static int gmem_alloc(int fd, u64 offset, u64 size)
{
	return fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, size) ? errno : 0;
}

/* A VM with one slot, all of it private, and a file of the same size. */
struct gmem_vm {
	struct test_vm t;
	struct slot s;
	int fd;
};

static void gmem_vm_new(struct gmem_vm *g, int nr_vcpus, u64 size, char *hva)
{
	vm_new_protected(&g->t, nr_vcpus);
	g->fd = vm_create_guest_memfd(g->t.vm, size, 0);
	slot_add_gmem(&g->t, &g->s, TEST_SLOT, TEST_GPA, size, hva, g->fd, 0);
	slot_set_private(&g->s, 0, slot_pages(&g->s), true);
}

/* Wait until a statistic of the VM has a value; the background works on that. */
static void wait_stat(struct test_vm *t, const char *name, u64 want)
{
	s64 end = lpage_now_ms() + BACK_MS;
	u64 have;

	do {
		have = lpage_vm_stat(t->vm, name);
		if (have == want)
			return;
		usleep(1000);
	} while (lpage_now_ms() < end);

	TEST_FAIL("%s is %lu after %d ms, want %lu", name, have, BACK_MS, want);
}

static void wait_pages_2m(struct test_vm *t, u64 want)
{
	wait_stat(t, "pages_2m", want);
}

/* 2M of private memory is one block, zero, and one fault. */
static void test_one_fault(void)
{
	struct stats before, after;
	struct gmem_vm g;
	u64 faults;

	gmem_vm_new(&g, 1, GMEM_SIZE, alloc_4k(GMEM_SIZE));

	before = stats_read(&g.t);
	faults = faults_taken(&g.t);
	guest_do(&g.s, OP_VERIFY_ZERO, 0, slot_pages(&g.s), 0);
	EXPECT_FAULTS(&g.t, faults, 2);
	after = stats_read(&g.t);
	EXPECT_DELTA(before, after, PAGES_2M, 2);
	EXPECT_DELTA(before, after, PAGES_4K, 0);
	EXPECT_DELTA(before, after, GMEM_BLOCKS, 2);
	EXPECT_DELTA(before, after, GMEM_FALLBACKS, 0);

	guest_write(&g.s, 0, slot_pages(&g.s), 1);
	guest_verify(&g.s, 0, slot_pages(&g.s), 1);
	EXPECT_FAULTS(&g.t, faults, 2);
}

static void test_never(void)
{
	struct stats before, after;
	struct gmem_vm g;
	u64 faults;

	param_set(GMEM_PARAM, "never");
	gmem_vm_new(&g, 1, GMEM_SIZE, alloc_4k(GMEM_SIZE));

	before = stats_read(&g.t);
	faults = faults_taken(&g.t);
	guest_do(&g.s, OP_VERIFY_ZERO, 0, slot_pages(&g.s), 0);
	EXPECT_FAULTS(&g.t, faults, slot_pages(&g.s));
	after = stats_read(&g.t);
	EXPECT_DELTA(before, after, PAGES_2M, 0);
	EXPECT_DELTA(before, after, GMEM_BLOCKS, 0);
	EXPECT_DELTA(before, after, GMEM_FALLBACKS, 0);
}

static void expect_create(struct test_vm *t, u64 size, u64 flags, int want)
{
	int fd = __vm_create_guest_memfd(t->vm, size, flags), err = fd < 0 ? errno : 0;

	TEST_ASSERT(err == want, "A file of 0x%lx bytes with flags 0x%lx gave %s, want %s",
		    size, flags, strerror(err), strerror(want));
	if (fd >= 0)
		close(fd);
}

static void test_flags(void)
{
	struct test_vm t;
	int base, i;

	vm_new_protected(&t, 1);
	expect_create(&t, SZ_2M, GUEST_MEMFD_FLAG_LPAGE, 0);
	expect_create(&t, SZ_4K, GUEST_MEMFD_FLAG_LPAGE, EINVAL);
	expect_create(&t, SZ_2M + SZ_4K, GUEST_MEMFD_FLAG_LPAGE, EINVAL);
	expect_create(&t, SZ_2M + SZ_4K, 0, 0);
	/* Those of mainline are not ours to take, and not for blocks where it has them. */
	base = vm_check_cap(t.vm, KVM_CAP_GUEST_MEMFD_FLAGS);
	for (i = 0; i < 2; i++) {
		expect_create(&t, SZ_2M, BIT(i), base & BIT(i) ? 0 : EINVAL);
		expect_create(&t, SZ_2M, BIT(i) | GUEST_MEMFD_FLAG_LPAGE, EINVAL);
	}
	expect_create(&t, SZ_2M, BIT(63), EINVAL);

	param_set(GMEM_PARAM, "never");
	expect_create(&t, SZ_2M, GUEST_MEMFD_FLAG_LPAGE, EOPNOTSUPP);
	expect_create(&t, SZ_2M, 0, 0);
	TEST_ASSERT(file_write(GMEM_PARAM, "sometimes") == EINVAL, "gmem_huge takes anything");
}

/* fallocate() has the memory, and the first touch maps it. */
static void test_fallocate(void)
{
	struct stats before, after;
	struct gmem_vm g;
	u64 faults;

	gmem_vm_new(&g, 1, GMEM_SIZE, alloc_4k(GMEM_SIZE));
	before = stats_read(&g.t);
	/* One page asked for is a block, and the same again is nothing. */
	TEST_ASSERT(!gmem_alloc(g.fd, SZ_4K, SZ_4K), "fallocate() failed");
	TEST_ASSERT(!gmem_alloc(g.fd, 0, SZ_2M), "fallocate() failed");
	after = stats_read(&g.t);
	EXPECT_DELTA(before, after, GMEM_BLOCKS, 1);
	TEST_ASSERT(!gmem_alloc(g.fd, 0, GMEM_SIZE), "fallocate() failed");
	after = stats_read(&g.t);
	EXPECT_DELTA(before, after, GMEM_BLOCKS, 2);

	faults = faults_taken(&g.t);
	guest_do(&g.s, OP_VERIFY_ZERO, 0, slot_pages(&g.s), 0);
	EXPECT_FAULTS(&g.t, faults, 2);
	after = stats_read(&g.t);
	EXPECT_DELTA(before, after, GMEM_BLOCKS, 2);

	TEST_ASSERT(gmem_alloc(g.fd, 0, GMEM_SIZE + SZ_4K) == EINVAL, "fallocate() past the end");
}

/*
 * A hole takes a page away from the block: that page is new and zero, the others are
 * what they were, and what is left is mapped by 4K.
 */
static void test_punch_page(void)
{
	struct stats before, after;
	struct gmem_vm g;

	gmem_vm_new(&g, 1, GMEM_SIZE, alloc_4k(GMEM_SIZE));
	guest_write(&g.s, 0, slot_pages(&g.s), 1);
	before = stats_read(&g.t);
	gmem_punch(g.fd, 5 * SZ_4K, SZ_4K);
	after = stats_read(&g.t);
	EXPECT_DELTA(before, after, PAGES_2M, -1);

	guest_do(&g.s, OP_VERIFY_ZERO, 5, 1, 0);
	guest_verify(&g.s, 0, 5, 1);
	guest_verify(&g.s, 6, slot_pages(&g.s) - 6, 1);
	after = stats_read(&g.t);
	EXPECT_DELTA(before, after, PAGES_2M, -1);
	EXPECT_DELTA(before, after, PAGES_4K, PAGES_PER_2M);
	EXPECT_DELTA(before, after, GMEM_BLOCKS, 0);

	/* Nor is a block tried for because the first page is gone. */
	gmem_punch(g.fd, 0, SZ_4K);
	guest_do(&g.s, OP_VERIFY_ZERO, 0, 1, 0);
	after = stats_read(&g.t);
	EXPECT_DELTA(before, after, GMEM_FALLBACKS, 0);

	/* All of it gone, there may be a block again; the next one is what it was. */
	gmem_punch(g.fd, 0, SZ_2M);
	guest_do(&g.s, OP_VERIFY_ZERO, 0, PAGES_PER_2M, 0);
	after = stats_read(&g.t);
	EXPECT_DELTA(before, after, PAGES_2M, 0);
	EXPECT_DELTA(before, after, GMEM_BLOCKS, 1);
	slot_set_private(&g.s, PAGES_PER_2M, 1, false);
	slot_set_private(&g.s, PAGES_PER_2M, 1, true);
	wait_pages_2m(&g.t, before.val[PAGES_2M]);
}

/*
 * The kernel's own count of pages that cannot be evicted, as guest_memfd's.  What waits in
 * lists of each CPU to be counted, or to be free, is when caches are dropped.
 */
static u64 unevictable_kb(void)
{
	unsigned long long kb = 0;
	char line[128];
	FILE *file;

	param_set("/proc/sys/vm/drop_caches", "1");
	file = fopen("/proc/meminfo", "r");
	TEST_ASSERT(file, "Cannot open /proc/meminfo");
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "Unevictable: %llu kB", &kb) == 1)
			break;
	fclose(file);
	return kb;
}

/* What is freed by RCU, is a little later. */
static void wait_unevictable(u64 kb)
{
	s64 end = lpage_now_ms() + LPAGE_GONE_MS;

	while (unevictable_kb() > kb) {
		TEST_ASSERT(lpage_now_ms() < end, "%lu kB cannot be evicted, want at most %lu",
			    unevictable_kb(), kb);
		usleep(1000);
	}
}

/* Pages that a CPU has charged ahead, or not counted yet. */
#define CHARGE_SLACK	SZ_512K

/* What the memory cgroup of the task has been charged for files, guest_memfd's among them. */
struct charge {
	u64 file, unevictable;
};

static struct charge charge_read(void)
{
	/* What waits to be counted is, when caches are dropped. */
	param_set("/proc/sys/vm/drop_caches", "1");
	return (struct charge) {
		.file = cgroup_value(CGROUP "/memory.stat", "file "),
		.unevictable = cgroup_value(CGROUP "/memory.stat", "unevictable "),
	};
}

static void charge_expect(const char *what, u64 got, u64 want)
{
	TEST_ASSERT(got + CHARGE_SLACK >= want && got <= want + CHARGE_SLACK,
		    "%s: %lu bytes, want %lu", what, got, want);
}

/* What is freed by RCU, or by whom else had the file open, is a little later. */
static void charge_wait(u64 unevictable)
{
	s64 end = lpage_now_ms() + LPAGE_GONE_MS;

	while (charge_read().unevictable > unevictable + CHARGE_SLACK) {
		TEST_ASSERT(lpage_now_ms() < end, "%lu bytes cannot be evicted, want %lu",
			    charge_read().unevictable, unevictable);
		usleep(1000);
	}
}

/* When the VMs and files are gone. */
static void charge_expect_gone(const struct charge *before)
{
	charge_wait(before->unevictable);
	charge_expect("file memory in the end", charge_read().file, before->file);
}

/* What touching @size of private memory is charged with. */
static struct charge charge_of_touch(u64 size)
{
	struct charge before, after;
	struct gmem_vm g;

	gmem_vm_new(&g, 1, size, alloc_4k(size));
	before = charge_read();
	guest_write(&g.s, 0, slot_pages(&g.s), 1);
	after = charge_read();
	close(g.fd);
	kvm_vm_free(g.t.vm);
	charge_expect_gone(&before);
	return (struct charge) {
		.file = after.file - before.file,
		.unevictable = after.unevictable - before.unevictable,
	};
}

/*
 * Whatever goes, page by page or at once, is free then.  Counted in a memory cgroup of its
 * own, where no other test's memory is that goes late.
 */
static void test_memory_returns(void)
{
	u64 before, i;
	struct gmem_vm g;

	cgroup_enter();
	gmem_vm_new(&g, 1, GMEM_SIZE, alloc_4k(GMEM_SIZE));
	before = charge_read().unevictable;
	guest_write(&g.s, 0, slot_pages(&g.s), 1);
	charge_expect("unevictable memory", charge_read().unevictable, before + GMEM_SIZE);
	for (i = 0; i < PAGES_PER_2M; i += 2)
		gmem_punch(g.fd, i * SZ_4K, SZ_4K);
	charge_wait(before + GMEM_SIZE - SZ_1M);
	close(g.fd);
	kvm_vm_free(g.t.vm);
	charge_wait(before);
	cgroup_leave();
}

/* Blocks are charged to whom single pages are, and as the same kind of memory. */
static void test_accounting(void)
{
	struct charge pages, blocks;

	cgroup_enter();
	blocks = charge_of_touch(GMEM_SIZE);
	param_set(GMEM_PARAM, "never");
	pages = charge_of_touch(GMEM_SIZE);
	cgroup_leave();
	charge_expect("file memory of single pages", pages.file, GMEM_SIZE);
	charge_expect("file memory of blocks", blocks.file, pages.file);
	charge_expect("unevictable memory of blocks", blocks.unevictable, pages.unevictable);
	ksft_print_msg("charged for blocks: %lu, %lu unevictable; for single pages: %lu, %lu\n",
		       blocks.file, blocks.unevictable, pages.file, pages.unevictable);
}

/* Blocks are 2M of the file; where guest and file do not agree, pages are 4K. */
static void test_unaligned(void)
{
	char *hva = alloc_4k(GMEM_SIZE);
	struct stats before, after;
	struct test_vm t;
	struct slot s;
	int fd;

	vm_new_protected(&t, 1);
	fd = vm_create_guest_memfd(t.vm, GMEM_SIZE, 0);

	/* The offset is not that of the guest. */
	slot_add_gmem(&t, &s, TEST_SLOT, TEST_GPA, SZ_2M, hva, fd, SZ_4K);
	slot_set_private(&s, 0, PAGES_PER_2M, true);
	before = stats_read(&t);
	guest_write(&s, 0, PAGES_PER_2M, 1);
	guest_verify(&s, 0, PAGES_PER_2M, 1);
	after = stats_read(&t);
	EXPECT_DELTA(before, after, PAGES_2M, 0);
	EXPECT_DELTA(before, after, GMEM_BLOCKS, 2);
	slot_delete(&s);

	/* It is, and the slot begins in the middle of one block and ends in another's. */
	slot_add_gmem(&t, &s, TEST_SLOT, TEST_GPA + SZ_4K, GMEM_SIZE - 2 * SZ_4K, hva + SZ_4K,
		      fd, SZ_4K);
	slot_set_private(&s, 0, slot_pages(&s), true);
	before = stats_read(&t);
	guest_do(&s, OP_VERIFY, 0, 0, 1);
	guest_write(&s, 0, slot_pages(&s), 2);
	guest_verify(&s, 0, slot_pages(&s), 2);
	after = stats_read(&t);
	EXPECT_DELTA(before, after, PAGES_2M, 0);
	EXPECT_DELTA(before, after, PAGES_4K, slot_pages(&s));
	slot_delete(&s);

	/* What those wrote is what the file has, all of it mapped by large pages. */
	slot_add_gmem(&t, &s, TEST_SLOT, TEST_GPA, GMEM_SIZE, hva, fd, 0);
	slot_set_private(&s, 0, slot_pages(&s), true);
	guest_verify(&s, 1, slot_pages(&s) - 2, 2);
	after = stats_read(&t);
	EXPECT_DELTA(before, after, PAGES_2M, 2);
	slot_delete(&s);

	/* Nor are these blocks any for a slot whose offset is not that of the guest. */
	slot_add_gmem(&t, &s, TEST_SLOT, TEST_GPA, SZ_2M, hva, fd, SZ_4K);
	before = stats_read(&t);
	guest_write(&s, 0, PAGES_PER_2M, 3);
	guest_verify(&s, 0, PAGES_PER_2M, 3);
	after = stats_read(&t);
	EXPECT_DELTA(before, after, PAGES_2M, 0);
	slot_delete(&s);
	slot_add_gmem(&t, &s, TEST_SLOT, TEST_GPA, GMEM_SIZE, hva, fd, 0);
	guest_verify(&s, PAGES_PER_2M + 1, PAGES_PER_2M - 2, 2);
}

/* What is left of a file behind its last 2M is no block. */
static void test_odd_size(void)
{
	struct stats before, after;
	struct gmem_vm g;

	gmem_vm_new(&g, 1, SZ_2M + 3 * SZ_4K, alloc_4k(SZ_4M));
	before = stats_read(&g.t);
	guest_do(&g.s, OP_VERIFY_ZERO, 0, slot_pages(&g.s), 0);
	after = stats_read(&g.t);
	EXPECT_DELTA(before, after, GMEM_BLOCKS, 1);
	EXPECT_DELTA(before, after, GMEM_FALLBACKS, 0);
	EXPECT_DELTA(before, after, PAGES_2M, 1);
	EXPECT_DELTA(before, after, PAGES_4K, 3);
}

/*
 * Memory that another VM has written to is zero in this one, whole blocks and single
 * pages.  The kernel must not have been told to zero what it allocates.
 */
static void test_no_stale_data(void)
{
	char *hva = alloc_4k(STALE_SIZE);
	struct gmem_vm g;
	u64 i;

	gmem_vm_new(&g, 1, STALE_SIZE, hva);
	guest_write(&g.s, 0, slot_pages(&g.s), 1);
	close(g.fd);
	kvm_vm_free(g.t.vm);

	gmem_vm_new(&g, 1, STALE_SIZE, hva);
	for (i = 0; i < slot_pages(&g.s); i += 2 * PAGES_PER_2M)
		slot_set_private(&g.s, i + 5, 1, false);
	for (i = 0; i < slot_pages(&g.s); i += 2 * PAGES_PER_2M) {
		guest_do(&g.s, OP_VERIFY_ZERO, i, 5, 0);
		guest_do(&g.s, OP_VERIFY_ZERO, i + 6, 2 * PAGES_PER_2M - 6, 0);
	}
}

/* Two slots that share a block: neither may map what is the other's. */
static void test_two_slots(void)
{
	char *hva = alloc_4k(SZ_2M);
	struct stats before, after;
	struct slot low, high;
	struct test_vm t;
	int fd;

	vm_new_protected(&t, 1);
	fd = vm_create_guest_memfd(t.vm, SZ_2M, 0);
	slot_add_gmem(&t, &low, TEST_SLOT, TEST_GPA, SZ_1M, hva, fd, 0);
	slot_add_gmem(&t, &high, TEST_SLOT + 1, TEST_GPA + SZ_4M + SZ_1M, SZ_1M, hva + SZ_1M,
		      fd, SZ_1M);
	slot_set_private(&low, 0, slot_pages(&low), true);
	slot_set_private(&high, 0, slot_pages(&high), true);
	before = stats_read(&t);
	guest_write(&low, 0, slot_pages(&low), 1);
	guest_write(&high, 0, slot_pages(&high), 2);
	guest_verify(&low, 0, slot_pages(&low), 1);
	guest_verify(&high, 0, slot_pages(&high), 2);
	after = stats_read(&t);
	EXPECT_DELTA(before, after, PAGES_2M, 0);
	EXPECT_DELTA(before, after, GMEM_BLOCKS, 1);
}

/* What was touched while the 2M was mixed is not cleared when all of it is private. */
static void test_prepared_singly(void)
{
	struct stats before, after;
	struct gmem_vm g;

	gmem_vm_new(&g, 1, GMEM_SIZE, alloc_4k(GMEM_SIZE));
	before = stats_read(&g.t);
	slot_set_private(&g.s, 7, 1, false);
	guest_write(&g.s, 0, 7, 1);
	guest_write(&g.s, PAGES_PER_2M - 1, 1, 1);
	after = stats_read(&g.t);
	EXPECT_DELTA(before, after, GMEM_BLOCKS, 1);
	EXPECT_DELTA(before, after, PAGES_4K, 8);

	slot_set_private(&g.s, 7, 1, true);
	guest_do(&g.s, OP_VERIFY_ZERO, 7, PAGES_PER_2M - 8, 0);
	guest_verify(&g.s, 0, 7, 1);
	guest_verify(&g.s, PAGES_PER_2M - 1, 1, 1);
	wait_pages_2m(&g.t, before.val[PAGES_2M] + 1);
	guest_verify(&g.s, 0, 7, 1);
	guest_verify(&g.s, PAGES_PER_2M - 1, 1, 1);
}

/*
 * A block that the limit has no room for is not worth that anything is killed: there are
 * single pages, and those of the block that were charged are not any more.
 */
static void test_memcg_limit(void)
{
	struct stats before, after;
	struct gmem_vm g;
	int fd;

	gmem_vm_new(&g, 1, 2 * GMEM_SIZE, alloc_4k(2 * GMEM_SIZE));
	fd = vm_create_guest_memfd(g.t.vm, GMEM_SIZE, GUEST_MEMFD_FLAG_LPAGE);
	guest_write(&g.s, PAGES_PER_2M, 1, 1);
	cgroup_enter();
	before = stats_read(&g.t);

	/* Of three blocks, 64 pages each: the room for what is left of others is not there. */
	param_set(CGROUP "/memory.max", "1536K");
	guest_write(&g.s, 0, 64, 1);
	guest_write(&g.s, 2 * PAGES_PER_2M, 64, 1);
	guest_write(&g.s, 3 * PAGES_PER_2M, 64, 1);
	after = stats_read(&g.t);
	EXPECT_DELTA(before, after, GMEM_BLOCKS, 0);
	EXPECT_DELTA(before, after, GMEM_FALLBACKS, 3);
	EXPECT_DELTA(before, after, PAGES_4K, 3 * 64);

	/* Who asks for blocks is told. */
	TEST_ASSERT(gmem_alloc(fd, 0, SZ_4K) == ENOMEM, "There is a block beyond the limit");
	TEST_ASSERT(gmem_alloc(g.fd, 64 * SZ_4K, SZ_4K) == 0, "There is no page");

	param_set(CGROUP "/memory.max", "max");
	TEST_ASSERT(!gmem_alloc(fd, 0, SZ_4K), "There is no block without a limit");
	guest_verify(&g.s, 0, 64, 1);
	guest_verify(&g.s, 2 * PAGES_PER_2M, 64, 1);
	guest_verify(&g.s, 3 * PAGES_PER_2M, 64, 1);
	close(fd);
	cgroup_leave();
}

#define TRACE_DIR	"/sys/kernel/tracing/instances/lpage_gmem"

/* The physical address of the first block that @g's vCPU touches. */
static u64 touch_and_find(struct gmem_vm *g)
{
	unsigned long long ino, index, pfn = 0;
	char line[256], *event;
	FILE *trace;

	rmdir(TRACE_DIR);
	if (mkdir(TRACE_DIR, 0700))
		skip("needs tracefs at /sys/kernel/tracing");
	param_set(TRACE_DIR "/events/kvm/kvm_gmem_block/enable", "1");
	guest_write(&g->s, 0, slot_pages(&g->s), 1);

	trace = fopen(TRACE_DIR "/trace", "r");
	TEST_ASSERT(trace, "Cannot open the trace");
	while (!pfn && fgets(line, sizeof(line), trace)) {
		event = strstr(line, "kvm_gmem_block: ");
		if (event)
			TEST_ASSERT(sscanf(event, "kvm_gmem_block: ino %llu index %llx pfn %llx",
					   &ino, &index, &pfn) == 3 && !index,
				    "Event is: %s", event);
	}
	fclose(trace);
	rmdir(TRACE_DIR);
	TEST_ASSERT(pfn && !(pfn % PAGES_PER_2M), "The block is at PFN 0x%llx", pfn);
	return pfn * SZ_4K;
}

/* One page of a block goes bad: it is lost, and no other. */
static void test_memory_failure(void)
{
	struct stats before, after;
	struct gmem_vm g;
	char address[32];

	gmem_vm_new(&g, 1, GMEM_SIZE, alloc_4k(GMEM_SIZE));
	snprintf(address, sizeof(address), "0x%lx", touch_and_find(&g) + 9 * SZ_4K);
	before = stats_read(&g.t);
	if (access(HARD_OFFLINE, W_OK))
		skip("needs " HARD_OFFLINE);
	/* The page stays in the file, which the kernel calls busy. */
	TEST_ASSERT(file_write(HARD_OFFLINE, address) == EBUSY, "%s is not poisoned", address);
	after = stats_read(&g.t);
	EXPECT_DELTA(before, after, PAGES_2M, -1);

	guest_verify(&g.s, 0, 9, 1);
	guest_verify(&g.s, 10, slot_pages(&g.s) - 10, 1);
	after = stats_read(&g.t);
	EXPECT_DELTA(before, after, PAGES_2M, -1);
	EXPECT_DELTA(before, after, PAGES_4K, PAGES_PER_2M - 1);

	op_set(&g.t, 0, OP_VERIFY, g.s.gpa + 9 * SZ_4K, 1, SZ_4K, 1);
	TEST_ASSERT(__vcpu_run(g.t.vcpu[0]) && errno == EHWPOISON,
		    "The guest has read a page that is lost");
}

/* Conversions */

/*
 * Shared and private memory of one slot, both large: one page of the first 2M is
 * converted, and back.
 */
static void convert_page(struct gmem_vm *g, bool to_private)
{
	u64 page = 7, faults, nr = slot_pages(&g->s);
	struct stats before, after;

	/* Private memory has generation 1, shared 2. */
	slot_set_private(&g->s, 0, nr, true);
	guest_write(&g->s, 0, nr, 1);
	slot_set_private(&g->s, 0, nr, false);
	guest_write(&g->s, 0, nr, 2);
	host_verify(&g->s, 0, nr, 2);
	if (!to_private) {
		slot_set_private(&g->s, 0, nr, true);
		guest_verify(&g->s, 0, nr, 1);
	}

	before = stats_read(&g->t);
	faults = faults_taken(&g->t);
	slot_set_private(&g->s, page, 1, to_private);
	after = stats_read(&g->t);
	EXPECT_DELTA(before, after, SPLIT_2M, 1);
	EXPECT_DELTA(before, after, CONVERT_SPLITS, 1);
	EXPECT_DELTA(before, after, PAGES_2M, -1);
	EXPECT_DELTA(before, after, PAGES_4K, PAGES_PER_2M - 1);

	/* The neighbours take no fault, the page itself one. */
	guest_verify(&g->s, 0, page, to_private ? 2 : 1);
	guest_verify(&g->s, page + 1, nr - page - 1, to_private ? 2 : 1);
	EXPECT_FAULTS(&g->t, faults, 0);
	guest_verify(&g->s, page, 1, to_private ? 1 : 2);
	EXPECT_FAULTS(&g->t, faults, 1);

	/* What is written now is not lost when it is large again. */
	guest_write(&g->s, page + 1, 1, 3);
	slot_set_private(&g->s, page, 1, !to_private);
	wait_pages_2m(&g->t, before.val[PAGES_2M]);
	after = stats_read(&g->t);
	EXPECT_DELTA(before, after, CONVERT_SPLITS, 1);
	EXPECT_DELTA(before, after, PROMOTED_2M, 1);
	EXPECT_DELTA(before, after, PAGES_4K, 0);
	guest_verify(&g->s, 0, page + 1, to_private ? 2 : 1);
	guest_verify(&g->s, page + 1, 1, 3);
	guest_verify(&g->s, page + 2, nr - page - 2, to_private ? 2 : 1);
	EXPECT_FAULTS(&g->t, faults, 1);
}

static void test_convert_private_page(void)
{
	struct gmem_vm g;

	gmem_vm_new(&g, 1, GMEM_SIZE, alloc_hugetlb(GMEM_SIZE, SZ_2M));
	convert_page(&g, false);
}

static void test_convert_hugetlb_page(void)
{
	struct gmem_vm g;

	gmem_vm_new(&g, 1, GMEM_SIZE, alloc_hugetlb(GMEM_SIZE, SZ_2M));
	convert_page(&g, true);
}

static void test_convert_thp_page(void)
{
	struct gmem_vm g;

	gmem_vm_new(&g, 1, GMEM_SIZE, alloc_thp(GMEM_SIZE));
	convert_page(&g, true);
}

/* A shared 1G page is split to 2M, and only one of those further. */
static void test_convert_1g(void)
{
	struct stats before, after;
	struct test_vm t;
	struct slot s;
	u64 faults;
	int fd;

	vm_new_protected(&t, 1);
	fd = vm_create_guest_memfd(t.vm, SZ_1G, 0);
	slot_add_gmem(&t, &s, TEST_SLOT, TEST_GPA, SZ_1G, alloc_hugetlb(SZ_1G, SZ_1G), fd, 0);
	guest_write(&s, 0, 1, 1);
	before = stats_read(&t);
	TEST_ASSERT(before.val[PAGES_1G] == 1, "There is no 1G page");

	/* 2M of it, which need no 4K pages. */
	slot_set_private(&s, 0, PAGES_PER_2M, true);
	after = stats_read(&t);
	EXPECT_DELTA(before, after, SPLIT_1G, 1);
	EXPECT_DELTA(before, after, SPLIT_2M, 0);
	EXPECT_DELTA(before, after, PAGES_1G, -1);
	EXPECT_DELTA(before, after, PAGES_2M, 511);
	faults = faults_taken(&t);
	guest_write(&s, PAGES_PER_2M, slot_pages(&s) - PAGES_PER_2M, 2);
	EXPECT_FAULTS(&t, faults, 0);

	/* From the middle of one 2M to that of the next. */
	slot_set_private(&s, 3 * PAGES_PER_2M - 3, 5, true);
	after = stats_read(&t);
	EXPECT_DELTA(before, after, SPLIT_2M, 2);
	guest_verify(&s, PAGES_PER_2M, 2 * PAGES_PER_2M - 3, 2);
	guest_verify(&s, 3 * PAGES_PER_2M + 2, slot_pages(&s) - 3 * PAGES_PER_2M - 2, 2);
	EXPECT_FAULTS(&t, faults, 0);

	slot_set_private(&s, 0, slot_pages(&s), false);
	guest_verify(&s, PAGES_PER_2M, slot_pages(&s) - PAGES_PER_2M, 2);
}

/* When the last odd 4K page of 1G is gone, 2M is put back, and the 1G with it. */
static void test_convert_1g_back(void)
{
	struct stats before, after;
	struct test_vm t;
	struct slot s;
	u64 faults;
	int fd;

	vm_new_protected(&t, 1);
	fd = vm_create_guest_memfd(t.vm, SZ_1G, 0);
	slot_add_gmem(&t, &s, TEST_SLOT, TEST_GPA, SZ_1G, alloc_hugetlb(SZ_1G, SZ_1G), fd, 0);
	guest_write(&s, 0, 1, 1);
	before = stats_read(&t);
	slot_set_private(&s, 7, 1, true);
	slot_set_private(&s, 7, 1, false);
	wait_stat(&t, "lpage_promoted_1g", 1);
	after = stats_read(&t);
	EXPECT_DELTA(before, after, PROMOTED_2M, 1);
	EXPECT_DELTA(before, after, PAGES_1G, 0);
	faults = faults_taken(&t);
	guest_verify(&s, 0, 1, 1);
	EXPECT_FAULTS(&t, faults, 0);
}

/* With lpage_split off it is as without us: the neighbours go too. */
static void test_split_off(void)
{
	struct stats before, after;
	struct gmem_vm g;
	u64 faults;

	param_set(SPLIT_PARAM, "N");
	gmem_vm_new(&g, 1, GMEM_SIZE, alloc_4k(GMEM_SIZE));
	guest_write(&g.s, 0, slot_pages(&g.s), 1);
	before = stats_read(&g.t);
	faults = faults_taken(&g.t);
	slot_set_private(&g.s, 7, 1, false);
	after = stats_read(&g.t);
	EXPECT_DELTA(before, after, SPLIT_2M, 0);
	guest_verify(&g.s, 0, 7, 1);
	guest_verify(&g.s, 8, slot_pages(&g.s) - 8, 1);
	EXPECT_FAULTS(&g.t, faults, PAGES_PER_2M - 1);
}

static void test_background_off(void)
{
	struct stats before, after;
	struct gmem_vm g;

	param_set(BACKGROUND_PARAM, "N");
	gmem_vm_new(&g, 1, GMEM_SIZE, alloc_4k(GMEM_SIZE));
	guest_write(&g.s, 0, slot_pages(&g.s), 1);
	before = stats_read(&g.t);
	slot_set_private(&g.s, 7, 1, false);
	slot_set_private(&g.s, 7, 1, true);
	usleep(750 * 1000);
	after = stats_read(&g.t);
	EXPECT_DELTA(before, after, PROMOTED_2M, 0);
	EXPECT_DELTA(before, after, PAGES_2M, -1);
	guest_verify(&g.s, 0, slot_pages(&g.s), 1);
}

/* One page of the first 2M is shared, and private again at once. */
static void convert_there_and_back(struct gmem_vm *g)
{
	slot_set_private(&g->s, 7, 1, false);
	slot_set_private(&g->s, 7, 1, true);
}

/* New memory for all of the first 2M is one fault again. */
static void expect_one_fault(struct gmem_vm *g)
{
	u64 faults = faults_taken(&g->t);

	gmem_punch(g->fd, 0, SZ_2M);
	guest_do(&g->s, OP_VERIFY_ZERO, 0, PAGES_PER_2M, 0);
	EXPECT_FAULTS(&g->t, faults, 1);
}

/* Before it is put back a fault maps 4K there, and then what the memory allows. */
static void test_waits(void)
{
	struct stats before, after;
	struct gmem_vm g;

	gmem_vm_new(&g, 1, GMEM_SIZE, alloc_4k(GMEM_SIZE));
	guest_write(&g.s, 0, slot_pages(&g.s), 1);
	before = stats_read(&g.t);
	convert_there_and_back(&g);
	guest_verify(&g.s, 7, 1, 1);
	wait_pages_2m(&g.t, before.val[PAGES_2M]);
	after = stats_read(&g.t);
	EXPECT_DELTA(before, after, PROMOTED_2M, 1);
	expect_one_fault(&g);
}

/* All of 2M that waits is converted: there is nothing to wait for any more. */
static void test_waits_no_more(void)
{
	struct stats before, after;
	struct gmem_vm g;

	gmem_vm_new(&g, 1, GMEM_SIZE, alloc_4k(GMEM_SIZE));
	guest_write(&g.s, 0, slot_pages(&g.s), 1);
	convert_there_and_back(&g);
	slot_set_private(&g.s, 0, PAGES_PER_2M, false);
	slot_set_private(&g.s, 0, PAGES_PER_2M, true);
	expect_one_fault(&g);

	/* But not where only its neighbour is. */
	before = stats_read(&g.t);
	slot_set_private(&g.s, PAGES_PER_2M + 7, 1, false);
	slot_set_private(&g.s, PAGES_PER_2M + 7, 1, true);
	slot_set_private(&g.s, 0, PAGES_PER_2M, false);
	wait_pages_2m(&g.t, before.val[PAGES_2M] - 1);
	after = stats_read(&g.t);
	EXPECT_DELTA(before, after, PROMOTED_2M, 1);
}

/* A range that has a part of each 2M: both are split, and both come back. */
static void test_convert_border(void)
{
	struct stats before, after;
	struct gmem_vm g;

	gmem_vm_new(&g, 1, GMEM_SIZE, alloc_4k(GMEM_SIZE));
	guest_write(&g.s, 0, slot_pages(&g.s), 1);
	before = stats_read(&g.t);
	slot_set_private(&g.s, PAGES_PER_2M - 3, 5, false);
	after = stats_read(&g.t);
	EXPECT_DELTA(before, after, SPLIT_2M, 2);
	slot_set_private(&g.s, PAGES_PER_2M - 3, 5, true);
	wait_stat(&g.t, "lpage_promoted_2m", 2);
	guest_verify(&g.s, 0, slot_pages(&g.s), 1);
}

/* The background is turned off while 2M waits: faults have large pages again. */
static void test_waits_for_nobody(void)
{
	struct gmem_vm g;
	s64 end;

	gmem_vm_new(&g, 1, GMEM_SIZE, alloc_4k(GMEM_SIZE));
	guest_write(&g.s, 0, slot_pages(&g.s), 1);
	convert_there_and_back(&g);
	param_set(BACKGROUND_PARAM, "N");
	end = lpage_now_ms() + BACK_MS;
	do {
		TEST_ASSERT(lpage_now_ms() < end, "There are still no large pages");
		gmem_punch(g.fd, 0, SZ_2M);
		guest_do(&g.s, OP_VERIFY_ZERO, 0, 1, 0);
	} while (lpage_vm_stat(g.t.vm, "pages_2m") < GMEM_SIZE / SZ_2M);
}

/* A hole was punched meanwhile: there is no block to map any more. */
static void test_punched_stays_small(void)
{
	struct stats before, after;
	struct gmem_vm g;

	gmem_vm_new(&g, 1, GMEM_SIZE, alloc_4k(GMEM_SIZE));
	guest_write(&g.s, 0, slot_pages(&g.s), 1);
	before = stats_read(&g.t);
	slot_set_private(&g.s, 7, 1, false);
	gmem_punch(g.fd, 7 * SZ_4K, SZ_4K);
	slot_set_private(&g.s, 7, 1, true);
	do {
		after = stats_read(&g.t);
	} while (after.val[SKIP_LEVEL] == before.val[SKIP_LEVEL]);
	EXPECT_DELTA(before, after, PROMOTED_2M, 0);
	guest_do(&g.s, OP_VERIFY_ZERO, 7, 1, 0);
	guest_verify(&g.s, 0, 7, 1);
	guest_verify(&g.s, 8, slot_pages(&g.s) - 8, 1);
	after = stats_read(&g.t);
	EXPECT_DELTA(before, after, PAGES_2M, -1);
}

/* A page that nobody has touched since the block was made is not mapped by it. */
static void test_unprepared_stays_small(void)
{
	struct stats before, after;
	struct gmem_vm g;

	gmem_vm_new(&g, 1, GMEM_SIZE, alloc_4k(GMEM_SIZE));
	slot_set_private(&g.s, 7, 1, false);
	guest_write(&g.s, 0, 7, 1);
	before = stats_read(&g.t);
	slot_set_private(&g.s, 7, 1, true);
	wait_stat(&g.t, "lpage_promote_skip_level", before.val[SKIP_LEVEL] + 1);
	after = stats_read(&g.t);
	EXPECT_DELTA(before, after, PAGES_2M, 0);
	guest_do(&g.s, OP_VERIFY_ZERO, 7, PAGES_PER_2M - 7, 0);
	guest_verify(&g.s, 0, 7, 1);
}

#define FLAP_MS		12000

/*
 * A page that flips back and forth.  Each time it was put back in vain the delay
 * doubles, so that in a time that has room for many there are few.
 */
static void test_flapping(void)
{
	u64 flips = 0, promoted;
	struct gmem_vm g;
	s64 end;

	gmem_vm_new(&g, 1, GMEM_SIZE, alloc_4k(GMEM_SIZE));
	guest_write(&g.s, 0, slot_pages(&g.s), 1);
	end = lpage_now_ms() + FLAP_MS;
	while (lpage_now_ms() < end) {
		slot_set_private(&g.s, 7, 1, false);
		guest_verify(&g.s, 6, 1, 1);
		slot_set_private(&g.s, 7, 1, true);
		guest_verify(&g.s, 6, 3, 1);
		flips++;
		usleep(400 * 1000);
	}
	promoted = lpage_vm_stat(g.t.vm, "lpage_promoted_2m");
	ksft_print_msg("%lu flips, %lu promotions\n", flips, promoted);
	TEST_ASSERT(promoted >= 1 && promoted <= flips / 3 + 1,
		    "%lu promotions for %lu flips", promoted, flips);
}

/* Random operations, against a model of what each page has */

#define RANDOM_SIZE	(8 * SZ_2M)
#define RANDOM_PAGES	(RANDOM_SIZE / SZ_4K)
#define RANDOM_OPS	600
#define RANDOM_REST	100
#define RANDOM_REST_MS	400

struct model {
	struct gmem_vm g;
	bool private[RANDOM_PAGES];
	/* Shared and private; no pattern but zero, if 0. */
	u64 gen[2][RANDOM_PAGES];
	u64 state;
	u64 last_gen;
};

static u64 random_below(struct model *m, u64 n)
{
	m->state = m->state * 6364136223846793005ull + 1442695040888963407ull;
	return (m->state >> 33) % n;
}

/* Single pages, a few, some that are aligned, and large ranges that are not. */
static u64 random_range(struct model *m, u64 *nr)
{
	static const u64 sizes[] = { 1, 1, 1, 7, 64, PAGES_PER_2M, 3 * PAGES_PER_2M };
	u64 first = random_below(m, RANDOM_PAGES);

	*nr = sizes[random_below(m, ARRAY_SIZE(sizes))];
	if (random_below(m, 2))
		first -= first % *nr;
	*nr = min(*nr, RANDOM_PAGES - first);
	return first;
}

/* Pages from @first on that are to have the same, and what that is. */
static u64 model_run(struct model *m, u64 first, u64 end, u64 *gen)
{
	u64 i;

	*gen = m->gen[m->private[first]][first];
	for (i = first + 1; i < end; i++)
		if (m->gen[m->private[i]][i] != *gen)
			break;
	return i - first;
}

static void random_verify(struct model *m, u64 first, u64 end)
{
	u64 nr, gen;

	for (; first < end; first += nr) {
		nr = model_run(m, first, end, &gen);
		guest_do(&m->g.s, gen ? OP_VERIFY : OP_VERIFY_ZERO, first, nr, gen);
	}
}

static void random_write(struct model *m, u64 first, u64 end)
{
	guest_write(&m->g.s, first, end - first, ++m->last_gen);
	for (; first < end; first++)
		m->gen[m->private[first]][first] = m->last_gen;
}

static void random_convert(struct model *m, u64 first, u64 end)
{
	bool private = random_below(m, 2);

	slot_set_private(&m->g.s, first, end - first, private);
	for (; first < end; first++)
		m->private[first] = private;
}

static void random_punch(struct model *m, u64 first, u64 end)
{
	gmem_punch(m->g.fd, first * SZ_4K, (end - first) * SZ_4K);
	for (; first < end; first++)
		m->gen[1][first] = 0;
}

static void random_op(struct model *m)
{
	u64 nr, first = random_range(m, &nr), end = first + nr;

	switch (random_below(m, 15)) {
	case 0 ... 6:
		random_convert(m, first, end);
		break;
	case 7 ... 10:
		random_write(m, first, end);
		break;
	case 11 ... 13:
		random_verify(m, first, end);
		break;
	default:
		random_punch(m, first, end);
	}
}

static void random_run(u64 seed, char *hva)
{
	struct model *m = calloc(1, sizeof(*m));
	s64 begin = lpage_now_ms();
	struct stats stats;
	u64 i;

	m->state = seed;
	gmem_vm_new(&m->g, 1, RANDOM_SIZE, hva);
	memset(m->private, true, sizeof(m->private));
	for (i = 0; i < RANDOM_OPS; i++) {
		random_op(m);
		/* Now and then the background has the time to do something. */
		if (i % RANDOM_REST == RANDOM_REST - 1)
			usleep(RANDOM_REST_MS * 1000);
	}
	random_verify(m, 0, RANDOM_PAGES);
	stats = stats_read(&m->g.t);
	ksft_print_msg("seed %lu: %lu faults, %lu blocks, %lu splits, %lu promotions in %ld ms\n",
		       seed, faults_taken(&m->g.t), stats.val[GMEM_BLOCKS], stats.val[SPLIT_2M],
		       stats.val[PROMOTED_2M], lpage_now_ms() - begin);
	close(m->g.fd);
	kvm_vm_free(m->g.t.vm);
	free(m);
	TEST_ASSERT(!munmap(hva, RANDOM_SIZE), "munmap() failed");
}

/*
 * Pages that the host may have more in use afterwards.  Without a leak these are six at
 * most, stock or ours; but each thread that the kernel starts has four for its stack.
 */
#define IN_USE_SLACK	32

static void expect_pages_back(u64 before)
{
	s64 end = lpage_now_ms() + LPAGE_GONE_MS;
	u64 now;

	while ((now = lpage_pages_in_use()) > before + IN_USE_SLACK) {
		TEST_ASSERT(lpage_now_ms() < end, "%lu pages in use, %lu before", now, before);
		usleep(10000);
	}
	ksft_print_msg("%+ld pages in use\n", (s64)(now - before));
}

static void test_random(void)
{
	u64 kb = unevictable_kb(), pages, seed;
	struct charge before;

	cgroup_enter();
	before = charge_read();
	random_run(1, alloc_thp(RANDOM_SIZE));
	/* The first one brings in what the test itself has of memory. */
	pages = lpage_pages_in_use();
	for (seed = 2; seed <= 4; seed++)
		random_run(seed, alloc_thp(RANDOM_SIZE));
	/* And one that nobody has seen before. */
	random_run(lpage_now_ms() * 2654435761u % BIT(32), alloc_4k(RANDOM_SIZE));
	expect_pages_back(pages);
	wait_unevictable(kb + 256);
	charge_expect_gone(&before);
	cgroup_leave();
}

/* Races */

#define RACE_SIZE	(32 * SZ_2M)
#define KILL_ROUNDS	12

struct racer {
	pthread_t thread;
	struct gmem_vm *g;
	int vcpu;
};

static void *vcpu_thread(void *arg)
{
	struct racer *r = arg;
	struct kvm_vcpu *vcpu = r->g->t.vcpu[r->vcpu];

	/* Private memory of a slot that is gone for now: try again. */
	while (__vcpu_run(vcpu)) {
		TEST_ASSERT(errno == EFAULT &&
			    vcpu->run->exit_reason == KVM_EXIT_MEMORY_FAULT, "KVM_RUN failed");
		give_way();
	}
	TEST_ASSERT(op_done(vcpu), "Unexpected exit: %s",
		    exit_reason_str(vcpu->run->exit_reason));
	return NULL;
}

/* vCPUs count up the even pages, and find in each what they left there. */
static void racers_start(struct racer *racers, struct gmem_vm *g)
{
	u64 nr = g->t.nr_vcpus;
	int i;

	for (i = 0; i < nr; i++) {
		op_set(&g->t, i, OP_HAMMER, g->s.gpa + 2 * i * SZ_4K,
		       slot_pages(&g->s) / (2 * nr), 2 * nr * SZ_4K, 0);
		racers[i] = (struct racer) { .g = g, .vcpu = i };
		thread_start(&racers[i].thread, vcpu_thread, &racers[i]);
	}
}

static void racers_stop(struct racer *racers, struct gmem_vm *g)
{
	int i;

	for (i = 0; i < g->t.nr_vcpus; i++)
		WRITE_ONCE(g->t.ops[i].stop, 1);
	for (i = 0; i < g->t.nr_vcpus; i++)
		pthread_join(racers[i].thread, NULL);
}

/* Odd pages become shared and private again, one by one and some at a time. */
static void test_convert_race(void)
{
	struct racer racers[NR_VCPUS];
	struct gmem_vm g;
	u64 page, nr;
	int i;

	gmem_vm_new(&g, NR_VCPUS, RACE_SIZE, alloc_4k(RACE_SIZE));
	nr = slot_pages(&g.s);
	racers_start(racers, &g);
	hammer_wait(&g.t, nr / 8);
	for (i = 0; i < 10 * RACE_ROUNDS; i++) {
		page = (i * 9973ul % (nr / 2)) * 2 + 1;
		slot_set_private(&g.s, page, 1, false);
		if (i % 4 == 3)
			hammer_wait(&g.t, 16);
		slot_set_private(&g.s, page, 1, true);
	}
	racers_stop(racers, &g);
	wait_pages_2m(&g.t, RACE_SIZE / SZ_2M);
}

/*
 * A hole in each block while vCPUs write to its other pages: none of them may map the
 * block as if it was whole still.
 */
static void test_punch_race(void)
{
	struct racer racers[NR_VCPUS];
	struct gmem_vm g;
	u64 i;

	gmem_vm_new(&g, NR_VCPUS, RACE_SIZE, alloc_4k(RACE_SIZE));
	guest_do(&g.s, OP_VERIFY_ZERO, 0, slot_pages(&g.s), 0);
	TEST_ASSERT(lpage_vm_stat(g.t.vm, "pages_2m") == RACE_SIZE / SZ_2M,
		    "The memory is not mapped by large pages");
	racers_start(racers, &g);
	for (i = 0; i < RACE_SIZE / SZ_2M; i++) {
		hammer_wait(&g.t, 64);
		gmem_punch(g.fd, i * SZ_2M + SZ_4K, SZ_4K);
	}
	racers_stop(racers, &g);
	TEST_ASSERT(!lpage_vm_stat(g.t.vm, "pages_2m"), "A block with a hole is mapped whole");
	for (i = 0; i < RACE_SIZE / SZ_2M; i++)
		guest_do(&g.s, OP_VERIFY_ZERO, i * PAGES_PER_2M + 1, 1, 0);
}

/*
 * The slot goes and comes back, at times with the file's pages elsewhere in the guest,
 * where they are no large pages: what vCPUs wrote stays in the file.
 */
static void test_rebind_race(void)
{
	struct racer racers[NR_VCPUS];
	struct gmem_vm g;
	u64 i;

	gmem_vm_new(&g, NR_VCPUS, RACE_SIZE, alloc_4k(RACE_SIZE));
	racers_start(racers, &g);
	for (i = 0; i < RACE_ROUNDS; i++) {
		hammer_wait(&g.t, 64);
		slot_delete(&g.s);
		if (i % 4 == 3) {
			slot_add_gmem(&g.t, &g.s, TEST_SLOT, TEST_GPA + SZ_1G, SZ_4M, g.s.hva,
				      g.fd, SZ_4K);
			slot_delete(&g.s);
		}
		slot_add_gmem(&g.t, &g.s, TEST_SLOT, TEST_GPA, RACE_SIZE, g.s.hva, g.fd, 0);
		slot_set_private(&g.s, 2 * i + 1, 1, i & 1);
	}
	racers_stop(racers, &g);
}

/* A process that converts, punches and faults in its memory until it is killed. */
static void __noreturn convert_until_killed(int fd)
{
	struct racer racers[NR_VCPUS];
	struct gmem_vm g;
	u64 i;

	gmem_vm_new(&g, NR_VCPUS, RACE_SIZE, alloc_4k(RACE_SIZE));
	racers_start(racers, &g);
	hammer_wait(&g.t, 64);
	TEST_ASSERT(write(fd, "", 1) == 1, "write() failed");
	for (i = 0;; i++) {
		slot_set_private(&g.s, i * 9973 % slot_pages(&g.s) | 1, 1, i & 1);
		if (i % 8 == 7)
			gmem_punch(g.fd, (i * 7919 % slot_pages(&g.s) | 1) * SZ_4K, SZ_4K);
	}
}

static void test_kill_race(void)
{
	u64 unevictable = unevictable_kb(), tables = lpage_sec_page_tables_kb();
	int i, fds[2];
	pid_t pid;
	char c;

	for (i = 0; i < KILL_ROUNDS; i++) {
		TEST_ASSERT(!pipe(fds), "pipe() failed");
		pid = fork();
		TEST_ASSERT(pid >= 0, "fork() failed");
		if (!pid)
			convert_until_killed(fds[1]);
		close(fds[1]);
		TEST_ASSERT(read(fds[0], &c, 1) == 1, "The child has ended");
		close(fds[0]);
		/* Another point in each round, and not an event to wait for. */
		usleep(i * 7001);
		kill(pid, SIGKILL);
		TEST_ASSERT(waitpid(pid, NULL, 0) == pid, "waitpid() failed");
		wait_unevictable(unevictable + 256);
		lpage_wait_sec_page_tables(tables);
	}
}

static const struct subtest subtests[] = {
	SUBTEST(one_fault),
	SUBTEST(never),
	SUBTEST(flags),
	SUBTEST(fallocate),
	SUBTEST(punch_page),
	SUBTEST(memory_returns),
	SUBTEST(accounting),
	SUBTEST(unaligned),
	SUBTEST(odd_size),
	SUBTEST(no_stale_data),
	SUBTEST(two_slots),
	SUBTEST(prepared_singly),
	SUBTEST(memcg_limit),
	SUBTEST(memory_failure),
	SUBTEST(convert_private_page),
	SUBTEST(convert_hugetlb_page),
	SUBTEST(convert_thp_page),
	SUBTEST(convert_border),
	SUBTEST(convert_1g),
	SUBTEST(convert_1g_back),
	SUBTEST(split_off),
	SUBTEST(background_off),
	SUBTEST(waits),
	SUBTEST(waits_no_more),
	SUBTEST(waits_for_nobody),
	SUBTEST(punched_stays_small),
	SUBTEST(unprepared_stays_small),
	SUBTEST(flapping),
	SUBTEST(random),
	SUBTEST(convert_race),
	SUBTEST(punch_race),
	SUBTEST(rebind_race),
	SUBTEST(kill_race),
};

static struct param params[] = {
	{ PROTECTED_PARAM, "Y" },
	{ GMEM_PARAM, "always" },
	{ BACKGROUND_PARAM, "Y" },
	{ SPLIT_PARAM, "Y" },
	{ NX_PARAM },
	{ },
};

static void check(void)
{
	/* Stock can do the random operations. */
	if (access(PROTECTED_PARAM, F_OK) && !have_protected_vms())
		ksft_exit_skip("needs KVM_X86_SW_PROTECTED_VM\n");
}

int main(int argc, char **argv)
{
	return run_subtests(argc, argv, subtests, ARRAY_SIZE(subtests), params, check);
}
