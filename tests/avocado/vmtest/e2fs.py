# SPDX-License-Identifier: GPL-2.0-or-later
"""ext4 in a file, made, read and written without root and without a mount."""

import shutil
import subprocess


def _tool(name):
    # Not in every user's PATH
    return (shutil.which(name) or
            shutil.which(name, path='/usr/sbin:/sbin') or name)


def make(path):
    subprocess.run([_tool('mkfs.ext4'), '-q', '-F', path], check=True,
                   stdin=subprocess.DEVNULL)


def _debugfs(path, request, *options):
    proc = subprocess.run([_tool('debugfs'), *options, '-R', request, path],
                          capture_output=True, text=True, check=True)
    # It reports errors on stderr and succeeds all the same.
    errors = [l for l in proc.stderr.splitlines()
              if l and not l.startswith('debugfs ')]
    if errors:
        raise OSError(f'{path}: {request}: {"; ".join(errors)}')


def get(path, name, target, offset=0):
    """Copy a file out of it. offset: where in the file it begins, in bytes."""
    _debugfs(f'{path}?offset={offset}' if offset else path,
             f'dump "/{name}" "{target}"')
    return target


def put(path, source, name):
    _debugfs(path, f'write "{source}" "{name}"', '-w')
