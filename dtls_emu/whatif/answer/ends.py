"""One end of a pair: what the decision table asks about it, and why it cannot be encrypted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from dtls_emu.lab.endpoint_kinds import ENDPOINTS, needs_capability, resolved
from dtls_emu.lab.problems import shown
from dtls_emu.lab.sizes import canonical_size, nearest_sizes, size_row
from dtls_emu.vocabulary import EndpointKind, Outcome


if TYPE_CHECKING:
    from dtls_emu.lab.profiles import Profile
    from dtls_emu.lab.sizes import SizeRow
    from dtls_emu.whatif.answer.question import NetworkState, Question
    from dtls_emu.whatif.answer.zones import Zone
    from dtls_emu.whatif.model.estate import Endpoint


__all__ = ["WORKLOADS", "Cause", "End", "Remedy", "end_of", "is_capable", "matched_tags", "source_of"]

WORKLOADS: Final = frozenset(
    {
        EndpointKind.VM,
        EndpointKind.AKS_CNI,
        EndpointKind.AKS_OVERLAY,
        EndpointKind.AKS_KUBENET,
        EndpointKind.AKS_BYOCNI,
        EndpointKind.AKS_POD_SUBNET,
    }
)
"""What sends of its own accord: a pair has at least one of them."""


class Remedy(StrEnum):
    """What would make an end able to be encrypted."""

    RESIZE = "resize"
    ACCELERATE = "accelerated-networking"
    RESTART = "restart"
    NAME_SIZE = "name-size"  # the size is not known
    ENABLE = "enable-network"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why an end is not encrypted, or why that is not known.

    Fields:
        text: in words, about the end.
        remedy: what would help.
    """

    text: str
    remedy: Remedy


@dataclass(frozen=True, slots=True)
class End:
    """What is alike about endpoints that are alike: everything that decides about their pairs.

    Fields:
        kind, what, size: as in the model.
        encrypted, drops: of the network; None where that is not known.
        outcome: what encryption means for the kind; None where that is not known.
        incapable: size, accelerated networking or a missing restart keeps it from encryption; None: not known.
        causes: why, or why that is not known.
        tags: those of the question that it has.
        to_restart: it has to be stopped and started before it is encrypted.
        conditions: what else a lab says of it.
        zone: where security rules are asked about it; None where they make no difference.
    """

    kind: EndpointKind
    what: str
    size: str | None
    encrypted: bool | None
    drops: bool | None
    outcome: Outcome | None
    incapable: bool | None
    causes: tuple[Cause, ...]
    tags: frozenset[str]
    to_restart: bool = False
    conditions: int = 0
    zone: Zone | None = None

    @property
    def is_workload(self) -> bool:
        """Whether it sends of its own accord."""
        return self.kind in WORKLOADS

    @property
    def label(self) -> str:
        """Words for reports: `VM Standard_B2s`."""
        return f"{self.what} {self.size}" if self.size and self.kind is EndpointKind.VM else self.what


def end_of(
    endpoint: Endpoint,
    state: NetworkState,
    profile: Profile,
    tags: frozenset[str] = frozenset(),
    zone: Zone | None = None,
) -> End:
    """The facts of an endpoint.

    Args:
        endpoint: of the model.
        state: of its network.
        profile: what is asked about.
        tags: those of the question that the endpoint, or its network, has.
        zone: of the endpoint.
    """
    causes: list[Cause] = []
    capable = is_capable(endpoint, profile)
    outcome = _outcome(endpoint, capable, profile)
    incapable: bool | None = False
    if outcome is Outcome.AS_VM and _has_size(endpoint):
        incapable = _incapable(endpoint, state, capable, profile, causes)
    elif outcome is None:
        causes.append(Cause(f"what {endpoint.what} runs on is not known", Remedy.NONE))
    return End(
        endpoint.kind,
        endpoint.what,
        endpoint.size,
        state.encrypted,
        state.drops,
        outcome,
        incapable,
        tuple(causes),
        tags,
        to_restart=_has_size(endpoint) and (state.was is not True or endpoint.restarted is False),
        conditions=endpoint.conditions,
        zone=zone,
    )


def is_capable(endpoint: Endpoint, profile: Profile) -> bool | None:
    """Whether the size can encrypt; None where the size is not known."""
    if endpoint.can_encrypt is not None:
        return endpoint.can_encrypt
    if not endpoint.size:
        return None
    row = _row(endpoint.size, profile.sizes)
    return None if row is None else row.capable


def matched_tags(tags: dict[str, str], question: Question) -> frozenset[str]:
    """Those tags of the question that are among these: `key`, `key=value`, or a value alone."""
    if not question.tags or not tags:
        return frozenset()
    pairs = {f"{key}={value}" for key, value in tags.items()}
    return frozenset(tag for tag in question.tags if tag in tags or tag in pairs or tag in tags.values())


@lru_cache(maxsize=4096)
def _row(size: str, rows: tuple[SizeRow, ...]) -> SizeRow | None:
    return size_row(canonical_size(size), rows)


def _has_size(endpoint: Endpoint) -> bool:
    return endpoint.kind in WORKLOADS or endpoint.kind is EndpointKind.LOAD_BALANCER


def _outcome(endpoint: Endpoint, capable: bool | None, profile: Profile) -> Outcome | None:
    if not needs_capability(endpoint.kind):
        return resolved(endpoint.kind, profile.unsupported)
    if capable is None:
        return None
    return resolved(endpoint.kind, profile.unsupported, can_encrypt=capable)


def _incapable(
    endpoint: Endpoint, state: NetworkState, capable: bool | None, profile: Profile, causes: list[Cause]
) -> bool | None:
    size = shown(endpoint.size or "").strip("`")
    if capable is None:
        known = endpoint.size and _row(endpoint.size, profile.sizes) is None
        near = " or ".join(nearest_sizes(endpoint.size or ""))
        why = (
            f"size {size} is in no catalogue{f' ({near}?)' if near else ''}"
            if known
            else "its size is not known"
        )
        causes.append(Cause(why, Remedy.NAME_SIZE))
    elif not capable:
        causes.append(Cause(f"size {size} cannot be encrypted", Remedy.RESIZE))
    if endpoint.accelerated is None:
        causes.append(Cause("whether accelerated networking is on is not known", Remedy.NAME_SIZE))
    elif not endpoint.accelerated:
        causes.append(Cause("accelerated networking is off", Remedy.ACCELERATE))
    not_restarted = endpoint.restarted is False and state.was is True
    if not_restarted:
        causes.append(Cause("not stopped and started since encryption was enabled", Remedy.RESTART))
    if capable is False or endpoint.accelerated is False or not_restarted:
        return True
    return None if capable is None or endpoint.accelerated is None else False


def source_of(kind: EndpointKind) -> tuple[str, str]:
    """How sure it is what encryption means for a kind, and where it is said."""
    row = ENDPOINTS[kind]
    return str(row.basis), row.source
