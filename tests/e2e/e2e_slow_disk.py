#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A disk that takes as long as it likes: who waits for it waits, nobody else does, and nothing is
given up or done twice. VMSWAP_SLOW_S is how long it takes (1 s; 30 shows the same)."""
import os
import time

import vmswap_e2e
from vmswap_disk import FaultyDisk
from vmswap_e2e import check
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


if __name__ == "__main__":
    vmswap_e2e.main(globals())
