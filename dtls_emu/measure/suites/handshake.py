"""What a new association costs, beside what pyOpenSSL alone needs for it: paired, in random order."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from dtls_emu.measure.handshakes import CardHandshakeTestbed
from dtls_emu.measure.plan import BenchPath, Extent
from dtls_emu.measure.records.base import Better, Figure, Stopped
from dtls_emu.measure.records.handshake import HandshakeSection, HandshakeTrial
from dtls_emu.measure.statistics import median_ratio, verdict_of
from dtls_emu.measure.suites.suite import Suite, preferred
from dtls_emu.measure.tables import Table, as_interval, as_ratio, in_words


if TYPE_CHECKING:
    from collections.abc import Callable

    from dtls_emu.measure.handshakes import HandshakeTestbed
    from dtls_emu.measure.plan import Plan
    from dtls_emu.measure.records.base import Record
    from dtls_emu.measure.result import Start
    from dtls_emu.measure.suites.suite import Bench
    from dtls_emu.progress import Progress


__all__ = ["HANDSHAKE_S", "WARM_UP", "Handshake", "run_handshakes"]

HANDSHAKE_S: Final = 0.001
"""About what one takes: a trial has as many as fit into its length."""

WARM_UP: Final = 2
"""Discarded trials."""


class Handshake(Suite[HandshakeSection]):
    """See the module."""

    name = "handshake"
    document = "own: CPU time of both ends beside pyOpenSSL with the same contexts, paired"
    question = "What does a new association cost, and an idle one hold?"
    section = HandshakeSection
    weight: ClassVar[float] = 0.5

    def extent(self, plan: Plan) -> Extent:
        """In memory, whatever paths are chosen."""
        return Extent((BenchPath.MEMORY,), (), plan.rounds or (7 if plan.quick else 25), plan.trial_s or 0.1)

    def run(self, bench: Bench) -> HandshakeSection | None:
        """See :class:`~dtls_emu.measure.suites.suite.Suite`."""
        backend = preferred(bench.backends)
        assert backend is not None  # or the suite is skipped
        testbed = CardHandshakeTestbed(bench.topology, bench.pair, backend)
        return run_handshakes(
            testbed,
            self.extent(bench.plan),
            bench.progress,
            seed=bench.plan.seed,
            seconds=bench.seconds,
            told=bench.told,
        )

    def tables(self, section: HandshakeSection, start: Start) -> list[Table]:
        """One row. CPU time is that of both ends, memory that of one."""
        memory = section.idle_tunnel_bytes
        row = (
            f"{section.cpu_ms:.2f} ms",
            f"{section.per_second:,.0f}/s",
            f"{section.bare_cpu_ms:.2f} ms",
            as_ratio(section.ratio),
            as_interval(section.ratio),
            as_interval(section.noise),
            "not measured" if memory is None else f"{memory / 1_000:.0f} KB",
        )
        columns = (
            ">CPU, both ends",
            ">on a core",
            ">pyOpenSSL",
            ">ratio",
            ">95 % interval",
            ">pyOpenSSL over itself",
            ">idle tunnel",
        )
        return [Table(f"Handshakes, {section.backend}", columns, [row])]

    def reading(self, section: HandshakeSection, start: Start) -> str:
        """Of both ends together."""
        return (
            f"A handshake costs {section.cpu_ms:.2f} ms of CPU at both ends together, "
            f"{in_words(section.ratio, verdict_of(section.ratio), 'times what pyOpenSSL alone takes').removesuffix(',')}."
        )


def run_handshakes(
    testbed: HandshakeTestbed,
    extent: Extent,
    progress: Progress,
    *,
    seed: int,
    seconds: float,
    told: Callable[[Record], object] = lambda _: None,
) -> HandshakeSection | None:
    """Measure handshakes. Ctrl-C keeps the rounds that were finished; None: there are none.

    Args:
        testbed: what is measured.
        extent: its rounds and trial length count here.
        progress: told of every round.
        seed: of the order.
        seconds: no new round begins after so many.
        told: of every round, as soon as it is measured.
    """
    rng = random.Random(seed)
    batch = max(1, round(extent.trial_s / HANDSHAKE_S))
    trials: list[HandshakeTrial] = []
    memory: int | None = None
    stopped = Stopped.COMPLETE
    total = extent.rounds + 1
    deadline = time.monotonic() + seconds
    try:
        progress(0, total, "handshakes: warm-up, and memory of idle tunnels")
        memory = testbed.idle_bytes()
        for _ in range(WARM_UP):
            testbed.shake_hands(batch)
            testbed.shake_bare_hands(batch)
        for number in range(extent.rounds):
            if trials and time.monotonic() >= deadline:
                stopped = Stopped.BUDGET
                break
            progress(number + 1, total, f"round {number + 1} of {extent.rounds}: handshakes")
            trials.append(_round(testbed, number, batch, rng))
            told(trials[-1])
        else:
            progress(total, total, "done")
    except KeyboardInterrupt:
        stopped = Stopped.INTERRUPTED
    return _conclude(testbed.backend, trials, batch, memory, extent, stopped) if trials else None


def _round(testbed: HandshakeTestbed, number: int, batch: int, rng: random.Random) -> HandshakeTrial:
    """Ours, theirs and theirs again, in random order."""
    order = rng.sample(("ours", "bare", "again"), 3)
    cost = {
        arm: (testbed.shake_hands if arm == "ours" else testbed.shake_bare_hands)(batch) / batch
        for arm in order
    }
    return HandshakeTrial(
        round=number,
        ours_first=order.index("ours") < order.index("bare"),
        cpu_s=cost["ours"],
        bare_cpu_s=cost["bare"],
        bare_again_cpu_s=cost["again"],
    )


def _conclude(
    backend: str,
    trials: list[HandshakeTrial],
    batch: int,
    memory: int | None,
    extent: Extent,
    stopped: Stopped,
) -> HandshakeSection:
    cpu_s = float(np.median([trial.cpu_s for trial in trials]))
    bare = [trial.bare_cpu_s for trial in trials]
    ratio = median_ratio([trial.cpu_s for trial in trials], bare)
    figure = Figure(
        cell={"arm": backend},
        metric="handshake",
        unit="of pyOpenSSL",
        better=Better.LOWER,
        relative=True,
        samples=[trial.cpu_s / trial.bare_cpu_s for trial in trials],
        estimate=ratio,
    )
    return HandshakeSection(
        document=Handshake.document,
        extent=extent,
        stopped=stopped,
        figures=[figure],
        backend=backend,
        trials=trials,
        handshakes=len(trials) * batch,
        cpu_ms=cpu_s * 1e3,
        per_second=1 / cpu_s,
        bare_cpu_ms=float(np.median(bare)) * 1e3,
        ratio=ratio,
        noise=median_ratio([trial.bare_again_cpu_s for trial in trials], bare),
        idle_tunnel_bytes=memory,
    )
