#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The host saves the dump itself: what it writes is what the guest would have
read, and a file is there as a whole or not at all."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FADUMP, FadumpTest, GIB, MIB, VMCORE, build, main
from vmtest.qmp import QmpError
from vmtest.vmcore import Vmcore

CHUNK = MIB

# Storage that never answers, while a file is there.
HUNG = r'''
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int fsync(int fd)
{
	while (!access(getenv("HUNG"), F_OK))
		usleep(10000);
	return syscall(SYS_fsync, fd);
}
'''


class SlowReader:
    """A pipe that a save goes into, read as slowly as a test wants."""

    def __init__(self, guest, name='pipe'):
        self.fd, theirs = os.pipe()
        guest.qmp.getfd(name, theirs)
        os.close(theirs)
        self.digest = hashlib.sha256()
        self.size = 0

    def read(self, size):
        """As much; less at its end."""
        end = self.size + size
        while self.size < end:
            data = os.read(self.fd, min(CHUNK, end - self.size))
            if not data:
                break
            self.digest.update(data)
            self.size += len(data)

    def read_all(self):
        self.read(1 << 62)
        self.close()
        return self.digest.hexdigest()

    def close(self):
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


def digest(path, size=None):
    """SHA-256 of a file, or of its first bytes."""
    result = hashlib.sha256()
    with open(path, 'rb') as f:
        left = os.path.getsize(path) if size is None else size
        while left:
            data = f.read(min(CHUNK, left))
            if not data:
                break
            result.update(data)
            left -= len(data)
    return result.hexdigest()


