"""A host's certificate and key: files that only their owner can use, refused where no peer would accept them."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest

from dtls_emu.crypto.authority import RegionAuthority
from dtls_emu.host.credentials import (
    CredentialError,
    credential_paths,
    pem_files,
    read_authorities,
    read_credentials,
    write_credentials,
)


NOW = datetime(2026, 11, 20, tzinfo=UTC)


def write(folder, credentials):
    return write_credentials(folder, credentials, {"eastus": credentials.ca_certificate})


@pytest.fixture
def credentials(tmp_path):
    """Files of host h1, as `up` writes them, and the authority."""
    authority = RegionAuthority.create("eastus", NOW)
    paths = write(tmp_path / "h1", authority.issue("h1", NOW))
    return paths, authority


def test_credentials_are_read(credentials):
    """Certificate, key and the CA of every region."""
    paths, authority = credentials
    assert read_authorities(paths) == {"eastus": authority.certificate}
    read = read_credentials(paths, "h1", authority.certificate, NOW)
    assert read.private_key.public_key() == read.certificate.public_key()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_key_that_others_may_use_is_refused(credentials, mode):
    """With its mode and what to do."""
    paths, authority = credentials
    paths.private_key.chmod(mode)
    with pytest.raises(CredentialError, match=rf"host\.key: has mode {mode:04o}, .*; chmod 600 it"):
        read_credentials(paths, "h1", authority.certificate, NOW)


def test_a_key_that_nobody_may_write_is_fine(credentials):
    """Secrets of a cluster are mounted so."""
    paths, authority = credentials
    paths.private_key.chmod(0o400)
    assert read_credentials(paths, "h1", authority.certificate, NOW)


def test_a_certificate_that_no_peer_would_accept_is_refused_at_the_start(credentials):
    """Another host's, another authority's, or out of date."""
    paths, authority = credentials
    stranger = RegionAuthority.create("eastus", NOW).certificate
    for host, ca, now in (
        ("h2", authority.certificate, NOW),
        ("h1", stranger, NOW),
        ("h1", authority.certificate, NOW + timedelta(days=91)),
    ):
        with pytest.raises(CredentialError, match=r"host\.pem: no peer would accept it"):
            read_credentials(paths, host, ca, now)


def test_files_that_are_not_what_they_should_be_say_so(credentials):
    """Missing, not PEM, or of somebody else."""
    paths, authority = credentials
    other = write(paths.certificate.parent / "other", authority.issue("h2", NOW))
    mixed = paths.model_copy(update={"private_key": other.private_key})
    with pytest.raises(CredentialError, match=r"other/host\.key: not the key of .*host\.pem"):
        read_credentials(mixed, "h1", authority.certificate, NOW)
    paths.private_key.write_text("no key")
    with pytest.raises(CredentialError, match=r"host\.key: no PEM key"):
        read_credentials(paths, "h1", authority.certificate, NOW)
    paths.certificate.write_text("no certificate")
    with pytest.raises(CredentialError, match=r"host\.pem: no PEM certificate"):
        read_credentials(paths, "h1", authority.certificate, NOW)
    paths.authorities["eastus"].unlink()
    with pytest.raises(CredentialError, match=r"ca-eastus\.pem: No such file or directory"):
        read_authorities(paths)


@pytest.mark.parametrize("which", ["certificate", "private_key"])
def test_a_file_larger_than_any_certificate_is_not_read(credentials, which):
    """A terabyte in the place of either."""
    paths, authority = credentials
    os.truncate(getattr(paths, which), 1 << 40)
    with pytest.raises(CredentialError, match="is larger than 64 KiB"):
        read_credentials(paths, "h1", authority.certificate, NOW)


@pytest.mark.parametrize("which", ["certificate", "private_key"])
def test_a_device_in_the_place_of_a_file_is_not_read(credentials, which):
    """It would never end, and a FIFO never begin."""
    paths, authority = credentials
    path = getattr(paths, which)
    for make, reason in (
        (lambda: path.symlink_to("/dev/zero"), "a device"),
        (lambda: os.mkfifo(path), "a FIFO"),
    ):
        path.unlink()
        make()
        with pytest.raises(CredentialError, match=rf"{path.name}: is {reason}, not a regular file"):
            read_credentials(paths, "h1", authority.certificate, NOW)


# ------------------------------------------------------------------------------------------------- writing


def mode(path):
    return path.stat().st_mode & 0o777


def test_what_is_written_is_the_owners_alone(credentials):
    """The folder and every file in it; the key of the authority is nowhere."""
    paths, authority = credentials
    folder = paths.private_key.parent
    assert mode(folder) == 0o700
    assert {path.name: mode(path) for path in folder.iterdir()} == {
        "host.pem": 0o600,
        "host.key": 0o600,
        "ca-eastus.pem": 0o600,
    }
    secret = authority.private_key.private_numbers().private_value
    assert (
        read_credentials(paths, "h1", authority.certificate, NOW).private_key.private_numbers().private_value
        != secret
    )


def test_files_are_named_as_what_host_json_says(credentials):
    """By one function, whether they are written here or handed to somebody who does."""
    paths, authority = credentials
    files = pem_files(authority.issue("h1", NOW), {"eastus": authority.certificate})
    named = credential_paths(["eastus", "eastus"])
    assert {named.certificate.name, named.private_key.name, named.authorities["eastus"].name} == set(files)
    assert credential_paths(["eastus"], paths.certificate.parent) == paths


@pytest.mark.parametrize("name", ["host.key", "host.key.new"])
def test_a_key_file_that_was_open_to_others_is_not_reused(tmp_path, name):
    """Its mode would stay as it was, and whoever has it open would read the new key."""
    authority = RegionAuthority.create("eastus", NOW)
    (tmp_path / name).write_text("")
    (tmp_path / name).chmod(0o666)
    with (tmp_path / name).open() as opened:
        paths = write(tmp_path, authority.issue("h1", NOW))
        assert opened.read() == ""
    assert mode(paths.private_key) == 0o600


def test_nothing_is_written_where_a_link_leads(tmp_path):
    """In the place of the folder, or of a file."""
    credentials = RegionAuthority.create("eastus", NOW).issue("h1", NOW)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (tmp_path / "linked").symlink_to(theirs)
    with pytest.raises(NotADirectoryError):
        write(tmp_path / "linked", credentials)
    (tmp_path / "host.key").symlink_to(theirs / "stolen")
    write(tmp_path, credentials)
    assert list(theirs.iterdir()) == []
    assert not (tmp_path / "host.key").is_symlink()
