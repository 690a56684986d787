"""From what a YAML parser says to what a person should write, at the line of the mistake.

A parser says where it could not go on, which is often lines behind the mistake, in words of its grammar. The
rules below look at the text around both of its marks; the first that knows the mistake explains it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from dtls_emu.files.limits import in_bytes
from dtls_emu.lab.problems import missing_space, shown


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["YamlError", "explain_syntax", "require_readable", "require_single", "too_deep"]

_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""Ends of lines as YAML 1.1 counts them (5.4)."""

_EMPTY_LINES: Final = re.compile(
    "(?>[ \t]*(?:#[^\n\r\x85\u2028\u2029]*)?(?:\r\n|[\n\r\x85\u2028\u2029]))*+(?:[ \t]*(?:#[^\n\r\x85\u2028\u2029]*)?\\Z)?"
)
"""Lines with nothing but a comment."""

_UNREADABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
"""What YAML calls not printable (1.1, 5.1), and a byte-order mark inside the text."""

_QUOTED_OR_BRACKET: Final = re.compile(
    r"""(?<![^\s,\[{:])(?:"(?:[^"\\]|\\.)*"|'[^']*')|(?<!\S)\#[^\n]*|[\[\]{}]""", re.DOTALL
)
_CLOSING: Final = {"[": "]", "{": "}"}


class YamlError(Exception):
    """A text is not YAML, or more of it than is read.

    Fields:
        line: from 1.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def require_readable(text: str, limit: int) -> None:
    """Refuse what no parser need see.

    Raises:
        YamlError: more than ``limit`` characters, one that may not be in YAML, or a directive.
    """
    if len(text) > limit:
        raise YamlError(
            1, f"larger than {in_bytes(limit)}, the most that is read of such a file; write a smaller one"
        )
    wrong = _UNREADABLE.search(text)
    if wrong:
        raise YamlError(
            _line_of(text, wrong.start()),
            f"the character U+{ord(wrong[0]):04X} may not be in such a file; remove it",
        )
    start = _end_of_empty_lines(text, 0)
    if text.startswith("%", start):
        raise YamlError(_line_of(text, start), "a line that begins with `%` has no place here; leave it out")


def require_single(text: str, end: int) -> None:
    """Refuse what stands behind the position where the first document ends.

    Raises:
        YamlError: anything but comments does.
    """
    start = _end_of_empty_lines(text, end)
    if start < len(text):
        line = _line_of(text, start)
        if text.startswith("---", start) or "..." in text[max(0, end - 4) : start]:
            raise YamlError(line, "here a second document begins (`---` or `...`); keep one of them")
        raise YamlError(line, "less far in than the first key; indent the keys at the top by 0")


def explain_syntax(text: str, error: yaml.YAMLError, most_levels: int) -> YamlError:
    """What is wrong with a text that a parser refuses, and what to write instead."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return YamlError(
            1, f"cannot be read as YAML: {shown(str(error))}; write a mapping with hosts and vms"
        )
    place = _Place.of(text, error)
    if "nesting depth" in place.problem:
        return too_deep(place.line, most_levels)
    found = next(filter(None, (rule(place) for rule in _RULES)), None)
    return found or YamlError(
        place.line,
        f"cannot be read as YAML from here on ({place.problem}); compare it with the lines above, or write the "
        "value in quotes",
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a parser gave up.

    Fields:
        text, lines: of the file.
        line, column: where it could not go on; lines count from 1, columns from 0.
        since, since_column: where what it was in the middle of began; 0 when it does not say.
        problem, context: in its words.
    """

    text: str
    lines: list[str]
    line: int
    column: int
    since: int
    since_column: int
    problem: str
    context: str

    @classmethod
    def of(cls, text: str, error: yaml.MarkedYAMLError) -> _Place:
        mark, start = error.problem_mark, error.context_mark
        assert mark is not None
        return cls(
            text,
            _BREAK.split(text),
            mark.line + 1,
            mark.column,
            start.line + 1 if start else 0,
            start.column if start else 0,
            error.problem or "",
            error.context or "",
        )

    def content(self, line: int) -> str:
        """A line; empty behind the end."""
        return self.lines[line - 1] if 0 < line <= len(self.lines) else ""

    @property
    def letter(self) -> str:
        """Where the parser could not go on; empty at the end of a line."""
        return self.content(self.line)[self.column : self.column + 1]

    def above(self, line: int) -> Iterator[int]:
        """The lines above one that hold something, from the nearest up."""
        for number in range(min(line, len(self.lines) + 1) - 1, 0, -1):
            stripped = self.content(number).strip()
            if stripped and not stripped.startswith("#"):
                yield number


# ------------------------------------------------------------------------------------------------------ rules


def _quote(place: _Place) -> YamlError | None:
    if "quoted scalar" not in place.context:
        return None
    quote = place.content(place.since)[place.since_column : place.since_column + 1]
    if "escape" in place.problem or "hexadecimal" in place.problem:
        return YamlError(
            place.line,
            "a `\\` in double quotes begins an escape; write the text in single quotes, or `\\\\` for `\\`",
        )
    return YamlError(
        place.since, f"the quote `{quote}` that opens here is never closed; write `{quote}` behind the text"
    )


def _tab(place: _Place) -> YamlError | None:
    if re.match(r"[ -]*\t", place.content(place.line)) and ("tab" in place.problem or place.letter == "\t"):
        return YamlError(place.line, "indented with a tab, which YAML does not allow; write spaces")
    return None


def _reserved(place: _Place) -> YamlError | None:
    if "cannot start any token" in place.problem:
        return YamlError(place.line, f"{place.letter} may not begin a value; write the value in quotes")
    if re.search("scanning an? (alias|anchor)", place.context):
        letter = place.content(place.since)[place.since_column : place.since_column + 1]
        return YamlError(place.since, f"`{letter}` begins an alias or anchor; write the value in quotes")
    if "tag" in place.problem or "tag" in place.context:
        return YamlError(place.line, "`!` begins a tag, which has no place here; leave it out, or use quotes")
    return None


def _bracket(place: _Place) -> YamlError | None:
    if "flow" not in place.context or not place.since:
        return None
    opening = place.content(place.since)[place.since_column : place.since_column + 1]
    closing = _CLOSING.get(opening)
    if closing is None:
        return None
    if place.letter in {"]", "}"} and place.letter != closing:
        return YamlError(
            place.line,
            f"the `{opening}` of line {place.since} meets a `{place.letter}`; write `{closing}` before it",
        )
    if not _is_closed(place):
        return YamlError(
            place.since,
            f"the `{opening}` that opens here is never closed; write `{closing}` behind its last entry",
        )
    example = "[a, b]" if opening == "[" else "{a: 1, b: 2}"
    content = place.content(place.line)
    if place.letter == ":":  # what should have been a key of its own
        key = re.search(r"""("[^"]*"|'[^']*'|[^\s,\[\]{}]*)\s*$""", content[: place.column])
        missing, before = "`,`", key[1] if key else ""
    else:
        entry = re.match(r"""("[^"]*"|'[^']*'|[^\s,\[\]{}:]+)""", content[place.column :])
        missing, before = "`,` or `: `", entry[1] if entry else place.letter
    return YamlError(place.line, f"a {missing} is missing before {shown(before)}; write it, as in {example}")


