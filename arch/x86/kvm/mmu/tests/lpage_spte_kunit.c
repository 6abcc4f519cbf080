// SPDX-License-Identifier: GPL-2.0
/*
 * SPTE arithmetic of splitting and promotion, for all SPTE values that there are,
 * with the masks of any CPU, whatever the one at hand is:
 *
 * - kvm_lpage_fill_table() against KVM's own function for a single child;
 * - split and promote: the huge SPTE comes back, but for what promotion adds;
 * - tables whose children differ: what promotion makes of them, against a
 *   computation child by child;
 * - which tables may be promoted while others map pages in them.
 *
 * What is expected is computed from the encodings in lpage_kunit.c, and neither
 * reads KVM's masks nor shares its helpers.
 *
 * Not enumerated, because no SPTE can be like that: W without MMU-writable or
 * MMU-writable without host-writable (see spte.h); W, or no permission at all,
 * without R on EPT; A, D or untracked permissions together with access tracking;
 * with NPT, the A/D types and memory types that only EPT has.  PFNs are aligned
 * to the page, and fit into the physical address bits without the C-bit.
 */
#include <linux/kvm_host.h>
#include <linux/prandom.h>

#include "mmu/lpage_spte.h"
#include "lpage_kunit.h"
#include "mmu/mmu_internal.h"

LPAGE_ENCODING_PARAM;

struct spte_test {
	struct kunit *test;
	const struct lpage_encoding *m;
	struct kvm *kvm;
	/* What is being tested. */
	u64 spte;		/* huge SPTE, or what the children have in common */
	int level;		/* of the children */
	int access;
	bool nx;		/* the NX mitigation is on */
	u64 *attrs;		/* huge SPTEs without a PFN */
	int nr_attrs;
	u64 *want;		/* a page table */
	u64 *got;		/* another one */
	struct rnd_state rnd;
	u64 nr_done;
	bool failed;
};

