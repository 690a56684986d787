"""Fragments among whole packets: which mixes there are, and what a trial of one yields.

The same whole packets are offered again and again, mixed with fragments of every shape. Where the fragments stand
matters more than how many they are, so it is measured both ways: see
:class:`~dtls_emu.measure.records.fragments.Layout`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from dtls_emu.measure.records.fragments import Layout
from dtls_emu.simulation.accounts import AccountingError


__all__ = ["FLOOD", "LAYOUTS", "MIXES", "WITHOUT", "FragmentTestbed", "Mix", "MixSample"]


@dataclass(frozen=True, slots=True)
class Mix:
    """Fragments among whole packets.

    Fields:
        layout: where the fragments stand.
        share: of fragments among the offered packets.
    """

    layout: Layout
    share: float

    def __str__(self) -> str:
        """``10 % fragments, scattered``"""
        return f"{self.share * 100:.0f} % fragments, {self.layout}"


WITHOUT: Final = Mix(Layout.NONE, 0.0)
SHARES: Final = (0.01, 0.1, 0.5)
LAYOUTS: Final = (Layout.BUNCHED, Layout.SCATTERED)
FLOOD: Final = Mix(Layout.BUNCHED, 1.0)
"""Nothing but fragments, as fast as they are taken."""

MIXES: Final = (WITHOUT, *(Mix(layout, share) for layout in LAYOUTS for share in SHARES), FLOOD)


@dataclass(frozen=True, slots=True)
class MixSample:
    """One trial of one mix, in packets.

    Fields:
        whole_offered, whole_delivered: packets that are no fragments.
        fragments_offered: fragments of every shape.
        fragments_rejected: packets that the sending card dropped as ``fragment``.
        fragments_delivered: fragments that arrived.
        wall_s: seconds.
        encrypts: the flow is encrypted, so that no fragment may pass; a plain one carries them all.
    """

    whole_offered: int
    whole_delivered: int
    fragments_offered: int
    fragments_rejected: int
    fragments_delivered: int
    wall_s: float
    encrypts: bool = True

    def check(self, mix: Mix) -> None:
        """Fail loudly unless every fragment had the fate that is due to it, and every whole packet was delivered.

        Raises:
            AccountingError: naming the mix and the figures.
        """
        due = (self.fragments_offered, 0) if self.encrypts else (0, self.fragments_offered)
        if (
            self.fragments_rejected,
            self.fragments_delivered,
        ) != due or self.whole_delivered != self.whole_offered:
            raise AccountingError(
                f"{mix}: of {self.fragments_offered} fragments {self.fragments_rejected} were rejected and "
                f"{self.fragments_delivered} delivered; {self.whole_delivered} of {self.whole_offered} whole packets "
                "were delivered"
            )


class FragmentTestbed(Protocol):
    """Two cards with a flow between them."""

    def measure_mix(self, mix: Mix, seconds: float) -> MixSample:
        """One trial: offer the mix's bursts in turn, for so long."""

    def reject_shapes(self) -> dict[str, int]:
        """Offer fragments of each shape by itself. How many were rejected, by shape.

        Raises:
            AccountingError: one was not, or something was delivered.
        """
