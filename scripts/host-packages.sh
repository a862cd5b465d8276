#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Build the host's Debian packages, in a Debian 12 system of their own that has
# what they say that they need, and check them with lintian:
#
#   build/packages/fadump-ctl_*.deb           the operators' tool
#   build/packages/qemu-system-fadump_*.deb   QEMU with the device
#
#   scripts/host-packages.sh [fadump-ctl|qemu]...   those only
#
# The source of QEMU is what scripts/qemu-build.sh builds, made by the same
# functions; its options are others. ccache keeps what was compiled: the first
# time takes a quarter of an hour on two processors, others minutes.
#
#   DEBUG_SYMBOLS=1   with packages of debug symbols, in build/packages/debug

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/apt.sh
. "$top/scripts/apt.sh"
# shellcheck source=scripts/chroot.sh
. "$top/scripts/chroot.sh"
# shellcheck source=scripts/qemu-tree.sh
. "$top/scripts/qemu-tree.sh"

work=$cache/host-packages
out=$build/packages
packaging=$top/packaging/debian
version=$(sed -n "s/^ *version: '\(.*\)',/\1/p" "$top/meson.build" | sed -n 1p)

# What the control file of a source package says
build_depends() {
    sed -n '/^Build-Depends:/,/^[^ ]/s/^ \([^ ,]*\).*/\1/p' "$packaging/$1/debian/control"
}

# The system that both are built in. Debian 12's meson is too old for QEMU.
build_system() {
    local depends
    depends=$( (build_depends fadump-ctl; build_depends qemu-system-fadump) |
        sed -e 's,^debhelper-compat$,debhelper,' -e 's,^meson$,meson/bookworm-backports,' | sort -u)
    system="build-essential ccache fakeroot lintian $depends"
    chroot=$work/chroot
    mkdir -p "$work/ccache" "$work/debs"
    chroot_binds=("$work")
    if [ "$(cat "$work/chroot.has" 2>/dev/null)" != "$system" ]; then
        step "making the system to build in"
        rm -f "$work/chroot.has"
        [ -d "$chroot/usr" ] || chroot_new "$chroot"
        # shellcheck disable=SC2086 # words
        chroot_install "$chroot" $system
        printf '%s\n' "$system" >"$work/chroot.has"
    fi
}

# dpkg_build NAME SOURCE: build the package, leave its files in $work/debs/NAME
dpkg_build() {
    local name=$1 src=$2 options="parallel=$JOBS"
    [ -n "${DEBUG_SYMBOLS:-}" ] || options+=" noautodbgsym"
    rm -rf "$work/debs/$name"
    mkdir -p "$work/debs/$name"
    # shellcheck disable=SC2016 # the inner shell expands
    advice="see $cache/log/$name-package.log; what it was built in is $chroot" \
        run_logged "$name-package" chroot_run "$chroot" env \
        PATH=/usr/lib/ccache:/usr/sbin:/usr/bin:/sbin:/bin \
        CCACHE_DIR="$work/ccache" CCACHE_MAXSIZE=2G CCACHE_BASEDIR="$work" \
        DEB_BUILD_OPTIONS="$options" \
        sh -c 'cd "$1" && dpkg-buildpackage -b -us -uc -rfakeroot && mv ../*.deb ../*.changes ../*.buildinfo "$2"' \
        sh "$src" "$work/debs/$name"
}

check() {
    local name=$1
    step "lintian: $name"
    # shellcheck disable=SC2016
    advice="lintian's tags are explained at https://lintian.debian.org/tags" \
        run_logged "$name-lintian" chroot_run "$chroot" sh -c \
        'lintian --fail-on error,warning --allow-root "$1"/*.changes' sh "$work/debs/$name"
}

