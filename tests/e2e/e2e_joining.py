#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Processes that come to a running VM and leave it: vm.add and vm.remove in every state; and what a
VM's page tables cost."""
import vmswap_e2e
from vmswap_e2e import check, wait_until
from vmswap_mapper import do, mapper
from vmswap_rpc import RpcError

MIB = 64
PAGES = MIB * 256


def refused(call, *args, **params):
    try:
        call(*args, **params)
    except RpcError as error:
        return error
    raise vmswap_e2e.Failure(f"{args} {params} should have been refused")


def join_in(rig, prepare, **attach):
    """A second process joins after `prepare`, works on the memory, is swapped with it, leaves."""
    daemon = rig.daemon()
    owner = mapper(rig, "owner", "own", MIB)
    vm = daemon.attach(owner.pid, **attach)
    prepare(vm, owner)
    late = mapper(rig, "late", "join", owner.pid)

    daemon.rpc.call("vm.add", vm=vm.name, pid=late.pid)

    check(sorted(vm.status()["pids"]) == sorted([owner.pid, late.pid]), f"{vm.status()['pids']}")
    do(late, "check 0")
    do(late, "write 1")
    do(owner, "check 1")
    for generation in range(2, 5):
        vm.run("enable")
        vm.run("swap_out")
        check(vm.metrics()["swap_pages"] > PAGES // 2, f"{vm.metrics()}")
        do(late, f"check {generation - 1}")
        do(owner, f"write {generation}")
        do(late, f"check {generation}")
    vm.run("enable")
    vm.run("swap_out")
    late.process.stdin.close()
    wait_until(lambda: vm.status()["pids"] == [owner.pid], "the one that ended is collected")
    do(owner, "check 4")
    vm.run("disable")
    vm.detach()
    do(owner, "check 4")
    daemon.check_idle()


def test_a_process_joins_a_ready_vm(rig):
    join_in(rig, lambda vm, owner: None)


def test_a_process_joins_a_staged_vm(rig):
    join_in(rig, lambda vm, owner: vm.run("enable"))


def test_a_process_joins_a_vm_that_is_out(rig):
    def out(vm, owner):
        vm.run("enable")
        vm.run("swap_out")
    join_in(rig, out)


def test_the_zap_of_a_process_that_joins_is_no_discard(rig):
    def mostly_out(vm, owner):
        vm.run("enable")
        vm.run("swap_out")
        do(owner, "peek")
    join_in(rig, mostly_out, trust_discard=True)


def test_eviction_waits_for_a_process_that_has_not_been_added(rig):
    daemon = rig.daemon()
    owner = mapper(rig, "owner", "own", MIB)
    vm = daemon.attach(owner.pid)
    vm.run("enable")
    late = mapper(rig, "late", "join", owner.pid)

    job = vm.wait_job(vm.start("swap_out"))

    check(job["state"] == "failed" and str(late.pid) in job["error"], f"{job}")
    check(vm.metrics()["swap_pages"] == 0, "pages went out under a process that is not attached")
    daemon.rpc.call("vm.add", vm=vm.name, pid=late.pid)
    vm.run("enable")
    vm.run("swap_out")
    do(late, "check 0")
    vm.detach()
    do(owner, "check 0")
    daemon.check_idle()


def pair_out(rig):
    """A VM of two processes, all of it out."""
    daemon = rig.daemon()
    owner = mapper(rig, "owner", "own", MIB)
    late = mapper(rig, "late", "join", owner.pid)
    vm = daemon.attach(owner.pid, late.pid)
    vm.run("enable")
    vm.run("swap_out")
    return daemon, owner, late, vm


def test_a_process_that_still_maps_the_memory_cannot_be_removed(rig):
    daemon, owner, late, vm = pair_out(rig)

    error = refused(daemon.rpc.call, "vm.remove", vm=vm.name, pid=late.pid)
    check(str(late.pid) in error.message, error.message)
    do(late, "unmap")
    daemon.rpc.call("vm.remove", vm=vm.name, pid=late.pid)

    check(vm.status()["pids"] == [owner.pid], f"{vm.status()['pids']}")
    vm.run("enable")
    vm.run("swap_out")
    do(owner, "check 0")
    vm.detach()
    daemon.check_idle()


def test_memory_in_the_place_of_what_was_unmapped_is_not_registered(rig):
    daemon, owner, late, vm = pair_out(rig)
    do(late, "renew")
    vm.run("disable")

    said = vm.wait_job(vm.start("enable"))

    check(said["state"] == "failed" and "moved or unmapped" in said["error"], f"{said}")
    check("remove it from the VM" in said["error"], f"{said}")
    do(late, f"zeros 0 {PAGES}")
    daemon.rpc.call("vm.remove", vm=vm.name, pid=late.pid)
    vm.run("enable")
    vm.run("swap_out")
    do(owner, "check 0")
    do(late, f"zeros 0 {PAGES}")
    vm.detach()
    daemon.check_idle()


def test_page_tables_stay_within_their_budget(rig):
    daemon = rig.daemon()
    owner = mapper(rig, "owner", "own", MIB)
    vm = daemon.attach(owner.pid)
    summaries = 16 * PAGES // 512
    # Three tables, each rounded up to pages.
    rounding = 3 * vmswap_e2e.PAGE

    vm.run("enable")
    staged = vm.status()["metadata_bytes"]
    vm.run("swap_out")
    out = vm.status()["metadata_bytes"]

    check(staged <= 8 * PAGES + summaries + rounding, f"{staged / PAGES} bytes a page in RAM")
    check(out <= 16 * PAGES + summaries + rounding, f"{out / PAGES} bytes a page that is out")
    check(out > staged, "digests cost something")
    vm.detach()
    daemon.check_idle()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
