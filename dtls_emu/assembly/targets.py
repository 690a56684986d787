"""From words to what is merged into a lab document.

A target is a virtual network, a VM, an endpoint, a link by its hosts (``h1-h2`` for both directions, ``h1->h2`` for one),
``link_defaults`` or ``overrides``; a word is ``key=value``, in the lab file's spelling. A key without a value
is as the defaults say again. What is not named stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.assembly.lifecycle import consequences
from dtls_emu.errors import RunError
from dtls_emu.lab.problems import suggest
from dtls_emu.lab.reading import read_value


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


__all__ = ["Change", "parse_words", "plan_changes", "waiting_vms"]

_SECTIONS: Final = ("virtual_networks", "vms", "endpoints", "hosts")
_WHOLE: Final = ("link_defaults", "overrides")


@dataclass(frozen=True, slots=True)
class Change:
    """One thing in a lab document, and what is merged into it; see :func:`dtls_emu.assembly.lab_document.changed`."""

    path: tuple[str | int, ...]
    value: Any


def parse_words(words: Iterable[str]) -> dict[str, Any]:
    """``encryption.enabled=true loss=1%`` as it stands in a lab file: mappings by key, values as YAML reads them.

    Raises:
        RunError: a word is no assignment, sets what another one sets, or has a value that cannot be read.
    """
    values: dict[str, Any] = {}
    for word in words:
        key, found, text = word.partition("=")
        if not found or not all(key.split(".")):
            raise RunError(f"`{word}` is no assignment; write key=value, such as loss=1%")
        *outer, last = key.split(".")
        place = values
        for step in outer:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                raise RunError(f"`{word}`: `{step}` has a value already; write one of them")
        if last in place:
            raise RunError(f"`{word}`: `{key}` has a value already; write one of them")
        try:
            place[last] = read_value(text)
        except ValueError as error:
            raise RunError(f"`{word}`: {error}") from None
    if not values:
        raise RunError("nothing to set; write key=value, such as loss=1%")
    return values


def plan_changes(document: Mapping[str, Any], target: str, values: dict[str, Any]) -> list[Change]:
    """What has to be merged where.

    Args:
        document: the lab as it is.
        target: see above.
        values: by key.

    Raises:
        RunError: no such target, or the vendor would refuse the change.
    """
    if target in _WHOLE:
        return [Change((target,), values)]
    sections = [section for section in _SECTIONS if target in document.get(section, ())]
    if len(sections) > 1:
        raise RunError(f"`{target}` is in {' and in '.join(sections)}; write {sections[0]}.{target}")
    section, found, name = target.partition(".")
    if found and section in _SECTIONS and name in document.get(section, ()):
        return _entry_changes(document, section, name, values)
    if sections:
        return _entry_changes(document, sections[0], target, values)
    pairs = _hosts_of(document["hosts"], target)
    if len(pairs) != 1:
        raise RunError(_no_target(document, target, pairs))
    source, destination = pairs[0]
    return _link_changes(list(document.get("links", [])), source, destination, values, one_way="->" in target)


def waiting_vms(changes: Iterable[Change]) -> list[str]:
    """The VMs that are not encrypted before they are stopped and started, because of these changes."""
    return [
        str(change.path[1])
        for change in changes
        if change.path[0] == "vms" and change.value == {"restarted_since_encryption": False}
    ]


def _entry_changes(
    document: Mapping[str, Any], section: str, name: str, values: dict[str, Any]
) -> list[Change]:
    further = [Change(path, each) for path, each in consequences(document, section, name, values)]
    return [Change((section, name), values), *further]


def _link_changes(
    links: list[dict[str, Any]], source: str, destination: str, values: dict[str, Any], *, one_way: bool
) -> list[Change]:
    """Into the entry that is there; else a new one. What one direction has of its own is set there, too."""
    if one_way:
        head: dict[str, Any] = {"from": source, "to": destination}
        own = [index for index, link in enumerate(links) if _direction(link) == (source, destination)]
        overriding: list[tuple[int, dict[str, Any]]] = []
    else:
        head = {"between": [source, destination]}
        both = {source, destination}
        own = [index for index, link in enumerate(links) if set(link.get("between", ())) == both]
        overriding = [
            (index, {key: value for key, value in values.items() if key in link})
            for index, link in enumerate(links)
            if set(_direction(link)) == both
        ]
    changes = [Change(("links", index), part) for index, part in overriding if part]
    if own:
        return [Change(("links", own[0]), values), *changes]
    if not links:
        return [Change(("links",), [head | values])]
    return [*changes, Change(("links", len(links)), head | values)]


def _direction(link: Mapping[str, Any]) -> tuple[str, ...]:
    return (link["from"], link["to"]) if "from" in link else ()


def _hosts_of(hosts: Iterable[str], target: str) -> list[tuple[str, str]]:
    """The pairs of hosts that a link's name may mean; names of hosts may hold hyphens themselves."""
    names = set(hosts)
    if "->" in target:
        source, _, destination = target.partition("->")
        return [(source, destination)] if {source, destination} <= names else []
    steps = target.split("-")
    splits = (("-".join(steps[:at]), "-".join(steps[at:])) for at in range(1, len(steps)))
    return [pair for pair in splits if set(pair) <= names]


def _no_target(document: Mapping[str, Any], target: str, pairs: Sequence[tuple[str, str]]) -> str:
    if pairs:
        return f"`{target}` may mean several links; write {' or '.join('->'.join(pair) for pair in pairs)}"
    names = [*document["virtual_networks"], *document["vms"], *document.get("endpoints", ()), *_WHOLE]
    hosts = list(document["hosts"])
    link = f", or a link such as {hosts[0]}-{hosts[1]}" if len(hosts) > 1 else ""
    return f"nothing here is called `{target}`; {suggest(target, names)}{link}"
