// SPDX-License-Identifier: GPL-2.0-only
/*
 * Promotion of large pages in place when dirty logging is turned off.
 *
 * Each subtest looks at the page size statistics right after the ioctl, before
 * any vCPU runs again, and then lets the guest read and write what it must
 * find unchanged.  Subtests run in children, one by one, so that a failing one
 * does not take the others along.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest.h"
#include "lpage_vm.h"

#define PARAM			"/sys/module/kvm/parameters/lpage_promote"

#define INSN_RET		0xc3

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
	lpage_wait_sec_page_tables(populated.sec_page_tables_kb);

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
	lpage_wait_sec_page_tables(populated.sec_page_tables_kb);

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
	lpage_wait_sec_page_tables(populated.sec_page_tables_kb);

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
	lpage_wait_sec_page_tables(populated.sec_page_tables_kb);

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
	lpage_wait_sec_page_tables(populated.sec_page_tables_kb);

	faults = faults_taken(&t);
	for (i = 0; i < 3; i++) {
		guest_verify(&s[i], 0, slot_pages(&s[i]), 2 + i);
		guest_write(&s[i], 0, slot_pages(&s[i]), 5);
		host_verify(&s[i], 0, slot_pages(&s[i]), 5);
	}
	EXPECT_FAULTS(&t, faults, 0);
}

static void test_smm(void)
{
	struct slot s, smm;
	struct stats populated, logged, off;
	struct test_vm t;
	u64 faults;

	if (!kvm_has_cap(KVM_CAP_X86_SMM))
		skip("needs KVM_CAP_X86_SMM");

	vm_new(&t, 1);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_4M, alloc_hugetlb(SZ_4M, SZ_2M));
	slot_add(&t, &smm, SMM_AS | TEST_SLOT, TEST_GPA, SZ_4M, alloc_hugetlb(SZ_4M, SZ_2M));
	smm_setup(&t);

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
	lpage_wait_sec_page_tables(populated.sec_page_tables_kb);

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
	struct stats populated, logged, off;
	u64 faults, half;
	unsigned long *log;
	struct test_vm t;
	struct slot s;

	vm_new_mode(&t, 1, LOG_INITIALLY_SET);
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
	lpage_wait_sec_page_tables(populated.sec_page_tables_kb);

	faults = faults_taken(&t);
	guest_verify(&s, 0, half / 2, 2);
	guest_verify(&s, half / 2, half - half / 2, 1);
	guest_verify(&s, half, half, 2);
	guest_write(&s, 0, 2 * half, 3);
	EXPECT_FAULTS(&t, faults, 0);
	host_verify(&s, 0, 2 * half, 3);
	free(log);
}

static void test_dirty_ring(void)
{
	struct stats populated, logged, off;
	unsigned long *log;
	struct test_vm t;
	u64 faults;
	struct slot s;

	vm_new_mode(&t, 1, LOG_RING);
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
	lpage_wait_sec_page_tables(populated.sec_page_tables_kb);

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
	lpage_wait_sec_page_tables(before.sec_page_tables_kb);
}

/* Slots and VMs that go away */

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

/* On a slot that is large enough for more than one hold of mmu_lock. */
static void test_vm_exit_race(void)
{
	vm_exit_race(6, SZ_256M, 1, SZ_256M / SZ_4K);
}

/* Host memory that changes while logging is turned on and off */

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

static void test_nested_guest(void)
{
	const u64 first = PAGES_PER_2M, nr = 3 * PAGES_PER_2M;
	struct stats logged, off;
	unsigned long *log;
	struct test_vm t;
	u64 faults;
	struct slot s;

	vm_new_nested(&t, TEST_GPA);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_hugetlb(SZ_8M, SZ_2M));
	log = log_alloc(&s);
	l1_build_npt(&s);

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

/* The bits of a leaf SPTE in NPT. */
#define NPT_LEAF_RW	(NPT_PRESENT | NPT_WRITABLE | NPT_ACCESSED | NPT_DIRTY | NPT_PAGE_SIZE)

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

/*
 * Off: stock's way.  Large pages come back one fault at a time or, since Linux 6.14,
 * in place.
 */
static void test_param_off(void)
{
	struct stats populated, logged, off;
	struct test_vm t;
	s64 nr_faults;
	struct slot s;
	u64 faults;

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
	nr_faults = populated.val[PAGES_2M] - off.val[PAGES_2M];
	TEST_ASSERT(!nr_faults || nr_faults == 4, "%ld of 4 large pages are gone", nr_faults);
	EXPECT_DELTA(populated, off, PAGES_4K, 0);
	EXPECT_DELTA(logged, off, PROMOTED_2M, 0);
	EXPECT_DELTA(logged, off, PROMOTE_FLUSHES, 0);
	EXPECT_SKIPS(logged, off, 0, 0, 0, 0);

	faults = faults_taken(&t);
	guest_verify(&s, 0, slot_pages(&s), 2);
	guest_write(&s, 0, slot_pages(&s), 3);
	EXPECT_FAULTS(&t, faults, nr_faults);
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

static const struct subtest subtests[] = {
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

static struct param params[] = {
	{ PARAM, "Y" },
	{ NX_PARAM },
	{ },
};

static void check(void)
{
	if (access(PARAM, F_OK))
		ksft_exit_skip("kvm.ko has no lpage_promote\n");
	if (!get_kvm_param_bool("tdp_mmu") || !get_kvm_param_bool("eager_page_split"))
		ksft_exit_skip("needs kvm.tdp_mmu and kvm.eager_page_split\n");
}

int main(int argc, char **argv)
{
	return run_subtests(argc, argv, subtests, ARRAY_SIZE(subtests), params, check);
}
