#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Build the guest's Debian packages, for any architecture and release:
#
#   build/packages/fadump-virtio-dkms_<version>_all.deb
#   build/packages/fadump-tools_<version>_all.deb
#   build/packages/fadump-virtio_<version>.dsc, .tar.xz, .changes

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

out=$build/packages

build_packages() {
    local dir=$1
    cd "$dir/fadump-virtio"
    # Root owns what is in the package, whoever builds it (Rules-Requires-Root: no).
    # -d: build-essential, which it would ask for, has compilers that nothing needs.
    env -u MAKEFLAGS -u MFLAGS -u CFLAGS dpkg-buildpackage -d -us -uc
}

main() {
    local key dir
    need_tools dpkg-buildpackage dh dh_dkms
    key=$(hash_inputs "$top/guest" "${BASH_SOURCE[0]}" "$(dpkg-query -W debhelper dh-dkms)")
    [ "$(cat "$out/.key" 2>/dev/null)" != "$key" ] || return 0
    step "building the guest's packages"
    rm -f "$out"/fadump-virtio* "$out"/fadump-tools* "$out/.key"
    mkdir -p "$out"
    dir=$(mktemp -d "$build/packages.XXXXXX")
    # shellcheck disable=SC2064 # the directory of now
    trap "rm -rf '$dir'" EXIT
    cp -r "$top/guest" "$dir/fadump-virtio"
    advice="an error is a defect in guest/debian; the whole log is $cache/log/guest-packages.log" \
        run_logged guest-packages build_packages "$dir"
    mv "$dir"/fadump-* "$out/" 2>/dev/null || :
    rm -rf "$out/fadump-virtio"
    [ -f "$(echo "$out"/fadump-tools_*_all.deb)" ] ||
        die "there is no fadump-tools_*_all.deb" "see $cache/log/guest-packages.log"
    printf '%s\n' "$key" >"$out/.key"
    note "$(cd "$out" && echo fadump-*.deb)"
}

main "$@"
