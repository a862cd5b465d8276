#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# packaging/rpm/fadump-dev.spec, built by Debian's rpmbuild as for RHEL and Fedora and
# as for SUSE, and what is in the packages. They are not installed on these
# distributions here. TAP. Needs root.
#
# shellcheck disable=SC2016 # the shell in that system expands

# shellcheck source=tests/packaging/cases.sh
. "$(dirname "${BASH_SOURCE[0]}")/cases.sh"

dir=$build/tests/rpm
log=$dir/log
version=$(sed -n "s/^Version: *//p" "$top/packaging/rpm/fadump-dev.spec")
packages="gcc libc6-dev libglib2.0-dev libjson-c-dev meson ninja-build pkg-config rpm rpmlint"

mkdir -p "$dir"
trap 'chroot_delete "$dir/root"' EXIT
chroot_new "$dir/root" >&2
# shellcheck disable=SC2086 # words
chroot_install "$dir/root" $packages >&2
mkdir -p "$dir/root"/build/{SOURCES,SPECS}
cp "$top"/packaging/rpm/fadump-dev.{spec,rpmlintrc} "$dir/root/build/SPECS/"
(cd "$top" && git ls-files -co --exclude-standard | tar --transform "s,^,fadump-dev-$version/," \
    -czf "$dir/root/build/SOURCES/fadump-dev-$version.tar.gz" -T -)

[ "$(sed -n "s/^ *version: '\(.*\)',/\1/p" "$top/meson.build" | sed -n 1p)" = "$version" ] ||
    { echo "# meson.build and the spec differ in the version"; failed=1; }

# What Debian's package is called is not what BuildRequires names, so --nodeps.
build() {
    try "the spec builds as for $1" "cd /build; rm -rf RPMS BUILD
        rpmbuild -bb --nodeps --define '_topdir /build' $2 SPECS/fadump-dev.spec
        ls RPMS/*/*.rpm"
}

# has PACKAGE FILE...
functions='files() { rpm -qpl /build/RPMS/*/$1-'$version'-*.rpm; }
    has() { files "$1" >/tmp/files; shift; for f; do grep -qx -- "$f" /tmp/files || { cat /tmp/files; echo "no $f"; exit 1; }; done; }
    lacks() { ! files "$1" | grep -x -- "$2"; }
'
dracut=/usr/lib/dracut/modules.d
units=/usr/lib/systemd/system

build "RHEL and Fedora" ""
try "the host's tool, its manual and its completion" "$functions
    has fadump-ctl /usr/bin/fadump-ctl /usr/share/man/man1/fadump-ctl.1.* /usr/share/bash-completion/completions/fadump-ctl
    cd /tmp; rpm2cpio /build/RPMS/*/fadump-ctl-$version-*.rpm | cpio --quiet -id ./usr/bin/fadump-ctl
    usr/bin/fadump-ctl --version | grep $version"
try "the guest's tools, with what kdumpctl asks for" "$functions
    has fadump-tools /usr/sbin/fadump-save /usr/libexec/fadump-tools/fadump-boot /usr/share/fadump-tools/fadump-functions \\
        /usr/lib/systemd/system-generators/fadump-generator /etc/default/fadump-tools /usr/sbin/mkfadumprd $dracut/99fadump-virtio/module-setup.sh \\
        $dracut/99zz-fadumpinit/module-setup.sh $units/fadump-save.service $units/kdump.service.d/50-fadump.conf /var/crash \\
        /etc/issue.d/fadump-tools.issue
    lacks fadump-tools $units/kdump-early.service.d/50-fadump.conf"
try "the driver's source is whole" "$functions
    cd /tmp; rm -rf usr; rpm2cpio /build/RPMS/noarch/fadump-virtio-dkms-*.rpm | cpio --quiet -id
    cd usr/src/fadump-virtio-$version
    set +u
    . ./dkms.conf
    [ \"\$PACKAGE_VERSION\" = $version ]
    for i in 0 1; do [ -f \"\${BUILT_MODULE_LOCATION[i]}/Makefile\" ] || [ -f \"\${BUILT_MODULE_LOCATION[i]}/\${BUILT_MODULE_NAME[i]}.c\" ]; done
    cp -r . /build/driver"

# As DKMS does it, with the headers of a kernel that is here
n=$((n + 1))
headers=
for headers in "$build"/kernels/6.1.*/headers; do :; done
if [ ! -d "$headers" ]; then
    echo "ok $n - the driver builds from it # SKIP no headers in build/kernels"
elif make -C "$headers" M="$dir/root/build/driver" CONFIG_DEBUG_INFO_BTF_MODULES= modules >"$log" 2>&1 &&
    [ -f "$dir/root/build/driver/drivers/virt/fadump-virtio.ko" ] &&
    [ -f "$dir/root/build/driver/drivers/virt/fadump/fadump.ko" ]; then
    echo "ok $n - the driver builds from it"
else
    tail -n 40 "$log" | sed 's/^/# /'
    echo "not ok $n - the driver builds from it"
    failed=1
fi

try "rpmlint finds no error" "rpmlint -r /build/SPECS/fadump-dev.rpmlintrc /build/RPMS/*/*.rpm /build/SPECS/fadump-dev.spec | tee /tmp/lint
    grep -q ' 0 errors' /tmp/lint"

build "SUSE" "--define 'suse_version 1600'"
try "what SUSE's kdump asks for" "$functions
    has fadump-tools /usr/sbin/fadump-save $dracut/99fadump-virtio/module-setup.sh $units/fadump-save.service \\
        $units/kdump.service.d/50-fadump.conf $units/kdump-early.service.d/50-fadump.conf \\
        $units/kdump-commandline.service.d/50-fadump.conf
    lacks fadump-tools /usr/sbin/mkfadumprd"

echo "1..$n"
exit $failed
