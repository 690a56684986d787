"""`dtls-emu audit` and what `dtls-emu flows` does with flow logs: tables, JSON, files, and exit statuses as a gate."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from dtls_emu.cli.app import app
from dtls_emu.errors import DtlsEmuError


def invoke(*words, status=0):
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == status, result.output
    return result


def refused(*words):
    result = CliRunner().invoke(app, list(map(str, words)))
    assert isinstance(result.exception, DtlsEmuError), result.output
    assert "\n" not in str(result.exception)
    return str(result.exception)


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """The folder of the scenario with every status."""
    folder = tmp_path_factory.mktemp("emit") / "logs"
    invoke("flows", "--emit", "--scenario", "all-codes", folder)
    return folder


@pytest.mark.parametrize("command", ["flows", "audit"])
def test_tables_fit_80_columns(logs, command, monkeypatch):
    """And have no escape sequences where there is no terminal."""
    monkeypatch.setenv("COLUMNS", "80")
    output = invoke(command, logs).stdout
    assert max(map(len, output.splitlines())) <= 80
    assert "\x1b" not in output


def test_flows_sums_up_logs_and_filters_them(logs):
    """In JSON, group by group."""
    whole = json.loads(invoke("flows", logs, "--json").stdout)
    assert (whole["files"], whole["records"], whole["unreadable"]) == (5, 12, 0)
    some = json.loads(
        invoke("flows", logs, "--filter", "Encryption=NX_ALL && Direction=Outbound", "--json").stdout
    )
    assert {each["encryption"] for each in some["groups"]} == {
        each["encryption"] for each in whole["groups"] if each["encryption"] != "X"
    }
    assert {each["side"] for each in some["groups"]} == {"outbound"}
    assert some["passed_over"] == sum(
        each[state]
        for each in whole["groups"]
        for state in ("begun", "continued", "ended", "denied")
        if each["encryption"] == "X" or each["side"] == "inbound"
    )


def test_the_gate_is_shut_by_what_it_is_told_to(logs):
    """And open otherwise."""
    assert "--fail-on clear: 2 pairs" in invoke("audit", logs, "--fail-on", "clear", status=1).stderr
    assert (
        "--fail-on dropped: 3 pairs" in invoke("audit", logs, "--fail-on", "unknown,dropped", status=1).stderr
    )
    invoke("audit", logs, "--fail-on", "unknown")
    invoke("audit", logs)


def test_lines_that_cannot_be_read_shut_the_gate(tmp_path):
    """Nobody can say what they were."""
    blob = tmp_path / "PT1H.json"
    blob.write_text(
        '{"records":[{"flowLogVersion":4,"flowRecords":{"flows":[{"flowGroups":[{"flowTuples":["1,2,3",'
        '"1767225600000,10.0.0.4,10.0.0.5,1,2,6,O,E,X,1,1,1,1"]}]}]}}]}'
    )
    assert "1 of 2 lines are no flow tuples" in invoke("audit", blob).stderr
    assert "1 lines cannot be read" in invoke("audit", blob, "--fail-on", "clear", status=1).stderr


def test_page_and_csv_are_written_and_not_written_over(logs, tmp_path):
    """Unless it is meant."""
    page, table = tmp_path / "a.html", tmp_path / "a.csv"
    invoke("audit", logs, "--html", page, "--csv", table)
    assert page.read_text().startswith("<!doctype html>")
    assert len(table.read_text().splitlines()) == 13
    assert "is there already" in refused("audit", logs, "--html", page)
    invoke("audit", logs, "--html", page, "--force")


def test_json_has_everything(logs):
    """Findings, meanings and the timeline."""
    document = json.loads(invoke("audit", logs, "--json").stdout)
    assert document["answer"].startswith("Not all of it")
    assert set(document["statuses"]) == {each["status"] for each in document["findings"]}
    assert sum(each["bytes"] for each in document["timeline"]["bytes"]) > 0


def test_a_runs_log_keeps_to_what_its_lab_promises(tmp_path):
    """And another lab's promise does not hold."""
    folder = tmp_path / "logs"
    invoke("run", "mixed-sizes", "--flow-log", folder)
    output = invoke("audit", folder, "--template", "mixed-sizes", "--fail-on", "unexpected").stdout
    assert "0 pairs worse than promised" in output
    assert "has something in it already" in refused("run", "mixed-sizes", "--flow-log", folder)
    lab = tmp_path / "lab.yaml"
    lab.write_text(
        "virtual_networks:\n  v: {address_prefixes: [10.1.0.0/16], vni: 1, encryption: {enabled: true}}\n"
        "hosts:\n  h1: {underlay: 192.0.2.1}\n  h2: {underlay: 192.0.2.2}\n"
        "vms:\n  a: {host: h1, virtual_network: v, address: 10.1.0.4}\n"
        "  b: {host: h2, virtual_network: v, address: 10.1.0.6}\n"
    )
    error = invoke("audit", folder, "--template", lab, "--fail-on", "unexpected", status=1).stderr
    assert "--fail-on unexpected: 1 pair worse than promised" in error


