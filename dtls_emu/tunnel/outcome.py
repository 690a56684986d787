"""What one call of a tunnel has caused: the only thing that its card, or a test, has to carry out.

Every call that can cause something returns one :class:`Outcome`, and nothing else has to be asked for. Calls that
cause nothing, nearly all of those that seal, return :data:`NOTHING`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dtls_emu.tunnel.happenings import Happening
    from dtls_emu.vocabulary import DropReason
    from dtls_emu.wire.burst import Burst


__all__ = ["NOTHING", "Dropped", "Opened", "Outcome", "Outgoing"]

Opened = tuple["Burst", "NDArray[np.uint8]"]
"""A burst after opening and the status of each row; rows that are OK hold plaintext."""


class Outgoing(NamedTuple):
    """A datagram of a tunnel's own (handshake, alert, keepalive) to send to its peer's address."""

    local_port: int
    remote_port: int
    datagram: bytes


class Dropped(NamedTuple):
    """So many records or datagrams go no further; `mark` is that of their burst, 0 when it is not known."""

    reason: DropReason
    records: int
    mark: int


class Outcome(NamedTuple):
    """What one call has caused, to be carried out in the order of the fields.

    Fields:
        opened: bursts with plaintext for the card.
        dropped: what was received and goes no further.
        control: records that were the tunnel's own business (handshake, alerts), for the card's counters.
        extra_records: records beyond one for each datagram, likewise: of datagrams that held several, and early
            ones, which are counted when they come and again when they are opened or dropped.
        datagrams: to send to the peer.
        closed_ports: local ports that are no longer in use.
        key_requests: local ports for which a broker's session keys are wanted.
        keys_changed: keys came into force, or went; what a flow's decision rests on.
        attempt_failed: an attempt failed that mattered: none of the peer's beside a live association.
        is_quiet: nothing happened but what is in `opened`: no timer was set, and no field besides has anything.
        happenings: for whoever observes the tunnel, in order; always empty when nobody does.
    """

    opened: tuple[Opened, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    control: int = 0
    extra_records: int = 0
    datagrams: tuple[Outgoing, ...] = ()
    closed_ports: tuple[int, ...] = ()
    key_requests: tuple[int, ...] = ()
    keys_changed: bool = False
    attempt_failed: bool = False
    is_quiet: bool = True
    happenings: tuple[Happening, ...] = ()


NOTHING: Final = Outcome()
"""Of a call that has caused nothing."""
