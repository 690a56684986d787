"""The result file: everything a run measured, and everything one must know to judge it. Version 2.

``start`` says what was about to be measured and on what, ``sections`` holds what each suite measured, raw, and what it
concludes from it, and ``end`` the whole in words. All statistics are computed once, kept here and rendered later.
``result.schema.json`` beside this file is its JSON Schema, made from these models by
``python -m dtls_emu.measure.result``.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import Field, ValidationError

from dtls_emu.errors import DtlsEmuError
from dtls_emu.files.reading import read_file
from dtls_emu.files.results import ResultFile
from dtls_emu.measure.plan import BenchPath, Plan
from dtls_emu.measure.records.base import Record, Seconds, Section, Share, Stopped
from dtls_emu.measure.records.fragments import FragmentSection
from dtls_emu.measure.records.handshake import HandshakeSection
from dtls_emu.measure.records.latency import LatencySection
from dtls_emu.measure.records.offload import OffloadSection
from dtls_emu.measure.records.rekey import RekeySection
from dtls_emu.measure.records.rfc2544 import BackToBackSection, LossSection, ZeroLossSection
from dtls_emu.measure.records.scale import ScaleSection
from dtls_emu.measure.records.throughput import ThroughputSection


__all__ = [
    "FORMAT",
    "RESULT_SCHEMA",
    "AnySection",
    "BackendState",
    "End",
    "Load",
    "OffloadState",
    "Result",
    "Start",
    "read_result",
    "result_path",
    "result_schema",
]

FORMAT: Final = 2
RESULT_SCHEMA: Final = Path(__file__).with_name("result.schema.json")
MAX_RESULT: Final = 256 << 20
"""Bytes: a full run of all suites is a fiftieth of it."""

RESULT_FOLDER: Final = Path("results")

AnySection = Annotated[
    ThroughputSection
    | LatencySection
    | FragmentSection
    | HandshakeSection
    | RekeySection
    | ScaleSection
    | OffloadSection
    | ZeroLossSection
    | LossSection
    | BackToBackSection,
    Field(discriminator="suite"),
]
"""A suite of the registry has its section here."""

Found = TypeVar("Found", bound=Section)


class BackendState(Record):
    """A cipher backend as this run found it."""

    name: str
    available: bool
    protects: bool | None = Field(description="Whether it encrypts; null when it could not be loaded.")
    detail: str = Field(description="Library, version and instruction set; or why it is not available.")


class OffloadState(Record):
    """Whether the kernel batches datagrams, and why or why not."""

    on: bool
    reason: str


class Load(Record):
    """What else the machine did."""

    load_average: Seconds = Field(description="Runnable tasks over the last minute.")
    pressure_share: Share | None = Field(
        description="Share of a quarter of a second in which something waited for a processor (PSI); null: not told."
    )


class Start(Record):
    """What was about to be measured, and on what."""

    started: datetime
    version: str = Field(description="Of dtls-emu.")
    command: list[str] = Field(description="The command line; empty when it was called from Python.")
    lab: str
    lab_source: str = Field(
        description="The lab as it was named: a path, or a shipped lab; empty: from Python."
    )
    sender: str = Field(description="The VM that sends, and its host.")
    receiver: str = Field(description="The VM that receives, and its host.")
    not_of_the_lab: list[str] = Field(
        description="What the lab says of the link and a benchmark does not do."
    )
    plan: Plan
    backends: list[BackendState]
    offloads: dict[BenchPath, dict[str, OffloadState]]
    cores: dict[str, int | None] = Field(
        description="Core that each process was pinned to; null: not pinned."
    )
    load: Load
    environment: dict[str, Any] = Field(description="Versions, CPU, kernel, governor.")


class End(Record):
    """What was concluded."""

    finished: datetime
    stopped: Stopped
    load: Load
    stolen_share: float | None = Field(
        description="CPU time that the hypervisor gave to others during the run."
    )
    skipped: dict[str, str] = Field(description="Suites that were not measured, and why.")
    starts: int = Field(default=1, description="Processes that measured one after the other (--repeat).")
    reading: list[str] = Field(description="The result in words, a paragraph for each suite.")


class Result(Record):
    """A benchmark's result file."""

    format: Literal[2] = 2
    start: Start
    sections: list[AnySection]
    other_starts: list[list[AnySection]] = Field(
        default=[],
        description="What later starts of the program measured (--repeat); figures are of all starts.",
    )
    end: End

    def section(self, kind: type[Found]) -> Found | None:
        """The section of a suite; None when it was not measured."""
        return next((each for each in self.sections if isinstance(each, kind)), None)

    def encode(self) -> bytes:
        """The file's content: JSON, in UTF-8 whatever the locale."""
        return self.model_dump_json(indent=1).encode() + b"\n"

    def write(self, path: Path) -> None:
        """Write the file, over one that is there, and the folders above it. It is there whole or not at all.

        Raises:
            ResultFileError: it cannot be written.
        """
        ResultFile(path, force=True, make_folders=True).write(self.encode())


def read_result(path: Path | str) -> Result:
    """Read a result file.

    Raises:
        DtlsEmuError: it cannot be read, is no result, or is one of another format; in one line.
    """
    try:
        document = json.loads(read_file(path, MAX_RESULT))
    except OSError as error:
        raise DtlsEmuError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DtlsEmuError(f"{path} is no result of `dtls-emu bench`: it is not JSON") from error
    if not isinstance(document, dict) or "format" not in document:
        raise DtlsEmuError(f"{path} is no result of `dtls-emu bench`: it has no format")
    if document["format"] != FORMAT:
        raise DtlsEmuError(
            f"{path} has format {document['format']!r}; this version reads {FORMAT}, so measure anew, or compare with the "
            "version that wrote it"
        )
    try:
        return Result.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DtlsEmuError(f"{path} is no result of `dtls-emu bench`: {place}: {first['msg']}") from error


def result_path(now: datetime | None = None, folder: Path = RESULT_FOLDER, *, what: str = "bench") -> Path:
    """The default place of a result file: what it is of and its time of start, in UTC, make the name."""
    return folder / f"{what}-{(now or datetime.now(UTC)):%Y%m%dT%H%M%SZ}.json"


def result_schema() -> str:
    """The JSON Schema of a result file, as text."""
    return json.dumps(Result.model_json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    RESULT_SCHEMA.write_text(result_schema(), encoding="utf-8")
