"""Labs as containers and pods: what each host is handed, what the documents say, what is written."""

import base64
import json
import os
import re
import shlex
import stat
import subprocess
from datetime import UTC, datetime
from ipaddress import ip_address
from itertools import permutations
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner

from dtls_emu.assembly.cards import issue_credentials
from dtls_emu.assembly.lab_document import compile_document, differences
from dtls_emu.cli.app import app
from dtls_emu.cli.export import _quoted as quoted
from dtls_emu.deploy.export import (
    ExportError,
    compose_document,
    export_compose,
    export_kubernetes,
    fit_to_pods,
    hand_out,
    host_documents,
)
from dtls_emu.deploy.export.files import COMPOSE_HEADER, yaml_text
from dtls_emu.deploy.export.handout import GROUP, IMAGE, USER, check_image
from dtls_emu.errors import DtlsEmuError, LabFileError
from dtls_emu.host.config import parse_host_config
from dtls_emu.lab import Lab, compile_lab, load_lab, shipped_labs
from dtls_emu.lab.loader import parse_lab
from dtls_emu.testing.present import present
from dtls_emu.wire.overhead import path_overhead


ROOT = Path(__file__).parents[3]
OLDEST, NEWEST = "1.25", kubernetes_validate.latest_version()
SIMULATED_ONLY = "broker"


@pytest.fixture(scope="module", params=[name for name in shipped_labs() if name != SIMULATED_ONLY])
def lab(request):
    return load_lab(request.param)


@pytest.fixture(scope="module")
def handouts(lab):
    return handed(lab)


@pytest.fixture(scope="module")
def compose(lab, handouts):
    return compose_document(compile_lab(lab), handouts, image="image", user="1:2")


@pytest.fixture(scope="module")
def pods(lab, handouts):
    """The objects of each host, by kind."""
    return {
        each.host: {document["kind"]: document for document in host_documents(lab.name, each, image="image")}
        for each in handouts
    }


def handed(lab):
    return hand_out(lab, issue_credentials(compile_lab(lab), datetime.now(UTC)))


def pod_of(objects):
    return objects["Deployment"]["spec"]["template"]["spec"]


# ------------------------------------------------------------------------------------------------- handouts


def test_each_host_is_handed_a_host_json_that_holds_for_its_lab(lab, handouts):
    """It passes every check of `host`, and says the same lab."""
    for each in handouts:
        config = parse_host_config(json.dumps(each.config), Path("host.json"))
        assert config.host == each.host
        assert differences(compile_document(config.lab), compile_lab(lab)) == []
        assert compile_document(config.lab).name == lab.name


def test_devices_are_made_in_the_containers_own_namespace(lab, handouts):
    """Each VM of the host has a device of its own that the host makes; there is no other namespace."""
    for each in handouts:
        own = [name for name, vm in lab.vms.items() if vm.host == each.host]
        devices = each.config["vms"]
        assert [device["vm"] for device in devices] == own
        assert len({device["device"] for device in devices}) == len(own)
        assert all(device["create"] and "netns" not in device for device in devices)
        assert each.config["container"] is True


def test_no_host_is_handed_another_ones_key(lab, handouts):
    """The one private key of each is in nobody else's handout, nor in any host.json."""
    keys = {each.host: each.credentials["host.key"] for each in handouts}
    assert len(set(keys.values())) == len(lab.hosts)
    for one, other in permutations(handouts, 2):
        secret = other.credentials["host.key"].decode().splitlines()[1]
        assert not any(secret in pem.decode() for pem in one.credentials.values())
    assert not any("PRIVATE" in json.dumps(each.config) for each in handouts)


def test_credentials_are_those_that_host_json_names(handouts):
    """Every file that it names is handed out, and every file that is handed out is named."""
    for each in handouts:
        named = each.config["credentials"]
        paths = [named["certificate"], named["private_key"], *named["authorities"].values()]
        assert sorted(Path(path).name for path in paths) == sorted(each.credentials)


def test_a_lab_that_only_the_simulation_can_run_is_refused():
    """What `host` would refuse is not exported."""
    with pytest.raises(LabFileError, match=r"overrides\.keying: in containers there is no broker"):
        handed(load_lab(SIMULATED_ONLY))


