# SPDX-License-Identifier: GPL-2.0-or-later
"""What more threads of makedumpfile gain in the boot after a crash."""

import re
import time

from lab import VMCORE, makedumpfile

TITLE = 'makedumpfile and its threads'
ABOUT = '''
`makedumpfile -d 31 /proc/vmcore` to the guest's tmpfs, in the boot after a crash
of a guest with 2 GiB and 2 vCPUs, 1 GiB of boot memory, with one thread and with
`--num-threads 2`. All runs save the same dump. A run in which makedumpfile aborts is
counted as failed: its threads load libgcc as they end, and now and then one says
that it is not there. *Preloaded* has it from the start
(`LD_PRELOAD=libgcc_s.so.1`).
'''

ONE = 'one thread'
TWO = '`--num-threads 2`'
PRELOADED = '`--num-threads 2`, preloaded'
PEERS = (
    # peer, option, environment
    (ONE, '', ''),
    (TWO, '--num-threads 2', ''),
    (PRELOADED, '--num-threads 2', 'LD_PRELOAD=libgcc_s.so.1'),
)
WAYS = (('lzo, `-l`', '-l'), ('zlib, `-c`', '-c'))
MORE_WAYS = (('not compressed', ''), ('zstd, `-z`', '-z'))
DUMP = '/tmp/dump'


def one(record, run, guest, case, compression, peer):
    name, option, environment = peer
    with record.attempt(run, ('time', case, name)):
        begin = time.monotonic()
        makedumpfile(guest, f'{compression} {option} -d 31', DUMP, environment)
        record.add('time', case, name, run, time.monotonic() - begin)


def supported(guest, ways):
    """The compressions that this makedumpfile was built with, and what it says
    of others: that they are disabled, and goes on without."""
    known, lacking = [], []
    for case, compression in ways:
        said = makedumpfile(guest, f'{compression} -d 31', DUMP)
        disabled = re.search(r'^.*option is disabled.*$', said, re.M)
        if disabled:
            lacking.append((case, disabled.group()))
        else:
            known.append((case, compression))
    return known, lacking


def measure(lab, record):
    record.table('time', 'Time to save', 's', 'compression', [ONE],
                 plot='bars')
    ways = WAYS + (MORE_WAYS if lab.full else ())
    every = [('time', case, peer) for case, _ in ways for peer, _, _ in PEERS]
    with record.attempt(0, *every), \
            lab.guest('threads', '2G', vcpus=2, fadump='boot-mem=1G',
                      spare=1 << 30) as guest:
        guest.boot()
        version = guest.cmd('makedumpfile -v').splitlines()[0]
        record.note(f'The guest\'s {version}')
        guest.cmd('alloc 50 hold', timeout=300)
        guest.crash()
        if not guest.exists(VMCORE):
            raise guest.trouble('no /proc/vmcore after the crash')
        # Besides, the first one finds no page of the dump in any cache.
        known, lacking = supported(guest, ways)
        for case, said in lacking:
            record.skip('time', case, 'any number of threads',
                        f'makedumpfile says "{said}"')
        for run in range(lab.runs):
            for case, compression in known:
                for peer in PEERS:
                    one(record, run, guest, case, compression, peer)
