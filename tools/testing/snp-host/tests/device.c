// SPDX-License-Identifier: GPL-2.0
/* /dev/snp_host_test, see snp_test_dev.h */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/tracepoint.h>
#include <linux/uaccess.h>
#include <asm/trap_pf.h>

#include "snp_test.h"
#include "snp_test_dev.h"

struct assigned_page {
	struct list_head list;
	struct page *page;	/* pinned */
};

/* One open file. */
struct client {
	struct mutex lock;	/* for the list */
	struct list_head pages;
};

static struct assigned_page *find_page(struct client *c, const struct page *page)
{
	struct assigned_page *p;

	list_for_each_entry(p, &c->pages, list) {
		if (p->page == page)
			return p;
	}
	return NULL;
}

static int page_assign(struct client *c, const struct snp_test_page *arg)
{
	struct assigned_page *p;
	int ret;

	p = kmalloc(sizeof(*p), GFP_KERNEL);
	if (!p)
		return -ENOMEM;
	ret = pin_user_pages_fast(arg->addr, 1, FOLL_WRITE | FOLL_LONGTERM, &p->page);
	if (ret != 1) {
		kfree(p);
		return ret < 0 ? ret : -EFAULT;
	}
	if (arg->raw)
		ret = raw_private(page_to_pfn(p->page), 0, RMP_PG_SIZE_4K) ? -EIO : 0;
	else
		ret = rmp_make_private(page_to_pfn(p->page), 0, PG_LEVEL_4K, TEST_ASID, false);
	if (ret) {
		unpin_user_page(p->page);
		kfree(p);
		return ret;
	}
	list_add(&p->list, &c->pages);
	return 0;
}

/* A page that cannot be shared again stays pinned for ever. */
static int page_share(struct assigned_page *p)
{
	int ret = raw_shared(page_to_pfn(p->page), RMP_PG_SIZE_4K) ? -EIO : 0;

	if (!ret)
		unpin_user_page(p->page);
	list_del(&p->list);
	kfree(p);
	return ret;
}

static int page_share_by_addr(struct client *c, const struct snp_test_page *arg)
{
	struct assigned_page *p;
	struct page *page;
	int ret;

	/* Not to be written, which an assigned page cannot. */
	ret = get_user_pages_fast(arg->addr, 1, 0, &page);
	if (ret != 1)
		return ret < 0 ? ret : -EFAULT;
	p = find_page(c, page);
	put_page(page);
	return p ? page_share(p) : -ENOENT;
}

static u64 count_assigned(void)
{
	u64 pfn, nr = 0;

	for (pfn = 0; pfn < rmp_table_pfns(); pfn++) {
		nr += rmp_word(pfn) & 1;
		if (!(pfn % SZ_64K))
			cond_resched();
	}
	return nr;
}

/* Faults of user mode */

static DEFINE_SPINLOCK(watch_lock);
static struct snp_test_faults watched;
static pid_t watched_tgid;
static struct tracepoint *user_fault_tracepoint;

static void user_fault_probe(void *data, unsigned long address, struct pt_regs *regs,
			     unsigned long error_code)
{
	if (!(error_code & X86_PF_RMP) || current->tgid != READ_ONCE(watched_tgid))
		return;
	spin_lock(&watch_lock);
	if ((address ^ watched.addr) < PAGE_SIZE) {
		watched.count++;
		watched.error_code = error_code;
	}
	spin_unlock(&watch_lock);
}

static void watch(u64 addr)
{
	spin_lock(&watch_lock);
	watched = (struct snp_test_faults){ .addr = addr & PAGE_MASK };
	WRITE_ONCE(watched_tgid, current->tgid);
	spin_unlock(&watch_lock);
}

static struct snp_test_faults faults(void)
{
	struct snp_test_faults f;

	spin_lock(&watch_lock);
	f = watched;
	spin_unlock(&watch_lock);
	return f;
}

/* The file */

static int device_open(struct inode *inode, struct file *file)
{
	struct client *c = kzalloc(sizeof(*c), GFP_KERNEL);

	if (!c)
		return -ENOMEM;
	mutex_init(&c->lock);
	INIT_LIST_HEAD(&c->pages);
	file->private_data = c;
	return 0;
}

static int device_release(struct inode *inode, struct file *file)
{
	struct client *c = file->private_data;
	struct assigned_page *p, *next;

	list_for_each_entry_safe(p, next, &c->pages, list)
		page_share(p);
	kfree(c);
	return 0;
}

static long ioctl_page(struct client *c, unsigned int cmd, void __user *user)
{
	struct snp_test_page page;
	long ret;

	if (copy_from_user(&page, user, sizeof(page)))
		return -EFAULT;
	mutex_lock(&c->lock);
	if (cmd == SNP_TEST_ASSIGN)
		ret = page_assign(c, &page);
	else
		ret = page_share_by_addr(c, &page);
	mutex_unlock(&c->lock);
	return ret;
}

static long ioctl_counter(u64 __user *user)
{
	u64 nr;

	if (get_user(nr, user))
		return -EFAULT;
	if (nr > CNT_PSP_REFUSED)
		return -EINVAL;
	return put_user(counter(nr), user);
}

static long ioctl_watch(unsigned int cmd, void __user *user)
{
	struct snp_test_faults f;

	if (cmd == SNP_TEST_WATCH) {
		if (copy_from_user(&f, user, sizeof(f)))
			return -EFAULT;
		watch(f.addr);
		return 0;
	}
	f = faults();
	return copy_to_user(user, &f, sizeof(f)) ? -EFAULT : 0;
}

static long device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *user = (void __user *)arg;

	switch (cmd) {
	case SNP_TEST_ASSIGN:
	case SNP_TEST_SHARE:
		return ioctl_page(file->private_data, cmd, user);
	case SNP_TEST_COUNTER:
		return ioctl_counter(user);
	case SNP_TEST_ASSIGNED:
		return put_user(count_assigned(), (u64 __user *)user);
	case SNP_TEST_WATCH:
	case SNP_TEST_FAULTS:
		return ioctl_watch(cmd, user);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations device_fops = {
	.owner = THIS_MODULE,
	.open = device_open,
	.release = device_release,
	.unlocked_ioctl = device_ioctl,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "snp_host_test",
	.fops = &device_fops,
};

static void find_user_fault_tracepoint(struct tracepoint *tp, void *data)
{
	if (!strcmp(tp->name, "page_fault_user"))
		user_fault_tracepoint = tp;
}

int device_init(void)
{
	int err;

	if (!rmp_table_base())
		return -ENODEV;
	for_each_kernel_tracepoint(find_user_fault_tracepoint, NULL);
	if (!user_fault_tracepoint)
		return -ENOENT;
	err = tracepoint_probe_register(user_fault_tracepoint, user_fault_probe, NULL);
	if (err)
		return err;
	err = misc_register(&device);
	if (err)
		tracepoint_probe_unregister(user_fault_tracepoint, user_fault_probe, NULL);
	return err;
}

void device_exit(void)
{
	misc_deregister(&device);
	tracepoint_probe_unregister(user_fault_tracepoint, user_fault_probe, NULL);
	tracepoint_synchronize_unregister();
}
