"""Pages of the reference that are made from the code while the site is built, and stored nowhere.

``{generated} NAME`` in a page stands for what the function of that name in :data:`PAGES` returns, as MyST Markdown.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from dtls_emu.teach.lessons import lessons as every_lesson
from generate.commands import command_line
from generate.lessons import lesson_page, lesson_table
from generate.models import host_file, lab_file, result_file
from generate.source import (
    backends,
    decision_table,
    drop_reasons,
    endpoint_kinds,
    flow_codes,
    profile_knobs,
    profiles,
    shipped,
    tunnel_knobs,
)


if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["PAGES"]

PAGES: Final[dict[str, Callable[[], str]]] = {
    "backends": backends,
    "command-line": command_line,
    "decision-table": decision_table,
    "drop-reasons": drop_reasons,
    "endpoint-kinds": endpoint_kinds,
    "flow-codes": flow_codes,
    "host-file": host_file,
    "lab-file": lab_file,
    "lessons": lesson_table,
    **{f"lesson-{each.number}": partial(lesson_page, each.number) for each in every_lesson()},
    "profile-knobs": profile_knobs,
    "profiles": profiles,
    "result-file": result_file,
    "shipped-labs": shipped,
    "tunnel-knobs": tunnel_knobs,
}
