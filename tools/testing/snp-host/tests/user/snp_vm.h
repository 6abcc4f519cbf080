/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An SNP guest, launched and run by KVM, that executes one function of snp_guest.c, and
 * a VMM that does what the guest asks for by page state changes.
 */
#ifndef SNP_VM_H
#define SNP_VM_H

#include <linux/kvm.h>
#include <stdint.h>

#define SNP_MAX_VCPUS	4

struct snp_vcpu {
	int fd;
	struct kvm_run *run;
};

/* A guest of KVM's, with one memslot. */
struct snp_vm {
	uint64_t size;		/* of its memory */
	int keep;		/* the private page of one that becomes shared */
	int kvm, sev, fd, gmem;
	int nr_vcpus;
	struct snp_vcpu vcpu[SNP_MAX_VCPUS];
	char *mem;		/* shared memory */
	uint64_t c_bit;
};

/* A guest with @size bytes of memory, all of it private, that is about to run @fn. */
void vm_launch(struct snp_vm *vm, uint64_t size, void (*fn)(void));

/*
 * The same with several vCPUs, which @fn is told the number of, and has little stack for;
 * it is also told @size.
 * There is a page at AP_TEMPLATE with the VMSA of one that is to run guest_ap().
 */
void vm_launch_vcpus(struct snp_vm *vm, uint64_t size, int nr, void (*fn)(uint64_t vcpu));

/* vm_launch() with more memory to be launched: by @more, by vm_launch_update(). */
void vm_launch_with(struct snp_vm *vm, uint64_t size, void (*fn)(void),
		    void (*more)(struct snp_vm *vm));

/*
 * Have what is in the shared memory at @gpa launched, as private memory.  How many bytes
 * of it KVM says are left, or -1.
 */
int64_t vm_launch_update(struct snp_vm *vm, uint64_t gpa, uint64_t size);
void vm_destroy(struct snp_vm *vm);

/* Have KVM copy to a private page at @gpa, and fail when half of it is done. */
void vm_launch_in_vain(struct snp_vm *vm, uint64_t gpa);

int set_private(struct snp_vm *vm, uint64_t gpa, uint64_t size, int private);

/*
 * Run a vCPU until something happens that is no page state change; how many pages
 * changed.  One thread for each vCPU may do that.
 */
uint64_t vcpu_run(struct snp_vm *vm, int nr);

/* What it has said at its end. */
uint64_t vcpu_report(struct snp_vm *vm, int nr);

/* The first one. */
uint64_t vm_run(struct snp_vm *vm);
uint64_t vm_report(struct snp_vm *vm);

/* What of the shared memory is at @gpa. */
uint64_t *table(struct snp_vm *vm, uint64_t gpa);

#endif /* SNP_VM_H */
