// SPDX-License-Identifier: GPL-2.0
/*
 * How the kernel reads and changes the RMP, and when it splits its direct map for
 * that: AMD's APM, volume 2, 15.36.5 (changing entries), 15.36.10 (what large
 * mappings are checked for) and 15.36.11 (large entries); volume 3, RMPUPDATE and
 * PSMASH (operands and return codes).  The format of an entry is that of the PPR for
 * family 19h.
 *
 * The base's file is compiled once more for this, under names of its own and with
 * an RMP and a direct map that are the test's; the one that the kernel uses stays
 * as it is.  RMPUPDATE and PSMASH themselves are executed: without SNP enabled they
 * raise #UD, of which a die notifier makes the result that the test wants.
 */
#define __DISABLE_EXPORTS

/* Before the header that declares them, so that they have prototypes. */
#define kdump_sev_callback	rmp_kunit_kdump_sev_callback
#define psmash			rmp_kunit_psmash
#define rmp_make_private	rmp_kunit_make_private
#define rmp_make_shared		rmp_kunit_make_shared
#define snp_dump_hva_rmpentry	rmp_kunit_dump_hva_rmpentry
#define snp_fixup_e820_tables	rmp_kunit_fixup_e820_tables
#define snp_leak_pages		rmp_kunit_leak_pages
#define snp_lookup_rmpentry	rmp_kunit_lookup_rmpentry
#define snp_probe_rmptable_info	rmp_kunit_probe_rmptable_info
#define snp_rmptable_init	rmp_kunit_rmptable_init

#include <linux/amd-iommu.h>
#include <linux/cc_platform.h>
#include <linux/iommu.h>
#include <linux/kdebug.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/set_memory.h>
#include <linux/unaligned.h>

#include <asm/ptrace.h>
#include <asm/sev.h>
#include <asm/trapnr.h>

#include <kunit/test.h>
#include <kunit/test-bug.h>

#define PAGES_2M	512

/* The RMP of the tests covers these PFNs: up to the middle of a 2M page. */
#define NR_PFNS		(3 * PAGES_2M + 256)

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

	/* The direct map: one entry for all of it */
	pte_t pte;
	bool no_pte;
	int map_level;
	int lookups;
	unsigned long looked_up;

	int splits;
	unsigned long split_addr;
	int split_pages;
	int split_error;

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

static pte_t *mock_lookup_address(unsigned long addr, unsigned int *level)
{
	rmp_test->lookups++;
	rmp_test->looked_up = addr;
	*level = rmp_test->map_level;
	return rmp_test->no_pte ? NULL : &rmp_test->pte;
}

static int mock_set_memory_4k(unsigned long addr, int nr_pages)
{
	rmp_test->splits++;
	rmp_test->split_addr = addr;
	rmp_test->split_pages = nr_pages;
	return rmp_test->split_error;
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
#define dump_stack	mock_dump_stack
#define lookup_address	mock_lookup_address
#undef pfn_valid
#define pfn_valid	mock_pfn_valid
#define set_memory_4k	mock_set_memory_4k

/* The tests change what the kernel sets at boot only. */
#undef __ro_after_init
#define __ro_after_init
#undef WARN_ON_ONCE
#define WARN_ON_ONCE(condition)	mock_warn(!!(condition))

#include "../sev.c"

#undef cc_platform_has

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

	if (cc_platform_has(CC_ATTR_HOST_SEV_SNP))
		kunit_skip(test, "SNP is on, and the instructions would be carried out");

	t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t);
	t->test = test;
	t->snp = true;
	t->valid_end = NR_PFNS;
	t->pte = __pte(_PAGE_PRESENT);
	t->map_level = PG_LEVEL_4K;

	rmp_test = t;
	rmptable = (struct rmpentry *)t->entries;
	rmptable_max_pfn = NR_PFNS - 1;
	test->priv = t;
	return register_die_notifier(&emulator);
}

static void rmp_exit(struct kunit *test)
{
	if (!test->priv)
		return;

	unregister_die_notifier(&emulator);
	rmptable = NULL;
	rmp_test = NULL;
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
	KUNIT_EXPECT_EQ(test, t->warnings, 1);
	KUNIT_EXPECT_EQ(test, snp_lookup_rmpentry(~0ull, &assigned, &level), -EFAULT);
	KUNIT_EXPECT_EQ(test, t->warnings, 2);
	KUNIT_EXPECT_TRUE(test, assigned);
	KUNIT_EXPECT_EQ(test, level, PG_LEVEL_2M);
}

