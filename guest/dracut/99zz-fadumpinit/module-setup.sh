#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# By this name kdumpctl knows an initramfs that firmware-assisted dump can boot.
# On POWER kdump-utils has a module of that name, with a second system in the
# initramfs that saves the dump. Here the ordinary boot saves it, and goes on: all
# that the initramfs needs is the driver.

check() {
    # for mkfadumprd only
    return 255
}

depends() {
    echo fadump-virtio
}

install() {
    return 0
}