/* One is enough: those that follow would be of the same kind, by the thousand. */
#define failed(t, fmt, ...)							\
do {										\
	KUNIT_FAIL((t)->test, "SPTE 0x%llx, level %d, access %d, nx %d: " fmt,	\
		   (t)->spte, (t)->level, (t)->access, (t)->nx, ##__VA_ARGS__);	\
	(t)->failed = true;							\
} while (0)

static u32 rnd(struct spte_test *t, u32 n)
{
	return prandom_u32_state(&t->rnd) % n;
}

/* What SPTEs say, in this file's own words. */

static bool ad_disabled(u64 spte)
{
	return (spte & SPTE_TDP_AD_MASK) == SPTE_TDP_AD_DISABLED;
}

static bool is_tracked(const struct lpage_encoding *m, u64 spte)
{
	return m->ept && ad_disabled(spte) && !(spte & LPAGE_EPT_RWX);
}

/* Permissions to read and to execute move up, W goes. */
static u64 track(u64 spte)
{
	u64 saved = spte & LPAGE_EPT_RX;

	return (spte & ~LPAGE_EPT_RWX) | saved << LPAGE_EPT_SAVED_SHIFT;
}

static u64 untrack(u64 spte)
{
	u64 saved = (spte >> LPAGE_EPT_SAVED_SHIFT) & LPAGE_EPT_RX;

	return (spte & ~(LPAGE_EPT_RWX | LPAGE_EPT_RX << LPAGE_EPT_SAVED_SHIFT)) | saved;
}

static u64 large_size(int level)
{
	return level == PG_LEVEL_2M ? SZ_2M : SZ_1G;
}

/*
 * The SPTE that promotion is to make of children that have the bits @any
 * together, the PFN and their permissions, tracked or not, included.
 */
static u64 promoted(struct spte_test *t, u64 any, int level, bool all_tracked)
{
	const struct lpage_encoding *m = t->m;
	u64 spte = any & ~(large_size(level) - SZ_4K);

	spte |= LPAGE_LARGE;
	if (t->nx) {
		spte &= ~(m->exec | m->user_exec);
		spte |= m->no_exec;
	}
	if (spte & m->mmu_writable) {
		spte |= PT_WRITABLE_MASK;
		if (!ad_disabled(spte))
			spte |= m->dirty;
	}
	return all_tracked ? track(spte) : spte;
}

/* The enumeration of huge SPTEs, without their PFNs */

/* Counts only, as long as there is no array. */
static void add_attr(struct spte_test *t, u64 attr)
{
	if (t->attrs)
		t->attrs[t->nr_attrs] = attr;
	t->nr_attrs++;
}

static void add_writable_states(struct spte_test *t, u64 attr)
{
	const struct lpage_encoding *m = t->m;
	bool can_write = !m->ept || (attr & LPAGE_EPT_R);

	/* Read-only memory, and memory that KVM itself keeps from being written. */
	add_attr(t, attr);
	add_attr(t, attr | m->host_writable);
	/* Protected for the log, and writable. */
	attr |= m->host_writable | m->mmu_writable;
	add_attr(t, attr);
	if (can_write)
		add_attr(t, attr | PT_WRITABLE_MASK);
}

static void add_tracked(struct spte_test *t, u64 attr)
{
	const struct lpage_encoding *m = t->m;

	attr = track(attr);
	add_attr(t, attr);
	add_attr(t, attr | m->host_writable);
	add_attr(t, attr | m->host_writable | m->mmu_writable);
}

static void add_ad_states(struct spte_test *t, u64 attr, u64 ad_type)
{
	const struct lpage_encoding *m = t->m;

	attr |= ad_type;
	add_writable_states(t, attr);
	if (ad_type == SPTE_TDP_AD_DISABLED) {
		add_tracked(t, attr);
		return;
	}
	add_writable_states(t, attr | m->accessed);
	add_writable_states(t, attr | m->dirty);
	add_writable_states(t, attr | m->accessed | m->dirty);
}

static void add_permissions(struct spte_test *t, u64 attr)
{
	const struct lpage_encoding *m = t->m;
	u64 perm;
	int i;

	for (i = 0; i < 8; i++) {
		perm = i & 1 ? m->read : 0;
		perm |= i & 2 ? m->exec : m->no_exec;
		perm |= i & 4 ? m->user_exec : 0;
		if ((i & 4) && !m->user_exec)
			continue;
		if (m->ept && !((attr | perm) & LPAGE_EPT_RWX))
			continue;
		/* R is not optional but on CPUs with execute-only pages. */
		if ((m->present & m->read) && !(i & 1))
			continue;

		if (m->has_ad)
			add_ad_states(t, attr | perm, SPTE_TDP_AD_ENABLED);
		if (m->ept)
			add_ad_states(t, attr | perm, SPTE_TDP_AD_DISABLED);
		/* For L2, where the CPU logs dirty pages of L1. */
		if (m->ept && m->has_ad)
			add_ad_states(t, attr | perm, SPTE_TDP_AD_WRPROT_ONLY);
	}
}

static void enumerate_attrs(struct spte_test *t)
{
	const struct lpage_encoding *m = t->m;
	u64 memtype;

	t->nr_attrs = 0;
	for (memtype = 0; memtype <= m->memtype; memtype += BIT_ULL(3)) {
		add_permissions(t, m->present | LPAGE_LARGE | memtype);
		/* Without the C-bit: memory of a device. */
		if (m->c_bit)
			add_permissions(t, m->present | LPAGE_LARGE | memtype | m->c_bit);
	}
}

/* Page frames at both ends, and bits of all kinds in between. */
static u64 pfn_bits(struct spte_test *t, int nr, int level)
{
	static const u64 addrs[] = {
		0, SZ_1G, BIT_ULL(36), 0x000aaaaac0000000ull, 0x000ffffffffff000ull,
	};
	u64 addr = addrs[nr % ARRAY_SIZE(addrs)];

	return addr & ~(large_size(level) - 1) & ~t->m->c_bit;
}

#define NR_PFNS		5

/* The cases */

/* Everything that fill and round trip are tried with. */
typedef void (*huge_spte_check)(struct spte_test *t, union kvm_mmu_page_role role);

static void check_fill(struct spte_test *t, union kvm_mmu_page_role role)
{
	const struct lpage_encoding *m = t->m;
	const u64 clears[] = {
		0, PT_WRITABLE_MASK, m->dirty, PT_WRITABLE_MASK | m->dirty,
	};
	/* Where there is no D bit there is none to clear. */
	int nr_clears = m->dirty ? 4 : 2;
	int i, c;
	u64 want;

	for (c = 0; c < nr_clears; c++) {
		memset(t->got, 0x55, PAGE_SIZE);
		kvm_lpage_fill_table(t->kvm, t->got, t->spte, role, clears[c]);
		for (i = 0; i < NR_SPTES; i++) {
			want = t->want[i] & ~clears[c];
			if (t->got[i] == want)
				continue;
			failed(t, "clear 0x%llx: child %d is 0x%llx, want 0x%llx",
			       clears[c], i, t->got[i], want);
			return;
		}
	}
}

static void check_round_trip(struct spte_test *t, union kvm_mmu_page_role role)
{
	bool tracked = is_tracked(t->m, t->spte);
	int level = role.level + 1;
	struct kvm_lpage_scan scan;
	u64 got, want;

	want = promoted(t, tracked ? untrack(t->spte) : t->spte, level, tracked);

	kvm_lpage_scan_table(t->want, role.level, &scan);
	if (scan.nr_leaves != NR_SPTES || scan.nr_tables ||
	    scan.nr_tracked != (tracked ? NR_SPTES : 0)) {
		failed(t, "%d leaves, %d tables, %d tracked", scan.nr_leaves,
		       scan.nr_tables, scan.nr_tracked);
		return;
	}
	if (!kvm_lpage_scan_is_uniform(t->kvm, &scan, level)) {
		failed(t, "not uniform");
		return;
	}
	got = kvm_lpage_make_spte(t->kvm, &scan, level);
	if (got != want)
		failed(t, "became 0x%llx, want 0x%llx", got, want);
}

static void test_huge_spte(struct spte_test *t, u64 attr, int nr_pfn,
			   union kvm_mmu_page_role role, huge_spte_check check)
{
	int i;

	t->spte = attr | pfn_bits(t, nr_pfn, role.level + 1);
	t->level = role.level;
	t->access = role.access;

	for (i = 0; i < NR_SPTES; i++)
		t->want[i] = make_small_spte(t->kvm, t->spte, role, i);

	check(t, role);
	t->nr_done++;
}

static void set_nx(struct spte_test *t, bool nx, bool vm_disables)
{
	nx_huge_pages = nx;
	t->kvm->arch.disable_nx_huge_pages = vm_disables;
	t->nx = nx && !vm_disables;
}

static void test_all_roles(struct spte_test *t, u64 attr, int nr_pfn,
			   huge_spte_check check)
{
	static const u8 access[] = { ACC_ALL, ACC_ALL & ~ACC_EXEC_MASK };
	union kvm_mmu_page_role role = {};
	int level, i;

	for (level = PG_LEVEL_4K; level <= PG_LEVEL_2M; level++) {
		for (i = 0; i < ARRAY_SIZE(access) && !t->failed; i++) {
			role.level = level;
			role.access = access[i];
			test_huge_spte(t, attr, nr_pfn, role, check);
		}
	}
}

static void test_all_huge_sptes(struct spte_test *t, huge_spte_check check)
{
	int i, nr_pfn;

	for (i = 0; i < t->nr_attrs && !t->failed; i++) {
		for (nr_pfn = 0; nr_pfn < NR_PFNS; nr_pfn++) {
			set_nx(t, false, false);
			test_all_roles(t, t->attrs[i], nr_pfn, check);
			set_nx(t, true, false);
			test_all_roles(t, t->attrs[i], nr_pfn, check);
			set_nx(t, true, true);
			test_all_roles(t, t->attrs[i], nr_pfn, check);
		}
		cond_resched();
	}
}

/* Children that differ, at random, in ways that they can differ in. */
enum {
	VARY_HOLES	= BIT(0),
	VARY_TABLES	= BIT(1),
	VARY_ACCESSED	= BIT(2),
	VARY_DIRTY	= BIT(3),
	VARY_WRITABLE	= BIT(4),
	VARY_EXEC	= BIT(5),
	VARY_MEMTYPE	= BIT(6),
	VARY_TRACKED	= BIT(7),
	NR_WAYS		= 8,
};

static u64 vary(struct spte_test *t, u64 spte, unsigned int how)
{
	const struct lpage_encoding *m = t->m;

	if (is_tracked(m, spte))
		spte = untrack(spte);

	if ((how & VARY_ACCESSED) && !ad_disabled(spte))
		spte ^= m->accessed;
	if ((how & VARY_DIRTY) && !ad_disabled(spte))
		spte ^= m->dirty;
	if (how & VARY_WRITABLE) {
		spte &= ~(m->host_writable | m->mmu_writable | PT_WRITABLE_MASK);
		if (rnd(t, 2))
			spte |= m->host_writable;
		if ((spte & m->host_writable) && rnd(t, 2))
			spte |= m->mmu_writable;
		if ((spte & m->mmu_writable) && rnd(t, 2))
			spte |= PT_WRITABLE_MASK;
		if (m->ept && !(spte & LPAGE_EPT_R))
			spte &= ~PT_WRITABLE_MASK;
	}
	if (how & VARY_EXEC) {
		spte ^= m->exec | m->no_exec;
		if (rnd(t, 2))
			spte ^= m->user_exec;
		if (m->ept && !(spte & LPAGE_EPT_RWX))
			spte |= m->exec;
	}
	if (how & VARY_MEMTYPE)
		spte ^= m->memtype & BIT_ULL(3 + rnd(t, 4));
	if ((how & VARY_TRACKED) && m->ept && ad_disabled(spte))
		spte = track(spte);
	return spte;
}

/* All children, all but one, one, a few or about half. */
static bool is_odd(struct spte_test *t, int i, u32 kind, u32 one)
{
	switch (kind) {
	case 0:
		return true;
	case 1:
		return i != one;
	case 2:
		return i == one;
	case 3:
		return !rnd(t, 32);
	default:
		return rnd(t, 2);
	}
}

/* Fill t->want with children of @attr, some of them varied in the ways of @how. */
static void make_table(struct spte_test *t, u64 attr, int level, unsigned int how)
{
	u64 addr = pfn_bits(t, rnd(t, NR_PFNS), level + 1);
	u64 table = t->m->present | PT_WRITABLE_MASK | t->m->read | t->m->exec;
	u64 size = level == PG_LEVEL_4K ? SZ_4K : SZ_2M;
	u32 kind = rnd(t, 5), one = rnd(t, NR_SPTES);
	unsigned int ways;
	int i;

	if (level == PG_LEVEL_4K) {
		attr &= ~LPAGE_LARGE;
		how &= ~VARY_TABLES;
	}

	for (i = 0; i < NR_SPTES; i++, addr += size) {
		ways = is_odd(t, i, kind, one) ? how : 0;
		if (ways && rnd(t, 2))
			ways &= BIT(rnd(t, NR_WAYS));

		if (ways & VARY_HOLES)
			t->want[i] = SHADOW_NONPRESENT_VALUE;
		else if (ways & VARY_TABLES)
			t->want[i] = table | addr;
		else
			t->want[i] = vary(t, attr, ways) | addr;
	}
}

static void check_table(struct spte_test *t, int level)
{
	const struct lpage_encoding *m = t->m;
	u64 may_differ = m->accessed | m->dirty | m->host_writable | m->mmu_writable |
			 PT_WRITABLE_MASK;
	u64 sums = m->accessed | m->host_writable | m->mmu_writable;
	u64 any = 0, all = ~0ull, spte, got, want;
	int i, leaves = 0, tables = 0, tracked = 0;
	struct kvm_lpage_scan scan;
	bool uniform;

	for (i = 0; i < NR_SPTES; i++) {
		spte = t->want[i];
		if (!(spte & SPTE_MMU_PRESENT_MASK))
			continue;
		if (level > PG_LEVEL_4K && !(spte & LPAGE_LARGE)) {
			tables++;
			continue;
		}
		if (is_tracked(m, spte)) {
			tracked++;
			spte = untrack(spte);
		}
		leaves++;
		any |= spte;
		all &= spte;
	}

	memset(&scan, 0x55, sizeof(scan));
	kvm_lpage_scan_table(t->want, level, &scan);
	t->nr_done++;
	if (scan.nr_leaves != leaves || scan.nr_tables != tables ||
	    scan.nr_tracked != tracked) {
		failed(t, "%d leaves, %d tables, %d tracked, want %d, %d, %d",
		       scan.nr_leaves, scan.nr_tables, scan.nr_tracked,
		       leaves, tables, tracked);
		return;
	}
	if (!leaves)
		return;
	if (scan.all != all || ((scan.any ^ any) & sums)) {
		failed(t, "all 0x%llx, any 0x%llx, want 0x%llx, 0x%llx",
		       scan.all, scan.any, all, any);
		return;
	}

	may_differ |= large_size(level + 1) - SZ_4K;
	if (t->nx)
		may_differ |= m->exec | m->no_exec | m->user_exec;
	uniform = !((any ^ all) & ~may_differ);
	if (kvm_lpage_scan_is_uniform(t->kvm, &scan, level + 1) != uniform) {
		failed(t, "all 0x%llx, any 0x%llx: uniform %d, want %d",
		       all, any, !uniform, uniform);
		return;
	}
	if (!uniform || tables)
		return;

	want = promoted(t, any, level + 1, tracked == leaves);
	got = kvm_lpage_make_spte(t->kvm, &scan, level + 1);
	if (got != want)
		failed(t, "all 0x%llx, any 0x%llx: became 0x%llx, want 0x%llx",
		       all, any, got, want);
}

#define NR_RANDOM_TABLES	5000

static struct spte_test *spte_test_begin(struct kunit *test)
{
	struct spte_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->test = test;
	t->m = test->param_value;
	t->kvm = lpage_kunit_kvm(test, t->m);
	t->want = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t->want);
	t->got = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t->got);

	enumerate_attrs(t);
	t->attrs = kunit_kcalloc(test, t->nr_attrs, sizeof(*t->attrs), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t->attrs);
	enumerate_attrs(t);

	prandom_seed_state(&t->rnd, 1);
	return t;
}

