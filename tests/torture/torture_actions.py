# SPDX-License-Identifier: Apache-2.0
"""What is done to a world, one function each: run(world, member, rng) says in a word what came of
it. Choices come from rng alone, and are drawn whatever happens."""
import os
import signal
import time

import vmswap_crash
import vmswap_rpc
from torture_daemon import Lost
from torture_guests import ProcessGuest, pause, resize_balloon
from vmswap_e2e import Failure, check, read_file, wait_until
from vmswap_mapper import do, mapper
from vmswap_rpc import RpcError

DETACH_S = 120
# Of other memory that is looked at.
ZEROS_PAGES = 4096
ATTACH_S = 60
# Answers that say no: not now, not in this state, no such VM any more.
NO = (vmswap_rpc.ILLEGAL_STATE, vmswap_rpc.NOT_FOUND, vmswap_rpc.TIMEOUT, -32005)


class Action:
    """How often, and what."""

    def __init__(self, weight, function, needs=None):
        self.weight = weight
        self.run = function
        self.needs = needs  # an attribute of the daemon, without which it is left out


def say_no(world, error):
    """The words of a refusal that may be; raises for any other."""
    if error.code in NO or (error.code == vmswap_rpc.FAILED and
                            (world.is_scarce or world.crashes or world.may_fail)):
        return f"no: {error.message}"
    raise Failure(f"{error} {error.data}\n{world.daemon.tail()}") from error


def operation(name):
    def run(world, member, rng):
        wait_ms = rng.choice((0, 0, 20, 200, 20000))
        is_cancelled = rng.random() < 0.15
        if not member.vm:
            return "not attached"
        try:
            job = world.daemon.call(f"vm.{name}", vm=member.vm)["job"]
            if wait_ms:
                ended = world.daemon.call("job.wait", job=job, timeout_ms=wait_ms)
                return f"{ended['state']}, {ended['pages']} pages"
            if is_cancelled:
                world.daemon.call("job.cancel", job=job)
                return "cancelled"
            return "started"
        except Lost:
            return "answer lost"
        except RpcError as error:
            if error.code == vmswap_rpc.FAILED and is_cancelled:
                return "ended before it could be cancelled"
            return say_no(world, error)
    return run


def attach(world, member, rng):
    # Not for a guest that zaps its own mappings (MADV_DONTNEED): that keeps the content of shared
    # memory, but its event is the one of a discard.
    trusts = rng.random() < 0.3 and "--holes" not in member.options
    params = {"dwell": rng.choice((0, 0, 0.2)), "trust_discard": trusts,
              "zap": rng.choice(("auto", "auto", "inject", "pageout")), "all_mappers": True}
    if member.vm:
        return "attached already"
    name = f"{member}-{world.round}-{rng.randrange(1000)}"
    try:
        world.daemon.call("vm.attach", ATTACH_S, pids=[member.pid], name=name, **params)
    except Lost:
        # It came to pass or it did not: the list says so, once what was under way is over.
        return f"answer lost, {'attached' if find(world, member) else 'not attached'}"
    except RpcError as error:
        return say_no(world, error)
    member.vm = name
    return name


def find(world, member):
    for vm in world.daemon.ask("vm.list")["vms"]:
        if member.pid in vm["pids"]:
            member.vm = vm["vm"]
            return True
    member.vm = None
    return False


def leave(member):
    """Who came late goes first: afterwards nobody would serve its faults."""
    if member.helper:
        member.helper.end()
        member.helper = None


def detach(world, member, _rng):
    if not member.vm:
        return "not attached"
    leave(member)
    for _ in range(5):
        try:
            world.daemon.call("vm.detach", DETACH_S, vm=member.vm)
            member.vm = None
            return "done"
        except Lost:
            if not find(world, member):
                return "answer lost, detached"
        except RpcError as error:
            if error.code == vmswap_rpc.NOT_FOUND:
                member.vm = None
            return say_no(world, error)
    return "answer lost"


def cycle(world, member, rng):
    """All the way out, in good order."""
    said = []
    for name in ("enable", "trim", "swap_out"):
        if rng.random() < 0.3 and name == "trim":
            continue
        try:
            if not member.vm:
                return "not attached"
            job = world.daemon.call(f"vm.{name}", vm=member.vm)["job"]
            ended = world.daemon.call("job.wait", 120, job=job, timeout_ms=100000)
            said.append(f"{name} {ended['state']} {ended['pages']}")
        except Lost:
            return "answer lost"
        except RpcError as error:
            return say_no(world, error)
    return ", ".join(said)


