/* SPDX-License-Identifier: GPL-2.0 */
/*
 * /dev/snp_host_test: what the user programs of the conformance suite cannot do
 * for themselves.  The calls return 0, or a negative error number as usual.
 */
#ifndef SNP_TEST_DEV_H
#define SNP_TEST_DEV_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define SNP_TEST_DEVICE		"/dev/snp_host_test"

/*
 * The page of the caller's memory at @addr is assigned to a guest that there is
 * not, as RMPUPDATE does it alone (@raw) or the kernel, which splits the direct map
 * before.  It is pinned until it is shared again: by SNP_TEST_SHARE, or when the
 * file is closed.
 */
struct snp_test_page {
	__u64 addr;
	__u32 raw;
	__u32 reserved;
};

#define SNP_TEST_ASSIGN		_IOW('S', 0, struct snp_test_page)
#define SNP_TEST_SHARE		_IOW('S', 1, struct snp_test_page)

/* One of the emulator's counters: number in, value out. */
#define SNP_TEST_COUNTER	_IOWR('S', 2, __u64)

/* How many entries of the RMP are assigned. */
#define SNP_TEST_ASSIGNED	_IOR('S', 3, __u64)

/* Page faults of user mode with the RMP bit in the caller's page at @addr, since WATCH. */
struct snp_test_faults {
	__u64 addr;
	__u64 count;		/* out */
	__u64 error_code;	/* out: that of the last one */
};

#define SNP_TEST_WATCH		_IOW('S', 4, struct snp_test_faults)
#define SNP_TEST_FAULTS		_IOR('S', 5, struct snp_test_faults)

/* Of the page that counts, by number (see include/hw/i386/snp-host.h of QEMU) */
#define SNP_COUNTER_HOST_FAULT		7
#define SNP_COUNTER_NESTED_FAULT	8
#define SNP_COUNTER_NOT_VALIDATED	9
#define SNP_COUNTER_PVALIDATE		5
#define SNP_COUNTER_RMPADJUST		6
#define SNP_COUNTER_PSP_REFUSED		15

#endif /* SNP_TEST_DEV_H */
