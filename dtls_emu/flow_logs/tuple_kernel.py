"""Adding up flow tuples at native speed: the bytes of JSON arrays of texts, straight from a file, into sums by group.

1. Skip to the next text, and find where its fields begin.
2. Check the numbers. A line that is not as the vendor writes it is left to Python, which knows the rest.
3. Find the group of its key, or make one, and leave it to Python to check the key.
4. Add.

The kernel returns at each line that Python has to look at, and is called again from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtls_emu.wire.memory import kernel, load_u8


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Numbers = NDArray[np.int64]


__all__ = ["BIN", "DONE", "FULL", "INVALID", "LINE", "NEW", "NOT_TEXT", "ODD", "UNWANTED", "add_lines"]

DONE: Final = 0
NEW: Final = 1  # the line's group has just been made: `class_of` is to be set, then the line is to be added
ODD: Final = 2  # the line is to be read by Python
FULL: Final = 3  # as ODD, because there is no room for another group
BIN: Final = 4  # the line's time is outside of `bins`: they are to be moved, then the line is to be added
NOT_TEXT: Final = 5  # there is something else than texts
"""What the kernel returns."""

INVALID: Final = -1
UNWANTED: Final = -2
"""Classes of groups whose lines are no tuples, or that a filter does not want."""

LINE: Final = 8
"""Numbers of `line`: begin and end of the text, number of the group, number of groups, lines added, lines that were not
wanted, time."""

_QUOTE: Final = 0x22
_BACKSLASH: Final = 0x5C
_COMMA: Final = 0x2C
_ZERO: Final = 0x30
_FIELDS: Final = 13
_LONGEST: Final = 256
_MOST_PROBES: Final = 64
_LARGE: Final = 1 << 62
_LAST_SECONDS: Final = 100_000_000_000
_END_OF_TIME: Final = 253_402_300_800_000
_PRIME: Final = 1_099_511_628_211  # of FNV-1a, 64 bits


@kernel
def number_at(data: Bytes, begin: int, end: int, most: int) -> int:
    """The digits between two places; -1 for what is no number, or has more than ``most`` digits. Nothing is 0."""
    if end - begin > most:
        return -1
    value = 0
    for at in range(begin, end):
        digit = load_u8(data, at) - _ZERO
        if digit < 0 or digit > 9:
            return -1
        value = value * 10 + digit
    return value


@kernel
def hash_of(data: Bytes, begin: int, end: int, seed: int) -> int:
    """FNV-1a of the bytes between two places, going on from a seed."""
    value = seed
    for at in range(begin, end):
        value = (value ^ load_u8(data, at)) * _PRIME
    return (value ^ _COMMA) * _PRIME


@kernel
def matches(data: Bytes, begin: int, end: int, keys: Bytes, at: int) -> int:
    """Where the key goes on behind a field that is the same, and the comma after it; -1 when it differs."""
    for place in range(begin, end):
        if load_u8(data, place) != load_u8(keys, at):
            return -1
        at += 1
    return at + 1 if load_u8(keys, at) == _COMMA else -1


@kernel
def store_field(data: Bytes, begin: int, end: int, keys: Bytes, at: int) -> int:
    """Put a field and a comma into the keys; the place behind them."""
    for place in range(begin, end):
        keys[at] = data[place]
        at += 1
    keys[at] = _COMMA
    return at + 1


@kernel
def add_lines(
    data: Bytes,
    at: int,
    end: int,
    seed: int,
    table: Numbers,
    hashes: Numbers,
    key_at: Numbers,
    keys: Bytes,
    sums: Numbers,
    class_of: Numbers,
    bins: Numbers,
    first_bin: int,
    bin_width: int,
    starts: Numbers,
    line: Numbers,
) -> int:
    """Add lines from a place on.

    Args:
        data: bytes of JSON arrays, one behind the other; whole texts.
        at, end: the part of it.
        seed: of the hash, so that nobody can make keys that all fall together.
        table: groups by hash, plus one; 0 is free. A power of two, more than there can be groups.
        hashes, key_at, class_of: of each group; ``key_at`` has one more, the end of the last key.
        keys: source, destination, port, protocol, direction and status of each group, a comma behind each.
        sums: 10 numbers of each group, as in :mod:`dtls_emu.flow_logs.tally`.
        bins: bytes by bin and class.
        first_bin, bin_width: the number of the first bin, and milliseconds of each.
        starts: room for the places of 14 fields.
        line: :data:`LINE` numbers; see there.

    Returns:
        DONE, or why it has stopped.
    """
    mask = len(table) - 1
    while at < end:
        byte = load_u8(data, at)
        if byte != _QUOTE:
            if byte not in (0x5B, 0x5D, _COMMA, 0x20, 0x09, 0x0A, 0x0D):
                line[0] = at
                line[1] = end
                return NOT_TEXT
            at += 1
            continue

        # 1: the fields
        begin = at + 1
        at = begin
        field = 0
        is_odd = False
        starts[0] = begin
        while at < end:
            byte = load_u8(data, at)
            if byte == _QUOTE:
                break
            if byte == _BACKSLASH:
                is_odd = True
                at += 1
            elif byte == _COMMA:
                field += 1
                if field < _FIELDS:
                    starts[field] = at + 1
            at += 1
        stop = min(at, end)
        at = stop + 1
        line[0] = begin
        line[1] = stop
        if is_odd or field != _FIELDS - 1 or stop - begin > _LONGEST:
            return ODD
        starts[_FIELDS] = stop + 1

        # 2: the numbers
        when = number_at(data, begin, starts[1] - 1, 15)
        if when < _LAST_SECONDS:
            when = when * 1000 if when > 0 else -1
        port = number_at(data, starts[3], starts[4] - 1, 5)
        packets_sent = number_at(data, starts[9], starts[10] - 1, 11)
        bytes_sent = number_at(data, starts[10], starts[11] - 1, 11)
        packets_received = number_at(data, starts[11], starts[12] - 1, 11)
        bytes_received = number_at(data, starts[12], stop, 11)
        state = load_u8(data, starts[7])
        number = -1
        if starts[8] - starts[7] == 2:
            if state == 0x42:
                number = 0
            elif state == 0x43:
                number = 1
            elif state == 0x45:
                number = 2
            elif state == 0x44:
                number = 3
        if (
            when < 0
            or when >= _END_OF_TIME
            or port < 0
            or port > 0xFFFF
            or number < 0
            or (packets_sent | bytes_sent | packets_received | bytes_received) < 0
        ):
            return ODD

        # 3: the group
        value = hash_of(data, starts[1], starts[2] - 1, seed)
        value = hash_of(data, starts[2], starts[3] - 1, value)
        value = hash_of(data, starts[4], starts[5] - 1, value)
        value = hash_of(data, starts[5], starts[6] - 1, value)
        value = hash_of(data, starts[6], starts[7] - 1, value)
        value = hash_of(data, starts[8], starts[9] - 1, value)
        slot = (value ^ (value >> 29)) & mask
        group = -1
        for _ in range(_MOST_PROBES):
            found = table[slot] - 1
            if found < 0:
                break
            if hashes[found] == value:
                place = key_at[found]
                place = matches(data, starts[1], starts[2] - 1, keys, place)
                if place >= 0:
                    place = matches(data, starts[2], starts[3] - 1, keys, place)
                if place >= 0:
                    place = matches(data, starts[4], starts[5] - 1, keys, place)
                if place >= 0:
                    place = matches(data, starts[5], starts[6] - 1, keys, place)
                if place >= 0:
                    place = matches(data, starts[6], starts[7] - 1, keys, place)
                if place >= 0:
                    place = matches(data, starts[8], starts[9] - 1, keys, place)
                if place >= 0:
                    group = found
                    break
            slot = (slot + 1) & mask
        if group < 0:
            if table[slot] != 0 or line[3] == len(hashes) or key_at[line[3]] + _LONGEST > len(keys):
                return FULL
            group = line[3]
            table[slot] = group + 1
            hashes[group] = value
            place = key_at[group]
            place = store_field(data, starts[1], starts[2] - 1, keys, place)
            place = store_field(data, starts[2], starts[3] - 1, keys, place)
            place = store_field(data, starts[4], starts[5] - 1, keys, place)
            place = store_field(data, starts[5], starts[6] - 1, keys, place)
            place = store_field(data, starts[6], starts[7] - 1, keys, place)
            key_at[group + 1] = store_field(data, starts[8], starts[9] - 1, keys, place)
            line[2] = group
            line[3] = group + 1
            return NEW

        # 4: the sums
        kind = class_of[group]
        if kind == UNWANTED:
            line[5] += 1
            continue
        if kind == INVALID or max(sums[group, 4], sums[group, 5], sums[group, 6], sums[group, 7]) > _LARGE:
            return ODD
        if number:
            bin_number = when // bin_width - first_bin
            if bin_number < 0 or bin_number >= len(bins):
                line[6] = when
                return BIN
            bins[bin_number, kind] += bytes_sent + bytes_received
        sums[group, number] += 1
        sums[group, 4] += packets_sent
        sums[group, 5] += bytes_sent
        sums[group, 6] += packets_received
        sums[group, 7] += bytes_received
        if sums[group, 8] == 0 or when < sums[group, 8]:
            sums[group, 8] = when
        sums[group, 9] = max(sums[group, 9], when)
        line[4] += 1
    return DONE
