#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The other ways: zap from outside, discards that free slots, marks that are trusted. Each through
cycles of every operation on a guest that verifies its memory meanwhile."""
import vmswap_e2e
from vmswap_e2e import check, wait_until
from vmswap_mapper import do, mapper


def run(rig, guest_args, **attach):
    daemon = rig.daemon()
    guest = rig.guest("--size", "128M", "--threads", "2", "--rate", "100000",
                      "--working-set", "40", "--read-only-percent", "70", *guest_args)
    vm = daemon.attach(guest.pid, **attach)
    out = 0
    for cycle in range(5):
        vm.run("enable")
        vm.run("trim")
        vm.run("swap_out")
        out = max(out, vm.metrics()["swap_pages"])
        guest.goes_on(1)
        if cycle == 2:
            vm.run("disable")
    guest.verify()
    metrics = vm.metrics()
    check(metrics["false_clean_pages"] == 0, f"{metrics}")
    check(metrics["poisoned_pages"] == 0, f"{metrics}")
    vm.detach()
    guest.verify()
    daemon.check_idle()
    guest.finish()
    return out, metrics


def test_pageout_zaps_without_stopping_a_thread(rig):
    out, _ = run(rig, [], zap="pageout")
    # It passes over pages that are in use, so it is not exhaustive; what it must do is most of it.
    check(out > 128 * 256 // 4, f"{out} pages went out")


def test_trusted_discards_free_slots_and_zaps_do_not(rig):
    daemon = rig.daemon()
    owner = mapper(rig, "owner", "own", 64)
    vm = daemon.attach(owner.pid, trust_discard=True)
    vm.run("enable")
    vm.run("swap_out")
    used = daemon.used_bytes()

    do(owner, "discard 1000 5000")

    wait_until(lambda: daemon.used_bytes() == used - 5000 * vmswap_e2e.PAGE, "slots are free")
    do(owner, "zeros 1000 5000")
    do(owner, "write 1")
    for _ in range(3):
        vm.run("enable")
        vm.run("swap_out")
        vm.run("enable")
        do(owner, "check 1")
    vm.detach()
    do(owner, "check 1")
    daemon.check_idle()


def test_clean_pages_trusted_by_their_marks(rig):
    _, metrics = run(rig, [], verify_clean=False)
    check(metrics["trimmed_clean_pages"] > 0, f"{metrics}")


if __name__ == "__main__":
    vmswap_e2e.main(globals())
