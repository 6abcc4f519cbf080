// SPDX-License-Identifier: GPL-2.0
/*
 * Devices of the hypervisor's must not write to assigned pages, either (IOMMU
 * specification 48882, "SEV-SNP Support"); reads are not checked.  It is the firmware
 * that tells the IOMMU to look at the RMP (ABI, SNP_INIT_EX and SNP_SHUTDOWN_EX).
 * The device is QEMU's "edu", which copies between memory and a buffer of its own
 * (QEMU's docs/specs/edu.rst).
 */
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/iopoll.h>

#include "psp_cmd.h"

#define EDU_VENDOR	0x1234
#define EDU_DEVICE	0x11e8
#define EDU_BUFFER	0x40000
#define EDU_LENGTH	64

/* Registers */
#define EDU_DMA_FROM	0x80
#define EDU_DMA_TO	0x88
#define EDU_DMA_COUNT	0x90
#define EDU_DMA_COMMAND	0x98
#define EDU_DMA_START	BIT(0)
#define EDU_DMA_TO_RAM	BIT(1)

static struct pci_dev *edu;
static void __iomem *regs;

static int dma_setup(void)
{
	int err;

	edu = pci_get_device(EDU_VENDOR, EDU_DEVICE, NULL);
	if (!edu)
		return -ENODEV;
	err = pci_enable_device(edu);
	if (err)
		goto put;
	/* It can reach 256 MiB only, unless told otherwise; the IOMMU helps. */
	err = dma_set_mask_and_coherent(&edu->dev, DMA_BIT_MASK(28));
	if (err)
		goto disable;
	regs = pci_iomap(edu, 0, 0);
	if (!regs) {
		err = -ENOMEM;
		goto disable;
	}
	pci_set_master(edu);
	return 0;

disable:
	pci_disable_device(edu);
put:
	pci_dev_put(edu);
	return err;
}

static int dma_teardown(void)
{
	pci_clear_master(edu);
	pci_iounmap(edu, regs);
	pci_disable_device(edu);
	pci_dev_put(edu);
	return 0;
}

/* Copy to the device's buffer or, with EDU_DMA_TO_RAM, from it. */
static int edu_copy(dma_addr_t addr, u64 command)
{
	bool to_ram = command & EDU_DMA_TO_RAM;
	u64 busy;

	writeq(to_ram ? EDU_BUFFER : addr, regs + EDU_DMA_FROM);
	writeq(to_ram ? addr : EDU_BUFFER, regs + EDU_DMA_TO);
	writeq(EDU_LENGTH, regs + EDU_DMA_COUNT);
	writeq(command | EDU_DMA_START, regs + EDU_DMA_COMMAND);
	return readq_poll_timeout(regs + EDU_DMA_COMMAND, busy, !(busy & EDU_DMA_START),
				  1000, 5 * USEC_PER_SEC);
}

/* A page of a block that is split already, for the device to read and write. */
struct dma_page {
	struct block *b;
	char *va;
	u64 pfn;
	dma_addr_t addr;
};

#define PAGE_INDEX	5

static bool dma_page_init(struct test *t, struct dma_page *p)
{
	p->b = block_alloc(t, PG_LEVEL_2M);
	if (!p->b)
		return false;
	p->va = block_page(p->b, PAGE_INDEX);
	p->pfn = p->b->pfn + PAGE_INDEX;
	p->addr = dma_map_page(&edu->dev, pfn_to_page(p->pfn), 0, PAGE_SIZE,
			       DMA_BIDIRECTIONAL);
	if (dma_mapping_error(&edu->dev, p->addr)) {
		test_fail(t, __LINE__, "cannot map memory for the device");
		return false;
	}
	return true;
}

static void dma_page_exit(struct dma_page *p)
{
	dma_unmap_page(&edu->dev, p->addr, PAGE_SIZE, DMA_BIDIRECTIONAL);
}

#define IN_DEVICE	0xa5
#define IN_MEMORY	0x3c

/* Something in the device's buffer, and something else in memory. */
static bool dma_fill(struct test *t, struct dma_page *p)
{
	if (!EXPECT(t, dma_page_init(t, p)))
		return false;
	memset(p->va, IN_DEVICE, EDU_LENGTH);
	EXPECT_EQ(t, edu_copy(p->addr, 0), 0);
	memset(p->va, IN_MEMORY, EDU_LENGTH);
	return true;
}

