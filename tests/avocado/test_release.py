#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""After release_mem the guest has all its memory, and the next crash in the
same run is captured like the first."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import FadumpTest, full_only, main


class Release(FadumpTest):
    """Crash, release, use the memory, crash again."""

    def check(self, crashes, **options):
        guest = self.guest(vcpus=2, **options)
        before = guest.mem_total()
        dumps = set()
        for number in range(1, crashes + 1):
            guest.crash()
            descriptor = self.assert_captured(guest)
            dumps.add(descriptor.header['dump_id'])
            self.assertEqual(len(dumps), number, 'a dump id came twice')
            # The dump is of the boot that died: its log has its boot's crash.
            self.release(guest)
            self.assert_released(guest, before)
            if number in (1, crashes):
                said = guest.cmd('alloc 80', timeout=300)
                self.assertRegex(said, r'alloc \d+ MiB of \d+ MiB written')
                mib = int(re.search(r'alloc (\d+)', said).group(1))
                self.assertGreater(mib, before * 0.79 / (1 << 20))
            self.assert_quiet(guest)

    def test_three_in_a_row(self):
        """
        :avocado: tags=machine:q35,kernel:7
        """
        self.check(3, kernel='7', machine='q35', memory='2G')

    def test_above_4g(self):
        """
        :avocado: tags=machine:pc,kernel:6.12
        """
        self.check(1, kernel='6.12', machine='pc', memory='6G')

    @full_only
    def test_ten_in_a_row(self):
        """
        :avocado: tags=machine:q35,kernel:6.1,kernel:6.12,kernel:7
        """
        for kernel in ('6.1', '6.12', '7'):
            with self.subTest(kernel=kernel):
                self.check(10, kernel=kernel, machine='q35', memory='2G')


if __name__ == '__main__':
    main()