def _no_space(place: _Place) -> YamlError | None:
    """A key without a space behind its colon is text; the parser stumbles over the line below it."""
    suspects = [place.since] if "simple key" in place.context else [*place.above(place.line)][:1]
    if "mapping values" in place.problem or "simple key" in place.context:
        for line in suspects:
            found = missing_space(re.sub(r"^(- +)+", "", place.content(line).strip()))
            if found and line != place.line:
                return YamlError(line, found[1])
    return None


def _no_space_in_brackets(place: _Place) -> YamlError | None:
    if "unexpected ':'" not in place.problem:
        return None
    found = re.search(r"([A-Za-z_][\w.-]*):([^\s:])", place.content(place.line))
    example = f"{found[1]}: {found[2]}" if found else "key: value"
    return YamlError(place.line, f"a `:` has no space behind it; write it, as in {shown(example)}")


def _no_colon(place: _Place) -> YamlError | None:
    if "simple key" in place.context:
        return YamlError(
            place.since,
            f"{shown(place.content(place.since).strip())} is no `key: value`; write a colon and a value",
        )
    return None


def _value_behind_value(place: _Place) -> YamlError | None:
    if "mapping values" not in place.problem:
        return None
    content = place.content(place.line)
    if re.search(r":\s", content[: place.column]):
        return YamlError(
            place.line, "a second `: ` on one line; write the value in quotes, or begin a new line"
        )
    above = next(place.above(place.line), 0)
    if not above:
        return None
    before = place.content(above)
    if ":" not in before:
        return YamlError(above, f"{shown(before.strip())} is no `key: value`; write a colon and a value")
    if _indent(content) > _indent(before):
        return YamlError(
            place.line,
            f"indented by {_indent(content)}, deeper than line {above}, which has a value already; indent it by "
            f"{_indent(before)}",
        )
    return None


def _list_behind_key(place: _Place) -> YamlError | None:
    if re.search("(block )?sequence entries are not allowed", place.problem):
        return YamlError(place.line, "a `- ` behind a key; begin the list on a new line, or write [a, b]")
    return None


