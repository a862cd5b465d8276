#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What programs for arm64 are compiled against and run with here, by Debian's
# cross compiler and QEMU's user emulation: Debian 12's libraries for that
# architecture, unpacked in the cache.
#
#   build/arm64  -> the root of that tree

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/apt.sh
. "$top/scripts/apt.sh"

packages=(libc6 libc6-dev linux-libc-dev libgcc-s1 libglib2.0-0 libglib2.0-dev
    libpcre2-8-0 zlib1g zlib1g-dev)
dir=$cache/arm64/root-$(hash_inputs "${packages[@]}")

get_root() {
    local p v
    [ ! -f "$dir/done" ] || return 0
    step "fetching libraries for arm64"
    rm -rf "$dir"
    apt_use arm64
    for p in "${packages[@]}"; do
        v=$(deb_versions "$p" bookworm bookworm-security | sed -n 1p)
        [ -n "$v" ] || die "the mirror has no $p for arm64" "name another mirror in FADUMP_MIRROR"
        unpack_deb "$dir" "$p=$v"
    done
    # Links to /lib would lead out of the tree.
    find "$dir" -type l -lname '/*' -printf '%p\t%l\n' |
        while IFS=$'\t' read -r link to; do
            ln -sfnr "$dir$to" "$link"
        done
    touch "$dir/done"
}

mkdir -p "$cache/arm64"
with_lock arm64 get_root
ln -sfn "$dir" "$build/arm64"
