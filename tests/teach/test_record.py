"""A record from outside is opened with the key that fits, and what is wrong with another is said."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.crypto.keys import traffic_keys
from dtls_emu.teach.blocks import Command, Octets, Verdict
from dtls_emu.teach.record import explain_record
from dtls_emu.teach.secrets import KeyLogError, Secrets, parse_key_log, read_key_log, server_random_line
from dtls_emu.wire.record import push_record_header


SERVER_RANDOM = bytes(range(32, 64))
SECRETS = Secrets(bytes(range(32)), bytes(range(48)), SERVER_RANDOM)
OTHERS = Secrets(bytes(32), bytes(48), bytes(32))
PAYLOAD = b"\x08" + bytes(30)


def seal(payload=PAYLOAD, *, by_client=True, epoch=1, sequence=5, kind=0x17):
    """A record as a peer with these secrets writes it, made with nothing of ours but the key schedule."""
    keys = traffic_keys(SECRETS.master_secret, SECRETS.client_random, SERVER_RANDOM, is_client=True)[
        not by_client
    ]
    explicit = (epoch << 48 | sequence).to_bytes(8)
    additional = explicit + bytes([kind]) + b"\xfe\xfd" + len(payload).to_bytes(2)
    sealed = AESGCM(bytes(keys.key)).encrypt(bytes(keys.salt) + explicit, payload, additional)
    return push_record_header(kind, epoch, sequence, 8 + len(sealed)) + explicit + sealed


def said(document):
    return next(block for block in document.blocks if isinstance(block, Verdict))


@pytest.mark.parametrize("by_client", [True, False])
def test_a_record_is_opened_with_the_key_of_its_writer(by_client):
    """Whichever of several handshakes it belongs to, and of either direction."""
    document = explain_record(seal(by_client=by_client), [OTHERS, SECRETS])
    assert said(document).good
    assert ("client" if by_client else "server") in said(document).text
    shown = document.blocks[-2]
    assert isinstance(shown, Octets)
    assert shown.data == PAYLOAD


def test_the_command_beside_it_opens_it_too():
    """What a reader types gives the same plaintext; without being asked for, no key is in it."""
    record = seal(b"\x08 something to find")
    (command,) = [
        each
        for each in explain_record(record, [SECRETS], show_secrets=True).blocks
        if isinstance(each, Command)
    ]
    script = "\n".join(command.lines[1:-1])
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert bytes.fromhex(out.strip()) == b"\x08 something to find"
    key = bytes(
        traffic_keys(SECRETS.master_secret, SECRETS.client_random, SERVER_RANDOM, is_client=True)[0].key
    )
    assert key.hex() in script
    assert key.hex() not in str(explain_record(record, [SECRETS]).as_dict())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda record: record[:-1], "cut short"),
        (lambda record: record[:9], "no record"),
        (lambda record: b"\x08" + record[1:], "VXLAN in clear begins with 8"),
        (lambda record: record[:1] + b"\x03\x04" + record[3:], "no version of DTLS"),
        (lambda record: record[:1] + b"\xfe\xff" + record[3:], "only DTLS 1.2"),
        (lambda record: record[:-1] + bytes([record[-1] ^ 1]), "a bit of it was changed"),
        (lambda record: record[:10] + b"\x06" + record[11:], "a bit of it was changed"),
        (lambda record: record[:11] + b"\x00\x07" + record[13:20], "alone have 24"),
        (lambda record: record[:11] + b"\xff\xff" + record[13:], "at most 18432"),
    ],
)
def test_what_is_wrong_is_said(change, words):
    """Each fault by its own words, before any key is asked for."""
    document = explain_record(change(seal()), [SECRETS])
    assert not said(document).good
    assert words in said(document).text


def test_without_keys_it_is_what_an_eavesdropper_has():
    """Sealed records tell their length and number, handshakes everything."""
    assert "eavesdropper" in said(explain_record(seal())).text
    clear = push_record_header(0x16, 0, 0, 12) + bytes([14, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0])
    assert "ServerHelloDone" in said(explain_record(clear)).text
    lacking = Secrets(SECRETS.client_random, SECRETS.master_secret)
    assert "no server random" in said(explain_record(seal(), [lacking])).text


def test_an_alert_and_an_empty_record_are_told_apart():
    """The last word of an association, and a sign of life."""
    document = explain_record(seal(b"\x01\x00", kind=0x15), [SECRETS])
    plain = [block for block in document.blocks if isinstance(block, Octets)][-1]
    assert [field.value for field in plain.layers[0].fields] == ["1 warning", "0 close_notify"]
    assert "empty" in str(explain_record(seal(b""), [SECRETS]).as_dict())


@given(st.binary(max_size=120))
def test_any_bytes_are_explained(data):
    """As something that is wrong, or as what is in clear."""
    assert said(explain_record(data, [SECRETS])).text


def test_a_key_log_gives_each_handshake_once(tmp_path):
    """Other labels, comments and repeated lines are no secrets of ours."""
    lines = [
        "# a comment",
        f"CLIENT_RANDOM {SECRETS.client_random.hex()} {SECRETS.master_secret.hex()}",
        server_random_line(SECRETS.client_random, SERVER_RANDOM),
        f"CLIENT_RANDOM {SECRETS.client_random.hex()} {SECRETS.master_secret.hex()}",
        "CLIENT_TRAFFIC_SECRET_0 00 11",
    ]
    assert parse_key_log("\n".join(lines)) == [SECRETS]
    path = tmp_path / "keys.log"
    path.write_text("CLIENT_RANDOM 00 zz\n")
    with pytest.raises(
        KeyLogError, match=r"keys.log: line 1 of the key log: expected 64 and 96 hexadecimal digits"
    ):
        read_key_log(path)
    with pytest.raises(KeyLogError, match="No such file"):
        read_key_log(tmp_path / "none")


@given(st.text(max_size=200))
def test_any_text_is_a_key_log_or_refused(text):
    """With the number of the line."""
    refusals = []
    try:
        parse_key_log(text)
    except KeyLogError as error:
        refusals.append(str(error))
    assert all(each.startswith("line ") for each in refusals)
