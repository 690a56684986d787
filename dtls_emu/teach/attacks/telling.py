"""Carry out an attack and tell it: what was tried, what the card saw, what stopped it, and under which settings it works."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from dtls_emu.errors import DtlsEmuError
from dtls_emu.lab.problems import suggest
from dtls_emu.teach.attacks.catalogue import ATTACKS, SCENES
from dtls_emu.teach.attacks.scene import Scene
from dtls_emu.teach.blocks import Heading, Table, Text, Verdict
from dtls_emu.teach.document import Document
from dtls_emu.teach.playground import Playground, PlaygroundError
from dtls_emu.teach.story import tell


if TYPE_CHECKING:
    from dtls_emu.capture.trace_file import Trace
    from dtls_emu.lab.schema import Lab
    from dtls_emu.teach.attacks.attack import Attack, Attempt


__all__ = ["NoAttackError", "Report", "attack"]

TRIES: Final = 5
"""Packets of which one has to arrive; a link may lose the others."""

MAX_EVENTS: Final = 12
"""Of what the card saw that are shown."""

_ROW: Final = re.compile(r"^\| (?P<number>[A-Z]\d+) \| (?P<what>[^|]+) \| (?P<source>[^|]+) \|", re.MULTILINE)


class NoAttackError(DtlsEmuError):
    """No attack has that name. Says which there are."""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of an attack, as it was carried out under a lab and under other settings.

    Fields:
        document: all of it, told.
        attempt: under the lab.
        as_expected: it was stopped, or it works under these settings and did; and likewise under the others.
        trace: of the run under the lab, with the attacker's datagrams.
    """

    document: Document
    attempt: Attempt
    as_expected: bool
    trace: Trace


def attack(name: str, lab: Lab) -> Report:
    """Carry out an attack.

    Raises:
        NoAttackError: there is none of that name.
        PlaygroundError: the lab has no two VMs on two hosts that could be attacked, or nothing arrives there anyway.
    """
    if name not in ATTACKS:
        raise NoAttackError(f"no attack is called {name}; {suggest(name, ATTACKS)}")
    chosen = ATTACKS[name]
    with Playground(lab) as play:
        pair = play.pair_on_two_hosts()
        _require_delivery(play, pair)
    document = Document(f"Attack: {name}")
    document.add(Text(chosen.summary))
    attempt, scene, expected = _try(chosen, lab, pair)
    document.add(Heading("What was tried"), *attempt.tried)
    _tell_events(document, scene)
    document.add(Heading("What came of it"), Verdict(good=attempt.stopped, text=attempt.by), _musts(chosen))
    others = _others(chosen, lab, pair, attempt, document)
    return Report(document, attempt, expected and others, scene.play.trace)


def _require_delivery(play: Playground, pair: tuple[str, str]) -> None:
    """Refuse a lab in which packets of the two VMs get nowhere, attacked or not."""
    for _ in range(TRIES):
        play.send(*pair)
        play.settle()
        if play.delivered:
            return
    raise PlaygroundError(
        f"no packet from {pair[0]} to {pair[1]} arrives in this lab, so there is nothing to attack"
    )


def _try(chosen: Attack, lab: Lab, pair: tuple[str, str]) -> tuple[Attempt, Scene, bool]:
    scene = SCENES.get(chosen.name, Scene)(lab, pair)
    try:
        attempt = chosen.carry_out(scene)
    finally:
        scene.play.close()
    return attempt, scene, attempt.stopped != chosen.works_under(lab)


def _tell_events(document: Document, scene: Scene) -> None:
    victim = scene.hosts[1]
    lines = [tell(event) for event in scene.events if event.host in {victim, scene.hosts[0]}]
    rows = tuple(
        (f"{line.time * 1e3:.3f} ms", line.host, line.what, line.text) for line in lines[:MAX_EVENTS]
    )
    document.add(Heading("What the cards saw"), Table(("time", "host", "what", ""), rows))
    if len(lines) > MAX_EVENTS:
        document.add(Text(f"... and {len(lines) - MAX_EVENTS} events more."))


def _others(chosen: Attack, lab: Lab, pair: tuple[str, str], attempt: Attempt, document: Document) -> bool:
    """Try it under the settings in which the opposite is expected."""
    document.add(Heading("Under other settings"))
    if attempt.stopped and chosen.weakness is None:
        document.add(Text("There are none under which it works."))
        return True
    if attempt.stopped:
        assert chosen.weakness is not None
        other, text = chosen.weakness.weaken(lab), chosen.weakness.text
        said = f"It works where {text}:"
    elif chosen.strengthen is not None:
        other, said = chosen.strengthen(lab), "It is stopped where the networks have DropUnencrypted:"
    else:
        document.add(Text("It works under this lab's settings; encrypt, with a backend that protects."))
        return True
    again, _, expected = _try(chosen, other, pair)
    document.add(Text(said), Verdict(good=again.stopped, text=again.by))
    return expected


def _musts(chosen: Attack) -> Table:
    """The requirements that it is about, and where they are from."""
    text = (files("dtls_emu.tunnel") / "MUSTS.md").read_text(encoding="utf-8")
    found = {match["number"]: match for match in _ROW.finditer(text)}
    rows = tuple((number, found[number]["what"], found[number]["source"]) for number in chosen.musts)
    return Table(("#", "requirement (tunnel/MUSTS.md)", "source"), rows)
