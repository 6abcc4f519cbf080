/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the large page selftests share: KVM's binary statistics by name, and
 * the memory that the host spends on secondary page tables.
 */
#ifndef SELFTEST_KVM_LPAGE_TEST_H
#define SELFTEST_KVM_LPAGE_TEST_H

#include <stdbool.h>
#include <linux/types.h>

#include "kvm_util.h"

/* The value of a statistic.  A name that KVM does not have fails the test. */
u64 lpage_vm_stat(struct kvm_vm *vm, const char *name);
u64 lpage_vcpu_stat(struct kvm_vcpu *vcpu, const char *name);

/* Several at once.  What KVM does not have is zero. */
void lpage_vm_stats(struct kvm_vm *vm, const char * const *names, u64 *values, int nr);

bool lpage_vm_has_stat(struct kvm_vm *vm, const char *name);

/* Monotonic. */
s64 lpage_now_ms(void);

/* SecPageTables of /proc/meminfo, exact at the time of the call. */
u64 lpage_sec_page_tables_kb(void);

/*
 * What is freed by RCU returns a little later, and much later on a busy machine with
 * a kernel that checks itself.  What has not by then does not.
 */
#define LPAGE_GONE_MS		30000

/*
 * Wait until SecPageTables is @kb or less.  The test fails if that takes
 * LPAGE_GONE_MS.
 */
void lpage_wait_sec_page_tables(u64 kb);

/*
 * Pages of memory in use by anybody but slab, whose caches come and go; what waits in
 * lists of each CPU to be free is free.
 */
u64 lpage_pages_in_use(void);

#endif /* SELFTEST_KVM_LPAGE_TEST_H */
