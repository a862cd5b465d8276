# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU process with a guest in it.

The guest's /init (tests/guest/init) speaks to people on the first serial port
(console.log) and takes commands on the second; firmware.log has what SeaBIOS
says on its debug port.
"""

import base64
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from . import build, e2fs
from .gdbstub import Gdb
from .qmp import Qmp

# How long a boot may take. One takes 5 to 10 s under TCG on an idle machine.
BOOT_TIMEOUT = 180 * build.TIMEOUT_SCALE
COMMAND_TIMEOUT = 120 * build.TIMEOUT_SCALE

# An unregistered guest reboots itself after a panic: a capture that did not
# happen shows at once as a boot with all memory.
# Linux gives up on a timer that is late, as it is on a host that has no time.
CMDLINE = 'console=ttyS0 panic=3 no_timer_check'


class GuestError(AssertionError):
    """The guest did not do what it should, with the end of its console."""


class Rebooted(GuestError):
    """Another boot began while a command ran."""


class CommandFailed(GuestError):
    def __init__(self, command, status, output):
        super().__init__(f'guest: "{command}" ended with status {status}:\n'
                         f'{output}')
        self.status = status
        self.output = output


def parse_size(text):
    number, unit = re.fullmatch(r'(\d+)([KMG]?)', str(text)).groups()
    return int(number) << {'': 0, 'K': 10, 'M': 20, 'G': 30}[unit]


class Boot:
    """One boot that came as far as /init."""

    def __init__(self, number, boot_id, console_start, seconds):
        self.number = number
        self.boot_id = boot_id
        self.console_start = console_start
        self.seconds = seconds


class Disk:
    """A raw disk image with an ext4 file system, or none."""

    def __init__(self, path, size='4G', ext4=True):
        self.path = path
        with open(path, 'wb') as f:
            f.truncate(parse_size(size))
        if ext4:
            e2fs.make(path)

    def get(self, name, target):
        """Copy a file out of it. The guest must have it unmounted."""
        return e2fs.get(self.path, name, target)

    def put(self, source, name):
        e2fs.put(self.path, source, name)


class Overlay:
    """What a guest writes to the disk of an image, which stays as it is."""

    def __init__(self, path, image):
        self.path = path
        subprocess.run([build.qemu_img(), 'create', '-q', '-f', 'qcow2',
                        '-F', 'raw', '-b', image, path], check=True)


class Guest:
    """See start(). Everything is stopped and closed by close()."""

    def __init__(self, logdir, *, kernel, machine='q35', vcpus=1, memory='1G',
                 fadump='', cmdline='', args=(), disks=(), initrd=None,
                 image=None, boot_disk=None, tiny=None, bare=None,
                 accel=None, gdb=False, uefi=None, smm=False, variables=None,
                 environment=()):
        """fadump: properties of the device, or None for no device.
        args: further arguments of QEMU. disks: of class Disk, /dev/vda on.
        initrd: '' for none.
        boot_disk: an image whose bootloader loads the kernel, instead of QEMU,
        or an Overlay of one.
        uefi: Debian's release whose OVMF is the firmware, not SeaBIOS; with
        smm the one that keeps its variables from the guest in SMM.
        variables: a file of UEFI's variables, instead of those it comes with.
        tiny: what the guest of tests/guest/tinyboot does, which runs instead
        of Linux; '' for a machine with its firmware and nothing else.
        bare: the same for tests/guest/bare.
        gdb: with a gdbstub. environment: further variables of QEMU's."""
        accel = accel or build.accel()
        self.logdir = logdir
        self.kernel = kernel
        self.machine = machine
        self.vcpus = vcpus
        self.memory = parse_size(memory)
        self.boots = []
        self.qmp = None
        self.process = None
        self.on_output = None
        self.port = None
        self.environment = dict(os.environ, **dict(environment))
        self._gdb = None
        self._buffer = b''
        self._next_id = 0
        self._started = None
        self._console_mark = 0
        os.makedirs(logdir, exist_ok=True)
        # Sockets have short names whatever the build directory is called.
        self._sockets = tempfile.mkdtemp(prefix='fadump-')
        self.console_log = os.path.join(logdir, 'console.log')
        self.firmware_log = os.path.join(logdir, 'firmware.log')
        self.qemu_log = os.path.join(logdir, 'qemu.log')
        self.args = [
            build.qemu_binary(), '-nodefaults', '-no-user-config',
            '-display', 'none', '-S',
            '-machine', machine, '-accel', accel,
            '-smp', str(vcpus), '-m', f'{self.memory >> 20}M',
            '-qmp', f'unix:{self.socket("qmp")},server=on,wait=off',
            '-chardev', f'file,id=console,path={self.console_log},append=on',
            '-serial', 'chardev:console',
            '-chardev', f'socket,id=port,path={self.socket("port")},'
                        'server=on,wait=off',
            '-serial', 'chardev:port',
            '-chardev', f'file,id=firmware,path={self.firmware_log},append=on',
            '-device', 'isa-debugcon,iobase=0x402,chardev=firmware',
        ]
        if uefi:
            code, original = build.ovmf(uefi, smm)
            own = os.path.join(logdir, 'uefi-variables.fd')
            shutil.copyfile(variables or original, own)
            self.args += ['-drive', 'if=pflash,unit=0,format=raw,readonly=on,'
                          f'file={code}',
                          '-drive', f'if=pflash,unit=1,format=raw,file={own}']
            if smm:
                self.args += ['-global',
                              'driver=cfi.pflash01,property=secure,value=on']
        if boot_disk:
            drive = (f'file={boot_disk.path},format=qcow2,cache=unsafe'
                     if isinstance(boot_disk, Overlay) else
                     f'file={boot_disk},format=raw,readonly=on')
            self.args += ['-drive', f'{drive},media=disk,if=none,id=boot',
                          '-device', 'virtio-blk-pci,drive=boot,bootindex=0']
        elif tiny:
            self.args += ['-kernel', build.tinyboot(), '-append', tiny]
        elif bare:
            self.args += ['-kernel', build.bare(), '-append', '-- ' + bare]
        elif tiny is None:
            self.args += ['-kernel', image or kernel.vmlinuz,
                          '-append', f'{CMDLINE} {cmdline}'.strip()]
            if initrd != '':
                self.args += ['-initrd', initrd or kernel.initramfs]
        if accel == 'kvm':
            self.args += ['-cpu', 'host' if tiny is None and bare is None
                          else 'qemu64']
        if fadump is not None:
            self.args += ['-device', ','.join(['fadump-dev', fadump])
                          if fadump else 'fadump-dev']
        for i, disk in enumerate(disks):
            self.args += ['-drive', f'file={disk.path},format=raw,if=none,'
                          f'id=disk{i},cache=unsafe',
                          '-device', f'virtio-blk-pci,drive=disk{i}']
        if gdb:
            self.args += ['-gdb',
                          f'unix:{self.socket("gdb")},server=on,wait=off']
        self.args += args

    def socket(self, name):
        """A path for a socket, gone when the guest is."""
        return os.path.join(self._sockets, name)

    # ---- life ----

    def start(self, paused=False):
        """Start QEMU and let the guest run; does not wait for it."""
        with open(self.qemu_log, 'ab') as log:
            log.write((' '.join(self.args) + '\n').encode())
            log.flush()
            # pylint: disable=consider-using-with
            self.process = subprocess.Popen(
                self.args, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self.environment)
        deadline = time.monotonic() + 30 * build.TIMEOUT_SCALE
        while True:
            try:
                self.qmp = Qmp(self.socket('qmp'),
                               60 * build.TIMEOUT_SCALE)
                break
            except (FileNotFoundError, ConnectionError, EOFError) as exc:
                if isinstance(exc, (ConnectionResetError, EOFError)):
                    self.process.wait(10)
                if self.process.poll() is not None:
                    raise GuestError(f'QEMU did not start:\n'
                                     f'{self._tail(self.qemu_log)}') from exc
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self.connect_port()
        if not paused:
            self.qmp.cmd('cont')
        return self

    def connect_port(self):
        """The port for commands; the guest's boot is waited for from now."""
        self.port = socket.socket(socket.AF_UNIX)
        self.port.connect(self.socket('port'))
        self._started = time.monotonic()

    def boot(self):
        self.start()
        self.wait_boot()
        return self

    def save_stream(self, path):
        """Stop, and write all that the machine is to a file."""
        self.qmp.cmd('stop')
        self.qmp.cmd('migrate', uri='file:' + path)
        self.wait_migration()

    def wait_migration(self):
        def done():
            info = self.qmp.cmd('query-migrate')
            if info.get('status') in ('failed', 'cancelled'):
                raise self.trouble(f'the migration has failed: {info}')
            return info.get('status') == 'completed'
        self.wait_for('the end of a migration', done)

    def resume(self, path):
        """Go on where save_stream() left a guest of the same kind: its logs
        and its boot become this one's."""
        for log in (self.console_log, self.firmware_log):
            shutil.copy(os.path.join(path, os.path.basename(log)), log)
        with open(os.path.join(path, 'boot_id'), encoding='ascii') as f:
            boot_id = f.read()
        begin = time.monotonic()
        self.args += ['-incoming', 'file:' + os.path.join(path, 'stream')]
        self.start(paused=True)
        self.wait_migration()
        self.qmp.cmd('cont')
        self._started = None
        self.boots.append(Boot(1, boot_id, 0, time.monotonic() - begin))
        return self

    def gdb(self):
        self._gdb = Gdb(self.socket('gdb'), 60 * build.TIMEOUT_SCALE)
        return self._gdb

    def close(self):
        for connection in (self._gdb, self.port, self.qmp):
            if connection:
                connection.close()
        if self.process and self.process.poll() is not None:
            # One that is killed says nothing itself.
            with open(self.qemu_log, 'a', encoding='utf-8') as log:
                log.write(f'ended with status {self.process.returncode}\n')
        elif self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def alive(self):
        """QEMU runs, its monitor answers, and the machine is not stopped."""
        return (self.process.poll() is None and
                self.qmp.cmd('query-status')['status'] == 'running')

    def wait_exit(self, timeout=BOOT_TIMEOUT):
        """QEMU ends by itself; its exit status."""
        return self.process.wait(timeout)

    def write_memory(self, address, data):
        """Write guest memory where QEMU has it, be it read-only for the guest.
        QEMU is this process's child, so that it may."""
        said = self.qmp.hmp(f'gpa2hva {address:#x}')
        found = re.search(r' is (0x[0-9a-f]+)', said)
        if not found:
            raise self.trouble(f'no memory at {address:#x}: {said}')
        with open(f'/proc/{self.process.pid}/mem', 'r+b', buffering=0) as mem:
            mem.seek(int(found.group(1), 16))
            mem.write(data)

    def ram_blocks(self):
        """{name: (address in QEMU, size)}, without the devices' paths"""
        blocks = {}
        for line in self.qmp.hmp('info ramblock').splitlines()[1:]:
            # name, page size and its unit, offset, used, total, address
            name, _, _, _, _, total, address, *_ = line.split()
            blocks[name.split('/')[-1]] = int(address, 16), int(total, 16)
        return blocks

    def resident(self, prefix):
        """Bytes that the host has in memory of the RAM blocks that are called
        so, counted in whole mappings."""
        with open(f'/proc/{self.process.pid}/smaps', encoding='ascii') as f:
            smaps = f.read()
        blocks = [where for name, where in self.ram_blocks().items()
                  if name.startswith(prefix)]
        total, inside = 0, False
        for line in smaps.splitlines():
            found = re.match(r'([0-9a-f]+)-([0-9a-f]+) ', line)
            if found:
                low, high = (int(n, 16) for n in found.groups())
                inside = any(low < start + size and high > start
                             for start, size in blocks)
            elif inside and line.startswith('Rss:'):
                total += int(line.split()[1]) << 10
        return total

    # ---- logs ----

    @staticmethod
    def _read(path):
        try:
            with open(path, 'rb') as f:
                return f.read()
        except FileNotFoundError:
            return b''

    @classmethod
    def _tail(cls, path, lines=25):
        text = cls._read(path).decode(errors='replace').replace('\r', '')
        return '\n'.join(text.splitlines()[-lines:])

    def console(self, start=0):
        text = self._read(self.console_log)[start:]
        return text.decode(errors='replace').replace('\r', '')

    def console_size(self):
        return len(self._read(self.console_log))

    def firmware_starts(self):
        """How often SeaBIOS began, resets of its own included."""
        return self._read(self.firmware_log).count(b'SeaBIOS (version')

    def tiny_boots(self):
        """What each boot of tinyboot was told to do, and how many bytes of
        memory above 1 MiB firmware told it of."""
        return [(action.decode(), int(kib, 16) << 10)
                for action, kib in re.findall(rb'^tiny (\w) ([0-9a-f]{8})$',
                                              self._read(self.firmware_log),
                                              re.M)]

    def bare_lines(self, what=None):
        """What the guest of tests/guest/bare has said, or the lines of one
        kind: the first word, and the values by their names. Numbers are in
        hexadecimal where that guest says addresses and bits."""
        lines = []
        for line in re.findall(rb'^bare (.*)$\n', self._read(self.firmware_log),
                               re.M):
            kind, _, rest = line.decode(errors='replace').partition(' ')
            if kind == 'error':
                raise self.trouble(f'the guest says: {rest}')
            if what in (None, kind):
                lines.append((kind, dict(part.split('=', 1) for part in
                                         rest.split())))
        return lines

    def wait_bare(self, kind, number=1, timeout=60 * build.TIMEOUT_SCALE):
        """The values of a kind of line, when it comes the number-th time."""
        self.wait_for(f'"{kind}" {number} of the guest\'s',
                      lambda: len(self.bare_lines(kind)) >= number, timeout)
        return self.bare_lines(kind)[number - 1][1]

    def wait_for(self, what, condition, timeout=COMMAND_TIMEOUT):
        """Wait for what no event tells; the condition's value."""
        deadline = time.monotonic() + timeout
        while True:
            value = condition()
            if value:
                return value
            if self.process.poll() is not None:
                raise self.trouble(f'{what}: QEMU has gone (status '
                                   f'{self.process.returncode})')
            if time.monotonic() > deadline:
                raise self.trouble(f'{what}: not in {timeout:.0f} s')
            time.sleep(0.05)

    def wait_tiny(self, number, timeout=30 * build.TIMEOUT_SCALE):
        """The boot of tinyboot with that number, counted from 1."""
        self.wait_for(f'boot {number} of tinyboot',
                      lambda: len(self.tiny_boots()) >= number, timeout)
        return self.tiny_boots()[number - 1]

    def trouble(self, what, kind=GuestError):
        return kind(f'{what}\n--- end of the console:\n'
                    f'{self._tail(self.console_log)}\n'
                    f'--- end of QEMU\'s own messages:\n'
                    f'{self._tail(self.qemu_log, 8)}')

    # ---- the command port ----

    def _receive(self, deadline, what):
        wait = min(1, max(0, deadline - time.monotonic()))
        if select.select([self.port], [], [], wait)[0]:
            data = self.port.recv(1 << 16)
            if not data:
                raise self.trouble(f'{what}: QEMU has gone '
                                   f'(status {self.process.wait()})')
            self._buffer += data
            return True
        if self.process.poll() is not None:
            raise self.trouble(f'{what}: QEMU has gone '
                               f'(status {self.process.returncode})')
        if time.monotonic() > deadline:
            raise self.trouble(f'{what}: nothing in time')
        return False

    def wait_boot(self, timeout=BOOT_TIMEOUT):
        """The next boot that comes as far as /init."""
        begin = time.monotonic()
        deadline = begin + timeout
        while True:
            found = re.search(rb'<<READY ([0-9a-f-]+)>>\r?\n', self._buffer)
            if found:
                break
            self._receive(deadline, f'boot {len(self.boots) + 1}')
        self._buffer = self._buffer[found.end():]
        boot = Boot(len(self.boots) + 1, found.group(1).decode(),
                    self._console_mark,
                    time.monotonic() - (self._started or begin))
        self._started = None
        self.boots.append(boot)
        return boot

    def send(self, command):
        """Start a command and do not wait for it (it may be the last)."""
        if '\n' in command:
            raise ValueError('one line only')
        self._next_id += 1
        ident = f'c{self._next_id}'
        self.port.sendall(f'{ident} {command}\n'.encode())
        return ident

    def run(self, command, timeout=COMMAND_TIMEOUT):
        """Run a command; its status and its output."""
        ident = self.send(command).encode()
        deadline = time.monotonic() + timeout
        begin = 0
        while True:
            found = re.search(rb'\n<<' + ident + rb' (\d+)>>\r?\n',
                              self._buffer)
            if found:
                break
            again = re.search(rb'\n<<READY ([0-9a-f-]+)>>\r?\n', self._buffer)
            if again:
                raise self.trouble(f'"{command}": the guest rebooted meanwhile',
                                   Rebooted)
            if self.on_output and len(self._buffer) > begin:
                self.on_output(self._buffer[begin:])
                begin = len(self._buffer)
            self._receive(deadline, f'"{command}"')
        if self.on_output and found.start() > begin:
            self.on_output(self._buffer[begin:found.start()])
        output = self._buffer[:found.start()]
        self._buffer = self._buffer[found.end():]
        return int(found.group(1)), output

    def cmd(self, command, timeout=COMMAND_TIMEOUT):
        """Run a command that must succeed; its output as text."""
        status, output = self.run(command, timeout)
        text = output.decode(errors='replace').strip()
        if status:
            raise CommandFailed(command, status, text)
        return text

    def read_file(self, path, offset=0, size=None):
        """A file's bytes (of /proc and /sys too)."""
        part = f'tail -c +{offset + 1} {path}' if offset else f'cat {path}'
        if size is not None:
            # dd seeks where tail would read all that comes before.
            part = (f'dd if={path} bs=4096 iflag=skip_bytes,count_bytes '
                    f'skip={offset} count={size} 2>/dev/null')
        text = self.cmd(f'{part} | base64')
        return base64.b64decode(text)

    def exists(self, path):
        return self.run(f'[ -e {path} ]')[0] == 0

    # ---- what tests ask most ----

    def mem_total(self):
        """MemTotal in bytes."""
        return int(self.cmd("awk '/^MemTotal/ {print $2}' /proc/meminfo")) << 10

    def crash_begins(self):
        """What comes now is the next boot's."""
        self._console_mark = self.console_size()
        self._started = time.monotonic()

    def crash(self, command='echo c > /proc/sysrq-trigger', timeout=BOOT_TIMEOUT):
        """Crash (or reboot) by a command, or by a function that gets the
        monitor, and wait for the next boot."""
        self.crash_begins()
        if callable(command):
            command(self.qmp)
        else:
            self.send(command)
        return self.wait_boot(timeout)

    def reset(self, command='system_reset', timeout=BOOT_TIMEOUT):
        """A reset by the host, and wait for the next boot."""
        self.crash_begins()
        self.qmp.cmd(command)
        return self.wait_boot(timeout)


class ConsoleFollower(threading.Thread):
    """Hand each console line to a function as it appears, and what matches
    prompt without waiting for its end."""

    def __init__(self, guest, on_line, prompt=None):
        super().__init__(daemon=True)
        self.guest = guest
        self.on_line = on_line
        self.prompt = prompt
        self.stopped = threading.Event()

    def run(self):
        pos, rest = 0, b''
        while not self.stopped.is_set():
            if os.path.exists(self.guest.console_log):
                with open(self.guest.console_log, 'rb') as f:
                    f.seek(pos)
                    data = f.read()
                pos += len(data)
                *lines, rest = (rest + data).split(b'\n')
                for line in lines:
                    self.on_line(line.decode(errors='replace').rstrip('\r'))
                if self.prompt and data:
                    text = rest.decode(errors='replace')
                    if re.fullmatch(self.prompt, text):
                        self.on_line(text)
            self.stopped.wait(0.1)

    def stop(self):
        self.stopped.set()
        self.join()
