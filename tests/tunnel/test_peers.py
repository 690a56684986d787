"""Handshakes with peers that are not quite what they should be, OpenSSL's flights on the other side."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID

from dtls_emu.crypto.authority import HostCredentials, RegionAuthority
from dtls_emu.testing.pair import Pair
from dtls_emu.testing.present import present
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.wire.hello import (
    EXTENDED_MASTER_SECRET,
    RENEGOTIATION_INFO,
    SERVER_HELLO,
    pull_client_extensions_untrusted,
    pull_client_hello_untrusted,
    pull_server_extensions_untrusted,
)
from dtls_emu.wire.protocol import ALERT, DTLS_1_0, HANDSHAKE, HANDSHAKE_HEADER
from dtls_emu.wire.record import pull_records_untrusted, push_record_header


DTLS_1_0_ONLY = {"versions": (DTLS_1_0, DTLS_1_0), "suites": b"ALL:@SECLEVEL=0"}
OTHER_SUITE = {"suites": b"ECDHE-ECDSA-AES128-GCM-SHA256"}
NO_EXTENDED_MASTER_SECRET = {"options": 1 << 0}  # SSL_OP_NO_EXTENDED_MASTER_SECRET, missing in pyOpenSSL
SESSION_TICKET, ALPN, HEARTBEAT, CONNECTION_ID = 35, 16, 15, 54
NEW_SESSION_TICKET, CERTIFICATE = 4, 11
HANDSHAKE_FAILURE, UNSUPPORTED_CERTIFICATE, CERTIFICATE_EXPIRED, UNKNOWN_CA, PROTOCOL_VERSION = (
    40,
    43,
    45,
    48,
    70,
)

both_roles = pytest.mark.parametrize(
    "is_client", [True, False], ids=["OpenSSL is client", "OpenSSL is server"]
)


def alerts(datagrams):
    """Descriptions of the plaintext alerts in datagrams."""
    return [
        record.fragment[1]
        for datagram in datagrams
        for record in pull_records_untrusted(datagram)
        if record.header.content_type == ALERT and record.header.epoch == 0
    ]


def messages(datagrams):
    """Types of the plaintext handshake messages in datagrams, fragments counted singly."""
    return [
        record.fragment[0]
        for datagram in datagrams
        for record in pull_records_untrusted(datagram)
        if record.header.content_type == HANDSHAKE and record.header.epoch == 0
    ]


def assert_refused(foreign, reason):
    """The tunnel did not come up, says why, and nothing is left of the attempt."""
    assert foreign.tunnel.state is TunnelState.BACKING_OFF
    assert reason in foreign.tunnel.failure
    assert list(foreign.tunnel.associations) == []
    assert foreign.tunnel.key_source.running == {}


def hello_of(pair):
    (record,) = pull_records_untrusted(pair.wire[0][4])
    return pull_client_hello_untrusted(record.fragment), bytes(record.fragment)


def test_our_hello_offers_one_suite_and_no_extras():
    """ECDHE-ECDSA-AES256-GCM-SHA384 only, no compression, no ticket, no heartbeat, no connection id."""
    pair = Pair()
    pair.connect()
    hello, fragment = hello_of(pair)
    # Version and random, session id, cookie; then suites and compression methods, each behind its length.
    suites = bytes.fromhex("0002 c02c")
    with_scsv = bytes.fromhex("0004 c02c 00ff")
    behind = fragment[HANDSHAKE_HEADER + len(hello.parameters) + 1 :]  # the cookie is empty
    assert behind.startswith((suites + b"\x01\x00", with_scsv + b"\x01\x00"))
    assert hello.parameters[:2] == b"\xfe\xfd"
    extensions = present(pull_client_extensions_untrusted(fragment))
    assert extensions >= {EXTENDED_MASTER_SECRET, RENEGOTIATION_INFO, ALPN}
    assert not extensions & {SESSION_TICKET, HEARTBEAT, CONNECTION_ID}
    assert b"dtls-emu/1" in fragment


def test_our_server_hello_answers_in_kind():
    """Extended master secret and secure renegotiation are confirmed; there is no ticket in any flight."""
    pair = Pair()
    pair.connect()
    pair.run(until=1)
    datagrams = [datagram for *_, datagram in pair.wire]
    (hello,) = [
        record
        for datagram in datagrams
        for record in pull_records_untrusted(datagram)
        if record.header.epoch == 0 and record.fragment[0] == SERVER_HELLO
    ]
    extensions = present(pull_server_extensions_untrusted(hello.fragment))
    assert extensions >= {EXTENDED_MASTER_SECRET, RENEGOTIATION_INFO, ALPN}
    assert not extensions & {SESSION_TICKET, HEARTBEAT, CONNECTION_ID}
    assert NEW_SESSION_TICKET not in messages(datagrams)


def test_a_dtls_1_0_client_is_told_the_version_and_refused(make_foreign):
    """RFC 8996 4: MUST NOT; alert protocol_version."""
    foreign = make_foreign(is_client=True, **DTLS_1_0_ONLY).shake_hands()
    assert_refused(foreign, "unsupported protocol")
    assert alerts(foreign.sent) == [PROTOCOL_VERSION]


def test_a_server_without_our_version_is_refused(make_foreign):
    """It cannot agree with our hello and says so in clear, where we take it for no more than a hint."""
    foreign = make_foreign(is_client=False, **DTLS_1_0_ONLY).shake_hands()
    assert foreign.tunnel.state is TunnelState.HANDSHAKING
    foreign.wait(20)
    assert_refused(foreign, "the peer refused (unauthenticated): alert")


def test_a_peer_with_another_suite_is_refused(make_foreign):
    """RFC 5246 7.4.1.3: handshake_failure."""
    foreign = make_foreign(is_client=True, **OTHER_SUITE).shake_hands()
    assert_refused(foreign, "no shared cipher")
    assert alerts(foreign.sent) == [HANDSHAKE_FAILURE]
    foreign = make_foreign(is_client=False, **OTHER_SUITE).shake_hands()
    foreign.wait(20)
    assert_refused(foreign, "alert 40 (handshake_failure)")


@both_roles
def test_a_peer_without_extended_master_secret_is_refused(make_foreign, is_client):
    """RFC 7627 5.2 and 5.3, RFC 9325 3.5."""
    foreign = make_foreign(is_client=is_client, **NO_EXTENDED_MASTER_SECRET).shake_hands()
    assert_refused(foreign, "the peer does not do extended master secret (RFC 7627)")


def test_a_forged_repetition_of_a_server_hello_adds_nothing(make_foreign):
    """OpenSSL passes over the second one, so what it claims must not count: no downgrade by a bystander."""
    foreign = make_foreign(is_client=False, **NO_EXTENDED_MASTER_SECRET)
    receive = foreign.inject
    forged: list[bytes] = []

    def receive_twice(datagram):
        receive(datagram)
        record = next(iter(pull_records_untrusted(datagram)))
        if record.header.epoch == 0 and record.fragment[0] == SERVER_HELLO and not forged:
            forged.append(with_extension(bytes(record.fragment), EXTENDED_MASTER_SECRET))
            receive(push_record_header(HANDSHAKE, 0, 30, len(forged[0])) + forged[0])

    foreign.inject = receive_twice
    assert_refused(foreign.shake_hands(), "the peer does not do extended master secret (RFC 7627)")
    (fragment,) = forged
    assert EXTENDED_MASTER_SECRET in present(pull_server_extensions_untrusted(fragment))


def with_extension(fragment, extension):
    """A ServerHello message, whole in its record, with one more extension, an empty one."""
    body = fragment[12:]
    extensions_at = 2 + 32 + 1 + body[34] + 2 + 1  # version, random, session id, suite, compression
    extensions = body[extensions_at + 2 :] + extension.to_bytes(2, "big") + bytes(2)
    body = body[:extensions_at] + len(extensions).to_bytes(2, "big") + extensions
    length = len(body).to_bytes(3, "big")
    return fragment[:1] + length + fragment[4:9] + length + body


def test_a_server_without_secure_renegotiation_is_refused(make_foreign):
    """RFC 5746 3.4, RFC 9325 3.5: MUST. OpenSSL always does it, so its hello is overlooked here."""
    foreign = make_foreign(is_client=False)
    foreign.tunnel.receive = forgetful(foreign.tunnel, foreign.tunnel.receive)
    foreign.shake_hands()
    assert_refused(foreign, "the peer does not do secure renegotiation (RFC 5746)")


def test_a_client_without_secure_renegotiation_is_taken(make_foreign):
    """RFC 5746 3.6 leaves it to the server; ours never renegotiates, so nothing can be confused."""
    foreign = make_foreign(is_client=True)
    foreign.tunnel.receive = forgetful(foreign.tunnel, foreign.tunnel.receive)
    foreign.shake_hands().assert_talks()


def forgetful(tunnel, receive):
    """A tunnel that does not remember that a peer offered secure renegotiation."""

    def receive_and_forget(*arguments):
        for attempt in tunnel.key_source.running.values():
            attempt._peer_extensions -= {RENEGOTIATION_INFO}
        return receive(*arguments)

    return receive_and_forget


@pytest.mark.parametrize(
    ("is_client", "alpn", "reason"),
    [
        (True, b"", "the peer does not speak dtls-emu/1 (ALPN)"),
        (True, b"h2", "the peer does not speak dtls-emu/1 (ALPN)"),
        (False, b"", "the peer does not speak dtls-emu/1 (ALPN)"),
        (False, b"h2", "OpenSSL: bad extension"),  # selected, though we did not offer it
    ],
)
def test_a_peer_of_another_protocol_is_refused(make_foreign, is_client, alpn, reason):
    """RFC 9325 3.8: ALPN keeps a certificate of ours from being used for something else."""
    assert_refused(make_foreign(is_client=is_client, alpn=alpn).shake_hands(), reason)


@both_roles
def test_a_peer_without_alpn_is_taken_when_the_settings_say_so(make_foreign, is_client):
    """For foreign command-line tools."""
    settings = TunnelSettings(require_alpn=False)
    make_foreign(is_client=is_client, alpn=b"", settings=settings).shake_hands().assert_talks()


@both_roles
@pytest.mark.parametrize("curve", [ec.SECP256R1(), None], ids=["P-256", "its own choice"])
def test_both_groups_of_the_bcp_are_done(make_foreign, is_client, curve):
    """RFC 9325 4.2: P-256 and X25519, which is what OpenSSL prefers."""
    foreign = make_foreign(is_client=is_client, curve=curve).shake_hands()
    foreign.assert_talks()
    assert foreign.connection.get_group_name() == ("x25519" if curve is None else "secp256r1")


BOTH_ROLES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


def issue_odd(authority, *, name="beta", usages=BOTH_ROLES, lifetime=timedelta(days=1)):
    """A certificate as our CA would not issue it."""
    now = datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.private_key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(issuer_key, critical=False)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    )
    return HostCredentials(builder.sign(authority.private_key, SHA256()), key, authority.certificate)


@both_roles
def test_a_peer_whose_certificate_is_for_another_purpose_is_refused(make_foreign, authority, is_client):
    """RFC 9325 7.1, RFC 5280 4.2.1.12: a server's certificate at a client, and the other way round."""
    (wrong,) = set(BOTH_ROLES) - {BOTH_ROLES[is_client]}
    credentials = issue_odd(authority, usages=[wrong])
    foreign = make_foreign(is_client=is_client, credentials=credentials).shake_hands()
    assert_refused(foreign, "certificate verify failed")
    assert alerts(foreign.sent) == [UNSUPPORTED_CERTIFICATE]


