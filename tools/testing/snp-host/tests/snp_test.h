/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of the emulated SNP host share: memory to test on, accesses
 * that may fault, the instructions, RMP entries as they lie in memory, and the
 * counters of the emulator.
 *
 * Sources that the tests name: "APM" is AMD's Architecture Programmer's Manual,
 * by volume and section, "ABI" the SEV Secure Nested Paging Firmware ABI
 * Specification, by command.
 */
#ifndef SNP_TEST_H
#define SNP_TEST_H

#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/types.h>
#include <asm/asm.h>
#include <asm/microcode.h>	/* and cpuid(), which has a header of its own in mainline */
#include <asm/pgtable.h>
#include <asm/sev.h>

/* Results */

struct test {
	const char *name;
	bool failed;
	struct list_head blocks;
};

struct test_case {
	const char *name;
	void (*run)(struct test *t);
};

#define TEST_CASE(fn)	{ .name = #fn, .run = fn }

struct test_group {
	const char *name;
	const struct test_case *cases;
	int nr;
	bool needs_snp;		/* enabled by the kernel */
	int (*setup)(void);	/* may be NULL */
	int (*teardown)(void);	/* may be NULL */
};

#define TEST_GROUP(_name, _cases, ...)					\
	const struct test_group _name ## _group = {			\
		.name = #_name,						\
		.cases = _cases,					\
		.nr = ARRAY_SIZE(_cases),				\
		__VA_ARGS__						\
	}

extern const struct test_group boot_group;
extern const struct test_group edge_group;
extern const struct test_group no_rmp_group;
extern const struct test_group rmp_group;
extern const struct test_group write_group;
extern const struct test_group strict_group;
extern const struct test_group stress_group;
extern const struct test_group dma_group;
extern const struct test_group vmrun_group;
extern const struct test_group vmrun_strict_group;
extern const struct test_group psp_group;
extern const struct test_group launch_group;
extern const struct test_group unsmash_group;
extern const struct test_group guest_group;
extern const struct test_group stock_group;
extern const struct test_group directmap_perf_group;
/* Of a kernel that splits the direct map in batches and puts it back */
#ifdef SNP_TEST_DIRECTMAP
extern const struct test_group directmap_group;
extern const struct test_group directmap_churn_group;
extern const struct test_group directmap_fault_group;
extern const struct test_group directmap_presplit_group;
extern const struct test_group directmap_left_group;
#endif

void __printf(3, 4) test_fail(struct test *t, int line, const char *fmt, ...);

