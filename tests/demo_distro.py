#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Crash an installed Debian, and show how it comes back: by itself, with every
service, all its memory, and its dump in /var/crash.

The image has our packages from build/packages and is otherwise Debian's
(scripts/distro-image.sh). With COMPARE=1 the same crash happens under plain
kdump, and under Debian's kdump-tools with the driver alone, and the times are
shown beside each other. What is left is in build/demo-distro.
"""

import os
import re
import shutil
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                'avocado'))

from demo import MIB, crash_show_all, quote, say, step
from vmtest import build
from vmtest.distro import PROMPT, DistroGuest
from vmtest.guest import Disk, GuestError

OUT = os.path.join(build.BUILD, 'demo-distro')
SUITE = os.environ.get('SUITE', 'bookworm')
MEMORY = '2G'
LARGE = 1200                    # MiB that one service has

# Lines of the console that are worth one here: who boots, how it dies, what
# driver and services say of the dump, the prompt.
WORTH = re.compile(r'Linux version|\] fadump: |sysrq: Trigger|'
                   r'fadump-(boot|save)|Starting .*kdump-|kdump-tools\[|'
                   r'login: ')

# What is told of a boot after a crash, and the line of the console that says so
MILESTONES = (
    ('kernel', r'\] Linux version '),
    ('save starts', r'Starting .*(fadump-save|kdump-tools)'),
    ('memory back', r'\] fadump: released: '),
    ('login prompt', f'^{PROMPT}$'),
)


class DemoGuest(DistroGuest):
    def _on_line(self, line):
        super()._on_line(line)
        text = re.sub(r'\[ *\d+\.\d+\] |\x1b\[[\d;]*\w', '', line)
        text = re.sub(r'(Linux version \S+) .*', r'\1', text)
        if WORTH.search(line):
            quote('guest', text)


class Story:
    """One guest's crash; times are seconds since then."""

    def __init__(self, title, name, **options):
        self.title = title
        self.image = build.DistroImage(name)
        self.directory = os.path.join(OUT, name + (
            '' if options.get('fadump', '') is not None else '-kdump'))
        self.options = options
        self.seconds = {}

    def run(self, after=None):
        """Boot, crash, wait for production. after: looks at what there is
        then."""
        step(f'{self.title}: Debian starts ({SUITE}, {self.image.kernel}, '
             f'{MEMORY}, 2 vCPUs)')
        disk = None
        if after:
            os.makedirs(self.directory)
            disk = Disk(os.path.join(self.directory, 'disk.img'), '2G')
        guest = DemoGuest(self.directory, image=self.image, memory=MEMORY,
                          vcpus=2, disks=[disk] if disk else [],
                          **self.options)
        try:
            self._run(guest)
            if after:
                after(self, guest, disk)
        finally:
            guest.close()

    def _run(self, guest):
        guest.boot()
        state = guest.wait_settled()
        if state != 'running':
            raise GuestError(f'systemd says: {state}\n{guest.failed_units()}')
        guest.add_service('large', megabytes=LARGE)
        guest.wait_for('the large service', lambda:
                       guest.main_rss('large') >= LARGE * MIB)
        self.units, self.total = guest.units(), guest.mem_total()
        say(f'{len(self.units)} units run, a service with {LARGE} MB among '
            f'them; MemTotal is {self.total >> 10} kB.')
        self.ready(guest)
        guest.cmd('sync')

        step(f'{self.title}: echo c > /proc/sysrq-trigger')
        guest.crash_begins()
        guest.send('echo c > /proc/sysrq-trigger')
        guest.wait_production(self.units, self.total)
        # Each of its units runs, and all its memory is there.
        self.seconds['production'] = guest.timeline.seconds()
        guest.wait_login()
        time.sleep(0.3)         # the console's last lines
        for what, pattern in MILESTONES:
            self.seconds[what] = (guest.timeline.last(pattern)
                                  if what == 'login prompt' else
                                  guest.timeline.first(pattern))
        self.kernels = guest.timeline.count(r'\] Linux version ')
        self.dumps = guest.dumps()
        say(f'in production after {self.seconds["production"]:.0f} s: all '
            f'{len(self.units)} units run, MemTotal is '
            f'{guest.mem_total() >> 10} kB;')
        say(f'a kernel was booted {self.kernels} times, {len(self.dumps)} '
            'dumps are in /var/crash.')

    def ready(self, guest):
        """Who would take a crash now?"""
        loaded = guest.cmd('cat /sys/kernel/kexec_crash_loaded')
        if self.options.get('fadump', '') is None:
            if loaded != '1':
                raise GuestError('no kdump kernel is loaded: see console.log')
            say('A kdump kernel is loaded, in memory that is reserved for it.')
        else:
            if guest.cmd('cat /sys/kernel/fadump/registered') != '1' or \
                    loaded == '1':
                raise GuestError('fadump would not take a crash: see '
                                 'console.log')
            say('fadump is registered; nothing is reserved.')


