// SPDX-License-Identifier: GPL-2.0
/*
 * The PSP's commands, by its mailbox, in the states that they are allowed in and in
 * others; on pages of the right state and of others (ABI, the command's own section,
 * and chapter 5 "Page Management" for the states).  The order of checks and the
 * status codes are those of AMD's published firmware, too.  The device driver, ccp,
 * must not be loaded.
 */
#include <linux/amd-iommu.h>
#include <linux/io.h>
#include <asm/iommu.h>
#include <asm/msr.h>

#include "psp_cmd.h"

/* For the firmware to write to. */
static void *fw_page;

static int psp_setup(void)
{
	int err = psp_open();

	if (err)
		return err;
	fw_page = (void *)get_zeroed_page(GFP_KERNEL);
	if (fw_page)
		return 0;
	psp_close();
	return -ENOMEM;
}

static int psp_teardown(void)
{
	psp_close();
	/* If it is the firmware's still, it cannot be anything else. */
	if (!rmp_entry(PHYS_PFN(__pa(fw_page))).assigned)
		free_page((unsigned long)fw_page);
	return 0;
}

/* The state of the platform that SNP_PLATFORM_STATUS tells, or -1. */
static int platform_state(void)
{
	struct sev_user_data_snp_status *status = fw_page;

	if (psp_addr_cmd(SEV_CMD_SNP_PLATFORM_STATUS, __pa(fw_page)))
		return -1;
	return status->state;
}

#define SNP_UNINIT	0
#define SNP_INIT	1

/* Platform commands.  These tests come in the order of the platform's states. */

static void counted(struct test *t)
{
	u64 commands = counter(CNT_PSP_COMMAND);
	u64 refused = counter(CNT_PSP_REFUSED);

	EXPECT_EQ(t, psp_addr_cmd(SEV_CMD_SNP_PLATFORM_STATUS, __pa(fw_page)), SEV_RET_SUCCESS);
	EXPECT_EQ(t, counter(CNT_PSP_COMMAND) - commands, 1);
	EXPECT_EQ(t, counter(CNT_PSP_REFUSED) - refused, 0);
	EXPECT(t, gctx_create(0) != SEV_RET_SUCCESS);
	EXPECT_EQ(t, counter(CNT_PSP_COMMAND) - commands, 2);
	EXPECT_EQ(t, counter(CNT_PSP_REFUSED) - refused, 1);
}

static void unknown_command(struct test *t)
{
	EXPECT_EQ(t, psp_cmd_none(0x7ff), SEV_RET_INVALID_COMMAND);
}

/* What the driver asks first: an API that it knows, version 1.51 or later. */
static void legacy_status(struct test *t)
{
	struct sev_user_data_status status = {};

	EXPECT_EQ(t, psp_cmd(SEV_CMD_PLATFORM_STATUS, &status, sizeof(status)),
		  SEV_RET_SUCCESS);
	EXPECT_EQ(t, status.api_major, 1);
	EXPECT(t, status.api_minor >= 51);
	EXPECT_EQ(t, status.state, 0);
	EXPECT_EQ(t, status.guest_count, 0);
}

static void refused_before_init(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, platform_state(), SNP_UNINIT);
	EXPECT_EQ(t, raw_private(b->pfn, 0, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, gctx_create(b->pfn), SEV_RET_INVALID_PLATFORM_STATE);
	EXPECT_EQ(t, launch_start(b->pfn, POLICY), SEV_RET_INVALID_PLATFORM_STATE);
	EXPECT_EQ(t, page_reclaim(b->pfn, RMP_PG_SIZE_4K), SEV_RET_INVALID_PLATFORM_STATE);
	EXPECT_EQ(t, page_unsmash(PFN_PHYS(b->pfn)), SEV_RET_INVALID_PLATFORM_STATE);
	EXPECT_EQ(t, decommission(b->pfn), SEV_RET_INVALID_PLATFORM_STATE);
	EXPECT_EQ(t, platform_shutdown(), SEV_RET_SUCCESS);
}

/* ABI, SNP_INIT_EX: no core may have a save area, which would be the hypervisor's. */
static void no_init_with_hsave(struct test *t)
{
	EXPECT_EQ(t, wrmsrq_on_cpu(0, MSR_VM_HSAVE_PA, __pa(fw_page)), 0);
	EXPECT_EQ(t, platform_init(0), SEV_RET_INVALID_CONFIG);
	EXPECT_EQ(t, wrmsrq_on_cpu(0, MSR_VM_HSAVE_PA, 0), 0);
}

/* From here on the page that the status is written to must be the firmware's. */
static void init(struct test *t)
{
	EXPECT_EQ(t, platform_init(0), SEV_RET_SUCCESS);
	EXPECT_EQ(t, platform_state(), -1);
	if (!EXPECT(t, !rmp_make_private(PHYS_PFN(__pa(fw_page)), 0, PG_LEVEL_4K, 0, true)))
		return;
	EXPECT_EQ(t, platform_state(), SNP_INIT);
}

