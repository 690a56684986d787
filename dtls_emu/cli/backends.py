"""``dtls-emu backends``: which ciphers are here, what each one is, and why one is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dtls_emu.cli.output import JsonOption, print_json, print_table


if TYPE_CHECKING:
    from dtls_emu.crypto.backend import Backend


__all__ = ["backends"]

_AUTO_MARK = "*"
_PASSED = {True: "passed", False: "FAILED", None: "not run"}


def backends(as_json: JsonOption = False) -> None:
    """List the cipher backends and run the self-test of each.

    A star marks the one that `backend: auto` takes.

    Plug-ins are listed too. Prove one: pytest --dtls-emu-backend NAME --pyargs dtls_emu.testing.conformance
    """
    from dtls_emu.crypto.registry import available, resolve
    from dtls_emu.errors import BackendUnavailableError

    rows = [_describe(name, found) for name, found in available()]
    try:
        choice = resolve()
        auto: dict[str, str | None] = {"backend": choice.backend.name, "reason": choice.reason}
    except BackendUnavailableError as error:
        auto = {"backend": None, "reason": str(error)}
    if as_json:
        print_json({"auto": auto, "backends": rows})
        return
    print_table(
        "Cipher backends",
        ["", "name", "available", "self-test", "protects", "detail, or why not"],
        [
            [
                _AUTO_MARK if row["name"] == auto["backend"] else "",
                row["name"],
                _yes_no(row["available"]),
                row["self_test"],
                _yes_no(row["protects"]),
                row["reason"] or f"{row['summary']}: {row['detail']}",
            ]
            for row in rows
        ],
    )


def _describe(name: str, found: Backend | str) -> dict[str, Any]:
    """One backend. Constructing one of the package's own was its self-test; a plug-in is given the same one here.

    What an unavailable one protects cannot be known.
    """
    from dtls_emu.crypto.registry import is_own
    from dtls_emu.crypto.self_test import try_out

    if isinstance(found, str):
        known = {"available": False, "self_test": "not passed", "protects": None}
        return {"name": name, **known, "summary": "", "detail": "", "reason": found}
    passed, reason = (True, "") if is_own(name) else try_out(found)
    known = {"available": True, "self_test": _PASSED[passed], "protects": found.protects}
    return {"name": name, **known, "summary": found.summary, "detail": found.detail, "reason": reason}


def _yes_no(value: bool | None) -> str:
    return "unknown" if value is None else "yes" if value else "NO"
