"""The page is ours, all of it, and asks nobody else for anything."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from dtls_emu.teach.page.server import STATIC


FOLDER = files("dtls_emu.teach.page") / "static"
NAMES = sorted(each.name for each in FOLDER.iterdir())
TEXTS = {name: (FOLDER / name).read_text(encoding="utf-8") for name in NAMES}


def test_each_file_is_served_and_each_served_one_is_there():
    """No more and no less, and the page's entry."""
    assert set(NAMES) == {*STATIC, "index.html"}


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_loaded_from_elsewhere(name):
    """No address but the name of SVG's vocabulary, which nobody fetches."""
    addresses = set(re.findall(r"""(?:https?:)?//[\w.-]+\.[a-z]{2,}[^\s"'`)]*""", TEXTS[name]))
    addresses = {each for each in addresses if "://" in each or name.endswith((".html", ".css"))}
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert "@import" not in TEXTS[name]


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".js")])
def test_scripts_make_no_markup_and_no_code_of_text(name):
    """What comes from a run is text; and imports are of our own files."""
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "localStorage",
    ):
        assert word not in TEXTS[name]
    for imported in re.findall(r"""(?:from|import)\s+["']([^"']+)["']""", TEXTS[name]):
        assert imported.startswith("./")
        assert imported.removeprefix("./") in NAMES
    assert not re.search(r"\bimport\(", TEXTS[name])


def test_the_page_has_no_inline_script_or_style():
    """The Content-Security-Policy would refuse it."""
    page = TEXTS["index.html"]
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert "<style" not in page
    assert not re.search(r"\son[a-z]+=|\sstyle=", page)
    for address in re.findall(r"""(?:src|href)="([^"#][^"]*)\"""", page):
        assert address.removeprefix("static/") in STATIC


def luminance(colour):
    """WCAG 2.2, relative luminance."""
    digits = colour[1:] if len(colour) == 7 else "".join(each * 2 for each in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


INKS = ("ink", "faint", "good", "bad", "wait", "accent", "c0", "c1", "c2", "c3", "c4", "c5")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(scheme):
    """4.5 to 1 at least (WCAG 2.2 1.4.3, AA): every ink on paper and ground, and what stands on a colour."""
    blocks = re.findall(r":root \{(.*?)\}", TEXTS["style.css"], re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", blocks[scheme == "dark"]))
    pairs = [(ink, paper) for ink in INKS for paper in ("paper", "ground")]
    pairs += [
        ("on-accent", "accent"),
        ("on-lit", "lit"),
        ("ink", "vm"),
        ("faint", "card"),
        ("good", "vm"),
        ("bad", "vm"),
    ]
    pairs += [("ink", shape) for shape in ("host", "card", "clear", "sealed", "shake", "gone")]
    poor = {
        f"{a} on {b}": round(contrast(colours[a], colours[b]), 2)
        for a, b in pairs
        if contrast(colours[a], colours[b]) < 4.5
    }
    assert not poor
