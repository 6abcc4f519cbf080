# SPDX-License-Identifier: GPL-2.0
#
# kvm-lpage: targets for people.  "make help" lists them.  What each does is in
# scripts/; what the modules are built from is decided there as well.
#
# KREL=6.12.x+debNN-amd64 names the kernel to work for; without it the running
# kernel is meant if it is a supported one, else the newest that apt offers.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

# BASE=7.x is the newest mainline kernel that Debian has: kernel, check, bench and series.
BASE ?= 6.12
export BASE

# What the goals need of Debian's packages is installed at once, or said at once.
goals := $(or $(MAKECMDGOALS),all)
groups := $(if $(filter run bench host selftests kernel stress check check-%,$(goals)),host) \
	  $(if $(or $(filter series,$(goals)),$(filter 7.x,$(BASE))),check) \
	  $(if $(filter snp-host bench check check-bench check-directmap check-snp-host check-strict,$(goals)),snp) \
	  $(if $(filter check check-%,$(goals)),check)

# Everything else is modules, or shows them.
ifneq ($(BASE),6.12)
ifneq ($(filter-out series kernel mainline host snp-host check check-% stress bench clean help,$(goals)),)
$(error BASE=$(BASE) is for series, kernel, check, stress and bench; leave it out for the others)
endif
endif

# "make stress SECONDS=..." is ours; bash counts in a variable of that name.
unexport SECONDS

# Asked once, and handed to every script.
ifneq ($(filter-out help clean unload status,$(goals)),)
tools := $(shell scripts/prepare tools $(groups) && echo ready)
KREL ?= $(if $(tools),$(shell BASE=6.12 scripts/prepare release))
ifeq ($(and $(tools),$(KREL)),)
$(error stopped, see above)
endif
KREL := $(KREL)
export KREL
endif

stages := $(notdir $(wildcard scripts/check.d/*))

.PHONY: all modules sources mainline tree stock selftests host snp-host kernel series run \
	check stress bench load unload status dkms dkms-remove sign clean help $(stages:%=check-%)

all: modules ## build the modules for the kernel

modules: tree
	@scripts/prepare modules

tree: sources
	@scripts/prepare tree

sources:
	@scripts/prepare sources

# Stock's KVM, to be measured with software-protected VMs.
stock: sources
	@scripts/prepare stock

selftests: sources
	@scripts/prepare selftests

ifeq ($(BASE),7.x)
host: mainline
	@scripts/kernel stock release
	@scripts/prepare selftests
else
host: modules selftests
endif

snp-host: ## QEMU with an emulated SEV-SNP host
	@scripts/snp-host

mainline:
	@BASE=7.x scripts/prepare mainline >/dev/null

series: mainline ## the series for the mailing list, on the newest mainline, in build/series
	@scripts/series

kernel: $(if $(filter 7.x,$(BASE)),mainline,sources) ## two small kernels with our KVM built in, one of them for debugging
	@scripts/kernel release debug

run: host ## the main job: stock beside ours on a test host, as table, TSV and SVG
	@scripts/run

bench: host snp-host $(if $(filter 6.12,$(BASE)),stock) ## count instructions, stock against ours, into build/results/bench.tsv
	@scripts/bench

check: host snp-host $(if $(filter 6.12,$(BASE)),stock) kernel ## all tests; ends with "N passed, N failed, N skipped"
	@scripts/check

# check-STAGE runs one stage; the stages are the files of scripts/check.d.
$(stages:%=check-%): check-%: host
	@scripts/check $*

check-bench check-directmap check-snp-host check-strict: snp-host
ifeq ($(BASE),6.12)
check-bench: stock
endif
check-style check-kernel check-kunit check-directmap check-fault check-stress: kernel

stress: host kernel ## SECONDS=N of random load on the debug kernel (60)
	@scripts/stress $(or $(SECONDS),60)

load: modules ## swap our modules in for stock's on this machine
	@scripts/kvm-modules load build/$(KREL)/modules

unload: ## back to the stock modules
	@scripts/kvm-modules unload

status: ## which modules are loaded, their parameters and counters
	@scripts/kvm-modules status

sign: modules ## sign the modules with this machine's MOK key
	@scripts/sign

dkms: ## install with DKMS, to be rebuilt at kernel upgrades
	@scripts/dkms install

dkms-remove: ## remove from DKMS; the stock modules come back
	@scripts/dkms remove

clean: ## remove build/, downloads included
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | sort | \
		awk -F'\t' '{ printf "  make %-14s %s\n", $$1, $$2 }'
	@echo "  make check-STAGE    one stage of check: $(stages)"
