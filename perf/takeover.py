#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long a guest waits when vmswapd's worker dies, is replaced by an upgrade, or dies with its
supervisor and is recovered: from the kill to the end of the first fault that had to wait for the
next worker. With an upgrade, whose kill comes a while after the call: as long as that fault took.

usage: PYTHONPATH=tests/support VMSWAP_BUILD=build/release perf/takeover.py
           [--way kill|upgrade|recover] [--size 16G] [--touched 15G] [--spread BYTES]
           [--state out|staged] [--probe hole|disk] [--rounds N] [--folder DIR] [--json FILE]

The guest is a process that maps --size bytes of a memfd and has written --touched of them, in runs
of --spread bytes at equal distances; all of that is swapped out, or only staged. Then it touches
one page after the other that the daemon has to serve, as fast as it gets them: pages that were
never written, or, with --probe disk, some that are out, and the disk's own pauses are in the figure
then. The longest touch that ends after the kill is the first one that the next worker served.
"""
import argparse
import itertools
import json
import mmap
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from vmswap_e2e import Console, Daemon, Vm, check, program, wait_until
from vmswap_rpc import Rpc, RpcError

PAGE = 4096
TOUCHES_MAX = 2_000_000
REST_S = 8  # no crash loop: five deaths in 30 s


def parse_size(text):
    unit = {"K": 10, "M": 20, "G": 30, "T": 40}.get(text[-1].upper())
    return int(text[:-1]) << unit if unit else int(text)


def runs_of(size, touched, spread):
    """Offsets of the runs of spread bytes that the guest has written."""
    count = touched // spread
    return [size // count * i // PAGE * PAGE for i in range(count)]


def places(size, runs, spread, probe):
    """Offsets of the pages that are touched, from a random one on."""
    if probe == "disk":
        pages = [run + offset for run in runs for offset in range(0, spread, PAGE)]
    else:
        pages = [offset for run, end in zip(runs, runs[1:] + [size])
                 for offset in range(run + spread, min(end, run + 2 * spread), PAGE)]
    first = random.Random(1).randrange(len(pages))
    return pages[first:] + pages[:first]


def client(size, touched, spread, probe):
    """The guest: READY, then for every line of input one burst of touches."""
    fd = os.memfd_create("guest")
    os.ftruncate(fd, size)
    memory = mmap.mmap(fd, size, mmap.MAP_SHARED)
    runs = runs_of(size, touched, spread)
    block = os.urandom(PAGE) * (min(spread, 1 << 20) // PAGE)
    for number, run in enumerate(runs):
        for offset in range(run, run + spread, len(block)):
            memory[offset:offset + len(block)] = block
        if number % 256 == 0:
            print(f"written up to {run}", flush=True)  # a silent guest is taken for a stuck one
    print("READY", flush=True)
    wanted = block[0] if probe == "disk" else 0
    pages = itertools.cycle(places(size, runs, spread, probe))
    for line in sys.stdin:
        ends = time.monotonic_ns() + int(float(line) * 1e9)
        slowest = (0, 0)
        touches = 0
        begin = time.monotonic_ns()
        while begin < ends and touches < TOUCHES_MAX:
            if memory[next(pages)] != wanted:
                sys.exit("BAD: a page is not what was written")
            end = time.monotonic_ns()
            slowest = max(slowest, (end - begin, end))
            begin = end
            touches += 1
        print(f"SLOWEST took_ns={slowest[0]} end_ns={slowest[1]} touches={touches}", flush=True)


class Guest(Console):
    def burst(self, seconds):
        """Touches begin; the result is read by result()."""
        self.since = self.mark()
        self.send(f"{seconds}\n")

    def result(self):
        line = self.expect(r"^SLOWEST took_ns=(\d+) end_ns=(\d+)", 120, since=self.since)
        return int(line.group(1)), int(line.group(2))


def reconnect(daemon):
    old = daemon.pid

    def look():
        try:
            rpc = Rpc(daemon.socket)
            status = rpc.call("daemon.status")
        except (OSError, EOFError, RpcError):
            return False
        if status["worker_pid"] == old:
            rpc.close()
            return False
        daemon.rpc, daemon.pid = rpc, status["worker_pid"]
        return True
    wait_until(look, "the next worker answers", 60)


def disturb(way, daemon, restart):
    """The instant from which guests wait, and the daemon that serves then."""
    begin = time.monotonic_ns()
    if way == "kill":
        os.kill(daemon.pid, signal.SIGKILL)
        reconnect(daemon)
    elif way == "upgrade":
        try:
            daemon.rpc.call("daemon.upgrade")
        except (OSError, EOFError):
            pass
        reconnect(daemon)
    else:
        daemon.signal(signal.SIGKILL)
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.process.wait()
        daemon = restart("--recover")
    return begin, daemon


def measure(options, folder, state):
    size, touched = parse_size(options.size), parse_size(options.touched)
    spread = parse_size(options.spread)

    def start(*more):
        return Daemon(folder, 2, ["--state-dir", state, "--swap-limit",
                                  str(2 * touched + (1 << 30)), *more], "vmswapd")
    guest = Guest("guest", [sys.executable, os.path.abspath(__file__), "--client",
                            "--size", options.size, "--touched", options.touched, "--spread",
                            options.spread, "--probe", options.probe])
    guest.expect("READY", 300)
    daemon = start()
    try:
        vm = daemon.attach(guest.pid, name="guest")
        waits = []
        for number in range(options.rounds):
            vm = Vm(daemon, "guest")
            vm.run("enable", 600)
            if options.state == "out":
                vm.run("swap_out", 600)
            pages = vm.metrics()["swap_pages" if options.state == "out" else "staging_pages"]
            check(pages > touched // PAGE * 9 // 10, f"only {pages} pages are {options.state}")
            guest.burst(5)
            time.sleep(1)
            begin, daemon = disturb(options.way, daemon, start)
            took, end = guest.result()
            check(end > begin, "no touch had to wait: the guest had ended its touches before")
            waits.append((took if options.way == "upgrade" else end - begin) / 1e6)
            print(f"round {number}: {pages} pages {options.state}, the first fault was served "
                  f"after {waits[-1]:.1f} ms", flush=True)
            time.sleep(REST_S)
        return waits
    finally:
        guest.end()
        daemon.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--way", choices=("kill", "upgrade", "recover"), default="kill")
    parser.add_argument("--size", default="16G")
    parser.add_argument("--touched", default="15G")
    parser.add_argument("--state", choices=("out", "staged"), default="out")
    parser.add_argument("--probe", choices=("hole", "disk"), default="hole")
    parser.add_argument("--spread", default="2M")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", default="/var/tmp")
    parser.add_argument("--json")
    parser.add_argument("--client", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        client(parse_size(options.size), parse_size(options.touched), parse_size(options.spread),
               options.probe)
        return
    program("vmswapd")
    folder = tempfile.mkdtemp(prefix="vmswap-takeover-", dir=options.folder)
    state = tempfile.mkdtemp(prefix="vmswap-takeover-", dir="/dev/shm")
    try:
        waits = measure(options, folder, state)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(state, ignore_errors=True)
    result = {"way": options.way, "size": options.size, "touched": options.touched,
              "spread": options.spread, "state": options.state, "probe": options.probe,
              "first_fault_ms": {
                  "median": statistics.median(waits), "min": min(waits), "max": max(waits),
                  "rounds": waits}}
    print(json.dumps(result))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
