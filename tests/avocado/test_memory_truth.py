#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What was in memory at the crash is in the saved dump, byte for byte."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FadumpTest, GIB, abi, full_only, main, truth

SEED = 20260817
# Of each kind of memory
PAGES = 2048


class MemoryTruth(FadumpTest):
    """A program fills memory with position-dependent content and says which
    page frames hold it; after the crash those are compared on the host."""

    def check(self, kernel, machine, memory, save, boot_mem=512 << 20):
        disk = self.disk(size='20G')
        guest = self.guest(kernel, machine=machine, memory=memory, vcpus=2,
                           disks=[disk], fadump=f'boot-mem={boot_mem}')
        guest.cmd('mount /dev/vda /mnt && modprobe fadump_truth')
        # The kernel hands out boot memory last, so it may take all there is.
        limit = int(guest.cmd("awk '/^MemAvailable/ {print $2}' "
                              '/proc/meminfo')) // 1024 - 128
        filled = guest.cmd(
            f'truth fill -s {SEED} -o /mnt/list -b {boot_mem} -n {PAGES} '
            f'-x {limit} -f /mnt/data -t /tmp/data', timeout=300)
        counts = {kind: tuple(map(int, rest)) for kind, *rest in re.findall(
            r'^(\w+) (\d+) low (\d+) high (\d+)$', filled, re.M)}
        for kind in ('anon', 'file', 'tmpfs', 'kernel'):
            self.assertGreaterEqual(counts[kind][0], PAGES, filled)
        # Some where boot memory was set aside, some where nothing moved, and
        # some beyond 4 GiB: a dump can be wrong in each on its own.
        self.assertGreaterEqual(counts['anon'][1], PAGES, filled)
        self.assertGreater(counts['kernel'][1], 0, filled)
        if guest.memory > 4 * GIB:
            self.assertGreaterEqual(counts['anon'][2], PAGES, filled)

        guest.crash()
        descriptor = self.assert_captured(guest)
        # With the last block of low RAM, and what fills none at the end of RAM
        self.assertIn(descriptor.boot_mem - boot_mem, range(256 << 20))
        held = sum(r['len'] for r in descriptor.ranges
                   if r['flags'] & abi.RANGE_F_BOOT_MEM)
        # From 640 KiB to 1 MiB there are VGA and what firmware made read-only.
        self.assertIn(descriptor.boot_mem - held, range(0x60001))

        guest.cmd('mount /dev/vda /mnt')
        guest.cmd(save, timeout=600)
        guest.cmd('umount /mnt')
        guest.close()

        listed = self.fetch_dump(disk, 'list')
        dump = self.fetch_dump(disk, 'vmcore')
        os.unlink(disk.path)
        _, output = truth('check', dump, listed, SEED)
        # tmpfs lives in memory only, so does the kernel's: all were compared.
        self.assertIn(f'checked {sum(c[0] for c in counts.values())} differ 0 '
                      'missing 0', output)
        # The comparison is no rubber stamp: with another seed all differ.
        status, output = truth('check', dump, listed, SEED + 1, check=False)
        self.assertEqual(status, 1, output)
        self.assertNotIn('differ 0', output)

    @full_only
    def test_copy_2g(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check('6.1', 'q35', '2G',
                   'dd if=/proc/vmcore of=/mnt/vmcore bs=1M')

    def test_makedumpfile_above_4g(self):
        """
        :avocado: tags=machine:pc,kernel:6.12
        """
        # The last half GiB may not be handed out at all.
        self.check('6.12', 'pc', '4608M',
                   'makedumpfile -E -d 0 /proc/vmcore /mnt/vmcore', GIB)


if __name__ == '__main__':
    main()
