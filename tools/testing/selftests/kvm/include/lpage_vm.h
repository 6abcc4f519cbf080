/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of the large page code are made of: a guest that does what it
 * is told, one operation at a time, slots of every kind of host memory, their
 * dirty logs, statistics before and after, and subtests that run in children of
 * their own.
 */
#ifndef SELFTEST_KVM_LPAGE_VM_H
#define SELFTEST_KVM_LPAGE_VM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <linux/bits.h>
#include <linux/sizes.h>

#include "kvm_util.h"
#include "lpage_test.h"
#include "processor.h"
#include "svm_util.h"
#include "test_util.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif

#define NR_VCPUS		2

/*
 * Guest memory under test, mapped at the same virtual address: 2 GiB of guest
 * physical space, 1 GiB aligned for the 1G page, below 4 GiB for SMM code; and
 * a little before that, for slots that do not start at a large page.
 */
#define TEST_GPA		0x40000000ull
#define TEST_SPACE		(2ull * SZ_1G)
#define TEST_MARGIN		SZ_2M
#define TEST_SLOT		10
#define SMM_AS			BIT(16)

#define PAGES_PER_2M		(SZ_2M / SZ_4K)
#define PAGES_PER_1G		(SZ_1G / SZ_4K)

#define PARAMS			"/sys/module/kvm/parameters/"
#define SPLIT_PARAM		PARAMS "lpage_split"
#define PROMOTE_PARAM		PARAMS "lpage_promote"
#define THREADS_PARAM		PARAMS "lpage_split_threads"
#define RATE_PARAM		PARAMS "lpage_rate_mbps"
#define EAGER_PARAM		PARAMS "eager_page_split"
#define NX_PARAM		PARAMS "nx_huge_pages"
#define PROTECTED_PARAM		PARAMS "sw_protected_vm"
#define GMEM_PARAM		PARAMS "gmem_huge"
#define BACKGROUND_PARAM	PARAMS "lpage_background"

/* Guest side */

enum guest_op_type {
	OP_WRITE,	/* write the pattern of @gen to each page */
	OP_WRITE_SOME,	/* the same to the pages that are chosen() */
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
	u64 share;
	u64 stop;
	u64 progress;	/* pages that OP_HAMMER has written, also by earlier ones */
};

/* Differs between any two pages and any two generations; never zero. */
static inline u64 pattern(u64 gpa, u64 gen)
{
	return (gpa + gen) * 0x9e3779b97f4a7c15ull | 1;
}

/* Scatters numbers; the high bits are the better ones. */
static inline u64 scatter(u64 x)
{
	x = (x ^ x >> 31) * 0xbf58476d1ce4e5b9ull;
	return (x ^ x >> 29) * 0x94d049bb133111ebull;
}

/* A choice of @share in 256 pages that differs between generations. */
static inline bool chosen(u64 gpa, u64 gen, u64 share)
{
	return scatter((gpa >> 12) + gen * 0x9e3779b97f4a7c15ull) >> 56 < share;
}

/* Host side: VMs, slots */

enum log_mode {
	LOG_LEGACY,		/* KVM_GET_DIRTY_LOG protects what it reports */
	LOG_MANUAL,		/* KVM_CLEAR_DIRTY_LOG does */
	LOG_INITIALLY_SET,	/* and all pages start dirty */
	LOG_RING,		/* dirty rings */
	LOG_RING_INITIALLY_SET,
};

#define RING_ENTRIES	4096

struct test_vm {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu[NR_VCPUS];
	int nr_vcpus;
	enum log_mode mode;
	struct guest_op *ops;	/* those of the guest, one for each vCPU */
};

struct slot {
	struct test_vm *t;
	u32 id;
	u64 gpa;
	u64 size;
	u64 stride;	/* distance of the pages in use */
	char *hva;
};

static inline u64 slot_pages(const struct slot *s)
{
	return s->size / s->stride;
}

void vm_new_mode(struct test_vm *t, int nr_vcpus, enum log_mode mode);

/* With code of the test's own, which gets the number of its vCPU. */
void vm_new_guest(struct test_vm *t, int nr_vcpus, enum log_mode mode,
		  void (*guest_code)(u64 idx));

static inline void vm_new(struct test_vm *t, int nr_vcpus)
{
	vm_new_mode(t, nr_vcpus, LOG_LEGACY);
}

/* Memory can be private to the guest. */
void vm_new_protected(struct test_vm *t, int nr_vcpus);
void vm_new_protected_guest(struct test_vm *t, int nr_vcpus, enum log_mode mode,
			    void (*guest_code)(u64 idx));
bool have_protected_vms(void);

/* A nested guest, L2 with the nested page tables at @npt, or without any if 0. */
void vm_new_nested(struct test_vm *t, u64 npt);

void slot_set(struct slot *s, u32 flags);
void slot_delete(struct slot *s);
void slot_init(struct test_vm *t, struct slot *s, u32 id, u64 gpa, u64 size, char *hva);
void slot_add(struct test_vm *t, struct slot *s, u32 id, u64 gpa, u64 size, char *hva);

