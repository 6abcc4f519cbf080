// SPDX-License-Identifier: GPL-2.0
/*
 * Page tables in bulk, for whoever is about to link many of them and must not
 * let go of mmu_lock for each.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "lpage_pool.h"
#include "mmu.h"
#include "mmu_internal.h"

/*
 * Charged to the task's memcg, as all page tables of a VM are.  A huge page that
 * is not split now is split by the fault that needs it, so that memory is asked
 * for with patience but nobody is killed for it.
 */
#define LPAGE_GFP	(GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

/*
 * Most of the price of a page is for the call and for the charge, and not for
 * the page.  Blocks of this order come from the per-CPU lists as single pages
 * do, and are taken only if they are at hand.
 */
#define LPAGE_BLOCK_ORDER	PAGE_ALLOC_COSTLY_ORDER
#define LPAGE_BLOCK_PAGES	((int)BIT(LPAGE_BLOCK_ORDER))
#define LPAGE_BLOCK_GFP		(LPAGE_GFP & ~(__GFP_RECLAIM | __GFP_RETRY_MAYFAIL))

/* Up to @nr pages, consecutive ones; sets @nr to how many they are. */
static struct page *lpage_alloc_pages(int nid, int *nr)
{
	struct page *page;

	if (*nr >= LPAGE_BLOCK_PAGES) {
		page = alloc_pages_node(nid, LPAGE_BLOCK_GFP, LPAGE_BLOCK_ORDER);
		if (page) {
			split_page(page, LPAGE_BLOCK_ORDER);
			*nr = LPAGE_BLOCK_PAGES;
			return page;
		}
	}

	*nr = 1;
	return alloc_pages_node(nid, LPAGE_GFP, 0);
}

/* Between one and LPAGE_BLOCK_PAGES page tables, at most @nr. */
static int lpage_pool_add_block(struct kvm_lpage_pool *pool, int nid, int nr)
{
	void *headers[LPAGE_BLOCK_PAGES];
	struct kvm_mmu_page *sp;
	struct page *page;
	int i;

	page = lpage_alloc_pages(nid, &nr);
	if (!page)
		return -ENOMEM;

	if (!kmem_cache_alloc_bulk(mmu_page_header_cache, LPAGE_GFP | __GFP_ZERO,
				   nr, headers)) {
		for (i = 0; i < nr; i++)
			__free_page(page + i);
		return -ENOMEM;
	}

	for (i = 0; i < nr; i++) {
		sp = headers[i];
		sp->spt = page_address(page + i);
		list_add(&sp->link, &pool->free[nid]);
	}

	return nr;
}

static struct kvm_lpage_pool *lpage_pool_create(void)
{
	struct kvm_lpage_pool *pool;
	int nid;

	pool = kmalloc(struct_size(pool, free, nr_node_ids), GFP_KERNEL);
	if (pool) {
		pool->nr_filled = 0;
		for (nid = 0; nid < nr_node_ids; nid++)
			INIT_LIST_HEAD(&pool->free[nid]);
	}

	return pool;
}

int kvm_lpage_pool_fill(struct kvm_lpage_pool **pool, int nid, int nr)
{
	int r = -EINTR, filled = 0;

	if (!*pool)
		*pool = lpage_pool_create();
	if (!*pool)
		return -ENOMEM;

	nr = min_t(int, nr, max((*pool)->nr_filled, LPAGE_BLOCK_PAGES));

	while (filled < nr && !fatal_signal_pending(current)) {
		r = lpage_pool_add_block(*pool, nid, nr - filled);
		if (r < 0)
			break;
		filled += r;
	}
	(*pool)->nr_filled += filled;

	return filled ?: r;
}

struct kvm_mmu_page *kvm_lpage_pool_get(struct kvm_lpage_pool *pool, int nid)
{
	struct kvm_mmu_page *sp;

	if (!pool)
		return NULL;

	sp = list_first_entry_or_null(&pool->free[nid], struct kvm_mmu_page, link);
	if (sp)
		list_del(&sp->link);

	return sp;
}

void kvm_lpage_pool_put(struct kvm_lpage_pool *pool, int nid,
			struct kvm_mmu_page *sp)
{
	list_add(&sp->link, &pool->free[nid]);
}

void kvm_lpage_pool_free(struct kvm_lpage_pool **pool)
{
	int nid;

	if (!*pool)
		return;

	for (nid = 0; nid < nr_node_ids; nid++)
		kvm_lpage_free_tables(&(*pool)->free[nid]);

	kfree(*pool);
	*pool = NULL;
}

void kvm_lpage_free_tables(struct list_head *tables)
{
	void *headers[LPAGE_BLOCK_PAGES];
	struct kvm_mmu_page *sp, *next;
	size_t nr = 0;

	list_for_each_entry_safe(sp, next, tables, link) {
		free_page((unsigned long)sp->spt);

		headers[nr++] = sp;
		if (nr == ARRAY_SIZE(headers)) {
			kmem_cache_free_bulk(mmu_page_header_cache, nr, headers);
			nr = 0;
		}
	}

	if (nr)
		kmem_cache_free_bulk(mmu_page_header_cache, nr, headers);
}
