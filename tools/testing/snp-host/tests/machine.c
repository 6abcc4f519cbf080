// SPDX-License-Identifier: GPL-2.0
/*
 * Access to the machine under test: memory, faults, instructions, the RMP in
 * memory, counters.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cc_platform.h>
#include <linux/io.h>
#include <linux/kprobes.h>
#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/tracepoint.h>
#include <asm/msr.h>
#include <asm/special_insns.h>

#include "snp_test.h"

/* Memory */

int map_level(const void *va)
{
	unsigned int level;
	pte_t *pte = lookup_address((unsigned long)va, &level);

	return pte && pte_present(*pte) ? level : PG_LEVEL_NONE;
}

/* All of a machine of a few GiB, if it must be. */
#define MAX_TRIES	3000

/* Pages of the wrong kind are kept until the right one is found. */
static struct page *find_page(enum pg_level level)
{
	struct page *page, *tmp;
	LIST_HEAD(rejected);
	int i;

	for (i = 0; i < MAX_TRIES; i++) {
		page = alloc_pages(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN, PMD_ORDER);
		if (!page || map_level(page_address(page)) == level)
			break;
		list_add(&page->lru, &rejected);
		page = NULL;
	}

	while (!list_empty(&rejected)) {
		tmp = list_first_entry(&rejected, struct page, lru);
		list_del(&tmp->lru);
		__free_pages(tmp, PMD_ORDER);
	}
	return page;
}

struct block *block_alloc(struct test *t, enum pg_level level)
{
	struct block *b = kzalloc(sizeof(*b), GFP_KERNEL);

	if (!b)
		goto fail;
	b->page = find_page(level);
	if (!b->page)
		goto fail;
	b->va = page_address(b->page);
	b->pfn = page_to_pfn(b->page);
	list_add(&b->list, &t->blocks);
	return b;

fail:
	kfree(b);
	test_fail(t, __LINE__, "no memory that the direct map maps at level %d", level);
	return NULL;
}

static bool make_shared_again(const struct block *b)
{
	int i, ret = RMP_OK;

	if (!rmp_table_base())
		return true;
	if (rmp_word(b->pfn) & RMP_WORD_HUGE)
		return raw_shared(b->pfn, RMP_PG_SIZE_2M) == RMP_OK;
	for (i = 0; i < BLOCK_PAGES && ret == RMP_OK; i++) {
		if (rmp_word(b->pfn + i))
			ret = raw_shared(b->pfn + i, RMP_PG_SIZE_4K);
	}
	return ret == RMP_OK;
}

void blocks_free(struct test *t)
{
	struct block *b, *next;

	list_for_each_entry_safe(b, next, &t->blocks, list) {
		if (make_shared_again(b))
			__free_pages(b->page, PMD_ORDER);
		kfree(b);
	}
}

bool split_prepare(struct test *t, struct split *s)
{
	unsigned int level;
	pgprot_t prot;
	int i;

	s->b = block_alloc(t, PG_LEVEL_2M);
	s->tables = block_alloc(t, PG_LEVEL_2M);
	if (!s->b || !s->tables)
		return false;
	s->table = (pte_t *)s->tables->va;
	s->pmdp = (pmd_t *)lookup_address((unsigned long)s->b->va, &level);
	s->large = *s->pmdp;
	prot = pgprot_large_2_4k(__pgprot(pmd_val(s->large) & ~PHYSICAL_PMD_PAGE_MASK &
					  ~_PAGE_PSE));
	for (i = 0; i < BLOCK_PAGES; i++)
		set_pte(&s->table[i], pfn_pte(s->b->pfn + i, prot));
	return true;
}

/* Nobody else uses the block, so no lock is taken. */
void split_do(struct split *s)
{
	set_pmd(s->pmdp, __pmd(__pa(s->table) | _KERNPG_TABLE));
}

