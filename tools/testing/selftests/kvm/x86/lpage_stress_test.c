// SPDX-License-Identifier: GPL-2.0-only
/*
 * All that happens to large pages at once, in one VM after another, until the time
 * is up: vCPUs write, the dirty log is turned on and off and collected, memslots
 * are deleted, moved and created again, the host splits, collapses, migrates, swaps
 * out and drops the memory, module parameters change, and most VMs are killed.
 *
 * Each page belongs to one vCPU, which counts in it, and in a table that nobody
 * but the vCPU touches.  Now and then everybody is held up: the memory must have
 * what the table has, and a copy that was brought up to date from the log alone,
 * as for a migration, must be the same as the memory.  Of each VM that is gone,
 * nothing may be left.
 *
 * Most VMs have private memory as well, of which the vCPUs convert pages and, a
 * little later, convert them back, as drivers do with their buffers.  Shared and
 * private, a page is two, each with a count of its own.
 *
 * The seed gives what each thread does, but not who is first.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <asm/barrier.h>
#include <linux/bitmap.h>
#include <linux/mempolicy.h>

#include "kselftest.h"
#include "lpage_leak.h"
#include "lpage_tasks.h"
#include "lpage_vm.h"
#include "ucall_common.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT		21
#endif

#define PAGEMAP_SWAPPED		BIT_ULL(62)

/* Two regions of guest memory, each a memslot. */
#define NR_REGIONS		2
#define REGION_PAGES		(4 * PAGES_PER_2M)
#define REGION_SPACE		SZ_64M
/* Where nobody looks. */
#define AWAY			SZ_1G

/* For so many visits a vCPU stays with so many pages of each region. */
#define NEAR_VISITS		64
#define NEAR_PAGES		8

/* A page that was converted is converted back after so many visits. */
#define ODD_VISITS		16

#define WORDS_PER_PAGE		(SZ_4K / sizeof(u64))

/* A guest that has not done anything for so long hangs. */
#define STUCK_MS		60000
#define PROGRESS_MS		10000

/* Guest side */

struct guest_page {
	u64 count;	/* what both words of the page hold, unless the host drops it */
	u64 stamp;	/* @drops before the last write */
	u64 drops;	/* by the host: twice for each time, odd meanwhile */
};

/* What a page of the region of private memory holds, shared and private. */
struct guest_sides {
	u64 count[2];
	u64 private;
};

static struct {
	u64 nr_pages[NR_REGIONS];
	u64 gva[NR_REGIONS];
	u64 seed;
	u64 stop;
	u64 progress[NR_VCPUS];
	struct guest_page pages[NR_REGIONS][REGION_PAGES];
	u64 nr_sides;		/* 0 if there is no private memory */
	u64 sides_gva;
	struct guest_sides sides[REGION_PAGES];
} guest;

/* What a vCPU wants when it stops running. */
enum guest_sync {
	SYNC_STOP,
	SYNC_CONVERT,		/* page, to private or not */
};

