"""Check a built site: ``python docs/check_site.py FOLDER``. Exits 1 and says what is wrong.

Sphinx checks the references that it resolves itself. Here every link in the HTML is followed, within the site, to
its file and its anchor; and nothing that a browser loads by itself may come from elsewhere. Links to elsewhere that
a reader may click are not fetched.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit


__all__ = ["check_site"]

_LOADED: Final = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "image": ("href", "xlink:href"),
    "img": ("src", "srcset"),
    "input": ("src",),
    "link": ("href",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "use": ("href", "xlink:href"),
    "video": ("src", "poster"),
}
"""Elements whose attribute a browser fetches without being asked."""

_ASKED_FOR: Final = {"author", "canonical", "help", "index", "license", "next", "prev", "search"}
"""What a ``<link>`` may point to without its being loaded."""

_REMOTE: Final = re.compile(r"(?:https?:)?//", re.IGNORECASE)
_CSS_LOADS: Final = re.compile(r"(?:url\(\s*|@import\s+)[\"']?((?:https?:)?//[^\"')\s]+)", re.IGNORECASE)
_JS_LOADS: Final = re.compile(
    r"(?:\bfetch\(|\bimport\(|\bimportScripts\(|\.src\s*=|\.open\([^,]*,)\s*[\"'`]((?:https?:)?//[^\"'`]+)"
)


@dataclass
class _Page(HTMLParser):
    """What one page defines, links to and loads."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._in_code = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if "style" in given:
            self.styles.append(given["style"])
        is_asked_for = tag == "link" and set(given.get("rel", "").split()) <= _ASKED_FOR
        if not is_asked_for:
            self.loads += [given[name] for name in _LOADED.get(tag, ()) if given.get(name)]
        self._in_code = tag if tag in {"script", "style"} else self._in_code

    def handle_endtag(self, tag: str) -> None:
        self._in_code = "" if tag == self._in_code else self._in_code

    def handle_data(self, data: str) -> None:
        if self._in_code:
            self.styles.append(data)


def check_site(folder: Path) -> list[str]:
    """Everything that is wrong with the site in a folder, one line each."""
    pages = {path.resolve(): _read(path) for path in sorted(folder.rglob("*.html"))}
    if not pages:
        return [f"{folder}: there is no page"]
    problems = []
    for path, page in pages.items():
        name = path.relative_to(folder.resolve())
        problems += [f"{name}: {trouble}" for link in page.links if (trouble := _lead(path, link, pages))]
        problems += [f"{name}: loads {each}" for each in _remote(page)]
        problems += [
            f"{name}: {trouble}"
            for each in page.loads
            if not _REMOTE.match(each) and (trouble := _lead(path, each, pages))
        ]
    for path in sorted([*folder.rglob("*.css"), *folder.rglob("*.js")]):
        text = path.read_text(encoding="utf-8", errors="replace")
        problems += [f"{path.relative_to(folder)}: loads {each}" for each in _loaded_by_code(text)]
    return list(dict.fromkeys(problems))


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    return page


def _remote(page: _Page) -> list[str]:
    return [each for each in page.loads if _REMOTE.match(each)] + [
        each for text in page.styles for each in _loaded_by_code(text)
    ]


def _loaded_by_code(text: str) -> list[str]:
    return [*_CSS_LOADS.findall(text), *_JS_LOADS.findall(text)]


def _lead(page: Path, link: str, pages: dict[Path, _Page]) -> str:
    """Why a link within the site leads nowhere; empty when it leads somewhere, or out of the site."""
    target = urlsplit(link)
    if target.scheme or target.netloc:
        return ""
    place = (page.parent / unquote(target.path)).resolve() if target.path else page
    if place.is_dir():
        place /= "index.html"
    if not place.is_file():
        return f"a link to {link}, which is not there"
    if target.fragment and place in pages and unquote(target.fragment) not in pages[place].anchors:
        return f"a link to {link}, where there is no such anchor"
    return ""


if __name__ == "__main__":
    found = check_site(Path(sys.argv[1]))
    print("\n".join(found) or "every link within the site leads somewhere; nothing is loaded from elsewhere")
    sys.exit(1 if found else 0)
