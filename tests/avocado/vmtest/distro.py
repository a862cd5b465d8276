# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that is an installed Debian, on a disk of its own: see
scripts/distro-image.sh. The second serial port takes commands as in all guests,
from early on, also in a boot that holds its services back."""

import os
import re
import time

from .guest import (BOOT_TIMEOUT, ConsoleFollower, Guest, Overlay,
                    Rebooted)

PROMPT = r'\S+ login: '
LOGIN = re.compile(f'^{PROMPT}', re.M)

# The least MemAvailable of a confined boot, without a process for each look
_WATCH = '''[Unit]
DefaultDependencies=no
After=fadump-driver.service
ConditionPathExists=/sys/kernel/fadump/release_mem
[Service]
ExecStart=/bin/sh -c 'least=999999999; while [ -e /proc/vmcore ]; do \
while read -r key value unit; do case $key in MemAvailable:) \
[ $value -ge $least ] || { least=$value; echo $least > \
/run/least-available; };; esac; done < /proc/meminfo; sleep 0.5; done'
[Install]
WantedBy=sysinit.target
'''

# What comes and goes by itself, or is another in each boot
_PASSING = re.compile(r'^(apt-daily|e2scrub|fstrim|dpkg-db-backup|logrotate|'
                      r'man-db|systemd-tmpfiles-clean|systemd-fsck|session-|'
                      r'user@|user-runtime-dir@|run-)')


class Timeline:
    """When each line of the console came; see mark()."""

    def __init__(self):
        self.lines = []
        self._mark = (time.monotonic(), 0)

    def __call__(self, line):
        self.lines.append((time.monotonic(), line))

    def mark(self):
        """From now on first() and count() look, and count seconds."""
        self._mark = (time.monotonic(), len(self.lines))

    def seconds(self):
        return time.monotonic() - self._mark[0]

    def _since(self, pattern):
        begin, number = self._mark
        return [at - begin for at, line in self.lines[number:]
                if re.search(pattern, line)]

    def first(self, pattern):
        """Seconds from the mark to the first such line; None: there is none."""
        return next(iter(self._since(pattern)), None)

    def last(self, pattern):
        return next(reversed(self._since(pattern)), None)

    def count(self, pattern):
        return len(self._since(pattern))


class DistroGuest(Guest):
    def __init__(self, logdir, *, image, disk=None, **options):
        """image: a build.DistroImage. disk: a raw image to boot instead of its
        own. options: as Guest() takes them."""
        os.makedirs(logdir, exist_ok=True)
        args = list(options.pop('args', ()))
        # A server has a network, though there is nobody in this one.
        args += ['-nic', 'user,model=virtio-net-pci,restrict=on']
        super().__init__(logdir, kernel=image.kernel,
                         boot_disk=Overlay(os.path.join(logdir, 'disk.qcow2'),
                                           disk or image.disk),
                         args=args, **options)
        self.timeline = Timeline()
        self._follower = None

    def start(self, paused=False):
        super().start(paused)
        self._follower = ConsoleFollower(self, self._on_line, PROMPT)
        self._follower.start()
        return self

    def _on_line(self, line):
        self.timeline(line)

    def close(self):
        if self._follower:
            self._follower.stop()
        super().close()

    def boot(self):
        self.start()
        self.wait_boot()
        self.wait_login()
        return self

    def wait_boot(self, timeout=2 * BOOT_TIMEOUT):
        # An installed system takes its time.
        boot = super().wait_boot(timeout)
        # The rest of a command that a reboot cut through is read by this boot's
        # shell: what that says is no answer to the next command.
        self.run(':')
        return boot

    def wait_login(self, timeout=2 * BOOT_TIMEOUT):
        """The login prompt of the boot that runs now."""
        start = self.boots[-1].console_start

        def prompt():
            # Not that of the boot that crashed
            text = self.console(start).rpartition('] Linux version ')[2]
            return LOGIN.search(text)
        self.wait_for('the login prompt', prompt, timeout)

    def crash_begins(self):
        super().crash_begins()
        self.timeline.mark()

    def crash(self, command='echo c > /proc/sysrq-trigger',
              timeout=2 * BOOT_TIMEOUT):
        return super().crash(command, timeout)

    def wait_settled(self, timeout=2 * BOOT_TIMEOUT):
        """Until systemd has no more to start; what it then says of itself."""
        _, said = self.run('systemctl is-system-running --wait', timeout)
        return said.decode().strip()

    def units(self):
        """What runs: services, sockets, mounts, timers and targets."""
        listed = self.cmd(
            'systemctl list-units --plain --no-legend --no-pager --full '
            '--type=service,socket,mount,timer,target,path '
            '--state=running,listening,mounted,waiting,active')
        names = {line.split()[0] for line in listed.splitlines()
                 if line and line.split()[3] != 'exited'}
        return {n for n in names if not _PASSING.match(n)}

    def wait_production(self, units, mem_total, timeout=10 * BOOT_TIMEOUT):
        """Until these units run, in a system that has so much memory again,
        however often it boots before that."""
        def back():
            return (self.mem_total() >= mem_total * 0.99 and
                    not units - self.units())
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.wait_boot(max(1, deadline - time.monotonic()))
                self.wait_for('production', back,
                              max(1, deadline - time.monotonic()))
                return
            except Rebooted:
                continue

    def failed_units(self):
        return self.cmd('systemctl --failed --plain --no-legend --no-pager')

    def write_file(self, path, text):
        """A small file, as root."""
        quoted = text.replace('\\', '\\\\').replace("'", "'\\''")
        quoted = quoted.replace('\n', '\\n').replace('%', '%%')
        self.cmd(f"printf '{quoted}' > {path}")

    def add_service(self, name, command=None, megabytes=None):
        """A service of the user's, that is started at boot: a program, or one
        that has so much memory."""
        if megabytes:
            # A size that perl does not know when it compiles: memory for one
            command = ('/usr/bin/perl -e "$$x = chr(65) x $$ARGV[0]; sleep" '
                       f'{megabytes << 20}')
        self.write_file(f'/etc/systemd/system/{name}.service',
                        '[Service]\n'
                        f'ExecStart={command}\n'
                        '[Install]\nWantedBy=multi-user.target\n')
        self.cmd(f'systemctl daemon-reload && systemctl enable --now {name}')

    def watch_memory(self):
        """See least_available()."""
        self.write_file('/etc/systemd/system/least-available.service',
                        _WATCH.replace('$', '$$'))
        self.cmd('systemctl daemon-reload && '
                 'systemctl enable least-available')

    def least_available(self):
        """The least MemAvailable that the last confined boot had, in bytes,
        from when its root was mounted to the release."""
        return int(self.cmd('cat /run/least-available')) << 10

    def main_rss(self, name):
        """Bytes of memory that a service's main process has."""
        pid = self.cmd(f'systemctl show -P MainPID {name}')
        return int(self.cmd(
            f"awk '/^VmRSS/ {{print $2}}' /proc/{pid}/status")) << 10

    def dumps(self):
        """The files in /var/crash, by directory."""
        found = {}
        for line in self.cmd('find /var/crash -mindepth 2 -type f '
                             '-printf "%P %s\\n"').splitlines():
            name, size = line.split()
            found.setdefault(os.path.dirname(name), {})[
                os.path.basename(name)] = int(size)
        return found
