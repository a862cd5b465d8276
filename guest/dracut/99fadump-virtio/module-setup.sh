#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The driver of fadump-dev in the initramfs: it registers there, before anything
# that could crash is started, and before kdump's tools look whether
# firmware-assisted dump is there.

# Wherever the kernel has the driver, also in an initramfs for another machine
check() {
    modinfo -k "$kernel" -F filename fadump-virtio &>/dev/null && return 0
    # asked for by name, it is missed
    [[ " $add_dracutmodules $force_add_dracutmodules " != *\ fadump-virtio\ * ]] ||
        derror "Linux $kernel has no module fadump-virtio: build it first (dkms status fadump-virtio)"
    return 1
}

depends() {
    return 0
}

# udev loads it by its alias once virtio_pci has found the device. What runs now
# says nothing of the next boot: not filtered by it (hostonly).
installkernel() {
    hostonly='' instmods virtio_pci fadump-virtio
}

install() {
    # its parameters
    inst_multiple -o /etc/modprobe.d/fadump.conf
}
