# SPDX-License-Identifier: Apache-2.0
"""Death at named steps: each probe of vmswapd (queue/base/probe.h) is armed, and the daemon is led
there. Who comes to it dies at exactly that step; then everything is as after any other death.

A visit is a few steps that lead to the probe; each of them is cut short by the death it is for.
"""
import os
import random
import signal

import vmswap_crash
from torture_actions import ACTIONS, find, leave, say_no
from torture_daemon import DEATHS_MAX, Lost, probes
from torture_guests import ProcessGuest
from torture_world import World
from vmswap_e2e import PAGE, Failure, check, largest_shared_mapping, wait_until
from vmswap_mapper import mapper
from vmswap_rpc import RpcError

# So often the steps of a visit are gone through before the probe counts as one nobody comes to.
PASSES_MAX = 5
# Until faults and jobs that were begun have come to a probe.
PATIENCE_S = 5
# Deaths of the worker in one visit, at most; none may have been before those of a crash loop.
DEATHS_A_VISIT = 2
DEATHS_OF_LOOPS = DEATHS_MAX
LOOPS = ("supervisor:minimal", "supervisor:waiting")
JOB_S = 60
VICTIM_MIB = 16
# A probe that no visit reaches, and why that is so.
UNREACHED = {}

GUESTS = (
    ("--size", "64M", "--threads", "2", "--working-set", "20", "--zero-percent", "30", "--holes",
     "--rate", "20000"),
    ("--size", "64M", "--working-set", "60", "--processes", "2", "--read-only-percent", "80",
     "--rate", "20000"),
)


class Points:
    """The probes of the program that runs, and how often a process died at each."""

    def __init__(self):
        self.deaths = dict.fromkeys(probes(), 0)
        self.wanted = list(self.deaths)

    def choose(self, text, seed):
        """Those named, with commas, or all, in an order drawn from the seed. KeyError: no such."""
        self.wanted = sorted(self.deaths) if text == "all" else text.split(",")
        for name in self.wanted:
            _ = self.deaths[name]
        if text == "all":
            random.Random(f"{seed}:points").shuffle(self.wanted)
        return self.wanted

    def died(self, name):
        self.deaths[name] += 1

    def unmet(self):
        return sorted(name for name in self.wanted if self.deaths[name] == 0)

    def draw(self, rng):
        """One that a round may come to by itself; and whether a worker passes it as it begins."""
        name = rng.choice([name for name in self.deaths if place_of(name) in ("worker", "start")
                           and name not in NEEDS_VICTIM and not name.startswith("upgrade:")])
        return name, place_of(name) == "start"

    def __str__(self):
        unmet = self.unmet()
        text = (f"{sum(self.deaths.values())} deaths at {len(self.wanted) - len(unmet)} of "
                f"{len(self.wanted)} named steps")
        return text + (f", none at {', '.join(unmet)}" if unmet else "")


def place_of(name):
    """Who passes it: a "worker", one at its "start", the "supervisor", a daemon at "recover"."""
    group = name.split(":")[0]
    if group in ("start", "adopt"):
        return "start"
    return group if group in ("supervisor", "recover") else "worker"


# Steps ----------------------------------------------------------------------------------------


def quietly(world, function, *args):
    """Its answer; None when the daemon said no, or died of it."""
    try:
        return function(*args)
    except Lost:
        return None
    except RpcError as error:
        return say_no(world, error) and None


def job(name):
    def run(visit, member):
        if not member.vm:
            return
        begun = quietly(visit.world, lambda: visit.call(f"vm.{name}", vm=member.vm)["job"])
        if begun:
            quietly(visit.world, lambda: visit.call("job.wait", JOB_S, job=begun,
                                                    timeout_ms=JOB_S * 900))
    return run


def attach_by(zap):
    def run(visit, member):
        if member.vm:
            return
        name = f"{member}-{visit.number}-{visit.born}"
        visit.born += 1
        params = {"dwell": 0, "zap": zap, "all_mappers": True, "name": name,
                  "min_size": VICTIM_MIB << 20}
        done = quietly(visit.world,
                       lambda: visit.call("vm.attach", JOB_S, pids=[member.pid], **params))
        if done:
            member.vm = name
        elif visit.worker_lives():
            find(visit.world, member)
    return run


