# SPDX-License-Identifier: GPL-2.0-or-later
"""A libvirt daemon in session mode, and guests that it runs.

The daemon runs from where it was built, or is the system's, and everything that
it keeps is in a directory of its own. Root's would be the one of the system: it
runs in a user namespace, where it is nobody and may do what the owner of root's
files may.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import uuid

from . import build
from .guest import CMDLINE, Guest

# For a command of virsh's; the first has the daemon ask QEMU what it can do.
TIMEOUT = 120 * build.TIMEOUT_SCALE

# Debian 12's, which has one daemon for all drivers
STOCK = '/usr/sbin/libvirtd'


def built(name='libvirt'):
    """The directory that scripts/libvirt-build.sh has built in; libvirt-stock
    is without our patches."""
    path = os.path.join(build.BUILD, name)
    if not os.access(os.path.join(path, 'src', 'virtqemud'), os.X_OK):
        raise build.NotBuilt(f'{path} has no libvirt: run '
                             '"scripts/libvirt-build.sh", for libvirt-stock '
                             'with "stock"')
    return path


def schema(name):
    """A schema of its own, as its own source has it."""
    return os.path.join(os.path.dirname(os.path.realpath(built())), 'src',
                        'src', 'conf', 'schemas', name)


class VirshError(AssertionError):
    """virsh has failed; its message."""


class Libvirt:
    def __init__(self, logs, stock=None):
        """stock: not ours but the system's, or, as 'built', one that was built
        without our patches."""
        self.log = os.path.join(logs, 'libvirtd.log')
        os.makedirs(logs, exist_ok=True)
        # sockets have short names whatever the build directory is called
        self.dir = tempfile.mkdtemp(prefix='fadump-')
        if stock == 'system':
            self.virsh_program, daemon = '/usr/bin/virsh', STOCK
            self.uri, self.socket = 'qemu:///session?mode=legacy', 'libvirt-sock'
        else:
            path = built('libvirt-stock') if stock else built()
            self.virsh_program = os.path.join(path, 'tools', 'virsh')
            daemon = os.path.join(path, 'src', 'virtqemud')
            self.uri, self.socket = 'qemu:///session?mode=direct', 'virtqemud-sock'
        self.as_nobody = [] if os.geteuid() else [
            'unshare', '--user', '--map-user=65534', '--map-group=65534']
        # some containers, and each chroot, forbid it
        if self.as_nobody and subprocess.run(
                self.as_nobody + ['true'], capture_output=True,
                check=False).returncode:
            raise unittest.SkipTest('no user namespace can be had here, and '
                                    'a daemon of root is the system\'s')
        self.env = {name: value for name, value in os.environ.items()
                    if not name.startswith(('LIBVIRT_', 'VIRSH_', 'XDG_'))}
        self.env.update(
            HOME=self.dir, LC_ALL='C.UTF-8',
            XDG_RUNTIME_DIR=self._mkdir('run'),
            XDG_CONFIG_HOME=self._mkdir('conf'),
            XDG_CACHE_HOME=self._mkdir('cache'))
        # else another daemon would be started for the guests' consoles, and
        # stay for a while
        os.mkdir(os.path.join(self.dir, 'conf', 'libvirt'))
        with open(os.path.join(self.dir, 'conf', 'libvirt', 'qemu.conf'), 'w',
                  encoding='ascii') as f:
            f.write('stdio_handler = "file"\n')
        # two are two hosts, between which a domain can migrate
        with open(os.path.join(self.dir, 'conf', 'libvirt', 'virtqemud.conf'),
                  'w', encoding='ascii') as f:
            f.write(f'host_uuid = "{uuid.uuid4()}"\n')
        self._children = []
        with open(self.log, 'w', encoding='ascii') as log:
            self.daemon = self.popen([daemon], stdout=log,
                                     stderr=subprocess.STDOUT)
        self._wait_socket()

    def _mkdir(self, name):
        path = os.path.join(self.dir, name)
        os.mkdir(path, 0o700)
        return path

    def popen(self, args, **options):
        """Start a program that ends with the test at the latest."""
        # pylint: disable=consider-using-with
        process = subprocess.Popen(self.as_nobody + args, env=self.env,
                                   stdin=subprocess.DEVNULL, **options)
        self._children.append(process)
        return process

    def _wait_socket(self):
        path = os.path.join(self.dir, 'run', 'libvirt', self.socket)
        deadline = time.monotonic() + TIMEOUT
        while not os.path.exists(path):
            if self.daemon.poll() is not None or time.monotonic() > deadline:
                with open(self.log, encoding='utf-8', errors='replace') as log:
                    raise AssertionError('the daemon has not started: ' +
                                         log.read())
            time.sleep(0.05)

    def virsh(self, *args):
        """What virsh prints; it has to succeed."""
        done = subprocess.run(
            [*self.as_nobody, self.virsh_program, '-q', '-c', self.uri, *args],
            env=self.env, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=TIMEOUT, check=False)
        if done.returncode:
            raise VirshError(f'virsh {" ".join(args)}: {done.stderr.strip()}')
        return done.stdout.strip()

    def define(self, xml, validate=True):
        path = os.path.join(self.dir, 'domain.xml')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(xml)
        return self.virsh('define', path, *['--validate'] * validate)

    def listen(self, *args):
        """Have virsh print events, to a file, which is returned."""
        path = os.path.join(self.dir, f'events{len(self._children)}')
        with open(path, 'w', encoding='ascii') as out:
            # into a file it writes when its buffer is full
            self.popen(['stdbuf', '-oL', self.virsh_program, '-c', self.uri,
                        *args, '--loop'], stdout=out, stderr=subprocess.STDOUT)
        return path

    def close(self):
        for child in reversed(self._children):
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class _Process:
    """QEMU, which is the daemon's child and not ours."""

    def __init__(self, pid):
        self.pid = pid
        self.returncode = None

    def poll(self):
        try:
            with open(f'/proc/{self.pid}/stat', encoding='ascii') as f:
                # it may be a zombie for a while
                gone = f.read().rpartition(')')[2].split()[0] == 'Z'
        except FileNotFoundError:
            gone = True
        self.returncode = 'unknown' if gone else None
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout=TIMEOUT):
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f'QEMU {self.pid}', timeout)
            time.sleep(0.05)
        return self.returncode


