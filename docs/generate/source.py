"""What the package's own sources say of its constants, knobs, words and rows."""

from __future__ import annotations

import ast
import inspect
import io
import re
import tokenize
from dataclasses import MISSING, fields
from enum import StrEnum
from importlib.metadata import distribution
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.assembly import lab_document
from dtls_emu.crypto import registry
from dtls_emu.crypto.registry import ENTRY_POINTS
from dtls_emu.lab import load_lab, shipped_labs
from dtls_emu.lab.endpoint_kinds import ENDPOINTS
from dtls_emu.lab.loader import EXAMPLES
from dtls_emu.lab.profiles import PROFILES, Profile
from dtls_emu.policy import rows
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.vocabulary import DropReason, FlowEncryption
from generate.tables import code, prose, table


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = [
    "backends",
    "decision_table",
    "documented_fields",
    "drop_reasons",
    "endpoint_kinds",
    "field_docstrings",
    "flow_codes",
    "profile_knobs",
    "profiles",
    "shipped",
    "tunnel_knobs",
]

_DEFAULT_PROFILE: Final = PROFILES["current"]
_LARGE: Final = 10_000
"""From here on a number is easier to read with separators; a port is below."""


def tunnel_knobs() -> str:
    """Every field of ``TunnelSettings`` with its default and the docstring behind it."""
    told = field_docstrings(TunnelSettings)
    rows = [
        [code(field.name), _value(field.default), prose(told.get(field.name, ""))]
        for field in fields(TunnelSettings)
    ]
    return table(["field", "default", "meaning"], rows)


def profile_knobs() -> str:
    """Every knob of a profile with its value in the default one, and whether it can be changed in a lab that is up."""
    told = documented_fields(inspect.getdoc(Profile) or "")
    knobs = [field.name for field in fields(Profile) if field.name not in {"name", "summary", "sizes"}]
    rows = [
        [
            code(name),
            _value(getattr(_DEFAULT_PROFILE, name)),
            "yes" if name in _live_knobs() else "no",
            prose(told.get(name, "")),
        ]
        for name in knobs
    ]
    return table(["knob", "default", "can be set while the lab is up", "meaning"], rows)


def profiles() -> str:
    """The profiles, and the knobs in which they differ."""
    differing = [
        field.name
        for field in fields(Profile)
        if field.name not in {"name", "summary", "sizes"}
        and len({str(getattr(each, field.name)) for each in PROFILES.values()}) > 1
    ]
    rows = [
        [
            code(each.name),
            prose(each.summary),
            ", ".join(row.families for row in each.sizes if row.capable),
            "; ".join(f"{code(name)} {_value(getattr(each, name))}" for name in differing),
        ]
        for each in PROFILES.values()
    ]
    return table(
        ["profile", "what it is", "sizes that can be encrypted", "knobs in which profiles differ"], rows
    )


def flow_codes() -> str:
    """Codes of a flow, and the rows of the decision table that give them."""
    table_rows = [
        [
            code(each),
            ", ".join(f"{row.number} ({prose(row.name)})" for row in rows() if row.code is each) or "none",
        ]
        for each in FlowEncryption
    ]
    return table(["code", "given by row"], table_rows)


def drop_reasons() -> str:
    """Every reason for which a packet, record or datagram is dropped."""
    return table(["reason", "meaning"], [[code(word), prose(told)] for word, told in _members(DropReason)])


def decision_table() -> str:
    """The rows of the policy, top to bottom."""
    head = ["row", "the first that applies", "verdict", "code", "counted as", "basis"]
    return table(
        head,
        [
            [
                str(row.number),
                f"**{prose(row.name)}**: {prose(row.condition)}",
                str(row.verdict),
                code(row.code) if row.code else "none",
                code(row.reason) if row.reason else "",
                str(row.basis),
            ]
            for row in rows()
        ],
    )


def endpoint_kinds() -> str:
    """Every kind of endpoint, and what encryption means for it."""
    return table(
        ["kind", "what it is", "outcome", "basis", "source"],
        [
            [code(row.kind), prose(row.title), code(row.outcome), str(row.basis), prose(row.source)]
            for row in ENDPOINTS.values()
        ],
    )


def backends() -> str:
    """The package's own backends, by entry point, with what each says of itself; and what ``auto`` takes."""
    own = distribution("dtls-emu").entry_points.select(group=ENTRY_POINTS)
    classes = {point.name: point.load() for point in own}
    rows = [
        [code(name), prose(each.summary), "yes" if each.protects else "**no**"]
        for name, each in classes.items()
    ]
    preferred = ", ".join(code(name) for name in registry._PREFERENCE)  # noqa: SLF001 - as with `_LIVE_KNOBS`
    return table(["name", "what it is", "protects"], rows) + (
        f"\nA card whose lab says `backend: {registry.AUTO}`, or nothing, takes the first of these that works on its "
        f"machine: {preferred}.\n"
    )


def shipped() -> str:
    """The shipped labs, whole."""
    parts = []
    for name in shipped_labs():
        text = (EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8")
        lab = load_lab(name)
        parts.append(f"(lab-{name})=\n## {name}\n\n{prose(lab.description)}\n\n```yaml\n{text}```\n")
    return "\n".join(parts)


def field_docstrings(kind: type[Any]) -> dict[str, str]:
    """The docstring behind each field of a class, as its source has it."""
    (body,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, told in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(told, ast.Expr):
            assert isinstance(field.target, ast.Name)
            assert isinstance(told.value, ast.Constant)
            found[field.target.id] = str(told.value.value)
    return found


def documented_fields(docstring: str) -> dict[str, str]:
    """What the ``Fields:`` section of a docstring says of each; one entry may name several."""
    _, _, section = docstring.partition("Fields:\n")
    found: dict[str, str] = {}
    for names, told in re.findall(r"^    (\w[\w, ]*): (.*(?:\n {5,}.*)*)", section, re.MULTILINE):
        found |= dict.fromkeys(names.split(", "), told[:1].upper() + told[1:])
    return found


def _members(words: type[StrEnum]) -> Iterator[tuple[str, str]]:
    """Each member of an enumeration, and the comment behind it."""
    lines = inspect.getsource(words).splitlines(keepends=True)
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO("".join(lines)).readline)
        if token.type == tokenize.COMMENT
    }
    (body,) = ast.parse("".join(lines)).body
    assert isinstance(body, ast.ClassDef)
    for node in body.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            spots = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            yield (
                str(words[node.targets[0].id]),
                " ".join(comments[spot] for spot in spots if spot in comments),
            )


def _live_knobs() -> tuple[str, ...]:
    return lab_document._LIVE_KNOBS  # noqa: SLF001 - what the running host goes by, not a copy of it


def _value(value: object) -> str:
    if value is MISSING:
        return ""
    if isinstance(value, StrEnum):
        return code(value.value)
    if isinstance(value, bool):
        return code(str(value).lower())
    if isinstance(value, frozenset):
        return code(", ".join(sorted(value)))
    return code(f"{value:,}" if isinstance(value, int) and value >= _LARGE else value)
