#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure parts of fadump-dev against their peers, and write docs/performance.md
from what the last run of each part found. scripts/bench.sh runs this.
"""

import argparse
import importlib
import json
import os
import signal
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, '..', 'avocado')]

import host
import parts
import report
from lab import Lab
from record import Record
from vmtest import build

OUT = os.path.join(build.BUILD, 'bench')
DOCS = os.path.join(build.TOP, 'docs')


def say(text):
    print(text, flush=True)


def module(name):
    return importlib.import_module(f'parts.{name}')


def measure(lab, name, command):
    """Run a part; whether it came to its end."""
    part = module(name)
    say(f'\n{name}: {part.TITLE}')
    path = os.path.join(OUT, name + '.json')
    errors = os.path.join(OUT, name + '.errors')
    if os.path.exists(errors):
        os.unlink(errors)
    record = Record(path, name=name, title=part.TITLE, about=part.ABOUT,
                    command=command, when=time.strftime('%Y-%m-%d %H:%M'),
                    seconds=0, machine=host.machine(lab.kernel),
                    runs=lab.runs, full=lab.full)
    begin = time.monotonic()
    try:
        part.measure(lab, record)
        record.data['status'] = 'ok'
    except KeyboardInterrupt:
        record.data['status'] = 'interrupted'
        raise
    except Exception as exc:            # pylint: disable=broad-except
        # One part's defect must not cost the others' hours.
        record.data['status'] = 'failed'
        record.data['error'] = f'{type(exc).__name__}: {exc}'.splitlines()[0]
        traceback.print_exc()
    finally:
        record.data['seconds'] = time.monotonic() - begin
        record.write()
    failed = sum(bool(s.get('error')) for s in record['samples'])
    say(f'{name}: {record["status"]}, {record["seconds"]:.0f} s, '
        f'{len(record["samples"])} results, {failed} of them failures')
    return record['status'] == 'ok'


def write_report():
    """From what is in build/bench, whoever measured it."""
    import plot                         # slow, and needs what is installed

    records, plots = {}, {}
    for name in parts.NAMES:
        path = os.path.join(OUT, name + '.json')
        if not os.path.exists(path):
            continue
        with open(path, encoding='utf-8') as f:
            records[name] = json.load(f)
        picture = f'performance-{name}.svg'
        if plot.draw(records[name], os.path.join(DOCS, picture)):
            plots[name] = picture
    path = os.path.join(DOCS, 'performance.md')
    report.write(path, records, plots, parts.NAMES)
    say(f'\nwritten: {os.path.relpath(path, build.TOP)}, '
        f'{", ".join(plots.values()) or "no pictures"}')


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('part', nargs='*', metavar='PART',
                        help='one of: %s (default: all)'
                        % ', '.join(parts.NAMES))
    parser.add_argument('--runs', type=int, default=3, metavar='N',
                        help='runs of each (default: 3)')
    parser.add_argument('--full', action='store_true',
                        help='all sizes, up to 16 GiB of guest memory')
    parser.add_argument('--report', action='store_true',
                        help='write the report only, from the last results')
    args = parser.parse_args()
    for name in args.part:
        if name not in parts.NAMES:
            parser.error(f'there is no part {name}; there are: '
                         f'{", ".join(parts.NAMES)}')
    if args.runs < 1:
        parser.error('at least one run is needed')
    return args


def command(args):
    """What gives the same again"""
    words = ['make bench']
    if args.part:
        names = ' '.join(args.part)
        words.append(f"BENCH='{names}'" if ' ' in names else f'BENCH={names}')
    words.append(f'RUNS={args.runs}')
    if args.full:
        words.append('FULL=1')
    kver = os.environ.get('FADUMP_KVER', '6.1')
    if kver != '6.1':
        words.append(f'KVER={kver}')
    return ' '.join(words)


def interrupt(*_):
    """Ended by a signal: guests are ended, and what there is is written."""
    raise KeyboardInterrupt


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, interrupt)
    os.makedirs(OUT, exist_ok=True)
    good = True
    if not args.report:
        kernel = build.find_kernel()
        if not kernel:
            raise build.NotBuilt('no guest kernel is built: run "make bench"')
        lab = Lab(OUT, kernel, args.runs, args.full)
        try:
            for name in args.part or parts.NAMES:
                good = measure(lab, name, command(args)) and good
        finally:
            lab.close()
            write_report()
    else:
        write_report()
    return 0 if good else 1


if __name__ == '__main__':
    try:
        sys.exit(main())
    except build.NotBuilt as exc:
        print(f'bench: {exc}', file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
