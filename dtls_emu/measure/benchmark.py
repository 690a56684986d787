"""The whole benchmark as one call: cards and processes up, trials, fragments, handshakes, conclusions, everything down."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from dtls_emu import __version__
from dtls_emu.crypto.registry import available, load
from dtls_emu.lab.compiling import compile_lab
from dtls_emu.lab.loader import load_lab
from dtls_emu.lab.schema import Lab
from dtls_emu.machine.environment import environment
from dtls_emu.measure.arms import encrypted_pair
from dtls_emu.measure.fragments import run_fragments
from dtls_emu.measure.handshakes import CardHandshakeTestbed, run_handshakes
from dtls_emu.measure.machine import cpu_times, load_average
from dtls_emu.measure.memory import MemoryTestbed
from dtls_emu.measure.mixes import CardFragmentTestbed
from dtls_emu.measure.plan import PLAIN, PLAIN_AGAIN, BenchPath
from dtls_emu.measure.report import PREFERRED_BACKENDS
from dtls_emu.measure.result import BackendState, OffloadState, Start
from dtls_emu.measure.summary import conclude
from dtls_emu.measure.trials import Stopped, run_trials
from dtls_emu.measure.udp import UdpTestbed


if TYPE_CHECKING:
    from pathlib import Path

    from dtls_emu.crypto.backend import Backend
    from dtls_emu.lab.topology import Topology
    from dtls_emu.measure.arms import Pair
    from dtls_emu.measure.fragments import FragmentRun
    from dtls_emu.measure.handshakes import HandshakeRun
    from dtls_emu.measure.plan import Plan
    from dtls_emu.measure.result import Result
    from dtls_emu.measure.trials import Testbed, TrialRun
    from dtls_emu.progress import Progress


__all__ = ["benchmark"]

FRAGMENT_SIZE: Final = 1_400
"""Of every packet of the fragment mixes: what a VM sends that fills its MTU."""


def benchmark(lab: Lab | str | Path, plan: Plan, progress: Progress | None = None) -> Result:
    """Run a benchmark on the first encrypted pair of VMs of a lab.

    Ctrl-C ends it cleanly; the result is of what was measured until then.

    Args:
        lab: validated; or a path, or the name of a shipped lab.
        plan: what to measure.
        progress: told of every step; None: nobody is.

    Raises:
        LabFileError: the lab is wrong.
        DtlsEmuError: the lab has no encrypted pair, or the two hosts cannot be set up.
        BackendUnavailableError: a backend that the plan names cannot work here.
        AccountingError: a packet is unaccounted for, or arrived altered; the run is void.
    """
    tell = progress or _nobody
    topology = compile_lab(lab if isinstance(lab, Lab) else load_lab(lab))
    pair = encrypted_pair(topology)
    states = _backend_states(plan)
    backends = tuple(state.name for state in states if state.available)
    arms = (PLAIN, PLAIN_AGAIN, *backends)
    before = cpu_times()
    run: TrialRun | None = None
    fragment_run: FragmentRun | None = None
    handshake_run: HandshakeRun | None = None
    try:
        with ExitStack() as stack:
            beds = _Testbeds({}, {}, {})
            for path in plan.paths:
                tell(0, 1, f"setting up {path}")
                _set_up(path, topology, pair, arms, beds, stack)
            start = Start(
                started=datetime.now(UTC),
                version=__version__,
                lab=topology.name,
                sender=f"{pair.sender.name} on {pair.sender.host}",
                receiver=f"{pair.receiver.name} on {pair.receiver.host}",
                plan=plan,
                backends=states,
                offloads=beds.offloads,
                cores=beds.cores,
                load_average=load_average(),
                environment=environment(),
            )
            run = run_trials(plan, backends, beds.by_path, tell)
        backend = _preferred(backends)
        if backend and run.stopped is not Stopped.INTERRUPTED:
            fragment_testbed = CardFragmentTestbed(topology, pair, backend, FRAGMENT_SIZE, plan.seed)
            fragment_run = run_fragments(fragment_testbed, plan, backend, FRAGMENT_SIZE, tell)
            if fragment_run.stopped is not Stopped.INTERRUPTED:
                handshake_run = run_handshakes(CardHandshakeTestbed(topology, pair, backend), plan, tell)
    except KeyboardInterrupt:  # between what is measured, where nothing else looks after it
        if run is None:
            raise
        run = replace(run, stopped=Stopped.INTERRUPTED)
    return conclude(
        start,
        run,
        fragment_run,
        backends,
        handshake_run=handshake_run,
        stolen_share=cpu_times().stolen_since(before),
    )


@dataclass(frozen=True, slots=True)
class _Testbeds:
    """What was set up, by path."""

    by_path: dict[BenchPath, Testbed]
    offloads: dict[BenchPath, dict[str, OffloadState]]
    cores: dict[str, int | None]


def _set_up(
    path: BenchPath, topology: Topology, pair: Pair, arms: tuple[str, ...], beds: _Testbeds, stack: ExitStack
) -> None:
    if path is BenchPath.MEMORY:
        beds.by_path[path] = MemoryTestbed(topology, pair, arms)
        return
    bed = stack.enter_context(UdpTestbed(topology, pair, arms, offload=path is BenchPath.UDP))
    beds.by_path[path] = bed
    beds.cores.update(bed.cores)
    beds.offloads[path] = {
        name: OffloadState(on=offload["state"] == "on", reason=offload["reason"])
        for name, offload in bed.offloads.items()
    }


def _backend_states(plan: Plan) -> list[BackendState]:
    """What was found of every backend; those that the plan does not name are left out, those it names must work."""
    if plan.backends:
        found = [(name, load(name)) for name in plan.backends]
        return [_state(name, backend) for name, backend in found]
    return [_state(name, backend) for name, backend in available()]


def _state(name: str, backend: Backend | str) -> BackendState:
    if isinstance(backend, str):
        return BackendState(name=name, available=False, protects=None, detail=backend)
    return BackendState(name=name, available=True, protects=backend.protects, detail=backend.detail)


def _preferred(backends: tuple[str, ...]) -> str | None:
    """The fastest backend that was measured, for what is measured with one; None when there was none."""
    order = [*(name for name in PREFERRED_BACKENDS if name in backends), *backends]
    return order[0] if order else None


def _nobody(done: int, total: int, what: str) -> None:
    pass
