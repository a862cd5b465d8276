#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Confined boots do not hang."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fadump_test import SOAK, FadumpTest, build, full_only, main

BOOTS = 50 if SOAK else 12
# Some ten times what a boot takes: a stall of RCU alone reports after 21 s.
DEADLINE = 120 * build.TIMEOUT_SCALE


class Soak(FadumpTest):
    """One dump, and boot after boot with it held."""

    def check(self, kernel, machine):
        guest = self.guest(kernel, machine=machine, memory='2G', vcpus=4,
                           fadump=f'max-boots={2 * BOOTS}')
        guest.crash()
        for number in range(1, BOOTS + 1):
            begin = time.monotonic()
            self.assertEqual(guest.cmd('nproc'), '4')
            self.assert_captured(guest)
            self.assert_quiet(guest)
            guest.reset(timeout=DEADLINE)
            print(f'# confined boot {number}: '
                  f'{time.monotonic() - begin:.1f} s', file=sys.stderr)

    @full_only
    def test_confined_boots(self):
        """
        :avocado: tags=machine:q35,kernel:6.1
        """
        self.check('6.1', 'q35')


if __name__ == '__main__':
    main()
