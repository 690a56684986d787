"""What the sections of all suites have in common."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from dtls_emu.measure.plan import BenchPath, Extent
from dtls_emu.measure.statistics import Estimate
from dtls_emu.vocabulary import DropReason


__all__ = [
    "Better",
    "Conditions",
    "Count",
    "Figure",
    "Record",
    "Seconds",
    "Section",
    "Share",
    "Stopped",
    "TrialRecord",
]

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Record(BaseModel):
    """Immutable; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Stopped(StrEnum):
    """Why a suite, or a run, ended."""

    COMPLETE = "complete"
    BUDGET = "budget"
    INTERRUPTED = "interrupted"


class Better(StrEnum):
    """Which direction of a figure is the good one."""

    HIGHER = "higher"
    LOWER = "lower"


class Conditions(Record):
    """What the machine was like during a trial."""

    stolen_share: Share | None = Field(
        description="CPU time that the hypervisor gave to others; null: not told."
    )
    pressure_share: Share | None = Field(
        description="Share of the time in which something waited for a processor (PSI); null: not told."
    )
    involuntary_switches: Count = Field(
        description="How often an end had to leave a processor it still wanted."
    )
    spoilt: bool = Field(
        description="More was stolen, or waited for, than a trial can bear; it is kept, and flagged."
    )


class TrialRecord(Record):
    """One trial. offered = refused + delivered + dropped by reason."""

    path: BenchPath
    size: Annotated[int, Field(ge=1, description="Inner IP packet size, bytes.")]
    arm: str
    round: Annotated[
        int, Field(ge=0, description="Trials of one round, path and size were neighbours in time.")
    ]
    rate: float | None = Field(
        description="Packets a second that were due; null: as fast as they were taken."
    )
    offered: Count
    refused: Count = Field(description="Packets that were due while the VM's queue was full.")
    delivered: Count
    dropped: dict[DropReason, Count]
    octets: Annotated[int, Field(ge=0, description="Bytes of the delivered inner packets.")]
    wall_s: Seconds
    sender_cpu_s: Seconds
    receiver_cpu_s: Seconds
    repeated: Count = Field(
        description="How often the trial was repeated because its length was not that of others."
    )
    conditions: Conditions


class Figure(Record):
    """One figure of a suite, for comparisons of runs and for other programs; see `dtls-emu bench compare`."""

    cell: dict[str, str | int | float] = Field(description="What it is of: path, size, arm and so on.")
    metric: str
    unit: str
    better: Better
    relative: bool = Field(
        description="It is a ratio to plain of the same round, from which the machine cancels."
    )
    samples: list[float] = Field(description="One for each round, of all starts.")
    by_start: list[list[float]] = Field(
        default=[], description="The same of each start of the program, where there are several (--repeat)."
    )
    estimate: Estimate


class Section(Record):
    """What a suite measured and concluded."""

    suite: str
    document: str = Field(description="Whose method it follows.")
    extent: Extent
    stopped: Stopped
    figures: list[Figure]