static u64 mix(u64 x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static u64 rnd64(u64 *state)
{
	*state += 0x9e3779b97f4a7c15ull;
	return mix(*state);
}

/* A word that is not what it was is zero, and the page was dropped since. */
static bool word_is_right(u64 word, const struct guest_page *page)
{
	u64 drops = READ_ONCE(page->drops);

	return word == page->count || (!word && (drops != page->stamp || (drops & 1)));
}

static void guest_visit(struct guest_page *page, u64 *words, bool write)
{
	u64 *last = &words[WORDS_PER_PAGE - 1];

	GUEST_ASSERT(word_is_right(READ_ONCE(words[0]), page));
	GUEST_ASSERT(word_is_right(READ_ONCE(*last), page));
	if (!write)
		return;

	page->stamp = READ_ONCE(page->drops);
	page->count++;
	WRITE_ONCE(words[0], page->count);
	WRITE_ONCE(*last, page->count);
}

static void guest_visit_side(u64 nr)
{
	u64 *words = (u64 *)(guest.sides_gva + nr * SZ_4K), *last = &words[WORDS_PER_PAGE - 1];
	u64 *count = &guest.sides[nr].count[guest.sides[nr].private];

	GUEST_ASSERT_EQ(READ_ONCE(words[0]), *count);
	GUEST_ASSERT_EQ(READ_ONCE(*last), *count);
	++*count;
	WRITE_ONCE(words[0], *count);
	WRITE_ONCE(*last, *count);
}

static void guest_convert(u64 nr)
{
	guest.sides[nr].private = !guest.sides[nr].private;
	GUEST_SYNC_ARGS(SYNC_CONVERT, nr, guest.sides[nr].private, 0, 0);
}

/* One page at a time is not what its neighbours are, and it is visited like them. */
static void guest_sides_main(u64 idx, u64 x)
{
	static u64 odd[NR_VCPUS], visits[NR_VCPUS];
	u64 nr = x % (guest.nr_sides / NR_VCPUS) * NR_VCPUS + idx;

	guest_visit_side(nr);
	if (!(visits[idx]++ % ODD_VISITS)) {
		if (odd[idx])
			guest_convert(odd[idx] - 1);
		odd[idx] = odd[idx] ? 0 : nr + 1;
		if (odd[idx])
			guest_convert(nr);
	}
	if (odd[idx])
		guest_visit_side(odd[idx] - 1);
}

static void guest_main(u64 idx)
{
	u64 state = guest.seed + idx, x, nr, near = 0;
	int r;

	for (;;) {
		while (!READ_ONCE(guest.stop)) {
			x = rnd64(&state);
			r = x % NR_REGIONS;
			/* Mostly the same pages again, as each new one takes a fault. */
			if (!(x >> 8 & (NEAR_VISITS - 1)))
				near = x >> 16;
			nr = (near + (x >> 56) % NEAR_PAGES) % (guest.nr_pages[r] / NR_VCPUS);
			nr = nr * NR_VCPUS + idx;
			guest_visit(&guest.pages[r][nr], (u64 *)(guest.gva[r] + nr * SZ_4K),
				    x >> 14 & 3);
			if (guest.nr_sides)
				guest_sides_main(idx, near + (x >> 56) % NEAR_PAGES);
			guest.progress[idx]++;
		}
		GUEST_SYNC(SYNC_STOP);
	}
}

/* Host side: what is seen by the test and by the processes that are VMs */

enum count {
	COUNT_ENABLE,
	COUNT_DISABLE,
	COUNT_HARVEST,
	COUNT_CREATE,
	COUNT_DELETE,
	COUNT_MOVE,
	COUNT_SPLIT,
	COUNT_COLLAPSE,
	COUNT_DROP,
	COUNT_FORK,
	COUNT_MIGRATE,
	COUNT_SWAP,
	COUNT_PARAM,
	COUNT_STOP,
	COUNT_VM,
	COUNT_KILL,
	COUNT_KVM_SPLIT,
	COUNT_KVM_PROMOTE,
	COUNT_CONVERT,
	COUNT_KVM_CONVERT_SPLIT,
	COUNT_PUNCH,
	COUNT_VERIFY,
	NR_COUNTS,
};

static const char * const count_names[NR_COUNTS] = {
	[COUNT_ENABLE] = "logging turned on",
	[COUNT_DISABLE] = "logging turned off",
	[COUNT_HARVEST] = "log collected",
	[COUNT_CREATE] = "memslot created",
	[COUNT_DELETE] = "memslot deleted",
	[COUNT_MOVE] = "memslot moved",
	[COUNT_SPLIT] = "host memory split",
	[COUNT_COLLAPSE] = "host memory collapsed",
	[COUNT_DROP] = "host memory dropped",
	[COUNT_FORK] = "host memory shared by fork",
	[COUNT_MIGRATE] = "host pages migrated",
	[COUNT_SWAP] = "host pages swapped out",
	[COUNT_PARAM] = "parameter changed",
	[COUNT_STOP] = "VM stopped for a while",
	[COUNT_VM] = "VM ended",
	[COUNT_KILL] = "VM killed",
	[COUNT_KVM_SPLIT] = "large page split by KVM",
	[COUNT_KVM_PROMOTE] = "large page put back by KVM",
	[COUNT_CONVERT] = "page made private or shared",
	[COUNT_KVM_CONVERT_SPLIT] = "large page split by KVM for that",
	[COUNT_PUNCH] = "private page freed",
	[COUNT_VERIFY] = "memory and log verified",
};

enum property {
	PROP_RUN,		/* what no other property says */
	PROP_MEMORY,
	PROP_LOG,
	PROP_LEAK,
	NR_PROPS,
};

static const char * const prop_names[NR_PROPS] = {
	[PROP_RUN] = "VMs run and end",
	[PROP_MEMORY] = "no write is lost",
	[PROP_LOG] = "the log has all writes",
	[PROP_LEAK] = "nothing is leaked",
};

static struct {
	u64 counts[NR_COUNTS];
	bool running;		/* the VM does, with all its threads */
	bool finish;		/* it is to end */
	u64 property;		/* which is at stake */
} *shared;

static void count(enum count what, u64 nr)
{
	__atomic_add_fetch(&shared->counts[what], nr, __ATOMIC_RELAXED);
}

#define CHECK(prop, cond, fmt, ...)				\
	do {							\
		if (!(cond)) {					\
			WRITE_ONCE(shared->property, prop);	\
			TEST_FAIL(fmt, ##__VA_ARGS__);		\
		}						\
	} while (0)

static u64 seed;
static u64 vm_nr;		/* from 1 */

/* Host side: one VM */

enum memory {
	MEM_THP,
	MEM_HUGETLB,
	MEM_UNALIGNED,
};

struct region {
	struct slot s;
	int nr;
	u64 nr_pages;
	enum memory memory;
	struct guest_page *pages;	/* the guest's */

	/* Protects what follows, and that the memory can be written. */
	pthread_mutex_t lock;
	bool present;
	bool logged;
	bool stale;			/* no log tells all of what the copy lacks */
	unsigned long *log;
	unsigned long *pending;		/* written, by ring or by MMIO, and not copied */
	struct {
		u64 drops;		/* before copying */
		u64 first;
		u64 last;
	} *copy;
};

static struct test_vm t;
static typeof(guest) *g;
static struct region regions[NR_REGIONS];

/* Not logged, nor ever away; file descriptor 0 if there is none. */
static struct region sides;
static int sides_fd;
static bool sides_freed;
static pthread_mutex_t ring_lock = PTHREAD_MUTEX_INITIALIZER;

/* Held for read by whoever changes something, for write by who wants to look. */
static pthread_rwlock_t world;

static pthread_t vcpu_threads[NR_VCPUS];

static u64 rnd(u64 *state, u64 n)
{
	return rnd64(state) % n;
}

static bool one_in(u64 *state, u64 n)
{
	return !rnd(state, n);
}

static u64 *page_words(struct region *r, u64 page)
{
	return host_word(&r->s, page);
}

static bool finishing(void)
{
	return READ_ONCE(shared->finish);
}

/* Wait until each vCPU has visited @nr more pages. */
static void wait_for_guest(u64 nr)
{
	s64 deadline = lpage_now_ms() + STUCK_MS;
	u64 until[NR_VCPUS];
	int i;

	for (i = 0; i < NR_VCPUS; i++)
		until[i] = READ_ONCE(g->progress[i]) + nr;
	for (i = 0; i < NR_VCPUS; i++) {
		while (READ_ONCE(g->progress[i]) < until[i]) {
			if (lpage_now_ms() > deadline) {
				lpage_tasks_print(getpid());
				CHECK(PROP_RUN, false, "vCPU %d makes no progress", i);
			}
			usleep(100);
		}
	}
}

/* Host side: the log */

/* Entries of all rings become pages that are pending. */
static void rings_collect(void)
{
	struct kvm_dirty_gfn *ring, *entry;
	struct kvm_vcpu *vcpu;
	struct region *r;
	u32 nr = 0, reset;
	int i;

	pthread_mutex_lock(&ring_lock);
	for (i = 0; i < NR_VCPUS; i++) {
		vcpu = t.vcpu[i];
		ring = vcpu_map_dirty_ring(vcpu);
		for (;; vcpu->fetch_index++, nr++) {
			entry = &ring[vcpu->fetch_index % RING_ENTRIES];
			/* Pairs with KVM's release after it has filled the entry. */
			if (smp_load_acquire(&entry->flags) != KVM_DIRTY_GFN_F_DIRTY)
				break;
			r = &regions[entry->slot - TEST_SLOT];
			CHECK(PROP_LOG, entry->slot >= TEST_SLOT && r < regions + NR_REGIONS &&
			      entry->offset < r->nr_pages, "The ring has page %llu of slot %u",
			      entry->offset, entry->slot);
			set_bit(entry->offset, r->pending);
			/* The entry has been read: KVM may have it back. */
			smp_store_release(&entry->flags, KVM_DIRTY_GFN_F_RESET);
		}
	}
	reset = kvm_vm_reset_dirty_ring(t.vm);
	CHECK(PROP_LOG, reset == nr, "%u ring entries reset, want %u", reset, nr);
	pthread_mutex_unlock(&ring_lock);
}

static void copy_page(struct region *r, u64 page)
{
	u64 *words = page_words(r, page);

	r->copy[page].drops = READ_ONCE(r->pages[page].drops);
	/* What is dropped from here on is known to be. */
	smp_mb();
	r->copy[page].first = READ_ONCE(words[0]);
	r->copy[page].last = READ_ONCE(words[WORDS_PER_PAGE - 1]);
}

/* What KVM has done since the last time. */
static void count_kvm(void)
{
	static const char * const names[] = {
		"lpage_split_2m", "lpage_promoted_2m", "lpage_convert_splits",
	};
	static u64 before[ARRAY_SIZE(names)];
	u64 now[ARRAY_SIZE(names)];

	lpage_vm_stats(t.vm, names, now, ARRAY_SIZE(names));
	count(COUNT_KVM_SPLIT, now[0] - before[0]);
	count(COUNT_KVM_PROMOTE, now[1] - before[1]);
	count(COUNT_KVM_CONVERT_SPLIT, now[2] - before[2]);
	memcpy(before, now, sizeof(now));
}

/* Collect the log, have what it tells logged again, and copy that. */
static void harvest(struct region *r)
{
	u64 page, nr_words = BITS_TO_LONGS(r->nr_pages);
	bool all;
	int i;

	pthread_mutex_lock(&r->lock);
	memset(r->log, 0, nr_words * sizeof(*r->log));
	if (t.mode == LOG_RING)
		rings_collect();
	else if (r->present && r->logged)
		log_collect(&r->s, r->log);
	for (i = 0; i < nr_words; i++)
		r->log[i] |= __atomic_exchange_n(&r->pending[i], 0, __ATOMIC_ACQ_REL);

	all = r->stale;
	r->stale = false;
	for (page = 0; page < r->nr_pages; page++)
		if (all || test_bit(page, r->log))
			copy_page(r, page);
	pthread_mutex_unlock(&r->lock);
	count(COUNT_HARVEST, 1);
	count_kvm();
}

static void region_set(struct region *r, bool logged)
{
	pthread_mutex_lock(&r->lock);
	if (r->present)
		slot_log(&r->s, logged);
	if (logged && !r->logged)
		r->stale = true;
	r->logged = logged;
	pthread_mutex_unlock(&r->lock);
	count(logged ? COUNT_ENABLE : COUNT_DISABLE, 1);
}

/* Host side: vCPUs */

/* The slot is not there for now: be its memory. */
static void emulate_mmio(struct kvm_run *run)
{
	u64 page, gpa = run->mmio.phys_addr;
	struct region *r = regions;
	char *hva;

	while (r < regions + NR_REGIONS && gpa - r->s.gpa >= r->s.size)
		r++;
	CHECK(PROP_RUN, r < regions + NR_REGIONS, "MMIO at 0x%lx", gpa);
	page = (gpa - r->s.gpa) / SZ_4K;
	hva = r->s.hva + (gpa - r->s.gpa);

	pthread_mutex_lock(&r->lock);
	if (run->mmio.is_write) {
		memcpy(hva, run->mmio.data, run->mmio.len);
		set_bit(page, r->pending);
	} else {
		memcpy(run->mmio.data, hva, run->mmio.len);
	}
	pthread_mutex_unlock(&r->lock);
}

static void free_private(u64 page)
{
	TEST_ASSERT(!fallocate(sides_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       page * SZ_4K, SZ_4K), "Punching a hole failed");
	g->sides[page].count[1] = 0;
	count(COUNT_PUNCH, 1);
}

/* Some VMMs free the private page of what becomes shared: one block less each time. */
static void convert_page(u64 page, bool private)
{
	slot_set_private(&sides.s, page, 1, private);
	count(COUNT_CONVERT, 1);
	if (!private && sides_freed)
		free_private(page);
}

/* Returns whether the vCPU is to go on. */
static bool vcpu_synced(struct kvm_vcpu *vcpu)
{
	struct ucall uc;

	/* A guest that finds something wrong ends us here. */
	WRITE_ONCE(shared->property, PROP_MEMORY);
	CHECK(PROP_RUN, op_done(vcpu), "Unexpected exit: %s",
	      exit_reason_str(vcpu->run->exit_reason));
	WRITE_ONCE(shared->property, PROP_RUN);
	get_ucall(vcpu, &uc);
	if (uc.args[1] != SYNC_CONVERT)
		return false;
	convert_page(uc.args[2], uc.args[3]);
	return true;
}

static void *vcpu_thread(void *arg)
{
	struct kvm_vcpu *vcpu = arg;

	for (;;) {
		if (__vcpu_run(vcpu)) {
			/* Memory is read-only for now, or we have been stopped. */
			CHECK(PROP_RUN, errno == EFAULT || errno == EINTR, "KVM_RUN: %s",
			      strerror(errno));
			give_way();
			continue;
		}
		switch (vcpu->run->exit_reason) {
		case KVM_EXIT_MMIO:
			emulate_mmio(vcpu->run);
			break;
		case KVM_EXIT_DIRTY_RING_FULL:
			rings_collect();
			break;
		default:
			if (!vcpu_synced(vcpu))
				return NULL;
		}
	}
}

static void vcpus_start(void)
{
	int i;

	WRITE_ONCE(g->stop, 0);
	for (i = 0; i < NR_VCPUS; i++)
		thread_start(&vcpu_threads[i], vcpu_thread, t.vcpu[i]);
}

static void vcpus_stop(void)
{
	int i;

	WRITE_ONCE(g->stop, 1);
	for (i = 0; i < NR_VCPUS; i++)
		pthread_join(vcpu_threads[i], NULL);
}

/* With nobody there to change anything. */
static void verify_memory(struct region *r)
{
	u64 page, *words;

	for (page = 0; page < r->nr_pages; page++) {
		words = page_words(r, page);
		CHECK(PROP_MEMORY, word_is_right(words[0], &r->pages[page]) &&
		      word_is_right(words[WORDS_PER_PAGE - 1], &r->pages[page]),
		      "Page %lu of region %d holds %lu and %lu, want %lu; drops %lu, stamp %lu",
		      page, r->nr, words[0], words[WORDS_PER_PAGE - 1], r->pages[page].count,
		      r->pages[page].drops, r->pages[page].stamp);
	}
}

/* What is shared; the rest is the guest's to look at. */
static void verify_sides(void)
{
	u64 page, *words;

	for (page = 0; page < sides.nr_pages; page++) {
		words = page_words(&sides, page);
		CHECK(PROP_MEMORY, words[0] == g->sides[page].count[0] &&
		      words[WORDS_PER_PAGE - 1] == words[0],
		      "Shared page %lu holds %lu and %lu, want %lu", page, words[0],
		      words[WORDS_PER_PAGE - 1], g->sides[page].count[0]);
	}
}

static bool copy_is_right(u64 copy, u64 word, bool dropped)
{
	return copy == word || (!word && dropped);
}

static void verify_copy(struct region *r)
{
	u64 page, *words;
	bool dropped;

	for (page = 0; page < r->nr_pages; page++) {
		words = page_words(r, page);
		dropped = r->copy[page].drops != r->pages[page].drops;
		CHECK(PROP_LOG, copy_is_right(r->copy[page].first, words[0], dropped) &&
		      copy_is_right(r->copy[page].last, words[WORDS_PER_PAGE - 1], dropped),
		      "Page %lu of region %d holds %lu and %lu, and its copy %lu and %lu",
		      page, r->nr, words[0], words[WORDS_PER_PAGE - 1],
		      r->copy[page].first, r->copy[page].last);
	}
}

/* Everybody but the caller is held up. */
static void verify_all(struct region *r)
{
	int i;

	pthread_rwlock_wrlock(&world);
	vcpus_stop();
	harvest(r);
	verify_copy(r);
	for (i = 0; i < NR_REGIONS; i++)
		verify_memory(&regions[i]);
	verify_sides();
	count(COUNT_VERIFY, 1);
	vcpus_start();
	pthread_rwlock_unlock(&world);
}

/* Host side: host memory */

static char *start_of_2m(char *mem)
{
	return (char *)((uintptr_t)mem & ~(SZ_2M - 1ul));
}

/* A page with other permissions than its neighbours breaks up what is large. */
static void mem_split(struct region *r, char *mem, u64 nr, u64 *state)
{
	char *page = mem + rnd(state, nr) * SZ_4K;

	if (r->memory == MEM_HUGETLB)
		return;
	/* The emulation of MMIO writes to it as well. */
	pthread_mutex_lock(&r->lock);
	TEST_ASSERT(!mprotect(page, SZ_4K, PROT_READ), "mprotect() failed");
	TEST_ASSERT(!mprotect(page, SZ_4K, PROT_READ | PROT_WRITE), "mprotect() failed");
	pthread_mutex_unlock(&r->lock);
	count(COUNT_SPLIT, 1);
}

/* All of the region; best effort, as the kernel promises no more. */
static void mem_collapse(struct region *r, char *mem, u64 nr, u64 *state)
{
	char *start = start_of_2m(r->s.hva + SZ_2M - 1);

	if (r->memory == MEM_HUGETLB)
		return;
	for (; start + SZ_2M <= r->s.hva + r->s.size; start += SZ_2M)
		if (!madvise(start, SZ_2M, MADV_COLLAPSE))
			count(COUNT_COLLAPSE, 1);
}

static void mem_drop(struct region *r, char *mem, u64 nr, u64 *state)
{
	u64 first, i;

	/* It has no count of drops. */
	if (r == &sides)
		return;
	if (r->memory == MEM_HUGETLB) {
		mem = start_of_2m(mem);
		nr = PAGES_PER_2M;
	}
	first = (mem - r->s.hva) / SZ_4K;
	for (i = first; i < first + nr; i++)
		WRITE_ONCE(r->pages[i].drops, r->pages[i].drops + 1);
	/* Who finds the page empty must find it dropped. */
	smp_mb();
	TEST_ASSERT(!madvise(mem, nr * SZ_4K, MADV_DONTNEED), "madvise() failed");
	/* Nor is the end to be seen before it has come. */
	smp_mb();
	for (i = first; i < first + nr; i++)
		WRITE_ONCE(r->pages[i].drops, r->pages[i].drops + 1);
	count(COUNT_DROP, 1);
}

/* To one node, and those that are there already stay. */
static void mem_migrate(struct region *r, char *mem, u64 nr, u64 *state)
{
	static __thread int nodes[PAGES_PER_2M], before[PAGES_PER_2M], after[PAGES_PER_2M];
	static __thread void *pages[PAGES_PER_2M];
	int node = rnd(state, 2);
	u64 i, moved = 0;

	for (i = 0; i < nr; i++) {
		pages[i] = mem + i * SZ_4K;
		nodes[i] = node;
	}
	if (syscall(SYS_move_pages, 0, nr, pages, NULL, before, 0) ||
	    syscall(SYS_move_pages, 0, nr, pages, nodes, after, MPOL_MF_MOVE) < 0)
		return;
	for (i = 0; i < nr; i++)
		moved += before[i] >= 0 && before[i] != node && after[i] == node;
	count(COUNT_MIGRATE, moved);
}

static void mem_swap(struct region *r, char *mem, u64 nr, u64 *state)
{
	u64 i, entry, swapped = 0;
	off_t off;
	int fd;

	if (r->memory == MEM_HUGETLB)
		return;
	madvise(mem, nr * SZ_4K, MADV_PAGEOUT);
	fd = open("/proc/self/pagemap", O_RDONLY);
	TEST_ASSERT(fd >= 0, "Cannot open /proc/self/pagemap");
	for (i = 0; i < nr; i++) {
		off = ((uintptr_t)mem / SZ_4K + i) * sizeof(entry);
		if (pread(fd, &entry, sizeof(entry), off) == sizeof(entry))
			swapped += !!(entry & PAGEMAP_SWAPPED);
	}
	close(fd);
	count(COUNT_SWAP, swapped);
}

/* All memory is shared with a child for as long as that takes to end. */
static void mem_fork(struct region *r, char *mem, u64 nr, u64 *state)
{
	int status;
	pid_t pid;

	pid = fork();
	TEST_ASSERT(pid >= 0, "fork() failed");
	if (!pid)
		_exit(0);
	TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid() failed");
	count(COUNT_FORK, 1);
}

static void (* const mem_ops[])(struct region *r, char *mem, u64 nr, u64 *state) = {
	mem_split, mem_collapse, mem_migrate, mem_collapse, mem_drop, mem_swap,
	mem_collapse, mem_fork,
};

static void *memory_thread(void *arg)
{
	u64 state = *(u64 *)arg, first, nr, op = rnd64(&state);
	struct region *r;

	/* All of them by turns, on whatever there is. */
	for (; !finishing(); op++) {
		usleep(rnd(&state, 2000));
		pthread_rwlock_rdlock(&world);
		r = sides_fd && one_in(&state, 3) ? &sides : &regions[rnd(&state, NR_REGIONS)];
		/* Some pages, or some more. */
		nr = 1 + rnd(&state, one_in(&state, 2) ? 8 : PAGES_PER_2M);
		first = rnd(&state, r->nr_pages - nr + 1);
		mem_ops[op % ARRAY_SIZE(mem_ops)](r, r->s.hva + first * SZ_4K, nr, &state);
		pthread_rwlock_unlock(&world);
	}
	return NULL;
}

/* Host side: who does what to the VM */

static void *migrate_thread(void *arg)
{
	u64 state = *(u64 *)arg;
	struct region *r;
	int rounds;

	while (!finishing()) {
		r = &regions[rnd(&state, NR_REGIONS)];
		if (one_in(&state, 2)) {
			pthread_rwlock_rdlock(&world);
			mem_collapse(r, r->s.hva, r->nr_pages, &state);
			pthread_rwlock_unlock(&world);
			wait_for_guest(2 * NEAR_VISITS);
		}
		region_set(r, true);
		count_kvm();
		for (rounds = rnd(&state, 4); rounds; rounds--) {
			wait_for_guest(rnd(&state, 300));
			harvest(r);
		}
		if (!one_in(&state, 4))
			verify_all(r);
		region_set(r, false);
		wait_for_guest(rnd(&state, 300));
	}
	return NULL;
}

/* Delete a slot, or put it elsewhere, and have it back. */
static void slot_away(struct region *r, u64 *state)
{
	struct slot away = r->s;
	bool move = one_in(state, 2);

	pthread_mutex_lock(&r->lock);
	if (move) {
		away.gpa += AWAY;
		slot_log(&away, r->logged);
	} else {
		slot_delete(&r->s);
	}
	r->present = false;
	pthread_mutex_unlock(&r->lock);
	count(move ? COUNT_MOVE : COUNT_DELETE, 1);

	wait_for_guest(rnd(state, 30));

	pthread_mutex_lock(&r->lock);
	/* What a log told so far is lost with it. */
	r->stale = true;
	if (move && one_in(state, 2)) {
		slot_delete(&away);
		move = false;
	}
	slot_log(&r->s, r->logged);
	r->present = true;
	pthread_mutex_unlock(&r->lock);
	count(move ? COUNT_MOVE : COUNT_CREATE, 1);
}

static void *slot_thread(void *arg)
{
	u64 state = *(u64 *)arg;

	while (!finishing()) {
		wait_for_guest(rnd(&state, 600));
		pthread_rwlock_rdlock(&world);
		slot_away(&regions[rnd(&state, NR_REGIONS)], &state);
		pthread_rwlock_unlock(&world);
	}
	return NULL;
}

/* Host side: a VM's life */

static char *region_alloc(struct region *r, u64 size)
{
	char *mem;

	if (r->memory == MEM_HUGETLB) {
		mem = alloc_hugetlb(size, SZ_2M);
		/* A child that had such memory could leave none for us. */
		TEST_ASSERT(!madvise(mem, size, MADV_DONTFORK), "madvise() failed");
	} else {
		mem = alloc_4k(size);
		madvise(mem, size, MADV_HUGEPAGE);
	}
	return mem;
}

static void region_init(struct region *r, int nr, u64 *state)
{
	u64 size = (one_in(state, 2) ? 4 : 2 + rnd(state, 3)) * SZ_2M;
	u64 gpa = TEST_GPA + nr * REGION_SPACE;
	char *mem;

	r->nr = nr;
	r->memory = one_in(state, 2) ? MEM_HUGETLB : one_in(state, 6) ? MEM_UNALIGNED : MEM_THP;
	mem = region_alloc(r, size);
	if (r->memory == MEM_UNALIGNED) {
		mem += SZ_4K;
		size -= SZ_2M;
	}
	slot_add(&t, &r->s, TEST_SLOT + nr, gpa, size, mem);
	r->nr_pages = slot_pages(&r->s);
	r->pages = g->pages[nr];
	r->present = true;
	pthread_mutex_init(&r->lock, NULL);
	r->log = log_alloc(&r->s);
	r->pending = log_alloc(&r->s);
	r->copy = calloc(r->nr_pages, sizeof(*r->copy));
	g->gva[nr] = gpa;
	g->nr_pages[nr] = r->nr_pages;
}

/* Private to begin with, or shared. */
static void sides_init(u64 *state)
{
	u64 size = (1 + rnd(state, 2)) * SZ_2M, gpa = TEST_GPA + NR_REGIONS * REGION_SPACE, i;
	bool private = !one_in(state, 3);

	sides_freed = one_in(state, 2);
	sides.memory = MEM_THP;
	pthread_mutex_init(&sides.lock, NULL);
	sides_fd = vm_create_guest_memfd(t.vm, size, 0);
	slot_add_gmem(&t, &sides.s, TEST_SLOT + NR_REGIONS, gpa, size,
		      region_alloc(&sides, size), sides_fd, 0);
	sides.nr_pages = slot_pages(&sides.s);
	slot_set_private(&sides.s, 0, sides.nr_pages, private);
	for (i = 0; i < sides.nr_pages; i++)
		g->sides[i].private = private;
	g->sides_gva = gpa;
	g->nr_sides = sides.nr_pages;
}

static void __noreturn vm_main(u64 state)
{
	static const enum log_mode modes[] = {
		LOG_LEGACY, LOG_MANUAL, LOG_INITIALLY_SET, LOG_RING,
	};
	static void *(* const fns[])(void *) = { migrate_thread, slot_thread, memory_thread };
	pthread_t threads[ARRAY_SIZE(fns)];
	u64 states[ARRAY_SIZE(fns)];
	enum log_mode mode = modes[rnd(&state, ARRAY_SIZE(modes))];
	bool protected = !one_in(&state, 3) && have_protected_vms();
	pthread_rwlockattr_t attr;
	int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Who wants to look gets to look. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&world, &attr);

	if (protected)
		vm_new_protected_guest(&t, NR_VCPUS, mode, guest_main);
	else
		vm_new_guest(&t, NR_VCPUS, mode, guest_main);
	/* A slot that goes takes all mappings of the VM along, or its own. */
	if (!one_in(&state, 4))
		vm_enable_cap(t.vm, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_SLOT_ZAP_ALL);
	if (one_in(&state, 2) && have_lpage_split())
		use_threads(&t, SZ_2M, 1 + rnd(&state, 4));
	g = addr_gva2hva(t.vm, (gva_t)&guest);
	g->seed = rnd64(&state);
	for (i = 0; i < NR_REGIONS; i++)
		region_init(&regions[i], i, &state);
	if (protected)
		sides_init(&state);
	vcpus_start();
	for (i = 0; i < ARRAY_SIZE(fns); i++) {
		states[i] = rnd64(&state);
		thread_start(&threads[i], fns[i], &states[i]);
	}
	WRITE_ONCE(shared->running, true);

	for (i = 0; i < ARRAY_SIZE(fns); i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < NR_REGIONS; i++) {
		region_set(&regions[i], true);
		verify_all(&regions[i]);
		region_set(&regions[i], false);
	}
	vcpus_stop();
	kvm_vm_free(t.vm);
	exit(KSFT_PASS);
}

/* The test: one VM after the other */

/* Not one of ours is changed if KVM is to work as stock does. */
static bool as_stock;

/* The value that is taken less often than the others. */
#define UNUSUAL			3

static const struct {
	const char *path;
	bool ours;
	const char *values[UNUSUAL + 1];
} params[] = {
	{ SPLIT_PARAM, true, { "Y", "Y", "Y", "N" } },
	{ PROMOTE_PARAM, true, { "Y", "Y", "Y", "N" } },
	{ THREADS_PARAM, true, { "0", "1", "2", "4" } },
	{ RATE_PARAM, true, { "0", "0", "20000", "500" } },
	{ BACKGROUND_PARAM, true, { "Y", "Y", "Y", "N" } },
	{ GMEM_PARAM, true, { "always", "always", "always", "never" } },
	{ EAGER_PARAM, false, { "Y", "Y", "Y", "N" } },
	{ NX_PARAM, false, { "off", "off", "off", "force" } },
};

static void param_change(int which, int value)
{
	if (as_stock && params[which].ours)
		return;
	param_set(params[which].path, params[which].values[value]);
}

static void params_reset(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(params); i++)
		param_change(i, 0);
	if (as_stock && have_lpage_split()) {
		param_set(SPLIT_PARAM, "N");
		param_set(PROMOTE_PARAM, "N");
		param_set(BACKGROUND_PARAM, "N");
		param_set(GMEM_PARAM, "never");
	}
}

