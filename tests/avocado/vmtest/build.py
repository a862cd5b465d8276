# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the built parts are, and what this machine can do.

Environment:
  FADUMP_BUILD          the build directory (default: build/ at the top)
  FADUMP_QEMU           another QEMU binary
  FADUMP_KVER           kernel series or release for tests that name none
  FADUMP_ACCEL          tcg (default), kvm, or auto: kvm if a guest boots with it
  FADUMP_TIMEOUT_SCALE  multiplies every deadline, for slow machines
  FADUMP_KEEP           keep disks and dumps of tests that passed, too
  FADUMP_COLD           boot each guest, also where one has booted (booted.py)
"""

import functools
import json
import os
import re
import shutil
import subprocess
import tempfile
import time

from . import e2fs

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.dirname(os.path.abspath(__file__)))))

BUILD = os.path.abspath(os.environ.get('FADUMP_BUILD',
                                       os.path.join(TOP, 'build')))
TIMEOUT_SCALE = float(os.environ.get('FADUMP_TIMEOUT_SCALE', '1'))
KEEP = bool(os.environ.get('FADUMP_KEEP'))


class NotBuilt(Exception):
    """A part that is not there, with what makes it."""


def qemu_binary():
    path = os.environ.get('FADUMP_QEMU',
                          os.path.join(BUILD, 'qemu', 'qemu-system-x86_64'))
    if not os.access(path, os.X_OK):
        raise NotBuilt(f'{path} is not there: run "make" at the top first')
    return path


def qemu_img():
    return os.path.join(os.path.dirname(qemu_binary()), 'qemu-img')


def storage_daemon():
    """The one of our QEMU, or the user's own; None if there is none."""
    path = os.path.join(BUILD, 'qemu', 'storage-daemon', 'qemu-storage-daemon')
    return path if os.access(path, os.X_OK) else shutil.which(
        'qemu-storage-daemon')


def _version_key(release):
    return [int(n) for n in re.findall(r'\d+', release)]


def kernel_releases():
    """Releases whose kernel and initramfs are built, oldest first."""
    kernels = os.path.join(BUILD, 'kernels')
    if not os.path.isdir(kernels):
        return []
    return sorted((r for r in os.listdir(kernels)
                   if os.path.exists(os.path.join(kernels, r, 'vmlinuz')) and
                   os.path.exists(os.path.join(BUILD, 'guest', r,
                                               'initramfs.cpio.gz'))),
                  key=_version_key)


class Kernel:
    """One guest kernel release and what was built for it."""

    def __init__(self, release):
        self.release = release
        self.vmlinuz = os.path.join(BUILD, 'kernels', release, 'vmlinuz')
        self.vmlinux = os.path.join(BUILD, 'kernels', release, 'vmlinux')
        self.initramfs = os.path.join(BUILD, 'guest', release,
                                      'initramfs.cpio.gz')

    def __str__(self):
        return self.release

    @property
    def systemd(self):
        """The initramfs of a guest that systemd runs; for 6.1 only."""
        path = os.path.join(BUILD, 'guest', self.release, 'systemd.cpio.gz')
        if not os.path.exists(path):
            raise NotBuilt(f'{path} is not there: run "make" at the top first')
        return path


def find_kernel(which=None):
    """The newest built release of a series ("6.1"), or that very release;
    "debug" for the one of scripts/debug-kernel.sh, which is nobody's newest.

    None if there is none. Without a name: FADUMP_KVER, else the newest.
    """
    which = which or os.environ.get('FADUMP_KVER')
    releases = [r for r in kernel_releases()
                if r == which or r.endswith('-debug') == (which == 'debug')]
    if which and which != 'debug':
        releases = [r for r in releases
                    if r == which or r.startswith(which + '.')]
    return Kernel(releases[-1]) if releases else None


def crash_tool(name='crash'):
    path = os.path.join(BUILD, 'tools', name)
    if not os.access(path, os.X_OK):
        raise NotBuilt(f'{path} is not there: run "make" at the top first')
    return path


def crash_command(kernel):
    """The crash(8) that opens dumps of that kernel. Debian 13's knows nothing
    of Linux 7, and Debian's newest looks for modules where they no longer
    are."""
    if _version_key(kernel.release)[0] < 7:
        return [crash_tool()]
    return [crash_tool('crash-newest'), '--no_modules']


class DistroImage:
    """A disk image of scripts/distro-image.sh; it is never written to."""

    def __init__(self, name):
        self.name = name
        directory = os.path.join(BUILD, 'distro', name)
        self.disk = os.path.join(directory, 'disk.img')
        try:
            with open(os.path.join(directory, 'release'),
                      encoding='ascii') as f:
                self.kernel = Kernel(f.read().strip())
            # Not all of these are among the kernels of the other guests.
            self.kernel.vmlinux = os.path.join(directory, 'kernel', 'vmlinux')
        except FileNotFoundError as exc:
            raise NotBuilt(f'{directory} is not there: run '
                           f'scripts/distro-image.sh {name}') from exc

    def get(self, name, target):
        """Copy a file of its root to there."""
        table = json.loads(subprocess.run(
            ['/usr/sbin/sfdisk', '--json', self.disk], check=True,
            capture_output=True).stdout)['partitiontable']
        return e2fs.get(self.disk, name, target,
                        table['partitions'][-1]['start'] * 512)


