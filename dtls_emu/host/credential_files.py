"""Certificates and keys as PEM files: the CA's own, and one folder of secrets for each host.

The only file I/O of this floor. A key's file is made with mode 0600 before a byte is in it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from dtls_emu.crypto.authority import HostCredentials, RegionAuthority
from dtls_emu.errors import LocalProtocolError
from dtls_emu.files.reading import read_file


if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["MAX_PEM", "load_authority", "load_credentials", "save_authority", "save_credentials"]

CA_CERTIFICATE: Final = "ca.pem"
CA_KEY: Final = "ca.key"
HOST_CERTIFICATE: Final = "host.pem"
HOST_KEY: Final = "host.key"

MAX_PEM: Final = 64 * 1024
"""Bytes of a certificate's or key's file: a hundred times what ours have, comments of a CA included."""


def save_authority(authority: RegionAuthority, folder: Path) -> None:
    """Write ``ca.pem`` and ``ca.key`` (0600) into ``folder``, which is made (0700) when it is not there."""
    _write_certificate(folder, CA_CERTIFICATE, authority.certificate)
    _write_key(folder, CA_KEY, authority.private_key)


def load_authority(folder: Path) -> RegionAuthority:
    """Read what :func:`save_authority` wrote.

    Raises:
        LocalProtocolError: not PEM, no P-256 key, or key and certificate do not belong together.
        OSError: a file is not there, not readable, or none that :func:`~dtls_emu.files.reading.read_file` reads.
    """
    certificate = _read_certificate(folder / CA_CERTIFICATE)
    return RegionAuthority(certificate, _read_key(folder / CA_KEY, certificate))


def save_credentials(credentials: HostCredentials, folder: Path) -> None:
    """Write ``host.pem``, ``host.key`` (0600) and ``ca.pem`` into ``folder``, made (0700) when it is not there."""
    _write_certificate(folder, HOST_CERTIFICATE, credentials.certificate)
    _write_certificate(folder, CA_CERTIFICATE, credentials.ca_certificate)
    _write_key(folder, HOST_KEY, credentials.private_key)


def load_credentials(folder: Path) -> HostCredentials:
    """Read what :func:`save_credentials` wrote.

    Raises:
        LocalProtocolError: not PEM, no P-256 key, or key and certificate do not belong together.
        OSError: a file is not there, not readable, or none that :func:`~dtls_emu.files.reading.read_file` reads.
    """
    certificate = _read_certificate(folder / HOST_CERTIFICATE)
    return HostCredentials(
        certificate, _read_key(folder / HOST_KEY, certificate), _read_certificate(folder / CA_CERTIFICATE)
    )


def _write_certificate(folder: Path, name: str, certificate: x509.Certificate) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / name).write_bytes(certificate.public_bytes(Encoding.PEM))


def _write_key(folder: Path, name: str, key: ec.EllipticCurvePrivateKey) -> None:
    path = folder / name
    path.unlink(missing_ok=True)  # the mode below counts only for a file that is new
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _read_certificate(path: Path) -> x509.Certificate:
    data = read_file(path, MAX_PEM)
    try:
        return x509.load_pem_x509_certificate(data)
    except ValueError as error:
        raise LocalProtocolError(f"{path}: no PEM certificate: {error}") from error


def _read_key(path: Path, certificate: x509.Certificate) -> ec.EllipticCurvePrivateKey:
    data = read_file(path, MAX_PEM)
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        raise LocalProtocolError(f"{path}: no PEM key without a password: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise LocalProtocolError(f"{path}: not the key of the certificate beside it")
    return key
