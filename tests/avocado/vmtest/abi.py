# SPDX-License-Identifier: GPL-2.0-or-later
"""The device's interface, read from the one header that defines it, so that
there is no second set of offsets to keep. Constants and structures are
attributes without their VIRTIO_FADUMP_/virtio_fadump_ prefix: abi.S_OK,
abi.desc.unpack(data)."""

import builtins
import os
import re
import struct
import sys
import zlib

from .build import TOP

HEADER = os.path.join(TOP, 'guest', 'include', 'uapi', 'linux',
                      'virtio_fadump.h')

_CODES = {'__u8': 'B', '__le16': 'H', '__le32': 'I', '__le64': 'Q'}


class Struct:
    """One structure: names, offsets and sizes of its fields."""

    def __init__(self, name):
        self.name = name
        self.fields = {}        # name: (offset, format)
        self.size = 0

    def add(self, name, fmt):
        unit = struct.calcsize('<' + fmt.lstrip('0123456789'))
        # The header promises natural alignment with explicit padding, which
        # makes the compiler's layout equal to this one.
        if self.size % unit:
            raise ValueError(f'{self.name}.{name} is not naturally aligned')
        self.fields[name] = (self.size, fmt)
        self.size += struct.calcsize('<' + fmt)

    def offset(self, field):
        return self.fields[field][0]

    def unpack(self, data, at=0):
        result = {}
        for name, (offset, fmt) in self.fields.items():
            value = struct.unpack_from('<' + fmt, data, at + offset)
            result[name] = (bytes(value) if fmt[0].isdigit() and fmt[-1] == 'B'
                            else value[0])
        return result

    def pack(self, **values):
        data = bytearray(self.size)
        for name, value in values.items():
            self.poke(data, name, value)
        return bytes(data)

    def poke(self, data, field, value, at=0):
        """Set one field in a bytearray that holds the structure at `at`."""
        offset, fmt = self.fields[field]
        if isinstance(value, bytes):
            value = value.ljust(struct.calcsize('<' + fmt), b'\0')
            data[at + offset:at + offset + len(value)] = value
        else:
            struct.pack_into('<' + fmt, data, at + offset, value)


def _constants(text):
    values = {}
    for name, expr in re.findall(
            r'^#define\s+VIRTIO_(\w+)[ \t]+(.+?)[ \t]*$', text, re.M):
        name = name.removeprefix('FADUMP_')
        expr = re.sub(r'\b(0x[0-9a-fA-F]+|\d+)[UL]+\b', r'\1', expr)
        if not re.fullmatch(r'[\w\s()~<*+|"/.-]+', expr):
            continue
        value = eval(expr, {'__builtins__': {}})  # pylint: disable=eval-used
        values[name] = value
    return values


def _parse(path):
    with open(path, encoding='utf-8') as f:
        text = re.sub(r'/\*.*?\*/', '', f.read(), flags=re.S)
    # The two all-ones constants differ in width, which Python cannot tell.
    text = re.sub(r'\(~\(__u32\)0\)', '0xffffffff', text)
    text = re.sub(r'\(~\(__u64\)0\)', '0xffffffffffffffff', text)
    names = _constants(text)
    structs = {}
    for name, body in re.findall(
            r'^struct virtio_fadump_(\w+) \{(.*?)^\};', text, re.S | re.M):
        s = structs[name] = Struct(name)
        fields = re.findall(r'([\w ]+?)\s+(\w+)(\[\w*\])?;', body)
        own = [field for _, field, _ in fields]
        for kind, field, array in fields:
            kind = kind.strip()
            if array == '[]':
                continue
            if kind.startswith('struct virtio_fadump_'):
                inner = structs[kind.removeprefix('struct virtio_fadump_')]
                # the fields of a header are the structure's own, but for
                # those whose names it has itself
                for sub, (_, fmt) in inner.fields.items():
                    s.add(sub if field == 'hdr' and sub not in own
                          else f'{field}_{sub}', fmt)
            else:
                s.add(field, (array.strip('[]') if array else '') +
                      _CODES[kind])
    return names, structs


# Where QEMU shows the descriptor to firmware and initramfs scripts
FW_CFG_FILE = 'etc/fadump-dump'

_names, _structs = _parse(HEADER)
globals().update(_names)
globals().update(_structs)
_this = sys.modules[__name__]


def constant_name(prefix, value):
    """CAUSE_PANIC for ('CAUSE_', 1)"""
    for name, v in _names.items():
        if name.startswith(prefix) and v == value:
            return name
    return f'{prefix}{value}'


class Descriptor:
    """A dump descriptor as the device left it; ValueError if it is not one."""

    def __init__(self, data):
        s = _structs['desc']
        if len(data) < s.size:
            raise ValueError(f'{len(data)} bytes are no descriptor')
        h = s.unpack(data)
        if h['magic'] != _names['DESC_MAGIC'].encode():
            raise ValueError(f'wrong magic {h["magic"]!r}')
        if h['total_size'] > len(data):
            raise ValueError(f'{h["total_size"]} bytes announced, '
                             f'{len(data)} there')
        data = bytes(data[:h['total_size']])
        if checksum(data) != h['checksum']:
            raise ValueError('wrong checksum')
        self.data = data
        self.header = h
        self.vcpus = self._table('vcpu', h['vcpus_off'], h['nr_vcpus'],
                                 h['vcpu_size'])
        self.ranges = self._table('range', h['ranges_off'], h['nr_ranges'],
                                  h['range_size'])
        self.vmcoreinfo = self.part(h, 'vmcoreinfo')
        self.crash_note = self.part(h, 'crash_note')

    def part(self, element, name):
        """Bytes of one of an element's parts: its notes, say"""
        off = element[name + '_off']
        return self.data[off:off + element[name + '_size']]

    def notes(self):
        """All of them, as an ELF file has them"""
        return b''.join([self.part(v, 'notes') for v in self.vcpus] +
                        [self.part(v, 'hv_note') for v in self.vcpus] +
                        [self.vmcoreinfo])

    def _table(self, name, offset, count, size):
        # This module's own "range" is the structure of that name.
        return [_structs[name].unpack(self.data, offset + i * size)
                for i in builtins.range(count)]

    @property
    def cause(self):
        return constant_name('CAUSE_', self.header['cause'])

    @property
    def crash_cpu(self):
        return self.header['crash_cpu']

    @property
    def boot_mem(self):
        return self.header['boot_mem']

    def held_outside(self):
        """Bytes that were set aside out of the guest's RAM."""
        return sum(r['held'] for r in self.ranges
                   if r['where'] == _names['WHERE_WINDOW'])

    def set_aside(self, method):
        """Bytes of boot memory that were set aside that way."""
        return sum(r['held'] for r in self.ranges
                   if r['method'] == _names[method])

    def memory(self):
        return sum(r['len'] for r in self.ranges)


def checksum(data):
    data = bytearray(data)
    _structs['desc'].poke(data, 'checksum', 0)
    return zlib.crc32(data)


def reseal(data):
    """The descriptor with the checksum that its content should have."""
    data = bytearray(data)
    _structs['desc'].poke(data, 'checksum', checksum(data))
    return bytes(data)
