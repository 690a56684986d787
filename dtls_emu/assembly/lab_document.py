"""A lab as JSON, as a running host holds it: validated like a lab file, and changed one key at a time.

The traffic of a lab is left out: real guests make their own, and its captures are files of another machine.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from dtls_emu.errors import LabFileError
from dtls_emu.lab.checks import check_lab
from dtls_emu.lab.compiling import compile_lab
from dtls_emu.lab.explaining import explain
from dtls_emu.lab.problems import Problem, dotted
from dtls_emu.lab.profiles import Profile
from dtls_emu.lab.schema import Lab


if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtls_emu.lab.problems import KeyPath
    from dtls_emu.lab.topology import Topology


__all__ = ["changed", "check_document", "compile_document", "differences", "without_traffic"]

MAX_DEPTH: Final = 8
"""Steps of a path; a lab has four levels."""


def without_traffic(document: dict[str, Any]) -> dict[str, Any]:
    """A lab document without its traffic."""
    return {key: value for key, value in document.items() if key != "traffic"}


def check_document(document: dict[str, Any]) -> list[Problem]:
    """Everything that is wrong with a lab document."""
    return _validated(document)[1]


def compile_document(document: dict[str, Any], name: str = "lab") -> Topology:
    """Validate and compile a lab document.

    Raises:
        LabFileError: everything that is wrong with it, each line beginning with ``name``.
    """
    lab, problems = _validated(document)
    if lab is None:
        raise LabFileError([f"{name}: {dotted(each.path)}: {each.message}" for each in problems])
    return compile_lab(lab)


def changed(document: dict[str, Any], path: Sequence[str | int], value: Any) -> dict[str, Any]:
    """A copy of a lab document with one thing in it set; everything else is as it was.

    A mapping is merged into the one that is there, key by key. None takes a key, or an item of a list, away: it
    is as the defaults say again. Mappings on the way are made, and the index one past a list's end appends.

    Raises:
        LabFileError: the path leads nowhere.
    """
    copy = deepcopy(document)
    if not path or len(path) > MAX_DEPTH:
        raise LabFileError([f"a path has 1 to {MAX_DEPTH} steps; write one such as link_defaults, loss"])
    place: Any = copy
    for index, step in enumerate(path[:-1]):
        place = _step_into(place, tuple(path[: index + 1]), step)
    last = path[-1]
    _check_step(place, tuple(path), last)
    _set(place, last, value)
    return copy


def differences(old: Topology, new: Topology) -> list[str]:
    """What differs of the things that a running host cannot change: names, places and addresses."""
    found: list[str] = []
    for what, before, after in (
        ("hosts", old.hosts, new.hosts),
        ("VMs", old.vms, new.vms),
        ("virtual networks", old.networks, new.networks),
    ):
        if before.keys() != after.keys():
            found.append(f"the set of {what}")
    for name, fixed in (("hosts", _HOST_FIELDS), ("vms", _VM_FIELDS), ("networks", _NETWORK_FIELDS)):
        before, after = getattr(old, name), getattr(new, name)
        found += [
            f"{field} of {each}"
            for each in before.keys() & after.keys()
            for field in fixed
            if getattr(before[each], field) != getattr(after[each], field)
        ]
    knobs = (
        field.name
        for field in fields(Profile)
        if field.name not in _LIVE_KNOBS
        and getattr(old.profile, field.name) != getattr(new.profile, field.name)
    )
    return found + [f"{name} of the profile" for name in knobs]


_HOST_FIELDS: Final = ("underlay", "region", "backend")
_VM_FIELDS: Final = ("host", "network", "addresses", "mac", "mtu", "prefixes")
_NETWORK_FIELDS: Final = ("vni", "prefixes")
_LIVE_KNOBS: Final = (
    "accelerated_networking",
    "card_missing",
    "connected_group",
    "drop_needs_feature",
    "first_packet",
    "fragments",
    "icmp_too_big",
    "incapable_code",
    "mixed_enforcement",
    "outer_dscp",
    "plain_peer",
    "restart_required",
    "same_host",
    "unsupported",
)
"""Of the profile. The others are about what a card has made already."""


def _validated(document: dict[str, Any]) -> tuple[Lab | None, list[Problem]]:
    data = without_traffic(document)
    try:
        lab = Lab.model_validate(data, by_alias=True, by_name=False, context={"folder": Path()})
    except ValidationError as error:
        return None, explain(error, data)
    problems = check_lab(lab)
    return (None if problems else lab), problems


def _step_into(place: Any, path: KeyPath, step: str | int) -> Any:
    _check_step(place, path, step)
    if isinstance(place, dict):
        return place.setdefault(str(step), {})
    if step == len(place):
        place.append({})
    return place[step]


def _check_step(place: Any, path: KeyPath, step: str | int) -> None:
    """Refuse a step that the lab has no room for."""
    if isinstance(place, dict):
        is_there = isinstance(step, str)
    else:
        is_there = isinstance(place, list) and type(step) is int and 0 <= step <= len(place)
    if not is_there:
        raise LabFileError([f"lab: {dotted(path)}: leads nowhere; write keys, and positions in lists"])


def _set(place: Any, step: Any, value: Any) -> None:
    is_there = step in place if isinstance(place, dict) else step < len(place)
    if value is None:
        if is_there:
            del place[step]
    elif is_there:
        place[step] = _merged(place[step], value)
    elif isinstance(place, dict):
        place[step] = value
    else:
        place.append(value)


def _merged(current: Any, value: Any) -> Any:
    if not isinstance(current, dict) or not isinstance(value, dict):
        return value
    result = dict(current)
    for key, each in value.items():
        if each is None:
            result.pop(key, None)
        else:
            result[key] = _merged(current.get(key), each)
    return result
