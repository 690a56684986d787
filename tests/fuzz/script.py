"""A fuzzer's bytes, read as choices. Past the end every choice is the first one."""

from __future__ import annotations


class Script:
    """Choices off the front of some bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_over(self) -> bool:
        """Nothing is left."""
        return self._at >= len(self._data)

    def below(self, end: int) -> int:
        """A number from 0; one byte of the script, or two."""
        return int.from_bytes(self.take(1 if end <= 256 else 2), "big") % end

    def pick(self, choices):
        """One of several."""
        return choices[self.below(len(choices))]

    def take(self, length: int) -> bytes:
        """So many bytes, or what is left."""
        piece = self._data[self._at : self._at + length]
        self._at += length
        return piece

    def blob(self) -> bytes:
        """Bytes behind their length."""
        return self.take(self.below(65_536))

    def edited(self, data: bytes) -> bytes:
        """A few bytes changed, and perhaps cut, or continued."""
        changed = bytearray(data)
        for _ in range(self.below(6)):
            at = self.below(65_536)
            value = self.below(256)
            if changed:
                changed[at % len(changed)] = value
        if self.below(4) == 1:
            del changed[self.below(65_536) % (len(changed) + 1) :]
        if self.below(4) == 1:
            changed += self.blob()
        return bytes(changed)


def blob(data: bytes) -> bytes:
    """What :meth:`Script.blob` reads as ``data``."""
    return len(data).to_bytes(2, "big") + data


def edits(*changes: tuple[int, int]) -> bytes:
    """What :meth:`Script.edited` reads as these changes, each a position and a value, and nothing else."""
    each = b"".join(at.to_bytes(2, "big") + bytes((value,)) for at, value in changes)
    return bytes((len(changes),)) + each + bytes(2)
