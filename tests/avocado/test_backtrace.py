#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debuggers show the stack of the task that panicked as the kernel itself did.

What they show may hang on what happens to be on the stack, and kernels begin a
system call's stack at random. So there are many crashes, of many kinds of task;
each is a guest that had booted already, and QEMU saves the dump.
They are 10 of each kernel in make check-full, and 50 in make check-soak;
FADUMP_BACKTRACES says otherwise. FADUMP_DRGN says which drgn are asked: commands with semicolons between them, else the one in PATH.
FADUMP_BESIDE_KDUMP says how many of a kernel are made once more for kdump: what
debuggers show of its dumps is printed beside, and no test fails of it.
"""

import os
import random
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import (SOAK, FadumpTest, GuestError, build, full_only,
                         main)
from vmtest import backtrace

CRASHES = int(os.environ.get('FADUMP_BACKTRACES', '50' if SOAK else '10'))
BESIDE_KDUMP = int(os.environ.get('FADUMP_BESIDE_KDUMP', '0'))

SYSRQ = 'echo c > /proc/sysrq-trigger'
PANIC = '/sys/kernel/debug/fadump_panic'
OOPS = 'echo 1 > /proc/sys/kernel/panic_on_oops'


def module(where):
    return [OOPS, 'insmod /tests/fadump_panic.ko', f'echo 1 > {PANIC}/{where}']


# What the guest is told, the last of it is what it dies of. A function gets
# QEMU's monitor.
WAYS = {
    'shell': [SYSRQ],
    'pipe': ['echo c | tee /dev/null /proc/sysrq-trigger'],
    'slept': ['(sleep 0.2; echo c) | cat > /proc/sysrq-trigger'],
    'files': ['find /sys -name uevent > /dev/null; ' + SYSRQ],
    'console': ["sh -c 'read x < /dev/ttyS0' & cat /proc/*/maps > /dev/ttyS0; " +
                SYSRQ],
    'synced': ["sh -c 'dd if=/dev/zero of=/tmp/z bs=1M count=8 2> /dev/null; "
               f"sync; sleep 0.1; {SYSRQ}'"],
    'busy': ['yes > /dev/null & yes > /dev/null & sleep 0.5; ' + SYSRQ],
    'memory': ['echo 2 > /proc/sys/vm/panic_on_oom', 'tail /dev/zero'],
    'nmi': ['echo 1 > /proc/sys/kernel/unknown_nmi_panic',
            lambda qmp: qmp.cmd('inject-nmi')],
    'oops': [OOPS, 'insmod /tests/fadump_oops.ko',
             'echo 1 > /sys/kernel/debug/fadump_oops/null'],
    **{where: module(where) for where in
       ('task', 'deep', 'thread', 'work', 'irq', 'other', 'softirq', 'bug',
        'irqbug')},
}


def level(guest):
    """makedumpfile's: of newer kernels it takes too much for user memory."""
    return '31' if guest.kernel.release.startswith('6.1.') else '23'


