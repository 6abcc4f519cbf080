/* SPDX-License-Identifier: GPL-2.0 */
/*
 * VMRUN, and nested page tables for it that are made here: guest-physical memory has
 * 2 MiB of single pages, and then one block.  KVM must not be loaded.
 */
#ifndef VMCB_H
#define VMCB_H

#include <linux/bitops.h>
#include <linux/mm.h>
#include <asm/svm.h>

#include "snp_test.h"

/* In the guest's physical address space */
#define GUEST_BLOCK	SZ_2M		/* a block, by 4K or by 2M */

/* Exit information of a nested page fault (APM 2, 15.25.6 and 15.36.10) */
#define NPF_PRESENT	BIT_ULL(0)
#define NPF_WRITE	(NPF_PRESENT | BIT_ULL(1) | BIT_ULL(2))
#define NPF_READ	(NPF_PRESENT | BIT_ULL(2))
#define NPF_RMP		BIT_ULL(31)
#define NPF_FINAL	BIT_ULL(32)
#define NPF_ENC		BIT_ULL(34)
#define NPF_SIZEM	BIT_ULL(35)
#define NPF_VMPL	BIT_ULL(36)

struct svm {
	struct vmcb *vmcb;
	void *hsave;		/* the host's save area */
	u64 *pml4, *pdpt, *pd, *pt_low, *pt_block;
	u64 efer, hsave_before;
};

/* There is one, for the CPU that the test runs on. */
extern struct svm vm;

int svm_setup(void);
int svm_teardown(void);

/* Map a page of guest-physical memory below GUEST_BLOCK. */
void svm_map_page(u64 gpa, u64 pfn);
/* Map the block, in one of the two ways. */
void svm_map_large(const struct block *b);
void svm_map_small(const struct block *b);

static inline u64 block_gpa(int page)
{
	return GUEST_BLOCK + PFN_PHYS(page);
}

/* An empty VMCB that asks for nested paging and intercepts HLT and shutdown. */
void svm_init_vmcb(u32 asid, u8 tlb_control);

/* Virtualisation is on between these, with interrupts off. */
void svm_on(unsigned long *flags);
void svm_off(unsigned long flags);

#endif /* VMCB_H */
