"""Which VM sizes can encrypt: a table of rows, first match decides.

Azure publishes families, not sizes; the patterns spell out the names of a family's sizes. A size that no
row names cannot encrypt, because the documents say so of every family they do not list.

Source: "What is Azure Virtual Network encryption?", requirements and list of virtual machine sizes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


__all__ = ["CURRENT_SIZES", "SIZE_NAME", "SizeRow", "size_row", "supports_encryption"]

SIZE_NAME: Final = r"(Standard|Basic)_[A-Z]{1,4}\d+(-\d+)?[a-z]*(_[A-Za-z0-9]+)*"
"""What an Azure size looks like: family, vCPUs, constrained vCPUs, features, accelerator, version."""


@dataclass(frozen=True, slots=True)
class SizeRow:
    """One row of a size catalogue.

    Fields:
        families: as the document prints them.
        pattern: a regular expression that a whole size name matches.
        capable: True when these sizes can encrypt.
        source: where that is said.
    """

    families: str
    pattern: str
    capable: bool
    source: str


CURRENT_SIZES: Final = (
    SizeRow("A", r"(Standard|Basic)_A\d+m?(_v2)?", False, "preview overview 2023-05: named as not capable"),
    SizeRow("B", r"Standard_B\d+[a-z]*(_v\d+)?", False, "preview overview 2023-05: named as not capable"),
    SizeRow("D and Dv2", r"Standard_DS?\d+(-\d+)?(_v2)?", False, "preview overview 2023-05: older D-series"),
    SizeRow(
        "DC, EC, NCC (confidential)",
        r"Standard_(DC|EC|NCC)\d+[A-Za-z0-9_-]*",
        False,
        "overview: do not enable in networks with confidential VM sizes",
    ),
    SizeRow(
        "D and E v5 and newer",
        r"Standard_[DE]\d+(-\d+)?[a-z]*_v([5-9]|\d{2,})",
        True,
        "overview: all v5 and newer generations of D-series and E-series",
    ),
    SizeRow(
        "Dv4 Dsv4 Ddv4 Ddsv4 Dav4 Dasv4, Ev4 Esv4 Edv4 Edsv4 Eav4 Easv4",
        r"Standard_[DE]\d+(-\d+)?i?(s|d|ds|a|as)?_v4",
        True,
        "overview 2023-07",
    ),
    SizeRow("Mv2, Msv2 and Mdsv2 medium", r"Standard_M\d+(-\d+)?[a-z]*_v2", True, "overview 2024-05"),
    # The name of an Msv3 size holds no "medium"; its vCPUs tell: medium ends at 176, high memory starts at 416.
    SizeRow(
        "Msv3 and Mdsv3 medium",
        r"Standard_M(\d{1,2}|1[0-7]\d)(-\d+)?d?s(_\d+)?_v3",
        True,
        "overview 2024-05: medium memory only",
    ),
    SizeRow("LSv3", r"Standard_L\d+s_v3", True, "overview 2024-05"),
    SizeRow("Falsv6 Famsv6 Fasv6", r"Standard_F\d+a[lm]?s_v6", True, "overview, newest list"),
    SizeRow("NC-H100 v5", r"Standard_NC\d+adi?s_H100_v5", True, "overview, newest list"),
    SizeRow(
        "ND-GB200 v6, ND-GB300 v6", r"Standard_ND\d+isr_(NDR_)?GB[23]00_v6", True, "overview, newest list"
    ),
)
"""The rows of profile `current`."""


def size_row(size: str, rows: tuple[SizeRow, ...] = CURRENT_SIZES) -> SizeRow | None:
    """The row that a size name matches, or None: a size nobody lists cannot encrypt."""
    return next((row for row in rows if re.fullmatch(row.pattern, size)), None)


def supports_encryption(size: str, rows: tuple[SizeRow, ...] = CURRENT_SIZES) -> bool:
    """True when a VM of this size can encrypt."""
    row = size_row(size, rows)
    return row is not None and row.capable