void split_undo(struct split *s)
{
	set_pmd(s->pmdp, s->large);
	on_each_cpu(flush_everywhere, NULL, 1);
}

void flush_everywhere(void *unused)
{
	unsigned long cr4 = __read_cr4();

	/* Whenever PGE changes, global pages included (APM 2, 5.5.3) */
	asm volatile("mov %0, %%cr4" : : "r" (cr4 ^ X86_CR4_PGE) : "memory");
	asm volatile("mov %0, %%cr4" : : "r" (cr4) : "memory");
}

void *kernel_symbol(const char *name)
{
	struct kprobe kp = { .symbol_name = name };
	void *addr;

	if (register_kprobe(&kp) < 0)
		return NULL;
	addr = kp.addr;
	unregister_kprobe(&kp);
	return addr;
}

/* Faults */

static DEFINE_PER_CPU(u64, last_error_code);
static struct tracepoint *fault_tracepoint;

/* The kernel's own fault handler is what tells the error code. */
static void fault_probe(void *data, unsigned long address, struct pt_regs *regs,
			unsigned long error_code)
{
	this_cpu_write(last_error_code, error_code);
}

static void find_fault_tracepoint(struct tracepoint *tp, void *data)
{
	if (!strcmp(tp->name, "page_fault_kernel"))
		fault_tracepoint = tp;
}

/* Of an instruction with the address in %1, without being moved to another CPU. */
#define FAULT_OF(insn, va)						\
	({								\
		u64 _code = 0;						\
		int _trap = 0;						\
									\
		preempt_disable();					\
		asm volatile("1:	" insn "\n"			\
			     "2:\n"					\
			     _ASM_EXTABLE_FAULT(1b, 2b)			\
			     : "+a" (_trap)				\
			     : "r" (va)					\
			     : "rcx", "memory");			\
		if (_trap)						\
			_code = this_cpu_read(last_error_code);		\
		preempt_enable();					\
		_code;							\
	})

u64 fault_of_write(void *va)
{
	return FAULT_OF("lock orb $0, (%1)", va);
}

u64 fault_of_read(void *va)
{
	return FAULT_OF("mov (%1), %%rcx", va);
}

u64 fault_of_write32(void *va)
{
	return FAULT_OF("movl $0, (%1)", va);
}

/* Instructions.  What they raise instead of a result is a trap number + RMP_FAULTED. */

#define RMP_INSN(bytes, ret, ...)					\
	do {								\
		int _trap = 0;						\
									\
		asm volatile("1:	.byte " bytes "\n"		\
			     "	jmp 3f\n"				\
			     "2:	mov %%eax, %[trap]\n"		\
			     "3:\n"					\
			     _ASM_EXTABLE_FAULT(1b, 2b)			\
			     : "=a" (ret), [trap] "+r" (_trap)		\
			     : __VA_ARGS__				\
			     : "memory", "cc");				\
		if (_trap)						\
			ret = RMP_FAULTED + _trap;			\
	} while (0)

int rmpupdate_raw(u64 paddr, const struct rmp_state *state)
{
	int ret;

	RMP_INSN("0xf2, 0x0f, 0x01, 0xfe", ret, "0" (paddr), "c" (state));
	return ret;
}

int psmash_raw(u64 paddr)
{
	int ret;

	RMP_INSN("0xf3, 0x0f, 0x01, 0xff", ret, "0" (paddr));
	return ret;
}

int rmpread_raw(u64 paddr, struct rmp_read *entry)
{
	int ret;

	RMP_INSN("0xf2, 0x0f, 0x01, 0xfd", ret, "0" (paddr), "c" (entry));
	return ret;
}

int pvalidate_raw(u64 va, u32 size, u32 validate)
{
	int ret;

	RMP_INSN("0xf2, 0x0f, 0x01, 0xff", ret, "0" (va), "c" (size), "d" (validate));
	return ret;
}