/* The table is the firmware's from now on: nobody else can write to it. */
static void table_is_protected(struct test *t)
{
	u64 pfn = PHYS_PFN(rmp_table_base());

	EXPECT(t, rmp_entry(pfn).assigned && rmp_entry(pfn).immutable);
	EXPECT(t, rmp_entry(pfn + PHYS_PFN(rmp_table_size()) - 1).assigned);
	EXPECT_EQ(t, raw_shared(pfn, RMP_PG_SIZE_4K), RMP_FAIL_PERMISSION);
	/* Nor is the firmware made to write to it by mistake. */
	EXPECT_EQ(t, psp_addr_cmd(SEV_CMD_SNP_PLATFORM_STATUS, rmp_table_base()),
		  SEV_RET_INVALID_PARAM);
}

/* The IOMMU's registers, where IVRS has them on this machine */
#define IOMMU_BASE		0xfed80000
#define IOMMU_EVENT_LOG		0x10
#define IOMMU_ADDRESS		GENMASK_ULL(51, 12)

/* ABI, SNP_INIT_EX: what the IOMMU writes to is not reclaimed before the shutdown. */
static void iommu_log_is_protected(struct test *t)
{
	void __iomem *iommu = ioremap(IOMMU_BASE, PAGE_SIZE);
	u64 pfn;

	if (!EXPECT(t, iommu))
		return;
	pfn = PHYS_PFN(readq(iommu + IOMMU_EVENT_LOG) & IOMMU_ADDRESS);
	EXPECT(t, pfn && rmp_entry(pfn).assigned && rmp_entry(pfn).immutable);
	EXPECT_EQ(t, raw_shared(pfn, RMP_PG_SIZE_4K), RMP_FAIL_PERMISSION);
	EXPECT_EQ(t, page_reclaim(pfn, RMP_PG_SIZE_4K), SEV_RET_INVALID_PAGE_STATE);
	iounmap(iommu);
}

/* Pages */

static void reclaim_firmware_page(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, rmp_make_private(b->pfn, 0, PG_LEVEL_4K, 0, true), 0);
	EXPECT_EQ(t, raw_shared(b->pfn, RMP_PG_SIZE_4K), RMP_FAIL_PERMISSION);
	EXPECT_EQ(t, page_reclaim(b->pfn, RMP_PG_SIZE_2M), SEV_RET_INVALID_PAGE_SIZE);
	EXPECT_EQ(t, page_reclaim(b->pfn, RMP_PG_SIZE_4K), SEV_RET_SUCCESS);
	EXPECT_EQ(t, rmp_word(b->pfn), RMP_WORD_RECLAIM);
	EXPECT_EQ(t, fault_of_write(b->va), RMP_WRITE_FAULT);
	EXPECT_EQ(t, raw_shared(b->pfn, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, fault_of_write(b->va), 0);
}

static void reclaim_firmware_2m(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, raw_firmware(b->pfn, RMP_PG_SIZE_2M), RMP_OK);
	EXPECT_EQ(t, page_reclaim(b->pfn, RMP_PG_SIZE_4K), SEV_RET_INVALID_PAGE_SIZE);
	EXPECT_EQ(t, page_reclaim(b->pfn, RMP_PG_SIZE_2M), SEV_RET_SUCCESS);
	EXPECT_EQ(t, rmp_word(b->pfn), RMP_WORD_RECLAIM | RMP_WORD_HUGE);
	EXPECT_EQ(t, raw_shared(b->pfn, RMP_PG_SIZE_2M), RMP_OK);
}

/* A page of a guest's stays that: it is the immutable bit that goes. */
static void reclaim_pre_guest_page(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	EXPECT_EQ(t, raw_pre_guest(b->pfn, SZ_2M, RMP_PG_SIZE_4K, TEST_ASID), RMP_OK);
	EXPECT_EQ(t, page_reclaim(b->pfn, RMP_PG_SIZE_4K), SEV_RET_SUCCESS);
	EXPECT_EQ(t, rmp_word(b->pfn), RMP_WORD_PRIVATE(SZ_2M, TEST_ASID));
	EXPECT_EQ(t, raw_shared(b->pfn, RMP_PG_SIZE_4K), RMP_OK);
}

