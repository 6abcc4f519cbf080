// SPDX-License-Identifier: GPL-2.0
/*
 * The RMP's rules for the private memory of an SNP guest, which a hypervisor cannot
 * break by way of KVM: pages of another guest, of another address, of another size, not
 * validated (APM 2, 15.36.10); PVALIDATE and RMPADJUST in all cases (APM 3); VMPLs
 * (15.36.7); the VMSA (15.36.12).
 *
 * The guest maps the block twice, as private and as shared memory.  An access that
 * faults is tried again by the next VMRUN.
 */
#include "guest_vm.h"

#define EXPECT_DONE(t, s, exit, want)						\
	do {									\
		EXPECT_EQ(t, exit, SVM_EXIT_HLT);				\
		EXPECT_EQ(t, (s)->mailbox->result, want);			\
	} while (0)

#define guest_read(s, va)		guest_command(s, GUEST_READ, va, 0, 0)
#define guest_write(s, va)		guest_command(s, GUEST_WRITE, va, 1, 0)
#define guest_pvalidate(s, va, size)	guest_command(s, GUEST_PVALIDATE, va, size, 1)
#define guest_rmpadjust(s, va, rdx)	guest_command(s, GUEST_RMPADJUST, va, 0, rdx)

/* The access of the last command has made a nested page fault, and does so again. */
static void expect_npf(struct test *t, struct guest_vm *s, u64 exit, u64 gpa, u64 info)
{
	struct vmcb_control_area *c = &vm.vmcb->control;
	u64 faults = counter(CNT_NESTED_FAULT);

	EXPECT_EQ(t, exit, SVM_EXIT_NPF);
	EXPECT_EQ(t, c->exit_info_1, info);
	EXPECT_EQ(t, c->exit_info_2, gpa);
	EXPECT_EQ(t, guest_run(s), SVM_EXIT_NPF);
	EXPECT_EQ(t, c->exit_info_1, info);
	EXPECT_EQ(t, counter(CNT_NESTED_FAULT) - faults, !!(info & NPF_RMP));
}

#define NPF_PRIVATE	(NPF_RMP | NPF_FINAL | NPF_ENC)

/* The page at index 5 of the block is what most tests are about. */
#define PAGE		5
#define VA		block_gpa(PAGE)

/* @gpa and @asid as they ought to be, or others. */
static int assign(struct guest_vm *s, int page, u64 gpa, u32 asid)
{
	struct rmp_state state = { .gpa = gpa, .assigned = 1, .asid = asid };

	return rmpupdate_raw(PFN_PHYS(s->data->pfn + page), &state);
}

static bool validate(struct guest_vm *s, u64 va, int size)
{
	return guest_pvalidate(s, va, size) == SVM_EXIT_HLT && !s->mailbox->result;
}

static bool assign_valid(struct guest_vm *s, int page)
{
	return assign(s, page, block_gpa(page), TEST_ASID) == RMP_OK &&
	       validate(s, block_gpa(page), RMP_PG_SIZE_4K);
}

static void private_4k(struct test *t)
{
	struct guest_vm s;

	if (!EXPECT(t, guest_vm_init(t, &s)))
		return;
	EXPECT(t, assign_valid(&s, PAGE));
	EXPECT_EQ(t, rmp_word(s.data->pfn + PAGE),
		  RMP_WORD_PRIVATE(VA, TEST_ASID) | RMP_WORD_VALIDATED);
	EXPECT_EQ(t, guest_write(&s, VA), SVM_EXIT_HLT);
	EXPECT_DONE(t, &s, guest_read(&s, VA), 1);
	guest_vm_exit(t, &s);
}

/* What private accesses must not find, and the same page when it is right. */
static void wrong_page(struct test *t, u64 gpa, u32 asid)
{
	struct guest_vm s;

	if (!EXPECT(t, guest_vm_init(t, &s)))
		return;
	EXPECT_EQ(t, assign(&s, PAGE, gpa, asid), RMP_OK);
	expect_npf(t, &s, guest_read(&s, VA), VA, NPF_READ | NPF_PRIVATE);
	EXPECT_EQ(t, assign(&s, PAGE, VA, TEST_ASID), RMP_OK);
	/* It is the guest's now, and the access comes through: to #VC. */
	EXPECT_DONE(t, &s, guest_run(&s), VC_NOT_VALIDATED);
	guest_vm_exit(t, &s);
}

