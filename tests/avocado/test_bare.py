#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every page of a dump is right, however boot memory was set aside, and whoever
had cached where guest memory is. The guest (tests/guest/bare) has no operating
system: it fills memory, dies, and checks each page of its dump itself."""

import functools
import os
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FULL, FadumpTest, GIB, MIB, abi, build, main

BOOT = 128 * MIB

# In the boot after a crash: what the dump says, that it stays what it is when
# all memory of that boot is overwritten, and that both memories are two.
CHECK = ('desc map regs held-code verify stale scribble verify intact code '
         'held-code')
CYCLE = f'idle fill code register trigger dump {CHECK} release reset'

# QEMU's arguments for guest memory; what can be moved is private and anonymous.
BACKENDS = {
    'default': None,
    'ram': 'memory-backend-ram',
    'memfd-shared': 'memory-backend-memfd,share=on',
    'memfd-private': 'memory-backend-memfd,share=off',
    'file-shared': 'memory-backend-file,share=on,mem-path={path}',
}
HUGE = {
    'huge-shared': 'memory-backend-memfd,hugetlb=on,share=on',
    'huge-private': 'memory-backend-memfd,hugetlb=on,share=off',
    'huge-prealloc': 'memory-backend-memfd,hugetlb=on,share=on,prealloc=on',
}
MOVABLE = ('default', 'ram')
# One that is moved and one that is not; all of them where there is time.
FEW = BACKENDS if FULL else ('default', 'memfd-shared')


@functools.lru_cache(maxsize=None)
def device_properties():
    """The device's properties and what QEMU says of each."""
    said = subprocess.run([build.qemu_binary(), '-device', 'fadump-dev,help'],
                          capture_output=True, text=True, check=True).stdout
    return dict(re.findall(r'^  ([\w-]+)=(.*)$', said, re.M))


def wait_for_file(path):
    deadline = time.monotonic() + 20 * build.TIMEOUT_SCALE
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            raise TimeoutError(f'there is no {path}')
        time.sleep(0.02)


class Bare(FadumpTest):
    """The guest, and what must be true of all that it says."""

    def bare(self, actions, memory=256 * MIB, fadump=f'boot-mem={BOOT >> 20}M',
             backend='default', **options):
        args = list(options.pop('args', ()))
        machine = options.pop('machine', 'q35')
        kind = (BACKENDS | HUGE)[backend]
        if kind:
            kind = kind.format(path=self.shm_path(f'memory{self._guests}'))
            args += ['-object', f'{kind},id=memory,size={memory}']
            machine += ',memory-backend=memory'
        return self.new_guest(bare=actions, memory=str(memory), fadump=fadump,
                              machine=machine, args=args, **options)

    @staticmethod
    def boots(guest):
        """What each boot said."""
        boots = [[]]
        for kind, values in guest.bare_lines():
            if kind == 'boot':
                boots.append([])
            boots[-1].append((kind, values))
        # the first lines are of no boot's, where a migration has brought it
        return boots[1:] if not boots[0] else boots

    def assert_lines(self, lines, memory, methods=None, cause='PANIC'):
        """The boot of these lines has found the dump right."""
        kinds = [kind for kind, _ in lines]
        self.assertIn('desc', kinds)
        self.assertIn('range', kinds)
        told = 0
        for kind, values in lines:
            for name in ('wrong', 'missing', 'beyond', 'bad', 'left'):
                self.assertEqual(values.get(name, '0'), '0',
                                 f'{kind} {values}')
            if kind == 'desc':
                self.assertEqual(int(values['cause']),
                                 getattr(abi, 'CAUSE_' + cause))
            elif kind == 'code':
                self.assertEqual(values['held'], values['was'])
            elif kind == 'stale':
                # What ran is what is in memory: no translation from before
                # the crash, and no other memory.
                self.assertEqual(values['ran'], values['should'], values)
            elif kind == 'range':
                told += int(values['len'], 16)
                flags = int(values['flags'], 16)
                self.assertFalse(flags & abi.RANGE_F_ERROR, values)
                if not flags & abi.RANGE_F_DESTINATION:
                    self.assertEqual(values['held'], values['len'])
                # What firmware needs below 1 MiB is never moved.
                if (methods and values['where'] == 'window' and
                        int(values['addr'], 16) >= MIB):
                    self.assertIn(int(values['method']), methods, values)
        # From 640 KiB to 1 MiB there are VGA and what firmware made read-only.
        told //= kinds.count('image')
        self.assertTrue(0 <= memory - told <= 0x60000, hex(told))

    # What a guest may take for all it has to do
    patience = 60 * build.TIMEOUT_SCALE

    def assert_cycles(self, guest, times, confined=BOOT, methods=None,
                      cause='PANIC'):
        """It has crashed so often, and each time all was as it should be."""
        guest.wait_bare('finished', timeout=self.patience)
        boots = self.boots(guest)
        self.assertEqual([(b[0][1]['state'], b[0][1]['generation'])
                          for b in boots],
                         [(state, str(n + (state == '2')))
                          for n in range(times) for state in ('0', '2')] +
                         [('0', str(times))])
        for i, lines in enumerate(boots):
            ram = int(lines[0][1]['ram'])
            if i % 2:
                self.assert_lines(lines, guest.memory, methods, cause)
                self.assertLessEqual(ram, confined)
                self.assertGreater(ram, confined - 2 * MIB)
            else:
                self.assertGreater(ram, guest.memory - 2 * MIB)
        # An answer comes behind all events, which may be more than a socket holds.
        self.assertEqual(guest.qmp.cmd('query-fadump')['state'], 'idle')
        self.assertEqual(guest.qmp.count('FADUMP_CAPTURED'), times)
        self.assertEqual(guest.qmp.count('FADUMP_RELEASED'), times)
        self.assertEqual(guest.qmp.count('FADUMP_FAILED'), 0)


