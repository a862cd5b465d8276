# SPDX-License-Identifier: GPL-2.0-or-later
"""Base class of the guest tests.

Each test file is plain unittest and runs alone (./test_panic.py), by
"python3 -m unittest discover tests/avocado" and by "avocado run tests/avocado
--max-parallel-tasks=1". With FADUMP_TAP=1 a file run alone speaks TAP, which
is how meson runs it. vmtest/build.py lists further environment variables.

A case marked @full_only is left to "make check-full", which sets FADUMP_FULL=1;
it runs as well when it is named.
"""

import os
import re
import resource
import shutil
import subprocess
import sys
import time
import unittest
import uuid

from vmtest import abi, booted, build
from vmtest.guest import Disk, Guest, GuestError
from vmtest.vmcore import Vmcore

MIB = 1 << 20
GIB = 1 << 30

FULL = bool(os.environ.get('FADUMP_FULL'))
# make check-soak: what is random, or wears out, more often
SOAK = bool(os.environ.get('FADUMP_SOAK'))

FADUMP = '/sys/kernel/fadump'
VMCORE = '/proc/vmcore'

# Kernel messages that no test expects, whatever else it looks at.
_BAD_MESSAGES = re.compile(
    r'WARNING: |BUG: |Oops: |INFO: task .* blocked|rcu: INFO|soft lockup|'
    r'Call Trace:|Out of memory|DMA-API|general protection|'
    r'deprecated workqueue')
# On a host with too little time the kernel may take the TSC to be many times slower
# than it is. Then its clock runs ahead, and it sees stalls, until it sees why.
_STALL_OF_WRONG_CLOCK = re.compile(
    r'(?s)(?<=tsc: PIT calibration deviates from HPET)(.*?)\n[^\n]*rcu: INFO: .*?'
    r'(?=\n[^\n]*tsc: Marking TSC unstable)')

# The dumped kernel's own messages, and what crash says of any Linux 7
_NOT_CRASHS = (r'^\[ *\d+\.\d+\]', '^WARNING: SLUB: cannot determine how '
               'compound pages are linked', '^WARNING: no kernel module access')


def full_only(test):
    """A case for "make check-full": what it shows beyond those of "make check"
    is not worth its time each time."""
    test.full_only = True
    return test


class Tier(unittest.TestLoader):
    """Leaves out what is marked so, but for what is named."""

    def getTestCaseNames(self, testCaseClass):
        return [name for name in super().getTestCaseNames(testCaseClass)
                if FULL or
                not hasattr(getattr(testCaseClass, name), 'full_only')]


