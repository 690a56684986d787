"""Whatever is damaged in a file, it is answered or refused in one line; nothing else happens."""

from __future__ import annotations

import copy
import json
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtls_emu.errors import DtlsEmuError
from dtls_emu.whatif.answer.answer import answer
from dtls_emu.whatif.answer.comparison import compare_answers
from dtls_emu.whatif.answer.question import Question
from dtls_emu.whatif.documents import read_documents
from dtls_emu.whatif.model.build import build
from dtls_emu.whatif.report.as_json import as_json
from dtls_emu.whatif.report.lab_file import as_lab
from dtls_emu.whatif.report.page import page
from dtls_emu.whatif.report.sarif import as_sarif
from tests.whatif.conftest import EXAMPLES


TEMPLATES = [json.loads(path.read_text()) for path in sorted(EXAMPLES.glob("*.json"))]
JUNK: list[object] = [None, True, 0, -1, 10**30, 1.5, "", "[", "[parameters('x')]", "[copyIndex()]", "a/b/c", [], [[]], {}, {"id": 3},
        "[reference('x').y]", {"properties": None}, "0.0.0.0/0", "ÿ\x1b[0m", [None, {}]]  # fmt: skip


def damaged(rng):
    """A template in which some values are something else, are gone, or stand somewhere else."""
    template = copy.deepcopy(rng.choice(TEMPLATES))
    for _ in range(rng.randint(1, 6)):
        place = template
        for _ in range(rng.randint(1, 12)):
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.9:
                place = place[key]
                continue
            place[key] = copy.deepcopy(rng.choice(JUNK))
            break
    return template


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_a_damaged_template_is_answered_or_refused(seed):
    """Every report included."""
    print(f"seed {seed}")
    check(damaged(random.Random(seed)))


@pytest.mark.parametrize("seed", range(20))
def test_damaged_lists_are_answered_or_refused(seed, lists):
    """As the Azure CLI prints them, flat."""
    rng = random.Random(seed)
    lists.network("one", "10.0.0.0/24")
    lists.network("two", "10.1.0.0/24")
    lists.peer("one", "two")
    lists.vm("a", "one")
    lists.vm("b", "two", "Standard_B2s")
    items = lists.items
    for _ in range(4):
        item = rng.choice(items)
        item[rng.choice([key for key in item if key != "id"])] = copy.deepcopy(rng.choice(JUNK))
    check(items)


def check(document):
    refused = ""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.json"
        path.write_text(json.dumps(document))
        try:
            documents = read_documents([str(path)])
            found = answer(build(documents), Question())
            json.dumps(as_json(found))
            json.dumps(as_sarif(found, documents))
            page(found, "x")
            compare_answers(found, found)
            as_lab(found)
        except DtlsEmuError as error:
            refused = str(error)
    assert refused.isprintable() or "\n" not in refused
