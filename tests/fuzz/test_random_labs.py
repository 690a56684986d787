"""A short run of the random labs, and proof that each of their checks notices what it is there to notice.

``make random-labs`` plays 2,000 of them.
"""

import json
import re
import secrets
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from random import SystemRandom

import pytest

from dtls_emu.lab.loader import parse_lab
from dtls_emu.nic.egress import Egress
from dtls_emu.vocabulary import FirstPacket


HERE = Path(__file__).parent
SCRIPT = HERE / "random_labs.py"
LABS = 40


@pytest.fixture
def random_labs(monkeypatch):
    """The script as a module, its kernels compiled before anything is broken."""
    monkeypatch.syspath_prepend(HERE)
    module = import_module("random_labs")
    module._compile_kernels()
    return module


@pytest.mark.parametrize("seed", ["20261127", "another each time"])
def test_nothing_that_must_never_be(random_labs, tmp_path, seed):
    """Of so many labs none breaks a promise, and none is refused. A failure names the lab's seed and its file."""
    if seed == "another each time":
        seed = secrets.token_hex(4)
    print(f"seed {seed}")
    for number in range(LABS):
        played = random_labs.play(f"{seed}-{number}", tmp_path)
        assert not played.refused, played.seed
        assert [str(finding) for finding in played.found] == []


LAB = """
virtual_networks:
  n: {address_prefixes: [10.0.0.0/24], vni: 1, encryption: {enabled: true, enforcement: %s}}
hosts: {a: {underlay: 192.0.2.1}, b: {underlay: 192.0.2.2}}
vms:
  x: {host: a, virtual_network: n, address: 10.0.0.4, mtu: 4000}
  y: {host: b, virtual_network: n, address: 10.0.0.5}
link_defaults: {delay: 5ms, loss: %s}
traffic:
  - {name: stream, kind: udp, from: x, to: y, count: 40}
  - {name: large, kind: udp, from: x, to: y, count: 3, size: 4000}
"""


def raises(*_arguments, **_options):
    """What nothing may do for what is in a packet."""
    raise IndexError


def nothing(*_arguments, **_options):
    """What was to be done is left undone."""


def counts_twice(egress, *arguments):
    """A packet more was taken and sent than there was, which the card's own equation does not show."""
    forward(egress, *arguments)
    egress.counters.offered += 1
    egress.counters.clear += 1


forward = Egress.forward

FAULTS = {
    "exception": ("dtls_emu.nic.egress.packet_too_big", raises),
    "accounts": ("dtls_emu.nic.ingress.Ingress.drop", nothing),
    "stages": ("dtls_emu.nic.egress.Egress.forward", counts_twice),
    "stuck": ("dtls_emu.tunnel.tunnel.Tunnel.timeout", lambda _tunnel: float("inf")),
    "watch": ("dtls_emu.nic.egress.while_building", lambda _facts, _profile: FirstPacket.CLEAR),
    "not the same again": ("dtls_emu.fabric.impairment.Random", lambda _seed: SystemRandom()),
}
"""A check, and what is broken so that it fails."""


@pytest.mark.parametrize("what", FAULTS)
def test_it_would_be_noticed(random_labs, monkeypatch, what):
    """With one thing broken, a small lab on a bad network brings it to light; without, there is nothing."""
    enforcement = "AllowUnencrypted" if what == "stages" else "DropUnencrypted"
    loss = {"stages": "100%", "stuck": "100%"}.get(what, "30%")
    lab = parse_lab(LAB % (enforcement, loss), "lab.yaml")
    if what == "accounts":
        lab = parse_lab((LAB % (enforcement, loss)).replace("loss:", "duplicate: 50%, loss:"), "lab.yaml")
    assert random_labs.findings("whole", lab) == []
    monkeypatch.setattr(*FAULTS[what])
    assert what in {finding.what for finding in random_labs.findings("broken", lab)}


@pytest.mark.parametrize(("told", "what"), [((0, 0), "leak"), ((0, 7), "leak"), ((7, 49), "outcome")])
def test_a_wrong_word_of_the_outcome_would_be_noticed(random_labs, monkeypatch, told, what):
    """Nothing comes up, and packets fall back to clear: more of them than is said, fewer, or sealed ones."""
    lab = parse_lab(
        LAB % ("AllowUnencrypted", "100%")
        + "  - {name: s, kind: ping, from: x, to: y, count: 9, start: 30s}",
        "lab.yaml",
    )
    assert random_labs.findings("right", lab) == []
    monkeypatch.setattr(random_labs, "said_of", lambda _item: random_labs.Said(*told))
    assert what in {finding.what for finding in random_labs.findings("wrong", lab)}


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False
    )


def test_a_seed_is_a_lab_and_a_lab_is_played_again(tmp_path):
    """The same text each time; with `--one` and as a file it comes to the same."""
    shown = run("--one", "20261127-3", "--show")
    assert shown.returncode == 0, shown.stderr
    assert run("--one", "20261127-3", "--show").stdout == shown.stdout
    assert run("--one", "20261127-4", "--show").stdout != shown.stdout
    path = tmp_path / "lab.yaml"
    path.write_text(shown.stdout)
    for again in (run("--one", "20261127-3"), run(str(path))):
        assert (again.returncode, again.stdout) == (0, ""), again.stderr
        assert re.search("1 labs in .* 0 refused, findings: none", again.stderr)


def test_labs_are_played_by_several_processes_in_the_order_of_their_seeds(tmp_path):
    """Whatever each of them takes."""
    done = run("--labs", "6", "--seed", "20261127", "--jobs", "2", "--findings", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("seed 20261127\n")


def test_a_finding_is_a_line_or_an_object_and_the_lab_is_written_down(
    random_labs, monkeypatch, tmp_path, capsys
):
    """Exit status 1; what is written is the lab."""
    monkeypatch.setattr("dtls_emu.simulation.cloud.Cloud.close", raises)
    arguments = ["--one", "20261127-3", "--findings", str(tmp_path)]
    assert random_labs.main(arguments) == 1
    path = tmp_path / "random-20261127-3.yaml"
    assert capsys.readouterr().out == f"20261127-3 exception: IndexError:  ({path})\n"
    assert random_labs.main([*arguments, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found == {"seed": "20261127-3", "what": "exception", "detail": "IndexError: ", "lab": str(path)}
    assert parse_lab(path.read_text(), path).name == "random-20261127-3"


def test_what_is_no_lab_is_said(random_labs, tmp_path, capsys):
    """Exit status 2, with the words of the reader."""
    path = tmp_path / "lab.yaml"
    path.write_text("hosts: {}\n")
    assert random_labs.main([str(path)]) == 2
    assert "lab.yaml" in capsys.readouterr().err