class FadumpTest(unittest.TestCase):
    """self.guest(...) boots a guest that is gone when the test is."""

    maxDiff = None
    # The class's default; guest() takes others.
    kernel_series = None

    def shortDescription(self):
        # The test's name says it; docstrings begin with tags for avocado.
        return None

    def run(self, result=None):
        if result is None:
            result = self.defaultTestResult()
        before = len(result.failures) + len(result.errors)
        module = type(self).__module__
        if module == '__main__':
            module = os.path.splitext(os.path.basename(sys.argv[0]))[0]
        self._logs = os.path.join(
            build.BUILD, 'tests', f'{module.rpartition(".")[2]}.'
            f'{type(self).__name__}.{self._testMethodName}')
        self._guests = 0
        shutil.rmtree(self._logs, ignore_errors=True)
        begin, used = time.monotonic(), children_cpu()
        super().run(result)
        print(f'# {time.monotonic() - begin:.1f} s, processors '
              f'{children_cpu() - used:.1f} s: {self._testMethodName}',
              file=sys.stderr)
        failed = len(result.failures) + len(result.errors) > before
        # Logs stay, what is large does not.
        if not failed and not build.KEEP and os.path.isdir(self._logs):
            for root, _, files in os.walk(self._logs):
                for name in files:
                    if not name.endswith('.log'):
                        os.unlink(os.path.join(root, name))
        if failed:
            print(f'# its logs are in {self._logs}',
                  file=sys.stderr)
        return result

    # ---- making things ----

    def path(self, name):
        """A file of this test's own."""
        os.makedirs(self._logs, exist_ok=True)
        return os.path.join(self._logs, name)

    def shm_path(self, name):
        """A file on tmpfs, as the backing of guest memory."""
        path = f'/dev/shm/fadump-test-{os.getpid()}-{name}'
        self.addCleanup(lambda: os.path.exists(path) and os.unlink(path))
        return path

    def kernel(self, series=None):
        kernel = build.find_kernel(series or self.kernel_series)
        if not kernel:
            wanted = series or self.kernel_series or 'any'
            built = ', '.join(build.kernel_releases()) or 'none'
            if not build.kernel_releases():
                raise build.NotBuilt('no guest kernel in build/kernels with '
                                     'an initramfs in build/guest: run "make"')
            self.skipTest(f'kernel {wanted} is not built (built: {built})')
        return kernel

    def disk(self, name='disk', size='4G', ext4=True):
        return Disk(self.path(name + '.img'), size, ext4)

    def new_guest(self, kernel=None, **options):
        """A guest that is not started yet."""
        self._guests += 1
        logs = os.path.join(self._logs, f'guest{self._guests}')
        guest = Guest(logs, kernel=self.kernel(kernel), **options)
        self.addCleanup(guest.close)
        return guest

    def guest(self, kernel=None, cold=False, **options):
        """A guest that has booted, and is registered if it has the device
        and the driver. With cold it boots now, and not once for all tests."""
        def new_guest():
            return self.new_guest(kernel, **options)
        guest = (new_guest().boot() if cold else
                 booted.boot(self.kernel(kernel), options, new_guest))
        if (options.get('fadump', '') is not None and
                'nodriver' not in options.get('cmdline', '')):
            self.assert_registered(guest)
        return guest

    def migrate_to(self, source, target):
        """The guest goes to another QEMU, which is not started yet; that."""
        target.args += ['-incoming', 'defer']
        target.start(paused=True)
        channel = f'unix:{target.socket("migration")}'
        target.qmp.cmd('migrate-incoming', uri=channel)
        source.qmp.cmd('migrate', uri=channel)
        source.wait_migration()
        target.boots = list(source.boots)
        source.close()
        target.qmp.cmd('cont')
        return target

    # ---- what a user would look at ----

    def assert_registered(self, guest):
        self.assertEqual(guest.cmd(f'cat {FADUMP}/registered'), '1',
                         'fadump is not registered')
        self.assertFalse(guest.exists(VMCORE))

    def assert_quiet(self, guest, start=None, allow=()):
        """No kernel trouble on the console since the boot began."""
        text = guest.console(guest.boots[-1].console_start
                             if start is None else start)
        # What the previous kernel said when it died is not this boot's.
        text = re.split(r'\n.*\] Linux version ', text)[-1]
        text = _STALL_OF_WRONG_CLOCK.sub(r'\1', text)
        bad = [line for line in text.splitlines()
               if _BAD_MESSAGES.search(line) and
               not any(re.search(a, line) for a in allow)]
        self.assertEqual(bad, [], 'the kernel complained')

    def descriptor(self, guest):
        """The dump's descriptor as firmware and initramfs scripts see it."""
        data = guest.read_file('/sys/firmware/qemu_fw_cfg/by_name/'
                               f'{abi.FW_CFG_FILE}/raw')
        return abi.Descriptor(data)

    def window(self, guest):
        """Where it lies, as QEMU's memory map has it."""
        found = re.search(r'\n +([0-9a-f]+)-([0-9a-f]+) .*: fadump-window\b',
                          guest.qmp.hmp('info mtree'))
        self.assertTrue(found, 'there is no window')
        low, high = (int(n, 16) for n in found.groups())
        return range(low, high + 1)

    def vmcore(self, guest):
        """/proc/vmcore's headers and notes."""
        head = guest.read_file(VMCORE, 0, 65536)

        def read(offset, size):
            if offset + size <= len(head):
                return head[offset:offset + size]
            return guest.read_file(VMCORE, offset, size)
        return Vmcore(read)

    def assert_captured(self, guest, cause='CAUSE_PANIC', hidden=0):
        """The boot now running is a confined one with a usable dump: its
        descriptor. hidden: bytes of boot memory that firmware kept."""
        return self._assert_captured(guest, cause, hidden)[0]

    def _assert_captured(self, guest, cause, hidden=0):
        if not guest.exists(VMCORE):
            raise guest.trouble('no /proc/vmcore after the crash')
        descriptor = self.descriptor(guest)
        self.assertEqual(descriptor.cause, cause)
        self.assertEqual(descriptor.header['nr_vcpus'], guest.vcpus)
        self.assertEqual([r for r in descriptor.ranges
                          if r['flags'] & abi.RANGE_F_ERROR], [])
        # From 640 KiB to 1 MiB there are VGA and what firmware made read-only.
        self.assertLessEqual(descriptor.memory(), guest.memory)
        self.assertGreaterEqual(descriptor.memory(), guest.memory - 0x60000 - hidden,
                                'the descriptor does not name all RAM')
        # All that a confined boot has is boot memory (and the tail below
        # 4 GiB, where that is boot memory too: it shows in the ranges).
        ours = sum(r['len'] for r in descriptor.ranges
                   if r['flags'] & abi.RANGE_F_BOOT_MEM)
        self.assertLessEqual(guest.mem_total(), ours,
                             'the boot after the crash is not confined')
        self.assertEqual(guest.cmd(f'stat -c %a {VMCORE}'), '400')
        core = self.vmcore(guest)
        self.assertEqual(int(guest.cmd(f'stat -c %s {VMCORE}')), core.size())
        self.assertEqual(core.phoff, 64)
        # Where boot memory went, and where firmware was, is nothing to show.
        gone = sum(r['len'] for r in descriptor.ranges
                   if r['flags'] & (abi.RANGE_F_DESTINATION |
                                    abi.RANGE_F_FIRMWARE))
        self.assertEqual(core.memory(), descriptor.memory() - gone)
        self.assertEqual(len(core.cpu_registers()), guest.vcpus)
        self.assertEqual(guest.cmd(f'cat {FADUMP}/registered'), '0')
        return descriptor, core

    def events(self, guest, name, start=0):
        """The data of the events of that name, of those from number start
        on."""
        return [e.get('data') for e in guest.qmp.poll()[start:]
                if e['event'] == name]

    def assert_event(self, guest, cause, start=0):
        """There was one capture since event number start, for that cause, and
        it is held: the dump, as QMP tells of it."""
        self.assertEqual(self.events(guest, 'FADUMP_FAILED', start), [])
        dumps = [d['dump'] for d in self.events(guest, 'FADUMP_CAPTURED',
                                                start)]
        self.assertEqual([d['cause'] for d in dumps], [cause])
        dump = dumps[0]
        self.assertEqual(dump['vcpus'], guest.vcpus)
        self.assertEqual((dump['boots'], dump['lost']), (0, 0))
        self.assertLess(abs(time.time() - dump['time-ns'] / 1e9), 3600)
        # From 640 KiB to 1 MiB there are VGA and what firmware made read-only.
        self.assertTrue(0 <= guest.memory - dump['memory'] <= 0x60000, dump)
        info = guest.qmp.cmd('query-fadump')
        self.assertEqual(info['state'], 'dump-available')
        self.assertEqual(dict(info['dump'], boots=0, lost=0), dump)
        self.assertGreaterEqual(info['boot-mem'], dump['held'])
        self.assertGreater(dump['held'], info['boot-mem'] - 0x60001)
        return dump

    def assert_cause(self, guest, cause, start=0):
        """A confined boot runs after a capture for that cause, and host and
        guest say the same of it: the dump as QMP tells of it, and what the
        guest's /proc/vmcore has."""
        descriptor, core = self._assert_captured(
            guest, 'CAUSE_' + cause.upper().replace('-', '_'))
        dump = self.assert_event(guest, cause, start)
        header = descriptor.header
        crash_cpu = (None if header['crash_cpu'] == abi.CPU_NONE
                     else header['crash_cpu'])
        self.assertEqual(dump, {
            'id': str(uuid.UUID(bytes=header['dump_id'])),
            'cause': cause,
            'time-ns': header['time_ns'],
            'vcpus': header['nr_vcpus'],
            'lost-registers': [i for i, v in enumerate(descriptor.vcpus)
                               if v['flags'] & abi.VCPU_F_REGS_LOST],
            'vmcoreinfo': bool(core.note('VMCOREINFO')),
            'memory': descriptor.memory(),
            'held': descriptor.held_outside(),
            'moved': descriptor.set_aside('METHOD_MOVED'),
            'swapped': descriptor.set_aside('METHOD_SWAPPED'),
            'copied': descriptor.set_aside('METHOD_COPIED'),
            'capture-ns': header['capture_ns'],
            'boots': 0,
            'lost': 0,
        } | ({} if crash_cpu is None else {'crash-cpu': crash_cpu}))
        return dump, core

    def save(self, guest, name='vmcore'):
        """The dump that is held, saved by the host; the file."""
        path = self.path(name)
        start = len(guest.qmp.poll())
        guest.qmp.cmd('fadump-save', protocol='file:' + path)
        done = guest.qmp.wait_event('FADUMP_SAVE_COMPLETED',
                                    600 * build.TIMEOUT_SCALE, start)
        job = done['data']['save']
        self.assertEqual(job['status'], 'completed', job)
        self.assertEqual(job['written'], job['total'])
        self.assertEqual(job['total'], os.path.getsize(path))
        return path

    def assert_mem_total(self, guest, mem_total):
        """All memory of an earlier boot, but for a few pages: it depends on
        where the kernel was put."""
        self.assertAlmostEqual(guest.mem_total(), mem_total, delta=65536)

    def release(self, guest):
        guest.cmd(f'echo 1 > {FADUMP}/release_mem')

    def assert_released(self, guest, mem_total, tolerance=0.01):
        """All is as before the crash: memory, and armed again."""
        self.assertFalse(guest.exists(VMCORE))
        self.assertFalse(guest.exists(f'{FADUMP}/release_mem'))
        self.assertEqual(guest.cmd(f'cat {FADUMP}/registered'), '1',
                         'fadump is not registered again after the release')
        states = guest.cmd('cat /sys/devices/system/memory/memory*/state | '
                           'sort | uniq -c').split()
        self.assertEqual(states[1::2], ['online'], states)
        now = guest.mem_total()
        self.assertGreaterEqual(now, mem_total * (1 - tolerance),
                                f'MemTotal was {mem_total >> 20} MiB and is '
                                f'{now >> 20} MiB')
        # Linux counts the memory map of added memory, 1/64 of it, in MemTotal;
        # at boot it does not.
        self.assertLessEqual(now, mem_total * (1 + tolerance + 1 / 64),
                             'more memory than there was')

    # ---- dumps on the host ----

    def fetch_dump(self, disk, name):
        """A file that the guest left on its disk (unmounted)."""
        return disk.get(name, self.path(name))

    def crash_session(self, kernel, dump, *commands, allow=()):
        """What crash(8) prints, by command. No warning is accepted, but the
        dumped kernel's own and lines that match one of allow."""
        marker = '=====command'
        script = ''.join(f'!echo {marker} {i}\n{c}\n'
                         for i, c in enumerate(commands)) + 'quit\n'
        proc = subprocess.run(
            [*build.crash_command(kernel), '-s', '--no_scroll',
             kernel.vmlinux, dump],
            input=script, capture_output=True, text=True,
            timeout=300 * build.TIMEOUT_SCALE, errors='replace', check=False)
        output = proc.stdout + proc.stderr
        with open(self.path('crash.log'), 'a', encoding='utf-8') as f:
            f.write(output)
        self.assertEqual(proc.returncode, 0, output)
        told = '\n'.join(line for line in output.splitlines()
                         if not any(re.search(a, line) for a in
                                    [*_NOT_CRASHS, *allow]))
        self.assertNotRegex(told, r'(?im)^.*\b(warning|error|invalid|'
                                  r'cannot|incomplete)\b[: ]')
        parts = re.split(rf'^{marker} \d+\n', output, flags=re.M)
        self.assertEqual(len(parts), len(commands) + 1, output)
        return parts[1:]


