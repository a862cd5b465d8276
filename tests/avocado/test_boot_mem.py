#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest says how much memory the boot after a crash needs; the host has a
limit."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FADUMP, GIB, MIB, FadumpTest, main


class BootMem(FadumpTest):
    """-m 6G: 512 MiB are the default, a quarter of RAM is the limit."""

    def boot(self, boot_mem, fadump='', **options):
        return self.guest('6.1', memory='6G', fadump=fadump,
                          cmdline=f'fadump.boot_mem={boot_mem}', **options)

    def registered(self, guest):
        """Bytes that are registered"""
        info = guest.qmp.cmd('query-fadump')
        self.assertEqual(info['state'], 'registered')
        return info['boot-mem']

    def migrate(self, source, **options):
        """The same guest in another QEMU"""
        return self.migrate_to(source, self.new_guest('6.1', **options))

    def crash_and_release(self, guest, boot_mem, before):
        guest.crash()
        descriptor = self.assert_captured(guest)
        self.assertEqual(descriptor.boot_mem, boot_mem)
        # From 640 KiB to 1 MiB there are VGA and what firmware made read-only.
        self.assertGreaterEqual(descriptor.held_outside(),
                                boot_mem - 0x60000)
        total = guest.mem_total()
        self.assertGreater(total, boot_mem * 3 // 4)
        self.assertLess(total, boot_mem)
        self.release(guest)
        self.assert_released(guest, before)
        self.assertEqual(self.registered(guest), boot_mem)
        self.assert_quiet(guest)

    def test_more_than_the_default(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        guest = self.boot('1G')
        before = guest.mem_total()
        self.assertEqual(self.registered(guest), GIB)
        self.assertIn('1024 MiB are set aside at a crash', guest.cmd('dmesg'))
        self.crash_and_release(guest, GIB, before)
        # What is registered goes along, and is what the next crash takes.
        guest = self.migrate(guest, memory='6G',
                             cmdline='fadump.boot_mem=1G')
        self.assertEqual(self.registered(guest), GIB)
        self.crash_and_release(guest, GIB, before)

    def test_more_than_the_limit(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        guest = self.boot('4G')
        self.assertEqual(self.registered(guest), 1536 * MIB)
        said = guest.cmd('dmesg | grep fadump:')
        # What was wanted, what there is, and who can change that.
        self.assertRegex(said, r'4096 MiB.*1536 MiB.*boot-mem-max')
        guest.close()

        guest = self.boot('1G', fadump='boot-mem-max=768M')
        before = guest.mem_total()
        self.assertEqual(self.registered(guest), 768 * MIB)
        self.assertIn('boot-mem-max', guest.cmd('dmesg | grep fadump:'))
        self.crash_and_release(guest, 768 * MIB, before)

    def test_other_values(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        # Less than the host's own default is the guest's to choose.
        guest = self.boot('300M')
        self.assertEqual(self.registered(guest), 384 * MIB)
        self.assertEqual(guest.cmd(f'cat {FADUMP}/mem_reserved'), '0')
        guest.close()


if __name__ == '__main__':
    main()
