"""What a run has made, one small file for each thing: ``/run/dtls-emu/<run>/made.d/000007-namespace-demo-vm-a.json``.

A file for each thing, so that one that is damaged takes no other with it, and that to strike a thing out is to
remove a file, which a full disk allows. The number is the order of making. The name of the file says what it is
about even when its content is gone; whatever can only be there once in a run's folder is known by that alone.

Nothing that is read here is believed further than the run itself goes: a folder or a socket outside of its folder,
and a namespace without its name in front, are nobody's to remove.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from dtls_emu.files.reading import read_file
from dtls_emu.lab.model import LabModel, check_name
from dtls_emu.paths import control_socket_in


__all__ = [
    "RECORDS",
    "CardProcess",
    "Folder",
    "Interface",
    "Keeper",
    "Made",
    "Namespace",
    "Record",
    "encode_record",
    "first_problem",
    "is_record",
    "keep_to_the_run",
    "parse_made",
    "read_records",
    "record_file",
    "record_key",
]

RECORDS: Final = "made.d"
"""The folder of the records. A dot is in no host's name, so it is no host's folder."""

RECORD_VERSION: Final = 1

MAX_RECORD: Final = 64 << 10
"""Bytes of a record: one is a few hundred."""

_FILE: Final = re.compile(r"(?P<number>\d{6,9})-(?P<key>(?P<kind>[a-z]+)-(?P<name>.+))\.json", re.ASCII)

NamespaceName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=2 * 63 + 1)]
"""Of a run and of a host or VM, with a hyphen between: nothing that could be a path."""

TOKEN: Final = r"^[0-9a-f]{32}$"  # noqa: S105 (no secret)

DeviceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=15)]


class Folder(LabModel):
    """A folder with everything in it."""

    kind: Literal["folder"] = "folder"
    path: Path


class Namespace(LabModel):
    """A named network namespace.

    Fields:
        name: in ``/run/netns``.
        inode: which it is, once it is made.
    """

    kind: Literal["namespace"] = "namespace"
    name: NamespaceName
    inode: Annotated[int, Field(ge=0, lt=1 << 64)] | None = None


class Interface(LabModel):
    """An interface in a namespace of the run: a TUN device, or one end of a cable, with which the other goes."""

    kind: Literal["interface"] = "interface"
    namespace: NamespaceName
    name: DeviceName


class CardProcess(LabModel):
    """The process of a host's card, and its control socket.

    Fields:
        host: in the lab.
        socket: its path.
        pid, started: which process it is, once it has been started; see
            :class:`~dtls_emu.machine.processes.ProcessId`.
        said: bytes of its log that earlier starts have written.
    """

    kind: Literal["card"] = "card"
    host: str
    socket: Path
    pid: Annotated[int, Field(gt=0, lt=1 << 31)] | None = None
    started: Annotated[int, Field(ge=0, lt=1 << 64)] | None = None
    said: Annotated[int, Field(ge=0, lt=1 << 63)] = 0


class Keeper(LabModel):
    """The process that keeps the user, mount and network namespace of a run of an ordinary user.

    Fields:
        token: of its namespaces, by which every process in them is known.
        pid, started: which process it is.
    """

    kind: Literal["keeper"] = "keeper"
    token: Annotated[str, Field(pattern=TOKEN)]
    pid: Annotated[int, Field(gt=0, lt=1 << 31)] | None = None
    started: Annotated[int, Field(ge=0, lt=1 << 64)] | None = None


Made = Folder | Namespace | Interface | CardProcess | Keeper
_MADE: Final[TypeAdapter[Made]] = TypeAdapter(Annotated[Made, Field(discriminator="kind")])


@dataclass(frozen=True, slots=True)
class Record:
    """One thing as its record tells of it.

    Fields:
        file: name of the record.
        number: order of making.
        key: kind and name of the thing.
        boot: of the machine when it was made; "" where that is not known.
        made: the thing; None where nothing can be done by what is left of the record.
        damage: what is wrong with the record; "" for a whole one.
    """

    file: str
    number: int
    key: str
    boot: str
    made: Made | None
    damage: str = ""


class _Envelope(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1]
    boot: str
    made: dict[str, Any]


def encode_record(made: Made, boot: str) -> bytes:
    """The content of a record."""
    document = {"version": RECORD_VERSION, "boot": boot, "made": made.model_dump(mode="json")}
    return json.dumps(document).encode() + b"\n"


def record_key(made: Made) -> str:
    """Kind and name of a thing, by which a run has it once."""
    match made:
        case Folder():
            return f"{made.kind}-{made.path.name}"
        case Namespace():
            return f"{made.kind}-{made.name}"
        case Interface():
            return f"{made.kind}-{made.name}@{made.namespace}"
        case CardProcess():
            return f"{made.kind}-{made.host}"
        case Keeper():
            return f"{made.kind}-{made.token}"


def record_file(number: int, key: str) -> str:
    """The name of a record."""
    return f"{number:06}-{key}.json"


def is_record(name: str) -> bool:
    """Whether a file of this name is a record."""
    return _FILE.fullmatch(name) is not None


def read_records(folder: Path) -> list[Record]:
    """The records in a run's folder, in order; none where none was made.

    Raises:
        OSError: the folder of records cannot be read.
    """
    place = folder / RECORDS
    try:
        names = [] if place.is_symlink() else [path.name for path in place.iterdir()]
    except FileNotFoundError:
        return []
    matches = sorted(filter(None, map(_FILE.fullmatch, names)), key=lambda each: int(each["number"]))
    return [record for match in matches if (record := _read(folder, match)) is not None]


def _read(folder: Path, file: re.Match[str]) -> Record | None:
    """One record; None when it has just been struck out."""
    boot, made, damage = "", None, ""
    try:
        content = _Envelope.model_validate_json(
            read_file(folder / RECORDS / file[0], MAX_RECORD, follow=False)
        )
        boot = content.boot
        made, damage = parse_made(content.made, folder)
        if made is not None and record_key(made) != file["key"]:
            made, damage = None, "is about something else than its name says"
    except FileNotFoundError:
        return None
    except OSError as error:
        damage = str(error.strerror)
    except ValidationError as error:
        damage = first_problem(error)
    if made is None:
        made = _by_name(file["kind"], file["name"], folder)
    return Record(file[0], int(file["number"]), file["key"], boot, made, damage)


def parse_made(document: Any, folder: Path) -> tuple[Made | None, str]:
    """A thing of a run from plain data, and what is wrong with it."""
    try:
        made = _MADE.validate_python(document)
    except ValidationError as error:
        return None, first_problem(error)
    except RecursionError:
        return None, "nested too deeply"
    return keep_to_the_run(made, folder)


def keep_to_the_run(made: Made, folder: Path) -> tuple[Made | None, str]:
    """As much of a thing as a run may have, and what it may not have.

    Args:
        made: what is written down.
        folder: of the run.
    """
    prefix = f"{folder.name}-"
    match made:
        case Folder() if _is_name(made.path.name) and made.path == folder / made.path.name:
            return made, ""
        case Namespace() if made.name.startswith(prefix):
            return made, ""
        case Interface() if made.namespace.startswith(prefix):
            return made, ""
        case Keeper():  # the token is random: nobody else's processes have it
            return made, ""
        case CardProcess() if _is_name(made.host):
            own = control_socket_in(folder, made.host)
            if made.socket == own:
                return made, ""
            # The process is known by its identity whatever is said of its socket.
            return made.model_copy(update={"socket": own}), "names a control socket that is not the run's"
    return None, "names something that is not the run's"


def first_problem(error: ValidationError) -> str:
    """The first of what a model complains of, as ``key: what is wrong``."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]


def _by_name(kind: str, name: str, folder: Path) -> Made | None:
    """What the name of a record alone tells: things that are there once, in the folder of the run."""
    if kind == "keeper" and re.fullmatch(TOKEN, name):
        return Keeper(token=name)
    if not _is_name(name):
        return None
    if kind == "folder":
        return Folder(path=folder / name)
    if kind == "card":  # without its process, which ends with the namespace that it is in
        return CardProcess(host=name, socket=control_socket_in(folder, name))
    return None


def _is_name(name: str) -> bool:
    try:
        check_name(name)
    except ValueError:
        return False
    return True
