# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that have booted already: the first of a kind is kept as a migration
stream, and others of that kind start from it, in a second instead of eight.

Of a kind are guests with the same QEMU, kernel, initramfs and machine. Only
plain ones are kept: what a test brings along (a memory backend, a device) is
most often its own. FADUMP_COLD=1 boots each guest.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil

from . import build

_DIR = os.path.join(build.BUILD, 'booted')
# A stream has some 100 MiB: only what a machine is made of is zero in it.
_KEEP = 24
# Options that a guest cannot see, each with its value
_HOSTS_OWN = ('-qmp', '-action')


def _stat(path):
    s = os.stat(path)
    return [os.path.realpath(path), s.st_size, s.st_mtime_ns]


def _plain_args(args):
    """QEMU's arguments without those that a guest cannot see."""
    left, it = [], iter(args)
    for arg in it:
        if arg in _HOSTS_OWN:
            next(it)
        else:
            left.append(arg)
    return left


def kind(kernel, options):
    """The name of a guest's kind, for arguments as Guest() takes them; None
    if such guests are not kept."""
    options = dict(options)
    disks = options.pop('disks', ())
    if (options.pop('uefi', None) or
            _plain_args(options.pop('args', ())) or os.environ.get('FADUMP_COLD') or
            build.accel() != 'tcg' or set(options) - {
                'machine', 'vcpus', 'memory', 'fadump', 'cmdline'}):
        return None
    what = [_stat(build.qemu_binary()), _stat(kernel.vmlinuz),
            _stat(kernel.initramfs), sorted(options.items()),
            [os.path.getsize(d.path) for d in disks]]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]


@contextlib.contextmanager
def _lock(name):
    os.makedirs(_DIR, exist_ok=True)
    with open(os.path.join(_DIR, name + '.lock'), 'w', encoding='ascii') as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def _keep(guest, path):
    """Boot the guest and keep it there."""
    shutil.rmtree(path + '.new', ignore_errors=True)
    os.mkdir(path + '.new')
    guest.boot()
    guest.save_stream(os.path.join(path + '.new', 'stream'))
    for log in (guest.console_log, guest.firmware_log):
        shutil.copy(log, path + '.new')
    with open(os.path.join(path + '.new', 'boot_id'), 'w',
              encoding='ascii') as f:
        f.write(guest.boots[0].boot_id)
    os.rename(path + '.new', path)
    _prune()


def _prune():
    kept = [e for e in os.scandir(_DIR) if e.is_dir() and '.' not in e.name]
    kept.sort(key=lambda e: e.stat().st_mtime, reverse=True)
    for entry in kept[_KEEP:]:
        shutil.rmtree(entry.path, ignore_errors=True)


def boot(kernel, options, new_guest):
    """A guest, made by new_guest(), that has booted: now, or once before."""
    name = kind(kernel, options)
    if name is None:
        return new_guest().boot()
    path = os.path.join(_DIR, name)
    with _lock(name):
        if not os.path.isdir(path):
            first = new_guest()
            _keep(first, path)
            first.close()
        os.utime(path)
        return new_guest().resume(path)
