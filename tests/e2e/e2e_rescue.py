#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is left when workers die again and again: minimal mode, which serves faults and brings
memory back."""
import signal
import subprocess

import vmswap_e2e
from vmswap_crash import adopt, into_minimal_mode, next_worker, status_of, taken_over
from vmswap_e2e import check, program, wait_until
from vmswap_rpc import REFUSED, RpcError

# Every method that is not offered in minimal mode, with params that are right otherwise.
NOT_OFFERED = (("vm.enable", {"vm": "guest"}), ("vm.trim", {"vm": "guest"}),
               ("vm.swap_out", {"vm": "guest"}), ("vm.scrub", {"vm": "guest"}),
               ("vm.attach", {"pids": [1]}), ("vm.add", {"vm": "guest", "pid": 1}),
               ("vm.remove", {"vm": "guest", "pid": 1}), ("vm.attach_self", {"regions": []}),
               ("debug.record_start", {"vm": "guest"}))


def vmswapctl(daemon, *words, timeout_s=60):
    run = subprocess.run([program("vmswapctl"), "--socket", daemon.socket, *words],
                         capture_output=True, text=True, timeout=timeout_s, check=False)
    return run.returncode, run.stdout + run.stderr


def swapped_out(rig, *args):
    """A guest that verifies its memory all the time, with nearly all of it out."""
    daemon = rig.daemon("--swap-limit", "1G", "--debug", *args)
    guest = rig.guest("--size", "128M", "--working-set", "5")
    guest.goes_on()
    vm = daemon.attach(guest.pid, name="guest")
    vm.run("enable")
    vm.run("swap_out")
    check(vm.metrics()["swap_pages"] > 0, f"{vm.metrics()}")
    return daemon, guest


def test_a_crash_loop_leads_to_minimal_mode_which_serves_a_guest(rig):
    daemon, guest = swapped_out(rig)

    status = into_minimal_mode(daemon)

    check(status["io"] == "threads", f"{status}")
    vm = taken_over(daemon, "guest")
    check(vm.metrics()["swap_pages"] > 0, "what was out still is")
    guest.goes_on()
    guest.verify()
    metrics = vm.metrics()
    check(metrics["faults_file"] > 1000, f"{metrics}")
    check(metrics["readahead_pages"] == 0 and metrics["replay_pages"] == 0, f"{metrics}")
    guest.finish()
    wait_until(lambda: daemon.rpc.call("vm.list")["vms"] == [], "the VM is collected")


def test_minimal_mode_tells_of_itself_and_refuses_what_it_does_not_offer(rig):
    daemon, _ = swapped_out(rig)
    into_minimal_mode(daemon)

    for method, params in NOT_OFFERED:
        try:
            daemon.rpc.call(method, **params)
        except RpcError as error:
            check((error.code, error.reason) == (REFUSED, "minimal-mode"), f"{method}: {error}")
            check("minimal mode" in error.message and "SIGUSR1" in error.message, error.message)
            continue
        raise vmswap_e2e.Failure(f"{method} should have been refused")
    daemon.rpc.call("events.subscribe")
    event = daemon.rpc.next_event()
    check((event["type"], event["mode"]) == ("mode", "minimal"), f"{event}")
    code, text = vmswapctl(daemon, "daemon")
    check(code == 0 and "minimal" in text, text)
    daemon.expect("minimal mode")


def test_minimal_mode_brings_memory_back_and_lets_vms_go(rig):
    daemon, guest = swapped_out(rig)
    into_minimal_mode(daemon)
    vm = taken_over(daemon, "guest")

    vm.run("disable")
    guest.verify()
    vm.detach()

    # There is no injector that could close them.
    check(guest.open_userfaultfds(), "our userfaultfds are left, which is harmless")
    daemon.stop()
    guest.goes_on()
    again = rig.daemon(name="again")
    vm = again.attach(guest.pid)
    vm.run("enable")
    vm.run("swap_out")
    guest.verify()
    again.stop()
    guest.finish()


def test_sigusr1_and_an_upgrade_lead_out_of_minimal_mode(rig):
    daemon, guest = swapped_out(rig)
    minimal = into_minimal_mode(daemon)

    daemon.signal(signal.SIGUSR1)

    status = next_worker(daemon, minimal["worker_pid"])
    check(status["mode"] == "normal", f"{status}")
    into_minimal_mode(daemon)
    code, text = vmswapctl(daemon, "upgrade")
    check(code == 0, text)
    status = status_of(daemon)
    check((status["mode"], status["upgrade"]) == ("normal", "done"), f"{status}")
    adopt(daemon, status)
    vm = taken_over(daemon, "guest")
    vm.run("enable")
    vm.run("swap_out")
    guest.verify()
    guest.finish()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
