#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest's driver owes the kernel that it runs in: who may read a dump,
whose memory it is, how it comes back, and a panic while kdump is being loaded."""

import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import (FADUMP, FULL, FadumpTest, MIB, VMCORE, build,
                         full_only, main)

CAP_SYS_RAWIO = 17
PANIC = 'echo c > /proc/sysrq-trigger'


class Driver(FadumpTest):
    """A guest in a confined boot."""

    def confined(self, kernel, memory='2G', cmdline='', **options):
        guest = self.guest(kernel, memory=memory, vcpus=2, cmdline=cmdline,
                           **options)
        full = guest.mem_total()
        guest.crash()
        self.assert_captured(guest)
        return guest, full

    def iomem(self, guest, name):
        """What /proc/iomem has of this name: [(start, end)]"""
        return [(int(a, 16), int(b, 16) + 1) for a, b in re.findall(
            rf'^ *([0-9a-f]+)-([0-9a-f]+) : {re.escape(name)}$',
            guest.cmd('cat /proc/iomem'), re.M)]


class Reading(Driver):
    """Who may read a dump."""

    def test_capability(self):
        """As /proc/kcore, the dump is not for a container's root.

        :avocado: tags=machine:q35,kernel:6.1
        """
        guest, _ = self.confined('6.1', memory='1G')
        read = f'without %d dd if={VMCORE} of=/dev/null bs=4096 count=1'
        status, said = guest.run(read % CAP_SYS_RAWIO)
        self.assertNotEqual(status, 0)
        self.assertIn(b'Operation not permitted', said)
        # It is this one that is missed, and no other.
        guest.cmd(read % (CAP_SYS_RAWIO + 1))

    def test_lockdown(self):
        """
        :avocado: tags=machine:q35,kernel:6.12
        """
        guest, full = self.confined('6.12', memory='1G')
        lock = '/sys/kernel/security/lockdown'
        guest.cmd('mount -t securityfs none /sys/kernel/security')
        read = f'dd if={VMCORE} of=/dev/null bs=4096 count=1'
        guest.cmd(f'echo integrity > {lock} && {read}')
        guest.cmd(f'echo confidentiality > {lock}')
        status, said = guest.run(read)
        self.assertNotEqual(status, 0)
        self.assertIn(b'Operation not permitted', said)
        # The memory is no secret.
        self.release(guest)
        self.assert_released(guest, full)


class Memory(Driver):
    """Preserved memory: nobody else's while there is a dump, and all of it the
    kernel's afterwards, whatever its policy for memory that is added."""

    def check(self, kernel, policy='', zone=None, memory='2G', cmdline=''):
        if policy:
            cmdline = f'memhp_default_state={policy} {cmdline}'
        guest, full = self.confined(kernel, memory=memory, cmdline=cmdline)
        claimed = self.iomem(guest, 'fadump preserved')
        self.assertGreater(sum(e - s for s, e in claimed),
                           guest.ram_blocks()['pc.ram'][1] // 2)
        self.assertEqual(len(self.iomem(guest, 'fadump window')), 1)
        self.assertEqual(self.iomem(guest, 'System RAM (fadump)'), [])
        small = guest.mem_total()
        self.release(guest)
        self.assert_released(guest, full)
        # As Linux counts what is added: all of it, but for a memory map of its
        # own.
        added = sum(e - s for s, e in claimed)
        if 'memmap_on_memory' in cmdline:
            added -= added // 64
        self.assert_mem_total(guest, small + added)
        # One resource for what is in one piece.
        self.assertEqual(self.iomem(guest, 'System RAM (fadump)'), claimed)
        self.assertEqual(self.iomem(guest, 'fadump preserved'), [])
        self.assertNotIn('offline', guest.cmd(
            'cat /sys/devices/system/memory/memory*/state'))
        if zone:
            movable = sum(int(n) << 12 for n in re.findall(
                r'zone +Movable\n(?:.*\n)*? +managed +(\d+)',
                guest.cmd('cat /proc/zoneinfo')))
            self.assertEqual(movable > 512 * MIB, zone == 'movable')
        guest.cmd('alloc 80', timeout=300)
        self.assert_quiet(guest)

    def test_default(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check('6.1', memory='6G')

    def test_offline(self):
        """
        :avocado: tags=machine:q35,kernel:6.1,kernel:6.12,kernel:7
        """
        for kernel in ('6.1', '6.12', '7') if FULL else ('7',):
            with self.subTest(kernel=kernel):
                self.check(kernel, 'offline')

    def test_online_movable(self):
        """
        :avocado: tags=machine:q35,kernel:6.12,kernel:7
        """
        for kernel in ('6.12', '7') if FULL else ('7',):
            with self.subTest(kernel=kernel):
                self.check(kernel, 'online_movable', 'movable')

    @full_only
    def test_online_kernel(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check('6.1', 'online_kernel', 'kernel')

    @full_only
    def test_memmap_on_memory(self):
        """What is added pays for its own memory map, of which the kernel takes
        none from what it had: 24 MiB for 1.5 GiB.

        :avocado: tags=machine:q35,kernel:6.12,kernel:7
        """
        for kernel in ('6.12', '7'):
            with self.subTest(kernel=kernel):
                self.check(kernel, cmdline='memory_hotplug.memmap_on_memory=1')

    def test_in_use(self):
        """A dump is refused if somebody else has part of its memory, which is
        neither shown nor added then.

        :avocado: tags=machine:q35,kernel:6.12
        """
        taken = 0x50000000
        guest = self.guest('6.12', memory='2G', vcpus=2,
                           cmdline=f'reserve={taken:#x},0x1000')
        full = guest.mem_total()
        guest.crash()
        self.assertEqual(self.iomem(guest, 'reserved'),
                         [(taken, taken + 0x1000)])
        self.assertFalse(guest.exists(VMCORE))
        self.assertRegex(guest.cmd('dmesg | grep fadump:'),
                         r'a dump that cannot be used: '
                         r'\[0x20000000 \+ 0x60000000\] is in use by others')
        small = guest.mem_total()
        self.release(guest)
        self.assertEqual(guest.mem_total(), small)
        self.assertEqual(self.iomem(guest, 'fadump preserved'), [])
        self.assertEqual(guest.cmd(f'cat {FADUMP}/registered'), '1')
        self.assert_quiet(guest)
        guest.crash('reboot -f')
        self.assert_registered(guest)
        self.assert_mem_total(guest, full)

    def test_killed(self):
        """A release that is killed leaves what is back, and another one goes on.
        Meanwhile the driver answers.

        :avocado: tags=machine:q35,kernel:6.1
        """
        guest, full = self.confined('6.1', memory='8G')
        small = guest.mem_total()
        write = f'echo 1 > {FADUMP}/release_mem'
        guest.cmd(f'({write}) > /tmp/said 2>&1 & echo $! > /tmp/pid')
        guest.wait_for('the first memory', lambda: guest.mem_total() > small)
        begin = time.monotonic()
        # The next crash is captured already.
        self.assertEqual(guest.cmd(f'cat {FADUMP}/registered'), '1')
        self.assertLess(time.monotonic() - begin, 10)
        self.assertTrue(guest.exists(f'{FADUMP}/release_mem'))
        guest.cmd('kill -9 $(cat /tmp/pid); wait')
        guest.wait_for('its end', lambda: 'release incomplete' in
                       guest.cmd('dmesg'))
        missing = self.iomem(guest, 'fadump preserved')
        self.assertNotEqual(missing, [])
        self.assertLess(guest.mem_total(), full - 256 * MIB)
        self.assertTrue(guest.exists(f'{FADUMP}/release_mem'))
        self.assertFalse(guest.exists(VMCORE))
        # Registered or not is for the user to say.
        guest.cmd(f'echo 0 > {FADUMP}/registered')
        self.assertEqual(guest.cmd(f'cat {FADUMP}/registered'), '0')
        guest.cmd(f'echo 1 > {FADUMP}/registered')
        self.assertEqual(guest.cmd(f'cat {FADUMP}/registered'), '1')

        self.release(guest)
        self.assert_released(guest, full)
        self.assertFalse(guest.exists(f'{FADUMP}/release_mem'))
        self.assertEqual(self.iomem(guest, 'fadump preserved'), [])

    @full_only
    def test_unbound(self):
        """A driver that is unbound meanwhile stops, and does not wait.

        :avocado: tags=machine:q35,kernel:6.12
        """
        guest, full = self.confined('6.12', memory='8G')
        small = guest.mem_total()
        guest.cmd(f'(echo 1 > {FADUMP}/release_mem) > /tmp/said 2>&1 &')
        guest.wait_for('the first memory', lambda: guest.mem_total() > small)
        guest.cmd('rmmod fadump_virtio')
        self.assertLess(guest.mem_total(), full - 256 * MIB)
        self.assertFalse(guest.exists(FADUMP))
        self.assertEqual(self.iomem(guest, 'fadump preserved'), [])
        guest.cmd('modprobe fadump-virtio')
        self.assert_registered(guest)
        guest.cmd('rmmod fadump_virtio fadump && cat /proc/iomem > /dev/null')
        guest.cmd('modprobe fadump-virtio')
        guest.crash('reboot -f')
        self.assert_registered(guest)
        self.assert_mem_total(guest, full)


class Kdump(Driver):
    """A kdump kernel that is loaded goes first, if it can."""

    def loaded(self, cmdline='', append='panic=3', **options):
        disk = self.disk(size='256M')
        built = self.kernel('6.1')
        disk.put(built.vmlinuz, 'vmlinuz')
        disk.put(built.initramfs, 'initrd')
        guest = self.guest('6.1', memory='2G', vcpus=2, disks=[disk],
                           cmdline='crashkernel=256M ' + cmdline, **options)
        guest.cmd('mount -o ro /dev/vda /mnt && kexec -p /mnt/vmlinuz '
                  f'--initrd=/mnt/initrd --append="console=ttyS0 {append} '
                  'irqpoll nr_cpus=1 reset_devices" && umount /mnt',
                  timeout=300)
        self.assertEqual(guest.cmd('cat /sys/kernel/kexec_crash_loaded'), '1')
        return guest

    def check_busy(self, cmdline=''):
        """It cannot: somebody has the lock. Then the device captures."""
        guest = self.loaded(cmdline)
        guest.cmd('kexechold > /tmp/hold 2>&1 &')
        guest.wait_for('the lock', lambda: 'holding' in
                       guest.cmd('cat /tmp/hold'))
        start = len(guest.qmp.poll())
        guest.crash()
        self.assert_cause(guest, 'panic', start)

    def test_busy(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check_busy()

    @full_only
    def test_busy_post_notifiers(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check_busy('crash_kexec_post_notifiers')

    def assert_goes_first(self, guest, first):
        """Whether kdump does, as guest and host see it."""
        guest.wait_for(f'the host to see that kdump goes first: {first}',
                       lambda: guest.qmp.cmd('query-fadump')['will-yield'] ==
                       first, 60 * build.TIMEOUT_SCALE)
        self.assertEqual(guest.cmd(f'cat {FADUMP}/kdump_first'),
                         str(int(first)))
        said = [line for line in guest.cmd('dmesg').splitlines()
                if 'kdump kernel' in line and 'fadump: ' in line]
        self.assertIn('goes first at a panic: unload' if first else
                      'no kdump kernel goes first', said[-1])

    def check_wins(self, cmdline=''):
        guest = self.loaded(cmdline)
        self.assert_goes_first(guest, True)
        guest.cmd('echo 1 > /sys/module/fadump/parameters/prefer')
        self.assert_goes_first(guest, False)
        guest.cmd('echo 0 > /sys/module/fadump/parameters/prefer')
        # A registration finds out at once.
        guest.cmd(f'echo 1 > {FADUMP}/registered')
        self.assert_goes_first(guest, True)
        start = len(guest.qmp.poll())
        guest.crash()
        # That is kdump's kernel, which has its own dump, and is no crash.
        self.assertIn('reset_devices', guest.cmd('cat /proc/cmdline'))
        self.assertTrue(guest.exists(VMCORE))
        self.assertFalse(guest.exists(FADUMP))
        guest.crash('reboot -f')
        self.assertFalse(guest.exists(VMCORE))
        self.assert_registered(guest)
        self.assertEqual(self.events(guest, 'FADUMP_CAPTURED', start), [])

    def test_wins(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check_wins()

    def crash_size(self, guest):
        """Bytes that are reserved for kdump's kernel."""
        return int(guest.cmd('cat /sys/kernel/kexec_crash_size'))

    @full_only
    def test_hangs(self):
        """kdump's kernel finds no init and stands still: the watchdog of the
        kernel that died ends it, and the device has what kdump had not.

        :avocado: tags=machine:q35,kernel:6.1
        """
        guest = self.loaded(append='panic=0 rdinit=/none', args=[
            '-device', 'i6300esb', '-action', 'watchdog=reset'])
        # What crashkernel= gets of boot memory hangs on where the kernel lies.
        full = guest.mem_total() + self.crash_size(guest)
        guest.cmd('modprobe i6300esb heartbeat=30')
        start = len(guest.qmp.poll())
        mark = guest.console_size()
        guest.crash(f'exec 3> /dev/watchdog; {PANIC}', timeout=300)
        self.assert_cause(guest, 'watchdog', start)
        # It was up, and died, before the watchdog came.
        self.assertIn('Unable to mount root fs', guest.console(mark))
        self.assertEqual(len(self.events(guest, 'FADUMP_CAPTURED', start)), 1)
        log, = self.crash_session(guest.kernel, self.save(guest), 'log')
        self.assertIn('sysrq: Trigger a crash', log)
        self.assertIn('Kernel panic - not syncing: sysrq triggered crash', log)
        self.release(guest)
        self.assert_released(guest, full - self.crash_size(guest))

    @full_only
    def test_wins_post_notifiers(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check_wins('crash_kexec_post_notifiers')


if __name__ == '__main__':
    main()
