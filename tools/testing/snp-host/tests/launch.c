// SPDX-License-Identifier: GPL-2.0
/*
 * Guests as the firmware launches them: the states of a guest and of its pages (ABI,
 * the command's own section).
 */
#include "psp_cmd.h"

static void context_page(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);
	struct guest g;

	if (!EXPECT(t, b && guest_init(t, &g)))
		return;
	EXPECT_EQ(t, rmp_word(g.gctx->pfn), RMP_WORD_FIRMWARE | RMP_WORD_VMSA);
	/* It is one already. */
	EXPECT_EQ(t, gctx_create(g.gctx->pfn), SEV_RET_INVALID_PAGE_STATE);
	EXPECT_EQ(t, page_reclaim(g.gctx->pfn, RMP_PG_SIZE_4K), SEV_RET_INVALID_PAGE_STATE);
	/* Not the firmware's. */
	EXPECT_EQ(t, gctx_create(b->pfn), SEV_RET_INVALID_PAGE_STATE);
	EXPECT_EQ(t, raw_private(b->pfn, SZ_2M, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, gctx_create(b->pfn), SEV_RET_INVALID_PAGE_STATE);
	EXPECT_EQ(t, decommission(b->pfn), SEV_RET_INVALID_GUEST);
	guest_exit(t, &g);
}

static void guest_states(struct test *t)
{
	struct guest g;

	if (!EXPECT(t, guest_init(t, &g)))
		return;
	/* Not launched yet. */
	EXPECT_EQ(t, activate(g.gctx->pfn, TEST_ASID), SEV_RET_INVALID_GUEST_STATE);
	EXPECT_EQ(t, launch_finish(g.gctx->pfn), SEV_RET_INVALID_GUEST_STATE);
	EXPECT_EQ(t, launch_start(g.gctx->pfn, POLICY_NO_VMPL), SEV_RET_POLICY_FAILURE);
	EXPECT_EQ(t, launch_start(g.memory->pfn, POLICY), SEV_RET_INVALID_GUEST);
	EXPECT_EQ(t, launch_start(g.gctx->pfn, POLICY), SEV_RET_SUCCESS);
	/* Being launched, without an ASID. */
	EXPECT_EQ(t, launch_start(g.gctx->pfn, POLICY), SEV_RET_INVALID_GUEST_STATE);
	EXPECT_EQ(t, launch_finish(g.gctx->pfn), SEV_RET_INACTIVE);
	EXPECT_EQ(t, activate(g.gctx->pfn, TEST_ASID), SEV_RET_SUCCESS);
	EXPECT_EQ(t, launch_finish(g.gctx->pfn), SEV_RET_SUCCESS);
	/* Running. */
	EXPECT_EQ(t, launch_finish(g.gctx->pfn), SEV_RET_INVALID_GUEST_STATE);
	EXPECT_EQ(t, raw_pre_guest(g.memory->pfn, SZ_2M, RMP_PG_SIZE_4K, TEST_ASID), RMP_OK);
	EXPECT_EQ(t, launch_update(g.gctx->pfn, g.memory->pfn, 0, SNP_PAGE_TYPE_NORMAL),
		  SEV_RET_INVALID_GUEST_STATE);
	EXPECT_EQ(t, page_reclaim(g.memory->pfn, RMP_PG_SIZE_4K), SEV_RET_SUCCESS);
	guest_exit(t, &g);
}

