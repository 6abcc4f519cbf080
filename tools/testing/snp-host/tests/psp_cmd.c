// SPDX-License-Identifier: GPL-2.0
/* See psp_cmd.h */
#include <linux/amd-iommu.h>
#include <linux/iopoll.h>
#include <asm/iommu.h>

#include "psp_cmd.h"

/* The mailbox: sev_do_cmd() of the driver, and its table of registers ("sevv2") */
#define PSP_BAR			2
#define PSP_CMDRESP		0x10980
#define PSP_ADDR_LO		0x109e0
#define PSP_ADDR_HI		0x109e4
#define CMDRESP_RESPONSE	BIT(31)
#define CMDRESP_STATUS		GENMASK(15, 0)

static void __iomem *regs;
/* The hypervisor's, for the parameters. */
static void *cmd_buf;

int psp_open(void)
{
	if (!psp_device())
		return -ENODEV;
	regs = pci_iomap(psp_device(), PSP_BAR, 0);
	cmd_buf = (void *)get_zeroed_page(GFP_KERNEL);
	if (regs && cmd_buf)
		return 0;
	psp_close();
	return -ENOMEM;
}

void psp_close(void)
{
	if (regs)
		pci_iounmap(psp_device(), regs);
	free_page((unsigned long)cmd_buf);
}

u32 psp_cmd(u32 cmd, void *params, size_t len)
{
	u64 pa = __pa(cmd_buf);
	u32 resp;

	memcpy(cmd_buf, params, len);
	writel(lower_32_bits(pa), regs + PSP_ADDR_LO);
	writel(upper_32_bits(pa), regs + PSP_ADDR_HI);
	writel(cmd << 16, regs + PSP_CMDRESP);
	if (readl_poll_timeout(regs + PSP_CMDRESP, resp, resp & CMDRESP_RESPONSE, 10,
			       5 * USEC_PER_SEC))
		return ~0u;
	memcpy(params, cmd_buf, len);
	return resp & CMDRESP_STATUS;
}

u32 psp_addr_cmd(u32 cmd, u64 paddr)
{
	struct sev_data_snp_addr data = { .address = paddr };

	return psp_cmd(cmd, &data, sizeof(data));
}

u32 psp_cmd_none(u32 cmd)
{
	u64 unused = 0;

	return psp_cmd(cmd, &unused, sizeof(unused));
}

u32 platform_init(u64 ranges)
{
	struct sev_data_snp_init_ex data = {
		.init_rmp = 1,
		.list_paddr_en = !!ranges,
		.list_paddr = ranges,
	};

	return psp_cmd(SEV_CMD_SNP_INIT_EX, &data, sizeof(data));
}

u32 platform_shutdown(void)
{
	struct sev_data_snp_shutdown_ex data = {
		.len = sizeof(data),
		.iommu_snp_shutdown = 1,
	};

	return psp_cmd(SEV_CMD_SNP_SHUTDOWN_EX, &data, sizeof(data));
}

u32 page_reclaim(u64 pfn, int size)
{
	struct sev_data_snp_page_reclaim data = { .paddr = PFN_PHYS(pfn) | size };

	return psp_cmd(SEV_CMD_SNP_PAGE_RECLAIM, &data, sizeof(data));
}

u32 page_unsmash(u64 paddr)
{
	struct sev_data_snp_page_unsmash data = { .paddr = paddr };

	return psp_cmd(SEV_CMD_SNP_PAGE_UNSMASH, &data, sizeof(data));
}

void reclaim_block(struct block *b)
{
	int i;

	if (rmp_entry(b->pfn).huge) {
		page_reclaim(b->pfn, RMP_PG_SIZE_2M);
		return;
	}
	for (i = 0; i < BLOCK_PAGES; i++)
		page_reclaim(b->pfn + i, RMP_PG_SIZE_4K);
}

u32 gctx_create(u64 pfn)
{
	return psp_addr_cmd(SEV_CMD_SNP_GCTX_CREATE, PFN_PHYS(pfn));
}

