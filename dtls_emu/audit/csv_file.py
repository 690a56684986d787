"""An audit's findings as CSV (RFC 4180): a line each, with the columns of its JSON."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtls_emu.audit.finding import Finding


__all__ = ["findings_csv"]

COLUMNS: Final = (
    "source",
    "destination",
    "kind",
    "status",
    "seen_by",
    "services",
    "flows",
    "denied",
    "packets",
    "bytes",
    "first",
    "last",
    "promised",
    "unexpected",
)

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula when a cell begins with it."""


def findings_csv(findings: Iterable[Finding]) -> str:
    """The text of the file."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for each in findings:
        row = each.as_dict()
        row["services"] = "; ".join(each.services)
        writer.writerow([_safe(row[name]) for name in COLUMNS])
    return text.getvalue()


def _safe(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
