"""YAML to plain data, with the line of every key, in time and memory that the file's length bounds.

Only what a lab file needs: mappings, lists and plain scalars. A duplicate key is a problem, a tag that would
make a Python object is refused. Anchors, aliases and merge keys are as YAML has them, and keys that begin with
``x-`` at the top are a place for anchors and nothing else, as in Compose files.

1. The parser's events become nodes. An alias counts as all that it stands for, so that the few lines that would
   unfold to gigabytes are refused before anything unfolds.
2. The nodes become data; what is wrong with a value is noted with its line, and reading goes on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml

from dtls_emu.errors import LabFileError
from dtls_emu.lab.problems import MAX_PROBLEMS, KeyPath, Problem, dotted, shown
from dtls_emu.lab.scalars import parse_plain
from dtls_emu.lab.syntax import YamlError, explain_syntax, require_readable, require_single, too_deep


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_VALUES", "Document", "read_value", "read_yaml"]

MAX_BYTES: Final = 8 * 1024 * 1024
"""Of a file. A lab of 10,000 VMs has one."""

MAX_VALUES: Final = 500_000
"""Keys and values of a file, those that aliases and merge keys repeat included. A lab of 10,000 VMs has 120,000."""

MAX_DEPTH: Final = 32
"""Mappings and lists inside each other. A lab file has six levels; those of anchors add to them."""

ANCHORS: Final = "x-"
"""Keys at the top that begin so hold anchors, and are ignored otherwise."""

_TAG: Final = "tag:yaml.org,2002:"
_OWN_TAGS: Final = {
    "scalar": frozenset({None, _TAG + "str"}),
    "list": frozenset({None, _TAG + "seq"}),
    "mapping": frozenset({None, _TAG + "map"}),
}
"""Tags that say what is seen anyway."""

_OPENED_IN_KEY: Final = re.compile(r"\s([\[{])")

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""LibYAML is ten times as fast as the parser in Python; both give the same events."""


@dataclass(slots=True)
class Document:
    """What a file holds.

    Fields:
        data: mappings, lists, text, numbers, booleans, None. Keys are text as it stands in the file.
        lines: line, from 1, of each key and list item.
        problems: duplicate keys, tags, numbers that are none; of more than ``MAX_PROBLEMS`` only the first.
    """

    data: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: KeyPath) -> int:
        """The line of a path, or of the nearest thing around it that the file holds."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def report(self, problems: Iterable[Problem], name: object) -> list[str]:
        """Problems as lines for people, in the order of the file; of more than ``MAX_PROBLEMS`` only the first.

        Args:
            problems: of this document.
            name: of the file.
        """
        located = [(problem.line or self.line(problem.path), problem) for problem in problems]
        located.sort(key=lambda each: each[0])
        lines = [
            f"{name}:{line}: {dotted(problem.path)}: {problem.message}"
            if problem.path
            else f"{name}:{line}: {problem.message}"
            for line, problem in located[:MAX_PROBLEMS]
        ]
        if len(located) > MAX_PROBLEMS:
            lines.append(f"{name}: there are more than these {MAX_PROBLEMS} problems; mend these first")
        return lines


def read_yaml(text: str, name: str, *, plain: Callable[[str], Any] = parse_plain) -> Document:
    """Read one YAML document.

    Args:
        text: of it.
        name: of the file, for messages.
        plain: makes a value of a scalar without quotes; `str` leaves all of them text. Raises ValueError for one that is
            none.

    Raises:
        LabFileError: not YAML, or beyond one of the limits.
    """
    document = Document()
    try:
        root = _compose(text)
    except YamlError as error:
        raise LabFileError([f"{name}:{error.line}: {error}"]) from None
    if root is not None:
        if isinstance(root, _Mapping):
            root.pairs = [pair for pair in root.pairs if not _holds_anchors(pair[0])]
        document.lines[()] = root.line
        document.data = _Reader(document, plain).read(root, ())
    return document


def read_value(text: str) -> Any:
    """Read a single value, such as stands behind a key; None where there is none.

    Raises:
        ValueError: it cannot be read, or not without doubt; says what to write.
    """
    document = Document()
    try:
        root = _compose(text)
    except YamlError as error:
        raise ValueError(str(error)) from None
    if root is not None:
        document.data = _Reader(document, parse_plain).read(root, ())
    if document.problems:
        raise ValueError(document.problems[0].message)
    return document.data


@dataclass(slots=True)
class _Scalar:
    text: str
    is_plain: bool
    tag: str | None
    line: int


@dataclass(slots=True)
class _List:
    items: list[_Node]
    tag: str | None
    line: int


@dataclass(slots=True)
class _Mapping:
    pairs: list[tuple[_Node, _Node]]
    tag: str | None
    line: int


@dataclass(slots=True)
class _Loop:
    """An alias inside what it stands for."""

    line: int


_Node = _Scalar | _List | _Mapping | _Loop


# -------------------------------------------------------------------------------------------------- to nodes


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet; ``height`` is that of what it holds so far."""

    node: _List | _Mapping
    anchor: str | None
    values_before: int
    height: int = 0
    key: _Node | None = None

    def add(self, node: _Node, height: int) -> None:
        self.height = max(self.height, height)
        if isinstance(self.node, _List):
            self.node.items.append(node)
        elif self.key is None:
            if isinstance(node, _Scalar) and node.is_plain and (found := _OPENED_IN_KEY.search(node.text)):
                raise YamlError(
                    node.line, f"a `: ` is missing before `{found[1]}`; write it, as in `key: {found[1]}`"
                )
            self.key = node
        else:
            self.node.pairs.append((self.key, node))
            self.key = None


