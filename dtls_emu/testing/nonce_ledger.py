"""Which nonces and record numbers were used under which key: none may be twice (RFC 5288 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtls_emu.testing.reference import ReferenceKey, open_by_reference
from dtls_emu.wire.overhead import RECORD_HEADER, RECORD_PREFIX
from dtls_emu.wire.protocol import HANDSHAKE


if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtls_emu.crypto.backend import TrafficKeys
    from dtls_emu.testing.packet_windows import Route


__all__ = ["NonceLedger"]


class NonceLedger:
    """Knows every key that was made, and is shown every protected record that is sent."""

    def __init__(self) -> None:
        self._keys: dict[bytes, _Key] = {}
        self._key_of: dict[Route, _Key] = {}

    def __len__(self) -> int:
        """How many keys there were."""
        return len(self._keys)

    def learn(self, keys: Iterable[TrafficKeys]) -> None:
        """Keys have been made."""
        for each in keys:
            self._keys.setdefault(bytes(each.key), _Key(each))

    def see(self, route: Route, record: bytes) -> list[str]:
        """A record is sent; what is wrong with that."""
        key = self._key_of.get(route)
        if key is None or not key.verifies(record):
            key = next((each for each in reversed(self._keys.values()) if each.verifies(record)), None)
            if key is None:
                return [f"{route}: a protected record that none of our keys opens"]
            self._key_of[route] = key
        number = record[3:11]
        nonce = record[RECORD_HEADER:RECORD_PREFIX]
        # OpenSSL's own Finished, sent again as it is by the backend that leaves numbering to OpenSSL.
        if record[0] == HANDSHAKE and nonce != number and key.finished == record:
            return []
        if record[0] == HANDSHAKE:
            key.finished = record
        wrong = []
        for used, value, what in ((key.nonces, nonce, "nonce"), (key.numbers, number, "record number")):
            if value in used:
                wrong.append(f"{route}: {what} {value.hex()} twice under one key")
            used.add(value)
        return wrong


class _Key:
    """One traffic key.

    Fields:
        nonces, numbers: those used so far.
        finished: the last handshake record under it.
    """

    __slots__ = ("_key", "finished", "nonces", "numbers")

    def __init__(self, keys: TrafficKeys) -> None:
        self._key = ReferenceKey.of(keys)
        self.nonces: set[bytes] = set()
        self.numbers: set[bytes] = set()
        self.finished = b""

    def verifies(self, record: bytes) -> bool:
        """Whether the record was sealed under this key."""
        return open_by_reference(self._key, record) is not None
