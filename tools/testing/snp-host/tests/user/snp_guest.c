// SPDX-License-Identifier: GPL-2.0
/*
 * See snp_guest.h.  The code of this file is in a section of its own, and nothing
 * outside of it may be called or referred to.
 */
#include <linux/compiler.h>
#include <stdint.h>

#include "snp_guest.h"

asm(".global guest_vc, guest_other\n"
	"guest_vc:	pop %rax\n"
	"	shl $16, %rax\n"
	"	bts $60, %rax\n"
	"	jmp 1f\n"
	"guest_other: pop %rax\n"
	"	shl $16, %rax\n"
	"	bts $61, %rax\n"
	"1:	or $0x100, %rax\n"
	"	mov %rax, %rdx\n"
	"	shr $32, %rdx\n"
	"	mov $0xc0010130, %ecx\n"
	"	wrmsr\n"
	"	rep; vmmcall\n"
	"	hlt\n");

static __always_inline uint64_t guest_rdmsr(void)
{
	uint32_t lo, hi;

	asm volatile("rdmsr" : "=a" (lo), "=d" (hi) : "c" (MSR_GHCB));
	return lo | (uint64_t)hi << 32;
}

/* VMGEXIT with this in the GHCB's MSR; what is there afterwards. */
static __always_inline uint64_t guest_vmgexit(uint64_t msr)
{
	asm volatile("wrmsr\n"
		     "rep; vmmcall"
		     : : "a" ((uint32_t)msr), "d" ((uint32_t)(msr >> 32)), "c" (MSR_GHCB)
		     : "memory");
	return guest_rdmsr();
}

static __always_inline void guest_report(uint64_t value)
{
	for (;;)
		guest_vmgexit(GHCB_TERMINATE | value << 16);
}

/* The result, and 0x100 if the instruction says that nothing has changed. */
static __always_inline uint64_t guest_pvalidate(uint64_t va, uint32_t huge, uint32_t valid)
{
	uint64_t ret;
	uint8_t unchanged;

	asm volatile(".byte 0xf2, 0x0f, 0x01, 0xff\n"
		     "setc %1"
		     : "=a" (ret), "=qm" (unchanged)
		     : "0" (va), "c" (huge), "d" (valid)
		     : "memory", "cc");
	return (uint32_t)ret | unchanged << 8;
}

static __always_inline uint64_t guest_rmpadjust(uint64_t va, uint32_t huge, uint64_t attrs)
{
	uint64_t ret;

	asm volatile(".byte 0xf3, 0x0f, 0x01, 0xfe"
		     : "=a" (ret)
		     : "0" (va), "c" (huge), "d" (attrs)
		     : "memory", "cc");
	return (uint32_t)ret;
}

static __always_inline uint64_t guest_read(uint64_t va)
{
	uint64_t value;

	asm volatile("mov (%1), %0" : "=r" (value) : "r" (va) : "memory");
	return value;
}

static __always_inline void guest_write(uint64_t va, uint64_t value)
{
	asm volatile("mov %0, (%1)" : : "r" (value), "r" (va) : "memory");
}

static __always_inline uint64_t guest_psc(uint64_t gpa, uint64_t operation)
{
	return guest_vmgexit(GHCB_PSC | gpa | operation << 52);
}

void guest_private_memory(void)
{
	uint64_t ret = guest_pvalidate(DATA, 0, 1);

	if (ret)
		guest_report(ret);
	guest_write(DATA, PATTERN);
	guest_report(guest_read(DATA));
}

/*
 * What the delivery of an exception needs: if the first one finds no nested mapping
 * of it, KVM has the guest execute the instruction again, and the exception is a second
 * one.
 */
static __always_inline void guest_touch_vectors(void)
{
	guest_read(IDT);
	guest_read(GDT);
	guest_read(STACK_TOP - PAGE_SIZE);
}

/* So that nobody faults on it later, where faults are counted. */
static __always_inline void guest_touch_code(void)
{
	uint64_t gpa;

	for (gpa = CODE; gpa < LAUNCH_SIZE; gpa += PAGE_SIZE)
		guest_read(gpa);
}

void guest_not_validated(void)
{
	guest_touch_vectors();
	guest_report(guest_read(DATA));
}

void guest_write_not_validated(void)
{
	guest_write(DATA, 1);
	guest_report(0);
}

void guest_rescinded(void)
{
	uint64_t ret = guest_pvalidate(DATA, 0, 1);

	guest_write(DATA, 1);
	ret = ret << 16 | guest_pvalidate(DATA, 0, 0);
	if (ret)
		guest_report(ret);
	guest_report(guest_read(DATA));
}

