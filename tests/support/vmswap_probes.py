# SPDX-License-Identifier: Apache-2.0
"""The probes of a program (queue/base/probe.h): where they are, and how a process dies at one.

A breakpoint in place of a probe's no-op ends whoever comes there first, and with it all threads of
the process, by SIGTRAP: exactly between the two things that the probe stands between.
"""
import os
import re
import struct

NOP = b"\x90"
BREAKPOINT = b"\xcc"
NOTE_SECTION = ".note.stapsdt"
BASE_SECTION = ".stapsdt.base"
SECTION = struct.Struct("<IIQQQQIIQQ")
SEGMENT = struct.Struct("<IIQQQQQQ")
LOAD = 1


def sections_of(elf):
    """{name: (address, bytes)}"""
    start, = struct.unpack_from("<Q", elf, 40)
    size, count, names_index = struct.unpack_from("<HHH", elf, 58)
    rows = [SECTION.unpack_from(elf, start + i * size) for i in range(count)]
    names = rows[names_index][4]
    found = {}
    for row in rows:
        begin = names + row[0]
        name = elf[begin:elf.index(b"\0", begin)].decode()
        found[name] = (row[3], elf[row[4]:row[4] + row[5]] if row[1] != 8 else b"")
    return found


def file_offset(elf, address):
    start, = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    for i in range(count):
        kind, _, offset, begin, _, in_file, _, _ = SEGMENT.unpack_from(elf, start + i * size)
        if kind == LOAD and begin <= address < begin + in_file:
            return address - begin + offset
    raise ValueError(f"address {address:#x} is in no segment")


def notes_of(data):
    """(name, description) of each note of a section."""
    place = 0
    while place < len(data):
        name_size, size, _ = struct.unpack_from("<III", data, place)
        place += 12 + (name_size + 3) // 4 * 4
        yield data[place:place + size]
        place += (size + 3) // 4 * 4


def probes_of(path):
    """{"group:step": [offset in the file, of each place it was compiled to]}, sorted."""
    with open(path, "rb") as file:
        elf = file.read()
    sections = sections_of(elf)
    if NOTE_SECTION not in sections:
        return {}
    found = {}
    for note in notes_of(sections[NOTE_SECTION][1]):
        address, base, _ = struct.unpack_from("<QQQ", note)
        group, step, _ = note[24:].decode().split("\0", 2)
        offset = file_offset(elf, address + sections[BASE_SECTION][0] - base)
        found.setdefault(f"{group}:{step}", []).append(offset)
    return dict(sorted(found.items()))


def code_of(pid, path):
    """(first offset in the file, end, address) of each piece of its code that a process maps."""
    inode = os.stat(path).st_ino
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
        for line in maps:
            field = line.split()
            if "x" not in field[1] or int(field[4]) != inode:
                continue
            start, end = (int(x, 16) for x in field[0].split("-"))
            offset = int(field[2], 16)
            yield offset, offset + end - start, start


def put(pid, path, offsets, old, new):
    """@new in place of @old at each of the offsets; whether it is there now."""
    try:
        pieces = list(code_of(pid, path))
        with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
            for offset in offsets:
                address = next(start + offset - first for first, end, start in pieces
                               if first <= offset < end)
                memory.seek(address)
                found = memory.read(1)
                if found not in (old, new):
                    raise ValueError(f"{found.hex()} at offset {offset:#x}, no probe")
                memory.seek(address)
                memory.write(new)
    except (ProcessLookupError, FileNotFoundError, StopIteration):
        return False  # it has ended
    except OSError as error:
        if error.errno != 5:  # EIO: its memory is gone
            raise
        return False
    return True


def arm(pid, path, offsets):
    """Whoever comes to one of these places dies there. False: the process has ended."""
    return put(pid, path, offsets, NOP, BREAKPOINT)


def disarm(pid, path, offsets):
    return put(pid, path, offsets, BREAKPOINT, NOP)


def documented(path):
    """The probes that a manual page lists."""
    with open(path, encoding="utf-8") as page:
        return re.findall(r"^([a-z_]+:[a-z_]+)  +\S", page.read(), re.M)
