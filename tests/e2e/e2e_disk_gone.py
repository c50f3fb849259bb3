#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A disk that goes away: what is out waits for it, and only what a guest touches meanwhile is lost;
what is in RAM stays there. When the disk comes back, all is as it was."""
import errno
import signal

import vmswap_e2e
from vmswap_disk import FaultyDisk
from vmswap_e2e import check, wait_until
from vmswap_mapper import do, mapper

MIB = 32
PAGES = MIB * 256


def out_on_a_device(rig):
    """A VM all of whose pages are out on a device that does what we say."""
    disk = FaultyDisk(rig, 256)
    daemon = rig.daemon("--swap-device", disk.loop())
    owner = mapper(rig, "owner", "own", MIB)
    vm = daemon.attach(owner.pid, min_size=1 << 20)
    daemon.rpc.call("events.subscribe")
    vm.run("enable")
    vm.run("swap_out")
    check(vm.metrics()["swap_pages"] == PAGES, f"{vm.metrics()}")
    return disk, daemon, owner, vm


def wait_event(daemon, kind):
    event = daemon.rpc.next_event()
    while event["type"] != kind:
        event = daemon.rpc.next_event()
    return event


def disable_fails(vm):
    """Nothing can be read: the job says which pages stay out, and none is given up."""
    job = vm.wait_job(vm.start("disable"))
    check((job["state"], job["left_pages"]) == ("failed", PAGES), f"{job}")
    check(job["missing"] == [{"page": 0, "pages": PAGES}], f"{job}")
    check("could not be brought back" in job["error"], f"{job}")
    status = vm.status()
    check(status["state"] == "failed" and status["failure"] == job["error"], f"{status}")
    check(status["metrics"]["poisoned_pages"] == 0, f"{status['metrics']}")
    # A disk that is gone is not asked for every page.
    check(status["metrics"]["io_errors"] < PAGES / 2, f"{status['metrics']}")


def test_a_swap_in_without_the_disk_gives_up_nothing(rig):
    disk, daemon, owner, vm = out_on_a_device(rig)
    disk.command(f"fail read {errno.EIO}")

    disable_fails(vm)
    check(wait_event(daemon, "read-error")["errno"] == errno.EIO, "event")
    disk.command("fail read 0")
    job = vm.run("disable")

    check("missing" not in job, f"{job}")
    do(owner, "check 0")
    vm.detach()
    daemon.check_idle()
    daemon.stop()


def test_only_what_is_touched_without_the_disk_is_lost(rig):
    disk, daemon, owner, vm = out_on_a_device(rig)
    other = mapper(rig, "other", "join", owner.pid)
    daemon.rpc.call("vm.add", vm=vm.name, pid=other.pid)
    disk.command(f"fail read {errno.EIO}")

    other.send("check 0\n")
    check(other.wait() == -signal.SIGBUS, f"{other.tail()}")
    event = wait_event(daemon, "page-poisoned")
    disk.command("fail read 0")
    vm.run("disable")

    check((event["page"], event["pid"]) == (0, other.pid), f"{event}")
    check(vm.metrics()["poisoned_pages"] == 1, f"{vm.metrics()}")
    do(owner, "check 0 1")
    vm.detach()
    do(owner, "check 0 1")
    daemon.check_idle()


def test_what_cannot_be_written_stays(rig):
    disk, daemon, owner, vm = out_on_a_device(rig)
    vm.run("disable")
    do(owner, "write 1")
    vm.run("enable")
    disk.command(f"fail write {errno.EIO}")
    disk.command(f"fail read {errno.EIO}")

    job = vm.wait_job(vm.start("swap_out"))

    check((job["state"], job["left_pages"]) == ("failed", PAGES), f"{job}")
    check("could not be written" in job["error"], f"{job}")
    check(wait_event(daemon, "write-error")["errno"] == errno.EIO, "event")
    do(owner, "check 1")
    check(vm.metrics()["swap_pages"] == 0, f"{vm.metrics()}")
    disk.command("fail write 0")
    disk.command("fail read 0")
    vm.run("enable")
    vm.run("swap_out")
    do(owner, "check 1")
    vm.detach()
    daemon.check_idle()
    daemon.stop()


def test_a_disk_that_never_comes_back_can_be_given_up(rig):
    disk, daemon, owner, vm = out_on_a_device(rig)
    disk.signal(signal.SIGKILL)
    disk.wait()

    disable_fails(vm)
    daemon.signal(signal.SIGTERM)
    wait_until(lambda: any("not ending" in line for line in daemon.lines), "it does not end")
    vm.run("disable", poison_unreadable=True)

    check(vm.metrics()["poisoned_pages"] == PAGES, f"{vm.metrics()}")
    vm.detach()
    daemon.check_idle()
    owner.send("check 0\n")
    check(owner.wait() == -signal.SIGBUS, f"{owner.tail()}")
    daemon.stop()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
