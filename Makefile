# SPDX-License-Identifier: GPL-2.0-or-later
#
# The front door. The work is in scripts/.

SHELL := /bin/bash
export KVER QEMU_SRC TEST GUESTS JOBS BENCH RUNS FULL SUITE COMPARE FADUMP_T0

.DEFAULT_GOAL := help

# One clock for all the steps of a run
FADUMP_T0 := $(shell date +%s)

.PHONY: help
help:
	@echo 'fadump-dev: firmware-assisted crash dump for virtual machines'
	@echo
	@echo '  make demo         build what is needed, crash a guest, show its dump'
	@echo '  make demo-distro  the same with an installed Debian, from a disk image'
	@echo '  make check        build everything, test every promise (half an hour)'
	@echo '  make check-full   all tests, for all kernels, and a debug kernel (hours)'
	@echo '  make check-distro of check-full the packages and the installed Debians'
	@echo '  make check-soak   make check-full with more crashes and boots (half a day)'
	@echo '  make check-unit   the unit tests only'
	@echo '  make bench        measure against peers, write docs/performance.md (20 min)'
	@echo '  make fuzz         fuzz all that reads bytes from outside, a minute each'
	@echo '  make coverage     which lines of the device its tests run (an hour)'
	@echo '  make build        build everything, run nothing'
	@echo '  make clean        delete build/ (the cache stays)'
	@echo '  make distclean    delete the cache, too: the next build fetches all anew'
	@echo
	@echo 'Variables:'
	@echo '  KVER=6.12         guest kernel: a series, or a release such as 6.1.0-47-amd64'
	@echo '  QEMU_SRC=/path    a QEMU source tree of yours instead of Debian 13'\''s'
	@echo '  TEST=test_panic   with check: only that file, or test_panic.Class.test_case'
	@echo '  GUESTS=N          with check: guest tests side by side (default: processors,'
	@echo '                    and one for each 8 GiB of memory)'
	@echo '  BENCH=capture     with bench: only these parts of: capture, production, memory,'
	@echo '                    vmcore, save, threads; the others keep their last results'
	@echo '  RUNS=5            with bench: runs of each (default: 3)'
	@echo '  FUZZ=device       with fuzz: only these: small (the default), all, or names'
	@echo '  SECONDS=600       with fuzz: how long each'
	@echo '  SUITE=trixie      with demo-distro: which Debian (default: bookworm)'
	@echo '  COMPARE=1         with demo-distro: kdump and kdump-tools beside it'
	@echo '  FULL=1            with bench: all sizes, up to 16 GiB of guest memory'
	@echo '  JOBS=N            parallel jobs of a compile (default: all processors)'
	@echo '  FADUMP_CACHE=DIR  where what is fetched and built is kept for all checkouts'
	@echo '                    (default: ~/.cache/fadump-dev)'
	@echo
	@echo 'Needs Debian 12 on amd64, root or sudo, and apt. Missing packages are'
	@echo 'installed; the apt sources are not touched.'

.PHONY: build all
build all:
	@scripts/build.sh

.PHONY: demo
demo:
	@scripts/build.sh demo
	@scripts/demo.sh

.PHONY: demo-distro
demo-distro:
	@scripts/build.sh demo
	@scripts/demo-distro.sh

.PHONY: check check-full check-distro check-soak check-unit
check:
	@FADUMP_WERROR=1 scripts/build.sh
	@scripts/check.sh

check-full:
	@FADUMP_WERROR=1 scripts/build.sh full
	@FADUMP_WERROR=1 scripts/build.sh distro
	@scripts/check.sh unit full distro

# Of that the part that installs packages and Debians
check-distro:
	@FADUMP_WERROR=1 scripts/build.sh distro
	@scripts/check.sh distro

# All that, the random and the wearing more often
check-soak: export FADUMP_SOAK = 1
check-soak: check-full

check-unit:
	@scripts/bootstrap.sh
	@scripts/qemu-build.sh
	@scripts/arm64.sh
	@scripts/check.sh unit

# FUZZ: names of scripts/fuzz.sh; SECONDS: for each
.PHONY: fuzz
fuzz:
	@scripts/bootstrap.sh
	@scripts/qemu-build.sh
	@scripts/fuzz.sh --seconds $(or $(SECONDS),60) $(FUZZ)

.PHONY: coverage
coverage:
	@scripts/build.sh demo
	@scripts/coverage.sh

.PHONY: bench
bench:
	@scripts/build.sh demo
	@scripts/bench.sh

.PHONY: kernels
kernels:
	@scripts/kernel.sh --update

.PHONY: clean distclean
clean:
	rm -rf build

distclean: clean
	@. scripts/common.sh && rm -rf "$$cache" "$$build" && note "deleted $$cache"
