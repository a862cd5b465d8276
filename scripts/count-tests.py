#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Print the time of each program, and at the end "N passed, N failed, N
skipped", for a run of meson or of unittest.

  count-tests.py MESON_LOGS          the directory with testlog.json
  count-tests.py --unittest LOG      the output of python3 -m unittest -v

Test cases are counted, not the programs that hold them. The exit status is 1
if a case failed or if none ran.
"""

import json
import os
import re
import sys
import xml.etree.ElementTree as ElementTree

# What meson says of a program that came to no proper end, or said nothing.
BROKEN = {'FAIL', 'ERROR', 'TIMEOUT', 'INTERRUPT', 'UNEXPECTEDPASS'}


def junit_cases(path):
    """[passed, failed, skipped] of each program, by its name."""
    programs = {}
    for suite in ElementTree.parse(path).getroot().iter('testsuite'):
        for case in suite.findall('testcase'):
            # A program that speaks TAP is a suite of its own; the others are
            # the cases of one suite.
            name = suite.get('name', '').split('.', 1)[-1]
            counts = programs.setdefault(name, [0, 0, 0])
            if case.find('failure') is not None or case.find('error') is not None:
                counts[1] += 1
            elif case.find('skipped') is not None:
                counts[2] += 1
            else:
                counts[0] += 1
    return programs


def count_meson(logs):
    passed = failed = skipped = 0
    report = os.path.join(logs, 'testlog.junit.xml')
    if not os.path.exists(report):
        # There is no such test, or meson itself has failed.
        print('no test was run')
        return 0, 1, 0
    for counts in junit_cases(report).values():
        passed += counts[0]
        failed += counts[1]
        skipped += counts[2]
    broken, times = [], []
    with open(os.path.join(logs, 'testlog.json'), encoding='utf-8') as log:
        for line in log:
            test = json.loads(line)
            times.append((test['duration'], test['name'].split(' / ')[-1]))
            if test['result'] in BROKEN:
                broken.append(test)
    for seconds, name in sorted(times, reverse=True):
        print(f'{seconds:8.1f} s  {name}')
    # A program that was killed, or crashed, may have no case that failed: it
    # is one failure none the less.
    for test in broken:
        if not re.search(r'^not ok', test.get('stdout', ''), re.M):
            name = test['name'].split(' / ')[-1]
            print(f'{name}: {test["result"]}, without a failed case of its own'
                  f'; the last case that ended: {last_case(test)}')
            if not case_failed(logs, name):
                failed += 1
    return passed, failed, skipped


def last_case(test):
    """A case that aborts its program prints no line of its own: it is the next
    one of the list that the program's --tap -l, or its source, has."""
    cases = re.findall(r'^ok \d+ *(.*)', test.get('stdout', ''), re.M)
    return cases[-1] if cases else 'none'


def case_failed(logs, name):
    """Whether meson's report has a failed case for the program."""
    root = ElementTree.parse(os.path.join(logs, 'testlog.junit.xml')).getroot()
    for suite in root.iter('testsuite'):
        for case in suite.findall('testcase'):
            if name in (case.get('name'), suite.get('name', '').split('.')[-1]):
                if case.find('failure') is not None or case.find('error') is not None:
                    return True
    return False


def count_unittest(path):
    with open(path, encoding='utf-8', errors='replace') as log:
        text = log.read()
    ran = re.findall(r'^Ran (\d+) tests?', text, re.M)
    if not ran:
        return 0, 1, 0
    def number(what):
        found = re.findall(rf'^(?:OK|FAILED) \(.*?\b{what}=(\d+)', text, re.M)
        return int(found[-1]) if found else 0
    skipped = number('skipped')
    # A test that could not be imported counts as one that ran.
    failed = number('failures') + number('errors') + number('unexpected successes')
    return max(0, int(ran[-1]) - failed - skipped), failed, skipped


def main():
    if len(sys.argv) == 3 and sys.argv[1] == '--unittest':
        passed, failed, skipped = count_unittest(sys.argv[2])
    elif len(sys.argv) == 2:
        passed, failed, skipped = count_meson(sys.argv[1])
    else:
        sys.exit(__doc__)
    print(f'{passed} passed, {failed} failed, {skipped} skipped')
    sys.exit(1 if failed or not passed + skipped else 0)


main()