static void say_progress(s64 ms)
{
	enum count i;

	ksft_print_msg("%ld s:", ms / 1000);
	for (i = 0; i < NR_COUNTS; i++)
		printf(" %s %lu%s", count_names[i], shared->counts[i],
		       i < NR_COUNTS - 1 ? "," : "\n");
	fflush(stdout);
}

static bool has_ended(pid_t pid)
{
	siginfo_t info = {};

	TEST_ASSERT(!waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT),
		    "waitid() failed");
	return info.si_pid;
}

/* Until then, or the VM ends. */
static void wait_for_vm(pid_t pid, s64 until, const bool *flag)
{
	while (lpage_now_ms() < until && !(flag && READ_ONCE(*flag)) && !has_ended(pid))
		usleep(1000);
}

/* While the VM runs: parameters change, and now and then all of it is stopped. */
static void disturb(pid_t pid, u64 *state, s64 begin, s64 until)
{
	static s64 said;
	int which;

	while (lpage_now_ms() < until && !has_ended(pid)) {
		wait_for_vm(pid, lpage_now_ms() + rnd(state, 100), NULL);
		/* The last one takes all mappings away: seldom. */
		which = rnd(state, ARRAY_SIZE(params) - !one_in(state, 8));
		param_change(which, one_in(state, 8) ? UNUSUAL : rnd(state, UNUSUAL));
		count(COUNT_PARAM, 1);
		if (one_in(state, 16)) {
			kill(pid, SIGSTOP);
			wait_for_vm(pid, lpage_now_ms() + rnd(state, 50), NULL);
			kill(pid, SIGCONT);
			count(COUNT_STOP, 1);
		}
		if (lpage_now_ms() - said > PROGRESS_MS) {
			said = lpage_now_ms();
			say_progress(said - begin);
		}
	}
}

