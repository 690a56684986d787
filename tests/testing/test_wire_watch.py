"""The watch over the wire is silent over what is right, and notices each thing that it is there to notice."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from dtls_emu.crypto.backend import Established
from dtls_emu.crypto.registry import load
from dtls_emu.fabric.simulated import SimulatedFabric
from dtls_emu.lab import shipped_labs
from dtls_emu.nic import egress
from dtls_emu.nic.card import Engine
from dtls_emu.nic.effects import Transmit
from dtls_emu.nic.offload import datapath, paths
from dtls_emu.simulation.accounts import AccountingError
from dtls_emu.simulation.simulation import simulate
from dtls_emu.testing.pair import Pair
from dtls_emu.testing.wire import Wire, make_topology
from dtls_emu.testing.wire_watch import watching
from dtls_emu.tunnel import handshake
from dtls_emu.tunnel.association import Association
from dtls_emu.tunnel.session_keys import SESSION_KEY_BYTES, SessionKeys
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.vocabulary import Enforcement, FirstPacket, Keying, Verdict
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.packet import udp_packet
from dtls_emu.wire.vxlan import VXLAN_PORT


A, B, C = "10.0.0.4", "10.0.0.6", "10.0.0.7"
TEXT = b"a few words that nobody on the fabric may read"


def udp(payload=TEXT, destination=B, **options):
    return udp_packet(A, destination, 40_000, 9, payload, **options)


@pytest.fixture
def watch():
    """A watch whose findings are the test's business."""
    with watching() as watch:
        yield watch


def found(watch):
    """What the watch objects to, without who and where."""
    with pytest.raises(AssertionError):
        watch.check()
    return {violation.split(": ", 1)[1] for violation in watch.violations}


# What is right


@pytest.mark.parametrize("lab", shipped_labs())
def test_every_shipped_lab_keeps_both_promises(lab):
    """And the watch has seen that there was something to keep them about."""
    with watching() as watch:
        simulate(lab)
    watch.check()
    assert watch.packets > 0
    assert watch.records > 0


def test_a_session_with_everything_in_it_uses_no_nonce_twice(watch):
    """Lost final flights, rekeys in both directions, a restart on the same ports, goodbyes."""
    lost = {("beta", 2), ("alpha", 7)}
    pair = Pair(fate=lambda who, n, data: [] if (who, n) in lost else [(0.001, data)])
    for tunnel in (pair.client, pair.server, Pair().client):
        pair._tunnels["alpha" if tunnel is not pair.server else "beta"] = tunnel
        pair.connect("alpha" if tunnel is not pair.server else "beta")
        pair.run(until=pair.now + 10)
        for name in ("alpha", "beta"):
            pair.send(name, TEXT, TEXT)
        pair.rekey("alpha" if tunnel is not pair.server else "beta")
        pair.run(until=pair.now + 40)
        pair.send("alpha", TEXT)
    pair.close("alpha")
    pair.run(until=pair.now + 10)
    watch.check()
    assert watch.records > 20
    assert len(watch.nonces) > 8


def test_a_brokers_keys_are_known_to_it(watch):
    """Their records verify like those of a handshake."""
    pair = Pair(settings=TunnelSettings(keying=Keying.BROKER))
    material = Random(1).randbytes(SESSION_KEY_BYTES)
    pair.connect()
    (port,) = pair.key_requests["alpha"]
    for name in ("beta", "alpha"):
        pair.install(name, SessionKeys("alpha", port, bytearray(material)))
    pair.send("alpha", TEXT)
    pair.run(until=100.0)
    watch.check()
    assert watch.records > 1


@pytest.mark.parametrize("size_capable", [True, False])
def test_falling_back_to_clear_is_fine_where_the_lab_allows_it(watch, size_capable):
    """While the tunnel is being built, after it failed, and for VMs that cannot encrypt."""
    wire = Wire(
        make_topology(first_packet=FirstPacket.CLEAR, vms={"b": {"size_capable": size_capable}}), cut=True
    )
    wire.send("a", udp())
    wire.wait(40.0)
    wire.send("a", udp())
    assert {destination[1] for *_, destination, _ in wire.datagrams} >= {VXLAN_PORT}
    watch.check()


def test_a_backend_that_does_not_protect_is_left_alone(watch):
    """What `null` sends is in clear, and says so."""
    wire = Wire(make_topology(), engines={name: Engine(load("null"), "") for name in ("h1", "h2", "h3")})
    wire.send("a", udp())
    assert wire.delivered == {"b": [udp()]}
    assert any(TEXT in datagram for *_, datagram in wire.datagrams)
    watch.check()


def test_bytes_that_say_nothing_are_no_leak(watch):
    """Runs of zeros are in every record header."""
    pair = Pair()
    pair.connect()
    pair.run(until=1.0)
    pair.send("alpha", bytes(1000), bytes(1000))
    watch.check()
    assert watch.violations == []


# What is wrong


def test_it_notices_an_encrypted_flow_in_clear(watch, monkeypatch):
    """The card sends VXLAN over UDP although the tunnel is up."""
    wire = Wire(make_topology())
    wire.send("a", udp())
    watch.check()
    monkeypatch.setattr(datapath, "path_to", lambda peer, **_: paths.path_to(peer, sealed=False))
    wire.cards["h1"].revalidate()
    wire.send("a", udp())
    assert wire.delivered == {"b": [udp(), udp()]}
    assert found(watch) == {f"a to {B}, an encrypted flow"}


