#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A raw-KVM VMM: page faults come from inside KVM_RUN, and the attach interrupts it."""
import vmswap_e2e
from vmswap_e2e import check


def test_a_kvm_guest_through_many_cycles(rig):
    toy = rig.toy(64)
    daemon = rig.daemon()
    toy.expect(r"^OK", count=2)
    vm = daemon.attach(toy.pid)

    for _ in range(8):
        vm.run("enable")
        vm.run("swap_out")
        toy.goes_on(1)
    toy.verify()
    vm.run("disable")
    toy.goes_on(1)
    vm.detach()

    check(toy.open_userfaultfds() == [], "a userfaultfd was left behind")
    daemon.check_idle()
    toy.finish()


if __name__ == "__main__":
    vmswap_e2e.main(globals())
