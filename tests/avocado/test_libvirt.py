#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that libvirt runs, with its element <fadump/> and without."""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FADUMP, MIB, FadumpTest, build, full_only, main
from vmtest import libvirt
from vmtest.libvirt import Domain, Libvirt, VirshError

EXAMPLES = os.path.join(build.TOP, 'libvirt-xml', 'examples')

# A crash that is captured, as libvirt tells of it
CRASHED = 'Crashed Crashloaded'


class LibvirtTest(FadumpTest):
    """With a daemon of its own."""

    stock = None

    def setUp(self):
        self.libvirt = Libvirt(self.path('libvirt'), self.stock)
        self.addCleanup(self.libvirt.close)

    def domain(self, **options):
        """One that runs, and whose driver has registered."""
        domain = Domain(self.libvirt, self.path(options.get('name', 'guest')),
                        kernel=self.kernel(), **options)
        self.addCleanup(domain.close)
        domain.boot()
        self.assert_registered(domain)
        return domain

    def assert_refused(self, message, command, *args):
        with self.assertRaisesRegex(VirshError, message):
            command(*args)

    def assert_crash(self, domain, crash='echo c > /proc/sysrq-trigger',
                     cause='CAUSE_PANIC'):
        """Crash it: libvirt leaves it as it is, and it has its dump."""
        pid = domain.process.pid
        told = len(domain.events())
        domain.crash(crash)
        self.assert_captured(domain, cause)
        self.assertEqual(domain.state(), 'running (booted)')
        self.assertEqual(domain.process.pid, pid)
        self.assertIsNone(domain.process.poll())
        domain.wait_event('FADUMP_CAPTURED', monitor=True)
        # a death that is no panic is a reset to libvirt
        self.assertEqual(domain.events()[told:],
                         [CRASHED] if 'PANIC' in cause else [])

    def ctl(self, *args):
        """fadump-ctl, with the virsh of this libvirt."""
        path = os.pathsep.join([os.path.join(build.BUILD, 'tools'),
                                os.path.dirname(self.libvirt.virsh_program),
                                os.environ['PATH']])
        done = subprocess.run(
            [*self.libvirt.as_nobody,
             os.path.join(build.BUILD, 'tools', 'fadump-ctl'), '--json',
             '--uri', self.libvirt.uri, '-d', 'guest', *args],
            env=dict(self.libvirt.env, PATH=path), capture_output=True,
            text=True, timeout=600 * build.TIMEOUT_SCALE, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def assert_saved(self, domain):
        """The dump leaves the host through libvirt, and is the guest's."""
        self.assertEqual(self.ctl('status')['state'], 'dump-available')
        dump = self.path('dump')
        self.ctl('save', dump)
        self.assertEqual(os.path.getsize(dump),
                         int(domain.cmd('stat -c %s /proc/vmcore')))
        with open(dump, 'rb') as f:
            self.assertEqual(f.read(65536),
                             domain.read_file('/proc/vmcore', 0, 65536))
        os.unlink(dump)


class Live(LibvirtTest):
    """A domain with the element."""

    def test_panic(self):
        """
        :avocado: tags=libvirt,machine:q35
        """
        caps = ET.fromstring(self.libvirt.virsh(
            'domcapabilities', '--machine', 'q35', '--emulatorbin',
            build.qemu_binary()))
        self.assertEqual(caps.find('devices/fadump').get('supported'), 'yes')
        domain = self.domain()
        full = domain.mem_total()
        self.assert_crash(domain)
        self.assert_saved(domain)
        self.release(domain)
        self.assert_released(domain, full)
        self.assertEqual(domain.state(), 'running (booted)')
        self.assertIn('FADUMP_RELEASED', domain.events(monitor=True))

    @full_only
    def test_pc(self):
        """
        :avocado: tags=libvirt,machine:pc
        """
        self.assert_crash(self.domain(machine='pc'))

    @full_only
    def test_watchdog(self):
        """
        :avocado: tags=libvirt,machine:q35
        """
        domain = self.domain(
            devices="<watchdog model='i6300esb' action='reset'/>")
        domain.cmd('rmmod i6300esb iTCO_wdt 2>/dev/null; '
                   'modprobe i6300esb heartbeat=2')
        self.assert_crash(domain, 'echo 1 > /proc/sys/kernel/panic; '
                          'exec 3> /dev/watchdog; sleep 1000',
                          'CAUSE_WATCHDOG')

    @full_only
    def test_panic_device(self):
        """<panic/> and on_crash=destroy, with a guest that tells the panic
        device first: a crash is captured; with no driver registered they do
        what they do without us.

        :avocado: tags=libvirt,machine:q35
        """
        domain = self.domain(devices="<panic model='pvpanic'/>",
                             cmdline='crash_kexec_post_notifiers')
        self.assert_crash(domain, cause='CAUSE_PANIC_DEVICE')
        self.release(domain)
        domain.cmd(f'echo 0 > {FADUMP}/registered')
        domain.send('echo c > /proc/sysrq-trigger')
        domain.wait_event('Stopped Crashed')
        self.assertIn('Crashed Panicked', domain.events())
        self.assertEqual(domain.state(), 'shut off (crashed)')

    @full_only
    def test_saved_while_registered(self):
        """
        :avocado: tags=libvirt,machine:q35
        """
        domain = self.domain()
        domain.virsh('managedsave')
        domain.launch()
        self.assertEqual(domain.cmd(f'cat {FADUMP}/registered'), '1')
        domain.crash()
        self.assert_captured(domain)
        self.assertIn(CRASHED, domain.events())
        self.assertEqual(domain.state(), 'running (restored)')

    @full_only
    def test_saved_while_held(self):
        """
        :avocado: tags=libvirt,machine:q35
        """
        domain = self.domain()
        full = domain.mem_total()
        self.assert_crash(domain)
        domain.virsh('managedsave')
        domain.launch()
        self.assert_captured(domain)
        self.assert_saved(domain)
        self.release(domain)
        self.assert_released(domain, full)

    @full_only
    def test_migrate(self):
        """From one host to another while it is registered, and back while its
        dump is held.

        :avocado: tags=libvirt,machine:q35
        """
        other = Libvirt(self.path('other'))
        self.addCleanup(other.close)
        domain = self.domain()
        full = domain.mem_total()
        domain.migrate(other)
        self.assertEqual(domain.state(), 'running (migrated)')
        self.assertEqual(domain.cmd(f'cat {FADUMP}/registered'), '1')
        domain.crash()
        self.assert_captured(domain)
        domain.migrate(self.libvirt)
        self.assert_captured(domain)
        self.assert_saved(domain)
        self.release(domain)
        self.assert_released(domain, full)

    @full_only
    def test_memory_device(self):
        """A domain with <maxMemory>, and a DIMM that it gets while it runs: in
        the dump, hidden, and back.

        :avocado: tags=libvirt,machine:q35
        """
        domain = self.domain(
            cmdline='memhp_default_state=online_movable',
            extra="<maxMemory slots='4' unit='MiB'>4096</maxMemory>"
                  "<cpu><numa><cell id='0' cpus='0' memory='1' unit='GiB'/>"
                  "</numa></cpu>")
        before = domain.mem_total()
        dimm = self.path('dimm.xml')
        with open(dimm, 'w', encoding='utf-8') as f:
            f.write("<memory model='dimm'><target><size unit='MiB'>512</size>"
                    '<node>0</node></target></memory>')
        domain.virsh('attach-device', dimm, '--live')

        def wait_dimm():
            domain.wait_for('the DIMM', lambda: domain.mem_total() >=
                            before + 496 * MIB)
        wait_dimm()
        domain.memory += 512 * MIB
        self.assert_crash(domain)
        self.assertLess(domain.mem_total(), before)
        self.assert_saved(domain)
        self.release(domain)
        wait_dimm()
        self.assert_registered(domain)
        # libvirt and the guest agree on what there is
        self.assertIn("<currentMemory unit='KiB'>1572864</currentMemory>",
                      domain.virsh('dumpxml'))
        domain.virsh('detach-device', dimm, '--live')
        domain.wait_for('the DIMM to go', lambda: domain.mem_total() <=
                        before + 16 * MIB)

    @full_only
    def test_abi(self):
        """What the guest sees is not changed by a restore; the host's policy
        may be.

        :avocado: tags=libvirt,machine:q35
        """
        domain = self.domain(
            fadump="<fadump model='virtio'><bootMemory unit='MiB'>512"
                   "</bootMemory></fadump>")
        image = self.path('image')
        domain.virsh('save', image)
        self.addCleanup(os.unlink, image)
        saved = self.libvirt.virsh('save-image-dumpxml', image)

        def restore(old, new):
            self.assertIn(old, saved)
            path = self.path('changed.xml')
            with open(path, 'w', encoding='utf-8') as f:
                f.write(saved.replace(old, new))
            self.libvirt.virsh('save-image-define', image, path)

        boot_memory = "<bootMemory unit='KiB'>524288</bootMemory>"
        for new, message in (
                (boot_memory.replace('524288', '393216'),
                 "Target fadump boot memory '393216' does not match source "
                 "'524288'"),
                (boot_memory + "<maxBootMemory unit='MiB'>768</maxBootMemory>",
                 'Target fadump maximum boot memory'),
                (boot_memory + "<full room='no'/>",
                 'Target fadump room for all memory'),
                (boot_memory + "<destination guest='no'/>",
                 'Target fadump destination of boot memory'),
                (boot_memory + "<driver packed='on'/>",
                 "Target device virtio options don't match")):
            with self.subTest(new=new):
                self.assert_refused(message, restore, boot_memory, new)
        restore("<fadump model='virtio'>",
                "<fadump model='virtio' captureHostReset='yes'>")
        self.libvirt.virsh('restore', image)
        domain.attach()
        self.assertEqual(domain.cmd(f'cat {FADUMP}/registered'), '1')

    @full_only
    def test_at_run_time(self):
        """What a running domain refuses, and what goes to its next start.

        :avocado: tags=libvirt,machine:q35
        """
        domain = self.domain()
        element = self.path('fadump.xml')
        with open(element, 'w', encoding='utf-8') as f:
            f.write("<fadump model='virtio' early='yes'/>")
        for action in ('attach', 'detach', 'update'):
            self.assert_refused(
                f"live {action} of device 'fadump' is not supported",
                domain.virsh, action + '-device', element, '--live')
        self.assert_refused("on_reboot 'destroy'", domain.virsh,
                            'set-lifecycle-action', 'reboot', 'destroy',
                            '--live')
        self.assert_refused("on_reboot 'destroy'", domain.virsh,
                            'set-lifecycle-action', 'reboot', 'destroy',
                            '--config')
        domain.virsh('set-lifecycle-action', 'crash', 'preserve', '--live')
        self.assert_refused('already has a fadump device', domain.virsh,
                            'attach-device', element, '--config')
        self.assertNotIn('early', domain.virsh('dumpxml', '--inactive'))
        domain.virsh('update-device', element, '--config')
        self.assertIn("<fadump model='virtio' early='yes'>",
                      domain.virsh('dumpxml', '--inactive'))
        domain.virsh('detach-device', element, '--config')
        self.assertNotIn('<fadump', domain.virsh('dumpxml', '--inactive'))
        self.assert_refused('matching fadump device not found', domain.virsh,
                            'detach-device', element, '--config')
        # an installer is booted so
        domain.virsh('set-lifecycle-action', 'reboot', 'destroy', '--config')
        self.assert_refused("on_reboot 'destroy'", domain.virsh,
                            'attach-device', element, '--config')
        domain.virsh('set-lifecycle-action', 'reboot', 'restart', '--config')
        domain.virsh('attach-device', element, '--config')
        self.assertIn('<fadump', domain.virsh('dumpxml', '--inactive'))
        # none of it has changed what runs
        self.assert_crash(domain)


# What libvirts that do not know the element hand to QEMU
COMMANDLINE = ('-device', json.dumps({'driver': 'fadump-dev', 'id': 'fadump0',
                                      'boot-mem': 512 << 20}))


class Commandline(LibvirtTest):
    """The device in <qemu:commandline>, with our libvirt."""

    @full_only
    def test_panic(self):
        """
        :avocado: tags=libvirt,machine:q35
        """
        domain = self.domain(fadump='', commandline=COMMANDLINE)
        full = domain.mem_total()
        self.assert_crash(domain)
        self.assert_saved(domain)
        self.release(domain)
        self.assert_released(domain, full)


class Stock(Commandline):
    """The same with Debian 12's libvirt."""

    stock = 'system'

    def setUp(self):
        if not os.access(libvirt.STOCK, os.X_OK):
            self.skipTest(f'{libvirt.STOCK} is not installed: "make '
                          'check-full" does that')
        super().setUp()
        self.assertIn('9.0.0', self.libvirt.virsh('version', '--daemon'))


class Upstream(Commandline):
    """The same with libvirt 11.3.0, without our patches."""

    stock = 'built'

    def setUp(self):
        super().setUp()
        self.assertIn('11.3.0', self.libvirt.virsh('version', '--daemon'))
        self.assertNotIn('fadump', self.libvirt.virsh(
            'domcapabilities', '--emulatorbin', build.qemu_binary()))


# What QEMU has and a user may want, each at a value that is not the default,
# with what it is on QEMU's command line
ATTRIBUTES = (
    ("early='yes'", '', {'early': True}),
    ("captureHostReset='yes'", '', {'capture-host-reset': True}),
    ('', "<bootMemory unit='KiB'>393216</bootMemory>",
     {'boot-mem': 393216 << 10}),
    ('', "<maxBootMemory unit='KiB'>1048576</maxBootMemory>",
     {'boot-mem-max': 1 << 30}),
    ('', "<full enabled='yes'/>", {'full': True}),
    ('', "<full enabled='no' room='yes'/>",
     {'full': False, 'full-room': 'on'}),
    ('', "<full room='no'/>", {'full-room': 'off'}),
    ('', "<destination host='no' guest='yes'/>",
     {'host-mem': False, 'guest-mem': True}),
    ('', "<destination guest='no'/>", {'guest-mem': False}),
    ('', "<confinedBoots maximum='7'/>", {'max-boots': 7}),
    ('', "<confinedBoots timeout='0'/>", {'boot-timeout': 0}),
    ('', "<confinedBoots maximum='1' timeout='90'/>",
     {'max-boots': 1, 'boot-timeout': 90}),
    ('', "<driver iommu='on' ats='on' packed='on' page_per_vq='on'/>",
     {'iommu_platform': True, 'ats': True, 'packed': True,
      'page-per-vq': True}),
    ('', "<alias name='ua-dump'/>", {'id': 'ua-dump'}),
    ('', "<address type='pci' domain='0x0000' bus='0x00' slot='0x09' "
     "function='0x0'/>", {'bus': 'pcie.0', 'addr': '0x9'}),
)

# Domains that are refused: what is wrong with them, the message, and whether
# the schema refuses them as well
BAD = (
    ({'fadump': "<fadump model='virtio'/>" * 2},
     'only a single fadump device is supported', True),
    ({'fadump': "<fadump/>"}, "Missing required attribute 'model'", True),
    ({'fadump': "<fadump model='pstore'/>"},
     "Invalid value for attribute 'model'", True),
    ({'fadump': "<fadump model='virtio' early='on'/>"},
     "Invalid value for attribute 'early'", True),
    ({'fadump': "<fadump model='virtio' captureHostReset='1'/>"},
     "Invalid value for attribute 'captureHostReset'", True),
    ({'fadump': "<fadump model='virtio'><full enabled='auto'/></fadump>"},
     "Invalid value for attribute 'enabled'", True),
    ({'fadump': "<fadump model='virtio'><bootMemory>-1</bootMemory></fadump>"},
     'bootMemory', True),
    ({'fadump': "<fadump model='virtio'><confinedBoots maximum='0'/></fadump>"},
     "Invalid value for attribute 'maximum'.* Zero is not permitted", True),
    ({'fadump': "<fadump model='virtio'><confinedBoots timeout='-1'/>"
                "</fadump>"},
     "Invalid value for attribute 'timeout'", True),
    ({'fadump': "<fadump model='virtio'><bootMemory unit='GiB'>2</bootMemory>"
                "</fadump>"},
     r'\(2097152 KiB\) must not be larger than the memory of the domain '
     r'\(1048576 KiB\)', False),
    ({'fadump': "<fadump model='virtio'><bootMemory unit='MiB'>64</bootMemory>"
                "</fadump>"},
     'too small to boot in, use at least 131072 KiB', False),
    ({'fadump': "<fadump model='virtio'><maxBootMemory unit='GiB'>2"
                "</maxBootMemory></fadump>"},
     'maximum boot memory .* must not be larger than the memory of the domain',
     False),
    ({'fadump': "<fadump model='virtio'><bootMemory unit='MiB'>512</bootMemory>"
                "<maxBootMemory unit='MiB'>256</maxBootMemory></fadump>"},
     'must not be larger than its maximum', False),
    ({'fadump': "<fadump model='virtio'><full enabled='yes' room='no'/>"
                "</fadump>"},
     "drop room='no'", False),
    ({'fadump': "<fadump model='virtio'><full enabled='yes'/>"
                "<destination host='no'/></fadump>"},
     "drop host='no'", False),
    ({'fadump': "<fadump model='virtio'><destination host='no' guest='no'/>"
                "</fadump>"},
     "either host or guest must be 'yes'", False),
    ({'fadump': "<fadump model='virtio'><address type='virtio-mmio'/>"
                "</fadump>"},
     'must reside on a PCI bus', False),
    ({'machine': 'microvm'}, "machine type 'microvm', use 'q35' or 'pc'",
     False),
    ({'reboot': 'destroy'}, "captures nothing with on_reboot 'destroy', use "
     "'restart'", False),
)


class Xml(LibvirtTest):
    """What needs no guest."""

    def xml(self, name='guest', **options):
        return libvirt.domain_xml(
            **{'name': name, 'machine': 'q35', 'vcpus': 1, 'memory': 1 << 30,
               'kernel': self.kernel(), 'console': self.path('console.log'),
               'port': '/nonexistent/port',
               'devices': options.pop('fadump', "<fadump model='virtio'/>")} |
            options)

    def assert_schema(self, path, valid=True):
        done = subprocess.run(
            ['xmllint', '--noout', '--relaxng', libvirt.schema('domain.rng'),
             path], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode == 0, valid, f'{path}: {done.stderr}')

    def examples(self):
        names = sorted(os.listdir(EXAMPLES))
        self.assertTrue(names)
        return [os.path.join(EXAMPLES, name) for name in names
                if name.endswith('.xml')]

    def test_examples(self):
        """Against the schema, and as domains that the daemon takes.

        :avocado: tags=libvirt
        """
        for path in self.examples():
            with self.subTest(path=path):
                self.assert_schema(path)
                with open(path, encoding='utf-8') as f:
                    xml = f.read()
                self.assertIn('fadump', xml)
                found = re.search('<emulator>(.*)</emulator>', xml)
                self.libvirt.define(
                    xml.replace(found.group(1), build.qemu_binary())
                    .replace("type='kvm'", "type='qemu'")
                    .replace("mode='host-passthrough'", "mode='maximum'"))

    def test_kubevirt(self):
        """What the hook makes of a domain is a domain with the device.

        :avocado: tags=libvirt
        """
        vmi = {'metadata': {'annotations': {
            'fadump-dev/boot-memory-mib': '384'}}}
        for stock, expected in ((None, {'boot-mem': 384 << 20}),
                                ('1', {'boot-mem': 384 << 20,
                                       'id': 'fadump0'})):
            with self.subTest(stock=stock):
                env = dict(os.environ, **({'FADUMP_STOCK': stock} if stock
                                          else {}))
                xml = subprocess.run(
                    [os.path.join(build.TOP, 'libvirt-xml', 'kubevirt',
                                  'onDefineDomain'),
                     '--vmi', json.dumps(vmi), '--domain', self.xml(fadump='')],
                    env=env, capture_output=True, text=True, check=True).stdout
                self.libvirt.define(xml)
                self.assertLessEqual(expected.items(), self.device().items())

    @full_only
    def test_round_trip(self):
        """Each attribute: define, dump, define what was dumped; and QEMU's
        command line.

        :avocado: tags=libvirt
        """
        for attributes, children, properties in ATTRIBUTES:
            with self.subTest(attributes=attributes, children=children):
                element = (f"<fadump model='virtio' {attributes}>{children}"
                           '</fadump>')
                self.libvirt.define(self.xml(fadump=element, memory=4 << 30))
                dumped = self.libvirt.virsh('dumpxml', 'guest', '--inactive')
                given = ET.fromstring(element)
                got = ET.fromstring(dumped).find('devices/fadump')
                self.assertLessEqual(given.attrib.items(), got.attrib.items())
                for child in given:
                    self.assertEqual(got.find(child.tag).attrib |
                                     {'text': got.find(child.tag).text},
                                     child.attrib | {'text': child.text})
                self.assertEqual({c.tag for c in got} - {'address', 'alias'},
                                 {c.tag for c in given} - {'address', 'alias'})
                self.libvirt.define(dumped)
                self.assertEqual(self.libvirt.virsh('dumpxml', 'guest',
                                                    '--inactive'), dumped)
                device = self.device()
                self.assertLessEqual(properties.items(), device.items())
                self.assertEqual(
                    set(device) - set(properties) -
                    {'driver', 'id', 'bus', 'addr'}, set())

    def device(self):
        """The device as QEMU is told of it."""
        native = self.libvirt.virsh('domxml-to-native', 'qemu-argv',
                                    '--domain', 'guest')
        found = re.search(r"""-device '(\{"driver": ?"fadump-dev".*?\})'""",
                          native)
        self.assertTrue(found, native)
        return json.loads(found.group(1))

    @full_only
    def test_bad(self):
        """
        :avocado: tags=libvirt
        """
        for wrong, message, in_schema in BAD:
            with self.subTest(wrong=wrong):
                xml = self.xml(**wrong)
                self.assert_refused(message, self.libvirt.define, xml, False)
                path = self.path('bad.xml')
                with open(path, 'w', encoding='utf-8') as f:
                    f.write(xml)
                self.assert_schema(path, not in_schema)

    @full_only
    def test_no_device(self):
        """A QEMU without the device: Debian's, where it is installed.

        :avocado: tags=libvirt
        """
        emulator = '/usr/bin/qemu-system-x86_64'
        if not os.access(emulator, os.X_OK):
            self.skipTest(f'{emulator} is not installed')
        caps = ET.fromstring(self.libvirt.virsh(
            'domcapabilities', '--emulatorbin', emulator))
        self.assertEqual(caps.find('devices/fadump').get('supported'), 'no')
        xml = self.xml().replace(build.qemu_binary(), emulator)
        self.assert_refused("use one that has the 'fadump-dev' device",
                            self.libvirt.define, xml)


if __name__ == '__main__':
    main()