def add(world, member, _rng):
    """A late mapper, which touches the memory only once it is in."""
    if not member.vm or member.helper or not isinstance(member, ProcessGuest):
        return "not now"
    # While it maps and is not in, evictions fail.
    world.may_fail = True
    member.helper = mapper(world.rig, f"helper of {member}", "join", member.pid)
    try:
        world.daemon.call("vm.add", vm=member.vm, pid=member.helper.pid)
    except Lost:
        leave(member)
        return "answer lost"
    except RpcError as error:
        leave(member)
        return say_no(world, error)
    return "done"


def peek(_world, member, _rng):
    """Reads pages all over the memory, and with them brings some in."""
    if not member.helper:
        return "no late mapper"
    since = member.helper.mark()
    member.helper.send("peek\n")
    member.helper.expect("^OK", since=since)
    return "done"


def take_out(world, member, helper):
    """Of the VM, once it has let go of the memory."""
    try:
        world.daemon.call("vm.remove", vm=member.vm, pid=helper.pid)
        said = "done"
    except Lost:
        said = "answer lost"
    except RpcError as error:
        said = say_no(world, error)
    helper.end()
    return said


def remove(world, member, rng):
    """It lets go of the memory and leaves, or simply dies."""
    dies = rng.random() < 0.5
    if not member.helper:
        return "no late mapper"
    helper, member.helper = member.helper, None
    if dies:
        helper.end()
        return "died"
    since = helper.mark()
    helper.send("unmap\n")
    helper.expect("^OK", since=since)
    return take_out(world, member, helper)


def gap(world, member, rng):
    """The late mapper lets go of the memory when no worker serves; the next one is told, and leaves
    what may be in its place alone."""
    how = rng.choice(("unmap", "renew"))
    if not member.helper:
        return "no late mapper"
    if world.daemon.is_spared():
        return "spared: too many deaths"
    world.crashes += 1
    helper, member.helper = member.helper, None
    since = helper.mark()
    try:
        pid = world.daemon.worker_pid()
        vmswap_crash.stop_process(pid)
        helper.send(how + "\n")
        # Memory that is not registered is gone at once.
        wait_until(lambda: len(helper.lines) > since
                   or "userfaultfd" in read_file(f"/proc/{helper.pid}/wchan"), "it waits", 10)
        os.kill(pid, signal.SIGKILL)
        said = how
    except FileNotFoundError:
        helper.send(how + "\n")
        said = "the worker was faster to die"
    helper.expect("^OK (unmapped|renewed)", since=since)
    if how == "renew":
        do(helper, f"zeros 0 {ZEROS_PAGES}")
    return f"{said}, {take_out(world, member, helper)}"


def stop(_world, member, rng):
    pause(member.pid, rng.uniform(0.01, 0.4))
    return "stopped and continued"


def balloon(_world, member, rng):
    mib = rng.choice((350, 420, 512))
    resize_balloon(member, mib)
    return f"{mib} MiB"


def die(world, member, rng):
    """The VMM is killed, another one begins."""
    delay = rng.choice((0, 0, 0.02))
    if not isinstance(member, ProcessGuest):
        return "not QEMU: it takes too long to boot"
    time.sleep(delay)
    member.kill()
    world.may_fail = True
    world.members.remove(member)
    wait_until(lambda: not find(world, member), f"the killed {member} is collected", 60)
    return f"killed; {world.add_guest('process')} comes"


def hostile(world, _member, rng):
    count = rng.choice((50, 150, 500))
    ways = world.crowd.come(world.daemon.socket, rng, count)
    return f"{ways}, ping {world.daemon.ping() * 1000:.0f} ms"


def crash(world, _member, rng):
    delay = rng.choice((0, 0.001, 0.01, 0.05, 0.3))
    if world.daemon.is_spared():
        return "spared: too many deaths"
    world.crashes += 1
    world.threads.append(world.daemon.kill_worker_in(delay))
    return f"the worker is killed {delay} s later"


