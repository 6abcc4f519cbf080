// SPDX-License-Identifier: GPL-2.0
/*
 * SPTE arithmetic of splitting and promotion, for all SPTE values that there are.
 *
 * What is tested is the object code of the kvm.ko that is loaded, with no vendor
 * module beside it: no VM can exist, and the masks that SPTEs are made of can
 * be set for any CPU, whatever the one at hand is.  KVM's functions are looked up
 * by name, because KVM does not export them.
 *
 * - kvm_lpage_fill_table() against KVM's own function for a single child;
 * - split and promote: the huge SPTE comes back, but for what promotion adds;
 * - tables whose children differ: what promotion makes of them, against a
 *   computation child by child.
 *
 * Everything after the loading takes its subject from pointers and the masks from
 * a table here, and neither reads nor shares KVM's masks or helpers.
 *
 * Not enumerated, because no SPTE can be like that: W without MMU-writable or
 * MMU-writable without host-writable (see spte.h); W, or no permission at all,
 * without R on EPT; A, D or untracked permissions together with access tracking;
 * with NPT, the A/D types and memory types that only EPT has.  PFNs are aligned
 * to the page, and fit into the physical address bits without the C-bit.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kprobes.h>
#include <linux/kvm_host.h>
#include <linux/module.h>
#include <linux/prandom.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "lpage.h"
#include "mmu.h"
#include "spte.h"

/* How an SPTE is encoded, for one kind of CPU. */
struct spte_masks {
	const char *name;
	u64 present;		/* in each present SPTE */
	u64 read;		/* optional permission to read, or U */
	u64 exec;		/* set to execute */
	u64 no_exec;		/* set not to */
	u64 accessed;
	u64 dirty;
	u64 host_writable;
	u64 mmu_writable;
	u64 memtype;
	u64 c_bit;
	bool ept;
	bool has_ad;
	bool exec_only;
};

#define NPT_MASKS						\
	.present = SPTE_MMU_PRESENT_MASK | PT_PRESENT_MASK,	\
	.read = PT_USER_MASK,					\
	.no_exec = PT64_NX_MASK,				\
	.accessed = PT_ACCESSED_MASK,				\
	.dirty = PT_DIRTY_MASK,					\
	.host_writable = BIT_ULL(9),				\
	.mmu_writable = BIT_ULL(10),				\
	.has_ad = true

#define EPT_R	BIT_ULL(0)
#define EPT_X	BIT_ULL(2)
#define EPT_RWX	GENMASK_ULL(2, 0)

#define EPT_MASKS						\
	.read = EPT_R,						\
	.exec = EPT_X,						\
	.host_writable = BIT_ULL(57),				\
	.mmu_writable = BIT_ULL(58),				\
	.memtype = GENMASK_ULL(6, 3),				\
	.ept = true

#define EPT_AD_MASKS						\
	EPT_MASKS,						\
	.accessed = BIT_ULL(8),					\
	.dirty = BIT_ULL(9),					\
	.has_ad = true

#define EPT_PRESENT	(SPTE_MMU_PRESENT_MASK | BIT_ULL(63))

static const struct spte_masks configs[] = {
	{ .name = "npt", NPT_MASKS },
	{ .name = "npt_sme47", NPT_MASKS, .c_bit = BIT_ULL(47) },
	{ .name = "npt_sme51", NPT_MASKS, .c_bit = BIT_ULL(51) },
	{ .name = "ept_ad", EPT_AD_MASKS, .present = EPT_PRESENT | EPT_R },
	{ .name = "ept_ad_xo", EPT_AD_MASKS, .present = EPT_PRESENT, .exec_only = true },
	{ .name = "ept_noad", EPT_MASKS, .present = EPT_PRESENT | EPT_R },
	{ .name = "ept_noad_xo", EPT_MASKS, .present = EPT_PRESENT, .exec_only = true },
};

