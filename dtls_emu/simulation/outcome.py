"""What a run of a lab came to: one result for each traffic item, tunnel and card, and the fabric's books."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Final, TypeVar

from dtls_emu.capture.notebook import table
from dtls_emu.nic.counters import Sent
from dtls_emu.vocabulary import Verdict


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dtls_emu.fabric.underlay import FabricStatistics
    from dtls_emu.policy import Decision
    from dtls_emu.simulation.accounts import Account
    from dtls_emu.vocabulary import DropReason, FlowEncryption


__all__ = ["MIXED", "Check", "Handled", "ItemOutcome", "Outcome", "RoundTrips", "TunnelOutcome"]

MIXED: Final = "mixed"
"""In JSON: the packets of an item have several verdicts, or codes."""

_VERDICTS: Final = tuple(Verdict)


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """Round-trip times on the virtual clock, in seconds.

    Fields:
        count: how many were measured.
        first: the first one, which includes the tunnel's set-up when it had to be built; None without any.
        minimum, median, maximum: of the others; None without any.
    """

    count: int = 0
    first: float | None = None
    minimum: float | None = None
    median: float | None = None
    maximum: float | None = None

    @classmethod
    def of(cls, seconds: Sequence[float]) -> RoundTrips:
        """Sum up measurements, in the order in which they were made."""
        exact = [round(each, 9) for each in seconds]  # the clock counts nanoseconds; the rest is noise
        first, others = (exact[0] if exact else None), exact[1:]
        if not others:
            return cls(len(exact), first)
        return cls(len(exact), first, min(others), median(others), max(others))


@dataclass(frozen=True, slots=True)
class Check:
    """One line of an item's `expect`.

    Fields:
        key: as in the lab file, such as ``dropped.fragment``.
        expected, actual: in the lab file's words.
        holds: whether it came so.
    """

    key: str
    expected: str
    actual: str
    holds: bool

    def __str__(self) -> str:
        """For people."""
        return f"{self.key}: expected {self.expected}, got {self.actual}"


@dataclass(frozen=True, slots=True)
class Handled:
    """The packets for whose flow one decision was made.

    Fields:
        decision: verdict and flow-log code.
        sent: how many left the sender's card, by how.
        dropped: how many it dropped, by reason: as decided, or on the way out in spite of another verdict.
    """

    decision: Decision
    sent: Mapping[Sent, int]
    dropped: Mapping[DropReason, int]

    @property
    def packets(self) -> int:
        """Packets that were treated as decided."""
        return sum((self.dropped if self.decision.verdict is Verdict.DROP else self.sent).values())

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "verdict": str(self.decision.verdict),
            "encryption": self.decision.code,
            "row": self.decision.row.number,
            "name": self.decision.row.name,
            **{str(how): self.sent.get(how, 0) for how in Sent},
            "dropped": {str(reason): count for reason, count in sorted(self.dropped.items())},
        }


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """What became of one traffic item.

    Fields:
        name, kind, source, destination: as in the lab file; an empty destination where packets go where
            they say.
        forward: the account of its own packets.
        reverse: of what came back because of them.
        round_trips: of echoes and their replies, or of segments and their acknowledgements.
        path_mtu: learnt by a guest from ICMP for one of its flows, in bytes; the smallest one.
        payload_bytes: of a transfer, those that arrived without a gap; None for the other kinds.
        duration: from its start until its last packet was sent, or acknowledged, in seconds.
        note: why it is not complete, or "".
        stopped: it was stopped before all of it was sent.
        checks: its `expect`, line by line.
    """

    name: str
    kind: str
    source: str
    destination: str
    forward: Account
    reverse: Account
    round_trips: RoundTrips = field(default_factory=RoundTrips)
    path_mtu: int | None = None
    payload_bytes: int | None = None
    duration: float = 0.0
    note: str = ""
    stopped: bool = False
    checks: tuple[Check, ...] = ()

    @property
    def handled(self) -> tuple[Handled, ...]:
        """Its packets and what came back because of them, by the decision at the time when each was sent. Packets
        that were dropped before their flow was decided (malformed, spoofed) are not among them.
        """
        sent: dict[Decision, Counter[Sent]] = {}
        dropped: dict[Decision, Counter[DropReason]] = {}
        for account in (self.forward, self.reverse):
            for (decision, fate), count in account.handled.items():
                leaving, staying = (
                    sent.setdefault(decision, Counter()),
                    dropped.setdefault(decision, Counter()),
                )
                if isinstance(fate, Sent):
                    leaving[fate] += count
                else:
                    staying[fate] += count
        in_order = sorted(sent, key=lambda each: (_VERDICTS.index(each.verdict), each.row.number))
        return tuple(Handled(decision, sent[decision], dropped[decision]) for decision in in_order)

    @property
    def verdict(self) -> Verdict | None:
        """Of all its packets and what came back because of them; None when they have several, or none."""
        return _only(self._by_verdict)

    @property
    def encryption(self) -> FlowEncryption | None:
        """Flow-log code of all of them; None when they have several, or none (a dropped fragment)."""
        return _only(self._by_code)

    @property
    def encrypted(self) -> int:
        """Packets that were sealed, those that came back included."""
        return self.forward.sent(Sent.ENCRYPTED) + self.reverse.sent(Sent.ENCRYPTED)

    @property
    def in_clear(self) -> int:
        """Packets that were put on the fabric in clear, those that came back included."""
        return self.forward.sent(Sent.CLEAR) + self.reverse.sent(Sent.CLEAR)

    @property
    def offered(self) -> int:
        """Packets that were handed to the cards."""
        return self.forward.offered

    @property
    def delivered(self) -> int:
        """Packets that reached a VM, or the internet."""
        return self.forward.delivered

    @property
    def duplicated(self) -> int:
        """Copies that links made."""
        return self.forward.duplicated

    @property
    def dropped(self) -> dict[DropReason, int]:
        """Packets that were dropped, by reason."""
        return dict(self.forward.dropped)

    @property
    def answered(self) -> int:
        """Echo requests whose reply came back."""
        return self.round_trips.count if self.kind == "ping" else 0

    @property
    def ok(self) -> bool:
        """Whether everything that was expected of it holds."""
        return all(check.holds for check in self.checks)

    @property
    def verdicts(self) -> str:
        """Every verdict, for people: one alone, or several with their packets; "none" without a decision."""
        return _listed(self._by_verdict)

    @property
    def encryptions(self) -> str:
        """Every flow-log code, likewise; "none" where no tuple is written."""
        return _listed(self._by_code)

    @property
    def treated(self) -> Counter[tuple[Verdict, FlowEncryption | None]]:
        """Packets that were sealed, sent in clear or dropped as decided, by verdict and code; decisions for packets
        that were all dropped on the way out only where there are no others.
        """
        counted = _count(((each.decision.verdict, each.decision.code), each.packets) for each in self.handled)
        return +counted or counted

    @property
    def _by_verdict(self) -> Counter[Verdict]:
        return _count((verdict, count) for (verdict, _), count in self.treated.items())

    @property
    def _by_code(self) -> Counter[FlowEncryption | None]:
        return _count((code, count) for (_, code), count in self.treated.items())

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "from": self.source,
            "to": self.destination,
            "verdict": MIXED if len(self._by_verdict) > 1 else self.verdict,
            "encryption": MIXED if len(self._by_code) > 1 else self.encryption,
            "decisions": [each.as_dict() for each in self.handled],
            **self.forward.as_dict(),
            "answered": self.answered,
            "reverse": self.reverse.as_dict(),
            "round_trip_seconds": asdict(self.round_trips),
            "path_mtu": self.path_mtu,
            "payload_bytes": self.payload_bytes,
            "duration_seconds": self.duration,
            "note": self.note,
            "stopped": self.stopped,
            "expectations": [asdict(check) for check in self.checks],
            "ok": self.ok,
        }

    def __repr__(self) -> str:
        """One line: what one would ask first."""
        return f"ItemOutcome({self.name}: {self.verdicts}, {self.encryptions}, {self.forward})"


_Key = TypeVar("_Key")


def _count(amounts: Iterable[tuple[_Key, int]]) -> Counter[_Key]:
    """Sums by key, in the order of the keys' first amount; of a key with none, 0."""
    sums: Counter[_Key] = Counter()
    for key, amount in amounts:
        sums[key] += amount
    return sums


