# SPDX-License-Identifier: GPL-2.0-or-later
"""What a part of the benchmark has found, as it is kept in
build/bench/NAME.json:

  name, title, about    of the part
  status                ok; failed: with error; interrupted
  command, when, seconds, machine, runs, full
  tables                {id: title, unit, of (what a case is), baselines,
                         bigger (is better), plot (lines, bars or none),
                         xlabel, ylabel}
  targets               [text, table, case, peer, baseline, at_most]
  samples               [table, case, x, peer, run, and value, or error, and
                         perhaps method]
  skipped               [table, case, peer, reason]
  notes                 [text]
"""

import contextlib
import json
import os

from vmtest.guest import CommandFailed, GuestError
from vmtest.qmp import QmpError

# What may befall a guest; all else is a defect here.
TROUBLE = (GuestError, QmpError, OSError, TimeoutError, EOFError, ValueError)


def trouble(exc):
    """One line for what went wrong."""
    if isinstance(exc, CommandFailed):
        said = ' / '.join(exc.output.splitlines()[-2:])
        return f'status {exc.status}: {said}'
    return (str(exc).strip() or type(exc).__name__).splitlines()[0]


class Record:
    def __init__(self, path, **head):
        self.path = path
        self.data = dict(head, status='running', tables={}, targets=[],
                         samples=[], skipped=[], notes=[])

    def __getitem__(self, key):
        return self.data[key]

    def table(self, name, title, unit, of, baselines=(), bigger=False,
              plot='', xlabel='', ylabel=''):
        self.data['tables'][name] = {
            'title': title, 'unit': unit, 'of': of,
            'baselines': list(baselines), 'bigger': bigger, 'plot': plot,
            'xlabel': xlabel, 'ylabel': ylabel or unit}

    def target(self, text, table, case, peer, baseline, at_most):
        """baseline as stats.ratios() takes it"""
        self.data['targets'].append(
            {'text': text, 'table': table, 'case': case, 'peer': peer,
             'baseline': baseline, 'at_most': at_most})

    def add(self, table, case, peer, run, value, x=None, method=None):
        self._sample(table, case, peer, run, x, value=value, method=method)

    def _sample(self, table, case, peer, run, x=None, **what):
        self.data['samples'].append(
            {'table': table, 'case': case, 'x': x, 'peer': peer, 'run': run} |
            {k: v for k, v in what.items() if v is not None})
        text = what.get('error') or f'{what["value"]:.4g} ' + \
            self.data['tables'][table]['unit']
        print(f'        run {run + 1}: {case}, {peer}: {text}', flush=True)
        self.write()

    def skip(self, table, case, peer, reason):
        """Not run. Nothing is claimed of it."""
        entry = {'table': table, 'case': case, 'peer': peer, 'reason': reason}
        if entry not in self.data['skipped']:
            self.data['skipped'].append(entry)
            print(f'        not run: {case}, {peer}: {reason}', flush=True)

    def note(self, text):
        if text not in self.data['notes']:
            self.data['notes'].append(text)

    @contextlib.contextmanager
    def attempt(self, run, *wanted):
        """One run of what gives the wanted (table, case, peer): a failure of
        the guest is a result, too, and those it leaves without value have
        it."""
        try:
            yield
        except TROUBLE as exc:
            error = trouble(exc)
            have = {(s['table'], s['case'], s['peer'])
                    for s in self.data['samples'] if s['run'] == run}
            for table, case, peer in wanted:
                if (table, case, peer) not in have:
                    self._sample(table, case, peer, run, error=error)
            with open(os.path.splitext(self.path)[0] + '.errors', 'a',
                      encoding='utf-8') as f:
                f.write(f'run {run + 1}, {wanted[0]}: {exc}\n\n')

    def write(self):
        # As a whole or not at all
        with open(self.path + '.new', 'w', encoding='utf-8') as f:
            json.dump(self.data, f, indent=1)
            f.write('\n')
        os.replace(self.path + '.new', self.path)
