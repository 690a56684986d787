"""Whole runs: the shipped labs, the invariants that each run must keep, and what a run reports."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import numpy as np
import pytest

from dtls_emu.assembly.cards import build_cards
from dtls_emu.capture.datagrams import Datagrams
from dtls_emu.capture.traces import WireTrace
from dtls_emu.events import Offered, Sent
from dtls_emu.fabric.simulated import SimulatedFabric
from dtls_emu.lab import load_lab, shipped_labs
from dtls_emu.lab.loader import EXAMPLES, parse_lab
from dtls_emu.nic.card import Card
from dtls_emu.nic.effects import Deliver
from dtls_emu.simulation import simulate
from dtls_emu.simulation.accounts import AccountingError
from dtls_emu.simulation.guests.guest import Guest
from dtls_emu.simulation.guests.tcp import TcpReceiver
from dtls_emu.testing.present import present
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.vocabulary import DropReason, Enforcement, FirstPacket, FlowEncryption, Verdict
from dtls_emu.wire.parse import parse_packet_untrusted


VXLAN_FLAGS = 0x08
"""The first byte of a clear datagram; a record begins with 0x14 or more."""

LABS = shipped_labs()
PING = "name: ping, kind: ping, from: a, to: b, count: 4, interval: 10ms"
STREAM = "name: stream, kind: udp, from: a, to: b, count: 50"
BACK = "name: back, kind: udp, from: b, to: a, count: 50"
BULK = "name: bulk, kind: bulk, from: b, to: a, bytes: 200kB"


# ------------------------------------------------------------------------------------------ the shipped labs


class Eavesdropper:
    """Keeps what guests send, and every datagram that is put on the fabric.

    Fields:
        packets: mark and bytes of every packet that a guest hands to its card.
        datagrams: in the order in which they were sent.
        trace: of the fabric.
    """

    SEARCHED = 16
    """Bytes of payload that cannot be there by chance."""

    wants_bytes = True

    def __init__(self):
        self.packets: list[Any] = []
        self.datagrams = []
        self.trace = WireTrace()

    def __call__(self, event):
        self.trace(event)
        if isinstance(event, Sent):
            self.datagrams.append(event.payload)
        elif isinstance(event, Offered) and event.vm:
            self.packets += [(event.mark, packet) for packet in event.packets]

    @property
    def clear(self):
        """The datagrams that are no record."""
        return [payload for payload in self.datagrams if payload[0] == VXLAN_FLAGS]

    def payloads(self, outcome, verdict):
        """Payloads long enough for a search, of the items with a verdict and of what came back because of them."""
        for mark, packet in self.packets:
            parsed = parse_packet_untrusted(packet)
            payload = b"" if parsed is None else bytes(parsed.transport[20:])  # behind every transport header
            if outcome.items[mark // 2 - 1].verdict is verdict and len(payload) >= self.SEARCHED:
                yield payload

    def found(self, payloads, step=256):
        """Pieces of payloads that are in a datagram; they are taken all along each payload."""
        pieces = [
            payload[at : at + self.SEARCHED]
            for payload in payloads
            for at in range(0, len(payload) - self.SEARCHED + 1, step)
        ]
        # Beginnings of pieces are looked up among all of the fabric's 8-byte words; few of them are left to search.
        everything = b"|".join(self.datagrams)
        words = np.lib.stride_tricks.sliding_window_view(np.frombuffer(everything, np.uint8), 8)
        beginnings = np.frombuffer(b"".join(piece[:8] for piece in pieces), np.uint64)
        words = np.sort(np.ascontiguousarray(words).view(np.uint64).ravel())
        seen = words[np.minimum(np.searchsorted(words, beginnings), len(words) - 1)] == beginnings
        return [piece for piece, maybe in zip(pieces, seen, strict=True) if maybe and piece in everything]


@pytest.fixture
def eavesdropper():
    return Eavesdropper()


@pytest.fixture(scope="module")
def runs():
    """Every shipped lab, run twice: the outcome, and what an eavesdropper kept."""
    done: dict[str, list[Any]] = {}
    for name in LABS:
        done[name] = []
        for _ in range(2):
            eavesdropper = Eavesdropper()
            done[name].append((simulate(name, observer=eavesdropper), eavesdropper))
    return done


@pytest.mark.parametrize("name", LABS)
def test_a_shipped_lab_comes_out_as_it_expects(runs, name):
    """Every `expect` holds, and every item has one."""
    outcome, _ = runs[name][0]
    assert [f"{item}: {check}" for item, check in outcome.failures] == []
    assert outcome.ok
    assert all(item.checks for item in outcome.items)


@pytest.mark.parametrize("name", LABS)
def test_same_lab_same_seed_same_trace(runs, name):
    """Invariant 7: byte for byte but for keys and nonces; and the same outcome."""
    (first, heard), (second, heard_again) = runs[name]
    assert heard.trace.lines == heard_again.trace.lines
    assert heard.trace.lines
    assert [item.as_dict() for item in first.items] == [item.as_dict() for item in second.items]
    assert (first.fabric, first.duration) == (second.fabric, second.duration)


def test_a_damaged_handshake_fails_alike_every_time(make_lab):
    """Invariant 7 where keys and signatures vary: whatever is flipped has the same effect in each run."""
    for seed in range(60):
        lab = make_lab(PING, link="corrupt: 40%, delay: 5ms", seed=seed)
        print(f"seed {seed}")
        traces = [WireTrace(), WireTrace()]
        first, second = (simulate(lab, observer=trace).as_dict() for trace in traces)
        assert first == second
        assert traces[0].lines == traces[1].lines


def test_another_seed_is_another_trace(runs):
    """What is lost, when, and what is in the packets."""
    trace = WireTrace()
    outcome = simulate("lossy", seed=8, observer=trace)
    assert trace.lines != runs["lossy"][0][1].trace.lines
    assert outcome.seed == 8


# --------------------------------------------------------------------------- invariant 1: nothing in clear


@pytest.mark.parametrize("name", LABS)
def test_no_payload_of_an_encrypted_flow_is_on_the_fabric(runs, name):
    """Every payload that guests of the shipped labs sent for an ENCRYPT flow is looked for."""
    outcome, heard = runs[name][0]
    payloads = list(heard.payloads(outcome, Verdict.ENCRYPT))
    assert payloads
    assert heard.found(payloads) == []


@pytest.mark.parametrize("name", LABS)
def test_nothing_is_in_clear_between_networks_that_drop_unencrypted(runs, name):
    """Every clear datagram is parsed: both its ends are VMs of encrypted networks only if both allow it. What is no VM,
    or is behind a gateway, is reached in clear (row 6).
    """
    lab = load_lab(name)
    _, heard = runs[name][0]
    network_of = {
        str(address): lab.virtual_networks[vm.virtual_network]
        for vm in lab.vms.values()
        for address in (vm.address, vm.address_v6)
    }
    others = 0
    for datagram in heard.clear:
        addresses = datagram[34:42] if datagram[22] >> 4 == 4 else datagram[30:62]
        half = len(addresses) // 2
        ends = [network_of.get(str(ip_address(each))) for each in (addresses[:half], addresses[half:])]
        others += None in ends
        networks = [end.encryption for end in ends if end is not None]
        if len(networks) == 2 and all(network.enabled for network in networks):
            assert {network.enforcement for network in networks} == {Enforcement.ALLOW_UNENCRYPTED}
    assert bool(others) is (name in {"endpoints", "routes"})
    if name in {"mixed-sizes", "jumbo-fragments"}:
        assert heard.clear


@pytest.mark.parametrize(
    "link", ["", "loss: 5%, corrupt: 5%, reorder: 10%, duplicate: 5%"], ids=["clean", "bad"]
)
def test_encrypted_traffic_of_every_kind_leaves_nothing_in_clear(make_lab, eavesdropper, link):
    """Waiting packets, retransmissions and fragments included."""
    fragments = "name: f, kind: fragments, from: a, to: b, shapes: [v4-first, v6-fragment]"
    lab = make_lab(f"{PING}, size: 500", STREAM, BULK, fragments, link=link, enforcement="DropUnencrypted")
    outcome = simulate(lab, observer=eavesdropper)
    assert eavesdropper.clear == []
    assert eavesdropper.found(eavesdropper.payloads(outcome, Verdict.ENCRYPT)) == []


def test_the_eavesdropper_would_notice(make_lab, eavesdropper):
    """The same search over the same traffic without encryption finds every payload."""
    outcome = simulate(make_lab(f"{PING}, size: 500", STREAM, BULK, enabled="false"), observer=eavesdropper)
    assert eavesdropper.clear == eavesdropper.datagrams
    payloads = list(eavesdropper.payloads(outcome, Verdict.CLEAR))
    assert len(payloads) > 150
    assert set(eavesdropper.found(payloads, step=10_000)) == {payload[:16] for payload in payloads}


@pytest.mark.parametrize("enforcement", ["AllowUnencrypted", "DropUnencrypted"])
def test_clear_first_packets_never_cross_a_network_that_drops_unencrypted(make_lab, enforcement):
    """`first_packet: clear` sends in clear until the tunnel is up; where unencrypted is dropped, they wait."""
    datagrams = Datagrams()
    lab = make_lab(PING, enforcement=enforcement, overrides="first_packet: clear", link="delay: 5ms")
    (item,) = simulate(lab, observer=datagrams).items
    clear = [payload for payload in datagrams.payloads if payload[0] == VXLAN_FLAGS]
    assert bool(clear) is (enforcement == "AllowUnencrypted")
    assert (item.delivered, item.answered) == (4, 4)


# ------------------------------------------------------------------------ invariant 4: everything is accounted


@pytest.mark.parametrize("seed", range(12))
def test_every_packet_is_accounted_for_whatever_the_links_do(make_lab, seed):
    """Links of random badness, the handshake's included: no run ends with an AccountingError."""
    rng = random.Random(seed)
    link = ", ".join(
        f"{what}: {rng.choice((0, 1, 5, 20))}%" for what in ("loss", "duplicate", "reorder", "corrupt")
    )
    link += f", jitter: {rng.choice((0, 1))}ms, rate: {rng.choice((0, 20))}Mbit/s".replace(
        " 0ms", " 0"
    ).replace(" 0Mbit/s", " 0")
    enabled = rng.choice(("true", "true", "false"))
    print(f"seed {seed}: {link}, encryption {enabled}")
    first_packet = rng.choice(tuple(FirstPacket))
    lab = make_lab(PING, STREAM, BACK, BULK, link=link, enabled=enabled, seed=seed)
    outcome = simulate(lab, first_packet=first_packet)
    for item in outcome.items:
        for account in (item.forward, item.reverse):
            assert account.offered + account.duplicated == account.delivered + account.dropped.total()
    assert outcome.fabric.in_flight == 0
    assert outcome["bulk"].payload_bytes == 200_000 or outcome["bulk"].note


