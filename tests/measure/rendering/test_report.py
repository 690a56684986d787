"""What the page and the Markdown say, and that they are safe, small, and the same for the same result."""

import re
from html.parser import HTMLParser

import pytest

from dtls_emu.measure.rendering.html import page
from dtls_emu.measure.rendering.report import report_of
from dtls_emu.measure.rendering.text import as_csv, as_markdown
from dtls_emu.measure.tables import Table


pytest.importorskip("matplotlib", reason="the report's pictures need matplotlib (PyPI)")


class Elements(HTMLParser):
    """Every element that is opened, with its attributes, and every id."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.text = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture
def report(result):
    return report_of([result])


@pytest.fixture
def text(report, rendered):
    """The page of that report: drawn once, as it is always the same."""
    if not rendered:
        rendered.append(page(report, ("throughput",)))
    return rendered[0]


@pytest.fixture(scope="module")
def rendered():
    return []


@pytest.fixture
def elements(text):
    return Elements(text)


def test_the_answer_comes_first_and_the_method_last(report, elements):
    """In the page's order: answer, run, a part for each suite, environment, method."""
    ids = [attributes["id"] for attributes in elements.all("section")]
    assert ids == [
        "answer",
        "run",
        "suite-throughput",
        "suite-fragments",
        "suite-handshake",
        "environment",
        "method",
    ]
    assert report.answer[0].startswith("At 1400 bytes")


def test_nothing_is_loaded_and_no_script_runs(text):
    """One file: a policy says so to the browser, too. Tables beside it are only linked to."""
    assert "Content-Security-Policy" in text
    assert "default-src 'none'" in text
    elements = Elements(text)
    assert not {"script", "img", "link", "iframe", "object"} & {tag for tag, _ in elements.found}
    references = [
        value for _, each in elements.found for name, value in each.items() if name in {"href", "src"}
    ]
    assert [each for each in references if not each.startswith("#")] == ["throughput.csv"]
    assert not re.findall(r"url\((?!#)", text)


def test_names_are_unique_and_every_reference_leads_somewhere(elements):
    """Also those inside of pictures."""
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert sorted({each for each in ids if ids.count(each) > 1}) == []
    wanted = {
        value.removeprefix("#")
        for _, attributes in elements.found
        for name, value in attributes.items()
        if name in {"href", "xlink:href"} and value.startswith("#")
    }
    wanted |= {
        each for _, attributes in elements.found for each in (attributes.get("aria-labelledby") or "").split()
    }
    assert wanted - set(ids) == set()


def test_pictures_have_words(elements):
    """A title and how to read them for who cannot see them; text that can be searched; numbers beside them."""
    pictures = [each for each in elements.all("svg") if each.get("role") == "img"]
    assert pictures
    assert len(pictures) == len(elements.all("figure")) == len(elements.all("details"))
    assert "size of the VM's packet, bytes" in elements.text
    assert all(each.get("scope") == "col" for each in elements.all("th"))


def test_it_is_small_and_the_same_again(report, text):
    """Nothing of the moment or of chance is in it; far below two megabytes."""
    assert page(report, ("throughput",)) == text
    assert len(text.encode()) < 1_000_000


def test_no_colour_is_left_that_does_not_follow_the_page(text):
    """Every one that matplotlib has drawn is a variable of the style sheet."""
    pictures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    drawn = {colour for each in pictures for colour in re.findall(r"#[0-9a-f]{6}\b", each)}
    assert drawn == set()


def test_what_comes_from_a_result_is_no_markup(result):
    """A lab may be called whatever it likes."""
    hostile = '<img src=x onerror="alert(1)">|_*[x](y)'
    begun = result.start.model_copy(update={"lab": hostile, "command": [hostile]})
    end = result.end.model_copy(update={"reading": [hostile]})
    sections = [section.model_copy(update={"figures": []}) for section in result.sections]  # drawn elsewhere
    report = report_of([result.model_copy(update={"start": begun, "end": end, "sections": sections})])
    assert "<img" not in page(report)
    markdown = as_markdown(report)
    assert "<img" not in markdown.replace(r"\<img", "")
    assert r"\|\_\*\[x\](y)" in markdown


def test_several_runs_stand_side_by_side(result):
    """A column of the run for each, their lines in one picture, their tables one after the other."""
    report = report_of([result, result])
    assert report.run.columns == ("what", "A", "B")
    assert "2 runs" in report.title
    (throughput,) = [part for part in report.parts if part.name == "throughput"]
    assert [line[:3] for line in throughput.readings] == ["A: ", "B: "]
    names = [series.name for series in throughput.charts[0].series]
    assert any(name.startswith("A, ") for name in names)
    assert any(name.startswith("B, ") for name in names)


def test_a_run_that_was_cut_short_says_so(result):
    """And what was left out, and why."""
    end = result.end.model_copy(update={"stopped": "interrupted", "skipped": {"latency": "no time was left"}})
    remarks = report_of([result.model_copy(update={"end": end})]).remarks
    assert "Not measured: latency, no time was left." in remarks
    assert any("did not come to its end" in each for each in remarks)


def test_tables_lie_beside_the_page(report, elements):
    """Those that are there have a link."""
    links = [each["href"] for each in elements.all("a") if each["href"].endswith(".csv")]
    assert links == ["throughput.csv"]
    assert [name for name, _ in report.tables][:2] == ["run", "throughput"]


def test_csv_has_headings_and_every_cell():
    """Quoted where need be."""
    table = Table("t", ("arm", ">Gbit/s"), [("a, b", '1"2'), ("c", "3")])
    assert as_csv(table) == b'arm,Gbit/s\r\n"a, b","1""2"\r\nc,3\r\n'


def test_markdown_has_every_table(report):
    """With its rules."""
    text = as_markdown(report)
    assert text.startswith("# What encryption costs: ")
    for part in report.parts:
        assert f"## {part.name.capitalize()}" in text
        assert all(len(table.rows) > 0 for table in part.tables)
    assert "| ---: |" in text
