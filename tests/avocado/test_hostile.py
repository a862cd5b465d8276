#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A hostile guest cannot hurt the device, and a lying device cannot hurt the
guest."""

import os
import re
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FADUMP, FadumpTest, MIB, VMCORE, abi, main

HOSTILE = '/sys/kernel/debug/fadump_hostile'
# Flags of a virtqueue descriptor
NEXT, WRITE, INDIRECT = 1, 2, 4


def request(type_, data=b'', size=None):
    header = abi.req.pack(type=type_,
                          size=abi.req.size + len(data) if size is None
                          else size)
    return header + data


def region(type_, src=0, len_=0, dst=0, reserved=0):
    return abi.region.pack(type=type_, src=src, len=len_, dst=dst,
                           reserved=reserved)


# What a guest with 1 GiB has of boot memory
BOOT = 512 * MIB


def register(*regions, count=None, reserved=0, boot_mem=BOOT, **keys):
    return request(abi.REQ_REGISTER,
                   struct.pack('<IIQ',
                               len(regions) if count is None else count,
                               reserved, boot_mem) + b''.join(regions), **keys)


def get_boot_mem(size=0):
    return request(abi.REQ_GET_BOOT_MEM, struct.pack('<Q', size))


class HostileGuest(FadumpTest):
    """A test module (tests/guest/modules/fadump_hostile.c) takes the driver's
    place and sends what no driver would."""

    def load(self, guest):
        guest.cmd('modprobe fadump_hostile')
        self.assertTrue(guest.exists(HOSTILE))

    def rebind(self, guest):
        """The device wants a reset after a broken ring: give it one."""
        guest.cmd('cd /sys/bus/virtio/drivers/fadump_hostile; '
                  'v=$(basename $(ls -d virtio*)); '
                  'echo $v > unbind; echo $v > bind')

    def submit(self, guest, out, descriptors):
        """What became of it, and the bytes of the answer buffer."""
        text = ''.join(f'\\x{b:02x}' for b in out)
        # A line of the command port may have some 4000 bytes.
        step = 4 * 200
        guest.cmd('rm -f /tmp/out')
        for i in range(0, len(text), step):
            guest.cmd(f"printf '{text[i:i + step]}' >> /tmp/out")
        if out:
            guest.cmd(f'cat /tmp/out > {HOSTILE}/out')
        guest.cmd(f'echo "{descriptors}" > {HOSTILE}/submit')
        return (guest.cmd(f'cat {HOSTILE}/result'),
                guest.read_file(f'{HOSTILE}/in', 0, 4096))

    def ask(self, guest, out, room=64):
        """Send a request as a driver would; the answer's header."""
        result, answer = self.submit(
            guest, out, f'o:0:{len(out)}:{NEXT}:1 i:0:{room}:{WRITE}:0')
        used = re.fullmatch(r'used (\d+)', result)
        self.assertTrue(used, f'the device said "{result}"')
        self.assertGreaterEqual(int(used.group(1)), abi.resp.size)
        # Nothing behind what it says to have written.
        self.assertEqual(set(answer[int(used.group(1)):room]) - {0xa5}, set())
        return abi.resp.unpack(answer)

    def config(self, guest, field):
        offset, fmt = abi.config.fields[field]
        guest.cmd(f'echo "{offset} {struct.calcsize(fmt)}" > {HOSTILE}/config')
        return int(guest.cmd(f'cat {HOSTILE}/result'))

    def trigger(self, guest, value, width=4):
        guest.cmd(f'echo "{abi.config.offset("trigger")} {width} {value}" > '
                  f'{HOSTILE}/config')

    def assert_refused(self, guest, out, status, state, detail=None, room=64):
        answer = self.ask(guest, out, room)
        self.assertEqual(abi.constant_name('S_', answer['status']), status)
        self.assertEqual(answer['size'], 0)
        if detail is not None:
            self.assertEqual(answer['detail'], detail)
        self.assertEqual(self.config(guest, 'state'), state,
                         'a refused request changed the state')

    def boot_mem(self, guest, size=0):
        """What the device grants of that size, and the ranges of it."""
        room = abi.boot_mem.size + 64 * abi.extent.size
        answer = self.ask(guest, get_boot_mem(size), room)
        self.assertEqual(answer['status'], abi.S_OK)
        data = guest.read_file(f'{HOSTILE}/in', 0,
                               abi.resp.size + answer['size'])
        told = abi.boot_mem.unpack(data)
        self.assertEqual(answer['size'], abi.boot_mem.size - abi.resp.size +
                         told['nr_ranges'] * abi.extent.size)
        return told['size'], [
            tuple(abi.extent.unpack(data, abi.boot_mem.size +
                                    i * abi.extent.size).values())
            for i in range(told['nr_ranges'])]

    def bad_registrations(self, guest, boot):
        """(what, request, status, detail)"""
        cpu = region(abi.REGION_CPU_STATE)

        def mem(src, len_, dst=abi.DST_HOST, **keys):
            return region(abi.REGION_BOOT_MEM, src, len_, dst, **keys)

        good = mem(0, boot)
        note = region(abi.REGION_VMCOREINFO, 0x100000, 4096)
        limit = self.config(guest, 'max_regions')
        top = 1 << 64
        bad = 'S_BAD_REGION'
        return [
            ('no regions', register(), 'S_MISSING_REGION', None),
            ('no CPU state', register(good), 'S_MISSING_REGION',
             abi.REGION_CPU_STATE),
            ('no boot memory', register(cpu), 'S_MISSING_REGION',
             abi.REGION_BOOT_MEM),
            ('half of boot memory', register(cpu, mem(0, boot // 2)),
             'S_MISSING_REGION', abi.REGION_BOOT_MEM),
            ('all but the last of it', register(cpu, mem(0, boot - abi.ALIGN)),
             'S_MISSING_REGION', abi.REGION_BOOT_MEM),
            ('the ranges of another size',
             register(cpu, good, boot_mem=boot // 2), bad, 1),
            ('no size', register(cpu, good, boot_mem=0), 'S_MALFORMED', None),
            ('a size that was not granted',
             register(cpu, good, boot_mem=boot - 1), 'S_MALFORMED', None),
            ('a size beyond the limit',
             register(cpu, good, boot_mem=1 << 63), 'S_MALFORMED', None),
            ('a size that overflows when it is rounded',
             register(cpu, good, boot_mem=(1 << 64) - 1), 'S_MALFORMED', None),
            ('overlap', register(cpu, mem(0, boot // 2 + abi.ALIGN),
                                 mem(boot // 2, boot // 2)), bad, 2),
            ('the same twice', register(cpu, good, good), bad, 2),
            ('wraps', register(cpu, mem(top - 4096, 8192)), bad, 1),
            ('wraps to all', register(cpu, mem(4096, top - 4096)), bad, 1),
            ('outside RAM', register(cpu, mem(1 << 40, boot)), bad, 1),
            ('beyond boot memory', register(cpu, mem(0, boot + 4096)), bad, 1),
            ('source not aligned', register(cpu, mem(1, boot)), bad, 1),
            ('source aligned to pages only',
             register(cpu, mem(0, boot // 2), mem(boot // 2 + 4096,
                                                  boot // 2 - 4096)), bad, 2),
            ('length not aligned', register(cpu, mem(0, boot - 1)), bad, 1),
            ('length aligned to pages only',
             register(cpu, mem(0, boot // 2 + 4096),
                      mem(boot // 2 + 4096, boot // 2 - 4096)), bad, 1),
            ('length zero', register(cpu, good, mem(0, 0)), bad, 2),
            ('destination in the guest', register(cpu, mem(0, boot, boot)),
             bad, 1),
            ('padding', register(cpu, mem(0, boot, reserved=1)), bad, 1),
            ('CPU state with an address',
             register(region(abi.REGION_CPU_STATE, 4096), good), bad, 0),
            ('CPU state twice', register(cpu, cpu, good), bad, 1),
            ('note twice', register(cpu, good, note, note), bad, 3),
            ('note too long', register(cpu, good, region(
                abi.REGION_VMCOREINFO, 0x100000,
                abi.VMCOREINFO_MAX + 4096)), bad, 2),
            ('note outside RAM', register(cpu, good, region(
                abi.REGION_VMCOREINFO, 1 << 40, 4096)), bad, 2),
            ('note wraps', register(cpu, good, region(
                abi.REGION_VMCOREINFO, top - 16, 4096)), bad, 2),
            ('note with a destination', register(cpu, good, region(
                abi.REGION_VMCOREINFO, 0x100000, 4096, 4096)), bad, 2),
            ('crash note outside RAM', register(cpu, good, region(
                abi.REGION_CRASH_NOTE, guest.memory + (4 << 30), 4096)),
             bad, 2),
            ('crash note too long', register(cpu, good, region(
                abi.REGION_CRASH_NOTE, 0x100000,
                abi.CRASH_NOTE_MAX + 8)), bad, 2),
            ('crash note twice', register(cpu, good, *[region(
                abi.REGION_CRASH_NOTE, 0x100000, 4096)] * 2), bad, 3),
            ('crash note with a destination', register(cpu, good, region(
                abi.REGION_CRASH_NOTE, 0x100000, 4096, 4096)), bad, 2),
            ('unknown type', register(cpu, good, region(77, 0, 4096)),
             'S_UNSUPPORTED', 77),
            ('type zero', register(cpu, good, region(0)), 'S_UNSUPPORTED', 0),
            ('too many', register(cpu, *[mem(i * 4096, 4096)
                                         for i in range(limit)]),
             'S_TOO_MANY', limit),
            ('count beyond the request', register(cpu, good, count=3),
             'S_MALFORMED', None),
            ('count short of the request', register(cpu, good, count=1),
             'S_MALFORMED', None),
            ('count that overflows', register(cpu, good, count=0x8000002),
             None, None),
            ('padding of the request', register(cpu, good, reserved=1),
             'S_MALFORMED', None),
            ('size short', register(cpu, good, size=16), 'S_MALFORMED', None),
            ('size long', register(cpu, good, size=1 << 31),
             'S_MALFORMED', None),
            ('cut off', register(cpu, good)[:12], 'S_MALFORMED', None),
            ('unknown request', request(99), 'S_UNSUPPORTED', 99),
            ('request zero', request(0), 'S_UNSUPPORTED', 0),
            ('unregister with data', request(abi.REQ_UNREGISTER, b'\0' * 8),
             'S_MALFORMED', None),
            ('boot memory, cut off', get_boot_mem()[:12], 'S_MALFORMED', None),
            ('boot memory, with more', request(abi.REQ_GET_BOOT_MEM,
                                               b'\0' * 16),
             'S_MALFORMED', None),
        ]

    def bad_rings(self):
        """(what, descriptors): the ring itself is wrong. Where memory is that
        is none, QEMU reads what an empty bus gives and writes into the void,
        and the request has its answer; everything else breaks the ring."""
        return [
            ('chain that loops', f'o:0:8:{NEXT}:1 i:0:64:{NEXT | WRITE}:0'),
            ('descriptor that is its own next', f'o:0:8:{NEXT}:0'),
            ('next beyond the table', f'o:0:8:{NEXT}:4095 i:0:64:{WRITE}:0'),
            ('head beyond the table', f'o:0:8:{NEXT}:1 i:0:64:{WRITE}:0 '
                                      'head=4095'),
            ('readable after writable', f'i:0:64:{NEXT | WRITE}:1 o:0:8:0:0'),
            ('length zero', f'o:0:0:{NEXT}:1 i:0:64:{WRITE}:0'),
            ('no room for an answer', 'o:0:8:0:0'),
            ('room for half an answer', f'o:0:8:{NEXT}:1 i:0:8:{WRITE}:0'),
            ('request outside RAM', f'a:0xffffff000000:8:{NEXT}:1 '
                                    f'i:0:64:{WRITE}:0'),
            ('answer outside RAM', f'o:0:8:{NEXT}:1 '
                                   f'a:0xffffff000000:64:{WRITE}:0'),
            ('answer outside RAM, at the end of the address space',
             f'o:0:8:{NEXT}:1 a:0xfffffffffffffff8:64:{WRITE}:0'),
            ('indirect table of odd length', f'o:0:9:{INDIRECT}:0'),
            ('indirect table in the void', f'a:0xffffff000000:32:{INDIRECT}:0'),
            ('indirect with next', f'o:0:32:{INDIRECT | NEXT}:1 '
                                   f'i:0:64:{WRITE}:0'),
        ]

    def test_requests(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        guest = self.guest('6.1', memory='1G', vcpus=1,
                           cmdline='fadump_test.nodriver')
        self.load(guest)
        idle, registered, available = (abi.STATE_IDLE, abi.STATE_REGISTERED,
                                       abi.STATE_DUMP_AVAILABLE)
        resets = guest.qmp.count('RESET')

        # Not registered: nothing but REGISTER does anything.
        self.assertEqual(self.config(guest, 'state'), idle)
        self.assertEqual(self.config(guest, 'trigger'), 0)
        boot = self.config(guest, 'boot_mem')
        self.assertEqual(boot, BOOT)
        for value in (abi.TRIGGER_PANIC, abi.TRIGGER_YIELD,
                      abi.TRIGGER_UNREGISTER, 0, 9, 0xffffffff):
            self.trigger(guest, value)
            self.assertEqual(self.config(guest, 'state'), idle)

        # What is asked for is rounded up and has a limit; nothing overflows.
        most = self.config(guest, 'boot_mem_max')
        self.assertEqual(most, 512 * MIB)
        for size, granted in ((0, boot), (1, 128 * MIB), (128 * MIB,) * 2,
                              (129 * MIB, 256 * MIB), (most,) * 2,
                              (most + 1, most), ((1 << 64) - 1, most)):
            self.assertEqual(self.boot_mem(guest, size),
                             (granted, [(0, granted)]))
        for room in (abi.boot_mem.size, abi.boot_mem.size + 8):
            self.assert_refused(guest, get_boot_mem(), 'S_NO_SPACE', idle,
                                abi.boot_mem.size + abi.extent.size, room)

        for type_ in (abi.REQ_UNREGISTER, abi.REQ_RELEASE):
            self.assert_refused(guest, request(type_), 'S_NONE', idle)
        for what, out, status, detail in self.bad_registrations(guest, boot):
            with self.subTest(registration=what):
                if status is None:
                    answer = self.ask(guest, out)
                    self.assertNotEqual(answer['status'], abi.S_OK)
                    self.assertEqual(self.config(guest, 'state'), idle)
                else:
                    self.assert_refused(guest, out, status, idle, detail)

        # A ring that is wrong: the device goes no further, and after a reset
        # it serves as ever.
        for what, descriptors in self.bad_rings():
            with self.subTest(ring=what):
                result, _ = self.submit(
                    guest, request(abi.REQ_UNREGISTER), descriptors)
                if 'outside' not in what:
                    self.assertNotIn('used', result)
                self.assertTrue(guest.alive())
                self.assertEqual(self.config(guest, 'state'), idle)
                self.rebind(guest)
                self.assert_refused(guest, request(abi.REQ_UNREGISTER),
                                    'S_NONE', idle)

        # The other config fields are read-only, and a write of part of the
        # trigger triggers nothing.
        self.assertEqual(self.ask(guest, register(
            region(abi.REGION_CPU_STATE),
            region(abi.REGION_BOOT_MEM, 0, boot, abi.DST_HOST)))['status'],
            abi.S_OK)
        self.assertEqual(self.config(guest, 'state'), registered)
        guest.cmd(f'echo "0 4 77" > {HOSTILE}/config; '
                  f'echo "{abi.config.offset("state")} 4 2" > {HOSTILE}/config')
        self.assertEqual(self.config(guest, 'state'), registered)
        for value in (0, 9, 0x10001, 0xffffffff):
            self.trigger(guest, value)
        self.assertEqual(self.config(guest, 'state'), registered)

        # Registered: a second REGISTER is refused, good or bad.
        for out in (register(region(abi.REGION_CPU_STATE),
                             region(abi.REGION_BOOT_MEM, 0, boot,
                                    abi.DST_HOST)), register()):
            self.assert_refused(guest, out, 'S_EXISTS', registered)
        self.assert_refused(guest, request(abi.REQ_RELEASE), 'S_NONE',
                            registered)
        self.assertEqual(guest.qmp.count('RESET'), resets,
                         'something here reset the machine')

        # Unregistered by the register: a reset is no crash.
        self.trigger(guest, abi.TRIGGER_UNREGISTER)
        self.assertEqual(self.config(guest, 'state'), idle)
        self.assertEqual(self.ask(guest, register(
            region(abi.REGION_CPU_STATE),
            region(abi.REGION_BOOT_MEM, 0, boot, abi.DST_HOST)))['status'],
            abi.S_OK)

        # A dump is held, taken without a note of the guest's.
        full = guest.mem_total()
        guest.crash('echo 1 > /proc/sys/kernel/panic; '
                    'echo c > /proc/sysrq-trigger')
        self.assertLess(guest.mem_total(), full * 0.6)
        self.load(guest)
        self.assertEqual(self.config(guest, 'state'), available)
        size = self.config(guest, 'desc_size')
        self.assert_refused(guest, register(
            region(abi.REGION_CPU_STATE),
            region(abi.REGION_BOOT_MEM, 0, boot, abi.DST_HOST)),
            'S_BUSY', available)
        self.assert_refused(guest, request(abi.REQ_UNREGISTER), 'S_NONE',
                            available)
        for what, descriptors in self.bad_rings():
            with self.subTest(ring=what, state='dump held'):
                result, _ = self.submit(guest, get_boot_mem(), descriptors)
                if 'outside' not in what:
                    self.assertNotIn('used', result)
                self.assertTrue(guest.alive())
                self.assertEqual(self.config(guest, 'state'), available)
                self.rebind(guest)
        descriptor = self.descriptor(guest)
        self.assertEqual(len(descriptor.data), size)
        self.assertEqual(descriptor.cause, 'CAUSE_GUEST_RESET')
        self.assertEqual(self.ask(guest, request(abi.REQ_RELEASE))['status'],
                         abi.S_OK)
        self.assertEqual(self.config(guest, 'state'), idle)
        self.assert_refused(guest, request(abi.REQ_RELEASE), 'S_NONE', idle)

        # After all this: the real driver, and a real crash.
        guest.cmd('rmmod fadump_hostile; modprobe fadump-virtio')
        self.assert_registered(guest)
        guest.crash()
        guest.cmd('modprobe fadump-virtio')
        self.assert_captured(guest)


class LyingDevice(FadumpTest):
    """What the driver reads of a dump is changed under it, from the host: the
    window is read-only for the guest."""

    def lies(self, true):
        """(what, descriptor, what the driver should say)"""
        desc, rng = abi.desc, abi.range
        header = true.header

        def change(field, value, seal=True):
            data = bytearray(true.data)
            desc.poke(data, field, value)
            return abi.reseal(data) if seal else bytes(data)

        def change_range(index, seal=True, **fields):
            data = bytearray(true.data)
            at = header['ranges_off'] + index * header['range_size']
            for field, value in fields.items():
                rng.poke(data, field, value, at)
            return abi.reseal(data) if seal else bytes(data)

        def change_vcpu(index, **fields):
            data = bytearray(true.data)
            at = header['vcpus_off'] + index * header['vcpu_size']
            for field, value in fields.items():
                abi.vcpu.poke(data, field, value, at)
            return abi.reseal(data)

        place = next(i for i, r in enumerate(true.ranges)
                     if r['where'] == abi.WHERE_IN_PLACE)
        held = next(i for i, r in enumerate(true.ranges)
                    if r['where'] == abi.WHERE_WINDOW)
        top = 1 << 64
        return [
            ('wrong checksum', change('checksum', header['checksum'] ^ 1,
                                      seal=False), 'checksum'),
            ('one bit of content', change_range(
                place, seal=False, len=true.ranges[place]['len'] ^ 0x1000),
             'checksum'),
            ('wrong magic', change('magic', b'FADUMPKX'), 'magic'),
            ('newer version', change('version', abi.DESC_VERSION + 1), 'version'),
            ('version 0', change('version', 0), 'version'),
            ('total size beyond the window', change('total_size', 1 << 40),
             'bytes'),
            ('header size of nothing', change('hdr_size', 8), 'header'),
            ('ranges outside', change('ranges_off', header['total_size'] - 8),
             'range'),
            ('more ranges than fit', change('nr_ranges', 0x10000000), 'range'),
            ('range elements of size 0', change('range_size', 0), 'range'),
            ('more vCPUs than fit', change('nr_vcpus', 0xffffffff), 'vCPU'),
            ('vCPUs outside', change('vcpus_off', header['total_size'] - 8),
             'vCPU'),
            ('VMCOREINFO outside', change('vmcoreinfo_off',
                                          header['total_size']), 'VMCOREINFO'),
            ('VMCOREINFO that wraps', change('vmcoreinfo_size', top - 8),
             'VMCOREINFO'),
            ('VMCOREINFO of odd length', change(
                'vmcoreinfo_size', header['vmcoreinfo_size'] - 20), 'note'),
            ('registers outside', change_vcpu(
                0, notes_off=header['total_size']), 'vCPU'),
            ('registers in the header', change_vcpu(0, notes_off=8), 'vCPU'),
            ('registers of no length', change_vcpu(0, notes_size=4), 'note'),
            ('registers that wrap', change_vcpu(0, notes_size=top - 8),
             'vCPU'),
            ("QEMU's note outside", change_vcpu(
                0, hv_note_off=top - 8), 'vCPU'),
            ('crashing vCPU that is none', change('crash_cpu', 64), 'vCPU'),
            ('range over running RAM', change_range(place, addr=0x1000000),
             'range'),
            ('range that wraps', change_range(place, addr=top - 0x1000,
                                              len=0x2000, held=0x2000),
             'range'),
            ('range out of reach', change_range(place, addr=1 << 60), 'range'),
            ('range of length zero', change_range(place, len=0, held=0),
             'range'),
            ('range not aligned', change_range(
                place, addr=true.ranges[place]['addr'] + 8), 'range'),
            ('held memory beyond the window', change_range(
                held, dest=1 << 40), 'range'),
            ('held memory that wraps', change_range(held, dest=top - 0x1000),
             'range'),
            ('held memory over the descriptor', change_range(held, dest=0),
             'range'),
            ('more held than there is', change_range(
                held, held=true.ranges[held]['len'] + 0x1000), 'range'),
            ('unknown place', change_range(held, where=9), 'range'),
            ('boot memory said to be in place', change_range(
                held, where=abi.WHERE_IN_PLACE, dest=0), 'range'),
        ]

    def test_lies(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        guest = self.guest('6.1', memory='1G')
        full = guest.mem_total()
        guest.crash()
        true = self.assert_captured(guest)
        # What the device shows begins with the descriptor.
        window = self.window(guest).start

        for what, data, message in self.lies(true):
            with self.subTest(lie=what):
                # Whatever became of the lie before.
                guest.run('rmmod fadump_virtio')
                guest.write_memory(window, data)
                guest.cmd('dmesg -c > /dev/null; modprobe fadump-virtio; true')
                said = guest.cmd('dmesg')
                self.assertFalse(guest.exists(VMCORE), 'it believed that')
                self.assertRegex(said, rf'fadump: .*{message}')
                self.assert_quiet(guest)
                self.assertNotIn('Call Trace', said)

        # The truth again: the dump is there as if nothing had been.
        guest.cmd('rmmod fadump_virtio')
        guest.write_memory(window, true.data)
        guest.cmd('modprobe fadump-virtio')
        self.assert_captured(guest)
        guest.cmd('rmmod fadump_virtio')

        # Who cannot use it can still drop it, and lives on.
        guest.write_memory(window, abi.reseal(
            true.data[:8] + b'\x63' + true.data[9:]))
        guest.cmd('modprobe fadump-virtio')
        self.assertFalse(guest.exists(VMCORE))
        guest.cmd(f'echo 1 > {FADUMP}/release_mem')
        self.assertEqual(guest.cmd(f'cat {FADUMP}/registered'), '1')
        guest.crash('reboot -f')
        self.assert_mem_total(guest, full)


if __name__ == '__main__':
    main()
