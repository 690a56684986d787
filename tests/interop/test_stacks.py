"""Handshake, data, loss, new keys and goodbye with the DTLS stacks of others, in both roles.

The handshake on our side is OpenSSL 4's; every record after it is of our own record layer. The extended master
secret is required of all of them, and all have it; secure renegotiation of the servers. None has our ALPN id.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from dtls_emu.wire.protocol import ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC


pytestmark = pytest.mark.interop

HERE = Path(__file__).parent
SUITE = "ECDHE-ECDSA-AES256-GCM-SHA384"
PRIORITY = (
    "NONE:+VERS-DTLS1.2:+ECDHE-ECDSA:+AES-256-GCM:+AEAD:+GROUP-X25519:+GROUP-SECP256R1"
    ":+SIGN-ECDSA-SHA256:+SIGN-ECDSA-SHA384:+COMP-NULL:+CTYPE-X509"
)
MTU = 1200
PATIENCE = 10.0
"""Seconds for an answer to our goodbye, where one comes."""


class Stack:
    """Somebody else's DTLS.

    Fields:
        needs: the mark that says what must be installed.
        echoes: its server sends back what it gets; otherwise it sends what is typed.
        serves_several: its server talks to more than one client at a time.
        answers_goodbye: it answers close_notify with its own, as RFC 5246 7.2.1 demands.
        takes_empty_records: False where a record without data is taken for the end of the association.
    """

    needs = ""
    echoes = True
    serves_several = False
    answers_goodbye = True
    takes_empty_records = True

    def __init__(self, run, folder, tools):
        self.run = run
        self.folder = folder
        self.tools = tools

    def file(self, name):
        return str(self.folder / name)


class OpenSSL(Stack):
    """Debian: openssl. What is there is OpenSSL 3; its tools end when they read a record without data."""

    needs = "openssl"
    echoes = False
    takes_empty_records = False

    def client(self, port):
        return self.run(
            *("openssl", "s_client", "-dtls1_2", "-connect", f"127.0.0.1:{port}", *self._options()),
            *("-verify_hostname", "ours.test", "-no_ign_eof"),
        )

    def server(self, port):
        return self._server(port, "-listen")

    def _server(self, port, *more):
        return self.run(
            *("openssl", "s_server", "-dtls1_2", "-accept", f"127.0.0.1:{port}", *self._options()),
            *("-Verify", "2", *more),
        )

    def _options(self):
        return (
            *(
                "-cert",
                self.file("host.pem"),
                "-key",
                self.file("host.key"),
                "-CAfile",
                self.file("ca-interop.pem"),
            ),
            *("-verify_return_error", "-cipher", SUITE, "-mtu", str(MTU), "-quiet"),
        )


class OpenSSLWithoutCookies(OpenSSL):
    """With cookies its server stays bound to the port of its first client."""

    def server(self, port):
        return self._server(port)


class GnuTLS(Stack):
    """Debian: gnutls-bin. Its server listens on every address there is, so it gets a network of its own."""

    needs = "gnutls"
    answers_goodbye = False

    def client(self, port):
        return self.run(
            "gnutls-cli", "--port", str(port), *self._options(), "--verify-hostname=ours.test", "127.0.0.1"
        )

    def server(self, port):
        return self.run(
            *("gnutls-serv", "--echo", "--port", str(port), *self._options()),
            *("--require-client-cert", "--verify-client-cert"),
            enter=["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"],
        )

    def _options(self):
        return (
            *("--udp", "--mtu", str(MTU), "--priority", PRIORITY),
            *("--x509certfile", self.file("host.pem"), "--x509keyfile", self.file("host.key")),
            *("--x509cafile", self.file("ca-interop.pem")),
        )


class MbedTLS(Stack):
    """PyPI: python-mbedtls."""

    needs = "mbedtls"
    serves_several = True
    answers_goodbye = False

    def client(self, port):
        return self._start("client", port)

    def server(self, port):
        return self._start("server", port)

    def _start(self, role, port):
        return self.run(sys.executable, HERE / "mbedtls_peer.py", role, str(port), self.folder)


class WolfSSL(Stack):
    """Debian: libwolfssl-dev and gcc. Its server does not repeat its last flight, for OpenSSL's client neither."""

    needs = "wolfssl"
    serves_several = True

    def client(self, port):
        return self._start("client", port)

    def server(self, port):
        return self._start("server", port)

    def _start(self, role, port):
        program = self.tools / "wolfssl_peer"
        if not program.exists():
            subprocess.run(["gcc", "-o", program, HERE / "wolfssl_peer.c", "-lwolfssl"], check=True)
        return self.run(program, role, str(port), self.folder)


