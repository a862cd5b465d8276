# SPDX-License-Identifier: GPL-2.0-or-later
"""How long the guest stands still while it is captured."""

import os
import subprocess
import time

from lab import GIB, MIB, NO_FULL, capture, method, size_name

from vmtest import build
from vmtest.guest import GuestError

import host

TITLE = 'The pause of a capture'
ABOUT = '''
What a capture adds to the reset after a crash, with all vCPUs stopped, as QEMU
itself measures it (`capture-ns` of `query-fadump`). All guest memory is allocated
before; the guest is without an operating system, and the operator triggers the
capture. The column *way* says how most of boot memory was set aside, as QEMU
tells it too.

The rows that begin with *host program* set as much memory aside without a guest,
in the same run (`tests/bench/copy.c`): by moving page tables, by a copy with all
processors at once, and by a copy through a buffer of 32 MiB, as QEMU's pseries
machine does it for its guests; *warm* is the same to memory that was in use
before.

Under disk load the guest is Linux, with eight processes that read and write a
file of the host's through `cache=none`: the time that it takes to stop those
requests is part of the pause.
'''

DEFAULT = 'private memory (default)'
GUESTS = (
    # name, backend, property
    (DEFAULT, 'memory-backend-ram', ''),
    ('private memory, `x-move=off`', 'memory-backend-ram', ',x-move=off'),
    ('private memory, `x-move=off,x-swap=off`', 'memory-backend-ram',
     ',x-move=off,x-swap=off'),
    ('memfd, `share=on`', 'memory-backend-memfd,share=on', ''),
)
PROGRAM = {'mremap': 'host program: moved',
           'threads': 'host program: copied by threads',
           'bounce': 'host program: copied through 32 MiB',
           'bounce-warm': 'host program: copied through 32 MiB, warm'}


IDLE = 'no load'
LOADS = (
    # name, how the disk is attached
    (IDLE, ('-device', 'virtio-blk-pci,drive=load')),
    ('virtio-blk', ('-device', 'virtio-blk-pci,drive=load')),
    ('virtio-blk, IOThread', ('-object', 'iothread,id=io', '-device',
                              'virtio-blk-pci,drive=load,iothread=io')),
)
# Four that read and four that write, until the crash
LOAD = ('for i in 1 2 3 4; do (while :; do '
        'dd if=/dev/vda of=/dev/null bs=16k iflag=direct; done) & '
        '(while :; do dd if=/dev/zero of=/dev/vda bs=16k oflag=direct; done) & '
        'done 2> /dev/null')


def properties(boot_mem):
    return 'full=on' if boot_mem == 'full' else f'boot-mem={boot_mem}'


def one(lab, record, run, table, case, x, peer, memory, boot_mem, vcpus):
    name, backend, prop = peer
    with record.attempt(run, (table, case, name)), \
            lab.guest('capture', memory, backend=backend, vcpus=vcpus,
                      tiny='h', spare=memory if boot_mem == 'full' else
                      boot_mem, fadump=properties(boot_mem) + prop) as guest:
        guest.start()
        dump = capture(guest)
        guest.wait_tiny(2, 120 * build.TIMEOUT_SCALE)
        record.add(table, case, name, run, dump['capture-ns'] / 1e6, x,
                   method(dump))


def loaded(lab, record, run, load, peer):
    case, attached = load
    name, backend, prop = peer
    disk = lab.path('load.img')
    with open(disk, 'wb') as f:
        f.write(os.urandom(MIB) * 256)
    with record.attempt(run, ('load', case, name)), \
            lab.guest('capture-load', GIB, backend=backend, vcpus=4,
                      spare=512 * MIB,
                      fadump=properties(512 * MIB) + prop,
                      args=['-drive', f'file={disk},format=raw,if=none,'
                            'id=load,cache=none,aio=threads',
                            *attached]) as guest:
        guest.boot()
        if case != IDLE:
            guest.cmd(LOAD)
            time.sleep(2)
        start = len(guest.qmp.poll())
        guest.qmp.cmd('fadump-trigger')
        dump = guest.qmp.wait_event('FADUMP_CAPTURED',
                                    120 * build.TIMEOUT_SCALE,
                                    start)['data']['dump']
        record.add('load', case, name, run, dump['capture-ns'] / 1e6,
                   method=method(dump))
    os.unlink(disk)


def program(lab, record, run, table, case, size):
    wanted = [(table, case, name) for name in PROGRAM.values()]
    with record.attempt(run, *wanted):
        if 2 * size > host.available():
            raise GuestError(f'the host has less than {size_name(2 * size)} '
                             'free')
        said = subprocess.run(
            [os.path.join(lab.out, 'copy'), str(size)], capture_output=True,
            text=True, timeout=600 * build.TIMEOUT_SCALE, check=False)
        if said.returncode:
            raise GuestError(said.stderr)
        for line in said.stdout.splitlines():
            way, ns = line.split()
            record.add(table, case, PROGRAM[way], run, int(ns) / 1e6,
                       size // MIB)


def measure(lab, record):
    machine = (8 if lab.full else 4) * GIB
    memories = [1, 2, 4, 8, 16] if lab.full else [1, 2, 4]
    all_vcpus = [1, 2, 4, 8] if lab.full else [1, 4]
    boot_mems = [256 * MIB, 512 * MIB, GIB]
    if lab.full:
        boot_mems += [2 * GIB, 4 * GIB]
    boots = [(size_name(n), n, n) for n in boot_mems]
    full = ('`full`', machine, 'full')
    record.table('boot-mem', 'Boot memory, in a guest with '
                 f'{size_name(machine)} and 2 vCPUs', 'ms', 'boot memory',
                 [DEFAULT], plot='lines', xlabel='memory set aside (MiB)',
                 ylabel='pause (ms)')
    record.table('memory', 'RAM, with 512 MiB of boot memory and 2 vCPUs',
                 'ms', 'RAM', [DEFAULT], plot='lines', xlabel='RAM (GiB)',
                 ylabel='pause (ms)')
    record.table('vcpus',
                 'vCPUs, with 1 GiB of RAM and 512 MiB of boot memory', 'ms',
                 'vCPUs', [DEFAULT], plot='lines', xlabel='vCPUs',
                 ylabel='pause (ms)')
    record.table('load', 'Disk load, with 1 GiB of RAM, 512 MiB of boot memory '
                 'and 4 vCPUs', 'ms', 'disk', [(IDLE, DEFAULT)])
    if lab.has_full():
        boots.append(full)
    else:
        record.skip('boot-mem', full[0], DEFAULT, NO_FULL)
    for run in range(lab.runs):
        for case, size, boot_mem in boots:
            for peer in GUESTS:
                one(lab, record, run, 'boot-mem', case, size // MIB, peer,
                    machine, boot_mem, 2)
            program(lab, record, run, 'boot-mem', case, size)
        for gib in memories:
            for peer in GUESTS:
                one(lab, record, run, 'memory', f'{gib} GiB', gib, peer,
                    gib * GIB, 512 * MIB, 2)
        for vcpus in all_vcpus:
            for peer in GUESTS:
                one(lab, record, run, 'vcpus', str(vcpus), vcpus, peer, GIB,
                    512 * MIB, vcpus)
        for load in LOADS:
            for peer in GUESTS[:2]:
                loaded(lab, record, run, load, peer)
