/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the library of Linux 6.12's selftests lacks of mainline's, as of 7.3, that our
 * selftests are written against.  Included ahead of each of them by the compiler's command
 * line, never by name.
 */
#ifndef SELFTEST_COMPAT_H
#define SELFTEST_COMPAT_H

#include "kvm_util.h"
#include "processor.h"
#include "svm_util.h"

/* Mainline's names. */
#define gva_t vm_vaddr_t
#define pin_self_to_cpu kvm_pin_this_task_to_pcpu
#define misc_ctl nested_ctl
#define SVM_MISC_ENABLE_NP SVM_NESTED_CTL_NP_ENABLE

/* Asked for, 6.12 says that it has none of these flags. */
#define KVM_CAP_GUEST_MEMFD_FLAGS 244

/* Mainline has a stack for the nested guest; our tests have one of their own anyway. */
#define generic_svm_setup(svm, guest_rip) generic_svm_setup(svm, guest_rip, NULL)

#endif /* SELFTEST_COMPAT_H */
