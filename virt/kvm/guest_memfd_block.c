// SPDX-License-Identifier: GPL-2.0
/* Blocks of guest_memfd memory; see guest_memfd_block.h. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/xarray.h>

#include "guest_memfd_block.h"

#define CREATE_TRACE_POINTS
#include "guest_memfd_trace.h"

/* Two vCPUs that touch different blocks rarely have to wait for each other. */
#define GMEM_NR_LOCKS	16

/* A file with blocks, by its inode's i_private. */
struct gmem_blocks {
	struct kvm *kvm;
	bool wanted;			/* asked for, not just the default */
	/* By block number, GMEM_BLOCK flags and the PFN of the first page. */
	struct xarray blocks;
	/* To fill or to prepare a block, or a page in its place. */
	struct mutex lock[GMEM_NR_LOCKS];
};

#define GMEM_BLOCK_PREPARED	BIT(0)
/* What is not prepared is zero, for the allocator has seen to that. */
#define GMEM_BLOCK_ZEROED	BIT(1)
#define GMEM_BLOCK_FLAGS	2

static const char * const gmem_huge_names[] = { "never", "always" };
static bool __read_mostly gmem_huge = true;

static int gmem_huge_set(const char *val, const struct kernel_param *kp)
{
	int i = sysfs_match_string(gmem_huge_names, val);

	if (i < 0)
		return i;

	WRITE_ONCE(gmem_huge, i);
	return 0;
}

static int gmem_huge_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%s\n", gmem_huge_names[READ_ONCE(gmem_huge)]);
}

static const struct kernel_param_ops gmem_huge_ops = {
	.set = gmem_huge_set,
	.get = gmem_huge_get,
};

module_param_cb(gmem_huge, &gmem_huge_ops, NULL, 0644);

static struct gmem_blocks *gmem_blocks(const struct address_space *mapping)
{
	return mapping->host->i_private;
}

static unsigned long gmem_nr(pgoff_t index)
{
	return index >> KVM_GMEM_BLOCK_ORDER;
}

static void *gmem_entry(kvm_pfn_t pfn, unsigned long flags)
{
	return xa_mk_value(pfn << GMEM_BLOCK_FLAGS | flags);
}

static bool gmem_entry_is_prepared(const void *entry)
{
	return xa_to_value(entry) & GMEM_BLOCK_PREPARED;
}

static bool gmem_entry_is_zeroed(const void *entry)
{
	return xa_to_value(entry) & GMEM_BLOCK_ZEROED;
}

static kvm_pfn_t gmem_entry_pfn(const void *entry)
{
	return xa_to_value(entry) >> GMEM_BLOCK_FLAGS;
}

static struct mutex *gmem_lock(struct gmem_blocks *b, pgoff_t index)
{
	return &b->lock[gmem_nr(index) % GMEM_NR_LOCKS];
}

/* A block is what maps by one large page, which is not 2M with pages of 16K or 64K. */
static bool gmem_wants_blocks(void)
{
	return READ_ONCE(gmem_huge) && PMD_SIZE == SZ_2M;
}

int kvm_gmem_check_blocks(loff_t size, u64 flags)
{
	if (!(flags & GUEST_MEMFD_FLAG_LPAGE))
		return 0;

	if (!IS_ALIGNED(size, PMD_SIZE))
		return -EINVAL;

	return gmem_wants_blocks() ? 0 : -EOPNOTSUPP;
}

int kvm_gmem_init_blocks(struct kvm *kvm, struct inode *inode, u64 flags)
{
	struct gmem_blocks *b;
	int i;

	inode->i_private = NULL;
	if (!(flags & GUEST_MEMFD_FLAG_LPAGE) &&
	    (!gmem_wants_blocks() || i_size_read(inode) < PMD_SIZE))
		return 0;

	b = kzalloc_obj(*b, GFP_KERNEL_ACCOUNT);
	if (!b)
		return -ENOMEM;

	b->kvm = kvm;
	b->wanted = flags & GUEST_MEMFD_FLAG_LPAGE;
	xa_init_flags(&b->blocks, XA_FLAGS_ACCOUNT);
	for (i = 0; i < GMEM_NR_LOCKS; i++)
		mutex_init(&b->lock[i]);
	inode->i_private = b;

	return 0;
}

