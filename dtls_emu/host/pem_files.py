"""The files in which a host is handed its certificate, its key and the CA certificates: their names and content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cryptography import x509

    from dtls_emu.crypto.authority import HostCredentials


__all__ = ["credential_paths", "pem_files"]

_CERTIFICATE: Final = "host.pem"
_KEY: Final = "host.key"


def pem_files(own: HostCredentials, authorities: Mapping[str, x509.Certificate]) -> dict[str, bytes]:
    """Content by name of file: the certificate and the key of a host, and the CA certificate of each region."""
    key = own.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {
        _CERTIFICATE: own.certificate.public_bytes(Encoding.PEM),
        _KEY: key,
        **{_authority(region): each.public_bytes(Encoding.PEM) for region, each in authorities.items()},
    }


def credential_paths(regions: Iterable[str], folder: str = "") -> dict[str, object]:
    """What ``host.json`` says of them.

    Args:
        regions: of the lab.
        folder: that they are in, with a slash behind; that of ``host.json`` where it is left out.
    """
    return {
        "certificate": f"{folder}{_CERTIFICATE}",
        "private_key": f"{folder}{_KEY}",
        "authorities": {region: f"{folder}{_authority(region)}" for region in sorted(set(regions))},
    }


def _authority(region: str) -> str:
    return f"ca-{region}.pem"
