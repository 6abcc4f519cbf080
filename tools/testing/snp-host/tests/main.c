// SPDX-License-Identifier: GPL-2.0
/*
 * The part of the conformance suite of the emulated SNP host that runs in the
 * kernel: the rules of the RMP, as the host's software sees them.
 *
 * Loading the module runs the groups of tests that its parameter names, and
 * prints a line for each test; if one fails, the module is not loaded.  Many groups
 * need the processor's virtualisation or the PSP for themselves: KVM and ccp must not
 * be loaded.  Without groups the module stays, for the user programs
 * and their device.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/sched.h>
#include <linux/string.h>

#include "snp_test.h"

static char *groups;
module_param(groups, charp, 0);
MODULE_PARM_DESC(groups, "groups of tests to run, separated by commas");

static const struct test_group *const all_groups[] = {
	&boot_group,
	&edge_group,
	&no_rmp_group,
	&rmp_group,
	&write_group,
	&strict_group,
	&stress_group,
	&dma_group,
	&vmrun_group,
	&vmrun_strict_group,
	&psp_group,
	&launch_group,
	&unsmash_group,
	&guest_group,
	&stock_group,
	&directmap_perf_group,
#ifdef SNP_TEST_DIRECTMAP
	&directmap_group,
	&directmap_churn_group,
	&directmap_fault_group,
	&directmap_presplit_group,
	&directmap_left_group,
#endif
};

void test_fail(struct test *t, int line, const char *fmt, ...)
{
	struct va_format vaf = { .fmt = fmt };
	va_list args;

	va_start(args, fmt);
	vaf.va = &args;
	pr_err("%s: line %d: %pV\n", t->name, line, &vaf);
	va_end(args);
	t->failed = true;
}

/* Result lines, for the reader to miss none. */
static int results;

static bool run_case(const char *group, const struct test_case *c)
{
	struct test t = { .name = c->name, .blocks = LIST_HEAD_INIT(t.blocks) };

	c->run(&t);
	blocks_free(&t);
	if (t.failed)
		pr_err("not ok: %s: %s\n", group, c->name);
	else
		pr_info("ok: %s: %s\n", group, c->name);
	results++;
	cond_resched();
	return !t.failed;
}

static int run_group(const struct test_group *group)
{
	int i, end, err = 0;

	if (group->needs_snp && !rmp_table_base())
		err = -ENODEV;
	else if (group->setup)
		err = group->setup();
	if (err) {
		pr_err("not ok: %s: setup, error %d\n", group->name, err);
		return err;
	}
	for (i = 0; i < group->nr; i++) {
		if (!run_case(group->name, &group->cases[i]))
			err = -EIO;
	}
	end = group->teardown ? group->teardown() : 0;
	if (end)
		pr_err("not ok: %s: teardown, error %d\n", group->name, end);
	return err ?: end;
}

static const struct test_group *find_group(const char *name)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(all_groups); i++) {
		if (!strcmp(all_groups[i]->name, name))
			return all_groups[i];
	}
	pr_err("not ok: no group %s\n", name);
	return NULL;
}

static int run_groups(void)
{
	const struct test_group *group;
	int err, result = 0;
	char *name;

	while ((name = strsep(&groups, ","))) {
		group = find_group(name);
		err = group ? run_group(group) : -EINVAL;
		result = result ?: err;
	}
	pr_info("results: %d\n", results);
	return result;
}

static bool has_device;

static int __init snp_host_test_init(void)
{
	int err;

	err = machine_init();
	if (err)
		return err;
	if (groups) {
		err = run_groups();
	} else {
		err = device_init();
		has_device = !err;
	}
	if (err)
		machine_exit();
	return err;
}
module_init(snp_host_test_init);

static void __exit snp_host_test_exit(void)
{
	if (has_device)
		device_exit();
	machine_exit();
}
module_exit(snp_host_test_exit);

MODULE_DESCRIPTION("Conformance tests of an emulated SNP host");
MODULE_LICENSE("GPL");