/* Three results, of 16 bits each: for the first time, again, and by 2M. */
void guest_pvalidate_results(void)
{
	uint64_t ret = guest_pvalidate(DATA, 0, 1);

	ret = ret << 16 | guest_pvalidate(DATA, 0, 1);
	ret = ret << 16 | guest_pvalidate(DATA, 1, 1);
	guest_report(ret);
}

/* For VMPL 1: allowed; for the own VMPL 0: not. */
void guest_rmpadjust_results(void)
{
	uint64_t ret = guest_pvalidate(DATA, 0, 1);

	ret = ret << 16 | guest_rmpadjust(DATA, 0, 1 | 0x3 << 8);
	ret = ret << 16 | guest_rmpadjust(DATA, 0, 0 | 0x3 << 8);
	guest_report(ret);
}

void guest_shared_memory(void)
{
	uint64_t value = guest_read(SHARED_VA + DATA);

	guest_write(SHARED_VA + DATA + 8, PATTERN);
	guest_report(value);
}

/* Private, with something in it; then shared. */
void guest_psc_msr(void)
{
	uint64_t ret = guest_pvalidate(DATA, 0, 1);

	guest_write(DATA, PATTERN);
	ret = ret << 16 | guest_pvalidate(DATA, 0, 0);
	if (ret)
		guest_report(ret);
	ret = guest_psc(DATA, PSC_SHARED);
	guest_write(SHARED_VA + DATA, PATTERN + 1);
	guest_report(ret);
}

/* And back: the page is new, and must be validated again. */
void guest_psc_back(void)
{
	guest_touch_vectors();
	guest_pvalidate(DATA, 0, 1);
	guest_pvalidate(DATA, 0, 0);
	guest_psc(DATA, PSC_SHARED);
	guest_write(SHARED_VA + DATA, PATTERN);
	guest_psc(DATA, PSC_PRIVATE);
	guest_write(DATA, 1);
	guest_report(0);
}

/* Where in the GHCB things are (GHCB specification, "GHCB Layout") */
#define GHCB_RAX		0x1f8
#define GHCB_EXIT_CODE		0x390
#define GHCB_EXIT_INFO_1	0x398
#define GHCB_EXIT_INFO_2	0x3a0
#define GHCB_SCRATCH		0x3a8
#define GHCB_VALID_LOW		0x3f0
#define GHCB_VALID_HIGH		0x3f8	/* the fields from 0x200 on, 8 bytes a bit */
#define GHCB_BUFFER		0x800
#define GHCB_VERSION		0xffa	/* two bytes, and four of usage */
#define GHCB_VALID_BIT(field)	BIT_ULL(((field) - 0x200) / 8)

#define EXIT_CODE_PSC		0x80000010ull

void guest_psc_page(void)
{
	uint64_t ghcb = SHARED_VA + GHCB;
	uint64_t msr = guest_vmgexit(GHCB_REGISTER | GHCB);

	if (msr != (GHCB_REGISTERED | GHCB))
		guest_report(msr);
	guest_write(ghcb + GHCB_EXIT_CODE, EXIT_CODE_PSC);
	guest_write(ghcb + GHCB_EXIT_INFO_1, 0);
	guest_write(ghcb + GHCB_EXIT_INFO_2, 0);
	guest_write(ghcb + GHCB_SCRATCH, GHCB + GHCB_BUFFER);
	guest_write(ghcb + GHCB_VALID_HIGH,
		    GHCB_VALID_BIT(GHCB_EXIT_CODE) | GHCB_VALID_BIT(GHCB_EXIT_INFO_1) |
		    GHCB_VALID_BIT(GHCB_EXIT_INFO_2) | GHCB_VALID_BIT(GHCB_SCRATCH));
	asm volatile("movw $2, (%0)" : : "r" (ghcb + GHCB_VERSION) : "memory");
	/* Two entries, the first one 0, the last one 1: a page to be shared, and one
	 * to stay private.
	 */
	guest_write(ghcb + GHCB_BUFFER, 1ull << 16);
	guest_write(ghcb + GHCB_BUFFER + 8, DATA | PSC_SHARED << 52);
	guest_write(ghcb + GHCB_BUFFER + 16, (DATA + PAGE_SIZE) | PSC_PRIVATE << 52);
	guest_vmgexit(GHCB);
	guest_write(SHARED_VA + DATA, PATTERN);
	guest_report(guest_read(ghcb + GHCB_EXIT_INFO_2));
}

/* As guest_report(), but the guest goes on. */
static __always_inline void guest_tell(uint64_t value)
{
	guest_vmgexit(GHCB_TERMINATE | value << 16);
}

#define PVALIDATE_FAIL_SIZEMISMATCH	6

static __always_inline void guest_validate_2m(uint64_t gpa)
{
	uint64_t ret = guest_pvalidate(gpa, 1, 1), page;

	for (page = gpa; ret == PVALIDATE_FAIL_SIZEMISMATCH && page < gpa + HUGE_SIZE;
	     page += PAGE_SIZE) {
		if (guest_pvalidate(page, 0, 1))
			guest_report(LARGE_WRONG | page);
	}
	if (ret && ret != PVALIDATE_FAIL_SIZEMISMATCH)
		guest_report(LARGE_WRONG | ret);
}

