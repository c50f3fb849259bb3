#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A swap store that is full: what does not fit stays in RAM, the VM runs on and says so, and
once there is space again the same command works."""
import errno
import os
import shutil
import signal
import subprocess

import vmswap_e2e
from vmswap_disk import FaultyDisk
from vmswap_e2e import MIB, Skip, check, largest_shared_mapping


def guest_of(rig):
    return rig.guest("--size", "128M", "--working-set", "5", "--rate", "50000")


def check_runs_on(vm, guest, state):
    status = vm.status()
    check(status["state"] == state, f"{status['state']}: {status['failure']}")
    guest.goes_on(1)
    guest.verify()


def out_until_full(vm):
    """enable, then a swap-out that cannot end well; returns its job."""
    vm.run("enable")
    job = vm.wait_job(vm.start("swap_out"))
    check(job["state"] == "failed", f"{job}")
    check(job["error"], f"no word on why: {job}")
    return job


def test_a_limit_smaller_than_the_vm(rig):
    daemon = rig.daemon("--swap-limit", "32M")
    guest = guest_of(rig)
    vm = daemon.attach(guest.pid)

    job = out_until_full(vm)

    check(job["left_pages"] > 0, f"{job}")
    check("space" in vm.status()["failure"].lower(), f"{vm.status()['failure']}")
    check_runs_on(vm, guest, "failed")
    vm.run("disable")
    check(vm.status()["failure"] is None, f"{vm.status()['failure']}")
    guest.verify()
    vm.detach()
    daemon.check_idle()
    guest.finish()


def small_filesystem(rig, mib):
    """An ext4 of its own in a file, mounted."""
    for tool in ("mkfs.ext4", "mount", "losetup"):
        if not shutil.which(tool):
            raise Skip(f"{tool} is missing")
    image = os.path.join(rig.folder, "small.img")
    folder = os.path.join(rig.folder, "small")
    os.mkdir(folder)
    with open(image, "wb") as file:
        file.truncate(mib * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    made = subprocess.run(["mount", "-o", "loop", image, folder], capture_output=True, text=True)
    if made.returncode != 0:
        raise Skip(f"no loop mount: {made.stderr.strip()}")
    rig.on_end(lambda: subprocess.run(["umount", folder], check=True))
    return folder


def fill_up(folder, left_mib):
    """Somebody else takes the space. Returns the file that has it."""
    filler = os.path.join(folder, "filler")
    with open(filler, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(folder).free - left_mib * MIB)
    return filler


def test_a_full_file_system_and_space_again(rig):
    folder = small_filesystem(rig, 400)
    daemon = rig.daemon("--swap-dir", folder)
    guest = guest_of(rig)
    vm = daemon.attach(guest.pid)
    filler = fill_up(folder, 24)
    for _ in range(4):
        out_until_full(vm)
    check_runs_on(vm, guest, "failed")

    os.unlink(filler)
    vm.run("enable")
    vm.run("swap_out")

    check(vm.metrics()["swap_pages"] > 20000, f"{vm.metrics()}")
    check(vm.status()["failure"] is None, f"{vm.status()['failure']}")
    check_runs_on(vm, guest, "active")
    vm.run("disable")
    guest.verify()
    daemon.stop()
    guest.finish()


def test_a_quota_costs_no_place_and_ends_with_more_of_it(rig):
    disk = FaultyDisk(rig, 256)
    disk.command("space 24")
    disk.command(f"full {errno.EDQUOT}")
    daemon = rig.daemon("--swap-file", disk.path, "--swap-limit", "256M")
    guest = guest_of(rig)
    vm = daemon.attach(guest.pid)

    for _ in range(3):
        job = out_until_full(vm)
    check("quota" in job["error"], f"{job}")
    store = daemon.rpc.call("daemon.status")["store"]
    check(store["retired_bytes"] == 0, f"places are lost to a quota: {store}")
    check_runs_on(vm, guest, "failed")
    disk.command("space 256")
    vm.run("enable")
    vm.run("swap_out")

    check(vm.metrics()["swap_pages"] > 20000, f"{vm.metrics()}")
    check_runs_on(vm, guest, "active")
    vm.detach()
    daemon.check_idle()
    guest.finish()


def test_disable_works_after_a_write_error(rig):
    daemon = rig.daemon("--swap-limit", "16M")
    guest = guest_of(rig)
    vm = daemon.attach(guest.pid)

    for _ in range(3):
        out_until_full(vm)
        vm.run("disable")

    check(vm.metrics()["swap_pages"] == 0, f"{vm.metrics()}")
    guest.verify()
    guest.finish()


def test_a_named_file_and_a_device_hold_the_pages(rig):
    path = os.path.join(rig.folder, "swap.img")
    for way in ("--swap-file", "--swap-device"):
        if way == "--swap-device":
            with open(os.path.join(rig.folder, "device.img"), "wb") as file:
                file.truncate(512 * MIB)
            made = subprocess.run(["losetup", "--find", "--show", "--direct-io=on",
                                   os.path.join(rig.folder, "device.img")],
                                  capture_output=True, text=True)
            if made.returncode != 0:
                raise Skip(f"no loop device: {made.stderr.strip()}")
            path = made.stdout.strip()
            rig.on_end(lambda: subprocess.run(["losetup", "--detach", path], check=True))
        daemon = rig.daemon(way, path, name=way[2:])
        guest = guest_of(rig)
        vm = daemon.attach(guest.pid)

        vm.run("enable")
        vm.run("swap_out")

        check(daemon.used_bytes() > 64 * MIB, f"{daemon.used_bytes()}")
        guest.verify()
        vm.run("disable")
        daemon.stop()
        guest.finish()


def stored(rig, way):
    """The content of a swap file that a guest went out to, and the page it consists of."""
    path = os.path.join(rig.folder, f"swap{way}.img")
    daemon = rig.daemon("--swap-file", path, f"--encrypt={way}", name=f"encrypt-{way}")
    check(daemon.rpc.call("daemon.status")["encrypted"] == (way == "yes"), "daemon.status")
    guest = guest_of(rig)
    memory = largest_shared_mapping(guest.pid)
    vm = daemon.attach(guest.pid)
    guest.signal(signal.SIGSTOP)
    # The middle of some pages, from before they go out.
    with open(memory, "rb") as file:
        samples = []
        for page in range(1000, 20000, 997):
            file.seek(page * vmswap_e2e.PAGE + 2048)
            samples.append(file.read(64))
    guest.signal(signal.SIGCONT)
    vm.run("enable")
    vm.run("swap_out")
    with open(path, "rb") as file:
        content = file.read(512 * MIB)
    guest.verify()
    vm.run("disable")
    guest.verify()
    daemon.stop()
    guest.finish()
    check(os.stat(path).st_mode & 0o777 == 0o600, f"{os.stat(path)}")
    return [sample for sample in samples if any(sample)], content


def test_nothing_of_an_encrypted_guest_can_be_read_on_the_disk(rig):
    samples, content = stored(rig, "no")
    found = sum(sample in content for sample in samples)
    check(found > len(samples) // 2, f"{found} of {len(samples)}: the samples do not tell")
    samples, content = stored(rig, "yes")
    check(len(samples) > 10, f"{len(samples)}")
    check(len(content) > 64 * MIB, f"{len(content)}")
    check(not any(sample in content for sample in samples), "plain text on the disk")


if __name__ == "__main__":
    vmswap_e2e.main(globals())
