"""The script about how far one card and one lab go: structure and memory, whatever the machine's speed."""

import json
import subprocess
import sys
from pathlib import Path


SCRIPT = Path(__file__).parents[2] / "bench" / "scale.py"


def test_its_figures_are_json_and_memory_grows_as_promised():
    """A million flows on two cards stay below 2 GB, 5,000 hosts with 20,000 VMs below 500 MB: by what a few take."""
    sizes = ["--tunnels", "8", "--flows", "20000", "--addresses", "200", "--hosts", "250"]
    command = [sys.executable, str(SCRIPT), *sizes, "--json"]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    found = json.loads(outcome.stdout)
    assert found["flows"]["bytes_per_flow_and_card"] < 1_000
    assert found["lab"]["peak_mb"] * 20 < 500
    assert found["tunnels"]["tunnels"] == 8
    assert all(value > 0 for figures in found.values() for value in figures.values())
