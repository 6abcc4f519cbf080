// SPDX-License-Identifier: GPL-2.0
/* See snp_vm.h */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/kvm.h>
#include <linux/kvm_para.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "snp_guest.h"
#include "snp_user.h"
#include "snp_vm.h"

static int sev_op(struct snp_vm *vm, uint32_t id, void *data)
{
	struct kvm_sev_cmd cmd = { .id = id, .data = (uintptr_t)data, .sev_fd = vm->sev };

	return ioctl(vm->fd, KVM_MEMORY_ENCRYPT_OP, &cmd) ? -1 : (int)cmd.error;
}

int set_private(struct snp_vm *vm, uint64_t gpa, uint64_t size, int private)
{
	struct kvm_memory_attributes attrs = {
		.address = gpa,
		.size = size,
		.attributes = private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
	};

	return ioctl(vm->fd, KVM_SET_MEMORY_ATTRIBUTES, &attrs);
}

static void vm_create(struct snp_vm *vm)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_EXIT_HYPERCALL,
		.args = { BIT(KVM_HC_MAP_GPA_RANGE) },
	};
	struct kvm_create_guest_memfd gmem = { .size = vm->size };
	struct kvm_userspace_memory_region2 region = {
		.flags = KVM_MEM_GUEST_MEMFD,
		.memory_size = vm->size,
	};
	struct kvm_sev_init init = {};
	uint32_t eax, ebx, ecx, edx;

	__cpuid(0x8000001f, eax, ebx, ecx, edx);
	vm->c_bit = 1ull << (ebx & 0x3f);
	vm->kvm = open("/dev/kvm", O_RDWR);
	vm->sev = open("/dev/sev", O_RDWR);
	CHECK(vm->kvm >= 0 && vm->sev >= 0);
	vm->fd = ioctl(vm->kvm, KVM_CREATE_VM, KVM_X86_SNP_VM);
	CHECK(vm->fd >= 0);
	CHECK_EQ(sev_op(vm, KVM_SEV_INIT2, &init), 0);
	CHECK(!ioctl(vm->fd, KVM_ENABLE_CAP, &cap));

	vm->mem = mmap(NULL, vm->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);
	CHECK(vm->mem != MAP_FAILED);
	vm->gmem = ioctl(vm->fd, KVM_CREATE_GUEST_MEMFD, &gmem);
	CHECK(vm->gmem >= 0);
	region.userspace_addr = (uintptr_t)vm->mem;
	region.guest_memfd = vm->gmem;
	CHECK(!ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION2, &region));
	CHECK(!set_private(vm, 0, vm->size, 1));
}

#define MAX_CPUID	256

static void vcpu_create(struct snp_vm *vm, int nr)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) +
					     MAX_CPUID * sizeof(cpuid->entries[0]));
	struct snp_vcpu *vcpu = &vm->vcpu[nr];

	CHECK(cpuid);
	cpuid->nent = MAX_CPUID;
	CHECK(!ioctl(vm->kvm, KVM_GET_SUPPORTED_CPUID, cpuid));
	vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, nr);
	CHECK(vcpu->fd >= 0);
	CHECK(!ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid));
	vcpu->run = mmap(NULL, ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0),
			 PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	CHECK(vcpu->run != MAP_FAILED);
	free(cpuid);
}

uint64_t *table(struct snp_vm *vm, uint64_t gpa)
{
	return (uint64_t *)(vm->mem + gpa);
}

#define PTE_TABLE	0x7ull		/* present, writable, user */
#define PTE_LARGE	0xe7ull		/* and accessed, dirty, large */

static void build_page_tables(struct snp_vm *vm)
{
	uint64_t i;

	table(vm, PML4)[0] = PDPT | vm->c_bit | PTE_TABLE;
	table(vm, PDPT)[0] = PD_PRIVATE | vm->c_bit | PTE_TABLE;
	table(vm, PDPT)[SHARED_VA >> 30] = PD_SHARED | vm->c_bit | PTE_TABLE;
	for (i = 0; i < vm->size / HUGE_SIZE; i++) {
		table(vm, PD_PRIVATE)[i] = i * HUGE_SIZE | vm->c_bit | PTE_LARGE;
		table(vm, PD_SHARED)[i] = i * HUGE_SIZE | PTE_LARGE;
	}
}

#define VECTOR_VC	29
#define NR_VECTORS	32

static void build_descriptors(struct snp_vm *vm)
{
	uint64_t *idt = table(vm, IDT), handler;
	int i;

	table(vm, GDT)[CODE_SELECTOR / 8] = 0x00af9b000000ffffull;
	table(vm, GDT)[DATA_SELECTOR / 8] = 0x00cf93000000ffffull;
	for (i = 0; i < NR_VECTORS; i++) {
		handler = CODE + ((i == VECTOR_VC ? guest_vc : guest_other) - guest_begin);
		/* An interrupt gate, below 64 KiB. */
		idt[2 * i] = handler | CODE_SELECTOR << 16 | 0x8e00ull << 32;
		idt[2 * i + 1] = 0;
	}
}

