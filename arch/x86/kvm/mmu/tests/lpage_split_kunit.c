// SPDX-License-Identifier: GPL-2.0
/*
 * Which bits the start of dirty logging takes away from which SPTE.  Included by
 * lpage_split.c, for the functions that only it knows.
 */
#include <linux/prandom.h>

#include "lpage_kunit.h"

LPAGE_ENCODING_PARAM;

/* An address that is not memory, so that no page is marked dirty for a test. */
#define NO_MEMORY	BIT_ULL(45)

/* A page table that a 2M SPTE links to. */
struct masked_test {
	const struct lpage_encoding *enc;
	struct kvm_mmu_page root;
	struct kvm_mmu_page sp;
	struct tdp_iter iter;
	struct lpage_log log;
	u64 old[NR_SPTES];
	struct rnd_state rnd;
};

static struct masked_test *masked_test_begin(struct kunit *test, int pml)
{
	const struct lpage_encoding *enc = test->param_value;
	struct kvm *kvm = lpage_kunit_kvm(test, enc);
	struct masked_test *t;

	lpage_kunit_set(test, lpage_dirty_log_size(kvm), enc->ept ? pml : 0);

	t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t);
	lpage_kunit_table(test, &t->sp, PG_LEVEL_4K);

	t->enc = enc;
	t->iter.gfn = 5 * NR_SPTES;
	t->iter.level = PG_LEVEL_2M;
	t->iter.old_spte = enc->present | __pa(t->sp.spt);
	prandom_seed_state(&t->rnd, 1);
	lpage_log_init(&t->log, kvm, &t->root, false);

	return t;
}

/* Writes are logged by write faults, or by the CPU when it sets D. */
static void test_log_init(struct kunit *test)
{
	const struct lpage_encoding *enc = test->param_value;
	struct kvm *kvm = lpage_kunit_kvm(test, enc);
	struct kvm_mmu_page root = {};
	struct lpage_log log;
	bool pml, guest_mode, by_cpu;
	int i;

	for (i = 0; i < 8; i++) {
		pml = (i & 1) && enc->ept;
		guest_mode = i & 2;
		lpage_kunit_set(test, lpage_dirty_log_size(kvm), pml ? 512 : 0);
		root.role.guest_mode = guest_mode;
		/* What the CPU logs for L2 are not addresses of this VM's memory. */
		by_cpu = pml && enc->has_ad && !guest_mode;

		memset(&log, 0x55, sizeof(log));
		lpage_log_init(&log, kvm, &root, i & 4);

		KUNIT_EXPECT_EQ(test, log.clear_4k,
				by_cpu ? enc->dirty : PT_WRITABLE_MASK);
		/* What the CPU logs are 4K pages. */
		KUNIT_EXPECT_EQ(test, log.clear_huge, by_cpu ?
				enc->dirty | PT_WRITABLE_MASK : PT_WRITABLE_MASK);
#ifdef KVM_LPAGE_WRITEBACK
		/* Without D it is W that tells that a page is dirty. */
		KUNIT_EXPECT_EQ(test, kvm_lpage_undirties(log.clear_4k), by_cpu || !enc->has_ad);
#endif
		KUNIT_EXPECT_EQ(test, log.shared, !!(i & 4));
		KUNIT_EXPECT_PTR_EQ(test, log.kvm, kvm);
		KUNIT_EXPECT_FALSE(test, log.split || log.no_memory || log.pool);
	}
}

/* Holes, and leaf SPTEs with all combinations of W, A and D. */
static u64 random_spte(struct masked_test *t, int i)
{
	const struct lpage_encoding *enc = t->enc;
	u32 bits = prandom_u32_state(&t->rnd);
	u64 spte = enc->present | enc->read | enc->host_writable | enc->mmu_writable |
		   NO_MEMORY | i * SZ_4K;

	if (!(bits & 0xf0))
		return SHADOW_NONPRESENT_VALUE;
	if (!enc->has_ad)
		spte |= SPTE_TDP_AD_DISABLED;
	/* The usual one has all of them. */
	if (bits & 0x100)
		bits = ~0;
	return spte | (bits & 1 ? PT_WRITABLE_MASK : 0) |
	       (bits & 2 ? enc->accessed : 0) | (bits & 4 ? enc->dirty : 0);
}

static void random_table(struct masked_test *t)
{
	int i;

	for (i = 0; i < NR_SPTES; i++)
		t->old[i] = random_spte(t, i);
	memcpy(t->sp.spt, t->old, sizeof(t->old));
}

