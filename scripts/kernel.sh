#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Fetch stock Debian kernels for the guests: image, modules, headers and debug
# symbols of one version, unpacked in the cache, nothing installed.
#
#   scripts/kernel.sh                  the default set: newest 6.1, 6.12 and 7.x
#   scripts/kernel.sh 6.1              the newest of a series (7: the newest 7.x)
#   scripts/kernel.sh 6.1.0-47-amd64   that release: from the mirror, or, where
#                                      the mirror has it not, as installed here
#   scripts/kernel.sh --update         choose the newest anew
#
# KVER in the environment stands for the arguments. What is the newest is
# chosen once and then kept, so that a warm cache stays warm; --update chooses
# anew. The result, for each release:
#
#   build/kernels/<release>/vmlinuz    the image
#                          /vmlinux    the same with debug symbols, for crash
#                          /modules    lib/modules/<release>
#                          /headers    what `make -C ... M=` takes

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/apt.sh
. "$top/scripts/apt.sh"
# shellcheck source=scripts/newer.sh
. "$top/scripts/newer.sh"
# shellcheck source=scripts/headers.sh
. "$top/scripts/headers.sh"

# What Debian 12 has, and the newest that there is.
default_series=(6.1 6.12 7)
# Raise when what is unpacked, or how, changes.
layout=1

