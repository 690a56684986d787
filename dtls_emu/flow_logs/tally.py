"""Tuples of any number of records added up by group: ends, protocol, port of the destination, side and status.

A group is one conversation's worth of a table's row: ports of the source are left out, as in the vendor's own analytics.
A log of a whole network has most flows twice, in the log of either interface: the side tells them apart.

1. Lines as the vendor writes them are added by a kernel (:mod:`dtls_emu.flow_logs.tuple_kernel`), which checks times and
   counters; what else there is to a line is in the key of its group, and checked once a group.
2. Any other line is read and added by Python: it is odd, and may be no tuple at all.
3. Groups beyond :data:`MOST_GROUPS` are not told apart any more than by status, side and whether an end is public; what
   they sum up to is counted all the same.

What is no tuple is counted, and the first one kept to be shown.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from dtls_emu.flow_logs.errors import FlowLogError
from dtls_emu.flow_logs.tuple_kernel import BIN, DONE, INVALID, LINE, NEW, NOT_TEXT, UNWANTED, add_lines
from dtls_emu.flow_logs.tuples import MAX_TUPLE, FlowState, Side, parse_tuple
from dtls_emu.lab.topology import is_internet
from dtls_emu.vocabulary import FlowEncryption


if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dtls_emu.flow_logs.filtering import Filter
    from dtls_emu.flow_logs.records import Record
    from dtls_emu.flow_logs.tuples import FlowTuple


__all__ = ["MOST_GROUPS", "OTHERS", "FlowGroup", "Tally", "is_public"]

MOST_GROUPS: Final = 500_000
"""At about 200 bytes each."""

MOST_KEY: Final = 96
"""Bytes of a group's key on average, at the most: two IPv6 addresses, port, protocol, direction and the longest status
have 113."""

MOST_ODD: Final = 50_000
"""Groups of lines that the kernel leaves to Python, at half a kilobyte each."""

OTHERS: Final = "others"
"""In place of an address, in groups that stand for many."""

MOST_BINS: Final = 1024
FIRST_BIN: Final = 60_000
"""Milliseconds of a bin of the timeline; it doubles when there would be too many."""

MOST_AT_ONCE: Final = 1 << 50
"""Bytes of a line from which on it is left out of the timeline: no interface carries a petabyte in five minutes."""

BATCH: Final = 1 << 20
"""Bytes of tuples that the kernel is given at once."""

CLASSES: Final = tuple(
    (code, public) for code in (*map(str, FlowEncryption), OTHERS) for public in (False, True)
)
"""What the timeline tells apart: status, and whether an end is public."""

_CLASS_NUMBERS: Final = {each: number for number, each in enumerate(CLASSES)}

Key = tuple[str, str, str, str, str, str]
"""Source, destination, port, protocol, direction, status: as texts."""

STATES: Final = (FlowState.BEGIN, FlowState.CONTINUING, FlowState.END, FlowState.DENIED)
PACKETS_SENT, FIRST, LAST = 4, 8, 9
"""Of the 10 sums of a group: lines by state; packets and bytes sent, packets and bytes received; first and last time."""


@dataclass(frozen=True, slots=True)
class FlowGroup:
    """What a group came to.

    Fields:
        source, destination: addresses, who began is the source; :data:`OTHERS` where they are not told apart.
        protocol: as IP numbers it; -1 where they are not told apart.
        destination_port: 0 where there are no ports; -1 likewise.
        side: whose log it is: the source's (outbound) or the destination's.
        encryption: the status.
        is_public: an end is a public address.
        begun, continued, ended, denied: lines with that state.
        packets_sent, bytes_sent, packets_received, bytes_received: from source to destination, and back.
        first, last: time of the earliest and the latest line, in milliseconds since 1970.
    """

    source: str
    destination: str
    protocol: int
    destination_port: int
    side: Side
    encryption: str
    is_public: bool
    begun: int
    continued: int
    ended: int
    denied: int
    packets_sent: int
    bytes_sent: int
    packets_received: int
    bytes_received: int
    first: int
    last: int

    @property
    def lines(self) -> int:
        """Tuples."""
        return self.begun + self.continued + self.ended + self.denied

    @property
    def packets(self) -> int:
        """Both ways."""
        return self.packets_sent + self.packets_received

    @property
    def nbytes(self) -> int:
        """Both ways."""
        return self.bytes_sent + self.bytes_received

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        return {**asdict(self), "side": self.side.name.lower()}


class Tally:
    """The sums. Taken records are counted at the latest by :meth:`flush`.

    Fields:
        records, lines: how many were taken; of lines, all that were looked at.
        passed_over: lines that the filter does not want.
        unreadable: lines that are no tuples.
        example: the first of them, and why.
    """

    def __init__(self, wanted: Filter | None = None, *, most_groups: int = MOST_GROUPS) -> None:
        """
        Args:
            wanted: a filter; None takes all.
            most_groups: that are told apart.
        """
        self.records = 0
        self.lines = 0
        self.passed_over = 0
        self.unreadable = 0
        self.example = ""
        self._wanted = wanted
        self._pending: list[bytes | memoryview] = []
        self._pending_bytes = 0
        self._odd: dict[Key, list[int]] = {}
        self._beyond: dict[tuple[bool, str, str], list[int]] = {}
        # Untouched memory of these costs nothing.
        self._table = np.zeros(1 << (2 * most_groups - 1).bit_length(), np.int64)
        self._hashes = np.zeros(most_groups, np.int64)
        self._key_at = np.zeros(most_groups + 1, np.int64)
        self._keys = np.zeros(most_groups * MOST_KEY + MAX_TUPLE, np.uint8)
        self._sums = np.zeros((most_groups, 10), np.int64)
        self._class_of = np.zeros(most_groups, np.int64)
        self._bins = np.zeros((MOST_BINS, len(CLASSES)), np.int64)
        self._first_bin = -MOST_BINS  # none of them is of a time that there can be
        self._bin_width = FIRST_BIN
        self._starts = np.zeros(14, np.int64)
        self._line = np.zeros(LINE, np.int64)
        self._seed = secrets.randbits(62)
        self._most_odd = min(most_groups, MOST_ODD)

    def add(self, record: Record) -> None:
        """Take a record."""
        self.records += 1
        if record.content is None:
            return
        for acl in record.content.flows:
            for group in acl.groups:
                tuples = memoryview(group.tuples)
                self._pending.append(tuples)
                self._pending_bytes += len(tuples)
        if self._pending_bytes >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Count what was taken and is not counted yet.

        Raises:
            FlowLogError: ``flowTuples`` of a record are no texts.
        """
        data, self._pending, self._pending_bytes = b"".join(self._pending), [], 0
        if self._wanted is not None and not self._wanted.is_of_groups:
            for line in msgspec.json.decode(b"[%s]" % data.replace(b"][", b"],["), type=list[list[str]]):
                self._add_slowly(line)
            return
        text = np.frombuffer(data, np.uint8)
        at = 0
        while (why := self._run(text, at)) != DONE:
            at = self._look_at(why, data)
        self.lines += int(self._line[4] + self._line[5])
        self.passed_over += int(self._line[5])
        self._line[4:6] = 0

    def groups(self) -> Iterator[FlowGroup]:
        """Every group, in the order in which they were met; those that stand for many at the end."""
        odd = dict(self._odd)
        for number in range(int(self._line[3])):
            kind = int(self._class_of[number])
            if kind in {INVALID, UNWANTED}:
                continue
            key = self._key(number)
            sums = self._sums[number].tolist()
            yield _group(key, CLASSES[kind][1], _joined(sums, odd.pop(key, None)))
        for key, sums in odd.items():
            yield _group(key, is_public(key[0]) or is_public(key[1]), sums)
        for (public, side, encryption), sums in self._beyond.items():
            yield FlowGroup(OTHERS, OTHERS, -1, -1, Side(side), encryption, public, *sums)

    @property
    def is_complete(self) -> bool:
        """Whether every group is told apart."""
        return not self._beyond

    @property
    def bin_width(self) -> int:
        """Milliseconds of a bin of :meth:`bins`; bin 0 begins in 1970."""
        return self._bin_width

    def bins(self) -> dict[tuple[int, str, bool], int]:
        """Bytes by number of a bin of time, status and whether an end is public."""
        return {
            (int(number) + self._first_bin, *CLASSES[int(kind)]): int(self._bins[number, kind])
            for number, kind in np.argwhere(self._bins)
        }

    def _run(self, text: NDArray[np.uint8], at: int) -> int:
        return add_lines(
            text,
            at,
            len(text),
            self._seed,
            self._table,
            self._hashes,
            self._key_at,
            self._keys,
            self._sums,
            self._class_of,
            self._bins,
            self._first_bin,
            self._bin_width,
            self._starts,
            self._line,
        )

    def _look_at(self, why: int, data: bytes) -> int:
        """Do what the kernel has stopped for, and say where it is to go on."""
        begin, end = int(self._line[0]), int(self._line[1])
        if why == NOT_TEXT:
            shown = data[begin : begin + 40].decode("utf-8", "replace")
            raise FlowLogError(f"`flowTuples` that are no texts: {shown!r}")
        if why == BIN:
            self._move_bins(int(self._line[6]))
            return begin - 1
        if why == NEW:
            self._class_of[self._line[2]] = self._class(data[begin:end].decode("utf-8", "replace"))
            return begin - 1
        try:
            line = msgspec.json.decode(b'"%s"' % data[begin:end], type=str)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            line = data[begin:end].decode("utf-8", "replace")
        self._add_slowly([line])
        return end + 1

    def _class(self, line: str) -> int:
        """Of the group of a line that is the first one of it."""
        try:
            parsed = parse_tuple(line)
        except FlowLogError:
            return INVALID
        if self._wanted is not None and not self._wanted(line.split(",")):
            return UNWANTED
        return _class_of(parsed.encryption, is_public(parsed.source) or is_public(parsed.destination))

    def _add_slowly(self, lines: list[str]) -> None:
        """Add what the kernel does not, line by line."""
        for line in lines:
            self.lines += 1
            try:
                parsed = parse_tuple(line)
            except FlowLogError as error:
                self.unreadable += 1
                self.example = self.example or str(error)
                continue
            fields = line.split(",")
            if self._wanted is not None and not self._wanted(fields):
                self.passed_over += 1
                continue
            key = (fields[1], fields[2], fields[4], fields[5], fields[6], fields[8])
            public = is_public(parsed.source) or is_public(parsed.destination)
            sums = self._odd.get(key)
            if sums is None and len(self._odd) < self._most_odd:
                sums = self._odd.setdefault(key, [0] * 10)
            if sums is None:
                sums = self._beyond.setdefault((public, str(parsed.side), parsed.encryption), [0] * 10)
            self._add_parsed(parsed, sums, public=public)

    def _add_parsed(self, parsed: FlowTuple, sums: list[int], *, public: bool) -> None:
        counters = (parsed.packets_sent, parsed.bytes_sent, parsed.packets_received, parsed.bytes_received)
        number = STATES.index(parsed.state)
        sums[number] += 1
        for place, counter in enumerate(counters, PACKETS_SENT):
            sums[place] += counter
        sums[FIRST] = min(sums[FIRST] or parsed.time, parsed.time)
        sums[LAST] = max(sums[LAST], parsed.time)
        nbytes = counters[1] + counters[3]
        if number and nbytes < MOST_AT_ONCE:
            if not 0 <= parsed.time // self._bin_width - self._first_bin < MOST_BINS:
                self._move_bins(parsed.time)
            place = parsed.time // self._bin_width - self._first_bin
            self._bins[place, _class_of(parsed.encryption, public)] += nbytes

    def _key(self, number: int) -> Key:
        begin, end = self._key_at[number], self._key_at[number + 1]
        source, destination, port, protocol, side, encryption, _ = (
            self._keys[begin:end].tobytes().decode("ascii").split(",")
        )
        return source, destination, port, protocol, side, encryption

    def _move_bins(self, when: int) -> None:
        """Have the bins reach to a time, with room at both ends, and as narrow as they can be."""
        old = self.bins()
        width = self._bin_width
        numbers = [*(number for number, _, _ in old), when // width]
        low, high = min(numbers), max(numbers)
        while high - low >= MOST_BINS // 2:
            low, high, width = low // 2, high // 2, width * 2
        factor = width // self._bin_width
        self._first_bin = max(low - (MOST_BINS - (high - low + 1)) // 2, 0)
        self._bin_width = width
        self._bins[:] = 0
        for (number, encryption, public), nbytes in old.items():
            self._bins[number // factor - self._first_bin, _class_of(encryption, public)] += nbytes


def _class_of(encryption: str, public: bool) -> int:
    return _CLASS_NUMBERS.get((encryption, public), _CLASS_NUMBERS[OTHERS, public])


def _joined(sums: list[int], more: list[int] | None) -> list[int]:
    if more is None:
        return sums
    return [
        *(one + other for one, other in zip(sums[:FIRST], more[:FIRST], strict=True)),
        min(filter(None, (sums[FIRST], more[FIRST])), default=0),
        max(sums[LAST], more[LAST]),
    ]


def _group(key: Key, public: bool, sums: list[int]) -> FlowGroup:
    source, destination, port, protocol, side, encryption = key
    return FlowGroup(
        source, destination, int(protocol), int(port or "0"), Side(side), encryption, public, *sums
    )


@lru_cache(1 << 16)
def is_public(address: str) -> bool:
    """Whether an address is of the internet: traffic to it is never encrypted, in either mode of enforcement."""
    return is_internet(ip_address(address))
