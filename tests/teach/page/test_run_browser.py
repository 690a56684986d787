"""A lab that an ordinary user has brought up, in his browser: what really happens is shown, and his controls work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


pytestmark = [pytest.mark.browser, pytest.mark.unprivileged]

COMMAND = [sys.executable, "-m", "dtls_emu"]
ROWS = "dtlsEmu.history.rows"
PATIENCE = 60.0
"""Seconds: a card is started, by a machine that has other things to do."""


@pytest.fixture
def run(ordinary_user):
    """Two VMs that are up."""
    name = f"p{os.getpid()}"
    ordinary_user.run(*COMMAND, "up", "two-vms", "--name", name)
    yield name
    ordinary_user.run(*COMMAND, "down", name)


@pytest.fixture
def address(ordinary_user, run):
    """Of the page that shows them; the name alone says which run is meant."""
    with subprocess.Popen(
        ordinary_user.command(*COMMAND, "serve", run, "--no-browser", "--json"),
        env=ordinary_user.environment,
        cwd=ordinary_user.home / "work",
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert (told["kind"], told["title"]) == ("run", run)
        yield told["url"]
        process.terminate()


@pytest.fixture
def browser(tmp_path):
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        from browser import Browser
    finally:
        sys.path.pop(0)

    browser = Browser(tmp_path)
    yield browser
    browser.close()


def appears(browser, kind, before=0):
    """A row of a kind, from a number on."""
    found = f"{ROWS}.slice({before}).find((row) => row[1] === {json.dumps(kind)}) ?? null"
    return browser.wait(found, seconds=PATIENCE)


def click(browser, selector, kind):
    """A control that says that it has worked; the first event of a kind that follows."""
    before = browser.evaluate(f"{ROWS}.length")
    browser.click(selector)
    browser.wait("document.querySelector('#done').className === 'good'", seconds=PATIENCE)
    return appears(browser, kind, before)


def test_a_lab_that_is_up_is_shown_and_played_with(ordinary_user, run, address, browser):
    """Packets of real VMs; fresh keys, a card that starts anew, a changed network: each is done, and read."""
    browser.open(address)
    browser.wait("window.dtlsEmu")
    ordinary_user.run(
        *COMMAND, "exec", "--run", run, "vm-a", "--", "ping", "-c", "3", "-i", "0.2", "10.0.0.5"
    )
    assert appears(browser, "delivered")[7]["vm"] in {"vm-a", "vm-b"}
    assert appears(browser, "decided")[7]["verdict"] == "encrypt"
    browser.wait("document.querySelector('.tunnel.up')", seconds=PATIENCE)
    browser.click("#tab-controls")
    assert browser.evaluate("document.querySelector('#send-ping').closest('fieldset').disabled")
    assert "dtls-emu exec" in browser.evaluate("document.querySelector('#why-send').textContent")
    assert browser.evaluate("document.querySelector('#backend').disabled")
    assert click(browser, "#rekey", "association_opened")[7]["peer"]
    browser.choose("#card", "host-2")
    assert click(browser, "#restart", "card_restarted")[2] == "host-2"
    browser.choose("#enforcement", "DropUnencrypted")
    assert "DropUnencrypted" in click(browser, "#set-network", "lab_changed")[6]
    status = json.loads(ordinary_user.run(*COMMAND, "status", "--json", "--run", run).stdout)
    assert len(status["hosts"]) == 2
    browser.click("#tab-counters")
    browser.wait("document.querySelector('#panel-counters')?.textContent.includes('delivered to VMs')")
    browser.click("#tab-meter")
    browser.wait("document.querySelectorAll('#panel-meter meter').length === 4")
    assert browser.troubles == []
