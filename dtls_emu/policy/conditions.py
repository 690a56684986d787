"""What the rows of the table ask of a flow, as bits of one number: so a decision is one look-up, however many rows.

:func:`conditions_of` compiles a flow and a profile to that number. Whoever knows the facts from elsewhere, without a lab
and its hosts, sets the bits itself and asks :func:`dtls_emu.policy.decide_conditions`.
"""

from __future__ import annotations

from enum import IntFlag
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from dtls_emu.vocabulary import FirstPacket, FlowEncryption, Outcome, Verdict


if TYPE_CHECKING:
    from dtls_emu.lab.profiles import Profile
    from dtls_emu.policy.facts import Endpoint, Flow


__all__ = ["Condition", "conditions_of", "conditions_of_profile", "drops_unencrypted"]


class Condition(IntFlag):
    """One thing that holds of a flow or of the profile it is decided under."""

    # Of the flow
    NO_ROUTE = 1 << 0  # no endpoint that the sender has a private route to, and no public address
    DENIED = 1 << 1  # a security rule denies it
    PUBLIC = 1 << 2  # the destination is a public address
    PLAIN_NETWORK = 1 << 3  # encryption is not enabled in the network of an end
    ENCRYPTED_NETWORK = 1 << 4  # encryption is enabled in the network of an end
    CLEAR_END = 1 << 5  # an end is of a kind that is never encrypted
    FAILING_END = 1 << 6  # an end is of a kind that loses connectivity
    SAME_HOST = 1 << 7  # both ends live on one host
    FRAGMENT = 1 << 8  # the packet is an IP fragment
    NOT_READY = 1 << 9  # the flow table of an end is not ready
    NO_DISCOVERY = 1 << 10  # the networking stack of an end does not support discovery
    NO_CARD = 1 << 11  # an end's size can encrypt, but its host's card is absent or faulty
    INCAPABLE = 1 << 12  # an end's size, accelerated networking or missing restart keeps it from encryption
    TUNNEL_FAILED = 1 << 13  # a tunnel was tried and did not come up
    TUNNEL_BUILDING = 1 << 14  # it is being built, and the packet does not wait for it
    DROPS = 1 << 15  # a network has DropUnencrypted; both, where the profile has `mixed_enforcement: clear`

    GROUP_IN_CLEAR = 1 << 22  # the ends are joined by a connected group, and `connected_group: clear`

    # Of the profile
    FRAGMENTS_PASS = 1 << 16  # `fragments: clear`
    FIRST_PACKETS_PASS = 1 << 17  # `first_packet: clear`
    PLAIN_PEERS_DROP = 1 << 18  # `plain_peer: drop`
    SAME_HOST_DROPS = 1 << 19  # `same_host: drop`
    MISSING_CARD_DROPS = 1 << 20  # `card_missing: drop`
    INCAPABLE_IS_HARDWARE = 1 << 21  # `incapable_code: NX_HW_NOT_SUPPORTED`


# As plain numbers: a flag's operators cost a microsecond each.
_NO_ROUTE: Final = int(Condition.NO_ROUTE)
_DENIED: Final = int(Condition.DENIED)
_PUBLIC: Final = int(Condition.PUBLIC)
_PLAIN_NETWORK: Final = int(Condition.PLAIN_NETWORK)
_ENCRYPTED_NETWORK: Final = int(Condition.ENCRYPTED_NETWORK)
_CLEAR_END: Final = int(Condition.CLEAR_END)
_FAILING_END: Final = int(Condition.FAILING_END)
_SAME_HOST: Final = int(Condition.SAME_HOST)
_FRAGMENT: Final = int(Condition.FRAGMENT)
_NOT_READY: Final = int(Condition.NOT_READY)
_NO_DISCOVERY: Final = int(Condition.NO_DISCOVERY)
_NO_CARD: Final = int(Condition.NO_CARD)
_INCAPABLE: Final = int(Condition.INCAPABLE)
_TUNNEL_FAILED: Final = int(Condition.TUNNEL_FAILED)
_TUNNEL_BUILDING: Final = int(Condition.TUNNEL_BUILDING)
_GROUP_IN_CLEAR: Final = int(Condition.GROUP_IN_CLEAR)
_DROPS: Final = int(Condition.DROPS)


def conditions_of(flow: Flow, profile: Profile) -> int:
    """What holds of a flow under a profile: :class:`Condition` bits, as a plain number."""
    source, destination = flow.source, flow.destination
    found = conditions_of_profile(profile)
    if flow.denied:
        found |= _DENIED
    if flow.fragment:
        found |= _FRAGMENT
    if flow.tunnel_failed:
        found |= _TUNNEL_FAILED
    if flow.tunnel_building:
        found |= _TUNNEL_BUILDING
    found |= _of_end(source)
    if destination is None:
        found |= _PUBLIC if flow.internet else _NO_ROUTE
        return found
    found |= _of_end(destination)
    if source.host.name == destination.host.name:
        found |= _SAME_HOST
    if profile.connected_group is Verdict.CLEAR and _is_joined(source, destination):
        found |= _GROUP_IN_CLEAR
    return found | _DROPS if drops_unencrypted(flow, profile) else found


def drops_unencrypted(flow: Flow, profile: Profile) -> bool:
    """Whether what cannot be encrypted is dropped: an end's network says so, or all do that are encrypted.

    Which of the two, is the profile's `mixed_enforcement`.
    """
    encrypted = [end for end in flow.ends if end.network.encrypted]
    told = [end.drops_unencrypted for end in encrypted]
    return any(told) if profile.mixed_enforcement is Verdict.DROP else bool(told) and all(told)


def _is_joined(source: Endpoint, destination: Endpoint) -> bool:
    one, other = source.network, destination.network
    return one.name != other.name and not one.groups.isdisjoint(other.groups)


def _of_end(end: Endpoint) -> int:
    vm = end.vm
    found = _ENCRYPTED_NETWORK if end.network.encrypted else _PLAIN_NETWORK
    if vm.outcome is not Outcome.AS_VM:
        found |= _FAILING_END if vm.outcome is Outcome.FAILS else _CLEAR_END
    if not vm.flow_table_ready:
        found |= _NOT_READY
    if not vm.discovery:
        found |= _NO_DISCOVERY
    if vm.size_capable and not end.host.smartnic_present:
        found |= _NO_CARD
    if not (vm.size_capable and vm.accelerated_networking and vm.restarted):
        found |= _INCAPABLE
    return found


@lru_cache(maxsize=64)
def _of_knobs(
    fragments: Verdict,
    first_packet: FirstPacket,
    plain_peer: Verdict,
    same_host: Verdict,
    card_missing: Verdict,
    incapable_code: FlowEncryption,
) -> int:
    return int(
        Condition.FRAGMENTS_PASS * (fragments is Verdict.CLEAR)
        | Condition.FIRST_PACKETS_PASS * (first_packet is FirstPacket.CLEAR)
        | Condition.PLAIN_PEERS_DROP * (plain_peer is Verdict.DROP)
        | Condition.SAME_HOST_DROPS * (same_host is Verdict.DROP)
        | Condition.MISSING_CARD_DROPS * (card_missing is Verdict.DROP)
        | Condition.INCAPABLE_IS_HARDWARE * (incapable_code is FlowEncryption.NX_HW_NOT_SUPPORTED)
    )


def conditions_of_profile(profile: Profile) -> int:
    """The bits that hold under a profile whatever the flow."""
    return _of_knobs(
        profile.fragments,
        profile.first_packet,
        profile.plain_peer,
        profile.same_host,
        profile.card_missing,
        profile.incapable_code,
    )
