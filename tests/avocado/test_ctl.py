#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""fadump-ctl, the operators' tool, with guests that crash."""

import filecmp
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FADUMP, GIB, FadumpTest, build, full_only, main

# Exit statuses, as the manual has them
OK, FAILED, USAGE, NO_DEVICE, NO_DUMP, TIMEOUT = range(6)

# For a command of the tool: a save of a GiB on a slow disk, mostly
TIME = 300 * build.TIMEOUT_SCALE


class CtlTest(FadumpTest):
    """A guest has two more monitors: one for commands, one for "watch"."""

    def setUp(self):
        self.program = os.path.join(build.BUILD, 'tools', 'fadump-ctl')
        if not os.access(self.program, os.X_OK):
            raise build.NotBuilt(f'{self.program} is not there: run "make" at '
                                 'the top first')
        self.sockets = tempfile.mkdtemp(prefix='fadump-ctl-')
        self.addCleanup(shutil.rmtree, self.sockets)
        self.env = dict(os.environ, LC_ALL='C.UTF-8', PATH=':'.join(
            [os.path.join(build.BUILD, 'tools'), os.environ['PATH']]))

    def monitor(self, name):
        return os.path.join(self.sockets, name)

    def monitor_args(self):
        return [arg for name in ('commands', 'watch') for arg in
                ('-qmp', f'unix:{self.monitor(name)},server=on,wait=off')]

    def ctl_guest(self, **options):
        return self.guest(args=self.monitor_args(), **options)

    # ---- the tool ----

    def start(self, *args, monitor='commands', before=(), **popen):
        where = ['-c', self.monitor(monitor)] if monitor else []
        # pylint: disable=consider-using-with
        proc = subprocess.Popen(
            [*before, self.program, *where, *args], env=self.env, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # a job in the background ignores it, and so do its children
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **popen)
        self.addCleanup(proc.communicate)
        self.addCleanup(proc.kill)
        return proc

    def end(self, proc, status):
        out, err = proc.communicate(timeout=TIME)
        self.assertEqual(proc.returncode, status,
                         f'{proc.args}:\n{out}{err}')
        if status == OK:
            self.assertEqual(err, '')
        else:
            self.assertRegex(err, r'(?m)^fadump-ctl: .')
        return out, err

    def ctl(self, *args, status=OK, **options):
        """Run it to its end, which must be that status; what it says."""
        out, err = self.end(self.start(*args, **options), status)
        return out if status == OK else err

    def ctl_json(self, *args, status=OK, **options):
        out, _ = self.end(self.start('--json', *args, **options), status)
        return json.loads(out)

    def report(self, dump, *args):
        return self.ctl_json('report', dump, *args, monitor=None)

    def watch(self, *args):
        """Start "watch", which is at work when this returns."""
        proc = self.start('--json', 'watch', *args, monitor='watch')
        self.assertIn('state', json.loads(proc.stdout.readline()))
        return proc

    def next_line(self, proc, what):
        """The next of its lines with that member, or that event."""
        for line in proc.stdout:
            said = json.loads(line)
            if what in said or said.get('event') == what:
                return said
        self.fail(f'watch has ended without {what}: {proc.stderr.read()}')

    def wait_status(self, what):
        """Until "status" says so."""
        end = time.monotonic() + TIME
        while True:
            info = self.ctl_json('status')
            if what(info):
                return info
            self.assertLess(time.monotonic(), end, info)
            time.sleep(0.1)

    def directory(self, name='dumps'):
        path = self.path(name)
        os.mkdir(path)
        # dumps are larger than what is to stay of a test
        self.addCleanup(shutil.rmtree, path)
        return path


