"""Sums of flow logs as findings: for each pair of ends and status, what passed, when, and whether that was promised.

A flow that both ends have logged is counted once, with what the source's log says; a status that only the
destination's log has is a finding of its own, so that two logs that differ are both heard.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.audit.finding import Finding, iso_time
from dtls_emu.audit.statuses import BY_CODE, KINDS, Kind, kind_of, rows_of, service_name
from dtls_emu.flow_logs.tuples import Side


if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtls_emu.audit.promise import Promise
    from dtls_emu.flow_logs.tally import FlowGroup, Tally


__all__ = ["Audit", "Sum", "audit_tally"]

MOST_SERVICES: Final = 5
"""Ports of a finding that are named."""


@dataclass(slots=True)
class Sum:
    """Of all findings of a kind."""

    pairs: int = 0
    flows: int = 0
    denied: int = 0
    packets: int = 0
    nbytes: int = 0

    def add(self, finding: Finding) -> None:
        """Add one."""
        self.pairs += 1
        self.flows += finding.flows
        self.denied += finding.denied
        self.packets += finding.packets
        self.nbytes += finding.nbytes


@dataclass(frozen=True, slots=True)
class Audit:
    """What logs say.

    Fields:
        findings: by kind, the largest first.
        sums: by kind; those that there are.
        timeline: bytes by begin of a bin (milliseconds since 1970) and kind. Flows that both ends have logged are in it
            twice.
        bin_width: milliseconds.
        records, lines, unreadable, example: as in :class:`~dtls_emu.flow_logs.tally.Tally`.
        is_complete: every pair is told apart.
        template: the file that was measured against, or "".
    """

    findings: list[Finding]
    sums: dict[Kind, Sum]
    timeline: dict[tuple[int, Kind], int]
    bin_width: int
    records: int
    lines: int
    unreadable: int
    example: str
    is_complete: bool
    template: str = ""

    @property
    def unexpected(self) -> list[Finding]:
        """Findings that are worse than promised."""
        return [each for each in self.findings if each.is_unexpected]

    @property
    def encrypted_share(self) -> float | None:
        """Encrypted bytes of those that could be: between private addresses and not within a host; None without any."""
        able = sum(self.sums[kind].nbytes for kind in (Kind.ENCRYPTED, Kind.CLEAR) if kind in self.sums)
        return (
            self.sums[Kind.ENCRYPTED].nbytes / able
            if able and Kind.ENCRYPTED in self.sums
            else (0.0 if able else None)
        )

    @property
    def answer(self) -> str:
        """Was it encrypted? In a sentence."""
        return f"{self._verdict}{self._besides}"

    @property
    def _verdict(self) -> str:
        clear, encrypted = self.sums.get(Kind.CLEAR), self.sums.get(Kind.ENCRYPTED)
        share = self.encrypted_share
        if clear is not None and encrypted is None:
            return f"No: nothing was encrypted, and {_count(clear.pairs, 'pair')} talked in clear."
        if clear is not None:
            part = "" if share is None else f" {_percent(share)} of the bytes that could be encrypted were."
            return f"Not all of it: {_count(clear.pairs, 'pair')} talked in clear.{part}"
        is_whole = Kind.UNKNOWN not in self.sums and not self.unreadable
        if encrypted is None:
            if is_whole and Kind.DROPPED not in self.sums:
                return "There was nothing to encrypt: no traffic between private addresses left its host."
            return (
                "Nothing is known to have been encrypted, or to have passed in clear that could be encrypted."
            )
        if is_whole:
            return "Yes: everything between private addresses that left its host was encrypted."
        return "As far as is known: nothing between private addresses was in clear that left its host."

    @property
    def _besides(self) -> str:
        """What else has to be said in one breath."""
        said = ""
        if Kind.DROPPED in self.sums:
            said += f" {_count(self.sums[Kind.DROPPED].pairs, 'pair')} could not talk because of encryption."
        if Kind.UNKNOWN in self.sums:
            said += f" {_count(self.sums[Kind.UNKNOWN].pairs, 'pair')} had a status that this version does not know."
        if self.unreadable:
            said += f" {_count(self.unreadable, 'line')} could not be read."
        return said

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        share = self.encrypted_share
        return {
            "answer": self.answer,
            "encrypted_share": share,
            "template": self.template,
            "records": self.records,
            "tuples": self.lines,
            "unreadable": self.unreadable,
            "first_unreadable": self.example,
            "is_complete": self.is_complete,
            "kinds": {
                str(kind): {
                    "pairs": each.pairs,
                    "flows": each.flows,
                    "denied": each.denied,
                    "packets": each.packets,
                    "bytes": each.nbytes,
                }
                for kind, each in self.sums.items()
            },
            "statuses": {
                code: {
                    "meaning": BY_CODE[code].meaning if code in BY_CODE else "not known to this version",
                    "remedy": BY_CODE[code].remedy if code in BY_CODE else "",
                    "rows": rows_of(code),
                }
                for code in sorted({each.code for each in self.findings})
            },
            "findings": [each.as_dict() for each in self.findings],
            "timeline": {
                "bin_seconds": self.bin_width / 1000,
                "bytes": [
                    {"begin": iso_time(begin), "kind": str(kind), "bytes": nbytes}
                    for (begin, kind), nbytes in sorted(self.timeline.items())
                ],
            },
        }


def audit_tally(tally: Tally, promise: Promise | None = None) -> Audit:
    """Judge what logs came to.

    Args:
        tally: their sums.
        promise: what a template says.
    """
    findings = _findings(tally.groups())
    for each in findings:
        if promise is not None:
            promise.judge(each)
    order = list(KINDS)
    findings.sort(
        key=lambda each: (order.index(each.kind), -each.nbytes, -each.denied, each.source, each.destination)
    )
    sums: dict[Kind, Sum] = {}
    for finding in findings:
        sums.setdefault(finding.kind, Sum()).add(finding)
    timeline: defaultdict[tuple[int, Kind], int] = defaultdict(int)
    for (number, code, public), nbytes in tally.bins().items():
        kind = kind_of(code, is_public=public, is_denied=False)
        timeline[number * tally.bin_width, kind] += nbytes
    return Audit(
        findings,
        {kind: sums[kind] for kind in order if kind in sums},
        {key: nbytes for key, nbytes in timeline.items() if nbytes},
        tally.bin_width,
        tally.records,
        tally.lines,
        tally.unreadable,
        tally.example,
        tally.is_complete,
        "" if promise is None else promise.source,
    )


_Pair = tuple[str, str, str, Kind]


def _findings(groups: Iterable[FlowGroup]) -> list[Finding]:
    by_side: dict[Side, dict[_Pair, list[FlowGroup]]] = {side: defaultdict(list) for side in Side}
    for group in groups:
        if not group.lines:
            continue
        is_denied = group.denied == group.lines
        kind = kind_of(group.encryption, is_public=group.is_public, is_denied=is_denied)
        by_side[group.side][group.source, group.destination, group.encryption, kind].append(group)
    own, others = by_side[Side.OUTBOUND], by_side[Side.INBOUND]
    findings = [_finding(pair, each, "source") for pair, each in own.items()]
    findings += [_finding(pair, each, "destination") for pair, each in others.items() if pair not in own]
    return findings


def _finding(pair: _Pair, groups: list[FlowGroup], seen_by: str) -> Finding:
    source, destination, code, kind = pair
    groups.sort(key=lambda each: (-each.nbytes, -each.lines))
    return Finding(
        source,
        destination,
        kind,
        code,
        seen_by,
        list(dict.fromkeys(service_name(each.protocol, each.destination_port) for each in groups))[
            :MOST_SERVICES
        ],
        sum(max(each.begun, each.ended) for each in groups),
        sum(each.denied for each in groups),
        sum(each.packets for each in groups),
        sum(each.nbytes for each in groups),
        min(each.first for each in groups),
        max(each.last for each in groups),
    )


def _percent(share: float) -> str:
    """Never 100 % when it is less."""
    return f"{min(share * 100, 99.9) if share < 1 else 100:.1f} %"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
