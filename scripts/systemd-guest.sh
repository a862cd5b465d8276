#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Assemble the initramfs of a guest that systemd runs, as Debian 12 has it,
# for each 6.1 kernel in build/kernels, or of those named:
#
#   scripts/systemd-guest.sh [RELEASE...]
#
#   build/guest/<release>/systemd.cpio.gz
#   build/guest/fadump-tools.cpio     to be appended to that: the package
#   build/guest/kdump-tools.cpio      likewise: Debian's kdump-tools
#
# In it are Debian's own systemd, udev, kmod, D-Bus, mount and dash, with the
# units and rules that they come with; nothing is left out that decides how such
# a system starts, loads drivers, and goes down. Other tools are busybox's.
# systemd is the first process, from the initramfs, so that there is no disk to
# make or to wait for, and the guests' command port (tests/guest/port) a
# service.

# shellcheck source=scripts/initramfs.sh
. "$(dirname "${BASH_SOURCE[0]}")/initramfs.sh"

systemd_packages=(systemd systemd-sysv libsystemd-shared libsystemd0 udev libudev1
    kmod libkmod2 dbus dbus-daemon dbus-system-bus-common libdbus-1-3 mount base-passwd
    dash busybox-static libc6 libgcc-s1 libacl1 libapparmor1 libaudit1 libblkid1 libcap-ng0
    libcap2 libcrypt1 libcryptsetup12 libexpat1 libfdisk1 libgcrypt20 libgpg-error0
    libip4tc2 liblz4-1 liblzma5 libmount1 libpam0g libpcre2-8-0 libseccomp2 libselinux1
    libssl3 libuuid1 libzstd1)
# What a system that is installed has been given by maintainer scripts; where
# a name is free, a number.
groups=(input:101 kvm:102 render:103 sgx:104 systemd-journal:105 messagebus:106
    systemd-network:998)
users=(messagebus:106 systemd-network:998)
# Names of hardware that no guest has, for people to read; character sets;
# what is not to be started from here.
left_out=(usr/share/{bash-completion,doc,doc-base,info,lintian,locale,man,zsh}
    usr/lib/x86_64-linux-gnu/gconv usr/lib/udev/hwdb.d etc/init.d)

# The packages are of a Debian that has /bin and /lib as directories still; a
# system that is installed has them in /usr.
merge_usr() {
    local dir=$1 d
    for d in bin sbin lib lib64; do
        mkdir -p "$dir/usr/$d"
        if [ -d "$dir/$d" ]; then
            cp -a "$dir/$d/." "$dir/usr/$d/"
            rm -r "${dir:?}/$d"
        fi
        ln -s "usr/$d" "$dir/$d"
    done
}

accounts() {
    local etc=$1/etc base=$1/usr/share/base-passwd x
    # passwd.master has an asterisk for each password
    cp "$base/passwd.master" "$etc/passwd"
    cp "$base/group.master" "$etc/group"
    for x in "${groups[@]}"; do
        printf '%s:x:%s:\n' "${x%:*}" "${x#*:}" >>"$etc/group"
    done
    for x in "${users[@]}"; do
        printf '%s:x:%s:%s::/nonexistent:/bin/false\n' "${x%:*}" "${x#*:}" "${x#*:}" >>"$etc/passwd"
    done
}

systemd_tree() {
    local release=$1 dir=$2 applet d p modules_dir=$2/usr/lib/modules/$1
    cp -a "$systemd_root/." "$dir/"
    rm -f "$dir/done" "$dir/versions"
    merge_usr "$dir"
    for d in "${left_out[@]}"; do
        rm -rf "${dir:?}/$d"
    done
    mkdir -p "$dir"/{dev,mnt,proc,root,run,sys,tmp,var/{lib,log,tmp}}
    for applet in $("$dir/bin/busybox" --list); do
        # Debian's own first, wherever it is; its shell, too, as busybox's
        # prefers applets to what is in the PATH
        [ -e "$dir/bin/$applet" ] || [ -L "$dir/bin/$applet" ] || [ -e "$dir/sbin/$applet" ] ||
            [ -L "$dir/sbin/$applet" ] || ln -s busybox "$dir/bin/$applet"
    done
    install_elf /sbin/kexec "$dir"
    install_elf /usr/bin/makedumpfile "$dir"
    for p in "${dlopened[@]}"; do
        install_elf "$p" "$dir"
    done
    accounts "$dir"
    printf '%032x\n' 1 >"$dir/etc/machine-id"
    printf 'guest\n' >"$dir/etc/hostname"
    ln -s ../proc/self/mounts "$dir/etc/mtab"
    # It has been set up: the first boot has no more to do than others.
    touch "$dir/etc/.updated"
    # Nobody logs in.
    mkdir -p "$dir/etc/systemd/system-generators"
    ln -s /dev/null "$dir/etc/systemd/system-generators/systemd-getty-generator"
    install "$top/tests/guest/port" "$dir/bin/fadump-test-port"
    install -D -m 644 "$top/tests/guest/fadump-test-port.service" \
        "$dir/usr/lib/systemd/system/fadump-test-port.service"
    mkdir -p "$dir/etc/systemd/system/multi-user.target.wants"
    ln -s /lib/systemd/system/fadump-test-port.service \
        "$dir/etc/systemd/system/multi-user.target.wants/"
    ln -s lib/systemd/systemd "$dir/init"

    install_modules "$release" "$dir"
    # kmod's form of the lists, which busybox has no use for
    cp "$build/kernels/$release/modules"/modules.{builtin,builtin.modinfo,order} "$modules_dir/"
    depmod -b "$dir" "$release"
    [ -d "$modules_dir/kernel" ] ||
        die "no modules of $release were found" "delete $(readlink -f "$build/kernels/$release") and run scripts/kernel.sh"
}