class Backtrace(FadumpTest):
    """crash's bt, bt -a and gdb bt, and each drgn that there is."""

    def prepare(self, guest, way):
        """All but the last of a way, which is returned."""
        *before, last = WAYS[way]
        for command in before:
            guest.cmd(command)
        return last

    def dump(self, kernel, way):
        """A small dump of a guest that died that way."""
        guest = self.guest(kernel, vcpus=2, memory='512M',
                           fadump='boot-mem=256M')
        last = self.prepare(guest, way)
        start = len(guest.qmp.poll())
        if callable(last):
            last(guest.qmp)
        else:
            guest.send(last)
        guest.qmp.wait_event('FADUMP_CAPTURED', 120 * build.TIMEOUT_SCALE, start)
        guest.qmp.cmd('stop')
        whole = self.save(guest, 'whole')
        guest.close()
        small = self.path('dump')
        if os.path.exists(small):
            os.unlink(small)
        subprocess.run([build.crash_tool('makedumpfile'), '-l', '-d',
                        level(guest), whole, small], check=True,
                       capture_output=True)
        os.unlink(whole)
        return guest.kernel, small

    def kdumps_dump(self, kernel, way):
        """The same, by kdump's kernel."""
        disk = self.disk('kdump', size='512M')
        built = self.kernel(kernel)
        disk.put(built.vmlinuz, 'vmlinuz')
        disk.put(built.initramfs, 'initrd')
        guest = self.guest(kernel, vcpus=2, memory='768M', fadump=None,
                           disks=[disk], cmdline='crashkernel=256M')
        guest.cmd('mount -o ro /dev/vda /mnt && kexec -p /mnt/vmlinuz '
                  '--initrd=/mnt/initrd --append="console=ttyS0 panic=3 '
                  'irqpoll nr_cpus=1 reset_devices" && umount /mnt', timeout=300)
        guest.crash(self.prepare(guest, way))
        # Its makedumpfile may be older than the kernel: the host's takes less.
        guest.cmd('mount /dev/vda /mnt && makedumpfile -l -d 1 /proc/vmcore '
                  '/mnt/dump > /tmp/said 2>&1 && sync && umount /mnt',
                  timeout=600)
        guest.close()
        whole, small = disk.get('dump', self.path('whole')), self.path('dump')
        os.unlink(disk.path)
        if os.path.exists(small):
            os.unlink(small)
        subprocess.run([build.crash_tool('makedumpfile'), '-l', '-d',
                        level(guest), whole, small], check=True,
                       capture_output=True)
        os.unlink(whole)
        return guest.kernel, small

    def judge(self, kernel, dump):
        """What is wrong, by tool; what is crash's own mistake; and what all of it
        is judged by."""
        show, of_all, log, registers, *of_cpus = self.crash_session(
            kernel, dump, 'bt', 'bt -a', 'log', 'help -r',
            'set -c 0', 'gdb bt', 'set -c 1', 'gdb bt',
            allow=[r'Cannot access memory|Backtrace stopped|'
                   r'gdb: invalid kernel virtual address|'
                   r'ip is outside kernel and module text ranges'])
        truth = backtrace.from_log(log)
        # Debian's newest crash is told not to look for modules, and its bt of
        # Linux 7.1 and later loses its way behind the panic's own path, whatever
        # the dump: docs/backtraces.md.
        newest = '--no_modules' in build.crash_command(kernel)
        frames = backtrace.from_crash(show)
        told, wrong = {}, {}
        known = [f for f in truth if not newest or not f[1]]
        (told if newest else wrong)['bt'] = backtrace.compare(known, frames)
        if not backtrace.begins(known, frames):
            wrong['bt'] = f'it begins with {frames[:2]}'
        cpus = {int(cpu): backtrace.from_crash(text) for cpu, text in re.findall(
            r'(?ms)^PID: .*?  CPU: (\d+) (.*?)(?=^PID: |\Z)', of_all)}
        panicked = int(re.search(r'  CPU: (\d+) ', show).group(1))
        if sorted(cpus) != [0, 1] or cpus[panicked] != frames:
            wrong['bt -a'] = of_all
        gdb = {cpu: backtrace.from_gdb(of_cpus[2 * cpu + 1]) for cpu in (0, 1)}
        wrong['gdb bt'] = backtrace.compare(
            truth, gdb[panicked], backtrace.in_module, backtrace.entry)
        # Of the other the kernel said nothing: gdb must know all that crash shows.
        # How large its first frame is no crash knows, whatever the dump, and of a
        # CPU in user mode it shows an old stack (the same page): what is wrong
        # there is told, and only the first frame judged.
        other = 1 - panicked
        user = re.search(rf'(?m)^CPU {other}:\n +RIP: 0000', registers)
        if user:
            told['bt -a'] = f'of user mode {[name for name, _ in cpus[other]]}'
        elif cpus[other] and not newest:
            wrong[f'bt -a, CPU {other}'] = backtrace.invented(gdb[other],
                                                              cpus[other][:1])
            told['bt -a'] = backtrace.invented(gdb[other], cpus[other])
        for command in backtrace.drgn_commands():
            if not backtrace.drgn_reads(command, kernel):
                continue
            wrong[' '.join(command)] = backtrace.compare(
                truth, backtrace.from_drgn(command, kernel, dump,
                                           self.path('drgn.py')),
                backtrace.in_module)
        return *({tool: what for tool, what in found.items() if what}
                 for found in (wrong, told)), truth

    def check(self, kernel, ways):
        wrong = []
        for number, way in enumerate(ways):
            with self.subTest(number=number, way=way):
                release, dump = self.dump(kernel, way)
                found, told, truth = self.judge(release, dump)
                print(f'# {release} {number} {way}: '
                      f'{" ".join(n for n, _ in truth[:4])} ...: '
                      f'{found or "right"}' +
                      (f'; by crash itself {told}' if told else ''),
                      file=sys.stderr, flush=True)
                if found:
                    os.rename(dump, self.path(f'wrong-{number}-{way}'))
                    wrong.append((number, way, found))
                if number < BESIDE_KDUMP:
                    self.tell_kdumps(kernel, number, way)
        self.assertEqual(wrong, [])

    def tell_kdumps(self, kernel, number, way):
        try:
            found, *_ = self.judge(*self.kdumps_dump(kernel, way))
            # Its notes of the others are of what an NMI came to, which is where
            # gdb begins; crash shows the NMI, too.
            found = {tool: what for tool, what in found.items()
                     if not tool.startswith('bt -a, CPU')}
        except (AssertionError, GuestError,
                subprocess.CalledProcessError) as e:
            found = f'no dump: {str(e)[-300:]}'
        print(f'# kdump, {kernel} {number} {way}: {found or "right"}',
              file=sys.stderr, flush=True)

    def check_many(self, kernel):
        ways = [way for _ in range(CRASHES) for way in random.sample(
            sorted(WAYS), len(WAYS))][:CRASHES]
        self.check(kernel, ways)

    @full_only
    def test_6_1(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check('6.1', ['shell', 'memory'])

    @full_only
    def test_6_12(self):
        """
        :avocado: tags=machine:q35,kernel:6.12
        """
        self.check('6.12', ['pipe', 'irq', 'nmi'])

    def test_7(self):
        """
        :avocado: tags=machine:q35,kernel:7
        """
        self.check('7', ['softirq', 'oops'])

    @full_only
    def test_many_6_1(self):
        """
        :avocado: tags=machine:q35,kernel:6.1,full
        """
        self.check_many('6.1')

    @full_only
    def test_many_6_12(self):
        """
        :avocado: tags=machine:q35,kernel:6.12,full
        """
        self.check_many('6.12')

    @full_only
    def test_many_7(self):
        """
        :avocado: tags=machine:q35,kernel:7,full
        """
        self.check_many('7')


if __name__ == '__main__':
    main()
