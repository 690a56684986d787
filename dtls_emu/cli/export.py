"""``dtls-emu export``: a lab as containers of one machine, or as pods of a cluster."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer


if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtls_emu.lab import Lab


__all__ = ["export"]

export = typer.Typer(no_args_is_help=True, help="Write a lab as containers, or as pods of a cluster.")

LabArgument = Annotated[str, typer.Argument(help="A lab file, or the name of a shipped lab.")]
OutputOption = Annotated[
    str, typer.Option("--output", help="Folder to write to. Default: named after the lab.", metavar="DIR")
]
ImageOption = Annotated[
    str,
    typer.Option(
        "--image", help="Name of the container image. Default: localhost/dtls-emu:latest.", metavar="NAME"
    ),
]
MtuOption = Annotated[
    int | None,
    typer.Option(
        "--mtu", help="Largest packet between pods, in bytes. Default 1450, as on most overlays.", min=576
    ),
]
MetricsOption = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        help="TCP port on which hosts serve metrics for Prometheus. Default: none.",
        min=1024,
        max=65_535,
    ),
]


@export.command(epilog="Example: dtls-emu export compose two-vms")
def compose(lab: LabArgument, output: OutputOption = "", image: ImageOption = "") -> None:
    """Write compose.yaml, and a folder for each host with its host.json, certificate and key.

    Certificates are made anew. Nothing that is there is overwritten.
    """
    from dtls_emu.deploy.export import export_compose
    from dtls_emu.deploy.export.handout import IMAGE
    from dtls_emu.lab import load_lab

    loaded = load_lab(lab)
    folder = Path(output or loaded.name)
    _tell(loaded, export_compose(loaded, folder, image=image or IMAGE))
    typer.echo(f"next: cd {_quoted(folder)} && podman-compose up --detach")


@export.command(epilog="Example: dtls-emu export kubernetes two-vms --image registry.example/dtls-emu")
def kubernetes(
    lab: LabArgument,
    output: OutputOption = "",
    image: ImageOption = "",
    mtu: MtuOption = None,
    metrics_port: MetricsOption = None,
) -> None:
    """Write one file for each host, with all of its Kubernetes objects: its key is in it.

    Links and VMs get no larger an MTU than the pod network carries. Certificates are made anew. Nothing that is
    there is overwritten.

    With a port for metrics every host serves them to whoever reaches its pod, and the pod has the annotations that
    Prometheus goes by (prometheus.io/scrape, port and path).
    """
    from dtls_emu.deploy.export import export_kubernetes
    from dtls_emu.deploy.export.handout import IMAGE
    from dtls_emu.deploy.export.kubernetes import POD_NETWORK_MTU
    from dtls_emu.lab import load_lab

    loaded = load_lab(lab)
    folder = Path(output or loaded.name)
    files = export_kubernetes(
        loaded, folder, image=image or IMAGE, mtu=mtu or POD_NETWORK_MTU, metrics_port=metrics_port
    )
    _tell(loaded, files)
    typer.echo(f"next: kubectl apply --filename {_quoted(folder)}")


def _quoted(folder: Path) -> str:
    """For a shell, and so that no command takes it for an option."""
    text = str(folder)
    text = f"./{text}" if text.startswith("-") else text
    if text.isprintable():  # which a byte that is no UTF-8 is not
        return shlex.quote(text)
    bytes_ = (chr(each) if 0x20 <= each < 0x7F else f"\\x{each:02x}" for each in os.fsencode(text))
    quoted = "".join(f"\\{each}" if each in {"'", "\\"} else each for each in bytes_)
    return f"$'{quoted}'"


def _tell(lab: Lab, files: Sequence[Path]) -> None:
    for file in files:
        typer.echo(f"wrote {file}")
    for host in lab.hosts:
        own = [name for name, vm in lab.guests.items() if vm.host == host]
        if len(own) > 1:
            typer.echo(
                f"note: {', '.join(own)} share the network namespace of {host}: see the limits of containers"
            )
