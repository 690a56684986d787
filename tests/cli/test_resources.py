"""`dtls-emu resources`: what the control plane shows, as tables and in the API's shape."""

import json

from typer.testing import CliRunner

from dtls_emu.cli.app import app


def run(*arguments: str):
    return CliRunner().invoke(app, ["resources", *arguments])


def test_networks_peerings_and_nics_have_tables():
    """With the names that the API has for them."""
    result = run("mixed-sizes")
    assert result.exit_code == 0
    assert "Peerings (remoteVirtualNetworkEncryption)" in result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("allow-burstable-nic")]
    assert line.split() == ["allow-burstable-nic", "True", "False"]
    assert "Peerings" not in run("two-vms").output


def test_the_json_is_in_the_apis_shape():
    """So that a network can be changed and put back."""
    found = json.loads(run("two-vms", "--json").output)
    assert [each["type"] for each in found] == [
        "Microsoft.Network/virtualNetworks",
        *["Microsoft.Network/networkInterfaces"] * 2,
    ]
    assert found[0]["properties"]["encryption"] == {"enabled": True, "enforcement": "AllowUnencrypted"}
