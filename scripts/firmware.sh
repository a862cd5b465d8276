#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# UEFI for the test guests: Debian's OVMF of two releases, for they lay the
# machine out differently. Unpacked in the cache, nothing installed.
#
#   build/firmware/ovmf-bookworm/OVMF_{CODE,VARS}_4M.fd    edk2 2022.11
#   build/firmware/ovmf-trixie/OVMF_{CODE,VARS}_4M.fd      edk2 2025.02
#   build/firmware/virt-firmware    Python's modules virt.*, to change variables

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/apt.sh
. "$top/scripts/apt.sh"

get_ovmf() {
    local suite=$1 version dir
    version=$(deb_versions ovmf "$suite" | sed -n 1p)
    [ -n "$version" ] ||
        die "the mirror has no ovmf in $suite" "name another mirror in FADUMP_MIRROR"
    dir=$cache/firmware/ovmf-$version
    if [ ! -f "$dir/.done" ]; then
        step "fetching OVMF $version"
        rm -rf "$dir"
        unpack_deb "$dir" "ovmf=$version"
        [ -f "$dir/usr/share/OVMF/OVMF_CODE_4M.fd" ] ||
            die "Debian's ovmf package has no OVMF_CODE_4M.fd" "look in $dir for what it holds"
        touch "$dir/.done"
    fi
    ln -sfn "$dir/usr/share/OVMF" "$build/firmware/ovmf-$suite"
}

get_virt_firmware() {
    local version dir
    version=$(deb_versions python3-virt-firmware bookworm-backports | sed -n 1p)
    [ -n "$version" ] ||
        die "the mirror has no python3-virt-firmware in bookworm-backports" \
            "name another mirror in FADUMP_MIRROR"
    dir=$cache/firmware/virt-firmware-$version
    if [ ! -f "$dir/.done" ]; then
        rm -rf "$dir"
        unpack_deb "$dir" "python3-virt-firmware=$version"
        touch "$dir/.done"
    fi
    ln -sfn "$dir/usr/lib/python3/dist-packages" "$build/firmware/virt-firmware"
}

all() {
    get_ovmf bookworm
    get_ovmf trixie
    get_virt_firmware
}

mkdir -p "$build/firmware" "$cache/firmware"
with_lock firmware all
