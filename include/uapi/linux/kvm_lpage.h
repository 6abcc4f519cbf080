/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
#ifndef _UAPI_LINUX_KVM_LPAGE_H
#define _UAPI_LINUX_KVM_LPAGE_H

/*
 * For KVM_CHECK_EXTENSION, on a VM or on /dev/kvm: the largest number of threads
 * that may be asked for, or 0 if the TDP MMU is off.
 *
 * For KVM_ENABLE_CAP on a VM, at any time; holds from the next operation on:
 *
 *   args[0]  bytes of guest memory that a thread takes on at a time, and for which
 *            page tables are allocated at once: a multiple of 2 MiB up to
 *            1 GiB, or 0 for the default
 *   args[1]  threads that split or promote a memslot, the caller included, or 0
 *            for the module parameter lpage_split_threads
 *
 * The other arguments and the flags must be 0.  Returns -EINVAL otherwise.
 *
 * The number stays clear of those that upstream gives out one after the other.
 */
#define KVM_CAP_X86_LPAGE_SPLIT 0x6c700001

/*
 * For KVM_CREATE_GUEST_MEMFD: have the memory in blocks of 2 MiB.  Returns -EINVAL
 * if the size is not a multiple of that, and -EOPNOTSUPP if kvm.gmem_huge is "never".
 * fallocate(), and the launch of an SNP guest, have whole blocks then or return -ENOMEM.
 * Faults of a vCPU do with single pages where there is no block to be had.
 */
#define GUEST_MEMFD_FLAG_LPAGE (1ULL << 62)

#endif /* _UAPI_LINUX_KVM_LPAGE_H */
