"""Fuzz one harness, with bounds checks in every kernel: ``python fuzz.py NAME --seconds 60``.

Guided by coverage, with atheris. With ``--rounds`` and ``--seed`` it is a plain loop of random changes to the
seeds instead: reproducible, and for the first seconds the better of the two, because atheris needs several
until its instrumented code has run all seeds once. A finding is written to a file; give the file to run it again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from random import Random
from types import FunctionType
from typing import Any

from dtls_emu.wire.kernel_cache import kernel_cache


FOLDER = Path(__file__).parents[2] / ".fuzz"
HARNESSES = ("card_datagrams", "card_frames", "tunnel_datagrams", "lab_files", "flow_logs")


def main(arguments: list[str]) -> int:
    """Run as told; 1 after a finding."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("harness", choices=HARNESSES)
    parser.add_argument("files", nargs="*", type=Path, help="findings to run again")
    parser.add_argument("--seconds", type=int, help="of coverage-guided fuzzing")
    parser.add_argument("--rounds", type=int, help="of random changes")
    parser.add_argument("--seed", default="0", help="of random changes")
    parser.add_argument(
        "--corpus", type=Path, help="folder that keeps what coverage-guided fuzzing finds new"
    )
    parser.add_argument("--findings", type=Path, default=Path(), help="folder for findings")
    chosen = parser.parse_args(arguments)
    chosen.findings.mkdir(parents=True, exist_ok=True)
    harness = import_module(chosen.harness)
    for file in chosen.files:
        run(harness, file.read_bytes())
    if chosen.seconds:
        return guided(harness, chosen)
    if chosen.rounds:
        return plain(harness, chosen)
    return 0


def run(harness, data: bytes) -> None:
    """Carry out a script. A kernel that is called by address cannot raise; what it meets comes by a hook."""
    unraised: list[Any] = []
    before, sys.unraisablehook = sys.unraisablehook, unraised.append
    try:
        harness.run(data)
    finally:
        sys.unraisablehook = before
    for each in unraised:
        raise each.exc_value


def plain(harness, chosen) -> int:
    """Each seed as it is, then random changes."""
    seeds = harness.seeds()
    for number in range(chosen.rounds):
        rng = Random(f"{chosen.seed}-{number}")
        data = seeds[number] if number < len(seeds) else changed(rng, seeds)
        try:
            run(harness, data)
        except Exception:
            path = keep(data, chosen)
            print(f"failed: {chosen.harness}, seed {chosen.seed}, round {number}: {path}", file=sys.stderr)
            raise
    print(f"{chosen.harness}: seed {chosen.seed}, {chosen.rounds} rounds")
    return 0


def changed(rng: Random, seeds: list[bytes]) -> bytes:
    """A seed, or two joined, with some bytes changed, taken out or put in."""
    data = bytearray(rng.choice(seeds))
    if rng.random() < 0.5:
        other = rng.choice(seeds)
        data[rng.randrange(len(data) + 1) :] = other[rng.randrange(len(other) + 1) :]
    for _ in range(rng.choice((1, 2, 4, 16))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            data[at : at + 1] = bytes((rng.randrange(256),))
        elif kind == 1:
            data[at : at + 1] = bytes((rng.choice((0, 1, 2, 3, 0x7F, 0x80, 0xFF)),))
        elif kind == 2:
            del data[at : at + rng.choice((1, 2, 8))]
        else:
            data[at:at] = rng.randbytes(rng.choice((1, 2, 8, 40)))
    return bytes(data)


def guided(harness, chosen) -> int:
    """By coverage of everything of the package that is not a kernel."""
    import atheris

    instrument(atheris)
    corpus = chosen.corpus or FOLDER / chosen.harness
    corpus.mkdir(parents=True, exist_ok=True)
    for data in harness.seeds():
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    options = [
        f"-max_total_time={chosen.seconds}",
        "-max_len=4096",
        "-timeout=120",
        f"-artifact_prefix={chosen.findings}/{chosen.harness}-",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], partial(run, harness))
    atheris.Fuzz()
    return 0


def instrument(atheris) -> None:
    """Let atheris follow the package's functions, once all are imported.

    Not while they are imported: Numba compiles kernels from their byte code, which must stay as it is.
    """
    functions = set()
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] != "dtls_emu":
            continue
        for value in vars(module).values():
            members = vars(value).values() if isinstance(value, type) else [value]
            for member in members:
                plain = getattr(member, "fget", None) or getattr(member, "__func__", member)
                if isinstance(plain, FunctionType) and plain.__module__.startswith("dtls_emu"):
                    functions.add(plain)
    for function in functions:
        atheris.instrument_func(function)


def keep(data: bytes, chosen) -> Path:
    """Write a finding down."""
    path: Path = chosen.findings / f"{chosen.harness}-{hashlib.sha256(data).hexdigest()[:16]}"
    path.write_bytes(data)
    return path


if __name__ == "__main__":
    # Before Numba is imported. Its cache does not know of bounds checks, so kernels with them have their own.
    os.environ["NUMBA_BOUNDSCHECK"] = "1"
    os.environ["NUMBA_CACHE_DIR"] = f"{kernel_cache()}-with-bounds-checks"
    sys.exit(main(sys.argv[1:]))
