"""An answer as JSON, for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dtls_emu.whatif.answer.answer import reason_of, said_of
from dtls_emu.whatif.answer.ruling import Fate
from dtls_emu.whatif.model.build import READ_KINDS
from dtls_emu.whatif.report.parties import party_of


if TYPE_CHECKING:
    from dtls_emu.whatif.answer.answer import Answer
    from dtls_emu.whatif.answer.pairs import PairGroup


__all__ = ["FORMAT", "as_json"]

FORMAT: Final = 1
"""Version of this JSON: a key that changes its meaning raises it."""


def as_json(answer: Answer) -> dict[str, Any]:
    """The whole answer."""
    question, estate = answer.question, answer.estate
    return {
        "format": FORMAT,
        "question": {
            "enable": list(question.enable) if isinstance(question.enable, tuple) else question.enable,
            "enforcement": question.enforcement,
            "profile": question.profile,
            "tags": list(question.tags),
        },
        "totals": {str(fate): answer.pairs.total(fate) for fate in Fate},
        "pairs": [group_as_dict(each, answer) for each in answer.pairs.groups],
        "breakages": [
            {
                "what": each.what,
                "network": each.network,
                "why": each.why,
                "certain": each.certain,
                "basis": each.basis,
                "source": each.source,
                "place": None if each.place is None else str(each.place),
            }
            for each in answer.breakages
        ],
        "actions": [
            {
                "remedy": str(each.remedy),
                "text": each.text,
                "vms": each.count,
                "at_least": each.open_ended,
                "names": list(each.names),
                "networks": list(each.networks),
                "pairs": each.pairs,
                "basis": each.basis,
                "source": each.source,
            }
            for each in answer.actions
        ],
        "advice": [{"text": each.text, "pairs": each.pairs} for each in answer.advice],
        "remarks": [
            {"text": each.text, "basis": each.basis, "source": each.source} for each in answer.remarks
        ],
        "unresolved": [
            {"what": each.what, "why": each.why, "place": str(each.place), "matters": each.matters}
            for each in estate.doubts
        ],
        "networks": [
            {
                "name": each.name,
                "region": each.region,
                "in_files": each.declared,
                "encrypted_before": answer.states[each.id].was,
                "encrypted": answer.states[each.id].encrypted,
                "drops_unencrypted": answer.states[each.id].drops,
                "endpoints": sum(cohort.count for cohort in answer.census.by_network[each.id].values()),
            }
            for each in estate.networks.values()
        ],
        "resources": {
            kind: {"count": count, "read": kind in READ_KINDS} for kind, count in estate.counts.items()
        },
    }


def group_as_dict(group: PairGroup, answer: Answer) -> dict[str, Any]:
    """One group of pairs."""
    basis, source = said_of(group)
    row = group.ruling.row
    return {
        "fate": str(group.ruling.fate),
        "row": None if row is None else row.number,
        "row_name": None if row is None else row.name,
        "code": None if row is None else row.code,
        "pairs": group.pairs,
        "at_least": group.open_ended,
        "first": {"what": group.first, **party_of(group.firsts, answer).as_dict()},
        "second": {"what": group.second, **party_of(group.seconds, answer).as_dict()},
        "reason": reason_of(group),
        "remedies": sorted({str(cause.remedy) for cause in group.causes}),
        "routes": sorted(group.routes),
        "tags": sorted(group.tags),
        "basis": basis,
        "source": source,
    }