publish() {
    local name=$1 deb
    mkdir -p "$out/debug"
    for deb in "$work/debs/$name"/*.deb; do
        case $deb in
        *-dbgsym_*) cp "$deb" "$out/debug/" ;;
        *)
            rm -f "$out/$(basename "${deb%%_*}")"_*.deb
            cp "$deb" "$out/"
            ;;
        esac
    done
}

# What git knows of the tree, and what has been added since
tree_files() {
    (cd "$top" && git ls-files -co --exclude-standard -- \
        README.md LICENSES docs guest meson.build meson_options.txt tools tests scripts)
}

build_ctl() {
    local src=$work/fadump-dev-$version key
    key=$(hash_inputs "$system" "$packaging/fadump-ctl" "$top/tools" "$top/tests/unit" \
        "$top/meson.build" "$top/meson_options.txt" "${BASH_SOURCE[0]}")
    if [ "$(cat "$work/debs/fadump-ctl/key" 2>/dev/null)" != "$key" ]; then
        step "building the package fadump-ctl"
        rm -rf "$src"
        mkdir -p "$src"
        (cd "$top" && tree_files | tar -cT - | tar -xC "$src")
        cp -r "$packaging/fadump-ctl/debian" "$src/"
        dpkg_build fadump-ctl "$src"
        rm -rf "$src"
        check fadump-ctl
        printf '%s\n' "$key" >"$work/debs/fadump-ctl/key"
    fi
    publish fadump-ctl
}

qemu_source() {
    rm -rf "$src" "$work/qemu"
    mkdir -p "$work/qemu"
    qemu_lay "$work/qemu"
    mv "$work/qemu/src" "$src"
    rm -rf "$src/debian" "$work/qemu"
    cp -r "$packaging/qemu-system-fadump/debian" "$src/"
    cp "$base/pristine/debian/copyright" "$src/debian/copyright"
    cat >>"$src/debian/copyright" <<END

Files: debian/* hw/*/fadump* include/hw/*/fadump* qapi/fadump.json
 tests/*/*fadump* docs/specs/virtio-fadump.rst
Copyright: 2026 fadump-dev developers
License: GPL-2+
END
    sed -e "s,@QEMU@,$upstream," -e "s,@FADUMP@,$version," \
        -e "s,@VERSION@,$upstream+fadump$version," \
        -e "s/@DATE@/$(sed -n 's/^ -- .*>  //p' "$packaging/fadump-ctl/debian/changelog" | sed -n 1p)/" \
        "$src/debian/changelog.in" >"$src/debian/changelog"
    rm "$src/debian/changelog.in"
}

build_qemu() {
    local upstream src key
    qemu_select
    # It appears when it is whole, and nothing changes it then: no need to wait for
    # another checkout's QEMU.
    [ -f "$base/pristine/VERSION" ] || with_lock qemu qemu_fetch "$base/pristine"
    upstream=$(cat "$base/pristine/VERSION")
    key=$(hash_inputs "$system" "$packaging/qemu-system-fadump" "$top/qemu" "$qemu_version" \
        "$top/guest/include/uapi/linux/virtio_fadump.h" "${DEBUG_SYMBOLS:-}" "${BASH_SOURCE[0]}")
    src=$work/qemu-fadump-$upstream
    if [ "$(cat "$work/debs/qemu/key" 2>/dev/null)" != "$key" ]; then
        step "laying out the source of qemu-system-fadump"
        qemu_source
        step "building the package qemu-system-fadump"
        dpkg_build qemu "$src"
        rm -rf "$src"
        check qemu
        printf '%s\n' "$key" >"$work/debs/qemu/key"
    fi
    publish qemu
}

main() {
    local wanted=() what
    [ $# -gt 0 ] || set -- fadump-ctl qemu
    for what; do
        case $what in
        fadump-ctl) wanted+=(ctl) ;;
        qemu) wanted+=(qemu) ;;
        *) die "there is no package '$what'" "name fadump-ctl, qemu, or nothing for both" ;;
        esac
    done
    mkdir -p "$work" "$out"
    with_lock host-packages build_system
    for what in "${wanted[@]}"; do
        with_lock "host-package-$what" "build_$what"
    done
    step "built: $(cd "$out" && echo *.deb)"
}

main "$@"