def test_records_that_overtake_the_finished_keep_their_mark(make_lab):
    """Both ends send from the start over a very bad link: early, kept and refused records are all accounted for."""
    link = "loss: 20%, duplicate: 10%, reorder: 20%, corrupt: 5%"
    for seed in (2, 3, 7, 8):
        print(f"seed {seed}")
        outcome = simulate(make_lab(PING, STREAM, BACK, link=link, seed=seed))
        assert all(item.forward.unaccounted == item.reverse.unaccounted == 0 for item in outcome.items)


def test_every_record_corrupted(make_lab):
    """Nothing is delivered, and nobody notices anything but a dropped packet."""

    def spoil(topology):
        host_1, host_2 = topology.hosts
        return replace(topology.link(host_1, host_2), corrupt=1.0)

    original = SimulatedFabric.transmit

    def transmit(fabric, host, effect):  # once the handshake is over
        if effect.burst.buffer[effect.burst.offset] == 0x17:
            fabric.reconfigure(spoil(fabric._topology))
        original(fabric, host, effect)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimulatedFabric, "transmit", transmit)
        (item,) = simulate(make_lab("name: stream, kind: udp, from: a, to: b, count: 300")).items
    assert (item.offered, item.delivered) == (300, 0)
    assert item.dropped[DropReason.AUTH_FAILED] > 250
    assert sum(item.dropped.values()) == 300