/* Whether it is so, for tests of which the rest is of no use otherwise. */
#define EXPECT(t, cond)							\
	({								\
		bool _ok = (cond);					\
									\
		if (!_ok)						\
			test_fail(t, __LINE__, "%s", #cond);		\
		_ok;							\
	})

#define EXPECT_EQ(t, expr, want)					\
	do {								\
		u64 _got = (expr), _want = (want);			\
									\
		if (_got != _want)					\
			test_fail(t, __LINE__, "%s is 0x%llx, want 0x%llx",	\
				  #expr, _got, _want);			\
	} while (0)

/* Memory */

#define BLOCK_PAGES	PTRS_PER_PMD

/*
 * 2 MiB of memory, naturally aligned, that nobody else uses.  At the end of the
 * test it is given back; what of it cannot be made shared again is leaked.
 */
struct block {
	struct list_head list;
	struct page *page;
	u64 pfn;
	char *va;		/* in the direct map */
};

/* A block that the direct map maps at @level; NULL, and the test failed, if none. */
struct block *block_alloc(struct test *t, enum pg_level level);
void blocks_free(struct test *t);

static inline char *block_page(const struct block *b, int i)
{
	return b->va + (i << PAGE_SHIFT);
}

/* A 2M mapping of a block, and the page table that stands in for it. */
struct split {
	struct block *b;
	struct block *tables;	/* where the table is */
	pmd_t *pmdp;
	pmd_t large;
	pte_t *table;
};

bool split_prepare(struct test *t, struct split *s);
void split_do(struct split *s);
/* Back to the large page, with everything shared. */
void split_undo(struct split *s);
/* For on_each_cpu(): all that there is in the TLB. */
void flush_everywhere(void *unused);

/* The level at which the kernel maps @va now. */
int map_level(const void *va);

/* An unexported function of the kernel, or NULL. */
void *kernel_symbol(const char *name);

/* Accesses that may fault */

/* Of the kernel, through a present mapping, with the RMP bit (APM 2, 15.36.10) */
#define RMP_WRITE_FAULT		0x80000003ul
#define RMP_READ_FAULT		0x80000001ul

/* The error code of the page fault that the access took, 0 without one. */
u64 fault_of_write(void *va);
u64 fault_of_read(void *va);
/* Of four bytes, at any address. */
u64 fault_of_write32(void *va);

/* The same from a section with interrupts off: the fault alone is told. */
static inline bool write_traps(void *va)
{
	int trap = 0;

	asm volatile("1:	lock orb $0, (%1)\n"
		     "2:\n"
		     _ASM_EXTABLE_FAULT(1b, 2b)
		     : "+a" (trap)
		     : "r" (va)
		     : "memory");
	return trap;
}

/* Instructions (APM 3); no helper of the kernel's is in between. */

#define RMP_OK			0
#define RMP_FAIL_INPUT		1
#define RMP_FAIL_PERMISSION	2
#define RMP_FAIL_INUSE		3
#define RMP_FAIL_OVERLAP	4
#define RMP_FAULTED		256	/* an exception instead of a result */

/* The layout that RMPREAD fills in. */
struct rmp_read {
	u64 gpa;
	u8 assigned;
	u8 pagesize;		/* bit 0 */
	u8 immutable;
	u8 reserved;
	u32 asid;
} __packed;

int rmpupdate_raw(u64 paddr, const struct rmp_state *state);
int psmash_raw(u64 paddr);
int rmpread_raw(u64 paddr, struct rmp_read *entry);
int pvalidate_raw(u64 va, u32 size, u32 validate);

#define TEST_ASID	7

/* @gpa is that of the page frame, in bytes; @size is RMP_PG_SIZE_*. */
int raw_private(u64 pfn, u64 gpa, int size);
int raw_shared(u64 pfn, int size);
/* Assigned to the firmware, which alone can give it back. */
int raw_firmware(u64 pfn, int size);
/* Assigned to the guest, for the firmware to fill. */
int raw_pre_guest(u64 pfn, u64 gpa, int size, u32 asid);

/* RMP entries as they lie in memory (PPR of family 19h, "RMP Entry Format") */

struct rmp_entry {
	u64 assigned	: 1,
	    huge	: 1,
	    immutable	: 1,
	    reserved1	: 9,
	    gpa		: 39,
	    asid	: 10,
	    vmsa	: 1,
	    validated	: 1,
	    reserved2	: 1;
	u64 high;
} __packed;

/* From the MSRs; zero without SNP. */
u64 rmp_table_base(void);
u64 rmp_table_size(void);
u64 rmp_table_pfns(void);

struct rmp_entry rmp_entry(u64 pfn);
/* Its first word, to be compared with. */
u64 rmp_word(u64 pfn);

#define RMP_WORD_SHARED		0ull
#define RMP_WORD_FIRMWARE	(BIT_ULL(0) | BIT_ULL(2))
#define RMP_WORD_RECLAIM	BIT_ULL(0)
#define RMP_WORD_HUGE		BIT_ULL(1)
#define RMP_WORD_IMMUTABLE	BIT_ULL(2)
#define RMP_WORD_VMSA		BIT_ULL(61)
#define RMP_WORD_VALIDATED	BIT_ULL(62)
#define RMP_WORD_PRIVATE(gpa, asid)	(BIT_ULL(0) | (gpa) | (u64)(asid) << 51)

/* The emulator's counters, in the order of its page. */

enum snp_counter {
	CNT_MAGIC,
	CNT_RMPUPDATE,
	CNT_RMPUPDATE_REFUSED,
	CNT_PSMASH,
	CNT_PSMASH_REFUSED,
	CNT_PVALIDATE,
	CNT_RMPADJUST,
	CNT_HOST_FAULT,
	CNT_NESTED_FAULT,
	CNT_NOT_VALIDATED,
	CNT_DMA_REFUSED,
	CNT_VMRUN_REFUSED,
	CNT_FLUSH,
	CNT_STALE,
	CNT_PSP_COMMAND,
	CNT_PSP_REFUSED,
};

#define CNT_MAGIC_VALUE		0x3154534f48504e53ull	/* "SNPHOST1" */

u64 counter(enum snp_counter which);

/* The PSP, a PCI function; NULL if there is none. */
struct pci_dev *psp_device(void);

/* Before the first test, and after the last one. */
int machine_init(void);
void machine_exit(void);

/* /dev/snp_host_test, for the user programs */
int device_init(void);
void device_exit(void);

#endif /* SNP_TEST_H */
