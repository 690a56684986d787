"""Evaluation: of the tree of an expression, and of a whole value with expressions in it.

What fails inside an expression is unknown, and listed with its place; an evaluation as a whole fails only where a
template refers to itself or asks for too much (:class:`~.limits.TemplateError`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from dtls_emu.lab.problems import shown
from dtls_emu.whatif.template import address_functions  # noqa: F401 - declares functions
from dtls_emu.whatif.template.collection_functions import same
from dtls_emu.whatif.template.context import resource_id
from dtls_emu.whatif.template.expression import (
    Call,
    Constant,
    Expression,
    ExpressionError,
    Item,
    is_expression,
    parse_expression,
)
from dtls_emu.whatif.template.limits import MAX_COPIES, MAX_LEVELS, MAX_TEXT, TemplateError
from dtls_emu.whatif.template.registry import FUNCTIONS, FunctionError, want
from dtls_emu.whatif.template.values import MISSING, Partial, Place, Unknown, is_known, member, symbol_of


if TYPE_CHECKING:
    from collections.abc import Callable

    from dtls_emu.whatif.template.context import Context
    from dtls_emu.whatif.template.limits import Budget


__all__ = ["Frame", "Names", "evaluate", "iterations", "resolve"]


class Names(Protocol):
    """What a deployment's expressions may ask it for."""

    budget: Budget
    context: Context

    def parameter(self, name: str, frame: Frame) -> Any:
        """The value of a parameter."""

    def variable(self, name: str, frame: Frame) -> Any:
        """The value of a variable."""

    def reference(self, wanted: Any, frame: Frame, *, full: bool) -> Any:
        """The state of a resource, as far as the template declares it."""

    def own_function(self, name: str, arguments: list[Any], frame: Frame) -> Any:
        """What a function of the template's own gives; MISSING where there is none."""

    def report(self, unknown: Unknown) -> Unknown:
        """List something that cannot be known."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where an evaluation is.

    Fields:
        names: of the deployment.
        place: in the file.
        loops: the number of the current iteration, by the name of its `copy`; the resource's has the name ``""``, too.
        bound: arguments of lambdas, and of a template's own function, by name in lower case.
    """

    names: Names
    place: Place
    loops: dict[str, int] = field(default_factory=dict)
    bound: dict[str, Any] = field(default_factory=dict)

    def at(self, *steps: str | int) -> Frame:
        """The same at a place inside this one."""
        return replace(self, place=self.place.at(*steps))

    def iteration(self, loop: str, number: int, *, of_resource: bool = False) -> Frame:
        """The same in one iteration of a `copy`. Without a name `copyIndex` means that of the resource."""
        unnamed = {"": number} if of_resource else {}
        return replace(self, loops={**self.loops, loop.lower(): number, **unnamed})

    def unknown(self, symbol: str, reason: str) -> Unknown:
        """A value that cannot be known, listed."""
        return self.names.report(Unknown(symbol, reason, self.place))


@dataclass(frozen=True, slots=True)
class _Lambda:
    """A function as an argument of another."""

    parameters: tuple[str, ...]
    body: Expression
    frame: Frame

    def __call__(self, *arguments: Any) -> Any:
        bound = {**self.frame.bound, **dict(zip(self.parameters, arguments, strict=False))}
        return evaluate(self.body, replace(self.frame, bound=bound))


def resolve(value: Any, frame: Frame) -> Any:
    """A value of a template with every expression and every property `copy` in it evaluated.

    Raises:
        TemplateError: it refers to itself, or asks for too much.
    """
    budget = frame.names.budget
    budget.spend()
    if isinstance(value, str):
        return _text(value, frame)
    if not isinstance(value, dict | list):
        return value
    budget.level += 1
    try:
        _check_level(frame)
        if isinstance(value, list):
            return [resolve(item, frame.at(index)) for index, item in enumerate(value)]
        found: dict[str, Any] = {}
        for key, item in value.items():
            if key.lower() == "copy" and isinstance(item, list):
                found.update(_property_copies(item, frame.at(key)))
            else:
                name = _text(key, frame) if is_expression(key) else key
                found[symbol_of(name)] = resolve(item, frame.at(key))
        return found
    finally:
        budget.level -= 1