/* The page has what was written to it first. */
static __always_inline void guest_check_page(uint64_t gpa)
{
	if (guest_read(gpa) != (gpa ^ PATTERN))
		guest_report(LARGE_WRONG | gpa);
}

/* So does each but the one that is or was shared. */
static __always_inline void guest_check_large(void)
{
	uint64_t gpa;

	for (gpa = DATA; gpa < LARGE_SIZE; gpa += PAGE_SIZE) {
		if (gpa != LARGE_PAGE)
			guest_check_page(gpa);
	}
}

static __always_inline void guest_make_shared(uint64_t gpa)
{
	guest_pvalidate(gpa, 0, 0);
	guest_psc(gpa, PSC_SHARED);
	guest_write(SHARED_VA + gpa, PATTERN);
}

/* Private, which it is already, and with what was written to it first. */
static __always_inline void guest_validate_page(uint64_t gpa)
{
	if (guest_pvalidate(gpa, 0, 1))
		guest_report(LARGE_WRONG | gpa);
	guest_write(gpa, gpa ^ PATTERN);
}

/* All of the memory up to @end is the guest's, and has been written to. */
static __always_inline void guest_take_memory(uint64_t end)
{
	uint64_t gpa;

	for (gpa = DATA; gpa < end; gpa += HUGE_SIZE)
		guest_validate_2m(gpa);
	for (gpa = DATA; gpa < end; gpa += PAGE_SIZE)
		guest_write(gpa, gpa ^ PATTERN);
}

/* Up to the point where all is private once more, but not all of it validated. */
static __always_inline void guest_convert_page(void)
{
	guest_touch_vectors();
	guest_touch_code();
	guest_read(PD_SHARED);
	guest_take_memory(LARGE_SIZE);
	guest_tell(LARGE_TAKEN);

	guest_make_shared(LARGE_PAGE);
	guest_tell(LARGE_SHARED);

	guest_check_large();
	guest_tell(LARGE_READ);

	guest_psc(LARGE_PAGE, PSC_PRIVATE);
}

/* And validated. */
static __always_inline void guest_convert_large(void)
{
	guest_convert_page();
	guest_validate_page(LARGE_PAGE);
	guest_tell(LARGE_PRIVATE);
}

void guest_large(void)
{
	guest_convert_large();
	guest_check_large();
	if (guest_read(LARGE_PAGE) != (LARGE_PAGE ^ PATTERN))
		guest_report(LARGE_WRONG | LARGE_PAGE);
	guest_report(LARGE_READ_ALL);
}

static __always_inline uint64_t guest_count_launched(uint64_t gpa, uint64_t nr)
{
	uint64_t count = 0, i;

	for (i = 0; i < nr; i++, gpa += PAGE_SIZE)
		count += guest_read(gpa) == launched_word(gpa) &&
			 guest_read(gpa + LAST_WORD) == launched_word(gpa + LAST_WORD);
	return count;
}

void guest_check_launched(void)
{
	guest_report(guest_count_launched(LAUNCHED, HUGE_SIZE / PAGE_SIZE) +
		     guest_count_launched(LAUNCHED_ODD, LAUNCHED_ODD_PAGES));
}

void guest_read_large(void)
{
	guest_validate_2m(LARGE_PAGE & ~(HUGE_SIZE - 1));
	guest_report(guest_read(LARGE_PAGE));
}

void guest_take(void)
{
	guest_take_memory(TAKE_SIZE);
	guest_report(LARGE_TAKEN);
}

void guest_take_again(uint64_t vcpu, uint64_t size)
{
	guest_touch_code();
	guest_take_memory(size);
	guest_tell(LARGE_TAKEN);
	guest_take_memory(size);
	guest_report(LARGE_READ_ALL);
}

void guest_large_busy(void)
{
	uint64_t i;

	guest_convert_large();
	for (i = 0; i < LARGE_ROUNDS; i++) {
		guest_check_large();
		guest_write(LARGE_PAGE + PAGE_SIZE, (LARGE_PAGE + PAGE_SIZE) ^ PATTERN);
	}
	guest_report(LARGE_READ_ALL);
}

void guest_large_late(void)
{
	guest_convert_page();
	guest_tell(LARGE_PRIVATE);
	guest_check_large();
	guest_validate_page(LARGE_PAGE);
	guest_check_large();
	guest_report(LARGE_READ_ALL);
}

/* The page of 2M that is converted: another one for each. */
static __always_inline uint64_t guest_odd_page(uint64_t gpa)
{
	return gpa + gpa / HUGE_SIZE * 31 * PAGE_SIZE;
}

