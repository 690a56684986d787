"""From documents to resources of one shape: templates are deployed, predicted resources and lists are gone through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dtls_emu.whatif.documents import DocumentKind
from dtls_emu.whatif.errors import ResourceFileError, printable
from dtls_emu.whatif.model.view import Asked, View
from dtls_emu.whatif.template.context import Context
from dtls_emu.whatif.template.deployment import deploy, given_by
from dtls_emu.whatif.template.expression import is_expression
from dtls_emu.whatif.template.limits import TemplateError
from dtls_emu.whatif.template.values import MISSING, Place, Unknown, member, symbol_of


if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtls_emu.whatif.documents import Document


__all__ = ["Collected", "collect"]

MAX_COLLECTED: Final = 200_000
"""Resources of all files together."""


class Collected:
    """Resources as views, in the order of the files; and what could not be known.

    Fields:
        resources: of all files but labs.
        unresolved: what the templates could not be resolved in.
        asked: unknown values that readers of the views asked for.
    """

    def __init__(self) -> None:
        self.resources: list[View] = []
        self.unresolved: list[Unknown] = []
        self.asked = Asked()

    def add(
        self, kind: str, identity: str, name: str, body: Any, place: Place, *, certain: bool = True
    ) -> None:
        """Add one.

        Raises:
            ResourceFileError: there are too many.
        """
        if len(self.resources) >= MAX_COLLECTED:
            raise ResourceFileError(
                f"{place.file}: more than {MAX_COLLECTED} resources in all; ask about fewer at once"
            )
        identity = identity.strip("/ ").lower()
        self.resources.append(View(body, place, self.asked, kind.lower(), identity, printable(name), certain))


def collect(documents: Iterable[Document]) -> Collected:
    """All resources of files that are no labs.

    Raises:
        ResourceFileError: a template cannot be evaluated, or there are too many resources.
    """
    found = Collected()
    for each in documents:
        if each.kind is DocumentKind.TEMPLATE:
            _deploy(each, found)
        elif each.kind is DocumentKind.SNAPSHOT:
            _add_list(
                _unresolved(each.data["predictedResources"]), Place(each.name, ("predictedResources",)), found
            )
        elif each.kind is DocumentKind.LIST:
            _add_all(each.data, Place(each.name), found)
    return found


def _deploy(document: Document, found: Collected) -> None:
    given: dict[str, Any] = {}
    for parameters in document.parameters:
        given.update(given_by(parameters.data))
    try:
        deployment = deploy(document.data, document.name, given, Context())
    except TemplateError as error:
        raise ResourceFileError(str(error)) from None
    for each in deployment.resources:
        found.add(each.kind, each.id, each.name, each.body, each.place, certain=each.certain)
    found.unresolved += deployment.unresolved


def _add_all(data: Any, place: Place, found: Collected) -> None:
    if isinstance(data, dict) and isinstance(data.get("value"), list) and "id" not in data:
        _add_list(data["value"], place.at("value"), found)
    elif isinstance(data, dict):
        _add(data, place, found)
    else:
        _add_list(data, place, found)


def _add_list(items: Any, place: Place, found: Collected) -> None:
    for index, item in enumerate(items if isinstance(items, list) else []):
        if isinstance(item, dict):
            _add(item, place.at(index), found)


def _add(item: dict[str, Any], place: Place, found: Collected) -> None:
    identity, kind = member(item, "id"), member(item, "type")
    text = "" if identity is MISSING else symbol_of(identity)
    said = symbol_of(kind) if isinstance(kind, str) and "/" in kind else _kind_of(text)
    name = member(item, "name")
    found.add(said, text or f"/providers/{said}/{symbol_of(name)}", symbol_of(name), item, place)


def _kind_of(identity: str) -> str:
    """The type that an id is of: `.../providers/A.B/c/x/d/y` is an `A.B/c/d`."""
    _, _, tail = identity.lower().rpartition("/providers/")
    space, *steps = tail.split("/")
    return "/".join([space, *steps[::2]]) if steps else space


def _unresolved(value: Any) -> Any:
    """Predicted resources, with what `bicep snapshot` could not evaluate as something unknown."""
    if isinstance(value, dict):
        return {key: _unresolved(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_unresolved(each) for each in value]
    if isinstance(value, str) and is_expression(value):
        return Unknown(value[1:-1], "`bicep snapshot` could not know it")
    return value
