# SPDX-License-Identifier: Apache-2.0
"""A disk that does what a test says: a FUSE file system with one file, `disk`, that lies in memory.

  faulty_disk.py FOLDER MIB

mounts it at FOLDER and reads commands, each answered by `DONE reads writes`, how many of each are
held:

  hold read|write       operations of the kind are taken and not answered
  pass read|write       later ones are done at once again; what is held stays held
  release read|write    what is held happens now, in the order it came; later ones at once again
  fail read|write ERRNO [MIB]
                        operations of the kind fail, from that place on; 0: they work again
  space MIB             that much may be written in all, then writes fail; at first: all
  full ERRNO            with this then; at first ENOSPC
  held                  nothing

A write that is held reaches the disk when it is released: what is written to the same place
meanwhile, by somebody who thinks that it is free, is overwritten then.
"""
import ctypes
import errno
import os
import select
import stat
import struct
import sys

PAGE = 4096
ROOT, DISK = 1, 2
LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS = 1, 2, 3, 4, 14, 15, 16, 17
RELEASE, FSYNC, FLUSH, INIT, INTERRUPT, DESTROY = 18, 20, 25, 26, 36, 38
BATCH_FORGET, FALLOCATE = 42, 43
UNANSWERED = (FORGET, INTERRUPT, BATCH_FORGET)
WRITE_MAX = 1 << 20
ASYNC_READ, BIG_WRITES, ASYNC_DIO, MAX_PAGES = 1 << 0, 1 << 5, 1 << 15, 1 << 22


class Failure(Exception):
    """What the kernel is told: errno."""


