"""Many prefixes at once: which one an address is in, and which of them overlap, in about linear time.

Prefixes never cross: of two, one holds the other or they are apart. So those around a prefix are a stack when
prefixes are gone through in the order of their first addresses, longer ones after those that hold them.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet


__all__ = ["Address", "Prefix", "PrefixMap", "PrefixSet", "clashes", "nested"]

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network


class PrefixSet:
    """A set of prefixes that finds the one an address is in with one dictionary hit for each length."""

    __slots__ = ("_lengths",)

    def __init__(self, prefixes: Iterable[Prefix]) -> None:
        lengths: dict[tuple[int, int], dict[int, Prefix]] = {}
        for prefix in prefixes:
            shift = prefix.max_prefixlen - prefix.prefixlen
            heads = lengths.setdefault((prefix.version, shift), {})
            heads.setdefault(int(prefix.network_address) >> shift, prefix)
        self._lengths = tuple((version, shift, heads) for (version, shift), heads in lengths.items())

    def find(self, address: Address) -> Prefix | None:
        """A prefix with this address in it, None where there is none."""
        number, version = int(address), address.version
        return next(
            (
                heads[number >> shift]
                for each, shift, heads in self._lengths
                if each == version and number >> shift in heads
            ),
            None,
        )

    def __contains__(self, address: Address) -> bool:
        return self.find(address) is not None


class PrefixMap:
    """From prefixes to their owners, of which several may have the same prefix: longest-prefix match among some of them.

    One dictionary hit for each length that occurs, whatever the number of prefixes and owners.
    """

    __slots__ = ("_lengths",)

    def __init__(self, prefixes: Iterable[tuple[Prefix, str]]) -> None:
        lengths: dict[tuple[int, int], dict[int, set[str]]] = {}
        for prefix, owner in prefixes:
            shift = prefix.max_prefixlen - prefix.prefixlen
            heads = lengths.setdefault((prefix.version, shift), {})
            heads.setdefault(int(prefix.network_address) >> shift, set()).add(owner)
        # The longest first.
        self._lengths = [(version, shift, lengths[version, shift]) for version, shift in sorted(lengths)]

    def find(self, address: Address, among: AbstractSet[str]) -> str | None:
        """The owner, among these, of the longest prefix with this address in it; None where there is none."""
        found = self.find_longest(address, among)
        return None if found is None else found[0]

    def find_longest(self, address: Address, among: AbstractSet[str]) -> tuple[str, int] | None:
        """As :meth:`find`, with the length of the prefix."""
        number, version = int(address), address.version
        for each, shift, heads in self._lengths:
            if each == version:
                owners = heads.get(number >> shift)
                if owners is not None and (found := owners & among):
                    return min(found), address.max_prefixlen - shift
        return None

    def has(self, prefix: Prefix, owner: str) -> bool:
        """Whether an owner has exactly this prefix here."""
        shift = prefix.max_prefixlen - prefix.prefixlen
        return any(
            owner in heads.get(int(prefix.network_address) >> shift, ())
            for version, each, heads in self._lengths
            if (version, each) == (prefix.version, shift)
        )


def nested(prefixes: Sequence[Prefix]) -> Iterator[tuple[int, int]]:
    """Of each prefix that is inside another, or equal to one before it: the positions of that other and its own."""
    around: list[int] = []
    for position in _in_order(prefixes):
        prefix = prefixes[position]
        while around and not _holds(prefixes[around[-1]], prefix):
            around.pop()
        if around:
            yield around[-1], position
        around.append(position)


def clashes(
    prefixes: Sequence[tuple[Prefix, int]], neighbours: Sequence[int]
) -> Iterator[tuple[int, int, Prefix]]:
    """Where prefixes of two owners overlap that have to do with each other.

    Two owners have when they are neighbours, or have a neighbour in common. Each pair of owners is found once.

    Args:
        prefixes: each with its owner, a small number.
        neighbours: by owner, the numbers of others as bits of an integer; mutual.

    Yields:
        Both owners, and a prefix of one of them that the other has, too, as a whole.
    """
    near: dict[int, int] = {}
    found: set[tuple[int, int]] = set()
    plain = [prefix for prefix, _ in prefixes]
    around: list[tuple[Prefix, int]] = []  # with the owners of all up to here, as bits
    for position in _in_order(plain):
        prefix, owner = prefixes[position]
        while around and not _holds(around[-1][0], prefix):
            around.pop()
        owners = around[-1][1] if around else 0
        others = owners & ~(1 << owner)
        if others:
            if owner not in near:
                near[owner] = _two_steps(owner, neighbours)
            for other in _bits(others & near[owner]):
                pair = min(owner, other), max(owner, other)
                if pair not in found:
                    found.add(pair)
                    yield other, owner, prefix
        around.append((prefix, owners | 1 << owner))


def _two_steps(owner: int, neighbours: Sequence[int]) -> int:
    near = neighbours[owner]
    for neighbour in _bits(neighbours[owner]):
        near |= neighbours[neighbour]
    return near


def _bits(number: int) -> Iterator[int]:
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest


def _in_order(prefixes: Sequence[Prefix]) -> list[int]:
    def key(position: int) -> tuple[int, int, int, int]:
        prefix = prefixes[position]
        return prefix.version, int(prefix.network_address), prefix.prefixlen, position

    return sorted(range(len(prefixes)), key=key)


def _holds(outer: Prefix, inner: Prefix) -> bool:
    """Whether the inner, which does not begin before the outer, is in it."""
    shift = outer.max_prefixlen - outer.prefixlen
    return (
        outer.version == inner.version
        and int(outer.network_address) >> shift == int(inner.network_address) >> shift
    )
