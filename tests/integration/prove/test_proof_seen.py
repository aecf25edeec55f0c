"""The report of a proof as a person sees it, in Chromium: light and dark, on a wide screen and on a telephone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hapkg.prove.report import describe_proof, write_report
from hapkg.prove.runner import Check, StepEnding, StepResult
from hapkg.prove.scenario import STEPS
from tests.support.browser import CUT, OPEN, OVERFLOWING, WIDTHS, Browser, open_browser, see

WIDE, NARROW = 1280, 360
BOXES = "[...document.querySelectorAll(%r)].map(element => element.getBoundingClientRect().%s)"
EVIDENCE = "\n".join(
    f"{number:03} {'a line of a log that is longer than a telephone is wide ' * 3}" for number in range(40)
)
CONSOLE = "console-fiesta-ha1.log"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a proof that failed in the middle: every ending is in it."""
    folder = tmp_path_factory.mktemp("proof")
    middle = next(number for number, step in enumerate(STEPS) if step.name == "power")
    records = []
    for number, step in enumerate(STEPS):
        record = StepResult(name=step.name, title=step.title)
        if number <= middle:
            good = number < middle
            record.ending = StepEnding.PASSED if good else StepEnding.FAILED
            record.started, record.seconds, record.log = 10.0 * number, 9.5, f"{number:02}-{step.name}.log"
            record.checks = [
                Check(claim=f"{step.title}: the first", ok=True, evidence=EVIDENCE),
                Check(claim=f"{step.title}: the second", ok=good, evidence="seen"),
            ]
            record.error = () if good else ("not so: the second", EVIDENCE)
            (folder / record.log).write_text("what was done\n")
        records.append(record)
    (folder / CONSOLE).write_text("booted\n")
    facts = {"kernel": "6.1.0-0-amd64", "failover": 4.2, "versions": {"ha-stack": "1.2.0+ha12.1"}}
    proof = describe_proof(records, facts, suite="bookworm", began="2026-01-02", accelerator="tcg", short=False)
    html, _ = write_report(folder, proof)
    return html


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One Chromium for all tests."""
    with open_browser(tmp_path_factory.mktemp("browser") / "profile") as browser:
        yield browser


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_the_window(report: Path, browser: Browser, width: int, dark: bool) -> None:
    browser.show(report, width=width, dark=dark)
    browser.ask("document.querySelectorAll('pre').forEach(element => element.classList.add('scroll'))")  # they scroll
    for step in ("closed", "open"):
        assert browser.ask(WIDTHS) == [width, width], step
        assert browser.ask(OVERFLOWING) == [], step
        assert browser.ask(CUT) == [], step
        browser.ask(OPEN)


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_what_failed_is_seen_at_once(report: Path, browser: Browser, width: int) -> None:
    browser.show(report, width=width, dark=False)
    assert see(browser, "h1") == ["The proof failed"]
    assert see(browser, "p .no") == ["One node loses power: not so: the second"]
    top, bottom = browser.ask("(box => [box.top, box.bottom])(document.querySelector('p .no').getBoundingClientRect())")
    assert 0 < top < bottom < 900
    assert see(browser, "dt") == ["kernel", "writes stood still for"]
    assert see(browser, "dd") == ["6.1.0-0-amd64", "4.2 s"]
    (claim,) = see(browser, "details[open] summary")
    assert claim == "✗ One node loses power: the second"


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_timeline_has_every_step_and_leads_to_it(report: Path, browser: Browser, width: int) -> None:
    browser.show(report, width=width, dark=False)
    assert see(browser, "thead + tbody td:first-child") == [step.title for step in STEPS]
    endings = see(browser, "thead + tbody td:nth-child(2)")
    middle = endings.index("failed")
    assert set(endings[:middle]) == {"passed"}
    assert set(endings[middle + 1 :]) == {"not reached"}
    bars = browser.ask(
        "[...document.querySelectorAll('.bar')].map(bar => bar.getBoundingClientRect()).map(b => b.left)"
    )
    assert bars == sorted(bars)
    assert len(set(bars)) == (middle + 1 if width == WIDE else 1), "on a telephone there is no room for them"
    targets = browser.ask(
        "[...document.querySelectorAll('a[href^=\"#\"]')].map(a => document.querySelector(a.hash) !== null)"
    )
    assert targets == [True] * (middle + 1)
    files = browser.ask("[...document.querySelectorAll('a:not([href^=\"#\"])')].map(a => a.getAttribute('href'))")
    assert CONSOLE in files
    assert [name for name in files if not (report.parent / name).is_file()] == []


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_evidence_opens_where_it_is(report: Path, browser: Browser, width: int) -> None:
    browser.show(report, width=width, dark=True)
    closed = see(browser, "details pre")
    assert closed == ["seen"]
    browser.ask(OPEN)
    assert see(browser, "details pre").count(EVIDENCE) == len(see(browser, "h2[id]"))
    heights = browser.ask(
        "[...document.querySelectorAll('details pre')].map(pre => pre.getBoundingClientRect().height)"
    )
    assert max(heights) < 450, "long evidence scrolls in its own box"


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_report_is_dark_where_the_reader_wants_it(
    report: Path, browser: Browser, width: int, tmp_path: Path
) -> None:
    brightness = {}
    for dark in (False, True):
        browser.show(report, width=width, dark=dark)
        pixels = browser.photograph(tmp_path / f"{width}-{dark}.png")
        brightness[dark] = sum(pixels) / len(pixels)
        assert max(pixels) - min(pixels) > 150  # letters stand out
    assert brightness[True] < 70
    assert brightness[False] > 200
