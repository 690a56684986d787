"""What runs have left behind, and what running hosts want somebody to know: for `doctor`, beside the machine's own."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.deploy.queries import RunCondition, RunSummary, hosts_by_hand, summaries
from dtls_emu.errors import DtlsEmuError, RunError
from dtls_emu.host.control.client import ControlError, ask
from dtls_emu.machine.probe import Offer, OfferState
from dtls_emu.paths import as_given, control_socket, control_sockets


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


__all__ = ["hints", "leftovers", "stopped_cards"]

STATUS_TIMEOUT: Final = 1.0
"""Seconds that a host may take to say how it is."""


def leftovers() -> list[Offer]:
    """What runs have left behind: what `dtls-emu down` would remove."""
    name = "no leftovers"
    try:
        runs, by_hand = summaries(), hosts_by_hand()
    except RunError as error:
        return [Offer(name, OfferState.LIMITED, f"not looked: {error}", "run as root")]
    found = [_left_of(name, run) for run in runs]
    limits = [offer for offer in found if offer is not None]
    if limits:
        return limits
    there = (("up", [run.run for run in runs]), ("started by hand", map(str, by_hand)))
    said = [f"{what}: {listed}" for what, names in there if (listed := ", ".join(names))]
    return [Offer(name, OfferState.YES, "; ".join(said) or "nothing is up")]


def hints() -> list[Offer]:
    """What running hosts want somebody to know, such as packets that vanish because they do not fit."""
    name = "running hosts"
    try:
        sockets = control_sockets()
    except DtlsEmuError as error:
        return [Offer(name, OfferState.LIMITED, f"not looked: {error}", "run as root")]
    found = [
        Offer(name, OfferState.LIMITED, f"{report['host']}, {hint['about']}: {hint['what']}", hint["remedy"])
        for report in _reports(sockets)
        for hint in report.get("hints", ())
    ]
    return found or [Offer(name, OfferState.YES, "none has anything to tell")]


def stopped_cards(run: str = "") -> dict[str, str]:
    """The control sockets of cards that were started and do not run, and what to do about each.

    Args:
        run: only of this one; of all where it is empty.
    """
    try:
        found = [each for each in summaries() if run in {"", each.run}]
    except RunError:  # nobody's, then
        return {}
    return {
        str(control_socket(each.run, host)): f"the card of {host} has ended; {_remedy(each, host)}"
        for each in found
        for host in each.stopped
    }


def _remedy(run: RunSummary, host: str) -> str:
    if run.condition is RunCondition.IMPAIRED:
        return f"`{as_given('restart')} --run {run.run} {host}` starts it anew"
    return f"all of {run.run} have: `{as_given('down')} {run.run}` clears up"


def _reports(sockets: list[Path]) -> Iterator[dict[str, Any]]:
    """What hosts say of themselves; those that say nothing are the business of `dtls-emu status`."""
    for socket in sockets:
        with suppress(ControlError):
            yield ask(socket, "status", timeout=STATUS_TIMEOUT)


def _left_of(name: str, run: RunSummary) -> Offer | None:
    if run.condition in {RunCondition.DEAD, RunCondition.UNREADABLE}:
        reason = f"run {run.run}: {', '.join(run.made)}"
        return Offer(name, OfferState.LIMITED, reason, f"dtls-emu down {run.run}")
    if run.condition is RunCondition.IMPAIRED:
        reason = f"run {run.run}: cards have ended: {', '.join(run.stopped)}"
        return Offer(name, OfferState.LIMITED, reason, f"dtls-emu restart --run {run.run} {run.stopped[0]}")
    return None
