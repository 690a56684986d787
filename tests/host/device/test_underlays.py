"""Names of hosts become addresses when a host starts, and are waited for a while."""

from __future__ import annotations

from typing import Any

import pytest

from dtls_emu.host.device.underlays import UnderlayError, with_underlays


LAB = {"hosts": {"h1": {"underlay": "192.0.2.1"}, "h2": {"underlay": "192.0.2.2"}}}


def test_names_of_hosts_become_addresses():
    """An address stays as it is; a host that is not named keeps the lab's."""
    document = with_underlays(LAB, {"h1": "pod-1.lab"}, look_up={"pod-1.lab": "10.244.0.7"}.__getitem__)
    assert document["hosts"] == {"h1": {"underlay": "10.244.0.7"}, "h2": {"underlay": "192.0.2.2"}}
    document = with_underlays(LAB, {"h2": "2001:DB8::1"})
    assert document["hosts"]["h2"] == {"underlay": "2001:db8::1"}
    assert LAB["hosts"]["h1"] == {"underlay": "192.0.2.1"}


def test_a_name_that_is_not_there_yet_is_looked_up_again():
    """Hosts of a cluster start in any order; after a while it is an error."""
    tries = []

    def look_up(name):
        tries.append(name)
        if len(tries) < 4:
            raise OSError(-2, "Name or service not known")
        return "10.244.0.7"

    slept: list[float] = []
    options: Any = {"look_up": look_up, "clock": lambda: sum(slept), "sleep": slept.append}
    assert with_underlays(LAB, {"h1": "pod-1"}, **options)["hosts"]["h1"]["underlay"] == "10.244.0.7"
    assert len(slept) == 3
    tries.clear()
    slept.clear()
    with pytest.raises(UnderlayError, match="no address for pod-1: Name or service not known"):
        with_underlays(LAB, {"h1": "pod-1"}, patience=1.0, **options)


def test_a_name_that_dns_cannot_have_is_no_traceback():
    """Its encoding fails before anybody is asked."""
    with pytest.raises(UnderlayError, match=r"no address for x+: "):
        with_underlays(LAB, {"h1": "x" * 300}, patience=0.0)


def test_localhost_is_found():
    """By the machine's own resolver; IPv4 before IPv6."""
    assert with_underlays(LAB, {"h1": "localhost"})["hosts"]["h1"]["underlay"] == "127.0.0.1"
