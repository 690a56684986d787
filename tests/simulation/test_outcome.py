"""What an outcome says of packets is what happened to each: in clear, sealed or dropped, whoever looks."""

from __future__ import annotations

import random

import pytest

from dtls_emu.lab import load_lab, shipped_labs
from dtls_emu.lab.schema import Overrides
from dtls_emu.nic.counters import Sent
from dtls_emu.policy import rows
from dtls_emu.simulation import Outcome, simulate
from dtls_emu.simulation.accounts import forward_mark, reverse_of
from dtls_emu.testing.present import present
from dtls_emu.testing.wire_watch import watching
from dtls_emu.vocabulary import DropReason, FirstPacket, FlowEncryption, Verdict


LOSSY = "loss: 60%, delay: 5ms"
"""One handshake in three fails: flows fall back to clear, and are encrypted again."""

STREAM = "name: s, kind: udp, from: a, to: b, count: 600, interval: 100ms, expect: {verdict: encrypt, encryption: X}"
PING = "name: p, kind: ping, from: a, to: b, count: 40, interval: 50ms, expect: {verdict: encrypt}"


def watched(lab, **options):
    """Run a lab, and compare what it says of packets in clear with what was on the fabric, item by item."""
    with watching() as watch:
        outcome = simulate(lab, **options)
    watch.check()
    seen = {mark: count for mark, count in watch.clear.items() if count}
    said = {}
    for index, item in enumerate(outcome.items):
        for mark, account in (
            (forward_mark(index), item.forward),
            (reverse_of(forward_mark(index)), item.reverse),
        ):
            said[mark] = account.sent(Sent.CLEAR)
            before_a_decision = account.offered - account.handled.total()
            assert 0 <= before_a_decision <= account.dropped.total(), item.name
    assert {mark: count for mark, count in said.items() if count} == seen
    for card in outcome.cards.values():
        assert all(card["egress"][str(how)] >= 0 for how in Sent)
    for how in (Sent.ENCRYPTED, Sent.CLEAR, Sent.LOCAL):
        told = sum(item.forward.sent(how) + item.reverse.sent(how) for item in outcome.items)
        assert told == sum(card["egress"][str(how)] for card in outcome.cards.values())
    return outcome


@pytest.mark.parametrize("name", shipped_labs())
@pytest.mark.parametrize("first_packet", FirstPacket)
def test_what_is_in_clear_on_the_fabric_is_what_the_outcome_says(name, first_packet):
    """Every shipped lab, each way to treat first packets, and seeds of chance; printed if it fails."""
    lab = load_lab(name)
    for seed in (lab.seed, random.randrange(2**32)):
        print(f"seed {seed}")
        outcome = watched(lab, seed=seed, first_packet=first_packet)
        for item, wanted in zip(outcome.items, lab.traffic, strict=True):
            if item.in_clear and present(wanted.expect).verdict is Verdict.ENCRYPT:
                assert not item.ok, item


def test_an_encrypted_flow_that_fell_back_for_a_while_is_not_called_encrypted(make_lab):
    """A flow is decided again whenever its tunnel fails or comes up; each packet counts as it was sent."""
    leaked = []
    for seed in range(24):
        print(f"seed {seed}")
        (item,) = watched(make_lab(STREAM, link=LOSSY, seed=seed)).items
        assert item.encrypted + item.in_clear == item.offered == 600
        if not item.encrypted:
            assert (item.verdict, item.encryption) == (Verdict.CLEAR, FlowEncryption.NX_FALLBACK)
            assert not item.ok
        elif item.in_clear:
            leaked.append(seed)
            assert (item.verdict, item.encryption, item.ok) == (None, None, False)
            verdict = next(check for check in item.checks if check.key == "verdict")
            assert verdict.actual == f"encrypt {item.encrypted}, clear {item.in_clear}"
            assert item.encryptions == f"X {item.encrypted}, NX_FALLBACK {item.in_clear}"
            assert item.as_dict()["verdict"] == item.as_dict()["encryption"] == "mixed"
        else:
            assert (item.verdict, item.encryption, item.ok) == (Verdict.ENCRYPT, FlowEncryption.X, True)
    assert 3 < len(leaked) < 20


def test_random_links_first_packets_and_enforcement(make_lab):
    """Pings, streams both ways and transfers with their retransmissions, over links of random badness."""
    for _ in range(12):
        seed = random.randrange(2**32)
        rng = random.Random(seed)
        link = f"loss: {rng.choice((0, 5, 40))}%, duplicate: {rng.choice((0, 10))}%, corrupt: {rng.choice((0, 5))}%"
        first_packet, enforcement = (
            rng.choice(list(FirstPacket)),
            rng.choice(("AllowUnencrypted", "DropUnencrypted")),
        )
        print(f"seed {seed}: {link}, {first_packet}, {enforcement}")
        bulk = "name: t, kind: bulk, from: b, to: a, bytes: 50kB, source_port: 7"
        rekey = rng.choice((64, 100_000)) if link.startswith("loss: 0%") else 100_000
        overrides = f"first_packet: {first_packet}, rekey_records: {rekey}"
        lab = make_lab(
            PING, STREAM, bulk, link=link, overrides=overrides, enforcement=enforcement, seed=seed % 1000
        )
        outcome = watched(lab)
        if enforcement == "DropUnencrypted":
            assert [item.in_clear for item in outcome.items] == [0, 0, 0]