void kvm_gmem_exit_blocks(struct inode *inode)
{
	struct gmem_blocks *b = gmem_blocks(inode->i_mapping);

	if (!b)
		return;

	kvm_gmem_forget_blocks(inode->i_mapping, 0, -1ul, true);
	inode->i_private = NULL;
	xa_destroy(&b->blocks);
	kfree(b);
}

/* Pages of their own, by the memory policy of the task, like single ones. */
static struct page *gmem_alloc_block(gfp_t gfp)
{
	struct page *page = alloc_pages(gfp, KVM_GMEM_BLOCK_ORDER);

	if (page)
		split_page(page, KVM_GMEM_BLOCK_ORDER);

	return page;
}

/*
 * Put the pages into the file.  Whoever looks up one of them meanwhile has it as
 * a page like any other.  Returns how many there was no obstacle to.
 */
static int gmem_add_block(struct address_space *mapping, pgoff_t start,
			  struct page *page, gfp_t gfp)
{
	struct folio *folio;
	int i;

	for (i = 0; i < KVM_GMEM_BLOCK_PAGES; i++) {
		folio = page_folio(page + i);
		if (filemap_add_folio(mapping, folio, start + i, gfp))
			break;
		folio_unlock(folio);
		folio_put(folio);
		cond_resched();
	}

	return i;
}

/*
 * The first page of a new block, or NULL.  It is not worth that anything is killed for
 * it, nor what is left of a memcg's limit: without it there are single pages, of
 * which only the one that is wanted is needed.
 */
static struct page *gmem_try_fill_block(struct gmem_blocks *b,
					struct address_space *mapping, pgoff_t start)
{
	gfp_t gfp = mapping_gfp_mask(mapping) | __GFP_NORETRY | __GFP_NOWARN;
	unsigned long flags = want_init_on_alloc(gfp) ? GMEM_BLOCK_ZEROED : 0;
	struct page *page;
	int i, added;

	page = gmem_alloc_block(gfp);
	if (!page)
		return NULL;

	added = gmem_add_block(mapping, start, page, gfp);
	if (added == KVM_GMEM_BLOCK_PAGES &&
	    !xa_err(xa_store(&b->blocks, gmem_nr(start), gmem_entry(page_to_pfn(page), flags),
			     GFP_KERNEL_ACCOUNT)))
		return page;

	/*
	 * Nothing of it is prepared, nor can be, while the block is locked.  An end of -1
	 * would mean all of the file.
	 */
	if (added)
		truncate_inode_pages_range(mapping, (loff_t)start << PAGE_SHIFT,
					   ((loff_t)(start + added) << PAGE_SHIFT) - 1);
	for (i = added; i < KVM_GMEM_BLOCK_PAGES; i++)
		__free_page(page + i);

	return NULL;
}

/* No page of the block is there, and all of it is within the file. */
static bool gmem_may_fill_block(struct inode *inode, pgoff_t start)
{
	unsigned long first = start;

	return start + KVM_GMEM_BLOCK_PAGES <= i_size_read(inode) >> PAGE_SHIFT &&
	       !xa_find(&inode->i_mapping->i_pages, &first,
			start + KVM_GMEM_BLOCK_PAGES - 1, XA_PRESENT);
}

static int gmem_fill_block_locked(struct gmem_blocks *b, struct inode *inode,
				  pgoff_t index)
{
	pgoff_t start = ALIGN_DOWN(index, KVM_GMEM_BLOCK_PAGES);
	struct page *page;

	if (!gmem_may_fill_block(inode, start))
		return 0;

	page = gmem_try_fill_block(b, inode->i_mapping, start);
	if (page)
		atomic64_inc(&b->kvm->stat.generic.gmem_blocks);
	else
		atomic64_inc(&b->kvm->stat.generic.gmem_block_fallbacks);
	trace_kvm_gmem_block(inode->i_ino, start, page);

	return !page && b->wanted ? -ENOMEM : 0;
}

