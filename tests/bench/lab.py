# SPDX-License-Identifier: GPL-2.0-or-later
"""What the parts make their guests with."""

import contextlib
import os
import shutil
import subprocess
import time

from vmtest import build
from vmtest.guest import Disk, Guest, GuestError, parse_size

import host

MIB = 1 << 20
GIB = 1 << 30

FADUMP = '/sys/kernel/fadump'
VMCORE = '/proc/vmcore'
PANIC = 'echo c > /proc/sysrq-trigger'
# What /init boots in and makedumpfile runs in.
CRASHKERNEL = 'crashkernel=256M'


def size_name(size):
    return (f'{size // GIB} GiB' if size % GIB == 0 else f'{size // MIB} MiB')


class Lab:
    """One run of the benchmark: its settings, a place for its files, guests
    that are gone when they are not needed any more."""

    def __init__(self, out, kernel, runs, full):
        self.out = out
        self.kernel = kernel
        self.runs = runs
        self.full = full
        self.scratch = os.path.join(out, 'work')
        self.tmpfs = f'/dev/shm/fadump-bench-{os.getpid()}'
        shutil.rmtree(self.scratch, ignore_errors=True)
        os.makedirs(self.scratch)

    def close(self):
        shutil.rmtree(self.scratch, ignore_errors=True)
        shutil.rmtree(self.tmpfs, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.scratch, name)

    def tmpfs_path(self, name):
        os.makedirs(self.tmpfs, exist_ok=True)
        return os.path.join(self.tmpfs, name)

    @contextlib.contextmanager
    def guest(self, name, memory, *, backend='memory-backend-ram', spare=0,
              args=(), tiny=None, disks=(), **options):
        """A guest that its user starts. All of its memory is allocated before,
        as it is for a guest that has run for a while, unless there is no
        backend: memory that is not there is set aside in no time. spare: what
        else the host must have free."""
        memory = parse_size(memory)
        if memory + spare > host.available():
            raise GuestError(f'the host has less than '
                             f'{size_name(memory + spare)} free')
        if backend:
            args = [*args, '-object',
                    f'{backend},id=m,size={memory},prealloc=on,'
                    f'prealloc-threads={os.cpu_count()}',
                    '-machine', 'memory-backend=m']
        # The logs of guests that failed are what there is to look at.
        guest = Guest(os.path.join(self.out, 'logs', name), kernel=self.kernel,
                      memory=str(memory), args=args, tiny=tiny, disks=disks,
                      **options)
        try:
            yield guest
        finally:
            guest.close()
            for disk in disks:
                if os.path.exists(disk.path):
                    os.unlink(disk.path)

    def disk(self, size='2G'):
        """An empty disk, with what kexec loads."""
        disk = Disk(self.path('disk.img'), size)
        disk.put(self.kernel.vmlinuz, 'vmlinuz')
        disk.put(self.kernel.initramfs, 'initrd')
        return disk

    def has_full(self):
        """Whether this QEMU knows full=on."""
        said = subprocess.run(
            [build.qemu_binary(), '-nodefaults', '-display', 'none',
             '-machine', 'q35', '-m', '256M', '-S', '-monitor', 'stdio',
             '-device', 'fadump-dev,full=on'], input='quit\n',
            capture_output=True, text=True, timeout=60, check=False)
        return said.returncode == 0


NO_FULL = 'this QEMU does not have `full=on`'


def capture(guest):
    """Capture a guest of tinyboot; what FADUMP_CAPTURED says of the dump."""
    guest.wait_tiny(1)
    start = len(guest.qmp.poll())
    guest.qmp.cmd('fadump-trigger')
    event = guest.qmp.wait_event('FADUMP_CAPTURED',
                                 120 * build.TIMEOUT_SCALE, start)
    return event['data']['dump']


def method(dump):
    """How most of boot memory was set aside."""
    return max('moved', 'swapped', 'copied', key=dump.get)


def fill(guest):
    """Content for a guest that has not run yet, different in every page; below
    16 MiB there are firmware and the guest itself."""
    address, size = guest.ram_blocks()['m']
    pages = bytearray(os.urandom(MIB))
    with open(f'/proc/{guest.process.pid}/mem', 'r+b', buffering=0) as mem:
        mem.seek(address + 16 * MIB)
        for i in range(16, size // MIB):
            for page in range(0, MIB, 4096):
                pages[page:page + 8] = (i * MIB + page).to_bytes(8, 'little')
            mem.write(pages)


def timed(action, *args, **kwargs):
    """Seconds that it takes."""
    begin = time.monotonic()
    action(*args, **kwargs)
    return time.monotonic() - begin


def load_kdump(guest):
    """The same kernel, initramfs and console as the crash kernel."""
    guest.cmd('mount -o ro /dev/vda /mnt && kexec -p /mnt/vmlinuz '
              '--initrd=/mnt/initrd --append="console=ttyS0 panic=3 irqpoll '
              'nr_cpus=1 reset_devices" && umount /mnt', timeout=300)
    if guest.cmd('cat /sys/kernel/kexec_crash_loaded') != '1':
        raise GuestError('no crash kernel is loaded')


def makedumpfile(guest, options, target, environment=''):
    """Save /proc/vmcore; what it said but for its progress."""
    said = "tr '\\r' '\\n' < /tmp/said | grep -v %"
    return guest.cmd(f'rm -f {target}; '
                     f'{environment} makedumpfile {options} {VMCORE} {target} '
                     '>/tmp/said 2>&1; s=$?; ' + said + '; exit $s',
                     timeout=600 * build.TIMEOUT_SCALE)


def save_dump(guest):
    """Save /proc/vmcore on the guest's disk; the size of the file."""
    guest.cmd('mount /dev/vda /mnt')
    makedumpfile(guest, '-l -d 31', '/mnt/dump')
    guest.cmd('sync')
    size = int(guest.cmd('stat -c %s /mnt/dump'))
    guest.cmd('umount /mnt')
    return size


def dump_guest_memory(guest, path):
    """The host writes all of guest memory as an ELF core; its size. Not in the
    background: the event that tells of such a dump's end comes before QEMU has
    done with it."""
    usual = guest.qmp.timeout
    guest.qmp.timeout = 1800 * build.TIMEOUT_SCALE
    try:
        guest.qmp.cmd('dump-guest-memory', paging=False,
                      protocol='file:' + path)
    finally:
        guest.qmp.timeout = usual
    return os.path.getsize(path)
