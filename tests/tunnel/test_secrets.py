"""Key material of a whole session is looked for wherever something is printed, and is not there."""

import base64
import dataclasses
import gc
import json
import logging
import secrets
import traceback

import pytest
from OpenSSL import SSL

from dtls_emu.crypto.backend import TrafficKeys
from dtls_emu.errors import DtlsEmuError
from dtls_emu.testing.pair import Pair
from dtls_emu.testing.present import present
from dtls_emu.testing.wire import Wire, make_topology
from dtls_emu.tunnel.session_keys import SESSION_KEY_BYTES, SessionKeys
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.vocabulary import Keying
from dtls_emu.wire.packet import udp_packet


@pytest.fixture
def keys(monkeypatch):
    """Every traffic key and master secret that there was, copied before anybody could overwrite it."""
    seen: set[bytes] = set()
    post_init = TrafficKeys.__post_init__

    def remember(self):
        seen.add(bytes(self.key))
        post_init(self)

    monkeypatch.setattr(TrafficKeys, "__post_init__", remember)

    class Connection(SSL.Connection):
        def master_key(self):
            secret = super().master_key()
            if secret is not None:
                seen.add(secret)
            return secret

    monkeypatch.setattr(SSL, "Connection", Connection)
    return seen


def spellings(secret):
    """The ways in which bytes are printed, whole; and 8 bytes of them in the middle, in hex."""
    return {
        secret.hex(),
        secret.hex().upper(),
        secret.hex(" "),
        repr(secret)[2:-1],
        repr(bytearray(secret))[len("bytearray(b'") : -2],  # escapes an apostrophe where bytes need not
        base64.b64encode(secret).decode(),
        str(list(secret))[1:-1],
        str(int.from_bytes(secret, "big")),
        secret[8:16].hex(),
    }


def assert_silent(keys, *texts):
    """None of the keys is in any of the texts."""
    assert keys
    whole = "\n".join(texts)
    assert len(whole) > 100
    for secret in keys:
        assert not {spelling for spelling in spellings(secret) if spelling in whole}


def reprs(*roots):
    """What every object of ours that can be reached would print as."""
    seen, texts, frontier = set(), [], list(roots)
    while frontier:
        each = frontier.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if type(each).__module__.startswith("dtls_emu."):
            texts += [repr(each), str(each)]
        if type(each).__module__.startswith("dtls_emu.") or isinstance(each, dict | list | tuple):
            frontier += gc.get_referents(each)
    return texts


def complaint(action, *arguments):
    """The whole traceback of a mistake."""
    with pytest.raises(DtlsEmuError) as caught:
        action(*arguments)
    return "".join(traceback.format_exception(caught.value))


def test_the_search_would_find_a_key():
    """In each of the spellings."""
    secret = secrets.token_bytes(32)
    for text in (repr({"key": secret}), secret.hex(), f"{bytearray(secret)}", json.dumps(list(secret))):
        with pytest.raises(AssertionError):
            assert_silent({secret}, text + " " * 100)


def test_no_object_exception_or_log_of_a_session_shows_a_key(keys, caplog, capsys):
    """Handshake, data, rekey, forgeries, mistakes and close of two tunnels, with every logger at its loudest."""
    caplog.set_level(logging.DEBUG)
    pair = Pair(settings=TunnelSettings(forgery_limit=5))
    texts = []
    for moment in (0.001, 0.0035, 0.0045, 1.0):
        pair.connect()
        pair.run(until=moment)
        texts += reprs(pair.client, pair.server)
    pair.send("alpha", b"data")
    pair.rekey("alpha")
    pair.run(until=2)
    texts += reprs(pair.client, pair.server)
    pair.send("alpha", b"data")
    *_, (_, _, local, remote, record) = pair.wire
    for number in range(5):
        pair.inject("beta", remote, local, record[:-1] + bytes([record[-1] ^ (number + 1)]))
    texts.append(pair.server.failure)
    present(pair.client.active).next_sequence = 2**48 - 1
    texts.append(complaint(pair.send, "alpha", b"one too many"))
    pair.close("alpha")
    pair.run(until=40)
    texts.append(complaint(pair.send, "alpha", b"after the end"))
    texts += reprs(pair.client, pair.server)
    assert len(keys) >= 2 * (2 + 1)  # two handshakes, two directions each, and their master secrets
    assert_silent(keys, *texts, caplog.text, *capsys.readouterr())


def test_no_failed_handshake_shows_a_key(keys, make_foreign):
    """Refused after the keys were made: for its name, and for its missing extension."""
    texts = []
    for options in ({"credentials": "gamma"}, {"options": 1}):
        for is_client in (True, False):
            foreign = make_foreign(is_client=is_client, **options).shake_hands()
            texts += [foreign.tunnel.failure, *reprs(foreign.tunnel)]
    assert_silent(keys, *texts)


def test_no_session_key_of_a_broker_is_shown(keys):
    """Neither fresh nor spent, and not in the complaint about a spent one."""
    pair = Pair(settings=TunnelSettings(keying=Keying.BROKER))
    pair.connect()
    (port,) = pair.key_requests["alpha"]
    material = secrets.token_bytes(SESSION_KEY_BYTES)
    session = SessionKeys("alpha", port, bytearray(material))
    texts = [repr(session), str(dataclasses.asdict(session).keys())]
    pair.client.install(session, 0.0)
    texts += [complaint(pair.client.install, session, 0.0), *reprs(pair.client, session)]
    short = SessionKeys("alpha", port, bytearray(material[:-1]))
    texts.append(complaint(pair.client.install, short, 0.0))
    assert_silent(keys | {material}, *texts)


def test_the_status_of_a_card_holds_no_key(keys):
    """What `status --json` and a result file are made of, in use and after the end."""
    wire = Wire(make_topology())
    wire.send("a", udp_packet("10.0.0.4", "10.0.0.6", 1, 2, b"data"))
    texts = []
    for _ in range(2):
        texts += [json.dumps(card.status()) for card in wire.cards.values()]
        texts += reprs(*wire.cards.values())
        wire.carry_out("h1", wire.cards["h1"].close(wire.now))
    assert_silent(keys, *texts)
