"""Whatever a lab file holds, it becomes a lab or a list of problems, and never a traceback."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dtls_emu.errors import LabFileError
from dtls_emu.lab import load_lab
from dtls_emu.lab.loader import parse_lab
from dtls_emu.lab.problems import MAX_PROBLEMS


BASE = yaml.safe_load(Path(__file__).with_name("small.yaml").read_text())

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(
        ["10.0.0.0/24", "10.0.0.4", "fd00::4", "host-1", "vm-a", "blue", "ping", "1%", "5ms", "all", 2**900]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def _paths(data, path=()):
    yield path
    if isinstance(data, dict | list):
        for step, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _paths(value, (*path, step))


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([path for path in _paths(BASE) if path]),
            st.none()
            | st.sampled_from(["vni", "host", "from", "to", "kind", "expect", "file", "shapes", "zzz"]),
            st.just(...) | JUNK,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_change_gives_a_lab_or_problems_with_place_and_remedy(changed, changes):
    """Nothing is raised but LabFileError; every line says file, line, key, what is wrong and what to write."""
    data = copy.deepcopy(BASE)
    for path, key, value in changes:
        try:
            data = changed(data, path if key is None else (*path, key), value)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    try:
        parse_lab(yaml.safe_dump(data), "lab.yaml")
    except LabFileError as error:
        problems = error.problems
        assert problems
    else:
        return
    for problem in problems:
        assert re.fullmatch(r"lab\.yaml:\d+: [^\n]+[;?] [^\n]+", problem), problem
        assert len(problem) < 500


TOKENS = st.sampled_from(
    [
        *(
            "a: ",
            "x-a: ",
            "&a ",
            "*a ",
            "<<: *a ",
            "- ",
            "[",
            "]",
            "{",
            "}",
            ", ",
            ": ",
            ":",
            "'",
            '"',
            "#",
            "? ",
        ),
        *(
            "\n",
            "\n  ",
            "\n    ",
            "\t",
            ">\n",
            "|\n",
            "---\n",
            "...\n",
            "%",
            "@",
            "!x ",
            "!!binary ",
            "~",
            "yes",
        ),
        *("0700", "vni:5001", "10.0.0.4", "hosts: ", "vms: ", "\0", "\ud800", "\ufeff"),
    ]
)


YAML_LIKE = st.lists(TOKENS, max_size=40).map(lambda tokens: "".join(tokens).encode("utf-8", "surrogatepass"))


@st.composite
def damaged(draw):
    """The small lab with a few tokens put somewhere into it, or bytes taken out."""
    data = Path(__file__).with_name("small.yaml").read_bytes()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        taken = draw(st.integers(0, 20))
        data = data[:at] + draw(TOKENS).encode("utf-8", "surrogatepass") + data[at + taken :]
    return data


@pytest.fixture(scope="module")
def lab_file(tmp_path_factory):
    return tmp_path_factory.mktemp("any") / "lab.yaml"


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=100) | YAML_LIKE | damaged())
def test_any_bytes_are_a_lab_or_problems(lab_file, data):
    """Whatever a file holds; each problem is a short line, and there are not more than are worth saying."""
    lab_file.write_bytes(data)
    try:
        load_lab(lab_file)
    except LabFileError as error:
        problems = error.problems
        assert problems
    else:
        return
    assert len(problems) <= MAX_PROBLEMS + 1
    for problem in problems:
        text = problem.removeprefix(str(lab_file))
        assert text.isprintable()
        assert ";" in text or "?" in text
        assert len(text) < 600