static void check_masked(struct kunit *test, struct masked_test *t, gfn_t base,
			 unsigned long mask)
{
	u64 *spt = t->sp.spt, want;
	gfn_t gfn;
	int i;

	random_table(t);
	lpage_protect_masked(&t->log, &t->iter, base, mask);

	for (i = 0; i < NR_SPTES; i++) {
		gfn = t->iter.gfn + i;
		want = t->old[i];
		if (gfn >= base && gfn < base + 64 && (mask & BIT_ULL(gfn - base)) &&
		    (want & SPTE_MMU_PRESENT_MASK))
			want &= ~t->log.clear_4k;
		if (spt[i] != want) {
			KUNIT_FAIL(test, "base %lld, mask 0x%lx: SPTE %d is 0x%llx, want 0x%llx",
				   base - t->iter.gfn, mask, i, spt[i], want);
			return;
		}
	}
}

/* 64 GFNs that begin or end outside of the table, or lie within. */
static void masks_at(struct kunit *test, struct masked_test *t, gfn_t base)
{
	int i;

	check_masked(test, t, base, ~0ul);
	check_masked(test, t, base, 1);
	check_masked(test, t, base, BIT(63));
	for (i = 0; i < 8; i++)
		check_masked(test, t, base, (u64)prandom_u32_state(&t->rnd) << 32 |
			     prandom_u32_state(&t->rnd));
}

static void test_masked(struct kunit *test)
{
	struct masked_test *t;
	int pml, i;

	for (pml = 0; pml <= 512; pml += 512) {
		t = masked_test_begin(test, pml);
		for (i = -63; i <= 1; i++)
			masks_at(test, t, t->iter.gfn + i);
		for (i = NR_SPTES - 65; i < NR_SPTES; i++)
			masks_at(test, t, t->iter.gfn + i);
		masks_at(test, t, t->iter.gfn + 128);
	}
}

/* The 4K SPTEs of a range, as far as it lies in the table. */
static void test_table(struct kunit *test)
{
	static const struct {
		int start, end;
	} ranges[] = {
		{ 0, 512 }, { -512, 1024 }, { 0, 1 }, { 511, 512 }, { 511, 600 },
		{ -1, 1 }, { 100, 300 },
	};
	struct masked_test *t = masked_test_begin(test, 512);
	u64 *spt = t->sp.spt, want;
	int i, n;

	for (n = 0; n < ARRAY_SIZE(ranges); n++) {
		random_table(t);
		lpage_protect_table(&t->log, &t->iter, t->iter.gfn + ranges[n].start,
				    t->iter.gfn + ranges[n].end);
		KUNIT_EXPECT_EQ(test, t->log.nr_tables, n + 1);

		for (i = 0; i < NR_SPTES; i++) {
			want = t->old[i];
			if (i >= ranges[n].start && i < ranges[n].end &&
			    (want & SPTE_MMU_PRESENT_MASK))
				want &= ~t->log.clear_4k;
			KUNIT_EXPECT_EQ_MSG(test, spt[i], want, "range %d, SPTE %d", n, i);
		}
	}
}

/* One SPTE: what is not a present leaf, or has none of the bits, stays. */
static void test_clear_bits(struct kunit *test)
{
	struct masked_test *t = masked_test_begin(test, 512);
	const struct lpage_encoding *enc = t->enc;
	u64 leaf = enc->present | enc->read | NO_MEMORY;
	u64 huge = leaf | LPAGE_LARGE;
	u64 huge_clear = t->log.clear_huge, clear = t->log.clear_4k;
	const struct {
		u64 spte;
		int level;
		u64 clear;
		u64 want;
	} cases[] = {
		{ SHADOW_NONPRESENT_VALUE, PG_LEVEL_4K, clear, SHADOW_NONPRESENT_VALUE },
		{ leaf, PG_LEVEL_4K, clear, leaf },
		{ leaf | clear, PG_LEVEL_4K, clear, leaf },
		{ leaf | huge_clear | enc->accessed, PG_LEVEL_4K, huge_clear,
		  leaf | enc->accessed },
		{ huge | huge_clear, PG_LEVEL_2M, huge_clear, huge },
		{ huge | PT_WRITABLE_MASK, PG_LEVEL_2M, huge_clear, huge },
		{ huge | huge_clear, PG_LEVEL_1G, huge_clear, huge },
		/* A page table has W, and keeps it. */
		{ leaf | PT_WRITABLE_MASK, PG_LEVEL_2M, huge_clear,
		  leaf | PT_WRITABLE_MASK },
	};
	u64 spte;
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		spte = cases[i].spte;
		KUNIT_EXPECT_EQ(test, cases[i].want,
				lpage_clear_bits_shared(&t->log, &t->iter, &spte, t->iter.gfn,
							cases[i].level, cases[i].clear));
		KUNIT_EXPECT_EQ_MSG(test, spte, cases[i].want, "shared, entry %d", i);

		spte = cases[i].spte;
		KUNIT_EXPECT_EQ(test, cases[i].want,
				lpage_clear_bits_exclusive(&t->log, &t->iter, &spte, t->iter.gfn,
							   cases[i].level, cases[i].clear));
		KUNIT_EXPECT_EQ_MSG(test, spte, cases[i].want, "exclusive, entry %d", i);
	}
}

