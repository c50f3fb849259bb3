#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The guests alone, without a daemon: they run clean, and they notice damage. A checker that cannot
fail would make every other end-to-end test worthless."""
import json
import os

import vmswap_e2e
from vmswap_e2e import MIB, PAGE, check


def damage(path, page, data):
    """Overwrites the start of a page of guest memory behind the guest's back."""
    fd = os.open(path, os.O_RDWR)
    os.pwrite(fd, data, page * PAGE + 1000)
    os.close(fd)


def summary(guest):
    return json.loads(guest.lines[-1])


def test_every_mode_runs_clean(rig):
    modes = (
        ["--threads", "4", "--zero-percent", "10"],
        ["--processes", "3", "--threads", "1", "--holes", "--zero-percent", "10"],
        ["--direct-io", os.path.join(rig.folder, "file"), "--threads", "1"],
        ["--working-set", "10", "--rate", "20000", "--read-only-percent", "100"],
        ["--anonymous", "--seccomp"],
    )
    for mode in modes:
        guest = rig.guest("--size", "64M", "--rounds", "2", *mode)

        check(guest.wait() == 0, f"{mode}: {guest.tail()}")
        check(summary(guest)["status"] == "DONE", f"{mode}: {guest.tail()}")
        check(summary(guest)["operations"] > 0, f"{mode}: did nothing")


def test_a_changed_page_is_noticed_on_request(rig):
    guest = rig.guest("--size", "64M", "--working-set", "1")

    damage(vmswap_e2e.largest_shared_mapping(guest.pid), 9000, b"damaged")
    guest.ask_to_verify()

    check(guest.wait() == 1, f"exit status: {guest.tail()}")
    check(any(line.startswith("BAD page=9000 ") for line in guest.lines), guest.tail())


def test_a_page_that_became_zero_is_noticed_at_work(rig):
    guest = rig.guest("--size", "64M", "--processes", "2", "--json")

    damage(vmswap_e2e.largest_shared_mapping(guest.pid), 77, bytes(64))

    check(guest.wait() == 1, f"exit status: {guest.tail()}")
    bad = [json.loads(line) for line in guest.bad_lines()]
    check(bad[0]["page"] == 77, f"{bad}")


def test_a_page_of_an_earlier_generation_is_noticed(rig):
    guest = rig.guest("--size", "64M", "--read-only-percent", "0")
    path = vmswap_e2e.largest_shared_mapping(guest.pid)
    fd = os.open(path, os.O_RDWR)
    old = os.pread(fd, PAGE, 5 * PAGE)

    guest.goes_on()
    os.pwrite(fd, old, 5 * PAGE)
    os.close(fd)

    check(guest.wait() == 1, f"exit status: {guest.tail()}")
    check(any("page=5 " in line for line in guest.bad_lines()), guest.tail())


def test_a_qemu_guest_runs_clean_and_notices_damage(rig):
    disk = rig.disk("disk.img", 4096, 7)
    qemu = rig.qemu(cpus=2, boot="vmswap.mib=128 vmswap.churn=16", machine=[
        "-drive", f"file={disk},format=raw,if=none,id=disk,cache=none,read-only=on",
        "-device", "virtio-blk-pci,drive=disk"])
    qemu.verify()
    qemu.expect(r"^OK .* disk=4")
    qemu.check_no_complaint()
    path = vmswap_e2e.largest_shared_mapping(qemu.pid)
    fd = os.open(path, os.O_RDWR)
    # Pattern pages name themselves in their first word: find some and damage them all.
    pages = [page for page in range(256 * MIB // PAGE)
             if os.pread(fd, 8, page * PAGE) == (12345).to_bytes(8, "little")]

    for page in pages:
        os.pwrite(fd, b"damage", page * PAGE + 2000)
    os.close(fd)

    check(pages, "page 12345 of the pattern is not in guest memory")
    vmswap_e2e.wait_until(lambda: any("page=12345 " in line for line in qemu.bad_lines()),
                          "the guest notices")


if __name__ == "__main__":
    vmswap_e2e.main(globals())
