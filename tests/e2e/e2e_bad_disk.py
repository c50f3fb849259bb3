#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A disk that gives back something else than was written, or nothing: the page is lost, and nobody
ever sees wrong content in its place. The disk is a loop device whose file is damaged behind it."""
import os
import signal
import subprocess

import vmswap_e2e
from vmswap_e2e import Skip, check, wait_until
from vmswap_mapper import do, mapper

MIB = 64


def loop_device(rig, path):
    with open(path, "wb") as file:
        file.truncate(256 << 20)
    # Direct I/O, so that what is changed in the file is what the device gives.
    made = subprocess.run(["losetup", "--find", "--show", "--direct-io=on", path],
                          capture_output=True, text=True)
    if made.returncode != 0:
        raise Skip(f"no loop device: {made.stderr.strip()}")
    device = made.stdout.strip()
    rig.on_end(lambda: subprocess.run(["losetup", "--detach", device], check=True))
    return device


def swapped_out(rig):
    """A VM all of whose pages are on the disk, and the file behind the disk."""
    path = os.path.join(rig.folder, "disk")
    daemon = rig.daemon("--swap-device", loop_device(rig, path))
    owner = mapper(rig, "owner", "own", MIB)
    vm = daemon.attach(owner.pid)
    vm.run("enable")
    vm.run("swap_out")
    check(vm.metrics()["swap_pages"] == MIB * 256, f"{vm.metrics()}")
    daemon.rpc.call("events.subscribe")
    return daemon, owner, vm, path


def event_types(daemon, last):
    types = []
    while last not in types:
        types.append(daemon.rpc.next_event()["type"])
    return types


def dies_of_the_loss(owner):
    """It touches all its memory: no wrong word, and SIGBUS where the content is lost."""
    owner.send("check 0\n")
    status = owner.wait()
    check(not owner.bad_lines(), f"{owner.bad_lines()}")
    check(status == -signal.SIGBUS, f"the owner ended with {status}\n{owner.tail()}")


def test_a_changed_byte_is_noticed_and_the_page_is_poisoned(rig):
    daemon, owner, vm, path = swapped_out(rig)
    with open(path, "r+b", buffering=0) as file:
        file.seek((10 << 20) + 123)
        byte = file.read(1)
        file.seek((10 << 20) + 123)
        file.write(bytes([byte[0] ^ 1]))
        os.fsync(file.fileno())

    # Everything else comes back, and the VM can be let go: the one page stays an error.
    vm.run("disable")

    check(vm.metrics()["poisoned_pages"] == 1, f"{vm.metrics()}")
    check(vm.metrics()["io_errors"] >= 1, f"{vm.metrics()}")
    check("page-poisoned" in event_types(daemon, "page-poisoned"), "no event")
    vm.detach()
    dies_of_the_loss(owner)
    daemon.check_idle()


def test_a_disk_that_is_gone_poisons_what_is_touched(rig):
    daemon, owner, vm, path = swapped_out(rig)
    os.truncate(path, 0)

    dies_of_the_loss(owner)

    check("page-poisoned" in event_types(daemon, "page-poisoned"), "no event")
    wait_until(lambda: daemon.rpc.call("vm.list")["vms"] == [], "the VM is collected")
    daemon.check_idle()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
