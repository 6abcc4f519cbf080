// SPDX-License-Identifier: GPL-2.0-only
#include <ctype.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kselftest.h"
#include "lpage_tasks.h"

/* The name in stat may have spaces and parentheses of its own. */
static char task_state(const char *dir, unsigned long *ticks)
{
	char path[128], line[512] = "", *rest;
	unsigned long user = 0, system = 0;
	char state = '?';
	FILE *file;

	snprintf(path, sizeof(path), "%.100s/stat", dir);
	file = fopen(path, "r");
	if (!file)
		return state;
	if (fgets(line, sizeof(line), file)) {
		rest = strrchr(line, ')');
		if (rest)
			sscanf(rest, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
			       &state, &user, &system);
	}
	fclose(file);
	*ticks = user + system;
	return state;
}

static void print_file(const char *dir, const char *name)
{
	char path[128], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "%.100s/%.16s", dir, name);
	file = fopen(path, "r");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file))
		ksft_print_msg("  %s: %.*s\n", name, (int)strcspn(line, "\n"), line);
	fclose(file);
}

static void print_task(const char *dir, bool always)
{
	unsigned long ticks = 0;
	char state = task_state(dir, &ticks);

	if (!always && state != 'D' && state != 'R')
		return;

	ksft_print_msg("%s: state %c, %lu ticks of CPU time\n", dir, state, ticks);
	print_file(dir, "comm");
	print_file(dir, "syscall");
	print_file(dir, "stack");
}

/* Each entry of a directory that is a number. */
static void print_tasks(const char *dir, bool always)
{
	DIR *tasks = opendir(dir);
	char path[128];
	struct dirent *d;

	while (tasks && (d = readdir(tasks))) {
		if (!isdigit(d->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "%.64s/%.32s", dir, d->d_name);
		print_task(path, always);
	}
	if (tasks)
		closedir(tasks);
}

void lpage_tasks_print(pid_t pid)
{
	char dir[64];

	snprintf(dir, sizeof(dir), "/proc/%d/task", pid);
	print_tasks(dir, true);
	print_tasks("/proc", false);
}
