#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""However boot memory is set aside, a panic leaves the same: a dump that has
what was in memory, and after the release a guest as it was.

The descriptor says how it was done, so a mode that quietly fell back to another
one is no success.
"""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import (FADUMP, FadumpTest, GIB, MIB, VMCORE, abi, full_only,
                         main)

SEED = 20261121
# Of each kind of memory
PAGES = 256
# Firmware's memory, which stays where it is
FIRMWARE_END = 1 * MIB
KERNEL_TEXT = 0xffffffff80000000


class Modes(FadumpTest):
    """The main job, once for each way to set boot memory aside."""

    boot_mem = 512 * MIB
    fill_low = True

    def start(self, *, backend=None, memory='1G', **options):
        """A registered guest, with its memory of that kind."""
        if backend:
            options['machine'] = 'q35,memory-backend=mem'
            options['args'] = ('-object', f'{backend},id=mem,size={memory}')
        self.disks = [self.disk(size='256M')]
        return self.guest(memory=memory, vcpus=2, disks=self.disks, **options)

    def fill(self, guest):
        """Fill memory with what can be recognised; how many pages. Boot memory
        is the last that user pages come from: only some guests are filled up
        to there, the others have the kernel's pages in it."""
        guest.cmd('mount /dev/vda /mnt && modprobe fadump_truth')
        limit = int(guest.cmd("awk '/^MemAvailable/ {print $2}' "
                              '/proc/meminfo')) // 1024 - 128
        filled = guest.cmd(
            f'truth fill -s {SEED} -o /mnt/list -n {PAGES} -x {limit} '
            f'-t /tmp/data' + (f' -b {self.boot_mem}' if self.fill_low else ''),
            timeout=300)
        counts = dict(re.findall(r'^(\w+) (\d+) low', filled, re.M))
        for kind in ('anon', 'tmpfs', 'kernel'):
            self.assertGreaterEqual(int(counts[kind]), PAGES, filled)
        return sum(map(int, counts.values()))

    def assert_content(self, guest, descriptor, pages):
        """What was filled is in the dump, all but what the guest let go."""
        guest.cmd('mount /dev/vda /mnt')
        gone = [(r['addr'], r['addr'] + r['len']) for r in descriptor.ranges
                if r['flags'] & abi.RANGE_F_DESTINATION]
        lost = set()
        for line in guest.cmd('cat /mnt/list').splitlines():
            first, count, kind = line.split()
            for pfn in range(int(first, 16), int(first, 16) + int(count)):
                if any(start <= pfn * 4096 < end for start, end in gone):
                    lost.add((pfn, kind))
        self.assertEqual([l for l in lost if l[1] == 'kernel'], [],
                         'a destination had kernel memory')
        _, output = guest.run(f'truth check {VMCORE} /mnt/list {SEED}',
                              timeout=300)
        self.assertIn(f'checked {pages} differ 0 '
                      f'missing {len(lost)}', output.decode())
        guest.cmd('umount /mnt')

    def crash_and_check(self, guest, where, methods):
        """A panic, and the boot after it: the descriptor of a dump that is
        right, and was made in that way."""
        before = guest.mem_total()
        pages = self.fill(guest)
        guest.crash()
        descriptor = self.assert_captured(guest)
        boot = [r for r in descriptor.ranges
                if r['flags'] & abi.RANGE_F_BOOT_MEM]
        self.assertEqual({r['where'] for r in boot}, {where}, boot)
        self.assertIn({r['method'] for r in boot
                       if r['addr'] >= FIRMWARE_END}, methods, boot)
        self.assertGreaterEqual(sum(r['held'] for r in boot),
                                self.boot_mem - 0x60000)

        regs = self.vmcore(guest).cpu_registers()[descriptor.crash_cpu]
        self.assertEqual(regs['cs'] & 3, 0)
        self.assertGreater(regs['rip'], KERNEL_TEXT)
        self.assert_content(guest, descriptor, pages)
        self.release(guest)
        self.assert_released(guest, before)
        self.assert_quiet(guest)
        return descriptor

    def resident(self, guest):
        """Bytes of the host's memory that QEMU has."""
        with open(f'/proc/{guest.process.pid}/status', encoding='ascii') as f:
            return int(re.search(r'VmRSS:\s+(\d+) kB', f.read()).group(1)) << 10

    def check(self, methods, where=abi.WHERE_WINDOW, **options):
        guest = self.start(**options)
        self.assertEqual(guest.cmd(f'cat {FADUMP}/mem_reserved'), '0')
        return guest, self.crash_and_check(guest, where, [methods])


