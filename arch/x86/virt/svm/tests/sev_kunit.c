// SPDX-License-Identifier: GPL-2.0
/*
 * How the kernel reads and changes the RMP, and when it splits its direct map for
 * that and puts it back: AMD's APM, volume 2, 15.36.5 (changing entries), 15.36.10 (what
 * large mappings are checked for) and 15.36.11 (large entries); volume 3, RMPUPDATE and
 * PSMASH (operands and return codes).  The format of an entry is that of the PPR for
 * family 19h.
 *
 * Both files are compiled once more for this, under names of their own and with an RMP,
 * a direct map and a clock that are the test's; those that the kernel uses stay as they
 * are.  RMPUPDATE and PSMASH themselves are executed: without SNP enabled they
 * raise #UD, of which a die notifier makes the result that the test wants.
 */
#define __DISABLE_EXPORTS

/* Before the header that declares them, so that they have prototypes. */
#define __snp_leak_pages	rmp_kunit_leak_pages
#define kdump_sev_callback	rmp_kunit_kdump_sev_callback
#define psmash			rmp_kunit_psmash
#define rmp_make_private	rmp_kunit_make_private
#define rmp_make_shared		rmp_kunit_make_shared
#define rmp_make_shared_range	rmp_kunit_make_shared_range
#define rmpupdate		rmp_kunit_rmpupdate
#define snp_directmap_forget	rmp_kunit_directmap_forget
#define snp_directmap_stats	rmp_kunit_directmap_stats
#define snp_directmap_update	rmp_kunit_directmap_update
#define snp_dump_hva_rmpentry	rmp_kunit_dump_hva_rmpentry
#define snp_fixup_e820_tables	rmp_kunit_fixup_e820_tables
#define snp_lookup_rmpentry	rmp_kunit_lookup_rmpentry
#define snp_prepare		rmp_kunit_prepare
#define snp_probe_rmptable_info	rmp_kunit_probe_rmptable_info
#define snp_rmptable_init	rmp_kunit_rmptable_init
#define snp_shutdown		rmp_kunit_shutdown

#include <linux/amd-iommu.h>
#include <linux/cc_platform.h>
#include <linux/iommu.h>
#include <linux/kdebug.h>
#include <linux/memblock.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/percpu-rwsem.h>
#include <linux/set_memory.h>
#include <linux/unaligned.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <asm/directmap.h>
#include <asm/ptrace.h>
#include <asm/sev.h>
#include <asm/trapnr.h>

#include <kunit/test.h>
#include <kunit/test-bug.h>

/* <asm/sev.h> has it as a macro, of its own name. */
#undef rmp_make_private_range
#define rmp_make_private_range	rmp_kunit_make_private_range
int rmp_make_private_range(u64 pfn, u64 gpa, unsigned long nr, u32 asid, bool immutable);

#define PAGES_2M	512

/* The RMP of the tests covers these PFNs: up to the middle of a 2M page. */
#define NR_PFNS		(3 * PAGES_2M + 256)
#define NR_REGIONS	4

/* A 2M page that the RMP has the entries before and behind of as well. */
#define HEAD		PAGES_2M

/* PFNs of a 2M page: both ends, and in between. */
static const u64 offsets[] = { 0, 1, 255, 510, 511 };

/* An entry, as the processor writes it. */
#define ENTRY_ASSIGNED	BIT_ULL(0)
#define ENTRY_2M	BIT_ULL(1)
#define ENTRY_OTHERS	GENMASK_ULL(63, 2)

struct raw_entry {
	u64 lo;
	u64 hi;
};

/* Opcodes, as a word of memory */
#define INSN_RMPUPDATE	0xfe010ff2
#define INSN_PSMASH	0xff010ff3
#define INSN_LENGTH	4

/* Return codes of both */
#define RC_INPUT	1
#define RC_PERMISSION	2
#define RC_INUSE	3
#define RC_OVERLAP	4

struct rmp_insn {
	u32 opcode;
	u64 rax;
	u64 state[2];		/* what RCX points to; of RMPUPDATE only */
	int splits;		/* of the direct map, before it */
};

struct rmp_test {
	struct kunit *test;
	struct raw_entry entries[NR_PFNS];

	bool snp;
	u64 valid_start;
	u64 valid_end;

	/* The direct map, by 2M regions */
	int map_level[NR_REGIONS];
	int splits;
	unsigned long split_pfn;
	unsigned long split_nr;
	int split_error;
	bool mixed;
	struct page *poisoned;
	int collapses;
	int frees;

	unsigned long now;		/* the clock, in jiffies */
	unsigned long queued;		/* with this delay, last */
	int nr_queued;
	int pinned;
	int walks;

	/* What the first instructions return; the others succeed. */
	u32 results[8];
	struct rmp_insn insns[8];
	int nr_insns;

	int warnings;
};

static struct rmp_test *rmp_test;

static bool mock_cc_platform_has(enum cc_attr attr)
{
	return attr == CC_ATTR_HOST_SEV_SNP && rmp_test->snp;
}

static bool mock_pfn_valid(u64 pfn)
{
	return pfn >= rmp_test->valid_start && pfn < rmp_test->valid_end;
}

static int mock_direct_map_split(unsigned long pfn, unsigned long nr, u64 *split_2m,
				 u64 *split_1g)
{
	struct rmp_test *t = rmp_test;
	int i, region = pfn / PAGES_2M, nr_regions = nr / PAGES_2M;

	*split_2m = 0;
	*split_1g = 0;
	t->splits++;
	t->split_pfn = pfn;
	t->split_nr = nr;
	if (t->split_error)
		return t->split_error;

	for (i = 0; i < nr_regions && region + i < NR_REGIONS; i++) {
		if (t->map_level[region + i] == PG_LEVEL_1G)
			*split_1g |= BIT_ULL(i);
		if (t->map_level[region + i] > PG_LEVEL_4K)
			*split_2m |= BIT_ULL(i);
		t->map_level[region + i] = PG_LEVEL_4K;
	}
	return 0;
}

static bool mock_direct_map_collapse(unsigned long pfn, int level, struct list_head *tables)
{
	struct rmp_test *t = rmp_test;
	int i;

	if (level == PG_LEVEL_2M) {
		if (t->mixed)
			return false;
		t->collapses++;
		t->map_level[pfn / PAGES_2M] = level;
		return true;
	}

	for (i = 0; i < NR_REGIONS; i++) {
		if (t->map_level[i] < PG_LEVEL_2M)
			return false;
	}
	for (i = 0; i < NR_REGIONS; i++)
		t->map_level[i] = level;
	return true;
}

