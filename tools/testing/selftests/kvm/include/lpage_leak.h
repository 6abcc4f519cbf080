/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What KVM has allocated, by the line of its source that did, so that what a VM
 * has not given back shows when it is gone.
 */
#ifndef SELFTEST_KVM_LPAGE_LEAK_H
#define SELFTEST_KVM_LPAGE_LEAK_H

#include <stdbool.h>
#include <linux/types.h>

struct lpage_leaks;

/*
 * Whether this kernel knows the source of each allocation, pages included
 * (CONFIG_MEM_ALLOC_PROFILING).
 */
bool lpage_leaks_known(void);

/* What is allocated now. */
struct lpage_leaks *lpage_leaks_begin(void);

/*
 * Wait until no line of KVM's source has more memory than it had at @begin, and
 * the second page tables are as many as they were; much of it is freed by RCU.
 * Returns false, with a diagnostic for each line that has, after LPAGE_GONE_MS.
 */
bool lpage_leaks_gone(const struct lpage_leaks *begin);

#endif /* SELFTEST_KVM_LPAGE_LEAK_H */
