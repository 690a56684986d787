"""What a run has made, on disk before it is made: ``/run/dtls-emu/<run>/state.json``.

1. A run claims its name by making its folder: two cannot.
2. What is about to be made is written down first, then made, then its identity is added: the inode of a
   namespace, the process of a card.
3. What is to go is undone first, then struck out. The file goes last, then the folder.

So whatever is killed at whatever moment, everything that a run made is in its file, and a few things more that
it did not come to make. To undo those is to find that they are not there. What has a recorded name and another
identity was made by somebody else since, and is left alone.

The file is replaced as a whole and synced, never changed in place. Who works on a run holds a lock on its
folder, which the kernel takes back when he dies.

A host that was started by hand may have its control socket in such a folder. Without a state the folder is no
run, as long as somebody answers there, and nothing of it is touched.
"""

import fcntl
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationError

from dtls_emu.errors import DtlsEmuError
from dtls_emu.host.control_client import is_served
from dtls_emu.host.run_directory import SOCKET_SUFFIX
from dtls_emu.lab.model import LabModel, Name


__all__ = [
    "RUNS",
    "CardProcess",
    "Folder",
    "Interface",
    "Made",
    "Namespace",
    "RunError",
    "RunFolder",
    "RunState",
    "boot_id",
    "no_such_run",
    "read_state",
    "require_root",
    "run_names",
    "started_by_hand",
]

RUNS: Final = Path("/run/dtls-emu")
"""The folders of root's runs; only root can make real hosts."""

LOCK_PATIENCE: Final = 2.0
"""Seconds: a `set` is over in less, and whoever only looks at a run holds its lock for a moment."""

LOCK_POLL: Final = 0.05

STATE_FILE: Final = "state.json"
NEW_STATE_FILE: Final = "state.json.new"


class RunError(DtlsEmuError):
    """A run cannot be made, changed or ended. Says why and what to do."""


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
    name: str
    inode: int | None = None


class Interface(LabModel):
    """An interface in a namespace of the run: a TUN device, or one end of a cable, with which the other goes."""

    kind: Literal["interface"] = "interface"
    namespace: str
    name: str


class CardProcess(LabModel):
    """The process of a host's card, and its control socket.

    Fields:
        host: in the lab.
        socket: its path.
        pid, started: which process it is, once it has been started; see
            :class:`~dtls_emu.host.processes.ProcessId`.
    """

    kind: Literal["card"] = "card"
    host: str
    socket: Path
    pid: int | None = None
    started: int | None = None


Made = Folder | Namespace | Interface | CardProcess


class RunState(LabModel):
    """A run.

    Fields:
        version: of this format.
        run: its name.
        boot: of the machine, since which numbers of processes and inodes mean anything.
        lab: the lab as it is now, changes by `set` included.
        encryption, backend, fast_path: as given to `up`.
        made: everything that was made or is about to be, in order.
    """

    version: Literal[1] = 1
    run: Name
    boot: str
    lab: dict[str, Any]
    encryption: Literal["on", "off"] = "on"
    backend: str | None = None
    fast_path: Literal["auto", "off"] = "auto"
    made: tuple[Annotated[Made, Field(discriminator="kind")], ...] = ()

    def of(self, kind: type[LabModel]) -> list[Any]:
        """What was made of one kind, in order."""
        return [each for each in self.made if isinstance(each, kind)]


