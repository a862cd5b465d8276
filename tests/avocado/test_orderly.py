#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What is announced is no crash: reboot, kexec, unloading the driver, power
off."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FADUMP, FadumpTest, VMCORE, main


class Orderly(FadumpTest):
    """One guest, one way out of a running kernel after the other."""

    def assert_plain_boot(self, guest, full):
        self.assertFalse(guest.exists(VMCORE), 'an orderly end was captured')
        self.assert_mem_total(guest, full)
        self.assertEqual(guest.cmd(f'cat {FADUMP}/registered'), '1')
        self.assertEqual(guest.qmp.count('GUEST_CRASHLOADED'), 0)
        self.assertEqual(guest.qmp.count('FADUMP_CAPTURED'), 0)

    def check(self, kernel, machine):
        disk = self.disk(size='256M')
        built = self.kernel(kernel)
        disk.put(built.vmlinuz, 'vmlinuz')
        disk.put(built.initramfs, 'initrd')
        guest = self.guest(kernel, machine=machine, memory='1G', vcpus=2,
                           disks=[disk])
        full = guest.mem_total()
        panic = 'echo c > /proc/sysrq-trigger'
        unbind = ('cd /sys/bus/virtio/drivers/fadump?virtio && '
                  'for v in virtio*; do echo $v > unbind; done')
        with self.subTest(way='reboot'):
            guest.crash('reboot -f')
            self.assert_plain_boot(guest, full)
        with self.subTest(way='kexec -e'):
            firmware = guest.firmware_starts()
            guest.cmd('mount -o ro /dev/vda /mnt && '
                      'kexec -l /mnt/vmlinuz --initrd=/mnt/initrd '
                      '--reuse-cmdline && umount /mnt')
            guest.crash('kexec -e')
            self.assertEqual(guest.firmware_starts(), firmware,
                             'that went through the firmware')
            self.assert_plain_boot(guest, full)
        with self.subTest(way='system_reset by the host'):
            guest.reset()
            self.assert_plain_boot(guest, full)
        # With the driver gone even a panic is not captured.
        with self.subTest(way='rmmod, then panic'):
            guest.cmd('rmmod fadump_virtio')
            self.assertFalse(guest.exists(FADUMP))
            self.assertFalse(guest.exists('/sys/kernel/fadump_enabled'))
            guest.crash(panic)
            self.assert_plain_boot(guest, full)
        with self.subTest(way='unbind, then reset'):
            guest.cmd(unbind)
            self.assertFalse(guest.exists(FADUMP))
            guest.crash('echo b > /proc/sysrq-trigger')
            self.assert_plain_boot(guest, full)
        with self.subTest(way='unregister by sysfs, then panic'):
            guest.cmd(f'echo 0 > {FADUMP}/registered')
            guest.crash(panic)
            self.assert_plain_boot(guest, full)
        # And none of these broke it: one that is not announced.
        guest.cmd('rmmod fadump_virtio && modprobe fadump-virtio')
        self.assert_registered(guest)
        start = len(guest.qmp.poll())
        guest.crash('echo b > /proc/sysrq-trigger')
        self.assert_cause(guest, 'guest-reset', start)
        # A dump is held: an orderly reboot keeps it.
        guest.crash('reboot -f')
        self.assert_captured(guest, 'CAUSE_GUEST_RESET')
        self.release(guest)
        self.assert_released(guest, full)
        guest.send('poweroff -f')
        self.assertEqual(guest.wait_exit(), 0)
        self.assertEqual(guest.qmp.count('SHUTDOWN'), 1)

    def test_q35(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check('6.1', 'q35')


if __name__ == '__main__':
    main()