def _only(counted: Counter[_Key]) -> _Key | None:
    return next(iter(counted)) if len(counted) == 1 else None


def _listed(counted: Counter[_Key]) -> str:
    if len(counted) < 2:
        return str(_only(counted) or "none")
    return ", ".join(f"{key or 'none'} {count}" for key, count in counted.items())


@dataclass(frozen=True, slots=True)
class TunnelOutcome:
    """One end of a tunnel that was used.

    Fields:
        host, peer: whose end it is, and where it leads.
        state: in words of :class:`~dtls_emu.tunnel.states.TunnelState`.
        cipher: suite of the handshake, or what a broker's keys are for; "" where nothing is encrypted: the backend
            does not protect, or no association ever came up.
        backend: who sealed and opened.
        backend_reason: why that one.
        protects: False for a backend that does not encrypt.
        handshakes: associations that came up, each with keys of its own.
        handshake_seconds: how long the last one took, on the virtual clock.
        failure: why the last attempt failed, or "".
    """

    host: str
    peer: str
    state: str
    cipher: str
    backend: str
    backend_reason: str
    protects: bool
    handshakes: int
    handshake_seconds: float
    failure: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of a lab came to.

    Fields:
        lab, profile: their names.
        seed: of every random choice.
        duration: of the run, in seconds on the virtual clock.
        items: in the lab file's order.
        tunnels: the ends that were used.
        cards: what each card's `status` said at the end, by host.
        fabric: the books of the fabric.
    """

    lab: str
    profile: str
    seed: int
    duration: float
    items: tuple[ItemOutcome, ...]
    tunnels: tuple[TunnelOutcome, ...]
    cards: Mapping[str, Mapping[str, Any]]
    fabric: FabricStatistics

    @property
    def ok(self) -> bool:
        """Whether everything that was expected holds."""
        return all(item.ok for item in self.items)

    @property
    def failures(self) -> list[tuple[str, Check]]:
        """What was expected and did not hold, with the name of its item."""
        return [(item.name, check) for item in self.items for check in item.checks if not check.holds]

    def __getitem__(self, name: str) -> ItemOutcome:
        """The outcome of the item of that name.

        Raises:
            KeyError: the lab has no such item.
        """
        for item in self.items:
            if item.name == name:
                return item
        raise KeyError(name)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "lab": self.lab,
            "profile": self.profile,
            "seed": self.seed,
            "duration_seconds": self.duration,
            "ok": self.ok,
            "items": [item.as_dict() for item in self.items],
            "tunnels": [asdict(tunnel) for tunnel in self.tunnels],
            "cards": {name: dict(status) for name, status in self.cards.items()},
            "fabric": {
                **asdict(self.fabric),
                "dropped": {str(reason): count for reason, count in sorted(self.fabric.dropped.items())},
            },
        }

    def __repr__(self) -> str:
        """A line for the run and one for each item."""
        expected = "as expected" if self.ok else f"{len(self.failures)} of its expectations not met"
        head = (
            f"Outcome({self.lab}: {len(self.items)} items, {self.duration:.3f} s of virtual time, {expected})"
        )
        return "\n  ".join([head, *map(repr, self.items)])

    def _repr_html_(self) -> str:
        """As a notebook shows it: a row for each item."""
        rows = [
            (
                item.name,
                item.kind,
                item.source,
                item.destination,
                item.forward.offered,
                item.forward.delivered,
                ", ".join(f"{count} {reason}" for reason, count in sorted(item.forward.dropped.items())),
                "as expected" if item.ok else "; ".join(str(each) for each in item.checks if not each.holds),
            )
            for item in self.items
        ]
        columns = ("item", "kind", "from", "to", "offered", "delivered", "dropped", "expected")
        return table(repr(self).splitlines()[0], columns, rows)
