// SPDX-License-Identifier: GPL-2.0-only
/*
 * Eager splitting of large pages when dirty logging is turned on, and when the
 * log of pages that are still large is cleared.
 *
 * What must hold whatever the way: the guest finds its memory unchanged, the
 * dirty log has the pages that were written and no others, each write to a
 * protected page takes one fault and each other access none, and the page
 * tables take no more memory than they must.  Those subtests pass on stock KVM
 * as well.  The rest is about what this kvm.ko has in addition, and skips
 * without it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/kvm_lpage.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>

#include "kselftest.h"
#include "lpage_cgroup.h"
#include "lpage_vm.h"

#define INSN_RET		0xc3

/* What is to be prompt is no slower than this, even on a host that is emulated. */
#define PROMPT_MS		10000

/* The choice of pages in most rounds: one in eight. */
#define SOME			32

static u64 random_state = 1;

static u64 random_below(u64 n)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (random_state >> 33) % n;
}

/*
 * @nr_1g pages of 1G have become 512 of 2M each, and @nr_2m pages of 2M, those
 * included that came out of 1G pages, have become 512 of 4K each.
 */
static void expect_split(unsigned int line, const struct stats *before,
			 const struct stats *after, u64 nr_2m, u64 nr_1g)
{
	s64 table_kb = after->sec_page_tables_kb - before->sec_page_tables_kb;

	expect_delta(line, before, after, PAGES_1G, -(s64)nr_1g);
	expect_delta(line, before, after, PAGES_2M, 512 * nr_1g - nr_2m);
	expect_delta(line, before, after, PAGES_4K, 512 * nr_2m);
	test_assert(table_kb == 4 * (nr_1g + nr_2m), "minimum of page tables",
		    program_invocation_short_name, line,
		    "Page tables grew by %ld kB, want %ld kB", table_kb, 4 * (nr_1g + nr_2m));
}

/* That it was our code is seen in its counters. */
static void expect_counted(unsigned int line, const struct stats *before,
			   const struct stats *after, u64 nr_2m, u64 nr_1g, u64 nr_nomem)
{
	if (!have_lpage_split())
		return;
	expect_delta(line, before, after, SPLIT_2M, nr_2m);
	expect_delta(line, before, after, SPLIT_1G, nr_1g);
	expect_delta(line, before, after, SPLIT_NOMEM, nr_nomem);
}

#define EXPECT_SPLIT(before, after, nr_2m, nr_1g)				\
	do {									\
		expect_split(__LINE__, &(before), &(after), nr_2m, nr_1g);	\
		expect_counted(__LINE__, &(before), &(after), nr_2m, nr_1g, 0);	\
	} while (0)
#define EXPECT_COUNTED(before, after, nr_2m, nr_1g, nr_nomem)			\
	expect_counted(__LINE__, &(before), &(after), nr_2m, nr_1g, nr_nomem)

/* Rounds of writing and collecting */

/* Nothing but the slot's pages is seen to be different after reading. */
static void expect_unchanged(struct slot *s)
{
	u64 faults = faults_taken(s->t);

	guest_verify(s, 0, slot_pages(s), 1);
	EXPECT_FAULTS(s->t, faults, 0);
	host_verify(s, 0, slot_pages(s), 1);
}

/* Nothing of the slot is write-protected. */
static void expect_writable(struct slot *s)
{
	u64 faults = faults_taken(s->t);

	guest_write(s, 0, slot_pages(s), 1);
	EXPECT_FAULTS(s->t, faults, 0);
}

/*
 * One life of a slot: populate, log, read, write and collect, stop logging.
 * @nr_2m and @nr_1g are to be split, as for expect_split().
 */
static void cycle(struct slot *s, u64 nr_2m, u64 nr_1g)
{
	struct stats populated, logged, off;

	populate(s);
	populated = stats_read(s->t);

	slot_log(s, true);
	collect_first(s);
	logged = stats_read(s->t);
	EXPECT_SPLIT(populated, logged, nr_2m, nr_1g);
	EXPECT_DELTA(populated, logged, FLUSH_REQUESTS, 1);

	expect_unchanged(s);
	log_rounds(s, 1, 3, SOME, true);
	off = stats_read(s->t);
	/* Writing and collecting had no work of this kind left to do. */
	EXPECT_SPLIT(logged, off, 0, 0);

	slot_log(s, false);
	lpage_wait_sec_page_tables(populated.sec_page_tables_kb);
	verify_rounds(s, 1, 3, SOME);
	populate(s);
	off = stats_read(s->t);
	EXPECT_DELTA(populated, off, PAGES_4K, 0);
	EXPECT_DELTA(populated, off, PAGES_2M, 0);
	EXPECT_DELTA(populated, off, PAGES_1G, 0);
	expect_writable(s);
}

/* Kinds of host memory */

static void test_hugetlb_2m(void)
{
	struct test_vm t;
	struct slot s;

	vm_new(&t, NR_VCPUS);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_16M, alloc_hugetlb(SZ_16M, SZ_2M));
	cycle(&s, SZ_16M / SZ_2M, 0);
	cycle(&s, SZ_16M / SZ_2M, 0);
}

/* Some pages of each 2M, at other places each time. */
#define SPARSE_STRIDE		(31 * SZ_4K)

static void test_hugetlb_1g(void)
{
	struct test_vm t;
	struct slot s;

	vm_new(&t, NR_VCPUS);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_1G, alloc_hugetlb(SZ_1G, SZ_1G));
	s.stride = SPARSE_STRIDE;
	cycle(&s, SZ_1G / SZ_2M, 1);
}

static void test_thp(void)
{
	struct test_vm t;
	struct slot s;

	vm_new(&t, NR_VCPUS);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_16M, alloc_thp(SZ_16M));
	cycle(&s, SZ_16M / SZ_2M, 0);
}

static void test_4k(void)
{
	struct test_vm t;
	struct slot s;

	vm_new(&t, NR_VCPUS);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_4k(SZ_8M));
	cycle(&s, 0, 0);
}

/*
 * 2M of each: huge; small; small and in part unmapped; huge and unmapped; small
 * in the host but mapped for reading only.
 */
static void test_mixed(void)
{
	struct stats populated, logged;
	struct test_vm t;
	struct slot s;
	char *mem;
	u64 i;

	mem = reserve(10 * SZ_1M, SZ_2M);
	map_hugetlb(mem, SZ_2M, SZ_2M);
	map_4k(mem + SZ_2M, SZ_4M);
	map_hugetlb(mem + 3 * SZ_2M, SZ_2M, SZ_2M);
	map_4k(mem + 4 * SZ_2M, SZ_2M);

	vm_new(&t, NR_VCPUS);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, 10 * SZ_1M, mem);
	host_write(&s, 0, slot_pages(&s), 1);
	guest_write(&s, 0, 2 * PAGES_PER_2M, 1);
	for (i = 2 * PAGES_PER_2M; i < 3 * PAGES_PER_2M; i += 3)
		guest_write(&s, i, 1, 1);
	guest_verify(&s, 4 * PAGES_PER_2M, PAGES_PER_2M, 1);
	populated = stats_read(&t);

	slot_log(&s, true);
	logged = stats_read(&t);
	EXPECT_SPLIT(populated, logged, 1, 0);
	log_rounds(&s, 1, 3, SOME, true);
}

/*
 * Memory that was only read is the huge zero page, and memory shared with a
 * forked process is read-only.  Both may be split, and no write may end there.
 */
static void test_host_read_only(void)
{
	struct test_vm t;
	struct slot s;
	char *mem;
	pid_t pid;
	u64 i;

	mem = reserve(SZ_8M, SZ_2M);
	map_4k(mem, SZ_4M);
	map_hugetlb(mem + SZ_4M, SZ_4M, SZ_2M);
	if (madvise(mem, SZ_4M, MADV_HUGEPAGE))
		skip("needs transparent huge pages");

	vm_new(&t, NR_VCPUS);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, mem);
	guest_write(&s, 2 * PAGES_PER_2M, 2 * PAGES_PER_2M, 1);
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork() failed");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
	}
	guest_do(&s, OP_VERIFY_ZERO, 0, 2 * PAGES_PER_2M, 0);
	guest_verify(&s, 2 * PAGES_PER_2M, 2 * PAGES_PER_2M, 1);

	slot_log(&s, true);
	guest_do(&s, OP_VERIFY_ZERO, 0, 2 * PAGES_PER_2M, 0);
	guest_verify(&s, 2 * PAGES_PER_2M, 2 * PAGES_PER_2M, 1);
	kill(pid, SIGKILL);
	TEST_ASSERT(waitpid(pid, NULL, 0) == pid, "waitpid() failed");

	/* Before anything else is written there, zero is found in what was not. */
	guest_write_some(&s, 2, SOME);
	for (i = 0; i < 2 * PAGES_PER_2M; i++)
		if (!chosen(s.gpa + i * SZ_4K, 2, SOME))
			guest_do(&s, OP_VERIFY_ZERO, i, 1, 0);
	slot_log(&s, false);

	host_write(&s, 0, slot_pages(&s), 1);
	slot_log(&s, true);
	log_rounds(&s, 1, 3, SOME, false);
}

/* Code in a large page stays executable, whatever becomes of the page. */
static void test_executable(void)
{
	struct stats populated, logged;
	struct test_vm t;
	struct slot s;
	u64 faults, i;

	vm_new(&t, 1);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_4M, alloc_hugetlb(SZ_4M, SZ_2M));
	for (i = 0; i < slot_pages(&s); i++)
		*(u8 *)host_word(&s, i) = INSN_RET;
	guest_do(&s, OP_CALL, 0, slot_pages(&s), 0);
	populated = stats_read(&t);
	slot_log(&s, true);
	logged = stats_read(&t);
	EXPECT_SPLIT(populated, logged, 2, 0);
	faults = faults_taken(&t);
	guest_do(&s, OP_CALL, 0, slot_pages(&s), 0);
	EXPECT_FAULTS(&t, faults, 0);
}

/*
 * With the NX mitigation on, large pages are not executable and pages of 4K
 * are, also those that a split has made: no fault is needed to execute there.
 */
static void test_nx_huge_pages(void)
{
	struct stats populated, logged;
	struct test_vm t;
	struct slot s;
	u64 faults, i;

	if (file_write(NX_PARAM, "force"))
		skip("needs nx_huge_pages, which is off for good");

	vm_new(&t, 1);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_hugetlb(SZ_8M, SZ_2M));
	populate(&s);
	for (i = 0; i < slot_pages(&s); i++)
		*(u8 *)host_word(&s, i) = INSN_RET;
	/* This one 2M range is small already. */
	guest_do(&s, OP_CALL, PAGES_PER_2M + 5, 1, 0);
	for (i = 0; i < PAGES_PER_2M; i++)
		guest_do(&s, OP_POKE, PAGES_PER_2M + i, 1, INSN_RET);
	populated = stats_read(&t);

	slot_log(&s, true);
	logged = stats_read(&t);
	EXPECT_SPLIT(populated, logged, 3, 0);
	faults = faults_taken(&t);
	guest_do(&s, OP_CALL, 0, slot_pages(&s), 0);
	EXPECT_FAULTS(&t, faults, 0);
	host_write(&s, 0, slot_pages(&s), 1);
	log_rounds(&s, 1, 2, SOME, true);
}

/* Slots */

