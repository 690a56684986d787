"""`export` says what it wrote, what is next, and what to know."""

from __future__ import annotations

import shlex

from typer.testing import CliRunner

from dtls_emu.cli.app import app


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
