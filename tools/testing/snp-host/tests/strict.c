// SPDX-License-Identifier: GPL-2.0
/*
 * With snp-strict=on: RMPUPDATE flushes nothing, and a large translation stays in
 * the TLB until the kernel flushes it, by the architecture's rules for each way to
 * do so (APM 2, 5.5.3 "TLB Management", and 15.36.15).  An RMP check goes by the
 * size of the translation that is in use, so that a split without a flush makes the
 * neighbours of a private page fault.
 *
 * The page tables are changed here, by hand; set_memory_4k() is the kernel's own way.
 * INVPCID is not tried: software emulation does not have it.
 */
#include <linux/smp.h>
#include <asm/cpufeature.h>
#include <asm/tlbflush.h>

#include "snp_test.h"

#define GPA	0x200000ull

/* Ways to flush, of one CPU */

static void flush_nothing(struct block *b)
{
}

static void flush_page(struct block *b)
{
	asm volatile("invlpg (%0)" : : "r" (block_page(b, 6)) : "memory");
}

static void flush_other_page(struct block *b)
{
	asm volatile("invlpg (%0)" : : "r" (b->va + SZ_2M) : "memory");
}

static void flush_by_cr3(struct block *b)
{
	native_write_cr3(__native_read_cr3());
}

static void flush_by_cr4(struct block *b)
{
	unsigned long cr4 = native_read_cr4();

	/* Any change of PGE; the kernel's copy of CR4 stays right. */
	asm volatile("mov %0, %%cr4" : : "r" (cr4 ^ X86_CR4_PGE) : "memory");
	asm volatile("mov %0, %%cr4" : : "r" (cr4) : "memory");
}

/*
 * Split with everything before in the TLB; then flush, RMPUPDATE, and write to a
 * neighbour.  Nothing of the kernel's may come in between and flush.
 */
static void split_flush_write(struct test *t, void (*flush)(struct block *b), bool stale)
{
	u64 stales = counter(CNT_STALE);
	struct split s;
	unsigned long flags;
	bool warm, trap;
	int ret;

	if (!split_prepare(t, &s))
		return;
	local_irq_save(flags);
	warm = !write_traps(block_page(s.b, 6));
	split_do(&s);
	flush(s.b);
	ret = raw_private(s.b->pfn + 5, GPA, RMP_PG_SIZE_4K);
	trap = write_traps(block_page(s.b, 6));
	local_irq_restore(flags);

	EXPECT(t, warm);
	EXPECT_EQ(t, ret, RMP_OK);
	EXPECT_EQ(t, trap, stale);
	EXPECT_EQ(t, counter(CNT_STALE) > stales, stale);

	/* After a flush it is over, whatever went before. */
	on_each_cpu(flush_everywhere, NULL, 1);
	EXPECT_EQ(t, fault_of_write(block_page(s.b, 6)), 0);
	EXPECT_EQ(t, fault_of_write(block_page(s.b, 5)), RMP_WRITE_FAULT);
	EXPECT_EQ(t, raw_shared(s.b->pfn + 5, RMP_PG_SIZE_4K), RMP_OK);
	split_undo(&s);
}

/* The mistake that strict mode is there for. */
static void no_flush_is_caught(struct test *t)
{
	split_flush_write(t, flush_nothing, true);
}

static void invlpg_flushes(struct test *t)
{
	split_flush_write(t, flush_page, false);
}

static void invlpg_elsewhere_does_not(struct test *t)
{
	split_flush_write(t, flush_other_page, true);
}

/* The direct map is global, as long as the kernel's page tables are not separate. */
static bool direct_map_is_global(void)
{
	return !boot_cpu_has(X86_FEATURE_PTI) && boot_cpu_has(X86_FEATURE_PGE);
}

static void cr3_keeps_global(struct test *t)
{
	if (!EXPECT(t, direct_map_is_global()))
		return;
	split_flush_write(t, flush_by_cr3, true);
}

static void cr4_pge_flushes(struct test *t)
{
	split_flush_write(t, flush_by_cr4, false);
}

/* The page tables are looked at again only after the flush: also for reads. */
static void small_page_is_used_after_flush(struct test *t)
{
	u64 flushes = counter(CNT_FLUSH);

	split_flush_write(t, flush_page, false);
	EXPECT(t, counter(CNT_FLUSH) > flushes);
}

/* A CPU of its own for what must not be flushed elsewhere. */
struct remote_write {
	char *va;
	bool trap;
};

static void remote_write(void *data)
{
	struct remote_write *w = data;

	w->trap = write_traps(w->va);
}

