"""Pairs of endpoints, by what becomes of them: counted in groups, never one by one.

1. Within each network, cohort by cohort.
2. Across each peering.
3. In each connected group: all networks that are alike at once, less what is within a network.
4. Through appliances and hubs: of two legs the worse one decides.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from dtls_emu.vocabulary import EndpointKind, Outcome
from dtls_emu.whatif.answer.ends import Cause, End, Remedy
from dtls_emu.whatif.answer.ruling import Fate, Ruling, knobs_of, rule, worse


if TYPE_CHECKING:
    from dtls_emu.lab.profiles import Profile
    from dtls_emu.whatif.answer.cohorts import Census, Cohort
    from dtls_emu.whatif.answer.ways import Span, Ways


__all__ = ["Edge", "PairGroup", "Pairs", "count_pairs"]

WITHIN: Final = "same network"


@dataclass(slots=True)
class PairGroup:
    """Pairs of which the same becomes, for the same reason.

    Fields:
        ruling: what becomes of them, and the row that says so.
        causes: why they are not encrypted: those of the first end; empty where the row says all.
        both: the second end has causes of its own.
        first, second: labels of the ends; the first one is the cause, where one of them is.
        kind: of the end that is no workload, else VM.
        pairs: how many; at least so many where ``open_ended``.
        routes: ways that they take.
        firsts, seconds: which endpoints: (end, network id).
        tags: those of the question that an end has.
        after_restart: of the pairs, those of which an end has to be stopped and started first.
    """

    ruling: Ruling
    causes: tuple[Cause, ...]
    both: bool
    first: str
    second: str
    kind: EndpointKind
    pairs: int = 0
    open_ended: bool = False
    routes: set[str] = field(default_factory=set)
    firsts: set[tuple[End, str]] = field(default_factory=set)
    seconds: set[tuple[End, str]] = field(default_factory=set)
    tags: set[str] = field(default_factory=set)
    after_restart: int = 0


@dataclass(slots=True)
class Edge:
    """What becomes of the pairs between two networks, or within one: pairs by fate."""

    route: str
    fates: dict[Fate, int] = field(default_factory=lambda: defaultdict(int))


@dataclass(slots=True)
class Pairs:
    """All pairs.

    Fields:
        groups: from the most pairs to the fewest, the worst fates first.
        worth: for each cause, pairs that are not encrypted for it, whichever end has it.
        edges: by the ids of two networks (or one twice), or of one and what joins it with many.
    """

    groups: list[PairGroup]
    worth: Counter[Cause]
    edges: dict[tuple[str, str], Edge]

    def total(self, *fates: Fate) -> int:
        """Pairs with one of these fates; all pairs, where none is named."""
        return sum(each.pairs for each in self.groups if not fates or each.ruling.fate in fates)


def count_pairs(census: Census, ways: Ways, profile: Profile) -> Pairs:
    """Count and decide."""
    counter = _Counter(census, profile)
    for network, cohorts in census.by_network.items():
        counter.within(network, [*cohorts.values()])
    for (first, second), route in ways.peered.items():
        counter.between(first, second, route)
    for number in range(len(ways.spans)):
        counter.across(number, ways)
    order = {fate: number for number, fate in enumerate(Fate)}
    groups = sorted(
        counter.groups.values(), key=lambda each: (-order[each.ruling.fate], -each.pairs, each.first)
    )
    return Pairs(groups, counter.worth, counter.edges)


class _Counter:
    """Adds pairs to groups and edges."""

    def __init__(self, census: Census, profile: Profile) -> None:
        self._census = census
        self._knobs = knobs_of(profile)
        self.groups: dict[tuple[object, ...], PairGroup] = {}
        self.edges: dict[tuple[str, str], Edge] = {}
        self.worth: Counter[Cause] = Counter()

    def within(self, network: str, cohorts: list[Cohort]) -> None:
        """Pairs of one network."""
        edge = Edge(WITHIN)
        for index, one in enumerate(cohorts):
            for other in cohorts[index:]:
                pairs = one.count * (one.count - 1) // 2 if one is other else one.count * other.count
                self._add(one, other, pairs, WITHIN, edge)
        if edge.fates:
            self.edges[network, network] = edge

    def between(self, first: str, second: str, route: str) -> None:
        """Pairs of two networks."""
        edge = self.edges[first, second] = Edge(route)
        for one in self._census.by_network[first].values():
            for other in self._census.by_network[second].values():
                self._add(one, other, one.count * other.count, route, edge)

    def across(self, number: int, ways: Ways) -> None:
        """Pairs of all networks that a span joins; where several join the same two networks, the first one counts."""
        span = ways.spans[number]
        way = self._way(span)
        inner = [pair for pair in ways.peered if span.networks.issuperset(pair)] if span.is_detour else []
        totals = self._totals(span.networks, ways)
        edge = Edge(span.route)
        for index, (one, membership) in enumerate(totals):
            for other, others in totals[index:]:
                if min(membership & others) != number:
                    continue
                pairs = _sum(one) * _sum(other)
                pairs -= sum(
                    one[network].count * other[network].count for network in one.keys() & other.keys()
                )
                pairs -= sum(
                    _count(one, a) * _count(other, b) + _count(one, b) * _count(other, a) for a, b in inner
                )
                self._add_all(one, other, pairs // 2 if one is other else pairs, span.route, edge, way)
        if edge.fates:
            self.edges.update({(network, span.route): edge for network in sorted(span.networks)})

    def _way(self, span: Span) -> End | None:
        """What stands between the networks of a span; None where nothing does."""
        if not span.is_detour:
            return None
        found = self._census.ends.get(span.through)
        if found is not None:
            return found
        # A hub, or an appliance that no file shows: that its leg is encrypted is known of neither.
        kind = EndpointKind.VIRTUAL_WAN_HUB if span.is_hub else EndpointKind.UNKNOWN
        causes = () if span.is_hub else (Cause("what the route leads to is not in these files", Remedy.NONE),)
        outcome = Outcome.CLEAR if span.is_hub else None
        return End(kind, "hub", "", None, None, outcome, incapable=False, causes=causes, tags=frozenset())

    def _rule(self, one: End, other: End, way: End | None) -> Ruling:
        if way is None:
            return rule(one, other, self._knobs)
        legs = [rule(end, _beside(way, end), self._knobs) for end in (one, other)]
        return worse(*legs)

    def _totals(self, networks: frozenset[str], ways: Ways) -> list[tuple[dict[str, Cohort], frozenset[int]]]:
        """By what decides and by the spans that a network is in: its cohorts, by network."""
        found: dict[tuple[End, frozenset[int]], dict[str, Cohort]] = {}
        for network in sorted(networks):
            membership = ways.memberships[network]
            for end, cohort in self._census.by_network[network].items():
                found.setdefault((end, membership), {})[network] = cohort
        return [(cohorts, membership) for (_, membership), cohorts in found.items()]

    def _add_all(
        self,
        one: dict[str, Cohort],
        other: dict[str, Cohort],
        pairs: int,
        route: str,
        edge: Edge,
        way: End | None,
    ) -> None:
        first, second = next(iter(one.values())), next(iter(other.values()))
        group = self._add(first, second, pairs, route, edge, way)
        if group is None:
            return
        if _is_first(second.end, first.end):
            one, other = other, one
        group.firsts.update((each.end, network) for network, each in one.items())
        group.seconds.update((each.end, network) for network, each in other.items())
        group.open_ended = group.open_ended or any(
            each.open_ended for each in (*one.values(), *other.values())
        )

    def _add(
        self,
        one: Cohort,
        other: Cohort,
        pairs: int,
        route: str,
        edge: Edge,
        way: End | None = None,
    ) -> PairGroup | None:
        if pairs <= 0 or not (one.end.is_workload or other.end.is_workload):
            return None
        if one.end.outcome is Outcome.PUBLIC or other.end.outcome is Outcome.PUBLIC:
            return None
        ruling = self._rule(one.end, other.end, way)
        if _is_first(other.end, one.end):
            one, other = other, one
        is_about_ends = ruling.fate is not Fate.ENCRYPTED and (
            ruling.row is None or ruling.row.number in {13, 15}
        )
        causes = (one.end.causes or (way.causes if way is not None else ())) if is_about_ends else ()
        both = bool(is_about_ends and other.end.causes)
        special = next((each.end.kind for each in (one, other) if not each.end.is_workload), EndpointKind.VM)
        if way is not None and special is EndpointKind.VM:
            special = way.kind
        name = ruling.row.name if ruling.row is not None else ""
        key = (
            ruling.fate,
            name,
            causes,
            one.end.label,
            other.end.what,
            special,
            route if way is not None else "",
        )
        group = self.groups.get(key)
        if group is None:
            group = PairGroup(ruling, causes, both, one.end.label, other.end.what, special)
            self.groups[key] = group
        group.pairs += pairs
        group.after_restart += pairs if one.end.to_restart or other.end.to_restart else 0
        group.open_ended = group.open_ended or one.open_ended or other.open_ended
        group.routes.add(route)
        group.firsts.add((one.end, one.network))
        group.seconds.add((other.end, other.network))
        group.tags |= one.end.tags | other.end.tags
        edge.fates[ruling.fate] += pairs
        if is_about_ends:
            for cause in {*one.end.causes, *other.end.causes}:
                self.worth[cause] += pairs
        return group


def _beside(way: End, end: End) -> End:
    """What stands between networks and is in none of them, as it looks from one of them."""
    return way if way.encrypted is not None else replace(way, encrypted=end.encrypted, drops=end.drops)


def _sum(cohorts: dict[str, Cohort]) -> int:
    return sum(each.count for each in cohorts.values())


def _count(cohorts: dict[str, Cohort], network: str) -> int:
    found = cohorts.get(network)
    return 0 if found is None else found.count


def _blame(end: End) -> int:
    """How much an end is the cause of what becomes of a pair."""
    if end.outcome is not Outcome.AS_VM:
        return 4
    if end.encrypted is not True:
        return 3
    return 2 if end.incapable or end.conditions else 1 if end.causes else 0


def _is_first(end: End, other: End) -> bool:
    """Whether an end is named before another: the one that is the cause, and always the same one."""
    return (_blame(end), end.label) > (_blame(other), other.label)