def ovmf(suite, smm=False):
    """The code of that Debian's OVMF, and its variables as they come."""
    paths = [os.path.join(BUILD, 'firmware', f'ovmf-{suite}', f'OVMF_{name}.fd')
             for name in ('CODE_4M' + ('.secboot' if smm else ''), 'VARS_4M')]
    if not all(map(os.path.exists, paths)):
        raise NotBuilt(f'{paths[0]} is not there: run scripts/firmware.sh')
    return paths


def secure_boot_variables(suite, path, mok=None):
    """Variables for that OVMF with Secure Boot on and Microsoft's keys, which
    Debian's shim is signed with. mok: a certificate that is enrolled besides,
    as MokManager does it at the console."""
    shipped = os.path.join(BUILD, 'firmware', f'ovmf-{suite}',
                           'OVMF_VARS_4M.ms.fd')
    modules = os.path.join(BUILD, 'firmware', 'virt-firmware')
    if not os.path.exists(shipped) or not os.path.exists(modules):
        raise NotBuilt(f'{shipped} and {modules} are not both there: run '
                       'scripts/firmware.sh')
    # The owner is anybody's: shim does not look at it.
    enrol = ['--add-mok', '605dab50-e046-4300-abb6-3dd810dd8b23', mok]
    subprocess.run(['/usr/bin/python3', '-m', 'virt.firmware.vars',
                    '--input', shipped, '--output', path,
                    *(enrol if mok else [])], check=True,
                   env={**os.environ, 'PYTHONPATH': modules},
                   capture_output=True)


def host_program(name):
    """A test program: they are static, so what runs in the guest runs here."""
    path = os.path.join(BUILD, 'guest', 'bin', name)
    if not os.access(path, os.X_OK):
        raise NotBuilt(f'{path} is not there: run "make" at the top first')
    return path


def tinyboot():
    """The guest without an operating system, tests/guest/tinyboot."""
    path = os.path.join(BUILD, 'guest', 'tinyboot.elf')
    if not os.path.exists(path):
        raise NotBuilt(f'{path} is not there: run "make" at the top first')
    return path


def bare():
    """The one that drives the device itself, tests/guest/bare."""
    path = os.path.join(BUILD, 'guest', 'bare.elf')
    if not os.path.exists(path):
        raise NotBuilt(f'{path} is not there: run "make" at the top first')
    return path


@functools.lru_cache(maxsize=None)
def kvm_runs_tinyboot():
    """A KVM that runs no Linux may still run this: each is tried by itself.
    The CPU is an old one: newer ones have what some machines' KVM has not."""
    return _kvm_runs(tinyboot(), 'h', b'\ntiny h ')


@functools.lru_cache(maxsize=None)
def kvm_runs_bare():
    return _kvm_runs(bare(), '-- idle fill halt', b'\nbare halts\n')


def _kvm_runs(image, cmdline, text):
    if not os.access('/dev/kvm', os.R_OK | os.W_OK):
        return False
    return _says(['-accel', 'kvm', '-cpu', 'qemu64', '-m', '256M',
                  '-kernel', image, '-append', cmdline, '-device',
                  'isa-debugcon,iobase=0x402,chardev=log'], text, 20)


def _says(arguments, text, timeout):
    """Whether a QEMU says that on its chardev log, in so many seconds."""
    with tempfile.TemporaryDirectory() as scratch:
        log = os.path.join(scratch, 'log')
        with subprocess.Popen(
                [qemu_binary(), '-nodefaults', '-no-user-config', '-display',
                 'none', '-chardev', 'file,id=log,path=' + log] + arguments,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL) as proc:
            said = False
            end = time.monotonic() + timeout
            while time.monotonic() < end and proc.poll() is None and not said:
                time.sleep(0.2)
                if os.path.exists(log):
                    with open(log, 'rb') as f:
                        said = text in f.read()
            proc.kill()
    return said


@functools.lru_cache(maxsize=None)
def accel():
    """tcg unless the user wants more. /dev/kvm proves nothing: nested or
    restricted machines have it and still run no guest, so auto boots one."""
    wanted = os.environ.get('FADUMP_ACCEL', 'tcg')
    if wanted != 'auto':
        return wanted
    kernel = find_kernel()
    if not os.access('/dev/kvm', os.R_OK | os.W_OK) or not kernel:
        return 'tcg'
    works = _says(['-accel', 'kvm', '-m', '512M', '-kernel', kernel.vmlinuz,
                   '-append', 'console=ttyS0', '-serial', 'chardev:log'],
                  b'Kernel panic', 15)
    return 'kvm' if works else 'tcg'
