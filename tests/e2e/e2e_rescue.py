#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is left when workers die again and again: minimal mode, which serves faults and brings
memory back; and when that dies as well, `vmswapctl rescue`."""
import ctypes
import errno
import json
import os
import shutil
import signal
import subprocess

import vmswap_e2e
from e2e_recover import nothing_left, state_dir
from mapper import content as content_of
from vmswap_crash import (adopt, into_minimal_mode, into_waiting, next_worker, status_of,
                          taken_over, worker_of)
from vmswap_disk import FaultyDisk
from vmswap_e2e import check, program, read_file, wait_until
from vmswap_mapper import do, mapper
from vmswap_room import Room
from vmswap_rpc import REFUSED, RpcError

# Every method that is not offered in minimal mode, with params that are right otherwise.
NOT_OFFERED = (("vm.enable", {"vm": "guest"}), ("vm.trim", {"vm": "guest"}),
               ("vm.swap_out", {"vm": "guest"}), ("vm.scrub", {"vm": "guest"}),
               ("vm.attach", {"pids": [1]}), ("vm.add", {"vm": "guest", "pid": 1}),
               ("vm.remove", {"vm": "guest", "pid": 1}), ("vm.attach_self", {"regions": []}),
               ("debug.record_start", {"vm": "guest"}))

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000

# vmswapctl's exit status: done, but pages are lost.
LOST = 3


def open_files(process):
    return sorted(int(number) for number in os.listdir(f"/proc/{process.pid}/fd"))


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

    check(guest.open_userfaultfds() == [], f"{guest.open_userfaultfds()} are left")
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


def rescue(daemon, *words, expected=0):
    code, text = vmswapctl(daemon, "rescue", *words, timeout_s=120)
    check(code == expected, f"rescue {words}: {code} {text}\n{daemon.tail()}")
    return text


def report_of(daemon, *words, expected=0):
    text = rescue(daemon, "--json", *words, expected=expected)
    return json.JSONDecoder().raw_decode(text)[0]


def has_ended(daemon):
    """In order, with nothing left behind."""
    check(daemon.wait(20) == 0, "the supervisor ends in order")
    check(not os.path.exists(daemon.socket), "the socket is left")
    check(not os.path.exists(daemon.socket + ".state/supervisor.pid"), "supervisor.pid is left")


def bring_back(rig, encrypt):
    daemon, guest = swapped_out(rig, f"--encrypt={encrypt}")
    owner = mapper(rig, "owner", "own", 64)
    other = mapper(rig, "other", "join", owner.pid)
    vm = daemon.attach(owner.pid, other.pid, name="shared")
    vm.run("enable")
    vm.run("swap_out")
    check(vm.metrics()["swap_pages"] == 64 * 256, f"{vm.metrics()}")
    into_waiting(daemon)

    text = rescue(daemon)

    print(text.strip())
    check("guest: rescued" in text and "shared: rescued, 64 MiB came back" in text, text)
    has_ended(daemon)
    do(other, "check 0")
    do(owner, "check 0")
    do(owner, "write 1")
    do(other, "check 1")
    guest.goes_on()
    guest.verify()
    return guest, owner, other


def test_rescue_brings_all_vms_back_and_they_live_on(rig):
    guest, owner, other = bring_back(rig, "no")

    # Nothing is in the way of a new daemon.
    daemon = rig.daemon(name="again")
    for pids in ((guest.pid,), (owner.pid, other.pid)):
        vm = daemon.attach(*pids)
        vm.run("enable")
        vm.run("swap_out")
    guest.verify()
    do(other, "check 1")
    daemon.stop()
    guest.finish()


def test_a_rescued_vmm_is_as_if_it_had_never_been_attached(rig):
    # First, so that its descriptors are known before.
    guest = rig.guest("--size", "128M", "--working-set", "5")
    guest.goes_on()
    before = open_files(guest)
    daemon = rig.daemon("--swap-limit", "1G")
    vm = daemon.attach(guest.pid, name="guest")
    vm.run("enable")
    vm.run("swap_out")
    check(len(guest.open_userfaultfds()) == 2, f"{guest.open_userfaultfds()}")
    into_waiting(daemon)

    rescue(daemon)

    has_ended(daemon)
    check(open_files(guest) == before, f"{open_files(guest)}, before {before}")
    guest.verify()
    daemon = rig.daemon("--swap-limit", "1G", name="fresh")
    vm = daemon.attach(guest.pid, name="guest")
    vm.run("enable")
    vm.run("swap_out")
    check(vm.metrics()["swap_pages"] > 0, f"{vm.metrics()}")
    vm.run("disable")
    vm.detach()
    check(open_files(guest) == before, f"{open_files(guest)}, before {before}")
    guest.verify()
    daemon.check_idle()
    daemon.stop()
    guest.finish()


def test_a_rescue_leaves_open_what_it_cannot_close(rig):
    daemon, owner, _ = named_store(rig)
    into_waiting(daemon)
    libc = ctypes.CDLL(None, use_errno=True)
    check(libc.ptrace(PTRACE_SEIZE, owner.pid, None, None) == 0, "it cannot be traced")

    text = rescue(daemon)

    check("owner: rescued" in text, text)
    has_ended(daemon)
    daemon.expect(r"keeps 2 userfaultfds open")
    check(len(owner.open_userfaultfds()) == 2, f"{owner.open_userfaultfds()}")
    check(libc.ptrace(PTRACE_INTERRUPT, owner.pid, None, None) == 0, "it does not stop")
    os.waitpid(owner.pid, WALL)
    check(libc.ptrace(PTRACE_DETACH, owner.pid, None, None) == 0, "it stays traced")
    do(owner, "check 0")
    daemon = rig.daemon("--swap-limit", "1G", name="fresh")
    vm = daemon.attach(owner.pid)
    vm.run("enable")
    vm.run("swap_out")
    do(owner, "check 0")
    vm.detach()
    daemon.stop()


def test_who_unmaps_memory_when_nobody_serves_goes_on_after_a_rescue(rig):
    """It waits until that is read, once a shard, with the only thread that calls could run in."""
    daemon = rig.daemon("--swap-limit", "1G")
    owner = mapper(rig, "owner", "own", 64)
    other = mapper(rig, "other", "join", owner.pid)
    vm = daemon.attach(owner.pid, other.pid)
    vm.run("enable")
    vm.run("swap_out")
    into_waiting(daemon)
    mark = other.mark()
    other.send("renew\n")
    wait_until(lambda: "userfaultfd" in read_file(f"/proc/{other.pid}/wchan"), "it waits")

    code, text = vmswapctl(daemon, "rescue")

    check(code == 0, text)
    other.expect("^OK renewed", since=mark)
    do(other, f"zeros 0 {64 * 256}")
    do(owner, "check 0")
    for vmm in owner, other:
        check(vmm.open_userfaultfds() == [], f"{vmm.name}: {vmm.open_userfaultfds()} are left")


def test_rescue_brings_back_what_is_encrypted(rig):
    guest, _, _ = bring_back(rig, "yes")
    guest.finish()


def named_store(rig, *args):
    """A VM all of whose pages are in a file that has a name."""
    path = os.path.join(rig.folder, "swap")
    daemon = rig.daemon("--swap-file", path, "--swap-limit", "256M", *args)
    owner = mapper(rig, "owner", "own", 64)
    vm = daemon.attach(owner.pid, name="owner")
    vm.run("enable")
    vm.run("swap_out")
    check(vm.metrics()["swap_pages"] == 64 * 256, f"{vm.metrics()}")
    return daemon, owner, path


def change_a_byte(path):
    """In the middle of the swap file; the daemon reads past the page cache."""
    with open(path, "r+b", buffering=0) as file:
        file.seek((10 << 20) + 123)
        byte = file.read(1)
        file.seek((10 << 20) + 123)
        file.write(bytes([byte[0] ^ 1]))
        os.fsync(file.fileno())


def test_a_damaged_slot_costs_its_page_only(rig):
    daemon, owner, path = named_store(rig)
    into_waiting(daemon)
    change_a_byte(path)

    report = report_of(daemon, expected=LOST)

    check(report["state"] == "done", f"{report}")
    (vm,) = report["vms"]
    check((vm["vm"], vm["state"], vm["lost_pages"], len(vm["lost"]), vm["pages"]) ==
          ("owner", "rescued", 1, 1, 64 * 256 - 1), f"{vm}")
    has_ended(daemon)
    # It touches all its memory: no wrong word, and SIGBUS where the content is lost.
    owner.send("check 0\n")
    check(owner.wait() == -signal.SIGBUS, f"{owner.tail()}")
    check(not owner.bad_lines(), f"{owner.bad_lines()}")


def cut_the_store(path):
    """The second half of the content is gone; returns how to bring it back."""
    copy = path + ".copy"
    shutil.copyfile(path, copy)
    size = os.path.getsize(path)
    os.truncate(path, 32 << 20)

    def restore():
        with open(copy, "rb") as source, open(path, "r+b") as target:
            source.seek(32 << 20)
            target.seek(32 << 20)
            target.write(source.read(64 << 20))
            target.truncate(size)
            target.flush()
            os.fsync(target.fileno())
    return restore


def test_what_does_not_fit_into_ram_is_refused_before_anything_is_changed(rig):
    room = Room(rig, 4096)
    daemon, owner, _ = named_store(rig)
    into_waiting(daemon)
    # 64 MiB come back, and 64 MiB are to stay free.
    room.set(128 - 24)

    report = report_of(daemon, expected=1)

    check(report["state"] == "failed", f"{report}")
    (vm,) = report["vms"]
    check((vm["state"], vm["pages"], vm["left_pages"], vm["lost_pages"]) == ("held", 0, 0, 0),
          f"{vm}")
    check("24 MiB are missing" in vm["problem"], f"{vm}")
    check(owner.memory_bytes() == 0, f"{owner.memory_bytes()} bytes came back")
    check(daemon.process.poll() is None and worker_of(daemon) == 0, "the supervisor waits on")
    text = rescue(daemon, expected=1)
    check("owner: held, 0 came back" in text and "24 MiB are missing" in text, text)
    room.set(4096)
    check("owner: rescued, 64 MiB came back" in rescue(daemon), "not rescued when it fits")
    has_ended(daemon)
    do(owner, "check 0")


def test_force_does_not_ask_whether_the_memory_fits(rig):
    room = Room(rig, 4096)
    daemon, owner, _ = named_store(rig)
    into_waiting(daemon)
    room.set(1)
    check("are missing" in rescue(daemon, expected=1), "it is refused without --force")

    text = rescue(daemon, "--force")

    check("owner: rescued, 64 MiB came back" in text, text)
    has_ended(daemon)
    do(owner, "check 0")


def test_what_cannot_be_read_stays_held_until_a_rescue_can(rig):
    daemon, owner, path = named_store(rig)
    into_waiting(daemon)
    restore = cut_the_store(path)

    text = rescue(daemon, expected=1)

    check("owner: held, 32 MiB came back" in text and "run it again" in text, text)
    check(daemon.process.poll() is None and worker_of(daemon) == 0, "the supervisor waits on")
    restore()
    text = rescue(daemon)
    check("owner: rescued, 32 MiB came back" in text, text)
    has_ended(daemon)
    do(owner, "check 0")


def memory_start(owner):
    """Before it is attached: registered memory is cut into several mappings."""
    return int(os.path.basename(vmswap_e2e.largest_shared_mapping(owner.pid)).split("-")[0], 16)


def lost_pages(vm, start):
    """As the report names them; each at its address."""
    lost = set()
    for run in vm["lost"]:
        check(run["address"] == start + run["page"] * 4096, f"{run} of a memory at {start:x}")
        lost |= set(range(run["page"], run["page"] + run["pages"]))
    return lost


def check_memory(owner, start, mib, lost):
    """From outside: errors where pages are lost, the right content everywhere else."""
    with open(f"/proc/{owner.pid}/mem", "rb", buffering=0) as memory:
        for page in range(mib * 256):
            memory.seek(start + page * 4096)
            try:
                content = memory.read(4096)
            except OSError:
                content = None
            check((content is None) == (page in lost), f"page {page}: {str(content)[:20]}")
            check(content in (None, content_of(page, 0)), f"page {page} is wrong")


def test_pages_of_a_disk_that_does_not_come_back_are_given_up_on_request(rig):
    disk = FaultyDisk(rig, 256)
    daemon = rig.daemon("--swap-device", disk.loop())
    owner = mapper(rig, "owner", "own", 64)
    start = memory_start(owner)
    vm = daemon.attach(owner.pid, name="owner")
    vm.run("enable")
    vm.run("swap_out")
    check(vm.metrics()["swap_pages"] == 64 * 256, f"{vm.metrics()}")
    into_waiting(daemon)
    disk.command(f"fail read {errno.EIO} 30")
    (held,) = report_of(daemon, expected=1)["vms"]
    check(held["state"] == "held" and held["unread_pages"] > 0, f"{held}")
    check(held["lost_pages"] == 0 and "--poison-unreadable" in held["problem"], f"{held}")

    report = report_of(daemon, "--poison-unreadable", expected=LOST)

    (rescued,) = report["vms"]
    check((report["state"], rescued["state"]) == ("done", "rescued"), f"{report}")
    check((rescued["lost_pages"], rescued["unread_pages"], rescued["pages"]) ==
          (held["unread_pages"], 0, 0), f"{held} {rescued}")
    check(held["pages"] + held["unread_pages"] == 64 * 256, f"{held}")
    has_ended(daemon)
    lost = lost_pages(rescued, start)
    check(len(lost) == rescued["lost_pages"], f"{len(lost)} of {rescued}")
    check_memory(owner, start, 64, lost)
    owner.send("check 0\n")
    check(owner.wait() == -signal.SIGBUS, f"{owner.tail()}")
    check(not owner.bad_lines(), f"{owner.bad_lines()}")


def test_a_worker_goes_on_with_what_a_rescue_left(rig):
    daemon, owner, path = named_store(rig)
    into_waiting(daemon)
    restore = cut_the_store(path)
    rescue(daemon, expected=1)
    restore()

    daemon.signal(signal.SIGUSR1)

    adopt(daemon, next_worker(daemon, 0))
    vm = taken_over(daemon, "owner")
    check(vm.metrics()["swap_pages"] == 32 * 256, f"{vm.metrics()}")
    do(owner, "check 0")
    do(owner, "write 1")
    vm.run("enable")
    vm.run("swap_out")
    do(owner, "check 1")
    vm.detach()
    wait_until(lambda: daemon.used_bytes() == 0, "no slot is in use")
    daemon.stop()


def test_recover_goes_on_with_what_a_rescue_left(rig):
    folder = state_dir(rig)
    daemon, owner, path = named_store(rig, "--state-dir", folder)
    into_waiting(daemon)
    restore = cut_the_store(path)
    rescue(daemon, "--state-dir", folder, expected=1)
    restore()

    daemon.signal(signal.SIGKILL)
    daemon.process.wait()
    daemon = rig.daemon("--swap-file", path, "--swap-limit", "256M", "--state-dir", folder,
                        "--recover")

    vm = taken_over(daemon, "owner")
    check(vm.metrics()["swap_pages"] == 32 * 256, f"{vm.metrics()}")
    do(owner, "check 0")
    daemon.stop()
    nothing_left(rig, folder)


def test_nothing_is_left_to_recover_after_a_rescue(rig):
    folder = state_dir(rig)
    daemon, owner, _ = named_store(rig, "--state-dir", folder, "--encrypt=yes")
    into_waiting(daemon)

    rescue(daemon, "--state-dir", folder)

    check(daemon.wait(20) == 0, "the supervisor ends in order")
    nothing_left(rig, folder)
    do(owner, "check 0")


def test_a_rescue_that_is_killed_is_followed_by_another(rig):
    daemon, owner, _ = named_store(rig)
    into_waiting(daemon)
    for _ in range(5):
        run = subprocess.Popen([program("vmswapctl"), "--socket", daemon.socket, "rescue"],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        pid = wait_until(lambda: worker_of(daemon) or run.poll() is not None, "it is started")
        if pid is not True:
            os.kill(pid, signal.SIGKILL)
        text, _ = run.communicate(timeout=60)
        if run.returncode == 0:
            break
        check("died" in text and "held" in text, text)
    else:
        rescue(daemon, "--force")
    has_ended(daemon)
    do(owner, "check 0")


def test_rescue_is_refused_while_a_worker_serves(rig):
    daemon, guest = swapped_out(rig)

    text = rescue(daemon, expected=1)

    check("a worker serves" in text and "vmswapctl disable" in text, text)
    check(status_of(daemon)["worker_pid"] == daemon.pid, "the worker stays")
    guest.verify()
    daemon.stop()
    guest.finish()


def test_rescue_does_no_harm_to_who_is_no_supervisor(rig):
    daemon = rig.daemon()
    state_dir = daemon.rpc.call("daemon.status")["state_dir"]
    other = subprocess.Popen(["sleep", "600"])
    try:
        with open(os.path.join(state_dir, "supervisor.pid"), "w", encoding="ascii") as file:
            file.write(f"{other.pid}\n")
        text = rescue(daemon, "--state-dir", state_dir, expected=1)
        check("is no supervisor" in text and str(other.pid) in text, text)
        check(other.poll() is None, "it was killed")
    finally:
        other.kill()
        other.wait()
    text = rescue(daemon, "--state-dir", os.path.join(rig.folder, "nothing"), expected=1)
    check("--state-dir" in text, text)
    daemon.stop()


def test_a_qemu_guest_is_rescued(rig):
    daemon = rig.daemon("--swap-limit", "2G")
    guest = rig.qemu()
    vm = daemon.attach(guest.pid, name="guest")
    vm.run("enable")
    vm.run("swap_out")
    into_waiting(daemon)

    text = rescue(daemon)

    print(text.strip())
    has_ended(daemon)
    guest.goes_on()
    guest.verify()
    guest.check_no_complaint()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
