// SPDX-License-Identifier: GPL-2.0
/*
 * RMPUPDATE, PSMASH and RMPREAD: what they do to the table in memory, and what
 * they refuse (APM 3, the instructions' own pages; APM 2, 15.36.5 and 15.36.11).
 */
#include <asm/cpufeature.h>
#include <asm/trapnr.h>

#include "snp_test.h"

#define GPA		0x12345000ull
#define GPA_2M		0x12400000ull

/* Both ways, and nothing else changes. */
static void private_4k_and_back(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);
	u64 ok = counter(CNT_RMPUPDATE);

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, rmp_word(b->pfn + 5), RMP_WORD_SHARED);
	EXPECT_EQ(t, raw_private(b->pfn + 5, GPA, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, rmp_word(b->pfn + 5), RMP_WORD_PRIVATE(GPA, TEST_ASID));
	EXPECT_EQ(t, rmp_word(b->pfn + 4), RMP_WORD_SHARED);
	EXPECT_EQ(t, rmp_word(b->pfn + 6), RMP_WORD_SHARED);
	EXPECT_EQ(t, rmp_word(b->pfn), RMP_WORD_SHARED);
	EXPECT_EQ(t, raw_shared(b->pfn + 5, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, rmp_word(b->pfn + 5), RMP_WORD_SHARED);
	EXPECT_EQ(t, counter(CNT_RMPUPDATE) - ok, 2);
}

/* What the kernel's functions make of it. */
static void kernel_private_4k_and_back(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);
	bool assigned;
	int level;

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, rmp_make_private(b->pfn + 5, GPA, PG_LEVEL_4K, TEST_ASID, false), 0);
	EXPECT_EQ(t, rmp_word(b->pfn + 5), RMP_WORD_PRIVATE(GPA, TEST_ASID));
	EXPECT_EQ(t, snp_lookup_rmpentry(b->pfn + 5, &assigned, &level), 0);
	EXPECT(t, assigned && level == PG_LEVEL_4K);
	EXPECT_EQ(t, snp_lookup_rmpentry(b->pfn + 6, &assigned, &level), 0);
	EXPECT(t, !assigned);
	EXPECT_EQ(t, rmp_make_shared(b->pfn + 5, PG_LEVEL_4K), 0);
	EXPECT_EQ(t, snp_lookup_rmpentry(b->pfn + 5, &assigned, &level), 0);
	EXPECT(t, !assigned);
}

/*
 * A 2M entry is at the head.  __snp_lookup_rmpentry() relies on all 512 entries
 * being assigned and on the size being in the first.
 */
static void private_2m_and_back(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);
	bool assigned;
	int i, level;

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, raw_private(b->pfn, GPA_2M, RMP_PG_SIZE_2M), RMP_OK);
	EXPECT_EQ(t, rmp_word(b->pfn), RMP_WORD_PRIVATE(GPA_2M, TEST_ASID) | RMP_WORD_HUGE);
	for (i = 0; i < BLOCK_PAGES; i++) {
		EXPECT_EQ(t, snp_lookup_rmpentry(b->pfn + i, &assigned, &level), 0);
		if (!EXPECT(t, assigned && level == PG_LEVEL_2M))
			return;
	}
	EXPECT_EQ(t, raw_shared(b->pfn, RMP_PG_SIZE_2M), RMP_OK);
	for (i = 0; i < BLOCK_PAGES; i++) {
		if (!EXPECT(t, !rmp_entry(b->pfn + i).assigned))
			return;
	}
	EXPECT(t, !rmp_entry(b->pfn).huge);
}

/* A page that is private already may be given to another guest. */
static void private_to_private(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);
	struct rmp_state state = { .gpa = GPA, .assigned = 1, .asid = TEST_ASID + 1 };

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, raw_private(b->pfn, GPA + SZ_4K, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, rmpupdate_raw(PFN_PHYS(b->pfn), &state), RMP_OK);
	EXPECT_EQ(t, rmp_word(b->pfn), RMP_WORD_PRIVATE(GPA, TEST_ASID + 1));
}

/*
 * FAIL_OVERLAP, which rmpupdate() tries again for ever; so never through it.
 * Control: the same update where nothing overlaps.
 */
