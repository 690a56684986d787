"""Plain scalars of YAML, that is text without quotes, to values: what a reader of the file sees is what is meant.

YAML 1.1, 1.2 and their parsers differ in what they make of the same letters. A number is one here when all of
them and the reader agree; what some of them read otherwise, such as ``0700``, is refused; everything else is
text, `yes` and `1:30` and dates included.

Source: YAML 1.2.2, 10.3.2 (core schema); YAML 1.1, working drafts "int" and "float".
"""

from __future__ import annotations

import math
import re
from typing import Final

from dtls_emu.lab.problems import shown


__all__ = ["parse_plain"]

_CONSTANTS: Final[dict[str, bool | None]] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_DIGITS: Final = r"[0-9]+(?:_[0-9]+)*"
_WHOLE: Final = re.compile(rf"[-+]?{_DIGITS}")
_HEXADECIMAL_OR_BINARY: Final = re.compile(r"[-+]?0(?:x[0-9A-Fa-f]+(?:_[0-9A-Fa-f]+)*|b[01]+(?:_[01]+)*)")
_OCTAL: Final = re.compile(r"[-+]?0o[0-7]+")
_REAL: Final = re.compile(rf"[-+]?(?:\.[0-9]+|{_DIGITS}(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_LIMIT: Final = re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))")


def parse_plain(text: str) -> str | bool | float | None:
    """The value of a plain scalar.

    Raises:
        ValueError: letters that mean different numbers to different readers, or a number beyond any use; says
            what to write.
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in "-+.0123456789":
        return text
    if _WHOLE.fullmatch(text):
        digits = text.lstrip("-+")
        if digits[0] == "0" and digits != "0":
            raise ValueError(_leading_zero(text))
        return _whole(text, 10)
    if _HEXADECIMAL_OR_BINARY.fullmatch(text):
        return _whole(text, 0)
    if _OCTAL.fullmatch(text):
        raise ValueError(
            f"{shown(text)} is octal, which not every reader of YAML knows; write {int(text, 8)}"
        )
    if _REAL.fullmatch(text):
        number = float(text)
        if math.isinf(number):
            raise ValueError(f"{shown(text)} is too large a number; write a smaller one")
        return number
    return float(text.replace(".", "")) if _LIMIT.fullmatch(text) else text


def _whole(text: str, base: int) -> int:
    try:
        return int(text, base)
    except ValueError:  # Python reads so many digits and no more
        raise ValueError("no number that can be read; write a shorter one") from None


def _leading_zero(text: str) -> str:
    plain = re.sub(r"^([-+]?)[0_]+(?=[0-9])", r"\1", text)
    quoted = f'"{text}" in quotes for text'
    digits = text.replace("_", "")
    if len(text) > 20:
        return f"{shown(text)} begins with 0, which may mean octal; write it without"
    if re.fullmatch(r"[-+]?[0-7]+", digits):
        octal = int(digits, 8)
        return f"{shown(text)} may mean {plain} or, as octal, {octal}; write {plain} or {octal}, or {quoted}"
    return f"{shown(text)} begins with 0, as octal numbers do; write {plain}, or {quoted}"
