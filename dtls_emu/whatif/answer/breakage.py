"""What stops working, and what is refused, once encryption is on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dtls_emu.lab.sizes import canonical_size, size_row
from dtls_emu.vocabulary import Basis, EndpointKind, Outcome
from dtls_emu.whatif.answer.cohorts import balancer_kind
from dtls_emu.whatif.answer.ends import is_capable, source_of


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.lab.profiles import Profile
    from dtls_emu.whatif.answer.cohorts import Census
    from dtls_emu.whatif.answer.question import NetworkState
    from dtls_emu.whatif.model.estate import Endpoint, Estate
    from dtls_emu.whatif.template.values import Place


__all__ = ["Breakage", "find_breakages"]


@dataclass(frozen=True, slots=True)
class Breakage:
    """One thing that breaks.

    Fields:
        what: it is, with its name; network: name of where it is.
        why: it breaks.
        certain: False: it may.
        basis, source: how sure that is, and where it is said.
        place: in the files; None where it is in none.
    """

    what: str
    network: str
    why: str
    certain: bool
    basis: str
    source: str
    place: Place | None


_TAP: Final = (
    "virtual network TAP: VMs in a network with encryption enabled cannot be set as mirroring source"
)
_CONFIDENTIAL: Final = "overview: do not enable in networks that use confidential VM sizes"
_APPLIANCE: Final = (
    "issue of a vendor of appliances, 2026-09: VPN gateway with an appliance lost connectivity, also under "
    "AllowUnencrypted; the cloud's vendor is reviewing its documents"
)


def find_breakages(
    estate: Estate, states: dict[str, NetworkState], census: Census, profile: Profile
) -> list[Breakage]:
    """Everything that breaks, in the order of the files."""
    return [
        *_endpoints(estate, states, census),
        *_balancers(estate, states, profile),
        *_mirrors(estate, states),
        *_confidential(estate, states, profile),
        *_appliances(estate, states),
    ]


def _endpoints(estate: Estate, states: dict[str, NetworkState], census: Census) -> Iterator[Breakage]:
    """Kinds of endpoints that lose connectivity."""
    for endpoint in estate.endpoints.values():
        end, state = census.ends.get(endpoint.id), states.get(endpoint.network)
        if end is None or state is None or state.encrypted is False:
            continue
        if end.outcome is Outcome.FAILS or (
            end.outcome is None and endpoint.kind is EndpointKind.AKS_API_SERVER
        ):
            certain = end.outcome is Outcome.FAILS and state.encrypted is True and endpoint.certain
            why = "loses connectivity in an encrypted network"
            if endpoint.kind is EndpointKind.AKS_API_SERVER:
                why = "is blocked with node sizes v4 and newer"
            yield _broken(endpoint, estate, why, certain, *source_of(endpoint.kind))


def _broken(endpoint: Endpoint, estate: Estate, why: str, certain: bool, basis: str, source: str) -> Breakage:
    network = estate.networks[endpoint.network].name
    name = endpoint.name if endpoint.what in endpoint.name else f"{endpoint.what} {endpoint.name}"
    return Breakage(name, network, why, certain, basis, source, endpoint.place)


def _balancers(estate: Estate, states: dict[str, NetworkState], profile: Profile) -> Iterator[Breakage]:
    for balancer in estate.balancers.values():
        state = states.get(balancer.network)
        if state is None or state.encrypted is False:
            continue
        kind = balancer_kind(balancer, estate, profile)
        if kind in {EndpointKind.LOAD_BALANCER_MIXED, EndpointKind.LOAD_BALANCER_SECONDARY}:
            assert kind is not None
            behind = [estate.endpoints[each] for each in balancer.backends if each in estate.endpoints]
            if kind is EndpointKind.LOAD_BALANCER_MIXED:
                sizes = sorted({f"{each.size}" for each in behind if is_capable(each, profile) is False})
                why = f"has sizes behind it that can be encrypted, and others: {', '.join(sizes)}"
            else:
                why = "uses secondary IPv4 configurations of interfaces: connections fail"
            yield Breakage(
                f"load balancer {balancer.name}",
                estate.networks[balancer.network].name,
                why,
                state.encrypted is True and kind in profile.unsupported,
                *source_of(kind),
                balancer.place,
            )


def _mirrors(estate: Estate, states: dict[str, NetworkState]) -> Iterator[Breakage]:
    for mirror in estate.mirrors:
        sources = [estate.endpoints[each] for each in mirror.sources if each in estate.endpoints]
        for endpoint in sources:
            state = states.get(endpoint.network)
            if state is not None and state.encrypted is not False:
                network = estate.networks[endpoint.network].name
                yield Breakage(
                    f"mirror {mirror.name} of {endpoint.name}",
                    network,
                    "is refused: its source is in an encrypted network",
                    state.encrypted is True,
                    str(Basis.DOC),
                    _TAP,
                    mirror.place,
                )


def _confidential(estate: Estate, states: dict[str, NetworkState], profile: Profile) -> Iterator[Breakage]:
    said: set[tuple[str, str]] = set()
    for endpoint in estate.endpoints.values():
        state = states.get(endpoint.network)
        if state is None or state.encrypted is False or not endpoint.size:
            continue
        row = size_row(canonical_size(endpoint.size), profile.sizes)
        if row is None or "confidential" not in row.families or (endpoint.network, endpoint.size) in said:
            continue
        said.add((endpoint.network, endpoint.size))
        why = f"size {endpoint.size} is confidential: the vendor says not to enable encryption beside it"
        yield _broken(endpoint, estate, why, False, str(Basis.DOC), _CONFIDENTIAL)


def _appliances(estate: Estate, states: dict[str, NetworkState]) -> Iterator[Breakage]:
    """A VPN gateway beside routes to an appliance that is no firewall of the cloud's own."""
    gateways = [each for each in estate.endpoints.values() if each.kind is EndpointKind.VPN_GATEWAY]
    machines = {
        each.address for each in estate.endpoints.values() if each.kind is EndpointKind.VM and each.address
    }
    by_machine = any(route.next_hop in machines for routes in estate.routes.values() for route in routes)
    for gateway in gateways if by_machine else ():
        state = states.get(gateway.network)
        if state is not None and state.encrypted is not False:
            why = "with an appliance on the way: users report lost connectivity"
            yield _broken(gateway, estate, why, False, str(Basis.REP), _APPLIANCE)
