#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A wall clock that is set back and forward by hours all the time: only the times of events show
it."""
import os

import vmswap_e2e
from vmswap_crash import kill_worker, taken_over
from vmswap_e2e import check, program

HOUR_MS = 3600 * 1000
# A job that counted hours would take them, or end at once.
JOB_MS_MAX = 60 * 1000


def jumping_daemon(rig, *args):
    os.environ["LD_PRELOAD"] = program("libjumping_clock.so")
    try:
        return rig.daemon(*args)
    finally:
        del os.environ["LD_PRELOAD"]


def cycle(vm, dwell_s):
    jobs = [vm.run(operation) for operation in ("enable", "trim", "swap_out", "disable")]
    for job in jobs:
        check(0 <= job["elapsed_ms"] < JOB_MS_MAX, f"{job}")
    out = jobs[1]["elapsed_ms"] + jobs[2]["elapsed_ms"]
    check(out >= (dwell_s - 0.1) * 1000, f"the dwell was cut short: {jobs}")


def test_nothing_goes_by_the_wall_clock(rig):
    daemon = jumping_daemon(rig, "--swap-limit", "1G")
    guest = rig.guest("--size", "64M", "--working-set", "10")
    vm = daemon.attach(guest.pid, name="guest", dwell=1)
    daemon.rpc.call("events.subscribe")

    cycle(vm, 1)
    times = [daemon.rpc.next_event()["time_ms"] for _ in range(4)]
    check(max(times) - min(times) > 9 * HOUR_MS, f"the clock does not jump: {times}")
    vm.run("enable")
    vm.run("swap_out")
    kill_worker(daemon)
    vm = taken_over(daemon, "guest")
    guest.goes_on()
    cycle(vm, 1)

    check(daemon.rpc.call("daemon.status")["uptime_s"] < 3600, "uptime")
    guest.verify()
    vm.detach()
    guest.finish()
    daemon.stop()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