/* Where slots begin and end within 2M pages. */
static void test_unaligned_slots(void)
{
	static const struct {
		u64 first, nr;	/* pages; each slot has 16M to itself */
		u64 nr_2m;	/* 2M pages that are wholly inside */
	} shapes[] = {
		{ 0, 1, 0 },
		{ 511, 1, 0 },
		{ 508, 8, 0 },
		{ 64, 65, 0 },
		{ 1, 1024, 1 },
		{ 511, 1026, 2 },
		{ 512 - 64, 3 * 512 + 3, 2 },
		{ 3, 4 * 512 - 6, 2 },
		{ 512, 1024, 2 },
	};
	struct slot s[ARRAY_SIZE(shapes)];
	struct stats before, after;
	struct test_vm t;
	int i, j;

	vm_new(&t, NR_VCPUS);
	for (i = 0; i < ARRAY_SIZE(shapes); i++) {
		slot_add(&t, &s[i], TEST_SLOT + i,
			 TEST_GPA + i * SZ_16M + shapes[i].first * SZ_4K, shapes[i].nr * SZ_4K,
			 alloc_thp(SZ_16M) + shapes[i].first * SZ_4K);
		populate(&s[i]);
	}

	for (i = 0; i < ARRAY_SIZE(shapes); i++) {
		before = stats_read(&t);
		slot_log(&s[i], true);
		after = stats_read(&t);
		EXPECT_SPLIT(before, after, shapes[i].nr_2m, 0);
		expect_unchanged(&s[i]);
		for (j = i + 1; j < ARRAY_SIZE(shapes); j++)
			expect_writable(&s[j]);
		log_rounds(&s[i], 1, 2, 2 * SOME, true);
	}
}

/* A host page of 1G, and slots that lie within it. */
static void test_slot_in_1g(void)
{
	struct stats populated, logged;
	struct slot s, next;
	struct test_vm t;
	char *mem;

	mem = alloc_hugetlb(SZ_1G, SZ_1G);
	vm_new(&t, NR_VCPUS);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA + 3 * SZ_2M - SZ_4K, 5 * SZ_2M + 3 * SZ_4K,
		 mem + 3 * SZ_2M - SZ_4K);
	slot_add(&t, &next, TEST_SLOT + 1, s.gpa + s.size, SZ_8M, s.hva + s.size);
	populate(&s);
	populate(&next);
	populated = stats_read(&t);
	slot_log(&s, true);
	logged = stats_read(&t);
	EXPECT_SPLIT(populated, logged, 5, 0);
	expect_unchanged(&s);
	expect_writable(&next);
	log_rounds(&s, 1, 2, SOME, true);
	expect_writable(&next);
}

/*
 * Three slots share the page tables at their common ends.  Only the second one
 * is logged: the others keep their permissions, and their large pages.
 */
static void test_adjacent_slots(void)
{
	struct stats populated, logged;
	struct slot a, b, c;
	struct test_vm t;
	char *mem;

	mem = alloc_thp(SZ_16M);
	vm_new(&t, NR_VCPUS);
	slot_add(&t, &a, TEST_SLOT, TEST_GPA, SZ_4M + 100 * SZ_4K, mem);
	slot_add(&t, &b, TEST_SLOT + 1, a.gpa + a.size, SZ_4M + 7 * SZ_4K, a.hva + a.size);
	slot_add(&t, &c, TEST_SLOT + 2, b.gpa + b.size, SZ_4M, b.hva + b.size);
	populate(&a);
	populate(&b);
	populate(&c);
	populated = stats_read(&t);

	slot_log(&b, true);
	logged = stats_read(&t);
	EXPECT_SPLIT(populated, logged, 1, 0);
	expect_unchanged(&b);
	expect_writable(&a);
	expect_writable(&c);
	log_rounds(&b, 1, 3, SOME, true);
	expect_writable(&a);
	expect_writable(&c);

	/* Now the other way round. */
	slot_log(&b, false);
	populate(&b);
	slot_log(&a, true);
	slot_log(&c, true);
	expect_unchanged(&a);
	expect_unchanged(&c);
	expect_writable(&b);
	log_rounds(&a, 1, 2, SOME, true);
	log_rounds(&c, 1, 2, SOME, true);
}

/* KVM does nothing about the flag on a read-only slot, and neither may we. */
static void test_read_only_slot(void)
{
	struct stats populated, on;
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
	EXPECT_SPLIT(populated, on, 0, 0);
	expect_unchanged(&s);
}

static void test_smm(void)
{
	struct stats populated, logged;
	struct slot s, smm;
	unsigned long *log;
	struct test_vm t;
	u64 faults;

	if (!kvm_has_cap(KVM_CAP_X86_SMM))
		skip("needs KVM_CAP_X86_SMM");

	vm_new(&t, 1);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_4M, alloc_hugetlb(SZ_4M, SZ_2M));
	slot_add(&t, &smm, SMM_AS | TEST_SLOT, TEST_GPA, SZ_4M, alloc_hugetlb(SZ_4M, SZ_2M));
	log = log_alloc(&smm);
	smm_setup(&t);
	populate(&s);
	run_smm_handler(&s);
	expect_smm_count(&smm, 1);
	populated = stats_read(&t);

	/* Only the slot of SMM. */
	slot_log(&smm, true);
	logged = stats_read(&t);
	EXPECT_SPLIT(populated, logged, 2, 0);
	expect_writable(&s);
	faults = faults_taken(&t);
	run_smm_handler(&s);
	EXPECT_FAULTS(&t, faults, SMM_PAGES);
	log_collect(&smm, log);
	log_expect(&smm, log, 0, SMM_PAGES, true);
	slot_log(&smm, false);
	run_smm_handler(&s);
	expect_smm_count(&smm, 3);

	/* Only the other one. */
	populated = stats_read(&t);
	slot_log(&s, true);
	logged = stats_read(&t);
	EXPECT_SPLIT(populated, logged, 2, 0);
	faults = faults_taken(&t);
	run_smm_handler(&s);
	EXPECT_FAULTS(&t, faults, 0);
	expect_unchanged(&s);
	log_rounds(&s, 1, 2, SOME, true);
	expect_smm_count(&smm, 4);
	free(log);
}

/*
 * Without nested page tables, L2 runs on a second root over the same memory:
 * all is there twice, and must be split and protected twice.
 */
static void test_two_roots(void)
{
	const u64 nr = 2 * PAGES_PER_2M;
	struct stats before, populated, logged;
	unsigned long *log;
	struct test_vm t;
	struct slot s;
	u64 faults;

	vm_new_nested(&t, 0);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_4M, alloc_hugetlb(SZ_4M, SZ_2M));
	log = log_alloc(&s);
	before = stats_read(&t);
	nested_do(&s, OP_WRITE, 0, nr, 1, OP_VERIFY, 0, nr, 1);
	nested_do(&s, OP_VERIFY, 0, nr, 1, OP_WRITE, 0, nr, 2);
	populated = stats_read(&t);
	EXPECT_DELTA(before, populated, PAGES_2M, 4);

	slot_log(&s, true);
	logged = stats_read(&t);
	EXPECT_SPLIT(populated, logged, 4, 0);
	faults = faults_taken(&t);
	nested_do(&s, OP_VERIFY, 0, nr, 2, OP_VERIFY, 0, nr, 2);
	EXPECT_FAULTS(&t, faults, 0);
	nested_do(&s, OP_WRITE, 0, 10, 3, OP_WRITE, nr - 20, 20, 3);
	EXPECT_FAULTS(&t, faults, 30);
	log_collect(&s, log);
	log_expect(&s, log, 0, 10, true);
	log_expect(&s, log, 10, nr - 30, false);
	log_expect(&s, log, nr - 20, 20, true);

	/* The other way round: what one may write, the other may not. */
	nested_do(&s, OP_WRITE, nr - 20, 20, 4, OP_WRITE, 0, 10, 4);
	log_collect(&s, log);
	log_expect(&s, log, 0, 10, true);
	log_expect(&s, log, 10, nr - 30, false);
	log_expect(&s, log, nr - 20, 20, true);
	host_verify(&s, 0, 10, 4);
	host_verify(&s, 10, nr - 30, 2);
	host_verify(&s, nr - 20, 20, 4);
	free(log);
}

/* L2 on nested page tables: shadow pages, which are found by reverse maps. */
static void test_nested_guest(void)
{
	const u64 first = PAGES_PER_2M, nr = 3 * PAGES_PER_2M;
	struct stats populated, logged;
	unsigned long *log;
	struct test_vm t;
	struct slot s;
	u64 gen;

	vm_new_nested(&t, TEST_GPA);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_hugetlb(SZ_8M, SZ_2M));
	log = log_alloc(&s);
	l1_build_npt(&s);
	nested_do(&s, OP_WRITE, first, nr, 1, OP_VERIFY, first, nr, 1);
	nested_do(&s, OP_VERIFY, first, nr, 1, OP_WRITE, NPT_PAGES, first - NPT_PAGES, 1);
	populated = stats_read(&t);

	slot_log(&s, true);
	logged = stats_read(&t);
	EXPECT_DELTA(populated, logged, PAGES_1G, 0);
	TEST_ASSERT(logged.val[PAGES_2M] < populated.val[PAGES_2M], "Nothing was split");
	EXPECT_DELTA(populated, logged, PAGES_4K,
		     512 * (populated.val[PAGES_2M] - logged.val[PAGES_2M]));

	for (gen = 2; gen < 4; gen++) {
		nested_do(&s, OP_WRITE, first, 100, gen,
			  OP_WRITE, first + PAGES_PER_2M, PAGES_PER_2M, gen);
		log_collect(&s, log);
		log_expect(&s, log, NPT_PAGES, first - NPT_PAGES, false);
		log_expect(&s, log, first, 100, true);
		log_expect(&s, log, first + 100, PAGES_PER_2M - 100, false);
		log_expect(&s, log, first + PAGES_PER_2M, PAGES_PER_2M, true);
		log_expect(&s, log, first + 2 * PAGES_PER_2M, PAGES_PER_2M, false);

		/* The same pages by the other one. */
		nested_do(&s, OP_WRITE, first + PAGES_PER_2M, PAGES_PER_2M, gen,
			  OP_WRITE, first, 100, gen);
		log_collect(&s, log);
		log_expect(&s, log, NPT_PAGES, first - NPT_PAGES, false);
		log_expect(&s, log, first, 100, true);
		log_expect(&s, log, first + 100, PAGES_PER_2M - 100, false);
		log_expect(&s, log, first + PAGES_PER_2M, PAGES_PER_2M, true);
		log_expect(&s, log, first + 2 * PAGES_PER_2M, PAGES_PER_2M, false);
	}
	host_verify(&s, first, 100, 3);
	host_verify(&s, first + 100, PAGES_PER_2M - 100, 1);
	host_verify(&s, first + PAGES_PER_2M, PAGES_PER_2M, 3);
	host_verify(&s, first + 2 * PAGES_PER_2M, PAGES_PER_2M, 1);
	free(log);
}

/* Ways of logging */

static void test_manual(void)
{
	struct test_vm t;
	struct slot s;

	vm_new_mode(&t, NR_VCPUS, LOG_MANUAL);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_16M, alloc_hugetlb(SZ_16M, SZ_2M));
	cycle(&s, SZ_16M / SZ_2M, 0);
}

static void test_ring(void)
{
	struct test_vm t;
	struct slot s;

	vm_new_mode(&t, NR_VCPUS, LOG_RING);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_16M, alloc_hugetlb(SZ_16M, SZ_2M));
	cycle(&s, SZ_16M / SZ_2M, 0);
}

