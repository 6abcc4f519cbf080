# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Measuring stock KVM and ours on the test host; shared by scripts/run and
# scripts/bench.  Source it after setting $here and lib.sh.
#
# On mainline (BASE=7.x), stock is the kernel without our changes, and both are hosts
# of their own.

# shellcheck disable=SC2154 # $here is set by who sources this
top=$(cd "$here/.." && pwd)
# shellcheck source=scripts/base.sh
. "$top/scripts/base.sh"
build=$top/build
mkdir -p "$results"

# Which to measure, in this order.
kvms="stock patched"
# How what is measured as stock is loaded.
load_stock="modprobe kvm-amd"
# What measure does when its time is up: die, or keep what there is.
time_up=die

# boot NAME CODE [TEST-HOST OPTION]...: measure, once.
boot()
{
	local name=$1 code=$2 kvm label command line
	local options=(--payload "$build/$KREL/modules") load_stock=$load_stock
	local load_patched="/scripts/kvm-modules load /payload/modules"

	shift 2
	if [ "$base" = 7.x ]; then
		options=(--kernel "$kernels/${kvms/patched/release}/bzImage")
		load_stock=: load_patched=:
	fi
	"$here/test-host" --out "$results/$name" --timeout 600 \
		--append "hugepagesz=1G hugepages=1 hugepagesz=2M hugepages=160" "$@" \
		"${options[@]}" --payload "$selftests/lpage" \
		--file "$selftests/upstream/dirty_log_perf_test:/payload/lpage/dirty_log_perf_test" \
		-- "
set -e
cd lpage
run()
{
	echo \"== \$kvm \$*\"
	shift
	\"\$@\"
}
for kvm in $kvms; do
	case \$kvm in
	stock) $load_stock ;;
	patched) $load_patched ;;
	esac
	$code
done" | while IFS= read -r line; do
		if [[ $line == "== "* ]]; then
			read -r _ kvm label command <<<"$line"
			note "$name, $kvm: $command"
		else
			printf '%s\t%s\t%s\n' "${kvm:-}" "${label:-}" "$line"
		fi
	done
}

# measure NAME CODE [TEST-HOST OPTION]...
#
# Run CODE, shell code that calls "run LABEL COMMAND...", on stock modules and
# then on ours, in one boot.  Prints what the commands say, led by the modules
# and the LABEL.  The rows of lpage_perf_test have 12 columns then.  The logs
# are in build/results/NAME; those of mainline's kernels in 7.x/NAME-stock and
# 7.x/NAME-patched.
measure()
{
	local name=$1 rows rc try kvm

	if [ "$base" = 7.x ] && [[ $kvms == *" "* ]]; then
		for kvm in $kvms; do
			kvms=$kvm measure "$name-$kvm" "${@:2}"
		done
		return
	fi
	for try in 1 2 3; do
		rc=0
		rows=$(boot "$@") || rc=$?
		# The one failure that is known to be QEMU's, see test-host's
		# --parallel.
		if [ "$rc" -eq 125 ] && [ "$try" -lt 3 ] &&
			grep -q 'Oops: int3' "$results/$name/console.log"; then
			note "$name: QEMU kept a stale breakpoint; measuring once more"
			continue
		fi
		break
	done
	if [ "$rc" -eq 124 ] && [ "$time_up" = keep ]; then
		note "$name: time is up"
	elif [ "$rc" -ne 0 ]; then
		die "$name failed; see $results/$name/output.log"
	fi
	printf '%s\n' "$rows"
}

# align LEFT: TSV as a table, the first LEFT columns flush left.  A cell also
# takes the room of an empty one to its right, and a line of one cell any room.
align()
{
	awk -F '\t' -v left="$1" '
	{
		fields[NR] = NF
		for (i = 1; i <= NF; i++) {
			cell[NR, i] = $i
			if (NF > 1 && i < NF && $(i + 1) == "")
				continue
			room = NF > 1 && $i != "" ? length($i) : 0
			if (room > width[i])
				width[i] = room
		}
	}
	END {
		for (r = 1; r <= NR; r++) {
			line = ""
			for (i = 1; i <= fields[r]; i++) {
				room = width[i]
				text = cell[r, i]
				if (fields[r] > 1 && i < fields[r] && i > left && cell[r, i + 1] == "")
					room += 2 + width[++i]
				line = line sprintf("%" (i > left ? "" : "-") room "s  ", text)
			}
			sub(/ +$/, "", line)
			print line
		}
	}'
}
