#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A VMM forks while its memory is out, and the worker dies: the child never reads zeros, whoever
serves it next; and nothing of children is left at their end."""
import os
import signal

import vmswap_e2e
from e2e_recover import start, state_dir
from e2e_rescue import vmswapctl
from vmswap_crash import (adopt, arm_worker, into_minimal_mode, into_waiting, kill_worker,
                          next_worker, stop_process, taken_over)
from vmswap_e2e import check, wait_until
from vmswap_mapper import do, mapper

MIB = 64
PAGES = MIB * 256
# engine/limits.h: of a VM, children included.
PROCESSES_MAX = 32


def kept(daemon):
    """Userfaultfds that the supervisor holds."""
    folder = f"/proc/{daemon.process.pid}/fd"
    links = [vmswap_e2e.read_link(f"{folder}/{fd}") for fd in os.listdir(folder)]
    return sum("userfaultfd" in link for link in links)


def out(rig, *args):
    """A mapper with all its memory out."""
    daemon = rig.daemon(*args)
    vmm = mapper(rig, "vmm", "own", MIB)
    vm = daemon.attach(vmm.pid, name="vm")
    vm.run("enable")
    vm.run("swap_out")
    check(vm.metrics()["swap_pages"] == PAGES, "all pages are out")
    return daemon, vmm, vm


def fork(daemon, vmm):
    """A child, whose descriptors the supervisor has."""
    before = kept(daemon)
    do(vmm, "fork")
    wait_until(lambda: kept(daemon) == before + 2, "one a shard is kept")


def child_begins(vmm):
    """It verifies all memory; for child_ends()."""
    mark = vmm.mark()
    vmm.send("child check 0\n")
    return mark


def child_ends(vmm, mark):
    vmm.expect("^OK checked", since=mark)
    do(vmm, "join")


def child_verifies(vmm):
    child_ends(vmm, child_begins(vmm))


def test_the_next_worker_serves_a_child(rig):
    daemon, vmm, _ = out(rig)
    fork(daemon, vmm)

    kill_worker(daemon)
    taken_over(daemon, "vm")
    kill_worker(daemon)
    taken_over(daemon, "vm")

    child_verifies(vmm)
    do(vmm, "check 0")


def test_a_child_that_waits_for_a_page_is_woken_by_the_next_worker(rig):
    daemon, vmm, _ = out(rig)
    fork(daemon, vmm)

    stop_process(daemon.pid)
    mark = child_begins(vmm)
    check(not any("OK checked" in line for line in vmm.lines[mark:]), "nobody serves it")
    kill_worker(daemon)

    child_ends(vmm, mark)
    do(vmm, "check 0")


def test_children_of_before_and_after_a_death_are_told_apart(rig):
    daemon, vmm, _ = out(rig)
    fork(daemon, vmm)
    kill_worker(daemon)
    taken_over(daemon, "vm")
    fork(daemon, vmm)
    kill_worker(daemon)
    taken_over(daemon, "vm")
    fork(daemon, vmm)

    for _ in range(3):
        child_verifies(vmm)


def test_a_child_that_forked_while_there_was_no_worker_is_served(rig):
    daemon, vmm, _ = out(rig)
    stop_process(daemon.pid)
    mark = vmm.mark()
    vmm.send("fork\n")
    kill_worker(daemon)
    vmm.expect("^OK forked", since=mark)

    child_verifies(vmm)


def forked_at_a_death(rig, step):
    """The worker has read of the fork when it dies; the kernel tells nobody else of the child."""
    daemon, vmm, _ = out(rig)
    before = kept(daemon)
    worker = arm_worker(daemon, step)
    do(vmm, "fork")
    adopt(daemon, next_worker(daemon, worker))
    daemon.expect(rf"worker {worker} died: signal 5 ", 10)
    wait_until(lambda: kept(daemon) == before + 2, "one a shard is kept")
    child_verifies(vmm)
    do(vmm, "check 0")


def test_a_child_whose_descriptor_the_dead_worker_had_just_read_is_served(rig):
    forked_at_a_death(rig, "fault:forked")


def test_a_child_whose_descriptor_was_just_posted_is_served(rig):
    forked_at_a_death(rig, "fault:read")


def test_a_child_goes_on_by_itself_after_disable(rig):
    daemon, vmm, vm = out(rig)
    before = kept(daemon)
    fork(daemon, vmm)

    vm.run("disable")

    check(kept(daemon) == before, "none of the child is kept")
    stop_process(daemon.pid)
    child_verifies(vmm)
    os.kill(daemon.pid, signal.SIGCONT)
    vm.detach()
    daemon.check_idle()


def test_memory_goes_out_again_once_the_children_have_ended(rig):
    daemon = rig.daemon("--swap-limit", "1G")
    vmm = mapper(rig, "vmm", "own", MIB)
    vm = daemon.attach(vmm.pid, name="one")
    vm.run("enable")
    vm.run("swap_out")

    do(vmm, "fork")
    vmm.send("child end\njoin\n")
    vmm.expect("^OK ended")

    do(vmm, "check 0")
    for _ in range(2):
        vm.run("enable")
        vm.run("swap_out")
        check(vm.metrics()["swap_pages"] > 0, f"{vm.metrics()}")
        do(vmm, "check 0")
        vm.run("disable")
    daemon.stop()


def test_nothing_is_left_of_children_that_end(rig):
    daemon, vmm, vm = out(rig)
    before = kept(daemon)
    for _ in range(10):
        do(vmm, "fork")
        vmm.send("child end\n")
        do(vmm, "join")

    # The dead are buried when the next is born.
    wait_until(lambda: kept(daemon) <= before + 2, lambda: f"{before}, now {kept(daemon)}")
    do(vmm, "check 0")
    vm.run("disable")
    check(kept(daemon) == before, "none is kept")


def test_children_that_are_too_many_wait(rig):
    daemon, vmm, vm = out(rig)
    for _ in range(PROCESSES_MAX):
        fork(daemon, vmm)

    mark = child_begins(vmm)
    vm.run("disable")

    child_ends(vmm, mark)
    do(vmm, "check 0")
    for _ in range(PROCESSES_MAX - 1):
        vmm.send("child end\n")
        do(vmm, "join")
    vm.detach()
    daemon.check_idle()


def test_a_child_is_served_in_minimal_mode(rig):
    daemon, vmm, _ = out(rig)
    fork(daemon, vmm)

    into_minimal_mode(daemon)

    child_verifies(vmm)


def test_a_child_waits_for_a_rescue(rig):
    daemon, vmm, _ = out(rig)
    fork(daemon, vmm)
    into_waiting(daemon)

    mark = child_begins(vmm)
    code, text = vmswapctl(daemon, "rescue")

    check(code == 0, text)
    child_ends(vmm, mark)
    do(vmm, "check 0")


def guards(rig):
    """Processes that keep what workers of this test's daemons knew of children."""
    pids = [name for name in os.listdir("/proc") if name.isdigit()]
    return {pid for pid in pids
            if vmswap_e2e.read_file(f"/proc/{pid}/comm").strip() == "vmswapd-guard"
            and rig.folder in vmswap_e2e.read_file(f"/proc/{pid}/cmdline")}