class Content(Bare):
    """Three crashes in a row: each with other content, so that no page may be
    left from the one before, and so that what is swapped is swapped back."""

    NR_HUGE = '/proc/sys/vm/nr_hugepages'

    @staticmethod
    def meminfo(name):
        with open('/proc/meminfo', encoding='ascii') as f:
            return int(re.search(rf'^{name}: +(\d+)', f.read(), re.M)[1])

    def take_huge_pages(self, size):
        """Have the host set so much aside, if we may, and give it back."""
        def free():
            return (self.meminfo('HugePages_Free') *
                    self.meminfo('Hugepagesize')) << 10

        missing = size - free()
        if missing <= 0:
            return
        try:
            with open(self.NR_HUGE, 'r+', encoding='ascii') as f:
                before = int(f.read())
                self.addCleanup(self.set_huge_pages, before)
                self.set_huge_pages(before + (missing >> 10) //
                                    self.meminfo('Hugepagesize'))
        except OSError:
            pass
        if free() < size:
            self.skipTest(f'the host has no {size >> 20} MiB of huge pages: '
                          f'set {self.NR_HUGE}')

    def set_huge_pages(self, number):
        with open(self.NR_HUGE, 'w', encoding='ascii') as f:
            f.write(str(number))

    def start_cycles(self, backend, mode='', **options):
        """Start it; what is returned checks it when it has come to its end."""
        memory = options.pop('memory', 256 * MIB)
        times = options.pop('times', 3)
        actions = options.pop('actions', CYCLE)
        fadump, to, confined = f'boot-mem={BOOT >> 20}M', '', BOOT
        # What cannot be moved is swapped.
        methods = [abi.METHOD_MOVED, abi.METHOD_SWAPPED, abi.METHOD_COPIED]
        if backend not in MOVABLE or 'x-move=off' in mode:
            methods.remove(abi.METHOD_MOVED)
        if 'x-swap=off' in mode or 'x-swap' not in device_properties():
            methods.remove(abi.METHOD_SWAPPED)
        if mode.startswith('x-'):
            fadump += ',' + mode
        elif mode == 'full':
            fadump, confined = fadump + ',full=on', memory
        elif mode in ('guest', 'mixed'):
            memory += 128 * MIB
            to = f'to={mode} '
        guest = self.bare(f'times={times} {to}{actions}', memory, fadump,
                          backend, **options)
        guest.start()

        def finish():
            self.assert_cycles(guest, times, confined, methods[:1])
            wheres = {v['where'] for _, v in guest.bare_lines('range')}
            self.assertEqual(wheres,
                             {'guest': {'guest', 'place', 'none'},
                              'mixed': {'guest', 'place', 'none', 'window'},
                              'full': {'window'}}.get(mode, {'window', 'place'}))
            # The last reset was an ordinary one: RAM is the backend's own. A
            # huge page of the host's may reach a page beyond what is given back.
            self.assertLessEqual(guest.resident('fadump-dump'), 4096)
            guest.close()
        return finish

    def check(self, backend, mode='', **options):
        self.start_cycles(backend, mode, **options)()

    def check_backends(self, mode, backends=BACKENDS, **options):
        # They run at the same time: there is more than one processor.
        running = {backend: self.start_cycles(backend, mode, **options)
                   for backend in backends}
        for backend, finish in running.items():
            with self.subTest(backend=backend, mode=mode):
                finish()

    def test_default(self):
        """
        :avocado: tags=machine:q35
        """
        self.check_backends('')

    def test_no_move(self):
        """
        :avocado: tags=machine:q35
        """
        self.check_backends('x-move=off')

    def test_copied(self):
        """
        :avocado: tags=machine:q35
        """
        if 'x-swap' not in device_properties():
            self.skipTest('this QEMU swaps nothing')
        self.check_backends('x-move=off,x-swap=off')

    def test_full(self):
        """
        :avocado: tags=machine:q35
        """
        self.check_backends('full')

    def test_destinations(self):
        """
        :avocado: tags=machine:q35
        """
        if 'guest-mem' not in device_properties():
            self.skipTest('this QEMU has no destinations in guest memory')
        self.check_backends('guest')
        with self.subTest('mixed'):
            self.check('default', 'mixed')

    def test_above_4g(self):
        """RAM on both sides of the hole below 4 GiB.

        :avocado: tags=machine:q35
        """
        self.check('default', '', memory=3 * GIB, times=1,
                   actions='stride=4096 ' + CYCLE)
        # The same with little memory
        for mode in ('full', 'guest') + (('x-move=off',) * FULL):
            self.check_backends(mode, FEW, memory=512 * MIB, times=2,
                                machine='q35,max-ram-below-4g=256M')

    def test_asked_for(self):
        """The guest asks for more than the host's default, and crashes with
        one size after the other: what is swapped was swapped in part before.

        :avocado: tags=machine:q35
        """
        for backend in FEW:
            for mode in ('', ',x-window-bar=on'):
                with self.subTest(backend=backend, mode=mode):
                    guest = self.bare(f'boot=200 times=2 {CYCLE}', 512 * MIB,
                                      f'boot-mem={BOOT >> 20}M,'
                                      f'boot-mem-max=384M{mode}', backend)
                    guest.start()
                    self.assert_cycles(guest, 2, 256 * MIB)
                    self.assertEqual(
                        {(v['granted'], v['sum'])
                         for _, v in guest.bare_lines('boot_mem')},
                        {(str(256 * MIB),) * 2})
                    guest.close()

    def test_every_word(self):
        """
        :avocado: tags=machine:pc
        """
        for backend in ('default', 'memfd-shared'):
            with self.subTest(backend=backend):
                self.check(backend, '', times=1, machine='pc',
                           actions='stride=8 ' + CYCLE)

    def test_huge_pages(self):
        """
        :avocado: tags=machine:q35
        """
        self.take_huge_pages(256 * MIB)
        for backend in HUGE:
            for mode in ('', 'x-swap=off', 'full'):
                with self.subTest(backend=backend, mode=mode):
                    self.check(backend, mode)

    def test_causes(self):
        """
        :avocado: tags=machine:q35
        """
        for end, cause in (('triple', 'CPU_FAULT'), ('reset', 'GUEST_RESET'),
                           ('hang', 'OPERATOR')):
            with self.subTest(cause=cause):
                guest = self.bare(f'idle fill register {end} dump desc map '
                                  'regs verify release reset').start()
                if end == 'hang':
                    guest.wait_bare('end')
                    guest.qmp.cmd('fadump-trigger')
                self.assert_cycles(guest, 1, cause=cause)
                guest.close()

    def test_host_release(self):
        """The host takes the dump away: the guest hears of it, and the next
        boot has all memory.

        :avocado: tags=machine:q35
        """
        guest = self.bare('idle fill register trigger '
                          'dump desc verify event reset').start()
        guest.wait_bare('image')
        guest.qmp.cmd('fadump-release')
        self.assertEqual(guest.wait_bare('event'),
                         {'state': str(abi.STATE_IDLE)})
        self.assert_cycles(guest, 1)

    def test_discard(self):
        """A part that was given back reads as zeros, and only that.

        :avocado: tags=machine:q35
        """
        if 'guest-mem' not in device_properties():
            self.skipTest('this QEMU takes nothing back')
        for backend in FEW:
            for mode in ('', ',x-move=off,x-swap=off'):
                with self.subTest(backend=backend, mode=mode):
                    guest = self.bare('times=2 idle fill register trigger '
                                      'dump desc verify discard release reset',
                                      fadump=f'boot-mem={BOOT >> 20}M{mode}',
                                      backend=backend).start()
                    self.assert_cycles(guest, 2)
                    self.assertEqual(len(guest.bare_lines('discard')), 2)
                    guest.close()

    def test_kvm(self):
        """
        :avocado: tags=machine:q35,accel:kvm
        """
        if not build.kvm_runs_bare():
            self.skipTest('no KVM that runs a guest')
        for backend in ('memfd-shared', 'default'):
            begin = time.monotonic()
            guest = self.bare('stride=4096 idle fill code register trigger '
                              f'dump {CHECK} release halt', accel='kvm',
                              backend=backend).start()
            guest.wait_bare('halts')
            self.assert_lines(self.boots(guest)[1], guest.memory)
            guest.close()
            # There is KVM that emulates each instruction: no more of that.
            if time.monotonic() - begin > 2 and not FULL:
                return
        # Five at a time, of which each may be that slow
        self.patience = 600 * build.TIMEOUT_SCALE
        for mode in ('', 'x-move=off'):
            with self.subTest(mode=mode):
                self.check_backends(mode, accel='kvm')


