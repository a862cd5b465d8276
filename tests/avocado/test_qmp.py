#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The operator's commands: in every state of the machine, with right and wrong
arguments, each has a proper answer that matches the schema, and QEMU lives."""

import os
import random
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FADUMP, FadumpTest, MIB, main
from vmtest.qapi import Schema
from vmtest.qmp import QmpError

COMMANDS = ('fadump-save-cancel', 'fadump-release', 'fadump-save',
            'fadump-trigger')

BAD_ARGUMENTS = (
    [(command, arguments)
     for command in ('query-fadump', 'fadump-trigger', 'fadump-save-cancel',
                     'fadump-release')
     for arguments in ({'x': 1}, {'protocol': 'file:/dev/null'}, {'': ''},
                       [], ['x'], 'x', 1, None, True)] +
    [('fadump-save', arguments)
     for arguments in ({}, {'x': 1}, {'Protocol': 'file:/dev/null'},
                       {'protocol': 'file:/dev/null', 'x': 1},
                       {'protocol': 1}, {'protocol': None},
                       {'protocol': True}, {'protocol': []},
                       {'protocol': ['file:/dev/null']},
                       {'protocol': {'file': '/dev/null'}},
                       [], 'file:/dev/null', 1, None)])

NO_DEVICE = ('GenericError', 'no fadump-dev')
NOT_SAVING = ('GenericError', 'no dump is being saved')
NO_DUMP = ('GenericError', 'no dump is held')
HELD = ('GenericError', 'a dump is held')
SAVING = ('GenericError', 'being saved')
NOT_RUNNING = ('GenericError', 'does not run')
MIGRATED = ('GenericError', 'migrated')
NO_REBOOT = ('GenericError', 'no-reboot')
NOT_YET = ('GenericError', 'after machine initialization')
OK = None


class Commands(FadumpTest):

    def machine(self, tiny='s', paused=False, fadump='boot-mem=128M', **options):
        guest = self.new_guest(memory='256M', tiny=tiny, fadump=fadump,
                               **options).start(paused)
        if not paused and tiny:
            guest.wait_tiny(1)
        return guest

    def ask(self, guest, command, arguments=None):
        """None, or class and text of its error."""
        try:
            answer = guest.qmp.execute(command, arguments or {})
        except QmpError as exc:
            return exc.error_class, exc.desc
        self.assertEqual(answer, {})
        return None

    def info(self, guest):
        """What query-fadump says, in accord with the schema and with the
        state."""
        info = guest.qmp.cmd('query-fadump')
        self.schema(guest).check_answer('query-fadump', info)
        self.assertEqual('dump' in info, info['state'] == 'dump-available')
        if 'save' in info:
            self.assertEqual('error' in info['save'],
                             info['save']['status'] == 'failed')
            self.assertLessEqual(info['save']['written'],
                                 info['save']['total'])
        if info['early']:
            self.assertEqual(info['state'], 'idle')
        if info['yielded'] or info['will-yield']:
            self.assertEqual(info['state'], 'registered')
        return info

    def schema(self, guest):
        if not hasattr(self, '_schema'):
            self._schema = Schema(guest.qmp.cmd('query-qmp-schema'))
        return self._schema

    def check_events(self, guest):
        for event in guest.qmp.poll():
            self.schema(guest).check_event(event)

    def check_bad_arguments(self, guest, before):
        for command, arguments in BAD_ARGUMENTS:
            with self.assertRaises(QmpError) as caught:
                guest.qmp.execute(command, arguments)
            self.assertEqual(caught.exception.error_class, 'GenericError',
                             f'{command} {arguments}')
            self.assertTrue(caught.exception.desc)
        if before:
            # Of a save that runs there may be more than before.
            after = self.info(guest)
            for info in (before, after):
                info.get('save', {}).pop('written', None)
            self.assertEqual(after, before)

    def check(self, guest, state, status, **expected):
        """Every command in this state. expected: what becomes of it; the
        trigger comes last."""
        with self.subTest(state=state, status=status):
            self.assertEqual(guest.qmp.cmd('query-status')['status'], status)
            info = self.info(guest)
            self.assertEqual(info['state'], state)
            self.check_bad_arguments(guest, info)
            for command in COMMANDS:
                want = expected[command.removeprefix('fadump-')
                                .replace('-', '_')]
                arguments = {}
                if command == 'fadump-save':
                    arguments['protocol'] = 'file:/dev/null'
                self.assert_answer(self.ask(guest, command, arguments), want,
                                   command)
                if want:
                    self.assertEqual(self.info(guest)['state'], state)
                    self.assert_hmp_error(guest, command, want)
                elif command == 'fadump-save':
                    guest.qmp.wait_event('FADUMP_SAVE_COMPLETED',
                                         start=self.mark)
            self.check_events(guest)
            self.assertEqual(guest.process.poll(), None)

    def assert_answer(self, answer, want, what):
        if want is None:
            self.assertEqual(answer, None, what)
        else:
            self.assertTrue(answer, f'{what} succeeded')
            self.assertEqual(answer[0], want[0], (what, answer))
            self.assertRegex(answer[1], want[1])

    def assert_hmp_error(self, guest, command, want):
        line = command.replace('-', '_')
        if command == 'fadump-save':
            line += ' /dev/null'
        self.assertRegex(guest.qmp.hmp(line), f'^Error: .*{want[1]}')

    def assert_hmp_info(self, guest):
        """info fadump says what query-fadump says."""
        info = self.info(guest)
        said = guest.qmp.hmp('info fadump').replace('\r', '')
        expected = [f'state: {info["state"]}',
                    f'boot memory: {info["boot-mem"] >> 20} MiB']
        if 'dump' in info:
            dump = info['dump']
            expected += [f'dump: {dump["id"]}', f'cause: {dump["cause"]}',
                         f'vCPUs: {dump["vcpus"]}',
                         f'memory: {dump["memory"] >> 20} MiB',
                         time.strftime('captured: %Y-%m-%d %H:%M:%S UTC',
                                       time.gmtime(dump['time-ns'] // 10**9))]
        if 'save' in info:
            save = info['save']
            expected += [f'save: {save["status"]}, {save["written"] >> 20} of '
                         f'{save["total"] >> 20} MiB']
        for text in expected:
            self.assertRegex(said, rf'(?m)^{re.escape(text)}')
        self.assertEqual('dump: ' in said, 'dump' in info)

    @property
    def mark(self):
        """Events from here on are new."""
        return self._mark

    def set_mark(self, guest):
        self._mark = len(guest.qmp.poll())

    def capture(self, guest):
        """By the command fadump-trigger, which was given."""
        guest.qmp.wait_event('FADUMP_CAPTURED', start=self.mark)
        self.assertEqual(self.info(guest)['state'], 'dump-available')

    # ---- one machine after the other, a state in each ----

    def test_no_device(self):
        """
        :avocado: tags=machine:q35
        """
        guest = self.machine(fadump=None)
        with self.assertRaises(QmpError) as caught:
            guest.qmp.cmd('query-fadump')
        self.assertEqual(caught.exception.error_class, 'GenericError')
        self.check_bad_arguments(guest, None)
        for command in COMMANDS:
            arguments = ({'protocol': 'file:/dev/null'}
                         if command == 'fadump-save' else {})
            self.assert_answer(self.ask(guest, command, arguments), NO_DEVICE,
                               command)
            self.assert_hmp_error(guest, command, NO_DEVICE)
        self.assertRegex(guest.qmp.hmp('info fadump'), NO_DEVICE[1])
        self.assertTrue(guest.alive())

    def test_before_it_runs(self):
        """
        :avocado: tags=machine:q35
        """
        guest = self.machine(paused=True)
        self.set_mark(guest)
        self.check(guest, 'idle', 'prelaunch', save_cancel=NOT_SAVING,
                   release=NO_DUMP, save=NO_DUMP, trigger=NOT_RUNNING)
        self.assert_hmp_info(guest)
        guest.close()
        guest = self.machine(paused=True, args=['-incoming', 'defer'])
        self.check(guest, 'idle', 'inmigrate', save_cancel=NOT_SAVING,
                   release=NO_DUMP, save=NO_DUMP, trigger=MIGRATED)
        guest.close()
        guest = self.machine(paused=True, args=['-preconfig'])
        for command in COMMANDS + ('query-fadump',):
            self.assert_answer(
                self.ask(guest, command, {'protocol': 'file:/dev/null'}
                         if command == 'fadump-save' else {}), NOT_YET, command)
        self.check_bad_arguments(guest, None)
        guest.qmp.cmd('x-exit-preconfig')
        self.check(guest, 'idle', 'prelaunch', save_cancel=NOT_SAVING,
                   release=NO_DUMP, save=NO_DUMP, trigger=NOT_RUNNING)

    def test_life(self):
        """Running and stopped machines, without and with a dump.

        :avocado: tags=machine:q35
        """
        guest = self.machine()
        nothing = {'save_cancel': NOT_SAVING, 'release': NO_DUMP,
                   'save': NO_DUMP}
        for stopped in (False, True):
            if stopped:
                guest.qmp.cmd('stop')
            self.set_mark(guest)
            self.assert_hmp_info(guest)
            self.check(guest, 'idle', 'paused' if stopped else 'running',
                       trigger=OK, **nothing)
            self.capture(guest)
            self.assert_event(guest, 'operator', self.mark)
            status = 'prelaunch' if stopped else 'running'
            self.check_held(guest, status)
            self.assertEqual(self.info(guest)['state'], 'idle')
            self.assertEqual(guest.qmp.cmd('query-status')['status'], status)
            self.assertEqual(self.events(guest, 'FADUMP_RELEASED',
                                         self.mark)[0]['reason'], 'host')

        # And the twins do what the commands do.
        guest.qmp.cmd('cont')
        boots = len(guest.tiny_boots())
        guest.wait_tiny(boots + 1)
        self.set_mark(guest)
        self.assertEqual(guest.qmp.hmp('fadump_trigger'), '')
        self.capture(guest)
        self.assert_hmp_info(guest)
        path = self.path('hmp')
        self.assertEqual(guest.qmp.hmp(f'fadump_save {path}'), '')
        guest.qmp.wait_event('FADUMP_SAVE_COMPLETED', start=self.mark)
        self.assertEqual(os.path.getsize(path),
                         self.info(guest)['save']['total'])
        self.assert_hmp_info(guest)
        self.assertEqual(guest.qmp.hmp('fadump_release'), '')
        self.assertEqual(self.info(guest)['state'], 'idle')
        self.check_events(guest)

    def check_held(self, guest, status):
        """A dump is held, then saved, then saved no more; in the end it is
        released."""
        self.assert_hmp_info(guest)
        info = self.info(guest)
        self.assertEqual(info['dump']['cause'], 'operator')
        self.check_bad_arguments(guest, info)
        ours, theirs = os.pipe()
        guest.qmp.getfd('pipe', theirs)
        os.close(theirs)
        guest.qmp.cmd('fadump-save', protocol='fd:pipe')
        # Nobody reads it: it goes on until it is cancelled.
        refused = {'release': SAVING, 'save': SAVING, 'trigger': HELD}
        self.assertEqual(self.info(guest)['save']['status'], 'active')
        self.assertEqual(guest.qmp.cmd('query-status')['status'], status)
        self.check_bad_arguments(guest, self.info(guest))
        for name, want in refused.items():
            command = 'fadump-' + name
            self.assert_answer(
                self.ask(guest, command, {'protocol': 'file:/dev/null'}
                         if name == 'save' else {}), want, command)
            self.assert_hmp_error(guest, command, want)
        answer = self.ask(guest, 'migrate', {'uri': 'file:/dev/null'})
        self.assert_answer(answer, ('GenericError', 'being saved'), 'migrate')
        self.assert_hmp_info(guest)
        self.assertEqual(guest.qmp.hmp('fadump_save_cancel'), '')
        guest.qmp.wait_event('FADUMP_SAVE_COMPLETED', start=self.mark)
        os.close(ours)
        self.assertEqual(self.info(guest)['save']['status'], 'cancelled')
        self.set_mark(guest)
        # /dev/null takes it all at once; the last one that is asked for is
        # the release.
        self.assert_answer(self.ask(guest, 'fadump-save-cancel'), NOT_SAVING,
                           'fadump-save-cancel')
        self.assert_answer(self.ask(guest, 'fadump-trigger'), HELD,
                           'fadump-trigger')
        guest.qmp.cmd('fadump-save', protocol='file:/dev/null')
        done = guest.qmp.wait_event('FADUMP_SAVE_COMPLETED', start=self.mark)
        self.assertEqual(done['data']['save']['status'], 'completed')
        guest.qmp.cmd('fadump-release')
        self.assert_answer(self.ask(guest, 'fadump-release'), NO_DUMP,
                           'fadump-release')

    def test_after_it_ran(self):
        """Machines that are shut down, have panicked, or were migrated.

        :avocado: tags=machine:q35
        """
        nothing = {'save_cancel': NOT_SAVING, 'release': NO_DUMP,
                   'save': NO_DUMP}
        guest = self.machine('o', args=['-action', 'shutdown=pause'])
        guest.qmp.wait_event('SHUTDOWN')
        guest.wait_for('the shutdown', lambda: guest.qmp.cmd('query-status')
                       ['status'] == 'shutdown')
        self.set_mark(guest)
        self.check(guest, 'idle', 'shutdown', trigger=NOT_RUNNING, **nothing)
        guest.close()

        # An operator can still have what pvpanic has stopped.
        guest = self.machine('p', args=['-device', 'pvpanic', '-action',
                                        'panic=pause'])
        guest.qmp.wait_event('GUEST_PANICKED')
        guest.wait_for('the panic', lambda: guest.qmp.cmd('query-status')
                       ['status'] == 'guest-panicked')
        self.set_mark(guest)
        self.check(guest, 'idle', 'guest-panicked', trigger=OK, **nothing)
        self.capture(guest)
        guest.close()

        for args in (['-no-reboot'], ['-action', 'reboot=shutdown']):
            guest = self.machine(args=args)
            self.set_mark(guest)
            self.check(guest, 'idle', 'running', trigger=NO_REBOOT, **nothing)
            guest.close()

        for held in (False, True):
            guest = self.machine()
            self.set_mark(guest)
            if held:
                guest.qmp.cmd('fadump-trigger')
                self.capture(guest)
            guest.qmp.cmd('migrate', uri='file:' + self.path('stream'))
            guest.wait_for('the end of the migration', lambda g=guest:
                           g.qmp.cmd('query-status')['status'] ==
                           'postmigrate')
            if held:
                self.check(guest, 'dump-available', 'postmigrate',
                           save_cancel=NOT_SAVING, release=MIGRATED,
                           save=MIGRATED, trigger=HELD)
            else:
                self.check(guest, 'idle', 'postmigrate', trigger=MIGRATED,
                           **nothing)
            guest.close()

    def test_registered(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        guest = self.guest('6.1', cold=True, memory='1G', fadump='early=on')
        self.assertEqual(guest.qmp.count('FADUMP_REGISTERED'), 1)
        self.set_mark(guest)
        self.assert_hmp_info(guest)
        guest.cmd(f'echo 0 > {FADUMP}/registered')
        self.assertEqual(self.info(guest)['state'], 'idle')
        guest.cmd(f'echo 1 > {FADUMP}/registered')
        # One a second: it may come later.
        guest.wait_for('the second event', lambda:
                       guest.qmp.count('FADUMP_REGISTERED') == 2)
        # The guest has not felt any of this.
        boots = guest.qmp.count('RESET')
        self.check(guest, 'registered', 'running', save_cancel=NOT_SAVING,
                   release=NO_DUMP, save=NO_DUMP, trigger=OK)
        self.capture(guest)
        self.assertGreater(guest.qmp.count('RESET'), boots)
        dump = self.assert_event(guest, 'operator', self.mark)
        self.assertTrue(dump['vmcoreinfo'])
        self.check_events(guest)

    # ---- at random ----

    def random_command(self, rng):
        protocols = ['file:/dev/null', 'file:' + self.path('fuzz'), 'fd:fuzz',
                     'file:', 'fd:', '', 'file', 'fd:-1', 'fd:0', 'file:/',
                     'file:/dev/null/x', 'file:' + 'a' * 5000, 'fd:\u00e4',
                     'file:' + self.path('\u0001'), 'file:/dev/fdset/1', 'tcp:x',
                     'file:/dev/full', 'exec:true']
        choices = [('query-fadump', {}), ('fadump-trigger', {}),
                   ('fadump-save', {'protocol': rng.choice(protocols)}),
                   ('fadump-save', {'protocol': rng.choice(protocols[:3])}),
                   ('fadump-save-cancel', {}), ('fadump-release', {}),
                   rng.choice(BAD_ARGUMENTS),
                   ('stop', {}), ('cont', {}), ('cont', {}),
                   ('system_reset', {}), ('inject-nmi', {}),
                   ('closefd', {'fdname': 'fuzz'}),
                   ('human-monitor-command', {'command-line': rng.choice(
                       ['info fadump', 'fadump_trigger', 'fadump_release',
                        'fadump_save', 'fadump_save /dev/null',
                        'fadump_save_cancel', 'fadump_release x'])})]
        return rng.choice(choices)

    def check_fuzz(self, tiny, seed, number):
        rng = random.Random(seed)
        guest = self.machine(
            tiny, fadump='boot-mem=128M,max-boots=2,early=on,'
                         'capture-host-reset=on',
            args=['-device', 'pvpanic'])
        null = os.open('/dev/null', os.O_WRONLY)
        self.addCleanup(os.close, null)
        refused = accepted = 0
        for i in range(number):
            command, arguments = self.random_command(rng)
            try:
                if arguments == {'protocol': 'fd:fuzz'}:
                    guest.qmp.getfd('fuzz', null)
                guest.qmp.execute(command, arguments)
                accepted += 1
            except QmpError as exc:
                self.assertEqual(exc.error_class, 'GenericError')
                refused += 1
            except (EOFError, OSError) as exc:
                raise guest.trouble(f'seed {seed}, command {i}: {command} '
                                    f'{arguments}: {exc}') from exc
            self.info(guest)
            if not rng.randrange(4):
                time.sleep(rng.random() / 50)
        self.assertGreater(accepted, number // 4)
        self.assertGreater(refused, number // 8)
        self.check_events(guest)
        for name in ('FADUMP_CAPTURED', 'FADUMP_RELEASED',
                     'FADUMP_SAVE_COMPLETED'):
            self.assertGreater(guest.qmp.count(name), 0)

        # It still does what it is there for.
        if guest.qmp.cmd('query-status')['status'] != 'running':
            guest.qmp.cmd('cont')
        self.assertTrue(guest.alive())
        guest.wait_for('the end of a save', lambda: self.info(guest).get(
            'save', {}).get('status') != 'active')
        # The machine resets and drops dumps meanwhile.
        guest.qmp.cmd('stop')
        if self.info(guest)['state'] == 'dump-available':
            guest.qmp.cmd('fadump-release')
        guest.qmp.cmd('cont')
        self.set_mark(guest)
        answer = self.ask(guest, 'fadump-trigger')
        if answer:
            self.assertRegex(answer[1], HELD[1])
        else:
            guest.qmp.wait_event('FADUMP_CAPTURED', start=self.mark)
        guest.qmp.cmd('stop')
        self.assertLessEqual(self.info(guest)['boot-mem'], 128 * MIB)
        guest.close()

    def test_fuzz(self):
        """
        :avocado: tags=machine:q35
        """
        for tiny, seed in (('s', 20261121), ('R', 20261122), ('T', 20261123)):
            with self.subTest(tiny=tiny, seed=seed):
                self.check_fuzz(tiny, seed, 400)


if __name__ == '__main__':
    main()
