"""Each way to show an answer says the same, is well formed, and escapes what comes from files."""

import json
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from dtls_emu import simulate
from dtls_emu.lab.loader import parse_lab
from dtls_emu.whatif.answer.question import QuestionError
from dtls_emu.whatif.documents import read_documents
from dtls_emu.whatif.report.as_json import as_json
from dtls_emu.whatif.report.diagram import MOST, diagram
from dtls_emu.whatif.report.gate import failures, parse_conditions, tags_of
from dtls_emu.whatif.report.lab_file import as_lab
from dtls_emu.whatif.report.page import page
from dtls_emu.whatif.report.sarif import as_sarif
from tests.whatif.conftest import EXAMPLES


TEMPLATES = sorted(path.name for path in EXAMPLES.glob("*.json") if "parameters" not in path.name)


class Tags(HTMLParser):
    """What a page is made of; complains of what is not closed."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.seen = set()
        self.loaded = []

    def handle_starttag(self, tag, attributes):
        self.seen.add(tag)
        self.loaded += [value for name, value in attributes if name in {"src", "href"}]
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", TEMPLATES)
def test_json_adds_up(ask, name):
    """Totals are the sums of groups; every group says where it is from."""
    found = as_json(ask(name))
    json.dumps(found)
    for fate, total in found["totals"].items():
        assert total == sum(each["pairs"] for each in found["pairs"] if each["fate"] == fate)
    assert all(each["source"] for each in found["pairs"] if each["row"] is not None)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_page_is_one_file_that_loads_nothing(ask, name):
    """Well formed, without scripts; the picture is XML."""
    found = ask(name)
    text = page(found, name)
    tags = Tags()
    tags.feed(text)
    assert (tags.open, tags.loaded) == ([], [])
    assert "script" not in tags.seen
    assert ET.fromstring(diagram(found)).tag == "svg"


def test_names_from_files_are_escaped(lists, ask):
    """In the page and in the picture."""
    lists.network("<script>alert(1)", "10.0.0.0/24")
    lists.items[0]["id"] = lists.items[0]["id"].replace("<script>alert(1)", "odd")
    lists.vm('"><img src=x>', "odd")
    lists.vm("other", "odd")
    text = page(ask(lists), "<b>title</b>")
    assert "<script>" not in text
    assert "<img" not in text
    assert "<b>title" not in text


def test_of_many_networks_the_picture_shows_some(lists, ask):
    """And how many more there are."""
    for number in range(MOST + 10):
        lists.network(f"net-{number}", f"10.{number}.0.0/24")
    text = diagram(ask(lists))
    assert text.count('class="network') == MOST
    assert "and 10 more networks" in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("dropped", []),
        ("broken", ["broken: 5 pairs and 1 thing"]),
        ("clear,dropped", ["clear: 4 pairs"]),
        ("clear:none", []),
        ("unknown", []),
    ],
)
def test_a_gate_fails_for_what_was_asked(ask, words, expected):
    """With how much of it there is."""
    conditions = parse_conditions(words)
    assert (
        failures(ask("scale-set-behind-load-balancer.json", tags=tags_of(conditions)), conditions) == expected
    )


@pytest.mark.parametrize("tag", ["sensitive", "data", "data=sensitive", "DATA=Sensitive"])
def test_a_tag_confines_the_gate_to_what_has_it(ask, tag):
    """By key, by value or both: the cluster has it, the VM beside it has not."""
    conditions = parse_conditions(f"clear:{tag}")
    (said,) = failures(ask("aks-private-database.json", tags=tags_of(conditions)), conditions)
    assert said.endswith(": 25 pairs")  # of 26 all but the admin VM's with the private endpoint


@pytest.mark.parametrize("words", ["nothing", "clear:", "dropped broken"])
def test_words_that_mean_nothing_are_refused(words):
    """With those that do."""
    with pytest.raises(QuestionError, match="write words out of broken, clear, dropped, unknown"):
        parse_conditions(words)


def test_annotations_stand_at_lines_of_the_files(ask):
    """SARIF 2.1.0: each result has a rule, a level, a message, and the line of what it is about."""
    path = EXAMPLES / "scale-set-behind-load-balancer.json"
    found = ask(path.name)
    sarif = as_sarif(found, read_documents([str(path)]))
    (run,) = sarif["runs"]
    assert sarif["version"] == "2.1.0"
    rules = {each["id"] for each in run["tool"]["driver"]["rules"]}
    lines = path.read_text().splitlines()
    assert {each["ruleId"] for each in run["results"]} <= rules
    for result in run["results"]:
        location = result["locations"][0]["physicalLocation"]
        assert Path(location["artifactLocation"]["uri"]).name == path.name
        assert lines[location["region"]["startLine"] - 1].strip().startswith(("{", '"'))
    assert next(each["level"] for each in run["results"]) == "error"


@pytest.mark.parametrize("name", [*TEMPLATES, "mixed-sizes", "endpoints"])
def test_the_lab_does_in_the_emulator_what_the_answer_says(ask, name):
    """It is a lab, and every ping that it expects comes out so in a run."""
    found = ask(name, "landing-zone.parameters.json") if name == "landing-zone.json" else ask(name)
    text, _ = as_lab(found)
    lab = parse_lab(text, "out.yaml")
    outcome = simulate(lab)
    assert lab.traffic
    assert outcome.ok, outcome.failures


def test_vms_of_one_network_are_on_different_hosts_so_that_a_tunnel_is_between_them(ask):
    """Of two on one host the lab would show the one pair that is never encrypted."""
    text, _ = as_lab(ask("hub-and-spoke.json"))
    lab = parse_lab(text, "out.yaml")
    assert lab.vms["vm-0"].host != lab.vms["vm-2"].host
    assert any(item.expect is not None and item.expect.verdict == "encrypt" for item in lab.traffic)


def test_without_a_vm_there_is_no_lab(lists, ask):
    """It is refused, and why it has none is said."""
    lists.network("net", "10.0.0.0/24")
    lists.vm("odd", "net", "Standard_Q1")
    with pytest.raises(
        QuestionError, match="no VM of these files can be placed in a lab, which needs one: 1 left out"
    ):
        as_lab(ask(lists))


def test_what_a_lab_cannot_hold_is_said(lists, ask):
    """A network without prefixes, a size that is not known, too many VMs of a scale set."""
    lists.network("bare", "10.0.0.0/24")
    lists.items[0]["addressSpace"] = {}
    lists.network("net", "10.1.0.0/24")
    lists.vm("odd", "net", "Standard_Q1")
    lists.vm("usual", "net")
    nic = {"name": "n", "ipConfigurations": [{"subnet": lists.subnet("net")}]}
    lists.add("Microsoft.Compute/virtualMachineScaleSets", "set", sku={"name": "Standard_D2s_v5", "capacity": 9},
              virtualMachineProfile={"networkProfile": {"networkInterfaceConfigurations": [nic]}})  # fmt: skip
    text, notes = as_lab(ask(lists))
    assert parse_lab(text, "out.yaml").vms.keys() == {"usual", "set-1", "set-2", "set-3"}
    assert notes == (
        "network bare left out: its address prefixes are not known",
        "set: 9 VMs; the lab has 3",
        "1 left out: their size, or whether accelerated networking is on, is not known",
    )
