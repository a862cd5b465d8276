# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Sourced after apt.sh. Debian 12 systems below a directory, to build packages
# in and to try them in: what a package needs is then what it says, not what
# happens to be on this machine. Needs root, or sudo.
#
#   chroot_new DIR               make one with what each Debian has; what was in DIR
#                                is deleted
#   chroot_install DIR PACKAGE.. install more in it, as apt does
#   chroot_delete DIR
#   chroot_run DIR COMMAND...    run in it, with /proc, /sys, /dev and network.
#                                $chroot_binds are directories of this machine
#                                that it sees at the same path
#
# Each command has mounts and processes of its own: nothing stays mounted, and
# nothing that a package has started goes on running.

# shellcheck disable=SC2154 # common.sh sets cache

chroot_binds=()
chroot_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
        die "a Debian system in a directory needs root" "run this as root, or install sudo"
    chroot_root=(sudo)
fi

# With apt's lists, so that more can be installed in it as anywhere
_chroot_make() {
    local tar=$1 sources
    [ ! -f "$tar" ] || return 0
    step "making a Debian 12 system"
    _apt_setup
    sources=$(grep '^deb .* bookworm' "$apt_dir/etc/sources.list")
    run_logged chroot "${chroot_root[@]}" env TMPDIR="$cache/chroot" \
        mmdebstrap --quiet --mode=root --variant=minbase --format=tar \
        --skip=cleanup/apt/lists \
        --aptopt='Acquire::Check-Valid-Until "false"' \
        --aptopt='Acquire::Languages "none"' \
        --aptopt='APT::Install-Recommends "false"' \
        bookworm "$tar.new" "$sources"
    "${chroot_root[@]}" mv "$tar.new" "$tar"
}

chroot_delete() {
    "${chroot_root[@]}" rm -rf --one-file-system "$1"
}

chroot_new() {
    local dir=$1 tar=$cache/chroot/bookworm.tar
    need_tools mmdebstrap unshare
    mkdir -p "$cache/chroot"
    with_lock chroot _chroot_make "$tar"
    chroot_delete "$dir"
    mkdir -p "$dir"
    "${chroot_root[@]}" tar -C "$dir" --numeric-owner -xpf "$tar"
}

chroot_install() {
    local dir=$1
    shift
    # shellcheck disable=SC2016 # the inner shell expands
    advice="see what this says: chroot $dir apt-get install $*" \
        run_logged chroot-install chroot_run "$dir" sh -c \
        'apt-get -q update && apt-get -q -y install --no-install-recommends "$@"' sh "$@"
}

# In the new namespaces. $1: the directory; words up to --: directories
# shellcheck disable=SC2016 # the inner shell expands
_chroot_enter='
    set -e
    dir=$1
    shift
    mount -t proc proc "$dir/proc"
    mount --rbind /dev "$dir/dev"
    mount --rbind /sys "$dir/sys"
    : >>"$dir/etc/resolv.conf"
    mount --bind "$(readlink -f /etc/resolv.conf)" "$dir/etc/resolv.conf"
    while [ "$1" != -- ]; do
        mkdir -p "$dir$1"
        mount --bind "$1" "$dir$1"
        shift
    done
    shift
    exec chroot "$dir" "$@"'

chroot_run() {
    local dir=$1
    shift
    "${chroot_root[@]}" env -i HOME=/root LC_ALL=C.UTF-8 TERM="${TERM:-dumb}" \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        DEBIAN_FRONTEND=noninteractive \
        unshare --mount --pid --fork --kill-child \
        sh -c "$_chroot_enter" sh "$dir" "${chroot_binds[@]}" -- "$@"
}
