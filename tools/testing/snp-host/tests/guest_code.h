/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the SNP guest of the tests does: it takes a command from its mailbox, carries
 * it out, executes HLT, and begins again.
 */
#ifndef GUEST_CODE_H
#define GUEST_CODE_H

/* The commands */
#define GUEST_READ		1
#define GUEST_WRITE		2
#define GUEST_PVALIDATE		3
#define GUEST_RMPADJUST		4

/* Where things are in the mailbox */
#define MAILBOX_OP		0
#define MAILBOX_RAX		8
#define MAILBOX_RCX		16
#define MAILBOX_RDX		24
#define MAILBOX_RESULT		32
#define MAILBOX_CARRY		40

#ifndef __ASSEMBLY__

#include <linux/types.h>

struct guest_mailbox {
	u64 op;
	u64 rax, rcx, rdx;
	u64 result;		/* RAX, or the error code of #VC and bit 63 */
	u64 carry;		/* of PVALIDATE */
};

/* To be copied; it begins with the first command, and RBX is the mailbox. */
extern const char guest_code[], guest_code_vc[], guest_code_end[];

#endif /* !__ASSEMBLY__ */
#endif /* GUEST_CODE_H */
