// SPDX-License-Identifier: GPL-2.0-only
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kselftest.h"
#include "lpage_leak.h"
#include "lpage_vm.h"
#include "test_util.h"

#define ALLOCINFO		"/proc/allocinfo"

/* Whose allocations are looked at: KVM's own, and those it has others do for it. */
static const char * const sources[] = {
	"arch/x86/kvm/", "virt/kvm/", "kernel/vhost_task.c:",
};

/* Caches whose memory may be given to kvfree_rcu(). */
#define CACHES			"/sys/kernel/slab/kmalloc-*/shrink"

#define MAX_SITES		512

struct site {
	char name[128];
	u64 bytes;
};

struct lpage_leaks {
	u64 sec_page_tables_kb;
	int nr_sites;
	struct site sites[MAX_SITES];
};

bool lpage_leaks_known(void)
{
	return !access(ALLOCINFO, R_OK);
}

static bool is_ours(const char *name)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(sources); i++)
		if (strstr(name, sources[i]))
			return true;
	return false;
}

/* A line is "BYTES CALLS FILE:LINE func:NAME", and some are titles. */
static void read_sites(struct lpage_leaks *leaks)
{
	unsigned long long bytes;
	struct site *site;
	char line[512];
	FILE *file;
	int at;

	leaks->nr_sites = 0;
	file = fopen(ALLOCINFO, "r");
	TEST_ASSERT(file, "Cannot open " ALLOCINFO);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%llu %*u %n", &bytes, &at) != 1 || !is_ours(line + at))
			continue;
		TEST_ASSERT(leaks->nr_sites < MAX_SITES, "More than %d lines", MAX_SITES);
		site = &leaks->sites[leaks->nr_sites++];
		site->bytes = bytes;
		snprintf(site->name, sizeof(site->name), "%.*s",
			 (int)strcspn(line + at, "\n"), line + at);
	}
	fclose(file);
	TEST_ASSERT(leaks->nr_sites, ALLOCINFO " has nothing of KVM");
}

static void read_now(struct lpage_leaks *leaks)
{
	leaks->sec_page_tables_kb = lpage_sec_page_tables_kb();
	leaks->nr_sites = 0;
	if (lpage_leaks_known())
		read_sites(leaks);
}

struct lpage_leaks *lpage_leaks_begin(void)
{
	struct lpage_leaks *leaks = malloc(sizeof(*leaks));

	TEST_ASSERT(leaks, "No memory");
	read_now(leaks);
	return leaks;
}

/* A module that was loaded meanwhile would bring lines of its own. */
static u64 bytes_before(const struct lpage_leaks *begin, const char *name)
{
	int i;

	for (i = 0; i < begin->nr_sites; i++)
		if (!strcmp(begin->sites[i].name, name))
			return begin->sites[i].bytes;
	return 0;
}

static bool is_gone(const struct lpage_leaks *begin, const struct lpage_leaks *now, bool say)
{
	bool gone = now->sec_page_tables_kb <= begin->sec_page_tables_kb;
	const struct site *site;
	u64 before;

	if (say && !gone)
		ksft_print_msg("leaked: %lu kB of page tables, %lu kB before\n",
			       now->sec_page_tables_kb, begin->sec_page_tables_kb);
	for (site = now->sites; site < now->sites + now->nr_sites; site++) {
		before = bytes_before(begin, site->name);
		if (site->bytes <= before)
			continue;
		gone = false;
		if (say)
			ksft_print_msg("leaked: %lu bytes, %lu before: %s\n", site->bytes,
				       before, site->name);
	}
	return gone;
}

/*
 * What kvfree_rcu() was given may stay with a CPU until there is more of it, which
 * may be never.  A cache that is to shrink gives it to RCU at once.
 */
static void flush_kvfree_rcu(void)
{
	glob_t caches;
	size_t i;

	if (glob(CACHES, 0, NULL, &caches))
		return;
	for (i = 0; i < caches.gl_pathc; i++)
		param_set(caches.gl_pathv[i], "1");
	globfree(&caches);
}

bool lpage_leaks_gone(const struct lpage_leaks *begin)
{
	struct lpage_leaks *now = malloc(sizeof(*now));
	s64 deadline = lpage_now_ms() + LPAGE_GONE_MS;
	bool gone, late;

	TEST_ASSERT(now, "No memory");
	do {
		/* Pages that were freed stay on lists of each CPU until these are drained. */
		param_set("/proc/sys/vm/drop_caches", "1");
		late = lpage_now_ms() >= deadline;
		read_now(now);
		gone = is_gone(begin, now, late);
		if (!gone) {
			flush_kvfree_rcu();
			usleep(10000);
		}
	} while (!gone && !late);
	free(now);
	return gone;
}
