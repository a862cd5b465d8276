#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a confined boot can fall into, one trap a test. Each of these was seen
to fail before it had its cure. The initrd of an ELF kernel, which QEMU itself
used to put near the end of RAM, is in test_preserved_hash.py."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import (FADUMP, FadumpTest, GIB, MIB, VMCORE, full_only, main,
                         truth)

SEED = 4711


def bars(guest):
    """(address, size, 64-bit) of every memory BAR as firmware and kernel left
    them."""
    result = []

    def walk(bus):
        for device in bus.get('devices', []):
            for r in device['regions']:
                if r['type'] == 'memory' and r['address'] not in (
                        -1, 0xffffffff, (1 << 64) - 1):
                    result.append((r['address'], r['size'],
                                   r.get('mem_type_64', False)))
            if 'pci_bridge' in device:
                walk(device['pci_bridge'])
    for bus in guest.qmp.cmd('query-pci'):
        walk(bus)
    return result


class Traps(FadumpTest):
    """See docs/architecture.md for why each of them is one."""

    def fill(self, guest):
        # User memory wherever the kernel has it, the kernel's low and high.
        guest.cmd('modprobe fadump_truth && '
                  f'truth fill -s {SEED} -o /mnt/list -n 1024', timeout=300)

    def assert_truth(self, guest):
        said = guest.cmd(f'truth check {VMCORE} /mnt/list {SEED}')
        self.assertRegex(said, r'checked [1-9]\d* differ 0 missing 0')

    def low_end(self, guest):
        """Where RAM below 4 GiB ends on this machine."""
        return {'pc': min(guest.memory, 3 * GIB)
                if guest.memory >= 3584 * MIB else guest.memory,
                'q35': 2 * GIB if guest.memory >= 2816 * MIB
                else guest.memory}[guest.machine.split(',')[0]]

    def assert_bars_clear(self, guest):
        """No BAR over RAM that the crashed machine had."""
        low = self.low_end(guest)
        found = bars(guest)
        self.assertTrue(found)
        for address, size, _ in found:
            self.assertFalse(address < low, f'BAR {address:#x} + {size:#x} '
                             f'over RAM below {low:#x}')
            if guest.memory > low:
                end = 4 * GIB + guest.memory - low
                self.assertFalse(
                    address < end and address + size > 4 * GIB,
                    f'BAR {address:#x} + {size:#x} over RAM above 4 GiB')

    def test_confinement_is_sticky(self):
        """SeaBIOS resets a second time by itself, and a guest may be reset by
        its host or by a wish of its own: all of them find the dump.

        :avocado: tags=machine:q35,kernel:6.1
        """
        guest = self.guest('6.1', memory='1G', vcpus=2)
        full = guest.mem_total()
        resets = guest.qmp.count('RESET')
        firmware = guest.firmware_starts()
        guest.crash()
        dump = self.assert_captured(guest).header['dump_id']
        # The premise: between crash and boot there was more than one reset.
        self.assertGreater(guest.qmp.count('RESET') - resets, 1)
        self.assertGreater(guest.firmware_starts() - firmware, 1)
        guest.crash('reboot -f')
        self.assertEqual(self.assert_captured(guest).header['dump_id'], dump)
        # A crash while a dump is held keeps the first one.
        guest.crash()
        self.assertEqual(self.assert_captured(guest).header['dump_id'], dump)
        # Three boots came as far as the driver, so a further one is too many:
        # a guest is never stuck with little memory.
        guest.reset()
        self.assertFalse(guest.exists(VMCORE))
        self.assert_mem_total(guest, full)
        self.assertEqual(guest.cmd(f'cat {FADUMP}/registered'), '1')

    def check_large_bar(self, machine):
        disk = self.disk(size='256M')
        guest = self.guest('6.1', machine=machine, memory='6G', vcpus=2,
                           disks=[disk],
                           args=['-device', 'pci-testdev,membar=4G'])
        guest.cmd('mount /dev/vda /mnt')
        self.fill(guest)
        before = guest.mem_total()
        guest.crash()
        self.assert_captured(guest)
        large = [b for b in bars(guest) if b[1] == 4 * GIB]
        self.assertEqual(len(large), 1, 'the BAR of 4 GiB is nowhere')
        self.assert_bars_clear(guest)
        guest.cmd('mount /dev/vda /mnt')
        self.assert_truth(guest)
        guest.cmd('umount /mnt')
        self.release(guest)
        self.assert_released(guest, before)
        self.assert_quiet(guest)

    @full_only
    def test_64bit_bar_pc(self):
        """
        :avocado: tags=machine:pc,kernel:6.1
        """
        self.check_large_bar('pc')

    def test_64bit_bar_q35(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check_large_bar('q35')

    def check_low_ram(self, machine, memory):
        """Low RAM above 2 GiB: PCI has its windows right behind it, and
        firmware must know where that is, though the boot is confined."""
        disk = self.disk(size='256M')
        guest = self.guest('6.1', machine=machine, memory=memory, vcpus=2,
                           disks=[disk])
        guest.cmd('mount /dev/vda /mnt')
        self.fill(guest)
        before = guest.mem_total()
        layout = guest.cmd('grep -i pci /proc/iomem | head -2; '
                           'cat /proc/mtrr')
        guest.crash()
        self.assert_captured(guest)
        self.assert_bars_clear(guest)
        self.assertEqual(guest.cmd('grep -i pci /proc/iomem | head -2; '
                                   'cat /proc/mtrr'), layout,
                         'the confined boot has another layout')
        guest.cmd('mount /dev/vda /mnt')
        self.assert_truth(guest)
        guest.cmd('umount /mnt')
        self.release(guest)
        self.assert_released(guest, before)
        guest.cmd('alloc 80', timeout=300)
        self.assert_quiet(guest)

    @full_only
    def test_low_ram_3g_pc(self):
        """
        :avocado: tags=machine:pc,kernel:6.1
        """
        self.check_low_ram('pc', '3G')

    @full_only
    def test_low_ram_2500m_q35(self):
        """The same, with an end that is no whole memory block.

        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check_low_ram('q35', '2500M')

    def test_unaligned_end(self):
        """1500 MiB are 11 memory blocks and 92 MiB. Those cannot be added
        again, so they are boot memory, and nothing is lost.

        :avocado: tags=machine:q35,kernel:6.1
        """
        guest = self.guest('6.1', memory='1500M', vcpus=1)
        before = guest.mem_total()
        guest.crash()
        self.assert_captured(guest)
        self.release(guest)
        self.assertNotIn('no whole memory blocks',
                         guest.cmd('dmesg | grep fadump:'))
        self.assert_released(guest, before)
        self.assert_quiet(guest)

    def test_dma32_disk(self):
        """An IDE disk reaches 4 GiB; once memory above is back, the kernel
        must have bounce buffers for it, though it booted with none above.

        :avocado: tags=machine:pc,kernel:6.1
        """
        disk = self.disk('ide', '256M', ext4=False)
        guest = self.guest('6.1', machine='pc', memory='6G', vcpus=2, args=[
            '-drive', f'file={disk.path},format=raw,if=ide,cache=unsafe'])
        before = guest.mem_total()
        guest.crash()
        self.assert_captured(guest)
        self.release(guest)
        self.assert_released(guest, before)
        guest.cmd('modprobe -a ata_piix sd_mod; for i in $(seq 50); do '
                  '[ -e /dev/sda ] && break; sleep 0.1; done')
        said = guest.cmd(f'truth dio /dev/sda 8 {SEED}', timeout=300)
        self.assertRegex(said, r'dio 2048 pages, all above 4 GiB')
        self.assert_quiet(guest)
        guest.send('poweroff -f')
        guest.wait_exit()
        # And on the host's side of the disk.
        status, said = truth('disk', disk.path, 8, SEED)
        self.assertEqual(status, 0, said)

    def test_auto_online_off(self):
        """6.1 leaves hot-added memory offline; a boot memory of one block
        has no room for the memory map of all the rest at once.

        :avocado: tags=machine:q35,kernel:6.1
        """
        guest = self.guest('6.1', memory='6G', vcpus=2,
                           fadump='boot-mem=256M')
        before = guest.mem_total()
        self.assertEqual(guest.cmd(
            'cat /sys/devices/system/memory/auto_online_blocks'), 'offline')
        guest.crash()
        self.assert_captured(guest)
        self.release(guest)
        self.assert_released(guest, before)
        self.assert_quiet(guest)

    def test_numa(self):
        """With -numa the machine's RAM is a container of two blocks, and what
        comes back belongs to the node that it came from.

        :avocado: tags=machine:q35,kernel:6.1
        """
        disk = self.disk(size='256M')
        guest = self.guest(
            '6.1', memory='6G', vcpus=2, disks=[disk],
            # Two sockets: no real core has its threads on two nodes.
            args=['-smp', 'sockets=2,cores=1,threads=1',
                  '-object', 'memory-backend-ram,id=m0,size=3G',
                  '-object', 'memory-backend-ram,id=m1,size=3G',
                  '-numa', 'node,nodeid=0,cpus=0,memdev=m0',
                  '-numa', 'node,nodeid=1,cpus=1,memdev=m1'])

        def nodes():
            return [int(n) << 10 for n in re.findall(
                r'MemTotal: +(\d+) kB',
                guest.cmd('cat /sys/devices/system/node/node[01]/meminfo'))]
        before = nodes()
        self.assertEqual(len(before), 2)
        guest.cmd('mount /dev/vda /mnt')
        self.fill(guest)
        total = guest.mem_total()
        guest.crash()
        self.assert_captured(guest)
        guest.cmd('mount /dev/vda /mnt')
        self.assert_truth(guest)
        guest.cmd('umount /mnt')
        self.release(guest)
        self.assert_released(guest, total)
        after = nodes()
        for node in (0, 1):
            # The memory map of added memory may lie on the other node.
            self.assertAlmostEqual(after[node], before[node],
                                   delta=before[node] * 0.05,
                                   msg=f'node {node}: {before} -> {after}')
        self.assert_quiet(guest)


if __name__ == '__main__':
    main()
