"""Functions of texts and numbers.

Source: "ARM template functions", string and numeric functions.
"""

from __future__ import annotations

import base64
import json
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urljoin
from uuid import UUID, uuid5

from dtls_emu.whatif.template.limits import MAX_TEXT
from dtls_emu.whatif.template.registry import FunctionError, function, text_of_parts, want


if TYPE_CHECKING:
    from dtls_emu.whatif.template.limits import Budget


__all__ = ["plain_text"]

_NAMESPACE: Final = UUID("11fb06fb-712d-4ddd-98c7-e71bbd588830")
_UNIQUE: Final = "abcdefghijklmnopqrstuvwxyz234567"
_HOLE: Final = re.compile(r"\{\{|\}\}|\{(\d{1,3})(?:,(-?\d{1,4}))?(?::([^{}]*))?\}")
_LARGEST: Final = 2**63


def plain_text(budget: Budget, value: Any) -> str:
    """A value as a text: numbers and Booleans as Azure writes them, arrays and objects as JSON.

    Raises:
        FunctionError: it would be too long.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return str(value)
    size, pending = 0, [value]
    while pending:  # before it is made: parts that are used again and again count again and again
        each = pending.pop()
        budget.spend()
        size += 2 + (len(each) if isinstance(each, str | dict | list) else 8)
        if size > MAX_TEXT:
            raise FunctionError(f"would make a text of more than {MAX_TEXT} characters")
        if isinstance(each, dict):
            pending += each.values()
            size += sum(map(len, each))
        elif isinstance(each, list):
            pending += each
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@function("string")
def _string(budget: Budget, args: list[Any]) -> str:
    return plain_text(budget, args[0])


@function("format", least=1, most=64)
def _format(budget: Budget, args: list[Any]) -> str:
    text = want(args[0], str, "a text first")
    parts, at = [], 0
    total = 0
    for hole in _HOLE.finditer(text):
        parts.append(text[at : hole.start()])
        at = hole.end()
        if hole[1] is None:
            parts.append(hole[0][0])
            continue
        if int(hole[1]) >= len(args) - 1:
            raise FunctionError(f"has no argument for {hole[0]}")
        said = _formatted(budget, args[1 + int(hole[1])], hole[3] or "")
        width = int(hole[2] or 0)
        parts.append(said.rjust(width) if width > 0 else said.ljust(-width))
        total += len(parts[-1])
        if total > MAX_TEXT:
            raise FunctionError(f"would make a text of more than {MAX_TEXT} characters")
    return text_of_parts(budget, [*parts, text[at:]])


def _formatted(budget: Budget, value: Any, how: str) -> str:
    if not how:
        return plain_text(budget, value)
    zeros = re.fullmatch(r"[dD](\d{1,2})|(0{1,20})", how)
    if zeros is None or not isinstance(value, int) or isinstance(value, bool):
        raise FunctionError(f"cannot format with `{how[:20]}`")
    digits = str(abs(value)).zfill(int(zeros[1]) if zeros[1] else len(zeros[2]))
    return f"-{digits}" if value < 0 else digits


@function("toLower")
def _to_lower(_: Budget, args: list[Any]) -> str:
    return str(want(args[0], str, "a text")).lower()


@function("toUpper")
def _to_upper(_: Budget, args: list[Any]) -> str:
    return str(want(args[0], str, "a text")).upper()


@function("trim")
def _trim(_: Budget, args: list[Any]) -> str:
    return str(want(args[0], str, "a text")).strip()


@function("split", least=2, most=2)
def _split(budget: Budget, args: list[Any]) -> list[str]:
    text = want(args[0], str, "a text")
    marks = [args[1]] if isinstance(args[1], str) else want(args[1], list, "one or several delimiters")
    wanted = [re.escape(want(mark, str, "delimiters that are texts")) for mark in marks]
    budget.spend(1 + len(text) // 16)
    return re.split("|".join(wanted), text) if all(wanted) and wanted else [text]


@function("join", least=2, most=2)
def _join(budget: Budget, args: list[Any]) -> str:
    items = [plain_text(budget, item) for item in want(args[0], list, "an array")]
    between = want(args[1], str, "a delimiter")
    if len(between) * len(items) > MAX_TEXT:
        raise FunctionError(f"would make a text of more than {MAX_TEXT} characters")
    return text_of_parts(budget, [between.join(items)] if sum(map(len, items)) <= MAX_TEXT else items)


@function("replace", least=3, most=3)
def _replace(budget: Budget, args: list[Any]) -> str:
    text, old, new = (want(each, str, "three texts") for each in args)
    if not old:
        raise FunctionError("cannot replace an empty text")
    if text.count(old) * max(len(new) - len(old), 0) > MAX_TEXT:
        raise FunctionError(f"would make a text of more than {MAX_TEXT} characters")
    return text_of_parts(budget, [str(text).replace(old, new)])


@function("substring", least=2, most=3)
def _substring(_: Budget, args: list[Any]) -> str:
    text, start = want(args[0], str, "a text"), want(args[1], int, "a position")
    length = want(args[2], int, "a length") if len(args) > 2 else len(text) - start
    if start < 0 or length < 0 or start + length > len(text):
        raise FunctionError(f"has no {length} characters from position {start}")
    return str(text[start : start + length])


@function("startsWith", least=2, most=2)
def _starts_with(_: Budget, args: list[Any]) -> bool:
    text, start = (want(each, str, "two texts").lower() for each in args)
    return bool(text.startswith(start))


@function("endsWith", least=2, most=2)
def _ends_with(_: Budget, args: list[Any]) -> bool:
    text, end = (want(each, str, "two texts").lower() for each in args)
    return bool(text.endswith(end))


@function("padLeft", least=2, most=3)
def _pad_left(budget: Budget, args: list[Any]) -> str:
    width = want(args[1], int, "a width")
    if not 0 <= width <= 10_000:
        raise FunctionError("pads to at most 10000 characters")
    return plain_text(budget, args[0]).rjust(
        width, want(args[2], str, "a character")[:1] if len(args) > 2 else " "
    )


@function("uniqueString", least=1, most=64)
def _unique_string(budget: Budget, args: list[Any]) -> str:
    """Thirteen characters that are the same each time, but not those that Azure would give."""
    number = int.from_bytes(
        sha256("\0".join(plain_text(budget, each) for each in args).encode()).digest()[:9]
    )
    return "".join(_UNIQUE[number >> 5 * position & 31] for position in range(13))


@function("guid", least=1, most=64)
def _guid(budget: Budget, args: list[Any]) -> str:
    return str(uuid5(_NAMESPACE, "-".join(plain_text(budget, each) for each in args)))


@function("base64")
def _base64(_: Budget, args: list[Any]) -> str:
    return base64.b64encode(want(args[0], str, "a text").encode("utf-8", "surrogatepass")).decode("ascii")


@function("base64ToString")
def _base64_to_string(_: Budget, args: list[Any]) -> str:
    try:
        return base64.b64decode(want(args[0], str, "a text"), validate=True).decode()
    except ValueError:
        raise FunctionError("takes Base64") from None


@function("base64ToJson")
def _base64_to_json(budget: Budget, args: list[Any]) -> Any:
    return _json(budget, [_base64_to_string(budget, args)])


@function("json")
def _json(budget: Budget, args: list[Any]) -> Any:
    text = want(args[0], str, "a text")
    budget.spend(1 + len(text) // 8)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise FunctionError("takes JSON") from None


@function("uri", least=2, most=2)
def _uri(_: Budget, args: list[Any]) -> str:
    base, rest = (want(each, str, "two texts") for each in args)
    try:
        return str(urljoin(base, rest))
    except ValueError:
        raise FunctionError("takes an address") from None


@function("uriComponent")
def _uri_component(_: Budget, args: list[Any]) -> str:
    return quote(want(args[0], str, "a text").encode("utf-8", "replace"), safe="")


@function("uriComponentToString")
def _uri_component_to_string(_: Budget, args: list[Any]) -> str:
    return unquote(want(args[0], str, "a text"))


@function("int")
def _int(_: Budget, args: list[Any]) -> int:
    value = args[0]
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,19}\s*", value):
        return int(value)
    return int(want(value, (int, float), "a number"))


@function("float")
def _float(_: Budget, args: list[Any]) -> float:
    try:
        return float(want(args[0], (int, float, str), "a number"))
    except (ValueError, OverflowError):
        raise FunctionError("takes a number") from None


def _two_numbers(args: list[Any]) -> tuple[int, int]:
    first, second = (want(each, int, "two whole numbers") for each in args)
    if max(abs(first), abs(second)) >= _LARGEST:
        raise FunctionError("takes numbers of 64 bits")
    return first, second


@function("add", least=2, most=2)
def _add(_: Budget, args: list[Any]) -> int:
    first, second = _two_numbers(args)
    return first + second


@function("sub", least=2, most=2)
def _sub(_: Budget, args: list[Any]) -> int:
    first, second = _two_numbers(args)
    return first - second


@function("mul", least=2, most=2)
def _mul(_: Budget, args: list[Any]) -> int:
    first, second = _two_numbers(args)
    return first * second


@function("div", least=2, most=2)
def _div(_: Budget, args: list[Any]) -> int:
    first, second = _two_numbers(args)
    if second == 0:
        raise FunctionError("cannot divide by zero")
    return abs(first) // abs(second) * (1 if (first < 0) == (second < 0) else -1)


@function("mod", least=2, most=2)
def _mod(budget: Budget, args: list[Any]) -> int:
    first, second = _two_numbers(args)
    return int(first - second * _div(budget, args))
