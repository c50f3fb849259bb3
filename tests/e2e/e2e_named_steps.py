#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A worker that dies at a named step (vmswapd(8), PROBES). tests/torture visits all of them; here
is what deaths at some of them had left behind."""
import mmap
import os
import re
import shutil
import signal
import tempfile

import vmswap_e2e
from mapper import memory_of
from vmswap_crash import adopt, arm_worker, next_worker, taken_over
from vmswap_e2e import check, read_file, wait_until
from vmswap_mapper import do, mapper

PAGE = 4096


def dies_at(daemon, name, function):
    """The worker, at that step of what function() begins; another one serves then."""
    worker = arm_worker(daemon, name)
    try:
        function()
    except OSError:
        pass
    else:
        raise vmswap_e2e.Failure(f"nobody came to {name}")
    adopt(daemon, next_worker(daemon, worker))
    daemon.expect(rf"worker {worker} died: signal 5 ", 10)


def nothing_is_left(daemon, guest):
    wait_until(lambda: daemon.rpc.call("vm.list")["vms"] == [], "no VM is left", 10)
    flags = re.findall(r"^VmFlags: (.*)$", read_file(f"/proc/{guest.pid}/smaps"), re.M)
    registered = [line for line in flags if {"um", "uw", "ui"} & set(line.split())]
    check(not registered, f"registered at nobody: {registered}")
    guest.goes_on()
    guest.verify()


def small_guest(rig):
    return rig.guest("--size", "64M", "--working-set", "20")


def test_of_an_attach_that_is_cut_off_nothing_stays_registered(rig):
    daemon = rig.daemon()
    guest = small_guest(rig)

    dies_at(daemon, "process:registering", lambda: daemon.attach(guest.pid))

    nothing_is_left(daemon, guest)
    check(guest.open_userfaultfds() == [], "a userfaultfd is left in the VMM")
    daemon.attach(guest.pid).detach()
    daemon.stop()


def test_a_detach_that_is_cut_off_leaves_no_vm_without_processes(rig):
    daemon = rig.daemon()
    guest = small_guest(rig)
    vm = daemon.attach(guest.pid)
    vm.run("enable")
    vm.run("swap_out")

    dies_at(daemon, "detach:forgotten", vm.detach)

    nothing_is_left(daemon, guest)
    daemon.attach(guest.pid).detach()
    daemon.stop()


def give_back(pid, page):
    """By whoever else has the memory, as vhost-user back-ends do: new content, then none."""
    fd = memory_of(pid)
    os.pwrite(fd, b"\x99" * PAGE, page * PAGE)
    with mmap.mmap(fd, 0) as memory:
        memory.madvise(mmap.MADV_REMOVE, page * PAGE, PAGE)
    os.close(fd)


def test_what_a_guest_gives_back_while_there_is_no_worker_stays_so(rig):
    """It dies when pages are the guest's again, and its words do not say so yet."""
    daemon = rig.daemon(shards=1)
    vmm = mapper(rig, "vmm", "own", 64)
    vm = daemon.attach(vmm.pid)
    vm.run("enable")
    vm.run("swap_out")
    worker = arm_worker(daemon, "swap_in:copied")
    daemon.signal(signal.SIGSTOP)

    mark = vmm.mark()
    vmm.send("check 0\n")
    wait_until(lambda: " Z " in read_file(f"/proc/{worker}/stat"), "the worker dies")
    # The first pages are verified by now, and the next is waited for.
    wait_until(lambda: read_file(f"/proc/{vmm.pid}/wchan") == "handle_userfault", "the VMM waits")
    give_back(vmm.pid, 0)
    daemon.signal(signal.SIGCONT)

    adopt(daemon, next_worker(daemon, worker))
    vmm.expect("^OK checked", since=mark)
    do(vmm, "zeros 0 1")
    vmswap_e2e.Vm(daemon, vm.name).run("disable")
    do(vmm, "zeros 0 1")


# From before a descriptor is made in a VMM until all is done, and back.
STEPS_OF_AN_ATTACH = ("inject:stopped", "inject:asked", "inject:received", "attach:made",
                      "ledger:stored", "attach:found", "ledger:settled", "process:registering",
                      "attach:joined")
STEPS_OF_A_DETACH = ("process:unregistered", "detach:left", "inject:stopped",
                     "inject:asked", "detach:closed", "ledger:dropped", "detach:forgotten",
                     "detach:freed", "ledger:forgotten", "detach:done")


