"""The how-to page about a network of one's own: what it tells a reader to type prints what it shows."""

from __future__ import annotations

from pathlib import Path

from consoles import compare, play, steps


PAGE = Path(__file__).parents[2] / "docs" / "howto" / "what-if.md"


def test_a_network_of_ones_own(tmp_path):
    """The worked example, the gate, and the lab that does what the answer says."""
    played = play(steps(PAGE.read_text()), tmp_path)
    compare(played)
    assert len(played) == 4
    assert (tmp_path / "mine.yaml").exists()
