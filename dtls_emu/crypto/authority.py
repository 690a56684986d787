"""The managed certificate authority of a region: it names hosts, and hosts trust nobody else.

A host's certificate carries its name as the only subject alternative name and serves both roles of a mutual
handshake (RFC 5280 4.2.1.12: serverAuth and clientAuth), because either host of a pair may be the client.
P-256 with SHA-256 throughout (RFC 9325 4.2.1). The time is passed in; only key and serial generation draw
randomness, from OpenSSL's generator.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from dtls_emu.errors import LocalProtocolError, RemoteProtocolError


if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


__all__ = ["CA_LIFETIME", "HOST_LIFETIME", "HostCredentials", "RegionAuthority", "verify_peer"]

CA_LIFETIME: Final = timedelta(days=3650)
HOST_LIFETIME: Final = timedelta(days=90)
"""Short, as a managed CA would have it: it renews by itself."""

BACKDATE: Final = timedelta(hours=1)
"""Clocks of hosts differ: a certificate is valid a little before it was issued."""

MAX_NAME: Final = 64
"""Characters of a common name (X.520, ub-common-name in RFC 5280 A.1)."""

LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST_NAME: Final = re.compile(rf"{LABEL}(?:\.{LABEL})*")
"""RFC 1123 2.1. Checked here because `cryptography` takes any ASCII text for a dNSName."""

ROLES: Final = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


@dataclass(frozen=True, slots=True)
class HostCredentials:
    """What one host needs to take part in handshakes.

    Fields:
        certificate: of the host, signed by the region's CA.
        private_key: its key, P-256.
        ca_certificate: the only trust anchor of the host.
    """

    certificate: x509.Certificate
    private_key: ec.EllipticCurvePrivateKey = field(repr=False)
    ca_certificate: x509.Certificate


@dataclass(frozen=True, slots=True)
class RegionAuthority:
    """The CA of one region.

    Fields:
        certificate: self-signed; the trust anchor that every host of the region gets.
        private_key: its key, P-256.
    """

    certificate: x509.Certificate
    private_key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def create(cls, region: str, now: datetime, *, lifetime: timedelta = CA_LIFETIME) -> RegionAuthority:
        """Make the CA of a region.

        Args:
            region: its name, at most 45 characters; part of the CA's subject.
            now: the time, with time zone.
            lifetime: how long the CA is valid from now on.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        name = _common_name(f"dtls_emu region CA {region}")
        builder = (
            _builder(name, name, key.public_key(), key.public_key(), now, lifetime)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(certificates=True), critical=True)
        )
        return cls(builder.sign(key, SHA256()), key)

    def issue(self, host_name: str, now: datetime, *, lifetime: timedelta = HOST_LIFETIME) -> HostCredentials:
        """Make a key and a certificate for a host.

        Args:
            host_name: RFC 1123 (letters, digits, hyphens, dots), at most 64 characters.
            now: the time, with time zone.
            lifetime: how long the certificate is valid from now on, never beyond the CA's own end.

        Raises:
            LocalProtocolError: the host's name cannot stand in a certificate.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self.certificate
        lifetime = min(lifetime, issuer.not_valid_after_utc - now)
        builder = (
            _builder(
                _common_name(host_name),
                issuer.subject,
                key.public_key(),
                self.private_key.public_key(),
                now,
                lifetime,
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(ROLES), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(_host_name(host_name))]), critical=False)
        )
        return HostCredentials(builder.sign(self.private_key, SHA256()), key, issuer)


def verify_peer(
    certificate_chain: Sequence[x509.Certificate], expected_name: str, ca: x509.Certificate, now: datetime
) -> None:
    """Check a peer's certificate: chain to our CA, validity, both roles allowed, and the *name*.

    OpenSSL checks chain and purpose during the handshake, not who the peer is (RFC 9325 7.1).

    Args:
        certificate_chain: as the peer sent it, its own certificate first.
        expected_name: the host that should be there.
        ca: the only trust anchor.
        now: the time, with time zone.

    Raises:
        RemoteProtocolError: with the reason.
        LocalProtocolError: ``expected_name`` is no host name.
    """
    if not certificate_chain:
        raise RemoteProtocolError(f"{expected_name}: the peer sent no certificate")
    subject = x509.DNSName(_host_name(expected_name))
    verifier = (
        PolicyBuilder()
        .store(Store([ca]))
        .time(now)
        .max_chain_depth(0)  # hosts are signed by the region's CA itself
        .extension_policies(
            ca_policy=ExtensionPolicy.webpki_defaults_ca(),
            ee_policy=ExtensionPolicy.webpki_defaults_ee().require_present(
                x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _require_both_roles
            ),
        )
        .build_server_verifier(subject)
    )
    try:
        verifier.verify(certificate_chain[0], list(certificate_chain[1:]))
    except VerificationError as error:
        raise RemoteProtocolError(
            f"{expected_name}: the peer's certificate does not verify: {error}"
        ) from error


def _require_both_roles(
    _policy: object, _certificate: x509.Certificate, usage: x509.ExtendedKeyUsage
) -> None:
    missing = set(ROLES) - set(usage)
    if missing:
        raise ValueError(
            f"extended key usage lacks {', '.join(sorted(role.dotted_string for role in missing))}"
        )


def _host_name(name: str) -> str:
    if not HOST_NAME.fullmatch(name):
        raise LocalProtocolError(
            f"{name!r} is no host name: letters, digits and hyphens, in labels joined by dots"
        )
    return name


def _common_name(name: str) -> x509.Name:
    if not 0 < len(name) <= MAX_NAME:
        raise LocalProtocolError(f"{name!r} must have 1 to {MAX_NAME} characters to stand in a certificate")
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _key_usage(*, certificates: bool) -> x509.KeyUsage:
    """A CA signs certificates and revocation lists; a host signs its key exchange (RFC 5280 4.2.1.3)."""
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )
