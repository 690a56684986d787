"""How blocks of a document are read and compared: otherwise the tests of documents prove nothing."""

from __future__ import annotations

import pytest
from consoles import Step, agrees, compare, play, steps


PAGE = """
Some text.

```console
$ cat page.txt
as it is saved
$ cat gone.txt
cat: gone.txt: No such file or directory
$ echo $?
1
$ true
```

```{code-block} text
:caption: page.txt

as it is saved
```

<!-- masked: figures; run as: echo took 7.5 ms of 1,000 -->
```console
$ bench
took 31 µs of 2
```
"""


def test_a_page_is_read_in_its_order():
    """Commands with what is shown, files, and how a block is run instead."""
    assert steps(PAGE) == [
        Step("cat page.txt", "as it is saved\n"),
        Step("cat gone.txt", "cat: gone.txt: No such file or directory\n"),
        Step("echo $?", "1\n"),
        Step("true"),
        Step("save page.txt", "as it is saved\n", file="page.txt"),
        Step("echo took 7.5 ms of 1,000", "took 31 µs of 2\n", "figures"),
    ]


def test_what_is_shown_is_what_is_printed(tmp_path):
    """One shell for all: statuses go on from command to command."""
    played = play(steps(PAGE), tmp_path)
    compare(played)
    assert [status for _, _, status in played] == [0, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("echo a", "b\n"),
        ("false", None),
        ("echo a; echo b", "a\n"),
        ("echo a", "a\nb\n"),
        ("echo a 1", "a 2\n"),
    ],
)
def test_anything_else_fails(tmp_path, command, shown):
    """Another line, one too many or too few; and a failure of what is to succeed."""
    with pytest.raises(AssertionError):
        compare(play([Step(command, shown)], tmp_path))


@pytest.mark.parametrize(
    ("output", "agreed"),
    [
        ("a\nb\nc\nd\n", True),
        ("a\nx\ny\nb\nc\nx\nd\n", True),
        ("x\na\nb\nc\nd\n", False),
        ("a\nb\nc\nd\nx\n", False),
        ("a\nc\nb\nd\n", False),
        ("a\nd\n", False),
    ],
)
def test_dots_stand_for_lines_left_out(output, agreed):
    """Where they stand, and nowhere else."""
    assert agrees("a\n...\nb\nc\n...\nd\n", output) is agreed
