"""The command line of the comparison."""

import pytest
import typer
from typer.testing import CliRunner

from compare import GROUPS, PEERS, compare


app = typer.Typer()
app.command()(compare)


@pytest.mark.parametrize(
    "arguments", [["--peers", "openvpn,tinc"], ["--metrics", "tcp-2"], ["--reference", "tinc"]]
)
def test_an_unknown_name_is_refused_before_anything_is_done(arguments):
    """With the names that there are."""
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 2
    assert f"no '{arguments[1].split(',')[-1]}'; write names such as" in answer.stderr


def test_dtls_emu_stands_for_all_its_arms():
    """Both backends and encryption off."""
    assert GROUPS["dtls-emu"] == ("dtls-emu-ipsec-mb", "dtls-emu-cryptography", "dtls-emu-off")
    assert set(GROUPS["dtls-emu"]) < set(PEERS)
