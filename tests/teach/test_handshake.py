"""What is told of a handshake is computed from it: its keys open its records, its checks are those of its bytes."""

from __future__ import annotations

import re
import subprocess

import pytest

from dtls_emu.events import FlightRetransmitted
from dtls_emu.teach.blocks import Command, Ladder, Table, Verdict
from dtls_emu.teach.handshake import NoHandshakeError, explain_handshake
from dtls_emu.teach.recording import record
from dtls_emu.teach.transcript import handshakes_of


@pytest.fixture(scope="module")
def recording():
    return record("two-vms")


@pytest.fixture(scope="module")
def document(recording):
    return explain_handshake(recording.trace, recording.secrets, show_secrets=True)


def blocks(document, kind):
    return [block for block in document.blocks if isinstance(block, kind)]


def test_both_finished_messages_open_and_hold_what_they_should(document):
    """With keys derived here from the master secret, over the messages that were on the wire."""
    assert [verdict.good for verdict in blocks(document, Verdict)] == [True, True]


def test_the_messages_are_those_of_the_protocol_in_order(document):
    """Each with what it is for, first the cookie exchange."""
    table = next(each for each in blocks(document, Table) if "message" in each.columns)
    assert [row[2] for row in table.rows] == [
        "ClientHello",
        "HelloVerifyRequest",
        "ClientHello",
        "ServerHello",
        "Certificate",
        "ServerKeyExchange",
        "CertificateRequest",
        "ServerHelloDone",
        "Certificate",
        "ClientKeyExchange",
        "CertificateVerify",
    ]
    assert all(row[-1] for row in table.rows)


def test_each_certificate_passes_its_checks(document):
    """None is marked as wrong."""
    tables = [each for each in blocks(document, Table) if "check" in each.columns]
    assert len(tables) == 2
    assert not [row for table in tables for row in table.rows if row[2].startswith("NO")]


def test_another_hosts_certificate_is_seen(recording):
    """The name is what a peer checks beyond OpenSSL."""
    trace = recording.trace
    (handshake,) = handshakes_of(trace.events)
    body = next(message.body for message in handshake.messages if message.kind == 11)
    from cryptography import x509

    from dtls_emu.teach.handshake import _certificates, _checks

    certificate = x509.load_der_x509_certificate(_certificates(body)[0])
    rows = _checks(certificate, "somebody-else", ()).rows
    assert [row[2] for row in rows if row[0] == "names the host"] == ["NO: it should be somebody-else"]


@pytest.mark.openssl
def test_the_commands_beside_it_give_the_same_values(document):
    """What a reader types with the openssl program: session hash, key block, verify data, certificates."""
    outputs = []
    for command in blocks(document, Command):
        (line,) = command.lines
        done = subprocess.run(
            ["sh", "-c", line.replace("xxd -r -p", PYTHON_XXD)], capture_output=True, text=True, check=True
        )
        outputs.append(
            (command.purpose, re.sub(r"[^0-9a-f]", "", done.stdout.rsplit("=", 1)[-1].lower()), done.stdout)
        )
    said = str(document.as_dict())
    values = [value for purpose, value, _ in outputs if purpose != "all of it"]
    key_block = next(value for purpose, value, _ in outputs if "key block" in purpose)
    assert all(value in said for value in values if value != key_block)
    assert key_block[:64] in said
    assert "Subject: CN = host-2" in next(
        out for purpose, _, out in outputs if purpose == "all of it"
    ).replace("CN=", "CN = ")


PYTHON_XXD = "python3 -c 'import sys; sys.stdout.buffer.write(bytes.fromhex(sys.stdin.read()))'"


def test_secrets_are_there_only_when_asked_for(recording):
    """Neither the master secret nor a key."""
    hidden = str(explain_handshake(recording.trace, recording.secrets).as_dict())
    shown = str(explain_handshake(recording.trace, recording.secrets, show_secrets=True).as_dict())
    master = recording.secrets[0].master_secret.hex()
    assert master not in hidden
    assert master in shown
    assert "--keys" in str(explain_handshake(recording.trace).as_dict())


def test_lost_flights_and_those_sent_again_are_told_apart(make_lab):
    """On a link that loses a third of everything: each lost datagram is marked, and so is each that is sent again."""
    lost = again = retransmitted = 0
    for seed in range(1, 6):
        lab = make_lab("kind: ping, name: p, from: a, to: b, count: 3", link="loss: 30%", seed=seed)
        recording = record(lab)
        for number in range(1, len(handshakes_of(recording.trace.events)) + 1):
            (ladder,) = blocks(explain_handshake(recording.trace, recording.secrets, number=number), Ladder)
            lost += sum(message.lost for message in ladder.messages)
            again += sum("sent again" in message.detail for message in ladder.messages)
        retransmitted += sum(isinstance(event, FlightRetransmitted) for event in recording.trace.events)
    assert lost
    assert retransmitted
    assert again >= retransmitted


def test_a_handshake_that_is_not_there_is_said(recording):
    """With how many there are; a run without tunnels has none."""
    with pytest.raises(NoHandshakeError, match="handshake 2: the trace has 1"):
        explain_handshake(recording.trace, number=2)
    with pytest.raises(
        NoHandshakeError, match="no handshake: no tunnel was needed, its keys come from a broker"
    ):
        explain_handshake(record("broker").trace)
