/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SELFTEST_KVM_LPAGE_TASKS_H
#define SELFTEST_KVM_LPAGE_TASKS_H

#include <sys/types.h>

/*
 * Print, as diagnostics, where the threads of process @pid are, and all tasks that
 * run or that sleep and cannot be woken: state, CPU time, system call, kernel stack.
 */
void lpage_tasks_print(pid_t pid);

#endif /* SELFTEST_KVM_LPAGE_TASKS_H */
