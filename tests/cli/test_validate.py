"""`dtls-emu validate` says that a lab is right, or all that is wrong with it; and starts at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dtls_emu.cli.app import app
from dtls_emu.lab import load_lab
from dtls_emu.lab.profile_checks import assumptions


WRONG = """\
virtual_networks:
  blue: {address_prefixes: [10.0.0.0/24], vni: 1}
hosts:
  host-1: {underlay: 192.0.2.1, colour: red}
vms:
  vm-a: {host: host-2, virtual_network: blue, address: 10.0.0.4}
"""
PROBLEMS = [
    "lab.yaml:4: hosts.host-1.colour: unknown key; write one of: region, smartnic, servicing",
    "lab.yaml:6: vms.vm-a.host: no host `host-2`; did you mean `host-1`?",
]


def run(*arguments):
    return CliRunner().invoke(app, ["validate", *arguments])


@pytest.fixture
def wrong_lab(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("lab.yaml").write_text(WRONG)
    return "lab.yaml"


def test_a_right_lab_is_summed_up():
    """One line, exit 0."""
    result = run("two-vms")
    assert (result.exit_code, result.stdout) == (
        0,
        "two-vms: OK: 1 virtual network, 2 hosts, 2 VMs, 0 links, 10 traffic items, 10 expectations\n",
    )


def test_a_right_lab_is_summed_up_as_json():
    """The same counts under the lab file's keys."""
    result = run("lossy", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "valid": True,
        "problems": [],
        "notes": assumptions(load_lab("lossy")),
        "name": "lossy",
        "profile": "current",
        "virtual_networks": 1,
        "hosts": 2,
        "vms": 2,
        "endpoints": 0,
        "links": 2,
        "traffic": 4,
        "expectations": 4,
    }


def test_every_problem_is_printed_for_people_and_editors(wrong_lab):
    """A line each, starting with file and line; exit 2."""
    result = run(wrong_lab)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [*PROBLEMS, "dtls-emu: lab.yaml has 2 problems"]


def test_every_problem_is_printed_as_json(wrong_lab):
    """On stdout; exit 2."""
    result = run(wrong_lab, "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout) == {"valid": False, "problems": PROBLEMS}


def test_what_up_would_refuse_about_names_is_said_before(tmp_path, monkeypatch):
    """A long name of the lab's file is no mistake, and keeps `up` from making sockets under it."""
    monkeypatch.chdir(tmp_path)
    path = Path(f"{'l' * 60}.yaml")
    path.write_text(
        WRONG.replace("colour: red", "region: x").replace("host-1", "h" * 40).replace("host-2", "h" * 40)
    )
    note = f"`up` cannot bring it up under its own name: the path of the control socket of `{'h' * 40}` has 120 bytes"
    result = run(str(path))
    assert (result.exit_code, result.stderr.startswith(f"note: {note}")) == (0, True)
    assert json.loads(run(str(path), "--json").stdout)["notes"][0].startswith(note)


def test_more_problems_than_are_worth_saying_are_not_counted(tmp_path, monkeypatch):
    """It is said that there are more."""
    monkeypatch.chdir(tmp_path)
    Path("lab.yaml").write_text(WRONG + "".join(f"key-{index}: 1\n" for index in range(200)))
    lines = run("lab.yaml").stderr.splitlines()
    assert len(lines) == 102
    assert lines[-1] == "dtls-emu: lab.yaml has more than 100 problems"


def test_a_lab_that_is_not_there_is_a_problem_too():
    """With the names of those that are."""
    result = run("three-vms")
    assert result.exit_code == 2
    assert result.stderr.startswith(
        "three-vms: no such file, and no shipped lab of that name; did you mean `two-vms`?"
    )


@pytest.mark.parametrize("arguments", [["validate", "two-vms"], ["schema"], ["--help"]])
def test_nothing_heavy_is_imported(arguments):
    """Neither Numba nor scapy nor OpenSSL, so that the answer is there at once."""
    code = (
        "import sys\n"
        "from dtls_emu.cli import main\n"
        f"sys.argv = ['dtls-emu', *{arguments!r}]\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    imported = set(result.stderr.split())
    assert "typer" in imported
    assert imported & {"numba", "llvmlite", "numpy", "scipy", "scapy", "OpenSSL", "cryptography"} == set()
