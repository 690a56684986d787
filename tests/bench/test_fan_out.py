"""The script about one card with many tunnels between real hosts, and the one about stages of the way."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


BENCH = Path(__file__).parents[2] / "bench"


@pytest.mark.root
def test_every_tunnel_of_one_card_carries_something(tmp_path):
    """Two at once; the table, and every figure in the file."""
    result = tmp_path / "fan-out.json"
    command = [sys.executable, str(BENCH / "fan_out.py"), "--tunnels", "1,2", "--rounds", "1"]
    command += ["--seconds", "3", "--json", str(result)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    assert "2 hosts around one" in outcome.stdout
    samples = json.loads(result.read_text())["samples"]
    assert {each["tunnels"]: len(each["gbits"]) for each in samples} == {1: 1, 2: 2}
    assert all(gbits > 0 for each in samples for gbits in each["gbits"])
    assert not any(each["failures"] for each in samples)
