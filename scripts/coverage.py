#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Print, for each of the device's files in an lcov file, how many of its lines
have run, and which have not. A line has run if any program that has it has run
it.

  coverage.py FILE
"""

import collections
import itertools
import re
import sys


def read(path):
    """{file: {line: how often}}"""
    files = collections.defaultdict(dict)
    lines = {}
    with open(path, encoding='utf-8') as f:
        for text in f:
            key, _, value = text.strip().partition(':')
            if key == 'SF':
                # the headers that these include are in it as well
                ours = re.search(r'hw/\w+/fadump-[\w-]+\.c$', value)
                lines = files[ours[0]] if ours else {}
            elif key == 'DA':
                number, count = map(int, value.split(',')[:2])
                lines[number] = max(lines.get(number, 0), count)
    return files


def spans(numbers):
    """"12-15 20" for lines that are not more than one apart"""
    result = []
    for _, group in itertools.groupby(enumerate(numbers),
                                      lambda pair: pair[1] - pair[0]):
        group = [number for _, number in group]
        result.append(f'{group[0]}-{group[-1]}' if len(group) > 1
                      else f'{group[0]}')
    return ' '.join(result)


def row(name, ran, lines):
    percent = 100 * ran / lines if lines else 100
    print(f'{name:34} {ran:5} of {lines:5} lines  {percent:5.1f} %')


def main():
    files = read(sys.argv[1])
    total = [0, 0]
    for path, lines in sorted(files.items()):
        missed = sorted(n for n, count in lines.items() if not count)
        row(path, len(lines) - len(missed), len(lines))
        if missed:
            print(f'    not run: {spans(missed)}')
        total[0] += len(lines) - len(missed)
        total[1] += len(lines)
    row('all', *total)


main()