static void set_registers(struct snp_vm *vm, int nr, void (*fn)(uint64_t vcpu))
{
	struct kvm_segment data = {
		.limit = 0xffffffff, .selector = DATA_SELECTOR, .type = 3, .present = 1,
		.db = 1, .s = 1, .g = 1,
	};
	struct kvm_regs regs = {
		.rip = CODE + ((const char *)fn - guest_begin),
		/* As after a call, for the compiler's alignment of the stack. */
		.rsp = STACK_TOP - nr * STACK_SIZE - 8,
		.rdi = nr,
		.rsi = vm->size,
		.rflags = 2,
	};
	struct kvm_sregs sregs;

	CHECK(!ioctl(vm->vcpu[nr].fd, KVM_GET_SREGS, &sregs));
	sregs.cr0 = 0x80000011;		/* PG, ET, PE */
	sregs.cr3 = PML4 | vm->c_bit;
	sregs.cr4 = 0x20;		/* PAE */
	sregs.efer = 0x500;		/* LMA, LME */
	sregs.ds = data;
	sregs.es = data;
	sregs.ss = data;
	sregs.cs = data;
	sregs.cs.selector = CODE_SELECTOR;
	sregs.cs.type = 11;
	sregs.cs.db = 0;
	sregs.cs.l = 1;
	sregs.idt.base = IDT;
	sregs.idt.limit = NR_VECTORS * 16 - 1;
	sregs.gdt.base = GDT;
	sregs.gdt.limit = 0x17;
	CHECK(!ioctl(vm->vcpu[nr].fd, KVM_SET_SREGS, &sregs));
	CHECK(!ioctl(vm->vcpu[nr].fd, KVM_SET_REGS, &regs));
}

/* A segment: its attributes are bits 8 to 15 and 20 to 23 of a descriptor. */
static void set_segment(uint64_t *vmsa, int where, uint64_t selector, uint64_t attributes,
			uint64_t limit, uint64_t base)
{
	vmsa[where / 8] = selector | attributes << 16 | limit << 32;
	vmsa[where / 8 + 1] = base;
}

/* What the second vCPU starts with, where the first one starts it by guest_ap(). */
static void build_vmsa(struct snp_vm *vm)
{
	uint64_t *vmsa = table(vm, AP_TEMPLATE);

	set_segment(vmsa, VMSA_ES, DATA_SELECTOR, 0xc93, 0xffffffff, 0);
	set_segment(vmsa, VMSA_SS, DATA_SELECTOR, 0xc93, 0xffffffff, 0);
	set_segment(vmsa, VMSA_DS, DATA_SELECTOR, 0xc93, 0xffffffff, 0);
	set_segment(vmsa, VMSA_CS, CODE_SELECTOR, 0xa9b, 0xffffffff, 0);
	set_segment(vmsa, VMSA_GDTR, 0, 0, 0x17, GDT);
	set_segment(vmsa, VMSA_IDTR, 0, 0, NR_VECTORS * 16 - 1, IDT);
	set_segment(vmsa, VMSA_LDTR, 0, 0x82, 0xffff, 0);
	set_segment(vmsa, VMSA_TR, 0, 0x8b, 0xffff, 0);
	vmsa[VMSA_EFER / 8] = 0x1500;		/* SVME, LMA, LME */
	vmsa[VMSA_CR4 / 8] = 0x20;
	vmsa[VMSA_CR3 / 8] = PML4 | vm->c_bit;
	vmsa[VMSA_CR0 / 8] = 0x80000011;
	vmsa[VMSA_DR7 / 8] = 0x400;
	vmsa[VMSA_DR6 / 8] = 0xffff0ff0;
	vmsa[VMSA_RFLAGS / 8] = 2;
	vmsa[VMSA_RIP / 8] = CODE + ((const char *)guest_ap - guest_begin);
	vmsa[VMSA_RSP / 8] = STACK_TOP - STACK_SIZE - 8;
	vmsa[VMSA_PAT / 8] = 0x0007040600070406ull;
	vmsa[VMSA_SEV_FEATURES / 8] = SEV_FEATURE_SNP;
	vmsa[VMSA_XCR0 / 8] = 1;
	vmsa[VMSA_MXCSR / 8] = 0x1f80;
	vmsa[VMSA_FCW / 8] = 0x37f;
}

int64_t vm_launch_update(struct snp_vm *vm, uint64_t gpa, uint64_t size)
{
	struct kvm_sev_snp_launch_update update = {
		.gfn_start = gpa / PAGE_SIZE,
		.uaddr = (uintptr_t)vm->mem + gpa,
		.len = size,
		.type = KVM_SEV_SNP_PAGE_TYPE_NORMAL,
	};

	if (sev_op(vm, KVM_SEV_SNP_LAUNCH_UPDATE, &update))
		return -1;

	/* What is left is told by all three. */
	CHECK_EQ(update.gfn_start * PAGE_SIZE + update.len, gpa + size);
	CHECK_EQ(update.uaddr - (uintptr_t)vm->mem, update.gfn_start * PAGE_SIZE);
	return update.len;
}

