// SPDX-License-Identifier: GPL-2.0
/* See directmap.h */
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/mman.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "directmap.h"

#ifdef SNP_TEST_DIRECTMAP

#define FILE_SIZE	SZ_16K

/* By way of the memory of who loads the module: files of debugfs can be read to that alone. */
static ssize_t read_to_user(struct file *file, char *buf)
{
	unsigned long user = vm_mmap(NULL, 0, FILE_SIZE, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, 0);
	loff_t pos = 0;
	ssize_t len;

	if (IS_ERR_VALUE(user))
		return user;
	len = file->f_op->read(file, (char __user *)user, FILE_SIZE - 1, &pos);
	if (len > 0 && copy_from_user(buf, (char __user *)user, len))
		len = -EFAULT;
	vm_munmap(user, FILE_SIZE);
	return len;
}

/* A file of lines, as a string. */
static char *read_text(const char *path)
{
	char *buf = kmalloc(FILE_SIZE, GFP_KERNEL);
	ssize_t len, done = 0;
	struct file *file;
	loff_t pos = 0;

	file = filp_open(path, O_RDONLY, 0);
	if (!buf || IS_ERR(file))
		goto fail;
	if (file->f_op->read) {
		done = read_to_user(file, buf);
	} else {
		do {
			len = kernel_read(file, buf + done, FILE_SIZE - 1 - done, &pos);
			if (len > 0)
				done += len;
		} while (len > 0);
	}
	filp_close(file, NULL);
	if (done <= 0)
		goto fail;
	buf[done] = 0;
	return buf;

fail:
	kfree(buf);
	return NULL;
}

/* The number after @name at the start of a line, with spaces or a colon between. */
static bool find_number(const char *text, const char *name, u64 *value)
{
	size_t len = strlen(name);

	while (text) {
		if (!strncmp(text, name, len) && strchr(": \t", text[len]))
			return sscanf(text + len + strspn(text + len, ": \t"), "%llu", value) == 1;
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return false;
}

struct number {
	const char *name;
	u64 *value;
};

static bool read_numbers(struct test *t, const char *path, const struct number *numbers, int nr)
{
	char *text = read_text(path);
	bool ok = true;
	int i;

	if (!text) {
		test_fail(t, __LINE__, "%s cannot be read", path);
		return false;
	}
	for (i = 0; i < nr; i++) {
		if (!find_number(text, numbers[i].name, numbers[i].value)) {
			test_fail(t, __LINE__, "%s has no %s", path, numbers[i].name);
			ok = false;
		}
	}
	kfree(text);
	return ok;
}

bool dm_counts_now(struct test *t, struct dm_counts *now)
{
	const struct number counters[] = {
		{ "skipped_4k", &now->skipped_4k },
		{ "skipped_2m", &now->skipped_2m },
		{ "split_2m", &now->split_2m },
		{ "split_1g", &now->split_1g },
		{ "split_failed", &now->split_failed },
		{ "flushes", &now->flushes },
		{ "restored_2m", &now->restored_2m },
		{ "restored_1g", &now->restored_1g },
		{ "kept_private", &now->kept_private },
		{ "kept_mixed", &now->kept_mixed },
	};
	const struct number vmstat[] = {
		{ "direct_map_level2_splits", &now->splits_2m },
		{ "direct_map_level3_splits", &now->splits_1g },
		{ "direct_map_level2_collapses", &now->collapses_2m },
		{ "direct_map_level3_collapses", &now->collapses_1g },
	};
	const struct number meminfo[] = {
		{ "DirectMap4k", &now->kb_4k },
		{ "DirectMap2M", &now->kb_2m },
		{ "DirectMap1G", &now->kb_1g },
	};

	memset(now, 0, sizeof(*now));
	return read_numbers(t, "/sys/kernel/debug/x86/snp_directmap", counters,
			    ARRAY_SIZE(counters)) &&
	       read_numbers(t, "/proc/vmstat", vmstat, ARRAY_SIZE(vmstat)) &&
	       read_numbers(t, "/proc/meminfo", meminfo, ARRAY_SIZE(meminfo));
}

#define KB_OF_2M	(SZ_2M / SZ_1K)
#define KB_OF_1G	(SZ_1G / SZ_1K)

struct delta {
	const char *name;
	u64 before, now;
	s64 want;
};

static bool expect_delta(struct test *t, int line, const struct delta *d)
{
	s64 have = d->now - d->before;

	if (have == d->want)
		return true;
	test_fail(t, line, "%s has changed by %lld, want %lld", d->name, have, d->want);
	return false;
}

static bool expect_change(struct test *t, int line, const struct dm_counts *before,
			  const struct dm_counts *now, const struct dm_change *want)
{
	s64 more_2m = (s64)want->restored_2m - want->split_2m;
	s64 more_1g = (s64)want->restored_1g - want->split_1g;
	const struct delta deltas[] = {
		{ "split_2m", before->split_2m, now->split_2m, want->split_2m },
		{ "split_1g", before->split_1g, now->split_1g, want->split_1g },
		{ "restored_2m", before->restored_2m, now->restored_2m, want->restored_2m },
		{ "restored_1g", before->restored_1g, now->restored_1g, want->restored_1g },
		{ "vmstat's 2M splits", before->splits_2m, now->splits_2m, want->split_2m },
		{ "vmstat's 1G splits", before->splits_1g, now->splits_1g, want->split_1g },
		{ "vmstat's 2M collapses", before->collapses_2m, now->collapses_2m,
		  want->restored_2m },
		{ "vmstat's 1G collapses", before->collapses_1g, now->collapses_1g,
		  want->restored_1g },
		{ "DirectMap4k", before->kb_4k, now->kb_4k, -more_2m * KB_OF_2M },
		{ "DirectMap2M", before->kb_2m, now->kb_2m,
		  more_2m * KB_OF_2M - more_1g * KB_OF_1G },
		{ "DirectMap1G", before->kb_1g, now->kb_1g, more_1g * KB_OF_1G },
	};
	bool ok = true;
	int i;

	for (i = 0; i < ARRAY_SIZE(deltas); i++)
		ok &= expect_delta(t, line, &deltas[i]);
	return ok;
}

bool dm_expect_change(struct test *t, int line, const struct dm_counts *before,
		      const struct dm_change *want)
{
	struct dm_counts now;

	return dm_counts_now(t, &now) && expect_change(t, line, before, &now, want);
}

bool dm_wait_level(const void *va, enum pg_level level, int ms)
{
	unsigned long end = jiffies + msecs_to_jiffies(ms);

	while (map_level(va) != level) {
		if (time_after(jiffies, end))
			return false;
		msleep(20);
	}
	return true;
}

#define ATTRIBUTES	(_PAGE_PRESENT | _PAGE_RW | _PAGE_USER | _PAGE_PWT | _PAGE_PCD | \
			 _PAGE_GLOBAL | _PAGE_NX | _PAGE_ENC)

