"""The network of an answer as a lab: "your network, emulated".

VMs of a network are spread over hosts in turn, so that two that are next to each other are never on one. For every outcome of the
answer the lab has a ping between two ends that it is about, and expects what the answer says: `dtls-emu run` shows
that the emulator does the same.
"""

from __future__ import annotations

import re
from contextlib import suppress
from ipaddress import ip_address
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import yaml

from dtls_emu.lab.endpoint_kinds import PLACEABLE, needs_capability
from dtls_emu.lab.prefixes import nested
from dtls_emu.lab.sizes import canonical_size, size_row
from dtls_emu.vocabulary import EndpointKind, Enforcement
from dtls_emu.whatif.answer.ends import WORKLOADS, is_capable
from dtls_emu.whatif.answer.question import QuestionError
from dtls_emu.whatif.answer.ruling import Fate, knobs_of, rule


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dtls_emu.lab.prefixes import Address, Prefix
    from dtls_emu.whatif.answer.answer import Answer
    from dtls_emu.whatif.answer.ends import End
    from dtls_emu.whatif.answer.pairs import PairGroup
    from dtls_emu.whatif.model.estate import Endpoint, Network


__all__ = ["as_lab"]

MAX_VMS: Final = 400
"""Guests of a lab that is written; of more, the first."""

MAX_INSTANCES: Final = 3
"""VMs that a scale set or node pool is written as."""

MAX_HOSTS: Final = 16
VMS_OF_A_HOST: Final = 4

MAX_PEERINGS: Final = 2000
"""Pairs of networks in connected groups that are written as peerings."""

MAX_TRAFFIC: Final = 40

FIRST_VNI: Final = 5001
RESERVED: Final = 4
"""The addresses at the start of a subnet that Azure keeps for itself ("Virtual network FAQ")."""

_VERDICTS: Final = {
    Fate.ENCRYPTED: "encrypt",
    Fate.CLEAR: "clear",
    Fate.DROPPED: "drop",
    Fate.BROKEN: "drop",
}


def as_lab(answer: Answer) -> tuple[str, tuple[str, ...]]:
    """A lab file, and what is not in it or otherwise than in the files.

    Raises:
        QuestionError: there is no VM that a lab could have.
    """
    writer = _Writer(answer)
    text = writer.text()
    if not writer.has_vms:
        why = "; ".join(writer.notes)
        raise QuestionError(
            f"no VM of these files can be placed in a lab, which needs one{f': {why}' if why else ''}"
        )
    return text, tuple(writer.notes)


