#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that is plugged while the guest runs is in the dump, out of the next
boot's sight, and back after the release."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FADUMP, FadumpTest, GIB, MIB, abi, full_only, main, truth
from vmtest import build

SEED = 20261126
# Of each kind of memory
PAGES = 512
NODES = ['-m', 'slots=4,maxmem=8G',
         '-object', 'memory-backend-ram,id=ram0,size=1G',
         '-numa', 'node,nodeid=0,cpus=0-1,memdev=ram0',
         '-numa', 'node,nodeid=1']


class Plugged(FadumpTest):
    """The guest fills all memory that it has, in every node, and dies."""

    def plug_guest(self, kernel, machine, args):
        self.disk_image = self.disk(size='20G')
        # What is movable can be unplugged again, so its memory must be that.
        guest = self.guest(kernel, machine=machine, memory='1G', vcpus=2,
                           disks=[self.disk_image], fadump='boot-mem=384M',
                           args=NODES + args,
                           cmdline='memhp_default_state=online_movable')
        guest.cmd('mount /dev/vda /mnt && modprobe fadump_truth')
        return guest

    def node_sizes(self, guest):
        """Bytes that the kernel has, of each node with memory."""
        text = guest.cmd('cat /sys/devices/system/node/node*/meminfo')
        return {int(node): int(kib) << 10 for node, kib in re.findall(
            r'Node (\d+) MemTotal: +(\d+) kB', text) if int(kib)}

    def wait_nodes(self, guest, wanted):
        """Until each node has nearly so much as that; what it has."""
        def reached():
            now = self.node_sizes(guest)
            return (now.keys() == wanted.keys() and
                    all(abs(now[n] - wanted[n]) <= 32 * MIB for n in wanted))
        guest.wait_for(f'nodes with {wanted}', reached,
                       timeout=120 * build.TIMEOUT_SCALE)
        return self.node_sizes(guest)

    def fill(self, guest):
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
        listed = self.fetch_dump(self.disk_image, 'list')
        dump = self.fetch_dump(self.disk_image, 'vmcore')
        _, output = truth('check', dump, listed, SEED)
        self.assertIn(f'checked {sum(c[0] for c in counts.values())} differ 0 '
                      'missing 0', output)
        guest.cmd('mount /dev/vda /mnt && rm /mnt/vmcore /mnt/list /mnt/data')
        self.release(guest)
        self.wait_nodes(guest, nodes)
        self.assert_registered(guest)
        self.assert_quiet(guest)

    def assert_registered_once(self, guest, start):
        """Whatever was plugged, nothing had to be registered anew."""
        self.assertEqual(self.events(guest, 'FADUMP_REGISTERED', start), [])
        self.assertEqual(guest.cmd(f'cat {FADUMP}/hotplug_ready'), '1')


class Dimms(Plugged):
    """One that was there from the start, on node 0, and one that was plugged
    later, on node 1."""

    def check(self, kernel, machine, again=True):
        guest = self.plug_guest(kernel, machine, [
            '-object', 'memory-backend-ram,id=m0,size=512M',
            '-device', 'pc-dimm,id=dimm0,memdev=m0,node=0'])
        before = self.node_sizes(guest)
        self.assertEqual(list(before), [0])
        start = len(guest.qmp.poll())
        guest.qmp.cmd('object-add', **{'qom-type': 'memory-backend-ram',
                                       'id': 'm1', 'size': 512 * MIB})
        guest.qmp.cmd('device_add', driver='pc-dimm', id='dimm1', memdev='m1',
                      node=1)
        nodes = self.wait_nodes(guest, {0: before[0], 1: 512 * MIB})
        guest.memory += GIB
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


class VirtioMem(Plugged):
    """Grown, shrunk and grown again before the crash."""

    def check(self, kernel, machine):
        guest = self.plug_guest(kernel, machine, [
            '-object', 'memory-backend-ram,id=m0,size=2G',
            '-device', 'virtio-mem-pci,id=vm0,memdev=m0,node=1'])
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


class Balloon(Plugged):
    """What the guest has given away is in no dump, and no error; the boot with
    the dump is not asked for any."""

    def check(self, kernel, machine):
        guest = self.plug_guest(kernel, machine, [
            '-device', 'virtio-balloon-pci,free-page-reporting=on'])
        full = self.node_sizes(guest)
        start = len(guest.qmp.poll())
        guest.qmp.cmd('balloon', value=768 * MIB)
        nodes = self.wait_nodes(guest, {0: full[0] - 256 * MIB})
        # free memory is reported to the host within seconds
        guest.cmd('sleep 5')
        counts = self.fill(guest)
        self.assert_registered_once(guest, start)
        guest.crash()
        # and all of it has been inflated again when the memory is back
        self.assert_truth(guest, counts, [], nodes)
        self.assertEqual(guest.qmp.cmd('query-balloon')['actual'], 768 * MIB)

    @full_only
    def test_q35(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check('6.1', 'q35')


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