static void expect_written(struct test *t, struct dma_page *p)
{
	u64 refused = counter(CNT_DMA_REFUSED);

	EXPECT_EQ(t, edu_copy(p->addr, EDU_DMA_TO_RAM), 0);
	EXPECT(t, !memchr_inv(p->va, IN_DEVICE, EDU_LENGTH));
	EXPECT_EQ(t, counter(CNT_DMA_REFUSED) - refused, 0);
}

static void expect_refused(struct test *t, struct dma_page *p)
{
	u64 refused = counter(CNT_DMA_REFUSED);

	EXPECT_EQ(t, edu_copy(p->addr, EDU_DMA_TO_RAM), 0);
	EXPECT(t, !memchr_inv(p->va, IN_MEMORY, EDU_LENGTH));
	EXPECT(t, counter(CNT_DMA_REFUSED) > refused);
}

static void write_to_shared(struct test *t)
{
	struct dma_page p;

	if (!dma_fill(t, &p))
		return;
	expect_written(t, &p);
	dma_page_exit(&p);
}

static void write_to_private(struct test *t)
{
	struct dma_page p;

	if (!dma_fill(t, &p))
		return;
	EXPECT_EQ(t, rmp_make_private(p.pfn, 0, PG_LEVEL_4K, TEST_ASID, false), 0);
	expect_refused(t, &p);
	/* The same transfer, once the page is shared. */
	EXPECT_EQ(t, rmp_make_shared(p.pfn, PG_LEVEL_4K), 0);
	expect_written(t, &p);
	dma_page_exit(&p);
}

/* What the device has read it writes back when it may. */
static void read_of_private(struct test *t)
{
	u64 refused = counter(CNT_DMA_REFUSED);
	struct dma_page p;

	if (!dma_fill(t, &p))
		return;
	EXPECT_EQ(t, rmp_make_private(p.pfn, 0, PG_LEVEL_4K, TEST_ASID, false), 0);
	EXPECT_EQ(t, edu_copy(p.addr, 0), 0);
	EXPECT_EQ(t, rmp_make_shared(p.pfn, PG_LEVEL_4K), 0);
	memset(p.va, 0, EDU_LENGTH);
	EXPECT_EQ(t, edu_copy(p.addr, EDU_DMA_TO_RAM), 0);
	EXPECT(t, !memchr_inv(p.va, IN_MEMORY, EDU_LENGTH));
	EXPECT_EQ(t, counter(CNT_DMA_REFUSED) - refused, 0);
	dma_page_exit(&p);
}

/* The IOMMU maps by 4K here: a neighbour of a private page is not its business. */
static void write_beside_private(struct test *t)
{
	struct dma_page p;

	if (!dma_fill(t, &p))
		return;
	EXPECT_EQ(t, rmp_make_private(p.pfn + 1, 0, PG_LEVEL_4K, TEST_ASID, false), 0);
	expect_written(t, &p);
	dma_page_exit(&p);
}

/* Any page of a private 2M page is assigned. */
static void write_into_private_2m(struct test *t)
{
	struct dma_page p;

	if (!dma_fill(t, &p))
		return;
	EXPECT_EQ(t, rmp_make_private(p.b->pfn, 0, PG_LEVEL_2M, TEST_ASID, false), 0);
	expect_refused(t, &p);
	dma_page_exit(&p);
}

/* The control: nobody has told the IOMMU to look. */
static void not_checked_before(struct test *t)
{
	struct dma_page p;

	if (!dma_fill(t, &p))
		return;
	EXPECT_EQ(t, rmp_make_private(p.pfn, 0, PG_LEVEL_4K, TEST_ASID, false), 0);
	expect_written(t, &p);
	dma_page_exit(&p);
}

/* Nobody does any more. */
static void not_checked_afterwards(struct test *t)
{
	not_checked_before(t);
}

static void firmware_starts(struct test *t)
{
	EXPECT_EQ(t, psp_start(), 0);
}

static void firmware_stops(struct test *t)
{
	EXPECT_EQ(t, psp_stop(), 0);
}

static const struct test_case cases[] = {
	TEST_CASE(not_checked_before),
	TEST_CASE(firmware_starts),
	TEST_CASE(write_to_shared),
	TEST_CASE(write_to_private),
	TEST_CASE(read_of_private),
	TEST_CASE(write_beside_private),
	TEST_CASE(write_into_private_2m),
	TEST_CASE(firmware_stops),
	TEST_CASE(not_checked_afterwards),
};

TEST_GROUP(dma, cases, .needs_snp = true, .setup = dma_setup, .teardown = dma_teardown);
