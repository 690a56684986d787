"""The table of states as a picture: Mermaid, which GitHub and many editors draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtls_emu.tunnel.states import TRANSITIONS, TunnelState


if TYPE_CHECKING:
    from dtls_emu.tunnel.states import TunnelEvent


__all__ = ["state_diagram"]


def state_diagram() -> str:
    """All of :data:`~dtls_emu.tunnel.states.TRANSITIONS` as a Mermaid state diagram, one arrow a line.

    Arrows between the same two states are one, with the events that take it.
    """
    arrows: dict[tuple[TunnelState, TunnelState], list[TunnelEvent]] = {}
    for (origin, event), target in TRANSITIONS.items():
        arrows.setdefault((origin, target), []).append(event)
    lines = ["stateDiagram-v2"]
    # An identifier of Mermaid's has no hyphen in it; the text in the box may.
    lines += [f'    state "{state}" as {_identifier(state)}' for state in TunnelState if "-" in state]
    lines.append(f"    [*] --> {_identifier(TunnelState.IDLE)}")
    for (origin, target), events in arrows.items():
        lines.append(f"    {_identifier(origin)} --> {_identifier(target)}: {', '.join(events)}")
    lines.append(f"    {_identifier(TunnelState.CLOSED)} --> [*]")
    return "\n".join(lines)


def _identifier(state: TunnelState) -> str:
    return state.replace("-", "_")