class Usage(CtlTest):
    """What needs no dump."""

    def test_usage(self):
        """
        :avocado: tags=ctl
        """
        for args in ([], ['bogus'], ['status'], ['status', 'x'],
                     ['save'], ['save', 'a', 'b'], ['save', '--bogus', 'a'],
                     ['report'], ['watch', '--release'],
                     ['-t', '-5', 'status'], ['-t', 'x', 'status'],
                     ['-c', 'a', '-d', 'b', 'status'],
                     ['--uri', 'a', 'status'], ['-c', 'tcp:x', 'status'],
                     ['-c', 'x' * 200, 'status'],
                     ['-c', 'a', 'save', '--filter="', 'x']):
            with self.subTest(args=args):
                self.ctl(*args, monitor=None, status=USAGE)
        self.assertRegex(self.ctl('--version', monitor=None),
                         r'^fadump-ctl \d+\.\d+')
        self.assertIn('Commands:', self.ctl('--help', monitor=None))
        self.assertIn('no such file', self.ctl('status', status=FAILED).lower())
        error = self.ctl_json('status', status=FAILED)['error']
        self.assertEqual(error['status'], FAILED)
        for path in ('/dev/null', '/etc/passwd', '/', '/nonexistent'):
            self.ctl('report', path, monitor=None, status=FAILED)

    def test_no_device(self):
        """
        :avocado: tags=ctl,machine:pc
        """
        self.new_guest(fadump=None, machine='pc', memory='256M',
                       args=self.monitor_args()).start()
        target = self.path('core')
        for args in (['status'], ['trigger'], ['save', target], ['release'],
                     ['watch']):
            with self.subTest(args=args):
                self.assertIn('-device fadump-dev',
                              self.ctl(*args, status=NO_DEVICE))
        self.assertFalse(os.path.exists(target))

    def test_monitors(self):
        """A monitor that another client has, TCP, and an end of QEMU.

        :avocado: tags=ctl,machine:pc
        """
        guest = self.new_guest(machine='pc', memory='512M', args=[
            *self.monitor_args(),
            '-qmp', 'tcp:127.0.0.1:0,server=on,wait=off,ipv4=on']).start()
        tcp = next(c['filename'] for c in guest.qmp.cmd('query-chardev')
                   if c['filename'].startswith('disconnected:tcp:'))
        address = 'tcp:' + tcp.split(':', 2)[2].split(',')[0]
        self.assertEqual(self.ctl_json('-c', address, 'status',
                                       monitor=None)['state'], 'idle')
        target = self.path('core')
        self.ctl('-c', address, 'save', '--fd', target, monitor=None,
                 status=USAGE)

        watch = self.watch()
        began = time.monotonic()
        self.assertIn('another client',
                      self.ctl('-t', '1', 'status', monitor='watch',
                               status=TIMEOUT))
        self.assertLess(time.monotonic() - began, 20)
        self.ctl('-t', '1', 'watch', status=TIMEOUT)
        self.ctl('-t', '1', 'watch', '--once', 'FADUMP_CAPTURED',
                 status=TIMEOUT)

        awaits = self.start('watch', '--once', 'FADUMP_CAPTURED')
        self.assertIn('state', awaits.stdout.readline())
        guest.qmp.cmd('quit')
        self.next_line(watch, 'SHUTDOWN')
        self.end(watch, OK)
        self.end(awaits, FAILED)