static void overlap_2m_over_4k(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);
	u64 refused = counter(CNT_RMPUPDATE_REFUSED);

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, raw_private(b->pfn + 511, GPA, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, raw_private(b->pfn, GPA_2M, RMP_PG_SIZE_2M), RMP_FAIL_OVERLAP);
	EXPECT_EQ(t, rmp_word(b->pfn), RMP_WORD_SHARED);
	EXPECT_EQ(t, rmp_word(b->pfn + 511), RMP_WORD_PRIVATE(GPA, TEST_ASID));
	EXPECT_EQ(t, counter(CNT_RMPUPDATE_REFUSED) - refused, 1);
	EXPECT_EQ(t, raw_shared(b->pfn + 511, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, raw_private(b->pfn, GPA_2M, RMP_PG_SIZE_2M), RMP_OK);
}

static void overlap_4k_in_2m(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, raw_private(b->pfn, GPA_2M, RMP_PG_SIZE_2M), RMP_OK);
	EXPECT_EQ(t, raw_private(b->pfn + 9, GPA, RMP_PG_SIZE_4K), RMP_FAIL_OVERLAP);
	EXPECT_EQ(t, raw_shared(b->pfn + 9, RMP_PG_SIZE_4K), RMP_FAIL_OVERLAP);
	EXPECT(t, rmp_entry(b->pfn + 9).assigned);
	EXPECT_EQ(t, psmash_raw(PFN_PHYS(b->pfn)), RMP_OK);
	EXPECT_EQ(t, raw_shared(b->pfn + 9, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT(t, !rmp_entry(b->pfn + 9).assigned);
	EXPECT(t, rmp_entry(b->pfn + 8).assigned);
}

/* Immutable: the firmware alone may change it.  Leaves two pages to it. */
static void immutable_refuses(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, raw_firmware(b->pfn + 3, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, rmp_word(b->pfn + 3), RMP_WORD_FIRMWARE);
	EXPECT_EQ(t, raw_shared(b->pfn + 3, RMP_PG_SIZE_4K), RMP_FAIL_PERMISSION);
	EXPECT_EQ(t, raw_private(b->pfn + 3, GPA, RMP_PG_SIZE_4K), RMP_FAIL_PERMISSION);
	EXPECT_EQ(t, rmp_word(b->pfn + 3), RMP_WORD_FIRMWARE);

	EXPECT_EQ(t, raw_pre_guest(b->pfn + 4, GPA, RMP_PG_SIZE_4K, TEST_ASID), RMP_OK);
	EXPECT_EQ(t, raw_shared(b->pfn + 4, RMP_PG_SIZE_4K), RMP_FAIL_PERMISSION);
	EXPECT_EQ(t, rmp_word(b->pfn + 4),
		  RMP_WORD_PRIVATE(GPA, TEST_ASID) | RMP_WORD_IMMUTABLE);

	/* Control: a page beside them. */
	EXPECT_EQ(t, raw_private(b->pfn + 5, GPA, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, raw_shared(b->pfn + 5, RMP_PG_SIZE_4K), RMP_OK);
}

static void immutable_2m_refuses(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, raw_firmware(b->pfn, RMP_PG_SIZE_2M), RMP_OK);
	EXPECT_EQ(t, raw_shared(b->pfn, RMP_PG_SIZE_2M), RMP_FAIL_PERMISSION);
	EXPECT(t, raw_shared(b->pfn + 1, RMP_PG_SIZE_4K) != RMP_OK);
	EXPECT_EQ(t, psmash_raw(PFN_PHYS(b->pfn)), RMP_FAIL_PERMISSION);
	EXPECT_EQ(t, rmp_word(b->pfn), RMP_WORD_FIRMWARE | RMP_WORD_HUGE);
}

static int rmpupdate_state(u64 paddr, u64 gpa, u8 assigned, u8 pagesize, u32 asid)
{
	struct rmp_state state = {
		.gpa = gpa,
		.assigned = assigned,
		.pagesize = pagesize,
		.asid = asid,
	};

	return rmpupdate_raw(paddr, &state);
}

static void input_address(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);
	u64 pa;

	if (!EXPECT(t, b))
		return;
	pa = PFN_PHYS(b->pfn);
	/* Not aligned to the large page that it is to be. */
	EXPECT_EQ(t, rmpupdate_state(pa + SZ_4K, GPA_2M, 1, 1, TEST_ASID), RMP_FAIL_INPUT);
	EXPECT_EQ(t, rmp_word(b->pfn + 1), RMP_WORD_SHARED);
	/* Beyond what the table has entries for. */
	EXPECT_EQ(t, rmpupdate_state(PFN_PHYS(rmp_table_pfns()), GPA, 1, 0, TEST_ASID),
		  RMP_FAIL_INPUT);
	EXPECT_EQ(t, rmpupdate_state(BIT_ULL(51), GPA, 1, 0, TEST_ASID), RMP_FAIL_INPUT);
	EXPECT_EQ(t, psmash_raw(BIT_ULL(51)), RMP_FAIL_INPUT);
	/* Control */
	EXPECT_EQ(t, rmpupdate_state(pa + SZ_4K, GPA, 1, 0, TEST_ASID), RMP_OK);
}

