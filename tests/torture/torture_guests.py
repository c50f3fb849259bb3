# SPDX-License-Identifier: Apache-2.0
"""Guests under torture: each verifies its own memory all the time; here is what they say of it."""
import os
import re
import signal
import time

import vmswap_e2e
from vmswap_e2e import Failure, check

OK_PROCESS = re.compile(r"^OK pages=(\d+) max_stall_us=(\d+)")
OK_QEMU = re.compile(r"^OK round=\d+ ms=(\d+)")


class Bounds:
    """How long a guest may stand still, by what was done to it, in seconds."""

    def __init__(self, stall_s, crash_s):
        self.stall_s = stall_s
        self.crash_s = crash_s


class Member:
    """A guest and the VM that it is at the daemon, if any."""

    share = 1  # what it measures is up to so many stalls

    def __init__(self, number, console):
        self.number = number
        self.console = console
        self.vm = None  # its name
        self.seen = console.mark()
        self.worst_s = 0.0
        self.helper = None  # another process that maps the memory

    @property
    def pid(self):
        return self.console.pid

    def is_alive(self):
        return self.console.process.poll() is None

    def stalls(self):
        """Seconds, of each line that came since the last look."""
        lines = self.console.lines[self.seen:]
        self.seen += len(lines)
        return list(self.read(lines))

    def check(self, bound_s, text):
        """Right so far, not ended, and never still for longer than bound_s."""
        self.console.check_good()
        check(self.is_alive(), f"{self}: ended with {self.console.process.returncode} {text}\n"
              f"{self.console.tail()}")
        worst = max(self.stalls(), default=0.0)
        bound_s *= self.share
        self.worst_s = max(self.worst_s, worst / self.share)
        check(worst <= bound_s, f"{self}: stood still for {worst:.2f} s, {bound_s} s are allowed, "
              f"{text}\n{self.console.tail()}")

    def goes_on(self, timeout_s):
        """Work is done now."""
        since = self.console.mark()
        deadline = time.monotonic() + timeout_s
        while not self.has_worked(self.console.lines[since:]):
            self.console.check_good()
            check(self.is_alive(), f"{self} ended\n{self.console.tail()}")
            if time.monotonic() > deadline:
                raise Failure(f"{self}: nothing done for {timeout_s} s\n{self.console.tail()}\n"
                              f"{self.console.threads()}")
            time.sleep(0.05)

    def touch(self):
        """All of it, soon."""
        self.console.ask_to_verify()

    def verify(self, timeout_s=120):
        self.console.verify(timeout_s)

    def kill(self):
        self.console.end()
        if self.helper:
            self.helper.end()
            self.helper = None

    def __str__(self):
        return self.console.name


class ProcessGuest(Member):
    """vmswap-guest."""

    def __init__(self, rig, number, options):
        super().__init__(number, rig.guest(*options, name=f"guest{number}"))
        self.options = options

    @staticmethod
    def read(lines):
        still_s = 0
        for line in lines:
            found = OK_PROCESS.match(line)
            if not found:
                continue
            still_s = still_s + 1 if found[1] == "0" else 0
            # A stall shows when it is over; until then there are seconds without a page.
            yield max(int(found[2]) / 1e6, still_s - 1)

    @staticmethod
    def has_worked(lines):
        return any(int(found[1]) > 0 for found in map(OK_PROCESS.match, lines) if found)

    def finish(self):
        """Verifies all its pages and ends well."""
        self.console.finish()


class QemuGuest(Member):
    """QEMU; the kernel and the program in it verify. It tells the time of a round, which is all the
    stalls of thousands of pages."""

    share = 4
    options = ()

    def __init__(self, rig, number, cpus, boot, machine):
        super().__init__(number, rig.qemu(f"qemu{number}", cpus=cpus, boot=boot, machine=machine))

    @staticmethod
    def read(lines):
        return (int(found[1]) / 1e3 for found in map(OK_QEMU.match, lines) if found)

    @staticmethod
    def has_worked(lines):
        return any(map(OK_QEMU.match, lines))

    def finish(self):
        self.console.verify()
        self.console.check_no_complaint()
        self.console.end()


def process_options(rng):
    """Like a VM's load, by chance: all of it small, so that a round is short."""
    options = ["--size", f"{rng.choice((64, 64, 96, 128))}M",
               "--threads", str(rng.choice((1, 2, 3))),
               "--working-set", str(rng.choice((5, 20, 60, 100))),
               "--read-only-percent", str(rng.choice((20, 50, 80))),
               "--zero-percent", str(rng.choice((0, 5, 30))),
               "--rate", str(rng.choice((5000, 20000, 60000)))]
    if rng.random() < 0.5:
        options.append("--holes")
    if rng.random() < 0.25:
        options += ["--processes", "2"]
    return options


def new_guest(rig, number, rng, kind):
    if kind == "qemu":
        churn = rng.choice((0, 16, 48))
        return QemuGuest(rig, number, rng.choice((1, 2)),
                         f"vmswap.mib=96 vmswap.hot={rng.choice((5, 20))} vmswap.churn={churn}",
                         ["-device", "virtio-balloon-pci,id=balloon,free-page-reporting=on"])
    return ProcessGuest(rig, number, process_options(rng))


def pause(pid, seconds):
    """The whole process is stopped."""
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)


def resize_balloon(member, mib):
    if isinstance(member.console, vmswap_e2e.Qemu):
        member.console.qmp("balloon", value=mib << 20)