static void mock_direct_map_free_tables(struct list_head *tables)
{
	rmp_test->frees++;
}

static bool mock_queue_delayed_work(struct workqueue_struct *wq, struct delayed_work *work,
				    unsigned long delay)
{
	rmp_test->queued = delay;
	rmp_test->nr_queued++;
	return true;
}

static int mock_walk_system_ram_range(unsigned long pfn, unsigned long nr, void *data,
				      int (*func)(unsigned long, unsigned long, void *))
{
	rmp_test->walks++;
	return func(0, NR_REGIONS * PAGES_2M, data);
}

static bool mock_is_poisoned(struct page *page)
{
	return page == rmp_test->poisoned;
}

static void mock_get_page(struct page *page)
{
	rmp_test->pinned++;
}

/* A test that makes the base warn says so; the machine may panic on warnings. */
static bool mock_warn(bool condition)
{
	rmp_test->warnings += condition;
	return condition;
}

static void mock_dump_stack(void)
{
}

#define cc_platform_has	mock_cc_platform_has
#undef core_param_cb
#define core_param_cb(name, ops, ...)	static const void *mock_##name __used = (ops)
#define direct_map_collapse	mock_direct_map_collapse
#define direct_map_free_tables	mock_direct_map_free_tables
#define direct_map_split	mock_direct_map_split
#define dump_stack	mock_dump_stack
#define get_page	mock_get_page
#define PageHWPoison	mock_is_poisoned
#undef pfn_valid
#define pfn_valid	mock_pfn_valid
#define queue_delayed_work	mock_queue_delayed_work
#define walk_system_ram_range	mock_walk_system_ram_range

/* RMPREAD would be the processor's, and not read the table. */
#undef cpu_feature_enabled
#define cpu_feature_enabled(feature)	((void)(feature), false)

/* The tests change what the kernel sets at boot only. */
#undef __ro_after_init
#define __ro_after_init
#undef WARN_ON_ONCE
#define WARN_ON_ONCE(condition)	mock_warn(!!(condition))

#include "../sev.c"

#undef pr_fmt
#define jiffies		(rmp_test->now)
#include "../directmap.c"
#undef jiffies

#undef cc_platform_has
#undef get_page
#undef queue_delayed_work

#ifndef RMP_KUNIT_COMPAT
/* An RMP of one segment is how the kernel has one that knows no segments. */
static struct rmp_segment_desc rmp_segments[2];
static struct rmp_segment_desc *rmp_segment_descs[3];

static void rmp_set_table(struct raw_entry *entries, unsigned int nr)
{
	rmp_segments[0] = (struct rmp_segment_desc) {
		.rmp_entry = (struct rmpentry_raw *)entries,
		.max_index = nr,
	};
	rmp_segment_descs[0] = &rmp_segments[0];
	rmp_segment_table = entries ? rmp_segment_descs : NULL;
	rst_max_index = 1;
	set_rmp_segment_info(RMPTABLE_NON_SEGMENTED_SHIFT);
}

/* Is a PFN without an entry worth a warning? */
#define RMP_LOOKUP_WARNS	0
#endif

/* The instruction at regs->ip, if it is one of the two, with the test's result. */
static int emulate(struct notifier_block *nb, unsigned long what, void *data)
{
	struct die_args *args = data;
	struct pt_regs *regs = args->regs;
	struct rmp_insn *insn;
	u32 opcode;

	if (what != DIE_TRAP || args->trapnr != X86_TRAP_UD || user_mode(regs) ||
	    !rmp_test || kunit_get_current_test() != rmp_test->test)
		return NOTIFY_DONE;

	opcode = get_unaligned((u32 *)regs->ip);
	if (opcode != INSN_RMPUPDATE && opcode != INSN_PSMASH)
		return NOTIFY_DONE;

	if (rmp_test->nr_insns < ARRAY_SIZE(rmp_test->insns)) {
		insn = &rmp_test->insns[rmp_test->nr_insns];
		insn->opcode = opcode;
		insn->rax = regs->ax;
		insn->splits = rmp_test->splits;
		if (opcode == INSN_RMPUPDATE)
			memcpy(insn->state, (void *)regs->cx, sizeof(insn->state));
		regs->ax = rmp_test->results[rmp_test->nr_insns];
	} else {
		regs->ax = 0;
	}
	rmp_test->nr_insns++;
	regs->ip += INSN_LENGTH;
	return NOTIFY_STOP;
}

static struct notifier_block emulator = {
	.notifier_call = emulate,
};

static int rmp_init(struct kunit *test)
{
	struct rmp_test *t;
	int cpu;

	if (cc_platform_has(CC_ATTR_HOST_SEV_SNP))
		kunit_skip(test, "SNP is on, and the instructions would be carried out");

	t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t);
	t->test = test;
	t->snp = true;
	t->valid_end = NR_PFNS;
	t->now = 1000000;

	rmp_test = t;
	for_each_possible_cpu(cpu)
		memset(per_cpu_ptr(&snp_directmap_stats, cpu), 0, sizeof(snp_directmap_stats));
	rmp_set_table(t->entries, NR_PFNS);
	test->priv = t;
	return register_die_notifier(&emulator);
}

static void rmp_exit(struct kunit *test)
{
	if (!test->priv)
		return;

	unregister_die_notifier(&emulator);
	xa_destroy(&snp_regions);
	xa_destroy(&snp_gigas);
	snp_presplit = false;
	snp_presplit_done = false;
	snp_directmap_restore = true;
	rmp_set_table(NULL, 0);
	rmp_test = NULL;
}

static void map_all(struct rmp_test *t, int level)
{
	int i;

	for (i = 0; i < NR_REGIONS; i++)
		t->map_level[i] = level;
}

/* What was counted, on all CPUs; and forget it. */
static unsigned long counted(enum snp_directmap_stat stat)
{
	unsigned long sum = 0;
	int cpu;

	for_each_possible_cpu(cpu) {
		sum += per_cpu(snp_directmap_stats, cpu).nr[stat];
		per_cpu(snp_directmap_stats, cpu).nr[stat] = 0;
	}
	return sum;
}

