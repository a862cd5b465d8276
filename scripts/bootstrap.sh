#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Install the Debian packages that the build and the tests need, from the
# system's own apt sources. Does nothing where all are there.
#
#   scripts/bootstrap.sh          for build and tests
#   scripts/bootstrap.sh bench    what the benchmark needs besides
#   scripts/bootstrap.sh full     what `make check-full` needs besides
#   scripts/bootstrap.sh distro   what Debian's disk images need besides

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

packages=(
    # fetching and unpacking
    ca-certificates debian-archive-keyring dpkg-dev patch rsync xz-utils
    # compilers; gcc-12 is what Debian built its 6.1 and 6.12+deb12 kernels with
    gcc gcc-12 libc6-dev make binutils pkg-config git
    # QEMU; its option ROMs are 16-bit code
    bison flex ninja-build python3 python3-distlib python3-pip
    python3-setuptools python3-venv python3-wheel lib32gcc-12-dev
    libglib2.0-dev libpixman-1-dev libfdt-dev libslirp-dev zlib1g-dev
    libattr1-dev libcap-ng-dev libaio-dev liburing-dev libnuma-dev
    # fadump-ctl
    libjson-c-dev
    # libvirt
    libgnutls28-dev libnl-3-dev libnl-route-3-dev libpciaccess-dev
    libreadline-dev libtirpc-dev libudev-dev libxml2-dev libxml2-utils perl
    python3-docutils xsltproc
    # modules (objtool is linked to libelf) and the initramfs
    bc libelf1 libelf-dev cpio gzip kmod patchelf
    # the driver's unit tests for arm64, and what runs them
    gcc-12-aarch64-linux-gnu binutils-aarch64-linux-gnu qemu-user
    # the guest's Debian packages, and what their tests need: LUKS volumes, and a client
    debhelper dh-dkms po-debconf curl cryptsetup-bin
    # libFuzzer, the sanitizers, and names in what they report
    clang-14 libclang-rt-14-dev llvm-14
    # the tests' disks, and one that boots
    e2fsprogs grub-common grub-pc-bin mtools xorriso
)

# The benchmark's pictures
bench_packages=(python3-matplotlib)
# The debug kernel; systems that packages are built and tried in; Debian's own
# libvirt (no daemon is started) and QEMU
full_packages=(libssl-dev mmdebstrap libvirt-clients libvirt-daemon
    libvirt-daemon-driver-qemu qemu-system-x86)
# Disk images of Debian
distro_packages=(mmdebstrap fdisk zstd python3-cryptography)

missing() {
    # names that dpkg does not know at all come on stderr
    dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null |
        awk -v all="${packages[*]}" '
            $2 == "installed" { have[$1] = 1 }
            END { n = split(all, p, " "); for (i = 1; i <= n; i++) if (!(p[i] in have)) print p[i] }'
}

apt_as_root() {
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y -o DPkg::Lock::Timeout=600 "$@"
}

install_packages() {
    # The lists of a fresh image are empty, those of an old one name files
    # that are gone: try what is there, then refresh.
    apt_as_root install --no-install-recommends "$@" || {
        apt_as_root update
        apt_as_root install --no-install-recommends "$@"
    }
}

main() {
    local want
    case ${1:-} in
    bench) packages+=("${bench_packages[@]}") ;;
    full) packages+=("${full_packages[@]}") ;;
    distro) packages+=("${distro_packages[@]}") ;;
    esac
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        die "this is no Debian system" \
            "use Debian 12 (a container or a virtual machine will do)"
    fi
    [ "$(dpkg --print-architecture)" = amd64 ] ||
        die "this is $(dpkg --print-architecture), not amd64" "use an amd64 machine"
    mapfile -t want < <(missing)
    [ ${#want[@]} -gt 0 ] || return 0
    step "installing ${#want[@]} Debian packages"
    note "${want[*]}"
    sudo=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null ||
            die "packages are missing, and this is neither root nor is there sudo" \
                "as root: apt-get install --no-install-recommends ${want[*]}"
        sudo=(sudo)
        # the password, if one is needed, before the output goes to a log
        sudo true
    fi
    advice="as root, see what this says: apt-get install --no-install-recommends ${want[*]}" \
        run_logged bootstrap install_packages "${want[@]}"
    mapfile -t want < <(missing)
    [ ${#want[@]} -eq 0 ] ||
        die "still not installed: ${want[*]}" "see $cache/log/bootstrap.log"
}

main "$@"
