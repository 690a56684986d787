"""The parser takes what Azure takes, refuses the rest with a place, and never does anything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.whatif.template.expression import (
    Call,
    Constant,
    ExpressionError,
    Item,
    Member,
    is_expression,
    parse_expression,
)
from dtls_emu.whatif.template.limits import MAX_DEPTH, MAX_EXPRESSION


def written(node):
    """An expression as text again."""
    match node:
        case Constant(value=str()):
            return "'" + node.value.replace("'", "''") + "'"
        case Constant():
            return {None: "null", True: "true", False: "false"}.get(node.value, str(node.value))
        case Call():
            return f"{node.name}({', '.join(map(written, node.arguments))})"
        case Member():
            return f"{written(node.of)}.{node.name}"
        case Item():
            return f"{written(node.of)}[{written(node.index)}]"


names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name not in {"true", "false", "null"}
)
constants = st.builds(Constant, st.text(max_size=12) | st.integers(-(10**18), 10**18))
trees = st.recursive(
    constants,
    lambda inside: (
        st.builds(Call, names, st.lists(inside, max_size=3).map(tuple))
        | st.builds(Member, st.builds(Call, names, st.just(())), names)
        | st.builds(Item, st.builds(Call, names, st.just(())), inside)
    ),
    max_leaves=12,
)


@given(trees)
def test_what_is_written_is_read_back(tree):
    """Any tree, with any text in it."""
    assert parse_expression(f"[{written(tree)}]") == tree


@given(st.text(max_size=60) | st.text("()[].,' ab1-", max_size=60))
def test_any_text_is_read_or_refused(text):
    """There is no third way."""
    refused = "character"
    try:
        parse_expression(f"[{text}]")
    except ExpressionError as error:
        refused = str(error)
    assert "character" in refused


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[concat('a'", "the end"),
        ("[concat('a' 'b')]", "`'b'` where `,` should be"),
        ("[f().]", "a name should follow `.`"),
        ("[f() g()]", "behind the end"),
        ("[name]", "the end where `(` should be"),
        ("['a]", "no part of an expression"),
        ("[1.5]", "no part of an expression"),
    ],
)
def test_a_slip_is_named(text, said):
    """With what should be there instead."""
    with pytest.raises(ExpressionError, match="character") as refused:
        parse_expression(text if text.endswith("]") else text + "]")
    assert said in str(refused.value)


def test_depth_and_length_have_ends():
    """A deep or long expression is refused before it costs anything."""
    with pytest.raises(ExpressionError, match="levels inside each other"):
        parse_expression("[" + "f(" * (MAX_DEPTH + 2) + ")" * (MAX_DEPTH + 2) + "]")
    with pytest.raises(ExpressionError, match="levels inside each other"):
        parse_expression("[f()" + ".a" * (MAX_DEPTH + 2) + "]")
    with pytest.raises(ExpressionError, match="at most"):
        parse_expression("[" + "1" * (MAX_EXPRESSION + 1) + "]")


@pytest.mark.parametrize(
    ("text", "expected"), [("[f()]", True), ("[[f()]", False), ("[f()", False), ("f()", False), ("", False)]
)
def test_only_brackets_make_an_expression(text, expected):
    """Two of them make plain text that begins with one."""
    assert is_expression(text) is expected
