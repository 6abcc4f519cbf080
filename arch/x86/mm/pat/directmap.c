// SPDX-License-Identifier: GPL-2.0
/*
 * The sizes of the direct map's pages, changed in place; see <asm/directmap.h>.
 *
 * Part of set_memory.c, whose locks keep out all who change attributes: cpa_lock is
 * held wherever an entry is replaced, so that nobody changes one of a table that goes, and
 * over the flush after a split, so that nobody changes one while a CPU still has the large
 * translation.  pgd_lock protects the counts of /proc/meminfo.
 *
 * Entries are large pages of present memory, and page tables are allocated by this file or
 * by split_large_page(), as kernel page tables both.  What set_memory_4k() has marked stays
 * 4K; nobody else collapses the direct map, as set_memory_rox() has other addresses.
 */
#include <linux/memory_hotplug.h>
#include <linux/rcupdate.h>

#include <asm/directmap.h>

/* NULL for a hole. */
static pud_t *direct_map_pud(unsigned long addr)
{
	pgd_t *pgd = pgd_offset_k(addr);
	p4d_t *p4d;

	if (pgd_none(*pgd))
		return NULL;
	p4d = p4d_offset(pgd, addr);
	return p4d_none(*p4d) ? NULL : pud_offset(p4d, addr);
}

/* The entry of what maps an address, as far down as @level; NULL for a hole. */
static pte_t *direct_map_entry(unsigned long addr, int level)
{
	pud_t *pud = direct_map_pud(addr);

	if (!pud || pud_none(*pud))
		return NULL;
	return level == PG_LEVEL_1G ? (pte_t *)pud : (pte_t *)pmd_offset(pud, addr);
}

static bool direct_map_is_large(const pte_t *entry)
{
	return pte_val(READ_ONCE(*entry)) & _PAGE_PSE;
}

/*
 * The entries of a table: that of the first page, and on from there.  No CPU sees the
 * table yet.
 */
static void direct_map_fill(pte_t *table, pteval_t first, unsigned long step)
{
	int i;

	for (i = 0; i < PTRS_PER_PTE; i++, first += step)
		table[i] = __pte(first);
}

/*
 * The first entry of 512 that one large page can stand for, or 0.  A page that was not
 * present for a while has lost _PAGE_GLOBAL, see pgprot_clear_protnone_bits(): what some
 * of them have, all may have.
 */
static pteval_t direct_map_gather(const pte_t *table, unsigned long step)
{
	const pteval_t ignored = _PAGE_ACCESSED | _PAGE_DIRTY | _PAGE_GLOBAL;
	pteval_t first = pte_val(READ_ONCE(table[0])), global = 0, val;
	int i;

	if ((first & (_PAGE_PRESENT | _PAGE_RW)) != (_PAGE_PRESENT | _PAGE_RW) ||
	    (first & _PAGE_KERNEL_4K))
		return 0;

	first |= ignored;
	for (i = 0; i < PTRS_PER_PTE; i++) {
		val = pte_val(READ_ONCE(table[i]));
		if ((val | ignored) != first + i * step)
			return 0;
		global |= val & _PAGE_GLOBAL;
	}

	return (first & ~_PAGE_GLOBAL) | global;
}

/* A large page's entry as that of its first part, and the other way round, or 0. */
static pteval_t direct_map_part(pteval_t large, int level)
{
	return level == PG_LEVEL_2M ? protval_large_2_4k(large) : large;
}

static pteval_t direct_map_whole(pteval_t part, int level, unsigned long pfn)
{
	if (level == PG_LEVEL_2M)
		return pte_pfn(__pte(part)) == pfn ? protval_4k_2_large(part) | _PAGE_PSE : 0;

	return (part & _PAGE_PSE) && pmd_pfn(__pmd(part)) == pfn ? part : 0;
}

static unsigned long direct_map_step(int level)
{
	return level == PG_LEVEL_2M ? PAGE_SIZE : PMD_SIZE;
}

/* A page table from the list in place of a large page. */
static void direct_map_split_entry(pte_t *entry, int level, struct list_head *tables)
{
	struct page *page = list_first_entry(tables, struct page, lru);

	list_del(&page->lru);
	direct_map_fill(page_address(page), direct_map_part(pte_val(*entry), level),
			direct_map_step(level));
	split_page_count(level);
	set_pte_atomic(entry, mk_pte(page, __pgprot(_KERNPG_TABLE)));
}

/*
 * Down to 4K at one address, at most one level a call.  The level that was split,
 * PG_LEVEL_4K if nothing is left to do, or an error.
 */
static int direct_map_split_at(unsigned long addr, struct list_head *tables)
{
	pte_t *entry;
	int level;

	for (level = PG_LEVEL_1G; level > PG_LEVEL_4K; level--) {
		entry = direct_map_entry(addr, level);
		if (!entry || pte_none(*entry))
			break;
		if (!direct_map_is_large(entry))
			continue;
		if (!pte_present(*entry))
			return -EFAULT;
		if (list_empty(tables))
			return -ENOMEM;
		direct_map_split_entry(entry, level, tables);
		return level;
	}

	return PG_LEVEL_4K;
}

