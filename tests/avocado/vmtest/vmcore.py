# SPDX-License-Identifier: GPL-2.0-or-later
"""Reader of ELF64 cores: /proc/vmcore and what is copied from it."""

import struct

EM_386 = 3
PT_LOAD = 1
PT_NOTE = 4
NT_PRSTATUS = 1

# struct elf_prstatus of x86-64: pr_pid, then after the times pr_reg
_PR_PID = 32
_PR_REG = 112
REGISTERS = ('r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi '
             'orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs gs'
             ).split()
# The same of a CPU that is not in 64-bit mode, by the names of the 64-bit
# registers that they are the lower half of
_PR_PID_32 = 24
_PR_REG_32 = 72
REGISTERS_32 = ('rbx rcx rdx rsi rdi rbp rax ds es fs gs orig_rax rip cs '
                'eflags rsp ss').split()


class Load:
    def __init__(self, offset, vaddr, paddr, filesz, memsz):
        self.offset = offset
        self.vaddr = vaddr
        self.paddr = paddr
        self.filesz = filesz
        self.memsz = memsz

    def __repr__(self):
        return (f'[{self.paddr:#x}-{self.paddr + self.memsz - 1:#x}] '
                f'at {self.offset:#x}, {self.filesz:#x} bytes')


class Note:
    def __init__(self, name, type_, desc):
        self.name = name
        self.type = type_
        self.desc = desc


def parse_notes(data):
    notes = []
    pos = 0
    while pos + 12 <= len(data):
        namesz, descsz, type_ = struct.unpack_from('<III', data, pos)
        pos += 12
        if not namesz and not descsz:
            break
        name = data[pos:pos + namesz].rstrip(b'\0').decode('latin-1')
        pos += (namesz + 3) & ~3
        notes.append(Note(name, type_, data[pos:pos + descsz]))
        pos += (descsz + 3) & ~3
    return notes


def prstatus_registers(desc, machine):
    names, fmt, at, pid = ((REGISTERS_32, 'I', _PR_REG_32, _PR_PID_32)
                           if machine == EM_386
                           else (REGISTERS, 'Q', _PR_REG, _PR_PID))
    regs = dict(zip(names, struct.unpack_from(f'<{len(names)}{fmt}', desc,
                                              at)))
    regs['pid'] = struct.unpack_from('<i', desc, pid)[0]
    return regs


class Vmcore:
    """read(offset, size) gives the file's bytes."""

    def __init__(self, read):
        self.read = read
        ehdr = read(0, 64)
        if ehdr[:6] != b'\x7fELF\x02\x01':
            raise ValueError('not a little-endian ELF64 file')
        (self.type, self.machine, _, _, self.phoff, _, _, _, phentsize,
         phnum) = struct.unpack_from('<HHIQQQIHHH', ehdr, 16)
        self.loads = []
        self.notes = []
        self.notes_at = None
        for i in range(phnum):
            (type_, _, offset, vaddr, paddr, filesz, memsz,
             _) = struct.unpack('<IIQQQQQQ',
                                read(self.phoff + i * phentsize, 56))
            if type_ == PT_LOAD:
                self.loads.append(Load(offset, vaddr, paddr, filesz, memsz))
            elif type_ == PT_NOTE:
                self.notes_at = (offset, filesz)
                self.notes += parse_notes(read(offset, filesz))

    @classmethod
    def from_file(cls, path):
        def read(offset, size):
            with open(path, 'rb') as f:
                f.seek(offset)
                return f.read(size)
        return cls(read)

    def size(self):
        """Bytes that the file must have."""
        return max(p.offset + p.filesz for p in self.loads)

    def memory(self):
        return sum(p.memsz for p in self.loads)

    def cpu_registers(self):
        """The registers of each NT_PRSTATUS note, in order."""
        return [prstatus_registers(n.desc, self.machine) for n in self.notes
                if n.name == 'CORE' and n.type == NT_PRSTATUS]

    def note(self, name):
        return [n for n in self.notes if n.name == name]