static void activate_asid(struct test *t)
{
	struct guest g;

	if (!EXPECT(t, guest_init(t, &g)))
		return;
	EXPECT_EQ(t, launch_start(g.gctx->pfn, POLICY), SEV_RET_SUCCESS);
	EXPECT_EQ(t, activate(g.gctx->pfn, 0), SEV_RET_INVALID_ASID);
	/* Not one of those for SNP guests. */
	EXPECT_EQ(t, activate(g.gctx->pfn, cpuid_edx(0x8000001f)), SEV_RET_INVALID_ASID);
	/* Nobody may have memory with it already. */
	EXPECT_EQ(t, raw_private(g.memory->pfn, SZ_2M, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, activate(g.gctx->pfn, TEST_ASID), SEV_RET_INVALID_CONFIG);
	EXPECT_EQ(t, raw_shared(g.memory->pfn, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, activate(g.gctx->pfn, TEST_ASID), SEV_RET_SUCCESS);
	EXPECT_EQ(t, activate(g.gctx->pfn, TEST_ASID + 1), SEV_RET_ACTIVE);
	guest_exit(t, &g);
}

static void activate_owned(struct test *t)
{
	struct guest g, other;

	if (!EXPECT(t, guest_launching(t, &g) && guest_init(t, &other)))
		return;
	EXPECT_EQ(t, launch_start(other.gctx->pfn, POLICY), SEV_RET_SUCCESS);
	EXPECT_EQ(t, activate(other.gctx->pfn, TEST_ASID), SEV_RET_ASID_OWNED);
	EXPECT_EQ(t, activate(other.gctx->pfn, TEST_ASID + 1), SEV_RET_SUCCESS);
	guest_exit(t, &other);
	guest_exit(t, &g);
}

/*
 * ABI, SNP_ACTIVATE and SNP_DF_FLUSH: what caches hold of a guest that has run must be
 * flushed after it, before another guest gets its ASID.
 */
static void activate_after_flush(struct test *t)
{
	struct guest g;

	if (!EXPECT(t, guest_launching(t, &g)))
		return;
	EXPECT_EQ(t, launch_finish(g.gctx->pfn), SEV_RET_SUCCESS);
	/* This one is of no use: the guest has the ASID still. */
	EXPECT_EQ(t, psp_cmd_none(SEV_CMD_SNP_DF_FLUSH), SEV_RET_SUCCESS);
	EXPECT_EQ(t, decommission(g.gctx->pfn), SEV_RET_SUCCESS);
	EXPECT_EQ(t, gctx_create(g.gctx->pfn), SEV_RET_SUCCESS);
	EXPECT_EQ(t, launch_start(g.gctx->pfn, POLICY), SEV_RET_SUCCESS);
	EXPECT_EQ(t, activate(g.gctx->pfn, TEST_ASID), SEV_RET_DFFLUSH_REQUIRED);
	EXPECT_EQ(t, activate(g.gctx->pfn, TEST_ASID + 1), SEV_RET_SUCCESS);
	guest_exit(t, &g);

	if (!EXPECT(t, guest_launching(t, &g)))
		return;
	guest_exit(t, &g);
}

/* Into the guest's memory: valid, and the guest's from then on. */
static void update(struct test *t)
{
	struct guest g;
	u64 pfn;

	if (!EXPECT(t, guest_launching(t, &g)))
		return;
	pfn = g.memory->pfn;
	EXPECT_EQ(t, raw_pre_guest(pfn, SZ_2M, RMP_PG_SIZE_4K, TEST_ASID), RMP_OK);
	EXPECT_EQ(t, launch_update(g.gctx->pfn, pfn, 0, SNP_PAGE_TYPE_NORMAL),
		  SEV_RET_SUCCESS);
	EXPECT_EQ(t, rmp_word(pfn), RMP_WORD_PRIVATE(SZ_2M, TEST_ASID) | RMP_WORD_VALIDATED);
	/* It is done. */
	EXPECT_EQ(t, launch_update(g.gctx->pfn, pfn, 0, SNP_PAGE_TYPE_NORMAL),
		  SEV_RET_INVALID_PAGE_STATE);
	EXPECT_EQ(t, raw_shared(pfn, RMP_PG_SIZE_4K), RMP_OK);

	EXPECT_EQ(t, raw_pre_guest(pfn, SZ_2M, RMP_PG_SIZE_4K, TEST_ASID), RMP_OK);
	EXPECT_EQ(t, launch_update(g.gctx->pfn, pfn, 0, SNP_PAGE_TYPE_VMSA), SEV_RET_SUCCESS);
	EXPECT_EQ(t, rmp_word(pfn), RMP_WORD_PRIVATE(SZ_2M, TEST_ASID) |
				    RMP_WORD_VALIDATED | RMP_WORD_VMSA);
	EXPECT_EQ(t, raw_shared(pfn, RMP_PG_SIZE_4K), RMP_OK);
	guest_exit(t, &g);
}

static void update_zeroes(struct test *t)
{
	struct guest g;

	if (!EXPECT(t, guest_launching(t, &g)))
		return;
	memset(g.memory->va, 0x5a, PAGE_SIZE);
	EXPECT_EQ(t, raw_pre_guest(g.memory->pfn, SZ_2M, RMP_PG_SIZE_4K, TEST_ASID), RMP_OK);
	EXPECT_EQ(t, launch_update(g.gctx->pfn, g.memory->pfn, 0, SNP_PAGE_TYPE_ZERO),
		  SEV_RET_SUCCESS);
	EXPECT(t, !memchr_inv(g.memory->va, 0, PAGE_SIZE));
	EXPECT_EQ(t, raw_shared(g.memory->pfn, RMP_PG_SIZE_4K), RMP_OK);
	guest_exit(t, &g);
}

static void update_2m(struct test *t)
{
	struct guest g;
	u64 pfn;

	if (!EXPECT(t, guest_launching(t, &g)))
		return;
	pfn = g.memory->pfn;
	EXPECT_EQ(t, raw_pre_guest(pfn, SZ_2M, RMP_PG_SIZE_2M, TEST_ASID), RMP_OK);
	EXPECT_EQ(t, launch_update(g.gctx->pfn, pfn, 0, SNP_PAGE_TYPE_NORMAL),
		  SEV_RET_INVALID_PAGE_SIZE);
	EXPECT_EQ(t, launch_update(g.gctx->pfn, pfn, 1, SNP_PAGE_TYPE_VMSA),
		  SEV_RET_INVALID_PAGE_SIZE);
	EXPECT_EQ(t, launch_update(g.gctx->pfn, pfn, 1, SNP_PAGE_TYPE_NORMAL),
		  SEV_RET_SUCCESS);
	EXPECT_EQ(t, rmp_word(pfn), RMP_WORD_PRIVATE(SZ_2M, TEST_ASID) | RMP_WORD_HUGE |
				    RMP_WORD_VALIDATED);
	/* PSMASH keeps each page's being validated. */
	EXPECT_EQ(t, psmash_raw(PFN_PHYS(pfn)), RMP_OK);
	EXPECT_EQ(t, rmp_word(pfn + 511),
		  RMP_WORD_PRIVATE(SZ_2M + PFN_PHYS(511), TEST_ASID) | RMP_WORD_VALIDATED);
	guest_exit(t, &g);
}

static void update_refused(struct test *t)
{
	struct guest g;
	u64 pfn;

	if (!EXPECT(t, guest_launching(t, &g)))
		return;
	pfn = g.memory->pfn;
	/* Not in the state for it: the hypervisor's, the guest's. */
	EXPECT_EQ(t, launch_update(g.gctx->pfn, pfn, 0, SNP_PAGE_TYPE_NORMAL),
		  SEV_RET_INVALID_PAGE_STATE);
	EXPECT_EQ(t, raw_private(pfn, SZ_2M, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, launch_update(g.gctx->pfn, pfn, 0, SNP_PAGE_TYPE_NORMAL),
		  SEV_RET_INVALID_PAGE_STATE);
	EXPECT_EQ(t, raw_shared(pfn, RMP_PG_SIZE_4K), RMP_OK);
	/* Another guest's. */
	EXPECT_EQ(t, raw_pre_guest(pfn, SZ_2M, RMP_PG_SIZE_4K, TEST_ASID + 1), RMP_OK);
	EXPECT_EQ(t, launch_update(g.gctx->pfn, pfn, 0, SNP_PAGE_TYPE_NORMAL),
		  SEV_RET_INVALID_PAGE_OWNER);
	/* No guest at all; a type that there is not. */
	EXPECT_EQ(t, launch_update(pfn, pfn, 0, SNP_PAGE_TYPE_NORMAL), SEV_RET_INVALID_GUEST);
	EXPECT_EQ(t, launch_update(g.gctx->pfn, pfn, 0, SNP_PAGE_TYPE_MAX),
		  SEV_RET_INVALID_PARAM);
	EXPECT_EQ(t, page_reclaim(pfn, RMP_PG_SIZE_4K), SEV_RET_SUCCESS);
	guest_exit(t, &g);
}

static const struct test_case cases[] = {
	TEST_CASE(context_page),
	TEST_CASE(guest_states),
	TEST_CASE(activate_asid),
	TEST_CASE(activate_owned),
	TEST_CASE(activate_after_flush),
	TEST_CASE(update),
	TEST_CASE(update_zeroes),
	TEST_CASE(update_2m),
	TEST_CASE(update_refused),
};

TEST_GROUP(launch, cases, .needs_snp = true, .setup = psp_start, .teardown = psp_stop);
