"""Probes: each finds one thing in a run of a lab, as a lesson asks for it. No answer is written down anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dtls_emu.teach.lessons.probes import attacks, costs, decisions, handshakes, records, sizes


if TYPE_CHECKING:
    from collections.abc import Callable

    from dtls_emu.teach.lessons.expected import Answer, Expected


__all__ = ["PROBES"]

PROBES: Final[dict[str, Callable[..., Answer | Expected | Any]]] = {
    name: getattr(module, name)
    for module in (attacks, costs, decisions, handshakes, records, sizes)
    for name in module.__all__
}
"""By name. Each takes a :class:`~dtls_emu.teach.lessons.lab_run.LabRun` and its own arguments by name, and raises
CannotAskError where the lab has nothing of what it looks for."""
