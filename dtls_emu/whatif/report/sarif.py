"""An answer as SARIF 2.1.0, which code review shows beside the lines of a pull request.

Source: OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0".
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from dtls_emu import __version__
from dtls_emu.whatif.answer.answer import reason_of, said_of
from dtls_emu.whatif.answer.ruling import Fate
from dtls_emu.whatif.documents import DocumentKind
from dtls_emu.whatif.json_text import line_of
from dtls_emu.whatif.report.parties import party_of


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dtls_emu.whatif.answer.answer import Answer
    from dtls_emu.whatif.answer.ends import End
    from dtls_emu.whatif.documents import Document
    from dtls_emu.whatif.template.values import Place


__all__ = ["as_sarif"]

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"

_RULES: Final = {
    "broken": ("error", "Loses connectivity or is refused once encryption is on"),
    "dropped": ("error", "Is dropped once encryption is enforced"),
    "clear": ("warning", "Stays in clear although encryption is on"),
    "unknown": ("note", "Cannot be known from the files"),
}
"""Results by what becomes of something: how severe, and in words."""

LARGEST: Final = 4 << 20
"""Characters of a file whose lines are counted: that of the largest template. Lists of a machine are not reviewed."""

MOST: Final = 1000
"""Results of one file; reviews show fewer."""


def as_sarif(answer: Answer, documents: Sequence[Document]) -> dict[str, Any]:
    """The answer as one run.

    Args:
        answer: to show.
        documents: that it is about, for the numbers of lines.
    """
    lines = _Lines(documents)
    results = [each for _, each in zip(range(MOST), _results(answer, lines), strict=False)]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "dtls-emu whatif",
                        "version": __version__,
                        "rules": [
                            {
                                "id": rule,
                                "shortDescription": {"text": text},
                                "defaultConfiguration": {"level": level},
                            }
                            for rule, (level, text) in _RULES.items()
                        ],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": results,
            }
        ],
    }


def _results(answer: Answer, lines: _Lines) -> Iterator[dict[str, Any]]:
    for breakage in answer.breakages:
        text = f"{breakage.what} in {breakage.network} {breakage.why}. [{breakage.basis}] {breakage.source}"
        yield _result("broken", text, lines.location(breakage.place))
    for group in answer.pairs.groups:
        rule = _RULE_OF.get(group.ruling.fate)
        if rule is None:
            continue
        first, second = party_of(group.firsts, answer), party_of(group.seconds, answer)
        basis, source = said_of(group)
        more = "at least " if group.open_ended else ""
        text = f"{more}{group.pairs} pairs of {first} with {second}: {reason_of(group)}."
        text += f" [{basis}] {source}" if basis else ""
        yield _result(rule, text, lines.location(_place(group.firsts, answer)))
    for doubt in answer.estate.doubts:
        if doubt.matters:
            yield _result("unknown", f"{doubt.what}: {doubt.why}", lines.location(doubt.place))


_RULE_OF: Final = {
    Fate.BROKEN: "broken",
    Fate.DROPPED: "dropped",
    Fate.CLEAR: "clear",
    Fate.UNKNOWN: "unknown",
}


def _place(members: set[tuple[End, str]], answer: Answer) -> Place | None:
    """Where the first of these endpoints stands in the files."""
    wanted = {(answer.census.by_network[network][end].names[0], network) for end, network in members}
    estate = answer.estate
    places = [each.place for each in estate.endpoints.values() if (each.name, each.network) in wanted]
    places += [each.place for each in estate.balancers.values() if (each.name, each.network) in wanted]
    return next((place for place in places if place is not None), None)


def _result(rule: str, text: str, location: dict[str, Any] | None) -> dict[str, Any]:
    found: dict[str, Any] = {"ruleId": rule, "level": _RULES[rule][0], "message": {"text": text}}
    if location is not None:
        found["locations"] = [{"physicalLocation": location}]
    # So that a review knows a result again after lines have moved.
    found["partialFingerprints"] = {"statement/v1": sha256(f"{rule} {text}".encode()).hexdigest()[:32]}
    return found


class _Lines:
    """Places as lines of files."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self._texts = {
            each.name: each.text
            for each in documents
            if each.kind is not DocumentKind.LAB and len(each.text) <= LARGEST
        }
        self._known: dict[Place, int] = {}

    def location(self, place: Place | None) -> dict[str, Any] | None:
        """A physical location; without a line where the file has none to give."""
        if place is None or not place.file:
            return None
        found: dict[str, Any] = {"artifactLocation": {"uri": place.file.replace("\\", "/")}}
        if place.file in self._texts:
            if place not in self._known:
                self._known[place] = line_of(self._texts[place.file], place.path)
            found["region"] = {"startLine": self._known[place]}
        return found
