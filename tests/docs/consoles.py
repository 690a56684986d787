"""Console blocks of a document: what they say that one types and sees, run in a shell, and compared.

::

    ```console
    $ dtls-emu run two-vms
    two-vms: traffic, ...
    ```

A line behind ``$`` is a command; the lines below it are what it prints, both streams; ``...`` alone on a line stands
for some that are left out. A command without such lines
must succeed, and what it prints is not looked at. A comment before a block may say how it is run and compared::

    <!-- masked: figures -->                  only after these patterns have been put out of sight (:data:`MASKS`)
    <!-- run as: COLUMNS=100 dtls-emu ... --> its only command is run so
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


WIDTH = 80
"""Columns of a console block, unless a command sets others."""

PATIENCE = 540
"""Seconds for all blocks of a document: kernels may have to be compiled."""

MASKS = {
    "figures": [
        # A busy machine is said to be one.
        (
            re.compile(
                r"^(?:Busy machine|Busy hypervisor|Both processes share|Disturbed:)[^.]*(?:\.\d[^.]*)*\.(?:\s+Its\s+intervals\s+are\s+wide\.)?\n",
                re.MULTILINE | re.DOTALL,
            ),
            "",
        ),
        (re.compile(r"\d[\d,.]*(?<![,.])"), "N"),
        (re.compile(r"N\s+[mµn]?s\b"), "N s"),
        (re.compile(r"results/bench-\w+\.json"), "FILE"),
        (re.compile(r"\s+"), " "),
        # So is what it could not tell: too few rounds, or an interval that holds 1, or a cost that may be none.
        (re.compile(r"N\?"), "N"),
        (re.compile(r"n=N"), "N-N"),
        (re.compile(r"N %"), "N"),  # nothing lost is 0, and something a share
        (re.compile(r", which this run cannot tell from N,?"), ""),
        (re.compile(r"\((?:N rounds are|one round is) too few for an interval\)"), "(N-N)"),
        (
            re.compile(
                r"N \(N-N\) (of the plain path's packets|times (?:the CPU|what pyOpenSSL alone takes|that of plain))"
            ),
            r"N \1",
        ),
        (
            re.compile(
                r"(of the plain path's packets|times (?:the CPU|what pyOpenSSL alone takes|that of plain)) \(N-N\)"
            ),
            r"\1",
        ),
        (re.compile(r"N s \(of N: too few for an interval\)|less than this run can tell"), "N s"),
        (
            re.compile(
                r"Plain beside plain differs [^;]*; less than that cannot be told\.|With fewer than six rounds this run "
                r"does not tell noise from difference\."
            ),
            "NOISE",
        ),
        (re.compile(r"─+"), "─"),
        # Wide figures leave no room for columns that matter less.
        (re.compile(r"\(no room for: [^)]*\) ?"), ""),
        (re.compile(r"(?:\b(?:lost|noise|packets/s|µs/packet)\b|±) "), ""),
        (re.compile(r"N(?:-N)?(?: N(?:-N)?)+\b"), "N"),
    ],
}
"""What may differ from run to run, and what stands for it."""

PROGRESS = re.compile(r"^ {0,2}\d+ %  [a-z].*\n", re.MULTILINE)
"""Lines of a long command on its way, which are no part of what it says."""

BLOCK = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*) -->\n)?^```(?P<kind>[^\n]+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
END = "\x1e"


@dataclass(frozen=True)
class Step:
    """One command and what a document shows of its output, or None; or a file that the reader is to save."""

    command: str
    shown: str | None = None
    mask: str = ""
    file: str = ""


def steps(text: str) -> list[Step]:
    """The console blocks of a document, and its files (code blocks with a caption), in their order."""
    found: list[Step] = []
    for block in BLOCK.finditer(text):
        notes = dict(part.split(": ", 1) for part in (block["note"] or "").split("; ") if ": " in part)
        caption = re.match(r":caption: (\S+)\n\n", block["body"])
        if block["kind"] == "console":
            found += _commands(block["body"], notes)
        elif caption:
            found.append(Step(f"save {caption[1]}", block["body"][caption.end() :], file=caption[1]))
    return found


def _commands(body: str, notes: dict[str, str]) -> list[Step]:
    parts = re.split(r"^\$ (.*)\n", body, flags=re.MULTILINE)
    assert not parts[0], f"a console block begins with a command: {parts[0]!r}"
    pairs = list(zip(parts[1::2], parts[2::2], strict=True))
    assert len(pairs) == 1 or "run as" not in notes
    return [
        Step(notes.get("run as", command), shown or None, notes.get("masked", "")) for command, shown in pairs
    ]


def play(
    wanted: list[Step], folder: Path, environment: dict[str, str] | None = None
) -> list[tuple[Step, str, int]]:
    """Run commands one after the other in one shell. What each printed, and its exit status."""
    script = ["status=0"]
    for step in wanted:
        if step.file:
            (folder / step.file).write_text(step.shown or "")
            continue
        script.append(f'(exit $status); {{ {step.command}\n}} 2>&1; status=$?; printf "{END}$status{END}"')
    own = {
        name: value
        for name, value in os.environ.items()
        if name not in {"VIRTUAL_ENV", "NO_COLOR", "PYTHONHOME"}
    }
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env=own
        | {"COLUMNS": str(WIDTH), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    parts = done.stdout.split(END)
    commands = [step for step in wanted if not step.file]
    return [
        (step, output, int(status))
        for step, output, status in zip(commands, parts[0::2], parts[1::2], strict=False)
    ]


_PROGRESS = re.compile(r"\A(?: *\d+ %  .*\n)+")
"""What a command says of long work before its result; a slow machine makes any work long."""


def compare(played: list[tuple[Step, str, int]]) -> None:
    """Fail at the first command that did otherwise than its document says."""
    for step, output, status in played:
        if step.shown is None:
            assert status == 0, f"$ {step.command}\n{output}"
        else:
            assert agrees(step.shown, output, step.mask), f"$ {step.command}\n{output}\nand not\n{step.shown}"


def agrees(shown: str, output: str, mask: str = "") -> bool:
    """Whether an output is what is shown of it. A line ``...`` stands for lines that are left out."""
    first, *others = [masked(part, mask) for part in shown.split("\n...\n")]
    seen = masked(_PROGRESS.sub("", output), mask)
    if not others:
        return seen == first
    if not seen.startswith(first.rstrip()) or not seen.endswith(others[-1]):
        return False
    place = len(first.rstrip())
    for part in others:
        place = seen.find(part.strip(), place)
        if place < 0:
            return False
        place += len(part.strip())
    return True


def masked(output: str, mask: str) -> str:
    """What is left to be compared."""
    output = PROGRESS.sub("", output)
    for pattern, word in MASKS[mask] if mask else []:
        output = pattern.sub(word, output)
    return output