def detach(visit, member):
    if not member.vm:
        return
    leave(member)
    if quietly(visit.world, lambda: visit.call("vm.detach", JOB_S, vm=member.vm)) is not None:
        member.vm = None


def touch(visit, member):
    """All pages, and no end is waited for that may not come."""
    member.touch()
    visit.wait_for_death()


def fork(visit, member):
    """A child, which nobody else than the one that dies has heard of."""
    member.fork()
    visit.wait_for_death()


def cancelled_enable(visit, member):
    begun = quietly(visit.world, lambda: visit.call("vm.enable", vm=member.vm)["job"])
    if begun:
        quietly(visit.world, lambda: visit.call("job.cancel", job=begun))
        quietly(visit.world, lambda: visit.call("job.wait", JOB_S, job=begun, timeout_ms=30000))


def late_mapper(visit, member):
    visit.world.may_fail = True
    ACTIONS["add"].run(visit.world, member, visit.rng)


def die(visit, member):
    member.kill()
    visit.wait_for_death()


def corrupt_store(visit, _member):
    """Whatever the store holds is wrong from now on; nothing of the other guests is there."""
    for other in visit.world.members:
        job("disable")(visit, other)
    daemon = visit.world.daemon
    daemon.pid = daemon.worker_pid()
    path, size = daemon.swap_file()
    with open(path, "r+b", buffering=0) as file:
        place = 0
        while place < size:
            try:
                place = os.lseek(file.fileno(), place, os.SEEK_DATA)
            except OSError:
                break  # nothing but a hole follows
            end = os.lseek(file.fileno(), place, os.SEEK_HOLE)
            os.pwrite(file.fileno(), b"\xa5" * (end - place), place)
            place = end
        os.fsync(file.fileno())


def allocate_behind(_visit, member):
    """The page cache gets a page, of zeros, where one is out."""
    path = largest_shared_mapping(member.pid)
    with open(path, "r+b") as file:
        hole = os.lseek(file.fileno(), 0, os.SEEK_HOLE)
        if hole < VICTIM_MIB << 20:
            os.posix_fallocate(file.fileno(), hole, PAGE)


def upgrade(visit, _member):
    quietly(visit.world, visit.world.daemon.try_upgrade)


def kill_worker(visit, _member):
    visit.world.daemon.kill_worker_in(0).join()
    visit.wait_for_death()


def crash_loop(visit, _member):
    """As many deaths as lead to minimal mode; the supervisor may be gone before the last."""
    vmswap_crash.crash_loop(visit.world.daemon)
    visit.wait_for_death()


def crash_loops(visit, member):
    vmswap_crash.into_minimal_mode(visit.world.daemon)
    crash_loop(visit, member)


attach, enable, swap_out = attach_by("auto"), job("enable"), job("swap_out")
trim, disable, scrub = job("trim"), job("disable"), job("scrub")
OUT = (attach, enable, swap_out)