/* The VM must end now.  Returns whether it has done so as it should. */
static bool vm_ends(pid_t pid, bool killed)
{
	int status;

	wait_for_vm(pid, lpage_now_ms() + 2 * STUCK_MS, NULL);
	if (!has_ended(pid)) {
		lpage_tasks_print(pid);
		ksft_print_msg("VM %lu does not end\n", vm_nr);
		kill(pid, SIGKILL);
	}
	TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid() failed");
	if (killed ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL : !status)
		return true;
	ksft_print_msg("VM %lu ended with status 0x%x\n", vm_nr, status);
	return false;
}

/* One VM, which is killed at any time or has to end in peace. */
static bool vm_life(u64 state, const struct lpage_leaks *leaks, s64 begin, s64 end)
{
	bool killed = !one_in(&state, 3), early = killed && one_in(&state, 4);
	s64 until;
	pid_t pid;

	shared->running = false;
	shared->finish = false;
	shared->property = PROP_RUN;
	fflush(stdout);
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork() failed");
	if (!pid)
		vm_main(state);

	/* Some are killed while they are made. */
	until = lpage_now_ms() + (early ? rnd(&state, 1000) : STUCK_MS);
	wait_for_vm(pid, until, early ? NULL : &shared->running);
	until = lpage_now_ms() + (early ? 0 : 200 + rnd(&state, killed ? 3000 : 6000));
	disturb(pid, &state, begin, until < end ? until : end);
	if (killed)
		kill(pid, SIGKILL);
	else
		WRITE_ONCE(shared->finish, true);

	if (!vm_ends(pid, killed))
		return false;
	if (!lpage_leaks_gone(leaks)) {
		shared->property = PROP_LEAK;
		return false;
	}
	count(killed ? COUNT_KILL : COUNT_VM, 1);
	return true;
}

