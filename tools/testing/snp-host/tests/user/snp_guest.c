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
#define GHCB_EXIT_CODE		0x390
#define GHCB_EXIT_INFO_1	0x398
#define GHCB_EXIT_INFO_2	0x3a0
#define GHCB_SCRATCH		0x3a8
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

/* Each page but the one that is or was shared has what was written to it first. */
static __always_inline void guest_check_large(void)
{
	uint64_t gpa;

	for (gpa = DATA; gpa < LARGE_SIZE; gpa += PAGE_SIZE) {
		if (gpa != LARGE_PAGE && guest_read(gpa) != (gpa ^ PATTERN))
			guest_report(LARGE_WRONG | gpa);
	}
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

/* Up to the point where all is private once more. */
static __always_inline void guest_convert_large(void)
{
	guest_touch_vectors();
	guest_read(PD_SHARED);
	guest_take_memory(LARGE_SIZE);
	guest_tell(LARGE_TAKEN);

	guest_pvalidate(LARGE_PAGE, 0, 0);
	guest_psc(LARGE_PAGE, PSC_SHARED);
	guest_write(SHARED_VA + LARGE_PAGE, PATTERN);
	guest_tell(LARGE_SHARED);

	guest_check_large();
	guest_tell(LARGE_READ);

	guest_psc(LARGE_PAGE, PSC_PRIVATE);
	if (guest_pvalidate(LARGE_PAGE, 0, 1))
		guest_report(LARGE_WRONG);
	guest_write(LARGE_PAGE, LARGE_PAGE ^ PATTERN);
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

void guest_take(void)
{
	guest_take_memory(TAKE_SIZE);
	guest_report(LARGE_TAKEN);
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
