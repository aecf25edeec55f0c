"""The page of a repository: well-formed, self-contained, true, and harmless whatever a package says of itself."""

from __future__ import annotations

import os
import re
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from hapkg.control import SourceName, Suite
from hapkg.disk import Batch
from hapkg.errors import BusyError
from hapkg.jinja import render_page
from hapkg.repository.change import PublishTarget
from hapkg.repository.indexes import read_release
from hapkg.repository.keys import lifecycle
from hapkg.repository.keys.signing import KeyChoice
from hapkg.repository.page import write_page
from hapkg.repository.page_graph import draw
from hapkg.repository.pruning import prune
from hapkg.repository.publishing import promote, publish, refresh, rollback
from hapkg.repository.upload import Upload
from tests.support.packages import BOOKWORM, IDENTITY, OWN, TRIXIE, Builds, Issue, fork, make_deb, make_stack

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
    publication = issue(builds(2), url="https://example.org/apt")
    text = write_page(root, IDENTITY, publication.key.fingerprints, Batch()).read_text()
    page = Page(text)
    words = "".join(page.text)
    assert publication.sources[0].read_text() in words
    assert "\n".join(publication.commands[BOOKWORM]) in words
    assert "https://example.org/apt/ha-stack-bookworm.sources" in publication.commands[BOOKWORM][0]
    assert f"Published {read_release(root / 'dists/bookworm/InRelease')['Date']}; state 2: publish." in words
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
    write_page(root, IDENTITY, publication.key.fingerprints, Batch())
    assert (root / "index.html").stat().st_mtime_ns == before


def test_a_page_without_an_address_says_so_and_does_not_tell_the_publishers_folder(
    root: Path, issue: Issue, stacks: Builds
) -> None:
    publication = issue(stacks(1))
    text = (root / "index.html").read_text()
    assert "--url https://HOST/FOLDER/" in text
    assert str(root) not in text
    assert "file:" not in text
    assert publication.commands[BOOKWORM][0].startswith("install -m 644 '")  # where it is the publisher who reads


def test_the_page_shows_what_each_package_holds(root: Path, issue: Issue, tmp_path: Path) -> None:
    issue(make_stack(tmp_path))
    text = (root / "index.html").read_text()
    words = "".join(Page(text).text)
    for name in ("libha-base3", "ha-ring", "ha-resource-agents", "ha-manager", "ha-stack"):
        assert f"Licence of {name}: GPL-2+" in words
        assert f"/opt/ha/share/doc/{name}/changelog.Debian.gz" in words
    assert words.count("* Debian change") == 6
    assert "* upstream change" not in words
    assert "ha-logic_2.1.5+dfsg-1+ha12.1.dsc" in words
    rows, lines = read_drawing(re.findall(r"<svg .*</svg>", text, re.DOTALL)[0])
    assert sorted(rows) == ["ha-manager", "ha-resource-agents", "ha-ring", "ha-stack", "libha-base3"]
    assert lines == 5


def test_the_page_of_a_pocket_names_the_debian_release(root: Path, issue: Issue, stacks: Builds) -> None:
    issue(stacks(1), pocket="testing", url="https://example.org/apt")
    words = "".join(Page((root / "index.html").read_text()).text)
    assert "On a node with Debian bookworm, as root:" in words
    assert "packages on trial before they come into bookworm" in words
    assert "Suites: bookworm-testing\n" in words


def test_every_change_leaves_the_page_of_what_is_published(root: Path, key: KeyChoice, stacks: Builds) -> None:
    site = PublishTarget(root=root, identity=IDENTITY, choice=key)

    def look() -> list[str]:
        return re.findall(r"1\.2-\d\+ha12\.0(?:, 1\.2-\d\+ha12\.0)*(?=</td>)", (root / "index.html").read_text())

    for number in (1, 2):
        publish(PublishTarget(root=root, identity=IDENTITY, choice=key), [stacks(number)])
    assert look() == ["1.2-2+ha12.0, 1.2-1+ha12.0"]
    rollback(site, BOOKWORM, 1)
    assert look() == ["1.2-1+ha12.0"]
    publish(PublishTarget(root=root, identity=IDENTITY, choice=key), [stacks(3)], pocket="testing")
    assert look() == ["1.2-1+ha12.0", "1.2-3+ha12.0"]
    promote(site, Suite("bookworm-testing"), BOOKWORM)
    assert look() == ["1.2-3+ha12.0, 1.2-1+ha12.0", "1.2-3+ha12.0"]
    prune(site, keep=1, days=0)
    assert look() == ["1.2-3+ha12.0", "1.2-3+ha12.0"]
    (root / "index.html").write_text("damaged")
    refresh(site)
    assert look() == ["1.2-3+ha12.0", "1.2-3+ha12.0"]


