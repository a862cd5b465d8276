# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast the guest reads its dump."""

import re

from lab import CRASHKERNEL, VMCORE, load_kdump

from vmtest import build

TITLE = 'Reading /proc/vmcore in the guest'
ABOUT = '''
`tests/guest/bandwidth.c` in a guest with 2 GiB and 2 vCPUs (the crash kernel uses
one): *read* is read(2) with 1 MiB a call, as `dd bs=1M` does; *mmap* maps 4 MiB
after 4 MiB and copies them out, as makedumpfile does. *Boot memory* is what
fadump-dev holds outside of the guest's RAM, *the rest* is where the guest had it;
kdump reads the same addresses. *Memory* is a copy of memory of the program itself,
32 MiB at a time.
'''

OURS = 'fadump-dev'
KDUMP = 'kdump'
LOW, HIGH = 'boot memory', 'the rest'
MEMORY = 'memory'
# MiB in the file: inside boot memory of 512 MiB, and above
OFFSETS = {LOW: 32, HIGH: 1024}


def cases(amount):
    """(case, what bandwidth is to do)"""
    every = [(f'{mode}, {place}', f'{VMCORE} -b {kib} -o {OFFSETS[place] << 20}'
              f' -n {amount} {mode}')
             for mode, kib in (('read', 1024), ('mmap', 4096))
             for place in OFFSETS]
    # Through no cache of the host's, but where two fit in a crash kernel
    return every + [(MEMORY, f'{VMCORE} -b 32768 -n {amount} memcpy')]


def speed(guest, arguments):
    """MB/s"""
    said = guest.cmd(f'bandwidth {arguments} -r 1',
                     timeout=600 * build.TIMEOUT_SCALE)
    size, ns = re.search(r' bytes (\d+) ns (\d+) ', said).groups()
    return int(size) * 1000 / int(ns)


def crashed(guest, peer):
    """Boot it and crash it; it then has the dump."""
    guest.boot()
    if peer == KDUMP:
        load_kdump(guest)
    guest.crash()
    if not guest.exists(VMCORE):
        raise guest.trouble('no /proc/vmcore after the crash')
    return guest


def measure(lab, record):
    amount = 256
    record.table('speed', f'Throughput, {amount} MiB each', 'MB/s', 'how',
                 [KDUMP, (MEMORY, OURS)], bigger=True, plot='bars')
    every = cases(amount)
    wanted = [('speed', case, peer) for case, _ in every
              for peer in (OURS, KDUMP)]
    # Both are there at once and take turns, so that what disturbs the host
    # for a while disturbs both. Reading does not change a dump.
    with record.attempt(0, *wanted), \
            lab.guest('vmcore', '2G', vcpus=2, fadump='boot-mem=512M',
                      spare=3 << 30) as ours, \
            lab.guest('vmcore-kdump', '2G', vcpus=2, fadump=None,
                      cmdline=CRASHKERNEL, disks=[lab.disk()]) as theirs:
        guests = {OURS: crashed(ours, OURS), KDUMP: crashed(theirs, KDUMP)}
        for run in range(lab.runs):
            for case, arguments in every:
                for peer, guest in guests.items():
                    with record.attempt(run, ('speed', case, peer)):
                        record.add('speed', case, peer, run,
                                   speed(guest, arguments))
