# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What is tested, by BASE: on 6.12, modules in Debian's kernel and in those of "make
# kernel"; on 7.x, mainline's kernel with KVM built in.  Source it after lib.sh; $top is
# the top of the repository.

[ -n "${KREL:-}" ] || die "KREL is not set; set it to the kernel release, as in build/RELEASE"
# shellcheck disable=SC2034,SC2154 # for who sources this; $top is set there
if [ "${BASE:-6.12}" = 7.x ]; then
	base=7.x
	kernels=$top/build/7.x/kernel
	selftests=$top/build/7.x/selftests
	snp_tests=$top/build/7.x/snp-tests
	results=$top/build/results/7.x
else
	base=6.12
	kernels=$top/build/kernel
	selftests=$top/build/$KREL/selftests
	snp_tests=$top/build/$KREL/snp-tests
	results=$top/build/results
fi