def point(world, _member, rng):
    """The first to come to a named step dies there, in what is left of the round."""
    name, is_start = world.options.points.draw(rng)
    daemon = world.daemon
    if daemon.armed:
        return "not now: another one is armed"
    if daemon.is_spared(2 if is_start else 1):
        return "spared: too many deaths"
    world.crashes += 1
    if is_start:
        armer = daemon.arm_next(name)
        daemon.kill_worker_in(0).join()
        daemon.armed = (armer.pid(), name)
        return f"the worker is killed, and the next one dies at {name}"
    daemon.arm(name)
    return name


def count_point(world):
    """Nobody dies at a named step from now on."""
    name = world.daemon.disarm()
    if name:
        world.options.points.died(name)


def upgrade(world, _member, _rng):
    world.crashes += 1
    for thread in world.threads:
        thread.join()
    count_point(world)
    world.daemon.upgrade()
    return "done"


def recover(world, _member, rng):
    world.crashes += 1
    for thread in world.threads:
        thread.join()
    with_worker = rng.random() < 0.5
    world.daemon.kill_and_recover(with_worker)
    return "from both" if with_worker else "from the supervisor's death"


def before_loop(world):
    """The deaths to come are the first ones that the supervisor counts."""
    world.crashes += 1
    for thread in world.threads:
        thread.join()
    count_point(world)
    world.daemon.upgrade()


def minimal(world, member, rng):
    """A crash loop, and back: memory may come in meanwhile, and may not go out."""
    by_signal, comes_in = rng.random() < 0.5, rng.random() < 0.5
    before_loop(world)
    daemon = world.daemon
    worker = vmswap_crash.into_minimal_mode(daemon)["worker_pid"]
    if member.vm:
        try:
            daemon.rpc.call("vm.enable", vm=member.vm)
            raise Failure(f"{member} was enabled in minimal mode")
        except RpcError as error:
            check(error.code == vmswap_rpc.REFUSED, f"enable in minimal mode: {error}")
        said = operation("disable")(world, member, rng) if comes_in else "no disable"
    else:
        said = "not attached"
    if by_signal:
        daemon.signal(signal.SIGUSR1)
        status = vmswap_crash.next_worker(daemon, worker)
        check(status["mode"] == "normal", f"{status}")
        daemon.reconnect()
        daemon.deaths = [time.monotonic()]  # the worker's that was in minimal mode
    else:
        daemon.upgrade()
    return f"{said}; back by {'SIGUSR1' if by_signal else 'an upgrade'}"


def rescue(world, _member, _rng):
    """Nobody serves any more; all memory comes back, and another daemon begins."""
    before_loop(world)
    vmswap_crash.into_waiting(world.daemon)
    # A new daemon does not begin on a full disk.
    world.free_disk()
    said = world.daemon.rescue()
    for member in world.members:
        leave(member)
        member.vm = None
    return said


def fill(world, _member, rng):
    left_mib = rng.choice((0, 4, 24))
    return "done" if world.fill_disk(left_mib) else "not here"


def free(world, _member, _rng):
    return "done" if world.free_disk() else "not here"


def status(world, member, _rng):
    if not member.vm:
        return "not attached"
    found = world.status(member)
    return found["state"] if found else "gone"


ACTIONS = {
    "attach": Action(14, attach),
    "detach": Action(4, detach),
    "enable": Action(8, operation("enable")),
    "trim": Action(6, operation("trim")),
    "swap-out": Action(8, operation("swap_out")),
    "disable": Action(6, operation("disable")),
    "cycle": Action(10, cycle),
    "add": Action(4, add),
    "peek": Action(3, peek),
    "remove": Action(3, remove),
    "gap": Action(3, gap, "has_worker"),
    "stop": Action(3, stop),
    "balloon": Action(2, balloon),
    "die": Action(2, die),
    "hostile": Action(5, hostile),
    "fill": Action(3, fill),
    "free": Action(3, free),
    "status": Action(3, status),
    "crash": Action(14, crash, "has_worker"),
    "point": Action(14, point, "can_arm"),
    "upgrade": Action(4, upgrade, "can_upgrade"),
    "recover": Action(4, recover, "can_recover"),
    "minimal": Action(3, minimal, "can_upgrade"),
    "rescue": Action(2, rescue, "can_upgrade"),
}


def names_of(rng, count):
    """Of `count` actions, by their weights."""
    names = list(ACTIONS)
    return rng.choices(names, [ACTIONS[name].weight for name in names], k=count)
