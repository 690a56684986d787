"""Nobody but the page's own browser gets anything, and what is wrong is said in a line."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.testclient import TestClient

from dtls_emu.capture.trace_file import Trace
from dtls_emu.teach.blocks import Text
from dtls_emu.teach.document import Document
from dtls_emu.teach.page.server import MOST_BODY, STATIC, Page, _happening, make_token
from dtls_emu.teach.page.session import LiveSession, RecordedSession
from dtls_emu.testing.waiting import eventually


TOKEN = "a-token"
API = f"/{TOKEN}/api/0"
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def page():
    document = Document("Measured", [Text("1")])
    page = Page(LiveSession("two-vms", seed=1), TOKEN, ["127.0.0.1:8000"], meter=lambda: document)
    yield page
    page.close()


@pytest.fixture
def client(page):
    return TestClient(page.app, base_url=ADDRESS)


def post(client, name, body, run=0):
    return client.post(f"/{TOKEN}/api/{run}/{name}", json=body)


def test_tokens_are_long_and_differ():
    """128 bits, of the system's randomness."""
    tokens = {make_token() for _ in range(50)}
    assert len(tokens) == 50
    assert min(map(len, tokens)) >= 22


@pytest.mark.parametrize(
    "path",
    ["/", "/index.html", "/api/0/about", "/a-tokem/", "/a-token2/", "/A-TOKEN/", "/%ff/"],
)
def test_without_the_token_there_is_nothing(client, path):
    """403, whatever is asked for, and nothing of the page in the answer."""
    answer = client.get(path)
    assert answer.status_code == 403
    assert "token" in answer.json()["error"]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1", "127.0.0.1:8001", "", "[::1]:8000"]
)
def test_a_host_name_of_somebody_else_is_refused(client, host):
    """DNS rebinding: the browser believes that it talks to evil.example, and would show its scripts our answers."""
    answer = client.get(f"/{TOKEN}/", headers={"Host": host})
    assert answer.status_code == 403
    assert "address" in answer.json()["error"]