class _Writer:
    """Names, places and addresses things."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.notes: list[str] = []
        self._taken: set[str] = set()
        self._networks = self._named_networks()
        self._addresses: dict[str, set[Address]] = {network: set() for network in self._networks}
        self._guests: dict[tuple[End, str], list[str]] = {}
        self._host_of: dict[str, str] = {}
        self._vms: dict[str, dict[str, Any]] = {}
        self._endpoints: dict[str, dict[str, Any]] = {}
        self._left_out: dict[str, int] = {}
        self._fixed = _fixed_addresses(answer)
        self._knobs = knobs_of(answer.question.behaviour)

    @property
    def has_vms(self) -> bool:
        """Whether there is what a lab needs."""
        return bool(self._vms)

    def text(self) -> str:
        """The lab file."""
        candidates = list(self._candidates())
        hosts = min(max(2, -(-len(candidates) // VMS_OF_A_HOST)), MAX_HOSTS)
        turns = {network: number for number, network in enumerate(self._networks)}
        for endpoint, label in candidates:
            self._place(endpoint, label, f"host-{turns[endpoint.network] % hosts + 1}")
            turns[endpoint.network] += 1
        networks = {
            name: self._network(self._answer.estate.networks[identity], number)
            for number, (identity, name) in enumerate(self._networks.items())
        }
        document = {
            "description": "Written by dtls-emu whatif: a network that somebody has, as it would be.",
            "profile": self._answer.question.profile,
            "virtual_networks": networks,
            "hosts": {f"host-{number}": {"underlay": f"192.0.2.{number}"} for number in range(1, hosts + 1)},
            "vms": self._vms,
            "endpoints": self._endpoints,
            "traffic": list(islice(self._traffic(), MAX_TRAFFIC)),
        }
        self._add_peerings(networks)
        if self._answer.pairs.total(Fate.DENIED):
            self.notes.append("security rules are left out: pairs that they deny reach each other in the lab")
        for why, count in self._left_out.items():
            self.notes.append(f"{count} left out: {why}")
        kept = {key: value for key, value in document.items() if value or key == "vms"}
        body = yaml.safe_dump(kept, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
        return f"# yaml-language-server: $schema=lab.schema.json\n{body}"

    # ------------------------------------------------------------------------------------------------ networks

    def _named_networks(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for network in self._answer.estate.networks.values():
            if not network.declared:
                continue
            if not _prefixes(network):
                self.notes.append(f"network {network.name} left out: its address prefixes are not known")
                continue
            found[network.id] = self._name(network.name)
        return found

    def _network(self, network: Network, number: int) -> dict[str, Any]:
        state = self._answer.states[network.id]
        written: dict[str, Any] = {
            "address_prefixes": [str(each) for each in _prefixes(network)],
            "vni": FIRST_VNI + number,
        }
        if state.encrypted:
            mode = Enforcement.DROP_UNENCRYPTED if state.drops else Enforcement.ALLOW_UNENCRYPTED
            written["encryption"] = {"enabled": True, "enforcement": str(mode)}
        elif state.encrypted is None:
            self.notes.append(
                f"network {network.name}: whether it is encrypted is not known; the lab has it off"
            )
        return written

    def _add_peerings(self, written: dict[str, dict[str, Any]]) -> None:
        pairs = [pair for pair in self._answer.ways.peered if all(each in self._networks for each in pair)]
        for span in self._answer.ways.spans:
            if span.is_detour:
                self.notes.append(
                    f"{span.route}: a lab has no such way; its networks do not reach each other there"
                )
                continue
            members = [each for each in sorted(span.networks) if each in self._networks]
            meshed = [(one, other) for index, one in enumerate(members) for other in members[index + 1 :]]
            if len(meshed) > MAX_PEERINGS:
                self.notes.append(
                    f"{span.route}: {len(members)} networks are too many to be written as peered"
                )
                continue
            self.notes.append(f"{span.route}: written as peerings")
            pairs += meshed
        for one, other in dict.fromkeys(pairs):
            first, second = self._networks[one], self._networks[other]
            written[first].setdefault("peerings", []).append(second)

    # -------------------------------------------------------------------------------------------------- guests

    def _candidates(self) -> Iterator[tuple[Endpoint, str]]:
        """Endpoints in the order in which they get hosts, each with its name in the lab."""
        placed = 0
        for endpoint in self._answer.estate.endpoints.values():
            if endpoint.network not in self._networks:
                continue
            instances = min(endpoint.count if endpoint.count is not None else 1, MAX_INSTANCES)
            if endpoint.count is None or endpoint.count > MAX_INSTANCES:
                said = "how many is not known" if endpoint.count is None else f"{endpoint.count} VMs"
                self.notes.append(f"{endpoint.name}: {said}; the lab has {instances}")
            for number in range(instances):
                placed += 1
                if placed > MAX_VMS:
                    self._leave_out(f"a lab that is written has at most {MAX_VMS} guests")
                    continue
                yield endpoint, endpoint.name if instances == 1 else f"{endpoint.name}-{number + 1}"

    def _place(self, endpoint: Endpoint, label: str, host: str) -> None:
        network = self._answer.estate.networks[endpoint.network]
        guest = self._guest(endpoint)
        if guest is None:
            return
        address = self._address(endpoint, network)
        if address is None:
            self._leave_out("no IPv4 address is left for them in their subnet")
            return
        name = self._name(label)
        written = {
            "host": host,
            "virtual_network": self._networks[endpoint.network],
            "address": str(address),
            **guest,
        }
        (self._vms if endpoint.kind is EndpointKind.VM else self._endpoints)[name] = written
        self._host_of[name] = host
        end = self._answer.census.ends[endpoint.id]
        self._guests.setdefault((end, endpoint.network), []).append(name)

    def _guest(self, endpoint: Endpoint) -> dict[str, Any] | None:
        """What is particular about it; None: a lab cannot say what it is."""
        profile = self._answer.question.behaviour
        capable = is_capable(endpoint, profile)
        if endpoint.kind is not EndpointKind.VM:
            if endpoint.kind not in PLACEABLE:
                self._leave_out(f"a lab does not place {endpoint.what}")
                return None
            if endpoint.kind in WORKLOADS and capable is not True:
                self._leave_out("a lab takes every pod for one that can be encrypted")
                return None
            if not needs_capability(endpoint.kind):
                return {"kind": str(endpoint.kind)}
            if capable is None:
                self._leave_out("whether what they run on can be encrypted is not known")
                return None
            return {"kind": str(endpoint.kind), "can_encrypt": capable}
        if capable is None or endpoint.accelerated is None:
            self._leave_out("their size, or whether accelerated networking is on, is not known")
            return None
        if endpoint.conditions:
            self._leave_out("the lab that they are from says that their host is not as it should be")
            return None
        was = self._answer.states[endpoint.network].was
        name = canonical_size(endpoint.size or "")
        size: Any = name if size_row(name) is not None and endpoint.can_encrypt is None else None
        return {
            "size": size or {"name": endpoint.size or "stated", "can_encrypt": capable},
            **({} if endpoint.accelerated else {"accelerated_networking": False}),
            **({"restarted_since_encryption": False} if was and endpoint.restarted is False else {}),
            **({"mtu": endpoint.mtu} if endpoint.mtu not in {None, 1500} else {}),
        }

    def _address(self, endpoint: Endpoint, network: Network) -> Address | None:
        taken = self._addresses[network.id]
        subnet = network.subnets.get(endpoint.subnet)
        prefixes = [
            each for each in (subnet.prefixes if subnet else ()) or network.prefixes if each.version == 4
        ]
        fixed = _fixed(endpoint, prefixes)
        free = (
            address
            for prefix in prefixes
            for address in _usable(prefix)
            if address not in taken and address not in self._fixed.get(network.id, ())
        )
        address = fixed if fixed is not None and fixed not in taken else next(free, None)
        if address is not None:
            taken.add(address)
        return address

    # ------------------------------------------------------------------------------------------------- traffic

    def _traffic(self) -> Iterator[dict[str, Any]]:
        """A ping for each outcome, between two ends that it is about and that are on two hosts."""
        for number, group in enumerate(self._answer.pairs.groups, 1):
            verdict = _VERDICTS.get(group.ruling.fate)
            pair = self._pair(group) if verdict is not None else None
            if pair is not None:
                row = group.ruling.row
                expect: dict[str, Any] = {"verdict": verdict}
                if row is not None and row.code is not None:
                    expect["encryption"] = str(row.code)
                name = self._name(f"{group.ruling.fate}-{number}")
                yield {
                    "name": name,
                    "kind": "ping",
                    "from": pair[0],
                    "to": pair[1],
                    "count": 3,
                    "expect": expect,
                }

    def _pair(self, group: PairGroup) -> tuple[str, str] | None:
        ways = self._answer.ways
        for first, one in sorted(group.firsts, key=self._order):
            for second, other in sorted(group.seconds, key=self._order):
                joined = one == other or (min(one, other), max(one, other)) in ways.peered
                if rule(first, second, self._knobs) != group.ruling:
                    continue  # the sides of a group are not all of its pairs
                if not joined and not any(
                    not span.is_detour and {one, other} <= span.networks for span in ways.spans
                ):
                    continue
                for source in self._guests.get((first, one), ()):
                    for target in self._guests.get((second, other), ()):
                        if self._host_of[source] != self._host_of[target]:
                            return source, target
        return None

    def _order(self, member: tuple[End, str]) -> tuple[str, str]:
        return member[1], member[0].label

    # ------------------------------------------------------------------------------------------------ the rest

    def _leave_out(self, why: str) -> None:
        self._left_out[why] = self._left_out.get(why, 0) + 1

    def _name(self, wanted: str) -> str:
        """A name of a lab, like the wanted one and used only once."""
        plain = re.sub(r"[^a-z0-9]+", "-", wanted.lower()).strip("-")[:48].strip("-")
        plain = plain if plain[:1].isalpha() else f"x-{plain}".rstrip("-")
        name, number = plain, 1
        while name in self._taken:
            number += 1
            name = f"{plain}-{number}"
        self._taken.add(name)
        return name


def _prefixes(network: Network) -> list[Prefix]:
    """Those with room in them that are in no other."""
    inside = {position for _, position in nested(network.prefixes)}
    return [each for position, each in enumerate(network.prefixes) if position not in inside]


def _usable(prefix: Prefix) -> Iterator[Address]:
    first = int(prefix.network_address) + RESERVED
    last = int(prefix.network_address) + prefix.num_addresses - 1
    kind = type(prefix.network_address)
    return (kind(number) for number in range(first, min(last, first + MAX_VMS * 2)))


def _fixed_addresses(answer: Answer) -> dict[str, set[Address]]:
    """By network, addresses that are somebody's already."""
    found: dict[str, set[Address]] = {}
    for each in answer.estate.endpoints.values():
        with suppress(ValueError):
            found.setdefault(each.network, set()).add(ip_address(each.address))
    return found


def _fixed(endpoint: Endpoint, prefixes: Sequence[Prefix]) -> Address | None:
    try:
        address = ip_address(endpoint.address)
    except ValueError:
        return None
    return address if any(address in prefix for prefix in prefixes) else None
