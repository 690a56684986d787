"""The whole answer to one question about one estate."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dtls_emu.lab.endpoint_kinds import ENDPOINTS
from dtls_emu.lab.schema import DROP_FEATURE
from dtls_emu.vocabulary import Basis, EndpointKind
from dtls_emu.whatif.answer.actions import find_actions
from dtls_emu.whatif.answer.breakage import find_breakages
from dtls_emu.whatif.answer.cohorts import take_census
from dtls_emu.whatif.answer.ends import Remedy, source_of
from dtls_emu.whatif.answer.pairs import count_pairs
from dtls_emu.whatif.answer.question import states_of
from dtls_emu.whatif.answer.ruling import Fate
from dtls_emu.whatif.answer.ways import find_ways
from dtls_emu.whatif.answer.zones import Zones


if TYPE_CHECKING:
    from dtls_emu.lab.profiles import Profile
    from dtls_emu.whatif.answer.actions import Action
    from dtls_emu.whatif.answer.breakage import Breakage
    from dtls_emu.whatif.answer.cohorts import Census
    from dtls_emu.whatif.answer.pairs import PairGroup, Pairs
    from dtls_emu.whatif.answer.question import NetworkState, Question
    from dtls_emu.whatif.answer.ways import Ways
    from dtls_emu.whatif.model.estate import Estate, Network


__all__ = ["Advice", "Answer", "Remark", "answer", "reason_of", "said_of"]

USUAL_MTU: Final = 1500

USUAL_GROUP: Final = 250
LARGEST_GROUP: Final = 5000
"""Networks of a connected group: as it is, and with the feature for more ("Limitations with Azure Virtual Network
Manager")."""


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that is true whatever the pairs are, with how sure it is and where it is said."""

    text: str
    basis: str
    source: str


@dataclass(frozen=True, slots=True)
class Advice:
    """Something worth doing.

    Fields:
        text: what.
        pairs: that it is about.
    """

    text: str
    pairs: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What happens.

    Fields:
        estate, question: that were asked about.
        states: of each network, by id.
        census, ways, pairs: endpoints that are alike, how networks are joined, and what becomes of pairs.
        breakages: what breaks; actions: what has to be done to VMs.
        remarks: on MTU, enforcement and the files.
        advice: in the order of worth.
    """

    estate: Estate
    question: Question
    states: dict[str, NetworkState]
    census: Census
    ways: Ways
    pairs: Pairs
    breakages: tuple[Breakage, ...]
    actions: tuple[Action, ...]
    remarks: tuple[Remark, ...]
    advice: tuple[Advice, ...]


def answer(estate: Estate, question: Question) -> Answer:
    """Answer a question.

    Raises:
        QuestionError: it makes no sense for this estate.
    """
    profile = question.behaviour
    states = states_of(estate, question)
    census = take_census(estate, states, question, profile)
    ways = find_ways(estate)
    pairs = count_pairs(census, ways, profile)
    breakages = find_breakages(estate, states, census, profile)
    actions = find_actions(estate, states, pairs, profile)
    return Answer(
        estate,
        question,
        states,
        census,
        ways,
        pairs,
        tuple(breakages),
        tuple(actions),
        tuple(_remarks(estate, states, ways, pairs, profile)),
        tuple(_advice(pairs, breakages, actions, drops=any(each.drops for each in states.values()))),
    )


def reason_of(group: PairGroup) -> str:
    """Why that becomes of these pairs, in words."""
    if group.causes:
        why = "; ".join(cause.text for cause in group.causes)
        return f"{why}; the other end has reasons of its own" if group.both else why
    if group.ruling.row is None:
        return "what the files leave open decides"
    if group.ruling.fate is Fate.ENCRYPTED and any(route.startswith("through ") for route in group.routes):
        return "each leg is encrypted by itself; what is on the way sees it in clear"
    if group.ruling.row.number == 7:
        return "loses connectivity in an encrypted network"
    if group.ruling.row.number == 6:
        return "reachable, never encrypted"
    return group.ruling.row.condition


def said_of(group: PairGroup) -> tuple[str, str]:
    """How sure that is, and where it is said: of the kind of endpoint, where that decides, else of the row."""
    row = group.ruling.row
    if row is None:
        return "", ""
    if row.number in {6, 7} and group.kind is not EndpointKind.VM:
        return source_of(group.kind)
    return str(row.basis), row.source


# ------------------------------------------------------------------------------------------------------ remarks


def _remarks(
    estate: Estate, states: dict[str, NetworkState], ways: Ways, pairs: Pairs, profile: Profile
) -> list[Remark]:
    found = [*_about_mtu(estate, states)]
    if profile.drop_needs_feature and any(state.drops and state.encrypted for state in states.values()):
        found.append(
            Remark(
                f"DropUnencrypted is not generally available: a subscription needs the feature {DROP_FEATURE} (spelled "
                "so), or the deployment is refused",
                str(Basis.DOC),
                "verified module's example; overview: AllowUnencrypted is the only supported enforcement",
            )
        )
    if pairs.total(Fate.ENCRYPTED):
        found.append(
            Remark(
                "two VMs that happen to live on one host are not encrypted, by design (NX_LOCAL_DST); which do, no "
                "file says",
                str(Basis.DOC),
                "flow logs: destination is on the same host",
            )
        )
    taken = (
        [
            each.name
            for each in estate.endpoints.values()
            if each.kind is EndpointKind.VM
            and each.network
            and each.restarted is None
            and states[each.network].was
        ]
        if profile.restart_required
        else []
    )
    if taken:
        found.append(
            Remark(
                f"{_some(taken)}: taken to have been stopped and started since encryption was enabled, which no such file "
                "says; one that was not is not encrypted",
                str(Basis.DOC),
                "overview: start and stop of existing VMs is required",
            )
        )
    unwritten = [each.name for each in _unwritten(estate, states)]
    if unwritten:
        found.append(
            Remark(
                f"write `encryption` into the files of {_some(unwritten)}: a deployment without it turns encryption off",
                str(Basis.REP),
                "issue of the Terraform provider: a PUT without encryption parameters is taken as a disable",
            )
        )
    if any(span.route.startswith("connected group") for span in ways.spans):
        found.append(
            Remark(
                "connected groups are taken like peerings: what encryption means for them is not documented",
                str(Basis.INF),
                "not documented by the vendor",
            )
        )
    denying = _denying(estate)
    if denying:
        found.append(
            Remark(
                f"{_some(denying)}: what these rules deny is counted here as what it would be if it were allowed",
                str(Basis.DOC),
                "flow logs: a rule is asked before encryption is",
            )
        )
    large = [group for group in estate.groups if len(group.networks) > USUAL_GROUP]
    found += [
        Remark(
            f"connected group {group.name} has {len(group.networks):,} networks: above {USUAL_GROUP} a subscription needs "
            f"the feature AllowHighScaleConnectedGroup, and {LARGEST_GROUP:,} are the most",
            str(Basis.DOC),
            "network manager, limitations",
        )
        for group in large
    ]
    found += [Remark(text, str(Basis.INF), "the files") for text in ways.remarks]
    return found


def _denying(estate: Estate) -> list[str]:
    """Rules that deny every protocol and port between prefixes, where they are too many to be looked at."""
    if Zones(estate).told_apart:
        return []
    rules = [each.rule for each in estate.admin_rules]
    rules += [rule for group in estate.security.values() for rule in group]
    names = [f"rule {rule.name}" for rule in rules if rule.everything and not rule.allow]
    return list(dict.fromkeys(names))


def _about_mtu(estate: Estate, states: dict[str, NetworkState]) -> list[Remark]:
    inside = (
        [
            each
            for each in estate.endpoints.values()
            if each.kind is EndpointKind.VM and each.network and states[each.network].encrypted is not False
        ]
        if estate.endpoints
        else []
    )
    if not inside:
        return []
    jumbo = [each for each in inside if each.mtu is not None and each.mtu > USUAL_MTU]
    source = "FAQ since 2025: use an MTU of 1500; packets that exceed it are dropped, not fragmented"
    if jumbo:
        return [
            Remark(
                f"{_some([each.name for each in jumbo])}: MTU above {USUAL_MTU}; what exceeds it between encrypted "
                f"networks is dropped. Set {USUAL_MTU} inside",
                str(Basis.EXC),
                source,
            )
        ]
    if all(each.mtu is not None for each in inside):
        return []
    return [
        Remark(
            f"the MTU inside the VMs is in no such file: look for VMs with more than {USUAL_MTU}, and for UDP that is "
            "sent in fragments; both are dropped between encrypted networks",
            str(Basis.EXC),
            source,
        )
    ]


def _unwritten(estate: Estate, states: dict[str, NetworkState]) -> list[Network]:
    return [
        each
        for each in estate.networks.values()
        if each.declared and each.encrypted is False and states[each.id].encrypted
    ]


def _some(names: list[str]) -> str:
    """At most three names, and how many more there are."""
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")


# ------------------------------------------------------------------------------------------------------- advice


def _advice(pairs: Pairs, breakages: list[Breakage], actions: list[Action], *, drops: bool) -> list[Advice]:
    """Before the change what would break; then what is worth the most pairs; last what no VM can help."""
    found = [
        Advice(f"before anything else, replace or move {each.what} in {each.network}: it {each.why}", 0)
        for each in [one for one in breakages if one.certain][:_MOST]
    ]
    for action in sorted(actions, key=lambda one: (one.remedy is Remedy.RESTART, -one.pairs)):
        text = f"{action.text}: {_vms(action)} ({_some(list(action.names))})"
        if action.remedy is Remedy.RESTART and action.pairs:
            text += f"; until then these pairs are {'dropped' if drops else 'in clear'}"
        found.append(Advice(text, action.pairs))
    apart: Counter[EndpointKind] = Counter()
    for group in pairs.groups:
        if group.ruling.fate is Fate.CLEAR and group.ruling.row is not None and group.ruling.row.number == 6:
            apart[group.kind] += group.pairs
    found += [
        Advice(f"use TLS to and from {_plural(kind)}: what they carry stays in clear", count)
        for kind, count in apart.most_common()
    ]
    if pairs.total(Fate.ENCRYPTED):
        text = "afterwards, look at field 9 of the flow logs: only X is encrypted, whatever is configured"
        found.append(Advice(text, pairs.total(Fate.ENCRYPTED)))
    return found


def _plural(kind: EndpointKind) -> str:
    return f"every {ENDPOINTS[kind].title}"


_MOST: Final = 20
"""Breakages that advice repeats."""


def _vms(action: Action) -> str:
    more = "at least " if action.open_ended else ""
    return f"{more}{action.count} VM{'' if action.count == 1 else 's'}"
