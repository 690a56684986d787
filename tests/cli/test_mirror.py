"""`dtls-emu mirror`: a capture that Wireshark opens, or one line that says why there is none."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from dtls_emu.capture.pcapng import parse_pcapng
from dtls_emu.cli.app import app
from dtls_emu.errors import DtlsEmuError


def test_the_capture_has_what_is_said(tmp_path):
    """Whole Ethernet packets, in time."""
    path = tmp_path / "tap.pcapng"
    words = ["mirror", "mixed-sizes", "--from", "plain-a", "--to", "plain-b", "-o", str(path), "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    capture = parse_pcapng(path.read_bytes())
    assert json.loads(result.stdout)["mirrored"] == len(capture.packets) == 6
    assert [each.name for each in capture.interfaces] == ["plain-b: mirror of plain-a"]
    assert all(each.data[36:38] == (4789).to_bytes(2) for each in capture.packets)


def test_an_encrypted_network_is_refused(tmp_path):
    """As by the vendor, and nothing is written; nor for a VM that is not there."""
    for source, said in (
        ("allow-a", "encryption is enabled"),
        ("plain-x", "no VM of this lab; did you mean"),
    ):
        path = tmp_path / "tap.pcapng"
        words = ["mirror", "mixed-sizes", "--from", source, "--to", "plain-b", "-o", str(path)]
        result = CliRunner().invoke(app, words)
        assert isinstance(result.exception, DtlsEmuError)
        assert said in str(result.exception)
        assert not path.exists()
