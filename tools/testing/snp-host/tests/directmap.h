/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of the direct map share, on a kernel that splits it in batches and puts
 * it back (rmp_make_private_range() is there): what the kernel counts, and what its page
 * tables say.
 */
#ifndef SNP_TEST_DIRECTMAP_H
#define SNP_TEST_DIRECTMAP_H

#include "snp_test.h"

#define GPA		0x200000ull

/* All that has been split is whole again after this long. */
#define RESTORE_MS	10000
/* And the first of it could be after this long. */
#define SETTLE_MS	2000

struct dm_counts {
	/* /sys/kernel/debug/x86/snp_directmap */
	u64 skipped_4k, skipped_2m;
	u64 split_2m, split_1g, split_failed, flushes;
	u64 restored_2m, restored_1g;
	u64 kept_private, kept_mixed;
	/* /proc/vmstat */
	u64 splits_2m, splits_1g, collapses_2m, collapses_1g;
	/* /proc/meminfo, in kB */
	u64 kb_4k, kb_2m, kb_1g;
};

bool dm_counts_now(struct test *t, struct dm_counts *now);

/*
 * Since @before, so much of the direct map has been split and put back: all that counts
 * it says the same.
 */
struct dm_change {
	int split_2m, split_1g, restored_2m, restored_1g;
};

bool dm_expect_change(struct test *t, int line, const struct dm_counts *before,
		      const struct dm_change *want);

#define EXPECT_CHANGE(t, before, ...)					\
	dm_expect_change(t, __LINE__, before, &(struct dm_change){ __VA_ARGS__ })

/* The kernel maps @va at @level, in time. */
bool dm_wait_level(const void *va, enum pg_level level, int ms);

/*
 * That each page of 2M is mapped to itself, with the attributes that @va is mapped with
 * now, however large the pages are.
 */
u64 dm_attributes(const void *va);
bool dm_is_sound(const void *va, u64 attributes);

/* /sys/module/kernel/parameters/snp_directmap_restore */
bool dm_set_restore(struct test *t, bool on);

#endif /* SNP_TEST_DIRECTMAP_H */
