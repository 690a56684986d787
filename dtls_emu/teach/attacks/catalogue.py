"""Every attack by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtls_emu.teach.attacks.attack import Attack, Weakness
from dtls_emu.teach.attacks.guests import lie_about_the_path, smuggle
from dtls_emu.teach.attacks.handshakes import (
    be_believed,
    downgrade,
    flood,
    impersonate_host,
    impersonate_region,
    strip,
)
from dtls_emu.teach.attacks.labs import (
    allows_unencrypted,
    drop_unencrypted,
    encrypts,
    pass_fragments,
    protects,
    remember_more,
    with_enforcement,
    with_null_backend,
    without_encryption,
)
from dtls_emu.teach.attacks.records import eavesdrop, forge, hold_back, replay, tamper
from dtls_emu.vocabulary import Enforcement, Verdict


if TYPE_CHECKING:
    from collections.abc import Callable

    from dtls_emu.lab.schema import Lab
    from dtls_emu.teach.attacks.scene import Scene


__all__ = ["ATTACKS", "SCENES"]

_IN_CLEAR: Final = Weakness("encryption is off", without_encryption)
_NO_CIPHER: Final = Weakness("the backend is `null`: a record's shape without a cipher", with_null_backend)


def _unprotected(lab: Lab) -> bool:
    return not protects(lab)


def _never(_lab: Lab) -> bool:
    return False


def _remembers_more(lab: Lab) -> bool:
    return not encrypts(lab) or (lab.overrides.replay_window or 0) > 1100


def _passes_fragments(lab: Lab) -> bool:
    return not encrypts(lab) or (lab.overrides.fragments is Verdict.CLEAR and allows_unencrypted(lab))


def _may_be_clear(lab: Lab) -> bool:
    return not encrypts(lab) or allows_unencrypted(lab)


def _in_clear(lab: Lab) -> bool:
    return not encrypts(lab)


_ALL: Final = (
    Attack(
        "eavesdrop",
        "Read what two VMs say to each other, from the fabric.",
        ("H2", "R4"),
        eavesdrop,
        _unprotected,
        _IN_CLEAR,
    ),
    Attack(
        "replay",
        "Send a record again, to have a packet delivered twice.",
        ("R12",),
        replay,
        _in_clear,
        _IN_CLEAR,
    ),
    Attack(
        "tamper",
        "Flip a bit of a packet on its way.",
        ("R3", "R11"),
        tamper,
        _unprotected,
        _NO_CIPHER,
    ),
    Attack(
        "forge",
        "Make up a record, to have a packet delivered that nobody has sent.",
        ("R11",),
        forge,
        _unprotected,
        _NO_CIPHER,
    ),
    Attack(
        "reorder",
        "Hold a record back and bring it long after its time.",
        ("R12", "R13"),
        hold_back,
        _remembers_more,
        Weakness("the replay window remembers more than what passed meanwhile", remember_more),
    ),
    Attack(
        "hello-flood",
        "Send ClientHellos from made-up ports, to fill a card's memory or have it send more than it gets.",
        ("H8",),
        flood,
        _never,
    ),
    Attack(
        "fragments",
        "Hide a packet's ports in fragments: first, middle, last, tiny, IPv6 extension headers.",
        ("P3",),
        smuggle,
        _passes_fragments,
        Weakness("fragments go in clear (`overrides: {fragments: clear}`, AllowUnencrypted)", pass_fragments),
    ),
    Attack(
        "mtu-lie",
        "Tell a VM by ICMP that the path is small, to slow it down.",
        ("P2",),
        lie_about_the_path,
        _never,
    ),
    Attack(
        "downgrade",
        "Change the hellos on their way, to have a weak cipher suite chosen.",
        ("H2",),
        downgrade,
        _never,
    ),
    Attack(
        "strip",
        "Swallow every handshake, to have packets sent in clear.",
        ("R17",),
        strip,
        _may_be_clear,
        Weakness("the networks have AllowUnencrypted", with_enforcement(Enforcement.ALLOW_UNENCRYPTED)),
        drop_unencrypted,
    ),
    Attack(
        "impersonate-ca",
        "Be the other end, with a certificate of an authority of one's own.",
        ("H7",),
        be_believed,
        _never,
    ),
    Attack(
        "impersonate-host",
        "Be the other end, with a good certificate of another host.",
        ("H7",),
        be_believed,
        _never,
    ),
)

ATTACKS: Final = {attack.name: attack for attack in _ALL}

SCENES: Final[dict[str, Callable[[Lab, tuple[str, str]], Scene]]] = {
    "impersonate-ca": impersonate_region,
    "impersonate-host": impersonate_host,
}
"""Of attacks that need a scene of their own."""
