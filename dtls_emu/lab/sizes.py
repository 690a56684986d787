"""Which VM sizes there are and which of them can encrypt: a table of rows, first match decides.

Azure publishes families, not sizes; the patterns spell out the names of a family's sizes. Families that the list
does not name cannot encrypt, because the documents say so of every family they do not list. A name that no row
knows is not a size: it would be decided as one that cannot encrypt, and is a slip far more often.

Source: "What is Azure Virtual Network encryption?", requirements and list of virtual machine sizes; "Azure VM
naming conventions" for what a name holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Final


__all__ = [
    "CURRENT_SIZES",
    "GA_2024_05_SIZES",
    "GA_2024_07_SIZES",
    "PREVIEW_2023_05_SIZES",
    "PREVIEW_2023_07_SIZES",
    "SizeRow",
    "canonical_size",
    "nearest_sizes",
    "size_row",
    "supports_encryption",
]

MAX_NAME: Final = 63
"""Letters of a size's name; the longest of Azure's have half as many."""


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


_OTHERS: Final = "overview: other families only if listed"

CURRENT_SIZES: Final = (
    SizeRow("A", r"(Standard|Basic)_A\d+m?(_v2)?", False, "preview overview 2023-05: named as not capable"),
    SizeRow(
        "B",
        r"Standard_B\d+(l?s|ms|[ap]?[lt]?s_v\d+)",
        False,
        "preview overview 2023-05: named as not capable",
    ),
    SizeRow(
        "D and Dv2",
        r"Standard_DS?\d+(-\d+)?(_v2)?(_Promo)?",
        False,
        "preview overview 2023-05: older D-series",
    ),
    SizeRow(
        "DC, EC, NCC (confidential)",
        r"Standard_([DE]C\d+i?[ae]?d?s(_CC)?(_v\d+)?|NCC\d+ads_H100_v5)",
        False,
        "overview: do not enable in networks with confidential VM sizes",
    ),
    SizeRow(
        "D and E v5 and newer",
        r"Standard_[DE]\d+(-\d+)?i?[ap]?[bn]?l?d?s?_v([5-9]|\d{2,})",
        True,
        "overview: all v5 and newer generations of D-series and E-series",
    ),
    SizeRow(
        "Dv4 Dsv4 Ddv4 Ddsv4 Dav4 Dasv4, Ev4 Esv4 Edv4 Edsv4 Eav4 Easv4",
        r"Standard_[DE]\d+(-\d+)?i?(s|d|ds|a|as)?_v4",
        True,
        "overview 2023-07",
    ),
    SizeRow("D and E v3", r"Standard_[DE]\d+(-\d+)?i?s?_v3", False, _OTHERS),
    SizeRow("Mv2, Msv2 and Mdsv2 medium", r"Standard_M\d+(-\d+)?i?d?m?s(_\d+)?_v2", True, "overview 2024-05"),
    # The name of an Msv3 size holds no "medium"; its vCPUs tell: medium ends at 176, high memory starts at 416.
    SizeRow(
        "Msv3 and Mdsv3 medium",
        r"Standard_M(\d{1,2}|1[0-7]\d)(-\d+)?d?s(_\d+)?_v3",
        True,
        "overview 2024-05: medium memory only",
    ),
    SizeRow("other M", r"Standard_M\d+(-\d+)?([lt]?m?s?|i?x?b?d?s(_\d+)?_v3)", False, _OTHERS),
    SizeRow("LSv3", r"Standard_L\d+s_v3", True, "overview 2024-05"),
    SizeRow("other L", r"Standard_L\d+i?a?o?s(_v\d+)?", False, _OTHERS),
    SizeRow("Falsv6 Famsv6 Fasv6", r"Standard_F\d+a[lm]?s_v6", True, "overview, newest list"),
    SizeRow(
        "other F and FX", r"Standard_(F\d+(s?|s_v2|a[lm]?d?s_v\d+)|FX\d+(-\d+)?(mds|md?s_v2))", False, _OTHERS
    ),
    SizeRow("G", r"Standard_GS?\d+(-\d+)?", False, _OTHERS),
    SizeRow("H, HB, HC, HX", r"Standard_(H\d+m?r?|H[BCX]\d+(-\d+)?rs(_v\d+)?)", False, _OTHERS),
    SizeRow("NC-H100 v5", r"Standard_NC\d+adi?s_H100_v5", True, "overview, newest list"),
    SizeRow(
        "ND-GB200 v6, ND-GB300 v6", r"Standard_ND\d+isr_(NDR_)?GB[23]00_v6", True, "overview, newest list"
    ),
    SizeRow(
        "other NC, ND, NG, NP, NV",
        r"Standard_N[CDGPV]\d+(r|r?s|a?d?[im]*s?r?)(_[A-Z]+\d+[A-Z]*)?(_v\d+)?",
        False,
        _OTHERS,
    ),
)
"""The rows of profile `current`."""

_V4: Final = SizeRow(
    "Dv4 Dsv4 Ddv4 Ddsv4 Dav4 Dasv4, Ev4 Esv4 Edv4 Edsv4 Eav4 Easv4",
    r"Standard_[DE]\d+(-\d+)?i?(s|d|ds|a|as)?_v4",
    True,
    "overview 2023-07",
)
_MV2: Final = SizeRow("Mv2", r"Standard_M(208|416)(-\d+)?i?m?s(_\d+)?_v2", True, "overview 2023-07")


def _listing(listed: tuple[SizeRow, ...], document: str) -> tuple[SizeRow, ...]:
    """A catalogue of the same names, of which an older document lists these only."""
    source = f"{document}: other families only if listed"
    return (*listed, *(replace(row, capable=False, source=source) for row in CURRENT_SIZES))


PREVIEW_2023_05_SIZES: Final = _listing(
    (
        replace(_V4, source="preview overview 2023-05: Dv4 and Ev4"),
        replace(_MV2, source="preview overview 2023-05"),
        SizeRow("Fv2", r"Standard_F\d+s_v2", True, "preview overview 2023-05; not in the next one"),
    ),
    "preview overview 2023-05",
)
"""The preview's first list, which names families only: variants of Dv4 and Ev4 are taken to be meant."""

