"""Tables fit a width, and no value is cut."""

import random

import pytest
from rich.cells import cell_len

from dtls_emu.cli.table import render, wrap


COLUMNS = ["item", "verdict", "code", ">offered", ">delivered", "more", "why"]
ROWS = [
    ["plain", "encrypt", "X", "1000000", "999999", "", "as the lab says"],
    [
        "plain-again",
        "drop",
        "NX_HW_NOT_SUPPORTED",
        "36.125",
        "3",
        "path MTU 1563",
        "a reason of several words",
    ],
]
SPARE = ["more", "verdict"]


def text_of(width, columns=COLUMNS, rows=ROWS, spare=SPARE):
    lines, omitted = render(columns, rows, width=width, spare=spare)
    return "\n".join(lines), omitted


@pytest.mark.parametrize("width", [*range(40, 140), None])
def test_at_every_width_every_value_of_what_is_shown_is_whole(width):
    """Words of texts in their order, everything else in one piece; and no line is wider, or ends in spaces."""
    text, omitted = text_of(width)
    for heading, cells in zip(COLUMNS, zip(*ROWS, strict=True), strict=True):
        if heading.removeprefix(">") in omitted:
            continue
        for cell in cells:
            assert all(word in text for word in cell.split()), (cell, text)
    assert set(omitted) <= set(SPARE)
    assert not any(line != line.rstrip() for line in text.splitlines())
    assert width is None or max(map(cell_len, text.splitlines())) <= width


def test_any_table_fits_any_width_without_losing_a_value():
    """Random tables: what is not left out by name is there, whole."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    words = [
        "x",
        "36.125",
        "NX_NOT_ACCEPTED",
        "host-1",
        "of several words",
        "",
        "-",
        "1,234,567",
        "ünïcode",
        "日本語",
    ]
    for _ in range(300):
        count = chance.randint(1, 12)
        columns = [f"{chance.choice(['', '>'])}column {number}" for number in range(count)]
        rows = [[chance.choice(words) for _ in columns] for _ in range(chance.randint(0, 4))]
        spare = chance.sample([each.removeprefix(">") for each in columns], chance.randint(0, count - 1))
        width = chance.choice([None, *range(40, 160)])
        lines, omitted = render(columns, rows, width=width, spare=spare)
        text = "\n".join(lines)
        assert set(omitted) <= set(spare)
        for index, column in enumerate(columns):
            for row in rows:
                missing = [word for word in row[index].split() if word not in text and word != "-"]
                assert not missing or column.removeprefix(">") in omitted, (columns, rows, spare, width, text)
        assert width is None or all(cell_len(line) <= width for line in lines), (columns, rows, width, text)


def test_columns_go_in_the_order_of_their_worth_and_are_named():
    """First what says nothing, then what may be spared, the first one first."""
    columns, rows = ["a" * 20, "b" * 20, "c" * 20, ">lost", ">zero"], [["1", "2", "3", "0", "-"]]
    spare = ["c" * 20, "b" * 20, "lost"]
    assert render(columns, rows, width=None, spare=spare)[1] == []
    assert render(columns, rows, width=70, spare=spare)[1] == []  # only what has no value
    assert render(columns, rows, width=66, spare=spare)[1] == ["lost"]
    assert render(columns, rows, width=60, spare=spare)[1] == ["c" * 20]
    assert render(columns, rows, width=42, spare=spare)[1] == ["c" * 20, "lost"]
    assert render(columns, rows, width=40, spare=spare)[1] == ["b" * 20, "c" * 20]


def test_a_column_comes_back_where_a_wider_one_has_made_room():
    """The narrow one was worth less, and fits all the same."""
    columns = ["name", "n" * 3, "w" * 30]
    lines, omitted = render(columns, [["x" * 20, "1", "2"]], width=40, spare=["n" * 3, "w" * 30])
    assert omitted == ["w" * 30]
    assert lines[0].split() == ["name", "nnn"]


def test_numbers_are_right_aligned_and_texts_broken_at_spaces():
    """To the column."""
    lines, _ = render([">no", "text"], [["1", "one"], ["10", "two three four"]], width=None)
    assert lines == ["no  text", "──────────────────", " 1  one", "10  two three four"]
    lines, _ = render([">no", "text"], [["10", "the words of a text longer than the width"]], width=40)
    assert lines == [
        "no  text",
        "─" * 40,
        "10  the words of a text longer than the",
        "    width",
    ]


def test_a_text_goes_below_its_row_where_there_is_no_room_beside_it():
    """Of two, the one that fewer rows have."""
    rows = [["h" * 15, "found " * 4, ""], ["host-2", "found", "apt install podman"]]
    lines, omitted = render(
        ["name", "why", "remedy"], [[cell.strip() for cell in row] for row in rows], width=40
    )
    assert omitted == []
    assert lines[2:] == [
        "hhhhhhhhhhhhhhh  found found found found",
        "host-2           found",
        "    remedy: apt install podman",
    ]


def test_rows_of_too_many_numbers_become_blocks():
    """With every column, whatever may be spared elsewhere."""
    columns = ["item", *(f">number {index}" for index in range(6))]
    rows = [["one", *(str(index) * 8 for index in range(6))], ["two", *(["-"] * 6)]]
    lines, omitted = render(columns, rows, width=40)
    assert omitted == []
    assert lines == [
        "item      one",
        *(f"number {index}  {str(index) * 8}" for index in range(6)),
        "",
        "item      two",
    ]


def test_what_would_steer_a_terminal_is_shown():
    """A name in a file that somebody else wrote may hold it; a byte that is no UTF-8 is shown by its number."""
    lines, _ = render(["a"], [["\x1b[2Jgone\r\udcff"]], width=None)
    assert lines[2] == "\\x1b[2Jgone \\xff"


def test_lines_of_a_cell_are_kept_where_there_is_a_width_and_joined_where_each_row_is_a_line():
    """For people one below the other, for programs in one."""
    rows = [["ping", "no_route 3\ntoo_big 4", "5"]]
    columns = ["item", "dropped", ">offered"]
    assert render(columns, rows, width=80)[0][2:] == ["ping  no_route 3        5", "      too_big 4"]
    assert render(columns, rows, width=None)[0][2:] == ["ping  no_route 3, too_big 4        5"]


def test_text_is_broken_at_spaces_only():
    """A word that is longer runs over."""
    assert wrap("one two  three", None) == ["one two  three"]
    assert wrap("one two three", 7) == ["one two", "three"]
    assert wrap("a/path/that/is/longer than this", 8) == ["a/path/that/is/longer", "than", "this"]
    assert wrap("", 8) == [""]
