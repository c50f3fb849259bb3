#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A kernel that lacks an optional feature, or refuses io_uring: whole cycles with each of them
masked, and the daemon says what it does without."""
import os
import subprocess

import vmswap_e2e
from vmswap_e2e import Skip, check, program, read_file

OPTIONAL = ("wp", "wp-async", "poison", "events", "event-discard", "pagemap-scan", "io_uring",
            "short-slice")


def cycles(daemon, guest, count=2):
    vm = daemon.attach(guest.pid)
    for _ in range(count):
        vm.run("enable")
        vm.run("trim")
        vm.run("swap_out")
        guest.goes_on(1)
    guest.verify()
    metrics = vm.metrics()
    check(metrics["poisoned_pages"] == 0 and metrics["io_errors"] == 0, f"{metrics}")
    vm.run("disable")
    guest.verify()
    vm.detach()
    daemon.check_idle()


def test_cycles_go_well_without_any_one_feature(rig):
    for feature in OPTIONAL:
        daemon = rig.daemon("--disable-feature", feature, name=f"without-{feature}")
        guest = rig.guest("--size", "64M", "--working-set", "10", name=f"guest-{feature}")
        status = daemon.rpc.call("daemon.status")
        check(feature not in status["features"], f"{status}")
        check(status["io"] == ("threads" if feature == "io_uring" else "io_uring"), f"{status}")

        cycles(daemon, guest)

        daemon.stop()
        guest.finish()


def test_cycles_go_well_without_all_of_them(rig):
    daemon = rig.daemon("--disable-feature", ",".join(OPTIONAL))
    guest = rig.guest("--size", "64M", "--working-set", "10")

    cycles(daemon, guest)

    status = daemon.rpc.call("daemon.status")
    check(status["features"] == ["missing", "minor"], f"{status['features']}")
    guest.finish()


def test_a_host_that_forbids_io_uring(rig):
    path = "/proc/sys/kernel/io_uring_disabled"
    if not os.path.exists(path):
        raise Skip("this kernel has no kernel.io_uring_disabled (Linux 6.6)")
    before = read_file(path)

    def allow(value):
        with open(path, "w") as file:
            file.write(value)
    rig.on_end(lambda: allow(before))
    allow("2")
    daemon = rig.daemon()
    # Others on this machine have a use for it; ours has asked.
    allow(before)
    guest = rig.guest("--size", "64M", "--working-set", "10")
    check(daemon.rpc.call("daemon.status")["io"] == "threads", "not by threads")
    check(any("no io_uring" in line for line in daemon.lines), f"no warning:\n{daemon.tail()}")

    cycles(daemon, guest)

    daemon.stop()
    guest.finish()


def test_a_qemu_guest_lives_on_disk_io_by_threads(rig):
    daemon = rig.daemon("--disable-feature", "io_uring")
    qemu = rig.qemu(mib=256)

    cycles(daemon, qemu)

    qemu.check_no_complaint()
    check(any("no io_uring" in line for line in daemon.lines), f"no warning:\n{daemon.tail()}")


def test_an_unknown_feature_is_a_mistake_that_names_the_known_ones(rig):
    made = subprocess.run([program("vmswapd"), "--disable-feature", "warp"], capture_output=True,
                          text=True)

    check(made.returncode == 2, f"{made.returncode}")
    for feature in OPTIONAL:
        check(feature in made.stderr, made.stderr)


if __name__ == "__main__":
    vmswap_e2e.main(globals())
