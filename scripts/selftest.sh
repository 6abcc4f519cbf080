# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# One of our selftests as a stage of the checks, on a test host with our modules.
# They are unloaded after it, as that is when the kernel finds what they have
# leaked.  With BASE=7.x, on the release kernel of "make kernel".  Source it after
# lib.sh; $top is the top of the repository.

# shellcheck source=scripts/base.sh
# shellcheck disable=SC2154 # $top is set by who sources this
. "$top/scripts/base.sh"

# selftest_results NAME: the test's TAP as result lines, the rest of what it says
# as comments.  A test that ends early has not run all that it planned.
selftest_results()
{
	local line planned='' nr=0

	while IFS= read -r line; do
		if [[ $line =~ ^1\.\.([0-9]+)(.*SKIP (.*))?$ ]]; then
			planned=${BASH_REMATCH[1]}
			[ "$planned" -ne 0 ] || tap_skip "$1" "${BASH_REMATCH[3]:-no reason}"
		elif [[ $line =~ ^(ok|not ok)\ [0-9]+\ (.*)$ ]]; then
			echo "${BASH_REMATCH[1]} - $1: ${BASH_REMATCH[2]}"
			nr=$((nr + 1))
		else
			echo "# ${line#\# }"
		fi
	done
	[ "$nr" = "$planned" ] || tap_not_ok "$1: ran $nr of ${planned:-?} subtests"
}

# Parameters of kvm.ko and of kvm-amd.ko that are other than their defaults.
kvm_params=''
kvm_amd_params=''

# with_modules TEST OPTION...
with_modules()
{
	local test=$1

	shift
	"$top/scripts/test-host" "$@" --payload "$top/build/$KREL/modules" -- \
		"/scripts/kvm-modules load /payload/modules || exit 125
		if [ -n '$kvm_params$kvm_amd_params' ]; then
			rmmod kvm_amd kvm
			insmod /payload/modules/kvm.ko $kvm_params
			insmod /payload/modules/kvm-amd.ko $kvm_amd_params
		fi
		./lpage_hold_vm ./$test
		status=\$?
		/scripts/kvm-modules unload || exit 125
		exit \$status"
}

# built_in TEST OPTION... --append WORDS: the parameters go with the words.
built_in()
{
	local test=$1 words=${*: -1} param

	for param in $kvm_params; do
		words+=" kvm.$param"
	done
	for param in $kvm_amd_params; do
		words+=" kvm_amd.$param"
	done
	"$top/scripts/kernel" release
	"$top/scripts/test-host" "${@:2:$#-2}" "$words" --kernel "$kernels/release/bzImage" -- \
		"./lpage_hold_vm ./$test"
}

# run_selftest NAME [OPTION...] --append WORDS: lpage_NAME_test, on a test host with
# the options.
run_selftest()
{
	local name=$1 out=$results/$1 tests=$selftests/lpage test=lpage_$1_test status=0
	local run=with_modules

	shift
	[ -x "$tests/$test" ] || die "no $tests/$test; run make host"
	[ "$base" = 6.12 ] || run=built_in
	mkdir -p "$out"

	"$run" "$test" --out "$out" --timeout 600 --file "$tests/$test:/payload/$test" \
		--file "$tests/lpage_hold_vm:/payload/lpage_hold_vm" "$@" 2>&1 |
		selftest_results "$name" || status=${PIPESTATUS[0]}

	# The test's own status says no more than its results do.
	case $status in
	0 | 1 | 4) tap_ok "$name: the test host has nothing to complain about" ;;
	*) tap_not_ok "$name: the test host has nothing to complain about # see $out/console.log" ;;
	esac
}
