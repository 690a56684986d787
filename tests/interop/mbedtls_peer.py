"""A DTLS 1.2 client or echo server on mbedTLS (PyPI: python-mbedtls), for the loopback device.

::

    python mbedtls_peer.py client PORT FOLDER    what is typed goes to the server, what it sends is printed
    python mbedtls_peer.py server PORT FOLDER    what comes is printed and sent back, to any number of clients

FOLDER holds host.pem, host.key and ca-interop.pem; a server must be ours.test of that CA.
"""

import os
import selectors
import socket
import sys
from pathlib import Path
from typing import Any

from mbedtls import pk, tls, x509
from mbedtls.exceptions import TLSError


SUITE = "TLS-ECDHE-ECDSA-WITH-AES-256-GCM-SHA384"
TICK = 0.1  # seconds: mbedTLS looks at its timers when it is called


class Session:
    """One association: mbedTLS over buffers, a datagram at a time."""

    def __init__(self, buffer, send):
        self.buffer = buffer
        self._send = send

    @property
    def is_up(self):
        return self.buffer._handshake_state is tls.HandshakeStep.HANDSHAKE_OVER

    def shake_hands(self, address=None):
        try:
            while not self.is_up:
                self.buffer.do_handshake()
        except (tls.WantReadError, tls.WantWriteError):
            pass
        except tls.HelloVerifyRequest:
            self.buffer.setcookieparam(address)
        self.flush()

    def receive(self, datagram, address=None):
        """What a datagram holds, or None at the end of the association."""
        self.buffer.receive_from_network(datagram)
        if not self.is_up:
            self.shake_hands(address)
            return b""
        try:
            data = self.buffer.read(65_536)
        except (tls.WantReadError, tls.WantWriteError):
            data = b""
        except TLSError as error:
            say(f"{error}\n".encode())
            data = None
        self.flush()
        return data

    def write(self, data):
        self.buffer.write(data)
        self.flush()

    def close(self):
        self.buffer.shutdown()
        self.flush()
        say(b"closed\n")

    def flush(self):
        """Send what was written: the buffer is a stream, so records are told apart by their headers."""
        written = bytes(self.buffer.peek_outgoing(1 << 20))
        self.buffer.consume_outgoing(len(written))
        while written:
            end = 13 + int.from_bytes(written[11:13], "big")
            self._send(written[:end])
            written = written[end:]


def configuration(folder):
    certificates = [x509.CRT.from_PEM((folder / name).read_text()) for name in ("host.pem", "ca-interop.pem")]
    key = pk.ECC.from_PEM((folder / "host.key").read_text())
    chain: Any = (certificates[:1], key)  # as the library takes it, which its stubs do not say
    return tls.DTLSConfiguration(
        trust_store=tls.TrustStore(certificates[1:]),
        certificate_chain=chain,
        ciphers=(SUITE,),
        lowest_supported_version=tls.DTLSVersion.DTLSv1_2,
        validate_certificates=True,
    )


def say(data):
    os.write(1, data)


def run_client(port, folder):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, selectors.DefaultSelector() as selector:
        sock.connect(("127.0.0.1", port))
        selector.register(sock, selectors.EVENT_READ)
        selector.register(0, selectors.EVENT_READ)
        session = Session(tls.ClientContext(configuration(folder)).wrap_buffers("ours.test"), sock.send)
        session.shake_hands()
        while True:
            for key, _ in selector.select(TICK):
                if key.fileobj is sock:
                    data = session.receive(sock.recv(65_536))
                    if data is None:
                        return session.close()
                    say(data)
                elif typed := os.read(0, 4096):
                    session.write(typed)
                else:
                    return session.close()
            if not session.is_up:
                session.shake_hands()


def run_server(port, folder):
    context = tls.ServerContext(configuration(folder))
    sessions: dict[tuple[str, int], Session] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", port))
        sock.settimeout(TICK)
        while True:
            try:
                datagram, peer = sock.recvfrom(65_536)
            except TimeoutError:
                for each, session in sessions.items():
                    if not session.is_up:
                        session.shake_hands(repr(each).encode())
                continue
            address = repr(peer).encode()
            if peer not in sessions:
                sessions[peer] = Session(
                    context.wrap_buffers(), lambda data, peer=peer: sock.sendto(data, peer)
                )
                sessions[peer].buffer.setcookieparam(address)
            data = sessions[peer].receive(datagram, address)
            if data is None:
                sessions.pop(peer).close()
            elif data:
                say(data)
                sessions[peer].write(data)


if __name__ == "__main__":
    role, port, folder = sys.argv[1:]
    {"client": run_client, "server": run_server}[role](int(port), Path(folder))
