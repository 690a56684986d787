"""From a lab to the hosts of each arm."""

from __future__ import annotations

import pytest

from dtls_emu.errors import DtlsEmuError
from dtls_emu.lab import load_lab
from dtls_emu.lab.compiling import compile_lab
from dtls_emu.measure.arms import arm_topology, encrypted_pair, impairments, path_mtu
from dtls_emu.measure.plan import PATH_MTU
from dtls_emu.policy import decide, flow_to
from dtls_emu.vocabulary import Verdict


UNDERLAYS = ("127.64.0.1", "127.64.0.2")


def verdict(topology, ends):
    """What the policy says of the pair's flow."""
    return decide(flow_to(topology, topology.vms["vm-a"], ends.destination), topology.profile).verdict


def test_the_first_encrypted_pair_is_found(topology):
    """Both VMs, and both IP versions."""
    pair = encrypted_pair(topology)
    assert (pair.sender.name, pair.receiver.name) == ("vm-a", "vm-b")
    assert [ends.source.version for ends in pair.ends] == [4, 6]


def test_a_lab_without_an_encrypted_pair_is_refused(plain_topology):
    """There is nothing to compare with plain."""
    with pytest.raises(DtlsEmuError, match="lab two: a benchmark needs two VMs"):
        encrypted_pair(plain_topology)


@pytest.mark.parametrize(
    ("arm", "backend", "expected"),
    [
        ("plain", "null", Verdict.CLEAR),
        ("plain-again", "null", Verdict.CLEAR),
        ("ipsec-mb", "ipsec-mb", Verdict.ENCRYPT),
        ("null", "null", Verdict.ENCRYPT),
    ],
)
def test_an_arm_differs_in_backend_and_encryption_only(topology, arm, backend, expected):
    """Both hosts get the arm's backend; the link is perfect for everyone."""
    pair = encrypted_pair(topology)
    arranged = arm_topology(topology, pair, arm, UNDERLAYS)
    assert {host.backend for host in arranged.hosts.values()} == {backend}
    assert [host.underlay for host in arranged.hosts.values()] == list(UNDERLAYS)
    assert {verdict(arranged, ends) for ends in pair.ends} == {expected}
    for link in (arranged.link("host-1", "host-2"), arranged.link("host-2", "host-1")):
        assert (link.mtu, link.loss, link.delay, link.rate) == (PATH_MTU, 0, 0, 0)


def test_what_the_lab_says_of_the_link_is_honoured_or_named(small_path_topology):
    """Its MTU is the benchmark's; what impairs it is put into words."""
    topology = small_path_topology
    pair = encrypted_pair(topology)
    assert path_mtu(topology, pair) == 1500
    assert impairments(topology, pair) == ["delay 10 ms", "loss 50 %", "rate 1 Mbit/s"]
    arranged = arm_topology(topology, pair, "plain", UNDERLAYS)
    assert arranged.link("host-1", "host-2").mtu == 1500


def test_a_lab_that_says_nothing_has_a_jumbo_path_without_impairments():
    """So that every size fits."""
    quiet = compile_lab(load_lab("two-vms"))
    pair = encrypted_pair(quiet)
    assert (path_mtu(quiet, pair), impairments(quiet, pair)) == (PATH_MTU, [])
