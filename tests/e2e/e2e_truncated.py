#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A VMM that truncates the file of its memory under the daemon: the daemon lives, says so, and goes
on serving everybody else."""
import os

import vmswap_e2e
from vmswap_e2e import check, largest_shared_mapping
from vmswap_mapper import mapper

MIB = 64
ROUNDS = 20


def test_truncation_during_swap_out(rig):
    daemon = rig.daemon()
    other = rig.guest("--size", "64M", "--working-set", "10")
    watcher = daemon.attach(other.pid)
    daemon.rpc.call("events.subscribe")
    for i in range(ROUNDS):
        owner = mapper(rig, f"owner-{i}", "own", MIB)
        vm = daemon.attach(owner.pid)
        # Now: later the mapping is in several pieces.
        memory = os.open(largest_shared_mapping(owner.pid), os.O_RDWR)
        vm.run("enable")
        if i % 2 == 0:
            os.ftruncate(memory, (MIB - 1 - i) << 20)
            job = vm.wait_job(vm.start("swap_out"))
        else:
            job = vm.start("swap_out")
            os.ftruncate(memory, i << 20)
            job = vm.wait_job(job)
        check(job["state"] in ("done", "failed"), f"{job}")
        os.ftruncate(memory, MIB << 20)
        vm.wait_job(vm.start("disable"))
        os.close(memory)
        owner.end()
    types = {event["type"] for event in daemon.rpc.events}
    check("memory-truncated" in types, f"{types}")
    check(daemon.process.poll() is None, f"the daemon is gone:\n{daemon.tail()}")

    watcher.run("enable")
    watcher.run("swap_out")
    other.verify()
    watcher.run("disable")
    watcher.detach()
    daemon.check_idle()
    other.finish()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
