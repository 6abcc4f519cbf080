// SPDX-License-Identifier: GPL-2.0-only
/*
 * lpage_hold_vm COMMAND [ARG...]: run COMMAND while a VM with one vCPU exists.
 *
 * The first VM patches code of the scheduler (preempt_notifier_key), and the
 * end of the last one patches it back.  QEMU before 8.1 sometimes gets that
 * wrong when it emulates several CPUs in parallel: a CPU then trips over a
 * breakpoint that is no longer there, and the kernel dies with "Oops: int3".
 * With a VM that outlives them all, a run of many tests does it only once.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/kvm.h>

static int hold_vm(void)
{
	int kvm, vm;

	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		return -1;
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		return -1;
	/* Local APICs have static keys, too. */
	if (ioctl(vm, KVM_CREATE_IRQCHIP, 0) < 0)
		return -1;
	return ioctl(vm, KVM_CREATE_VCPU, 0);
}

int main(int argc, char **argv)
{
	int status;
	pid_t pid;

	if (argc < 2) {
		fprintf(stderr, "usage: %s COMMAND [ARG...]\n", argv[0]);
		return 2;
	}
	if (hold_vm() < 0) {
		fprintf(stderr, "%s: cannot create a VM: %s\n", argv[0], strerror(errno));
		return 2;
	}

	/* All of KVM's file descriptors are close-on-exec. */
	pid = fork();
	if (!pid) {
		execvp(argv[1], argv + 1);
		fprintf(stderr, "%s: cannot run %s: %s\n", argv[0], argv[1], strerror(errno));
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 2;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
