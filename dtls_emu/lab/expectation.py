"""What a traffic item is expected to come to."""

import re
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from dtls_emu.lab.model import LabModel
from dtls_emu.lab.problems import shown
from dtls_emu.vocabulary import DropReason, FlowEncryption, Verdict


__all__ = ["Amount", "Expect"]


@dataclass(frozen=True, slots=True)
class Amount:
    """How many packets are expected: a number, a range, or all that were offered.

    Fields:
        low, high: the range, both included; ``high`` None means no limit. Not meant when ``everything``.
        everything: exactly as many as were offered.
    """

    low: int = 0
    high: int | None = None
    everything: bool = False

    def holds(self, actual: int, offered: int) -> bool:
        """True when ``actual`` packets out of ``offered`` are as expected."""
        if self.everything:
            return actual == offered
        return self.low <= actual and (self.high is None or actual <= self.high)

    def __str__(self) -> str:
        """As in the lab file."""
        if self.everything:
            return "all"
        if self.low == self.high:
            return str(self.low)
        return f"{self.low}..{'' if self.high is None else self.high}"


_RANGE: Final = r"(\d+)\.\.(\d*)"


def _parse_amount(value: object) -> Amount:
    if isinstance(value, Amount):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Amount(value, value)
    if value == "all":
        return Amount(everything=True)
    match = re.fullmatch(_RANGE, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(
            f"{shown(value)} is no number of packets; write one such as 10, a range 8..10 or 8.., or all"
        )
    low, high = int(match[1]), int(match[2]) if match[2] else None
    if high is not None and high < low:
        raise ValueError(f"the range {shown(value)} is upside down; write {high}..{low}")
    return Amount(low, high)


def _write_amount(amount: Amount) -> str | int:
    return amount.low if amount.low == amount.high and not amount.everything else str(amount)


AmountField = Annotated[
    Amount,
    BeforeValidator(_parse_amount),
    PlainSerializer(_write_amount, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"const": "all"},
                {"type": "string", "pattern": f"^{_RANGE}$"},
            ],
            "examples": [10, "8..10", "1..", "all"],
        }
    ),
]


class Expect(LabModel):
    """What must come out. Only what is written is checked; `dtls-emu run` exits 0 only when all of it holds."""

    verdict: Verdict | None = Field(
        default=None,
        description="What the policy decides for every packet, and for every answer to one, at the time when it is "
        "sent: with `encrypt` none may go in clear.",
    )
    encryption: FlowEncryption | None = Field(
        default=None,
        description="Flow-log code of every packet, and of every answer to one, at the time when it is sent. A dropped fragment has none.",
    )
    delivered: AmountField | None = Field(
        default=None,
        description="How many of the packets reach their destination, the internet included: a number, a range "
        "such as `8..10`, or `all`. Answers are not counted; copies that links make are, where they are not dropped as "
        "replayed, but none stands for a packet that is lost. For `bulk`, `all` means that every byte arrives.",
    )
    dropped: dict[DropReason, AmountField] | None = Field(
        default=None,
        description="How many of the packets are dropped, by reason. A reason that is not named must not "
        "occur; `{}` means that nothing is dropped.",
    )
    answered: AmountField | None = Field(
        default=None,
        description="How many echo replies come back to the sender. Only for `ping`.",
    )
