# SPDX-License-Identifier: Apache-2.0
"""A world: one daemon on one kind of store, some guests, some rounds. All of it follows from the
seed and the world's number."""
import mmap
import os
import random
import shutil
import subprocess
import time

from torture_actions import ACTIONS, count_point, names_of
from torture_daemon import TortureDaemon
from torture_guests import new_guest, pause
from torture_hostile import Crowd
from vmswap_e2e import MIB, PAGE, Skip, check, largest_shared_mapping, wait_until
from vmswap_rpc import RpcError

# folder and device have room for all; tiny has not; of full and errors others take the space now
# and then: the write of a file fails with ENOSPC, that of a device with EIO.
STORES = ("folder", "folder", "tiny", "full", "device", "errors")
SCARCE = ("tiny", "full", "errors")
ROUNDS = (3, 4, 5, 6)
ACTIONS_A_ROUND = (2, 3, 4, 5, 6)
# Until no job runs any more.
SETTLE_S = 90
FILE_SYSTEM_MIB = 400
DEVICE_MIB = 640


def plant_damage(_world, member):
    """Somebody else writes into the guest's memory."""
    with open(largest_shared_mapping(member.pid), "r+b") as file, \
            mmap.mmap(file.fileno(), MIB) as memory:
        memory[5 * PAGE:6 * PAGE] = b"x" * PAGE


def plant_stall(world, member):
    """Who serves the faults stands still, while the guest meets what is out."""
    ACTIONS["cycle"].run(world, member, world.rng)
    pause(world.daemon.worker_pid(), 4)


# What the checks must find, to be checks.
PLANTS = {"damage": plant_damage, "stall": plant_stall}


