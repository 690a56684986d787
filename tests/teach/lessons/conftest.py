"""A student's folder, right answers and wrong ones."""

from __future__ import annotations

import json

import pytest

from dtls_emu.lab.loader import parse_lab
from dtls_emu.teach.lessons import lesson, lessons
from dtls_emu.teach.lessons.answers import written
from dtls_emu.teach.lessons.checking import Laboratory
from dtls_emu.teach.lessons.lesson import ANSWERS, LAB
from dtls_emu.teach.lessons.solving import solve


BENCHMARK = {
    "start": {
        "backends": [
            {"name": "null", "protects": False},
            {"name": "cryptography", "protects": True},
            {"name": "openssl", "protects": True},
        ]
    },
    "end": {
        "cells": [
            {
                "path": path,
                "size": size,
                "arm": arm,
                "us_per_packet": base + extra + per_byte * size / 1400,
                "ratio": {"value": (base + size / 1400) / (base + extra + per_byte * size / 1400)},
                "noise_floor": 0.01,
            }
            for path in ("memory", "udp")
            for size in (64, 1400)
            for arm, base, extra, per_byte in (
                ("plain", 0.5, 0.0, 0.1),
                ("null", 0.5, 0.25, 0.15),
                ("cryptography", 0.5, 1.0, 0.6),
                ("openssl", 0.5, 4.0, 1.0),
            )
        ]
    },
}
"""A result file as far as a lesson reads it, with figures that nobody has measured."""


@pytest.fixture(autouse=True)
def attackers_are_seen(wire_watch):
    """Whoever watches the wire takes what an attacker puts there for the cards' own; that is his doing, not theirs."""
    yield
    wire_watch.violations.clear()
    wire_watch._compare()
    wire_watch.violations.clear()


@pytest.fixture(scope="session")
def solved_folders(tmp_path_factory):
    """For each lesson the folder of a student who has done everything right."""
    folders = {}
    for each in lessons():
        folder = tmp_path_factory.mktemp(f"lesson-{each.number}")
        (folder / LAB).write_text(each.lab_text(len(each.steps)))
        (folder / "bench.json").write_text(json.dumps(BENCHMARK))
        answers = {found.question.name: found.answer for found in solve(each, folder=folder)}
        (folder / ANSWERS).write_text(written(each, answers))
        folders[each.number] = folder
    return folders


@pytest.fixture(scope="session")
def laboratories(solved_folders):
    """For each lesson the labs of that student, each of which is run once however often it is asked about."""
    found = {}
    for number, folder in solved_folders.items():
        lab = parse_lab((folder / LAB).read_text(), folder / LAB)
        found[number] = Laboratory(lesson(number), lab, folder)
    return found
