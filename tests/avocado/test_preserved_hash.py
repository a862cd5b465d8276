#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing writes to preserved memory between the capture and the release:
neither firmware nor boot loader, neither kernel nor QEMU itself."""

import hashlib
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FadumpTest, MIB, abi, build, full_only, main
from vmtest.gdbstub import RESET_VECTOR


class PreservedHash(FadumpTest):
    """RAM is a file that the host reads while the guest stands still: at the
    first instruction after the capture's reset, and right before the release.
    """

    def setUp(self):
        if build.accel() != 'tcg':
            self.skipTest('stops at the reset vector, which needs TCG')

    def pages(self, path, descriptor):
        """A digest of each MiB that is preserved in place, by file offset."""
        ranges = [r for r in descriptor.ranges
                  if r['where'] == abi.WHERE_IN_PLACE]
        self.assertTrue(ranges)
        result = {}
        with open(path, 'rb') as f:
            for r in ranges:
                # RAM above 4 GiB follows in the file on what is below.
                at = r['addr']
                if at >= 1 << 32:
                    at -= (1 << 32) - self.low_ram
                f.seek(at)
                for offset in range(at, at + r['len'], MIB):
                    result[offset] = hashlib.blake2b(
                        f.read(min(MIB, at + r['len'] - offset))).digest()
        return result

    def check(self, kernel, machine, memory, low_ram, **options):
        self.low_ram = low_ram
        path = self.shm_path('ram')
        # With the next boot in this file as well, and not in memory that has
        # taken boot memory's place.
        options.setdefault('fadump', 'x-swap=off')
        guest = self.new_guest(
            kernel, machine=f'{machine},memory-backend=ram', memory=memory,
            vcpus=2, gdb=True, args=['-object',
                                     'memory-backend-file,id=ram,share=on,'
                                     f'size={memory},mem-path={path}'],
            **options)
        guest.boot()
        self.assert_registered(guest)
        # Content that any stray write would change: free pages are zero.
        guest.cmd('alloc 85 hold', timeout=300)

        gdb = guest.gdb()
        gdb.hbreak(RESET_VECTOR)
        gdb.cont()
        guest.send('echo c > /proc/sysrq-trigger')
        gdb.wait_stop()
        # The register has what is above the code segment's base.
        self.assertEqual(gdb.pc(), RESET_VECTOR & 0xffff)
        # The whole of RAM: which of it is preserved will be known later.
        with open(path, 'rb') as f:
            copy = self.shm_path('copy')
            with open(copy, 'wb') as to:
                while os.sendfile(to.fileno(), f.fileno(), None, 1 << 30):
                    pass
        gdb.unbreak(RESET_VECTOR)
        gdb.close()
        guest.qmp.cmd('query-status')
        guest.wait_boot()
        descriptor = self.assert_captured(guest)
        after = self.pages(copy, descriptor)

        # What a guest does before it releases: it saves.
        guest.cmd('makedumpfile -l -d 31 /proc/vmcore /tmp/dump 2>&1 && '
                  'rm /tmp/dump', timeout=300)
        guest.qmp.cmd('stop')
        before_release = self.pages(path, descriptor)
        changed = [f'{k:#x}' for k in after if after[k] != before_release[k]]
        self.assertEqual(changed, [], 'preserved memory changed (file offsets)')
        # The hash sees a change: boot memory, of which nothing is promised,
        # has had a whole boot over it.
        with open(path, 'rb') as f, open(copy, 'rb') as g:
            f.seek(16 * MIB)
            g.seek(16 * MIB)
            self.assertFalse(f.read(64 * MIB) == g.read(64 * MIB))
        guest.qmp.cmd('cont')
        self.release(guest)
        guest.close()
        os.unlink(path)
        os.unlink(copy)

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

    def test_pvh(self):
        """An ELF kernel with a PVH entry: QEMU itself places the initrd.

        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check('6.1', 'q35', '2G', 2048 * MIB,
                   image=self.kernel('6.1').vmlinux)


if __name__ == '__main__':
    main()
