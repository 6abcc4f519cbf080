# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Measuring stock KVM and ours in one boot of the test host; shared by
# scripts/run and scripts/bench.  Source it after setting $here and lib.sh.

[ -n "${KREL:-}" ] || die "KREL is not set; set it to the kernel release, as in build/RELEASE"
# shellcheck disable=SC2154 # $here is set by who sources this
build=$(cd "$here/.." && pwd)/build
results=$build/results
mkdir -p "$results"

# measure NAME CODE [TEST-HOST OPTION]...
#
# Run CODE, shell code that calls "run LABEL COMMAND...", on stock modules and
# then on ours.  Prints what the commands say, led by the modules and the LABEL.
# The rows of lpage_perf_test have 12 columns then.  The logs are in
# build/results/NAME.
measure()
{
	local name=$1 code=$2 rc=0

	shift 2
	"$here/test-host" --out "$results/$name" --timeout 600 "$@" \
		--append "hugepagesz=1G hugepages=1 hugepagesz=2M hugepages=160" \
		--payload "$build/$KREL/modules" \
		--file "$build/$KREL/selftests/upstream/dirty_log_perf_test:/payload/dirty_log_perf_test" \
		--file "$build/$KREL/selftests/lpage/lpage_perf_test:/payload/lpage_perf_test" \
		-- "
set -e
run()
{
	echo \"== \$kvm \$*\"
	shift
	\"\$@\"
}
modprobe kvm-amd
kvm=stock
$code
/scripts/kvm-modules load /payload/modules
kvm=patched
$code" | while IFS= read -r line; do
		if [[ $line == "== "* ]]; then
			read -r _ kvm label command <<<"$line"
			note "$name, $kvm: $command"
		else
			printf '%s\t%s\t%s\n' "${kvm:-}" "${label:-}" "$line"
		fi
	done || rc=$?
	[ "$rc" -eq 0 ] || die "$name failed; see $results/$name/output.log"
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
