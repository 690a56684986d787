"""Cards that are modelled from published figures: nothing of them was measured here, and whatever shows them says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


__all__ = ["CARD_MODELS", "CardModel"]


@dataclass(frozen=True, slots=True)
class CardModel:
    """What is published of one.

    Fields:
        name: of the preset.
        summary: what it is.
        mean, p99, p999: of a TCP ping between two VMs, in seconds: both cards, both directions, the network and the guests'
            stacks are in it.
        rate: bit/s of one TCP connection.
        host_share: share of a host's CPU that it is said to take at that rate; None: not said.
        source: where it is said, and how sure that is.
    """

    name: str
    summary: str
    mean: float
    p99: float
    p999: float
    rate: float
    host_share: float | None
    source: str


_SOURCE: Final = (
    "Firestone et al., Azure Accelerated Networking: SmartNICs in the Public Cloud, NSDI 2018, as summaries of the paper "
    "report it; a million sequential 4-byte TCP pings, and one TCP connection at MTU 1500"
)

CARD_MODELS: Final[dict[str, CardModel]] = {
    model.name: model
    for model in (
        CardModel(
            "accelnet-2018",
            "an FPGA SmartNIC that carries known flows",
            17e-6,
            25e-6,
            80e-6,
            31e9,
            0.0,
            _SOURCE,
        ),
        CardModel(
            "software-vswitch-2018",
            "the host's tuned software switch, without a SmartNIC",
            50e-6,
            100e-6,
            300e-6,
            5e9,
            None,
            _SOURCE,
        ),
    )
}
"""By name."""