def test_it_notices_clear_where_nothing_may_be(watch, monkeypatch):
    """DropUnencrypted forbids what would be a fallback: also for a flow that the policy drops."""
    monkeypatch.setattr(egress, "while_building", lambda _facts, _profile: FirstPacket.CLEAR)
    wire = Wire(make_topology(enforcement=Enforcement.DROP_UNENCRYPTED), cut=True)
    wire.send("a", udp())
    assert found(watch) == {f"a to {B}, an encrypted flow under DropUnencrypted"}
    watch.violations.clear()

    wire = Wire(
        make_topology(enforcement=Enforcement.DROP_UNENCRYPTED, vms={"b": {"size_capable": False}}), cut=True
    )
    _install_clear(wire, monkeypatch)
    wire.send("a", udp())
    assert found(watch) == {f"a to {B}, a flow that is dropped"}


def _install_clear(wire, monkeypatch):
    """Let the card decide wrongly: everything goes in clear."""
    card = wire.cards["h1"]
    real = card._slow_path.decide_egress

    def decide(vm, key, now):
        flow = real(vm, key, now)
        return replace(flow, decision=replace(flow.decision, verdict=Verdict.CLEAR, reason=None))

    monkeypatch.setattr(card._slow_path, "decide_egress", decide)


def test_it_notices_a_record_that_is_not_sealed(watch, monkeypatch):
    """A header, a nonce and the packet as it is."""
    pair = _up(monkeypatch, lambda data: data[:21] + TEXT + bytes(len(data) - 21 - len(TEXT)))
    pair.send("alpha", TEXT)
    assert found(watch) == {
        "8 bytes and more of a packet in clear",
        "a protected record that none of our keys opens",
    }


@pytest.mark.parametrize("start", range(0, len(TEXT) - 15, 3))
def test_it_notices_sixteen_bytes_of_a_packet_anywhere_in_a_record(watch, monkeypatch, start):
    """Whichever they are, and wherever they are."""
    leak = TEXT[start : start + 16]
    pair = _up(monkeypatch, lambda data: data[: 30 + start] + leak + data[46 + start :])
    pair.send("alpha", TEXT, TEXT)
    assert "8 bytes and more of a packet in clear" in found(watch)


def test_it_notices_a_packet_behind_a_record(watch, monkeypatch):
    """In the bytes of a datagram that belong to no record, too."""
    pair = _up(monkeypatch, lambda data: data + TEXT)
    pair.send("alpha", TEXT)
    assert found(watch) == {"8 bytes and more of a packet in clear"}


def test_it_notices_memory_that_was_used_again(watch):
    """An edge that keeps an effect's burst until the card has been called again sends another packet's bytes."""
    wire = Wire(make_topology(encrypted=False))
    first = wire.cards["h1"].from_guest("a", Burst.from_packets([udp(identification=1)]), 0.0)
    second = wire.cards["h1"].from_guest("a", Burst.from_packets([udp(TEXT[::-1])]), 0.0)
    wire.carry_out("h1", first)
    wire.carry_out("h1", second)
    assert wire.delivered["b"] == [udp(TEXT[::-1])] * 2
    assert found(watch) == {"a datagram in clear that no card has asked for"}


def test_it_notices_a_nonce_that_is_used_twice(watch, monkeypatch):
    """A sealer that does not count."""
    real = Association.seal

    def seal(association, burst):
        before = association.next_sequence
        real(association, burst)
        association.next_sequence = before

    monkeypatch.setattr(Association, "seal", seal)
    pair = _up()
    pair.send("alpha", TEXT)
    pair.send("alpha", TEXT[::-1])
    assert {each.split()[0] for each in found(watch)} == {"nonce", "record"}


def test_it_notices_a_record_that_is_sent_twice(watch):
    """Not by a link, which may duplicate; by its sender."""
    pair = _up()
    pair.send("alpha", TEXT)
    _, sender, local, remote, datagram = pair.wire[-1]
    pair.pass_on(sender, local, remote, datagram)
    assert {each.split()[0] for each in found(watch)} == {"nonce", "record"}


def test_it_notices_a_second_issuer_of_numbers(watch, monkeypatch):
    """A hand-over that starts at a constant, after OpenSSL's own Finished has used that number."""
    monkeypatch.setattr(
        handshake, "Established", lambda *keys, **rest: Established(*keys, **rest | {"next_sequence": 0})
    )
    _up()
    assert {each.split()[0] for each in found(watch)} == {"record"}


def test_it_notices_on_a_simulated_fabric_too(watch, monkeypatch):
    """A tap sees what the card's surroundings make of its effects."""
    real = SimulatedFabric.transmit

    def transmit(fabric, host, effect):
        if effect.destination[1] != VXLAN_PORT and effect.burst.size > 100:
            real(fabric, host, Transmit(effect.burst, effect.source_port, effect.destination))
        real(fabric, host, effect)

    monkeypatch.setattr(SimulatedFabric, "transmit", transmit)
    with pytest.raises(AccountingError):  # it is noticed there as well, as packets that are dropped twice
        simulate("two-vms")
    assert {each.split()[0] for each in found(watch)} == {"nonce", "record"}


def _up(monkeypatch=None, tamper=None):
    """A pair that has shaken hands; from then on what alpha sends is tampered with before it is on the wire."""
    pair = Pair()
    pair.connect()
    pair.run(until=1.0)
    if tamper is not None:
        real = Burst.rows

        def rows(burst):
            return (np.frombuffer(tamper(row.tobytes()), np.uint8) for row in real(burst))

        monkeypatch.setattr(Burst, "rows", rows)
    return pair
