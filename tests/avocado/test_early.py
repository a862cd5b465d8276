#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""With early=on a guest is captured from power-on: before its driver, or
without one. Firmware and bootloaders reset machines, too, and are not."""

import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FadumpTest, MIB, VMCORE, build, main
from vmtest.vmcore import Vmcore

# The number of a register, as tests/guest/tinyboot puts it there
NUMBERED = {0: 'rax', 1: 'rcx', 2: 'rdx', 5: 'rbp', 6: 'rsi', 7: 'rdi',
            8: 'r8', 9: 'r9', 10: 'r10', 11: 'r11', 12: 'r12', 13: 'r13',
            14: 'r14', 15: 'r15'}
HIGH = 0xffffffff80000000

GRUB_CFG = '''
serial --unit=0
terminal_output serial
echo this is GRUB
reboot
'''


class NoSystem(FadumpTest):
    """Guests of a few instructions: what is taken for a crash, and what not."""

    def tiny(self, action, early='on', machine='q35', **options):
        return self.new_guest(
            machine=machine, memory='256M', tiny=action,
            fadump=f'early={early},boot-mem=128M,max-boots=1000',
            **options).start()

    def assert_not_captured(self, guest):
        self.assertEqual(guest.qmp.count('FADUMP_CAPTURED'), 0)
        self.assertEqual(guest.qmp.count('FADUMP_FAILED'), 0)
        self.assertEqual(guest.qmp.cmd('query-fadump')['state'], 'idle')

    def assert_held(self, guest, cause):
        """Captured once, and all boots from then on are confined."""
        guest.qmp.wait_event('FADUMP_CAPTURED')
        boots = len(guest.tiny_boots())
        for _, memory in guest.tiny_boots()[:1]:
            self.assertGreater(memory, 254 * MIB)
        if cause != 'panic-device':
            _, memory = guest.wait_tiny(boots + 3)
            self.assertTrue(64 * MIB < memory < 128 * MIB, memory)
        # These confined boots have died as the first one did: but for it
        # they count as lost, or as boots.
        failed = self.events(guest, 'FADUMP_FAILED')
        captured = self.events(guest, 'FADUMP_CAPTURED')
        self.assertEqual([d['dump']['cause'] for d in captured], [cause])
        dump = guest.qmp.cmd('query-fadump')['dump']
        self.assertEqual(dump['id'], captured[0]['dump']['id'])
        self.assertFalse(dump['vmcoreinfo'])
        for data in failed:
            self.assertEqual(data['cause'], cause)
            self.assertIn(dump['id'], data['error'])
        if cause == 'cpu-fault':
            self.assertGreaterEqual(len(failed), 2)
        if cause == 'guest-reset':
            self.assertEqual(failed, [])
        if cause != 'panic-device':
            self.assertGreaterEqual(dump['boots'], 2)
        return dump

    def test_resets(self):
        """
        :avocado: tags=machine:q35,machine:pc
        """
        for machine in ('q35', 'pc'):
            # A BIOS bootloader, a UEFI one; a 64-bit kernel, its user program,
            # a 32-bit kernel
            for action, captured in (('r', False), ('l', False), ('R', True),
                                     ('u', True), ('b', True)):
                with self.subTest(machine=machine, action=action):
                    guest = self.tiny(action, machine=machine)
                    if captured:
                        dump = self.assert_held(guest, 'guest-reset')
                        self.assertNotIn('crash-cpu', dump)
                    else:
                        guest.wait_tiny(4)
                        self.assert_not_captured(guest)
                        self.assertTrue(guest.qmp.cmd('query-fadump')['early'])
                    guest.close()
            # None of this without early=on.
            for action in ('R', 'T'):
                with self.subTest(machine=machine, action=action, early='off'):
                    guest = self.tiny(action, early='off', machine=machine)
                    guest.wait_tiny(4)
                    self.assert_not_captured(guest)
                    self.assertFalse(guest.qmp.cmd('query-fadump')['early'])
                    guest.close()

    def check_triple_fault(self, action, accel):
        guest = self.tiny(action, accel=accel)
        dump = self.assert_held(guest, 'cpu-fault')
        self.assertEqual(dump['crash-cpu'], 0)
        core = Vmcore.from_file(self.save(guest))
        self.assertEqual(core.memory(), dump['memory'])
        (regs,) = core.cpu_registers()
        if dump['lost-registers']:
            # Some processors wipe the virtual CPU before anybody can look.
            self.assertEqual(dump['lost-registers'], [0])
            self.assertEqual({v for k, v in regs.items() if k != 'pid'}, {0})
            self.assertEqual(set(core.note('QEMU')[0].desc), {0})
            self.assertNotEqual(accel, 'tcg')
            return
        for number, name in NUMBERED.items():
            if action == 'T':
                self.assertEqual(
                    regs[name], number << 56 | 0x5afe00a5 | number << 8, name)
            elif number < 8:
                self.assertEqual(regs[name], 0x5afe00a5 | number << 8, name)
        # tinyboot has put the address where it will fault there.
        self.assertEqual(regs['rip'], regs['rbx'])
        self.assertEqual(regs['rip'] >= HIGH, action == 'T')
        self.assertEqual(regs['rip'] >> 20 & 0x3ff, 1)
        # That instruction is in the dump's memory, too.
        addr = regs['rip'] & (HIGH - 1) & 0x7fffffff
        load = next(p for p in core.loads
                    if p.paddr <= addr < p.paddr + p.filesz)
        self.assertEqual(
            core.read(load.offset + addr - load.paddr, 2), b'\x0f\x0b')
        guest.close()

    def test_triple_fault(self):
        """
        :avocado: tags=machine:q35
        """
        self.check_triple_fault('T', 'tcg')
        self.check_triple_fault('t', 'tcg')

    def test_triple_fault_kvm(self):
        """
        :avocado: tags=machine:q35,accel:kvm
        """
        if not build.kvm_runs_tinyboot():
            self.skipTest('no KVM that runs a guest')
        self.check_triple_fault('T', 'kvm')

    def test_pvpanic(self):
        """
        :avocado: tags=machine:q35
        """
        args = ['-device', 'pvpanic', '-action', 'panic=none']
        guest = self.tiny('p', args=args)
        self.assert_held(guest, 'panic-device')
        self.assertEqual(guest.qmp.count('GUEST_CRASHLOADED'), 1)
        self.assertEqual(guest.qmp.count('GUEST_PANICKED'), 0)
        guest.close()
        guest = self.tiny('p', early='off', args=args)
        guest.qmp.wait_event('GUEST_PANICKED')
        self.assert_not_captured(guest)
        self.assertEqual(guest.qmp.count('GUEST_CRASHLOADED'), 0)

    def test_firmware(self):
        """
        :avocado: tags=machine:q35,machine:pc
        """
        for machine in ('q35', 'pc'):
            with self.subTest(machine=machine):
                # Nothing to boot from: SeaBIOS says so, and resets.
                guest = self.tiny('', machine=machine,
                                  args=['-boot', 'reboot-timeout=50'])
                guest.wait_for('resets by firmware',
                               lambda g=guest: g.qmp.count('RESET') >= 4)
                for _ in range(3):
                    starts = guest.firmware_starts()
                    guest.qmp.cmd('system_reset')
                    guest.wait_for('firmware', lambda g=guest, s=starts:
                                   g.firmware_starts() > s)
                self.assert_not_captured(guest)
                self.assertTrue(guest.qmp.cmd('query-fadump')['early'])
                guest.close()

    def test_grub(self):
        """
        :avocado: tags=machine:q35,boot:grub
        """
        tool = shutil.which('grub-mkrescue')
        if not tool:
            self.skipTest('grub-mkrescue is not installed')
        os.makedirs(self.path('tree/boot/grub'))
        with open(self.path('tree/boot/grub/grub.cfg'), 'w',
                  encoding='utf-8') as f:
            f.write(GRUB_CFG)
        image = self.path('boot.img')
        subprocess.run([tool, '-d', '/usr/lib/grub/i386-pc', '-o', image,
                        self.path('tree')], check=True, capture_output=True)
        guest = self.new_guest(memory='256M', boot_disk=image,
                               fadump='early=on,boot-mem=128M').start()
        guest.wait_for('reboots by GRUB', lambda:
                       guest.console().count('this is GRUB') >= 3)
        self.assert_not_captured(guest)


class Kernels(FadumpTest):
    """Stock kernels that die before their driver has been loaded."""

    def assert_panic_in_dump(self, kernel, dump, message, frames):
        """crash(8) finds its way in a dump without VMCOREINFO: from the
        registers in the QEMU notes, it needs no option."""
        self.assertEqual(Vmcore.from_file(dump).note('VMCOREINFO'), [])
        # The first process has not been to user mode yet.
        system, stack, log = self.crash_session(
            kernel, dump, 'sys', 'bt', 'log',
            allow=['possibly bogus exception frame',
                   'exception RIP: unknown or invalid address'])
        self.assertIn(f'RELEASE: {kernel.release}\n', system)
        self.assertRegex(system, f'PANIC: "Kernel panic - not syncing: '
                                 f'{message}')
        self.assertRegex(log, f'Kernel panic - not syncing: {message}')
        for frame in frames:
            self.assertRegex(stack, rf'(?m)^ *#\d+ \[\w+\] {frame} at ')

    def test_initcall(self):
        """A panic in a module's initcall, in a guest without the driver.

        :avocado: tags=machine:q35,kernel:6.1
        """
        cmdline = ('panic=1 fadump_test.nodriver '
                   'fadump_test.early=min_mb=700')
        # The boot with all memory dies, the confined one does not.
        guest = self.new_guest('6.1', memory='1G', vcpus=2, fadump='early=on',
                               cmdline=cmdline).boot()
        self.assert_event(guest, 'guest-reset')
        self.assertFalse(guest.qmp.cmd('query-fadump')['early'])
        self.assertLess(guest.mem_total(), 512 * MIB)
        saved = self.save(guest)
        guest.qmp.cmd('fadump-release')
        # This guest has no driver that could announce anything: an orderly
        # reboot cannot be told from a crash. This boot is still a small one,
        # the dump is of all memory again.
        self.assertTrue(guest.qmp.cmd('query-fadump')['early'])
        start = len(guest.qmp.poll())
        guest.crash('reboot -f')
        self.assert_event(guest, 'guest-reset', start)
        self.assertFalse(guest.exists(VMCORE))
        # A driver that comes later has it as any other dump.
        guest.cmd('modprobe fadump-virtio')
        dump, _ = self.assert_cause(guest, 'guest-reset', start)
        self.assertFalse(dump['vmcoreinfo'])
        self.release(guest)
        self.assert_released(guest, 970 * MIB, 0.05)
        self.assert_quiet(guest)
        guest.close()
        self.assert_panic_in_dump(
            guest.kernel, saved, r'fadump_early: \d+ MiB',
            ('panic', r'\w*fadump_early\w*', 'do_one_initcall'))

        # The same with early=off: it dies again and again.
        guest = self.new_guest('6.1', memory='1G', cmdline=cmdline).start()
        guest.wait_for('two panics', lambda: guest.console().count(
            'Kernel panic - not syncing: fadump_early') >= 2)
        self.assertEqual(guest.qmp.count('FADUMP_CAPTURED'), 0)
        self.assertEqual(guest.qmp.cmd('query-fadump')['state'], 'idle')

    def test_no_root(self):
        """A panic before the first process.

        :avocado: tags=machine:pc,kernel:6.12
        """
        guest = self.new_guest('6.12', machine='pc', memory='1G', vcpus=2,
                               fadump='early=on,max-boots=100', initrd='',
                               cmdline='panic=1 root=/dev/nonexistent').start()
        guest.qmp.wait_event('FADUMP_CAPTURED', 180 * build.TIMEOUT_SCALE)
        # The confined boots die of the same.
        guest.qmp.cmd('stop')
        dump = self.assert_event(guest, 'guest-reset')
        self.assertFalse(dump['vmcoreinfo'])
        saved = self.save(guest)
        guest.close()
        self.assert_panic_in_dump(
            guest.kernel, saved, 'VFS: Unable to mount root fs',
            ('panic', 'mount_root_generic', 'prepare_namespace',
             'kernel_init'))

    def test_announced(self):
        """Reboots of a guest with a driver are no crashes, however often
        firmware resets the machine meanwhile.

        :avocado: tags=machine:q35,kernel:6.1
        """
        guest = self.guest('6.1', memory='1G', fadump='early=on')
        full = guest.mem_total()
        registered = re.search(r'^\[ *([\d.]+)\] fadump: registered',
                               guest.cmd('dmesg'), re.M).group(1)
        print(f'# a panic is captured from {registered} s of the kernel\'s '
              'time on with the driver in the initramfs, from 0 s on with '
              'early=on', file=sys.stderr)
        for unload in (False, True):
            info = guest.qmp.cmd('query-fadump')
            self.assertEqual((info['state'], info['early']),
                             ('registered', False))
            if unload:
                guest.cmd('rmmod fadump_virtio')
                info = guest.qmp.cmd('query-fadump')
                self.assertEqual((info['state'], info['early']),
                                 ('idle', False))
            guest.crash('reboot -f')
            self.assertEqual(guest.qmp.count('FADUMP_CAPTURED'), 0)
            self.assert_mem_total(guest, full)
            self.assert_registered(guest)


if __name__ == '__main__':
    main()
