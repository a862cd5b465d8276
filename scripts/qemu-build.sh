#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Build QEMU with fadump-dev: Debian 13's QEMU source (or the tree that
# QEMU_SRC names), the overlay under qemu/ laid over it, the patches under
# qemu/patches/ applied. Leaves build/qemu -> a directory with the results.
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

configure_opts=(
    --target-list=x86_64-softmmu
    --disable-install-blobs --disable-download --disable-containers
    --disable-docs --disable-guest-agent --disable-user
    --disable-gtk --disable-sdl --disable-vnc --disable-opengl --disable-curses
    --disable-spice --disable-libusb --disable-xen --disable-gnutls
    --disable-rust --audio-drv-list=
    --enable-kvm --enable-tcg --enable-slirp --enable-fdt=system
    --enable-vhost-kernel --enable-vhost-user --enable-vhost-net
    --enable-trace-backends=log --enable-debug-info --enable-werror
)

targets=(qemu-system-x86_64 qemu-img storage-daemon/qemu-storage-daemon
         tests/unit/test-fadump tests/unit/test-fadump-life
         tests/qtest/fadump-test)

# How many results of other inputs stay in the cache
keep_results=12

# The overlay at the path that each file has in a QEMU tree.
overlay_files() {
    (cd "$top/qemu" && find . -type f ! -path './patches/*' | sort)
}

patch_files() {
    find "$top/qemu/patches" -name '*.patch' 2>/dev/null | sort
}

# scripts/update-linux-headers.sh of QEMU imports an ABI header the same way.
import_uapi_header() {
    sed -e 's/__u\([0-9][0-9]*\)/uint\1_t/g' \
        -e 's/__le\([0-9][0-9]*\)/uint\1_t/g' \
        -e 's/<linux\/\([^>]*\)>/"standard-headers\/linux\/\1"/' \
        "$1"
}

fetch_source() {
    local dsc
    if [ -n "${QEMU_SRC:-}" ]; then
        [ -f "$QEMU_SRC/hw/i386/pc.c" ] ||
            die "QEMU_SRC=$QEMU_SRC is no QEMU source tree" \
                "name the top of a QEMU 10.0 (or newer) tree"
        [ -d "$base/pristine" ] || cp -a "$QEMU_SRC" "$base/pristine"
        return
    fi
    [ -f "$base/pristine/VERSION" ] && return
    step "fetching the QEMU $qemu_version source package"
    rm -rf "$base/fetch" "$base/pristine"
    mkdir -p "$base/fetch"
    (
        cd "$base/fetch"
        run_logged qemu-fetch private_apt_get source --download-only \
            "qemu=$qemu_version"
        dsc=$(echo qemu_*.dsc)
        run_logged qemu-unpack dpkg-source --no-check -x "$dsc" pristine
    )
    mv "$base/fetch/pristine" "$base/pristine"
    rm -rf "$base/fetch"
}

# SeaBIOS, VGA and PXE ROMs and OVMF come from Debian's packages: the source
# package carries none.
fetch_firmware() {
    [ -f "$base/firmware/.done" ] && return
    step "fetching firmware (seabios, ovmf, ipxe)"
    rm -rf "$base/firmware" "$base/fw"
    mkdir -p "$base/firmware"
    run_logged firmware unpack_deb "$base/fw" seabios ovmf ipxe-qemu
    find "$base/fw/usr/share/seabios" "$base/fw/usr/share/qemu" \
        "$base/fw/usr/lib/ipxe" "$base/fw/usr/share/OVMF" \
        -type f \( -name '*.bin' -o -name '*.rom' -o -name '*.fd' \) \
        -exec cp {} "$base/firmware/" \; 2>/dev/null || true
    [ -f "$base/firmware/bios-256k.bin" ] ||
        die "Debian's seabios package has no bios-256k.bin" \
            "look in $base/fw for what it holds"
    rm -rf "$base/fw"
    touch "$base/firmware/.done"
}

lay_overlay() {
    local stage=$base/stage f
    rm -rf "$stage"
    cp -al "$base/pristine" "$stage"
    while read -r f; do
        # patch makes a new file, so the pristine tree's, linked here, stays
        patch -d "$stage" -p1 --no-backup-if-mismatch -s <"$f" ||
            die "$(basename "$f") does not apply to this QEMU tree" \
                "this series is made against QEMU 10.0; rebase it"
    done < <(patch_files)
    while read -r f; do
        install -D --mode=644 "$top/qemu/$f" "$stage/$f"
    done < <(overlay_files)
    import_uapi_header "$top/guest/include/uapi/linux/virtio_fadump.h" \
        >"$base/virtio_fadump.h"
    install --mode=644 "$base/virtio_fadump.h" \
        "$stage/include/standard-headers/linux/virtio_fadump.h"
    mkdir -p "$base/src"
    rsync -a --checksum --delete --no-times --omit-dir-times "$stage/" "$base/src/"
    rm -rf "$stage"
}

configure_tree() {
    [ -f "$base/build/build.ninja" ] && return
    step "configuring QEMU"
    mkdir -p "$base/build"
    (
        cd "$base/build"
        run_logged qemu-configure "$base/src/configure" \
            --python=/usr/bin/python3 --firmwarepath="$base/firmware" \
            "${configure_opts[@]}"
    )
    [ -f "$base/build/pc-bios/optionrom/config.mak" ] || {
        rm -f "$base/build/build.ninja"
        die "configure found no compiler for 16-bit option ROMs" \
            "install lib32gcc-12-dev (scripts/bootstrap.sh does)"
    }
}

build_tree() {
    step "building QEMU"
    run_logged qemu-build ninja -C "$base/build" "${targets[@]}"
    # what -kernel boots need, built from the same tree
    run_logged qemu-optionrom make -C "$base/build/pc-bios/optionrom"
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
    fetch_source
    fetch_firmware
    [ ! -d "$result" ] || return 0
    lay_overlay
    configure_tree
    build_tree
    keep_result
}

main() {
    local key
    if [ -n "${QEMU_SRC:-}" ]; then
        qemu_version=$(cd "$QEMU_SRC" && pwd)
    else
        qemu_version=$(private_apt_cache madison qemu |
            awk '$3 ~ /^1:10\.0\./ && !v { v = $3 } END { print v }')
        [ -n "$qemu_version" ] ||
            die "no QEMU 10.0 source package on the mirror" \
                "set QEMU_SRC to a QEMU 10.0 source tree"
    fi
    key=$(hash_inputs "$qemu_version" "${configure_opts[*]}" "$(gcc --version)")
    base=$cache/qemu/$key
    result=$base/result-$(hash_inputs "$top/qemu" "${targets[*]}" \
        "$top/guest/include/uapi/linux/virtio_fadump.h")
    mkdir -p "$base"
    # meson may live outside the system's own packages
    meson_env
    with_lock qemu build_all
    ln -sfn "$result" "$build/qemu"
}

main "$@"