static bool write_on(unsigned int cpu, char *va)
{
	struct remote_write w = { .va = va };

	smp_call_function_single(cpu, remote_write, &w, 1);
	return w.trap;
}

/* A flush of one CPU is not one of another: the shootdown is needed. */
static void flush_is_of_one_cpu(struct test *t)
{
	unsigned int cpu;
	struct split s;

	if (!EXPECT(t, num_online_cpus() > 1))
		return;
	if (!split_prepare(t, &s))
		return;
	cpu = get_cpu();
	cpu = cpumask_any_but(cpu_online_mask, cpu);
	EXPECT(t, !write_on(cpu, block_page(s.b, 6)));
	EXPECT(t, !write_traps(block_page(s.b, 6)));
	split_do(&s);
	flush_page(s.b);
	EXPECT_EQ(t, raw_private(s.b->pfn + 5, GPA, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT(t, !write_traps(block_page(s.b, 6)));
	EXPECT(t, write_on(cpu, block_page(s.b, 6)));
	smp_call_function_single(cpu, flush_everywhere, NULL, 1);
	EXPECT(t, !write_on(cpu, block_page(s.b, 6)));
	put_cpu();
	EXPECT_EQ(t, raw_shared(s.b->pfn + 5, RMP_PG_SIZE_4K), RMP_OK);
	split_undo(&s);
}

/* set_memory_4k(), which flushes on all CPUs: nothing is left to be caught. */
static void set_memory_4k_flushes(struct test *t)
{
	int (*set_memory_4k)(unsigned long addr, int numpages);
	struct block *b = block_alloc(t, PG_LEVEL_2M);
	unsigned int cpu;

	set_memory_4k = kernel_symbol("set_memory_4k");
	if (!EXPECT(t, b && set_memory_4k))
		return;
	if (!EXPECT(t, num_online_cpus() > 1))
		return;
	cpu = cpumask_any_but(cpu_online_mask, raw_smp_processor_id());
	EXPECT(t, !write_on(cpu, block_page(b, 6)));
	EXPECT_EQ(t, fault_of_write(block_page(b, 6)), 0);
	EXPECT_EQ(t, set_memory_4k((unsigned long)block_page(b, 5), 1), 0);
	EXPECT_EQ(t, raw_private(b->pfn + 5, GPA, RMP_PG_SIZE_4K), RMP_OK);
	EXPECT_EQ(t, fault_of_write(block_page(b, 6)), 0);
	EXPECT(t, !write_on(cpu, block_page(b, 6)));
}

/* And so the kernel's own way is right: adjust_direct_map(), then RMPUPDATE. */
static void kernel_flushes(struct test *t)
{
	struct block *b = block_alloc(t, PG_LEVEL_2M);
	unsigned int cpu;

	if (!EXPECT(t, b && num_online_cpus() > 1))
		return;
	cpu = cpumask_any_but(cpu_online_mask, raw_smp_processor_id());
	EXPECT(t, !write_on(cpu, block_page(b, 6)));
	EXPECT_EQ(t, fault_of_write(block_page(b, 6)), 0);
	EXPECT_EQ(t, rmp_make_private(b->pfn + 5, GPA, PG_LEVEL_4K, TEST_ASID, false), 0);
	EXPECT_EQ(t, fault_of_write(block_page(b, 6)), 0);
	EXPECT(t, !write_on(cpu, block_page(b, 6)));
	EXPECT(t, write_on(cpu, block_page(b, 5)));
}

/*
 * A merge the other way round: small translations that are left over of a 2M
 * page are checked as small, and do no harm.
 */
static void merge_without_flush(struct test *t)
{
	unsigned long flags;
	struct split s;
	bool trap;

	if (!split_prepare(t, &s))
		return;
	split_do(&s);
	on_each_cpu(flush_everywhere, NULL, 1);
	local_irq_save(flags);
	trap = write_traps(block_page(s.b, 6));
	set_pmd(s.pmdp, s.large);
	trap |= write_traps(block_page(s.b, 6));
	local_irq_restore(flags);
	EXPECT(t, !trap);
	split_undo(&s);
}

static const struct test_case cases[] = {
	TEST_CASE(no_flush_is_caught),
	TEST_CASE(invlpg_flushes),
	TEST_CASE(invlpg_elsewhere_does_not),
	TEST_CASE(cr3_keeps_global),
	TEST_CASE(cr4_pge_flushes),
	TEST_CASE(small_page_is_used_after_flush),
	TEST_CASE(flush_is_of_one_cpu),
	TEST_CASE(set_memory_4k_flushes),
	TEST_CASE(kernel_flushes),
	TEST_CASE(merge_without_flush),
};

TEST_GROUP(strict, cases, .needs_snp = true);