def test_answers_in_clear_are_as_much_a_leak_as_questions():
    """The ping's first request and its reply are on the wire in clear while their tunnel is built."""
    outcome = simulate("two-vms", first_packet=FirstPacket.CLEAR)
    ping = outcome["ping"]
    assert (ping.encrypted, ping.in_clear) == (8, 2)
    assert (ping.forward.sent(Sent.CLEAR), ping.reverse.sent(Sent.CLEAR)) == (1, 1)
    assert [str(check) for check in ping.checks if not check.holds] == [
        "verdict: expected encrypt, got encrypt 8, clear 2",
        "encryption: expected X, got X 8, NX_FALLBACK 2",
    ]
    assert [(item, check.key) for item, check in outcome.failures] == [
        ("ping", "verdict"),
        ("ping", "encryption"),
    ]
    assert [
        (each["row"], each["name"], each["encrypted"], each["clear"]) for each in ping.as_dict()["decisions"]
    ] == [(16, "encrypted", 8, 0), (14, "tunnel being built", 0, 2)]


def test_a_refused_flow_that_is_encrypted_later_was_not_always_encrypted(make_lab):
    """Under DropUnencrypted a failed tunnel drops; what was dropped by decision is no less a part of the item."""
    mixed = [
        item
        for seed in range(20)
        for item in watched(make_lab(STREAM, link=LOSSY, enforcement="DropUnencrypted", seed=seed)).items
        if item.verdict is None
    ]
    assert mixed
    for item in mixed:
        refused = item.offered - item.encrypted
        assert item.verdicts == f"encrypt {item.encrypted}, drop {refused}"
        assert item.encryptions == f"X {item.encrypted}, NX_NOT_ACCEPTED {refused}"
        assert not item.ok


def test_a_decision_for_packets_that_were_never_sent_is_no_verdict_beside_another(make_lab):
    """More than may wait are dropped on their way out; the others in the end, because there is no tunnel."""
    stream = "name: s, kind: udp, from: a, to: b, count: 600, interval: 1ms, expect: {verdict: drop}"
    (item,) = watched(make_lab(stream, link="loss: 100%", enforcement="DropUnencrypted")).items
    assert item.dropped == {DropReason.NOT_ACCEPTED: 512, DropReason.QUEUE_FULL: 88}
    assert (item.verdicts, item.encryptions) == ("drop", "NX_NOT_ACCEPTED")
    assert item.ok


def test_each_row_of_the_decision_table_is_reached_by_a_lab(make_lab):
    """What `explain decision` prints can all be seen: in the shipped labs, or in one that changes a knob."""
    fragments = "name: f, kind: fragments, from: a, to: b, shapes: [v4-first, v6-fragment], count: 5"
    tolerant = simulate(make_lab(fragments, overrides="fragments: clear"))
    assert tolerant["f"].in_clear == tolerant["f"].delivered == 10
    strict = simulate(make_lab(fragments, overrides="fragments: clear", enforcement="DropUnencrypted"))
    assert strict["f"].dropped == {DropReason.FRAGMENT: 10}
    kinds = load_lab("mixed-sizes")

    def otherwise(**knobs: object) -> Outcome:
        return simulate(kinds.model_copy(update={"overrides": Overrides.model_validate(knobs)}))

    joined = load_lab("routes").model_copy(update={"overrides": Overrides(connected_group=Verdict.CLEAR)})
    outcomes = [
        simulate(joined),
        otherwise(
            plain_peer="drop", same_host="drop", card_missing="drop", incapable_code="NX_HW_NOT_SUPPORTED"
        ),
        tolerant,
        simulate(make_lab(PING, link="loss: 100%")),
        simulate(make_lab(PING, overrides="first_packet: clear")),
        *map(simulate, ("mixed-sizes", "jumbo-fragments", "endpoints", "security-rules")),
    ]
    reached = {each.decision.row for outcome in outcomes for item in outcome.items for each in item.handled}
    assert reached == set(rows())


def test_what_never_reaches_the_fabric_has_a_decision_too(make_lab):
    """On one host, to the internet and back from it, and packets that are too large for an encrypted flow."""
    outcome = simulate(
        make_lab(
            "name: near, kind: ping, from: a, to: c, count: 3",
            "name: far, kind: ping, from: a, to: 203.0.113.7, count: 3",
            "name: large, kind: udp, from: a, to: b, size: 8000, count: 3",
            mtu=9000,
        )
    )
    assert outcome["near"].forward.sent(Sent.LOCAL) == outcome["near"].reverse.sent(Sent.LOCAL) == 3
    assert outcome["far"].forward.sent(Sent.GATEWAY) == outcome["far"].reverse.sent(Sent.GATEWAY) == 3
    assert [(item.verdict, item.encryption) for item in outcome.items] == [
        (Verdict.CLEAR, FlowEncryption.NX_LOCAL_DST),
        (Verdict.CLEAR, FlowEncryption.NX),
        (Verdict.ENCRYPT, FlowEncryption.X),
    ]
    (large,) = outcome["large"].as_dict()["decisions"]
    assert (large["encrypted"], large["dropped"]) == (0, {"too_big": 3})
