#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Run a test of which QEMU is the one with sanitizers, and fail if one of them
# had anything to say of the device's files. (QEMU goes on at undefined behaviour, for
# there is some elsewhere; misused memory ends it, wherever that was.)
#
#   sanitized.sh COMMAND...
set -euo pipefail

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
# a QEMU frees nothing at its end
export ASAN_OPTIONS="detect_leaks=0:log_path=$logs/log"
export UBSAN_OPTIONS="print_stacktrace=1:log_path=$logs/log"

rc=0
"$@" || rc=$?
if grep -hEA 30 'hw/[a-z0-9]+/fadump[a-z_-]*\.[ch]:[0-9]+:[0-9]+: runtime error|ERROR: AddressSanitizer' \
    "$logs"/* 2>/dev/null | sed 's/^/# /' | head -n 200 | grep .; then
    echo "# a sanitizer has found that" >&2
    rc=1
fi
exit "$rc"
