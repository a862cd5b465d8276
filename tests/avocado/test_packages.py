#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that systemd runs, with the package fadump-tools, or kdump-tools, or both:
what the boot after a crash does by itself."""

import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FadumpTest, MIB, VMCORE, build, full_only, main

# A service that says how much memory there was when it was started, and when.
_SERVICE = '''[Unit]
Description=Any service
[Service]
Type=exec
ExecStartPre=/bin/sh -c 'grep MemTotal /proc/meminfo >/run/service'
ExecStart=/bin/sleep 1000000
[Install]
WantedBy=multi-user.target
'''
_CONFIG = 'RETRIES=1\nRETRY_DELAY=1\nCOMPRESS=lzo\n'


class Packages(FadumpTest):

    def archive(self, files):
        """A cpio archive of these, {path: content}; a content that begins with
        -> is a symbolic link's."""
        tree = self.path('overlay')
        shutil.rmtree(tree, ignore_errors=True)
        for name, content in files.items():
            path = os.path.join(tree, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if content.startswith('->'):
                os.symlink(content[2:], path)
            else:
                with open(path, 'w', encoding='utf-8') as f:
                    f.write(content)
        names = subprocess.run(['find', '.'], cwd=tree, capture_output=True,
                               check=True).stdout
        return subprocess.run(
            ['cpio', '--quiet', '-o', '-H', 'newc', '-R', '0:0'], cwd=tree,
            input=names, capture_output=True, check=True).stdout

    def boot(self, *packages, config='', disk=None, memory='1G', **options):
        """A guest with these packages and its dumps on a disk, up."""
        kernel = self.kernel('6.1')
        files = {
            'etc/fstab': '/dev/vda /var/crash ext4 defaults 0 0\n',
            'etc/systemd/system/any.service': _SERVICE,
            'etc/systemd/system/multi-user.target.wants/any.service':
                '->../any.service',
        }
        if 'fadump-tools' in packages:
            files['etc/default/fadump-tools'] = _CONFIG + config
            # The root file system is the initramfs, and begins anew in each boot.
            files['var/lib/fadump-tools'] = '->/var/crash/state'
        initrd = self.path('initrd')
        with open(initrd, 'wb') as f:
            with open(kernel.systemd, 'rb') as part:
                data = part.read()
            f.write(data + b'\0' * (-len(data) % 4))
            for name in packages:
                path = os.path.join(build.BUILD, 'guest', f'{name}.cpio')
                if not os.path.exists(path):
                    raise build.NotBuilt(f'{path}: run scripts/systemd-guest.sh')
                with open(path, 'rb') as part:
                    data = part.read()
                f.write(data + b'\0' * (-len(data) % 4))
            f.write(self.archive(files))
        guest = self.new_guest('6.1', initrd=initrd, vcpus=2, memory=memory,
                               disks=[disk or self.disk(size='1G')], **options)
        guest.boot()
        self.assert_registered(guest)
        return guest

    def crash(self, guest):
        start = len(guest.qmp.poll())
        guest.crash()
        dumps = [d['dump'] for d in self.events(guest, 'FADUMP_CAPTURED', start)]
        self.assertEqual([d['cause'] for d in dumps], ['panic'])
        return dumps[0]['id'], start

    def assert_up(self, guest):
        status, said = guest.run('systemctl is-system-running --wait')
        if status:
            raise guest.trouble(f'the system is {said.decode().strip()}:\n' + guest.cmd(
                'systemctl --failed --no-legend --plain; '
                'journalctl -b -p warning --no-pager; '
                'journalctl -b -u "fadump*" --no-pager'))

    def service_memory(self, guest):
        """MemTotal when the service was started."""
        return int(guest.cmd('cat /run/service').split()[1]) << 10

    def assert_saved(self, guest, dump_id):
        """There is one dump, complete, with what belongs beside it."""
        files = guest.cmd('cd /var/crash && find . -type f | sort').split()
        dumps = [f for f in files if dump_id in f]
        names = [re.sub(r'\d{14}', 'T', os.path.basename(f)) for f in dumps]
        self.assertEqual(names, ['descriptor.json', 'dmesg.T', 'dump.T'], files)
        self.assertIn('sysrq triggered crash',
                      guest.cmd(f'cat /var/crash/{dumps[1]}'))
        told = json.loads(guest.cmd(f'cat /var/crash/{dumps[0]}'))
        self.assertEqual((told['id'], told['cause']), (dump_id, 'panic'))
        return '/var/crash/' + dumps[2][2:]

    def assert_one_boot(self, guest, boots):
        self.assertEqual(len(guest.boots), boots)
        self.assertEqual(guest.qmp.count('FADUMP_FAILED'), 0)

    def crash_without_room(self):
        """A guest whose dumps' disk is full has crashed: with its MemTotal before,
        the dump's id and the events' start."""
        guest = self.boot('fadump-tools', disk=self.disk(size='256M'))
        full = guest.mem_total()
        guest.cmd('dd if=/dev/zero of=/var/crash/full bs=1M count=150 && sync')
        return guest, full, *self.crash(guest)

    def test_wait(self):
        """All that is started finds all memory; then the tool's own test.

        :avocado: tags=machine:q35,kernel:6.1
        """
        guest = self.boot('fadump-tools')
        self.assert_up(guest)
        full = guest.mem_total()
        told = guest.cmd('fadump-config status')
        self.assertIn('is captured by the host (fadump); the dump goes to '
                      '/var/crash', told)
        self.assertNotIn('Wrong:', told)
        self.assertIn('A crash now would be captured.',
                      guest.cmd('fadump-config test'))
        self.assertEqual(guest.cmd('fadump-config motd'), '')

        dump_id, _ = self.crash(guest)
        self.assert_one_boot(guest, 2)
        self.assert_up(guest)
        self.assert_released(guest, full)
        self.assertGreater(self.service_memory(guest), full - 8 * MIB)
        saved = self.assert_saved(guest, dump_id)
        self.assertEqual(guest.run('fadump-config status')[0], 0)
        self.assertIn(saved, guest.cmd('fadump-config status'))
        self.assertFalse(guest.exists('/run/issue.d/fadump-tools.issue'))
        journal = guest.cmd('journalctl -b -u fadump-save -o cat --no-pager')
        self.assertIn(f'fadump-save: saved {saved}', journal)
        self.assertIn('fadump-boot: all memory is back', journal)
        self.assertNotIn('blob data', journal)
        self.assertIn('all memory is back', guest.cmd(
            'systemctl show -P StatusText fadump-save'))
        # kdump-tools' rule is not for this driver.
        self.assertEqual(guest.cmd(
            'readlink /run/udev/rules.d/50-kdump-tools.rules'), '/dev/null')
        self.assert_quiet(guest)

        guest.cmd('mkdir /var/crash/state')
        guest.crash('fadump-config selftest --yes')
        self.assert_up(guest)
        told = guest.cmd('fadump-config selftest --report')
        self.assertEqual(told.count('\nok '), 4, told)
        self.assertNotIn('FAILED', told)
        self.assert_released(guest, full)

    @full_only
    def test_full_disk(self):
        """No room: the dump is kept, all are told, and it is saved when there is.

        :avocado: tags=machine:q35,kernel:6.1
        """
        guest, full, dump_id, start = self.crash_without_room()
        self.assert_one_boot(guest, 2)
        self.assert_captured(guest)
        self.assertLess(self.service_memory(guest), full * 3 // 4)
        status, told = guest.run('systemctl is-system-running --wait')
        self.assertEqual(told.strip(), b'degraded')
        failed = guest.cmd('systemctl --failed --no-legend --plain')
        self.assertIn('fadump-save.service', failed)
        journal = guest.cmd('journalctl -b -u fadump-save -o cat --no-pager')
        self.assertIn('no space is left in /var/crash', journal)
        self.assertIn('trying again in 1 s (1 of 1)', journal)
        self.assertIn('could not be saved', guest.cmd('cat /run/issue.d/*'))
        self.assertIn('part of its memory', guest.cmd('fadump-config motd'))
        status, told = guest.run('fadump-config status')
        self.assertEqual(status, 1)
        self.assertIn(dump_id, told.decode())
        self.assertIn('it could not be saved', told.decode())
        self.assertEqual(guest.cmd('ls /var/crash').split(),
                         ['full', 'lost+found'])

        guest.cmd('rm /var/crash/full')
        guest.cmd('systemctl start fadump-save', timeout=600)
        self.assert_released(guest, full)
        self.assert_saved(guest, dump_id)
        self.assertEqual(self.events(guest, 'FADUMP_RELEASED', start),
                         [{'id': dump_id, 'reason': 'guest'}])
        self.assertEqual(guest.cmd('fadump-config motd'), '')
        self.assertEqual(guest.run('ls /run/issue.d/fadump-tools.issue')[0], 1)

    @full_only
    def test_host_releases_what_is_kept(self):
        """The guest could not save it, the host has: logins are told no more.

        :avocado: tags=machine:q35,kernel:6.1
        """
        guest, full, dump_id, start = self.crash_without_room()
        self.assertEqual(guest.run('systemctl is-system-running --wait')[0], 1)
        self.assertIn('could not be saved', guest.cmd('cat /run/issue.d/*'))
        self.assertEqual(guest.cmd('systemctl is-active fadump-held').strip(),
                         'active')
        guest.cmd('rm /var/crash/full')
        guest.qmp.cmd('fadump-release')
        guest.cmd('while [ -e /sys/kernel/fadump/release_mem ]; do sleep 1; done')
        self.assert_released(guest, full)
        self.assertEqual(self.events(guest, 'FADUMP_RELEASED', start),
                         [{'id': dump_id, 'reason': 'host'}])
        guest.cmd('while systemctl -q is-active fadump-held; do sleep 1; done')
        self.assertEqual(guest.run('ls /run/issue.d/fadump-tools.issue')[0], 1)
        self.assertEqual(guest.cmd('fadump-config motd'), '')
        # It had failed, too, as a dump was held.
        guest.cmd('until systemctl -q is-active fadump-check; do sleep 1; done')

    @full_only
    def test_parallel_and_release(self):
        """Services at once; and a dump that is not wanted if it cannot be saved.

        :avocado: tags=machine:q35,kernel:6.1
        """
        guest = self.boot('fadump-tools',
                          config='BOOT=parallel\nON_FAILURE=release\n'
                                 'TARGET=/proc/none\nRETRY_DELAY=40\n')
        full = guest.mem_total()
        dump_id, start = self.crash(guest)
        guest.run('systemctl is-system-running --wait')
        guest.wait_for('the release', lambda: self.events(
            guest, 'FADUMP_RELEASED', start))
        self.assertLess(self.service_memory(guest), full * 3 // 4)
        self.assert_released(guest, full)
        self.assertEqual(self.events(guest, 'FADUMP_RELEASED', start),
                         [{'id': dump_id, 'reason': 'guest'}])
        journal = guest.cmd('journalctl -b -u fadump-save -o cat --no-pager')
        self.assertIn('ON_FAILURE=release: it is dropped', journal)

    @full_only
    def test_kdump_tools(self):
        """kdump-tools, unmodified, beside fadump-tools: one save, one boot.

        :avocado: tags=machine:q35,kernel:6.1
        """
        guest = self.boot('kdump-tools', 'fadump-tools')
        self.assert_up(guest)
        full = guest.mem_total()
        self.assertIn('ready to fadump', guest.cmd('kdump-config status'))
        dump_id, start = self.crash(guest)
        self.assert_one_boot(guest, 2)
        self.assert_up(guest)
        self.assert_released(guest, full)
        self.assert_saved(guest, dump_id)
        self.assertEqual(guest.cmd('ls -d /var/crash/2* | wc -l'), '1')
        self.assertIn('ready to fadump', guest.cmd('kdump-config status'))
        # Registered at the release, and perhaps by kdump-tools once more; not
        # once for each memory block that came back.
        self.assertLessEqual(len(self.events(guest, 'FADUMP_REGISTERED', start)),
                             2)
        self.assert_quiet(guest)

    @full_only
    def test_kdump_tools_alone(self):
        """kdump-tools without fadump-tools saves and reboots: two boots.

        :avocado: tags=machine:q35,kernel:6.1
        """
        guest = self.boot('kdump-tools')
        full = guest.mem_total()
        start = len(guest.qmp.poll())
        # The first of them never comes so far as to be heard.
        guest.crash()
        dumps = [d['dump'] for d in self.events(guest, 'FADUMP_CAPTURED', start)]
        self.assertEqual(len(dumps), 1)
        self.assertEqual(self.events(guest, 'FADUMP_RELEASED', start),
                         [{'id': dumps[0]['id'], 'reason': 'guest'}])
        console = guest.console(guest.boots[-1].console_start)
        self.assertEqual(console.count('] Linux version '), 2)
        self.assertIn('has been saved: it is released at this reboot', console)
        self.assertFalse(guest.exists(VMCORE))
        self.assert_mem_total(guest, full)
        self.assert_registered(guest)
        files = guest.cmd('cd /var/crash && find . -type f').split()
        self.assertEqual(len([f for f in files if '/dump.' in f]), 1, files)


if __name__ == '__main__':
    main()
