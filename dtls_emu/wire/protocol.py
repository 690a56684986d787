"""The numbers of DTLS 1.2 (RFC 6347, RFC 5246), and what is known of a received row.

Apart from :mod:`dtls_emu.wire.record`, which uses them, so that one can have them without Numba.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from dtls_emu.overhead import MAX_PLAINTEXT


__all__ = [
    "ALERT",
    "ALERT_NAMES",
    "APPLICATION_DATA",
    "CHANGE_CIPHER_SPEC",
    "DTLS_1_0",
    "DTLS_1_2",
    "HANDSHAKE",
    "HANDSHAKE_HEADER",
    "HEARTBEAT",
    "MAX_CIPHERTEXT",
    "MAX_PLAINTEXT",
    "MAX_SEQUENCE",
    "RowStatus",
    "is_handshake",
]

CHANGE_CIPHER_SPEC: Final = 0x14
ALERT: Final = 0x15
HANDSHAKE: Final = 0x16
APPLICATION_DATA: Final = 0x17
HEARTBEAT: Final = 0x18  # RFC 6520; a content type of DTLS 1.2 that this package never accepts

DTLS_1_0: Final = 0xFEFF  # what a first ClientHello and a HelloVerifyRequest may say, RFC 6347 4.2.1
DTLS_1_2: Final = 0xFEFD

ALERT_NAMES: Final = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    22: "record_overflow",
    40: "handshake_failure",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    116: "certificate_required",
    120: "no_application_protocol",
}
"""Of an alert's description (RFC 5246 7.2, RFC 8446 6, RFC 7301 3.2)."""

MAX_SEQUENCE: Final = 2**48 - 1

MAX_CIPHERTEXT: Final = MAX_PLAINTEXT + 2048
"""Most that a record's length field may say, in bytes (RFC 5246 6.2.3)."""

HANDSHAKE_HEADER: Final = 12
"""Bytes of a handshake message's header (RFC 6347 4.2.2)."""


class RowStatus(IntEnum):
    """What is known of one received row. Only rows that are OK are opened; the others are left as they are."""

    OK = 0
    AUTH_FAILED = 1  # set by the opener
    REPLAYED = 2  # the rest are set by the record layer, before or after the opener
    LATE = 3
    BAD_DATAGRAM = 4
    BAD_VERSION = 5
    OVERSIZE = 6
    WRONG_EPOCH = 7
    CONTROL = 8  # a protected record that is empty or not application data, or several in one datagram


def is_handshake(first_byte: int) -> bool:
    """Whether a datagram begins with a record of a handshake: change cipher spec, alert or handshake.

    The first byte of VXLAN is its flags, 0x08 (RFC 7348 5), so it is never taken for one.
    """
    return CHANGE_CIPHER_SPEC <= first_byte <= HANDSHAKE
