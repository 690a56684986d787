"""The files that a user names: what each of them is, by what is in it, and which parameters belong to which template."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.files.reading import read_file
from dtls_emu.whatif.errors import ResourceFileError
from dtls_emu.whatif.json_text import JsonTextError, parse_json
from dtls_emu.whatif.template.values import MISSING, member


if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["Document", "DocumentKind", "read_documents"]

MAX_FILE: Final = 64 << 20
"""Bytes of a file. A template has at most 4 MiB; the lists of twenty thousand interfaces have some fifty."""

MAX_FILES: Final = 200
"""Files of one question."""

EXAMPLES: Final = Path(__file__).with_name("examples")
"""Templates that come with the package; each is named without `.json`."""

_LAB: Final = frozenset({".yaml", ".yml", ""})


class DocumentKind(StrEnum):
    """What a file is."""

    LAB = "lab"
    TEMPLATE = "template"  # also an exported resource group
    PARAMETERS = "parameters"
    SNAPSHOT = "snapshot"  # predicted resources, of `bicep snapshot`
    LIST = "list"  # of resources, as `az ... list` and `az ... show` print them, or the REST interface


@dataclass(frozen=True, slots=True)
class Document:
    """One file.

    Fields:
        name: as the user wrote it.
        kind: what it is.
        data: parsed; None of a lab.
        text: as read, for the numbers of lines; empty for a lab.
        parameters: of a template, the parameter files that are for it.
    """

    name: str
    kind: DocumentKind
    data: Any = None
    text: str = ""
    parameters: tuple[Document, ...] = field(default=())


def read_documents(names: Sequence[str]) -> tuple[Document, ...]:
    """Read files. A parameter file is for the template before it, or, where none is, for the one behind it.

    Args:
        names: paths, or names of shipped templates and labs.

    Raises:
        ResourceFileError: one cannot be read, or is nothing that is known.
    """
    if len(names) > MAX_FILES:
        raise ResourceFileError(f"{len(names)} files; ask about at most {MAX_FILES} at once")
    found = [_read(name) for name in names]
    templates = [index for index, each in enumerate(found) if each.kind is DocumentKind.TEMPLATE]
    belonging: dict[int, list[Document]] = {index: [] for index in templates}
    for index, each in enumerate(found):
        if each.kind is not DocumentKind.PARAMETERS:
            continue
        if not templates:
            raise ResourceFileError(
                f"{each.name}: holds values of parameters; name the template that they are for, too"
            )
        before = [one for one in templates if one < index]
        belonging[before[-1] if before else templates[0]].append(each)
    return tuple(
        Document(each.name, each.kind, each.data, each.text, tuple(belonging.get(index, ())))
        for index, each in enumerate(found)
        if each.kind is not DocumentKind.PARAMETERS
    )


def _read(name: str) -> Document:
    path = Path(name)
    shipped = EXAMPLES / f"{name}.json"
    if "/" not in name and not path.suffix and not path.exists() and shipped.is_file():
        path = shipped
    elif path.suffix.lower() in _LAB:
        return Document(name, DocumentKind.LAB)
    if path.suffix.lower() in {".bicep", ".bicepparam"}:
        raise ResourceFileError(
            f"{name}: Bicep is not read; name what `az bicep build` or `bicep snapshot` writes of it"
        )
    try:
        text = read_file(path, MAX_FILE).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ResourceFileError(f"{name}: not UTF-8; save it as UTF-8") from None
    except OSError as error:
        raise ResourceFileError(f"{name}: cannot be read: {error.strerror}") from None
    try:
        data = parse_json(text)
    except JsonTextError as error:
        raise ResourceFileError(f"{name}: no JSON: {error}") from None
    return Document(name, _kind(name, data), data, text)


def _kind(name: str, data: Any) -> DocumentKind:
    schema = member(data, "$schema")
    schema = schema.lower() if isinstance(schema, str) else ""
    if "parameters.json" in schema and "deploymentparameters" in schema:
        return DocumentKind.PARAMETERS
    if isinstance(member(data, "predictedResources"), list):
        return DocumentKind.SNAPSHOT
    if "deploymenttemplate.json" in schema or (
        isinstance(data, dict) and isinstance(data.get("resources"), list | dict) and "id" not in data
    ):
        return DocumentKind.TEMPLATE
    if member(data, "parameters") is not MISSING and set(map(str.lower, data)) <= {
        "$schema",
        "contentversion",
        "parameters",
    }:
        return DocumentKind.PARAMETERS
    if _is_list(data):
        return DocumentKind.LIST
    raise ResourceFileError(
        f"{name}: neither a template, a parameter file, a file of `bicep snapshot` nor a list of resources with ids, as "
        "`az network vnet list` prints it"
    )


def _is_list(data: Any) -> bool:
    if isinstance(data, dict):
        value = data.get("value")
        return isinstance(data.get("id"), str) or (isinstance(value, list) and _is_list(value))
    return isinstance(data, list) and all(
        isinstance(each, dict) and isinstance(each.get("id"), str) for each in data
    )
