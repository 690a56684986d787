"""Explain a handshake that was made: its flights, what each message proves, the certificates, and how keys follow.

Every value is computed from the bytes of the run. With the master secret of the key log the keys are derived here, the
Finished messages are opened with them, and what is inside is compared with what it should be.
"""

from __future__ import annotations

from hashlib import sha384
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from dtls_emu.crypto.keys import KEY_BLOCK, prf
from dtls_emu.errors import DtlsEmuError
from dtls_emu.teach.blocks import Command, Facts, Heading, Ladder, Octets, Table, Text, Verdict
from dtls_emu.teach.blocks import Message as Rung
from dtls_emu.teach.dissect import dissect_record
from dtls_emu.teach.dissect.handshake import proves
from dtls_emu.teach.dissect.names import HANDSHAKE_TYPES
from dtls_emu.teach.document import Document
from dtls_emu.teach.record import open_record, pull_header
from dtls_emu.teach.secrets import Secrets
from dtls_emu.teach.transcript import CERTIFICATE, CERTIFICATE_VERIFY, CLIENT_KEY_EXCHANGE, handshakes_of
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.protocol import ALERT, CHANGE_CIPHER_SPEC, HANDSHAKE
from dtls_emu.wire.record import pull_handshake_messages_untrusted, pull_records_untrusted


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dtls_emu.capture.datagrams import Datagram
    from dtls_emu.capture.trace_file import Trace
    from dtls_emu.teach.transcript import Handshake, Message, Record


__all__ = ["NoHandshakeError", "explain_handshake", "why_lost"]

_VERIFY_DATA: Final = 12
_MESSAGE_HEADER: Final = 12
_MASTER: Final = "extended master secret"


class NoHandshakeError(DtlsEmuError):
    """A trace has no handshake of that number, or none at all."""


def explain_handshake(
    trace: Trace, secrets: Sequence[Secrets] = (), *, number: int = 1, show_secrets: bool = False
) -> Document:
    """One handshake of a trace.

    Args:
        trace: with the bytes of datagrams.
        secrets: of its handshakes, from a key log.
        number: which one, from 1.
        show_secrets: with the values of master secret and keys.

    Raises:
        NoHandshakeError: there is none of that number.
    """
    found = handshakes_of(trace.events)
    if not 0 < number <= len(found):
        raise NoHandshakeError(
            f"handshake {number}: the trace has {len(found)}"
            if found
            else "the trace has no handshake: no tunnel was needed, its keys come from a broker, or bytes were left out"
        )
    handshake = found[number - 1]
    document = Document(f"Handshake {number} of {len(found)}: {handshake.client} with {handshake.server}")
    document.add(
        Facts(
            (
                ("client", f"{handshake.client}, UDP port {handshake.ports[0]}"),
                ("server", f"{handshake.server}, UDP port {handshake.ports[1]}"),
                ("came to", "an association" if handshake.opened else "nothing"),
            )
        ),
        Heading("Flights"),
        _ladder(handshake),
        Heading("What each message is for"),
        _message_table(handshake.messages),
    )
    _explain_certificates(document, handshake)
    _explain_keys(document, handshake, secrets, show_secrets=show_secrets)
    return document


# ------------------------------------------------------------------------------------------------- flights


def _ladder(handshake: Handshake) -> Ladder:
    start = handshake.datagrams[0][1].sent.time
    seen: set[tuple[bool, str]] = set()
    rungs = [_rung(by_client, datagram, start, seen) for by_client, datagram in handshake.datagrams]
    return Ladder(handshake.client, handshake.server, tuple(rungs))


def _rung(by_client: bool, datagram: Datagram, start: float, seen: set[tuple[bool, str]]) -> Rung:
    names = list(_names(datagram.payload))
    again = {(by_client, name) for name in names} <= seen and "Alert" not in names
    seen.update((by_client, name) for name in names)
    sent, fate = datagram.sent, datagram.fate
    what, *more = [name.partition("#")[0] for name in names] or ["?"]
    details = [
        f"with {', '.join(more)}" if more else "",
        f"{sent.length} bytes",
        "sent again" if again else "",
        why_lost(fate.lost) if fate.lost else "",
        "twice" if fate.duplicated else "",
        "damaged" if fate.damaged >= 0 else "",
    ]
    return Rung(
        sent.time - start, by_client, what, "; ".join(filter(None, details)), lost=fate.lost is not None
    )


def why_lost(reason: DropReason) -> str:
    """That a datagram did not arrive, and why if it was not the link's loss."""
    return "lost" if reason is DropReason.LOST else f"lost: {reason}"


