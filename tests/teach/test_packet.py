"""A packet that is explained has been sent: its bytes are those of the fabric, its sums those of its lengths."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from dtls_emu.lab import compile_lab, load_lab, shipped_labs
from dtls_emu.teach.blocks import Octets, Table, Verdict
from dtls_emu.teach.packet import explain_packet


def explain(lab, source, destination, payload=b"some payload", **more):
    loaded = load_lab(lab)
    vms = compile_lab(loaded).vms
    to = vms[destination].address(4) if destination in vms else ip_address(destination)
    assert to is not None
    sent_from = vms[source].address(to.version)
    assert sent_from is not None
    return explain_packet(loaded, source, sent_from, to, payload, **more)


def blocks(document, kind):
    return [block for block in document.blocks if isinstance(block, kind)]


def test_the_payload_is_inside_and_not_outside():
    """In the VM's packet and in the plaintext, not in what is on the fabric; and in that of the plain path."""
    document = explain("two-vms", "vm-a", "vm-b")
    titles = {octets.title: octets.data for octets in blocks(document, Octets)}
    outer = [octets.data for octets in blocks(document, Octets) if octets.title == "The outer packet"]
    assert b"some payload" in titles["An IP packet"]
    assert b"some payload" in titles["Plaintext: VXLAN, and the packet of the VM"]
    assert [b"some payload" in each for each in outer] == [False, True]
    assert all(verdict.good for verdict in blocks(document, Verdict))


def test_the_overhead_adds_up():
    """To the packet that was on the fabric, on both paths."""
    document = explain("two-vms", "vm-a", "vm-b")
    outer = [len(octets.data) for octets in blocks(document, Octets) if octets.title == "The outer packet"]
    table = next(each for each in blocks(document, Table) if each.title == "Bytes")
    assert [int(cell) for cell in table.rows[-1][1:]] == outer
    for column in (1, 2):
        assert sum(int(row[column]) for row in table.rows[:-1]) == int(table.rows[-1][column])


def test_a_packet_that_leaves_in_clear_is_said_to():
    """To the internet: nothing of a tunnel is shown."""
    document = explain("two-vms", "vm-a", "203.0.113.9")
    assert "in clear" in str([verdict.text for verdict in blocks(document, Verdict)])
    assert not [octets for octets in blocks(document, Octets) if "Plaintext" in octets.title]


def test_a_packet_that_is_dropped_ends_there():
    """With the reason that counts it; nothing of it is on the fabric."""
    document = explain("two-vms", "vm-a", "vm-b", bytes(1600))
    (verdict,) = [verdict for verdict in blocks(document, Verdict) if not verdict.good]
    assert "too_big" in verdict.text
    assert len(blocks(document, Octets)) == 1


def test_keys_are_there_only_when_asked_for():
    """In the command that opens the record."""
    hidden, shown = (
        str(explain("two-vms", "vm-a", "vm-b", show_secrets=each).as_dict()) for each in (False, True)
    )
    assert "AESGCM(KEY)" in hidden
    assert "AESGCM(bytes.fromhex('" in shown


@pytest.mark.parametrize("lab", shipped_labs())
def test_every_pair_of_every_lab_can_be_explained(lab):
    """Encrypted, in clear, on one host, or dropped."""
    names = list(compile_lab(load_lab(lab)).vms)
    for other in names[1:]:
        assert explain(lab, names[0], other).blocks
