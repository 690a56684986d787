"""``dtls-emu export``: a lab as containers of one machine, or as pods of a cluster."""

from __future__ import annotations

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
    lab: LabArgument, output: OutputOption = "", image: ImageOption = "", mtu: MtuOption = None
) -> None:
    """Write one file for each host, with all of its Kubernetes objects: its key is in it.

    Links and VMs get no larger an MTU than the pod network carries. Certificates are made anew. Nothing that is
    there is overwritten.
    """
    from dtls_emu.deploy.export import export_kubernetes
    from dtls_emu.deploy.export.handout import IMAGE
    from dtls_emu.deploy.export.kubernetes import POD_NETWORK_MTU
    from dtls_emu.lab import load_lab

    loaded = load_lab(lab)
    folder = Path(output or loaded.name)
    _tell(loaded, export_kubernetes(loaded, folder, image=image or IMAGE, mtu=mtu or POD_NETWORK_MTU))
    typer.echo(f"next: kubectl apply --filename {_quoted(folder)}")


def _quoted(folder: Path) -> str:
    """For a shell, and so that no command takes it for an option."""
    text = str(folder)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def _tell(lab: Lab, files: Sequence[Path]) -> None:
    for file in files:
        typer.echo(f"wrote {file}")
    for host in lab.hosts:
        own = [name for name, vm in lab.vms.items() if vm.host == host]
        if len(own) > 1:
            typer.echo(
                f"note: {', '.join(own)} share the network namespace of {host}: see the limits of containers"
            )