static bool is_counted(enum count i)
{
	switch (i) {
	case COUNT_KVM_SPLIT:
	case COUNT_KVM_PROMOTE:
		return !as_stock;
	case COUNT_KVM_CONVERT_SPLIT:
		return !as_stock && have_protected_vms();
	case COUNT_CONVERT:
	case COUNT_PUNCH:
		return have_protected_vms();
	default:
		return true;
	}
}

static bool all_happened(void)
{
	enum count i;

	for (i = 0; i < NR_COUNTS; i++)
		if (is_counted(i) && !shared->counts[i])
			return false;
	return true;
}

/*
 * VMs until the time is up, and for as long again if something is still to happen
 * for the first time, on a slow machine.  Returns whether all is fine.
 */
static bool run_vms(s64 begin, s64 ms)
{
	struct lpage_leaks *leaks = lpage_leaks_begin();
	s64 end = begin + ms;
	bool fine = true;

	while (fine && lpage_now_ms() < end) {
		fine = vm_life(mix(seed + vm_nr), leaks, begin, end);
		if (fine)
			vm_nr++;
		if (lpage_now_ms() >= end && end == begin + ms && !all_happened())
			end += ms;
	}
	free(leaks);
	return fine;
}

/* Nothing of all this is tested if it does not happen. */
static void report_counts(void)
{
	enum count i;

	for (i = 0; i < NR_COUNTS; i++) {
		if (!is_counted(i))
			ksft_test_result_skip("%s: not by stock\n", count_names[i]);
		else
			ksft_test_result(shared->counts[i], "%s: %lu times\n", count_names[i],
					 shared->counts[i]);
	}
}

