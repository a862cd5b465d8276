#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An initramfs of dracut's has the driver, and it registers before the root file
system is looked for; so does the one that RHEL's kdumpctl has made."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FADUMP, FadumpTest, full_only, main

REGISTERED = 'fadump: registered'


class Dracut(FadumpTest):
    """Debian's dracut; what is asserted of the file is what lsinitrd says."""

    def made(self, name):
        kernel = self.kernel('6.1')
        path = os.path.join(os.path.dirname(kernel.initramfs), 'dracut', name)
        if not os.path.exists(path):
            self.skipTest(f'{path} is not there: run scripts/dracut-guest.sh '
                          'as root')
        return path

    def read(self, name):
        with open(self.made(name), encoding='utf-8') as f:
            return f.read()

    @full_only
    def test_content(self):
        """
        :avocado: tags=kernel:6.1
        """
        for image in ('plain', 'kdumpctl'):
            listed = self.read(f'{image}.list')
            for module in ('fadump.ko', 'fadump-virtio.ko'):
                self.assertIn(f'/{module}', listed)
            self.assertRegex(listed, r'(?m)^fadump-virtio$')
        # By these kdumpctl knows that it need not rebuild.
        self.assertRegex(self.read('kdumpctl.list'), r'(?m)^zz-fadumpinit$')
        self.assertNotRegex(self.read('plain.list'), r'(?m)^zz-fadumpinit$')
        names = self.read('kdumpctl.modules').split()
        for module in ('fadump', 'fadump_virtio', 'virtio_blk', 'ext4'):
            self.assertIn(module, names)

    @full_only
    def test_no_driver(self):
        """
        :avocado: tags=kernel:6.1
        """
        self.assertNotIn('fadump', self.read('without.list'))
        self.assertIn('has no module fadump-virtio: build it first',
                      self.read('without.log'))

    def round(self, image):
        """Registered in the initramfs, crashed, found in the initramfs of the
        next boot, released."""
        guest = self.guest('6.1', cold=True, initrd=self.made(image),
                           vcpus=2, cmdline='root=/dev/vda rootfstype=ext4 rw',
                           args=('-drive', f'file={self.made("root.img")},'
                                 'format=raw,if=none,id=root,snapshot=on',
                                 '-device', 'virtio-blk-pci,drive=root'))
        # The root has no driver, so it was the initramfs.
        self.assertFalse(guest.exists('/lib/modules/*/extra/fadump-virtio.ko'))
        self.assertIn(' / ext4 ', guest.cmd('cat /proc/mounts'))
        self.assertIn(REGISTERED,
                      guest.console().partition('guest: Linux')[0])
        full = guest.mem_total()
        guest.crash()
        self.assert_captured(guest)
        self.assert_quiet(guest)
        text = guest.console(guest.boots[-1].console_start)
        self.assertIn('firmware-assisted dump is active',
                      text.partition('] Linux version ')[2]
                      .partition('guest: Linux')[0])
        self.release(guest)
        self.assert_released(guest, full)
        self.assertEqual(guest.cmd(f'cat {FADUMP}/registered'), '1')

    @full_only
    def test_plain(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.round('plain.img')

    @full_only
    def test_kdumpctl(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.round('kdumpctl.img')


if __name__ == '__main__':
    main()
