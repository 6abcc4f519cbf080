# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Packages of other suites than the machine's: from the mirror that the machine itself
# uses, by way of an apt configuration of our own.  The machine's is read, and left
# alone.  Runs as any user.  Sourced after lib.sh.

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# The address that the machine has its Debian packages from.
mirror()
{
	# shellcheck disable=SC2016 # apt's own variables
	apt-get indextargets --format '$(COMPONENT) $(LABEL) $(RELEASE) $(SITE)' |
		awk '$1 == "main" && $2 == "Debian" { print $NF; exit }'
}

# apt_setup DIR TYPES SUITE...: what apt is told from here on instead of the machine's
# sources, pins and lists.  What it keeps is in DIR/apt.  TYPES are deb, deb-src or both.
apt_setup()
{
	local dir=$1 types=$2 site suite type

	shift 2
	site=$(mirror)
	[ -n "$site" ] ||
		die "apt knows no mirror of Debian's main; run apt-get update, or add one to the apt sources"
	[ -r "$keyring" ] || die "no $keyring; apt-get install debian-archive-keyring"
	mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial"
	for suite in "$@"; do
		for type in $types; do
			printf '%s [signed-by=%s] %s %s main\n' "$type" "$keyring" "$site" \
				"$suite"
		done
	done >"$dir/apt/sources.list"
	cat >"$dir/apt/apt.conf" <<-END
		Dir::Etc::SourceList "$dir/apt/sources.list";
		Dir::Etc::SourceParts "/dev/null";
		Dir::Etc::Preferences "/dev/null";
		Dir::Etc::PreferencesParts "/dev/null";
		Dir::State::Lists "$dir/apt/lists";
		Dir::Cache "$dir/apt/cache";
		Acquire::Languages "none";
		APT::Sandbox::User "$(id -un)";
	END
	export APT_CONFIG=$dir/apt/apt.conf
	apt-get update >"$dir/apt.log" 2>&1 ||
		die "cannot read the package lists of $*; see $dir/apt.log"
}
