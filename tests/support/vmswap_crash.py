# SPDX-License-Identifier: Apache-2.0
"""Workers that die, and those that follow them."""
import os
import re
import signal
import time

import vmswap_probes
from vmswap_e2e import Vm, check, children, program, read_file, wait_until
from vmswap_rpc import Rpc, RpcError

# So many within 30 s are a crash loop (ctl/supervisor/supervisor_priv.h).
DEATHS_MAX = 5


def status_of(daemon):
    """daemon.status over a connection of its own: those of a dead worker are dead."""
    rpc = Rpc(daemon.socket)
    try:
        return rpc.call("daemon.status")
    finally:
        rpc.close()


def next_worker(daemon, old_pid, timeout_s=10):
    """The status of the worker that follows old_pid."""
    def look():
        try:
            status = status_of(daemon)
        except (OSError, EOFError, RpcError):
            return None
        return status if status["worker_pid"] != old_pid else None
    return wait_until(look, f"a worker follows {old_pid}", timeout_s)


def arm_worker(daemon, step):
    """The worker dies where it comes to that step (vmswapd(8), PROBES) first. Its pid."""
    worker = status_of(daemon)["worker_pid"]
    offsets = vmswap_probes.probes_of(program("vmswapd"))[step]
    check(vmswap_probes.arm(worker, program("vmswapd"), offsets), f"{worker} has ended")
    return worker


def stop_process(pid):
    """SIGSTOP; no thread of it runs any more, for which kill(2) does not wait."""
    os.kill(pid, signal.SIGSTOP)
    tasks = f"/proc/{pid}/task"
    wait_until(lambda: all(re.search(r"\) [TZ] ", read_file(f"{tasks}/{task}/stat"))
                           for task in os.listdir(tasks)), "all its threads stand")


def worker_of(daemon):
    """The child of the supervisor, while it may not answer yet; 0: none."""
    return next(iter(children(daemon.process.pid)), 0)


def crash_loop(daemon):
    """As many deaths as make a loop. The pid that died last; the next worker is not waited for."""
    worker = status_of(daemon)["worker_pid"]
    for _ in range(DEATHS_MAX - 1):
        os.kill(worker, signal.SIGKILL)
        worker = next_worker(daemon, worker)["worker_pid"]
    os.kill(worker, signal.SIGKILL)
    return worker


def into_minimal_mode(daemon):
    """A crash loop; daemon.rpc speaks with the worker in minimal mode afterwards."""
    status = next_worker(daemon, crash_loop(daemon))
    check(status["mode"] == "minimal", f"{status}")
    adopt(daemon, status)
    return status


def into_waiting(daemon):
    """Crash loops until nothing is served any more."""
    if status_of(daemon)["mode"] == "normal":
        into_minimal_mode(daemon)
    crash_loop(daemon)
    daemon.expect(r"no more are started", 10)


def adopt(daemon, status):
    """The worker of that status is the one the daemon object speaks with."""
    daemon.rpc.close()
    daemon.rpc = Rpc(daemon.socket)
    daemon.pid = status["worker_pid"]


def kill_worker(daemon):
    """How long it took until the next one answered, in ms."""
    os.kill(daemon.pid, signal.SIGKILL)
    begin = time.monotonic()
    adopt(daemon, next_worker(daemon, daemon.pid, 20))
    return (time.monotonic() - begin) * 1000


def taken_over(daemon, name):
    """The VM as the worker shows it; it may be a moment from being listed."""
    wait_until(lambda: any(vm["vm"] == name for vm in daemon.rpc.call("vm.list")["vms"]),
               f"{name} is taken over", 10)
    return Vm(daemon, name)