class Storm(Bare):
    """One crash after the other in one QEMU, each dump checked: nothing is left
    of those before, in memory, mappings, or open files."""

    TIMES = 50 if FULL else 12
    # Behind so many all has been used once.
    SETTLED = 6

    @staticmethod
    def used(guest):
        """What the QEMU of an idle guest has: KiB, mappings, files."""
        proc = f'/proc/{guest.process.pid}'
        with open(f'{proc}/status', encoding='ascii') as f:
            rss = int(re.search(r'VmRSS:\s+(\d+)', f.read())[1])
        with open(f'{proc}/maps', encoding='ascii') as f:
            return rss, len(f.readlines()), len(os.listdir(f'{proc}/fd'))

    def start(self, times, mode):
        return self.bare(f'times={times} {CYCLE}',
                         fadump=f'boot-mem={BOOT >> 20}M{mode}').start()

    def finish(self, guest, times):
        guest.wait_bare('finished', timeout=600 * build.TIMEOUT_SCALE)
        used = self.used(guest)
        self.assert_cycles(guest, times)
        guest.close()
        return used

    def check(self, mode, methods):
        """A guest that has crashed TIMES times needs what one needs that has
        crashed a few times."""
        guests = [(self.start(times, mode), times)
                  for times in (self.SETTLED, self.TIMES)]
        few, many = [self.finish(*guest) for guest in guests]
        print(f'# {mode or "moved"}: {self.SETTLED} crashes {few}, '
              f'{self.TIMES} crashes {many} (KiB, mappings, files)',
              file=sys.stderr)
        self.assertLess(many[0] - few[0], 24 << 10, 'resident memory grows')
        self.assertLess(many[1] - few[1], 8, 'mappings pile up')
        self.assertLessEqual(many[2], few[2], 'files stay open')
        guest = guests[1][0]
        self.assertEqual({int(v['method'])
                          for _, v in guest.bare_lines('range')
                          if v['where'] == 'window' and
                          int(v['addr'], 16) >= MIB}, methods)

    def test_moved(self):
        """
        :avocado: tags=machine:q35
        """
        self.check('', {abi.METHOD_MOVED})

    def test_swapped(self):
        """
        :avocado: tags=machine:q35
        """
        self.check(',x-move=off', {abi.METHOD_SWAPPED})

    def test_copied(self):
        """
        :avocado: tags=machine:q35
        """
        self.check(',x-move=off,x-swap=off', {abi.METHOD_COPIED})