def _names(payload: bytes) -> Iterator[str]:
    """What a datagram holds, each with what tells it from others of its name behind a #."""
    for record in pull_records_untrusted(payload):
        kind = record.header.content_type
        if kind == CHANGE_CIPHER_SPEC:
            yield "ChangeCipherSpec"
        elif kind == ALERT:
            yield "Alert"
        elif record.header.epoch:
            yield "Finished (sealed)"
        elif kind == HANDSHAKE:
            for header, _ in pull_handshake_messages_untrusted(record.fragment):
                name = HANDSHAKE_TYPES.get(header.message_type, f"message {header.message_type}")
                first = header.fragment_offset + 1
                if header.fragment_length != header.length:
                    name += f" {first}-{first + header.fragment_length - 1}"
                yield f"{name}#{header.message_seq}"


def _message_table(messages: Sequence[Message]) -> Table:
    rows = tuple(
        (
            str(message.sequence),
            "client" if message.by_client else "server",
            HANDSHAKE_TYPES.get(message.kind, str(message.kind)),
            str(len(message.body)),
            str(message.fragments),
            proves(message.kind),
        )
        for message in messages
    )
    return Table((">number", "from", "message", ">bytes", ">fragments", "what it is for"), rows)


# -------------------------------------------------------------------------------------------- certificates


def _explain_certificates(document: Document, handshake: Handshake) -> None:
    for message in handshake.messages:
        if message.kind != CERTIFICATE:
            continue
        name = handshake.client if message.by_client else handshake.server
        ders = _certificates(message.body)
        document.add(Heading(f"The certificate of {name}"))
        if not ders:
            document.add(Verdict(good=False, text="None was sent, and a host without one is refused."))
            continue
        certificate = x509.load_der_x509_certificate(ders[0])
        document.add(_checks(certificate, name, ders[1:]), _certificate_command(ders[0]))


def _certificates(body: bytes) -> list[bytes]:
    found, at = [], 3
    while at + 3 <= len(body):
        size = int.from_bytes(body[at : at + 3])
        found.append(body[at + 3 : at + 3 + size])
        at += 3 + size
    return found


def _checks(certificate: x509.Certificate, name: str, chain: Sequence[bytes]) -> Table:
    """What a peer checks, each with what is there (RFC 9325 7.1: also who it is, which OpenSSL alone does not)."""
    names = _alternative_names(certificate)
    usages = _usages(certificate)
    both = {"server", "client"} <= usages
    key = certificate.public_key()
    kind = f"ECDSA on {key.curve.name}" if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__
    is_right = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"
    rows = [
        ("signed by", certificate.issuer.rfc4514_string(), _signed(certificate, chain)),
        (
            "valid",
            f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} to {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
            "at the time of the handshake",
        ),
        ("names the host", ", ".join(names), "yes" if name in names else f"NO: it should be {name}"),
        (
            "may be",
            ", ".join(sorted(usages)),
            "both roles, as each end is once" if both else "NO: both are needed",
        ),
        ("key", kind, "as the suite needs" if is_right else "NO: the suite needs ECDSA on P-256"),
    ]
    return Table(("what", "is", "check"), tuple(rows))


def _alternative_names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return found.value.get_values_for_type(x509.DNSName)


def _usages(certificate: x509.Certificate) -> set[str]:
    words = {ExtendedKeyUsageOID.SERVER_AUTH: "server", ExtendedKeyUsageOID.CLIENT_AUTH: "client"}
    try:
        found = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return set()
    return {words.get(each, each.dotted_string) for each in found.value}


def _signed(certificate: x509.Certificate, chain: Sequence[bytes]) -> str:
    if not chain:
        return "by the region's CA, whose certificate each host has already and nobody sends"
    issuer = x509.load_der_x509_certificate(chain[0])
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError) as error:
        return f"NO: {error}"
    return "the signature verifies with the certificate sent behind it"


def _certificate_command(der: bytes) -> Command:
    return Command(
        "all of it",
        (f"echo {der.hex()} | xxd -r -p | openssl x509 -inform DER -noout -text",),
    )


# ---------------------------------------------------------------------------------------------------- keys


