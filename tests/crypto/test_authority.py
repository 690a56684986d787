"""The managed CA names hosts, and a peer is believed only with the right name from the right CA."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID

from dtls_emu.crypto.authority import CA_LIFETIME, HOST_LIFETIME, RegionAuthority, verify_peer
from dtls_emu.errors import LocalProtocolError, RemoteProtocolError


NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority():
    return RegionAuthority.create("westeurope", NOW)


@pytest.fixture(scope="module")
def host(authority):
    return authority.issue("host-1", NOW)


def extension(certificate, kind):
    return certificate.extensions.get_extension_for_class(kind)


def resigned(authority, host, **changes):
    """The host's certificate with one extension changed or left out, signed again by the CA."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(host.certificate.subject)
        .issuer_name(host.certificate.issuer)
        .public_key(host.certificate.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(host.certificate.not_valid_before_utc)
        .not_valid_after(host.certificate.not_valid_after_utc)
    )
    for found in host.certificate.extensions:
        value = changes.get(type(found.value).__name__, found.value)
        if value is not None:
            builder = builder.add_extension(value, critical=found.critical)
    return builder.sign(authority.private_key, SHA256())


def test_a_host_is_believed_under_its_own_name(authority, host):
    """Chain, validity, roles and name all hold; letters' case is no matter -> raises nothing."""
    verify_peer([host.certificate], "host-1", authority.certificate, NOW)
    verify_peer([host.certificate], "HOST-1", authority.certificate, NOW)
    verify_peer([host.certificate, authority.certificate], "host-1", authority.certificate, NOW)


def test_a_host_certificate_says_what_the_rfc_asks(authority, host):
    """P-256 and SHA-256; no CA; both roles; one name; key identifiers that chain."""
    certificate = host.certificate
    assert isinstance(certificate.public_key().curve, ec.SECP256R1)
    assert isinstance(certificate.signature_hash_algorithm, SHA256)
    constraints = extension(certificate, x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca) == (True, False)
    assert list(extension(certificate, x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    ]
    usage = extension(certificate, x509.KeyUsage)
    assert (usage.critical, usage.value.digital_signature, usage.value.key_cert_sign) == (True, True, False)
    names = extension(certificate, x509.SubjectAlternativeName).value
    assert list(names) == [x509.DNSName("host-1")]
    assert (
        extension(certificate, x509.AuthorityKeyIdentifier).value.key_identifier
        == extension(authority.certificate, x509.SubjectKeyIdentifier).value.digest
    )
    assert certificate.not_valid_after_utc == NOW + HOST_LIFETIME


def test_the_ca_signs_hosts_and_nothing_below(authority):
    """It is a CA with a path length of 0, for the region's lifetime."""
    constraints = extension(authority.certificate, x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    usage = extension(authority.certificate, x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.digital_signature) == (True, False)
    assert authority.certificate.not_valid_after_utc == NOW + CA_LIFETIME


def test_a_host_never_outlives_its_ca(authority):
    """Issued on the CA's last day, it ends with the CA."""
    late = NOW + CA_LIFETIME - timedelta(days=1)
    certificate = authority.issue("host-1", late).certificate
    assert certificate.not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_serial_numbers_and_keys_differ(authority, host):
    """The same name asked for twice gives two certificates."""
    other = authority.issue("host-1", NOW)
    assert other.certificate.serial_number != host.certificate.serial_number
    assert other.certificate.public_key() != host.certificate.public_key()


@pytest.mark.parametrize(
    ("name", "when", "reason"),
    [
        ("host-2", NOW, "subjectAltName"),
        ("host-1.evil", NOW, "subjectAltName"),
        ("host-1", NOW + HOST_LIFETIME + timedelta(seconds=1), "not valid at validation time"),
        ("host-1", NOW - timedelta(hours=1, seconds=1), "not valid at validation time"),
    ],
    ids=["another name", "a longer name", "expired", "not yet valid"],
)
def test_a_peer_is_refused_for_its_name_and_for_the_time(authority, host, name, when, reason):
    """The reason is in the message."""
    with pytest.raises(RemoteProtocolError, match=reason):
        verify_peer([host.certificate], name, authority.certificate, when)


def test_a_peer_of_another_ca_is_refused(authority):
    """Even one whose CA has the same name."""
    impostor = RegionAuthority.create("westeurope", NOW).issue("host-1", NOW)
    for chain in ([impostor.certificate], [impostor.certificate, impostor.ca_certificate]):
        with pytest.raises(RemoteProtocolError, match="does not verify"):
            verify_peer(chain, "host-1", authority.certificate, NOW)


def test_a_peer_without_a_certificate_is_refused(authority):
    """An empty chain is not a valid chain."""
    with pytest.raises(RemoteProtocolError, match="sent no certificate"):
        verify_peer([], "host-1", authority.certificate, NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"ExtendedKeyUsage": None},
        {"ExtendedKeyUsage": x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])},
        {"ExtendedKeyUsage": x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])},
        {"SubjectAlternativeName": None},
        {"SubjectAlternativeName": x509.SubjectAlternativeName([x509.DNSName("host-2")])},
    ],
    ids=["no extended usage", "server only", "client only", "no name", "other name"],
)
def test_a_certificate_that_says_less_is_refused(authority, host, changes):
    """Both roles and the name must be there; the common name alone counts for nothing."""
    verify_peer([resigned(authority, host)], "host-1", authority.certificate, NOW)
    with pytest.raises(RemoteProtocolError):
        verify_peer([resigned(authority, host, **changes)], "host-1", authority.certificate, NOW)


def test_a_host_cannot_vouch_for_another(authority, host):
    """A certificate signed with a host's key is refused, though its chain ends at our CA."""
    signer = RegionAuthority(host.certificate, host.private_key)
    forged = signer.issue("host-2", NOW)
    with pytest.raises(RemoteProtocolError, match="does not verify"):
        verify_peer([forged.certificate, host.certificate], "host-2", authority.certificate, NOW)


@pytest.mark.parametrize(
    "name", ["", "a b", "host_1", "-a", "a-", "a..b", "ü", "x" * 64, "a." * 40 + "a", "*"]
)
def test_names_that_are_no_host_names_are_refused(authority, name):
    """Before a certificate is made of them, and before a peer is compared with them."""
    with pytest.raises(LocalProtocolError):
        authority.issue(name, NOW)


def test_private_keys_are_not_printed(authority, host):
    """Nor is there a way to them by repr."""
    assert "private_key" not in repr(authority)
    assert "private_key" not in repr(host)
