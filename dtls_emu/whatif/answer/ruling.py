"""What becomes of a pair: asked of the policy's table, for every value that an unknown fact may have."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Final

from dtls_emu.policy import Condition, conditions_of_profile, decide_conditions
from dtls_emu.vocabulary import DropReason, Outcome, Verdict
from dtls_emu.whatif.answer.zones import is_denied


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.lab.profiles import Profile
    from dtls_emu.policy import Row
    from dtls_emu.whatif.answer.ends import End


__all__ = ["Fate", "Ruling", "knobs_of", "rule", "worse"]


class Fate(StrEnum):
    """What becomes of a pair, from best to worst."""

    ENCRYPTED = "encrypted"
    CLEAR = "clear"
    UNKNOWN = "unknown"
    DENIED = "denied"
    DROPPED = "dropped"
    BROKEN = "broken"


_ORDER: Final = {fate: number for number, fate in enumerate(Fate)}


@dataclass(frozen=True, slots=True)
class Ruling:
    """What becomes of a pair.

    Fields:
        fate: of it.
        row: of the table; None where it is not known which applies.
    """

    fate: Fate
    row: Row | None


def rule(first: End, second: End, knobs: int) -> Ruling:
    """Decide a pair.

    Args:
        first, second: its ends.
        knobs: of the profile, see :func:`knobs_of`.
    """
    return _rule(_facts(first), _facts(second), knobs, is_denied(first.zone, second.zone))


def worse(first: Ruling, second: Ruling) -> Ruling:
    """Of two legs of one way, the one that decides about it."""
    return max(first, second, key=lambda ruling: _ORDER[ruling.fate])


Facts = tuple["bool | None", "bool | None", "Outcome | None", "bool | None", int]


def _facts(end: End) -> Facts:
    return end.encrypted, end.drops, end.outcome, end.incapable, end.conditions


@lru_cache(maxsize=65_536)
def _rule(first: Facts, second: Facts, knobs: int, denied: bool) -> Ruling:
    certain = knobs | first[-1] | second[-1]
    found = (_row(one, other, certain, denied) for one in _possible(first) for other in _possible(second))
    rows = {row.name: row for row in found}
    fates = {_fate(row) for row in rows.values()}
    if len(fates) > 1:
        return Ruling(Fate.UNKNOWN, None)
    (fate,) = fates
    return Ruling(fate, next(iter(rows.values())) if len(rows) == 1 else None)


def _possible(facts: Facts) -> Iterator[tuple[bool, bool, Outcome, bool]]:
    encrypted, drops, outcome, incapable, _ = facts
    both = (False, True)
    for one, two, three, four in product(
        both if encrypted is None else (encrypted,),
        both if drops is None else (drops,),
        (Outcome.AS_VM, Outcome.CLEAR, Outcome.FAILS) if outcome is None else (outcome,),
        both if incapable is None else (incapable,),
    ):
        yield one, two and one, three, four


def _row(
    one: tuple[bool, bool, Outcome, bool], other: tuple[bool, bool, Outcome, bool], knobs: int, denied: bool
) -> Row:
    bits = knobs & ~_BOTH_DROP
    encrypted = [end[0] for end in (one, other)]
    bits |= Condition.ENCRYPTED_NETWORK if any(encrypted) else 0
    bits |= Condition.PLAIN_NETWORK if not all(encrypted) else 0
    drops = [end[1] for end in (one, other) if end[0]]
    if drops and (all(drops) if knobs & _BOTH_DROP else any(drops)):
        bits |= Condition.DROPS
    for _, _, outcome, incapable in (one, other):
        bits |= _OF_OUTCOME.get(outcome, 0)
        bits |= Condition.INCAPABLE if incapable else 0
    bits |= Condition.DENIED if denied else 0
    return decide_conditions(int(bits)).row


_BOTH_DROP: Final = 1 << 40
"""Beside the profile's bits: what cannot be encrypted is dropped only where both networks say so."""

_OF_OUTCOME: Final = {
    Outcome.CLEAR: Condition.CLEAR_END,
    Outcome.FAILS: Condition.FAILING_END,
    Outcome.PUBLIC: Condition.PUBLIC,
}


def knobs_of(profile: Profile) -> int:
    """The bits of a profile that :func:`rule` asks for."""
    both = profile.mixed_enforcement is Verdict.CLEAR
    return conditions_of_profile(profile) | (_BOTH_DROP if both else 0)


def _fate(row: Row) -> Fate:
    if row.verdict is Verdict.ENCRYPT:
        return Fate.ENCRYPTED
    if row.verdict is Verdict.CLEAR:
        return Fate.CLEAR
    return _DROPS.get(row.reason, Fate.DROPPED) if row.reason is not None else Fate.DROPPED


_DROPS: Final = {DropReason.DENIED: Fate.DENIED, DropReason.UNSUPPORTED_END: Fate.BROKEN}
