"""The ends of a group of pairs in words: some names, how many more, and where they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final


if TYPE_CHECKING:
    from dtls_emu.whatif.answer.answer import Answer
    from dtls_emu.whatif.answer.ends import End


__all__ = ["Party", "party_of"]

SHOWN: Final = 3
"""Names that are said; of more, how many there are."""

KEPT: Final = 20
"""Names that JSON has."""


@dataclass(frozen=True, slots=True)
class Party:
    """One side of a group of pairs.

    Fields:
        names: of endpoints, `KEPT` at most; a scale set and a node pool have one.
        named: how many names there are; count: of endpoints.
        networks: names, `KEPT` at most; network_count: of networks.
    """

    names: tuple[str, ...]
    named: int
    count: int
    networks: tuple[str, ...]
    network_count: int

    def __str__(self) -> str:
        more = f" ({self.count:,} in all)" if self.count != self.named else ""
        return f"{_some(self.names, self.named)}{more} in {_some(self.networks, self.network_count)}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "endpoints": self.count,
            "names": list(self.names),
            "networks": list(self.networks),
            "network_count": self.network_count,
        }


def party_of(members: set[tuple[End, str]], answer: Answer) -> Party:
    """The endpoints of one side of a group."""
    networks = answer.estate.networks
    cohorts = [answer.census.by_network[network][end] for end, network in members]
    cohorts.sort(key=lambda cohort: (networks[cohort.network].name, cohort.names[0]))
    names: list[str] = []
    for cohort in cohorts:
        if len(names) >= KEPT:
            break
        names += cohort.names[: KEPT - len(names)]
    where = list(dict.fromkeys(networks[cohort.network].name for cohort in cohorts))
    named = sum(len(cohort.names) for cohort in cohorts)
    return Party(
        tuple(names), named, sum(cohort.count for cohort in cohorts), tuple(where[:KEPT]), len(where)
    )


def _some(names: tuple[str, ...], count: int) -> str:
    more = count - min(SHOWN, len(names))
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