static void spte_test_end(struct spte_test *t)
{
	KUNIT_EXPECT_GT(t->test, t->nr_done, 0);
	kunit_info(t->test, "%d kinds of huge SPTEs, %llu tables\n", t->nr_attrs,
		   t->nr_done);
}

static void test_fill(struct kunit *test)
{
	struct spte_test *t = spte_test_begin(test);

	test_all_huge_sptes(t, check_fill);
	spte_test_end(t);
}

static void test_round_trip(struct kunit *test)
{
	struct spte_test *t = spte_test_begin(test);

	test_all_huge_sptes(t, check_round_trip);
	spte_test_end(t);
}

/*
 * Without the NX mitigation all children of an NPT table have the same NX, or
 * none; the fast path relies on that.
 */
static void test_odd_children(struct kunit *test)
{
	struct spte_test *t = spte_test_begin(test);
	unsigned int how;
	int i, level;

	t->access = ACC_ALL;
	for (i = 0; i < NR_RANDOM_TABLES && !t->failed; i++) {
		level = rnd(t, 2) ? PG_LEVEL_2M : PG_LEVEL_4K;
		set_nx(t, rnd(t, 2), !rnd(t, 4));
		how = rnd(t, 2) ? BIT(rnd(t, NR_WAYS)) : rnd(t, BIT(NR_WAYS));
		if (!t->nx && !t->m->ept)
			how &= ~VARY_EXEC;
		t->level = level;
		t->spte = t->attrs[rnd(t, t->nr_attrs)];
		make_table(t, t->spte, level, how);
		check_table(t, level);
		cond_resched();
	}
	spte_test_end(t);
}

