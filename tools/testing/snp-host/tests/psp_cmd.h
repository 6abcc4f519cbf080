/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The PSP's commands, by its mailbox; and SNP guests, as far as the firmware knows
 * them.  The device driver, ccp, must not be loaded.
 */
#ifndef PSP_CMD_H
#define PSP_CMD_H

#include <linux/fs.h>
#include <linux/psp-sev.h>

#include "snp_test.h"

/* Access to the device; a negative error number. */
int psp_open(void);
void psp_close(void);

/* Initialise SNP in the firmware, and shut it down again; a negative error number. */
int psp_start(void);
int psp_stop(void);

/* The status of a command with @len bytes of parameters, which may be changed. */
u32 psp_cmd(u32 cmd, void *params, size_t len);
/* Of one that has a physical address for a parameter, or none. */
u32 psp_addr_cmd(u32 cmd, u64 paddr);
u32 psp_cmd_none(u32 cmd);

/* @ranges is the address of a struct sev_data_range_list, or 0. */
u32 platform_init(u64 ranges);
u32 platform_shutdown(void);

u32 page_reclaim(u64 pfn, int size);
u32 page_unsmash(u64 paddr);
/* Reclaim all pages of a block, of whatever size they are. */
void reclaim_block(struct block *b);

u32 gctx_create(u64 pfn);
u32 decommission(u64 pfn);
u32 activate(u64 gctx_pfn, u32 asid);
u32 launch_start(u64 gctx_pfn, u64 policy);
u32 launch_update(u64 gctx_pfn, u64 pfn, int size, int type);
/* Of a 4K page, with the rights that VMPL 1 is to have. */
u32 launch_update_vmpl1(u64 gctx_pfn, u64 pfn, int type, u8 perms);
u32 launch_finish(u64 gctx_pfn);

/* VMPL and SMT, which a policy must and may have. */
#define POLICY		(BIT_ULL(16) | BIT_ULL(17))
#define POLICY_NO_VMPL	BIT_ULL(16)

struct guest {
	struct block *gctx;	/* the first page */
	struct block *memory;
};

/* Their blocks are split for the direct map not to matter. */
bool guest_init(struct test *t, struct guest *g);
/* A guest that waits for its memory, with TEST_ASID. */
bool guest_launching(struct test *t, struct guest *g);
/* After it the ASID is free again. */
void guest_exit(struct test *t, struct guest *g);

#endif /* PSP_CMD_H */
