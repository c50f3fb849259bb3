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


def do(process, command):
    """The command, to its end; BAD content fails."""
    mark = process.mark()
    process.send(command + "\n")
    process.expect("^OK", since=mark)
