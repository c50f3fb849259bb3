# SPDX-License-Identifier: Apache-2.0
"""Disks that misbehave on request: tests/support/faulty_disk.py, driven, alone or below a loop
device or an ext4."""
import os
import shutil
import subprocess
import sys

import vmswap_e2e
from vmswap_e2e import Console, Failure, Skip, wait_until

PROGRAM = os.path.join(vmswap_e2e.TOP, "tests", "support", "faulty_disk.py")


class FaultyDisk(Console):
    """Its file is `path`. The program is killed first of all at the end of a test, so that nothing
    hangs in what it holds."""

    def __init__(self, rig, mib):
        if not os.path.exists("/dev/fuse"):
            raise Skip("no /dev/fuse: a disk that does what a test says is a FUSE file system")
        self.rig = rig
        self.folder = os.path.join(rig.folder, "faulty")
        self.path = os.path.join(self.folder, "disk")
        os.mkdir(self.folder)
        super().__init__("faulty-disk", [sys.executable, "-B", PROGRAM, self.folder, str(mib)])
        rig.on_end(lambda: run("umount", "--lazy", self.folder))
        rig.keep(self)
        try:
            self.expect("READY")
        except Failure:
            raise Skip(f"no FUSE mount: {self.lines}")

    def command(self, text):
        """Done; how many reads and writes are held now."""
        mark = self.mark()
        self.send(text + "\n")
        done = self.expect(r"^DONE (\d+) (\d+)", since=mark)
        return {"read": int(done[1]), "write": int(done[2])}

    def wait_held(self, kind, count=1):
        wait_until(lambda: self.command("held")[kind] >= count, f"{count} {kind} held")

    def loop(self):
        """A block device that is this disk."""
        made = subprocess.run(["losetup", "--find", "--show", "--direct-io=on", self.path],
                              capture_output=True, text=True)
        if made.returncode != 0:
            raise Skip(f"no loop device: {made.stderr.strip()}")
        device = made.stdout.strip()
        self.rig.on_end(lambda: run("losetup", "--detach", device))
        return device

    def ext4(self):
        """A folder on this disk."""
        if not shutil.which("mkfs.ext4"):
            raise Skip("mkfs.ext4 is missing: install e2fsprogs")
        device = self.loop()
        folder = os.path.join(self.rig.folder, "ext4")
        os.mkdir(folder)
        run("mkfs.ext4", "-q", "-m", "0", device)
        run("mount", device, folder)
        self.rig.on_end(lambda: run("umount", "--lazy", folder))
        return folder


def run(*argv):
    made = subprocess.run(argv, capture_output=True, text=True)
    if made.returncode != 0:
        raise Failure(f"{' '.join(argv)}: {made.stderr.strip()}")
