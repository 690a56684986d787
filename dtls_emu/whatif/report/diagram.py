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

MOST: Final = 12
"""Networks that are drawn."""

MOST_SPANS: Final = 6
LONGEST: Final = 26
"""Characters of a name."""

WIDTH: Final = 216
HEIGHT: Final = 66
BAR: Final = WIDTH - 24
MARGIN: Final = 20

LEGEND: Final = (
    (Fate.ENCRYPTED, "encrypted"),
    (Fate.CLEAR, "in clear"),
    (Fate.UNKNOWN, "not known"),
    (Fate.DENIED, "denied by a rule"),
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
    middle = [*_hub(shown, answer), *spans]
    around = [network for network in shown if network not in middle]
    nodes = _laid_out(middle, around, set(spans))
    edges = {
        pair: edge
        for pair, edge in answer.pairs.edges.items()
        if pair[0] != pair[1] and pair[0] in nodes and pair[1] in nodes
    }
    lines = [_line(nodes[first], nodes[second], edge) for (first, second), edge in edges.items()]
    of_spans = {second: edge for (_, second), edge in edges.items() if nodes[second].is_span}
    boxes = [
        _dot(name, node, of_spans.get(name)) if node.is_span else _box(name, node, answer)
        for name, node in nodes.items()
    ]
    labels = [
        _label(nodes[first], nodes[second], edge)
        for (first, second), edge in edges.items()
        if not nodes[second].is_span
    ]
    left, right = min(node.x for node in nodes.values()), max(node.x for node in nodes.values())
    top, bottom = min(node.y for node in nodes.values()), max(node.y for node in nodes.values())
    width, height = (
        right - left + WIDTH + 2 * MARGIN,
        bottom - top + HEIGHT + 2 * MARGIN + (24 if hidden else 0),
    )
    below = bottom + HEIGHT / 2 + MARGIN + 16
    more = (
        f'<text x="{(left + right) / 2:.0f}" y="{below:.0f}" class="small">and {hidden} more networks</text>'
        if hidden
        else ""
    )
    label = escape(_said(answer, len(shown) + hidden))
    box = f"{left - WIDTH / 2 - MARGIN:.0f} {top - HEIGHT / 2 - MARGIN:.0f} {width:.0f} {height:.0f}"
    return (
        f'<svg role="img" aria-label="{label}" viewBox="{box}" style="max-width: {width:.0f}px">'
        f"{''.join(lines)}{''.join(boxes)}{''.join(labels)}{more}</svg>"
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


def _laid_out(middle: list[str], around: list[str], spans: set[str]) -> dict[str, _Node]:
    """The middle at the origin, one below the other; the rest on an ellipse around it."""
    count = len(around)
    across = max(400.0 if middle else 230.0, 75.0 * count) if middle or count > 1 else 0.0
    down = max(165.0, 34.0 * count) if count > 2 or middle else 0.0
    nodes = {
        name: _Node(0, (number - (len(middle) - 1) / 2) * 110, name in spans)
        for number, name in enumerate(middle)
    }
    for number, name in enumerate(around):
        angle = 2 * pi * number / max(count, 1) + (pi if count == 2 else -pi / 2)
        nodes[name] = _Node(across * cos(angle), down * sin(angle), is_span=False)
    return nodes


def _line(one: _Node, other: _Node, edge: Edge) -> str:
    fates = [fate for fate, pairs in edge.fates.items() if pairs]
    kind = str(max(fates, key=lambda fate: _ORDER[fate])) if fates else "none"
    title = escape(f"{edge.route}: {_counts(edge) or 'no endpoints in the files'}")
    return (
        f'<g class="edge {kind}"><title>{title}</title>'
        f'<line x1="{one.x:.0f}" y1="{one.y:.0f}" x2="{other.x:.0f}" y2="{other.y:.0f}"/></g>'
    )


def _label(one: _Node, other: _Node, edge: Edge) -> str:
    x, y = (one.x + other.x) / 2, (one.y + other.y) / 2
    return f'<text x="{x:.0f}" y="{y - 6:.0f}" class="small">{escape(_counts(edge))}</text>'


def _counts(edge: Edge) -> str:
    fates = sorted((fate for fate, pairs in edge.fates.items() if pairs), key=lambda fate: _ORDER[fate])
    return " / ".join(f"{edge.fates[fate]:,} {_WORD[fate]}" for fate in fates)


_WORD: Final = {
    Fate.ENCRYPTED: "encrypted",
    Fate.CLEAR: "clear",
    Fate.UNKNOWN: "unknown",
    Fate.DENIED: "denied",
    Fate.DROPPED: "dropped",
    Fate.BROKEN: "broken",
}


def _dot(name: str, node: _Node, edge: Edge | None) -> str:
    counts = "" if edge is None else _counts(edge)
    return (
        f'<g class="span"><circle cx="{node.x:.0f}" cy="{node.y:.0f}" r="11"/>'
        f'<text x="{node.x:.0f}" y="{node.y + 28:.0f}" class="small">{escape(_short(name))}</text>'
        f'<text x="{node.x:.0f}" y="{node.y + 44:.0f}" class="small">{escape(counts)}</text></g>'
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
