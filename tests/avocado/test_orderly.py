#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What is announced is no crash: reboot, kexec, unloading the driver, power
off."""

import os
import sys
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FADUMP, FadumpTest, VMCORE, full_only, main


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


class Saved(FadumpTest):
    """A system that saves the dump as Debian's kdump-tools does, and reboots at
    once, without a word to the driver."""

    # kdump_save_core() of kdump-config
    SAVE = ('makedumpfile --dump-dmesg /proc/vmcore {0}/dmesg && sync; '
            'if makedumpfile -F -c -d 31 /proc/vmcore | cat > {0}/incomplete; '
            'then mv {0}/incomplete {0}/dump; sync; '
            'else cp /proc/vmcore {0}/incomplete; fi')

    def reboot(self, guest):
        guest.crash('reboot -f')
        text = guest.console(guest.boots[-1].console_start)
        return text.partition('] Linux version ')[0]

    @full_only
    def test_kdump_tools(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        disk = self.disk(size='2G')
        guest = self.guest('6.1', memory='1G', vcpus=2, disks=[disk])
        full = guest.mem_total()
        start = len(guest.qmp.poll())
        guest.crash()
        dump, _ = self.assert_cause(guest, 'panic', start)

        with self.subTest(read='the log only'):
            guest.cmd('makedumpfile --dump-dmesg /proc/vmcore /tmp/dmesg')
            self.assertNotIn('has been saved', self.reboot(guest))
            self.assertEqual(self.assert_captured(guest).header['dump_id'],
                             uuid.UUID(dump['id']).bytes)
        with self.subTest(save='fails: no space'):
            guest.cmd('mkdir /tmp/full && mount -t tmpfs -o size=16M none '
                      '/tmp/full')
            guest.cmd(self.SAVE.format('/tmp/full') + ' || true', timeout=600)
            # All was read, and more than enough written.
            self.assertGreater(int(guest.cmd(
                'stat -c %s /tmp/full/incomplete')), 12 << 20)
            self.assertNotIn('has been saved', self.reboot(guest))
            self.assertEqual(self.assert_captured(guest).header['dump_id'],
                             uuid.UUID(dump['id']).bytes)
        with self.subTest(save='succeeds'):
            guest.cmd('mount /dev/vda /mnt')
            boots = len(guest.boots)
            guest.cmd(self.SAVE.format('/mnt'), timeout=600)
            guest.cmd('umount /mnt')
            self.assertIn(f'dump {dump["id"]} has been saved: it is released '
                          'at this reboot', self.reboot(guest))
            self.assertEqual(len(guest.boots), boots + 1)
        self.assertFalse(guest.exists(VMCORE))
        self.assert_mem_total(guest, full)
        self.assert_registered(guest)
        self.assertEqual(self.events(guest, 'FADUMP_RELEASED', start),
                         [{'id': dump['id'], 'reason': 'guest'}])
        guest.close()

        # What was released is on the disk, and whole.
        flat = self.fetch_dump(disk, 'dump')
        system, stack = self.crash_session(guest.kernel, flat, 'sys', 'bt')
        self.assertRegex(system, r'PANIC: "Kernel panic - not syncing: '
                                 r'sysrq triggered crash"')
        self.assertRegex(stack, r'(?m)^ *#\d+ \[\w+\] panic at ')

    @full_only
    def test_not_wanted(self):
        """
        :avocado: tags=machine:q35,kernel:6.12
        """
        guest = self.guest('6.12', memory='1G', cmdline='fadump.release_saved=0')
        guest.crash()
        held = self.assert_captured(guest)
        guest.cmd('makedumpfile -l -d 31 /proc/vmcore /tmp/dump', timeout=600)
        self.assertNotIn('has been saved', self.reboot(guest))
        self.assertEqual(self.assert_captured(guest).header['dump_id'],
                         held.header['dump_id'])


if __name__ == '__main__':
    main()
