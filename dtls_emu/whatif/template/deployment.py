"""From a template and values of its parameters to all resources that it declares, nested deployments included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dtls_emu.whatif.template.context import Context
from dtls_emu.whatif.template.limits import TemplateError
from dtls_emu.whatif.template.scope import DEPLOYMENT, Given, Scope, Shared
from dtls_emu.whatif.template.values import MISSING, Place, Unknown, member, symbol_of


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.whatif.template.scope import Declared


__all__ = ["DeployedResource", "Deployment", "deploy", "given_by"]


@dataclass(frozen=True, slots=True)
class DeployedResource:
    """A resource as a template declares it.

    Fields:
        kind: type in lower case, such as `microsoft.network/virtualnetworks`.
        name, id: texts; where part of one is unknown, the symbol of it stands in braces.
        body: evaluated; values in it may be :class:`~.values.Unknown`.
        place: in the file.
        certain: False: a condition or a count that cannot be known decides whether it is there.
    """

    kind: str
    name: str
    id: str
    body: dict[str, Any]
    place: Place
    certain: bool


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a template comes to.

    Fields:
        resources: in the order of the file; those that only are referred to (`existing`) are left out.
        unresolved: what cannot be known, with its reason and place.
    """

    resources: tuple[DeployedResource, ...]
    unresolved: tuple[Unknown, ...]


def given_by(document: dict[str, Any]) -> dict[str, Given]:
    """The values in a parameter file, by name in lower case; one of a key vault is a secret."""
    found: dict[str, Given] = {}
    parameters = member(document, "parameters")
    for name, entry in (parameters if isinstance(parameters, dict) else {}).items():
        value, secret = member(entry, "value"), member(entry, "reference") is not MISSING
        if value is not MISSING or secret:
            found[name.lower()] = Given(None if value is MISSING else value, None, secret)
    return found


def deploy(
    document: dict[str, Any], file: str, given: dict[str, Given], context: Context | None = None
) -> Deployment:
    """Evaluate a template.

    Args:
        document: the template, no deeper than the reader allows.
        file: its name, for places.
        given: values of parameters, by name in lower case.
        context: where it is deployed to.

    Raises:
        TemplateError: it refers to itself, or asks for more than is given to it. Begins with file and place.
    """
    shared = Shared()
    try:
        scope = Scope(document, Place(file), context or Context(), shared, given)
        found = tuple(_resources(scope))
    except TemplateError as error:
        raise TemplateError(str(error) if str(error).startswith(file) else f"{file}: {error}") from None
    except RecursionError:
        raise TemplateError(f"{file}: too many evaluations inside each other") from None
    return Deployment(found, tuple(shared.unresolved.values()))


def _resources(scope: Scope) -> Iterator[DeployedResource]:
    for each in scope.declared:
        if each.kind == DEPLOYMENT:
            nested = each.nested()
            for inside in _resources(nested) if nested is not None else ():
                yield inside if each.certain else _uncertain(inside)
        elif not each.existing:
            yield _deployed(each)


def _deployed(each: Declared) -> DeployedResource:
    return DeployedResource(
        each.kind, symbol_of(each.name), symbol_of(each.id), each.body(), each.frame.place, each.certain
    )


def _uncertain(resource: DeployedResource) -> DeployedResource:
    return DeployedResource(
        resource.kind, resource.name, resource.id, resource.body, resource.place, certain=False
    )
