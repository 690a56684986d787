"""`dtls-emu serve`: says where the page is, on this machine only, and ends when it is told to."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import urllib.parse

import pytest

from dtls_emu.cli import serve as command
from dtls_emu.errors import DtlsEmuError
from dtls_emu.measure.meter import read_meter


SERVE = [sys.executable, "-m", "dtls_emu", "serve"]


def run(*words):
    return subprocess.run([*SERVE, *words], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_it_serves_until_it_is_told_to_end(number, status):
    """The printed address works, another token does not; an open stream of events holds up nothing."""
    with subprocess.Popen(
        [*SERVE, "two-vms", "--no-browser", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        address = urllib.parse.urlsplit(said["url"])
        assert address.hostname == "127.0.0.1"
        assert said["live"]
        for path, wanted in ((address.path, 200), ("/", 403)):
            connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
            connection.request("GET", path)
            assert connection.getresponse().status == wanted
            connection.close()
        stream = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
        stream.request("GET", f"{address.path}api/0/stream")
        assert stream.getresponse().readline() == b"retry: 1000\n"
        process.send_signal(number)
        errors = process.communicate(timeout=20)[1]
        stream.close()
    assert process.returncode == status
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing-of-that-name"], "nothing-of-that-name"),
        (["two-vms", "--trace", "x"], "not both"),
        (["two-vms", "--run", "x"], "not both"),
        (["--run", "nothing-of-that-name"], "nothing-of-that-name"),
        (["--trace", "/nothing/there.qlog"], "/nothing/there.qlog: No such file or directory"),
    ],
)
def test_what_cannot_be_served_is_told_in_a_line(words, said):
    """With status 2."""
    done = run(*words, "--no-browser")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_trace_is_told_with_its_line(tmp_path):
    """And one of another version as such."""
    path = tmp_path / "x.qlog"
    path.write_text(
        '{"event_schemas": ["urn:dtls-emu:events:9"], "title": "x", "trace": {"lab": {}, "seed": 1}}\n'
    )
    for words in (["--trace", str(path)], [str(path)]):
        done = run(*words, "--no-browser")
        assert done.returncode == 2
        assert "urn:dtls-emu:events:9" in done.stderr


def test_a_port_that_is_taken_is_told():
    """By its number."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = run("two-vms", "--no-browser", "--port", str(other.getsockname()[1]))
    assert done.returncode == 2
    assert f"port {other.getsockname()[1] if other.fileno() >= 0 else ''}".strip() in done.stderr
    assert "--port 0" in done.stderr


def test_without_the_extra_it_is_named(monkeypatch):
    """What to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(DtlsEmuError, match=r"pip install 'dtls-emu\[serve\]'"):
        command._check_extra()


def test_a_browser_leaves_out_the_port_of_http():
    """So its Host header has none."""
    assert command._names(80) == ["127.0.0.1:80", "localhost:80", "127.0.0.1", "localhost"]
    assert command._names(8080) == ["127.0.0.1:8080", "localhost:8080"]


def test_the_meter_reads_both_arms():
    """Figures of this machine, whose ratio lies in its own range."""
    reading = read_meter("two-vms", seconds=0.002, rounds=3)
    assert reading.plain > 0
    assert reading.encrypted > 0
    assert reading.least <= reading.ratio <= reading.most
    assert reading.rounds == 3
