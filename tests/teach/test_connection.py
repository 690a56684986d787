"""The illustrated connection shows every datagram of one that was made, and opens each record of it."""

from __future__ import annotations

import pytest

from dtls_emu.teach.blocks import Heading, Ladder, Octets, Verdict
from dtls_emu.teach.connection import explain_connection
from dtls_emu.teach.html import page


@pytest.fixture(scope="module")
def document():
    return explain_connection()


def blocks(document, kind):
    return [block for block in document.blocks if isinstance(block, kind)]


def test_it_has_a_handshake_a_lost_flight_two_packets_and_an_alert(document):
    """In the order in which they were on the fabric."""
    titles = [heading.text for heading in blocks(document, Heading)]
    (ladder,) = blocks(document, Ladder)
    assert any(message.lost for message in ladder.messages)
    assert any("sent again" in message.detail for message in ladder.messages)
    assert sum("a record, epoch 1" in title for title in titles) >= 2
    assert sum("an alert, sealed" in title for title in titles) == 2
    inside = [octets for octets in blocks(document, Octets) if octets.title.startswith("Plaintext: VXLAN")]
    payloads = [octets.data for octets in inside]
    assert payloads[0].endswith(b"the first packet")
    assert payloads[-1].endswith(b"and the second")


def test_every_sealed_record_opens(document):
    """With the keys of the run; what is not good is what the link did."""
    assert all("link" in verdict.text for verdict in blocks(document, Verdict) if not verdict.good)


def test_every_byte_is_annotated(document):
    """Of each datagram: no byte belongs to no field."""
    for octets in blocks(document, Octets):
        fields = [field for layer in octets.layers for field in layer.fields]
        assert sum(field.stop - field.start for field in fields) == len(octets.data), octets.title


def test_the_page_is_one_file(document):
    """Nothing is loaded, and it stays below a megabyte."""
    text = page(document.title, document.blocks)
    assert "http" not in text
    assert "<script" not in text
    assert len(text) < 1_000_000
