# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Sourced after common.sh and apt.sh: QEMU source trees, and what of ours goes
# into them. What is in qemu/ is written for QEMU 10.0. For a newer QEMU each
# file and patch goes through qemu/compat/RELEASE.sed of all releases up to
# that one; nothing else differs.
#
#   QEMU_SRC       a QEMU tree of the user's own, instead of Debian's
#   QEMU_VERSION   the series of Debian's that is taken (default: 10.0)
#
#   qemu_select               set $qemu_version, what Debian's source package or
#                             the user's tree is called, and $qemu_release, the
#                             series that it is of (10.0), and $base, the
#                             directory of the cache for it
#   qemu_fetch DIR            make DIR that tree, as it is without us
#   qemu_fetch_firmware       make $base/firmware
#   qemu_link_firmware BUILD  have QEMU find it from where it was built
#   qemu_configure SRC BUILD  once
#   qemu_overlay_files        our files, each at its path in a QEMU tree
#   qemu_patch_files          our patches, in order
#   qemu_put_file FILE TREE   put a file of the overlay into the tree
#   qemu_put_uapi TREE        and the header of the device's ABI
#   qemu_put_patch PATCH TREE apply a patch to the tree; 1: it does not apply
#   qemu_lay DIR              make DIR/src $base/pristine with all of that; what
#                             does not differ keeps its time, for ninja

# shellcheck disable=SC2154 # common.sh sets top and cache

configure_opts=(
    --target-list=x86_64-softmmu
    --disable-install-blobs --disable-download --disable-containers
    --disable-docs --disable-guest-agent --disable-user
    --disable-gtk --disable-sdl --disable-vnc --disable-opengl --disable-curses
    --disable-spice --disable-libusb --disable-xen --disable-gnutls
    --disable-rust --audio-drv-list=
    --enable-kvm --enable-tcg --enable-slirp --enable-fdt=system --enable-numa
    --enable-vhost-kernel --enable-vhost-user --enable-vhost-net
    --enable-trace-backends=log --enable-debug-info --enable-werror
)

qemu_uapi_header=include/standard-headers/linux/virtio_fadump.h

qemu_select() {
    _qemu_select
    # what a whole build depends on
    base=$cache/qemu/$(hash_inputs "$qemu_version" "${configure_opts[*]}" \
        "$(gcc --version)")
    mkdir -p "$base"
}

_qemu_select() {
    local memory
    qemu_release=${QEMU_VERSION:-10.0}
    if [ -n "${QEMU_SRC:-}" ]; then
        [ -f "$QEMU_SRC/hw/i386/pc.c" ] ||
            die "QEMU_SRC=$QEMU_SRC is no QEMU source tree" \
                "name the top of a QEMU 10.0 or 10.2 tree"
        qemu_version=$(cd "$QEMU_SRC" && pwd)
        qemu_release=$(cut -d. -f1,2 "$QEMU_SRC/VERSION")
        return
    fi
    # Debian 13 has 10.0; what is newer is in its newest, until something newer
    # is: what has been fetched is in the cache for longer.
    _qemu_suite=
    [ "$qemu_release" = 10.0 ] || _qemu_suite=sid
    memory=$cache/qemu/version-$qemu_release
    apt_use amd64 "$_qemu_suite"
    qemu_version=$(private_apt_cache madison qemu |
        awk -v r="^1:${qemu_release//./[.]}[.]" \
            '$3 ~ r && /Sources$/ && !v { v = $3 } END { print v }')
    apt_use amd64
    mkdir -p "$cache/qemu"
    if [ -n "$qemu_version" ]; then
        printf '%s\n' "$qemu_version" >"$memory"
    elif [ -f "$memory" ]; then
        qemu_version=$(cat "$memory")
    else
        die "no QEMU $qemu_release source package in Debian ${_qemu_suite:-13} on the mirror" \
            "set QEMU_SRC to a QEMU $qemu_release source tree"
    fi
}

qemu_fetch() {
    local dir=$1 tmp=$1.fetch dsc
    [ ! -f "$dir/VERSION" ] || return 0
    if [ -n "${QEMU_SRC:-}" ]; then
        rm -rf "$dir.new"
        cp -a "$QEMU_SRC" "$dir.new"
        mv "$dir.new" "$dir"
        return
    fi
    step "fetching the QEMU $qemu_version source package"
    rm -rf "$tmp" "$dir"
    mkdir -p "$tmp"
    (
        cd "$tmp" || exit
        apt_use amd64 "$_qemu_suite"
        run_logged qemu-fetch private_apt_get source --download-only \
            "qemu=$qemu_version"
        dsc=$(echo qemu_*.dsc)
        run_logged qemu-unpack dpkg-source --no-check -x "$dsc" pristine
    )
    mv "$tmp/pristine" "$dir"
    rm -rf "$tmp"
}

