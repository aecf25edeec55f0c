"""The page of a repository as a person sees it, in Chromium: light and dark, on a wide screen and on a telephone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hapkg.repository.change import PublishTarget
from hapkg.repository.keys.signing import KeyChoice, find_key
from hapkg.repository.publishing import publish
from tests.support.browser import CUT, OPEN, OVERFLOWING, WIDTHS, Browser, open_browser, see
from tests.support.packages import BOOKWORM, IDENTITY, make_stack

WIDE, NARROW = 1280, 360
PACKAGES = ("ha-manager", "ha-resource-agents", "ha-ring", "ha-stack", "libha-base3")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, key: KeyChoice) -> Path:
    """The page of a stack in two suites."""
    folder = tmp_path_factory.mktemp("seen")
    upload = make_stack(folder / "build")
    for pocket in ("", "testing"):
        publish(
            PublishTarget(root=folder / "apt", identity=IDENTITY, choice=key, url="https://example.org/ha/"),
            [upload],
            pocket=pocket,
        )
    return folder / "apt" / "index.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One Chromium for all tests."""
    with open_browser(tmp_path_factory.mktemp("browser") / "profile") as browser:
        yield browser


def test_the_browser_runs_no_scripts(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text("<title>still</title><script>document.title = 'ran'</script>")
    browser.show(file, width=WIDE, dark=False)
    assert browser.ask("document.title") == "still"


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_the_window(page: Path, browser: Browser, width: int, dark: bool) -> None:
    browser.show(page, width=width, dark=dark)
    for step in ("closed", "open"):
        window, content = browser.ask(WIDTHS)
        assert (window, content) == (width, width), step
        assert browser.ask(OVERFLOWING) == [], step
        assert browser.ask(CUT) == [], step
        browser.ask(OPEN)


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_what_a_node_needs_is_seen_at_once(page: Path, browser: Browser, key: KeyChoice, width: int) -> None:
    browser.show(page, width=width, dark=False)
    (fingerprint,) = see(browser, "pre.key")
    stanzas = see(browser, "pre.stanza")
    assert fingerprint.replace(" ", "") == find_key(key, owner=IDENTITY.key_owner).fingerprint
    files = [page.parent / f"ha-stack-{suite}.sources" for suite in (BOOKWORM, f"{BOOKWORM}-testing")]
    assert [stanza.strip() for stanza in stanzas] == [file.read_text().strip() for file in files]
    assert see(browser, "h2") == ["Key", "bookworm", "bookworm-testing"]
    assert see(browser, "tbody td:first-child a") == [*PACKAGES, *PACKAGES]
    assert see(browser, "pre:not(.copy)") == []


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_picture_can_be_read(page: Path, browser: Browser, width: int) -> None:
    browser.show(page, width=width, dark=False)
    assert sorted(see(browser, "svg text")) == sorted((*PACKAGES, *PACKAGES))
    boxes = browser.ask("[...document.querySelectorAll('svg text')].map(text => text.getBoundingClientRect().height)")
    assert min(boxes) > 10
    outside = browser.ask(
        "[...document.querySelectorAll('svg g')].filter(group => group.querySelector('text').getBBox().width"
        " > group.querySelector('rect').getBBox().width).length"
    )
    assert outside == 0


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_each_package_opens_to_files_changelog_licence_and_sources(page: Path, browser: Browser, width: int) -> None:
    browser.show(page, width=width, dark=True)
    browser.ask(OPEN)
    assert see(browser, "tbody td:first-child a") == [*PACKAGES, "ha-manager-dbgsym"] * 2
    texts = see(browser, "pre:not(.copy)")
    for name in PACKAGES:
        assert sum(f"/opt/{name}" in text.split("\n") for text in texts) == 2
        assert sum(text.startswith(f"Licence of {name}:") for text in texts) == 2
    assert sum("* Debian change" in text for text in texts) == 12
    links = see(browser, "td p a")
    for suffix in (".dsc", ".debian.tar.xz", ".orig.tar.gz"):
        assert sum(link.endswith(suffix) for link in links) == 12
    targets = browser.ask("[...document.querySelectorAll('a')].map(link => decodeURIComponent(link.href))")
    assert [t for t in targets if not Path(re.sub(r"^file://|#.*", "", t)).is_file()] == []


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_page_is_dark_where_the_reader_wants_it(page: Path, browser: Browser, width: int, tmp_path: Path) -> None:
    brightness = {}
    for dark in (False, True):
        browser.show(page, width=width, dark=dark)
        pixels = browser.photograph(tmp_path / f"{width}-{dark}.png")
        brightness[dark] = sum(pixels) / len(pixels)
        assert max(pixels) - min(pixels) > 150  # letters stand out
    assert brightness[True] < 70
    assert brightness[False] > 200
