#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Build QEMU with fadump-dev: Debian 13's QEMU source (or the tree that
# QEMU_SRC names), the overlay under qemu/ laid over it, the patches under
# qemu/patches/ applied. Leaves build/qemu -> a directory with the results.
#
# QEMU_VERSION=10.2 takes Debian's newest source of that series, and leaves
# build/qemu-10.2.
#
# Two keys name what the cache holds. The base key covers what a whole build
# depends on (source version, configure options, compiler); the overlay is
# synchronised into that tree by content, so that a change to the overlay
# rebuilds only what depends on it.
set -euo pipefail

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/apt.sh
. "$top/scripts/apt.sh"
# shellcheck source=scripts/qemu-tree.sh
. "$top/scripts/qemu-tree.sh"

targets=(qemu-system-x86_64 qemu-img storage-daemon/qemu-storage-daemon
         tests/unit/test-fadump tests/unit/test-fadump-life
         tests/qtest/fadump-test tests/qtest/libfadump-faults.so)

# How many results of other inputs stay in the cache
keep_results=12

build_tree() {
    step "building QEMU"
    run_logged "$link-build" ninja -C "$base/build" "${targets[@]}"
    # what -kernel boots need, built from the same tree
    run_logged "$link-optionrom" make -C "$base/build/pc-bios/optionrom"
    cp "$base"/build/pc-bios/optionrom/*.bin "$base/firmware/"
}

# Checkouts share the build tree, and whoever builds next changes what is in
# it: each set of inputs keeps what it was built to.
keep_result() {
    local t
    rm -rf "$result.new"
    for t in "${targets[@]}"; do
        install -D "$base/build/$t" "$result.new/$t"
    done
    rm -rf "$result"
    mv "$result.new" "$result"
    find "$base" -maxdepth 1 -name 'result-*' -printf '%T@ %p\n' | sort -rn |
        tail -n +"$((keep_results + 1))" | cut -d' ' -f2- | xargs -r rm -rf
}

build_all() {
    qemu_fetch "$base/pristine"
    qemu_fetch_firmware
    [ ! -d "$result" ] || return 0
    qemu_lay "$base"
    qemu_configure "$base/src" "$base/build"
    build_tree
    keep_result
}

main() {
    link=qemu
    qemu_select
    [ "$qemu_release" = 10.0 ] || [ -n "${QEMU_SRC:-}" ] ||
        link=qemu-$qemu_release
    result=$base/result-$(hash_inputs "$top/qemu" "${targets[*]}" \
        "$top/guest/include/uapi/linux/virtio_fadump.h")
    # meson may live outside the system's own packages
    meson_env
    with_lock "$link" build_all
    ln -sfn "$result" "$build/$link"
}

main "$@"
