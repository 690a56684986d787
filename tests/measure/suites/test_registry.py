"""Every suite is known by name, says what it is, and has its section in the result file."""

from __future__ import annotations

from typing import get_args

import pytest

from dtls_emu.errors import DtlsEmuError
from dtls_emu.measure.plan import Plan, full_plan, quick_plan
from dtls_emu.measure.result import AnySection
from dtls_emu.measure.suites.registry import SUITES, chosen_suites, suite_named


@pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)
def test_a_suite_says_what_it_is(suite):
    """Its name, its document, a question that ends so, and how much it measures."""
    assert SUITES[suite.name] is suite
    assert suite.document
    assert suite.question.endswith("?")
    for plan in (quick_plan(1), full_plan(1)):
        extent = suite.extent(plan)
        assert extent.paths
        assert extent.rounds >= 6, "or it has no intervals"
        assert extent.trial_s >= 0.1
    assert suite.extent(Plan(1, rounds=3, trial_s=0.01)).rounds == 3


def test_every_section_is_one_of_the_result_files():
    """A suite whose section is missing there could not be written."""
    union = get_args(get_args(AnySection)[0])
    assert {suite.section for suite in SUITES.values()} == set(union)
    assert {section.model_fields["suite"].default for section in union} == set(SUITES)


def test_suites_are_chosen_by_name_and_run_in_their_own_order():
    """Without names the usual ones."""
    names = [suite.name for suite in chosen_suites(("handshake", "throughput"))]
    assert names == ["throughput", "handshake"]
    assert {suite.name for suite in chosen_suites(())} == {
        name for name, suite in SUITES.items() if suite.is_usual
    }


def test_a_suite_that_is_not_there_is_said_with_those_that_are():
    """One line."""
    with pytest.raises(DtlsEmuError, match=r"no suite is called 'warp'; there are throughput, "):
        suite_named("warp")
