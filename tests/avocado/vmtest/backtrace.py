# SPDX-License-Identifier: GPL-2.0-or-later
"""What debuggers show of the task that panicked, against what the kernel said.

The kernel printed its call trace before it died; its log is in the dump. A
debugger's trace is right if it begins in the path that leads to the panic and goes
on with exactly those functions, to the end of the stack. Frames are (function,
module or None); where an exception or an interrupt came, the function that it
came to is one of them.
"""

import json
import os
import re
import shlex
import shutil
import subprocess

from . import build

# What stands before the caller of panic(), or, where there was a fault, before the
# function that it was in.
PANIC_PATH = re.compile(
    r'(__)?crash_kexec|v?panic|nmi_panic|emergency_restart|machine_kexec|'
    r'oops_end|die|__die|die_addr|do_trap|do_error_trap|handle_bug|'
    r'page_fault_oops|kernelmode_fixup_or_oops|(__)?bad_area.*|'
    r'do_user_addr_fault|do_kern_addr_fault|handle_page_fault|(asm_)?exc_\w+')

_SUFFIX = re.compile(r'\.(isra|constprop|part|cold|llvm)\b.*')


def _plain(name):
    """Without what the compiler adds for itself: not every tool shows it. Of two
    symbols for a place, one."""
    return _ALIAS.get(name) or _SUFFIX.sub('', name)


_ALIAS = {'end_repeat_nmi': 'asm_exc_nmi',
          '__indirect_thunk_start': '__x86_indirect_thunk_array'}


def _stripped(frames):
    """What comes after the panic's own path. It must be there."""
    for number, (name, module) in enumerate(frames):
        if module or not PANIC_PATH.fullmatch(name):
            return frames[number:], number
    return [], len(frames)


def from_log(log):
    """The frames that the kernel printed for its last trace."""
    lines = [re.sub(r'^\[ *[\d.]+\](\[.*?\])? ', '', line)
             for line in log.splitlines()]
    begin = max((i for i, line in enumerate(lines)
                 if line.strip() == 'Call Trace:'), default=None)
    if begin is None:
        raise AssertionError(f'no call trace in the log:\n{log[-3000:]}')
    frames = []
    # An oops says where it was before its trace, a panic has said nothing else.
    for line in reversed(lines[max(0, begin - 40):begin]):
        if 'Kernel panic - not syncing' in line:
            break
        found = re.match(r'RIP: 0010:(?:(\w[\w.]*)\+0x|)', line)
        if found:
            frames.append((found.group(1), None))
            break
    for line in lines[begin + 1:]:
        found = re.match(r'\s*(?:RIP: 0010:)?(\? )?([\w.]+)\+0x[0-9a-f]+/0x'
                         r'[0-9a-f]+(?: \[(\w+).*\])?$', line)
        if found and not found.group(1):
            frames.append((found.group(2), found.group(3)))
        elif line.startswith(('RIP: 0033', '---[', 'Kernel Offset')):
            break
    frames = [(_plain(name), module) for name, module in frames
              if name not in ('dump_stack_lvl', 'dump_stack', '__dump_stack')]
    # The oops's own RIP line does not name the module.
    modules = {name: module for name, module in _MODULE_RIP.findall(log)}
    return [(name, module or modules.get(name)) for name, module in frames]


_MODULE_RIP = re.compile(r'RIP: 0010:(\w+)[\w.]*\+0x[0-9a-f]+/0x[0-9a-f]+ '
                         r'\[(\w+)')


def from_crash(text):
    """The frames of what crash's bt printed for one task."""
    frames = []
    # It names a function that was left for an exception's stack a second time.
    text = re.sub(r'(?m)^(--- <.* exception stack> ---)\n *#\d+ .*', r'\1', text)
    for line in text.splitlines():
        found = (re.match(r' *#\d+ \[[0-9a-f]+\] ([\w.]+) at [0-9a-f]+'
                          r'(?: \[(\w+)\])?$', line) or
                 re.match(r' +\[exception RIP: ([\w.]+)(?:\+\w+)?()\]', line))
        if found:
            frames.append((_plain(found.group(1)), found.group(2) or None))
    return frames


def from_gdb(text):
    """The same of gdb's bt. Functions that were inlined have no address of their
    own: the last name before the next address is the function's."""
    frames = []
    for line in text.splitlines():
        found = re.match(r'#\d+ +(0x[0-9a-f]+ in )?([\w.]+|\?\?) \(', line)
        if not found:
            continue
        frame = (_plain(found.group(2)), None)
        if frames and not found.group(1):
            frames[-1] = frame
        else:
            frames.append(frame)
    return frames


