"""The vendor's filter language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.flow_logs.filtering import FilterError, parse_filter


LINE = "1663146003599,10.0.0.6,192.0.2.180,23956,443,6,O,E,NX_FALLBACK,3,767,2,1580"


@pytest.mark.parametrize(
    ("text", "is_wanted"),
    [
        ("Encryption=NX_ALL", True),
        ("encryption = nx_fallback,X", True),
        ("Encryption=X", False),
        ("Encryption!=NX_ALL", False),
        ("Direction=Inbound", False),
        ("Direction=Inbound,Outbound", True),
        ("SrcIP=10.0.0.0/29", True),
        ("SrcIP=10.0.0.7,10.0.0.8", False),
        ("DstIP=2001:db8::/32,192.0.2.180", True),
        ("DstPort=80,440-450", True),
        ("SrcPort!=23956", False),
        ("Protocol=TCP", True),
        ("Protocol=17", False),
        ("Action=Deny", False),
        ("DstPort=1 && DstPort=2 || Protocol=6", True),
        ("Protocol=6 || DstPort=1 && DstPort=2", True),
        ("Protocol=17 || DstPort=443 && DstPort=2", False),
    ],
)
def test_a_filter_holds_or_not(text, is_wanted):
    """AND before OR, from left to right, in any case."""
    assert parse_filter(text)(LINE.split(",")) is is_wanted


def test_whatever_is_not_x_is_in_clear():
    """Also a status that is not known yet."""
    fields = LINE.replace("NX_FALLBACK", "NX_FUTURE").split(",")
    assert parse_filter("Encryption=NX_ALL")(fields)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("(DstPort=1)", "no brackets"),
        ("DstPort", "no condition"),
        ("Port=1", "no field 'Port'; there are Direction"),
        ("DstPort=", "lacks a value"),
        ("DstPort=1,,2", "lacks a value"),
        ("DstPort=9-2", "no range of ports"),
        ("DstPort=65536", "no range of ports"),
        ("SrcIP=10.0.0", "10.0.0.4,10.1.0.0/16"),
        ("Protocol=warp", "no protocol 'warp'"),
        ("Encryption=NX_SOME", "no status 'NX_SOME'"),
        ("Direction=Up", "no value 'Up'"),
        ("DstPort=1 &&", "no condition"),
        ("x" * 1001, "1001 characters"),
    ],
)
def test_what_cannot_be_read_is_said(text, said):
    """With what to write."""
    with pytest.raises(FilterError) as caught:
        parse_filter(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(alphabet="DstPort=!&|,-:./0123456789 NX_ALEncryptionSrcIP", max_size=60))
def test_any_text_is_a_filter_or_refused(text):
    """And a filter answers for any tuple -> raises nothing."""
    try:
        wanted = parse_filter(text)
    except FilterError:
        return
    wanted(LINE.split(","))
