#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A VMM that is killed, or stopped for a while, at any step of any operation: the daemon lets go of
all it had of it, and the VM beside it notices nothing."""
import signal
import time

import vmswap_e2e
from vmswap_disk import FaultyDisk
from vmswap_e2e import Vm, check, program, wait_until
from vmswap_hold import Hold
from vmswap_mapper import do, mapper
from vmswap_probes import probes_of
from vmswap_rpc import RpcError

MIB = 16
OPERATIONS = ("attach", "enable", "trim", "swap_out", "disable", "detach")
# From before the operation to after its end: about a millisecond each at the beginning.
DELAYS_MS = (0, 0.5, 1, 2, 4, 8, 16, 32)
PROBES = probes_of(program("vmswapd"))
# An enable that fails.
NOT_REACHED = ("enable:releasing",)
# Steps of parts that operations have in common.
SHARED_STEPS = {
    "attach": ("inject:asked", "inject:stopped", "inject:received", "ledger:stored",
               "process:served", "process:registering"),
    "enable": ("process:noted", "process:registering", "stage:marked", "stage:staged",
               "stage:settled"),
    "disable": ("swap_in:reading", "swap_in:read", "swap_in:copied", "swap_in:resident",
                "stage:released", "process:released"),
    "detach": ("swap_in:reading", "swap_in:copied", "process:unregistered", "ledger:dropped",
               "ledger:forgotten"),
}


def begin(daemon, name, owner, operation):
    """The request is on its way; nobody waits for the answer."""
    if operation == "attach":
        daemon.rpc.notify("vm.attach", pids=[owner.pid], name=name, dwell=0, min_size=1 << 20)
    else:
        daemon.rpc.notify(f"vm.{operation}", vm=name)


def bring_to(daemon, name, owner, operation):
    """The VM in the state in which the operation is legal."""
    if operation == "attach":
        return
    vm = daemon.attach(owner.pid, name=name, min_size=1 << 20)
    for earlier in {"enable": (), "trim": ("enable",), "swap_out": ("enable",)}.get(
            operation, ("enable", "swap_out")):
        vm.run(earlier)


def is_gone(daemon, name):
    return all(vm["vm"] != name for vm in daemon.rpc.call("vm.list")["vms"])


def bystander_of(rig, daemon):
    guest = rig.guest("--size", "64M", "--working-set", "20", name="bystander")
    vm = daemon.attach(guest.pid, name="bystander")
    vm.run("enable")
    vm.run("swap_out")
    return guest, vm


def test_killed_at_any_moment_of_each_operation(rig):
    daemon = rig.daemon("--swap-limit", "512M")
    guest, bystander = bystander_of(rig, daemon)
    used = bystander.metrics()
    fds = len(daemon.open_fds())
    for operation in OPERATIONS:
        for delay_ms in DELAYS_MS:
            name = f"{operation}-{delay_ms}"
            owner = mapper(rig, name, "own", MIB)
            bring_to(daemon, name, owner, operation)
            begin(daemon, name, owner, operation)
            time.sleep(delay_ms / 1000)
            owner.signal(signal.SIGKILL)
            owner.wait()
            # The attach that was asked for is over one way or the other when this is answered.
            daemon.rpc.call("daemon.ping")
            wait_until(lambda: is_gone(daemon, name), f"{name} is collected")
    guest.verify()
    check(used["poisoned_pages"] == bystander.metrics()["poisoned_pages"] == 0, "poisoned")
    wait_until(lambda: len(daemon.open_fds()) <= fds, lambda: f"{daemon.open_fds()}")
    bystander.detach()
    daemon.check_idle()
    guest.finish()
    daemon.stop()


def steps():
    """(operation, probe) of all that belong to what a VMM is asked for or made to feel."""
    for probe in PROBES:
        group, step = probe.split(":")
        if group in OPERATIONS and probe not in NOT_REACHED:
            yield group, probe
    for operation, probes in SHARED_STEPS.items():
        for probe in probes:
            yield operation, probe


def test_killed_at_each_step_of_each_operation(rig):
    """The worker is held between two things that it does, and in between the VMM dies."""
    path = program("vmswapd")
    daemon = rig.daemon("--swap-limit", "512M")
    guest, bystander = bystander_of(rig, daemon)
    fds = len(daemon.open_fds())
    for operation, probe in steps():
        owner = mapper(rig, probe, "own", MIB)
        bring_to(daemon, "vm", owner, operation)
        with Hold(daemon.pid, path, PROBES[probe]) as hold:
            begin(daemon, "vm", owner, operation)
            hold.reached()
            owner.signal(signal.SIGKILL)
            owner.wait()
        daemon.rpc.call("daemon.ping")
        wait_until(lambda: is_gone(daemon, "vm"), f"{probe}: it is collected")
    guest.verify()
    check(daemon.rpc.call("daemon.status")["restarts"] == 0, "the worker did not die of it")
    check(bystander.metrics()["poisoned_pages"] == 0, "poisoned")
    wait_until(lambda: len(daemon.open_fds()) <= fds, lambda: f"{daemon.open_fds()}")
    bystander.detach()
    daemon.check_idle()
    guest.finish()
    daemon.stop()


def test_killed_while_the_disk_has_its_pages(rig):
    disk = FaultyDisk(rig, 256)
    daemon = rig.daemon("--swap-device", disk.loop())
    for kind, operation in (("write", "swap_out"), ("read", "disable"), ("read", "touch")):
        owner = mapper(rig, f"{operation}-held", "own", MIB)
        vm = daemon.attach(owner.pid, name=operation, min_size=1 << 20)
        vm.run("enable")
        if kind == "read":
            vm.run("swap_out")
        disk.command(f"hold {kind}")
        if operation == "touch":
            owner.send("check 0\n")
        else:
            vm.start(operation)
        disk.wait_held(kind)
        owner.signal(signal.SIGKILL)
        owner.wait()
        daemon.rpc.call("daemon.ping")
        disk.command(f"release {kind}")
        wait_until(lambda: is_gone(daemon, operation), f"{operation} is collected")
    daemon.check_idle()
    daemon.stop()


def test_stopped_in_each_operation(rig):
    daemon = rig.daemon("--swap-limit", "512M")
    guest, bystander = bystander_of(rig, daemon)
    for operation in OPERATIONS:
        owner = mapper(rig, f"stopped-{operation}", "own", MIB)
        bring_to(daemon, operation, owner, operation)
        owner.signal(signal.SIGSTOP)
        begin(daemon, operation, owner, operation)
        guest.goes_on()
        owner.signal(signal.SIGCONT)
        do(owner, "check 0")
        do(owner, "write 1")
        if not is_gone(daemon, operation):
            try:
                Vm(daemon, operation).detach()
            except RpcError as error:  # the detach that was asked for goes on or has ended
                check(error.code in (-32000, -32001), f"{error}")
        wait_until(lambda: is_gone(daemon, operation), f"{operation} is detached")
        do(owner, "check 1")
        check(not owner.open_userfaultfds(), "userfaultfds are left")
    guest.verify()
    bystander.detach()
    daemon.check_idle()
    guest.finish()
    daemon.stop()


def run_anew(process):
    """Another program in the same process; the memory of the one before is not mapped any more."""
    mark = process.mark()
    process.send("exec\n")
    process.expect("READY", since=mark)


def test_a_vmm_that_executes_another_program_is_one_that_has_ended(rig):
    daemon = rig.daemon("--swap-limit", "512M")
    guest, bystander = bystander_of(rig, daemon)
    owner = mapper(rig, "owner", "own", MIB)
    vm = daemon.attach(owner.pid, name="owner", min_size=1 << 20)
    vm.run("enable")
    vm.run("swap_out")

    run_anew(owner)

    job = vm.wait_job(vm.start("enable"))
    check(job["state"] == "failed" and "another program" in job["error"], f"{job}")
    vm.detach()
    do(owner, "check 0")
    vm = daemon.attach(owner.pid, name="owner", min_size=1 << 20)
    vm.run("enable")
    vm.run("swap_out")
    do(owner, "check 0")
    vm.detach()
    guest.verify()
    bystander.detach()
    daemon.check_idle()
    guest.finish()
    daemon.stop()


def test_one_of_two_processes_executes_another_program(rig):
    daemon = rig.daemon("--swap-limit", "512M")
    owner = mapper(rig, "owner", "own", MIB)
    other = mapper(rig, "other", "join", owner.pid)
    vm = daemon.attach(owner.pid, other.pid, name="shared", min_size=1 << 20)
    vm.run("enable")
    vm.run("swap_out")

    run_anew(other)

    do(owner, "write 1")
    vm.run("enable")
    vm.run("swap_out")
    check(vm.metrics()["swap_pages"] == MIB * 256, f"{vm.metrics()}")
    do(owner, "check 1")
    do(other, "check 0")
    daemon.rpc.call("vm.remove", vm="shared", pid=other.pid)
    vm.detach()
    do(owner, "check 1")
    daemon.check_idle()
    daemon.stop()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
