# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Sourced after newer.sh. What Debian's kernels are built against: headers,
# what flavours have in common, and kbuild's programs.
#
#   headers_version RELEASE        the newest that the lists have
#   headers_debs RELEASE VERSION   fetch, print the path of each file; status 1
#                                  where the mirror cannot give one
#   settle_headers ROOT PLACE RELEASE
#                                  let those that are unpacked in ROOT be used,
#                                  in PLACE, where ROOT will be
#   dependency DEB PATTERN         the package that a package needs
#
# Programs are amd64's, whatever the kernel is for.

# shellcheck disable=SC2154 # newer.sh sets toolchain

# Where the guests' kernels come from. Debian 13's own 6.12 is not among them:
# Debian 12 has the same, with another name (+deb12).
kernel_suites=(bookworm bookworm-security bookworm-backports trixie-backports)

dependency() {
    local deb=$1 pattern=$2
    dpkg-deb -f "$deb" Depends | tr -s ',|' '\n' |
        sed -nE "s/^ *($pattern)( .*)?\$/\1/p" | sed -n 1p
}

# Both in a subshell: which lists are used is for the caller to say.
headers_version() (
    [[ $1 != *arm64* ]] || apt_use arm64
    deb_versions "linux-headers-$1" "${kernel_suites[@]}" | sed -n 1p
)

headers_debs() (
    release=$1 version=$2 kbuild=''
    [[ $release != *arm64* ]] || apt_use arm64
    headers=$(try_fetch_deb "linux-headers-$release=$version") || return 1
    name=$(dependency "$headers" 'linux-headers-[^ ]*-common[^ ]*')
    common=$(try_fetch_deb "$name=$version") || return 1
    apt_use amd64
    name=$(dependency "$headers" 'linux-kbuild-[^ ]*')
    # Of the same version if it is there; else any of that name will do, they
    # are named for what they are compatible with.
    for v in "$version" $(deb_versions "$name" "${kernel_suites[@]}"); do
        if kbuild=$(try_fetch_deb "$name=$v"); then
            break
        fi
    done
    [ -n "$kbuild" ] || return 1
    printf '%s\n' "$headers" "$common" "$kbuild"
)

# Those that name a compiler of Debian 13's, and have programs that were built
# there
_adopt_headers() {
    local root=$1 release=$2 vars=$1/usr/src/linux-headers-$2/.kernelvariables
    if [[ $release == *arm64* ]]; then
        newer_toolchain aarch64-linux-gnu
    else
        newer_toolchain x86_64-linux-gnu
    fi
    newer_libraries "$root/usr/lib"
    sed -i "s|^override CROSS_COMPILE = .*|override CROSS_COMPILE = $toolchain|" "$vars"
    # No BTF is made (see below), so that nothing hangs on pahole's version.
    echo "override PAHOLE_VERSION = \$(CONFIG_PAHOLE_VERSION)" >>"$vars"
}

settle_headers() {
    local root=$1 place=$2 release=$3
    # They expect to lie in /usr/src.
    sed -i "s|/usr/src/|$place/usr/src/|" "$root/usr/src/linux-headers-$release/Makefile"
    [[ $release != *+deb13* ]] || _adopt_headers "$root" "$release"
    # There for the BTF of modules, which needs pahole, and nobody reads here.
    rm -f "$root/usr/src/linux-headers-$release/vmlinux"
}
