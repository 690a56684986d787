"""A short run of each fuzzing harness, and proof that the harnesses notice what they are there to notice.

``make fuzz`` runs them for a minute each, guided by coverage. Here it is a plain loop: in a few seconds atheris
does not get beyond the seeds, and it is not there for every Python and processor that this package is.
"""

import ctypes
import secrets
import subprocess
import sys
from argparse import Namespace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dtls_emu.nic.flows import IngressFlow
from dtls_emu.nic.offload import entries, kernels
from dtls_emu.nic.offload.state import DELIVER_ANY, DROP, PATH
from dtls_emu.tunnel.record_kernels import RECORDS
from dtls_emu.vocabulary import FirstPacket


HERE = Path(__file__).parent
ROUNDS = {
    "card_datagrams": 250,
    "card_frames": 450,
    "tunnel_datagrams": 200,
    "lab_files": 300,
    "flow_logs": 400,
}
"""One to four seconds each, beside the compilation of kernels with bounds checks when they have changed."""


@pytest.mark.parametrize("harness", ROUNDS)
def test_nothing_breaks_a_promise(harness, tmp_path):
    """All seeds and some changes to them. Another seed each time; a failure names it and keeps the input."""
    seed = secrets.token_hex(4)
    print(f"seed {seed}")
    options = ["--rounds", str(ROUNDS[harness]), "--seed", seed, "--findings", str(tmp_path)]
    command = [sys.executable, str(HERE / "fuzz.py"), harness, *options]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    print(outcome.stdout, outcome.stderr)
    assert outcome.returncode == 0, outcome.stderr


def raises(*_arguments, **_options):
    """What nothing may do for what is in a datagram, a frame or a file."""
    raise IndexError


def nothing(*_arguments, **_options):
    """What was to be done is left undone."""


def forgets_what_came(addresses, path, *arguments):
    """The window stays where it was, so a replay is taken for new."""
    about = array_at(addresses["paths"][0], path + 1, PATH)[path]
    window = array_at(about["window"], about["window_words"], np.dtype(np.int64)) if about["window"] else None
    before = None if window is None else window.copy()
    found = receive_burst(addresses, path, *arguments)
    if window is not None:
        window[:] = before
    return found


def spends_a_number_twice(memory, plan, *arguments):
    """A kernel that seals, and does not say so."""
    sealed = seal_out(memory, plan, *arguments)
    path = memory.paths[plan.path]
    if sealed and path["sealed"]:
        array_at(path["records"], 1, RECORDS)["next_sequence"] -= 1
    return sealed


def delivers_without_counting(memory, path, buffer, shape, *arguments):
    """What was received is counted, and what became of it is not."""
    opening = open_in(memory, path, buffer, shape, *arguments)
    if opening.runs > 0:
        memory.card["delivered"] -= shape.rows
    return opening


def array_at(address, count, dtype):
    """What kernels are told of by its address."""
    memory: Any = (ctypes.c_char * int(count * dtype.itemsize)).from_address(int(address))
    return np.frombuffer(memory, dtype)


def sends_in_clear(egress, number, burst, effects, now):
    """What is to wait for its tunnel."""
    egress._send_clear(number, egress.flows[number].decision, burst, effects, now)


believes_whatever_is_in_clear = property(lambda flow: DELIVER_ANY if flow.refused is None else DROP)
"""Whoever has sent it."""

seal_out, open_in = kernels.seal_out, kernels.open_in
receive_burst = entries.receive_burst
native = pytest.mark.ipsec_mb

FAULTS = [
    pytest.param("card_datagrams", "dtls_emu.nic.ingress.receive_burst", forgets_what_came, marks=native),
    ("card_datagrams", "dtls_emu.tunnel.handshake_keys.pull_client_hello_untrusted", raises),
    ("card_datagrams", "dtls_emu.nic.ingress.Ingress.drop", nothing),
    ("card_datagrams", "dtls_emu.tunnel.association.Association.final_flight", raises),
    (
        "card_datagrams",
        "dtls_emu.nic.slow_path.SlowPath.decide_ingress",
        lambda _path, _key: IngressFlow("b", "h1", None, accepts_clear=True),
    ),
    ("card_frames", "dtls_emu.nic.egress.while_building", lambda _facts, _profile: FirstPacket.CLEAR),
    ("card_frames", "dtls_emu.nic.egress.Egress._send_worn", sends_in_clear),
    ("card_frames", "dtls_emu.nic.egress.packet_too_big", raises),
    ("card_frames", "dtls_emu.tunnel.succession.Succession.fail_attempt", nothing),
    ("card_datagrams", "dtls_emu.testing.offloaded.open_in", delivers_without_counting),
    pytest.param("card_frames", "dtls_emu.testing.offloaded.seal_out", spends_a_number_twice, marks=native),
    ("card_frames", "dtls_emu.nic.offload.datapath.path_to", lambda peer, **_: 2 * peer + 1),
    ("card_datagrams", "dtls_emu.nic.flows.IngressFlow.action", believes_whatever_is_in_clear),
    ("tunnel_datagrams", "dtls_emu.tunnel.succession.Succession.fail_attempt", nothing),
    ("tunnel_datagrams", "dtls_emu.tunnel.handshake.are_plausible", lambda *_: True),
    ("tunnel_datagrams", "dtls_emu.tunnel.openssl_driver._reason", raises),
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