/* Nothing is read, nor done, where SNP is off. */
static void test_no_snp(struct kunit *test)
{
	struct rmp_test *t = test->priv;
	bool assigned = true;
	int level = PG_LEVEL_1G;

	t->snp = false;
	t->map_level = PG_LEVEL_2M;
	rmptable = NULL;
	KUNIT_EXPECT_EQ(test, snp_lookup_rmpentry(HEAD, &assigned, &level), -ENODEV);
	KUNIT_EXPECT_TRUE(test, assigned);
	KUNIT_EXPECT_EQ(test, level, PG_LEVEL_1G);
	KUNIT_EXPECT_EQ(test, rmp_make_private(HEAD, 0, PG_LEVEL_4K, 1, false), -ENODEV);
	KUNIT_EXPECT_EQ(test, rmp_make_shared(HEAD, PG_LEVEL_4K), -ENODEV);
	KUNIT_EXPECT_EQ(test, psmash(HEAD), -ENODEV);
	KUNIT_EXPECT_EQ(test, t->nr_insns, 0);
	KUNIT_EXPECT_EQ(test, t->lookups, 0);
	KUNIT_EXPECT_EQ(test, t->splits, 0);
	expect_quiet(test);
}

/*
 * One 4K page is given away: a write through a larger mapping to any other page of
 * the 2M would fault (APM 2, 15.36.10), so that it is split.  A 4K mapping is not.
 */
static void test_direct_map_4k(struct kunit *test)
{
	struct rmp_test *t = test->priv;
	int i, level;
	u64 pfn;

	for (level = PG_LEVEL_4K; level <= PG_LEVEL_512G; level++) {
		for (i = 0; i < ARRAY_SIZE(offsets); i++) {
			pfn = HEAD + offsets[i];
			t->map_level = level;
			t->lookups = 0;
			t->splits = 0;

			KUNIT_EXPECT_EQ(test, adjust_direct_map(pfn, PG_LEVEL_4K), 0);
			KUNIT_EXPECT_EQ(test, t->lookups, 1);
			KUNIT_EXPECT_EQ(test, t->looked_up, (unsigned long)__va(PFN_PHYS(pfn)));
			KUNIT_EXPECT_EQ_MSG(test, t->splits, level > PG_LEVEL_4K,
					    "level %d, PFN 0x%llx", level, pfn);
			if (level == PG_LEVEL_4K)
				continue;
			KUNIT_EXPECT_EQ(test, t->split_addr, (unsigned long)__va(PFN_PHYS(pfn)));
			KUNIT_EXPECT_EQ(test, t->split_pages, 1);
		}
	}
	expect_quiet(test);
}

/* All of a 2M page is given away: whatever maps it is checked as 2M and may stay. */
static void test_direct_map_2m(struct kunit *test)
{
	struct rmp_test *t = test->priv;
	int level;

	for (level = PG_LEVEL_4K; level <= PG_LEVEL_512G; level++) {
		t->map_level = level;
		KUNIT_EXPECT_EQ(test, adjust_direct_map(0, PG_LEVEL_2M), 0);
		KUNIT_EXPECT_EQ(test, adjust_direct_map(HEAD, PG_LEVEL_2M), 0);
	}
	KUNIT_EXPECT_EQ(test, t->splits, 0);
	expect_quiet(test);
}

/* What is not a 2M page, or not memory up to its end, is not one to RMPUPDATE either. */
static void test_direct_map_2m_refused(struct kunit *test)
{
	struct rmp_test *t = test->priv;
	int i;

	t->map_level = PG_LEVEL_2M;
	for (i = 1; i < ARRAY_SIZE(offsets); i++)
		KUNIT_EXPECT_EQ(test, adjust_direct_map(HEAD + offsets[i], PG_LEVEL_2M), -EINVAL);

	t->valid_end = HEAD + PAGES_2M;
	KUNIT_EXPECT_EQ(test, adjust_direct_map(HEAD, PG_LEVEL_2M), 0);
	t->valid_end--;
	KUNIT_EXPECT_EQ(test, adjust_direct_map(HEAD, PG_LEVEL_2M), -EINVAL);
	t->valid_end++;
	t->valid_start = HEAD + 1;
	KUNIT_EXPECT_EQ(test, adjust_direct_map(HEAD, PG_LEVEL_2M), -EINVAL);
	KUNIT_EXPECT_EQ(test, t->splits, 0);
	expect_quiet(test);
}

static void test_direct_map_4k_refused(struct kunit *test)
{
	struct rmp_test *t = test->priv;

	t->map_level = PG_LEVEL_2M;
	t->valid_start = HEAD + 5;
	t->valid_end = HEAD + 6;
	KUNIT_EXPECT_EQ(test, adjust_direct_map(HEAD + 4, PG_LEVEL_4K), -EINVAL);
	KUNIT_EXPECT_EQ(test, adjust_direct_map(HEAD + 6, PG_LEVEL_4K), -EINVAL);
	KUNIT_EXPECT_EQ(test, t->splits, 0);
	KUNIT_EXPECT_EQ(test, adjust_direct_map(HEAD + 5, PG_LEVEL_4K), 0);
	KUNIT_EXPECT_EQ(test, t->splits, 1);
	expect_quiet(test);
}