/* All test cases but those of warnings. */
static void expect_quiet(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, rmp_test->warnings, 0);
}

static void expect_lookup(struct kunit *test, u64 pfn, bool assigned, int level)
{
	bool is_assigned = !assigned;
	int is_level = -1;

	KUNIT_EXPECT_EQ(test, snp_lookup_rmpentry(pfn, &is_assigned, &is_level), 0);
	KUNIT_EXPECT_EQ_MSG(test, is_assigned, assigned, "PFN 0x%llx", pfn);
	KUNIT_EXPECT_EQ_MSG(test, is_level, level, "PFN 0x%llx", pfn);
}

/* Who has a page, its own entry says, and no other field of it or of its neighbours. */
static void test_lookup_assigned(struct kunit *test)
{
	struct rmp_test *t = test->priv;
	u64 pfn;
	int i;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		pfn = HEAD + offsets[i];
		memset(t->entries, 0, sizeof(t->entries));

		expect_lookup(test, pfn, false, PG_LEVEL_4K);
		t->entries[pfn].lo = ENTRY_OTHERS;
		t->entries[pfn].hi = ~0ull;
		expect_lookup(test, pfn, false, PG_LEVEL_4K);
		t->entries[pfn - 1].lo = ENTRY_ASSIGNED;
		t->entries[pfn + 1].lo = ENTRY_ASSIGNED;
		expect_lookup(test, pfn, false, PG_LEVEL_4K);
		t->entries[pfn].lo = ENTRY_ASSIGNED;
		t->entries[pfn].hi = 0;
		expect_lookup(test, pfn, true, PG_LEVEL_4K);
		t->entries[pfn].lo |= ENTRY_OTHERS;
		expect_lookup(test, pfn, true, PG_LEVEL_4K);
	}
	expect_quiet(test);
}

/* How large an entry is, the first one of the 2M page says, for all of it. */
static void test_lookup_level(struct kunit *test)
{
	struct rmp_test *t = test->priv;
	u64 pfn;
	int i;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		pfn = HEAD + offsets[i];
		memset(t->entries, 0, sizeof(t->entries));

		t->entries[pfn].lo = ENTRY_ASSIGNED;
		t->entries[HEAD].lo |= ENTRY_2M;
		expect_lookup(test, pfn, true, PG_LEVEL_2M);
		t->entries[HEAD].lo |= ENTRY_ASSIGNED | ENTRY_OTHERS;
		expect_lookup(test, pfn, true, PG_LEVEL_2M);

		/* Not that of the page itself, nor of other 2M pages. */
		t->entries[HEAD].lo &= ~ENTRY_2M;
		t->entries[HEAD - PAGES_2M].lo = ENTRY_ASSIGNED | ENTRY_2M;
		t->entries[HEAD + PAGES_2M].lo = ENTRY_ASSIGNED | ENTRY_2M;
		if (pfn != HEAD)
			t->entries[pfn].lo |= ENTRY_2M;
		expect_lookup(test, pfn, t->entries[pfn].lo & ENTRY_ASSIGNED, PG_LEVEL_4K);
	}
	expect_quiet(test);
}

/* The last page that has an entry is one, and behind it there is an error. */
static void test_lookup_ends(struct kunit *test)
{
	struct rmp_test *t = test->priv;
	bool assigned = true;
	int level = PG_LEVEL_2M;

	t->entries[0].lo = ENTRY_ASSIGNED | ENTRY_2M;
	t->entries[NR_PFNS - 1].lo = ENTRY_ASSIGNED;
	expect_lookup(test, 0, true, PG_LEVEL_2M);
	expect_lookup(test, NR_PFNS - 1, true, PG_LEVEL_4K);
	expect_quiet(test);

	KUNIT_EXPECT_EQ(test, snp_lookup_rmpentry(NR_PFNS, &assigned, &level), -EFAULT);
	KUNIT_EXPECT_EQ(test, t->warnings, RMP_LOOKUP_WARNS);
	KUNIT_EXPECT_EQ(test, snp_lookup_rmpentry(~0ull, &assigned, &level), -EFAULT);
	KUNIT_EXPECT_EQ(test, t->warnings, 2 * RMP_LOOKUP_WARNS);
	KUNIT_EXPECT_TRUE(test, assigned);
	KUNIT_EXPECT_EQ(test, level, PG_LEVEL_2M);
}

#ifndef RMP_KUNIT_COMPAT
/* Each segment has a table of its own, which may be short, or missing. */
static void test_lookup_segments(struct kunit *test)
{
	struct rmp_test *t = test->priv;
	bool assigned = true;
	int level = PG_LEVEL_2M;

	/* Of 2M each: the third one has the second half of what there is, but not all. */
	set_rmp_segment_info(PMD_SHIFT);
	rmp_segments[0].max_index = PAGES_2M;
	rmp_segments[1] = (struct rmp_segment_desc) {
		.rmp_entry = (struct rmpentry_raw *)&t->entries[PAGES_2M],
		.max_index = 2,
	};
	rmp_segment_descs[1] = NULL;
	rmp_segment_descs[2] = &rmp_segments[1];
	rst_max_index = 3;

	t->entries[PAGES_2M - 1].lo = ENTRY_ASSIGNED;
	t->entries[PAGES_2M].lo = ENTRY_ASSIGNED | ENTRY_2M;
	expect_lookup(test, PAGES_2M - 2, false, PG_LEVEL_4K);
	expect_lookup(test, PAGES_2M - 1, true, PG_LEVEL_4K);
	expect_lookup(test, 2 * PAGES_2M, true, PG_LEVEL_2M);
	expect_lookup(test, 2 * PAGES_2M + 1, false, PG_LEVEL_2M);
	KUNIT_EXPECT_EQ(test, snp_lookup_rmpentry(PAGES_2M, &assigned, &level), -EFAULT);
	KUNIT_EXPECT_EQ(test, snp_lookup_rmpentry(2 * PAGES_2M - 1, &assigned, &level), -EFAULT);
	KUNIT_EXPECT_EQ(test, snp_lookup_rmpentry(2 * PAGES_2M + 2, &assigned, &level), -EFAULT);
	KUNIT_EXPECT_EQ(test, snp_lookup_rmpentry(3 * PAGES_2M, &assigned, &level), -EFAULT);
	KUNIT_EXPECT_TRUE(test, assigned);
	expect_quiet(test);
}
#endif

