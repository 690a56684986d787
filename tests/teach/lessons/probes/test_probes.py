"""Probes against what is known otherwise: sums of header lengths, rows of the table, fields of a record."""

from __future__ import annotations

import pytest

from dtls_emu.lab.loader import parse_lab
from dtls_emu.teach.attacks.labs import drop_unencrypted
from dtls_emu.teach.lessons import lesson
from dtls_emu.teach.lessons.expected import Expected
from dtls_emu.teach.lessons.lab_run import CannotAskError, LabRun
from dtls_emu.teach.lessons.probes import PROBES


LAB = """
virtual_networks:
  prod:
    address_prefixes: [10.0.0.0/24]
    vni: 5001
    encryption: {enabled: true}
hosts:
  host-1: {underlay: 192.0.2.1, smartnic: {backend: cryptography}}
  host-2: {underlay: 192.0.2.2, smartnic: {backend: cryptography}}
vms:
  web: {host: host-1, virtual_network: prod, address: 10.0.0.4}
  cache: {host: host-1, virtual_network: prod, address: 10.0.0.6}
  db: {host: host-2, virtual_network: prod, address: 10.0.0.5}
  cron: {host: host-2, virtual_network: prod, address: 10.0.0.7, size: Standard_B2s}
link_defaults: {delay: 1ms, mtu: 1500}
traffic:
  - {name: hello, kind: ping, from: web, to: db, count: 3, interval: 100ms}
  - {name: big, kind: udp, from: web, to: db, size: 1500, count: 2, start: 1s}
  - {name: near, kind: udp, from: web, to: cache, size: 100, count: 2, start: 1s}
  - {name: plain, kind: udp, from: web, to: cron, size: 100, count: 5, start: 1s}
"""


@pytest.fixture(scope="module")
def run():
    """A lab with a tunnel, and packets of every fate."""
    return LabRun(parse_lab(LAB, "lab.yaml"))


def ask(run, name, **of):
    found = PROBES[name](run, **of)
    return found.value if isinstance(found, Expected) else found


@pytest.mark.parametrize(
    ("name", "of", "value"),
    [
        ("row_of", {"item": "hello"}, 16),
        ("row_of", {"item": "near"}, 8),
        ("code_of", {"item": "plain"}, "NX_FALLBACK"),
        ("encrypted_packets", {"item": "hello"}, 6),  # requests and replies
        ("encrypted_packets", {"item": "plain"}, 0),
        ("crossing_in_clear", {}, 5),
        ("all_dropped", {}, "big"),
        ("dropped_as", {"item": "big"}, "too_big"),
        ("fate_of", {"item": "big"}, "dropped"),
        ("fate_of", {"item": "hello"}, "delivered"),
        ("is_encrypting", {"network": "prod"}, True),
        ("is_enforced", {"network": "prod"}, False),
        ("arrives", {"items": "hello"}, True),
        ("arrives", {"items": "plain"}, False),
        ("outer_packet", {"item": "hello"}, 84 + 87),
        ("outer_packet", {"item": "plain"}, 100 + 50),
        ("begins_at", {"item": "plain"}, 50),
        ("added_to", {"item": "hello"}, 87),
        ("added_by_encryption", {"item": "hello"}, 37),
        ("vxlan_port", {"item": "plain"}, 4789),
        ("vni_bytes", {"network": "prod"}, bytes([0, 0x13, 0x89])),
        ("largest_packet", {"item": "big"}, 1500 - 87),
        ("segment_payload", {"item": "big"}, 1500 - 87 - 40),
        ("told_by_icmp", {"item": "big"}, 1500 - 87),
        ("icmp_answers", {"item": "hello"}, 0),
        ("just_fits", {"item": "big"}, False),
        ("sends_packets_of", {"item": "hello", "size": 84}, True),
        ("sends_packets_of", {"item": "hello", "size": 85}, False),
        ("seen_inside", {"payload": 159}, 100),
        ("client_of", {"number": 1}, "host-1"),
        ("flights_of", {"number": 1}, 6),
        ("one_way_trips", {"number": 1}, 6),
        ("cookie_bytes", {"number": 1}, 32),
        ("state_begins", {"number": 1}, "second_hello"),
        ("first_sealed", {"number": 1}, "Finished"),
        ("hashed_messages", {"number": 1}, 9),
        ("slower_pings", {"item": "hello"}, "first"),
        ("first_round_trip", {"item": "hello"}, 8),
        ("link_delay_is", {"item": "hello", "milliseconds": 1}, True),
        ("link_delay_is", {"item": "hello", "milliseconds": 2}, False),
        ("nonce_bytes_on_wire", {}, 8),
        ("odd_nonces", {}, 2),
        ("pair_repeats", {}, "no"),
        ("keys_made", {"at_least": 1}, True),
        ("keys_made", {"at_least": 2}, False),
        ("record_length", {"item": "hello"}, 84 + 22 + 24),
        ("payload_is_read", {"item": "hello"}, "no"),
        ("payload_is_read", {"item": "plain"}, "yes"),
        ("eavesdropper_learns", {"item": "hello"}, "hosts, sizes, times"),
        ("eavesdropper_learns", {"item": "plain"}, "hosts, network, payload, sizes, times, vms"),
        ("comes_to", {"attack": "tamper"}, "stopped"),
        ("refused_as", {"attack": "replay"}, "replayed"),
        ("is_stopped", {"attack": "strip"}, False),
        ("remembered_records", {}, 1024),
        ("slow_path_lookups", {"item": "plain"}, 1),
        ("fast_path_packets", {"item": "plain"}, 4),
    ],
)
def test_what_a_probe_finds(run, name, of, value):
    """As it is known from the standards, and from the lab."""
    assert ask(run, name, **of) == value


