"""How large a file may be that is read, and how a limit is said."""

from __future__ import annotations

from typing import Final


__all__ = ["MAX_DOCUMENT", "in_bytes"]

MAX_DOCUMENT: Final = 16 << 20
"""Bytes of a file in which the product describes a lab, a run or a host. One with a thousand VMs is a hundredth of
it."""


def in_bytes(count: int) -> str:
    """A limit as people write it: `64 KiB`, `16 MiB`."""
    for size, unit in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= size and count % size == 0:
            return f"{count // size} {unit}"
    return f"{count} bytes"
