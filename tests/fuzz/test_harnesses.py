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

import numpy as np
import pytest

from dtls_emu.nic.flow_table import FACT_LIMIT, FACT_VM, FACT_WAY
from dtls_emu.nic.flows import IngressFlow
from dtls_emu.nic.offload import kernels
from dtls_emu.nic.offload.fast_path import FastPath
from dtls_emu.tunnel.record_kernels import NEXT_SEQUENCE, WORDS, open_burst
from dtls_emu.vocabulary import FirstPacket


HERE = Path(__file__).parent
ROUNDS = {"card_datagrams": 250, "card_frames": 450, "tunnel_datagrams": 200, "lab_files": 300}
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


def forgets_what_came(words, window, *arguments):
    """The window stays where it was, so a replay is taken for new."""
    before = window.copy()
    found = open_burst(words, window, *arguments)
    window[:] = before
    return found


def spends_a_number_twice(*arguments):
    """A fast path that seals, and does not say so."""
    state = arguments[0]
    sealed = seal_out(*arguments)
    about = state.ways[state.numbers[kernels.PLAN_WAY]]
    if sealed and about[kernels.WAY_SEALED]:
        words = np.ctypeslib.as_array((ctypes.c_int64 * WORDS).from_address(about[kernels.WAY_WORDS]))
        words[NEXT_SEQUENCE] -= 1
    return sealed


def offloads_to_the_way_in_clear(fast_path):
    """A flow that is to be encrypted, to a way that is not."""
    offload_out(fast_path)
    fast_path._egress.flows.facts[:, FACT_WAY] |= len(fast_path.peers) // 2


def believes_whatever_is_in_clear(fast_path):
    """And whoever has sent it."""
    offload_in(fast_path)
    fast_path._ingress.flows.facts[:, FACT_LIMIT] = 1


def delivers_without_counting(state, flow, *_):
    """What was received is in the books, and what became of it is not."""
    return int(state.in_facts[flow, FACT_VM])


seal_out = kernels.seal_out
offload_out, offload_in = FastPath.offload_out, FastPath.offload_in
native = pytest.mark.ipsec_mb

FAULTS = [
    pytest.param("card_datagrams", "dtls_emu.tunnel.association.open_burst", forgets_what_came, marks=native),
    ("card_datagrams", "dtls_emu.tunnel.handshake_keys.pull_client_hello_untrusted", raises),
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
    ("card_frames", "dtls_emu.tunnel.succession.Succession.fail_attempt", nothing),
    ("card_datagrams", "dtls_emu.testing.offloaded.count_delivery", delivers_without_counting),
    pytest.param("card_frames", "dtls_emu.testing.offloaded.seal_out", spends_a_number_twice, marks=native),
    ("card_frames", "dtls_emu.nic.offload.fast_path.FastPath.offload_out", offloads_to_the_way_in_clear),
    ("card_datagrams", "dtls_emu.nic.offload.fast_path.FastPath.offload_in", believes_whatever_is_in_clear),
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
