"""`dtls-emu run`: what it prints, what it exits with, and what it writes."""

from __future__ import annotations

import json
import subprocess

import pytest
from typer.testing import CliRunner

from dtls_emu.capture.pcap import encode_pcap
from dtls_emu.cli.app import app
from dtls_emu.errors import DtlsEmuError, LabFileError
from dtls_emu.lab.pcap import parse_pcap
from dtls_emu.simulation import simulation
from dtls_emu.simulation.accounts import AccountingError
from dtls_emu.wire.packet import udp_packet


LAB = """
virtual_networks:
  prod: {address_prefixes: [10.0.0.0/24], vni: 1, encryption: {enabled: true}}
hosts:
  h1: {underlay: 192.0.2.1, smartnic: {backend: "null"}}
  h2: {underlay: 192.0.2.2, smartnic: {backend: "null"}}
vms:
  a: {host: h1, virtual_network: prod, address: 10.0.0.4, mtu: 9000}
  b: {host: h2, virtual_network: prod, address: 10.0.0.5}
traffic:
  - {name: ping, kind: ping, from: a, to: b, expect: {verdict: encrypt, delivered: WANTED, answered: 4}}
  - {name: jumbo, kind: udp, from: a, to: b, size: 8000, count: 3}
  - {name: copy, kind: bulk, from: a, to: b, bytes: 100kB}
"""


def run(*arguments: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, ["run", *map(str, arguments)])
    assert result.exit_code == exit_code, result.output
    return result.stdout


@pytest.fixture
def lab(tmp_path):
    """Write the lab; `wanted` is what its ping expects to be delivered."""

    def write(wanted="all"):
        path = tmp_path / "my-lab.yaml"
        path.write_text(LAB.replace("WANTED", wanted))
        return path

    return write


def line_of(output, start):
    (line,) = [line for line in output.splitlines() if line.split()[: len(start.split())] == start.split()]
    return " ".join(line.split())


def test_prints_items_tunnels_and_the_verdict_on_the_expectations(lab):
    """One row for an item, one for an end of a tunnel; exits 0."""
    output = run(lab())
    assert line_of(output, "ping encrypt") == "ping encrypt X 16 4 4 -"
    assert line_of(output, "ping ping") == "ping ping 0.400 ms 0.100 ms 4 answered"
    assert line_of(output, "jumbo encrypt") == "jumbo encrypt X 16 3 0 too_big 3"
    assert line_of(output, "jumbo udp") == "jumbo udp path MTU 1563"
    assert "100,000 bytes" in line_of(output, "copy bulk")
    assert line_of(output, "h2 h1 up") == "h2 h1 up 1 0.100 ms none null (PROTECTS NOTHING)"
    assert "null: as the lab says; what is called encrypted here can be read by anyone" in output.splitlines()
    assert "Rows of the decision table: 16 encrypted." in output.splitlines()
    assert output.splitlines()[-1] == "All 3 expectations hold."


def test_a_tunnel_that_protects_names_its_cipher():
    """In the table, and once below it the suite and why this backend."""
    output = run("two-vms")
    assert line_of(output, "host-1 host-2 up").startswith("host-1 host-2 up 1 0.300 ms AES-256-GCM ")
    assert "AES-256-GCM: ECDHE-ECDSA-AES256-GCM-SHA384" in output.splitlines()