static void other_asid(struct test *t)
{
	wrong_page(t, VA, TEST_ASID + 1);
}

static void other_gpa(struct test *t)
{
	wrong_page(t, VA + SZ_4K, TEST_ASID);
}

static void not_assigned(struct test *t)
{
	struct guest_vm s;

	if (!EXPECT(t, guest_vm_init(t, &s)))
		return;
	expect_npf(t, &s, guest_write(&s, VA), VA, NPF_WRITE | NPF_PRIVATE);
	EXPECT_EQ(t, *block_page(s.data, PAGE), 0);
	EXPECT_EQ(t, assign(&s, PAGE, VA, TEST_ASID), RMP_OK);
	EXPECT_DONE(t, &s, guest_run(&s), VC_NOT_VALIDATED);
	guest_vm_exit(t, &s);
}

/* The firmware's at the moment, though the guest's. */
static void immutable(struct test *t)
{
	struct guest_vm s;
	u64 pfn;

	if (!EXPECT(t, guest_vm_init(t, &s)))
		return;
	pfn = s.data->pfn + PAGE;
	EXPECT(t, assign_valid(&s, PAGE));
	EXPECT_EQ(t, raw_pre_guest(pfn, VA, RMP_PG_SIZE_4K, TEST_ASID), RMP_OK);
	expect_npf(t, &s, guest_read(&s, VA), VA, NPF_READ | NPF_PRIVATE);
	EXPECT_EQ(t, page_reclaim(pfn, RMP_PG_SIZE_4K), SEV_RET_SUCCESS);
	EXPECT_DONE(t, &s, guest_run(&s), 0);
	guest_vm_exit(t, &s);
}

/* Each access of one that is not validated is #VC. */
static void not_validated(struct test *t)
{
	u64 faults = counter(CNT_NOT_VALIDATED);
	struct guest_vm s;

	if (!EXPECT(t, guest_vm_init(t, &s)))
		return;
	EXPECT_EQ(t, assign(&s, PAGE, VA, TEST_ASID), RMP_OK);
	EXPECT_DONE(t, &s, guest_read(&s, VA), VC_NOT_VALIDATED);
	EXPECT_DONE(t, &s, guest_write(&s, VA), VC_NOT_VALIDATED);
	EXPECT_EQ(t, counter(CNT_NOT_VALIDATED) - faults, 2);
	EXPECT_DONE(t, &s, guest_pvalidate(&s, VA, 0), 0);
	EXPECT_DONE(t, &s, guest_read(&s, VA), 0);
	guest_vm_exit(t, &s);
}

