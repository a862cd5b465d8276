#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A migration stream may say anything of the device. One is saved in each state
that the device can be in, bytes of what it says are changed, and a new QEMU is
made to load that. It refuses the stream, or the machine runs, is reset, and has
its dump released; whichever it is, QEMU lives, and no sanitizer that it is built
with has a word to say of the device.

  FADUMP_STREAMS   how many streams of each state (default: 8, or 100 where all
                   cases are run)
  FADUMP_SEED      of what is changed in them (default: 1)
"""

import os
import random
import re
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FULL, FadumpTest, GuestError, MIB, abi, build, main
from vmtest.qmp import QmpError

BOOT = 128 * MIB
STREAMS = int(os.environ.get('FADUMP_STREAMS', '100' if FULL else '8'))
SEED = os.environ.get('FADUMP_SEED', '1')

CRASH = 'idle register trigger dump desc'
LATER = 'release reset'

# What the guest does until it waits, and after that; the device's properties
STATES = {
    'idle': ('idle wait register trigger dump desc ' + LATER, ''),
    'registered': ('idle register wait trigger dump desc ' + LATER, ''),
    'held-moved': (f'{CRASH} wait {LATER}', ''),
    'held-swapped': (f'{CRASH} wait {LATER}', 'x-move=off'),
    'held-copied': (f'{CRASH} wait {LATER}', 'x-move=off,x-swap=off'),
    'held-guest': (f'to=guest {CRASH} wait {LATER}', ''),
    'held-mixed': (f'to=mixed {CRASH} wait {LATER}', ''),
    'discarded': (f'{CRASH} discard wait {LATER}', ''),
    'full': (f'{CRASH} wait {LATER}', 'full=on'),
}

# What a sanitizer says. QEMU has undefined behaviour elsewhere, too, which is
# not looked for here; memory that is misused is.
_FINDING = re.compile(r'fadump[\w-]*\.[ch]:\d+:\d+: runtime error|'
                      r'ERROR: AddressSanitizer|Assertion .* failed|'
                      r'should not be reached')


def device_section(stream):
    """(start, end) of what the stream says of the device: behind what it says
    of any PCI and virtio device, and before what it says of more of that."""
    for match in re.finditer(rb'\x04(....)(.)([^\0]*/virtio-fadump)', stream,
                             re.S):
        if len(match[3]) != match[2][0]:
            continue
        # instance and version
        start = match.end() + 8
        end = stream.index(b'\x7e' + match[1], start)
        # config space, with its length before it, then the queues, each with
        # its size, its address and where it is
        config = re.compile(re.escape(struct.pack('>I', abi.config.size)) +
                            b'[\0-\2]\0\0\0').search(stream, start, end)
        more = re.compile(rb'\x05.virtio/', re.S).search(stream, start, end)
        if config and more:
            at = config.start() + 4 + abi.config.size
            queues = int.from_bytes(stream[at:at + 4], 'big')
            return at + 4 + queues * (4 + 8 + 2), more.start()
    raise ValueError('the stream has no fadump-dev')


class Mutator:
    """Changes a stream, in the same way for the same seed."""

    INTERESTING = (0, 1, 2, 3, 4, 5, 0x7f, 0x80, 0xff, 0xffff, 0x1000,
                   0x7fffffff, 0x80000000, 0xffffffff, BOOT, 256 * MIB,
                   1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)

    def __init__(self, stream, seed):
        self.stream = stream
        self.start, self.end = device_section(stream)
        self.descriptors = [m.start() for m in re.finditer(
            abi.DESC_MAGIC.encode(), stream)]
        self.random = random.Random(seed)

    def _value(self, data, at, width, order):
        old = int.from_bytes(data[at:at + width], order)
        value = self.random.choice((
            lambda: self.random.choice(self.INTERESTING),
            lambda: old + self.random.randint(-8, 8),
            lambda: old ^ 1 << self.random.randrange(8 * width),
            lambda: old + (self.random.randint(-8, 8) << 12),
            lambda: self.random.getrandbits(8 * width)))()
        data[at:at + width] = (value % (1 << 8 * width)).to_bytes(width, order)

    def _field(self, data, start, end, order):
        width = self.random.choice((1, 4, 8))
        if end - start >= width:
            self._value(data, self.random.randrange(start, end - width + 1),
                        width, order)

    def _descriptor(self, data):
        """Fields of the dump's descriptor, which then is sealed again."""
        at = self.random.choice(self.descriptors)
        size = int.from_bytes(data[at + 16:at + 24], 'little')
        if not abi.desc.size <= size <= 4096:
            return
        desc = data[at:at + size]
        for _ in range(self.random.randint(1, 3)):
            width = self.random.choice((4, 8))
            self._value(desc, self.random.randrange(size // width) * width,
                        width, 'little')
        data[at:at + size] = abi.reseal(desc)[:size]

    def mutate(self):
        data = bytearray(self.stream)
        if self.descriptors and self.random.random() < 0.3:
            self._descriptor(data)
            return bytes(data)
        for _ in range(self.random.randint(1, 3)):
            self._field(data, self.start, self.end, 'big')
        if not self.random.randrange(10):
            # the stream ends, or goes on, too early
            cut = self.random.randrange(self.start, self.end)
            del data[cut:cut + self.random.choice((1, 4, 8, len(data)))]
        return bytes(data)


class StreamFuzz(FadumpTest):

    def bare(self, state, **options):
        actions, properties = STATES[state]
        fadump = f'boot-mem={BOOT >> 20}M'
        if properties:
            fadump += ',' + properties
        return self.new_guest(bare=actions, memory='512M', fadump=fadump,
                              machine='q35', **options)

    def save(self, state):
        """The stream of a machine in that state."""
        path = self.path(f'stream-{state}')
        guest = self.bare(state).start()
        guest.wait_bare('waits')
        guest.save_stream(path)
        guest.close()
        with open(path, 'rb') as f:
            stream = f.read()
        os.unlink(path)
        return stream

    def use(self, guest):
        """All that a machine goes through, if it runs; errors are no matter."""
        def attempt(command, **arguments):
            try:
                return guest.qmp.cmd(command, **arguments)
            except QmpError:
                return None

        attempt('query-fadump')
        attempt('cont')
        guest.port.sendall(b'x')
        time.sleep(0.05)
        for command in ('query-fadump', 'system_reset', 'fadump-trigger',
                        'query-fadump', 'fadump-release', 'system_reset',
                        'query-fadump'):
            attempt(command)

    def quit(self, guest):
        try:
            guest.qmp.cmd('quit')
        except (EOFError, ConnectionError):
            # it is gone before it has answered, or so it should be
            pass
        self.assertEqual(guest.wait_exit(60), 0)

    def load(self, state, path):
        """Whether QEMU took the stream. It lives, or the test fails."""
        guest = self.bare(state, args=['-incoming', 'defer'],
                          environment={'UBSAN_OPTIONS': 'print_stacktrace=1',
                                       'ASAN_OPTIONS': 'detect_leaks=0'})
        status = 'failed'
        try:
            guest.start(paused=True)
            guest.qmp.execute('migrate-incoming', {
                'uri': f'file:{path}', 'exit-on-error': False})
            deadline = time.monotonic() + 60 * build.TIMEOUT_SCALE
            while time.monotonic() < deadline:
                status = guest.qmp.cmd('query-migrate').get('status')
                if status in ('completed', 'failed'):
                    break
                time.sleep(0.01)
            self.assertIn(status, ('completed', 'failed'))
            if status == 'completed':
                self.use(guest)
            self.quit(guest)
        except (EOFError, ConnectionError, GuestError) as exc:
            with open(guest.qemu_log, encoding='utf-8', errors='replace') as f:
                said = f.read()[-4000:]
            raise AssertionError(f'QEMU has died: {exc}\n{said}') from exc
        finally:
            guest.close()
        with open(guest.qemu_log, encoding='utf-8', errors='replace') as f:
            said = f.read()
        self.assertIsNone(_FINDING.search(said), said[-4000:])
        return status == 'completed'

    def check_state(self, state):
        stream = self.save(state)
        path = self.path('good')
        with open(path, 'wb') as f:
            f.write(stream)
        # as it is, it is good: the others fail for what was changed
        self.assertTrue(self.load(state, path))
        mutator = Mutator(stream, f'{SEED} {state}')
        taken = 0
        for i in range(STREAMS):
            path = self.path(f'{state}-{i}')
            with open(path, 'wb') as f:
                f.write(mutator.mutate())
            try:
                taken += self.load(state, path)
            except AssertionError as exc:
                raise AssertionError(f'with the stream {path}: {exc}') from exc
            os.unlink(path)
        print(f'# {state}: {taken} of {STREAMS} streams taken',
              file=sys.stderr)

    def test_all(self):
        """:avocado: tags=machine:q35,migration,hostile
        """
        for state in STATES:
            with self.subTest(state=state):
                self.check_state(state)


if __name__ == '__main__':
    main()
