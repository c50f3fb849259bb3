#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The daemon sees the file systems from a mount name space of its own: it writes where it has to,
nowhere else, and everything works from there."""
import os
import re
import subprocess

import vmswap_e2e
from vmswap_e2e import Skip, check, children, read_file, read_link


def mounts(pid):
    """{mount point: its options}; what lies on top counts."""
    found = {}
    for line in read_file(f"/proc/{pid}/mountinfo").split("\n"):
        field = line.split()
        found[field[4]] = field[5].split(",")
    return found


def mount_of(pid, path):
    """The options of the mount that @path is on, as the process sees it."""
    seen = mounts(pid)
    while path not in seen:
        path = os.path.dirname(path)
    return seen[path]


def is_private(pid):
    return read_link(f"/proc/{pid}/ns/mnt") != read_link("/proc/self/ns/mnt")


def private_daemon(rig, *args):
    daemon = rig.daemon(*args)
    if any("no mount view" in line for line in daemon.lines):
        raise Skip("no CAP_SYS_ADMIN, or mounting is forbidden")
    return daemon


def test_it_writes_where_it_has_to_and_nowhere_else(rig):
    swap = os.path.join(rig.folder, "swap")
    os.mkdir(swap)

    daemon = private_daemon(rig, "--swap-dir", swap)

    for pid in (daemon.pid, daemon.process.pid, children(daemon.pid)[0]):
        check(is_private(pid), f"{read_file(f'/proc/{pid}/comm')} shares the mounts of the host")
        check("rw" in mount_of(pid, rig.folder), "the folder of the socket")
        check("rw" in mount_of(pid, swap), "the folder of the swap file")
        for path in ("/", "/usr", "/etc", "/var/lib", "/var/tmp", "/proc/sys", "/dev", "/sys"):
            options = mount_of(pid, path)
            check("ro" in options, f"{path} can be written: {options}")
        check("nosuid" in mount_of(pid, "/"), "set-user-ID bits")
    writable = {path for path, options in mounts(daemon.pid).items() if "rw" in options}
    check(writable == {rig.folder, swap, "/proc"}, f"{writable}")
    check("rw" in mount_of("self", "/var/tmp"), "the host's mounts are as they were")


def test_home_folders_are_empty_unless_they_are_needed(rig):
    daemon = private_daemon(rig)
    for folder in ("/home", "/root"):
        is_needed = any(os.path.realpath(path).startswith(folder) for path in
                        (vmswap_e2e.program("vmswapd"), os.getcwd()))
        if not is_needed and os.path.isdir(folder):
            check(os.listdir(f"/proc/{daemon.pid}/root{folder}") == [], f"{folder} is seen")


def test_a_guest_lives_through_everything_in_it(rig):
    daemon = private_daemon(rig)
    guest = rig.guest("--size", "64M", "--working-set", "20")
    vm = daemon.attach(guest.pid)

    for _ in range(2):
        vm.run("enable")
        vm.run("swap_out")
        guest.goes_on(1)
    vm.run("disable")
    vm.detach()

    guest.finish()
    daemon.stop()
    check(not os.path.exists(f"{daemon.socket}.state"), "the state folder is removed at the end")


def test_a_relative_path_is_that_of_the_folder_it_was_started_in(rig):
    run = rig.keep(vmswap_e2e.Console("relative", [
        os.path.abspath(vmswap_e2e.program("vmswapd")), "--foreground", "--socket", "s",
        "--swap-dir", "."],
        cwd=rig.folder))

    run.expect("pages in \\.")

    rpc = vmswap_e2e.Rpc(os.path.join(rig.folder, "s"))
    check(rpc.call("daemon.ping")["pong"], "it answers")
    rpc.close()


def test_the_hosts_view_is_an_option_and_that_of_debug(rig):
    for args in (("--mount-view", "host"), ("--debug",)):
        daemon = rig.daemon(*args, name=f"vmswapd{args[0]}")
        check(not is_private(daemon.pid), f"{args}")

    run = subprocess.run([vmswap_e2e.program("vmswapd"), "--mount-view", "none"],
                         capture_output=True, text=True, check=False)
    check(run.returncode == 2 and re.search("mount-view", run.stderr), run.stderr)


if __name__ == "__main__":
    vmswap_e2e.main(globals())
