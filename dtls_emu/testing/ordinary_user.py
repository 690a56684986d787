"""A user who is not root, for tests that run as root: programs with another user's number, no groups, no capabilities.

He has a home, a runtime folder and a cache of his own, and sees the interpreter and the package even where a folder on
the way belongs to root alone: in a mount namespace such a folder is covered by one in which only they are. Where the
tests run as an ordinary user already, it is that one.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import dtls_emu
from dtls_emu.machine.tun import TUN
from dtls_emu.wire.kernel_cache import choose_cache


__all__ = ["OrdinaryUser", "why_no_user"]

NUMBER: Final = 65534
"""Of the user and the group: nobody's, on every system."""

PATIENCE: Final = 600.0
"""Seconds that nothing here takes unless it hangs: the very first card compiles its kernels."""


class OrdinaryUser:
    """The user, and how programs are run as he.

    Fields:
        home: his folder; everything of his is in it.
        number: his user number.
    """

    def __init__(self, home: Path) -> None:
        """
        Args:
            home: an empty folder, which everybody can get to.
        """
        self.home = home
        self.number = NUMBER if os.geteuid() == 0 else os.geteuid()
        home.chmod(0o755)
        for name in ("cache", "work"):
            (home / name).mkdir()
        self._take_kernels()
        self._own(home)
        self.runtime = self.new_runtime("run")

    def new_runtime(self, name: str) -> Path:
        """A runtime folder for XDG_RUNTIME_DIR, as a login makes one."""
        folder = self.home / name
        folder.mkdir(mode=0o700)
        self._own(folder)
        return folder

    @property
    def environment(self) -> dict[str, str]:
        """Of his programs."""
        kept = {key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL") if key in os.environ}
        return {
            **kept,
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "XDG_RUNTIME_DIR": str(self.runtime),
        }

    def command(self, *program: str, before: str = ":") -> list[str]:
        """The command that runs a program as this user.

        Args:
            program: with its arguments.
            before: a command for a shell, that root gives first in the mount namespace of the program.
        """
        if os.geteuid() != 0:
            return [*program]
        number = str(self.number)
        become = f"exec setpriv --reuid {number} --regid {number} --clear-groups"
        script = "\n".join((*_uncovered(), before, f'{become} "$@"'))
        return ["unshare", "--mount", "sh", "-ec", script, "sh", *program]

    def run(
        self, *program: str, before: str = ":", check: bool = True, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; its output is text.

        Args:
            program, before: as for :meth:`command`.
            check: fail when the program does.
            options: of ``subprocess.run``; what is in ``env`` is beside his own.
        """
        environment = self.environment | options.pop("env", {})
        settings: dict[str, Any] = {"cwd": self.home / "work", "stdin": subprocess.DEVNULL, **options}
        done = subprocess.run(  # noqa: S603 (a test's own words)
            self.command(*program, before=before),
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            **settings,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def _take_kernels(self) -> None:
        """Give him what this user has compiled: it is the same code, and compiling it takes a minute."""
        folder = choose_cache(make=False).folder
        if folder is not None and folder.is_dir():
            mine = self.home / "cache/dtls-emu/kernels" / folder.name
            shutil.copytree(folder, mine, copy_function=shutil.copyfile)

    def _own(self, folder: Path) -> None:
        if os.geteuid() == 0:
            for each in (folder, *folder.rglob("*")):
                os.chown(each, self.number, self.number, follow_symlinks=False)


def why_no_user(user: OrdinaryUser) -> str | None:
    """Why nothing can be tried as this user; None when it can: what is tried is to make namespaces, as `up` does."""
    if os.geteuid() == 0 and not _for_everybody(TUN):
        return f"{TUN} is not for everybody: sh .ci/open-tun gives it mode 0666, as udev does"
    try:
        done = user.run(
            sys.executable, "-P", "-m", "dtls_emu.machine.keeper", "0" * 32, "/nowhere", check=False
        )
    except OSError as error:
        return f"a program cannot be run as another user: {error}"
    if done.returncode == 0:
        return None
    said = (done.stdout + done.stderr).strip()
    return f"a user who is not root can make no namespaces here: {said}"


def _for_everybody(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return bool(mode & stat.S_IROTH and mode & stat.S_IWOTH)


def _uncovered() -> list[str]:
    """Commands for a shell: cover what only root may enter by a folder with nothing in it but what is needed."""
    needed = {Path(sys.base_prefix), Path(sys.prefix), Path(dtls_emu.__file__).parents[1]}
    closed: dict[Path, list[Path]] = {}
    for each in sorted(needed):
        first = next((place for place in (*reversed(each.parents), each) if not _is_open(place)), None)
        if first is not None:
            closed.setdefault(first, []).append(each)
    commands: list[str] = []
    for cover, inside in closed.items():
        stage = "/tmp"  # noqa: S108 (covered in this mount namespace only, and uncovered again)
        commands.append(f"mount -t tmpfs none {stage}")
        for number, each in enumerate(inside):
            commands.append(
                f"mkdir {stage}/{number}; mount --rbind {shlex.quote(str(each))} {stage}/{number}"
            )
        commands.append(f"mount -t tmpfs -o mode=0755 none {shlex.quote(str(cover))}")
        for number, each in enumerate(inside):
            place = shlex.quote(str(each))
            commands.append(f"mkdir -p {place}; mount --move {stage}/{number} {place}")
        commands.append(f"umount {stage}")
    return commands


def _is_open(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)