/* Private memory is that of the guest_memfd @fd from @offset on. */
void slot_add_gmem(struct test_vm *t, struct slot *s, u32 id, u64 gpa, u64 size, char *hva,
		   int fd, u64 offset);
void slot_set_private(struct slot *s, u64 first, u64 nr_pages, bool private);

static inline void slot_log(struct slot *s, bool on)
{
	slot_set(s, on ? KVM_MEM_LOG_DIRTY_PAGES : 0);
}

void op_set(struct test_vm *t, int vcpu, enum guest_op_type type, u64 gva,
	    u64 nr_pages, u64 stride, u64 gen);

/* Whether the vCPU came back from the end of its operation. */
bool op_done(struct kvm_vcpu *vcpu);

void vcpu_run_op(struct test_vm *t, int vcpu);

/* By vCPU 0. */
void guest_do(struct slot *s, enum guest_op_type type, u64 first, u64 nr_pages, u64 gen);

static inline void guest_write(struct slot *s, u64 first, u64 nr_pages, u64 gen)
{
	guest_do(s, OP_WRITE, first, nr_pages, gen);
}

static inline void guest_verify(struct slot *s, u64 first, u64 nr_pages, u64 gen)
{
	guest_do(s, OP_VERIFY, first, nr_pages, gen);
}

/* By all vCPUs, each its share of the pages. */
void guest_write_some(struct slot *s, u64 gen, u64 share);

static inline u64 *host_word(struct slot *s, u64 page)
{
	return (u64 *)(s->hva + page * s->stride);
}

void host_write(struct slot *s, u64 first, u64 nr_pages, u64 gen);
void host_verify(struct slot *s, u64 first, u64 nr_pages, u64 gen);

/* vCPU 0 is about to write to memory that is read-only in the host. */
void expect_efault(struct test_vm *t);

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
	SPLIT_2M,
	SPLIT_1G,
	SPLIT_NOMEM,
	FLUSH_REQUESTS,
	CONVERT_SPLITS,
	GMEM_BLOCKS,
	GMEM_FALLBACKS,
	NR_STATS,
};

/* What this kvm.ko does not have is zero. */
struct stats {
	u64 val[NR_STATS];
	u64 sec_page_tables_kb;
};

struct stats stats_read(struct test_vm *t);
u64 faults_taken(struct test_vm *t);

/* @line is that of the subtest, which says more than one in the library. */
void expect_delta(unsigned int line, const struct stats *before,
		  const struct stats *after, enum stat_id id, s64 want);
void expect_promoted(unsigned int line, const struct stats *before,
		     const struct stats *after, u64 nr_2m, u64 nr_1g);
void expect_skips(unsigned int line, const struct stats *before,
		  const struct stats *after, u64 level, u64 empty, u64 nx, u64 mixed);
void expect_faults(unsigned int line, struct test_vm *t, u64 before, u64 want);

#define EXPECT_DELTA(before, after, id, want) \
	expect_delta(__LINE__, &(before), &(after), id, want)
#define EXPECT_PROMOTED(before, after, nr_2m, nr_1g) \
	expect_promoted(__LINE__, &(before), &(after), nr_2m, nr_1g)
#define EXPECT_SKIPS(before, after, level, empty, nx, mixed) \
	expect_skips(__LINE__, &(before), &(after), level, empty, nx, mixed)
#define EXPECT_FAULTS(t, before, want) \
	expect_faults(__LINE__, t, before, want)

/* Host side: parameters and the like */

/* The error number that writing gave, or zero. */
int file_write(const char *path, const char *value);
void file_read(const char *path, char *value, size_t size);

/* As file_write(), but it must work. */
void param_set(const char *path, const char *value);

/* Whether kvm.ko is one that these tests are for. */
bool have_lpage_split(void);
void require_lpage_split(void);

/* KVM_CAP_X86_LPAGE_SPLIT; returns what the ioctl does. */
int split_cap(struct test_vm *t, u64 chunk, u64 threads);

/* Small chunks, so that there is something to do for each thread. */
void use_threads(struct test_vm *t, u64 chunk, u64 threads);

/* Host side: memory */

/* Address space at a multiple of @align, with nothing there. */
char *reserve(u64 size, u64 align);

/* Put anonymous memory of one kind there. */
void map_4k(char *mem, u64 size);
void map_hugetlb(char *mem, u64 size, u64 page_size);

/* Anonymous memory of 4K pages, placed so that it could hold huge ones. */
char *alloc_4k(u64 size);
char *alloc_hugetlb(u64 size, u64 page_size);

/* Let [@mem, @mem + @size) of alloc_4k() be transparent huge pages. */
void make_thp(char *mem, u64 size);
char *alloc_thp(u64 size);

/* Host side: the dirty log */

unsigned long *log_alloc(struct slot *s);
bool log_has(struct slot *s, const unsigned long *log, u64 page);
void log_expect(struct slot *s, const unsigned long *log, u64 first, u64 nr_pages,
		bool dirty);

