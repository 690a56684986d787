"""``dtls-emu up``: a lab on real namespaces and TUN devices, one card process for each host."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dtls_emu.cli.output import ForceOption, JsonOption, print_json
from dtls_emu.vocabulary import Keying


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.deploy.plan import Plan
    from dtls_emu.deploy.state import RunState
    from dtls_emu.lab import Lab, Topology
    from dtls_emu.lab.topology import Vm


__all__ = ["up"]


class FastPathMode(StrEnum):
    """Whether compiled code carries packets of known flows."""

    AUTO = "auto"
    OFF = "off"


class EncryptionMode(StrEnum):
    """Whether a run has DTLS."""

    ON = "on"
    OFF = "off"


FlowLogOption = Annotated[
    Path | None,
    typer.Option(
        help="Have every host write the flow logs of its VMs' interfaces to a new folder, as the cloud does: version 4, "
        "a record a minute, a blob an hour. `dtls-emu audit DIR` judges them.",
        metavar="DIR",
    ),
]


def up(
    lab: Annotated[str, typer.Argument(help="A lab file, or the name of a shipped lab.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be made, and make nothing; needs no root.")
    ] = False,
    encryption: Annotated[
        EncryptionMode, typer.Option(help="Off is the baseline: the same path without DTLS.")
    ] = EncryptionMode.ON,
    backend: Annotated[
        str, typer.Option(help="Cipher backend of every card, instead of the lab's.", metavar="NAME")
    ] = "",
    fast_path: Annotated[
        FastPathMode, typer.Option(help="Off: every packet through Python, for comparison.")
    ] = FastPathMode.AUTO,
    name: Annotated[
        str, typer.Option("--name", help="Name of the run; by default the lab's.", metavar="RUN")
    ] = "",
    flow_log: FlowLogOption = None,
    capture: Annotated[
        Path | None,
        typer.Option("--capture", metavar="FILE", help="Capture all of it, as pcapng, until it is down."),
    ] = None,
    no_secrets: Annotated[
        bool, typer.Option("--no-secrets", help="What an eavesdropper would have of it: for --capture.")
    ] = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Bring a lab up: a network namespace for each host and VM, cables, TUN devices, cards.

    It returns when packets get through. The lab then stays up until `dtls-emu down`. The lab's traffic is left
    out: use real programs, with `dtls-emu exec`.

    --capture writes everything that is seen anywhere, as `dtls-emu capture --live` does; while it does, Python carries
    all packets, so they are slower.

    Without root all of it is in a user, network and mount namespace of the run's own, where this user is root, and
    state and control sockets are below XDG_RUNTIME_DIR. Everybody must be allowed to open /dev/net/tun. Whether this
    machine allows it, and which setting forbids it, says `dtls-emu doctor`.
    """
    from dtls_emu.errors import DtlsEmuError
    from dtls_emu.lab import compile_lab, load_lab
    from dtls_emu.lab.model import check_name

    loaded = load_lab(lab)
    topology = compile_lab(loaded)
    try:
        run = check_name(name or loaded.name)
    except ValueError as error:
        raise DtlsEmuError(f"--name: {error}") from None
    _check_backend(backend)
    if capture is None and (no_secrets or force):
        raise DtlsEmuError("--no-secrets and --force are about a capture; name one with --capture FILE")
    if capture is not None:
        _check_capture(capture, lab, loaded, force=force, secrets=not no_secrets)
    if dry_run:
        _dry_run(topology, run, as_json=as_json)
        return
    from dtls_emu.deploy.runs import start_run
    from dtls_emu.paths import as_given

    state = start_run(
        loaded,
        run,
        encryption=encryption.value,
        backend=backend or None,
        fast_path=fast_path.value,
        flow_log=flow_log,
        report=_progress,
    )
    if capture is not None:
        from dtls_emu.cli.live_capture import capture_from_the_start

        capture_from_the_start(run, capture, force=force, opens=not no_secrets)
    if as_json:
        print_json(_document(state, topology))
        return
    typer.echo(
        f"{run} is up: {_count(len(topology.hosts), 'host')}, {_count(len(topology.vms), 'VM')}, "
        f"encryption {encryption}"
    )
    typer.echo("Next:")
    for command in _next_steps(topology, run):
        typer.echo(f"  {as_given(command)}")


