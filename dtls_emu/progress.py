"""How long work tells whoever waits for it how far it is."""

from __future__ import annotations

from typing import Protocol


__all__ = ["Progress"]


class Progress(Protocol):
    """Is told of every step."""

    def __call__(self, done: int, total: int, what: str, /) -> object:
        """``done`` of ``total`` steps are over; ``what`` comes next."""
