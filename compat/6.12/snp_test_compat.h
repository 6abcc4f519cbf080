/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of the SNP host call by mainline's names, and Linux 6.12 by others.
 * In front of each of them; it includes nothing, for pr_fmt() to be the test's.
 */
#ifndef __SNP_TEST_COMPAT_H
#define __SNP_TEST_COMPAT_H

/* Renamed in 6.16 */
#define rdmsrq			rdmsrl
#define rdmsrq_safe		rdmsrl_safe
#define wrmsrq			wrmsrl
#define wrmsrq_safe		wrmsrl_safe
#define wrmsrq_on_cpu		wrmsrl_on_cpu

/* Fields of the VMCB, renamed in 7.0 */
#define misc_ctl		nested_ctl
#define SVM_MISC_ENABLE_NP	SVM_NESTED_CTL_NP_ENABLE
#define SVM_MISC_ENABLE_SEV	SVM_NESTED_CTL_SEV_ENABLE
#define SVM_MISC_ENABLE_SEV_ES	SVM_NESTED_CTL_SEV_ES_ENABLE

#endif /* __SNP_TEST_COMPAT_H */
