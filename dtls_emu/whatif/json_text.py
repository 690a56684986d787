"""JSON as Azure's tools take it, with comments; bounded; and on which line of a text something stands."""

from __future__ import annotations

import json
import re
from json.decoder import scanstring  # type: ignore[attr-defined]  # the part of the decoder that reads a key
from typing import Any, Final


__all__ = ["MAX_NESTING", "JsonTextError", "line_of", "parse_json"]

MAX_NESTING: Final = 100
"""Objects and arrays inside each other. Templates with nested deployments have some forty."""

_COMMENT: Final = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_COMMA: Final = re.compile(r'"(?:[^"\\]|\\.)*"|,(?=\s*[}\]])', re.DOTALL)
_SPACE: Final = re.compile(r"[\s,:]*")


class JsonTextError(ValueError):
    """A text is no JSON. Says on which line, and what is wrong."""


def parse_json(text: str) -> Any:
    """A value from its text. Comments, line breaks in texts and a comma too many are taken, as Azure takes them.

    Raises:
        JsonTextError: it is none, or nested too deep.
    """
    try:
        value = json.loads(text, strict=False, parse_constant=_refuse)
    except json.JSONDecodeError:
        value = _parse_with_comments(text)
    except RecursionError:
        raise JsonTextError(f"more than {MAX_NESTING} levels inside each other") from None
    except ValueError as error:
        raise JsonTextError(_one_line(error)) from None
    _check_nesting(value)
    return value


def line_of(text: str, path: tuple[str | int, ...]) -> int:
    """The line, from 1, on which what a path leads to begins; of what is not there, that of what is around it."""
    plain = _without_comments(text)
    at = _SPACE.match(plain).end()  # type: ignore[union-attr]  # it matches nothing, too
    for step in path:
        found = _inside(plain, at, step)
        if found is None:
            break
        at = found
    return plain.count("\n", 0, at) + 1


def _parse_with_comments(text: str) -> Any:
    try:
        return json.loads(_without_comments(text), strict=False, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise JsonTextError(f"line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise JsonTextError(f"more than {MAX_NESTING} levels inside each other") from None
    except ValueError as error:
        raise JsonTextError(_one_line(error)) from None


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _one_line(error: ValueError) -> str:
    return "a number is too long" if "integer string" in str(error) else str(error)


def _without_comments(text: str) -> str:
    """The same with spaces instead, so that everything stays where it is."""
    blank = _COMMENT.sub(lambda found: found[0] if found[0][0] == '"' else _blank(found[0]), text)
    return _COMMA.sub(lambda found: found[0] if found[0][0] == '"' else " ", blank)


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


def _check_nesting(value: Any) -> None:
    level = [value]
    for _ in range(MAX_NESTING + 1):
        level = (
            [
                inside
                for each in level
                for inside in (each.values() if isinstance(each, dict) else each)
                if isinstance(inside, dict | list)
            ]
            if all(isinstance(each, dict | list) for each in level)
            else []
        )
        if not level:
            return
    raise JsonTextError(f"more than {MAX_NESTING} levels inside each other")


def _inside(text: str, at: int, step: str | int) -> int | None:
    """Where a member or an item of the object or array begins that begins here."""
    decoder = json.JSONDecoder(strict=False)
    is_object = text[at : at + 1] == "{"
    if text[at : at + 1] not in {"{", "["} or is_object is isinstance(step, int):
        return None
    at = _skip(text, at + 1)
    number = 0
    try:
        while text[at] not in "}]":
            key: str | int = number
            if is_object:
                key, at = scanstring(text, at + 1, False)
                at = _skip(text, at)
            if key == step or (
                isinstance(key, str) and isinstance(step, str) and key.lower() == step.lower()
            ):
                return at
            _, at = decoder.raw_decode(text, at)
            at = _skip(text, at)
            number += 1
    except (IndexError, ValueError, RecursionError):
        return None
    return None


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()