@both_roles
def test_a_peer_whose_certificate_is_for_one_role_only_is_refused(make_foreign, authority, is_client):
    """OpenSSL is content with the role of the moment; a host of ours is both, so ours is not."""
    credentials = issue_odd(authority, usages=[BOTH_ROLES[is_client]])
    foreign = make_foreign(is_client=is_client, credentials=credentials).shake_hands()
    assert_refused(foreign, "extended key usage lacks")


@both_roles
def test_a_peer_of_an_unknown_authority_is_refused(make_foreign, is_client):
    """Alert unknown_ca, though the host's name is the right one."""
    stranger = RegionAuthority.create("elsewhere", datetime.now(UTC)).issue("beta", datetime.now(UTC))
    foreign = make_foreign(is_client=is_client, credentials=stranger).shake_hands()
    assert_refused(foreign, "certificate verify failed")
    assert alerts(foreign.sent) == [UNKNOWN_CA]


@both_roles
def test_a_peer_whose_certificate_has_expired_is_refused(make_foreign, authority, is_client):
    """Alert certificate_expired."""
    credentials = issue_odd(authority, lifetime=timedelta(minutes=-1))
    foreign = make_foreign(is_client=is_client, credentials=credentials).shake_hands()
    assert_refused(foreign, "certificate verify failed")
    assert alerts(foreign.sent) == [CERTIFICATE_EXPIRED]


def test_a_client_without_a_certificate_is_refused(make_foreign):
    """Alert handshake_failure: authentication is mutual."""
    foreign = make_foreign(is_client=True, credentials=None).shake_hands()
    assert_refused(foreign, "peer did not return a certificate")
    assert alerts(foreign.sent) == [HANDSHAKE_FAILURE]


@both_roles
def test_a_peer_with_a_good_certificate_of_another_host_is_refused(make_foreign, is_client):
    """OpenSSL is content with it: whose it is, is ours to check (RFC 9325 7.1)."""
    foreign = make_foreign(is_client=is_client, credentials="gamma").shake_hands()
    assert_refused(foreign, "no matching subjectAltName")
