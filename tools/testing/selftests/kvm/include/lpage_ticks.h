/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * TSC ticks: those of a part of a test, and those that this CPU spends on something
 * else, for tests that run alone.
 *
 * On an emulated host that counts instructions, a tick is one instruction.
 */
#ifndef SELFTEST_KVM_LPAGE_TICKS_H
#define SELFTEST_KVM_LPAGE_TICKS_H

#include <time.h>
#include <asm/barrier.h>
#include <linux/types.h>

#include "processor.h"
#include "test_util.h"

/* A part of the test that is timed. */
struct lpage_phase {
	struct timespec start;
	u64 tsc;

	/* After its end: how long it was. */
	s64 ns;
	s64 ticks;
};

static inline struct lpage_phase lpage_phase_begin(void)
{
	struct lpage_phase phase;

	clock_gettime(CLOCK_MONOTONIC, &phase.start);
	phase.tsc = rdtsc();
	return phase;
}

static inline void lpage_phase_end(struct lpage_phase *phase)
{
	phase->ticks = rdtsc() - phase->tsc;
	phase->ns = timespec_to_ns(timespec_elapsed(phase->start));
}

/*
 * The page-table pages that KVM lets go of are freed a few grace periods later.
 * A CPU that spins for so long sees what that costs.
 */
#define LPAGE_SETTLE_MS		100

/*
 * The clock is looked at after so many TSC ticks.  An iteration of the spin
 * loop that took longer than the gap was interrupted.
 */
#define LPAGE_SPIN_TICKS	(5 * 1000 * 1000ul)
#define LPAGE_SPIN_LOOPS	64
#define LPAGE_SPIN_GAP		1000

/* Spin, and return how many TSC ticks were spent elsewhere meanwhile. */
static inline u64 lpage_ticks_stolen(void)
{
	u64 begin, prev, now, stolen = 0;
	struct timespec start;
	int i;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		begin = rdtsc();
		prev = begin;
		do {
			for (i = 0; i < LPAGE_SPIN_LOOPS; i++)
				barrier();

			now = rdtsc();
			if (now - prev > LPAGE_SPIN_GAP)
				stolen += now - prev;
			prev = now;
		} while (now - begin < LPAGE_SPIN_TICKS);
	} while (timespec_to_ns(timespec_elapsed(start)) < LPAGE_SETTLE_MS * 1000000l);

	return stolen;
}

#endif /* SELFTEST_KVM_LPAGE_TICKS_H */
