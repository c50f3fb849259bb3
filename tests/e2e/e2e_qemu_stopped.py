#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A VM that stands still, by SIGSTOP or by QMP, is attached and driven just the same."""
import signal

import vmswap_e2e
from vmswap_e2e import MIB, check


def drive(daemon, qemu):
    """All the way out; returns the VM."""
    before = qemu.memory_bytes()
    vm = daemon.attach(qemu.pid)
    vm.run("enable")
    vm.run("trim")
    vm.run("swap_out")
    after = qemu.memory_bytes()
    check(after < min(before // 4, 64 * MIB), f"{before} bytes before, {after} after")
    return vm


def state_letter(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


def test_sigstop(rig):
    daemon = rig.daemon()
    qemu = rig.qemu(cpus=2, boot="vmswap.mib=256")
    qemu.signal(signal.SIGSTOP)
    vmswap_e2e.wait_until(lambda: state_letter(qemu.pid) == "T", "QEMU is stopped")

    vm = drive(daemon, qemu)
    check(state_letter(qemu.pid) == "T", "QEMU is not stopped any more")
    qemu.signal(signal.SIGCONT)

    qemu.goes_on(2)
    qemu.verify()
    vm.run("enable")
    vm.run("swap_out")
    qemu.signal(signal.SIGSTOP)
    vmswap_e2e.wait_until(lambda: state_letter(qemu.pid) == "T", "QEMU is stopped")
    vm.run("disable")
    vm.detach()
    check(qemu.open_userfaultfds() == [], "a userfaultfd was left behind")
    qemu.signal(signal.SIGCONT)
    qemu.verify()
    qemu.check_no_complaint()


def test_stopped_by_qmp(rig):
    daemon = rig.daemon()
    qemu = rig.qemu(cpus=1, boot="vmswap.mib=256")
    qemu.qmp("stop")

    vm = drive(daemon, qemu)
    qemu.qmp("cont")

    qemu.goes_on(2)
    qemu.verify()
    vm.run("disable")
    vm.detach()
    qemu.verify()
    qemu.check_no_complaint()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