static void gmem_clear_zeroed(struct gmem_blocks *b, pgoff_t index)
{
	void *entry = xa_load(&b->blocks, gmem_nr(index));

	/* No memory is needed to replace an entry. */
	if (entry && gmem_entry_is_zeroed(entry))
		xa_store(&b->blocks, gmem_nr(index), gmem_entry(gmem_entry_pfn(entry), 0),
			 GFP_KERNEL_ACCOUNT);
}

int kvm_gmem_fill_block(struct inode *inode, pgoff_t index, bool writing)
{
	struct gmem_blocks *b = gmem_blocks(inode->i_mapping);
	int r;

	if (!b)
		return 0;

	mutex_lock(gmem_lock(b, index));
	r = gmem_fill_block_locked(b, inode, index);
	if (writing)
		gmem_clear_zeroed(b, index);
	mutex_unlock(gmem_lock(b, index));

	return r;
}

static int gmem_arch_prepare(struct kvm *kvm, gfn_t gfn, kvm_pfn_t pfn, int order)
{
#ifdef CONFIG_HAVE_KVM_ARCH_GMEM_CONVERT
	int r = kvm_arch_gmem_make_private(kvm, gfn, pfn, BIT(order));

	if (r)
		pr_warn_ratelimited("gmem: cannot prepare GFN 0x%llx PFN 0x%llx order %d: %d\n",
				    gfn, pfn, order, r);
	return r;
#else
	return 0;
#endif
}

/*
 * What prepares a page holds invalidate_lock, so that it stays in the file, and the
 * block's mutex, so that nobody else does.  No folio is locked: memory failure does that,
 * and then waits for invalidate_lock.
 */
static void gmem_clear_page(struct page *page)
{
	struct folio *folio = page_folio(page);

	if (!folio_test_hwpoison(folio) && !folio_test_uptodate(folio))
		clear_highpage(page);
}

static int gmem_prepare_page(struct kvm *kvm, gfn_t gfn, struct page *page, int order)
{
	struct folio *folio = page_folio(page);
	int r;

	if (folio_test_hwpoison(folio))
		return -EHWPOISON;

	if (folio_test_uptodate(folio))
		return 0;

	r = gmem_arch_prepare(kvm, gfn, page_to_pfn(page), order);
	if (!r)
		folio_mark_uptodate(folio);

	return r;
}

/*
 * Does the slot map the block by 2M of guest memory, all private?  A large page
 * must not have any other; and there are RMP entries for it, which must not say
 * more than that.
 */
static bool gmem_block_is_private(struct kvm *kvm, struct kvm_memory_slot *slot, gfn_t gfn)
{
#ifdef CONFIG_KVM_GENERIC_MEMORY_ATTRIBUTES
	gfn_t start = ALIGN_DOWN(gfn, KVM_GMEM_BLOCK_PAGES);
	gfn_t end = start + KVM_GMEM_BLOCK_PAGES;

	return IS_ALIGNED(slot->base_gfn ^ slot->gmem.pgoff, KVM_GMEM_BLOCK_PAGES) &&
	       start >= slot->base_gfn && end <= slot->base_gfn + slot->npages &&
	       kvm_range_has_memory_attributes(kvm, start, end, KVM_MEMORY_ATTRIBUTE_PRIVATE,
					       KVM_MEMORY_ATTRIBUTE_PRIVATE);
#else
	return false;
#endif
}

/*
 * All pages are zero before the first is prepared, as that may give all of them to
 * the guest; and all but those that are lost are prepared, so that none is zeroed
 * later.
 */
