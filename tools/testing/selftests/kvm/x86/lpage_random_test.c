// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random operations on memslots, dirty logs, guest and host memory.
 *
 * The sequence follows from the seed alone, never from what KVM answers, and
 * what is printed must be the same on every correct KVM, so that two runs can be
 * compared line by line.  A model beside it knows what each page holds and which
 * pages the guest has written since the log was last cleared; a KVM that thinks
 * otherwise fails the test at that operation.
 *
 * One thing is KVM's own choice.  While a slot is logged, a read of a page that
 * is not mapped may map it writable and thus report it dirty, and what is mapped
 * depends on how KVM splits and promotes.  Such pages are in the model as ones
 * that may be dirty, and their bits are left out of what is printed.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <asm/barrier.h>
#include <linux/bitmap.h>
#include <linux/kvm_lpage.h>
#include <linux/sizes.h>

#include "kselftest.h"
#include "kvm_util.h"
#include "lpage_test.h"
#include "processor.h"
#include "test_util.h"
#include "ucall_common.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif

#define PAGES_PER_2M		(SZ_2M / SZ_4K)
#define PAGES_PER_1G		(SZ_1G / SZ_4K)

/* Guest physical space for slots, mapped at the same virtual address. */
#define TEST_GPA		0x40000000ull
#define TEST_SPACE		(2ull * SZ_1G)

/* Slots are put into bays, or right behind one another. */
#define BAY_SIZE		SZ_64M
#define NR_BAYS			(SZ_1G / BAY_SIZE)

#define MAX_SLOTS		6
#define MAX_ARENAS		4
#define FIRST_SLOT_ID		10

/* The smallest ring that still holds a few hundred pages. */
#define RING_SIZE		SZ_8K

#define HASH_EVERY		100

/* Guest side */

#define INSN_RET		0xc3

/* Pages that one run of the guest can visit. */
#define MAX_VISITS		2048

enum visit_type {
	VISIT_WRITE,
	VISIT_READ,
	VISIT_EXEC,
};

/* @value is what to store, or what has been found. */
static struct {
	u64 type;
	u64 nr;
	struct {
		u64 gva;
		u64 value;
	} visit[MAX_VISITS];
} guest_cmd;

static void guest_main(void)
{
	u64 i, gva;

	for (;;) {
		for (i = 0; i < guest_cmd.nr; i++) {
			gva = guest_cmd.visit[i].gva;
			switch (guest_cmd.type) {
			case VISIT_WRITE:
				WRITE_ONCE(*(u64 *)gva, guest_cmd.visit[i].value);
				break;
			case VISIT_EXEC:
				((void (*)(void))gva)();
				fallthrough;
			case VISIT_READ:
				guest_cmd.visit[i].value = READ_ONCE(*(u64 *)gva);
				break;
			}
		}
		GUEST_SYNC(0);
	}
}

/* Host side: the random stream, the hash, and how the test fails */

static u64 seed, rng_state, hash;
static u64 op_nr;
static bool may_use_1g;
static const char *op_name = "start";
static bool verbose;

