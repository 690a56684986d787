"""The table of musts is complete, and every test that it names is there and runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import dtls_emu.tunnel
from dtls_emu.tunnel.diagram import state_diagram
from dtls_emu.tunnel.states import TRANSITIONS, TunnelState


DOCUMENT = Path(dtls_emu.tunnel.__file__).with_name("MUSTS.md")
ROOT = Path(__file__).parents[2]
ROWS = [
    f"{kind}{number}"
    for kind, last in (("R", 19), ("L", 5), ("H", 14), ("A", 3), ("P", 4))
    for number in range(1, last + 1)
]
ROW = re.compile(r"^\| ([A-Z]\d+) \| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py::[\w:]+)`")


@pytest.fixture(scope="module")
def table():
    return ROW.findall(DOCUMENT.read_text())


def test_every_row_is_there_once_with_its_requirement_and_source(table):
    """R1 to R19, L1 to L5, H1 to H14, A1 to A3, P1 to P4."""
    assert [row for row, *_ in table] == ROWS
    assert all(requirement.strip() and source.strip() for _, requirement, source, _ in table)


def test_every_row_names_its_tests_or_says_why_it_has_none(table):
    """And nothing else stands in that column."""
    for row, _, _, shown in table:
        if not re.fullmatch(r"non-goal: .{10,}", shown):
            assert all(TEST.fullmatch(name) for name in shown.split("<br>")), row


def test_every_named_test_is_collected(table, request):
    """By pytest itself: a test that was renamed or moved away is missed."""
    named = {name for *_, shown in table for name in TEST.findall(shown)}
    collected = {item.nodeid.partition("[")[0] for item in request.session.items}
    if not named <= collected:  # only a part of the tests is run
        collected = collect({name.partition("::")[0] for name in named})
    assert len(named) > 80
    assert named <= collected, named - collected


def collect(files):
    """Names of all tests in files."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-p",
        "no:cacheprovider",
        *sorted(files),
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    return {line.partition("[")[0] for line in result.stdout.splitlines()}


def test_the_diagram_in_the_document_is_the_table_of_states():
    """Every transition is an arrow in it, and it is up to date."""
    diagram = state_diagram()
    assert f"```mermaid\n{diagram}\n```" in DOCUMENT.read_text()
    arrows = re.findall(r"^ +(\w+) --> (\w+): (.+)$", diagram, re.MULTILINE)
    drawn = {
        (origin.replace("_", "-"), event): target.replace("_", "-")
        for origin, target, events in arrows
        for event in events.split(", ")
    }
    assert drawn == TRANSITIONS
    assert {origin for origin, _ in drawn} | set(drawn.values()) == set(TunnelState)
