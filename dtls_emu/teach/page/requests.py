"""What a browser asks for, checked: each function takes JSON from outside and gives what it means, or says what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dtls_emu.errors import DtlsEmuError
from dtls_emu.teach.page.sending import MOST_PACKETS, Order, What


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["BadRequestError", "advance", "attack", "change", "ends", "number", "order", "restart", "word"]

LONGEST: Final = 256
"""Characters of a name or a word."""

MOST_WORDS: Final = 8
MOST_SECONDS: Final = 3_600.0
MOST_STEPS: Final = 5_000


class BadRequestError(DtlsEmuError):
    """A request is none that is understood. Says what is wrong with it.

    Fields:
        status: of HTTP.
    """

    def __init__(self, text: str, *, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


def number(given: Mapping[str, str], name: str, least: int, most: int, *, default: int) -> int:
    """A number of a query."""
    text = given.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 12 and least <= int(text) <= most):
        raise BadRequestError(f"`{name}` is a number from {least} to {most}")
    return int(text)


def word(given: Mapping[str, Any], name: str) -> str:
    """A name: of a VM, a host, an attack."""
    value = given.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST or not value.isprintable():
        raise BadRequestError(f"`{name}` is to be a text of 1 to {LONGEST} characters")
    return value


def advance(body: Any) -> tuple[float, int]:
    """How far to run on: seconds of the lab's clock, and events."""
    given = _object(body, "seconds", "events")
    seconds, events = given.get("seconds", 0), given.get("events", 1)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= MOST_SECONDS:
        raise BadRequestError(f"`seconds` is a number from 0 to {MOST_SECONDS:.0f}")
    return float(seconds), _whole(events, "events", MOST_STEPS)


def change(body: Any) -> tuple[str, list[str]]:
    """What to set: a target, and words such as ``loss=1%``."""
    given = _object(body, "target", "words")
    words = given.get("words")
    if not isinstance(words, list) or not 0 < len(words) <= MOST_WORDS:
        raise BadRequestError(f"`words` is to be a list of 1 to {MOST_WORDS} assignments such as loss=1%")
    return word(given, "target"), [word({"words": each}, "words") for each in words]


def order(body: Any) -> Order:
    """What to send."""
    given = _object(body, "what", "from", "to", "count")
    name = word(given, "what")
    if name not in list(What):
        raise BadRequestError(f"`what` is to be one of {', '.join(What)}")
    what = What(name)
    if what in {What.REPLAY, What.TAMPER}:
        return Order(what)
    return Order(
        what, word(given, "from"), word(given, "to"), _whole(given.get("count", 8), "count", MOST_PACKETS)
    )


def ends(body: Any) -> tuple[str, str]:
    """Two hosts."""
    given = _object(body, "host", "peer")
    return word(given, "host"), word(given, "peer")


def restart(body: Any) -> tuple[str, str]:
    """A host, and the backend of its new card; "" for the same as before."""
    given = _object(body, "host", "backend")
    return word(given, "host"), word(given, "backend") if given.get("backend") else ""


def attack(body: Any) -> str:
    """The name of an attack."""
    return word(_object(body, "name"), "name")


def _object(body: Any, *names: str) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise BadRequestError("the body is to be a JSON object")
    unknown = sorted(set(body) - set(names))
    if unknown:
        raise BadRequestError(f"`{unknown[0][:LONGEST]}` is not known here; there are {', '.join(names)}")
    return body


def _whole(value: Any, name: str, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= most:
        raise BadRequestError(f"`{name}` is a whole number from 1 to {most}")
    return value
