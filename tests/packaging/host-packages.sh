#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The host's Debian packages in a Debian 12 that has nothing else: installed,
# used as an operator would, with and without libvirt, and removed. TAP.
#
# Builds them first (scripts/host-packages.sh), lintian included. Needs root.
#
# shellcheck disable=SC2016 # the shell in that system expands

# shellcheck source=tests/packaging/cases.sh
. "$(dirname "${BASH_SOURCE[0]}")/cases.sh"

dir=$build/tests/host-packages
log=$dir/log

# All that is there but what apt and dpkg keep for themselves
list='find / -xdev ! -path "/var/lib/dpkg/*" ! -path "/var/lib/apt/*" \
    ! -path "/var/cache/*" ! -path "/var/log/*" ! -path "/tmp/*" ! -path "/root/*" \
    ! -path "/etc/resolv.conf" ! -path "/etc/ld.so.cache" | sort'
install='apt-get -q -y install --no-install-recommends'

mkdir -p "$dir"
"$top/scripts/host-packages.sh" >"$dir/build.log" 2>&1 || {
    tail -n 40 "$dir/build.log" | sed 's/^/# /'
    echo "1..1"
    echo "not ok 1 - the packages are built, and lintian has nothing to say"
    exit 1
}
trap 'chroot_delete "$dir/root"' EXIT
chroot_new "$dir/root" >&2
cp "$build"/packages/{fadump-ctl,qemu-system-fadump}_*.deb "$dir/root/tmp/"
chroot_binds=()

try "a bare Debian 12 is there" "apt-get -q update; $list >/tmp/before"

try "apt installs them by themselves" "cd /tmp; $install ./*.deb
    dpkg -s fadump-ctl qemu-system-fadump | grep -c '^Status: install ok installed' | grep -x 2"

try "QEMU has the device" 'qemu-system-fadump --version | grep fadump-dev
    qemu-system-fadump -device fadump-dev,help | grep boot-mem=
    qemu-system-fadump -machine none -display none -device fadump-dev,help | grep max-boots='

# What domains of Debian's QEMU ask for
try "QEMU has what hosts use" 'has() { qemu-system-fadump "$1" help 2>&1 | grep -qw -- "$2" || { echo "no $2 in $1 help"; exit 1; }; }
    for a in kvm tcg; do has -accel $a; done
    for a in user tap bridge vhost-user vhost-vdpa socket; do has -netdev $a; done
    for a in spicevmc spiceport socket; do has -chardev $a; done
    for a in tls-creds-x509 memory-backend-memfd rng-random secret iothread; do has -object $a; done
    for a in vfio-pci vhost-vsock-pci vhost-user-fs-pci vhost-scsi-pci virtio-9p-pci virtio-gpu-pci usb-host usb-redir qxl-vga tpm-tis; do has -device $a; done
    qemu-system-fadump -help | grep -q -- "^-sandbox"
    for aio in io_uring native threads; do
        echo quit | qemu-system-fadump -nodefaults -display none -monitor stdio -S -accel tcg \
            -drive file=/usr/share/seabios/bios-256k.bin,format=raw,if=virtio,readonly=on,cache=none,aio=$aio
    done'

try "firmware, option ROMs and keymaps come from Debian's packages" '
    for f in bios-256k.bin vgabios-stdvga.bin kvmvapic.bin linuxboot_dma.bin efi-virtio.rom keymaps/de; do
        for d in $(qemu-system-fadump -L help); do [ ! -e "$d/$f" ] || continue 2; done
        echo "no $f in $(qemu-system-fadump -L help)"; exit 1
    done
    dpkg -L qemu-system-fadump | grep -E "[.](bin|rom|fd)$" && exit 1 || :
    (sleep 3; echo quit) | qemu-system-fadump -machine q35 -accel tcg -m 1G -vga std -nic user,model=virtio \
        -display none -vnc unix:/tmp/vnc,sasl=off -k de -monitor stdio -device fadump-dev >/tmp/out 2>&1
    cat /tmp/out; ! grep -i -E "could not|cannot|fail|warning" /tmp/out'

try "fadump-ctl speaks to it" 'fadump-ctl --version
    qemu-system-fadump -machine q35 -accel tcg -m 1G -display none -nodefaults -device fadump-dev \
        -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny \
        -qmp unix:/tmp/qmp,server=on,wait=off &
    for i in $(seq 60); do [ ! -S /tmp/qmp ] || break; sleep 1; done
    fadump-ctl -c /tmp/qmp status | grep "State:"
    kill %1'

# The guest without an operating system: each page of its dump is compared.
chroot_binds=("$top" "$build" "$cache")
try "a guest that crashes is captured, and its dump is whole" "$install python3
    cd $top
    FADUMP_BUILD=$build FADUMP_QEMU=/usr/bin/qemu-system-fadump \\
        FADUMP_TIMEOUT_SCALE=${FADUMP_TIMEOUT_SCALE:-1} PYTHONDONTWRITEBYTECODE=1 \\
        /usr/bin/python3 tests/avocado/test_bare.py Content.test_default Content.test_causes"
chroot_binds=()

try "manuals" "$install man-db
    for p in fadump-ctl qemu-system-fadump; do
        man -w \$p
        MANWIDTH=80 man --warnings -E UTF-8 -l \$(man -w \$p) >/tmp/page 2>/tmp/warnings
        [ ! -s /tmp/warnings ] || { cat /tmp/warnings; exit 1; }
        grep -q NAME /tmp/page
    done"

