// SPDX-License-Identifier: GPL-2.0
/*
 * RMP checks that come with a guest, with as little of a guest as there can be:
 * one instruction that reads or writes, without paging of its own, on nested page
 * tables that are made here.  It is no SEV guest: what it may not write is what its
 * host may not, and it takes a nested page fault instead (APM 2, 15.36.10).  KVM
 * must not be loaded.
 */
#include <asm/trapnr.h>

#include "vmcb.h"

#define GPA		0x200000ull

#define GUEST_CODE	0x1000ull

#define SEGMENT_CODE	0xc9b	/* flat, 32 bits, readable */
#define SEGMENT_DATA	0xc93

static u8 *code_page;

static const u8 guest_write[] = { 0xc6, 0x00, 0x01, 0xf4 };	/* movb $1, (%eax); hlt */
static const u8 guest_read[] = { 0x8a, 0x08, 0xf4 };		/* movb (%eax), %cl; hlt */

static int vmrun_teardown(void)
{
	free_page((unsigned long)code_page);
	return svm_teardown();
}

static int vmrun_setup(void)
{
	int err = svm_setup();

	if (err)
		return err;
	code_page = (u8 *)get_zeroed_page(GFP_KERNEL);
	if (!code_page) {
		svm_teardown();
		return -ENOMEM;
	}
	svm_map_page(GUEST_CODE, PHYS_PFN(__pa(code_page)));
	return 0;
}

static void set_segment(struct vmcb_seg *seg, u16 attrib)
{
	seg->selector = 0x10;
	seg->attrib = attrib;
	seg->limit = 0xffffffff;
	seg->base = 0;
}

/* In protected mode, at the code, with the address in EAX. */
static void vmcb_init(u64 gpa, u8 tlb_control)
{
	struct vmcb_save_area *s = &vm.vmcb->save;

	svm_init_vmcb(1, tlb_control);
	set_segment(&s->cs, SEGMENT_CODE);
	set_segment(&s->ds, SEGMENT_DATA);
	set_segment(&s->es, SEGMENT_DATA);
	set_segment(&s->ss, SEGMENT_DATA);
	s->efer = EFER_SVME;
	s->cr0 = X86_CR0_PE | X86_CR0_ET;
	s->dr6 = 0xffff0ff0;
	s->dr7 = 0x400;
	s->rflags = X86_EFLAGS_FIXED;
	s->rip = GUEST_CODE;
	s->rax = gpa;
}

/* VMRUN, with interrupts off; the trap number if it raises an exception. */
static int vmrun_raw(u64 vmcb_pa)
{
	int trap = 0;

	/*
	 * Of the host's registers, the guest changes none but CL, and the processor
	 * saves and loads what there is of the others that VMRUN changes.
	 */
	asm volatile("	clgi\n"
		     "1:	vmrun %%rax\n"
		     "	jmp 3f\n"
		     "2:	mov %%eax, %[trap]\n"
		     "3:	stgi\n"
		     _ASM_EXTABLE_FAULT(1b, 2b)
		     : [trap] "+r" (trap), "+a" (vmcb_pa)
		     :
		     : "rcx", "memory", "cc");
	return trap;
}

/* One run; the exit code, or the trap number of VMRUN, negative. */
static s64 vmrun_once(const u8 *code, size_t size, u64 gpa, u8 tlb_control)
{
	int trap;

	memcpy(code_page, code, size);
	vmcb_init(gpa, tlb_control);
	trap = vmrun_raw(__pa(vm.vmcb));
	return trap ? -trap : vm.vmcb->control.exit_code;
}

/* The same on this CPU, which is to do nothing else meanwhile. */
static s64 guest_access(const u8 *code, size_t size, u64 gpa, u8 tlb_control)
{
	unsigned long flags;
	s64 exit;

	svm_on(&flags);
	exit = vmrun_once(code, size, gpa, tlb_control);
	svm_off(flags);
	return exit;
}

#define GUEST_WRITE(gpa)							\
	guest_access(guest_write, sizeof(guest_write), gpa, TLB_CONTROL_FLUSH_ALL_ASID)
#define GUEST_READ(gpa)								\
	guest_access(guest_read, sizeof(guest_read), gpa, TLB_CONTROL_FLUSH_ALL_ASID)

static void expect_write_fault(struct test *t, u64 gpa)
{
	u64 faults = counter(CNT_NESTED_FAULT);

	EXPECT_EQ(t, GUEST_WRITE(gpa), SVM_EXIT_NPF);
	EXPECT_EQ(t, vm.vmcb->control.exit_info_1, NPF_WRITE | NPF_RMP | NPF_FINAL);
	EXPECT_EQ(t, vm.vmcb->control.exit_info_2, gpa);
	EXPECT_EQ(t, vm.vmcb->save.rip, GUEST_CODE);
	EXPECT_EQ(t, counter(CNT_NESTED_FAULT) - faults, 1);
}