def test_corruption_in_clear_reaches_the_vm_and_is_shown(make_lab):
    """Without a record's tag only the guest's own checksum finds it; a header may go wrong, too."""
    stream = "name: stream, kind: udp, from: a, to: b, count: 300"
    (item,) = simulate(make_lab(stream, enabled="false", link="corrupt: 100%")).items
    assert item.forward.damaged > 250
    assert item.delivered + sum(item.dropped.values()) == 300


@pytest.mark.parametrize(
    ("link", "delivered"),
    [("rate: 9600bit/s", 1000), ("delay: 11min", 1000), ("rate: 1bit/s", 994)],
)
def test_a_run_ends_when_the_slowest_link_has_delivered(make_lab, link, delivered):
    """Minutes and months after the last packet was sent; where no handshake gets through in time, in clear."""
    stream = "name: s, kind: udp, from: a, to: b, count: 1000, start: 30s"
    first = "name: first, kind: ping, from: a, to: b, count: 1"
    item = simulate(make_lab(first, stream, link=link, overrides="waiting_packets: 511"))["s"]
    assert item.delivered == delivered
    assert item.offered == item.delivered + sum(item.dropped.values())


def test_answers_over_slow_links_are_waited_for(make_lab):
    """Each way takes 11 minutes, after the last request was sent."""
    ping = "name: p, kind: ping, from: a, to: b, count: 3"
    outcome = simulate(make_lab(ping, enabled="false", link="delay: 11min"))
    assert (outcome["p"].answered, outcome["p"].round_trips.maximum) == (3, 1320.0)
    assert outcome.duration == 1322.0


