"""A student's folder, right answers and wrong ones."""

from __future__ import annotations

import json

import pytest

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
    "sections": [
        {
            "suite": "throughput",
            "cells": [
                {
                    "path": path,
                    "size": 1400,
                    "arm": arm,
                    "us_per_packet": 1 / rate,
                    "ratio": {"value": rate, "low": rate - 0.02, "high": rate + 0.02},
                    "cpu_ratio": {"value": cpu},
                    "cpu_noise_floor": 0.03,
                }
                for path in ("memory", "udp")
                for arm, rate, cpu in (
                    ("null", 0.91, 1.19),
                    ("cryptography", 0.46, 2.53),
                    ("openssl", 0.21, 7.07),
                )
            ],
        },
        {"suite": "handshake", "ratio": 1},
    ],
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
def laboratories(tmp_path_factory):
    """For each lesson its lab with every task done, which is run once however often it is asked about."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "bench.json").write_text(json.dumps(BENCHMARK))
    return {each.number: Laboratory(each, each.solved, folder) for each in lessons()}


@pytest.fixture(scope="session")
def right_answers(laboratories):
    """For each lesson the right answers, as a student writes them."""
    return {
        each.number: {found.question.name: found.answer for found in solve(each, laboratories[each.number])}
        for each in lessons()
    }


@pytest.fixture
def solved_folder(tmp_path, right_answers):
    """The folder of a student who has done everything of lesson 1 right."""
    found = lesson(1)
    (tmp_path / LAB).write_text(found.lab_text(len(found.steps)))
    (tmp_path / ANSWERS).write_text(written(found, right_answers[1]))
    return tmp_path