/* Nothing is read, nor done, where SNP is off. */
static void test_no_snp(struct kunit *test)
{
	struct rmp_test *t = test->priv;
	bool assigned = true;
	int level = PG_LEVEL_1G;

	t->snp = false;
	map_all(t, PG_LEVEL_2M);
	rmp_set_table(NULL, 0);
	KUNIT_EXPECT_EQ(test, snp_lookup_rmpentry(HEAD, &assigned, &level), -ENODEV);
	KUNIT_EXPECT_TRUE(test, assigned);
	KUNIT_EXPECT_EQ(test, level, PG_LEVEL_1G);
	KUNIT_EXPECT_EQ(test, rmp_make_private(HEAD, 0, PG_LEVEL_4K, 1, false), -ENODEV);
	KUNIT_EXPECT_EQ(test, rmp_make_shared(HEAD, PG_LEVEL_4K), -ENODEV);
	KUNIT_EXPECT_EQ(test, psmash(HEAD), -ENODEV);
	KUNIT_EXPECT_EQ(test, t->nr_insns, 0);
	KUNIT_EXPECT_EQ(test, t->splits, 0);
	expect_quiet(test);
}

/* RMP_STATE as RMPUPDATE takes it, the second word of it. */
#define STATE_ASSIGNED	BIT_ULL(0)
#define STATE_2M	BIT_ULL(8)
#define STATE_IMMUTABLE	BIT_ULL(16)
#define STATE_ASID(n)	((u64)(n) << 32)

#define GPA	0x123456789000ull
#define ASID	509u

static int give(u64 pfn, int level)
{
	return rmp_make_private(pfn, GPA, level, ASID, false);
}

/*
 * One 4K page is given away: a write through a larger mapping to any other page of
 * the 2M would fault (APM 2, 15.36.10), so that it is split.  Once is enough.
 */
static void test_direct_map_4k(struct kunit *test)
{
	struct rmp_test *t = test->priv;
	int i, level;

	for (level = PG_LEVEL_2M; level <= PG_LEVEL_1G; level++) {
		map_all(t, level);
		snp_directmap_forget(0, NR_PFNS);
		for (i = 0; i < ARRAY_SIZE(offsets); i++) {
			t->nr_insns = 0;
			t->splits = 0;
			KUNIT_EXPECT_EQ(test, give(HEAD + offsets[i], PG_LEVEL_4K), 0);
			KUNIT_EXPECT_EQ(test, t->splits, !i);
			KUNIT_EXPECT_EQ(test, t->nr_insns, 1);
			KUNIT_EXPECT_EQ(test, t->insns[0].splits, !i);
			KUNIT_EXPECT_EQ(test, t->split_pfn, HEAD);
			KUNIT_EXPECT_EQ(test, t->split_nr, PAGES_2M);
		}
		KUNIT_EXPECT_EQ(test, counted(SNP_DIRECTMAP_SPLIT_2M), 1);
		KUNIT_EXPECT_EQ(test, counted(SNP_DIRECTMAP_SPLIT_1G), level == PG_LEVEL_1G);
		KUNIT_EXPECT_EQ(test, counted(SNP_DIRECTMAP_FLUSHES), 1);
		KUNIT_EXPECT_EQ(test, counted(SNP_DIRECTMAP_SKIPPED_4K), i - 1);
	}
	expect_quiet(test);
}

/* What was mapped by 4K before is known to be after the first look, and never restored. */
static void test_direct_map_4k_already(struct kunit *test)
{
	struct rmp_test *t = test->priv;

	map_all(t, PG_LEVEL_4K);
	KUNIT_EXPECT_EQ(test, give(HEAD, PG_LEVEL_4K), 0);
	KUNIT_EXPECT_EQ(test, t->splits, 1);
	KUNIT_EXPECT_EQ(test, give(HEAD + 1, PG_LEVEL_4K), 0);
	KUNIT_EXPECT_EQ(test, rmp_make_shared(HEAD + 1, PG_LEVEL_4K), 0);
	KUNIT_EXPECT_EQ(test, rmp_make_shared(HEAD, PG_LEVEL_4K), 0);
	KUNIT_EXPECT_EQ(test, t->splits, 1);
	KUNIT_EXPECT_EQ(test, counted(SNP_DIRECTMAP_SKIPPED_4K), 4);
	KUNIT_EXPECT_EQ(test, counted(SNP_DIRECTMAP_SPLIT_2M), 0);
	KUNIT_EXPECT_EQ(test, counted(SNP_DIRECTMAP_FLUSHES), 0);
	KUNIT_EXPECT_EQ(test, t->nr_queued, 0);
	expect_quiet(test);
}

/* All of a 2M page is given away: whatever maps it is checked as 2M and may stay. */
static void test_direct_map_2m(struct kunit *test)
{
	struct rmp_test *t = test->priv;
	int level;

	for (level = PG_LEVEL_4K; level <= PG_LEVEL_1G; level++) {
		map_all(t, level);
		KUNIT_EXPECT_EQ(test, give(0, PG_LEVEL_2M), 0);
		KUNIT_EXPECT_EQ(test, give(HEAD, PG_LEVEL_2M), 0);
	}
	KUNIT_EXPECT_EQ(test, t->splits, 0);
	KUNIT_EXPECT_EQ(test, t->nr_insns, 6);
	KUNIT_EXPECT_EQ(test, counted(SNP_DIRECTMAP_SKIPPED_2M), 6);
	expect_quiet(test);
}

/* What is not a 2M page, or not memory up to its end, is not one to RMPUPDATE either. */
static void test_direct_map_2m_refused(struct kunit *test)
{
	struct rmp_test *t = test->priv;
	int i;

	map_all(t, PG_LEVEL_2M);
	for (i = 1; i < ARRAY_SIZE(offsets); i++)
		KUNIT_EXPECT_EQ(test, give(HEAD + offsets[i], PG_LEVEL_2M), -EINVAL);

	t->valid_end = HEAD + PAGES_2M - 1;
	KUNIT_EXPECT_EQ(test, give(HEAD, PG_LEVEL_2M), -EINVAL);
	t->valid_end++;
	t->valid_start = HEAD + 1;
	KUNIT_EXPECT_EQ(test, give(HEAD, PG_LEVEL_2M), -EINVAL);
	KUNIT_EXPECT_EQ(test, t->nr_insns, 0);
	t->valid_start--;
	KUNIT_EXPECT_EQ(test, give(HEAD, PG_LEVEL_2M), 0);
	KUNIT_EXPECT_EQ(test, t->nr_insns, 1);
	KUNIT_EXPECT_EQ(test, t->splits, 0);
	expect_quiet(test);
}

