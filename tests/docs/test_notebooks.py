"""The notebooks of the site run from the first cell to the last, and show what they speak of."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest


NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))


def run(source, names):
    """A cell, as a notebook runs it: the value of its last line, if that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    if last is None:
        return None
    assert isinstance(last, ast.Expr)
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)


def shown(value):
    """What a notebook shows of a value."""
    return value._repr_html_() if hasattr(value, "_repr_html_") else repr(value)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path):
    """They have keys in them, and change from run to run; and the file is of a version that notebooks read."""
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["nbformat"] == 4
    code = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert len({cell["id"] for cell in document["cells"]}) == len(document["cells"])


def test_two_cards_are_driven_by_hand(capsys):
    """Each cell in order; the ping arrives, the record opens with the key, and one that was changed is counted."""
    (path,) = [each for each in NOTEBOOKS if each.stem == "two-cards-by-hand"]
    names = {"__name__": "__main__"}
    values = [
        run("".join(cell["source"]), names)
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code"
    ]
    assert [value for value in values if isinstance(value, bool)] == [True, True, True]
    assert {"auth_failed": 1} in values
    printed = capsys.readouterr().out
    assert "16 fe ff" in printed
    assert "17 fe fd" in printed
    told = [shown(value) for value in values if value is not None]
    assert any("delivered" in text and "<pre>" in text for text in told)
    assert any(text.startswith('<div class="explanation">') for text in told)
    assert any("<td>lost</td>" in text for text in told)
    assert told[-1].startswith("Capture(packets=")
