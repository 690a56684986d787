"""Lab files, and the captures that they name: whatever is in them, it is understood or it is explained."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from dtls_emu.errors import LabFileError
from dtls_emu.lab import compile_lab
from dtls_emu.lab.loader import EXAMPLES, parse_lab
from dtls_emu.lab.pcap import parse_pcap


_PCAP_MAGIC = 0xD4


def run(data: bytes) -> None:
    """Read a lab, or what begins like a capture."""
    if data[:1] and data[0] == _PCAP_MAGIC:
        with suppress(ValueError):
            assert all(packet.data and packet.time >= 0 for packet in parse_pcap(data))
        return
    text = data.decode(errors="replace")
    with suppress(LabFileError):
        compile_lab(parse_lab(text, EXAMPLES / "fuzzed.yaml"))


def seeds():
    """The shipped labs, a small one, and the beginning of each capture."""
    small = Path(__file__).parent.parent / "lab" / "small.yaml"
    labs = [path.read_bytes() for path in (*sorted(EXAMPLES.glob("*.yaml")), small)]
    captures = [path.read_bytes()[:600] for path in sorted(EXAMPLES.glob("*.pcap"))]
    return [*labs, *captures]