@dataclass(slots=True, frozen=True)
class _Anchored:
    """What an alias stands for: a node, how many values it has when written out, and how many levels."""

    node: _Node
    values: int
    height: int


def _compose(text: str) -> _Node | None:
    """The root node of a document, or None when there is none.

    Raises:
        YamlError: see there.
    """
    text = text.removeprefix("\ufeff")  # a byte-order mark, as some editors write it
    require_readable(text, MAX_BYTES)
    composer = _Composer()
    try:
        events: Iterator[Any] = yaml.parse(text, _LOADER)
        for event in events:
            composer.take(event)
            if isinstance(event, yaml.DocumentEndEvent):
                break
    except yaml.YAMLError as error:
        raise explain_syntax(text, error, MAX_DEPTH) from None
    require_single(text, composer.end)
    return composer.root


class _Composer:
    """Makes nodes of events.

    Fields:
        root: once its end has come.
        end: position where the document ends.
    """

    def __init__(self) -> None:
        self.root: _Node | None = None
        self.end = 0
        self._values = 0
        self._open: list[_Open] = []
        self._anchors: dict[str, _Anchored | None] = {}  # None: it is inside itself

    def take(self, event: Any) -> None:
        line = event.start_mark.line + 1
        match event:
            case yaml.ScalarEvent():
                self._count(1, line)
                plain = event.implicit[0] and event.style in {None, ""}
                node = _Scalar(event.value, plain, event.tag, line)
                if event.anchor:
                    self._anchors[event.anchor] = _Anchored(node, 1, 0)
                self._add(node, 0)
            case yaml.SequenceStartEvent():
                self._begin(_List([], event.tag, line), event.anchor)
            case yaml.MappingStartEvent():
                self._begin(_Mapping([], event.tag, line), event.anchor)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._end()
            case yaml.AliasEvent():
                self._alias(str(event.anchor), line)
            case yaml.DocumentEndEvent(end_mark=mark) if mark is not None:
                self.end = mark.index

    def _begin(self, node: _List | _Mapping, anchor: str | None) -> None:
        if len(self._open) == MAX_DEPTH:
            raise too_deep(node.line, MAX_DEPTH)
        if anchor:
            self._anchors[anchor] = None
        self._open.append(_Open(node, anchor, self._values))
        self._count(1, node.line)

    def _end(self) -> None:
        ended = self._open.pop()
        height = ended.height + 1
        if ended.anchor and self._anchors.get(ended.anchor) is None:
            values = self._values - ended.values_before
            self._anchors[ended.anchor] = _Anchored(ended.node, values, height)
        self._add(ended.node, height)

    def _alias(self, name: str, line: int) -> None:
        if name not in self._anchors:
            raise YamlError(
                line,
                f"the alias {shown('*' + name)} has no anchor above it; write `&{name}` before what it means",
            )
        meant = self._anchors[name]
        if meant is None:
            self._count(1, line)
            self._add(_Loop(line), 0)
            return
        self._count(meant.values, line)
        if len(self._open) + meant.height > MAX_DEPTH:
            raise too_deep(line, MAX_DEPTH)
        self._add(meant.node, meant.height)

    def _add(self, node: _Node, height: int) -> None:
        if self._open:
            self._open[-1].add(node, height)
        else:
            self.root = node

    def _count(self, values: int, line: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise YamlError(
                line,
                f"here the file comes to more than {MAX_VALUES} keys and values, with what aliases (`*`, `<<`) "
                "repeat; write a smaller file, or fewer aliases",
            )


def _holds_anchors(key: _Node) -> bool:
    return isinstance(key, _Scalar) and key.text.startswith(ANCHORS)


# --------------------------------------------------------------------------------------------------- to data


class _Reader:
    def __init__(self, document: Document, plain: Callable[[str], Any]) -> None:
        self._document = document
        self._plain = plain
        self._said: set[tuple[int, str]] = set()  # once, however many aliases lead there

    def read(self, node: _Node, path: KeyPath) -> Any:
        match node:
            case _Scalar():
                return self._scalar(node, path)
            case _List() if node.tag in _OWN_TAGS["list"]:
                return [self._item(item, (*path, index)) for index, item in enumerate(node.items)]
            case _Mapping() if node.tag in _OWN_TAGS["mapping"]:
                return self._mapping(node, path)
            case _Loop():
                self._complain(node, path, "an alias inside what it stands for; write it out")
            case _:
                self._refuse_tag(node, path)
        return None

    def _item(self, item: _Node, path: KeyPath) -> Any:
        self._document.lines[path] = item.line
        return self.read(item, path)

    def _mapping(self, node: _Mapping, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, key_node, value in self._pairs(node, path):
            if key in result:  # its own goes before what it merges
                continue
            self._document.lines[*path, key] = key_node.line
            result[key] = self.read(value, (*path, key))
        return result

    def _pairs(self, node: _Mapping, path: KeyPath) -> Iterator[tuple[str, _Scalar, _Node]]:
        """Its own pairs, then those of what `<<` merges, earlier sources before later."""
        own: dict[str, int] = {}
        merged: list[_Node] = []
        for key, value in node.pairs:
            if not isinstance(key, _Scalar):
                self._complain(key, path, "a key that is no text; write a name")
                continue
            if key.text in own:
                message = f"written twice, first on line {own[key.text]}; keep one of them"
                self._complain(key, (*path, key.text), message)
                continue
            own[key.text] = key.line
            if key.is_plain and key.text == "<<":
                merged = value.items if isinstance(value, _List) else [value]
            else:
                if key.tag not in _OWN_TAGS["scalar"]:
                    self._refuse_tag(key, (*path, key.text))
                yield key.text, key, value
        for source in merged:
            if isinstance(source, _Mapping):
                yield from self._pairs(source, path)
            else:
                self._complain(source, path, "`<<` merges mappings only; write an alias of a mapping")

    def _scalar(self, node: _Scalar, path: KeyPath) -> Any:
        if node.tag not in _OWN_TAGS["scalar"]:
            self._refuse_tag(node, path)
            return None
        if not node.is_plain:
            return node.text
        try:
            return self._plain(node.text)
        except ValueError as error:
            self._complain(node, path, str(error))
            return None

    def _refuse_tag(self, node: _Scalar | _List | _Mapping, path: KeyPath) -> None:
        tag = (node.tag or "").replace(_TAG, "!!")
        self._complain(node, path, f"the tag {shown(tag)} has no place here; leave it out")

    def _complain(self, node: _Node, path: KeyPath, message: str) -> None:
        once = (id(node), message)
        if once not in self._said and len(self._document.problems) <= MAX_PROBLEMS:
            self._said.add(once)
            self._document.problems.append(Problem(path, message, node.line))
