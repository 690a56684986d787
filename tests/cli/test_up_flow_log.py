"""`dtls-emu up --flow-log`: the logs of real hosts, beside what their cards have counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


pytestmark = pytest.mark.root


def cli(*words):
    command = [sys.executable, "-m", "dtls_emu", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_logs_of_real_hosts_count_as_their_cards(tmp_path):
    """To the packet, although compiled code carries most; both interfaces agree, and the audit says yes."""
    run, folder = f"t{os.getpid()}-log", tmp_path / "logs"
    cli("up", "two-vms", "--name", run, "--flow-log", folder)
    try:
        cli("exec", "--run", run, "vm-a", "--", "ping", "-q", "-i", "0.01", "-c", "40", "10.0.0.5")
        status = json.loads(cli("status", "--run", run, "--json"))
    finally:
        cli("down", run)
    encrypted = sum(host["card"]["egress"]["encrypted"] for host in status["hosts"])
    audit = json.loads(cli("audit", folder, "--fail-on", "clear,dropped,unknown", "--json"))
    assert encrypted == 80
    assert audit["kinds"]["encrypted"]["packets"] == encrypted
    groups = json.loads(cli("flows", folder, "--json"))["groups"]
    assert {(each["side"], each["packets_sent"], each["packets_received"]) for each in groups} == {
        ("outbound", 40, 40),
        ("inbound", 40, 40),
    }
