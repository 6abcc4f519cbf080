// SPDX-License-Identifier: GPL-2.0
/* See guest_vm.h */
#include <asm/fpu/api.h>
#include <asm/fpu/xcr.h>
#include <asm/pkru.h>

#include "guest_vm.h"

/* Guest-physical memory: pages of the guest's block, and of the tests' own */
#define CODE		0x1000ull
#define PML4		0x2000ull
#define PDPT		0x3000ull
#define PD		0x4000ull
#define PT		0x5000ull	/* of ALIAS */
#define NR_PAGES	6	/* with page 0, which is not used */
#define MAILBOX		0xf000ull

/* In the page of the code */
#define CODE_GDT	0x400
#define CODE_IDT	0x800
#define CODE_STACK	0x1000

#define CODE_SELECTOR	0x10
#define VECTOR_VC	29

static u64 c_bit(void)
{
	return BIT_ULL(cpuid_ebx(0x8000001f) & 0x3f);
}

char *guest_page(struct guest_vm *s, u64 gpa)
{
	return s->g.memory->va + gpa;
}

/* The block at its own address as private memory, and as shared memory behind it. */
static void fill_page_tables(struct guest_vm *s)
{
	u64 *pd = (u64 *)guest_page(s, PD);
	u64 c = c_bit();
	u64 i;

	*(u64 *)guest_page(s, PML4) = PDPT | c | _KERNPG_TABLE;
	*(u64 *)guest_page(s, PDPT) = PD | c | _KERNPG_TABLE;
	for (i = 0; i < 2; i++) {
		pd[i] = (i * SZ_2M) | c | __PAGE_KERNEL_LARGE_EXEC;
		pd[i + 2] = (i * SZ_2M) | __PAGE_KERNEL_LARGE_EXEC;
	}
	pd[pmd_index(ALIAS)] = PT | c | _KERNPG_TABLE;
	*((u64 *)guest_page(s, PT) + pte_index(ALIAS)) = GUEST_BLOCK | c |
		__PAGE_KERNEL_EXEC;
}

static void fill_code_page(struct guest_vm *s)
{
	char *page = guest_page(s, CODE);
	u64 *gdt = (u64 *)(page + CODE_GDT), *idt = (u64 *)(page + CODE_IDT);

	memcpy(page, guest_code, guest_code_end - guest_code);
	gdt[CODE_SELECTOR / 8] = 0x00af9b000000ffffull;
	/* An interrupt gate, below 64 KiB. */
	idt[2 * VECTOR_VC] = (CODE + (guest_code_vc - guest_code)) | CODE_SELECTOR << 16 |
			     0x8e00ull << 32;
}

static void fill_vmsa(struct guest_vm *s, int which)
{
	struct sev_es_save_area *vmsa;
	struct vmcb_seg data = { .attrib = 0xc93, .limit = ~0u };

	vmsa = (void *)guest_page(s, PFN_PHYS(VMSA_PAGE + which));
	vmsa->cs = (struct vmcb_seg){ .selector = CODE_SELECTOR, .attrib = 0xa9b,
				      .limit = ~0u };
	vmsa->ss = data;
	vmsa->ds = data;
	vmsa->es = data;
	vmsa->gdtr = (struct vmcb_seg){ .base = CODE + CODE_GDT, .limit = 0x1f };
	vmsa->idtr = (struct vmcb_seg){ .base = CODE + CODE_IDT, .limit = 0x1ff };
	vmsa->vmpl = which == VMSA_VMPL1;
	vmsa->efer = EFER_SVME | EFER_LME | EFER_LMA;
	vmsa->cr0 = X86_CR0_PG | X86_CR0_PE | X86_CR0_ET | X86_CR0_NE;
	vmsa->cr3 = PML4 | c_bit();
	vmsa->cr4 = X86_CR4_PAE;
	vmsa->dr6 = 0xffff0ff0;
	vmsa->dr7 = 0x400;
	vmsa->rflags = X86_EFLAGS_FIXED;
	vmsa->rip = CODE;
	vmsa->rsp = CODE + CODE_STACK;
	vmsa->rbx = SHARED(MAILBOX);
	vmsa->sev_features = which == VMSA_NO_SNP ? 0 : SVM_SEV_FEAT_SNP_ACTIVE;
	vmsa->xcr0 = XFEATURE_MASK_FP;
	vmsa->mxcsr = MXCSR_DEFAULT;
	vmsa->x87_fcw = 0x37f;
}