def test_packets_that_still_wait_for_a_tunnel_void_the_run(make_lab, monkeypatch):
    """And not as lost ones: where they are is said."""
    monkeypatch.setattr(Card, "_finish", lambda _card, effects, _now: effects)
    with pytest.raises(AccountingError, match="packets still wait for a tunnel on card h1: 1;"):
        simulate(make_lab(PING))


def _break(monkeypatch, owner, name, wrong):
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda self, *args, **kwargs: wrong(original, self, *args, **kwargs))


def _lose_a_delivery(original, card, *args):
    return [effect for effect in original(card, *args) if not isinstance(effect, Deliver)]


def _deliver_twice(original, card, *args):
    effects = original(card, *args)
    return effects + [effect for effect in effects if isinstance(effect, Deliver)]


def _forget_the_mark(original, card, *args):
    effects = original(card, *args)
    for effect in effects:
        if isinstance(effect, Deliver):
            effect.burst.mark = 0
    return effects


@pytest.mark.parametrize("fault", [_lose_a_delivery, _deliver_twice, _forget_the_mark])
def test_a_run_whose_books_do_not_balance_is_void(make_lab, monkeypatch, fault):
    """A card that loses, multiplies or confuses packets without saying so is found out."""
    _break(monkeypatch, Card, "from_fabric", fault)
    with pytest.raises(AccountingError, match=r"traffic item stream, its packets: .* unaccounted for"):
        simulate(make_lab(STREAM))


def test_a_card_or_fabric_whose_own_books_do_not_balance_voids_the_run(make_lab, monkeypatch):
    """Whatever the items' accounts say."""
    monkeypatch.setattr(Card, "balanced", property(lambda card: card.host != "h2"))
    with pytest.raises(AccountingError, match="the books of card h2 do not balance"):
        simulate(make_lab(PING))
    monkeypatch.undo()
    statistics = SimulatedFabric.statistics
    monkeypatch.setattr(
        SimulatedFabric, "statistics", lambda fabric: replace(statistics(fabric), delivered=1_000_000)
    )
    with pytest.raises(AccountingError, match="the books of the fabric do not balance"):
        simulate(make_lab(PING))


def test_a_transfer_that_arrives_altered_voids_the_run(make_lab, monkeypatch):
    """Every byte is compared, by digest."""
    monkeypatch.setattr(TcpReceiver, "digest", lambda _: bytes(32))
    with pytest.raises(AccountingError, match="bulk: the bytes that arrived are not those that were sent"):
        simulate(make_lab(BULK))


# ------------------------------------------------------------------------------------------ tunnels and paths


@pytest.mark.parametrize(
    ("enforcement", "verdict", "encryption"),
    [
        ("AllowUnencrypted", Verdict.CLEAR, FlowEncryption.NX_FALLBACK),
        ("DropUnencrypted", Verdict.DROP, FlowEncryption.NX_NOT_ACCEPTED),
    ],
)
def test_a_tunnel_that_does_not_come_up(make_lab, monkeypatch, enforcement, verdict, encryption):
    """Handshakes are lost: after 15 s waiting packets fall back to clear, or are dropped; the tunnel says why."""
    original = SimulatedFabric.transmit

    def lose_handshakes(fabric, host, effect):
        if effect.burst.buffer[effect.burst.offset] != 0x16:
            original(fabric, host, effect)

    monkeypatch.setattr(SimulatedFabric, "transmit", lose_handshakes)
    outcome = simulate(make_lab(PING, enforcement=enforcement))
    (item,) = outcome.items
    assert (item.verdict, item.encryption) == (verdict, encryption)
    assert item.delivered == (4 if verdict is Verdict.CLEAR else 0)
    (tunnel,) = [each for each in outcome.tunnels if each.host == "h1"]
    assert (tunnel.state, tunnel.handshakes) == (TunnelState.BACKING_OFF, 0)
    assert tunnel.failure.startswith("no answer within 15 s")