int raw_private(u64 pfn, u64 gpa, int size)
{
	struct rmp_state state = {
		.gpa = gpa,
		.assigned = 1,
		.pagesize = size,
		.asid = TEST_ASID,
	};

	return rmpupdate_raw(PFN_PHYS(pfn), &state);
}

int raw_shared(u64 pfn, int size)
{
	struct rmp_state state = { .pagesize = size };

	return rmpupdate_raw(PFN_PHYS(pfn), &state);
}

int raw_firmware(u64 pfn, int size)
{
	struct rmp_state state = { .assigned = 1, .pagesize = size, .immutable = 1 };

	return rmpupdate_raw(PFN_PHYS(pfn), &state);
}

int raw_pre_guest(u64 pfn, u64 gpa, int size, u32 asid)
{
	struct rmp_state state = {
		.gpa = gpa,
		.assigned = 1,
		.pagesize = size,
		.immutable = 1,
		.asid = asid,
	};

	return rmpupdate_raw(PFN_PHYS(pfn), &state);
}

/* The RMP */

/* Before the entries is an area that the processor keeps for itself. */
#define RMP_BOOKKEEPING		0x4000

static u64 rmp_base, rmp_size;
static const struct rmp_entry *rmp_entries;

u64 rmp_table_base(void)
{
	return rmp_base;
}

u64 rmp_table_size(void)
{
	return rmp_size;
}

u64 rmp_table_pfns(void)
{
	return (rmp_size - RMP_BOOKKEEPING) / sizeof(struct rmp_entry);
}

static int rmp_table_map(void)
{
	void *table;
	u64 end;

	if (!cc_platform_has(CC_ATTR_HOST_SEV_SNP))
		return 0;
	rdmsrq(MSR_AMD64_RMP_BASE, rmp_base);
	rdmsrq(MSR_AMD64_RMP_END, end);
	rmp_size = end + 1 - rmp_base;
	table = memremap(rmp_base, rmp_size, MEMREMAP_WB);
	if (!table)
		return -ENOMEM;
	rmp_entries = table + RMP_BOOKKEEPING;
	return 0;
}

struct rmp_entry rmp_entry(u64 pfn)
{
	return rmp_entries[pfn];
}

u64 rmp_word(u64 pfn)
{
	return READ_ONCE(*(const u64 *)&rmp_entries[pfn]);
}

/* Devices */

#define PSP_DEVICE		0x14ca
#define COUNTERS_BAR		4

static struct pci_dev *psp;
static void __iomem *counters;

struct pci_dev *psp_device(void)
{
	return psp;
}

u64 counter(enum snp_counter which)
{
	return counters ? readq(counters + which * sizeof(u64)) : 0;
}

static int devices_find(void)
{
	int err;

	psp = pci_get_device(PCI_VENDOR_ID_AMD, PSP_DEVICE, NULL);
	if (!psp)
		return 0;
	err = pci_enable_device(psp);
	if (err)
		return err;
	if (pci_resource_len(psp, COUNTERS_BAR))
		counters = pci_iomap(psp, COUNTERS_BAR, 0);
	return 0;
}

int machine_init(void)
{
	int err;

	for_each_kernel_tracepoint(find_fault_tracepoint, NULL);
	if (!fault_tracepoint)
		return -ENOENT;
	err = rmp_table_map() ?: devices_find();
	if (err)
		return err;
	return tracepoint_probe_register(fault_tracepoint, fault_probe, NULL);
}

void machine_exit(void)
{
	tracepoint_probe_unregister(fault_tracepoint, fault_probe, NULL);
	/* No probe may be running when the module goes. */
	tracepoint_synchronize_unregister();
	if (counters)
		pci_iounmap(psp, counters);
	if (psp) {
		pci_disable_device(psp);
		pci_dev_put(psp);
	}
	if (rmp_entries)
		memunmap((void *)rmp_entries - RMP_BOOKKEEPING);
}