u32 decommission(u64 pfn)
{
	return psp_addr_cmd(SEV_CMD_SNP_DECOMMISSION, PFN_PHYS(pfn));
}

u32 activate(u64 gctx_pfn, u32 asid)
{
	struct sev_data_snp_activate data = {
		.gctx_paddr = PFN_PHYS(gctx_pfn),
		.asid = asid,
	};

	return psp_cmd(SEV_CMD_SNP_ACTIVATE, &data, sizeof(data));
}

u32 launch_start(u64 gctx_pfn, u64 policy)
{
	struct sev_data_snp_launch_start data = {
		.gctx_paddr = PFN_PHYS(gctx_pfn),
		.policy = policy,
	};

	return psp_cmd(SEV_CMD_SNP_LAUNCH_START, &data, sizeof(data));
}

u32 launch_update(u64 gctx_pfn, u64 pfn, int size, int type)
{
	struct sev_data_snp_launch_update data = {
		.gctx_paddr = PFN_PHYS(gctx_pfn),
		.page_size = size,
		.page_type = type,
		.address = PFN_PHYS(pfn),
	};

	return psp_cmd(SEV_CMD_SNP_LAUNCH_UPDATE, &data, sizeof(data));
}

u32 launch_update_vmpl1(u64 gctx_pfn, u64 pfn, int type, u8 perms)
{
	struct sev_data_snp_launch_update data = {
		.gctx_paddr = PFN_PHYS(gctx_pfn),
		.page_type = type,
		.address = PFN_PHYS(pfn),
		.vmpl1_perms = perms,
	};

	return psp_cmd(SEV_CMD_SNP_LAUNCH_UPDATE, &data, sizeof(data));
}

u32 launch_finish(u64 gctx_pfn)
{
	struct sev_data_snp_launch_finish data = { .gctx_paddr = PFN_PHYS(gctx_pfn) };

	return psp_cmd(SEV_CMD_SNP_LAUNCH_FINISH, &data, sizeof(data));
}

bool guest_init(struct test *t, struct guest *g)
{
	g->gctx = block_alloc(t, PG_LEVEL_2M);
	g->memory = block_alloc(t, PG_LEVEL_2M);
	if (!g->gctx || !g->memory)
		return false;
	if (rmp_make_private(g->gctx->pfn, 0, PG_LEVEL_4K, 0, true) ||
	    gctx_create(g->gctx->pfn)) {
		test_fail(t, __LINE__, "no guest context");
		return false;
	}
	return true;
}

void guest_exit(struct test *t, struct guest *g)
{
	EXPECT_EQ(t, decommission(g->gctx->pfn), SEV_RET_SUCCESS);
	EXPECT_EQ(t, rmp_word(g->gctx->pfn), RMP_WORD_FIRMWARE);
	EXPECT_EQ(t, page_reclaim(g->gctx->pfn, RMP_PG_SIZE_4K), SEV_RET_SUCCESS);
	EXPECT_EQ(t, psp_cmd_none(SEV_CMD_SNP_DF_FLUSH), SEV_RET_SUCCESS);
}

bool guest_launching(struct test *t, struct guest *g)
{
	if (!guest_init(t, g))
		return false;
	if (launch_start(g->gctx->pfn, POLICY) || activate(g->gctx->pfn, TEST_ASID)) {
		test_fail(t, __LINE__, "the guest cannot be launched");
		return false;
	}
	return true;
}

int psp_start(void)
{
	int err = psp_open();

	if (err)
		return err;
	/* No ASID is clean before the first flush. */
	if (!platform_init(0) && !psp_cmd_none(SEV_CMD_SNP_DF_FLUSH))
		return 0;
	psp_close();
	return -EIO;
}

int psp_stop(void)
{
	int err = -EIO;

	if (!psp_cmd_none(SEV_CMD_SNP_DF_FLUSH) && !platform_shutdown())
		err = amd_iommu_snp_disable();
	psp_close();
	return err;
}
