#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The largest of what must work: a sparse region of 1 TiB, 64 shards."""
import vmswap_e2e
from vmswap_e2e import check
from vmswap_mapper import do, mapper


def cycles(vm, owner, count=3):
    for generation in range(count):
        vm.run("enable")
        vm.run("swap_out")
        do(owner, f"check {generation}")
        do(owner, f"write {generation + 1}")
    vm.run("disable")
    do(owner, f"check {count}")


def test_a_sparse_tebibyte_costs_what_it_holds(rig):
    daemon = rig.daemon()
    owner = mapper(rig, "owner", "sparse", 1024)
    vm = daemon.attach(owner.pid)

    cycles(vm, owner)

    status = vm.status()
    check(status["pages"] == 1 << 28, f"{status['pages']}")
    check(status["metadata_bytes"] < 16 << 20, f"{status['metadata_bytes']} bytes of page tables")
    vm.detach()
    daemon.check_idle()


def test_sixty_four_shards_serve_one_vm(rig):
    daemon = rig.daemon(shards=64)
    owner = mapper(rig, "owner", "own", 256)
    vm = daemon.attach(owner.pid)

    cycles(vm, owner)

    check(vm.status()["shards"] == 64, f"{vm.status()['shards']}")
    vm.detach()
    daemon.check_idle()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
