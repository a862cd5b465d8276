#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that boots from its disk, by firmware and GRUB, as servers do: the
bootloader finds the kernel again in boot memory and keeps off the rest."""

import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FadumpTest, VMCORE, full_only, main
from vmtest.guest import CMDLINE

SEED = 20261120
PAGES = 2048

GRUB_CFG = f'''
set timeout=0
set default=0
menuentry linux {{
    linux /boot/vmlinuz {CMDLINE}
    initrd /boot/initramfs
}}
'''


# The one disk with ext4: which name it has depends on the order of probing.
MOUNT = 'mount -t ext4 /dev/vda /mnt || mount -t ext4 /dev/vdb /mnt'


class DiskBoot(FadumpTest):
    """SeaBIOS, GRUB's BIOS form and its configuration file, a stock kernel."""

    def image(self, kernel):
        """A disk with GRUB in its boot sector."""
        tool = shutil.which('grub-mkrescue')
        if not tool:
            self.skipTest('grub-mkrescue is not installed')
        boot = self.path('tree/boot')
        os.makedirs(os.path.join(boot, 'grub'))
        shutil.copy(kernel.vmlinuz, os.path.join(boot, 'vmlinuz'))
        shutil.copy(kernel.initramfs, os.path.join(boot, 'initramfs'))
        with open(os.path.join(boot, 'grub', 'grub.cfg'), 'w',
                  encoding='utf-8') as f:
            f.write(GRUB_CFG)
        image = self.path('boot.img')
        subprocess.run([tool, '-d', '/usr/lib/grub/i386-pc', '-o', image,
                        os.path.dirname(boot)],
                       check=True, capture_output=True)
        return image

    def check(self, series, machine, memory, limit):
        kernel = self.kernel(series)
        disk = self.disk(size='1G')
        guest = self.guest(series, machine=machine, memory=memory, vcpus=2,
                           boot_disk=self.image(kernel), disks=[disk])
        before = guest.mem_total()
        identity = guest.cmd('uname -r; cat /proc/cmdline')
        # GRUB passes this, QEMU's own loader does not.
        self.assertIn('BOOT_IMAGE=/boot/vmlinuz', identity)
        guest.cmd(f'({MOUNT}) && modprobe fadump_truth')
        filled = guest.cmd(
            f'truth fill -s {SEED} -o /mnt/list -b {512 << 20} -n {PAGES} '
            f'-x {limit} -f /mnt/data -t /tmp/data', timeout=300)
        total = sum(map(int, re.findall(r'^\w+ (\d+) low ', filled, re.M)))
        self.assertGreaterEqual(total, 4 * PAGES, filled)
        firmware = guest.firmware_starts()

        guest.crash()

        self.assertGreater(guest.firmware_starts(), firmware)
        self.assertEqual(guest.cmd('uname -r; cat /proc/cmdline'), identity)
        self.assert_captured(guest)
        # Firmware, GRUB, kernel and initramfs have been through memory by now.
        guest.cmd(MOUNT)
        checked = guest.cmd(f'truth check {VMCORE} /mnt/list {SEED}',
                            timeout=300)
        self.assertIn(f'checked {total} differ 0 missing 0', checked)
        guest.cmd('umount /mnt')
        self.release(guest)
        self.assert_released(guest, before)
        self.assert_quiet(guest)

    def test_q35(self):
        """
        :avocado: tags=machine:q35,kernel:6.1,boot:grub
        """
        self.check('6.1', 'q35', '2G', 256)

    @full_only
    def test_pc(self):
        """
        :avocado: tags=machine:pc,kernel:6.12,boot:grub
        """
        self.check('6.12', 'pc', '3G', 256)


if __name__ == '__main__':
    main()
