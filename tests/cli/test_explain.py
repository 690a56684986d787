"""`dtls-emu explain`: tables of what fits and of who is encrypted."""

import json

from typer.testing import CliRunner

from dtls_emu.cli.app import app
from dtls_emu.policy import rows


def explain(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["explain", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_mtu_shows_layers_and_what_icmp_tells():
    """A link of 1500 bytes carries 1413 encrypted over IPv4."""
    lines = explain("mtu", "--link-mtu", "1500").splitlines()
    (way,) = [line for line in lines if line.lstrip().startswith("encrypted, IPv4 ") and "87" in line]
    assert way.split() == ["encrypted,", "IPv4", "87", "1413", "1373", "1353", "NO", "1413"]
    assert any("ICMP type 3 code 4" in line for line in lines)


def test_mtu_as_json_has_the_four_ways():
    """With the figures of the table."""
    cases = json.loads(explain("mtu", "--inner", "1600", "--json"))
    assert [case["fits"] for case in cases] == [False, False, True, False]
    assert [case["icmp_mtu"] for case in cases] == [1563, 1543, None, 1580]


def test_decision_lists_every_row_with_basis_and_source():
    """In the order in which they are tried."""
    table = json.loads(explain("decision", "--json"))
    assert [(row["row"], row["verdict"], row["encryption"]) for row in table] == [
        (row.number, row.verdict, row.code) for row in rows()
    ]
    assert all(row["basis"] in {"DOC", "EXC", "INF"} and row["source"] for row in table)
    assert "NX_NOT_ACCEPTED" in explain("decision")
