"""`capture --live` and `up --capture`: what a lab that is up has carried opens in Wireshark, packet for packet."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from typer.testing import CliRunner

from dtls_emu.capture.pcapng import PcapngError, parse_pcapng
from dtls_emu.capture.wireshark import SCRIPT
from dtls_emu.cli.app import app
from dtls_emu.errors import DtlsEmuError
from dtls_emu.testing.waiting import await_line, eventually


COMMAND = [sys.executable, "-m", "dtls_emu"]
PATIENCE = 300
"""Seconds that nothing here takes unless it hangs: the very first card compiles its kernels."""

PINGS = ("ping", "-q", "-i", "0.05", "-c", "8", "-p", "5ec5e7", "-s", "64", "10.0.0.5")
PATTERN = bytes.fromhex("5ec5e75ec5e75ec5e7")


def cli(*words, exit_code=0):
    done = subprocess.run(
        [*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == exit_code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def echoes(packets):
    """ICMP echoes with the pattern, by where they were seen."""
    return [each.interface.name for each in packets if PATTERN in each.data]


def has_ended(path):
    """Whether a capture has the statistics that stand at its end; it may be read amid a block."""
    with suppress(PcapngError):
        return bool(parse_pcapng(path.read_bytes()).missed)
    return False


def tshark(path, display_filter):
    command = ["tshark", "-X", f"lua_script:{SCRIPT}", "-r", str(path), "-Y", display_filter]
    fields = ["-T", "fields", "-e", "frame.interface_name", "-e", "icmp.type"]
    found = subprocess.run([*command, *fields], capture_output=True, text=True, check=True).stdout
    return [tuple(line.split("\t")) for line in found.splitlines()]


@pytest.mark.root
@pytest.mark.tshark
def test_what_a_lab_that_is_up_carries_opens_packet_for_packet(tmp_path):
    """From its first packet with `up --capture`, and later with `--live`, over a rekey: at both ends and inside each VM.

    What an eavesdropper has of the same time has nothing of it.
    """
    run = f"cap{os.getpid()}"
    whole, later, outside = (tmp_path / f"{name}.pcapng" for name in ("whole", "later", "outside"))
    said = cli("up", "two-vms", "--name", run, "--capture", whole)
    assert f"capturing {run} to {whole}" in said.stderr
    try:
        cli("exec", "--run", run, "vm-a", "--", *PINGS)
        assert "somebody captures" in cli("status", "--run", run).stdout
        watching = [
            subprocess.Popen(
                ["env", "--default-signal=INT", *COMMAND, "capture", "--live", run, *map(str, words)],
                stderr=subprocess.PIPE,
                text=True,
            )
            for words in (("-o", later), ("-o", outside, "--no-secrets"))
        ]
        for each in watching:
            await_line(each, each.stderr, "capturing", seconds=PATIENCE)
        cli("exec", "--run", run, "vm-a", "--", *PINGS)
        for each in watching:
            each.send_signal(signal.SIGINT)
            assert "packets are missing" not in each.communicate(timeout=PATIENCE)[1]
            assert each.returncode == 0
    finally:
        cli("down", run)
    eventually(lambda: has_ended(whole), "the capture ends with the run")
    ends = ("host-1:host-2", "host-2:host-1")
    for path, rounds in ((whole, 2), (later, 1)):
        found = parse_pcapng(path.read_bytes())
        assert sorted(echoes(found.packets)) == sorted(("vm-a", "vm-b") * 16 * rounds)
        assert set(found.missed.values()) == {0}
        inside = tshark(path, "vxlan && icmp")
        expected = [(end, kind) for end in ends for kind in ("0", "8")] * 8 * rounds
        assert sorted(inside) == sorted(expected)
        assert path.stat().st_mode & 0o777 == 0o600
    found = parse_pcapng(outside.read_bytes())
    assert {each.interface.name for each in found.packets} == set(ends)
    assert (found.secrets, echoes(found.packets)) == ([], [])
    assert len(tshark(outside, "dtls.app_data")) >= 32


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (("capture", "two-vms", "--live", "x", "-o", "f"), "--live captures a run that is up"),
        (("capture", "--live", "x", "--seed", "3", "-o", "f"), "--live captures a run that is up"),
        (("up", "two-vms", "--no-secrets"), "--capture FILE"),
        (("up", "two-vms", "--capture", "-"), "capture --live RUN -o -"),
        (("up", "two-vms", "--capture", "/nowhere/at/all.pcapng"), "there is no folder"),
        (("capture", "--live", "no-such-run", "-o", "f"), "no-such-run|nothing is up|no run"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_made(words, wrong, tmp_path, monkeypatch):
    """In one line."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, list(words))
    assert isinstance(result.exception, DtlsEmuError), result.output
    assert re.search(wrong, str(result.exception))
    assert list(tmp_path.iterdir()) == []
