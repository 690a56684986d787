"""One deployment while it is evaluated: its parameters, variables, own functions, resources and outputs, each on demand.

1. :class:`Scope` is a template with the values it was given; a nested deployment of inner scope has one of its own.
2. :attr:`Scope.declared` are its resources: copies counted, conditions and names evaluated, children beside parents.
3. A resource's body is evaluated when somebody asks; so what refers to itself is found, and what nobody needs costs nothing.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.lab.problems import shown
from dtls_emu.whatif.template.context import Context, resource_id
from dtls_emu.whatif.template.evaluating import Frame, iterations, resolve
from dtls_emu.whatif.template.limits import MAX_NESTED_DEPLOYMENTS, Budget, TemplateError
from dtls_emu.whatif.template.registry import FunctionError
from dtls_emu.whatif.template.values import MISSING, Partial, Place, Unknown, lookup, member, symbol_of


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["DEPLOYMENT", "Declared", "Given", "Scope", "Shared"]

DEPLOYMENT: Final = "microsoft.resources/deployments"
_GROUP: Final = "microsoft.resources/resourcegroups"

_NOT_STATE: Final = frozenset(
    {
        "condition",
        "copy",
        "resources",
        "dependson",
        "apiversion",
        "comments",
        "type",
        "name",
        "existing",
        "metadata",
    }
)
"""Keys of a resource that are no part of what Azure keeps of it."""


@dataclass(slots=True)
class Shared:
    """What all scopes of one evaluation share.

    Fields:
        budget: what is left of it.
        unresolved: what could not be known, in the order in which it was met; each once.
        active: what is being evaluated, from the outside in.
    """

    budget: Budget = field(default_factory=Budget)
    unresolved: dict[tuple[str, str], Unknown] = field(default_factory=dict)
    active: list[tuple[int, str]] = field(default_factory=list)

    @contextmanager
    def evaluating(self, owner: object, what: str, place: Place) -> Iterator[None]:
        """Note that something is being evaluated.

        Raises:
            TemplateError: it is already, so it refers to itself.
        """
        key = id(owner), what
        if key in self.active:
            chain = [name for _, name in self.active[self.active.index(key) :]]
            raise TemplateError(f"{place}: refers to itself: {' -> '.join([*chain, what])}")
        self.active.append(key)
        try:
            yield
        finally:
            self.active.pop()


@dataclass(frozen=True, slots=True)
class Given:
    """A value for a parameter.

    Fields:
        value: as written.
        frame: where it is to be evaluated; None: it is taken as it is, as in a parameter file.
        secret: it is in a key vault.
    """

    value: Any
    frame: Frame | None = None
    secret: bool = False


class Scope:
    """A template, and what its expressions may ask for (:class:`~.evaluating.Names`)."""

    def __init__(
        self,
        document: dict[str, Any],
        place: Place,
        context: Context,
        shared: Shared,
        given: dict[str, Given],
        *,
        parent: Scope | None = None,
        outer: Frame | None = None,
        missing: str = "",
    ) -> None:
        """Evaluate nothing yet.

        Args:
            document: the template.
            place: where it begins.
            context: where it is deployed to.
            shared: with all others of this evaluation.
            given: values of parameters, by name in lower case.
            parent: the scope of the deployment that it is nested in.
            outer: where its expressions are evaluated, when it is nested with outer scope.
            missing: why parameters may lack values, when more than a missing value is behind it.
        """
        self.document = document
        self.context = context
        self.budget = shared.budget
        self.shared = shared
        self.parent = parent
        self.level: int = 0 if parent is None else parent.level + 1
        self._given = given
        self._missing = missing
        self._place = place
        self._frame = replace(outer, place=place) if outer is not None else Frame(self, place)
        self._memo: dict[str, Any] = {}
        self._declared: list[Declared] | None = None
        if self.level > MAX_NESTED_DEPLOYMENTS:
            raise TemplateError(f"{place}: more than {MAX_NESTED_DEPLOYMENTS} deployments inside each other")

    # ------------------------------------------------------------------------------------- what expressions ask

    def report(self, unknown: Unknown) -> Unknown:
        """List what cannot be known; each once."""
        if unknown.reason:
            self.shared.unresolved.setdefault((unknown.symbol, unknown.reason), unknown)
        return unknown

    def parameter(self, name: str, frame: Frame) -> Any:
        """The value of a parameter: given, else its default; unknown where there is neither, and where it is secret."""
        bound = frame.bound.get(f"parameter {name.lower()}", MISSING)
        if bound is not MISSING:
            return bound
        spelled, declaration = self._find("parameters", name)
        if declaration is None:
            raise FunctionError(f"there is no parameter {shown(name)}")
        return self._once(f"parameters('{spelled}')", lambda: self._parameter(spelled, declaration, frame))

    def _parameter(self, name: str, declaration: dict[str, Any], frame: Frame) -> Any:
        symbol = f"{{{self._prefix}{name}}}"
        given = self._given.get(name.lower())
        kind = member(declaration, "type")
        if (given is not None and given.secret) or (
            isinstance(kind, str) and kind.lower().startswith("secure")
        ):
            return self.report(Unknown(symbol, f"parameter `{name}` is a secret", frame.place))
        default = member(declaration, "defaultValue")
        if given is not None:
            value = given.value if given.frame is None else resolve(given.value, given.frame)
            if value is not None or default is MISSING:
                return value  # what is given as null is not given, where there is a default
        if default is not MISSING:
            return resolve(default, self._frame.at("parameters", name, "defaultValue"))
        if member(declaration, "nullable") is True:
            return None
        why = self._missing or f"parameter `{name}` has no value; give a parameter file"
        return self.report(Unknown(symbol, why, frame.place))

    def variable(self, name: str, frame: Frame) -> Any:
        """The value of a variable, also of one made by iteration."""
        spelled, _ = self._find("variables", name)
        declared = self.document.get("variables")
        variables = declared if isinstance(declared, dict) else {}
        if spelled in variables and spelled.lower() != "copy":
            at = self._frame.at("variables", spelled)
            return self._once(f"variables('{spelled}')", lambda: resolve(variables[spelled], at))
        for index, copy in enumerate(_list(member(variables, "copy"))):
            here = self._frame.at("variables", "copy", index)
            if isinstance(copy, dict) and symbol_of(member(copy, "name")).lower() == name.lower():
                return self._once(f"variables('{name}')", partial(self._copied, copy, here))
        raise FunctionError(f"there is no variable {shown(name)}")

    def _copied(self, copy: dict[str, Any], here: Frame) -> Any:
        name, count = iterations(copy, here)
        if isinstance(count, Unknown):
            return count.of(f"copy of {name}")
        template = member(copy, "input")
        return [resolve(template, here.at("input").iteration(name, number)) for number in range(count)]

    def own_function(self, name: str, arguments: list[Any], frame: Frame) -> Any:
        """What a function gives that the template declares; MISSING where it declares none of that name."""
        space, _, function = name.partition(".")
        for index, each in enumerate(_list(self.document.get("functions"))):
            if not isinstance(each, dict) or symbol_of(member(each, "namespace")).lower() != space:
                continue
            body = member(member(each, "members"), function)
            if not isinstance(body, dict):
                continue
            names = [symbol_of(member(one, "name")).lower() for one in _list(member(body, "parameters"))]
            bound = {f"parameter {one}": value for one, value in zip(names, arguments, strict=False)}
            here = Frame(self, self._place.at("functions", index, function), {}, bound)
            with self.shared.evaluating(body, f"{name}()", frame.place):
                return resolve(lookup(body, "output", "value"), here)
        return MISSING

    def reference(self, wanted: Any, frame: Frame, *, full: bool) -> Any:
        """The state of a resource as far as this template, or one around it, declares it."""
        symbol = symbol_of(wanted)
        found = self.find(symbol)
        if found is None or found.existing:
            why = f"`reference` asks Azure for the state of {symbol}, which is not done here"
            return frame.unknown(f"reference({symbol})", why)
        return found.state(full=full)

    # ------------------------------------------------------------------------------------------------- resources

    @property
    def declared(self) -> list[Declared]:
        """The resources of this template itself, without those of nested deployments."""
        if self._declared is None:
            with self.shared.evaluating(self, "names of resources", self._place):
                found = [*self._enumerate(self.document.get("resources"), self._frame.at("resources"), None)]
            self._declared = found
        return self._declared

    def find(self, wanted: str) -> Declared | None:
        """The resource with this symbolic name, name or id; here, or in the templates around this one."""
        lower = wanted.lower()
        same_name: Declared | None = None
        for each in self.declared:
            if lower in {each.symbol.lower(), symbol_of(each.id).lower()}:
                return each
            if lower == symbol_of(each.name).lower():
                same_name = same_name or each
            if each.kind == DEPLOYMENT and lower.endswith(f"/{DEPLOYMENT}/{symbol_of(each.name).lower()}"):
                same_name = same_name or each
        if same_name is not None:
            return same_name
        return None if self.parent is None else self.parent.find(wanted)

    def outputs(self) -> dict[str, Any]:
        """The outputs, each as an object with its `value`."""
        found: dict[str, Any] = {}
        outputs = self.document.get("outputs")
        for name, output in (outputs if isinstance(outputs, dict) else {}).items():
            here = self._frame.at("outputs", name)
            if symbol_of(member(output, "type")).lower().startswith("secure"):
                value: Any = self.report(
                    Unknown(f"{{{self._prefix}{name}}}", f"output `{name}` is a secret", here.place)
                )
            elif member(output, "copy") is not MISSING:
                value = self._copied({"name": name, **member(output, "copy")}, here.at("copy"))
            else:
                value = resolve(lookup(output, "value"), here.at("value"))
            found[name] = {"value": value}
        return found

    def _enumerate(self, resources: Any, frame: Frame, parent: Declared | None) -> Iterator[Declared]:
        if isinstance(resources, dict):  # languageVersion 2.0
            entries: list[tuple[str | int, Any]] = list(resources.items())
        else:
            entries = list(enumerate(_list(resources)))
        for key, resource in entries:
            here = frame.at(key)
            if not isinstance(resource, dict):
                raise TemplateError(f"{here.place}: {shown(resource)} is no resource")
            symbol = key if isinstance(key, str) else ""
            copy = member(resource, "copy")
            if copy is MISSING or copy is None:
                yield from self._resource(resource, symbol, here, parent)
                continue
            name, count = iterations(copy, here.at("copy"))
            if isinstance(count, Unknown):
                here.unknown(
                    f"copy of {name or symbol}", f"{count.reason or 'it'} decides how many there are"
                )
                uncertain = here.iteration(name, 0, of_resource=True)
                yield from self._resource(
                    resource, f"{symbol}[0]" if symbol else "", uncertain, parent, copies=count
                )
                continue
            self.budget.declare(count)
            for number in range(count):
                inside = here.iteration(name, number, of_resource=True)
                yield from self._resource(resource, f"{symbol}[{number}]" if symbol else "", inside, parent)

    def _resource(
        self,
        resource: dict[str, Any],
        symbol: str,
        frame: Frame,
        parent: Declared | None,
        copies: Unknown | None = None,
    ) -> Iterator[Declared]:
        self.budget.declare(1)
        condition = resolve(resource.get("condition", member(resource, "condition")), frame.at("condition"))
        condition = True if condition is MISSING or condition is None else condition
        if condition is False or (isinstance(condition, str) and condition.lower() == "false"):
            return
        kind = symbol_of(resolve(member(resource, "type"), frame.at("type")))
        name = resolve(member(resource, "name"), frame.at("name"))
        if parent is not None and "." not in kind.partition("/")[0]:
            kind = f"{parent.kind}/{kind}"
            joined = f"{symbol_of(parent.name)}/{symbol_of(name)}"
            unknown = next((each for each in (parent.name, name) if isinstance(each, Unknown)), None)
            name = joined if unknown is None else unknown.of(joined)
        certain = copies is None and not isinstance(condition, Unknown) and (parent is None or parent.certain)
        found = Declared(
            self, resource, symbol, frame, kind.lower(), name, self._id(resource, kind, name, frame), certain
        )
        yield found
        children = member(resource, "resources")
        if children is not MISSING and found.kind != DEPLOYMENT:
            yield from self._enumerate(children, frame.at("resources"), found)

    def _id(self, resource: dict[str, Any], kind: str, name: Any, frame: Frame) -> Any:
        context = _target(resource, self.context, frame)
        head = context.subscription_id if kind.lower() == _GROUP else context.group_id
        return resource_id(head, kind, [name])

    # --------------------------------------------------------------------------------------------------- the rest

    @property
    def _prefix(self) -> str:
        return "" if self.parent is None else f"{self.context.deployment}/"

    def _find(self, section: str, name: str) -> tuple[str, Any]:
        entries = self.document.get(section)
        lower = name.lower()
        for spelled, entry in (entries if isinstance(entries, dict) else {}).items():
            if spelled.lower() == lower:
                return spelled, entry if isinstance(entry, dict) or section == "variables" else {}
        return name, None

    def _once(self, what: str, evaluate: Any) -> Any:
        if what not in self._memo:
            with self.shared.evaluating(self, what, self._place):
                self._memo[what] = evaluate()
        return self._memo[what]


@dataclass(slots=True)
class Declared:
    """One resource of a template: one iteration of it, where it has a `copy`.

    Fields:
        scope: whose template declares it.
        resource: as written.
        symbol: its symbolic name, empty before languageVersion 2.0.
        frame: where its body is evaluated.
        kind: its type in lower case, with the types of the resources that it is inside of.
        name: likewise; id: of the resource. Either may be unknown.
        certain: its condition is known to hold.
    """

    scope: Scope
    resource: dict[str, Any]
    symbol: str
    frame: Frame
    kind: str
    name: Any
    id: Any
    certain: bool
    _body: dict[str, Any] | None = None
    _nested: Scope | None = None

    @property
    def existing(self) -> bool:
        """It is not deployed by this template, only referred to."""
        return member(self.resource, "existing") is True

    def body(self) -> dict[str, Any]:
        """What Azure will keep of it, evaluated; without what deploys it."""
        if self._body is None:
            with self.scope.shared.evaluating(self, symbol_of(self.name), self.frame.place):
                self._body = {
                    key: resolve(value, self.frame.at(key))
                    for key, value in self.resource.items()
                    if key.lower() not in _NOT_STATE
                    and not (self.kind == DEPLOYMENT and key.lower() == "properties")
                }
        return self._body

    def state(self, *, full: bool) -> Any:
        """What `reference` gives: what is declared; the rest is unknown."""
        symbol = symbol_of(self.name)
        beyond = Unknown(
            f"reference({symbol})", f"state of `{symbol}` that only Azure knows", self.frame.place
        )
        if self.kind == DEPLOYMENT:
            nested = self.nested()
            if nested is None:
                return self.frame.names.report(
                    replace(beyond, reason=f"outputs of `{symbol}`, which is not here")
                )
            with self.scope.shared.evaluating(self, f"outputs of {symbol}", self.frame.place):
                properties: Any = Partial({"outputs": nested.outputs()}, beyond)
        else:
            declared = member(self.body(), "properties")
            if isinstance(declared, Unknown):
                return declared
            properties = Partial(declared if isinstance(declared, dict) else {}, beyond)
        if not full:
            return properties
        body = {} if self.kind == DEPLOYMENT else self.body()
        return Partial({**body, "properties": properties, "id": self.id, "name": self.name}, beyond)

    def nested(self) -> Scope | None:
        """The scope of a nested deployment; None where its template is not in this file."""
        if self._nested is None:
            self._nested = self._nest()
        return self._nested

    def _nest(self) -> Scope | None:
        properties = member(self.resource, "properties")
        template = member(properties, "template")
        here = self.frame.at("properties")
        if not isinstance(template, dict):
            link = member(properties, "templateLink")
            target = resolve(link, here.at("templateLink")) if isinstance(link, dict) else None
            what = next(
                (
                    symbol_of(lookup(target, key))
                    for key in ("relativePath", "uri", "id")
                    if lookup(target, key)
                ),
                "its template",
            )
            here.unknown(f"deployment {symbol_of(self.name)}", f"linked template {what} is not fetched")
            return None
        scope = symbol_of(lookup(properties, "expressionEvaluationOptions", "scope")).lower()
        context = _target(self.resource, self.scope.context, self.frame)
        context = replace(context, deployment=symbol_of(self.name))
        if scope != "inner":
            return Scope(
                template,
                here.place.at("template"),
                context,
                self.scope.shared,
                {},
                parent=self.scope,
                outer=here,
            )
        given: dict[str, Given] = {}
        parameters = member(properties, "parameters")
        for name, entry in (parameters if isinstance(parameters, dict) else {}).items():
            value, secret = member(entry, "value"), member(entry, "reference") is not MISSING
            at = here.at("parameters", name, "value")
            if value is not MISSING or secret:
                given[name.lower()] = Given(None if value is MISSING else value, at, secret)
        linked = member(properties, "parametersLink") is not MISSING
        return Scope(
            template,
            here.place.at("template"),
            context,
            self.scope.shared,
            given,
            parent=self.scope,
            missing="linked parameters are not fetched" if linked else "",
        )


def _target(resource: dict[str, Any], context: Context, frame: Frame) -> Context:
    """Where a resource goes that names another subscription or resource group."""
    group, subscription = member(resource, "resourceGroup"), member(resource, "subscriptionId")
    if group is not MISSING:
        found = symbol_of(resolve(group, frame.at("resourceGroup")))
        if found.lower() != context.group.lower():
            context = replace(context, group=found, location=None)
    if subscription is not MISSING:
        context = replace(context, subscription=symbol_of(resolve(subscription, frame.at("subscriptionId"))))
    return context


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
