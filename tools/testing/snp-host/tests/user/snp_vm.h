/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An SNP guest, launched and run by KVM, that executes one function of snp_guest.c, and
 * a VMM that does what the guest asks for by page state changes.
 */
#ifndef SNP_VM_H
#define SNP_VM_H

#include <linux/kvm.h>
#include <stdint.h>

/* A guest of KVM's, with one vCPU and one memslot. */
struct snp_vm {
	uint64_t size;		/* of its memory */
	int keep;		/* the private page of one that becomes shared */
	int kvm, sev, fd, vcpu, gmem;
	struct kvm_run *run;
	char *mem;		/* shared memory */
	uint64_t c_bit;
};

/* A guest with @size bytes of memory, all of it private, that is about to run @fn. */
void vm_launch(struct snp_vm *vm, uint64_t size, void (*fn)(void));
void vm_destroy(struct snp_vm *vm);

int set_private(struct snp_vm *vm, uint64_t gpa, uint64_t size, int private);

/* Run until something happens that is no page state change; how many pages changed. */
uint64_t vm_run(struct snp_vm *vm);

/* What the guest has said at its end. */
uint64_t vm_report(struct snp_vm *vm);

/* What of the shared memory is at @gpa. */
uint64_t *table(struct snp_vm *vm, uint64_t gpa);

#endif /* SNP_VM_H */
