#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel with lockdep, KASAN, DEBUG_VM and such (scripts/debug-kernel.sh) has
nothing to say of the driver, whatever is done with it."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FADUMP, FadumpTest, VMCORE, build, full_only, main

# A panic has a call trace of its own, so that tells nothing.
SPLAT = re.compile(
    r'WARNING:|BUG:|KASAN|possible circular|possible recursive|'
    r'INFO: (suspicious|trying|possible|task)|invalid context|'
    r'inconsistent lock state|rcu: INFO|page dumped|'
    r'list_(add|del) corruption|kernel BUG')
# On a busy machine a boot of this kernel takes minutes under TCG.
BOOT = 900 * build.TIMEOUT_SCALE
# KASAN's shadow, an eighth, counts as memory where it was not there at boot.
SHADOW = 0.13


class DebugKernel(FadumpTest):

    def start(self):
        self.disk_vda = self.disk(size='8G')
        built = self.kernel('debug')
        self.disk_vda.put(built.vmlinuz, 'vmlinuz')
        self.disk_vda.put(built.initramfs, 'initrd')
        guest = self.new_guest('debug', memory='1536M', vcpus=2,
                               disks=[self.disk_vda])
        guest.start()
        guest.wait_boot(BOOT)
        self.assert_registered(guest)
        self.assert_watched(guest)
        return guest

    def assert_watched(self, guest):
        """It has seen nothing, and lockdep, which ends at its first finding,
        still looks."""
        bad = [line for line in guest.console().splitlines()
               if SPLAT.search(line)]
        self.assertEqual(bad, [])
        self.assertRegex(guest.cmd('cat /proc/lockdep_stats'),
                         r'debug_locks: +1')
        self.assertIn('KernelAddressSanitizer initialized',
                      guest.cmd('dmesg | grep kasan:'))

    def crash(self, guest):
        guest.crash(timeout=BOOT)
        self.assert_captured(guest)
        self.assert_watched(guest)

    def reload(self, guest):
        """Out and in again, and it is registered."""
        guest.cmd('rmmod fadump_virtio')
        guest.run('rmmod fadump')
        self.assertFalse(guest.exists(FADUMP))
        guest.cmd('modprobe fadump-virtio', timeout=300)
        self.assert_registered(guest)

    @full_only
    def test_life(self):
        """
        :avocado: tags=machine:q35,kernel:debug
        """
        guest = self.start()
        full = guest.mem_total()
        with self.subTest(what='sysfs'):
            guest.cmd(f'for i in 0 1 0 1; do echo $i > {FADUMP}/registered; '
                      f'cat {FADUMP}/* > /dev/null 2>&1; done')
            self.assert_registered(guest)
            self.assert_watched(guest)
        with self.subTest(what='unbind, rmmod'):
            guest.cmd('cd /sys/bus/virtio/drivers/fadump?virtio && '
                      'v=$(basename $(ls -d virtio*)) && '
                      'for i in 1 2; do echo $v > unbind; echo $v > bind; done')
            self.assert_registered(guest)
            self.reload(guest)
            self.assert_watched(guest)
        with self.subTest(what='panic, save, release'):
            self.crash(guest)
            guest.cmd('mount /dev/vda /mnt && '
                      f'makedumpfile -l -d 31 {VMCORE} /mnt/dump && '
                      f'dd if={VMCORE} of=/dev/null bs=1M && umount /mnt',
                      timeout=1800 * build.TIMEOUT_SCALE)
            guest.cmd(f'echo 1 > {FADUMP}/release_mem',
                      timeout=600 * build.TIMEOUT_SCALE)
            self.assert_released(guest, full, SHADOW)
            guest.cmd('alloc 60', timeout=900 * build.TIMEOUT_SCALE)
            self.assert_watched(guest)
        with self.subTest(what='panic, release by the host'):
            self.crash(guest)
            guest.qmp.cmd('fadump-release')
            guest.wait_for('the guest takes the release', lambda:
                           not guest.exists(f'{FADUMP}/release_mem'),
                           600 * build.TIMEOUT_SCALE)
            self.assert_released(guest, full, SHADOW)
            self.assert_watched(guest)
        with self.subTest(what='unbind and rmmod with a dump held'):
            self.crash(guest)
            guest.cmd('rmmod fadump_virtio')
            guest.run('rmmod fadump')
            self.assertFalse(guest.exists(VMCORE))
            guest.cmd('modprobe fadump-virtio')
            self.assertTrue(guest.exists(VMCORE))
            guest.cmd(f'echo 1 > {FADUMP}/release_mem',
                      timeout=600 * build.TIMEOUT_SCALE)
            self.assert_released(guest, full, SHADOW)
            self.reload(guest)
            self.assert_watched(guest)
        with self.subTest(what='kexec'):
            guest.cmd('mount -o ro /dev/vda /mnt && '
                      'kexec -l /mnt/vmlinuz --initrd=/mnt/initrd '
                      '--reuse-cmdline && umount /mnt', timeout=300)
            firmware = guest.firmware_starts()
            guest.crash('kexec -e', timeout=BOOT)
            self.assertEqual(guest.firmware_starts(), firmware)
            self.assert_registered(guest)
            self.assert_watched(guest)


if __name__ == '__main__':
    main()
