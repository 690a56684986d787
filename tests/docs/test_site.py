"""The site builds without a warning, its links lead somewhere, and a reader's browser asks nobody else for anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from check_site import check_site


DOCS = Path(__file__).parents[2] / "docs"

GOOD = '<html><body><h1 id="top">t</h1><a href="#top">up</a> <a href="https://example.org/">out</a></body></html>'


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Built as `make docs` does."""
    pytest.importorskip("sphinx")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--nitpicky", "--keep-going"]
    done = subprocess.run(
        [*command, "--doctree-dir", folder / "doctrees", DOCS, folder / "html"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_it_builds_and_every_link_within_leads_somewhere(site):
    """Warnings are errors; anchors count; nothing is loaded from elsewhere."""
    assert check_site(site) == []


def test_every_document_is_a_page_that_can_be_reached(site):
    """From the first page, by its navigation."""
    pages = [page.relative_to(DOCS).with_suffix(".html") for page in DOCS.rglob("*.md")]
    index = (site / "index.html").read_text()
    for page in pages:
        assert (site / page).exists()
        assert page.name == "index.html" or f'href="{page}"' in index, page


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("reference/lab-file.html", "accelerated_networking"),
        ("reference/result-file.html", "sender_cpu_s_per_gb"),
        ("reference/command-line.html", "--fast-path"),
        ("reference/knobs.html", "half_open_limit"),
        ("reference/host-file.html", "control_socket"),
        ("reference/decisions.html", "NX_FALLBACK"),
        ("reference/shipped-labs.html", "jumbo-fragments"),
        ("reference/api.html", "trial_s"),
        ("howto/backend.html", "PlainPythonSealer"),
        ("how-we-measure.html", "wireguard-go"),
        ("howto/cluster.html", "hostPath"),
        ("lessons/1-in-clear.html", "neither network encrypted: send in clear"),
        ("lessons/index.html", "Turn it on"),
    ],
)
def test_what_is_made_from_elsewhere_is_on_its_page(site, page, text):
    """An include or a directive that has become empty would be no warning."""
    assert text in (site / page).read_text()


@pytest.mark.parametrize(
    ("html", "trouble"),
    [
        (GOOD, None),
        (GOOD.replace("#top", "#gone"), "no such anchor"),
        (GOOD.replace("#top", "gone.html"), "is not there"),
        (
            GOOD.replace("<h1", '<script src="https://example.org/x.js"></script><h1'),
            "loads https://example.org/x.js",
        ),
        (
            GOOD.replace("<h1", '<link rel="stylesheet" href="//example.org/x.css"><h1'),
            "loads //example.org/x.css",
        ),
        (
            GOOD.replace("<h1", '<link rel="preload" href="//example.org/f.woff2"><h1'),
            "loads //example.org/f.woff2",
        ),
        (GOOD.replace("<h1", '<link rel="canonical" href="https://example.org/"><h1'), None),
        (GOOD.replace("<h1", '<img src="HTTPS://example.org/x.png"><h1'), "loads HTTPS://example.org/x.png"),
        (
            GOOD.replace("<h1", "<style>@import 'https://example.org/x.css'</style><h1"),
            "loads https://example.org/x.css",
        ),
        (
            GOOD.replace("<h1", '<p style="background: url(//example.org/x.png)"></p><h1'),
            "loads //example.org/x.png",
        ),
        (
            GOOD.replace("<h1", "<script>fetch('https://example.org/')</script><h1"),
            "loads https://example.org/",
        ),
        (GOOD.replace("<h1", '<script src="gone.js"></script><h1'), "is not there"),
    ],
)
def test_what_is_wrong_would_be_noticed(tmp_path, html, trouble):
    """A link that leads nowhere, and whatever a browser fetches unasked."""
    (tmp_path / "page.html").write_text(html)
    found = check_site(tmp_path)
    assert (trouble is None) == (found == []), found
    assert trouble is None or trouble in found[0]


def test_code_and_styles_that_load_something_are_noticed(tmp_path):
    """In files of their own, too; and a site without pages is none."""
    assert "there is no page" in check_site(tmp_path)[0]
    (tmp_path / "page.html").write_text(GOOD)
    (tmp_path / "x.css").write_text("@font-face { src: url('https://fonts.example.org/f.woff2') }")
    (tmp_path / "x.js").write_text('element.src = "https://example.org/x.js"')
    assert check_site(tmp_path) == [
        "x.css: loads https://fonts.example.org/f.woff2",
        "x.js: loads https://example.org/x.js",
    ]
