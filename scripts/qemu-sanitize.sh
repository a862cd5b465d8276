#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Build QEMU once more, from the same sources as scripts/qemu-build.sh: by clang,
# with the address and the undefined-behaviour sanitizer, with libFuzzer, and with
# counters of which lines of our own files have run (scripts/coverage.sh reads
# them). Leaves
#
#   build/qemu-sanitize -> a build directory with qemu-system-x86_64,
#                          qemu-fuzz-x86_64, and the unit test and the qtest
#
# It is in the cache, and not a result of which many are kept: what checkouts
# with different sources build one after the other is built over.

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/apt.sh
. "$top/scripts/apt.sh"
# shellcheck source=scripts/qemu-tree.sh
. "$top/scripts/qemu-tree.sh"

# shellcheck disable=SC2154 # qemu-tree.sh sets configure_opts and base

targets=(qemu-system-x86_64 qemu-fuzz-x86_64 tests/unit/test-fadump
    tests/qtest/fadump-test)

# no tools: nothing of ours is in them
options=("${configure_opts[@]}" --disable-tools --disable-werror
    --cc=clang-14 --host-cc=clang-14
    --enable-fuzzing --enable-asan --enable-ubsan -Doptimization=1)
flags=-gline-tables-only

configure() {
    # every process adds to the counters of its program when it ends
    local profile="-fprofile-instr-generate=$dir/profile/%m.profraw"
    [ ! -f "$dir/build/build.ninja" ] || return 0
    step "configuring QEMU with sanitizers"
    mkdir -p "$dir/build" "$dir/profile"
    printf '[clang]\nsrc:*/hw/*/fadump-*\n' >"$dir/profile.list"
    (
        cd "$dir/build" || exit
        run_logged qemu-sanitize-configure "$dir/src/configure" \
            --python=/usr/bin/python3 --firmwarepath="$base/firmware" \
            "${options[@]}" \
            --extra-cflags="$flags $profile -fcoverage-mapping -fprofile-list=$dir/profile.list" \
            --extra-ldflags="$profile"
    )
}

build() {
    qemu_fetch "$base/pristine"
    qemu_fetch_firmware
    qemu_lay "$dir"
    configure
    step "building QEMU with sanitizers (a first time takes a quarter of an hour)"
    run_logged qemu-sanitize-build ninja -C "$dir/build" "${targets[@]}"
    qemu_link_firmware "$dir/build"
}

main() {
    need_tools clang-14
    qemu_select
    dir=$base/sanitize-$(hash_inputs "${options[*]}" "$flags" "$(declare -f configure)")
    mkdir -p "$dir"
    # meson may live outside the system's own packages
    meson_env
    with_lock qemu-sanitize build
    ln -sfn "$dir/build" "$build/qemu-sanitize"
}

[ "${BASH_SOURCE[0]}" != "$0" ] || main "$@"
