# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a service is away after a crash."""

import os
import time

from lab import (CRASHKERNEL, FADUMP, NO_FULL, PANIC, dump_guest_memory,
                 load_kdump, save_dump)

from vmtest.guest import BOOT_TIMEOUT, GuestError

TITLE = 'From the crash back to production'
ABOUT = '''
One guest with 2 GiB and 2 vCPUs crashes (`echo c > /proc/sysrq-trigger`); the
times are those from the crash on. *Service up*: the first process of a production
boot is ready. *All memory*: MemTotal is what it was before the crash. *Dump
saved*: the dump is on the disk. All ways have the same kernel, initramfs and
disk; all that save in the guest use `makedumpfile -l -d 31`, after which the
disk is synchronized.

- *reboot*: `reboot -f` of a guest without the device, and no dump: nothing can be
  faster that goes through the firmware.
- *fadump-dev, `full=on`*: the next boot has all memory; the dump is saved
  while production runs.
- *fadump-dev*: the next boot is production in boot memory of 512 MiB; it saves
  the dump and writes to `release_mem`.
- *kdump*: `crashkernel=256M`, Debian's kexec-tools; the crash kernel saves the
  dump and reboots.
- *dump-guest-memory*: pvpanic stops the guest, the host writes all of its memory
  to its disk (ELF, nothing left out, not synchronized), and resets it.

The guest's first process is the tests' own and starts no services, so *service
up* is when services would start, and the times of boots are the least that
they can be.
'''

REBOOT = 'reboot'
FULL = 'fadump-dev, `full=on`'
CONFINED = 'fadump-dev'
KDUMP = 'kdump'
HOST = 'dump-guest-memory'
UP, ALL, SAVED = 'service up', 'all memory', 'dump saved'


class Clock:
    """Records the times of one run since the crash."""

    def __init__(self, record, peer, run):
        self.record, self.peer, self.run = record, peer, run
        self.begin = None

    def start(self):
        self.begin = time.monotonic()

    def now(self):
        return time.monotonic() - self.begin

    def reached(self, *cases):
        self.add(self.now(), *cases)

    def add(self, seconds, *cases):
        for case in cases:
            self.record.add('time', case, self.peer, self.run, seconds)

    def production(self, guest, total):
        """The boot that is ready now has all memory, by its own word."""
        seconds = self.now()
        self.add(seconds, UP)
        expect_memory(guest, total)
        self.add(seconds, ALL)

    def dump_size(self, size):
        self.record.add('size', 'size', self.peer, self.run, size / 1e6)


def prepare(guest):
    """Boot it and use its memory; MemTotal."""
    guest.boot()
    guest.cmd('alloc 50 hold', timeout=300)
    return guest.mem_total()


def expect_memory(guest, total):
    """What is added after the boot counts with its memory map, 1/64 of it."""
    now = guest.mem_total()
    if not 0.99 <= now / total <= 1.01 + 1 / 64:
        raise GuestError(f'MemTotal was {total >> 20} MiB and is '
                         f'{now >> 20} MiB')


def reboot(guest, clock):
    total = prepare(guest)
    clock.start()
    guest.crash('reboot -f')
    clock.production(guest, total)


def fadump_full(guest, clock):
    total = prepare(guest)
    clock.start()
    guest.crash()
    clock.production(guest, total)
    size = save_dump(guest)
    clock.reached(SAVED)
    clock.dump_size(size)
    guest.cmd(f'echo 1 > {FADUMP}/release_mem')
    expect_memory(guest, total)


def fadump(guest, clock):
    total = prepare(guest)
    clock.start()
    guest.crash()
    clock.reached(UP)
    size = save_dump(guest)
    clock.reached(SAVED)
    guest.cmd(f'echo 1 > {FADUMP}/release_mem')
    seconds = clock.now()
    expect_memory(guest, total)
    clock.add(seconds, ALL)
    clock.dump_size(size)


def kdump(guest, clock):
    total = prepare(guest)
    load_kdump(guest)
    clock.start()
    guest.crash()
    size = save_dump(guest)
    clock.reached(SAVED)
    guest.crash('reboot -f')
    clock.production(guest, total)
    clock.dump_size(size)


def host_dump(guest, clock):
    total = prepare(guest)
    start = len(guest.qmp.poll())
    clock.start()
    guest.send(PANIC)
    guest.qmp.wait_event('GUEST_PANICKED', BOOT_TIMEOUT, start)
    path = os.path.join(guest.logdir, 'host-dump')
    try:
        size = dump_guest_memory(guest, path)
    finally:
        if os.path.exists(path):
            os.unlink(path)
    clock.reached(SAVED)
    guest.qmp.cmd('system_reset')
    guest.qmp.cmd('cont')
    guest.wait_boot()
    clock.production(guest, total)
    clock.dump_size(size)


WAYS = (
    # peer, how, options of the guest
    (REBOOT, reboot, {'fadump': None}),
    (FULL, fadump_full, {'fadump': 'full=on', 'spare': 2 << 30}),
    (CONFINED, fadump, {'fadump': 'boot-mem=512M', 'spare': 512 << 20}),
    (KDUMP, kdump, {'fadump': None, 'cmdline': CRASHKERNEL}),
    (HOST, host_dump, {'fadump': None, 'args':
                       ['-device', 'pvpanic-pci', '-action', 'panic=pause']}),
)


def measure(lab, record):
    record.table('time', 'Time since the crash', 's', 'reached',
                 [REBOOT, KDUMP], plot='bars')
    record.table('size', 'Size of the dump', 'MB', 'dump', [KDUMP])
    record.target('`full=on`: all memory within 10 % of an ordinary '
                  'reboot', 'time', ALL, FULL, REBOOT, 1.1)
    record.target('confined: service up in no more than half of kdump\'s time',
                  'time', UP, CONFINED, KDUMP, 0.5)
    record.target('confined: all memory back in no more than half of '
                  'kdump\'s time', 'time', ALL, CONFINED, KDUMP, 0.5)
    full = lab.has_full()
    for run in range(lab.runs):
        for peer, way, options in WAYS:
            if peer == FULL and not full:
                record.skip('time', UP, peer, NO_FULL)
                continue
            wanted = [('time', case, peer) for case in (UP, ALL, SAVED)]
            if peer == REBOOT:
                wanted.pop()
            with record.attempt(run, *wanted), \
                    lab.guest('production', '2G', vcpus=2, disks=[lab.disk()],
                              **options) as guest:
                way(guest, Clock(record, peer, run))