static void test_initially_set(void)
{
	struct stats populated, logged;
	struct test_vm t;
	struct slot s;

	vm_new_mode(&t, NR_VCPUS, LOG_INITIALLY_SET);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_16M, alloc_hugetlb(SZ_16M, SZ_2M));
	populate(&s);
	populated = stats_read(&t);
	slot_log(&s, true);
	logged = stats_read(&t);
	EXPECT_SPLIT(populated, logged, 0, 0);
	expect_writable(&s);
	slot_log(&s, false);

	cycle(&s, SZ_16M / SZ_2M, 0);
}

static void test_initially_set_1g(void)
{
	struct test_vm t;
	struct slot s;

	vm_new_mode(&t, NR_VCPUS, LOG_INITIALLY_SET);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_1G, alloc_hugetlb(SZ_1G, SZ_1G));
	s.stride = SPARSE_STRIDE;
	cycle(&s, SZ_1G / SZ_2M, 1);
}

/* What is known of each page of a slot whose log is cleared piecemeal. */
struct model {
	struct slot *s;
	unsigned long *log, *mask;
	bool *dirty;
	bool *protected;
	bool *split_2m;
	bool *split_1g;
	u64 nr_2m, nr_1g;	/* that are split */
	u64 gen;
};

/* The first GFN of a slot here is 32 pages before a huge page. */
#define MODEL_FIRST		32ull

static void model_init(struct model *m, struct slot *s)
{
	u64 nr = slot_pages(s);

	*m = (struct model) {
		.s = s,
		.log = log_alloc(s), .mask = log_alloc(s),
		.dirty = malloc(nr), .protected = calloc(nr, 1),
		.split_2m = calloc(nr / PAGES_PER_2M + 1, 1),
		.split_1g = calloc(nr / PAGES_PER_1G + 1, 1),
		.gen = 1,
	};
	memset(m->dirty, true, nr);
}

/* The page is about to be cleared in the log. */
static void model_clear(struct model *m, u64 page, bool has_1g)
{
	u64 n = page - MODEL_FIRST;

	if (!m->dirty[page])
		return;
	m->dirty[page] = false;
	m->protected[page] = true;
	if (page < MODEL_FIRST)
		return;
	if (has_1g && !m->split_1g[n / PAGES_PER_1G]) {
		m->split_1g[n / PAGES_PER_1G] = true;
		m->nr_1g++;
	}
	if (!m->split_2m[n / PAGES_PER_2M]) {
		m->split_2m[n / PAGES_PER_2M] = true;
		m->nr_2m++;
	}
}

static void model_write(struct model *m, u64 share)
{
	struct slot *s = m->s;
	u64 page, faults = faults_taken(s->t), want = 0;

	m->gen++;
	guest_write_some(s, m->gen, share);
	for (page = 0; page < slot_pages(s); page++) {
		if (!chosen(s->gpa + page * SZ_4K, m->gen, share))
			continue;
		want += m->protected[page];
		m->protected[page] = false;
		m->dirty[page] = true;
	}
	EXPECT_FAULTS(s->t, faults, want);

	kvm_vm_get_dirty_log(s->t->vm, s->id, m->log);
	for (page = 0; page < slot_pages(s); page++)
		TEST_ASSERT(log_has(s, m->log, page) == m->dirty[page],
			    "Page %lu is %s in the dirty log", page,
			    m->dirty[page] ? "clean" : "dirty");
}

/*
 * Clear random choices of random ranges, of which every eighth word has pages
 * of two huge pages.  Only what is cleared may be split and protected: of the
 * rest, every page that is written by the way must take that without a fault.
 */
static void clear_piecemeal(struct slot *s, int rounds, u64 max_words, bool has_1g, u64 share)
{
	u64 words = (slot_pages(s) + 63) / 64, first, nr, page, nr_pages;
	static const u64 shares[] = { 1, 4, 32, 256 };
	struct stats populated, logged;
	u64 clear_share;
	struct model m;
	int i;

	guest_write(s, 0, slot_pages(s), 1);
	populated = stats_read(s->t);
	slot_log(s, true);
	model_init(&m, s);
	model_write(&m, share);

	for (i = 0; i < rounds; i++) {
		first = random_below(words);
		nr = 1 + random_below(max_words);
		/* Every other time, a word over the border of huge pages. */
		if (i % 2)
			first -= first % 8;
		if (i % 4 == 1)
			nr = 1;
		if (nr > words - first)
			nr = words - first;
		clear_share = shares[random_below(ARRAY_SIZE(shares))];

		memset(m.mask, 0, words * sizeof(*m.mask));
		for (page = first * 64; page < (first + nr) * 64 && page < slot_pages(s); page++) {
			if (!chosen(page * SZ_4K, 1000 + i, clear_share))
				continue;
			m.mask[page / 64 - first] |= 1ul << (page % 64);
			model_clear(&m, page, has_1g);
		}
		nr_pages = nr * 64;
		if (nr_pages > slot_pages(s) - first * 64)
			nr_pages = slot_pages(s) - first * 64;
		kvm_vm_clear_dirty_log(s->t->vm, s->id, m.mask, first * 64, nr_pages);

		logged = stats_read(s->t);
		EXPECT_SPLIT(populated, logged, m.nr_2m, m.nr_1g);
		model_write(&m, share);
	}
	verify_rounds(s, 1, m.gen - 1, share);

	/* All the rest at once. */
	for (page = 0; page < slot_pages(s); page++)
		model_clear(&m, page, has_1g);
	memset(m.mask, 0xff, words * sizeof(*m.mask));
	kvm_vm_clear_dirty_log(s->t->vm, s->id, m.mask, 0, slot_pages(s));
	logged = stats_read(s->t);
	EXPECT_SPLIT(populated, logged, m.nr_2m, m.nr_1g);
	model_write(&m, share);
	model_write(&m, share);
	verify_rounds(s, 1, m.gen - 1, share);
}

static void test_clear_piecemeal_2m(void)
{
	const u64 size = SZ_8M + MODEL_FIRST * SZ_4K;
	struct test_vm t;
	struct slot s;
	char *mem;

	mem = reserve(SZ_2M + SZ_8M, SZ_2M);
	map_4k(mem, SZ_2M);
	map_hugetlb(mem + SZ_2M, SZ_8M, SZ_2M);
	vm_new_mode(&t, NR_VCPUS, LOG_INITIALLY_SET);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA - MODEL_FIRST * SZ_4K, size,
		 mem + SZ_2M - MODEL_FIRST * SZ_4K);
	clear_piecemeal(&s, 40, 12, false, SOME);
}

static void test_clear_piecemeal_1g(void)
{
	const u64 size = 2ul * SZ_1G + MODEL_FIRST * SZ_4K;
	struct test_vm t;
	struct slot s;
	char *mem;

	mem = reserve(3ul * SZ_1G, SZ_1G);
	map_4k(mem + SZ_1G - SZ_2M, SZ_2M);
	map_hugetlb(mem + SZ_1G, 2ul * SZ_1G, SZ_1G);
	vm_new_mode(&t, NR_VCPUS, LOG_INITIALLY_SET);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA - MODEL_FIRST * SZ_4K, size,
		 mem + SZ_1G - MODEL_FIRST * SZ_4K);
	clear_piecemeal(&s, 5, 100, true, 1);
}

/* The one word that has pages of two 1G pages, and nothing else. */
static void test_clear_word_across_1g(void)
{
	const u64 size = 2ul * SZ_1G + MODEL_FIRST * SZ_4K;
	const u64 first = PAGES_PER_1G + MODEL_FIRST - 32;
	struct stats populated, logged;
	unsigned long mask = BIT(31) | BIT(32);
	struct test_vm t;
	struct slot s;
	u64 faults;
	char *mem;

	mem = reserve(3ul * SZ_1G, SZ_1G);
	map_4k(mem + SZ_1G - SZ_2M, SZ_2M);
	map_hugetlb(mem + SZ_1G, 2ul * SZ_1G, SZ_1G);
	vm_new_mode(&t, NR_VCPUS, LOG_INITIALLY_SET);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA - MODEL_FIRST * SZ_4K, size,
		 mem + SZ_1G - MODEL_FIRST * SZ_4K);
	guest_write(&s, first, 64, 1);
	populated = stats_read(&t);
	slot_log(&s, true);
	kvm_vm_clear_dirty_log(t.vm, s.id, &mask, first, 64);
	logged = stats_read(&t);
	EXPECT_SPLIT(populated, logged, 2, 2);
	faults = faults_taken(&t);
	guest_verify(&s, first, 64, 1);
	guest_write(&s, first, 31, 2);
	guest_write(&s, first + 33, 31, 2);
	EXPECT_FAULTS(&t, faults, 0);
	guest_write(&s, first + 31, 2, 2);
	EXPECT_FAULTS(&t, faults, 2);
	host_verify(&s, first, 64, 2);
}

/*
 * Entries of a ring may outlive the logging that made them.  When they are
 * reset with logging on again, and all pages taken for dirty, each of them is
 * an order to split and protect this one page.
 */
static void test_ring_initially_set(void)
{
	struct stats populated, logged;
	unsigned long *log;
	struct test_vm t;
	u64 faults, i;
	struct slot s;

	vm_new_mode(&t, 1, LOG_RING_INITIALLY_SET);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_hugetlb(SZ_8M, SZ_2M));
	log = log_alloc(&s);
	host_write(&s, 0, slot_pages(&s), 1);
	slot_log(&s, true);
	/* First touched while logging is on: 4K pages, in the ring. */
	guest_write(&s, 500, 20, 1);
	guest_write(&s, 2 * PAGES_PER_2M, 3, 1);
	slot_log(&s, false);
	guest_write(&s, 0, slot_pages(&s), 1);
	populated = stats_read(&t);

	slot_log(&s, true);
	logged = stats_read(&t);
	EXPECT_SPLIT(populated, logged, 0, 0);
	expect_writable(&s);
	log_collect(&s, log);
	logged = stats_read(&t);
	EXPECT_SPLIT(populated, logged, 3, 0);
	log_expect(&s, log, 0, 500, false);
	log_expect(&s, log, 500, 20, true);
	log_expect(&s, log, 520, 2 * PAGES_PER_2M - 520, false);
	log_expect(&s, log, 2 * PAGES_PER_2M, 3, true);

	expect_unchanged(&s);
	faults = faults_taken(&t);
	for (i = 0; i < slot_pages(&s); i++)
		if (!log_has(&s, log, i))
			guest_write(&s, i, 1, 2);
	EXPECT_FAULTS(&t, faults, 0);
	guest_write(&s, 500, 20, 2);
	guest_write(&s, 2 * PAGES_PER_2M, 3, 2);
	EXPECT_FAULTS(&t, faults, 23);
	log_collect(&s, log);
	log_expect(&s, log, 0, 500, false);
	log_expect(&s, log, 500, 20, true);
	log_expect(&s, log, 520, 2 * PAGES_PER_2M - 520, false);
	log_expect(&s, log, 2 * PAGES_PER_2M, 3, true);
	host_verify(&s, 0, slot_pages(&s), 2);
	free(log);
}

/*
 * Calls that KVM refuses, or that fail when the work is done already, leave
 * nothing behind and nothing undone.
 */
