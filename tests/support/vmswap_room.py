# SPDX-License-Identifier: Apache-2.0
"""How much RAM the programs of a test find free: a /proc/meminfo that says what the test wants."""
import ctypes
import os

from vmswap_disk import run
from vmswap_e2e import Skip

CLONE_NEWNS = 0x20000


class Room:
    """For every program that the test starts from now on. Memory cgroups may say less."""

    def __init__(self, rig, mib):
        self.path = os.path.join(rig.folder, "meminfo")
        self.set(mib)
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
            raise Skip(f"no mount namespace: {os.strerror(ctypes.get_errno())}")
        run("mount", "--make-rprivate", "/")
        run("mount", "--bind", self.path, "/proc/meminfo")
        rig.on_end(lambda: run("umount", "--lazy", "/proc/meminfo"))

    def set(self, mib):
        """The same file: who has it mounted sees the change."""
        with open(self.path, "w", encoding="ascii") as file:
            file.write(f"MemTotal: {64 << 20} kB\nMemAvailable: {mib << 10} kB\n")