class Disk:
    def __init__(self, folder, size_bytes):
        self.device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        self.memory = os.memfd_create("faulty-disk")
        self.size_bytes = size_bytes
        self.is_holding = {"read": False, "write": False}
        self.held = {"read": [], "write": []}
        self.error = {"read": 0, "write": 0}
        self.fails_from = {"read": 0, "write": 0}
        self.space = None  # pages that may be written, None: all
        self.written = set()
        self.full = errno.ENOSPC
        os.ftruncate(self.memory, size_bytes)
        options = f"fd={self.device},rootmode=40000,user_id=0,group_id=0,allow_other"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"faulty-disk", folder.encode(), b"fuse.faulty", 0, options.encode()) != 0:
            raise SystemExit(f"NO MOUNT {os.strerror(ctypes.get_errno())}")

    def attributes(self, node):
        is_disk = node == DISK
        mode = stat.S_IFREG | 0o600 if is_disk else stat.S_IFDIR | 0o755
        size = self.size_bytes if is_disk else 0
        return struct.pack("<6Q10I", node, size, len(self.written) * 8, 0, 0, 0, 0, 0, 0, mode, 1,
                           0, 0, 0, PAGE, 0)

    def initialise(self, _, body):
        major, _, readahead, flags = struct.unpack_from("<4I", body)
        if major != 7:
            raise SystemExit(f"FUSE {major} is unknown")
        flags &= ASYNC_READ | BIG_WRITES | ASYNC_DIO | MAX_PAGES
        return struct.pack("<4I2H2I2H8I", 7, 31, readahead, flags, 1024, 1024, WRITE_MAX, 1,
                           WRITE_MAX // PAGE, 0, *[0] * 8)

    def look_up(self, _, body):
        if body.rstrip(b"\0") != b"disk":
            raise Failure(errno.ENOENT)
        return struct.pack("<4Q2I", DISK, 0, 1, 0, 0, 0) + self.attributes(DISK)

    def get_attributes(self, node, _):
        return struct.pack("<Q2I", 0, 0, 0) + self.attributes(node)

    def set_attributes(self, node, body):
        valid, _, _, size = struct.unpack_from("<2I2Q", body)
        if valid & 8 and size != self.size_bytes:
            raise Failure(errno.EFBIG)
        return self.get_attributes(node, body)

    def fail(self, kind, offset, size):
        if self.error[kind] and offset + size > self.fails_from[kind]:
            raise Failure(self.error[kind])

    def read(self, _, body):
        _, offset, size = struct.unpack_from("<2QI", body)
        self.fail("read", offset, size)
        return os.pread(self.memory, size, offset)

    def write(self, _, body):
        _, offset, size = struct.unpack_from("<2QI", body)
        pages = set(range(offset // PAGE, (offset + size) // PAGE))
        self.fail("write", offset, size)
        if self.space is not None and len(self.written | pages) > self.space:
            raise Failure(self.full)
        self.written |= pages
        os.pwrite(self.memory, body[40:40 + size], offset)
        return struct.pack("<2I", size, 0)

    def allocate(self, _, body):
        _, offset, length, mode = struct.unpack_from("<3QI", body)
        if not mode & 2:
            raise Failure(errno.EOPNOTSUPP)
        os.pwrite(self.memory, bytes(length), offset)
        self.written -= set(range(offset // PAGE, (offset + length) // PAGE))
        return b""

    def tell_space(self, *_):
        free = (self.size_bytes // PAGE if self.space is None else self.space) - len(self.written)
        return struct.pack("<5Q4I6I", self.size_bytes // PAGE, free, free, 2, 0, PAGE, 255, PAGE,
                           *[0] * 7)

    @staticmethod
    def do_nothing(*_):
        return b""

    @staticmethod
    def open(*_):
        return struct.pack("<Q2I", 0, 0, 0)

    def answer(self, unique, handler, node, body):
        error, reply = 0, b""
        try:
            reply = handler(node, body)
        except Failure as failure:
            error = failure.args[0]
        try:
            os.write(self.device, struct.pack("<IiQ", 16 + len(reply), -error, unique) + reply)
        except FileNotFoundError:  # interrupted: nobody waits for it any more
            pass

    def refuse(self, *_):
        raise Failure(errno.ENOSYS)

    def serve(self, message):
        _, opcode, unique, node = struct.unpack_from("<2I2Q", message)
        if opcode in UNANSWERED:
            return
        handlers = {INIT: self.initialise, LOOKUP: self.look_up, GETATTR: self.get_attributes,
                    SETATTR: self.set_attributes, OPEN: self.open, READ: self.read,
                    WRITE: self.write, STATFS: self.tell_space, FALLOCATE: self.allocate}
        quiet = (RELEASE, FSYNC, FLUSH, DESTROY)
        handler = self.do_nothing if opcode in quiet else handlers.get(opcode, self.refuse)
        operation = (unique, handler, node, message[40:])
        kind = {READ: "read", WRITE: "write"}.get(opcode)
        if self.is_holding.get(kind):
            self.held[kind].append(operation)
        else:
            self.answer(*operation)

    def command(self, words):
        if words[0] == "hold":
            self.is_holding[words[1]] = True
        elif words[0] in ("pass", "release"):
            self.is_holding[words[1]] = False
            while words[0] == "release" and self.held[words[1]]:
                self.answer(*self.held[words[1]].pop(0))
        elif words[0] == "fail":
            self.error[words[1]] = int(words[2])
            self.fails_from[words[1]] = int(words[3]) << 20 if len(words) > 3 else 0
        elif words[0] == "space":
            self.space = int(words[1]) * (1 << 20) // PAGE
        elif words[0] == "full":
            self.full = int(words[1])
        elif words[0] != "held":
            raise SystemExit(f"unknown: {words}")
        print("DONE", *(len(self.held[kind]) for kind in ("read", "write")), flush=True)

    def run(self):
        poll = select.poll()
        poll.register(self.device, select.POLLIN)
        poll.register(0, select.POLLIN)
        print("READY", flush=True)
        while True:
            for fd, events in poll.poll():
                if fd == 0:
                    line = sys.stdin.readline()
                    if not line:
                        return
                    self.command(line.split())
                elif events & select.POLLERR:  # unmounted, or the connection was cut
                    return
                else:
                    self.serve(os.read(self.device, WRITE_MAX + (64 << 10)))


Disk(sys.argv[1], int(sys.argv[2]) << 20).run()
