# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/performance.md out of the parts' records. Nothing here knows a guest.

The section of each part stands between two comments. A part of which there is
no record here keeps the section that the document has; one that was never run
has none."""

import os
import re

from stats import by_run, failures, in_order, ratios, rounded, summary

HEAD = '''<!-- SPDX-License-Identifier: GPL-2.0-or-later -->
<!-- Written by "make bench" -->
# Performance

`make bench` writes this document; `make help` lists its parts and options. Each
part says which command measured it, when, and on what machine; numbers of
different machines do not compare. What is compared was measured in the same run,
one after the other, run by run. A number is the median of the runs, with the
smallest and the largest in parentheses, which say how far to trust it. The ratio to
a peer (*÷ peer*) is taken run by run, too. Raw numbers are in `build/bench/*.json`.
'''

NOT_RUN = 'Not run.'


def cell(summed, unit=''):
    if not summed:
        return '–'
    text = rounded(summed.median) + unit
    if len(summed) > 1:
        text += f' ({rounded(summed.min)}–{rounded(summed.max)})'
    return text


def row(cells):
    return '| ' + ' | '.join(cells) + ' |'


def baseline_name(baseline):
    return baseline if isinstance(baseline, str) else baseline[0]


def table(record, name):
    about = record['tables'][name]
    samples = [s for s in record['samples'] if s['table'] == name]
    ways = any(s.get('method') for s in samples)
    baselines = [b for b in about['baselines']
                 if any(s['peer'] == (b if isinstance(b, str) else b[1])
                        for s in samples)]
    lines = [f'### {about["title"]}', '']
    if not samples:
        return lines + [NOT_RUN, '']
    head = [about['of'], '', *(['way'] if ways else []), about['unit'],
            *(f'÷ {baseline_name(b)}' for b in baselines), 'runs']
    lines += [row(head), row(['---'] * len(head))]
    for case in in_order(samples, 'case'):
        first = True
        mine = [s for s in samples if s['case'] == case]
        for peer in in_order(mine, 'peer'):
            values = by_run(samples, case, peer)
            failed = failures(samples, case, peer)
            cells = [case if first else '', peer]
            if ways:
                cells.append(', '.join(in_order(
                    [s for s in mine if s['peer'] == peer and
                     s.get('method')], 'method')) or '')
            cells.append(cell(summary(values.values())))
            for b in baselines:
                ratio = ratios(samples, case, peer, b)
                same = b in (peer, (case, peer), [case, peer])
                cells.append('' if same else cell(ratio, '×'))
            cells.append(str(len(values)) + (
                f', {len(failed)} failed' if failed else ''))
            lines.append(row(cells))
            first = False
    return lines + ['']


def problems(record):
    """What failed and what was not run, with the reasons."""
    lines = []
    for s in in_order_of_place([s for s in record['samples']
                                if s.get('error')]):
        where = f'{record["tables"][s["table"]]["title"]}: '
        lines.append(f'- Failed: {where}{s["case"]}, {s["peer"]}: '
                     f'{s["error"]}')
    for s in record['skipped']:
        lines.append(f'- Not run: {s["case"]}, {s["peer"]}: {s["reason"]}')
    lines += [f'- {note}' for note in record['notes']]
    return lines + [''] if lines else []


def in_order_of_place(samples):
    """One of each place and text."""
    seen = {}
    for s in samples:
        seen.setdefault((s['table'], s['case'], s['peer'], s['error']), s)
    return seen.values()


def targets(record):
    lines = []
    for t in record['targets']:
        samples = [s for s in record['samples'] if s['table'] == t['table']]
        ratio = ratios(samples, t['case'], t['peer'], t['baseline'])
        if not ratio:
            said = 'not measured'
        else:
            said = ('met' if ratio.median <= t['at_most'] else 'missed') + \
                f', {cell(ratio, "×")}'
        lines.append(f'- {t["text"]}: **{said}**')
    return ['Targets:', '', *lines, ''] if lines else []


def origin(record):
    m = record['machine']
    gib = m['memory'] / (1 << 30)
    minutes, seconds = divmod(round(record['seconds']), 60)
    return (f'`{record["command"]}`, {record["when"]}, '
            f'{minutes}:{seconds:02} min, runs: {record["runs"]}. '
            f'Host: {m["cpus"]} × {m["cpu"]}, {gib:.0f} GiB, Linux '
            f'{m["kernel"]}, huge pages: {m["huge_pages"]}, load before: '
            f'{m["load"]:.1f}. QEMU {m["qemu"]}, {m["accel"].upper()}; guest '
            f'Linux {m["guest"]}; commit {m["commit"]}.')


def section(record, plot):
    lines = [f'## {record["title"]}', '', *record['about'].strip().split('\n'),
             '', origin(record), '']
    if record['status'] != 'ok':
        lines += [f'**This part did not come to its end** ({record["status"]}'
                  + (f': {record["error"]}' if record.get('error') else '') +
                  '). What it had measured before is here.', '']
    lines += targets(record)
    if plot:
        lines += [f'![{record["title"]}]({plot})', '']
    for name in record['tables']:
        lines += table(record, name)
    lines += problems(record)
    return '\n'.join(lines).rstrip() + '\n'


def old_sections(path):
    """The sections that the document has now."""
    if not os.path.exists(path):
        return {}
    with open(path, encoding='utf-8') as f:
        text = f.read()
    return dict(re.findall(r'^<!-- part (\w+) -->\n(.*?)^<!-- end \1 -->$',
                           text, re.M | re.S))


def write(path, records, plots, names):
    """records, plots: by part; names: of all parts, in their order"""
    old = old_sections(path)
    text = HEAD
    for name in names:
        if name in records:
            body = section(records[name], plots.get(name))
        elif name in old:
            body = old[name]
        else:
            continue
        text += f'\n<!-- part {name} -->\n{body}<!-- end {name} -->\n'
    with open(path + '.new', 'w', encoding='utf-8') as f:
        f.write(text)
    os.replace(path + '.new', path)
