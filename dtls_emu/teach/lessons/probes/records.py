"""The records that carry the packets of a lab, byte for byte."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from dtls_emu.events import Sent
from dtls_emu.overhead import EXPLICIT_NONCE, RECORD_HEADER, RECORD_OVERHEAD
from dtls_emu.teach.lessons.expected import Expected
from dtls_emu.teach.lessons.lab_run import CannotAskError, LabRun
from dtls_emu.teach.record import additional_data, open_record, pull_header
from dtls_emu.teach.secrets import with_server_randoms
from dtls_emu.teach.transcript import handshakes_of
from dtls_emu.wire.record import pull_records_untrusted


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.teach.record import Header, Opened


__all__ = [
    "additional_bytes",
    "explicit_nonce",
    "keys_made",
    "nonce_bytes_on_wire",
    "nonce_repeats",
    "odd_nonces",
    "pair_repeats",
    "record_length",
    "record_number",
]


def record_number(run: LabRun, *, item: str, place: int = 1) -> Expected:
    """Sequence number of the record that carries a packet of an item."""
    number = _header(run, item, place).sequence
    slips = [
        (place, "Records are counted, from 0, and the tunnel's own are among them."),
        (place - 1, "The tunnel has sent records before your packets."),
    ]
    return Expected(number, tuple((slip, said) for slip, said in slips if slip != number))


def explicit_nonce(run: LabRun, *, item: str, place: int = 1) -> Expected:
    """The 8 bytes of its nonce that are in the record."""
    nonce = _fragment(run, item, place)[:EXPLICIT_NONCE]
    number = _header(run, item, place).sequence
    slips = [
        (number.to_bytes(EXPLICIT_NONCE), "The first two bytes say something else, which is not 0."),
        (number.to_bytes(6), "These are the bytes of the header; the explicit nonce has 8."),
    ]
    return Expected(nonce, tuple((slip, said) for slip, said in slips if slip != nonce))


def record_length(run: LabRun, *, item: str, place: int = 1) -> Expected:
    """What the length field of the record says."""
    length = _header(run, item, place).length
    return Expected(
        length,
        (
            (length + RECORD_HEADER, "The field counts what follows it."),
            (length - RECORD_OVERHEAD + RECORD_HEADER, "Explicit nonce and tag follow it, too."),
        ),
    )


def additional_bytes(run: LabRun, *, item: str, place: int = 1) -> Expected:
    """The 13 bytes that are authenticated beside the ciphertext (RFC 5246 6.2.3.3)."""
    header = _header(run, item, place)
    data = additional_data(header)
    on_wire = data[:11] + header.length.to_bytes(2)
    as_header = bytes([header.content_type]) + header.version.to_bytes(2) + data[:8] + data[11:]
    return Expected(
        data,
        (
            (on_wire, "The length in it is the plaintext's, not that of the record."),
            (as_header, "The fields are there, but in the order of the header."),
            (
                as_header[:11] + header.length.to_bytes(2),
                "That is the header of the record; order and length differ.",
            ),
        ),
    )


def nonce_bytes_on_wire(run: LabRun) -> int:
    """How many bytes of a nonce of AES-GCM an eavesdropper sees."""
    for _, fragment, opened in _sealed(run):
        if opened.nonce[-EXPLICIT_NONCE:] == fragment[:EXPLICIT_NONCE]:
            return EXPLICIT_NONCE
    raise CannotAskError("no record was sealed in a run of your lab")


def odd_nonces(run: LabRun) -> Expected:
    """How many sealed records have an explicit nonce that is not epoch and number."""
    odd = sum(
        fragment[:EXPLICIT_NONCE] != additional_data(header)[:EXPLICIT_NONCE]
        for header, fragment, _ in _sealed(run)
    )
    return Expected(odd, ((odd // 2, "Each end sends such records."),))


def nonce_repeats(run: LabRun) -> str:
    """Whether an explicit nonce is on the wire more than once in one direction."""
    counted = Counter((opened.by_client, fragment[:EXPLICIT_NONCE]) for _, fragment, opened in _sealed(run))
    return "yes" if max(counted.values(), default=0) > 1 else "no"


def pair_repeats(run: LabRun) -> str:
    """Whether a nonce is used twice with one key."""
    counted = Counter((opened.key, opened.nonce) for _, _, opened in _sealed(run))
    return "yes" if max(counted.values(), default=0) > 1 else "no"


def keys_made(run: LabRun, *, at_least: int) -> bool:
    """Whether some tunnel has had so many sets of keys."""
    return max((tunnel.handshakes for tunnel in run.outcome.tunnels), default=0) >= at_least


def _header(run: LabRun, item: str, place: int) -> Header:
    payload = run.datagram(item, place).payload
    header = pull_header(payload)
    if not header.epoch:
        raise CannotAskError(f"packet {place} of item {item} is not encrypted in your lab")
    return header


def _fragment(run: LabRun, item: str, place: int) -> bytes:
    return run.datagram(item, place).payload[RECORD_HEADER:]


def _sealed(run: LabRun) -> Iterator[tuple[Header, bytes, Opened]]:
    """Header, fragment and contents of every record that was sealed, in order."""
    randoms = [each.randoms for each in handshakes_of(run.events)]
    secrets = with_server_randoms(run.secrets, [each for each in randoms if each])
    for event in run.events:
        if not isinstance(event, Sent):
            continue
        for record in pull_records_untrusted(event.payload):
            if record.header.epoch:
                header = pull_header(bytes(record.record[:RECORD_HEADER]))
                opened = open_record(header, bytes(record.fragment), secrets)
                if opened is not None:
                    yield header, bytes(record.fragment), opened
