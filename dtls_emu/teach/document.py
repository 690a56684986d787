"""An explanation: blocks with a title.

A document is made once and shown in three ways: as text for a terminal (:mod:`.text`), as HTML for a page or a
notebook (:mod:`.html`), and as JSON (:meth:`Document.as_dict`). Whoever makes one decides nothing about colours or
columns; whoever shows one computes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dtls_emu.teach.blocks import Facts
from dtls_emu.teach.html import fragment


if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtls_emu.teach.blocks import Block


__all__ = ["Document"]


@dataclass(slots=True)
class Document:
    """An explanation.

    Fields:
        title: of the whole.
        blocks: in the order in which they are read.
    """

    title: str
    blocks: list[Block] = field(default_factory=list)

    def add(self, *blocks: Block) -> None:
        """Go on with these."""
        self.blocks += blocks

    def facts(self, pairs: Sequence[tuple[str, object]]) -> None:
        """Go on with names and values."""
        self.blocks.append(Facts(tuple((name, str(value)) for name, value in pairs)))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"title": self.title, "blocks": [block.as_dict() for block in self.blocks]}

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        return fragment(self.title, self.blocks)
