# SPDX-License-Identifier: GPL-2.0-or-later
"""Does anything write to preserved memory between the capture and the release?

RAM is a file, and so is each DIMM, that the host reads while the guest stands
still: at the first instruction after the capture's reset, and right before the
release.
"""

import collections
import hashlib
import os

from . import abi
from .gdbstub import RESET_VECTOR
from .guest import parse_size

MIB = 1 << 20
HIGH = 1 << 32

# size bytes from addr on are in the file from offset on, and in its copy.
_Part = collections.namedtuple('_Part', 'addr size file copy offset')


class Preserved:
    def __init__(self, test, memory, low_ram, dimms=()):
        """low_ram: how much of it lies below 4 GiB. dimms: sizes; they lie above
        all RAM, in this order."""
        self.memory = memory
        self.dimms = dimms
        self.files = [(test.shm_path(name), test.path(f'{name}.copy')) for name
                      in ('ram', *(f'dimm{i}' for i in range(len(dimms))))]
        size = parse_size(memory)
        self.parts = [_Part(0, min(size, low_ram), *self.files[0], 0)]
        if size > low_ram:
            self.parts.append(_Part(HIGH, size - low_ram, *self.files[0],
                                    low_ram))
        at = HIGH + max(0, size - low_ram)
        for dimm, files in zip(dimms, self.files[1:]):
            self.parts.append(_Part(at, parse_size(dimm), *files, 0))
            at += parse_size(dimm)

    def options(self, machine):
        """For Guest(): the file, with the next boot in it as well, and not in
        memory that has taken boot memory's place."""
        def backend(name, size, path):
            return ['-object', f'memory-backend-file,id={name},share=on,'
                    f'size={size},mem-path={path}']
        args = backend('ram', self.memory, self.files[0][0])
        if self.dimms:
            args += ['-m', f'slots={len(self.dimms)},maxmem=64G']
        for i, (size, (path, _)) in enumerate(zip(self.dimms, self.files[1:])):
            args += backend(f'm{i}', size, path)
            args += ['-device', f'pc-dimm,id=dimm{i},memdev=m{i}']
        return {'machine': f'{machine},memory-backend=ram',
                'memory': self.memory, 'gdb': True, 'fadump': 'x-swap=off',
                'args': args}

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
        for path, copy in self.files:
            with open(path, 'rb') as f, open(copy, 'wb') as to:
                while os.sendfile(to.fileno(), f.fileno(), None, 1 << 30):
                    pass
        gdb.unbreak(RESET_VECTOR)
        gdb.close()
        guest.qmp.cmd('query-status')

    def _pages(self, which, descriptor):
        """A digest of each MiB that is preserved in place, by address, as the
        files have it or their copies."""
        result = {}
        for r in descriptor.ranges:
            if r['where'] != abi.WHERE_IN_PLACE:
                continue
            for part in self.parts:
                begin = max(r['addr'], part.addr)
                end = min(r['addr'] + r['len'], part.addr + part.size)
                with open(getattr(part, which), 'rb') as f:
                    f.seek(part.offset + begin - part.addr)
                    for addr in range(begin, end, MIB):
                        result[addr] = hashlib.blake2b(
                            f.read(min(MIB, end - addr))).digest()
        return result

    def changed(self, guest, descriptor):
        """The addresses of what has changed since, and of how many MiB; the
        guest stands still meanwhile."""
        after = self._pages('copy', descriptor)
        guest.qmp.cmd('stop')
        now = self._pages('file', descriptor)
        # The hash sees a change: boot memory, of which nothing is promised,
        # has had a whole boot over it.
        path, copy = self.files[0]
        with open(path, 'rb') as f, open(copy, 'rb') as g:
            f.seek(16 * MIB)
            g.seek(16 * MIB)
            same = f.read(64 * MIB) == g.read(64 * MIB)
        guest.qmp.cmd('cont')
        if same:
            raise guest.trouble('boot memory has not changed: that is not the '
                                "guest's memory")
        return [f'{k:#x}' for k in after if after[k] != now[k]], len(after)

    def close(self):
        for path, copy in self.files:
            os.unlink(path)
            os.unlink(copy)
