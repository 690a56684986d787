"""What fits, layer by layer: the figures agree with one another and with the arithmetic that the card uses."""

import pytest

from dtls_emu.teach.mtu import explain_mtu, remarks
from dtls_emu.testing.wire import Wire, make_topology
from dtls_emu.wire.overhead import path_overhead


@pytest.mark.parametrize("inner", [64, 1500, 9000])
def test_the_layers_add_up_to_the_link_mtu_that_is_needed(inner):
    """From the outer IP header to the tag nothing is missing and nothing is counted twice."""
    for case in explain_mtu(1650, inner):
        assert sum(size for _, size in case.layers) == case.needed_link_mtu


def test_the_default_link_carries_1500_bytes_every_way():
    """The four inner MTUs of a link of 1650 bytes."""
    cases = explain_mtu()
    assert [(case.encrypted, case.underlay_version, case.inner_mtu) for case in cases] == [
        (True, 4, 1563),
        (True, 6, 1543),
        (False, 4, 1600),
        (False, 6, 1580),
    ]
    assert all(case.fits and case.icmp_mtu is None for case in cases)
    assert remarks(cases) == []


def test_a_packet_that_does_not_fit_is_answered_with_the_mtu_that_does():
    """The same figure that the slow path gives to a flow."""
    (encrypted, *_) = cases = explain_mtu(1500, 1500)
    assert not encrypted.fits
    assert encrypted.icmp_mtu == path_overhead(encrypted=True).inner_mtu(1500) == 1413
    assert encrypted.tcp_mss == {4: 1373, 6: 1353}
    assert len(remarks(cases)) == 1


def test_too_little_for_ipv6_is_said():
    """Below 1280 bytes there is a second remark, and nothing is ever negative."""
    cases = explain_mtu(40, 1500)
    assert [case.inner_mtu for case in cases] == [0] * 4
    assert {mss for case in cases for mss in case.tcp_mss.values()} == {0}
    assert "1280" in remarks(cases)[1]


@pytest.mark.parametrize("link_mtu", [600, 1650, 16_448, 16_449, 65_535])
def test_what_is_explained_is_what_a_card_enforces(link_mtu):
    """Also where a record holds less than the link carries: 16,384 bytes, of which the frame has 22."""
    wire = Wire(make_topology(mtu=link_mtu))
    card = wire.cards["h1"]
    cases = {case.encrypted: case for case in explain_mtu(link_mtu, 1500) if case.underlay_version == 4}
    for encrypted, case in cases.items():
        assert case.inner_mtu == card.inner_mtu("h2", encrypted=encrypted)
    assert cases[True].inner_mtu <= 16_362


def test_a_packet_that_no_record_holds_needs_no_larger_link():
    """None would do; in clear there is one that does."""
    cases = explain_mtu(65_535, 16_363)
    assert [(case.fits, case.needed_link_mtu) for case in cases if case.underlay_version == 4] == [
        (False, None),
        (True, 16_413),
    ]
    assert "16362" in remarks(cases)[-1]
