# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Sourced after apt.sh. Debian 13's compiler and libraries, unpacked in the
# cache, for what Debian 13 built: its kernels' headers name gcc-14, and the
# programs of its linux-kbuild ask for a newer C library than Debian 12's.
#
#   newer_toolchain TRIPLET     have it for x86_64-linux-gnu, or for another;
#                               sets $toolchain, a prefix for CROSS_COMPILE
#   newer_libraries DIR         let the programs below DIR run here

# shellcheck disable=SC2154,SC2034 # common.sh sets cache; toolchain is a result

# What gcc, binutils and kbuild's programs are linked to
_newer_libs=(libc6 libgcc-s1 libstdc++6 zlib1g libzstd1 libgmp10 libisl23 libmpc3
    libmpfr6 libbinutils libctf0 libctf-nobfd0 libjansson4 libsframe1 libelf1t64
    libssl3t64 libdw1t64 libbz2-1.0 liblzma5)

# A program asks the kernel for its loader, and the loader for libraries, by
# the paths that are written in it. (A wrapper will not do: modpost looks for
# its other half beside itself, gcc for cc1.)
_newer_adopt() {
    local dir=$1 libs=$2 file
    while IFS= read -r -d '' file; do
        if readelf -l "$file" 2>/dev/null | grep 'program interpreter' >/dev/null; then
            patchelf --set-interpreter "$libs/lib64/ld-linux-x86-64.so.2" \
                --force-rpath \
                --set-rpath "$libs/lib/x86_64-linux-gnu:$dir/lib/x86_64-linux-gnu" "$file" ||
                die "patchelf cannot change $file" "is the disk full? See: df -h $cache"
        fi
    done < <(find "$dir" -type f -perm /111 -print0)
}

# _newer_unpack DIR PACKAGE...
_newer_unpack() {
    local dir=$1 p v
    shift
    [ ! -f "$dir/done" ] || return 0
    rm -rf "$dir"
    # What a Debian with a merged /usr relies on
    mkdir -p "$dir/usr/lib" "$dir/usr/lib64"
    ln -s usr/lib usr/lib64 "$dir/"
    for p; do
        v=$(deb_versions "$p" trixie | sed -n 1p)
        [ -n "$v" ] || die "the mirror has no $p in trixie" "name another mirror in FADUMP_MIRROR"
        unpack_deb "$dir" "$p=$v"
    done
}

_newer_have_libs() {
    _newer_unpack "$newer_root" "${_newer_libs[@]}"
    touch "$newer_root/done"
}

_newer_root() {
    need_tools patchelf readelf
    newer_root=$cache/newer/libs-$(hash_inputs "${_newer_libs[@]}")
    mkdir -p "$cache/newer"
    [ -f "$newer_root/done" ] || with_lock newer _newer_have_libs
}

newer_libraries() {
    _newer_root
    _newer_adopt "$1" "$newer_root"
}

_newer_have_gcc() {
    local triplet=$1 dir=$2 package=${1//_/-}
    [ ! -f "$dir/done" ] || return 0
    step "fetching Debian 13's compiler for $triplet"
    _newer_unpack "$dir" "gcc-14-$package" "cpp-14-$package" "binutils-$package"
    _newer_adopt "$dir" "$newer_root"
    echo 'int x;' | "$dir/usr/bin/$triplet-gcc-14" -c -x c - -o "$dir/test.o" ||
        die "Debian 13's compiler does not run here" \
            "delete $dir and run again; if that does not help, see what this says: $dir/usr/bin/$triplet-gcc-14 --version"
    touch "$dir/done"
}

newer_toolchain() {
    local triplet=$1 dir
    _newer_root
    dir=$cache/newer/gcc-$triplet-$(hash_inputs "$newer_root" \
        "$(declare -f _newer_have_gcc _newer_adopt)")
    [ -f "$dir/done" ] || with_lock newer _newer_have_gcc "$triplet" "$dir"
    toolchain=$dir/usr/bin/$triplet-
}
