"""The page in a browser: light, dark, on a phone and on paper; nothing is asked for, nothing overflows."""

import sys
from pathlib import Path

import pytest

from dtls_emu.measure.rendering.folder import ReportFolder


pytest.importorskip("matplotlib", reason="the report's pictures need matplotlib (PyPI)")
pytestmark = pytest.mark.browser

DRIVER = Path(__file__).parents[2] / "teach" / "page"


@pytest.fixture
def browser(tmp_path):
    sys.path.insert(0, str(DRIVER))
    try:
        from browser import Browser
    finally:
        sys.path.pop(0)

    browser = Browser(tmp_path / "browser")
    yield browser
    browser.close()


def test_it_is_read_as_it_is_meant(browser, tmp_path, result):
    """By eyes, by a screen reader, by the keyboard, and by a printer."""
    address = ReportFolder(tmp_path / "report").write([result]).as_uri()
    inks = set()
    for dark, width in ((False, 1280), (True, 1280), (False, 390)):
        browser.open(address, width=width, dark=dark, phone=width < 500)
        browser.wait("document.readyState === 'complete' && document.querySelector('figure svg')")
        # Wide tables scroll by themselves; the page does not.
        assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
        ink = browser.evaluate("getComputedStyle(document.querySelector('figure svg text')).fill")
        assert ink == browser.evaluate("getComputedStyle(document.body).color")
        inks.add(ink)
    assert len(inks) == 2
    tree = browser.call("Accessibility.getFullAXTree")["nodes"]
    pictures = [node for node in tree if node.get("role", {}).get("value") in {"image", "img"}]
    assert pictures
    assert all(node["name"]["value"] for node in pictures)
    browser.key("Tab")
    assert browser.evaluate("document.activeElement.textContent") == "To the answer"
    paper = browser.call("Page.printToPDF")["data"]
    assert paper.startswith("JVBERi0")  # %PDF-
    assert browser.troubles == []
    assert {each for each in browser.asked if not each.startswith("file:")} <= {"about:blank"}
