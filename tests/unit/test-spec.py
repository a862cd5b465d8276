#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The specification and the header that it describes: every offset, size and
value that the one states is what a compiler makes of the other."""

import os
import re
import shutil
import subprocess
import sys
import unittest

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOP = os.path.dirname(TESTS)
sys.path[:0] = [os.path.join(TESTS, 'avocado')]

from fadump_test import main

UAPI = os.path.join(TOP, 'guest', 'include', 'uapi')
HEADER = os.path.join(UAPI, 'linux', 'virtio_fadump.h')
SPEC = os.path.join(TOP, 'qemu', 'docs', 'specs', 'virtio-fadump.rst')

SIZES = {'u8': 1, 'le32': 4, 'le64': 8}

with open(SPEC, encoding='utf-8') as f:
    TEXT = f.read()
with open(HEADER, encoding='utf-8') as f:
    CODE = re.sub(r'/\*.*?\*/', '', f.read(), flags=re.S)


def tables():
    """[(title, [row of columns])], the titles' rows and continued lines left
    out"""
    result = []
    for title, body in re.findall(
            r'^\.\. table::(.*)\n\n((?:   .*\n)+)', TEXT, re.M):
        lines = body.splitlines()
        ends = [m.span() for m in re.finditer('=+', lines[0])]
        rows = [[line[a:b if b < ends[-1][1] else None].strip()
                 for a, b in ends] for line in lines[1:]]
        result.append((title.strip(), [r for r in rows[2:-1] if r[0]]))
    return result


def structures():
    """{name: (size, [(offset, type, field)])}"""
    result = {}
    for title, rows in tables():
        match = re.match(r'``struct (\w+)``, (\d+) bytes', title)
        if match:
            result[match[1]] = (int(match[2]), [
                (int(r[0]), r[1], r[2].strip('`')) for r in rows])
    return result


def values():
    """{constant: the C expression that it must be equal to}"""
    result = {}
    for _, rows in tables():
        for row in rows:
            if re.fullmatch(r'VIRTIO_FADUMP_\w+', row[1]):
                bit = '_F_' in row[1]
                result[row[1]] = f'(1u << {row[0]})' if bit else row[0]
    for name, bit in re.findall(r'^(VIRTIO_FADUMP_F_\w+) \((\d+)\)$', TEXT,
                                re.M):
        result[name] = bit
    for name, bit in re.findall(r'(VIRTIO_FADUMP_DESC_F_\w+) \(bit (\d+)\)',
                                TEXT):
        result[name] = f'(1u << {bit})'
    for name, bits in re.findall(
            r'(VIRTIO_FADUMP_\w+)\s+\(all (\d+) bits\s+set\)', TEXT):
        result[name] = f'(uint{bits}_t)-1'
    for name, value in re.findall(r'^   #define (VIRTIO_FADUMP_\w+) +(.*)',
                                  TEXT, re.M):
        result[name] = value
    result['VIRTIO_ID_FADUMP'] = re.search(
        r'^Device ID\n-+\n\n(\d+)', TEXT, re.M)[1]
    result['VIRTIO_FADUMP_VQ_CTRL'] = re.search(
        r'^(\d+)\n  controlq', TEXT, re.M)[1]
    result['VIRTIO_FADUMP_SHM_ID_WINDOW'] = re.search(
        r'VIRTIO_FADUMP_SHM_ID_WINDOW \((\d+)\)', TEXT)[1]
    result['VIRTIO_FADUMP_DESC_VERSION'] = re.search(
        r'VIRTIO_FADUMP_DESC_VERSION: (\d+)', TEXT)[1]
    return result


# Where scripts/arm64.sh puts the kernel's headers for that architecture
ARM64_ROOT = os.path.join(
    os.environ.get('FADUMP_BUILD', os.path.join(TOP, 'build')), 'arm64')


def arm64_compiler():
    """The command of a compiler for arm64, None if there is none."""
    for name in 'aarch64-linux-gnu-gcc-12', 'aarch64-linux-gnu-gcc':
        if shutil.which(name) and os.path.isdir(ARM64_ROOT):
            return [name, f'--sysroot={ARM64_ROOT}']
    return None


def compile_asserts(asserts, compiler=None):
    """What the compiler (default: this machine's) says of these assertions;
    nothing if all are true."""
    code = ['#include <stddef.h>', '#include <stdint.h>',
            '#include <linux/virtio_fadump.h>',
            '#define field(s, f) ((struct s *)0)->f']
    code += [f'_Static_assert({a}, "");' for a in asserts]
    return subprocess.run(
        [*(compiler or ['cc']), '-std=gnu11', '-ffreestanding', '-fsyntax-only',
         f'-I{UAPI}', '-x', 'c', '-'],
        input='\n'.join(code), text=True, capture_output=True,
        check=False).stderr


def layout_asserts():
    """Sizes and offsets as the specification has them"""
    asserts = []
    for name, (size, rows) in structures().items():
        asserts.append(f'sizeof(struct {name}) == {size}')
        for offset, kind, field in rows:
            asserts.append(f'offsetof(struct {name}, {field}) == {offset}')
            match = re.fullmatch(r'(\w+)(?:\[(\d+)\])?', kind)
            if match:
                width = SIZES[match[1]] * int(match[2] or 1)
                asserts.append(f'sizeof(field({name}, {field})) == {width}')
    return asserts


def value_asserts():
    return [f'{name} == {value}' for name, value in values().items()]


WRONG = 'offsetof(struct virtio_fadump_config, flags) == 8'


class Spec(unittest.TestCase):
    maxDiff = None

    def test_offsets_and_sizes(self):
        asserts = layout_asserts()
        self.assertGreater(len(asserts), 100)
        self.assertEqual(compile_asserts(asserts), '')

    def test_values(self):
        self.assertEqual(compile_asserts(value_asserts()), '')

    def test_on_arm64(self):
        compiler = arm64_compiler()
        if not compiler:
            self.skipTest('no cross compiler for arm64, or no headers: run '
                          'scripts/bootstrap.sh and scripts/arm64.sh')
        self.assertEqual(compile_asserts(
            ['__aarch64__ == 1'] + layout_asserts() + value_asserts(),
            compiler), '')
        self.assertIn('static assertion failed', compile_asserts(
            [WRONG], compiler))

    def test_on_32_bits(self):
        # a 64-bit field is aligned to 4 there: any padding must be explicit
        self.assertEqual(compile_asserts(
            ['sizeof(long) == 4', '_Alignof(struct { uint64_t x; }) == 4'] +
            layout_asserts() + value_asserts(),
            ['cc', '-m32', '-idirafter', '/usr/include/x86_64-linux-gnu']), '')

    def test_a_wrong_offset_is_seen(self):
        self.assertIn('static assertion failed', compile_asserts([WRONG]))

    def test_nothing_is_left_out(self):
        self.assertEqual(
            sorted(re.findall(r'^struct (\w+) \{', CODE, re.M)),
            sorted(structures()))
        for name, body in re.findall(r'^struct (\w+) \{(.*?)^\}', CODE,
                                     re.M | re.S):
            with self.subTest(name):
                self.assertEqual(
                    re.findall(r'(\w+)(?:\[\w*\])?;', body),
                    [field for _, _, field in structures()[name][1]])
        defined = set(re.findall(r'^#define\s+(\w+)[ \t]+\S', CODE, re.M))
        self.assertEqual(
            defined - {'VIRTIO_FADUMP_DESC_MAGIC'},
            set(values()))

    def test_magic(self):
        magic = re.search(r'VIRTIO_FADUMP_DESC_MAGIC: "(\w+)", no NUL', TEXT)[1]
        self.assertEqual(
            magic, re.search(r'DESC_MAGIC\s+"(\w+)"', CODE)[1])

    def test_all_requirements_are_in_the_conformance_clauses(self):
        sections, clauses = TEXT.split('\nConformance\n----', 1)
        wanted = re.findall(r'^((?:Device|Driver) Requirements: .+)$',
                            sections, re.M)
        self.assertEqual(sorted(wanted), sorted(re.findall(
            r'^\* `((?:Device|Driver) Requirements: .+?)`_', clauses, re.M)))


if __name__ == '__main__':
    main()
