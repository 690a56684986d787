"""A document says the same as text, as HTML and as JSON, whatever it is made of."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from dtls_emu.teach.blocks import (
    Command,
    Facts,
    Field,
    Heading,
    Ladder,
    Layer,
    Message,
    Octets,
    Table,
    Text,
    Verdict,
)
from dtls_emu.teach.document import Document
from dtls_emu.teach.html import fragment, page
from dtls_emu.teach.text import render_text


LAYER = Layer("header", "RFC 0", (Field("first", 1, 3, "7", "what it means"), Field("second", 3, 5, "")))

DOCUMENT = Document(
    "All kinds of blocks",
    [
        Heading("A heading"),
        Text(
            "A paragraph with <b> and & in it, which is long enough to be broken at the end of a line of eighty."
        ),
        Verdict(good=True, text="as it should be"),
        Verdict(good=False, text="not as it should be"),
        Facts((("name", "value"), ("other", "more"))),
        Table(("what", ">number"), (("a row", "1"), ("another", "22")), "A table", frozenset({1})),
        Octets("some bytes", bytes(range(70)), (LAYER,)),
        Command("that it is so", ("python3 -c 'print(1)'",)),
        Ladder(
            "left", "right", (Message(0.0, True, "hello", "12 bytes"), Message(0.5, False, "no", lost=True))
        ),
    ],
)

WORDS = (
    "A heading",
    "as it should be",
    "value",
    "another",
    "22",
    "first",
    "what it means",
    "hello",
    "12 bytes",
    "print(1)",
)


class Parsed(HTMLParser):
    """What a browser would show, and whether every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.loads = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.loads += [value for name, value in attributes if name in {"src", "href"}]
        if tag not in {"meta", "br", "line", "path"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("width", [60, 80, 200])
def test_text_has_everything_and_fits(width):
    """No line is longer than asked, and no escape sequence is in it unless colours were."""
    text = render_text(DOCUMENT, width)
    assert max(map(cell_len, text.splitlines())) <= width
    joined = " ".join(text.split())
    assert [word for word in WORDS if word not in joined] == []
    assert "\x1b" not in text
    assert "\x1b[" in render_text(DOCUMENT, width, colour=True)


def test_a_page_is_one_file_that_has_everything():
    """It loads nothing, closes what it opens, and what comes from a run is text and never markup."""
    parsed = Parsed(page(DOCUMENT.title, DOCUMENT.blocks))
    assert parsed.open == []
    assert parsed.loads == []
    assert [word for word in WORDS if word not in parsed.text] == []
    assert "with <b> and & in it" in parsed.text
    assert "<script" not in page(DOCUMENT.title, DOCUMENT.blocks)


def test_json_has_every_block_and_is_json():
    """Bytes are in hexadecimal, rows are mappings."""
    found = json.loads(json.dumps(DOCUMENT.as_dict()))
    assert [block["kind"] for block in found["blocks"]] == [
        "heading",
        "text",
        "verdict",
        "verdict",
        "facts",
        "table",
        "octets",
        "command",
        "ladder",
    ]
    octets = found["blocks"][6]
    assert bytes.fromhex(octets["data"]) == bytes(range(70))
    assert octets["layers"][0]["fields"][0] == {
        "name": "first",
        "start": 1,
        "stop": 3,
        "value": "7",
        "meaning": "what it means",
    }
    assert found["blocks"][5]["rows"][1] == {"what": "another", "number": "22", "marked": True}


@given(st.text(), st.binary(max_size=200))
def test_whatever_a_run_says_is_shown(text, data):
    """Names and bytes of somebody else's steer neither a terminal nor a browser."""
    document = Document(text, [Text(text), Facts(((text, text),)), Octets(text, data)])
    Parsed(page(document.title, document.blocks))
    assert "\x1b" not in render_text(document)


def test_a_notebook_shows_a_document():
    """As HTML with its style, in one element."""
    assert DOCUMENT._repr_html_() == fragment(DOCUMENT.title, DOCUMENT.blocks)
    assert "<style>" in fragment(DOCUMENT.title, DOCUMENT.blocks)