static void shared_memory(struct test *t)
{
	u64 faults = counter(CNT_NESTED_FAULT);
	struct block *b = block_alloc(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	*block_page(b, 5) = 0;
	svm_map_small(b);
	EXPECT_EQ(t, GUEST_WRITE(block_gpa(5)), SVM_EXIT_HLT);
	EXPECT_EQ(t, *block_page(b, 5), 1);
	svm_map_large(b);
	EXPECT_EQ(t, GUEST_WRITE(block_gpa(6)), SVM_EXIT_HLT);
	EXPECT_EQ(t, GUEST_READ(block_gpa(6)), SVM_EXIT_HLT);
	EXPECT_EQ(t, counter(CNT_NESTED_FAULT) - faults, 0);
}

static void write_to_assigned_4k(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	svm_map_small(b);
	EXPECT_EQ(t, raw_private(b->pfn + 5, GPA, RMP_PG_SIZE_4K), RMP_OK);
	expect_write_fault(t, block_gpa(5));
	EXPECT_EQ(t, GUEST_READ(block_gpa(5)), SVM_EXIT_HLT);
	EXPECT_EQ(t, GUEST_WRITE(block_gpa(6)), SVM_EXIT_HLT);
	EXPECT_EQ(t, raw_shared(b->pfn + 5, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, GUEST_WRITE(block_gpa(5)), SVM_EXIT_HLT);
}

/* The size rule: a 2M nested mapping must not have an assigned page in it. */
static void write_beside_assigned_by_2m(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	svm_map_large(b);
	EXPECT_EQ(t, raw_private(b->pfn + 5, GPA, RMP_PG_SIZE_4K), RMP_OK);
	expect_write_fault(t, block_gpa(6));
	expect_write_fault(t, block_gpa(511));
	EXPECT_EQ(t, GUEST_READ(block_gpa(6)), SVM_EXIT_HLT);
	EXPECT_EQ(t, raw_shared(b->pfn + 5, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, GUEST_WRITE(block_gpa(6)), SVM_EXIT_HLT);
}

static void write_to_assigned_2m(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, raw_private(b->pfn, GPA, RMP_PG_SIZE_2M), RMP_OK);
	svm_map_large(b);
	expect_write_fault(t, block_gpa(9));
	svm_map_small(b);
	expect_write_fault(t, block_gpa(9));
	EXPECT_EQ(t, GUEST_READ(block_gpa(9)), SVM_EXIT_HLT);
	EXPECT_EQ(t, raw_shared(b->pfn, RMP_PG_SIZE_2M), RMP_OK);
	EXPECT_EQ(t, GUEST_WRITE(block_gpa(9)), SVM_EXIT_HLT);
}

/* VMRUN with @vmcb, in a page of a block. */
static int vmrun_with(struct vmcb *vmcb, u64 *exit_code)
{
	unsigned long flags;
	int trap;

	svm_on(&flags);
	trap = vmrun_raw(__pa(vmcb));
	svm_off(flags);
	*exit_code = vmcb->control.exit_code;
	return trap;
}

/*
 * VMRUN and #VMEXIT write to the VMCB, so it must be the hypervisor's (15.36.12).  KVM
 * takes care where it is: snp_safe_alloc_page().
 */
static void vmcb_must_be_shared(struct test *t)
{
	u64 refused = counter(CNT_VMRUN_REFUSED);
	struct block *b = block_alloc(t, PG_LEVEL_2M);
	struct vmcb *vmcb;
	u64 exit;

	if (!EXPECT(t, b))
		return;
	vmcb = (struct vmcb *)block_page(b, 5);
	memcpy(code_page, guest_write, sizeof(guest_write));
	svm_map_small(b);
	vmcb_init(block_gpa(6), TLB_CONTROL_FLUSH_ALL_ASID);
	memcpy(vmcb, vm.vmcb, sizeof(*vmcb));
	*block_page(b, 6) = 0;

	EXPECT_EQ(t, rmp_make_private(b->pfn + 5, GPA, PG_LEVEL_4K, TEST_ASID, false), 0);
	EXPECT_EQ(t, vmrun_with(vmcb, &exit), X86_TRAP_GP);
	EXPECT_EQ(t, *block_page(b, 6), 0);
	EXPECT_EQ(t, counter(CNT_VMRUN_REFUSED) - refused, 1);

	EXPECT_EQ(t, rmp_make_shared(b->pfn + 5, PG_LEVEL_4K), 0);
	EXPECT_EQ(t, vmrun_with(vmcb, &exit), 0);
	EXPECT_EQ(t, exit, SVM_EXIT_HLT);
	EXPECT_EQ(t, *block_page(b, 6), 1);
	EXPECT_EQ(t, counter(CNT_VMRUN_REFUSED) - refused, 1);
}

/* And to the area where it saves the host's state. */
static void hsave_must_be_shared(struct test *t)
{
	u64 refused = counter(CNT_VMRUN_REFUSED);
	struct block *b = block_alloc(t, PG_LEVEL_2M);
	void *hsave = vm.hsave;
	u64 exit;

	if (!EXPECT(t, b))
		return;
	memcpy(code_page, guest_read, sizeof(guest_read));
	svm_map_small(b);
	vmcb_init(block_gpa(6), TLB_CONTROL_FLUSH_ALL_ASID);
	vm.hsave = block_page(b, 5);
	EXPECT_EQ(t, rmp_make_private(b->pfn + 5, GPA, PG_LEVEL_4K, TEST_ASID, false), 0);
	EXPECT_EQ(t, vmrun_with(vm.vmcb, &exit), X86_TRAP_GP);
	EXPECT_EQ(t, counter(CNT_VMRUN_REFUSED) - refused, 1);
	EXPECT_EQ(t, rmp_make_shared(b->pfn + 5, PG_LEVEL_4K), 0);
	EXPECT_EQ(t, vmrun_with(vm.vmcb, &exit), 0);
	EXPECT_EQ(t, exit, SVM_EXIT_HLT);
	vm.hsave = hsave;
}

static int vmsave_to(u64 pa)
{
	unsigned long flags;
	int trap = 0;

	svm_on(&flags);
	asm volatile("1:	vmsave %%rax\n"
		     "	jmp 3f\n"
		     "2:	mov %%eax, %[trap]\n"
		     "3:\n"
		     _ASM_EXTABLE_FAULT(1b, 2b)
		     : [trap] "+r" (trap), "+a" (pa)
		     :
		     : "memory");
	svm_off(flags);
	return trap;
}

static void vmsave_must_be_to_shared(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, raw_private(b->pfn + 5, GPA, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, vmsave_to(PFN_PHYS(b->pfn + 5)), X86_TRAP_GP);
	EXPECT_EQ(t, raw_shared(b->pfn + 5, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, vmsave_to(PFN_PHYS(b->pfn + 5)), 0);
}

/*
 * With snp-strict=on, nested translations stay as well, until VMRUN flushes them
 * with TLB_CONTROL (APM 2, 15.16), or another ASID has others.
 */
static void nested_split(struct test *t, u8 tlb_control, bool stale)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);
	unsigned long flags;
	s64 warm, exit;
	int ret;

	if (!EXPECT(t, b))
		return;
	svm_map_large(b);
	svm_on(&flags);
	warm = vmrun_once(guest_write, sizeof(guest_write), block_gpa(6),
			  TLB_CONTROL_FLUSH_ALL_ASID);
	svm_map_small(b);
	ret = raw_private(b->pfn + 5, GPA, RMP_PG_SIZE_4K);
	exit = vmrun_once(guest_write, sizeof(guest_write), block_gpa(6), tlb_control);
	svm_off(flags);

	EXPECT_EQ(t, warm, SVM_EXIT_HLT);
	EXPECT_EQ(t, ret, RMP_OK);
	EXPECT_EQ(t, exit, stale ? SVM_EXIT_NPF : SVM_EXIT_HLT);
	if (stale)
		EXPECT_EQ(t, vm.vmcb->control.exit_info_1, NPF_WRITE | NPF_RMP | NPF_FINAL);
	EXPECT_EQ(t, GUEST_WRITE(block_gpa(6)), SVM_EXIT_HLT);
}

static void nested_no_flush_is_caught(struct test *t)
{
	nested_split(t, TLB_CONTROL_DO_NOTHING, true);
}

static void nested_flush_all(struct test *t)
{
	nested_split(t, TLB_CONTROL_FLUSH_ALL_ASID, false);
}

static void nested_flush_asid(struct test *t)
{
	nested_split(t, TLB_CONTROL_FLUSH_ASID, false);
}

static const struct test_case cases[] = {
	TEST_CASE(shared_memory),
	TEST_CASE(write_to_assigned_4k),
	TEST_CASE(write_beside_assigned_by_2m),
	TEST_CASE(write_to_assigned_2m),
	TEST_CASE(vmcb_must_be_shared),
	TEST_CASE(hsave_must_be_shared),
	TEST_CASE(vmsave_must_be_to_shared),
};

TEST_GROUP(vmrun, cases, .needs_snp = true, .setup = vmrun_setup,
	   .teardown = vmrun_teardown);

static const struct test_case strict_cases[] = {
	TEST_CASE(nested_no_flush_is_caught),
	TEST_CASE(nested_flush_all),
	TEST_CASE(nested_flush_asid),
};

TEST_GROUP(vmrun_strict, strict_cases, .needs_snp = true, .setup = vmrun_setup,
	   .teardown = vmrun_teardown);