static void test_direct_map_4k_refused(struct kunit *test)
{
	struct rmp_test *t = test->priv;

	map_all(t, PG_LEVEL_2M);
	t->valid_start = HEAD + 5;
	t->valid_end = HEAD + 7;
	KUNIT_EXPECT_EQ(test, give(HEAD + 4, PG_LEVEL_4K), -EINVAL);
	KUNIT_EXPECT_EQ(test, give(HEAD + 7, PG_LEVEL_4K), -EINVAL);
	KUNIT_EXPECT_EQ(test, rmp_make_shared_range(HEAD + 5, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, rmp_make_shared_range(HEAD + 4, 3), -EINVAL);
	KUNIT_EXPECT_EQ(test, rmp_make_shared_range(HEAD + 5, 3), -EINVAL);
	KUNIT_EXPECT_EQ(test, t->splits, 0);
	KUNIT_EXPECT_EQ(test, t->nr_insns, 0);
	KUNIT_EXPECT_EQ(test, rmp_make_shared_range(HEAD + 5, 2), 0);
	KUNIT_EXPECT_EQ(test, t->splits, 1);
	expect_quiet(test);
}

/* No memory to split: nothing is changed, and tried again the next time. */
static void test_direct_map_error(struct kunit *test)
{
	struct rmp_test *t = test->priv;

	map_all(t, PG_LEVEL_2M);
	t->split_error = -ENOMEM;
	KUNIT_EXPECT_EQ(test, give(HEAD + 7, PG_LEVEL_4K), -ENOMEM);
	KUNIT_EXPECT_EQ(test, rmp_make_shared(HEAD + 7, PG_LEVEL_4K), -ENOMEM);
	KUNIT_EXPECT_EQ(test, t->splits, 2);
	KUNIT_EXPECT_EQ(test, t->nr_insns, 0);
	KUNIT_EXPECT_EQ(test, counted(SNP_DIRECTMAP_SPLIT_FAILED), 2);

	t->split_error = 0;
	KUNIT_EXPECT_EQ(test, give(HEAD + 7, PG_LEVEL_4K), 0);
	KUNIT_EXPECT_EQ(test, t->splits, 3);
	KUNIT_EXPECT_EQ(test, t->nr_insns, 1);
	expect_quiet(test);
}

static void expect_update(struct kunit *test, int n, u64 pfn, u64 state_lo, u64 state_hi)
{
	struct rmp_insn *insn = &rmp_test->insns[n];

	KUNIT_EXPECT_EQ(test, insn->opcode, INSN_RMPUPDATE);
	KUNIT_EXPECT_EQ(test, insn->rax, PFN_PHYS(pfn));
	KUNIT_EXPECT_EQ(test, insn->state[0], state_lo);
	KUNIT_EXPECT_EQ(test, insn->state[1], state_hi);
}

static void test_make_private(struct kunit *test)
{
	struct rmp_test *t = test->priv;
	u64 common = STATE_ASSIGNED | STATE_ASID(ASID);

	KUNIT_EXPECT_EQ(test, rmp_make_private(HEAD + 3, GPA, PG_LEVEL_4K, ASID, false), 0);
	expect_update(test, 0, HEAD + 3, GPA, common);
	KUNIT_EXPECT_EQ(test, rmp_make_private(HEAD + 3, GPA, PG_LEVEL_4K, ASID, true), 0);
	expect_update(test, 1, HEAD + 3, GPA, common | STATE_IMMUTABLE);
	KUNIT_EXPECT_EQ(test, rmp_make_private(HEAD, 0, PG_LEVEL_2M, ASID, false), 0);
	expect_update(test, 2, HEAD, 0, common | STATE_2M);
	/* The ASID of the firmware's own pages */
	KUNIT_EXPECT_EQ(test, rmp_make_private(0, ~0ull, PG_LEVEL_4K, 0, true), 0);
	expect_update(test, 3, 0, ~0ull, STATE_ASSIGNED | STATE_IMMUTABLE);
	KUNIT_EXPECT_EQ(test, t->nr_insns, 4);
	expect_quiet(test);
}

/* RMPUPDATE refuses the hypervisor's pages if they have an ASID. */
static void test_make_shared(struct kunit *test)
{
	struct rmp_test *t = test->priv;

	KUNIT_EXPECT_EQ(test, rmp_make_shared(HEAD + 511, PG_LEVEL_4K), 0);
	expect_update(test, 0, HEAD + 511, 0, 0);
	KUNIT_EXPECT_EQ(test, rmp_make_shared(HEAD, PG_LEVEL_2M), 0);
	expect_update(test, 1, HEAD, 0, STATE_2M);
	KUNIT_EXPECT_EQ(test, t->nr_insns, 2);
	expect_quiet(test);
}

/* The direct map is split first, in both directions, or else nothing is changed. */
static void test_update_splits_first(struct kunit *test)
{
	struct rmp_test *t = test->priv;

	map_all(t, PG_LEVEL_1G);
	KUNIT_EXPECT_EQ(test, give(HEAD, PG_LEVEL_2M), 0);
	KUNIT_EXPECT_EQ(test, t->insns[0].splits, 0);
	KUNIT_EXPECT_EQ(test, give(HEAD, PG_LEVEL_4K), 0);
	KUNIT_EXPECT_EQ(test, t->insns[1].splits, 1);
	KUNIT_EXPECT_EQ(test, rmp_make_shared(0, PG_LEVEL_4K), 0);
	KUNIT_EXPECT_EQ(test, t->insns[2].splits, 2);
	KUNIT_EXPECT_EQ(test, rmp_make_shared(HEAD, PG_LEVEL_2M), 0);
	KUNIT_EXPECT_EQ(test, t->insns[3].splits, 2);
	KUNIT_EXPECT_EQ(test, t->splits, 2);
	KUNIT_EXPECT_EQ(test, t->nr_insns, 4);
	expect_quiet(test);
}

/* A range is split by one call, and its pages follow each other. */
static void test_range(struct kunit *test)
{
	struct rmp_test *t = test->priv;
	u64 common = STATE_ASSIGNED | STATE_IMMUTABLE | STATE_ASID(ASID);
	u64 pfn = HEAD + PAGES_2M - 2;
	int i;

	map_all(t, PG_LEVEL_2M);
	KUNIT_EXPECT_EQ(test, rmp_make_private_range(pfn, GPA, 4, ASID, true), 0);
	KUNIT_EXPECT_EQ(test, t->splits, 1);
	KUNIT_EXPECT_EQ(test, t->split_pfn, HEAD);
	KUNIT_EXPECT_EQ(test, t->split_nr, 2 * PAGES_2M);
	KUNIT_EXPECT_EQ(test, counted(SNP_DIRECTMAP_SPLIT_2M), 2);
	KUNIT_EXPECT_EQ(test, counted(SNP_DIRECTMAP_FLUSHES), 1);
	KUNIT_EXPECT_EQ(test, t->nr_insns, 4);
	for (i = 0; i < 4; i++)
		expect_update(test, i, pfn + i, GPA + i * PAGE_SIZE, common);

	t->nr_insns = 0;
	KUNIT_EXPECT_EQ(test, rmp_make_shared_range(pfn, 4), 0);
	KUNIT_EXPECT_EQ(test, t->splits, 1);
	KUNIT_EXPECT_EQ(test, t->nr_insns, 4);
	for (i = 0; i < 4; i++)
		expect_update(test, i, pfn + i, 0, 0);
	expect_quiet(test);
}

/* One is refused: those before it are taken back, and kept if that fails too. */
static void test_range_refused(struct kunit *test)
{
	struct rmp_test *t = test->priv;
	u64 common = STATE_ASSIGNED | STATE_ASID(ASID);

	t->results[2] = RC_INUSE;
	KUNIT_EXPECT_EQ(test, rmp_make_private_range(HEAD, GPA, 4, ASID, false), -EFAULT);
	KUNIT_EXPECT_EQ(test, t->nr_insns, 5);
	expect_update(test, 2, HEAD + 2, GPA + 2 * PAGE_SIZE, common);
	expect_update(test, 3, HEAD, 0, 0);
	expect_update(test, 4, HEAD + 1, 0, 0);
	KUNIT_EXPECT_EQ(test, t->pinned, 0);
	expect_quiet(test);

	t->nr_insns = 0;
	t->results[4] = RC_PERMISSION;
	KUNIT_EXPECT_EQ(test, rmp_make_private_range(HEAD, GPA, 4, ASID, false), -EFAULT);
	KUNIT_EXPECT_EQ(test, t->nr_insns, 5);
	KUNIT_EXPECT_EQ(test, t->pinned, 1);
	KUNIT_EXPECT_EQ(test, t->warnings, 1);

	t->nr_insns = 0;
	KUNIT_EXPECT_EQ(test, rmp_make_shared_range(HEAD, 4), -EFAULT);
	KUNIT_EXPECT_EQ(test, t->nr_insns, 3);
}

/* Split a region by a private page, and make it shared again. */
static void flip(struct kunit *test, u64 pfn)
{
	struct rmp_test *t = test->priv;

	t->nr_insns = 0;
	KUNIT_EXPECT_EQ(test, give(pfn, PG_LEVEL_4K), 0);
	t->entries[pfn].lo = ENTRY_ASSIGNED;
	KUNIT_EXPECT_EQ(test, rmp_make_shared(pfn, PG_LEVEL_4K), 0);
	t->entries[pfn].lo = 0;
	KUNIT_EXPECT_EQ(test, t->map_level[pfn / PAGES_2M], PG_LEVEL_4K);
}

static void run_after(struct rmp_test *t, unsigned long delay)
{
	t->now += delay;
	t->queued = 0;
	snp_restore_work(NULL);
}

/* The last private page is shared: after a while 2M comes back, and 1G with the last. */
static void test_restore(struct kunit *test)
{
	struct rmp_test *t = test->priv;

	map_all(t, PG_LEVEL_1G);
	flip(test, HEAD + 5);
	map_all(t, PG_LEVEL_2M);
	t->map_level[1] = PG_LEVEL_4K;
	flip(test, 2 * PAGES_2M);
	KUNIT_EXPECT_EQ(test, t->queued, RESTORE_DELAY);

	run_after(t, RESTORE_DELAY - 1);
	KUNIT_EXPECT_EQ(test, t->collapses, 0);
	KUNIT_EXPECT_EQ(test, t->queued, 1);
	run_after(t, 1);
	KUNIT_EXPECT_EQ(test, t->collapses, 2);
	KUNIT_EXPECT_EQ(test, t->frees, 1);
	KUNIT_EXPECT_EQ(test, t->queued, 0);
	KUNIT_EXPECT_EQ(test, t->map_level[1], PG_LEVEL_1G);
	KUNIT_EXPECT_EQ(test, counted(SNP_DIRECTMAP_RESTORED_2M), 2);
	KUNIT_EXPECT_EQ(test, counted(SNP_DIRECTMAP_RESTORED_1G), 1);

	run_after(t, HZ);
	KUNIT_EXPECT_EQ(test, t->collapses, 2);
	KUNIT_EXPECT_EQ(test, give(HEAD + 5, PG_LEVEL_4K), 0);
	KUNIT_EXPECT_EQ(test, t->map_level[1], PG_LEVEL_4K);
	expect_quiet(test);
}

/* Wherever a private page is, and whoever made it one: the RMP decides. */
static void test_restore_private(struct kunit *test)
{
	struct rmp_test *t = test->priv;
	int i;

	map_all(t, PG_LEVEL_2M);
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		flip(test, HEAD + 7);
		t->entries[HEAD + offsets[i]].lo = ENTRY_ASSIGNED;
		run_after(t, HZ);
		KUNIT_EXPECT_EQ(test, t->collapses, 0);
		KUNIT_EXPECT_EQ(test, counted(SNP_DIRECTMAP_KEPT_PRIVATE), 1);
		/* Nor is it looked at again until a page is shared. */
		run_after(t, HZ);
		KUNIT_EXPECT_EQ(test, counted(SNP_DIRECTMAP_KEPT_PRIVATE), 0);
		t->entries[HEAD + offsets[i]].lo = 0;
	}

	/* Those of the neighbours do not count; all of 2M may be shared at once. */
	t->entries[HEAD - 1].lo = ENTRY_ASSIGNED;
	t->entries[HEAD + PAGES_2M].lo = ENTRY_ASSIGNED;
	KUNIT_EXPECT_EQ(test, rmp_make_shared(HEAD, PG_LEVEL_2M), 0);
	run_after(t, HZ);
	KUNIT_EXPECT_EQ(test, t->collapses, 1);
	expect_quiet(test);
}