PREVIEW_2023_07_SIZES: Final = _listing((_V4, _MV2), "overview 2023-07")

_GA_2024_05: Final = (
    _V4,
    SizeRow("Mv2, Msv2 and Mdsv2 medium", r"Standard_M\d+(-\d+)?i?d?m?s(_\d+)?_v2", True, "overview 2024-05"),
    SizeRow(
        "Msv3 and Mdsv3 medium",
        r"Standard_M(\d{1,2}|1[0-7]\d)(-\d+)?d?s(_\d+)?_v3",
        True,
        "overview 2024-05: medium memory only",
    ),
    SizeRow("LSv3", r"Standard_L\d+s_v3", True, "overview 2024-05"),
    SizeRow(
        "Dv5 Dsv5 Ddv5 Ddsv5 Dlsv5 Dldsv5 Dasv5 Dadsv5",
        r"Standard_D\d+(-\d+)?i?(s|d|ds|ls|lds|as|ads)?_v5",
        True,
        "overview 2024-05",
    ),
    SizeRow(
        "Ev5 Esv5 Edv5 Edsv5 Easv5 Eadsv5",
        r"Standard_E\d+(-\d+)?i?(s|d|ds|as|ads)?_v5",
        True,
        "overview 2024-05",
    ),
)
GA_2024_05_SIZES: Final = _listing(_GA_2024_05, "overview 2024-05")

GA_2024_07_SIZES: Final = _listing(
    (
        *_GA_2024_05,
        SizeRow(
            "Dasv6 Dadsv6 Dalsv6 Daldsv6, Easv6 Eadsv6",
            r"Standard_(D\d+(-\d+)?al?d?s|E\d+(-\d+)?i?ad?s)_v6",
            True,
            "overview 2024-07",
        ),
    ),
    "overview 2024-07",
)

_COMMON: Final = re.findall(
    r"\S+",
    """
    A{}_v2 B{}s B{}ms B{}s_v2 D{}_v2 DS{}_v2 D{}_v3 D{}s_v3 D{}_v4 D{}s_v4 D{}ds_v4 D{}as_v4 D{}_v5 D{}s_v5 D{}d_v5
    D{}ds_v5 D{}ls_v5 D{}lds_v5 D{}as_v5 D{}ads_v5 D{}ps_v5 D{}pls_v5 D{}s_v6 D{}ds_v6 D{}as_v6 D{}ads_v6 D{}als_v6
    D{}ps_v6 D{}pls_v6 E{}_v3 E{}s_v3 E{}_v4 E{}s_v4 E{}ds_v4 E{}as_v4 E{}_v5 E{}s_v5 E{}ds_v5 E{}as_v5 E{}ads_v5
    E{}bds_v5 E{}s_v6 E{}ds_v6 E{}as_v6 E{}ads_v6 E{}ps_v6 DC{}as_v5 EC{}as_v5 F{}s F{}s_v2 F{}als_v6 F{}ams_v6
    F{}as_v6 L{}s_v2 L{}s_v3 M{}s M{}ms M{}s_v2 M{}ms_v2 M{}s_1_v3 NC{}ads_H100_v5 HB{}rs_v3
    """,
)
"""Sizes that are suggested for a name that no row knows, without `Standard_`; the braces stand for vCPUs."""


def canonical_size(name: str) -> str:
    """A size's name as Azure writes it: ARM takes names in any case, and so are they taken here."""
    found = re.fullmatch(r"([A-Za-z]+)_([A-Za-z]+)(\d+(?:-\d+)?)([A-Za-z]*)((?:_[A-Za-z0-9]+)*)", name)
    if found is None:
        return name
    tier, family, cores, features, rest = found.groups()
    parts = [_canonical_part(part) for part in rest.split("_")]
    return f"{tier.capitalize()}_{family.upper()}{cores}{features.lower()}{'_'.join(parts)}"


def _canonical_part(part: str) -> str:
    """An accelerator, a memory class, a version, or `Promo`."""
    if part.lower() == "promo":
        return "Promo"
    return part.lower() if re.fullmatch(r"[vV]\d{1,2}", part) else part.upper()


def nearest_sizes(wrong: str) -> tuple[str, ...]:
    """At most three sizes, with as many vCPUs, whose names are like one that no row knows."""
    first, _, rest = wrong[:MAX_NAME].partition("_")
    word = rest if first.isalpha() else wrong[:MAX_NAME]
    found = re.search(r"\d+", word)
    choices = [name.format(found[0] if found else "4") for name in _COMMON]
    # Separators that are too many or missing weigh nothing.
    plain = {_letters(choice): f"Standard_{choice}" for choice in choices}
    near = get_close_matches(_letters(word), plain, n=3, cutoff=0.75)
    if near and near[0] == _letters(word):
        near = near[:1]
    return tuple(plain[each] for each in near)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def size_row(size: str, rows: tuple[SizeRow, ...] = CURRENT_SIZES) -> SizeRow | None:
    """The row that a size's name matches, or None: there is no such size."""
    return next((row for row in rows if re.fullmatch(row.pattern, size)), None)


def supports_encryption(size: str, rows: tuple[SizeRow, ...] = CURRENT_SIZES) -> bool:
    """True when a VM of this size can encrypt."""
    row = size_row(size, rows)
    return row is not None and row.capable
