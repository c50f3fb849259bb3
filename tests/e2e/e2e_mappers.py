#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Several processes that map the same guest memory: all of them are attached, or none."""
import os
import signal

import vmswap_e2e
from vmswap_e2e import check, children, wait_until


def family(rig, processes, *args):
    guest = rig.guest("--size", "64M", "--processes", str(processes), "--threads", "1",
                      "--rate", "100000", *args)
    return guest, children(guest.pid)


def cycle(vm, guest, count=3):
    for _ in range(count):
        vm.run("enable")
        vm.run("trim")
        vm.run("swap_out")
        guest.goes_on(1)
    vm.run("disable")
    guest.goes_on(1)


def test_one_pid_of_two_is_refused_and_the_other_is_named(rig):
    daemon = rig.daemon()
    guest, (other,) = family(rig, 2)

    error = daemon.refused(guest.pid)

    check(error.reason == "other-mappers", f"{error} {error.data}")
    check([m["pid"] for m in error.data["mappers"]] == [other], f"{error.data}")
    check(str(other) in error.message and "vmswap-guest" in error.message, error.message)
    check(guest.open_userfaultfds() == [], "a userfaultfd was left behind")
    daemon.check_idle()
    guest.finish()


def test_all_mappers_are_taken_when_asked(rig):
    daemon = rig.daemon()
    guest, others = family(rig, 3)

    vm = daemon.attach(guest.pid, all_mappers=True)

    check(sorted(vm.status()["pids"]) == sorted([guest.pid, *others]), f"{vm.status()['pids']}")
    cycle(vm, guest)
    guest.verify()
    vm.detach()
    daemon.check_idle()
    guest.finish()


def test_all_mappers_can_be_named(rig):
    daemon = rig.daemon()
    guest, others = family(rig, 2, "--holes")

    vm = daemon.attach(guest.pid, *others)

    cycle(vm, guest)
    guest.verify()
    guest.finish()
    wait_until(lambda: daemon.rpc.call("vm.list")["vms"] == [], "the VM goes away")
    daemon.check_idle()


def test_one_of_two_dies_and_the_vm_goes_on(rig):
    daemon = rig.daemon()
    guest, (other,) = family(rig, 2)
    vm = daemon.attach(guest.pid, other)
    vm.run("enable")
    vm.run("swap_out")
    # The leader is left alone: it would complain about the death, which is not what is tested.
    os.kill(other, signal.SIGKILL)

    wait_until(lambda: vm.status()["pids"] == [guest.pid], "the dead process is collected")

    guest.goes_on(1)
    vm.run("enable")
    vm.run("swap_out")
    vm.run("disable")
    guest.goes_on(1)


if __name__ == "__main__":
    vmswap_e2e.main(globals())