class Caches(Bare):
    """Who has cached what guest memory is, or where, must be told."""

    DISK = 16 * MIB

    def disk_image(self):
        """With what tests/guest/bare/blk.c expects"""
        path = self.path('disk.img')
        with open(path, 'wb') as f:
            f.write(b''.join((at ^ 0xd15cd15cd15c0000).to_bytes(8, 'little')
                             for at in range(0, MIB, 8)))
            f.truncate(self.DISK)
        return path

    def incoming(self, source, actions, backend, channel):
        """A QEMU that takes the guest over."""
        guest = self.bare(actions, backend=backend,
                          args=['-incoming', channel])
        self.assertEqual(guest.memory, source.memory)
        return guest.start(paused=True)

    def finish_migration(self, source, target):
        source.wait_for('the migration', lambda: source.qmp.cmd(
            'query-migrate').get('status') in ('completed', 'failed'))
        self.assertEqual(source.qmp.cmd('query-migrate')['status'],
                         'completed')
        dump = source.qmp.cmd('query-fadump')
        source.close()
        target.wait_for('the incoming migration', lambda: target.qmp.cmd(
            'query-status')['status'] == 'paused')
        self.assertEqual(target.qmp.cmd('query-fadump'), dump)
        target.qmp.cmd('cont')

    def assert_taken_over(self, guest):
        """It has the same dump and the same memory, and goes on with them."""
        guest.wait_bare('finished')
        first, last = self.boots(guest)
        self.assert_lines(first, guest.memory)
        self.assertEqual(first[-2], ('released', {'state': '0'}))
        self.assertGreater(int(last[0][1]['ram']), guest.memory - 2 * MIB)
        guest.close()

    def test_sections(self):
        """A vCPU's TLB, which has numbers of sections of the memory map, while
        another one changes that.

        :avocado: tags=machine:q35
        """
        guest = self.new_guest(bare='idle remap wait', memory='256M',
                               vcpus=2).start()
        guest.wait_bare('remapped', timeout=120 * build.TIMEOUT_SCALE)

    def test_migration_after(self):
        """Of a guest with a dump, and with other content in boot memory.

        :avocado: tags=machine:q35,migration
        """
        actions = ('stride=4096 idle fill code register trigger '
                   'dump desc verify scribble code wait desc verify intact '
                   'map regs held-code stale release reset')
        for backend in FEW:
            with self.subTest(backend=backend):
                state = self.path(f'state-{backend}')
                source = self.bare(actions, backend=backend).start()
                source.wait_bare('waits')
                self.assert_lines(self.boots(source)[1], source.memory)
                source.qmp.cmd('migrate', uri=f'file:{state}')
                source.qmp.cmd('stop')
                source.wait_for('the migration', lambda g=source: g.qmp.cmd(
                    'query-migrate').get('status') in ('completed', 'failed'))
                target = self.incoming(source, actions, backend,
                                       f'file:{state}')
                self.finish_migration(source, target)
                os.unlink(state)
                target.port.sendall(b'x')
                self.assert_taken_over(target)

    def test_migration_during(self):
        """A crash when memory has been sent: all that the capture, the next
        boot's firmware and the guest change from then on must be sent again.
        One crash before that has swapped what can be swapped.

        :avocado: tags=machine:q35,migration
        """
        actions = ('times=2 stride=4096 idle fill code register busy trigger '
                   'dump desc verify scribble code wait desc verify intact '
                   'map regs held-code stale release reset')
        for backend in FEW:
            with self.subTest(backend=backend):
                source = self.bare(actions, backend=backend).start()
                for number in (1, 2):
                    source.wait_bare('waits', number)
                    source.port.sendall(b'x')
                source.wait_bare('waits', 3)
                channel = f'unix:{source.socket("migration")}'
                target = self.incoming(source, actions, backend, channel)
                source.qmp.cmd('migrate-set-parameters',
                               max_bandwidth=256 * MIB, downtime_limit=1)
                source.qmp.cmd('migrate', uri=channel)
                # The guest rewrites memory, so that it does not end by itself.
                source.wait_for('all memory to be sent once', lambda g=source:
                                g.qmp.cmd('query-migrate').get('ram', {})
                                .get('dirty-sync-count', 0) > 1)
                source.qmp.cmd('migrate-set-parameters', max_bandwidth=MIB)
                source.port.sendall(b'x')
                source.wait_bare('waits', 4)
                self.assertEqual(source.qmp.cmd('query-migrate')['status'],
                                 'active')
                self.assert_lines(self.boots(source)[1], source.memory)
                self.assert_lines(self.boots(source)[3], source.memory,
                                  [abi.METHOD_COPIED])
                source.qmp.cmd('migrate-set-parameters', max_bandwidth=10 * GIB,
                               downtime_limit=2000)
                self.finish_migration(source, target)
                target.port.sendall(b'x')
                self.assert_taken_over(target)

    def check_disk(self, backend, action, disk):
        """What a disk is asked for before a crash is neither in the dump by
        half nor in the next boot's memory, and that boot can use the disk."""
        guest = self.bare(f'times=2 idle fill register {action} trigger '
                          'dump desc regs held-io scribble intact verify '
                          'held-io disk release reset', backend=backend,
                          args=disk).start()
        self.assert_cycles(guest, 2)
        held = [v for _, v in guest.bare_lines('io')]
        self.assertEqual(held[::2], held[1::2], 'the dump has changed')
        self.assertEqual({v['wrong'] for _, v in guest.bare_lines('disk')},
                         {'0'})
        guest.close()
        with open(guest.qemu_log, encoding='utf-8') as log:
            said = [line for line in log if line.startswith('qemu-system') and
                    'terminating on signal' not in line]
        self.assertEqual(said, [])

    def test_disk_in_flight(self):
        """
        :avocado: tags=machine:q35
        """
        image = self.disk_image()
        for backend in FEW:
            with self.subTest(backend=backend):
                # sixteen requests, of which few have been served
                self.check_disk(backend, 'io', [
                    '-drive', f'file={image},format=raw,readonly=on,'
                    'if=none,id=disk,throttling.iops-total=40',
                    '-device', 'virtio-blk-pci,drive=disk'])

    def test_vhost_user(self):
        """Another process has guest memory mapped, and must be told where it
        now is.

        :avocado: tags=machine:q35
        """
        daemon = build.storage_daemon()
        if not daemon:
            self.skipTest('there is no qemu-storage-daemon')
        image = self.disk_image()
        for backend in ('memfd-shared', 'file-shared'):
            with self.subTest(backend=backend), \
                    tempfile.TemporaryDirectory(prefix='fadump-') as scratch:
                path = os.path.join(scratch, 'socket')
                with open(self.path(f'daemon-{backend}.log'), 'wb') as log, \
                        subprocess.Popen(
                            [daemon,
                             '--blockdev', f'driver=file,node-name=disk,'
                             f'filename={image},read-only=on',
                             '--export', 'type=vhost-user-blk,id=export,'
                             'node-name=disk,addr.type=unix,addr.path=' + path],
                            stdout=log, stderr=log) as process:
                    try:
                        wait_for_file(path)
                        self.check_disk(backend, 'disk', [
                            '-chardev', f'socket,id=disk,path={path}',
                            '-device', 'vhost-user-blk-pci,chardev=disk'])
                        self.assertIsNone(process.poll())
                    finally:
                        process.kill()


if __name__ == '__main__':
    main()
