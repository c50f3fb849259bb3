#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads past the page cache that are in flight while their pages are staged and evicted: the
disk goes on writing the old page. A dwell longer than the longest read is what saves them; the
daemon must choose it by itself for a VMM with O_DIRECT files."""
import os

import vmswap_e2e
from vmswap_e2e import Skip, check
from vmswap_rpc import RpcError

BLKIO = "/sys/fs/cgroup/blkio"
# 1 to 2 MiB reads then take 60 to 130 ms.
BYTES_PER_S = 16 << 20


def device_of(path):
    """MAJOR:MINOR of the whole disk below a file."""
    number = os.stat(path).st_dev
    base = f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"
    if os.path.exists(f"{base}/partition"):
        with open(f"{base}/../dev") as file:
            return file.read().strip()
    if not os.path.exists(base):
        raise Skip(f"{path} is on no block device")
    return f"{os.major(number)}:{os.minor(number)}"


def write(path, text):
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError as error:
        raise Skip(f"{path}: {error.strerror}")


def throttle(rig, pid):
    """Slow disk reads for one process, by the cgroup (v1 or v2) of the host."""
    device = device_of(rig.folder)
    if os.path.isdir(BLKIO):
        group = f"{BLKIO}/{os.path.basename(rig.folder)}"
        limit = ("blkio.throttle.read_bps_device", f"{device} {BYTES_PER_S}")
    else:
        group = f"/sys/fs/cgroup/{os.path.basename(rig.folder)}"
        write("/sys/fs/cgroup/cgroup.subtree_control", "+io")
        limit = ("io.max", f"{device} rbps={BYTES_PER_S}")
    try:
        os.mkdir(group)
    except OSError as error:
        raise Skip(f"{group}: {error.strerror}")
    rig.on_end(lambda: os.rmdir(group))
    write(f"{group}/{limit[0]}", limit[1])
    write(f"{group}/cgroup.procs", str(pid))


def reader(rig):
    guest = rig.guest("--size", "64M", "--threads", "1", "--working-set", "5", "--rate", "5000",
                      "--direct-io", os.path.join(rig.folder, "file"))
    throttle(rig, guest.pid)
    return guest


def test_reads_in_flight_survive_staging_and_eviction(rig):
    daemon = rig.daemon()
    guest = reader(rig)
    vm = daemon.attach(guest.pid, dwell=1.5)

    for _ in range(6):
        vm.run("enable")
        vm.run("swap_out")
        guest.goes_on(1)

    check(vm.metrics()["written_bytes"] > 0, "nothing was evicted: the hazard was not met")
    vm.run("disable")
    guest.finish()


def test_without_a_dwell_reads_are_lost(rig):
    """The control: the test above meets the hazard, and its guest sees the damage."""
    daemon = rig.daemon()
    guest = reader(rig)
    vm = daemon.attach(guest.pid, dwell=0)

    for _ in range(20):
        if guest.bad_lines() or guest.ended:
            break
        # The guest ends at the first page that is wrong, perhaps in the middle of these.
        try:
            vm.wait_job(vm.start("enable"))
            vm.wait_job(vm.start("swap_out"))
        except RpcError:
            break

    check(guest.wait() == 1, "no read was lost: the hazard is not met")
    check("expected=file" in guest.bad_lines()[0], f"{guest.bad_lines()}")


def test_the_dwell_is_long_for_a_vmm_with_direct_io(rig):
    daemon = rig.daemon()
    with_direct_io = reader(rig)
    without = rig.guest("--size", "64M", name="without")

    slow = daemon.attach(with_direct_io.pid, dwell="auto").status()["dwell_ms"]
    fast = daemon.attach(without.pid, dwell="auto").status()["dwell_ms"]

    check(slow >= 30000, f"{slow} ms with O_DIRECT")
    check(fast == 0, f"{fast} ms without")
    with_direct_io.finish()
    without.finish()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
