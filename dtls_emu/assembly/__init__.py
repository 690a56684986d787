"""From a lab to cards that can run: certificates, engines, keys of a broker, documents that a host is handed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from dtls_emu.assembly.cards import build_cards


__all__ = ["build_cards"]

_HOMES = {"build_cards": "cards"}


def __getattr__(name: str) -> object:
    """Import a public name from its module on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