/* As far as the page tables go; -ENOMEM when there are no more. */
static int direct_map_split_regions(unsigned long addr, unsigned long end,
				    struct list_head *tables, u64 *split_2m, u64 *split_1g)
{
	int i, level;

	for (i = 0; addr < end; i++, addr += PMD_SIZE) {
		do {
			level = direct_map_split_at(addr, tables);
			if (level < 0)
				return level;
			if (level == PG_LEVEL_2M)
				*split_2m |= BIT_ULL(i);
			else if (level == PG_LEVEL_1G)
				*split_1g |= BIT_ULL(i);
		} while (level > PG_LEVEL_4K);
	}

	return 0;
}

/* How many page tables it takes, as far as can be seen without a lock. */
static int direct_map_missing(unsigned long addr, unsigned long end)
{
	unsigned long giga = 0;
	unsigned int level;
	int missing = 0;
	pte_t *entry;

	for (; addr < end; addr += PMD_SIZE) {
		entry = lookup_address(addr, &level);
		if (!entry || level == PG_LEVEL_4K)
			continue;
		missing++;
		if (level == PG_LEVEL_1G && giga != (addr & PUD_MASK)) {
			giga = addr & PUD_MASK;
			missing++;
		}
	}

	return missing;
}

/* As pte_alloc_one_kernel(), but not zeroed: direct_map_fill() writes all of it. */
static struct ptdesc *direct_map_alloc_table(void)
{
	struct ptdesc *table = pagetable_alloc(GFP_PGTABLE_KERNEL & ~__GFP_ZERO, 0);

	if (!table)
		return NULL;
	if (!pagetable_pte_ctor(&init_mm, table)) {
		pagetable_free(table);
		return NULL;
	}
	ptdesc_set_kernel(table);
	return table;
}

static int direct_map_alloc_tables(struct list_head *tables, int nr)
{
	struct ptdesc *table;

	while (nr--) {
		table = direct_map_alloc_table();
		if (!table)
			return -ENOMEM;
		list_add(&ptdesc_page(table)->lru, tables);
	}

	return 0;
}

static void direct_map_put_tables(struct list_head *tables)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, tables, lru)
		pte_free_kernel(&init_mm, page_address(page));
}

int direct_map_split(unsigned long pfn, unsigned long nr, u64 *split_2m, u64 *split_1g)
{
	unsigned long addr = (unsigned long)__va(PFN_PHYS(ALIGN_DOWN(pfn, PTRS_PER_PMD)));
	unsigned long end = (unsigned long)__va(PFN_PHYS(ALIGN(pfn + nr, PTRS_PER_PMD)));
	LIST_HEAD(tables);
	int ret;

	*split_2m = 0;
	*split_1g = 0;
	if (end - addr > DIRECT_MAP_MAX_REGIONS * PMD_SIZE)
		return -EINVAL;

	/*
	 * Others only ever split, for who collapses is kept out by the caller.  So there
	 * are enough page tables, or too many.
	 */
	ret = direct_map_alloc_tables(&tables, direct_map_missing(addr, end));
	if (ret)
		goto out;

	spin_lock(&cpa_lock);
	spin_lock(&pgd_lock);
	ret = direct_map_split_regions(addr, end, &tables, split_2m, split_1g);
	spin_unlock(&pgd_lock);
	if (*split_2m | *split_1g)
		flush_tlb_all();
	spin_unlock(&cpa_lock);
out:
	direct_map_put_tables(&tables);
	return ret;
}

bool direct_map_collapse(unsigned long pfn, int level, struct list_head *tables)
{
	unsigned long addr = (unsigned long)__va(PFN_PHYS(pfn));
	pte_t *entry, *table;
	pteval_t val = 0;

	lockdep_assert_held(&init_mm.mmap_lock);

	spin_lock(&cpa_lock);
	spin_lock(&pgd_lock);
	entry = direct_map_entry(addr, level);
	if (!entry || !pte_present(*entry) || direct_map_is_large(entry))
		goto unlock;

	table = page_address(pte_page(*entry));
	val = direct_map_gather(table, direct_map_step(level));
	if (val)
		val = direct_map_whole(val, level, pfn);
	if (!val)
		goto unlock;

	list_add(&virt_to_page(table)->lru, tables);
	collapse_page_count(level);
	set_pte_atomic(entry, __pte(val));
unlock:
	spin_unlock(&pgd_lock);
	spin_unlock(&cpa_lock);
	return val;
}

void direct_map_free_tables(struct list_head *tables)
{
	if (list_empty(tables))
		return;

	flush_tlb_all();
	synchronize_rcu();
	direct_map_put_tables(tables);
}

#ifdef CONFIG_SNP_LPAGE_KUNIT_TEST
#include "tests/directmap_kunit.c"
#endif