def test_two_keys_are_on_the_page_from_the_refresh_on(root: Path, tmp_path: Path, stacks: Builds) -> None:
    choice = KeyChoice(home=tmp_path / "keys")
    first = publish(PublishTarget(root=root, identity=IDENTITY, choice=choice), [stacks(1)]).key.fingerprint
    second = lifecycle.rotate(choice.home, IDENTITY.key_owner, "never").fingerprint
    refresh(PublishTarget(root=root, identity=IDENTITY, choice=choice))
    words = (root / "index.html").read_text().replace(" ", "")
    assert first in words
    assert second in words


def test_the_page_is_written_with_the_lock_held(
    root: Path, issue: Issue, stacks: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking, answer = os.pipe(), os.pipe()

    def render_late(*values: Any) -> str:
        os.write(asking[1], b"?")
        os.read(answer[0], 1)
        return render_page(*values)

    with monkeypatch.context() as patched:
        patched.setattr("hapkg.jinja.render_page", render_late)
        writer = fork(partial(issue, stacks(1)))
    assert os.read(asking[0], 1) == b"?"
    with pytest.raises(BusyError, match=f"in use by process {writer} "):
        issue(stacks(2))
    os.write(answer[1], b"!")
    assert os.waitstatus_to_exitcode(os.waitpid(writer, 0)[1]) == 0
    assert "1.2-1+ha12.0</td>" in (root / "index.html").read_text()
    issue(stacks(2))
    assert "1.2-2+ha12.0, 1.2-1+ha12.0</td>" in (root / "index.html").read_text()


def test_after_two_writers_the_page_shows_what_both_published(root: Path, key: KeyChoice, tmp_path: Path) -> None:
    def write(suite: Suite) -> None:
        for number in range(1, 6):
            deb = make_deb(tmp_path / suite, f"ha-{suite}", f"{number}")
            upload = Upload(suite=suite, source=SourceName(f"ha-{suite}"), files=(deb,))
            publish(PublishTarget(root=root, identity=IDENTITY, choice=key, timeout=60), [upload])

    for suite in (BOOKWORM, TRIXIE):
        (tmp_path / suite).mkdir()
    writers = [fork(partial(write, suite)) for suite in (BOOKWORM, TRIXIE)]
    assert [os.waitstatus_to_exitcode(os.waitpid(writer, 0)[1]) for writer in writers] == [0, 0]
    page = Page((root / "index.html").read_text())
    assert page.text.count("5, 4, 3, 2, 1") == 2


def test_a_package_is_read_once_for_all_pages(root: Path, issue: Issue, builds: Builds, stacks: Builds) -> None:
    issue(builds(1))
    deb = next(root.glob("pool/**/libha-logic1_*"))
    content = deb.read_bytes()
    deb.write_bytes(bytes(len(content)))
    issue(stacks(3))
    assert "/opt/libha-logic1\n" in "".join(Page((root / "index.html").read_text()).text)
    (root / ".hapkg/page/contents.json").write_text("damaged")
    issue(stacks(4))
    assert "/opt/libha-logic1\n" not in "".join(Page((root / "index.html").read_text()).text)
    deb.write_bytes(content)
    issue(stacks(5))
    assert "/opt/libha-logic1\n" in "".join(Page((root / "index.html").read_text()).text)


def test_markup_in_a_package_stays_text(root: Path, issue: Issue, tmp_path: Path) -> None:
    deb = make_deb(tmp_path, "ha-evil", "1", Description="<script>alert(1)</script> & <b>more</b>\n x")
    issue(Upload(suite=BOOKWORM, source=SourceName("ha-evil"), files=(deb,)))
    page = Page(write_page(root, IDENTITY, (), Batch()).read_text())
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


def test_a_picture_is_as_wide_as_a_page_however_many_packages_it_has() -> None:
    names = [f"ha-package-number-{number}" for number in range(100)]
    svg = draw({"ha-stack": frozenset(names), **{name: frozenset[str]() for name in names}, "x" * 200: frozenset()})
    root = ElementTree.fromstring(svg)
    boxes = [box.attrib for box in root.iter("{http://www.w3.org/2000/svg}rect")]
    places = {(box["x"], box["y"]) for box in boxes}
    assert len(places) == len(boxes) == 102
    assert min(float(box["x"]) for box in boxes) >= 0
    widest = max(float(box["x"]) + float(box["width"]) for box in boxes)
    assert widest <= float(root.attrib["width"]) < 1600
    assert float(root.attrib["height"]) > max(float(box["y"]) + float(box["height"]) for box in boxes)


def test_a_picture_of_a_cycle_and_of_nothing() -> None:
    rows, lines = read_drawing(draw({"a": frozenset({"b"}), "b": frozenset({"a"})}))
    assert (sorted(rows), lines) == (["a", "b"], 2)
    assert re.match("<svg ", draw({}))