def _lone_bracket(place: _Place) -> YamlError | None:
    if place.letter in {"]", "}"} and "flow" not in place.context:
        return YamlError(place.line, f"this `{place.letter}` closes nothing; remove it")
    return None


def _behind_quote(place: _Place) -> YamlError | None:
    """Text behind a closing quote; where the quote opened on another line, it should have been closed there."""
    if "block" not in place.context:
        return None
    last = _last_scalar(place)
    if last is None or last.style not in {"'", '"'} or last.end_mark.line + 1 != place.line:
        return None
    opened = last.start_mark.line + 1
    if opened < place.line:
        return YamlError(
            opened,
            f"the quote `{last.style}` that opens here closes only on line {place.line}; write `{last.style}` behind "
            "the text",
        )
    other = '"' if last.style == "'" else "'"
    return YamlError(
        place.line, f"there is text behind the closing `{last.style}`; write {other} around the whole value"
    )


def _indentation(place: _Place) -> YamlError | None:
    content = place.content(place.line)
    if "block" not in place.context or content[: place.column].strip():
        return None
    indent = place.column
    is_item = content[indent:].startswith(("- ", "-\t")) or content[indent:] == "-"
    open_indents: list[int] = []
    for line in place.above(place.line):
        above = place.content(line)
        depths = sorted({len(above) - len(above.lstrip()), _indent(above)})
        for depth in reversed(depths):
            if not open_indents or depth < open_indents[-1]:
                open_indents.append(depth)
        if indent in depths:
            return YamlError(place.line, _mixed(is_item=is_item, line=line, above=above.strip()))
        if open_indents[-1] < indent or not open_indents[-1]:
            break
    allowed = " or ".join(str(each) for each in reversed(open_indents))
    return YamlError(
        place.line,
        f"indented by {indent}, as nothing above that it could belong to; indent it by {allowed}",
    )


def _mixed(*, is_item: bool, line: int, above: str) -> str:
    if re.match(r"-[^\s-]", above):
        return f"`- ` begins a list, and the hyphen of line {line} has no space behind it; write `- {above[1:].strip()}`"
    if is_item:
        return f"a list item among keys, for line {line} is as far in; indent it deeper, or leave `- ` out"
    return (
        f"a key among list items, for line {line} is as far in; write `- ` before it, or indent it otherwise"
    )


_RULES: Final = (
    _quote,
    _tab,
    _reserved,
    _no_space_in_brackets,
    _bracket,
    _no_space,
    _no_colon,
    _value_behind_value,
    _list_behind_key,
    _lone_bracket,
    _behind_quote,
    _indentation,
)


# ---------------------------------------------------------------------------------------------------- helpers


def _line_of(text: str, position: int) -> int:
    return len(_BREAK.findall(text, 0, position)) + 1


def _end_of_empty_lines(text: str, start: int) -> int:
    found = _EMPTY_LINES.match(text, start)
    return found.end() if found else start


def too_deep(line: int, most_levels: int) -> YamlError:
    """A text whose mappings and lists are inside each other beyond reason."""
    message = (
        f"nested more than {most_levels} levels deep; six are enough for a lab, so remove what is too much"
    )
    return YamlError(line, message)


def _indent(line: str) -> int:
    """How far in a line's key stands, hyphens of a list included."""
    found = re.match(r"(?:[ \t]|-(?=\s))*", line)
    return len(found[0]) if found else 0


def _is_closed(place: _Place) -> bool:
    """Whether the bracket that the parser was in closes, counted without grammar."""
    starts = [0, *(found.end() for found in _BREAK.finditer(place.text))]
    depth = 0
    for found in _QUOTED_OR_BRACKET.finditer(place.text, starts[place.since - 1] + place.since_column):
        if found[0] in _CLOSING:
            depth += 1
        elif found[0] in {"]", "}"}:
            depth -= 1
            if not depth:
                line = bisect_right(starts, found.start())
                return line <= place.line or _continues(place, line)
    return False


def _continues(place: _Place, last: int) -> bool:
    """Whether the lines up to the closing bracket look like the inside of brackets: none is a key of a block."""
    return not any(
        re.match(r"\s*(- )?[\w.-]+:\s*(#.*)?$", place.content(line)) for line in range(place.line, last)
    )


def _last_scalar(place: _Place) -> Any:
    last = None
    try:
        for token in yaml.scan(place.text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            mark = token.start_mark
            if (mark.line + 1, mark.column) >= (place.line, place.column):
                break
            if isinstance(token, yaml.ScalarToken):
                last = token
    except yaml.YAMLError:
        pass
    return last
