#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A disk that takes as long as it likes: who waits for it waits, nobody else does, and nothing is
given up or done twice. VMSWAP_SLOW_S is how long it takes (1 s; 30 shows the same)."""
import os
import time

import vmswap_e2e
from vmswap_crash import kill_worker, taken_over
from vmswap_disk import FaultyDisk
from vmswap_e2e import check, wait_until
from vmswap_mapper import do, mapper

SLOW_S = float(os.environ.get("VMSWAP_SLOW_S", "1"))
MIB = 32
PAGES = MIB * 256
# What a client waits for an answer while the disk does not give one.
PING_S = 0.5


def answers_all_the_time(daemon):
    """For as long as the disk is slow."""
    slowest = 0
    until = time.monotonic() + SLOW_S
    while time.monotonic() < until:
        begin = time.monotonic()
        daemon.rpc.call("daemon.ping")
        daemon.rpc.call("vm.list")
        slowest = max(slowest, time.monotonic() - begin)
    check(slowest < PING_S, f"the daemon took {slowest:.3f} s to answer")


def test_writes_and_reads_that_take_long_are_waited_for(rig):
    disk = FaultyDisk(rig, 256)
    daemon = rig.daemon("--swap-device", disk.loop())
    owner = mapper(rig, "owner", "own", MIB)
    guest = rig.guest("--size", "64M", "--working-set", "20")
    vm, other = daemon.attach(owner.pid, min_size=1 << 20), daemon.attach(guest.pid)
    vm.run("enable")

    disk.command("hold write")
    job = vm.start("swap_out")
    disk.wait_held("write")
    other.run("enable")
    answers_all_the_time(daemon)
    guest.goes_on()
    check(vm.state == "swap-out-in-progress", f"{vm.status()}")
    disk.command("release write")
    ended = vm.wait_job(job)
    check((ended["state"], ended["left_pages"]) == ("done", 0), f"{ended}")
    check(vm.metrics()["written_bytes"] == PAGES * 4096, f"{vm.metrics()}")

    disk.command("hold read")
    mark = owner.mark()
    owner.send("check 0\n")
    disk.wait_held("read")
    other.run("disable")
    answers_all_the_time(daemon)
    guest.goes_on()
    check(owner.mark() == mark, f"{owner.tail()}")
    disk.command("release read")
    owner.expect("^OK", since=mark)
    check(vm.metrics()["read_bytes"] == PAGES * 4096, f"{vm.metrics()}")
    check(vm.metrics()["io_errors"] == 0, f"{vm.metrics()}")

    vm.detach()
    other.detach()
    daemon.check_idle()
    guest.verify()
    do(owner, "check 0")
    daemon.stop()


def slow_writer_dies(rig, disk, *store):
    """The worker is killed while the disk holds writes of it; the VM as its successor shows it,
    whose own writes are done at once. A second VM was out before."""
    daemon = rig.daemon(*store)
    cold = mapper(rig, "cold", "own", 8)
    owner = mapper(rig, "owner", "own", MIB)
    for process in (cold, owner):
        vm = daemon.attach(process.pid, name=process.name, min_size=1 << 20)
        vm.run("enable")
        if process is owner:
            disk.command("hold write")
            vm.start("swap_out")
            disk.wait_held("write")
        else:
            vm.run("swap_out")
    kill_worker(daemon)
    disk.command("pass write")
    vm = taken_over(daemon, "owner")
    do(owner, "check 0")
    do(owner, "write 1")
    do(cold, "check 0")
    vm.run("enable")
    return daemon, owner, vm


def late_writes_hurt_nobody(disk, daemon, owner, vm):
    check(vm.metrics()["swap_pages"] == PAGES, f"{vm.metrics()}")
    disk.command("release write")
    do(owner, "check 1")
    check(vm.metrics()["io_errors"] == 0, f"{vm.metrics()}")
    vm.detach()
    taken_over(daemon, "cold").detach()
    wait_until(lambda: daemon.used_bytes() == 0, "no slot is in use")
    do(owner, "check 1")


def retired_bytes(daemon):
    return daemon.rpc.call("daemon.status")["store"]["retired_bytes"]


def test_a_file_gets_its_places_back_when_the_writes_of_the_dead_have_ended(rig):
    disk = FaultyDisk(rig, 256)
    daemon, owner, vm = slow_writer_dies(rig, disk, "--swap-dir", disk.ext4(),
                                         "--swap-limit", "128M")

    job = vm.start("swap_out")
    answers_all_the_time(daemon)
    vm.wait_job(job)

    check(daemon.used_bytes() > PAGES * 4096, "what is being written is still in use")
    late_writes_hurt_nobody(disk, daemon, owner, vm)
    check(retired_bytes(daemon) == 0, "slots are lost")
    daemon.stop()


def test_a_device_is_written_elsewhere(rig):
    disk = FaultyDisk(rig, 256)
    daemon, owner, vm = slow_writer_dies(rig, disk, "--swap-device", disk.loop())
    wait_until(lambda: retired_bytes(daemon) > 0, "what is being written is out of use")

    vm.run("swap_out")

    late_writes_hurt_nobody(disk, daemon, owner, vm)
    daemon.stop()


def test_a_file_whose_file_system_waits_for_nobody_is_written_elsewhere(rig):
    disk = FaultyDisk(rig, 256)
    daemon, owner, vm = slow_writer_dies(rig, disk, "--swap-file", disk.path,
                                         "--swap-limit", "128M")

    vm.run("swap_out")

    late_writes_hurt_nobody(disk, daemon, owner, vm)
    check(retired_bytes(daemon) > 0, "what was being written is out of use")
    daemon.stop()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