static void input_state(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);
	u64 pa;

	if (!EXPECT(t, b))
		return;
	pa = PFN_PHYS(b->pfn);
	/* The guest's address is that of a page, and of a large one. */
	EXPECT_EQ(t, rmpupdate_state(pa, GPA_2M + SZ_4K, 1, 1, TEST_ASID), RMP_FAIL_INPUT);
	/* An ASID without the page being assigned, or one that there is not. */
	EXPECT_EQ(t, rmpupdate_state(pa, 0, 0, 0, TEST_ASID), RMP_FAIL_INPUT);
	EXPECT_EQ(t, rmpupdate_state(pa, GPA, 1, 0, cpuid_ecx(0x8000001f) + 1),
		  RMP_FAIL_INPUT);
	EXPECT_EQ(t, rmp_word(b->pfn), RMP_WORD_SHARED);
	/* Control: the last one that there is. */
	EXPECT_EQ(t, rmpupdate_state(pa, GPA_2M, 1, 1, cpuid_ecx(0x8000001f)), RMP_OK);
}

/* Not validated, whatever it was before (APM 2, 15.36.6). */
static void update_clears_the_rest(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);
	struct rmp_entry e;

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, raw_private(b->pfn, GPA, RMP_PG_SIZE_4K), RMP_OK);
	e = rmp_entry(b->pfn);
	EXPECT_EQ(t, e.validated, 0);
	EXPECT_EQ(t, e.vmsa, 0);
	EXPECT_EQ(t, e.immutable, 0);
	EXPECT_EQ(t, e.reserved1, 0);
	EXPECT_EQ(t, e.reserved2, 0);
}

/* Each entry gets its own address, and all the rest of the large one. */
static void psmash_splits(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);
	u64 ok = counter(CNT_PSMASH);
	int i;

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, raw_private(b->pfn, GPA_2M, RMP_PG_SIZE_2M), RMP_OK);
	EXPECT_EQ(t, psmash(b->pfn), RMP_OK);
	for (i = 0; i < BLOCK_PAGES; i++) {
		u64 want = RMP_WORD_PRIVATE(GPA_2M + PFN_PHYS(i), TEST_ASID);

		if (rmp_word(b->pfn + i) != want) {
			EXPECT_EQ(t, rmp_word(b->pfn + i), want);
			break;
		}
	}
	EXPECT_EQ(t, counter(CNT_PSMASH) - ok, 1);
}

static void psmash_refuses(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);
	u64 refused = counter(CNT_PSMASH_REFUSED);
	u64 pa;

	if (!EXPECT(t, b))
		return;
	pa = PFN_PHYS(b->pfn);
	/* Nobody's: not a 2M entry */
	EXPECT(t, psmash_raw(pa) != RMP_OK);
	EXPECT_EQ(t, raw_private(b->pfn, GPA_2M, RMP_PG_SIZE_2M), RMP_OK);
	/* Not at the head */
	EXPECT_EQ(t, psmash_raw(pa + SZ_4K), RMP_FAIL_INPUT);
	EXPECT_EQ(t, rmp_word(b->pfn), RMP_WORD_PRIVATE(GPA_2M, TEST_ASID) | RMP_WORD_HUGE);
	EXPECT_EQ(t, psmash_raw(pa), RMP_OK);
	/* Small already */
	EXPECT(t, psmash_raw(pa) != RMP_OK);
	EXPECT_EQ(t, rmp_word(b->pfn), RMP_WORD_PRIVATE(GPA_2M, TEST_ASID));
	EXPECT_EQ(t, counter(CNT_PSMASH_REFUSED) - refused, 3);
}

