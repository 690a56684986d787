"""The certificate and the key of one host, and the CA certificate of each region, as PEM files.

Written into a folder of the host's own: files that only their owner can use from the moment they are there. Read
from where a host's file says: a key that others could read is refused, and so is a certificate that no peer would
accept. Better now, with the reason, than as a handshake that fails for ever.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from dtls_emu.crypto.authority import HostCredentials, verify_peer
from dtls_emu.errors import DtlsEmuError, RemoteProtocolError
from dtls_emu.files.reading import read_file
from dtls_emu.files.writing import is_folder, replace_file
from dtls_emu.host.config import CredentialPaths


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime


__all__ = [
    "MAX_PEM",
    "CredentialError",
    "credential_paths",
    "pem_files",
    "read_authorities",
    "read_credentials",
    "write_credentials",
]

MAX_PEM: Final = 64 * 1024
"""Bytes of a certificate's or key's file: a hundred times what ours have, comments of a CA included."""

_CERTIFICATE: Final = "host.pem"
_KEY: Final = "host.key"


class CredentialError(DtlsEmuError):
    """A certificate or key is missing, unreadable, readable by others, or not this host's."""


# --------------------------------------------------------------------------------------------- handing out


def pem_files(own: HostCredentials, authorities: Mapping[str, x509.Certificate]) -> dict[str, bytes]:
    """Content by name of file: the certificate and the key of a host, and the CA certificate of each region."""
    key = own.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {
        _CERTIFICATE: own.certificate.public_bytes(Encoding.PEM),
        _KEY: key,
        **{_authority(region): each.public_bytes(Encoding.PEM) for region, each in authorities.items()},
    }


def credential_paths(regions: Iterable[str], folder: Path = Path()) -> CredentialPaths:
    """Where the files are that :func:`pem_files` names.

    Args:
        regions: of the lab.
        folder: that they are in; that of ``host.json`` where it is left out.
    """
    return CredentialPaths(
        certificate=folder / _CERTIFICATE,
        private_key=folder / _KEY,
        authorities={region: folder / _authority(region) for region in sorted(set(regions))},
    )


def write_credentials(
    folder: Path, own: HostCredentials, authorities: Mapping[str, x509.Certificate]
) -> CredentialPaths:
    """Write certificate and key of a host, and the CA certificate of each region, as files of mode 0600.

    Args:
        folder: of the host, made (0700) when it is not there.
        own: of the host.
        authorities: CA certificates by region.

    Returns:
        Where they are.

    Raises:
        OSError: a file cannot be written, or a symbolic link is in the place of the folder.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not is_folder(folder):
        raise NotADirectoryError(errno.ENOTDIR, "is no folder", str(folder))
    for name, pem in pem_files(own, authorities).items():
        replace_file(folder / name, pem)
    return credential_paths(authorities, folder)


def _authority(region: str) -> str:
    return f"ca-{region}.pem"


# ------------------------------------------------------------------------------------------------- reading


def read_authorities(paths: CredentialPaths) -> dict[str, x509.Certificate]:
    """The CA certificate of each region.

    Raises:
        CredentialError: one is missing or no certificate.
    """
    return {region: _read_certificate(path) for region, path in paths.authorities.items()}


def read_credentials(
    paths: CredentialPaths, host: str, authority: x509.Certificate, now: datetime
) -> HostCredentials:
    """Certificate and key of a host.

    Args:
        paths: where they are.
        host: its name, which the certificate must carry.
        authority: CA certificate of its region, which must have signed it.
        now: the time, with time zone.

    Raises:
        CredentialError: see the class.
    """
    certificate = _read_certificate(paths.certificate)
    key = _read_key(paths.private_key)
    if key.public_key() != certificate.public_key():
        raise CredentialError(f"{paths.private_key}: not the key of {paths.certificate}")
    try:
        verify_peer([certificate], host, authority, now)
    except RemoteProtocolError as error:
        raise CredentialError(f"{paths.certificate}: no peer would accept it: {error}") from error
    return HostCredentials(certificate, key, authority)


def _read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(read_file(path, MAX_PEM))
    except OSError as error:
        raise CredentialError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise CredentialError(f"{path}: no PEM certificate: {error}") from error


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
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
