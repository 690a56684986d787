"""From a file, or the name of a shipped lab, to a validated lab; or to all that is wrong with it at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from dtls_emu.errors import LabFileError
from dtls_emu.files.reading import read_file
from dtls_emu.lab.checks import Declared, check_lab
from dtls_emu.lab.explaining import explain, without_consequences
from dtls_emu.lab.problems import Problem, suggest
from dtls_emu.lab.reading import MAX_BYTES, read_yaml
from dtls_emu.lab.schema import Lab


if TYPE_CHECKING:
    from dtls_emu.lab.problems import KeyPath


__all__ = ["load_lab", "parse_lab", "shipped_labs"]

EXAMPLES: Final = Path(__file__).with_name("examples")
SUFFIX: Final = ".yaml"

_SECTIONS: Final = ("virtual_networks", "hosts", "vms", "endpoints")


def load_lab(path_or_name: str | Path) -> Lab:
    """Read and validate a lab.

    Args:
        path_or_name: of a YAML file, or the name of a shipped lab. What holds no slash and no suffix, and is
            no file here, is a name.

    Raises:
        LabFileError: no such lab, or everything that is wrong with it, each with file, line and remedy.
    """
    path = Path(path_or_name)
    is_here = path.exists() and not path.is_dir()
    if path.name == str(path_or_name) and not path.suffix and not is_here:
        path = EXAMPLES / (path.name + SUFFIX)
        if path.name.removesuffix(SUFFIX) not in shipped_labs():
            raise LabFileError(
                [
                    f"{path_or_name}: no such file, and no shipped lab of that name; {suggest(path_or_name, shipped_labs())}"
                ]
            )
    try:
        text = read_file(path, MAX_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise LabFileError(
            [f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8"]
        ) from None
    except OSError as error:
        raise LabFileError(
            [f"{path}: cannot be read: {error.strerror}; write the path of a lab file"]
        ) from None
    return parse_lab(text, path)


def parse_lab(text: str, path: str | Path) -> Lab:
    """Validate the text of a lab file.

    Args:
        text: YAML.
        path: where it is from: for messages, for the lab's default name and for the captures it names.

    Raises:
        LabFileError: everything that is wrong with it.
    """
    path = Path(path)
    document = read_yaml(text, str(path))
    problems = [*document.problems]
    lab: Lab | None = None
    if isinstance(document.data, dict):
        data = {"name": _name_of(path), **document.data}
        lab = _validate(data, path, problems)
    else:
        problems.append(Problem((), "is no lab file; write a mapping with virtual_networks, hosts and vms"))
    if problems or lab is None:
        raise LabFileError(document.report(without_consequences(problems), path))
    return lab


def shipped_labs() -> tuple[str, ...]:
    """Names of the labs that come with the package."""
    return tuple(sorted(path.stem for path in EXAMPLES.glob(f"*{SUFFIX}")))


def _validate(data: dict[str, Any], path: Path, problems: list[Problem]) -> Lab | None:
    """Validate entry by entry, then between entries; with wrong entries left out, so that all is said at once."""
    declared = Declared(*(frozenset(_names(data, section)) for section in _SECTIONS))
    kept: dict[str, list[int]] = {}
    lab: Lab | None = None
    try:
        lab = _model(data, path)
    except ValidationError as error:
        found = explain(error, data)
        unread = {problem.path for problem in problems}
        problems += [problem for problem in found if problem.path not in unread]
        lab, kept = _rest(data, path, found)
    # Where a section cannot be made out, every reference to it would be wrong.
    if lab is not None and not any(
        problem.path in {(section,) for section in _SECTIONS} for problem in problems
    ):
        reported = {problem.path for problem in problems}
        between = [_relocated(problem, kept) for problem in check_lab(lab, declared)]
        problems += [problem for problem in between if problem.path not in reported]
    return lab


def _rest(
    data: dict[str, Any], path: Path, problems: list[Problem]
) -> tuple[Lab | None, dict[str, list[int]]]:
    """The lab without what is wrong, as little of it as can be; and which items of each list are left."""
    keys = _without(data, {problem.path[:3] for problem in problems if len(problem.path) != 2})
    try:
        return _model(keys, path), {}
    except ValidationError as error:
        wrong = {problem.path[:2] for problem in explain(error, keys)}
    kept = {
        section: [index for index in range(len(items)) if (section, index) not in wrong]
        for section, items in keys.items()
        if isinstance(items, list)
    }
    try:
        return _model(_without(keys, wrong), path), kept
    except ValidationError:
        return None, {}


def _relocated(problem: Problem, kept: dict[str, list[int]]) -> Problem:
    """A problem of a list from which items were left out, at its place in the file."""
    match problem.path:
        case (str(section), int(index), *rest) if section in kept:
            return replace(problem, path=(section, kept[section][index], *rest))
    return problem


def _model(data: dict[str, Any], path: Path) -> Lab:
    return Lab.model_validate(data, by_alias=True, by_name=False, context={"folder": path.parent})


def _names(data: dict[str, Any], section: str) -> list[str]:
    entries = data.get(section)
    return list(entries) if isinstance(entries, dict) else []


def _without(data: Any, wrong: set[KeyPath], path: KeyPath = ()) -> Any:
    """A copy without these paths."""
    if isinstance(data, dict):
        return {
            key: _without(value, wrong, (*path, key))
            for key, value in data.items()
            if (*path, key) not in wrong
        }
    if isinstance(data, list):
        return [
            _without(item, wrong, (*path, index))
            for index, item in enumerate(data)
            if (*path, index) not in wrong
        ]
    return data


def _name_of(path: Path) -> str:
    """A lab's default name, from its file's."""
    letters = "".join(
        letter if letter.isascii() and letter.isalnum() else "-" for letter in path.stem.lower()
    )
    name = letters.strip("-")[:63].strip("-")
    return name if name[:1].isalpha() else "lab"
