"""Exports are written whole, over nothing, keys for their owner alone, in YAML that every reader takes for the same."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest
import yaml

from dtls_emu.deploy.export import (
    ExportError,
    export_compose,
    export_kubernetes,
)
from dtls_emu.deploy.export.files import yaml_text
from dtls_emu.deploy.export.handout import GROUP, USER
from dtls_emu.lab import load_lab
from dtls_emu.lab.loader import parse_lab


def test_keys_are_written_with_mode_0600_for_the_containers_user(tmp_path):
    """Root gives them to the image's user; anybody else keeps them, and containers run as him."""
    files = export_compose(load_lab("two-vms"), tmp_path)
    own = os.geteuid()
    owner = USER if own == 0 else own
    keys = [path for path in files if path.suffix == ".key"]
    assert [path.parent.name for path in keys] == ["host-1", "host-2"]
    for key in keys:
        state = key.stat()
        assert (stat.S_IMODE(state.st_mode), state.st_uid) == (0o600, owner)
    document = yaml.safe_load((tmp_path / "compose.yaml").read_text(encoding="utf-8"))
    assert document["services"]["host-1"]["user"] == f"${{DTLS_EMU_USER:-{owner}:{GROUP}}}"


def test_a_file_of_kubernetes_objects_is_its_owners_alone(tmp_path):
    """It holds a key. It reads back as the objects, and each host's is the only one with its key."""
    files = export_kubernetes(load_lab("two-vms"), tmp_path, image="somewhere/dtls-emu:1")
    assert [path.name for path in files] == ["host-1.yaml", "host-2.yaml"]
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        objects = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
        assert [each["kind"] for each in objects] == [
            "Namespace",
            "ConfigMap",
            "Secret",
            "Service",
            "Deployment",
        ]
        container = objects[-1]["spec"]["template"]["spec"]["containers"][0]
        assert container["image"] == "somewhere/dtls-emu:1"
        config = json.loads(objects[1]["data"]["host.json"])
        assert config["host"] == path.stem


WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null", "e", "x1")
"""What may be the name of a host, and reads as something else than text without quotes."""
STRINGS: tuple[str, ...] = (
    *WORDS,
    "Y",
    "NO",
    "~",
    "",
    "0700",
    "1e3",
    "-1E3",
    "+.5e3",
    "0o17",
    "0x1F",
    "1_000",
    "190:20:30",
    "12e03",
)
STRINGS += (
    ".inf",
    ".NaN",
    "2001-01-01",
    "=",
    "<<",
    "- a",
    "a: b",
    "a #b",
    "* a",
    " a",
    "a ",
    "a\nb",
    "'",
    '"',
    "%",
    "\t",
)


def is_text_in_yaml_1_2(scalar):
    """Whether the core schema leaves a plain scalar as it is (YAML 1.2.2, 10.3.2: its own regular expressions)."""
    others = (
        r"null|Null|NULL|~|",
        r"true|True|TRUE|false|False|FALSE",
        r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?",
        r"[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN",
    )
    return not any(re.fullmatch(each, scalar) for each in others)


def is_text_in_yaml_1_1(scalar):
    """Whether the types of YAML 1.1 leave a plain scalar as it is: those PyYAML knows, and bool as it is specified."""
    if re.fullmatch(r"y|Y|n|N", scalar):  # https://yaml.org/type/bool.html; PyYAML leaves them out
        return False
    return yaml.SafeLoader("").resolve(yaml.ScalarNode, scalar, (True, False)) == "tag:yaml.org,2002:str"


def plain_scalars(text):
    """Every scalar of a document that stands there without quotes, with what it is meant to be."""
    for event in yaml.parse(text):
        if isinstance(event, yaml.ScalarEvent) and event.style is None:
            yield event.value


def test_text_is_text_for_readers_of_both_versions_of_yaml():
    """PyYAML quotes for YAML 1.1 only, and not `y`: what is left plain is text by the rules of each version."""
    written = yaml_text([{each: [each, {each: each}] for each in STRINGS}], "").decode()
    assert yaml.safe_load(written) == {each: [each, {each: each}] for each in STRINGS}
    plain = set(plain_scalars(written))
    assert plain == {"e", "x1"}
    assert [each for each in plain if not (is_text_in_yaml_1_1(each) and is_text_in_yaml_1_2(each))] == []


