"""What is asked: which networks are to be encrypted, how strictly, under which profile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dtls_emu.errors import DtlsEmuError
from dtls_emu.lab.problems import suggest
from dtls_emu.lab.profiles import PROFILES
from dtls_emu.vocabulary import Enforcement


if TYPE_CHECKING:
    from dtls_emu.lab.profiles import Profile
    from dtls_emu.whatif.model.estate import Estate, Network


__all__ = ["ALL", "WRITTEN", "NetworkState", "Question", "QuestionError", "states_of"]

ALL: Final = "all"
WRITTEN: Final = "written"
"""Which networks are encrypted: every one; or those of which the files say so."""


class QuestionError(DtlsEmuError):
    """The question makes no sense for these files. Says what to ask instead."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Fields:
        enable: ALL, WRITTEN, or names of networks that are encrypted besides those of which the files say so.
        enforcement: of every encrypted network; None: as the files say, AllowUnencrypted where they say nothing.
        profile: name of a behaviour profile.
        tags: `key` or `key=value`, in lower case: endpoints with one are counted apart.
    """

    enable: str | tuple[str, ...] = ALL
    enforcement: Enforcement | None = None
    profile: str = "current"
    tags: tuple[str, ...] = ()

    @property
    def behaviour(self) -> Profile:
        """The profile.

        Raises:
            QuestionError: there is none of that name.
        """
        if self.profile not in PROFILES:
            raise QuestionError(f"no profile `{self.profile}`; {suggest(self.profile, PROFILES)}")
        return PROFILES[self.profile]


@dataclass(frozen=True, slots=True)
class NetworkState:
    """What a network is like before and after; None where that is not known.

    Fields:
        was, encrypted: whether encryption is enabled, before and after.
        drops: afterwards, what cannot be encrypted is dropped.
    """

    was: bool | None
    encrypted: bool | None
    drops: bool | None


def states_of(estate: Estate, question: Question) -> dict[str, NetworkState]:
    """The state of each network, by id.

    Raises:
        QuestionError: a network is named that is not there.
    """
    wanted = _wanted(estate, question)
    return {
        network.id: _state(network, question, network.id in wanted) for network in estate.networks.values()
    }


def _wanted(estate: Estate, question: Question) -> frozenset[str]:
    declared = [each for each in estate.networks.values() if each.declared]
    if question.enable == ALL:
        return frozenset(each.id for each in declared)
    if isinstance(question.enable, str):
        return frozenset()
    found: set[str] = set()
    for name in question.enable:
        same = [each.id for each in declared if name.lower() in {each.name.lower(), each.id}]
        if not same:
            raise QuestionError(
                f"no virtual network `{name}` in these files; {suggest(name, [each.name for each in declared])}"
            )
        found.update(same)
    return frozenset(found)


def _state(network: Network, question: Question, wanted: bool) -> NetworkState:
    encrypted = True if wanted else network.encrypted
    enforcement = question.enforcement or network.enforcement
    if encrypted is False:
        return NetworkState(network.encrypted, encrypted=False, drops=False)
    drops = enforcement is Enforcement.DROP_UNENCRYPTED
    if not network.declared and question.enforcement is None and network.enforcement is None:
        return NetworkState(network.encrypted, encrypted, None)
    return NetworkState(network.encrypted, encrypted, drops)
