// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lpage_test.h"

/*
 * Read statistics of the VM or vCPU that @stats_fd stands for, by their names, and
 * close @stats_fd.  Returns how many there are.  Looking the names up anew each
 * time keeps this independent of how the selftest library of the day caches
 * descriptors.
 */
static int read_stats(int stats_fd, const char * const *names, u64 *values, int nr)
{
	struct kvm_stats_desc *descs, *desc;
	struct kvm_stats_header header;
	int found = 0, j;
	u32 i;

	read_stats_header(stats_fd, &header);
	descs = read_stats_descriptors(stats_fd, &header);

	for (i = 0; i < header.num_desc && found < nr; i++) {
		desc = get_stats_descriptor(descs, i, &header);
		for (j = 0; j < nr && strcmp(desc->name, names[j]); j++)
			;
		if (j == nr)
			continue;

		read_stat_data(stats_fd, &header, desc, &values[j], 1);
		found++;
	}

	free(descs);
	close(stats_fd);
	return found;
}

static bool read_stat(int stats_fd, const char *name, u64 *value)
{
	return read_stats(stats_fd, &name, value, 1);
}

void lpage_vm_stats(struct kvm_vm *vm, const char * const *names, u64 *values, int nr)
{
	memset(values, 0, nr * sizeof(*values));
	read_stats(vm_get_stats_fd(vm), names, values, nr);
}

u64 lpage_vm_stat(struct kvm_vm *vm, const char *name)
{
	u64 value;

	TEST_ASSERT(read_stat(vm_get_stats_fd(vm), name, &value),
		    "No VM statistic '%s'", name);
	return value;
}

u64 lpage_vcpu_stat(struct kvm_vcpu *vcpu, const char *name)
{
	u64 value;

	TEST_ASSERT(read_stat(vcpu_get_stats_fd(vcpu), name, &value),
		    "No vCPU statistic '%s'", name);
	return value;
}

bool lpage_vm_has_stat(struct kvm_vm *vm, const char *name)
{
	u64 value;

	return read_stat(vm_get_stats_fd(vm), name, &value);
}

/* What is done by writing to a file of /proc/sys/vm. */
static void vm_sysctl(const char *name)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/vm/%s", name);
	fd = open(path, O_WRONLY);
	TEST_ASSERT(fd >= 0, "Cannot open %s: run as root", path);
	TEST_ASSERT(write(fd, "1", 1) == 1, "Cannot write to %s", path);
	close(fd);
}

/*
 * CPUs keep small differences to themselves and fold them in every second;
 * a write to stat_refresh folds them in now.
 */
static void refresh_vmstat(void)
{
	vm_sysctl("stat_refresh");
}

u64 lpage_sec_page_tables_kb(void)
{
	unsigned long long kb = 0;
	bool found = false;
	char line[128];
	FILE *file;

	refresh_vmstat();

	file = fopen("/proc/meminfo", "r");
	TEST_ASSERT(file, "Cannot open /proc/meminfo");
	while (!found && fgets(line, sizeof(line), file))
		found = sscanf(line, "SecPageTables: %llu kB", &kb) == 1;
	fclose(file);

	TEST_ASSERT(found, "/proc/meminfo has no SecPageTables");
	return kb;
}

s64 lpage_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

void lpage_wait_sec_page_tables(u64 kb)
{
	s64 deadline = lpage_now_ms() + LPAGE_GONE_MS;
	u64 now_kb;

	while ((now_kb = lpage_sec_page_tables_kb()) > kb) {
		TEST_ASSERT(lpage_now_ms() < deadline,
			    "SecPageTables is still %lu kB after %d ms, want %lu kB",
			    now_kb, LPAGE_GONE_MS, kb);
		usleep(1000);
	}
}

u64 lpage_pages_in_use(void)
{
	static const struct {
		const char *format;
		int sign;
	} lines[] = {
		{ " managed %llu", 1 },
		{ " pages free %llu", -1 },
		{ " count: %llu", -1 },
		{ " nr_slab_reclaimable %llu", -1 },
		{ " nr_slab_unreclaimable %llu", -1 },
	};
	unsigned long long nr;
	char line[128];
	u64 pages = 0;
	FILE *file;
	int i;

	/* What is freed stays in each CPU's batches for the LRU lists until these are drained. */
	vm_sysctl("drop_caches");
	refresh_vmstat();

	file = fopen("/proc/zoneinfo", "r");
	TEST_ASSERT(file, "Cannot open /proc/zoneinfo");
	while (fgets(line, sizeof(line), file))
		for (i = 0; i < ARRAY_SIZE(lines); i++)
			if (sscanf(line, lines[i].format, &nr) == 1)
				pages += lines[i].sign * (s64)nr;
	fclose(file);

	return pages;
}