/* Put back in vain: the wait doubles, up to a limit, and is forgotten after a while. */
static void test_restore_flapping(struct kunit *test)
{
	struct rmp_test *t = test->priv;
	unsigned long delay = RESTORE_DELAY;
	int i;

	map_all(t, PG_LEVEL_2M);
	for (i = 0; i < RESTORE_MAX_SHIFT + 3; i++) {
		flip(test, HEAD);
		run_after(t, delay - 1);
		KUNIT_EXPECT_EQ(test, t->collapses, i);
		run_after(t, 1);
		KUNIT_EXPECT_EQ(test, t->collapses, i + 1);
		delay = min(2 * delay, RESTORE_DELAY << RESTORE_MAX_SHIFT);
	}

	t->now += RESTORE_MEMORY * delay + 1;
	flip(test, HEAD);
	run_after(t, RESTORE_DELAY);
	KUNIT_EXPECT_EQ(test, t->collapses, i + 1);
	expect_quiet(test);
}

/* Attributes that differ keep it split until they do not. */
static void test_restore_mixed(struct kunit *test)
{
	struct rmp_test *t = test->priv;

	map_all(t, PG_LEVEL_2M);
	t->mixed = true;
	flip(test, HEAD);
	run_after(t, RESTORE_DELAY);
	KUNIT_EXPECT_EQ(test, counted(SNP_DIRECTMAP_KEPT_MIXED), 1);
	KUNIT_EXPECT_NE(test, t->queued, 0);
	run_after(t, RESTORE_DELAY);
	KUNIT_EXPECT_EQ(test, counted(SNP_DIRECTMAP_KEPT_MIXED), 0);
	run_after(t, RESTORE_DELAY);
	KUNIT_EXPECT_EQ(test, counted(SNP_DIRECTMAP_KEPT_MIXED), 1);
	t->mixed = false;
	run_after(t, 4 * RESTORE_DELAY);
	KUNIT_EXPECT_EQ(test, t->collapses, 1);
	KUNIT_EXPECT_EQ(test, t->queued, 0);
	expect_quiet(test);
}