/* What does not depend on the size of the page; large ones of another PAT entry fail. */
static u64 attributes_of(pte_t pte, unsigned int level)
{
	u64 pat = level == PG_LEVEL_4K ? _PAGE_PAT : _PAGE_PAT_LARGE;

	return (pte_val(pte) & ATTRIBUTES) | (pte_val(pte) & pat ? _PAGE_PAT : 0);
}

u64 dm_attributes(const void *va)
{
	unsigned int level;
	pte_t *pte = lookup_address((unsigned long)va, &level);

	return pte ? attributes_of(READ_ONCE(*pte), level) : 0;
}

/* A table that is replaced meanwhile is freed when nobody can be here any more. */
static u64 mapped_paddr(const void *va, u64 *attributes)
{
	unsigned long flags;
	unsigned int level;
	u64 paddr = ~0ull;
	pte_t *ptep, pte;

	local_irq_save(flags);
	ptep = lookup_address((unsigned long)va, &level);
	if (ptep) {
		pte = READ_ONCE(*ptep);
		*attributes = attributes_of(pte, level);
		if (level == PG_LEVEL_4K)
			paddr = pte_val(pte) & PTE_PFN_MASK;
		else if (level == PG_LEVEL_2M)
			paddr = pte_val(pte) & PHYSICAL_PMD_PAGE_MASK;
		else
			paddr = pte_val(pte) & PHYSICAL_PUD_PAGE_MASK;
		paddr |= (unsigned long)va & ~page_level_mask(level);
	}
	local_irq_restore(flags);
	return paddr;
}

bool dm_is_sound(const void *va, u64 attributes)
{
	u64 have = 0;
	int i;

	for (i = 0; i < BLOCK_PAGES; i++, va += PAGE_SIZE) {
		if (mapped_paddr(va, &have) != __pa(va) || have != attributes)
			return false;
	}
	return true;
}

bool dm_set_restore(struct test *t, bool on)
{
	struct file *file;
	loff_t pos = 0;
	ssize_t len;

	file = filp_open("/sys/module/kernel/parameters/snp_directmap_restore", O_WRONLY, 0);
	if (IS_ERR(file)) {
		test_fail(t, __LINE__, "no parameter, error %ld", PTR_ERR(file));
		return false;
	}
	len = kernel_write(file, on ? "Y" : "N", 1, &pos);
	filp_close(file, NULL);
	return EXPECT(t, len == 1);
}

#endif /* SNP_TEST_DIRECTMAP */
