#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Make disk images of Debian servers, from Debian's packages and ours:
#
#   scripts/distro-image.sh [--update] NAME...
#
#   build/distro/<name>/disk.img    a raw image; tests and people lay an overlay
#                                   over it and leave it as it is
#                      /release     the kernel's release
#                      /kernel      what scripts/kernel.sh has of it
#                      /packages    name and version of each package
#
# A name is words with dashes between them, of which the first is a suite:
#
#   bookworm | trixie    that Debian, with fadump-virtio-dkms and fadump-tools
#   6.1 | 6.12 | 7       its kernel (default: the suite's own)
#   kdump                with Debian's kdump-tools, as it comes
#   luks                 with what opens a root that LUKS has encrypted
#   remote               with what sends a dump to another machine, and takes it there
#   driver | plain       of our packages the driver only, or none
#   host                 with Debian's libvirt and AppArmor, and of our packages
#                        those for a host
#
# so bookworm, trixie-7, bookworm-6.12-kdump, bookworm-plain-kdump. Our packages
# are those in build/packages (scripts/guest-packages.sh, for a host
# scripts/host-packages.sh). The kernel is the one that scripts/kernel.sh has the
# symbols of.
#
# One image is made for SeaBIOS, for UEFI, and for UEFI Secure Boot. No loop
# device is needed, nor a virtual machine; root is. Debian without our packages is
# made once, and kept in the cache until its inputs change; --update makes it anew
# from the mirror's newest packages. File times, order and identifiers do not
# differ from one making to the next; the keys that DKMS makes for itself do.

# shellcheck source=scripts/tools.sh
. "$(dirname "${BASH_SOURCE[0]}")/tools.sh"

# Debian 13's: it can take the files from a tar archive, whose order and times
# are no file system's.
mke2fs_packages=(e2fsprogs libext2fs2t64 libcom-err2 libblkid1 libuuid1 libc6 libgcc-s1
    libarchive13t64 libacl1 libattr1 libbz2-1.0 liblz4-1 liblzma5 libnettle8t64 libxml2 libzstd1
    zlib1g)

# What a server has, and what it takes to boot it in each way
common_packages=(systemd-sysv dbus systemd-timesyncd openssh-server ca-certificates
    initramfs-tools busybox zstd dkms gcc make makedumpfile
    grub-pc grub-efi-amd64-bin grub-efi-amd64-signed shim-signed mokutil)
kdump_packages=(kdump-tools kexec-tools)
luks_packages=(cryptsetup-initramfs)
remote_packages=(curl nfs-common nfs-kernel-server nginx)
host_packages=(libvirt-daemon-system libvirt-clients apparmor)

# The disk: a GPT with room for GRUB's core, the EFI system partition, the root
sectors=$((4 * 1024 * 2048))
core_at=2048
esp_at=8192
root_at=139264
root_uuid=fad00000-0000-4000-8000-000000000001
disk_uuid=FAD00000-0000-4000-8000-000000000002
esp_id=FAD0FAD0

export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1767225600}
# How many of each kind stay in the cache: more than make check-full uses
keep=12

# The words of a name, into variables
parse_name() {
    local word words
    IFS=- read -ra words <<<"$1"
    suite=${words[0]} series='' kdump='' ours=all
    server_packages=("${common_packages[@]}")
    case $suite in
    bookworm | trixie) ;;
    *) die "'$1' does not begin with bookworm or trixie" "see the head of scripts/distro-image.sh" ;;
    esac
    for word in "${words[@]:1}"; do
        case $word in
        kdump) kdump=1 ;;
        luks) server_packages+=("${luks_packages[@]}") ;;
        remote) server_packages+=("${remote_packages[@]}") ;;
        host) server_packages+=("${host_packages[@]}") ours=host ;;
        driver | plain) ours=$word ;;
        6.1 | 6.12 | 7) series=$word ;;
        *) die "'$word' in '$1' is unknown" "see the head of scripts/distro-image.sh" ;;
        esac
    done
    case $suite-$series in
    bookworm- | bookworm-6.1) series=6.1 ;;
    bookworm-6.12 | trixie-7) ;;
    # Its own, which bookworm has by another name
    trixie- | trixie-6.12) series='6\.12\..*\+deb13' ;;
    *) die "Debian has no kernel $series in $suite" "bookworm has 6.1 and 6.12, trixie 6.12 and 7" ;;
    esac
}