def _dry_run(topology: Topology, run: str, *, as_json: bool) -> None:
    from dtls_emu.deploy.inside import must_enter
    from dtls_emu.deploy.plan import plan_run
    from dtls_emu.errors import RunError
    from dtls_emu.paths import RUNS, run_directory

    try:
        folder = run_directory(run)
    except RunError:  # there is no place for runs of this user; one may look at what root would have
        folder = RUNS / run
    plan = plan_run(topology, run, folder)
    if as_json:
        print_json(
            {"run": run, "folder": str(plan.folder), "steps": [_step_document(each) for each in plan.steps]}
        )
        return
    typer.echo(f"# {run}: state, credentials and control sockets are in {plan.folder}")
    if must_enter():
        typer.echo("# without root, in namespaces of its own: unshare --user --map-root-user --net --mount")
    for line in _commands(plan):
        typer.echo(line)


def _commands(plan: Plan) -> Iterator[str]:
    for step in plan.steps:
        yield from step.commands
    yield ""
    yield f"# dtls-emu down {plan.run}"
    for step in reversed(plan.steps):
        yield step.undo


def _step_document(step: Any) -> dict[str, Any]:
    fields = {key: _plain(value) for key, value in asdict(step).items()}
    return {"step": type(step).__name__, **fields, "commands": list(step.commands), "undo": step.undo}


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, bool | int) else str(value)


def _document(state: RunState, topology: Topology) -> dict[str, Any]:
    from dtls_emu.deploy.plan import NIC, namespace_name
    from dtls_emu.deploy.state import CardProcess

    return {
        "run": state.run,
        "lab": topology.name,
        "encryption": state.encryption,
        "hosts": {
            card.host: {
                "namespace": namespace_name(state.run, card.host),
                "pid": card.pid,
                "control_socket": str(card.socket),
            }
            for card in state.of(CardProcess)
        },
        "vms": {
            vm.name: {
                "host": vm.host,
                "namespace": namespace_name(state.run, vm.name),
                "device": NIC,
                "addresses": [str(address) for address in vm.addresses],
            }
            for vm in topology.vms.values()
        },
        "next": [f"dtls-emu {command}" for command in _next_steps(topology, state.run)],
    }


def _next_steps(topology: Topology, run: str) -> Iterator[str]:
    """What to try: a ping between two VMs that reach each other, over a tunnel where there are such."""
    if topology.profile.keying is Keying.BROKER:
        yield f"broker {run}"
    pairs = [
        (vm, other)
        for vm in topology.vms.values()
        for other in topology.vms.values()
        if other is not vm and topology.locate(vm.network, other.addresses[0]) is other
    ]
    if pairs:
        vm, other = min(pairs, key=lambda pair: _preference(topology, *pair))
        yield f"exec --run {run} {vm.name} -- ping -c 3 {other.addresses[0]}"
    yield f"status --run {run}"
    yield f"down {run}"


def _preference(topology: Topology, vm: Vm, other: Vm) -> tuple[bool, int]:
    """The less, the better: on two hosts, and both can be encrypted."""
    return vm.host == other.host, -_encrypts(topology, vm.name) - _encrypts(topology, other.name)


def _encrypts(topology: Topology, name: str) -> bool:
    vm = topology.vms[name]
    is_able = (
        vm.size_capable
        and vm.accelerated_networking
        and vm.restarted
        and vm.flow_table_ready
        and vm.discovery
    )
    return is_able and topology.networks[vm.network].encrypted and topology.hosts[vm.host].smartnic_present


def _check_capture(path: Path, name: str, lab: Lab, *, force: bool, secrets: bool) -> None:
    """Try the place of a capture before anything is made.

    Raises:
        DtlsEmuError: it cannot be written there.
    """
    from dtls_emu.cli.captures import STDOUT, CaptureTarget, refuse_inputs
    from dtls_emu.errors import DtlsEmuError

    if path == STDOUT:
        raise DtlsEmuError(
            "--capture - : `up` returns while the lab stays up; use dtls-emu capture --live RUN -o -"
        )
    refuse_inputs(name, lab, [("--capture", path)])
    CaptureTarget(path, force=force, secrets=secrets)


def _check_backend(name: str) -> None:
    from importlib.metadata import entry_points

    from dtls_emu.errors import DtlsEmuError
    from dtls_emu.lab.checks import BACKENDS
    from dtls_emu.lab.problems import suggest

    names = sorted(entry_points(group=BACKENDS).names)
    if name and name not in names:
        raise DtlsEmuError(f"--backend: no backend `{name}`; {suggest(name, names)}")


def _progress(line: str) -> None:
    typer.echo(f"{line} ...", err=True)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
