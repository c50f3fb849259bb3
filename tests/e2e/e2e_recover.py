#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Supervisor and worker both killed: guests wait, and `vmswapd --recover` takes everything back
from the state directory and the monitors; what cannot be is said, and changes nothing."""
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import vmswap_e2e
from mapper import content, memory_of
from vmswap_e2e import Skip, Vm, check, program, read_file, wait_until
from vmswap_hold import close_in
from vmswap_mapper import do, mapper
from vmswap_rpc import RpcError

SEED = int(os.environ.get("VMSWAP_SEED", "1"))
TMPFS = "/dev/shm"

# Forks a process with the number it is told, by clone3(2) with set_tid.
STRANGER = """
import ctypes, os, struct, sys
number = ctypes.c_int(int(sys.argv[1]))
fields = [0] * 11
fields[4], fields[8], fields[9] = 17, ctypes.addressof(number), 1  # SIGCHLD, set_tid
arguments = struct.pack("11Q", *fields)
pid = ctypes.PyDLL(None, use_errno=True).syscall(435, arguments, len(arguments))
print("RUNS" if pid > 0 else f"FAILED {os.strerror(ctypes.get_errno())}" if pid else "", flush=True)
os.waitpid(pid, 0) if pid > 0 else sys.stdin.read() if pid == 0 else None
"""


def state_dir(rig):
    """A folder of a tmpfs: /run of a container may be anything."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", TMPFS], capture_output=True, text=True)
    if kind.stdout.strip() != "tmpfs":
        raise Skip(f"{TMPFS} is no tmpfs")
    folder = tempfile.mkdtemp(prefix="vmswap-state-", dir=TMPFS)
    os.chmod(folder, 0o700)
    rig.on_end(lambda: shutil.rmtree(folder, ignore_errors=True))
    return folder


def start(rig, folder, *args, **options):
    return rig.daemon("--state-dir", folder, "--swap-limit", "1G", *args, **options)


def recovered(rig, folder, name, *args):
    """A new daemon with --recover, and the VM as it shows it."""
    begin = time.monotonic()
    daemon = start(rig, folder, "--recover", *args)
    wait_until(lambda: any(vm["vm"] == name for vm in daemon.rpc.call("vm.list")["vms"]),
               f"{name} is taken back", 10)
    print(f"recovered after {(time.monotonic() - begin) * 1000:.0f} ms")
    return daemon, Vm(daemon, name)


def fails(rig, folder, pattern, *args):
    """A daemon that must not start, and says why."""
    result = subprocess.run(
        [program("vmswapd"), "--foreground", "--state-dir", folder, "--swap-limit", "1G",
         "--socket", os.path.join(rig.folder, "vmswapd.sock"), "--swap-dir", rig.folder, *args],
        capture_output=True, text=True, timeout=60, check=False)
    check(result.returncode == 1, f"exit status {result.returncode}: {result.stderr}")
    check(re.search(pattern, result.stderr), f"{pattern} is not in: {result.stderr}")


def swapped_out(vm):
    vm.run("enable")
    vm.run("swap_out")
    pages = vm.metrics()["swap_pages"]
    check(pages > 0, f"{vm.metrics()}")
    return pages


def nothing_left(rig, folder):
    """Neither in the state directory nor beside the sockets nor in the keyring."""
    left = os.listdir(folder)
    check(left == [], f"left in the state directory: {left}")
    left = [name for name in os.listdir(rig.folder) if name.startswith(".vmswapd-")]
    check(left == [], f"left of the store: {left}")
    status = os.stat(folder)
    name = f"vmswapd:{status.st_dev:x}:{status.st_ino:x}:"
    # The kernel's collector takes them out of the list, some time after they were unlinked.
    wait_until(lambda: name not in vmswap_e2e.read_file("/proc/keys"), "no key is left")


