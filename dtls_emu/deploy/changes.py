"""Changes of a running lab: its state first, then what each card is told; or one card, by its control socket.

See :mod:`dtls_emu.assembly.targets` for what can be named, and how.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dtls_emu.assembly.lab_document import changed, compile_document, differences
from dtls_emu.assembly.put import values_of_put
from dtls_emu.assembly.targets import Change, parse_words, plan_changes
from dtls_emu.deploy.inside import call_inside, must_enter
from dtls_emu.deploy.namespaces import set_mtu
from dtls_emu.deploy.plan import cable_device, cable_mtu, namespace_name
from dtls_emu.deploy.queries import find_door, hosts_by_hand, readable_states
from dtls_emu.deploy.state import CardProcess, RunFolder, nothing_is_up
from dtls_emu.errors import LabFileError, RunError
from dtls_emu.host.control.client import ControlError, ask
from dtls_emu.paths import runs_directory


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from dtls_emu.lab import Topology


__all__ = ["change_host", "change_run", "find_run"]


def change_run(
    run: str, target: str, words: Sequence[str], *, put: Any = None, runs: Path | None = None
) -> list[Change]:
    """Change a running lab: its state first, then every card, then cables whose MTU it is about.

    Args:
        run: its name.
        target: what is changed; see :mod:`dtls_emu.assembly.targets`.
        words: ``key=value``; none with ``put``.
        put: the body of a PUT of a virtual network, instead of words.
        runs: where runs are.

    Raises:
        RunError: no such run or target, it cannot be changed while it runs, the state cannot be written, and nothing
            is changed; or a card did not take it.
        LabFileError: the lab would be wrong.
    """
    runs = runs or runs_directory()
    if must_enter():
        with RunFolder.open(run, runs) as folder:
            door = find_door(folder.known)
        arguments = {"run": run, "target": target, "words": list(words), "put": put, "runs": str(runs)}
        return [Change(tuple(each["path"]), each["value"]) for each in call_inside(door, "change", arguments)]
    with RunFolder.open(run, runs) as folder:
        state = folder.known
        before = compile_document(state.lab)
        changes = plan_changes(state.lab, target, _values(words, put))
        document = state.lab
        for change in changes:
            document = changed(document, change.path, change.value)
        after = compile_document(document)
        fixed = differences(before, after)
        if fixed:
            raise RunError(
                f"{', '.join(sorted(fixed))}: not while it is up; `down`, change the lab file, and `up` again"
            )
        cables = _changed_cables(run, before, after)
        new = state.model_copy(update={"lab": document})
        with folder.room(new):
            # A cable is never smaller than what the cards think that it carries.
            _set_mtus(each for each in cables if each.after > each.before)
            folder.write(new)
        refused = [*_tell(state.of(CardProcess), changes)]
        _set_mtus(each for each in cables if each.after < each.before)
        if refused:
            raise RunError(
                f"the lab is changed, but {'; '.join(refused)}. A card that is started anew has the lab as it is now"
            )
        return changes


def change_host(socket: Path | str, target: str, words: Sequence[str], *, put: Any = None) -> list[Change]:
    """Change the lab of one card, whoever started it: no other card is told, and nothing is written down.

    Args:
        socket: the card's control socket.
        target, words, put: as for a run.

    Raises:
        ControlError: nobody answers there, there is no such target, or it cannot be changed while it is up.
        LabFileError: the lab would be wrong.
        RunError: a word is no assignment, or its value cannot be read.
    """
    try:
        answer = ask(socket, "change", target=target, values=_values(words, put))
    except ControlError as error:
        if error.problems:
            raise LabFileError(list(error.problems)) from error
        raise
    return [Change(tuple(each["path"]), each["value"]) for each in answer["changes"]]


def _values(words: Sequence[str], put: Any) -> dict[str, Any]:
    return parse_words(words) if put is None else values_of_put(put)


def find_run(target: str, runs: Path | None = None) -> str:
    """The run that a target is in, when none is named.

    Raises:
        RunError: none has it, or several.
    """
    found: list[str] = []
    refusals: list[str] = []
    states, damaged = readable_states(runs)
    for run, state in states.items():
        try:
            plan_changes(state.lab, target, {})
        except RunError as error:
            refusals.append(str(error))
        else:
            found.append(run)
    if len(found) > 1:
        raise RunError(f"several runs have `{target}`; write --run {' or --run '.join(found)}")
    if not found:
        said = refusals[:1] or [nothing_is_up(), *_by_hand(runs)]
        raise RunError("; ".join((*said, *damaged.values())))
    return found[0]


def _by_hand(runs: Path | None) -> Iterable[str]:
    for socket in hosts_by_hand(runs):
        yield f"a host that was started by hand is told with --socket {shlex.quote(str(socket))}"


@dataclass(frozen=True, slots=True)
class _Cable:
    """A cable with another MTU: its ends as namespace and device."""

    ends: tuple[tuple[str, str], tuple[str, str]]
    before: int
    after: int


def _changed_cables(run: str, before: Topology, after: Topology) -> list[_Cable]:
    hosts = list(after.hosts)
    cables = [
        _Cable(
            (
                (namespace_name(run, one), cable_device(other)),
                (namespace_name(run, other), cable_device(one)),
            ),
            cable_mtu(before, one, other),
            cable_mtu(after, one, other),
        )
        for index, one in enumerate(hosts)
        for other in hosts[index + 1 :]
    ]
    return [cable for cable in cables if cable.before != cable.after]


def _set_mtus(cables: Iterable[_Cable]) -> None:
    for cable in cables:
        for namespace, device in cable.ends:
            set_mtu(namespace, device, cable.after)


def _tell(cards: Iterable[CardProcess], changes: Iterable[Change]) -> Iterable[str]:
    """Tell every card; yield what those say that do not take it."""
    for card in cards:
        if card.socket.is_symlink():
            yield f"the card of {card.host} was not told: {card.socket} is a symbolic link"
            continue
        try:
            for change in changes:
                ask(card.socket, "set", path=change.path, value=change.value)
        except ControlError as error:
            yield f"the card of {card.host} did not take it: {'; '.join((str(error), *error.problems))}"