static void test_bad_calls(void)
{
	static const struct {
		u32 slot, nr;
		u64 first;
		int err;
	} cases[] = {
		{ TEST_SLOT, 64, 1, EINVAL },
		{ TEST_SLOT, 65, 0, EINVAL },
		{ TEST_SLOT, 64, 1 << 20, EINVAL },
		{ TEST_SLOT, 2048 + 64, 64, EINVAL },
		{ TEST_SLOT + 1, 64, 0, ENOENT },
		{ SMM_AS * 2 | TEST_SLOT, 64, 0, EINVAL },
	};
	struct kvm_clear_dirty_log clear;
	struct kvm_dirty_log get = { .slot = TEST_SLOT };
	unsigned long mask[32];
	struct stats populated, logged;
	struct test_vm t;
	struct slot s;
	int i;

	memset(mask, 0xff, sizeof(mask));
	vm_new_mode(&t, NR_VCPUS, LOG_INITIALLY_SET);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_hugetlb(SZ_8M, SZ_2M));
	populate(&s);
	populated = stats_read(&t);
	slot_log(&s, true);

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		clear = (struct kvm_clear_dirty_log) {
			.slot = cases[i].slot, .num_pages = cases[i].nr,
			.first_page = cases[i].first, .dirty_bitmap = mask,
		};
		TEST_ASSERT(__vm_ioctl(t.vm, KVM_CLEAR_DIRTY_LOG, &clear) == -1 &&
			    errno == cases[i].err, "Case %d gave %s", i, strerror(errno));
	}
	clear = (struct kvm_clear_dirty_log) {
		.slot = TEST_SLOT, .num_pages = 64, .dirty_bitmap = (void *)8,
	};
	TEST_ASSERT(__vm_ioctl(t.vm, KVM_CLEAR_DIRTY_LOG, &clear) == -1 && errno == EFAULT,
		    "A bad address gave %s", strerror(errno));
	logged = stats_read(&t);
	EXPECT_SPLIT(populated, logged, 0, 0);
	expect_writable(&s);
	/* Nothing to clear. */
	memset(mask, 0, sizeof(mask));
	kvm_vm_clear_dirty_log(t.vm, s.id, mask, 0, 2048);
	logged = stats_read(&t);
	EXPECT_SPLIT(populated, logged, 0, 0);
	expect_writable(&s);
	collect_first(&s);
	log_rounds(&s, 1, 1, SOME, true);
	kvm_vm_free(t.vm);

	/* The log is lost, but whatever is written after that is not. */
	vm_new(&t, NR_VCPUS);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_hugetlb(SZ_8M, SZ_2M));
	populate(&s);
	slot_log(&s, true);
	guest_write(&s, 0, slot_pages(&s), 1);
	get.dirty_bitmap = (void *)8;
	TEST_ASSERT(__vm_ioctl(t.vm, KVM_GET_DIRTY_LOG, &get) == -1 && errno == EFAULT,
		    "A bad address gave %s", strerror(errno));
	log_rounds(&s, 1, 2, SOME, true);
}

/* Parameters that say whether to split */

/* Large pages stay and are protected; a write splits the one that it goes to. */
static void lazy_cycle(enum log_mode mode)
{
	struct stats populated, logged;
	struct test_vm t;
	struct slot s;

	vm_new_mode(&t, NR_VCPUS, mode);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_hugetlb(SZ_8M, SZ_2M));
	populate(&s);
	populated = stats_read(&t);
	slot_log(&s, true);
	collect_first(&s);
	logged = stats_read(&t);
	EXPECT_SPLIT(populated, logged, 0, 0);
	EXPECT_DELTA(populated, logged, FLUSH_REQUESTS, 1);
	expect_unchanged(&s);
	log_rounds(&s, 1, 3, SOME, true);
	logged = stats_read(&t);
	expect_split(__LINE__, &populated, &logged, 4, 0);
	EXPECT_COUNTED(populated, logged, 0, 0, 0);
}

static void test_eager_off(void)
{
	param_set(EAGER_PARAM, "N");
	lazy_cycle(LOG_LEGACY);
	lazy_cycle(LOG_MANUAL);
	lazy_cycle(LOG_INITIALLY_SET);
}

/* Stock's way: the same for a user, but for the counters. */
static void test_split_off(void)
{
	static const enum log_mode modes[] = { LOG_LEGACY, LOG_INITIALLY_SET };
	struct stats populated, logged;
	struct test_vm t;
	struct slot s;
	int i;

	require_lpage_split();
	param_set(SPLIT_PARAM, "N");
	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		vm_new_mode(&t, NR_VCPUS, modes[i]);
		slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_hugetlb(SZ_8M, SZ_2M));
		populate(&s);
		populated = stats_read(&t);
		slot_log(&s, true);
		collect_first(&s);
		logged = stats_read(&t);
		expect_split(__LINE__, &populated, &logged, 4, 0);
		EXPECT_COUNTED(populated, logged, 0, 0, 0);
		EXPECT_DELTA(populated, logged, FLUSH_REQUESTS, 1);
		expect_unchanged(&s);
		log_rounds(&s, 1, 2, SOME, true);
	}
	param_set(EAGER_PARAM, "N");
	lazy_cycle(LOG_LEGACY);
}

/* Each operation by another way than the one before. */
static void test_split_toggled(void)
{
	unsigned long *log;
	struct test_vm t;
	struct slot s;
	u64 i, half;

	require_lpage_split();
	vm_new_mode(&t, NR_VCPUS, LOG_INITIALLY_SET);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_hugetlb(SZ_8M, SZ_2M));
	log = log_alloc(&s);
	half = slot_pages(&s) / 2;
	for (i = 0; i < 8; i++) {
		populate(&s);
		param_set(SPLIT_PARAM, i & 1 ? "N" : "Y");
		param_set(EAGER_PARAM, i & 2 ? "N" : "Y");
		slot_log(&s, true);
		kvm_vm_get_dirty_log(t.vm, s.id, log);
		kvm_vm_clear_dirty_log(t.vm, s.id, log, 0, half);
		param_set(SPLIT_PARAM, i & 4 ? "Y" : "N");
		param_set(EAGER_PARAM, i & 1 ? "Y" : "N");
		kvm_vm_clear_dirty_log(t.vm, s.id, log + half / 64, half, half);
		expect_unchanged(&s);
		log_rounds(&s, 1, 2, SOME, true);
		param_set(SPLIT_PARAM, i & 1 ? "Y" : "N");
		slot_log(&s, false);
	}
	free(log);
}

/* SPTE bits */

#define TRACE_DIR	"/sys/kernel/tracing/instances/lpage_split_test"
#define TRACE_EVENT(e)	TRACE_DIR "/events/kvmmmu/" e "/enable"

/*
 * Split, and promoted again with nothing in between, an SPTE is what it was:
 * all bits came through the children, also those that nothing else can tell.
 */
static void test_spte_bits(void)
{
	static const char split_format[] =
		"kvm_mmu_split_huge_page: gfn %llx spte %llx level %d errno %d";
	static const char promote_format[] =
		"kvm_mmu_lpage_promote: as_id 0 gfn 0x%llx level %d spte 0x%llx";
	struct kvm_pre_fault_memory range = { .gpa = TEST_GPA + 2 * SZ_2M, .size = SZ_2M };
	unsigned long long gfn, spte, split[4] = {}, promoted[4] = {};
	int level, err, i;
	struct test_vm t;
	char line[256];
	struct slot s;
	char *event;
	FILE *trace;

	require_lpage_split();
	if (access("/sys/kernel/tracing/instances", W_OK))
		skip("needs tracefs at /sys/kernel/tracing");

	vm_new(&t, 1);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_hugetlb(SZ_8M, SZ_2M));
	host_write(&s, 0, slot_pages(&s), 1);
	/* Written; only read; mapped and not accessed; read-only in the host. */
	guest_write(&s, 0, 1, 1);
	guest_verify(&s, PAGES_PER_2M, 1, 1);
	vcpu_ioctl(t.vcpu[0], KVM_PRE_FAULT_MEMORY, &range);
	TEST_ASSERT(!mprotect(s.hva + 3 * SZ_2M, SZ_2M, PROT_READ), "mprotect() failed");
	guest_verify(&s, 3 * PAGES_PER_2M, 1, 1);

	rmdir(TRACE_DIR);
	TEST_ASSERT(!mkdir(TRACE_DIR, 0700), "Cannot make " TRACE_DIR);
	param_set(TRACE_EVENT("kvm_mmu_split_huge_page"), "1");
	param_set(TRACE_EVENT("kvm_mmu_lpage_promote"), "1");
	slot_log(&s, true);
	slot_log(&s, false);

	trace = fopen(TRACE_DIR "/trace", "r");
	TEST_ASSERT(trace, "Cannot open the trace");
	while (fgets(line, sizeof(line), trace)) {
		event = strstr(line, "kvm_mmu_");
		if (!event)
			continue;
		if (sscanf(event, split_format, &gfn, &spte, &level, &err) == 4) {
			i = (gfn - TEST_GPA / SZ_4K) / PAGES_PER_2M;
			TEST_ASSERT(i < 4 && level == PG_LEVEL_2M && !err && !split[i],
				    "Unexpected event: %s", event);
			split[i] = spte;
		} else if (sscanf(event, promote_format, &gfn, &level, &spte) == 3) {
			i = (gfn - TEST_GPA / SZ_4K) / PAGES_PER_2M;
			TEST_ASSERT(i < 4 && level == PG_LEVEL_2M && !promoted[i],
				    "Unexpected event: %s", event);
			promoted[i] = spte;
		}
	}
	fclose(trace);
	rmdir(TRACE_DIR);
	for (i = 0; i < 4; i++)
		TEST_ASSERT(split[i] && split[i] == promoted[i],
			    "2M page %d was 0x%llx and became 0x%llx", i, split[i], promoted[i]);
	TEST_ASSERT(split[2] != split[0] && split[3] != split[0], "All SPTEs were alike");

	op_set(&t, 0, OP_WRITE, s.gpa + 3 * SZ_2M, 1, SZ_4K, 2);
	expect_efault(&t);
}

/* Memory that runs out */

static u64 node_tables_kb(int node)
{
	unsigned long long kb;
	char path[64], line[128];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo", node);
	file = fopen(path, "r");
	if (!file)
		skip("needs two NUMA nodes");
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "Node %*d SecPageTables: %llu kB", &kb) == 1) {
			fclose(file);
			return kb;
		}
	}
	TEST_FAIL("%s has no SecPageTables", path);
}

/* Memory whose 2M pages are on two nodes by turns. */
static void expect_tables_on_nodes(enum log_mode mode)
{
	char *mem = alloc_hugetlb(SZ_32M, SZ_2M);
	u64 before_kb[2], kb;
	unsigned long mask;
	struct test_vm t;
	struct slot s;
	u64 off;
	int i;

	for (off = 0; off < SZ_32M; off += SZ_2M) {
		mask = BIT(off / SZ_2M % 2);
		TEST_ASSERT(!syscall(SYS_mbind, mem + off, SZ_2M, MPOL_BIND, &mask,
				     BITS_PER_LONG, 0), "mbind() failed");
	}

	vm_new_mode(&t, 1, mode);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_32M, mem);
	populate(&s);

	lpage_sec_page_tables_kb();
	for (i = 0; i < 2; i++)
		before_kb[i] = node_tables_kb(i);

	slot_log(&s, true);
	if (mode == LOG_INITIALLY_SET)
		log_collect(&s, log_alloc(&s));

	lpage_sec_page_tables_kb();
	for (i = 0; i < 2; i++) {
		kb = node_tables_kb(i) - before_kb[i];
		TEST_ASSERT(kb == SZ_32M / SZ_2M / 2 * 4,
			    "%lu kB of page tables on node %d, want %u kB",
			    kb, i, SZ_32M / SZ_2M / 2 * 4);
	}
}

