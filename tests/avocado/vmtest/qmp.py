# SPDX-License-Identifier: GPL-2.0-or-later
"""A QMP client of the size that tests need."""

import array
import json
import select
import socket
import time


class QmpError(Exception):
    """The command was answered with an error."""

    def __init__(self, command, error):
        super().__init__(f'{command}: {error.get("desc")}')
        self.error_class = error.get('class')
        self.desc = error.get('desc')


class Qmp:
    def __init__(self, path, timeout=30):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        self.timeout = timeout
        self.buffer = b''
        self.events = []
        try:
            self.sock.connect(path)
            self._read(time.monotonic() + timeout)      # the greeting
            self.cmd('qmp_capabilities')
        except (OSError, EOFError):
            self.sock.close()
            raise

    def close(self):
        self.sock.close()

    def _read(self, deadline):
        """The next message; None if none came before the deadline."""
        while b'\n' not in self.buffer:
            wait = max(0, deadline - time.monotonic())
            if not select.select([self.sock], [], [], wait)[0]:
                return None
            data = self.sock.recv(65536)
            if not data:
                raise EOFError('QEMU closed its monitor')
            self.buffer += data
        line, self.buffer = self.buffer.split(b'\n', 1)
        return json.loads(line)

    def cmd(self, command, **arguments):
        """Run a command and return what it answers."""
        return self.execute(command, {k.replace('_', '-'): v
                                      for k, v in arguments.items()})

    def execute(self, command, arguments, fds=()):
        """The same with any arguments, right or wrong, and with file
        descriptors that go with it."""
        message = {'execute': command, 'arguments': arguments}
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                   array.array('i', fds))] if fds else []
        data = json.dumps(message).encode() + b'\n'
        rest = data[self.sock.sendmsg([data], rights):]
        # To send nothing is an error as well where QEMU has obeyed, and gone.
        if rest:
            self.sock.sendall(rest)
        return self._answer(command)

    def together(self, *commands):
        """Commands without arguments, of which none waits for another's
        answer to arrive here."""
        self.sock.sendall(b''.join(json.dumps({'execute': c}).encode()
                                   for c in commands))
        for command in commands:
            self._answer(command)

    def _answer(self, command):
        deadline = time.monotonic() + self.timeout
        while True:
            answer = self._read(deadline)
            if answer is None:
                raise TimeoutError(f'{command}: no answer from QEMU')
            if 'event' in answer:
                self.events.append(answer)
            elif 'error' in answer:
                raise QmpError(command, answer['error'])
            elif 'return' in answer:
                return answer['return']

    def getfd(self, name, fd):
        """Give QEMU a file descriptor; ours may be closed after that."""
        self.execute('getfd', {'fdname': name}, [fd])

    def hmp(self, line):
        return self.cmd('human-monitor-command', command_line=line)

    def poll(self):
        """Take in the events that have come."""
        try:
            while True:
                message = self._read(time.monotonic())
                if message is None:
                    break
                if 'event' in message:
                    self.events.append(message)
        except (EOFError, OSError):
            pass                # QEMU is gone: what came before it is here
        return self.events

    def count(self, name, start=0):
        """How many events of that name, of those from number start on."""
        return sum(e['event'] == name for e in self.poll()[start:])

    def wait_event(self, name, timeout=None, start=0):
        timeout = timeout or self.timeout
        deadline = time.monotonic() + timeout
        while True:
            for event in self.events[start:]:
                if event['event'] == name:
                    return event
            message = self._read(deadline)
            if message is None:
                raise TimeoutError(f'no {name} event in {timeout} s')
            if 'event' in message:
                self.events.append(message)