def _explain_keys(
    document: Document, handshake: Handshake, secrets: Sequence[Secrets], *, show_secrets: bool
) -> None:
    randoms = handshake.randoms
    if randoms is None or not any(message.kind == CLIENT_KEY_EXCHANGE for message in handshake.messages):
        return
    client_random, server_random = randoms
    session_hash = handshake.transcript(CLIENT_KEY_EXCHANGE)
    document.add(
        Heading("From secrets to keys"),
        Text(
            "1. Each end multiplies its own ephemeral secret with the other's public key (ECDH, RFC 8422 5.10). Both get the "
            "same point, whose x coordinate is the premaster secret. It never leaves OpenSSL, and is on no wire."
        ),
        Text(
            f'2. master secret = PRF(premaster secret, "{_MASTER}", session hash), 48 bytes (RFC 7627 4). The session '
            "hash is SHA-384 over all messages up to ClientKeyExchange, so a secret belongs to this handshake only."
        ),
        Facts((("session hash", session_hash.hex()),)),
        _hash_command(handshake, CLIENT_KEY_EXCHANGE),
    )
    mine = next((each for each in secrets if each.client_random == client_random), None)
    if mine is None:
        document.add(
            Text(
                "What follows takes the master secret, which only both ends have: run the lab here, or give a key log with "
                "--keys."
            )
        )
        return
    known = Secrets(client_random, mine.master_secret, server_random)
    block = prf(mine.master_secret, b"key expansion", server_random + client_random, KEY_BLOCK)
    hidden = "(--show-secrets prints it)"
    document.add(
        Facts((("master secret", mine.master_secret.hex() if show_secrets else hidden),)),
        Text(
            '3. key block = PRF(master secret, "key expansion", server random + client random), 72 bytes, cut into four '
            "(RFC 5246 6.3, RFC 5288 3: no MAC keys, salts of 4 bytes)."
        ),
        Facts((("client random", client_random.hex()), ("server random", server_random.hex()))),
        _key_table(bytes(block), show_secrets=show_secrets, hidden=hidden),
        _kdf_command(
            "the key block",
            mine.master_secret,
            b"key expansion" + server_random + client_random,
            KEY_BLOCK,
            show_secrets=show_secrets,
        ),
        Text(
            "4. Each end proves that it has the same keys and saw the same handshake: Finished = PRF(master secret, "
            '"client finished" or "server finished", hash of all messages before it), 12 bytes, sealed as the first '
            "record under the new keys."
        ),
    )
    for record in handshake.finished:
        _explain_finished(document, handshake, record, known, show_secrets=show_secrets)


def _key_table(block: bytes, *, show_secrets: bool, hidden: str) -> Table:
    cuts = (
        ("client write key", 0, 32, "seals what the client sends"),
        ("server write key", 32, 64, "seals what the server sends"),
        ("client write salt", 64, 68, "first 4 bytes of each nonce of the client"),
        ("server write salt", 68, 72, "first 4 bytes of each nonce of the server"),
    )
    return Table(
        ("bytes", "name", "value", "what for"),
        tuple(
            (f"{start}-{stop - 1}", name, block[start:stop].hex() if show_secrets else hidden, purpose)
            for name, start, stop, purpose in cuts
        ),
    )


def _explain_finished(
    document: Document, handshake: Handshake, record: Record, secrets: Secrets, *, show_secrets: bool
) -> None:
    who = "client" if record.by_client else "server"
    opened = open_record(pull_header(record.header), record.fragment, [secrets])
    document.add(
        Octets(
            f"The {who}'s Finished, as it is on the wire",
            record.header + record.fragment,
            dissect_record(record.header + record.fragment),
        )
    )
    if opened is None:
        document.add(
            Verdict(
                good=False,
                text="It does not open: a link damaged it, or the key log is of another handshake.",
            )
        )
        return
    there = opened.plaintext[_MESSAGE_HEADER:]
    digest = _finished_hash(handshake, secrets, by_client=record.by_client)
    label = f"{who} finished".encode()
    wanted = bytes(prf(secrets.master_secret, label, digest, _VERIFY_DATA))
    same = there == wanted
    document.add(
        Facts((("verify_data in it", there.hex()), ("computed here", wanted.hex()))),
        Verdict(
            good=same,
            text=f"The {who} has the same keys, and saw the same messages."
            if same
            else "They differ: a message was altered.",
        ),
        _kdf_command(
            "its verify_data", secrets.master_secret, label + digest, _VERIFY_DATA, show_secrets=show_secrets
        ),
    )


def _finished_hash(handshake: Handshake, secrets: Secrets, *, by_client: bool) -> bytes:
    """Hash over what came before a Finished: the client's hashes all messages, the server's the client's Finished too."""
    if by_client:
        return handshake.transcript(CERTIFICATE_VERIFY)
    state = sha384()
    for message in handshake.hashed_messages:
        state.update(message.hashed)
    first = next((each for each in handshake.finished if each.by_client), None)
    if first is not None:
        opened = _open(first, secrets)
        state.update(opened or b"")
    return state.digest()


def _open(record: Record, secrets: Secrets) -> bytes | None:
    opened = open_record(pull_header(record.header), record.fragment, [secrets])
    return None if opened is None else opened.plaintext


def _hash_command(handshake: Handshake, last: int) -> Command:
    hashed = b""
    for message in handshake.hashed_messages:
        hashed += message.hashed
        if message.kind == last:
            break
    return Command("the session hash", (f"echo {hashed.hex()} | xxd -r -p | openssl dgst -sha384",))


def _kdf_command(what: str, master: bytes, seed: bytes, length: int, *, show_secrets: bool) -> Command:
    secret = master.hex() if show_secrets else "$MASTER_SECRET"
    return Command(
        what,
        (
            (
                f"openssl kdf -keylen {length} -kdfopt digest:SHA2-384 -kdfopt hexsecret:{secret} "
                f"-kdfopt hexseed:{seed.hex()} TLS1-PRF"
            ),
        ),
    )
