#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""State × command: what is legal runs, what is not is an error naming state and command."""
import vmswap_e2e
from vmswap_e2e import Vm, check, wait_until
from vmswap_mapper import do, mapper
from vmswap_rpc import ILLEGAL_STATE, TIMEOUT, RpcError


def attached(rig, *args, size="128M"):
    daemon = rig.daemon()
    guest = rig.guest("--size", size, "--working-set", "5", "--attach", "--socket",
                      daemon.socket, "--name", "guest", *args)
    return guest, Vm(daemon, "guest")


def check_illegal(vm, *operations):
    state = vm.state
    for operation in operations:
        error = vm.check_refused(ILLEGAL_STATE, operation)
        check(state in error.message, f"{operation}: the message does not name {state}: {error}")
        check(error.data.get("state") == state, f"{operation}: {error.data}")
        check(vm.state == state, f"{operation} changed {state} to {vm.state}")


def test_ready_and_pending_and_active_refuse_what_makes_no_sense(rig):
    guest, vm = attached(rig)

    check_illegal(vm, "trim", "swap_out")
    vm.rpc.call("vm.disable", vm=vm.name)
    check(vm.state == "ready", vm.state)
    vm.run("enable")
    vm.run("enable")
    vm.run("trim")
    vm.run("swap_out")
    check_illegal(vm, "trim", "swap_out")
    vm.run("enable")
    vm.run("swap_out")
    vm.run("disable")
    check_illegal(vm, "trim", "swap_out")

    guest.verify()
    guest.finish()


def in_progress(vm, operation, state):
    """Starts it and returns its job while the VM shows `state`; None when it was too quick."""
    job = vm.start(operation)
    return job if vm.state == state else None


def attempt(vm, prepare, operation, state, tries=20):
    """Catches the VM in the middle of an operation."""
    for _ in range(tries):
        for step in prepare:
            vm.run(step)
        job = in_progress(vm, operation, state)
        if job:
            return job
        wait_until(lambda: not vm.state.endswith("in-progress"), "the operation ends")
    raise vmswap_e2e.Skip(f"{operation} was always too quick to be met in {state}")


def test_a_swap_out_in_progress_refuses_and_is_aborted_by_disable(rig):
    guest, vm = attached(rig, size="512M")
    job = attempt(vm, ["enable"], "swap_out", "swap-out-in-progress")
    for operation in ("trim", "swap_out"):
        try:
            vm.start(operation)
        except RpcError as error:
            check(error.code == ILLEGAL_STATE, f"{error}")
        else:
            check(vm.state != "swap-out-in-progress", f"{operation} was let in")

    vm.run("disable")

    check(vm.wait_job(job)["state"] in ("cancelled", "done"), "the swap-out's own job")
    check(vm.metrics()["swap_pages"] == 0, f"{vm.metrics()}")
    guest.verify()
    guest.finish()


def test_a_swap_in_is_aborted_by_enable(rig):
    guest, vm = attached(rig, size="512M")
    job = attempt(vm, ["enable", "swap_out"], "disable", "swap-in-in-progress")

    vm.run("enable")

    check(vm.wait_job(job)["state"] in ("cancelled", "done"), "the swap-in's own job")
    vm.run("swap_out")
    guest.verify()
    vm.run("disable")
    guest.finish()


def test_a_cancelled_job_leaves_a_vm_that_goes_on(rig):
    guest, vm = attached(rig, size="512M")
    vm.run("enable")
    job = vm.start("swap_out")

    try:
        vm.rpc.call("job.cancel", job=job)
    except RpcError as error:
        check("ended" in error.message or error.code == -32003, f"{error}")

    check(vm.wait_job(job)["state"] in ("cancelled", "done"), "the job")
    vm.run("disable")
    guest.verify()
    guest.finish()


def test_waiting_for_a_state(rig):
    guest, vm = attached(rig)

    check(vm.rpc.call("vm.wait", vm="guest", state="ready")["state"] == "ready", "at once")
    try:
        vm.rpc.call("vm.wait", vm="guest", state="active", timeout_ms=200)
        raise vmswap_e2e.Failure("active was waited for and came")
    except RpcError as error:
        check(error.code == TIMEOUT, f"{error}")
    vm.start("enable")
    check(vm.rpc.call("vm.wait", vm="guest", state="pending", timeout_ms=30000)["state"] ==
          "pending", "pending")

    vm.run("disable")
    guest.finish()


def test_the_dwell_keeps_pages_in_ram_until_it_is_over(rig):
    daemon = rig.daemon()
    guest = rig.guest("--size", "64M", "--working-set", "1")
    vm = daemon.attach(guest.pid, dwell=3)
    vm.run("enable")
    check(vm.status()["dwell_ms"] == 3000, f"{vm.status()}")

    job = vm.start("swap_out")
    written = vm.metrics()["swap_pages"]
    done = vm.wait_job(job)

    check(written == 0, f"{written} pages were out before the dwell was over")
    check(done["state"] == "done" and done["elapsed_ms"] > 1000, f"{done}")
    check(vm.metrics()["swap_pages"] > 0, f"{vm.metrics()}")
    vm.run("disable")
    guest.finish()


def test_enabling_again_keeps_what_is_staged_ready_to_go(rig):
    daemon = rig.daemon()
    owner = mapper(rig, "owner", "own", 64)
    vm = daemon.attach(owner.pid)
    vm.run("enable")

    vm.run("enable")
    vm.run("swap_out")

    metrics = vm.metrics()
    check(metrics["swap_pages"] == 64 * 256, f"{metrics}")
    do(owner, "check 0")
    vm.detach()
    daemon.check_idle()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
