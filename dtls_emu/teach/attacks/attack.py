"""What an attack is, and what comes of trying it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable

    from dtls_emu.lab.schema import Lab
    from dtls_emu.teach.attacks.scene import Scene
    from dtls_emu.teach.blocks import Block


__all__ = ["Attack", "Attempt", "Weakness"]


@dataclass(slots=True)
class Attempt:
    """What came of an attack.

    Fields:
        stopped: nothing that the attacker wanted has happened.
        by: the rule that stopped it, or what let it through, in a sentence.
        tried: what was done, with its bytes.
    """

    stopped: bool
    by: str
    tried: list[Block] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Weakness:
    """Settings under which an attack works.

    Fields:
        text: which, in words.
        weaken: a lab with these settings.
    """

    text: str
    weaken: Callable[[Lab], Lab]


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack.

    Fields:
        name: as it is asked for.
        summary: what the attacker wants and does, in a sentence.
        musts: numbers of the requirements (`tunnel/MUSTS.md`) that it is about.
        carry_out: tries it in a scene.
        works_under: says of a lab whether the attack is expected to work there.
        weakness: settings under which it works; None where there are none.
        strengthen: a lab in which it does not work, for one in which it does; None where it never works.
    """

    name: str
    summary: str
    musts: tuple[str, ...]
    carry_out: Callable[[Scene], Attempt]
    works_under: Callable[[Lab], bool]
    weakness: Weakness | None = None
    strengthen: Callable[[Lab], Lab] | None = None
