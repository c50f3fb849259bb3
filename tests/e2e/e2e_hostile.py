#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ten thousand connections of clients that nobody wants (torture_hostile.py: half messages, lines
of 1 MiB, clients that do not read, descriptors): who behaves is answered all the while, the worker
does not die, nothing is left."""
import os
import random
import sys
import time

import vmswap_e2e
from vmswap_e2e import check, wait_until
from vmswap_rpc import Rpc, RpcError

sys.path.insert(0, os.path.join(vmswap_e2e.TOP, "tests", "torture"))
from torture_hostile import Crowd  # noqa: E402  pylint: disable=wrong-import-position

SEED = int(os.environ.get("VMSWAP_SEED", "1"))
CONNECTIONS = 10000
# After so many, who behaves asks; after so many of these, all leave at once.
WAVE = 200
WAVES_THAT_STAY = 5


def is_served_anew(daemon):
    """False while there are too many: the kernel's queue is full, or the daemon turns all away
    until it has seen who has left."""
    try:
        rpc = Rpc(daemon.socket)
    except BlockingIOError:
        return False
    try:
        return rpc.call("daemon.ping", timeout_s=30)["pong"]
    except (ConnectionError, RpcError):
        return False
    finally:
        rpc.close()


def ask(daemon):
    """A connection that was there first and a new one; how long both together took."""
    begin = time.monotonic()
    check(daemon.rpc.call("daemon.ping", timeout_s=30)["pong"], "no answer")
    wait_until(lambda: is_served_anew(daemon), "somebody new is let in")
    return time.monotonic() - begin


def descriptors(daemon):
    return len(os.listdir(f"/proc/{daemon.pid}/fd"))


def test_ten_thousand_hostile_connections_harm_nobody(rig):
    daemon = rig.daemon()
    guest = rig.guest("--size", "64M", "--working-set", "20")
    vm = daemon.attach(guest.pid)
    vm.run("enable")
    vm.run("swap_out")
    ask(daemon)
    before = descriptors(daemon)
    rng = random.Random(SEED)
    crowd = Crowd()
    slowest = 0
    wave = 0

    # Ends: somebody new is let in after each wave, so the next one gets in as well.
    while crowd.count < CONNECTIONS:
        crowd.come(daemon.socket, rng, min(WAVE, CONNECTIONS - crowd.count))
        wave += 1
        slowest = max(slowest, ask(daemon))
        guest.check_good()
        if wave % WAVES_THAT_STAY == 0:
            crowd.go()
    crowd.go()

    print(f"{crowd.count} connections, slowest answer {slowest * 1000:.0f} ms")
    status = daemon.rpc.call("daemon.status")
    check(status["restarts"] == 0 and status["worker_pid"] == daemon.pid, f"{status}")
    # Nobody asks meanwhile: what is overdue is closed by a daemon that has nothing else to do.
    wait_until(lambda: descriptors(daemon) <= before,
               lambda: f"{descriptors(daemon)} descriptors, {before} at first")
    guest.goes_on()
    vm.run("disable")
    vm.detach()
    guest.finish()
    daemon.check_idle()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
