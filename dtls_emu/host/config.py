"""``host.json``: all that one host needs to know to be brought up, made by ``up`` or by an export.

:meth:`HostConfig.to_json` writes it, :func:`load_host_config` reads it.

::

    {"version": 1, "run": "demo", "host": "host-1", "lab": {...},
     "credentials": {"certificate": "host.pem", "private_key": "host.key", "authorities": {"eastus": "ca.pem"}},
     "vms": [{"vm": "vm-a", "netns": "demo-vm-a", "device": "tun0", "create": false}]}

Paths are relative to the file's folder. The file holds no secret; the private key does, and only its owner
may be able to read it.
"""

import json
import os
import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from dtls_emu.assembly.lab_document import check_document, compile_document
from dtls_emu.errors import LabFileError
from dtls_emu.files.limits import MAX_DOCUMENT
from dtls_emu.files.reading import read_file
from dtls_emu.lab.checks import BACKENDS
from dtls_emu.lab.kernel_names import check_device
from dtls_emu.lab.model import LabModel, Name, Switch
from dtls_emu.lab.problems import Problem, shown, suggest
from dtls_emu.lab.reading import read_yaml
from dtls_emu.lab.topology import Topology
from dtls_emu.paths import control_socket
from dtls_emu.vocabulary import Keying


__all__ = ["CONFIG", "CredentialPaths", "HostConfig", "VmDevice", "load_host_config", "parse_host_config"]

CONFIG: Final = "host.json"
"""Name of the file, in a folder of the host's own."""

MAX_DNS_NAME: Final = 253
"""Characters (RFC 1035 2.3.4: 255 octets on the wire)."""

_DNS_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.(?!-)[A-Za-z0-9_-]{1,63})*\.?", re.ASCII)

Mode = Literal["auto", "on", "off"]


def _check_path(path: Path) -> Path:
    """A path that a file can have."""
    try:
        name = os.fsencode(path)
    except UnicodeEncodeError:
        name = b"\0"
    if b"\0" in name:
        raise ValueError(f"{shown(str(path))} is the path of no file; write one")
    return path


def _check_network(name: str) -> str:
    """The name of a network namespace, or a path."""
    _check_path(Path(name))
    return name


def _check_underlay(name: str) -> str:
    """An IP address or a DNS name."""
    try:
        ip_address(name)
    except ValueError:
        if len(name) > MAX_DNS_NAME or not _DNS_NAME.fullmatch(name):
            raise ValueError(f"{shown(name)} is neither an IP address nor a DNS name; write one") from None
    return name


FilePath = Annotated[Path, AfterValidator(_check_path)]


class CredentialPaths(LabModel):
    """Where certificates and the key are.

    Fields:
        certificate, private_key: PEM files of this host.
        authorities: PEM file of each region's CA certificate, by region.
    """

    certificate: FilePath
    private_key: FilePath
    authorities: dict[Name, FilePath] = Field(min_length=1)


class VmDevice(LabModel):
    """The TUN device of one VM.

    Fields:
        vm: name in the lab.
        device: name of the interface.
        netns: network namespace that it is in, by name or path; None is the host's own.
        create: the host makes it, with the VM's addresses, MTU and routes, and it goes with the host. False:
            it is there, and stays.
    """

    vm: Name
    device: Annotated[str, AfterValidator(check_device)]
    netns: Annotated[str, Field(min_length=1), AfterValidator(_check_network)] | None = None
    create: Switch = False


class HostConfig(LabModel):
    """One host.

    Fields:
        version: of this format.
        run: the run that it belongs to.
        host: name in the lab.
        lab: the lab, as its file has it.
        encryption: off is the baseline: the same path without DTLS.
        backend: cipher backend instead of the lab's.
        gso, gro: segmentation and merging by the kernel, on the fabric.
        fast_path: off keeps compiled code from carrying packets, which it otherwise does where it can.
        credentials: certificates and key.
        control_socket: by default ``<host>.sock`` in the run's directory.
        underlays: addresses or DNS names of hosts, where they are not as the lab says: a container's address
            is known only when it runs.
        flow_log: folder that flow logs of the VMs' interfaces are written to; None: none are.
        container: the network namespace is this host's alone. What is for its VMs' networks goes through their
            devices or nowhere, also when the host has ended.
        vms: exactly the VMs that the lab has on this host.
    """

    version: Literal[1]
    run: Name
    host: Name
    lab: dict[str, Any]
    encryption: Literal["on", "off"] = "on"
    backend: str | None = None
    gso: Mode = "auto"
    gro: Mode = "auto"
    fast_path: Literal["auto", "off"] = "auto"
    credentials: CredentialPaths
    control_socket: FilePath | None = None
    underlays: dict[Name, Annotated[str, AfterValidator(_check_underlay)]] = Field(default_factory=dict)
    container: Switch = False
    flow_log: FilePath | None = None
    vms: tuple[VmDevice, ...]

    @model_validator(mode="after")
    def _check_devices(self) -> Self:
        places = [(each.netns, each.device) for each in self.vms]
        if len(set(places)) < len(places):
            raise ValueError("two VMs have the same device; write another name")
        return self

    @property
    def socket_path(self) -> Path:
        """Where the control socket is."""
        return self.control_socket or control_socket(self.run, self.host)

    def to_json(self) -> str:
        """The text of the file, with what was given and without what was left to its default.

        Paths are as they are: relative ones hold from the file's folder.
        """
        # In ASCII: the reader's YAML takes U+2028 and U+0085 in a text for the ends of lines.
        return json.dumps(self.model_dump(mode="json", exclude_unset=True), indent=1) + "\n"