/* RMPUPDATE makes a page another one, which nobody has validated (APM 2, 15.36.6). */
static void validation_is_lost(struct test *t)
{
	struct guest_vm s;
	u64 pfn;

	if (!EXPECT(t, guest_vm_init(t, &s)))
		return;
	pfn = s.data->pfn + PAGE;
	EXPECT(t, assign_valid(&s, PAGE));
	EXPECT_EQ(t, assign(&s, PAGE, VA, TEST_ASID + 1), RMP_OK);
	EXPECT_EQ(t, rmp_word(pfn), RMP_WORD_PRIVATE(VA, TEST_ASID + 1));
	EXPECT(t, assign_valid(&s, PAGE));
	EXPECT_EQ(t, assign(&s, PAGE, VA + SZ_4K, TEST_ASID), RMP_OK);
	EXPECT_EQ(t, rmp_word(pfn), RMP_WORD_PRIVATE(VA + SZ_4K, TEST_ASID));
	EXPECT(t, assign_valid(&s, PAGE));
	EXPECT_EQ(t, raw_shared(pfn, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, rmp_word(pfn), RMP_WORD_SHARED);
	EXPECT_EQ(t, assign(&s, PAGE, VA, TEST_ASID), RMP_OK);
	EXPECT_DONE(t, &s, guest_read(&s, VA), VC_NOT_VALIDATED);
	guest_vm_exit(t, &s);
}

/* The nested page and the RMP entry must be of one size. */
static void size_4k_in_rmp(struct test *t)
{
	struct guest_vm s;
	int i;

	if (!EXPECT(t, guest_vm_init(t, &s)))
		return;
	for (i = 0; i < BLOCK_PAGES; i++) {
		if (!EXPECT(t, assign_valid(&s, i)))
			return;
	}
	EXPECT_DONE(t, &s, guest_read(&s, VA), 0);
	svm_map_large(s.data);
	expect_npf(t, &s, guest_read(&s, VA), VA, NPF_READ | NPF_PRIVATE);
	svm_map_small(s.data);
	EXPECT_DONE(t, &s, guest_run(&s), 0);
	guest_vm_exit(t, &s);
}

static bool assign_valid_2m(struct guest_vm *s)
{
	svm_map_large(s->data);
	return raw_private(s->data->pfn, GUEST_BLOCK, RMP_PG_SIZE_2M) == RMP_OK &&
	       validate(s, GUEST_BLOCK, RMP_PG_SIZE_2M);
}

static void size_2m_in_rmp(struct test *t)
{
	struct guest_vm s;

	if (!EXPECT(t, guest_vm_init(t, &s)))
		return;
	EXPECT(t, assign_valid_2m(&s));
	EXPECT_EQ(t, rmp_word(s.data->pfn), RMP_WORD_PRIVATE(GUEST_BLOCK, TEST_ASID) |
					    RMP_WORD_HUGE | RMP_WORD_VALIDATED);
	EXPECT_DONE(t, &s, guest_read(&s, VA), 0);
	svm_map_small(s.data);
	expect_npf(t, &s, guest_read(&s, VA), VA, NPF_READ | NPF_PRIVATE);
	/* The hypervisor's answer: see sev_handle_rmp_fault() */
	EXPECT_EQ(t, psmash_raw(PFN_PHYS(s.data->pfn)), RMP_OK);
	EXPECT_DONE(t, &s, guest_run(&s), 0);
	guest_vm_exit(t, &s);
}

/* Shared accesses of the guest's are like those of its host. */
static void shared_access(struct test *t)
{
	struct guest_vm s;

	if (!EXPECT(t, guest_vm_init(t, &s)))
		return;
	EXPECT_EQ(t, guest_write(&s, SHARED(VA)), SVM_EXIT_HLT);
	EXPECT_EQ(t, *block_page(s.data, PAGE), 1);
	EXPECT(t, assign_valid(&s, PAGE));
	EXPECT_DONE(t, &s, guest_read(&s, SHARED(VA)), 1);
	EXPECT_EQ(t, guest_write(&s, SHARED(VA + SZ_4K)), SVM_EXIT_HLT);
	expect_npf(t, &s, guest_write(&s, SHARED(VA)), VA, NPF_WRITE | NPF_RMP | NPF_FINAL);
	EXPECT_EQ(t, raw_shared(s.data->pfn + PAGE, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, guest_run(&s), SVM_EXIT_HLT);
	guest_vm_exit(t, &s);
}

/* PVALIDATE (APM 3).  The carry flag says that nothing has changed. */

#define PVALIDATE_FAIL_INPUT		1
#define PVALIDATE_FAIL_PERMISSION	2
#define PVALIDATE_FAIL_SIZEMISMATCH	6

static void pvalidate_carry(struct test *t)
{
	struct guest_vm s;

	if (!EXPECT(t, guest_vm_init(t, &s)))
		return;
	EXPECT_EQ(t, assign(&s, PAGE, VA, TEST_ASID), RMP_OK);
	EXPECT_DONE(t, &s, guest_pvalidate(&s, VA, 0), 0);
	EXPECT_EQ(t, s.mailbox->carry, 0);
	EXPECT_DONE(t, &s, guest_pvalidate(&s, VA, 0), 0);
	EXPECT_EQ(t, s.mailbox->carry, 1);
	EXPECT_EQ(t, guest_command(&s, GUEST_PVALIDATE, VA, 0, 0), SVM_EXIT_HLT);
	EXPECT_EQ(t, s.mailbox->carry, 0);
	EXPECT_EQ(t, rmp_word(s.data->pfn + PAGE), RMP_WORD_PRIVATE(VA, TEST_ASID));
	guest_vm_exit(t, &s);
}

static void pvalidate_refused(struct test *t)
{
	struct guest_vm s;

	if (!EXPECT(t, guest_vm_init(t, &s)))
		return;
	EXPECT_EQ(t, assign(&s, 0, GUEST_BLOCK, TEST_ASID), RMP_OK);
	/* Large, of a small entry; not aligned; not the guest's by the C-bit. */
	EXPECT_DONE(t, &s, guest_pvalidate(&s, GUEST_BLOCK, 1), PVALIDATE_FAIL_SIZEMISMATCH);
	EXPECT_DONE(t, &s, guest_pvalidate(&s, VA, 1), PVALIDATE_FAIL_INPUT);
	EXPECT_DONE(t, &s, guest_pvalidate(&s, SHARED(GUEST_BLOCK), 0), PVALIDATE_FAIL_INPUT);
	s.vmpl = 1;
	EXPECT_DONE(t, &s, guest_pvalidate(&s, GUEST_BLOCK, 0), PVALIDATE_FAIL_PERMISSION);
	EXPECT_EQ(t, rmp_word(s.data->pfn), RMP_WORD_PRIVATE(GUEST_BLOCK, TEST_ASID));
	s.vmpl = 0;
	EXPECT_DONE(t, &s, guest_pvalidate(&s, GUEST_BLOCK, 0), 0);
	guest_vm_exit(t, &s);
}

/* A large page begins at a multiple of its size for the guest, too. */
static void pvalidate_linear_alignment(struct test *t)
{
	struct guest_vm s;

	if (!EXPECT(t, guest_vm_init(t, &s)))
		return;
	EXPECT(t, assign_valid_2m(&s));
	EXPECT_DONE(t, &s, guest_read(&s, ALIAS), 0);
	EXPECT_DONE(t, &s, guest_pvalidate(&s, ALIAS, 1), PVALIDATE_FAIL_INPUT);
	EXPECT_DONE(t, &s, guest_pvalidate(&s, GUEST_BLOCK, 1), 0);
	EXPECT_EQ(t, s.mailbox->carry, 1);
	guest_vm_exit(t, &s);
}

/* A small page of a large entry: for the hypervisor to smash, which SIZEM tells. */
static void pvalidate_4k_in_2m(struct test *t)
{
	struct guest_vm s;

	if (!EXPECT(t, guest_vm_init(t, &s)))
		return;
	EXPECT_EQ(t, raw_private(s.data->pfn, GUEST_BLOCK, RMP_PG_SIZE_2M), RMP_OK);
	svm_map_large(s.data);
	expect_npf(t, &s, guest_pvalidate(&s, VA, 0), VA,
		   NPF_READ | NPF_PRIVATE | NPF_SIZEM);
	EXPECT_EQ(t, psmash_raw(PFN_PHYS(s.data->pfn)), RMP_OK);
	svm_map_small(s.data);
	EXPECT_DONE(t, &s, guest_run(&s), 0);
	EXPECT_EQ(t, rmp_word(s.data->pfn + PAGE),
		  RMP_WORD_PRIVATE(VA, TEST_ASID) | RMP_WORD_VALIDATED);
	EXPECT_EQ(t, rmp_word(s.data->pfn), RMP_WORD_PRIVATE(GUEST_BLOCK, TEST_ASID));
	guest_vm_exit(t, &s);
}

static void pvalidate_other_asid(struct test *t)
{
	struct guest_vm s;

	if (!EXPECT(t, guest_vm_init(t, &s)))
		return;
	EXPECT_EQ(t, assign(&s, PAGE, VA, TEST_ASID + 1), RMP_OK);
	expect_npf(t, &s, guest_pvalidate(&s, VA, 0), VA, NPF_READ | NPF_PRIVATE);
	EXPECT_EQ(t, assign(&s, PAGE, VA, TEST_ASID), RMP_OK);
	EXPECT_DONE(t, &s, guest_run(&s), 0);
	guest_vm_exit(t, &s);
}

/* VMPLs, and RMPADJUST (APM 3): the target in bits 7:0, its rights above, VMSA bit 16 */

#define ADJUST(vmpl, perms)	((vmpl) | (perms) << 8)
#define ADJUST_VMSA		BIT(16)
#define ADJUST_FAIL_INPUT	1
#define ADJUST_FAIL_PERMISSION	2

/* What VMPL 0 gives, VMPL 1 has. */
static void vmpl_rights(struct test *t)
{
	struct guest_vm s;

	if (!EXPECT(t, guest_vm_init(t, &s)))
		return;
	EXPECT(t, assign_valid(&s, PAGE));
	EXPECT_DONE(t, &s, guest_rmpadjust(&s, VA, ADJUST(1, VMPL_READ)), 0);
	s.vmpl = 1;
	EXPECT_DONE(t, &s, guest_read(&s, VA), 0);
	expect_npf(t, &s, guest_write(&s, VA), VA, NPF_WRITE | NPF_PRIVATE | NPF_VMPL);
	s.vmpl = 0;
	EXPECT_EQ(t, guest_write(&s, VA), SVM_EXIT_HLT);
	EXPECT_DONE(t, &s, guest_rmpadjust(&s, VA, ADJUST(1, VMPL_READ | VMPL_WRITE)), 0);
	s.vmpl = 1;
	*s.mailbox = (struct guest_mailbox){};
	EXPECT_DONE(t, &s, guest_run(&s), 0);
	guest_vm_exit(t, &s);
}

/* A page that is new has no rights for VMPL 1. */
static void vmpl_without_rights(struct test *t)
{
	struct guest_vm s;

	if (!EXPECT(t, guest_vm_init(t, &s)))
		return;
	EXPECT(t, assign_valid(&s, PAGE));
	s.vmpl = 1;
	expect_npf(t, &s, guest_read(&s, VA), VA, NPF_READ | NPF_PRIVATE | NPF_VMPL);
	guest_vm_exit(t, &s);
}

static void rmpadjust_refused(struct test *t)
{
	u64 adjusted = counter(CNT_RMPADJUST);
	struct guest_vm s;

	if (!EXPECT(t, guest_vm_init(t, &s)))
		return;
	EXPECT_EQ(t, assign(&s, PAGE, VA, TEST_ASID), RMP_OK);
	EXPECT_DONE(t, &s, guest_rmpadjust(&s, VA, ADJUST(1, VMPL_READ)), VC_NOT_VALIDATED);
	EXPECT_DONE(t, &s, guest_pvalidate(&s, VA, 0), 0);
	/* The own VMPL; one that there is not; what there is no right for. */
	EXPECT_DONE(t, &s, guest_rmpadjust(&s, VA, ADJUST(0, VMPL_READ)),
		    ADJUST_FAIL_PERMISSION);
	EXPECT_DONE(t, &s, guest_rmpadjust(&s, VA, ADJUST(4, VMPL_READ)), ADJUST_FAIL_INPUT);
	EXPECT_EQ(t, counter(CNT_RMPADJUST) - adjusted, 0);
	EXPECT_DONE(t, &s, guest_rmpadjust(&s, VA, ADJUST(1, VMPL_READ)), 0);
	s.vmpl = 1;
	EXPECT_DONE(t, &s, guest_rmpadjust(&s, VA, ADJUST(2, VMPL_READ | VMPL_WRITE)),
		    ADJUST_FAIL_PERMISSION);
	EXPECT_DONE(t, &s, guest_rmpadjust(&s, VA, ADJUST(2, VMPL_READ)), 0);
	EXPECT_EQ(t, counter(CNT_RMPADJUST) - adjusted, 2);
	guest_vm_exit(t, &s);
}

static void rmpadjust_makes_vmsa(struct test *t)
{
	u64 valid = RMP_WORD_PRIVATE(VA, TEST_ASID) | RMP_WORD_VALIDATED;
	struct guest_vm s;

	if (!EXPECT(t, guest_vm_init(t, &s)))
		return;
	EXPECT(t, assign_valid(&s, PAGE));
	EXPECT_DONE(t, &s, guest_rmpadjust(&s, VA, ADJUST(1, VMPL_READ) | ADJUST_VMSA), 0);
	EXPECT_EQ(t, rmp_word(s.data->pfn + PAGE), valid | RMP_WORD_VMSA);
	EXPECT_DONE(t, &s, guest_rmpadjust(&s, VA, ADJUST(1, VMPL_READ)), 0);
	EXPECT_EQ(t, rmp_word(s.data->pfn + PAGE), valid);
	guest_vm_exit(t, &s);
}

/* VMRUN wants a VMSA that is one, of this guest's (APM 2, 15.36.12). */
static void expect_refused(struct test *t, struct guest_vm *s)
{
	u64 refused = counter(CNT_VMRUN_REFUSED);

	EXPECT_EQ(t, guest_run(s), (u32)SVM_EXIT_ERR);
	EXPECT_EQ(t, counter(CNT_VMRUN_REFUSED) - refused, 1);
}

static void vmsa(struct test *t)
{
	struct guest_vm s;
	u64 pfn;

	if (!EXPECT(t, guest_vm_init(t, &s)))
		return;
	pfn = s.data->pfn + PAGE;
	memcpy(block_page(s.data, PAGE), guest_page(&s, PFN_PHYS(VMSA_PAGE)), PAGE_SIZE);
	s.vmsa_pfn = pfn;
	/* A copy that is the hypervisor's; the guest's, but no VMSA. */
	expect_refused(t, &s);
	s.vmsa_pfn = 0;
	EXPECT(t, assign_valid(&s, PAGE));
	s.vmsa_pfn = pfn;
	expect_refused(t, &s);
	/* A VMSA, for another ASID. */
	s.vmsa_pfn = 0;
	s.asid = TEST_ASID + 1;
	expect_refused(t, &s);
	s.asid = TEST_ASID;
	/* One that does not say that it is of an SNP guest. */
	s.vmpl = VMSA_NO_SNP;
	expect_refused(t, &s);
	/* Right; and the copy, too, if the guest makes it one. */
	s.vmpl = 0;
	EXPECT_DONE(t, &s, guest_rmpadjust(&s, VA, ADJUST(1, 0) | ADJUST_VMSA), 0);
	s.vmsa_pfn = pfn;
	EXPECT_DONE(t, &s, guest_read(&s, SHARED(VA + SZ_4K)), 0);
	guest_vm_exit(t, &s);
}

static int setup(void)
{
	int err = svm_setup();

	if (err)
		return err;
	err = psp_start();
	if (err)
		svm_teardown();
	return err;
}

static int teardown(void)
{
	svm_teardown();
	return psp_stop();
}

static const struct test_case cases[] = {
	TEST_CASE(private_4k),
	TEST_CASE(other_asid),
	TEST_CASE(other_gpa),
	TEST_CASE(not_assigned),
	TEST_CASE(immutable),
	TEST_CASE(not_validated),
	TEST_CASE(validation_is_lost),
	TEST_CASE(size_4k_in_rmp),
	TEST_CASE(size_2m_in_rmp),
	TEST_CASE(shared_access),
	TEST_CASE(pvalidate_carry),
	TEST_CASE(pvalidate_refused),
	TEST_CASE(pvalidate_linear_alignment),
	TEST_CASE(pvalidate_4k_in_2m),
	TEST_CASE(pvalidate_other_asid),
	TEST_CASE(vmpl_rights),
	TEST_CASE(vmpl_without_rights),
	TEST_CASE(rmpadjust_refused),
	TEST_CASE(rmpadjust_makes_vmsa),
	TEST_CASE(vmsa),
};

TEST_GROUP(guest, cases, .needs_snp = true, .setup = setup, .teardown = teardown);
