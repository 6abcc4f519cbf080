// SPDX-License-Identifier: GPL-2.0
/*
 * SNP_PAGE_UNSMASH: 512 pages that a 2M page could have been smashed into become one
 * again (ABI, SNP_PAGE_UNSMASH).
 */
#include "psp_cmd.h"

static void pre_guest_pages(struct test *t, struct block *b, u64 gpa)
{
	int i;

	for (i = 0; i < BLOCK_PAGES; i++) {
		if (!EXPECT(t, raw_pre_guest(b->pfn + i, gpa + PFN_PHYS(i), RMP_PG_SIZE_4K,
					     TEST_ASID) == RMP_OK))
			return;
	}
}

static void alike(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);
	u64 smashed = counter(CNT_PSMASH);
	int i;

	if (!EXPECT(t, b))
		return;
	pre_guest_pages(t, b, SZ_1G);
	EXPECT_EQ(t, page_unsmash(PFN_PHYS(b->pfn)), SEV_RET_SUCCESS);
	EXPECT_EQ(t, rmp_word(b->pfn), RMP_WORD_PRIVATE(SZ_1G, TEST_ASID) |
				       RMP_WORD_HUGE | RMP_WORD_IMMUTABLE);
	for (i = 0; i < BLOCK_PAGES; i++) {
		if (!EXPECT(t, rmp_entry(b->pfn + i).assigned))
			return;
	}

	/* It is a 2M page in every way, and can be smashed again. */
	EXPECT_EQ(t, page_reclaim(b->pfn, RMP_PG_SIZE_2M), SEV_RET_SUCCESS);
	EXPECT_EQ(t, raw_shared(b->pfn + 1, RMP_PG_SIZE_4K), RMP_FAIL_OVERLAP);
	EXPECT_EQ(t, psmash_raw(PFN_PHYS(b->pfn)), RMP_OK);
	EXPECT_EQ(t, counter(CNT_PSMASH) - smashed, 1);
	for (i = 0; i < BLOCK_PAGES; i++) {
		if (!EXPECT(t, rmp_word(b->pfn + i) ==
			       RMP_WORD_PRIVATE(SZ_1G + PFN_PHYS(i), TEST_ASID)))
			return;
	}
}

/* A block with one page that is not like the others. */
static void expect_refused(struct test *t, struct block *b)
{
	u64 head = rmp_word(b->pfn);

	EXPECT_EQ(t, page_unsmash(PFN_PHYS(b->pfn)), SEV_RET_INVALID_PAGE_STATE);
	EXPECT_EQ(t, rmp_word(b->pfn), head);
	reclaim_block(b);
}

#define ODD_PAGE	300

static void odd_page(struct test *t, u64 odd_gpa, u32 odd_asid, bool immutable)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);
	struct rmp_state state = {
		.gpa = odd_gpa,
		.assigned = 1,
		.immutable = immutable,
		.asid = odd_asid,
	};
	int i, ret;

	if (!EXPECT(t, b))
		return;
	for (i = 0; i < BLOCK_PAGES; i++) {
		if (i == ODD_PAGE)
			ret = rmpupdate_raw(PFN_PHYS(b->pfn + i), &state);
		else
			ret = raw_pre_guest(b->pfn + i, SZ_1G + PFN_PHYS(i), RMP_PG_SIZE_4K,
					    TEST_ASID);
		if (!EXPECT(t, ret == RMP_OK))
			return;
	}
	expect_refused(t, b);
}

static void other_asid(struct test *t)
{
	odd_page(t, SZ_1G + PFN_PHYS(ODD_PAGE), TEST_ASID + 1, true);
}

static void not_consecutive(struct test *t)
{
	odd_page(t, SZ_1G + PFN_PHYS(ODD_PAGE + 1), TEST_ASID, true);
}

static void not_immutable(struct test *t)
{
	odd_page(t, SZ_1G + PFN_PHYS(ODD_PAGE), TEST_ASID, false);
}

static void hole(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	pre_guest_pages(t, b, SZ_1G);
	EXPECT_EQ(t, page_reclaim(b->pfn + ODD_PAGE, RMP_PG_SIZE_4K), SEV_RET_SUCCESS);
	EXPECT_EQ(t, raw_shared(b->pfn + ODD_PAGE, RMP_PG_SIZE_4K), RMP_OK);
	expect_refused(t, b);
}

/* All alike, but of no guest.  It is the next SNP_INIT that gives them back. */
static void firmware_pages(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);
	int i;

	if (!EXPECT(t, b))
		return;
	for (i = 0; i < BLOCK_PAGES; i++) {
		if (!EXPECT(t, raw_pre_guest(b->pfn + i, SZ_1G + PFN_PHYS(i),
					     RMP_PG_SIZE_4K, 0) == RMP_OK))
			return;
	}
	expect_refused(t, b);
}

