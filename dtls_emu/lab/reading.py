"""YAML to plain data, with the line of every key.

Only what a lab file needs: mappings, lists and plain scalars. A duplicate key is a problem, a tag that would
make a Python object is refused, and what only looks like a number in base 60 or like a date stays text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from dtls_emu.errors import LabFileError
from dtls_emu.lab.problems import KeyPath, Problem


__all__ = ["Document", "read_yaml"]

_TAG: Final = "tag:yaml.org,2002:"
_TEXT: Final = frozenset(_TAG + kind for kind in ("str", "timestamp", "value"))
_MERGE: Final = _TAG + "merge"


@dataclass(slots=True)
class Document:
    """What a file holds.

    Fields:
        data: mappings, lists, text, numbers, booleans, None. Keys are text as it stands in the file.
        lines: line, from 1, of each key and list item.
        problems: duplicate keys and tags.
    """

    data: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: KeyPath) -> int:
        """The line of a path, or of the nearest thing around it that the file holds."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read_yaml(text: str, name: str) -> Document:
    """Read one YAML document.

    Raises:
        LabFileError: not YAML, or nested beyond reason.
    """
    document = Document()
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        if root is not None:
            document.lines[()] = root.start_mark.line + 1
            document.data = _Reader(document).read(root, ())
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        context = f" ({error.context})" if error.context else ""
        raise LabFileError([f"{name}:{line}: not YAML: {error.problem}{context}"]) from None
    except yaml.YAMLError as error:
        raise LabFileError([f"{name}:1: not YAML: {error}"]) from None
    except RecursionError:
        raise LabFileError([f"{name}:1: nested too deeply; a lab file has four levels"]) from None
    return document


class _Reader:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._open: set[int] = set()  # nodes being read, to notice an alias inside what it stands for
        self._scalars = yaml.SafeLoader("")

    def read(self, node: yaml.Node, path: KeyPath) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._open:
            self._complain(node, path, "an alias inside what it stands for; write it out")
            return None
        self._open.add(id(node))
        try:
            return self._mapping(node, path) if isinstance(node, yaml.MappingNode) else self._list(node, path)
        finally:
            self._open.discard(id(node))

    def _list(self, node: yaml.Node, path: KeyPath) -> list[Any]:
        items = []
        for index, item in enumerate(node.value):
            self._document.lines[*path, index] = item.start_mark.line + 1
            items.append(self.read(item, (*path, index)))
        return items

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        # YAML's `<<` first: keys of the mapping itself go before merged ones, and earlier sources before later.
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                several = isinstance(value_node, yaml.SequenceNode)
                for source in reversed(value_node.value) if several else (value_node,):
                    result |= self._merge(source, path)
        own: set[str] = set()
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                continue
            key, line = key_node.value, key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._complain(key_node, path, "a key that is no text; write a name")
            elif key in own:
                problem = f"written twice, first on line {self._document.lines[*path, key]}; keep one of them"
                self._document.problems.append(Problem((*path, key), problem, line))
            else:
                own.add(key)
                self._document.lines[*path, key] = line
                result[key] = self.read(value_node, (*path, key))
        return result

    def _merge(self, source: yaml.Node, path: KeyPath) -> dict[str, Any]:
        if isinstance(source, yaml.MappingNode):
            values: dict[str, Any] = self.read(source, path) or {}
            return values
        self._complain(source, path, "`<<` merges mappings only; write an alias of a mapping")
        return {}

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        if node.tag in _TEXT or (node.tag in {_TAG + "int", _TAG + "float"} and ":" in node.value):
            return node.value
        if node.tag in {_TAG + kind for kind in ("null", "bool", "int", "float")}:
            try:
                return self._scalars.construct_object(node)
            except ValueError:
                self._complain(node, path, "no number that can be read; write a shorter one")
                return None
        self._complain(node, path, f"tag {node.tag} has no place in a lab file; leave it out")
        return None

    def _complain(self, node: yaml.Node, path: KeyPath, message: str) -> None:
        self._document.problems.append(Problem(path, message, node.start_mark.line + 1))
