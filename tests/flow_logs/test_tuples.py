"""Flow tuples: what is written is read again, and what is none is refused by the field that is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.flow_logs.errors import FlowLogError
from dtls_emu.flow_logs.tuples import FlowState, FlowTuple, Side, parse_tuple
from dtls_emu.vocabulary import FlowEncryption


COUNTS = st.integers(0, (1 << 63) - 1)
TUPLES = st.builds(
    FlowTuple,
    st.integers(10**11, 253_402_300_799_999),
    st.ip_addresses().map(str),
    st.ip_addresses().map(str),
    st.integers(0, 65_535),
    st.integers(0, 65_535),
    st.integers(0, 255),
    st.sampled_from(Side),
    st.sampled_from(FlowState),
    st.sampled_from(FlowEncryption).map(str),
    COUNTS,
    COUNTS,
    COUNTS,
    COUNTS,
)
LINE = "1663146003599,10.0.0.6,192.0.2.180,23956,443,6,O,E,NX,3,767,2,1580"


@given(TUPLES)
def test_what_is_written_is_read_again(flow):
    """Field by field, IPv6 and the largest counters included."""
    assert parse_tuple(str(flow)) == flow


def test_the_documented_sample_is_read():
    """As the vendor prints it."""
    found = parse_tuple(LINE)
    assert (found.time, found.source_port, found.protocol) == (1_663_146_003_599, 23_956, 6)
    assert (found.packets_sent, found.bytes_sent, found.packets_received, found.bytes_received) == (
        3,
        767,
        2,
        1580,
    )
    assert str(found) == LINE


def test_seconds_and_empty_counters_are_read():
    """As the vendor's example of a bandwidth has them."""
    found = parse_tuple("1663146003,10.0.0.6,192.0.2.180,23956,443,6,O,B,NX,,,,")
    assert (found.time, found.packets_sent, found.bytes_received) == (1_663_146_003_000, 0, 0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((",1580", ""), "12 fields"),
        ((",1580", ",1580,7"), "14 fields"),
        (("10.0.0.6", "10.0.0.256"), "source '10.0.0.256'"),
        (("192.0.2.180", "host"), "destination 'host'"),
        (("23956", "70000"), "more than 65535"),
        (("767", "-767"), "'-767'"),
        (("767", "1_000"), "'1_000'"),
        (("767", "٣"), "'٣'"),
        (("767", "9" * 21), "no number"),
        ((",O,", ",X,"), "direction or state"),
        ((",E,", ",F,"), "direction or state"),
        ((",NX,", ",,"), "no encryption status"),
        (("1663146003599", "1663146003599000"), "neither seconds nor milliseconds"),
        (("443", "4" * 300), "characters"),
    ],
)
def test_the_wrong_field_is_named(change, said):
    """In one line."""
    with pytest.raises(FlowLogError, match=said) as caught:
        parse_tuple(LINE.replace(*change))
    assert "\n" not in str(caught.value)


@given(st.text(max_size=300))
def test_any_text_is_a_tuple_or_refused(text):
    """Nothing else is raised -> raises nothing."""
    try:
        parse_tuple(text)
    except FlowLogError:
        return
