/* SPDX-License-Identifier: GPL-2.0 */
/* See guest_code.h.  It is data for the kernel, and runs where it has been copied to. */
#include "guest_code.h"

	.section .rodata
	.globl guest_code, guest_code_vc, guest_code_end
guest_code:
	mov	MAILBOX_RAX(%rbx), %rax
	mov	MAILBOX_RCX(%rbx), %rcx
	mov	MAILBOX_RDX(%rbx), %rdx
	mov	MAILBOX_OP(%rbx), %rsi
	cmp	$GUEST_WRITE, %rsi
	je	write
	cmp	$GUEST_PVALIDATE, %rsi
	je	pvalidate
	cmp	$GUEST_RMPADJUST, %rsi
	je	rmpadjust
	mov	(%rax), %rax
	jmp	done
write:
	mov	%rcx, (%rax)
	xor	%eax, %eax
	jmp	done
pvalidate:
	.byte	0xf2, 0x0f, 0x01, 0xff
	setc	%dl
	jmp	done
rmpadjust:
	.byte	0xf3, 0x0f, 0x01, 0xfe
done:
	movzbl	%dl, %edx
	mov	%rdx, MAILBOX_CARRY(%rbx)
	mov	%rax, MAILBOX_RESULT(%rbx)
	hlt
	jmp	guest_code

	/* The command ends here, without what the exception has pushed. */
guest_code_vc:
	pop	%rax
	bts	$63, %rax
	add	$40, %rsp
	jmp	done
guest_code_end:
