// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lpage_cgroup.h"
#include "lpage_vm.h"

void cgroup_enter(void)
{
	mkdir(CGROUP_ROOT, 0700);
	/* A subtest that failed has left it there. */
	if (mount("none", CGROUP_ROOT, "cgroup2", 0, NULL) && errno != EBUSY)
		skip("needs cgroup2");
	if (file_write(CGROUP_ROOT "/cgroup.subtree_control", "+memory +pids"))
		skip("needs the memory and pids controllers of cgroup2");
	TEST_ASSERT(!mkdir(CGROUP, 0700) || errno == EEXIST, "Cannot make " CGROUP);
	param_set(CGROUP "/memory.max", "max");
	param_set(CGROUP "/cgroup.freeze", "0");
	param_set(CGROUP "/cgroup.procs", "0");
}

void cgroup_leave(void)
{
	param_set(CGROUP_ROOT "/cgroup.procs", "0");
	rmdir(CGROUP);
	umount2(CGROUP_ROOT, MNT_DETACH);
	rmdir(CGROUP_ROOT);
}

u64 cgroup_value(const char *path, const char *name)
{
	unsigned long long value;
	char line[128], *number;
	FILE *file;

	file = fopen(path, "r");
	TEST_ASSERT(file, "Cannot open %s", path);
	while (fgets(line, sizeof(line), file)) {
		number = line + strlen(name);
		if (!strncmp(line, name, strlen(name)) && sscanf(number, " %llu", &value) == 1) {
			fclose(file);
			return value;
		}
	}
	TEST_FAIL("No %s in %s", name, path);
	return 0;
}