def recovered(rig, folder):
    return start(rig, folder, "--recover")


def test_a_child_waits_for_a_recovery(rig):
    folder = state_dir(rig)
    daemon, vmm, _ = out(rig, "--state-dir", folder, "--swap-limit", "1G")
    fork(daemon, vmm)
    daemon.kill()
    mark = child_begins(vmm)

    daemon = recovered(rig, folder)
    child_ends(vmm, mark)
    do(vmm, "check 0")
    wait_until(lambda: len(guards(rig)) == 1, "the guard of the dead worker has ended")
    daemon.stop()
    wait_until(lambda: not guards(rig), "no guard is left")


def test_a_child_outlives_a_worker_that_a_recovery_ends(rig):
    """The supervisor is dead when the VMM forks, so it has never heard of the child."""
    folder = state_dir(rig)
    daemon, vmm, _ = out(rig, "--state-dir", folder, "--swap-limit", "1G")
    daemon.signal(signal.SIGKILL)
    daemon.process.wait()
    do(vmm, "fork")
    mark = vmm.mark()

    recovered(rig, folder)
    vmm.send("child check 0\n")
    child_ends(vmm, mark)
    do(vmm, "check 0")


def test_a_child_that_was_just_forked_at_a_death_of_both_waits_for_a_recovery(rig):
    folder = state_dir(rig)
    daemon, vmm, _ = out(rig, "--state-dir", folder, "--swap-limit", "1G")
    arm_worker(daemon, "fault:forked")
    daemon.signal(signal.SIGKILL)
    daemon.process.wait()
    vmm.send("fork\n")
    wait_until(lambda: vmswap_e2e.read_file(f"/proc/{daemon.pid}/stat") == "", "the worker dies")

    recovered(rig, folder)
    child_verifies(vmm)
    do(vmm, "check 0")


def test_no_guard_outlives_the_children_of_a_dead_daemon(rig):
    daemon, vmm, _ = out(rig)
    fork(daemon, vmm)
    daemon.kill()
    check(len(guards(rig)) == 1, "a guard waits")
    vmm.end()
    wait_until(lambda: not guards(rig), "no guard is left", 10)


def test_an_upgrade_keeps_a_child(rig):
    daemon, vmm, _ = out(rig)
    fork(daemon, vmm)
    old = daemon.pid

    code, text = vmswapctl(daemon, "upgrade")
    check(code == 0, text)
    adopt(daemon, next_worker(daemon, old))

    child_verifies(vmm)


if __name__ == "__main__":
    vmswap_e2e.main(globals())
