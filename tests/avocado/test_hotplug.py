#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that is plugged while the guest runs is in the dump, out of the next
boot's sight, and back after the release."""

import os
import random
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import (FADUMP, GIB, MIB, SOAK, FadumpTest, GuestError, abi,
                         full_only, main, truth)
from vmtest import build
from vmtest.guest import Overlay

SEED = 20261126
# Of each kind of memory
PAGES = 512


def two_nodes(memory):
    """All RAM of the machine's on the first"""
    return ['-m', 'slots=4,maxmem=8G',
            '-object', f'memory-backend-ram,id=ram0,size={memory}',
            '-numa', 'node,nodeid=0,cpus=0-1,memdev=ram0',
            '-numa', 'node,nodeid=1']


# One of them without a CPU. Two sockets: no real core has its threads on two nodes.
THREE_NODES = ['-m', 'slots=4,maxmem=8G', '-smp', 'sockets=2,cores=1,threads=1',
               '-object', 'memory-backend-ram,id=ram0,size=512M',
               '-object', 'memory-backend-ram,id=ram1,size=512M',
               '-numa', 'node,nodeid=0,cpus=0,memdev=ram0',
               '-numa', 'node,nodeid=1,cpus=1,memdev=ram1',
               '-numa', 'node,nodeid=2']


class Plugged(FadumpTest):
    """The guest fills all memory that it has, in every node, and dies."""

    def options(self, machine, args, uefi=None, memory='1G', nodes=None,
                disks=()):
        """Of such a guest"""
        # What is movable can be unplugged again, so its memory must be that.
        return {'machine': machine, 'memory': memory, 'vcpus': 2,
                'disks': disks, 'fadump': 'boot-mem=384M', 'uefi': uefi,
                'args': (nodes or two_nodes(memory)) + args,
                'cmdline': 'memhp_default_state=online_movable'}

    def plug_guest(self, kernel, machine, args, **options):
        self.disk_image = self.disk(size='20G')
        guest = self.guest(kernel, **self.options(
            machine, args, disks=[self.disk_image], **options))
        guest.cmd('mount /dev/vda /mnt && modprobe fadump_truth')
        return guest

    def plug_dimm(self, guest, name, size, node):
        guest.qmp.cmd('object-add', **{'qom-type': 'memory-backend-ram',
                                       'id': f'mem-{name}', 'size': size})
        guest.qmp.cmd('device_add', driver='pc-dimm', id=name,
                      memdev=f'mem-{name}', node=node)

    def node_sizes(self, guest):
        """Bytes that the kernel has, of each node with memory."""
        text = guest.cmd('cat /sys/devices/system/node/node*/meminfo')
        return {int(node): int(kib) << 10 for node, kib in re.findall(
            r'Node (\d+) MemTotal: +(\d+) kB', text) if int(kib)}

    def wait_nodes(self, guest, wanted):
        """Until each node has nearly so much as that; what it has. A kernel that
        was given part of its memory later counts its memory map as its own."""
        now = {}

        def reached():
            now.clear()
            now.update(self.node_sizes(guest))
            return (now.keys() == wanted.keys() and
                    all(abs(now[n] - wanted[n]) <= 64 * MIB for n in wanted))
        try:
            guest.wait_for('nodes', reached, timeout=120 * build.TIMEOUT_SCALE)
        except GuestError as e:
            raise GuestError(f'nodes have {now}, not {wanted}: {e}') from e
        return now

    def lsmem(self, guest):
        """The kernel's memory blocks as lsmem(1) has them: {number: (node,
        state)}"""
        return {int(number, 16): (int(node), state) for number, state, node in
                re.findall(r'^(\w+) (\w+) node(\d+)$', guest.cmd(
                    'cd /sys/devices/system/memory; for b in memory*; do '
                    'n=$(echo $b/node*); echo $(cat $b/phys_index $b/state) '
                    '${n##*/}; done'), re.M)}

    def fill(self, guest):
        self.before = self.lsmem(guest)
        limit = int(guest.cmd("awk '/^MemAvailable/ {print $2}' "
                              '/proc/meminfo')) // 1024 - 160
        said = guest.cmd(f'truth fill -s {SEED} -o /mnt/list -b {384 * MIB} '
                         f'-n {PAGES} -x {limit} -f /mnt/data -t /tmp/data',
                         timeout=300)
        return {kind: tuple(map(int, rest)) for kind, *rest in re.findall(
            r'^(\w+) (\d+) low (\d+) high (\d+)$', said, re.M)}

    def assert_truth(self, guest, counts, extents, nodes):
        """The dump that is held has what the guest wrote, and of @extents, with
        the node of each, nothing is missing and all is plugged memory's."""
        ranges = self.assert_captured(guest).ranges
        plugged = [r for r in ranges if r['flags'] & abi.RANGE_F_HOTPLUG]
        self.assertEqual([(r['addr'], r['len'], r['node']) for r in plugged],
                         extents)
        # Memory of firmware's is node 0's, and what was plugged is hidden.
        self.assertEqual(list(self.node_sizes(guest)), [0])
        guest.cmd('mount /dev/vda /mnt && cp /proc/vmcore /mnt/vmcore && '
                  'umount /mnt', timeout=600)
        self.assert_dump(self.fetch_dump(self.disk_image, 'vmcore'),
                         self.fetch_dump(self.disk_image, 'list'), counts)
        guest.cmd('mount /dev/vda /mnt && rm /mnt/vmcore /mnt/list /mnt/data')
        self.release(guest)
        self.assert_back(guest, nodes)

    def assert_dump(self, dump, listed, counts):
        _, output = truth('check', dump, listed, SEED)
        self.assertIn(f'checked {sum(c[0] for c in counts.values())} differ 0 '
                      'missing 0', output)
        os.unlink(dump)

    def assert_back(self, guest, nodes):
        """All is as it was before the crash, and online."""
        self.wait_nodes(guest, nodes)
        self.assertEqual(self.lsmem(guest),
                         {n: (node, 'online') for n, (node, _) in
                          self.before.items()})
        self.assert_registered(guest)
        self.assert_quiet(guest)

    def assert_registered_once(self, guest, start):
        """Whatever was plugged, nothing had to be registered anew."""
        self.assertEqual(self.events(guest, 'FADUMP_REGISTERED', start), [])
        self.assertEqual(guest.cmd(f'cat {FADUMP}/hotplug_ready'), '1')


