#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's own makedumpfile and crash take the dump as any other."""

import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FadumpTest, VMCORE, full_only, main

# makedumpfile 1.7.2 is older than these kernels and says so of any dump of
# theirs.
_OWN_AGE = re.compile(r'The kernel version is not supported\.\s+'
                      r'The makedumpfile operation may be incomplete\.\s*')


class Tools(FadumpTest):
    """One dump through every tool, for each kernel."""

    def makedumpfile(self, guest, options, target):
        output = guest.cmd(f'makedumpfile {options} /proc/vmcore {target}',
                           timeout=600)
        told = _OWN_AGE.sub('', output)
        self.assertNotRegex(
            told, r"(?i)warning|can't|cannot|fail|invalid|missing|not found|"
                  r'incomplete|vmcoreinfo|\bnote\b',
            f'makedumpfile {options}')
        return told

    def fadump_save(self, guest, saves, level):
        """Our own program, and what it refuses.

        Threads of makedumpfile abort now and then; it then does without. It
        is told the compression: TCG takes minutes for zstd.
        """
        for arguments, status in (('-d all', 2), ('--threads=two', 2),
                                  ('-c gzip', 2), ('--nothing', 2), ('-o', 2),
                                  ('-o /proc/none', 1), ('-d 99', 1),
                                  ('--help', 0)):
            got, output = guest.run(f'fadump-save {arguments} 2>&1')
            self.assertEqual(got, status, f'{arguments}: {output}')
            self.assertTrue(output)
        self.assertEqual(guest.cmd('ls /var/crash'), '')
        dump = guest.qmp.cmd('query-fadump')['dump']
        told = guest.cmd(f'fadump-save -t 2 -c lzo -d {level} '
                         '--output=/mnt/crash 2>&1', timeout=600)
        saved = re.search(r'fadump-save: saved '
                          rf'(/mnt/(crash/((\d+)-{dump["id"]})/dump\.\4))$', told)
        self.assertTrue(saved, told)
        self.assertIn(f'level {level}, lzo, to', told)
        self.assertIn('Kernel panic - not syncing: sysrq triggered crash',
                      guest.cmd(f'cat /mnt/crash/{saved[3]}/dmesg.{saved[4]}'))
        self.assertEqual(guest.cmd('find /mnt/crash -type f | wc -l'), '3')
        # Host and guest tell the same of it.
        descriptor = json.loads(guest.cmd(
            f'cat /mnt/crash/{saved[3]}/descriptor.json'))
        del dump['boots'], dump['lost']
        self.assertEqual(dump, {k: descriptor[k] for k in dump})
        self.assertEqual(sum(r['len'] for r in descriptor['ranges']),
                         dump['memory'])
        # Not twice, if that is not wanted.
        told = guest.cmd('fadump-save --once --output=/mnt/crash -r 2>&1')
        self.assertIn(f'saved before, in {saved[1]}', told)
        self.assertEqual(guest.cmd('find /mnt/crash -type f | wc -l'), '3')
        saves[saved[2]] = ''
        self.assertFalse(guest.exists(VMCORE))
        self.assertEqual(guest.run('fadump-save 2>&1')[0], 2)

    def check(self, kernel, machine, level=31):
        saves = {'filtered': f'-l -d {level}', 'whole': '-l -d 0'}
        disk = self.disk(size='8G')
        guest = self.guest(kernel, machine=machine, vcpus=2, memory='1G',
                           disks=[disk])
        guest.crash()
        self.assert_captured(guest)
        guest.cmd('mount /dev/vda /mnt')
        for name, options in saves.items():
            told = self.makedumpfile(guest, options, f'/mnt/{name}')
            self.assertIn('The dumpfile is saved to', told)
            self.assertIn('makedumpfile Completed', told)
        self.makedumpfile(guest, '--dump-dmesg', '/mnt/dmesg')
        self.fadump_save(guest, saves, level)
        guest.cmd('umount /mnt')
        guest.close()

        with open(self.fetch_dump(disk, 'dmesg'), encoding='utf-8',
                  errors='replace') as f:
            dmesg = f.read()
        self.assertIn('Linux version ' + guest.kernel.release, dmesg)
        self.assertIn('sysrq: Trigger a crash', dmesg)
        self.assertIn('Kernel panic - not syncing: sysrq triggered crash',
                      dmesg)

        for name in saves:
            dump = self.path(name.replace('/', '-'))
            disk.get(name, dump)
            system, stack, tasks, log = self.crash_session(
                guest.kernel, dump, 'sys', 'bt', 'ps', 'log')
            self.assertRegex(system, r'CPUS: 2\n')
            self.assertRegex(system, rf'RELEASE: {re.escape(guest.kernel.release)}\n')
            self.assertRegex(system, r'MEMORY: (1 GB|102\d(\.\d+)? MB)\n')
            self.assertRegex(system, r'PANIC: "Kernel panic - not syncing: '
                                     r'sysrq triggered crash"')
            self.assertNotIn('PARTIAL', system if name == 'whole' else '')
            # Not sysrq_handle_crash: crash cannot tell the size of panic()'s
            # frame, in dumps by kdump neither, and steps over its caller.
            for frame in ('panic', 'write_sysrq_trigger', 'vfs_write',
                          'do_syscall_64'):
                self.assertRegex(stack, rf'(?m)^ *#\d+ \[\w+\] {frame} at ')
            for task in ('swapper/0', 'swapper/1', 'init', 'kthreadd'):
                self.assertRegex(tasks, rf'(?m) \[?{task}\]?$')
            # A tool that loses its way in the task list shows a handful.
            self.assertGreater(len(tasks.splitlines()), 30)
            self.assertIn('sysrq: Trigger a crash', log)
            os.unlink(dump)

    def test_6_1(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check('6.1', 'q35')

    @full_only
    def test_6_12(self):
        """
        :avocado: tags=machine:pc,kernel:6.12
        """
        self.check('6.12', 'pc')

    @full_only
    def test_7(self):
        """makedumpfile 1.7.6 and 1.7.8 take slab pages of these kernels for
        user memory, so that may not be left out.

        :avocado: tags=machine:q35,kernel:7
        """
        self.check('7', 'q35', level=23)


if __name__ == '__main__':
    main()
