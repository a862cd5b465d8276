#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Everything that a guest with fadump-dev needs, step by step; a step whose
# inputs are as they were takes no time.
#
#   scripts/build.sh         for all kernels (6.1, 6.12, 7.x, or KVER)
#   scripts/build.sh full    with what `make check-full` needs besides
#   scripts/build.sh distro  with disk images of Debian
#   scripts/build.sh demo    for the one kernel of the demo (6.1, or KVER)

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# A first build takes about this much, most of it in the cache.
need_gib=12

main() {
    local kernels=() used free dir
    if [ ! -e "$build/qemu/qemu-system-x86_64" ]; then
        for dir in "$cache" "$build"; do
            free=$(($(df --output=avail -k "$dir" | tail -n 1) / 1048576))
            [ "$free" -ge "$need_gib" ] ||
                note "only $free GiB are free in $dir; a first build needs about $need_gib (FADUMP_CACHE and FADUMP_BUILD name other places)"
        done
    fi
    if [[ ${1:-} == full || ${1:-} == distro ]]; then
        "$top/scripts/bootstrap.sh" full
    else
        "$top/scripts/bootstrap.sh"
    fi
    "$top/scripts/qemu-build.sh"
    if [ "${1:-}" = full ]; then
        QEMU_VERSION=10.2 "$top/scripts/qemu-build.sh"
        "$top/scripts/qemu-sanitize.sh"
    fi
    if [ "${1:-}" = demo ] && [ -z "${KVER:-}" ]; then
        kernels=(6.1)
    fi
    "$top/scripts/kernel.sh" "${kernels[@]}"
    [ "${1:-}" != full ] || "$top/scripts/debug-kernel.sh"
    mapfile -t used <"$build/kernels.used"
    "$top/scripts/guest-module.sh" "${used[@]}"
    "$top/scripts/initramfs.sh" "${used[@]}"
    if [ "${1:-}" != demo ]; then
        "$top/scripts/systemd-guest.sh" "${used[@]}"
        "$top/scripts/firmware.sh"
        "$top/scripts/arm64.sh"
    fi
    [ "${1:-}" != full ] || "$top/scripts/dracut-guest.sh"
    "$top/scripts/tools.sh"
    "$top/scripts/ctl.sh"
    case ${1:-} in
    full)
        "$top/scripts/libvirt-build.sh" full
        "$top/scripts/libvirt-build.sh" stock
        ;;
    '') "$top/scripts/libvirt-build.sh" ;;
    esac
    if [ "${1:-}" = distro ]; then
        "$top/scripts/guest-packages.sh"
        "$top/scripts/host-packages.sh"
        "$top/scripts/distro-image.sh" bookworm bookworm-6.12 bookworm-kdump \
            bookworm-driver-kdump bookworm-luks bookworm-remote bookworm-host \
            trixie trixie-7
    fi
    step "built: build/qemu/qemu-system-x86_64; guests: ${used[*]}"
}

main "$@"
