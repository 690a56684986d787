"""A short run of each fuzzing harness, and proof that the harnesses notice what they are there to notice.

``make fuzz`` runs them for a minute each, guided by coverage. Here it is a plain loop: in a few seconds atheris
does not get beyond the seeds, and it is not there for every Python and processor that this package is.
"""

import secrets
import subprocess
import sys
from argparse import Namespace
from importlib import import_module
from pathlib import Path

import pytest

from dtls_emu.lab.vocabulary import FirstPacket
from dtls_emu.nic.flows import IngressFlow


HERE = Path(__file__).parent
ROUNDS = {"card_datagrams": 200, "card_frames": 250, "tunnel_datagrams": 200, "lab_files": 300}
"""One to two seconds each, beside the compilation of kernels with bounds checks when they have changed."""


@pytest.mark.parametrize("harness", ROUNDS)
def test_nothing_breaks_a_promise(harness, tmp_path):
    """All seeds and some changes to them. Another seed each time; a failure names it and keeps the input."""
    options = ["--rounds", str(ROUNDS[harness]), "--seed", secrets.token_hex(4), "--findings", str(tmp_path)]
    command = [sys.executable, str(HERE / "fuzz.py"), harness, *options]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    print(outcome.stdout, outcome.stderr)
    assert outcome.returncode == 0, outcome.stderr


def raises(*_arguments, **_options):
    """What nothing may do for what is in a datagram, a frame or a file."""
    raise IndexError


def nothing(*_arguments, **_options):
    """What was to be done is left undone."""


FAULTS = [
    (
        "card_datagrams",
        "dtls_emu.tunnel.association.commit_records",
        lambda _buffer, _stride, _count, _window, status: int((status == 0).sum()),
    ),
    ("card_datagrams", "dtls_emu.tunnel.attempts.pull_client_hello_untrusted", raises),
    ("card_datagrams", "dtls_emu.nic.ingress.Ingress.drop", nothing),
    ("card_datagrams", "dtls_emu.tunnel.association.Association.final_flight", raises),
    (
        "card_datagrams",
        "dtls_emu.nic.slow_path.SlowPath.decide_ingress",
        lambda _path, _key, generation: IngressFlow(
            "b", "h1", None, accepts_clear=True, generation=generation
        ),
    ),
    ("card_frames", "dtls_emu.nic.egress.while_building", lambda _facts, _profile: FirstPacket.CLEAR),
    (
        "card_frames",
        "dtls_emu.nic.egress.Egress._send_encrypted",
        lambda egress, flow, burst, effects, _now: egress._send_clear(flow, burst, effects),
    ),
    ("card_frames", "dtls_emu.nic.egress.packet_too_big", raises),
    ("card_frames", "dtls_emu.tunnel.tunnel.Tunnel._fail", nothing),
    ("tunnel_datagrams", "dtls_emu.tunnel.tunnel.Tunnel._fail", nothing),
    ("tunnel_datagrams", "dtls_emu.tunnel.handshake.Handshake._are_plausible", lambda *_: True),
    ("tunnel_datagrams", "dtls_emu.tunnel.handshake._openssl_reason", raises),
    ("lab_files", "dtls_emu.lab.loader.check_lab", raises),
    ("lab_files", "dtls_emu.lab.pcap._ETHERNET_HEADER", None),
]
"""A harness, what is broken, and how."""


@pytest.mark.parametrize(("harness", "target", "fault"), FAULTS)
def test_it_would_be_noticed(monkeypatch, tmp_path, harness, target, fault):
    """With one thing broken, the seeds and a few changes to them bring it to light."""
    monkeypatch.syspath_prepend(HERE)
    fuzz, module = import_module("fuzz"), import_module(harness)
    monkeypatch.setattr(target, fault)
    chosen = Namespace(harness=harness, seed="faults", rounds=400, findings=tmp_path)
    with pytest.raises((AssertionError, IndexError, TypeError)):
        fuzz.plain(module, chosen)
    assert len(list(tmp_path.iterdir())) == 1
