/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the KUnit suites of this folder share: how SPTEs are encoded for each kind
 * of CPU, and a VM that is just enough to compute with.
 *
 * The suites are a part of KVM itself.  Functions that only one file knows are
 * tested by a suite which that file includes at its end.
 */
#ifndef __KVM_X86_MMU_TESTS_LPAGE_KUNIT_H
#define __KVM_X86_MMU_TESTS_LPAGE_KUNIT_H

#include <kunit/test.h>

#include "mmu.h"
#include "mmu/mmu_internal.h"
#include "mmu/spte.h"

/* How an SPTE is encoded, for one kind of CPU, in this folder's own words. */
struct lpage_encoding {
	const char *name;
	u64 present;		/* in each present SPTE */
	u64 read;		/* optional permission to read, or U */
	u64 exec;		/* set to execute */
	u64 no_exec;		/* set not to */
	u64 accessed;
	u64 dirty;
	u64 host_writable;
	u64 mmu_writable;
	u64 memtype;
	u64 c_bit;
	bool ept;
	bool has_ad;
	bool exec_only;
};

/* A parameter generator: all kinds of CPU, whatever the one at hand is. */
const void *lpage_encoding_gen_params(const void *prev, char *desc);

#define NR_SPTES	512

#define LPAGE_EPT_R	BIT_ULL(0)
#define LPAGE_EPT_X	BIT_ULL(2)
#define LPAGE_EPT_RWX	GENMASK_ULL(2, 0)

#define LPAGE_LARGE	BIT_ULL(7)

/*
 * Set KVM's masks to what they are on the CPU of @enc until the test case is over,
 * and return a VM, all zero, that lives as long.  Skips the test where VMs run, as
 * the masks are theirs as well; at boot there are none.
 */
struct kvm *lpage_kunit_kvm(struct kunit *test, const struct lpage_encoding *enc);

/* Give @sp, all zero otherwise, a page table of SPTEs at @level until then. */
void lpage_kunit_table(struct kunit *test, struct kvm_mmu_page *sp, int level);

/* Set a variable until the test case is over. */
#define lpage_kunit_set(test, var, value)					\
do {										\
	lpage_kunit_save(test, &(var), sizeof(var));				\
	(var) = (value);							\
} while (0)

/* Restore @size bytes at @data when the test case is over. */
void lpage_kunit_save(struct kunit *test, void *data, size_t size);

/* Let the calling thread look as if it were being killed, or not any more. */
void lpage_kunit_kill(bool killed);

#endif /* __KVM_X86_MMU_TESTS_LPAGE_KUNIT_H */