def in_module(frame):
    """Where a tool stops that was not told of modules"""
    return frame[1]


def entry(frame):
    """Where one stops that does not get past the code that an exception or an
    interrupt came in by"""
    return re.match('asm_', frame[0])


def begins(truth, frames):
    """Whether a debugger's frames begin in the path that leads to the panic, or
    where the fault was"""
    want, _ = _stripped(truth)
    got, path = _stripped(frames)
    return bool(path) or got[:1] == want[:1]


def compare(truth, frames, *stops):
    """What is wrong with a debugger's frames, or None: they are judged as far as
    the first that one of stops is true of."""
    want, _ = _stripped(truth)
    got, path = _stripped(frames)
    end = next((i for i, frame in enumerate(want)
                if any(stop(frame) for stop in stops)), None)
    if end == 0 and not path:
        return None
    if not path and got[:1] != want[:1]:
        return f'it begins with {frames[:2]}'
    names, shown = [n for n, _ in want[:end]], [n for n, _ in got]
    if end is not None:
        shown = shown[:end]
    # Where a stack begins there are several symbols for one place.
    elif names and shown and all(_BEGIN.fullmatch(n[-1])
                                 for n in (names, shown)):
        names.pop()
        shown.pop()
    if names != shown:
        return f'the kernel said {names}, it shows {shown}'
    return None


def invented(truth, frames):
    """The first function that a debugger shows and that is not there, or None, as
    far as the first of a module, of which gdb is not told. crash leaves callers
    out whose last instruction is the call."""
    left = iter(name for name, _ in truth)
    for name, module in frames:
        if module:
            break
        if not _BEGIN.fullmatch(name) and name not in left:
            return name
    return None


_BEGIN = re.compile(r'(secondary|common)_startup_64\w*|entry_SYSCALL_64\w*|'
                    r'ret_from_fork\w*')


# ---- drgn ----

_DRGN = r'''
import json, sys
cpu = prog["panic_cpu"].counter.value_()
if sys.argv[1] == "old":
    # It asks crashing_cpu, which only kdump sets.
    prog.add_memory_segment(prog["crashing_cpu"].address_, 4,
                            lambda a, n, o, p: cpu.to_bytes(4, "little")[o:o+n])
frames = []
for frame in prog.crashed_thread().stack_trace():
    if frame.is_inline or frame.pc < 1 << 63:
        continue
    try:
        frames.append(frame.symbol().name)
    except LookupError:
        frames.append("?")
print(json.dumps(frames))
'''


def drgn_commands():
    """How to run each drgn that there is: FADUMP_DRGN, commands separated by
    semicolons, or that in PATH."""
    commands = os.environ.get('FADUMP_DRGN') or shutil.which('drgn') or ''
    return [shlex.split(c) for c in commands.split(';') if c.strip()]


def drgn_version(command):
    text = subprocess.run([*command, '--version'], capture_output=True, text=True,
                          check=True).stdout
    return tuple(int(n) for n in re.search(r'drgn (\d+)\.(\d+)\.(\d+)',
                                           text).groups())


def drgn_reads(command, kernel):
    """Whether that drgn knows the form of the kernel's unwind tables: it changed
    in Linux 6.4 and in 7.1 (0.3.0 reads that, 0.0.31 does not)."""
    series = tuple(int(n) for n in re.findall(r'\d+', kernel.release)[:2])
    version = drgn_version(command)
    return ((version >= (0, 0, 23) or series < (6, 4)) and
            (version >= (0, 3, 0) or series < (7, 1)))


def from_drgn(command, kernel, dump, script):
    """The frames of drgn's crashed_thread(). script: a path for ours."""
    with open(script, 'w', encoding='utf-8') as f:
        f.write(_DRGN)
    age = 'old' if drgn_version(command) < (0, 0, 31) else 'new'
    proc = subprocess.run([*command, '-q', '-c', dump, '-s', kernel.vmlinux,
                           script, age], capture_output=True, text=True,
                          timeout=300 * build.TIMEOUT_SCALE, check=False)
    if proc.returncode:
        raise AssertionError(f'{command}: {proc.stdout}{proc.stderr}')
    return [(_plain(name), None)
            for name in json.loads(proc.stdout.splitlines()[-1])]
