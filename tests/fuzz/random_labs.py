"""Make random labs, run each twice, and look for what must never be: ``python random_labs.py --labs 2000``.

Hosts, VMs, networks, links, knobs and traffic are drawn from a seed, the lab's own; ``--one SEED`` plays that lab
again, and files of labs are played as they are. Of each run:

1. *No exception*, and the wire watch (:mod:`dtls_emu.testing.wire_watch`) has no objection.
2. *Counters balance* for each traffic item, card and the fabric, and those of each stage agree with the next's.
3. *No packet waits without a timer* at any moment; none waits when all is done.
4. *What the outcome calls encrypted was not in clear*: packets are counted on the wire, by item.
5. *The same again*: another run has the same outcome and the same trace, but for keys and nonces.

A failure is one line, or one JSON object with ``--json``; its lab is written to a file that `dtls-emu run` takes.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from math import inf
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple
from unittest.mock import patch

import yaml
from lab_maker import random_lab

from dtls_emu.assembly.cards import choose_engine
from dtls_emu.capture.traces import WireTrace
from dtls_emu.errors import LabFileError
from dtls_emu.events import Sent, observer_of
from dtls_emu.lab.loader import EXAMPLES, load_lab, parse_lab
from dtls_emu.simulation import simulate
from dtls_emu.simulation.accounts import AccountingError, forward_mark, reverse_of
from dtls_emu.simulation.cloud import Cloud
from dtls_emu.testing.wire_watch import watching
from dtls_emu.wire.overhead import RECORD_OVERHEAD
from dtls_emu.wire.record import APPLICATION_DATA
from dtls_emu.wire.vxlan import VXLAN_PORT


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dtls_emu.events import Event
    from dtls_emu.lab.schema import Lab
    from dtls_emu.nic.card import Card
    from dtls_emu.simulation.outcome import ItemOutcome, Outcome


FOLDER = Path(__file__).parents[2] / ".fuzz" / "labs"
PERIOD = 1.0
"""Seconds between two lines of progress."""


# ---------------------------------------------------------------------------------------- what must never be


@dataclass
class Finding:
    """What a lab did that must never be.

    Fields:
        seed: of the lab.
        what: the check that failed, in a word.
        detail: in one line.
        lab: file with the lab; "" until it is written.
    """

    seed: str
    what: str
    detail: str
    lab: str = ""

    def __str__(self) -> str:
        return f"{self.seed} {self.what}: {self.detail}" + (f" ({self.lab})" if self.lab else "")


class Said(NamedTuple):
    """What an outcome says of an item's packets between hosts, forward and back.

    Fields:
        encrypted: packets that were sealed.
        clear: packets that were in clear.
    """

    encrypted: int
    clear: int


def said_of(item: ItemOutcome) -> Said:
    """What an outcome says of an item."""
    return Said(item.encrypted, item.in_clear)


class Witness:
    """Looks at a run from outside: at what is on the wire, and at packets that wait.

    Fields:
        trace: of the fabric.
        clear, sealed: packets on the wire, by mark.
        stuck: packets that waited without a timer, in words.
        uneven: stages whose counters do not agree, in words.
    """

    def __init__(self) -> None:
        self.trace = WireTrace()
        self.clear: Counter[int] = Counter()
        self.sealed: Counter[int] = Counter()
        self.stuck: dict[str, str] = {}
        self.uneven: list[str] = []

    def see(self, event: Event) -> None:
        """An observer of the run."""
        self.trace(event)
        if not isinstance(event, Sent):
            return
        if event.source[1] == event.destination[1] == VXLAN_PORT:
            self.clear[event.mark] += 1
        elif event.payload[0] == APPLICATION_DATA and len(event.payload) > RECORD_OVERHEAD:
            self.sealed[event.mark] += 1

    @contextmanager
    def attending(self) -> Iterator[None]:
        """Look at the cards of every cloud that is made meanwhile."""
        watch_card, check = Cloud._watch_card, Cloud.check

        def look_at_card(cloud, card):
            watch_card(cloud, card)
            self._look_for_waiting(cloud, card)

        def look_at_all(cloud):
            self._compare_stages(cloud)
            check(cloud)

        with patch.object(Cloud, "_watch_card", look_at_card), patch.object(Cloud, "check", look_at_all):
            yield

    def _look_for_waiting(self, cloud: Cloud, card: Card) -> None:
        """After each call of a card: what waits has a timer that ends it."""
        for peer, tunnel in card.tunnels.items():
            room = card.tunnels.waiting(peer)
            if len(room) and tunnel.timeout() == inf:
                place = f"{card.host} to {peer}"
                words = (
                    f"{place}: {len(room)} packets at {cloud.clock.now:.3f} s, the tunnel is {tunnel.state}"
                )
                self.stuck.setdefault(place, words)

    def _compare_stages(self, cloud: Cloud) -> None:
        """When all is done: guests, cards and fabric agree, and nothing waits."""
        accounts = cloud.accounts._by_mark.values()
        out = [card.egress.counters for card in cloud.cards.values()]
        into = [card.ingress.counters for card in cloud.cards.values()]
        fabric = cloud.fabric.statistics()
        tunnels = [tunnel for card in cloud.cards.values() for tunnel in card.tunnels.values()]
        answered = sum(each.answered for each in out)
        extra = sum(tunnel.extra_records for tunnel in tunnels)
        # What comes back from the internet is offered to the card of a gateway: received, and never a datagram.
        back = sum(each.received for each in into) - extra - fabric.delivered
        left = sum(each.gateway for each in out)
        equal = {
            "offered by guests and taken by cards": (
                sum(account.offered for account in accounts),
                sum(each.offered for each in out) + back,
            ),
            "delivered by cards and taken by guests": (
                sum(each.delivered for each in into) + sum(each.local for each in out) + answered + left,
                sum(account.delivered for account in accounts),
            ),
            "waiting when all is done": (sum(each.waiting for each in out), 0),
            "on the wire in clear and sent in clear": (
                sum(self.clear.values()),
                sum(each.clear for each in out),
            ),
            "sealed on the wire and by cards": (
                sum(self.sealed.values()),
                sum(each.encrypted for each in out),
            ),
        }
        self.uneven += [f"{what}: {one} and {two}" for what, (one, two) in equal.items() if one != two]
        if not 0 <= back <= left:
            self.uneven.append(f"{back} packets came from the internet, where {left} went")


def findings(seed: str, lab: Lab) -> list[Finding]:
    """Run a lab twice; everything that must never be."""
    found: list[Finding] = []
    runs: list[tuple[Outcome, Witness]] = []
    for _ in range(2):
        witness = Witness()
        with watching() as watch, witness.attending():
            try:
                outcome = simulate(lab, observer=observer_of(witness.see, wants_bytes=True))
            except AccountingError as error:
                found.append(Finding(seed, "accounts", str(error)))
            except Exception as error:
                found.append(Finding(seed, "exception", f"{type(error).__name__}: {error}"))
            else:
                runs.append((outcome, witness))
        try:
            watch.check()
        except AssertionError as error:
            found.append(Finding(seed, "watch", str(error).partition("\n")[0]))
        found += [Finding(seed, "stuck", words) for words in witness.stuck.values()]
        found += [Finding(seed, "stages", words) for words in witness.uneven]
        if found:
            return found
    for outcome, witness in runs:
        found += [Finding(seed, what, detail) for what, detail in _contradictions(outcome, witness)]
        if found:
            return found
    found += [Finding(seed, "not the same again", detail) for detail in _changes(*runs)]
    return found


def _contradictions(outcome: Outcome, witness: Witness) -> Iterator[tuple[str, str]]:
    """Between what an outcome says and what was seen; and within what it says."""
    for index, item in enumerate(outcome.items):
        marks = forward_mark(index), reverse_of(forward_mark(index))
        for account in (item.forward, item.reverse):
            if account.offered + account.duplicated != account.delivered + account.dropped.total():
                yield "accounts", f"{item.name}: {account}"
        said = said_of(item)
        for what, told, seen in (
            ("in clear", said.clear, sum(witness.clear[mark] for mark in marks)),
            ("encrypted", said.encrypted, sum(witness.sealed[mark] for mark in marks)),
        ):
            if told != seen:
                yield (
                    "leak" if what == "in clear" else "outcome",
                    (
                        f"{item.name}: {seen} packets were {what} on the wire, and the outcome says {told} "
                        f"({item.verdicts}, {item.encryptions})"
                    ),
                )
    for name, card in outcome.cards.items():
        out, into = card["egress"], card["ingress"]
        sent = sum(out[way] for way in ("encrypted", "clear", "local", "gateway"))
        if out["offered"] != sent + out["waiting"] + sum(out["dropped"].values()):
            yield "accounts", f"card {name}, egress: {out}"
        if into["received"] != into["delivered"] + into["control"] + sum(into["dropped"].values()):
            yield "accounts", f"card {name}, ingress: {into}"
    if not outcome.fabric.balanced:
        yield "accounts", f"fabric: {outcome.fabric}"


def _changes(first: tuple[Outcome, Witness], second: tuple[Outcome, Witness]) -> Iterator[str]:
    """What is not the same in another run of the same lab with the same seed."""
    one, two = (json.dumps(outcome.as_dict(), sort_keys=True, default=str) for outcome, _ in (first, second))
    if one != two:
        at = next(index for index, pair in enumerate(zip(one, two, strict=False)) if pair[0] != pair[1])
        yield f"the outcome: {one[max(at - 80, 0) : at + 40]!r} and {two[max(at - 80, 0) : at + 40]!r}"
    lines, again = first[1].trace.lines, second[1].trace.lines
    if lines != again:
        pairs = enumerate(zip(lines, again, strict=False))
        at = next((index for index, pair in pairs if pair[0] != pair[1]), min(len(lines), len(again)))
        yield f"the trace, from datagram {at} on: {lines[at : at + 1]} and {again[at : at + 1]}"


# ---------------------------------------------------------------------------------------------- the command


def _text(seed: str) -> str:
    """The lab of a seed as a file."""
    return yaml.safe_dump(random_lab(seed), sort_keys=False, width=110)


@dataclass
class Played:
    """What came of one seed.

    Fields:
        refused: why the lab is none, or "".
        found: everything that must never be.
        seconds: of real time.
    """

    seed: str
    refused: str
    found: list[Finding]
    seconds: float


@cache
def _compile_kernels() -> None:
    """Once in each process, as far as a shipped lab needs them. Amid a handshake OpenSSL's timer, which runs in real
    time, would have it repeat itself and use up a number, and the next run would not be the same.
    """
    for backend in ("auto", "null"):
        simulate("two-vms", engines=dict.fromkeys(load_lab("two-vms").hosts, choose_engine(backend)))


def play(seed: str, folder: Path) -> Played:
    """Make a lab, run it, and write it down if there is anything to say about it."""
    _compile_kernels()
    began = monotonic()
    text = _text(seed)
    try:
        lab = parse_lab(text, EXAMPLES / f"random-{seed}.yaml")
    except LabFileError as error:
        return Played(seed, "; ".join(error.problems), [], monotonic() - began)
    found = findings(seed, lab)
    if found:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"random-{seed}.yaml"
        path.write_text(text, encoding="utf-8")
        for each in found:
            each.lab = str(path)
    return Played(seed, "", found, monotonic() - began)


def play_file(path: Path) -> Played:
    """Run the lab of a file."""
    _compile_kernels()
    began = monotonic()
    try:
        lab = load_lab(path)
    except LabFileError as error:
        return Played(str(path), "; ".join(error.problems), [], monotonic() - began)
    return Played(str(path), "", findings(str(path), lab), monotonic() - began)


def played(seeds: list[str], folder: Path, jobs: int) -> Iterator[Played]:
    """Each seed's lab, in the order of the seeds."""
    if jobs == 1:
        yield from (play(seed, folder) for seed in seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(partial(play, folder=folder), seeds, chunksize=4)


def main(arguments: list[str]) -> int:
    """Run as told; 1 after a finding, 2 when labs are refused."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n\n")[0],
        epilog="exit status: 0 all is well, 1 something was found, 2 a lab was refused, which the makers of labs "
        "should mend",
    )
    parser.add_argument("files", nargs="*", type=Path, help="labs to play instead of random ones")
    parser.add_argument("--labs", type=int, default=100, metavar="N", help="how many (default 100)")
    parser.add_argument("--seed", metavar="S", help="of all of them (default: a fresh one, which is printed)")
    parser.add_argument("--one", metavar="SEED", help="only the lab with this seed, as a failure names it")
    parser.add_argument("--show", action="store_true", help="print the lab of --one and run nothing")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default 1)")
    parser.add_argument("--json", action="store_true", help="a JSON object for each finding")
    parser.add_argument(
        "--findings", type=Path, default=FOLDER, help="folder for labs of findings (default .fuzz/labs)"
    )
    chosen = parser.parse_args(arguments)
    if chosen.one is not None and chosen.show:
        print(_text(chosen.one), end="")
        return 0
    if chosen.files:
        return report(map(play_file, chosen.files), len(chosen.files), as_json=chosen.json)
    seed = chosen.seed if chosen.seed is not None else secrets.token_hex(4)
    seeds = [f"{seed}-{number}" for number in range(chosen.labs)]
    if chosen.one is not None:
        seeds = [chosen.one]
    else:
        print(f"seed {seed}", file=sys.stderr)
    return report(played(seeds, chosen.findings, chosen.jobs), len(seeds), as_json=chosen.json)


def report(runs: Iterable[Played], total: int, *, as_json: bool) -> int:
    """Findings on standard output, progress and the sum on standard error."""
    began = told = monotonic()
    kinds: Counter[str] = Counter()
    refused: list[Played] = []
    slowest = Played("", "", [], 0.0)
    for done, run in enumerate(runs, 1):
        slowest = max(slowest, run, key=lambda each: each.seconds)
        if run.refused:
            refused.append(run)
            print(f"{run.seed} refused: {run.refused}", file=sys.stderr, flush=True)
        for finding in run.found:
            kinds[finding.what] += 1
            print(json.dumps(vars(finding)) if as_json else finding, flush=True)
        if monotonic() - told > PERIOD:
            told = monotonic()
            print(f"{done} of {total} labs, {told - began:.0f} s, findings: {_sum(kinds)}", file=sys.stderr)
    print(
        f"{total} labs in {monotonic() - began:.0f} s, {len(refused)} refused, findings: {_sum(kinds)}; "
        f"slowest: {slowest.seed}, {slowest.seconds:.1f} s",
        file=sys.stderr,
    )
    return 1 if kinds else 2 if refused else 0


def _sum(kinds: Counter[str]) -> str:
    return ", ".join(f"{what} {count}" for what, count in sorted(kinds.items())) or "none"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
