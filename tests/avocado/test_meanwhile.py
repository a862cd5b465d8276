#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What else happens at the moment of a crash: the machine is stopped, by the
host or by an error of its disk, or a watchdog expires. The guest is that of
test_bare.py, and checks its dump itself."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import MIB, main
from test_bare import BOOT, CHECK, FEW, Bare

CYCLE = f'idle fill code register wait trigger dump {CHECK} release reset'


class Stopped(Bare):
    """Nothing is lost, and the guest goes on with the next "cont"."""

    TIMES = 4

    def status(self, guest):
        return guest.qmp.cmd('query-status')['status']

    def assert_stopped(self, guest):
        self.assertNotEqual(self.status(guest), 'running')

    def cont(self, guest):
        self.assert_stopped(guest)
        guest.qmp.cmd('cont')

    def test_before(self):
        """What kills it comes while it is stopped: it dies with "cont".

        :avocado: tags=machine:q35
        """
        guest = self.bare(f'times=2 {CYCLE}').start()
        for number in (1, 2):
            guest.wait_bare('waits', number)
            guest.qmp.cmd('stop')
            guest.port.sendall(b'x')
            time.sleep(0.2)
            self.assertEqual(guest.qmp.cmd('query-fadump')['state'],
                             'registered')
            self.cont(guest)
            guest.wait_bare('released', number)
        self.assert_cycles(guest, 2)

    def test_right_behind(self):
        """"stop" comes a little before the crash, in it, or a little after.

        :avocado: tags=machine:q35
        """
        seen = set()
        for backend in FEW:
            guest = self.bare(f'times={self.TIMES} {CYCLE}',
                              backend=backend).start()
            for number in range(1, self.TIMES + 1):
                guest.wait_bare('waits', number)
                guest.port.sendall(b'x')
                time.sleep(0.004 * (number - 1))
                guest.qmp.cmd('stop')
                seen.add(guest.qmp.cmd('query-fadump')['state'])
                self.cont(guest)
                guest.wait_bare('released', number)
            self.assert_cycles(guest, self.TIMES)
            guest.close()
        print('# with "stop" it was', *seen, file=sys.stderr)

    def test_pending(self):
        """The capture has been asked for, and comes when all is stopped.

        :avocado: tags=machine:q35
        """
        commands = (('fadump-trigger', 'stop'), ('stop', 'fadump-trigger'))
        for backend in FEW:
            guest = self.bare(f'times={len(commands)} idle fill code register '
                              f'hang dump {CHECK} release reset',
                              backend=backend).start()
            for number, pair in enumerate(commands, 1):
                # "reset" ends a boot, too
                guest.wait_bare('end', 2 * number - 1)
                guest.qmp.together(*pair)
                guest.wait_for('the capture', lambda g=guest, n=number:
                               g.qmp.count('FADUMP_CAPTURED') == n)
                self.assertEqual(len(guest.bare_lines('boot')),
                                 2 * number - 1)
                self.cont(guest)
                guest.wait_bare('released', number)
            self.assert_cycles(guest, len(commands), cause='OPERATOR')
            guest.close()

    def check_io_error(self, actions, crash, cause, check, backend):
        """A disk fails once, and the machine is stopped for that."""
        image = self.path('disk.img')
        with open(image, 'wb') as f:
            f.write(b''.join((at ^ 0xd15cd15cd15c0000).to_bytes(8, 'little')
                             for at in range(0, MIB, 8)))
        guest = self.bare(
            f'idle fill register {actions} dump desc {check}verify held-io '
            'scribble intact disk release reset', backend=backend, args=[
                '-blockdev', 'driver=blkdebug,node-name=disk,read-only=on,'
                # not what firmware reads
                'inject-error.0.event=none,inject-error.0.iotype=read,'
                'inject-error.0.sector=1000,inject-error.0.once=on,'
                'image.driver=file,image.read-only=on,'
                f'image.filename={image}',
                '-device', 'virtio-blk-pci,drive=disk,rerror=stop']).start()
        guest.qmp.wait_event('BLOCK_IO_ERROR')
        guest.wait_for('the stop', lambda: self.status(guest) in
                       ('io-error', 'prelaunch'))
        crash(guest)
        guest.wait_for('the capture', lambda:
                       guest.qmp.count('FADUMP_CAPTURED') == 1 or
                       self.status(guest) == 'running' or
                       guest.qmp.cmd('cont'))
        if self.status(guest) != 'running':
            self.cont(guest)
        self.assert_cycles(guest, 1, cause=cause)
        self.assertEqual(guest.bare_lines('disk'), [('disk', {'wrong': '0'})])
        guest.close()

    def test_io_error(self):
        """The operator takes a dump of a guest that its disk has stopped.

        :avocado: tags=machine:q35
        """
        for backend in FEW:
            # It may not have come to where its registers are known.
            self.check_io_error('io hang', lambda guest:
                                guest.qmp.cmd('fadump-trigger'), 'OPERATOR',
                                '', backend)

    def test_io_error_at_the_crash(self):
        """
        :avocado: tags=machine:q35
        """
        for backend in FEW:
            self.check_io_error('io trigger', lambda guest: None, 'PANIC',
                                'regs ', backend)