def iterations(copy: Any, frame: Frame) -> tuple[str, int | Unknown]:
    """The name of a `copy` and how many iterations it has.

    Raises:
        TemplateError: more than Azure does, or no number.
    """
    if not isinstance(copy, dict):
        raise TemplateError(f"{_path(frame)}: `copy` should be an object with `name` and `count`")
    name = resolve(member(copy, "name") if member(copy, "name") is not MISSING else "", frame.at("name"))
    count = resolve(
        member(copy, "count") if member(copy, "count") is not MISSING else None, frame.at("count")
    )
    if isinstance(count, Unknown):
        return symbol_of(name), count
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise TemplateError(
            f"{_path(frame)}: the `count` of a `copy` is {shown(count)}, which is no number of times"
        )
    if count > MAX_COPIES:
        raise TemplateError(
            f"{_path(frame)}: a `copy` with a count of {shown(count)}; Azure makes at most {MAX_COPIES} of one"
        )
    return symbol_of(name), count


def evaluate(node: Expression, frame: Frame) -> Any:
    """The value of an expression.

    Raises:
        TemplateError: it refers to itself, or asks for too much.
    """
    budget = frame.names.budget
    budget.spend()
    if isinstance(node, Constant):
        return node.value
    budget.level += 1
    try:
        _check_level(frame)
        if isinstance(node, Call):
            return _call(node, frame)
        value = evaluate(node.of, frame)
        step = evaluate(node.index, frame) if isinstance(node, Item) else node.name
        return _taken(value, step, frame)
    finally:
        budget.level -= 1


def _text(text: str, frame: Frame) -> Any:
    if text[:2] == "[[":
        return text[1:]
    if not is_expression(text):
        return text
    try:
        return evaluate(parse_expression(text), frame)
    except ExpressionError as error:
        return frame.unknown(text[:80], f"is no expression: {error}")
    except FunctionError as error:
        return frame.unknown(text[:80], str(error))


def _check_level(frame: Frame) -> None:
    if frame.names.budget.level > MAX_LEVELS:
        raise TemplateError(f"{_path(frame)}: more than {MAX_LEVELS} evaluations inside each other")


def _path(frame: Frame) -> str:
    return str(frame.place)


def _property_copies(copies: list[Any], frame: Frame) -> dict[str, Any]:
    """Properties made by iteration ("Property iteration in ARM templates"); also those of `variables`."""
    found: dict[str, Any] = {}
    for index, copy in enumerate(copies):
        here = frame.at(index)
        name, count = iterations(copy, here)
        if isinstance(count, Unknown):
            found[name] = count.of(f"copy of {name}")
            continue
        template = member(copy, "input")
        found[name] = [
            resolve(None if template is MISSING else template, here.at("input").iteration(name, number))
            for number in range(count)
        ]
    return found


def _taken(value: Any, step: Any, frame: Frame) -> Any:
    """A member of an object or an item of an array."""
    if isinstance(value, Unknown):
        return value.of(f"{value.symbol}.{symbol_of(step)}")
    if isinstance(step, Unknown):
        return step.of(f"{symbol_of(value)}[{step.symbol}]")
    if isinstance(step, str):
        found = member(value, step)
        if found is MISSING:
            raise FunctionError(f"there is no `{step[:40]}` in {shown(value)}")
        if (
            isinstance(value, Partial)
            and isinstance(found, Unknown)
            and found.symbol.startswith(value.beyond.symbol)
        ):
            frame.names.report(found)
        return found
    if type(step) is int and isinstance(value, list | str) and 0 <= step < len(value):
        return value[step]
    raise FunctionError(f"{shown(value)} has no item {shown(step)}")