/* Page tables are near the memory that they map, wherever the caller runs. */
static void test_numa(void)
{
	require_lpage_split();
	node_tables_kb(1);
	expect_tables_on_nodes(LOG_LEGACY);
	expect_tables_on_nodes(LOG_INITIALLY_SET);
}

/*
 * Page tables are memory of whoever owns the VM, also those that workers split.
 * The cgroup's statistics follow with a delay.
 */
static void test_memcg_charge(void)
{
	u64 before_kb, system, cgroup;
	struct test_vm t;
	struct slot s;
	s64 deadline;

	before_kb = lpage_sec_page_tables_kb();
	cgroup_enter();
	vm_new(&t, 1);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_32M, alloc_hugetlb(SZ_32M, SZ_2M));
	if (have_lpage_split())
		use_threads(&t, SZ_4M, 3);
	populate(&s);
	slot_log(&s, true);
	deadline = lpage_now_ms() + 10000;
	do {
		system = (lpage_sec_page_tables_kb() - before_kb) * SZ_1K;
		cgroup = cgroup_value(CGROUP "/memory.stat", "sec_pagetables");
		TEST_ASSERT(lpage_now_ms() < deadline,
			    "The cgroup pays for %lu bytes of %lu bytes of page tables",
			    cgroup, system);
		usleep(10000);
	} while (system != cgroup);
	cgroup_leave();
}

/*
 * Room for a few page tables only.  It lasts for one operation: nothing else
 * here could live with that.
 */
#define NOMEM_ROOM		(160 * SZ_1K)

static int nomem_fd;

static void nomem_begin(void)
{
	char value[32];
	ssize_t len;

	/* CPUs have charges in store, which this makes them give back. */
	param_set(CGROUP "/memory.high", "0");
	param_set(CGROUP "/memory.high", "max");

	nomem_fd = open(CGROUP "/memory.max", O_WRONLY);
	TEST_ASSERT(nomem_fd >= 0, "Cannot open " CGROUP "/memory.max");
	len = snprintf(value, sizeof(value), "%lu",
		       cgroup_value(CGROUP "/memory.current", "") + NOMEM_ROOM);
	TEST_ASSERT(write(nomem_fd, value, len) == len, "Cannot set memory.max");
}

static void nomem_end(void)
{
	TEST_ASSERT(write(nomem_fd, "max", 3) == 3, "Cannot set memory.max");
	close(nomem_fd);
	TEST_ASSERT(!cgroup_value(CGROUP "/memory.events", "oom_kill"), "Something was killed");
}

/*
 * Large pages for which there was no page table: they stay, protected, and a
 * write splits the one that it goes to.
 */
static void nomem_cycle(enum log_mode mode, u64 threads)
{
	const u64 size = SZ_256M, nr_2m = size / SZ_2M;
	struct stats populated, logged;
	unsigned long *log;
	struct test_vm t;
	struct slot s;
	u64 nr_split;

	/* Others get something killed. */
	require_lpage_split();
	cgroup_enter();
	vm_new_mode(&t, NR_VCPUS, mode);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, size, alloc_hugetlb(size, SZ_2M));
	s.stride = SPARSE_STRIDE;
	log = log_alloc(&s);
	use_threads(&t, SZ_16M, threads);
	populate(&s);
	memset(log, 0xff, size / SZ_4K / 8);
	populated = stats_read(&t);

	if (mode == LOG_INITIALLY_SET)
		slot_log(&s, true);
	nomem_begin();
	if (mode == LOG_INITIALLY_SET)
		kvm_vm_clear_dirty_log(t.vm, s.id, log, 0, size / SZ_4K);
	else
		slot_log(&s, true);
	nomem_end();
	logged = stats_read(&t);
	nr_split = populated.val[PAGES_2M] - logged.val[PAGES_2M];
	TEST_ASSERT(nr_split < nr_2m, "All large pages were split");
	expect_split(__LINE__, &populated, &logged, nr_split, 0);
	EXPECT_COUNTED(populated, logged, nr_split, 0, nr_2m - nr_split);

	expect_unchanged(&s);
	log_rounds(&s, 1, 2, SOME, true);
	/* All pages, from where there is nothing large left. */
	log_rounds(&s, 1, 1, 256, true);
	logged = stats_read(&t);
	EXPECT_DELTA(populated, logged, PAGES_2M, -(s64)nr_2m);
	slot_log(&s, false);

	/* Now there is room again. */
	populate(&s);
	populated = stats_read(&t);
	slot_log(&s, true);
	collect_first(&s);
	logged = stats_read(&t);
	EXPECT_SPLIT(populated, logged, nr_2m, 0);
	log_rounds(&s, 1, 1, SOME, true);
	free(log);
	cgroup_leave();
}

static void test_nomem_enable(void)
{
	nomem_cycle(LOG_LEGACY, 1);
}

static void test_nomem_clear(void)
{
	nomem_cycle(LOG_INITIALLY_SET, 1);
}

static void test_nomem_threads(void)
{
	nomem_cycle(LOG_LEGACY, 3);
}

/* Threads and pace */

static void *enable_thread(void *arg)
{
	slot_log(arg, true);
	return NULL;
}

static void *disable_thread(void *arg)
{
	slot_log(arg, false);
	return NULL;
}

static void task_file(const char *tid, const char *name, const char *key, char *value, int size)
{
	char path[64], line[256];
	FILE *file;

	value[0] = '\0';
	snprintf(path, sizeof(path), "/proc/self/task/%s/%s", tid, name);
	file = fopen(path, "r");
	/* The thread may be gone. */
	if (!file)
		return;
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, key, strlen(key)))
			snprintf(value, size, "%s", line);
	fclose(file);
}

/* Threads of this process that KVM has started, which must be where we are. */
static int count_workers(void)
{
	char name[32], cpus[256], our_cpus[256], cgroup[256], our_cgroup[256];
	char worker[NAME_MAX + 1] = "";
	struct dirent *entry;
	int nr = 0;
	DIR *dir;

	task_file("../..", "self/status", "Cpus_allowed:", our_cpus, sizeof(our_cpus));
	task_file("../..", "self/cgroup", "", our_cgroup, sizeof(our_cgroup));
	dir = opendir("/proc/self/task");
	TEST_ASSERT(dir, "Cannot open /proc/self/task");
	while ((entry = readdir(dir))) {
		task_file(entry->d_name, "comm", "", name, sizeof(name));
		if (strncmp(name, "kvm-lpage", strlen("kvm-lpage")))
			continue;
		nr++;
		snprintf(worker, sizeof(worker), "%s", entry->d_name);
	}
	closedir(dir);
	if (!nr)
		return 0;

	task_file(worker, "status", "Cpus_allowed:", cpus, sizeof(cpus));
	task_file(worker, "cgroup", "", cgroup, sizeof(cgroup));
	TEST_ASSERT(!cpus[0] || !strcmp(cpus, our_cpus), "A worker may run on %s", cpus);
	TEST_ASSERT(!cgroup[0] || !strcmp(cgroup, our_cgroup), "A worker is in %s", cgroup);
	return nr;
}

/* They may be seen for a moment after they are done. */
static void wait_no_workers(void)
{
	s64 deadline = lpage_now_ms() + PROMPT_MS;

	while (count_workers()) {
		TEST_ASSERT(lpage_now_ms() < deadline, "Workers outlive the operation");
		usleep(1000);
	}
}

/* Have @fn run in a thread, and see how many workers there are at most. */
static int most_workers(struct slot *s, void *(*fn)(void *))
{
	pthread_t thread;
	int most = 0, nr;

	thread_start(&thread, fn, s);
	while (pthread_tryjoin_np(thread, NULL)) {
		nr = count_workers();
		if (nr > most)
			most = nr;
		usleep(1000);
	}
	wait_no_workers();
	return most;
}

static void expect_workers(struct slot *s, int nr)
{
	struct stats populated, logged;
	int seen;

	populate(s);
	populated = stats_read(s->t);
	seen = most_workers(s, enable_thread);
	TEST_ASSERT(seen == nr, "%d workers while splitting, want %d", seen, nr);
	logged = stats_read(s->t);
	EXPECT_SPLIT(populated, logged, s->size / SZ_2M, 0);
	EXPECT_DELTA(populated, logged, FLUSH_REQUESTS, 1);
	expect_unchanged(s);
	log_rounds(s, 1, 2, SOME, true);

	populated = logged;
	seen = most_workers(s, disable_thread);
	TEST_ASSERT(seen == nr, "%d workers while promoting, want %d", seen, nr);
	logged = stats_read(s->t);
	EXPECT_DELTA(populated, logged, PAGES_2M, s->size / SZ_2M);
	EXPECT_DELTA(populated, logged, PROMOTED_2M, s->size / SZ_2M);
	verify_rounds(s, 1, 2, SOME);
	expect_writable(s);
}

/*
 * The same result from any number of threads.  The pace is what gives us time to
 * see them.
 */
static void test_threads(void)
{
	static const struct {
		const char *param;
		u64 cap;
		int nr;
		const char *rate;	/* slow enough for all of them to be there at once */
	} cases[] = {
		{ "1", 0, 1, "0" }, { "2", 0, 2, "128" }, { "7", 0, 7, "64" },
		{ "64", 0, 16, "16" }, { "0", 0, 1, "0" }, { "1", 3, 3, "128" },
		{ "7", 1, 1, "128" },
	};
	struct test_vm t;
	cpu_set_t cpus;
	struct slot s;
	int i;

	require_lpage_split();
	/* Something for the workers to inherit. */
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	TEST_ASSERT(!sched_setaffinity(0, sizeof(cpus), &cpus), "sched_setaffinity() failed");
	cgroup_enter();

	vm_new(&t, NR_VCPUS);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_32M, alloc_hugetlb(SZ_32M, SZ_2M));
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		param_set(THREADS_PARAM, cases[i].param);
		param_set(RATE_PARAM, cases[i].rate);
		use_threads(&t, SZ_2M, cases[i].cap);
		/* The caller is one of them. */
		expect_workers(&s, cases[i].nr - 1);
	}
	cgroup_leave();
}

#define AUTO_SIZE		(8ull * SZ_1G)
#define AUTO_GPA		(16ull * SZ_1G)

/* A slot whose memory is the same 64M over and over, all of it mapped. */
static void slot_add_aliased(struct test_vm *t, struct slot *s)
{
	struct kvm_pre_fault_memory range = { .gpa = AUTO_GPA, .size = AUTO_SIZE };
	char *mem, *part;
	int fd;

	fd = memfd_create("lpage_split_test", MFD_HUGETLB | MFD_HUGE_2MB);
	TEST_ASSERT(fd >= 0 && !ftruncate(fd, SZ_64M), "Cannot create a file");
	mem = reserve(AUTO_SIZE, SZ_2M);
	for (part = mem; part < mem + AUTO_SIZE; part += SZ_64M)
		if (mmap(part, SZ_64M, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) !=
		    part)
			skip("needs 32 free hugetlb pages of 2048 kB");
	slot_add(t, s, TEST_SLOT, AUTO_GPA, AUTO_SIZE, mem);
	while (range.size)
		vcpu_ioctl(t->vcpu[0], KVM_PRE_FAULT_MEMORY, &range);
}

