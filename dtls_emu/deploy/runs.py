"""Runs: a lab on real namespaces, from `up` to `down`.

1. The plan is made, and the machine looked at, before anything is touched.
2. The run claims its name; each thing is written into its state, then made: folders with credentials,
   namespaces, cables, NICs, cards.
3. Whatever goes wrong on the way, an interrupt too, undoes what was made.
4. To end a run is to undo what its records say, in the opposite order: cards first, as they say goodbye; then
   whoever still runs in a namespace of the run; then interfaces, namespaces, folders. Any part may be gone, and
   any record damaged: then what the others say is undone. It needs no room on the disk.
5. What a change has to write is written, or has its room, before anything that runs is touched.

An ordinary user has all of it in a user, mount and network namespace of the run's own, which a small process keeps
alive (:mod:`dtls_emu.machine.keeper`). It is made, and gone into, before anything else is made; to end the run is to
end every process in it, from outside, whatever has become of the keeper: with the last one goes all that they had.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from dtls_emu.assembly.cards import issue_credentials
from dtls_emu.assembly.lab_document import compile_document
from dtls_emu.deploy.inside import call_inside, must_enter, new_namespaces, undisturbed
from dtls_emu.deploy.launcher import (
    await_ready,
    last_words,
    said_before,
    start_card,
    stop_cards,
    write_config,
    write_credentials,
)
from dtls_emu.deploy.namespaces import (
    is_ours,
    join_hosts,
    make_namespace,
    make_nic,
    remove_interface,
    remove_namespace,
)
from dtls_emu.deploy.plan import (
    JoinHosts,
    MakeFolder,
    MakeNamespace,
    MakeNic,
    StartCard,
    namespace_name,
    plan_run,
)
from dtls_emu.deploy.queries import find_door
from dtls_emu.deploy.state import (
    CardProcess,
    Folder,
    Interface,
    Keeper,
    Namespace,
    RunFolder,
    RunState,
    boot_id,
    explained,
    has_namespace,
    read_state,
    run_names,
)
from dtls_emu.errors import RunError
from dtls_emu.files.json_blobs import BlobFolder
from dtls_emu.host.loop.cached import loop_is_compiled
from dtls_emu.lab.compiling import compile_lab
from dtls_emu.machine.keeper import KEEP
from dtls_emu.machine.linux import TUN_PATH
from dtls_emu.machine.netns import namespace_path
from dtls_emu.machine.processes import (
    end_processes,
    has_mount,
    identify,
    processes_inside,
    processes_with_mount,
)
from dtls_emu.machine.unsharing import mount_source
from dtls_emu.paths import as_given, runs_directory, usable_runs_directory


if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtls_emu.deploy.inside import Report
    from dtls_emu.deploy.plan import Plan
    from dtls_emu.lab import Lab, Topology
    from dtls_emu.machine.processes import ProcessId


__all__ = ["WITHOUT_ROOT", "make_run", "restart_card", "start_run", "stop_run"]

WITHOUT_ROOT: Final = "not root: making a user, network and mount namespace of the run's own"

FIRST_START: Final = ": for the first time, so kernels are compiled, which takes half a minute"

ROUNDS: Final = 10
"""Looks for processes in the namespaces of a run that is ended."""

_TUN: Final = Path(TUN_PATH)


def start_run(
    lab: Lab,
    run: str,
    *,
    encryption: Literal["on", "off"] = "on",
    backend: str | None = None,
    fast_path: Literal["auto", "off"] = "auto",
    flow_log: Path | None = None,
    report: Report = lambda _line: None,
    runs: Path | None = None,
) -> RunState:
    """Bring a lab up. Returns when packets get through every card; then the run needs this process no more.

    Who is not root has it in namespaces of its own, where the machine allows that.

    Args:
        lab: validated. Its traffic is left out: real guests make their own.
        run: its name.
        encryption: off is the baseline.
        backend: cipher backend instead of the lab's.
        fast_path: off keeps compiled code from carrying packets.
        flow_log: folder that every host writes its VMs' flow logs to; it is made.
        report: told what happens.
        runs: folder of all runs; None for the one that this user has.

    Raises:
        RunError: it cannot be, and nothing of it is left.
        LabFileError: entries of the lab contradict each other.
    """
    topology = compile_lab(lab)
    runs = runs or usable_runs_directory()
    plan_run(topology, run, runs / run)
    document = lab.model_dump(mode="json", exclude_unset=True, exclude={"traffic"})
    options: dict[str, Any] = {
        "encryption": encryption,
        "backend": backend,
        "fast_path": fast_path,
        "flow_log": None if flow_log is None else str(BlobFolder(flow_log).path.resolve()),
    }
    if not must_enter():
        return make_run(document, run, **options, report=report, runs=runs)
    RunFolder.refuse_taken(run, runs)
    report(WITHOUT_ROOT)
    with new_namespaces(runs / run) as keeper:
        pid, started = keeper.process
        record = {"kind": "keeper", "token": keeper.token, "pid": pid, "started": started}
        arguments = {"document": document, "run": run, **options, "keeper": record, "runs": str(runs)}
        call_inside(keeper.process, "start", arguments, report=report, leash=keeper.leash)
    state = read_state(runs / run)
    assert state is not None
    return state


def make_run(
    document: dict[str, Any],
    run: str,
    *,
    encryption: Literal["on", "off"],
    backend: str | None,
    fast_path: Literal["auto", "off"],
    flow_log: str | None = None,
    report: Report,
    runs: Path,
    keeper: Keeper | None = None,
    leash: int | None = None,
) -> RunState:
    """Bring a lab up where this process is root: on the machine, or in namespaces that somebody else keeps.

    Args:
        document: the lab, as JSON, without its traffic.
        run, encryption, backend, fast_path, flow_log, report, runs: as for :func:`start_run`.
        keeper: of the namespaces that this process is in, if they are the run's own.
        leash: file number that the keeper is told by that it has been recorded.

    Raises:
        RunError: it cannot be, and nothing of it is left.
        LabFileError: entries of the lab contradict each other.
    """
    topology = compile_document(document)
    plan = plan_run(topology, run, runs / run)
    _check_machine()
    state = RunState(
        run=run,
        boot=boot_id(),
        lab=document,
        encryption=encryption,
        backend=backend,
        fast_path=fast_path,
        flow_log=flow_log,
    )
    with RunFolder.claim(run, runs) as folder:
        try:
            _check_names(plan)
            folder.write(state)
            if keeper is not None and leash is not None:
                folder.add(keeper)
                os.write(leash, KEEP)
                os.close(leash)
            _make(plan, topology, folder, report)
        except BaseException:
            report("undoing what was made")
            try:
                with undisturbed():
                    _undo(folder)
            except RunError as error:
                report(f"{error}; `{as_given('down')} {run}` tries again")
            raise
        return folder.known


def restart_card(run: str, host: str, *, runs: Path | None = None) -> None:
    """Start the card of a host anew, with the lab as it is now. Its tunnels are built again.

    Raises:
        RunError: no such run or host; what the new card needs cannot be written, and the old one runs on; or the
            new one does not become ready.
    """
    runs = runs or runs_directory()
    if must_enter():
        with RunFolder.open(run, runs) as folder:
            door = find_door(folder.known)
        call_inside(door, "restart", {"run": run, "host": host, "runs": str(runs)})
        return
    with RunFolder.open(run, runs) as folder:
        cards = {card.host: card for card in folder.known.of(CardProcess)}
        if host not in cards:
            raise RunError(f"the run `{run}` has no host `{host}`; it has: {', '.join(cards) or 'none'}")
        topology = compile_document(folder.known.lab)
        config = write_config(folder.path / host, folder.known, topology, host, check=True)
        with folder.room():
            _refuse_left(stop_cards([cards[host]]))
            card = _start(cards[host], config, folder)
        await_ready([card], folder.path)


def stop_run(run: str, *, runs: Path | None = None) -> list[str]:
    """End a run and remove what it made, however much of it is left.

    Returns:
        What was found not to be as it was left, a line each; and what records do not tell any more.

    Raises:
        RunError: no such run, or something cannot be removed; what is left is still in its records.
    """
    with RunFolder.open(run, runs, damaged=True) as folder, undisturbed():
        return [*folder.damage, *_undo(folder)]


# ----------------------------------------------------------------------------------------------------- making


def _check_machine() -> None:
    if not _TUN.exists():
        raise RunError(f"there is no {_TUN}: modprobe tun; in a container, --device {_TUN}")


def _check_names(plan: Plan) -> None:
    for step in plan.steps:
        if isinstance(step, MakeNamespace) and namespace_path(step.name).exists():
            raise RunError(_why_taken(step.name, plan))


def _why_taken(namespace: str, plan: Plan) -> str:
    """Who has a namespace. It may be somebody's who is at work in it, so nobody is told to delete it."""
    owner = _owner(namespace, plan.folder.parent, but=plan.run)
    if owner:
        return (
            f"the run `{owner}` has a network namespace `{namespace}`; choose another name with --name, or end that "
            f"run with `{as_given('down')} {owner}`"
        )
    return (
        f"there is a network namespace `{namespace}` already; no run here has recorded it, so choose another name "
        "with --name"
    )


