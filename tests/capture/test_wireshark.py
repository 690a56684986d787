"""A capture opens in Wireshark: with secrets and our script the inside of tunnels is there, and without nothing of it."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections import Counter

import pytest

from dtls_emu.capture.views import capture_trace
from dtls_emu.capture.wireshark import SCRIPT, open_command
from dtls_emu.events import Delivered, Offered, Opened, Received
from dtls_emu.lab import load_lab, shipped_labs


ENCAPSULATION = 8 + 14
"""VXLAN and Ethernet."""

ARRIVED = 'frame.packet_flags_direction == 1 && dtls.app_data && !(frame.comment contains "dropped")'
"""Records that a card took from the fabric and did not refuse."""


def tshark(path, *words):
    command = ["tshark", "-X", f"lua_script:{SCRIPT}", "-r", str(path), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def decrypted(path):
    """What tshark makes of the records that came in, each as bytes; probes, which are no VXLAN, left out."""
    found, current = [], None
    for line in tshark(path, "-Y", ARRIVED, "-x").splitlines():
        if re.match(r"\w[\w ]* \(\d+ bytes\):$", line):
            current = bytearray() if line.startswith("Decrypted DTLS") else None
            found += [] if current is None else [current]
        elif not line:
            current = None
        elif current is not None and (octets := re.match(r"[0-9a-f]{4}  ((?:[0-9a-f]{2} )+)", line)):
            current += bytes.fromhex(octets[1])
    return [bytes(each) for each in found if len(each) > ENCAPSULATION]


def opened_by_cards(events):
    """The packets that cards delivered out of records, as VMs got them."""
    found: list[bytes] = []
    is_opened: dict[str, bool] = {}
    for event in events:
        if isinstance(event, Received | Offered):
            is_opened[event.host] = False
        elif isinstance(event, Opened):
            is_opened[event.host] = True
        elif isinstance(event, Delivered) and is_opened.get(event.host):
            found += event.packets
    return found


@pytest.mark.tshark
@pytest.mark.parametrize("name", shipped_labs())
def test_what_tshark_decrypts_is_what_the_cards_delivered(run, name, tmp_path):
    """Byte for byte and in number, over every rekey and whatever the links do; without secrets there is none of it."""
    trace, secrets = run(load_lab(name))
    inside = opened_by_cards(trace.events)
    whole, outside = tmp_path / "whole.pcapng", tmp_path / "outside.pcapng"
    made = capture_trace(trace, secrets)
    whole.write_bytes(made.content)
    outside.write_bytes(capture_trace(trace, None).content)
    if made.sessions:  # a broker's keys
        inside, secrets = [], {}
    assert Counter(each[ENCAPSULATION:] for each in decrypted(whole)) == Counter(inside)
    assert made.opened == made.handshakes == len(secrets)
    assert decrypted(outside) == []
    content = outside.read_bytes()
    assert [each for each in inside[:: max(len(inside) // 40, 1)] if each[20:] in content] == []


@pytest.mark.tshark
def test_the_script_has_what_is_inside_dissected(run, make_lab, tmp_path):
    """As VXLAN with its network, and ICMP and UDP in it, at all four ends; without secrets it is application data."""
    stream = "name: stream, kind: udp, from: a, to: b, count: 3, size: 100"
    trace, secrets = run(make_lab("name: ping, kind: ping, from: a, to: b, count: 2", stream))
    whole, outside = tmp_path / "whole.pcapng", tmp_path / "outside.pcapng"
    whole.write_bytes(capture_trace(trace, secrets).content)
    outside.write_bytes(capture_trace(trace, None).content)
    fields = ("-T", "fields", "-e", "vxlan.vni", "-e", "icmp.type", "-e", "udp.length")
    lines = [line.split("\t") for line in tshark(whole, "-Y", "dtls && vxlan", *fields).splitlines()]
    assert {vni for vni, *_ in lines} == {"5001"}
    assert Counter(kind for _, kind, _ in lines if kind) == {"8": 4, "0": 4}
    assert [length.split(",")[1] for *_, kind, length in lines if not kind] == ["80"] * 6
    assert tshark(outside, "-Y", "vxlan || icmp") == ""
    assert len(tshark(outside, "-Y", "dtls.app_data").splitlines()) >= len(lines)


def test_the_command_that_opens_a_capture_is_one_line_for_a_shell():
    """Whatever the file is called; and for a pipe."""
    assert shlex.split(open_command("my file.pcapng")) == [
        "wireshark",
        "-X",
        f"lua_script:{SCRIPT}",
        "my file.pcapng",
    ]
    assert open_command(None).endswith(" -k -i -")
    assert SCRIPT.is_file()
