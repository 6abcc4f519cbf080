/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests that measure print: one row for each phase of a round, with its time,
 * its ticks, and what KVM has counted meanwhile.
 *
 * Works on any KVM: only statistics that every kvm.ko has are read.
 */
#ifndef SELFTEST_KVM_LPAGE_ROWS_H
#define SELFTEST_KVM_LPAGE_ROWS_H

#include <linux/types.h>

#include "kvm_util.h"
#include "lpage_ticks.h"

struct lpage_counters {
	u64 faults;
	u64 flushes;
	u64 pages_4k;
	u64 pages_2m;
	u64 pages_1g;
	u64 table_kb;
};

struct lpage_rows {
	struct kvm_vm *vm;
	struct kvm_vcpu **vcpus;
	int nr_vcpus;
	int round;

	/* The counters before the guest touched its memory, and at the last phase. */
	struct lpage_counters base, last;
};

void lpage_rows_header(void);

struct lpage_counters lpage_counters_read(const struct lpage_rows *rows);

/* From here on the rows count what is mapped, and what has happened. */
void lpage_rows_begin(struct lpage_rows *rows);

/* Faults and flushes are those since the row before; the rest is since the beginning. */
void lpage_row(struct lpage_rows *rows, const char *name, s64 ns, s64 ticks);

void lpage_row_phase(struct lpage_rows *rows, const char *name, struct lpage_phase *phase);

#endif /* SELFTEST_KVM_LPAGE_ROWS_H */
