# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast the host saves a dump."""

import os
import shutil

from lab import GIB, capture, dump_guest_memory, fill, size_name, timed

from vmtest import build
from vmtest.guest import GuestError

import host

TITLE = 'The host saves the dump'
ABOUT = '''
The same guest, all of its memory full of random numbers, saved as an ELF core by
`dump-guest-memory` (`paging=false`), for which it stands still, and, once it is
captured, by `fadump-save`, while it runs. *tmpfs* is /dev/shm, *disk* the file
system of the build directory. `fadump-save` ends when the file is on stable
storage; the file of `dump-guest-memory` is synchronized after it, and that time
counts, too. Zeros, of which there are none here, become holes of `fadump-save`'s
file.
'''

OURS = '`fadump-save`'
PEER = '`dump-guest-memory`'


def synchronize(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def dump_and_synchronize(guest, path):
    dump_guest_memory(guest, path)
    synchronize(path)


def fadump_save(guest, path):
    start = len(guest.qmp.poll())
    guest.qmp.cmd('fadump-save', protocol='file:' + path)
    job = guest.qmp.wait_event('FADUMP_SAVE_COMPLETED',
                               1800 * build.TIMEOUT_SCALE,
                               start)['data']['save']
    if job['status'] != 'completed':
        raise GuestError(f'fadump-save: {job.get("error", job["status"])}')


def one(record, run, case, peer, save, guest, path):
    with record.attempt(run, ('speed', case, peer)):
        try:
            seconds = timed(save, guest, path)
            record.add('speed', case, peer, run,
                       os.path.getsize(path) / 1e6 / seconds)
        finally:
            if os.path.exists(path):
                os.unlink(path)


def measure(lab, record):
    record.table('speed', 'Throughput', 'MB/s', 'guest, file', [PEER],
                 bigger=True, plot='bars')
    sizes = [2 * GIB, 8 * GIB] if lab.full else [2 * GIB]
    for run in range(lab.runs):
        for size in sizes:
            places = {}
            # The guest, its file on tmpfs, and what is set aside
            if 2 * size + GIB <= host.available():
                places['tmpfs'] = lab.tmpfs_path('dump')
            if 2 * size <= shutil.disk_usage(lab.scratch).free:
                places['disk'] = lab.path('dump')
            cases = {f'{size_name(size)}, {place}': path
                     for place, path in places.items()}
            for place in {'tmpfs', 'disk'} - set(places):
                record.skip('speed', f'{size_name(size)}, {place}', OURS,
                            'the host has not enough room')
            with record.attempt(run, *[('speed', case, peer) for case in cases
                                       for peer in (OURS, PEER)]), \
                    lab.guest('save', size, tiny='s', vcpus=1,
                              fadump='boot-mem=512M', spare=GIB) as guest:
                guest.start(paused=True)
                fill(guest)
                guest.qmp.cmd('cont')
                guest.wait_tiny(1)
                for case, path in cases.items():
                    one(record, run, case, PEER, dump_and_synchronize, guest,
                        path)
                capture(guest)
                guest.wait_tiny(2)
                for case, path in cases.items():
                    one(record, run, case, OURS, fadump_save, guest, path)
