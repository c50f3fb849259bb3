#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Several VMs under one daemon, one of which is killed with its memory out."""
import signal

import vmswap_e2e
from vmswap_e2e import check, wait_until


def out(vm):
    vm.run("enable")
    vm.run("swap_out")


def test_two_vms_swap_at_the_same_time_and_one_is_killed(rig):
    daemon = rig.daemon(shards=3)
    first = rig.qemu("first", mib=384, boot="vmswap.mib=160 vmswap.hot=10", wait=False)
    second = rig.qemu("second", mib=384, boot="vmswap.mib=160 vmswap.hot=10", wait=False)
    for qemu in (first, second):
        qemu.expect("^OK", 120, count=2, silence_s=60)
    vms = [daemon.attach(qemu.pid, name=qemu.name) for qemu in (first, second)]

    for _ in range(3):
        jobs = [vm.start("enable") for vm in vms]
        for vm, job in zip(vms, jobs):
            check(vm.wait_job(job)["state"] == "done", f"{vm.name}: enable")
        jobs = [vm.start("swap_out") for vm in vms]
        for vm, job in zip(vms, jobs):
            check(vm.wait_job(job)["state"] == "done", f"{vm.name}: swap-out")
        first.goes_on(1)
        second.goes_on(1)
    used = daemon.used_bytes()
    first.signal(signal.SIGKILL)
    first.wait()

    wait_until(lambda: [vm["vm"] for vm in daemon.rpc.call("vm.list")["vms"]] == ["second"],
               "the killed VM goes away")
    wait_until(lambda: daemon.used_bytes() < used * 0.7, "its slots are free")
    second.verify()
    vms[1].run("disable")
    second.verify()
    second.check_no_complaint()
    vms[1].detach()
    daemon.check_idle()


def test_killed_while_pages_move(rig):
    daemon = rig.daemon()
    for operation in ("enable", "swap_out", "disable"):
        guest = rig.guest("--size", "512M", "--working-set", "10", name=f"guest-{operation}")
        vm = daemon.attach(guest.pid)
        if operation != "enable":
            vm.run("enable")
        if operation == "disable":
            vm.run("swap_out")
        vm.start(operation)

        guest.signal(signal.SIGKILL)
        guest.wait()

        wait_until(lambda: daemon.rpc.call("vm.list")["vms"] == [], f"gone after {operation}")
        daemon.check_idle()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
