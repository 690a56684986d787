"""Progress of long work, on stderr: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from dtls_emu.cli.streams import say


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.progress import Progress


__all__ = ["progress"]

LINE_EVERY_S: Final = 5.0
"""Between two lines where there is no terminal; work that is done sooner prints none."""


@contextmanager
def progress() -> Iterator[Progress]:
    """What to call with steps done, steps in all, and what is being done."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.BarColumn(),
        rich.TextColumn("{task.percentage:>3.0f} %"),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(
        *columns,
        rich.TextColumn("{task.description}", markup=False),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda done, total, what: bar.update(task, completed=done, total=total, description=what)


class _Lines:
    """Progress as plain lines."""

    def __init__(self) -> None:
        self._next = time.monotonic() + LINE_EVERY_S

    def __call__(self, done: int, total: int, what: str) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + LINE_EVERY_S
            say(f"{done * 100 // max(total, 1):3d} %  {what}", err=True)
