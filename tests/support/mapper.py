# SPDX-License-Identifier: Apache-2.0
"""A process that maps guest memory and touches it on request only: a VMM or a late vhost-user
back-end for tests.

  mapper.py own MIB    makes the memory and fills it
  mapper.py sparse GIB makes it and writes one page in 16 GiB
  mapper.py join PID   maps the memory of another one

Lines on stdin: `check` verifies every page, `write` gives every page new content (the generation is
told with the command: `check 3`; `check 3 100` leaves the first hundred out), `discard FIRST COUNT`
gives pages back with MADV_REMOVE, `zeros FIRST COUNT` verifies that pages are zero, `peek` reads
one page in 300, `unmap` lets go, `renew` lets go and maps other memory, untouched, in the same
place (`zeros` then reads that), `exec` runs the program anew, with another memory. `fork` makes a
child that maps the memory and waits; `child check 3` lets the youngest verify and end, `child end`
end at once; `join` waits for its end.
"""
import ctypes
import mmap
import os
import sys

PAGE = 4096
SPARSE_STEP = 16 << 30


def content(page, generation):
    return bytes([(page * 31 + generation * 7) % 255 + 1]) * PAGE


def memory_of(pid):
    for fd in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{fd}"
        if os.readlink(path).startswith(("/memfd:mapper", "/memfd:guest-memory")):
            return os.open(path, os.O_RDWR)
    raise SystemExit(f"{pid} has no memory of ours")


def pages_of(memory):
    """All of them, or the few of a sparse one."""
    step = SPARSE_STEP if len(memory) >= SPARSE_STEP else PAGE
    return range(0, len(memory) // PAGE, step // PAGE)


def write(memory, generation):
    for page in pages_of(memory):
        memory[page * PAGE:(page + 1) * PAGE] = content(page, generation)
    print("OK written", flush=True)


def verify(memory, generation, first=0):
    for page in pages_of(memory)[first:]:
        if memory[page * PAGE:(page + 1) * PAGE] != content(page, generation):
            print(f"BAD page={page} begins {memory[page * PAGE:page * PAGE + 8]!r}", flush=True)
            return
    print("OK checked", flush=True)


def address_of(memory):
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def renew(memory):
    """The kernel takes the same place again; if not this test would say nothing."""
    size, place = len(memory), address_of(memory)
    memory.close()
    fd = os.memfd_create("other")
    os.ftruncate(fd, size)
    other = mmap.mmap(fd, 0)
    print("OK renewed" if address_of(other) == place else "BAD not in the same place", flush=True)
    return other


class Child:
    """A forked process that waits for a line of its own."""

    def __init__(self, memory):
        read, self.write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.write)
            words = os.fdopen(read).readline().split()
            if words[0] == "check":
                verify(memory, *map(int, words[1:]))
            os._exit(0)
        os.close(read)
        print(f"OK forked {self.pid}", flush=True)

    def tell(self, line):
        os.write(self.write, (line + "\n").encode())

    def join(self):
        os.waitpid(self.pid, 0)
        os.close(self.write)
        print("OK ended", flush=True)


def main():
    if sys.argv[1] in ("own", "sparse"):
        fd = os.memfd_create("mapper")
        os.ftruncate(fd, int(sys.argv[2]) << (20 if sys.argv[1] == "own" else 30))
    else:
        fd = memory_of(int(sys.argv[2]))
    memory = mmap.mmap(fd, 0)
    if sys.argv[1] != "join":
        write(memory, 0)
    print("READY", flush=True)
    children = []
    for line in sys.stdin:
        words = line.split()
        if words[0] == "check":
            verify(memory, *map(int, words[1:]))
        elif words[0] == "write":
            write(memory, int(words[1]))
        elif words[0] == "peek":
            sum(memory[page * PAGE] for page in range(0, len(memory) // PAGE, 300))
            print("OK peeked", flush=True)
        elif words[0] == "discard":
            memory.madvise(mmap.MADV_REMOVE, int(words[1]) * PAGE, int(words[2]) * PAGE)
            print("OK discarded", flush=True)
        elif words[0] == "zeros":
            first, count = int(words[1]) * PAGE, int(words[2]) * PAGE
            print("OK zeros" if not any(memory[first:first + count]) else "BAD not zeros",
                  flush=True)
        elif words[0] == "fork":
            children.append(Child(memory))
        elif words[0] == "child":
            children[-1].tell(" ".join(words[1:]))
        elif words[0] == "join":
            children.pop().join()
        elif words[0] == "renew":
            memory = renew(memory)
        elif words[0] == "exec":
            os.execv(sys.executable, [sys.executable, "-B", __file__, "own", "16"])
        else:
            memory.close()
            print("OK unmapped", flush=True)


if __name__ == "__main__":
    main()
