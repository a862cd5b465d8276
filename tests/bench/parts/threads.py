# SPDX-License-Identifier: GPL-2.0-or-later
"""What more threads of makedumpfile gain in the boot after a crash."""

import re
import time

from lab import VMCORE, makedumpfile

TITLE = 'makedumpfile and its threads'
ABOUT = '''
`makedumpfile -d 31 /proc/vmcore` to the guest's tmpfs, in the boot after a crash
of a guest with 2 GiB and 2 vCPUs, 1 GiB of boot memory: not compressed, by lzo
(`-l`), zlib (`-c`) and zstd (`-z`), with one thread and with `--num-threads 2`.
All runs save the same dump. A run in which makedumpfile aborts is counted as
failed.
'''

ONE = 'one thread'
TWO = '`--num-threads 2`'
WAYS = (('not compressed', ''), ('lzo, `-l`', '-l'), ('zlib, `-c`', '-c'),
        ('zstd, `-z`', '-z'))
DUMP = '/tmp/dump'


def one(record, run, guest, case, options, peer):
    """False if this makedumpfile has no such compression."""
    with record.attempt(run, ('time', case, peer)):
        begin = time.monotonic()
        said = makedumpfile(guest, options + ' -d 31', DUMP)
        seconds = time.monotonic() - begin
        # It says so, and goes on without.
        disabled = re.search(r'^.*option is disabled.*$', said, re.M)
        if disabled:
            record.skip('time', case, peer,
                        f'makedumpfile says "{disabled.group()}"')
            return False
        record.add('time', case, peer, run, seconds)
    return True


def measure(lab, record):
    record.table('time', 'Time to save', 's', 'compression', [ONE],
                 plot='bars')
    every = [('time', case, peer) for case, _ in WAYS for peer in (ONE, TWO)]
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
        # The first one finds no page of the dump in any cache
        makedumpfile(guest, '-l -d 31', DUMP)
        for run in range(lab.runs):
            for case, options in WAYS:
                if one(record, run, guest, case, options, ONE):
                    one(record, run, guest, case,
                        options + ' --num-threads 2', TWO)