def _owner(namespace: str, runs: Path, *, but: str) -> str:
    """The other run that has recorded a namespace; empty when there is none."""
    others = (name for name in run_names(runs) if name != but)
    return next((name for name in others if has_namespace(runs / name, namespace)), "")


def _make(plan: Plan, topology: Topology, folder: RunFolder, report: Report) -> None:
    steps = plan.steps
    report("making certificates")
    _make_folders([each for each in steps if isinstance(each, MakeFolder)], topology, folder)
    report("making namespaces")
    for step in steps:
        if isinstance(step, MakeNamespace):
            _make_namespace(step, folder)
    report("laying cables")
    cables = [each for each in steps if isinstance(each, JoinHosts)]
    nics = [each for each in steps if isinstance(each, MakeNic)]
    folder.add(
        *(Interface(namespace=each.ends[0].namespace, name=each.ends[0].device) for each in cables),
        *(Interface(namespace=each.namespace, name=each.device) for each in nics),
    )
    for cable in cables:
        join_hosts(cable)
    for nic in nics:
        make_nic(nic)
    _start_all([each for each in steps if isinstance(each, StartCard)], topology, folder, report)


def _make_folders(steps: Sequence[MakeFolder], topology: Topology, folder: RunFolder) -> None:
    credentials = issue_credentials(topology, datetime.now(UTC))
    authorities = {topology.hosts[host].region: each.ca_certificate for host, each in credentials.items()}
    folder.add(*(Folder(path=step.path) for step in steps))
    for step in steps:
        write_credentials(step.path, credentials[step.host], authorities)


