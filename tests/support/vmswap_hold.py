# SPDX-License-Identifier: Apache-2.0
"""A process that is held at one of its probes: breakpoints in place of the no-ops, and ptrace(2)
on all its threads, from the thread that uses a Hold; and one that makes a system call for us."""
import contextlib
import ctypes
import os
import signal

from vmswap_e2e import check, wait_until
from vmswap_probes import arm, code_of, disarm

SEIZE, INTERRUPT, DETACH, CONT, STEP, GETREGS, SETREGS = 0x4206, 0x4207, 17, 7, 9, 12, 13
TRACE_CLONE = 1 << 3
WALL = 0x40000000
STOP_EVENT = 128
REGISTERS = 27  # struct user_regs_struct of x86-64
RAX, RDI, ORIG_RAX, RIP = 10, 14, 15, 16
SYSCALL = b"\x0f\x05"
SYS_CLOSE = 3

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(request, thread, data=None):
    if libc.ptrace(request, thread, None, data) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace({request:#x}, {thread})")


def registers_of(thread):
    values = (ctypes.c_ulonglong * REGISTERS)()
    ptrace(GETREGS, thread, ctypes.addressof(values))
    return values


def close_in(pid, number):
    """The process, whose first thread waits in a system call, closes one of its descriptors."""
    ptrace(SEIZE, pid)
    ptrace(INTERRUPT, pid)
    os.waitpid(pid, WALL)
    before = registers_of(pid)
    with open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(before[RIP] - len(SYSCALL))
        check(memory.read(len(SYSCALL)) == SYSCALL, f"process {pid} is in no system call")
    call = registers_of(pid)
    call[RAX], call[RDI], call[ORIG_RAX] = SYS_CLOSE, int(number), 2**64 - 1
    call[RIP] -= len(SYSCALL)
    ptrace(SETREGS, pid, ctypes.addressof(call))
    ptrace(STEP, pid)
    os.waitpid(pid, WALL)
    result = registers_of(pid)[RAX]
    ptrace(SETREGS, pid, ctypes.addressof(before))
    ptrace(DETACH, pid)
    check(result == 0, f"close({number}) in process {pid}: {result - 2**64}")


class Hold:
    """Use: with Hold(pid, path, offsets) as hold: …; hold.reached() …; with the end of it the
    process goes on."""

    def __init__(self, pid, path, offsets):
        self.pid, self.path, self.offsets = pid, path, offsets
        pieces = list(code_of(pid, path))
        self.places = {start + offset - first for offset in offsets
                       for first, end, start in pieces if first <= offset < end}
        self.threads = {}  # those that are traced: whether it stands at the breakpoint

    def __enter__(self):
        self._seize()
        arm(self.pid, self.path, self.offsets)
        return self

    def _seize(self):
        for thread in map(int, os.listdir(f"/proc/{self.pid}/task")):
            if thread not in self.threads:
                with contextlib.suppress(OSError):  # it has ended, or came to be traced by itself
                    ptrace(SEIZE, thread, TRACE_CLONE)
                self.threads[thread] = False

    def _is_there(self, thread, status):
        """It stopped behind a breakpoint: put back to it."""
        if os.WSTOPSIG(status) != signal.SIGTRAP or status >> 16:
            return False
        values = registers_of(thread)
        if values[RIP] - 1 not in self.places:
            return False
        values[RIP] -= 1
        ptrace(SETREGS, thread, ctypes.addressof(values))
        return True

    def _next_stop(self, thread):
        """The status of a stop, or None. A thread that has ended is forgotten."""
        try:
            found, status = os.waitpid(thread, WALL | os.WNOHANG)
        except ChildProcessError:
            found, status = thread, 0
        if found == 0:
            return None
        if not os.WIFSTOPPED(status):
            del self.threads[thread]
            return None
        return status

    def _turn(self):
        """Lets go on whoever stopped for anything else. Whether a thread is there."""
        self._seize()
        for thread in [thread for thread, there in self.threads.items() if not there]:
            status = self._next_stop(thread)
            if status is None:
                continue
            if self._is_there(thread, status):
                self.threads[thread] = True
                continue
            # An event, or a signal that is to be delivered.
            number = 0 if status >> 16 else os.WSTOPSIG(status)
            ptrace(CONT, thread, number)
        return any(self.threads.values())

    def reached(self, timeout_s=10):
        wait_until(self._turn, "the probe is reached", timeout_s)

    def _detach(self, thread):
        """Whether it is not ours any more."""
        if not self.threads[thread]:
            status = self._next_stop(thread)
            if status is None:
                return thread not in self.threads
            if not self._is_there(thread, status) and not status >> 16:
                ptrace(CONT, thread, os.WSTOPSIG(status))
                return False
        ptrace(DETACH, thread)
        del self.threads[thread]
        return True

    def __exit__(self, *_):
        disarm(self.pid, self.path, self.offsets)
        self._seize()
        for thread, there in list(self.threads.items()):
            if not there:
                with contextlib.suppress(OSError):
                    ptrace(INTERRUPT, thread)
        wait_until(lambda: all([self._detach(thread) for thread in list(self.threads)]),
                   "all threads go on")
