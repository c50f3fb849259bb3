#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Recording of faults by the debug methods: what is in the file, who may have it, and when not."""
import collections
import json
import os
import stat
import struct
import subprocess

import vmswap_e2e
from vmswap_e2e import Failure, check, program
from vmswap_rpc import RpcError

Trace = collections.namedtuple("Trace", "pages dropped faults")
Fault = collections.namedtuple("Fault", "time_ns page kind is_write zero")
STAGED, FILE = 0, 1


def read_trace(path):
    """ctl/trace_format.h"""
    with open(path, "rb") as file:
        data = file.read()
    magic, version, page_size, pages, entries, dropped = struct.unpack_from("<8sIIQQQ", data)
    check((magic, version, page_size) == (b"vmswaptr", 1, 4096), f"header: {data[:64]}")
    check(len(data) == 64 + 16 * entries, f"{len(data)} bytes for {entries} entries")
    faults = [Fault(*fields) for fields in struct.iter_unpack("<QIBBH", data[64:])]
    check(faults == sorted(faults, key=lambda fault: fault.time_ns), "not in order of time")
    check(all(f.page < pages and f.kind < 3 and f.is_write < 2 for f in faults), "bad entries")
    return Trace(pages, dropped, faults)


def debug(daemon, method, code=0, **params):
    """The result, or the error with that code."""
    try:
        result = daemon.rpc.call(f"debug.{method}", **params)
    except RpcError as error:
        check(error.code == code, f"{method} {params}: {error}")
        return error
    check(code == 0, f"{method} {params} should have failed: {result}")
    return result


def counted(vm):
    metrics = vm.metrics()
    return sum(metrics[key] for key in ("faults_staged", "faults_file", "faults_zero"))


def test_each_first_touch_of_a_staged_guest_is_in_the_file_once(rig):
    daemon = rig.daemon("--debug")
    guest = rig.guest("--size", "64M", "--working-set", "20")
    vm = daemon.attach(guest.pid)
    path = os.path.join(rig.folder, "trace")

    check(debug(daemon, "record_start", vm=vm.name) == {}, "start has nothing to say")
    vm.run("enable")
    guest.verify()
    answer = debug(daemon, "record_stop", vm=vm.name, path=path)

    trace = read_trace(path)
    pages = [fault.page for fault in trace.faults]
    check(answer == {"entries": len(pages), "dropped": 0, "path": path}, f"{answer}")
    check(trace.pages == vm.status()["pages"], f"{trace.pages} pages")
    check(sorted(pages) == list(range(trace.pages)), f"{len(pages)} touches, "
          f"{len(set(pages))} pages of {trace.pages}")
    check({fault.kind for fault in trace.faults} == {STAGED}, "all were in RAM")
    check(stat.S_IMODE(os.stat(path).st_mode) == 0o600, f"{os.stat(path)}")
    check(counted(vm) == len(pages), f"{counted(vm)} faults counted")
    guest.finish()


def test_faults_from_disk_are_recorded_and_what_does_not_fit_is_counted(rig):
    daemon = rig.daemon("--debug")
    guest = rig.guest("--size", "64M", "--working-set", "5")
    vm = daemon.attach(guest.pid)
    vm.run("enable")
    vm.run("swap_out")
    path = os.path.join(rig.folder, "trace")
    before = counted(vm)

    debug(daemon, "record_start", vm=vm.name, capacity=1000)
    guest.verify()
    answer = debug(daemon, "record_stop", vm=vm.name, path=path)

    trace = read_trace(path)
    check(len(trace.faults) == answer["entries"] <= 1000, f"{answer}")
    check(trace.dropped == answer["dropped"] > 5000, f"{answer}")
    check(answer["entries"] + answer["dropped"] <= counted(vm) - before, f"{answer}")
    check(FILE in {fault.kind for fault in trace.faults}, "none came from disk")
    guest.finish()


