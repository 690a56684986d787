"""A cable smaller than the lab says: guests are told what fits, people are told why, and it is over when it grows."""

from __future__ import annotations

import pytest

from dtls_emu.host.hints import hints_of
from dtls_emu.host.loop.path_mtus import CHECK_EVERY, PAUSE
from dtls_emu.machine.netns import entered
from dtls_emu.testing.rig import ADDRESSES, ping, super_packet, with_link
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.packet import udp_packet


OVERHEAD = {True: 87, False: 50}
"""By whether packets are encrypted, over IPv4."""


def told_mtu(answer):
    """What an ICMP error of type 3 code 4 says that fits."""
    assert (answer[9], answer[20], answer[21]) == (1, 3, 4)
    return int.from_bytes(answer[26:28], "big")


def flow_of(rig, size=1400):
    """Send packets of a flow until it is offloaded, where it can be."""
    for _ in range(3):
        rig.guests["a"].send(ping("a", "b", size=size))
        rig.settle()
    return len(rig.guests["b"].received())


@pytest.mark.root
@pytest.mark.parametrize("encrypted", [True, False])
def test_a_path_that_is_smaller_from_the_start_is_answered_from_the_first_packet_on(
    make_rig, namespace, encrypted
):
    """Nothing is refused by the kernel: the card has asked before."""
    name, ip = namespace
    ip("link set lo mtu 1300")
    with entered(name):
        rig = make_rig(encrypted=encrypted)
        assert flow_of(rig) == 0
        rig.guests["a"].send(ping("a", "b", size=1000))
        rig.settle()
    answers = rig.guests["a"].received()
    assert [told_mtu(answer) for answer in answers] == [1300 - OVERHEAD[encrypted]] * 3
    assert rig.guests["b"].received() == [ping("a", "b", size=1000)]
    assert rig.agents["h1"].card.egress.counters.dropped == {DropReason.TOO_BIG: 3}
    assert rig.fabrics["h1"].statistics().dropped == {}
    assert rig.tunnel("h1").path_mtu == 1300


@pytest.mark.root
@pytest.mark.parametrize("encrypted", [True, False])
def test_a_path_that_shrinks_is_answered_and_used_again_when_it_grows(make_rig, namespace, encrypted):
    """One packet shows it; the next is told; a second after it has grown everything passes. The tunnel stays up."""
    name, ip = namespace
    with entered(name):
        rig = make_rig(encrypted=encrypted)
        assert flow_of(rig) == 3
        ip("link set lo mtu 1300")
        for _ in range(3):
            rig.guests["a"].send(ping("a", "b", size=1400))
            rig.settle()
        assert [told_mtu(answer) for answer in rig.guests["a"].received()] == [1300 - OVERHEAD[encrypted]] * 2
        assert rig.fabrics["h1"].statistics().dropped == {DropReason.LINK_MTU: 1}
        assert rig.tunnel("h1").path_mtu == 1300
        rig.guests["a"].send(ping("a", "b", size=1000))
        rig.settle()
        assert rig.guests["b"].received() == [ping("a", "b", size=1000)]
        ip("link set lo mtu 1700")
        assert rig.agents["h1"]._next_timeout() <= rig.clock.now + CHECK_EVERY
        rig.pass_time(CHECK_EVERY, step=CHECK_EVERY)
        assert rig.tunnel("h1").path_mtu == 1650
        assert flow_of(rig) == 3
        assert rig.agents["h1"].paths.next_timeout() == float("inf")
    assert rig.tunnel("h1").handshakes == (1 if encrypted else 0)


@pytest.mark.root
def test_an_offloaded_flow_does_not_have_to_wait_for_a_timer(make_compiled_rig, namespace):
    """Compiled code comes back by itself when the kernel has refused a datagram as too large."""
    name, ip = namespace
    with entered(name):
        rig = make_compiled_rig()
        assert flow_of(rig) == 3
        calls = rig.count_calls("h1")
        ip("link set lo mtu 1300")
        rig.guests["a"].send(ping("a", "b", size=1400))
        rig.agents["h1"].turn(wait=False)
        assert calls == {}
        assert rig.tunnel("h1").path_mtu == 1300
        rig.settle()


