# SPDX-License-Identifier: GPL-2.0
#
# For kunit.py --qemu_config: an emulated AMD host with SVM and two NUMA nodes, on
# which KVM finds what it needs.  A warning ends the run, and with it the tests that
# are still to come.
from ..qemu_config import QemuArchParams


class OnlyEmulated(list):
    """Parameters that come without those ahead of them for hardware: mainline's kunit.py
    would have KVM where there is any, and that has no SVM to offer, if it runs at all."""

    def __radd__(self, command):
        accel = [i for i, word in enumerate(command) if word == '-accel']
        drop = set(accel) | {i + 1 for i in accel}
        return [word for i, word in enumerate(command) if i not in drop] + list(self)


QEMU_ARCH = QemuArchParams(linux_arch='x86_64',
			   kconfig='',
			   qemu_arch='x86_64',
			   kernel_path='bzImage',
			   kernel_command_line='console=ttyS0 panic=-1 panic_on_warn=1 kunit.autorun=1 '
					       'no_timer_check rcupdate.rcu_cpu_stall_timeout=120',
			   extra_qemu_params=OnlyEmulated([
					      '-accel', 'tcg,thread=single',
					      '-cpu', 'EPYC,+svm,+npt',
					      '-smp', '2,sockets=2', '-m', '2G',
					      '-object', 'memory-backend-ram,id=node0,size=1G',
					      '-object', 'memory-backend-ram,id=node1,size=1G',
					      '-numa', 'node,nodeid=0,memdev=node0,cpus=0',
					      '-numa', 'node,nodeid=1,memdev=node1,cpus=1']))
