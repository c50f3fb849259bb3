#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Targets with few rights: another uid, a seccomp filter that kills; and vmswap-run, which
attaches a program before its first instruction."""
import vmswap_e2e
from vmswap_e2e import UID_NOBODY, Vm, check, wait_until


def cycle(vm, guest):
    for _ in range(3):
        vm.run("enable")
        vm.run("trim")
        vm.run("swap_out")
        guest.goes_on(1)
    guest.verify()
    vm.run("disable")


def test_a_target_of_another_uid(rig):
    daemon = rig.daemon()
    guest = rig.guest("--size", "64M", "--working-set", "20", user=UID_NOBODY, group=UID_NOBODY,
                      extra_groups=[])

    vm = daemon.attach(guest.pid)

    cycle(vm, guest)
    vm.detach()
    check(guest.open_userfaultfds() == [], "a userfaultfd was left behind")
    guest.finish()


def test_a_filter_that_kills_is_suspended(rig):
    daemon = rig.daemon()
    guest = rig.guest("--size", "64M", "--working-set", "20", "--seccomp")

    vm = daemon.attach(guest.pid)

    cycle(vm, guest)
    vm.detach()
    guest.finish()


def test_another_uid_and_a_filter(rig):
    daemon = rig.daemon(shards=4)
    guest = rig.guest("--size", "64M", "--working-set", "20", "--seccomp", user=UID_NOBODY,
                      group=UID_NOBODY, extra_groups=[])

    vm = daemon.attach(guest.pid)

    cycle(vm, guest)
    guest.finish()


def test_a_program_started_by_vmswap_run(rig):
    daemon = rig.daemon()
    guest = rig.keep(vmswap_e2e.Guest("run", [
        vmswap_e2e.program("vmswap-run"), "--socket", daemon.socket, "--name", "fresh", "--",
        vmswap_e2e.program("vmswap-guest"), "--size", "64M", "--working-set", "20", "--seccomp"]))
    guest.expect("READY")
    wait_until(lambda: daemon.rpc.call("vm.list")["vms"], "the VM appears")
    vm = Vm(daemon, "fresh")
    guest.pid = vm.status()["pids"][0]

    for _ in range(3):
        vm.run("enable")
        vm.run("swap_out")
        guest.goes_on(1)
    vm.run("disable")

    guest.finish()
    daemon.check_idle()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