def round_trip(rig, folder, *args):
    daemon = start(rig, folder, *args)
    check(daemon.rpc.call("daemon.status")["recoverable"], "not recoverable")
    guest = rig.guest("--size", "256M", "--working-set", "5")
    guest.goes_on()
    pages = swapped_out(daemon.attach(guest.pid, name="guest"))

    daemon.kill()
    daemon, vm = recovered(rig, folder, "guest", *args)

    check(vm.state == "active", f"{vm.state}")
    check(0 < vm.metrics()["swap_pages"] <= pages, f"{vm.metrics()} after {pages}")
    guest.goes_on()
    guest.verify()
    swapped_out(vm)
    guest.verify()
    vm.detach()
    check(not guest.open_userfaultfds(), "our userfaultfds are closed in the guest")
    daemon.check_idle()
    guest.finish()
    daemon.stop()


def test_a_guest_outlives_supervisor_and_worker(rig):
    folder = state_dir(rig)
    round_trip(rig, folder)
    nothing_left(rig, folder)


def test_without_encryption_and_with_a_named_store(rig):
    folder = state_dir(rig)
    path = os.path.join(rig.folder, "store")
    round_trip(rig, folder, "--encrypt=no", "--swap-file", path)
    check(os.path.exists(path), "a file that the user named stays")
    nothing_left(rig, folder)


def test_with_encryption_always(rig):
    folder = state_dir(rig)
    round_trip(rig, folder, "--encrypt=yes")
    nothing_left(rig, folder)


def test_a_worker_without_supervisor_is_replaced(rig):
    folder = state_dir(rig)
    daemon = start(rig, folder)
    guest = rig.guest("--size", "128M", "--working-set", "5")
    guest.goes_on()
    swapped_out(daemon.attach(guest.pid, name="guest"))
    worker = daemon.pid

    daemon.signal(signal.SIGKILL)
    daemon.process.wait()
    guest.goes_on()  # the worker serves on
    fails(rig, folder, rf"without a supervisor.*{worker}")
    daemon, vm = recovered(rig, folder, "guest")

    stat = vmswap_e2e.read_file(f"/proc/{worker}/stat")  # who should reap it may not
    check(not stat or stat.rpartition(")")[2].split()[0] == "Z", f"the worker lives on: {stat}")
    guest.verify()
    vm.run("disable")
    vm.detach()
    guest.finish()
    daemon.stop()
    nothing_left(rig, folder)


def half_recovered(rig, folder, rng):
    """A recovery whose supervisor is killed at some instant; its worker may live or not."""
    with subprocess.Popen([program("vmswapd"), "--foreground", "--recover", "--state-dir", folder,
                           "--socket", os.path.join(rig.folder, "vmswapd.sock"), "--swap-dir",
                           rig.folder, "--swap-limit", "1G"], stderr=subprocess.DEVNULL) as half:
        time.sleep(rng.random() * 0.2)
        half.kill()


def test_kills_in_the_middle_of_operations_lose_nothing(rig):
    folder = state_dir(rig)
    rng = random.Random(SEED)
    daemon = start(rig, folder)
    guest = rig.guest("--size", "256M", "--working-set", "20")
    guest.goes_on()
    vm = daemon.attach(guest.pid, name="guest")
    for _ in range(6):
        for _ in range(rng.randrange(1, 4)):
            try:
                vm.start(rng.choice(["enable", "enable", "trim", "swap_out", "swap_out",
                                     "disable"]))
            except RpcError:
                pass  # not now
            time.sleep(rng.random() * 0.15)
        daemon.kill()
        half_recovered(rig, folder, rng)
        daemon, vm = recovered(rig, folder, "guest")
        guest.check_good()
    guest.verify()
    vm.run("disable")
    guest.verify()
    vm.detach()
    daemon.check_idle()
    guest.finish()
    daemon.stop()
    nothing_left(rig, folder)


