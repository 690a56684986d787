"""From what pydantic found to what a person should write.

The JSON Schema of the lab file is the one source of what may stand where: keys, choices, descriptions.
"""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.lab.problems import (
    MAX_PROBLEMS,
    Problem,
    UnknownNameError,
    missing_space,
    nearest,
    shown,
    suggest,
)
from dtls_emu.lab.schema import json_schema


if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from dtls_emu.lab.problems import KeyPath


__all__ = ["explain", "without_consequences"]

_WANTED: Final = {
    "bool_type": "true or false",
    "dict_type": "a mapping of `key: value` lines",
    "int_type": "a whole number",
    "list_type": "a list, such as [a, b]",
    "model_attributes_type": "a mapping of `key: value` lines",
    "model_type": "a mapping of `key: value` lines",
    "path_type": "the path of a file",
    "string_type": "text, in quotes if it looks like a number",
    "tuple_type": "a list, such as [a, b]",
}
"""What to write, by pydantic's type of error."""

_LIMITS: Final = {
    "greater_than": ("too small", "write more than {gt}"),
    "greater_than_equal": ("too small", "write at least {ge}"),
    "less_than_equal": ("too large", "write at most {le}"),
    "multiple_of": ("out of step", "write a multiple of {multiple_of}"),
}


def explain(error: ValidationError, data: Any) -> list[Problem]:
    """The problems of a validation, in words: one more than ``MAX_PROBLEMS`` at most.

    What only follows from another problem is left out: that a key is missing beside a misspelt one.

    Args:
        error: of :class:`dtls_emu.lab.schema.Lab`.
        data: what was validated.
    """
    found = error.errors(include_url=False)
    # A list whose every entry is wrong counts as empty as well; the entries say it better.
    inner = {_path(details)[:-1] for details in found}
    worth_saying = (
        details for details in found if details["type"] != "too_short" or _path(details) not in inner
    )
    problems = [_explain(details, data) for details in islice(worth_saying, MAX_PROBLEMS + 1)]
    return without_consequences(problems)


def without_consequences(problems: Iterable[Problem]) -> list[Problem]:
    """The problems without those that only follow from others among them."""
    problems = list(problems)
    explained = {path for problem in problems for path in problem.explains}
    return [problem for problem in problems if problem.path not in explained]


def _explain(details: ErrorDetails, data: Any) -> Problem:
    path, kind, value = _path(details), details["type"], details["input"]
    context = details.get("ctx", {})
    match kind:
        case "value_error":
            error = context["error"]
            remedy = f"; {error.remedy()}" if isinstance(error, UnknownNameError) else ""
            return Problem(path, f"{error}{remedy}")
        case "missing" if isinstance(path[-1], int):
            return Problem(path[:-1], "has too few entries; write two, such as [a, b]")
        case "missing":
            return Problem(path, f"missing; write it: {_description(path, data)}")
        case "extra_forbidden":
            return _unknown_key(path, data)
        case "enum" | "literal_error":
            return Problem(path, f"{shown(value)} is not known here; {suggest(value, _choices(path, data))}")
        case "union_tag_not_found":
            return Problem((*path, "kind"), f"missing; {suggest('', _kinds())}")
        case "union_tag_invalid":
            return Problem(
                (*path, "kind"), f"{shown(context['tag'])} is not known; {suggest(context['tag'], _kinds())}"
            )
        case "too_short":
            return Problem(path, "is empty; write at least one entry")
        case "too_long":
            most = "at most " if isinstance(value, dict) else ""
            return Problem(path, f"has {len(value)} entries; write {most}{context['max_length']}")
    if value is None and kind == "string_type":  # `null` and `~` are no text to YAML
        return Problem(path, 'has no value; write one, or "null" in quotes if that is meant')
    if value is None:
        return Problem(path, f"has no value; write {_WANTED.get(kind, 'one, or leave the key out')}")
    if kind in _LIMITS:
        wrong, instead = _LIMITS[kind]
        return Problem(path, f"{shown(value)} is {wrong}; {instead.format(**context)}")
    if kind in _WANTED:
        return Problem(path, _unwanted(kind, value))
    return Problem(path, details["msg"])


