/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the user programs of the conformance suite share: tests in children of their
 * own, which fail when a check does, a signal ends them or their time is up; and the
 * test module's device.
 */
#ifndef SNP_USER_H
#define SNP_USER_H

#include <linux/compiler.h>
#include <stdint.h>

#include "../snp_test_dev.h"

struct user_test {
	const char *name;
	void (*run)(void);
};

#define USER_TEST(fn)	{ #fn, fn }

/* Runs the tests and prints their results; the exit status of the program. */
int run_user_tests(const struct user_test *tests, int nr);

/* End the test that is running. */
void __noreturn __printf(2, 3) check_failed(int line, const char *fmt, ...);

#define CHECK(cond)							\
	do {								\
		if (!(cond))						\
			check_failed(__LINE__, "%s", #cond);		\
	} while (0)

#define CHECK_EQ(expr, want)						\
	do {								\
		uint64_t _got = (expr), _want = (want);			\
									\
		if (_got != _want)					\
			check_failed(__LINE__, "%s is 0x%llx, want 0x%llx",	\
				     #expr, (unsigned long long)_got,	\
				     (unsigned long long)_want);	\
	} while (0)

/* The device, opened for the test that is running. */
void test_assign(void *addr, int raw);
void test_share(void *addr);
uint64_t test_counter(uint64_t nr);
uint64_t test_assigned(void);
void test_watch(void *addr);
struct snp_test_faults test_faults(void);

/* The number after @name in a file of lines; the one that the file begins with if NULL. */
uint64_t read_value(const char *path, const char *name);

#endif /* SNP_USER_H */