def test_dropped_first_packets_are_counted_as_such(make_lab):
    """Until the tunnel is up, and no longer."""
    lab = make_lab(STREAM, link="delay: 5ms")
    (item,) = simulate(lab, first_packet=FirstPacket.DROP).items
    assert item.dropped == {DropReason.FIRST_PACKET: 30}
    assert item.delivered == 20


@pytest.mark.parametrize(("underlay", "mtu"), [("192.0.2.{}", 284), ("2001:db8::{}", 304)])
def test_the_smallest_link_carries_a_handshake(underlay, mtu):
    """And packets that fit; a lab file cannot have a smaller one."""
    hosts = "".join(
        f"  h{n}: {{underlay: '{underlay.format(n)}', smartnic: {{backend: cryptography}}}}\n" for n in (1, 2)
    )
    lab = parse_lab(
        f"""
virtual_networks: {{prod: {{address_prefixes: [10.0.0.0/24], vni: 5001, encryption: {{enabled: true}}}}}}
hosts:
{hosts}
vms:
  a: {{host: h1, virtual_network: prod, address: 10.0.0.4}}
  b: {{host: h2, virtual_network: prod, address: 10.0.0.5}}
link_defaults: {{mtu: {mtu}}}
traffic: [{{{PING}, size: 100}}]
""",
        "smallest.yaml",
    )
    outcome = simulate(lab)
    assert [item.delivered for item in outcome.items] == [4]
    assert {tunnel.state for tunnel in outcome.tunnels} == {"up"}


def test_a_path_mtu_is_learnt_by_whom_it_concerns(make_lab):
    """1500 - 87 = 1413: the jumbo stream is told, a transfer goes on with less, the small stream hears nothing."""
    outcome = simulate(
        make_lab(
            "name: jumbo, kind: udp, from: a, to: b, size: 8000, count: 3",
            "name: small, kind: udp, from: a, to: b, size: 1000, count: 3",
            "name: reply, kind: ping, from: a, to: b, size: 1413, count: 2",
            BULK,
            mtu=9000,
            link="mtu: 1500",
        )
    )
    assert [item.path_mtu for item in outcome.items] == [1413, None, None, 1413]
    assert outcome["jumbo"].dropped == {DropReason.TOO_BIG: 3}
    assert outcome["bulk"].payload_bytes == 200_000
    assert set(outcome["bulk"].dropped) == {DropReason.TOO_BIG}


def test_a_transfer_over_too_small_a_path_that_does_not_say_so_fails(make_lab):
    """The black hole of RFC 2923: without ICMP a sender never learns, and gives up."""
    lab = make_lab(BULK, mtu=9000, link="mtu: 1500", overrides="icmp_too_big: false")
    (item,) = simulate(lab).items
    assert (item.payload_bytes, item.path_mtu) == (0, None)
    assert item.note == "no answer after 8 retransmissions"


def test_tunnels_say_cipher_backend_and_why(make_lab):
    """Both ends that were used, and no end that was not."""
    outcome = simulate(make_lab(PING))
    assert [(tunnel.host, tunnel.peer, tunnel.state) for tunnel in outcome.tunnels] == [
        ("h1", "h2", "up"),
        ("h2", "h1", "up"),
    ]
    for tunnel in outcome.tunnels:
        assert tunnel.cipher == "ECDHE-ECDSA-AES256-GCM-SHA384"
        assert (tunnel.backend, tunnel.backend_reason) == ("cryptography", "as the lab says")
        assert tunnel.protects
    assert simulate(make_lab(PING, enabled="false")).tunnels == ()


@pytest.mark.parametrize("delay", ["50us", "20ms"])
@pytest.mark.parametrize("records", [16, 40, 64])
def test_packets_that_wait_for_the_next_keys_all_leave(make_lab, records, delay):
    """Keys that wear out within a burst or two, at both ends: what does not fit waits, and nothing waits forever."""
    lab = make_lab(BULK, STREAM, BACK, overrides=f"rekey_records: {records}", link=f"delay: {delay}")
    outcome = simulate(lab)
    assert [(item.delivered, item.dropped) for item in outcome.items] == [
        (item.offered, {}) for item in outcome.items
    ]
    assert all(tunnel.handshakes > 2 for tunnel in outcome.tunnels)


