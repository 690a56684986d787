"""The section of the suite `fragments`."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from dtls_emu.measure.records.base import Count, Record, Seconds, Section, Share
from dtls_emu.measure.statistics import Estimate


__all__ = ["FragmentSection", "FragmentTrial", "Layout", "MixSummary"]


class Layout(StrEnum):
    """Where fragments stand among whole packets."""

    NONE = "none"
    """There are none."""

    BUNCHED = "bunched"
    """In bursts of their own, as the fragments of one datagram leave a VM one after the other."""

    SCATTERED = "scattered"
    """At random rows of the bursts of whole packets, which the card must take apart around them."""


class FragmentTrial(Record):
    """One trial of the fragment mixes."""

    arm: str
    layout: Layout
    share: Annotated[Share, Field(description="Fragments among the offered packets.")]
    round: Count
    whole_offered: Count
    whole_delivered: Count
    fragments_offered: Count
    fragments_rejected: Count
    fragments_delivered: Count = Field(description="Plain carries fragments; an encrypted flow never does.")
    wall_s: Seconds


class MixSummary(Record):
    """What the trials of one mix say."""

    arm: str
    layout: Layout
    share: Share
    whole_offered: Count
    whole_delivered: Count
    fragments_offered: Count
    fragments_rejected: Count
    wrongly_rejected: Count = Field(description="Whole packets that were dropped.")
    wrongly_passed: Count = Field(description="Fragments that an encrypted flow delivered.")
    goodput: Estimate | None = Field(
        description="Rate of whole packets over that of the neighbouring run without fragments; null at share 0 and 1."
    )


class FragmentSection(Section):
    """Is every fragment of an encrypted flow rejected, no whole packet, and what does one cost?"""

    suite: Literal["fragments"] = "fragments"
    backend: str
    size: int
    shapes: dict[str, Count] = Field(description="Fragments rejected, by shape.")
    trials: list[FragmentTrial]
    mixes: list[MixSummary]
    rejection_ns: dict[Layout, Estimate] = Field(
        description="Cost of one rejection, nanoseconds: slope over the shares. Where the interval holds 0, it is below "
        "what the run can tell."
    )
    flood_ns: Estimate | None = Field(
        description="Nanoseconds for each fragment where there is nothing else, at the highest rate."
    )
