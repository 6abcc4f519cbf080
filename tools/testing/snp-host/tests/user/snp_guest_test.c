// SPDX-License-Identifier: GPL-2.0
/*
 * An SNP guest, launched and run by the kernel's KVM: what the emulator does for
 * PVALIDATE and RMPADJUST, for accesses to private and to shared memory, and for page
 * state changes by the GHCB's MSR and page.
 *
 * The guest is a function of snp_guest.c, and tells what it finds out by a termination
 * request, which KVM hands to user space as it is.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "kselftest.h"
#include "snp_guest.h"
#include "snp_user.h"
#include "snp_vm.h"

/* The report of a guest that is here for @fn alone. */
static uint64_t report_of(void (*fn)(void))
{
	struct snp_vm vm;
	uint64_t report;

	vm_launch(&vm, MEM_SIZE, fn);
	CHECK_EQ(vm_run(&vm), 0);
	report = vm_report(&vm);
	vm_destroy(&vm);
	return report;
}

/* Tests */

/* sev_hardware_setup() has found all that it needs. */
static void vm_types(void)
{
	int kvm = open("/dev/kvm", O_RDWR);

	CHECK(kvm >= 0);
	CHECK(ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_VM_TYPES) & BIT(KVM_X86_SNP_VM));
}

/* APM 2, 15.36.6 and APM 3, PVALIDATE */
static void private_memory(void)
{
	uint64_t before = test_counter(SNP_COUNTER_PVALIDATE);

	CHECK_EQ(report_of(guest_private_memory), PATTERN);
	CHECK_EQ(test_counter(SNP_COUNTER_PVALIDATE) - before, 1);
}

/* #VC, with error code PAGE_NOT_VALIDATED (APM 2, 15.36.10 and 15.35.5) */
#define VC_NOT_VALIDATED	(REPORT_VC >> 16 | 0x404)

static void read_of_not_validated(void)
{
	uint64_t before = test_counter(SNP_COUNTER_NOT_VALIDATED);

	CHECK_EQ(report_of(guest_not_validated), VC_NOT_VALIDATED);
	CHECK_EQ(test_counter(SNP_COUNTER_NOT_VALIDATED) - before, 1);
}

static void write_to_not_validated(void)
{
	CHECK_EQ(report_of(guest_write_not_validated), VC_NOT_VALIDATED);
}

static void rescinded_validation(void)
{
	CHECK_EQ(report_of(guest_rescinded), VC_NOT_VALIDATED);
}

/* Success, success without a change, FAIL_SIZEMISMATCH */
static void pvalidate_results(void)
{
	uint64_t report = report_of(guest_pvalidate_results);

	CHECK_EQ(report >> 32, 0);
	CHECK_EQ(report >> 16 & 0xffff, 0x100);
	CHECK_EQ(report & 0xff, 6);
}

/* APM 3, RMPADJUST: success, FAIL_PERMISSION */
static void rmpadjust_results(void)
{
	uint64_t before = test_counter(SNP_COUNTER_RMPADJUST);

	CHECK_EQ(report_of(guest_rmpadjust_results), 2);
	CHECK(test_counter(SNP_COUNTER_RMPADJUST) > before);
}

static void share_data(struct snp_vm *vm)
{
	CHECK(!set_private(vm, DATA, PAGE_SIZE, 0));
}

static void shared_memory(void)
{
	struct snp_vm vm;

	vm_launch(&vm, MEM_SIZE, guest_shared_memory);
	share_data(&vm);
	*table(&vm, DATA) = PATTERN + 1;
	CHECK_EQ(vm_run(&vm), 0);
	CHECK_EQ(vm_report(&vm), PATTERN + 1);
	CHECK_EQ(table(&vm, DATA)[1], PATTERN);
	vm_destroy(&vm);
}

/* Private memory is not what user space sees. */
static void private_memory_is_not_shared(void)
{
	struct snp_vm vm;

	vm_launch(&vm, MEM_SIZE, guest_private_memory);
	CHECK_EQ(vm_run(&vm), 0);
	CHECK_EQ(vm_report(&vm), PATTERN);
	CHECK_EQ(*table(&vm, DATA), 0);
	vm_destroy(&vm);
}

