#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""UEFI with SMM: firmware's secrets stay its own through crash, confined boot
and release, and firmware works in each of these boots."""

import mmap
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import MIB, VMCORE, FadumpTest, abi, build, full_only, main
from vmtest.vmcore import Vmcore

HOST_BRIDGE = '/sys/bus/pci/devices/0000:00:00.0/config'
REG_EXT_TSEG, REG_F_SMBASE, REG_SMRAM, REG_ESMRAMC = 0x50, 0x9c, 0x9d, 0x9e
D_OPEN, D_LCK = 1 << 6, 1 << 4
T_EN = 1 << 0
SMBASE, SMBASE_SIZE = 0x30000, 0x20000
COMPAT, COMPAT_SIZE = 0xa0000, 0x20000
PAGE = 4096


class Smm(FadumpTest):
    # ---- the host's view ----

    def ram(self, guest, start, size):
        """Guest RAM as QEMU has it, whatever the chipset hides."""
        blocks = guest.ram_blocks()
        name = 'ram' if 'ram' in blocks else 'pc.ram'
        address, total = blocks[name]
        self.assertLessEqual(start + size, total)
        with open(f'/proc/{guest.process.pid}/mem', 'rb', buffering=0) as mem:
            mem.seek(address + start)
            data = b''
            while len(data) < size:
                data += mem.read(size - len(data))
        return data

    def secrets(self, guest, end, size):
        """Some lines of TSEG that are nowhere else in RAM."""
        data = self.ram(guest, end - size, size)
        rest = self.ram(guest, MIB, end - size - MIB)
        found = []
        for at in range(0, size, 64):
            line = data[at:at + 64]
            if (len(set(line)) > 16 and data.count(line) == 1 and
                    line not in rest):
                found.append(line)
                if len(found) == 8:
                    return found
        self.assertTrue(found, 'firmware has nothing in TSEG')
        return found

    def assert_not_in_file(self, path, secrets):
        with open(path, 'rb') as f, mmap.mmap(f.fileno(), 0,
                                              prot=mmap.PROT_READ) as data:
            for line in secrets:
                self.assertEqual(data.find(line), -1, line)

    # ---- the guest's ----

    def register(self, guest, reg, size=1):
        return int.from_bytes(guest.read_file(HOST_BRIDGE, reg, size),
                              'little')

    def write_register(self, guest, reg, value):
        guest.cmd(f"printf '\\{value:03o}' | dd of={HOST_BRIDGE} bs=1 "
                  f'seek={reg} conv=notrunc 2>/dev/null')

    def peek(self, guest, address):
        return int(guest.cmd(f'devmem {address:#x} 32'), 16)

    def assert_closed(self, guest, end, size):
        """Firmware has locked TSEG there, and a kernel does not get in."""
        smram = self.register(guest, REG_SMRAM)
        self.assertEqual(smram & (D_LCK | D_OPEN), D_LCK)
        self.assertTrue(self.register(guest, REG_ESMRAMC) & T_EN)
        for reg, value in ((REG_SMRAM, D_OPEN), (REG_SMRAM, 0),
                           (REG_ESMRAMC, 0), (REG_F_SMBASE, 0)):
            self.write_register(guest, reg, value)
            # devmem maps another page for the last 32 bytes of one.
            for address in (end - size, end - size // 2, end - 64, SMBASE,
                            SMBASE + SMBASE_SIZE - 64):
                self.assertEqual(self.peek(guest, address), 0xffffffff,
                                 f'{address:#x} can be read')
        self.assertEqual(self.register(guest, REG_SMRAM), smram)
        # The first byte below it and behind it is not of it: it is RAM that
        # a kernel has, which /dev/mem does not show.
        tree = guest.qmp.hmp('info mtree -f')
        memory = tree[tree.index('AS "memory"'):].split('FlatView #')[0]
        self.assertIn(f'{end - size:016x}-{end - 1:016x} (prio 1, i/o): '
                      'tseg-blackhole', memory)

    def assert_works(self, guest):
        """Firmware's SMM code runs: it has the variables."""
        self.assertTrue(guest.exists('/sys/firmware/efi/runtime'))

    def assert_left_out(self, descriptor, core, start, size, flags):
        """Nothing of it is in the dump; the range's flags, None for none."""
        self.assertEqual(
            [r for r in descriptor.ranges
             if r['addr'] < start + size and start < r['addr'] + r['len'] and
             r['flags'] != flags], [])
        if flags is not None:
            self.assertIn((start, size, 0), [(r['addr'], r['len'], r['held'])
                                             for r in descriptor.ranges])
        self.assertEqual([s for s in core.loads if s.paddr < start + size and
                          start < s.paddr + s.filesz], [])

    def capture(self, guest, confined, tseg, hidden, flags):
        """The boot after a crash; TSEG was at tseg and is at the end of boot
        memory. The host's dump of it."""
        descriptor = self.assert_captured(guest, hidden=hidden)
        core = self.vmcore(guest)
        for start, size, what in ((SMBASE, SMBASE_SIZE, None),
                                  (COMPAT, COMPAT_SIZE, None),
                                  (*tseg, flags)):
            self.assert_left_out(descriptor, core, start, size, what)
        self.assert_closed(guest, confined, tseg[1])
        self.assert_works(guest)
        # All of it can be read.
        guest.cmd(f'cat {VMCORE} > /dev/null', timeout=900)
        dump = self.save(guest)
        for start, size, _ in ((SMBASE, SMBASE_SIZE, 0), (*tseg, 0)):
            self.assertEqual([s for s in Vmcore.from_file(dump).loads
                              if s.paddr < start + size and
                              start < s.paddr + s.filesz], [])
        return dump

    def check(self, suite, kernel, args=(), machine='q35', memory=1024):
        end, confined = memory * MIB, 512 * MIB
        guest = self.guest(kernel, machine=machine, memory=f'{memory}M',
                           vcpus=2, uefi=suite, smm=True, args=args)
        before = guest.mem_total()
        size = self.register(guest, REG_EXT_TSEG, 2) * MIB
        self.assertEqual(size % MIB, 0)
        self.assertGreater(size, 0)
        self.assert_closed(guest, end, size)
        self.assert_works(guest)
        first = self.secrets(guest, end, size)

        guest.crash()
        dump = self.capture(guest, confined, (end - size, size), SMBASE_SIZE,
                            abi.RANGE_F_FIRMWARE)
        self.assert_not_in_file(dump, first)
        os.unlink(dump)
        self.assertEqual(self.ram(guest, end - size, size).count(0), size,
                         'what was in TSEG can be read')
        self.assert_quiet(guest)
        self.release(guest)
        # What was TSEG is RAM now, and TSEG is elsewhere.
        self.assert_released(guest, before, tolerance=0.02)
        self.assert_closed(guest, confined, size)
        guest.cmd('alloc 80', timeout=600)

        # Once more, before any other reset: TSEG was in boot memory.
        guest.crash()
        dump = self.capture(guest, confined, (confined - size, size),
                            SMBASE_SIZE + size, None)
        self.assert_not_in_file(dump, first)
        os.unlink(dump)
        self.release(guest)
        self.assert_released(guest, before, tolerance=0.02)

        # And all is as at first.
        guest.crash('reboot -f')
        self.assert_registered(guest)
        self.assert_mem_total(guest, before)
        self.assert_closed(guest, end, size)
        self.assert_works(guest)
        self.assertEqual(self.ram(guest, confined - size, size).find(
            first[0]), -1)
        self.assert_quiet(guest)

    @full_only
    def test_ovmf_2022(self):
        """
        :avocado: tags=firmware:ovmf
        """
        self.check('bookworm', '6.1')

    @full_only
    def test_ovmf_2025(self):
        """
        :avocado: tags=firmware:ovmf
        """
        self.check('trixie', '6.12')

    @full_only
    def test_swapped(self):
        """In memory that stands in for RAM SMM finds what firmware has put
        there.

        :avocado: tags=firmware:ovmf
        """
        self.check('trixie', '6.1', machine='q35,memory-backend=ram',
                   args=['-object',
                         'memory-backend-memfd,id=ram,size=1024M,share=on'])


