// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>

#include "lpage_rows.h"
#include "lpage_test.h"

void lpage_rows_header(void)
{
	printf("round\tphase\tns\ttsc\tfaults\tflushes\tpages_4k\tpages_2m\tpages_1g\ttable_kb\n");
}

struct lpage_counters lpage_counters_read(const struct lpage_rows *rows)
{
	struct lpage_counters c = {
		/* Counts every flush asked for, also while no vCPU runs. */
		.flushes = lpage_vm_stat(rows->vm, "remote_tlb_flush_requests"),
		.pages_4k = lpage_vm_stat(rows->vm, "pages_4k"),
		.pages_2m = lpage_vm_stat(rows->vm, "pages_2m"),
		.pages_1g = lpage_vm_stat(rows->vm, "pages_1g"),
		.table_kb = lpage_sec_page_tables_kb(),
	};
	int i;

	for (i = 0; i < rows->nr_vcpus; i++)
		c.faults += lpage_vcpu_stat(rows->vcpus[i], "pf_taken");

	return c;
}

void lpage_rows_begin(struct lpage_rows *rows)
{
	rows->base = lpage_counters_read(rows);
	rows->last = rows->base;
}

void lpage_row(struct lpage_rows *rows, const char *name, s64 ns, s64 ticks)
{
	const struct lpage_counters *base = &rows->base, *last = &rows->last;
	struct lpage_counters now = lpage_counters_read(rows);

	printf("%d\t%s\t%ld\t%ld\t%lu\t%lu\t%ld\t%ld\t%ld\t%ld\n",
	       rows->round, name, ns, ticks, now.faults - last->faults,
	       now.flushes - last->flushes, now.pages_4k - base->pages_4k,
	       now.pages_2m - base->pages_2m, now.pages_1g - base->pages_1g,
	       now.table_kb - base->table_kb);
	rows->last = now;
}

void lpage_row_phase(struct lpage_rows *rows, const char *name, struct lpage_phase *phase)
{
	lpage_phase_end(phase);
	lpage_row(rows, name, phase->ns, phase->ticks);
}