class Domain(Guest):
    """A guest of Guest's kind that libvirt runs. It has no monitor of its
    own: see virsh()."""

    migrated = 0

    def __init__(self, libvirt, logdir, *, kernel, name='guest', machine='q35',
                 vcpus=1, memory='1G', fadump="<fadump model='virtio'/>",
                 devices='', commandline='', **options):
        """fadump: the element of the device. devices: further elements.
        commandline: arguments that libvirt gives to QEMU as they are."""
        super().__init__(logdir, kernel=kernel, machine=machine, vcpus=vcpus,
                         memory=memory, fadump=None)
        self.libvirt = libvirt
        self.name = name
        self.xml = domain_xml(
            name=name, machine=machine, vcpus=vcpus, memory=self.memory,
            kernel=kernel, console=self.console_log, port=self.socket('port'),
            devices=fadump + devices, commandline=commandline, **options)
        self._events = None

    def start(self, paused=False):
        """Define it, and start it."""
        self.libvirt.define(self.xml)
        self._events = (
            self.libvirt.listen('event', self.name, 'lifecycle'),
            self.libvirt.listen('qemu-monitor-event', self.name))
        # virsh does not say when it has begun to listen
        deadline = time.monotonic() + TIMEOUT
        while 'Defined Updated' not in self.events():
            if time.monotonic() > deadline:
                raise AssertionError('virsh tells of no event')
            self.libvirt.define(self.xml)
        self.launch()
        return self

    def launch(self):
        """Start it when it is defined, from where it was saved if it was."""
        self.virsh('start')
        self.attach()

    def attach(self):
        """To the QEMU that libvirt has started now."""
        with open(os.path.join(self.libvirt.dir, 'run', 'libvirt', 'qemu',
                               'run', self.name + '.pid'),
                  encoding='ascii') as f:
            self.process = _Process(int(f.read()))
        if self.port:
            self.port.close()
        self.connect_port()

    def virsh(self, command, *args):
        return self.libvirt.virsh(command, self.name, *args)

    def socket(self, name):
        """QEMU deletes its own when one elsewhere has taken over."""
        return super().socket(f'{name}{self.migrated or ""}')

    def migrate(self, libvirt):
        """To another daemon, live."""
        path = os.path.join(libvirt.dir, 'run', 'libvirt', libvirt.socket)
        old = self.socket('port')
        self.migrated += 1
        changed = os.path.join(libvirt.dir, 'migrated.xml')
        with open(changed, 'w', encoding='utf-8') as f:
            f.write(self.virsh('dumpxml', '--migratable').replace(
                old, self.socket('port')))
        self.virsh('migrate', '--live', '--xml', changed, '--desturi',
                   f'qemu+unix:///session?mode=direct&socket={path}',
                   '--migrateuri', 'tcp://127.0.0.1')
        self.libvirt = libvirt
        self.attach()

    def state(self):
        return self.virsh('domstate', '--reason')

    def events(self, monitor=False):
        """Lifecycle events, or the names of those of QEMU's monitor."""
        with open(self._events[monitor], encoding='utf-8') as f:
            text = f.read()
        if monitor:
            return re.findall(r'^event (\w+) at ', text, re.M)
        return re.findall(r"^event 'lifecycle' for domain '.*': (.*)$", text,
                          re.M)

    def wait_event(self, what, monitor=False):
        """Not wait_for(): QEMU may have gone before libvirt tells of it."""
        deadline = time.monotonic() + TIMEOUT
        while what not in self.events(monitor):
            if time.monotonic() > deadline:
                raise self.trouble(f'the event {what}: not in {TIMEOUT:.0f} s')
            time.sleep(0.05)

    def close(self):
        try:
            self.virsh('destroy')
        except (VirshError, subprocess.TimeoutExpired):
            # it does not run; where the daemon does not, QEMU is killed
            pass
        super().close()


