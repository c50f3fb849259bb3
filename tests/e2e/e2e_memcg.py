#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Limits of memory cgroups: around a VMM, what does not fit is not brought back; around the daemon,
guests do not feel them, not even when the kernel kills workers for want of memory."""
import os

import vmswap_e2e
from vmswap_crash import adopt, status_of, taken_over
from vmswap_e2e import Skip, check, children, wait_until
from vmswap_mapper import do, mapper
from vmswap_rpc import RpcError

MIB = 1 << 20
GUEST_MIB = 256
V1 = "/sys/fs/cgroup/memory"
V2 = "/sys/fs/cgroup"


class Cgroup:
    """A memory cgroup of either version."""

    def __init__(self, rig, name):
        if os.path.exists(f"{V1}/memory.limit_in_bytes"):
            base, self.limit, self.usage = V1, "memory.limit_in_bytes", "memory.usage_in_bytes"
        elif "memory" in vmswap_e2e.read_file(f"{V2}/cgroup.subtree_control"):
            base, self.limit, self.usage = V2, "memory.max", "memory.current"
        else:
            raise Skip("no memory cgroup can be made below /sys/fs/cgroup")
        self.folder = f"{base}/vmswap-test-{os.getpid()}-{name}"
        os.mkdir(self.folder)
        rig.on_end(self.remove)

    def remove(self):
        """When the processes in it have gone, which the kernel tells with delay."""
        def gone():
            try:
                os.rmdir(self.folder)
            except OSError:
                return False
            return True
        wait_until(gone, f"{self.folder} can be removed")

    def take(self, *pids):
        for pid in pids:
            with open(f"{self.folder}/cgroup.procs", "w") as file:
                file.write(str(pid))

    def used(self):
        return int(vmswap_e2e.read_file(f"{self.folder}/{self.usage}"))

    def set_limit(self, size):
        with open(f"{self.folder}/{self.limit}", "w") as file:
            file.write(str(size))


def attached(rig):
    daemon = rig.daemon("--swap-limit", "1G")
    vmm = mapper(rig, "vmm", "own", GUEST_MIB)
    return daemon, vmm, daemon.attach(vmm.pid, name="vm")


def test_disable_is_refused_where_the_vmm_has_no_room(rig):
    group = Cgroup(rig, "vmm")
    daemon, vmm, vm = attached(rig)
    group.take(vmm.pid)
    vm.run("enable")
    vm.run("swap_out")
    group.set_limit(group.used() + 64 * MIB)

    job = vm.wait_job(vm.start("disable"))

    check(job["state"] == "failed" and "MiB are missing" in job["error"], f"{job}")
    check(vm.state == "active", f"{vm.state}")
    do(vmm, "peek")
    group.set_limit(2 * GUEST_MIB * MIB)
    vm.run("disable")

    do(vmm, "check 0")
    vm.detach()
    daemon.check_idle()


def test_a_limit_around_the_daemon_is_not_the_guests(rig):
    group = Cgroup(rig, "daemon")
    daemon, vmm, vm = attached(rig)
    group.take(daemon.process.pid, daemon.pid, *children(daemon.pid))
    # A sixteenth of the guest: the tables, and what the kernel has for descriptors and rings.
    group.set_limit(group.used() + GUEST_MIB // 16 * MIB)

    for cycle in range(3):
        vm.run("enable")
        vm.run("swap_out")
        check(vm.metrics()["swap_pages"] == GUEST_MIB * 256, "all of it is out")
        if cycle == 1:
            do(vmm, "check 0")
        vm.run("disable")
        do(vmm, "check 0")

    check(status_of(daemon)["restarts"] == 0, "no worker died of it")
    vm.detach()
    daemon.check_idle()


def test_workers_that_the_kernel_kills_for_want_of_memory_cost_a_guest_nothing(rig):
    group = Cgroup(rig, "daemon")
    daemon, vmm, vm = attached(rig)
    group.take(daemon.pid)
    # Whatever a worker allocates next is too much; the supervisor is not in it.
    vm.run("enable")
    try:
        group.set_limit(group.used() + 16 * 4096)
        vm.run("swap_out", timeout_s=20)
    except (OSError, EOFError, RpcError):
        pass
    old = daemon.pid
    wait_until(lambda: status_of(daemon)["worker_pid"] != old, "another one has taken over", 20)
    adopt(daemon, status_of(daemon))

    vm = taken_over(daemon, "vm")
    do(vmm, "check 0")
    vm.run("enable")
    vm.run("swap_out")
    do(vmm, "check 0")
    vm.run("disable")
    vm.detach()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
