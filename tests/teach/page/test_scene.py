"""Nothing in the picture lies over anything else, in whatever lab."""

from __future__ import annotations

from itertools import combinations

import pytest

from dtls_emu.lab import load_lab, shipped_labs
from dtls_emu.lab.compiling import compile_lab
from dtls_emu.teach.page.scene import Box, arrange


def box(each):
    return Box(each["x"], each["y"], each["width"], each["height"])


def inside(inner, outer):
    return (
        outer.x <= inner.x
        and outer.y <= inner.y
        and inner.x + inner.width <= outer.x + outer.width
        and inner.y + inner.height <= outer.y + outer.height
    )


def check(scene, vms):
    hosts = {host["name"]: host for host in scene["hosts"]}
    assert {name for name in hosts if name} == set(vms)
    whole = Box(0, 0, scene["width"], scene["height"])
    for host in hosts.values():
        assert inside(box(host), whole), host
        parts = [box(host["card"]), *(box(vm) for vm in host["vms"])] if host["name"] else []
        for part in parts:
            assert inside(part, box(host)), (part, host)
        for a, b in combinations(parts, 2):
            assert not a.overlaps(b), (a, b)
        if host["name"]:
            assert [vm["name"] for vm in host["vms"]] == list(vms[host["name"]])
    for a, b in combinations(hosts.values(), 2):
        assert not box(a).overlaps(box(b)), (a["name"], b["name"])
    assert len(scene["links"]) == len(hosts) * (len(hosts) - 1) // 2
    for link in scene["links"]:
        for host in hosts.values():
            assert not any(within(point, box(host)) for point in curve(link)), (link, host["name"])


def curve(link, steps=24):
    for step in range(1, steps):
        f = step / steps
        yield [
            (1 - f) ** 2 * a + 2 * f * (1 - f) * b + f**2 * c
            for a, b, c in zip(link["from"], link["by"], link["to"], strict=True)
        ]


def within(point, area):
    x, y = point
    return area.x < x < area.x + area.width and area.y < y < area.y + area.height


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("internet", [True, False])
@pytest.mark.parametrize("name", sorted(shipped_labs()))
def test_shipped_labs_have_room(name, wide, internet):
    """Hosts beside hosts, VMs and card in their host, links over none of them."""
    topology = compile_lab(load_lab(name))
    vms = {host: [vm.name for vm in topology.vms_on(host)] for host in topology.hosts}
    check(arrange(vms, wide=wide, internet=internet), vms)


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("hosts", [1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 31, 50])
def test_any_number_of_hosts_has_room(hosts, wide):
    """With no, few and many VMs on them."""
    vms = {f"host-{at}": [f"vm-{at}-{vm}" for vm in range(at % 7)] for at in range(hosts)}
    check(arrange(vms, wide=wide, internet=True), vms)


def test_fifty_hosts_are_on_a_picture_of_a_screen_s_shape():
    """Wide where the screen is, and not so large that names cannot be read."""
    vms = {f"host-{at}": ["a", "b"] for at in range(50)}
    wide, tall = (arrange(vms, wide=each, internet=False) for each in (True, False))
    assert 1.2 < wide["width"] / wide["height"] < 2.5
    assert tall["width"] < tall["height"]
    assert wide["small"]
