"""Behaviour profiles: what the documents leave open or have changed over time, as named knobs.

A profile is data. The decision table (:mod:`dtls_emu.policy`) and the cards read it; a lab file may override
the knobs that are a card's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from dtls_emu.lab.endpoint_kinds import ENDPOINTS
from dtls_emu.lab.sizes import (
    CURRENT_SIZES,
    GA_2024_05_SIZES,
    GA_2024_07_SIZES,
    PREVIEW_2023_05_SIZES,
    PREVIEW_2023_07_SIZES,
    SizeRow,
)
from dtls_emu.vocabulary import (
    AcceleratedNetworking,
    EndpointKind,
    FirstPacket,
    FlowEncryption,
    Keying,
    Outcome,
    Verdict,
)


__all__ = ["PROFILES", "Profile"]


@dataclass(frozen=True, slots=True)
class Profile:
    """The knobs of one behaviour.

    Fields:
        name: as a lab file names it.
        summary: one line for people.
        sizes: rows of the size catalogue.
        fragments: what happens to an IP fragment between two encrypted networks, DROP or CLEAR.
        accelerated_networking: which of the vendor's texts says where accelerated networking can be on.
        drop_needs_feature: DropUnencrypted needs the subscription feature AllowDropUnecryptedVnet.
        restart_required: a VM that was not stopped and started since encryption was enabled is not encrypted.
        unsupported: kinds of endpoints that lose connectivity in an encrypted network; the vendor's texts on gateways
            and firewalls have changed.
        plain_peer: what happens under DropUnencrypted to a flow with a network without encryption, CLEAR or DROP. Not
            documented by the vendor.
        same_host: what happens under DropUnencrypted to a flow between two VMs of one host, CLEAR or DROP. Not
            documented by the vendor.
        mixed_enforcement: what becomes of what cannot be encrypted where only one of two networks drops unencrypted,
            DROP or CLEAR. Not documented by the vendor.
        card_missing: what happens to a flow whose VM could be encrypted but for its host's card, CLEAR or DROP. Not
            documented by the vendor.
        connected_group: whether flows between networks that a network manager's mesh joins are encrypted as over a
            peering, ENCRYPT, or pass in clear, CLEAR. Not documented by the vendor.
        incapable_code: the flow-log code of a flow that passes in clear for want of a VM that can be encrypted,
            NX_FALLBACK or NX_HW_NOT_SUPPORTED. Not documented by the vendor.
        first_packet: what happens to packets that arrive while their tunnel is being built.
        icmp_too_big: a packet that does not fit is answered by ICMP with the MTU that fits.
        replay_window: records that a window remembers, a multiple of 64.
        waiting_packets: most packets that wait for one tunnel.
        link_queue: most packets that wait for one link that has a `rate`.
        flow_table: most flows of one card, in each direction.
        flows_per_vm: most flows of one VM, in each direction; what is beyond is dropped.
        outer_dscp: DSCP of outer packets, 0 to 63, or "copy": that of the packet inside.
        keying: where the keys of tunnels come from.
        rekey_records: records under one key, at which nothing more is sealed with it.
        rekey_seconds: age of a key at which a fresh one is made; 0 for no such limit.
    """

    name: str
    summary: str
    sizes: tuple[SizeRow, ...]
    accelerated_networking: AcceleratedNetworking
    drop_needs_feature: bool
    restart_required: bool
    unsupported: frozenset[EndpointKind]
    fragments: Verdict
    plain_peer: Verdict
    same_host: Verdict
    mixed_enforcement: Verdict
    card_missing: Verdict
    connected_group: Verdict
    incapable_code: FlowEncryption
    first_packet: FirstPacket
    icmp_too_big: bool
    replay_window: int
    waiting_packets: int
    link_queue: int
    flow_table: int
    flows_per_vm: int
    outer_dscp: int | Literal["copy"]
    keying: Keying
    rekey_records: int
    rekey_seconds: float

    @property
    def outer_tos(self) -> tuple[int, int]:
        """Which bits of the inner type of service an outer packet has, and which it has besides.

        ECN is copied always (RFC 6040 4.1).
        """
        return (0xFF, 0) if self.outer_dscp == "copy" else (0x03, self.outer_dscp << 2)


_CURRENT: Final = Profile(
    name="current",
    summary="the newest documents: fragments dropped, v5 and newer D and E sizes",
    sizes=CURRENT_SIZES,
    accelerated_networking=AcceleratedNetworking.ANY,
    drop_needs_feature=True,  # overview since 2024-05: AllowUnencrypted is the only supported enforcement
    restart_required=True,  # overview since 2024-05
    # The newest list of scenarios; of containers and Gen8 hardware no text after the preview's speaks.
    unsupported=frozenset(kind for kind, row in ENDPOINTS.items() if row.outcome is Outcome.FAILS),
    fragments=Verdict.DROP,  # FAQ since 2025; the preview of 2023 sent them in clear
    plain_peer=Verdict.CLEAR,  # flow logs: NX covers an end that lacks encryption, NX_NOT_ACCEPTED needs both
    same_host=Verdict.CLEAR,  # flow logs: "by design"; nothing is on the wire
    mixed_enforcement=Verdict.DROP,  # flow logs: NX_FALLBACK needs Allow on both
    card_missing=Verdict.CLEAR,  # as what else cannot be encrypted
    connected_group=Verdict.ENCRYPT,  # a connected group does what a peering does
    incapable_code=FlowEncryption.NX_FALLBACK,  # the code of what was attempted and went in clear
    first_packet=FirstPacket.QUEUE,  # not documented; "minimal effect to an initial connection" fits best
    icmp_too_big=True,  # not documented; without it a TCP flow over too small a fabric never recovers
    replay_window=1024,  # RFC 6347 asks for 64; a burst of 64 rows over a reordering fabric needs more
    waiting_packets=512,  # a TCP initial window of ten from fifty flows that start together
    link_queue=1000,  # Linux's default txqueuelen
    flow_table=1_000_000,  # AccelNet's flow cache in card memory, and Azure's flow limit of a VM
    flows_per_vm=500_000,  # "Virtual machine network bandwidth": 500,000 inbound and 500,000 outbound flows
    # Not documented. RFC 2983's pipe model, as WireGuard and Linux's VXLAN have it: the class of a packet is the guest's
    # business and stays inside, where the fabric can neither read nor change it. "copy" tells the fabric, and takes
    # nothing back either.
    outer_dscp=0,
    keying=Keying.HANDSHAKE,
    rekey_records=23_726_566,  # 2^24.5, RFC 9325 4.4; Azure does not document its own
    rekey_seconds=0.0,
)

_GA_2024_07: Final = replace(
    _CURRENT,
    name="ga-2024-07",
    summary="the documents of 2024-07: AMD's v6 sizes, DNS private resolvers not supported",
    sizes=GA_2024_07_SIZES,
    fragments=Verdict.CLEAR,  # the FAQ until 2025: not offloaded, and not encrypted
)
_GA_2024_05: Final = replace(
    _GA_2024_07,
    name="ga-2024-05",
    summary="general availability: v4 and v5 sizes, AllowUnencrypted only, restart required",
    sizes=GA_2024_05_SIZES,
    unsupported=_CURRENT.unsupported - {EndpointKind.DNS_PRIVATE_RESOLVER},  # named from 2024-07 on
)
_PREVIEW_2023_07: Final = replace(
    _GA_2024_05,
    name="preview-2023-07",
    summary="the preview of 2023-07: v4 sizes, restart may be required",
    sizes=PREVIEW_2023_07_SIZES,
    drop_needs_feature=False,  # no longer described; the feature is of general availability
    restart_required=False,  # "may be required"
)
_PREVIEW_2023_05: Final = replace(
    _PREVIEW_2023_07,
    name="preview-2023-05",
    summary="the first preview: both enforcement modes, Fv2 among the sizes",
    sizes=PREVIEW_2023_05_SIZES,
)

PROFILES: Final[dict[str, Profile]] = {
    each.name: each for each in (_CURRENT, _GA_2024_07, _GA_2024_05, _PREVIEW_2023_07, _PREVIEW_2023_05)
}
