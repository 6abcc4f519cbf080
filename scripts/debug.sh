# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Our selftests on the kernels of "make kernel".  Source it after lib.sh; $top is
# the top of the repository.

# shellcheck source=scripts/selftest.sh
# shellcheck disable=SC2154 # $top is set by who sources this
. "$top/scripts/selftest.sh"

# on_kernel KERNEL OUT [OPTION...] -- COMMAND: a shell command that runs our
# selftests by their names, on a test host with that kernel and the options; OUT is
# the folder of build/results for what it leaves.
on_kernel()
{
	local kernel=$kernels/$1/bzImage out=$results/$2 options=() test

	[ -r "$kernel" ] || die "no $kernel; run make kernel"
	shift 2
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	for test in "$selftests"/lpage/lpage_*; do
		options+=(--file "$test:/payload/${test##*/}")
	done

	mkdir -p "$out"
	"$top/scripts/test-host" --out "$out" --kernel "$kernel" "${options[@]}" -- "$2"
}

# run_debug NAME [OPTION...] -- COMMAND: the same on the debug kernel, with a look
# for leaks at the end.
run_debug()
{
	local name=$1 options=()

	shift
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	on_kernel debug "$name" "${options[@]}" -- "/scripts/host/with-kmemleak sh -c '$2'"
}

# kernel_results NAME COMMAND [ARG...]: what a command says that ends as on_kernel
# does, as result lines.  These kernels have all that the tests need: what is
# skipped is not tested by mistake.
kernel_results()
{
	local name=$1 status=0

	shift
	"$@" 2>&1 | selftest_results "$name" |
		sed -E 's/^ok - (.*) # SKIP /not ok - \1 # skipped: /' || status=${PIPESTATUS[0]}
	# The test's own status says no more than its results do.
	case $status in
	0 | 1) tap_ok "$name: the kernel has nothing to complain about" ;;
	*) tap_not_ok "$name: the kernel has nothing to complain about # exit status $status; see $results" ;;
	esac
}
