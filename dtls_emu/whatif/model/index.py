"""Resources by type and by id, and the networks that something refers to."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from dtls_emu.whatif.model.estate import Doubt, Network


if TYPE_CHECKING:
    from dtls_emu.whatif.model.collecting import Collected
    from dtls_emu.whatif.model.estate import Estate
    from dtls_emu.whatif.model.view import View
    from dtls_emu.whatif.template.values import Place


__all__ = ["Index"]

Value = TypeVar("Value")


class Index:
    """What was collected, to be looked up.

    Ids of a template have placeholders for subscription and group, those of a list have real ones. So an id that is not
    found as a whole is looked for by type and name, and taken where only one resource has them.

    Fields:
        doubts: what builders could not make out.
    """

    def __init__(self, collected: Collected) -> None:
        self._by_kind: dict[str, list[View]] = {}
        self._by_id: dict[str, View] = {}
        self._by_tail: dict[str, list[str]] = {}
        self.doubts: list[Doubt] = []
        for view in collected.resources:
            known = self._by_id.get(view.id)
            if known is not None and known.kind == view.kind:
                continue  # the same resource in two files
            self._by_id[view.id] = view
            self._by_kind.setdefault(view.kind, []).append(view)
            self._by_tail.setdefault(_tail(view.id), []).append(view.id)

    def of(self, kind: str) -> list[View]:
        """The resources of a type."""
        return self._by_kind.get(kind, [])

    @property
    def kinds(self) -> dict[str, int]:
        """How many resources there are of each type."""
        return {kind: len(views) for kind, views in sorted(self._by_kind.items())}

    def canonical(self, reference: str) -> str:
        """The id of the resource that a reference means; the reference itself where there is none."""
        if not reference or reference in self._by_id:
            return reference
        found = self._by_tail.get(_tail(reference), ())
        return found[0] if len(found) == 1 else reference

    def find(self, reference: str) -> View | None:
        """The resource that a reference means."""
        return self._by_id.get(self.canonical(reference))

    def value(self, reference: str, values: dict[str, Value]) -> Value | None:
        """What is kept under the id that a reference means."""
        return values.get(reference, values.get(self.canonical(reference)))

    def network(self, reference: str, estate: Estate) -> Network | None:
        """The network with this id; one that nothing else is known of, where no file declares it."""
        if not reference:
            return None
        identity = self.canonical(reference)
        found = estate.networks.get(identity)
        if found is None:
            found = estate.networks[identity] = Network(identity, identity.rpartition("/")[2])
        return found

    def doubt(self, what: str, why: str, place: Place) -> None:
        """Note something that cannot be known and that an answer depends on."""
        self.doubts.append(Doubt(what, why, place, matters=True))


def _tail(identity: str) -> str:
    """Type and name of an id, without subscription and group."""
    _, found, tail = identity.rpartition("providers/")
    return tail if found else identity
