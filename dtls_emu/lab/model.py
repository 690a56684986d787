"""What every model of the lab file has in common."""

import re
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StrictBool,
    StrictInt,
    WithJsonSchema,
)

from dtls_emu.lab.problems import shown


__all__ = ["LabModel", "Name", "Switch", "Whole", "check_name"]

_NAME: Final = r"[a-z]([a-z0-9-]*[a-z0-9])?"
_MAX_NAME: Final = 63

_WORDS: Final = {"yes": True, "on": True, "no": False, "off": False}


class LabModel(BaseModel):
    """A part of the lab file: unknown keys are refused, and it never changes after validation."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        # YAML says `from`, which Python cannot; the loader turns the Python spelling off.
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


def check_name(name: str) -> str:
    """A name as it is.

    Raises:
        ValueError: not a name; says what to write.
    """
    if not re.fullmatch(_NAME, name) or len(name) > _MAX_NAME:
        raise ValueError(
            f"{shown(name)} is no name; write lower-case letters, digits and hyphens, starting with a letter, "
            f"such as vm-1 (at most {_MAX_NAME})"
        )
    return name


Name = Annotated[
    str,
    AfterValidator(check_name),
    WithJsonSchema({"type": "string", "pattern": f"^{_NAME}$", "maxLength": _MAX_NAME}),
]
"""A DNS label (RFC 1123 2.1) in lower case: names become certificate names, namespaces and pods."""


def _parse_switch(value: object) -> object:
    return _WORDS.get(value.lower(), value) if isinstance(value, str) else value


Switch = Annotated[StrictBool, BeforeValidator(_parse_switch)]
"""True or false; or, as YAML 1.1 had it, yes, no, on or off, which are text where no switch is meant."""

Whole = StrictInt
"""A whole number; `true` is none."""
