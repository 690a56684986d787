"""The whole benchmark as one call: each suite in turn, conclusions, everything down."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dtls_emu import __version__
from dtls_emu.crypto.registry import available, load
from dtls_emu.errors import DtlsEmuError
from dtls_emu.lab.compiling import compile_lab
from dtls_emu.lab.loader import load_lab
from dtls_emu.lab.schema import Lab
from dtls_emu.machine.environment import environment
from dtls_emu.measure.arms import encrypted_pair, impairments, path_mtu
from dtls_emu.measure.machine import cpu_times, frequency_governor, load_average, pressure
from dtls_emu.measure.records.base import Stopped
from dtls_emu.measure.result import BackendState, End, Load, Result, Start
from dtls_emu.measure.suites.registry import chosen_suites
from dtls_emu.measure.suites.suite import Bench


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dtls_emu.crypto.backend import Backend
    from dtls_emu.measure.plan import Plan
    from dtls_emu.measure.records.base import Record
    from dtls_emu.measure.suites.suite import Suite
    from dtls_emu.progress import Progress


__all__ = ["benchmark"]

LOOK_S: Final = 0.25
"""How long the machine is looked at before and after a run."""


def benchmark(
    lab: Lab | str | Path,
    plan: Plan,
    progress: Progress | None = None,
    *,
    told: Callable[[str, Record], object] | None = None,
    command: Sequence[str] = (),
) -> Result:
    """Run a benchmark on the first encrypted pair of VMs of a lab.

    Ctrl-C ends it cleanly; the result is of what was measured until then.

    Args:
        lab: validated; or a path, or the name of a shipped lab.
        plan: what to measure.
        progress: told of every step; None: nobody is.
        told: of every trial as soon as it is measured, with the name of its suite; None: nobody is.
        command: the command line, for the result.

    Raises:
        LabFileError: the lab is wrong.
        DtlsEmuError: a suite of the plan is not there, the lab has no encrypted pair or impairs its link, or the two hosts cannot be set up.
        BackendUnavailableError: a backend that the plan names cannot work here.
        AccountingError: a packet is unaccounted for, or arrived altered; the run is void.
    """
    suites = chosen_suites(plan.suites)
    topology = compile_lab(lab if isinstance(lab, Lab) else load_lab(lab))
    pair = encrypted_pair(topology)
    plan = replace(plan, path_mtu=path_mtu(topology, pair))
    left_out = impairments(topology, pair)
    if left_out and not plan.perfect_link:
        raise DtlsEmuError(
            f"lab {topology.name} impairs the link between {pair.sender.host} and {pair.receiver.host} "
            f"({', '.join(left_out)}), which a benchmark does not do; --perfect-link measures without that"
        )
    states = _backend_states(plan)
    backends = tuple(state.name for state in states if state.available)
    started, before, busy = datetime.now(UTC), cpu_times(), _look()
    sections: list[Any] = []
    skipped: dict[str, str] = {}
    with Bench(topology, pair, plan, backends, progress or _nobody) as bench:
        stopped = _measure(bench, suites, sections, skipped, told or _ignore)
        start = Start(
            started=started,
            version=__version__,
            command=list(command),
            lab=topology.name,
            lab_source="" if isinstance(lab, Lab) else str(lab),
            sender=f"{pair.sender.name} on {pair.sender.host}",
            receiver=f"{pair.receiver.name} on {pair.receiver.host}",
            not_of_the_lab=left_out,
            plan=plan,
            backends=states,
            offloads=bench.offloads,
            cores=bench.cores,
            load=busy,
            environment=environment() | {"governor": frequency_governor()},
        )
    by_name = {suite.name: suite for suite in suites}
    return Result(
        start=start,
        sections=sections,
        end=End(
            finished=datetime.now(UTC),
            stopped=stopped,
            load=_look(),
            stolen_share=cpu_times().stolen_since(before),
            skipped=skipped,
            reading=[by_name[section.suite].reading(section, start) for section in sections],
        ),
    )


def _measure(
    bench: Bench,
    suites: Sequence[Suite[Any]],
    sections: list[Any],
    skipped: dict[str, str],
    told: Callable[[str, Record], object],
) -> Stopped:
    """Every suite in turn, each for its part of the time that is left."""
    deadline = time.monotonic() + bench.plan.budget_s
    stopped = Stopped.COMPLETE
    for number, suite in enumerate(suites):
        reason = _why_not(suite, bench)
        if reason:
            skipped[suite.name] = reason
            continue
        weight = suite.weight / sum(each.weight for each in suites[number:])
        bench.seconds = max(0.0, deadline - time.monotonic()) * weight
        bench.told = partial(told, suite.name)
        try:
            section = suite.run(bench)
        except KeyboardInterrupt:  # between what is measured, where nothing else looks after it
            section, stopped = None, Stopped.INTERRUPTED
            if not sections:
                raise
        if section is None:
            return Stopped.INTERRUPTED
        sections.append(section)
        if section.stopped is Stopped.INTERRUPTED:
            return Stopped.INTERRUPTED
        if section.stopped is not Stopped.COMPLETE:
            stopped = section.stopped
    return stopped


def _why_not(suite: Suite[Any], bench: Bench) -> str:
    """Why a suite cannot be measured; empty when it can."""
    if suite.needs_backend and not bench.backends:
        return "no cipher backend is available"
    if not suite.extent(bench.plan).paths:
        return "it cannot be measured on the chosen paths, or at the chosen sizes"
    return ""


def _look() -> Load:
    before = pressure()
    if before is not None:
        time.sleep(LOOK_S)
    after = pressure()
    share = after.share_since(before) if before and after else None
    return Load(load_average=load_average(), pressure_share=share)


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


def _nobody(done: int, total: int, what: str) -> None:
    pass


def _ignore(suite: str, trial: Record) -> None:
    pass