class HostSave(FadumpTest):

    def info(self, guest):
        return guest.qmp.cmd('query-fadump')

    def assert_refused(self, guest, message, command, **arguments):
        with self.assertRaises(QmpError) as caught:
            guest.qmp.cmd(command, **arguments)
        self.assertEqual(caught.exception.error_class, 'GenericError')
        self.assertRegex(caught.exception.desc, message)

    def wait_end(self, guest, status, start):
        """The save has ended like this; what QEMU says of it."""
        job = guest.qmp.wait_event('FADUMP_SAVE_COMPLETED', 120,
                                   start)['data']['save']
        self.assertEqual(job['status'], status, job)
        self.assertEqual(self.info(guest)['save'], job)
        self.assertEqual('error' in job, status == 'failed')
        # However it ends, the dump is still held.
        self.assertEqual(self.info(guest)['state'], 'dump-available')
        self.assertEqual(self.info(guest)['dump']['id'], job['id'])
        return job

    def start_save(self, guest, protocol):
        start = len(guest.qmp.poll())
        guest.qmp.cmd('fadump-save', protocol=protocol)
        return start

    def assert_same(self, saved, image):
        """The start of the image has what the saved file has."""
        with open(saved, 'rb') as a, open(image, 'rb') as b:
            at = 0
            while data := a.read(CHUNK):
                other = b.read(len(data))
                if data != other:
                    at += next(i for i, (x, y) in enumerate(zip(data, other))
                               if x != y)
                    part = [p for p in Vmcore.from_file(saved).loads
                            if p.offset <= at < p.offset + p.filesz]
                    self.fail(f'they differ at {at:#x}, in {part or "headers"}')
                at += len(data)

    def test_same_as_in_the_guest(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        disk = self.disk(size='2G', ext4=False)
        guest = self.guest('6.1', memory='1G', vcpus=2, disks=[disk])
        full = guest.mem_total()
        # Pages that all differ, all over memory.
        guest.cmd('seq 3000000 > /tmp/x; cat /tmp/x /tmp/x /tmp/x /tmp/x '
                  '/tmp/x /tmp/x /tmp/x /tmp/x /tmp/x /tmp/x > /tmp/y')
        start = len(guest.qmp.poll())
        guest.crash()
        dump, _ = self.assert_cause(guest, 'panic', start)

        # Guest and host read it at the same time, and the guest has a load.
        guest.cmd('(while :; do md5sum /bin/* > /dev/null; done) '
                  '> /dev/null 2>&1 &')
        path = self.path('vmcore')
        start = self.start_save(guest, f'file:{path}')
        self.assertFalse(os.path.exists(path) and
                         self.info(guest)['save']['status'] == 'active')
        guest.cmd(f'dd if={VMCORE} of=/dev/vda bs=1M && sync', timeout=300)
        job = self.wait_end(guest, 'completed', start)
        size = int(guest.cmd(f'stat -c %s {VMCORE}'))
        self.assertEqual(job, {'status': 'completed', 'id': dump['id'],
                               'written': size, 'total': size})
        self.assertEqual(os.path.getsize(path), size)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.assert_same(path, disk.path)
        # That was no comparison of zeros.
        with open(path, 'rb') as f:
            pages = set()
            while page := f.read(4096):
                pages.add(hash(page))
        self.assertGreater(len(pages), 15000)

        # A slow save, over a reset of the guest.
        pipe = SlowReader(guest)
        start = self.start_save(guest, 'fd:pipe')
        pipe.read(8 * MIB)
        guest.reset()
        again, _ = self.assert_cause(guest, 'panic', 0)
        self.assertEqual(again['id'], dump['id'])
        # It cannot be released meanwhile, from neither side.
        self.assert_refused(guest, 'being saved', 'fadump-release')
        status, output = guest.run(f'echo 1 > {FADUMP}/release_mem')
        self.assertNotEqual(status, 0)
        self.assertIn(b'busy', output)
        self.assertTrue(guest.exists(VMCORE))
        self.assertEqual(guest.cmd(f'dd if={VMCORE} bs=64 count=1 '
                                   '2>/dev/null | head -c 4 | tail -c 3'),
                         'ELF')
        self.assertEqual(self.info(guest)['save']['status'], 'active')
        self.assertEqual(pipe.read_all(), digest(path))
        job = guest.qmp.wait_event('FADUMP_SAVE_COMPLETED', 120,
                                   start)['data']['save']
        self.assertEqual(job['status'], 'completed', job)

        # Now it can: the guest does what it was asked for, without a boot.
        guest.wait_for('the release in the guest', lambda: not guest.exists(
            f'{FADUMP}/release_mem'))
        self.assert_released(guest, full)
        self.assertEqual(self.events(guest, 'FADUMP_RELEASED', start),
                         [{'id': dump['id'], 'reason': 'guest'}])
        self.assertEqual(self.info(guest)['save'], job)

    def held(self, memory='256M', **options):
        """A machine that holds a dump, with nothing of an operating system."""
        guest = self.new_guest(memory=memory, tiny='s',
                               fadump='boot-mem=128M', **options).start()
        guest.wait_tiny(1)
        guest.qmp.cmd('fadump-trigger')
        guest.qmp.wait_event('FADUMP_CAPTURED')
        guest.wait_tiny(2)
        return guest

    def full_memory(self, size):
        """Options for guest memory in which no page is zero: what is written
        of it takes its time."""
        path = self.shm_path('memory')
        with open(path, 'wb') as f:
            for i in range(size // CHUNK):
                f.write(bytes([1 + i % 255]) * CHUNK)
        return ['-object', f'memory-backend-file,id=ram,size={size},'
                f'mem-path={path},share=on', '-machine', 'memory-backend=ram']

    def test_hung_storage(self):
        """QEMU ends though the storage that it saves to does not answer.

        :avocado: tags=machine:q35
        """
        if not shutil.which('gcc'):
            self.skipTest('gcc is not installed')
        source, library = self.path('hung.c'), self.path('hung.so')
        with open(source, 'w', encoding='utf-8') as f:
            f.write(HUNG)
        subprocess.run(['gcc', '-D_GNU_SOURCE', '-shared', '-fPIC', '-o',
                        library, source], check=True)
        switch, path = self.path('hung'), self.path('vmcore')
        guest = self.held(environment={'LD_PRELOAD': library, 'HUNG': switch})
        with open(switch, 'w', encoding='utf-8'):
            pass
        self.start_save(guest, f'file:{path}')
        end = time.monotonic() + 60 * build.TIMEOUT_SCALE
        job = self.info(guest)['save']
        while job['written'] < job['total']:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.1)
            job = self.info(guest)['save']
        # It is asked to end, and nothing comes of that.
        guest.qmp.cmd('fadump-save-cancel')
        time.sleep(1)
        self.assertEqual(self.info(guest)['save']['status'], 'active')
        guest.qmp.cmd('quit')
        guest.wait_exit(30 * build.TIMEOUT_SCALE)
        self.assertFalse(os.path.exists(path))

    def test_targets(self):
        """
        :avocado: tags=machine:q35
        """
        guest = self.held()
        folder = self.path('saved')
        os.mkdir(folder)
        path = os.path.join(folder, 'vmcore')

        with self.subTest(target='new file'):
            self.assertNotIn('save', self.info(guest))
            self.save(guest, 'saved/vmcore')
            self.assertEqual(os.listdir(folder), ['vmcore'])
        size, right = os.path.getsize(path), digest(path)
        self.assertGreater(Vmcore.from_file(path).memory(), 255 * MIB)

        with self.subTest(target='file that is there'):
            with open(path, 'wb') as f:
                f.write(b'x' * (size + 12345))
            self.save(guest, 'saved/vmcore')
            self.assertEqual(os.listdir(folder), ['vmcore'])
            self.assertEqual(digest(path), right)

        with self.subTest(target='symbolic link'):
            os.symlink('vmcore', os.path.join(folder, 'link'))
            self.save(guest, 'saved/link')
            self.assertEqual(digest(os.path.join(folder, 'link')), right)
            os.unlink(os.path.join(folder, 'link'))

        with self.subTest(target='stopped machine'):
            guest.qmp.cmd('stop')
            self.save(guest, 'saved/vmcore')
            guest.qmp.cmd('cont')
            self.assertEqual(digest(path), right)

        with self.subTest(target='file descriptor of a file'):
            with open(path, 'wb') as f:
                f.write(b'x' * (size + 12345))
            with open(path, 'r+b') as f:
                guest.qmp.getfd('file', f.fileno())
            start = self.start_save(guest, 'fd:file')
            self.wait_end(guest, 'completed', start)
            self.assertEqual(os.path.getsize(path), size)
            self.assertEqual(digest(path), right)
            # QEMU has used it up.
            self.assert_refused(guest, 'file', 'fadump-save',
                                protocol='fd:file')

        os.unlink(path)
        with self.subTest(target='pipe'):
            pipe = SlowReader(guest)
            start = self.start_save(guest, 'fd:pipe')
            written = [0]
            for _ in range(4):
                pipe.read(8 * MIB)
                job = self.info(guest)['save']
                self.assertEqual((job['status'], job['total']),
                                 ('active', size))
                self.assertGreaterEqual(job['written'], pipe.size)
                self.assertLessEqual(job['written'], pipe.size + MIB)
                self.assertGreater(job['written'], written[-1])
                written.append(job['written'])
            for protocol in ('fd:pipe', 'file:' + path):
                self.assert_refused(guest, 'being saved', 'fadump-save',
                                    protocol=protocol)
            self.assert_refused(guest, 'being saved', 'fadump-release')
            self.assertEqual(os.listdir(folder), [])
            self.assertEqual(pipe.read_all(), right)
            job = self.wait_end(guest, 'completed', start)
            self.assertEqual(job['written'], size)

        with self.subTest(target='pipe, cancelled'):
            pipe = SlowReader(guest)
            start = self.start_save(guest, 'fd:pipe')
            pipe.read(MIB)
            guest.qmp.cmd('fadump-save-cancel')
            job = self.wait_end(guest, 'cancelled', start)
            self.assertLess(job['written'], size)
            pipe.read_all()
            self.assertLess(pipe.size, size)
            self.assert_refused(guest, 'no dump is being saved',
                                'fadump-save-cancel')

        with self.subTest(target='pipe that nobody reads any more'):
            pipe = SlowReader(guest)
            start = self.start_save(guest, 'fd:pipe')
            pipe.read(MIB)
            pipe.close()
            job = self.wait_end(guest, 'failed', start)
            self.assertIn('Broken pipe', job['error'])

        for what, flags in (('/dev/full', os.O_WRONLY),
                            ('/dev/null', os.O_RDONLY)):
            with self.subTest(target=what):
                fd = os.open(what, flags)
                guest.qmp.getfd('it', fd)
                os.close(fd)
                start = self.start_save(guest, 'fd:it')
                job = self.wait_end(guest, 'failed', start)
                self.assertIn('No space left' if flags else 'Bad file',
                              job['error'])

        before = self.info(guest)['save']
        for protocol, message in (
                ('', 'file:.*fd:'), ('vmcore', 'file:.*fd:'),
                (path, 'file:.*fd:'), ('file:', 'file name'),
                ('fd:', '.'), ('fd:never', 'never'), ('fd:999', '999'),
                ('file:' + folder, 'directory'),
                ('file:' + folder + '/none/vmcore', 'No such file'),
                ('file:/proc/vmcore', '.')):
            with self.subTest(protocol=protocol):
                self.assert_refused(guest, message, 'fadump-save',
                                    protocol=protocol)
                self.assertEqual(os.listdir(folder), [])
                # What was refused is no job.
                self.assertEqual(self.info(guest)['save'], before)

        with self.subTest(target='full disk'):
            if os.geteuid():
                self.skipTest('only root can mount a small file system')
            if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=128k',
                               'tmpfs', folder], check=False).returncode:
                self.skipTest('mount is not permitted here')
            self.addCleanup(subprocess.run, ['umount', folder], check=True)
            start = self.start_save(guest, 'file:' + path)
            job = self.wait_end(guest, 'failed', start)
            self.assertIn('No space left on device', job['error'])
            self.assertEqual(os.listdir(folder), [])
            # Nothing is held open either.
            free = os.statvfs(folder)
            self.assertEqual(free.f_bfree, free.f_blocks)

        # After all this it can be saved as ever.
        self.assertEqual(digest(self.save(guest)), right)
        guest.qmp.cmd('fadump-release')
        self.assert_refused(guest, 'no dump is held', 'fadump-save',
                            protocol='file:' + path)

    def test_interrupted(self):
        """Half a dump is never there under its name, nor anything else.

        :avocado: tags=machine:q35
        """
        size = 2 * GIB
        guest = self.held('2G', args=self.full_memory(size))
        folder = self.path('saved')
        os.mkdir(folder)
        path = os.path.join(folder, 'vmcore')

        def half_way():
            start = self.start_save(guest, 'file:' + path)
            guest.wait_for('a part of the dump', lambda: self.info(guest)
                           ['save']['written'] > size // 8, 60)
            job = self.info(guest)['save']
            self.assertEqual(job['status'], 'active',
                             'it was too fast to be interrupted')
            self.assertEqual(os.listdir(folder), [])
            return start

        with self.subTest(by='fadump-save-cancel'):
            start = half_way()
            guest.qmp.cmd('fadump-save-cancel')
            job = self.wait_end(guest, 'cancelled', start)
            self.assertLess(job['written'], job['total'])
            self.assertEqual(os.listdir(folder), [])
        with self.subTest(by='SIGKILL'):
            half_way()
            guest.process.send_signal(signal.SIGKILL)
            guest.wait_exit()
            self.assertEqual(os.listdir(folder), [])
        guest.close()
        with self.subTest(by='quit'):
            guest = self.held()
            pipe = SlowReader(guest)
            self.start_save(guest, 'fd:pipe')
            pipe.read(MIB)
            guest.qmp.cmd('quit')
            self.assertEqual(guest.wait_exit(20), 0)
            pipe.read_all()
            self.assertLess(pipe.size, 256 * MIB)


if __name__ == '__main__':
    main()
