#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that systemd runs, as Debian has it: udev loads the driver, and the
system going down, with a watchdog armed for the time that takes, is no
crash."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FADUMP, FadumpTest, VMCORE, full_only, main


class Systemd(FadumpTest):
    """One guest, one way out of a running system after the other."""

    def start(self):
        kernel = self.kernel('6.1')
        disk = self.disk(size='256M')
        disk.put(kernel.vmlinuz, 'vmlinuz')
        disk.put(kernel.initramfs, 'initrd')
        guest = self.guest('6.1', initrd=kernel.systemd, vcpus=2, disks=[disk])
        self.assertEqual(guest.cmd('cat /proc/1/comm'), 'systemd')
        self.assert_up(guest)
        return guest, guest.mem_total()

    def assert_up(self, guest):
        """systemd says that all it has started is well."""
        status, said = guest.run('systemctl is-system-running --wait')
        if status:
            failed = guest.cmd('systemctl --failed --no-legend --plain; '
                               'journalctl -b -p warning --no-pager')
            raise guest.trouble(f'the system is {said.decode().strip()}:\n'
                                f'{failed}')

    def go_down(self, guest, command, last_words):
        """End this boot and wait for the next; what the console had of it."""
        guest.crash(command)
        text = guest.console(guest.boots[-1].console_start)
        before = text.partition('] Linux version ')[0]
        self.assertIn(last_words, before)
        self.assert_quiet(guest)
        return before

    def assert_plain_boot(self, guest, full):
        self.assertFalse(guest.exists(VMCORE), 'an orderly end was captured')
        # kexec leaves a page of its own.
        self.assert_mem_total(guest, full)
        self.assertEqual(guest.cmd(f'cat {FADUMP}/registered'), '1')

    def test_orderly(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        guest, full = self.start()
        before = self.go_down(guest, 'systemctl reboot',
                              'systemd-shutdown[1]: Rebooting.')
        self.assertIn('Using hardware watchdog', before)
        self.assert_up(guest)
        self.assert_plain_boot(guest, full)
        self.assertEqual(guest.qmp.count('GUEST_CRASHLOADED'), 0)

        # That has not broken it: a panic is captured, and systemd runs beside
        # the dump.
        self.go_down(guest, 'echo c > /proc/sysrq-trigger',
                     'sysrq: Trigger a crash')
        self.assert_up(guest)
        captured = self.assert_captured(guest)
        # A dump is held: an orderly reboot keeps it.
        self.go_down(guest, 'systemctl reboot',
                     'systemd-shutdown[1]: Rebooting.')
        self.assert_up(guest)
        kept = self.assert_captured(guest)
        self.assertEqual(kept.header['dump_id'], captured.header['dump_id'])
        self.release(guest)
        self.assert_released(guest, full)

    @full_only
    def test_past_shutdown(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        guest, full = self.start()
        # This goes past systemd's own shutdown.
        before = self.go_down(guest, 'reboot -f', 'Restarting system')
        self.assertNotIn('systemd-shutdown', before)
        self.assert_up(guest)
        self.assert_plain_boot(guest, full)

        # The next kernel has the other tests' initramfs: that is read, checked
        # and unpacked in a third of the time.
        firmware = guest.firmware_starts()
        guest.cmd('mount -o ro /dev/vda /mnt && '
                  'kexec -l /mnt/vmlinuz --initrd=/mnt/initrd '
                  '--reuse-cmdline && umount /mnt')
        self.go_down(guest, 'systemctl kexec',
                     'systemd-shutdown[1]: Rebooting with kexec.')
        self.assertEqual(guest.firmware_starts(), firmware,
                         'that went through the firmware')
        self.assert_plain_boot(guest, full)
        guest.send('poweroff -f')
        self.assertEqual(guest.wait_exit(), 0)
        self.assertEqual(guest.qmp.count('SHUTDOWN'), 1)


if __name__ == '__main__':
    main()