# Sets $release and $version
choose_kernel() {
    case $series in
    *deb13)
        release=$(private_apt_cache pkgnames linux-image-6.12. |
            grep -xE "linux-image-$series-amd64" | sort -V | tail -n 1)
        release=${release#linux-image-}
        [ -n "$release" ] ||
            die "the mirror has no 6.12 kernel in trixie" "name another mirror in FADUMP_MIRROR"
        "$top/scripts/kernel.sh" "$release"
        ;;
    *)
        "$top/scripts/kernel.sh" "$series"
        release=$(cat "$build/kernels.used")
        ;;
    esac
    version=$(cat "$build/kernels/$release/version")
    [ "$version" != installed ] ||
        die "kernel $release is installed here, the mirror does not have it" \
            "refresh the package lists: FADUMP_APT_AGE=0 scripts/kernel.sh --update $release"
}

# Lines of sources.list for the suite, its security and its backports, as apt.sh
# has them of bookworm
sources() {
    private_apt_cache stats >/dev/null
    sed -n "s/^\(deb .*\) bookworm/\1 $suite/p" "$apt_dir/etc/sources.list"
}

preseed() {
    # There is no disk to install GRUB on: it is put there below.
    cat <<END
grub-pc grub-pc/install_devices multiselect
grub-pc grub-pc/install_devices_empty boolean true
grub-pc grub2/linux_cmdline string
kexec-tools kexec-tools/load_kexec boolean false
kdump-tools kdump-tools/use_kdump boolean true
END
}

# ---- Debian without our packages ----

# Runs as a hook of mmdebstrap: what makes a system of a set of packages
configure_system() {
    local root=$1
    cat >"$root/etc/fstab" <<END
UUID=$root_uuid / ext4 errors=remount-ro 0 1
UUID=${esp_id:0:4}-${esp_id:4} /boot/efi vfat umask=0077 0 1
END
    mkdir -p "$root/boot/efi"
    printf 'debian\n' >"$root/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 debian\n' >"$root/etc/hosts"
    # What it was installed with is not for what it installs.
    rm -f "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap" "$root/etc/apt/apt.conf.d/99mmdebstrap"
    # Once, and not for each package that has a say in it (INITRD=No)
    chroot "$root" update-initramfs -c -k "$(basename "$root"/lib/modules/*)"
    # Who has the console has the machine.
    chroot "$root" passwd -q -d root
    cat >"$root/etc/systemd/network/80-dhcp.network" <<END
[Match]
Type=ether

[Network]
DHCP=yes
END
    chroot "$root" systemctl -q enable systemd-networkd
    # Each guest makes keys of its own.
    rm -f "$root"/etc/ssh/ssh_host_*
    mkdir -p "$root/etc/systemd/system/ssh.service.d"
    printf '[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n' \
        >"$root/etc/systemd/system/ssh.service.d/keys.conf"
    : >"$root/etc/machine-id"
    # A serial console, and all that the kernel says; a menu, but not for long
    sed -i -e 's/^GRUB_TIMEOUT=.*/GRUB_TIMEOUT=1/' \
        -e 's/^GRUB_CMDLINE_LINUX_DEFAULT=.*/GRUB_CMDLINE_LINUX_DEFAULT=""/' \
        -e 's/^GRUB_CMDLINE_LINUX=.*/GRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200"/' \
        "$root/etc/default/grub"
    cat >>"$root/etc/default/grub" <<END
GRUB_TERMINAL=serial
GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"
END
    # Where the tests' commands come from, if there is a second serial port
    install -m 755 "$top/tests/guest/port" "$root/usr/local/sbin/fadump-test-port"
    install -m 644 "$top/tests/guest/fadump-test-port-early.service" "$root/etc/systemd/system/"
    chroot "$root" systemctl -q enable fadump-test-port-early
}

