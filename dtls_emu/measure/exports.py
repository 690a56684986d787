"""A result for other programs: tidy tables (CSV), and figures for Prometheus's textfile collector."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from dtls_emu.errors import DtlsEmuError


if TYPE_CHECKING:
    from dtls_emu.measure.result import Result


__all__ = ["as_csv", "as_prometheus"]


def as_csv(result: Result) -> dict[str, str]:
    """A table for each list of records of each section, by file name: a row a record, a column a value.

    What is nested has its path as its column's name (``ratio.low``); lists within a record are left to JSON.
    """
    found = {}
    for section in result.sections:
        for name in type(section).model_fields:
            records = getattr(section, name)
            if isinstance(records, list) and records and isinstance(records[0], BaseModel):
                rows = [_flat(record.model_dump(mode="json")) for record in records]
                found[f"{section.suite}-{name}.csv"] = _table(rows)
    return found


def as_prometheus(result: Result) -> str:
    """Every figure as gauges, in the text format that node_exporter's textfile collector reads.

    Raises:
        DtlsEmuError: the extra `metrics` is not installed.
    """
    try:
        from prometheus_client import CollectorRegistry, Gauge, generate_latest  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise DtlsEmuError("--prometheus needs prometheus-client: pip install 'dtls-emu[metrics]'") from error
    figures = [(section.suite, figure) for section in result.sections for figure in section.figures]
    labels = sorted({key for _, figure in figures for key in figure.cell})
    registry = CollectorRegistry()
    names = ["suite", "metric", "unit", *labels]
    gauges = {
        part: Gauge(f"dtls_emu_bench_{part}", told, names, registry=registry)
        for part, told in (
            ("value", "What was measured."),
            ("low", "Lower end of its 95 % interval."),
            ("high", "Upper end of its 95 % interval."),
            ("rounds", "Values that it is of."),
        )
    }
    for suite, figure in figures:
        values = [suite, figure.metric, figure.unit, *(str(figure.cell.get(key, "")) for key in labels)]
        parts = {
            "value": figure.estimate.value,
            "low": figure.estimate.low,
            "high": figure.estimate.high,
            "rounds": figure.estimate.n,
        }
        for part, value in parts.items():
            if value is not None:
                gauges[part].labels(*values).set(value)
    finished = Gauge("dtls_emu_bench_finished_seconds", "When the run ended.", registry=registry)
    finished.set(result.end.finished.timestamp())
    return generate_latest(registry).decode()


def _flat(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        elif not isinstance(value, list):
            found[f"{prefix}{key}"] = value
    return found


def _table(rows: list[dict[str, Any]]) -> str:
    every = list(dict.fromkeys(column for row in rows for column in row))
    # What is nested in one row and null in another has the columns of what is nested.
    columns = [column for column in every if not any(other.startswith(f"{column}.") for other in every)]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