def test_two_vms_and_two_processes(rig):
    folder = state_dir(rig)
    daemon = start(rig, folder)
    owner = mapper(rig, "owner", "own", 128)
    other = mapper(rig, "other", "join", owner.pid)
    swapped_out(daemon.attach(owner.pid, other.pid, name="pair"))
    guest = rig.guest("--size", "64M", "--working-set", "5")
    swapped_out(daemon.attach(guest.pid, name="guest"))
    gone = rig.guest("--size", "64M", name="gone")
    swapped_out(daemon.attach(gone.pid, name="gone"))

    daemon.kill()
    gone.signal(signal.SIGKILL)
    gone.process.wait()
    daemon, vm = recovered(rig, folder, "pair")

    names = sorted(entry["vm"] for entry in daemon.rpc.call("vm.list")["vms"])
    check(names == ["guest", "pair"], f"{names}")
    check(sorted(vm.status()["pids"]) == sorted([owner.pid, other.pid]), f"{vm.status()}")
    do(other, "check 0")
    do(owner, "write 1")
    do(other, "check 1")
    swapped_out(vm)
    do(owner, "check 1")
    vm.detach()
    guest.verify()
    Vm(daemon, "guest").detach()
    daemon.check_idle()
    guest.finish()
    daemon.stop()
    nothing_left(rig, folder)


def unmap_without_a_daemon(vmm):
    """It waits in the middle of that for whoever reads the message."""
    vmm.send("unmap\n")
    wait_until(lambda: "userfaultfd" in read_file(f"/proc/{vmm.pid}/wchan"), "it waits")


def test_memory_that_a_process_unmaps_while_there_is_no_daemon(rig):
    folder = state_dir(rig)
    daemon = start(rig, folder)
    owner = mapper(rig, "owner", "own", 64)
    other = mapper(rig, "other", "join", owner.pid)
    alone = mapper(rig, "alone", "own", 64)
    swapped_out(daemon.attach(owner.pid, other.pid, name="pair"))
    swapped_out(daemon.attach(alone.pid, name="alone"))

    daemon.kill()
    unmap_without_a_daemon(other)
    unmap_without_a_daemon(alone)
    daemon, vm = recovered(rig, folder, "pair")

    other.expect("^OK unmapped")
    alone.expect("^OK unmapped")
    do(owner, "check 0")
    daemon.rpc.call("vm.remove", vm=vm.name, pid=other.pid)
    swapped_out(vm)
    do(owner, "check 0")
    vm.detach()
    Vm(daemon, "alone").detach()
    fd = memory_of(alone.pid)
    for page in range(64 * 256):
        check(os.pread(fd, 4096, page * 4096) == content(page, 0), f"page {page} is not whole")
    os.close(fd)
    daemon.check_idle()
    daemon.stop()
    nothing_left(rig, folder)


def test_a_guest_with_the_library(rig):
    folder = state_dir(rig)
    daemon = start(rig, folder)
    guest = rig.guest("--size", "128M", "--working-set", "5", "--attach", "--socket",
                      daemon.socket, "--name", "guest")
    guest.goes_on()
    swapped_out(Vm(daemon, "guest"))

    daemon.kill()
    daemon, vm = recovered(rig, folder, "guest")

    guest.verify()
    swapped_out(vm)  # its channel is gone: calls are injected
    guest.verify()
    vm.detach()
    guest.finish()
    daemon.stop()
    nothing_left(rig, folder)


def test_a_qemu_guest(rig):
    folder = state_dir(rig)
    daemon = start(rig, folder)
    guest = rig.qemu()
    swapped_out(daemon.attach(guest.pid, name="guest"))

    daemon.kill()
    daemon, vm = recovered(rig, folder, "guest")

    guest.goes_on()
    guest.verify()
    guest.check_no_complaint()
    swapped_out(vm)
    vm.detach()
    guest.verify()
    daemon.stop()
    nothing_left(rig, folder)


def test_a_start_without_recover_changes_nothing(rig):
    folder = state_dir(rig)
    daemon = start(rig, folder)
    guest = rig.guest("--size", "64M", "--working-set", "5")
    swapped_out(daemon.attach(guest.pid, name="guest"))
    fails(rig, folder, rf"in use by the daemon {daemon.process.pid}", "--recover")
    daemon.kill()

    before = sorted(os.listdir(folder))
    fails(rig, folder, r"1 VMs of a daemon that died.*--recover")
    check(sorted(os.listdir(folder)) == before, "the state changed")
    daemon, vm = recovered(rig, folder, "guest")
    guest.verify()
    vm.detach()
    daemon.kill()

    # Nobody needs what is left now: no --recover is asked for.
    daemon = start(rig, folder)
    guest.finish()
    daemon.stop()
    nothing_left(rig, folder)