class Registers(FadumpTest):
    """A vCPU that is in SMM at the crash."""

    SMI_EAX = 0x5ec2e7ed

    def test_hidden(self):
        """
        :avocado: tags=firmware:seabios
        """
        if build.accel() != 'tcg':
            self.skipTest('SeaBIOS has no SMM with KVM everywhere')
        guest = self.new_guest(bare='idle smi dump wait', memory='256M',
                               fadump='boot-mem=128M').start()
        guest.wait_bare('smi')
        guest.wait_for('a vCPU in SMM', lambda: 'SMM=1' in
                       guest.qmp.hmp('info registers'))
        self.assertIn(f'{self.SMI_EAX:08x}', guest.qmp.hmp('info registers'))
        guest.qmp.cmd('fadump-trigger')
        guest.wait_bare('waits')
        dump = self.assert_event(guest, 'operator')
        self.assertEqual(dump['lost-registers'], [0])
        path = self.save(guest)
        core = Vmcore.from_file(path)
        for registers in core.cpu_registers():
            self.assertEqual({value for name, value in registers.items()
                              if name != 'pid'}, {0})
        self.assertTrue(core.note('QEMU'))
        for note in core.notes:
            self.assertNotIn(self.SMI_EAX.to_bytes(4, 'little'), note.desc)


if __name__ == '__main__':
    main()
