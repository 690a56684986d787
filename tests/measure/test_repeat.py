"""Several starts: fresh processes, one result, an interval that holds what varies between them."""

from __future__ import annotations

import numpy as np
import pytest

from dtls_emu.errors import DtlsEmuError
from dtls_emu.measure.plan import BenchPath, Plan
from dtls_emu.measure.repeat import merge, repeated
from dtls_emu.measure.result import Result


PLAN = Plan(
    3,
    suites=("throughput",),
    backends=("null",),
    paths=(BenchPath.MEMORY,),
    sizes=(256,),
    rounds=2,
    trial_s=0.002,
)


def scaled(result, factor):
    """A start whose ratios are others."""
    sections = [
        section.model_copy(
            update={
                "figures": [
                    figure.model_copy(update={"samples": [value * factor for value in figure.samples]})
                    for figure in section.figures
                ]
            }
        )
        for section in result.sections
    ]
    return result.model_copy(update={"sections": sections})


def test_figures_of_all_starts_stand_in_one_result(result):
    """The first start's sections, the others' beside them, and intervals over starts."""
    merged = merge([result, scaled(result, 1.1), scaled(result, 0.9)])
    assert merged.end.starts == 3
    assert len(merged.other_starts) == 2
    (ratio,) = [
        figure
        for section in merged.sections
        for figure in section.figures
        if (figure.metric, figure.unit) == ("rate", "of plain")
        and figure.cell == {"path": "udp", "size": 1400, "arm": "ipsec-mb"}
    ]
    assert ratio.estimate.method == "t over starts"
    assert ratio.estimate.value == pytest.approx(0.625 * np.exp(np.mean(np.log([1, 1.1, 0.9]))))
    assert [len(samples) for samples in ratio.by_start] == [6, 6, 6]
    assert "Over 3 starts of the program" in merged.end.reading[-1]
    assert Result.model_validate_json(merged.encode()) == merged


def test_one_start_is_itself(result):
    """Nothing is said of starts."""
    assert merge([result]) is result


def test_each_start_is_a_process_with_a_seed_of_its_own():
    """As many as asked for; the command line is kept."""
    told = []
    result = repeated("two-vms", PLAN, 2, lambda *step: told.append(step), command=["bench"])
    assert (result.end.starts, result.start.command) == (2, ["bench"])
    assert told == [(0, 2, "start 1 of 2"), (1, 2, "start 2 of 2")]


def test_a_start_that_fails_says_why():
    """What the process said last."""
    with pytest.raises(DtlsEmuError, match=r"a start of the benchmark failed: .*no-such-lab"):
        repeated("no-such-lab", PLAN, 2, lambda *_: None)
