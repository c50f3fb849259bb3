#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tortures a real daemon with real guests that verify their memory (tests/torture/README.md).

Everything is drawn from one seed: the same seed makes the same worlds, with the same guests and the
same actions in the same order; what overlaps with what is the machine's. A failure says the seed
and the number of the world, and --seed S --world N plays that world alone.
"""
import argparse
import os
import random
import sys
import tempfile
import time
import traceback

import vmswap_e2e
from torture_actions import ACTIONS
from torture_guests import Bounds
from torture_points import Points, PointsWorld
from torture_world import PLANTS, World
from vmswap_e2e import Daemon, Qemu, Skip

# Of a guest's thread, seconds, on a machine that does other things as well.
STALL_S = 2.0
# The same when a daemon died meanwhile.
CRASH_S = 5.0


class Log:
    """Every event, with the time and the world; a line of it on standard output when asked."""

    def __init__(self, folder, seed, is_loud):
        os.makedirs(folder, exist_ok=True)
        self.path = os.path.join(folder, f"{seed}.log")
        self.file = open(self.path, "a", encoding="utf-8")  # pylint: disable=consider-using-with
        self.begin = time.monotonic()
        self.is_loud = is_loud
        self.counts = {}
        self.rounds = 0
        self.connections = 0
        self.worst_s = 0.0
        self.left = 0  # worlds whose QEMU broke its guest

    def __call__(self, text):
        line = f"{time.monotonic() - self.begin:9.3f} {text}"
        print(line, file=self.file, flush=True)
        if self.is_loud:
            print(line, flush=True)

    def add_world(self, world):
        self.rounds += world.round
        self.connections += world.crowd.count
        self.worst_s = max([self.worst_s] + [member.worst_s for member in world.members])

    def count(self, name):
        self.counts[name] = self.counts.get(name, 0) + 1


class Options:
    """The command line."""

    def __init__(self, arguments):
        parser = argparse.ArgumentParser(
            prog="tools/torture", description=__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--minutes", type=float, default=10, help="begin no world later (10)")
        parser.add_argument("--seconds", type=float, help="the same in seconds")
        parser.add_argument("--seed", type=int, help="a new one each time unless given")
        parser.add_argument("--world", type=int, help="this world alone")
        parser.add_argument("--only", help="actions, with commas: leave out all others; "
                            f"of {', '.join(ACTIONS)}")
        parser.add_argument("--without", default="", help="actions, with commas: leave out these")
        parser.add_argument("--points", help="one world, in which somebody dies at each of these "
                            "named steps (vmswapd(8), PROBES), with commas, or at `all`, in an "
                            "order drawn from the seed")
        parser.add_argument("--no-qemu", action="store_true", help="no QEMU guests")
        parser.add_argument("--plant", choices=sorted(PLANTS),
                            help="a fault that must be found: success is to find it")
        parser.add_argument("--verbose", action="store_true", help="print each event")
        parser.add_argument("--log", default=os.path.join(vmswap_e2e.TOP, "build", "torture"),
                            help="folder of the logs (build/torture)")
        chosen = parser.parse_args(arguments)
        self.seed = random.SystemRandom().randrange(1 << 32) if chosen.seed is None else chosen.seed
        self.seconds = chosen.seconds if chosen.seconds is not None else chosen.minutes * 60
        self.world = chosen.world
        self.only = set(chosen.only.split(",")) if chosen.only else set(ACTIONS)
        self.only -= set(chosen.without.split(","))
        self.no_qemu = chosen.no_qemu
        self.plant = chosen.plant
        self.points = Points()
        self.visits = None
        if chosen.points:
            try:
                self.visits = self.points.choose(chosen.points, self.seed)
            except KeyError as error:
                parser.error(f"there is no named step {error}")
        self.bounds = Bounds(STALL_S, CRASH_S)
        self.log = Log(chosen.log, self.seed, chosen.verbose)
        for name in (self.only | set(filter(None, chosen.without.split(",")))) - set(ACTIONS):
            parser.error(f"there is no action {name}")

    def wants(self, name, daemon):
        needs = ACTIONS[name].needs
        return name in self.only and (not needs or getattr(daemon, needs))


def say_what_is_left_out(daemon, log):
    left_out = [name for name, action in ACTIONS.items()
                if action.needs and not getattr(daemon, action.needs)]
    if left_out:
        text = f"left out, for this daemon has no such thing: {', '.join(left_out)}"
        log(text)
        print(f"torture: {text}", flush=True)


def play(world, rounds_end):
    world.begin()
    if world.options.visits:
        world.play(lambda: time.monotonic() >= rounds_end)
        world.end()
        return
    if world.number == 0 or world.options.world is not None:
        say_what_is_left_out(world.daemon, world.log)
    while world.round < world.rounds and time.monotonic() < rounds_end:
        world.play_round()
    world.end()


def say_that_tcg_broke(qemu, log):
    """Loudly: it is not ours, but nobody else will say so."""
    log.left += 1
    text = f"{qemu.name}: QEMU's TCG lost the flags of a vCPU, the world is left:\n{qemu.tail(40)}"
    log(text)
    print(text, flush=True)


def run_world(number, options, rounds_end):
    """True when all went well."""
    folder = tempfile.mkdtemp(prefix="vmswap-torture-", dir="/var/tmp")
    os.chmod(folder, 0o755)
    rig = vmswap_e2e.Rig(folder)
    kind = PointsWorld if options.visits else World
    world = kind(rig, number, options.seed, options, options.log)
    try:
        play(world, rounds_end)
        options.log.add_world(world)
        return True
    except Skip:
        raise
    except Exception:  # pylint: disable=broad-except
        broken = [console for console in rig.consoles
                  if isinstance(console, Qemu) and console.has_impossible_flags()]
        if broken:
            say_that_tcg_broke(broken[0], options.log)
            return True
        text = traceback.format_exc()
        options.log(text)
        print(text)
        for console in rig.consoles:
            print(console.tail(), flush=True)
            if isinstance(console, Daemon):
                print(console.threads(), flush=True)
        return False
    finally:
        world.crowd.go()
        rig.end()


def main():
    options = Options(sys.argv[1:])
    log = options.log
    begin = time.monotonic()
    print(f"torture: seed {options.seed}, events in {log.path}", flush=True)
    number = options.world or 0
    if options.plant:
        found = not run_world(number, options, begin + options.seconds)
        print(f"torture: the planted {options.plant} was {'found' if found else 'NOT FOUND'}")
        sys.exit(0 if found else 1)
    while True:
        if not run_world(number, options, begin + options.seconds):
            which = "--points all" if options.visits else f"--world {number}"
            print(f"torture: FAILED in world {number}; again with:\n"
                  f"  tools/torture --seed {options.seed} {which}", flush=True)
            sys.exit(1)
        number += 1
        is_single = options.world is not None or options.visits
        if is_single or time.monotonic() - begin >= options.seconds:
            break
    print(f"torture: seed {options.seed}: {number - (options.world or 0)} worlds, {log.rounds} "
          f"rounds, {sum(log.counts.values())} actions, {log.connections} hostile connections, "
          f"longest stall {log.worst_s:.2f} s, {time.monotonic() - begin:.0f} s", flush=True)
    if log.counts:
        counts = [f"{name} {count}" for name, count in sorted(log.counts.items())]
        print(f"torture: {', '.join(counts)}")
    print(f"torture: {options.points}")
    if log.left:
        print(f"torture: {log.left} worlds were left as QEMU's TCG broke a guest")


if __name__ == "__main__":
    try:
        vmswap_e2e.need_root()
        main()
    except Skip as skip:
        print(skip)
        sys.exit(77)
