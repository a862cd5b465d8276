#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Build the guest driver, and the modules that the tests use, for each kernel
# in build/kernels, or for those named:
#
#   scripts/guest-module.sh [RELEASE...]
#
#   build/guest/<release>/fadump-virtio.ko   the driver of the device
#   build/guest/<release>/fadump.ko          what it needs: the core
#   build/guest/<release>/tests/*.ko
#
# The sources are copied first: kbuild leaves its files beside them. With
# FADUMP_WERROR=1 a warning is an error.

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

sources=("$top/guest/Kbuild" "$top/guest/drivers" "$top/guest/include" "$top/tests/guest/modules" "$top/tests/guest/pattern.h")

kbuild() {
    local release=$1 dir=$2
    # Not the user's build flags, meant for other things, nor BTF, for which
    # the headers lack what they need.
    env -u CFLAGS -u KCFLAGS -u LDFLAGS -u CROSS_COMPILE -u ARCH -u MAKEFLAGS -u MFLAGS \
        make -C "$build/kernels/$release/headers" M="$dir" W=1 -j"$JOBS" \
        CONFIG_DEBUG_INFO_BTF_MODULES= modules
}

build_one() {
    local release=$1 out=$build/guest/$1 src=$build/guest/$1/src key warnings name
    [ -e "$build/kernels/$release/headers/Makefile" ] ||
        die "build/kernels/$release has no headers" "run scripts/kernel.sh $release"
    [ -f "$top/guest/Kbuild" ] ||
        die "guest/Kbuild is missing" "this checkout is not whole: git status"
    key=$(hash_inputs "${sources[@]}" "kernel $(readlink -f "$build/kernels/$release")" \
        "${BASH_SOURCE[0]}")
    if [ "$(cat "$out/module.key" 2>/dev/null)" != "$key" ]; then
        step "building the guest driver for $release"
        rm -rf "$src" "$out/tests" "$out/module.key" "$out"/fadump*.ko
        mkdir -p "$src/tests/guest" "$out/tests"
        cp -r "$top/guest" "$src/guest"
        cp -r "$top/tests/guest/modules" "$top/tests/guest/pattern.h" "$src/tests/guest/"
        name=module-$release
        advice="a compiler error is a defect in guest/; the whole log is $cache/log/$name.log" \
            run_logged "$name" kbuild "$release" "$src/guest"
        cp "$cache/log/$name.log" "$out/module.log"
        advice="a compiler error is a defect in tests/guest/modules; the whole log is $cache/log/$name.log" \
            run_logged "$name" kbuild "$release" "$src/tests/guest/modules"
        cat "$cache/log/$name.log" >>"$out/module.log"
        cp "$src"/guest/drivers/virt/fadump-virtio.ko "$src"/guest/drivers/virt/fadump/fadump.ko \
            "$out/" || die "the driver's modules were not made" "see $out/module.log"
        cp "$src"/tests/guest/modules/*.ko "$out/tests/"
        printf '%s\n' "$key" >"$out/module.key"
    fi
    # Said again on every run until they are gone.
    warnings=$(grep -i 'warning' "$out/module.log" || :)
    if [ -n "$warnings" ]; then
        note "warnings ($release):"
        printf '%s\n' "$warnings"
        [ "${FADUMP_WERROR:-0}" != 1 ] ||
            die "the guest driver compiles with warnings for $release" "see $out/module.log"
    fi
}

main() {
    local releases=("$@") link
    if [ ${#releases[@]} -eq 0 ]; then
        for link in "$build"/kernels/*/; do
            [ ! -d "$link" ] || releases+=("$(basename "$link")")
        done
    fi
    [ ${#releases[@]} -gt 0 ] || die "there is no kernel in build/kernels" "run scripts/kernel.sh"
    need_tools make gcc
    for link in "${releases[@]}"; do
        build_one "$link"
    done
}

main "$@"