# By name, else by group.
STEPS = {
    "attach": (detach, attach),
    "inject": (detach, attach),
    "ledger": (attach, detach, attach),
    "process": (detach, attach, enable, disable, detach),
    "detach": (attach, detach),
    "enable": (attach, disable, enable),
    "enable:releasing": (detach, attach, cancelled_enable),
    "stage": (attach, disable, enable, disable),
    "stage:unstaged": (detach, attach_by("pageout"), enable),
    "stage:guarded": (*OUT, late_mapper),
    "stage:forgotten": (*OUT, die),
    "swap_out": OUT,
    "swap_in": (*OUT, touch),
    "swap_in:refilling": (*OUT, allocate_behind, touch),
    "swap_in:refilled": (*OUT, allocate_behind, touch),
    "swap_in:returned": (*OUT, corrupt_store, disable),
    "swap_in:lost": (*OUT, corrupt_store, touch),
    "slot:dropped": (*OUT, enable),
    "slot:mended": (*OUT, touch, corrupt_store, scrub),
    "fault": (attach, enable, trim, touch),
    "fault:forked": (*OUT, fork),
    "disable": (*OUT, disable),
    "upgrade": (upgrade,),
    "supervisor": (kill_worker,),
    "supervisor:stored": (detach, attach),
    "supervisor:forgot": (attach, detach),
    "supervisor:candidate": (upgrade,),
    "supervisor:minimal": (crash_loop,),
    "supervisor:waiting": (crash_loops,),
}
# What a worker dies of before its successor dies at a step of its start: pages are on the move.
BEFORE_START = ("swap_out:writing", "swap_out:written", "swap_out:punching", "swap_out:punched",
                "swap_in:reading", "swap_in:copied", "enable:staged", "disable:released")
# Only writes that were cut off leave something to settle.
BEFORE_SETTLE = ("swap_out:writing", "swap_out:sealed", "swap_out:written")


def steps_to(name):
    return STEPS.get(name) or STEPS[name.split(":")[0]]


# Guests of a visit ----------------------------------------------------------------------------


class Victim:
    """A process that touches its memory on request only, of which each page has its own content. It
    is lost where its pages were."""

    helper = None
    vm = None
    worst_s = 0.0

    def __init__(self, rig, number):
        self.console = mapper(rig, f"victim{number}", "own", VICTIM_MIB)
        self.may_be_lost = False
        self.children = 0

    pid = property(lambda self: self.console.pid)

    def touch(self):
        self.console.send("check 0\n")

    def fork(self):
        self.console.send("fork\n")
        self.children += 1

    def end_children(self):
        """Each finds all memory right."""
        for _ in range(self.children):
            since = self.console.mark()
            self.console.send("child check 0\njoin\n")
            self.console.expect("^OK ended", since=since)
        self.console.check_good()
        self.children = 0

    def kill(self):
        self.console.end()

    def finish(self):
        """All pages are right, or it has died of what was lost."""
        if self.console.process.poll() is None:
            self.console.send("unmap\n")
            try:
                self.console.expect("^OK unmapped")
            except Failure:
                check(self.may_be_lost, self.console.tail())
        self.console.check_good()
        self.console.end()

    def __str__(self):
        return self.console.name


NEEDS_VICTIM = ("fault:forked", "stage:forgotten", "swap_in:refilling", "swap_in:refilled",
                "swap_in:returned", "swap_in:lost", "slot:mended")
LOSES = ("swap_in:returned", "swap_in:lost", "slot:mended")


# A visit --------------------------------------------------------------------------------------


