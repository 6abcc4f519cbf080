/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An SNP guest with nested page tables that are made here.  It has three VMSAs, of which
 * each VMRUN takes one, and does what guest_code.h says.  Its mailbox is shared memory;
 * all else is private, and launched by the firmware, but for one block that is the
 * tests' to assign.
 */
#ifndef GUEST_VM_H
#define GUEST_VM_H

#include "guest_code.h"
#include "psp_cmd.h"
#include "vmcb.h"

/* Guest-linear address of shared memory; private memory is at its own address. */
#define SHARED(gpa)	(SZ_4M + (gpa))
/* One of the block's first page, private, that 2 MiB does not divide. */
#define ALIAS		(SZ_8M + SZ_4K)

/* What comes with the error code of #VC as a result. */
#define RESULT_VC	BIT_ULL(63)
#define VC_NOT_VALIDATED	(RESULT_VC | 0x404)	/* APM 2, 15.36.10 */

/* Rights of a VMPL; ALL is what VMPL 1 has for the pages that are launched. */
#define VMPL_ALL	0xf
#define VMPL_READ	0x1
#define VMPL_WRITE	0x2

/* The VMSAs, and the first page that has one, in guest-physical memory */
#define VMSA_PAGE	8
enum { VMSA_VMPL0, VMSA_VMPL1, VMSA_NO_SNP, NR_VMSA };

struct guest_vm {
	struct guest g;
	struct block *data;
	struct guest_mailbox *mailbox;
	int vmpl;		/* of the VMSA to run */
	u32 asid;
	u64 vmsa_pfn;		/* in place of that, if not 0 */
};

/* Launch a guest; all of its block (svm_map_small()) is the hypervisor's. */
bool guest_vm_init(struct test *t, struct guest_vm *s);
void guest_vm_exit(struct test *t, struct guest_vm *s);

/* One VMRUN; the exit code. */
u64 guest_run(struct guest_vm *s);
/* The same with a new command. */
u64 guest_command(struct guest_vm *s, u64 op, u64 rax, u64 rcx, u64 rdx);

/* What the guest has launched, by guest-physical address. */
char *guest_page(struct guest_vm *s, u64 gpa);

#endif /* GUEST_VM_H */
