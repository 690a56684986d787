"""The JSON Schema of what is written here: one blob of flow logs."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


__all__ = ["flow_log_schema"]


def flow_log_schema() -> dict[str, Any]:
    """The schema, as JSON types. Stricter than what is read: empty counters and seconds are the vendor's alone."""
    text = files(__package__).joinpath("flow-log.schema.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document
