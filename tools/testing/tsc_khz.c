// SPDX-License-Identifier: GPL-2.0-only
/*
 * Print the rate of this machine's TSC in kHz, which is that of a CPU that QEMU
 * emulates here: a kernel that calibrates it there, while others want the machine
 * as well, may be wrong by any factor.
 */
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

struct point {
	unsigned long long tsc;
	unsigned long long ns;
};

static unsigned long long now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* Of many tries, the one that was least held up. */
static struct point take_point(void)
{
	unsigned long long begin, tsc, end, least = -1ull;
	struct point point = {};
	int i;

	for (i = 0; i < 1000; i++) {
		begin = now_ns();
		tsc = __rdtsc();
		end = now_ns();
		if (end - begin < least) {
			least = end - begin;
			point.tsc = tsc;
			point.ns = begin + least / 2;
		}
	}
	return point;
}

int main(void)
{
	const struct timespec while_it_counts = { .tv_nsec = 500000000 };
	struct point begin, end;

	begin = take_point();
	nanosleep(&while_it_counts, NULL);
	end = take_point();
	printf("%llu\n", (end.tsc - begin.tsc) * 1000000 / (end.ns - begin.ns));
	return 0;
}