static __always_inline void guest_convert_own(uint64_t vcpu, uint64_t end)
{
	uint64_t gpa, page;

	for (gpa = DATA + vcpu * HUGE_SIZE; gpa < end; gpa += MANY_VCPUS * HUGE_SIZE) {
		page = guest_odd_page(gpa);
		guest_make_shared(page);
		guest_psc(page, PSC_PRIVATE);
		guest_validate_page(page);
	}
}

void guest_many(uint64_t vcpu)
{
	uint64_t gpa, i;

	guest_touch_vectors();
	guest_read(PD_SHARED);
	for (gpa = DATA + vcpu * HUGE_SIZE; gpa < MANY_SIZE; gpa += MANY_VCPUS * HUGE_SIZE) {
		guest_validate_2m(gpa);
		for (i = gpa; i < gpa + HUGE_SIZE; i += PAGE_SIZE)
			guest_write(i, i ^ PATTERN);
	}
	guest_tell(LARGE_TAKEN);

	guest_convert_own(vcpu, MANY_SIZE);
	guest_write(SHARED_VA + MANY_DONE(vcpu), 1);
	while (!guest_read(SHARED_VA + MANY_STOP)) {
		guest_convert_own(vcpu, DATA + MANY_VCPUS * HUGE_SIZE);
		for (gpa = DATA; gpa < MANY_SIZE; gpa += PAGE_SIZE) {
			if (gpa != guest_odd_page(gpa & ~(HUGE_SIZE - 1)))
				guest_check_page(gpa);
		}
	}
	guest_report(LARGE_READ_ALL);
}

#define EXIT_CODE_AP_CREATION	0x80000013ull
#define AP_CREATE		1ull
#define RMPADJUST_VMSA		BIT_ULL(16)

/* The GHCB's page, "SNP AP Creation": the vCPU with the APIC ID 1 */
static __always_inline void guest_create_ap(uint64_t vmsa)
{
	uint64_t ghcb = SHARED_VA + AP_GHCB;
	uint64_t msr = guest_vmgexit(GHCB_REGISTER | AP_GHCB);

	if (msr != (GHCB_REGISTERED | AP_GHCB))
		guest_report(LARGE_WRONG | msr);
	guest_write(ghcb + GHCB_RAX, SEV_FEATURE_SNP);
	guest_write(ghcb + GHCB_EXIT_CODE, EXIT_CODE_AP_CREATION);
	guest_write(ghcb + GHCB_EXIT_INFO_1, 1ull << 32 | AP_CREATE);
	guest_write(ghcb + GHCB_EXIT_INFO_2, vmsa);
	guest_write(ghcb + GHCB_VALID_LOW, BIT_ULL(GHCB_RAX / 8));
	guest_write(ghcb + GHCB_VALID_HIGH,
		    GHCB_VALID_BIT(GHCB_EXIT_CODE) | GHCB_VALID_BIT(GHCB_EXIT_INFO_1) |
		    GHCB_VALID_BIT(GHCB_EXIT_INFO_2));
	asm volatile("movw $2, (%0)" : : "r" (ghcb + GHCB_VERSION) : "memory");
	guest_vmgexit(AP_GHCB);
	if (guest_read(ghcb + GHCB_EXIT_INFO_1))
		guest_report(LARGE_WRONG | guest_read(ghcb + GHCB_EXIT_INFO_2));
}

void guest_start_ap(void)
{
	uint64_t i;

	guest_touch_vectors();
	guest_touch_code();
	guest_read(PD_SHARED);
	guest_take_memory(AP_SIZE);
	guest_tell(LARGE_TAKEN);

	guest_make_shared(LARGE_PAGE);
	for (i = 0; i < PAGE_SIZE; i += 8)
		guest_write(AP_VMSA + i, guest_read(AP_TEMPLATE + i));
	if (guest_rmpadjust(AP_VMSA, 0, 1 | RMPADJUST_VMSA))
		guest_report(LARGE_WRONG | AP_VMSA);
	guest_create_ap(AP_VMSA);
	guest_tell(AP_STARTED);

	guest_psc(LARGE_PAGE, PSC_PRIVATE);
	guest_validate_page(LARGE_PAGE);
	guest_tell(LARGE_PRIVATE);

	for (i = DATA; i < AP_SIZE; i += PAGE_SIZE) {
		if (i != AP_VMSA)
			guest_check_page(i);
	}
	guest_report(LARGE_READ_ALL);
}

void guest_ap(void)
{
	uint64_t i;

	for (i = 1; !guest_read(SHARED_VA + AP_STOP); i++) {
		guest_vmgexit(GHCB_SEV_INFO);
		guest_write(SHARED_VA + AP_COUNT, i);
	}
	guest_report(LARGE_READ_ALL);
}