# Releases of a series that the mirror lists, newest first
series_releases() {
    local series=${1//./\\.}
    private_apt_cache pkgnames "linux-image-$1." |
        sed -nE "s/^linux-image-($series(\.[0-9]+)+(-[0-9]+|\+deb1[23](\.[0-9]+)?)-amd64)-dbg\$/\1/p" |
        sort -rV
}

# The newest version of which the lists have image, headers and symbols alike
release_version() {
    local release=$1 v
    for v in $(deb_versions "linux-image-$release" "${kernel_suites[@]}"); do
        if deb_versions "linux-headers-$release" "${kernel_suites[@]}" | grep -xF "$v" >/dev/null &&
            deb_versions "linux-image-$release-dbg" "${kernel_suites[@]}" | grep -xF "$v" >/dev/null; then
            printf '%s\n' "$v"
            return
        fi
    done
}

# The files with the image and its modules, of which newer kernels have one
# each; nothing where one cannot be had
fetch_image() {
    local release=$1 version=$2 image part parts=()
    image=$(try_fetch_deb "linux-image-$release=$version") || return 0
    for part in base binary modules; do
        part=$(dependency "$image" "linux-$part-[0-9][^ ]*")
        [ -z "$part" ] || parts+=("$part=$version")
    done
    [ ${#parts[@]} -eq 0 ] || mapfile -t parts < <(try_fetch_deb "${parts[@]}" || echo missing)
    [[ ${parts[*]} == *missing ]] || printf '%s\n' "$image" "${parts[@]}"
}

# Unpack into $1; status 1 where the mirror lists a file that it cannot give.
# The caller asks for that status, so errexit does not hold in here.
fetch_release() {
    local dir=$1 release=$2 version=$3 new=$1.new
    local headers image deb symbols=boot/vmlinux-$2
    rm -rf "$new"
    mkdir -p "$new/root"

    # The small ones first: what is missing shows soonest so.
    mapfile -t headers < <(headers_debs "$release" "$version")
    [ ${#headers[@]} -eq 3 ] || return 1
    mapfile -t image < <(fetch_image "$release" "$version")
    [ ${#image[@]} -gt 0 ] || return 1
    # Where Debian 13 has it
    [[ $release != *+deb13* ]] ||
        { mkdir -p "$new/root/usr/lib" && ln -s usr/lib "$new/root/lib"; }
    for deb in "${headers[@]}" "${image[@]}"; do
        dpkg-deb -x "$deb" "$new/root" ||
            die "cannot unpack $deb" "is the disk full? See: df -h $cache"
    done

    # Of the many gigabytes of symbols only the kernel's own are wanted.
    deb=$(try_fetch_deb "linux-image-$release-dbg=$version") || return 1
    # Where the image is in parts
    [ ${#image[@]} -eq 1 ] || symbols=lib/modules/$release/vmlinux
    note "unpacking the symbols of $release"
    # tar ends as soon as it has the member, which dpkg-deb sees as an error
    (
        set +o pipefail
        dpkg-deb --fsys-tarfile "$deb" 2>/dev/null |
            tar -x -O --occurrence=1 -f - "./usr/lib/debug/$symbols" \
                >"$new/vmlinux" 2>/dev/null
    ) || :
    readelf -S "$new/vmlinux" 2>/dev/null | grep '\.debug_info' >/dev/null ||
        die "no debug symbols in $deb" \
            "is the disk full (df -h $cache)? If not, the file is damaged: delete it and run again"
    rm -f "$deb"

    settle_headers "$new/root" "$dir/root" "$release"
    ln -sfn "../../../usr/src/linux-headers-$release" "$new/root/lib/modules/$release/build"
    ln -sfn "../../../usr/src/$(basename "$(dirname "$(find "$new/root/usr/src" -path '*-common/Makefile')")")" \
        "$new/root/lib/modules/$release/source"
    # which the package does when it is installed
    PATH=$PATH:/sbin:/usr/sbin depmod -b "$new/root" "$release" ||
        die "depmod failed" "apt-get install kmod"
    if [ -e "$new/root/boot/vmlinuz-$release" ]; then
        ln -s "root/boot/vmlinuz-$release" "$new/vmlinuz"
        ln -s "root/boot/config-$release" "$new/config"
    else
        ln -s "root/lib/modules/$release/vmlinuz" "$new/vmlinuz"
        ln -s "root/lib/modules/$release/config" "$new/config"
    fi
    ln -s "root/lib/modules/$release" "$new/modules"
    ln -s "root/usr/src/linux-headers-$release" "$new/headers"
    printf '%s\n' "$version" >"$new/version"
    rm -rf "$dir"
    mv "$new" "$dir"
}

# Have the release in the cache; sets $kernel_dir. Status 1: not to be had.
get_release() {
    local release=$1 version=$2
    kernel_dir=$cache/kernels/${release}_${version}.$layout
    [ ! -f "$kernel_dir/version" ] || return 0
    step "fetching kernel $release ($version)"
    with_lock "kernel-$release" _get_locked "$kernel_dir" "$release" "$version"
}

_get_locked() {
    [ ! -f "$1/version" ] || return 0
    fetch_release "$@"
}

# A kernel that is installed on this machine
get_installed() {
    local release=$1
    [ -r "/boot/vmlinuz-$release" ] && [ -d "/lib/modules/$release" ] || return 1
    [ -e "/lib/modules/$release/build/Makefile" ] ||
        die "kernel $release is installed, its headers are not" \
            "apt-get install linux-headers-$release"
    kernel_dir=$cache/kernels/$release.installed
    mkdir -p "$kernel_dir"
    ln -sfn "/boot/vmlinuz-$release" "$kernel_dir/vmlinuz"
    ln -sfn "/boot/config-$release" "$kernel_dir/config"
    ln -sfn "/lib/modules/$release" "$kernel_dir/modules"
    ln -sfn "/lib/modules/$release/build" "$kernel_dir/headers"
    if [ -r "/usr/lib/debug/boot/vmlinux-$release" ]; then
        ln -sfn "/usr/lib/debug/boot/vmlinux-$release" "$kernel_dir/vmlinux"
    else
        rm -f "$kernel_dir/vmlinux"
        note "no debug symbols for $release: the dump is taken, but crash cannot open it" \
            "(apt-get install linux-image-$release-dbg)"
    fi
    printf 'installed\n' >"$kernel_dir/version"
}

link_release() {
    mkdir -p "$build/kernels"
    ln -sfn "$kernel_dir" "$build/kernels/$1"
    chosen+=("$1")
}

# The newest of a series that the mirror can really give: new uploads are
# listed before all their files are there.
use_series() {
    local series=$1 record=$cache/kernels/newest-$1.$layout release version tried=0
    if [ -z "$update" ] && read -r release version 2>/dev/null <"$record" &&
        [ -f "$cache/kernels/${release}_${version}.$layout/version" ]; then
        kernel_dir=$cache/kernels/${release}_${version}.$layout
        link_release "$release"
        return
    fi
    for release in $(series_releases "$series"); do
        version=$(release_version "$release")
        [ -n "$version" ] || continue
        if get_release "$release" "$version"; then
            printf '%s %s\n' "$release" "$version" >"$record"
            link_release "$release"
            return
        fi
        note "$release: the mirror lists it but cannot give all of it; trying the next older one"
        tried=$((tried + 1))
    done
    die "no $series kernel of which the mirror has image, headers and symbols ($tried tried)" \
        "try another mirror (FADUMP_MIRROR, FADUMP_SECURITY_MIRROR), or name an installed kernel in KVER"
}

use_release() {
    local release=$1 version dir
    # Of no series, but it can be named
    [[ $release != 6.12.*+deb13* ]] || local kernel_suites=(trixie)
    for dir in "$cache/kernels/${release}"_*".$layout"; do
        if [ -f "$dir/version" ]; then
            kernel_dir=$dir
            link_release "$release"
            return
        fi
    done
    version=$(release_version "$release")
    if { [ -n "$version" ] && get_release "$release" "$version"; } ||
        get_installed "$release"; then
        link_release "$release"
        return
    fi
    die "kernel $release: the mirror has not all of image, headers and symbols, and it is not installed" \
        "choose one of these: $(for s in "${default_series[@]}"; do series_releases "$s"; done | tr '\n' ' ')"
}

main() {
    local want=() arg link keep
    update='' chosen=()
    for arg; do
        case $arg in
        --update) update=1 ;;
        -*) die "unknown option $arg" "see the head of scripts/kernel.sh" ;;
        *) want+=("$arg") ;;
        esac
    done
    if [ ${#want[@]} -eq 0 ] && [ -n "${KVER:-}" ]; then
        read -ra want <<<"$KVER"
    fi
    mkdir -p "$cache/kernels"
    if [ ${#want[@]} -eq 0 ]; then
        want=("${default_series[@]}")
        keep=
    else
        keep=1
    fi
    for arg in "${want[@]}"; do
        if [[ $arg =~ ^[0-9]+(\.[0-9]+)?$ ]]; then
            use_series "$arg"
        else
            use_release "$arg"
        fi
    done
    # The default set is exactly that: what earlier runs linked goes.
    if [ -z "$keep" ]; then
        for link in "$build"/kernels/*; do
            case " ${chosen[*]} " in
            *" ${link##*/} "*) ;;
            *) rm -f "$link" ;;
            esac
        done
    fi
    for arg in "${chosen[@]}"; do
        printf '%s\n' "$arg"
    done >"$build/kernels.used"
}

main "$@"
