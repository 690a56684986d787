"""What a transfer carries: bytes that need not be kept, because anybody can make them again."""

from __future__ import annotations

from hashlib import sha256
from random import Random
from typing import Final


__all__ = ["Payload"]


class Payload:
    """Bytes that look random and depend on the seed and their position only, so that none need be kept."""

    _BLOCK: Final = 1_048_583
    """A prime: the block's beginning does not meet the same place of a segment twice."""

    def __init__(self, seed: str) -> None:
        self._block = Random(seed).randbytes(self._BLOCK)

    def at(self, offset: int, length: int) -> bytes:
        """Bytes ``offset`` to ``offset + length``."""
        start = offset % self._BLOCK
        part = self._block[start : start + length]
        while len(part) < length:
            part += self._block[: length - len(part)]
        return part

    def digest(self, length: int) -> bytes:
        """SHA-256 of the first ``length`` bytes."""
        state = sha256()
        for offset in range(0, length, self._BLOCK):
            state.update(self.at(offset, min(self._BLOCK, length - offset)))
        return state.digest()
