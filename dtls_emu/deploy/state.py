"""What a run is, on disk before it is: ``state.json`` in its folder, and a record of each thing that it made.

1. A run claims its name by making its folder: two cannot.
2. What is about to be made is written down first, then made, then its identity is added: the inode of a
   namespace, the process of a card. Each thing has a record of its own; see :mod:`dtls_emu.deploy.records`.
3. What is to go is undone first, then its record is removed, which needs no room. The state goes last, then the
   folder.

So whatever is killed at whatever moment, everything that a run made is recorded, and a few things more that it did
not come to make. To undo those is to find that they are not there. What has a recorded name and another identity
was made by somebody else since, and is left alone.

Files are replaced as a whole and synced, never changed in place. A file that has been damaged all the same, or that
another version has written, is refused for everything but :meth:`RunFolder.open` with ``damaged``: ending a run goes
by whatever of it can be read. Who works on a run holds a lock on its folder, which the kernel takes back when he
dies.

A host that was started by hand may have its control socket in such a folder. Without a state the folder is no
run, as long as somebody answers there, and nothing of it is touched.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from dtls_emu.deploy.errors import explained, refusal
from dtls_emu.deploy.reading import (
    STATE_FILE,
    RunState,
    boot_id,
    damaged_run,
    has_namespace,
    has_state,
    read_state,
    salvage,
)
from dtls_emu.deploy.records import (
    RECORDS,
    CardProcess,
    Folder,
    Interface,
    Keeper,
    Made,
    Namespace,
    encode_record,
    is_record,
    record_file,
    record_key,
)
from dtls_emu.errors import RunError
from dtls_emu.files.writing import commit, is_folder, is_socket, stage
from dtls_emu.host.control.client import is_served
from dtls_emu.paths import EVENTS_SUFFIX, RUNS, SOCKET_SUFFIX, as_given, hidden_runs, runs_directory


__all__ = [
    "RUNS",
    "CardProcess",
    "Folder",
    "Interface",
    "Keeper",
    "Made",
    "Namespace",
    "RunError",
    "RunFolder",
    "RunState",
    "boot_id",
    "explained",
    "has_namespace",
    "has_state",
    "no_such_run",
    "nothing_is_up",
    "read_state",
    "run_names",
    "salvage",
    "started_by_hand",
    "unreadable",
]

LOCK_PATIENCE: Final = 2.0
"""Seconds: a `set` is over in less, and whoever only looks at a run holds its lock for a moment."""

LOCK_POLL: Final = 0.05

NEW_STATE_FILE: Final = "state.json.new"
NEW_RECORD: Final = "new"
"""In the folder of records, until it has its name."""

RECORD_ROOM: Final = 1024
"""Bytes: more than the record of a card has."""


class RunFolder:
    """The folder of a run, locked by this process until :meth:`close`.

    Fields:
        run: name.
        path: of the folder.
        state: what is on disk; None before the first :meth:`write`.
        damage: what is wrong with it, a line each.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.run = path.name
        self.path = path
        self._descriptor = descriptor
        self.state: RunState | None = None
        self.damage: tuple[str, ...] = ()
        self._numbers: dict[str, int] = {}

    @classmethod
    def claim(cls, run: str, runs: Path | None = None) -> Self:
        """Make the folder of a new run.

        Raises:
            RunError: there is one, or it cannot be made.
        """
        runs = runs or runs_directory()
        path = runs / run
        while True:
            try:
                runs.mkdir(mode=0o700, exist_ok=True)
                path.mkdir(mode=0o700)
                folder = cls._locked(path)
            except FileNotFoundError:
                continue  # the last of the other runs has just taken the folder of all runs away
            except FileExistsError:
                raise _in_the_way(path) from None
            except OSError as error:
                with suppress(OSError):  # other runs are there
                    runs.rmdir()
                raise refusal(error, path) from error
            if folder is not None:
                return folder

    @classmethod
    def refuse_taken(cls, run: str, runs: Path) -> None:
        """Refuse a name that :meth:`claim` would refuse now.

        Raises:
            RunError: something of that name is there.
        """
        if os.path.lexists(runs / run):
            raise _in_the_way(runs / run)

    @classmethod
    def open(cls, run: str, runs: Path | None = None, *, damaged: bool = False) -> Self:
        """Open the folder of a run that there is.

        Args:
            run: its name.
            runs: folder of all runs; None for the one that this user has.
            damaged: take what can be read of it, to end it.

        Raises:
            RunError: there is none, another process works on it, it is damaged, or it is the folder of hosts
                that were started by hand.
        """
        runs = runs or runs_directory()
        if not _is_one_step(run):
            raise no_such_run(run, runs)
        by_hand = started_by_hand(runs / run)
        if by_hand:
            raise RunError(_not_a_run(run, by_hand))
        try:
            folder = cls._locked(runs / run)
        except FileNotFoundError:
            folder = None
        except OSError as error:
            raise refusal(error, runs / run) from error
        if folder is None:
            raise no_such_run(run, runs)
        folder.read()
        if folder.damage and not damaged:
            folder.close()
            raise damaged_run(folder.path, folder.damage)
        return folder

    @classmethod
    def _locked(cls, path: Path) -> Self | None:
        """The folder, locked; None when it was taken away while it was being locked."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
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

    def read(self) -> None:
        """Take what is on disk, as far as it can be read."""
        found = salvage(self.path)
        self.state, self.damage, self._numbers = found.state, found.damage, dict(found.numbers)

    @property
    def known(self) -> RunState:
        """What is on disk.

        Raises:
            RunError: nothing: the run's command was killed before it made anything.
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
        """Bring what is on disk to a state: records of new things first, then the state itself, then what is gone.

        To strike things out needs no room.

        Raises:
            RunError: something cannot be written. What was there before is there still.
        """
        before = self.state
        known = {} if before is None else {record_key(each): each for each in before.made}
        wanted = {record_key(each): each for each in state.made}
        if before is None:  # without it, what has records is no run
            self._write_header(state)
        for key, made in wanted.items():
            if made != known.get(key) or key not in self._numbers:
                self._write_record(key, encode_record(made, state.boot))
        if before is not None and before.header != state.header:
            self._write_header(state)
        for key in known.keys() - wanted.keys():
            self._remove_record(key)
        self.state = state

    @contextmanager
    def room(self, state: RunState | None = None) -> Iterator[None]:
        """Hold room for one :meth:`write` in the body, so that it fails before anything is done, if at all.

        Args:
            state: that will be written, where it has another lab; else one thing in it will be another.

        Raises:
            RunError: there is no room, or nothing can be written.
        """
        place = self.path / RECORDS
        new = place / NEW_RECORD if state is None else self.path / NEW_STATE_FILE
        with explained(new):
            place.mkdir(mode=0o700, exist_ok=True)
            stage(new, bytes(RECORD_ROOM) if state is None else _encoded(state))
        try:
            yield
        finally:
            with suppress(OSError):
                new.unlink(missing_ok=True)  # when it was not needed

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
        """Take the records, the state and the folder away; nothing that was made may be left.

        Sockets of hosts that were started by hand and have been killed go with it; for one that lives the folder
        stays.

        Raises:
            RunError: somebody put something into the folder.
        """
        assert self.state is None or not self.state.made
        with explained(self.path):
            self._remove_records()
            for name in (NEW_STATE_FILE, STATE_FILE):
                (self.path / name).unlink(missing_ok=True)
            sockets = [*self.path.glob(f"*{SOCKET_SUFFIX}"), *self.path.glob(f"*{EVENTS_SUFFIX}")]
            for path in sockets:
                if is_socket(path) and not _may_be_served(path):
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

    def _remove_records(self) -> None:
        place = self.path / RECORDS
        if not is_folder(place):
            place.unlink(missing_ok=True)
            return
        for path in place.iterdir():
            if path.name == NEW_RECORD or is_record(path.name):
                path.unlink()
        try:
            place.rmdir()
        except OSError as error:
            raise RunError(f"{place}: {error.strerror}; what is in it was not made by this run") from error

    def _write_header(self, state: RunState) -> None:
        new, path = self.path / NEW_STATE_FILE, self.path / STATE_FILE
        with explained(path):
            stage(new, _encoded(state))
            commit(new, path)

    def _write_record(self, key: str, data: bytes) -> None:
        # Its number is taken at once: what is written in part must be found by whoever removes the run.
        number = self._numbers.setdefault(key, max(self._numbers.values(), default=0) + 1)
        path = self.path / RECORDS / record_file(number, key)
        with explained(path):
            path.parent.mkdir(mode=0o700, exist_ok=True)
            stage(path.with_name(NEW_RECORD), data)
            commit(path.with_name(NEW_RECORD), path)

    def _remove_record(self, key: str) -> None:
        number = self._numbers.pop(key, None)
        if number is not None:  # else it is in a state of version 1
            path = self.path / RECORDS / record_file(number, key)
            with explained(path):
                path.unlink(missing_ok=True)