/*
 * A table may be promoted with mmu_lock held for read only if it is full of 4K
 * SPTEs that KVM may make writable, and none of them tracks accesses.
 */
static void test_settled(struct kunit *test)
{
	struct spte_test *t = spte_test_begin(test);
	struct kvm_lpage_scan scan;
	int level, i, odd;
	bool want;
	u64 spte;

	for (i = 0; i < t->nr_attrs && !t->failed; i++) {
		for (odd = -1; odd < NR_SPTES; odd += 57) {
			for (level = PG_LEVEL_4K; level <= PG_LEVEL_2M; level++) {
				t->spte = t->attrs[i];
				t->level = level;
				spte = t->spte;
				if (level == PG_LEVEL_4K)
					spte &= ~LPAGE_LARGE;
				memset64(t->want, spte, NR_SPTES);
				if (odd >= 0)
					t->want[odd] = SHADOW_NONPRESENT_VALUE;
				want = odd < 0 && level == PG_LEVEL_4K &&
				       (spte & t->m->mmu_writable) &&
				       !is_tracked(t->m, spte);

				kvm_lpage_scan_table(t->want, level, &scan);
				if (kvm_lpage_scan_is_settled(&scan, level) != want)
					failed(t, "hole %d: settled %d", odd, !want);
				t->nr_done++;
			}
		}
	}
	spte_test_end(t);
}

static struct kunit_case lpage_spte_cases[] = {
	KUNIT_CASE_PARAM_ATTR(test_fill, lpage_encoding_gen_params,
			      ((struct kunit_attributes){ .speed = KUNIT_SPEED_SLOW })),
	KUNIT_CASE_PARAM_ATTR(test_round_trip, lpage_encoding_gen_params,
			      ((struct kunit_attributes){ .speed = KUNIT_SPEED_SLOW })),
	KUNIT_CASE_PARAM(test_odd_children, lpage_encoding_gen_params),
	KUNIT_CASE_PARAM(test_settled, lpage_encoding_gen_params),
	{}
};

static struct kunit_suite lpage_spte_suite = {
	.name = "kvm_lpage_spte",
	.test_cases = lpage_spte_cases,
};

kunit_test_suite(lpage_spte_suite);
