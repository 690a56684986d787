"""What a run of a lab came to: one result for each traffic item, tunnel and card, and the fabric's books."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dtls_emu.fabric.underlay import FabricStatistics
    from dtls_emu.host.accounts import Account
    from dtls_emu.lab.vocabulary import DropReason, FlowEncryption, Verdict
    from dtls_emu.policy import Decision


__all__ = ["Check", "ItemOutcome", "Outcome", "RoundTrips", "TunnelOutcome"]


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
class ItemOutcome:
    """What became of one traffic item.

    Fields:
        name, kind, source, destination: as in the lab file; an empty destination where packets go where
            they say.
        decisions: what the cards decided for its flows, each different one once; packets without a flow
            (malformed, spoofed) have none.
        forward: the account of its own packets.
        reverse: of what came back because of them.
        round_trips: of echoes and their replies, or of segments and their acknowledgements.
        path_mtu: learnt by a guest from ICMP for one of its flows, in bytes; the smallest one.
        payload_bytes: of a transfer, those that arrived without a gap; None for the other kinds.
        duration: from its start until its last packet was sent, or acknowledged, in seconds.
        note: why it is not complete, or "".
        checks: its `expect`, line by line.
    """

    name: str
    kind: str
    source: str
    destination: str
    decisions: tuple[Decision, ...]
    forward: Account
    reverse: Account
    round_trips: RoundTrips = field(default_factory=RoundTrips)
    path_mtu: int | None = None
    payload_bytes: int | None = None
    duration: float = 0.0
    note: str = ""
    checks: tuple[Check, ...] = ()

    @property
    def verdict(self) -> Verdict | None:
        """Of all its flows; None when they have several, or none."""
        verdicts = {decision.verdict for decision in self.decisions}
        return verdicts.pop() if len(verdicts) == 1 else None

    @property
    def encryption(self) -> FlowEncryption | None:
        """Flow-log code of all its flows; None when they have several, or none (a dropped fragment)."""
        codes = {decision.code for decision in self.decisions}
        return codes.pop() if len(codes) == 1 else None

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
        """Every verdict, for people; "none" without a flow."""
        return ", ".join(dict.fromkeys(str(decision.verdict) for decision in self.decisions)) or "none"

    @property
    def encryptions(self) -> str:
        """Every flow-log code, for people; "none" where no tuple is written."""
        codes = dict.fromkeys(str(decision.code or "none") for decision in self.decisions)
        return ", ".join(codes) or "none"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "from": self.source,
            "to": self.destination,
            "verdict": self.verdict,
            "encryption": self.encryption,
            "decisions": [
                {
                    "verdict": str(decision.verdict),
                    "encryption": decision.code,
                    "row": decision.row.number,
                    "name": decision.row.name,
                }
                for decision in self.decisions
            ],
            **self.forward.as_dict(),
            "answered": self.answered,
            "reverse": self.reverse.as_dict(),
            "round_trip_seconds": asdict(self.round_trips),
            "path_mtu": self.path_mtu,
            "payload_bytes": self.payload_bytes,
            "duration_seconds": self.duration,
            "note": self.note,
            "expectations": [asdict(check) for check in self.checks],
            "ok": self.ok,
        }

    def __repr__(self) -> str:
        """One line: what one would ask first."""
        return f"ItemOutcome({self.name}: {self.verdicts}, {self.encryptions}, {self.forward})"


@dataclass(frozen=True, slots=True)
class TunnelOutcome:
    """One end of a tunnel that was used.

    Fields:
        host, peer: whose end it is, and where it leads.
        state: in words of :class:`~dtls_emu.tunnel.states.TunnelState`.
        cipher: suite of the handshake, or what a broker's keys are for.
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
