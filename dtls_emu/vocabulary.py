"""The words that a lab file, the policy, the counters and every report share.

Spellings of :class:`Enforcement` are ARM's; those of :class:`FlowEncryption` are field 9 of a
virtual-network flow log's tuple (Azure, "Virtual network flow logs").
"""

from enum import StrEnum


__all__ = [
    "AcceleratedNetworking",
    "Basis",
    "DropReason",
    "EndpointKind",
    "Enforcement",
    "FirstPacket",
    "FlowEncryption",
    "FragmentShape",
    "Keying",
    "Outcome",
    "Verdict",
]


class AcceleratedNetworking(StrEnum):
    """Which of the vendor's texts says where accelerated networking can be on."""

    ANY = "any"  # none: what a lab says is taken as it is
    OF_2016 = "2016"
    OF_2022 = "2022"


class Basis(StrEnum):
    """How sure the source of a statement is."""

    DOC = "DOC"  # stated in the vendor's document
    EXC = "EXC"  # seen in an excerpt or a translation of it
    REP = "REP"  # reported by users, in a public issue of the vendor's or another project
    INF = "INF"  # inferred from documented text, which does not say it outright


class EndpointKind(StrEnum):
    """What a flow can end at; :mod:`dtls_emu.lab.endpoint_kinds` says of each what encryption means for it."""

    VM = "vm"
    VPN_GATEWAY = "vpn-gateway"
    EXPRESSROUTE_GATEWAY = "expressroute-gateway"
    VIRTUAL_WAN_HUB = "virtual-wan-hub"
    APPLICATION_GATEWAY = "application-gateway"
    FIREWALL_STANDARD = "firewall-standard"
    FIREWALL_PREMIUM = "firewall-premium"
    LOAD_BALANCER = "load-balancer"
    LOAD_BALANCER_MIXED = "load-balancer-mixed"
    LOAD_BALANCER_SECONDARY = "load-balancer-secondary"
    LOAD_BALANCER_GEN8 = "load-balancer-gen8"
    PRIVATE_ENDPOINT = "private-endpoint"
    PRIVATE_LINK_SERVICE = "private-link-service"
    PAAS = "paas"
    INJECTED_CONTAINER = "injected-container"
    AKS_CNI = "aks-cni"
    AKS_OVERLAY = "aks-overlay"
    AKS_KUBENET = "aks-kubenet"
    AKS_BYOCNI = "aks-byocni"
    AKS_POD_SUBNET = "aks-pod-subnet"
    AKS_API_SERVER = "aks-api-server"
    AKS_CONTROL_PLANE = "aks-control-plane"
    DNS_PRIVATE_RESOLVER = "dns-private-resolver"
    NAT_GATEWAY = "nat-gateway"
    DATA_GATEWAY = "data-gateway"
    DHCP_RELAY = "dhcp-relay"
    INTERNET = "internet"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """What encryption of its network means for an endpoint."""

    AS_VM = "as-vm"  # encrypted where its size, its card and its state allow it
    BY_SIZE = "by-size"  # encrypted where the VMs that it runs on can be; in clear otherwise
    BLOCKED_BY_SIZE = (
        "blocked-by-size"  # loses connectivity on sizes that can be encrypted; in clear on others
    )
    CLEAR = "clear"  # reachable, never encrypted
    FAILS = "fails"  # loses connectivity
    PUBLIC = "public"  # outside of the network: neither encrypted nor dropped


class Enforcement(StrEnum):
    """What a virtual network does with traffic that cannot be encrypted."""

    ALLOW_UNENCRYPTED = "AllowUnencrypted"
    DROP_UNENCRYPTED = "DropUnencrypted"


class FirstPacket(StrEnum):
    """What happens to packets that arrive while their tunnel is being built."""

    QUEUE = "queue"
    DROP = "drop"
    CLEAR = "clear"


class Keying(StrEnum):
    """Where the keys of a tunnel come from."""

    HANDSHAKE = "handshake"  # a DTLS handshake between the two hosts
    BROKER = "broker"  # one-time session keys that the lab's controller hands to both


class Verdict(StrEnum):
    """What the policy decides for a flow."""

    ENCRYPT = "encrypt"
    CLEAR = "clear"
    DROP = "drop"


class FlowEncryption(StrEnum):
    """The flow-log code of a flow (field 9 of its tuple)."""

    X = "X"
    NX = "NX"
    NX_HW_NOT_SUPPORTED = "NX_HW_NOT_SUPPORTED"
    NX_SW_NOT_READY = "NX_SW_NOT_READY"
    NX_NOT_ACCEPTED = "NX_NOT_ACCEPTED"
    NX_NOT_SUPPORTED = "NX_NOT_SUPPORTED"
    NX_LOCAL_DST = "NX_LOCAL_DST"
    NX_FALLBACK = "NX_FALLBACK"


