"""The script about numbers of tunnels, floods and rekeys: what it says holds, and it can be read by programs."""

import json
import subprocess
import sys
from pathlib import Path


SCRIPT = Path(__file__).parents[2] / "bench" / "tunnels.py"


def test_its_figures_are_json_and_nothing_was_lost():
    """A few tunnels; the bounds that do not depend on the machine."""
    command = [sys.executable, str(SCRIPT), "--tunnels", "20", "--json"]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    found = json.loads(outcome.stdout)
    assert found["tunnels"]["tunnels"] == 20
    assert 4 < found["tunnels"]["idle_end_kb"] < 64, "however few there are"
    assert found["flood"]["half_open_attempts"] == 64
    assert found["flood"]["half_open_attempt_kb"] < 200
    assert found["rekey"]["packets_lost"] == 0
    assert all(isinstance(value, int | float) for figures in found.values() for value in figures.values())