/* A poisoned page keeps its 2M split, even if nothing has been done to what maps it. */
static void test_restore_poisoned(struct kunit *test)
{
	struct rmp_test *t = test->priv;
	int i;

	map_all(t, PG_LEVEL_2M);
	flip(test, HEAD);
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		t->poisoned = pfn_to_page(HEAD + offsets[i]);
		run_after(t, RESTORE_DELAY << RESTORE_MAX_SHIFT);
		KUNIT_EXPECT_EQ(test, counted(SNP_DIRECTMAP_KEPT_MIXED), 1);
	}
	KUNIT_EXPECT_EQ(test, t->collapses, 0);

	t->poisoned = pfn_to_page(HEAD + PAGES_2M);
	run_after(t, RESTORE_DELAY << RESTORE_MAX_SHIFT);
	KUNIT_EXPECT_EQ(test, t->collapses, 1);
	expect_quiet(test);
}

/* Nothing while it is off; what waits is put back when it is on again. */
static void test_restore_off(struct kunit *test)
{
	struct kernel_param kp = { .arg = &snp_directmap_restore };
	struct rmp_test *t = test->priv;

	map_all(t, PG_LEVEL_2M);
	KUNIT_EXPECT_EQ(test, snp_restore_set("0", &kp), 0);
	flip(test, HEAD);
	KUNIT_EXPECT_EQ(test, t->nr_queued, 0);
	run_after(t, HZ);
	KUNIT_EXPECT_EQ(test, t->collapses, 0);
	KUNIT_EXPECT_NE(test, snp_restore_set("maybe", &kp), 0);
	KUNIT_EXPECT_EQ(test, t->nr_queued, 0);
	KUNIT_EXPECT_EQ(test, snp_restore_set("1", &kp), 0);
	KUNIT_EXPECT_EQ(test, t->nr_queued, 1);
	run_after(t, 0);
	KUNIT_EXPECT_EQ(test, t->collapses, 1);
	expect_quiet(test);
}

/* Memory that comes again is mapped anew: nothing that was known of it holds. */
static void test_forget(struct kunit *test)
{
	struct rmp_test *t = test->priv;
	LIST_HEAD(tables);

	map_all(t, PG_LEVEL_2M);
	flip(test, HEAD);
	flip(test, 0);
	map_all(t, PG_LEVEL_2M);
	snp_directmap_forget(HEAD, PAGES_2M);
	run_after(t, HZ);
	KUNIT_EXPECT_EQ(test, t->collapses, 1);
	/* Not even if that was while it waited for its turn. */
	snp_restore_region(HEAD / PAGES_2M, &tables);
	KUNIT_EXPECT_EQ(test, t->collapses, 1);
	t->splits = 0;
	KUNIT_EXPECT_EQ(test, give(HEAD, PG_LEVEL_4K), 0);
	KUNIT_EXPECT_EQ(test, t->splits, 1);
	expect_quiet(test);
}

