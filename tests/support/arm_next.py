#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Arms a probe in the next program that a process, or a child that it forks, executes: before that
program's first instruction.

usage: arm_next.py PID PROGRAM GROUP:STEP

Prints SEIZED once it will not miss it, and ARMED with the pid when it is done. It traces PID until
then, which is why it is a program of its own: whoever waits for children of its own must not.
"""
import ctypes
import os
import signal
import sys

import vmswap_probes

SEIZE, CONT = 0x4206, 7
TRACE_FORK, TRACE_EXEC = 1 << 1, 1 << 4
EVENT_EXEC, EVENT_STOP = 4, 128
WALL = 0x40000000
# Nobody waits longer for the program.
PATIENCE_S = 30

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(request, pid, data):
    if libc.ptrace(request, pid, None, data) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x} of {pid}")


def wait_for_program():
    """The pid that has just become another program; all that happens before goes on as it was."""
    while True:
        pid, status = os.waitpid(-1, WALL)
        if not os.WIFSTOPPED(status):
            continue
        event = status >> 16
        if event == EVENT_EXEC:
            return pid
        is_signal = event == 0
        ptrace(CONT, pid, os.WSTOPSIG(status) if is_signal else 0)


def main():
    pid, program, name = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    offsets = vmswap_probes.probes_of(program)[name]
    signal.alarm(PATIENCE_S)
    ptrace(SEIZE, pid, TRACE_FORK | TRACE_EXEC)
    print("SEIZED", flush=True)
    pid = wait_for_program()
    if not vmswap_probes.arm(pid, program, offsets):
        sys.exit(f"{pid} does not run {program}")
    # Our end lets all of them go on.
    print(f"ARMED {pid}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main()
