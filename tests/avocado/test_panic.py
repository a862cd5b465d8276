#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that panics is captured, boots again through its firmware in boot
memory, shows the dump, and gets its memory back."""

import itertools
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import SOAK, FadumpTest, full_only, main

SYSRQ = 'echo c > /proc/sysrq-trigger'
OOPS = ('modprobe fadump_oops; echo 1 > /proc/sys/kernel/panic_on_oops; '
        'echo 1 > /sys/kernel/debug/fadump_oops/null')


class Panic(FadumpTest):
    """Every machine with every memory size; vCPUs, kernels and ways to panic
    spread over them so that each meets each machine and each kernel. In
    test_all each two of these five meet, and in make check-soak all of them."""

    def check(self, machine, vcpus, memory, kernel, panic):
        guest = self.guest(kernel, cold=True, machine=machine, vcpus=vcpus,
                           memory=memory)
        before = guest.mem_total()
        identity = 'uname -r; cat /proc/cmdline'
        first = guest.cmd(identity)
        self.assertNotIn('kaslr', first)
        firmware = guest.firmware_starts()
        resets = guest.qmp.count('RESET')

        guest.crash(panic)

        self.assertGreater(guest.firmware_starts(), firmware,
                           'no firmware ran between the crash and this boot')
        self.assertGreater(guest.qmp.count('RESET'), resets)
        self.assertEqual(guest.cmd(identity), first,
                         'another kernel or command line after the crash')
        descriptor = self.assert_captured(guest)
        self.assertLess(descriptor.crash_cpu, vcpus)
        self.assertGreater(guest.qmp.count('GUEST_CRASHLOADED'), 0)
        self.assertEqual(guest.qmp.count('GUEST_PANICKED'), 0)

        self.release(guest)
        self.assert_released(guest, before)
        self.assert_quiet(guest)
        guest.close()

    def test_pc_1g(self):
        """
        :avocado: tags=machine:pc,kernel:6.1
        """
        self.check('pc', 1, '1G', '6.1', SYSRQ)

    @full_only
    def test_pc_2g(self):
        """
        :avocado: tags=machine:pc,kernel:6.1
        """
        self.check('pc', 2, '2G', '6.1', OOPS)

    @full_only
    def test_pc_3g(self):
        """
        :avocado: tags=machine:pc,kernel:6.1
        """
        self.check('pc', 4, '3G', '6.1', OOPS)

    def test_pc_6g(self):
        """
        :avocado: tags=machine:pc,kernel:6.12
        """
        self.check('pc', 2, '6G', '6.12', SYSRQ)

    def test_q35_1g(self):
        """
        :avocado: tags=machine:q35,kernel:6.12
        """
        self.check('q35', 4, '1G', '6.12', SYSRQ)

    def test_q35_2g(self):
        """
        :avocado: tags=machine:q35,kernel:7
        """
        self.check('q35', 1, '2G', '7', OOPS)

    @full_only
    def test_q35_3g(self):
        """
        :avocado: tags=machine:q35,kernel:6.12
        """
        self.check('q35', 2, '3G', '6.12', SYSRQ)

    def test_q35_6g(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check('q35', 4, '6G', '6.1', OOPS)

    @full_only
    def test_all(self):
        """
        :avocado: tags=machine:pc,machine:q35,kernel:6.1,kernel:6.12,kernel:7
        """
        kernels, panics = ('6.1', '6.12', '7'), (SYSRQ, OOPS)
        for i, (machine, vcpus, memory) in enumerate(itertools.product(
                ('pc', 'q35'), (1, 2, 4), ('1G', '2G', '3G', '6G'))):
            pairs = [(kernels[(i + i // 4 + i // 12) % 3],
                      panics[(i + i // 3 + i // 4) % 2])]
            if SOAK:
                pairs = itertools.product(kernels, panics)
            for kernel, panic in pairs:
                with self.subTest(machine=machine, vcpus=vcpus, memory=memory,
                                  kernel=kernel, panic=panic):
                    self.check(machine, vcpus, memory, kernel, panic)


if __name__ == '__main__':
    main()
