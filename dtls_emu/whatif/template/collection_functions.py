"""Functions of arrays, objects, and of whatever has a length; comparisons.

Source: "ARM template functions", array, object, comparison and logical functions. `if`, `and`, `or` and `coalesce` are
not here: they need not evaluate all of their arguments (:mod:`.evaluating`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dtls_emu.whatif.template.limits import MAX_ITEMS
from dtls_emu.whatif.template.registry import FunctionError, function, text_of_parts, want
from dtls_emu.whatif.template.text_functions import plain_text
from dtls_emu.whatif.template.values import MISSING, Partial, Unknown, member


if TYPE_CHECKING:
    from dtls_emu.whatif.template.limits import Budget


__all__ = ["same"]


def same(budget: Budget, first: Any, second: Any) -> bool:
    """Whether two values are equal. Texts are compared with their case, as `equals` of Azure does."""
    pending = [(first, second)]
    while pending:
        budget.spend()
        one, other = pending.pop()
        if isinstance(one, bool) is not isinstance(other, bool):
            return False
        if isinstance(one, dict) and isinstance(other, dict):
            if len(one) != len(other):
                return False
            for key, value in one.items():
                there = member(other, key)
                if there is MISSING:
                    return False
                pending.append((value, there))
        elif isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                return False
            pending += zip(one, other, strict=True)
        elif one != other:
            return False
    return True


def _limited(budget: Budget, items: list[Any]) -> list[Any]:
    if len(items) > MAX_ITEMS:
        raise FunctionError(f"would make an array of more than {MAX_ITEMS} items")
    budget.spend(1 + len(items))
    return items


@function("createArray", least=0, most=2000, looks_inside=False)
def _create_array(budget: Budget, args: list[Any]) -> list[Any]:
    return _limited(budget, list(args))


@function("array", looks_inside=False)
def _array(_: Budget, args: list[Any]) -> list[Any]:
    return args[0] if isinstance(args[0], list) else [args[0]]


@function("createObject", least=0, most=2000, looks_inside=False)
def _create_object(budget: Budget, args: list[Any]) -> dict[str, Any]:
    if len(args) % 2:
        raise FunctionError("takes keys and values in turn")
    budget.spend(1 + len(args))
    return {
        want(key, str, "keys that are texts"): value for key, value in zip(args[::2], args[1::2], strict=True)
    }


@function("concat", least=0, most=2000, looks_inside=False)
def _concat(budget: Budget, args: list[Any]) -> Any:
    if args and isinstance(args[0], list):
        return _limited(budget, [item for each in args for item in want(each, list, "arrays only, or none")])
    if any(isinstance(each, list | dict) for each in args):
        raise FunctionError("takes texts, or arrays")
    return text_of_parts(budget, (plain_text(budget, each) for each in args))


@function("length", looks_inside=False)
def _length(_: Budget, args: list[Any]) -> int:
    return len(want(args[0], (str, list, dict), "a text, an array or an object"))


@function("empty", looks_inside=False)
def _empty(_: Budget, args: list[Any]) -> bool:
    return args[0] is None or not want(args[0], (str, list, dict), "a text, an array or an object")


@function("first", looks_inside=False)
def _first(_: Budget, args: list[Any]) -> Any:
    value = want(args[0], (str, list), "a text or an array")
    return value[0] if value else ("" if isinstance(value, str) else None)


@function("last", looks_inside=False)
def _last(_: Budget, args: list[Any]) -> Any:
    value = want(args[0], (str, list), "a text or an array")
    return value[-1] if value else ("" if isinstance(value, str) else None)


@function("skip", least=2, most=2, looks_inside=False)
def _skip(budget: Budget, args: list[Any]) -> Any:
    value = want(args[0], (str, list), "a text or an array")
    budget.spend(1 + len(value) // 16)
    return value[max(want(args[1], int, "a number"), 0) :]


@function("take", least=2, most=2, looks_inside=False)
def _take(budget: Budget, args: list[Any]) -> Any:
    value = want(args[0], (str, list), "a text or an array")
    budget.spend(1 + len(value) // 16)
    return value[: max(want(args[1], int, "a number"), 0)]


@function("range", least=2, most=2)
def _range(budget: Budget, args: list[Any]) -> list[int]:
    start, count = (want(each, int, "two whole numbers") for each in args)
    if not 0 <= count <= MAX_ITEMS:
        raise FunctionError(f"makes at most {MAX_ITEMS} numbers")
    return _limited(budget, list(range(start, start + count)))


@function("contains", least=2, most=2)
def _contains(budget: Budget, args: list[Any]) -> bool:
    where, what = args
    if isinstance(where, str):
        return plain_text(budget, what) in where
    if isinstance(where, dict):
        return member(where, want(what, str, "a key")) is not MISSING
    return any(same(budget, item, what) for item in want(where, list, "a text, an array or an object"))


@function("indexOf", least=2, most=2)
def _index_of(budget: Budget, args: list[Any]) -> int:
    where, what = args
    if isinstance(where, str):
        return where.lower().find(want(what, str, "a text").lower())
    items = want(where, list, "a text or an array")
    return next((index for index, item in enumerate(items) if same(budget, item, what)), -1)


@function("lastIndexOf", least=2, most=2)
def _last_index_of(budget: Budget, args: list[Any]) -> int:
    where, what = args
    if isinstance(where, str):
        return where.lower().rfind(want(what, str, "a text").lower())
    items = want(where, list, "a text or an array")
    return next((index for index in reversed(range(len(items))) if same(budget, items[index], what)), -1)


@function("union", least=1, most=100, looks_inside=False)
def _union(budget: Budget, args: list[Any]) -> Any:
    if isinstance(args[0], list):
        found: list[Any] = []
        for item in (item for each in args for item in want(each, list, "arrays only, or none")):
            if not any(same(budget, item, there) for there in found):
                found.append(item)
        return _limited(budget, found)
    merged: dict[str, Any] = {}
    for each in args:
        merged = _merged(budget, merged, want(each, dict, "objects only, or none"), deep=True)
    return merged


@function("shallowMerge", looks_inside=False)
def _shallow_merge(budget: Budget, args: list[Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for each in want(args[0], list, "an array of objects"):
        merged = _merged(budget, merged, want(each, dict, "an array of objects"), deep=False)
    return merged


def _merged(budget: Budget, under: dict[str, Any], over: dict[str, Any], *, deep: bool) -> dict[str, Any]:
    budget.spend(1 + len(under) + len(over))
    if isinstance(over, Partial):
        raise FunctionError("takes objects that are known as a whole")
    merged, spelled = dict(under), {key.lower(): key for key in under}
    for key, value in over.items():
        there = spelled.setdefault(key.lower(), key)
        old = merged.get(there)
        both = deep and isinstance(old, dict) and isinstance(value, dict)
        merged[there] = _merged(budget, old, value, deep=True) if both and old is not None else value
    return merged


@function("intersection", least=2, most=100)
def _intersection(budget: Budget, args: list[Any]) -> Any:
    first, *others = args
    if isinstance(first, list):
        rest = [want(each, list, "arrays only, or none") for each in others]
        return [item for item in first if all(any(same(budget, item, one) for one in each) for each in rest)]
    rest = [want(each, dict, "objects only, or none") for each in others]
    return {
        key: value
        for key, value in want(first, dict, "arrays or objects").items()
        if all(same(budget, member(each, key), value) for each in rest)
    }


@function("flatten", looks_inside=False)
def _flatten(budget: Budget, args: list[Any]) -> Any:
    items = want(args[0], list, "an array of arrays")
    unknown = next((each for each in items if isinstance(each, Unknown)), None)
    if unknown is not None:
        return unknown.of(f"flatten({unknown.symbol})")
    return _limited(budget, [item for each in items for item in want(each, list, "an array of arrays")])


@function("items", looks_inside=False)
def _items(budget: Budget, args: list[Any]) -> list[dict[str, Any]]:
    value = want(args[0], dict, "an object")
    return _limited(budget, [{"key": key, "value": value[key]} for key in sorted(value)])


@function("objectKeys", looks_inside=False)
def _object_keys(budget: Budget, args: list[Any]) -> list[str]:
    return _limited(budget, sorted(want(args[0], dict, "an object")))


@function("tryGet", least=2, most=100, looks_inside=False)
def _try_get(_: Budget, args: list[Any]) -> Any:
    value = args[0]
    for step in args[1:]:
        if isinstance(value, Unknown):
            return value.of(f"tryGet({value.symbol}, {step})")
        if isinstance(value, dict) and isinstance(step, str):
            found = member(value, step)
            value = None if found is MISSING else found
        elif isinstance(value, list) and type(step) is int:
            value = value[step] if 0 <= step < len(value) else None
        else:
            return None
    return value


@function("indexFromEnd", "tryIndexFromEnd", least=2, most=2, looks_inside=False)
def _index_from_end(_: Budget, args: list[Any]) -> Any:
    items, index = want(args[0], list, "an array"), want(args[1], int, "a number")
    return items[-index] if 1 <= index <= len(items) else None


@function("min", least=1, most=2000)
def _min(_: Budget, args: list[Any]) -> int:
    return min(_numbers(args))


@function("max", least=1, most=2000)
def _max(_: Budget, args: list[Any]) -> int:
    return max(_numbers(args))


def _numbers(args: list[Any]) -> list[int]:
    numbers = args[0] if isinstance(args[0], list) else args
    if not numbers:
        raise FunctionError("takes at least one number")
    return [want(each, int, "whole numbers") for each in numbers]


@function("equals", least=2, most=2)
def _equals(budget: Budget, args: list[Any]) -> bool:
    return same(budget, *args)


def _ordered(args: list[Any]) -> tuple[Any, Any]:
    kind = str if isinstance(args[0], str) else int
    first, second = (want(each, kind, "two numbers or two texts") for each in args)
    return first, second


@function("less", least=2, most=2)
def _less(_: Budget, args: list[Any]) -> bool:
    first, second = _ordered(args)
    return bool(first < second)


@function("lessOrEquals", least=2, most=2)
def _less_or_equals(_: Budget, args: list[Any]) -> bool:
    first, second = _ordered(args)
    return bool(first <= second)


@function("greater", least=2, most=2)
def _greater(_: Budget, args: list[Any]) -> bool:
    first, second = _ordered(args)
    return bool(first > second)


@function("greaterOrEquals", least=2, most=2)
def _greater_or_equals(_: Budget, args: list[Any]) -> bool:
    first, second = _ordered(args)
    return bool(first >= second)


@function("not")
def _not(_: Budget, args: list[Any]) -> bool:
    return not want(args[0], bool, "a Boolean")


@function("bool")
def _bool(_: Budget, args: list[Any]) -> bool:
    value = args[0]
    if isinstance(value, str) and value.lower() in {"true", "false", "1", "0"}:
        return value.lower() in {"true", "1"}
    return bool(want(value, (bool, int), "a Boolean, a number or a text"))


@function("true", least=0, most=0)
def _true(_: Budget, _args: list[Any]) -> bool:
    return True


@function("false", least=0, most=0)
def _false(_: Budget, _args: list[Any]) -> bool:
    return False


@function("null", least=0, most=0)
def _null(_: Budget, _args: list[Any]) -> None:
    return None