/* The table itself is not to be given away (APM 2, 15.36.4). */
static void table_is_not_assigned(struct test *t)
{
	u64 pfn = PHYS_PFN(rmp_table_base());

	EXPECT_EQ(t, raw_private(pfn, GPA, RMP_PG_SIZE_4K), RMP_FAIL_PERMISSION);
	EXPECT_EQ(t, rmp_entry(pfn).asid, 0);
}

#define CPUID_RMPREAD	BIT(21)

static void expect_rmpread(struct test *t, u64 pfn, u64 gpa, int huge, int immutable)
{
	struct rmp_read e;

	memset(&e, 0x55, sizeof(e));
	EXPECT_EQ(t, rmpread_raw(PFN_PHYS(pfn), &e), RMP_OK);
	EXPECT_EQ(t, e.gpa, gpa);
	EXPECT_EQ(t, e.assigned, 1);
	EXPECT_EQ(t, e.pagesize & 1, huge);
	EXPECT_EQ(t, e.immutable, immutable);
	EXPECT_EQ(t, e.asid, TEST_ASID);
}

/* RMPREAD says what the table says, where CPUID has it. */
static void rmpread_agrees(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);
	struct rmp_read e;

	if (!EXPECT(t, b))
		return;
	if (!(cpuid_eax(0x8000001f) & CPUID_RMPREAD)) {
		EXPECT_EQ(t, rmpread_raw(PFN_PHYS(b->pfn), &e), RMP_FAULTED + X86_TRAP_UD);
		return;
	}
	memset(&e, 0x55, sizeof(e));
	EXPECT_EQ(t, rmpread_raw(PFN_PHYS(b->pfn), &e), RMP_OK);
	EXPECT_EQ(t, e.assigned, 0);
	EXPECT_EQ(t, e.asid, 0);
	EXPECT_EQ(t, raw_private(b->pfn, GPA_2M, RMP_PG_SIZE_2M), RMP_OK);
	expect_rmpread(t, b->pfn, GPA_2M, 1, 0);
	EXPECT_EQ(t, psmash_raw(PFN_PHYS(b->pfn)), RMP_OK);
	expect_rmpread(t, b->pfn + 9, GPA_2M + PFN_PHYS(9), 0, 0);
	EXPECT_EQ(t, rmpread_raw(PFN_PHYS(rmp_table_pfns()), &e), RMP_FAIL_INPUT);
}

/* RMPUPDATE reads its operand by the page tables: it may fault on it. */
static void operand_is_read(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, rmpupdate_raw(PFN_PHYS(b->pfn), (void *)0xffff900000000000ul),
		  RMP_FAULTED + X86_TRAP_PF);
	EXPECT_EQ(t, rmp_word(b->pfn), RMP_WORD_SHARED);
}

static const struct test_case cases[] = {
	TEST_CASE(private_4k_and_back),
	TEST_CASE(kernel_private_4k_and_back),
	TEST_CASE(private_2m_and_back),
	TEST_CASE(private_to_private),
	TEST_CASE(overlap_2m_over_4k),
	TEST_CASE(overlap_4k_in_2m),
	TEST_CASE(immutable_refuses),
	TEST_CASE(immutable_2m_refuses),
	TEST_CASE(input_address),
	TEST_CASE(input_state),
	TEST_CASE(update_clears_the_rest),
	TEST_CASE(psmash_splits),
	TEST_CASE(psmash_refuses),
	TEST_CASE(table_is_not_assigned),
	TEST_CASE(rmpread_agrees),
	TEST_CASE(operand_is_read),
};

TEST_GROUP(rmp, cases, .needs_snp = true);
