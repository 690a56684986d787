"""The lab file, the result file and a host's file, from the JSON Schema of their pydantic models."""

from __future__ import annotations

import json
from typing import Any, Final

from dtls_emu.host.config import HostConfig
from dtls_emu.lab.schema import json_schema
from dtls_emu.measure.result import result_schema
from generate.source import documented_fields
from generate.tables import code, prose, table


__all__ = ["host_file", "lab_file", "result_file"]

Schema = dict[str, Any]

_MAPPINGS: Final = "a mapping from names to "
_UNREADABLE: Final = 2**24


def lab_file() -> str:
    """Every section of a lab file, the file itself first."""
    return _document(json_schema(), title="The file", prefix="lab")


def result_file() -> str:
    """Every record of a result file, the file itself first."""
    return _document(json.loads(result_schema()), title="The file", prefix="result")


def host_file() -> str:
    """``host.json``, its parts behind it."""
    return _document(HostConfig.model_json_schema(), title="host.json", prefix="host")


def _document(schema: Schema, *, title: str, prefix: str) -> str:
    definitions: dict[str, Schema] = schema.get("$defs", {})
    order = ["", *_by_first_use(schema, definitions)]
    parts = []
    for name in order:
        own = definitions[name] if name else schema
        if name and "properties" not in own and "enum" not in own:
            continue
        anchor = f"{prefix}-{name.lower() or 'file'}"
        parts.append(_section(name or title, anchor, own, definitions, prefix))
    return "\n".join(parts)


def _section(name: str, anchor: str, schema: Schema, definitions: dict[str, Schema], prefix: str) -> str:
    lines = [f"({anchor})=", f"## {name}", ""]
    description = schema.get("description", "")
    summary = description.partition("\nFields:")[0]
    if summary:
        lines += [prose(summary), ""]
    if "enum" in schema:
        lines += ["One of " + ", ".join(code(each) for each in schema["enum"]) + ".", ""]
        return "\n".join(lines)
    required = set(schema.get("required", ()))
    described = documented_fields(description)
    rows = [
        [
            code(key),
            _kind(each, prefix),
            "*required*" if key in required else _default(each),
            prose(each.get("description") or described.get(key) or _of_its_kind(each, definitions)),
        ]
        for key, each in schema.get("properties", {}).items()
    ]
    return "\n".join([*lines, table(["key", "value", "default", "meaning"], rows)])


def _of_its_kind(schema: Schema, definitions: dict[str, Schema]) -> str:
    """The first sentence about the record that is referred to; pydantic leaves out what only repeats it."""
    name = str(schema.get("$ref", "")).rsplit("/", 1)[-1]
    sentence = str(definitions.get(name, {}).get("description", "")).partition(". ")[0]
    return sentence.partition("\n")[0]


def _default(schema: Schema) -> str:
    value = schema.get("default")
    if value is None or isinstance(value, dict | list):
        return ""
    return code(json.dumps(value))


def _kind(schema: Schema, prefix: str) -> str:
    """What a value may be, in words, with a link to what has a section of its own."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{prefix}-{name.lower()})"
    if "anyOf" in schema or "oneOf" in schema:
        each = [_kind(one, prefix) for one in schema.get("anyOf") or schema["oneOf"]]
        return " or ".join(dict.fromkeys(kind for kind in each if kind != "null"))
    if "const" in schema:
        return code(json.dumps(schema["const"]).strip('"'))
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        items = schema.get("prefixItems") or [schema.get("items", {})]
        return "a list of " + " and ".join(dict.fromkeys(_kind(item, prefix) for item in items))
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return _MAPPINGS + _kind(schema["additionalProperties"], prefix)
    if kind == "object" and "patternProperties" in schema:
        return _MAPPINGS + " or ".join(_kind(each, prefix) for each in schema["patternProperties"].values())
    if kind in {"integer", "number"}:
        return "number" + _range(schema)
    return {"string": "text", "boolean": "true or false", "object": "a mapping"}.get(kind, kind)


def _range(schema: Schema) -> str:
    low, high = (
        schema.get("minimum", schema.get("exclusiveMinimum")),
        schema.get("maximum", schema.get("exclusiveMaximum")),
    )
    if low is not None and high is not None:
        return f", {_number(low)} to {_number(high)}"
    return "" if low in {None, 0} else f", at least {_number(low)}"


def _number(value: float) -> str:
    """Powers of two that nobody would read otherwise, as such."""
    for number, text in ((value, "2^{}"), (value + 1, "2^{} - 1")):
        if isinstance(number, int) and number > _UNREADABLE and number.bit_count() == 1:
            return text.format(number.bit_length() - 1)
    return f"{value:,}"


def _by_first_use(schema: Schema, definitions: dict[str, Schema]) -> list[str]:
    """Names of definitions in the order in which a reader meets them."""
    found: list[str] = []
    wanted = [schema]
    while wanted:
        names = [name for name in _references(wanted.pop(0)) if name not in found]
        found += dict.fromkeys(names)
        wanted += [definitions[name] for name in dict.fromkeys(names)]
    return found


def _references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"].rsplit("/", 1)[-1]] if isinstance(node.get("$ref"), str) else []
        return own + [name for key, each in node.items() if key != "$defs" for name in _references(each)]
    if isinstance(node, list):
        return [name for each in node for name in _references(each)]
    return []
