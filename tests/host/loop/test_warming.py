"""Before a host is ready, its whole way has been used once."""

from __future__ import annotations

import pytest

from dtls_emu.assembly.cards import choose_engine
from dtls_emu.host.loop import warming
from dtls_emu.host.loop.warming import warm_up


@pytest.mark.parametrize("backend", ["openssl", "cryptography", "null"])
def test_the_rehearsal_gets_through_with_every_engine(backend):
    """Handshake, sealed and clear packets, a super-packet cut and joined; every packet arrives."""
    assert warm_up(choose_engine(backend))


def test_a_rehearsal_that_loses_packets_says_so(monkeypatch, caplog):
    """A host starts nevertheless: its own books will tell."""
    monkeypatch.setattr(warming._Stage, "send", lambda *_: None)
    assert not warm_up(choose_engine("cryptography"))
    assert "the rehearsal of the datapath lost packets" in caplog.text
