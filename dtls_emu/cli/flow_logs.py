"""What `dtls-emu flows` does with flow logs: read and sum up files, and write some to test parsers with."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dtls_emu.cli.output import complain, print_json, print_table, print_text, say
from dtls_emu.cli.progress import progress
from dtls_emu.errors import DtlsEmuError


if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtls_emu.flow_logs.tally import FlowGroup, Tally
    from dtls_emu.flow_logs.writing import Entry
    from dtls_emu.lab.schema import Lab


__all__ = [
    "FlowLogTarget",
    "clock_text",
    "emit",
    "is_flow_log",
    "is_json",
    "show_flow_logs",
    "warn_of_unreadable",
    "write_blobs",
]

TOP: Final = 50
"""Rows of the table."""

_HEAD: Final = 4096
"""Bytes of a file that are looked at to tell what it is."""


class FlowLogTarget:
    """A folder for the flow logs of a run, tried when this is made.

    Fields:
        log: observer of the run.
        report_every: seconds of virtual time after which it is to be told of all flows.
    """

    def __init__(self, lab: Lab, folder: Path, *, force: bool) -> None:
        """
        Args:
            lab: that is run.
            folder: as the user wrote it.
            force: it may have something in it already.

        Raises:
            DtlsEmuError: nothing can be written there.
        """
        from dtls_emu.files.json_blobs import BlobFolder
        from dtls_emu.flow_logs.scenarios import START
        from dtls_emu.flow_logs.writing import REPORT_EVERY, FlowLog
        from dtls_emu.lab import compile_lab

        self.log = FlowLog(compile_lab(lab), START)
        self.report_every = REPORT_EVERY
        self._folder = BlobFolder(folder, force=force)

    def write(self) -> str:
        """Write the records of a run that is over, and say so. Why they are not there; empty when they are."""
        from dtls_emu.files.json_blobs import BlobFolderError

        try:
            for entry in self.log.take():
                self._folder.append(entry.path, entry.content)
        except BlobFolderError as error:
            return str(error)
        path = self._folder.path
        complain(
            f"{_count(self._folder.written, 'record')} of flow logs below {path}; `dtls-emu audit {path}` judges them"
        )
        return ""


def is_flow_log(name: str) -> bool:
    """Whether what a user names is a flow log, and no lab: a folder, or a file of JSON that says nothing of hosts."""
    try:
        return Path(name).is_dir() or is_json(name)
    except (OSError, ValueError):
        return False


def is_json(name: str) -> bool:
    """Whether a path leads to a file of JSON, and to no lab: one that says nothing of hosts."""
    path = Path(name)
    try:
        if not path.is_file() or path.suffix.lower() in {".yaml", ".yml"}:
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, ValueError):
        return False
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in {b"{", b"["} and b'"hosts"' not in head


def show_flow_logs(name: str, wanted: str, *, as_json: bool) -> None:
    """Sum up flow logs and print the sums.

    Raises:
        DtlsEmuError: they cannot be read, or the filter cannot.
    """
    from dtls_emu.audit.sources import add_logs
    from dtls_emu.flow_logs.filtering import parse_filter
    from dtls_emu.flow_logs.tally import Tally

    tally = Tally(parse_filter(wanted) if wanted else None)
    with progress() as report:
        files = add_logs(Path(name), tally, report)
    groups = sorted(
        tally.groups(), key=lambda each: (-each.nbytes, each.first, each.source, each.destination)
    )
    groups = [each for each in groups if each.lines]
    if as_json:
        print_json(
            {
                "files": files,
                "records": tally.records,
                "tuples": tally.lines,
                "passed_over": tally.passed_over,
                "unreadable": tally.unreadable,
                "first_unreadable": tally.example,
                "is_complete": tally.is_complete,
                "groups": [each.as_dict() for each in groups],
            }
        )
        return
    _print_groups(name, groups)
    _print_sums(tally, files, groups)
    warn_of_unreadable(tally)


def warn_of_unreadable(tally: Tally) -> None:
    """Say on stderr what could not be counted, if anything."""
    if tally.unreadable:
        complain(
            f"{tally.unreadable:,} of {tally.lines:,} lines are no flow tuples and are counted nowhere; the first: "
            f"{tally.example}"
        )


def _print_groups(name: str, groups: list[FlowGroup]) -> None:
    print_table(
        f"{name}: flows by ends, port and status; the largest first",
        ("source", "destination", "port", "log", "status", ">flows", ">packets", ">bytes", "last seen"),
        [
            (
                each.source,
                each.destination,
                _service(each),
                "out" if each.side == "O" else "in",
                each.encryption,
                f"{each.denied:,} denied"
                if each.denied and not each.begun
                else f"{max(each.begun, each.ended):,}",
                f"{each.packets:,}",
                f"{each.nbytes:,}",
                clock_text(each.last),
            )
            for each in groups[:TOP]
        ],
        spare=["last seen", "packets"],
    )
    if len(groups) > TOP:
        print_text(f"{len(groups) - TOP:,} smaller ones are left out; --json has them.")


def _print_sums(tally: Tally, files: int, groups: Iterable[FlowGroup]) -> None:
    from dtls_emu.audit.statuses import BY_CODE

    sums: dict[str, list[int]] = {}
    for each in groups:
        own = sums.setdefault(each.encryption, [0, 0, 0])
        own[0] += each.packets
        own[1] += each.nbytes
        own[2] += each.denied
    print_table(
        "By status; a flow that both its ends have logged is counted twice",
        ("status", ">packets", ">bytes", ">denied", "means"),
        [
            (
                code,
                *(f"{number:,}" for number in numbers),
                BY_CODE[code].short if code in BY_CODE else "unknown",
            )
            for code, numbers in sorted(sums.items())
        ],
    )
    passed = f", {tally.passed_over:,} passed over by the filter" if tally.passed_over else ""
    print_text(
        f"{_count(tally.lines, 'tuple')} of {_count(tally.records, 'record')} in {_count(files, 'file')}{passed}."
    )


def clock_text(when: int) -> str:
    """Milliseconds since 1970 for a table, UTC."""
    return f"{datetime.fromtimestamp(when // 1000, UTC):%Y-%m-%d %H:%M:%S}"


def emit(folder: str | None, scenario: str, *, force: bool) -> None:
    """Write the flow logs of a scenario.

    Raises:
        DtlsEmuError: no folder is named, there is no such scenario, or they cannot be written.
    """
    from dtls_emu.flow_logs.scenarios import SCENARIOS, emit_scenario
    from dtls_emu.lab.problems import suggest

    if folder is None:
        raise DtlsEmuError("name the folder to write to: dtls-emu flows --emit --scenario all-codes DIR")
    if scenario not in SCENARIOS:
        raise DtlsEmuError(f"--scenario: none is called `{scenario}`; {suggest(scenario, SCENARIOS)}")
    written = write_blobs(Path(folder), emit_scenario(scenario), force=force)
    say(f"{_count(written, 'record')} written below {folder}; the traffic is invented")


def write_blobs(folder: Path, entries: Iterable[Entry], *, force: bool) -> int:
    """Write records below a folder, and return how many.

    Raises:
        DtlsEmuError: they cannot be written there.
    """
    from dtls_emu.files.json_blobs import BlobFolder

    target = BlobFolder(folder, force=force)
    for entry in entries:
        target.append(entry.path, entry.content)
    return target.written


def _service(group: FlowGroup) -> str:
    from dtls_emu.audit.statuses import service_name

    return service_name(group.protocol, group.destination_port)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