class Host(Modes):
    """Boot memory goes to host memory."""

    @full_only
    def test_move(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check({abi.METHOD_MOVED}, kernel='6.1')

    @full_only
    def test_copy_ram(self):
        """
        :avocado: tags=machine:q35,kernel:6.12
        """
        self.check({abi.METHOD_COPIED}, kernel='6.12',
                   fadump='x-move=off,x-swap=off',
                   backend='memory-backend-ram')

    @full_only
    def test_copy_memfd_private(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check({abi.METHOD_COPIED}, kernel='6.1',
                   fadump='x-move=off,x-swap=off',
                   backend='memory-backend-memfd,share=off')

    def test_copy_memfd(self):
        """
        :avocado: tags=machine:q35,kernel:6.12
        """
        self.check({abi.METHOD_COPIED}, kernel='6.12',
                   fadump='x-move=off,x-swap=off',
                   backend='memory-backend-memfd,share=on')

    @full_only
    def test_copy_file(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check({abi.METHOD_COPIED}, kernel='6.1',
                   fadump='x-move=off,x-swap=off',
                   backend='memory-backend-file,share=on,mem-path=' +
                   self.shm_path('mem'))

    def test_swap(self):
        """
        :avocado: tags=machine:q35,kernel:6.12
        """
        guest, _ = self.check({abi.METHOD_SWAPPED}, kernel='6.12',
                              backend='memory-backend-memfd,share=on')
        # What was swapped in is swapped back by the next one.
        self.crash_and_check(guest, abi.WHERE_WINDOW, [{abi.METHOD_SWAPPED}])


class Reserved(FadumpTest):
    """What being ready for a crash costs: nothing."""

    def test_nothing(self):
        """
        :avocado: tags=machine:q35
        """
        # Where the kernel is put takes a page or two from MemTotal.
        still = {'memory': '1G', 'cmdline': 'nokaslr'}
        without = self.guest(fadump=None, **still)
        mem_total = without.mem_total()
        without.close()
        for fadump in ('', 'full=on'):
            guest = self.guest(fadump=fadump, **still)
            ready = guest.mem_total()
            blocks = [name for name in guest.ram_blocks()
                      if name.startswith('fadump-')]
            self.assertEqual(sorted(blocks), ['fadump-desc', 'fadump-dump'])
            self.assertEqual(guest.resident('fadump-'), 0)
            self.assertGreater(guest.resident('pc.ram'), 64 * MIB)
            # It is memory of the host's, once there is a dump.
            guest.crash()
            self.assertGreater(guest.resident('fadump-'), 32 * MIB)
            self.release(guest)
            self.assertEqual(guest.resident('fadump-'), 0)
            guest.close()
            self.assertEqual(ready, mem_total, fadump)


class Destination(Modes):
    """Boot memory goes to memory of the guest's own."""

    # It may be moved there, or copied.
    methods = [{abi.METHOD_COPIED}, {abi.METHOD_MOVED}, {abi.METHOD_NONE},
               {abi.METHOD_SWAPPED}]

    def pieces(self, guest):
        """What is registered: (source, destination, length)."""
        said = guest.cmd('cat /sys/kernel/debug/fadump/fadump_region')
        return [tuple(int(n, 16) for n in p) for p in re.findall(
            r'^DUMP: Src: (0x[0-9a-f]+), Dest: (0x[0-9a-f]+), '
            r'Size: (0x[0-9a-f]+), Dumped: 0x0 bytes', said, re.M)]

    def movable(self, guest):
        """Bytes of ZONE_MOVABLE."""
        return sum(int(n) << 12 for n in re.findall(
            r'zone +Movable\n(?:.*\n)*? +managed +(\d+)',
            guest.cmd('cat /proc/zoneinfo')))

    def iomem(self, guest, what):
        return [(int(a, 16), int(b, 16) + 1, name) for a, b, name in re.findall(
            rf'([0-9a-f]+)-([0-9a-f]+) : ({what})', guest.cmd('cat /proc/iomem'))]

    def check_registration(self, guest):
        pieces = self.pieces(guest)
        at = 0
        for src, dst, length in pieces:
            self.assertGreaterEqual(src, at, pieces)
            self.assertEqual(src % (2 * MIB), dst % (2 * MIB), pieces)
            at = src + length
        self.assertEqual(sum(length for _, _, length in pieces),
                         self.boot_mem, pieces)
        for a in pieces:
            self.assertFalse([b for b in pieces if a != b and
                              a[1] < b[1] + b[2] and b[1] < a[1] + a[2]])
            # None of it goes to boot memory.
            self.assertFalse([b for b in pieces if
                              a[1] < b[0] + b[2] and b[0] < a[1] + a[2]])
        # Neither in what is no memory, nor in the kernel.
        iomem = self.iomem(guest, r'System RAM|Kernel \w+')
        for _, dst, length in pieces:
            kinds = [what.split()[0] for start, end, what in iomem
                     if dst < end and start < dst + length]
            self.assertEqual(set(kinds), {'System'}, (pieces, iomem))
        return pieces

    def check_stays_online(self, guest, pieces):
        """A block that is a destination does not go offline."""
        memory = '/sys/devices/system/memory'
        size = int(guest.cmd(f'cat {memory}/block_size_bytes'), 16)
        # What the kernel itself lies in, wherever, can never go offline.
        kernel = self.iomem(guest, r'Kernel \w+')
        blocks = [block for _, dst, length in pieces
                  for block in range(dst // size, (dst + length - 1) // size + 1)
                  if guest.cmd(f'cat {memory}/memory{block}/valid_zones') ==
                  'Movable' and not any(
                      start < (block + 1) * size and block * size < end
                      for start, end, _ in kernel)]
        self.assertTrue(blocks, pieces)
        state = f'{memory}/memory{blocks[0]}/state'
        self.assertNotEqual(guest.run(f'echo offline > {state}')[0], 0)
        self.assertEqual(guest.cmd(f'cat {state}'), 'online')
        self.assertRegex(guest.cmd('dmesg'),
                         'stays online: a crash would put boot memory there')
        # Unregistered it does, and then it is no destination.
        guest.cmd(f'echo 0 > {FADUMP}/registered && echo offline > {state} && '
                  f'echo 1 > {FADUMP}/registered')
        self.check_registration(guest)
        guest.cmd(f'echo 0 > {FADUMP}/registered && '
                  f'echo online_movable > {state} && '
                  f'echo 1 > {FADUMP}/registered')

    def check_guest(self, guest):
        pieces = self.check_registration(guest)
        descriptor = self.crash_and_check(guest, abi.WHERE_GUEST,
                                          self.methods)
        held = [r for r in descriptor.ranges
                if r['where'] == abi.WHERE_GUEST]
        for r in held:
            # Where the guest said, each byte of it
            self.assertTrue(any(s <= r['addr'] and
                                r['addr'] + r['len'] <= s + n and
                                r['dest'] - d == r['addr'] - s
                                for s, d, n in pieces), (r, pieces))
        gone = sum(r['len'] for r in descriptor.ranges
                   if r['flags'] & abi.RANGE_F_DESTINATION)
        self.assertLessEqual(sum(r['len'] for r in held), gone)
        self.assertLessEqual(gone, self.boot_mem)
        # After the release it is registered anew, from what there is then.
        self.check_registration(guest)
        return descriptor

    def check_movable(self, kernel, fadump='', dest=' fadump.dest=guest'):
        guest = self.start(kernel=kernel, memory='2G', fadump=fadump,
                           cmdline='movablecore=640M fadump.movable=1' + dest)
        self.assertGreater(self.movable(guest), self.boot_mem)
        # It is named, and can be used until then.
        self.assertEqual(guest.cmd(f'cat {FADUMP}/mem_reserved'), '0')
        total, free = (int(guest.cmd(f"awk '/^{what}/ {{print $2}}' "
                                     '/proc/meminfo')) << 10
                       for what in ('MemTotal', 'MemFree'))
        self.assertGreater(free, total - 256 * MIB)
        self.fill_low = False
        self.check_guest(guest)
        # What was movable is so again, and nothing has to be taken.
        self.assertGreaterEqual(self.movable(guest), self.boot_mem)
        self.assertEqual(guest.cmd(f'cat {FADUMP}/mem_reserved'), '0')

    def check_taken(self, kernel, **options):
        guest = self.start(kernel=kernel, memory='1536M',
                           cmdline='fadump.dest=guest', **options)
        self.assertEqual(int(guest.cmd(f'cat {FADUMP}/mem_reserved')),
                         self.boot_mem)
        # Written to again and again, it is not taken again and again.
        free = "awk '/^MemFree/ {print $2}' /proc/meminfo"
        before = int(guest.cmd(free))
        guest.cmd(f'for i in 1 0 0 1 1; do echo $i > {FADUMP}/registered; done')
        self.assertLess(abs(int(guest.cmd(free)) - before), 64 << 10)
        self.check_guest(guest)
        self.assertEqual(int(guest.cmd(f'cat {FADUMP}/mem_reserved')),
                         self.boot_mem)

    def test_movable(self):
        """Where the driver chooses a zone, in a kernel whose threads have no
        file system.

        :avocado: tags=machine:q35,kernel:7
        """
        self.check_movable('7')

    def test_offline(self):
        """
        :avocado: tags=machine:q35,kernel:6.12
        """
        guest = self.start(kernel='6.12', memory='2G',
                           cmdline='movablecore=700M fadump.dest=guest')
        self.check_stays_online(guest, self.check_registration(guest))
        # What was missing meanwhile was taken, and is kept.
        self.check_registration(guest)
        self.assert_quiet(guest)

    @full_only
    def test_above_4g(self):
        """Boot memory on both sides of a hole, and destinations beyond it.

        :avocado: tags=machine:q35,kernel:6.12
        """
        guest = self.start(kernel='6.12', memory='7G',
                           fadump='boot-mem=2560M',
                           cmdline='movablecore=3G fadump.dest=guest')
        self.boot_mem = 2560 * MIB
        pieces = self.check_registration(guest)
        self.assertEqual(sum(n for s, _, n in pieces if s < 2 * GIB), 2 * GIB)
        self.assertEqual(sum(n for s, _, n in pieces if s >= 4 * GIB),
                         512 * MIB)
        self.assertEqual(guest.cmd(f'cat {FADUMP}/mem_reserved'), '0')
        before = guest.mem_total()
        guest.crash()
        descriptor = self.assert_captured(guest)
        self.assertEqual({r['where'] for r in descriptor.ranges
                          if r['flags'] & abi.RANGE_F_BOOT_MEM},
                         {abi.WHERE_GUEST})
        self.release(guest)
        self.assert_released(guest, before)
        self.assert_quiet(guest)

    def test_taken(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check_taken('6.1')

    @full_only
    def test_taken_memfd(self):
        """
        :avocado: tags=machine:q35,kernel:6.12
        """
        self.check_taken('6.12', backend='memory-backend-memfd,share=on')

    def test_no_host_memory(self):
        """A host that gives none: the driver sees that by itself.

        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check_movable('6.1', fadump='host-mem=off', dest='')

    def test_unbind(self):
        """
        :avocado: tags=machine:q35,kernel:6.12
        """
        guest = self.start(kernel='6.12', memory='1536M',
                           cmdline='fadump.dest=guest')
        free = "awk '/^MemFree/ {print $2}' /proc/meminfo"
        kept = int(guest.cmd(free)) << 10
        guest.cmd('rmmod fadump_virtio')
        self.assertGreater((int(guest.cmd(free)) << 10) - kept,
                           self.boot_mem - 32 * MIB)
        guest.cmd('modprobe fadump_virtio')
        self.assert_registered(guest)
        self.assert_quiet(guest)

    def test_too_small(self):
        """Not enough memory above boot memory: said, and not registered.

        :avocado: tags=machine:q35,kernel:6.1
        """
        guest = self.new_guest('6.1', memory='768M', vcpus=2,
                               cmdline='fadump.dest=guest').boot()
        self.assertEqual(guest.cmd(f'cat {FADUMP}/registered'), '0')
        self.assertEqual(guest.cmd(f'cat {FADUMP}/mem_reserved'), '0')
        self.assertRegex(guest.cmd('dmesg'), 'not registered: boot memory takes '
                         '512 MiB of destinations in guest memory, ')
        status, said = guest.run(f'echo 1 > {FADUMP}/registered')
        self.assertNotEqual(status, 0)
        self.assertIn(b'error', said)
        self.assert_quiet(guest)


class Full(Modes):
    """All memory goes to host memory: the next boot has all of its own."""

    boot_mem = 1024 * MIB

    def check_full(self, kernel, **options):
        guest = self.start(kernel=kernel, fadump='full=on', **options)
        before = guest.mem_total()
        pages = self.fill(guest)
        guest.crash()
        descriptor = self.assert_captured(guest)
        self.assertEqual({r['where'] for r in descriptor.ranges},
                         {abi.WHERE_WINDOW})
        self.assertLess(abs(guest.mem_total() - before), before // 100)
        self.assertNotIn('Memory above', guest.cmd(
            'cat /sys/kernel/debug/fadump/fadump_region'))
        self.assert_content(guest, descriptor, pages)
        # The host need not keep two guests' worth until the end.
        before_discard = self.resident(guest)
        for r in descriptor.ranges:
            guest.cmd(f'echo {r["addr"]} {r["len"]} > {FADUMP}/discard')
        self.assertLess(self.resident(guest), before_discard - 64 * MIB)
        self.release(guest)
        self.assert_released(guest, before)
        self.assert_quiet(guest)

    def test_move(self):
        """
        :avocado: tags=machine:q35,kernel:6.12
        """
        self.check_full('6.12')

    @full_only
    def test_swap(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check_full('6.1', backend='memory-backend-memfd,share=on')


class Discard(Modes):
    """What has been saved can be given back while the rest is still read."""

    def assert_refused(self, guest, text, errno):
        status, said = guest.run(f"echo '{text}' > {FADUMP}/discard")
        self.assertNotEqual(status, 0, text)
        self.assertIn(errno, said.decode(), text)

    def test_discard(self):
        """
        :avocado: tags=machine:q35,kernel:6.12
        """
        guest = self.start(kernel='6.12')
        self.assertFalse(guest.exists(f'{FADUMP}/discard'))
        self.fill(guest)
        guest.crash()
        self.assert_captured(guest)
        if not guest.exists(f'{FADUMP}/discard'):
            self.skipTest('this device has no DISCARD')
        self.assertEqual(guest.cmd(f'stat -c %a {FADUMP}/discard'), '200')

        load = max((p for p in self.vmcore(guest).loads
                    if p.paddr < self.boot_mem), key=lambda p: p.filesz)
        length = 256 << 10

        def read(at, size):
            return guest.read_file(VMCORE, at, size)

        # Where there was something: the kernel's text, say
        base = (load.paddr + 32 * MIB) & -(2 * MIB)
        start, offset = next(
            (at, load.offset + at - load.paddr)
            for at in range(base, load.paddr + load.filesz - length, 2 * MIB)
            if any(read(load.offset + at - load.paddr, length)))

        for text in ('', '1', '4096', 'all', '4096 4096 4096', '0x1000,0x1000',
                     '4096 1', '1 4096', '4096 0', '-4096 4096', '4096 -4096',
                     '0xfffffffffffff000 0x1000', '0x1000 0xfffffffffffff000',
                     '1' * 100):
            self.assert_refused(guest, text, 'Invalid argument')
        edges = [(offset - 4096, 4096), (offset + length, 4096)]
        around = [read(*e) for e in edges]
        guest.cmd(f'echo {start:#x} {length} > {FADUMP}/discard')
        self.assertFalse(any(read(offset, length)), 'content is still there')
        self.assertEqual([read(*e) for e in edges], around)
        # The host saves all of it or nothing: no pipe that nobody reads ends.
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        guest.qmp.getfd('pipe', writer)
        os.close(writer)
        start_event = len(guest.qmp.poll())
        guest.qmp.cmd('fadump-save', protocol='fd:pipe')
        self.assert_refused(guest, '0x100000 0x1000', 'Device or resource busy')
        guest.qmp.cmd('fadump-save-cancel')
        guest.qmp.wait_event('FADUMP_SAVE_COMPLETED', start=start_event)

        # Twice does no harm; nor does all of it, and the host has it back.
        before = self.resident(guest)
        guest.cmd(f'echo {start:#x} {length:#x} > {FADUMP}/discard')
        guest.cmd(f'echo {load.paddr:#x} {load.filesz:#x} > {FADUMP}/discard')
        self.assertFalse(any(any(read(*e)) for e in edges))
        # KASLR decides how much of the kernel lies in that range.
        self.assertLess(self.resident(guest), before - 24 * MIB)
        self.release(guest)
        self.assertFalse(guest.exists(f'{FADUMP}/discard'))
        self.assert_quiet(guest)


if __name__ == '__main__':
    main()
