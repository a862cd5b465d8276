# SPDX-License-Identifier: GPL-2.0-or-later
"""What being ready for a crash costs in memory, while nothing crashes."""

from lab import CRASHKERNEL, MIB, load_kdump

from vmtest.guest import GuestError

import host

TITLE = 'Memory in normal running'
ABOUT = '''
The same guest with 2 GiB, right after it has booted, without the device, with it,
and without it but with a crash kernel loaded. *MemTotal* is what the guest has,
*QEMU in memory* the resident set of QEMU on the host, and *held for a dump* what
of that is the device's own memory, the RAM blocks `fadump-*`. Guest memory is
allocated as the guest touches it, so QEMU's resident set differs from boot to
boot.
'''

NONE = 'no device'
DEVICE = 'fadump-dev'
KDUMP = 'kdump, `crashkernel=256M`'
TOTAL, LESS, QEMU, HELD = ('MemTotal', 'MemTotal less than without',
                           'QEMU in memory', 'held for a dump')


def one(lab, record, run, peer, base, **options):
    wanted = [('memory', case, peer) for case in (TOTAL, QEMU)]
    with record.attempt(run, *wanted), \
            lab.guest('memory', '2G', backend=None, vcpus=2,
                      disks=[lab.disk()], **options) as guest:
        guest.boot()
        if peer == KDUMP:
            load_kdump(guest)
        elif peer == DEVICE and guest.cmd(
                'cat /sys/kernel/fadump/registered') != '1':
            raise GuestError('fadump is not registered')
        total = guest.mem_total()
        record.add('memory', TOTAL, peer, run, total / MIB)
        if base:
            record.add('memory', LESS, peer, run, (base - total) / MIB)
        record.add('memory', QEMU, peer, run,
                   host.rss(guest.process.pid) / MIB)
        if peer == DEVICE:
            record.add('memory', HELD, peer, run,
                       guest.resident('fadump-') / MIB)
        return total
    return None


def measure(lab, record):
    record.table('memory', 'In a guest with 2 GiB', 'MiB', 'memory', [NONE])
    for run in range(lab.runs):
        base = one(lab, record, run, NONE, None, fadump=None)
        one(lab, record, run, DEVICE, base, fadump='boot-mem=512M')
        one(lab, record, run, KDUMP, base, fadump=None, cmdline=CRASHKERNEL)
