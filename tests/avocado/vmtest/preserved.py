# SPDX-License-Identifier: GPL-2.0-or-later
"""Does anything write to preserved memory between the capture and the release?

RAM is a file that the host reads while the guest stands still: at the first
instruction after the capture's reset, and right before the release.
"""

import hashlib
import os

from . import abi
from .gdbstub import RESET_VECTOR

MIB = 1 << 20


class Preserved:
    def __init__(self, test, memory, low_ram):
        """low_ram: how much of it lies below 4 GiB."""
        self.memory = memory
        self.low_ram = low_ram
        self.ram = test.shm_path('ram')
        self.copy = test.path('copy')

    def options(self, machine):
        """For Guest(): the file, with the next boot in it as well, and not in
        memory that has taken boot memory's place."""
        return {'machine': f'{machine},memory-backend=ram',
                'memory': self.memory, 'gdb': True, 'fadump': 'x-swap=off',
                'args': ['-object',
                         'memory-backend-file,id=ram,share=on,'
                         f'size={self.memory},mem-path={self.ram}']}

    def crash(self, guest):
        """Crash it, and keep what its memory then is; it runs on."""
        gdb = guest.gdb()
        gdb.hbreak(RESET_VECTOR)
        gdb.cont()
        guest.crash_begins()
        guest.send('echo c > /proc/sysrq-trigger')
        gdb.wait_stop()
        # The register has what is above the code segment's base.
        if gdb.pc() != RESET_VECTOR & 0xffff:
            raise guest.trouble(f'stopped at {gdb.pc():#x}, not at the reset')
        # The whole of RAM: which of it is preserved will be known later.
        with open(self.ram, 'rb') as f, open(self.copy, 'wb') as to:
            while os.sendfile(to.fileno(), f.fileno(), None, 1 << 30):
                pass
        gdb.unbreak(RESET_VECTOR)
        gdb.close()
        guest.qmp.cmd('query-status')

    def _pages(self, path, descriptor):
        """A digest of each MiB that is preserved in place, by file offset."""
        result = {}
        with open(path, 'rb') as f:
            for r in descriptor.ranges:
                if r['where'] != abi.WHERE_IN_PLACE:
                    continue
                # RAM above 4 GiB follows in the file on what is below.
                at = r['addr']
                if at >= 1 << 32:
                    at -= (1 << 32) - self.low_ram
                f.seek(at)
                for offset in range(at, at + r['len'], MIB):
                    result[offset] = hashlib.blake2b(
                        f.read(min(MIB, at + r['len'] - offset))).digest()
        return result

    def changed(self, guest, descriptor):
        """What has changed since, as offsets in the file, and of how many
        MiB; the guest stands still meanwhile."""
        after = self._pages(self.copy, descriptor)
        guest.qmp.cmd('stop')
        now = self._pages(self.ram, descriptor)
        # The hash sees a change: boot memory, of which nothing is promised,
        # has had a whole boot over it.
        with open(self.ram, 'rb') as f, open(self.copy, 'rb') as g:
            f.seek(16 * MIB)
            g.seek(16 * MIB)
            same = f.read(64 * MIB) == g.read(64 * MIB)
        guest.qmp.cmd('cont')
        if same:
            raise guest.trouble('boot memory has not changed: that is not the '
                                "guest's memory")
        return [f'{k:#x}' for k in after if after[k] != now[k]], len(after)

    def close(self):
        os.unlink(self.ram)
        os.unlink(self.copy)
