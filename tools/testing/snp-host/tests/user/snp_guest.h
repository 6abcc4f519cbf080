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
#include <stdint.h>

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
#define STACK_SIZE	0x400ull	/* of each vCPU, where there are several */
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
#define GHCB_SEV_INFO		0x002ull
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
 * Memory that is launched: 2M, and some pages from an odd one on.  The guest tells how many
 * pages have in their first and last word what launched_word() says.
 */
#define LAUNCHED		DATA
#define LAUNCHED_ODD		(3 * HUGE_SIZE + 3 * PAGE_SIZE)
#define LAUNCHED_ODD_PAGES	100
#define LAST_WORD		(PAGE_SIZE - sizeof(uint64_t))

#define launched_word(gpa)	((gpa) ^ PATTERN)

void guest_check_launched(void);

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

void guest_read_large(void);
void guest_take(void);

/*
 * The same with as much memory as it has; then all of that once more, after the VMM has
 * made it shared and private again without being asked to.
 */
void guest_take_again(uint64_t vcpu, uint64_t size);

/* As guest_large(), but the last step goes over its memory again and again, writing to it. */
#define LARGE_ROUNDS	300

void guest_large_busy(void);

/* As guest_large(), but the page is not validated before it has told LARGE_PRIVATE. */
void guest_large_late(void);

/*
 * Several vCPUs take each their share of the memory, by 2M, and tell so.  Then they convert
 * a page of each 2M of their own, and all of them read all of it until there is something
 * at MANY_STOP, which is shared; a page of the first ones is converted all the time.
 */
#define MANY_VCPUS	3
#define MANY_SIZE	(16 * HUGE_SIZE)
#define MANY_STOP	0x100000ull
#define MANY_DONE(vcpu)	(MANY_STOP + 8 + 8 * (vcpu))	/* with the first conversions */

void guest_many(uint64_t vcpu);

/*
 * The first vCPU takes its memory and starts the second one, whose VMSA is a page of 2M that is
 * smashed, and which is whole again after that.  The second one counts, in shared memory,
 * until there is something at AP_STOP, and enters the hypervisor each time.
 */
#define AP_SIZE		(4 * HUGE_SIZE)
#define AP_VMSA		(DATA + 500 * PAGE_SIZE)
#define AP_GHCB		0x100000ull	/* shared */
#define AP_STOP		(AP_GHCB + PAGE_SIZE / 2)
#define AP_COUNT	(AP_STOP + 8)
#define AP_STARTED	6

/* What the VMSA is to be, by the VMM, among what is there from the start. */
#define AP_TEMPLATE	(LAUNCH_SIZE - PAGE_SIZE)

void guest_start_ap(void);
void guest_ap(void);

/* In a VMSA (APM volume 2, tables B-2 and B-4) */
#define VMSA_ES			0x000
#define VMSA_CS			0x010
#define VMSA_SS			0x020
#define VMSA_DS			0x030
#define VMSA_GDTR		0x060
#define VMSA_LDTR		0x070
#define VMSA_IDTR		0x080
#define VMSA_TR			0x090
#define VMSA_EFER		0x0d0
#define VMSA_CR4		0x148
#define VMSA_CR3		0x150
#define VMSA_CR0		0x158
#define VMSA_DR7		0x160
#define VMSA_DR6		0x168
#define VMSA_RFLAGS		0x170
#define VMSA_RIP		0x178
#define VMSA_RSP		0x1d8
#define VMSA_PAT		0x268
#define VMSA_SEV_FEATURES	0x3b0
#define VMSA_XCR0		0x3e8
#define VMSA_MXCSR		0x408
#define VMSA_FCW		0x410

#define SEV_FEATURE_SNP		BIT_ULL(0)

#endif /* SNP_GUEST_H */
