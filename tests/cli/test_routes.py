"""`dtls-emu routes`: effective routes as a table and as JSON, and the one that an address takes."""

import json

from typer.testing import CliRunner

from dtls_emu.cli.app import app
from dtls_emu.errors import DtlsEmuError


def run(*arguments: str):
    return CliRunner().invoke(app, ["routes", *arguments])


def test_the_table_has_what_the_portal_has():
    """Source, state, prefix, next hop; and the route that an address takes below it."""
    result = run("routes", "--vm", "a-front", "--to", "10.2.0.4")
    assert result.exit_code == 0
    (line,) = [line for line in result.output.splitlines() if "10.2.0.0/16" in line]
    assert line.split()[:4] == ["Default", "Active", "10.2.0.0/16", "ConnectedGroup"]
    assert result.output.splitlines()[-1] == "10.2.0.4: ConnectedGroup, spoke-b"


def test_the_same_as_json():
    """Under names of their own."""
    found = json.loads(run("routes", "--vm", "a-cut-off", "--json").output)
    (user,) = [route for route in found["routes"] if route["source"] == "User"]
    assert user == {
        "source": "User",
        "state": "Active",
        "address_prefix": "10.2.0.0/16",
        "next_hop_type": "None",
        "next_hop_ip_address": None,
        "user_defined_route_name": "no-spoke-b",
        "leads_to": None,
    }
    assert "taken" not in found


def test_what_is_wrong_is_one_line():
    """A VM that is not there, and an address that is none."""
    for arguments, said in (
        (("routes", "--vm", "a-fron"), "--vm a-fron: no VM of this lab; did you mean `a-front`?"),
        (("routes", "--vm", "b", "--to", "x"), "--to x: no IP address"),
    ):
        outcome = run(*arguments)
        assert isinstance(outcome.exception, DtlsEmuError)
        assert str(outcome.exception).startswith(said)