def test_another_process_with_the_number_of_a_dead_one_is_not_taken_for_it(rig):
    folder = state_dir(rig)
    daemon = start(rig, folder)
    guest = rig.guest("--size", "64M")
    swapped_out(daemon.attach(guest.pid, name="guest"))
    daemon.kill()
    guest.signal(signal.SIGKILL)
    guest.wait()
    stranger = rig.keep(vmswap_e2e.Console(
        "stranger", [sys.executable, "-c", STRANGER, str(guest.pid)]))
    if stranger.expect("RUNS|FAILED.*")[0] != "RUNS":
        raise Skip(f"no process with a number that is chosen: {stranger.lines}")

    start(rig, folder).stop()  # not asked for --recover: nobody is left

    check(os.path.exists(f"/proc/{guest.pid}"), "the stranger was there")
    nothing_left(rig, folder)


def test_state_that_is_not_ours_is_refused(rig):
    folder = state_dir(rig)
    daemon = start(rig, folder)
    guest = rig.guest("--size", "64M")
    swapped_out(daemon.attach(guest.pid, name="guest"))
    daemon.kill()
    header = os.path.join(folder, "engine.header")
    with open(header, "r+b") as file:
        good = file.read(12)
        file.seek(8)
        file.write((int.from_bytes(good[8:12], "little") + 1).to_bytes(4, "little"))
    fails(rig, folder, r"layout \d+, this program has", "--recover")
    with open(header, "r+b") as file:
        file.write(bytes(8))
    fails(rig, folder, r"does not hold the state of a vmswapd", "--recover")
    with open(header, "r+b") as file:
        file.write(good)
    ledger = os.path.join(folder, "vm-0.ledger")
    with open(ledger, "r+b") as file:
        magic = file.read(8)
        file.seek(0)
        file.write(bytes(8))
    fails(rig, folder, r"the ledger of VM 0 cannot be read", "--recover")
    with open(ledger, "r+b") as file:
        file.write(magic)
    daemon, vm = recovered(rig, folder, "guest")
    guest.verify()
    vm.detach()
    guest.finish()
    daemon.stop()


def test_a_monitor_that_closed_its_copies_is_named(rig):
    folder = state_dir(rig)
    daemon = start(rig, folder)
    guest = rig.guest("--size", "64M")
    daemon.attach(guest.pid, name="guest")
    number = guest.open_userfaultfds()[0]
    daemon.kill()
    close_in(guest.pid, number)
    fails(rig, folder, rf"userfaultfds of process {guest.pid}.*guest.*cannot be taken back",
          "--recover")
    guest.signal(signal.SIGKILL)
    guest.process.wait()
    start(rig, folder, "--recover").stop()
    nothing_left(rig, folder)


def test_a_folder_on_a_disk_is_fine_but_for_this(rig):
    daemon = rig.daemon("--swap-limit", "1G", "--recover")
    status = daemon.rpc.call("daemon.status")
    if status["recoverable"]:
        raise Skip(f"{status['state_dir']} is on a tmpfs")
    daemon.expect(r"do not outlive supervisor and worker both")
    daemon.stop()


def test_stores_of_earlier_boots_are_swept(rig):
    folder = state_dir(rig)
    old = os.path.join(rig.folder, ".vmswapd-00000000-17")
    other = os.path.join(rig.folder, ".vmswapx")
    for path in (old, other):
        with open(path, "w", encoding="ascii"):
            pass
    daemon = start(rig, folder)
    check(not os.path.exists(old), "the store of an earlier boot is left")
    check(os.path.exists(other), "a file of somebody else is gone")
    daemon.stop()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
