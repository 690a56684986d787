"""Keys from a broker: one-time keys of :mod:`dtls_emu.tunnel.session_keys`, which the card asks for and installs."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from dtls_emu.errors import LocalProtocolError
from dtls_emu.tunnel.keying import AttemptFailed, NewKeys
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.record import pull_records_untrusted


if TYPE_CHECKING:
    from dtls_emu.tunnel.happenings import Ends
    from dtls_emu.tunnel.journal import Journal
    from dtls_emu.tunnel.keying import Result, Verdict
    from dtls_emu.tunnel.ports import LocalPorts
    from dtls_emu.tunnel.session_keys import SessionKeys
    from dtls_emu.tunnel.settings import TunnelSettings


__all__ = ["BrokerKeys"]


class BrokerKeys:
    """The :class:`~dtls_emu.tunnel.keying.KeySource` of a tunnel whose keys somebody else makes."""

    def __init__(
        self,
        hosts: tuple[str, str],
        settings: TunnelSettings,
        ports: LocalPorts,
        journal: Journal,
        mtu: int,
    ) -> None:
        """
        Args:
            hosts: names of this host and of the peer.
            settings: deadline, port and idle time.
            ports: of the tunnel.
            journal: likewise.
            mtu: UDP payload bytes that the path carries.
        """
        self.mtu = mtu
        self.session_idle = settings.session_idle
        self._host, self._peer = hosts
        self._settings = settings
        self._ports = ports
        self._journal = journal
        self._asked: tuple[int, float] | None = None  # local port, and when

    @property
    def is_asking(self) -> bool:
        """See the protocol."""
        return self._asked is not None

    @property
    def is_running(self) -> bool:
        """See the protocol."""
        return self._asked is not None

    def begin(self, port: int, now: float) -> Result:
        """See the protocol."""
        self._asked = port, now
        self._journal.request_keys(port)
        return None

    def give_up(self, port: int) -> bool:
        """See the protocol."""
        if self._asked is None or self._asked[0] != port:
            return False
        self.close()
        return True

    def withdraw(self, reason: str) -> None:
        """The broker may answer yet, and what it sends is of use."""

    def close(self) -> None:
        """See the protocol."""
        if self._asked is not None:
            self._ports.release(self._asked[0])
            self._asked = None

    def owns(self, _ends: Ends) -> bool:
        """No datagram belongs to an attempt."""
        return False

    def has_failed(self, _ends: Ends) -> bool:
        """No attempt has ends by which its datagrams would be known."""
        return False

    def receive(self, _datagram: bytes, _ends: Ends, _mark: int, _now: float) -> Result:
        """Never called: no attempt owns a datagram."""
        return None

    def meet(self, datagram: bytes, _ends: Ends, _now: float) -> Verdict:
        """Nobody is answered: there is no handshake to begin."""
        records = pull_records_untrusted(datagram)
        if not records:
            return DropReason.BAD_DATAGRAM
        return DropReason.NO_ASSOCIATION if records[0].header.epoch else DropReason.HANDSHAKE_NOISE

    def install(self, keys: SessionKeys, now: float) -> NewKeys:
        """See the protocol."""
        is_initiator = keys.initiator == self._host
        established = keys.established(is_initiator=is_initiator)
        asked_port, asked_at = self._asked or (None, now)
        if is_initiator and keys.initiator_port != asked_port:
            established.wipe()
            raise LocalProtocolError(f"no session keys were asked for for port {keys.initiator_port}")
        if not is_initiator and keys.initiator != self._peer:
            established.wipe()
            raise LocalProtocolError(f"session keys that {keys.initiator} asked for are not of this tunnel")
        ends = keys.initiator_port, self._settings.port
        if is_initiator:
            self._asked = None
        else:
            ends = ends[::-1]
        return NewKeys(ends, established, None, is_initiator, asked_at)

    def timeout(self) -> float:
        """See the protocol."""
        return inf if self._asked is None else self._asked[1] + self._settings.handshake_deadline

    def handle_timeout(self, now: float) -> Result:
        """See the protocol."""
        if now < self.timeout():
            return None
        self.close()
        return AttemptFailed("no keys from the broker")
