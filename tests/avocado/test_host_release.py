#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The host releases a dump: the guest has its memory back without a boot, and
whatever the guest does meanwhile, it comes to no harm. Nor does it from a device
that tells nonsense."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FADUMP, FadumpTest, MIB, VMCORE, full_only, main
from vmtest.qmp import QmpError

LINKS = ('/sys/kernel/fadump_release_mem', f'{FADUMP}/release_mem')
LIAR = '/sys/kernel/debug/fadump_liar'


class Confined(FadumpTest):
    """What the tests below have in common."""

    def crash(self, guest):
        """A confined boot; the dump's id."""
        start = len(guest.qmp.poll())
        guest.crash()
        return self.assert_cause(guest, 'panic', start)[0]['id']

    def confined(self, kernel='6.1', **options):
        """A guest in a confined boot, its MemTotal before, the dump's id."""
        guest = self.guest(kernel, **({'memory': '1G', 'vcpus': 2} | options))
        full = guest.mem_total()
        return guest, full, self.crash(guest)

    def host_release(self, guest, dump):
        """Release by the host, which says so once."""
        start = len(guest.qmp.poll())
        guest.qmp.cmd('fadump-release')
        self.assertEqual(guest.qmp.wait_event('FADUMP_RELEASED', start=start)
                         ['data'], {'id': dump, 'reason': 'host'})

    def assert_taken(self, guest, full):
        """The guest has taken the release: all is as before the crash."""
        guest.wait_for('the guest takes the release', lambda:
                       not guest.exists(f'{FADUMP}/release_mem'))
        self.assert_released(guest, full)
        for path in LINKS:
            self.assertNotEqual(guest.run(f'[ -h {path} ]')[0], 0, path)
        self.assertEqual(guest.qmp.cmd('query-fadump')['state'], 'registered')
        self.assert_quiet(guest)

    def in_guest(self, guest, command):
        """Start a command; said() then waits for it and has its status and
        output."""
        guest.send(f'({command}) > /tmp/said 2>&1; echo $? > /tmp/status')

        def said():
            # What the first one says of its end is before this one's.
            guest.run('true')
            return (int(guest.cmd('cat /tmp/status')),
                    guest.cmd('cat /tmp/said'))
        return said


