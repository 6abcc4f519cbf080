// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest.h"
#include "snp_user.h"

/* Of the clock of an emulated machine, that may be a busy one. */
#define TIME_LIMIT	60

static int device = -1;

void check_failed(int line, const char *fmt, ...)
{
	va_list args;

	printf("# line %d: ", line);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	_exit(KSFT_FAIL);
}

static void device_call(unsigned long request, void *arg, int line)
{
	if (device < 0)
		device = open(SNP_TEST_DEVICE, O_RDWR | O_CLOEXEC);
	if (device < 0)
		check_failed(line, "cannot open %s: %s", SNP_TEST_DEVICE, strerror(errno));
	if (ioctl(device, request, arg))
		check_failed(line, "ioctl 0x%lx: %s", request, strerror(errno));
}

void test_assign(void *addr, int raw)
{
	struct snp_test_page page = { .addr = (uintptr_t)addr, .raw = raw };

	device_call(SNP_TEST_ASSIGN, &page, __LINE__);
}

void test_share(void *addr)
{
	struct snp_test_page page = { .addr = (uintptr_t)addr };

	device_call(SNP_TEST_SHARE, &page, __LINE__);
}

uint64_t test_counter(uint64_t nr)
{
	device_call(SNP_TEST_COUNTER, &nr, __LINE__);
	return nr;
}

uint64_t test_assigned(void)
{
	uint64_t nr;

	device_call(SNP_TEST_ASSIGNED, &nr, __LINE__);
	return nr;
}

void test_watch(void *addr)
{
	struct snp_test_faults faults = { .addr = (uintptr_t)addr };

	device_call(SNP_TEST_WATCH, &faults, __LINE__);
}

struct snp_test_faults test_faults(void)
{
	struct snp_test_faults faults;

	device_call(SNP_TEST_FAULTS, &faults, __LINE__);
	return faults;
}

uint64_t read_value(const char *path, const char *name)
{
	char line[128], found[64];
	unsigned long long value = 0;
	FILE *file = fopen(path, "r");
	int hit = 0;

	if (!file)
		check_failed(__LINE__, "cannot open %s: %s", path, strerror(errno));
	while (!hit && fgets(line, sizeof(line), file)) {
		if (name) {
			hit = sscanf(line, "%63s %llu", found, &value) == 2 &&
			      !strcmp(found, name);
		} else {
			value = strtoull(line, NULL, 10);
			hit = 1;
		}
	}
	fclose(file);
	if (!hit)
		check_failed(__LINE__, "%s has no %s", path, name ? name : "value");
	return value;
}

static void run_test(const struct user_test *test)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		alarm(TIME_LIMIT);
		test->run();
		fflush(stdout);
		_exit(KSFT_PASS);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		ksft_exit_fail_msg("no child process\n");
	if (WIFSIGNALED(status))
		ksft_print_msg("%s: signal %d\n", test->name, WTERMSIG(status));
	ksft_test_result(WIFEXITED(status) && WEXITSTATUS(status) == KSFT_PASS, "%s\n",
			 test->name);
}

int run_user_tests(const struct user_test *tests, int nr)
{
	int i;

	ksft_print_header();
	ksft_set_plan(nr);
	for (i = 0; i < nr; i++)
		run_test(&tests[i]);
	ksft_finished();
}
