"""Two results beside each other: verdicts and failures rest on bounds, unlike runs are refused, false alarms are counted."""

from __future__ import annotations

import numpy as np
import pytest

from dtls_emu.errors import DtlsEmuError
from dtls_emu.measure.compare import FASTER, SLOWER, UNRESOLVED, compare, differences, false_alarms
from dtls_emu.measure.plan import Plan
from dtls_emu.measure.statistics import median_estimate
from dtls_emu.testing.present import present


SEED = 11


def with_samples(result, draw):
    """The same result, with samples that ``draw(figure)`` gives."""
    sections = []
    for section in result.sections:
        figures = []
        for figure in section.figures:
            drawn = draw(figure)
            starts = drawn if isinstance(drawn[0], list) else []
            samples = [value for start in starts for value in start] or drawn
            figures.append(
                figure.model_copy(
                    update={"samples": samples, "by_start": starts, "estimate": median_estimate(samples)}
                )
            )
        sections.append(section.model_copy(update={"figures": figures}))
    return result.model_copy(update={"sections": sections})


def noisy(seed, factor=1.0, count=24, spread=0.02):
    """Around a figure's own middle, times a factor."""
    rng = np.random.default_rng(seed)
    return lambda figure: [
        max(abs(figure.estimate.value), 1e-9) * factor * float(np.exp(rng.normal(0, spread)))
        for _ in range(count)
    ]


def test_equal_runs_are_not_resolvable_and_pass(result):
    """With the smallest difference that would have been resolved."""
    rows = compare(with_samples(result, noisy(1)), with_samples(result, noisy(2)), fail_under=0.95)
    assert {row.verdict for row in rows} == {UNRESOLVED}
    assert not any(row.fails for row in rows)
    assert all(0 < present(row.floor) < 0.05 for row in rows)


def test_a_gain_is_better_above_one_whichever_way_a_figure_goes(result):
    """Less CPU and more packets are both faster; the baseline is the first."""
    faster = compare(
        with_samples(result, noisy(1)),
        with_samples(result, lambda each: noisy(2, 1.2 if each.better == "higher" else 1 / 1.2)(each)),
    )
    assert {row.verdict for row in faster} == {FASTER}
    slower = compare(with_samples(result, noisy(1)), with_samples(result, noisy(2, 0.8)), fail_under=0.95)
    assert {row.verdict for row in slower if row.metric == "rate"} == {SLOWER}
    assert all(row.fails for row in slower if row.metric == "rate")
    assert {row.verdict for row in slower if row.metric == "cpu"} == {FASTER}


def test_failing_rests_on_the_bound(result):
    """A middle below what is asked for does not fail while the interval reaches above it."""
    wide = with_samples(result, noisy(1, spread=0.5)), with_samples(result, noisy(2, 0.93, spread=0.5))
    rows = compare(*wide, fail_under=0.95)
    assert any(row.gain.value < 0.95 for row in rows)
    assert all(row.fails == (present(row.gain.high) < 0.95) for row in rows)


def test_ratios_to_plain_are_compared_and_nothing_of_plain_itself(result):
    """Absolute figures only when they are asked for; plain against itself never."""
    rows = compare(result, result)
    assert {row.unit for row in rows} == {"of plain", "of pyOpenSSL"}
    assert "plain-again" not in {row.cell.get("arm") for row in rows}
    assert "packets/s" in {row.unit for row in compare(result, result, absolute=True)}


def test_starts_are_compared_where_there_are_several(result):
    """Rounds of one start agree with each other and not with the next start's: only starts tell."""

    def starts(seed):
        rng = np.random.default_rng(seed)
        return lambda _: [[float(np.exp(rng.normal(0, 0.1)))] * 9 for _ in range(5)]

    first, second = with_samples(result, starts(SEED)), with_samples(result, starts(SEED + 1))
    rows = compare(first, second)
    print(f"seed {SEED}")
    assert {row.gain.method for row in rows} == {"t over starts"}
    assert {row.verdict for row in rows} == {UNRESOLVED}


def test_what_two_runs_differ_in_is_said(result):
    """Settings, lab, processor, offloads."""
    assert differences(result, result) == []
    start = result.start.model_copy(
        update={"lab": "mine", "plan": Plan(7, sizes=(64,)), "environment": {"cpu": {"model": "Z80"}}}
    )
    assert differences(result, result.model_copy(update={"start": start})) == [
        "sizes: as the suite has it and 64",
        "lab: two-vms and mine",
        "processor: None and Z80",
    ]
    path, states = next(iter(result.start.offloads.items()))
    off = {name: state.model_copy(update={"on": not state.on}) for name, state in states.items()}
    other = result.start.model_copy(update={"offloads": result.start.offloads | {path: off}})
    assert differences(result, result.model_copy(update={"start": other}))[0] == "udp_gro on udp: on and off"


def test_results_without_a_figure_in_common_cannot_be_compared(result):
    """One line says so."""
    with pytest.raises(DtlsEmuError, match="no figure in common"):
        compare(result, result.model_copy(update={"sections": []}))


def test_the_gate_says_how_often_it_is_wrong(result):
    """Halves of one run are equal; a run of twenty at most has an alarm."""
    alarms = false_alarms(with_samples(result, noisy(SEED)), 0.95)
    print(f"seed {SEED}")
    assert not alarms.between_starts
    assert alarms.figures == alarms.runs * len(compare(result, result))
    assert alarms.alarmed / alarms.runs <= 0.1


def test_the_gate_is_tried_on_starts_where_there_are_enough(result):
    """Six of them make two halves."""

    def six(figure):
        return [noisy(SEED + number, count=9)(figure) for number in range(6)]

    assert false_alarms(with_samples(result, six), 0.95).between_starts


def test_too_few_rounds_cannot_be_split(result):
    """Each half needs an interval."""
    with pytest.raises(DtlsEmuError, match="6 rounds are too few to split"):
        false_alarms(result, None)
