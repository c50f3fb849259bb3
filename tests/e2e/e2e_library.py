#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vmswap-guest attached through libvmswap: content through all commands, every way to part."""
import signal

import vmswap_e2e
from vmswap_e2e import MIB, Vm, check, wait_until
from vmswap_rpc import RpcError

SIZE = 128 * MIB


def attached(rig, *args):
    daemon = rig.daemon()
    guest = rig.guest("--size", "128M", "--attach", "--socket", daemon.socket, "--name", "guest",
                      "--zero-percent", "5", *args)
    return daemon, guest, Vm(daemon, "guest")


def test_content_survives_every_command(rig):
    _, guest, vm = attached(rig)
    check(vm.state == "ready", vm.state)

    for operation in ("enable", "trim", "swap_out", "disable", "enable", "swap_out", "enable",
                      "swap_out", "disable"):
        vm.run(operation)
        guest.goes_on(1)
    guest.verify()

    guest.finish()


def test_ram_of_what_is_not_used_comes_back(rig):
    daemon, guest, vm = attached(rig, "--working-set", "10", "--rate", "20000")
    before = guest.memory_bytes()

    vm.run("enable")
    vm.run("swap_out")

    after = guest.memory_bytes()
    check(before >= SIZE * 0.9, f"{before} bytes at first")
    check(after < before * 0.2, f"{before} bytes before, {after} after swap-out")
    metrics = vm.metrics()
    check(metrics["swap_pages"] > 0.7 * SIZE / 4096, f"{metrics}")
    path, size = daemon.swap_file()
    cached = vmswap_e2e.cached_pages(path, size)
    check(cached < 1000, f"{cached} pages of the swap file are in the page cache")
    guest.verify()
    vm.run("disable")
    check(guest.memory_bytes() >= before * 0.9, "RAM after disable")
    check(vm.metrics()["swap_pages"] == 0, f"{vm.metrics()}")
    guest.finish()


def test_holes_and_discards_while_swapping(rig):
    _, guest, vm = attached(rig, "--holes", "--rate", "200000")

    for _ in range(5):
        vm.run("enable")
        vm.run("trim")
        vm.run("swap_out")
        guest.goes_on(1)
    guest.verify()
    vm.run("disable")

    guest.finish()


def test_the_guest_detaches_with_memory_out(rig):
    daemon, guest, vm = attached(rig, "--working-set", "10")
    vm.run("enable")
    vm.run("swap_out")

    guest.finish()

    daemon.check_idle()


def test_an_operator_detaches_and_the_guest_runs_on(rig):
    daemon, guest, vm = attached(rig, "--working-set", "10")
    vm.run("enable")
    vm.run("swap_out")

    vm.detach()

    daemon.check_idle()
    guest.verify()
    guest.finish()


def test_a_killed_guest_is_cleaned_up(rig):
    daemon, guest, vm = attached(rig, "--working-set", "10")
    vm.run("enable")
    vm.run("swap_out")

    guest.signal(signal.SIGKILL)
    guest.wait()

    wait_until(lambda: daemon.rpc.call("vm.list")["vms"] == [], "the VM goes away")
    daemon.check_idle()


def test_the_daemon_ends_and_the_guest_runs_on(rig):
    daemon, guest, vm = attached(rig, "--working-set", "10")
    vm.run("enable")
    vm.run("swap_out")

    daemon.stop()

    guest.verify()
    guest.finish()


def test_a_name_is_given_once(rig):
    daemon, guest, _ = attached(rig)

    second = rig.guest("--size", "64M", "--attach", "--socket", daemon.socket, "--name", "guest",
                       name="second", until=None)

    check(second.wait() == 1, second.tail())
    check("guest" in second.lines[-1] and "cannot attach" in second.lines[-1], second.tail())
    guest.goes_on(1)
    guest.finish()


def test_memory_smaller_than_a_vm_can_be_handed_over(rig):
    daemon = rig.daemon(shards=3)
    guest = rig.guest("--size", "10M", "--attach", "--socket", daemon.socket, "--name", "small")
    vm = Vm(daemon, "small")

    for _ in range(3):
        vm.run("enable")
        vm.run("swap_out")
        vm.run("disable")

    guest.verify()
    guest.finish()
    daemon.check_idle()


def test_a_stranger_cannot_steer(rig):
    _, guest, vm = attached(rig)

    for method in ("vm.status", "vm.enable", "vm.detach"):
        try:
            vm.rpc.call(method, vm="no-such-vm")
            raise vmswap_e2e.Failure(f"{method} of a VM that does not exist was answered")
        except RpcError as error:
            check(error.code == -32000, f"{error}")

    guest.finish()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
