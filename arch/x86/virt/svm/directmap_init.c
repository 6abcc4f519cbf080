// SPDX-License-Identifier: GPL-2.0
/*
 * The direct map of an SEV-SNP host, directmap.c, and the rest of the kernel: counters
 * and events for people to read, and word of memory that is added.
 */
#include <linux/cc_platform.h>
#include <linux/cpumask.h>
#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/memory.h>
#include <linux/notifier.h>
#include <linux/seq_file.h>

#include "directmap.h"

#define CREATE_TRACE_POINTS
#include "directmap_trace.h"

static const char * const stat_names[SNP_DIRECTMAP_NR_STATS] = {
	[SNP_DIRECTMAP_SKIPPED_4K] = "skipped_4k",
	[SNP_DIRECTMAP_SKIPPED_2M] = "skipped_2m",
	[SNP_DIRECTMAP_SPLIT_2M] = "split_2m",
	[SNP_DIRECTMAP_SPLIT_1G] = "split_1g",
	[SNP_DIRECTMAP_SPLIT_FAILED] = "split_failed",
	[SNP_DIRECTMAP_FLUSHES] = "flushes",
	[SNP_DIRECTMAP_RESTORED_2M] = "restored_2m",
	[SNP_DIRECTMAP_RESTORED_1G] = "restored_1g",
	[SNP_DIRECTMAP_KEPT_PRIVATE] = "kept_private",
	[SNP_DIRECTMAP_KEPT_MIXED] = "kept_mixed",
};

static int snp_directmap_show(struct seq_file *m, void *unused)
{
	unsigned long sum;
	int cpu, i;

	for (i = 0; i < SNP_DIRECTMAP_NR_STATS; i++) {
		sum = 0;
		for_each_possible_cpu(cpu)
			sum += per_cpu(snp_directmap_stats, cpu).nr[i];
		seq_printf(m, "%s %lu\n", stat_names[i], sum);
	}

	return 0;
}
DEFINE_SHOW_ATTRIBUTE(snp_directmap);

static int snp_directmap_notify(struct notifier_block *nb, unsigned long action, void *data)
{
	struct memory_notify *mem = data;

	/* Its struct pages may go after the one, its mapping has been made before the other. */
	if (action == MEM_OFFLINE || action == MEM_GOING_ONLINE)
		snp_directmap_forget(mem->start_pfn, mem->nr_pages);
	return NOTIFY_OK;
}

static int __init snp_directmap_init(void)
{
	if (!cc_platform_has(CC_ATTR_HOST_SEV_SNP))
		return 0;

	hotplug_memory_notifier(snp_directmap_notify, DEFAULT_CALLBACK_PRI);
	debugfs_create_file("snp_directmap", 0400, arch_debugfs_dir, NULL, &snp_directmap_fops);
	return 0;
}
late_initcall(snp_directmap_init);