static int gmem_prepare_all(struct gmem_blocks *b, struct kvm *kvm, gfn_t gfn,
			    pgoff_t index, void *entry)
{
	struct page *page = pfn_to_page(gmem_entry_pfn(entry));
	bool lost = false;
	int i, r;

	for (i = 0; !gmem_entry_is_zeroed(entry) && i < KVM_GMEM_BLOCK_PAGES; i++) {
		gmem_clear_page(page + i);
		cond_resched();
	}

	gfn = ALIGN_DOWN(gfn, KVM_GMEM_BLOCK_PAGES);
	for (i = 0; i < KVM_GMEM_BLOCK_PAGES; i++) {
		r = gmem_prepare_page(kvm, gfn + i, page + i, KVM_GMEM_BLOCK_ORDER);
		if (r && r != -EHWPOISON)
			return r;
		lost |= !!r;
		cond_resched();
	}

	/* Unless it was forgotten meanwhile, for a page that was lost. */
	if (!lost)
		xa_cmpxchg(&b->blocks, gmem_nr(index), entry,
			   gmem_entry(page_to_pfn(page), GMEM_BLOCK_PREPARED),
			   GFP_KERNEL_ACCOUNT);
	return 0;
}

/* A page that is in no block, or in one that is not to be prepared as a whole. */
static int gmem_prepare_one(struct kvm *kvm, struct inode *inode, gfn_t gfn, pgoff_t index)
{
	struct address_space *mapping = inode->i_mapping;
	struct folio *folio;
	int r;

	folio = __filemap_get_folio(mapping, index, FGP_CREAT | FGP_FOR_MMAP,
				    mapping_gfp_mask(mapping));
	if (IS_ERR(folio))
		return PTR_ERR(folio);

	gmem_clear_page(folio_page(folio, 0));
	r = gmem_prepare_page(kvm, gfn, folio_page(folio, 0), 0);
	folio_put(folio);

	return r;
}

/* With invalidate_lock and the block's mutex held. */
static int gmem_prepare_block_locked(struct gmem_blocks *b, struct kvm *kvm,
				     struct kvm_memory_slot *slot, struct inode *inode,
				     gfn_t gfn, pgoff_t index)
{
	void *entry;
	int r;

	/* A guest that runs is served with single pages rather than with an error. */
	gmem_fill_block_locked(b, inode, index);

	entry = xa_load(&b->blocks, gmem_nr(index));
	if (entry && gmem_entry_is_prepared(entry))
		return 0;

	if (entry && gmem_block_is_private(kvm, slot, gfn)) {
		r = gmem_prepare_all(b, kvm, gfn, index, entry);
		if (r)
			return r;
	}

	return gmem_prepare_one(kvm, inode, gfn, index);
}

int kvm_gmem_prepare_block(struct kvm *kvm, struct kvm_memory_slot *slot,
			   struct file *file, gfn_t gfn)
{
	struct inode *inode = file_inode(file);
	struct gmem_blocks *b = gmem_blocks(inode->i_mapping);
	pgoff_t index = gfn - slot->base_gfn + slot->gmem.pgoff;
	void *entry;
	int r;

	if (!b)
		return 0;

	/* A fault that finds its page gone after this comes back. */
	if (fatal_signal_pending(current))
		return -EINTR;

	entry = xa_load(&b->blocks, gmem_nr(index));
	if (entry && gmem_entry_is_prepared(entry))
		return 0;

	r = down_read_killable(&inode->i_mapping->invalidate_lock);
	if (r)
		return r;

	mutex_lock(gmem_lock(b, index));
	r = gmem_prepare_block_locked(b, kvm, slot, inode, gfn, index);
	mutex_unlock(gmem_lock(b, index));
	filemap_invalidate_unlock_shared(inode->i_mapping);

	return r;
}

bool kvm_gmem_has_blocks(struct file *file)
{
	return gmem_blocks(file->f_mapping);
}

static void *gmem_prepared_block(const struct kvm_memory_slot *slot, struct inode *inode,
				 pgoff_t index)
{
	struct gmem_blocks *b = gmem_blocks(inode->i_mapping);
	void *entry;

	if (!b || !IS_ALIGNED(slot->base_gfn ^ slot->gmem.pgoff, KVM_GMEM_BLOCK_PAGES))
		return NULL;

	entry = xa_load(&b->blocks, gmem_nr(index));
	return entry && gmem_entry_is_prepared(entry) ? entry : NULL;
}

