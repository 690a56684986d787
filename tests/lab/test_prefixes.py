"""Many prefixes are searched and compared as one would compare each with each, in much less time."""

from ipaddress import IPv6Address, ip_address, ip_network
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.lab.prefixes import PrefixMap, PrefixSet, clashes, nested


@st.composite
def prefix(draw):
    """Of few addresses, so that many overlap."""
    if draw(st.booleans()):
        return ip_network((draw(st.integers(0, 15)) << 28, draw(st.integers(0, 4))), strict=False)
    return ip_network((draw(st.integers(0, 15)) << 124, draw(st.integers(0, 4))), strict=False)


def overlap(one, two):
    return one.version == two.version and one.overlaps(two)


@given(st.lists(prefix(), max_size=12), st.integers(0, 15))
def test_an_address_is_found_in_a_prefix_that_holds_it(prefixes, number):
    """In none where none does."""
    space = PrefixSet(prefixes)
    for address in (ip_address(number << 28), IPv6Address(number << 124)):
        inside = [each for each in prefixes if each.version == address.version and address in each]
        assert (address in space) is bool(inside)
        assert space.find(address) in (inside or [None])


@given(
    st.lists(st.tuples(prefix(), st.sampled_from("abc")), max_size=12),
    st.sets(st.sampled_from("abc")),
    st.integers(0, 15),
)
def test_the_longest_prefix_of_those_asked_for_is_found(prefixes, among, number):
    """Whoever else has a longer one; several owners may have the same."""
    table = PrefixMap(prefixes)
    for address in (ip_address(number << 28), IPv6Address(number << 124)):
        matches = [
            (each.prefixlen, owner)
            for each, owner in prefixes
            if owner in among and each.version == address.version and address in each
        ]
        longest = max((length for length, _ in matches), default=None)
        expected = {owner for length, owner in matches if length == longest} or {None}
        assert table.find(address, among) in expected


@given(st.lists(prefix(), max_size=12))
def test_a_prefix_inside_another_is_found(prefixes):
    """Each once, with one that holds it: first among equals stays out."""
    found = list(nested(prefixes))
    inner = [position for _, position in found]
    assert len(set(inner)) == len(inner)
    assert all(overlap(prefixes[outer], prefixes[position]) for outer, position in found)
    assert bool(found) is any(overlap(one, two) for one, two in combinations(prefixes, 2))
    rest = [each for position, each in enumerate(prefixes) if position not in inner]
    assert not any(overlap(one, two) for one, two in combinations(rest, 2))


@given(
    st.lists(st.tuples(prefix(), st.integers(0, 5)), max_size=12),
    st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8),
)
def test_owners_that_clash_are_those_that_a_comparison_of_all_finds(owned, pairs):
    """Neighbours, or with a neighbour in common, and with prefixes that overlap."""
    near = {
        owner: {b if a == owner else a for a, b in pairs if owner in {a, b} and a != b} for owner in range(6)
    }
    neighbours = [sum(1 << other for other in near[owner]) for owner in range(6)]
    expected = {
        (min(a, b), max(a, b))
        for (one, a), (two, b) in combinations(owned, 2)
        if a != b and overlap(one, two) and (b in near[a] or near[a] & near[b])
    }
    found = [(min(a, b), max(a, b)) for a, b, _ in clashes(owned, neighbours)]
    assert len(found) == len(set(found))
    assert set(found) == expected
