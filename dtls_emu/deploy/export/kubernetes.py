"""A lab as Kubernetes objects: each host is a Deployment of one pod, with a Service that gives it a name.

=============  ======================================================================================
Namespace      the lab's
ConfigMap      ``host.json``
Secret         the host's certificate and key and the CA certificates, mounted in this host's pod only
Service        headless: the host's name leads to the pod's own address, from the start
Deployment     one pod; the pods of a lab are spread over the nodes
=============  ======================================================================================

Source: the Kubernetes API, v1 and apps/v1. ``podman kube play`` takes the same. Because of its version 4.3,
volumes of different pods have different names, a secret says that it is not optional, and a pod does not list its
ports, which it would publish on the machine.
"""

from __future__ import annotations

import base64
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.deploy.export.handout import (
    CONFIG_FOLDER,
    GROUP,
    METRICS,
    PING_GROUPS,
    RUN_FOLDER,
    SECRETS_FOLDER,
    USER,
    check_image,
    lab_labels,
)
from dtls_emu.errors import LabFileError
from dtls_emu.host.config import CONFIG
from dtls_emu.lab.topology import DEFAULT_LINK_MTU
from dtls_emu.machine.linux import TUN_PATH
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.wire.overhead import IPV4_MINIMUM, IPV6_MINIMUM_MTU, path_overhead
from dtls_emu.wire.vxlan import VXLAN_PORT


if TYPE_CHECKING:
    from dtls_emu.deploy.export.handout import Handout
    from dtls_emu.lab import Lab


__all__ = ["POD_NETWORK_MTU", "fit_to_pods", "host_documents"]

POD_NETWORK_MTU: Final = 1450
"""Of a pod network that is itself a VXLAN over Ethernet, as those of Flannel and Calico are by default."""

RESERVED_NAMESPACES: Final = frozenset({"default"})
RESERVED_PREFIX: Final = "kube-"
"""Namespaces that a cluster keeps for itself, and the one that is for what has none."""

MIN_MTU: Final = {4: IPV4_MINIMUM, 6: IPV6_MINIMUM_MTU}
"""What a VM's network must carry, by IP version (RFC 791 3.1, RFC 8200 5)."""


def fit_to_pods(lab: Lab, mtu: int) -> Lab:
    """The same lab for a pod network of this MTU: links and VMs get no larger one than fits. Without its traffic.

    Args:
        lab: validated.
        mtu: largest IP packet between pods, in bytes.

    Raises:
        LabFileError: too little is left for a VM.
    """
    version = max(ip_address(str(host.underlay)).version for host in lab.hosts.values())
    inner = path_overhead(encrypted=True, underlay_version=version).inner_mtu(mtu)
    problems = [
        f"{lab.name}: vms.{name}: a pod network with an MTU of {mtu} leaves it {inner} bytes, and IPv{needed} needs "
        f"{MIN_MTU[needed]}; use a pod network with a larger MTU"
        for name, vm in lab.guests.items()
        if inner < MIN_MTU[needed := 4 if vm.address_v6 is None else 6]
    ]
    if problems:
        raise LabFileError(problems)
    default = lab.link_defaults.mtu or DEFAULT_LINK_MTU
    return lab.model_copy(
        update={
            "traffic": (),
            "link_defaults": lab.link_defaults.model_copy(update={"mtu": min(default, mtu)}),
            "links": tuple(
                link if link.mtu is None else link.model_copy(update={"mtu": min(link.mtu, mtu)})
                for link in lab.links
            ),
            **{
                section: {
                    name: each if each.mtu <= inner else each.model_copy(update={"mtu": inner})
                    for name, each in placed.items()
                }
                for section, placed in (("vms", lab.vms), ("endpoints", lab.endpoints))
            },
        }
    )


