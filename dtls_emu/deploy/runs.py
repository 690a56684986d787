"""Runs: a lab on real namespaces, from `up` to `down`.

1. The plan is made, and the machine looked at, before anything is touched.
2. The run claims its name; each thing is written into its state, then made: folders with credentials,
   namespaces, cables, NICs, cards.
3. Whatever goes wrong on the way, an interrupt too, undoes what was made.
4. To end a run is to undo what its records say, in the opposite order: cards first, as they say goodbye; then
   whoever still runs in a namespace of the run; then interfaces, namespaces, folders. Any part may be gone, and
   any record damaged: then what the others say is undone. It needs no room on the disk.
5. What a change has to write is written, or has its room, before anything that runs is touched.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from dtls_emu.assembly.cards import issue_credentials
from dtls_emu.assembly.lab_document import compile_document
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
from dtls_emu.deploy.state import (
    RUNS,
    CardProcess,
    Folder,
    Interface,
    Namespace,
    RunFolder,
    RunState,
    boot_id,
    explained,
    has_namespace,
    require_root,
    run_names,
)
from dtls_emu.errors import RunError
from dtls_emu.host.loop.cached import loop_is_compiled
from dtls_emu.lab.compiling import compile_lab
from dtls_emu.machine.linux import TUN_PATH
from dtls_emu.machine.netns import namespace_path
from dtls_emu.machine.processes import end_processes, identify, processes_inside


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dtls_emu.deploy.plan import Plan
    from dtls_emu.lab import Lab, Topology

    Report = Callable[[str], object]
    """Called with a line about what happens now."""


__all__ = ["restart_card", "start_run", "stop_run"]

FIRST_START: Final = ": for the first time, so kernels are compiled, which takes half a minute"

_TUN: Final = Path(TUN_PATH)


def start_run(
    lab: Lab,
    run: str,
    *,
    encryption: Literal["on", "off"] = "on",
    backend: str | None = None,
    fast_path: Literal["auto", "off"] = "auto",
    report: Report = lambda _line: None,
    runs: Path = RUNS,
) -> RunState:
    """Bring a lab up. Returns when packets get through every card; then the run needs this process no more.

    Args:
        lab: validated. Its traffic is left out: real guests make their own.
        run: its name.
        encryption: off is the baseline.
        backend: cipher backend instead of the lab's.
        fast_path: off keeps compiled code from carrying packets.
        report: told what happens.
        runs: folder of all runs.

    Raises:
        RunError: it cannot be, and nothing of it is left.
        LabFileError: entries of the lab contradict each other.
    """
    topology = compile_lab(lab)
    plan = plan_run(topology, run, runs / run)
    _check_machine()
    document = lab.model_dump(mode="json", exclude_unset=True, exclude={"traffic"})
    state = RunState(
        run=run, boot=boot_id(), lab=document, encryption=encryption, backend=backend, fast_path=fast_path
    )
    with RunFolder.claim(run, runs) as folder:
        try:
            _check_names(plan)
            folder.write(state)
            _make(plan, topology, folder, report)
        except BaseException:
            report("undoing what was made")
            try:
                with _undisturbed():
                    _undo(folder)
            except RunError as error:
                report(f"{error}; `dtls-emu down {run}` tries again")
            raise
        return folder.known


def restart_card(run: str, host: str, *, runs: Path = RUNS) -> None:
    """Start the card of a host anew, with the lab as it is now. Its tunnels are built again.

    Raises:
        RunError: no such run or host; what the new card needs cannot be written, and the old one runs on; or the
            new one does not become ready.
    """
    require_root()
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


def stop_run(run: str, *, runs: Path = RUNS) -> list[str]:
    """End a run and remove what it made, however much of it is left.

    Returns:
        What was found not to be as it was left, a line each; and what records do not tell any more.

    Raises:
        RunError: no such run, or something cannot be removed; what is left is still in its records.
    """
    require_root()
    with RunFolder.open(run, runs, damaged=True) as folder, _undisturbed():
        return [*folder.damage, *_undo(folder)]


# ----------------------------------------------------------------------------------------------------- making


def _check_machine() -> None:
    require_root()
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
            f"run with `sudo dtls-emu down {owner}`"
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
    ours = {
        each.name: each
        for each in folder.known.of(Namespace)
        if same_boot and is_ours(each) and not _other_owner(each, folder)
    }
    left = end_processes(processes_inside({namespace_path(name).stat().st_ino for name in ours}))
    if left:
        raise RunError(f"processes do not end: {', '.join(str(process.pid) for process in left)}")
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


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no impatient Ctrl-C stop the body; signals belong to the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
