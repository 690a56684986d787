"""Where hosts, cards, VMs and links are drawn: computed here, so that the browser only has to draw.

Hosts stand around an empty field, their cards towards it; every link is a curve inside the field. The field is convex,
a quadratic Bézier curve lies in the triangle of its three points, and all three are in the field: so no link crosses a
host, however many there are. Two arrangements are made, one for a wide screen and one for a narrow one.

Lengths are in units of the picture, which a browser scales; about a pixel on a projector.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import ceil
from typing import TYPE_CHECKING, Any, Final


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


__all__ = ["INTERNET", "Box", "arrange"]

INTERNET: Final = ""
"""The name of what is behind the gateway; no host has it."""

VM_WIDTH: Final = 116
VM_HEIGHT: Final = 44
CARD: Final = 40
"""Depth of a card."""

GAP: Final = 12
TITLE: Final = 30
MARGIN: Final = 16
FIELD: Final = 340
"""Least width of the field between two sides, so that a packet has somewhere to go."""

LEAST_HEIGHT: Final = 170

TWO_SIDES: Final = 6
"""Hosts that still stand on two sides only."""

INTERNET_SIZE: Final = (132.0, 46.0)

DOT_WIDTH: Final = 48
DOT_HEIGHT: Final = 22
DOT_TITLE: Final = 48
"""What a VM takes where there are many hosts, and the name of its host, which is larger there so that it can be read."""

LONG_SIDES: Final = 2
"""How many more of many hosts stand on a long side than on a short one."""

MANY: Final = 12
"""More hosts than this are drawn smaller."""

PULL: Final = 0.45
"""How far a link is drawn towards the middle of the field."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle: its upper left corner and its size."""

    x: float
    y: float
    width: float
    height: float

    def overlaps(self, other: Box) -> bool:
        """Whether they have more than an edge in common."""
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return {"x": self.x, "y": self.y, "width": self.width, "height": self.height}


def arrange(vms: Mapping[str, Sequence[str]], *, wide: bool, internet: bool) -> dict[str, Any]:
    """A picture of a lab, in JSON's types::

        {"width", "height", "small", "hosts": [{"name", box, "card": box, "port": [x, y], "vms": [{"name", box}]}],
         "links": [{"ends": [HOST, HOST], "from": [x, y], "by": [x, y], "to": [x, y]}]}

    A box is ``x``, ``y``, ``width`` and ``height``; a link goes from port to port, ``by`` the control point of its curve.

    Args:
        vms: names of the VMs of each host.
        wide: for a screen that is wider than high.
        internet: with what is behind the gateway, as a host of the name :data:`INTERNET`.
    """
    is_small = len(vms) > MANY
    sides = _sides(vms, wide=wide)
    if internet:
        sides["bottom" if wide else "right"].append(INTERNET)
    sizes = {name: _size(each, _side_of(sides, name), is_small=is_small) for name, each in vms.items()}
    sizes[INTERNET] = INTERNET_SIZE
    field = _field(sides, sizes)
    hosts = [
        each
        for side, names in sides.items()
        for each in _row(side, names, sizes, field, vms, is_small=is_small)
    ]
    ports = {each["name"]: each["port"] for each in hosts}
    width = field.x + field.width + max((sizes[name][0] + GAP for name in sides["right"]), default=0) + MARGIN
    height = (
        field.y + field.height + max((sizes[name][1] + GAP for name in sides["bottom"]), default=0) + MARGIN
    )
    centre = field.x + field.width / 2, field.y + field.height / 2
    return {
        "width": width,
        "height": height,
        "hosts": hosts,
        "small": is_small,
        "links": [_link(pair, ports, centre) for pair in combinations(ports, 2)],
    }


