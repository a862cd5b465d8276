#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's tools, each as it is, on files of a system that is none: what the
generator makes of a machine, what fadump-config says of one, how often and where a
save is tried."""

import glob
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import uuid

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOP = os.path.dirname(TESTS)
TOOLS = os.path.join(TOP, 'guest', 'tools')
sys.path[:0] = [os.path.join(TESTS, 'avocado')]

from fadump_test import main
from vmtest import abi

DUMP_ID = 'b2a1c0de-0123-4567-89ab-cdef01234567'


class Root(unittest.TestCase):
    """self.root is the system."""

    def setUp(self):
        self.root = tempfile.mkdtemp(prefix='fadump-root-')
        self.addCleanup(shutil.rmtree, self.root)
        self.bin = os.path.join(self.root, 'bin')
        self.file('proc/meminfo', 'MemTotal:        2048000 kB\n')
        self.file('proc/cmdline', 'root=/dev/vda1 quiet\n')
        self.file('usr/lib/systemd/system/fadump-save.service', '')
        os.makedirs(os.path.join(self.root, 'tmp'))

    def path(self, name):
        return os.path.join(self.root, name)

    def file(self, name, content='', mode=0o644):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb' if isinstance(content, bytes) else 'w') as f:
            f.write(content)
        os.chmod(path, mode)
        return path

    def program(self, name, script):
        return self.file('bin/' + name, '#!/bin/sh\n' + script, 0o755)

    def config(self, text):
        self.file('etc/default/fadump-tools', text)

    def device(self):
        """The fadump device, between others."""
        for slot, ids in (('00.0', '8086:29c0'), ('02.0', '1af4:1042'),
                          ('03.0', '1af4:107b')):
            for name, value in zip(('vendor', 'device'), ids.split(':')):
                self.file(f'sys/bus/pci/devices/0000:00:{slot}/{name}',
                          f'0x{value}\n')

    def driver(self, registered=True, held=False):
        for name, value in (('enabled', 1), ('registered', int(registered)),
                            ('hotplug_ready', 1)):
            self.file(f'sys/kernel/fadump/{name}', f'{value}\n')
        if held:
            self.file('sys/kernel/fadump/release_mem', '')
            self.file('proc/vmcore', 'x')

    def run_tool(self, name, *args, env=(), **options):
        environment = {
            'PATH': f'{self.bin}:{os.environ["PATH"]}', 'LC_ALL': 'C',
            'FADUMP_ROOT': self.root, 'FADUMP_LIB': TOOLS,
            'FADUMP_SAVE': os.path.join(self.bin, 'save'),
            'TMPDIR': self.path('tmp'), **dict(env)}
        return subprocess.run(
            ['dash', os.path.join(TOOLS, name), *args], text=True,
            capture_output=True, check=False, env=environment, timeout=300,
            **options)


class Syntax(unittest.TestCase):
    def test_shell(self):
        for path in glob.glob(os.path.join(TOOLS, '*')):
            if not os.path.isfile(path):
                continue
            with open(path, encoding='utf-8', errors='replace') as f:
                if f.read(9) == '#!/bin/sh':
                    with self.subTest(path=path):
                        subprocess.run(['dash', '-n', path], check=True)

    def test_configuration_file_has_the_defaults(self):
        """What the file shows commented out is what the tools take."""
        with open(os.path.join(TOOLS, 'fadump-tools.default'),
                  encoding='utf-8') as f:
            shown = dict(re.findall(r'^#([A-Z_]+)=(.*)$', f.read(), re.M))
        taken = {}
        for name in ('fadump-functions', 'fadump-save'):
            with open(os.path.join(TOOLS, name), encoding='utf-8') as f:
                text = f.read()
                # before the configuration is read
                text = text[:re.search(r'^\t*\. "\$config"', text, re.M).start()]
                for key, value in re.findall(r'^\t?([A-Z_]+)=(\S*)$', text, re.M):
                    value = value.strip('"')
                    self.assertEqual(taken.setdefault(key, value), value, key)
        del shown['SSH_KEY'], taken['SSH_KEY']     # an example
        self.assertEqual(shown, taken)
        with open(os.path.join(TOOLS, 'fadump-tools.5'), encoding='utf-8') as f:
            manual = f.read()
        for key in shown:
            self.assertIn(key, manual)


class Descriptor(Root):
    def bytes(self, **header):
        """A descriptor of two vCPUs and three ranges."""
        vcpus = [abi.vcpu.pack(arch_id=0), abi.vcpu.pack(
            arch_id=1, flags=abi.VCPU_F_REGS_LOST)]
        ranges = [
            abi.range.pack(addr=0, len=0xa0000, dest=0x1000, held=0xa0000,
                           where=abi.WHERE_WINDOW, method=abi.METHOD_MOVED,
                           flags=abi.RANGE_F_BOOT_MEM),
            abi.range.pack(addr=1 << 20, len=511 << 20, dest=1 << 20,
                           held=511 << 20, where=abi.WHERE_WINDOW,
                           method=abi.METHOD_COPIED, flags=abi.RANGE_F_BOOT_MEM),
            abi.range.pack(addr=512 << 20, len=1 << 44, held=1 << 44,
                           where=abi.WHERE_IN_PLACE),
        ]
        fields = {
            'magic': abi.DESC_MAGIC.encode(), 'version': 1,
            'hdr_size': abi.desc.size, 'dump_id': uuid.UUID(DUMP_ID).bytes,
            'cause': abi.CAUSE_WATCHDOG, 'crash_cpu': 1,
            'time_ns': 1795676400123456789, 'capture_ns': 567890,
            'elf_machine': 62, 'nr_vcpus': 2, 'vcpu_size': abi.vcpu.size,
            'nr_ranges': 3, 'range_size': abi.range.size,
            'vcpus_off': abi.desc.size,
            'ranges_off': abi.desc.size + 2 * abi.vcpu.size,
            'boot_mem': 512 << 20, 'vmcoreinfo_size': 1024}
        fields.update(header)
        tables = b''.join(vcpus + ranges)
        fields.setdefault('total_size', abi.desc.size + len(tables))
        return abi.desc.pack(**fields) + tables

    def tell(self, data):
        return self.run_tool('fadump-descriptor', self.file('desc', data))

    def test_json(self):
        proc = self.tell(self.bytes())
        self.assertEqual(proc.returncode, 0, proc.stderr)
        told = json.loads(proc.stdout)
        ranges = told.pop('ranges')
        self.assertEqual(told, {
            'id': DUMP_ID, 'cause': 'watchdog', 'crash-cpu': 1,
            'time-ns': 1795676400123456789, 'vcpus': 2, 'lost-registers': [1],
            'vmcoreinfo': True, 'memory': 0xa0000 + (511 << 20) + (1 << 44),
            'held': 0xa0000 + (511 << 20), 'moved': 0xa0000, 'swapped': 0,
            'copied': 511 << 20, 'capture-ns': 567890, 'boot-mem': 512 << 20,
            'elf-machine': 62})
        self.assertEqual(ranges[2], {
            'addr': 512 << 20, 'len': 1 << 44, 'held': 1 << 44,
            'where': 'in-place', 'boot-mem': False, 'error': False})
        self.assertEqual([r['boot-mem'] for r in ranges], [True, True, False])

    def test_no_cpu(self):
        told = json.loads(self.tell(self.bytes(crash_cpu=abi.CPU_NONE)).stdout)
        self.assertNotIn('crash-cpu', told)

    def test_refused(self):
        good = self.bytes()
        for what, data in (('is no descriptor', b'x' * 400),
                           ('has version 2', self.bytes(version=2)),
                           ('is not whole', good[:-8]),
                           ('50 vCPUs are expected', self.bytes(nr_vcpus=50)),
                           ('vCPUs are expected', self.bytes(vcpu_size=0)),
                           ('50 ranges are expected', self.bytes(nr_ranges=50)),
                           ('ranges are expected', self.bytes(range_size=0)),
                           ('ranges are expected',
                            self.bytes(ranges_off=1 << 40)),
                           ('a header of', self.bytes(hdr_size=64)),
                           ('is no descriptor', b'')):
            with self.subTest(what=what):
                proc = self.tell(data)
                self.assertEqual(proc.returncode, 1)
                self.assertIn(what, proc.stderr)
                self.assertEqual(proc.stdout, '')

    def test_no_temporary_file_stays(self):
        self.tell(self.bytes())
        self.tell(b'')
        self.assertEqual(os.listdir(self.path('tmp')), [])


class Generator(Root):
    def generate(self, **env):
        out = self.path('out')
        shutil.rmtree(out, ignore_errors=True)
        os.makedirs(out)
        proc = self.run_tool('fadump-generator', out, out, out, env=env)
        self.assertEqual((proc.returncode, proc.stdout, proc.stderr), (0, '', ''))
        return sorted(os.path.relpath(os.path.join(d, f), out)
                      for d, _, files in os.walk(out) for f in files)

    def boot_conf(self):
        with open(self.path('out/fadump-save.service.d/50-fadump-boot.conf'),
                  encoding='utf-8') as f:
            return f.read().splitlines()

    ALWAYS = ['multi-user.target.wants/fadump-check.service',
              'sysinit.target.wants/fadump-driver.service']
    CONF = 'fadump-save.service.d/50-fadump-boot.conf'
    DEVICES = 'device.d/10-fadump-save.conf'
    EARLY = 'sysinit.target.wants/fadump-save.service'
    LATE = 'multi-user.target.wants/fadump-save.service'

    def test_no_device(self):
        self.assertEqual(self.generate(), [])
        # A dump of somebody else's, of powerpc's firmware for one
        self.driver(held=True)
        self.assertEqual(self.generate(), [])

    def test_container_and_initrd(self):
        self.device()
        self.driver(held=True)
        self.assertEqual(self.generate(SYSTEMD_VIRTUALIZATION='container:lxc'), [])
        self.assertEqual(self.generate(SYSTEMD_IN_INITRD='1'), [])
        self.assertNotEqual(self.generate(SYSTEMD_VIRTUALIZATION='vm:kvm'), [])

    def test_virtio_bus(self):
        self.file('sys/bus/virtio/devices/virtio0/device', '0x003b\n')
        self.assertEqual(self.generate(), self.ALWAYS)

    def test_no_dump(self):
        self.device()
        self.driver()
        self.assertEqual(self.generate(), self.ALWAYS)

    def test_local(self):
        self.device()
        self.driver(held=True)
        self.file('var/lib/x')
        # What takes memory and is not needed waits as well.
        waits = [f'systemd-{what}@.service.d/50-fadump-save.conf'
                 for what in ('cryptsetup', 'fsck')]
        self.assertEqual(self.generate(), sorted(
            self.ALWAYS + waits + [self.CONF, self.DEVICES, self.EARLY]))
        self.assertEqual(self.boot_conf()[1:], [
            '[Unit]', 'RequiresMountsFor=/var/crash', 'Before=sysinit.target',
            '[Service]', 'CPUWeight=300'])
        self.assertEqual(os.readlink(self.path(f'out/{self.EARLY}')),
                         '/usr/lib/systemd/system/fadump-save.service')

    def test_not_on_the_root(self):
        """Whatever is mounted on the way to the directory comes before the save."""
        self.device()
        self.driver(held=True)

        def early():
            held = [f for f in self.generate() if f.startswith('systemd-')]
            late = 'After=local-fs.target' in self.boot_conf()
            self.assertEqual(len(held), 0 if late else 2)
            self.assertEqual(os.path.exists(self.path(f'out/{self.DEVICES}')),
                             not late)
            self.assertIn('Before=sysinit.target', self.boot_conf())
            return not late

        # A partition whose type says /var is mounted on what is empty.
        self.assertFalse(early())
        self.file('var/lib/x')
        self.assertTrue(early())
        for line, root in (('/dev/sdb /var ext4 x 0 2', False),
                           ('/dev/sdb /var/crash ext4 x 0 2', False),
                           ('/dev/sdb /home ext4 x 0 2', True),
                           ('/dev/sdb /var/lib ext4 x 0 2', True)):
            with self.subTest(line=line):
                self.file('etc/fstab', f'/dev/vda / ext4 x 0 1\n{line}\n')
                self.assertEqual(early(), root)
        self.file('etc/fstab')
        for unit in ('var.mount', 'var-crash.mount', 'var-crash.automount'):
            with self.subTest(unit=unit):
                path = self.file(f'etc/systemd/system/{unit}')
                self.assertFalse(early())
                os.unlink(path)
        self.assertTrue(early())
        self.config('TARGET=/big-disk/dumps\n')
        self.assertTrue(early())
        self.file(r'etc/systemd/system/big\x2ddisk.mount')
        self.assertFalse(early())

        # A link to elsewhere
        self.config('')
        os.symlink('/data/crash', self.path('var/crash'))
        self.assertTrue(early())
        self.assertEqual(self.boot_conf()[2:4], [
            'RequiresMountsFor=/var/crash', 'RequiresMountsFor=/data/crash'])
        self.file('etc/fstab', '/dev/sdb /data xfs x 0 2\n')
        self.assertFalse(early())
        self.file('etc/fstab', 'host:/data /data nfs x 0 2\n')
        self.assertFalse(early())
        self.assertIn('After=network-online.target', self.boot_conf())

    def test_fw_cfg(self):
        """The driver is not there: what the firmware says counts."""
        self.device()
        self.file('sys/firmware/qemu_fw_cfg/by_name/etc/fadump-dump/raw', 'FADUMPKV')
        self.assertIn(self.EARLY, self.generate())
        # It is, and there is no dump.
        self.driver()
        self.assertNotIn(self.EARLY, self.generate())

    def test_parallel(self):
        self.device()
        self.driver(held=True)
        self.config('BOOT=parallel\n')
        self.file('var/lib/x')
        self.assertEqual(self.generate(), sorted(
            self.ALWAYS + [self.CONF, self.DEVICES, self.LATE]))
        self.assertNotIn('Before=sysinit.target', self.boot_conf())
        # what is started beside it is as urgent
        self.assertNotIn('CPUWeight=300', self.boot_conf())

    def test_remote(self):
        self.device()
        self.driver(held=True)
        for target in ('ssh://host/dir', 'nfs://host/export', 'https://host/'):
            with self.subTest(target=target):
                self.config(f'TARGET={target}\n')
                self.assertIn(self.EARLY, self.generate())
                self.assertEqual(self.boot_conf()[2:], [
                    'Wants=network-online.target', 'After=network-online.target',
                    'After=local-fs.target', 'Before=sysinit.target',
                    '[Service]', 'CPUWeight=300'])

    def test_directory_on_the_network(self):
        self.device()
        self.driver(held=True)
        self.file('var/lib/x')
        for line, remote, local in (
                ('host:/crash /var/crash nfs4 defaults 0 0', True, True),
                ('host:/var /var nfs defaults 0 0', True, True),
                ('/dev/sdb /var/crash ext4 noatime,_netdev 0 0', True, True),
                ('/dev/sdb /var/crash ext4 defaults 0 0', False, True),
                ('host:/home /home nfs4 defaults 0 0', False, False),
                ('host:/x /var/cra nfs4 defaults 0 0', False, False)):
            with self.subTest(line=line):
                self.file('etc/fstab', f'# a comment\n/dev/vda / ext4 x 0 1\n{line}\n')
                self.generate()
                self.assertEqual('After=network-online.target' in self.boot_conf(),
                                 remote)
                self.assertEqual('After=local-fs.target' in self.boot_conf(), local)
                self.assertIn('RequiresMountsFor=/var/crash', self.boot_conf())

    def test_network_manager(self):
        """It comes up after sysinit.target, so that cannot wait: what is enabled
        waits, each for itself."""
        self.device()
        self.driver(held=True)
        self.config('TARGET=ssh://host/dir\n')
        for unit in ('NetworkManager.service', 'ssh.service', 'mysql.service'):
            path = self.path(f'etc/systemd/system/multi-user.target.wants/{unit}')
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.symlink('/lib/systemd/system/' + unit, path)
        for unit in ('dbus.socket', 'docker.socket'):
            self.file(f'etc/systemd/system/sockets.target.wants/{unit}')
        files = self.generate()
        self.assertIn(self.LATE, files)
        self.assertNotIn('Before=sysinit.target', self.boot_conf())
        held = sorted(f.partition('.d/')[0] for f in files
                      if f.endswith('50-fadump-save.conf'))
        self.assertEqual(held, [
            'console-getty.service', 'docker.socket', 'getty@tty1.service',
            'mysql.service', 'serial-getty@.service', 'ssh.service'])
        # A directory needs no network.
        self.config('')
        self.assertIn(self.EARLY, self.generate())


class Config(Root):
    def setUp(self):
        super().setUp()
        self.program('makedumpfile', ':')
        self.program('systemctl', 'exit 1')
        self.program('modprobe', 'exit 1')
        os.makedirs(self.path('var/crash'))

    def status(self):
        proc = self.run_tool('fadump-config', 'status')
        return proc.returncode, proc.stdout

    def test_usage(self):
        self.assertEqual(self.run_tool('fadump-config').returncode, 2)
        self.assertEqual(self.run_tool('fadump-config', 'what').returncode, 2)
        self.assertEqual(self.run_tool('fadump-config', '--help').returncode, 0)

    def test_good(self):
        self.device()
        self.driver()
        self.config('MIN_FREE=0\n')
        rc, told = self.status()
        self.assertEqual(rc, 0, told)
        self.assertIn('captured by the host (fadump); the dump goes to /var/crash', told)
        self.assertNotIn('Wrong:', told)
        proc = self.run_tool('fadump-config', 'test')
        self.assertEqual(proc.returncode, 0, proc.stdout)
        self.assertIn('\nA crash now would be captured.', proc.stdout)
        self.assertEqual(self.run_tool('fadump-config', 'motd').stdout, '')

    def test_wrong(self):
        for what, cure, make in (
                ('no fadump device', '-device fadump-dev', lambda: None),
                ('driver is not built', 'linux-headers', self.device),
                ('not registered', 'echo 1 >', lambda: self.driver(False)),
                ('enable=0', 'modprobe.d', lambda: self.file(
                    'sys/kernel/fadump/enabled', '0\n')),
                ('a dump is held', 'fadump-save.service', lambda: self.driver(
                    False, True))):
            with self.subTest(what=what):
                make()
                rc, told = self.status()
                self.assertEqual(rc, 1)
                self.assertRegex(told, rf'Wrong: .*{what}.*{cure}')
                self.assertIn('is not captured', told)

    def test_kdump_wins(self):
        self.device()
        self.driver()
        self.config('MIN_FREE=0\n')
        self.file('sys/kernel/kexec_crash_loaded', '1\n')
        rc, told = self.status()
        self.assertEqual(rc, 1)
        self.assertIn('goes to kdump', told)
        self.assertRegex(told, 'Warning: .*kdump kernel is loaded and goes first.*prefer')
        self.file('sys/module/fadump/parameters/prefer', 'Y\n')
        rc, told = self.status()
        self.assertEqual(rc, 0, told)
        self.assertIn('captured by the host', told)

    def test_crashkernel(self):
        self.device()
        self.driver()
        self.config('MIN_FREE=0\n')
        self.file('proc/cmdline', 'quiet crashkernel=384M-:128M\n')
        self.file('sys/kernel/kexec_crash_size', f'{128 << 20}\n')
        rc, told = self.status()
        self.assertEqual(rc, 0, told)
        self.assertRegex(told, 'Warning: .*crashkernel=384M-:128M.*128 MiB are reserved')

    def test_configuration(self):
        self.device()
        self.driver()
        for text, told in (('TARGET="x', 'no shell text'),
                           ('TARGET=relative', 'neither a directory'),
                           ('BOOT=later', 'neither wait nor parallel'),
                           ('ON_FAILURE=halt', 'none of keep'),
                           (f'MIN_FREE={1 << 40}', 'make room')):
            with self.subTest(text=text):
                self.config(text + '\n')
                proc = self.run_tool('fadump-config', 'test')
                self.assertIn(told, proc.stdout)

    def test_motd(self):
        self.device()
        self.assertIn('No crash of this system is captured',
                      self.run_tool('fadump-config', 'motd').stdout)
        self.driver(held=True)
        self.assertIn('in part of its memory (2000 MiB)',
                      self.run_tool('fadump-config', 'motd').stdout)

    def test_selftest_asks(self):
        self.device()
        self.driver()
        self.config('MIN_FREE=0\n')
        self.program('sync', f'touch {self.path("synced")}')
        self.program('id', 'echo 0')
        proc = self.run_tool('fadump-config', 'selftest', input='yes\n')
        self.assertEqual(proc.returncode, 1)
        self.assertIn('nothing was done', proc.stderr)
        self.assertFalse(os.path.exists(self.path('synced')))
        self.assertFalse(os.path.exists(self.path('var/lib/fadump-tools/selftest')))

    def test_selftest_report(self):
        self.device()
        self.driver()
        self.file('proc/sys/kernel/random/boot_id', 'two\n')
        self.file('var/lib/fadump-tools/selftest',
                  f'boot_id=one\ntime={int(time.time()) - 50}\nmem=1990\n')
        self.file('var/lib/fadump-tools/selftest.units', 'cron.service\nssh.service\n')
        self.program('systemctl', 'echo "ssh.service loaded active running x"')
        os.utime(self.path('var/lib/fadump-tools/selftest'), (1, 1))
        self.file(f'var/crash/20261126000000-{DUMP_ID}/dump.20261126000000')
        proc = self.run_tool('fadump-config', 'selftest', '--report')
        self.assertEqual(proc.returncode, 1)
        self.assertEqual(proc.stdout.count('\nok '), 3, proc.stdout)
        self.assertIn('FAILED   not running: cron.service', proc.stdout)
        self.assertRegex(proc.stdout, r'to this report: 5\d s')
        # It stays, to be read again.
        again = self.run_tool('fadump-config', 'selftest', '--report')
        self.assertEqual((again.returncode, again.stdout), (1, proc.stdout))


class Boot(Root):
    """fadump-boot, with saves that do as they are told."""

    def setUp(self):
        super().setUp()
        self.driver(held=True)
        self.program('systemctl', f'echo "$@" >>{self.path("systemctl")}; exit 1')
        self.program('save', f'echo x >>{self.path("saves")}\n'
                             f'. {self.path("told")}\n')

    def boot(self, save, config=''):
        self.file('told', save)
        self.config('RETRY_DELAY=0\n' + config)
        return self.run_tool('fadump-boot')

    def read(self, name):
        try:
            with open(self.path(name), encoding='utf-8') as f:
                return f.read()
        except FileNotFoundError:
            return ''

    RELEASE = 'sys/kernel/fadump/release_mem'
    ISSUE = 'run/issue.d/fadump-tools.issue'

    def test_good(self):
        proc = self.boot('exit 0')
        self.assertEqual(proc.returncode, 0, proc.stderr)
        self.assertEqual(self.read(self.RELEASE), '1\n')
        self.assertEqual(self.read(self.ISSUE), '')
        self.assertEqual(self.read('saves'), 'x\n')

    def test_the_login_is_told_meanwhile(self):
        self.boot(f'cp {self.path(self.ISSUE)} {self.path("meanwhile")}')
        self.assertIn('It is being saved', self.read('meanwhile'))

    def test_nothing_held(self):
        os.unlink(self.path(self.RELEASE))
        proc = self.boot('exit 1')
        self.assertEqual(proc.returncode, 0)
        self.assertEqual(self.read('saves'), '')

    def test_tries_again(self):
        proc = self.boot(f'[ $(wc -l <{self.path("saves")}) -eq 3 ]')
        self.assertEqual(proc.returncode, 0, proc.stdout)
        self.assertEqual(self.read(self.RELEASE), '1\n')
        self.assertIn('(2 of 2)', proc.stdout)

    def test_keep(self):
        proc = self.boot('exit 1', 'RETRIES=1\n')
        self.assertEqual(proc.returncode, 1)
        self.assertEqual(self.read('saves'), 'x\nx\n')
        self.assertEqual(self.read(self.RELEASE), '')
        self.assertIn('It could not be saved', self.read(self.ISSUE))
        self.assertIn('systemctl start fadump-save.service', proc.stdout)
        self.assertIn('--no-block start fadump-held.service', self.read('systemctl'))

    def test_release(self):
        proc = self.boot('exit 1', 'ON_FAILURE=release\n')
        self.assertEqual(proc.returncode, 1)
        self.assertEqual(self.read(self.RELEASE), '1\n')
        self.assertEqual(self.read(self.ISSUE), '')

    def test_poweroff(self):
        proc = self.boot('exit 1', 'ON_FAILURE=poweroff\n')
        self.assertEqual(proc.returncode, 1)
        self.assertEqual(self.read(self.RELEASE), '')
        self.assertIn('poweroff', self.read('systemctl'))

    def test_host_releases(self):
        """While it is being saved, which fails of that"""
        proc = self.boot(f'rm {self.path(self.RELEASE)}; exit 1')
        self.assertEqual(proc.returncode, 0)
        self.assertIn('the host has released', proc.stdout)
        self.assertEqual(self.read('saves'), 'x\n')
        self.assertEqual(self.read(self.ISSUE), '')

    def test_what_waited_is_started(self):
        """By a release of the guest's, of the host's, and of a dump that is dropped"""
        self.program('systemctl', f'echo "$@" >>{self.path("systemctl")}')
        for save, config in (('exit 0', ''),
                             (f'rm {self.path(self.RELEASE)}; exit 1', ''),
                             ('exit 1', 'RETRIES=0\nON_FAILURE=release\n')):
            with self.subTest(save=save, config=config):
                self.driver(held=True)
                self.file('systemctl', '')
                self.boot(save, config)
                self.assertEqual(
                    [line for line in self.read('systemctl').splitlines()
                     if line.startswith('--no-block')],
                    ['--no-block start kdump-tools.service',
                     '--no-block restart fadump-check.service'])

    def test_what_is_left_held_is_waited_for(self):
        """It goes at last: nothing is said at logins any more, all is started."""
        self.boot('exit 1', 'RETRIES=0\n')
        self.program('systemctl', f'echo "$@" >>{self.path("systemctl")}')
        self.file('systemctl', '')
        self.program('sleep', f'[ $(grep -c x {self.path("slept")}) -lt 3 ] ||\n'
                              f'\trm {self.path(self.RELEASE)}\n'
                              f'echo x "$@" >>{self.path("slept")}')
        self.file('slept', '')
        proc = self.run_tool('fadump-boot', '--wait')
        self.assertEqual(proc.returncode, 0, proc.stderr)
        self.assertEqual(self.read('slept'), 'x 15\n' * 4)
        self.assertEqual(self.read(self.ISSUE), '')
        self.assertIn('--no-block start kdump-tools.service', self.read('systemctl'))
        self.assertIn('restart fadump-check.service', self.read('systemctl'))

    def host_reads(self, then):
        self.program('echo', 'echo "echo: write error: Device or resource busy" >&2\n'
                             f'{then}\nexit 1')

    def test_host_reads(self):
        self.host_reads(f'(sleep 2; rm {self.path(self.RELEASE)}) >/dev/null 2>&1 &')
        proc = self.boot('exit 0')
        self.assertEqual(proc.returncode, 0, proc.stderr)
        self.assertRegex(proc.stdout, '(?s)the host is reading.*all memory is back')
        self.assertEqual(self.read(self.ISSUE), '')

    def test_host_reads_on(self):
        self.host_reads('')
        proc = self.boot('exit 0', 'STALL=2\n')
        self.assertEqual(proc.returncode, 1)
        self.assertIn('was not released', proc.stdout)
        self.assertIn('its memory is not back', self.read(self.ISSUE))
        self.assertIn('--no-block start fadump-held.service', self.read('systemctl'))

    def test_wrong_configuration_keeps(self):
        """A save that is told nonsense fails, and says 2."""
        proc = self.boot('exit 2', 'RETRIES=0\n')
        self.assertEqual(proc.returncode, 1)
        self.assertEqual(self.read(self.RELEASE), '')


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes PUT as a file server does, in chunks or not."""

    def do_PUT(self):
        data = b''
        if self.headers.get('Transfer-Encoding') == 'chunked':
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers['Content-Length']))
        self.server.files[self.path] = data
        self.send_response(self.server.status)
        self.send_header('Content-Length', '0')
        self.end_headers()

    def do_DELETE(self):
        self.server.files.pop(self.path, None)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


