/* SPDX-License-Identifier: GPL-2.0-only */
/* A memory cgroup of a subtest's own. */
#ifndef SELFTEST_KVM_LPAGE_CGROUP_H
#define SELFTEST_KVM_LPAGE_CGROUP_H

#include <linux/types.h>

#define CGROUP_ROOT		"/tmp/lpage_cgroup"
#define CGROUP			CGROUP_ROOT "/lpage_test"

/*
 * Move to the cgroup; what is allocated from here on is its.  Skips the subtest if there
 * is no cgroup2, or its controllers are not to be had.
 */
void cgroup_enter(void);

void cgroup_leave(void);

/* The number that follows @name, which may be "", at the beginning of a line of a file. */
u64 cgroup_value(const char *path, const char *name);

#endif /* SELFTEST_KVM_LPAGE_CGROUP_H */