@pytest.mark.parametrize("export", [export_compose, export_kubernetes])
def test_hosts_and_vms_may_be_named_like_truth_values(tmp_path, export):
    """Names are text wherever they stand; whatever is plain in a file and no text is a number or a truth value."""
    hosts = "".join(f'  "{name}": {{underlay: 192.0.2.{index}}}\n' for index, name in enumerate(WORDS, 1))
    vms = "".join(
        f'  "{word}-vm": {{host: "{word}", virtual_network: "no", address: 10.0.0.{index}}}\n'
        for index, word in enumerate(WORDS, 4)
    )
    network = '  "no": {address_prefixes: [10.0.0.0/24], vni: 1}'
    text = f'name: "y"\nvirtual_networks:\n{network}\nhosts:\n{hosts}vms:\n{vms}'
    files = export(parse_lab(text, "y.yaml"), tmp_path)
    documents = [path.read_text(encoding="utf-8") for path in files if path.suffix == ".yaml"]
    seen = {
        event.value for each in documents for event in yaml.parse(each) if isinstance(event, yaml.ScalarEvent)
    }
    assert set(WORDS) <= seen
    for document in documents:
        odd = [each for each in plain_scalars(document) if not is_text_in_yaml_1_2(each)]
        odd += [each for each in plain_scalars(document) if not is_text_in_yaml_1_1(each)]
        assert [each for each in odd if not re.fullmatch(r"true|false|[0-9]+", each)] == []


def test_a_disk_that_is_full_leaves_no_file_and_the_message_names_one(tmp_path, monkeypatch):
    """At the third file; the two before it go again."""
    written = []
    fdopen = os.fdopen

    def full(descriptor, mode, **options):
        file = fdopen(descriptor, mode, **options)
        if "w" not in mode:
            return file
        written.append(file)
        if len(written) == 3:
            monkeypatch.setattr(os, "fdopen", fdopen)
            file.close()
            return Path("/dev/full").open("wb", buffering=0)
        return file

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(ExportError, match=rf"^{tmp_path}/hosts/host-1/host\.pem: No space left on device$"):
        export_compose(load_lab("two-vms"), tmp_path)
    assert len(written) == 3
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


@pytest.mark.parametrize("kind", ["fifo", "link", "folder"])
def test_what_is_no_file_is_in_the_way_and_is_not_waited_for(tmp_path, kind):
    """A FIFO without a writer would block for ever; a link that leads nowhere is not written through."""
    path = tmp_path / "compose.yaml"
    {
        "fifo": lambda: os.mkfifo(path),
        "link": lambda: path.symlink_to("nowhere"),
        "folder": path.mkdir,
    }[kind]()
    with pytest.raises(ExportError, match=rf"{path}.*write to another folder with --output"):
        export_compose(load_lab("two-vms"), tmp_path)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("export", [export_compose, export_kubernetes])
def test_nothing_is_overwritten_and_nothing_half_written(tmp_path, export):
    """Where one file is in the way none is written, and the message names it."""
    files = [path.relative_to(tmp_path) for path in export(load_lab("two-vms"), tmp_path)]
    last = tmp_path / files[-1]
    for path in files[:-1]:
        (tmp_path / path).unlink()
    before = last.read_bytes()
    with pytest.raises(ExportError, match=f"{last} is there already; write to another folder with --output"):
        export(load_lab("two-vms"), tmp_path)
    assert last.read_bytes() == before
    assert [path for path in files if (tmp_path / path).exists()] == [files[-1]]


def test_a_file_that_says_the_same_already_may_stay(tmp_path):
    """The shipped compose.yaml is in the folder that hosts are exported to."""
    lab = load_lab("two-vms")
    files = export_compose(lab, tmp_path)
    for path in files:
        if path.name != "compose.yaml":
            path.unlink()
    assert export_compose(lab, tmp_path) == files


def test_a_folder_that_cannot_be_made_is_a_message(tmp_path):
    """A file is where the folder should be."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(ExportError, match=r"Not a directory|File exists"):
        export_compose(load_lab("two-vms"), tmp_path / "taken" / "lab")
