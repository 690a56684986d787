"""`export` says what it wrote, what is next, and what to know."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dtls_emu.cli.app import app
from dtls_emu.cli.export import _quoted as quoted
from dtls_emu.deploy.export.handout import check_image
from dtls_emu.errors import DtlsEmuError


CROWDED = """
virtual_networks: {net: {address_prefixes: [10.0.0.0/24], vni: 1}}
hosts: {host-0: {underlay: 192.0.2.1}}
vms:
  vm-0: {host: host-0, virtual_network: net, address: 10.0.0.4}
  vm-1: {host: host-0, virtual_network: net, address: 10.0.0.5}
"""


def test_the_command_says_what_it_wrote_and_what_is_next(tmp_path):
    """Both formats; one line a file."""
    for format_, next_ in (("compose", "podman-compose up"), ("kubernetes", "kubectl apply")):
        folder = tmp_path / format_
        result = CliRunner().invoke(app, ["export", format_, "two-vms", "--output", str(folder)])
        assert result.exit_code == 0, result.output
        lines = result.output.splitlines()
        written = [line.removeprefix("wrote ") for line in lines if line.startswith("wrote ")]
        assert sorted(written) == sorted(str(path) for path in folder.rglob("*") if path.is_file())
        assert next_ in lines[-1]


def test_the_command_warns_of_vms_that_share_a_namespace(tmp_path):
    """VMs of one container see each other without the card."""
    path = tmp_path / "crowded.yaml"
    path.write_text(CROWDED, encoding="utf-8")
    result = CliRunner().invoke(app, ["export", "compose", str(path), "--output", str(tmp_path / "out")])
    assert "vm-0, vm-1 share the network namespace of host-0" in result.output


def test_what_is_printed_to_do_next_is_quoted_for_a_shell(tmp_path, monkeypatch):
    """Spaces, quotes, and a folder that looks like an option; `sh` gets the folder back."""
    monkeypatch.chdir(tmp_path)
    for folder in ("with space", "it's", "$(false)", "-rf", "plain"):
        for kind in ("compose", "kubernetes"):
            done = CliRunner().invoke(app, ["export", kind, "two-vms", f"--output={folder}/{kind}"])
            assert done.exit_code == 0, done.output
            (line,) = [line for line in done.stdout.splitlines() if line.startswith("next: ")]
            words = shlex.split(line.removeprefix("next: "))
            named = words[1] if kind == "compose" else words[-1]
            assert (tmp_path / named).samefile(tmp_path / folder / kind)
            assert not named.startswith("-")


@pytest.mark.parametrize(
    "image",
    ["", "A", "a b", "a\nprivileged: true", "-a", "a:", "a@sha256:12", "registry.example/", "a" * 256, "ä"],
)
@pytest.mark.parametrize("format_", ["compose", "kubernetes"])
def test_what_is_no_name_of_an_image_is_refused_before_anything_is_written(tmp_path, format_, image):
    """With an example."""
    if image == "":
        with pytest.raises(DtlsEmuError):  # on the command line it is the default's
            check_image(image)
        return
    words = ["export", format_, "two-vms", "--output", str(tmp_path / "out"), f"--image={image}"]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, DtlsEmuError)
    assert "write one such as registry.example/dtls-emu:1" in str(result.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [b"plain", b"with space", b"-option", b"a\xffb", b"a'\xff\\", b"line\nfeed"])
def test_the_next_command_leads_to_the_folder_whatever_its_name_is(tmp_path, name):
    """Bytes that are no UTF-8 as well: a shell is given what was printed."""
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    where = folder if not name.startswith(b"-") else Path(os.fsdecode(name))
    shell = ["bash", "-c", f"cd {quoted(where)} && pwd -P | od -An -c"]
    wanted = ["bash", "-c", 'cd -- "$1" && pwd -P | od -An -c', "bash", str(folder)]
    found = [
        subprocess.run(words, cwd=tmp_path, capture_output=True, check=True).stdout
        for words in (shell, wanted)
    ]
    assert found[0] == found[1]
