#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What a guest with an initramfs of dracut's boots, for the 6.1 in build/kernels:
# Debian's dracut, with guest/dracut in its place, in a Debian 12 of its own.
#
#   build/guest/<release>/dracut/plain.img     as dracut makes it by itself
#   build/guest/<release>/dracut/kdumpctl.img  what mkfadumprd makes of that, the
#                                              program that RHEL's kdumpctl calls
#   build/guest/<release>/dracut/without.log   dracut's words where the kernel has
#                                              no driver
#   build/guest/<release>/dracut/root.img      a root file system: the tests' own
#                                              initramfs, without the driver
#
# Needs root.

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/apt.sh
. "$top/scripts/apt.sh"
# shellcheck source=scripts/chroot.sh
. "$top/scripts/chroot.sh"

work=$cache/dracut
chroot=$work/chroot
packages="dracut-core kmod udev util-linux zstd"

have_system() {
    [ "$(cat "$work/chroot.has" 2>/dev/null)" != "$packages" ] || return 0
    step "making a system with dracut"
    mkdir -p "$work"
    rm -f "$work/chroot.has"
    chroot_new "$chroot"
    # shellcheck disable=SC2086 # words
    chroot_install "$chroot" $packages
    printf '%s\n' "$packages" >"$work/chroot.has"
}

# The kernel's modules and the driver, where an installed system has them
install_kernel() {
    local release=$1 with=$2 dir=$chroot/lib/modules/$1
    rm -rf "$dir"
    mkdir -p "$dir/updates/dkms"
    cp -rl "$(readlink -f "$build/kernels/$release/modules")/kernel" "$dir/"
    cp "$build/kernels/$release"/modules/modules.{builtin,builtin.modinfo,order} "$dir/"
    if [ "$with" = driver ]; then
        cp "$build/guest/$release"/fadump*.ko "$dir/updates/dkms/"
        strip --strip-debug "$dir"/updates/dkms/*.ko
    fi
    chroot_run "$chroot" depmod "$release"
}

make_images() {
    local release=$1
    local dracut=(chroot_run "$chroot" dracut --force --no-hostonly --no-hostonly-cmdline
        --gzip --kver "$release" --omit "kernel-modules kernel-modules-extra"
        --add-drivers "virtio_blk ext4")
    rm -rf "$chroot/usr/lib/dracut/modules.d"/99{fadump-virtio,zz-fadumpinit}
    cp -r "$top"/guest/dracut/* "$chroot/usr/lib/dracut/modules.d/"
    cp "$top/guest/kdump/rhel/mkfadumprd" "$chroot/usr/sbin/"
    install_kernel "$release" none
    # not asked for, it is left out; asked for, it is missed
    "${dracut[@]}" /tmp/without.img
    "${dracut[@]}" --add fadump-virtio /tmp/not.img >"$out/without.log" 2>&1 || :
    chroot_run "$chroot" lsinitrd /tmp/without.img >"$out/without.list"
    install_kernel "$release" driver
    "${dracut[@]}" /tmp/plain.img
    chroot_run "$chroot" mkfadumprd /tmp/plain.img /tmp/kdumpctl.img --kver "$release"
    cp "$chroot"/tmp/{plain,kdumpctl}.img "$out/"
    for image in plain kdumpctl; do
        chroot_run "$chroot" lsinitrd "/tmp/$image.img" >"$out/$image.list"
    done
    # as kdumpctl asks
    chroot_run "$chroot" lsinitrd -f usr/lib/dracut/fadump-kernel-modules.txt \
        /tmp/kdumpctl.img >"$out/kdumpctl.modules"
    rm -f "$chroot"/tmp/*.img
}

make_root() {
    local release=$1 dir=$out/root
    rm -rf "$dir"
    mkdir "$dir"
    gzip -dc "$build/guest/$release/initramfs.cpio.gz" | cpio --quiet -D "$dir" -id
    rm "$dir/lib/modules/$release"/extra/fadump{,-virtio}.ko
    depmod -b "$dir" "$release"
    ln -s /init "$dir/sbin/init"
    rm -f "$out/root.img"
    truncate -s 256M "$out/root.img"
    mke2fs -q -F -t ext4 -d "$dir" "$out/root.img"
    rm -rf "$dir"
}

build_one() {
    local release=$1 key
    out=$build/guest/$release/dracut
    key=$(hash_inputs "${BASH_SOURCE[0]}" "$top/guest/dracut" "$top/guest/kdump/rhel" \
        "$build/guest/$release/initramfs.cpio.gz" "$build/guest/$release"/fadump*.ko)
    [ "$(cat "$out/key" 2>/dev/null)" != "$key" ] || return 0
    have_system
    step "making initramfs of dracut's for $release"
    rm -rf "$out"
    mkdir -p "$out"
    run_logged dracut make_images "$release"
    run_logged dracut-root make_root "$release"
    printf '%s\n' "$key" >"$out/key"
}

main() {
    local link release
    PATH=$PATH:/usr/sbin:/sbin
    [ "$(id -u)" -eq 0 ] || {
        note "no initramfs of dracut's: that needs root"
        return 0
    }
    need_tools cpio depmod mke2fs strip
    [ $# -gt 0 ] || set -- "$build"/kernels/6.1.*/
    for link; do
        release=$(basename "$link")
        [ -f "$build/guest/$release/initramfs.cpio.gz" ] ||
            die "build/guest/$release has no initramfs" "run scripts/initramfs.sh $release"
        with_lock dracut build_one "$release"
    done
}

main "$@"
