#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every thread of the worker has its seccomp filter, and the processes that must have none have
none. That each filter has what its thread needs is for all the other tests to show: their daemons
run with --seccomp kill."""
import os
import signal

import vmswap_e2e
from vmswap_e2e import check, children, read_file, wait_until
from vmswap_rpc import Rpc, RpcError

FILTERED = "2"
UNFILTERED = "0"


def field(task, name):
    lines = read_file(f"{task}/status").split("\n")
    return next((line.split()[1] for line in lines if line.startswith(name + ":")), None)


def threads(pid):
    """{thread id: (name, Seccomp, NoNewPrivs)}; kernel workers are not ours."""
    found = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        task = f"/proc/{pid}/task/{tid}"
        name = read_file(f"{task}/comm")
        if name and not name.startswith("iou-"):
            found[tid] = (name, field(task, "Seccomp"), field(task, "NoNewPrivs"))
    return found


def has_all_filters(pid):
    return all(thread[1:] == (FILTERED, "1") for thread in threads(pid).values())


def check_filters(daemon, pid, *names):
    """Each thread, among them those of these names; not the injector, nor the supervisor."""
    wait_until(lambda: has_all_filters(pid), lambda: f"threads without a filter: {threads(pid)}")
    running = {thread[0] for thread in threads(pid).values()}
    check(running.issuperset(names), f"{names} are not all among {running}")
    for other in (children(pid)[0], daemon.process.pid):
        check(field(f"/proc/{other}", "Seccomp") == UNFILTERED,
              f"{read_file(f'/proc/{other}/comm')} has a filter")


def next_status(daemon):
    """Of the worker that follows; None before it answers."""
    try:
        status = Rpc(daemon.socket).call("daemon.status")
    except (OSError, RpcError):
        return None
    return status if status["worker_pid"] != daemon.pid else None


def test_every_thread_has_a_filter_and_so_have_those_of_the_next_worker(rig):
    daemon = rig.daemon()
    guest = rig.guest("--size", "64M", "--working-set", "20")
    vm = daemon.attach(guest.pid)
    vm.run("enable")
    vm.run("swap_out")

    check_filters(daemon, daemon.pid, "shard-0", "shard-1", "puncher", "vm-worker")

    os.kill(daemon.pid, signal.SIGKILL)
    status = wait_until(lambda: next_status(daemon), "another worker")
    check_filters(daemon, status["worker_pid"], "shard-0", "shard-1", "puncher", "vm-worker")
    guest.goes_on()
    guest.finish()


def test_threads_that_do_the_disk_io_have_a_filter(rig):
    daemon = rig.daemon("--disable-feature", "io_uring")

    check_filters(daemon, daemon.pid, "shard-0", "shard-1", "puncher", "io-read", "io-write")


def test_the_mode_is_told_and_deny_is_the_default(rig):
    for number, mode in enumerate(("deny", "log", "kill", "off")):
        daemon = rig.daemon("--seccomp", mode, name=f"vmswapd-{number}")
        check(daemon.rpc.call("daemon.status")["seccomp"] == mode, f"not {mode}")
        if mode != "off":
            check_filters(daemon, daemon.pid, "shard-0")
        else:
            check(not has_all_filters(daemon.pid), "--seccomp off")
        daemon.stop()

    check("(deny)" in os.popen(f"{vmswap_e2e.program('vmswapd')} --help").read(), "the default")


if __name__ == "__main__":
    vmswap_e2e.main(globals())