class World:
    """What actions act on."""

    def __init__(self, rig, number, seed, options, log):
        self.rig = rig
        self.number = number
        self.seed = seed
        self.options = options
        self.log = log
        self.rng = random.Random(f"{seed}:{number}")
        self.crowd = Crowd()
        self.members = []
        self.born = 0
        self.round = 0
        self.crashes = 0
        self.threads = []
        self.filler = None
        self.may_fail = False
        # Drawn in any case, so that a world is the same whatever is left out.
        self.kind = self.rng.choice(STORES)
        self.is_scarce = self.kind in SCARCE
        self.shards = self.rng.choice((1, 2, 3))
        self.rounds = self.rng.choice(ROUNDS)
        self.guests = self.rng.choice((1, 2, 2, 3))
        self.has_qemu = self.rng.random() < 0.4
        self.loses_disk = self.rng.random() < 0.6

    # The store ------------------------------------------------------------------------------------

    def store_args(self):
        if self.kind == "tiny":
            return ["--swap-limit", f"{self.rng.choice((8, 16, 32))}M"]
        if self.kind == "full":
            return ["--swap-dir", self.small_filesystem()]
        if self.kind == "device":
            return ["--swap-device", self.loop_device(self.rig.folder)]
        if self.kind == "errors":
            return ["--swap-device", self.loop_device(self.small_filesystem())]
        return ["--swap-limit", "2G"]

    def run(self, *argv):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Skip(f"{argv[0]}: {done.stderr.strip()}")
        return done.stdout.strip()

    @staticmethod
    def sparse_file(folder, mib):
        path = os.path.join(folder, "image")
        with open(path, "wb") as file:
            file.truncate(mib * MIB)
        return path

    def small_filesystem(self):
        self.folder = os.path.join(self.rig.folder, "small")
        os.mkdir(self.folder)
        image = self.sparse_file(self.rig.folder, FILE_SYSTEM_MIB)
        self.run("mkfs.ext4", "-q", "-m", "0", image)
        self.run("mount", "-o", "loop", image, self.folder)
        self.rig.on_end(lambda: subprocess.run(["umount", self.folder], check=True))
        return self.folder

    def loop_device(self, folder):
        self.disk = self.sparse_file(folder, DEVICE_MIB)
        device = self.run("losetup", "--find", "--show", "--direct-io=on", self.disk)
        self.rig.on_end(lambda: subprocess.run(["losetup", "--detach", device], check=True))
        return device

    def fill_disk(self, left_mib):
        """Somebody else takes the space; False when it is taken or this store has none to take."""
        if self.kind not in ("full", "errors") or self.filler:
            return False
        self.filler = os.path.join(self.folder, "filler")
        room = shutil.disk_usage(self.folder).free - left_mib * MIB
        with open(self.filler, "wb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, max(room, PAGE))
            except OSError:
                pass  # the daemon was faster; what was to be had is taken
        return True

    def free_disk(self):
        if not self.filler:
            return False
        os.unlink(self.filler)
        self.filler = None
        return True

    # Life -----------------------------------------------------------------------------------------

    def begin(self):
        qemu = ", one of them QEMU" if self.has_qemu else ""
        self.log(f"world {self.number}: store {self.kind}, {self.shards} shards, "
                 f"{self.guests} guests{qemu}, {self.rounds} rounds")
        self.daemon = TortureDaemon(self.rig, self.store_args(), self.shards, self.number)
        for index in range(self.guests):
            is_qemu = index == 0 and self.has_qemu and not self.options.no_qemu
            member = self.add_guest("qemu" if is_qemu else "process")
            if self.options.wants("attach", self.daemon):
                self.log(f"attach {member}: {ACTIONS['attach'].run(self, member, self.rng)}")

    def add_guest(self, kind):
        number = self.born
        self.born += 1
        member = new_guest(self.rig, number, random.Random(f"{self.seed}:{self.number}:g{number}"),
                           kind)
        self.log(f"{member} begins: {' '.join(member.options) or 'QEMU'}")
        self.members.append(member)
        return member

    def play_round(self):
        rng = random.Random(f"{self.seed}:{self.number}:{self.round}")
        names = [name for name in names_of(rng, rng.choice(ACTIONS_A_ROUND))]
        for index, name in enumerate(names):
            # An action's own choices do not depend on what became of those before it.
            own = random.Random(f"{self.seed}:{self.number}:{self.round}:{index}")
            target = own.randrange(1 << 30)
            if not self.options.wants(name, self.daemon):
                continue
            member = self.members[target % len(self.members)]
            begin = time.monotonic()
            self.log.count(name)
            said = ACTIONS[name].run(self, member, own)
            self.log(f"round {self.round}: {name} {member}: {said} "
                     f"({time.monotonic() - begin:.2f} s)")
        self.settle()
        is_thorough = rng.random() < 0.25
        if self.options.plant:
            PLANTS[self.options.plant](self, self.members[0])
            is_thorough = True
        self.check(is_thorough)
        self.round += 1

    def settle(self):
        """Until nothing is under way."""
        for thread in self.threads:
            thread.join()
        self.threads = []
        deadline = time.monotonic() + SETTLE_S
        while True:
            jobs = self.daemon.ask("job.list")["jobs"]
            running = [job for job in jobs if job["state"] in ("queued", "running")]
            if not running:
                break
            check(time.monotonic() < deadline, f"not over after {SETTLE_S} s: {running}\n"
                  f"{self.daemon.threads()}")
            time.sleep(0.05)
        count_point(self)
        self.check_jobs(jobs)
        self.crowd.go()
        self.daemon.ping()

    def check_jobs(self, jobs):
        """Nothing fails but where space is short, or something died in the middle of it."""
        if self.is_scarce or self.crashes or self.may_fail:
            return
        failed = [job for job in jobs if job["state"] == "failed"]
        check(not failed, f"failed without a reason: {failed}\n{self.daemon.tail()}")

    def status(self, member):
        """Its pages add up; None when it is not attached, for instance because it has just died."""
        try:
            status = self.daemon.ask("vm.status", vm=member.vm)
        except RpcError:
            return None
        metrics = status["metrics"]
        places = [metrics[place] for place in
                  ("resident_pages", "staging_pages", "swap_pages", "zero_pages")]
        check(sum(places) == status["pages"] and min(places) >= 0,
              f"{member}: the pages do not add up: {status}")
        check(metrics["poisoned_pages"] == 0, f"{member}: pages were lost: {metrics}")
        return status

    def check(self, is_thorough):
        """All is well in this moment, in which nothing is under way."""
        bounds = self.options.bounds
        bound_s = bounds.crash_s if self.crashes else bounds.stall_s
        text = f"in world {self.number}, round {self.round}"
        used = out = pages = 0
        for member in self.members:
            member.goes_on(bound_s + 10)
            member.check(bound_s, text)
            if is_thorough:
                member.verify()
            status = self.status(member) if member.vm else None
            check(status or not member.vm, f"{member}: the daemon has forgotten {member.vm}")
            out += status["metrics"]["swap_pages"] if status else 0
            pages += status["pages"] if status else 0
        empty = [vm["vm"] for vm in self.daemon.ask("vm.list")["vms"] if not vm["pids"]]
        check(not empty, f"of these nobody maps the memory: {empty}")
        # What a death has left goes after the next worker has begun to answer.
        wait_until(self.has_right_names, lambda: f"{text}: kept for a recovery: "
                   f"{self.daemon.named_vms()}", 10)
        used = self.daemon.ask("daemon.status")["store"]["used_bytes"]
        if not self.crashes:
            # A guest works on meanwhile: what comes in between two questions is at most all of it.
            check(used <= pages * PAGE, f"{used} bytes in use for {pages} pages, {out} out")
        self.crashes = 0

    def has_right_names(self):
        """As many VMs can be recovered as there are."""
        return (not self.daemon.can_recover or
                len(self.daemon.named_vms()) == len(self.daemon.ask("vm.list")["vms"]))

    def lose_disk(self):
        """What is out is lost: who touches it dies of it (SIGBUS), nobody sees anything else."""
        for member in self.members:
            ACTIONS["cycle"].run(self, member, self.rng)
        os.truncate(self.disk, 0)
        time.sleep(1)
        for member in self.members:
            bad = [line for line in member.console.lines if line.startswith("BAD page")]
            check(not bad, f"{member}: {bad[:3]}")
            ended = member.console.process.poll()
            self.log(f"the disk of {member} is gone: {'lives' if ended is None else ended}")
            member.kill()
        self.daemon.check_idle()
        self.daemon.stop()
        self.log(f"world {self.number} has ended well, its disk lost")

    def end(self):
        """Everybody leaves; nothing is left of them."""
        if self.kind == "device" and self.loses_disk and (
                self.options.no_qemu or not self.has_qemu):
            self.lose_disk()
            return
        self.free_disk()
        for member in self.members:
            if member.helper:
                member.helper.end()
                member.helper = None
            if member.vm:
                ACTIONS["detach"].run(self, member, self.rng)
            check(not member.vm, f"{member} could not be detached at the end")
            check(member.console.open_userfaultfds() == [], f"{member}: a userfaultfd is left")
        self.daemon.check_idle()
        for member in self.members:
            member.check(self.options.bounds.crash_s, "at the end")
            member.finish()
        self.daemon.stop()
        self.log(f"world {self.number} has ended well")
