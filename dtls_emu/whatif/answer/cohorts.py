"""Endpoints that are alike, counted: by network, and by what decides about their pairs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dtls_emu.vocabulary import EndpointKind
from dtls_emu.whatif.answer.ends import End, end_of, is_capable, matched_tags
from dtls_emu.whatif.answer.zones import Zones
from dtls_emu.whatif.model.estate import Endpoint


if TYPE_CHECKING:
    from dtls_emu.lab.profiles import Profile
    from dtls_emu.whatif.answer.question import NetworkState, Question
    from dtls_emu.whatif.model.estate import Balancer, Estate


__all__ = ["Census", "Cohort", "balancer_kind", "take_census"]


@dataclass(slots=True)
class Cohort:
    """Endpoints of one network that are alike.

    Fields:
        end: what decides about them.
        network: id.
        count: how many; at least so many where ``open_ended``.
        names: of each; of a scale set once.
    """

    end: End
    network: str
    count: int = 0
    open_ended: bool = False
    names: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Census:
    """All cohorts.

    Fields:
        by_network: of each network, by its id.
        ends: of each endpoint and load balancer, by its id.
    """

    by_network: dict[str, dict[End, Cohort]]
    ends: dict[str, End]


def take_census(
    estate: Estate, states: dict[str, NetworkState], question: Question, profile: Profile
) -> Census:
    """Count the endpoints of an estate, load balancers among them."""
    census = Census({network: {} for network in estate.networks}, {})
    zones = Zones(estate)
    interned: dict[End, End] = {}  # equal ends are one object, so that finding them again is quick
    everything = [
        *estate.endpoints.values(),
        *(_balanced(each, estate, profile) for each in estate.balancers.values()),
    ]
    for endpoint in everything:
        state = states.get(endpoint.network)
        if state is None:
            continue
        tags = matched_tags(endpoint.tags, question)
        tags |= matched_tags(estate.networks[endpoint.network].tags, question)
        found = end_of(endpoint, state, profile, tags, zones.of(endpoint))
        end = interned.setdefault(found, found)
        census.ends[endpoint.id] = end
        cohort = census.by_network[endpoint.network].setdefault(end, Cohort(end, endpoint.network))
        cohort.count += 1 if endpoint.count is None else endpoint.count
        cohort.open_ended = cohort.open_ended or endpoint.count is None or not endpoint.certain
        cohort.names.append(endpoint.name)
    return census


def balancer_kind(balancer: Balancer, estate: Estate, profile: Profile) -> EndpointKind | None:
    """What a load balancer is to the policy; None where the sizes behind it are not known."""
    if balancer.secondary:
        return EndpointKind.LOAD_BALANCER_SECONDARY
    found = {
        is_capable(estate.endpoints[each], profile) for each in balancer.backends if each in estate.endpoints
    }
    if {True, False} <= found:
        return EndpointKind.LOAD_BALANCER_MIXED
    return None if None in found or not found else EndpointKind.LOAD_BALANCER


def _balanced(balancer: Balancer, estate: Estate, profile: Profile) -> Endpoint:
    """A load balancer as an endpoint: with the size of what is behind it, which is what has to be encrypted."""
    kind = balancer_kind(balancer, estate, profile)
    behind = [estate.endpoints[each] for each in balancer.backends if each in estate.endpoints]
    accelerated = {each.accelerated for each in behind}
    return Endpoint(
        balancer.id,
        balancer.name,
        kind or EndpointKind.LOAD_BALANCER,
        "load balancer",
        balancer.network,
        balancer.subnet,
        size=behind[0].size if kind is EndpointKind.LOAD_BALANCER else None,
        can_encrypt=is_capable(behind[0], profile) if kind is EndpointKind.LOAD_BALANCER else None,
        accelerated=False if False in accelerated else None if None in accelerated or not behind else True,
        tags=balancer.tags,
        place=balancer.place,
    )