static void vm_do_launch(struct snp_vm *vm, uint64_t size, int nr, void (*fn)(uint64_t vcpu),
			 void (*more)(struct snp_vm *vm))
{
	struct kvm_sev_snp_launch_start start = { .policy = 1ull << 16 | 1ull << 17 };
	struct kvm_sev_snp_launch_finish finish = {};
	int i;

	*vm = (struct snp_vm){ .size = size, .nr_vcpus = nr };
	CHECK(nr <= SNP_MAX_VCPUS);
	vm_create(vm);
	for (i = 0; i < nr; i++)
		vcpu_create(vm, i);
	build_page_tables(vm);
	build_descriptors(vm);
	build_vmsa(vm);
	CHECK(guest_end - guest_begin <= (long)(AP_TEMPLATE - CODE));
	memcpy(vm->mem + CODE, guest_begin, guest_end - guest_begin);
	for (i = 0; i < nr; i++)
		set_registers(vm, i, fn);

	CHECK_EQ(sev_op(vm, KVM_SEV_SNP_LAUNCH_START, &start), 0);
	CHECK_EQ(vm_launch_update(vm, 0, LAUNCH_SIZE), 0);
	if (more)
		more(vm);
	CHECK_EQ(sev_op(vm, KVM_SEV_SNP_LAUNCH_FINISH, &finish), 0);
}

void vm_launch_vcpus(struct snp_vm *vm, uint64_t size, int nr, void (*fn)(uint64_t vcpu))
{
	vm_do_launch(vm, size, nr, fn, NULL);
}

void vm_launch(struct snp_vm *vm, uint64_t size, void (*fn)(void))
{
	vm_launch_with(vm, size, fn, NULL);
}

void vm_launch_with(struct snp_vm *vm, uint64_t size, void (*fn)(void),
		    void (*more)(struct snp_vm *vm))
{
	vm_do_launch(vm, size, 1, (void (*)(uint64_t))fn, more);
}

void vm_launch_in_vain(struct snp_vm *vm, uint64_t gpa)
{
	struct kvm_sev_snp_launch_update update = {
		.gfn_start = gpa / PAGE_SIZE,
		.len = PAGE_SIZE,
		.type = KVM_SEV_SNP_PAGE_TYPE_NORMAL,
	};
	char *mem = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(mem != MAP_FAILED);
	memset(mem, 0xff, PAGE_SIZE);
	CHECK(!mprotect(mem + PAGE_SIZE, PAGE_SIZE, PROT_NONE));
	update.uaddr = (uintptr_t)mem + PAGE_SIZE / 2;
	CHECK(sev_op(vm, KVM_SEV_SNP_LAUNCH_UPDATE, &update));
	munmap(mem, 2 * PAGE_SIZE);
}

void vm_destroy(struct snp_vm *vm)
{
	int i;

	for (i = 0; i < vm->nr_vcpus; i++) {
		munmap(vm->vcpu[i].run, ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
		close(vm->vcpu[i].fd);
	}
	close(vm->gmem);
	close(vm->fd);
	close(vm->sev);
	close(vm->kvm);
	munmap(vm->mem, vm->size);
}

#define MAP_GPA_RANGE_PRIVATE	BIT(4)

/* What the guest asks for by a page state change; how many pages. */
static uint64_t map_gpa_range(struct snp_vm *vm, struct kvm_run *run)
{
	uint64_t gpa = run->hypercall.args[0];
	uint64_t size = run->hypercall.args[1] * PAGE_SIZE;
	int private = !!(run->hypercall.args[2] & MAP_GPA_RANGE_PRIVATE);

	CHECK_EQ(run->hypercall.nr, KVM_HC_MAP_GPA_RANGE);
	CHECK(!set_private(vm, gpa, size, private));
	if (!private && !vm->keep)
		CHECK(!fallocate(vm->gmem, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, gpa,
				 size));
	run->hypercall.ret = 0;
	return size / PAGE_SIZE;
}

uint64_t vcpu_run(struct snp_vm *vm, int nr)
{
	struct snp_vcpu *vcpu = &vm->vcpu[nr];
	uint64_t changed = 0;

	for (;;) {
		if (ioctl(vcpu->fd, KVM_RUN, 0) && errno != EFAULT)
			check_failed(__LINE__, "KVM_RUN: %s", strerror(errno));
		if (vcpu->run->exit_reason != KVM_EXIT_HYPERCALL)
			return changed;
		changed += map_gpa_range(vm, vcpu->run);
	}
}

uint64_t vcpu_report(struct snp_vm *vm, int nr)
{
	struct kvm_run *run = vm->vcpu[nr].run;

	CHECK_EQ(run->exit_reason, KVM_EXIT_SYSTEM_EVENT);
	CHECK_EQ(run->system_event.type, KVM_SYSTEM_EVENT_SEV_TERM);
	CHECK_EQ(run->system_event.data[0] & 0xffff, GHCB_TERMINATE);
	return run->system_event.data[0] >> 16;
}

uint64_t vm_run(struct snp_vm *vm)
{
	return vcpu_run(vm, 0);
}

uint64_t vm_report(struct snp_vm *vm)
{
	return vcpu_report(vm, 0);
}