build_systemd_guest() {
    local release=$1 out=$build/guest/$1 dir key
    [ -f "$out/fadump-virtio.ko" ] ||
        die "build/guest/$release has no driver" "run scripts/guest-module.sh $release"
    key=$(hash_inputs "${BASH_SOURCE[0]}" "$top/scripts/initramfs.sh" \
        "$top"/tests/guest/port "$top"/tests/guest/*.service "$out"/fadump*.ko \
        "$out/tests" "roots $root $systemd_root" "kernel $(readlink -f "$build/kernels/$release")")
    [ "$(cat "$out/systemd.key" 2>/dev/null)" != "$key" ] || return 0
    step "assembling the guest with systemd for $release"
    rm -f "$out/systemd.key"
    dir=$out/systemd
    rm -rf "$dir"
    mkdir -p "$dir"
    systemd_tree "$release" "$dir"
    pack "$dir" "$out/systemd.cpio.gz"
    note "$(du -sh --apparent-size "$dir" | cut -f1) unpacked, $(du -h --apparent-size "$out/systemd.cpio.gz" | cut -f1) packed"
    rm -rf "$dir"
    printf '%s\n' "$key" >"$out/systemd.key"
}

# overlay NAME KEY DEB...: packages as they are, to be unpacked over the guest. The
# kernel takes several archives, one after the other.
overlay() {
    local name=$1 key=$2 out=$build/guest/$1.cpio dir
    shift 2
    [ "$(cat "$out.key" 2>/dev/null)" != "$key" ] || return 0
    dir=$(mktemp -d "$build/overlay.XXXXXX")
    for deb; do
        dpkg-deb -x "$deb" "$dir"
    done
    # links in the guest, which a directory would take the place of
    merge_usr "$dir"
    rm -rf "$dir/usr/share/"{doc,man,bash-completion,lintian}
    if [ "$name" = kdump-tools ]; then
        # as its postinst does
        install -D -m 644 "$dir/usr/share/kdump-tools/kdump-tools.conf" \
            "$dir/etc/default/kdump-tools"
        mkdir -p "$dir/etc/systemd/system/basic.target.wants"
        ln -s /usr/lib/systemd/system/kdump-tools.service \
            "$dir/etc/systemd/system/basic.target.wants/"
    fi
    pack "$dir" "$out"
    rm -rf "$dir"
    printf '%s\n' "$key" >"$out.key"
}

overlays() {
    local debs
    "$top/scripts/guest-packages.sh"
    overlay fadump-tools "$(cat "$build/packages/.key") $(declare -f overlay merge_usr)" \
        "$build"/packages/fadump-tools_*.deb
    # with the shell functions that its init script takes
    mapfile -t debs < <(fetch_deb kdump-tools/bookworm sysvinit-utils/bookworm)
    overlay kdump-tools "${debs[*]} $(declare -f overlay merge_usr)" "${debs[@]}"
}

systemd_main() {
    local releases=() link
    PATH=$PATH:/usr/sbin:/sbin
    [ $# -gt 0 ] || set -- "$build"/kernels/*/
    for link; do
        link=$(basename "$link")
        # Debian 12's own; another would show nothing more.
        [[ $link != 6.1.* ]] || releases+=("$link")
    done
    [ ${#releases[@]} -gt 0 ] || return 0
    need_tools cpio gzip xz depmod modprobe readelf
    mkdir -p "$cache/guestroot"
    # kexec comes from what the other guests have.
    root=$cache/guestroot/$(hash_inputs "${packages[@]}")
    systemd_root=$cache/guestroot/$(hash_inputs "${systemd_packages[@]}")
    with_lock guestroot guest_root "bookworm bookworm-security" "${packages[@]}"
    root=$systemd_root with_lock guestroot guest_root "bookworm bookworm-security" \
        "${systemd_packages[@]}"
    for link in "${releases[@]}"; do
        build_systemd_guest "$link"
    done
    overlays
}

systemd_main "$@"