def look(story, guest, disk):
    """What a user wants to know of the one that has our packages."""
    step('What is there now')
    if story.kernels != 1 or len(story.dumps) != 1:
        raise GuestError('that was more than one reboot, or not one dump')
    (directory, files), = story.dumps.items()
    for name, size in sorted(files.items()):
        quote('guest', f'/var/crash/{directory}/{name}, {size >> 10} KiB')
    failed = guest.failed_units()
    if failed:
        raise GuestError(f'failed units:\n{failed}')
    if guest.cmd('cat /sys/kernel/fadump/registered') != '1':
        raise GuestError('the guest did not register again')
    say('No unit has failed. The guest is registered: the next crash is '
        'captured, too.')
    core = next(f for f in files if re.match(r'(dump|vmcore)', f))
    guest.cmd('for d in /dev/vd?; do blkid -p -o value -s USAGE $d | '
              'grep -qx filesystem && mount -t ext4 $d /mnt; done; '
              f'cp /var/crash/{directory}/* /mnt/ && umount /mnt', timeout=900)
    for name in files:
        disk.get(name, os.path.join(story.directory, name))
    os.unlink(disk.path)
    step('On the host: crash(8) opens the dump')
    crash_show_all(guest.kernel, os.path.join(story.directory, core))


def seconds(value):
    return '-' if value is None else f'{value:.0f}'


def report(stories):
    step('The time that it took, in seconds after the crash')
    names = [what for what, _ in MILESTONES] + ['production']
    say(f'{"":<28}' + ''.join(f'{n:>14}' for n in names) +
        f'{"boots":>8}{"dumps":>8}')
    for s in stories:
        times = ''.join(f'{seconds(s.seconds[n]):>14}' for n in names)
        say(f'{s.title:<28}{times}{s.kernels:>8}{len(s.dumps):>8}')
    say('production: every unit that ran before runs, and all memory is there.')
    kdump = [s for s in stories if s.options.get('fadump', '') is None]
    if kdump:
        # With kdump it is back in production, after the second boot.
        back, production = (stories[0].seconds[what] /
                            kdump[0].seconds['production']
                            for what in ('memory back', 'production'))
        say(f'{stories[0].title} had all memory back after {back:.2f} of the '
            f'time of {kdump[0].title}, and was in production after '
            f'{production:.2f}.')


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    os.sync()       # a new image would be written while the first guest boots
    stories = [Story('fadump', SUITE)]
    if os.environ.get('COMPARE'):
        stories += [Story('plain kdump', f'{SUITE}-plain-kdump', fadump=None),
                    Story('kdump-tools and driver', f'{SUITE}-driver-kdump')]
    for story in stories:
        story.run(look if story is stories[0] else None)
    report(stories)
    step('Done')
    say(f'{OUT} has the dump, what crash printed, and the logs.')


if __name__ == '__main__':
    try:
        main()
    except (build.NotBuilt, GuestError, OSError, TimeoutError) as exc:
        print(f'demo-distro: {exc}\ndemo-distro: the logs are in {OUT}',
              file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