/* With no number given: a thread for each 4 GiB, but for each CPU we may use. */
static void test_threads_auto(void)
{
	struct test_vm t;
	cpu_set_t cpus;
	struct slot s;
	int nr, seen;

	require_lpage_split();
	TEST_ASSERT(!sched_getaffinity(0, sizeof(cpus), &cpus), "sched_getaffinity() failed");
	nr = CPU_COUNT(&cpus) > 1 ? 2 : 1;
	param_set(THREADS_PARAM, "0");
	param_set(RATE_PARAM, "16384");
	vm_new(&t, 1);
	slot_add_aliased(&t, &s);
	seen = most_workers(&s, enable_thread);
	TEST_ASSERT(seen == nr - 1, "%d workers for 8 GiB, want %d", seen, nr - 1);
	seen = most_workers(&s, disable_thread);
	TEST_ASSERT(seen == nr - 1, "%d workers for 8 GiB, want %d", seen, nr - 1);

	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	TEST_ASSERT(!sched_setaffinity(0, sizeof(cpus), &cpus), "sched_setaffinity() failed");
	seen = most_workers(&s, enable_thread);
	TEST_ASSERT(!seen, "%d workers with one CPU, want none", seen);
	seen = most_workers(&s, disable_thread);
	TEST_ASSERT(!seen, "%d workers with one CPU, want none", seen);
}

/* Unaligned slots, and 1G pages that no chunk may tear apart or do twice. */
static void test_threads_shapes(void)
{
	const u64 off = SZ_2M - 5 * SZ_4K, size = 9 * SZ_2M + 11 * SZ_4K;
	struct test_vm t;
	struct slot s;

	require_lpage_split();
	vm_new(&t, NR_VCPUS);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA + off, size, alloc_thp(SZ_32M) + off);
	use_threads(&t, SZ_2M, 3);
	cycle(&s, 9, 0);
	use_threads(&t, SZ_4M, 2);
	cycle(&s, 9, 0);

	slot_add(&t, &s, TEST_SLOT + 1, TEST_GPA + SZ_1G, SZ_1G, alloc_hugetlb(SZ_1G, SZ_1G));
	s.stride = SPARSE_STRIDE;
	use_threads(&t, SZ_32M, 4);
	cycle(&s, SZ_1G / SZ_2M, 1);
	use_threads(&t, SZ_1G, 2);
	cycle(&s, SZ_1G / SZ_2M, 1);
}

/* Threads are help that may be refused. */
static void test_threads_refused(void)
{
	struct stats populated, logged, off;
	struct test_vm t;
	struct slot s;

	require_lpage_split();
	cgroup_enter();
	vm_new(&t, NR_VCPUS);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_16M, alloc_hugetlb(SZ_16M, SZ_2M));
	populate(&s);
	populated = stats_read(&t);
	use_threads(&t, SZ_2M, 7);
	param_set(CGROUP "/pids.max", "1");
	slot_log(&s, true);
	logged = stats_read(&t);
	EXPECT_SPLIT(populated, logged, SZ_16M / SZ_2M, 0);
	expect_unchanged(&s);
	log_rounds(&s, 1, 2, SOME, true);
	slot_log(&s, false);
	off = stats_read(&t);
	EXPECT_DELTA(populated, off, PAGES_2M, 0);
	EXPECT_DELTA(populated, off, PAGES_4K, 0);
	param_set(CGROUP "/pids.max", "max");
	cgroup_leave();
}

static void test_rate(void)
{
	struct hammer hammers[NR_VCPUS];
	struct stats before, after;
	s64 start, enable, disable;
	u64 progress;
	struct test_vm t;
	struct slot s;

	require_lpage_split();
	vm_new(&t, NR_VCPUS);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_32M, alloc_hugetlb(SZ_32M, SZ_2M));
	hammer_start(hammers, &s);
	hammer_wait(&t, slot_pages(&s));
	before = stats_read(&t);

	/* One second for all of it. */
	param_set(RATE_PARAM, "32");
	use_threads(&t, SZ_4M, 2);
	progress = READ_ONCE(t.ops[0].progress);
	start = lpage_now_ms();
	slot_log(&s, true);
	enable = lpage_now_ms() - start;
	TEST_ASSERT(READ_ONCE(t.ops[0].progress) > progress + 10, "The vCPU has been waiting");
	after = stats_read(&t);
	EXPECT_SPLIT(before, after, SZ_32M / SZ_2M, 0);

	start = lpage_now_ms();
	slot_log(&s, false);
	disable = lpage_now_ms() - start;
	after = stats_read(&t);
	EXPECT_DELTA(before, after, PAGES_2M, 0);
	hammer_stop(hammers, &s);

	/* The first chunk of each thread may be for free. */
	TEST_ASSERT(enable >= 700 && enable < 10000, "Enabling took %ld ms", enable);
	TEST_ASSERT(disable >= 700 && disable < 10000, "Disabling took %ld ms", disable);

	param_set(RATE_PARAM, "0");
	start = lpage_now_ms();
	slot_log(&s, true);
	enable = lpage_now_ms() - start;
	TEST_ASSERT(enable < 700, "Enabling without a limit took %ld ms", enable);
}

/* Tasks that are killed */

#define KILLED_SIZE		SZ_256M

static void wait_for_tables(u64 kb)
{
	s64 deadline = lpage_now_ms() + 20000;

	while (lpage_sec_page_tables_kb() == kb) {
		TEST_ASSERT(lpage_now_ms() < deadline, "The operation does not begin");
		usleep(1000);
	}
}

/* Until the child @pid says how much there was when it began. */
static void wait_for_child(pid_t pid, u64 *tables_kb)
{
	int status;

	while (!READ_ONCE(*tables_kb)) {
		if (waitpid(pid, &status, WNOHANG) == pid) {
			if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP)
				exit(KSFT_SKIP);
			TEST_FAIL("The VM's process ended by itself");
		}
		usleep(1000);
	}
}

/* In minutes; @threads as for the parameter. */
static void kill_slow(bool enabling, const char *threads)
{
	u64 before_kb, *tables_kb;
	struct test_vm t;
	struct slot s;
	int status;
	s64 start;
	pid_t pid;

	before_kb = lpage_sec_page_tables_kb();
	tables_kb = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(tables_kb != MAP_FAILED, "mmap() failed");
	param_set(THREADS_PARAM, threads);

	pid = fork();
	TEST_ASSERT(pid >= 0, "fork() failed");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		vm_new(&t, 1);
		slot_add(&t, &s, TEST_SLOT, TEST_GPA, KILLED_SIZE,
			 alloc_hugetlb(KILLED_SIZE, SZ_2M));
		use_threads(&t, SZ_4M, 0);
		guest_write(&s, 0, slot_pages(&s), 1);
		if (!enabling)
			slot_log(&s, true);
		param_set(RATE_PARAM, "1");
		WRITE_ONCE(*tables_kb, lpage_sec_page_tables_kb());
		slot_log(&s, enabling);
		exit(KSFT_FAIL);
	}

	wait_for_child(pid, tables_kb);
	wait_for_tables(*tables_kb);
	start = lpage_now_ms();
	kill(pid, SIGKILL);
	TEST_ASSERT(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status),
		    "The VM's process was not killed");
	TEST_ASSERT(lpage_now_ms() - start < PROMPT_MS, "It took %ld ms to be killed",
		    lpage_now_ms() - start);
	lpage_wait_sec_page_tables(before_kb);
	param_set(RATE_PARAM, "0");
}

static void test_kill(void)
{
	require_lpage_split();
	kill_slow(true, "1");
	kill_slow(true, "3");
	kill_slow(false, "1");
	kill_slow(false, "3");
}

/*
 * A process that shares all with us but its life: it is killed while it turns
 * logging on or clears the log, and we use what it leaves.
 */
struct killed_op {
	struct slot *s;
	unsigned long *log;
	u64 state;
};

static int killed_process(void *arg)
{
	struct killed_op *op = arg;
	struct slot *s = op->s;

	WRITE_ONCE(op->state, 1);
	if (op->log)
		kvm_vm_clear_dirty_log(s->t->vm, s->id, op->log, 0, s->size / SZ_4K);
	else
		slot_log(s, true);
	return 0;
}

static void kill_and_survive(enum log_mode mode, const char *threads)
{
	struct stats populated, logged;
	struct killed_op op = {};
	u64 nr_split, tables_kb;
	struct test_vm t;
	struct slot s;
	int status;
	char *stack;
	s64 start;
	pid_t pid;

	param_set(THREADS_PARAM, threads);
	vm_new_mode(&t, NR_VCPUS, mode);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, KILLED_SIZE, alloc_hugetlb(KILLED_SIZE, SZ_2M));
	s.stride = SPARSE_STRIDE;
	use_threads(&t, SZ_4M, 0);
	populate(&s);
	op.s = &s;
	if (mode == LOG_INITIALLY_SET) {
		slot_log(&s, true);
		op.log = log_alloc(&s);
		memset(op.log, 0xff, s.size / SZ_4K / 8);
	}
	populated = stats_read(&t);
	tables_kb = lpage_sec_page_tables_kb();

	param_set(RATE_PARAM, "1");
	stack = alloc_4k(SZ_64K);
	pid = clone(killed_process, stack + SZ_64K, CLONE_VM | CLONE_FILES | SIGCHLD, &op);
	TEST_ASSERT(pid > 0, "clone() failed");
	wait_for_tables(tables_kb);
	start = lpage_now_ms();
	kill(pid, SIGKILL);
	TEST_ASSERT(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status),
		    "The process was not killed");
	TEST_ASSERT(lpage_now_ms() - start < PROMPT_MS, "It took %ld ms to be killed",
		    lpage_now_ms() - start);
	param_set(RATE_PARAM, "0");

	logged = stats_read(&t);
	nr_split = populated.val[PAGES_2M] - logged.val[PAGES_2M];
	EXPECT_SPLIT(populated, logged, nr_split, 0);
	TEST_ASSERT(nr_split < s.size / SZ_2M, "All large pages were split");
	expect_unchanged(&s);
	log_rounds(&s, 1, 3, SOME, true);
	slot_log(&s, false);
	populate(&s);
	slot_delete(&s);
	kvm_vm_free(t.vm);
	munmap(s.hva, s.size);
	free(op.log);
}

static void test_killed_enable(void)
{
	require_lpage_split();
	kill_and_survive(LOG_LEGACY, "1");
	kill_and_survive(LOG_LEGACY, "3");
}

static void test_killed_clear(void)
{
	require_lpage_split();
	kill_and_survive(LOG_INITIALLY_SET, "1");
}

/*
 * Processes that are stopped, or frozen, in the middle.  The operation is not
 * cut off by that, but there is nothing to wait for any more.
 */
static void stopped_process(u64 *tables_kb)
{
	struct stats populated, logged;
	struct test_vm t;
	struct slot s;

	vm_new(&t, 1);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, KILLED_SIZE, alloc_hugetlb(KILLED_SIZE, SZ_2M));
	s.stride = SPARSE_STRIDE;
	use_threads(&t, SZ_4M, 3);
	populate(&s);
	populated = stats_read(&t);
	param_set(RATE_PARAM, "1");
	WRITE_ONCE(*tables_kb, lpage_sec_page_tables_kb());
	slot_log(&s, true);
	param_set(RATE_PARAM, "0");

	logged = stats_read(&t);
	EXPECT_SPLIT(populated, logged, KILLED_SIZE / SZ_2M, 0);
	wait_no_workers();
	expect_unchanged(&s);
	log_rounds(&s, 1, 2, SOME, true);
	slot_log(&s, false);
	verify_rounds(&s, 1, 2, SOME);
}

