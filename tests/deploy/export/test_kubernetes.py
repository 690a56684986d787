"""A lab as objects of a cluster: one pod for each host, with what is its own, and MTUs that fit."""

from __future__ import annotations

import base64
import json
import re
from ipaddress import ip_address
from itertools import permutations
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner

from dtls_emu.cli.app import app
from dtls_emu.deploy.export import (
    fit_to_pods,
    host_documents,
)
from dtls_emu.deploy.export.handout import USER
from dtls_emu.errors import LabFileError
from dtls_emu.lab import compile_lab, load_lab
from dtls_emu.wire.overhead import path_overhead


ROOT = Path(__file__).parents[3]
OLDEST, NEWEST = "1.25", kubernetes_validate.latest_version()


@pytest.fixture(scope="module")
def pods(lab, handouts):
    """The objects of each host, by kind."""
    return {
        each.host: {document["kind"]: document for document in host_documents(lab.name, each, image="image")}
        for each in handouts
    }


def pod_of(objects):
    return objects["Deployment"]["spec"]["template"]["spec"]


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
def test_a_namespace_of_the_cluster_is_refused(name, handed, small_lab):
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
        needed = overhead.path_mtu(vm.mtu)
        assert needed is not None
        assert needed <= 1450


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
    needed = path_overhead(encrypted=True).path_mtu(1280)
    assert needed is not None
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


def test_an_underlay_of_ipv6_costs_twenty_bytes_more(small_lab):
    """The overhead is that of the lab's own fabric."""
    lab = small_lab(underlay="fd00:1::{}")
    assert ip_address(str(lab.hosts["host-0"].underlay)).version == 6
    assert fit_to_pods(lab, 1450).vms["vm-0"].mtu == path_overhead(encrypted=True).inner_mtu(1450) - 20


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
