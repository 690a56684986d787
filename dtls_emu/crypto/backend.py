"""The contract of a cipher backend: the seam where a SmartNIC's crypto engine would sit.

Writing one
===========

A backend is a class with the fields and methods of :class:`Backend`, named in the entry-point group
``dtls_emu.backends``. It is all that is needed::

    [project.entry-points."dtls_emu.backends"]
    my-card = "my_package:MyBackend"

and ``pytest --dtls-emu-backend my-card --pyargs dtls_emu.testing.conformance`` proves it.

What a sealer does to each row (RFC 6347 4.1, RFC 5288 3), ``n`` being the row's packet length:

::

    before     headroom >= 21                                        packet n         tailroom >= 16
    after      type 1 | FE FD | epoch 2 | sequence 6 | length 2 | nonce 8 | ciphertext n | tag 16

The explicit nonce is ``epoch || sequence`` (RFC 9325 7.2.1); the additional data are
``epoch || sequence || type || FE FD || n`` (13 bytes). An opener reads the nonce *from the wire*: other
stacks choose it otherwise. It takes the additional data from there too, ``n`` from the length field, so that
every bit of a header is authenticated. Rows whose tag does not verify are overwritten with zeros: no
plaintext of a forged record is ever left in the buffer.

A packet may be empty (``burst.size`` or ``burst.last`` 0): RFC 5246 6.2.1 allows such records.
:mod:`dtls_emu.crypto.framing` has the checks, the header kernels and the bookkeeping that all backends share;
:mod:`dtls_emu.crypto.self_test` has known records to prove at construction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

from dtls_emu.errors import LocalProtocolError
from dtls_emu.wire.protocol import APPLICATION_DATA, MAX_PLAINTEXT, MAX_SEQUENCE, RowStatus


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from OpenSSL import SSL

    from dtls_emu.wire.burst import Burst


__all__ = [
    "APPLICATION_DATA",
    "MAX_PLAINTEXT",
    "MAX_SEQUENCE",
    "Backend",
    "Established",
    "Opener",
    "RowStatus",
    "Sealer",
    "TrafficKeys",
]


@dataclass(slots=True)
class TrafficKeys:
    """Keys of one direction. ``bytearray`` so that they can be overwritten.

    Fields:
        key: 32 bytes, AES-256.
        salt: 4 bytes, the implicit part of the nonce (``write_IV``, RFC 5288 3).
    """

    key: bytearray = field(repr=False)
    salt: bytearray = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse other lengths: native code reads as many bytes as it expects."""
        if (len(self.key), len(self.salt)) != (32, 4):
            raise LocalProtocolError(
                f"a key of {len(self.key)} and a salt of {len(self.salt)} bytes, not 32 and 4"
            )

    def wipe(self) -> None:
        """Overwrite both with zeros."""
        self.key[:] = bytes(len(self.key))
        self.salt[:] = bytes(len(self.salt))


@dataclass(slots=True)
class Established:
    """A finished handshake: all that a backend gets.

    Fields:
        write, read: traffic keys of the two directions, as this end sees them.
        epoch: of every record under these keys; 1 after a first handshake.
        next_sequence: the first sequence number that this end may use.
        connection: the live pyOpenSSL connection, only for a backend with ``needs_connection``;
            for every other it is None and OpenSSL never writes again.
    """

    write: TrafficKeys
    read: TrafficKeys
    epoch: int = 1
    next_sequence: int = 1
    connection: SSL.Connection | None = field(default=None, repr=False)

    def wipe(self) -> None:
        """Overwrite the keys and let go of the connection."""
        self.write.wipe()
        self.read.wipe()
        self.connection = None


class Sealer(Protocol):
    """Protects rows. Not safe for concurrent use."""

    def seal(self, burst: Burst, first_sequence: int, content_type: int = APPLICATION_DATA) -> None:
        """Seal every row in place, row ``i`` under ``first_sequence + i``.

        Afterwards ``burst.offset`` is 21 less and ``burst.size`` and ``burst.last`` are 37 more.

        Raises:
            LocalProtocolError: no room, a packet over 2^14 bytes, a sequence number past 2^48 - 1, more than
                64 rows, or closed. Nothing has been written then.
        """

    def close(self) -> None:
        """Overwrite every copy of the key that this sealer made. Idempotent."""


class Opener(Protocol):
    """Verifies and opens rows. Not safe for concurrent use."""

    def open(self, burst: Burst, status: NDArray[np.uint8]) -> None:
        """Open, in place, every row whose ``status`` is ``RowStatus.OK``.

        The caller has checked those rows' headers: length field right, version ``FE FD``, epoch right, at
        least 37 bytes. A row that does not verify becomes ``AUTH_FAILED`` and its plaintext zeros. A row that
        is no record after all (a runt, or more than 2^14 bytes of plaintext) loses its OK and is not opened.
        Afterwards ``burst.offset`` is 21 more and ``burst.size`` and ``burst.last`` are 37 less.
        (For rows that are not OK those fields mean nothing; ``last`` is never below 0.)

        Raises:
            LocalProtocolError: closed, or the rows do not lie inside the buffer.
        """

    def close(self) -> None:
        """Overwrite every copy of the key that this opener made. Idempotent."""


class Backend(Protocol):
    """A cipher backend. Construction probes: it raises when the backend cannot work on this machine.

    Class fields:
        name: its entry-point name.
        summary: a few words for tables.
        protects: False for `null`, which must never be taken for encryption.
        needs_connection: True when seal and open run on the live pyOpenSSL connection. Such a backend
            numbers records by itself; ``first_sequence`` must be what it will use.

    Raises on construction:
        BackendUnavailableError: with the reason; also when its self-test fails.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    protects: ClassVar[bool]
    needs_connection: ClassVar[bool]

    @property
    def detail(self) -> str:
        """Library, version and instruction set in use, for `status` and result files."""

    def attach(self, established: Established) -> tuple[Sealer, Opener]:
        """Make the two ends of an association. They copy what they need of the keys."""
