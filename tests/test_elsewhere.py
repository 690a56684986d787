"""Where Linux is not: all but real hosts works without the modules, and the calls of the system, that only Linux has."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import urllib.parse
from importlib.util import find_spec

import pytest


LINUX_ONLY = (
    "pyroute2",
    "dtls_emu.deploy",
    "dtls_emu.fabric.trial",
    "dtls_emu.fabric.udp",
    "dtls_emu.host",
    "dtls_emu.machine",
)

ELSEWHERE = f"""
import os, select, socket, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if any(name == each or name.startswith(each + ".") for each in {LINUX_ONLY}):
            raise ModuleNotFoundError(f"blocked: {{name}}", name=name)

sys.meta_path.insert(0, Blocked())
for module, names in (
    (os, "eventfd memfd_create pidfd_open pipe2 sched_getaffinity sched_setaffinity setns splice unshare"),
    (select, "epoll"),
    (socket, "AF_NETLINK AF_PACKET"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)

from dtls_emu.cli import main

for words in sys.argv[1].split(";"):
    sys.argv = ["dtls-emu", *words.split()]
    try:
        main()
    except SystemExit as end:
        if end.code:
            sys.exit(f"{{words}}: status {{end.code}}")
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("elsewhere") / "elsewhere.py"
    path.write_text(ELSEWHERE)
    return str(path)


def test_what_only_linux_has_is_really_away(script):
    """Else the tests below would prove nothing: a command that needs it fails."""
    done = subprocess.run([sys.executable, script, "up two-vms"], capture_output=True, text=True, check=False)
    assert done.returncode
    assert "blocked: dtls_emu." in done.stderr


def test_simulated_labs_work(script, tmp_path):
    """Run, traced, explained, captured, attacked; and the lessons."""
    trace, capture = tmp_path / "x.trace", tmp_path / "x.pcapng"
    commands = (
        "run two-vms",
        f"trace two-vms -o {trace}",
        f"explain handshake --trace {trace}",
        "explain decision two-vms --from vm-a --to vm-b",
        f"flows --trace {trace}",
        f"capture --trace {trace} --no-secrets -o {capture}",
        "attack replay two-vms",
        "lesson list",
        "lesson hint 1",
    )
    done = subprocess.run(
        [sys.executable, script, ";".join(commands)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "expectations hold" in done.stdout
    assert capture.stat().st_size > 10_000


@pytest.mark.skipif(find_spec("uvicorn") is None, reason="uvicorn is not installed (PyPI)")
def test_the_page_is_served(script):
    """With its controls: it runs on, sends, and knows the backends."""
    with subprocess.Popen(
        [sys.executable, script, "serve two-vms --no-browser --json"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = urllib.parse.urlsplit(json.loads(process.stdout.readline())["url"])
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)

        def asked(path, body=None):
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request("GET" if body is None else "POST", address.path + path, body, headers)
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            return answer.read()

        assert b"<title>" in asked("")
        assert json.loads(asked("api/0/about"))["backends"]
        order = {"what": "ping", "from": "vm-a", "to": "vm-b"}
        assert "echo request" in json.loads(asked("api/0/send", json.dumps(order)))["said"]
        assert json.loads(asked("api/0/advance", '{"seconds": 0.001}'))["events"]
        connection.close()
        process.terminate()
