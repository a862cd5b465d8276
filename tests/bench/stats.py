# SPDX-License-Identifier: GPL-2.0-or-later
"""What is made of the numbers of several runs. Nothing here knows a guest."""

import statistics


class Summary:
    """Minimum, median and maximum of numbers of which there is one at least."""

    def __init__(self, values):
        self.values = list(values)
        self.min = min(self.values)
        self.median = statistics.median(self.values)
        self.max = max(self.values)

    def __len__(self):
        return len(self.values)


def summary(values):
    """None where there are no numbers."""
    values = [v for v in values if v is not None]
    return Summary(values) if values else None


def by_run(samples, case, peer):
    """The values of one case and peer: {run: value}. A run that failed has
    none."""
    return {s['run']: s['value'] for s in samples
            if s['case'] == case and s['peer'] == peer
            and s.get('value') is not None}


def failures(samples, case, peer):
    """Why runs of that case and peer have no value, one text each."""
    return [s['error'] for s in samples
            if s['case'] == case and s['peer'] == peer and s.get('error')]


def ratios(samples, case, peer, baseline):
    """Summary of peer / baseline: each run is compared with the same run, so
    that what disturbs the machine for minutes disturbs both. baseline is a
    peer, or (case, peer) for one of another case."""
    other = baseline if isinstance(baseline, (tuple, list)) else (case,
                                                                  baseline)
    above, below = by_run(samples, case, peer), by_run(samples, *other)
    return summary(above[run] / below[run] for run in above
                   if below.get(run))


def in_order(samples, key):
    """Values of a key in the order of their first appearance."""
    return list(dict.fromkeys(s[key] for s in samples))


def rounded(value):
    """Three digits that count."""
    if value == 0:
        return '0'
    if abs(value) >= 100:
        return f'{value:.0f}'
    if abs(value) >= 10:
        return f'{value:.1f}'
    if abs(value) >= 1:
        return f'{value:.2f}'
    return f'{value:.3g}'
