#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The daemon's own life: an orderly end, one daemon a socket, quiet when idle, steered by
vmswapctl."""
import json
import os
import signal
import subprocess
import time

import vmswap_e2e
from vmswap_e2e import Console, check, program


def control(daemon, *words):
    """vmswapctl: its exit status and what it printed."""
    run = subprocess.run([program("vmswapctl"), "--socket", daemon.socket, *words],
                         capture_output=True, text=True, timeout=120)
    return run.returncode, run.stdout, run.stderr


def test_sigterm_brings_everything_back(rig):
    daemon = rig.daemon()
    guest = rig.guest("--size", "256M", "--working-set", "5")
    vm = daemon.attach(guest.pid)
    vm.run("enable")
    vm.run("swap_out")
    check(guest.memory_bytes() < 64 << 20, f"{guest.memory_bytes()} bytes after swap-out")

    daemon.stop()

    check(guest.memory_bytes() > 240 << 20, f"{guest.memory_bytes()} bytes after the end")
    check(guest.open_userfaultfds() == [], "a userfaultfd was left behind")
    check(not os.path.exists(daemon.socket), "the socket is left")
    guest.verify()
    guest.finish()


def test_sigterm_in_the_middle_of_a_swap_out(rig):
    daemon = rig.daemon()
    guest = rig.guest("--size", "512M", "--working-set", "5")
    vm = daemon.attach(guest.pid)
    vm.run("enable")
    vm.start("swap_out")

    daemon.stop()

    guest.verify()
    guest.finish()


def test_a_second_daemon_on_the_socket_refuses(rig):
    daemon = rig.daemon()

    second = rig.keep(Console("second", [program("vmswapd"), "--foreground", "--socket",
                                         daemon.socket, "--swap-dir", rig.folder]))

    check(second.wait(30) not in (0, None), second.tail())
    check(daemon.rpc.call("daemon.ping")["pong"], "the first one answers")
    check(daemon.socket in "\n".join(second.lines), f"it does not say why:\n{second.tail()}")


def test_a_killed_daemon_leaves_a_socket_that_the_next_one_takes(rig):
    daemon = rig.daemon()
    daemon.kill()

    again = rig.daemon()

    check(again.rpc.call("daemon.status")["pid"] == again.pid, "the new one answers")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        field = file.read().rsplit(")", 1)[1].split()
    return (int(field[11]) + int(field[12])) / os.sysconf("SC_CLK_TCK")


def test_an_idle_daemon_with_four_vms_uses_no_cpu(rig):
    daemon = rig.daemon()
    guests = [rig.guest("--size", "64M", "--rate", "1", name=f"guest{i}") for i in range(4)]
    vms = [daemon.attach(guest.pid) for guest in guests]
    for vm in vms:
        vm.run("enable")
        vm.run("swap_out")
    begin_s, begin_cpu = time.monotonic(), cpu_seconds(daemon.pid)

    for guest in guests:
        guest.goes_on(10)

    share = (cpu_seconds(daemon.pid) - begin_cpu) / (time.monotonic() - begin_s)
    check(share < 0.005, f"{share:.2%} of a CPU")
    for guest in guests:
        guest.finish()


def test_vmswapctl_drives_a_vm(rig):
    daemon = rig.daemon()
    guest = rig.guest("--size", "128M", "--working-set", "5")
    pid = str(guest.pid)

    for words in (["ping"], ["attach", pid, "--name", "guest", "--dwell", "0"],
                  ["enable", "guest", "--wait"], ["trim", "guest", "--wait"],
                  ["swap-out", "guest", "--wait"], ["wait", "guest", "active"], ["list"], ["jobs"],
                  ["status", "guest"]):
        status, out, err = control(daemon, *words)
        check(status == 0, f"{words}: {status} {out} {err}")
    status, out, _ = control(daemon, "--json", "status", "guest")
    check(status == 0 and json.loads(out)["state"] == "active", out)
    check(control(daemon, "trim", "guest")[0] == 1, "an illegal command ends with 1")
    check(control(daemon, "no-such-verb")[0] == 2, "a wrong command line ends with 2")
    for words in (["disable", "guest", "--wait"], ["detach", "guest"], ["shutdown"]):
        status, out, err = control(daemon, *words)
        check(status == 0, f"{words}: {status} {out} {err}")

    check(daemon.wait() == 0, daemon.tail())
    check(control(daemon, "ping")[0] == 1, "no daemon: 1")
    guest.finish()


def test_events_tell_what_happens(rig):
    daemon = rig.daemon()
    guest = rig.guest("--size", "64M", "--working-set", "5")
    daemon.rpc.call("events.subscribe")
    vm = daemon.attach(guest.pid, name="guest")
    vm.run("enable")
    vm.run("swap_out")

    guest.signal(signal.SIGKILL)
    guest.wait()

    seen = []
    while "detached" not in [event["type"] for event in seen]:
        seen.append(daemon.rpc.next_event())
    states = [event["state"] for event in seen if event["type"] == "state"]
    check(states[:3] == ["pending", "swap-out-in-progress", "active"], f"{states}")
    check(seen[0]["type"] == "attached" and seen[0]["vm"] == "guest", f"{seen[0]}")
    check(seen[-1]["reason"] == "exit", f"{seen[-1]}")


if __name__ == "__main__":
    vmswap_e2e.main(globals())
