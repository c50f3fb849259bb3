# SPDX-License-Identifier: Apache-2.0
"""Processes that map guest memory and touch it on request: tests/support/mapper.py, driven."""
import os
import sys

import vmswap_e2e
from vmswap_e2e import Guest

PROGRAM = os.path.join(vmswap_e2e.TOP, "tests", "support", "mapper.py")


def mapper(rig, name, *args):
    process = rig.keep(Guest(name, [sys.executable, "-B", PROGRAM, *map(str, args)]))
    process.expect("READY")
    return process


def memory_of(pid):
    """A descriptor of a mapper's memory."""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{fd}"
        if vmswap_e2e.read_link(path).startswith("/memfd:mapper"):
            return os.open(path, os.O_RDWR)
    raise vmswap_e2e.Failure(f"{pid} has no memory of ours")


def do(process, command):
    """The command, to its end; BAD content fails."""
    mark = process.mark()
    process.send(command + "\n")
    process.expect("^OK", since=mark)