/* Everything at once, for the first guest and not for the firmware, and for good. */
static void test_presplit(struct kunit *test)
{
	struct kernel_param kp = {};
	struct rmp_test *t = test->priv;
	int i;

	map_all(t, PG_LEVEL_1G);
	KUNIT_EXPECT_EQ(test, snp_policy_set("presplit", &kp), 0);
	KUNIT_EXPECT_EQ(test, rmp_make_private(HEAD, 0, PG_LEVEL_2M, 0, true), 0);
	KUNIT_EXPECT_EQ(test, rmp_make_private(0, 0, PG_LEVEL_4K, 0, true), 0);
	KUNIT_EXPECT_EQ(test, rmp_make_shared(0, PG_LEVEL_4K), 0);
	KUNIT_EXPECT_EQ(test, t->walks, 0);
	KUNIT_EXPECT_EQ(test, t->nr_queued, 0);
	KUNIT_EXPECT_EQ(test, give(HEAD, PG_LEVEL_2M), 0);
	KUNIT_EXPECT_EQ(test, t->walks, 1);
	for (i = 0; i < NR_REGIONS; i++)
		KUNIT_EXPECT_EQ(test, t->map_level[i], PG_LEVEL_4K);
	flip(test, HEAD);
	KUNIT_EXPECT_EQ(test, t->walks, 1);
	KUNIT_EXPECT_EQ(test, t->nr_queued, 0);
	run_after(t, HZ);
	KUNIT_EXPECT_EQ(test, t->collapses, 0);
	expect_quiet(test);
}

/* What is no policy changes none. */
static void test_policy(struct kunit *test)
{
	struct kernel_param kp = {};

	KUNIT_EXPECT_EQ(test, snp_policy_set("presplit", &kp), 0);
	KUNIT_EXPECT_TRUE(test, snp_presplit);
	KUNIT_EXPECT_EQ(test, snp_policy_set("ondemand", &kp), 0);
	KUNIT_EXPECT_FALSE(test, snp_presplit);
	KUNIT_EXPECT_EQ(test, snp_policy_set("always", &kp), 0);
	KUNIT_EXPECT_EQ(test, snp_policy_set(NULL, &kp), 0);
	KUNIT_EXPECT_FALSE(test, snp_presplit);
}

/*
 * Another CPU is at an entry of the same 2M page: again, with the same operands,
 * but the direct map is split by then.
 */
static void test_update_overlap(struct kunit *test)
{
	struct rmp_test *t = test->priv;
	int i;

	map_all(t, PG_LEVEL_2M);
	for (i = 0; i < 5; i++)
		t->results[i] = RC_OVERLAP;
	KUNIT_EXPECT_EQ(test, rmp_make_private(HEAD + 9, GPA, PG_LEVEL_4K, ASID, false), 0);
	KUNIT_EXPECT_EQ(test, t->nr_insns, 6);
	KUNIT_EXPECT_EQ(test, t->splits, 1);
	for (i = 0; i < 6; i++)
		expect_update(test, i, HEAD + 9, GPA, STATE_ASSIGNED | STATE_ASID(ASID));
	expect_quiet(test);
}

/* All others are final, FAIL_INUSE among them, at once or after an overlap. */
static void test_update_errors(struct kunit *test)
{
	static const u32 errors[] = { RC_INPUT, RC_PERMISSION, RC_INUSE, RC_OVERLAP + 1, ~0u };
	struct rmp_test *t = test->priv;
	int i;

	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		t->nr_insns = 0;
		t->results[0] = errors[i];
		KUNIT_EXPECT_EQ(test, rmp_make_shared(HEAD, PG_LEVEL_4K), -EFAULT);
		KUNIT_EXPECT_EQ_MSG(test, t->nr_insns, 1, "error %u", errors[i]);

		t->nr_insns = 0;
		t->results[0] = RC_OVERLAP;
		t->results[1] = errors[i];
		KUNIT_EXPECT_EQ(test, rmp_make_private(HEAD, 0, PG_LEVEL_2M, ASID, false), -EFAULT);
		KUNIT_EXPECT_EQ_MSG(test, t->nr_insns, 2, "overlap, error %u", errors[i]);
	}
	expect_quiet(test);
}

/* Carried out once, with the address as it is; who calls it tries again. */
static void test_psmash(struct kunit *test)
{
	static const u32 results[] = { 0, RC_INPUT, RC_PERMISSION, RC_INUSE, RC_OVERLAP };
	struct rmp_test *t = test->priv;
	int i;

	for (i = 0; i < ARRAY_SIZE(results); i++) {
		t->results[i] = results[i];
		KUNIT_EXPECT_EQ(test, psmash(HEAD + i), results[i]);
		KUNIT_EXPECT_EQ(test, t->nr_insns, i + 1);
		KUNIT_EXPECT_EQ(test, t->insns[i].opcode, INSN_PSMASH);
		KUNIT_EXPECT_EQ(test, t->insns[i].rax, PFN_PHYS(HEAD + i));
	}

	t->valid_end = HEAD;
	KUNIT_EXPECT_EQ(test, psmash(HEAD), -EINVAL);
	KUNIT_EXPECT_EQ(test, t->nr_insns, i);
	/* Entries are split, not mappings. */
	KUNIT_EXPECT_EQ(test, t->splits, 0);
	expect_quiet(test);
}

static struct kunit_case rmp_cases[] = {
	KUNIT_CASE(test_lookup_assigned),
	KUNIT_CASE(test_lookup_level),
	KUNIT_CASE(test_lookup_ends),
#ifndef RMP_KUNIT_COMPAT
	KUNIT_CASE(test_lookup_segments),
#endif
	KUNIT_CASE(test_no_snp),
	KUNIT_CASE(test_direct_map_4k),
	KUNIT_CASE(test_direct_map_4k_already),
	KUNIT_CASE(test_direct_map_2m),
	KUNIT_CASE(test_direct_map_2m_refused),
	KUNIT_CASE(test_direct_map_4k_refused),
	KUNIT_CASE(test_direct_map_error),
	KUNIT_CASE(test_make_private),
	KUNIT_CASE(test_make_shared),
	KUNIT_CASE(test_update_splits_first),
	KUNIT_CASE(test_range),
	KUNIT_CASE(test_range_refused),
	KUNIT_CASE(test_restore),
	KUNIT_CASE(test_restore_private),
	KUNIT_CASE(test_restore_flapping),
	KUNIT_CASE(test_restore_mixed),
	KUNIT_CASE(test_restore_poisoned),
	KUNIT_CASE(test_restore_off),
	KUNIT_CASE(test_forget),
	KUNIT_CASE(test_presplit),
	KUNIT_CASE(test_policy),
	KUNIT_CASE(test_update_overlap),
	KUNIT_CASE(test_update_errors),
	KUNIT_CASE(test_psmash),
	{}
};

static struct kunit_suite rmp_suite = {
	.name = "snp_lpage_rmp",
	.init = rmp_init,
	.exit = rmp_exit,
	.test_cases = rmp_cases,
};

kunit_test_suite(rmp_suite);
