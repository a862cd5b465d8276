#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Run fuzzers for some time each, one after the other, with new inputs each time.
#
#   scripts/fuzz.sh [--seconds N] [NAME...]
#
# NAME is one of tests/fuzz/run.py's, or "stream": migration streams of the
# device, changed and loaded by a QEMU with sanitizers. "small" are those that
# need no QEMU to be built (the default), "all" are all. Those whose name begins
# with "device" are QEMU's own fuzzer (scripts/qemu-sanitize.sh builds it).

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

small=(driver-desc driver-bootmem qemu-desc qemu-range ctl-oops ctl-text ctl-qmp)
large=(device device-swap device-copy device-full device-generic stream)
seconds=60
names=()

need_sanitized_qemu() {
    [ -n "${have_qemu:-}" ] || "$top/scripts/qemu-sanitize.sh"
    have_qemu=1
}

# For so long, in rounds: each has other streams
run_stream() {
    local end=$(($(date +%s) + seconds)) rc=0
    while [ "$(date +%s)" -lt "$end" ] && [ "$rc" = 0 ]; do
        FADUMP_SEED=$RANDOM$RANDOM FADUMP_STREAMS=5 FADUMP_BUILD=$build \
            FADUMP_QEMU=$build/qemu-sanitize/qemu-system-x86_64 \
            FADUMP_TIMEOUT_SCALE=4 \
            /usr/bin/python3 "$top/tests/avocado/test_stream_fuzz.py" || rc=$?
    done
    return "$rc"
}

run_one() {
    local name=$1 program=$build/fuzz/bin/$1
    case $name in
    stream)
        # the guest, and what else its test needs
        "$top/scripts/build.sh" demo
        need_sanitized_qemu
        run_stream
        return
        ;;
    device*)
        need_sanitized_qemu
        program=$build/qemu-sanitize/qemu-fuzz-x86_64
        ;;
    *)
        mkdir -p "$build/fuzz/bin"
        run_logged "fuzz-$name" "$top/tests/fuzz/compile.sh" "$name" "$program" \
            "$program.d" "$build"
        ;;
    esac
    FADUMP_BUILD=$build "$top/tests/fuzz/run.py" "$name" "$program" \
        --seconds "$seconds"
}

main() {
    local name rc=0
    while [ $# -gt 0 ]; do
        case $1 in
        --seconds)
            seconds=$2
            shift
            ;;
        small) names+=("${small[@]}") ;;
        all) names+=("${small[@]}" "${large[@]}") ;;
        *) names+=("$1") ;;
        esac
        shift
    done
    [ ${#names[@]} -gt 0 ] || names=("${small[@]}")
    # shellcheck source=scripts/apt.sh
    . "$top/scripts/apt.sh"
    meson_env
    for name in "${names[@]}"; do
        step "fuzzing $name for $seconds s"
        run_one "$name" || rc=1
    done
    step "done; what was found is in $build/fuzz"
    exit "$rc"
}

main "$@"
