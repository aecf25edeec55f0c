"""The page of a repository: well-formed, self-contained, true, and harmless whatever a package says of itself."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

from hapkg.control import SourceName
from hapkg.page import write_page
from hapkg.picture import draw
from hapkg.repository import Upload
from tests.packages import BOOKWORM, IDENTITY, OWN, Builds, Issue, make_deb

VOID = {"meta", "br", "link", "img"}


class Page(HTMLParser):
    """Collects links and text; every element must be closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.text: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_tells_what_is_there_and_how_to_use_it(root: Path, issue: Issue, builds: Builds) -> None:
    issue(builds(1))
    publication = issue(builds(2))
    text = write_page(root, IDENTITY).read_text()
    page = Page(text)
    words = "".join(page.text)
    assert publication.sources[0].read_text() in words
    assert publication.key.fingerprint in words.replace(" ", "")
    assert "1.2-2+ha12.0, 1.2-1+ha12.0" in words
    assert "/opt/libha-logic1" in words
    assert "prefers-color-scheme: dark" in text
    assert page.tags.isdisjoint({"script", "link", "img", "iframe"})
    local = [link for link in page.links if not link.startswith("#")]
    assert [link for link in local if not (root / unquote(link)).is_file()] == []
    assert f"pool/bookworm/main/h/ha-logic/libha-logic1_1.2-2%2Bha12.0_{OWN}.deb" in local
    assert "pool/bookworm/main/h/ha-logic/ha-logic_1.2-2%2Bha12.0.dsc" in local
    before = (root / "index.html").stat().st_mtime_ns
    write_page(root, IDENTITY)
    assert (root / "index.html").stat().st_mtime_ns == before


def test_markup_in_a_package_stays_text(root: Path, issue: Issue, tmp_path: Path) -> None:
    deb = make_deb(tmp_path, "ha-evil", "1", Description="<script>alert(1)</script> & <b>more</b>\n x")
    issue(Upload(suite=BOOKWORM, source=SourceName("ha-evil"), files=(deb,)))
    page = Page(write_page(root, IDENTITY).read_text())
    assert "<script>alert(1)</script> & <b>more</b>" in "".join(page.text)
    assert page.tags.isdisjoint({"script", "b"})


def read_drawing(svg: str) -> tuple[dict[str, float], int]:
    """The row of each package in a picture, and how many lines it has."""
    root = ElementTree.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    rows = {str(text.text): float(text.attrib["y"]) for text in root.iter(f"{space}text")}
    return rows, len(list(root.iter(f"{space}path")))


def test_a_picture_has_every_package_above_what_it_needs() -> None:
    needs = {
        "stack": frozenset({"middle", "base"}),
        "middle": frozenset({"base"}),
        "base": frozenset[str](),
        "other": frozenset({"base"}),
    }
    rows, lines = read_drawing(draw(needs))
    assert rows["stack"] < rows["middle"] == rows["other"] < rows["base"]
    assert lines == 3


def test_a_picture_of_a_cycle_and_of_nothing() -> None:
    rows, lines = read_drawing(draw({"a": frozenset({"b"}), "b": frozenset({"a"})}))
    assert (sorted(rows), lines) == (["a", "b"], 2)
    assert re.match("<svg ", draw({}))
