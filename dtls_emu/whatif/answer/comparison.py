"""Two answers beside each other: what changes for whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dtls_emu.vocabulary import EndpointKind
from dtls_emu.whatif.answer.ruling import Fate


if TYPE_CHECKING:
    from dtls_emu.whatif.answer.answer import Answer
    from dtls_emu.whatif.answer.ends import End


__all__ = ["Comparison", "compare_answers"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is different.

    Fields:
        totals: of each fate that occurs, pairs before and after.
        changes: of each endpoint that something changes for: its name and network, and the fates of its pairs before
            and after, in words.
        things: networks whose encryption changes, and things that break or no longer do: name, before, after.
    """

    totals: tuple[tuple[Fate, int, int], ...]
    changes: tuple[tuple[str, str, str], ...]
    things: tuple[tuple[str, str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "totals": {str(fate): {"before": one, "after": other} for fate, one, other in self.totals},
            "changes": [{"who": who, "before": one, "after": other} for who, one, other in self.changes],
            "things": [{"what": what, "before": one, "after": other} for what, one, other in self.things],
        }


def compare_answers(before: Answer, after: Answer) -> Comparison:
    """What is different between two answers. Endpoints and networks are matched by name."""
    totals = tuple(
        (fate, one, other)
        for fate in Fate
        if (one := before.pairs.total(fate)) + (other := after.pairs.total(fate))
    )
    old, new = _by_endpoint(before), _by_endpoint(after)
    changes = [
        (who, old.get(who, "not there"), new.get(who, "not there"))
        for who in sorted({*old, *new})
        if old.get(who) != new.get(who)
    ]
    return Comparison(
        totals,
        tuple(changes),
        (*_networks(before, after), *_restarts(before, after), *_breakages(before, after)),
    )


def _by_endpoint(answer: Answer) -> dict[str, str]:
    """Of each endpoint, the fates of its pairs in words; endpoints that are alike share them."""
    fates: dict[tuple[End, str], set[str]] = {}
    for group in answer.pairs.groups:
        for end, network in (*group.firsts, *group.seconds):
            fates.setdefault((end, network), set()).add(str(group.ruling.fate))
    order = [str(fate) for fate in Fate]
    found = {}
    for network, cohorts in answer.census.by_network.items():
        for end, cohort in cohorts.items():
            said = sorted(fates.get((end, network), ()), key=order.index)
            for name in cohort.names:
                found[f"{name} in {answer.estate.networks[network].name}"] = ", ".join(said) or "no pairs"
    return found


def _networks(before: Answer, after: Answer) -> list[tuple[str, str, str]]:
    old, new = _states(before), _states(after)
    return [
        (f"network {name}", old.get(name, "not there"), new.get(name, "not there"))
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def _restarts(before: Answer, after: Answer) -> list[tuple[str, str, str]]:
    """VMs of networks that become encrypted, which existing ones are only once they were stopped and started."""
    if not after.question.behaviour.restart_required:
        return []
    old, new = _states(before), _states(after)
    counts: dict[str, int] = {}
    for endpoint in after.estate.endpoints.values():
        network = after.estate.networks[endpoint.network].name if endpoint.network else ""
        becomes = new.get(network, "").startswith("encrypted") and not old.get(network, "").startswith(
            "encrypted"
        )
        if endpoint.kind is EndpointKind.VM and becomes and network in old:
            counts[network] = counts.get(network, 0) + (1 if endpoint.count is None else endpoint.count)
    return [
        (f"VMs of network {name}", "as they are", f"{count} to be stopped (deallocated) and started")
        for name, count in sorted(counts.items())
    ]


def _states(answer: Answer) -> dict[str, str]:
    found = {}
    for network in answer.estate.networks.values():
        state = answer.states[network.id]
        word = {True: "encrypted", False: "not encrypted", None: "unknown"}[state.encrypted]
        found[network.name] = f"{word}, drops unencrypted" if state.drops else word
    return found


def _breakages(before: Answer, after: Answer) -> list[tuple[str, str, str]]:
    old, new = (
        {f"{each.what} in {each.network}": each.why for each in answer.breakages}
        for answer in (before, after)
    )
    return [
        (what, old.get(what, "works"), new.get(what, "works"))
        for what in sorted({*old, *new})
        if old.get(what) != new.get(what)
    ]