/* Until the cgroup is frozen, or the child has stopped. */
static void wait_paused(pid_t pid, bool freeze)
{
	s64 deadline = lpage_now_ms() + PROMPT_MS;
	int status;

	for (;;) {
		if (freeze && cgroup_value(CGROUP "/cgroup.events", "frozen"))
			return;
		if (!freeze && waitpid(pid, &status, WNOHANG | WUNTRACED) == pid) {
			TEST_ASSERT(WIFSTOPPED(status), "The VM's process ended by itself");
			return;
		}
		TEST_ASSERT(lpage_now_ms() < deadline, "The VM's process goes on");
		usleep(1000);
	}
}

static void stop_slow(bool freeze)
{
	u64 *tables_kb;
	int status;
	pid_t pid;

	tables_kb = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(tables_kb != MAP_FAILED, "mmap() failed");
	if (freeze)
		cgroup_enter();
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork() failed");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		stopped_process(tables_kb);
		exit(KSFT_PASS);
	}
	/* The child stays in the cgroup. */
	if (freeze)
		param_set(CGROUP_ROOT "/cgroup.procs", "0");
	wait_for_child(pid, tables_kb);
	wait_for_tables(*tables_kb);

	if (freeze)
		param_set(CGROUP "/cgroup.freeze", "1");
	else
		kill(pid, SIGSTOP);
	wait_paused(pid, freeze);
	if (freeze)
		param_set(CGROUP "/cgroup.freeze", "0");
	else
		kill(pid, SIGCONT);

	TEST_ASSERT(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status),
		    "The VM's process has failed");
	if (freeze)
		cgroup_leave();
}

static void test_stop(void)
{
	require_lpage_split();
	stop_slow(false);
}

static void test_freeze(void)
{
	require_lpage_split();
	stop_slow(true);
}

/* Knobs */

static void test_param_values(void)
{
	static const struct {
		const char *path, *value, *reads;	/* refused if it does not read */
	} cases[] = {
		{ SPLIT_PARAM, "0", "N" }, { SPLIT_PARAM, "1", "Y" },
		{ SPLIT_PARAM, "n", "N" }, { SPLIT_PARAM, "Y\n", "Y" },
		{ SPLIT_PARAM, "2" }, { SPLIT_PARAM, "-1" }, { SPLIT_PARAM, "x" },
		{ SPLIT_PARAM, " " }, { SPLIT_PARAM, "\n" },
		{ THREADS_PARAM, "0", "0" }, { THREADS_PARAM, "1", "1" },
		{ THREADS_PARAM, "64", "64" }, { THREADS_PARAM, "7\n", "7" },
		{ THREADS_PARAM, "65" }, { THREADS_PARAM, "-1" }, { THREADS_PARAM, "x" },
		{ THREADS_PARAM, "1 2" }, { THREADS_PARAM, "4294967296" },
		{ THREADS_PARAM, "4294967297" }, { THREADS_PARAM, "\n" },
		{ THREADS_PARAM, "1.5" }, { THREADS_PARAM, "1k" },
		{ RATE_PARAM, "0", "0" }, { RATE_PARAM, "1", "1" },
		{ RATE_PARAM, "1048576", "1048576" }, { RATE_PARAM, "1000\n", "1000" },
		{ RATE_PARAM, "1048577" }, { RATE_PARAM, "-1" }, { RATE_PARAM, "x" },
		{ RATE_PARAM, "4294967296" }, { RATE_PARAM, "18446744073709551616" },
		{ RATE_PARAM, "\n" }, { RATE_PARAM, "0.5" },
	};
	char before[32], after[32];
	struct stat st;
	int i, err;

	require_lpage_split();
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		TEST_ASSERT(!stat(cases[i].path, &st) && (st.st_mode & 0777) == 0644,
			    "%s has mode %o", cases[i].path, st.st_mode);
		file_read(cases[i].path, before, sizeof(before));
		err = file_write(cases[i].path, cases[i].value);
		file_read(cases[i].path, after, sizeof(after));
		if (!cases[i].reads) {
			/* What is too large for the type is a matter of the parser. */
			TEST_ASSERT(err == EINVAL || (err == ERANGE && strlen(cases[i].value) > 9),
				    "Writing '%s' to %s gave '%s', want EINVAL",
				    cases[i].value, cases[i].path, strerror(err));
			TEST_ASSERT(!strcmp(before, after), "Writing '%s' left '%s'",
				    cases[i].value, after);
		} else {
			TEST_ASSERT(!err, "Writing '%s' to %s gave '%s'", cases[i].value,
				    cases[i].path, strerror(err));
			after[strcspn(after, "\n")] = '\0';
			TEST_ASSERT(!strcmp(after, cases[i].reads), "Writing '%s' left '%s'",
				    cases[i].value, after);
		}
	}
}

static void test_cap_values(void)
{
	static const struct {
		u32 flags;
		u64 args[4];
		int err;
	} cases[] = {
		{ 0, { 0, 0 }, 0 },
		{ 0, { SZ_2M, 1 }, 0 },
		{ 0, { SZ_4M + SZ_2M, 2 }, 0 },
		{ 0, { SZ_1G, 64 }, 0 },
		{ 0, { 0, 64 }, 0 },
		{ 0, { SZ_2M, 0 }, 0 },
		{ 0, { 1, 0 }, EINVAL },
		{ 0, { SZ_4K, 0 }, EINVAL },
		{ 0, { SZ_1M, 0 }, EINVAL },
		{ 0, { SZ_2M - 1, 0 }, EINVAL },
		{ 0, { SZ_2M + SZ_4K, 0 }, EINVAL },
		{ 0, { SZ_1G + SZ_2M, 0 }, EINVAL },
		{ 0, { 2ull * SZ_1G, 0 }, EINVAL },
		{ 0, { BIT_ULL(63), 0 }, EINVAL },
		{ 0, { BIT_ULL(32), 0 }, EINVAL },
		{ 0, { BIT_ULL(32) + SZ_2M, 0 }, EINVAL },
		{ 0, { -1ull, 0 }, EINVAL },
		{ 0, { 0, 65 }, EINVAL },
		{ 0, { 0, BIT_ULL(32) }, EINVAL },
		{ 0, { 0, BIT_ULL(32) + 1 }, EINVAL },
		{ 0, { 0, -1ull }, EINVAL },
		{ 0, { 0, 0, 1, 0 }, EINVAL },
		{ 0, { 0, 0, 0, 1 }, EINVAL },
		{ 0, { 0, 0, BIT_ULL(63), 0 }, EINVAL },
		{ 1, { 0, 0 }, EINVAL },
		{ BIT(31), { SZ_2M, 1 }, EINVAL },
	};
	struct kvm_enable_cap cap;
	struct test_vm t;
	int i, r, err;

	require_lpage_split();
	TEST_ASSERT_EQ(kvm_check_cap(KVM_CAP_X86_LPAGE_SPLIT), 64);
	vm_new(&t, 1);
	TEST_ASSERT_EQ(vm_check_cap(t.vm, KVM_CAP_X86_LPAGE_SPLIT), 64);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		cap = (struct kvm_enable_cap) {
			.cap = KVM_CAP_X86_LPAGE_SPLIT, .flags = cases[i].flags,
		};
		memcpy(cap.args, cases[i].args, sizeof(cap.args));
		r = __vm_ioctl(t.vm, KVM_ENABLE_CAP, &cap);
		err = r ? errno : 0;
		TEST_ASSERT(err == cases[i].err && (!r || r == -1),
			    "Case %d: chunk 0x%lx threads %lu gave %d (%s)", i,
			    cases[i].args[0], cases[i].args[1], r, strerror(err));
	}
	/* A VM's capability, not a vCPU's. */
	cap = (struct kvm_enable_cap) { .cap = KVM_CAP_X86_LPAGE_SPLIT };
	TEST_ASSERT(__vcpu_ioctl(t.vcpu[0], KVM_ENABLE_CAP, &cap) == -1 && errno == EINVAL,
		    "A vCPU took the capability");
}

/* What was refused has not changed anything: the two threads stay two. */
static void test_cap_refused(void)
{
	struct test_vm t;
	struct slot s;

	require_lpage_split();
	vm_new(&t, NR_VCPUS);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_16M, alloc_hugetlb(SZ_16M, SZ_2M));
	param_set(RATE_PARAM, "64");
	use_threads(&t, SZ_2M, 2);
	TEST_ASSERT(split_cap(&t, SZ_4K, 5), "A bad chunk was taken");
	TEST_ASSERT(split_cap(&t, SZ_4M, 65), "A bad number of threads was taken");
	expect_workers(&s, 1);
}

/* vCPUs that run all the while */

/*
 * What a migration does: all pages are copied once, and then again those that
 * the log has, until the vCPUs stop and nothing is left.  The copy must be
 * right.
 */
static void copy_logged(struct slot *s, const unsigned long *log, u64 *copy)
{
	u64 i;

	for (i = 0; i < slot_pages(s); i++)
		if (log_has(s, log, i))
			copy[i] = READ_ONCE(*host_word(s, i));
}

static void migrate(struct slot *s, struct hammer *hammers, u64 *copy, unsigned long *log)
{
	u64 i;
	int n;

	hammer_start(hammers, s);
	hammer_wait(s->t, 16);
	slot_log(s, true);
	host_read(s, copy);
	for (n = 0; n < 2; n++) {
		hammer_wait(s->t, 32);
		log_collect(s, log);
		copy_logged(s, log, copy);
	}
	hammer_stop(hammers, s);
	log_collect(s, log);
	copy_logged(s, log, copy);
	for (i = 0; i < slot_pages(s); i++)
		TEST_ASSERT(copy[i] == *host_word(s, i),
			    "Page %lu was written, but was not in the log", i);
	slot_log(s, false);
}

static void *toggle_params_thread(void *arg)
{
	bool *stop = arg;
	int i;

	for (i = 0; !READ_ONCE(*stop); i++) {
		param_set(SPLIT_PARAM, i % 3 ? "Y" : "N");
		param_set(EAGER_PARAM, i % 5 ? "Y" : "N");
		param_set(THREADS_PARAM, i % 2 ? "2" : "1");
		usleep(2000);
	}
	return NULL;
}

static void migrate_often(enum log_mode mode, int rounds, bool toggle_params)
{
	struct hammer hammers[NR_VCPUS];
	struct stats before, after;
	unsigned long *log;
	bool stop = false;
	pthread_t toggler;
	struct test_vm t;
	struct slot s;
	u64 *copy;

	vm_new_mode(&t, NR_VCPUS, mode);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_hugetlb(SZ_8M, SZ_2M));
	log = log_alloc(&s);
	copy = calloc(slot_pages(&s), sizeof(*copy));
	if (have_lpage_split())
		use_threads(&t, SZ_2M, toggle_params ? 0 : 2);
	if (toggle_params)
		thread_start(&toggler, toggle_params_thread, &stop);
	before = stats_read(&t);
	while (rounds--)
		migrate(&s, hammers, copy, log);
	after = stats_read(&t);
	if (have_lpage_split())
		TEST_ASSERT(after.val[SPLIT_2M] > before.val[SPLIT_2M], "Nothing was split");
	if (toggle_params) {
		WRITE_ONCE(stop, true);
		pthread_join(toggler, NULL);
	}
	free(copy);
	free(log);
}

static void test_migrate(void)
{
	migrate_often(LOG_LEGACY, 100, false);
}

static void test_migrate_initially_set(void)
{
	migrate_often(LOG_INITIALLY_SET, 100, false);
}

static void test_migrate_params(void)
{
	require_lpage_split();
	migrate_often(LOG_LEGACY, 50, true);
	migrate_often(LOG_INITIALLY_SET, 50, true);
}

