"""`dtls-emu capture` and `run --capture`: what is written, what is said of it, and what is never written over."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from dtls_emu.capture.pcapng import parse_pcapng
from dtls_emu.capture.wireshark import SCRIPT
from dtls_emu.cli.app import app
from dtls_emu.errors import DtlsEmuError


LAB = """
virtual_networks:
  prod: {address_prefixes: [10.0.0.0/24], vni: 1, encryption: {enabled: true}}
hosts:
  h1: {underlay: 192.0.2.1, smartnic: {backend: cryptography}}
  h2: {underlay: 192.0.2.2, smartnic: {backend: cryptography}}
vms:
  a: {host: h1, virtual_network: prod, address: 10.0.0.4}
  b: {host: h2, virtual_network: prod, address: 10.0.0.5}
overrides: {keying: KEYING}
traffic:
  - {name: ping, kind: ping, from: a, to: b, count: 4}
"""


@pytest.fixture
def lab(tmp_path):
    """A small lab's file."""
    path = tmp_path / "small.yaml"
    path.write_text(LAB.replace("KEYING", "handshake"))
    return path


def invoke(*words, exit_code=0):
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == exit_code, result.output
    return result


def refused(*words):
    """What is said of a command that does not begin."""
    result = CliRunner().invoke(app, list(map(str, words)))
    assert isinstance(result.exception, DtlsEmuError), result.output
    assert result.stdout == ""
    return str(result.exception)


def test_a_capture_is_written_for_its_owner_and_the_command_that_opens_it_printed(lab, tmp_path):
    """On a line of its own; that there are secrets in it is said on stderr."""
    path = tmp_path / "out file.pcapng"
    result = invoke("capture", lab, "-o", path)
    capture = parse_pcapng(path.read_bytes())
    first, command = result.stdout.splitlines()
    assert first == f"{len(capture.packets)} packets at 4 interfaces: {path}; to open it:"
    assert shlex.split(command) == ["wireshark", "-X", f"lua_script:{SCRIPT}", str(path)]
    assert f"writing session secrets to {path}, of 1 of 1 handshakes: whoever has it" in result.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(capture.secrets) == 1


def test_without_secrets_it_is_what_an_eavesdropper_has(lab, tmp_path):
    """The ends of the link, and nothing that opens them."""
    path = tmp_path / "out.pcapng"
    result = invoke("capture", lab, "-o", path, "--no-secrets")
    capture = parse_pcapng(path.read_bytes())
    assert {each.name for each in capture.interfaces} == {"h1:h2", "h2:h1"}
    assert capture.secrets == []
    assert "what an eavesdropper has" in result.stderr


def test_a_brokers_keys_are_announced(lab, tmp_path):
    """Instead of an empty key log."""
    lab.write_text(LAB.replace("KEYING", "broker"))
    result = invoke("capture", lab, "-o", tmp_path / "out.pcapng")
    assert "the keys came from a broker" in result.stderr
    assert "writing session secrets" not in result.stderr


def test_a_trace_gives_the_same_capture_with_its_keys(lab, tmp_path):
    """But for the secrets, which a trace has not; a key log adds them."""
    trace, keys, one, other = (tmp_path / name for name in ("t.json", "k.log", "one.pcapng", "other.pcapng"))
    invoke("run", lab, "--keylog", keys, "--capture", one)
    invoke("trace", lab, "-o", trace)
    result = invoke("capture", "--trace", trace, "-o", other)
    assert "--keys FILE adds them" in result.stderr
    assert len(parse_pcapng(other.read_bytes()).packets) == len(parse_pcapng(one.read_bytes()).packets)
    log = keys.read_text().splitlines()[1]
    assert parse_pcapng(one.read_bytes()).secrets[0][1].decode() == f"{log}\n"


def test_a_capture_goes_to_a_pipe_and_nothing_else_with_it(lab):
    """What is said of it is on stderr."""
    command = [sys.executable, "-m", "dtls_emu", "capture", str(lab), "-o", "-"]
    result = subprocess.run(command, capture_output=True, check=True)
    assert len(parse_pcapng(result.stdout).secrets) == 1
    assert b"wireshark -X lua_script:" in result.stderr
    assert b"-k -i -" in result.stderr


def test_run_writes_it_beside_its_table_and_its_json(lab, tmp_path):
    """The table stays as it is; the command that opens the capture is on stderr."""
    plain = invoke("run", lab, "--json").stdout
    path = tmp_path / "out.pcapng"
    result = invoke("run", lab, "--json", "--capture", path)
    assert result.stdout.count("\n") == plain.count("\n")
    assert f"to open it: wireshark -X lua_script:{SCRIPT} {path}" in result.stderr
    assert parse_pcapng(path.read_bytes()).comments[0].startswith("small, seed 1: ")


@pytest.mark.parametrize("command", ["capture", "run"])
def test_a_file_that_is_there_is_written_over_on_request_only(lab, tmp_path, command):
    """And the message says how."""
    path = tmp_path / "there"
    path.write_text("mine")
    words = ("capture", lab, "-o", path) if command == "capture" else ("run", lab, "--capture", path)
    assert "--force writes over it" in refused(*words)
    assert path.read_text() == "mine"
    invoke(*words, "--force")
    assert parse_pcapng(path.read_bytes()).packets


def test_what_is_read_is_not_written_over(lab, tmp_path):
    """Not by force either."""
    text = lab.read_text()
    assert "is read by this run, too" in refused("capture", lab, "-o", lab, "--force")
    trace = tmp_path / "t.json"
    invoke("trace", lab, "-o", trace)
    assert "is read by this command, too" in refused("capture", "--trace", trace, "-o", trace, "--force")
    assert "is the file of" in refused("run", lab, "--pcap", tmp_path / "x", "--capture", tmp_path / "x")
    assert "dtls-emu capture LAB -o -" in refused("run", lab, "--capture", "-")
    assert lab.read_text() == text


def test_a_trace_of_another_version_is_one_line(tmp_path):
    """With what this one reads."""
    path = tmp_path / "t.json"
    path.write_text(
        '{"event_schemas": ["urn:dtls-emu:events:9"], "title": "x", "trace": {"lab": {}, "seed": 1}}\n'
    )
    said = refused("capture", "--trace", path, "-o", tmp_path / "out")
    assert "this version reads urn:dtls-emu:events:1" in said
    assert "\n" not in said
    assert not (tmp_path / "out").exists()


def test_keys_and_no_secrets_contradict_each_other(lab, tmp_path):
    """One of them is meant."""
    assert "give one of them" in refused("capture", lab, "-o", tmp_path / "x", "--keys", lab, "--no-secrets")


def test_explain_record_opens_a_record_of_a_run_with_its_key_log(lab, tmp_path):
    """End to end: a record from the run's capture, by nothing but the run's key log."""
    keys, pcapng = tmp_path / "keys.log", tmp_path / "out.pcapng"
    invoke("run", lab, "--keylog", keys, "--capture", pcapng)
    capture = parse_pcapng(pcapng.read_bytes())
    (inner, *_) = [each.data for each in capture.packets if each.interface.name == "a"]
    payloads = [each.data[28:] for each in capture.packets if each.interface.name == "h1:h2"]
    record = next(each for each in payloads if each[0] == 0x17 and len(each) > len(inner))
    opened = invoke("explain", "record", record.hex(), "--keys", keys, "--json").stdout
    assert inner.hex() in opened.replace(" ", "")
    without = tmp_path / "without.log"
    without.write_text(keys.read_text().splitlines()[1])
    assert inner.hex() not in invoke("explain", "record", record.hex(), "--keys", without, "--json").stdout
