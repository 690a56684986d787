"""A whole handshake, both ends, cookie exchange included, against what pyOpenSSL alone needs.

``thread_time`` is what counts here: CPU of both ends, whatever else the machine does.
"""

from contextlib import suppress

import numpy as np
import pytest
from OpenSSL import SSL

from dtls_emu.testing.pair import Pair
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.wire.burst import Burst


@pytest.fixture
def pair():
    pair = Pair()
    pair.connect()
    pair.run(until=1)
    return pair


def test_tunnel(benchmark, pair):
    """A rekey: a fresh association on new ports, and the old one's goodbye."""
    ends = (pair.client, pair.server)

    def rekey():
        pair.now += 60
        for end in ends:
            end.handle_timeout(pair.now)
            end.take_outgoing()
        assert ends[0].rekey(pair.now)
        sender, receiver = ends
        while outgoing := sender.take_outgoing():
            for out in outgoing:
                burst = Burst.from_datagrams(np.frombuffer(bytearray(out.datagram), np.uint8))
                receiver.receive(burst, out.remote_port, out.local_port, pair.now)
            sender, receiver = receiver, sender
        assert ends[0].state is ends[1].state is TunnelState.UP

    benchmark(rekey)


def test_pyopenssl_alone(benchmark, pair):
    """The same contexts and certificates, without cookies, keys taken out, or anything checked but the chain."""
    client_context = pair.client._identity.contexts.client
    server_context = pair.server._identity.contexts.server

    def handshake():
        ends = [SSL.Connection(client_context), SSL.Connection(server_context)]
        ends[0].set_connect_state()
        ends[1].set_accept_state()
        finished = 0
        for end in ends:
            end.set_ciphertext_mtu(1472)
        while finished < 2:
            try:
                ends[0].do_handshake()
                finished += 1
            except SSL.WantReadError:
                pass
            with suppress(SSL.WantReadError):
                ends[1].bio_write(ends[0].bio_read(65_536))
            ends.reverse()

    benchmark(handshake)
