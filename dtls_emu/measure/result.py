"""The result file: everything a run measured, and everything one must know to judge it. Version 1.

Laid out as iperf3 does it: ``start`` says what was about to be measured and on what, ``intervals`` holds one
entry per trial, raw, and ``end`` what was concluded. ``result.schema.json`` beside this file is its JSON
Schema, made from these models by ``python -m dtls_emu.measure.result``.
"""

import json
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from dtls_emu.files.results import ResultFile
from dtls_emu.measure.plan import BenchPath, Plan
from dtls_emu.measure.statistics import Estimate
from dtls_emu.measure.trials import Stopped
from dtls_emu.vocabulary import DropReason


__all__ = [
    "RESULT_SCHEMA",
    "BackendState",
    "CellSummary",
    "End",
    "FragmentInterval",
    "FragmentSummary",
    "HandshakeSummary",
    "Interval",
    "Layout",
    "MixSummary",
    "OffloadState",
    "Result",
    "Start",
    "result_path",
    "result_schema",
]

RESULT_SCHEMA: Final = Path(__file__).with_name("result.schema.json")
RESULT_FOLDER: Final = Path("results")

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BackendState(_Record):
    """A cipher backend as this run found it."""

    name: str
    available: bool
    protects: bool | None = Field(description="Whether it encrypts; null when it could not be loaded.")
    detail: str = Field(description="Library, version and instruction set; or why it is not available.")


class OffloadState(_Record):
    """Whether the kernel batches datagrams, and why or why not."""

    on: bool
    reason: str


class Start(_Record):
    """What was about to be measured, and on what."""

    started: datetime
    version: str = Field(description="Of dtls-emu.")
    lab: str
    sender: str = Field(description="The VM that sends, and its host.")
    receiver: str = Field(description="The VM that receives, and its host.")
    plan: Plan
    backends: list[BackendState]
    offloads: dict[BenchPath, dict[str, OffloadState]]
    cores: dict[str, int | None] = Field(
        description="Core that each process was pinned to; null: not pinned."
    )
    load_average: Seconds
    environment: dict[str, Any] = Field(description="Versions, CPU and kernel.")


class Interval(_Record):
    """One trial."""

    path: BenchPath
    size: Annotated[int, Field(ge=1, description="Inner IP packet size, bytes.")]
    arm: str
    round: Annotated[
        int, Field(ge=0, description="Trials of one round, path and size were neighbours in time.")
    ]
    offered: Count
    delivered: Count
    dropped: dict[DropReason, Count]
    octets: Annotated[int, Field(ge=0, description="Bytes of the delivered inner packets.")]
    wall_s: Seconds
    sender_cpu_s: Seconds
    receiver_cpu_s: Seconds


class Layout(StrEnum):
    """Where fragments stand among whole packets."""

    NONE = "none"
    """There are none."""

    BUNCHED = "bunched"
    """In bursts of their own, as the fragments of one datagram leave a VM one after the other."""

    SCATTERED = "scattered"
    """At random rows of the bursts of whole packets, which the card must take apart around them."""


class FragmentInterval(_Record):
    """One trial of the fragment mixes."""

    layout: Layout
    share: Annotated[Share, Field(description="Fragments among the offered packets.")]
    round: Count
    whole_offered: Count
    whole_delivered: Count
    fragments_offered: Count
    fragments_rejected: Count
    wall_s: Seconds


class CellSummary(_Record):
    """What the trials of one path, size and arm say. Figures are medians over the trials."""

    path: BenchPath
    size: int
    arm: str
    trials: Count
    us_per_packet: Seconds = Field(description="Elapsed, not CPU, microseconds per delivered packet.")
    gbit_per_s: Seconds = Field(description="Of inner packets.")
    packets_per_s: Seconds
    sender_cpu_s_per_gb: Seconds = Field(description="CPU seconds per 10^9 inner bytes.")
    receiver_cpu_s_per_gb: Seconds
    lost_share: Share = Field(description="Dropped packets over offered ones, all trials together.")
    variation: Seconds = Field(description="Coefficient of variation of the packet rate over the trials.")
    ratio: Estimate | None = Field(
        description="Packet rate over that of plain, pair by pair; null for plain."
    )
    noise_floor: Seconds | None = Field(
        description="A ratio no farther from 1 than this is noise, by plain against plain; null: not measured."
    )


class MixSummary(_Record):
    """What the trials of one mix say."""

    layout: Layout
    share: Share
    whole_offered: Count
    whole_delivered: Count
    fragments_offered: Count
    fragments_rejected: Count
    goodput: Estimate | None = Field(
        description="Rate of whole packets over that of the neighbouring run without fragments; null at share 0."
    )


class FragmentSummary(_Record):
    """What the fragment mixes say. Every fragment was rejected and no whole packet was, or there is no result."""

    backend: str
    size: int
    shapes: dict[str, Count] = Field(description="Fragments rejected, by shape.")
    mixes: list[MixSummary]
    rejection_ns: dict[Layout, Estimate] = Field(
        description="Cost of one rejection, nanoseconds: slope over the shares."
    )


class HandshakeSummary(_Record):
    """What new associations cost. CPU time is that of both ends together."""

    backend: str
    handshakes: Count = Field(description="How many were measured.")
    cpu_ms: Seconds = Field(description="CPU milliseconds of one, median.")
    per_second: Seconds = Field(description="On one core, both ends on it.")
    bare_cpu_ms: Seconds = Field(
        description="Of pyOpenSSL alone: the same contexts, cookie exchange, traffic keys derived."
    )
    ratio: Estimate = Field(description="Cost over that of pyOpenSSL alone, pair by pair.")
    idle_tunnel_bytes: Count | None = Field(
        description="Memory of one end of an idle tunnel; null when it could not be measured."
    )


class End(_Record):
    """What was concluded."""

    finished: datetime
    stopped: Stopped
    load_average: Seconds
    stolen_share: float | None = Field(
        description="CPU time that the hypervisor gave to others during the run."
    )
    cells: list[CellSummary]
    fragments: FragmentSummary | None
    handshakes: HandshakeSummary | None
    reading: str = Field(description="The result in two sentences.")


class Result(_Record):
    """A benchmark's result file."""

    format: Literal[1] = 1
    start: Start
    intervals: list[Interval]
    fragment_intervals: list[FragmentInterval]
    end: End

    def encode(self) -> bytes:
        """The file's content: JSON, in UTF-8 whatever the locale."""
        return self.model_dump_json(indent=1).encode() + b"\n"

    def write(self, path: Path) -> None:
        """Write the file, over one that is there, and the folders above it. It is there whole or not at all.

        Raises:
            ResultFileError: it cannot be written.
        """
        ResultFile(path, force=True, make_folders=True).write(self.encode())


def result_path(now: datetime | None = None, folder: Path = RESULT_FOLDER, *, what: str = "bench") -> Path:
    """The default place of a result file: what it is of and its time of start, in UTC, make the name."""
    return folder / f"{what}-{(now or datetime.now(UTC)):%Y%m%dT%H%M%SZ}.json"


def result_schema() -> str:
    """The JSON Schema of a result file, as text."""
    return json.dumps(Result.model_json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    RESULT_SCHEMA.write_text(result_schema(), encoding="utf-8")