def test_requests_of_another_site_are_refused(client):
    """Even of one that knows the token; but a link to the page may be followed."""
    for site in ("cross-site", "same-site"):
        for kind in ("empty", "iframe", "script"):
            headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Dest": kind}
            assert client.get(f"{API}/about", headers=headers).status_code == 403
        visit = {"Sec-Fetch-Site": site, "Sec-Fetch-Dest": "document"}
        assert client.get(f"/{TOKEN}/", headers=visit).status_code == 200
        assert client.post(f"{API}/advance", json={}, headers=visit).status_code == 403
    assert client.get(f"{API}/about", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


@pytest.mark.parametrize(
    "path", [f"/{TOKEN}/", f"/{TOKEN}/static/main.js", f"{API}/about", "/", f"/{TOKEN}/nothing"]
)
def test_every_answer_has_the_headers(client, path):
    """Also that of an error."""
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "*" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert not [name for name in headers if name.startswith("access-control")]


def test_only_the_page_s_own_files_are_served(client):
    """No path leads to another one."""
    for name in STATIC:
        answer = client.get(f"/{TOKEN}/static/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == STATIC[name]
    for name in ("../server.py", "..%2fserver.py", "index.html", "nothing.js", "__init__.py"):
        assert client.get(f"/{TOKEN}/static/{name}").status_code == 404


@pytest.mark.parametrize(
    ("name", "body", "status", "said"),
    [
        ("advance", {"seconds": -1}, 400, "`seconds` is a number from 0 to 3600"),
        ("advance", {"seconds": 1e300}, 400, "`seconds`"),
        ("advance", {"events": 0}, 400, "`events` is a whole number from 1 to 5000"),
        ("advance", {"events": True}, 400, "`events`"),
        ("advance", [], 400, "the body is to be a JSON object"),
        ("advance", {"evnets": 1}, 400, "`evnets` is not known here; there are seconds, events"),
        ("set", {"target": "vm-a"}, 400, "`words` is to be a list"),
        ("set", {"target": "vm-a", "words": ["x"] * 9}, 400, "`words` is to be a list"),
        ("set", {"target": "nobody", "words": ["mtu=1"]}, 422, "nothing here is called `nobody`"),
        ("set", {"target": "vm-a", "words": ["size"]}, 422, "`size` is no assignment"),
        ("set", {"target": "vm-a", "words": ["host=host-2"]}, 422, "cannot be changed while the lab runs"),
        ("send", {"what": "bomb"}, 400, "`what` is to be one of ping, stream"),
        ("send", {"what": "ping", "from": "vm-a"}, 400, "`to` is to be a text"),
        ("send", {"what": "ping", "from": "vm-a", "to": "vm-c"}, 422, "no VM is called vm-c"),
        ("send", {"what": "ping", "from": "vm-a", "to": "vm-a"}, 422, "choose two"),
        ("send", {"what": "ping", "from": "a\nb", "to": "vm-a"}, 400, "`from`"),
        ("send", {"what": "stream", "from": "vm-a", "to": "vm-b", "count": 65}, 400, "`count`"),
        ("send", {"what": "replay"}, 422, "no record was on the fabric yet"),
        ("rekey", {"host": "host-1", "peer": "host-9"}, 422, "no tunnel from host-1 to host-9 is up"),
        ("restart", {"host": "host-9"}, 422, "no host is called host-9"),
        ("restart", {"host": "host-1", "backend": "rot13"}, 422, "no backend `rot13`"),
        ("attack", {"name": "x"}, 422, "no attack is called x"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(client, name, body, status, said):
    """And nothing has happened."""
    answer = post(client, name, body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert said in error
    assert "\n" not in error
    assert "Traceback" not in error
    assert client.get(f"{API}/about").json()["events"] == 0


def test_a_body_that_is_none_is_refused(client):
    """Of another type, too long, no JSON, or nested without end."""
    for body, kind, status in (
        (b"{}", "text/plain", 415),
        (b"x" * (MOST_BODY + 1), "application/json", 413),
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * MOST_BODY, "application/json", 400),
    ):
        answer = client.post(f"{API}/advance", content=body, headers={"Content-Type": kind})
        assert answer.status_code == status, body[:20]
        assert answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("packet/1", 422),
        ("packet/x", 404),
        ("datagram/9", 422),
        ("handshakes/1", 422),
        ("decision?from=vm-a", 400),
        ("decision?from=vm-z&to=vm-b", 422),
        ("decision?from=vm-a&to=nowhere", 422),
        ("events?from=7", 400),
        ("events?limit=1000000", 400),
        ("events?from=-1", 400),
        ("stream?from=9", 400),
        ("nothing", 404),
        ("advance", 405),
    ],
)
def test_what_is_not_there_is_told(client, path, status):
    """With a status that says whose fault it is."""
    answer = client.get(f"{API}/{path}")
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]
    assert client.get(f"/{TOKEN}/api/5/about").status_code == 404


def test_a_trace_cannot_be_changed():
    """409, and the views are there all the same."""
    page = Page(RecordedSession(Trace("empty")), TOKEN, ["127.0.0.1:8000"])
    client = TestClient(page.app, base_url=ADDRESS)
    for name, body in (("advance", {}), ("send", {"what": "replay"}), ("attack", {"name": "replay"})):
        assert post(client, name, body).status_code == 409
    assert post(client, "meter", {}).status_code == 400
    about = client.get(f"{API}/about").json()
    assert (about["live"], about["events"], about["meter"]) == (False, 0, False)
    assert client.get(f"{API}/handshakes").json() == []


def test_a_lab_is_run_looked_at_and_attacked(client):
    """What the page does, in its order."""
    about = client.get(f"{API}/about").json()
    assert about["live"]
    assert [host["name"] for host in about["scenes"]["wide"]["hosts"]] == ["host-1", "host-2", ""]

    def run_on():
        """A call goes on for a quarter of a second at most, in which a busy machine may do little."""
        stand = post(client, "advance", {"seconds": 0.001, "events": 500}).json()
        rows = client.get(f"{API}/events?from=0&limit=20000").json()["rows"]
        return stand if any(row[1] == "delivered" for row in rows) else None

    stand = eventually(run_on, "the first packet has arrived")
    rows = client.get(f"{API}/events?from=0&limit=20000").json()["rows"]
    assert len(rows) == stand["events"] > 40
    assert rows[0][:6] == [0.0, "offered", "host-1", 1, 1, "offered"]
    assert all(len(row) == 8 for row in rows)
    packet = client.get(f"{API}/packet/1").json()
    assert packet["decision"]["row"] == 16
    assert packet["plain"]["data"] not in packet["sealed"]["data"]
    assert packet["plain"]["data"] in json.dumps(packet["record"])
    assert [device["name"] for device in packet["devices"]] == ["card of host-1", "card of host-2"]
    assert all(device["in"] and device["out"] for device in packet["devices"])
    assert client.get(f"{API}/handshakes").json()[0]["opened"]
    assert client.get(f"{API}/handshakes/1").json()["blocks"]
    assert client.get(f"{API}/datagram/1").json()["blocks"]
    assert "Row 16" in client.get(f"{API}/decision?from=vm-a&to=vm-b").text
    assert post(client, "meter", {}).json()["document"]["title"] == "Measured"
    attack = post(client, "attack", {"name": "eavesdrop"}).json()
    assert attack["expected"]
    other = client.get(f"/{TOKEN}/api/{attack['run']}/about").json()
    assert other["title"] == "attack eavesdrop on two-vms"
    assert other["events"] > 0
    assert not other["live"]


def test_events_are_told_as_they_happen(page):
    """Those that are there, then those that come; and nobody is listened to who has gone."""

    async def listen():
        session = page.runs[0]
        stream = _happening(session, 0, lambda: False)
        assert await anext(stream) == b"retry: 1000\n\n"
        first = await anext(stream)
        before = len(session.events)
        asyncio.get_running_loop().call_later(0.05, session.advance, 0.0, 1)
        second = await anext(stream)
        await stream.aclose()
        return before, first, second, session

    before, first, second, session = asyncio.run(listen())
    assert first.startswith(b"id: %d\ndata: {" % before)
    told = json.loads(second.partition(b"data: ")[2])
    assert told["from"] == before
    assert told["rows"]
    assert not session._listeners