static void reclaim_other_pages(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);

	if (!EXPECT(t, b))
		return;
	/* Nothing to do is no mistake. */
	EXPECT_EQ(t, page_reclaim(b->pfn, RMP_PG_SIZE_4K), SEV_RET_SUCCESS);
	EXPECT_EQ(t, rmp_word(b->pfn), RMP_WORD_SHARED);
	EXPECT_EQ(t, raw_private(b->pfn, SZ_2M, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, page_reclaim(b->pfn, RMP_PG_SIZE_4K), SEV_RET_SUCCESS);
	EXPECT_EQ(t, rmp_word(b->pfn), RMP_WORD_PRIVATE(SZ_2M, TEST_ASID));
	/* The firmware is not talked into giving its own table away. */
	EXPECT(t, page_reclaim(PHYS_PFN(rmp_table_base()), RMP_PG_SIZE_4K) != SEV_RET_SUCCESS);
	EXPECT(t, rmp_entry(PHYS_PFN(rmp_table_base())).immutable);
}

/* With the IOMMU's own pages given back; ccp does the same when it goes. */
static void shutdown(struct test *t)
{
	u64 pfn = PHYS_PFN(__pa(fw_page));

	EXPECT_EQ(t, page_reclaim(pfn, RMP_PG_SIZE_4K), SEV_RET_SUCCESS);
	EXPECT_EQ(t, rmp_make_shared(pfn, PG_LEVEL_4K), 0);
	EXPECT_EQ(t, psp_cmd_none(SEV_CMD_SNP_DF_FLUSH), SEV_RET_SUCCESS);
	EXPECT_EQ(t, platform_shutdown(), SEV_RET_SUCCESS);
	EXPECT_EQ(t, amd_iommu_snp_disable(), 0);
	EXPECT_EQ(t, platform_state(), SNP_UNINIT);
}

/*
 * ABI, SNP_INIT_EX: the pages of the range list stay the hypervisor's for good.  The
 * kernel's driver puts reserved memory there: snp_filter_reserved_mem_regions().
 */
static void hv_fixed_pages(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);
	struct sev_data_range_list *list;

	if (!EXPECT(t, b))
		return;
	list = (void *)block_page(b, 9);
	memset(list, 0, PAGE_SIZE);
	list->num_elements = 1;
	list->ranges[0] = (struct sev_data_range){
		.base = PFN_PHYS(b->pfn + 5),
		.page_count = 2,
	};
	EXPECT_EQ(t, platform_init(__pa(list)), SEV_RET_SUCCESS);
	EXPECT_EQ(t, raw_private(b->pfn + 5, SZ_2M, RMP_PG_SIZE_4K), RMP_FAIL_PERMISSION);
	EXPECT_EQ(t, raw_private(b->pfn + 6, SZ_2M, RMP_PG_SIZE_4K), RMP_FAIL_PERMISSION);
	EXPECT_EQ(t, raw_private(b->pfn, SZ_2M, RMP_PG_SIZE_2M), RMP_FAIL_PERMISSION);
	EXPECT_EQ(t, fault_of_write(block_page(b, 5)), 0);
	EXPECT_EQ(t, page_reclaim(b->pfn + 5, RMP_PG_SIZE_4K), SEV_RET_INVALID_PAGE_STATE);
	/* Control: the page behind them. */
	EXPECT_EQ(t, raw_private(b->pfn + 7, SZ_2M, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, raw_shared(b->pfn + 7, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, psp_cmd_none(SEV_CMD_SNP_DF_FLUSH), SEV_RET_SUCCESS);
	EXPECT_EQ(t, platform_shutdown(), SEV_RET_SUCCESS);
	EXPECT_EQ(t, amd_iommu_snp_disable(), 0);
}

/* ABI, SNP_SHUTDOWN_EX: what has run under an ASID must be flushed before. */
static void shutdown_after_flush(struct test *t)
{
	EXPECT_EQ(t, platform_init(0), SEV_RET_SUCCESS);
	EXPECT_EQ(t, platform_init(0), SEV_RET_INVALID_PLATFORM_STATE);
	EXPECT_EQ(t, platform_shutdown(), SEV_RET_DFFLUSH_REQUIRED);
	EXPECT_EQ(t, psp_cmd_none(SEV_CMD_SNP_DF_FLUSH), SEV_RET_SUCCESS);
	EXPECT_EQ(t, platform_shutdown(), SEV_RET_SUCCESS);
	EXPECT_EQ(t, amd_iommu_snp_disable(), 0);
}

static const struct test_case cases[] = {
	TEST_CASE(counted),
	TEST_CASE(unknown_command),
	TEST_CASE(legacy_status),
	TEST_CASE(refused_before_init),
	TEST_CASE(no_init_with_hsave),
	TEST_CASE(init),
	TEST_CASE(table_is_protected),
	TEST_CASE(iommu_log_is_protected),
	TEST_CASE(reclaim_firmware_page),
	TEST_CASE(reclaim_firmware_2m),
	TEST_CASE(reclaim_pre_guest_page),
	TEST_CASE(reclaim_other_pages),
	TEST_CASE(shutdown),
	TEST_CASE(hv_fixed_pages),
	TEST_CASE(shutdown_after_flush),
};

TEST_GROUP(psp, cases, .needs_snp = true, .setup = psp_setup, .teardown = psp_teardown);