def load_host_config(path: Path) -> HostConfig:
    """Read and validate a host's file.

    Raises:
        LabFileError: everything that is wrong with it, each with file, line and remedy.
    """
    try:
        text = read_file(path, MAX_DOCUMENT).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise LabFileError([f"{path}: cannot be read: {reason}"]) from None
    return parse_host_config(text, path)


def parse_host_config(text: str, path: Path) -> HostConfig:
    """Validate the text of a host's file.

    Args:
        text: JSON, or YAML, of which JSON is a part.
        path: where it is from: for messages, and for the paths in it.

    Raises:
        LabFileError: everything that is wrong with it.
    """
    document = read_yaml(text, str(path))
    problems = list(document.problems)
    config: HostConfig | None = None
    try:
        config = HostConfig.model_validate(document.data, by_alias=True, by_name=False)
    except ValidationError as error:
        problems += [_explained(details) for details in error.errors(include_url=False)]
    else:
        problems += _check_lab(config)
    if problems or config is None:
        raise LabFileError(document.report(problems, path))
    return _with_paths(config, path.parent)


def _check_lab(config: HostConfig) -> list[Problem]:
    """What is wrong with the lab; or, once it is right, with what the rest of the file says of it."""
    wrong = check_document(config.lab)
    if wrong:
        return [Problem(("lab", *each.path), each.message) for each in wrong]
    topology = compile_document(config.lab)
    hosts = topology.hosts
    if config.host not in hosts:
        return [Problem(("host",), f"no such host in the lab; {suggest(config.host, hosts)}")]
    return [
        *_check_backend(config),
        *_check_keying(config, topology),
        *_check_vms(config, [vm.name for vm in topology.vms_on(config.host)]),
        *(
            Problem(("underlays", name), f"no such host in the lab; {suggest(name, hosts)}")
            for name in config.underlays
            if name not in hosts
        ),
        *(
            Problem(("credentials", "authorities"), f"no CA of {region}; write the path of its certificate")
            for region in sorted({host.region for host in hosts.values()})
            if region not in config.credentials.authorities
        ),
    ]


def _check_backend(config: HostConfig) -> Iterator[Problem]:
    names = sorted({"auto", *entry_points(group=BACKENDS).names})
    if config.backend is not None and config.backend not in names:
        yield Problem(("backend",), f"no backend {shown(config.backend)}; {suggest(config.backend, names)}")


def _check_keying(config: HostConfig, topology: Topology) -> Iterator[Problem]:
    """The broker asks control sockets of its own machine; those of containers are not there."""
    if config.container and topology.profile.keying is Keying.BROKER:
        path = "lab", "overrides", "keying"
        yield Problem(path, "in containers there is no broker; write handshake, or leave it out")


def _check_vms(config: HostConfig, own: list[str]) -> Iterator[Problem]:
    listed: set[str] = set()
    for index, each in enumerate(config.vms):
        path = "vms", index, "vm"
        if each.vm not in own:
            yield Problem(path, f"no such VM on {config.host}; {suggest(each.vm, own)}")
        elif each.vm in listed:
            yield Problem(path, "written twice; a VM has one device")
        listed.add(each.vm)
    for name in own:
        if name not in listed:
            yield Problem(("vms",), f"the lab has `{name}` on {config.host}; write its device")


def _explained(details: ErrorDetails) -> Problem:
    path, kind = details["loc"], details["type"]
    if kind == "missing":
        return Problem(path, "missing; write it")
    if kind == "extra_forbidden":
        return Problem(path, "unknown key; leave it out")
    if kind == "value_error":
        return Problem(path, str(details["ctx"]["error"]))
    if kind in {"model_type", "dict_type"}:
        return Problem(path, "is no object; write one: `{...}`")
    message = details["msg"]
    return Problem(path, message[0].lower() + message[1:])


def _with_paths(config: HostConfig, folder: Path) -> HostConfig:
    """The same with paths that lead there from anywhere; an absolute one stays as it is."""
    own = config.credentials
    credentials = CredentialPaths(
        certificate=folder / own.certificate,
        private_key=folder / own.private_key,
        authorities={region: folder / path for region, path in own.authorities.items()},
    )
    socket = None if config.control_socket is None else folder / config.control_socket
    flow_log = None if config.flow_log is None else folder / config.flow_log
    return config.model_copy(
        update={"credentials": credentials, "control_socket": socket, "flow_log": flow_log}
    )
