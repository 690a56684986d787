"""`dtls-emu backends` lists what is here, and says why something is not."""

import json

import pytest
from typer.testing import CliRunner

from dtls_emu.cli.app import app
from dtls_emu.crypto import registry
from dtls_emu.crypto.backend import Backend
from dtls_emu.crypto.registry import load
from dtls_emu.errors import BackendUnavailableError


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["backends", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def without_ipsec_mb(monkeypatch):
    """A machine that has neither of the fast libraries."""

    def load_others(name: str) -> Backend:
        if name in {"ipsec-mb", "libcrypto"}:
            raise BackendUnavailableError(f"the library of {name} is not installed")
        return load(name)

    monkeypatch.setattr(registry, "load", load_others)


def test_lists_every_backend_of_the_package():
    """One row each, self-test passed, and `null` is said not to protect."""
    document = json.loads(run("--json"))
    rows = {row["name"]: row for row in document["backends"]}
    assert list(rows)[:5] == ["openssl", "cryptography", "libcrypto", "ipsec-mb", "null"]
    assert (rows["cryptography"]["available"], rows["cryptography"]["self_test"]) == (True, "passed")
    assert (rows["cryptography"]["protects"], rows["null"]["protects"]) == (True, False)
    assert rows["cryptography"]["detail"].startswith("cryptography ")


@pytest.mark.usefixtures("without_ipsec_mb")
def test_says_why_one_is_not_available():
    """The reason is in the row, and in the choice that `auto` makes then."""
    document = json.loads(run("--json"))
    row = next(row for row in document["backends"] if row["name"] == "ipsec-mb")
    assert (row["available"], row["self_test"], row["protects"]) == (False, "not passed", None)
    assert row["reason"] == "the library of ipsec-mb is not installed"
    assert document["auto"] == {
        "backend": "cryptography",
        "reason": "the fastest backend that works here; "
        "ipsec-mb is not available: the library of ipsec-mb is not installed; "
        "libcrypto is not available: the library of libcrypto is not installed",
    }


@pytest.mark.usefixtures("without_ipsec_mb")
def test_prints_a_table():
    """The star stands at the choice of `auto`; the reason takes the place of the detail."""
    lines = run().splitlines()
    (chosen,) = [line for line in lines if line.lstrip().startswith("*")]
    (missing,) = [line for line in lines if " ipsec-mb " in line]
    (null,) = [line for line in lines if " null " in line]
    assert chosen.split()[1] == "cryptography"
    assert missing.rstrip().endswith("the library of ipsec-mb is not installed")
    assert null.split()[1:4] == ["yes", "passed", "NO"]


class PlugIn:
    """Agrees with the contract in everything but what it does."""

    name = "theirs"
    summary = "a plug-in"
    detail = "1.0"
    protects = True
    needs_connection = False

    def attach(self, _established):
        raise NotImplementedError("later")


def test_a_plug_in_without_a_self_test_is_tested_all_the_same(monkeypatch):
    """One whose code cannot run has not passed; the package's own test is run on it, and the reason said."""
    monkeypatch.setattr(registry, "available", lambda: [("theirs", PlugIn())])
    (row,) = json.loads(run("--json"))["backends"]
    assert (row["available"], row["self_test"]) == (True, "FAILED")
    assert row["reason"] == "NotImplementedError: later"
    good = load("cryptography")
    monkeypatch.setattr(PlugIn, "attach", lambda _self, established: good.attach(established))
    (row,) = json.loads(run("--json"))["backends"]
    assert (row["self_test"], row["reason"]) == ("passed", "")
    monkeypatch.setattr(PlugIn, "protects", False)
    (row,) = json.loads(run("--json"))["backends"]
    assert row["self_test"] == "not run"
