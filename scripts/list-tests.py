#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""List the files of guest tests, for meson: "NAME TIERS", where TIERS is
"guest,full", or "full" where each case is marked @full_only, or "distro" where
the file takes disk images of Debian."""

import glob
import os
import re
import sys

os.chdir(os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])),
                      '..', 'tests', 'avocado'))
for name in sorted(glob.glob('test_*.py')):
    with open(name, encoding='utf-8') as f:
        text = f.read()
    marks = re.findall(r'^( +@full_only\n)? +def test_', text, re.M)
    print(name, 'distro' if re.search('DistroImage|DistroTest', text) else
          'guest,full' if '' in marks else 'full')