/*
 * vCPUs that never leave the guest have the old permissions in their TLBs.  As
 * soon as logging is on, that must be over.
 */
static void test_tlb(void)
{
	struct hammer hammers[NR_VCPUS];
	struct slot s, two_pages;
	unsigned long *log;
	struct test_vm t;
	int i, page;
	u64 word;

	vm_new(&t, NR_VCPUS);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_2M, alloc_hugetlb(SZ_2M, SZ_2M));
	log = log_alloc(&s);
	two_pages = s;
	two_pages.size = 2 * SZ_4K;
	hammer_start(hammers, &two_pages);
	for (i = 0; i < 60; i++) {
		page = i % NR_VCPUS;
		hammer_wait(&t, 16);
		slot_log(&s, true);
		word = READ_ONCE(*host_word(&s, page));
		while (READ_ONCE(*host_word(&s, page)) == word)
			give_way();
		log_collect(&s, log);
		TEST_ASSERT(log_has(&s, log, page), "Round %d: a write was not logged", i);
		/* The same again, after collecting. */
		word = READ_ONCE(*host_word(&s, page));
		while (READ_ONCE(*host_word(&s, page)) == word)
			give_way();
		log_collect(&s, log);
		TEST_ASSERT(log_has(&s, log, page), "Round %d: a write was not logged", i);
		slot_log(&s, false);
	}
	hammer_stop(hammers, &two_pages);
	free(log);
}

/* Slots and VMs that go away, host memory that changes */

static void test_memslot_race(void)
{
	struct hammer hammers[NR_VCPUS];
	struct slot s, moved;
	struct stats before, after;
	pthread_t toggler;
	struct test_vm t;
	int i;

	vm_new(&t, NR_VCPUS);
	if (have_lpage_split())
		use_threads(&t, SZ_2M, 3);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_hugetlb(SZ_8M, SZ_2M));
	/* Takes all of the VM's mappings along. */
	slot_delete(&s);
	before = stats_read(&t);

	slot_set(&s, 0);
	hammer_start(hammers, &s);
	thread_start(&toggler, toggle_thread, &s);
	for (i = 0; i < RACE_ROUNDS; i++) {
		hammer_wait(&t, 64);
		slot_delete(&s);
		hammer_wait(&t, 16);
		/* Created elsewhere, moved to its place, in which logging may be on. */
		moved = s;
		moved.gpa += SZ_1G;
		slot_set(&moved, i % 2 ? KVM_MEM_LOG_DIRTY_PAGES : 0);
		__vm_set_user_memory_region(t.vm, s.id, i % 2 ? KVM_MEM_LOG_DIRTY_PAGES : 0,
					    s.gpa, s.size, s.hva);
		slot_delete(&s);
		slot_set(&s, i % 2 ? KVM_MEM_LOG_DIRTY_PAGES : 0);
	}
	pthread_join(toggler, NULL);
	slot_log(&s, false);
	hammer_stop(hammers, &s);
	slot_delete(&s);
	after = stats_read(&t);
	EXPECT_DELTA(before, after, PAGES_4K, 0);
	EXPECT_DELTA(before, after, PAGES_2M, 0);
	lpage_wait_sec_page_tables(before.sec_page_tables_kb);
}

static void test_mmu_notifier_race(void)
{
	struct hammer hammers[NR_VCPUS];
	pthread_t notifier, toggler;
	struct test_vm t;
	struct slot s;

	vm_new(&t, NR_VCPUS);
	if (have_lpage_split())
		use_threads(&t, SZ_2M, 2);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_thp(SZ_8M));
	hammer_start(hammers, &s);
	thread_start(&notifier, notifier_thread, &s);
	thread_start(&toggler, toggle_thread, &s);
	pthread_join(notifier, NULL);
	pthread_join(toggler, NULL);
	hammer_wait(&t, slot_pages(&s) / 2);
	hammer_stop(hammers, &s);
}

static void *dontneed_thread(void *arg)
{
	struct slot *s = arg;
	int i;

	for (i = 0; i < 2 * RACE_ROUNDS; i++) {
		madvise(s->hva + i % (s->size / SZ_2M) * SZ_2M, i % 3 ? SZ_2M : SZ_4K,
			MADV_DONTNEED);
		usleep(500);
	}
	return NULL;
}

/* Pages that go away.  The guest must see the new ones, all of which are zero. */
static void test_dontneed_race(void)
{
	pthread_t thread;
	struct test_vm t;
	struct slot s;
	int i;

	vm_new_mode(&t, 1, LOG_INITIALLY_SET);
	if (have_lpage_split())
		use_threads(&t, SZ_2M, 2);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, alloc_thp(SZ_8M));
	thread_start(&thread, dontneed_thread, &s);
	for (i = 0; i < RACE_ROUNDS; i++) {
		guest_write(&s, 0, slot_pages(&s), 1);
		slot_log(&s, true);
		collect_first(&s);
		slot_log(&s, false);
	}
	pthread_join(thread, NULL);
	TEST_ASSERT(!madvise(s.hva, s.size, MADV_DONTNEED), "madvise() failed");
	guest_do(&s, OP_VERIFY_ZERO, 0, slot_pages(&s), 0);
	slot_log(&s, true);
	collect_first(&s);
	guest_write(&s, 0, slot_pages(&s), 1);
	log_rounds(&s, 1, 0, SOME, false);
}

/* Killed at any point of turning logging on and off, with workers about. */
static void test_vm_exit_race(void)
{
	vm_exit_race(4, SZ_64M, 3, 1024);
}

/* Leaks */

#define SLAB			"/sys/kernel/slab/kvm_mmu_page_header"

/* Objects in use, exactly, once the CPUs have given theirs back. */
static u64 slab_objects(void)
{
	char value[64];

	param_set(SLAB "/shrink", "1");
	file_read(SLAB "/objects", value, sizeof(value));
	return strtoul(value, NULL, 10);
}

/* Freed by RCU: wait until no more than @nr are left. */
static void wait_slab_objects(u64 nr)
{
	s64 deadline = lpage_now_ms() + 5000;

	while (slab_objects() > nr) {
		TEST_ASSERT(lpage_now_ms() < deadline, "%lu page headers in use, want %lu",
			    slab_objects(), nr);
		usleep(1000);
	}
}

/* One leaked page a round would be four times as much. */
#define LEAK_ROUNDS		1000
#define LEAK_BYTES		SZ_1M

/* A kind of memory of which more page tables are asked for than it takes. */
static void leak_cycles(enum log_mode mode)
{
	const int rounds = have_lpage_split() ? LEAK_ROUNDS : 10;
	u64 nr_2m = mode == LOG_INITIALLY_SET ? 1 : 2;
	struct stats before, after;
	unsigned long mask = 1;
	u64 objects, bytes;
	struct test_vm t;
	struct slot s;
	s64 deadline;
	char *mem;
	int i;

	mem = alloc_4k(SZ_8M);
	make_thp(mem, SZ_2M);
	make_thp(mem + 3 * SZ_2M, SZ_2M);
	vm_new_mode(&t, 1, mode);
	slot_add(&t, &s, TEST_SLOT, TEST_GPA, SZ_8M, mem);
	populate(&s);
	before = stats_read(&t);
	objects = slab_objects();
	bytes = cgroup_value(CGROUP "/memory.current", "");

	for (i = 0; i < rounds; i++) {
		if (have_lpage_split() && !(i % (rounds / 4)))
			use_threads(&t, i % (rounds / 2) ? SZ_2M : 0, 1 + i / (rounds / 4));
		slot_log(&s, true);
		if (mode == LOG_INITIALLY_SET)
			kvm_vm_clear_dirty_log(t.vm, s.id, &mask, 0, 64);
		slot_log(&s, false);
	}
	after = stats_read(&t);
	if (have_lpage_split()) {
		EXPECT_COUNTED(before, after, nr_2m * rounds, 0, 0);
		EXPECT_DELTA(before, after, PAGES_2M, 0);
	}
	guest_verify(&s, 0, slot_pages(&s), 1);
	lpage_wait_sec_page_tables(before.sec_page_tables_kb);
	wait_slab_objects(objects);
	deadline = lpage_now_ms() + 5000;
	while (cgroup_value(CGROUP "/memory.current", "") > bytes + LEAK_BYTES) {
		TEST_ASSERT(lpage_now_ms() < deadline, "%lu bytes in use, want about %lu",
			    cgroup_value(CGROUP "/memory.current", ""), bytes);
		usleep(10000);
	}
	slot_delete(&s);
	kvm_vm_free(t.vm);
}

static void test_no_leak(void)
{
	struct stat st;

	if (lstat(SLAB, &st) || S_ISLNK(st.st_mode))
		skip("needs slab_nomerge on the kernel's command line");

	cgroup_enter();
	leak_cycles(LOG_LEGACY);
	leak_cycles(LOG_INITIALLY_SET);
	cgroup_leave();
}

/* Running subtests */

static const struct subtest subtests[] = {
	SUBTEST(hugetlb_2m),
	SUBTEST(hugetlb_1g),
	SUBTEST(thp),
	SUBTEST(4k),
	SUBTEST(mixed),
	SUBTEST(host_read_only),
	SUBTEST(executable),
	SUBTEST(nx_huge_pages),
	SUBTEST(unaligned_slots),
	SUBTEST(slot_in_1g),
	SUBTEST(adjacent_slots),
	SUBTEST(read_only_slot),
	SUBTEST(smm),
	SUBTEST(two_roots),
	SUBTEST(nested_guest),
	SUBTEST(manual),
	SUBTEST(ring),
	SUBTEST(initially_set),
	SUBTEST(initially_set_1g),
	SUBTEST(clear_piecemeal_2m),
	SUBTEST(clear_piecemeal_1g),
	SUBTEST(clear_word_across_1g),
	SUBTEST(ring_initially_set),
	SUBTEST(bad_calls),
	SUBTEST(eager_off),
	SUBTEST(split_off),
	SUBTEST(split_toggled),
	SUBTEST(spte_bits),
	SUBTEST(numa),
	SUBTEST(memcg_charge),
	SUBTEST(nomem_enable),
	SUBTEST(nomem_clear),
	SUBTEST(nomem_threads),
	SUBTEST(threads),
	SUBTEST(threads_auto),
	SUBTEST(threads_shapes),
	SUBTEST(threads_refused),
	SUBTEST(rate),
	SUBTEST(kill),
	SUBTEST(killed_enable),
	SUBTEST(killed_clear),
	SUBTEST(stop),
	SUBTEST(freeze),
	SUBTEST(param_values),
	SUBTEST(cap_values),
	SUBTEST(cap_refused),
	SUBTEST(migrate),
	SUBTEST(migrate_initially_set),
	SUBTEST(migrate_params),
	SUBTEST(tlb),
	SUBTEST(memslot_race),
	SUBTEST(mmu_notifier_race),
	SUBTEST(dontneed_race),
	SUBTEST(vm_exit_race),
	SUBTEST(no_leak),
};

static struct param params[] = {
	{ SPLIT_PARAM, "Y" },
	{ PROMOTE_PARAM, "Y" },
	{ THREADS_PARAM, "1" },
	{ RATE_PARAM, "0" },
	{ EAGER_PARAM, "Y" },
	{ NX_PARAM },
	{ },
};

static void check(void)
{
	if (!get_kvm_param_bool("tdp_mmu"))
		ksft_exit_skip("needs kvm.tdp_mmu\n");
}

int main(int argc, char **argv)
{
	return run_subtests(argc, argv, subtests, ARRAY_SIZE(subtests), params, check);
}
