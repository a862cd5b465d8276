#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Build the guest driver for kernels that are not run here: the cloud and rt
# flavours, and arm64 with pages of 4 and 16 KiB, of each kernel in
# build/kernels.used. Only headers are fetched. A warning is an error. Says
# what came of it as TAP, one case for each kernel.
#
#   scripts/compile-check.sh [FLAVOUR...]     those flavours only

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/apt.sh
. "$top/scripts/apt.sh"
# shellcheck source=scripts/newer.sh
. "$top/scripts/newer.sh"
# shellcheck source=scripts/headers.sh
. "$top/scripts/headers.sh"

flavours=(cloud-amd64 rt-amd64 arm64 arm64-16k)

# Sets $headers, where the headers of that release are. Status 1: the mirror
# lists them not, or cannot give them.
have_headers() {
    local release=$1 dir=$2 version deb debs
    headers=$dir/root/usr/src/linux-headers-$release
    [ ! -f "$dir/done" ] || return 0
    version=$(headers_version "$release")
    [ -n "$version" ] || return 1
    mapfile -t debs < <(headers_debs "$release" "$version")
    [ ${#debs[@]} -eq 3 ] || return 1
    rm -rf "$dir"
    mkdir -p "$dir/root"
    for deb in "${debs[@]}"; do
        dpkg-deb -x "$deb" "$dir/root" ||
            die "cannot unpack $deb" "is the disk full? See: df -h $cache"
    done
    settle_headers "$dir/root" "$dir/root" "$release"
    touch "$dir/done"
}

compile() {
    local release=$1 dir=$build/compile/$1 cross=()
    # Debian 12's headers name the compiler, and not for which machine.
    [[ $release != *arm64* ]] || cross=(ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu-)
    [[ $release != *+deb13* ]] || cross=()
    rm -rf "$dir"
    mkdir -p "$dir"
    cp -r "$top/guest" "$dir/guest"
    env -u CFLAGS -u KCFLAGS -u LDFLAGS -u CROSS_COMPILE -u ARCH -u MAKEFLAGS -u MFLAGS \
        make -C "$headers" M="$dir/guest" W=1 KCFLAGS=-Werror -j"$JOBS" "${cross[@]}" \
        CONFIG_DEBUG_INFO_BTF_MODULES= modules >"$dir/log" 2>&1 </dev/null &&
        ! grep -i warning "$dir/log" >/dev/null &&
        [ -n "$(find "$dir/guest" -name '*.ko')" ]
}

main() {
    local used releases=() release base flavour number=0 rc=0
    [ $# -eq 0 ] || flavours=("$@")
    need_tools make gcc aarch64-linux-gnu-gcc-12
    [ -s "$build/kernels.used" ] || die "there is no kernel in build/kernels" "run scripts/kernel.sh"
    mkdir -p "$cache/headers"
    mapfile -t used < <(grep -v debug "$build/kernels.used")
    for base in "${used[@]%-amd64}"; do
        for flavour in "${flavours[@]}"; do
            # Debian's 6.1 has no pages of 16 KiB.
            [[ $base:$flavour = 6.1.*:arm64-16k ]] || releases+=("$base-$flavour")
        done
    done
    echo "1..${#releases[@]}"
    for release in "${releases[@]}"; do
        number=$((number + 1))
        if ! have_headers "$release" "$cache/headers/$release" >&2; then
            echo "ok $number - $release # SKIP the mirror has no such headers"
        elif compile "$release"; then
            echo "ok $number - $release"
        else
            sed 's/^/# /' "$build/compile/$release/log" | tail -n 40
            echo "not ok $number - $release"
            rc=1
        fi
    done
    exit "$rc"
}

main "$@"