static void misaligned_gpa(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	pre_guest_pages(t, b, SZ_1G + SZ_4K);
	expect_refused(t, b);
}

static void huge_already(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, raw_pre_guest(b->pfn, SZ_1G, RMP_PG_SIZE_2M, TEST_ASID), RMP_OK);
	expect_refused(t, b);
}

static void misaligned_address(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, page_unsmash(PFN_PHYS(b->pfn + 1)), SEV_RET_INVALID_PARAM);
}

/* A guest with validated memory, which was one 2M page. */
static bool smashed_guest(struct test *t, struct guest *g)
{
	u64 pfn;

	if (!EXPECT(t, guest_launching(t, g)))
		return false;
	pfn = g->memory->pfn;
	EXPECT_EQ(t, raw_pre_guest(pfn, SZ_2M, RMP_PG_SIZE_2M, TEST_ASID), RMP_OK);
	EXPECT_EQ(t, launch_update(g->gctx->pfn, pfn, 1, SNP_PAGE_TYPE_NORMAL),
		  SEV_RET_SUCCESS);
	EXPECT_EQ(t, psmash_raw(PFN_PHYS(pfn)), RMP_OK);
	return true;
}

/*
 * Pages that the guest has validated, the way a kernel would merge them: immutable by
 * RMPUPDATE, which keeps all the rest if nothing else changes; UNSMASH; reclaim.
 */
static void validated(struct test *t)
{
	struct guest g;
	u64 pfn;

	if (!smashed_guest(t, &g))
		return;
	pfn = g.memory->pfn;
	pre_guest_pages(t, g.memory, SZ_2M);
	EXPECT_EQ(t, rmp_word(pfn + 1), RMP_WORD_PRIVATE(SZ_2M + SZ_4K, TEST_ASID) |
					RMP_WORD_VALIDATED | RMP_WORD_IMMUTABLE);
	EXPECT_EQ(t, page_unsmash(PFN_PHYS(pfn)), SEV_RET_SUCCESS);
	EXPECT_EQ(t, page_reclaim(pfn, RMP_PG_SIZE_2M), SEV_RET_SUCCESS);
	EXPECT_EQ(t, rmp_word(pfn), RMP_WORD_PRIVATE(SZ_2M, TEST_ASID) | RMP_WORD_HUGE |
				    RMP_WORD_VALIDATED);
	guest_exit(t, &g);
}

/* One page of them is new, and validated by the firmware if it has a type. */
static void odd_validated(struct test *t, int type, u8 perms)
{
	u64 gpa = SZ_2M + PFN_PHYS(ODD_PAGE);
	struct guest g;
	u64 odd;

	if (!smashed_guest(t, &g))
		return;
	odd = g.memory->pfn + ODD_PAGE;
	EXPECT_EQ(t, raw_shared(odd, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, raw_pre_guest(odd, gpa, RMP_PG_SIZE_4K, TEST_ASID), RMP_OK);
	if (type)
		EXPECT_EQ(t, launch_update_vmpl1(g.gctx->pfn, odd, type, perms),
			  SEV_RET_SUCCESS);
	else
		EXPECT_EQ(t, page_reclaim(odd, RMP_PG_SIZE_4K), SEV_RET_SUCCESS);
	pre_guest_pages(t, g.memory, SZ_2M);
	expect_refused(t, g.memory);
	guest_exit(t, &g);
}

static void mixed_validated(struct test *t)
{
	odd_validated(t, 0, 0);
}

static void other_rights(struct test *t)
{
	odd_validated(t, SNP_PAGE_TYPE_NORMAL, 1);
}

static void vmsa(struct test *t)
{
	odd_validated(t, SNP_PAGE_TYPE_VMSA, 0);
}

static const struct test_case cases[] = {
	TEST_CASE(alike),
	TEST_CASE(other_asid),
	TEST_CASE(not_consecutive),
	TEST_CASE(not_immutable),
	TEST_CASE(hole),
	TEST_CASE(firmware_pages),
	TEST_CASE(misaligned_gpa),
	TEST_CASE(huge_already),
	TEST_CASE(misaligned_address),
	TEST_CASE(validated),
	TEST_CASE(mixed_validated),
	TEST_CASE(other_rights),
	TEST_CASE(vmsa),
};

TEST_GROUP(unsmash, cases, .needs_snp = true, .setup = psp_start, .teardown = psp_stop);
