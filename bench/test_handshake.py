"""A whole handshake, both ends, cookie exchange included, against what pyOpenSSL alone needs.

``thread_time`` is what counts here: CPU of both ends, whatever else the machine does. ``dtls-emu bench`` has the
same comparison with whole cards around it, pair by pair.
"""

from contextlib import suppress

import numpy as np
import pytest
from OpenSSL import SSL

from dtls_emu.crypto.keys import traffic_keys
from dtls_emu.testing.pair import Pair
from dtls_emu.testing.present import present
from dtls_emu.testing.waiting import rounds
from dtls_emu.tunnel.outcome import NOTHING
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.wire.burst import Burst


ROUNDS = 300


@pytest.fixture
def pair():
    pair = Pair()
    pair.connect()
    pair.run(until=1)
    return pair


def test_tunnel(benchmark, pair):
    """A rekey: a fresh association on new ports; goodbyes to the old one are not counted in."""
    ends = (pair.client, pair.server)

    def talk(*outcomes):
        """Carry datagrams to and fro, beginning with what each end's call has caused."""
        waiting = [list(outcome.datagrams) for outcome in outcomes]
        for _ in rounds(1000, "both ends are silent"):
            if not any(waiting):
                break
            for number, receiver in enumerate(reversed(ends)):
                outgoing, waiting[number] = waiting[number], []
                for out in outgoing:
                    burst = Burst.from_datagrams(np.frombuffer(bytearray(out.datagram), np.uint8))
                    outcome = receiver.receive(burst, out.remote_port, out.local_port, pair.now)
                    waiting[1 - number] += outcome.datagrams

    def rest():
        pair.now += 60
        talk(*(end.handle_timeout(pair.now) for end in ends))

    def rekey():
        talk(ends[0].rekey(pair.now), NOTHING)
        assert ends[0].state is ends[1].state is TunnelState.UP

    benchmark.pedantic(rekey, setup=rest, rounds=ROUNDS, warmup_rounds=10)


def test_pyopenssl_alone(benchmark, pair):
    """The same contexts and certificates, with cookies, keys derived; nothing checked but the chain."""
    client_context = pair.client.key_source._identity.contexts.client
    server_context = pair.server.key_source._identity.contexts.server

    def handshake():
        ends = [SSL.Connection(client_context), SSL.Connection(server_context)]
        assert SSL.OP_COOKIE_EXCHANGE is not None
        ends[1].set_options(SSL.OP_COOKIE_EXCHANGE)
        ends[0].set_connect_state()
        ends[1].set_accept_state()
        finished = 0
        for end in ends:
            end.set_ciphertext_mtu(1472)
        for _ in rounds(1000, "both ends are up"):
            if finished == 2:
                break
            try:
                ends[0].do_handshake()
                finished += 1
            except SSL.WantReadError:
                pass
            with suppress(SSL.WantReadError):
                ends[1].bio_write(ends[0].bio_read(65_536))
            ends.reverse()
        for end in ends:
            secrets = end.master_key(), end.client_random(), end.server_random()
            master, client, server = (present(secret) for secret in secrets)
            traffic_keys(master, client, server, is_client=True)

    benchmark.pedantic(handshake, rounds=ROUNDS, warmup_rounds=10)
