"""A capture of hosts that are up: whatever their batches are, the same packets in the order of their times."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from dtls_emu.capture.live import HELD, LiveCapture
from dtls_emu.capture.pcapng import parse_pcapng
from dtls_emu.capture.views import capture_trace
from dtls_emu.lab import load_lab


EPOCH_NS = 1_700_000_000_123_456_789


def as_told(trace, seed):
    """Batches of each host as they come in, each with the time of its arrival; hosts number packets by themselves."""
    rng = Random(seed)
    told: defaultdict[str, list[Any]] = defaultdict(list)
    numbers: defaultdict[str, dict[tuple[str, int], int]] = defaultdict(dict)
    for event in trace.events:
        if event.host:
            mine = numbers[event.host]
            changes = {
                name: mine.setdefault((name, getattr(event, name)), len(mine) + 1)
                for name in ("packet", "datagram")
                if getattr(event, name, 0)
            }
            told[event.host].append(replace(event, **changes))
    batches: list[tuple[float, int, str, list[Any]]] = []
    for late, (host, events) in enumerate(told.items()):
        while events:
            count = rng.randrange(1, 12)
            batches.append((events[0].time + HELD / 4 * late, len(batches), host, events[:count]))
            del events[:count]
    return sorted(batches, key=lambda each: each[:2])


def captured(trace, secrets, *, opens=True, seed=5):
    lines = [f"CLIENT_RANDOM {random.hex()} {secret.hex()}" for random, secret in secrets.items()]
    live = LiveCapture({}, opens=opens, epoch_ns=EPOCH_NS)
    parts = [live.header(["about it"])]
    for now, number, host, events in as_told(trace, seed):
        live.take(host, events, {}, ["# server_random 00 00", *lines] if opens and not number else ())
        parts += live.blocks(now)
    parts += live.end(100.0)
    return live, parse_pcapng(b"".join(parts))


@pytest.mark.parametrize("name", ["two-vms", "rekey"])
def test_it_has_what_the_capture_of_the_run_has(run, name):
    """The same packets at the same interfaces, opened by the same secrets, on the clock of the day."""
    trace, secrets = run(load_lab(name))
    live, found = captured(trace, secrets)
    whole = parse_pcapng(capture_trace(trace, secrets).content)
    seen = sorted((each.interface.name, each.time_ns - EPOCH_NS, each.data) for each in found.packets)
    assert seen == sorted((each.interface.name, each.time_ns, each.data) for each in whole.packets)
    assert live.packets == len(found.packets)
    assert live.handshakes == (len(secrets), len(secrets))
    assert [log for _, log in found.secrets] == [log for _, log in whole.secrets]
    times = [each.time_ns for each in found.packets]
    assert times == sorted(times)
    assert found.comments == ["about it"]


def test_what_was_decided_is_remarked_on_although_hosts_number_packets_by_themselves(run):
    """Packet 1 of one host is not that of the other."""
    trace, secrets = run(load_lab("two-vms"))
    _, found = captured(trace, secrets, seed=9)
    decided = {each.interface.name for each in found.packets if "decided: row" in " ".join(each.comments)}
    assert decided == {"vm-a", "vm-b"}


def test_an_eavesdropper_has_neither_secrets_nor_the_inside(run):
    """The links and the internet only, although hosts tell everything."""
    trace, secrets = run(load_lab("two-vms"))
    live, found = captured(trace, secrets, opens=False)
    assert found.secrets == []
    assert not {each.interface.name for each in found.packets} & {"vm-a", "vm-b"}
    assert live.handshakes[1] == 0


def test_what_is_missing_stands_in_the_statistics_of_its_interface():
    """Also of one at which nothing was seen; each other has missed nothing."""
    live = LiveCapture({"h1": "192.0.2.1", "h2": "192.0.2.2"}, opens=True, epoch_ns=0)
    parts = [live.header(())]
    live.take("h1", [], {"a": 3, "192.0.2.2": 40}, ())
    live.take("h1", [], {"a": 2}, ())
    live.take("h2", [], {"192.0.2.1": 7}, ())
    parts += live.end(1.0)
    assert parse_pcapng(b"".join(parts)).missed == {"a": 5, "h1:h2": 40, "h2:h1": 7}
    assert live.missed.total() == 52