class HostRelease(Confined):
    """fadump-release, at all times that are bad ones."""

    def check_idle(self, kernel, **options):
        guest, full, dump = self.confined(kernel, **options)
        self.host_release(guest, dump)
        self.assert_taken(guest, full)
        self.assertIn(f'the host released dump {dump}',
                      guest.cmd('dmesg | grep fadump:'))
        # It is memory that can be used, and the next crash is captured.
        guest.cmd('alloc 80', timeout=300)
        second = self.crash(guest)
        self.assertNotEqual(second, dump)
        self.host_release(guest, second)
        self.assert_taken(guest, full)
        with self.assertRaisesRegex(QmpError, 'no dump is held'):
            guest.qmp.cmd('fadump-release')

    def test_idle_q35(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check_idle('6.1', machine='q35')

    @full_only
    def test_idle_pc(self):
        """
        :avocado: tags=machine:pc,kernel:6.12
        """
        self.check_idle('6.12', machine='pc', memory='6G')

    def test_users_of_the_dump(self):
        """Who maps the dump gets SIGBUS, who reads it EIO. Neither keeps the
        memory away, nor sees what it is used for next.

        :avocado: tags=machine:q35,kernel:6.1
        """
        guest, full, dump = self.confined()
        for how in ('map', 'read'):
            guest.cmd(f'usecore {how} {VMCORE} > /tmp/{how} 2>&1 &')
        for how in ('map', 'read'):
            guest.wait_for(how, lambda how=how: 'using' in
                           guest.cmd(f'cat /tmp/{how}'))
        self.host_release(guest, dump)
        self.assert_taken(guest, full)
        self.assertRegex(guest.cmd('cat /tmp/map'), r'^using \d+\nsigbus \d+$')
        self.assertRegex(guest.cmd('cat /tmp/read'), r'^using \d+\nerror EIO$')
        self.assertEqual(guest.cmd('pidof usecore || true'), '')
        guest.cmd('alloc 80', timeout=300)
        self.assert_quiet(guest)

    def test_both_release(self):
        """The guest and the host at the same time: one of them does it.

        :avocado: tags=machine:q35,kernel:6.1
        """
        guest, full, dump = self.confined()
        write = f'echo 1 > {FADUMP}/release_mem'
        for order in ('guest, then host', 'host, then guest', 'both at once'):
            with self.subTest(order=order):
                start = len(guest.qmp.poll())
                if order == 'both at once':
                    guest.qmp.cmd('stop')
                if order == 'host, then guest':
                    guest.qmp.cmd('fadump-release')
                said = self.in_guest(guest, write)
                if order == 'guest, then host':
                    time.sleep(0.1)
                if order != 'host, then guest':
                    try:
                        guest.qmp.cmd('fadump-release')
                    except QmpError as exc:
                        self.assertIn('no dump is held', exc.desc)
                if order == 'both at once':
                    guest.qmp.cmd('cont')
                status, text = said()
                if status:
                    # The host was faster, as with any second release; or so
                    # much so that the shell would create the file anew.
                    self.assertRegex(text, 'Operation not permitted|'
                                           'Permission denied|'
                                           'nonexistent directory|No such file|'
                                           'No such device')
                self.assert_taken(guest, full)
                events = self.events(guest, 'FADUMP_RELEASED', start)
                self.assertEqual([e['id'] for e in events], [dump])
                dump = self.crash(guest)
        # And the last one in the ordinary way.
        self.release(guest)
        self.assert_released(guest, full)

    @full_only
    def test_end_of_the_driver(self):
        """A release that meets an end of the driver: unload, reboot.

        :avocado: tags=machine:q35,kernel:6.1
        """
        # So much that adding it takes longer than starting a program
        guest, full, dump = self.confined(memory='4G')
        guest.qmp.cmd('stop')
        said = self.in_guest(guest, 'rmmod fadump_virtio')
        self.host_release(guest, dump)
        guest.qmp.cmd('cont')
        self.assertEqual(said(), (0, ''))
        self.assertFalse(guest.exists(FADUMP))
        guest.cmd('modprobe fadump-virtio')
        self.assert_registered(guest)
        self.assertFalse(guest.exists(f'{FADUMP}/release_mem'))
        self.assert_quiet(guest)

        dump = self.crash(guest)
        guest.qmp.cmd('stop')
        guest.send('reboot -f')
        self.host_release(guest, dump)
        start = len(guest.qmp.poll())
        guest.qmp.cmd('cont')
        guest.wait_boot()
        self.assert_registered(guest)
        self.assertAlmostEqual(guest.mem_total(), full, delta=MIB)
        self.assertEqual(self.events(guest, 'FADUMP_CAPTURED', start), [])

        # One that comes and goes meanwhile
        dump = self.crash(guest)
        said = self.in_guest(guest, 'for i in $(seq 20); do '
                             'rmmod fadump_virtio && modprobe fadump-virtio || '
                             'exit 1; done')
        time.sleep(1)
        self.host_release(guest, dump)
        self.assertEqual(said(), (0, ''))
        self.assert_registered(guest)
        self.assertFalse(guest.exists(f'{FADUMP}/release_mem'))
        self.assert_quiet(guest)
        # The memory is there now or, if no driver was, at the next boot.
        guest.crash('reboot -f')
        self.assert_registered(guest)
        self.assertAlmostEqual(guest.mem_total(), full, delta=MIB)

    def test_no_driver(self):
        """Without a driver the memory is back at the next boot; a driver that
        comes late finds a device that is free.

        :avocado: tags=machine:q35,kernel:6.1
        """
        guest = self.guest('6.1', memory='1G', vcpus=2,
                           cmdline='fadump_test.nodriver')
        full = guest.mem_total()
        guest.reset('fadump-trigger')
        dump = self.assert_event(guest, 'operator')['id']
        small = guest.mem_total()
        self.assertLess(small, 512 * MIB)
        self.host_release(guest, dump)
        self.assertEqual(guest.mem_total(), small)

        guest.cmd('modprobe fadump-virtio')
        self.assert_registered(guest)
        self.assertFalse(guest.exists(f'{FADUMP}/release_mem'))
        self.assertEqual(guest.mem_total(), small)
        self.assert_quiet(guest)

        guest.crash('reboot -f')
        self.assertAlmostEqual(guest.mem_total(), full, delta=MIB)
        guest.cmd('modprobe fadump-virtio')
        self.assert_registered(guest)
        self.late_driver(guest, full)

    def late_driver(self, guest, full):
        """A driver that comes late to a dump that is held."""
        start = len(guest.qmp.poll())
        guest.crash()
        self.assertEqual(self.assert_event(guest, 'panic', start)['boots'], 0)
        guest.cmd('modprobe fadump-virtio')
        self.assert_captured(guest)
        self.release(guest)
        self.assert_released(guest, full)

    def test_while_saving(self):
        """A dump that the host saves is not released: EBUSY, and it is there as
        before, until the host has done.

        :avocado: tags=machine:q35,kernel:6.1
        """
        guest, full, dump = self.confined()
        before = guest.cmd(f'sha256sum < {VMCORE}', timeout=300)
        # A save that does not come to its end: nobody reads from the pipe.
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        guest.qmp.getfd('pipe', writer)
        os.close(writer)
        guest.qmp.cmd('fadump-save', protocol='fd:pipe')
        self.assertEqual(guest.qmp.cmd('query-fadump')['save']['status'],
                         'active')

        guest.cmd(f'usecore map {VMCORE} > /tmp/map 2>&1 &')
        guest.wait_for('map', lambda: 'using' in guest.cmd('cat /tmp/map'))
        start = len(guest.qmp.poll())
        status, said = guest.run(f'echo 1 > {FADUMP}/release_mem')
        self.assertNotEqual(status, 0)
        self.assertIn(b'Device or resource busy', said)
        self.assertIn('the host is reading the dump', guest.cmd('dmesg'))
        # Nobody who uses the file is disturbed.
        self.assertNotIn('sigbus', guest.cmd('cat /tmp/map'))
        guest.cmd('pidof usecore')
        self.assert_captured(guest)
        for path in LINKS:
            self.assertTrue(guest.exists(path), path)
        with self.assertRaisesRegex(QmpError, 'is being saved'):
            guest.qmp.cmd('fadump-release')
        self.assertEqual(self.events(guest, 'FADUMP_RELEASED', start), [])
        self.assertEqual(guest.cmd(f'sha256sum < {VMCORE}', timeout=300),
                         before)

        guest.qmp.cmd('fadump-save-cancel')
        self.assertEqual(guest.qmp.wait_event('FADUMP_SAVE_COMPLETED',
                                              start=start)
                         ['data']['save']['status'], 'cancelled')
        # The guest learns of it, and does what it was asked for.
        self.assert_taken(guest, full)
        guest.wait_for('map', lambda: 'sigbus' in guest.cmd('cat /tmp/map'))
        self.assertEqual(self.events(guest, 'FADUMP_RELEASED', start),
                         [{'id': dump, 'reason': 'guest'}])
        self.assert_quiet(guest)

    def test_suspend(self):
        """A suspend ends at a dump, and makes the queues anew without one.

        :avocado: tags=machine:q35,kernel:6.1
        """
        guest = self.guest('6.1', memory='1G', vcpus=2)
        full = guest.mem_total()
        # All of a suspend but the sleep itself
        suspend = ('echo devices > /sys/power/pm_test && '
                   'echo mem > /sys/power/state')
        guest.cmd(suspend)
        self.assert_registered(guest)
        dump = self.crash(guest)
        self.assertNotEqual(guest.run(suspend)[0], 0)
        self.assert_captured(guest)
        self.host_release(guest, dump)
        self.assert_taken(guest, full)
        guest.cmd(suspend)
        self.assert_registered(guest)
        dump = self.crash(guest)
        self.host_release(guest, dump)
        self.assert_taken(guest, full)


class LyingDevice(Confined):
    """A test module (tests/guest/modules/fadump_liar.c) tells the driver of
    changes that there are not."""

    def lie(self, guest, count):
        guest.cmd(f'echo {count} > {LIAR}/interrupts', timeout=300)

    def test_lies(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        guest = self.guest('6.1', memory='1G', vcpus=2)
        full = guest.mem_total()
        guest.cmd('modprobe fadump_liar')
        self.lie(guest, 10000)
        self.assert_registered(guest)
        self.assertAlmostEqual(guest.mem_total(), full, delta=MIB)

        dump = self.crash(guest)
        guest.cmd('modprobe fadump_liar')
        small = guest.mem_total()
        self.lie(guest, 10000)
        self.assert_captured(guest)
        self.assertEqual(guest.mem_total(), small)
        # And while it is bound and unbound
        self.in_guest(guest, f'for i in 1 2 3 4 5; do '
                             f'echo 2000 > {LIAR}/interrupts; done')
        for _ in range(3):
            guest.cmd('rmmod fadump_virtio && modprobe fadump-virtio')
        self.assert_captured(guest)

        # The true one among them.
        self.host_release(guest, dump)
        self.lie(guest, 1000)
        self.assert_taken(guest, full)


if __name__ == '__main__':
    main()