try "completion" "$install bash-completion"'
    bash -c ". /usr/share/bash-completion/bash_completion; _completion_loader fadump-ctl; complete -p fadump-ctl" |
        grep "_fadump_ctl"'

# Root of this machine's libvirt has no user, no cgroups and no journal here.
try "a domain of libvirt's names it as its emulator" "$install libvirt-daemon-system libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients qemu-utils"'
    cat >>/etc/libvirt/qemu.conf <<END
user = "root"
group = "root"
cgroup_controllers = [ ]
stdio_handler = "file"
namespaces = [ ]
security_driver = "none"
END
    mkdir -p /run/dbus /run/libvirt
    libvirtd -d
    for i in $(seq 60); do virsh -q uri 2>/dev/null && break || sleep 1; done
    virsh domcapabilities --emulatorbin /usr/bin/qemu-system-fadump --virttype qemu --machine q35 >/tmp/caps.xml
    grep "<path>/usr/bin/qemu-system-fadump</path>" /tmp/caps.xml
    grep "<value>spice</value>" /tmp/caps.xml
    qemu-img create -q -f qcow2 /var/lib/libvirt/images/disk.qcow2 1G
    cat >/tmp/domain.xml <<END
<domain type="qemu" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">
  <name>guest</name>
  <memory unit="GiB">1</memory>
  <vcpu>2</vcpu>
  <os><type arch="x86_64" machine="q35">hvm</type></os>
  <features><acpi/></features>
  <cpu mode="maximum"/>
  <devices>
    <emulator>/usr/bin/qemu-system-fadump</emulator>
    <disk type="file" device="disk">
      <driver name="qemu" type="qcow2" cache="none" io="io_uring"/>
      <source file="/var/lib/libvirt/images/disk.qcow2"/>
      <target dev="vda" bus="virtio"/>
    </disk>
    <interface type="user"><model type="virtio"/></interface>
    <graphics type="vnc" autoport="yes"/>
    <graphics type="spice" autoport="yes"/>
    <video><model type="qxl"/></video>
    <redirdev bus="usb" type="spicevmc"/>
    <watchdog model="i6300esb" action="reset"/>
    <rng model="virtio"><backend model="random">/dev/urandom</backend></rng>
  </devices>
  <qemu:commandline>
    <qemu:arg value="-device"/>
    <qemu:arg value="{&quot;driver&quot;:&quot;fadump-dev&quot;,&quot;id&quot;:&quot;fadump0&quot;}"/>
  </qemu:commandline>
</domain>
END
    virsh define /tmp/domain.xml
    virsh start guest || { cat /var/log/libvirt/qemu/guest.log; exit 1; }
    fadump-ctl -d guest status | tee /tmp/status
    grep "State:" /tmp/status
    grep -- "-sandbox" /var/log/libvirt/qemu/guest.log
    virsh destroy guest
    virsh undefine guest'

try "libvirt's profile for AppArmor allows it" "$install apparmor"'
    cd /etc/apparmor.d
    sed -e s/LIBVIRT_TEMPLATE/libvirt-test/ libvirt/TEMPLATE.qemu >/tmp/profile
    rules() { apparmor_parser -QKd /tmp/profile | grep -o "/usr/bin/qemu-system-$1)[^ ]*" | sort -u; }
    apparmor_parser -QKd /tmp/profile | grep "qemu-system-fadump"
    mv tunables/multiarch.d/qemu-system-fadump /tmp/
    ! apparmor_parser -QKd /tmp/profile | grep "qemu-system-fadump"
    mv /tmp/qemu-system-fadump tunables/multiarch.d/'

try "they are installed again over themselves" "cd /tmp; $install --reinstall ./fadump-ctl_*.deb ./qemu-system-fadump_*.deb
    qemu-system-fadump -device fadump-dev,help | grep boot-mem="

try "removed, only configuration stays" "apt-get -q -y remove fadump-ctl qemu-system-fadump
    [ ! -e /usr/bin/qemu-system-fadump ] && [ ! -e /usr/bin/fadump-ctl ]
    dpkg -L qemu-system-fadump | grep -x /etc/apparmor.d/tunables/multiarch.d/qemu-system-fadump"

try "purged, nothing of them stays" "apt-get -q -y purge fadump-ctl qemu-system-fadump
    ! dpkg -s fadump-ctl 2>/dev/null && ! dpkg -s qemu-system-fadump 2>/dev/null
    ! find / -xdev -path /proc -prune -o \\( -name '*qemu-system-fadump*' -o -name '*fadump-ctl*' \\) -print | grep -v '^/tmp/\|^/var/lib/apt\|^/var/cache/apt\|^/var/log'"

# Another one, for what the other programs of the cases above leave is not theirs
chroot_delete "$dir/root"
chroot_new "$dir/root" >&2
cp "$build"/packages/{fadump-ctl,qemu-system-fadump}_*.deb "$dir/root/tmp/"
try "installed and purged, a system is what it was" "apt-get -q update; $list >/tmp/before
    cd /tmp; $install ./*.deb
    apt-get -q -y purge fadump-ctl qemu-system-fadump
    apt-get -q -y autoremove --purge
    $list >/tmp/after
    diff /tmp/before /tmp/after"

echo "1..$n"
exit $failed
