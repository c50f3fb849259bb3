#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An unmodified QEMU whose guest rewrites and verifies its memory, attached by pid, through many
cycles with everything evicted each time; then detached and attached again."""
import vmswap_e2e
from vmswap_e2e import MIB, check

CYCLES = 10


def cycles(rig, cpus):
    daemon = rig.daemon()
    qemu = rig.qemu(cpus=cpus, boot="vmswap.mib=256 vmswap.hot=10")
    before = qemu.memory_bytes()
    vm = daemon.attach(qemu.pid)
    check(vm.status()["attach"]["stopped_us"] > 0, "the stop was not measured")

    for number in range(CYCLES):
        vm.run("enable")
        vm.run("trim")
        vm.run("swap_out")
        if number == 0:
            check_ram_came_back(daemon, vm, qemu, before)
        qemu.goes_on(2)
        vm.run("disable")
        qemu.goes_on(1)
    qemu.verify()

    qemu.check_no_complaint()
    return daemon, vm, qemu


def check_ram_came_back(daemon, vm, qemu, before):
    after = qemu.memory_bytes()
    check(before > 256 * MIB, f"{before} bytes at first")
    check(after < before // 2, f"{before} bytes before, {after} after swap-out: {vm.metrics()}")
    path, size = daemon.swap_file()
    cached = vmswap_e2e.cached_pages(path, size)
    check(cached < 1000, f"{cached} pages of the swap file are in the page cache")
    check(vm.metrics()["written_bytes"] > 128 * MIB, f"{vm.metrics()}")


def test_one_cpu(rig):
    daemon, vm, qemu = cycles(rig, 1)

    vm.detach()

    check(qemu.open_userfaultfds() == [], "a userfaultfd was left behind")
    daemon.check_idle()
    qemu.verify()


def test_two_cpus_and_attached_again(rig):
    daemon, vm, qemu = cycles(rig, 2)

    vm.detach()
    daemon.check_idle()
    again = daemon.attach(qemu.pid)
    again.run("enable")
    again.run("swap_out")
    qemu.verify()
    again.detach()

    check(qemu.open_userfaultfds() == [], "a userfaultfd was left behind")
    qemu.verify()
    qemu.check_no_complaint()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
