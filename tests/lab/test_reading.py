"""YAML to plain data with lines; what YAML offers beyond a lab file's need is refused or left as text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.errors import LabFileError
from dtls_emu.lab import reading
from dtls_emu.lab.reading import MAX_DEPTH, MAX_VALUES, read_value, read_yaml


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
        ("1e3", 1000.0),
        ("1_000.5", 1000.5),
        (".5", 0.5),
        ("-0x1_0", -16),
        ("0b101", 5),
        ("0", 0),
        ("+7", 7),
        ("1_", "1_"),
        ("0x", "0x"),
        ("-.inf", float("-inf")),
        ("yes", "yes"),
        ("Off", "Off"),
        ("y", "y"),
        ("TRUE", True),
        ("tRUE", "tRUE"),
        ("'true'", "true"),
        ("!!str 0700", "0700"),
        ("NULL", None),
        ("~", None),
        ("'5'", "5"),
        ("5ms", "5ms"),
        ("=", "="),
    ],
)
def test_scalars(text, value):
    """Numbers, booleans and null as YAML 1.1 and 1.2 agree on; what only looks like a number or a date stays text."""
    read = read_yaml(f"key: {text}", "lab.yaml")
    assert (read.data, read.problems) == ({"key": value}, [])
    assert type(read.data["key"]) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0700", '`0700` may mean 700 or, as octal, 448; write 700 or 448, or "0700" in quotes for text'),
        (
            "-01500",
            '`-01500` may mean -1500 or, as octal, -832; write -1500 or -832, or "-01500" in quotes for text',
        ),
        ("00", '`00` may mean 0 or, as octal, 0; write 0 or 0, or "00" in quotes for text'),
        ("09", '`09` begins with 0, as octal numbers do; write 9, or "09" in quotes for text'),
        ("0_7", '`0_7` may mean 7 or, as octal, 7; write 7 or 7, or "0_7" in quotes for text'),
        ("0o17", "`0o17` is octal, which not every reader of YAML knows; write 15"),
        ("0" * 5000, f"`{'0' * 40}...` begins with 0, which may mean octal; write it without"),
        ("9" * 5000, "no number that can be read; write a shorter one"),
        ("1e999", "`1e999` is too large a number; write a smaller one"),
        ("!!int 5", "the tag `!!int` has no place here; leave it out"),
        ("!!float 5", "the tag `!!float` has no place here; leave it out"),
        ("!!null ''", "the tag `!!null` has no place here; leave it out"),
        ("!!binary MSU=", "the tag `!!binary` has no place here; leave it out"),
        ("!!set {a}", "the tag `!!set` has no place here; leave it out"),
        ("!!omap [a: 1]", "the tag `!!omap` has no place here; leave it out"),
        ("!mine x", "the tag `!mine` has no place here; leave it out"),
        ("!!seq {a: 1}", "the tag `!!seq` has no place here; leave it out"),
        (
            "!!python/object/apply:os.system [ls]",
            "the tag `!!python/object/apply:os.system` has no place",
        ),
    ],
)
def test_what_others_may_read_otherwise_is_refused(text, message):
    """With what to write; nothing takes its place."""
    read = read_yaml(f"key: {text}", "lab.yaml")
    assert read.data == {"key": None}
    (problem,) = read.problems
    assert (problem.path, problem.line) == (("key",), 1)
    assert problem.message.startswith(message)


@pytest.mark.parametrize("text", ["0700", "!!binary MSU=", "[1", "{a: 1, a: 2}", "*x", "a: 1\n---\n"])
def test_a_single_value_is_read_under_the_same_rules(text):
    """As `set` does; a problem is an error."""
    assert read_value("[1, {x-a: 1%}]") == [1, {"x-a": "1%"}]
    assert read_value("") is None
    with pytest.raises(ValueError, match=";"):
        read_value(text)


def test_keys_are_text():
    """A host may be called `no` or `1`; whether the name is allowed is for the schema to say."""
    assert read_yaml("no: 1\n1: 2\n", "lab.yaml").data == {"no": 1, "1": 2}


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


def test_a_merged_key_that_gives_way_is_not_read():
    """What is wrong with it matters to nobody."""
    document = read_yaml("x: {<<: {a: 0700, b: 1}, a: 2}", "lab.yaml")
    assert (document.data, document.problems) == ({"x": {"a": 2, "b": 1}}, [])


def test_keys_with_x_at_the_top_hold_anchors():
    """As in Compose files; nothing else is made of them, and nothing in them is wrong unless it is used."""
    text = "x-card: &card {smartnic: {backend: openssl}}\nx-other: {a: 0700, a: !!set {}}\nhosts:\n  h: {<<: *card, x-a: 1}\n"
    document = read_yaml(text, "lab.yaml")
    assert document.data == {"hosts": {"h": {"smartnic": {"backend": "openssl"}, "x-a": 1}}}
    assert (document.problems, document.line(("hosts", "h", "smartnic"))) == ([], 1)


def test_what_is_wrong_with_an_anchor_is_said_once():
    """However many aliases lead there, at the line where it can be mended."""
    document = read_yaml("x-a: &a\n  mtu: 0700\nvms:\n  a: *a\n  b: *a\n  c: {<<: *a}\n", "lab.yaml")
    assert [(problem.path, problem.line) for problem in document.problems] == [(("vms", "a", "mtu"), 2)]


def bomb(levels, width, form):
    """A few lines that stand for ``width ** levels`` values."""
    lines = ["x-0: &a0 {k: 1}"]
    for level in range(1, levels + 1):
        aliases = [f"*a{level - 1}"] * width
        if form == "list":
            value = f"[{', '.join(aliases)}]"
        elif form == "mapping":
            value = f"{{{', '.join(f'k{index}: {alias}' for index, alias in enumerate(aliases))}}}"
        else:
            value = f"{{<<: [{', '.join(aliases)}]}}"
        lines.append(f"x-{level}: &a{level} {value}")
    return "\n".join(lines)


@pytest.mark.parametrize("form", ["list", "mapping", "merge"])
def test_a_few_lines_that_stand_for_more_than_a_machine_holds_are_refused(form, monkeypatch):
    """At the line that goes too far, before anything is unfolded, and with the limit."""
    monkeypatch.setattr(reading, "_Reader", pytest.fail)
    with pytest.raises(LabFileError) as caught:
        read_yaml(bomb(25, 10, form), "lab.yaml")
    (problem,) = caught.value.problems
    assert problem == (
        "lab.yaml:7: here the file comes to more than 500000 keys and values, with what aliases (`*`, `<<`) repeat; "
        "write a smaller file, or fewer aliases"
    )


@pytest.mark.parametrize(("items", "is_read"), [(MAX_VALUES - 1, True), (MAX_VALUES, False)])
def test_the_limit_of_values_counts_each_of_them(items, is_read):
    """The list itself is one."""
    text = f"[{'a,' * items}]"
    if is_read:
        assert len(read_yaml(text, "lab.yaml").data) == items
    else:
        with pytest.raises(LabFileError, match=f"more than {MAX_VALUES} keys and values"):
            read_yaml(text, "lab.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
        "[" * 100_000,
        "- " * 100_000,
        "".join(f"{' ' * level}a:\n" for level in range(MAX_DEPTH + 2)) + " " * (MAX_DEPTH + 2) + "b",
        "\n".join(f"- &a{level} [[*a{level - 1}]]" if level else "- &a0 x" for level in range(MAX_DEPTH)),
    ],
    ids=["brackets", "brackets that are never closed", "hyphens", "keys", "aliases"],
)
def test_what_is_nested_beyond_reason_is_refused(text):
    """With the limit, also where aliases inside aliases nest it; and no recursion fails."""
    with pytest.raises(LabFileError) as caught:
        read_yaml(text, "lab.yaml")
    (problem,) = caught.value.problems
    assert f"nested more than {MAX_DEPTH} levels deep; " in problem


def test_what_is_nested_to_the_limit_is_read():
    """One level less than what is refused."""
    data = read_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH, "lab.yaml").data
    for _ in range(MAX_DEPTH - 1):
        (data,) = data
    assert data == []


def test_only_mappings_merge():
    """Anything else behind `<<` is said."""
    document = read_yaml("a: {<<: 5, b: 1}", "lab.yaml")
    assert document.data == {"a": {"b": 1}}
    assert [problem.message for problem in document.problems] == [
        "`<<` merges mappings only; write an alias of a mapping"
    ]


def test_an_empty_file_holds_nothing():
    """The loader then says what a lab file is."""
    assert read_yaml("# nothing\n", "lab.yaml").data is None


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.text(st.characters(codec="ascii", exclude_characters="\x7f"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz", min_size=1), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(PLAIN)
def test_reads_what_json_wrote(data):
    """Plain data comes back as it was; JSON is YAML."""
    assert read_yaml(json.dumps(data), "lab.yaml").data == data


@pytest.mark.parametrize(
    "text", ["a: 1\n...\n", "a: 1\n... # end\n\n# and a comment", "---\na: 1\n", "\ufeffa: 1"]
)
def test_one_document_may_have_marks_around_it(text):
    """And a byte-order mark before it."""
    assert read_yaml(text, "lab.yaml").data == {"a": 1}


@given(st.text(max_size=60) | st.text("ab:{}[]&*<!-'\"|>%@ \n\t,#?0123456789", max_size=60))
def test_any_text_is_read_or_refused(text):
    """Nothing else is raised."""
    try:
        problems = [str(problem) for problem in read_yaml(text, "lab.yaml").problems]
    except LabFileError as error:
        problems = error.problems
        assert problems
    assert all(problems)


@st.composite
def aliases(draw):
    """A list of anchored lists and mappings, each of earlier ones; now and then of itself."""
    lines = []
    for index in range(draw(st.integers(1, 8))):
        names = [
            f"*a{draw(st.integers(0, index))}" if draw(st.booleans()) else "x"
            for _ in range(draw(st.integers(0, 5)))
        ]
        form = draw(st.sampled_from(["list", "mapping", "merge"]))
        if form == "list":
            value = f"[{', '.join(names)}]"
        elif form == "mapping":
            value = f"{{{', '.join(f'k{key}: {name}' for key, name in enumerate(names))}}}"
        else:
            value = f"{{<<: [{', '.join(names)}]}}"
        lines.append(f"- &a{index} {value}")
    return "\n".join(lines)


def values_of(data):
    if isinstance(data, dict):
        return 1 + len(data) + sum(map(values_of, data.values()))
    return 1 + sum(map(values_of, data)) if isinstance(data, list) else 1


@given(aliases())
def test_no_more_unfolds_than_the_limit_says(text):
    """What is read has at most so many values, and what is refused would have had more."""

    def read(limit):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reading, "MAX_VALUES", limit)
            try:
                return values_of(read_yaml(text, "lab.yaml").data)
            except LabFileError as error:
                return str(error)

    found, all_values = read(60), read(10**6)
    if isinstance(found, int):
        assert found == all_values <= 60
    else:
        assert "more than 60 keys and values" in found
        assert all_values > 60 or "<<" in text  # what is merged counts before it gives way
