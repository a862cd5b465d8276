#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes the corpora that the fuzzers begin with, corpus/*/*: valid inputs of
each kind. What a fuzzer has found is added to them by hand, under a name that
says what it was (found-*), and is left alone.

  tests/fuzz/make-seeds.py           write them
  tests/fuzz/make-seeds.py --check   are those in the tree as this writes them?
"""

import json
import os
import re
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), 'avocado')]

from vmtest import abi

MIB = 1 << 20
GIB = 1 << 30
EM_X86_64, EM_AARCH64 = 62, 183
NT_PRSTATUS = 1


# ---- dump descriptors: what a device leaves behind ----

def note(name, kind, data):
    name = name.encode() + b'\0'
    return (struct.pack('<III', len(name), len(data), kind) +
            name + b'\0' * (-len(name) % 4) + data + b'\0' * (-len(data) % 4))


def memory(addr, length, where='IN_PLACE', dest=0, flags=(), held=None, **more):
    return abi.range.pack(
        addr=addr, len=length, dest=dest,
        held=length if held is None else held,
        where=getattr(abi, 'WHERE_' + where),
        flags=sum(getattr(abi, 'RANGE_F_' + f) for f in flags),
        node=abi.NODE_NONE, **more)


def descriptor(vcpus, ranges, vmcoreinfo=b'', crash_note=b'', crash_cpu=None,
               grow=0, machine=EM_X86_64, **header):
    """vcpus: [(flags, notes, hypervisor's note)]; grow: what a later version
    has more in the header and in each element"""
    hdr_size = abi.desc.size + grow
    vcpu_size, range_size = abi.vcpu.size + grow, abi.range.size + grow
    vcpus_off = hdr_size
    ranges_off = vcpus_off + len(vcpus) * vcpu_size
    notes_off = ranges_off + len(ranges) * range_size
    notes = b''

    def part(data):
        nonlocal notes
        at = notes_off + len(notes) if data else 0
        notes += data
        return at, len(data)

    table = b''
    for i, (flags, regs, hv) in enumerate(vcpus):
        n_off, n_size = part(regs)
        h_off, h_size = part(hv)
        table += abi.vcpu.pack(arch_id=i, flags=flags, notes_off=n_off,
                               notes_size=n_size, hv_note_off=h_off,
                               hv_note_size=h_size) + bytes(grow)
    table += b''.join(r + bytes(grow) for r in ranges)
    v_off, v_size = part(vmcoreinfo)
    c_off, c_size = part(crash_note)
    notes += bytes(-len(notes) % 8)
    fields = {
        'magic': abi.DESC_MAGIC.encode(), 'version': abi.DESC_VERSION,
        'hdr_size': hdr_size, 'total_size': notes_off + len(notes),
        'flags': abi.DESC_F_ELF64, 'dump_id': b'\x5a' * 16,
        'cause': abi.CAUSE_PANIC,
        'crash_cpu': abi.CPU_NONE if crash_cpu is None else crash_cpu,
        'time_ns': 1234567890123456789, 'capture_ns': 4200000,
        'elf_machine': machine, 'nr_vcpus': len(vcpus),
        'vcpu_size': vcpu_size, 'nr_ranges': len(ranges),
        'range_size': range_size, 'vcpus_off': vcpus_off,
        'ranges_off': ranges_off, 'vmcoreinfo_off': v_off,
        'vmcoreinfo_size': v_size, 'crash_note_off': c_off,
        'crash_note_size': c_size, 'boot_mem': 512 * MIB,
    }
    fields.update(header)
    return bytes(abi.reseal(abi.desc.pack(**fields) + bytes(grow) + table +
                            notes))


def registers(fill, size=32):
    return note('CORE', NT_PRSTATUS, bytes([fill]) * size)


def desc_seeds():
    two = [(0, registers(0x10), note('QEMU', 0, b'\x20' * 40)),
           (0, registers(0x11), note('QEMU', 0, b'\x21' * 40))]
    info = note('VMCOREINFO', 0, b'OSRELEASE=6.1.0\nPAGESIZE=4096\n')
    boot = memory(0, 512 * MIB, 'WINDOW', 2 * MIB, ['BOOT_MEM'])
    low = memory(512 * MIB, 1536 * MIB)
    high = memory(4 * GIB, 2 * GIB)
    return {
        'window': descriptor(two, [boot, low, high], info, registers(0x40), 1),
        'guest': descriptor(two, [
            memory(0, 512 * MIB, 'GUEST', 512 * MIB, ['BOOT_MEM']),
            memory(512 * MIB, 512 * MIB, flags=['DESTINATION'], held=0), high],
            info, registers(0x40), 0),
        'guest-two': descriptor(two, [
            memory(0, 256 * MIB, 'GUEST', 4 * GIB + 256 * MIB, ['BOOT_MEM']),
            memory(256 * MIB, 256 * MIB, 'GUEST', 4 * GIB, ['BOOT_MEM']),
            low, memory(4 * GIB, 512 * MIB, flags=['DESTINATION'], held=0),
            memory(4 * GIB + 512 * MIB, GIB)], info),
        'error': descriptor(two[:1], [
            memory(0, 512 * MIB, 'WINDOW', 2 * MIB, ['BOOT_MEM', 'ERROR'],
                   held=256 * MIB), low]),
        'hotplug': descriptor(two, [boot, low, high, memory(
            8 * GIB, GIB, flags=['HOTPLUG'])]),
        'off': descriptor(
            [two[0], (abi.VCPU_F_OFF, registers(0), b''),
             (abi.VCPU_F_POWER_UNKNOWN, registers(2), b''),
             (abi.VCPU_F_REGS_LOST, registers(0), b'')], [boot, low], info),
        'grown': descriptor(two, [boot, low, high], info, grow=16),
        'arm64': descriptor(
            [(0, registers(1) + note('CORE', 2, b'\x55' * 64) +
              note('LINUX', 0x405, b'\x66' * 16), b'')],
            [memory(GIB, 512 * MIB, 'WINDOW', 2 * MIB, ['BOOT_MEM']),
             memory(GIB + 512 * MIB, GIB)], info, registers(9), 0,
            machine=EM_AARCH64),
    }


# ---- boot memory: see driver-bootmem.c ----

def bootmem_seeds():
    def answer(size, *extents):
        return struct.pack('<Q', size) + b''.join(
            struct.pack('<II', addr >> 16, length >> 12)
            for addr, length in extents)

    return {
        'one': answer(512 * MIB, (0, 512 * MIB)),
        'holes': answer(GIB, (0, 640 << 10), (MIB, 511 * MIB),
                        (4 * GIB, 300 * MIB)),
        'tail': answer(512 * MIB, (0, 512 * MIB), (2432 * MIB, 68 * MIB),
                       (4 * GIB + 64 * 1024, 12288)),
        'bytes': answer(GIB, (0, 512 * MIB)) +
                 struct.pack('<QQQ', 0xff, 5 * GIB, GIB),
    }


# ---- QEMU's ranges: see qemu-range.c ----

def range_seeds():
    def sets(block, limit, size, *pairs):
        return struct.pack('<BBH', block, limit, size) + b''.join(
            struct.pack('<BII', which, base >> 12, length >> 12)
            for which, base, length in pairs)

    return {
        'q35': sets(15, 1, 512, (0, 0, 2 * GIB), (0, 4 * GIB, 4 * GIB),
                    (1, 0, 512 * MIB)),
        'pc': sets(15, 0, 3072, (0, 0, 3 * GIB), (1, MIB, 127 * MIB),
                   (1, GIB, MIB)),
        'odd': sets(15, 1, 512, (0, 0, 2500 * MIB), (0, 4 * GIB, 100 * MIB)),
        'virt': sets(9, 0, 256, (0, GIB, 3 * GIB), (1, GIB, 256 * MIB)),
    }


# ---- the device's life: see qemu/tests/qtest/fuzz/fadump_fuzz.c ----

FADUMP_FUZZ = os.path.join(os.path.dirname(os.path.dirname(HERE)), 'qemu',
                           'tests', 'qtest', 'fuzz', 'fadump_fuzz.c')
# what a reset can be caused by, and whether a driver comes up after it
HOST, GUEST, PANICKED, SUBSYSTEM, NO_DRIVER = 0, 4, 5, 6, 130


def device_seeds():
    with open(FADUMP_FUZZ, encoding='utf-8') as f:
        names = re.findall(r'^    (OP_\w+),', f.read(), re.M)
    number = {name: n for n, name in enumerate(names)}

    def op(name, *data):
        return bytes([number['OP_' + name], *data])

    register = op('REGISTER', 0)
    notes = op('NOTE', 32, 0, 0, 0, 0) + op('NOTE', 64, 0, 0, 0, 1)
    crash = op('TRIGGER', abi.TRIGGER_PANIC) + op('RESET', GUEST)
    release = op('SIMPLE_REQUEST', abi.REQ_RELEASE)
    window = op('WINDOW', 0, 0, 0, 0) + op('WINDOW', 0, 0, 0x10, 0)
    raw = abi.get_boot_mem.pack(type=abi.REQ_GET_BOOT_MEM, size=200 * MIB)
    return {
        'life': register + crash + window + op('DISCARD', 0, 8) + release +
                register + op('SIMPLE_REQUEST', abi.REQ_UNREGISTER),
        # how: 4 and 8 are VMCOREINFO and the crash note
        'notes': notes + op('REGISTER', 12, 0, 0, 60, 0, 0, 1, 60, 0) +
                 crash + window + release,
        'guest': op('REGISTER', 1, 32) + crash + window + release,
        'split': op('REGISTER', 3, 0) + crash + release,
        'larger': op('GET_BOOT_MEM', 200, 0) + register +
                  op('RESET', GUEST) + release,
        'nearly': register + op('REGISTER', 0x20, 8, 0, 1, 40, 0, 1),
        'raw': op('ANY_REQUEST', 64, 3, len(raw)) + raw,
        'yield': register + op('TRIGGER', abi.TRIGGER_YIELD) +
                 op('VIRTIO_RESET') + op('RESET', GUEST) + register,
        'causes': register + op('PANIC', 1) + op('RESET', PANICKED) +
                  op('HOST_RELEASE') + register + op('HOST_TRIGGER') +
                  op('RESET', HOST) + op('HOST_RELEASE') + register +
                  op('RESET', SUBSYSTEM),
        'boots': register + crash + op('RESET', GUEST) * 4 +
                 op('RESET', NO_DRIVER) * 2 + op('CLOCK') * 2 + release,
        'twice': register + crash + op('TRIGGER', abi.TRIGGER_PANIC) +
                 op('RESET', GUEST) + op('DISCARD', 0, 64) +
                 op('HOST_RELEASE') + register + crash,
        'config': op('CONFIG_READ', 0) + op('CONFIG_WRITE', 12, 9, 0, 0, 0) +
                  op('CONFIG_WRITE', 0, 2, 0, 0, 0) + op('PROBE', 1),
    }


# ---- registers, and DMA: see QEMU's generic_fuzz.c ----

SEPARATOR = b'FUZZ'
OP_READ, OP_WRITE, OP_DMA_PATTERN, OP_NO_PATTERNS = 2, 3, 7, 8
# the device's regions by their address, and places in the first
COMMON, DEVICE, NOTIFY = 0, 2, 3
FEATURE_SELECT, FEATURE, STATUS, QUEUE, ENABLE, RINGS = 8, 12, 20, 22, 28, 32
DESC, AVAIL, USED, REQUEST, ANSWER = (
    0x1000000, 0x1002000, 0x1004000, 0x1100000, 0x1200000)


def generic_seeds():
    def op(code, *fields):
        return bytes([code]) + b''.join(fields)

    def write(size, region, offset, value):
        return op(OP_WRITE, struct.pack('<BBxxIQ', size, region, offset, value))

    def pattern(data):
        return op(OP_DMA_PATTERN, b'\0\0' + data)

    def request(index, data, room=272):
        """What the device reads, in that order, when it is told to"""
        return [
            op(OP_NO_PATTERNS),
            pattern(struct.pack('<H', index)), pattern(b'\0\0'),
            pattern(struct.pack('<QIHH', REQUEST, len(data), 1, 1)),
            # the buffer itself before the next descriptor
            pattern(data), pattern(struct.pack('<QIHH', ANSWER, room, 2, 0)),
            write(1, NOTIFY, 0, 0)]

    def simple(index, kind):
        return request(index, abi.req.pack(type=kind, size=abi.req.size))

    up = [write(0, COMMON, STATUS, s) for s in (0, 1, 3)]
    for select, features in (0, 0xf), (1, 1):
        up += [write(2, COMMON, FEATURE_SELECT, select),
               write(2, COMMON, FEATURE, features)]
    up += [write(0, COMMON, STATUS, 0xb), write(1, COMMON, QUEUE, 0)]
    for i, address in enumerate((DESC, AVAIL, USED)):
        up += [write(2, COMMON, RINGS + 8 * i, address),
               write(2, COMMON, RINGS + 8 * i + 4, 0)]
    up += [write(1, COMMON, ENABLE, 1), write(0, COMMON, STATUS, 0xf)]

    boot = 128 * MIB
    regions = (abi.region.pack(type=abi.REGION_CPU_STATE) +
               abi.region.pack(type=abi.REGION_BOOT_MEM, len=boot,
                               dst=abi.DST_HOST))
    register = request(1, abi.register.pack(
        type=abi.REQ_REGISTER, size=abi.register.size + len(regions),
        nr_regions=2, boot_mem=boot) + regions)
    trigger = abi.config.offset('trigger')
    look = [op(OP_READ, struct.pack('<BBxxI', 2, DEVICE, at))
            for at in (0, 4, 40, 48, 56)]
    seeds = {
        'boot-mem': up + request(1, abi.get_boot_mem.pack(
            type=abi.REQ_GET_BOOT_MEM, size=abi.get_boot_mem.size)) + look,
        'register': up + register + look,
        'unregister': up + register + simple(2, abi.REQ_UNREGISTER),
        'crash': up + register + [write(2, DEVICE, trigger, 1)],
        'yield': up + register + [write(2, DEVICE, trigger, 2)],
        'release': up + simple(1, abi.REQ_RELEASE) + look,
        'discard': up + request(1, abi.discard.pack(
            type=abi.REQ_DISCARD, size=abi.discard.size, len=2 * MIB)),
    }
    return {name: SEPARATOR.join(ops) for name, ops in seeds.items()}


# ---- what QEMU says to fadump-ctl ----

DUMP = {
    'id': '1b4e28ba-2fa1-11d2-883f-0016d3cca427', 'cause': 'panic',
    'crash-cpu': 1, 'time': 1763600000, 'vcpus': 2, 'lost-registers': [1],
    'vmcoreinfo': True, 'memory': 2147090432, 'held': 536477696,
    'capture-time': 4100000, 'boots': 0, 'lost': 0,
}
SAVE = {'status': 'running', 'id': DUMP['id'], 'written': 4096,
        'total': 2147090432}
INFO = {'state': 'dump-available', 'early': False, 'boot-mem': 512 * MIB,
        'max-boots': 3, 'dump': DUMP, 'save': SAVE}
STAMP = {'seconds': 1763600000, 'microseconds': 123456}


def event(name, **data):
    return {'timestamp': STAMP, 'event': name, 'data': data}


def qmp_seeds():
    events = {
        'captured': event('FADUMP_CAPTURED', dump=DUMP),
        'save': event('FADUMP_SAVE_COMPLETED', save=dict(SAVE, error='full')),
        'released': event('FADUMP_RELEASED', id=DUMP['id'], reason='guest'),
        'failed': event('FADUMP_FAILED', cause='panic', error='no memory'),
        'reset': event('RESET', guest=False, reason='guest-reset'),
    }
    greeting = {'QMP': {'version': {'qemu': {'major': 10}},
                        'capabilities': ['oob']}}
    talks = {
        'idle': [greeting, {'return': {}, 'id': 1}, {'return': {
            'state': 'idle', 'early': True, 'boot-mem': 1, 'max-boots': 0},
            'id': 2}],
        'held': [greeting, {'return': {}, 'id': 1},
                 {'return': INFO, 'id': 2}, *events.values()],
        'early-events': [events['reset'], greeting, events['captured'],
                         {'return': {}, 'id': 1}, events['failed'],
                         {'return': {}, 'id': 7}, {'return': INFO, 'id': 2},
                         events['save']],
        'error': [greeting, {'return': {}, 'id': 1},
                  {'error': {'class': 'CommandNotFound', 'desc': 'no'},
                   'id': 2}],
        'no-id': [greeting, {'return': {}, 'id': 1},
                  {'error': {'class': 'GenericError', 'desc': 'JSON'}}],
    }
    return {name: b''.join(json.dumps(m).encode() + b'\r\n' for m in talk)
            for name, talk in talks.items()}


def text_seeds():
    data = json.dumps({'dump': DUMP})
    return {
        'virsh-event': b'\0event FADUMP_CAPTURED at 1763600000.123456 for '
                       b"domain 'guest': " + data.encode(),
        'virsh-plain': b"\0event RESET at 1.000000 for domain 'a': b': "
                       b'{"guest":true}',
        'virsh-end': b'\0error: Domain not found',
        'makedumpfile': b'\1Copying data : [ 12.0 %]\r'
                        b'STEP [Copying data] : 1.0 seconds\n'
                        b"write_cache: Can't write the dump file(core). No "
                        b'space left on device\nmakedumpfile Failed.\n',
        'printable': b'\2plain \x1b[31mred\x07 \xe2\x80\xae\xff\xc3\xa4\n\n',
    }


CORPORA = {
    'desc': desc_seeds, 'bootmem': bootmem_seeds, 'range': range_seeds,
    'device': device_seeds, 'generic': generic_seeds, 'qmp': qmp_seeds, 'text': text_seeds,
}


def main():
    differs = []
    for corpus, seeds in CORPORA.items():
        directory = os.path.join(HERE, 'corpus', corpus)
        os.makedirs(directory, exist_ok=True)
        for name, data in seeds().items():
            path = os.path.join(directory, name)
            if '--check' in sys.argv:
                with open(path, 'rb') as f:
                    if f.read() != data:
                        differs.append(path)
            else:
                with open(path, 'wb') as f:
                    f.write(data)
    if differs:
        sys.exit('not as this writes them: ' + ', '.join(differs))


if __name__ == '__main__':
    main()
