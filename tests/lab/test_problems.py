"""The words of a problem: short, printable, and with the nearest right word."""

import pytest

from dtls_emu.lab import problems
from dtls_emu.lab.problems import dotted, shown, suggest


@pytest.mark.parametrize(
    ("wrong", "choices", "text"),
    [
        ("encrpyt", ["encrypt", "clear"], "did you mean `encrypt`? (one of: encrypt, clear)"),
        ("DROPUNENCRYPTED", ["DropUnencrypted"], "did you mean `DropUnencrypted`?"),
        ("zzz", ["encrypt", "clear"], "write one of: encrypt, clear"),
        ("host-12", [f"host-{number}" for number in range(13)], "did you mean `host-12`?"),
        ("zzz", [f"host-{number}" for number in range(13)], "write another"),
        ("zzz", [], "leave it out"),
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
        ("zzz", [], ["enforcement"], "leave it out"),
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


def test_many_names_are_not_all_compared(monkeypatch):
    """The nearest is found among those around the word in the alphabet, in a time that their number hardly changes."""
    compared: list[str] = []

    def compare(_word, names, **_options):
        compared.extend(names)
        return []

    monkeypatch.setattr(problems, "get_close_matches", compare)
    suggest("host-05001x", [f"host-{number:05}" for number in range(20_000)])
    assert len(compared) == problems.MAX_COMPARED
    assert "host-05001" in compared


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("vni:5001", ("vni", "`vni:5001` has no space behind its colon; write `vni: 5001`")),
        ("vni: 5001", None),
        ("http://x", None),
        ("fd00:1::4", ("fd00", "`fd00:1::4` has no space behind its colon; write `fd00: 1::4`")),
        ("10:30", None),
        ("a::b", None),
        ("a:", None),
    ],
)
def test_a_key_without_a_space_behind_its_colon_is_known(text, found):
    """Addresses of hosts and of the web are none; IPv6 may look like one, and is asked about where none may stand."""
    assert problems.missing_space(text) == found


def test_a_path_is_written_with_dots_and_brackets():
    """As in the documentation."""
    assert dotted(("traffic", 0, "expect", "dropped")) == "traffic[0].expect.dropped"
    assert dotted(("hosts", "x\ny")) == "hosts.x?y"
    assert dotted(()) == ""