/* The fault that KVM gives to user space, by what the C-bit of the access was. */
static void expect_memory_fault(struct snp_vm *vm, uint64_t flags)
{
	CHECK_EQ(vm->vcpu[0].run->exit_reason, KVM_EXIT_MEMORY_FAULT);
	CHECK_EQ(vm->vcpu[0].run->memory_fault.flags, flags);
	CHECK_EQ(vm->vcpu[0].run->memory_fault.gpa, DATA);
	CHECK_EQ(vm->vcpu[0].run->memory_fault.size, PAGE_SIZE);
}

static void shared_access_to_private(void)
{
	struct snp_vm vm;

	vm_launch(&vm, MEM_SIZE, guest_shared_memory);
	vm_run(&vm);
	expect_memory_fault(&vm, 0);
	/* Made right, it goes on. */
	share_data(&vm);
	*table(&vm, DATA) = PATTERN;
	vm_run(&vm);
	CHECK_EQ(vm_report(&vm), PATTERN);
	vm_destroy(&vm);
}

static void private_access_to_shared(void)
{
	struct snp_vm vm;

	vm_launch(&vm, MEM_SIZE, guest_private_memory);
	share_data(&vm);
	vm_run(&vm);
	expect_memory_fault(&vm, KVM_MEMORY_EXIT_FLAG_PRIVATE);
	CHECK(!set_private(&vm, DATA, PAGE_SIZE, 1));
	vm_run(&vm);
	CHECK_EQ(vm_report(&vm), PATTERN);
	vm_destroy(&vm);
}

/* GHCB specification, "SNP Page State Change Request" of the MSR protocol */
static void psc_by_msr(void)
{
	struct snp_vm vm;

	vm_launch(&vm, MEM_SIZE, guest_psc_msr);
	CHECK_EQ(vm_run(&vm), 1);
	CHECK_EQ(vm_report(&vm), GHCB_PSC_DONE);
	CHECK_EQ(*table(&vm, DATA), PATTERN + 1);
	vm_destroy(&vm);
}

static void psc_back_to_private(void)
{
	uint64_t before = test_counter(SNP_COUNTER_NOT_VALIDATED);
	struct snp_vm vm;

	vm_launch(&vm, MEM_SIZE, guest_psc_back);
	CHECK_EQ(vm_run(&vm), 2);
	CHECK_EQ(vm_report(&vm), VC_NOT_VALIDATED);
	CHECK_EQ(test_counter(SNP_COUNTER_NOT_VALIDATED) - before, 1);
	vm_destroy(&vm);
}

/* The same by the GHCB's page, "SNP Page State Change" */
static void psc_by_page(void)
{
	struct snp_vm vm;

	vm_launch(&vm, MEM_SIZE, guest_psc_page);
	CHECK(!set_private(&vm, GHCB, PAGE_SIZE, 0));
	CHECK_EQ(vm_run(&vm), 2);
	CHECK_EQ(vm_report(&vm), 0);
	CHECK_EQ(*table(&vm, DATA), PATTERN);
	vm_destroy(&vm);
}

static void launch_bytes(struct snp_vm *vm, uint64_t gpa, uint64_t size)
{
	uint64_t end = gpa + size;

	for (; gpa < end; gpa += PAGE_SIZE) {
		*table(vm, gpa) = launched_word(gpa);
		*table(vm, gpa + LAST_WORD) = launched_word(gpa + LAST_WORD);
	}
}

static void set_readable(struct snp_vm *vm, uint64_t gpa, int readable)
{
	CHECK(!mprotect(table(vm, gpa), PAGE_SIZE, readable ? PROT_READ | PROT_WRITE : PROT_NONE));
}