def _call(node: Call, frame: Frame) -> Any:
    lazy = _LAZY.get(node.name)
    if lazy is not None:
        return lazy(node, frame)
    args = [evaluate(each, frame) for each in node.arguments]
    special = _SPECIAL.get(node.name)
    if special is not None:
        return special(args, frame)
    declared = FUNCTIONS.get(node.name)
    if declared is None:
        return _other(node.name, args, frame)
    if not declared.least <= len(args) <= declared.most:
        raise FunctionError(
            f"`{node.name}` takes {declared.least} to {declared.most} arguments, not {len(args)}"
        )
    unknown = next((each for each in args if isinstance(each, Unknown)), None)
    budget = frame.names.budget
    if unknown is not None and not (declared.looks_inside is False and node.name.startswith("create")):
        if node.name == "tryget":
            return unknown.of(f"tryGet({', '.join(map(symbol_of, args))})")
        if node.name in {"concat", "format"}:
            return unknown.of(_joined(node.name, args))
        return unknown.of(f"{node.name}({', '.join(map(symbol_of, args))})")
    if declared.looks_inside and not all(is_known(each, budget) for each in args):
        return Unknown(
            f"{node.name}({', '.join(map(symbol_of, args))})", "looks into something unknown", frame.place
        )
    try:
        return declared.body(budget, args)
    except FunctionError as error:
        raise FunctionError(f"`{node.name}` {error}") from None


def _joined(name: str, args: list[Any]) -> str:
    """The symbol of a text of which a part is unknown, with the part at its place."""
    if name == "concat":
        return "".join(map(symbol_of, args))
    text = symbol_of(args[0])
    for number, each in enumerate(args[1:]):
        text = text.replace(f"{{{number}}}", symbol_of(each))[:MAX_TEXT]
    return text


def _other(name: str, args: list[Any], frame: Frame) -> Any:
    found = frame.names.own_function(name, args, frame)
    if found is not MISSING:
        return found
    symbol = f"{name}({', '.join(map(symbol_of, args))})"
    if name.startswith("list") or name in _AT_RUN_TIME:
        return frame.unknown(symbol, f"`{name}` asks Azure, which is not done here")
    return frame.unknown(symbol, f"`{name}` is no function that is known here")


_AT_RUN_TIME: Final = frozenset(
    {
        "newguid",
        "utcnow",
        "datetimeadd",
        "datetimefromepoch",
        "datetimetoepoch",
        "pickzones",
        "providers",
        "getsecret",
    }
)


# ------------------------------------------------------------------------- functions that do not evaluate everything


def _if(node: Call, frame: Frame) -> Any:
    if len(node.arguments) != 3:
        raise FunctionError("`if` takes a condition and two values")
    condition = evaluate(node.arguments[0], frame)
    if isinstance(condition, Unknown):
        one, other = (evaluate(each, frame) for each in node.arguments[1:])
        if is_known([one, other], frame.names.budget) and same(frame.names.budget, one, other):
            return one
        return condition.of(f"if({condition.symbol}, {symbol_of(one)}, {symbol_of(other)})")
    return evaluate(node.arguments[1 if want(condition, bool, "a condition") else 2], frame)


def _and_or(node: Call, frame: Frame) -> Any:
    decides = node.name == "or"
    unknown: Unknown | None = None
    for each in node.arguments:
        value = evaluate(each, frame)
        if isinstance(value, Unknown):
            unknown = unknown or value
        elif want(value, bool, "Booleans") is decides:
            return decides
    return (not decides) if unknown is None else unknown.of(f"{node.name}({unknown.symbol}, ...)")


def _coalesce(node: Call, frame: Frame) -> Any:
    for each in node.arguments:
        value = evaluate(each, frame)
        if value is not None:
            return value
    return None


