#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The window in which a guest reads what the host holds: cacheable under every
firmware, and as fast to read as memory that was preserved in place."""

import hashlib
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import MIB, VMCORE, FadumpTest, full_only, main
from vmtest import abi
from vmtest.vmcore import Vmcore

PAT_LIST = '/sys/kernel/debug/x86/pat_memtype_list'


class Window(FadumpTest):
    def memory_types(self, guest, start, end):
        """{type} of all mappings in there: (first, last, type), as the kernel
        has them."""
        found = []
        for line in guest.cmd(f'cat {PAT_LIST}').splitlines():
            entry = re.match(r'PAT: \[mem 0x(\w+)-0x(\w+)\] (\S+)', line)
            if entry:
                low, high = int(entry.group(1), 16), int(entry.group(2), 16)
                if low < end and high > start:
                    found.append((low, high, entry.group(3)))
        return found

    def speed(self, guest, offset, amount):
        """MiB/s of reading /proc/vmcore there"""
        said = guest.cmd(f'bandwidth {VMCORE} -b 1024 -o {offset} -n {amount} '
                         '-r 3 read')
        return float(re.search(r' (\d+) MiB/s', said).group(1))

    def check(self, suite, kernel):
        # suite: Debian's, of the OVMF that is the firmware; None: SeaBIOS
        guest = self.guest(kernel, uefi=suite, memory='2G', vcpus=2)
        before = guest.mem_total()
        guest.crash()
        descriptor = self.assert_captured(guest)

        window = self.window(guest)
        self.assertGreaterEqual(window.start, 4 << 30, 'below 4 GiB')
        self.assertEqual(window.start % abi.ALIGN, 0)
        self.assertLess(len(window), descriptor.memory() + 64 * MIB,
                        'the window takes more than it may ever hold')
        self.assertNotRegex(
            guest.cmd('cat /proc/iomem'),
            rf'(?m)^0*{window.start:x}-.* : System RAM')

        # What the kernel mapped it as: it gets what the firmware's MTRRs allow.
        types = self.memory_types(guest, window.start, window.stop)
        self.assertTrue(types, 'the window is not mapped')
        self.assertEqual({t for _, _, t in types}, {'write-back'}, types)

        core = self.vmcore(guest)
        low = next(s for s in core.loads if s.paddr == 1 * MIB)
        high = core.loads[-1]
        self.assertGreater(high.paddr, low.paddr)
        amount = 128
        slow = self.speed(guest, low.offset + 32 * MIB, amount)
        fast = self.speed(guest, high.offset + 32 * MIB, amount)
        print(f'# {suite or "SeaBIOS"}: held {slow:.0f} MiB/s, in place '
              f'{fast:.0f} MiB/s', file=sys.stderr)

        self.release(guest)
        self.assert_released(guest, before)
        self.assertEqual(
            self.memory_types(guest, window.start, window.stop), [],
            'the window is still mapped')
        self.assert_quiet(guest)

    def test_seabios(self):
        """
        :avocado: tags=firmware:seabios
        """
        self.check(None, '6.1')

    @full_only
    def test_ovmf_2022(self):
        """
        :avocado: tags=firmware:ovmf
        """
        self.check('bookworm', '6.1')

    def test_ovmf_2025(self):
        """
        :avocado: tags=firmware:ovmf
        """
        self.check('trixie', '6.12')

    @full_only
    def test_bar(self):
        """As on a machine whose map has no place above RAM: the guest reads in
        the BAR what the host saves.

        :avocado: tags=firmware:seabios
        """
        guest = self.guest('6.12', memory='2G', vcpus=2,
                           fadump='x-window-bar=on')
        before = guest.mem_total()
        guest.crash()
        self.assert_captured(guest)
        self.assertEqual(len([r for bus in guest.qmp.cmd('query-pci')
                              for d in bus['devices']
                              if d['id']['device'] == 0x1040 + abi.ID_FADUMP
                              for r in d['regions']
                              if r['size'] >= 512 * MIB]), 1)
        guests, hosts = self.vmcore(guest), self.save(guest)
        for ours in Vmcore.from_file(hosts).loads:
            theirs = next(s for s in guests.loads if
                          s.paddr <= ours.paddr < s.paddr + s.filesz)
            self.assertLessEqual(ours.paddr + ours.filesz,
                                 theirs.paddr + theirs.filesz)
            digest = hashlib.sha256()
            with open(hosts, 'rb') as f:
                f.seek(ours.offset)
                for at in range(0, ours.filesz, MIB):
                    digest.update(f.read(min(MIB, ours.filesz - at)))
            offset = theirs.offset + ours.paddr - theirs.paddr
            self.assertEqual(guest.cmd(
                f'dd if={VMCORE} bs=1M iflag=skip_bytes,count_bytes '
                f'skip={offset} count={ours.filesz} 2>/dev/null | sha256sum',
                timeout=600).split()[0], digest.hexdigest(), ours)
        self.release(guest)
        self.assert_released(guest, before)
        self.assert_quiet(guest)


if __name__ == '__main__':
    main()
