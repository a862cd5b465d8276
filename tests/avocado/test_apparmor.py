#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian host as its administrator has it: the system's libvirt daemon, AppArmor
that confines each domain, and our packages. A domain on it crashes, and its dump
leaves it through fadump-ctl.

The host is itself a guest (scripts/distro-image.sh), and the domain's processor is
emulated by one that is: what runs on it is not Linux, but tests/guest/bare.
"""

import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import MIB, build, full_only, main
from test_distro import DistroTest

TIMEOUT = 300 * build.TIMEOUT_SCALE
EMULATOR = '/usr/bin/qemu-system-fadump'
ALIAS = '/etc/apparmor.d/tunables/multiarch.d/qemu-system-fadump'
IMAGES = '/var/lib/libvirt/images'
DOMAIN = f'''<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>guest</name>
  <memory unit='MiB'>256</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{IMAGES}/bare</kernel>
    <cmdline>-- idle register trigger dump desc wait</cmdline>
  </os>
  <features><acpi/></features>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>{EMULATOR}</emulator>
    <controller type='usb' model='none'/>
    <serial type='file'><source path='{IMAGES}/console.log' append='on'/></serial>
    <serial type='null'/>
    <memballoon model='none'/>
  </devices>
  <qemu:commandline>
    <qemu:arg value='-device'/>
    <qemu:arg value='{{"driver":"fadump-dev","id":"fadump0","boot-mem":{128 * MIB}}}'/>
  </qemu:commandline>
</domain>
'''


class SystemDaemon(DistroTest):
    def host(self, name):
        """It has booted, and has what the domain runs."""
        disk = self.disk()
        disk.put(build.bare(), 'bare')
        disk.put(self.written('guest.xml', DOMAIN), 'guest.xml')
        host = self.new_distro(name, memory='3G', disks=[disk],
                               fadump=None).boot()
        self.assertEqual(host.wait_settled(), 'running', host.failed_units())
        self.with_disk(host, f'cp /mnt/bare {IMAGES}/ && '
                       'cp /mnt/guest.xml /root/')
        self.assertEqual(host.cmd('cat /sys/module/apparmor/parameters/enabled'),
                         'Y')
        return host

    def written(self, name, text):
        path = self.path(name)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        return path

    def status(self, host):
        return json.loads(host.cmd('fadump-ctl --json -d guest status', TIMEOUT))

    def wait_state(self, host, state):
        host.wait_for(f'a domain that is {state}',
                      lambda: self.status(host)['state'] == state, TIMEOUT)

    def assert_confined(self, host):
        """The domain's QEMU has a profile of its own, which is enforced."""
        uuid = host.cmd('virsh domuuid guest')
        said = host.cmd('cat /proc/$(cat /run/libvirt/qemu/guest.pid)/attr/current')
        self.assertEqual(said, f'libvirt-{uuid} (enforce)')

    def denied(self, host):
        """What a domain's profile has refused, but for what any QEMU of this
        age looks at, and does without, under Debian 12's libvirt"""
        return [line for line in host.cmd('dmesg').splitlines()
                if 'apparmor="DENIED"' in line and
                re.search(r'profile="(libvirt-|virt-aa-helper)', line) and
                '"/proc/sys/vm/max_map_count"' not in line]

    def assert_saved(self, host, name):
        """The dump leaves its domain, whole, and is ELF."""
        dump = self.status(host)['dump']
        host.cmd(f'fadump-ctl -d guest save /var/tmp/{name}', TIMEOUT)
        self.assertGreater(int(host.cmd(f'stat -c %s /var/tmp/{name}')),
                           dump['memory'] - dump['held'])
        self.assertEqual(host.read_file(f'/var/tmp/{name}', 0, 4), b'\x7fELF')
        host.cmd(f'rm /var/tmp/{name}')

    def check(self, name, version):
        host = self.host(name)
        self.assertEqual(host.cmd('virsh --version'), version)
        host.cmd('virsh define /root/guest.xml --validate', TIMEOUT)
        # into a file it writes when its buffer is full
        host.cmd('(stdbuf -oL virsh event guest --all --loop '
                 '> /root/events 2>&1 &)')
        host.cmd('virsh start guest', TIMEOUT)
        self.assert_confined(host)
        self.wait_state(host, 'dump-available')
        self.assertEqual(host.cmd('virsh domstate guest'), 'running')
        self.assert_saved(host, 'dump')
        # It is the state of the domain that a file has then, and its profile
        # that of another process.
        host.cmd('virsh managedsave guest', TIMEOUT)
        host.cmd('virsh start guest', TIMEOUT)
        self.assert_confined(host)
        self.assertEqual(self.status(host)['state'], 'dump-available')
        self.assert_saved(host, 'again')
        host.cmd('fadump-ctl -d guest release', TIMEOUT)
        self.wait_state(host, 'idle')
        host.cmd('virsh destroy guest', TIMEOUT)
        self.assertEqual(host.cmd("grep -c 'Crashed Crashloaded' /root/events"),
                         '1')
        self.assertEqual(self.denied(host), [])

        # It is the package's alias that makes it so.
        host.cmd(f'mv {ALIAS} /root/')
        status, said = host.run('virsh start guest', TIMEOUT)
        self.assertNotEqual(status, 0, said)
        self.assertTrue(self.denied(host))

    @full_only
    def test_bookworm(self):
        """
        :avocado: tags=libvirt,machine:q35,distro:bookworm
        """
        self.check('bookworm-host', '9.0.0')


if __name__ == '__main__':
    main()
