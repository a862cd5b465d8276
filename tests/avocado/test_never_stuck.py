#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever goes wrong after a capture, the guest ends up with all its memory
and is captured the next time, with no hand on it but the operator's."""

import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FADUMP, FadumpTest, MIB, VMCORE, build, full_only, main
from vmtest.vmcore import Vmcore

# A host without memory, while a file is there: its pages cannot be moved, which
# takes page tables, nor can new ones be had.
NO_MEMORY = r'''
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static int no_memory(void)
{
	if (access(getenv("NO_MEMORY"), F_OK))
		return 0;
	errno = ENOMEM;
	return 1;
}

int madvise(void *addr, size_t size, int advice)
{
	if (advice == MADV_POPULATE_WRITE && no_memory())
		return -1;
	return syscall(SYS_madvise, addr, size, advice);
}

void *mremap(void *old, size_t old_size, size_t new_size, int flags, ...)
{
	va_list args;
	void *new;

	va_start(args, flags);
	new = flags & MREMAP_FIXED ? va_arg(args, void *) : NULL;
	va_end(args);
	if (flags & MREMAP_DONTUNMAP && no_memory())
		return MAP_FAILED;
	return (void *)syscall(SYS_mremap, old, old_size, new_size, flags, new);
}
'''


class NeverStuck(FadumpTest):

    def info(self, guest):
        return guest.qmp.cmd('query-fadump')

    def linux_starts(self, guest):
        return len(re.findall(r'\] Linux version ', guest.console()))

    def test_panic_in_every_confined_boot(self):
        """The driver is there, and each confined boot dies late.

        :avocado: tags=machine:q35,kernel:6.1
        """
        guest = self.guest('6.1', memory='1G', fadump='max-boots=2',
                           cmdline='fadump_test.late=max_mb=700')
        full = guest.mem_total()
        start = len(guest.qmp.poll())
        starts = self.linux_starts(guest)
        # The next boot that comes as far as its command port has all memory.
        guest.crash()
        self.assertEqual(self.linux_starts(guest) - starts, 2 + 1)
        self.assertFalse(guest.exists(VMCORE))
        self.assert_mem_total(guest, full)
        self.assert_registered(guest)
        self.assertEqual(self.info(guest)['state'], 'registered')

        (captured,) = self.events(guest, 'FADUMP_CAPTURED', start)
        failed = self.events(guest, 'FADUMP_FAILED', start)
        dump = captured['dump']
        self.assertEqual(dump['cause'], 'panic')
        self.assertEqual([f['cause'] for f in failed], ['panic', 'panic'])
        for f in failed:
            self.assertIn(f'dump {dump["id"]} is held', f['error'])
        self.assertEqual(self.events(guest, 'FADUMP_RELEASED', start),
                         [{'id': dump['id'], 'reason': 'max-boots'}])
        names = [e['event'] for e in guest.qmp.events[start:]
                 if e['event'].startswith('FADUMP_')]
        self.assertEqual(names, ['FADUMP_CAPTURED', 'FADUMP_FAILED',
                                 'FADUMP_FAILED', 'FADUMP_RELEASED',
                                 'FADUMP_REGISTERED'])
        # One that dies is told of as it dies, not as one that will be saved.
        self.assertEqual(guest.qmp.count('GUEST_CRASHLOADED', start), 1)
        self.assertEqual(guest.qmp.count('GUEST_PANICKED', start), 0)

    @full_only
    def test_panic_in_every_confined_boot_no_driver(self):
        """
        :avocado: tags=machine:pc,kernel:6.12
        """
        guest = self.guest('6.12', machine='pc', memory='1G',
                           fadump='early=on,max-boots=2',
                           cmdline='panic=1 fadump_test.nodriver '
                                   'fadump_test.early=max_mb=700')
        full = guest.mem_total()
        start = len(guest.qmp.poll())
        starts = self.linux_starts(guest)
        guest.reset('fadump-trigger')
        self.assertEqual(self.linux_starts(guest) - starts, 2 + 1)
        self.assert_mem_total(guest, full)
        (captured,) = self.events(guest, 'FADUMP_CAPTURED', start)
        self.assertEqual(captured['dump']['cause'], 'operator')
        self.assertEqual(self.events(guest, 'FADUMP_RELEASED', start),
                         [{'id': captured['dump']['id'],
                           'reason': 'max-boots'}])
        info = self.info(guest)
        self.assertEqual((info['state'], info['early']), ('idle', True))

    def test_resets_in_every_confined_boot(self):
        """The same for a guest that has no driver and knows no panic; one
        whose boots die in firmware or bootloader does not count.

        :avocado: tags=machine:q35,machine:pc
        """
        for machine in ('q35', 'pc'):
            # A kernel, a user program, a 32-bit kernel; a triple fault, which
            # is a crash whatever ran.
            for action in 'RubT':
                with self.subTest(machine=machine, action=action):
                    guest = self.new_guest(
                        machine=machine, memory='256M', tiny=action,
                        fadump='early=on,boot-mem=128M,max-boots=3').start()
                    released = guest.qmp.wait_event('FADUMP_RELEASED')['data']
                    captured = self.events(guest, 'FADUMP_CAPTURED')
                    self.assertEqual(released['id'], captured[0]['dump']['id'])
                    self.assertEqual(released['reason'], 'max-boots')
                    guest.wait_tiny(5)
                    self.assertEqual(
                        [memory < 128 * MIB
                         for _, memory in guest.tiny_boots()[:5]],
                        [False, True, True, True, False])
                    guest.close()
            with self.subTest(machine=machine, action='r'):
                guest = self.new_guest(
                    machine=machine, memory='256M', tiny='r',
                    fadump='boot-mem=128M,max-boots=1').start()
                guest.wait_tiny(1)
                guest.qmp.cmd('fadump-trigger')
                guest.qmp.wait_event('FADUMP_CAPTURED')
                guest.wait_tiny(len(guest.tiny_boots()) + 5)
                info = self.info(guest)
                self.assertEqual(info['state'], 'dump-available')
                self.assertEqual(info['dump']['boots'], 0)
                guest.close()

    def test_boot_timeout(self):
        """Firmware that resets itself for ever, and a boot that hangs, in a
        guest that nobody looks after.

        :avocado: tags=machine:q35,machine:pc
        """
        for machine, action in (('q35', 's'), ('pc', 's'), ('q35', 'r')):
            with self.subTest(machine=machine, action=action):
                guest = self.new_guest(
                    machine=machine, memory='256M', tiny=action,
                    fadump='boot-mem=128M,max-boots=2,boot-timeout=3').start()
                guest.wait_tiny(1)
                guest.qmp.cmd('fadump-trigger')
                guest.qmp.wait_event('FADUMP_CAPTURED')
                released = guest.qmp.wait_event('FADUMP_RELEASED')['data']
                self.assertEqual(released['reason'], 'max-boots')
                boots = len(guest.tiny_boots())
                memory = guest.wait_tiny(boots + 1 if action == 'r' else 4)[1]
                self.assertGreater(memory, 128 * MIB)
                small = [m < 128 * MIB for _, m in guest.tiny_boots()]
                self.assertEqual(small[0], False)
                self.assertGreaterEqual(sum(small), 2)
                if action == 's':
                    self.assertEqual(small, [False, True, True, False])
                guest.close()

    def test_no_boot_timeout(self):
        """An operating system without a driver may be well.

        :avocado: tags=machine:q35
        """
        guest = self.new_guest(
            memory='256M', tiny='S',
            fadump='boot-mem=128M,max-boots=2,boot-timeout=5').start()
        guest.wait_tiny(1)
        guest.qmp.cmd('fadump-trigger')
        guest.qmp.wait_event('FADUMP_CAPTURED')
        guest.wait_tiny(2)
        time.sleep(10)
        self.assertEqual(len(guest.tiny_boots()), 2)
        self.assertEqual(self.info(guest)['dump']['boots'], 0)
        # At its end it counts, as ever.
        guest.qmp.cmd('system_reset')
        guest.wait_tiny(3)
        self.assertEqual(self.info(guest)['dump']['boots'], 1)

    def test_save_fails(self):
        """No room for the dump, then a driver that goes and comes.

        :avocado: tags=machine:q35,kernel:6.12
        """
        disk = self.disk(size='64M')
        guest = self.guest('6.12', memory='1G', disks=[disk])
        full = guest.mem_total()
        start = len(guest.qmp.poll())
        guest.crash()
        dump, core = self.assert_cause(guest, 'panic', start)
        guest.cmd('mount /dev/vda /mnt')
        status, output = guest.run('dd if=/proc/vmcore of=/mnt/vmcore bs=1M')
        self.assertNotEqual(status, 0)
        self.assertIn(b'No space left', output)
        status, output = guest.run(
            'makedumpfile -d 0 /proc/vmcore /mnt/dump 2>&1')
        self.assertNotEqual(status, 0)
        # Our own program does not try again without threads.
        guest.cmd('rm /mnt/vmcore /mnt/dump')
        status, output = guest.run('fadump-save -c none -d 0 --threads=2 '
                                   '-o /mnt/crash 2>&1')
        self.assertEqual(status, 1, output)
        self.assertIn(b'no space is left in /mnt/crash', output)
        self.assertNotIn(b'trying without', output)
        self.assertEqual(guest.cmd('ls /mnt/crash'), '')
        guest.cmd('umount /mnt')

        guest.cmd('rmmod fadump_virtio')
        self.assertFalse(guest.exists(VMCORE))
        self.assertFalse(guest.exists(FADUMP))
        self.assertEqual(self.info(guest)['dump']['id'], dump['id'])
        guest.cmd('modprobe fadump-virtio')
        again, core_again = self.assert_cause(guest, 'panic', start)
        self.assertEqual(again, dump)
        self.assertEqual([n.desc for n in core_again.notes],
                         [n.desc for n in core.notes])
        # One boot, however often the driver came.
        self.assertEqual(self.info(guest)['dump']['boots'], 1)
        self.release(guest)
        self.assert_released(guest, full)
        self.assertEqual(self.events(guest, 'FADUMP_RELEASED', start),
                         [{'id': dump['id'], 'reason': 'guest'}])
        self.assert_quiet(guest)

    def test_operator(self):
        """A guest that knows nothing of all this: the operator does it.

        :avocado: tags=machine:q35,machine:pc
        """
        for machine in ('q35', 'pc'):
            with self.subTest(machine=machine):
                guest = self.new_guest(machine=machine, memory='256M',
                                       vcpus=2, tiny='s',
                                       fadump='boot-mem=128M').start()
                _, full = guest.wait_tiny(1)
                info = self.info(guest)
                self.assertEqual((info['state'], info['early']),
                                 ('idle', False))
                for _ in range(2):
                    boots = len(guest.tiny_boots())
                    start = len(guest.qmp.poll())
                    guest.qmp.cmd('fadump-trigger')
                    guest.qmp.wait_event('FADUMP_CAPTURED', start=start)
                    dump = self.assert_event(guest, 'operator', start)
                    self.assertNotIn('crash-cpu', dump)
                    _, memory = guest.wait_tiny(boots + 1)
                    self.assertLess(memory, 128 * MIB)
                    core = Vmcore.from_file(self.save(guest))
                    self.assertEqual(len(core.cpu_registers()), 2)
                    self.assertEqual(core.memory(), dump['memory'])
                    guest.qmp.cmd('fadump-release')
                    self.assertEqual(
                        self.events(guest, 'FADUMP_RELEASED', start),
                        [{'id': dump['id'], 'reason': 'host'}])
                    self.assertEqual(self.info(guest)['state'], 'idle')
                    guest.qmp.cmd('system_reset')
                    _, memory = guest.wait_tiny(boots + 2)
                    self.assertEqual(memory, full)
                guest.close()

    def test_no_host_memory(self):
        """The capture fails: a plain reset, and the next one is captured.

        :avocado: tags=machine:q35
        """
        if not shutil.which('gcc'):
            self.skipTest('gcc is not installed')
        source, library = self.path('fail.c'), self.path('fail.so')
        with open(source, 'w', encoding='utf-8') as f:
            f.write(NO_MEMORY)
        subprocess.run(['gcc', '-D_GNU_SOURCE', '-shared', '-fPIC', '-o',
                        library, source], check=True)
        switch = self.path('no-memory')
        guest = self.new_guest(memory='256M', tiny='s',
                               fadump='boot-mem=128M',
                               environment={'LD_PRELOAD': library,
                                            'NO_MEMORY': switch}).start()
        _, full = guest.wait_tiny(1)
        with open(switch, 'w', encoding='utf-8'):
            pass
        guest.qmp.cmd('fadump-trigger')
        failed = guest.qmp.wait_event('FADUMP_FAILED')['data']
        self.assertEqual(failed['cause'], 'operator')
        self.assertIn('no host memory', failed['error'])
        self.assertEqual(guest.wait_tiny(2)[1], full)
        self.assertEqual(guest.qmp.count('FADUMP_CAPTURED'), 0)
        self.assertEqual(self.info(guest)['state'], 'idle')
        self.assertNotIn('dump', self.info(guest))
        # It is as if nothing had been.
        os.unlink(switch)
        start = len(guest.qmp.poll())
        guest.qmp.cmd('fadump-trigger')
        guest.qmp.wait_event('FADUMP_CAPTURED', start=start)
        self.assert_event(guest, 'operator', start)
        self.assertLess(guest.wait_tiny(3)[1], 128 * MIB)


if __name__ == '__main__':
    main()
