# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine that the benchmark runs on, as far as it tells of the results."""

import os
import re
import subprocess

from vmtest import build

GIB = 1 << 30


def _read(path):
    try:
        with open(path, encoding='utf-8') as f:
            return f.read()
    except OSError:
        return ''


def meminfo(name):
    """A line of /proc/meminfo in bytes."""
    return int(re.search(rf'^{name}: +(\d+) kB', _read('/proc/meminfo'),
                         re.M).group(1)) << 10


def available():
    """Bytes of memory that can be had, less what the host should keep."""
    return meminfo('MemAvailable') - GIB


def _said(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True,
                              check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ''


def machine(kernel):
    cpu = re.search(r'^model name\s*: (.*)$', _read('/proc/cpuinfo'), re.M)
    qemu = re.search(r'version (\S+)', _said(build.qemu_binary(), '--version'))
    huge = re.search(r'\[(\w+)\]', _read(
        '/sys/kernel/mm/transparent_hugepage/enabled'))
    changed = _said('git', '-C', build.TOP, 'status', '--porcelain', '-uno',
                    '--', 'qemu', 'guest', 'tests')
    return {
        'cpu': cpu.group(1) if cpu else 'unknown',
        'cpus': len(os.sched_getaffinity(0)),
        'memory': meminfo('MemTotal'),
        'kernel': os.uname().release,
        'huge_pages': huge.group(1) if huge else 'none',
        'load': os.getloadavg()[0],
        'qemu': qemu.group(1) if qemu else 'unknown',
        'accel': build.accel(),
        'guest': kernel.release,
        'commit': (_said('git', '-C', build.TOP, 'rev-parse', '--short=12',
                         'HEAD') or 'unknown') + ('+' if changed else ''),
    }


def rss(pid):
    return int(re.search(r'^VmRSS:\s+(\d+) kB', _read(f'/proc/{pid}/status'),
                         re.M).group(1)) << 10
