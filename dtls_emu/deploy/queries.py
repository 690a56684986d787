"""What there is: runs, in which state, where their VMs are, and what was left over. Changes nothing."""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from dtls_emu.deploy.launcher import process_of
from dtls_emu.deploy.plan import namespace_name
from dtls_emu.deploy.state import (
    CardProcess,
    Folder,
    Interface,
    Keeper,
    Namespace,
    boot_id,
    no_such_run,
    nothing_is_up,
    read_state,
    run_names,
    started_by_hand,
    unreadable,
)
from dtls_emu.errors import RunError
from dtls_emu.lab.problems import suggest
from dtls_emu.machine.processes import ProcessId, is_alive
from dtls_emu.paths import as_given, runs_directory


if TYPE_CHECKING:
    from pathlib import Path

    from dtls_emu.deploy.state import RunState


__all__ = [
    "Place",
    "RunCondition",
    "RunSummary",
    "find_door",
    "find_place",
    "hosts_by_hand",
    "only_run",
    "readable_states",
    "summaries",
]


class RunCondition(StrEnum):
    """What a run is doing."""

    UP = "up"
    IMPAIRED = "impaired"  # some cards are not running
    BUSY = "busy"  # a command is at work on it
    DEAD = "dead"  # no card is running: left over
    UNREADABLE = "unreadable"  # its state is none of this version


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in short.

    Fields:
        run: its name.
        condition: see :class:`RunCondition`.
        made: what `down` would remove, as words with their number, such as ``4 namespaces``.
        stopped: hosts whose card is not running.
    """

    run: str
    condition: RunCondition
    made: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a VM or host is.

    Fields:
        run: its run.
        namespace: the name of its namespace.
    """

    run: str
    namespace: str


def summaries(runs: Path | None = None) -> list[RunSummary]:
    """All runs that have a folder.

    Raises:
        RunError: the folder of runs may not be read.
    """
    runs = runs or runs_directory()
    return [_summary(runs / run) for run in run_names(runs)]


def hosts_by_hand(runs: Path | None = None) -> list[Path]:
    """The control sockets of hosts beside runs, that were started by hand and live.

    Raises:
        RunError: the folder of runs may not be read.
    """
    runs = runs or runs_directory()
    try:
        return [socket for folder in sorted(runs.iterdir()) for socket in started_by_hand(folder)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unreadable(error, runs) from error


def only_run(runs: Path | None = None) -> str:
    """The run that is meant when none is named.

    Raises:
        RunError: there is none, or there are several.
    """
    names = run_names(runs)
    if not names:
        raise RunError(nothing_is_up())
    if len(names) > 1:
        raise RunError(f"several runs are up; name one: {', '.join(names)}")
    return names[0]


def find_place(name: str, run: str | None = None, runs: Path | None = None) -> Place:
    """Where the VM or the host of this name is, in one run or in whichever has it.

    Raises:
        RunError: nowhere, or in several runs.
    """
    runs = runs or runs_directory()
    if run is None:
        states, damaged = readable_states(runs)
    elif run in run_names(runs):
        state = read_state(runs / run)
        states, damaged = {} if state is None else {run: state}, {}
    else:
        raise no_such_run(run, runs)
    found: list[Place] = []
    known: set[str] = set()
    for each, state in states.items():
        names = {*state.lab["vms"], *state.lab.get("endpoints", ()), *state.lab["hosts"]}
        known |= names
        if name in names:
            found.append(Place(each, namespace_name(each, name)))
    if len(found) > 1:
        choices = " or ".join(f"--run {place.run}" for place in found)
        raise RunError(f"several runs have `{name}`; write {choices}")
    if not found:
        said = f"no VM or host `{name}` is up; {suggest(name, sorted(known))}" if known else nothing_is_up()
        raise RunError("; ".join((said, *damaged.values())))
    return found[0]


def find_door(state: RunState) -> ProcessId:
    """A process through which an ordinary user gets into the namespaces of a run: the keeper's, or else a card's.

    Raises:
        RunError: there is none: they are gone, or were made by other means.
    """
    keepers = state.of(Keeper)
    if not keepers:
        raise RunError(
            f"the run `{state.run}` is not in namespaces of its own that can be entered from here: give the command "
            "where `up` was given"
        )
    if state.boot == boot_id():
        for each in (*keepers, *state.of(CardProcess)):
            if each.pid is not None and each.started is not None:
                process = ProcessId(each.pid, each.started)
                if is_alive(process):
                    return process
    raise RunError(
        f"the namespaces of the run `{state.run}` are gone: the process that kept them has ended, and so have its cards; "
        f"`{as_given('down')} {state.run}`, then `up` again"
    )


def readable_states(runs: Path | None = None) -> tuple[dict[str, RunState], dict[str, str]]:
    """The states of all runs that have one, by name; and of those that are damaged, what is wrong and what to do.

    One damaged run is no obstacle to work on the others.

    Raises:
        RunError: the folder of runs may not be read.
    """
    runs = runs or runs_directory()
    states: dict[str, RunState] = {}
    damaged: dict[str, str] = {}
    for run in run_names(runs):
        try:
            state = read_state(runs / run)
        except RunError as error:
            damaged[run] = f"the run `{run}` cannot be read: {error}"
        else:
            states |= {} if state is None else {run: state}
    return states, damaged


def _summary(folder: Path) -> RunSummary:
    try:
        if _is_locked(folder):
            return RunSummary(folder.name, RunCondition.BUSY)
        state = read_state(folder)
    except RunError as error:
        return RunSummary(folder.name, RunCondition.UNREADABLE, (str(error),))
    if state is None:
        return RunSummary(folder.name, RunCondition.DEAD, (str(folder),))
    cards = state.of(CardProcess)
    same_boot = state.boot == boot_id()
    stopped = tuple(card.host for card in cards if not same_boot or process_of(card) is None)
    if len(stopped) == len(cards):
        condition = RunCondition.DEAD
    else:
        condition = RunCondition.IMPAIRED if stopped else RunCondition.UP
    return RunSummary(folder.name, condition, _counted(state), stopped)


def _counted(state: RunState) -> tuple[str, ...]:
    count = Counter(type(each) for each in state.made)
    nouns = (
        (Namespace, "namespace"),
        (Interface, "interface"),
        (CardProcess, "card"),
        (Folder, "folder"),
        (Keeper, "keeper"),
    )
    return tuple(f"{count[kind]} {noun}{'s' * (count[kind] != 1)}" for kind, noun in nouns if count[kind])


def _is_locked(folder: Path) -> bool:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise RunError(f"{folder}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
