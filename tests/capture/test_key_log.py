"""The key log: the secrets of every handshake once, whoever hands them in, and a broker's keys told as such."""

from __future__ import annotations

from dtls_emu.capture.key_log import KeyLog
from dtls_emu.capture.trace_file import TraceRecorder
from dtls_emu.events import KeysRequested
from dtls_emu.simulation import simulate
from dtls_emu.teach.secrets import parse_key_log
from dtls_emu.teach.transcript import handshakes_of


PING = "name: ping, kind: ping, from: a, to: b, count: 4, interval: 10ms"
BACK = "name: back, kind: ping, from: b, to: a, count: 4, start: 1s"


def test_secrets_are_there_once_and_in_order():
    """Both ends of a handshake know the same."""
    log = KeyLog()
    for line in (b"CLIENT_RANDOM 1 a", b"CLIENT_RANDOM 2 b", b"CLIENT_RANDOM 1 a"):
        log.add(line)
    assert log.encode() == b"CLIENT_RANDOM 1 a\nCLIENT_RANDOM 2 b\n"
    log.add(b"# server_random 1 2")
    assert (log.secrets, log.sessions) == (2, 0)


def test_a_brokers_session_is_a_comment():
    """Which readers of the format pass over."""
    log = KeyLog()
    log(KeysRequested(1.5, "h1", "h2", 49152))
    assert log.encode().startswith(b"# 1.500000 s: h1 asks the broker for the keys of a session with h2, ")
    assert (log.secrets, log.sessions) == (0, 1)


def test_both_hosts_of_every_handshake_hand_in_its_secrets(make_lab):
    """Each line comes twice, from client and server, and is logged once: one for each association."""
    handed, log = [], KeyLog()

    def take(line):
        handed.append(line)
        log.add(line)

    outcome = simulate(make_lab(PING, BACK, overrides="rekey_seconds: 1s"), key_log=take)
    (associations,) = {tunnel.handshakes for tunnel in outcome.tunnels}
    assert associations > 1
    assert log.secrets == associations
    assert sorted(handed) == sorted(log.encode().splitlines() * 2)


def test_the_server_random_of_each_handshake_is_beside_its_secrets(make_lab):
    """It is the one that the ServerHello had on the fabric; each is there once."""
    log, recorder = KeyLog(), TraceRecorder()
    simulate(make_lab(PING, BACK, overrides="rekey_seconds: 1s"), key_log=log.add, observer=recorder)
    lines = log.encode().decode().splitlines()
    assert [line.split()[0] for line in lines] == ["#", "CLIENT_RANDOM"] * log.secrets
    seen = [each.randoms for each in handshakes_of(recorder.events)]
    assert [(each.client_random, each.server_random) for each in parse_key_log("\n".join(lines))] == seen
