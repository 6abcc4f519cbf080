// SPDX-License-Identifier: GPL-2.0
/*
 * snp_kexec KERNEL INITRAMFS WORDS - go on with another kernel
 *
 * Devices are shut down first, and the firmware with them.  WORDS are the kernel's command
 * line.
 */
#include <fcntl.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char *argv[])
{
	int kernel, initramfs;

	if (argc != 4) {
		fprintf(stderr, "usage: snp_kexec KERNEL INITRAMFS WORDS\n");
		return 2;
	}

	kernel = open(argv[1], O_RDONLY);
	initramfs = open(argv[2], O_RDONLY);
	if (kernel < 0 || initramfs < 0 ||
	    syscall(SYS_kexec_file_load, kernel, initramfs, strlen(argv[3]) + 1, argv[3], 0)) {
		perror("snp_kexec: cannot load the kernel");
		return 1;
	}

	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, 0);
	perror("snp_kexec: cannot start the kernel");
	return 1;
}
