#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Crash a guest, and show what then happens and what it means.

Real parts only: the QEMU that was built, SeaBIOS, a stock Debian kernel, the
guest driver, Debian's makedumpfile in the guest, crash on the host. What is
left is in build/demo.
"""

import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                'avocado'))

from vmtest import abi, build
from vmtest.guest import ConsoleFollower, Disk, Guest, GuestError

OUT = os.path.join(build.BUILD, 'demo')
FADUMP = '/sys/kernel/fadump'
MIB = 1 << 20
BEGIN = time.monotonic()
COLOUR = sys.stdout.isatty() and not os.environ.get('NO_COLOR')

# What of the guest's console is worth a line: who it is, what memory its
# firmware shows it, how it dies, and what the driver and /init say.
WORTH = re.compile(
    r'Linux version|BIOS-e820: |Memory: |fadump:|guest: |'
    r'sysrq: Trigger|Kernel panic|sysrq_handle_crash|write_sysrq_trigger|'
    r'RIP: 0010|virtio_blk.*vda')
# A boot's own noise that matches by accident
NOISE = re.compile(r'loading out-of-tree|module verification')


def paint(code, text):
    return f'\033[{code}m{text}\033[0m' if COLOUR else text


def step(text):
    seconds = time.monotonic() - BEGIN
    print(f'\n{paint(1, f"[{seconds:5.1f} s] {text}")}', flush=True)


def say(text):
    print(f'          {text}', flush=True)


def quote(who, line):
    width = shutil.get_terminal_size((160, 25)).columns - 12
    print(f'  {paint(36, f"{who:>7} |")} {line[:max(width, 60)]}', flush=True)


def on_console(line):
    line = re.sub(r'^\[ *[\d.]+\] ', '', line)
    line = re.sub(r'^(Linux version \S+) .*', r'\1', line)
    entry = re.match(r'BIOS-e820: \[mem 0x(\w+)-0x(\w+)\]', line)
    if entry:
        start, end = (int(n, 16) for n in entry.groups())
        # RAM, not the holes around the firmware's own
        if start >= 2048 * MIB or end - start < 16 * MIB:
            return
    if WORTH.search(line) and not NOISE.search(line):
        quote('guest', line.removeprefix('guest: '))


class Progress:
    """makedumpfile's progress: rewritten in place on a terminal, else one line
    for each thing that it did."""

    def __init__(self):
        self.rest = ''
        self.last = ''

    def __call__(self, data):
        *parts, self.rest = re.split(r'[\r\n]',
                                     self.rest + data.decode(errors='replace'))
        for part in parts:
            self.show(part.strip())

    def show(self, part):
        bar = re.match(r'(.*?)\s*: \[\s*([\d.]+) %\]', part)
        if not bar:
            # The version check is about kernels newer than the tool.
            if part and 'kernel version' not in part and \
                    'may be incomplete' not in part:
                quote('guest', part)
            return
        text = f'{bar.group(1):<32} {float(bar.group(2)):5.1f} %'
        done = bar.group(2) == '100.0'
        # It says so twice where threads and the rest end apart.
        if done and text == self.last:
            return
        self.last = text
        if COLOUR:
            print(f'\r  {paint(36, "  guest |")} {text}\033[K',
                  end='\n' if done else '', flush=True)
        elif done:
            quote('guest', text)


def crash_show(kernel, dump, title, commands):
    """Run crash(8) on the dump and show what it says; it is kept beside the
    dump."""
    begin = time.monotonic()
    proc = subprocess.run(
        [*build.crash_command(kernel), '-s', '--no_scroll', kernel.vmlinux,
         dump],
        input='\n'.join(c for _, c in commands) + '\nquit\n',
        capture_output=True, text=True, errors='replace', check=False)
    if proc.returncode:
        raise GuestError(f'crash failed on {dump}:\n{proc.stdout}'
                         f'{proc.stderr}')
    say(f'{title} ({time.monotonic() - begin:.1f} s)')
    parts = proc.stdout.split('=====\n')
    for (name, _), text in zip(commands[::2], parts):
        print()
        print(f'  {paint(33, "crash>")} {name}')
        for line in text.rstrip().splitlines():
            quote('crash', line)
    with open(os.path.join(os.path.dirname(dump), 'crash.txt'), 'w',
              encoding='utf-8') as f:
        f.write(proc.stdout)


MARK = '!echo ====='


def crash_show_all(kernel, dump):
    """What a dump has, in a few commands"""
    crash_show(kernel, dump,
               'the whole state of the machine at its death, with symbols',
               [('sys', 'sys'), ('', MARK),
                ('bt        (the task that panicked)', 'bt'), ('', MARK),
                ('ps | head', 'ps | head -n 12'), ('', MARK),
                ('log       (its end, from the panic on)',
                 'log | sed -n "/sysrq: Trigger/,\\$p" | head -n 14'),
                ('', MARK)])


def boot(guest, kernel):
    step('A virtual machine starts, with 2 GiB, 2 vCPUs and -device fadump-dev')
    say(f'a stock Debian kernel, {kernel}; accelerator {build.accel()}')
    guest.start()
    first = guest.wait_boot()
    total = guest.mem_total()
    say(f'booted in {first.seconds:.1f} s. MemTotal is {total >> 10} kB; '
        f'{int(guest.cmd(f"cat {FADUMP}/mem_reserved")) // MIB} MB reserved '
        'for crash dumps,')
    say('neither in the guest nor, now, on the host: a crash kernel would have '
        'taken 192 MB and more.')
    if guest.cmd(f'cat {FADUMP}/registered') != '1':
        raise GuestError('the guest did not register: see console.log')
    return total


def panic(guest):
    step('The guest panics: echo c > /proc/sysrq-trigger')
    firmware = guest.firmware_starts()
    booted = guest.crash()
    if not guest.exists('/proc/vmcore'):
        raise GuestError('the guest has no /proc/vmcore: see console.log')
    data = guest.read_file('/sys/firmware/qemu_fw_cfg/by_name/'
                           f'{abi.FW_CFG_FILE}/raw')
    with open(os.path.join(OUT, 'descriptor'), 'wb') as f:
        f.write(data)
    descriptor = abi.Descriptor(data)
    h = descriptor.header

    step('What happened meanwhile: QEMU captured the machine')
    cause = descriptor.cause.removeprefix('CAUSE_').lower()
    say(f'cause       {cause}, on vCPU {descriptor.crash_cpu}')
    say(f'registers   of all {h["nr_vcpus"]} vCPUs, read at the instant of the '
        'crash')
    say(f'set aside   {descriptor.held_outside() // MIB} MiB of boot memory, in '
        f'host memory, {h["capture_ns"] / 1e6:.0f} ms')
    say(f'in place    {(descriptor.memory() - descriptor.held_outside()) // MIB}'
        ' MiB of RAM, untouched')
    say(f'then reset: SeaBIOS ran {guest.firmware_starts() - firmware} times, '
        'and the same kernel booted')
    say(f'with the same command line in {booted.seconds:.1f} s, confined to '
        f'boot memory: MemTotal is {guest.mem_total() >> 10} kB.')


def save(guest):
    step('This is the production system already: it saves its own dump')
    size = int(guest.cmd('stat -c %s /proc/vmcore'))
    quote('guest', f'/proc/vmcore, {size // MIB} MiB, an ELF core of the '
                   'crashed kernel')
    quote('guest', 'makedumpfile -l -d 31 /proc/vmcore /mnt/vmcore.kdump')
    guest.cmd('mount /dev/vda /mnt')
    guest.on_output = Progress()
    begin = time.monotonic()
    guest.cmd('makedumpfile -l -d 31 /proc/vmcore /mnt/vmcore.kdump',
              timeout=600)
    seconds = time.monotonic() - begin
    guest.on_output = None
    guest.cmd('makedumpfile --dump-dmesg /proc/vmcore /mnt/dmesg.txt')
    dumped = int(guest.cmd('stat -c %s /mnt/vmcore.kdump'))
    guest.cmd('umount /mnt')
    say(f'{size // MIB} MiB of memory made a dump of {dumped // MIB} MiB in '
        f'{seconds:.1f} s.')


def release(guest, total):
    step('Its memory comes back, with no second reboot')
    quote('guest', f'echo 1 > {FADUMP}/release_mem')
    begin = time.monotonic()
    guest.cmd(f'echo 1 > {FADUMP}/release_mem')
    seconds = time.monotonic() - begin
    now = guest.mem_total()
    say(f'released in {seconds:.1f} s. MemTotal is {now >> 10} kB; before the '
        f'crash it was {total >> 10} kB ({100 * now / total:.1f} %).')
    # Linux counts the memory map of added memory in, and at boot it does not.
    if not total * 0.99 < now < total * 1.02:
        raise GuestError('MemTotal is not what it was')
    if guest.cmd(f'cat {FADUMP}/registered') != '1':
        raise GuestError('the guest did not register again')
    say('The guest is registered again: the next crash is captured, too.')
    time.sleep(0.3)             # the console's last lines


def analyse(kernel, disk):
    step('On the host: crash(8) opens the dump')
    for name in ('vmcore.kdump', 'dmesg.txt'):
        disk.get(name, os.path.join(OUT, name))
    crash_show_all(kernel, os.path.join(OUT, 'vmcore.kdump'))


def main():
    kernel = build.find_kernel()
    if not kernel:
        raise build.NotBuilt('no guest kernel is built: run "make demo"')
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    disk = Disk(os.path.join(OUT, 'disk.img'), '2G')
    guest = Guest(OUT, kernel=kernel, memory='2G', vcpus=2, disks=[disk])
    follower = ConsoleFollower(guest, on_console)
    follower.start()
    try:
        total = boot(guest, kernel)
        panic(guest)
        save(guest)
        release(guest, total)
    finally:
        follower.stop()
        guest.close()
    analyse(kernel, disk)
    os.unlink(disk.path)

    step('Done')
    say(f'{OUT} has:')
    for name, what in (('vmcore.kdump', 'the dump; open it again with'),
                       ('dmesg.txt', 'the crashed kernel\'s log'),
                       ('crash.txt', 'what crash printed'),
                       ('descriptor', 'what QEMU wrote down of the capture'),
                       ('console.log', 'the guest\'s console'),
                       ('firmware.log', 'SeaBIOS\'s debug output'),
                       ('qemu.log', 'QEMU\'s command line and messages')):
        say(f'  {name:<14}{what}')
        if name == 'vmcore.kdump':
            say(f'  {"":<14}  ' + ' '.join(
                [*build.crash_command(kernel), kernel.vmlinux,
                 os.path.join(OUT, name)]))


if __name__ == '__main__':
    try:
        main()
    except (build.NotBuilt, GuestError, OSError, TimeoutError) as exc:
        print(f'demo: {exc}\ndemo: the logs are in {OUT}', file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