/* A page table for each 2M that is touched, and one more above them for 1G. */
static void test_want_tables(struct kunit *test)
{
	static const gfn_t starts[] = { 0, 1, 511, 512, 513, 262143, 262144, 300000 };
	struct tdp_iter iter = { .gfn = 0 };
	struct lpage_log log = {};
	gfn_t start, end, gfn;
	int i, level, nr;

	for (level = PG_LEVEL_2M; level <= PG_LEVEL_1G; level++) {
		for (i = 0; i < ARRAY_SIZE(starts); i++) {
			start = starts[i];
			iter.gfn = gfn_round_for_level(start, level);
			iter.level = level;
			for (end = start + 1; end <= start + 1600; end += 31) {
				nr = level == PG_LEVEL_1G;
				for (gfn = start; gfn < end; gfn++)
					nr += gfn == start || !(gfn % 512);

				KUNIT_EXPECT_EQ(test, lpage_want_tables(&log, &iter, start, end),
						start);
				KUNIT_EXPECT_EQ_MSG(test, log.nr_wanted, nr,
						    "level %d, [%llu, %llu)", level, start, end);
			}
		}
	}

	/* From the SPTE on, where what is before it is done. */
	iter.gfn = 1024;
	iter.level = PG_LEVEL_2M;
	KUNIT_EXPECT_EQ(test, lpage_want_tables(&log, &iter, 100, 1537), 1024);
	KUNIT_EXPECT_EQ(test, log.nr_wanted, 2);
}

static void test_nid(struct kunit *test)
{
	struct kvm *kvm = lpage_kunit_kvm(test, test->param_value);
	const struct lpage_encoding *enc = test->param_value;
	int nid;

	KUNIT_EXPECT_NOT_NULL(test, kvm);
	for_each_node_state(nid, N_MEMORY)
		KUNIT_EXPECT_EQ(test, nid, lpage_nid(enc->present | enc->no_exec |
				(node_start_pfn(nid) + 1) << PAGE_SHIFT));

	migrate_disable();
	KUNIT_EXPECT_EQ(test, lpage_nid(enc->present | NO_MEMORY), numa_mem_id());
	migrate_enable();
}

/* Who has looked up any of the 2M before it is split must not map it by that. */
static void test_split_gfn(struct kunit *test)
{
	struct kvm *kvm = lpage_kunit_kvm(test, test->param_value);
	gfn_t gfn = 5 * NR_SPTES + 9;
	unsigned long seq;

	rwlock_init(&kvm->mmu_lock);
	INIT_LIST_HEAD(&kvm->arch.tdp_mmu_roots);
	xa_init(&kvm->vcpu_array);
	lpage_kunit_set(test, tdp_mmu_enabled, true);
	lpage_kunit_set(test, lpage_split, true);

	seq = kvm->mmu_invalidate_seq;
	KUNIT_EXPECT_EQ(test, kvm_lpage_split_gfn(kvm, gfn), 0);
	KUNIT_EXPECT_EQ(test, kvm->mmu_invalidate_in_progress, 0);
	KUNIT_EXPECT_EQ(test, kvm->mmu_invalidate_seq, seq + 1);
	KUNIT_EXPECT_EQ(test, kvm->mmu_invalidate_range_start, 5 * NR_SPTES);
	KUNIT_EXPECT_EQ(test, kvm->mmu_invalidate_range_end, 6 * NR_SPTES);
	KUNIT_EXPECT_EQ(test, kvm->stat.generic.remote_tlb_flush_requests, 1);
}

static struct kunit_case lpage_split_cases[] = {
	KUNIT_CASE_PARAM(test_log_init, lpage_encoding_gen_params),
	KUNIT_CASE_PARAM(test_masked, lpage_encoding_gen_params),
	KUNIT_CASE_PARAM(test_table, lpage_encoding_gen_params),
	KUNIT_CASE_PARAM(test_clear_bits, lpage_encoding_gen_params),
	KUNIT_CASE(test_want_tables),
	KUNIT_CASE_PARAM(test_nid, lpage_encoding_gen_params),
	KUNIT_CASE_PARAM(test_split_gfn, lpage_encoding_gen_params),
	{}
};

static struct kunit_suite lpage_split_suite = {
	.name = "kvm_lpage_split",
	.test_cases = lpage_split_cases,
};

kunit_test_suite(lpage_split_suite);