def leaves_no_descriptor(rig, step, lead):
    """Each with a daemon of its own: five deaths would be a loop."""
    daemon = rig.daemon(name=step.replace(":", "-"))
    guest = small_guest(rig)

    dies_at(daemon, step, lead(daemon, guest))

    nothing_is_left(daemon, guest)
    left = guest.open_userfaultfds()
    check(left == [], f"{step}: {left} are left in the VMM")
    guest.end()
    daemon.stop()


def attach_of(daemon, guest):
    return lambda: daemon.attach(guest.pid)


def detach_of(daemon, guest):
    vm = daemon.attach(guest.pid)
    vm.run("enable")
    vm.run("swap_out")
    return vm.detach


def test_an_attach_that_is_cut_off_leaves_no_descriptor_in_the_vmm(rig):
    for step in STEPS_OF_AN_ATTACH:
        leaves_no_descriptor(rig, step, attach_of)


def test_a_detach_that_is_cut_off_leaves_no_descriptor_in_the_vmm(rig):
    for step in STEPS_OF_A_DETACH:
        leaves_no_descriptor(rig, step, detach_of)


def test_who_joins_a_vm_when_the_worker_dies_may_join_again(rig):
    """It is a member with its descriptors, or none and has no descriptors."""
    daemon = rig.daemon()
    owner = mapper(rig, "owner", "own", 64)
    vm = daemon.attach(owner.pid)

    for step in ("attach:made", "ledger:stored", "attach:found"):
        vm.run("enable")
        vm.run("swap_out")
        late = mapper(rig, step.replace(":", "-"), "join", owner.pid)
        dies_at(daemon, step, lambda: daemon.rpc.call("vm.add", vm=vm.name, pid=late.pid))
        vm = taken_over(daemon, vm.name)
        check(vm.status()["pids"] == [owner.pid], f"{step}: {vm.status()['pids']}")
        check(late.open_userfaultfds() == [], f"{step}: {late.open_userfaultfds()} are left")
        daemon.rpc.call("vm.add", vm=vm.name, pid=late.pid)
        do(late, "check 0")
        late.process.stdin.close()
        wait_until(lambda: vm.status()["pids"] == [owner.pid], "the one that ended is collected")
    do(owner, "check 0")
    vm.detach()
    check(owner.open_userfaultfds() == [], f"{owner.open_userfaultfds()} are left")
    daemon.stop()


def dies_with_its_supervisor(daemon, step, function):
    """As dies_at(), and nobody takes over."""
    worker = arm_worker(daemon, step)
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        function()
    except OSError:
        pass
    else:
        raise vmswap_e2e.Failure(f"nobody came to {step}")
    wait_until(lambda: not os.path.exists(f"/proc/{worker}/exe"), "the worker dies")
    daemon.process.kill()
    daemon.process.wait()


def test_a_detach_that_both_died_in_is_finished_by_recover(rig):
    folder = tempfile.mkdtemp(prefix="vmswap-steps-", dir="/dev/shm")
    rig.on_end(lambda: shutil.rmtree(folder, ignore_errors=True))
    for step in ("detach:left", "detach:closed"):
        daemon = rig.daemon("--state-dir", folder, name=step.replace(":", "-"))
        guest = small_guest(rig)
        lead = detach_of(daemon, guest)

        dies_with_its_supervisor(daemon, step, lead)

        daemon = rig.daemon("--state-dir", folder, "--recover", name=f"{daemon.name}-recovered")
        nothing_is_left(daemon, guest)
        check(guest.open_userfaultfds() == [], f"{step}: {guest.open_userfaultfds()} are left")
        guest.end()
        daemon.stop()


def leaves_no_name(rig, step, is_attach=False):
    """In the state directory, which has to be on a tmpfs for that."""
    folder = tempfile.mkdtemp(prefix="vmswap-steps-", dir="/dev/shm")
    rig.on_end(lambda: shutil.rmtree(folder, ignore_errors=True))
    daemon = rig.daemon("--state-dir", folder)
    guest = small_guest(rig)

    if is_attach:
        dies_at(daemon, step, lambda: daemon.attach(guest.pid))
    else:
        dies_at(daemon, step, daemon.attach(guest.pid).detach)

    nothing_is_left(daemon, guest)
    daemon.stop()
    check(os.listdir(folder) == [], f"held for a guest: {os.listdir(folder)}")


def test_a_process_that_is_not_in_the_ledger_is_not_held_for_ever(rig):
    leaves_no_name(rig, "ledger:dropped")


def test_no_name_outlives_a_vm_that_is_not_held_any_more(rig):
    leaves_no_name(rig, "ledger:forgotten")


def test_no_name_outlives_a_vm_that_was_never_attached(rig):
    leaves_no_name(rig, "ledger:named", is_attach=True)


if __name__ == "__main__":
    vmswap_e2e.main(globals())