def test_keys_are_overwritten_at_the_end_of_a_run(make_lab, monkeypatch):
    """No association outlives its run."""
    made = []

    def build(*arguments, **options):
        made.append(build_cards(*arguments, **options))
        return made[-1]

    monkeypatch.setattr("dtls_emu.simulation.cloud.build_cards", build)
    simulate(make_lab(PING))
    (cards,) = made
    assert all(not list(tunnel.associations) for card in cards.values() for tunnel in card.tunnels.values())


def test_vms_of_one_host_need_no_tunnel_and_no_time(make_lab):
    """Delivered at once, in clear, on the card; nothing is on the fabric."""
    outcome = simulate(make_lab("name: p, kind: ping, from: a, to: c, count: 3"))
    assert outcome["p"].round_trips.maximum == 0
    assert (outcome["p"].encryption, outcome.fabric.offered) == (FlowEncryption.NX_LOCAL_DST, 0)


# ------------------------------------------------------------------------------------------------- the report


def test_a_lab_is_taken_by_name_by_path_or_loaded():
    """As the README shows it: items with name, verdict and delivered."""
    outcome = simulate(load_lab("two-vms"))
    by_path = simulate(EXAMPLES / "two-vms.yaml")
    assert [(item.name, item.verdict, item.delivered) for item in outcome.items][:2] == [
        ("ping", Verdict.ENCRYPT, 5),
        ("ping-v6", Verdict.ENCRYPT, 5),
    ]
    assert [item.as_dict() for item in by_path.items] == [item.as_dict() for item in outcome.items]


def test_an_outcome_reads_well(make_lab):
    """In a notebook: a line for the run, and one for each item."""
    outcome = simulate(make_lab(PING, f"{STREAM}, expect: {{delivered: 0}}"))
    assert repr(outcome).splitlines() == [
        "Outcome(test: 2 items, 0.049 s of virtual time, 1 of its expectations not met)",
        "  ItemOutcome(ping: encrypt, X, offered 4, duplicated 0, delivered 4, dropped nothing)",
        "  ItemOutcome(stream: encrypt, X, offered 50, duplicated 0, delivered 50, dropped nothing)",
    ]
    with pytest.raises(KeyError):
        outcome["nobody"]


def test_an_outcome_is_json(runs):
    """Every figure of the table and more, in JSON types."""
    outcome, _ = runs["lossy"][0]
    document = json.loads(json.dumps(outcome.as_dict()))
    stream = next(item for item in document["items"] if item["name"] == "stream")
    assert (stream["verdict"], stream["encryption"]) == ("encrypt", "X")
    assert stream["offered"] + stream["duplicated"] == stream["delivered"] + sum(stream["dropped"].values())
    (decision,) = stream["decisions"]
    assert [decision[key] for key in ("verdict", "encryption", "row", "name")] == [
        "encrypt",
        "X",
        16,
        "encrypted",
    ]
    assert decision["encrypted"] == stream["encrypted"] == stream["offered"]
    assert decision["clear"] == stream["clear"] == 0
    assert document["cards"]["host-1"]["egress"]["offered"] > 2000
    assert document["fabric"]["in_flight"] == 0
    assert document["ok"] is True


def test_progress_ends_with_done(make_lab):
    """Told in steps that only grow."""
    told = []
    simulate(make_lab(STREAM.replace("50", "2000"), BULK), progress=lambda *step: told.append(step))
    done = [step for step, _, _ in told]
    assert done == sorted(done)
    assert len(told) > 2
    assert told[-1][:2] == (1000, 1000)
    assert told[-1][2].endswith(": done")


def test_a_guest_is_handed_only_what_is_its_own(make_lab, monkeypatch):
    """Every packet that reaches a guest has one of its addresses."""
    seen: list[tuple[Guest, Any]] = []
    receive = Guest.receive

    def watch(guest, burst, now, **about):
        seen.extend(
            (guest, present(parse_packet_untrusted(row.tobytes())).destination) for row in burst.rows()
        )
        return receive(guest, burst, now, **about)

    monkeypatch.setattr(Guest, "receive", watch)
    simulate(make_lab(PING, STREAM, BACK, BULK, "name: local, kind: ping, from: a, to: c"))
    assert len(seen) > 200
    assert all(destination in present(guest._addresses) for guest, destination in seen)
