"""What each host of a lab is handed: its ``host.json``, its own certificate and key, and the CAs'. Nothing of any other host.

Paths and names here are an agreement with the image: its entry point copies the credentials from where the
runtime mounts them to where only the host's own user can read them, whatever mode the runtime gave them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.errors import DtlsEmuError, LabFileError
from dtls_emu.host.config import CONFIG, HostConfig, VmDevice, parse_host_config
from dtls_emu.host.credentials import credential_paths, pem_files
from dtls_emu.lab.problems import shown
from dtls_emu.paths import MAX_SOCKET_PATH, RUNS, control_socket_in


if TYPE_CHECKING:
    from collections.abc import Mapping

    from dtls_emu.crypto.authority import HostCredentials
    from dtls_emu.lab import Lab


__all__ = [
    "CONFIG_FOLDER",
    "GROUP",
    "IMAGE",
    "METRICS",
    "PING_GROUPS",
    "RUN_FOLDER",
    "SECRETS_FOLDER",
    "USER",
    "Handout",
    "check_image",
    "hand_out",
    "lab_labels",
]

IMAGE: Final = "localhost/dtls-emu:latest"

USER: Final = 10_001
GROUP: Final = 0
"""Whom the image runs as. Some clusters choose the user themselves, and always this group: it may write what the
user may, and has no other rights."""

CONFIG_FOLDER: Final = "/etc/dtls-emu"
SECRETS_FOLDER: Final = "/run/secrets/dtls-emu"
RUN_FOLDER: Final = "/run/card"
METRICS: Final = "DTLS_EMU_METRICS"
"""The variable that tells the image's entry point where to serve metrics, as ADDRESS:PORT."""

_NAME: Final = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_DOMAIN: Final = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:]+\])(?::\d+)?"
_IMAGE: Final = re.compile(
    rf"(?:{_DOMAIN}/)?{_NAME}(?:/{_NAME})*(?::\w[\w.-]{{0,127}})?(?:@[A-Za-z][A-Za-z0-9+._-]*:[0-9A-Fa-f]{{32,}})?",
    re.ASCII,
)
"""The grammar of https://pkg.go.dev/github.com/distribution/reference."""

MAX_IMAGE: Final = 255
"""Characters of an image's name without tag and digest, and more than anybody writes with them."""

PING_GROUPS: Final = "net.ipv4.ping_group_range", "0 2147483647"
"""Lets ping work without CAP_NET_RAW (icmp(7))."""

_CREDENTIALS_FOLDER: Final = Path(RUN_FOLDER, "credentials")


@dataclass(frozen=True, slots=True)
class Handout:
    """What one host is handed.

    Fields:
        host: its name.
        vms: names and IPv4 addresses of all VMs of the lab that are not named like a host.
        config: text of its ``host.json``.
        credentials: PEM files by name: its certificate, its private key, the CA certificate of each region.
    """

    host: str
    vms: Mapping[str, str]
    config: str
    credentials: Mapping[str, bytes] = field(repr=False)


def hand_out(lab: Lab, credentials: Mapping[str, HostCredentials]) -> list[Handout]:
    """What each host of a lab is handed, in the lab's order.

    Args:
        lab: validated. Its traffic is left out: real guests make their own.
        credentials: of every host.

    Raises:
        LabFileError: what `host` would say of it: it is for the simulation only, or has too long names.
    """
    document = lab.model_dump(mode="json", exclude_unset=True, exclude={"traffic"})
    authorities = {host.region: credentials[name].ca_certificate for name, host in lab.hosts.items()}
    vms = {name: str(vm.address) for name, vm in lab.guests.items() if name not in lab.hosts}
    handouts = []
    for host in lab.hosts:
        config = _config(lab, document, host).to_json()
        parse_host_config(config, Path(lab.name, host, CONFIG))
        handouts.append(Handout(host, vms, config, pem_files(credentials[host], authorities)))
    return handouts


def check_image(name: str) -> str:
    """The name of a container image as it is.

    Raises:
        DtlsEmuError: no runtime takes it.
    """
    if len(name) > MAX_IMAGE or not _IMAGE.fullmatch(name):
        raise DtlsEmuError(
            f"--image: {shown(name)} is no name of an image; write one such as registry.example/dtls-emu:1"
        )
    return name


def lab_labels(lab: str, host: str = "") -> dict[str, str]:
    """The labels that Kubernetes recommends, for what belongs to a lab, or to one host of it."""
    labels = {
        "app.kubernetes.io/name": "dtls-emu",
        "app.kubernetes.io/instance": lab,
        "app.kubernetes.io/managed-by": "dtls-emu-export",
    }
    return labels | {"app.kubernetes.io/component": host} if host else labels


def _config(lab: Lab, document: dict[str, Any], host: str) -> HostConfig:
    own = [name for name, vm in lab.guests.items() if vm.host == host]
    return HostConfig(
        version=1,
        run=lab.name,
        host=host,
        lab=document,
        credentials=credential_paths((each.region for each in lab.hosts.values()), _CREDENTIALS_FOLDER),
        # Where a host is, is known when it runs; there its name is looked up.
        underlays={name: name for name in lab.hosts},
        control_socket=_control_socket(lab.name, host),
        container=True,
        vms=tuple(VmDevice(vm=name, device=f"tun{number}", create=True) for number, name in enumerate(own)),
    )


def _control_socket(lab: str, host: str) -> Path:
    """Where `status` looks for it in the container."""
    path = control_socket_in(Path(RUN_FOLDER, RUNS.name, lab), host)
    if len(bytes(path)) > MAX_SOCKET_PATH:
        raise LabFileError(
            [f"{lab}: hosts.{host}: with the lab's name too long for a socket's path; write shorter ones"]
        )
    return path