def interface(name, address):
    subnet = "[resourceId('Microsoft.Network/virtualNetworks/subnets', 'prod', 'apps')]"
    configuration = {
        "privateIPAddress": address,
        "privateIPAllocationMethod": "Static",
        "subnet": {"id": subnet},
    }
    return {
        "type": "Microsoft.Network/networkInterfaces",
        "apiVersion": "2024-05-01",
        "name": f"{name}-nic",
        "location": "eastus",
        "properties": {
            "enableAcceleratedNetworking": True,
            "ipConfigurations": [{"name": "first", "properties": configuration}],
        },
    }


def machine(name, size):
    nic = f"[resourceId('Microsoft.Network/networkInterfaces', '{name}-nic')]"
    return {
        "type": "Microsoft.Compute/virtualMachines",
        "apiVersion": "2024-07-01",
        "name": name,
        "location": "eastus",
        "properties": {
            "hardwareProfile": {"vmSize": size},
            "networkProfile": {"networkInterfaces": [{"id": nic}]},
        },
    }


def test_a_template_of_resources_is_a_promise(logs, tmp_path):
    """By the fixed addresses of its interfaces; without any, nobody can say whose the addresses of logs are."""
    network = {
        "type": "Microsoft.Network/virtualNetworks",
        "apiVersion": "2024-05-01",
        "name": "prod",
        "location": "eastus",
        "properties": {
            "addressSpace": {"addressPrefixes": ["10.0.0.0/16"]},
            "encryption": {"enabled": True, "enforcement": "AllowUnencrypted"},
            "subnets": [{"name": "apps", "properties": {"addressPrefix": "10.0.0.0/24"}}],
        },
    }
    resources = [
        network,
        *(interface(name, f"10.0.0.{last}") for name, last in (("web", 4), ("api", 5), ("store", 7))),
        *(machine(name, "Standard_D4s_v5") for name in ("web", "api", "store")),
    ]
    template = tmp_path / "azuredeploy.json"
    schema = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
    template.write_text(json.dumps({"$schema": schema, "contentVersion": "1.0.0.0", "resources": resources}))
    result = invoke("audit", logs, "--template", template, "--fail-on", "unexpected", "--json", status=1)
    findings = {
        (each["source"], each["status"], each["destination"]): each
        for each in json.loads(result.stdout)["findings"]
    }
    kept = findings["web (10.0.0.4)", "X", "api (10.0.0.5)"]
    assert (kept["promised"], kept["unexpected"]) == ("encrypt, row 16 encrypted", False)
    broken = findings["web (10.0.0.4)", "NX_FALLBACK", "store (10.0.0.7)"]
    assert (broken["promised"], broken["unexpected"]) == ("encrypt, row 16 encrypted", True)
    template.write_text(json.dumps({"$schema": schema, "contentVersion": "1.0.0.0", "resources": [network]}))
    assert "no interface in it has a fixed private address" in refused("audit", logs, "--template", template)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["audit", "missing"], "missing: cannot be read: No such file"),
        (["audit", "x", "--fail-on", "cleer"], "did you mean `clear`"),
        (["audit", "x", "--fail-on", "unexpected"], "needs what was promised"),
        (["flows", "--emit"], "name the folder to write to"),
        (["flows", "--emit", "--scenario", "some", "x"], "none is called `some`"),
        (["flows", "two-vms", "--filter", "DstPort=1"], "--filter is for flow logs"),
    ],
)
def test_bad_input_is_one_line(words, said):
    """With what to do."""
    assert said in refused(*words)


def test_the_schema_is_printed():
    """For tools of others."""
    assert json.loads(invoke("schema", "--flow-log").stdout)["$id"] == "urn:dtls-emu:flow-log:4"