def host_documents(
    lab: str, handout: Handout, *, image: str, metrics_port: int | None = None
) -> list[dict[str, Any]]:
    """The objects of one host, in the order in which they are to be made.

    Args:
        lab: its name, which is the namespace's.
        handout: of the host.
        image: name of the container image.
        metrics_port: where it serves metrics, and its pod says so in the annotations that scrapers go by; None: nowhere.

    Raises:
        DtlsEmuError: no runtime takes the image's name.
        LabFileError: the lab's name is a namespace of the cluster's own.
    """
    if lab in RESERVED_NAMESPACES or lab.startswith(RESERVED_PREFIX):
        raise LabFileError([f"{lab}: name: the namespace `{lab}` belongs to the cluster; write another name"])
    host = handout.host
    labels = lab_labels(lab, host)
    place = {"namespace": lab, "labels": labels}
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            # NET_ADMIN and a device of the node are more than the two stricter Pod Security Standards allow.
            "metadata": {
                "name": lab,
                "labels": lab_labels(lab) | {"pod-security.kubernetes.io/enforce": "privileged"},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": _config_name(host), **place},
            "data": {CONFIG: handout.config},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": _secret_name(host), **place},
            "type": "Opaque",
            "data": {name: base64.b64encode(pem).decode() for name, pem in handout.credentials.items()},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": host, **place},
            "spec": {
                "clusterIP": "None",
                # A host that starts looks up all the others: none is ready before.
                "publishNotReadyAddresses": True,
                "selector": labels,
                "ports": [
                    {"name": "dtls", "port": TunnelSettings().port, "protocol": "UDP"},
                    {"name": "vxlan", "port": VXLAN_PORT, "protocol": "UDP"},
                ],
            },
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": host, **place},
            "spec": {
                "replicas": 1,
                # Two cards with one certificate and one address would be two hosts.
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels, **_annotations(metrics_port)},
                    "spec": _pod(lab, handout, check_image(image), metrics_port),
                },
            },
        },
    ]


def _annotations(metrics_port: int | None) -> dict[str, Any]:
    """By which a Prometheus in the cluster finds the pod, where it goes by annotations. Values are text."""
    if metrics_port is None:
        return {}
    return {
        "annotations": {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": str(metrics_port),
            "prometheus.io/path": "/metrics",
        }
    }


def _pod(lab: str, handout: Handout, image: str, metrics_port: int | None) -> dict[str, Any]:
    host = handout.host
    name, value = PING_GROUPS
    return {
        "hostname": host,
        "hostAliases": [{"ip": address, "hostnames": [vm]} for vm, address in handout.vms.items()],
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 10,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": GROUP,
            # Lets the user read the secret: mode 0600 becomes root's, and readable for this group.
            "fsGroup": USER,
            "sysctls": [{"name": name, "value": value}],
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": lab_labels(lab)},
            }
        ],
        "containers": [_container(host, image, metrics_port)],
        "volumes": [
            {"name": "tun", "hostPath": {"path": TUN_PATH, "type": "CharDevice"}},
            {"name": "config", "configMap": {"name": _config_name(host)}},
            {
                "name": "credentials",
                "secret": {"secretName": _secret_name(host), "defaultMode": 0o600, "optional": False},
            },
            {"name": host, "emptyDir": {"medium": "Memory"}},
        ],
    }


def _container(host: str, image: str, metrics_port: int | None) -> dict[str, Any]:
    # Where the pod is reached is known to the cluster alone, so it is served on all of its addresses.
    metrics = [] if metrics_port is None else [{"name": METRICS, "value": f"0.0.0.0:{metrics_port}"}]
    return {
        "name": "card",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        **({"env": metrics} if metrics else {}),
        "securityContext": {
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
            # A user who is not root has the capability through the program's file.
            "allowPrivilegeEscalation": True,
        },
        # The first start on another kind of CPU than the image was built on compiles all kernels.
        "startupProbe": _probe("ping", period=5, failures=60),
        "livenessProbe": _probe("ping", period=10, failures=3),
        "readinessProbe": _probe("ready", period=5, failures=1),
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
        "volumeMounts": [
            {"name": "tun", "mountPath": TUN_PATH},
            {"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True},
            {"name": "credentials", "mountPath": SECRETS_FOLDER, "readOnly": True},
            {"name": host, "mountPath": RUN_FOLDER},
        ],
    }


def _probe(question: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "exec": {"command": ["probe", question]},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


# A dot is in no host's name, so these are nobody else's names.


def _config_name(host: str) -> str:
    return f"{host}.config"


def _secret_name(host: str) -> str:
    return f"{host}.credentials"
