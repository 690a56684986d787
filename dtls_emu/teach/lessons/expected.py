"""A right answer, as a run has it, and the wrong ones that say what was mistaken for what."""

from __future__ import annotations

from dataclasses import dataclass


__all__ = ["Answer", "Expected", "shown_answer"]

Answer = str | bytes | float | int
"""A word or choice, several choices in the order of the alphabet with ", " between them, bytes, or a number."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a probe found.

    Fields:
        value: the right answer.
        slips: wrong answers that are likely, each with what was overlooked. They never name the right one.
    """

    value: Answer
    slips: tuple[tuple[Answer, str], ...] = ()


def shown_answer(value: Answer) -> str:
    """As a student would write it."""
    match value:
        case bytes():
            return value.hex(" ")
        case float():
            return f"{value:.6g}"
    return str(value)
