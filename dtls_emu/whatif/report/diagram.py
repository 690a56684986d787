"""The networks as an SVG picture: boxes for networks, lines for what joins them, coloured by what becomes of the pairs.

What joins many networks at once (a connected group, a firewall on the way) is a dot in the middle. Of many networks the
largest are drawn, and how many more there are is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from math import cos, pi, sin
from typing import TYPE_CHECKING, Final

from dtls_emu.whatif.answer.ruling import Fate


if TYPE_CHECKING:
    from dtls_emu.whatif.answer.answer import Answer
    from dtls_emu.whatif.answer.pairs import Edge


__all__ = ["LEGEND", "diagram"]

MOST: Final = 24
"""Networks that are drawn."""

MOST_SPANS: Final = 6
LONGEST: Final = 26
"""Characters of a name."""

WIDTH: Final = 216
HEIGHT: Final = 66
BAR: Final = WIDTH - 24

LEGEND: Final = (
    (Fate.ENCRYPTED, "encrypted"),
    (Fate.CLEAR, "in clear"),
    (Fate.UNKNOWN, "not known"),
    (Fate.DROPPED, "dropped"),
    (Fate.BROKEN, "broken"),
)
"""What is drawn, best first: each has a class of its own in the style sheet, and a pattern of its own."""

_ORDER: Final = {fate: number for number, fate in enumerate(Fate)}


@dataclass(frozen=True, slots=True)
class _Node:
    """Something at a place."""

    x: float
    y: float
    is_span: bool


def diagram(answer: Answer) -> str:
    """The picture, as an SVG element without colours of its own: the page's style sheet has them."""
    shown, hidden = _chosen(answer)
    spans = [
        span.route
        for span in answer.ways.spans
        if any((network, span.route) in answer.pairs.edges for network in shown)
    ][:MOST_SPANS]
    middle = [*spans, *(_hub(shown, answer) if not spans else [])]
    around = [network for network in shown if network not in middle]
    nodes, width, height = _laid_out(middle, around, set(spans))
    lines = [
        _line(nodes[first], nodes[second], edge)
        for (first, second), edge in answer.pairs.edges.items()
        if first != second and first in nodes and second in nodes
    ]
    boxes = [_dot(name, node) if node.is_span else _box(name, node, answer) for name, node in nodes.items()]
    more = (
        f'<text x="{width / 2:.0f}" y="{height - 12:.0f}" class="small">and {hidden} more networks</text>'
        if hidden
        else ""
    )
    label = escape(_said(answer, len(shown) + hidden))
    return (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {width:.0f} {height:.0f}">'
        f"{''.join(lines)}{''.join(boxes)}{more}</svg>"
    )


def _said(answer: Answer, count: int) -> str:
    totals = ", ".join(
        f"{answer.pairs.total(fate)} {word}" for fate, word in LEGEND if answer.pairs.total(fate)
    )
    return f"{count} virtual networks; pairs of endpoints: {totals or 'none'}"


def _chosen(answer: Answer) -> tuple[list[str], int]:
    """The networks that are drawn, and how many are not."""
    joined: dict[str, int] = {}
    for first, second in answer.ways.peered:
        joined[first] = joined.get(first, 0) + 1
        joined[second] = joined.get(second, 0) + 1
    counts = {
        network: (joined.get(network, 0) > 2, sum(each.count for each in cohorts.values()))
        for network, cohorts in answer.census.by_network.items()
    }
    order = sorted(counts, key=lambda network: counts[network], reverse=True)
    return order[:MOST], max(len(order) - MOST, 0)


def _hub(shown: list[str], answer: Answer) -> list[str]:
    """The network that most others are joined with, if it is one."""
    joined = dict.fromkeys(shown, 0)
    for pair in answer.ways.peered:
        for network in pair:
            if network in joined:
                joined[network] += 1
    most = max(joined.values(), default=0)
    found = [network for network, count in joined.items() if count == most]
    return found if most > 1 and len(found) == 1 else []


