#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Which lines of QEMU's files of the device run in its unit test, in its qtest,
# in guests without an operating system, and in the fuzzers' corpora. Prints a
# line for each file, with the lines that nothing has run; build/coverage/lcov.info
# is for genhtml of lcov.
#
#   scripts/coverage.sh [unit] [qtest] [bare] [fuzz] [stream]
#
# Without a name: all of them. FADUMP_COVERAGE_KEEP=1 adds to what was counted
# before.

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/apt.sh
. "$top/scripts/apt.sh"

qemu=$build/qemu-sanitize
out=$build/coverage

# A test that fails is no reason to know nothing.
count() {
    local name=$1
    shift
    step "counting: $name"
    "$@" >"$out/$name.log" 2>&1 </dev/null ||
        note "$name has failed: see $out/$name.log"
}

guests() {
    FADUMP_BUILD=$build FADUMP_QEMU=$qemu/qemu-system-x86_64 \
        FADUMP_TIMEOUT_SCALE=10 ASAN_OPTIONS=detect_leaks=0 \
        /usr/bin/python3 "$top/tests/avocado/$1.py"
}

run_part() {
    local name
    case $1 in
    unit) count unit "$qemu/tests/unit/test-fadump" ;;
    qtest)
        ASAN_OPTIONS=detect_leaks=0 QTEST_QEMU_BINARY=$qemu/qemu-system-x86_64 \
            count qtest "$qemu/tests/qtest/fadump-test" --tap -k
        ;;
    bare) count bare guests test_bare ;;
    stream) count stream guests test_stream_fuzz ;;
    fuzz)
        for name in device device-swap device-copy device-full device-generic; do
            FADUMP_BUILD=$build count "$name" "$top/tests/fuzz/run.py" "$name" \
                "$qemu/qemu-fuzz-x86_64" --runs 2000
        done
        ;;
    *) die "there is no part '$1' to count" "unit, qtest, bare, fuzz or stream" ;;
    esac
}

report() {
    local program
    llvm-profdata-14 merge -o "$out/data" "$profile"/*.profraw
    # reading a program of this size takes its time: once for each
    for program in qemu-system-x86_64 qemu-fuzz-x86_64 tests/unit/test-fadump; do
        llvm-cov-14 export -format=lcov "$qemu/$program" -instr-profile="$out/data" \
            2>/dev/null || :
    done >"$out/lcov.info"
    /usr/bin/python3 "$top/scripts/coverage.py" "$out/lcov.info"
}

main() {
    local parts=("$@") part
    [ $# -gt 0 ] || parts=(unit qtest bare fuzz stream)
    need_tools llvm-cov-14 llvm-profdata-14
    "$top/scripts/qemu-sanitize.sh"
    profile=$(readlink -f "$qemu/../profile")
    mkdir -p "$out"
    [ -n "${FADUMP_COVERAGE_KEEP:-}" ] || rm -f "$profile"/*.profraw
    for part in "${parts[@]}"; do
        run_part "$part"
    done
    step "lines of the device's files that have run"
    report
}

main "$@"
