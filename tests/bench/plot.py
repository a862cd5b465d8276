# SPDX-License-Identifier: GPL-2.0-or-later
"""A picture of a part's tables. Nothing here knows a guest."""

import matplotlib

matplotlib.use('svg')

# After the choice of a backend
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from stats import by_run, in_order, summary

# Colours that the colour-blind can tell apart (Okabe and Ito)
COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9',
           '#000000')
MARKERS = 'osD^vPX'
DASHES = ('-', '--', ':')
HATCHES = ('', '///', '...')

plt.rcParams.update({
    # The same numbers give the same file
    'svg.hashsalt': 'fadump-dev',
    'svg.fonttype': 'none',
    'font.family': 'sans-serif',
    'font.size': 9,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'grid.alpha': 0.3,
})


def nth(i, styles):
    """The style of the i-th peer, where there is one for each colour"""
    return styles[i % len(styles)]


def again(i, styles):
    """The style of the i-th peer, where the next one comes when all colours
    have been used"""
    return styles[i // len(COLOURS) % len(styles)]


def plain(text):
    """Without Markdown"""
    return text.replace('`', '')


def summaries(samples, peer):
    """[(case, x, Summary)] of a peer."""
    result = []
    for case in in_order(samples, 'case'):
        summed = summary(by_run(samples, case, peer).values())
        if summed:
            x = next(s['x'] for s in samples if s['case'] == case)
            result.append((case, x, summed))
    return result


def lines(axes, about, samples):
    ticks = set()
    for i, peer in enumerate(in_order(samples, 'peer')):
        points = sorted(((x, s) for _, x, s in summaries(samples, peer)),
                        key=lambda p: p[0])
        if not points:
            continue
        xs = [x for x, _ in points]
        ticks.update(xs)
        middle = [s.median for _, s in points]
        axes.errorbar(xs, middle,
                      [[m - s.min for m, (_, s) in zip(middle, points)],
                       [s.max - m for m, (_, s) in zip(middle, points)]],
                      label=plain(peer), color=nth(i, COLOURS),
                      marker=nth(i + i // len(COLOURS), MARKERS), markersize=4,
                      linestyle=again(i, DASHES), capsize=2, linewidth=1.2)
    axes.set_xscale('log', base=2)
    axes.set_yscale('log')
    axes.set_xticks(sorted(ticks))
    axes.set_xticks([], minor=True)
    low, high = axes.get_ylim()
    # Few decades need more than the powers of ten.
    axes.yaxis.set_major_locator(
        LogLocator(subs=(1, 2, 5) if high / low < 1000 else (1,)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda n, _: f'{n:g}'))
    axes.set_xlabel(about['xlabel'])
    axes.set_ylabel(about['ylabel'])


def bars(axes, about, samples):
    cases, peers = in_order(samples, 'case'), in_order(samples, 'peer')
    height = 0.8 / len(peers)
    for i, peer in enumerate(peers):
        points = [(cases.index(case), s)
                  for case, _, s in summaries(samples, peer)]
        middle = [s.median for _, s in points]
        axes.barh([at + i * height for at, _ in points], middle, height * 0.9,
                  label=plain(peer), color=nth(i, COLOURS),
                  hatch=again(i, HATCHES))
        axes.errorbar(middle, [at + i * height for at, _ in points],
                      xerr=[[m - s.min for m, (_, s) in zip(middle, points)],
                            [s.max - m for m, (_, s) in zip(middle, points)]],
                      fmt='none', ecolor='#333333', capsize=2, linewidth=0.8)
    axes.set_yticks([i + height * (len(peers) - 1) / 2
                     for i in range(len(cases))],
                    [plain(case) for case in cases])
    axes.invert_yaxis()
    axes.grid(False, axis='y')
    axes.set_xlabel(about['ylabel'])


def draw(record, path):
    """Draw the tables that are to be drawn; False if no number is there."""
    wanted = []
    for name, about in record['tables'].items():
        samples = [s for s in record['samples'] if s['table'] == name
                   and s.get('value') is not None]
        if about['plot'] and samples:
            wanted.append((about, samples))
    if not wanted:
        return False
    figure, places = plt.subplots(
        len(wanted), 1, figsize=(7.5, 3.4 * len(wanted)), squeeze=False,
        constrained_layout=True)
    for axes, (about, samples) in zip(places[:, 0], wanted):
        {'lines': lines, 'bars': bars}[about['plot']](axes, about, samples)
        axes.set_title(plain(about['title']), loc='left', fontsize=10)
        axes.legend(fontsize=7, frameon=False, loc='center left',
                    bbox_to_anchor=(1.01, 0.5))
    figure.savefig(path, metadata={'Date': None}, facecolor='white')
    plt.close(figure)
    return True