def test_several_verdicts_are_shown_with_their_packets(monkeypatch):
    """One below the other, each with its code; the table fits 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = run("two-vms", "--first-packet", "clear", exit_code=1).splitlines()
    (at,) = [number for number, line in enumerate(lines) if line.split()[:2] == ["ping", "encrypt"]]
    assert [line.split() for line in lines[at : at + 2]] == [
        ["ping", "encrypt", "8", "X", "16", "5", "5", "-"],
        ["clear", "2", "NX_FALLBACK", "14"],
    ]
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert "verdicts include answers: 5" in "\n".join(lines)
    assert line_of("\n".join(lines), "ping verdict") == "ping verdict encrypt encrypt 8, clear 2"


def test_the_cipher_of_keys_from_a_broker_is_named_once():
    """In front of where they came from."""
    assert "AES-256-GCM: keys from the broker" in run("broker").splitlines()


def test_copies_have_a_column_where_links_make_any():
    """So that each row adds up: offered + duplicated = delivered + dropped."""
    assert "duplicated" not in run("two-vms")
    output = run("lossy")
    assert "duplicated" in output
    document = json.loads(run("lossy", "--json"))
    for item in document["items"]:
        dropped = sum(item["dropped"].values())
        assert item["offered"] + item["duplicated"] == item["delivered"] + dropped
        numbers = [int(word) for word in line_of(output, f"{item['name']} encrypt").split()[4:7]]
        assert numbers == [item["offered"], item["duplicated"], item["delivered"]]


def test_exits_1_and_says_what_came_instead(lab):
    """The expectation that does not hold is shown with expected and actual."""
    output = run(lab("3"), exit_code=1)
    assert line_of(output, "ping delivered") == "ping delivered 3 4"
    assert output.splitlines()[-1] == "1 of 3 expectations do not hold."


def test_json_has_everything(lab):
    """One document on stdout, whatever the exit code."""
    document = json.loads(run(lab("3"), "--json", "--seed", "5", exit_code=1))
    assert (document["lab"], document["seed"], document["ok"]) == ("my-lab", 5, False)
    ping = document["items"][0]
    assert (ping["verdict"], ping["encryption"], ping["offered"], ping["delivered"]) == ("encrypt", "X", 4, 4)
    assert ping["expectations"][1] == {
        "key": "delivered",
        "expected": "3",
        "actual": "4",
        "holds": False,
    }
    assert [tunnel["backend"] for tunnel in document["tunnels"]] == ["null", "null"]


def test_first_packet_is_taken_from_the_command_line():
    """The first echo request is dropped while the tunnel is built."""
    document = json.loads(run("two-vms", "--first-packet", "drop", "--json", exit_code=1))
    assert document["items"][0]["dropped"] == {"first_packet": 1}


def test_writes_the_fabric_as_a_capture(lab, tmp_path):
    """For Wireshark."""
    run(lab(), "--pcap", tmp_path / "out.pcap")
    assert len(parse_pcap((tmp_path / "out.pcap").read_bytes())) > 80


def refused(*arguments):
    """What a run says that does not begin."""
    result = CliRunner().invoke(app, ["run", *map(str, arguments)])
    assert isinstance(result.exception, DtlsEmuError), result.output
    assert result.stdout == ""
    return str(result.exception)


def test_files_that_cannot_be_written_are_refused_before_the_run(lab, tmp_path, monkeypatch):
    """A folder that is not there or in the way, files that would destroy each other, the lab or a capture of it."""
    monkeypatch.setattr(simulation, "simulate", lambda *_args, **_options: pytest.fail("it ran"))
    missing, both = tmp_path / "no" / "such", tmp_path / "both"
    for option in ("--pcap", "--keylog"):
        assert refused(lab(), option, missing).startswith("there is no folder")
        assert "it is a folder; name a file" in refused(lab(), option, tmp_path)
    also = tmp_path / "link"
    also.symlink_to(both)
    for other in (both, also):
        assert refused(lab(), "--pcap", both, "--keylog", other) == (
            f"--pcap {both} is the file of --keylog, too; name another file"
        )
    path = lab()
    before = path.read_text()
    assert refused(path, "--pcap", path) == f"--pcap {path} is read by this run, too; name another file"
    capture = tmp_path / "small.pcap"
    capture.write_bytes(encode_pcap([(0.0, udp_packet("10.0.0.4", "10.0.0.5", 1, 2))]))
    path.write_text(before + "  - {name: again, kind: pcap, from: a, to: b, file: small.pcap}\n")
    assert refused(path, "--pcap", capture) == f"--pcap {capture} is read by this run, too; name another file"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["link", "my-lab.yaml", "small.pcap"]


def test_a_key_log_tells_of_a_brokers_keys_as_such(tmp_path):
    """A comment for each session, none of whose keys is in the file, and it is said on the terminal."""
    keys = tmp_path / "keys.log"
    result = CliRunner().invoke(app, ["run", "broker", "--keylog", str(keys)])
    assert result.exit_code == 0, result.output
    assert (
        f"the keys came from a broker: {keys} says between whom, and has no secrets, because there was no handshake"
    ) in " ".join(result.stderr.split())
    lines = keys.read_text().splitlines()
    assert lines[0] == (
        "# 0.000000 s: host-1 asks the broker for the keys of a session with host-2, from its port 49152: "
        "no handshake, so there is no secret to log"
    )
    assert all(line.startswith("# ") for line in lines)


def test_a_lab_without_handshakes_has_no_key_log(lab, tmp_path):
    """A file without a secret is neither announced nor left."""
    keys = tmp_path / "keys.log"
    path = lab("all")
    path.write_text(path.read_text().replace("enabled: true", "enabled: false").replace("encrypt,", "clear,"))
    result = CliRunner().invoke(app, ["run", str(path), "--keylog", str(keys)])
    assert result.exit_code == 0, result.output
    assert "writing session secrets" not in result.stderr
    assert f"there was no handshake: no secrets to write to {keys}" in result.stderr
    assert not keys.exists()


def test_a_wrong_lab_is_the_users_error():
    """Which the command line turns into one message and exit code 2."""
    result = CliRunner().invoke(app, ["run", "no-such-lab"])
    assert isinstance(result.exception, LabFileError)


def test_a_run_that_does_not_balance_is_void(lab, monkeypatch):
    """Exit 1, the reason on stderr, and no figures."""

    def broken(*_args, **_options):
        raise AccountingError("1 packets are unaccounted for")

    monkeypatch.setattr(simulation, "simulate", broken)
    result = CliRunner().invoke(app, ["run", str(lab())])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "dtls-emu: the run is void: 1 packets are unaccounted for\n"


def test_secrets_are_written_only_on_request_and_for_their_owner_only(tmp_path):
    """A line for each handshake and a comment beside it, mode 0600, said on stderr, and no file is written over."""
    keys = tmp_path / "keys.log"
    outcome = CliRunner().invoke(app, ["run", "two-vms", "--keylog", str(keys)])
    assert outcome.exit_code == 0, outcome.output
    assert f"writing session secrets to {keys}" in outcome.stderr
    assert keys.stat().st_mode & 0o777 == 0o600
    comment, line = keys.read_text().splitlines()
    label, client_random, secret = line.split()
    assert comment.startswith(f"# server_random {client_random} ")
    assert (label, len(client_random), len(secret)) == ("CLIENT_RANDOM", 64, 96)
    assert secret not in outcome.stdout + outcome.stderr
    again = CliRunner().invoke(app, ["run", "two-vms", "--keylog", str(keys)])
    assert isinstance(again.exception, DtlsEmuError)
    assert keys.read_text().splitlines() == [comment, line]


@pytest.mark.parametrize("option", ["--pcap", "--keylog"])
def test_a_file_that_is_there_is_written_over_on_request_only(lab, tmp_path, monkeypatch, option):
    """And it is looked at before the run."""
    path = tmp_path / "there"
    path.write_text("mine")
    with monkeypatch.context() as patch:
        patch.setattr(simulation, "simulate", lambda *_, **__: pytest.fail("it was run"))
        outcome = CliRunner().invoke(app, ["run", str(lab()), option, str(path)])
        assert "--force writes over it" in str(outcome.exception)
        assert path.read_text() == "mine"
    run(lab(), option, path, "--force")
    assert path.read_bytes() != b"mine"


def test_a_capture_that_cannot_be_written_does_not_cost_the_table(lab, tmp_path, monkeypatch):
    """It is kept elsewhere, and said; the exit code is no success."""
    monkeypatch.setattr("dtls_emu.files.results.tempfile.tempdir", str(tmp_path))
    outcome = CliRunner().invoke(app, ["run", str(lab("4")), "--pcap", "/dev/full"])
    assert outcome.exit_code == 1
    assert "All 3 expectations hold." in outcome.stdout
    assert "cannot write /dev/full: No space left on device; it is kept in" in outcome.stderr


@pytest.mark.tshark
def test_capture_and_secrets_together_show_the_inside_of_a_tunnel(tmp_path):
    """What tshark opens with them is what the guests sent."""
    keys, capture = tmp_path / "keys.log", tmp_path / "wire.pcap"
    outcome = CliRunner().invoke(app, ["run", "two-vms", "--keylog", str(keys), "--pcap", str(capture)])
    assert outcome.exit_code == 0, outcome.output
    command = ["tshark", "-r", str(capture), "-d", "udp.port==4433,dtls", "-Y", "dtls.app_data", "-x"]
    opened = subprocess.run(
        [*command, "-o", f"tls.keylog_file:{keys}"], capture_output=True, text=True, check=True
    )
    closed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Decrypted DTLS" in opened.stdout
    assert "Decrypted DTLS" not in closed.stdout