def test_names_too_long_for_a_control_socket_are_refused():
    """A host of that lab could not start; the longest that fit do."""
    name, fitting = "n" * 63, 107 - len(f"/run/card/dtls-emu/{'n' * 63}/-0.sock")
    assert len(handed(small_lab(name=name, host="h" * fitting))) == 2
    with pytest.raises(LabFileError, match=r"hosts\.h+-0: .* too long .* write shorter ones"):
        handed(small_lab(name=name, host="h" * (fitting + 1)))


def test_a_printed_handout_shows_no_key(handouts):
    """Its repr, in a traceback say, leaves the credentials out."""
    assert all("PRIVATE" not in repr(each) for each in handouts)


# -------------------------------------------------------------------------------------------------- compose


def test_compose_has_a_service_for_each_host_that_others_find_by_name(lab, compose):
    """One service a host, under its name, on one network."""
    assert list(compose["services"]) == list(lab.hosts)
    for host, service in compose["services"].items():
        assert service["networks"]["underlay"]["aliases"] == [host] == [service["hostname"]]


def test_compose_gives_a_container_one_capability_and_one_device(compose):
    """All capabilities are dropped but NET_ADMIN; nothing is privileged; the user is not root."""
    for service in compose["services"].values():
        assert service["cap_drop"] == ["ALL"]
        assert service["cap_add"] == ["NET_ADMIN"]
        assert service["devices"] == ["/dev/net/tun:/dev/net/tun"]
        assert service["user"] == "${DTLS_EMU_USER:-1:2}"
        assert not {"privileged", "network_mode", "pid", "ipc", "security_opt"} & service.keys()


def test_compose_mounts_a_hosts_own_files_only(compose):
    """No service is given a file from another host's folder."""
    for host, service in compose["services"].items():
        files = [compose["secrets"][each["source"]]["file"] for each in service["secrets"]]
        files += [each.split(":")[0] for each in service["volumes"]]
        assert all(file.startswith(f"./hosts/{host}/") for file in files)
        assert f"./hosts/{host}/host.key" in files


def test_the_bridge_of_compose_carries_what_every_link_of_the_lab_does(lab, compose):
    """Its MTU is the largest of the links', as the lab says."""
    topology = compile_lab(lab)
    links = [topology.link(*pair).mtu for pair in permutations(lab.hosts, 2)]
    assert int(compose["networks"]["underlay"]["driver_opts"]["mtu"]) == max([1280, *links])


def test_a_lone_host_has_a_bridge_too():
    """A lab without any link is no special case."""
    lab = small_lab(hosts=1)
    document = compose_document(compile_lab(lab), handed(lab), image="image", user="1:2")
    assert document["networks"]["underlay"]["driver_opts"] == {"mtu": "1280"}


def test_the_compose_file_of_the_repository_is_the_exported_one():
    """containers/compose.yaml is what `export compose two-vms` writes when root calls it."""
    lab = load_lab("two-vms")
    document = compose_document(compile_lab(lab), handed(lab), image=IMAGE, user=f"{USER}:{GROUP}")
    shipped = (ROOT / "containers" / "compose.yaml").read_bytes()
    assert yaml.safe_load(shipped) == document
    # To the byte: else the export to that folder, as its README has it, would find another file in the way.
    assert shipped == yaml_text([document], COMPOSE_HEADER)


# ----------------------------------------------------------------------------------------------- kubernetes


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_object_is_valid_for_kubernetes(pods, version):
    """By the schemas of the API, strictly: no unknown field either."""
    documents = [document for objects in pods.values() for document in objects.values()]
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)
    assert {each["kind"] for each in documents} >= {"ConfigMap", "Deployment", "Secret", "Service"}