static u64 mix(u64 x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static u64 rnd64(void)
{
	rng_state += 0x9e3779b97f4a7c15ull;
	return mix(rng_state);
}

/* 0 to @n - 1 */
static u64 rnd(u64 n)
{
	return rnd64() % n;
}

static u64 rnd_range(u64 min, u64 max)
{
	return min + rnd(max - min + 1);
}

static bool one_in(u64 n)
{
	return !rnd(n);
}

static void fold(u64 value)
{
	hash = mix(hash ^ value) + 0x9e3779b97f4a7c15ull;
}

/* What KVM is asked for beyond its own default: not a part of the sequence. */
static u64 chunk_bytes, nr_threads;

/* What KVM has done, by its own account. */
static const char * const counters[] = {
	"lpage_split_2m", "lpage_split_1g", "lpage_promoted_2m", "lpage_promoted_1g",
};

static u64 counts[ARRAY_SIZE(counters)];

/* However the test ends early, say where it was. */
static bool finished;
static pid_t main_pid;

static void report_unfinished(void)
{
	if (finished || getpid() != main_pid)
		return;
	printf("# failed at seed %lu operation %lu (%s); replay with %s-s %lu -n %lu\n",
	       seed, op_nr, op_name, may_use_1g ? "-g " : "", seed, op_nr);
	fflush(stdout);
}

static void __printf(1, 2) __noreturn fail(const char *fmt, ...)
{
	va_list args;

	printf("# seed %lu operation %lu (%s): ", seed, op_nr, op_name);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	exit(KSFT_FAIL);
}

static void __printf(1, 2) say(const char *fmt, ...)
{
	va_list args;

	if (!verbose)
		return;
	printf("# %lu %s ", op_nr, op_name);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
}

/* Host side: the model */

enum log_mode {
	LOG_LEGACY,
	LOG_MANUAL,
	LOG_MANUAL_INIT_SET,
	LOG_RING,
	NR_LOG_MODES,
};

static const char * const mode_names[NR_LOG_MODES] = {
	"legacy", "manual", "manual, initially set", "ring",
};

enum arena_kind {
	ARENA_4K,
	ARENA_THP,
	ARENA_2M,
	ARENA_1G,
	NR_ARENA_KINDS,
};

static const char * const kind_names[NR_ARENA_KINDS] = {
	"4K", "THP", "2M hugetlb", "1G hugetlb",
};

/* Host memory.  Several slots may have the same part of it. */
struct arena {
	enum arena_kind kind;
	char *hva;
	u64 nr_pages;
	u64 granule;	/* in pages: what the host can change at once */
	u64 *value;	/* the first word of each page; the rest stays 0 */
};

struct slot {
	u32 id;		/* 0: free */
	u64 gpa;
	u64 nr_pages;
	struct arena *arena;
	u64 first;	/* page of the arena */
	bool logged;
	bool readonly;
	/* Pages whose bit must be set, and pages whose bit may be. */
	unsigned long *dirty;
	unsigned long *maybe;
	unsigned long *harvest;	/* what KVM has told */
};

static struct kvm_vm *vm;
static struct kvm_vcpu *vcpu;
static typeof(guest_cmd) *cmd;
static enum log_mode mode;
static struct arena arenas[MAX_ARENAS];
static int nr_arenas;
static struct slot slots[MAX_SLOTS];
static u32 next_slot_id;

/* A child that keeps a copy of all memory as of its fork. */
static pid_t child;
static int child_pipe;

static size_t bitmap_bytes(const struct slot *s)
{
	return DIV_ROUND_UP(s->nr_pages, 64) * 8;
}

static u64 nr_words(const struct slot *s)
{
	return DIV_ROUND_UP(s->nr_pages, 64);
}

static u64 slot_end(const struct slot *s)
{
	return s->gpa + s->nr_pages * SZ_4K;
}

static char *arena_page(const struct arena *a, u64 page)
{
	return a->hva + page * SZ_4K;
}

/*
 * Never 0, and another one for each store, so that a page in the wrong place is
 * noticed; and something that can be called.
 */
static u64 new_value(void)
{
	return (rnd64() & ~0xffull) | INSN_RET;
}

static struct slot *pick_slot(void)
{
	int i, first = rnd(MAX_SLOTS);

	for (i = 0; i < MAX_SLOTS; i++) {
		struct slot *s = &slots[(first + i) % MAX_SLOTS];

		if (s->id)
			return s;
	}
	return NULL;
}

static struct slot *slot_by_id(u32 id)
{
	int i;

	for (i = 0; i < MAX_SLOTS; i++)
		if (slots[i].id == id)
			return &slots[i];
	return NULL;
}

/* Host side: host memory */

static char *map_anon(void *addr, u64 size, int flags)
{
	return mmap(addr, size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

static int hugetlb_flags(enum arena_kind kind)
{
	switch (kind) {
	case ARENA_2M:
		return MAP_HUGETLB | 21 << MAP_HUGE_SHIFT;
	case ARENA_1G:
		return MAP_HUGETLB | 30 << MAP_HUGE_SHIFT;
	default:
		return 0;
	}
}

/* There is only one page of 1G: a child must not keep it. */
static void arena_advise(struct arena *a, u64 first, u64 nr)
{
	static const int advice[NR_ARENA_KINDS] = {
		[ARENA_4K] = MADV_NOHUGEPAGE,
		[ARENA_THP] = MADV_HUGEPAGE,
		[ARENA_2M] = MADV_NORMAL,
		[ARENA_1G] = MADV_DONTFORK,
	};

	TEST_ASSERT(!madvise(arena_page(a, first), nr * SZ_4K, advice[a->kind]),
		    "madvise() failed");
}

static void host_write(struct arena *a, u64 page)
{
	a->value[page] = new_value();
	WRITE_ONCE(*(u64 *)arena_page(a, page), a->value[page]);
}

static void arena_init(struct arena *a, enum arena_kind kind)
{
	static const u64 pages[NR_ARENA_KINDS] = {
		[ARENA_4K] = 3 * PAGES_PER_2M,
		[ARENA_THP] = 6 * PAGES_PER_2M,
		[ARENA_2M] = 5 * PAGES_PER_2M,
		[ARENA_1G] = PAGES_PER_1G,
	};
	static const u64 granules[NR_ARENA_KINDS] = {
		1, 1, PAGES_PER_2M, PAGES_PER_1G,
	};
	u64 i, stride, fill, size = pages[kind] * SZ_4K;
	char *mem;

	*a = (struct arena) {
		.kind = kind, .nr_pages = pages[kind], .granule = granules[kind],
	};
	a->value = calloc(a->nr_pages, sizeof(*a->value));

	if (hugetlb_flags(kind)) {
		a->hva = map_anon(NULL, size, hugetlb_flags(kind));
	} else {
		/* Aligned as for the largest page that a slot could map. */
		mem = map_anon(NULL, size + SZ_2M, MAP_NORESERVE);
		TEST_ASSERT(mem != MAP_FAILED, "mmap() of %lu bytes failed", size);
		a->hva = align_ptr_up(mem, SZ_2M);
		munmap(mem, a->hva - mem);
		munmap(a->hva + size, SZ_2M - (a->hva - mem));
	}
	if (a->hva == MAP_FAILED)
		fail("no %lu MiB of free %s pages: reserve more", size / SZ_1M, kind_names[kind]);
	arena_advise(a, 0, a->nr_pages);

	/* All of it has contents, or some, or none. */
	fill = rnd(4);
	stride = kind == ARENA_1G ? 63 : 1;
	for (i = 0; i < a->nr_pages && fill; i += stride) {
		if (fill > 1 || i / PAGES_PER_2M % 2)
			host_write(a, i);
	}
	fold(a->nr_pages);
}

static void arena_free(struct arena *a)
{
	munmap(a->hva, a->nr_pages * SZ_4K);
	free(a->value);
}

static void check_value(struct arena *a, u64 page, u64 got, const char *who)
{
	if (got != a->value[page])
		fail("%s finds 0x%lx in page %lu of %s memory, want 0x%lx", who, got, page,
		     kind_names[a->kind], a->value[page]);
}

static void host_verify(struct arena *a, u64 first, u64 nr)
{
	u64 i;

	for (i = first; i < first + nr; i++) {
		check_value(a, i, READ_ONCE(*(u64 *)arena_page(a, i)), "the host");
		fold(a->value[i]);
	}
}

/* Host side: the dirty log */

static void __log_check(struct slot *s)
{
	u64 i, n = nr_words(s);

	for (i = 0; i < n; i++) {
		unsigned long got = s->harvest[i];
		unsigned long missing = s->dirty[i] & ~got;
		unsigned long extra = got & ~(s->dirty[i] | s->maybe[i]);

		if (missing)
			fail("slot %u: written page %lu is not in the log",
			     s->id, i * 64 + __builtin_ctzl(missing));
		if (extra)
			fail("slot %u: page %lu is in the log and was not written",
			     s->id, i * 64 + __builtin_ctzl(extra));
		fold(s->dirty[i]);
		fold(s->maybe[i] & ~s->dirty[i]);
	}
}

static void log_forget(struct slot *s)
{
	memset(s->dirty, 0, bitmap_bytes(s));
	memset(s->maybe, 0, bitmap_bytes(s));
}

static void ring_collect(void)
{
	u32 size = RING_SIZE / sizeof(struct kvm_dirty_gfn);
	struct kvm_dirty_gfn *ring = vcpu_map_dirty_ring(vcpu), *entry;
	struct slot *s;
	u32 n, reset;

	for (n = 0;; n++) {
		entry = &ring[vcpu->fetch_index % size];
		/* KVM writes the flags last. */
		if (smp_load_acquire(&entry->flags) != KVM_DIRTY_GFN_F_DIRTY)
			break;
		/* The guest's own slot is not logged; others may be gone. */
		s = slot_by_id(entry->slot);
		if (s) {
			if (entry->offset >= s->nr_pages)
				fail("slot %u: page %llu is in the ring and the slot has %lu",
				     s->id, entry->offset, s->nr_pages);
			__set_bit(entry->offset, s->harvest);
		}
		/* From here on the entry is KVM's again. */
		smp_store_release(&entry->flags, KVM_DIRTY_GFN_F_RESET);
		vcpu->fetch_index++;
	}
	reset = kvm_vm_reset_dirty_ring(vm);
	if (reset != n)
		fail("%u entries of the ring are reset, want %u", reset, n);
}

static void ring_harvest(void)
{
	int i;

	ring_collect();
	for (i = 0; i < MAX_SLOTS; i++) {
		if (!slots[i].id)
			continue;
		__log_check(&slots[i]);
		log_forget(&slots[i]);
		memset(slots[i].harvest, 0, bitmap_bytes(&slots[i]));
	}
}

static void log_get(struct slot *s)
{
	/* Whatever KVM does not fill in is not clean. */
	memset(s->harvest, 0xff, bitmap_bytes(s));
	kvm_vm_get_dirty_log(vm, s->id, s->harvest);
	__log_check(s);
	if (mode == LOG_LEGACY)
		log_forget(s);
}

/* Host side: running the guest */

static void visit_add(struct slot *s, u64 page)
{
	if (cmd->nr < MAX_VISITS)
		cmd->visit[cmd->nr++].gva = s->gpa + page * SZ_4K;
}

static void enter_guest(void)
{
	struct ucall uc;

	for (;;) {
		vcpu_run(vcpu);
		if (vcpu->run->exit_reason != KVM_EXIT_DIRTY_RING_FULL)
			break;
		ring_collect();
	}
	switch (get_ucall(vcpu, &uc)) {
	case UCALL_SYNC:
		return;
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
	default:
		fail("unexpected exit: %s", exit_reason_str(vcpu->run->exit_reason));
	}
}

/* Let the guest do @type with the pages that were added, all of @s. */
static void visit_all(struct slot *s, enum visit_type type)
{
	u64 i, page, from;

	cmd->type = type;
	for (i = 0; i < cmd->nr && type == VISIT_WRITE; i++)
		cmd->visit[i].value = new_value();

	enter_guest();

	for (i = 0; i < cmd->nr; i++) {
		page = (cmd->visit[i].gva - s->gpa) / SZ_4K;
		from = s->first + page;
		if (type == VISIT_WRITE)
			s->arena->value[from] = cmd->visit[i].value;
		else
			check_value(s->arena, from, cmd->visit[i].value, "the guest");
		fold(s->arena->value[from]);
		if (s->logged)
			__set_bit(page, type == VISIT_WRITE ? s->dirty : s->maybe);
	}
	cmd->nr = 0;
}

/* Add pages of @s, at most @max and in one of many patterns. */
static void pick_pages(struct slot *s, u64 max)
{
	u64 n, page, stride = 1, i;

	switch (rnd(12)) {
	case 0 ... 4:	/* anywhere */
		n = rnd_range(1, 12);
		for (i = 0; i < n; i++)
			visit_add(s, rnd(s->nr_pages));
		return;
	case 5:		/* at the edges of the slot */
		visit_add(s, 0);
		visit_add(s, s->nr_pages - 1);
		return;
	case 6:		/* on both sides of a 2M boundary of the guest */
		page = (round_up(s->gpa, SZ_2M) - s->gpa) / SZ_4K +
		       rnd(s->nr_pages / PAGES_PER_2M + 1) * PAGES_PER_2M;
		n = 4;
		page -= min_t(u64, page, 2);
		break;
	case 7:		/* on both sides of a word of the bitmap */
		page = round_down(rnd(s->nr_pages), 64);
		n = 4;
		page -= min_t(u64, page, 2);
		break;
	case 8:		/* the same page of each 2M */
		page = rnd(PAGES_PER_2M);
		stride = PAGES_PER_2M;
		n = 16;
		break;
	case 9:		/* a whole 2M of the guest */
		page = (round_up(s->gpa, SZ_2M) - s->gpa) / SZ_4K +
		       rnd(s->nr_pages / PAGES_PER_2M + 1) * PAGES_PER_2M;
		n = PAGES_PER_2M;
		break;
	case 10:	/* every so many pages */
		stride = rnd_range(2, 300);
		page = rnd(stride);
		n = 24;
		break;
	default:	/* one after another */
		page = rnd(s->nr_pages);
		n = rnd_range(1, 64);
	}
	for (i = 0; i < n && i < max && page < s->nr_pages; i++, page += stride)
		visit_add(s, page);
}

/* Host side: operations */

static void op_write(struct slot *s)
{
	pick_pages(s, MAX_VISITS);
	say("slot %u, %lu pages", s->id, cmd->nr);
	visit_all(s, s->readonly ? VISIT_READ : VISIT_WRITE);
}

static void op_read(struct slot *s)
{
	pick_pages(s, 128);
	say("slot %u, %lu pages", s->id, cmd->nr);
	visit_all(s, VISIT_READ);
}

/* Only what was once written can be called. */
static void op_exec(struct slot *s)
{
	u64 i, n = 0;

	pick_pages(s, 64);
	for (i = 0; i < cmd->nr; i++) {
		u64 gva = cmd->visit[i].gva;

		if (s->arena->value[s->first + (gva - s->gpa) / SZ_4K])
			cmd->visit[n++].gva = gva;
	}
	cmd->nr = n;
	say("slot %u, %lu pages", s->id, n);
	visit_all(s, VISIT_EXEC);
}

/* All of a slot, as far as one run of the guest goes. */
static void op_verify(struct slot *s)
{
	u64 page, stride = s->nr_pages / MAX_VISITS + 1;

	say("slot %u", s->id);
	/* Where nothing is logged, the guest's pages are large. */
	if (!s->logged && s->arena->kind != ARENA_4K)
		for (page = rnd(stride); page < s->nr_pages; page += stride)
			visit_add(s, page);
	visit_all(s, VISIT_READ);
	if (s->arena->kind != ARENA_1G)
		host_verify(s->arena, s->first, s->nr_pages);
}

static void op_prefault(struct slot *s)
{
	struct kvm_pre_fault_memory range;
	u64 first = rnd(s->nr_pages), i;
	u64 nr = min_t(u64, s->nr_pages - first, rnd_range(1, s->logged ? 64 : PAGES_PER_2M));

	say("slot %u, pages %lu + %lu", s->id, first, nr);
	range = (struct kvm_pre_fault_memory) {
		.gpa = s->gpa + first * SZ_4K, .size = nr * SZ_4K,
	};
	/*
	 * A change of slots may have made the vCPU's root obsolete.  In 6.12 the
	 * vCPU gets a new one only when it runs, and the ioctl waits for it forever.
	 */
	enter_guest();
	while (range.size)
		vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range);
	for (i = first; i < first + nr && s->logged; i++)
		__set_bit(i, s->maybe);
}

static void slot_ioctl(struct slot *s)
{
	u32 flags = (s->logged ? KVM_MEM_LOG_DIRTY_PAGES : 0) |
		    (s->readonly ? KVM_MEM_READONLY : 0);

	vm_set_user_memory_region(vm, s->id, flags, s->gpa, s->nr_pages * SZ_4K,
				  arena_page(s->arena, s->first));
}

/* What KVM makes of the log when the flag of a slot goes from @was to s->logged. */
static void log_switched(struct slot *s, bool was)
{
	/* What is in the ring stays there, whatever becomes of the slot. */
	if (mode == LOG_RING || was == s->logged)
		return;
	log_forget(s);
	if (s->logged && mode == LOG_MANUAL_INIT_SET)
		bitmap_fill(s->dirty, s->nr_pages);
}

/* Have the guest map all of a slot, by pages as large as may be. */
static void map_slot(struct slot *s)
{
	u64 page;

	for (page = rnd(PAGES_PER_2M); page < s->nr_pages; page += PAGES_PER_2M)
		visit_add(s, page);
	visit_all(s, s->readonly || one_in(2) ? VISIT_READ : VISIT_WRITE);
}

static void op_log(struct slot *s)
{
	bool was = s->logged;

	if (!was && !one_in(3))
		map_slot(s);
	/* Now and then a change that is none. */
	if (!one_in(16))
		s->logged = !was;
	say("slot %u: %d -> %d", s->id, was, s->logged);
	slot_ioctl(s);
	log_switched(s, was);
}

static void op_get(struct slot *s)
{
	say("slot %u%s", s->id, s->logged ? "" : ": not logged");
	if (mode == LOG_RING)
		ring_harvest();
	else if (s->logged)
		log_get(s);
}

static void op_clear(struct slot *s)
{
	u64 words = nr_words(s), first, nr, i, pages, what;
	unsigned long *mask;

	if (mode == LOG_RING || mode == LOG_LEGACY || !s->logged) {
		op_get(s);
		return;
	}

	first = one_in(3) ? 0 : rnd(words);
	nr = one_in(3) ? words - first : rnd_range(1, words - first);
	if (s->arena->kind == ARENA_1G && !one_in(8))
		nr = min_t(u64, nr, 64);
	pages = min_t(u64, nr * 64, s->nr_pages - first * 64);
	what = rnd(4);
	say("slot %u, pages %lu + %lu, mask %lu", s->id, first * 64, pages, what);

	mask = malloc(nr * sizeof(*mask));
	if (what == 0)
		log_get(s);
	for (i = 0; i < nr; i++) {
		switch (what) {
		case 0:		/* what the log has */
			mask[i] = s->harvest[first + i];
			break;
		case 1:		/* all, and more at the end than there is */
			mask[i] = ~0ul;
			break;
		case 2:		/* anything */
			mask[i] = rnd64();
			break;
		case 3:		/* a little */
			mask[i] = one_in(4) ? 1ul << rnd(64) : 0;
			break;
		}
	}
	kvm_vm_clear_dirty_log(vm, s->id, mask, first * 64, pages);
	for (i = 0; i < nr; i++) {
		/* After what the log has, all is clean, whatever KVM's choice was. */
		unsigned long cleared = what ? mask[i] : ~0ul;

		s->dirty[first + i] &= ~cleared;
		s->maybe[first + i] &= ~cleared;
	}
	free(mask);
}

/* What a migration does, without anything else in between. */
static void op_round(struct slot *s)
{
	int i;

	if (!s->logged) {
		map_slot(s);
		s->logged = true;
		slot_ioctl(s);
		log_switched(s, false);
	}
	for (i = rnd_range(1, 2); i; i--) {
		op_clear(s);
		op_write(s);
	}
	op_get(s);
}

/* Find room for @s, and say whether there is. */
static bool slot_place(struct slot *s)
{
	u64 size = s->nr_pages * SZ_4K;
	struct slot *other;
	int i;

	switch (rnd(8)) {
	case 0:		/* anywhere */
		s->gpa = TEST_GPA + rnd(NR_BAYS) * BAY_SIZE + rnd(2 * PAGES_PER_2M) * SZ_4K;
		break;
	case 1 ... 2:	/* behind another slot, at whatever that is aligned to */
		other = pick_slot();
		if (!other)
			return false;
		s->gpa = slot_end(other);
		break;
	default:	/* where it can be mapped by large pages */
		s->gpa = TEST_GPA + rnd(NR_BAYS) * BAY_SIZE +
			 s->first % PAGES_PER_2M * SZ_4K;
	}
	/* The guest's second GiB is there for the largest pages. */
	if (s->nr_pages > BAY_SIZE / SZ_4K)
		s->gpa = TEST_GPA + SZ_1G + s->first * SZ_4K;

	if (s->gpa + size > TEST_GPA + TEST_SPACE)
		return false;
	for (i = 0; i < MAX_SLOTS; i++) {
		other = &slots[i];
		if (other != s && other->id &&
		    s->gpa < slot_end(other) && other->gpa < s->gpa + size)
			return false;
	}
	return true;
}

static void slot_forget(struct slot *s)
{
	free(s->dirty);
	free(s->maybe);
	free(s->harvest);
	s->id = 0;
}

static void op_create(void)
{
	struct slot *s = NULL;
	struct arena *a;
	int i;

	for (i = 0; i < MAX_SLOTS && !s; i++)
		if (!slots[i].id)
			s = &slots[i];
	if (!s)
		return;

	a = &arenas[rnd(nr_arenas)];
	*s = (struct slot) { .arena = a };
	switch (rnd(6)) {
	case 0 ... 1:	/* all of it */
		s->nr_pages = a->nr_pages;
		break;
	case 2 ... 3:	/* some 2M pages, and perhaps more around them */
		s->nr_pages = rnd_range(1, 4) * PAGES_PER_2M + (one_in(2) ? rnd(PAGES_PER_2M) : 0);
		break;
	case 4:		/* not aligned to anything */
		s->nr_pages = rnd_range(1, 4 * PAGES_PER_2M);
		break;
	case 5:		/* whole bitmap words and a bit */
		s->nr_pages = rnd_range(0, 20) * 64 + rnd_range(1, 3);
		break;
	}
	s->nr_pages = min_t(u64, s->nr_pages, a->nr_pages);
	s->first = rnd(a->nr_pages - s->nr_pages + 1);
	if (!one_in(3))
		s->first = round_down(s->first, PAGES_PER_2M);
	if (!slot_place(s))
		return;

	s->id = next_slot_id++;
	s->logged = one_in(4);
	s->readonly = one_in(16);
	s->dirty = calloc(1, bitmap_bytes(s));
	s->maybe = calloc(1, bitmap_bytes(s));
	s->harvest = calloc(1, bitmap_bytes(s));
	say("slot %u at 0x%lx, %lu pages of %s from %lu%s%s", s->id, s->gpa, s->nr_pages,
	    kind_names[a->kind], s->first, s->logged ? ", logged" : "",
	    s->readonly ? ", read-only" : "");
	slot_ioctl(s);
	log_switched(s, false);
}

static void op_delete(struct slot *s)
{
	say("slot %u", s->id);
	vm_set_user_memory_region(vm, s->id, 0, s->gpa, 0, NULL);
	slot_forget(s);
}

static void op_move(struct slot *s)
{
	u64 old = s->gpa;
	bool was = s->logged;

	if (!slot_place(s)) {
		s->gpa = old;
		return;
	}
	if (one_in(3))
		s->logged = !was;
	say("slot %u to 0x%lx, logged %d -> %d", s->id, s->gpa, was, s->logged);
	slot_ioctl(s);
	log_switched(s, was);
}

/* Some pages of an arena, whole granules, of which there are @nr. */
static struct arena *pick_range(u64 *first, u64 *nr)
{
	struct arena *a = &arenas[rnd(nr_arenas)];
	u64 granules = a->nr_pages / a->granule, n, max;

	/* 1 to 4 granules, a whole 2M, or a lot. */
	max = rnd(3);
	max = max == 0 ? 4 : max == 1 ? PAGES_PER_2M : granules;
	n = rnd_range(1, min_t(u64, max, granules));
	*first = rnd(granules - n + 1) * a->granule;
	*nr = n * a->granule;
	if (a->granule == 1 && *nr >= PAGES_PER_2M && one_in(2))
		*first = round_down(*first, PAGES_PER_2M);
	say("%s, pages %lu + %lu", kind_names[a->kind], *first, *nr);
	return a;
}

static void forget_values(struct arena *a, u64 first, u64 nr)
{
	memset(&a->value[first], 0, nr * sizeof(*a->value));
}

/* Let the guest read pages of @a, wherever they are in its memory. */
static void peek(struct arena *a, u64 first, u64 nr)
{
	struct slot *s;
	u64 i, page;
	int n;

	for (n = 0; n < MAX_SLOTS; n++) {
		s = &slots[n];
		if (!s->id || s->arena != a)
			continue;
		for (i = 0; i < 3; i++) {
			page = first + rnd(nr);
			if (page >= s->first && page < s->first + s->nr_pages)
				visit_add(s, page - s->first);
		}
		visit_all(s, VISIT_READ);
	}
}

static void op_dontneed(void)
{
	u64 first, nr;
	struct arena *a = pick_range(&first, &nr);

	TEST_ASSERT(!madvise(arena_page(a, first), nr * SZ_4K, MADV_DONTNEED),
		    "madvise(MADV_DONTNEED) failed");
	forget_values(a, first, nr);
	peek(a, first, nr);
}

/* Advice may be refused; contents and logs do not depend on it. */
static void op_advise(void)
{
	static const int advice[] = {
		MADV_COLLAPSE, MADV_COLLAPSE, MADV_COLLAPSE, MADV_HUGEPAGE, MADV_NOHUGEPAGE,
	};
	int which = advice[rnd(ARRAY_SIZE(advice))];
	u64 first, nr;
	struct arena *a = pick_range(&first, &nr);

	if (a->granule > 1)
		return;
	if (which == MADV_COLLAPSE) {
		first = round_down(first, PAGES_PER_2M);
		nr = min_t(u64, round_up(nr, PAGES_PER_2M), a->nr_pages - first);
		/* Memory that must stay small does not collapse. */
		madvise(arena_page(a, first), nr * SZ_4K, MADV_HUGEPAGE);
	}
	madvise(arena_page(a, first), nr * SZ_4K, which);
	if (a->kind == ARENA_4K)
		madvise(arena_page(a, first), nr * SZ_4K, MADV_NOHUGEPAGE);
}

static void op_mprotect(void)
{
	u64 first, nr;
	struct arena *a = pick_range(&first, &nr);

	TEST_ASSERT(!mprotect(arena_page(a, first), nr * SZ_4K, PROT_READ),
		    "mprotect() failed");
	peek(a, first, nr);
	TEST_ASSERT(!mprotect(arena_page(a, first), nr * SZ_4K, PROT_READ | PROT_WRITE),
		    "mprotect() failed");
}

static void op_remap(void)
{
	u64 first, nr;
	struct arena *a = pick_range(&first, &nr);
	char *start = arena_page(a, first);

	TEST_ASSERT(!munmap(start, nr * SZ_4K), "munmap() failed");
	TEST_ASSERT(map_anon(start, nr * SZ_4K, MAP_FIXED | hugetlb_flags(a->kind)) == start,
		    "mmap() failed");
	arena_advise(a, first, nr);
	forget_values(a, first, nr);
	peek(a, first, nr);
}

/* One mremap() takes what is alike in the eyes of the host, so try with less. */
static void move_pages(char *to, char *from, u64 nr)
{
	u64 half = nr / 2;

	if (mremap(from, nr * SZ_4K, nr * SZ_4K, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to)
		return;
	TEST_ASSERT(errno == EFAULT && half, "mremap() failed");
	move_pages(to, from, half);
	move_pages(to + half * SZ_4K, from + half * SZ_4K, nr - half);
}

/* Pages go elsewhere, others are seen in their place, and they come back. */
static void op_mremap(void)
{
	u64 first, nr, *value;
	struct arena *a = pick_range(&first, &nr);
	char *start = arena_page(a, first), *away;

	if (a->granule > 1)
		return;
	away = map_anon(NULL, nr * SZ_4K, MAP_NORESERVE);
	TEST_ASSERT(away != MAP_FAILED, "mmap() failed");
	move_pages(away, start, nr);
	TEST_ASSERT(map_anon(start, nr * SZ_4K, MAP_FIXED) == start, "mmap() failed");
	value = malloc(nr * sizeof(*value));
	memcpy(value, &a->value[first], nr * sizeof(*value));
	forget_values(a, first, nr);
	peek(a, first, nr);
	move_pages(start, away, nr);
	memcpy(&a->value[first], value, nr * sizeof(*value));
	free(value);
	peek(a, first, nr);
}

static void op_host_write(void)
{
	u64 first, nr, i;
	struct arena *a = pick_range(&first, &nr);

	for (i = 0; i < 8; i++)
		host_write(a, first + rnd(nr));
	peek(a, first, nr);
}

static void __noreturn child_main(int fd)
{
	char c;
	int i;

	if (read(fd, &c, 1) < 0)
		_exit(KSFT_FAIL);
	op_name = "memory of a child";
	for (i = 0; i < nr_arenas; i++)
		if (arenas[i].kind != ARENA_1G)
			host_verify(&arenas[i], 0, arenas[i].nr_pages);
	_exit(KSFT_PASS);
}

static void child_end(void)
{
	int status;

	if (!child)
		return;
	close(child_pipe);
	TEST_ASSERT(waitpid(child, &status, 0) == child, "waitpid() failed");
	child = 0;
	if (status)
		fail("a child does not have the memory that it was forked with (status 0x%x)",
		     status);
}

/* The child's memory and ours are the same until one of us writes. */
static void op_fork(void)
{
	int fds[2];

	if (child) {
		say("end");
		child_end();
		return;
	}
	say("start");
	TEST_ASSERT(!pipe(fds), "pipe() failed");
	fflush(stdout);
	child = fork();
	TEST_ASSERT(child >= 0, "fork() failed");
	if (!child) {
		close(fds[1]);
		child_main(fds[0]);
	}
	close(fds[0]);
	child_pipe = fds[1];
}

/* Each is as likely as its share of the weights. */
static const struct {
	const char *name;
	unsigned int weight;
	void (*on_slot)(struct slot *s);
	void (*on_any)(void);
} ops[] = {
	{ "write", 24, .on_slot = op_write },
	{ "read", 8, .on_slot = op_read },
	{ "execute", 4, .on_slot = op_exec },
	{ "verify", 3, .on_slot = op_verify },
	{ "prefault", 5, .on_slot = op_prefault },
	{ "log", 18, .on_slot = op_log },
	{ "get", 12, .on_slot = op_get },
	{ "clear", 12, .on_slot = op_clear },
	{ "round", 12, .on_slot = op_round },
	{ "create", 4, .on_any = op_create },
	{ "delete", 1, .on_slot = op_delete },
	{ "move", 1, .on_slot = op_move },
	{ "dontneed", 3, .on_any = op_dontneed },
	{ "advise", 4, .on_any = op_advise },
	{ "mprotect", 3, .on_any = op_mprotect },
	{ "remap", 2, .on_any = op_remap },
	{ "mremap", 2, .on_any = op_mremap },
	{ "host write", 3, .on_any = op_host_write },
	{ "fork", 2, .on_any = op_fork },
};

static void do_op(void)
{
	unsigned int i, sum = 0, choice;
	struct slot *s = pick_slot();

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		sum += ops[i].weight;
	choice = rnd(sum);
	for (i = 0; choice >= ops[i].weight; i++)
		choice -= ops[i].weight;

	/* Without a slot there is little else to do. */
	if (!s) {
		op_name = "create";
		op_create();
		return;
	}
	op_name = ops[i].name;
	if (ops[i].on_slot)
		ops[i].on_slot(s);
	else
		ops[i].on_any();
}

/* Host side: a VM's life */

static void life_begin(void)
{
	struct userspace_mem_region *region;
	bool use_1g = one_in(6) && may_use_1g;
	bool zap_slot = one_in(2);
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_X86_LPAGE_SPLIT, .args = { chunk_bytes, nr_threads },
	};
	int i;

	op_name = "VM";
	mode = rnd(NR_LOG_MODES);
	say("log: %s, deleting a slot zaps %s", mode_names[mode], zap_slot ? "it" : "all");

	vm = vm_create(1);
	if (mode == LOG_RING)
		vm_enable_dirty_ring(vm, RING_SIZE);
	else if (mode != LOG_LEGACY)
		vm_enable_cap(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
			      KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE |
			      (mode == LOG_MANUAL_INIT_SET ? KVM_DIRTY_LOG_INITIALLY_SET : 0));
	if (zap_slot)
		vm_enable_cap(vm, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_SLOT_ZAP_ALL);
	if (chunk_bytes || nr_threads)
		vm_ioctl(vm, KVM_ENABLE_CAP, &cap);
	vcpu = vm_vcpu_add(vm, 0, guest_main);
	virt_map_level(vm, TEST_GPA, TEST_GPA, TEST_SPACE, PG_LEVEL_2M);

	/* A child must not make the guest's own memory move. */
	region = memslot2region(vm, 0);
	TEST_ASSERT(!madvise(region->host_mem, region->region.memory_size, MADV_DONTFORK),
		    "madvise(MADV_DONTFORK) failed");
	cmd = addr_gva2hva(vm, (gva_t)&guest_cmd);

	nr_arenas = rnd_range(2, MAX_ARENAS);
	for (i = 0; i < nr_arenas; i++)
		arena_init(&arenas[i], i == 0 && use_1g ? ARENA_1G :
				       i && one_in(4) ? ARENA_4K :
				       one_in(2) ? ARENA_THP : ARENA_2M);
	next_slot_id = FIRST_SLOT_ID;
	for (i = 0; i < 4; i++)
		op_create();
}

static void life_end(void)
{
	int i;

	op_name = "end of VM";
	child_end();
	if (mode == LOG_RING)
		ring_harvest();
	for (i = 0; i < MAX_SLOTS; i++) {
		if (!slots[i].id)
			continue;
		if (slots[i].logged && mode != LOG_RING)
			log_get(&slots[i]);
		op_verify(&slots[i]);
		slot_forget(&slots[i]);
	}
	for (i = 0; i < ARRAY_SIZE(counters); i++)
		if (lpage_vm_has_stat(vm, counters[i]))
			counts[i] += lpage_vm_stat(vm, counters[i]);
	kvm_vm_free(vm);
	for (i = 0; i < nr_arenas; i++)
		arena_free(&arenas[i]);
}

static void help(const char *name)
{
	printf("usage: %s [-s SEED] [-n OPERATIONS] [-g] [-c BYTES] [-t THREADS] [-v]\n"
	       "  -g  use a 1G hugetlb page too; another sequence than without\n"
	       "  -c  have KVM split and promote in chunks of so many bytes\n"
	       "  -t  by so many threads\n"
	       "  -v  print each operation\n", name);
	exit(KSFT_FAIL);
}

int main(int argc, char **argv)
{
	u64 nr_ops = 1000, life = 0;
	int opt, i;

	seed = 1;
	while ((opt = getopt(argc, argv, "s:n:gc:t:v")) != -1) {
		switch (opt) {
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			nr_ops = strtoull(optarg, NULL, 0);
			break;
		case 'g':
			may_use_1g = true;
			break;
		case 'c':
			chunk_bytes = strtoull(optarg, NULL, 0);
			break;
		case 't':
			nr_threads = strtoull(optarg, NULL, 0);
			break;
		case 'v':
			verbose = true;
			break;
		default:
			help(argv[0]);
		}
	}
	TEST_REQUIRE(get_kvm_param_bool("tdp_mmu"));
	setvbuf(stdout, NULL, _IOLBF, 0);
	rng_state = mix(seed);
	main_pid = getpid();
	atexit(report_unfinished);

	for (op_nr = 1; op_nr <= nr_ops; op_nr++) {
		if (!life) {
			life = rnd_range(60, 200);
			life_begin();
		}
		do_op();
		if (op_nr % HASH_EVERY == 0)
			printf("operation %lu: %016lx\n", op_nr, hash);
		if (!--life)
			life_end();
	}
	op_nr--;
	if (life)
		life_end();

	printf("seed %lu, %lu operations: %016lx\n", seed, nr_ops, hash);
	for (i = 0; i < ARRAY_SIZE(counters); i++)
		printf("# %s %lu\n", counters[i], counts[i]);
	finished = true;
	return KSFT_PASS;
}
