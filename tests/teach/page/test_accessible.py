"""The page is checked by axe-core, as a reader with a screen reader, or weak eyes, has it: every panel, light and dark."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from dtls_emu.simulation import simulate


pytestmark = [pytest.mark.browser, pytest.mark.axe]

PANELS = ("packet", "controls", "handshake", "decision", "flows", "counters", "attacks", "meter")
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice")

CHECK = f"""
axe.run(document, {{ runOnly: {{ type: "tag", values: {json.dumps(RULES)} }}, resultTypes: ["violations"] }})
  .then((found) => found.violations.flatMap((each) => each.nodes.map((node) => `${{each.id}}: ${{node.html.slice(0, 120)}}: ${{node.failureSummary}}`)))
"""


@pytest.fixture(scope="module")
def address():
    simulate("two-vms")  # compiles kernels where none are kept, which takes longer than a page is waited for
    command = [sys.executable, "-m", "dtls_emu", "serve", "two-vms", "--no-browser", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
        process.terminate()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        from browser import Browser
    finally:
        sys.path.pop(0)

    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_has_nothing_to_say(browser, address, dark):
    """Names, roles, contrast, order of headings, landmarks, the keyboard: on a projector, with each panel open."""
    browser.open(address, 1280, 800, dark=dark)
    browser.wait("window.dtlsEmu && dtlsEmu.history.rows.some((row) => row[1] === 'delivered')")
    browser.evaluate("dtlsEmu.player.play(false)")
    browser.evaluate((files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8") + ";1")
    for panel in PANELS:
        browser.click(f"#tab-{panel}")
        if panel == "packet":
            browser.choose("#filter-packet", "1")
            browser.evaluate("document.querySelector('#list [data-event]').click()")
            browser.wait("document.querySelectorAll('#panel-packet .octets').length")
        elif panel in {"handshake", "decision"}:
            browser.wait(f"document.querySelector('#panel-{panel} .document')")
        assert browser.evaluate(CHECK) == [], panel


def test_what_is_wrong_would_be_found(browser, address):
    """A button without a name, and text that can hardly be read."""
    browser.open(address)
    browser.wait("window.dtlsEmu")
    browser.evaluate((files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8") + ";1")
    browser.evaluate(
        """(() => { const bad = document.createElement("button"); document.querySelector("header").append(bad);
            document.querySelector("#title").style.color = "#ddd"; })()"""
    )
    found = {each.partition(":")[0] for each in browser.evaluate(CHECK)}
    assert {"button-name", "color-contrast"} <= found