/* The subject. */
static struct {
	u64 (*split_one)(struct kvm *kvm, u64 huge_spte,
			 union kvm_mmu_page_role role, int index);
	void (*fill_table)(struct kvm *kvm, u64 *spt, u64 huge_spte,
			   union kvm_mmu_page_role role, u64 clear);
	void (*scan_table)(const u64 *spt, int level, struct kvm_lpage_scan *scan);
	bool (*scan_is_uniform)(struct kvm *kvm, const struct kvm_lpage_scan *scan,
				int level);
	u64 (*make_spte)(struct kvm *kvm, const struct kvm_lpage_scan *scan, int level);
	void (*reset_masks)(void);
	int *nx_huge_pages;
} kvm_ko;

struct test {
	const struct spte_masks *m;
	struct kvm *kvm;
	/* What is being tested. */
	const char *what;
	u64 spte;		/* huge SPTE, or what the children have in common */
	int level;		/* of the children */
	int access;
	bool nx;		/* the NX mitigation is on */
	u64 *attrs;		/* huge SPTEs without a PFN */
	int nr_attrs;
	u64 *want;		/* a page table */
	u64 *got;		/* another one */
	struct rnd_state rnd;
	u64 nr_filled;
	u64 nr_promoted;
	u64 nr_scanned;
	bool failed;
};

#define NR_SPTES	512
#define LARGE		BIT_ULL(7)

static void __printf(2, 3) failed(struct test *t, const char *fmt, ...)
{
	struct va_format vaf = { .fmt = fmt };
	va_list args;

	va_start(args, fmt);
	vaf.va = &args;
	pr_err("%s: %s: SPTE 0x%llx, level %d, access %d, nx %d: %pV\n", t->m->name,
	       t->what, t->spte, t->level, t->access, t->nx, &vaf);
	va_end(args);
	t->failed = true;
}

static u32 rnd(struct test *t, u32 n)
{
	return prandom_u32_state(&t->rnd) % n;
}

/* What SPTEs say, in this file's own words. */

static bool ad_disabled(u64 spte)
{
	return (spte & SPTE_TDP_AD_MASK) == SPTE_TDP_AD_DISABLED;
}

static bool is_tracked(const struct spte_masks *m, u64 spte)
{
	return m->ept && ad_disabled(spte) && !(spte & EPT_RWX);
}

/* R and X move up by 54 bits, W goes. */
static u64 track(u64 spte)
{
	u64 saved = spte & (EPT_R | EPT_X);

	return (spte & ~EPT_RWX) | saved << 54;
}

static u64 untrack(u64 spte)
{
	u64 saved = (spte >> 54) & (EPT_R | EPT_X);

	return (spte & ~(EPT_RWX | (EPT_R | EPT_X) << 54)) | saved;
}

static u64 large_size(int level)
{
	return level == PG_LEVEL_2M ? SZ_2M : SZ_1G;
}

/*
 * The SPTE that promotion is to make of children that have the bits @any
 * together, the PFN and their permissions, tracked or not, included.
 */
