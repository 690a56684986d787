"""Problems of a lab file: where, what is wrong, and what to write instead."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterable


__all__ = ["KeyPath", "Problem", "dotted", "shown", "suggest"]

KeyPath = tuple[str | int, ...]
"""Keys and list positions from the top of the file, such as ``("traffic", 0, "count")``."""

MAX_CHOICES = 12
"""More names than this are not listed: the nearest one helps more than a wall of them."""

MAX_SHOWN = 40
"""More characters of what the file holds are not repeated: a problem is one line."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem.

    Fields:
        path: the key that is wrong; for a missing key, where it should be.
        message: ``what is wrong; what to write instead``.
        line: in the file, where it is not the line of ``path``.
    """

    path: KeyPath
    message: str
    line: int | None = None


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


def suggest(wrong: object, choices: Iterable[str], taken: Iterable[str] = ()) -> str:
    """What to write instead of a word: the nearest choice, and all of them where they are few.

    Args:
        wrong: the word.
        choices: what may stand there.
        taken: more of them, that are there already: the nearest of all is named, too, but they are not listed.
    """
    names = [_printable(choice) for choice in choices]
    near = filter(None, (_nearest(wrong, [*names, *map(_printable, taken)]), _nearest(wrong, names)))
    meant = " or ".join(f"`{name}`" for name in dict.fromkeys(near))
    listed = ", ".join(names) if len(names) <= MAX_CHOICES else ""
    if meant:
        return f"did you mean {meant}?" + (f" (one of: {listed})" if listed and len(names) > 1 else "")
    return f"write one of: {listed}" if listed else "write another" if names else "there is none to name"


def _nearest(wrong: object, names: list[str]) -> str | None:
    lower = {name.lower(): name for name in reversed(names)}
    near = get_close_matches(wrong[:MAX_SHOWN].lower(), lower, n=1) if isinstance(wrong, str) else []
    return lower[near[0]] if near else None
