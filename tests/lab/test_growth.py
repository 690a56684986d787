"""Reading and checking a lab takes work in proportion to its length, right or wrong, up to stated bounds.

Counted in lines of Python that are carried out, so that it is the same on every machine.
"""

import sys

import pytest

from dtls_emu.errors import LabFileError
from dtls_emu.lab import compile_lab
from dtls_emu.lab.loader import parse_lab


NETWORK = "virtual_networks: {net: {vni: 1, address_prefixes: [10.0.0.0/8]}}\n"
HOST = "hosts: {host: {underlay: 192.0.2.1}}\n"
VM = "vms: {vm: {host: host, virtual_network: net, address: 10.0.0.4}}\n"


def prefixes(count, more=""):
    listed = ", ".join(f"10.{index >> 8}.{index & 255}.0/24" for index in range(count))
    return f"virtual_networks: {{net: {{vni: 1, address_prefixes: [{more}{listed}]}}}}\n{HOST}{VM}"


def vms(count, more=""):
    entries = (
        f"  vm-{index}: {{host: host, virtual_network: net, address: 10.1.{index >> 8}.{index & 255}{more}}}\n"
        for index in range(count)
    )
    return f"{NETWORK}{HOST}vms:\n{''.join(entries)}"


def mesh(peerings, prefix="10.{high}.{low}.0/24"):
    """Every network peered with every other."""
    count = int((2 * peerings) ** 0.5)
    lines = (
        f"  n{index}: {{vni: {index + 1}, address_prefixes: [{prefix.format(high=index >> 8, low=index & 255)}], "
        f"peerings: [{', '.join(f'n{peer}' for peer in range(index))}]}}\n"
        for index in range(count)
    )
    return f"virtual_networks:\n{''.join(lines)}{HOST}{VM.replace('net,', 'n0,')}"


def pairs(count):
    """Networks that may overlap, for only two of each are peered, and do."""
    lines = (
        f"  n{index}: {{vni: {index + 1}, address_prefixes: [10.{index % 2}.0.0/16], peerings: [n{index ^ 1}]}}\n"
        for index in range(count)
    )
    return f"virtual_networks:\n{''.join(lines)}{HOST}{VM.replace('net,', 'n0,')}"


def references(count):
    hosts = "".join(f"  h{index}: {{underlay: 192.1.{index >> 8}.{index & 255}}}\n" for index in range(count))
    return f"{NETWORK}hosts:\n{hosts}" + vms(count).partition(HOST)[2].replace("host: host", "host: hx")


SHAPES = {
    "keys": lambda count: "".join(f"key-{index}: 1\n" for index in range(count)),
    "keys written twice": lambda count: "key: 1\n" * count,
    "prefixes": prefixes,
    "prefixes inside another": lambda count: prefixes(count, "10.0.0.0/8, "),
    "VMs": vms,
    "VMs in many prefixes": lambda count: vms(count).replace(
        "[10.0.0.0/8]", prefixes(count).split("es: ")[1].split("}")[0]
    ),
    "VMs with a wrong key": lambda count: vms(count, ", mtuu: 1500"),
    "VMs of a size that is none": lambda count: vms(count, ", size: Standard_D4_s_v5"),
    "VMs on hosts that are not there": references,
    "a mesh": mesh,
    "a mesh of networks that overlap": lambda count: mesh(count, "10.0.0.0/24"),
    "pairs of networks": pairs,
    "aliases": lambda count: f"x-a: &a {{k: 1}}\n{NETWORK}{HOST}{VM}y: [{'*a, ' * count}]",
    "a bracket that is never closed": lambda count: "a: [\n" + "x,\n" * count + "b: 1",
    "an indentation that is wrong": lambda count: "a:\n" + "    b: 1\n" * count + "  c: 1\n",
}


def work(text):
    """How many lines of Python reading a lab, and compiling it when it is right, carries out."""
    count = 0

    def trace(_frame, event, _argument):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        compile_lab(parse_lab(text, "lab.yaml"))
    except LabFileError:
        pass
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_four_times_as_long_is_four_times_the_work(shape):
    """And not sixteen; from where suggestions and problems have reached their bounds."""
    work(shape(10))  # what is made once
    short, long = work(shape(300)), work(shape(1200))
    print(short, long, long / short)
    assert long <= 4.4 * short