def test_fields_of_a_record_belong_together(run):
    """Number, explicit nonce and additional data are of one record."""
    number = ask(run, "record_number", item="hello", place=2)
    assert ask(run, "explicit_nonce", item="hello", place=2) == (1 << 48 | number).to_bytes(8)
    additional = ask(run, "additional_bytes", item="hello", place=2)
    assert additional == (1 << 48 | number).to_bytes(8) + b"\x17\xfe\xfd" + (84 + 22).to_bytes(2)
    assert ask(run, "record_number", item="hello", place=3) == number + 1


def test_under_drop_unencrypted_the_vm_that_cannot_is_dropped():
    """And so the attack that strips encryption is stopped, with the reason."""
    strict = LabRun(drop_unencrypted(parse_lab(LAB, "lab.yaml")))
    assert ask(strict, "dropped_as", item="plain") == "not_accepted"
    assert ask(strict, "is_enforced", network="prod") is True
    assert ask(strict, "dropped_instead", attack="strip") == "not_accepted"


@pytest.mark.parametrize(
    ("name", "of", "said"),
    [
        ("row_of", {"item": "gone"}, "no traffic item gone"),
        ("dropped_as", {"item": "hello"}, "not at all"),
        ("begins_at", {"item": "hello"}, "not in clear"),
        ("outer_packet", {"item": "near"}, "not on the fabric"),
        ("vni_bytes", {"network": "test"}, "no virtual network test"),
        ("is_enforced", {"network": "test"}, "no virtual network test"),
        ("told_by_icmp", {"item": "hello"}, "nobody is told"),
        ("lost_flight", {"number": 1}, "no datagram of handshake 1 is lost"),
        ("resend_wait", {"number": 1}, "nothing of handshake 1 is sent again"),
        ("flights_of", {"number": 7}, "no handshake 7"),
        ("record_number", {"item": "hello", "place": 9}, "fewer than 9 packets"),
        ("record_number", {"item": "plain", "place": 1}, "not encrypted"),
        ("first_round_trip", {"item": "plain"}, "no ping"),
        ("refused_as", {"attack": "eavesdrop"}, "is not refused for one reason"),
        ("relative_rate", {"file": "bench.json", "size": 1400}, "there is no bench.json"),
    ],
)
def test_what_a_lab_does_not_have_cannot_be_asked(run, name, of, said):
    """It is said, and no other error comes of it."""
    with pytest.raises(CannotAskError, match=said):
        ask(run, name, **of)


def test_a_lab_that_no_two_vms_can_talk_in_cannot_be_attacked():
    """One line, too."""
    lab = lesson(1).lab_text().replace("host: host-2", "host: host-1")
    with pytest.raises(CannotAskError, match="cannot be attacked"):
        ask(LabRun(parse_lab(lab, "lab.yaml")), "comes_to", attack="tamper")