class Watchdog(Bare):
    """One capture, whatever expires, and the dump stays."""

    # The watchdog acts when it has expired twice.
    HALF_MS = 60

    def watched(self, actions, action, **options):
        return self.bare(actions, args=['-device', 'i6300esb', '-action',
                                        f'watchdog={action}'],
                         **options).start()

    def test_alone(self):
        """It kills a guest that hangs; one that it stops, the operator.

        :avocado: tags=machine:q35
        """
        actions = (f'idle fill code register dog hang dump {CHECK} release '
                   'reset')
        guest = self.watched(actions, 'reset')
        self.assert_cycles(guest, 1, cause='WATCHDOG')
        guest.close()
        guest = self.watched(actions, 'pause')
        guest.qmp.wait_event('WATCHDOG')
        guest.wait_for('the stop', lambda: guest.qmp.cmd('query-status')
                       ['status'] == 'watchdog')
        guest.qmp.together('fadump-trigger', 'cont')
        self.assert_cycles(guest, 1, cause='OPERATOR')

    def test_during_the_capture(self):
        """The reset that follows takes the watchdog from the crashed guest.

        :avocado: tags=machine:q35
        """
        memory = 1280 * MIB
        for action in ('reset', 'pause', 'poweroff'):
            with self.subTest(action=action):
                guest = self.watched(
                    f'dog={self.HALF_MS} idle touch register dog trigger '
                    'dump desc regs map verify release halt', action,
                    memory=memory, fadump=f'boot-mem={BOOT >> 20}M,full=on,'
                    'x-move=off,x-swap=off')
                guest.wait_bare('released')
                if (int(guest.wait_bare('desc')['capture_ns']) <
                        2 * self.HALF_MS * 10**6):
                    self.skipTest('this host copies all memory before a '
                                  'watchdog can expire')
                for event, count in (('FADUMP_CAPTURED', 1),
                                     ('FADUMP_FAILED', 0), ('WATCHDOG', 0)):
                    self.assertEqual(guest.qmp.count(event), count, event)
                self.assert_lines(self.boots(guest)[1], memory)
                self.assertTrue(guest.alive())
                guest.close()

    def test_across_the_reset(self):
        """Nothing stops the timer of q35's own, but it has no say any more.

        :avocado: tags=machine:q35
        """
        control = self.watched('idle tco hang', 'none')
        guest = self.watched(f'idle fill code register tco trigger '
                             f'dump {CHECK} wait release reset', 'poweroff')
        control.qmp.wait_event('WATCHDOG')
        guest.wait_bare('waits')
        # more than 2.4 s
        time.sleep(3)
        guest.port.sendall(b'x')
        self.assert_cycles(guest, 1)
        self.assertEqual(guest.qmp.count('WATCHDOG'), 0)

    def test_in_the_next_boot(self):
        """That boot is lost, not the dump.

        :avocado: tags=machine:q35
        """
        actions = f'idle fill code register trigger dump {CHECK} dog '
        guest = self.watched(actions + 'wait release reset', 'pause')
        guest.qmp.wait_event('WATCHDOG')
        guest.wait_for('the stop', lambda: guest.qmp.cmd('query-status')
                       ['status'] == 'watchdog')
        guest.qmp.cmd('cont')
        guest.port.sendall(b'x')
        self.assert_cycles(guest, 1)
        guest.close()

        guest = self.watched(actions + 'hang', 'reset',
                             fadump=f'boot-mem={BOOT >> 20}M,max-boots=9')
        guest.wait_for('another boot of the same dump', lambda:
                       len(guest.bare_lines('intact')) == 2)
        dump = guest.qmp.cmd('query-fadump')['dump']
        self.assertEqual(dump['cause'], 'panic')
        self.assertGreaterEqual(dump['boots'], 1)
        self.assertEqual({e['data']['cause'] for e in guest.qmp.poll()
                          if e['event'] == 'FADUMP_FAILED'}, {'watchdog'})
        # the next one of its resets ends in a boot with all memory
        guest.qmp.cmd('fadump-release')
        guest.wait_bare('finished')
        self.assertEqual(guest.qmp.count('FADUMP_CAPTURED'), 1)
        boots = self.boots(guest)
        self.assertEqual(boots[-1][0][1]['state'], '0')
        for lines in boots[1:3]:
            self.assert_lines(lines, guest.memory)


if __name__ == '__main__':
    main()