def _sides(vms: Mapping[str, Sequence[str]], *, wide: bool) -> dict[str, list[str]]:
    """Which hosts stand where: a few of them on two sides, each where there is more room; more on all four in turn."""
    order = ("left", "top", "right", "bottom") if wide else ("top", "right", "bottom", "left")
    sides: dict[str, list[str]] = {"left": [], "right": [], "top": [], "bottom": []}
    if len(vms) > TWO_SIDES:
        places = [
            side for side in order for _ in range(LONG_SIDES if (side in {"top", "bottom"}) is wide else 1)
        ]
        for number, name in enumerate(vms):
            sides[places[number * len(places) // len(vms)]].append(name)
        return sides
    taken = dict.fromkeys((order[0], order[2]), 0.0)
    axis = 1 if wide else 0
    for name, inside in vms.items():
        side = min(taken, key=lambda each: taken[each])
        sides[side].append(name)
        taken[side] += _size(inside, side, is_small=False)[axis]
    return sides


def _side_of(sides: Mapping[str, list[str]], name: str) -> str:
    return next(side for side, names in sides.items() if name in names)


def _columns(count: int, side: str) -> int:
    """VMs beside each other on a host, so that neither its side nor its depth gets long."""
    if side in {"left", "right"}:
        return 1 if count <= 3 else 2 if count <= 6 else 3
    return max(1, min(count, 2))


def _size(vms: Sequence[str], side: str, *, is_small: bool) -> tuple[float, float]:
    width, height = (DOT_WIDTH, DOT_HEIGHT) if is_small else (VM_WIDTH, VM_HEIGHT)
    columns = _columns(len(vms), side)
    rows = max(1, ceil(len(vms) / columns))
    inside = columns * (width + GAP) + GAP, rows * (height + GAP) + GAP
    if side in {"left", "right"}:
        return inside[0] + CARD, inside[1] + _title(is_small=is_small)
    return inside[0], inside[1] + _title(is_small=is_small) + CARD


def _title(*, is_small: bool) -> int:
    return DOT_TITLE if is_small else TITLE


def _field(sides: Mapping[str, list[str]], sizes: Mapping[str, tuple[float, float]]) -> Box:
    """As large as its longest sides need, each host a gap from the next."""
    across = max(sum(sizes[name][0] + 2 * GAP for name in sides[side]) for side in ("top", "bottom"))
    along = max(sum(sizes[name][1] + 2 * GAP for name in sides[side]) for side in ("left", "right"))
    left = max((sizes[name][0] + GAP for name in sides["left"]), default=0)
    top = max((sizes[name][1] + GAP for name in sides["top"]), default=0)
    is_wide = bool(sides["left"])
    return Box(
        MARGIN + left,
        MARGIN + top,
        max(across, FIELD if is_wide or sides["right"] else 0),
        max(along, FIELD if sides["top"] else 0, LEAST_HEIGHT),
    )


def _row(
    side: str,
    names: Sequence[str],
    sizes: Mapping[str, tuple[float, float]],
    field: Box,
    vms: Mapping[str, Sequence[str]],
    *,
    is_small: bool,
) -> list[dict[str, Any]]:
    """The hosts of one side, spread over its length."""
    axis = 1 if side in {"left", "right"} else 0
    length = (field.width, field.height)[axis]
    spare = length - sum(sizes[name][axis] for name in names)
    step = spare / max(len(names), 1)
    at = (field.x, field.y)[axis] + step / 2
    found = []
    for name in names:
        width, height = sizes[name]
        x, y = {
            "left": (field.x - GAP - width, at),
            "right": (field.x + field.width + GAP, at),
            "top": (at, field.y - GAP - height),
            "bottom": (at, field.y + field.height + GAP),
        }[side]
        found.append(_host(name, Box(x, y, width, height), side, vms.get(name, ()), is_small=is_small))
        at += (width, height)[axis] + step
    return found


def _host(name: str, box: Box, side: str, vms: Sequence[str], *, is_small: bool) -> dict[str, Any]:
    right, bottom = box.x + box.width, box.y + box.height
    card = {
        "left": Box(right - CARD, box.y, CARD, box.height),
        "right": Box(box.x, box.y, CARD, box.height),
        "top": Box(box.x, bottom - CARD, box.width, CARD),
        "bottom": Box(box.x, box.y, box.width, CARD),
    }[side]
    port = {
        "left": [right, box.y + box.height / 2],
        "right": [box.x, box.y + box.height / 2],
        "top": [box.x + box.width / 2, bottom],
        "bottom": [box.x + box.width / 2, box.y],
    }[side]
    left = box.x + (CARD if side == "right" else 0)
    top = box.y + (CARD if side == "bottom" else 0)
    width, height = (DOT_WIDTH, DOT_HEIGHT) if is_small else (VM_WIDTH, VM_HEIGHT)
    title = _title(is_small=is_small)
    columns = _columns(len(vms), side)
    inside = [
        {
            "name": vm,
            **Box(
                left + GAP + at % columns * (width + GAP),
                top + title + at // columns * (height + GAP),
                width,
                height,
            ).as_dict(),
        }
        for at, vm in enumerate(vms)
    ]
    return {
        "name": name,
        "side": side,
        "title": [left + GAP, top + title - 10] if name else [box.x + box.width / 2, box.y + box.height / 2],
        **box.as_dict(),
        "card": card.as_dict(),
        "port": port,
        "vms": inside,
    }


def _link(
    ends: tuple[str, str], ports: Mapping[str, list[float]], centre: tuple[float, float]
) -> dict[str, Any]:
    start, stop = (ports[end] for end in ends)
    middle = [(a + b) / 2 for a, b in zip(start, stop, strict=True)]
    by = [a + PULL * (c - a) for a, c in zip(middle, centre, strict=True)]
    return {"ends": list(ends), "from": start, "by": by, "to": stop}
