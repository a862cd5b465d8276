#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the benchmark makes of its numbers: it must not claim what was not
measured, and a part must not lose what another one found."""

import os
import re
import sys
import tempfile
import unittest

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TESTS, 'bench'), os.path.join(TESTS, 'avocado')]

import report
import stats
from fadump_test import main
from record import Record
from vmtest.guest import GuestError

MACHINE = {'cpu': 'any', 'cpus': 2, 'memory': 4 << 30, 'kernel': '6',
           'huge_pages': 'never', 'load': 0, 'qemu': '10', 'accel': 'tcg',
           'guest': '6.1', 'commit': 'none'}


class Stats(unittest.TestCase):
    def samples(self, *values):
        return [{'case': 'c', 'peer': peer, 'run': run, 'value': value}
                for run, pair in enumerate(values)
                for peer, value in zip(('ours', 'theirs'), pair)]

    def test_summary(self):
        self.assertIsNone(stats.summary([None]))
        s = stats.summary([3, None, 1, 2.5])
        self.assertEqual((s.min, s.median, s.max, len(s)), (1, 2.5, 3, 3))

    def test_ratios_are_taken_run_by_run(self):
        # A machine that was ten times as slow in the second run
        ratio = stats.ratios(self.samples((1, 2), (10, 20)), 'c', 'ours',
                             'theirs')
        self.assertEqual((ratio.min, ratio.max), (0.5, 0.5))

    def test_ratios_of_runs_that_both_have(self):
        ratio = stats.ratios(self.samples((1, 2), (1, None), (None, 2)), 'c',
                             'ours', 'theirs')
        self.assertEqual(ratio.values, [0.5])
        self.assertIsNone(stats.ratios(self.samples((1, 0)), 'c', 'ours',
                                       'theirs'))

    def test_rounded(self):
        self.assertEqual([stats.rounded(v) for v in
                          (0, 0.012345, 1.2345, 12.345, 123.45, 12345)],
                         ['0', '0.0123', '1.23', '12.3', '123', '12345'])


class Report(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = scratch.name
        self.path = os.path.join(self.scratch, 'performance.md')

    def record(self, name='part'):
        record = Record(os.path.join(self.scratch, name + '.json'), name=name,
                        title=name.title(), about='About it.',
                        command='make bench', when='now', seconds=61,
                        machine=MACHINE, runs=2, full=False)
        record.table('t', 'A table', 's', 'case', ['theirs'])
        record.target('fast', 't', 'c', 'ours', 'theirs', 0.5)
        record.data['status'] = 'ok'
        return record

    def write(self, **records):
        report.write(self.path, {n: r.data for n, r in records.items()}, {},
                     ['part', 'other'])
        with open(self.path, encoding='utf-8') as f:
            return f.read()

    def test_numbers(self):
        record = self.record()
        for run in (0, 1):
            record.add('t', 'c', 'ours', run, 1 + run)
            record.add('t', 'c', 'theirs', run, 4)
        text = self.write(part=record)
        self.assertIn('| c | ours | 1.50 (1.00–2.00) | 0.375× (0.25–0.5) | 2 |',
                      text)
        self.assertIn('fast: **met, 0.375×', text)
        self.assertIn('1:01 min', text)

    def test_failures_are_told(self):
        record = self.record()
        with record.attempt(0, ('t', 'c', 'ours')):
            raise GuestError('it died\nwith a long log')
        record.add('t', 'c', 'theirs', 0, 4)
        text = self.write(part=record)
        self.assertIn('| c | ours | – | – | 0, 1 failed |', text)
        self.assertIn('- Failed: A table: c, ours: it died\n', text)
        self.assertIn('fast: **not measured**', text)

    def test_what_came_before_a_failure_stays(self):
        record = self.record()
        with record.attempt(0, ('t', 'c', 'ours'), ('t', 'd', 'ours')):
            record.add('t', 'c', 'ours', 0, 1)
            raise GuestError('it died')
        self.assertEqual([(s['case'], s.get('value'), s.get('error'))
                          for s in record['samples']],
                         [('c', 1, None), ('d', None, 'it died')])

    def test_defects_are_not_results(self):
        record = self.record()
        with self.assertRaises(KeyError):
            with record.attempt(0, ('t', 'c', 'ours')):
                raise KeyError('a defect')

    def test_a_part_that_was_cut_off(self):
        record = self.record()
        record.data['status'] = 'interrupted'
        self.assertIn('did not come to its end** (interrupted)',
                      self.write(part=record))

    def test_other_parts_keep_their_section(self):
        other = self.record('other')
        other.add('t', 'c', 'ours', 0, 47)
        self.assertNotIn('## Part', self.write(other=other))
        record = self.record()
        record.add('t', 'c', 'ours', 0, 1)
        text = self.write(part=record)
        self.assertIn('| c | ours | 47.0 |', text)
        # and there is one of each, in their order
        self.assertEqual(re.findall('^## .*', text, re.M),
                         ['## Part', '## Other'])


if __name__ == '__main__':
    main()