/* There are no larger entries than 2M (APM 2, 15.36.11). */
static void test_direct_map_1g_refused(struct kunit *test)
{
	struct rmp_test *t = test->priv;

	t->map_level = PG_LEVEL_1G;
	KUNIT_EXPECT_EQ(test, adjust_direct_map(0, PG_LEVEL_1G), -EINVAL);
	KUNIT_EXPECT_EQ(test, t->warnings, 1);
	KUNIT_EXPECT_EQ(test, t->splits, 0);
}

/* What the direct map does not map need not be split. */
static void test_direct_map_hole(struct kunit *test)
{
	struct rmp_test *t = test->priv;

	t->map_level = PG_LEVEL_2M;
	t->no_pte = true;
	KUNIT_EXPECT_EQ(test, adjust_direct_map(HEAD, PG_LEVEL_4K), 0);
	t->no_pte = false;
	t->pte = __pte(0);
	KUNIT_EXPECT_EQ(test, adjust_direct_map(HEAD, PG_LEVEL_4K), 0);
	KUNIT_EXPECT_EQ(test, t->splits, 0);

	t->pte = __pte(_PAGE_PRESENT);
	KUNIT_EXPECT_EQ(test, adjust_direct_map(HEAD, PG_LEVEL_4K), 0);
	KUNIT_EXPECT_EQ(test, t->splits, 1);
	expect_quiet(test);
}

static void test_direct_map_error(struct kunit *test)
{
	struct rmp_test *t = test->priv;

	t->map_level = PG_LEVEL_2M;
	t->split_error = -ENOMEM;
	KUNIT_EXPECT_EQ(test, adjust_direct_map(HEAD + 7, PG_LEVEL_4K), -ENOMEM);
	KUNIT_EXPECT_EQ(test, t->splits, 1);
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

/* RMP_STATE as RMPUPDATE takes it, the second word of it. */
#define STATE_ASSIGNED	BIT_ULL(0)
#define STATE_2M	BIT_ULL(8)
#define STATE_IMMUTABLE	BIT_ULL(16)
#define STATE_ASID(n)	((u64)(n) << 32)

#define GPA	0x123456789000ull
#define ASID	509u

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

	t->map_level = PG_LEVEL_1G;
	KUNIT_EXPECT_EQ(test, rmp_make_private(HEAD, 0, PG_LEVEL_2M, ASID, false), 0);
	KUNIT_EXPECT_EQ(test, t->insns[0].splits, 0);
	KUNIT_EXPECT_EQ(test, rmp_make_private(HEAD, 0, PG_LEVEL_4K, ASID, false), 0);
	KUNIT_EXPECT_EQ(test, t->insns[1].splits, 1);
	KUNIT_EXPECT_EQ(test, rmp_make_shared(HEAD, PG_LEVEL_4K), 0);
	KUNIT_EXPECT_EQ(test, t->insns[2].splits, 2);
	KUNIT_EXPECT_EQ(test, rmp_make_shared(HEAD, PG_LEVEL_2M), 0);
	KUNIT_EXPECT_EQ(test, t->insns[3].splits, 2);
	KUNIT_EXPECT_EQ(test, t->splits, 2);
	KUNIT_EXPECT_EQ(test, t->nr_insns, 4);

	t->split_error = -ENOMEM;
	KUNIT_EXPECT_EQ(test, rmp_make_private(HEAD, 0, PG_LEVEL_4K, ASID, false), -EFAULT);
	KUNIT_EXPECT_EQ(test, rmp_make_shared(HEAD, PG_LEVEL_4K), -EFAULT);
	KUNIT_EXPECT_EQ(test, rmp_make_private(HEAD + 1, 0, PG_LEVEL_2M, ASID, false), -EFAULT);
	KUNIT_EXPECT_EQ(test, t->nr_insns, 4);
	expect_quiet(test);
}

/*
 * Another CPU is at an entry of the same 2M page: again, with the same operands,
 * but the direct map is split by then.
 */
static void test_update_overlap(struct kunit *test)
{
	struct rmp_test *t = test->priv;
	int i;

	t->map_level = PG_LEVEL_2M;
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
	KUNIT_EXPECT_EQ(test, t->lookups, 0);
	expect_quiet(test);
}

static struct kunit_case rmp_cases[] = {
	KUNIT_CASE(test_lookup_assigned),
	KUNIT_CASE(test_lookup_level),
	KUNIT_CASE(test_lookup_ends),
	KUNIT_CASE(test_no_snp),
	KUNIT_CASE(test_direct_map_4k),
	KUNIT_CASE(test_direct_map_2m),
	KUNIT_CASE(test_direct_map_2m_refused),
	KUNIT_CASE(test_direct_map_4k_refused),
	KUNIT_CASE(test_direct_map_1g_refused),
	KUNIT_CASE(test_direct_map_hole),
	KUNIT_CASE(test_direct_map_error),
	KUNIT_CASE(test_make_private),
	KUNIT_CASE(test_make_shared),
	KUNIT_CASE(test_update_splits_first),
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
