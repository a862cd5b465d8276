#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever a guest dies of is captured, and named: by the descriptor, by the
event, and by the registers, which are those of the instant of death. Resets
that the guest does not announce are in test_orderly.py."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FADUMP, FadumpTest, full_only, main

HANG = '/sys/kernel/debug/fadump_hang'
# tests/guest/modules/fadump_hang.c puts these into rbx, with the CPU's number
IN_LOOP = 0x4a46000000000000
AT_FAULT = 0x3fa0000000000000
PVPANIC_PORT = 0x505
# Both watchdogs of q35. pvpanic must not end QEMU when it is not captured.
DEVICES = ['-device', 'i6300esb', '-device', 'pvpanic', '-device',
           'pvpanic-pci', '-action', 'watchdog=reset,panic=none']
ITCO = ['-global', 'ICH9-LPC.noreboot=off']


class Causes(FadumpTest):
    """Each guest dies of one cause after the other."""

    def start(self, guest):
        """The number of the next event, and the addresses of the code that
        this boot's module runs at its end."""
        guest.cmd('modprobe fadump_hang')
        self.loop = [int(a, 16) for a in
                     guest.cmd(f'cat {HANG}/loop').split()]
        self.fault = int(guest.cmd(f'cat {HANG}/fault'), 16)
        return len(guest.qmp.poll())

    def finish(self, guest, full):
        self.release(guest)
        self.assert_released(guest, full)
        self.assert_quiet(guest)

    def assert_no_panic_told(self, guest, crashloaded, start):
        """Management software ends or resets a guest at GUEST_PANICKED."""
        self.assertEqual(guest.qmp.count('GUEST_PANICKED', start), 0)
        self.assertEqual(guest.qmp.count('GUEST_CRASHLOADED', start),
                         crashloaded)

    def assert_hung(self, guest, core):
        """Each CPU was in the loop."""
        start, end = self.loop
        for number, regs in enumerate(core.cpu_registers()):
            self.assertTrue(start <= regs['rip'] < end,
                            f'CPU {number}: rip {regs["rip"]:#x} is not in the '
                            f'loop {start:#x}-{end:#x}')
            self.assertEqual(regs['rbx'], IN_LOOP | number)
            self.assertEqual(regs['cs'] & 3, 0)
            self.assertEqual(regs['eflags'] & 0x200, 0, 'interrupts are on')
            self.assertGreater(regs['rsp'], 1 << 63)

    def nmi(self, guest, full):
        """The operator's NMI, for which the kernel panics."""
        start = self.start(guest)
        # pvpanic's driver, which comes later in a panic, has its device.
        self.assertTrue(guest.exists('/sys/bus/pci/drivers/pvpanic-pci/0*'))
        guest.cmd('echo 1 > /proc/sys/kernel/unknown_nmi_panic')
        guest.reset('inject-nmi')
        dump, core = self.assert_cause(guest, 'panic', start)
        self.assertTrue(dump['vmcoreinfo'])
        self.assertEqual(dump['lost-registers'], [])
        self.assertLess(dump['crash-cpu'], guest.vcpus)
        self.assertIn(b'OSRELEASE=' + guest.kernel.release.encode(),
                      core.note('VMCOREINFO')[0].desc)
        regs = core.cpu_registers()[dump['crash-cpu']]
        self.assertGreater(regs['rip'], 0xffffffff80000000)
        self.assert_no_panic_told(guest, 1, start)
        stack, log = self.crash_session(guest.kernel, self.save(guest),
                                        'bt', 'log')
        self.assertRegex(stack, rf'(?m)^PID: .* CPU: {dump["crash-cpu"]} ')
        for frame in ('panic', r'unknown_nmi_error(?:\.cold)?', 'exc_nmi'):
            self.assertRegex(stack, rf'(?m)^ *#\d+ \[\w+\] {frame} at ')
        self.assertIn('Kernel panic - not syncing: NMI: Not continuing', log)
        self.finish(guest, full)

    def hang(self, guest, full, cause, module=None, options='', host=None):
        """All CPUs hang, and somebody puts an end to it."""
        start = self.start(guest)
        hang = f'echo 1 > {HANG}/hang'
        if module:
            # Only a driver that has its watchdog to itself has it as the
            # first one.
            guest.cmd(f'for m in i6300esb iTCO_wdt; do rmmod $m 2>/dev/null; '
                      f'done; modprobe {module} {options}')
            self.assertEqual(guest.cmd('ls /dev/watchdog*').split(),
                             ['/dev/watchdog', '/dev/watchdog0'])
            guest.crash(f'exec 3> /dev/watchdog; {hang}')
        else:
            guest.send(hang)
            self.wait_hung(guest)
            guest.reset(host)
        dump, core = self.assert_cause(guest, cause, start)
        self.assertNotIn('crash-cpu', dump)
        self.assertEqual(dump['lost-registers'], [])
        self.assertEqual(guest.qmp.count('WATCHDOG', start),
                         1 if module else 0)
        self.assert_hung(guest, core)
        self.assert_no_panic_told(guest, 0, start)
        self.finish(guest, full)

    def wait_hung(self, guest):
        """Every CPU is in the loop, as the host sees it."""
        start, end = self.loop

        def hung():
            rips = re.findall(r'RIP=([0-9a-f]+)',
                              guest.qmp.hmp('info registers -a'))
            return (len(rips) == guest.vcpus and
                    all(start <= int(r, 16) < end for r in rips))
        guest.wait_for('a hang of all CPUs', hung)

    def triple_fault(self, guest, full, cpu):
        start = self.start(guest)
        guest.crash(f'taskset {1 << cpu:x} sh -c "echo 1 > {HANG}/triple"')
        dump, core = self.assert_cause(guest, 'cpu-fault', start)
        self.assertEqual(dump['crash-cpu'], cpu)
        regs = core.cpu_registers()[cpu]
        if dump['lost-registers']:
            # Some processors wipe the virtual CPU before anybody can look.
            self.assertEqual(dump['lost-registers'], [cpu])
            self.assertEqual({v for k, v in regs.items() if k != 'pid'}, {0})
        else:
            self.assertEqual(regs['rip'], self.fault)
            self.assertEqual(regs['rbx'], AT_FAULT | cpu)
        self.assert_no_panic_told(guest, 0, start)
        self.finish(guest, full)

    def pvpanic(self, guest, full):
        """A kernel that tells pvpanic of its panic and not our driver."""
        tell = (f"printf '\\1' | dd of=/dev/port bs=1 seek={PVPANIC_PORT} "
                '2>/dev/null')
        # Not registered: what it has always been.
        guest.cmd(f'echo 0 > {FADUMP}/registered')
        start = self.start(guest)
        resets = guest.qmp.count('RESET')
        guest.cmd(tell)
        guest.qmp.wait_event('GUEST_PANICKED', start=start)
        self.assertTrue(guest.alive())
        self.assertEqual(guest.qmp.count('GUEST_CRASHLOADED', start), 0)
        self.assertEqual(guest.qmp.count('FADUMP_CAPTURED', start), 0)
        self.assertEqual(guest.qmp.count('RESET'), resets)
        self.assertEqual(guest.cmd('echo lives'), 'lives')

        guest.cmd(f'echo 1 > {FADUMP}/registered')
        start = self.start(guest)
        guest.crash(f'taskset 2 sh -c "{tell}"')
        dump, core = self.assert_cause(guest, 'panic-device', start)
        self.assertEqual(dump['crash-cpu'], 1)
        # It was in the kernel's write to the port.
        self.assertEqual(core.cpu_registers()[1]['rdx'] & 0xffff, PVPANIC_PORT)
        self.assert_no_panic_told(guest, 1, start)
        self.finish(guest, full)

    def host_reset(self, guest, full):
        """Without the property it is none: test_orderly.py has that."""
        start = self.start(guest)
        guest.reset()
        dump, _ = self.assert_cause(guest, 'host-reset', start)
        self.assertNotIn('crash-cpu', dump)
        self.assert_no_panic_told(guest, 0, start)
        self.finish(guest, full)

    def test_q35(self):
        """
        :avocado: tags=machine:q35,kernel:6.12
        """
        guest = self.guest('6.12', machine='q35', vcpus=2, memory='1G',
                           args=DEVICES + ITCO)
        full = guest.mem_total()
        self.nmi(guest, full)
        self.hang(guest, full, 'watchdog', 'i6300esb', 'heartbeat=2')
        self.hang(guest, full, 'watchdog', 'iTCO_wdt', 'heartbeat=4')
        self.hang(guest, full, 'operator', host='fadump-trigger')
        self.triple_fault(guest, full, 1)
        self.pvpanic(guest, full)

    @full_only
    def test_pc(self):
        """
        :avocado: tags=machine:pc,kernel:6.1
        """
        guest = self.guest('6.1', machine='pc', vcpus=2, memory='1G',
                           fadump='capture-host-reset=on', args=DEVICES)
        full = guest.mem_total()
        self.nmi(guest, full)
        self.host_reset(guest, full)

    @full_only
    def test_4_vcpus(self):
        """
        :avocado: tags=machine:pc,kernel:6.1
        """
        guest = self.guest('6.1', machine='pc', vcpus=4, memory='1G',
                           args=DEVICES)
        self.hang(guest, guest.mem_total(), 'watchdog', 'i6300esb',
                  'heartbeat=2')


if __name__ == '__main__':
    main()