# SeaBIOS, VGA and PXE ROMs and OVMF come from Debian's packages: the source
# package carries none.
qemu_fetch_firmware() {
    [ ! -f "$base/firmware/.done" ] || return 0
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

qemu_configure() {
    local src=$1 dir=$2
    [ ! -f "$dir/build.ninja" ] || return 0
    step "configuring QEMU"
    mkdir -p "$dir"
    (
        cd "$dir" || exit
        run_logged qemu-configure "$src/configure" \
            --python=/usr/bin/python3 --firmwarepath="$base/firmware" \
            "${configure_opts[@]}"
    )
    [ -f "$dir/pc-bios/optionrom/config.mak" ] || {
        rm -f "$dir/build.ninja"
        die "configure found no compiler for 16-bit option ROMs" \
            "install lib32gcc-12-dev (scripts/bootstrap.sh does)"
    }
}

# QEMU looks below its bundle for all files while it is in its build directory.
qemu_link_firmware() {
    mkdir -p "$1/qemu-bundle$base"
    ln -sfn "$base/firmware" "$1/qemu-bundle$base/firmware"
}

qemu_overlay_files() {
    (cd "$top/qemu" &&
        find . -type f ! -path './patches/*' ! -path './compat/*' -printf '%P\n' | sort)
}

# In the order of the series, and then those that are not in it yet
qemu_patch_files() {
    local dir=$top/qemu/patches/fadump-dev f
    {
        sed -n "s,^[^#+? ].*[.]patch$,$dir/&,p" "$dir/series"
        find "$dir" -name '*.patch' | sort
    } | awk '!seen[$0]++' | while read -r f; do
        [ -f "$f" ] || die "$dir/series names $f, which is not there"
        echo "$f"
    done
}

# The options of sed that make a source for QEMU 10.0 one for this release
_qemu_compat() {
    local f release
    for f in "$top"/qemu/compat/*.sed; do
        [ -f "$f" ] || continue
        release=$(basename "$f" .sed)
        if dpkg --compare-versions "$release" le "$qemu_release"; then
            printf -- '-f\n%s\n' "$f"
        fi
    done
}

# Print a file as this release has it.
qemu_translate() {
    local args
    mapfile -t args < <(_qemu_compat)
    sed -e '' "${args[@]}" "$1"
}

qemu_put_file() {
    local f=$1 tree=$2
    # never write through a hard link to another tree
    rm -f "$tree/$f"
    mkdir -p "$(dirname "$tree/$f")"
    case "$f" in
    *.[ch]) qemu_translate "$top/qemu/$f" >"$tree/$f" ;;
    *) cat "$top/qemu/$f" >"$tree/$f" ;;
    esac
}

# scripts/update-linux-headers.sh of QEMU imports an ABI header the same way.
qemu_put_uapi() {
    local to=$1/$qemu_uapi_header
    rm -f "$to"
    sed -e 's/__u\([0-9][0-9]*\)/uint\1_t/g' \
        -e 's/__le\([0-9][0-9]*\)/uint\1_t/g' \
        -e 's/<linux\/\([^>]*\)>/"standard-headers\/linux\/\1"/' \
        "$top/guest/include/uapi/linux/virtio_fadump.h" >"$to"
}

# patch makes a new file of each that it changes, so hard links are safe. A
# commit that has new files only is a message without a patch.
qemu_put_patch() {
    ! grep '^diff --git ' "$1" >/dev/null ||
        qemu_translate "$1" |
        patch -d "$2" -p1 -f --no-backup-if-mismatch -r - -s
}

qemu_lay() {
    local dir=$1 stage=$1/stage f
    rm -rf "$stage"
    cp -al "$base/pristine" "$stage"
    while read -r f; do
        qemu_put_patch "$f" "$stage" ||
            die "$(basename "$f") does not apply to this QEMU tree" \
                "this series is made against QEMU 10.0 and 10.2; rebase it"
    done < <(qemu_patch_files)
    while read -r f; do
        qemu_put_file "$f" "$stage"
    done < <(qemu_overlay_files)
    qemu_put_uapi "$stage"
    mkdir -p "$dir/src"
    rsync -a --checksum --delete --no-times --omit-dir-times "$stage/" "$dir/src/"
    rm -rf "$stage"
}