def children_cpu():
    """What guests and tools that have ended have used, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_here(name, *args, check=True):
    """Run a guests' test program on the host; its status and output."""
    proc = subprocess.run([build.host_program(name), *map(str, args)],
                          capture_output=True, text=True, check=False)
    if check and proc.returncode:
        raise AssertionError(f'{name} {" ".join(map(str, args))}: '
                             f'{proc.stdout}{proc.stderr}')
    return proc.returncode, proc.stdout


def truth(*args, check=True):
    return run_here('truth', *args, check=check)


def tap_runner():
    """pycotap's runner, which knows nothing of subtests: a test of which only
    subtests failed would have no line at all."""
    sys.path.append(os.path.join(build.BUILD, 'tools', 'python'))
    import pycotap

    class Result(pycotap.TAPTestResult):
        def startTest(self, test):
            super().startTest(test)
            self.told = self.subtest_failed = False

        def print_result(self, result, test, directive=None):
            self.told = True
            super().print_result(result, test, directive)

        def addSubTest(self, test, subtest, err):
            super().addSubTest(test, subtest, err)
            if err:
                kind = (self.failures
                        if issubclass(err[0], test.failureException)
                        else self.errors)
                self.message.write(f'{subtest}\n{kind[-1][1]}\n')
                self.subtest_failed = True

        def stopTest(self, test):
            if self.subtest_failed and not self.told:
                self.not_ok(test)
            super().stopTest(test)

    class Runner:
        def run(self, test):
            to_error = pycotap.LogMode.LogToError
            result = Result(sys.stdout, sys.stderr, to_error, to_error)
            test(result)
            result.printErrors()
            return result

    return Runner()


def main():
    """Run the file's tests: TAP for meson, else as unittest does."""
    if os.environ.get('FADUMP_TAP'):
        unittest.main(module='__main__', testLoader=Tier(),
                      testRunner=tap_runner())
    else:
        unittest.main(module='__main__', testLoader=Tier(), verbosity=2)


__all__ = ['Disk', 'FADUMP', 'FULL', 'FadumpTest', 'GIB', 'Guest',
           'GuestError', 'MIB', 'VMCORE', 'abi', 'build', 'full_only', 'main',
           'run_here', 'truth']