class Dimms(Plugged):
    """One that was there from the start, on node 0, and one that was plugged
    later, on node 1."""

    def check(self, kernel, machine, again=True, uefi=None):
        guest = self.plug_guest(kernel, machine, [
            '-object', 'memory-backend-ram,id=m0,size=512M',
            '-device', 'pc-dimm,id=dimm0,memdev=m0,node=0'], uefi=uefi)
        before = self.node_sizes(guest)
        self.assertEqual(list(before), [0])
        start = len(guest.qmp.poll())
        self.plug_dimm(guest, 'dimm1', 512 * MIB, node=1)
        guest.memory += GIB
        nodes = self.wait_nodes(guest, {0: before[0], 1: 512 * MIB})
        counts = self.fill(guest)
        # some of it in DIMMs, which lie above 4 GiB
        self.assertGreaterEqual(counts['anon'][2], PAGES, counts)
        self.assert_registered_once(guest, start)
        guest.crash()
        base = 4 * GIB
        self.assert_truth(guest, counts, [(base, 512 * MIB, 0),
                                          (base + 512 * MIB, 512 * MIB, 1)],
                          nodes)
        if not again:
            return

        # They can go, and then they are in no dump.
        guest.qmp.cmd('device_del', id='dimm1')
        guest.qmp.wait_event('DEVICE_DELETED', 120 * build.TIMEOUT_SCALE)
        guest.memory -= 512 * MIB
        nodes = self.wait_nodes(guest, {0: nodes[0]})
        guest.cmd('modprobe fadump_truth')
        counts = self.fill(guest)
        guest.crash()
        self.assert_truth(guest, counts, [(base, 512 * MIB, 0)], nodes)

    @full_only
    def test_pc(self):
        """
        :avocado: tags=machine:pc,kernel:6.12
        """
        self.check('6.12', 'pc')

    @full_only
    def test_q35(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check('6.1', 'q35')

    def test_once(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check('6.1', 'q35', again=False)

    @full_only
    def test_7(self):
        """
        :avocado: tags=machine:q35,kernel:7
        """
        self.check('7', 'q35')

    @full_only
    def test_ovmf(self):
        """
        :avocado: tags=machine:q35,kernel:6.12,firmware:ovmf
        """
        self.check('6.12', 'q35', uefi='trixie')

    @full_only
    def test_nodes(self):
        """Nodes with RAM of the machine's and DIMMs, and one with a DIMM only
        and no CPU: what comes back belongs to the node that it came from.

        :avocado: tags=machine:q35,kernel:6.12
        """
        guest = self.plug_guest('6.12', 'q35', [], nodes=THREE_NODES)
        before = self.node_sizes(guest)
        self.assertEqual(list(before), [0, 1])
        start = len(guest.qmp.poll())
        size = 256 * MIB
        for node in (2, 0, 1):
            self.plug_dimm(guest, f'dimm{node}', size, node)
            guest.memory += size
        nodes = self.wait_nodes(
            guest, {0: before[0] + size, 1: before[1] + size, 2: size})
        self.assertEqual(guest.cmd('cat /sys/devices/system/node/has_cpu'), '0-1')
        # All that the next boot's kernel has taken for itself is node 0's.
        nodes = {0: sum(nodes.values()) - 512 * MIB - 2 * size,
                 1: 512 * MIB + size, 2: size}
        for _ in range(2):
            counts = self.fill(guest)
            self.assertGreaterEqual(counts['anon'][2], PAGES, counts)
            self.assert_registered_once(guest, start)
            guest.crash()
            self.assert_truth(guest, counts, [
                (4 * GIB + i * size, size, node)
                for i, node in enumerate((2, 0, 1))], nodes)
            start = len(guest.qmp.poll())
            guest.cmd('modprobe fadump_truth')


class VirtioMem(Plugged):
    """Grown, shrunk and grown again before the crash."""

    def check(self, kernel, machine, uefi=None):
        guest = self.plug_guest(kernel, machine, [
            '-object', 'memory-backend-ram,id=m0,size=2G',
            '-device', 'virtio-mem-pci,id=vm0,memdev=m0,node=1'], uefi=uefi)
        before = self.node_sizes(guest)
        start = len(guest.qmp.poll())
        for size in (1536 * MIB, GIB):
            guest.qmp.cmd('qom-set', path='vm0', property='requested-size',
                          value=size)
            nodes = self.wait_nodes(guest, {0: before[0], 1: size})
        guest.memory += GIB
        for _ in range(2):
            counts = self.fill(guest)
            self.assertGreaterEqual(counts['anon'][2], PAGES, counts)
            self.assert_registered_once(guest, start)
            guest.crash()
            extents = [(r['addr'], r['len'], 1) for r in
                       self.assert_captured(guest).ranges
                       if r['flags'] & abi.RANGE_F_HOTPLUG]
            self.assertEqual(sum(size for _, size, _ in extents), GIB)
            self.assert_truth(guest, counts, extents, nodes)
            self.assertEqual(guest.qmp.cmd('qom-get', path='vm0',
                                           property='size'), GIB)
            # The release has registered; from here on nothing does again.
            start = len(guest.qmp.poll())
            guest.cmd('modprobe fadump_truth')

    @full_only
    def test_pc(self):
        """
        :avocado: tags=machine:pc,kernel:6.12
        """
        self.check('6.12', 'pc')

    @full_only
    def test_q35(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check('6.1', 'q35')

    @full_only
    def test_7(self):
        """
        :avocado: tags=machine:q35,kernel:7
        """
        self.check('7', 'q35')

    @full_only
    def test_ovmf(self):
        """
        :avocado: tags=machine:q35,kernel:6.1,firmware:ovmf
        """
        self.check('6.1', 'q35', uefi='bookworm')


class Migrated(Plugged):
    """A guest with a DIMM and virtio-mem goes to another QEMU and into a
    snapshot, registered and with its dump held, and comes back from there."""

    DIMM, SIZE = 256 * MIB, 512 * MIB
    VIRTIO_MEM = ['-object', 'memory-backend-ram,id=m0,size=1G',
                  '-device', 'virtio-mem-pci,id=vm0,memdev=m0,node=1']

    def disk_args(self):
        """One that a snapshot can be of"""
        disk = self.disk(size='20G')
        overlay = Overlay(self.path('disk.qcow2'), disk.path)
        return ['-drive', f'file={overlay.path},format=qcow2,if=none,id=disk0,'
                          'cache=unsafe',
                '-device', 'virtio-blk-pci,drive=disk0']

    def migrate(self, source, kernel, options):
        """Where the DIMM was plugged by hand, it is there from the start."""
        dimm, = (d['data'] for d in source.qmp.cmd('query-memory-devices')
                 if d['type'] == 'dimm')
        options = dict(options, args=options['args'] + [
            '-object', f'memory-backend-ram,id=mem-d0,size={dimm["size"]}',
            '-device', f'pc-dimm,id=d0,memdev=mem-d0,node={dimm["node"]},'
                       f'addr={dimm["addr"]},slot={dimm["slot"]}'])
        return self.migrate_to(source, self.new_guest(kernel, **options))

    def snapshot(self, guest, command):
        self.assertEqual(guest.qmp.hmp(f'{command} state').strip(), '')

    def state(self, guest):
        return guest.qmp.cmd('query-fadump')['state']

    def check(self, kernel, machine):
        options = self.options(machine, self.VIRTIO_MEM + self.disk_args())
        guest = self.guest(kernel, **options)
        guest.cmd('mount /dev/vda /mnt && modprobe fadump_truth')
        own = self.node_sizes(guest)[0]
        self.plug_dimm(guest, 'd0', self.DIMM, node=0)
        guest.qmp.cmd('qom-set', path='vm0', property='requested-size',
                      value=self.SIZE)
        nodes = self.wait_nodes(guest, {0: own + self.DIMM, 1: self.SIZE})
        memory = guest.memory + self.DIMM + self.SIZE

        guest = self.migrate(guest, kernel, options)
        guest.memory = memory
        self.assertEqual(self.state(guest), 'registered')
        counts = self.fill(guest)
        listed = self.path('list')
        with open(listed, 'wb') as f:
            f.write(guest.read_file('/mnt/list'))
        self.assert_registered_once(guest, 0)
        self.snapshot(guest, 'savevm')

        def assert_held():
            self.assertEqual(self.state(guest), 'dump-available')
            self.assertEqual(list(self.node_sizes(guest)), [0])
            self.assert_dump(self.save(guest), listed, counts)

        guest.crash()
        self.assert_captured(guest)
        assert_held()
        self.snapshot(guest, 'loadvm')
        self.assertEqual(self.state(guest), 'registered')
        guest.crash()
        self.assert_captured(guest)
        assert_held()

        guest = self.migrate(guest, kernel, options)
        guest.memory = memory
        assert_held()
        self.snapshot(guest, 'savevm')
        self.release(guest)
        self.assert_back(guest, nodes)
        # with the dump back, and what it hides gone
        self.snapshot(guest, 'loadvm')
        assert_held()
        self.release(guest)
        self.assert_back(guest, nodes)

    @full_only
    def test_q35(self):
        """
        :avocado: tags=machine:q35,kernel:6.12,migration
        """
        self.check('6.12', 'q35')

    @full_only
    def test_pc(self):
        """
        :avocado: tags=machine:pc,kernel:6.1,migration
        """
        self.check('6.1', 'pc')


class Balloon(Plugged):
    """What the guest has given away is in no dump, and no error; the boot with
    the dump is not asked for any."""

    LEFT = 1024 * MIB           # of 1536 MiB

    def wait_inflated(self, guest):
        guest.wait_for('the balloon', lambda: guest.qmp.cmd('query-balloon') ==
                       {'actual': self.LEFT}, 120 * build.TIMEOUT_SCALE)

    def check(self, kernel, machine, uefi=None):
        guest = self.plug_guest(kernel, machine, [
            '-device', 'virtio-balloon-pci,free-page-reporting=on'],
            uefi=uefi, memory='1536M')
        full = self.node_sizes(guest)
        start = len(guest.qmp.poll())
        guest.qmp.cmd('balloon', value=self.LEFT)
        self.wait_inflated(guest)
        nodes = self.wait_nodes(guest, {0: full[0] - 512 * MIB})
        # free memory is reported to the host within seconds
        guest.cmd('sleep 5')
        counts = self.fill(guest)
        self.assert_registered_once(guest, start)
        guest.crash()
        # and all of it has been inflated again when the memory is back
        self.assert_truth(guest, counts, [], nodes)
        self.wait_inflated(guest)
        self.wait_nodes(guest, nodes)

    @full_only
    def test_q35(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check('6.1', 'q35')

    @full_only
    def test_pc(self):
        """
        :avocado: tags=machine:pc,kernel:6.12
        """
        self.check('6.12', 'pc')

    @full_only
    def test_7_ovmf(self):
        """
        :avocado: tags=machine:q35,kernel:7,firmware:ovmf
        """
        self.check('7', 'q35', uefi='trixie')


class Sequences(Plugged):
    """Memory comes and goes at random, is put online and offline, and then the
    guest dies; and again, with what it has got back. FADUMP_SEED says with
    which sequence of numbers, as a failure does; make check-soak takes another
    each time."""

    BLOCK = 128 * MIB
    DIMM = 256 * MIB

    def start(self, kernel, machine, seed):
        self.random = random.Random(seed)
        self.dimms = {}
        self.size = 0
        self.guest_ = self.plug_guest(kernel, machine, [
            '-object', 'memory-backend-ram,id=m0,size=1G',
            '-device', 'virtio-mem-pci,id=vm0,memdev=m0,node=1'])
        self.own = self.node_sizes(self.guest_)[0]

    def sizes(self):
        """Of each node, if all of its memory is online."""
        sizes = {0: self.own, 1: self.size}
        for node in self.dimms.values():
            sizes[node] += self.DIMM
        return {node: size for node, size in sizes.items() if size}

    def plug(self):
        if len(self.dimms) == 3:
            return None
        name = next(f'd{i}' for i in range(4) if f'd{i}' not in self.dimms)
        self.dimms[name] = self.random.randrange(2)
        self.plug_dimm(self.guest_, name, self.DIMM, self.dimms[name])
        return name

    def unplug(self):
        if not self.dimms:
            return None
        name = self.random.choice(sorted(self.dimms))
        start = len(self.guest_.qmp.poll())
        self.guest_.qmp.cmd('device_del', id=name)
        self.guest_.qmp.wait_event('DEVICE_DELETED',
                                   120 * build.TIMEOUT_SCALE, start)
        self.guest_.qmp.cmd('object-del', id=f'mem-{name}')
        del self.dimms[name]
        return name

    def resize(self):
        self.size = self.random.randrange(0, 9) * self.BLOCK
        self.guest_.qmp.cmd('qom-set', path='vm0', property='requested-size',
                            value=self.size)
        return self.size

    def blocks(self, state=''):
        """The memory blocks of what was plugged, or those in that state. One
        may go away while it is looked at."""
        return self.guest_.cmd(
            'cd /sys/devices/system/memory; for b in memory*; do '
            'i=$(cat $b/phys_index 2>/dev/null) && '
            's=$(cat $b/state 2>/dev/null) && '
            f'[ $((0x$i)) -ge {4 * GIB // self.BLOCK} ] && '
            f'case $s in {state}*) echo $b ;; esac; done; true').split()

    def wait_plugged(self):
        """Until what was plugged is there, and what was unplugged is gone: its
        blocks go after its memory has."""
        self.wait_nodes(self.guest_, self.sizes())
        count = (len(self.dimms) * self.DIMM + self.size) // self.BLOCK
        self.guest_.wait_for(f'{count} memory blocks',
                             lambda: len(self.blocks()) == count,
                             60 * build.TIMEOUT_SCALE)

    def set_block(self, state, wanted):
        """A memory block of what was plugged that is in that state gets
        another one."""
        blocks = self.blocks(state)
        if not blocks:
            return None
        block = self.random.choice(blocks)
        self.guest_.cmd(f'echo {wanted} > /sys/devices/system/memory/{block}/'
                        'state')
        return block

    def offline(self):
        return self.set_block('online', 'offline')

    def online(self):
        return self.set_block('offline', 'online_movable')

    def step(self):
        """One of those that something can be done with"""
        steps = [self.plug, self.unplug, self.resize, self.offline, self.online]
        for step in self.random.sample(steps, len(steps)):
            counts = step in (self.plug, self.unplug, self.resize)
            # What is offline cannot be taken for what is not there yet.
            while counts and self.online():
                pass
            what = step()
            if what is not None:
                break
        print(f'# {step.__name__} {what}', file=sys.stderr, flush=True)
        if counts:
            self.wait_plugged()

    def sequence(self):
        """Steps, and a crash whose dump is compared."""
        guest = self.guest_
        begin = len(guest.qmp.poll())
        for _ in range(self.random.randrange(3, 8)):
            self.step()
        guest.memory = GIB + len(self.dimms) * self.DIMM + self.size
        guest.cmd('modprobe fadump_truth')
        counts = self.fill(guest)
        self.assert_registered_once(guest, begin)
        guest.crash()
        plugged = [r for r in self.assert_captured(guest).ranges
                   if r['flags'] & abi.RANGE_F_HOTPLUG]
        of_nodes = dict.fromkeys((0, 1), 0)
        for r in plugged:
            of_nodes[r['node']] += r['len']
        sizes = self.sizes()
        self.assertEqual(of_nodes, {0: sizes[0] - self.own,
                                    1: sizes.get(1, 0)})
        self.assert_truth(guest, counts, [(r['addr'], r['len'], r['node'])
                                          for r in plugged], sizes)

    def check(self, kernel, machine, count):
        seed = int(os.environ.get('FADUMP_SEED') or
                   (random.randrange(1 << 32) if SOAK else SEED))
        print(f'# FADUMP_SEED={seed}', file=sys.stderr, flush=True)
        with self.subTest(seed=seed):
            self.start(kernel, machine, seed)
            for _ in range(count):
                self.sequence()

    @full_only
    def test_q35(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check('6.1', 'q35', 20 if SOAK else 4)

    @full_only
    def test_pc(self):
        """
        :avocado: tags=machine:pc,kernel:6.12
        """
        self.check('6.12', 'pc', 20 if SOAK else 2)


class Vcpus(FadumpTest):
    """Each vCPU that is there at the crash has its registers in the dump, and
    crash(8) finds it."""

    def assert_vcpus(self, guest, count, start):
        self.assertEqual(self.events(guest, 'FADUMP_REGISTERED', start), [])
        guest.vcpus = count
        guest.crash()
        self.assert_captured(guest)
        registers, = self.crash_session(guest.kernel, self.save(guest),
                                        'help -r')
        self.assertEqual(re.findall(r'(?m)^CPU (\d+):$', registers),
                         [str(i) for i in range(count)])
        self.release(guest)
        self.assert_registered(guest)
        self.assert_quiet(guest)

    def online(self, guest):
        return int(guest.cmd('grep -c ^processor /proc/cpuinfo'))

    @full_only
    def test_q35(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        guest = self.guest('6.1', machine='q35', memory='1G', vcpus=2,
                           fadump='boot-mem=384M', args=['-smp', '2,maxcpus=4'])
        start = len(guest.qmp.poll())
        free = [cpu for cpu in guest.qmp.cmd('query-hotpluggable-cpus')
                if 'qom-path' not in cpu][-1]
        guest.qmp.cmd('device_add', driver=free['type'], id='cpu2',
                      **{name.replace('-', '_'): value
                         for name, value in free['props'].items()})
        guest.wait_for('a third CPU', lambda: guest.exists(
            '/sys/devices/system/cpu/cpu2/online'))
        guest.cmd('echo 1 > /sys/devices/system/cpu/cpu2/online')
        self.assertEqual(self.online(guest), 3)
        self.assert_vcpus(guest, 3, start)
        self.assertEqual(self.online(guest), 3)

        start = len(guest.qmp.poll())
        guest.qmp.cmd('device_del', id='cpu2')
        guest.qmp.wait_event('DEVICE_DELETED', 60 * build.TIMEOUT_SCALE, start)
        self.assertEqual(self.online(guest), 2)
        self.assert_vcpus(guest, 2, start)


if __name__ == '__main__':
    main()
