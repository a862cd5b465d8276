#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""List the files of guest tests, for meson: "NAME TIERS CLASS...", where TIERS is
"guest,full", or "full" where each case is marked @full_only, or "distro" where
the file takes disk images of Debian. Only of these, where a case takes minutes,
classes are named: each is a test of its own, to run side by side."""

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
    if re.search('DistroImage|DistroTest', text):
        classes = re.split(r'^class (\w+)', text, flags=re.M)[1:]
        print(name, 'distro', *(
            title for title, body in zip(classes[::2], classes[1::2])
            if re.search(r'^ +def test_', body, re.M)))
    else:
        print(name, 'guest,full' if '' in marks else 'full')
