"""From documents to the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtls_emu.whatif.documents import DocumentKind
from dtls_emu.whatif.errors import ResourceFileError
from dtls_emu.whatif.model.collecting import collect
from dtls_emu.whatif.model.compute import COMPUTE_KINDS, build_compute
from dtls_emu.whatif.model.estate import Doubt, Estate
from dtls_emu.whatif.model.from_lab import add_lab
from dtls_emu.whatif.model.index import Index
from dtls_emu.whatif.model.networks import NETWORK_KINDS, build_networks
from dtls_emu.whatif.model.services import SERVICE_KINDS, build_services
from dtls_emu.whatif.template.values import Place


if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtls_emu.whatif.documents import Document
    from dtls_emu.whatif.model.collecting import Collected


__all__ = ["READ_KINDS", "build"]

READ_KINDS: Final = NETWORK_KINDS | COMPUTE_KINDS | SERVICE_KINDS
"""Types of resources that mean something here; others change nothing about encryption."""


def build(documents: Sequence[Document]) -> Estate:
    """The model of what all these files describe together.

    Raises:
        ResourceFileError: a template cannot be evaluated, or no virtual network is in the files.
        LabFileError: a lab has problems.
    """
    estate = Estate()
    for each in documents:
        if each.kind is DocumentKind.LAB:
            add_lab(each.name, estate)
    collected = collect(documents)
    index = Index(collected)
    build_networks(index, estate)
    build_services(index, estate, build_compute(index, estate))
    estate.counts = index.kinds
    estate.doubts = [*index.doubts, *_unresolved(collected), *_unplaced(estate)]
    if not any(network.declared for network in estate.networks.values()):
        names = ", ".join(each.name for each in documents)
        raise ResourceFileError(f"{names}: no virtual network in it; name the file that declares one, too")
    return estate


def _unresolved(collected: Collected) -> list[Doubt]:
    """What templates could not be resolved in; what somebody asked for matters."""
    asked = dict(collected.asked.unknown)
    found = []
    for unknown in collected.unresolved:
        found.append(_doubt(unknown.symbol, unknown.reason, unknown.place, collected))
        asked.pop((unknown.symbol, unknown.reason), None)
    known = {(each.why, each.place) for each in found}
    for (symbol, reason), (unknown, place) in asked.items():
        if reason and (reason, unknown.place) not in known:
            known.add((reason, unknown.place))
            found.append(Doubt(symbol, reason, unknown.place if unknown.place.file else place, matters=True))
    return found


def _doubt(symbol: str, reason: str, place: Place, collected: Collected) -> Doubt:
    matters = any(
        why == reason and unknown.place == place for (_, why), (unknown, _) in collected.asked.unknown.items()
    )
    return Doubt(symbol, reason, place, matters)


def _unplaced(estate: Estate) -> list[Doubt]:
    nowhere = Place("")
    return [
        Doubt(each.name, "its virtual network cannot be made out", each.place or nowhere, matters=True)
        for each in estate.endpoints.values()
        if not each.network
    ]