class Dump(CtlTest):
    """From the trigger to the release."""

    def test_life(self):
        """
        :avocado: tags=ctl,machine:q35,kernel:6.1
        """
        guest = self.ctl_guest(kernel='6.1', machine='q35', memory='1G',
                               vcpus=2)
        before = guest.mem_total()
        directory = self.directory()
        core = os.path.join(directory, 'core')

        info = self.ctl_json('status')
        self.assertEqual(info['state'], 'registered')
        self.assertNotIn('dump', info)
        self.assertRegex(self.ctl('status'), r'State: +registered \(a crash')
        guest.cmd(f'echo 0 > {FADUMP}/registered')
        self.assertRegex(self.ctl('status'),
                         r'State: +idle .*is not captured')
        guest.cmd(f'echo 1 > {FADUMP}/registered')
        self.assertEqual(self.ctl_json('status')['state'], 'registered')
        self.ctl('save', core, status=NO_DUMP)
        self.ctl('release', status=NO_DUMP)
        self.ctl('release', '--force', status=NO_DUMP)
        error = self.ctl_json('release', status=NO_DUMP)['error']
        self.assertEqual(error['status'], NO_DUMP)

        watch = self.watch()
        human = self.ctl('trigger', '--wait')
        self.assertRegex(human, r'captured: dump [0-9a-f-]{36}, cause operator')
        dump = self.next_line(watch, 'FADUMP_CAPTURED')['data']['dump']
        self.assertEqual(dump['cause'], 'operator')
        self.next_line(watch, 'RESET')
        guest.wait_boot()
        self.assert_captured(guest, cause='CAUSE_OPERATOR')

        self.assertIn(dump['id'], self.ctl('trigger', status=FAILED))
        info = self.ctl_json('status')
        self.assertEqual(info['state'], 'dump-available')
        self.assertEqual(info['dump']['id'], dump['id'])
        human = self.ctl('status')
        for text in (dump['id'], 'Cause: +operator', 'VMCOREINFO: +yes',
                     'set aside'):
            self.assertRegex(human, text)

        # What was not saved is not dropped
        self.assertIn('--force', self.ctl('release', status=FAILED))
        self.assertEqual(self.ctl_json('status')['state'], 'dump-available')

        said = self.ctl_json('save', core)
        self.assertEqual(said['file'], core)
        self.assertEqual(said['id'], dump['id'])
        self.assertEqual(said['file-size'], os.path.getsize(core))
        self.assertEqual(said['file-size'], said['core-size'])
        self.assertFalse(said['released'])
        done = self.next_line(watch, 'FADUMP_SAVE_COMPLETED')['data']['save']
        self.assertEqual(done['status'], 'completed')
        self.assertEqual(os.path.getsize(core),
                         int(guest.cmd('stat -c %s /proc/vmcore')))
        self.assertRegex(self.ctl('status'), r'Last save: +completed')

        # Neither is another file of that name touched
        with open(core, 'r+b') as f:
            f.truncate(100)
        self.assertIn('--force', self.ctl('save', core, status=FAILED))
        self.assertEqual(os.path.getsize(core), 100)
        self.ctl('save', '--force', core)
        self.assertEqual(os.path.getsize(core), said['file-size'])
        piped = os.path.join(directory, 'piped')
        self.ctl('save', '--fd', piped)
        self.assertTrue(filecmp.cmp(core, piped, shallow=False),
                        'a pipe has brought other bytes')
        self.assertLess(os.stat(piped).st_blocks * 512,
                        os.path.getsize(piped), 'zeros take room')
        os.unlink(piped)
        self.ctl('save', os.path.join(directory, 'none', 'core'),
                 status=FAILED)
        self.ctl('save', '--fd', os.path.join(directory, 'none', 'core'),
                 status=FAILED)
        self.ctl('save', '--force', '/dev/null', status=FAILED)
        self.assertTrue(os.path.exists('/dev/null'))
        self.ctl('save', directory, '--force', status=FAILED)

        # Filtered, both ways, and with options that makedumpfile refuses
        for how in ('--fd', '--no-fd'):
            small = os.path.join(directory, 'small' + how)
            said = self.ctl_json('save', '--filter', how, small)
            self.assertTrue(said['filtered'])
            self.assertEqual(said['file-size'], os.path.getsize(small))
            self.assertLess(said['file-size'], said['core-size'] / 4)
            with open(small, 'rb') as f:
                self.assertEqual(f.read(8), b'KDUMP   ')
            with_log = self.report(small)
            self.assertEqual(with_log['release'], guest.kernel.release)
            self.assertIsNone(with_log['signature'],
                              'an operator is no crash of the kernel')
            os.unlink(small)
            self.assertIn('makedumpfile',
                          self.ctl('save', '--filter=--bogus', how, small,
                                   status=FAILED))
        whole = self.report(core)
        with_log['dump'] = core
        self.assertEqual(whole, with_log)
        self.assertEqual(os.listdir(directory), ['core'])

        self.assertIn(dump['id'], self.ctl('release'))
        gone = self.next_line(watch, 'FADUMP_RELEASED')['data']
        self.assertEqual(gone, {'id': dump['id'], 'reason': 'host'})
        # The driver registers first, then it takes its memory.
        self.next_line(watch, 'FADUMP_REGISTERED')
        guest.wait_for('its memory', lambda: not guest.exists(
            f'{FADUMP}/release_mem'))
        self.assert_released(guest, before)
        self.assertEqual(self.ctl_json('status')['state'], 'registered')
        watch.send_signal(signal.SIGTERM)
        self.end(watch, 128 + signal.SIGTERM)

    def test_interrupted(self):
        """
        :avocado: tags=ctl,machine:pc,kernel:6.1
        """
        guest = self.ctl_guest(kernel='6.1', machine='pc', memory='2G')
        guest.cmd('alloc 50')
        self.ctl('trigger', '--wait')
        guest.wait_boot()
        directory = self.directory()
        core = os.path.join(directory, 'core')

        # Held up in the middle, since it does not read
        for args in (['--fd'], ['--fd', '--filter']):
            for number in (signal.SIGINT, signal.SIGTERM):
                proc = self.start('save', *args, core)
                while True:
                    proc.send_signal(signal.SIGSTOP)
                    info = self.watch_info(guest)
                    if info.get('save', {}).get('status') == 'active':
                        break
                    self.assertIsNone(proc.poll(), 'it has ended before')
                    proc.send_signal(signal.SIGCONT)
                    time.sleep(0.01)
                proc.send_signal(number)
                proc.send_signal(signal.SIGCONT)
                self.end(proc, 128 + number)
                self.assertEqual(self.ctl_json('status')['save']['status'],
                                 'cancelled')
                self.assertEqual(os.listdir(directory), [])

        # Killed: the job ends with the pipe
        proc = self.start('save', '--fd', core)
        while self.watch_info(guest).get('save', {}).get('status') != 'active':
            self.assertIsNone(proc.poll())
        proc.kill()
        proc.wait()
        info = self.wait_status(lambda i: i['save']['status'] != 'active')
        self.assertEqual(info['save']['status'], 'failed')
        self.assertEqual(os.listdir(directory), [])

        # QEMU writes the file: there is no telling how far it is
        cancelled = 0
        for args in ([], ['--filter']):
            for delay in (0.05, 0.1, 0.2, 0.4, 0.8):
                proc = self.start('save', *args, core)
                time.sleep(delay)
                proc.send_signal(signal.SIGINT)
                out, err = proc.communicate(timeout=TIME)
                self.assertIn(proc.returncode,
                              (OK, 128 + signal.SIGINT, -signal.SIGINT),
                              out + err)
                if proc.returncode == OK:
                    self.assertEqual(os.listdir(directory), ['core'])
                    os.unlink(core)
                else:
                    cancelled += 1
                    self.assertEqual(os.listdir(directory), [])
                self.assertNotEqual(self.ctl_json('status')
                                    .get('save', {}).get('status'), 'active')
        self.assertGreater(cancelled, 0, 'each was done before it could be '
                           'interrupted')

        # In time or not at all
        self.ctl('-t', '0.01', 'save', '--fd', core, status=TIMEOUT)
        self.assertEqual(os.listdir(directory), [])
        self.assertTrue(guest.alive())
        self.ctl('save', '--release', core)
        # the driver adds the memory, and registers again
        self.wait_status(lambda i: i['state'] == 'registered')

    @staticmethod
    def watch_info(guest):
        """query-fadump by another monitor than the tool's"""
        return guest.qmp.cmd('query-fadump')

    def test_disk_full(self):
        """
        :avocado: tags=ctl,machine:q35,kernel:6.1
        """
        guest = self.ctl_guest(kernel='6.1', machine='q35', memory='1G')
        guest.cmd('alloc 40')
        self.ctl('trigger', '--wait')
        guest.wait_boot()
        directory = self.directory()
        small = os.path.join(directory, 'small')
        os.mkdir(small)
        # A file system of the tool's own; QEMU does not see it, and need not
        before = ['unshare', '--map-root-user', '--mount', 'sh', '-c',
                  'mount -t tmpfs -o size=16m none "$0" && "$@"; status=$?; '
                  'ls -A "$0" >&2; exit $status', small]
        if subprocess.run([*before, 'true'], check=False,
                          capture_output=True).returncode:
            self.skipTest('this machine has no user namespaces')
        for args in (['--fd'], ['--fd', '--filter']):
            proc = self.start('save', *args, os.path.join(small, 'core'),
                              before=before)
            _, err = self.end(proc, FAILED)
            self.assertRegex(err, r'^fadump-ctl: cannot write .*'
                                  r'No space left on device\n$')
            info = self.wait_status(lambda i: i['save']['status'] != 'active')
            self.assertIn(info['save']['status'], ('cancelled', 'failed'))
        # It is held as before
        core = os.path.join(directory, 'core')
        self.ctl('save', core)
        self.assertEqual(os.path.getsize(core),
                         int(guest.cmd('stat -c %s /proc/vmcore')))
        self.assertTrue(guest.alive())

    @full_only
    def test_no_vmcoreinfo(self):
        """A guest with no driver: makedumpfile finds nothing in its dump,
        crash does.

        :avocado: tags=ctl,machine:q35,kernel:6.1
        """
        guest = self.ctl_guest(kernel='6.1', machine='q35', memory='512M',
                               cmdline='fadump_test.nodriver')
        self.assertIn('idle', self.ctl('status'))
        said = self.ctl_json('trigger', '--wait')
        self.assertTrue(said['triggered'])
        self.assertFalse(said['dump']['vmcoreinfo'])
        guest.wait_boot()
        core = os.path.join(self.directory(), 'core')
        self.ctl('save', core)
        self.assertIn('--vmlinux', self.ctl('report', core, monitor=None,
                                            status=FAILED))
        report = self.report(core, '--vmlinux', guest.kernel.vmlinux)
        self.assertEqual(report['release'], guest.kernel.release)
        self.assertIsNone(report['signature'])
        self.ctl('release')
        self.assertEqual(self.ctl_json('status')['state'], 'idle')
        guest.reset()
        self.assertGreater(guest.mem_total(), GIB // 4)


class Signature(CtlTest):
    """Equal crashes are known again, others are not taken for them."""

    OOPS = '/sys/kernel/debug/fadump_oops/null'

    def check(self, kernel):
        directory = self.directory()
        guest = self.ctl_guest(kernel=kernel, machine='q35', memory='1G',
                               vcpus=2)
        before = guest.mem_total()
        watch = self.watch('--save-dir', directory, '--release', '--filter')
        reports = []
        # Different tasks, CPUs and times; the kernel lies elsewhere each time
        for command in (f'taskset 1 sh -c "echo 1 > {self.OOPS}"',
                        f'for i in 1 2 3 4 5 6 7 8 9; do /bin/true; done; '
                        f'echo 22 | taskset 2 tee {self.OOPS}',
                        'taskset 1 sh -c "echo c > /proc/sysrq-trigger"',
                        'taskset 2 sh -c "echo c > /proc/sysrq-trigger"'):
            guest.cmd('insmod /tests/fadump_oops.ko')
            guest.cmd('echo 1 > /proc/sys/kernel/panic_on_oops')
            guest.crash(command)
            dump = self.next_line(watch, 'FADUMP_CAPTURED')['data']['dump']
            saved = self.next_line(watch, 'saved')['saved']
            self.assertEqual(saved['id'], dump['id'])
            self.assertRegex(os.path.basename(saved['file']),
                             rf'^guest-\d{{8}}T\d{{6}}Z-{dump["id"]}\.vmcore$')
            said = self.next_line(watch, 'report')['report']
            with open(saved['file'] + '.json', encoding='utf-8') as f:
                self.assertEqual(json.load(f), said)
            self.assertEqual(self.report(saved['file']), said)
            self.assertRegex(self.ctl('report', saved['file'], monitor=None),
                             rf'Signature: +{said["signature"]}\n')
            self.assertEqual(said['release'], guest.kernel.release)
            reports.append(said)
            self.wait_status(lambda i: i['state'] == 'registered')
            self.assert_released(guest, before)
        self.assertEqual(len(os.listdir(directory)), 8)
        oops, tee, sysrq, other = reports
        self.assertRegex(oops['cause'], '^BUG: kernel NULL pointer deref')
        # Captured at the oops, before the kernel says that it panics
        self.assertIsNone(oops['panic'])
        self.assertEqual(oops['function'], 'fadump_oops_follow')
        self.assertEqual(oops['frames'][0], 'oops_write')
        self.assertEqual((oops['comm'], oops['cpu']), ('sh', 0))
        self.assertEqual((tee['comm'], tee['cpu']), ('tee', 1))
        self.assertNotEqual(oops['pid'], tee['pid'])
        self.assertEqual(oops['signature'], tee['signature'])
        self.assertEqual(sysrq['cause'], 'Kernel panic - not syncing: sysrq '
                                         'triggered crash')
        self.assertEqual(sysrq['signature'], other['signature'])
        self.assertNotEqual(oops['signature'], sysrq['signature'])
        watch.send_signal(signal.SIGINT)
        self.end(watch, 128 + signal.SIGINT)

    def test_6_1(self):
        """
        :avocado: tags=ctl,machine:q35,kernel:6.1
        """
        self.check('6.1')


if __name__ == '__main__':
    main()
