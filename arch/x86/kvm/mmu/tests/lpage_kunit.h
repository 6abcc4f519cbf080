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
	u64 user_exec;		/* the same in user mode, where it is apart */
	u64 no_exec;		/* set not to */
	u64 accessed;
	u64 dirty;
	u64 host_writable;
	u64 mmu_writable;
	u64 memtype;
	u64 c_bit;
	bool ept;
	bool has_ad;
	bool exec_only;		/* there may be SPTEs without R */
};

/*
 * All kinds of CPU, whatever the one at hand is.  A suite that takes them as parameters
 * makes its generator by LPAGE_ENCODING_PARAM.
 */
#define NR_LPAGE_ENCODINGS	7
extern const struct lpage_encoding lpage_encodings[NR_LPAGE_ENCODINGS];

void lpage_encoding_desc(const struct lpage_encoding *enc, char *desc);

#define LPAGE_ENCODING_PARAM	\
	KUNIT_ARRAY_PARAM(lpage_encoding, lpage_encodings, lpage_encoding_desc)

#define NR_SPTES	512

#define LPAGE_EPT_R	BIT_ULL(0)
#define LPAGE_EPT_X	BIT_ULL(2)

#ifndef LPAGE_KUNIT_COMPAT
/* Execution in user mode, and what is KVM's own. */
#define LPAGE_EPT_XU			BIT_ULL(10)
#define LPAGE_EPT_HOST_WRITABLE		BIT_ULL(53)
#define LPAGE_EPT_MMU_WRITABLE		BIT_ULL(55)

/* Where an SPTE that tracks accesses keeps R, X and XU. */
#define LPAGE_EPT_SAVED_SHIFT		52

/* Have what tells who may execute, and whether there are A and D, restored later. */
#define lpage_save_exec_masks(test)				\
do {								\
	lpage_kunit_save_var(test, shadow_xs_mask);		\
	lpage_kunit_save_var(test, shadow_xu_mask);		\
	lpage_kunit_save_var(test, kvm_ad_enabled);		\
} while (0)

#define lpage_set_ept_masks(enc)	kvm_mmu_set_ept_masks((enc)->has_ad)

/* What kvm_cpu_dirty_log_size() returns. */
#define lpage_dirty_log_size(kvm)	((kvm)->arch.cpu_dirty_log_size)
#endif

#define LPAGE_EPT_RX	(LPAGE_EPT_R | LPAGE_EPT_X | LPAGE_EPT_XU)
#define LPAGE_EPT_RWX	(LPAGE_EPT_RX | PT_WRITABLE_MASK)

#define LPAGE_LARGE	BIT_ULL(7)

/*
 * Set KVM's masks to what they are on the CPU of @enc until the test case is over,
 * and return a VM, all zero, that lives as long.  Skips the test where VMs run, as
 * the masks are theirs as well; at boot there are none.
 */
struct kvm *lpage_kunit_kvm(struct kunit *test, const struct lpage_encoding *enc);

/* Give @sp, all zero otherwise, a page table of SPTEs at @level until then. */
void lpage_kunit_table(struct kunit *test, struct kvm_mmu_page *sp, int level);

/* Restore a variable when the test case is over. */
#define lpage_kunit_save_var(test, var)	lpage_kunit_save(test, &(var), sizeof(var))

/* Set it until then. */
#define lpage_kunit_set(test, var, value)					\
do {										\
	lpage_kunit_save_var(test, var);					\
	(var) = (value);							\
} while (0)

/* Restore @size bytes at @data when the test case is over. */
void lpage_kunit_save(struct kunit *test, void *data, size_t size);

/* Let the calling thread look as if it were being killed, or not any more. */
void lpage_kunit_kill(bool killed);

#endif /* __KVM_X86_MMU_TESTS_LPAGE_KUNIT_H */
