#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run one of the fuzzers of this directory: its corpus, then new inputs.

  run.py NAME PROGRAM --runs N        so many inputs, each time the same ones
  run.py NAME PROGRAM --seconds S     for so long, each time other ones

What it finds that is new is kept in build/fuzz/NAME/corpus, and where the next
run begins; an input that fails in build/fuzz/NAME/. Says what came of it as
TAP: one case for the corpus in the tree, one for the new inputs.
"""

import argparse
import glob
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get('FADUMP_BUILD', os.path.join(TOP, 'build'))

# QEMU frees nothing at its end. It takes --fuzz-target first.
QEMU = ['-detect_leaks=0', '-max_len=1024']

# {fuzzer: ([corpus], [option of libFuzzer])}
FUZZERS = {
    'driver-desc': (['desc'], []),
    'driver-bootmem': (['bootmem'], ['-use_value_profile=1']),
    'qemu-desc': (['desc'], []),
    'qemu-range': (['range'], ['-max_len=600']),
    'ctl-oops': (['oops', '../../unit/kernel-logs'],
                 ['-dict=oops.dict', '-max_len=16384']),
    'ctl-text': (['text'], ['-dict=json.dict']),
    'ctl-qmp': (['qmp'], ['-dict=json.dict']),
    # QEMU's fuzzer, built by scripts/qemu-sanitize.sh, with one target of it
    'device': (['device'], [*QEMU, '--fuzz-target=fadump']),
    'device-swap': (['device'], [*QEMU, '--fuzz-target=fadump-swap']),
    'device-copy': (['device'], [*QEMU, '--fuzz-target=fadump-copy']),
    'device-full': (['device'], [*QEMU, '--fuzz-target=fadump-full']),
    'device-generic': (['generic'], [
        *QEMU, '--fuzz-target=generic-fuzz-virtio-fadump']),
}

# For one input, in seconds: the longest take a few milliseconds
TIMEOUT = 20


def environment(options):
    env = dict(os.environ)
    env['UBSAN_OPTIONS'] = 'print_stacktrace=1'
    leaks = 0 if '-detect_leaks=0' in options else 1
    env['ASAN_OPTIONS'] = f'detect_leaks={leaks}:max_allocation_size_mb=4096'
    # so that every byte that GLib hands out is one of its own, with its end
    env['G_SLICE'] = 'always-malloc'
    return env


def run(program, options, corpora, log):
    """Its exit status and output; also to the file @log."""
    # the target comes first
    options = sorted(options, key=lambda o: not o.startswith('--'))
    result = subprocess.run(
        [program, *options, f'-timeout={TIMEOUT}', '-rss_limit_mb=4096',
         '-print_final_stats=1', *corpora],
        cwd=HERE, env=environment(options), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    text = result.stdout.decode(errors='replace')
    with open(log, 'w', encoding='utf-8') as f:
        f.write(text)
    # QEMU goes on at what is undefined, for not all of that is ours
    ours = re.search(r'fadump[\w-]*\.[ch]:\d+:\d+: runtime error', text)
    return result.returncode or (1 if ours else 0), text


def say(ok, number, what, text, log):
    print(f'{"ok" if ok else "not ok"} {number} - {what}')
    if not ok:
        lines = text.splitlines()
        # the first report is the cause, the last lines say where the input is
        start = next((i for i, line in enumerate(lines) if re.search(
            r'not so:|runtime error:|ERROR:', line)), len(lines))
        shown = lines[start:start + 30]
        shown += [line for line in lines if 'Test unit written' in line]
        for line in shown or lines[-30:]:
            print('# ' + line)
        print(f'# all of it: {log}')


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('name', choices=sorted(FUZZERS))
    parser.add_argument('program', type=os.path.abspath)
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument('--runs', type=int)
    group.add_argument('--seconds', type=int)
    args = parser.parse_args()

    corpora, options = FUZZERS[args.name]
    corpora = [os.path.normpath(os.path.join(HERE, 'corpus', c))
               for c in corpora]
    corpora = [c for c in corpora if os.path.isdir(c)]
    work = os.path.join(BUILD, 'fuzz', args.name)
    found = os.path.join(work, 'corpus')
    if args.runs:
        # the same inputs again: from what is in the tree alone
        work = os.path.join(work, 'check')
        found = os.path.join(work, 'corpus')
        shutil.rmtree(work, ignore_errors=True)
    os.makedirs(found, exist_ok=True)
    artifacts = f'-artifact_prefix={work}/'

    print('1..2')
    files = sum(len(glob.glob(os.path.join(c, '*'))) for c in corpora)
    log = os.path.join(work, 'corpus.log')
    rc, text = run(args.program, [*options, artifacts, '-runs=0'], corpora,
                   log)
    say(rc == 0, 1, f'{files} inputs of the tree', text, log)
    failed = rc != 0

    log = os.path.join(work, 'run.log')
    if args.runs:
        options = [*options, f'-runs={args.runs}', '-seed=1']
    else:
        options = [*options, f'-max_total_time={args.seconds}']
    rc, text = run(args.program, [*options, artifacts],
                   [found, *corpora], log)
    number = re.findall(r'stat::number_of_executed_units: (\d+)', text)
    cov = re.findall(r'\bcov: (\d+)', text)
    say(rc == 0, 2, f'{number[-1] if number else "no"} inputs, '
        f'{cov[-1] if cov else 0} edges reached', text, log)
    sys.exit(1 if failed or rc else 0)


if __name__ == '__main__':
    main()