class RunFolder:
    """The folder of a run, locked by this process until :meth:`close`.

    Fields:
        run: name.
        path: of the folder.
        state: what the file says; None before the first :meth:`write`.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.run = path.name
        self.path = path
        self._descriptor = descriptor
        self.state: RunState | None = None

    @classmethod
    def claim(cls, run: str, runs: Path = RUNS) -> Self:
        """Make the folder of a new run.

        Raises:
            RunError: there is one, or it cannot be made.
        """
        path = runs / run
        while True:
            try:
                runs.mkdir(mode=0o700, exist_ok=True)
                path.mkdir(mode=0o700)
                folder = cls._locked(path)
            except FileNotFoundError:
                continue  # the last of the other runs has just taken the folder of all runs away
            except FileExistsError:
                by_hand = started_by_hand(path)
                if by_hand:
                    raise RunError(f"{_not_a_run(run, by_hand)}; choose another name with --name") from None
                raise RunError(
                    f"there is a run `{run}` already; end it with `sudo dtls-emu down {run}`, or choose another "
                    "name with --name"
                ) from None
            except OSError as error:
                raise RunError(f"{path}: {error.strerror}") from error
            if folder is not None:
                return folder

    @classmethod
    def open(cls, run: str, runs: Path = RUNS) -> Self:
        """Open the folder of a run that there is.

        Raises:
            RunError: there is none, another process works on it, its file is not one of ours, or it is the
                folder of hosts that were started by hand.
        """
        by_hand = started_by_hand(runs / run)
        if by_hand:
            raise RunError(_not_a_run(run, by_hand))
        try:
            folder = cls._locked(runs / run)
        except FileNotFoundError:
            folder = None
        except OSError as error:
            raise RunError(f"{runs / run}: {error.strerror}") from error
        if folder is None:
            raise no_such_run(run, runs)
        try:
            folder.state = read_state(folder.path)
        except RunError:
            folder.close()
            raise
        return folder

    @classmethod
    def _locked(cls, path: Path) -> Self | None:
        """The folder, locked; None when it was taken away while it was being locked."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        deadline = time.monotonic() + LOCK_PATIENCE
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise RunError(f"another command is at work on the run `{path.name}`; wait for it to end")
            time.sleep(LOCK_POLL)
        if os.fstat(descriptor).st_nlink == 0:
            os.close(descriptor)
            return None
        return cls(path, descriptor)

    @property
    def known(self) -> RunState:
        """What the file says.

        Raises:
            RunError: there is none: the run's command was killed before it made anything.
        """
        if self.state is None:
            raise RunError(f"nothing of the run `{self.run}` was made; `dtls-emu down {self.run}` removes it")
        return self.state

    def close(self) -> None:
        """Let others work on the run. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, state: RunState) -> None:
        """Replace the file; when this returns, the new one survives whatever happens."""
        new = self.path / NEW_STATE_FILE
        text = json.dumps(state.model_dump(mode="json"), indent=1)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path / STATE_FILE)
        os.fsync(self._descriptor)
        self.state = state

    def add(self, *things: Made) -> None:
        """Write down what is about to be made."""
        state = self.known
        self.write(state.model_copy(update={"made": (*state.made, *things)}))

    def replace(self, before: Made, after: Made) -> None:
        """Write down more of one thing: its identity."""
        state = self.known
        made = tuple(after if each == before else each for each in state.made)
        self.write(state.model_copy(update={"made": made}))

    def strike(self, *things: Made) -> None:
        """Write down that things are gone."""
        state = self.known
        self.write(
            state.model_copy(update={"made": tuple(each for each in state.made if each not in things)})
        )

    def remove(self) -> None:
        """Take the file and the folder away; nothing that was made may be left.

        Sockets of hosts that were started by hand and have been killed go with it; for one that lives the folder
        stays.

        Raises:
            RunError: somebody put something into the folder.
        """
        assert self.state is None or not self.state.made
        for name in (NEW_STATE_FILE, STATE_FILE):
            (self.path / name).unlink(missing_ok=True)
        for path in self.path.glob(f"*{SOCKET_SUFFIX}"):
            if path.is_socket() and not _may_be_served(path):
                path.unlink()
        if started_by_hand(self.path):
            return
        try:
            self.path.rmdir()
        except OSError as error:
            raise RunError(
                f"{self.path}: {error.strerror}; what is in it was not made by this run"
            ) from error
        with suppress(OSError):  # other runs are there
            self.path.parent.rmdir()


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read_state(folder: Path) -> RunState | None:
    """What the file in a run's folder says, without a lock; None when there is none: nothing was made yet.

    Raises:
        RunError: it cannot be read, or is none of ours.
    """
    path = folder / STATE_FILE
    try:
        return RunState.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RunError(f"{path}: is no state file of this version: {where}: {first['msg']}") from error


def started_by_hand(folder: Path) -> list[Path]:
    """The control sockets of hosts that were started by hand, not by `up`, and live: in a folder without a state."""
    try:
        if (folder / STATE_FILE).exists():
            return []
        return sorted(path for path in folder.rglob("*") if path.is_socket() and _may_be_served(path))
    except OSError:  # not ours to look at, or gone
        return []


def _may_be_served(path: Path) -> bool:
    try:
        return is_served(path)
    except OSError:
        return True


def run_names(runs: Path = RUNS) -> list[str]:
    """The runs that have a folder, in order of their names; one of hosts that were started by hand is none."""
    try:
        return sorted(path.name for path in runs.iterdir() if path.is_dir() and not started_by_hand(path))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"{runs}: {error.strerror}; it needs root") from error


def boot_id() -> str:
    """Which boot of the machine this is."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def require_root() -> None:
    """Refuse what only root can do, before it is half done.

    Raises:
        RunError: not root.
    """
    if os.geteuid() != 0:
        raise RunError("namespaces and TUN devices need root: use sudo (`up --dry-run` only looks)")


def no_such_run(run: str, runs: Path = RUNS) -> RunError:
    """What to raise for the name of a run that is none: it names those that are."""
    listed = ", ".join(run_names(runs))
    return RunError(f"there is no run `{run}`; " + (f"there is: {listed}" if listed else "nothing is up"))


def _not_a_run(name: str, by_hand: Sequence[Path]) -> str:
    return f"`{name}` is no run: at {', '.join(map(str, by_hand))} answers a host that was started by hand"
