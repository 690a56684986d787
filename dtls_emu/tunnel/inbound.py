"""What becomes of datagrams that a tunnel is given.

1. By their ends: an association's are opened, all in one call; an attempt's go to the source of keys; of anybody
   else's only a hello begins something.
2. What was opened is handed on, and heard: the peer lives, and has these keys.
3. Protected records that are no data (alerts, a repeated Finished, empty ones) or share a datagram are taken one by
   one, and verified before anything is believed of them.
4. Everything else is dropped by reason. Nothing is answered that did not verify (RFC 6347 4.1.2.7).

The functions below stand in this order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dtls_emu.tunnel.keying import NewKeys
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.hello import CLIENT_HELLO
from dtls_emu.wire.overhead import EXPLICIT_NONCE, TAG
from dtls_emu.wire.record import (
    ALERT,
    APPLICATION_DATA,
    HANDSHAKE,
    RowStatus,
    pull_handshake_header,
    pull_records_untrusted,
)


if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dtls_emu.tunnel.association import Association
    from dtls_emu.tunnel.happenings import Ends
    from dtls_emu.tunnel.journal import Journal
    from dtls_emu.tunnel.keying import KeySource, Result
    from dtls_emu.tunnel.renewal import Renewal
    from dtls_emu.tunnel.settings import TunnelSettings
    from dtls_emu.tunnel.succession import Succession
    from dtls_emu.wire.record import RecordView


__all__ = ["Inbound"]

_FINISHED: Final = b"\x14"
"""First byte of a Finished: HandshakeType 20 (RFC 5246 7.4.9)."""

_EMPTY_RECORD: Final = EXPLICIT_NONCE + TAG
"""Length field of a record without plaintext."""

_ALERT_TYPE: Final = bytes((ALERT,))
_CLOSE_NOTIFY: Final = 0
_FATAL: Final = 2

_REASONS: Final = {
    RowStatus.AUTH_FAILED: DropReason.AUTH_FAILED,
    RowStatus.REPLAYED: DropReason.REPLAYED,
    RowStatus.LATE: DropReason.LATE,
    RowStatus.BAD_DATAGRAM: DropReason.BAD_DATAGRAM,
    RowStatus.BAD_VERSION: DropReason.BAD_VERSION,
    RowStatus.OVERSIZE: DropReason.OVERSIZE_RECORD,
    RowStatus.WRONG_EPOCH: DropReason.WRONG_EPOCH,
}


class Inbound:
    """The receiving side of one tunnel.

    Fields:
        forgeries: records that did not verify, over all associations.
    """

    def __init__(
        self,
        source: KeySource,
        succession: Succession,
        renewal: Renewal,
        settings: TunnelSettings,
        journal: Journal,
    ) -> None:
        """
        Args:
            source: makes keys.
            succession: has the associations.
            renewal: begins attempts.
            settings: knobs.
            journal: of the tunnel.
        """
        self.forgeries = 0
        self._source = source
        self._succession = succession
        self._associations = succession.associations
        self._renewal = renewal
        self._settings = settings
        self._journal = journal

    def receive(self, burst: Burst, ends: Ends, now: float) -> None:
        """Take datagrams from the peer's address; ``burst.offset`` is 0."""
        association = self._associations.get(ends)
        if association is None:
            for row in burst.rows():
                self._receive_for_attempt(row.tobytes(), ends, burst.mark, now)
            return
        lengths = burst.size, burst.last
        status, ok = association.open(burst)
        self.receive_opened(association, burst, lengths, status, ok, now)

    def receive_opened(
        self,
        association: Association,
        burst: Burst,
        lengths: tuple[int, int],
        status: NDArray[np.uint8],
        ok: int,
        now: float,
    ) -> None:
        """Datagrams of an association have been opened.

        Args:
            association: with its keys.
            burst: what became of them.
            lengths: ``size`` and ``last`` of the burst as it came.
            status: a :class:`~dtls_emu.wire.protocol.RowStatus` for each.
            ok: how many of them verified.
            now: seconds.
        """
        if ok:
            self._journal.opened.append((burst, status))
            self._succession.hear(association, now, data=True)
        if ok == burst.count:
            return
        size, last = lengths
        for index in np.flatnonzero(status).tolist():
            start = index * burst.stride
            code = RowStatus(int(status[index]))
            if code is RowStatus.CONTROL or burst.buffer[start] == HANDSHAKE:
                raw = burst.buffer[start : start + (last if index == burst.count - 1 else size)].tobytes()
                self._receive_one_by_one(association, raw, burst.mark, now)
            else:
                self._journal.drop(_REASONS[code], 1, burst.mark)
                self.forgeries += code is RowStatus.AUTH_FAILED
        self._limit_forgeries(association)

    # Protected records that are no application data, or share a datagram

    def _receive_one_by_one(self, association: Association, datagram: bytes, mark: int, now: float) -> None:
        records = pull_records_untrusted(datagram)
        if not records:
            self._journal.drop(DropReason.BAD_DATAGRAM, 1, mark)
            return
        self._journal.count_extra(len(records) - 1)
        for index, record in enumerate(records):
            # A mark is that of one packet, and a card sends one in a datagram.
            self._receive_record(association, record, 0 if index else mark, now)

    def _receive_record(self, association: Association, record: RecordView, mark: int, now: float) -> None:
        raw, header, ends = bytes(record.record), record.header, association.ends
        if association.closed:
            self._journal.drop(DropReason.NO_ASSOCIATION, 1, mark)
        elif header.epoch == 0:
            # A challenger on the same ports: the peer may have restarted.
            if self._source.owns(ends) or _is_client_hello(record):
                self._receive_for_attempt(raw, ends, mark, now)
            else:
                self._journal.drop(DropReason.WRONG_EPOCH, 1, mark)
        elif header.content_type == APPLICATION_DATA and header.length != _EMPTY_RECORD:
            single = Burst.from_packets([raw], mark=mark)
            status, ok = association.open(single)
            if ok:
                self._journal.opened.append((single, status))
                self._succession.hear(association, now, data=True)
            else:
                self._journal.drop(_REASONS[RowStatus(int(status[0]))], 1, mark)
        else:
            verdict, plaintext = association.open_control(raw)
            if verdict is RowStatus.OK:
                is_data = header.content_type == APPLICATION_DATA
                self._succession.hear(association, now, data=False, seals=is_data)
                self._receive_authentic(association, header.content_type, plaintext, mark, now)
            elif self._source.owns(ends):
                self._receive_for_attempt(raw, ends, mark, now)
            else:
                self._journal.drop(_REASONS[verdict], 1, mark)

    def _receive_authentic(
        self, association: Association, content_type: int, plaintext: bytes, mark: int, now: float
    ) -> None:
        """A record that is no data has verified."""
        succession = self._succession
        if content_type == APPLICATION_DATA:
            self._journal.count_control()
            is_confirmation = association is succession.active and not association.is_client and not plaintext
            if is_confirmation and succession.confirmation.may_answer(association, now):
                succession.send_empty(association)
        elif content_type == ALERT and len(plaintext) == 2:
            self._journal.count_control()
            level, description = plaintext
            if description == _CLOSE_NOTIFY:
                succession.lose(association, say_goodbye=succession.state is not TunnelState.CLOSING)
            elif level == _FATAL:  # not answered (RFC 5246 7.2.2)
                succession.lose(association)
        elif content_type == HANDSHAKE and plaintext[:1] == _FINISHED and not association.is_client:
            self._journal.count_control()
            if succession.confirmation.may_repeat_flight(now):
                self._journal.send(association.ends, association.final_flight())
        else:
            self._journal.drop(DropReason.UNEXPECTED_CONTENT, 1, mark)

    def _limit_forgeries(self, association: Association) -> None:
        if association.failed_authentications < self._settings.forgery_limit:
            return
        if self._associations.get(association.ends) is association:
            self._succession.lose(association)
            self._succession.failure = f"{self._settings.forgery_limit} records did not verify (RFC 9325 4.4)"

    # Datagrams for ends that no association has, or for a challenger of the one that has them

    def _receive_for_attempt(self, datagram: bytes, ends: Ends, mark: int, now: float) -> None:
        if self._source.owns(ends):
            self._apply(self._source.receive(datagram, ends, mark, now), now)
        else:
            self._receive_stranger(datagram, ends, mark, now)

    def _receive_stranger(self, datagram: bytes, ends: Ends, mark: int, now: float) -> None:
        succession = self._succession
        has_departed = self._associations.has_departed(ends)
        if has_departed and datagram[:1] == _ALERT_TYPE:
            self._journal.count_control()  # goodbyes of both ends have crossed
            return
        verdict = (
            DropReason.NO_ASSOCIATION if succession.is_ending else self._source.meet(datagram, ends, now)
        )
        if isinstance(verdict, DropReason):
            self._journal.drop(verdict, 1, mark)
            is_late = has_departed or self._source.has_failed(ends)
            if verdict is DropReason.NO_ASSOCIATION and not is_late:
                self._renewal.heed_unknown(now)
            return
        self._journal.count_control()
        if isinstance(verdict, bytes):
            self._journal.send(ends, verdict)
            active = succession.active
            if active is not None and succession.confirmation.may_reassure(ends, active, now):
                # It asks again, and has heard nothing of us between: it may presume us dead.
                succession.send_empty(active)
        elif verdict is not None:
            self._renewal.start_by_peer(verdict.result, now)

    def _apply(self, result: Result, now: float) -> None:
        if result is None:
            return
        self._renewal.apply(result, now)
        if isinstance(result, NewKeys):
            self._journal.count_extra(len(result.early))
            for record, mark in result.early:
                self.receive(Burst.from_packets([record], mark=mark), result.ends, now)


def _is_client_hello(record: RecordView) -> bool:
    """Whether a record in clear begins with a ClientHello."""
    if record.header.content_type != HANDSHAKE or record.header.epoch:
        return False
    header = pull_handshake_header(record.fragment)
    return header is not None and header.message_type == CLIENT_HELLO