def domain_xml(*, name, machine, vcpus, memory, kernel, console, port, devices,
               commandline='', reboot='restart', crash='destroy', features='',
               cmdline='', extra=''):
    """A domain with the tests' kernel, a console, and a port for commands."""
    arguments = ''.join(f"<qemu:arg value='{a}'/>" for a in commandline)
    return f'''
<domain type='{build.accel().replace('tcg', 'qemu')}'
        xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{name}</name>
  <uuid>{uuid.uuid5(uuid.NAMESPACE_URL, name)}</uuid>
  <memory unit='b'>{memory}</memory>
  <vcpu>{vcpus}</vcpu>
  <os>
    <type arch='x86_64' machine='{machine}'>hvm</type>
    <kernel>{kernel.vmlinuz}</kernel>
    <initrd>{kernel.initramfs}</initrd>
    <cmdline>{CMDLINE} {cmdline}</cmdline>
  </os>
  <features><acpi/>{features}</features>
  <on_reboot>{reboot}</on_reboot>
  <on_crash>{crash}</on_crash>
  <devices>
    <emulator>{build.qemu_binary()}</emulator>
    <controller type='usb' model='none'/>
    <serial type='file'><source path='{console}' append='on'/></serial>
    <serial type='unix'><source mode='bind' path='{port}'/></serial>
    <memballoon model='none'/>
    {devices}
  </devices>
  {extra}
  {f'<qemu:commandline>{arguments}</qemu:commandline>' if arguments else ''}
</domain>
'''
