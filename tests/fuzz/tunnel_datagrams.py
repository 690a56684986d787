"""A man in the middle of a handshake, from its first datagram: he changes, delays, repeats, swallows, invents."""

from __future__ import annotations

from collections import Counter

from script import Script, blob, edits
from testbed import TEXT

from dtls_emu.crypto.registry import AUTO, resolve
from dtls_emu.testing.pair import Pair
from dtls_emu.testing.wire_watch import watching
from dtls_emu.tunnel.settings import TunnelSettings


SETTINGS = (
    TunnelSettings(),
    TunnelSettings(rekey_records=20, rekey_seconds=20.0, drain=3.0),
    TunnelSettings(half_open_limit=2, early_records=2, forgery_limit=3, replay_window=64),
)
PATHS = (1500, 300)

STEPS = 64
"""Datagrams that he has his hands on; more pass as they are."""

_DELAY = 0.001


def run(data: bytes) -> None:
    """Carry out a script."""
    script = Script(data)
    steps = 0

    def fate(_sender, _number, datagram):
        nonlocal steps
        steps += 1
        if script.is_over or steps > STEPS:
            return [(_DELAY, datagram)]
        return script.pick(CHOICES)(script, datagram)

    with watching() as watch:
        settings = script.pick(SETTINGS)
        pair = Pair(fate=fate, backend=resolve(AUTO).backend, settings=settings, path_mtu=script.pick(PATHS))
        pair.connect(*script.pick((("alpha",), ("beta",), ("alpha", "beta"))))
        sent = {"alpha": Counter[bytes](), "beta": Counter[bytes]()}
        # Both talk meanwhile, and once the script is over all must be well again within a few timeouts.
        for turn in range(60):
            pair.run(until=pair.now + 5)
            for name, tunnel in (("alpha", pair.client), ("beta", pair.server)):
                if tunnel.room():
                    packet = TEXT + b"%s %d" % (name.encode(), turn)
                    sent[name][packet] += 1
                    pair.send(name, packet)
                else:
                    pair.connect(name)
            pair.run(until=pair.now + 1)
            _check(pair, sent)
            arrived = all(each and each[-1].endswith(b"%d" % turn) for each in pair.received.values())
            if arrived and (script.is_over or steps > STEPS):
                break
        else:
            raise AssertionError(
                f"{pair.client.failure or 'no'}, {pair.server.failure or 'no'} failure, and no way"
            )
    watch.check()


def _check(pair, sent):
    for name, other in (("alpha", "beta"), ("beta", "alpha")):
        surplus = Counter(pair.received[other]) - sent[name]
        assert not surplus, "a packet is delivered that nobody sent, or a second time"


def _pass(_script, datagram):
    return [(_DELAY, datagram)]


def _swallow(_script, _datagram):
    return []


def _repeat(script, datagram):
    return [(_DELAY, datagram), (script.below(64) / 16, datagram)]


def _delay(script, datagram):
    return [(script.below(256) / 16, datagram)]


def _change(script, datagram):
    return [(_DELAY, script.edited(datagram))]


def _precede(script, datagram):
    """A changed copy comes first."""
    return [(_DELAY / 2, script.edited(datagram)), (_DELAY, datagram)]


def _replace(script, _datagram):
    return [(_DELAY, script.blob())]


def _cut(script, datagram):
    """In two: no record may span datagrams."""
    at = script.below(65_536) % len(datagram)
    return [(_DELAY, datagram[:at]), (_DELAY * 2, datagram[at:])]


CHOICES = (_pass, _change, _precede, _swallow, _repeat, _delay, _replace, _cut)


def seeds():
    """Each datagram of a handshake and behind it, each treatment."""
    passing, change, precede, swallow, repeat, delay, replace, cut = (
        bytes((n,)) for n in range(len(CHOICES))
    )
    treatments = [
        *(
            change + edits((at, value))
            for at, value in ((0, 21), (5, 1), (11, 255), (13, 14), (13, 20), (19, 5))
        ),
        precede + edits((13, 2)),
        precede + edits((30, 255), (31, 255)),
        swallow,
        repeat + b"\20",
        delay + b"\x28",
        replace + blob(b"\x15\xfe\xfd" + bytes(8) + b"\0\2\2\50"),
        cut + b"\0\x40",
    ]
    return [
        bytes((number % len(SETTINGS), number % len(PATHS), start)) + passing * at + treatment
        for number, treatment in enumerate(treatments)
        for at in (*range(10), 14)
        for start in (at % 3,)
    ]