def _lambda(node: Call, frame: Frame) -> _Lambda:
    *names, body = node.arguments or (Constant(""),)
    if not all(isinstance(each, Constant) and isinstance(each.value, str) for each in names):
        raise FunctionError("`lambda` takes names and an expression")
    return _Lambda(
        tuple(f"lambda {each.value.lower()}" for each in names if isinstance(each, Constant)), body, frame
    )


_LAZY: Final[dict[str, Callable[[Call, Frame], Any]]] = {
    "if": _if,
    "and": _and_or,
    "or": _and_or,
    "coalesce": _coalesce,
    "lambda": _lambda,
}


# ----------------------------------------------------------------------------- functions that know where they are


def _name(args: list[Any], function: str) -> str:
    if len(args) != 1:
        raise FunctionError(f"`{function}` takes a name")
    return str(want(args[0], str, "a name"))


def _parameters(args: list[Any], frame: Frame) -> Any:
    return frame.names.parameter(_name(args, "parameters"), frame)


def _variables(args: list[Any], frame: Frame) -> Any:
    return frame.names.variable(_name(args, "variables"), frame)


def _lambda_variables(args: list[Any], frame: Frame) -> Any:
    name = _name(args, "lambdaVariables")
    found = frame.bound.get(f"lambda {name.lower()}", MISSING)
    if found is MISSING:
        raise FunctionError(f"there is no lambda variable {shown(name)}")
    return found


def _copy_index(args: list[Any], frame: Frame) -> Any:
    loop = args[0] if args and isinstance(args[0], str) else ""
    rest = args[1:] if args and isinstance(args[0], str) else args
    number = frame.loops.get(loop.lower())
    if number is None:
        raise FunctionError(f"`copyIndex` is in no `copy` {shown(loop) if loop else ''}".rstrip())
    return number + (want(rest[0], int, "a number") if rest else 0)


def _described(which: str) -> Callable[[list[Any], Frame], Any]:
    def describe(args: list[Any], frame: Frame) -> Any:
        if args:  # subscription('...') of another scope
            return frame.unknown(
                f"{which}({', '.join(map(symbol_of, args))})", f"`{which}` of another scope asks Azure"
            )
        return frame.names.context.functions(frame.place)[which]

    return describe


def _resource_id(args: list[Any], frame: Frame) -> Any:
    """`resourceId([subscription, [group,]] type, name, ...)`: the type is the first argument with a slash in it."""
    at = next(
        (index for index, each in enumerate(args) if "/" in symbol_of(each) and "." in symbol_of(each)), None
    )
    if at is None or at > 2:
        raise FunctionError("`resourceId` takes a type and names")
    context, before = frame.names.context, [symbol_of(each) for each in args[:at]]
    group = before[-1] if before else context.group
    subscription = before[0] if at == 2 else context.subscription
    return resource_id(f"/subscriptions/{subscription}/resourceGroups/{group}", args[at], args[at + 1 :])


def _subscription_resource_id(args: list[Any], frame: Frame) -> Any:
    explicit = bool(args) and "/" not in symbol_of(args[0])
    subscription = symbol_of(args[0]) if explicit else frame.names.context.subscription
    kind, *names = args[1:] if explicit else args
    return resource_id(f"/subscriptions/{subscription}", kind, names)


def _tenant_resource_id(args: list[Any], _: Frame) -> Any:
    kind, *names = args
    return resource_id("", kind, names)


def _extension_resource_id(args: list[Any], _: Frame) -> Any:
    head, kind, *names = args
    found = resource_id(symbol_of(head), kind, names)
    return head.of(symbol_of(found)) if isinstance(head, Unknown) else found


def _reference(args: list[Any], frame: Frame) -> Any:
    if not args:
        raise FunctionError("`reference` takes a name or an id")
    full = len(args) > 2 and isinstance(args[2], str) and args[2].lower() == "full"
    return frame.names.reference(args[0], frame, full=full)


