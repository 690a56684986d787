"""What has to be done to the VMs: restart, resize, accelerated networking; and how many pairs each is worth."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dtls_emu.lab.sizes import canonical_size, supports_encryption
from dtls_emu.vocabulary import Basis, EndpointKind
from dtls_emu.whatif.answer.ends import Remedy, is_capable
from dtls_emu.whatif.answer.ruling import Fate


if TYPE_CHECKING:
    from dtls_emu.lab.profiles import Profile
    from dtls_emu.whatif.answer.pairs import Pairs
    from dtls_emu.whatif.answer.question import NetworkState
    from dtls_emu.whatif.model.estate import Endpoint, Estate


__all__ = ["Action", "find_actions"]

_RESTART: Final = "overview: start and stop of existing VMs is required after encryption was enabled"
_MAY_RESTART: Final = "preview overview 2023-07: start and stop of existing VMs may be required"
_SIZES: Final = "overview: supported sizes"
_ACCELERATED: Final = (
    "overview: accelerated networking must be on; its own document: only while stopped and deallocated"
)


@dataclass(frozen=True, slots=True)
class Action:
    """Something to do to VMs that are alike.

    Fields:
        remedy: what.
        text: in words, with what to change to.
        count: VMs; at least so many where ``open_ended``.
        names: of each; of a scale set or node pool once.
        networks: names of where they are.
        pairs: that are not encrypted without it.
        basis, source: how sure it is that it is needed, and where that is said.
    """

    remedy: Remedy
    text: str
    count: int
    open_ended: bool
    names: tuple[str, ...]
    networks: tuple[str, ...]
    pairs: int
    basis: str
    source: str


def find_actions(
    estate: Estate, states: dict[str, NetworkState], pairs: Pairs, profile: Profile
) -> list[Action]:
    """Everything to do, what is worth the most pairs first."""
    groups: dict[tuple[Remedy, str], list[Endpoint]] = {}
    for endpoint in estate.endpoints.values():
        state = states.get(endpoint.network)
        if endpoint.kind is not EndpointKind.VM or state is None or state.encrypted is not True:
            continue
        for remedy, key in _needed(endpoint, state, profile):
            groups.setdefault((remedy, key), []).append(endpoint)
    worth = Counter({cause.text: count for cause, count in pairs.worth.items()})
    found = [
        _action(remedy, key, each, estate, pairs, worth, profile) for (remedy, key), each in groups.items()
    ]
    return sorted(found, key=lambda action: (_FIRST[action.remedy], -action.pairs, action.text))


_FIRST: Final = {remedy: number for number, remedy in enumerate(Remedy)}


def _needed(endpoint: Endpoint, state: NetworkState, profile: Profile) -> list[tuple[Remedy, str]]:
    capable = is_capable(endpoint, profile)
    needed: list[tuple[Remedy, str]] = []
    if capable is False:
        needed.append((Remedy.RESIZE, endpoint.size or ""))
    if endpoint.accelerated is False:
        needed.append((Remedy.ACCELERATE, ""))
    if state.was is not True or endpoint.restarted is False:
        needed.append((Remedy.RESTART, ""))
    return needed


def _action(
    remedy: Remedy,
    key: str,
    endpoints: list[Endpoint],
    estate: Estate,
    pairs: Pairs,
    worth: Counter[str],
    profile: Profile,
) -> Action:
    count = sum(1 if each.count is None else each.count for each in endpoints)
    open_ended = any(each.count is None or not each.certain for each in endpoints)
    names = tuple(each.name for each in endpoints)
    networks = tuple(dict.fromkeys(estate.networks[each.network].name for each in endpoints))
    basis, source = str(Basis.DOC), _RESTART if profile.restart_required else _MAY_RESTART
    if remedy is Remedy.RESIZE:
        text = f"resize {key} to {_instead_of(key, profile)}"
        value, source = worth[f"size {key} cannot be encrypted"], _SIZES
    elif remedy is Remedy.ACCELERATE:
        text = "turn on accelerated networking, while stopped and deallocated"
        value, source = worth["accelerated networking is off"], _ACCELERATED
    else:
        text = "stop (deallocate) and start what runs already"
        value = sum(each.after_restart for each in pairs.groups if each.ruling.fate is Fate.ENCRYPTED)
    return Action(remedy, text, count, open_ended, names, networks, value, basis, source)


def _instead_of(size: str, profile: Profile) -> str:
    """A size that can be encrypted with as many vCPUs."""
    found = re.search(r"[A-Za-z](\d{1,3})", canonical_size(size).partition("_")[2])
    cores = max(int(found[1]) if found else 4, 2)
    cores = next((each for each in _CORES if each >= cores), _CORES[-1])
    memory = "E" if canonical_size(size).startswith("Standard_E") else "D"
    for version in ("v5", "v4"):
        name = f"Standard_{memory}{cores}s_{version}"
        if supports_encryption(name, profile.sizes):
            return f"one that can be encrypted, such as {name}"
    return "one that can be encrypted"


_CORES: Final = (2, 4, 8, 16, 32, 48, 64, 96)