/* KVM says how far it has come, wherever in the middle it has to give up. */
static void launch_data(struct snp_vm *vm)
{
	uint64_t end = LAUNCHED_ODD + LAUNCHED_ODD_PAGES * PAGE_SIZE;
	uint64_t hole = LAUNCHED_ODD + 21 * PAGE_SIZE;
	uint64_t early = LAUNCHED_ODD + 50 * PAGE_SIZE;

	launch_bytes(vm, LAUNCHED, HUGE_SIZE);
	launch_bytes(vm, LAUNCHED_ODD, end - LAUNCHED_ODD);
	CHECK_EQ(vm_launch_update(vm, LAUNCHED, HUGE_SIZE), 0);
	CHECK_EQ(vm_launch_update(vm, LAUNCHED, HUGE_SIZE), -1);

	CHECK_EQ(vm_launch_update(vm, early, PAGE_SIZE), 0);
	set_readable(vm, hole, 0);
	CHECK_EQ(vm_launch_update(vm, LAUNCHED_ODD, end - LAUNCHED_ODD), end - hole);
	CHECK_EQ(vm_launch_update(vm, hole, end - hole), -1);
	set_readable(vm, hole, 1);
	CHECK_EQ(vm_launch_update(vm, hole, end - hole), end - early);
	CHECK_EQ(vm_launch_update(vm, early + PAGE_SIZE, end - early - PAGE_SIZE), 0);
}

static void launched_memory(void)
{
	uint64_t before = test_assigned();
	struct snp_vm vm;

	vm_launch_with(&vm, MEM_SIZE, guest_check_launched, launch_data);
	CHECK_EQ(test_assigned() - before,
		 (LAUNCH_SIZE + HUGE_SIZE) / PAGE_SIZE + LAUNCHED_ODD_PAGES + 3);
	vm_run(&vm);
	CHECK_EQ(vm_report(&vm), HUGE_SIZE / PAGE_SIZE + LAUNCHED_ODD_PAGES);
	vm_destroy(&vm);
	CHECK_EQ(test_assigned(), before);
}

/* The firmware launches nothing more: what KVM has given it for that comes back. */
static void launched_too_late(void)
{
	uint64_t assigned;
	struct snp_vm vm;

	vm_launch(&vm, MEM_SIZE, guest_private_memory);
	assigned = test_assigned();
	CHECK_EQ(vm_launch_update(&vm, DATA, 16 * PAGE_SIZE), -1);
	CHECK_EQ(vm_launch_update(&vm, DATA, HUGE_SIZE), -1);
	CHECK_EQ(test_assigned(), assigned);
	vm_run(&vm);
	CHECK_EQ(vm_report(&vm), PATTERN);
	vm_destroy(&vm);
}

/* Whatever a guest had is the hypervisor's again. */
static void nothing_stays_assigned(void)
{
	uint64_t before = test_assigned(), running;
	struct snp_vm vm;

	vm_launch(&vm, MEM_SIZE, guest_private_memory);
	vm_run(&vm);
	CHECK_EQ(vm_report(&vm), PATTERN);
	running = test_assigned();
	/* Its memory, the page that it has validated, the VMSA, the context. */
	CHECK(running >= before + LAUNCH_SIZE / PAGE_SIZE + 3);
	vm_destroy(&vm);
	CHECK_EQ(test_assigned(), before);
}

static const struct user_test tests[] = {
	USER_TEST(vm_types),
	USER_TEST(private_memory),
	USER_TEST(read_of_not_validated),
	USER_TEST(write_to_not_validated),
	USER_TEST(rescinded_validation),
	USER_TEST(pvalidate_results),
	USER_TEST(rmpadjust_results),
	USER_TEST(shared_memory),
	USER_TEST(private_memory_is_not_shared),
	USER_TEST(shared_access_to_private),
	USER_TEST(private_access_to_shared),
	USER_TEST(psc_by_msr),
	USER_TEST(psc_back_to_private),
	USER_TEST(psc_by_page),
	USER_TEST(launched_memory),
	USER_TEST(launched_too_late),
	USER_TEST(nothing_stays_assigned),
};

int main(void)
{
	return run_user_tests(tests, ARRAY_SIZE(tests));
}