class Save(Root):
    """fadump-save. A makedumpfile that hangs or fills a disk cannot be had as it is
    wanted, so one that does as it is told; the real one runs in the guests."""

    def setUp(self):
        super().setUp()
        self.file('proc/vmcore', 'x')
        self.makedumpfile('printf dump >"$out"')
        self.config('MIN_FREE=0\n')

    def makedumpfile(self, save):
        """save: with $out, the file, or /dev/stdout."""
        self.program('makedumpfile', f'''
case $1 in -v) printf 'lzo\\tenabled\\nzstd\\tenabled\\n'; exit;; esac
case "$*" in *--dump-dmesg*) echo log >"$3"; exit;; esac
case " $* " in *" -F "*) out=/dev/stdout;; *) for out; do :; done;; esac
printf '%s\\n' "$*" >>{self.path('runs')}
{save}
''')

    def runs(self):
        with open(self.path('runs'), encoding='utf-8') as f:
            return f.read().splitlines()

    def save(self, *args):
        return self.run_tool('fadump-save', *args)

    def dumps(self):
        return sorted(os.path.relpath(f, self.path('var/crash')) for f in
                      glob.glob(self.path('var/crash/**'), recursive=True)
                      if os.path.isfile(f))

    def test_default_level(self):
        """User memory stays in where makedumpfile would take slab pages for it."""
        for release, version, level in (('6.1.0-56-amd64', '1.7.2', 31),
                                        ('6.9.7', '1.7.2', 31),
                                        ('6.9-rc1', '1.7.2', 31),
                                        ('6.10.1', '1.7.2', 23),
                                        ('6.12.117+deb12-amd64', '1.7.2', 23),
                                        ('6.12.117+deb13-amd64', '1.7.6', 31),
                                        ('6.12.117+deb13-amd64', '1.7.10', 31),
                                        ('6.12.117+deb13-amd64', '', 23),
                                        ('7.3.4+deb13-amd64', '1.7.8', 23)):
            with self.subTest(release=release, version=version):
                self.program('uname', f'echo {release}')
                self.program('makedumpfile', f'echo "makedumpfile: version {version}'
                                             ' (released on 7 Nov 2022)"')
                proc = self.save('--help')
                self.assertIn(f'(default: {level})', proc.stdout)

    def test_usage(self):
        for args in (['-d', 'all'], ['--threads=two'], ['-c', 'gzip'],
                     ['--nothing'], ['-o'], ['-o', 'relative'], ['-o', 'ftp://x/y']):
            with self.subTest(args=args):
                proc = self.save(*args)
                self.assertEqual(proc.returncode, 2, proc.stderr)
                self.assertTrue(proc.stderr)
        self.config('STALL=soon\n')
        self.assertEqual(self.save().returncode, 2)

    def test_good(self):
        proc = self.save()
        self.assertEqual(proc.returncode, 0, proc.stderr)
        names = [re.sub(r'\d{14}', 'T', f) for f in self.dumps()]
        self.assertEqual(names, ['T/dmesg.T', 'T/dump.T'])
        for name in self.dumps():
            mode = os.stat(self.path(f'var/crash/{name}')).st_mode
            self.assertEqual(mode & 0o77, 0, name)
        # The quickest that this makedumpfile has
        self.assertRegex(self.runs()[0], r'^-l -d \d+ /')
        self.assertEqual(os.listdir(self.path('tmp')), [])

    def test_configuration(self):
        self.config('MIN_FREE=0\nLEVEL=1\nCOMPRESS=zstd\nTHREADS=3\n'
                    'TARGET=/srv/dumps\n')
        proc = self.save()
        self.assertEqual(proc.returncode, 0, proc.stderr)
        self.assertRegex(self.runs()[0], r'^-z -d 1 --num-threads 3 ')
        self.assertEqual(len(glob.glob(self.path('srv/dumps/*/dump.*'))), 1)
        # An option counts more.
        self.assertEqual(self.save('-d', '2', '-c', 'none').returncode, 0)
        self.assertRegex(self.runs()[1], r'^-d 2 --num-threads 3 ')

    def test_threads_fail(self):
        self.makedumpfile('case "$*" in *--num-threads*) exit 134;; esac; '
                          'printf dump >"$out"')
        proc = self.save('-t', '2')
        self.assertEqual(proc.returncode, 0, proc.stderr)
        self.assertIn('trying without', proc.stderr)
        self.assertEqual(len(self.runs()), 2)

    def test_fails(self):
        self.makedumpfile('printf half >"$out"; echo no idea; exit 1')
        proc = self.save('-t', '0')
        self.assertEqual(proc.returncode, 1)
        self.assertIn('no idea', proc.stderr)
        self.assertIn('held as before', proc.stderr)
        self.assertEqual(self.dumps(), [])
        self.assertEqual(os.listdir(self.path('var/crash')), [])

    def test_no_room(self):
        self.config(f'MIN_FREE={1 << 40}\n')
        proc = self.save('-t', '0')
        self.assertEqual(proc.returncode, 1)
        self.assertIn('no space is left', proc.stderr)
        self.assertFalse(os.path.exists(self.path('runs')))
        self.assertEqual(os.listdir(self.path('var/crash')), [])

    def test_stall(self):
        self.config('MIN_FREE=0\nSTALL=2\n')
        self.makedumpfile('printf half >"$out"; exec sleep 1000')
        begin = time.monotonic()
        proc = self.save('-t', '0')
        self.assertEqual(proc.returncode, 1)
        self.assertIn('nothing has been written for 2 s', proc.stderr)
        self.assertLess(time.monotonic() - begin, 60)
        self.assertEqual(self.dumps(), [])

    def test_no_stall_while_it_goes_on(self):
        self.config('MIN_FREE=0\nSTALL=4\n')
        self.makedumpfile('for n in 1 2 3 4; do sleep 2; '
                          'printf "\\rCopying data : [ $n.0 %%] /"; done; '
                          'printf dump >"$out"')
        proc = self.save('-t', '0')
        self.assertEqual(proc.returncode, 0, proc.stderr)

    def test_timeout(self):
        self.config('MIN_FREE=0\nTIMEOUT=3\n')
        self.makedumpfile('while sleep 1; do echo x >>"$out"; done')
        proc = self.save('-t', '0')
        self.assertEqual(proc.returncode, 1)
        self.assertIn('not done after 3 s', proc.stderr)

    def test_version_explained_once(self):
        self.makedumpfile('echo The kernel version is not supported.; '
                          'case "$*" in *--num-threads*) exit 1;; esac; '
                          'printf dump >"$out"')
        proc = self.save('-t', '2')
        self.assertEqual(proc.stdout.count('the dump is good if it ends well'), 1)

    def test_killed(self):
        """What it has begun ends with it."""
        self.makedumpfile(f'echo $$ >{self.path("pid")}; exec sleep 1000')
        env = {'PATH': f'{self.bin}:{os.environ["PATH"]}',
               'FADUMP_ROOT': self.root, 'TMPDIR': self.path('tmp')}
        # pylint: disable=consider-using-with
        proc = subprocess.Popen(['dash', os.path.join(TOOLS, 'fadump-save')],
                                env=env, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
        while not os.path.exists(self.path('pid')):
            time.sleep(0.05)
        time.sleep(0.2)
        with open(self.path('pid'), encoding='ascii') as f:
            pid = int(f.read())
        proc.terminate()
        self.assertEqual(proc.wait(60), 1)
        for _ in range(100):
            if not os.path.exists(f'/proc/{pid}'):
                break
            time.sleep(0.1)
        self.assertFalse(os.path.exists(f'/proc/{pid}'))

    def test_keep_dumps(self):
        self.config('MIN_FREE=0\nKEEP_DUMPS=2\n')
        old = [f'2026010{n}000000-{DUMP_ID}' for n in range(1, 4)]
        for name in old + ['kept', '202601010000', 'a-b-c-d-e-f']:
            self.file(f'var/crash/{name}/dump.x')
        self.assertEqual(self.save().returncode, 0)
        left = os.listdir(self.path('var/crash'))
        self.assertEqual([n for n in old if n in left], old[1:])
        for name in ('kept', '202601010000', 'a-b-c-d-e-f'):
            self.assertIn(name, left)

    def remote(self):
        """ssh to a host that is this one: what it is told is done by a shell, as
        sshd has it done."""
        self.program('ssh', f'echo "$*" >>{self.path("told")}\n'
                            'for command; do :; done; exec sh -c "$command"')
        return f'ssh://root@host:2222{self.path("far")}'

    def far(self):
        return {re.sub(r'\d{14}', 'T', os.path.relpath(f, self.path('far'))):
                os.path.getsize(f) for f in
                glob.glob(self.path('far/**'), recursive=True) if os.path.isfile(f)}

    def test_ssh(self):
        self.config('MIN_FREE=0\nSSH_KEY=/root/key\nSSH_OPTIONS="-o X=y"\n')
        self.makedumpfile('head -c 3000000 /dev/zero')
        proc = self.save('-o', self.remote())
        self.assertEqual(proc.returncode, 0, proc.stderr)
        self.assertEqual(self.far(), {'T/dump.T.flat': 3000000, 'T/dmesg.T': 4})
        with open(self.path('told'), encoding='utf-8') as f:
            for line in f:
                self.assertRegex(line, r'^-o BatchMode=yes .* -p 2222 '
                                       r'-i /root/key -o X=y root@host ')
                break
        for name in glob.glob(self.path('far/*/*')):
            self.assertEqual(os.stat(name).st_mode & 0o77, 0, name)

    def test_ssh_half_a_dump(self):
        self.makedumpfile('printf half; exit 1')
        self.assertEqual(self.save('-o', self.remote()).returncode, 1)
        self.assertEqual(self.far(), {})

    def test_ssh_other_side_full(self):
        target = self.remote()
        self.makedumpfile('head -c 3000000 /dev/zero')
        self.program('cat', 'case $# in 0) head -c 1000; exit 1;; esac\n'
                            f'exec {shutil.which("cat")} "$@"')
        self.assertEqual(self.save('-o', target).returncode, 1)
        self.assertEqual(self.far(), {})

    def receiver(self, status=201):
        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Receiver)
        server.files, server.status = {}, status
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server, f'http://127.0.0.1:{server.server_address[1]}/dumps/'

    @unittest.skipUnless(shutil.which('curl'), 'curl is not installed')
    def test_http(self):
        server, url = self.receiver()
        self.makedumpfile('head -c 3000000 /dev/zero')
        proc = self.save('-o', url)
        self.assertEqual(proc.returncode, 0, proc.stderr)
        files = {re.sub(r'\d{14}', 'T', name): len(data)
                 for name, data in server.files.items()}
        self.assertEqual(files, {'/dumps/T/dump.T.flat': 3000000,
                                 '/dumps/T/dmesg.T': 4})

    @unittest.skipUnless(shutil.which('curl'), 'curl is not installed')
    def test_http_refused(self):
        _, url = self.receiver(507)
        proc = self.save('-o', url)
        self.assertEqual(proc.returncode, 1)
        self.assertIn('507', proc.stderr)

    @unittest.skipUnless(shutil.which('curl'), 'curl is not installed')
    def test_http_half_a_dump(self):
        """The server took what came, but makedumpfile failed."""
        server, url = self.receiver()
        self.makedumpfile('printf half; exit 1')
        self.assertEqual(self.save('-o', url).returncode, 1)
        self.assertEqual(server.files, {})