@pytest.fixture(scope="session")
def tools(tmp_path_factory):
    """Where compiled programs are kept."""
    return tmp_path_factory.mktemp("tools")


@pytest.fixture
def stack(request, run, pki, tools):
    """One of them; the parameter is its class."""
    return request.param(run, pki.theirs, tools)


def opposite(*stacks, serving=False):
    """Run a test with each of these stacks."""
    parameters = []
    for each in stacks:
        marks = [getattr(pytest.mark, each.needs)]
        if each is GnuTLS and serving:
            marks.append(pytest.mark.root)  # for its network namespace
        parameters.append(pytest.param(each, marks=marks, id=each.__name__))
    return pytest.mark.parametrize("stack", parameters, indirect=True)


opposite_clients = opposite(OpenSSL, GnuTLS, MbedTLS, WolfSSL)
opposite_servers = opposite(OpenSSL, GnuTLS, MbedTLS, WolfSSL, serving=True)


def first_final_flight():
    """Loses the first datagram that begins with a ChangeCipherSpec: the last flight, which is a server's."""
    lost: list[bytes] = []

    def lose(datagram):
        if lost or datagram[0] != CHANGE_CIPHER_SPEC:
            return False
        lost.append(datagram)
        return True

    return lose


def is_empty(datagram):
    """Whether it is a record without data, with which a client of ours says that it is there."""
    return datagram[0] == APPLICATION_DATA and len(datagram) == 37


def serve(endpoint, stack):
    """Let a foreign client come to our server."""
    client = endpoint.watch(stack.client(endpoint.port))
    before = endpoint.tunnel.handshakes
    endpoint.until(lambda: endpoint.tunnel.handshakes == before + 1)
    return client


def visit(endpoint, stack, server=None):
    """Go to a foreign server as the client; it is started unless it runs."""
    server = endpoint.watch(server or stack.server(endpoint.port))
    if not stack.takes_empty_records:
        endpoint.lose = is_empty
    if isinstance(stack, GnuTLS):
        endpoint.until(lambda: b"istening" in server.output)
        endpoint.namespace = f"/proc/{server.pid}/ns/net"
    endpoint.connect()
    return server


def assert_talks_to_client(endpoint, client, word):
    """Lines both ways."""
    for number in range(3):
        line = b"%s %d from them\n" % (word, number)
        client.write(line)
        endpoint.until(lambda line=line: endpoint.received[-1:] == [line])
    lines = [b"%s %d to them\n" % (word, number) for number in range(3)]
    endpoint.send(*lines)
    endpoint.until(lambda: all(line in client.output for line in lines))


def assert_talks_to_server(endpoint, server, stack, word):
    """Lines both ways."""
    for number in range(3):
        line = b"%s %d to them\n" % (word, number)
        endpoint.send(line)
        if not stack.echoes:
            endpoint.until(lambda line=line: line in server.output)
            server.write(line)
        endpoint.until(lambda line=line: endpoint.received[-1:] == [line])


@opposite_clients
def test_a_foreign_client_talks_to_our_server(make_endpoint, stack):
    """Data both ways; its goodbye ends the association."""
    endpoint = make_endpoint(listens=True)
    client = serve(endpoint, stack)
    assert_talks_to_client(endpoint, client, b"hello")
    client.end_input()
    endpoint.until(lambda: endpoint.tunnel.active is None)
    assert endpoint.tunnel.failure == ""


