"""Hellos are read, and put together from fragments, whatever comes."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.testing.present import present
from dtls_emu.wire.hello import (
    CLIENT_HELLO,
    EXTENDED_MASTER_SECRET,
    MAX_HELLO,
    RENEGOTIATION_INFO,
    SERVER_HELLO,
    ClientHello,
    HelloFragments,
    hello_verify_request,
    pull_client_extensions_untrusted,
    pull_client_hello_untrusted,
    pull_server_extensions_untrusted,
)
from dtls_emu.wire.record import pull_handshake_messages_untrusted


def fragment(message_type, body, start=0, end=None, message_seq=1):
    """A handshake message, or a part of it, with its header (RFC 6347 4.2.2)."""
    end = len(body) if end is None else end
    numbers = message_seq.to_bytes(2, "big") + start.to_bytes(3, "big") + (end - start).to_bytes(3, "big")
    return bytes((message_type,)) + len(body).to_bytes(3, "big") + numbers + body[start:end]


def vector(content, width):
    return len(content).to_bytes(width, "big") + content


@st.composite
def client_hellos(draw):
    """What a client may say: its parts, and the body of the message."""
    fixed = b"\xfe\xfd" + draw(st.binary(min_size=32, max_size=32))
    session, cookie = draw(st.binary(max_size=32)), draw(st.binary(max_size=255))
    suites = b"".join(draw(st.lists(st.sampled_from([b"\xc0\x2c", b"\x00\xff", b"\x13\x02"]))))
    types = draw(st.lists(st.integers(0, 0xFFFF), max_size=4))
    extensions = b"".join(each.to_bytes(2, "big") + vector(draw(st.binary(max_size=20)), 2) for each in types)
    tail = vector(extensions, 2) if types or draw(st.booleans()) else b""
    body = fixed + vector(session, 1) + vector(cookie, 1) + vector(suites, 2) + b"\x01\x00" + tail
    offered = set(types)
    if any(suites[at : at + 2] == b"\x00\xff" for at in range(0, len(suites), 2)):
        offered.add(RENEGOTIATION_INFO)
    return ClientHello(fixed + vector(session, 1), cookie, 1), frozenset(offered), body


@given(client_hellos())
def test_a_client_hello_is_read_as_it_was_written(hello):
    """What a cookie is bound to, the cookie, and what is offered."""
    content, offered, body = hello
    assert pull_client_hello_untrusted(fragment(CLIENT_HELLO, body)) == content
    assert pull_client_extensions_untrusted(fragment(CLIENT_HELLO, body)) == offered


@given(client_hellos(), st.data())
def test_a_first_fragment_is_read_when_it_has_the_whole_cookie(hello, data):
    """And not otherwise; nor is any fragment behind it."""
    content, _, body = hello
    needed = len(content.parameters) + 1 + len(content.cookie)
    end = data.draw(st.integers(0, len(body) - 1))
    read = pull_client_hello_untrusted(fragment(CLIENT_HELLO, body, 0, end))
    assert read == (content if end >= needed else None)
    assert pull_client_hello_untrusted(fragment(CLIENT_HELLO, body, 1)) is None


@given(st.binary(max_size=400), st.integers(0, 255))
def test_no_bytes_are_too_strange_to_be_read(body, message_type):
    """Whatever comes is nothing, or something that is all there."""
    for message in (body, fragment(message_type, body), fragment(CLIENT_HELLO, body)):
        hello = pull_client_hello_untrusted(message)
        assert hello is None or hello.parameters in message
        pull_client_extensions_untrusted(message)
        pull_server_extensions_untrusted(message)
        pull_handshake_messages_untrusted(message)


def test_extensions_of_a_server_hello_are_read():
    """And none of a message that is cut, or of another kind."""
    extensions = b"".join(
        each.to_bytes(2, "big") + vector(b"", 2) for each in (EXTENDED_MASTER_SECRET, RENEGOTIATION_INFO)
    )
    body = b"\xfe\xfd" + bytes(32) + b"\x00" + b"\xc0\x2c\x00" + vector(extensions, 2)
    message = fragment(SERVER_HELLO, body)
    assert present(pull_server_extensions_untrusted(message)) == {EXTENDED_MASTER_SECRET, RENEGOTIATION_INFO}
    assert pull_server_extensions_untrusted(message[:-1]) is None
    assert pull_server_extensions_untrusted(fragment(CLIENT_HELLO, body)) is None
    assert pull_client_hello_untrusted(hello_verify_request(b"cookie", 0)[13:]) is None


@given(st.binary(min_size=1, max_size=300), st.randoms(use_true_random=False))
def test_a_hello_is_put_together_from_any_fragments_in_any_order(body, rng):
    """Overlapping, repeated, empty, with other messages in between: those pass as they are."""
    cuts = sorted({0, len(body), *(rng.randrange(len(body) + 1) for _ in range(5))})
    parts = [
        (max(start - rng.randrange(10), 0), min(end + rng.randrange(10), len(body)))
        for start, end in pairwise(cuts)
    ]
    parts += [*rng.choices(parts, k=3), (0, 0)]
    rng.shuffle(parts)
    other = fragment(11, b"certificate", 3, 7)
    hello = HelloFragments(SERVER_HELLO)
    given_out = b""
    missing = set(range(len(body)))
    for start, end in parts:
        was_whole = bool(hello.message)
        part = fragment(SERVER_HELLO, body, start, end)
        out = hello.complete_untrusted([memoryview(part), memoryview(other)])
        assert out.endswith(other)
        missing -= set(range(start, end))
        assert bool(hello.message) == (not missing)
        given_out += b"" if was_whole else out.removesuffix(other)
    assert hello.message == given_out == fragment(SERVER_HELLO, body)


def test_fragments_of_another_hello_begin_anew_and_giants_are_left_out():
    """So what is kept is one message, of a bounded size."""
    hello = HelloFragments(CLIENT_HELLO)
    one, two = b"1" * 50, b"2" * 50
    giant = bytes(MAX_HELLO + 1)
    for message in (
        fragment(CLIENT_HELLO, one, 0, 49),
        fragment(CLIENT_HELLO, two, 25, 50, message_seq=2),
        fragment(CLIENT_HELLO, giant, 0, 10),
    ):
        assert hello.complete_untrusted([memoryview(message)]) == b""
    last = fragment(CLIENT_HELLO, two, 0, 25, message_seq=2)
    whole = fragment(CLIENT_HELLO, two, message_seq=2)
    assert hello.complete_untrusted([memoryview(last)]) == hello.message == whole
    largest = bytes(MAX_HELLO)
    hello = HelloFragments(CLIENT_HELLO)
    assert hello.complete_untrusted([memoryview(fragment(CLIENT_HELLO, largest))]) == hello.message
    assert len(hello.message) == 2**14