def test_wrong_requests_change_nothing(rig):
    daemon = rig.daemon("--debug")
    guest = rig.guest("--size", "64M", "--working-set", "5")
    vm = daemon.attach(guest.pid)
    path = os.path.join(rig.folder, "trace")
    there = os.path.join(rig.folder, "there")
    with open(there, "w") as file:
        file.write("mine")
    link = os.path.join(rig.folder, "link")
    os.symlink(path, link)

    error = debug(daemon, "record_stop", -32001, vm=vm.name, path=path)
    check(error.data == {"state": "ready", "method": "debug.record_stop"}, f"{error.data}")
    check(not os.path.exists(path), "a file without a recording")
    for capacity in (0, -1, 1 << 40, "many"):
        debug(daemon, "record_start", -32602, vm=vm.name, capacity=capacity)
    debug(daemon, "record_start", -32000, vm="nobody")
    debug(daemon, "record_start", vm=vm.name)
    error = debug(daemon, "record_start", -32001, vm=vm.name)
    check(error.data["state"] == "ready", f"{error.data}")
    vm.run("enable")
    guest.goes_on(2)

    for bad in ("trace", "./trace", "", "/" + 5000 * "x"):
        debug(daemon, "record_stop", -32602, vm=vm.name, path=bad)
    for bad, errno in ((there, 17), (link, 17), ("/no/such/folder/trace", 2)):
        error = debug(daemon, "record_stop", -32003, vm=vm.name, path=bad)
        check(error.data["errno"] == errno, f"{error.data}")
    with open(there) as file:
        check(file.read() == "mine", "an existing file was touched")
    check(os.path.islink(link) and not os.path.exists(path), "a link was followed")

    check(debug(daemon, "record_stop", vm=vm.name, path=path)["entries"] > 0, "it went on")
    guest.finish()


def test_a_disk_that_is_full_loses_the_recording_not_the_guest(rig):
    daemon = rig.daemon("--debug")
    guest = rig.guest("--size", "64M", "--working-set", "5")
    vm = daemon.attach(guest.pid)
    small = os.path.join(rig.folder, "small")
    os.mkdir(small)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4096", "none", small], check=True)
    rig.on_end(lambda: subprocess.run(["umount", small], check=True))
    debug(daemon, "record_start", vm=vm.name)
    vm.run("enable")
    guest.verify()

    error = debug(daemon, "record_stop", -32003, vm=vm.name, path=f"{small}/trace")

    check(error.data["errno"] == 28, f"{error.data}")
    check(os.listdir(small) == [], "a piece of a trace is left")
    debug(daemon, "record_stop", -32001, vm=vm.name, path=f"{small}/trace")
    debug(daemon, "record_start", vm=vm.name)
    guest.finish()


def test_a_recorded_vm_can_be_detached_and_killed(rig):
    daemon = rig.daemon("--debug")
    guest = rig.guest("--size", "64M", "--working-set", "5")
    other = rig.guest("--size", "64M", "--working-set", "5", name="other")
    vm = daemon.attach(guest.pid)
    gone = daemon.attach(other.pid)
    for each in (vm, gone):
        debug(daemon, "record_start", vm=each.name)
        each.run("enable")
    guest.goes_on(2)

    vm.detach()
    other.signal(9)
    other.wait()

    daemon.check_idle()
    again = daemon.attach(guest.pid)
    debug(daemon, "record_stop", -32001, vm=again.name, path=os.path.join(rig.folder, "trace"))
    guest.finish()


def test_recordings_begin_and_end_under_load(rig):
    daemon = rig.daemon("--debug", shards=3)
    guest = rig.guest("--size", "128M", "--working-set", "50", "--threads", "4")
    vm = daemon.attach(guest.pid)
    entries = 0

    for number in range(20):
        debug(daemon, "record_start", vm=vm.name)
        job = vm.start("enable")
        guest.goes_on(1)
        path = os.path.join(rig.folder, f"trace{number}")
        entries += debug(daemon, "record_stop", vm=vm.name, path=path)["entries"]
        check(vm.wait_job(job)["state"] == "done", "enable")
        read_trace(path)

    check(entries > 1000, f"{entries} touches")
    guest.verify()
    guest.finish()


def test_without_the_flag_the_methods_are_not_there(rig):
    daemon = rig.daemon()
    guest = rig.guest("--size", "64M")
    vm = daemon.attach(guest.pid)

    for method, params in (("record_start", {}), ("record_stop", {"path": "/x"})):
        error = debug(daemon, method, -32601, vm=vm.name, **params)
        check("--debug" in error.message, f"{error}")
    guest.finish()


def control(daemon, *words, folder=None):
    run = subprocess.run([program("vmswapctl"), "--socket", daemon.socket, *words], cwd=folder,
                         capture_output=True, text=True, timeout=120)
    if run.returncode != 0:
        raise Failure(f"{words}: {run.returncode} {run.stdout} {run.stderr}")
    return run.stdout


def test_vmswapctl_records(rig):
    daemon = rig.daemon("--debug")
    guest = rig.guest("--size", "64M", "--working-set", "5")
    vm = daemon.attach(guest.pid, name="guest")

    control(daemon, "record-start", "guest", "--capacity", "5000")
    vm.run("enable")
    guest.verify()
    out = control(daemon, "--json", "record-stop", "guest", "trace", folder=rig.folder)

    answer = json.loads(out)
    check(answer["path"] == os.path.join(rig.folder, "trace"), out)
    check(len(read_trace(answer["path"]).faults) == answer["entries"] == 5000, out)
    guest.finish()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