@opposite_servers
def test_our_client_talks_to_a_foreign_server(make_endpoint, stack, free_port):
    """Data both ways; then our goodbye."""
    endpoint = make_endpoint(
        listens=False, port=free_port, goodbye=PATIENCE if stack.answers_goodbye else 0.2
    )
    server = visit(endpoint, stack)
    assert_talks_to_server(endpoint, server, stack, b"hello")
    endpoint.close()
    assert (endpoint.heard[-1][0] == ALERT) is stack.answers_goodbye


@opposite_clients
def test_a_foreign_client_gets_our_final_flight_again(make_endpoint, stack):
    """Ours was lost; the answer to the client's repetition is sealed by us, with a new number and nonce."""
    endpoint = make_endpoint(listens=True)
    endpoint.lose = first_final_flight()
    client = endpoint.watch(stack.client(endpoint.port))
    endpoint.until(lambda: endpoint.lost)
    endpoint.until(lambda: any(datagram[0] == CHANGE_CIPHER_SPEC for datagram in endpoint.sent))
    assert_talks_to_client(endpoint, client, b"after all")
    assert len(endpoint.lost) == 1
    assert endpoint.lost[0] not in endpoint.sent


@opposite(OpenSSL, GnuTLS, MbedTLS, serving=True)
def test_our_client_asks_a_foreign_server_for_its_final_flight_again(make_endpoint, stack, free_port):
    """Its own was lost; it takes our Finished a second time, sealed by us."""
    endpoint = make_endpoint(listens=False, port=free_port)
    endpoint.lose_incoming = first_final_flight()
    server = visit(endpoint, stack)
    assert len([datagram for datagram in endpoint.lost if datagram[0] == CHANGE_CIPHER_SPEC]) == 1
    assert_talks_to_server(endpoint, server, stack, b"after all")


@opposite_clients
def test_a_second_client_brings_new_keys_while_the_first_is_there(make_endpoint, stack):
    """A rekey as our server sees it: from another port, beside the live one, which is drained and dismissed.

    The new keys seal once the client was heard on them, and not before: it may not have our last flight.
    """
    endpoint = make_endpoint(listens=True)
    first = serve(endpoint, stack)
    assert_talks_to_client(endpoint, first, b"old keys")
    old = endpoint.tunnel.active
    second = serve(endpoint, stack)
    first.write(b"under way\n")
    endpoint.until(lambda: b"under way\n" in endpoint.received)
    if not stack.echoes:
        assert endpoint.tunnel.active is old
        second.write(b"here\n")
        endpoint.until(lambda: b"here\n" in endpoint.received)
    assert_talks_to_client(endpoint, second, b"new keys")
    assert endpoint.tunnel.active is not old
    endpoint.until(lambda: old.closed)
    endpoint.until(lambda: first.ended)
    assert_talks_to_client(endpoint, second, b"only keys")


@opposite(OpenSSLWithoutCookies, GnuTLS, MbedTLS, WolfSSL, serving=True)
def test_our_client_brings_new_keys_while_the_old_ones_are_there(make_endpoint, stack, free_port):
    """A rekey to a server that takes several clients; with another, one session after the other."""
    endpoint = make_endpoint(listens=False, port=free_port)
    server = visit(endpoint, stack)
    assert_talks_to_server(endpoint, server, stack, b"old keys")
    old = endpoint.tunnel.active
    if stack.serves_several:
        endpoint.rekey()
        assert not old.closed
        assert_talks_to_server(endpoint, server, stack, b"new keys")
        endpoint.until(lambda: old.closed)
    else:
        endpoint.close()
        endpoint = make_endpoint(listens=False, port=free_port)
        visit(endpoint, stack, server)
    assert endpoint.tunnel.active.ends != old.ends
    assert_talks_to_server(endpoint, server, stack, b"only keys")


@opposite_clients
def test_our_goodbye_ends_a_foreign_client(make_endpoint, stack):
    """It understands close_notify, and its program is over."""
    endpoint = make_endpoint(listens=True, goodbye=PATIENCE if stack.answers_goodbye else 0.2)
    client = serve(endpoint, stack)
    assert_talks_to_client(endpoint, client, b"hello")
    endpoint.close()
    assert (endpoint.heard[-1][0] == ALERT) is stack.answers_goodbye
    endpoint.until(lambda: client.ended)
