"""`dtls-emu explain`: tables of what fits and of who is encrypted."""

import json

import pytest
from typer.testing import CliRunner

from dtls_emu.cli.app import app
from dtls_emu.errors import DtlsEmuError
from dtls_emu.policy import rows


def run(*arguments: str):
    return CliRunner().invoke(app, arguments)


def refusal(*arguments: str) -> str:
    """What is printed beside exit status 2."""
    outcome = run(*arguments)
    assert isinstance(outcome.exception, DtlsEmuError), outcome.output
    assert outcome.stdout == ""
    return str(outcome.exception)


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


# ------------------------------------------------------------------------------------------- of a lab's flow


def test_a_flow_of_a_lab_is_explained_row_by_row():
    """The row that decides is there, and the ones above it with a reason."""
    result = run("explain", "decision", "two-vms", "--from", "vm-a", "--to", "vm-b")
    assert result.exit_code == 0
    assert "OK: Encrypted, flow-log code X." in result.output
    assert "vm-b has a private route" in result.output
    document = json.loads(
        run("explain", "decision", "two-vms", "--from", "vm-a", "--to", "8.8.8.8", "--json").output
    )
    (table,) = [block for block in document["blocks"] if block["kind"] == "table"]
    assert table["rows"][-1]["name"] == "internet"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["two-vms", "--from", "vm-z", "--to", "vm-b"], "--from vm-z: no VM of this lab; did you mean"),
        (["two-vms", "--from", "vm-a", "--to", "vm-z"], "--to vm-z: no VM of this lab and no address"),
        (["two-vms", "--from", "vm-a"], "name a lab and both ends"),
        (["--from", "vm-a", "--to", "vm-b"], "name a lab and both ends"),
    ],
)
def test_a_flow_that_no_lab_has_is_one_line(words, said):
    """It says what to write instead."""
    told = refusal("explain", "decision", *words)
    assert said in told
    assert "\n" not in told


def test_what_fits_a_lab_is_shown():
    """Instead of the layers in general."""
    assert "VMs of host-1" in run("explain", "mtu", "two-vms").output


def test_a_page_is_written_and_never_over_another(tmp_path):
    """Without being told to."""
    path = tmp_path / "page.html"
    words = ("explain", "decision", "two-vms", "--from", "vm-a", "--to", "vm-b", "--html", str(path))
    assert run(*words).exit_code == 0
    assert path.read_text().startswith("<!doctype html>")
    assert "--force" in refusal(*words)
    assert run(*words, "--force").exit_code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["zz"], "`z` is no hexadecimal digit"),
        (["123"], "3 digits are no whole bytes"),
        (["17", "--keys", "none.log"], "none.log: No such file or directory"),
    ],
)
def test_what_is_no_record_at_all_is_one_line(words, said):
    """It says what was expected."""
    told = refusal("explain", "record", *words)
    assert said in told
    assert "\n" not in told


def test_a_record_may_be_written_as_tools_print_it():
    """With spaces, colons or 0x, in one word or in many."""
    clear = "16 fe:fd 0000 000000000000 000c 0e000000 0003 000000 000000"
    result = run("explain", "record", *clear.split())
    assert result.exit_code == 0
    assert "ServerHelloDone" in result.output
