#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Compile one of the fuzzers of this directory with what it tests, by clang with
# libFuzzer and the address and undefined-behaviour sanitizers. meson.build says
# when; it is not run by hand.
#
#   compile.sh NAME OUTPUT DEPFILE BUILD    BUILD: what FADUMP_BUILD is elsewhere
set -euo pipefail

name=$1 output=$2 depfile=$3 build=$4
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
top=$(cd "$here/../.." && pwd -P)
cc=$(command -v clang-14 || command -v clang)
objects=$output.p

flags=(-std=gnu11 -g -O1 -fno-omit-frame-pointer -Wall -Werror
    "-fsanitize=fuzzer-no-link,address,undefined" -fno-sanitize-recover=all
    "-I$here")
libs=()

pkg() {
    local words
    read -ra words < <(pkg-config --cflags "$@")
    flags+=("${words[@]}")
    read -ra words < <(pkg-config --libs "$@")
    libs+=("${words[@]}")
}

driver() {
    local f
    flags+=("-I$top/tests/unit" "-I$top/guest/include/uapi"
        "-I$top/guest/drivers/virt/fadump")
    for f; do
        sources+=("$top/guest/drivers/virt/fadump/$f.c")
    done
}

# QEMU's headers as they are, those that its configuration has made, and ours
# before them
qemu() {
    local f base=$build/qemu/..
    mkdir -p "$objects/standard-headers/linux"
    sed -e 's/__u\([0-9][0-9]*\)/uint\1_t/g' -e 's/__le\([0-9][0-9]*\)/uint\1_t/g' \
        -e 's/<linux\/\([^>]*\)>/"standard-headers\/linux\/\1"/' \
        "$top/guest/include/uapi/linux/virtio_fadump.h" \
        >"$objects/standard-headers/linux/virtio_fadump.h"
    flags+=("-I$top/qemu/include" "-I$objects" -isystem "$base/pristine/include"
        -isystem "$base/build" -isystem "$base/build/qapi"
        -isystem "$base/pristine/host/include/x86_64"
        -isystem "$base/pristine/host/include/generic")
    pkg glib-2.0
    sources+=("$here/qemu-error.c")
    for f; do
        sources+=("$top/qemu/hw/misc/fadump-$f.c")
    done
}

ctl() {
    local f
    flags+=(-D_GNU_SOURCE "-I$top/tools/fadump-ctl")
    pkg gio-2.0 gio-unix-2.0 json-c
    for f in "$top"/tools/fadump-ctl/*.c; do
        case ${f##*/} in
        main.c | cmd-*.c) ;;
        *) sources+=("$f") ;;
        esac
    done
}

sources=("$here/$name.c")
mkdir -p "$objects"
case $name in
driver-bootmem) driver bootmem desc ;;
driver-desc)
    driver desc elf
    sources+=("$here/desc-mutator.c")
    libs+=(-lz)
    ;;
qemu-desc)
    flags+=("-I$top/guest/include/uapi")
    qemu desc elf
    sources+=("$here/desc-mutator.c")
    libs+=(-lz)
    ;;
qemu-range) qemu range ;;
ctl-*) ctl ;;
*)
    echo "$name: there is no such fuzzer" >&2
    exit 1
    ;;
esac

rm -f "$objects"/*.o "$objects"/*.d
for f in "${sources[@]}"; do
    o=$objects/$(basename "$f" .c)
    "$cc" "${flags[@]}" -MD -MF "$o.d" -MT "$output" -c "$f" -o "$o.o"
done
"$cc" "-fsanitize=fuzzer,address,undefined" "$objects"/*.o "${libs[@]}" -o "$output"
cat "$objects"/*.d >"$depfile"
