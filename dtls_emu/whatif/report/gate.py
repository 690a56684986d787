"""The gate of a pull request: which outcomes fail it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dtls_emu.whatif.answer.question import QuestionError
from dtls_emu.whatif.answer.ruling import Fate


if TYPE_CHECKING:
    from dtls_emu.whatif.answer.answer import Answer


__all__ = ["Condition", "failures", "parse_conditions", "tags_of"]

_WORDS: Final = ("broken", "clear", "dropped", "unknown")


@dataclass(frozen=True, slots=True)
class Condition:
    """One word of `--fail-on`: an outcome, and the tag that it matters for; empty: it always does."""

    word: str
    tag: str = ""

    def __str__(self) -> str:
        return f"{self.word}:{self.tag}" if self.tag else self.word


def parse_conditions(text: str) -> tuple[Condition, ...]:
    """Conditions from `dropped,broken,clear:TAG`.

    Raises:
        QuestionError: a word is none.
    """
    found = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        word, colon, tag = part.partition(":")
        if word.lower() not in _WORDS or (colon and not tag):
            raise QuestionError(
                f"--fail-on {part}: write words out of {', '.join(_WORDS)}, with commas; each may have a tag, such as "
                "clear:sensitive or clear:data=secret"
            )
        found.append(Condition(word.lower(), tag.lower()))
    return tuple(found)


def tags_of(conditions: tuple[Condition, ...]) -> tuple[str, ...]:
    """The tags that are asked about."""
    return tuple(dict.fromkeys(each.tag for each in conditions if each.tag))


def failures(answer: Answer, conditions: tuple[Condition, ...]) -> list[str]:
    """What fails the gate, in words; nothing, when it passes."""
    return [said for each in conditions if (said := _failure(answer, each))]


def _failure(answer: Answer, condition: Condition) -> str:
    fates = {Fate(condition.word)}
    pairs = sum(
        group.pairs
        for group in answer.pairs.groups
        if group.ruling.fate in fates and (not condition.tag or condition.tag in group.tags)
    )
    things = len(answer.breakages) if condition.word == "broken" and not condition.tag else 0
    if condition.word == "unknown" and not condition.tag:
        things = sum(each.matters for each in answer.estate.doubts)
    said = [f"{pairs} pair{'' if pairs == 1 else 's'}"] if pairs else []
    said += [f"{things} thing{'' if things == 1 else 's'}"] if things else []
    return f"{condition}: {' and '.join(said)}" if said else ""
