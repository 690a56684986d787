"""Cutting a stream of JSON into the values that are worth decoding one by one, however long the stream is.

1. Text is one JSON value or many, with nothing, white space or commas between them; a byte order mark is skipped.
2. An array at the top, and the array of a top object's key ``records``, are transparent: their elements are the values.
3. Every other object at the top is a value. Numbers, texts and literals there are none of ours.

Nothing is decoded here: a value is bytes from its opening brace to the closing one, and its decoder sees what is wrong
inside. Memory is bounded by the longest value that is allowed, time by the length of the stream.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dtls_emu.files.limits import in_bytes
from dtls_emu.flow_logs.errors import FlowLogError


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


__all__ = ["MAX_DEPTH", "MAX_VALUE", "cut_values"]

MAX_VALUE: Final = 32 << 20
"""Bytes of one value. A record holds a minute of one interface: at 75 bytes a tuple this is 440,000 of them."""

MAX_DEPTH: Final = 64
"""Of brackets. A record has 8, and what collectors wrap around it a few more."""

_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN: Final = re.compile(rb'(?:[^"\[\]{}]|' + _STRING + rb")*+([\[\]{}])", re.DOTALL)
"""Everything up to the next bracket that is not inside a text."""

_RECORDS: Final = re.compile(rb'"records"\s*:\s*\Z')
_GLUE: Final = re.compile(rb"[\s,\x1e]*+")
_BOM: Final = b"\xef\xbb\xbf"


def cut_values(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Each value with the position of its first byte.

    Args:
        chunks: the stream, in pieces of any size.

    Raises:
        FlowLogError: brackets do not match, a value is too long or too deep, the stream ends inside one, or there is
            something else than objects and arrays at the top. Says at which byte.
    """
    cutter = _Cutter()
    for chunk in chunks:
        yield from cutter.feed(chunk)
    yield from cutter.finish()


class _Cutter:
    """Where in the stream we are.

    Fields:
        _buffer: what is not done with yet; its first byte is number ``_at`` of the stream.
        _pending: what has come since, ``_wanted`` bytes of which are waited for: looking at a long value again with each
            piece would take a time that is quadratic.
        _seen: bytes of the buffer behind which to look on.
        _stack: the closing bracket of everything that is open.
        _clear: how many of these, from the outside, are transparent.
        _start: where the value begins that we are in; -1 in none.
        _is_skipped: it is something else beside transparent records.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._pending: list[bytes] = []
        self._wanted = len(_BOM)
        self._at = 0
        self._seen = 0
        self._stack = bytearray()
        self._clear = 0
        self._start = -1
        self._is_skipped = False

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        """Take a piece, and give the values that end in it."""
        self._pending.append(chunk)
        self._wanted -= len(chunk)
        if self._wanted <= 0:
            yield from self._scan()

    def finish(self) -> Iterator[tuple[int, bytes]]:
        """The stream ends here; give what is left."""
        yield from self._scan()
        if self._stack:
            due = chr(self._stack[-1])
            raise self._error(len(self._buffer), f"the file ends where `{due}` is due; it is cut off")
        self._between(self._seen, len(self._buffer))

    def _scan(self) -> Iterator[tuple[int, bytes]]:
        buffer = self._buffer = b"".join([self._buffer, *self._pending])
        self._pending = []
        if self._at == self._seen == 0 and buffer.startswith(_BOM):
            self._seen = len(_BOM)
        while (token := _TOKEN.match(buffer, self._seen)) is not None:
            at = token.end() - 1
            if self._start < 0:
                self._between(self._seen, at)
            self._seen = token.end()
            bracket = buffer[at]
            if bracket in b"[{":
                self._open(at, bracket)
            elif self._close(at, bracket):
                yield self._at + self._start, buffer[self._start : token.end()]
            if len(self._stack) == self._clear:
                self._start = -1
        if self._start < 0:
            self._between(self._seen, len(buffer))
        self._let_go()

    def _open(self, at: int, bracket: int) -> None:
        if len(self._stack) == MAX_DEPTH:
            raise self._error(at, f"nested more than {MAX_DEPTH} deep")
        is_tail = self._is_tail
        self._stack.append(bracket + 2)  # the closing one, in ASCII
        depth = len(self._stack)
        if self._start >= 0:
            head = self._buffer[max(self._start, at - 64) : at]
            is_records = bracket == ord("[") and _RECORDS.search(head) is not None
            if is_records and depth == self._clear + 2 and not self._is_skipped:
                self._clear = depth
        elif bracket == ord("[") and not is_tail:
            self._clear = depth
        else:
            self._start = at
            self._is_skipped = is_tail

    def _close(self, at: int, bracket: int) -> bool:
        """Whether a value ends here."""
        if not self._stack or self._stack[-1] != bracket:
            raise self._error(at, f"`{chr(bracket)}` closes nothing")
        self._stack.pop()
        self._clear = min(self._clear, len(self._stack))
        return self._start >= 0 and len(self._stack) == self._clear and not self._is_skipped

    @property
    def _is_tail(self) -> bool:
        """Whether we are in an object whose records have been, or are to come."""
        return self._start < 0 and bool(self._stack) and self._stack[-1] == ord("}")

    def _between(self, start: int, end: int) -> None:
        """What stands between two values."""
        glue = _GLUE.match(self._buffer, start, end)
        if glue is not None and glue.end() < end and not self._is_tail:
            shown = self._buffer[glue.end() : min(end, glue.end() + 40)]
            raise self._error(glue.end(), f"no JSON object: {shown.decode('utf-8', 'replace')!r}")

    def _let_go(self) -> None:
        """Forget what is behind us, and say how much is to come before it is worth to look again."""
        keep = self._start if self._start >= 0 else self._seen
        self._buffer = self._buffer[keep:]
        if len(self._buffer) > MAX_VALUE:
            raise self._error(0, f"one value of more than {in_bytes(MAX_VALUE)}")
        self._at += keep
        self._seen -= keep
        self._start = min(self._start, 0)
        self._wanted = max(len(self._buffer) - self._seen, 1)

    def _error(self, at: int, what: str) -> FlowLogError:
        return FlowLogError(f"byte {self._at + at}: {what}")
