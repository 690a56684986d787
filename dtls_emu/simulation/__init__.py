"""A whole lab in one process on a virtual clock: cards, fabric and guests, and what becomes of their traffic."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from dtls_emu.simulation.simulation import Outcome, Simulation, simulate


__all__ = ["Outcome", "Simulation", "simulate"]

_HOMES = {"Outcome": "simulation", "Simulation": "simulation", "simulate": "simulation"}


def __getattr__(name: str) -> object:
    """Import a public name from its module on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
