"""An audit: kinds, pairs, what was promised, and the answer in a sentence."""

from __future__ import annotations

import json

import pytest

from dtls_emu.audit.csv_file import findings_csv
from dtls_emu.audit.findings import audit_tally
from dtls_emu.audit.page import audit_page
from dtls_emu.audit.promise import Promise
from dtls_emu.audit.statuses import BY_CODE, Kind, rows_of
from dtls_emu.flow_logs.records import parse_record
from dtls_emu.flow_logs.tally import Tally
from dtls_emu.lab import compile_lab, load_lab
from dtls_emu.vocabulary import FlowEncryption


def line(source, destination, side, state, code, *, port=443, packets=10, at=1_767_225_600_000):
    counters = "0,0,0,0" if state in "BD" else f"{packets},{packets * 100},{packets},{packets * 50}"
    return f"{at},{source},{destination},40000,{port},6,{side},{state},{code},{counters}"


def audited(*lines, promise=None):
    tally = Tally()
    groups = [{"rule": "r", "flowTuples": list(lines)}]
    tally.add(
        parse_record(json.dumps({"flowLogVersion": 4, "flowRecords": {"flows": [{"flowGroups": groups}]}}))
    )
    tally.flush()
    return audit_tally(tally, promise)


A, B, C, WORLD = "10.0.0.4", "10.0.0.5", "10.0.0.6", "203.0.113.7"


@pytest.mark.parametrize(
    ("destination", "state", "code", "kind"),
    [
        (B, "E", "X", Kind.ENCRYPTED),
        (B, "E", "NX", Kind.CLEAR),
        (WORLD, "E", "NX", Kind.PUBLIC),
        (B, "D", "NX", Kind.DENIED),
        (B, "E", "NX_FALLBACK", Kind.CLEAR),
        (B, "E", "NX_HW_NOT_SUPPORTED", Kind.CLEAR),
        (B, "D", "NX_HW_NOT_SUPPORTED", Kind.DROPPED),
        (B, "E", "NX_LOCAL_DST", Kind.LOCAL),
        (B, "D", "NX_SW_NOT_READY", Kind.DROPPED),
        (B, "D", "NX_NOT_ACCEPTED", Kind.DROPPED),
        (B, "D", "NX_NOT_SUPPORTED", Kind.DROPPED),
        (B, "E", "NX_FUTURE", Kind.UNKNOWN),
    ],
)
def test_each_status_has_its_kind(destination, state, code, kind):
    """An unknown one is never taken for encrypted."""
    (finding,) = audited(line(A, destination, "O", state, code)).findings
    assert (finding.kind, finding.code) == (kind, code)


def test_every_status_is_explained_with_its_rows():
    """And with what to do where something can be done."""
    assert set(BY_CODE) == set(FlowEncryption)
    assert all(each.meaning and rows_of(code) for code, each in BY_CODE.items())
    assert not BY_CODE[FlowEncryption.X].remedy
    assert all(BY_CODE[code].remedy for code in FlowEncryption if code not in {"X", "NX_LOCAL_DST"})


def test_a_flow_that_both_ends_have_logged_is_counted_once():
    """With the source's counters; a destination's log that stands alone counts as well."""
    both = audited(line(A, B, "O", "E", "X", packets=10), line(A, B, "I", "E", "X", packets=9))
    assert [(each.packets, each.seen_by) for each in both.findings] == [(20, "source")]
    one = audited(line(A, B, "I", "E", "X", packets=9))
    assert [(each.packets, each.seen_by) for each in one.findings] == [(18, "destination")]