static bool launch_page(struct guest_vm *s, int page, int type)
{
	u64 pfn = s->g.memory->pfn + page;

	svm_map_page(PFN_PHYS(page), pfn);
	return raw_pre_guest(pfn, PFN_PHYS(page), RMP_PG_SIZE_4K, TEST_ASID) == RMP_OK &&
	       !launch_update_vmpl1(s->g.gctx->pfn, pfn, type, VMPL_ALL);
}

static bool launch_pages(struct guest_vm *s)
{
	int i;

	memset(s->g.memory->va, 0, SZ_64K);
	fill_page_tables(s);
	fill_code_page(s);
	for (i = 0; i < NR_VMSA; i++)
		fill_vmsa(s, i);
	for (i = 0; i < NR_PAGES; i++) {
		if (!launch_page(s, i, SNP_PAGE_TYPE_NORMAL))
			return false;
	}
	for (i = 0; i < NR_VMSA; i++) {
		if (!launch_page(s, VMSA_PAGE + i, SNP_PAGE_TYPE_VMSA))
			return false;
	}
	return !launch_finish(s->g.gctx->pfn);
}

/*
 * VMRUN of an SNP guest.  The processor loads what it does not restore by itself from
 * the save area in the form of a VMSA (APM 2, 15.35.8); the general registers are
 * kept on the stack instead, and the FPU is kernel_fpu_begin()'s.
 */
static noinline void vmrun_sev_es(void)
{
	struct sev_es_save_area *host = vm.hsave + offsetof(struct vmcb, save);

	u64 hsave_pa = __pa(vm.hsave), vmcb_pa = __pa(vm.vmcb);

	host->xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK);
	host->pkru = read_pkru();
	asm volatile("	push %%rbp\n"
		     "	push %%rbx\n"
		     "	push %%r12\n"
		     "	push %%r13\n"
		     "	push %%r14\n"
		     "	push %%r15\n"
		     "	mov %[hsave], %%rax\n"
		     "	vmsave %%rax\n"
		     "	mov %[vmcb], %%rax\n"
		     "	clgi\n"
		     "	vmrun %%rax\n"
		     "	stgi\n"
		     "	pop %%r15\n"
		     "	pop %%r14\n"
		     "	pop %%r13\n"
		     "	pop %%r12\n"
		     "	pop %%rbx\n"
		     "	pop %%rbp\n"
		     : [hsave] "+c" (hsave_pa), [vmcb] "+d" (vmcb_pa)
		     :
		     : "rax", "rsi", "rdi", "r8", "r9", "r10", "r11",
		       "memory", "cc");
}

u64 guest_run(struct guest_vm *s)
{
	struct vmcb_control_area *c = &vm.vmcb->control;
	unsigned long flags;
	u64 vmsa = s->vmsa_pfn ?: s->g.memory->pfn + VMSA_PAGE + s->vmpl;

	svm_init_vmcb(s->asid, TLB_CONTROL_FLUSH_ALL_ASID);
	c->misc_ctl |= SVM_MISC_ENABLE_SEV | SVM_MISC_ENABLE_SEV_ES;
	c->vmsa_pa = PFN_PHYS(vmsa);
	kernel_fpu_begin();
	svm_on(&flags);
	vmrun_sev_es();
	svm_off(flags);
	kernel_fpu_end();
	return c->exit_code;
}

bool guest_vm_init(struct test *t, struct guest_vm *s)
{
	*s = (struct guest_vm){ .asid = TEST_ASID };
	if (!guest_launching(t, &s->g))
		return false;
	s->data = block_alloc(t, PG_LEVEL_2M);
	s->mailbox = (void *)get_zeroed_page(GFP_KERNEL);
	if (!s->data || !s->mailbox)
		return false;
	memset(s->data->va, 0, SZ_2M);
	svm_map_page(MAILBOX, PHYS_PFN(__pa(s->mailbox)));
	svm_map_small(s->data);
	return EXPECT(t, launch_pages(s));
}

void guest_vm_exit(struct test *t, struct guest_vm *s)
{
	guest_exit(t, &s->g);
	free_page((unsigned long)s->mailbox);
}

u64 guest_command(struct guest_vm *s, u64 op, u64 rax, u64 rcx, u64 rdx)
{
	*s->mailbox = (struct guest_mailbox){ op, rax, rcx, rdx };
	return guest_run(s);
}