def _make_namespace(step: MakeNamespace, folder: RunFolder) -> None:
    made = Namespace(name=step.name)
    folder.add(made)
    try:
        inode = make_namespace(step)
    except FileExistsError:
        folder.strike(made)  # somebody else's
        raise RunError(f"somebody has just made a network namespace `{step.name}`") from None
    folder.replace(made, made.model_copy(update={"inode": inode}))


def _start_all(steps: Sequence[StartCard], topology: Topology, folder: RunFolder, report: Report) -> None:
    cards = [CardProcess(host=step.host, socket=step.socket) for step in steps]
    folder.add(*cards)
    # The first goes ahead where they would only be in each other's way: it compiles what the others then load.
    compiled = loop_is_compiled()
    ahead = len(cards) if compiled and len(cards) <= (os.cpu_count() or 1) else 1
    for part in filter(None, (cards[:ahead], cards[ahead:])):
        note = FIRST_START if not compiled and part[0] is cards[0] else ""
        report(f"starting the cards of {', '.join(card.host for card in part)}{note}")
        configs = [write_config(folder.path / card.host, folder.known, topology, card.host) for card in part]
        await_ready([_start(*each, folder) for each in zip(part, configs, strict=True)], folder.path)


def _start(card: CardProcess, config: Path, folder: RunFolder) -> CardProcess:
    """Start a card, and return it with its identity."""
    new = CardProcess(host=card.host, socket=card.socket, said=said_before(folder.path, card.host))
    process = identify(start_card(config, namespace_name(folder.run, card.host)))
    if process is None:
        raise RunError(f"the card of {card.host} has ended: {last_words(folder.path, new)}")
    known = new.model_copy(update={"pid": process.pid, "started": process.started})
    folder.replace(card, known)
    return known


