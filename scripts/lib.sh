# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Shared by the scripts beside it; POSIX sh, because some of them run on the
# test host's busybox too.  Source it, do not run it.

# One line: what is wrong and what to do about it.
die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# Progress of long work, on stderr so that stdout stays a result.
note()
{
	printf '==> %s\n' "$*" >&2
}

# Results of one check, in the KTAP vocabulary; scripts/check numbers them.
tap_ok()
{
	printf 'ok - %s\n' "$*"
}

tap_not_ok()
{
	printf 'not ok - %s\n' "$*"
}

# tap_skip NAME REASON
tap_skip()
{
	printf 'ok - %s # SKIP %s\n' "$1" "$2"
}

# tap_result STATUS NAME: a kselftest exit status as a result line.  Only 0 is
# a pass, and only 4 a skip.
tap_result()
{
	case $1 in
	0) tap_ok "$2" ;;
	4) tap_skip "$2" "${3:-the test asked for it}" ;;
	124) tap_not_ok "$2 # TIMEOUT" ;;
	*) tap_not_ok "$2 # exit status $1" ;;
	esac
}