def _unknown_key(path: KeyPath, data: Any) -> Problem:
    parent, wrong = path[:-1], str(path[-1])
    keys = _schema_at(parent, data).get("properties", {})
    stuck = missing_space(wrong)
    if stuck and stuck[0] in keys:
        return Problem(path, stuck[1], explains=((*parent, stuck[0]),))
    there = _data_at(parent, data)
    unused = [key for key in keys if key not in there]
    # A slip in a change lands beside the key that is meant.
    used = [key for key in keys if key in there]
    meant = nearest(wrong, unused)
    return Problem(
        path,
        f"unknown key; {suggest(wrong, unused, used)}",
        explains=tuple((*parent, key) for key in meant),
    )


def _unwanted(kind: str, value: object) -> str:
    """What to write instead of a value of another type, as exactly as it can be said."""
    stuck = (
        missing_space(value) if isinstance(value, str) and kind not in {"string_type", "path_type"} else None
    )
    if stuck:
        return stuck[1]
    wanted = _WANTED[kind]
    if kind == "bool_type" and isinstance(value, str) and value.lower() in {"true", "false"}:
        wanted = f"{value.lower()} without quotes"
    elif kind == "int_type" and isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        wanted = str(int(value))
    return f"{shown(value)} does not belong here; write {wanted}"


def _path(details: ErrorDetails) -> KeyPath:
    """Where in the file, without what pydantic adds: the kind of a traffic item, and that a key is meant."""
    path = details["loc"]
    if len(path) > 2 and path[0] == "traffic":
        path = (*path[:2], *path[3:])
    return path[:-1] if path[-1:] == ("[key]",) else path


@cache
def _root() -> dict[str, Any]:
    return json_schema()


def _kinds() -> list[str]:
    return list(_root()["properties"]["traffic"]["items"]["discriminator"]["mapping"])


def _choices(path: KeyPath, data: Any) -> list[str]:
    """The words that may stand at a path, as value or as key of a mapping."""
    schema = _schema_at(path, data)
    if "enum" not in schema:
        parent = _schema_at(path[:-1], data)
        schema = _resolve(parent.get("propertyNames", {}), None)
    spellings = {str(choice).lower(): str(choice) for choice in reversed(schema.get("enum", []))}
    return list(reversed(spellings.values()))


def _description(path: KeyPath, data: Any) -> str:
    field = _schema_at(path[:-1], data).get("properties", {}).get(path[-1], {})
    text: str = field.get("description", f"`{path[-1]}`")
    first = text[0].lower() if text[1:2].islower() else text[0]  # "VMs" stay VMs
    return first + text[1:].rstrip(".")


def _data_at(path: KeyPath, data: Any) -> Any:
    for step in path:
        data = data[step]
    return data


def _schema_at(path: KeyPath, data: Any) -> dict[str, Any]:
    """The part of the JSON Schema that says what may stand at a path; empty where nothing may."""
    schema = _resolve(_root(), data)
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            data = None
        if isinstance(step, int):
            inner = schema.get("items", {})
        else:  # a known key, or one of a mapping whose keys are names
            named = [*schema.get("patternProperties", {}).values(), schema.get("additionalProperties", {})]
            inner = schema.get("properties", {}).get(step, named[0])
        schema = _resolve(inner, data) if isinstance(inner, dict) else {}
    return schema


def _resolve(schema: dict[str, Any], data: Any) -> dict[str, Any]:
    """Follow a reference, the kind of a traffic item, and "this or null"."""
    while True:
        if "discriminator" in schema:
            mapping = schema["discriminator"]["mapping"]
            kind = data.get("kind") if isinstance(data, dict) else None
            schema = {"$ref": mapping[kind]} if kind in mapping else {}
        elif "$ref" in schema:
            schema = _root()["$defs"][schema["$ref"].rpartition("/")[2]]
        elif schema.get("anyOf", [{}])[-1] == {"type": "null"}:
            schema = schema["anyOf"][0]
        else:
            return schema
