// SPDX-License-Identifier: GPL-2.0
/* See vmcb.h */
#include <asm/msr.h>

#include "vmcb.h"

#define NPT_TABLE	(_PAGE_PRESENT | _PAGE_RW | _PAGE_USER | _PAGE_ACCESSED)
#define NPT_LARGE	(NPT_TABLE | _PAGE_DIRTY | _PAGE_PSE)
#define NPT_SMALL	(NPT_TABLE | _PAGE_DIRTY)

struct svm vm;

static void *new_page(void)
{
	return (void *)get_zeroed_page(GFP_KERNEL);
}

int svm_teardown(void)
{
	void *pages[] = {
		vm.vmcb, vm.hsave, vm.pml4, vm.pdpt, vm.pd, vm.pt_low, vm.pt_block,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(pages); i++)
		free_page((unsigned long)pages[i]);
	return 0;
}

int svm_setup(void)
{
	if (!boot_cpu_has(X86_FEATURE_SVM))
		return -ENODEV;
	vm.vmcb = new_page();
	vm.hsave = new_page();
	vm.pml4 = new_page();
	vm.pdpt = new_page();
	vm.pd = new_page();
	vm.pt_low = new_page();
	vm.pt_block = new_page();
	if (!vm.vmcb || !vm.hsave || !vm.pml4 || !vm.pdpt || !vm.pd || !vm.pt_low ||
	    !vm.pt_block) {
		svm_teardown();
		return -ENOMEM;
	}
	vm.pml4[0] = __pa(vm.pdpt) | NPT_TABLE;
	vm.pdpt[0] = __pa(vm.pd) | NPT_TABLE;
	vm.pd[0] = __pa(vm.pt_low) | NPT_TABLE;
	return 0;
}

void svm_map_page(u64 gpa, u64 pfn)
{
	WRITE_ONCE(vm.pt_low[gpa >> PAGE_SHIFT], PFN_PHYS(pfn) | NPT_SMALL);
}

void svm_map_large(const struct block *b)
{
	WRITE_ONCE(vm.pd[1], PFN_PHYS(b->pfn) | NPT_LARGE);
}

void svm_map_small(const struct block *b)
{
	int i;

	for (i = 0; i < BLOCK_PAGES; i++)
		vm.pt_block[i] = PFN_PHYS(b->pfn + i) | NPT_SMALL;
	WRITE_ONCE(vm.pd[1], __pa(vm.pt_block) | NPT_TABLE);
}

void svm_init_vmcb(u32 asid, u8 tlb_control)
{
	struct vmcb_control_area *c = &vm.vmcb->control;

	memset(vm.vmcb, 0, sizeof(*vm.vmcb));
	set_bit(INTERCEPT_HLT, (unsigned long *)&c->intercepts);
	set_bit(INTERCEPT_VMRUN, (unsigned long *)&c->intercepts);
	set_bit(INTERCEPT_SHUTDOWN, (unsigned long *)&c->intercepts);
	c->asid = asid;
	c->tlb_ctl = tlb_control;
	/* Interrupts are the host's, which has them off. */
	c->int_ctl = V_INTR_MASKING_MASK;
	c->misc_ctl = SVM_MISC_ENABLE_NP;
	c->nested_cr3 = __pa(vm.pml4);
}

void svm_on(unsigned long *flags)
{
	local_irq_save(*flags);
	rdmsrq(MSR_EFER, vm.efer);
	rdmsrq(MSR_VM_HSAVE_PA, vm.hsave_before);
	wrmsrq(MSR_EFER, vm.efer | EFER_SVME);
	wrmsrq(MSR_VM_HSAVE_PA, __pa(vm.hsave));
}

void svm_off(unsigned long flags)
{
	wrmsrq(MSR_VM_HSAVE_PA, vm.hsave_before);
	wrmsrq(MSR_EFER, vm.efer);
	local_irq_restore(flags);
}
