"""Two results, figure by figure: is one faster, slower, or can nobody tell? And how often the answer is a false alarm.

Figures are compared as ratios to plain of the same run, from which the machine's speed cancels; and of several starts of
each run, where there are (``--repeat``), since starts differ by more than rounds do. A verdict rests on the bound of an
interval, never on its middle, and is corrected for the number of figures (Holm).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import stats

from dtls_emu.errors import DtlsEmuError
from dtls_emu.measure.plan import PLAIN_AGAIN
from dtls_emu.measure.records.base import Better
from dtls_emu.measure.statistics import (
    CONFIDENCE,
    FEWEST_FOR_INTERVAL,
    FEWEST_STARTS,
    Estimate,
    shift_ratio,
    starts_ratio,
)


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dtls_emu.measure.records.base import Figure
    from dtls_emu.measure.result import Result


__all__ = [
    "FASTER",
    "SLOWER",
    "UNRESOLVED",
    "Compared",
    "FalseAlarms",
    "compare",
    "differences",
    "false_alarms",
]

FASTER: Final = "faster"
SLOWER: Final = "slower"
UNRESOLVED: Final = "not resolvable"

SPLITS: Final = 200
"""Random halves of one run's rounds that are compared with each other: the truth is that they are equal."""

Name = tuple[str, str, str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure of both runs.

    Fields:
        suite, cell, metric, unit: which.
        gain: of the second run over the first; above 1 is better, whichever direction the figure itself has.
        verdict: `faster`, `slower` or `not resolvable`.
        floor: the smallest difference that would have been resolved, as a share; None: not known.
        fails: the gain is below what is asked for, by its upper bound.
    """

    suite: str
    cell: dict[str, str | int | float]
    metric: str
    unit: str
    gain: Estimate
    verdict: str
    floor: float | None
    fails: bool

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "suite": self.suite,
            "cell": self.cell,
            "metric": self.metric,
            "unit": self.unit,
            "gain": self.gain.value,
            "low": self.gain.low,
            "high": self.gain.high,
            "n": self.gain.n,
            "method": self.gain.method,
            "verdict": self.verdict,
            "floor": self.floor,
            "fails": self.fails,
        }


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """How often the gate calls equal things unequal.

    Fields:
        figures: that were compared, all splits together.
        alarms: of them, those that got a verdict, or failed.
        runs: comparisons of whole runs.
        alarmed: of them, those with at least one alarm.
        between_starts: the halves were different starts, not rounds of one.
    """

    figures: int
    alarms: int
    runs: int
    alarmed: int
    between_starts: bool


def differences(first: Result, second: Result) -> list[str]:
    """What the settings of two runs differ in, in words; nothing: they may be compared."""
    found = []
    plans = [result.start.plan for result in (first, second)]
    for name in (
        "suites",
        "backends",
        "paths",
        "sizes",
        "trial_s",
        "burst",
        "flows",
        "ip_version",
        "path_mtu",
    ):
        values = [getattr(plan, name) for plan in plans]
        if values[0] != values[1]:
            found.append(f"{name.replace('_', ' ')}: {_said(values[0])} and {_said(values[1])}")
    if first.start.lab != second.start.lab:
        found.append(f"lab: {first.start.lab} and {second.start.lab}")
    extents = [{each.suite: each.extent for each in result.sections} for result in (first, second)]
    for suite in extents[0].keys() & extents[1].keys():
        for name in ("paths", "sizes", "trial_s"):
            values = [getattr(extent[suite], name) for extent in extents]
            if values[0] != values[1]:
                found.append(
                    f"{name.replace('_', ' ')} of {suite}: {_said(values[0])} and {_said(values[1])}"
                )
    cpus = [result.start.environment.get("cpu", {}).get("model") for result in (first, second)]
    if cpus[0] != cpus[1]:
        found.append(f"processor: {cpus[0]} and {cpus[1]}")
    on = [
        {
            (path, name): state.on
            for path, states in result.start.offloads.items()
            for name, state in states.items()
        }
        for result in (first, second)
    ]
    found += [
        f"{name} on {path}: {'on' if on[0][path, name] else 'off'} and {'on' if on[1][path, name] else 'off'}"
        for path, name in sorted(on[0].keys() & on[1].keys())
        if on[0][path, name] != on[1][path, name]
    ]
    return found


def compare(
    first: Result, second: Result, *, fail_under: float | None = None, absolute: bool = False
) -> list[Compared]:
    """Every figure that both have, in the order of the first.

    Args:
        first: the baseline.
        second: what is compared with it.
        fail_under: a gain that is certainly below this fails; None: nothing does.
        absolute: compare figures that are no ratios to plain as well.

    Raises:
        DtlsEmuError: they have no figure in common.
    """
    ours, theirs = dict(_figures(first, absolute=absolute)), dict(_figures(second, absolute=absolute))
    names = [name for name in ours if name in theirs]
    if not names:
        raise DtlsEmuError("the two results have no figure in common")
    return _judge([(name, ours[name], theirs[name]) for name in names], fail_under)


def false_alarms(result: Result, fail_under: float | None, *, seed: int = 1) -> FalseAlarms:
    """Run the gate on halves of one run, between which there is no difference.

    With six starts or more the halves are of starts, else of rounds; then what differs between starts is not seen.

    Raises:
        DtlsEmuError: there are too few rounds to split.
    """
    figures = dict(_figures(result, absolute=False))
    if not figures:
        raise DtlsEmuError("the result has no ratios to plain, so its gate cannot be tried")
    starts = min(len(figure.by_start) for figure in figures.values())
    between = starts >= 2 * FEWEST_STARTS
    counts = min(starts if between else len(figure.samples) for figure in figures.values())
    if counts < 2 * (FEWEST_STARTS if between else FEWEST_FOR_INTERVAL):
        raise DtlsEmuError(
            f"{counts} rounds are too few to split; the gate can be tried on {2 * FEWEST_FOR_INTERVAL} rounds or "
            f"{2 * FEWEST_STARTS} starts and more"
        )
    rng = random.Random(seed)
    alarms = total = alarmed = 0
    for _ in range(SPLITS):
        order = rng.sample(range(counts), counts)
        halves = order[: counts // 2], order[counts // 2 :]
        judged = _judge(
            [
                (
                    name,
                    _part(figure, halves[0], between=between),
                    _part(figure, halves[1], between=between),
                )
                for name, figure in figures.items()
            ],
            fail_under,
        )
        bad = sum(each.verdict != UNRESOLVED or each.fails for each in judged)
        alarms += bad
        total += len(judged)
        alarmed += bad > 0
    return FalseAlarms(total, alarms, SPLITS, alarmed, between)


def _figures(result: Result, *, absolute: bool) -> Iterator[tuple[Name, Figure]]:
    for section in result.sections:
        for figure in section.figures:
            # Plain against itself is no figure of the tunnel, and would only be one more chance to be wrong.
            if figure.cell.get("arm") != PLAIN_AGAIN and (figure.relative or absolute):
                cell = tuple((key, str(value)) for key, value in figure.cell.items())
                yield (section.suite, figure.metric, figure.unit, cell), figure


def _part(figure: Figure, which: Sequence[int], *, between: bool) -> Figure:
    if between:
        return figure.model_copy(update={"by_start": [figure.by_start[index] for index in which]})
    return figure.model_copy(update={"samples": [figure.samples[index] for index in which], "by_start": []})


def _judge(pairs: Sequence[tuple[Name, Figure, Figure]], fail_under: float | None) -> list[Compared]:
    gains = [_gain(first, second) for _, first, second in pairs]
    p_values = [_p_value(first, second) for _, first, second in pairs]
    resolved = _holm(p_values)
    found = []
    for (name, first, _), gain, is_resolved in zip(pairs, gains, resolved, strict=True):
        verdict = UNRESOLVED
        if is_resolved and not gain.holds(1):
            verdict = FASTER if gain.value > 1 else SLOWER
        found.append(
            Compared(
                suite=name[0],
                cell=first.cell,
                metric=first.metric,
                unit=first.unit,
                gain=gain,
                verdict=verdict,
                floor=_floor(gain),
                fails=fail_under is not None and gain.high is not None and gain.high < fail_under,
            )
        )
    return found


def _values(figure: Figure) -> tuple[list[float], bool]:
    """One value of each start, where there are enough of them; else one of each round."""
    if len(figure.by_start) >= FEWEST_STARTS:
        return [float(np.median(rounds)) for rounds in figure.by_start], True
    return figure.samples, False


def _pair(first: Figure, second: Figure) -> tuple[list[float], list[float], bool]:
    """Numerators and denominators of a gain, positive ones, and whether they are of starts."""
    ours, theirs = _values(first), _values(second)
    starts = ours[1] and theirs[1]
    before = [value for value in (ours[0] if starts else first.samples) if value > 0]
    after = [value for value in (theirs[0] if starts else second.samples) if value > 0]
    return (before, after, starts) if first.better is Better.LOWER else (after, before, starts)


def _gain(first: Figure, second: Figure) -> Estimate:
    upper, lower, starts = _pair(first, second)
    if not upper or not lower:
        return Estimate(1.0, None, None, 0, "none")
    return starts_ratio(upper, lower) if starts else shift_ratio(upper, lower)


def _p_value(first: Figure, second: Figure) -> float:
    upper, lower, starts = _pair(first, second)
    if min(len(upper), len(lower)) < (FEWEST_STARTS if starts else FEWEST_FOR_INTERVAL):
        return 1.0
    if starts:
        found = float(stats.ttest_ind(np.log(upper), np.log(lower), equal_var=False).pvalue)
    else:
        found = float(stats.mannwhitneyu(upper, lower).pvalue)
    return found if np.isfinite(found) else 1.0


def _holm(p_values: Sequence[float]) -> list[bool]:
    found = [False] * len(p_values)
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] > (1 - CONFIDENCE) / (len(p_values) - place):
            break
        found[index] = True
    return found


def _floor(gain: Estimate) -> float | None:
    if gain.low is None or gain.high is None or gain.low <= 0:
        return None
    return float(np.sqrt(gain.high / gain.low)) - 1


def _said(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "those of the suite"
    return "as the suite has it" if value is None else str(value)