static u64 promoted(struct test *t, u64 any, int level, bool all_tracked)
{
	const struct spte_masks *m = t->m;
	u64 spte = any & ~(large_size(level) - SZ_4K);

	spte |= LARGE;
	if (t->nx) {
		spte &= ~m->exec;
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
static void add_attr(struct test *t, u64 attr)
{
	if (t->attrs)
		t->attrs[t->nr_attrs] = attr;
	t->nr_attrs++;
}

static void add_writable_states(struct test *t, u64 attr)
{
	const struct spte_masks *m = t->m;
	bool can_write = !m->ept || (attr & EPT_R);

	/* Read-only memory, and memory that KVM itself keeps from being written. */
	add_attr(t, attr);
	add_attr(t, attr | m->host_writable);
	/* Protected for the log, and writable. */
	attr |= m->host_writable | m->mmu_writable;
	add_attr(t, attr);
	if (can_write)
		add_attr(t, attr | PT_WRITABLE_MASK);
}

static void add_tracked(struct test *t, u64 attr)
{
	const struct spte_masks *m = t->m;

	attr = track(attr);
	add_attr(t, attr);
	add_attr(t, attr | m->host_writable);
	add_attr(t, attr | m->host_writable | m->mmu_writable);
}

static void add_ad_states(struct test *t, u64 attr, u64 ad_type)
{
	const struct spte_masks *m = t->m;

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

static void add_permissions(struct test *t, u64 attr)
{
	const struct spte_masks *m = t->m;
	u64 perm;
	int i;

	for (i = 0; i < 4; i++) {
		perm = i & 1 ? m->read : 0;
		perm |= i & 2 ? m->exec : m->no_exec;
		if (m->ept && !((attr | perm) & EPT_RWX))
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

static void enumerate_attrs(struct test *t)
{
	const struct spte_masks *m = t->m;
	u64 memtype;

	t->nr_attrs = 0;
	for (memtype = 0; memtype <= m->memtype; memtype += BIT_ULL(3)) {
		add_permissions(t, m->present | LARGE | memtype);
		/* Without the C-bit: memory of a device. */
		if (m->c_bit)
			add_permissions(t, m->present | LARGE | memtype | m->c_bit);
	}
}

/* Page frames at both ends, and bits of all kinds in between. */
static u64 pfn_bits(struct test *t, int nr, int level)
{
	static const u64 addrs[] = {
		0, SZ_1G, BIT_ULL(36), 0x000aaaaac0000000ull, 0x000ffffffffff000ull,
	};
	u64 addr = addrs[nr % ARRAY_SIZE(addrs)];

	return addr & ~(large_size(level) - 1) & ~t->m->c_bit;
}

#define NR_PFNS		5

/* The cases */

static void test_fill(struct test *t, u64 huge_spte, union kvm_mmu_page_role role)
{
	const struct spte_masks *m = t->m;
	const u64 clears[] = {
		0, PT_WRITABLE_MASK, m->dirty, PT_WRITABLE_MASK | m->dirty,
	};
	/* Where there is no D bit there is none to clear. */
	int nr_clears = m->dirty ? 4 : 2;
	int i, c;
	u64 want;

	for (c = 0; c < nr_clears; c++) {
		memset(t->got, 0x55, PAGE_SIZE);
		kvm_ko.fill_table(t->kvm, t->got, huge_spte, role, clears[c]);
		t->nr_filled++;
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

static void test_round_trip(struct test *t, u64 huge_spte, union kvm_mmu_page_role role)
{
	const struct spte_masks *m = t->m;
	bool tracked = is_tracked(m, huge_spte);
	int level = role.level + 1;
	struct kvm_lpage_scan scan;
	u64 got, want;

	want = promoted(t, tracked ? untrack(huge_spte) : huge_spte, level, tracked);

	kvm_ko.scan_table(t->want, role.level, &scan);
	if (scan.nr_leaves != NR_SPTES || scan.nr_tables ||
	    scan.nr_tracked != (tracked ? NR_SPTES : 0)) {
		failed(t, "%d leaves, %d tables, %d tracked", scan.nr_leaves,
		       scan.nr_tables, scan.nr_tracked);
		return;
	}
	if (!kvm_ko.scan_is_uniform(t->kvm, &scan, level)) {
		failed(t, "not uniform");
		return;
	}
	got = kvm_ko.make_spte(t->kvm, &scan, level);
	if (got != want)
		failed(t, "became 0x%llx, want 0x%llx", got, want);
	t->nr_promoted++;
}

static void test_huge_spte(struct test *t, u64 attr, int nr_pfn,
			   union kvm_mmu_page_role role)
{
	u64 huge_spte = attr | pfn_bits(t, nr_pfn, role.level + 1);
	int i;

	for (i = 0; i < NR_SPTES; i++)
		t->want[i] = kvm_ko.split_one(t->kvm, huge_spte, role, i);

	t->spte = huge_spte;
	t->level = role.level;
	t->access = role.access;
	t->what = "fill";
	test_fill(t, huge_spte, role);
	if (t->failed)
		return;
	t->what = "split and promote";
	test_round_trip(t, huge_spte, role);
}

static void set_nx(struct test *t, bool nx, bool vm_disables)
{
	*kvm_ko.nx_huge_pages = nx;
	t->kvm->arch.disable_nx_huge_pages = vm_disables;
	t->nx = nx && !vm_disables;
}

static void test_all_roles(struct test *t, u64 attr, int nr_pfn)
{
	static const u8 access[] = { ACC_ALL, ACC_ALL & ~ACC_EXEC_MASK };
	union kvm_mmu_page_role role = {};
	int level, i;

	for (level = PG_LEVEL_4K; level <= PG_LEVEL_2M; level++) {
		for (i = 0; i < ARRAY_SIZE(access) && !t->failed; i++) {
			role.level = level;
			role.access = access[i];
			test_huge_spte(t, attr, nr_pfn, role);
		}
	}
}

static void test_all_huge_sptes(struct test *t)
{
	int i, nr_pfn;

	for (i = 0; i < t->nr_attrs && !t->failed; i++) {
		for (nr_pfn = 0; nr_pfn < NR_PFNS; nr_pfn++) {
			set_nx(t, false, false);
			test_all_roles(t, t->attrs[i], nr_pfn);
			set_nx(t, true, false);
			test_all_roles(t, t->attrs[i], nr_pfn);
			set_nx(t, true, true);
			test_all_roles(t, t->attrs[i], nr_pfn);
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

static u64 vary(struct test *t, u64 spte, unsigned int how)
{
	const struct spte_masks *m = t->m;

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
		if (m->ept && !(spte & EPT_R))
			spte &= ~PT_WRITABLE_MASK;
	}
	if (how & VARY_EXEC) {
		spte ^= m->exec | m->no_exec;
		if (m->ept && !(spte & EPT_RWX))
			spte |= m->exec;
	}
	if (how & VARY_MEMTYPE)
		spte ^= m->memtype & BIT_ULL(3 + rnd(t, 4));
	if ((how & VARY_TRACKED) && m->ept && ad_disabled(spte))
		spte = track(spte);
	return spte;
}

/* All children, all but one, one, a few or about half. */
static bool is_odd(struct test *t, int i, u32 kind, u32 one)
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
static void make_table(struct test *t, u64 attr, int level, unsigned int how)
{
	u64 addr = pfn_bits(t, rnd(t, NR_PFNS), level + 1);
	u64 table = t->m->present | PT_WRITABLE_MASK | t->m->read | t->m->exec;
	u64 size = level == PG_LEVEL_4K ? SZ_4K : SZ_2M;
	u32 kind = rnd(t, 5), one = rnd(t, NR_SPTES);
	unsigned int ways;
	int i;

	if (level == PG_LEVEL_4K) {
		attr &= ~LARGE;
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

static void check_table(struct test *t, int level)
{
	const struct spte_masks *m = t->m;
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
		if (level > PG_LEVEL_4K && !(spte & LARGE)) {
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
	kvm_ko.scan_table(t->want, level, &scan);
	t->nr_scanned++;
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
		may_differ |= m->exec | m->no_exec;
	uniform = !((any ^ all) & ~may_differ);
	if (kvm_ko.scan_is_uniform(t->kvm, &scan, level + 1) != uniform) {
		failed(t, "all 0x%llx, any 0x%llx: uniform %d, want %d",
		       all, any, !uniform, uniform);
		return;
	}
	if (!uniform || tables)
		return;

	want = promoted(t, any, level + 1, tracked == leaves);
	got = kvm_ko.make_spte(t->kvm, &scan, level + 1);
	if (got != want)
		failed(t, "all 0x%llx, any 0x%llx: became 0x%llx, want 0x%llx",
		       all, any, got, want);
	t->nr_promoted++;
}

#define NR_RANDOM_TABLES	5000

/*
 * Without the NX mitigation all children of an NPT table have the same NX, or
 * none; the fast path relies on that.
 */
static void test_random_tables(struct test *t)
{
	unsigned int how;
	int i, level;

	t->what = "odd children";
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
}

/* Set KVM's masks to what they are on such a CPU. */
static void set_masks(const struct spte_masks *m)
{
	kvm_ko.reset_masks();
	if (m->ept)
		kvm_mmu_set_ept_masks(m->has_ad, m->exec_only);
	kvm_mmu_set_me_spte_mask(m->c_bit, m->c_bit);
}

static int run_config(const struct spte_masks *m)
{
	struct test t = { .m = m };
	int old_nx = *kvm_ko.nx_huge_pages, r = -ENOMEM;

	t.kvm = vzalloc(sizeof(*t.kvm));
	t.want = (u64 *)__get_free_page(GFP_KERNEL);
	t.got = (u64 *)__get_free_page(GFP_KERNEL);
	enumerate_attrs(&t);
	t.attrs = vmalloc(array_size(t.nr_attrs, sizeof(*t.attrs)));
	if (!t.kvm || !t.want || !t.got || !t.attrs)
		goto out;
	enumerate_attrs(&t);
	prandom_seed_state(&t.rnd, 1);

	set_masks(m);
	test_all_huge_sptes(&t);
	test_random_tables(&t);
	*kvm_ko.nx_huge_pages = old_nx;

	r = t.failed ? -EINVAL : 0;
	pr_info("%s: %s: %d kinds of huge SPTEs, %llu tables of 512 filled, %llu odd ones scanned, %llu promoted\n",
		m->name, r ? "not ok" : "ok", t.nr_attrs, t.nr_filled, t.nr_scanned,
		t.nr_promoted);
out:
	vfree(t.attrs);
	free_page((unsigned long)t.got);
	free_page((unsigned long)t.want);
	vfree(t.kvm);
	return r;
}

/* Loading: find the subject. */

static unsigned long (*lookup_name)(const char *name);

/* A probe can be put on any function, and knows then where that is. */
static int find_lookup_name(void)
{
	struct kprobe kp = { .symbol_name = "kallsyms_lookup_name" };
	int r;

	r = register_kprobe(&kp);
	if (r)
		return r;
	lookup_name = (void *)kp.addr;
	unregister_kprobe(&kp);
	return 0;
}

static int find_subject(void)
{
	const struct {
		const char *name;
		void *where;
	} symbols[] = {
		{ "kvm:make_huge_page_split_spte", &kvm_ko.split_one },
		{ "kvm:kvm_lpage_fill_table", &kvm_ko.fill_table },
		{ "kvm:kvm_lpage_scan_table", &kvm_ko.scan_table },
		{ "kvm:kvm_lpage_scan_is_uniform", &kvm_ko.scan_is_uniform },
		{ "kvm:kvm_lpage_make_spte", &kvm_ko.make_spte },
		{ "kvm:kvm_mmu_reset_all_pte_masks", &kvm_ko.reset_masks },
		{ "kvm:nx_huge_pages", &kvm_ko.nx_huge_pages },
	};
	unsigned long addr;
	int i;

	for (i = 0; i < ARRAY_SIZE(symbols); i++) {
		addr = lookup_name(symbols[i].name);
		if (!addr) {
			pr_err("no %s\n", symbols[i].name);
			return -ENOENT;
		}
		*(unsigned long *)symbols[i].where = addr;
	}
	return 0;
}

static int __init lpage_spte_test_init(void)
{
	int i, r, err = 0;

	r = find_lookup_name() ?: find_subject();
	if (r)
		return r;

	for (i = 0; i < ARRAY_SIZE(configs); i++) {
		r = run_config(&configs[i]);
		err = err ?: r;
	}
	return err;
}
module_init(lpage_spte_test_init);

static void __exit lpage_spte_test_exit(void)
{
}
module_exit(lpage_spte_test_exit);

MODULE_DESCRIPTION("Test of KVM's SPTE arithmetic for large pages");
MODULE_LICENSE("GPL");