class FragmentShape(StrEnum):
    """The shapes that an IP fragment comes in (RFC 791 3.2, RFC 8200 4.5)."""

    V4_FIRST = "v4-first"  # MF set, offset 0
    V4_MIDDLE = "v4-middle"  # MF set, offset above 0
    V4_LAST = "v4-last"  # MF clear, offset above 0
    V4_TINY = "v4-tiny"  # a first fragment too short for the ports (RFC 1858)
    V6_FRAGMENT = "v6-fragment"  # fragment header right after the IPv6 header
    V6_ATOMIC = "v6-atomic"  # fragment header, but offset 0 and M clear (RFC 6946)
    V6_HOP_BY_HOP = "v6-hop-by-hop"  # fragment header behind a hop-by-hop options header


class DropReason(StrEnum):
    """Why a packet, record or datagram was dropped. Each counter and each `expect` uses these words."""

    # From the guest, on its way out
    MALFORMED = "malformed"  # truncated headers, or lengths that contradict each other
    FRAGMENT = "fragment"  # an IP fragment on an encrypted flow
    TOO_BIG = "too_big"  # does not fit the path with its overhead
    TOO_BIG_NO_DF = "too_big_no_df"  # does not fit, IPv4 without DF: not cut, and no ICMP may be sent
    SPOOFED_SOURCE = "spoofed_source"  # a VM sends from an address that is not its own
    NO_ROUTE = "no_route"  # no private route between the ends
    DENIED = "denied"  # a security rule denies it
    UNSUPPORTED_END = "unsupported_end"  # an end that loses connectivity in an encrypted network
    NOT_ACCEPTED = "not_accepted"  # cannot be encrypted, and an end has DropUnencrypted
    SW_NOT_READY = "sw_not_ready"  # the flow table of an end is not ready (boot, servicing)
    NOT_SUPPORTED = "not_supported"  # the peer's stack has no discovery
    HW_NOT_SUPPORTED = "hw_not_supported"  # `card_missing: drop` and a host's card is absent or faulty
    FIRST_PACKET = "first_packet"  # `first_packet: drop` while the tunnel is built
    QUEUE_FULL = "queue_full"  # more waiting packets than the queue holds
    TUNNEL_DOWN = "tunnel_down"  # waited for a tunnel that did not come up
    FLOW_LIMIT = "flow_limit"  # `flows_per_vm`: more flows of one VM than it may have
    FLOW_TABLE_FULL = "flow_table_full"  # the card's limit of flows

    # On the fabric
    LOST = "lost"  # the link lost it, as its `loss` says
    LINK_MTU = "link_mtu"  # larger than the link's MTU; outer DF is set
    LINK_QUEUE = "link_queue"  # a `rate` is set and the link's queue was full
    SOCKET_BUFFER = "socket_buffer"  # the kernel's socket buffer was full
    NO_LINK = "no_link"  # nobody has that underlay address

    # From the fabric, on its way in
    BAD_DATAGRAM = "bad_datagram"  # neither a DTLS record nor VXLAN: too short, or a wrong length
    BAD_VERSION = "bad_version"  # a record of another protocol version
    OVERSIZE_RECORD = "oversize_record"  # larger than 2^14 + 2048 bytes
    UNKNOWN_PEER = "unknown_peer"  # from an address that is no host of the lab
    NO_ASSOCIATION = "no_association"  # a protected record that no association is up for
    WRONG_EPOCH = "wrong_epoch"  # plaintext after the handshake, or a future epoch
    REPLAYED = "replayed"  # that sequence number was delivered before
    LATE = "late"  # older than the replay window
    AUTH_FAILED = "auth_failed"  # the tag does not verify
    UNEXPECTED_CONTENT = "unexpected_content"  # authentic, but a content type nobody asked for
    HANDSHAKE_NOISE = "handshake_noise"  # alerts and junk in clear during a handshake
    HALF_OPEN_LIMIT = "half_open_limit"  # more unfinished handshakes than a card answers at once
    CLEAR_NOT_ACCEPTED = "clear_not_accepted"  # in clear, but its flow is an encrypted one
    CE_NOT_CAPABLE = (
        "ce_not_capable"  # marked CE on the fabric; the packet inside cannot say so (RFC 6040 4.2)
    )
    FOREIGN_SOURCE = "foreign_source"  # the inner source does not live behind that peer
    UNKNOWN_VNI = "unknown_vni"  # no such virtual network
    UNKNOWN_DESTINATION = "unknown_destination"  # no such VM on this host