class Visit:
    """Of one probe, in a world that goes on."""

    def __init__(self, world, name, number):
        self.world = world
        self.daemon = world.daemon
        self.name = name
        self.number = number
        self.born = 0
        self.rng = random.Random(f"{world.seed}:{name}:{number}")
        self.armed = None  # the pid that is to die

    def call(self, method, timeout_s=60, **params):
        return self.daemon.call(method, timeout_s, **params)

    def is_dead(self):
        return self.armed is not None and not os.path.exists(f"/proc/{self.armed}/exe")

    def worker_lives(self):
        return not self.is_dead() and self.daemon.process.poll() is None

    def wait_for_death(self):
        try:
            wait_until(self.is_dead, "", PATIENCE_S)
        except Failure:
            pass  # whoever asked looks for itself

    def walk(self, name, member):
        """Through the steps to a probe until the armed process is dead; whether it is."""
        for _ in range(PASSES_MAX):
            # An attach that a death cut off may have been undone meanwhile.
            find(self.world, member)
            for step in steps_to(name):
                step(self, member)
                if self.is_dead():
                    return True
        return False

    def at_worker(self, member):
        pid = self.daemon.arm(self.name)
        self.armed = pid
        return self.walk(self.name, member) and self.daemon.died_at_probe(pid)

    def at_start(self, member):
        """The worker dies in the middle of something, and the next one at the step."""
        before = BEFORE_SETTLE if self.name in ("adopt:drained", "adopt:settled") else BEFORE_START
        begin = self.rng.choice(before)
        armer = self.daemon.arm_next(self.name)
        self.armed = self.daemon.arm(begin)
        if not self.walk(begin, member):
            kill_worker(self, member)
        pid = armer.pid()
        self.armed = pid
        self.wait_for_death()
        return self.is_dead() and self.daemon.died_at_probe(pid)

    def at_supervisor(self, member):
        supervisor = self.daemon.process
        self.armed = supervisor.pid
        with_worker = self.rng.random() < 0.5
        self.daemon.may_end = True
        self.daemon.arm(self.name, supervisor.pid)
        try:
            is_met = self.walk(self.name, member)
        except (Failure, OSError) as error:
            if not self.is_dead():
                raise
            is_met = True
            self.world.log(f"on the way to it: {str(error).splitlines()[0]}")
        self.daemon.may_end = False
        if not is_met:
            return False
        is_met = supervisor.wait(PATIENCE_S) == -signal.SIGTRAP
        self.daemon.kill_and_recover(with_worker)
        return is_met

    def at_recover(self, member):
        for step in OUT:
            step(self, member)
        return self.daemon.kill_and_recover(self.rng.random() < 0.5, self.name)


class PointsWorld(World):
    """One daemon with guests, and a visit of each probe."""

    def __init__(self, rig, number, seed, options, log):
        super().__init__(rig, number, seed, options, log)
        self.kind = "folder"
        self.is_scarce = False
        self.shards = 2
        self.loses_disk = False
        self.has_qemu = not options.no_qemu
        self.guests = len(GUESTS) + self.has_qemu
        self.failed = []

    def add_guest(self, kind):
        if kind == "qemu":
            return super().add_guest(kind)
        number = self.born
        self.born += 1
        self.members.append(ProcessGuest(self.rig, number, list(GUESTS[number % len(GUESTS)])))
        return self.members[-1]

    def choose_member(self, name):
        """The guest of a visit."""
        if name in NEEDS_VICTIM:
            victim = Victim(self.rig, self.round)
            victim.may_be_lost = name in LOSES
            return victim
        if name == "fault:zeroed":
            return next(member for member in self.members if "--holes" in member.options)
        if name == "stage:guarded":  # late mappers are of these only
            return next(member for member in self.members if isinstance(member, ProcessGuest))
        return self.members[self.round % len(self.members)]

    def visit(self, name):
        """Whether somebody died there; all is well afterwards in any case."""
        self.crashes = 1
        self.daemon.spare(DEATHS_OF_LOOPS if name in LOOPS else DEATHS_A_VISIT)
        visit = Visit(self, name, self.round)
        member = self.choose_member(name)
        is_met = getattr(visit, f"at_{place_of(name)}")(member)
        self.log(f"{name}: {'died' if is_met else 'NOT REACHED'}, {member}")
        if is_met:
            self.options.points.died(name)
        self.daemon.reconnect()
        self.daemon.disarm()
        if isinstance(member, Victim):
            self.end_victim(member)
        for other in self.members:
            find(self, other)
            leave(other)
        return is_met

    def end_victim(self, victim):
        self.settle()
        victim.end_children()
        if victim.console.process.poll() is None and find(self, victim) and not victim.may_be_lost:
            since = victim.console.mark()
            victim.touch()
            victim.console.expect("^OK checked", since=since)
        victim.kill()
        victim.console.check_good()
        wait_until(lambda: not find(self, victim), f"the killed {victim} is collected", 60)

    def play(self, is_time_over):
        for name in self.options.visits:
            if is_time_over():
                self.log("the time is over")
                break
            is_met = self.visit(name)
            if not is_met and name not in UNREACHED:
                self.failed.append(name)
            self.settle()
            self.check(self.round % 4 == 3)
            self.round += 1
        check(not self.failed, f"not reached: {', '.join(self.failed)}")