def _fail(args: list[Any], frame: Frame) -> Any:
    return frame.unknown(
        "fail", f"the template refuses these parameters: {symbol_of(args[0]) if args else ''}"
    )


def _mapped(args: list[Any], _: Frame) -> Any:
    items, body = _items_and_lambda("map", args, list)
    return items if isinstance(items, Unknown) else [body(item, index) for index, item in enumerate(items)]


def _filtered(args: list[Any], _: Frame) -> Any:
    items, body = _items_and_lambda("filter", args, list)
    if isinstance(items, Unknown):
        return items
    kept = []
    for index, item in enumerate(items):
        keep = body(item, index)
        if isinstance(keep, Unknown):
            return keep.of(f"filter({keep.symbol})")
        if want(keep, bool, "a condition"):
            kept.append(item)
    return kept


def _map_values(args: list[Any], _: Frame) -> Any:
    items, body = _items_and_lambda("mapValues", args, dict)
    return items if isinstance(items, Unknown) else {key: body(value) for key, value in items.items()}


def _reduced(args: list[Any], _: Frame) -> Any:
    if len(args) != 3:
        raise FunctionError("`reduce` takes an array, a start and a lambda")
    items, body = _items_and_lambda("reduce", [args[0], args[2]], list)
    if isinstance(items, Unknown):
        return items
    value = args[1]
    for item in items:
        value = body(value, item)
    return value


def _to_object(args: list[Any], _: Frame) -> Any:
    items, key = _items_and_lambda("toObject", args[:2], list)
    if isinstance(items, Unknown):
        return items
    value = args[2] if len(args) > 2 else None
    return {symbol_of(key(item)): value(item) if isinstance(value, _Lambda) else item for item in items}


def _grouped(args: list[Any], _: Frame) -> Any:
    items, key = _items_and_lambda("groupBy", args, list)
    if isinstance(items, Unknown):
        return items
    groups: dict[str, list[Any]] = {}
    for item in items:
        groups.setdefault(symbol_of(key(item)), []).append(item)
    return groups


def _sorted(args: list[Any], _: Frame) -> Any:
    items, before = _items_and_lambda("sort", args, list)
    if isinstance(items, Unknown):
        return items
    found: list[Any] = []
    for item in items:  # by insertion: the lambda need not be an order
        at = next((index for index, there in enumerate(found) if before(item, there) is True), len(found))
        found.insert(at, item)
    return found


def _items_and_lambda(name: str, args: list[Any], kind: type) -> tuple[Any, _Lambda]:
    if len(args) != 2 or not isinstance(args[1], _Lambda):
        raise FunctionError(f"`{name}` takes {'an object' if kind is dict else 'an array'} and a lambda")
    items, body = args
    if isinstance(items, Unknown):
        return items.of(f"{name}({items.symbol})"), body
    return want(items, kind, "an object" if kind is dict else "an array"), body


_SPECIAL: Final[dict[str, Callable[[list[Any], Frame], Any]]] = {
    "parameters": _parameters,
    "variables": _variables,
    "lambdavariables": _lambda_variables,
    "copyindex": _copy_index,
    "resourceid": _resource_id,
    "subscriptionresourceid": _subscription_resource_id,
    "tenantresourceid": _tenant_resource_id,
    "managementgroupresourceid": _tenant_resource_id,
    "extensionresourceid": _extension_resource_id,
    "reference": _reference,
    "fail": _fail,
    "map": _mapped,
    "filter": _filtered,
    "mapvalues": _map_values,
    "reduce": _reduced,
    "toobject": _to_object,
    "groupby": _grouped,
    "sort": _sorted,
    **{
        name: _described(name)
        for name in (
            "subscription",
            "resourcegroup",
            "tenant",
            "managementgroup",
            "deployment",
            "environment",
            "deployer",
        )
    },
}
