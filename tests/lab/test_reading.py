"""YAML to plain data with lines; what YAML offers beyond a lab file's need is refused or left as text."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.errors import LabFileError
from dtls_emu.lab.reading import read_yaml


def test_every_key_and_item_has_its_line():
    """Lines count from 1; what is not there has the line of what is around it."""
    document = read_yaml("\na: 1\nb:\n  - x\n  - {c: 2,\n     d: 3}\n", "lab.yaml")
    assert document.data == {"a": 1, "b": ["x", {"c": 2, "d": 3}]}
    lines = {path: document.line(path) for path in [("a",), ("b",), ("b", 0), ("b", 1, "c"), ("b", 1, "d")]}
    assert lines == {("a",): 2, ("b",): 3, ("b", 0): 4, ("b", 1, "c"): 5, ("b", 1, "d"): 6}
    assert document.line(("b", 1, "e", "f")) == 5
    assert document.line(("nowhere",)) == 2


def test_a_key_written_twice_is_a_problem():
    """YAML's own rule is "the last one wins", silently."""
    document = read_yaml("a: 1\nb: 2\na: 3\n", "lab.yaml")
    assert document.data == {"a": 1, "b": 2}
    (problem,) = document.problems
    assert (problem.path, problem.line, problem.message) == (
        ("a",),
        3,
        "written twice, first on line 1; keep one of them",
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12:34:56", "12:34:56"),  # base 60 in YAML 1.1
        ("12:30:45.5", "12:30:45.5"),
        ("2001-12-14", "2001-12-14"),
        ("0x10", 16),
        ("1_000", 1000),
        ("1.5", 1.5),
        ("1" * 400, int("1" * 400)),
        ("yes", True),
        ("~", None),
        ("'5'", "5"),
        ("5ms", "5ms"),
        ("=", "="),
    ],
)
def test_scalars(text, value):
    """Numbers, booleans and null as in YAML 1.1; what only looks like a number or a date stays text."""
    assert read_yaml(f"key: {text}", "lab.yaml").data == {"key": value}


def test_keys_are_text():
    """A host may be called `no` or `1`; whether the name is allowed is for the schema to say."""
    assert read_yaml("no: 1\n1: 2\n", "lab.yaml").data == {"no": 1, "1": 2}


@pytest.mark.parametrize(
    "text", ["!!python/object/apply:os.system [ls]", "!mine x", "!!binary aGk=", "!!set {a}"]
)
def test_tags_make_no_objects(text):
    """They are said to have no place, or are plain data."""
    document = read_yaml(f"key: {text}", "lab.yaml")
    assert type(document.data["key"]) in {type(None), list, dict}


def test_a_number_that_python_refuses_is_a_problem():
    """Python reads at most 4300 digits."""
    document = read_yaml(f"a: {'9' * 5000}", "lab.yaml")
    assert [problem.message for problem in document.problems] == [
        "no number that can be read; write a shorter one"
    ]


def test_an_alias_inside_what_it_stands_for_is_a_problem():
    """Reading ends."""
    document = read_yaml("a: &x [1, *x]", "lab.yaml")
    assert document.data == {"a": [1, None]}
    assert [problem.path for problem in document.problems] == [("a", 1)]


def test_merged_keys_give_way():
    """`<<`: a mapping's own keys go first, then earlier sources."""
    text = "x: &x {a: 1, b: 1, c: 1}\ny: &y {b: 2, c: 2, d: 2}\nz:\n  c: 3\n  <<: [*x, *y]\n"
    document = read_yaml(text, "lab.yaml")
    assert document.data["z"] == {"a": 1, "b": 1, "c": 3, "d": 2}
    assert document.line(("z", "c")) == 4
    assert document.problems == []


def test_only_mappings_merge():
    """Anything else behind `<<` is said."""
    document = read_yaml("a: {<<: 5, b: 1}", "lab.yaml")
    assert document.data == {"a": {"b": 1}}
    assert [problem.message for problem in document.problems] == [
        "`<<` merges mappings only; write an alias of a mapping"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2", "lab.yaml:1: not YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: b: c", "lab.yaml:1: not YAML: mapping values are not allowed here"),
        ("a: 1\n\tb: 2", "lab.yaml:2: not YAML: found character '\\t' that cannot start any token"),
        ("a: *nowhere", "lab.yaml:1: not YAML: found undefined alias 'nowhere'"),
        ("a: \0", "lab.yaml:1: not YAML: unacceptable character"),
        ("a: 1\n---\nb: 2", "lab.yaml:2: not YAML: but found another document"),
        ("[" * 5000, "lab.yaml:1: nested too deeply"),
    ],
)
def test_what_is_not_yaml_says_where(text, message):
    """One problem, with the line."""
    with pytest.raises(LabFileError) as caught:
        read_yaml(text, "lab.yaml")
    (problem,) = caught.value.problems
    assert problem.startswith(message)


def test_an_empty_file_holds_nothing():
    """The loader then says what a lab file is."""
    assert read_yaml("# nothing\n", "lab.yaml").data is None


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.text(st.characters(codec="ascii"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz", min_size=1), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(PLAIN)
def test_reads_what_yaml_wrote(data):
    """Plain data comes back as it was."""
    assert read_yaml(yaml.safe_dump(data), "lab.yaml").data == data


@given(st.text(max_size=60) | st.text("ab:{}[]&*<!-'\"|>%@ \n\t,#?0123456789", max_size=60))
def test_any_text_is_read_or_refused(text):
    """Nothing else is raised."""
    try:
        problems = read_yaml(text, "lab.yaml").problems
    except LabFileError as error:
        problems = error.problems
    assert all(str(problem) for problem in problems)