bootstrap() {
    local out=$1 kernel=(linux-image linux-headers) include archives=$cache/distro/archives
    include=("${kernel[@]/%/-$release=$version}" "${server_packages[@]}")
    [ -z "$kdump" ] || include+=("${kdump_packages[@]}")
    # Which a kernel from there may ask for
    [[ $version != *~bpo* ]] || include+=("linux-base/$suite-backports")
    mkdir -p "$archives"
    preseed >"$out.preseed"
    # Packages are downloaded once, for all images.
    # shellcheck disable=SC2016 # for mmdebstrap's shell
    sources | INITRD=No mmdebstrap --mode=root --variant=important --format=tar \
        --include="$(printf '%s\n' "${include[@]}" | paste -sd,)" \
        --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Languages "none"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
        --dpkgopt=force-unsafe-io \
        --skip=essential/unlink \
        --setup-hook="mkdir -p \"\$1/var/cache/apt/archives\"; cp -n '$archives'/*.deb \"\$1/var/cache/apt/archives/\" || :" \
        --essential-hook="chroot \"\$1\" debconf-set-selections <'$out.preseed'" \
        --customize-hook="cp -n \"\$1\"/var/cache/apt/archives/*.deb '$archives/'" \
        --customize-hook="'$top/scripts/distro-image.sh' --configure \"\$1\"" \
        "$suite" - - | zstd -q -T0 -3 >"$out.new"
    rm "$out.preseed"
    mv "$out.new" "$out"
}

# ---- a system to an image ----

in_root() {
    chroot "$root" env -i ${http_proxy:+http_proxy="$http_proxy"} PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" "$@"
}

