"""Credentials survive the disk, and their keys are the owner's alone."""

import os
from datetime import UTC, datetime

import pytest

from dtls_emu.crypto.authority import RegionAuthority
from dtls_emu.errors import LocalProtocolError
from dtls_emu.host.credential_files import (
    load_authority,
    load_credentials,
    save_authority,
    save_credentials,
)


NOW = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority():
    return RegionAuthority.create("westeurope", NOW)


def mode(path):
    return path.stat().st_mode & 0o777


def test_an_authority_comes_back(authority, tmp_path):
    """The one that is loaded issues for the same CA."""
    save_authority(authority, tmp_path / "ca")
    loaded = load_authority(tmp_path / "ca")
    assert loaded.certificate == authority.certificate
    assert loaded.private_key.private_numbers() == authority.private_key.private_numbers()
    assert (mode(tmp_path / "ca"), mode(tmp_path / "ca" / "ca.key")) == (0o700, 0o600)


def test_credentials_come_back(authority, tmp_path):
    """Certificate, key and CA of one host, in a folder of its own, without the CA's key."""
    host = authority.issue("host-1", NOW)
    save_credentials(host, tmp_path / "host-1")
    loaded = load_credentials(tmp_path / "host-1")
    assert (loaded.certificate, loaded.ca_certificate) == (host.certificate, host.ca_certificate)
    assert loaded.private_key.private_numbers() == host.private_key.private_numbers()
    assert mode(tmp_path / "host-1" / "host.key") == 0o600
    assert sorted(path.name for path in (tmp_path / "host-1").iterdir()) == ["ca.pem", "host.key", "host.pem"]


def test_a_key_file_that_was_open_to_others_is_not_reused(authority, tmp_path):
    """Its mode would stay as it was, and whoever had it open would read the new key."""
    (tmp_path / "ca.key").write_text("old")
    (tmp_path / "ca.key").chmod(0o644)
    save_authority(authority, tmp_path)
    assert mode(tmp_path / "ca.key") == 0o600


def test_a_key_of_another_certificate_is_refused(authority, tmp_path):
    """Files of two authorities that got mixed up."""
    save_authority(authority, tmp_path)
    save_authority(RegionAuthority.create("westeurope", NOW), tmp_path / "other")
    (tmp_path / "other" / "ca.key").replace(tmp_path / "ca.key")
    with pytest.raises(LocalProtocolError, match="not the key of the certificate"):
        load_authority(tmp_path)


@pytest.mark.parametrize(("name", "reason"), [("ca.pem", "no PEM certificate"), ("ca.key", "no PEM key")])
def test_junk_is_refused_with_the_name_of_the_file(authority, tmp_path, name, reason):
    """Not a traceback of the parser."""
    save_authority(authority, tmp_path)
    (tmp_path / name).write_text("junk")
    with pytest.raises(LocalProtocolError, match=f"{name}: {reason}"):
        load_authority(tmp_path)


@pytest.mark.parametrize("name", ["ca.pem", "ca.key"])
def test_what_is_no_small_regular_file_is_not_read(authority, tmp_path, name):
    """A device that never ends, or a file of a terabyte, in the place of either."""
    save_authority(authority, tmp_path)
    path = tmp_path / name
    os.truncate(path, 1 << 40)
    with pytest.raises(OSError, match="is larger than 64 KiB"):
        load_authority(tmp_path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(OSError, match="is a device, not a regular file"):
        load_authority(tmp_path)
