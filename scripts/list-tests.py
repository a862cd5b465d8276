#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""List the guest tests, for meson: "FILE TIERS", where TIERS is "guest,full", or
"full" where each case is marked @full_only; or "FILE.CLASS distro" for each class
of a file that takes disk images of Debian, whose cases take minutes: those run
side by side."""

import glob
import os
import re
import sys

os.chdir(os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])),
                      '..', 'tests', 'avocado'))
for name in sorted(glob.glob('test_*.py')):
    with open(name, encoding='utf-8') as f:
        text = f.read()
    stem = name.removesuffix('.py')
    marks = re.findall(r'^( +@full_only\n)? +def test_', text, re.M)
    if re.search('DistroImage|DistroTest', text):
        classes = re.split(r'^class (\w+)', text, flags=re.M)[1:]
        for title, body in zip(classes[::2], classes[1::2]):
            if re.search(r'^ +def test_', body, re.M):
                print(f'{stem}.{title} distro')
    else:
        print(stem, 'guest,full' if '' in marks else 'full')
