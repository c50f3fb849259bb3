#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Simulates many shards and many faulting vCPUs from the measured cost of each step.

usage: scaling.py [--seed N] [--json] [--results FILE]     tables of the whole sweep
       scaling.py --check [FILE] [--results FILE]          error against measured points
       scaling.py --write REPORT [--check FILE] [--results FILE]
                                                           both, into their places in REPORT

perf/scaling.md describes the model and says where each number comes from. FILE is the JSON of
vmswap-bench, of which the series scale-staged and scale-disk are read:
{"series":[{"name":"scale-staged","points":[{"shards":1,"threads":8,"faults_per_s":N},…]},…]}.
The points of the floors document and the published ones are always checked.
"""
import argparse
import bisect
import collections
import contextlib
import dataclasses
import heapq
import io
import json
import math
import random
import sys

SHARDS = (1, 2, 4, 8, 16, 32, 64)
VCPUS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
BATCH = 64
# Below this utilisation nothing is full: the vCPUs wait for latencies.
FULL = 0.85


@dataclasses.dataclass(frozen=True)
class Costs:
    """Cost of each step, in ns. perf/scaling.md has the source of every number."""
    thread: float = 1850      # fault and its retry on the CPU of the faulting thread
    vcpu: float = 7500        # what a vCPU adds to that: exit and entry
    switch: float = 1000      # a sleeper gets the CPU
    lock: float = 150         # each of three visits to the wait-queue lock: queue, read, wake
    waiter: float = 30        # each waiter of the descriptor that a wake walks over, lock held
    shared: float = 3250      # at the lock, each fault, where several shards read one descriptor
    shared_waiter: float = 186  # and each waiter then
    mm: float = 85            # each of three visits to the VMA's reference count
    read_call: float = 250    # read(), each batch
    serve: float = 930        # UFFDIO_CONTINUE without waiters
    serve_page: float = 564   # and each further page of the same call
    ept: float = 3500         # a vCPU's first touch of such a page: mapped, but not in the EPT
    pte: float = 100          # page-table lock of the page's 2 MiB
    copy: float = 4030        # UFFDIO_COPY instead
    wake: float = 1200        # making the sleeper runnable, its CPU not idle
    cross_thread: float = 1550  # cache lines that the shard wrote on another CPU
    cross_shard: float = 900    # and the other way round
    send: float = 8300        # the waker pays for waking an idle CPU
    latency: float = 29400    # from there to the sleeper's first instruction
    wake_serial: float = 0    # part of a wake-up that the whole machine does one by one
    submit: float = 1400      # io_uring, one 4 KiB read
    complete: float = 1400
    disk_queue: float = 1000  # serial part of one hardware queue
    disk_spread: float = 0.5
    disk: tuple = ((1, 14200), (8, 45400), (32, 57700), (64, 71800))  # (depth, reads a second)
    zap: float = 125000       # 2 MiB taken from the page tables
    zap_pause: float = 133000  # marks and zero scan of the same 2 MiB
    flush_pages: float = 256  # pages of one shootdown
    tlb: float = 10900        # one shootdown
    tlb_cpu: float = 8300     # and each further CPU
    tlb_target: float = 7400  # taken from each interrupted CPU
    punch: float = 560000     # 2 MiB under the inode's lock
    punch_pause: float = 670000  # writing the 2 MiB


MEASURED = Costs()
BARE_METAL = Costs(
    thread=700, vcpu=800, switch=600, read_call=120, serve=500, serve_page=300, ept=700, copy=1400,
    wake=500,
    cross_thread=500, cross_shard=400, send=700, latency=2000, submit=700, complete=700,
    disk_queue=300, disk=((1, 12000), (8, 95000), (32, 350000), (128, 800000), (256, 1000000)),
    zap=80000, zap_pause=60000, tlb=1500, tlb_cpu=100, tlb_target=500, punch=250000,
    punch_pause=500000)
# What would explain the published plateau of a descriptor and a sleeping reader a vCPU, with two
# wake-ups a fault: a part of each that the machine does one by one.
PLATEAU = dataclasses.replace(BARE_METAL, wake_serial=1600)
SETS = {"measured": MEASURED, "bare-metal": BARE_METAL, "plateau": PLATEAU}


@dataclasses.dataclass(frozen=True)
class Setup:
    """One cell: how many of what, where, and what the faults need."""
    shards: int = 1
    vcpus: int = 1
    uffds: int = 0            # 0: one a shard
    disk: bool = False
    placement: str = "own"    # own, same, split, any: see Machine
    cpus: int = 2             # of placement any
    kvm: bool = True          # vCPUs; plain threads without
    batch: int = BATCH
    pages: int = 1            # of a fault: more in streams
    chunks: int = 2048        # 2 MiB each, of the memory that is touched
    at_home: bool = False     # vCPU i faults on userfaultfd i only
    vmas: int = 1
    disks: int = 1
    disk_queues: int = 1
    zap: bool = False         # an enable runs beside the faults
    zap_pages: int = 512      # that one zap takes
    punch: bool = False       # a swap-out runs beside the faults, one puncher a shard
    jitter: float = 0.2
    warm: int = 1500          # faults before the window
    faults: int = 6000        # and in it
    seed: int = 1


class Server:
    """A FIFO server: who comes later is served later. Arrivals come in order of time."""

    def __init__(self):
        self.free_at = 0.0
        self.busy = 0.0

    def use(self, now, cost):
        """Time when a visit that begins now ends."""
        self.free_at = max(now, self.free_at) + cost
        self.busy += cost
        return self.free_at

    def busy_until(self, now):
        """Time at work so far; @busy holds what is only booked as well."""
        return self.busy - max(0.0, self.free_at - now)


class Disk(Server):
    """A FIFO server whose speed follows the measured reads a second at each depth."""

    def __init__(self, curve):
        super().__init__()
        self.depths = [math.log2(depth) for depth, _ in curve]
        self.rates = [rate for _, rate in curve]
        self.depth = 0

    def cost(self):
        """Mean ns of one read at the present depth, straight between the points of the curve."""
        depth = math.log2(self.depth)
        right = bisect.bisect_right(self.depths, depth)
        if right == len(self.depths):
            return 1e9 / self.rates[-1]
        left = right - 1
        share = (depth - self.depths[left]) / (self.depths[right] - self.depths[left])
        return 1e9 / (self.rates[left] + share * (self.rates[right] - self.rates[left]))


class Pool:
    """CPUs that run whoever is runnable, in order of arrival, until it sleeps."""

    def __init__(self, cpus):
        self.idle = cpus
        self.cpus = cpus
        self.queue = collections.deque()
        self.waking = collections.deque()  # when idle CPUs that were sent an interrupt are up
        self.stolen = 0.0


class Shard:
    """What one shard has to do."""

    def __init__(self, index, pool, pending):
        self.index = index
        self.pool = pool
        self.pending = pending  # messages: of its descriptors, or of the one all share
        self.completions = collections.deque()
        self.process = None
        self.sleeps = False
        self.work = 0.0         # ns of CPU, waiting for locks not included
        self.walk = 0.0         # the part of it that walked over waiters

    def has_work(self):
        return bool(self.pending or self.completions)


class Uffd:
    """One userfaultfd: its wait-queue lock and its waiters."""

    def __init__(self):
        self.lock = Server()
        self.waiters = 0


class Message:
    """One fault on its way."""

    __slots__ = ("home", "vcpu", "pool", "uffd", "mm", "table")

    def __init__(self, home, pool):
        self.home = home        # number of the vCPU
        self.vcpu = None
        self.pool = pool
        self.uffd = None
        self.mm = None
        self.table = None       # page-table lock


class Machine:
    """The discrete-event simulation of one Setup.

    A process is a generator. It yields the time when it goes on, or None to be resumed by another.

    Placements: own, a CPU for every shard and every vCPU; same, one CPU for all; split, one CPU for
    the threads and one for the shards; any, all on a number of CPUs, wherever one is free.
    """

    def __init__(self, costs, setup):
        self.costs = costs
        self.setup = setup
        self.random = random.Random(setup.seed)
        self.now = 0.0
        self.events = []
        self.serial = 0
        self.done = 0
        self.response = 0.0     # sum of the time from touch to return
        self.vcpu_work = 0.0
        self.zapped = self.punched = 0
        self.tlb = Server()
        self.scheduler = Server()
        self.tables = [Server() for _ in range(setup.chunks)]
        self.inode = Server()
        self.mms = [Server() for _ in range(setup.vmas)]
        self.disks = [Disk(costs.disk) for _ in range(setup.disks)]
        self.disk_queues = [Server() for _ in range(setup.disks * setup.disk_queues)]
        self.build_shards(self.build_pools())
        self.build_load()

    # Building

    def build_pools(self):
        """Chooses the pools of the vCPUs; returns those of the shards."""
        setup = self.setup
        if setup.placement == "own":
            self.vcpu_pools = [Pool(1) for _ in range(setup.vcpus)]
            shard_pools = [Pool(1) for _ in range(setup.shards)]
        else:
            shared = Pool(setup.cpus if setup.placement == "any" else 1)
            other = Pool(1) if setup.placement == "split" else shared
            self.vcpu_pools = [shared]
            shard_pools = [other]
        self.pools = list(dict.fromkeys(self.vcpu_pools + shard_pools))
        # How often two who meet are on different CPUs.
        is_apart = setup.placement in ("own", "split")
        self.apart = 1.0 if is_apart else 1 - 1 / self.pools[0].cpus
        return shard_pools

    def build_shards(self, pools):
        setup = self.setup
        count = setup.uffds or setup.shards
        self.uffds = [Uffd() for _ in range(count)]
        self.is_shared = count < setup.shards
        queues = [collections.deque() for _ in range(1 if self.is_shared else setup.shards)]
        self.shards = [Shard(i, pools[i % len(pools)], queues[i % len(queues)])
                       for i in range(setup.shards)]

    def build_load(self):
        setup = self.setup
        for shard in self.shards:
            shard.process = self.run_shard(shard)
            self.at(0, shard.process)
        for i in range(setup.vcpus):
            message = Message(i, self.vcpu_pools[i % len(self.vcpu_pools)])
            message.vcpu = self.run_vcpu(message)
            self.at(self.random.random() * 1000, message.vcpu)
        if setup.zap:
            self.at(0, self.run_zapper())
        if setup.punch:
            for _ in self.shards:
                self.at(0, self.run_puncher())

    # Engine

    def at(self, time, process):
        self.serial += 1
        heapq.heappush(self.events, (time, self.serial, process))

    def run_until(self, faults):
        events = self.events
        while self.done < faults:
            self.now, _, process = heapq.heappop(events)
            then = next(process)
            if then is not None:
                self.serial += 1
                heapq.heappush(events, (then, self.serial, process))

    def vary(self, cost, spread=None):
        spread = self.setup.jitter if spread is None else spread
        return cost * (1 + spread * (2 * self.random.random() - 1))

    # CPUs and wake-ups

    def get_cpu(self, pool, process):
        """Whether @process has a CPU now; it is resumed with one otherwise."""
        if pool.idle > 0:
            pool.idle -= 1
            return True
        pool.queue.append(process)
        return False

    def put_cpu(self, pool):
        """Gives the CPU to the next in line, or lets it idle."""
        if pool.queue:
            self.at(self.now, pool.queue.popleft())
        else:
            pool.idle += 1

    def wake(self, pool, process):
        """Makes a sleeper runnable; returns what that costs the waker."""
        serial, waking = 0.0, pool.waking
        if self.costs.wake_serial > 0:
            serial = self.scheduler.use(self.now, self.costs.wake_serial) - self.now
        while waking and waking[0] <= self.now:
            waking.popleft()
        if pool.idle > len(waking):
            waking.append(self.now + serial + self.costs.latency)
            self.at(waking[-1], process)
            return serial + self.costs.send
        # Whoever is runnable next runs it: a CPU at work, or one that comes up.
        self.at(waking[0] if pool.idle > 0 else self.now + serial, process)
        return serial

    def stolen(self, pool):
        """What interrupts took from the pool since it was asked last."""
        stolen, pool.stolen = pool.stolen, 0.0
        return stolen

    # The processes

    def run_vcpu(self, message):
        """Touches pages that are not there, one after another."""
        costs, pool = self.costs, message.pool
        own = costs.thread + costs.cross_thread * self.apart + self.setup.kvm * (
            costs.vcpu + costs.ept * (self.setup.pages - 1))
        began = self.now
        while True:
            if not self.get_cpu(pool, message.vcpu):
                yield None
            cost = costs.switch + self.vary(own) + self.stolen(pool)
            self.vcpu_work += cost
            yield self.now + cost
            self.done += 1
            self.response += self.now - began
            began = self.now
            yield from self.raise_fault(message)
            yield None

    def raise_fault(self, message):
        """Queues the fault, wakes the shard if it sleeps, and sleeps."""
        costs = self.costs
        chunk = self.random.randrange(len(self.tables))
        index = (message.home if self.setup.at_home else chunk) % len(self.uffds)
        shard = self.shards[index % len(self.shards)]
        message.uffd = self.uffds[index]
        message.mm = self.mms[index % len(self.mms)]
        message.table = self.tables[chunk]
        # The first try, and the second one after the wake-up.
        yield message.mm.use(self.now, 2 * costs.mm)
        yield message.uffd.lock.use(self.now, costs.lock + costs.shared * self.is_shared)
        message.uffd.waiters += 1
        shard.pending.append(message)
        if self.is_shared and not shard.sleeps:
            shard = next((other for other in self.shards if other.sleeps), shard)
        cost = self.wake_shard(shard)
        self.vcpu_work += 2 * costs.mm + costs.lock + costs.shared * self.is_shared + cost
        if cost > 0:
            yield self.now + cost
        self.put_cpu(message.pool)

    def wake_shard(self, shard):
        if not shard.sleeps:
            return 0.0
        shard.sleeps = False
        return self.wake(shard.pool, shard.process)

    def run_shard(self, shard):
        """Takes a batch, serves it, and sleeps when there is nothing."""
        costs, setup = self.costs, self.setup
        has_cpu = False
        while True:
            if not shard.has_work():
                if has_cpu:
                    self.put_cpu(shard.pool)
                has_cpu = False
                shard.sleeps = True
                yield None
            if not has_cpu:
                if not self.get_cpu(shard.pool, shard.process):
                    yield None
                has_cpu = True
                cost = costs.switch + self.stolen(shard.pool)
                shard.work += cost
                yield self.now + cost
            while shard.completions:
                yield from self.resolve(
                    shard, shard.completions.popleft(), costs.complete + costs.copy)
            batch = [shard.pending.popleft()
                     for _ in range(min(len(shard.pending), setup.batch))]
            if batch:
                yield from self.serve(shard, batch)

    def serve(self, shard, batch):
        """Reads a batch of messages; staged pages are mapped, the others asked of the disk."""
        costs = self.costs
        shard.work += costs.read_call
        yield self.now + costs.read_call
        for message in batch:
            if self.setup.disk:
                cost = self.vary(costs.submit)
                shard.work += cost
                yield self.now + cost
                self.at(self.now, self.run_read(shard, message))
            else:
                yield from self.resolve(
                    shard, message, costs.serve + costs.serve_page * (self.setup.pages - 1))

    def resolve(self, shard, message, cost):
        """Maps the page and wakes who waits for it."""
        costs, uffd = self.costs, message.uffd
        cost = self.vary(cost + costs.wake + costs.cross_shard * self.apart)
        yield self.now + cost
        yield message.table.use(message.mm.use(self.now, costs.mm), costs.pte)
        walk = (costs.shared_waiter if self.is_shared else costs.waiter) * uffd.waiters
        # One visit stands for two, the other of which took the message; no lock is held between.
        yield uffd.lock.use(self.now, 2 * costs.lock + walk)
        uffd.waiters -= 1
        send = self.wake(message.pool, message.vcpu)
        shard.work += cost + costs.mm + costs.pte + 2 * costs.lock + walk + send
        shard.walk += walk
        if send > 0:
            yield self.now + send

    def run_read(self, shard, message):
        """One read under way, from the hardware queue to the completion."""
        index = shard.index % len(self.disk_queues)
        disk = self.disks[index % len(self.disks)]
        yield self.disk_queues[index].use(self.now, self.costs.disk_queue)
        disk.depth += 1
        yield disk.use(self.now, self.vary(disk.cost(), self.costs.disk_spread))
        disk.depth -= 1
        shard.completions.append(message)
        # The interrupt wakes the shard: part of the disk's measured latency.
        if shard.sleeps:
            shard.sleeps = False
            self.at(self.now, shard.process)
        yield None

    def run_zapper(self):
        """An enable: piece after piece, with shootdowns on all vCPUs. Faults elsewhere go on."""
        costs, pages = self.costs, self.setup.zap_pages
        share = pages / 512
        flushes = max(1, round(pages / costs.flush_pages))
        shootdown = flushes * (costs.tlb + costs.tlb_cpu * (self.setup.vcpus - 1))
        while True:
            place = int(self.zapped * share)
            table = self.tables[place % len(self.tables)]
            # A reader of the VMA like a fault; it excludes only faults on the same 2 MiB.
            then = self.mms[place % len(self.mms)].use(self.now, costs.mm)
            then = table.use(then, self.vary(costs.zap) * share + shootdown)
            yield then - shootdown
            yield self.tlb.use(self.now, shootdown)
            for pool in self.vcpu_pools:
                pool.stolen += flushes * costs.tlb_target if pool.idle < pool.cpus else 0
            self.zapped += 1
            yield self.now + self.vary(costs.zap_pause) * share

    def run_puncher(self):
        """A swap-out: writes 2 MiB, then punches it."""
        while True:
            yield self.now + self.vary(self.costs.punch_pause)
            yield self.inode.use(self.now, self.vary(self.costs.punch))
            self.punched += 1

    # Accounts

    def account(self):
        """Sums so far, to be subtracted at the end of the window."""
        def busy(servers):
            return sum(server.busy_until(self.now) for server in servers)

        return {
            "time": self.now, "done": self.done, "response": self.response,
            "vCPU": self.vcpu_work, "shard": sum(s.work for s in self.shards),
            "wait-queue lock": busy(u.lock for u in self.uffds), "mmap lock": busy(self.mms),
            "page tables": busy(self.tables), "wake-up": busy([self.scheduler]),
            "TLB": busy([self.tlb]), "disk": busy(self.disks),
            "disk queue": busy(self.disk_queues), "inode lock": busy([self.inode]),
            "zapped": self.zapped, "punched": self.punched,
        }

    def account_each(self):
        """The same of each shard and lock: [(work, walk)], [busy]."""
        return ([(shard.work, shard.walk) for shard in self.shards],
                [uffd.lock.busy_until(self.now) for uffd in self.uffds])


def servers_of(machine):
    """How many servers each resource has: what its busy time is divided by."""
    setup = machine.setup
    vcpu_cpus = sum(pool.cpus for pool in machine.vcpu_pools)
    shards = min(setup.shards, sum(pool.cpus for pool in {s.pool for s in machine.shards}))
    return {
        "vCPU": vcpu_cpus, "shard": shards, "wait-queue lock": len(machine.uffds),
        "mmap lock": len(machine.mms), "page tables": len(machine.tables), "wake-up": 1,
        "TLB": 1, "disk": len(machine.disks),
        "disk queue": len(machine.disk_queues), "inode lock": 1,
    }


def fullest_of(result):
    """Utilisation of the fullest server of each resource that a fault passes."""
    use = {**result["utilisation"], "CPU": result["cpu"]}
    # A punch delays other punches, a shootdown the zap; what they take from vCPUs is counted there.
    del use["inode lock"], use["TLB"]
    if result["cpu"] > 0:
        del use["vCPU"]
    return {**use, "shard": result["busiest_shard"], "wait-queue lock": result["busiest_lock"]}


def bottleneck_of(result):
    """The fullest resource by name; the walk where it is most of the busiest shard."""
    use = fullest_of(result)
    name = max(use, key=use.get)
    if use[name] < FULL:
        return "latency"
    if use["wake-up"] >= FULL:
        # Who waits there waits with its CPU.
        return "wake-up"
    if name == "shard":
        return "wait-queue walk" if result["walk"] > 0.5 else "shard CPU"
    return name


def busiest(before, after):
    """Work of the busiest shard in the window, its walks, and the time of the busiest lock."""
    work, walk = max((end[0] - start[0], end[1] - start[1])
                     for start, end in zip(before[0], after[0]))
    return work, walk, max(end - start for start, end in zip(before[1], after[1]))


def simulate(costs, setup):
    """Runs one cell; returns rates, utilisations and the name of the bottleneck."""
    machine = Machine(costs, setup)
    machine.run_until(setup.warm)
    before, before_each = machine.account(), machine.account_each()
    machine.run_until(setup.warm + setup.faults)
    window = {name: value - before[name] for name, value in machine.account().items()}
    work, walk, lock = busiest(before_each, machine.account_each())
    time = window["time"]
    servers = servers_of(machine)
    result = {
        "shards": setup.shards, "vcpus": setup.vcpus,
        "faults_per_s": window["done"] / time * 1e9,
        "response_us": window["response"] / window["done"] / 1e3,
        "utilisation": {name: window[name] / time / servers[name] for name in servers},
        "busiest_shard": work / time, "busiest_lock": lock / time, "walk": walk / max(work, 1),
        "cpu": 0.0,
        "zap_per_s": window["zapped"] / time * 1e9,
        "punch_per_s": window["punched"] / time * 1e9,
    }
    if setup.placement in ("same", "any"):
        cpus = machine.pools[0].cpus
        result["cpu"] = (window["vCPU"] + window["shard"]) / time / cpus
    result["bottleneck"] = bottleneck_of(result)
    return result


# The sweep

LETTERS = {
    "latency": "l", "vCPU": "v", "CPU": "p", "shard CPU": "c", "wait-queue walk": "w",
    "wait-queue lock": "q", "mmap lock": "m", "page tables": "g", "wake-up": "u", "disk": "d",
    "disk queue": "h",
}
# Name, title, parameter sets, changes to the setup.
SWEEPS = (
    ("staged", "staged faults, a userfaultfd a shard", ("measured", "bare-metal", "plateau"), {}),
    ("one-uffd", "staged faults, one userfaultfd", ("measured", "bare-metal"), {"uffds": 1}),
    ("disk", "faults served from disk", ("measured", "bare-metal"), {"disk": True}),
)
# What would move the bottleneck: set, shards, vCPUs, common changes, what, changes to the setup,
# factors on costs.
MOVES = (
    ("measured", 2, 64, {}, "wake-ups at a tenth of the cost", {}, {"send": 0.1, "latency": 0.1}),
    ("measured", 2, 64, {}, "8 userfaultfds a shard", {"uffds": 16}, {}),
    ("measured", 2, 64, {"disk": True}, "a second disk", {"disks": 2}, {}),
    ("bare-metal", 1, 256, {}, "8 userfaultfds a shard", {"uffds": 8}, {}),
    ("bare-metal", 16, 256, {}, "8 userfaultfds a shard", {"uffds": 128}, {}),
    ("bare-metal", 32, 64, {}, "a VMA a shard", {"vmas": 32}, {}),
    ("bare-metal", 32, 256, {}, "a VMA and 8 userfaultfds a shard", {"vmas": 32, "uffds": 256}, {}),
    ("plateau", 8, 64, {}, "wake-ups with half the serial part", {}, {"wake_serial": 0.5}),
    ("bare-metal", 16, 256, {"disk": True}, "4 disks", {"disks": 4}, {}),
)


def steady(shards, vcpus, seed, **changes):
    """A setup that runs long enough for crowds to form at one shard: over 100 faults a vCPU."""
    return Setup(shards=shards, vcpus=vcpus, seed=seed, faults=max(4000, 60 * vcpus),
                 warm=max(1500, 120 * vcpus), **changes)


def sweep(costs, seed, changes):
    """Every cell with at least as many vCPUs as shards; more shards than vCPUs are idle."""
    return [simulate(costs, steady(shards, vcpus, seed, **changes))
            for shards in SHARDS for vcpus in VCPUS if vcpus >= shards]


def run_sweeps(sets, seed):
    return {name: {kind: sweep(sets[kind], seed, changes) for kind in kinds}
            for name, _, kinds, changes in SWEEPS}


def scaled(costs, factors):
    return dataclasses.replace(
        costs, **{name: getattr(costs, name) * factor for name, factor in factors.items()})


def run_moves(sets, seed):
    rows = []
    for kind, shards, vcpus, common, what, changes, factors in MOVES:
        setup = steady(shards, vcpus, seed, **common)
        before = simulate(sets[kind], setup)
        after = simulate(scaled(sets[kind], factors), dataclasses.replace(setup, **changes))
        rows.append({"set": kind, "faults": "disk" if setup.disk else "staged", "shards": shards,
                     "vcpus": vcpus, "what": what, "before": before, "after": after})
    return rows


def run_bulk(sets, seed):
    """Swap-out beside faults: 2 MiB punches of one memfd, a puncher a shard."""
    return {kind: [simulate(sets[kind], Setup(shards=shards, vcpus=64, punch=True, seed=seed,
                                              faults=60000))
                   for shards in (1, 2, 4, 8)] for kind in ("measured", "bare-metal")}


# Shards, vCPUs, pages a zap.
ZAPS = ((2, 2, 512), (2, 8, 512), (8, 64, 512), (32, 256, 512), (8, 64, 64))
# Shards, vCPUs, pages a fault.
STREAMS = ((2, 8, 1), (2, 8, 16), (16, 64, 1), (16, 64, 16))


def run_zaps(sets, seed):
    """An enable beside staged faults; the same without it."""
    rows = []
    for kind in ("measured", "bare-metal"):
        for shards, vcpus, pages in ZAPS:
            setup = dataclasses.replace(steady(shards, vcpus, seed), zap_pages=pages)
            rows.append({"set": kind, "pages": pages, "without": simulate(sets[kind], setup),
                         "with": simulate(sets[kind], dataclasses.replace(setup, zap=True))})
    return rows


def run_streams(sets, seed):
    return [{"set": kind, "pages": pages,
             "result": simulate(sets[kind], steady(shards, vcpus, seed, pages=pages))}
            for kind in ("measured", "bare-metal") for shards, vcpus, pages in STREAMS]


# Tables

def rate_text(rate):
    return f"{rate / 1e6:.2f} M" if rate >= 999500 else f"{rate / 1e3:.0f} k"


def percent_of(result):
    """Utilisation of the fullest server that a fault passes."""
    return round(100 * min(1.0, max(fullest_of(result).values())))


def cell_text(result):
    letter = LETTERS[result["bottleneck"]]
    return f"{rate_text(result['faults_per_s'])} {letter}{percent_of(result)}"


def print_row(cells):
    print("| " + " | ".join(str(cell) for cell in cells) + " |")


def print_head(cells):
    print_row(cells)
    print("|" + "---|" * len(cells))


def print_sweep(title, kind, results):
    print(f"\n**{title}, {kind}**: faults/s, bottleneck, its utilisation in %\n")
    print_head(["shards"] + [f"{vcpus} vCPUs" for vcpus in VCPUS])
    cells = {(r["shards"], r["vcpus"]): cell_text(r) for r in results}
    for shards in SHARDS:
        print_row([shards] + [cells.get((shards, vcpus), "") for vcpus in VCPUS])


def print_moves(rows):
    print("\n**What would move it**\n")
    print_head(["set", "faults", "shards", "vCPUs", "now", "with", "then", "factor"])
    for row in rows:
        gain = row["after"]["faults_per_s"] / row["before"]["faults_per_s"]
        print_row([row["set"], row["faults"], row["shards"], row["vcpus"],
                   cell_text(row["before"]), row["what"], cell_text(row["after"]),
                   f"{gain:.2f}"])


def print_bulk(bulk):
    print("\n**Swap-out of one memfd, a puncher a shard, beside 64 faulting vCPUs**\n")
    print_head(["set", "punchers", "GiB/s", "inode lock, %", "faults/s"])
    for kind, results in bulk.items():
        for result in results:
            print_row([kind, result["shards"], f"{result['punch_per_s'] / 512:.1f}",
                       round(100 * result["utilisation"]["inode lock"]),
                       rate_text(result["faults_per_s"])])


def print_zaps(rows):
    print("\n**An enable beside staged faults**\n")
    print_head(["set", "shards", "vCPUs", "pages a zap", "faults/s without", "with",
                "enable, GiB/s", "of it shootdowns, %"])
    for row in rows:
        one, two = row["without"], row["with"]
        print_row([row["set"], one["shards"], one["vcpus"], row["pages"], cell_text(one),
                   cell_text(two), f"{two['zap_per_s'] * row['pages'] / (1 << 18):.2f}",
                   round(100 * two["utilisation"]["TLB"])])


def print_streams(rows):
    print("\n**Streams: pages mapped by one fault**\n")
    print_head(["set", "shards", "vCPUs", "pages a fault", "faults/s", "pages/s"])
    for row in rows:
        result = row["result"]
        print_row([row["set"], result["shards"], result["vcpus"], row["pages"],
                   cell_text(result), rate_text(result["faults_per_s"] * row["pages"])])


def print_tables(data):
    print("Letters: " + ", ".join(f"{letter} {name}" for name, letter in LETTERS.items()) + ".")
    for name, title, kinds, _ in SWEEPS:
        for kind in kinds:
            print_sweep(title, kind, data["sweeps"][name][kind])
    print_moves(data["moves"])
    print_streams(data["streams"])
    print_zaps(data["zaps"])
    print_bulk(data["bulk"])


# The check

# What the floors document measured: faults, placement, shards, userfaultfds, threads, batch, rate,
# min, max, and whether a cost was fitted to it.
FLOORS = (
    ("staged", "same", 1, 0, 1, 1, 118e3, None, None, False),
    ("staged", "same", 1, 0, 8, 64, 165e3, 115e3, 170e3, True),
    ("staged", "same", 1, 0, 64, 64, 118e3, 96e3, 123e3, False),
    ("staged", "split", 1, 0, 1, 1, 14.4e3, None, None, False),
    ("staged", "split", 1, 0, 8, 1, 166e3, 161e3, 184e3, False),
    ("staged", "split", 1, 0, 8, 8, 192e3, 140e3, 217e3, False),
    ("staged", "split", 1, 0, 64, 1, 181e3, 152e3, 187e3, False),
    ("staged", "split", 1, 0, 64, 64, 198e3, 157e3, 222e3, True),
    ("staged", "any", 1, 0, 8, 1, 181e3, 141e3, 202e3, False),
    ("staged", "any", 2, 1, 8, 1, 151e3, 102e3, 181e3, False),
    ("disk", "split", 1, 0, 1, 64, 6.2e3, None, None, False),
    ("disk", "split", 1, 0, 8, 64, 31.4e3, None, None, False),
    ("disk", "split", 1, 0, 32, 64, 42.9e3, None, None, False),
    ("disk", "any", 1, 0, 32, 64, 32.4e3, None, None, False),
)
# Thousands of faults a second with so many vCPUs, on the KVM list in 2023: demand_paging_test of
# shared memory, MINOR. perf/scaling.md says who measured it where.
ONE_UFFD = ((1, 150), (2, 191), (4, 210), (8, 155), (16, 130), (32, 108), (64, 86), (128, 62),
            (256, 36))
UFFD_A_VCPU = (
    ("EPYC 7B13, 256 CPUs", ((1, 154), (2, 184), (4, 285), (8, 291), (16, 310), (32, 282),
                             (64, 250))),
    ("Xeon 8273CL", ((1, 115), (2, 206), (4, 262), (8, 319), (16, 398))),
    ("Xeon E5-2630 v4, 40 CPUs", ((1, 39.5), (2, 67.6), (4, 127.2), (8, 246.1), (16, 351))),
)


def floor_points():
    names = ("faults", "placement", "shards", "uffds", "threads", "batch", "faults_per_s", "min",
             "max", "is_fitted")
    return [dict(zip(names, values)) for values in FLOORS]


def bench_points(path):
    """The points of vmswap-bench scale: unpinned, a userfaultfd a shard."""
    try:
        with open(path, encoding="utf-8") as file:
            series = json.load(file).get("series", [])
    except (OSError, ValueError) as error:
        sys.exit(f"{path}: {error}")
    points = []
    for entry in series:
        if entry.get("name") in ("scale-staged", "scale-disk") and "points" in entry:
            faults = entry["name"].removeprefix("scale-")
            points += [{"faults": faults, "placement": "any", "uffds": 0, "batch": BATCH,
                        "is_fitted": False, **point} for point in entry["points"]]
    return points


def setup_of(point, seed):
    return Setup(shards=point["shards"], vcpus=point["threads"], uffds=point["uffds"],
                 disk=point["faults"] == "disk", placement=point["placement"], kvm=False,
                 batch=point["batch"], seed=seed)


# Costs of a CPU's work, which --results scales together.
CPU_STEPS = ("thread", "vcpu", "switch", "lock", "read_call", "serve", "copy", "wake",
             "cross_thread", "cross_shard", "submit", "complete")
FIT_STEPS = 6
FIT_RANGE = (0.25, 4.0)


def fit_factor(measured, simulate_with):
    """Factor on costs with which the simulation gives the measured rate, within FIT_RANGE."""
    factor = 1.0
    for _ in range(FIT_STEPS):
        ratio = simulate_with(factor) / measured
        factor = min(max(factor * ratio, FIT_RANGE[0]), FIT_RANGE[1])
    return factor


def with_results(costs, points, seed):
    """Fits the CPU steps, then the disk, to the fastest 1-shard point; marks those as fitted."""
    for faults in ("staged", "disk"):
        own = [p for p in points if p["faults"] == faults and p["shards"] == 1]
        if not own:
            continue
        best = max(own, key=lambda point: point["faults_per_s"])
        best["is_fitted"] = True
        setup = setup_of(best, seed)

        def change(factor, costs=costs, faults=faults):
            if faults == "staged":
                return scaled(costs, {name: factor for name in CPU_STEPS})
            curve = tuple((depth, rate / factor) for depth, rate in costs.disk)
            return dataclasses.replace(costs, disk=curve)

        factor = fit_factor(best["faults_per_s"], lambda factor, change=change, setup=setup:
                            simulate(change(factor), setup)["faults_per_s"])
        costs = change(factor)
    return costs


def check(costs, points, seed):
    """Each point with the simulated rate and its error."""
    rows = []
    for point in points:
        result = simulate(costs, setup_of(point, seed))
        rows.append({**point, "simulated": result["faults_per_s"],
                     "error": result["faults_per_s"] / point["faults_per_s"] - 1,
                     "bottleneck": result["bottleneck"]})
    return rows


def published_row(costs, setup, rate, is_fitted):
    result = simulate(costs, setup)
    return {"faults": "staged", "placement": "own", "shards": setup.shards, "uffds": setup.uffds,
            "threads": setup.vcpus, "batch": setup.batch, "faults_per_s": rate * 1e3,
            "simulated": result["faults_per_s"],
            "error": result["faults_per_s"] / rate / 1e3 - 1,
            "is_fitted": is_fitted, "bottleneck": result["bottleneck"]}


def check_one_uffd(seed):
    """The bare-metal set against one userfaultfd with a reader a vCPU; 4 and 256 are fitted."""
    return [published_row(BARE_METAL, Setup(shards=vcpus, vcpus=vcpus, uffds=1, batch=1, seed=seed),
                          rate, vcpus in (4, 256)) for vcpus, rate in ONE_UFFD]


def check_uffd_a_vcpu(seed):
    """Both bare-metal sets against a userfaultfd and a reader a vCPU."""
    rows = []
    for machine, points in UFFD_A_VCPU:
        for vcpus, rate in points:
            setup = Setup(shards=vcpus, vcpus=vcpus, batch=1, at_home=True, seed=seed)
            rows.append({"machine": machine, "vcpus": vcpus, "faults_per_s": rate * 1e3,
                         "simulated": {kind: simulate(SETS[kind], setup)["faults_per_s"]
                                       for kind in ("bare-metal", "plateau")}})
    return rows


def print_uffd_a_vcpu(rows):
    print("\n**Published: a userfaultfd and a reader a vCPU**\n")
    print_head(["machine", "vCPUs", "measured", "bare-metal", "error", "plateau", "error"])
    for row in rows:
        cells = [row["machine"], row["vcpus"], f"{row['faults_per_s'] / 1e3:.0f} k"]
        for rate in row["simulated"].values():
            cells += [rate_text(rate), f"{100 * (rate / row['faults_per_s'] - 1):+.0f} %"]
        print_row(cells)


def print_check(title, rows):
    print(f"\n**{title}**\n")
    print_head(["faults", "placement", "shards", "userfaultfds", "threads", "batch", "measured",
                "simulated", "error", "bottleneck", ""])
    for row in rows:
        spread = ""
        if row.get("min") is not None and row.get("max") is not None:
            spread = f" [{row['min'] / 1e3:.0f}-{row['max'] / 1e3:.0f}]"
        print_row([row["faults"], row["placement"], row["shards"], row["uffds"] or row["shards"],
                   row["threads"], row["batch"], f"{row['faults_per_s'] / 1e3:.1f} k{spread}",
                   f"{row['simulated'] / 1e3:.1f} k", f"{100 * row['error']:+.0f} %",
                   row["bottleneck"], "fitted" if row["is_fitted"] else ""])
    for kind in ("staged", "disk"):
        errors = sorted(abs(row["error"]) for row in rows
                        if row["faults"] == kind and not row["is_fitted"])
        if errors:
            print(f"\nNot fitted, {kind}: median error {100 * errors[len(errors) // 2]:.0f} %, "
                  f"largest {100 * errors[-1]:.0f} %, {len(errors)} points.")


def fitted_sets(args):
    """The parameter sets, the measured one fitted to --results; the points of --check."""
    bench = bench_points(args.check) if args.check else []
    if args.check and not bench:
        sys.exit(f"{args.check}: no series scale-staged or scale-disk")
    sets = dict(SETS)
    if args.results:
        fitted = bench if args.results == args.check else bench_points(args.results)
        sets["measured"] = with_results(MEASURED, fitted, args.seed)
    return sets, bench


def run_tables(sets, seed):
    return {"sweeps": run_sweeps(sets, seed), "moves": run_moves(sets, seed),
            "streams": run_streams(sets, seed), "zaps": run_zaps(sets, seed),
            "bulk": run_bulk(sets, seed)}


def run_check(sets, bench, seed):
    data = {"check": check(sets["measured"], bench, seed)} if bench else {}
    return {**data, "floors": check(MEASURED, floor_points(), seed),
            "one_uffd": check_one_uffd(seed), "uffd_a_vcpu": check_uffd_a_vcpu(seed)}


def print_all_checks(data):
    if "check" in data:
        print_check("Measured by vmswap-bench", data["check"])
    print_check("Measured on this machine: the floors", data["floors"])
    print_check("Published: one userfaultfd, a reader a vCPU", data["one_uffd"])
    print_uffd_a_vcpu(data["uffd_a_vcpu"])


def text_of(print_data, data):
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        print_data(data)
    return text.getvalue().strip("\n")


def put_section(report, name, text):
    """Replaces what stands between the marks of section @name."""
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    if report.count(begin) != 1 or report.count(end) != 1:
        sys.exit(f"no section {name} in the report")
    before, rest = report.split(begin)
    return f"{before}{begin}{text}\n{end}{rest.split(end)[1]}"


def write_report(path, tables, checks):
    with open(path, encoding="utf-8") as file:
        report = file.read()
    report = put_section(report, "check", text_of(print_all_checks, checks))
    report = put_section(report, "sweep", text_of(print_tables, tables))
    with open(path, "w", encoding="utf-8") as file:
        file.write(report)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     epilog="\n".join(__doc__.splitlines()[2:]),
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", nargs="?", const="", metavar="FILE",
                        help="compare with measured points, those of FILE among them")
    parser.add_argument("--results", metavar="FILE",
                        help="fit the measured set to the fastest 1-shard points of FILE")
    parser.add_argument("--write", metavar="REPORT", help="put sweep and check into REPORT")
    parser.add_argument("--json", action="store_true", help="print JSON, not tables")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main():
    args = parse()
    sets, bench = fitted_sets(args)
    wants_check = args.check is not None or args.write
    wants_tables = args.check is None or args.write
    checks = run_check(sets, bench, args.seed) if wants_check else {}
    tables = run_tables(sets, args.seed) if wants_tables else {}
    if args.write:
        write_report(args.write, tables, checks)
    elif args.json:
        print(json.dumps({"seed": args.seed, **tables, **checks}, indent=1))
    elif tables:
        print_tables(tables)
    else:
        print_all_checks(checks)


if __name__ == "__main__":
    main()