class Driver(Root):
    RULES = 'run/udev/rules.d/50-kdump-tools.rules'

    def test_good(self):
        self.device()
        self.driver()
        self.assertEqual(self.run_tool('fadump-driver', 'start').returncode, 0)
        self.assertEqual(os.readlink(self.path(self.RULES)), '/dev/null')
        self.assertEqual(self.run_tool('fadump-driver', 'stop').returncode, 0)
        self.assertFalse(os.path.lexists(self.path(self.RULES)))

    def luks(self, memory, granted):
        """A root on a LUKS volume whose key slots take so much KiB, and a driver
        that says what it is granted."""
        self.device()
        self.driver()
        self.file('sys/module/fadump/parameters/boot_mem', '0\n')
        volume = self.file('volume', b'')
        os.truncate(volume, 32 << 20)
        for kib in memory:
            subprocess.run(
                ['cryptsetup', 'luksAddKey' if kib != memory[0] else 'luksFormat',
                 '--batch-mode', '--pbkdf', 'argon2id', '--pbkdf-memory',
                 str(kib), '--pbkdf-force-iterations', '4',
                 '--pbkdf-parallel', '1', volume] +
                ([] if kib == memory[0] else ['-']),
                input=b'secret' if kib == memory[0] else b'secret\nother',
                check=True)
        self.program('findmnt', 'echo /dev/mapper/root')
        self.program('lsblk', f'echo "/dev/mapper/root ext4"; '
                              f'echo "{volume} crypto_LUKS"; echo /dev/vda')
        log = self.path('dmesg')
        self.program('dmesg', f'cat {log}')
        self.file('dmesg', ''.join(f'[ 1.0] fadump: registered, {mib} MiB are set '
                                   'aside at a crash, 0 MB reserved\n'
                                   for mib in granted))

    def boot_mem(self):
        with open(self.path('sys/module/fadump/parameters/boot_mem'),
                  encoding='ascii') as f:
            return f.read().strip()

    def test_luks(self):
        self.luks((64, 600 << 10), (512,))
        proc = self.run_tool('fadump-driver', 'start')
        self.assertEqual(proc.returncode, 0, proc.stderr)
        self.assertEqual(self.boot_mem(), '984M')
        # The log has not changed: the host grants no more.
        self.assertIn('984 MiB of boot memory to open, and the host grants 512',
                      proc.stderr)
        told = self.run_tool('fadump-config', 'status').stdout
        self.assertRegex(told, 'Warning: .*984 MiB.*512 MiB are granted.*'
                               'boot-mem-max=984M')

    def test_luks_granted(self):
        self.luks((600 << 10,), (512, 1024))
        proc = self.run_tool('fadump-driver', 'start')
        self.assertEqual((proc.returncode, proc.stderr), (0, ''))
        self.assertEqual(self.boot_mem(), '0')
        self.assertIn('can be opened in boot memory (1024 MiB)',
                      self.run_tool('fadump-config', 'test').stdout)

    def test_luks_of_the_target(self):
        """It is another volume than the root's; the directory is made by the save."""
        self.luks((600 << 10,), (512,))
        self.program('findmnt', 'shift 3; case $1 in /proc/self) echo data;; '
                                '*) echo root;; esac')
        self.program('lsblk', f'[ $3 != data ] || echo "{self.path("volume")} '
                              'crypto_LUKS"')
        told = self.run_tool('fadump-config', 'test').stdout
        self.assertNotIn('LUKS', told)
        self.config('TARGET=/proc/self/none/at-all\n')
        told = self.run_tool('fadump-config', 'test').stdout
        self.assertRegex(told, 'LUKS .*TARGET takes 984 MiB.*512 MiB are granted')

    def test_luks_said(self):
        self.luks((600 << 10,), (512,))
        self.file('sys/module/fadump/parameters/boot_mem', '536870912\n')
        proc = self.run_tool('fadump-driver', 'start')
        self.assertEqual((proc.returncode, proc.stderr), (0, ''))
        self.assertEqual(self.boot_mem(), '536870912')

    def test_no_device(self):
        self.assertEqual(self.run_tool('fadump-driver', 'start').returncode, 0)
        self.assertFalse(os.path.lexists(self.path(self.RULES)))

    def test_refused(self):
        self.device()
        for said, cure in (
                ("modprobe: ERROR: could not insert 'fadump_virtio': "
                 'Key was rejected by service', 'mokutil --import'),
                ('modprobe: FATAL: Module fadump_virtio not found in directory',
                 'linux-headers')):
            with self.subTest(said=said):
                self.program('modprobe', f'echo "{said}" >&2; exit 1')
                proc = self.run_tool('fadump-driver', 'start')
                self.assertEqual(proc.returncode, 1)
                self.assertIn(said, proc.stderr)
                self.assertIn(cure, proc.stderr)
                self.assertIn('no crash of this system is captured', proc.stderr)


if __name__ == '__main__':
    main()
