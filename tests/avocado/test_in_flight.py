#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices that are at work when the guest crashes: what they still do then is
neither in the dump nor in the next boot's memory, and costs no disk its data.
"""

import os
import re
import socket
import sys
import tempfile
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FadumpTest, MIB, full_only, main, run_here, truth

SEED = 20261126
# Of each kind of memory
PAGES = 1024
BOOT = 512 * MIB
# MiB of the disk that are written to and read from all the time
DISK = 16
# Requests in a second: all others wait
SLOW = 40


class InFlight(FadumpTest):
    """A guest with known memory crashes while a device works for it."""

    def start(self, machine, modules, args):
        guest = self.guest('6.1', machine=machine, memory='1G', vcpus=2,
                           fadump=f'boot-mem={BOOT}', args=args)
        guest.cmd(f'modprobe -a fadump_truth {modules}')
        return guest

    def fill(self, guest):
        """Fill memory; what is where, and how many pages."""
        filled = guest.cmd(f'truth fill -s {SEED} -o /tmp/list -b {BOOT} '
                           f'-n {PAGES} -x 600 -t /tmp/data')
        counts = re.findall(r'^\w+ (\d+) low (\d+) ', filled, re.M)
        self.assertGreaterEqual(sum(int(low) for _, low in counts), PAGES)
        return (self.fetch(guest, '/tmp/list'),
                sum(int(pages) for pages, _ in counts))

    def fetch(self, guest, name):
        path = self.path(os.path.basename(name))
        with open(path, 'wb') as f:
            f.write(guest.read_file(name))
        return path

    def assert_memory(self, guest, listed, pages):
        """What was in memory is in the dump; its file."""
        dump = self.save(guest)
        _, said = truth('check', dump, listed, SEED)
        self.assertIn(f'checked {pages} differ 0 missing 0', said)
        return dump

    def assert_well(self, guest):
        """QEMU has complained of nothing, nor has the guest."""
        self.assertTrue(guest.alive())
        self.assert_quiet(guest)
        guest.close()
        with open(guest.qemu_log, encoding='utf-8') as log:
            self.assertEqual([line for line in log
                              if line.startswith('qemu-system') and
                              'terminating on signal' not in line], [])


class Disks(InFlight):
    """Eight threads that write and eight that read, with direct I/O, half of
    each from and to boot memory, on a disk that is much slower."""

    def throttle(self, guest, requests, own=False):
        """Requests in a second, or 0; own: by the drive's own limit, before
        they come to a node"""
        if own:
            guest.qmp.execute('block_set_io_throttle', {
                'id': 'drive', 'iops': requests, 'iops_rd': 0, 'iops_wr': 0,
                'bps': 0, 'bps_rd': 0, 'bps_wr': 0})
        else:
            guest.qmp.cmd('qom-set', path='/objects/slow', property='limits',
                          value={'iops-total': requests})

    def check(self, device, name, modules, machine='q35', own=False):
        image = self.path('disk.img')
        run_here('flight', 'write', image, 2 * DISK, SEED)
        guest = self.start(machine, modules, [
            '-object', 'throttle-group,id=slow',
            '-blockdev', f'driver=file,node-name=file,filename={image}',
            '-blockdev', 'driver=throttle,node-name=disk,file=file,'
            'throttle-group=slow', *device])
        before = guest.mem_total()
        self.throttle(guest, SLOW, own)
        guest.cmd(f'flight run /dev/{name} {DISK} {SEED} {BOOT} /tmp/read '
                  '> /tmp/said 2>&1 & '
                  'while [ ! -s /tmp/said ]; do sleep 0.1; done; '
                  'grep running /tmp/said || ! cat /tmp/said')
        listed, pages = self.fill(guest)
        read = self.fetch(guest, '/tmp/read')
        waiting = guest.cmd(f'cat /sys/block/{name}/inflight').split()
        self.assertGreater(sum(map(int, waiting)), 0)

        guest.crash()

        self.assert_captured(guest)
        self.throttle(guest, 0, own)
        guest.cmd(f'modprobe -a {modules}')
        # The disk works, and has what was written to it, or what was there.
        said = guest.cmd(f'flight disk /dev/{name} {2 * DISK} {SEED}')
        self.assertNotIn('rewritten 0 ', said)
        guest.cmd(f'flight write /dev/{name} 1 {SEED + 1}')
        dump = self.assert_memory(guest, listed, pages)
        _, said = run_here('flight', 'memory', dump, read, SEED)
        self.assertNotIn('old 0 ', said)
        self.assertNotIn('new 0 ', said)
        self.release(guest)
        self.assert_released(guest, before)
        guest.cmd(f'flight disk /dev/{name} 1 {SEED + 1}')
        self.assert_well(guest)
        _, said = run_here('flight', 'disk', image, 1, SEED + 1)
        self.assertIn('rewritten 0 sectors wrong 0', said)

    def test_virtio_scsi(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check(['-device', 'virtio-scsi-pci', '-device',
                    'scsi-hd,drive=disk'], 'sda', 'virtio_scsi sd_mod')

    @full_only
    def test_nvme(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check(['-device', 'nvme,drive=disk,serial=1'], 'nvme0n1', 'nvme')

    @full_only
    def test_ahci(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check(['-device', 'ide-hd,drive=disk,bus=ide.0,id=drive'], 'sda',
                   'ahci sd_mod', own=True)

    @full_only
    def test_ide(self):
        """
        :avocado: tags=machine:pc,kernel:6.1
        """
        self.check(['-device', 'ide-hd,drive=disk,bus=ide.0'], 'sda',
                   'ata_piix sd_mod', 'pc')


class Network(InFlight):
    """Packets to and from the guest all the time, through this process."""

    def flood(self, sock):
        """Send and take packets until the socket is closed."""
        packet = b'\xff' * 6 + b'\x52\x54\0\0\0\1\x88\xb5' + b'packet' * 200
        sock.setblocking(False)
        while not self.over.is_set():
            try:
                for _ in range(20):
                    sock.send(packet)
            except OSError:
                pass
            try:
                while True:
                    self.received += len(sock.recv(2048)) > 1000
            except OSError:
                pass
            self.over.wait(0.002)

    def send(self, guest):
        """The guest sends, and is sent to: what it has received so far."""
        guest.cmd('ip addr add 10.0.0.2/24 dev eth0; ip link set eth0 up')
        guest.cmd('flight send 10.0.0.255 > /dev/null 2>&1 &')
        received = self.received
        path = '/sys/class/net/eth0/statistics/rx_packets'
        guest.wait_for('packets from the guest', lambda:
                       self.received > received + 100)
        guest.wait_for('packets to the guest', lambda:
                       int(guest.cmd(f'cat {path}')) > 100)

    @full_only
    def test_e1000e(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        scratch = tempfile.TemporaryDirectory(prefix='fadump-')
        self.addCleanup(scratch.cleanup)
        ours, theirs = (os.path.join(scratch.name, n) for n in 'ot')
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(sock.close)
        sock.bind(ours)
        guest = self.start('q35', 'e1000e', [
            '-netdev', f'dgram,id=net,local.type=unix,local.path={theirs},'
            f'remote.type=unix,remote.path={ours}',
            '-device', 'e1000e,netdev=net'])
        sock.connect(theirs)
        self.received = 0
        self.over = threading.Event()
        thread = threading.Thread(target=self.flood, args=(sock,))
        self.addCleanup(thread.join)
        self.addCleanup(self.over.set)
        before = guest.mem_total()
        thread.start()
        self.send(guest)
        listed, pages = self.fill(guest)

        guest.crash()

        self.assert_captured(guest)
        self.send(guest)
        self.assert_memory(guest, listed, pages)
        self.release(guest)
        self.assert_released(guest, before)
        self.assert_well(guest)


if __name__ == '__main__':
    main()
