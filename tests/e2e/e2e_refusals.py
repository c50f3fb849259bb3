#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What cannot be attached is refused with its own message, and nothing in the target has
changed."""
import os
import subprocess
import sys

import vmswap_e2e
from vmswap_e2e import check


def check_untouched(guest):
    check(guest.open_userfaultfds() == [], "a userfaultfd was left behind")
    guest.goes_on(1)


def test_anonymous_memory_is_refused_with_the_option_that_helps(rig):
    daemon = rig.daemon()
    guest = rig.guest("--size", "128M", "--anonymous")

    error = daemon.refused(guest.pid)

    check(error.reason == "not-shared", f"{error} {error.data}")
    check("memory-backend-memfd" in error.message, f"no hint for QEMU: {error.message}")
    check_untouched(guest)
    guest.finish()


def test_small_mappings_are_no_vm(rig):
    daemon = rig.daemon()
    guest = rig.guest("--size", "32M")

    error = daemon.refused(guest.pid)

    check(error.reason in ("too-small", "not-shared"), f"{error} {error.data}")
    check_untouched(guest)
    vm = daemon.attach(guest.pid, min_size=16 << 20)
    vm.run("enable")
    vm.run("swap_out")
    guest.verify()
    guest.finish()


def test_a_pid_that_is_gone(rig):
    daemon = rig.daemon()
    gone = subprocess.Popen(["true"])
    gone.wait()

    error = daemon.refused(gone.pid)

    check(str(gone.pid) in error.message, error.message)


def test_the_daemon_itself_is_refused(rig):
    daemon = rig.daemon()

    daemon.refused(daemon.pid)

    check(daemon.rpc.call("daemon.ping")["pong"], "the daemon answers")


def test_a_vm_is_attached_once(rig):
    daemon = rig.daemon()
    guest = rig.guest("--size", "64M")
    vm = daemon.attach(guest.pid)

    error = daemon.refused(guest.pid)

    check(error.reason == "already-attached", f"{error} {error.data}")
    vm.run("enable")
    vm.run("swap_out")
    guest.verify()
    guest.finish()


def test_another_userfaultfd_is_respected(rig):
    first, second = rig.daemon(name="first"), rig.daemon(name="second")
    guest = rig.guest("--size", "64M", "--working-set", "5")
    vm = first.attach(guest.pid)
    vm.run("enable")
    vm.run("swap_out")

    error = second.refused(guest.pid)

    check(error.reason == "userfaultfd-present", f"{error} {error.data}")
    second.check_idle()
    guest.verify()
    vm.detach()
    second.attach(guest.pid).detach()
    guest.finish()


def locked_guest(rig):
    """Maps, locks and waits (mlockall() is not inherited over exec: no wrapper can do it)."""
    code = ("import ctypes, mmap, os, sys\n"
            "fd = os.memfd_create('locked')\n"
            "os.ftruncate(fd, 128 << 20)\n"
            "memory = mmap.mmap(fd, 128 << 20)\n"
            "rc = ctypes.CDLL(None).mlockall(1)\n"
            "print('READY' if rc == 0 else 'no mlock', flush=True)\n"
            "sys.stdin.read()\n")
    return rig.keep(vmswap_e2e.Guest("locked", [sys.executable, "-c", code]))


def test_locked_memory_needs_a_word(rig):
    daemon = rig.daemon()
    guest = locked_guest(rig)
    guest.expect("READY")

    error = daemon.refused(guest.pid)

    check(error.reason == "locked-memory", f"{error} {error.data}")
    check("allow-locked" in error.message or "allow_locked" in error.message, error.message)
    vm = daemon.attach(guest.pid, allow_locked=True)
    vm.run("enable")
    vm.run("swap_out")
    vm.detach()


TRACER = """
import ctypes, sys
libc = ctypes.CDLL(None)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
PTRACE_SEIZE = 0x4206
print([libc.ptrace(PTRACE_SEIZE, int(t), None, None) for t in sys.argv[1:]], flush=True)
sys.stdin.read()
"""


def test_a_traced_process_is_refused_and_can_be_attached_later(rig):
    daemon = rig.daemon()
    guest = rig.guest("--size", "64M", "--threads", "1")
    threads = os.listdir(f"/proc/{guest.pid}/task")
    tracer = rig.keep(vmswap_e2e.Console("tracer", [sys.executable, "-c", TRACER, *threads]))
    tracer.expect(r"^\[0(, 0)*\]$")

    error = daemon.refused(guest.pid)

    check(error.reason, f"{error} {error.data}")
    check_untouched(guest)
    tracer.end()
    daemon.attach(guest.pid).detach()
    guest.finish()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
