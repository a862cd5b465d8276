#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The dump has the registers that each vCPU had at the instant of the crash."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FadumpTest, full_only, main

VCPUS = 4
# The timer ticks 250 times a second, and an emulated CPU is slow to serve it.
ATTEMPTS = 4
# tests/guest/spin.c puts these numbers into these registers
NUMBERED = {1: 'rbx', 2: 'rcx', 3: 'rdx', 4: 'rsi', 5: 'rdi', 6: 'rbp',
            8: 'r8', 9: 'r9', 10: 'r10', 11: 'r11', 12: 'r12', 13: 'r13',
            14: 'r14', 15: 'r15'}


class RegisterTruth(FadumpTest):
    """All CPUs but the one that panics run a loop with known values in their
    registers: they must still be in it when the device looks."""

    def crash_spinning(self, guest, panic_cpu, spinning):
        """The loop's addresses, and the registers of all CPUs."""
        said = guest.cmd(
            f'spin {" ".join(map(str, spinning))} > /tmp/spin 2>&1 & '
            'for i in $(seq 300); do grep -q loop /tmp/spin && break; '
            'sleep 0.1; done; cat /tmp/spin')
        loop = re.search(r'loop (0x[0-9a-f]+) (0x[0-9a-f]+)', said)
        self.assertTrue(loop, said)
        guest.crash(f'taskset {1 << panic_cpu:x} '
                    'sh -c "echo c > /proc/sysrq-trigger"')
        descriptor = self.assert_captured(guest)
        self.assertEqual(descriptor.crash_cpu, panic_cpu)
        cpus = self.vmcore(guest).cpu_registers()
        self.assertEqual(len(cpus), VCPUS)
        return [int(a, 16) for a in loop.groups()], cpus

    def check(self, kernel, machine, panic_cpu):
        disk = self.disk()
        guest = self.guest(kernel, machine=machine, memory='1G', vcpus=VCPUS,
                           disks=[disk])
        spinning = [c for c in range(VCPUS) if c != panic_cpu]
        for attempt in range(1, ATTEMPTS + 1):
            (start, end), cpus = self.crash_spinning(guest, panic_cpu,
                                                     spinning)
            # A CPU in its timer's interrupt is where it was at the crash, too.
            ticking = [c for c in spinning if cpus[c]['cs'] & 3 == 0]
            if not ticking:
                break
            self.assertLess(attempt, ATTEMPTS,
                            f'CPUs {ticking} in the kernel again, at ' +
                            ', '.join(hex(cpus[c]['rip']) for c in ticking))
            self.release(guest)

        for cpu in spinning:
            regs = cpus[cpu]
            self.assertTrue(start <= regs['rip'] < end,
                            f'CPU {cpu}: rip {regs["rip"]:#x} is not in the '
                            f'loop {start:#x}-{end:#x}')
            for number, name in NUMBERED.items():
                self.assertEqual(
                    regs[name],
                    0x5afe000000000000 | cpu << 16 | number << 8 | 0xa5,
                    f'CPU {cpu}: {name} is {regs[name]:#x}')
            self.assertGreater(regs['rax'], 0)
        panicking = cpus[panic_cpu]
        self.assertEqual(panicking['cs'] & 3, 0)
        self.assertGreater(panicking['rip'], 0xffffffff80000000)

        # The same through the eyes of who analyses the dump.
        guest.cmd('mount /dev/vda /mnt && '
                  'makedumpfile -l -d 31 /proc/vmcore /mnt/dump && umount /mnt')
        dump = self.fetch_dump(disk, 'dump')
        first, every = self.crash_session(guest.kernel, dump, 'bt', 'bt -a')
        self.assertRegex(first, rf'(?m)^PID: .* CPU: {panic_cpu} +COMMAND: "sh"')
        for frame in ('panic', 'write_sysrq_trigger', 'do_syscall_64'):
            self.assertRegex(first, rf'(?m)^ *#\d+ \[\w+\] {frame} at ')
        tasks = re.findall(r'^PID: .*CPU: (\d+) +COMMAND: "(\w+)"', every, re.M)
        self.assertEqual(
            sorted(tasks),
            sorted((str(c), 'sh' if c == panic_cpu else 'spin')
                   for c in range(VCPUS)), every)
        for cpu in spinning:
            # User mode has no kernel stack; its registers are what there is.
            stack = re.search(rf'^PID: [^\n]*CPU: {cpu} .*?(?=^PID: |\Z)',
                              every, re.M | re.S).group(0)
            rip = re.search(r'RIP: ([0-9a-f]+)', stack)
            self.assertTrue(rip, stack)
            self.assertTrue(start <= int(rip.group(1), 16) < end, stack)

    def test_q35(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check('6.1', 'q35', 2)

    @full_only
    def test_pc(self):
        """
        :avocado: tags=machine:pc,kernel:6.12
        """
        self.check('6.12', 'pc', 0)


if __name__ == '__main__':
    main()