def started_by_hand(folder: Path) -> list[Path]:
    """The control sockets of hosts that were started by hand, not by `up`, and live: in a folder without a state."""
    try:
        if has_state(folder) or not is_folder(folder):
            return []
        return sorted(path for path in folder.rglob("*") if is_socket(path) and _may_be_served(path))
    except OSError:  # not ours to look at, or gone
        return []


def run_names(runs: Path | None = None) -> list[str]:
    """The runs that have a folder, in order of their names; one of hosts that were started by hand is none."""
    runs = runs or runs_directory()
    try:
        return sorted(path.name for path in runs.iterdir() if is_folder(path) and not started_by_hand(path))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unreadable(error, runs) from error


def unreadable(error: OSError, runs: Path) -> RunError:
    """Why the folder of runs cannot be read, and what to do."""
    return _no_folder(runs) if isinstance(error, NotADirectoryError) else refusal(error, runs)


def no_such_run(run: str, runs: Path | None = None) -> RunError:
    """What to raise for the name of a run that is none: it names those that are."""
    listed = ", ".join(run_names(runs))
    return RunError(f"there is no run `{run}`; " + (f"there is: {listed}" if listed else nothing_is_up()))


def nothing_is_up() -> str:
    """That there is no run of this user, and whether root may have one that is meant."""
    return "nothing is up" + (": a lab of root is, which needs sudo" if hidden_runs() else "")


def _encoded(state: RunState) -> bytes:
    return json.dumps(state.header, indent=1).encode()


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_one_step(name: str) -> bool:
    """Whether a name leads to something in the folder of runs, and nowhere else."""
    return name not in {"", ".", ".."} and "/" not in name and "\0" not in name


def _may_be_served(path: Path) -> bool:
    try:
        return is_served(path)
    except OSError:
        return True


def _in_the_way(path: Path) -> RunError:
    """Why a run of this name cannot be made."""
    by_hand = started_by_hand(path)
    if by_hand:
        return RunError(f"{_not_a_run(path.name, by_hand)}; choose another name with --name")
    for each in (path.parent, path):
        if not is_folder(each):
            return _no_folder(each)
    return RunError(
        f"there is a run `{path.name}` already; end it with `{as_given('down')} {path.name}`, or choose another "
        "name with --name"
    )


def _no_folder(path: Path) -> RunError:
    return RunError(f"{path} is in the way: it is no folder of runs; remove it")


def _not_a_run(name: str, by_hand: Sequence[Path]) -> str:
    return f"`{name}` is no run: at {', '.join(map(str, by_hand))} answers a host that was started by hand"