int kvm_gmem_block_order(struct kvm_memory_slot *slot, struct inode *inode,
			 pgoff_t index, kvm_pfn_t pfn)
{
	void *entry = gmem_prepared_block(slot, inode, index);

	if (!entry || pfn != gmem_entry_pfn(entry) + index % KVM_GMEM_BLOCK_PAGES)
		return 0;

	return KVM_GMEM_BLOCK_ORDER;
}

int kvm_gmem_populate_order(struct inode *inode, pgoff_t index, gfn_t gfn, kvm_pfn_t pfn,
			    long npages)
{
	struct gmem_blocks *b = gmem_blocks(inode->i_mapping);
	struct folio *folio;
	void *entry;
	int i;

	entry = b ? xa_load(&b->blocks, gmem_nr(index)) : NULL;
	if (!entry || pfn != gmem_entry_pfn(entry) + index % KVM_GMEM_BLOCK_PAGES)
		return 0;

	npages = min_t(long, npages, KVM_GMEM_BLOCK_PAGES - index % KVM_GMEM_BLOCK_PAGES);
	for (i = 1; i < npages; i++) {
		folio = page_folio(pfn_to_page(pfn + i));
		if (folio_test_hwpoison(folio) || folio_test_uptodate(folio))
			break;
	}

	return gfn ? min_t(int, ilog2(i), __ffs(gfn)) : ilog2(i);
}

int kvm_gmem_mark_populated(kvm_pfn_t pfn, int order, int ret)
{
	int i, nr = ret ? max(ret, 0) : BIT(order);

	for (i = 0; i < nr; i++)
		folio_mark_uptodate(page_folio(pfn_to_page(pfn + i)));

	return max(ret, 0);
}

/*
 * Call @fn with the first PFN of the prepared block that backs the 2M from @gfn on, which is
 * aligned to that and in @slot, if there is such a block.  It does not lose a page
 * meanwhile, nor is any of it prepared.  The caller keeps the slot from going away.
 */
void kvm_gmem_with_block(struct kvm_memory_slot *slot, gfn_t gfn,
			 void (*fn)(kvm_pfn_t pfn, void *data), void *data)
{
	pgoff_t index = gfn - slot->base_gfn + slot->gmem.pgoff;
	struct gmem_blocks *b;
	struct inode *inode;
	struct file *file;
	void *entry;

	file = get_file_active(&slot->gmem.file);
	if (!file)
		return;

	inode = file_inode(file);
	b = gmem_blocks(inode->i_mapping);
	if (b) {
		filemap_invalidate_lock_shared(inode->i_mapping);
		mutex_lock(gmem_lock(b, index));
		entry = gmem_prepared_block(slot, inode, index);
		if (entry)
			fn(gmem_entry_pfn(entry), data);
		mutex_unlock(gmem_lock(b, index));
		filemap_invalidate_unlock_shared(inode->i_mapping);
	}

	fput(file);
}

/* All of a block at once, while it still is one: page by page costs a smash. */
static void gmem_take_back(const void *entry)
{
#ifdef CONFIG_HAVE_KVM_ARCH_GMEM_RECLAIM
	if (gmem_entry_is_prepared(entry))
		kvm_arch_gmem_reclaim(gmem_entry_pfn(entry), KVM_GMEM_BLOCK_PAGES);
#endif
}

void kvm_gmem_forget_blocks(struct address_space *mapping, pgoff_t start,
			    pgoff_t end, bool freed)
{
	struct gmem_blocks *b = gmem_blocks(mapping);
	unsigned long nr;
	void *entry;

	if (!b || start >= end)
		return;

	xa_for_each_range(&b->blocks, nr, entry, gmem_nr(start), gmem_nr(end - 1)) {
		pgoff_t first = nr << KVM_GMEM_BLOCK_ORDER;

		if (freed && first >= start && first + KVM_GMEM_BLOCK_PAGES <= end)
			gmem_take_back(entry);
		xa_erase(&b->blocks, nr);
		cond_resched();
	}
}
