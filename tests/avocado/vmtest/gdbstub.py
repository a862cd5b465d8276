# SPDX-License-Identifier: GPL-2.0-or-later
"""A client for QEMU's gdbstub: stop a machine at an address. Attaching stops
the machine."""

import select
import socket
import time

# Where an x86 processor starts after a reset.
RESET_VECTOR = 0xfffffff0


class GdbError(Exception):
    """The stub refused, or did not answer."""


class Gdb:
    def __init__(self, path, timeout=60):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.timeout = timeout
        self.buffer = b''
        self.ask('qSupported')
        self.ask('?')

    def close(self):
        """Let the machine run on without us; it runs when this returns: what
        the serial port gets while it is stopped can be stuck there."""
        try:
            self.ask('D')
        except (OSError, GdbError):
            pass
        self.sock.close()

    def _send(self, text):
        data = text.encode('latin-1')
        self.sock.sendall(b'$%s#%02x' % (data, sum(data) & 0xff))

    def _packet(self, timeout):
        deadline = time.monotonic() + timeout
        while True:
            start = self.buffer.find(b'$')
            end = self.buffer.find(b'#', start + 1)
            if start >= 0 and 0 < end <= len(self.buffer) - 3:
                body = self.buffer[start + 1:end]
                self.buffer = self.buffer[end + 3:]
                self.sock.sendall(b'+')
                return body.decode('latin-1')
            wait = max(0, deadline - time.monotonic())
            if not select.select([self.sock], [], [], wait)[0]:
                raise GdbError(f'no answer in {timeout} s')
            data = self.sock.recv(65536)
            if not data:
                raise GdbError('QEMU closed the connection')
            self.buffer += data

    def ask(self, text):
        self._send(text)
        answer = self._packet(self.timeout)
        if answer.startswith('E'):
            raise GdbError(f'{text[:40]}: error {answer}')
        return answer

    def interrupt(self):
        self.sock.sendall(b'\x03')
        return self.wait_stop()

    def cont(self):
        self._send('c')

    def wait_stop(self, timeout=None):
        answer = self._packet(timeout or self.timeout)
        while answer[:1] == 'O':                    # console output
            answer = self._packet(timeout or self.timeout)
        if answer[:1] not in 'TS':
            raise GdbError(f'not a stop: {answer}')
        return answer

    def hbreak(self, addr):
        self.ask(f'Z1,{addr:x},1')

    def unbreak(self, addr):
        self.ask(f'z1,{addr:x},1')

    def step(self):
        self._send('s')
        return self.wait_stop()

    def cont_past(self, addr):
        """Go on from the breakpoint at addr and keep it."""
        self.unbreak(addr)
        self.step()
        self.hbreak(addr)
        self.cont()

    def pc(self):
        return int.from_bytes(bytes.fromhex(self.ask('p10')), 'little')
