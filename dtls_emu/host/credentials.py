"""The certificates and the key of one running host, read from where its file says.

A key that others could read is refused, and so is a certificate that no peer would accept: better now, with
the reason, than as a handshake that fails for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from dtls_emu.crypto.authority import HostCredentials, verify_peer
from dtls_emu.errors import DtlsEmuError, RemoteProtocolError
from dtls_emu.files.reading import read_file
from dtls_emu.host.credential_files import MAX_PEM


if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from dtls_emu.host.config import CredentialPaths


__all__ = ["CredentialError", "read_authorities", "read_credentials"]


class CredentialError(DtlsEmuError):
    """A certificate or key is missing, unreadable, readable by others, or not this host's."""


def read_authorities(paths: CredentialPaths) -> dict[str, x509.Certificate]:
    """The CA certificate of each region.

    Raises:
        CredentialError: one is missing or no certificate.
    """
    return {region: _certificate(path) for region, path in paths.authorities.items()}


def read_credentials(
    paths: CredentialPaths, host: str, authority: x509.Certificate, now: datetime
) -> HostCredentials:
    """Certificate and key of a host.

    Args:
        paths: where they lie.
        host: its name, which the certificate must carry.
        authority: CA certificate of its region, which must have signed it.
        now: the time, with time zone.

    Raises:
        CredentialError: see the class.
    """
    certificate = _certificate(paths.certificate)
    key = _key(paths.private_key)
    if key.public_key() != certificate.public_key():
        raise CredentialError(f"{paths.private_key}: not the key of {paths.certificate}")
    try:
        verify_peer([certificate], host, authority, now)
    except RemoteProtocolError as error:
        raise CredentialError(f"{paths.certificate}: no peer would accept it: {error}") from error
    return HostCredentials(certificate, key, authority)


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(read_file(path, MAX_PEM))
    except OSError as error:
        raise CredentialError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise CredentialError(f"{path}: no PEM certificate: {error}") from error


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        data = read_file(path, MAX_PEM, private=True)
    except OSError as error:
        raise CredentialError(f"{path}: {error.strerror}") from error
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        raise CredentialError(f"{path}: no PEM key without a password: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CredentialError(f"{path}: no key on an elliptic curve")
    return key
