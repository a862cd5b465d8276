#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A Debian root in which packages are built, checked, installed and removed, kept in
# the cache; print the path of its tar:
#
#   scripts/packaging-root.sh bookworm|trixie
#
# It has the suite's small kernel (cloud flavour) with headers, DKMS, debhelper,
# lintian, GRUB's configuration, and in /root/debs a second kernel (Debian 12: of its
# backports) and kdump-tools, to be installed later.

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/apt.sh
. "$top/scripts/apt.sh"

packages=(apt build-essential debhelper dh-dkms dkms po-debconf lintian fakeroot
    initramfs-tools zstd linux-image-cloud-amd64 linux-headers-cloud-amd64
    systemd systemd-sysv udev grub2-common kexec-tools makedumpfile
    openssh-server openssh-client curl nfs-common
    busybox bsdextrautils file lsb-base ucf man-db bash-completion ca-certificates)

suite_of() {
    case $1 in
    bookworm) later=(-t bookworm-backports) ;;
    trixie) later=(-t trixie-backports) ;;
    *) die "there is no root of '$1'" "name bookworm or trixie" ;;
    esac
}

make_root() {
    local suite=$1 tar=$2 sources
    [ ! -f "$tar" ] || return 0
    step "making a root of $suite for the packages" >&2
    private_apt_get --version >/dev/null
    mapfile -t sources < <(grep -E "^deb .* $suite(-security|-backports)? main" \
        "$apt_dir/etc/sources.list")
    # shellcheck disable=SC2016 # $1 is mmdebstrap's
    SOURCE_DATE_EPOCH=0 run_logged "packaging-root-$suite" mmdebstrap --mode=root \
        --format=tar --skip=cleanup/apt/lists --variant=apt --include="$(IFS=,; echo "${packages[*]}")" \
        --aptopt='APT::Install-Recommends "false"' \
        --aptopt='Acquire::Check-Valid-Until "false"' \
        --customize-hook='mkdir -p "$1/root/debs"' \
        --customize-hook="chroot \"\$1\" sh -c 'cd /root/debs && apt-get -q download kdump-tools \
            \$(apt-get -q -s ${later[*]} install linux-image-cloud-amd64 linux-headers-cloud-amd64 \
                | sed -n \"s/^Inst \\([^ ]*\\)[^(]*(\\([^ ]*\\) .*/\\1=\\2/p\")'" \
        "$suite" "$tar.new" "${sources[@]}"
    mv "$tar.new" "$tar"
}

main() {
    local suite=${1:-bookworm} tar
    need_tools mmdebstrap
    suite_of "$suite"
    mkdir -p "$cache/packaging"
    tar=$cache/packaging/$suite-$(hash_inputs "${BASH_SOURCE[0]}").tar
    with_lock packaging make_root "$suite" "$tar"
    printf '%s\n' "$tar"
}

main "$@"