static void help(const char *name)
{
	printf("usage: %s [-h] [-s SEED] [-t SECONDS] [-f VM] [-S]\n"
	       "  -s SEED     decides what is done; another one each time without it\n"
	       "  -t SECONDS  for how long (60)\n"
	       "  -f VM       start with the VM of this number\n"
	       "  -S          with lpage_split and lpage_promote off, as stock does\n", name);
}

static void parse_options(int argc, char **argv, s64 *seconds)
{
	int opt;

	seed = time(NULL) ^ getpid();
	vm_nr = 1;
	while ((opt = getopt(argc, argv, "hs:t:f:S")) != -1) {
		switch (opt) {
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 't':
			*seconds = atoi_positive("SECONDS", optarg);
			break;
		case 'f':
			vm_nr = atoi_positive("VM", optarg);
			break;
		case 'S':
			as_stock = true;
			break;
		default:
			help(argv[0]);
			exit(opt == 'h' ? 0 : KSFT_FAIL);
		}
	}
}

int main(int argc, char **argv)
{
	s64 seconds = 60, begin;
	enum property i;
	bool fine;

	parse_options(argc, argv, &seconds);
	ksft_print_header();
	if (!have_lpage_split() && !as_stock)
		ksft_exit_skip("kvm.ko has no lpage_split; see -S\n");
	setvbuf(stdout, NULL, _IOLBF, 0);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(shared != MAP_FAILED, "mmap() failed");
	ksft_set_plan(NR_PROPS + NR_COUNTS);
	ksft_print_msg("seed %lu, %ld s; replay with -s %lu\n", seed, seconds, seed);

	/* Stock has no such parameter, and may have such VMs. */
	if (!access(PROTECTED_PARAM, F_OK))
		param_set(PROTECTED_PARAM, "Y");
	params_reset();
	begin = lpage_now_ms();
	fine = run_vms(begin, seconds * 1000);
	params_reset();
	say_progress(lpage_now_ms() - begin);
	if (!fine)
		ksft_print_msg("failed with VM %lu; replay with -s %lu -f %lu\n", vm_nr, seed,
			       vm_nr);

	for (i = 0; i < NR_PROPS; i++)
		ksft_test_result(fine || shared->property != i, "%s\n", prop_names[i]);
	report_counts();
	if (!access(PROTECTED_PARAM, F_OK))
		param_set(PROTECTED_PARAM, "N");
	ksft_finished();
}
