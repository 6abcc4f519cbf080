/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Functions that run in an SNP guest: copied from guest_begin to CODE in its memory, in
 * long mode, on page tables that map the guest's memory twice, as private memory at its
 * own address, and as shared memory at SHARED_VA.  Each ends by a report in the
 * termination request of the GHCB's MSR (GHCB specification 56421, "Termination
 * Request").
 */
#ifndef SNP_GUEST_H
#define SNP_GUEST_H

#include <linux/bits.h>

#define PAGE_SIZE	4096ull
#define HUGE_SIZE	(512 * PAGE_SIZE)

/* The guest's physical memory. */
#define MEM_SIZE	(4 * HUGE_SIZE)
#define PML4		0x1000ull
#define PDPT		0x2000ull
#define PD_PRIVATE	0x3000ull
#define PD_SHARED	0x4000ull
#define IDT		0x5000ull
#define GDT		0x6000ull
#define STACK_TOP	0x8000ull
#define CODE		0x8000ull
#define LAUNCH_SIZE	0x10000ull	/* what of it is there from the start */
#define DATA		HUGE_SIZE	/* for the tests */
#define GHCB		(2 * HUGE_SIZE)

#define SHARED_VA	BIT_ULL(30)

#define CODE_SELECTOR	0x08
#define DATA_SELECTOR	0x10

/* The section of the functions, by the linker; and of the assembly in it. */
extern const char __start_snp_guest[], __stop_snp_guest[];
extern const char guest_vc[], guest_other[];

#define guest_begin	__start_snp_guest
#define guest_end	__stop_snp_guest

/*
 * The exceptions that a guest reports: #VC with its error code, and that there was
 * another one with an error code.
 */
#define REPORT_VC		BIT_ULL(60)
#define REPORT_EXCEPTION	BIT_ULL(61)

#define MSR_GHCB		0xc0010130
#define GHCB_TERMINATE		0x100ull
#define GHCB_REGISTER		0x012ull
#define GHCB_REGISTERED		0x013ull
#define GHCB_PSC		0x014ull
#define GHCB_PSC_DONE		0x015ull
#define PSC_PRIVATE		1ull
#define PSC_SHARED		2ull

#define PATTERN		0x5aa5f00f12ull

void guest_private_memory(void);
void guest_not_validated(void);
void guest_write_not_validated(void);
void guest_rescinded(void);
void guest_pvalidate_results(void);
void guest_rmpadjust_results(void);
void guest_shared_memory(void);
void guest_psc_msr(void);
void guest_psc_back(void);
void guest_psc_page(void);

/*
 * All that it has from DATA to the end, which is at LARGE_SIZE, validated by 2M where that
 * is possible, and written to; then one page of it shared, and private again.  It tells
 * after each step which one it was, or has found something wrong.
 */
#define LARGE_SIZE	(64 * HUGE_SIZE)
#define LARGE_PAGE	(DATA + 7 * PAGE_SIZE)
#define LARGE_TAKEN	1
#define LARGE_SHARED	2
#define LARGE_READ	3
#define LARGE_PRIVATE	4
#define LARGE_READ_ALL	5
#define LARGE_WRONG	BIT_ULL(32)

void guest_large(void);

/* The first step alone, with as much memory as there are page tables for. */
#define TAKE_SIZE	(512 * HUGE_SIZE)

void guest_take(void);

/* The same, but the last step goes over its memory again and again, writing to it. */
#define LARGE_ROUNDS	300

void guest_large_busy(void);

#endif /* SNP_GUEST_H */
