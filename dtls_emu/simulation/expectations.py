"""Whether a traffic item came to what its lab file expects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtls_emu.simulation.outcome import Check
from dtls_emu.vocabulary import DropReason


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.lab.traffic import Traffic
    from dtls_emu.simulation.outcome import ItemOutcome


__all__ = ["check_expectations"]


def check_expectations(item: Traffic, outcome: ItemOutcome) -> tuple[Check, ...]:
    """Compare an outcome with the item's `expect`, key by key; nothing without one."""
    return tuple(_checks(item, outcome))


def _checks(item: Traffic, outcome: ItemOutcome) -> Iterator[Check]:
    expect = item.expect
    if expect is None:
        return
    if outcome.stopped:
        yield Check("sent", "all", outcome.note, holds=False)
    if expect.verdict is not None:
        yield Check("verdict", expect.verdict, outcome.verdicts, outcome.verdict is expect.verdict)
    if expect.encryption is not None:
        yield Check(
            "encryption", expect.encryption, outcome.encryptions, outcome.encryption is expect.encryption
        )
    if expect.delivered is not None:
        yield _delivered(item, outcome)
    if expect.dropped is not None:
        yield from _dropped(item, outcome)
    if expect.answered is not None:
        holds = expect.answered.holds(outcome.answered, outcome.offered)
        yield Check("answered", str(expect.answered), str(outcome.answered), holds)


def _delivered(item: Traffic, outcome: ItemOutcome) -> Check:
    assert item.expect is not None
    amount = item.expect.delivered
    assert amount is not None
    if item.kind == "bulk" and amount.everything:
        actual = outcome.payload_bytes or 0
        return Check("delivered", f"all ({item.size} bytes)", f"{actual} bytes", actual == item.size)
    if not amount.everything:
        holds = amount.holds(outcome.delivered, outcome.offered)
        return Check("delivered", str(amount), str(outcome.delivered), holds)
    # Where links make copies, numbers do not tell: a copy may stand for a packet that was lost. A replayed record is
    # a copy of one that was delivered.
    copies = f" and {outcome.duplicated} copies" if outcome.duplicated else ""
    missing = sum(count for reason, count in outcome.dropped.items() if reason is not DropReason.REPLAYED)
    return Check("delivered", "all", f"{outcome.delivered} of {outcome.offered}{copies}", not missing)


def _dropped(item: Traffic, outcome: ItemOutcome) -> Iterator[Check]:
    """Every reason that is named, and every one that occurred: a reason that is not named must not occur."""
    assert item.expect is not None
    expected = item.expect.dropped
    assert expected is not None
    actual = outcome.dropped
    if not expected:
        nothing = ", ".join(f"{reason} {count}" for reason, count in sorted(actual.items()))
        yield Check("dropped", "nothing", nothing or "nothing", not nothing)
        return
    for reason in sorted({*expected, *actual}):
        count = actual.get(reason, 0)
        amount = expected.get(reason)
        holds = amount.holds(count, outcome.offered) if amount is not None else not count
        yield Check(f"dropped.{reason}", str(amount if amount is not None else 0), str(count), holds)
