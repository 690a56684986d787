"""What is known of a run, read from its folder: ``state.json``, and the records of what it made.

What is read is bounded in size, of the right kind, and not believed further than it goes. Whatever is wrong with a
part of it is said, and the rest is known all the same.
"""

import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError

from dtls_emu.assembly.lab_document import check_document
from dtls_emu.deploy.records import RECORDS, Made, first_problem, parse_made, read_records, record_key
from dtls_emu.errors import RunError
from dtls_emu.files.limits import MAX_DOCUMENT
from dtls_emu.files.reading import read_file
from dtls_emu.lab.model import LabModel, Name
from dtls_emu.lab.problems import dotted
from dtls_emu.paths import as_given


__all__ = [
    "STATE_FILE",
    "RunState",
    "Salvage",
    "boot_id",
    "damaged_run",
    "has_state",
    "read_state",
    "salvage",
]

STATE_FILE: Final = "state.json"

VERSION: Final = 2
"""Of the state. In version 1 it held what was made as well."""


class RunState(LabModel):
    """A run.

    Fields:
        version: of this format.
        run: its name.
        boot: of the machine, since which numbers of processes and inodes mean anything.
        lab: the lab as it is now, changes by `set` included.
        encryption, backend, fast_path, flow_log: as given to `up`.
        made: everything that was made or is about to be, in order. On disk each has a record of its own.
    """

    version: Literal[1, 2] = VERSION
    run: Name
    boot: str
    lab: dict[str, Any]
    encryption: Literal["on", "off"] = "on"
    backend: str | None = None
    fast_path: Literal["auto", "off"] = "auto"
    flow_log: str | None = None
    made: tuple[Made, ...] = ()

    def of(self, kind: type[LabModel]) -> list[Any]:
        """What was made of one kind, in order."""
        return [each for each in self.made if isinstance(each, kind)]

    @property
    def header(self) -> dict[str, Any]:
        """What ``state.json`` holds."""
        left_out = {"made"} if self.flow_log else {"made", "flow_log"}  # older versions know no such key
        return self.model_dump(mode="json", exclude=left_out) | {"version": VERSION}


@dataclass(frozen=True, slots=True)
class Salvage:
    """What can be told of a run, however damaged.

    Fields:
        state: as far as it is known; None when nothing was made yet. The lab is empty where it is not known.
        damage: what is wrong, a line each; empty where everything is well.
        numbers: of the record of each thing, by its key.
    """

    state: RunState | None
    damage: tuple[str, ...] = ()
    numbers: Mapping[str, int] = field(default_factory=dict)


def salvage(folder: Path) -> Salvage:
    """What can be told of a run, however damaged, without a lock. Never raises."""
    path = folder / STATE_FILE
    header, document, damage = _read_header(path)
    try:
        records = read_records(folder)
    except OSError as error:
        records = []
        damage.append(f"{folder / RECORDS}: {error.strerror}")
    if not has_state(folder):
        return Salvage(None)
    boots = {record.boot for record in records if record.boot}
    fallback = boot_id() if boot_id() in boots else next(iter(boots), "")
    said = (document or {}).get("boot")
    boot = said if isinstance(said, str) else fallback

    made: dict[str, Made] = {}
    for thing, problem in _made_of_version_1(document, folder):
        if thing is not None:
            made[record_key(thing)] = thing
        damage += [f"{path}: made: {problem}"] if problem else []
    for record in records:
        problem = record.damage
        if record.made is not None:
            made[record.key] = record.made
        else:
            problem += "; what it is about is left as it is, unless it goes with something else of the run"
        damage += [f"{folder / RECORDS / record.file}: {problem}"] if problem else []

    state = header or RunState.model_construct(run=folder.name, boot=boot, lab={})
    numbers = {record.key: record.number for record in records}
    return Salvage(state.model_copy(update={"made": tuple(made.values())}), tuple(damage), numbers)


def read_state(folder: Path) -> RunState | None:
    """The state of a run, without a lock; None when there is none: nothing was made yet.

    Raises:
        RunError: it is damaged, or another version's; says what to do.
    """
    found = salvage(folder)
    if found.damage:
        raise damaged_run(folder, found.damage)
    return found.state


def has_state(folder: Path) -> bool:
    """Whether a run has written anything down in its folder."""
    return any(os.path.lexists(folder / name) for name in (STATE_FILE, RECORDS))


def has_namespace(folder: Path, name: str) -> bool:
    """Whether a run has made a network namespace of this name, by what can be read of it."""
    found = salvage(folder)
    made = () if found.state is None else found.state.made
    key = f"namespace-{name}"
    return key in found.numbers or key in map(record_key, made)


def boot_id() -> str:
    """Which boot of the machine this is."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _said(error: Exception) -> str:
    """What is wrong with JSON, where that is known."""
    return str(error) if isinstance(error, json.JSONDecodeError) else "not JSON that can be read"


def _read_header(path: Path) -> tuple[RunState | None, dict[str, Any] | None, list[str]]:
    """The state without what was made, the plain data of its file, and what is wrong with it."""
    try:
        document = json.loads(read_file(path, MAX_DOCUMENT, follow=False))
    except FileNotFoundError:
        return None, None, [f"{path}: is not there"]
    except OSError as error:
        return None, None, [f"{path}: {error.strerror}"]
    except (ValueError, RecursionError) as error:
        return None, None, [f"{path}: is damaged: {_said(error)}"]
    if not isinstance(document, dict):
        return None, None, [f"{path}: is damaged: not an object"]
    version = document.get("version")
    if type(version) is int and version > VERSION:
        newer = f"is of a newer dtls-emu (version {version}; this one knows {VERSION})"
        return None, document, [f"{path}: {newer}"]
    try:
        header = RunState.model_validate({key: document[key] for key in document.keys() - {"made"}})
    except ValidationError as error:
        return None, document, [f"{path}: is no state file of this version: {first_problem(error)}"]
    if header.run != path.parent.name:
        return None, document, [f"{path}: is the state of another run, `{header.run}`"]
    wrong = check_document(header.lab)
    if wrong:
        where = dotted(("lab", *wrong[0].path))
        return None, document, [f"{path}: holds no lab: {where}: {wrong[0].message}"]
    return header, document, []


def _made_of_version_1(document: dict[str, Any] | None, folder: Path) -> Iterator[tuple[Made | None, str]]:
    """What a state says of things itself."""
    listed = (document or {}).get("made", [])
    if not isinstance(listed, list):
        yield None, "is no list"
        return
    for each in listed:
        yield parse_made(each, folder)


def damaged_run(folder: Path, damage: Sequence[str]) -> RunError:
    """Why nothing is done with a run but to end it."""
    more = f" (and {len(damage) - 1} more)" if len(damage) > 1 else ""
    return RunError(
        f"{damage[0]}{more}; `{as_given('down')} {shlex.quote(folder.name)}` ends the run by what can be read of it"
    )
