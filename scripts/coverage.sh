#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Which lines of QEMU's files of the device run in its unit test, in its qtest,
# in guests without an operating system, and in the fuzzers' corpora. Prints a
# line for each file, with the lines that nothing has run; build/coverage/lcov.info
# is for genhtml of lcov.
#
#   scripts/coverage.sh [unit] [qtest] [bare] [fuzz] [stream]
#   scripts/coverage.sh --help
#
# Without a name: all of them, an hour and more. FADUMP_COVERAGE_KEEP=1 adds to
# what was counted before, by the same QEMU. scripts/build.sh demo comes first.

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/apt.sh
. "$top/scripts/apt.sh"

out=$build/coverage
# of this checkout alone: what is in the cache is built over by whoever builds next
qemu=$out/programs
profile=$out/profile
programs=(qemu-system-x86_64 qemu-fuzz-x86_64 tests/unit/test-fadump
    tests/qtest/fadump-test)

usage() {
    sed -n '/^# Which lines/,/^$/ { s/^# \{0,1\}//; p; }' "${BASH_SOURCE[0]}"
}

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
        # with a library to preload, and a qemu-img, that have no sanitizers
        ASAN_OPTIONS=detect_leaks=0 QTEST_QEMU_BINARY=$qemu/qemu-system-x86_64 \
            G_TEST_BUILDDIR=$build/qemu/tests/qtest \
            QTEST_QEMU_IMG=$build/qemu/qemu-img \
            FADUMP_TIMEOUT_SCALE=10 \
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
    esac
}

take_programs() {
    local program from=$build/qemu-sanitize
    for program in "${programs[@]}"; do
        if ! cmp -s "$from/$program" "$qemu/$program"; then
            install -D "$from/$program" "$qemu/$program"
        fi
    done
}

report() {
    llvm-profdata-14 merge -o "$out/data" "$profile"/*.profraw
    # Counts are kept by function, whichever program ran it, and this program has
    # all of them; to read one of this size takes minutes.
    llvm-cov-14 export -format=lcov -skip-expansions -skip-functions \
        "$qemu/qemu-system-x86_64" -instr-profile="$out/data" >"$out/lcov.info"
    /usr/bin/python3 "$top/scripts/coverage.py" "$out/lcov.info"
}

main() {
    local parts=("$@") part
    case "${1:-}" in
    --help | -h)
        usage
        exit
        ;;
    esac
    for part; do
        case $part in
        unit | qtest | bare | fuzz | stream) ;;
        *) die "there is no part '$part' to count" \
            "scripts/coverage.sh --help says what there is" ;;
        esac
    done
    [ $# -gt 0 ] || parts=(unit qtest bare fuzz stream)
    need_tools llvm-cov-14 llvm-profdata-14
    "$top/scripts/qemu-sanitize.sh"
    mkdir -p "$profile"
    take_programs
    export LLVM_PROFILE_FILE=$profile/%m.profraw
    [ -n "${FADUMP_COVERAGE_KEEP:-}" ] || rm -f "$profile"/*.profraw
    for part in "${parts[@]}"; do
        run_part "$part"
    done
    step "lines of the device's files that have run"
    report
}

main "$@"
