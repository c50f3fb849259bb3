#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the worker costs a guest a pause and not one byte: at rest, in the middle of every
operation, again and again; a QEMU guest and plain processes that verify all they wrote."""
import os
import random
import signal
import time

import vmswap_e2e
from vmswap_crash import kill_worker, stop_process, taken_over
from vmswap_e2e import check, children, read_file, wait_until
from vmswap_mapper import do, mapper
from vmswap_rpc import Rpc, RpcError

SEED = int(os.environ.get("VMSWAP_SEED", "1"))


def test_a_vm_at_rest_is_taken_over_in_each_state(rig):
    daemon = rig.daemon("--swap-limit", "1G")
    guest = rig.guest("--size", "256M", "--working-set", "5")
    guest.goes_on()
    vm = daemon.attach(guest.pid, name="guest")
    # What was staged is resident in the successor: it has to be enabled again.
    for operations, state in (((), "ready"), (("enable",), "pending"),
                              (("enable", "swap_out"), "active"), (("disable",), "ready")):
        for operation in operations:
            vm.run(operation)
        before = vm.metrics()["swap_pages"]

        took_ms = kill_worker(daemon)
        vm = taken_over(daemon, "guest")

        check(vm.state == state, f"{vm.state} instead of {state}")
        check(vm.metrics()["swap_pages"] <= before, "pages went out by themselves")
        print(f"{state}: answers again after {took_ms:.0f} ms, {before} pages out before, "
              f"{vm.metrics()['swap_pages']} now")
        guest.goes_on()
        if state == "active":
            check(vm.metrics()["swap_pages"] > 0, "what was out still is")
    guest.verify()
    vm.run("enable")
    vm.run("swap_out")
    vm.detach()
    wait_until(lambda: daemon.used_bytes() == 0, "no slot is in use")
    check(not guest.open_userfaultfds(), "our userfaultfds are closed in the guest")
    guest.finish()
    daemon.stop()


def test_the_first_answer_has_all_vms(rig):
    daemon = rig.daemon("--swap-limit", "1G")
    owners = [mapper(rig, f"own{number}", "own", 1) for number in range(16)]
    # The CPUs are busy with something else.
    busy = rig.guest("--size", "64M", "--threads", "8")
    for number, owner in enumerate(owners):
        daemon.attach(owner.pid, name=f"vm{number}", min_size=1 << 20)
    for _ in range(3):
        worker = daemon.rpc.call("daemon.status")["worker_pid"]
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: worker not in children(daemon.process.pid), "it is collected")
        # The supervisor has the socket: the call waits there for the next worker.
        daemon.rpc = Rpc(daemon.socket)
        listed = {pid for vm in daemon.rpc.call("vm.list")["vms"] for pid in vm["pids"]}
        check(listed == {owner.pid for owner in owners}, f"{len(listed)} of {len(owners)}")
    for owner in owners:
        owner.end()
    busy.finish()
    daemon.stop()


def step(vm, rng):
    """Some operation is begun, or nothing; what is illegal now is."""
    try:
        vm.start(rng.choice(["enable", "enable", "trim", "swap_out", "swap_out", "disable"]))
    except RpcError:
        pass


def survive(daemon, guest, name, kills, seed):
    rng = random.Random(seed)
    slowest = 0
    for _ in range(kills):
        vm = taken_over(daemon, name)
        for _ in range(rng.randrange(1, 4)):
            step(vm, rng)
            time.sleep(rng.random() * 0.15)
        # Not a crash loop: five deaths within 30 s are one.
        daemon_rest(daemon)
        slowest = max(slowest, kill_worker(daemon))
        guest.check_good()
    print(f"seed {seed}: {kills} kills, the slowest answered after {slowest:.0f} ms")
    return taken_over(daemon, name)


def daemon_rest(daemon):
    """The supervisor gives up after five deaths in 30 s: no more than four here."""
    now = time.monotonic()
    deaths = daemon.__dict__.setdefault("deaths", [])
    deaths[:] = [at for at in deaths if now - at < 31]
    if len(deaths) >= 4:
        time.sleep(31 - (now - deaths[0]))
    deaths.append(time.monotonic())


def test_kills_in_the_middle_of_operations_lose_nothing(rig):
    daemon = rig.daemon("--swap-limit", "1G")
    guest = rig.guest("--size", "256M", "--working-set", "20")
    guest.goes_on()
    daemon.attach(guest.pid, name="guest")

    vm = survive(daemon, guest, "guest", 8, SEED)

    guest.verify()
    vm.run("disable")
    guest.verify()
    vm.detach()
    wait_until(lambda: daemon.used_bytes() == 0, "no slot is in use")
    guest.finish()
    daemon.stop()


def pair_out(rig, mib):
    """A VM of two processes, all of it out."""
    daemon = rig.daemon("--swap-limit", "1G")
    owner = mapper(rig, "owner", "own", mib)
    other = mapper(rig, "other", "join", owner.pid)
    vm = daemon.attach(owner.pid, other.pid, name="pair")
    vm.run("enable")
    vm.run("swap_out")
    return daemon, owner, other, vm


def test_a_vm_of_two_processes_is_taken_over(rig):
    daemon, owner, other, vm = pair_out(rig, 128)
    check(vm.metrics()["swap_pages"] > 0, f"{vm.metrics()}")

    kill_worker(daemon)
    vm = taken_over(daemon, "pair")

    check(sorted(vm.status()["pids"]) == sorted([owner.pid, other.pid]), f"{vm.status()}")
    do(other, "check 0")
    do(owner, "write 1")
    do(other, "check 1")
    vm.run("enable")
    vm.run("swap_out")
    do(owner, "check 1")
    vm.detach()
    do(other, "check 1")
    daemon.stop()


def test_a_process_that_dies_in_the_gap_is_noticed(rig):
    daemon = rig.daemon("--swap-limit", "1G")
    guest = rig.guest("--size", "128M", "--working-set", "5")
    guest.goes_on()
    vm = daemon.attach(guest.pid, name="guest")
    vm.run("enable")
    vm.run("swap_out")

    stop_process(daemon.pid)
    guest.signal(signal.SIGKILL)
    guest.process.wait()
    kill_worker(daemon)

    wait_until(lambda: daemon.rpc.call("vm.list")["vms"] == [], "the VM is gone")
    wait_until(lambda: daemon.used_bytes() == 0, "no slot is in use")
    daemon.stop()


def test_memory_that_a_process_unmaps_in_the_gap_costs_the_others_nothing(rig):
    daemon, owner, other, _ = pair_out(rig, 64)
    guest = rig.guest("--size", "64M", "--working-set", "5")
    vm = daemon.attach(guest.pid)
    vm.run("enable")
    vm.run("swap_out")

    stop_process(daemon.pid)
    other.send("unmap\n")
    wait_until(lambda: "userfaultfd" in read_file(f"/proc/{other.pid}/wchan"), "it waits")
    kill_worker(daemon)

    other.expect("^OK unmapped")
    do(owner, "check 0")
    guest.verify()
    vm = taken_over(daemon, "pair")
    daemon.rpc.call("vm.remove", vm=vm.name, pid=other.pid)
    vm.detach()
    do(owner, "check 0")
    daemon.stop()


def test_other_memory_in_the_place_of_what_was_unmapped_is_left_alone(rig):
    """It was told of, to a worker that is dead: the next one looks for itself."""
    daemon, owner, other, _ = pair_out(rig, 64)
    do(other, "renew")

    kill_worker(daemon)

    do(other, f"zeros 0 {64 * 256}")
    do(owner, "check 0")
    vm = taken_over(daemon, "pair")
    vm.run("disable")
    daemon.rpc.call("vm.remove", vm=vm.name, pid=other.pid)
    vm.detach()
    do(other, f"zeros 0 {64 * 256}")
    daemon.stop()


def test_a_qemu_guest_survives_kills(rig):
    daemon = rig.daemon("--swap-limit", "2G")
    guest = rig.qemu()
    daemon.attach(guest.pid, name="guest")

    vm = survive(daemon, guest, "guest", 4, SEED + 1)

    guest.goes_on()
    guest.verify()
    guest.check_no_complaint()
    vm.detach()
    guest.verify()
    daemon.stop()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