def test_logs_that_differ_are_both_heard():
    """A destination that says `in clear` is not silenced by a source that says `encrypted`."""
    found = audited(line(A, B, "O", "E", "X"), line(A, B, "I", "E", "NX_FALLBACK"))
    assert {each.kind: each.seen_by for each in found.findings} == {
        Kind.ENCRYPTED: "source",
        Kind.CLEAR: "destination",
    }


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        ([line(A, B, "O", "E", "X"), line(A, WORLD, "O", "E", "NX")], "Yes: everything"),
        ([line(A, B, "O", "E", "NX")], "No: nothing was encrypted, and 1 pair talked in clear."),
        (
            [line(A, B, "O", "E", "X", packets=999_999), line(A, C, "O", "E", "NX_FALLBACK", packets=1)],
            "Not all of it: 1 pair talked in clear. 99.9 %",
        ),
        ([line(A, WORLD, "O", "E", "NX")], "There was nothing to encrypt"),
        (
            [line(A, B, "O", "E", "X"), line(A, C, "O", "D", "NX_NOT_ACCEPTED")],
            "Yes: everything between private addresses that left its host was encrypted. 1 pair could not talk",
        ),
        (
            [line(A, C, "O", "D", "NX_NOT_ACCEPTED")],
            "Nothing is known to have been encrypted, or to have passed in clear that could be encrypted. 1 pair",
        ),
        (
            [line(A, B, "O", "E", "X"), line(A, C, "O", "E", "NX_NEW")],
            "As far as is known: nothing between private addresses was in clear that left its host. 1 pair had a",
        ),
        ([line(A, B, "O", "E", "X"), "broken"], "As far as is known"),
        ([line(A, B, "O", "E", "NX_NEW")], "Nothing is known"),
    ],
)
def test_the_answer_says_no_more_than_is_known(lines, answer):
    """And never rounds up to all of it."""
    assert audited(*lines).answer.startswith(answer)


def test_a_flow_that_has_begun_in_clear_is_one_in_clear():
    """Although nothing was counted yet."""
    assert audited(line(A, B, "O", "B", "NX_FALLBACK")).sums[Kind.CLEAR].flows == 1


def promise():
    return Promise(compile_lab(load_lab("mixed-sizes")), "mixed-sizes")


@pytest.mark.parametrize(
    ("source", "destination", "state", "code", "promised", "is_unexpected"),
    [
        ("10.1.0.4", "10.1.0.5", "E", "X", "encrypt, row 16 encrypted", False),
        ("10.1.0.4", "10.1.0.5", "E", "NX_FALLBACK", "encrypt, row 16 encrypted", True),
        ("10.1.0.4", "10.1.0.6", "E", "NX_FALLBACK", "clear, row 13 incapable VM", False),
        ("10.2.0.4", "10.2.0.7", "E", "NX", "drop, row 15 not accepted", True),
        ("10.2.0.4", WORLD, "E", "NX", "clear, row 3 internet", False),
        (WORLD, "10.2.0.4", "E", "NX", "clear, row 3 internet", False),
        ("10.9.0.4", "10.2.0.7", "E", "NX", "an end is not in the template", False),
    ],
)
def test_what_was_promised_is_measured_against(source, destination, state, code, promised, is_unexpected):
    """Ends get their names, and what is worse than promised is told."""
    found = audited(line(source, destination, "O", state, code), promise=promise())
    (finding,) = found.findings
    assert (finding.promised, finding.is_unexpected) == (promised, is_unexpected)
    assert found.unexpected == [finding] * is_unexpected
    if source == "10.1.0.4":
        assert finding.source == "allow-a (10.1.0.4)"


def test_the_page_is_self_contained_and_small():
    """However many pairs there are, and whatever the files say."""
    lines = [
        line(A, f"10.1.{n // 250}.{n % 250 + 1}", "O", "E", "X", at=1_767_225_600_000 + n * 60_000)
        for n in range(5000)
    ]
    lines.append(line(A, B, "O", "E", "NX_EVIL").replace("NX_EVIL", "NX_Evil"))
    found = audited(*lines, "<script>alert(1)</script>")
    page = audit_page(found, "<b>logs</b>")
    assert len(page) < 1_000_000
    assert "<script" not in page
    assert "<b>logs" not in page
    assert "4,800 smaller ones are left out" in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<svg") == page.count("</svg>") == 2
    assert "prefers-color-scheme: dark" in page
    assert page.count("<rect") < 400


def test_csv_has_a_line_for_each_finding():
    """And no cell that a spreadsheet runs."""
    found = audited(line(A, B, "O", "E", "X"), line(A, C, "O", "E", "NX"))
    found.findings[0].source = "=1+1"
    head, *rest = findings_csv(found.findings).splitlines()
    assert head.startswith("source,destination,kind,status")
    assert len(rest) == 2
    assert rest[0].startswith("'=1+1,")
