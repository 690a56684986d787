"""``python -P -m dtls_emu.deploy.worker``: does one thing in the namespaces of a run, for :mod:`dtls_emu.deploy.inside`.

It ends when the process that has asked does, and undoes what it has made until then.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.deploy.changes import change_run
from dtls_emu.deploy.runs import make_run, restart_card
from dtls_emu.deploy.state import Keeper
from dtls_emu.errors import DtlsEmuError, LabFileError


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Say = Callable[[dict[str, Any]], None]


__all__ = ["main"]

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def main() -> int:
    """Read a request, do it, say how it went."""
    request = json.load(sys.stdin)
    say = _answers()
    signal.signal(signal.SIGTERM, _interrupt)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != request["parent"]:  # it has ended before that could be asked for
        return 1
    try:
        result = _TASKS[request["task"]](request["arguments"], request.get("leash"), say)
    except LabFileError as error:
        say({"problems": error.problems})
    except DtlsEmuError as error:
        say({"error": str(error)})
    except KeyboardInterrupt:
        say({"error": "interrupted"})
    else:
        say({"result": result})
    return 0


def _answers() -> Say:
    """What writes an answer to stdout; whatever else is printed goes to stderr from now on."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(answer: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):  # nobody hears it any more
            out.write(f"{json.dumps(answer)}\n")
            out.flush()

    return say


def _start(arguments: Mapping[str, Any], leash: int | None, say: Say) -> None:
    options = {**arguments}
    keeper, runs = Keeper.model_validate(options.pop("keeper")), Path(options.pop("runs"))
    assert leash is not None
    make_run(**options, keeper=keeper, leash=leash, runs=runs, report=lambda line: say({"line": line}))


def _restart(arguments: Mapping[str, Any], _leash: int | None, _say: Say) -> None:
    restart_card(arguments["run"], arguments["host"], runs=Path(arguments["runs"]))


def _change(arguments: Mapping[str, Any], _leash: int | None, _say: Say) -> list[dict[str, Any]]:
    changes = change_run(
        arguments["run"],
        arguments["target"],
        arguments["words"],
        put=arguments["put"],
        runs=Path(arguments["runs"]),
    )
    return [asdict(change) for change in changes]


_TASKS: Final[dict[str, Callable[[Mapping[str, Any], int | None, Say], Any]]] = {
    "start": _start,
    "restart": _restart,
    "change": _change,
}


def _interrupt(_number: int, _frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
