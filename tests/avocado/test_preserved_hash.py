#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing writes to preserved memory between the capture and the release:
neither firmware nor boot loader, neither kernel nor QEMU itself."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FadumpTest, MIB, abi, build, full_only, main
from vmtest.guest import parse_size
from vmtest.preserved import Preserved


class PreservedHash(FadumpTest):
    def setUp(self):
        if build.accel() != 'tcg':
            self.skipTest('stops at the reset vector, which needs TCG')

    def check(self, kernel, machine, memory, low_ram, dimms=(), **options):
        preserved = Preserved(self, memory, low_ram, dimms)
        guest = self.new_guest(kernel, vcpus=2,
                               **{**preserved.options(machine), **options})
        guest.boot()
        guest.memory += sum(map(parse_size, dimms))
        self.assert_registered(guest)
        # Content that any stray write would change: free pages are zero.
        guest.cmd('alloc 85 hold', timeout=300)

        preserved.crash(guest)
        guest.wait_boot()
        descriptor = self.assert_captured(guest)

        # What a guest does before it releases: it saves.
        guest.cmd('makedumpfile -l -d 31 /proc/vmcore /tmp/dump 2>&1 && '
                  'rm /tmp/dump', timeout=300)
        changed, checked = preserved.changed(guest, descriptor)
        self.assertGreater(checked, 0)
        self.assertEqual(changed, [], 'preserved memory changed')
        plugged = [r for r in descriptor.ranges
                   if r['flags'] & abi.RANGE_F_HOTPLUG]
        self.assertEqual(sum(r['len'] for r in plugged
                             if r['where'] == abi.WHERE_IN_PLACE),
                         sum(map(parse_size, dimms)))
        self.release(guest)
        guest.close()
        preserved.close()

    def test_bzimage_large_initrd(self):
        """An initrd of 100 MiB: it must land in boot memory as well.

        :avocado: tags=machine:q35,kernel:6.1
        """
        initrd = self.path('initrd')
        kernel = self.kernel('6.1')
        with open(initrd, 'wb') as out, open(kernel.initramfs, 'rb') as f:
            data = f.read()
            out.write(data + b'\0' * (-len(data) % 4096))
            # What the kernel skips: zeros between archives.
            out.write(b'\0' * (100 * MIB))
        self.check('6.1', 'q35', '2G', 2048 * MIB, initrd=initrd)

    @full_only
    def test_above_4g(self):
        """
        :avocado: tags=machine:pc,kernel:6.12
        """
        self.check('6.12', 'pc', '5G', 3072 * MIB)

    @full_only
    def test_dimms(self):
        """DIMMs that the boot with the dump does not see.

        :avocado: tags=machine:q35,kernel:6.12
        """
        self.check('6.12', 'q35', '1G', 2048 * MIB, ('512M', '1G'),
                   cmdline='memhp_default_state=online_movable')

    def test_pvh(self):
        """An ELF kernel with a PVH entry: QEMU itself places the initrd.

        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check('6.1', 'q35', '2G', 2048 * MIB,
                   image=self.kernel('6.1').vmlinux)


if __name__ == '__main__':
    main()