# ---------------------------------------------------------------------------------------------------- undoing


def _undo(folder: RunFolder) -> list[str]:
    """Remove what the state says, kind by kind, and strike it out; then the folder.

    Returns:
        What was found not to be as it was left.

    Raises:
        RunError: something cannot be removed.
    """
    if folder.state is None:  # its command was killed before it made anything
        folder.remove()
        return []
    notes: list[str] = []
    same_boot = folder.known.boot == boot_id()
    cards = folder.known.of(CardProcess)
    _refuse_left(stop_cards(cards if same_boot else [_forgotten(card) for card in cards]))
    if folder.known.of(Keeper) or must_enter():  # what has its names where this process is, is others'
        notes += _end_namespaces(folder)
        cards = []
    ours = {
        each.name: each
        for each in folder.known.of(Namespace)
        if same_boot and is_ours(each) and not _other_owner(each, folder)
    }
    _refuse_processes(end_processes(processes_inside({namespace_path(name).stat().st_ino for name in ours})))
    folder.strike(*cards)

    interfaces = folder.known.of(Interface)
    for interface in reversed(interfaces):
        if interface.namespace in ours:
            remove_interface(interface)
    folder.strike(*interfaces)

    namespaces = folder.known.of(Namespace)
    for namespace in reversed(namespaces):
        if owner := _other_owner(namespace, folder):
            notes.append(f"{namespace_path(namespace.name)} is the run `{owner}`'s by now")
        else:
            notes += filter(None, [remove_namespace(namespace, same_boot=same_boot)])
    folder.strike(*namespaces)

    for made in reversed(folder.known.of(Folder)):
        notes += filter(None, [_remove_folder(made, folder)])
    folder.remove()
    return notes


def _end_namespaces(folder: RunFolder) -> list[str]:
    """End every process in the namespaces of the run's own; everything in them goes with the last one.

    Of a run that an ordinary user has brought up in namespaces that he has made himself, nothing but the cards is known
    here: the rest goes when he lets go of them.

    Returns:
        Why they are still there: this process is in them itself.

    Raises:
        RunError: one does not end.
    """
    keepers: list[Keeper] = folder.known.of(Keeper)
    sources = [mount_source(each.token) for each in keepers]
    for _ in range(ROUNDS):  # one that was about to fork leaves another behind
        found = [process for source in sources for process in processes_with_mount(source)]
        if not found:
            break
        _refuse_processes(end_processes(found))
    for keeper in keepers:
        if keeper.pid is not None:
            with suppress(ChildProcessError):  # it is one only of the program that has started it
                os.waitpid(keeper.pid, os.WNOHANG)
    folder.strike(
        *folder.known.of(CardProcess),
        *folder.known.of(Interface),
        *folder.known.of(Namespace),
        *keepers,
    )
    is_inside = any(map(has_mount, sources))
    return ["its namespaces go when the program ends from which this was given"] if is_inside else []


def _refuse_processes(left: Sequence[ProcessId]) -> None:
    if left:
        raise RunError(f"processes do not end: {', '.join(str(process.pid) for process in left)}")


def _other_owner(made: Namespace, folder: RunFolder) -> str:
    """The run that has a namespace whose identity this one had not come to write down."""
    return "" if made.inode is not None else _owner(made.name, folder.path.parent, but=folder.run)


def _remove_folder(made: Folder, folder: RunFolder) -> str:
    """Remove a folder of a host, and nothing that a symbolic link in it leads to.

    Returns:
        Why it was not as it was left; empty when it was, or is gone.
    """
    note = ""
    with explained(made.path):
        if made.path.is_symlink():
            made.path.unlink()
            note = f"{made.path} is a symbolic link by now; what it leads to is left as it is"
        else:
            with suppress(FileNotFoundError):
                shutil.rmtree(made.path)
    folder.strike(made)
    return note


def _forgotten(card: CardProcess) -> CardProcess:
    """A card whose process number means nothing any more; its socket is still there."""
    return card.model_copy(update={"pid": None, "started": None})


def _refuse_left(cards: Sequence[CardProcess]) -> None:
    if cards:
        raise RunError(
            f"cards do not end: {', '.join(f'{card.host} (process {card.pid})' for card in cards)}"
        )