/* Add the rings of all vCPUs to @log, and let KVM protect those pages again. */
void ring_collect(struct slot *s, unsigned long *log);

/* What was written since the last time, to be logged again, by the VM's mode. */
void log_collect(struct slot *s, unsigned long *log);

/* Host side: rounds of writing and collecting */

/* The pages of the slot that guest_write_some() chooses. */
u64 nr_chosen(struct slot *s, u64 gen, u64 share);

/* The log has these, and nothing else. */
void expect_log(struct slot *s, const unsigned long *log, u64 gen, u64 share);

/*
 * All pages held generation @base when @nr rounds of writing began; each round
 * wrote the next generation to a choice of them.
 */
void verify_rounds(struct slot *s, u64 base, int nr, u64 share);

/* @one_fault: each page that gets written has been mapped, and protected. */
void log_rounds(struct slot *s, u64 base, int nr, u64 share, bool one_fault);

/* Have all of a slot mapped for writing, with generation 1 in it. */
void populate(struct slot *s);

/*
 * With KVM_DIRTY_LOG_INITIALLY_SET nothing happens before the first collection,
 * which reports all pages.
 */
void collect_first(struct slot *s);

/* vCPUs that run all the while */

void thread_start(pthread_t *thread, void *(*fn)(void *), void *arg);

struct hammer {
	pthread_t thread;
	struct slot *s;
	int vcpu;
};

/* The vCPUs take turns page by page: any huge page is in use by all of them. */
void hammer_start(struct hammer *hammers, struct slot *s);

/* What a loop that waits for another CPU does. */
void give_way(void);

/* Wait until each vCPU has written @nr_pages more. */
void hammer_wait(struct test_vm *t, u64 nr_pages);

/* Each page must hold how often it was written; the vCPUs can be started again. */
void hammer_stop(struct hammer *hammers, struct slot *s);

void host_read(struct slot *s, u64 *words);

/* Threads that race with what the test does to a slot, their argument */

#define RACE_ROUNDS	40
#define NOTIFIER_ROUNDS	(3 * RACE_ROUNDS)

/* Turns logging on and off, RACE_ROUNDS times. */
void *toggle_thread(void *slot);

/*
 * Splits and collapses huge pages of the host under KVM's feet, in ways that keep
 * their content.  Nothing but mmu_notifiers and mmu_lock orders this with KVM.
 */
void *notifier_thread(void *slot);

/*
 * Kill a VM that turns logging on and off, at another point in each of so many
 * rounds, and find all its page tables gone.  Its vCPUs write @nr_pages each
 * before it begins.
 */
void vm_exit_race(int rounds, u64 size, u64 threads, u64 nr_pages);

/* SMM has its own address space: a handler that counts up SMM_PAGES pages there. */

#define SMM_PAGES	1024

void smm_setup(struct test_vm *t);
void run_smm_handler(struct slot *s);
void expect_smm_count(struct slot *smm, u64 count);

/* A nested guest: L2 does one operation, then L1 does another. */

#define NPT_PAGES	6	/* PML4, PDPT, and PDs for 4 GiB */
#define NPT_PD		2
#define NPT_TABLE	(NPT_PRESENT | NPT_WRITABLE | NPT_USER)
#define NPT_LARGE	(NPT_TABLE | NPT_PAGE_SIZE)

/* They are those of any page table. */
#define NPT_PRESENT	BIT_ULL(0)
#define NPT_WRITABLE	BIT_ULL(1)
#define NPT_USER	BIT_ULL(2)
#define NPT_ACCESSED	BIT_ULL(5)
#define NPT_DIRTY	BIT_ULL(6)
#define NPT_PAGE_SIZE	BIT_ULL(7)

/* Identity for 4 GiB, in the first pages of the slot. */
void l1_build_npt(struct slot *s);

void nested_do(struct slot *s, enum guest_op_type l2_type, u64 l2_first,
	       u64 l2_nr, u64 l2_gen, enum guest_op_type l1_type,
	       u64 l1_first, u64 l1_nr, u64 l1_gen);

/* Subtests */

/* Leave the subtest for want of something. */
void __printf(1, 2) __noreturn skip(const char *fmt, ...);

#define SUBTEST(name) { #name, test_ ## name }

struct subtest {
	const char *name;
	void (*run)(void);
};

/*
 * A module parameter that subtests may change.  Each subtest starts with
 * @value, or, without one, with the value that the test program has found.
 */
struct param {
	const char *path;
	const char *value;
	char found[16];
};

/*
 * The test program: its options, and the subtests in children, one by one, so
 * that a failing one does not take the others along.  @check leaves if none of
 * them can be run.  @params ends with one that has no path; those that kvm.ko
 * does not have are left out.
 */
int run_subtests(int argc, char **argv, const struct subtest *subtests, int nr,
		 struct param *params, void (*check)(void));

#endif /* SELFTEST_KVM_LPAGE_VM_H */
