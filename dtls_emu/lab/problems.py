"""Problems of a lab file: where, what is wrong, and what to write instead."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


__all__ = [
    "MAX_CHOICES",
    "MAX_PROBLEMS",
    "KeyPath",
    "Problem",
    "dotted",
    "missing_space",
    "nearest",
    "shown",
    "suggest",
]

KeyPath = tuple[str | int, ...]
"""Keys and list positions from the top of the file, such as ``("traffic", 0, "count")``."""

MAX_PROBLEMS = 100
"""More are not said at once: whoever has so many has one cause of them, or a file that is no lab."""

MAX_CHOICES = 12
"""More names than this are not listed: the nearest one helps more than a wall of them."""

MAX_COMPARED = 200
"""Of more names only so many around a word in the order of the alphabet are compared with it."""

MAX_SHOWN = 40
"""More characters of what the file holds are not repeated: a problem is one line."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem.

    Fields:
        path: the key that is wrong; for a missing key, where it should be.
        message: ``what is wrong; what to write instead``.
        line: in the file, where it is not the line of ``path``.
        explains: paths whose problems only follow from this one, and are not worth saying.
    """

    path: KeyPath
    message: str
    line: int | None = None
    explains: tuple[KeyPath, ...] = ()


class UnknownNameError(ValueError):
    """A name that is none of those that there are; what may be meant is looked for only if it is said.

    Fields:
        remedy: gives what to write instead.
    """

    def __init__(self, message: str, remedy: Callable[[], str]) -> None:
        super().__init__(message)
        self.remedy = remedy


def dotted(path: KeyPath) -> str:
    """A path as people write it: `traffic[0].count`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{_printable(step)}" if text else _printable(step)
    return text


def shown(value: object) -> str:
    """What the file holds, fit for a message."""
    if isinstance(value, dict | list | tuple):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None:
        return "nothing"
    if isinstance(value, int) and abs(value) >= 10**MAX_SHOWN:
        return "a huge number"
    return f"`{_printable(str(value).lower() if isinstance(value, bool) else str(value))}`"


def _printable(text: str) -> str:
    short = text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."
    return "".join(letter if letter.isprintable() else "?" for letter in short)


def missing_space(text: str) -> tuple[str, str] | None:
    """Of ``key:value``, which YAML takes for text: the key, and what to say. None where it is something else."""
    found = re.fullmatch(r"([A-Za-z_][\w.-]*):([^\s:/].*)", text)
    if found is None:
        return None
    meant = f"{found[1]}: {found[2]}"
    return found[1], f"{shown(text)} has no space behind its colon; write {shown(meant)}"


def suggest(wrong: object, choices: Iterable[str], taken: Iterable[str] = ()) -> str:
    """What to write instead of a word: the nearest choice, and all of them where they are few.

    Args:
        wrong: the word.
        choices: what may stand there.
        taken: more of them, that are there already: the nearest of all is named, too, but they are not listed.
    """
    names = list(choices)
    meant = " or ".join(f"`{_printable(name)}`" for name in nearest(wrong, names, taken))
    listed = ", ".join(map(_printable, names)) if len(names) <= MAX_CHOICES else ""
    if meant:
        return f"did you mean {meant}?" + (f" (one of: {listed})" if listed and len(names) > 1 else "")
    return f"write one of: {listed}" if listed else "write another" if names else "leave it out"


def nearest(wrong: object, choices: Iterable[str], taken: Iterable[str] = ()) -> tuple[str, ...]:
    """What :func:`suggest` asks whether it was meant: none, one or two names."""
    names = list(choices)
    all_names = [*names, *taken]
    found = [_nearest(wrong, all_names)]
    if len(all_names) > len(names):
        found.append(_nearest(wrong, names))
    return tuple(dict.fromkeys(filter(None, found)))


def _nearest(wrong: object, names: list[str]) -> str | None:
    """The name that is most like a word, if any is."""
    if not isinstance(wrong, str):
        return None
    word = wrong[:MAX_SHOWN].lower()
    if len(names) > MAX_COMPARED:
        names = sorted(names)
        start = max(0, bisect_left(names, word) - MAX_COMPARED // 2)
        names = names[start : start + MAX_COMPARED]
    lower = {name.lower(): name for name in reversed(names)}
    near = get_close_matches(word, lower, n=1)
    return lower[near[0]] if near else None
