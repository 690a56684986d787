"""The figures of a benchmark's result file, as far as a lesson asks for them. The file is a student's: nothing of it is trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, Field, ValidationError

from dtls_emu.files.limits import MAX_DOCUMENT
from dtls_emu.files.reading import read_file
from dtls_emu.teach.lessons.lab_run import CannotAskError


if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["Benchmark", "Cell", "read_benchmark"]

PATH: Final = "memory"
"""Both cards in one process and no sockets: what every machine can measure."""

NO_CIPHER: Final = "null"

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Estimate(BaseModel):
    value: Positive
    low: Share | None = None
    high: Share | None = None


class _Cell(BaseModel):
    path: str
    size: int
    arm: str
    us_per_packet: Positive
    ratio: _Estimate | None = None
    cpu_ratio: _Estimate | None = None
    cpu_noise_floor: Share | None = None


class _Section(BaseModel):
    suite: str


class _Throughput(_Section):
    suite: Literal["throughput"]
    cells: list[_Cell]


class _Backend(BaseModel):
    name: str
    protects: bool | None


class _Start(BaseModel):
    backends: list[_Backend]


class _Result(BaseModel):
    start: _Start
    sections: list[_Throughput | _Section]


@dataclass(frozen=True, slots=True)
class Cell:
    """What was measured of an arm, beside the plain path.

    Fields:
        microseconds: for each packet.
        rate: packets a second over those of plain.
        low, high: 95 % interval of it; None where the rounds were too few for one.
        cpu: CPU time of a packet over that of plain.
        noise: by how much plain's CPU time differs from plain's.
    """

    microseconds: float
    rate: float
    low: float | None
    high: float | None
    cpu: float
    noise: float


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Figures of the memory path.

    Fields:
        cells: by size and arm, plain left out.
        protecting: arms that encrypt.
    """

    cells: dict[tuple[int, str], Cell]
    protecting: frozenset[str]

    def has(self, size: int) -> bool:
        """Whether a size was measured with a cipher, and without one, beside plain."""
        arms = {arm for measured, arm in self.cells if measured == size}
        return NO_CIPHER in arms and bool(arms & self.protecting)

    def encrypted(self, size: int) -> Cell:
        """Of the fastest backend that encrypts.

        Raises:
            CannotAskError: none was measured at this size.
        """
        cells = [
            cell
            for (measured, arm), cell in self.cells.items()
            if measured == size and arm in self.protecting
        ]
        if not cells:
            raise CannotAskError(f"your benchmark has no backend that encrypts at {size} bytes")
        return min(cells, key=lambda cell: cell.microseconds)

    def no_cipher(self, size: int) -> Cell:
        """Of the backend that makes records and encrypts nothing.

        Raises:
            CannotAskError: it was not measured at this size.
        """
        if (size, NO_CIPHER) not in self.cells:
            raise CannotAskError(f"your benchmark has no arm {NO_CIPHER} at {size} bytes")
        return self.cells[size, NO_CIPHER]


def read_benchmark(path: Path) -> Benchmark:
    """The figures of a result file.

    Raises:
        CannotAskError: it cannot be read, or is none.
    """
    try:
        result = _Result.model_validate_json(read_file(path, MAX_DOCUMENT))
    except FileNotFoundError:
        raise CannotAskError(f"there is no {path.name} beside your lab; run the benchmark") from None
    except OSError as error:
        raise CannotAskError(f"{path.name} cannot be read: {error.strerror}") from None
    except ValidationError:
        raise CannotAskError(
            f"{path.name} is no result file of dtls-emu bench; run the benchmark again"
        ) from None
    cells = [
        cell
        for section in result.sections
        if isinstance(section, _Throughput)
        for cell in section.cells
        if cell.path == PATH
    ]
    return Benchmark(
        {
            (cell.size, cell.arm): Cell(
                cell.us_per_packet,
                cell.ratio.value,
                cell.ratio.low,
                cell.ratio.high,
                cell.cpu_ratio.value,
                cell.cpu_noise_floor or 0.0,
            )
            for cell in cells
            if cell.ratio is not None and cell.cpu_ratio is not None
        },
        frozenset(each.name for each in result.start.backends if each.protects),
    )