def _laid_out(middle: list[str], around: list[str], spans: set[str]) -> tuple[dict[str, _Node], float, float]:
    count = len(around)
    across = max(150.0, 62.0 * count) if middle or count > 1 else 0.0
    down = max(130.0, 30.0 * count) if count > 2 or middle else 0.0
    width, height = 2 * across + WIDTH + 40, 2 * down + HEIGHT + 90
    width = max(width, WIDTH + 40.0)
    nodes = {
        name: _Node(width / 2, height / 2 - 20 + (number - (len(middle) - 1) / 2) * 90, name in spans)
        for number, name in enumerate(middle)
    }
    for number, name in enumerate(around):
        angle = 2 * pi * number / max(count, 1) + (pi if count == 2 else -pi / 2)
        nodes[name] = _Node(
            width / 2 + across * cos(angle), height / 2 - 20 + down * sin(angle), is_span=False
        )
    return nodes, width, height


def _line(one: _Node, other: _Node, edge: Edge) -> str:
    fates = {fate: pairs for fate, pairs in edge.fates.items() if pairs}
    worst = max(fates, key=lambda fate: _ORDER[fate], default=None)
    kind = "none" if worst is None else str(worst)
    text = " / ".join(
        f"{pairs} {_WORD[fate]}" for fate, pairs in sorted(fates.items(), key=lambda item: _ORDER[item[0]])
    )
    title = escape(f"{edge.route}: {text or 'no endpoints in the files'}")
    x, y = (one.x + other.x) / 2, (one.y + other.y) / 2
    return (
        f'<g class="edge {kind}"><title>{title}</title>'
        f'<line x1="{one.x:.0f}" y1="{one.y:.0f}" x2="{other.x:.0f}" y2="{other.y:.0f}"/>'
        + (f'<text x="{x:.0f}" y="{y - 6:.0f}" class="small">{escape(text)}</text>' if text else "")
        + "</g>"
    )


_WORD: Final = {
    Fate.ENCRYPTED: "encrypted",
    Fate.CLEAR: "clear",
    Fate.UNKNOWN: "unknown",
    Fate.DENIED: "denied",
    Fate.DROPPED: "dropped",
    Fate.BROKEN: "broken",
}


def _dot(name: str, node: _Node) -> str:
    return (
        f'<g class="span"><circle cx="{node.x:.0f}" cy="{node.y:.0f}" r="11"/>'
        f'<text x="{node.x:.0f}" y="{node.y + 28:.0f}" class="small">{escape(_short(name))}</text></g>'
    )


def _box(network: str, node: _Node, answer: Answer) -> str:
    found, state = answer.estate.networks[network], answer.states[network]
    count = sum(each.count for each in answer.census.by_network[network].values())
    word = {True: "encrypted", False: "not encrypted", None: "encryption unknown"}[state.encrypted]
    drops = ", drops" if state.drops else ""
    left, top = node.x - WIDTH / 2, node.y - HEIGHT / 2
    kind = {True: "on", False: "off", None: "open"}[state.encrypted]
    about = (
        f"{count} endpoint{'' if count == 1 else 's'}, {word}{drops}"
        if found.declared
        else f"not in the files, {word}"
    )
    return (
        f'<g class="network {kind}"><title>{escape(found.name)}</title>'
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{WIDTH}" height="{HEIGHT}" rx="8"/>'
        f'<text x="{node.x:.0f}" y="{top + 22:.0f}" class="name">{escape(_short(found.name))}</text>'
        f'<text x="{node.x:.0f}" y="{top + 40:.0f}" class="small">{escape(about)}</text>'
        f"{_bar(answer.pairs.edges.get((network, network)), left + 12, top + 50)}</g>"
    )


def _bar(edge: Edge | None, left: float, top: float) -> str:
    """The pairs inside of a network, as a bar of shares."""
    fates = {} if edge is None else {fate: pairs for fate, pairs in edge.fates.items() if pairs}
    total = sum(fates.values())
    parts = []
    for fate in sorted(fates, key=lambda each: _ORDER[each]):
        share = BAR * fates[fate] / total
        title = f"within: {fates[fate]} {_WORD[fate]}"
        parts.append(
            f'<rect class="share {fate}" x="{left:.1f}" y="{top:.0f}" width="{share:.1f}" height="8">'
            f"<title>{escape(title)}</title></rect>"
        )
        left += share
    return "".join(parts)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
