#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""QEMU with devices that reach into guest memory by themselves, or take it away: a disk without
page cache, a balloon with free page reporting that inflates and deflates during live swap."""
import vmswap_e2e
from vmswap_e2e import MIB, check

BALLOON = ["-device", "virtio-balloon-pci,id=balloon,free-page-reporting=on"]


def disk_of(rig):
    disk = rig.disk("disk.img", 16384, 7)
    return ["-drive", f"file={disk},format=raw,if=none,id=disk,cache=none,aio=native,read-only=on",
            "-device", "virtio-blk-pci,drive=disk"]


def booted(rig):
    qemu = rig.qemu(cpus=2, boot="vmswap.mib=160 vmswap.hot=20 vmswap.churn=64",
                    machine=[*BALLOON, *disk_of(rig)])
    qemu.expect(r"^OK .* disk=4")
    return qemu


def balloon_reaches(qemu, mib):
    qemu.qmp("balloon", value=mib * MIB)
    vmswap_e2e.wait_until(lambda: abs(qemu.qmp("query-balloon")["actual"] - mib * MIB) < 32 * MIB,
                          f"the balloon reaches {mib} MiB", 60)


def test_balloon_and_direct_io_during_live_swap(rig):
    daemon = rig.daemon()
    qemu = booted(rig)
    vm = daemon.attach(qemu.pid, dwell=2)

    for number in range(10):
        vm.run("enable")
        balloon_reaches(qemu, 400 if number % 2 == 0 else 500)
        vm.run("swap_out")
        balloon_reaches(qemu, 350 if number % 2 == 0 else 512)
        qemu.goes_on(1)
        if number % 3 == 2:
            vm.run("disable")
    qemu.verify()
    vm.run("disable")
    qemu.verify()
    vm.detach()

    qemu.goes_on(2)
    qemu.check_no_complaint()


def test_the_dwell_is_long_for_a_qemu_without_page_cache(rig):
    daemon = rig.daemon()
    qemu = booted(rig)

    vm = daemon.attach(qemu.pid, dwell="auto")

    check(vm.status()["dwell_ms"] >= 30000, f"{vm.status()['dwell_ms']}")
    vm.run("enable")
    qemu.goes_on(1)
    vm.run("disable")
    qemu.verify()
    qemu.check_no_complaint()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
