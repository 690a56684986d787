"""The page in a browser, as a user has it: each control is used, and what it does is read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dtls_emu.capture.trace_file import Trace, encode_trace
from dtls_emu.events import Classified, Delivered, Direction, FlowId, Offered, Received, Sent
from dtls_emu.lab import load_lab
from dtls_emu.simulation import simulate


pytestmark = pytest.mark.browser

LAB = """
virtual_networks:
  prod:
    address_prefixes: [10.0.0.0/24]
    vni: 5001
    encryption: {enabled: true, enforcement: AllowUnencrypted}
hosts:
  h1: {underlay: 192.0.2.1}
  h2: {underlay: 192.0.2.2}
vms:
  a: {host: h1, virtual_network: prod, address: 10.0.0.4}
  b: {host: h2, virtual_network: prod, address: 10.0.0.5}
traffic:
  - {name: one, kind: ping, from: a, to: b, count: 2, interval: 1ms}
"""

ENDS = (("192.0.2.1", 4433), ("192.0.2.2", 4433))
"""Underlay addresses of the two hosts."""

ROWS = "dtlsEmu.history.rows"


@pytest.fixture(scope="module")
def serve():
    """Serve something; the page's address."""
    simulate("two-vms")  # compiles kernels where none are kept, which takes longer than a page is waited for
    running = []

    def serve(*words):
        command = [sys.executable, "-m", "dtls_emu", "serve", *words, "--no-browser", "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout is not None
        return json.loads(process.stdout.readline())["url"]

    yield serve
    for process in running:
        process.terminate()
    for process in running:
        assert process.wait(timeout=20) == 143
        if process.stdout is not None:
            process.stdout.close()


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


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    path = tmp_path_factory.mktemp("labs") / "small.yaml"
    path.write_text(LAB)
    return str(path)


@pytest.fixture(scope="module")
def address(serve, lab):
    return serve(lab)


@pytest.fixture
def page(browser, address):
    """The page, freshly loaded, standing at the end of what has happened so far; in the end nothing was wrong."""
    browser.open("about:blank")  # what the page before it still asks for is not this one's
    browser.evaluate("1")
    browser.troubles.clear()
    browser.asked.clear()
    browser.open(address)
    browser.wait("window.dtlsEmu && dtlsEmu.history.rows.length")
    run_on(browser)
    yield browser
    assert browser.troubles == []
    assert {each for each in browser.asked if not each.startswith(address)} == set()


def run_on(browser):
    """To the end of what happens by itself, as fast as it goes."""
    browser.choose("#speed", "10")
    browser.click("#last")
    browser.evaluate("dtlsEmu.player.play(true)")
    browser.wait("dtlsEmu.history.ended && !dtlsEmu.player.playing")


def act(page, selector, kind):
    """Click a control of the controls' panel, and wait for an event of a kind; the first row of it."""
    page.click("#tab-controls")
    before = page.evaluate(f"{ROWS}.length")
    page.click(selector)
    row = page.wait(f"{ROWS}.slice({before}).find((row) => row[1] === {json.dumps(kind)}) ?? null")
    page.wait("document.querySelector('#done').className === 'good'")
    page.wait("dtlsEmu.history.ended && !dtlsEmu.player.playing")
    return row


def test_the_lab_plays_by_itself_and_a_packet_is_seen(browser, serve, lab):
    """From the address to an envelope in clear, then a sealed one; the clock goes on."""
    browser.open(serve(lab))
    browser.wait("document.querySelector('[data-shape=clear]')")
    browser.wait("document.querySelector('[data-shape=handshake]')")
    browser.wait("document.querySelector('.tunnel.up')")
    browser.wait("document.querySelector('[data-shape=sealed]')")
    assert browser.evaluate("document.querySelector('#clock').textContent") != "0.000 ms"


def test_time_goes_forward_and_back(page):
    """By buttons, by keys and along the scrubber; back is a replay: the run is no longer because of it."""
    count = page.evaluate(f"{ROWS}.length")
    assert page.evaluate("dtlsEmu.player.index") == count
    page.click("#back")
    assert page.evaluate("dtlsEmu.player.index") == count - 1
    page.key("ArrowLeft")
    assert page.evaluate("dtlsEmu.player.index") == count - 2
    page.click("#step")
    page.wait(f"dtlsEmu.player.index === {count - 1}")
    page.click("#first")
    assert page.evaluate("[dtlsEmu.player.index, dtlsEmu.player.state.counts.size]") == [0, 0]
    page.choose("#scrubber", str(count // 2))
    assert page.evaluate("dtlsEmu.player.index") == count // 2
    page.key("End")
    assert page.evaluate("dtlsEmu.player.index") == count
    page.click("#first")
    page.choose("#speed", "3")
    page.click("#play")
    page.wait("dtlsEmu.player.index > 3")
    page.key(" ", "Space")
    assert page.evaluate("dtlsEmu.player.playing") is False
    assert page.evaluate(f"{ROWS}.length") == count
    # What is shown at a moment is the same, from whichever side one comes.
    same = page.evaluate(
        """(() => { const show = (state) => JSON.stringify([...state.counts, ...state.flows, ...state.tunnels, ...state.packets]);
            const {history} = dtlsEmu; const whole = history.at(history.rows.length, history.at(0));
            return show(whole) === show(history.head); })()"""
    )
    assert same


def test_speed_is_chosen(page):
    """From the list, and by keys."""
    page.choose("#speed", "7")
    assert page.evaluate("dtlsEmu.player.speed") == 5e-3
    page.evaluate("document.activeElement.blur()")
    page.key("-")
    assert page.evaluate("dtlsEmu.player.speed") == 1e-3


def test_keys_are_told(page):
    """In a dialog that can be closed again; and there is more room for the panels on demand."""
    page.key("?")
    page.wait("document.querySelector('#keys').open")
    page.click("#keys form button")
    page.wait("!document.querySelector('#keys').open")
    before = page.evaluate("document.querySelector('aside').clientWidth")
    page.click("#widen")
    assert page.evaluate("document.querySelector('aside').clientWidth") > before
    assert page.evaluate("document.querySelector('#widen').getAttribute('aria-pressed')") == "true"


def test_events_are_filtered(page):
    """By host, kind, packet and text; what is left is said."""
    for field, value, column in (("host", "h2", 2), ("kind", "sealed", 1), ("packet", "1", 3)):
        page.choose(f"#filter-{field}", value)
        found = page.evaluate(f"dtlsEmu.list.shown.map((each) => String({ROWS}[each][{column}]))")
        assert set(found) == {value}
        assert page.evaluate("document.querySelector('#filter-count').textContent").startswith(
            f"{len(found)} of"
        )
        page.choose(f"#filter-{field}", "")
    page.choose("#filter-text", "10.0.0.5")
    assert 0 < page.evaluate("dtlsEmu.list.shown.length") < page.evaluate(f"{ROWS}.length")


def test_a_packet_is_looked_into(page):
    """Its bytes plain and sealed, its decision; a field lights up under the pointer, in bytes and list."""
    page.choose("#filter-packet", "1")
    page.evaluate("document.querySelector('#list').focus()")
    page.key("ArrowUp")
    page.key("Enter")
    page.wait("document.querySelectorAll('#panel-packet .beside .octets').length >= 2")
    text = page.evaluate("document.querySelector('#panel-packet').textContent")
    assert "Row 16" in text
    assert "The tag verifies" in text
    assert "nonce" in text
    first = "#panel-packet .bytes b:nth-child(13)"
    box = page.evaluate(
        f"""(() => {{ const each = document.querySelector('{first}'); each.scrollIntoView({{block: "center"}});
            const {{x, y}} = each.getBoundingClientRect(); return [x + 4, y + 8]; }})()"""
    )
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
    assert page.wait("document.querySelectorAll('#panel-packet .bytes .lit').length") == 4
    assert "source: 10.0.0.4" in page.evaluate("document.querySelector('.readout').textContent")
    page.click("#panel-packet .good .quiet")
    page.wait("document.querySelector('#decision-body tr.marked')")
    assert "16" in page.evaluate("document.querySelector('#decision-body tr.marked').textContent")


def test_an_envelope_is_clicked(page):
    """It is where the packet is, and opens it -> raises nothing."""
    page.evaluate(f"dtlsEmu.player.seek({ROWS}.findIndex((row) => row[1] === 'sent' && row[3] === 1) + 1)")
    page.wait("document.querySelector('.envelope[data-shape=sealed]')")
    page.click(".envelope[data-shape=sealed] use")
    page.wait("document.querySelector('#panel-packet h2')?.textContent.startsWith('Packet 1:')")


def test_handshake_decision_flows_and_counters_are_shown(page):
    """Each in its panel, and the panels open by keys."""
    page.key("3")
    page.wait("document.querySelectorAll('#panel-handshake .rung').length >= 6")
    page.key("4")
    page.choose("#decision-to", "203.0.113.7")
    page.click("#decide")
    page.wait("document.querySelector('#decision-body tr.marked')?.textContent.includes('internet')")
    page.key("Escape")
    page.evaluate("document.activeElement.blur()")
    page.key("5")
    assert "10.0.0.4" in page.evaluate("document.querySelector('#panel-flows table').textContent")
    page.key("6")
    assert "delivered to VMs" in page.evaluate("document.querySelector('#panel-counters').textContent")


def test_each_kind_of_packet_is_sent(page):
    """And what becomes of it is in the events."""
    assert act(page, "#send-ping", "delivered")[7]["vm"] == "b"
    page.choose("#count", "3")
    assert act(page, "#send-stream", "offered")[4] == 3
    assert act(page, "#send-fragment", "dropped")[7]["why"] == "fragment"
    assert act(page, "#send-jumbo", "dropped")[7]["why"] == "too_big"
    assert act(page, "#send-replay", "refused")[7]["why"] == "replayed"
    assert act(page, "#send-tamper", "refused")[7]["why"] == "auth_failed"


def test_each_setting_takes_effect(page):
    """Link, VM and network; and all is set back."""
    page.click("#tab-controls")
    page.choose("#loss", "100")
    assert "links" in act(page, "#set-link", "lab_changed")[6]
    assert act(page, "#send-ping", "lost")[7]["why"] == "lost"
    page.choose("#loss", "0")
    page.choose("#delay", "300")
    page.choose("#mtu", "1400")
    act(page, "#set-link", "lab_changed")
    row = act(page, "#send-ping", "sent")
    assert row[7]["at"] - row[0] == pytest.approx(300e-6)
    page.choose("#mtu", "900")
    act(page, "#set-link", "lab_changed")
    assert act(page, "#send-stream", "dropped")[7]["why"] == "too_big"
    page.choose("#delay", "50")
    page.choose("#mtu", "1650")
    act(page, "#set-link", "lab_changed")
    assert act(page, "#send-stream", "delivered")
    page.choose("#size", "Standard_B2s")
    act(page, "#set-vm", "lab_changed")
    assert act(page, "#send-ping", "decided")[7]["verdict"] == "clear"
    page.choose("#size", "Standard_D4s_v5")
    act(page, "#set-vm", "lab_changed")
    assert act(page, "#send-ping", "decided")[7]["verdict"] == "encrypt"
    page.choose("#accelerated", value=False)
    act(page, "#set-vm", "lab_changed")
    assert act(page, "#send-ping", "decided")[7]["verdict"] == "clear"
    page.choose("#enforcement", "DropUnencrypted")
    act(page, "#set-network", "lab_changed")
    assert act(page, "#send-ping", "dropped")[7]["why"] == "not_accepted"
    page.choose("#accelerated", value=True)
    act(page, "#set-vm", "lab_changed")
    page.choose("#encrypted", value=False)
    act(page, "#set-network", "lab_changed")
    assert act(page, "#send-ping", "forwarded")[7]["how"] == "clear"
    page.choose("#encrypted", value=True)
    page.choose("#enforcement", "AllowUnencrypted")
    act(page, "#set-network", "lab_changed")
    assert act(page, "#send-ping", "forwarded")[7]["how"] == "encrypted"


def test_keys_are_made_anew(page):
    """A second association, and the picture says so."""
    act(page, "#send-ping", "delivered")
    assert act(page, "#rekey", "rekeyed")
    page.wait("document.querySelector('.tunnel').getAttribute('aria-label').includes('rekeyed')")


def test_a_card_starts_anew_with_another_backend(page):
    """A tunnel of fresh keys; a card without a cipher and one with understand each other no more.

    What two without make is not shown as sealed.
    """
    act(page, "#send-ping", "delivered")
    page.choose("#card", "h1")
    assert act(page, "#restart", "association_opened")[2] == "h2"
    assert page.evaluate(f"{ROWS}.filter((row) => row[1] === 'card_restarted').at(-1)[2]") == "h1"
    assert act(page, "#send-ping", "forwarded")[7]["how"] == "encrypted"
    page.choose("#card", "h2")
    page.choose("#backend", "null")
    assert act(page, "#restart", "card_restarted")[7] == {"backend": "null"}
    assert page.evaluate("document.querySelector('#backend').value") == "null"
    assert act(page, "#send-ping", "refused")[7]["why"] == "auth_failed"
    page.choose("#card", "h1")
    page.choose("#backend", "null")
    act(page, "#restart", "card_restarted")
    before = page.evaluate(f"{ROWS}.length")
    act(page, "#send-ping", "delivered")
    shapes = (
        f"[...new Set({ROWS}.slice({before}).filter((row) => row[1] === 'sent').map((row) => row[7].as))]"
    )
    assert {"unprotected"} <= set(page.evaluate(shapes)) <= {"unprotected", "handshake"}
    for host in ("h1", "h2"):
        page.choose("#card", host)
        page.choose("#backend", "cryptography")
        assert act(page, "#restart", "card_restarted")[7] == {"backend": "cryptography"}


def test_what_cannot_be_set_is_told(page):
    """In a line, and the page goes on."""
    page.click("#tab-controls")
    page.choose("#loss", "500")
    page.click("#set-link")
    page.wait("document.querySelector('#done').className === 'bad'")
    assert "loss" in page.evaluate("document.querySelector('#done').textContent")
    # A refusal is an answer with a 4xx, which the browser writes to its console.
    assert all("status of 422" in each for each in page.troubles)
    page.troubles.clear()


def test_an_attack_is_carried_out_and_watched(page, address):
    """What stopped it is told, and its run can be opened."""
    page.click("#tab-attacks")
    page.choose("#attack", "replay")
    page.click("#carry-out")
    link = page.wait("document.querySelector('#attack-body a')?.getAttribute('href') ?? null")
    assert "replayed" in page.evaluate("document.querySelector('#attack-body').textContent")
    page.open(address + link)
    page.wait(f"window.dtlsEmu && {ROWS}.some((row) => row[1] === 'refused')")
    assert page.evaluate("document.querySelector('#title').textContent") == "attack replay on small"


def test_the_meter_measures(page):
    """In clear and encrypted, with where it was measured."""
    page.click("#tab-meter")
    page.click("#measure")
    page.wait("document.querySelectorAll('#meter-body meter').length === 2", seconds=90)
    text = page.evaluate("document.querySelector('#meter-body').textContent")
    assert "Gbit/s" in text
    assert "memory" in text


def test_everything_has_a_name_for_who_does_not_see_it(page):
    """What can be operated says what it is; headings, landmarks and one main part are there."""
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = (
        "button",
        "textbox",
        "combobox",
        "checkbox",
        "slider",
        "tab",
        "spinbutton",
        "searchbox",
        "listbox",
        "link",
    )
    nameless = [
        node["role"]["value"]
        for node in nodes
        if not node.get("ignored")
        and node.get("role", {}).get("value") in roles
        and not node.get("name", {}).get("value")
    ]
    assert nameless == []
    found = {node.get("role", {}).get("value") for node in nodes if not node.get("ignored")}
    assert {"main", "banner", "complementary", "tablist", "listbox", "slider"} <= found


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (412, 900), (320, 640)])
def test_it_fits_the_screen(browser, address, width, height, dark):
    """Nothing has to be scrolled sideways to."""
    browser.open(address, width, height, dark=dark, phone=width < 800)
    browser.wait("window.dtlsEmu && dtlsEmu.history.rows.length")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_a_crowd_is_drawn_at_once_and_each_of_it_can_be_looked_into(page):
    """More envelopes than have an element of their own: on a canvas, which says whose a place is."""
    page.choose("#count", "64")
    page.click("#tab-controls")
    before = page.evaluate(f"{ROWS}.length")
    page.click("#send-stream")
    page.wait(f"{ROWS}.slice({before}).filter((row) => row[1] === 'sent').length === 64")
    page.evaluate("dtlsEmu.player.play(false)")
    last = page.evaluate(f"{ROWS}.findLastIndex((row) => row[1] === 'sent' && row[3])")
    page.evaluate(f"dtlsEmu.player.seek({last + 1})")
    # They stand in a line of their own, at the places where the curve of the link is.
    page.wait("document.querySelector('#scene.crowded')")
    assert page.evaluate("document.querySelectorAll('#scene .envelope').length") == 0
    assert page.evaluate(
        """(() => { const {width, height} = document.querySelector('#crowd');
            const {data} = document.querySelector('#crowd').getContext('2d').getImageData(0, 0, width, height);
            return data.some((each, at) => at % 4 === 3 && each > 0); })()"""
    )
    box = page.evaluate(
        """(() => { const {left, right, top, height} = document.querySelector('[data-card=h1] rect').getBoundingClientRect();
            return [right + 3, top + height / 2]; })()"""
    )
    for kind in ("mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)
    page.wait("document.querySelector('#panel-packet h2')?.textContent.startsWith('Packet ')")


def test_a_trace_is_stepped_through(browser, serve, lab, tmp_path):
    """The file that `trace` writes; there is nothing to set in it, and its moments are there at once."""
    file = tmp_path / "small.qlog"
    subprocess.run(
        [sys.executable, "-m", "dtls_emu", "trace", lab, "-o", str(file)], check=True, capture_output=True
    )
    browser.open(serve("--trace", str(file)))
    browser.wait("window.dtlsEmu && dtlsEmu.history.rows.length > 40")
    browser.click("#last")
    browser.click("#back")
    count = browser.evaluate(f"{ROWS}.length")
    assert browser.evaluate("dtlsEmu.player.index") == count - 1
    browser.click("#tab-controls")
    assert "recorded" in browser.evaluate("document.querySelector('#panel-controls').textContent")


def test_a_hundred_thousand_events_open_and_any_moment_is_there_at_once(browser, serve, tmp_path):
    """Within seconds to open, within a frame or two to go anywhere; back is as quick as forward.

    Bounds are several times what a quiet machine takes: 0.5 s for the first events, 2.6 s for all, 7 ms for a moment.
    """
    count = 100_000
    flow = FlowId(5001, 17, "10.0.0.4", "10.0.0.5", 1, 2)
    packets = (
        event
        for number in range(1, count // 5 + 1)
        for at in (number * 1e-5,)
        for event in (
            Offered(at, "h1", 2, number, "a", 1, 100),
            Classified(at, "h1", 2, number, Direction.EGRESS, "a", 1, flow),
            Sent(at, "h1", 2, number, number, ENDS[0], ENDS[1], 100, 0, round((at + 5e-6) * 1e9)),
            Received(at + 5e-6, "h2", 2, number, ENDS[0], 4433, 1, 100),
            Delivered(at + 5e-6, "h2", 2, number, "b", 1, 100),
        )
    )
    file = tmp_path / "long.qlog"
    lab = load_lab("two-vms").model_dump(mode="json", exclude_unset=True)
    lab["hosts"] = {"h1": {"underlay": "192.0.2.1"}, "h2": {"underlay": "192.0.2.2"}}
    for vm, host in (("vm-a", "h1"), ("vm-b", "h2")):
        lab["vms"][vm]["host"] = host
    file.write_text("\n".join(encode_trace(Trace("long", lab, 1, list(packets)))))
    browser.open(serve("--trace", str(file)))
    browser.wait(f"window.dtlsEmu && {ROWS}.length > 0", seconds=10)
    browser.wait(f"{ROWS}.length === {count}", seconds=15)
    slowest = browser.evaluate(
        f"""(() => {{ const {{player}} = dtlsEmu; player.pause();
            return Math.max(...[{count}, {count - 1}, 50001, 50000, 1999, 77777, 77776, 0, 1].map((index) => {{
                const start = performance.now(); player.seek(index);
                return player.index === index ? performance.now() - start : 1e9; }})); }})()"""
    )
    assert slowest < 100
    assert (
        browser.evaluate(
            "(() => { const {history} = dtlsEmu; return history.at(history.rows.length).counts.get('h2\\tdelivered to VMs\\t'); })()"
        )
        == count // 5
    )
