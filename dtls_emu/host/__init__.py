"""What stands around a card: certificates and cards of a lab, guests, traffic, the simulation that runs them.

This floor may use the clock, randomness and the operating system; those below it may not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from dtls_emu.host.cards import build_cards
    from dtls_emu.host.simulation import Outcome, simulate


__all__ = ["Outcome", "build_cards", "simulate"]

_HOMES = {"Outcome": "simulation", "build_cards": "cards", "simulate": "simulation"}


def __getattr__(name: str) -> object:
    """Import a public name from its module on first use (PEP 562): `doctor` needs none of the datapath."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
