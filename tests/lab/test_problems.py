"""The words of a problem: short, printable, and with the nearest right word."""

import pytest

from dtls_emu.lab.problems import dotted, shown, suggest


@pytest.mark.parametrize(
    ("wrong", "choices", "text"),
    [
        ("encrpyt", ["encrypt", "clear"], "did you mean `encrypt`? (one of: encrypt, clear)"),
        ("DROPUNENCRYPTED", ["DropUnencrypted"], "did you mean `DropUnencrypted`?"),
        ("zzz", ["encrypt", "clear"], "write one of: encrypt, clear"),
        ("host-12", [f"host-{number}" for number in range(13)], "did you mean `host-12`?"),
        ("zzz", [f"host-{number}" for number in range(13)], "write another"),
        ("zzz", [], "there is none to name"),
        (5, ["4", "6"], "write one of: 4, 6"),
        ("x" * 10**6, ["x"], "write one of: x"),
        ("zzz", ["a\nb"], "write one of: a?b"),
    ],
)
def test_the_nearest_choice_is_suggested(wrong, choices, text):
    """And all of them listed, where they are few."""
    assert suggest(wrong, choices) == text


@pytest.mark.parametrize(
    ("wrong", "choices", "taken", "text"),
    [
        ("enforcment", [], ["enabled", "enforcement"], "did you mean `enforcement`?"),
        ("enforcment", ["a", "b"], ["enforcement"], "did you mean `enforcement`? (one of: a, b)"),
        ("addres", ["address_v6"], ["address"], "did you mean `address` or `address_v6`?"),
        ("address_v", ["address_v6"], ["address"], "did you mean `address_v6`?"),
        ("zzz", ["a", "b"], ["enforcement"], "write one of: a, b"),
        ("zzz", [], ["enforcement"], "there is none to name"),
    ],
)
def test_what_is_there_already_may_be_what_was_meant(wrong, choices, taken, text):
    """It is named when it is the nearest, beside the nearest that is free; it is never listed."""
    assert suggest(wrong, choices, taken) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("5 ms", "`5 ms`"),
        (5, "`5`"),
        (True, "`true`"),
        (None, "nothing"),
        ({}, "a mapping"),
        ([1], "a list"),
        ("x" * 41, f"`{'x' * 40}...`"),
        ("a\nb\x1b[31m", "`a?b?[31m`"),
        (10**4000, "a huge number"),
    ],
)
def test_what_the_file_holds_is_shown_on_one_short_line(value, text):
    """No control characters reach the terminal."""
    assert shown(value) == text


def test_a_path_is_written_with_dots_and_brackets():
    """As in the documentation."""
    assert dotted(("traffic", 0, "expect", "dropped")) == "traffic[0].expect.dropped"
    assert dotted(("hosts", "x\ny")) == "hosts.x?y"
    assert dotted(()) == ""
