"""Whether an item came to what its lab file expects: key by key, and nothing holds that is not so."""

from __future__ import annotations

from dtls_emu.simulation import simulate
from dtls_emu.vocabulary import DropReason


PING = "name: ping, kind: ping, from: a, to: b, count: 4, interval: 10ms"
STREAM = "name: stream, kind: udp, from: a, to: b, count: 50"
BULK = "name: bulk, kind: bulk, from: b, to: a, bytes: 200kB"


def test_expectations_are_compared_key_by_key(make_lab):
    """Each that does not hold says what was expected and what came."""
    expect = "{verdict: drop, encryption: NX, delivered: 5.., dropped: {too_big: 1}, answered: 0..3}"
    outcome = simulate(
        make_lab(f"{PING}, expect: {expect}", f"{STREAM}, expect: {{delivered: all, dropped: {{}}}}")
    )
    assert not outcome.ok
    assert outcome["stream"].ok
    assert [(item, str(check)) for item, check in outcome.failures] == [
        ("ping", "verdict: expected drop, got encrypt"),
        ("ping", "encryption: expected NX, got X"),
        ("ping", "delivered: expected 5.., got 4"),
        ("ping", "dropped.too_big: expected 1, got 0"),
        ("ping", "answered: expected 0..3, got 4"),
    ]


def test_a_reason_that_is_not_named_must_not_occur(make_lab):
    """Neither beside others nor when nothing at all is expected to be dropped."""
    jumbo = "kind: udp, from: a, to: b, size: 8000, count: 3"
    items = [
        f"name: named, {jumbo}, expect: {{dropped: {{too_big: 3}}}}",
        f"name: others, {jumbo}, expect: {{dropped: {{lost: 0..}}}}",
        f"name: nothing, {jumbo}, expect: {{dropped: {{}}}}",
    ]
    outcome = simulate(make_lab(*items, mtu=9000))
    assert [(item, str(check)) for item, check in outcome.failures] == [
        ("others", "dropped.too_big: expected 0, got 3"),
        ("nothing", "dropped: expected nothing, got too_big 3"),
    ]


def test_all_of_a_transfer_means_every_byte(make_lab):
    """However many segments were lost on the way."""
    expect = "expect: {delivered: all}"
    link = "loss: 3%, delay: 1ms"
    (arrived,) = simulate(make_lab(f"{BULK}, {expect}", link=link)).items
    assert arrived.ok
    assert arrived.delivered < arrived.offered
    (failed,) = simulate(make_lab(f"name: t, kind: bulk, from: a, to: 10.0.0.77, bytes: 1kB, {expect}")).items
    assert str(failed.checks[0]) == "delivered: expected all (1000 bytes), got 0 bytes"


def test_all_means_every_packet_where_links_make_copies(make_lab):
    """In clear copies arrive, encrypted they are replays; none makes up for a packet that was lost."""
    stream = f"{STREAM}, expect: {{delivered: all}}"
    for enabled, delivered in (("false", 100), ("true", 50)):
        (item,) = simulate(make_lab(stream, enabled=enabled, link="duplicate: 100%")).items
        assert (item.delivered, item.duplicated, item.ok) == (delivered, 50, True)
    for seed in range(100):
        (item,) = simulate(
            make_lab(stream, enabled="false", link="duplicate: 10%, loss: 10%", seed=seed)
        ).items
        if item.delivered == item.offered and item.dropped:
            break
    lost = item.dropped[DropReason.LOST]
    assert lost == item.duplicated > 0
    assert [str(check) for check in item.checks] == [
        f"delivered: expected all, got 50 of 50 and {lost} copies"
    ]
    assert not item.ok


def test_what_was_not_sent_is_not_as_expected(make_lab):
    """However little is expected of it; the reason is said. An item of which nothing is expected only has a note."""
    items = [
        "name: late, kind: udp, from: a, to: b, start: 1h, expect: {delivered: all, dropped: {}}",
        "name: cut, kind: ping, from: a, to: b, count: 10, expect: {verdict: encrypt}",
        "name: transfer, kind: bulk, from: a, to: b, bytes: 100MB, expect: {encryption: X}",
        "name: free, kind: udp, from: a, to: b, start: 1h",
    ]
    outcome = simulate(make_lab(*items, link="rate: 1Mbit/s"), deadline=2.5)
    assert [item.stopped for item in outcome.items] == [True] * 4
    assert [item.ok for item in outcome.items] == [False, False, False, True]
    assert [(item, check.key) for item, check in outcome.failures] == [
        ("late", "sent"),
        ("cut", "sent"),
        ("transfer", "sent"),
    ]
    sent = [str(check) for _, check in outcome.failures]
    assert sent[0] == "sent: expected all, got stopped after 2.5s: 0 of 100 packets were sent"
    assert sent[1] == "sent: expected all, got stopped after 2.5s: 3 of 10 packets were sent"
    assert sent[2].endswith("of 100,000,000 bytes were acknowledged")
    assert outcome["free"].note == "stopped after 2.5s: 0 of 100 packets were sent"