@pytest.mark.root
def test_a_link_of_the_lab_that_is_smaller_than_the_path_still_counts(make_rig, namespace):
    """Both are kept to, whichever changes."""
    name, ip = namespace
    ip("link set lo mtu 1400")
    with entered(name):
        rig = make_rig()
        agent = rig.agents["h1"]
        for link, expected in ((1650, 1400), (1300, 1300), (1500, 1400)):
            agent.reconfigure(with_link(rig.topology, mtu=link))
            assert rig.tunnel("h1").path_mtu == expected
            assert agent.card.inner_mtu("h2", encrypted=True) == expected - 87


@pytest.mark.root
def test_a_kernel_that_refuses_what_it_says_that_it_carries_is_not_asked_all_the_time(make_rig, namespace):
    """Asked again a moment later at the soonest, and then because of the same refusal."""
    name, ip = namespace
    with entered(name):
        rig = make_rig()
        agent = rig.agents["h1"]
        asked = []
        ask = rig.fabrics["h1"].path_mtus

        def ask_and_note(addresses):
            asked.extend(addresses)
            return ask(addresses)

        rig.fabrics["h1"].path_mtus = ask_and_note
        address = rig.topology.hosts["h2"].underlay
        for _ in range(5):
            rig.fabrics["h1"]._too_long.add(address)
            agent.turn(wait=False)
        assert asked == [address]
        ip("link set lo mtu 1300")
        assert agent._next_timeout() == rig.clock.now + PAUSE
        rig.pass_time(PAUSE, step=PAUSE)
        assert asked == [address] * 2
        assert rig.tunnel("h1").path_mtu == 1300


@pytest.mark.root
def test_a_super_packet_of_a_guest_is_told_of_the_smaller_path(make_rig, namespace):
    """What matters is what it is cut into."""
    name, ip = namespace
    ip("link set lo mtu 1300")
    with entered(name):
        rig = make_rig()
        rig.guests["a"].send(*super_packet(5, size=1400))
        rig.settle()
        assert [told_mtu(answer) for answer in rig.guests["a"].received()] == [1213]
        rig.guests["a"].send(*super_packet(5, size=1173))
        rig.settle()
        assert (
            b"".join(part[40:] for part in rig.guests["b"].received()) == super_packet(5, size=1173)[0][40:]
        )


# ------------------------------------------------------------------------------------------------ hints


@pytest.mark.root
@pytest.mark.parametrize(
    ("mtu", "what"),
    [
        (1400, "the path carries 1400 bytes, the lab says 1650; VMs are told by ICMP that 1313 fit"),
        (1300, "VMs are told by ICMP that 1213 fit; IPv6 does not work, since no VM need go below 1280"),
        (200, "the path carries 200 bytes, and a handshake needs 284"),
    ],
)
def test_a_path_that_is_too_small_is_a_hint(make_rig, namespace, mtu, what):
    """With what follows from it, and both remedies; gone when the path has grown."""
    name, ip = namespace
    ip(f"link set lo mtu {mtu}")
    with entered(name):
        rig = make_rig()
        hints = {hint.about: hint for hint in hints_of(rig.agents["h1"], rig.topology)}
        assert hints.keys() == {"h2", "h3"}
        assert what in hints["h2"].what
        assert hints["h2"].remedy == f"give the path an MTU of 1650, or the link of the lab one of {mtu}"
        ip("link set lo mtu 65536")
        rig.agents["h1"].look_at_paths()
        assert hints_of(rig.agents["h1"], rig.topology) == []


def test_packets_whose_senders_cannot_be_told_are_a_hint(make_rig, monkeypatch):
    """Without DF, or because they have been told often enough; a few of those are none."""
    monkeypatch.setattr("dtls_emu.host.hints.UNHEARD", 2)
    rig = make_rig()
    agent = rig.agents["h1"]
    assert hints_of(agent, rig.topology) == []
    silent = udp_packet(ADDRESSES["a"], ADDRESSES["b"], 1, 2, bytes(2000), df=False)
    for packet in (silent, silent, *[ping("a", "b", size=2000)] * 12):
        rig.guests["a"].send(packet)
        rig.settle()
    assert len(hints_of(agent, rig.topology)) == 1
    rig.guests["a"].send(ping("a", "b", size=2000))
    rig.settle()
    first, second = hints_of(agent, rig.topology)
    assert first.what.startswith("2 IPv4 packets without DF were too big")
    assert first.remedy.endswith("an MTU of 1563")
    assert second.what.startswith("3 ICMP errors about packets that were too big were not sent")