def test_schema_validation_refuses_a_wrong_object(pods):
    """The check above can fail."""
    objects = next(iter(pods.values()))
    wrong = objects["Deployment"] | {"spec": objects["Deployment"]["spec"] | {"replica": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, OLDEST, strict=True)


def test_each_host_has_one_pod_which_only_its_service_leads_to(pods):
    """A selector fits the labels of its own pod, and of no other; the service answers from the start."""
    labels = {
        host: objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
        for host, objects in pods.items()
    }
    for host, objects in pods.items():
        service, deployment = objects["Service"], objects["Deployment"]
        assert (service["metadata"]["name"], service["spec"]["clusterIP"]) == (host, "None")
        assert service["spec"]["publishNotReadyAddresses"] is True
        assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (1, {"type": "Recreate"})
        for selector in (service["spec"]["selector"], deployment["spec"]["selector"]["matchLabels"]):
            assert [each for each, own in labels.items() if selector.items() <= own.items()] == [host]


def test_the_pods_of_a_lab_are_spread_over_nodes(pods):
    """The constraint is about all pods of the lab, and nodes; too few nodes do not stop it."""
    for objects in pods.values():
        (constraint,) = pod_of(objects)["topologySpreadConstraints"]
        assert constraint["topologyKey"] == "kubernetes.io/hostname"
        assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"
        chosen = constraint["labelSelector"]["matchLabels"].items()
        assert all(
            chosen <= each["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
            for each in pods.values()
        )


def test_a_pod_has_one_capability_and_no_root(pods):
    """All capabilities are dropped but NET_ADMIN; the user is not root; there is no token of the cluster's."""
    for objects in pods.values():
        pod = pod_of(objects)
        (container,) = pod["containers"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN"]}
        assert "privileged" not in container["securityContext"]
        assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, USER)
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        devices = [each["hostPath"] for each in pod["volumes"] if "hostPath" in each]
        assert devices == [{"path": "/dev/net/tun", "type": "CharDevice"}]


def test_a_pod_mounts_its_own_secret_with_mode_0600(handouts, pods):
    """The secret holds this host's credentials, and no other object of any host holds its key."""
    for each in handouts:
        objects = pods[each.host]
        secret = objects["Secret"]
        assert {name: base64.b64decode(text) for name, text in secret["data"].items()} == each.credentials
        (mounted,) = [volume["secret"] for volume in pod_of(objects)["volumes"] if "secret" in volume]
        assert mounted["secretName"] == secret["metadata"]["name"]
        assert mounted["defaultMode"] == 0o600
        key = secret["data"]["host.key"]
        everything = [document for others in pods.values() for document in others.values()]
        assert [key in json.dumps(document) for document in everything].count(True) == 1


def test_volumes_of_different_pods_have_different_names(pods):
    """Podman knows no namespaces: volumes of one name would be one volume."""
    names = [
        name
        for objects in pods.values()
        for name in (
            objects["ConfigMap"]["metadata"]["name"],
            objects["Secret"]["metadata"]["name"],
            *(volume["name"] for volume in pod_of(objects)["volumes"] if "emptyDir" in volume),
        )
    ]
    assert len(set(names)) == len(names)


def test_probes_ask_the_control_socket(pods):
    """Alive is asked with `ping`, ready with `ready`; a start may take as long as compiling kernels does."""
    for objects in pods.values():
        (container,) = pod_of(objects)["containers"]
        questions = {name: container[name]["exec"]["command"] for name in container if name.endswith("Probe")}
        assert questions == {
            "startupProbe": ["probe", "ping"],
            "livenessProbe": ["probe", "ping"],
            "readinessProbe": ["probe", "ready"],
        }
        startup = container["startupProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] >= 300


@pytest.mark.parametrize("name", ["default", "kube-system"])
def test_a_namespace_of_the_cluster_is_refused(name):
    """A lab of that name would put its objects beside those of others."""
    lab = small_lab(name=name)
    with pytest.raises(LabFileError, match=f"{name}: name: .* write another name"):
        host_documents(name, handed(lab)[0], image="image")


# ------------------------------------------------------------------------------------------------- fitting


def test_links_and_vms_get_no_larger_an_mtu_than_pods_have(lab):
    """Every packet of a VM fits, sealed, into the pod network; what fitted before is as it was."""
    before, after = compile_lab(lab), compile_lab(fit_to_pods(lab, 1450))
    overhead = path_overhead(encrypted=True)
    for pair in permutations(lab.hosts, 2):
        assert after.link(*pair).mtu == min(before.link(*pair).mtu, 1450)
    for name, vm in after.vms.items():
        assert vm.mtu == min(before.vms[name].mtu, overhead.inner_mtu(1450))
        assert present(overhead.path_mtu(vm.mtu)) <= 1450


def test_a_jumbo_pod_network_changes_nothing(lab):
    """Where everything fits the lab is as it was."""
    before, after = compile_lab(lab), compile_lab(fit_to_pods(lab, 65_535))
    assert {name: vm.mtu for name, vm in after.vms.items()} == {
        name: vm.mtu for name, vm in before.vms.items()
    }
    assert all(after.link(*pair) == before.link(*pair) for pair in permutations(lab.hosts, 2))


def test_a_pod_network_too_small_for_ipv6_is_refused():
    """A VM with an IPv6 address needs 1280 bytes; the message names the VM and what is left."""
    lab = load_lab("two-vms")
    needed = present(path_overhead(encrypted=True).path_mtu(1280))
    assert all(vm.mtu == 1280 for vm in fit_to_pods(lab, needed).vms.values())
    with pytest.raises(LabFileError, match=r"vms\.vm-a: .* leaves it 1279 bytes, and IPv6 needs 1280"):
        fit_to_pods(lab, needed - 1)


def test_the_table_of_mtus_in_the_readme_is_right():
    """Each row: what a pod network carries, and what is left for a VM."""
    text = (ROOT / "containers" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .* \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    overhead = path_overhead(encrypted=True)
    assert [(int(pods), int(vm)) for pods, vm in rows] == [
        (mtu, overhead.inner_mtu(mtu)) for mtu in (1450, 1500, 9001)
    ]
    assert f"grows by {overhead.total} bytes" in text
    assert f"needs {overhead.path_mtu(1280)} of the pod\nnetwork" in text


def test_an_underlay_of_ipv6_costs_twenty_bytes_more():
    """The overhead is that of the lab's own fabric."""
    lab = small_lab(underlay="fd00:1::{}")
    assert ip_address(str(lab.hosts["host-0"].underlay)).version == 6
    assert fit_to_pods(lab, 1450).vms["vm-0"].mtu == path_overhead(encrypted=True).inner_mtu(1450) - 20


# --------------------------------------------------------------------------------------------------- files


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


# ------------------------------------------------------------------------------------------------- command


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


def test_pods_announce_their_metrics_where_a_port_is_asked_for(tmp_path):
    """By the annotations that a Prometheus in the cluster goes by; else there is no trace of it."""
    folders = {"with": ["--metrics-port", "9464"], "without": []}
    for name, options in folders.items():
        folder = tmp_path / name
        words = ["export", "kubernetes", "two-vms", "--output", str(folder), *options]
        assert CliRunner().invoke(app, words).exit_code == 0
        for path in folder.glob("*.yaml"):
            text = path.read_text(encoding="utf-8")
            documents = list(yaml.safe_load_all(text))
            for document in documents:
                kubernetes_validate.validate(document, NEWEST, strict=True)
            template = documents[-1]["spec"]["template"]
            (container,) = template["spec"]["containers"]
            if not options:
                assert "prometheus" not in text
                assert "env" not in container
                continue
            assert template["metadata"]["annotations"] == {
                "prometheus.io/scrape": "true",
                "prometheus.io/port": "9464",
                "prometheus.io/path": "/metrics",
            }
            assert container["env"] == [{"name": "DTLS_EMU_METRICS", "value": "0.0.0.0:9464"}]


@pytest.mark.parametrize(
    "image",
    ["dtls-emu", "localhost/dtls-emu:latest", "registry.example:5000/a/b_c/d.e:1.0", f"a@sha256:{'0' * 64}"],
)
def test_an_images_name_is_as_runtimes_take_it(image):
    """The grammar is that of their own library."""
    assert check_image(image) == image


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


def test_the_command_warns_of_vms_that_share_a_namespace(tmp_path):
    """VMs of one container see each other without the card."""
    path = tmp_path / "crowded.yaml"
    path.write_text(small_lab(hosts=1, vms=2).model_dump_json(exclude_unset=True), encoding="utf-8")
    result = CliRunner().invoke(app, ["export", "compose", str(path), "--output", str(tmp_path / "out")])
    assert "vm-0, vm-1 share the network namespace of host-0" in result.output


def small_lab(name="small", hosts=2, vms=None, underlay="192.0.2.{}", host="host"):
    """A lab with so many hosts, and VMs on them in turn."""
    return Lab.model_validate(
        {
            "name": name,
            "virtual_networks": {"net": {"address_prefixes": ["10.0.0.0/24"], "vni": 1}},
            "hosts": {
                f"{host}-{number}": {"underlay": underlay.format(number + 1)} for number in range(hosts)
            },
            "vms": {
                f"vm-{number}": {
                    "host": f"{host}-{number % hosts}",
                    "virtual_network": "net",
                    "address": f"10.0.0.{number + 4}",
                }
                for number in range(vms or hosts)
            },
        }
    )
