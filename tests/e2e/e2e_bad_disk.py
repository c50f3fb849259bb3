#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A disk that gives back something else than was written, or nothing: the page is lost, and nobody
ever sees wrong content in its place. The disk is a loop device whose file is damaged behind it."""
import os
import signal
import subprocess

import vmswap_e2e
from vmswap_e2e import PAGE, Skip, check, wait_until
from vmswap_mapper import do, mapper

MIB = 64
# Of a VM that fills its store to the last place, so that each place is used again.
SMALL_MIB = 16


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


def change_a_byte(path):
    """In the middle of the swap file."""
    with open(path, "r+b", buffering=0) as file:
        file.seek((10 << 20) + 123)
        byte = file.read(1)
        file.seek((10 << 20) + 123)
        file.write(bytes([byte[0] ^ 1]))
        os.fsync(file.fileno())


def test_a_changed_byte_is_noticed_and_the_page_is_poisoned(rig):
    daemon, owner, vm, path = swapped_out(rig)
    change_a_byte(path)

    # Everything else comes back, and the VM can be let go: the one page stays an error.
    vm.run("disable")

    check(vm.metrics()["poisoned_pages"] == 1, f"{vm.metrics()}")
    check(vm.metrics()["io_errors"] >= 1, f"{vm.metrics()}")
    check("page-poisoned" in event_types(daemon, "page-poisoned"), "no event")
    vm.detach()
    dies_of_the_loss(owner)
    daemon.check_idle()


def test_a_scrub_finds_a_changed_byte_before_the_guest_does(rig):
    daemon, owner, vm, path = swapped_out(rig)
    job = vm.wait_job(vm.start("scrub", rate_bytes=1 << 30))
    check((job["state"], job["pages"], job["bad_pages"]) == ("done", MIB * 256, 0), f"{job}")
    change_a_byte(path)

    job = vm.wait_job(vm.start("scrub", rate_bytes=1 << 30))

    check((job["state"], job["bad_pages"], job["mended_pages"]) == ("done", 1, 0), f"{job}")
    check(vm.state == "active", f"{vm.status()}")
    check(vm.metrics()["poisoned_pages"] == 0, f"{vm.metrics()}")
    check(vm.metrics()["corrupt_pages"] == 1, f"{vm.metrics()}")
    event = daemon.rpc.next_event()
    while event["type"] != "page-corrupt":
        event = daemon.rpc.next_event()
    check(event["pid"] == owner.pid and event["address"] % 4096 == 0 and event["address"] > 0,
          f"{event}")
    dies_of_the_loss(owner)


def test_a_scrub_is_slow_when_asked_and_ends_for_any_other_command(rig):
    daemon, owner, vm, _ = swapped_out(rig)
    slow = vm.start("scrub", rate_bytes=1 << 20)
    check(vm.start("scrub") == slow, "a second scrub is the one under way")
    daemon.rpc.call("job.cancel", job=slow)
    check(vm.wait_job(slow)["state"] == "cancelled", "cancel")
    slow = vm.start("scrub", rate_bytes=1 << 20)

    vm.run("disable")

    job = vm.wait_job(slow)
    check(job["state"] == "cancelled" and job["pages"] < MIB * 256, f"{job}")
    vm.check_refused(-32001, "scrub")
    owner.send("check 0\n")
    vm.detach()


def read_slots(path):
    """The pages of the swap file that hold something, by place."""
    pages = {}
    with open(path, "rb") as file:
        for slot in range(SMALL_MIB * 256):
            content = file.read(PAGE)
            if any(content):
                pages[slot] = content
    return pages


def write_slots(path, pages):
    with open(path, "r+b", buffering=0) as file:
        for slot, content in pages.items():
            file.seek(slot * PAGE)
            file.write(content)
        os.fsync(file.fileno())


def torn(_, now):
    """The second half of one page was not written: it is from the page behind it."""
    slot = sorted(now)[100]
    return {slot: now[slot][:PAGE // 2] + now[slot + 1][PAGE // 2:]}


def exchanged(_, now):
    first = sorted(now)[200]
    return {first: now[first + 1], first + 1: now[first]}


def stale(before, now):
    """Three places hold again what they held one swap-out before."""
    slots = [slot for slot in sorted(now) if slot in before and before[slot] != now[slot]]
    check(len(slots) == SMALL_MIB * 256, f"{len(slots)} places were used again")
    return {slot: before[slot] for slot in slots[300:600:100]}


def damage_is_found(rig, way, damage):
    """The pages that the damage hits are lost, and no others; no process sees wrong content."""
    path = os.path.join(rig.folder, "swap.img")
    daemon = rig.daemon("--swap-file", path, "--swap-limit", f"{SMALL_MIB}M",
                        f"--encrypt={way}")
    owner = mapper(rig, "owner", "own", SMALL_MIB)
    vm = daemon.attach(owner.pid, min_size=1 << 20)
    vm.run("enable")
    vm.run("swap_out")
    before = read_slots(path)
    do(owner, "write 1")
    vm.run("enable")
    vm.run("swap_out")
    check(vm.metrics()["swap_pages"] == SMALL_MIB * 256, f"{vm.metrics()}")
    changed = damage(before, read_slots(path))
    write_slots(path, changed)

    vm.run("disable")

    check(vm.metrics()["poisoned_pages"] == len(changed), f"{len(changed)}, {vm.metrics()}")
    # Each was read again before it was given up.
    check(vm.metrics()["io_errors"] >= 2 * len(changed), f"{vm.metrics()}")
    vm.detach()
    owner.send("check 1\n")
    check(owner.wait() == -signal.SIGBUS and not owner.bad_lines(), owner.tail())
    daemon.check_idle()
    daemon.stop()


def test_a_torn_page_is_found(rig):
    damage_is_found(rig, "no", torn)


def test_a_torn_encrypted_page_is_found(rig):
    damage_is_found(rig, "yes", torn)


def test_two_exchanged_pages_are_found(rig):
    damage_is_found(rig, "no", exchanged)


def test_two_exchanged_encrypted_pages_are_found(rig):
    damage_is_found(rig, "yes", exchanged)


def test_stale_pages_are_found(rig):
    damage_is_found(rig, "no", stale)


def test_stale_encrypted_pages_are_found(rig):
    damage_is_found(rig, "yes", stale)


def test_a_disk_that_is_gone_poisons_what_is_touched(rig):
    daemon, owner, vm, path = swapped_out(rig)
    os.truncate(path, 0)

    dies_of_the_loss(owner)

    check("page-poisoned" in event_types(daemon, "page-poisoned"), "no event")
    wait_until(lambda: daemon.rpc.call("vm.list")["vms"] == [], "the VM is collected")
    daemon.check_idle()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
