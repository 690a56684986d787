"""Exports as files: certificates are issued, keys are written with mode 0600, and nothing is overwritten."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import yaml

from dtls_emu.assembly.cards import issue_credentials
from dtls_emu.deploy.export.compose import HOSTS_FOLDER, compose_document
from dtls_emu.deploy.export.handout import GROUP, IMAGE, USER, hand_out
from dtls_emu.deploy.export.kubernetes import POD_NETWORK_MTU, fit_to_pods, host_documents
from dtls_emu.errors import DtlsEmuError
from dtls_emu.files.limits import MAX_DOCUMENT
from dtls_emu.files.reading import read_file
from dtls_emu.host.config import CONFIG
from dtls_emu.lab.compiling import compile_lab


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dtls_emu.deploy.export.handout import Handout
    from dtls_emu.lab import Lab


__all__ = [
    "COMPOSE_FILE",
    "COMPOSE_HEADER",
    "ExportError",
    "export_compose",
    "export_kubernetes",
    "yaml_text",
]

COMPOSE_FILE: Final = "compose.yaml"

PUBLIC: Final = 0o644
SECRET: Final = 0o600


class ExportError(DtlsEmuError):
    """Files cannot be written. Says which and why."""


def export_compose(lab: Lab, folder: Path, *, image: str = IMAGE) -> list[Path]:
    """Write a Compose file, and a folder for each host beside it.

    Root gives the credentials to the image's user. Anybody else keeps them, and containers run as him.

    Args:
        lab: validated.
        folder: made when it is not there.
        image: name of the container image.

    Returns:
        The files.

    Raises:
        ExportError: a file is there already with another content, or cannot be written.
    """
    user = os.geteuid()
    owner = USER if user == 0 else user
    topology = compile_lab(lab)
    handouts = _hand_out(lab)
    document = compose_document(topology, handouts, image=image, user=f"{owner}:{GROUP}")
    files = [_File(folder / COMPOSE_FILE, yaml_text([document], COMPOSE_HEADER), PUBLIC)]
    for each in handouts:
        own = folder / HOSTS_FOLDER / each.host
        files.append(_File(own / CONFIG, each.config.encode(), PUBLIC))
        files += [_File(own / name, pem, SECRET, owner) for name, pem in each.credentials.items()]
    return _write(files)


def export_kubernetes(
    lab: Lab, folder: Path, *, image: str = IMAGE, mtu: int = POD_NETWORK_MTU, metrics_port: int | None = None
) -> list[Path]:
    """Write a file for each host, with all of its objects. Each holds the host's key, so it has mode 0600.

    Args:
        lab: validated.
        folder: made when it is not there.
        image: name of the container image.
        mtu: of the cluster's pod network, in bytes.
        metrics_port: where each host serves metrics, and its pod says so; None: nowhere.

    Returns:
        The files.

    Raises:
        ExportError: a file is there already, or cannot be written.
        LabFileError: the lab's name or VMs do not fit the cluster.
    """
    return _write(
        [
            _File(
                folder / f"{each.host}.yaml",
                yaml_text(
                    host_documents(lab.name, each, image=image, metrics_port=metrics_port), _KUBERNETES_HEADER
                ),
                SECRET,
            )
            for each in _hand_out(fit_to_pods(lab, mtu))
        ]
    )


def _hand_out(lab: Lab) -> list[Handout]:
    return hand_out(lab, issue_credentials(compile_lab(lab), datetime.now(UTC)))


COMPOSE_HEADER: Final = """\
# Made by `dtls-emu export compose`. Each host is handed what is in its own folder, and only that.
#
#   podman-compose up --detach, or docker compose up --detach
#   podman-compose exec HOST ping VM
"""

_KUBERNETES_HEADER: Final = """\
# Made by `dtls-emu export kubernetes`. Holds a private key.
#
#   kubectl apply --filename FOLDER
#   kubectl --namespace LAB exec deployment/HOST -- ping VM
"""


def yaml_text(documents: Sequence[Mapping[str, Any]], header: str) -> bytes:
    """Documents as YAML in which text is text for every reader, behind a comment."""
    text = yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, explicit_start=len(documents) > 1)
    return (header + text).encode()


class _Dumper(yaml.SafeDumper):
    """Writes text so that every reader has text, of several lines as such, and everything as often as it is there."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_SURELY_TEXT: Final = re.compile(r"[A-Za-z_/][^\n]*", re.ASCII)
"""Numbers, times and the special keys of YAML 1.1 and 1.2 begin with something else, and the rest are words."""

_WORDS: Final = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
"""What YAML 1.1 (types bool and null) or the core schema of YAML 1.2 (10.3.2) reads as no text, in any case."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """PyYAML knows YAML 1.1 only, and not all of it: `y` is a truth value there, `1e3` a number in 1.2."""
    style = "|" if "\n" in text else None
    if style is None and (not _SURELY_TEXT.fullmatch(text) or text.lower() in _WORDS):
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    content: bytes = field(repr=False)
    mode: int
    owner: int | None = None

    @property
    def is_there(self) -> bool:
        """With the same content, which may stay.

        Raises:
            ExportError: with another.
        """
        try:
            if read_file(self.path, MAX_DOCUMENT) == self.content:
                return True
        except FileNotFoundError:
            if not self.path.is_symlink():
                return False
        except OSError as error:
            raise ExportError(
                f"{self.path}: {error.strerror}; write to another folder with --output"
            ) from error
        raise ExportError(f"{self.path} is there already; write to another folder with --output")

    def write(self) -> None:
        """Write it new: it has its mode before a byte is in it.

        Raises:
            OSError: it cannot be written; no part of it is left.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self.mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if self.owner not in {None, os.geteuid()}:
                    os.fchown(descriptor, self.owner, -1)
                file.write(self.content)
        except OSError:
            self.path.unlink()
            raise


def _write(files: Sequence[_File]) -> list[Path]:
    """Write all files, or none: neither where one is in the way, nor where one cannot be written."""
    written: list[_File] = []
    missing = [each for each in files if not each.is_there]
    for file in missing:
        try:
            file.write()
        except OSError as error:
            for each in written:
                with suppress(OSError):
                    each.path.unlink()
            raise ExportError(f"{error.filename or file.path}: {error.strerror}") from error
        written.append(file)
    return [each.path for each in files]