install_ours() {
    local deb names=() install=(apt-get -q -y --no-install-recommends -o Acquire::Check-Valid-Until=false)
    for deb; do
        cp "$deb" "$root/tmp/"
        names+=("/tmp/${deb##*/}")
    done
    # What they need is there, or else comes from the mirror.
    in_root "${install[@]}" install "${names[@]}" || {
        cp -L /etc/resolv.conf "$root/etc/resolv.conf"
        in_root "${install[@]}" update
        in_root "${install[@]}" install "${names[@]}"
        in_root apt-get clean
        rm -rf "$root"/var/lib/apt/lists/* "$root/etc/resolv.conf"
    }
}

# As grub-install does it, which insists on a device
# shellcheck disable=SC2016 # for GRUB
install_grub() {
    local dir=$1 probe=$root/usr/sbin/grub-probe
    mkdir -p "$root/boot/grub/i386-pc"
    cp "$root"/usr/lib/grub/i386-pc/*.{mod,lst} "$root/boot/grub/i386-pc/"
    # It looks into devices, of which there are none; in the guest it does.
    cat >"$dir/grub-probe" <<END
#!/bin/sh
for arg; do
    case \$arg in
    --target=*) target=\${arg#*=} ;;
    -t*) target=\${arg#-t} ;;
    esac
done
case \$target in
device) echo /dev/vda3 ;;
fs) echo ext2 ;;
fs_uuid) echo $root_uuid ;;
partmap) echo gpt ;;
abstraction | fs_label | compatibility_hint | hints_string | cryptodisk_uuid) ;;
*) exit 1 ;;
esac
END
    chmod 755 "$dir/grub-probe"
    mount --bind "$dir/grub-probe" "$probe"
    # A root that has a UUID, which the kernel is to be given
    mkdir -p "$root/dev/disk/by-uuid"
    : >"$root/dev/disk/by-uuid/$root_uuid"
    in_root update-grub
    umount "$probe"
    grep -q "root=UUID=$root_uuid" "$root/boot/grub/grub.cfg" ||
        die "GRUB's configuration does not name the root" "see $cache/log/distro-image.log"

    # It then goes on to normal mode, which finds modules and configuration there.
    printf 'search.fs_uuid %s root\nset prefix=($root)/boot/grub\n' \
        "$root_uuid" >"$root/root/early.cfg"
    in_root grub-mkimage -O i386-pc -p /boot/grub -c /root/early.cfg -o /root/core.img \
        biosdisk part_gpt ext2 search_fs_uuid normal
    mv "$root/root/early.cfg" "$root/root/core.img" "$dir/"
    cp "$root/usr/lib/grub/i386-pc/boot.img" "$dir/"
}

# boot.img in the first sector loads core.img's first, and that one the rest.
patch_grub() {
    /usr/bin/python3 - "$1" "$core_at" <<'END'
import os
import struct
import sys

dir, at = sys.argv[1], int(sys.argv[2])
with open(os.path.join(dir, 'boot.img'), 'r+b') as f:
    f.seek(0x5c)
    f.write(struct.pack('<Q', at))
    # A hard disk's number is the one that the BIOS says: no test for floppies.
    f.seek(0x66)
    f.write(b'\x90\x90')
with open(os.path.join(dir, 'core.img'), 'r+b') as f:
    sectors = (f.seek(0, os.SEEK_END) + 511) // 512
    f.truncate(sectors * 512)
    f.seek(0x1f4)
    f.write(struct.pack('<QHH', at + 1, sectors - 1, 0x820))
END
}

# The signed programs, at the place that firmware looks at by itself
# shellcheck disable=SC2016
make_esp() {
    local dir=$1 img=$1/esp.img d
    local shim=$root/usr/lib/shim grub=$root/usr/lib/grub/x86_64-efi-signed
    truncate -s $(((root_at - esp_at) * 512)) "$img"
    mformat -i "$img" -F -N "${esp_id}" -v ESP ::
    mkdir -p "$dir/EFI/BOOT" "$dir/EFI/debian"
    for d in BOOT debian; do
        cp "$grub/grubx64.efi.signed" "$dir/EFI/$d/grubx64.efi"
        cp "$shim/mmx64.efi.signed" "$dir/EFI/$d/mmx64.efi"
    done
    cp "$shim/shimx64.efi.signed" "$dir/EFI/BOOT/BOOTX64.EFI"
    cp "$shim/shimx64.efi.signed" "$dir/EFI/debian/shimx64.efi"
    # where Debian's signed GRUB looks
    printf 'search.fs_uuid %s root\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n' \
        "$root_uuid" >"$dir/EFI/debian/grub.cfg"
    find "$dir/EFI" -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
    TZ=UTC mcopy -s -m -i "$img" "$dir/EFI" ::
}

make_disk() {
    local dir=$1 out=$2
    rm -f "$out"
    truncate -s $((sectors * 512)) "$out"
    /usr/sbin/sfdisk -q "$out" <<END
label: gpt
label-id: $disk_uuid
unit: sectors
first-lba: 2048

start=$core_at, size=$((esp_at - core_at)), type=21686148-6449-6E6F-744E-656564454649, uuid=${disk_uuid%2}3
start=$esp_at, size=$((root_at - esp_at)), type=uefi, uuid=${disk_uuid%2}4
start=$root_at, size=$((sectors - root_at - 2048)), type=linux, uuid=${disk_uuid%2}5
END
    # The partition table's own bytes in the first sector stay.
    dd if="$dir/boot.img" of="$out" bs=440 count=1 conv=notrunc status=none
    dd if="$dir/core.img" of="$out" bs=512 seek=$core_at conv=notrunc status=none
    dd if="$dir/esp.img" of="$out" bs=512 seek=$esp_at conv=notrunc,sparse status=none
    # GRUB of Debian 12 knows nothing of these two.
    E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH "$build/tools/mke2fs" -q -F -t ext4 \
        -O ^metadata_csum_seed,^orphan_file -U "$root_uuid" -E "hash_seed=$root_uuid,offset=$((root_at * 512)),lazy_itable_init=0,lazy_journal_init=0" \
        -d "$dir/root.tar" "$out" "$(((sectors - root_at - 2048) / 2))k"
}

# In a mount namespace of its own, so that nothing is left mounted
make_image() {
    local base=$1 out=$2
    shift 2
    local dir=$out.new
    root=$dir/root
    rm -rf "$dir"
    mkdir -p "$root"
    zstd -q -d -c "$base" | tar -x --numeric-owner --xattrs --xattrs-include='*' -C "$root"
    mount -t proc proc "$root/proc"
    mount -t sysfs -o ro sysfs "$root/sys"
    mount -t tmpfs tmpfs "$root/run"
    # Not the host's: what looks at its disks there would find this machine's.
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    local d
    for d in null zero full random urandom tty; do
        : >"$root/dev/$d"
        mount --bind "/dev/$d" "$root/dev/$d"
    done
    mkdir "$root/dev/pts" "$root/dev/shm"
    ln -s /proc/self/fd "$root/dev/fd"
    # Nothing is started that is installed here.
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    [ $# -eq 0 ] || install_ours "$@"
    install_grub "$dir"
    rm "$root/usr/sbin/policy-rc.d"
    # shellcheck disable=SC2016
    in_root dpkg-query -W -f '${Package} ${Version}\n' >"$dir/packages"
    rm -rf "$root"/var/log/{apt,dpkg.log,alternatives.log,bootstrap.log} "$root"/var/cache/ldconfig/aux-cache \
        "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old "$root"/tmp/* "$root"/var/tmp/*
    umount -R "$root/dev" "$root/run" "$root/sys" "$root/proc"
    patch_grub "$dir"
    make_esp "$dir"
    tar -c --format=posix --pax-option='exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime' \
        --sort=name --numeric-owner --xattrs --xattrs-include='*' \
        --clamp-mtime --mtime="@$SOURCE_DATE_EPOCH" -C "$root" -f "$dir/root.tar" .
    make_disk "$dir" "$dir/disk.img"
    printf '%s\n' "$release" >"$dir/release"
    rm -rf "$root" "$dir"/root.tar "$dir"/{EFI,*.cfg,core.img,boot.img,esp.img,grub-probe}
    rm -rf "$out"
    mv "$dir" "$out"
}

# ---- ----

prune() {
    local kind=$1
    find "$cache/distro/$kind" -mindepth 1 -maxdepth 1 -printf '%A@ %p\n' | sort -rn |
        tail -n +"$((keep + 1))" | cut -d' ' -f2- | xargs -r rm -rf
}

# Our packages, as chosen by the name
our_packages() {
    local name found
    case $ours in
    all) set -- fadump-virtio-dkms fadump-tools ;;
    driver) set -- fadump-virtio-dkms ;;
    host) set -- fadump-ctl qemu-system-fadump ;;
    plain) set -- ;;
    esac
    for name; do
        found=$(find "$build/packages" -name "${name}_*.deb" 2>/dev/null | sort -V | tail -n 1)
        [ -n "$found" ] ||
            die "build/packages has no $name" "run scripts/guest-packages.sh, or scripts/host-packages.sh"
        printf '%s\n' "$found"
    done
}

build_one() {
    local name=$1 base image debs
    parse_name "$name"
    choose_kernel
    mapfile -t debs < <(our_packages)
    base=$cache/distro/base/$suite-$release${kdump:+-kdump}-$(hash_inputs "$version" \
        "$SOURCE_DATE_EPOCH" "${server_packages[*]} ${kdump_packages[*]}" "$(sources)" \
        "$(declare -f bootstrap configure_system preseed)" "$top/tests/guest/port" \
        "$top/tests/guest/fadump-test-port-early.service").tar.zst
    if [ ! -f "$base" ] || [ -n "$update" ]; then
        step "installing Debian ($suite, Linux $release${kdump:+, kdump-tools})"
        advice="is the mirror reachable, and the disk not full? Package lists that are too old are refreshed with FADUMP_APT_AGE=0" \
            run_logged distro-base bootstrap "$base"
    fi
    touch -a "$base"
    image=$cache/distro/image/$name-$(hash_inputs "$base" "$(stat -c %Y "$base")" "${debs[@]}" \
        "$(declare -f make_image install_ours install_grub patch_grub make_esp make_disk)" \
        "$sectors")
    if [ ! -f "$image/disk.img" ]; then
        step "making the image $name"
        advice="the whole log is $cache/log/distro-image.log" run_logged distro-image \
            env release="$release" unshare --mount --propagation private \
            "$top/scripts/distro-image.sh" --image "$base" "$image" "${debs[@]}"
        note "$(du -h "$image/disk.img" | cut -f1) of $(du -h --apparent-size "$image/disk.img" | cut -f1): $image"
    fi
    touch -a "$image"
    ln -sfn "$(readlink -f "$build/kernels/$release")" "$image/kernel"
    ln -sfn "$image" "$build/distro/$name"
}

build_all() {
    local name
    for name; do
        build_one "$name"
    done
    prune base
    prune image
}

main() {
    update=''
    case ${1:-} in
    # what this script has itself do in other surroundings
    --configure)
        configure_system "$2"
        return
        ;;
    --image)
        shift
        make_image "$@"
        return
        ;;
    --update)
        update=1
        shift
        ;;
    esac
    [ $# -gt 0 ] || die "no image is named" "see the head of scripts/distro-image.sh"
    [ "$(id -u)" -eq 0 ] || die "only root can install a system" "sudo scripts/distro-image.sh $*"
    "$top/scripts/bootstrap.sh" distro
    need_tools mmdebstrap sfdisk mformat mcopy zstd tar unshare
    with_lock tools get_tool mke2fs /usr/sbin/mke2fs -V trixie "${mke2fs_packages[@]}"
    mkdir -p "$cache/distro"/{base,image} "$build/distro"
    with_lock distro build_all "$@"
}

PATH=$PATH:/usr/sbin:/sbin
main "$@"
